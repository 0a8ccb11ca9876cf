// SPDX-License-Identifier: Apache-2.0
// Makes the trace memory, and the slower half of counting: times, and block 0, whose counters
// several threads add to.
#include "trace/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/err.h"

static const struct mf_trace_point_name points[] = {
#define MF_POINT(id, module, number, name, counts_bytes) \
    {(module) << 16 | (number), (counts_bytes), name},
#include "trace/points.h"
#undef MF_POINT
};

/* ---- the memory ---- */

static void fill_head(const struct mf_env *env, struct mf_trace_head *head)
{
    head->format = MF_TRACE_FORMAT;
    head->head_bytes = sizeof(*head);
    head->block_bytes = sizeof(struct mf_trace_block);
    head->blocks = MF_TRACE_BLOCKS;
    head->points = MF_POINT_COUNT;
    head->buckets = MF_TRACE_BUCKETS;
    head->pid = (uint32_t)env->ops->pid(env->arg);
    head->started_ns = mf_now_ns(env);
    memcpy(head->point, points, sizeof(points));
    atomic_store_explicit(&head->rank, UINT32_MAX, memory_order_relaxed);
    atomic_store_explicit(&head->blocks_used, 1, memory_order_relaxed);
    atomic_store_explicit(&head->period, 1, memory_order_relaxed);
    atomic_store_explicit(&head->magic, MF_TRACE_MAGIC, memory_order_release);
}

/* A sparse file: pages that nobody counts in take no memory. Huge pages would undo that; a forked
 * child must not count for its parent. */
static int map_memory(struct mf_trace *trace)
{
    size_t bytes = sizeof(*trace->memory);
    trace->fd = memfd_create(MF_TRACE_FD_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (trace->fd < 0) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno, "trace points: memfd_create");
    }
    if (fchmod(trace->fd, 0600) != 0 || ftruncate(trace->fd, (off_t)bytes) != 0 ||
        fcntl(trace->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno, "trace points: a file of %zu bytes in memory",
                          bytes);
    }
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, trace->fd, 0);
    if (at == MAP_FAILED) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno, "trace points: map %zu bytes", bytes);
    }
    trace->memory = at;
    (void)madvise(at, bytes, MADV_NOHUGEPAGE); /* not every kernel has huge pages */
    if (madvise(at, bytes, MADV_DONTFORK) != 0) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno, "trace points: keep %zu bytes from children",
                          bytes);
    }
    /* From now on nobody can write but through the mapping above; older kernels have no such seal.
     */
    (void)fcntl(trace->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE);
    (void)fcntl(trace->fd, F_ADD_SEALS, F_SEAL_SEAL);
    return SMEM_OK;
}

int mf_trace_create(const struct mf_env *env, struct mf_trace **out)
{
    struct mf_trace *trace = mf_calloc(1, sizeof(*trace), "trace points");
    *out = NULL;
    if (trace == NULL) {
        return SMEM_MALLOC_FAILED;
    }
    trace->env = env;
    mf_mutex_init(&trace->times_lock, MF_RANK_LEAF);
    int rc = map_memory(trace);
    if (rc != SMEM_OK) {
        mf_trace_destroy(trace);
        return rc;
    }
    fill_head(env, &trace->memory->head);
    *out = trace;
    return SMEM_OK;
}

void mf_trace_destroy(struct mf_trace *trace)
{
    if (trace == NULL) {
        return;
    }
    if (trace->memory != NULL) {
        munmap(trace->memory, sizeof(*trace->memory));
    }
    if (trace->fd >= 0) {
        close(trace->fd);
    }
    mf_mutex_fini(&trace->times_lock);
    mf_free(trace);
}

void mf_trace_close_fd(struct mf_trace *trace)
{
    close(trace->fd);
}

void mf_trace_set_rank(struct mf_trace *trace, uint64_t incarnation, uint32_t rank, uint32_t world)
{
    struct mf_trace_head *head = &trace->memory->head;
    atomic_store_explicit(&head->incarnation, incarnation, memory_order_relaxed);
    atomic_store_explicit(&head->rank, world == 0 ? UINT32_MAX : rank, memory_order_relaxed);
    atomic_store_explicit(&head->world, world, memory_order_relaxed);
}

/* ---- times; one writer at a time ---- */

static uint64_t get(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static void set(_Atomic uint64_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_relaxed);
}

static void stretch(_Atomic uint64_t *min_ns, _Atomic uint64_t *max_ns, uint64_t ns)
{
    if (get(min_ns) == 0 || ns < get(min_ns)) {
        set(min_ns, ns);
    }
    if (ns > get(max_ns)) {
        set(max_ns, ns);
    }
}

static void add_time(struct mf_trace *trace, struct mf_trace_times *times, uint64_t ns,
                     uint64_t weight)
{
    uint64_t period = get(&trace->memory->head.period);
    struct mf_trace_extreme *extreme = &times->extreme[period & 1];
    ns = ns == 0 ? 1 : ns; /* 0 is "none" */
    if (get(&extreme->period) != period) {
        set(&extreme->min_ns, 0);
        set(&extreme->max_ns, 0);
        set(&extreme->period, period);
    }
    stretch(&extreme->min_ns, &extreme->max_ns, ns);
    stretch(&times->min_ns, &times->max_ns, ns);
    mf_trace_add(&times->calls, weight);
    mf_trace_add(&times->total_ns, ns * weight);
    mf_trace_add(&times->buckets[mf_trace_bucket(ns)], weight);
}

uint64_t mf_trace_start_clock(const struct mf_tracer *tracer)
{
    return mf_now_ns(tracer->trace->env);
}

void mf_trace_stop_clock(struct mf_span span)
{
    struct mf_trace *trace = span.tracer->trace;
    add_time(trace, &span.tracer->own->times[span.point], mf_now_ns(trace->env) - span.start_ns,
             span.weight);
}

/* ---- block 0 ---- */

static void count(_Atomic uint64_t *word, uint64_t more)
{
    atomic_fetch_add_explicit(word, more, memory_order_relaxed);
}

uint64_t mf_trace_begin_shared(const struct mf_tracer *tracer, enum mf_point point)
{
    count(&tracer->trace->memory->blocks[0].counts[point].begun, 1);
    return mf_now_ns(tracer->trace->env);
}

void mf_trace_end_shared(struct mf_span span, int rc, uint64_t bytes)
{
    struct mf_trace *trace = span.tracer->trace;
    struct mf_trace_block *block = &trace->memory->blocks[0];
    if (rc != SMEM_OK) {
        count(&block->counts[span.point].bad, 1);
        return;
    }
    uint64_t ns = mf_now_ns(trace->env) - span.start_ns;
    count(&block->counts[span.point].good, 1);
    count(&block->counts[span.point].bytes, bytes);
    mf_mutex_lock(&trace->times_lock);
    add_time(trace, &block->times[span.point], ns, 1);
    mf_mutex_unlock(&trace->times_lock);
}

int mf_trace_event(const struct mf_tracer *tracer, enum mf_point point, int rc)
{
    if (tracer->trace != NULL) {
        struct mf_trace_counts *counts = &tracer->trace->memory->blocks[0].counts[point];
        count(&counts->begun, 1);
        count(rc == SMEM_OK ? &counts->good : &counts->bad, 1);
    }
    return rc;
}
