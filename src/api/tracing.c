// SPDX-License-Identifier: Apache-2.0
// Holds the process's trace memory and file.
#include "api/tracing.h"

#include <stdatomic.h>
#include <time.h>

#include "base/err.h"
#include "trace/file.h"

#define AREA "trace"

static struct {
    struct mf_tracer shared; /* written before `trace` is published, not after */
    _Atomic(struct mf_trace *) trace;
    struct mf_trace_file *file; /* guarded by the service's lock */
} tracing;

uint64_t mf_tracing_wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * MF_NS_PER_S + (uint64_t)now.tv_nsec;
}

struct mf_trace *mf_tracing_get(void)
{
    return atomic_load_explicit(&tracing.trace, memory_order_acquire);
}

const struct mf_tracer *mf_tracing_shared(void)
{
    static const struct mf_tracer off = {.own = NULL, .trace = NULL};
    return mf_tracing_get() == NULL ? &off : &tracing.shared;
}

int mf_tracing_make(const struct mf_process *process)
{
    struct mf_trace *trace = NULL;
    struct mf_err_rec before;
    if (mf_tracing_get() != NULL || !mf_config_u64(&process->config, MF_OPT_TRACE)) {
        return SMEM_OK;
    }
    mf_err_save(&before);
    int rc = mf_trace_create(&process->env, &trace);
    if (rc == SMEM_OK) {
        tracing.shared = mf_tracer_shared(trace);
        atomic_store_explicit(&tracing.trace, trace, memory_order_release);
    } else if (rc != SMEM_MALLOC_FAILED) {
        mf_log(process->env.log, MF_LOG_WARN, AREA, "nothing is counted: %s", mf_err_msg());
        mf_err_restore(&before);
        rc = SMEM_OK;
    }
    return rc;
}

void mf_tracing_start(const struct mf_process *process, const struct mf_ctx *ctx)
{
    struct mf_trace *trace = mf_tracing_get();
    const char *dir = mf_config_str(&process->config, MF_OPT_TRACE_DIR);
    struct mf_err_rec before;
    if (trace == NULL) {
        return;
    }
    mf_trace_set_rank(trace, ctx->identity.incarnation, ctx->rank,
                      ctx->rank == UINT32_MAX ? 0 : ctx->world);
    if (dir[0] == '\0') {
        return;
    }
    struct mf_trace_file_cfg cfg = {
        .trace = trace,
        .dir = dir,
        .period_ms = mf_config_u64(&process->config, MF_OPT_TRACE_PERIOD_MS),
        .wall_ns = mf_tracing_wall_ns,
    };
    mf_err_save(&before);
    if (mf_trace_file_open(&cfg, &tracing.file) != SMEM_OK) {
        mf_log(process->env.log, MF_LOG_WARN, AREA, "no file with the trace table: %s",
               mf_err_msg());
        mf_err_restore(&before);
    }
}

void mf_tracing_stop(void)
{
    struct mf_trace *trace = mf_tracing_get();
    if (trace != NULL) {
        mf_trace_set_rank(trace, 0, UINT32_MAX, 0);
        mf_trace_file_close(tracing.file);
        tracing.file = NULL;
    }
}

void mf_tracing_after_fork(void)
{
    struct mf_trace *trace = mf_tracing_get();
    if (tracing.file != NULL) {
        mf_trace_file_close_fd(tracing.file);
    }
    if (trace != NULL) {
        mf_trace_close_fd(trace);
    }
    /* The parent's: its memory is not mapped here, its thread is not here. */
    tracing.file = NULL;
    atomic_store_explicit(&tracing.trace, NULL, memory_order_release);
}
