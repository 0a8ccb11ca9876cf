// SPDX-License-Identifier: Apache-2.0
// Requests and prepared batches: submitted, waited for, cancelled, looked at again, freed, and
// asked for after that.
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "world_priv.h"

#define ASK_MS 1000u

/* Elements of a request, which a deadline or a cancellation may stop. */
static void mark(struct worker *worker, bool may_stop)
{
    for (uint32_t i = 0; i < worker->count; i++) {
        worker->elements[i].part.request = true;
        worker->elements[i].certain &= !may_stop;
    }
}

/* ---- the life of one request ---- */

static struct mf_req *take(struct life *life)
{
    struct mf_req *req = mf_req_take(&life->requests);
    while (req == NULL && mf_req_table_grow(&life->requests, life->env) == SMEM_OK) {
        req = mf_req_take(&life->requests);
    }
    return req;
}

/* The handle of a request that was freed leads to none, also while another one has its memory. */
static void judge_stale(struct worker *worker)
{
    struct life *life = worker->life;
    int32_t status;
    if (worker->stale == 0) {
        return;
    }
    struct mf_req *req = mf_req_find(&life->requests, worker->stale);
    if (req != NULL || mf_req_look(&life->requests, worker->stale, &status) != MF_REQ_FREE) {
        sim_broken("stale-handle", "rank %u finds a request by the handle of one that was freed",
                   life->rank);
    }
    if (req != NULL) {
        mf_req_put(req);
    }
}

/* As whoever waits for it may do its work. */
static void help(struct worker *worker, uint32_t pool, struct mf_req *req)
{
    struct mf_pool *at = pool_enter(worker, pool);
    if (at != NULL) {
        mf_pool_help(at, worker->thread, req);
        pool_leave(worker);
    }
}

static uint64_t stopped_for(const struct life *life, uint64_t before_ns)
{
    return sim_proc_stopped_ns(life->proc) - before_ns;
}

/* It ends by its deadline and a little, whatever happens. */
static void wait_for(struct worker *worker, struct mf_req *req, uint64_t limit_ms)
{
    struct life *life = worker->life;
    uint64_t limit_ns = (limit_ms + GRACE_MS) * MS * life->seat->slowest;
    uint64_t begun_ns = sim_now();
    uint64_t stopped_ns = sim_proc_stopped_ns(life->proc);
    while (!mf_req_wait(req, begun_ns + limit_ns + stopped_for(life, stopped_ns))) {
        limit_ns = (limit_ms + GRACE_MS) * MS * life->seat->slowest;
        if (sim_now() >= begun_ns + limit_ns + stopped_for(life, stopped_ns)) {
            sim_broken("lost-completion",
                       "a request of rank %u for which %llu ms are given has not ended after %llu",
                       life->rank, (unsigned long long)limit_ms,
                       (unsigned long long)((sim_now() - begun_ns) / MS));
            mf_thread_sleep_ns(END_MS * MS);
        }
    }
}

/* What it came to stays as it is. */
static void judge_outcome(struct worker *worker, struct mf_req *req, uint64_t handle)
{
    struct life *life = worker->life;
    int32_t codes[ELEMENTS_MAX], again[ELEMENTS_MAX], status = 0;
    int32_t first = atomic_load(&req->status);
    mf_req_results(req, codes);
    if (sim_chance(1, 3)) {
        mf_thread_sleep_ns(sim_below(2 * MS));
    }
    mf_req_results(req, again);
    bool same = mf_req_look(&life->requests, handle, &status) == MF_REQ_DONE && status == first &&
                memcmp(codes, again, worker->count * sizeof(codes[0])) == 0;
    if (!same) {
        sim_broken("double-completion", "a request of rank %u that ended with %d has %d now",
                   life->rank, first, status);
    }
    bool failed = false;
    for (uint32_t i = 0; i < worker->count; i++) {
        worker->elements[i].result = codes[i];
        failed |= codes[i] != SMEM_OK;
    }
    if (failed != (first != SMEM_OK)) {
        sim_broken("wrong-result", "a request of rank %u ended with %d, its elements say otherwise",
                   life->rank, first);
    }
    mf_err_restore(&req->err);
    if (first != SMEM_OK && req->err.msg[0] == '\0') {
        sim_broken("silent-error", "a request of rank %u ended with %d without a sentence",
                   life->rank, first);
    }
    if (first != SMEM_OK) {
        sim_say("request: %d %s", first, req->err.msg);
    }
}

/* Submitted: until it is freed. */
static void live_through(struct worker *worker, uint32_t pool, struct mf_req *req,
                         uint64_t limit_ms)
{
    struct life *life = worker->life;
    uint64_t handle = mf_req_publish(req);
    judge_stale(worker);
    struct mf_req *found = mf_req_find(&life->requests, handle);
    if (found != req) {
        sim_broken("stale-handle", "rank %u does not find its request", life->rank);
        return;
    }
    if (sim_chance(1, 3)) {
        mf_thread_sleep_ns(sim_below(5 * MS));
    }
    if (sim_chance(1, 5)) {
        mark(worker, true);
        (void)mf_req_cancel(req, sim_now() + sim_below(20 * MS));
    } else if (sim_chance(1, 2)) {
        help(worker, pool, req);
    }
    wait_for(worker, req, limit_ms);
    judge_outcome(worker, req, handle);
    if (!mf_req_free(req, handle)) {
        sim_broken("stale-handle", "rank %u cannot free its request", life->rank);
    }
    mf_req_put(found);
    worker->stale = handle;
}

static uint32_t draw_timeout(void)
{
    return sim_chance(1, 2) ? 0 : 2 + (uint32_t)sim_below(400);
}

void worker_request(struct worker *worker, uint32_t pool)
{
    struct element_arrays arrays;
    struct life *life = worker->life;
    struct mf_pool *at = pool_enter(worker, pool);
    struct mf_req *req = at != NULL ? take(life) : NULL;
    uint32_t timeout_ms = draw_timeout();
    if (req == NULL || elements_draw(worker, pool, 1 + (uint32_t)sim_below(6), true) == 0) {
        if (req != NULL) {
            mf_req_put(req);
        }
        if (at != NULL) {
            pool_leave(worker);
        }
        return;
    }
    mark(worker, timeout_ms != 0);
    struct mf_batch batch = elements_batch(worker, &arrays);
    uint32_t limit_ms = timeout_ms != 0 ? timeout_ms : world.copy_ms;
    struct call *call = call_begin(life, "submit", limit_ms);
    int rc = call_end(life, call,
                      mf_pool_submit(at, worker->thread, req, &batch, SMEMB_COPY_AUTO,
                                     sim_chance(1, 2), timeout_ms));
    pool_leave(worker);
    if (rc != SMEM_OK) {
        mf_req_put(req);
        elements_judge(worker, SMEM_NOT_STARTED, false, "request that was not taken");
        return;
    }
    live_through(worker, pool, req, limit_ms);
    elements_judge(worker, rc, true, "request");
}

/* ---- prepared batches ---- */

static bool begin_again(struct worker *worker, uint32_t count)
{
    bool all = true;
    worker->count = count;
    for (uint32_t i = 0; i < count && all; i++) {
        worker->elements[i].certain = false;
        all = oracle_begin(&worker->elements[i].part);
    }
    for (uint32_t i = 0; i < count && !all; i++) {
        oracle_end(&worker->elements[i].part, ORACLE_NOTHING, "prepared batch");
    }
    worker->count = all ? count : 0;
    return all;
}

static void run_now(struct worker *worker, uint32_t pool, struct mf_prep *prep)
{
    static const uint64_t base[MF_PREP_SIDES] = {0, 0};
    struct life *life = worker->life;
    uint32_t timeout_ms = draw_timeout();
    int rc = SMEM_NOT_STARTED;
    struct mf_pool *at = pool_enter(worker, pool);
    for (uint32_t i = 0; i < worker->count; i++) {
        worker->elements[i].certain &= timeout_ms == 0;
    }
    if (at != NULL) {
        uint64_t limit_ms = timeout_ms != 0 ? timeout_ms : world.copy_ms;
        struct call *call = call_begin(life, "run prepared", limit_ms + world.connect_ms + ASK_MS);
        rc = mf_pool_run_prepared(at, worker->thread, prep, base, timeout_ms);
        rc = call_end(life, call, rc);
        pool_leave(worker);
    }
    elements_judge(worker, rc, false, "prepared batch");
}

static void run_as_request(struct worker *worker, uint32_t pool, struct mf_prep *prep)
{
    static const uint64_t base[MF_PREP_SIDES] = {0, 0};
    struct life *life = worker->life;
    uint32_t timeout_ms = draw_timeout();
    uint32_t limit_ms = timeout_ms != 0 ? timeout_ms : world.copy_ms;
    struct mf_pool *at = pool_enter(worker, pool);
    struct mf_req *req = at != NULL ? take(life) : NULL;
    int rc = SMEM_NOT_STARTED;
    if (req != NULL) {
        mark(worker, timeout_ms != 0);
        struct call *call = call_begin(life, "submit prepared", limit_ms);
        rc = mf_pool_submit_prepared(at, worker->thread, req, prep, base, sim_chance(1, 2),
                                     timeout_ms);
        rc = call_end(life, call, rc);
    }
    if (at != NULL) {
        pool_leave(worker);
    }
    if (rc != SMEM_OK) {
        if (req != NULL) {
            mf_req_put(req);
        }
        elements_judge(worker, SMEM_NOT_STARTED, false, "prepared batch that was not taken");
        return;
    }
    live_through(worker, pool, req, limit_ms);
    elements_judge(worker, rc, true, "prepared request");
}

static int prepare(struct worker *worker, struct mf_pool *at, struct mf_prep **out)
{
    uint64_t from[ELEMENTS_MAX], to[ELEMENTS_MAX], size[ELEMENTS_MAX];
    for (uint32_t i = 0; i < worker->count; i++) {
        from[i] = (uintptr_t)worker->elements[i].src;
        to[i] = (uintptr_t)worker->elements[i].dst;
        size[i] = worker->elements[i].size;
    }
    struct mf_prep_cfg cfg = {
        .absolute = true,
        .side = {{.offsets = from}, {.offsets = to}},
        .sizes = size,
        .count = worker->count,
        .type = SMEMB_COPY_AUTO,
    };
    uint64_t limit_ms = world.copy_ms + worker->count * (uint64_t)(world.connect_ms + ASK_MS);
    struct call *call = call_begin(worker->life, "prepare", limit_ms);
    return call_end(worker->life, call, mf_pool_prepare(at, &cfg, out));
}

void worker_prepared(struct worker *worker, uint32_t pool)
{
    struct mf_prep *prep = NULL;
    struct mf_pool *at = pool_enter(worker, pool);
    if (at == NULL) {
        return;
    }
    uint32_t count = elements_draw(worker, pool, 1 + (uint32_t)sim_below(6), false);
    worker->together = true;
    int rc = count > 0 ? prepare(worker, at, &prep) : SMEM_NOT_STARTED;
    pool_leave(worker);
    if (rc != SMEM_OK) {
        elements_judge(worker, SMEM_NOT_STARTED, false, "batch that was not prepared");
        return;
    }
    for (uint32_t runs = 1 + (uint32_t)sim_below(3); runs > 0; runs--) {
        if (sim_chance(1, 2)) {
            run_now(worker, pool, prep);
        } else {
            run_as_request(worker, pool, prep);
        }
        if (runs == 1 || !begin_again(worker, count)) {
            break;
        }
    }
    mf_prep_put(prep);
}

void requests_free(struct life *life)
{
    uint32_t count = atomic_load(&life->requests.count);
    for (uint32_t i = 0; i < count / MF_REQ_CHUNK; i++) {
        mf_free(atomic_load(&life->requests.chunks[i]));
    }
    memset(&life->requests, 0, sizeof(life->requests));
}
