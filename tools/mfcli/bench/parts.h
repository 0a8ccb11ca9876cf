// SPDX-License-Identifier: Apache-2.0
// Starts what a benchmark needs as processes: a world of two ranks, the cases with processes of
// their own, and the question whether there is an accelerator. Each runs in a child, so that this
// process stays without threads and can fork again.
#ifndef MFCLI_BENCH_PARTS_H
#define MFCLI_BENCH_PARTS_H

#include <stdbool.h>

#include "config.h"

/** Can the device that MF_DEVICE names be opened? @param tell print why not */
bool parts_device_is_there(bool tell);

/**
 * Runs this program's bench command as two ranks, rank 0 on our stdout.
 *
 * @param argv arguments of the ranks, argv[0] "bench", NULL-terminated
 * @return exit code
 */
int parts_run_world(char **argv);

/** Runs a case in a child. @return exit code */
int parts_run_case(int (*run)(const struct bench_cfg *), const struct bench_cfg *cfg);

#endif
