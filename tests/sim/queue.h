// SPDX-License-Identifier: Apache-2.0
// A queue of events in order of time and, at the same time, of the number they were given: a binary
// heap whose entries know their place, so that any event can be taken out.
#ifndef MF_SIM_QUEUE_H
#define MF_SIM_QUEUE_H

#include "sim.h"

struct sim_queue_entry {
    uint64_t at;
    struct sim_event *event;
};

struct sim_queue {
    struct sim_queue_entry *v;
    uint32_t count, cap;
};

/** event->at and event->number are set. */
void sim_queue_put(struct sim_queue *queue, struct sim_event *event);
/** Take out event->slot; at and number stay. */
void sim_queue_take(struct sim_queue *queue, struct sim_event *event);
/** Take out all of the process; their `at` is 0 then. */
void sim_queue_drop(struct sim_queue *queue, const struct sim_proc *proc);
/** The next one stays in; NULL: empty. */
static inline struct sim_event *sim_queue_first(const struct sim_queue *queue)
{
    return queue->count ? queue->v[0].event : NULL;
}
void sim_queue_free(struct sim_queue *queue);

#endif
