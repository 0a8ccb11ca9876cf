// SPDX-License-Identifier: Apache-2.0
// The copies of one timed round, laid out before the clock starts, and the two that are compared:
// through the library, and memcpy over the same kind of addresses.
#ifndef MFCLI_BENCH_LIST_H
#define MFCLI_BENCH_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "shape.h"
#include "world.h"

/** Elements as the batch calls take them. */
struct list {
    void **src;
    void **dst;
    uint64_t *bytes;
    uint32_t count, room;
    uint64_t total; /* bytes of all */
};

void list_init(struct list *list, uint32_t room);
void list_fini(struct list *list);
/** Elements first..first+count-1 of the shape, between two base addresses. */
void list_fill(struct list *list, const struct shape *shape, uint64_t first, uint32_t count,
               uint64_t src_base, uint64_t dst_base);

/** How the library is called. */
struct list_call {
    smem_bm_copy_type_t type;
    uint32_t batch; /* elements of a call; 1: smem_bm_copy() */
};

/**
 * Copies all through the library.
 *
 * @param stamps NULL, or room for the seconds of each call
 * @return seconds; negative after a report
 */
double list_copy(const struct world *world, const struct list *list, const struct list_call *call,
                 double *stamps);

/** Copies all by memcpy on this thread. @return seconds */
double list_memcpy(const struct list *list);

#endif
