// SPDX-License-Identifier: Apache-2.0
// Requests and prepared batches of one pool: what is copied at once on the caller's thread, what is
// handed to the workers, and how a worker becomes a thread that copies.
#include <unistd.h>

#include "base/err.h"
#include "core/pool.h"

#define WORKERS_DEFAULT 2u

/* ---- workers ---- */

static int enter(void *arg, void **cookie, struct mf_lanes **lanes)
{
    struct mf_pool *pool = arg;
    struct mf_thread *thread = *cookie;
    int rc = thread ? SMEM_OK : mf_threads_take(pool->ctx->threads, &thread);
    if (rc != SMEM_OK) {
        return rc;
    }
    *cookie = thread;
    mf_thread_enter(pool->ctx->threads, thread);
    rc = mf_pool_check_joined(pool);
    if (rc != SMEM_OK) {
        mf_thread_leave(thread);
        return rc;
    }
    thread->lanes_of = pool->ctx->number;
    *lanes = &thread->lanes;
    return SMEM_OK;
}

static void leave(void *arg, void *cookie)
{
    (void)arg;
    mf_thread_leave(cookie);
}

static void quit(void *arg, void *cookie)
{
    struct mf_pool *pool = arg;
    if (cookie) {
        mf_threads_give(pool->ctx->threads, cookie);
    }
}

static uint32_t count_workers(const struct mf_pool *pool)
{
    uint32_t wanted = (uint32_t)mf_config_u64(pool->ctx->config, MF_OPT_COPY_WORKERS);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (wanted > 0) {
        return wanted;
    }
    return processors == 1 ? 1 : WORKERS_DEFAULT;
}

int mf_pool_requests_create(struct mf_pool *pool)
{
    struct mf_req_host host = {
        .space = &pool->space,
        .enter = enter,
        .leave = leave,
        .quit = quit,
        .arg = pool,
    };
    return mf_req_engine_create(pool->ctx->env, count_workers(pool), &host, &pool->requests);
}

static uint64_t deadline_of(const struct mf_pool *pool, uint32_t timeout_ms)
{
    return mf_deadline_ns(pool->ctx->env, timeout_ms ? timeout_ms : pool->space.copy_wait_ms);
}

/* ---- batches ---- */

/* Is it cheaper to copy it at once than to hand it over? */
static bool is_small(const struct mf_batch *batch)
{
    uint64_t bytes = 0;
    if (batch->count > MF_REQ_SMALL) {
        return false;
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        if (batch->size[i] > MF_REQ_INLINE_BYTES - bytes) {
            return false;
        }
        bytes += batch->size[i];
    }
    return true;
}

int mf_pool_submit(struct mf_pool *pool, struct mf_thread *thread, struct mf_req *req,
                   const struct mf_batch *batch, smem_bm_copy_type type, bool queued,
                   uint32_t timeout_ms)
{
    int rc = mf_pool_check_joined(pool);
    if (__builtin_expect(rc != SMEM_OK, 0)) {
        return rc;
    }
    if (!queued && is_small(batch)) {
        thread->lanes_of = pool->ctx->number;
        req->deadline_ns = timeout_ms ? deadline_of(pool, timeout_ms) : 0;
        if (mf_req_run_now(req, &pool->space, &thread->lanes, batch, type)) {
            return SMEM_OK;
        }
    }
    uint64_t deadline_ns = deadline_of(pool, timeout_ms);
    rc = mf_req_set_batch(req, batch, type);
    return rc ? rc : mf_req_engine_submit(pool->requests, req, deadline_ns);
}

void mf_pool_help(struct mf_pool *pool, struct mf_thread *thread, struct mf_req *req)
{
    if (atomic_load_explicit(&pool->state, memory_order_relaxed) == MF_POOL_JOINED) {
        thread->lanes_of = pool->ctx->number;
        (void)mf_req_engine_help(pool->requests, req, &thread->lanes);
    }
}

/* ---- prepared batches ---- */

int mf_pool_prepare(struct mf_pool *pool, const struct mf_prep_cfg *cfg, struct mf_prep **out)
{
    int rc = mf_pool_check_joined(pool);
    return rc ? rc : mf_prep_create(&pool->space, cfg, 0, out);
}

int mf_pool_submit_prepared(struct mf_pool *pool, struct mf_thread *thread, struct mf_req *req,
                            struct mf_prep *prep, const uint64_t base[MF_PREP_SIDES], bool queued,
                            uint32_t timeout_ms)
{
    uint64_t deadline_ns = deadline_of(pool, timeout_ms);
    int rc = mf_pool_check_joined(pool);
    rc = rc ? rc : mf_prep_run_start(&req->run, &pool->space, prep, base, deadline_ns);
    if (rc) {
        return rc;
    }
    req->prepared = true;
    req->count = prep->count;
    req->deadline_ns = deadline_ns;
    if (!queued && prep->bytes <= MF_REQ_INLINE_BYTES && prep->count <= MF_REQ_INLINE_BLOCKS) {
        thread->lanes_of = pool->ctx->number;
        mf_req_run_prepared(req, &pool->space, &thread->lanes);
        return SMEM_OK;
    }
    mf_prep_run_left(&req->run);
    return mf_req_engine_submit(pool->requests, req, deadline_ns);
}

int mf_pool_run_prepared(struct mf_pool *pool, struct mf_thread *thread, struct mf_prep *prep,
                         const uint64_t base[MF_PREP_SIDES], uint32_t timeout_ms)
{
    struct mf_prep_run run;
    uint64_t deadline_ns = timeout_ms ? deadline_of(pool, timeout_ms) : 0;
    int rc = mf_pool_check_joined(pool);
    rc = rc ? rc : mf_prep_run_start(&run, &pool->space, prep, base, deadline_ns);
    if (rc) {
        return rc;
    }
    thread->lanes_of = pool->ctx->number;
    while (rc == SMEM_OK && !mf_prep_run_ended(&run)) {
        rc = mf_prep_run_step(&run, &pool->space, &thread->lanes, deadline_ns);
        if (rc == SMEM_OK && !mf_prep_run_ended(&run) && deadline_ns &&
            mf_now_ns(pool->ctx->env) >= deadline_ns) {
            rc = mf_err(SMEM_TIMEOUT, "the deadline of %u ms passed with %u of %u blocks copied",
                        timeout_ms, run.done, run.program->block_count);
        }
    }
    mf_prep_run_end(&run);
    return rc;
}
