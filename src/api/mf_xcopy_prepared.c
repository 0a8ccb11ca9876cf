// SPDX-License-Identifier: Apache-2.0
// mf_xcopy.h, prepared batches: check the arguments, bring the three forms to one.
#include <string.h>

#include "api/mf_xcopy_check.h"
#include "api/mf_xcopy_handles.h"
#include "api/service.h"
#include "base/err.h"

enum { SRC = MF_PREP_SRC, DST = MF_PREP_DST };

/* ---- prepare ---- */

static int check_handles(const char *call, smem_bm_t handle, const void *blocks, mf_prepared_t *out)
{
    if (out != NULL) {
        *out = NULL;
    }
    const char *null = handle == NULL   ? "handle"
                       : blocks == NULL ? "the description of the blocks"
                       : out == NULL    ? "out"
                                        : NULL;
    return null ? mf_err(SMEM_INVALID_PARAM, "%s: %s is NULL", call, null) : SMEM_OK;
}

static int check_no_flags(const char *call, uint32_t flags)
{
    return flags == 0 ? SMEM_OK
                      : mf_err(SMEM_INVALID_PARAM,
                               "%s: flags 0x%x: preparing knows none, give them to "
                               "mf_prepared_submit",
                               call, flags);
}

static int check_bases(const char *call, const void *src, const void *dst)
{
    return src && dst
               ? SMEM_OK
               : mf_err(SMEM_INVALID_PARAM, "%s: blocks->%s is NULL", call, src ? "dst" : "src");
}

/* What the descriptions of blocks by strides and by indices have in common. */
static int check_blocks(const char *call, uint32_t size, uint32_t full, uint32_t count,
                        smem_bm_copy_type type, uint32_t flags, const void *src, const void *dst)
{
    int rc = mf_xcopy_check_size(call, "blocks", size, full);
    rc = rc ? rc : mf_xcopy_check_common(call, "blocks", count, type);
    rc = rc ? rc : check_no_flags(call, flags);
    return rc ? rc : check_bases(call, src, dst);
}
#define CHECK_BLOCKS(call, b)                                                                \
    check_blocks(call, (b)->size, sizeof(*(b)), (b)->count, (b)->type, (b)->flags, (b)->src, \
                 (b)->dst)

static int prepare(const char *call, smem_bm_t handle, const struct mf_prep_cfg *cfg,
                   mf_prepared_t *out)
{
    struct mf_thread *thread;
    struct mf_pool *pool;
    struct mf_prep *prep = NULL;
    int rc = mf_service_enter(call, (uint64_t)(uintptr_t)handle, &thread, &pool);
    if (rc != SMEM_OK) {
        return mf_service_refused(MF_POINT_PREPARED_COMPILE, rc);
    }
    struct mf_span span = mf_trace_begin(&thread->tracer, MF_POINT_PREPARED_COMPILE);
    rc = mf_trace_end(&span, mf_pool_prepare(pool, cfg, &prep), 0);
    mf_service_leave(thread);
    if (rc == SMEM_OK) {
        prep->cookie = (uint64_t)(uintptr_t)handle;
        rc = mf_xcopy_prepared_add(prep, out);
        if (rc != SMEM_OK) {
            mf_prep_put(prep);
        }
    }
    return rc ? mf_err_in(rc, "%s", call) : SMEM_OK;
}

int32_t mf_prepare_strided(smem_bm_t handle, const mf_xcopy_strided_t *blocks, mf_prepared_t *out)
{
    static const char call[] = "mf_prepare_strided";
    int rc = check_handles(call, handle, blocks, out);
    if (rc == SMEM_OK) {
        rc = CHECK_BLOCKS(call, blocks);
    }
    if (rc != SMEM_OK) {
        return mf_service_refused(MF_POINT_PREPARED_COMPILE, rc);
    }
    struct mf_prep_cfg cfg = {
        .side = {{.base = (uintptr_t)blocks->src, .stride = blocks->src_stride},
                 {.base = (uintptr_t)blocks->dst, .stride = blocks->dst_stride}},
        .size = blocks->block_bytes,
        .count = blocks->count,
        .type = blocks->type,
    };
    return prepare(call, handle, &cfg, out);
}

static int check_side(const char *call, const char *side, const void *offsets, const void *rows)
{
    return offsets && rows ? mf_err(SMEM_INVALID_PARAM,
                                    "%s: both blocks->%s_offsets and blocks->%s_rows are given: "
                                    "one of them must be NULL",
                                    call, side, side)
                           : SMEM_OK;
}

int32_t mf_prepare_indexed(smem_bm_t handle, const mf_xcopy_indexed_t *blocks, mf_prepared_t *out)
{
    static const char call[] = "mf_prepare_indexed";
    int rc = check_handles(call, handle, blocks, out);
    if (rc == SMEM_OK) {
        rc = CHECK_BLOCKS(call, blocks);
    }
    rc = rc ? rc : check_side(call, "src", blocks->src_offsets, blocks->src_rows);
    rc = rc ? rc : check_side(call, "dst", blocks->dst_offsets, blocks->dst_rows);
    if (rc != SMEM_OK) {
        return mf_service_refused(MF_POINT_PREPARED_COMPILE, rc);
    }
    uint64_t src_row = blocks->src_row_bytes ? blocks->src_row_bytes : blocks->block_bytes;
    uint64_t dst_row = blocks->dst_row_bytes ? blocks->dst_row_bytes : blocks->block_bytes;
    struct mf_prep_cfg cfg = {
        .side = {{.base = (uintptr_t)blocks->src,
                  .offsets = blocks->src_offsets,
                  .rows = blocks->src_rows,
                  .stride = src_row},
                 {.base = (uintptr_t)blocks->dst,
                  .offsets = blocks->dst_offsets,
                  .rows = blocks->dst_rows,
                  .stride = dst_row}},
        .size = blocks->block_bytes,
        .count = blocks->count,
        .type = blocks->type,
    };
    return prepare(call, handle, &cfg, out);
}

int32_t mf_prepare_list(smem_bm_t handle, const mf_xcopy_batch_t *batch, mf_prepared_t *out)
{
    static const char call[] = "mf_prepare_list";
    int rc = check_handles(call, handle, batch, out);
    rc = rc ? rc : mf_xcopy_check_batch(call, batch);
    rc = rc ? rc : check_no_flags(call, batch->flags);
    if (rc == SMEM_OK && batch->timeout_ms != 0) {
        rc = mf_err(SMEM_INVALID_PARAM,
                    "%s: batch->timeout_ms is %u: preparing has none, give it to "
                    "mf_prepared_submit",
                    call, batch->timeout_ms);
    }
    if (rc != SMEM_OK) {
        return mf_service_refused(MF_POINT_PREPARED_COMPILE, rc);
    }
    _Static_assert(sizeof(void *) == sizeof(uint64_t), "addresses are 64-bit words");
    struct mf_prep_cfg cfg = {
        .absolute = true,
        .side = {{.offsets = (const uint64_t *)(const void *)batch->sources},
                 {.offsets = (const uint64_t *)(const void *)batch->destinations}},
        .sizes = batch->sizes,
        .count = batch->count,
        .type = batch->type,
    };
    return prepare(call, handle, &cfg, out);
}

/* ---- use ---- */

/* Find the batch, and its pool, inside a call. */
static int enter(const char *call, mf_prepared_t handle, struct mf_prep **prep,
                 struct mf_thread **thread, struct mf_pool **pool)
{
    int rc = mf_xcopy_prepared_find(call, handle, prep);
    if (rc == SMEM_OK) {
        rc = mf_service_enter(call, (*prep)->cookie, thread, pool);
        if (rc != SMEM_OK) {
            mf_prep_put(*prep);
        }
    }
    return rc;
}

static void choose_bases(const struct mf_prep *prep, uint64_t src, uint64_t dst, uint64_t base[2])
{
    base[SRC] = src || prep->absolute ? src : prep->base[SRC];
    base[DST] = dst || prep->absolute ? dst : prep->base[DST];
}

int32_t mf_prepared_submit(mf_prepared_t prepared, uint64_t src, uint64_t dst, uint32_t flags,
                           uint32_t timeout_ms, mf_request_t *out)
{
    static const char call[] = "mf_prepared_submit";
    struct mf_prep *prep;
    struct mf_thread *thread;
    struct mf_pool *pool;
    struct mf_req *req;
    uint64_t base[MF_PREP_SIDES];
    if (out == NULL) {
        return mf_service_refused(MF_POINT_PREPARED_SUBMIT,
                                  mf_err(SMEM_INVALID_PARAM, "%s: out is NULL", call));
    }
    *out = NULL;
    int rc = mf_xcopy_check_flags(call, flags);
    rc = rc ? rc : enter(call, prepared, &prep, &thread, &pool);
    if (rc != SMEM_OK) {
        return mf_service_refused(MF_POINT_PREPARED_SUBMIT, rc);
    }
    struct mf_span span =
        mf_trace_begin_sampled(&thread->tracer, MF_POINT_PREPARED_SUBMIT, prep->bytes);
    choose_bases(prep, src, dst, base);
    rc = mf_xcopy_request_take(pool->ctx->env, &req);
    if (rc == SMEM_OK) {
        req->cookie = prep->cookie;
        rc = mf_pool_submit_prepared(pool, thread, req, prep, base, flags & MF_XCOPY_QUEUED,
                                     timeout_ms);
        if (rc == SMEM_OK) {
            *out = mf_xcopy_request_publish(req);
        } else {
            mf_req_put(req);
        }
    }
    rc = mf_trace_end(&span, rc, prep->bytes);
    mf_service_leave(thread);
    mf_prep_put(prep);
    return rc ? mf_err_in(rc, "%s", call) : SMEM_OK;
}

int32_t mf_prepared_run(mf_prepared_t prepared, uint64_t src, uint64_t dst, uint32_t timeout_ms)
{
    static const char call[] = "mf_prepared_run";
    struct mf_prep *prep;
    struct mf_thread *thread;
    struct mf_pool *pool;
    uint64_t base[MF_PREP_SIDES];
    int rc = enter(call, prepared, &prep, &thread, &pool);
    if (rc != SMEM_OK) {
        return mf_service_refused(MF_POINT_PREPARED_RUN, rc);
    }
    struct mf_span span =
        mf_trace_begin_sampled(&thread->tracer, MF_POINT_PREPARED_RUN, prep->bytes);
    choose_bases(prep, src, dst, base);
    rc = mf_pool_run_prepared(pool, thread, prep, base, timeout_ms);
    rc = mf_trace_end(&span, rc, prep->bytes);
    mf_service_leave(thread);
    mf_prep_put(prep);
    return rc ? mf_err_in(rc, "%s", call) : SMEM_OK;
}

int32_t mf_prepared_free(mf_prepared_t prepared)
{
    struct mf_prep *prep;
    int rc = mf_xcopy_prepared_remove("mf_prepared_free", prepared, &prep);
    if (rc == SMEM_OK) {
        mf_prep_put(prep);
    }
    return rc;
}
