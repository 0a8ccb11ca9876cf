// SPDX-License-Identifier: Apache-2.0
// What a request does: small batches at once on the thread that submits them; others step by step,
// so that a deadline, a cancellation or the end of the pool takes effect between two steps; and
// what it came to, as one code, one code for each element, and the sentence of the first failure.
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mutant.h"
#include "xcopy/request.h"

/* ---- the batch ---- */

int mf_req_set_batch(struct mf_req *req, const struct mf_batch *batch, smem_bm_copy_type type)
{
    size_t arrays = mf_batch_room(batch->count);
    req->memory_bytes = arrays + batch->count * sizeof(int32_t);
    char *memory = mf_alloc(req->memory_bytes, "request");
    if (!memory) {
        return SMEM_MALLOC_FAILED;
    }
    req->memory = memory;
    req->type = type;
    req->count = batch->count;
    req->failed = 0;
    req->batch = mf_batch_keep(batch, memory);
    req->batch.results = (int32_t *)(void *)(memory + arrays);
    for (uint32_t i = 0; i < batch->count; i++) {
        req->batch.results[i] = SMEM_NOT_STARTED;
    }
    return SMEM_OK;
}

/* ---- outcomes ---- */

/* The recorded sentence is that of the first failure. */
static void note_failure(struct mf_req *req)
{
    if (req->err.code == SMEM_OK) {
        mf_err_save(&req->err);
    }
}

static bool has_moved(const struct mf_req *req)
{
    return req->prepared ? req->run.begun > 0 || req->run.at > 0 : req->begun > 0 || req->at > 0;
}

/* The request was stopped, for the recorded reason. */
static int conclude_stopped(struct mf_req *req, int rc)
{
    uint32_t all = req->prepared ? req->run.program->block_count : req->count;
    uint32_t begun = req->prepared ? req->run.begun : req->begun + (req->at > 0);
    if (!req->prepared && req->at > 0) {
        req->batch.results[req->begun] = SMEM_PARTIAL_FAILED;
    }
    if (has_moved(req)) {
        rc = rc == SMEM_NOT_STARTED ? SMEM_PARTIAL_FAILED : rc;
        mf_err_in(rc, "%" PRIu32 " of %" PRIu32 " %s had not begun", all - begun, all,
                  req->prepared ? "blocks" : "elements");
    }
    mf_err_save(&req->err);
    return rc;
}

static int conclude(struct mf_req *req)
{
    if (req->err.code == SMEM_OK) {
        return SMEM_OK;
    }
    if (req->prepared) {
        return req->run.rc;
    }
    if (req->count == 1) {
        return req->batch.results[0];
    }
    mf_err_restore(&req->err);
    int rc = mf_err_in(SMEM_PARTIAL_FAILED, "%" PRIu32 " of %" PRIu32 " elements failed",
                       req->failed, req->count);
    mf_err_save(&req->err);
    return rc;
}

void mf_req_end(struct mf_req *req, int rc)
{
    rc = rc ? conclude_stopped(req, rc) : conclude(req);
    atomic_store_explicit(&req->status, rc, memory_order_relaxed);
    if (!MF_MUTANT(LOST_COMPLETION) || rc == SMEM_OK) {
        mf_req_announce(req);
    }
}

void mf_req_results(const struct mf_req *req, int32_t *codes)
{
    if (req->prepared) {
        mf_prep_run_results(&req->run, codes);
    } else {
        memcpy(codes, req->batch.results, req->count * sizeof(*codes));
    }
}

/* ---- at once ---- */

static int answer_later(void *arg, uint32_t rank, uint64_t deadline_ns)
{
    (void)arg;
    (void)rank;
    (void)deadline_ns;
    return MF_XCOPY_LATER;
}

/* Nobody else knows of the request yet. */
static void end_now(struct mf_req *req, int rc)
{
    atomic_store_explicit(&req->status, rc, memory_order_relaxed);
    atomic_store_explicit(&req->state, MF_REQ_DONE, memory_order_relaxed);
}

static bool run_many_now(struct mf_req *req, const struct mf_xcopy_space *space,
                         struct mf_lanes *lanes, const struct mf_batch *batch,
                         smem_bm_copy_type type)
{
    struct mf_batch mine = *batch;
    mine.results = req->small;
    mine.part = true;
    int rc = mf_xcopy_batch(space, lanes, &mine, type, req->deadline_ns);
    if (rc == MF_XCOPY_LATER) {
        return false;
    }
    if (rc) {
        note_failure(req);
    }
    for (uint32_t i = 0; rc && i < batch->count; i++) {
        if (rc != SMEM_PARTIAL_FAILED) {
            req->small[i] = rc; /* the batch as a whole */
        }
        req->failed += req->small[i] != SMEM_OK;
    }
    end_now(req, rc ? conclude(req) : SMEM_OK);
    return true;
}

bool mf_req_run_now(struct mf_req *req, const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                    const struct mf_batch *batch, smem_bm_copy_type type)
{
    struct mf_xcopy_space quick = *space;
    quick.resolve = answer_later;
    req->count = batch->count;
    req->batch.results = req->small;
    if (batch->count > 1) {
        return run_many_now(req, &quick, lanes, batch, type);
    }
    int rc = mf_xcopy_one(&quick, lanes, batch->src[0], batch->dst[0], batch->size[0], type,
                          req->deadline_ns);
    if (__builtin_expect(rc == MF_XCOPY_LATER, 0)) {
        return false;
    }
    if (__builtin_expect(rc != SMEM_OK, 0)) {
        note_failure(req);
    }
    req->small[0] = rc;
    end_now(req, rc);
    return true;
}

void mf_req_run_prepared(struct mf_req *req, const struct mf_xcopy_space *space,
                         struct mf_lanes *lanes)
{
    while (!mf_prep_run_ended(&req->run)) {
        if (mf_prep_run_step(&req->run, space, lanes, req->deadline_ns)) {
            note_failure(req);
        }
    }
    end_now(req, conclude(req));
}

/* ---- step by step ---- */

/* Elements from req->begun on that make a step: none when the first one is larger than that. */
static uint32_t step_length(const struct mf_req *req)
{
    uint32_t left = req->count - req->begun;
    uint32_t most = left < MF_REQ_STEP_ELEMENTS ? left : MF_REQ_STEP_ELEMENTS;
    uint64_t bytes = 0;
    uint32_t n = 0;
    while (n < most && req->batch.size[req->begun + n] <= MF_REQ_STEP_BYTES - bytes) {
        bytes += req->batch.size[req->begun + n++];
    }
    return n;
}

static struct mf_batch part_of(const struct mf_req *req, uint32_t count)
{
    return (struct mf_batch){
        .src = req->batch.src + req->begun,
        .dst = req->batch.dst + req->begun,
        .size = req->batch.size + req->begun,
        .results = req->batch.results + req->begun,
        .count = count,
        .first = req->begun,
        .part = true,
    };
}

/* Element req->begun has ended. */
static void end_element(struct mf_req *req, int rc)
{
    req->batch.results[req->begun++] = rc;
    req->at = 0;
    if (rc) {
        req->failed++;
        note_failure(req);
    }
}

/* One piece of an element that is larger than a step; all of it is checked before the first. */
static void step_large(struct mf_req *req, const struct mf_xcopy_space *space,
                       struct mf_lanes *lanes)
{
    uint64_t left = req->batch.size[req->begun] - req->at;
    uint64_t size = left < MF_REQ_STEP_BYTES ? left : MF_REQ_STEP_BYTES;
    const char *src = req->batch.src[req->begun];
    char *dst = req->batch.dst[req->begun];
    int rc = SMEM_OK;
    if (req->at == 0) {
        uint32_t transfers;
        struct mf_batch one = part_of(req, 1);
        one.results = NULL;
        rc = mf_xcopy_plan(space, lanes, &one, req->type, &transfers);
    }
    if (rc == SMEM_OK) {
        rc = mf_xcopy_one(space, lanes, src + req->at, dst + req->at, size, req->type,
                          req->deadline_ns);
        req->at += size;
    }
    if (rc || size == left) {
        end_element(req, rc);
    }
}

static void step_batch(struct mf_req *req, const struct mf_xcopy_space *space,
                       struct mf_lanes *lanes)
{
    uint32_t n = step_length(req);
    if (n == 0) {
        step_large(req, space, lanes);
        return;
    }
    if (req->count == 1) {
        end_element(req, mf_xcopy_one(space, lanes, req->batch.src[0], req->batch.dst[0],
                                      req->batch.size[0], req->type, req->deadline_ns));
        return;
    }
    struct mf_batch part = part_of(req, n);
    int rc = mf_xcopy_batch(space, lanes, &part, req->type, req->deadline_ns);
    if (rc) {
        note_failure(req);
    }
    for (uint32_t i = 0; rc && i < n; i++) {
        if (rc != SMEM_PARTIAL_FAILED) {
            part.results[i] = rc; /* the step as a whole */
        }
        req->failed += part.results[i] != SMEM_OK;
    }
    req->begun += n;
}

bool mf_req_step(struct mf_req *req, const struct mf_xcopy_space *space, struct mf_lanes *lanes)
{
    if (!req->prepared) {
        step_batch(req, space, lanes);
        return req->begun == req->count;
    }
    if (mf_prep_run_step(&req->run, space, lanes, req->deadline_ns)) {
        note_failure(req);
    }
    mf_prep_run_left(&req->run);
    return mf_prep_run_ended(&req->run);
}
