// SPDX-License-Identifier: Apache-2.0
// The result of a replay, as a table or as a JSON object.
#ifndef MFCLI_REPLAY_REPORT_H
#define MFCLI_REPLAY_REPORT_H

#include "rank.h"
#include "stats.h"

struct replay_result {
    const struct replay_cfg *cfg;
    struct replay_stats sum; /* over all ranks; after a failure, of rank 0 alone */
    double seconds;
    const char *error; /* NULL: all is well */
};

void report_print(const struct replay_result *result);

#endif
