// SPDX-License-Identifier: Apache-2.0
// One rank's life in a benchmark: join, measure (rank 0) or serve (the others), leave.
#ifndef MFCLI_BENCH_SESSION_H
#define MFCLI_BENCH_SESSION_H

#include "config.h"

/** Cases of a world of two ranks with the option copy.checksum. */
#define CHECKED_CASES (1u << CASE_CHECKSUM)
/** Cases of a world of two ranks with the option peer.map at never. */
#define UNMAPPED_CASES (1u << CASE_VM)
/** Cases that need the world of two ranks; the others have processes of their own. */
#define SESSION_CASES                                                        \
    (1u << CASE_122 | 1u << CASE_SMALL | 1u << CASE_LAT8 | 1u << CASE_PLAN | \
     1u << CASE_TRANSLATED | 1u << CASE_TRACE | 1u << CASE_PREPARED | 1u << CASE_REQUEST)

/** @return exit code of the rank */
int session_run(const struct bench_cfg *cfg);

#endif
