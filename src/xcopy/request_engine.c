// SPDX-License-Identifier: Apache-2.0
// The workers of one pool and the queue before them. A request that was cancelled or whose deadline
// has passed stays in the queue until a worker meets it there: it has ended already, and is put
// away. Nothing runs without having looked, inside of its call, whether the rank has left
// meanwhile.

#include "base/alloc.h"
#include "base/thread.h"
#include "xcopy/queue.h"
#include "xcopy/request.h"

/* How long a worker looks for more before it sleeps. */
#define IDLE_NS (20 * 1000ull)

struct mf_req_engine {
    const struct mf_env *env;
    struct mf_req_host host;
    uint32_t workers_max;
    _Atomic uint32_t queued; /* requests in the list */
    _Atomic uint32_t stop;
    _Atomic uint64_t drops; /* how often the rank has left */
    struct mf_mutex lock;   /* guards what follows */
    struct mf_cond work;    /* a request, or stop */
    struct mf_cond done;    /* a worker has ended its request */
    struct mf_req *first, *last;
    uint64_t bytes;   /* of queued and running requests */
    uint64_t look_ns; /* when a deadline in the queue may have passed */
    uint32_t running;
    uint32_t sleeping;
    uint32_t workers_count;
    pthread_t workers[MF_COPY_THREADS_MAX];
};

/* ---- one request ---- */

static int why_not(struct mf_req_engine *engine, const struct mf_req *req)
{
    if (atomic_load_explicit(&engine->stop, memory_order_acquire)) {
        return mf_err(SMEM_NOT_STARTED, "the pool of the request was destroyed");
    }
    if (atomic_load_explicit(&req->cancelled, memory_order_acquire)) {
        return mf_err(SMEM_NOT_STARTED, "the request was cancelled");
    }
    if (mf_now_ns(engine->env) >= req->deadline_ns) {
        return mf_err(SMEM_TIMEOUT, "the deadline of the request has passed");
    }
    return SMEM_OK;
}

/* Inside of a call: a leave that comes now waits for it. */
static int check_drops(const struct mf_req_engine *engine, const struct mf_req *req)
{
    return atomic_load(&engine->drops) == req->drops
               ? SMEM_OK
               : mf_err(SMEM_NOT_STARTED,
                        "this rank has left the pool since the request was submitted");
}

/* End what waits in the queue for longer than it may. */
static void expire_queued(struct mf_req_engine *engine)
{
    uint64_t now_ns = mf_now_ns(engine->env);
    mf_mutex_lock(&engine->lock);
    if (now_ns >= engine->look_ns) {
        engine->look_ns = UINT64_MAX;
        for (struct mf_req *req = engine->first; req; req = req->after) {
            mf_req_expire(req);
            if (req->deadline_ns > now_ns && req->deadline_ns < engine->look_ns) {
                engine->look_ns = req->deadline_ns;
            }
        }
    }
    mf_mutex_unlock(&engine->lock);
}

static void run(struct mf_req_engine *engine, struct mf_req *req, void **thread)
{
    const struct mf_req_host *host = &engine->host;
    bool ended = false;
    int rc = SMEM_OK;
    while (!ended && rc == SMEM_OK) {
        struct mf_lanes *lanes;
        rc = why_not(engine, req);
        rc = rc ? rc : host->enter(host->arg, thread, &lanes);
        if (rc) {
            break;
        }
        rc = check_drops(engine, req);
        if (rc == SMEM_OK) {
            ended = mf_req_step(req, host->space, lanes);
        }
        host->leave(host->arg, *thread);
        if (!ended) {
            expire_queued(engine);
        }
    }
    mf_req_end(req, ended ? SMEM_OK : rc);
}

/* ---- workers ---- */

static struct mf_req *pop_locked(struct mf_req_engine *engine)
{
    struct mf_req *req = engine->first;
    if (req) {
        engine->first = req->after;
        engine->last = req->after ? engine->last : NULL;
        engine->running++;
        atomic_fetch_sub_explicit(&engine->queued, 1, memory_order_relaxed);
    }
    return req;
}

/* Look for a while whether more comes; a wake-up takes as long. */
static void linger(struct mf_req_engine *engine, bool alone)
{
    uint64_t until_ns = alone ? 0 : mf_now_ns(engine->env) + IDLE_NS;
    while (!alone && atomic_load_explicit(&engine->queued, memory_order_relaxed) == 0 &&
           !atomic_load_explicit(&engine->stop, memory_order_relaxed) &&
           mf_now_ns(engine->env) < until_ns) {
        mf_thread_yield(); /* to the thread that has just been woken, where processors are few */
    }
}

static struct mf_req *next(struct mf_req_engine *engine)
{
    mf_mutex_lock(&engine->lock);
    struct mf_req *req = pop_locked(engine);
    while (!req && !atomic_load(&engine->stop)) {
        engine->sleeping++;
        mf_cond_wait(&engine->work, &engine->lock, UINT64_MAX);
        engine->sleeping--;
        req = pop_locked(engine);
    }
    mf_mutex_unlock(&engine->lock);
    return req;
}

/* The worker and the queue let go of a request. */
static void finish(struct mf_req_engine *engine, struct mf_req *req)
{
    uint64_t bytes = req->memory_bytes;
    mf_req_put(req);
    mf_mutex_lock(&engine->lock);
    engine->bytes -= bytes;
    engine->running--;
    if (engine->running == 0) {
        mf_cond_broadcast(&engine->done);
    }
    mf_mutex_unlock(&engine->lock);
}

static void *worker_main(void *arg)
{
    struct mf_req_engine *engine = arg;
    void *thread = NULL;
    struct mf_req *req;
    while ((req = next(engine)) != NULL) {
        bool alone = req->table->spin_ns == 0;
        if (mf_req_claim(req)) {
            mf_err_clear();
            run(engine, req, &thread);
        }
        finish(engine, req);
        linger(engine, alone);
    }
    engine->host.quit(engine->host.arg, thread);
    return NULL;
}

/* One worker more as long as there are less than allowed and none is free. Only the first one has
 * to be there. */
static int start_worker_locked(struct mf_req_engine *engine)
{
    if (engine->workers_count == engine->workers_max ||
        engine->workers_count > engine->running + atomic_load(&engine->queued)) {
        return SMEM_OK;
    }
    int rc =
        mf_thread_start(&engine->workers[engine->workers_count], "mf-request", worker_main, engine);
    engine->workers_count += rc == SMEM_OK;
    return engine->workers_count > 0 ? SMEM_OK : rc;
}

/* ---- life ---- */

int mf_req_engine_create(const struct mf_env *env, uint32_t workers, const struct mf_req_host *host,
                         struct mf_req_engine **out)
{
    *out = NULL;
    if (workers == 0 || workers > MF_COPY_THREADS_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "%u workers for requests: 1 to %u are allowed", workers,
                      MF_COPY_THREADS_MAX);
    }
    struct mf_req_engine *engine = mf_calloc(1, sizeof(*engine), "requests of a pool");
    if (!engine) {
        return SMEM_MALLOC_FAILED;
    }
    engine->env = env;
    engine->host = *host;
    engine->workers_max = workers;
    engine->look_ns = UINT64_MAX;
    mf_mutex_init(&engine->lock, MF_RANK_XCOPY);
    mf_cond_init(&engine->work);
    mf_cond_init(&engine->done);
    *out = engine;
    return SMEM_OK;
}

static void end_queued(struct mf_req *req)
{
    while (req) {
        struct mf_req *after = req->after;
        if (mf_req_claim(req)) {
            mf_req_end(req,
                       mf_err(SMEM_NOT_STARTED, "the pool was destroyed before the request began"));
        }
        mf_req_put(req);
        req = after;
    }
}

int mf_req_engine_destroy(struct mf_req_engine *engine, uint64_t deadline_ns)
{
    if (!engine) {
        return SMEM_OK;
    }
    mf_mutex_lock(&engine->lock);
    struct mf_req *list = engine->first;
    engine->first = NULL;
    engine->last = NULL;
    atomic_store(&engine->queued, 0);
    atomic_store(&engine->stop, 1);
    mf_cond_broadcast(&engine->work);
    mf_mutex_unlock(&engine->lock);
    end_queued(list);
    mf_mutex_lock(&engine->lock);
    bool in_time = true;
    while (engine->running && in_time) {
        in_time = mf_cond_wait(&engine->done, &engine->lock, deadline_ns);
    }
    uint32_t running = engine->running;
    mf_mutex_unlock(&engine->lock);
    if (running) {
        return mf_err(SMEM_TIMEOUT, "%u requests still run at the deadline", running);
    }
    for (uint32_t i = 0; i < engine->workers_count; i++) {
        mf_thread_join(engine->workers[i]);
    }
    mf_cond_fini(&engine->done);
    mf_cond_fini(&engine->work);
    mf_mutex_fini(&engine->lock);
    mf_free(engine);
    return SMEM_OK;
}

void mf_req_engine_drop(struct mf_req_engine *engine)
{
    atomic_fetch_add(&engine->drops, 1);
}

/* Small, and of ranks whose memory is known here: nothing that it does can take long. */
static bool is_at_hand(const struct mf_req *req, const struct mf_xcopy_space *space)
{
    uint64_t bytes = 0;
    if (req->prepared) {
        return req->run.prep->bytes <= MF_REQ_INLINE_BYTES && req->count <= MF_REQ_INLINE_BLOCKS;
    }
    if (req->count > MF_REQ_SMALL) {
        return false;
    }
    for (uint32_t i = 0; i < req->count; i++) {
        struct mf_window window[2];
        mf_window_find(space, (uintptr_t)req->batch.src[i], &window[0]);
        mf_window_find(space, (uintptr_t)req->batch.dst[i], &window[1]);
        for (int side = 0; side < 2; side++) {
            if ((window[side].place & (MF_PLACE_GH | MF_PLACE_GD)) && !window[side].seg) {
                return false;
            }
        }
        if (req->batch.size[i] > MF_REQ_INLINE_BYTES - bytes) {
            return false;
        }
        bytes += req->batch.size[i];
    }
    return true;
}

bool mf_req_engine_help(struct mf_req_engine *engine, struct mf_req *req, struct mf_lanes *lanes)
{
    const struct mf_xcopy_space *space = engine->host.space;
    if (atomic_load(&req->state) != MF_REQ_QUEUED || atomic_load(&engine->drops) != req->drops ||
        !is_at_hand(req, space) || !mf_req_claim(req)) {
        return false; /* a worker, or the deadline, ends it */
    }
    while (!mf_req_step(req, space, lanes)) {
    }
    mf_req_end(req, SMEM_OK);
    return true;
}

int mf_req_engine_submit(struct mf_req_engine *engine, struct mf_req *req, uint64_t deadline_ns)
{
    mf_mutex_lock(&engine->lock);
    int rc = atomic_load(&engine->stop) ? mf_err(SMEM_NOT_STARTED, "the pool is being destroyed")
                                        : SMEM_OK;
    if (rc == SMEM_OK && req->memory_bytes > MF_QUEUE_BYTES_MAX - engine->bytes) {
        rc = mf_err(SMEM_NO_RESOURCES,
                    "%llu bytes of requests are queued, the one of %u elements needs %llu more, "
                    "the limit is %llu: wait for some first",
                    (unsigned long long)engine->bytes, req->count,
                    (unsigned long long)req->memory_bytes, (unsigned long long)MF_QUEUE_BYTES_MAX);
    }
    rc = rc ? rc : start_worker_locked(engine);
    if (rc == SMEM_OK) {
        atomic_fetch_add_explicit(&req->refs, 1, memory_order_relaxed);
        req->deadline_ns = deadline_ns;
        req->drops = atomic_load(&engine->drops);
        req->after = NULL;
        atomic_store_explicit(&req->state, MF_REQ_QUEUED, memory_order_release);
        *(engine->last ? &engine->last->after : &engine->first) = req;
        engine->last = req;
        engine->bytes += req->memory_bytes;
        engine->look_ns = deadline_ns < engine->look_ns ? deadline_ns : engine->look_ns;
        atomic_fetch_add_explicit(&engine->queued, 1, memory_order_relaxed);
    }
    bool wake = rc == SMEM_OK && engine->sleeping > 0;
    mf_mutex_unlock(&engine->lock);
    if (wake) {
        mf_cond_signal(&engine->work); /* the lock is free for whoever wakes up */
    }
    return rc;
}
