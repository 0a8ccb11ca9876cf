// SPDX-License-Identifier: Apache-2.0
// The order of a plan: transfers of one path side by side, of one peer side by side within it, and
// among these by target address where the batch has them otherwise and they are small: then a walk
// through the targets stays within what the translation cache holds. One radix sort over keys, then
// each transfer moves once. Addresses count in units of a page to 4 MiB, by the distance of the
// targets; what lies in one unit stays in the order of the batch: a finer order costs more than it
// saves.
#include "xcopy/plan.h"

#include <string.h>

/* A digit with more values than the first-level cache has lines makes each store of a pass miss. */
#define DIGIT_BITS     8u
#define DIGITS_MAX     4u
#define PAGE_SHIFT     12u
#define UNIT_SHIFT_MAX 22u
#define INDEX_BITS     32u
/* How many transfers ahead the last pass fetches what it will move. */
#define FETCH_AHEAD 32u

/* Bits of the largest distance of a target from the first one of its group. */
static uint32_t distance_bits(const struct mf_plan *plan)
{
    uint64_t far = 0;
    for (uint32_t g = 0; g < plan->group_count; g++) {
        far |= plan->groups[g].max_dst - plan->groups[g].min_dst;
    }
    return far ? 64 - (uint32_t)__builtin_clzll(far) : 0;
}

/* The unit in which targets are ordered: as fine as one digit tells apart, but no finer than a page
 * and no coarser than the maximum, unless the keys have too few bits for it. */
static uint32_t unit_shift(uint32_t length)
{
    uint32_t shift = length > DIGIT_BITS ? length - DIGIT_BITS : 0;
    shift = shift < PAGE_SHIFT ? PAGE_SHIFT : shift;
    shift = shift > UNIT_SHIFT_MAX ? UNIT_SHIFT_MAX : shift;
    return length > shift + INDEX_BITS ? length - INDEX_BITS : shift;
}

/* Counts of a digit's values to the places where they begin. */
static void counts_to_starts(uint32_t *counts, uint32_t bits)
{
    uint32_t sum = 0;
    for (uint32_t d = 0; d < 1u << bits; d++) {
        uint32_t n = counts[d];
        counts[d] = sum;
        sum += n;
    }
}

/* One stable pass of the radix sort over the digit at `shift`, from keys to spare_keys, which
 * change their places. */
static void sort_digit(struct mf_plan *plan, uint32_t *starts, uint32_t shift, uint32_t bits)
{
    uint64_t *from = plan->keys;
    uint64_t *to = plan->spare_keys;
    uint64_t mask = (1ull << bits) - 1;
    for (uint32_t i = 0; i < plan->count; i++) {
        to[starts[from[i] >> shift & mask]++] = from[i];
    }
    plan->keys = to;
    plan->spare_keys = from;
}

/* Indexes of the transfers in order of their targets, in the low half of plan->keys. */
static void sort_by_target(struct mf_plan *plan)
{
    uint32_t counts[DIGITS_MAX][1u << DIGIT_BITS];
    uint32_t length = distance_bits(plan);
    uint32_t shift = unit_shift(length);
    uint32_t need = length > shift ? length - shift : 0;
    uint32_t digits = (need + DIGIT_BITS - 1) / DIGIT_BITS;
    uint32_t bits = digits ? (need + digits - 1) / digits : 0;
    uint64_t mask = (1ull << bits) - 1;
    memset(counts, 0, digits * sizeof(counts[0]));
    for (uint32_t i = 0; i < plan->count; i++) {
        uint64_t far = (plan->keys[i] - plan->groups[plan->group_of[i]].min_dst) >> shift;
        plan->keys[i] = far << INDEX_BITS | i;
        for (uint32_t d = 0; d < digits; d++, far >>= bits) {
            counts[d][far & mask]++;
        }
    }
    for (uint32_t d = 0; d < digits; d++) {
        counts_to_starts(counts[d], bits);
        sort_digit(plan, counts[d], INDEX_BITS + d * bits, bits);
    }
}

/* Move each transfer to its place, in the order of `keys` or as they stand. */
static void place_transfers(struct mf_plan *plan, bool by_keys)
{
    const uint64_t *keys = plan->keys;
    for (uint32_t i = 0; i < plan->count; i++) {
        uint32_t from = by_keys ? (uint32_t)keys[i] : i;
        if (by_keys && i + FETCH_AHEAD < plan->count) {
            uint32_t soon = (uint32_t)keys[i + FETCH_AHEAD];
            __builtin_prefetch(&plan->v[soon]);
            __builtin_prefetch(&plan->v[soon].cookie);
            __builtin_prefetch(&plan->group_of[soon]);
        }
        plan->spare[plan->groups[plan->group_of[from]].first++] = plan->v[from];
    }
    struct mf_xfer *ordered = plan->spare;
    plan->spare = plan->v;
    plan->v = ordered;
}

static bool same_run(const struct mf_route *a, const struct mf_route *b)
{
    return a->path == b->path && a->tp == b->tp;
}

static int add_run(struct mf_plan *plan, const struct mf_route *route, uint32_t first)
{
    if (plan->run_count == plan->run_cap) {
        uint32_t cap = plan->run_cap ? plan->run_cap * 2 : 8;
        if (mf_plan_grow((void **)&plan->runs, sizeof(*plan->runs), cap, "copy plan's runs")) {
            return SMEM_MALLOC_FAILED;
        }
        plan->run_cap = cap;
    }
    plan->runs[plan->run_count++] = (struct mf_plan_run){.route = *route, .first = first};
    return SMEM_OK;
}

static bool has_run(const struct mf_plan *plan, const struct mf_route *route)
{
    for (uint32_t r = 0; r < plan->run_count; r++) {
        if (same_run(&plan->runs[r].route, route)) {
            return true;
        }
    }
    return false;
}

/* Give each group its place, path by path, and make the runs. */
static int place_groups(struct mf_plan *plan)
{
    plan->run_count = 0;
    uint32_t at = 0;
    for (uint32_t g = 0; g < plan->group_count; g++) {
        if (plan->groups[g].count == 0 || has_run(plan, &plan->groups[g].route)) {
            continue;
        }
        int rc = add_run(plan, &plan->groups[g].route, at);
        if (rc) {
            return rc;
        }
        struct mf_plan_run *run = &plan->runs[plan->run_count - 1];
        for (uint32_t i = g; i < plan->group_count; i++) {
            struct mf_plan_group *group = &plan->groups[i];
            if (same_run(&group->route, &run->route)) {
                group->first = at;
                at += group->count;
            }
        }
        run->count = at - run->first;
    }
    return SMEM_OK;
}

/* Is there something to gain from an order by target? */
static bool wants_order(const struct mf_plan *plan)
{
    for (uint32_t g = 0; g < plan->group_count; g++) {
        if (plan->groups[g].descends) {
            return plan->bytes >> PAGE_SHIFT < plan->count;
        }
    }
    return false;
}

int mf_plan_order(struct mf_plan *plan)
{
    int rc = place_groups(plan);
    bool by_target = wants_order(plan);
    if (rc || (!by_target && plan->group_count <= 1)) {
        return rc;
    }
    rc = mf_plan_reserve_order(plan);
    if (rc) {
        return rc;
    }
    if (by_target) {
        sort_by_target(plan);
    }
    place_transfers(plan, by_target);
    return SMEM_OK;
}
