// SPDX-License-Identifier: Apache-2.0
// Schedules run in processes of their own, so that a crash and a hang are results like others and
// no run leaves anything to the next one. Wall time is asked of the kernel directly: in this
// program the usual functions belong to the simulation.
#ifndef MF_SIM_RUN_H
#define MF_SIM_RUN_H

#include <sys/types.h>

#include "schedule.h"

#define RUN_NAME_MAX 48u

enum run_verdict {
    RUN_KEPT,    /* every promise */
    RUN_BROKEN,  /* one was broken */
    RUN_CRASHED, /* the process ended by a signal, or without a result */
    RUN_HUNG,    /* the program, in wall time */
};

struct run_result {
    enum run_verdict verdict;
    char oracle[RUN_NAME_MAX]; /* which promise; "crash", "hang"; "": none was broken */
    struct world_result world; /* its `oracle` is NULL; of a crash and a hang: the text only */
    uint64_t cpu_ns;
};

/** One under way. */
struct run {
    pid_t pid; /* 0: free */
    int fd;
    uint64_t limit_ns; /* of run_now_ns */
    struct run_result result;
    size_t have; /* bytes of the result that have come */
};

uint64_t run_now_ns(void);
/** Start it; it is killed and counts as hung after `limit_s` of wall time. False: no process can be
 * made (the sentence is on stderr). */
bool run_start(struct run *run, const struct schedule *schedule, bool verbose, uint32_t limit_s);
/** Wait until one of them ends or `timeout_ms` have passed; the first one that has ended, now free,
 * with its result; NULL: none. */
struct run *run_wait(struct run *runs, uint32_t count, int timeout_ms);
/** Kill those that are under way. */
void run_kill(struct run *runs, uint32_t count);
/** One alone. */
bool run_one(const struct schedule *schedule, bool verbose, uint32_t limit_s,
             struct run_result *out);

#endif
