// SPDX-License-Identifier: Apache-2.0
// Joining and leaving a pool.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "core/pool.h"

#define AREA        "core"
#define LAST_TRY_NS (100 * MF_NS_PER_MS)

/* ---- this rank's segments
 * ------------------------------------------------------------------------------ */

static int publish_all(struct mf_pool *pool)
{
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        struct mf_own *own = &pool->own[kind];
        struct mf_publish pub = {.segment = &own->segment, .fd = own->fd, .fd_offset = 0};
        for (uint32_t i = 0; own->segment.desc.size > 0 && i < pool->tp_count; i++) {
            const struct mf_tp *tp = pool->tps[i];
            uint32_t needs = kind == MF_KIND_HBM ? MF_CAP_DEVICE : MF_CAP_HOST;
            if ((tp->entry->ops.caps & needs) == 0) {
                continue;
            }
            int rc = tp->entry->ops.publish(tp->tp, &pub);
            if (rc != SMEM_OK) {
                return mf_err_in(rc, "transport %s", tp->entry->ops.name);
            }
            own->segment.ops = &tp->entry->ops; /* the complete table, not the plug-in's own */
        }
    }
    return SMEM_OK;
}

/* Pages of ours are given back and late bytes land in the orphan, so that a peer that does not
 * finish is no reason to fail. */
static void withdraw_all(struct mf_pool *pool)
{
    uint64_t deadline_ns =
        mf_deadline_ns(pool->ctx->env, mf_config_u64(pool->ctx->config, MF_OPT_FENCE_MS));
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        struct mf_own *own = &pool->own[kind];
        for (uint32_t i = 0; own->segment.desc.size > 0 && i < pool->tp_count; i++) {
            const struct mf_tp *tp = pool->tps[i];
            uint32_t needs = kind == MF_KIND_HBM ? MF_CAP_DEVICE : MF_CAP_HOST;
            if ((tp->entry->ops.caps & needs) != 0 &&
                tp->entry->ops.withdraw(tp->tp, &own->segment, deadline_ns) != SMEM_OK) {
                mf_log(pool->ctx->env->log, MF_LOG_WARN, AREA, "pool %u: %s", pool->id,
                       mf_err_msg());
            }
        }
    }
}

/* A peer may have come before its record did, so that the members alone do not tell who is here. */
void mf_pool_detach_all(struct mf_pool *pool)
{
    for (uint32_t rank = 0; pool->placed != NULL && rank < pool->members.world; rank++) {
        mf_mutex_lock(&pool->lock);
        uint64_t member = pool->members.v[rank].record.identity.incarnation;
        mf_mutex_unlock(&pool->lock);
        uint64_t placed = atomic_load(&pool->placed[rank]);
        for (uint32_t i = 0; i < pool->tp_count && rank != pool->ctx->rank; i++) {
            const struct mf_tp *tp = pool->tps[i];
            if (member != 0) {
                (void)tp->entry->ops.detach(tp->tp, rank, member, pool->id, MF_DETACH_LEFT);
            }
            if (placed != 0 && placed != member) {
                (void)tp->entry->ops.detach(tp->tp, rank, placed, pool->id, MF_DETACH_LEFT);
            }
        }
    }
}

/* ---- the store
 * ------------------------------------------------------------------------------------------- */

static void member_key(const struct mf_pool *pool, char *key, size_t len)
{
    snprintf(key, len, "pool/%u/m/%u", pool->id, pool->ctx->rank);
}

static int announce(struct mf_pool *pool, uint64_t deadline_ns)
{
    char key[64];
    uint8_t buf[MF_RECORD_MAX];
    struct mf_rec_member record = {.identity = pool->ctx->identity,
                                   .hbm_bytes = pool->own_bytes[MF_KIND_HBM],
                                   .dram_bytes = pool->own_bytes[MF_KIND_DRAM],
                                   .count = pool->tp_count};
    for (uint32_t i = 0; i < pool->tp_count; i++) {
        record.endpoint[i] = pool->tps[i]->endpoint;
    }
    member_key(pool, key, sizeof(key));
    return mf_store_set(pool->ctx->store, key, buf, mf_rec_put_member(buf, &record),
                        MF_STORE_EPHEMERAL, deadline_ns);
}

static int retract(struct mf_pool *pool, uint64_t deadline_ns)
{
    char key[64];
    if (deadline_ns == 0) {
        return SMEM_OK;
    }
    member_key(pool, key, sizeof(key));
    int rc = mf_store_remove(pool->ctx->store, key, deadline_ns);
    return rc == SMEM_NOT_EXIST ? SMEM_OK : rc;
}

/* Watch the members and wait until all that are there have been named. */
static int watch(struct mf_pool *pool, uint64_t deadline_ns)
{
    char prefix[64];
    struct mf_store *store = pool->ctx->store;
    snprintf(prefix, sizeof(prefix), "pool/%u/m/", pool->id);
    int rc = mf_pool_grace_start(pool);
    if (rc == SMEM_OK) {
        rc = store->ops->watch(store, prefix, mf_pool_on_watch, pool, &pool->watch);
    }
    if (rc != SMEM_OK) {
        return rc;
    }
    mf_mutex_lock(&pool->lock);
    while (!pool->members.synced) {
        if (!mf_cond_wait(&pool->changed, &pool->lock, deadline_ns)) {
            rc = mf_err(SMEM_TIMEOUT, "the config store has not named the members in time");
            break;
        }
    }
    mf_mutex_unlock(&pool->lock);
    return rc;
}

static void unwatch(struct mf_pool *pool)
{
    if (pool->watch != 0) {
        (void)pool->ctx->store->ops->unwatch(pool->ctx->store, pool->watch);
        pool->watch = 0;
    }
    mf_pool_grace_stop(pool);
}

/* ---- the peers
 * ------------------------------------------------------------------------------------------- */

static bool is_member(struct mf_pool *pool, uint32_t rank)
{
    mf_mutex_lock(&pool->lock);
    bool joined = pool->members.v[rank].state == MF_MEMBER_JOINED;
    mf_mutex_unlock(&pool->lock);
    return joined;
}

/* Reach one member. One that is stopped or dying gets the time in which the store would notice, one
 * that lives and cannot be reached fails the join: its memory would be missing silently. */
static int attach_member(struct mf_pool *pool, uint32_t rank, uint64_t deadline_ns)
{
    struct mf_ctx *ctx = pool->ctx;
    uint64_t patience_ms = mf_config_u64(ctx->config, MF_OPT_STORE_SESSION_MS) + 1000;
    uint64_t until_ns = mf_deadline_ns(ctx->env, patience_ms);
    until_ns = until_ns < deadline_ns ? until_ns : deadline_ns;
    while (is_member(pool, rank)) {
        int rc = mf_pool_resolve(pool, rank, until_ns);
        /* A last try that is cut short would say less than this one. */
        if (rc == SMEM_OK ||
            (mf_now_ns(ctx->env) + LAST_TRY_NS >= until_ns && is_member(pool, rank))) {
            return rc;
        }
        mf_log(ctx->env->log, MF_LOG_INFO, AREA, "pool %u: %s", pool->id, mf_err_msg());
        struct timespec pause = {0, 20000000};
        nanosleep(&pause, NULL);
    }
    return SMEM_OK;
}

/* Reach the members that are there, up to the limit, next ranks first; the others are reached by
 * the first call that needs them. */
static int attach_members(struct mf_pool *pool, uint64_t deadline_ns)
{
    struct mf_ctx *ctx = pool->ctx;
    uint64_t left = mf_config_u64(ctx->config, MF_OPT_PEER_EAGER);
    int rc = SMEM_OK;
    for (uint32_t i = 1; rc == SMEM_OK && i < ctx->world && left > 0; i++) {
        uint32_t rank = (ctx->rank + i) % ctx->world;
        if (is_member(pool, rank)) {
            left--;
            rc = attach_member(pool, rank, deadline_ns);
        }
    }
    return rc;
}

static int join_all(struct mf_pool *pool, uint64_t deadline_ns)
{
    int rc = mf_pool_memory_populate(pool);
    if (rc == SMEM_OK) {
        rc = publish_all(pool);
    }
    if (rc == SMEM_OK) {
        rc = announce(pool, deadline_ns);
    }
    if (rc == SMEM_OK) {
        rc = watch(pool, deadline_ns);
    }
    if (rc == SMEM_OK) {
        rc = attach_members(pool, deadline_ns);
    }
    return rc;
}

/* Everything that a join, whole or half, has done; the memory stays as it is. deadline_ns 0: the
 * store is not told, its end of our session will tell the others. */
static int undo_join(struct mf_pool *pool, uint64_t deadline_ns)
{
    unwatch(pool);
    withdraw_all(pool);
    int rc = retract(pool, deadline_ns);
    mf_pool_detach_all(pool);
    mf_mutex_lock(&pool->lock);
    mf_members_reset(&pool->members);
    mf_mutex_unlock(&pool->lock);
    return rc;
}

int mf_pool_join(struct mf_pool *pool)
{
    struct mf_ctx *ctx = pool->ctx;
    uint64_t deadline_ns = mf_deadline_ns(ctx->env, ctx->op_ms);
    int rc = mf_ctx_check(ctx);
    mf_mutex_lock(&pool->op_lock);
    if (rc == SMEM_OK && atomic_load(&pool->state) != MF_POOL_JOINED) {
        atomic_store(&pool->state, MF_POOL_JOINING);
        rc = join_all(pool, deadline_ns);
        if (rc == SMEM_OK) {
            atomic_store(&pool->state, MF_POOL_JOINED);
        } else {
            struct mf_err_rec saved;
            mf_err_save(&saved);
            atomic_store(&pool->state, MF_POOL_LEAVING); /* no peer comes any more */
            (void)undo_join(pool, mf_ctx_store_deadline(ctx));
            (void)mf_pool_memory_renew(pool, false);
            atomic_store(&pool->state, MF_POOL_CREATED);
            mf_err_restore(&saved);
        }
    }
    mf_mutex_unlock(&pool->op_lock);
    return rc == SMEM_OK ? rc : mf_err_in(rc, "join pool %u as rank %u", pool->id, ctx->rank);
}

int mf_pool_leave(struct mf_pool *pool, bool last)
{
    struct mf_ctx *ctx = pool->ctx;
    uint64_t deadline_ns = mf_deadline_ns(ctx->env, ctx->op_ms);
    int rc = SMEM_OK;
    if (last) {
        deadline_ns = mf_ctx_store_deadline(ctx);
    }
    mf_mutex_lock(&pool->op_lock);
    if (atomic_load(&pool->state) == MF_POOL_JOINED) {
        atomic_store(&pool->state, MF_POOL_LEAVING);
        rc = undo_join(pool, deadline_ns);
        int renewed = mf_pool_memory_renew(pool, last);
        rc = rc != SMEM_OK ? rc : renewed;
        atomic_store(&pool->state, MF_POOL_CREATED);
    }
    mf_mutex_unlock(&pool->op_lock);
    return rc == SMEM_OK ? rc : mf_err_in(rc, "leave pool %u as rank %u", pool->id, ctx->rank);
}
