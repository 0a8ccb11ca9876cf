// SPDX-License-Identifier: Apache-2.0
// Changes of membership, carried out: the watch on the store and deaths that transports see go into
// the state machine, what comes out detaches peers. All of it runs on the loop's thread.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "core/pool.h"

#define AREA        "core"
#define ASK_LIFE_MS 1000u

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

static void ask_for_life(struct mf_pool *pool, const struct mf_member_change *missing);
static void remove_zombie(struct mf_pool *pool, uint32_t rank, uint64_t incarnation);

/* It may have come through a transport, and gone, without its record ever being seen here. */
void mf_pool_member_up(struct mf_pool *pool, uint32_t rank, uint64_t incarnation)
{
    uint64_t placed = atomic_load(&pool->placed[rank]);
    if (placed != 0 && placed != incarnation) {
        detach(pool, rank, placed, MF_DETACH_DEAD);
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
        mf_pool_member_up(pool, change->rank,
                          pool->members.v[change->rank].record.identity.incarnation);
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
    case MF_CHANGE_MISSING:
        ask_for_life(pool, change);
        return;
    case MF_CHANGE_ZOMBIE:
        remove_zombie(pool, change->rank, change->incarnation);
        return;
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
        if (pool->changes[i].kind == MF_CHANGE_MISSING) { /* should it stay in question */
            uint64_t again_ns = now_ns + session_ms * MF_NS_PER_MS;
            next_ns = next_ns == 0 || again_ns < next_ns ? again_ns : next_ns;
        }
    }
    if (next_ns != 0 && pool->grace != NULL) {
        mf_timer_set(pool->grace, next_ns + MF_NS_PER_MS);
    }
}

/* A life in question; holds the pool. */
struct question {
    struct mf_pool *pool;
    uint32_t rank;
    uint64_t incarnation;
};

static void on_life(void *arg, const struct mf_store_rsp *rsp)
{
    struct question *q = arg;
    struct mf_pool *pool = q->pool;
    struct mf_member_change change;
    struct mf_rec_identity holder;
    enum mf_life life = rsp->rc == SMEM_NOT_EXIST ? MF_LIFE_ENDED : MF_LIFE_UNKNOWN;
    if (rsp->rc == SMEM_OK && rsp->value != NULL &&
        mf_rec_get_identity(rsp->value, rsp->value_len, &holder) == SMEM_OK) {
        life = holder.incarnation == q->incarnation ? MF_LIFE_GOES_ON : MF_LIFE_ENDED;
    }
    mf_mutex_lock(&pool->lock);
    mf_members_judge(&pool->members, q->rank, q->incarnation, life, mf_now_ns(pool->ctx->env),
                     &change);
    mf_mutex_unlock(&pool->lock);
    apply(pool, &change);
    if (life == MF_LIFE_UNKNOWN) {
        grace_tick(pool);
    }
    mf_pool_put(pool);
    mf_free(q);
}

/* Ask the store for a key; `done` frees the question and lets go of the pool. False: it could not
 * be asked. */
static bool ask(struct mf_pool *pool, const char *key, uint32_t rank, uint64_t incarnation,
                mf_store_done_fn done)
{
    struct mf_ctx *ctx = pool->ctx;
    struct mf_store_req req = {
        .op = MF_STORE_GET, .key = key, .deadline_ns = mf_deadline_ns(ctx->env, ASK_LIFE_MS)};
    struct question *q = mf_calloc(1, sizeof(*q), "question for a life");
    if (q != NULL) {
        *q = (struct question){pool, rank, incarnation};
        atomic_fetch_add(&pool->refs, 1);
        if (ctx->store->ops->submit(ctx->store, &req, done, q) == SMEM_OK) {
            return true;
        }
        mf_pool_put(pool);
        mf_free(q);
    }
    mf_err_clear();
    return false;
}

/* It may have left the pool while the store was away, and live. */
static void ask_for_life(struct mf_pool *pool, const struct mf_member_change *missing)
{
    char key[64];
    struct mf_member_change none;
    snprintf(key, sizeof(key), "world/rank/%u", missing->rank);
    if (ask(pool, key, missing->rank, missing->incarnation, on_life)) {
        return;
    }
    mf_mutex_lock(&pool->lock);
    mf_members_judge(&pool->members, missing->rank, missing->incarnation, MF_LIFE_UNKNOWN,
                     mf_now_ns(pool->ctx->env), &none);
    mf_mutex_unlock(&pool->lock);
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

/* The identity in the store under world/rank/<r>, if it is the zombie's. */
static void on_zombie(void *arg, const struct mf_store_rsp *rsp)
{
    struct question *q = arg;
    struct mf_rec_identity holder;
    char key[64];
    if (rsp->rc == SMEM_OK && rsp->value != NULL &&
        mf_rec_get_identity(rsp->value, rsp->value_len, &holder) == SMEM_OK &&
        holder.incarnation == q->incarnation) {
        snprintf(key, sizeof(key), "world/rank/%u", q->rank);
        remove_key(q->pool->ctx, key, rsp->value, rsp->value_len);
    }
    mf_pool_put(q->pool);
    mf_free(q);
}

/* Its key as a member as well: it learns by that, and comes back under a new incarnation. */
static void on_zombie_member(void *arg, const struct mf_store_rsp *rsp)
{
    struct question *q = arg;
    struct mf_rec_member record;
    char key[64];
    if (rsp->rc == SMEM_OK && rsp->value != NULL &&
        mf_rec_get_member(rsp->value, rsp->value_len, &record) == SMEM_OK &&
        record.identity.incarnation == q->incarnation) {
        snprintf(key, sizeof(key), "pool/%u/m/%u", q->pool->id, q->rank);
        remove_key(q->pool->ctx, key, rsp->value, rsp->value_len);
    }
    mf_pool_put(q->pool);
    mf_free(q);
}

static void remove_zombie(struct mf_pool *pool, uint32_t rank, uint64_t incarnation)
{
    char key[64];
    mf_log(pool->ctx->env->log, MF_LOG_WARN, AREA,
           "pool %u: rank %u is in the config store under a life that was declared dead: it is "
           "removed there",
           pool->id, rank);
    snprintf(key, sizeof(key), "pool/%u/m/%u", pool->id, rank);
    ask(pool, key, rank, incarnation, on_zombie_member);
    snprintf(key, sizeof(key), "world/rank/%u", rank);
    ask(pool, key, rank, incarnation, on_zombie);
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
