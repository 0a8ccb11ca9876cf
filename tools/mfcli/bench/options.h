// SPDX-License-Identifier: Apache-2.0
// The command line of mfcli bench.
#ifndef MFCLI_BENCH_OPTIONS_H
#define MFCLI_BENCH_OPTIONS_H

#include "config.h"

struct bench_args {
    struct bench_cfg cfg;
    const char *paths, *sizes, *cases, *device;
    uint64_t verify;
    bool all;
    bool launched; /* by this command: what there was to decide is decided */
    bool checked;  /* launched for the cases with checksums alone */
    bool unmapped; /* launched for the cases without mappings alone */
};

/**
 * Parses, checks, and fills in the defaults. Lists stay as texts beside their bits, since some
 * decisions depend on what the user has said himself.
 *
 * @return ARGS_GO, or the exit code with which the command ends now
 */
int bench_options_parse(int argc, char **argv, struct bench_args *args);

#endif
