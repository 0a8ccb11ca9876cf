// SPDX-License-Identifier: Apache-2.0
// The trace points of the process: made with its first service, kept until it ends, so that counts
// go on over uninit and init; and the file with their table while a service runs.
#ifndef MF_API_TRACING_H
#define MF_API_TRACING_H

#include "api/process.h"
#include "core/context.h"
#include "trace/trace.h"

/** Once; again does nothing. Where the system gives no memory for it there is a warning and nothing
 * is counted. SMEM_MALLOC_FAILED. Under the service's lock, as all below but the getters. */
int mf_tracing_make(const struct mf_process *process);
/** A service runs: `ctx` says who we are. A file that cannot be written is a warning. */
void mf_tracing_start(const struct mf_process *process, const struct mf_ctx *ctx);
void mf_tracing_stop(void);
void mf_tracing_after_fork(void);

/** Nanoseconds since 1970. */
uint64_t mf_tracing_wall_ns(void);
/** NULL: nothing is counted. */
struct mf_trace *mf_tracing_get(void);
/** For calls of threads that have no entry. Never NULL. */
const struct mf_tracer *mf_tracing_shared(void);

#endif
