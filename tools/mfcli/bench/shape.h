// SPDX-License-Identifier: Apache-2.0
// Which blocks a benchmark copies, in which order: element i of an endless list over a working set.
// No address is used again before the whole set was.
#ifndef MFCLI_BENCH_SHAPE_H
#define MFCLI_BENCH_SHAPE_H

#include <stddef.h>
#include <stdint.h>

#include "pattern.h"

enum shape_kind {
    SHAPE_WALK,    /* one place behind the other, to the same offset */
    SHAPE_SCATTER, /* from anywhere to anywhere */
    SHAPE_122,     /* likewise, lists of 61 blocks of 128 KiB and 61 of 16 KiB */
};

struct shape {
    enum shape_kind kind;
    uint64_t block; /* bytes of an element; SHAPE_122: of the larger ones */
    uint64_t pitch; /* bytes from one place to the next, at least block */
    uint64_t slots; /* places in the working set */
};

/** Elements of one list of SHAPE_122. */
#define SHAPE_122_LIST 122u

/**
 * @param block, pitch not for SHAPE_122, which has its own
 * @param bytes        working set
 * @return 0, or -1 when the set has no place for an element (SHAPE_122: for a list)
 */
int shape_init(struct shape *shape, enum shape_kind kind, uint64_t block, uint64_t pitch,
               uint64_t bytes);
/** The same shape in a smaller working set. */
int shape_shrink(const struct shape *shape, uint64_t bytes, struct shape *out);

/** Element i, any i. */
struct extent shape_element(const struct shape *shape, uint64_t i);

/**
 * What elements 0..count-1 leave in the target, ascending; neighbours are merged.
 *
 * @param count at most shape->slots
 * @param out   receives the extents; free() it
 * @return their number
 */
size_t shape_extents(const struct shape *shape, uint64_t count, struct extent **out);

#endif
