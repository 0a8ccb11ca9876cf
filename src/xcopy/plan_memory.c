// SPDX-License-Identifier: Apache-2.0
// The memory of a plan: arrays that grow with the largest batch and are kept for the next one, and
// given back when batches have become small again.
#include "xcopy/plan.h"

#include "base/alloc.h"
#include "base/limits.h"

/* Memory of this many transfers is kept whatever the last batch needed; more only while it is at
 * least one part in KEEP_RATIO in use. */
#define KEEP_TRANSFERS 4096u
#define KEEP_RATIO     16u

struct mf_plan *mf_plan_create(void)
{
    return mf_calloc(1, sizeof(struct mf_plan), "copy plan");
}

static void free_transfers(struct mf_plan *plan)
{
    mf_free(plan->v);
    mf_free(plan->spare);
    mf_free(plan->group_of);
    mf_free(plan->keys);
    mf_free(plan->spare_keys);
    plan->v = NULL;
    plan->spare = NULL;
    plan->group_of = NULL;
    plan->keys = NULL;
    plan->spare_keys = NULL;
    plan->cap = 0;
}

static void free_ranks(struct mf_plan *plan)
{
    mf_free(plan->by_rank);
    mf_free(plan->resolved);
    mf_free(plan->ask);
    plan->by_rank = NULL;
    plan->resolved = NULL;
    plan->ask = NULL;
    plan->world = 0;
}

void mf_plan_destroy(struct mf_plan *plan)
{
    if (!plan) {
        return;
    }
    free_transfers(plan);
    free_ranks(plan);
    mf_free(plan->runs);
    mf_free(plan->groups);
    mf_free(plan);
}

void mf_plan_trim(struct mf_plan *plan)
{
    if (plan->cap > KEEP_TRANSFERS && plan->count < plan->cap / KEEP_RATIO) {
        free_transfers(plan);
        plan->count = 0;
    }
}

int mf_plan_grow(void **array, size_t item, uint32_t cap, const char *what)
{
    void *larger = mf_realloc(*array, item * cap, what);
    if (!larger) {
        return SMEM_MALLOC_FAILED;
    }
    *array = larger;
    return SMEM_OK;
}

int mf_plan_reserve(struct mf_plan *plan, uint64_t count)
{
    if (count <= plan->cap) {
        return SMEM_OK;
    }
    if (count > UINT32_MAX / 2) {
        return mf_err(SMEM_NO_RESOURCES, "the batch needs %llu transfers, too many",
                      (unsigned long long)count);
    }
    uint32_t cap = count < 64 ? 64 : (uint32_t)count;
    if (plan->count > 0 && cap < plan->cap + plan->cap / 2) {
        cap = plan->cap + plan->cap / 2; /* seams: there may be many more */
    }
    int rc = mf_plan_grow((void **)&plan->v, sizeof(*plan->v), cap, "copy plan");
    if (!rc) {
        rc = mf_plan_grow((void **)&plan->group_of, sizeof(*plan->group_of), cap, "copy plan");
    }
    if (!rc) {
        rc = mf_plan_grow((void **)&plan->keys, sizeof(*plan->keys), cap, "copy plan");
    }
    if (rc) {
        return rc; /* cap is as before: at least so large is each array */
    }
    plan->cap = cap;
    mf_free(plan->spare);
    mf_free(plan->spare_keys);
    plan->spare = NULL;
    plan->spare_keys = NULL;
    return SMEM_OK;
}

int mf_plan_reserve_order(struct mf_plan *plan)
{
    if (!plan->spare) {
        plan->spare = mf_alloc(sizeof(*plan->spare) * plan->cap, "copy plan's order");
    }
    if (!plan->spare_keys) {
        plan->spare_keys = mf_alloc(sizeof(*plan->spare_keys) * plan->cap, "copy plan's order");
    }
    return plan->spare && plan->spare_keys ? SMEM_OK : SMEM_MALLOC_FAILED;
}

int mf_plan_reserve_ranks(struct mf_plan *plan, uint32_t world)
{
    if (plan->world >= world) {
        return SMEM_OK;
    }
    free_ranks(plan);
    plan->by_rank = mf_alloc(sizeof(*plan->by_rank) * world, "copy plan's ranks");
    plan->resolved = mf_alloc(sizeof(*plan->resolved) * world, "copy plan's ranks");
    plan->ask = mf_alloc(sizeof(*plan->ask) * 2 * world, "copy plan's ranks"); /* each twice */
    if (!plan->by_rank || !plan->resolved || !plan->ask) {
        free_ranks(plan);
        return SMEM_MALLOC_FAILED;
    }
    plan->world = world;
    plan->group_count = 0;
    plan->ask_count = 0;
    plan->asked_count = 0;
    for (uint32_t rank = 0; rank < world; rank++) {
        plan->by_rank[rank] = MF_PLAN_NONE;
        plan->resolved[rank] = MF_PLAN_NOT_ASKED;
    }
    return SMEM_OK;
}
