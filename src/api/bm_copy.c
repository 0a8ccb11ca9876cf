// SPDX-License-Identifier: Apache-2.0
// smem_bm.h, copies: check the arguments, mark the thread as inside a call, hand over to core.
#include "api/device_handles.h"
#include "api/service.h"
#include "base/err.h"
#include "base/limits.h"
#include "smem_bm.h"

static int check_call(const char *call, smem_bm_t handle, const void *params,
                      smem_bm_copy_type_t type)
{
    if (handle == NULL || params == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "%s: %s is NULL", call,
                      handle == NULL ? "handle" : "params");
    }
    if ((uint32_t)type > SMEMB_COPY_AUTO) {
        return mf_err(SMEM_INVALID_PARAM, "%s: type %d is not a smem_bm_copy_type (0..%d)", call,
                      (int)type, SMEMB_COPY_AUTO);
    }
    return SMEM_OK;
}

/* A copy that did not begin. */
static __attribute__((cold, noinline)) int refused(int rc)
{
    return mf_service_refused(MF_POINT_COPY_REFUSED, rc);
}

/* Where a single copy is counted. */
static inline enum mf_point point_of(const struct mf_pool *pool, const void *src, const void *dst,
                                     uint32_t flags)
{
    const struct mf_layout *layout = &pool->table.layout;
    return __builtin_expect(flags & ASYNC_COPY_FLAG, 0)
               ? MF_POINT_COPY_ASYNC
               : mf_point_of_copy((uint64_t)(uintptr_t)src - layout->base.v < layout->size,
                                  (uint64_t)(uintptr_t)dst - layout->base.v < layout->size);
}

/* ---- in the order of a stream of the caller
 * ------------------------------------------------------------------ */

static bool on_stream(uint32_t flags)
{
    return __builtin_expect((flags & SMEM_BM_FLAG_USE_EXTERNAL_STREAM) != 0, 0);
}

static int queue_on(const char *call, struct mf_pool *pool, struct mf_api_child *stream,
                    const struct mf_batch *batch, smem_bm_copy_type_t type)
{
    struct mf_stream_words *words = NULL;
    const struct mf_dev *own = pool->ctx->dev;
    const struct mf_device_info *other = &stream->device->dev->info;
    if (own == NULL) {
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: params->stream is of %s:%u, but the service was started without a "
                      "device: set MF_DEVICE before smem_bm_init",
                      call, other->plugin, other->ordinal);
    }
    if (own != stream->device->dev) {
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: params->stream is of %s:%u, the device of the service is %s:%u", call,
                      other->plugin, other->ordinal, own->info.plugin, own->info.ordinal);
    }
    int rc = mf_api_stream_words(stream, &words);
    rc = rc == SMEM_OK ? mf_pool_copy_stream(pool, words, batch, type) : rc;
    return rc == SMEM_OK ? rc : mf_err_in(rc, "%s", call);
}

static int copy_on_stream(const char *call, smem_bm_t handle, const void *stream_handle,
                          const struct mf_batch *batch, smem_bm_copy_type_t type)
{
    struct mf_api_child *stream = NULL;
    struct mf_thread *thread;
    struct mf_pool *pool;
    if (stream_handle == NULL) {
        return refused(
            mf_err(SMEM_INVALID_PARAM,
                   "%s: flags has SMEM_BM_FLAG_USE_EXTERNAL_STREAM and params->stream is NULL: "
                   "give a mf_device_stream_t, or leave the flag out",
                   call));
    }
    int rc = mf_service_enter(call, (uint64_t)(uintptr_t)handle, &thread, &pool);
    if (rc != SMEM_OK) {
        return refused(rc);
    }
    struct mf_span span = mf_trace_begin(&thread->tracer, MF_POINT_COPY_ASYNC);
    rc = mf_api_child_get(call, MF_API_STREAM, stream_handle, &stream);
    if (rc == SMEM_OK) {
        rc = queue_on(call, pool, stream, batch, type);
    }
    rc = mf_trace_end(&span, rc, mf_batch_bytes(batch));
    mf_service_leave(thread);
    if (stream != NULL) {
        mf_api_child_put(stream);
    }
    return rc;
}

/* ---- the calls
 * -----------------------------------------------------------------------------------------------
 */

int32_t smem_bm_copy(smem_bm_t handle, smem_copy_params *params, smem_bm_copy_type_t type,
                     uint32_t flags)
{
    static const char call[] = "smem_bm_copy";
    struct mf_thread *thread;
    struct mf_pool *pool;
    int rc = check_call(call, handle, params, type);
    if (__builtin_expect(rc != SMEM_OK, 0)) {
        return refused(rc);
    }
    if (__builtin_expect(params->src == NULL || params->dest == NULL || params->dataSize == 0, 0)) {
        return refused(mf_err(SMEM_INVALID_PARAM, "%s: params->%s", call,
                              params->src == NULL    ? "src is NULL"
                              : params->dest == NULL ? "dest is NULL"
                                                     : "dataSize is 0"));
    }
    if (on_stream(flags)) {
        void *src = (void *)(uintptr_t)params->src;
        uint64_t size = params->dataSize;
        struct mf_batch batch = {.src = &src, .dst = &params->dest, .size = &size, .count = 1};
        return copy_on_stream(call, handle, params->stream, &batch, type);
    }
    rc = mf_service_enter(call, (uint64_t)(uintptr_t)handle, &thread, &pool);
    if (__builtin_expect(rc != SMEM_OK, 0)) {
        return refused(rc);
    }
    struct mf_span span = mf_trace_begin_sampled(
        &thread->tracer, point_of(pool, params->src, params->dest, flags), params->dataSize);
    rc = mf_pool_copy(pool, thread, params->src, params->dest, params->dataSize, type, flags);
    rc = mf_trace_end(&span, rc, params->dataSize);
    mf_service_leave(thread);
    return rc;
}

static int check_batch(const char *call, const smem_batch_copy_params *params)
{
    const char *null = params->sources == NULL        ? "sources"
                       : params->destinations == NULL ? "destinations"
                       : params->dataSizes == NULL    ? "dataSizes"
                                                      : NULL;
    if (null != NULL) {
        return mf_err(SMEM_INVALID_PARAM, "%s: params->%s is NULL", call, null);
    }
    if (params->batchSize == 0 || params->batchSize > MF_BATCH_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "%s: params->batchSize %u is not 1..%u", call,
                      params->batchSize, MF_BATCH_MAX);
    }
    return SMEM_OK;
}

static int copy_batch(const char *call, smem_bm_t handle, const smem_batch_copy_params *params,
                      smem_bm_copy_type_t type, uint32_t flags, int32_t *results)
{
    struct mf_thread *thread;
    struct mf_pool *pool;
    struct mf_batch batch = {.src = params->sources,
                             .dst = params->destinations,
                             .size = params->dataSizes,
                             .count = params->batchSize,
                             .results = results};
    if (on_stream(flags)) {
        return copy_on_stream(call, handle, params->stream, &batch, type);
    }
    int rc = mf_service_enter(call, (uint64_t)(uintptr_t)handle, &thread, &pool);
    if (rc != SMEM_OK) {
        return refused(rc);
    }
    uint64_t bytes = mf_batch_bytes(&batch);
    struct mf_span span = mf_trace_begin_sampled(
        &thread->tracer, flags & ASYNC_COPY_FLAG ? MF_POINT_COPY_ASYNC : MF_POINT_COPY_BATCH,
        bytes);
    rc = mf_pool_copy_batch(pool, thread, &batch, type, flags);
    rc = mf_trace_end(&span, rc, bytes);
    mf_service_leave(thread);
    return rc;
}

int32_t smem_bm_copy_batch(smem_bm_t handle, smem_batch_copy_params *params,
                           smem_bm_copy_type_t type, uint32_t flags)
{
    static const char call[] = "smem_bm_copy_batch";
    int rc = check_call(call, handle, params, type);
    if (rc == SMEM_OK) {
        rc = check_batch(call, params);
    }
    return rc == SMEM_OK ? copy_batch(call, handle, params, type, flags, NULL) : refused(rc);
}

int32_t smem_bm_copy_batch_partial_succeed(smem_bm_t handle, smem_batch_copy_params *params,
                                           smem_bm_copy_type_t type, uint32_t flags,
                                           smem_batch_copy_result *result)
{
    static const char call[] = "smem_bm_copy_batch_partial_succeed";
    int rc = check_call(call, handle, params, type);
    if (rc == SMEM_OK) {
        rc = check_batch(call, params);
    }
    if (rc == SMEM_OK && on_stream(flags)) {
        rc = mf_err(SMEM_INVALID_PARAM,
                    "%s: SMEM_BM_FLAG_USE_EXTERNAL_STREAM cannot be used here, since the results "
                    "are there on return: use smem_bm_copy_batch",
                    call);
    }
    if (rc == SMEM_OK && (result == NULL || result->results == NULL)) {
        rc = mf_err(SMEM_INVALID_PARAM, "%s: %s is NULL", call,
                    result == NULL ? "result" : "result->results");
    }
    if (rc == SMEM_OK && result->batchSize != params->batchSize) {
        rc =
            mf_err(SMEM_INVALID_PARAM, "%s: result->batchSize %u differs from params->batchSize %u",
                   call, result->batchSize, params->batchSize);
    }
    if (rc != SMEM_OK) {
        return refused(rc);
    }
    return copy_batch(call, handle, params, type, flags & ~(uint32_t)ASYNC_COPY_FLAG,
                      result->results);
}

int32_t smem_bm_wait(smem_bm_t handle)
{
    static const char call[] = "smem_bm_wait";
    struct mf_pool *pool;
    struct mf_span span = mf_service_begin(MF_POINT_BM_WAIT);
    int rc = handle == NULL ? mf_err(SMEM_INVALID_PARAM, "%s: handle is NULL", call)
                            : mf_service_pool_get(call, (uint64_t)(uintptr_t)handle, &pool);
    if (rc == SMEM_OK) {
        rc = mf_pool_wait(pool);
        mf_service_pool_put(pool);
    }
    return mf_trace_end(&span, rc, 0);
}
