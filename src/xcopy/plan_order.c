// SPDX-License-Identifier: Apache-2.0
// The order of a plan: transfers of one path side by side, of one peer side by side within it, and
// among these by target address where the batch has them otherwise. One radix sort over keys, then
// each transfer moves once. The address is taken to as many bits as two digits hold, which is what
// sequential access needs: what is closer together stays in the order of the batch.
#include "xcopy/plan.h"

#include <string.h>

#include "base/alloc.h"

#define DIGIT_BITS_MAX 11u
#define INDEX_BITS     32u

/* Bits of a digit: about as many values as there are keys. */
static uint32_t digit_bits(uint32_t count)
{
    uint32_t bits = 4;
    while (bits < DIGIT_BITS_MAX && (1u << bits) < count) {
        bits++;
    }
    return bits;
}

/* Targets to distances from the first target of their group. Returns the bits of the largest. */
static uint32_t keys_to_distances(struct mf_plan *plan)
{
    for (uint32_t g = 0; g < plan->group_count; g++) {
        plan->groups[g].min_dst = UINT64_MAX;
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        struct mf_plan_group *group = &plan->groups[plan->group_of[i]];
        group->min_dst = plan->keys[i] < group->min_dst ? plan->keys[i] : group->min_dst;
    }
    uint64_t far = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        plan->keys[i] -= plan->groups[plan->group_of[i]].min_dst;
        far |= plan->keys[i];
    }
    return far ? 64 - (uint32_t)__builtin_clzll(far) : 0;
}

/* One stable pass of the radix sort over the digit at `shift`. */
static void sort_digit(const uint64_t *from, uint64_t *to, uint32_t count, uint32_t shift,
                       uint32_t bits)
{
    uint32_t start[1u << DIGIT_BITS_MAX];
    uint64_t mask = (1ull << bits) - 1;
    memset(start, 0, sizeof(*start) << bits);
    for (uint32_t i = 0; i < count; i++) {
        start[from[i] >> shift & mask]++;
    }
    uint32_t sum = 0;
    for (uint32_t d = 0; d <= mask; d++) {
        uint32_t n = start[d];
        start[d] = sum;
        sum += n;
    }
    for (uint32_t i = 0; i < count; i++) {
        to[start[from[i] >> shift & mask]++] = from[i];
    }
}

/* Indexes of the transfers in order of their targets, in the low half of plan->keys. */
static void sort_by_target(struct mf_plan *plan)
{
    uint32_t bits = digit_bits(plan->count);
    uint32_t length = keys_to_distances(plan);
    uint32_t shift = length > 2 * bits ? length - 2 * bits : 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        plan->keys[i] = (plan->keys[i] >> shift) << INDEX_BITS | i;
    }
    sort_digit(plan->keys, plan->spare_keys, plan->count, INDEX_BITS, bits);
    sort_digit(plan->spare_keys, plan->keys, plan->count, INDEX_BITS + bits, bits);
}

static bool same_run(const struct mf_route *a, const struct mf_route *b)
{
    return a->path == b->path && a->tp == b->tp;
}

static int add_run(struct mf_plan *plan, const struct mf_route *route, uint32_t first)
{
    if (plan->run_count == plan->run_cap) {
        uint32_t cap = plan->run_cap ? plan->run_cap * 2 : 8;
        struct mf_plan_run *runs = mf_realloc(plan->runs, sizeof(*runs) * cap, "copy plan's runs");
        if (!runs) {
            return SMEM_MALLOC_FAILED;
        }
        plan->runs = runs;
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

int mf_plan_order(struct mf_plan *plan)
{
    int rc = place_groups(plan);
    bool descends = false;
    for (uint32_t g = 0; g < plan->group_count; g++) {
        descends = descends || plan->groups[g].descends;
    }
    if (rc || (!descends && plan->group_count <= 1)) {
        return rc;
    }
    rc = mf_plan_reserve_order(plan);
    if (rc) {
        return rc;
    }
    if (descends) {
        sort_by_target(plan);
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        uint32_t from = descends ? (uint32_t)plan->keys[i] : i;
        plan->spare[plan->groups[plan->group_of[from]].first++] = plan->v[from];
    }
    struct mf_xfer *ordered = plan->spare;
    plan->spare = plan->v;
    plan->v = ordered;
    return SMEM_OK;
}
