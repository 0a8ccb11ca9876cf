// SPDX-License-Identifier: Apache-2.0
// What this rank publishes of its memory, through every transport of the pool that carries it, and
// how it takes it back.
#include "base/err.h"
#include "core/pool.h"

#define AREA "core"

static bool carries(const struct mf_tp *tp, enum mf_mem_kind kind)
{
    return (tp->entry->ops.caps & (kind == MF_KIND_HBM ? MF_CAP_DEVICE : MF_CAP_HOST)) != 0;
}

int mf_pool_publish(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_own *own)
{
    struct mf_publish pub = {.segment = &own->segment,
                             .fd = own->fd,
                             .flags = own->memory.user_fd ? MF_PUBLISH_KEEP : 0};
    for (uint32_t i = 0; own->made && i < pool->tp_count; i++) {
        const struct mf_tp *tp = pool->tps[i];
        if (!carries(tp, kind)) {
            continue;
        }
        int rc = tp->entry->ops.publish(tp->tp, &pub);
        if (rc != SMEM_OK) {
            return mf_err_in(rc, "transport %s", tp->entry->ops.name);
        }
        own->segment.ops = &tp->entry->ops; /* the complete table, not the plug-in's own */
    }
    return SMEM_OK;
}

int mf_pool_publish_all(struct mf_pool *pool)
{
    int rc = SMEM_OK;
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        struct mf_own *own = atomic_load(&pool->own[kind].first);
        for (; own != NULL && rc == SMEM_OK; own = atomic_load(&own->next)) {
            rc = mf_pool_publish(pool, (enum mf_mem_kind)kind, own);
        }
    }
    return rc;
}

/* Pages of ours are given back and late bytes land in the orphan, so that a peer that does not
 * finish is no reason to fail. Memory of the user is used again. */
int mf_pool_withdraw(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_own *own,
                     uint64_t deadline_ns)
{
    int rc = SMEM_OK;
    for (uint32_t i = 0; own->made && i < pool->tp_count; i++) {
        const struct mf_tp *tp = pool->tps[i];
        int failed =
            carries(tp, kind) ? tp->entry->ops.withdraw(tp->tp, &own->segment, deadline_ns) : 0;
        if (failed == SMEM_OK) {
            continue;
        }
        if (own->memory.user_fd && failed == SMEM_RES_IN_USE) {
            rc = failed;
        } else {
            mf_log(pool->ctx->env->log, MF_LOG_WARN, AREA, "pool %u: %s", pool->id, mf_err_msg());
        }
    }
    return rc;
}

int mf_pool_withdraw_all(struct mf_pool *pool)
{
    uint64_t deadline_ns =
        mf_deadline_ns(pool->ctx->env, mf_config_u64(pool->ctx->config, MF_OPT_FENCE_MS));
    struct mf_err_rec saved;
    int rc = SMEM_OK;
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        struct mf_own *own = atomic_load(&pool->own[kind].first);
        for (; own != NULL; own = atomic_load(&own->next)) {
            int failed = mf_pool_withdraw(pool, (enum mf_mem_kind)kind, own, deadline_ns);
            if (failed != SMEM_OK) {
                rc = failed;
                mf_err_save(&saved);
            }
        }
    }
    if (rc != SMEM_OK) {
        mf_err_restore(&saved);
    }
    return rc;
}
