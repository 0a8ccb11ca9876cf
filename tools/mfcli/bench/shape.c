// SPDX-License-Identifier: Apache-2.0
// Lists of blocks. Scattered ones are permutations of the places by an odd factor modulo a power of
// two: each place comes once before any comes again, and neighbours in a list lie far apart.
#include "shape.h"

#include <stdlib.h>

#include "alloc.h"

#define LARGE        (128u << 10)
#define MEDIUM       (16u << 10)
#define FACTOR_SRC   0x9e3779b1u
#define FACTOR_DST   0x85ebca6bu
#define DST_ROTATION 7u

static uint64_t power_of_two_below(uint64_t n)
{
    uint64_t power = 1;

    while (power <= n / 2) {
        power *= 2;
    }
    return n ? power : 0;
}

int shape_init(struct shape *shape, enum shape_kind kind, uint64_t block, uint64_t pitch,
               uint64_t bytes)
{
    *shape = (struct shape){.kind = kind, .block = block, .pitch = pitch};
    if (kind == SHAPE_122) {
        shape->block = LARGE;
        shape->pitch = LARGE;
    }
    shape->slots = bytes / shape->pitch;
    if (kind != SHAPE_WALK) {
        shape->slots = power_of_two_below(shape->slots);
    }
    return shape->slots >= (kind == SHAPE_122 ? SHAPE_122_LIST : 1) ? 0 : -1;
}

int shape_shrink(const struct shape *shape, uint64_t bytes, struct shape *out)
{
    return shape_init(out, shape->kind, shape->block, shape->pitch, bytes);
}

static uint64_t bytes_of(const struct shape *shape, uint64_t i)
{
    return shape->kind == SHAPE_122 && i % SHAPE_122_LIST % 2 == 1 ? MEDIUM : shape->block;
}

struct extent shape_element(const struct shape *shape, uint64_t i)
{
    uint64_t src = i, dst = i;

    if (shape->kind != SHAPE_WALK) {
        src = i * FACTOR_SRC;
        dst = i * FACTOR_DST + DST_ROTATION;
    }
    return (struct extent){.src = src % shape->slots * shape->pitch,
                           .dst = dst % shape->slots * shape->pitch,
                           .bytes = bytes_of(shape, i)};
}

static int by_target(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;

    return (x->dst > y->dst) - (x->dst < y->dst);
}

size_t shape_extents(const struct shape *shape, uint64_t count, struct extent **out)
{
    struct extent *v = cli_alloc(count, sizeof(*v));
    size_t used = 0;

    for (uint64_t i = 0; i < count; i++) {
        v[i] = shape_element(shape, i);
    }
    qsort(v, count, sizeof(*v), by_target);
    for (uint64_t i = 1; i < count; i++) {
        struct extent *last = &v[used];

        if (last->dst + last->bytes == v[i].dst && last->src + last->bytes == v[i].src) {
            last->bytes += v[i].bytes;
        } else {
            v[++used] = v[i];
        }
    }
    *out = v;
    return count ? used + 1 : 0;
}
