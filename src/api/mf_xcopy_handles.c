// SPDX-License-Identifier: Apache-2.0
// The tables behind the handles of mf_xcopy.h. Requests are found without a lock; prepared batches
// under one, which costs nothing beside what they copy.
#include "api/mf_xcopy_handles.h"

#include <pthread.h>

#include "api/service.h"
#include "base/err.h"
#include "base/handle.h"

#define PREPARED_KIND 0xB2u

static struct {
    struct mf_req_table requests;
    pthread_mutex_t lock; /* guards growth of requests, and what follows */
    bool made;            /* prepared exists */
    struct mf_handle_table prepared;
} tables = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- requests ---- */

int mf_xcopy_request_take(const struct mf_env *env, struct mf_req **out)
{
    int rc = SMEM_OK;
    while ((*out = mf_req_take(&tables.requests)) == NULL && rc == SMEM_OK) {
        pthread_mutex_lock(&tables.lock);
        rc = mf_req_table_grow(&tables.requests, env);
        pthread_mutex_unlock(&tables.lock);
    }
    return rc;
}

int mf_xcopy_request_bad(const char *call, mf_request_t handle)
{
    if (mf_process_forked() && mf_service_ctx() == NULL) {
        return mf_service_missing(call);
    }
    if (handle == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "%s: the request is NULL", call);
    }
    return mf_err(SMEM_INVALID_PARAM,
                  "%s: 0x%llx is no handle of a request: it was freed or never submitted", call,
                  (unsigned long long)(uintptr_t)handle);
}

int mf_xcopy_request_find(const char *call, mf_request_t handle, struct mf_req **out)
{
    *out = mf_req_find(&tables.requests, (uint64_t)(uintptr_t)handle);
    return *out ? SMEM_OK : mf_xcopy_request_bad(call, handle);
}

enum mf_req_state mf_xcopy_request_look(mf_request_t handle, int32_t *status)
{
    return mf_req_look(&tables.requests, (uint64_t)(uintptr_t)handle, status);
}

/* ---- prepared batches ---- */

int mf_xcopy_prepared_add(struct mf_prep *prep, mf_prepared_t *out)
{
    uint64_t handle = 0;
    int rc = SMEM_OK;
    pthread_mutex_lock(&tables.lock);
    if (!tables.made) {
        rc = mf_handle_table_init(&tables.prepared, PREPARED_KIND, MF_PREPARED_MAX);
        tables.made = rc == SMEM_OK;
    }
    if (rc == SMEM_OK && mf_handle_add(&tables.prepared, prep, &handle) != SMEM_OK) {
        rc = mf_err(SMEM_NO_RESOURCES,
                    "%u prepared batches exist in this process, the limit: free some with "
                    "mf_prepared_free",
                    MF_PREPARED_MAX);
    }
    pthread_mutex_unlock(&tables.lock);
    *out = (mf_prepared_t)(uintptr_t)handle;
    return rc;
}

static int no_prepared(const char *call, mf_prepared_t handle)
{
    if (mf_process_forked() && mf_service_ctx() == NULL) {
        return mf_service_missing(call);
    }
    if (handle == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "%s: prepared is NULL", call);
    }
    return mf_err(SMEM_INVALID_PARAM,
                  "%s: 0x%llx is no handle of a prepared batch: it was freed or never prepared",
                  call, (unsigned long long)(uintptr_t)handle);
}

int mf_xcopy_prepared_find(const char *call, mf_prepared_t handle, struct mf_prep **out)
{
    pthread_mutex_lock(&tables.lock);
    *out = tables.made ? mf_handle_get(&tables.prepared, (uint64_t)(uintptr_t)handle) : NULL;
    if (*out) {
        mf_prep_get(*out);
    }
    pthread_mutex_unlock(&tables.lock);
    return *out ? SMEM_OK : no_prepared(call, handle);
}

int mf_xcopy_prepared_remove(const char *call, mf_prepared_t handle, struct mf_prep **out)
{
    pthread_mutex_lock(&tables.lock);
    *out = tables.made ? mf_handle_remove(&tables.prepared, (uint64_t)(uintptr_t)handle) : NULL;
    pthread_mutex_unlock(&tables.lock);
    return *out ? SMEM_OK : no_prepared(call, handle);
}

void mf_xcopy_after_fork(void)
{
    /* Memory of the parent's objects stays, as the service's does; locks may be held by nobody. */
    pthread_mutex_init(&tables.lock, NULL);
    mf_req_table_forget(&tables.requests);
    tables.made = false;
}
