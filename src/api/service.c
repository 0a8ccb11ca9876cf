// SPDX-License-Identifier: Apache-2.0
// Starting and stopping the service, handles of pools, and the entry of the calling thread. A copy
// takes no lock: it marks its thread as inside a call, and destroy waits for such calls to end.
#include "api/service.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "api/mf_xcopy_handles.h"
#include "api/stores.h"
#include "api/tracing.h"
#include "base/err.h"
#include "base/handle.h"

#define HANDLE_KIND 0xB0u
/** Handles and not ids limit this: every pool id has at most one. */
#define HANDLES_MAX (2u * MF_POOLS_MAX)

static struct {
    pthread_mutex_t lock; /* guards everything but what is atomic */
    bool made;            /* threads and handles exist */
    struct mf_threads threads;
    struct mf_handle_table handles;
    uint64_t handle_of[MF_POOLS_MAX]; /* 0: no pool with that id */
    _Atomic(struct mf_ctx *) ctx;
    uint64_t number; /* of the context, counted up */
    pthread_key_t key;
} service = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* This thread is inside a handler of group events. */
static _Thread_local bool in_handler;

static _Thread_local struct mf_thread *current __attribute__((tls_model("initial-exec")));

static void thread_ends(void *thread)
{
    mf_threads_give(&service.threads, thread);
}

int mf_service_missing(const char *call)
{
    return mf_err(SMEM_NOT_INIT, "%s: the service is not initialised: call smem_bm_init first%s",
                  call,
                  mf_process_forked() ? " (this process was forked from one that used MemFabric; "
                                        "nothing of it is usable here)"
                                      : "");
}

struct mf_ctx *mf_service_ctx(void)
{
    return atomic_load_explicit(&service.ctx, memory_order_acquire);
}

/* ---- group events
 * ---------------------------------------------------------------------------------------- */

static void call_handler(const struct mf_notify_handler *handler, uint32_t rank, bool joined)
{
    in_handler = true;
    ((smem_bm_group_event_cb)handler->fn)(handler->handle, rank,
                                          joined ? SMEM_GROUP_EVENT_JOIN : SMEM_GROUP_EVENT_LEAVE,
                                          handler->context);
    in_handler = false;
}

int mf_service_set_handler(struct mf_pool *pool, uint64_t handle, smem_bm_group_event_cb cb,
                           void *context)
{
    struct mf_notify_handler handler = {.run = call_handler,
                                        .fn = (void (*)(void))cb,
                                        .handle = (void *)(uintptr_t)handle,
                                        .context = context};
    return mf_pool_set_handler(pool, cb != NULL ? &handler : NULL);
}

int mf_service_check_handler(const char *call)
{
    return in_handler ? mf_err(SMEM_RES_IN_USE,
                               "%s: called by a handler of group events, which would wait for "
                               "itself: call it on another thread",
                               call)
                      : SMEM_OK;
}

/* Before the lock is taken: the handler may be about to make a call that takes it. */
static int stop_handler(uint64_t handle)
{
    pthread_mutex_lock(&service.lock);
    struct mf_pool *pool =
        mf_service_ctx() != NULL ? mf_handle_get(&service.handles, handle) : NULL;
    if (pool != NULL) {
        atomic_fetch_add(&pool->users, 1);
    }
    pthread_mutex_unlock(&service.lock);
    if (pool == NULL) {
        return SMEM_OK; /* nothing to stop */
    }
    int rc = mf_pool_stop_handler(pool);
    mf_service_pool_put(pool);
    return rc;
}

static void stop_handlers(void)
{
    uint64_t handles[MF_POOLS_MAX];
    pthread_mutex_lock(&service.lock);
    memcpy(handles, service.handle_of, sizeof(handles));
    pthread_mutex_unlock(&service.lock);
    for (uint32_t id = 0; id < MF_POOLS_MAX; id++) {
        if (handles[id] != 0) {
            (void)stop_handler(handles[id]); /* a failure is met again, and told, by the end */
        }
    }
}

/* ---- start and stop
 * -------------------------------------------------------------------------------------- */

static int make_locked(const struct mf_process *process)
{
    if (service.made) {
        return SMEM_OK;
    }
    if (pthread_key_create(&service.key, thread_ends) != 0) {
        return mf_err(SMEM_NO_RESOURCES, "no thread-specific key is left in this process");
    }
    int rc = mf_tracing_make(process);
    if (rc == SMEM_OK) {
        rc = mf_handle_table_init(&service.handles, HANDLE_KIND, HANDLES_MAX);
    }
    if (rc == SMEM_OK) {
        rc = mf_threads_init(&service.threads, &process->env);
        service.threads.trace = mf_tracing_get();
    }
    if (rc != SMEM_OK) {
        pthread_key_delete(service.key);
        return rc;
    }
    service.made = true;
    return SMEM_OK;
}

int mf_service_start(struct mf_ctx_cfg *cfg)
{
    struct mf_process *process = NULL;
    struct mf_ctx *ctx = NULL;
    int rc = mf_process_restart(&process);
    if (rc != SMEM_OK) {
        return rc;
    }
    pthread_mutex_lock(&service.lock);
    if (mf_service_ctx() == NULL) {
        rc = make_locked(process);
        if (rc == SMEM_OK) {
            cfg->env = &process->env;
            cfg->config = &process->config;
            cfg->devices = process->devices;
            cfg->threads = &service.threads;
            cfg->number = ++service.number;
            struct mf_span span = mf_trace_begin(mf_service_tracer(), MF_POINT_BM_INIT);
            rc = mf_trace_end(&span, mf_ctx_open(cfg, &ctx), 0);
        }
        if (rc == SMEM_OK) {
            mf_stores_lend(ctx->server, cfg->url);
            atomic_store_explicit(&service.ctx, ctx, memory_order_release);
            mf_tracing_start(process, ctx);
        }
    }
    pthread_mutex_unlock(&service.lock);
    return rc;
}

/* The handle leads nowhere any more: wait for the calls that have found the pool before. */
static int end_pool(struct mf_pool *pool)
{
    while (atomic_load(&pool->users) != 0) {
        struct timespec pause = {0, 50000};
        nanosleep(&pause, NULL);
    }
    uint64_t deadline_ns = mf_deadline_ns(pool->ctx->env, pool->space.copy_wait_ms);
    if (mf_threads_quiesce(&service.threads, deadline_ns) != SMEM_OK) {
        /* Such a call would use freed memory: the pool stays, unreachable. */
        mf_log(pool->ctx->env->log, MF_LOG_ERROR, "api", "pool %u is not freed: %s", pool->id,
               mf_err_msg());
        return SMEM_RES_IN_USE;
    }
    return mf_pool_destroy(pool);
}

static struct mf_pool *remove_locked(uint64_t handle)
{
    struct mf_pool *pool = mf_handle_remove(&service.handles, handle);
    if (pool != NULL) {
        service.handle_of[pool->id] = 0;
    }
    return pool;
}

void mf_service_stop(void)
{
    stop_handlers();
    pthread_mutex_lock(&service.lock);
    struct mf_ctx *ctx = mf_service_ctx();
    atomic_store_explicit(&service.ctx, NULL, memory_order_release);
    for (uint32_t id = 0; ctx != NULL && id < MF_POOLS_MAX; id++) {
        struct mf_pool *pool = remove_locked(service.handle_of[id]);
        if (pool != NULL) {
            (void)end_pool(pool);
        }
    }
    if (ctx != NULL) {
        (void)mf_threads_quiesce(&service.threads, mf_deadline_ns(ctx->env, 1000));
        mf_stores_lend(NULL, NULL);
    }
    mf_ctx_close(ctx);
    mf_tracing_stop();
    pthread_mutex_unlock(&service.lock);
}

/* ---- pools
 * ---------------------------------------------------------------------------------------------------
 */

int mf_service_pool_create(const struct mf_pool_cfg *cfg, uint64_t *handle)
{
    struct mf_pool *pool = NULL;
    *handle = 0;
    pthread_mutex_lock(&service.lock);
    struct mf_ctx *ctx = mf_service_ctx();
    int rc = ctx == NULL ? mf_service_missing("smem_bm_create2") : SMEM_OK;
    if (rc == SMEM_OK && ctx->rank == UINT32_MAX) {
        rc = mf_err(SMEM_NOT_STARTED, "smem_bm_create2: this process only hosts the config store "
                                      "(startConfigStoreOnly) and has no rank");
    }
    if (rc == SMEM_OK) {
        rc = mf_pool_create(ctx, cfg, &pool);
    }
    if (rc == SMEM_OK) {
        rc = mf_handle_add(&service.handles, pool, handle);
        if (rc != SMEM_OK) {
            mf_pool_destroy(pool);
        } else {
            service.handle_of[cfg->id] = *handle;
        }
    }
    pthread_mutex_unlock(&service.lock);
    return rc;
}

static int bad_handle(const char *call, uint64_t handle)
{
    return mf_err(SMEM_INVALID_PARAM,
                  "%s: 0x%llx is no handle of a pool: it was destroyed or never created", call,
                  (unsigned long long)handle);
}

int mf_service_pool_destroy(uint64_t handle)
{
    int stopped = stop_handler(handle);
    if (stopped != SMEM_OK) {
        return mf_err_in(stopped, "smem_bm_destroy");
    }
    pthread_mutex_lock(&service.lock);
    int rc = mf_service_ctx() == NULL ? mf_service_missing("smem_bm_destroy") : SMEM_OK;
    struct mf_pool *pool = rc == SMEM_OK ? remove_locked(handle) : NULL;
    if (rc == SMEM_OK && pool == NULL) {
        rc = bad_handle("smem_bm_destroy", handle);
    }
    if (pool != NULL) {
        rc = end_pool(pool);
    }
    pthread_mutex_unlock(&service.lock);
    return rc;
}

int mf_service_pool_get(const char *call, uint64_t handle, struct mf_pool **pool)
{
    struct mf_thread *thread = NULL;
    int rc = mf_service_enter(call, handle, &thread, pool);
    if (rc == SMEM_OK) {
        atomic_fetch_add(&(*pool)->users, 1);
        mf_service_leave(thread);
    }
    return rc;
}

void mf_service_pool_put(struct mf_pool *pool)
{
    atomic_fetch_sub(&pool->users, 1);
}

/* ---- copies
 * --------------------------------------------------------------------------------------------------
 */

static int take_thread(void)
{
    int rc = mf_threads_take(&service.threads, &current);
    if (rc == SMEM_OK && pthread_setspecific(service.key, current) != 0) {
        mf_threads_give(&service.threads, current);
        current = NULL;
        rc = mf_err_nomem(sizeof(void *), "thread-specific value");
    }
    return rc;
}

const struct mf_tracer *mf_service_tracer(void)
{
    return current == NULL ? mf_tracing_shared() : &current->tracer;
}

int mf_service_count_thread(bool on)
{
    int rc = current == NULL ? take_thread() : SMEM_OK;
    if (rc == SMEM_OK) {
        current->tracer = on ? current->home : (struct mf_tracer){.own = NULL, .trace = NULL};
    }
    return rc;
}

int mf_service_enter(const char *call, uint64_t handle, struct mf_thread **thread,
                     struct mf_pool **pool)
{
    if (__builtin_expect(mf_service_ctx() == NULL, 0)) {
        return mf_service_missing(call);
    }
    if (__builtin_expect(current == NULL, 0)) {
        int rc = take_thread();
        if (rc != SMEM_OK) {
            return rc;
        }
    }
    mf_thread_enter(&service.threads, current);
    *pool = mf_handle_get(&service.handles, handle);
    if (__builtin_expect(*pool == NULL, 0)) {
        mf_thread_leave(current);
        return bad_handle(call, handle);
    }
    *thread = current;
    return SMEM_OK;
}

void mf_service_leave(struct mf_thread *thread)
{
    mf_thread_leave(thread);
}

void mf_service_after_fork(void)
{
    struct mf_ctx *ctx = mf_service_ctx();
    if (ctx != NULL) {
        mf_ctx_close_fds(ctx);
    }
    mf_tracing_after_fork();
    mf_xcopy_after_fork();
    /* What the parent's objects hold in this process's heap cannot be freed: locks may be held by
     * threads that are not here. It is small, and the pools are not mapped here. */
    pthread_mutex_init(&service.lock, NULL);
    if (service.made) {
        (void)pthread_key_delete(service.key);
    }
    service.made = false;
    memset(service.handle_of, 0, sizeof(service.handle_of));
    atomic_store(&service.ctx, NULL);
    current = NULL;
}
