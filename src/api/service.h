// SPDX-License-Identifier: Apache-2.0
// The BM service of the process: its context, its handles, the calling thread's entry. All
// file-scope state of smem_bm_* is here.
#ifndef MF_API_SERVICE_H
#define MF_API_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/process.h"
#include "base/err.h"
#include "core/context.h"
#include "core/pool.h"
#include "smem_bm_def.h"

/** Start it; a second start while it runs is SMEM_OK. */
int mf_service_start(struct mf_ctx_cfg *cfg);
void mf_service_stop(void);
/** NULL when it does not run. Borrowed until stop. */
struct mf_ctx *mf_service_ctx(void);
/** The error of a call that needs the service. */
int mf_service_missing(const char *call);

/** Add a pool; *handle is owned by the caller of the API. */
int mf_service_pool_create(const struct mf_pool_cfg *cfg, uint64_t *handle);
int mf_service_pool_destroy(uint64_t handle);

/** The handler of group events of a pool; NULL: none. */
int mf_service_set_handler(struct mf_pool *pool, uint64_t handle, smem_bm_group_event_cb cb,
                           void *context);
/** SMEM_RES_IN_USE when the calling thread is inside such a handler. */
int mf_service_check_handler(const char *call);

/** For calls that may block: the pool stays until mf_service_pool_put. SMEM_NOT_INIT, or
 * SMEM_INVALID_PARAM for a handle that is stale or never was one. */
int mf_service_pool_get(const char *call, uint64_t handle, struct mf_pool **pool);
void mf_service_pool_put(struct mf_pool *pool);

/** For copies: the pool and the segment table stay until mf_service_leave. */
int mf_service_enter(const char *call, uint64_t handle, struct mf_thread **thread,
                     struct mf_pool **pool);
void mf_service_leave(struct mf_thread *thread);

/** The end of a call that may have met and dealt with failures on its way: one that succeeds leaves
 * the thread's last error as it was `before`. Returns rc. */
static inline int mf_service_keep_err(int rc, const struct mf_err_rec *before)
{
    if (rc == SMEM_OK) {
        mf_err_restore(before);
    }
    return rc;
}

/** Where the calling thread's calls are counted. Never NULL. */
const struct mf_tracer *mf_service_tracer(void);
static inline struct mf_span mf_service_begin(enum mf_point point)
{
    return mf_trace_begin(mf_service_tracer(), point);
}
/** A call that failed before there was anything to time. Returns rc. */
static inline int mf_service_refused(enum mf_point point, int rc)
{
    return mf_trace_event(mf_service_tracer(), point, rc);
}
/** Count the calling thread's calls, or not. */
int mf_service_count_thread(bool on);

/** After fork, in the child: close what would keep things alive, forget everything. */
void mf_service_after_fork(void);

#endif
