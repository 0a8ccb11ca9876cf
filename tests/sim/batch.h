// SPDX-License-Identifier: Apache-2.0
// Many schedules, and one that is made smaller: what mf-sim does besides running a single one.
#ifndef MF_SIM_BATCH_H
#define MF_SIM_BATCH_H

#include "run.h"

#define BATCH_JOBS_MAX 256u

enum batch_form { BATCH_PLAIN, BATCH_MARKDOWN, BATCH_JSON };

struct batch_cfg {
    const struct wishes *wishes;
    uint64_t first, last; /* seeds */
    uint64_t at_least;    /* so many schedules even when the time is over */
    uint64_t time_ns;     /* no schedule begins later than that; 0: as long as it takes */
    uint32_t jobs, limit_s;
    bool stop, verbose;  /* after the first failure; a line for each schedule */
    const char *stop_at; /* after the first one of that name; NULL: not */
    enum batch_form form;
};

/** 0: all promises were kept; 1: not; 2: the wishes contradict each other. Ends early, in order, by
 * SIGINT and SIGTERM. */
int batch_run(const struct batch_cfg *cfg);

/** Replace a schedule that fails by a smaller one that breaks the same promise; false: it does not
 * fail. At most `tries` runs. */
bool shrink(struct schedule *schedule, struct run_result *result, uint32_t tries, uint32_t limit_s,
            bool verbose);

#endif
