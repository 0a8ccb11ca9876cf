// SPDX-License-Identifier: Apache-2.0
// Changes of membership, carried out: the watch on the store and deaths that transports see go into
// the state machine, what comes out detaches peers. All of it runs on the loop's thread.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "core/pool.h"

#define AREA "core"

static void detach(struct mf_pool *pool, uint32_t rank, uint64_t incarnation,
                   enum mf_detach_why why)
{
    uint32_t which = why == MF_DETACH_DEAD ? UINT32_MAX : pool->id;
    for (uint32_t i = 0; i < pool->tp_count; i++) {
        struct mf_tp *tp = pool->tps[i];
        if (tp->entry->ops.detach(tp->tp, rank, incarnation, which, why) != SMEM_OK) {
            mf_log(pool->ctx->env->log, MF_LOG_WARN, AREA, "pool %u: detach rank %u: %s", pool->id,
                   rank, mf_err_msg());
        }
    }
}

static void apply(struct mf_pool *pool, const struct mf_member_change *change)
{
    struct mf_log *log = pool->ctx->env->log;
    struct mf_tracer tracer = mf_tracer_shared(pool->ctx->threads->trace);
    switch (change->kind) {
    case MF_CHANGE_NOTHING:
        break;
    case MF_CHANGE_UP:
        mf_log(log, MF_LOG_INFO, AREA, "pool %u: rank %u has joined", pool->id, change->rank);
        break;
    case MF_CHANGE_LEFT:
        mf_log(log, MF_LOG_INFO, AREA, "pool %u: rank %u has left", pool->id, change->rank);
        detach(pool, change->rank, change->incarnation, MF_DETACH_LEFT);
        break;
    case MF_CHANGE_DEAD:
    case MF_CHANGE_REPLACED:
        (void)mf_trace_event(&tracer, MF_POINT_PEER_DEATH, SMEM_OK);
        mf_pool_news_dead(pool, change->rank,
                          change->kind == MF_CHANGE_DEAD ? pool->members.v[change->rank].why
                                                         : "another process has its rank");
        detach(pool, change->rank, change->incarnation, MF_DETACH_DEAD);
        break;
    case MF_CHANGE_REVOKED:
        mf_ctx_expire(pool->ctx, "its record in the config store was removed");
        break;
    }
    mf_pool_news(pool, change->rank);
}

/* ---- members that the store has not named again
 * ---------------------------------------------------- */

static void grace_tick(struct mf_pool *pool)
{
    uint64_t now_ns = mf_now_ns(pool->ctx->env);
    uint64_t next_ns = 0;
    uint64_t session_ms = mf_config_u64(pool->ctx->config, MF_OPT_STORE_SESSION_MS);
    mf_mutex_lock(&pool->lock);
    uint32_t count =
        mf_members_tick(&pool->members, now_ns, session_ms * MF_NS_PER_MS, pool->changes, &next_ns);
    mf_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < count; i++) {
        apply(pool, &pool->changes[i]);
    }
    if (next_ns != 0 && pool->grace != NULL) {
        mf_timer_set(pool->grace, next_ns + MF_NS_PER_MS);
    }
}

static void on_grace(void *pool)
{
    grace_tick(pool);
}

static void grace_free(void *arg)
{
    struct mf_pool *pool = arg;
    mf_timer_destroy(pool->grace);
    pool->grace = NULL;
}

int mf_pool_grace_start(struct mf_pool *pool)
{
    return mf_timer_create(pool->ctx->loop, on_grace, pool, &pool->grace);
}

void mf_pool_grace_stop(struct mf_pool *pool)
{
    (void)mf_loop_call(pool->ctx->loop, grace_free, pool);
}

/* ---- the watch
 * --------------------------------------------------------------------------------------- */

static bool rank_of_key(const char *key, uint32_t *rank)
{
    const char *slash = key != NULL ? strrchr(key, '/') : NULL;
    char *end = NULL;
    if (slash == NULL || slash[1] < '0' || slash[1] > '9') {
        return false;
    }
    unsigned long value = strtoul(slash + 1, &end, 10);
    *rank = (uint32_t)value;
    return *end == '\0' && value < MF_WORLD_MAX;
}

void mf_pool_on_watch(void *arg, const struct mf_watch_event *event)
{
    struct mf_pool *pool = arg;
    struct mf_member_change change = {.kind = MF_CHANGE_NOTHING};
    uint64_t now_ns = mf_now_ns(pool->ctx->env);
    uint32_t rank = 0;
    int rc = SMEM_OK;
    mf_mutex_lock(&pool->lock);
    switch (event->kind) {
    case MF_WATCH_SYNC_BEGIN:
        mf_members_sync_begin(&pool->members);
        break;
    case MF_WATCH_SYNC_END:
        mf_members_sync_end(&pool->members, now_ns);
        mf_cond_broadcast(&pool->changed);
        break;
    case MF_WATCH_LOST:
        pool->members.lost = true;
        break;
    case MF_WATCH_PUT:
        if (rank_of_key(event->key, &rank)) {
            rc = mf_members_put(&pool->members, rank, event->value, event->value_len, now_ns,
                                &change);
        }
        break;
    case MF_WATCH_DELETE:
        if (rank_of_key(event->key, &rank)) {
            mf_members_delete(&pool->members, rank, event->expired, now_ns, &change);
        }
        break;
    }
    mf_mutex_unlock(&pool->lock);
    if (rc != SMEM_OK) {
        mf_log(pool->ctx->env->log, MF_LOG_WARN, AREA, "pool %u: %s", pool->id, mf_err_msg());
    }
    apply(pool, &change);
    if (event->kind == MF_WATCH_SYNC_END) {
        grace_tick(pool);
    }
}

/* ---- deaths
 * ------------------------------------------------------------------------------------------- */

static void ignore_answer(void *arg, const struct mf_store_rsp *rsp)
{
    (void)arg;
    (void)rsp;
}

/* Tell the others: the dead process's keys go when they still hold what it wrote. Its session may
 * live on in a forked child that holds its socket. */
static void remove_key(struct mf_ctx *ctx, const char *key, const uint8_t *record, size_t len)
{
    struct mf_store_req req = {.op = MF_STORE_CAS, .key = key, .expect = record, .expect_len = len};
    if (ctx->store->ops->submit(ctx->store, &req, ignore_answer, NULL) != SMEM_OK) {
        mf_err_clear();
    }
}

static void pool_peer_dead(struct mf_pool *pool, uint32_t rank, uint64_t incarnation,
                           const char *why)
{
    struct mf_member_change change;
    struct mf_rec_member record;
    uint8_t buf[MF_RECORD_MAX];
    char key[64];
    mf_mutex_lock(&pool->lock);
    bool joined = rank < pool->members.world && pool->members.v[rank].state == MF_MEMBER_JOINED &&
                  pool->members.v[rank].record.identity.incarnation == incarnation;
    if (joined) {
        record = pool->members.v[rank].record;
    }
    mf_members_dead(&pool->members, rank, incarnation, why, mf_now_ns(pool->ctx->env), &change);
    mf_mutex_unlock(&pool->lock);
    apply(pool, &change);
    if (joined) {
        snprintf(key, sizeof(key), "pool/%u/m/%u", pool->id, rank);
        remove_key(pool->ctx, key, buf, mf_rec_put_member(buf, &record));
        snprintf(key, sizeof(key), "world/rank/%u", rank);
        record.identity.world_size = pool->ctx->world;
        remove_key(pool->ctx, key, buf, mf_rec_put_identity(buf, &record.identity));
    }
}

void mf_pools_peer_dead(struct mf_ctx *ctx, uint32_t rank, uint64_t incarnation, const char *why)
{
    for (uint32_t id = 0; id < MF_POOLS_MAX; id++) {
        struct mf_pool *pool = mf_ctx_pool_get(ctx, id);
        if (pool != NULL) {
            pool_peer_dead(pool, rank, incarnation, why);
            mf_pool_put(pool);
        }
    }
}
