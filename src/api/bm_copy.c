// SPDX-License-Identifier: Apache-2.0
// smem_bm.h, copies: check the arguments, mark the thread as inside a call, hand over to core.
#include "api/service.h"
#include "base/err.h"
#include "base/limits.h"
#include "smem_bm.h"

static int check_call(const char *call, smem_bm_t handle, const void *params,
                      smem_bm_copy_type_t type, uint32_t flags)
{
    if (handle == NULL || params == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "%s: %s is NULL", call,
                      handle == NULL ? "handle" : "params");
    }
    if ((uint32_t)type > SMEMB_COPY_AUTO) {
        return mf_err(SMEM_INVALID_PARAM, "%s: type %d is not a smem_bm_copy_type (0..%d)", call,
                      (int)type, SMEMB_COPY_AUTO);
    }
    if (flags & SMEM_BM_FLAG_USE_EXTERNAL_STREAM) {
        return mf_err(SMEM_ERROR,
                      "%s: SMEM_BM_FLAG_USE_EXTERNAL_STREAM is not supported in this version",
                      call);
    }
    return SMEM_OK;
}

int32_t smem_bm_copy(smem_bm_t handle, smem_copy_params *params, smem_bm_copy_type_t type,
                     uint32_t flags)
{
    static const char call[] = "smem_bm_copy";
    struct mf_thread *thread;
    struct mf_pool *pool;
    int rc = check_call(call, handle, params, type, flags);
    if (__builtin_expect(rc != SMEM_OK, 0)) {
        return rc;
    }
    if (__builtin_expect(params->src == NULL || params->dest == NULL || params->dataSize == 0, 0)) {
        return mf_err(SMEM_INVALID_PARAM, "%s: params->%s", call,
                      params->src == NULL    ? "src is NULL"
                      : params->dest == NULL ? "dest is NULL"
                                             : "dataSize is 0");
    }
    rc = mf_service_enter(call, (uint64_t)(uintptr_t)handle, &thread, &pool);
    if (__builtin_expect(rc != SMEM_OK, 0)) {
        return rc;
    }
    rc = mf_pool_copy(pool, thread, params->src, params->dest, params->dataSize, type, flags);
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
    int rc = mf_service_enter(call, (uint64_t)(uintptr_t)handle, &thread, &pool);
    if (rc != SMEM_OK) {
        return rc;
    }
    rc = mf_pool_copy_batch(pool, thread, &batch, type, flags);
    mf_service_leave(thread);
    return rc;
}

int32_t smem_bm_copy_batch(smem_bm_t handle, smem_batch_copy_params *params,
                           smem_bm_copy_type_t type, uint32_t flags)
{
    static const char call[] = "smem_bm_copy_batch";
    int rc = check_call(call, handle, params, type, flags);
    if (rc == SMEM_OK) {
        rc = check_batch(call, params);
    }
    return rc == SMEM_OK ? copy_batch(call, handle, params, type, flags, NULL) : rc;
}

int32_t smem_bm_copy_batch_partial_succeed(smem_bm_t handle, smem_batch_copy_params *params,
                                           smem_bm_copy_type_t type, uint32_t flags,
                                           smem_batch_copy_result *result)
{
    static const char call[] = "smem_bm_copy_batch_partial_succeed";
    int rc = check_call(call, handle, params, type, flags);
    if (rc == SMEM_OK) {
        rc = check_batch(call, params);
    }
    if (rc != SMEM_OK) {
        return rc;
    }
    if (result == NULL || result->results == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "%s: %s is NULL", call,
                      result == NULL ? "result" : "result->results");
    }
    if (result->batchSize != params->batchSize) {
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: result->batchSize %u differs from params->batchSize %u", call,
                      result->batchSize, params->batchSize);
    }
    return copy_batch(call, handle, params, type, flags & ~(uint32_t)ASYNC_COPY_FLAG,
                      result->results);
}

int32_t smem_bm_wait(smem_bm_t handle)
{
    static const char call[] = "smem_bm_wait";
    struct mf_pool *pool;
    if (handle == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "%s: handle is NULL", call);
    }
    int rc = mf_service_pool_get(call, (uint64_t)(uintptr_t)handle, &pool);
    if (rc == SMEM_OK) {
        rc = mf_pool_wait(pool);
        mf_service_pool_put(pool);
    }
    return rc;
}
