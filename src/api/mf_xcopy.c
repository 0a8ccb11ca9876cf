// SPDX-License-Identifier: Apache-2.0
// mf_xcopy.h, requests: check the arguments, find handles, hand over.
#include "memfabric/mf_xcopy.h"

#include <stdio.h>

#include "api/mf_xcopy_handles.h"
#include "api/mf_xcopy_check.h"
#include "api/service.h"
#include "base/err.h"
#include "base/limits.h"

/* ---- checks ---- */

int mf_xcopy_check_size(const char *call, const char *what, uint32_t size, size_t want)
{
    return size == want ? SMEM_OK
                        : mf_err(SMEM_INVALID_PARAM,
                                 "%s: %s->size is %u instead of %zu: set it to sizeof(*%s), and "
                                 "compile against the headers of this version",
                                 call, what, size, want, what);
}

int mf_xcopy_check_common(const char *call, const char *what, uint32_t count,
                          smem_bm_copy_type_t type)
{
    if (count == 0 || count > MF_BATCH_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "%s: %s->count %u is not 1..%u", call, what, count,
                      MF_BATCH_MAX);
    }
    if ((uint32_t)type > SMEMB_COPY_AUTO) {
        return mf_err(SMEM_INVALID_PARAM, "%s: %s->type %d is not a smem_bm_copy_type (0..%d)",
                      call, what, (int)type, SMEMB_COPY_AUTO);
    }
    return SMEM_OK;
}

int mf_xcopy_check_flags(const char *call, uint32_t flags)
{
    return (flags & ~MF_XCOPY_QUEUED) == 0
               ? SMEM_OK
               : mf_err(SMEM_INVALID_PARAM,
                        "%s: flags 0x%x has unknown bits: 0 or MF_XCOPY_QUEUED (0x%x)", call, flags,
                        MF_XCOPY_QUEUED);
}

int mf_xcopy_check_batch(const char *call, const mf_xcopy_batch_t *batch)
{
    if (batch == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "%s: batch is NULL", call);
    }
    int rc = mf_xcopy_check_size(call, "batch", batch->size, sizeof(*batch));
    rc = rc ? rc : mf_xcopy_check_common(call, "batch", batch->count, batch->type);
    const char *null = batch->sources == NULL        ? "sources"
                       : batch->destinations == NULL ? "destinations"
                       : batch->sizes == NULL        ? "sizes"
                                                     : NULL;
    if (rc == SMEM_OK && null != NULL) {
        return mf_err(SMEM_INVALID_PARAM, "%s: batch->%s is NULL", call, null);
    }
    if (rc == SMEM_OK && batch->reserved != 0) {
        return mf_err(SMEM_INVALID_PARAM, "%s: batch->reserved is %u: set it to 0", call,
                      batch->reserved);
    }
    return rc ? rc : mf_xcopy_check_flags(call, batch->flags);
}

/* ---- submit ---- */

int32_t mf_xcopy_submit(smem_bm_t handle, const mf_xcopy_batch_t *batch, mf_request_t *out)
{
    static const char call[] = "mf_xcopy_submit";
    struct mf_thread *thread;
    struct mf_pool *pool;
    struct mf_req *req;
    if (__builtin_expect(handle == NULL || out == NULL, 0)) {
        return mf_service_refused(
            MF_POINT_XCOPY_SUBMIT,
            mf_err(SMEM_INVALID_PARAM, "%s: %s is NULL", call, out ? "handle" : "out"));
    }
    *out = NULL;
    int rc = mf_xcopy_check_batch(call, batch);
    rc = rc ? rc : mf_service_enter(call, (uint64_t)(uintptr_t)handle, &thread, &pool);
    if (__builtin_expect(rc != SMEM_OK, 0)) {
        return mf_service_refused(MF_POINT_XCOPY_SUBMIT, rc);
    }
    uint64_t bytes = 0;
    struct mf_span span = mf_trace_begin_sampled(&thread->tracer, MF_POINT_XCOPY_SUBMIT, 0);
    rc = mf_xcopy_request_take(pool->ctx->env, &req);
    if (rc == SMEM_OK) {
        req->cookie = (uint64_t)(uintptr_t)handle;
        struct mf_batch copies = {.src = batch->sources,
                                  .dst = batch->destinations,
                                  .size = batch->sizes,
                                  .count = batch->count};
        bytes = mf_batch_bytes(&copies);
        rc = mf_pool_submit(pool, thread, req, &copies, batch->type, batch->flags & MF_XCOPY_QUEUED,
                            batch->timeout_ms);
        if (__builtin_expect(rc == SMEM_OK, 1)) {
            *out = mf_xcopy_request_publish(req);
        } else {
            mf_req_put(req);
        }
    }
    rc = mf_trace_end(&span, rc, bytes);
    mf_service_leave(thread);
    return rc;
}

/* ---- outcomes ---- */

static int no_status(const char *call)
{
    return mf_err(SMEM_INVALID_PARAM, "%s: status is NULL", call);
}

/* The failure of a request is this thread's error from here on. */
static __attribute__((cold)) int tell(const char *call, mf_request_t handle)
{
    struct mf_req *req;
    int rc = mf_xcopy_request_find(call, handle, &req);
    if (rc == SMEM_OK) {
        mf_err_restore(&req->err);
        mf_req_put(req);
    }
    return rc;
}

/* One that waits for too long ends by its deadline, whoever looks. */
static int look_again(const char *call, mf_request_t handle, int32_t *status)
{
    struct mf_req *req;
    int rc = mf_xcopy_request_find(call, handle, &req);
    if (rc != SMEM_OK) {
        return rc;
    }
    mf_req_expire(req);
    mf_req_put(req);
    return mf_xcopy_request_look(handle, status) == MF_REQ_DONE ? SMEM_OK : SMEM_TIMEOUT;
}

int32_t mf_request_poll(mf_request_t req, int32_t *status)
{
    static const char call[] = "mf_request_poll";
    int32_t code = SMEM_OK;
    if (__builtin_expect(status == NULL, 0)) {
        return no_status(call);
    }
    enum mf_req_state state = mf_xcopy_request_look(req, &code);
    if (__builtin_expect(state == MF_REQ_FREE, 0)) {
        return mf_xcopy_request_bad(call, req);
    }
    if (state == MF_REQ_RUNNING) {
        return SMEM_TIMEOUT;
    }
    if (state == MF_REQ_QUEUED) {
        int rc = look_again(call, req, &code);
        if (rc != SMEM_OK) {
            return rc;
        }
    }
    *status = code;
    return __builtin_expect(code == SMEM_OK, 1) ? SMEM_OK : tell(call, req);
}

/* Do what is waited for, if it is small and nobody has begun it: sooner than a worker wakes up. */
static void help(const char *call, struct mf_req *req)
{
    struct mf_thread *thread;
    struct mf_pool *pool;
    if (atomic_load_explicit(&req->state, memory_order_relaxed) == MF_REQ_QUEUED &&
        mf_service_enter(call, req->cookie, &thread, &pool) == SMEM_OK) {
        mf_pool_help(pool, thread, req);
        mf_service_leave(thread);
    }
}

int32_t mf_request_wait(mf_request_t handle, uint32_t timeout_ms, int32_t *status)
{
    static const char call[] = "mf_request_wait";
    struct mf_req *req;
    struct mf_span span = mf_trace_begin_sampled(mf_service_tracer(), MF_POINT_XCOPY_WAIT, 0);
    int rc = status == NULL ? no_status(call) : mf_xcopy_request_find(call, handle, &req);
    if (rc != SMEM_OK) {
        return mf_trace_end(&span, rc, 0);
    }
    if (timeout_ms) {
        help(call, req);
    }
    if (mf_req_wait(req, timeout_ms ? mf_deadline_ns(req->env, timeout_ms) : 0)) {
        *status = atomic_load_explicit(&req->status, memory_order_relaxed);
        if (*status != SMEM_OK) {
            mf_err_restore(&req->err);
        }
    } else {
        rc = mf_err(SMEM_TIMEOUT, "%s: the request of %u elements has not ended after %u ms", call,
                    req->count, timeout_ms);
    }
    mf_req_put(req);
    return mf_trace_end(&span, rc, 0);
}

/* Find a request that has ended. */
static int find_ended(const char *call, mf_request_t handle, struct mf_req **out)
{
    int rc = mf_xcopy_request_find(call, handle, out);
    if (rc == SMEM_OK && !mf_req_wait(*out, 0)) {
        mf_req_put(*out);
        rc = mf_err(SMEM_TIMEOUT, "%s: the request has not ended: wait for it first", call);
    }
    return rc;
}

int32_t mf_request_results(mf_request_t handle, int32_t *codes, uint32_t count)
{
    static const char call[] = "mf_request_results";
    struct mf_req *req;
    if (codes == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "%s: codes is NULL", call);
    }
    int rc = find_ended(call, handle, &req);
    if (rc != SMEM_OK) {
        return rc;
    }
    if (req->count == count) {
        mf_req_results(req, codes);
    } else {
        rc = mf_err(SMEM_INVALID_PARAM, "%s: count %u is not the %u elements of the request", call,
                    count, req->count);
    }
    mf_req_put(req);
    return rc;
}

int32_t mf_request_error(mf_request_t handle, char *text, uint32_t len)
{
    static const char call[] = "mf_request_error";
    struct mf_req *req;
    if (text == NULL || len == 0) {
        return mf_err(SMEM_INVALID_PARAM, "%s: %s", call, text ? "len is 0" : "text is NULL");
    }
    int rc = find_ended(call, handle, &req);
    if (rc == SMEM_OK) {
        snprintf(text, len, "%s", req->err.code == SMEM_OK ? "" : req->err.msg);
        mf_req_put(req);
    }
    return rc;
}

int32_t mf_request_cancel(mf_request_t handle, uint32_t timeout_ms)
{
    static const char call[] = "mf_request_cancel";
    struct mf_req *req;
    struct mf_err_rec before;
    mf_err_save(&before);
    int rc = mf_xcopy_request_find(call, handle, &req);
    if (rc != SMEM_OK) {
        return rc;
    }
    if (!mf_req_cancel(req, mf_deadline_ns(req->env, timeout_ms))) {
        rc = mf_err(SMEM_TIMEOUT,
                    "%s: the request of %u elements has not come to its next step after %u ms",
                    call, req->count, timeout_ms);
    }
    mf_req_put(req);
    return mf_service_keep_err(rc, &before);
}

int32_t mf_request_fd(mf_request_t handle, int *fd)
{
    static const char call[] = "mf_request_fd";
    struct mf_req *req;
    if (fd == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "%s: fd is NULL", call);
    }
    *fd = -1;
    int rc = mf_xcopy_request_find(call, handle, &req);
    if (rc == SMEM_OK) {
        rc = mf_req_fd(req, fd);
        mf_req_put(req);
    }
    return rc;
}

int32_t mf_request_free(mf_request_t handle)
{
    static const char call[] = "mf_request_free";
    struct mf_req *req;
    int rc = mf_xcopy_request_find(call, handle, &req);
    if (rc != SMEM_OK) {
        return rc;
    }
    if (!mf_req_wait(req, 0)) {
        rc = mf_err(SMEM_RES_IN_USE,
                    "%s: the request of %u elements is under way: wait for it, or cancel it", call,
                    req->count);
    } else if (!mf_req_free(req, (uint64_t)(uintptr_t)handle)) {
        rc = mf_xcopy_request_bad(call, handle);
    }
    mf_req_put(req);
    return rc;
}
