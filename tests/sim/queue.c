// SPDX-License-Identifier: Apache-2.0
// The binary heap of events. The time stands in the heap itself, so that most comparisons touch
// nothing else.
#include "queue.h"

#include <stdlib.h>

#define QUEUE_FIRST 16u

static bool before(const struct sim_queue_entry *a, const struct sim_queue_entry *b)
{
    return a->at < b->at || (a->at == b->at && a->event->number < b->event->number);
}

static void place(struct sim_queue *queue, uint32_t slot, struct sim_queue_entry entry)
{
    queue->v[slot] = entry;
    entry.event->slot = slot;
}

/* Put the entry at the free slot or above it. */
static void rise(struct sim_queue *queue, uint32_t slot, struct sim_queue_entry entry)
{
    while (slot > 0) {
        uint32_t parent = (slot - 1) / 2;
        if (!before(&entry, &queue->v[parent])) {
            break;
        }
        place(queue, slot, queue->v[parent]);
        slot = parent;
    }
    place(queue, slot, entry);
}

/* Put the entry at the free slot or below it. */
static void sink(struct sim_queue *queue, uint32_t slot, struct sim_queue_entry entry)
{
    for (;;) {
        uint32_t child = 2 * slot + 1;
        if (child >= queue->count) {
            break;
        }
        if (child + 1 < queue->count && before(&queue->v[child + 1], &queue->v[child])) {
            child++;
        }
        if (!before(&queue->v[child], &entry)) {
            break;
        }
        place(queue, slot, queue->v[child]);
        slot = child;
    }
    place(queue, slot, entry);
}

void sim_queue_put(struct sim_queue *queue, struct sim_event *event)
{
    if (queue->count == queue->cap) {
        queue->cap = queue->cap ? queue->cap * 2 : QUEUE_FIRST;
        queue->v = realloc(queue->v, queue->cap * sizeof(*queue->v));
        if (!queue->v) {
            abort();
        }
    }
    rise(queue, queue->count++, (struct sim_queue_entry){.at = event->at, .event = event});
}

void sim_queue_take(struct sim_queue *queue, struct sim_event *event)
{
    uint32_t slot = event->slot;
    struct sim_queue_entry last = queue->v[--queue->count];
    if (last.event == event) {
        return;
    }
    if (slot > 0 && before(&last, &queue->v[(slot - 1) / 2])) {
        rise(queue, slot, last);
    } else {
        sink(queue, slot, last);
    }
}

void sim_queue_drop(struct sim_queue *queue, const struct sim_proc *proc)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < queue->count; i++) {
        if (queue->v[i].event->proc == proc) {
            queue->v[i].event->at = 0;
        } else {
            place(queue, kept++, queue->v[i]);
        }
    }
    queue->count = kept;
    for (uint32_t slot = kept / 2; slot-- > 0;) {
        sink(queue, slot, queue->v[slot]);
    }
}

void sim_queue_free(struct sim_queue *queue)
{
    free(queue->v);
    *queue = (struct sim_queue){0};
}
