// SPDX-License-Identifier: Apache-2.0
// Joining and leaving a pool.
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "core/pool.h"

#define AREA            "core"
#define LAST_TRY_NS     (100 * MF_NS_PER_MS)
#define EXPIRED_LOOK_MS 100 /* while it waits for the store: was this rank declared dead? */

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

int mf_pool_announce(struct mf_pool *pool, uint64_t deadline_ns)
{
    char key[64];
    uint8_t buf[MF_RECORD_MAX];
    struct mf_rec_member record = {.identity = pool->ctx->identity,
                                   .hbm_bytes = atomic_load(&pool->own_bytes[MF_KIND_HBM]),
                                   .dram_bytes = atomic_load(&pool->own_bytes[MF_KIND_DRAM]),
                                   .count = pool->tp_count,
                                   .tag_count = pool->tags.count};
    memcpy(record.tag, pool->tags.own, sizeof(record.tag));
    memcpy(record.tags, pool->tags.pair, sizeof(record.tags));
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
    struct mf_err_rec before;
    mf_err_save(&before);
    member_key(pool, key, sizeof(key));
    if (deadline_ns == 0) { /* submitted all the same, so that it is not announced again */
        (void)mf_store_remove(pool->ctx->store, key, mf_now_ns(pool->ctx->env));
        mf_err_restore(&before);
        return SMEM_OK;
    }
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
    while (rc == SMEM_OK && !pool->members.synced) {
        uint64_t look_ns = mf_deadline_ns(pool->ctx->env, EXPIRED_LOOK_MS);
        bool last = look_ns >= deadline_ns;
        bool told = mf_cond_wait(&pool->changed, &pool->lock, last ? deadline_ns : look_ns);
        rc = mf_ctx_check(pool->ctx);
        if (rc == SMEM_OK && last && !told && !pool->members.synced) {
            rc = mf_err(SMEM_TIMEOUT, "the config store has not named the members in time");
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

/* A member whose tag has no operator with this rank's is none of our business. */
static bool is_allowed(struct mf_pool *pool, uint32_t rank)
{
    struct mf_err_rec before;
    uint32_t mine = 0, theirs = 0;
    mf_err_save(&before);
    mf_mutex_lock(&pool->lock);
    int rc = mf_pool_allows(pool, rank, &pool->members.v[rank].record, &mine, &theirs);
    mf_mutex_unlock(&pool->lock);
    mf_err_restore(&before);
    return rc == SMEM_OK;
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
        mf_thread_sleep_ns(20000000);
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
        if (is_member(pool, rank) && is_allowed(pool, rank)) {
            left--;
            rc = attach_member(pool, rank, deadline_ns);
        }
    }
    return rc;
}

static int join_all(struct mf_pool *pool, uint64_t deadline_ns)
{
    int rc = mf_pool_memory_populate(pool);
    mf_ctx_memory(pool->ctx, rc);
    if (rc == SMEM_OK) {
        rc = mf_pool_publish_all(pool);
    }
    if (rc == SMEM_OK) {
        rc = mf_pool_announce(pool, deadline_ns);
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
 * store is not told, its end of our session will tell the others. SMEM_RES_IN_USE with *in_use: not
 * all of it could be undone, but may be if called again. */
static int undo_join(struct mf_pool *pool, uint64_t deadline_ns, bool *in_use)
{
    struct mf_err_rec saved;
    unwatch(pool);
    *in_use = mf_pool_withdraw_all(pool) != SMEM_OK;
    mf_err_save(&saved);
    int rc = retract(pool, deadline_ns);
    mf_pool_detach_all(pool);
    mf_pool_news_reset(pool);
    if (!*in_use) {
        return rc;
    }
    mf_err_restore(&saved);
    return mf_err_in(SMEM_RES_IN_USE,
                     "the memory of dramShmFd may still be written to, call smem_bm_leave again");
}

int mf_pool_refuse_leaving(const struct mf_pool *pool)
{
    return mf_err(SMEM_RES_IN_USE,
                  "rank %u has not left pool %u yet, since a peer may still write to the memory of "
                  "dramShmFd: call smem_bm_leave until it succeeds",
                  pool->ctx->rank, pool->id);
}

/* The sentence of what went wrong stays. */
static void give_up_join(struct mf_pool *pool)
{
    struct mf_err_rec saved;
    bool in_use;
    mf_err_save(&saved);
    atomic_store(&pool->state, MF_POOL_LEAVING); /* no peer comes any more */
    (void)undo_join(pool, mf_ctx_store_deadline(pool->ctx), &in_use);
    if (!in_use) {
        (void)mf_pool_memory_renew(pool, false);
        atomic_store(&pool->state, MF_POOL_CREATED);
    }
    mf_err_restore(&saved);
}

int mf_pool_join(struct mf_pool *pool)
{
    struct mf_ctx *ctx = pool->ctx;
    uint64_t deadline_ns = mf_deadline_ns(ctx->env, ctx->op_ms);
    int rc = mf_ctx_check(ctx);
    mf_mutex_lock(&pool->op_lock);
    if (rc == SMEM_OK && atomic_load(&pool->state) == MF_POOL_LEAVING) {
        rc = mf_pool_refuse_leaving(pool);
    } else if (rc == SMEM_OK && atomic_load(&pool->state) != MF_POOL_JOINED) {
        atomic_store(&pool->state, MF_POOL_JOINING);
        rc = join_all(pool, deadline_ns);
        if (rc == SMEM_OK) {
            atomic_store(&pool->state, MF_POOL_JOINED);
        } else {
            give_up_join(pool);
        }
    }
    mf_mutex_unlock(&pool->op_lock);
    return rc == SMEM_OK ? rc : mf_err_in(rc, "join pool %u as rank %u", pool->id, ctx->rank);
}

static int leave(struct mf_pool *pool, bool last, uint64_t deadline_ns)
{
    bool in_use;
    struct mf_err_rec saved;
    atomic_store(&pool->state, MF_POOL_LEAVING);
    int rc = undo_join(pool, deadline_ns, &in_use);
    if (in_use) {
        return rc;
    }
    mf_err_save(&saved);
    int renewed = mf_pool_memory_renew(pool, last);
    mf_ctx_memory(pool->ctx, renewed);
    atomic_store(&pool->state, MF_POOL_CREATED);
    if (rc != SMEM_OK) {
        mf_err_restore(&saved); /* not what was met on the way */
    }
    return rc != SMEM_OK ? rc : renewed;
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
    if (atomic_load(&pool->state) != MF_POOL_CREATED) {
        if (!last) {
            mf_req_engine_drop(pool->requests);
        }
        rc = leave(pool, last, deadline_ns);
    }
    mf_mutex_unlock(&pool->op_lock);
    return rc == SMEM_OK ? rc : mf_err_in(rc, "leave pool %u as rank %u", pool->id, ctx->rank);
}
