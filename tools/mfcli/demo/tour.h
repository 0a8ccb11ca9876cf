// SPDX-License-Identifier: Apache-2.0
// The tour itself: the steps of the demo in their order.
#ifndef MFCLI_DEMO_TOUR_H
#define MFCLI_DEMO_TOUR_H

#include "guide.h"
#include "say.h"

struct tour {
    struct guide guide;
    struct say say;
    uint32_t fault;             /* the step in which a byte is spoilt on purpose; 0: none */
    const char *device;         /* the value of MF_DEVICE */
    uint64_t parts[DEMO_RANKS]; /* where the ranks' parts of pool 0 begin */
};

/** One step. @return false when the tour cannot go on; a check that failed has said why */
typedef bool (*tour_fn)(struct tour *tour);

struct tour_step {
    const char *name; /* in JSON */
    const char *title;
    tour_fn run;
};

/** Bytes that each rank gives to the pool, and the most that it may give later. */
#define TOUR_PART_BYTES (8u << 20)
#define TOUR_MOST_BYTES (16u << 20)

/* tour_copies.c */
bool tour_meet(struct tour *tour);
bool tour_pool(struct tour *tour);
bool tour_put(struct tour *tour);
bool tour_cost(struct tour *tour);
bool tour_batch(struct tour *tour);
bool tour_partial(struct tour *tour);
bool tour_refused(struct tour *tour);
bool tour_async(struct tour *tour);
bool tour_grow(struct tour *tour);
/* tour_faults.c */
bool tour_death(struct tour *tour);
bool tour_return(struct tour *tour);
bool tour_device(struct tour *tour);
bool tour_leave(struct tour *tour);

/** A question with the step's fault in it. */
struct demo_ask tour_question(const struct tour *tour, enum demo_op op);
/** Asks and checks that it succeeded; `what` names it. */
bool tour_ask(struct tour *tour, uint32_t rank, const struct demo_ask *ask,
              struct demo_answer *answer, const char *what);

/** All steps, in order. @return the tool's exit code */
int tour_run(struct tour *tour);

#endif
