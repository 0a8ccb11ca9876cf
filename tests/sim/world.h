// SPDX-License-Identifier: Apache-2.0
// A world of simulated ranks at work: the contexts and pools of src/core, driven by a workload that
// the seed chooses, struck by faults that the caller gives, watched by the oracle.
#ifndef MF_SIM_WORLD_H
#define MF_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORLD_RANKS_MAX 1024u

/** What a rank does at the moment; struck by a fault, a cell of the table of coverage. */
enum world_state {
    WORLD_AWAY,     /* its process does not live */
    WORLD_OPENING,  /* mf_ctx_open */
    WORLD_CREATING, /* mf_pool_create */
    WORLD_JOINING,
    WORLD_IDLE, /* joined, between calls */
    WORLD_PUTTING,
    WORLD_GETTING,
    WORLD_BATCH,   /* a mixed batch or a prepared one */
    WORLD_REQUEST, /* requests under way: submit, wait, cancel */
    WORLD_EXTENDING,
    WORLD_LEAVING,
    WORLD_CLOSING, /* destroy, mf_ctx_close */
    WORLD_STATES
};
extern const char *const world_state_names[WORLD_STATES];

enum world_fault_kind {
    FAULT_KILL,  /* kill -9 of a rank; it is started again after a while */
    FAULT_STOP,  /* SIGSTOP, SIGCONT after duration_ns */
    FAULT_SLOW,  /* a rank gets slower */
    FAULT_ALLOC, /* allocations fail */
    FAULT_CUT,   /* both directions between two hosts, healed after duration_ns */
    FAULT_CUT_ONE_WAY,
    FAULT_RESET, /* connections between two hosts are reset */
    FAULT_LINK_SLOW,
    FAULT_STORE_KILL, /* the process that hosts the store; started again after duration_ns */
    FAULT_STORE_STOP,
    FAULT_KINDS
};
extern const char *const world_fault_names[FAULT_KINDS]; /* "kill", "stop", ... */

/** One fault: strikes with or after step `step`, as soon as rank `rank` is in `state`
 * (WORLD_STATES: in any), at the latest 2,000 steps later. */
struct world_fault {
    enum world_fault_kind kind;
    uint64_t step;
    uint32_t rank;  /* of kill, stop, slow, alloc, and the first host of cuts */
    uint32_t other; /* rank whose host is the second one of cuts */
    enum world_state state;
    uint64_t duration_ns; /* until it is undone */
};

struct world_cfg {
    uint64_t seed;
    uint32_t ranks;          /* 2 .. WORLD_RANKS_MAX */
    uint32_t ranks_per_host; /* 0: the seed chooses */
    uint64_t steps;          /* so many steps of work; then the faults are undone, all ranks end in
                                order, and what is left is judged */
    const struct world_fault *faults;
    uint32_t fault_count;
    bool verbose;
};

struct world_result {
    uint64_t steps, digest, virtual_ns;
    uint32_t struck[FAULT_KINDS][WORLD_STATES]; /* faults by the state of the rank they struck */
    uint64_t calls, copies, bytes, failed_calls, joins;
    const char *oracle; /* NULL: every promise was kept; else which one was not */
    char text[512];     /* the sentence of it */
    uint64_t broken_step;
};

/** One run; the same arguments give the same result. Not reentrant. */
void world_run(const struct world_cfg *cfg, struct world_result *out);

#endif
