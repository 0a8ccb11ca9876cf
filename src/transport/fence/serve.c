// SPDX-License-Identifier: Apache-2.0
// The fence of copies that the owner of a segment makes for another rank: everything that was asked
// is checked against what the owner knows, and the owner's own line announces the segment, so that
// withdraw waits for it as for anybody who copies.
#include <inttypes.h>

#include "base/err.h"
#include "transport/fence/fence.h"

static bool is_welcome(const struct mf_fence_page *page, const struct mf_fence_ask *ask)
{
    return ask->rank < MF_WORLD_MAX &&
           (MF_MUTANT(GATE) || atomic_load_explicit(&page->admitted[ask->rank],
                                                    memory_order_acquire) == ask->incarnation);
}

/* What does not change while the segment lives. */
static int check(const struct mf_fence_page *page, const struct mf_fence_target *target,
                 const struct mf_fence_ask *ask)
{
    if (ask->owner != page->incarnation) {
        return mf_err(SMEM_NOT_CONNECTED, "this process is another life of rank %u", page->rank);
    }
    if (!target || target->desc.index != ask->index || target->desc.epoch != ask->epoch) {
        return mf_err(SMEM_NOT_CONNECTED,
                      "rank %u has left the pool: its segment %u of that epoch is gone", page->rank,
                      ask->index);
    }
    uint64_t size = target->desc.size;
    for (uint32_t i = 0; i < ask->count; i++) {
        const struct mf_fence_range *range = &ask->ranges[i];
        if (range->offset > size || range->size > size - range->offset) {
            return mf_err(SMEM_INVALID_PARAM,
                          "%" PRIu64 " bytes at offset %" PRIu64
                          " are outside of segment %u of %" PRIu64 " bytes",
                          range->size, range->offset, ask->index, size);
        }
    }
    return SMEM_OK;
}

/* What may have changed. */
static int look(const struct mf_fence_page *page, const struct mf_fence_target *target,
                const struct mf_fence_ask *ask)
{
    const struct mf_segment_desc *desc = &target->desc;
    if (!mf_fence_is_there(&target->key)) {
        return mf_err(SMEM_NOT_CONNECTED, "rank %u has left pool %u: its segment %u is gone",
                      page->rank, desc->pool, desc->index);
    }
    if (!is_welcome(page, ask)) {
        return mf_err(SMEM_NOT_CONNECTED,
                      "rank %u was declared dead by rank %u: it must leave pool %u and join again "
                      "under a new incarnation",
                      ask->rank, page->rank, desc->pool);
    }
    return SMEM_OK;
}

int mf_fence_serve_begin(const struct mf_fence_page *page, struct mf_fence_line *line,
                         const struct mf_fence_target *target, const struct mf_fence_ask *ask)
{
    int rc = check(page, target, ask);
    if (rc) {
        return rc;
    }
    mf_fence_announce(&line->hazard[0], &target->key);
    mf_fence_after_announce(true);
    rc = MF_MUTANT(FENCE_CHECK) ? SMEM_OK : look(page, target, ask);
    if (rc) {
        mf_fence_leave(line);
    }
    return rc;
}

bool mf_fence_serve_valid(const struct mf_fence_page *page, const struct mf_fence_target *target,
                          const struct mf_fence_ask *ask)
{
    atomic_thread_fence(memory_order_acq_rel);
    return mf_fence_is_there(&target->key) && is_welcome(page, ask);
}

int mf_fence_serve_end(const struct mf_fence_page *page, struct mf_fence_line *line,
                       const struct mf_fence_target *target, const struct mf_fence_ask *ask)
{
    atomic_thread_fence(memory_order_acq_rel);
    int rc = MF_MUTANT(FENCE_RECHECK) ? SMEM_OK : look(page, target, ask);
    mf_fence_leave(line);
    return rc;
}
