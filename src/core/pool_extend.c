// SPDX-License-Identifier: Apache-2.0
// Growing the memory that this rank gives to a pool: one more piece behind what there is, told to
// the store first, then published, then brought to the peers that are attached. Peers that are not
// learn of it with the first call that needs it.
#include <inttypes.h>

#include "base/err.h"
#include "core/pool.h"

#define AREA    "core"
#define SOON_NS (100 * MF_NS_PER_MS)

static const char *kind_name(enum mf_mem_kind kind)
{
    return kind == MF_KIND_HBM ? "HBM" : "DRAM";
}

static int check_room(struct mf_pool *pool, enum mf_mem_kind kind, uint64_t size)
{
    uint64_t have = atomic_load(&pool->own_bytes[kind]);
    uint64_t most = pool->table.layout.max_bytes[kind];
    if (size > most - have) {
        return mf_err(SMEM_ERROR,
                      "rank %u gives %" PRIu64 " bytes of %s and %" PRIu64
                      " more are wanted, but %s %" PRIu64
                      " is the most: create the pool with a larger one on all ranks",
                      pool->ctx->rank, have, kind_name(kind), size,
                      kind == MF_KIND_HBM ? "maxHbmSize" : "maxDramSize", most);
    }
    uint64_t limit = kind == MF_KIND_HBM ? MF_HBM_LOCAL_MAX : MF_DRAM_LOCAL_MAX;
    if (size > limit - have) {
        return mf_err(SMEM_ERROR,
                      "rank %u gives %" PRIu64 " bytes of %s and %" PRIu64
                      " more are wanted, but one rank may give at most %" PRIu64,
                      pool->ctx->rank, have, kind_name(kind), size, limit);
    }
    if (pool->own[kind].count >= MF_SLOT_SEGMENTS) {
        return mf_err(SMEM_NO_RESOURCES,
                      "the %s of rank %u was extended %u times, the limit: extend by larger pieces",
                      kind_name(kind), pool->ctx->rank, MF_SLOT_SEGMENTS - 1);
    }
    if (kind == MF_KIND_HBM && pool->ctx->dev == NULL) {
        return mf_dev_none(pool->ctx->env, pool->ctx->config,
                           mf_config_str(pool->ctx->config, MF_OPT_DEVICE));
    }
    return SMEM_OK;
}

static bool is_attached(struct mf_pool *pool, uint32_t rank)
{
    mf_mutex_lock(&pool->lock);
    const struct mf_member *m = &pool->members.v[rank];
    bool is = m->state == MF_MEMBER_JOINED &&
              (m->attached || atomic_load(&pool->placed[rank]) == m->record.identity.incarnation);
    mf_mutex_unlock(&pool->lock);
    return is;
}

/* Exchange with one peer what is new on either side. False: it did not answer in time. */
static bool tell(struct mf_pool *pool, uint32_t rank, uint64_t deadline_ns)
{
    mf_mutex_lock(&pool->lock);
    pool->members.v[rank].attached = false;
    mf_mutex_unlock(&pool->lock);
    if (mf_pool_resolve(pool, rank, deadline_ns) == SMEM_OK) {
        return true;
    }
    mf_log(pool->ctx->env->log, MF_LOG_INFO, AREA, "pool %u: extended, but not yet told: %s",
           pool->id, mf_err_msg());
    return false;
}

/* All that answer soon come first, then the others, until the deadline. One that does not answer at
 * all learns of it later, as one does that was never attached. */
static void tell_peers(struct mf_pool *pool, uint64_t deadline_ns)
{
    struct mf_ctx *ctx = pool->ctx;
    uint64_t told[MF_WORLD_MAX / 64] = {0};
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 1; i < ctx->world; i++) {
            uint32_t rank = (ctx->rank + i) % ctx->world;
            uint64_t until_ns = mf_now_ns(ctx->env) + SOON_NS;
            until_ns = round == 0 && until_ns < deadline_ns ? until_ns : deadline_ns;
            uint64_t bit = 1ull << (rank % 64);
            if ((told[rank / 64] & bit) != 0 || !is_attached(pool, rank)) {
                continue;
            }
            if (mf_now_ns(ctx->env) < deadline_ns && tell(pool, rank, until_ns)) {
                told[rank / 64] |= bit;
            }
        }
    }
}

/* The record first: should the store be silent, nobody has seen the memory. A record that says more
 * than there is does no harm, its readers ask the owner. */
static int publish(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_own *own,
                   uint64_t deadline_ns)
{
    struct mf_err_rec saved;
    int announced = mf_pool_announce(pool, deadline_ns);
    int rc = announced == SMEM_OK ? mf_pool_publish(pool, kind, own) : announced;
    if (rc == SMEM_OK) {
        return rc;
    }
    mf_err_save(&saved);
    (void)mf_pool_withdraw(pool, kind, own, deadline_ns);
    mf_pool_memory_drop(pool, kind, own);
    if (announced == SMEM_OK) {
        (void)mf_pool_announce(pool, deadline_ns);
    }
    mf_err_restore(&saved);
    return rc;
}

static int extend(struct mf_pool *pool, enum mf_mem_kind kind, uint64_t size)
{
    struct mf_ctx *ctx = pool->ctx;
    uint64_t deadline_ns = mf_deadline_ns(ctx->env, ctx->op_ms);
    uint64_t connect_ns =
        mf_deadline_ns(ctx->env, mf_config_u64(ctx->config, MF_OPT_PEER_CONNECT_MS));
    struct mf_own *own = NULL;
    struct mf_err_rec before;
    int rc = check_room(pool, kind, size);
    if (rc == SMEM_OK) {
        rc = mf_pool_memory_add(pool, kind, size, &own);
    }
    if (rc != SMEM_OK || atomic_load(&pool->state) != MF_POOL_JOINED) {
        return rc;
    }
    rc = publish(pool, kind, own, deadline_ns);
    if (rc == SMEM_OK) {
        mf_err_save(&before);
        tell_peers(pool, connect_ns < deadline_ns ? connect_ns : deadline_ns);
        mf_err_restore(&before);
    }
    return rc;
}

int mf_pool_extend(struct mf_pool *pool, enum mf_mem_kind kind, uint64_t size)
{
    int rc = mf_ctx_check(pool->ctx);
    mf_mutex_lock(&pool->op_lock);
    if (rc == SMEM_OK && atomic_load(&pool->state) == MF_POOL_LEAVING) {
        rc = mf_pool_refuse_leaving(pool);
    }
    if (rc == SMEM_OK) {
        rc = extend(pool, kind, size);
    }
    mf_mutex_unlock(&pool->op_lock);
    if (rc != SMEM_OK) {
        mf_err_in(rc, "extend the %s of rank %u in pool %u by %" PRIu64 " bytes", kind_name(kind),
                  pool->ctx->rank, pool->id, size);
    }
    mf_ctx_memory(pool->ctx, rc);
    return rc;
}
