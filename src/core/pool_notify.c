// SPDX-License-Identifier: Apache-2.0
// The state of each rank as the handler knows it and as it is, the list of ranks where the two
// differ, and the thread that makes them equal.
#include "core/pool_notify.h"

#include <string.h>

#include "base/alloc.h"
#include "base/err.h"

void mf_notify_init(struct mf_notify *notify, const struct mf_env *env, uint32_t world)
{
    memset(notify, 0, sizeof(*notify));
    notify->env = env;
    notify->world = world;
    mf_mutex_init(&notify->lock, MF_RANK_LEAF);
    mf_cond_init(&notify->cond);
}

void mf_notify_fini(struct mf_notify *notify)
{
    mf_free(notify->v);
    notify->v = NULL;
    mf_cond_fini(&notify->cond);
    mf_mutex_fini(&notify->lock);
}

/* ---- the list of what is to be told
 * ------------------------------------------------------------ */

static void append_locked(struct mf_notify *notify, struct mf_notify_rank *r)
{
    r->waits = true;
    r->next = NULL;
    r->prev = notify->last;
    *(notify->last ? &notify->last->next : &notify->first) = r;
    notify->last = r;
}

static void remove_locked(struct mf_notify *notify, struct mf_notify_rank *r)
{
    r->waits = false;
    *(r->prev ? &r->prev->next : &notify->first) = r->next;
    *(r->next ? &r->next->prev : &notify->last) = r->prev;
}

/* A rank keeps its place when its news change; it loses it when nothing is left to tell. */
static void update_locked(struct mf_notify *notify, struct mf_notify_rank *r)
{
    if (r->told != r->now && !r->waits) {
        append_locked(notify, r);
    } else if (r->told == r->now && r->waits) {
        remove_locked(notify, r);
    }
}

/* The next piece of news: a stay that has ended is told before the one that has begun. */
static uint32_t take_locked(struct mf_notify *notify, bool *joined)
{
    struct mf_notify_rank *r = notify->first;
    *joined = r->told == 0;
    r->told = *joined ? r->now : 0;
    remove_locked(notify, r);
    update_locked(notify, r);
    return (uint32_t)(r - notify->v);
}

/* ---- the thread
 * ------------------------------------------------------------------------------------- */

static void *notify_main(void *arg)
{
    struct mf_notify *notify = arg;
    mf_mutex_lock(&notify->lock);
    while (!notify->stop) {
        if (notify->first == NULL || notify->handler.run == NULL) {
            mf_cond_wait(&notify->cond, &notify->lock, UINT64_MAX);
            continue;
        }
        bool joined = false;
        struct mf_notify_handler handler = notify->handler;
        uint32_t rank = take_locked(notify, &joined);
        notify->running = notify->number;
        mf_mutex_unlock(&notify->lock);
        handler.run(&handler, rank, joined);
        mf_mutex_lock(&notify->lock);
        notify->running = 0;
        mf_cond_broadcast(&notify->cond);
    }
    mf_mutex_unlock(&notify->lock);
    return NULL;
}

static int start_locked(struct mf_notify *notify)
{
    if (notify->v == NULL) {
        notify->v = mf_calloc(notify->world, sizeof(*notify->v), "ranks for the event handler");
    }
    if (notify->v == NULL) {
        return SMEM_MALLOC_FAILED;
    }
    int rc = notify->started ? SMEM_OK
                             : mf_thread_start(&notify->thread, "mf-events", notify_main, notify);
    notify->started = notify->started || rc == SMEM_OK;
    return rc;
}

int mf_notify_set(struct mf_notify *notify, const struct mf_notify_handler *handler)
{
    static const struct mf_notify_handler none;
    int rc = SMEM_OK;
    mf_mutex_lock(&notify->lock);
    if (handler != NULL && notify->stop) {
        rc = mf_err(SMEM_NOT_EXIST, "the pool is being destroyed");
    } else if (handler != NULL) {
        rc = start_locked(notify);
    }
    if (rc == SMEM_OK) {
        notify->handler = handler != NULL ? *handler : none;
        notify->number++;
        notify->first = notify->last = NULL;
        if (notify->v != NULL) {
            memset(notify->v, 0, notify->world * sizeof(*notify->v));
        }
    }
    mf_mutex_unlock(&notify->lock);
    return rc;
}

static bool is_own_thread(const struct mf_notify *notify)
{
    return notify->started && mf_thread_is_self(notify->thread);
}

int mf_notify_settle(struct mf_notify *notify, uint64_t deadline_ns)
{
    bool in_time = true;
    mf_mutex_lock(&notify->lock);
    uint64_t number = notify->number;
    while (!is_own_thread(notify) && notify->running != 0 && notify->running < number && in_time) {
        in_time = mf_cond_wait(&notify->cond, &notify->lock, deadline_ns);
    }
    mf_mutex_unlock(&notify->lock);
    return in_time ? SMEM_OK
                   : mf_err(SMEM_RES_IN_USE,
                            "the event handler that was set before still runs: it is not called "
                            "again, but keep its context until it has returned");
}

void mf_notify_rank(struct mf_notify *notify, uint32_t rank, uint64_t stay)
{
    mf_mutex_lock(&notify->lock);
    if (notify->handler.run != NULL && rank < notify->world) {
        notify->v[rank].now = stay;
        update_locked(notify, &notify->v[rank]);
        mf_cond_broadcast(&notify->cond);
    }
    mf_mutex_unlock(&notify->lock);
}

int mf_notify_stop(struct mf_notify *notify, uint64_t deadline_ns)
{
    bool in_time = true;
    mf_mutex_lock(&notify->lock);
    bool started = notify->started;
    notify->stop = true;
    mf_cond_broadcast(&notify->cond);
    while (notify->running != 0 && in_time) {
        in_time = mf_cond_wait(&notify->cond, &notify->lock, deadline_ns);
    }
    bool runs = notify->running != 0;
    notify->started = started && runs; /* joined once */
    mf_mutex_unlock(&notify->lock);
    if (runs) {
        return mf_err(SMEM_RES_IN_USE,
                      "its group event handler has not returned: a handler must not wait for the "
                      "thread that destroys the pool");
    }
    if (started) {
        mf_thread_join(notify->thread);
    }
    return SMEM_OK;
}
