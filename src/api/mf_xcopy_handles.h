// SPDX-License-Identifier: Apache-2.0
// Handles of requests and prepared batches: their tables are the file-scope state of mf_xcopy.h.
// They live as long as the process, so that a handle may outlive its pool and the service.
#ifndef MF_API_MF_XCOPY_HANDLES_H
#define MF_API_MF_XCOPY_HANDLES_H

#include <stdint.h>

#include "memfabric/mf_xcopy.h"
#include "xcopy/prepared.h"
#include "xcopy/request.h"

/** A fresh request with one reference; not yet public. */
int mf_xcopy_request_take(const struct mf_env *env, struct mf_req **out);
static inline mf_request_t mf_xcopy_request_publish(struct mf_req *req)
{
    return (mf_request_t)(uintptr_t)mf_req_publish(req);
}
/** With a reference. SMEM_INVALID_PARAM for a handle that is stale or never was one; SMEM_NOT_INIT
 * in the child of a fork. */
int mf_xcopy_request_find(const char *call, mf_request_t handle, struct mf_req **out);
/** Without a reference; as mf_req_look. */
enum mf_req_state mf_xcopy_request_look(mf_request_t handle, int32_t *status);
int mf_xcopy_request_bad(const char *call, mf_request_t handle);

/** Takes the reference over. */
int mf_xcopy_prepared_add(struct mf_prep *prep, mf_prepared_t *out);
/** With a reference; errors as mf_xcopy_request_find. */
int mf_xcopy_prepared_find(const char *call, mf_prepared_t handle, struct mf_prep **out);
/** Invalidates the handle; the reference is the caller's. */
int mf_xcopy_prepared_remove(const char *call, mf_prepared_t handle, struct mf_prep **out);

/** After fork, in the child. */
void mf_xcopy_after_fork(void);

#endif
