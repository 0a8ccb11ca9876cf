// SPDX-License-Identifier: Apache-2.0
// What a pool tells the program of its members: joins and leaves to the handler of group events,
// and to the operator that a rank is dead and, later, that none is missing any more.
#include "base/err.h"
#include "core/pool.h"

/* The stay of the rank in the pool; each has another number. */
static uint64_t stay_locked(const struct mf_pool *pool, uint32_t rank)
{
    const struct mf_member *m = &pool->members.v[rank];
    return rank != pool->ctx->rank && m->state == MF_MEMBER_JOINED ? m->changed_ns : 0;
}

/* The alarm of one death is over. */
static void resume(struct mf_ctx *ctx, uint32_t count)
{
    if (count > 0 && atomic_fetch_sub(&ctx->dead_members, count) == count) {
        mf_log_resume(ctx->env->log, MF_ALARM_PEER_DEAD);
    }
}

void mf_pool_news(struct mf_pool *pool, uint32_t rank)
{
    uint32_t back = 0;
    if (rank >= pool->members.world) {
        return;
    }
    mf_mutex_lock(&pool->lock);
    struct mf_member *m = &pool->members.v[rank];
    mf_notify_rank(&pool->notify, rank, stay_locked(pool, rank));
    if (m->state == MF_MEMBER_JOINED && m->alarmed) {
        m->alarmed = false;
        back = 1;
    }
    mf_mutex_unlock(&pool->lock);
    resume(pool->ctx, back);
}

void mf_pool_news_dead(struct mf_pool *pool, uint32_t rank, const char *why)
{
    mf_mutex_lock(&pool->lock);
    if (!pool->members.v[rank].alarmed) {
        pool->members.v[rank].alarmed = true;
        atomic_fetch_add(&pool->ctx->dead_members, 1);
    }
    mf_mutex_unlock(&pool->lock);
    mf_log_alarm(pool->ctx->env->log, MF_ALARM_PEER_DEAD, "pool %u: rank %u is dead: %s", pool->id,
                 rank, why);
}

void mf_pool_news_reset(struct mf_pool *pool)
{
    uint32_t over = 0;
    mf_mutex_lock(&pool->lock);
    for (uint32_t rank = 0; pool->members.v != NULL && rank < pool->members.world; rank++) {
        over += pool->members.v[rank].alarmed;
        mf_notify_rank(&pool->notify, rank, 0);
    }
    if (pool->members.v != NULL) {
        mf_members_reset(&pool->members);
    }
    mf_mutex_unlock(&pool->lock);
    resume(pool->ctx, over);
}

int mf_pool_set_handler(struct mf_pool *pool, const struct mf_notify_handler *handler)
{
    mf_mutex_lock(&pool->lock);
    int rc = mf_notify_set(&pool->notify, handler);
    for (uint32_t rank = 0; rc == SMEM_OK && handler != NULL && rank < pool->members.world;
         rank++) {
        uint64_t stay = stay_locked(pool, rank);
        if (stay != 0) {
            mf_notify_rank(&pool->notify, rank, stay);
        }
    }
    mf_mutex_unlock(&pool->lock);
    uint64_t deadline_ns = mf_deadline_ns(pool->ctx->env, pool->space.copy_wait_ms);
    return rc == SMEM_OK ? mf_notify_settle(&pool->notify, deadline_ns) : rc;
}

int mf_pool_stop_handler(struct mf_pool *pool)
{
    int rc =
        mf_notify_stop(&pool->notify, mf_deadline_ns(pool->ctx->env, pool->space.copy_wait_ms));
    return rc == SMEM_OK ? rc : mf_err_in(rc, "pool %u", pool->id);
}

void mf_ctx_memory(struct mf_ctx *ctx, int rc)
{
    if (rc == SMEM_MALLOC_FAILED && !atomic_exchange(&ctx->memory_short, true)) {
        mf_log_alarm(ctx->env->log, MF_ALARM_MEMORY_SHORT, "rank %u: %s", ctx->rank, mf_err_msg());
    } else if (rc == SMEM_OK && atomic_exchange(&ctx->memory_short, false)) {
        mf_log_resume(ctx->env->log, MF_ALARM_MEMORY_SHORT);
    }
}

void mf_ctx_alarms_end(struct mf_ctx *ctx)
{
    struct mf_log *log = ctx->env->log;
    if (atomic_load(&ctx->store_lost)) {
        mf_log_resume(log, MF_ALARM_STORE_LOST);
    }
    if (atomic_load(&ctx->expired)) {
        mf_log_resume(log, MF_ALARM_SELF_EXPIRED);
    }
    mf_ctx_memory(ctx, SMEM_OK);
}
