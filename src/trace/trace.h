// SPDX-License-Identifier: Apache-2.0
// Trace points: every call counts, some are timed. A thread that copies has a tracer with a block
// of its own, which it writes with plain stores; all other calls share block 0. Readers look at the
// memory from outside (sums.h) and never stop a writer.
//
// A call is bracketed by
//     struct mf_span span = mf_trace_begin(tracer, MF_POINT_BM_JOIN);
//     ...
//     return mf_trace_end(&span, rc, 0);
// and costs a few nanoseconds; mf_trace_begin_sampled leaves out the clock for most small copies.
#ifndef MF_TRACE_TRACE_H
#define MF_TRACE_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/thread.h"
#include "smem.h"
#include "trace/format.h"

enum mf_point {
#define MF_POINT(id, module, number, name, counts_bytes) MF_POINT_##id,
#include "trace/points.h"
#undef MF_POINT
    MF_POINT_COUNT,
};
_Static_assert(MF_POINT_COUNT <= MF_TRACE_POINTS, "more points than the format has room for");

/** The point of a single copy by its addresses. */
static inline enum mf_point mf_point_of_copy(bool from_pool, bool into_pool)
{
    _Static_assert(MF_POINT_COPY_PUT == MF_POINT_COPY_LOCAL + 1 &&
                       MF_POINT_COPY_GET == MF_POINT_COPY_LOCAL + 2 &&
                       MF_POINT_COPY_GLOBAL == MF_POINT_COPY_LOCAL + 3,
                   "the order of points.h");
    return (enum mf_point)(MF_POINT_COPY_LOCAL + (uint32_t)into_pool + 2 * (uint32_t)from_pool);
}

/** Copies below this many bytes are timed once in 64, below the other once in 16. */
#define MF_TRACE_SMALL  65536u
#define MF_TRACE_MEDIUM (1u << 20)

struct mf_trace {
    const struct mf_env *env;
    struct mf_trace_memory *memory;
    int fd;                     /* stays open: it is how readers find the memory */
    struct mf_mutex times_lock; /* guards the times of block 0; rank MF_RANK_LEAF */
};

/** Where one thread counts. {0}: nowhere, every call below does nothing. */
struct mf_tracer {
    struct mf_trace_block *own; /* NULL: the shared block, or none */
    struct mf_trace *trace;     /* NULL: tracing is off */
};

/** A call under way. */
struct mf_span {
    const struct mf_tracer *tracer;
    uint64_t start_ns;
    uint32_t weight; /* calls that this one stands for; 0: it is not timed */
    enum mf_point point;
};

/** SMEM_NO_RESOURCES when the system gives no descriptor or no memory, SMEM_MALLOC_FAILED. `env` is
 * borrowed. */
int mf_trace_create(const struct mf_env *env, struct mf_trace **out);
/** No tracer of it is used any more. NULL is fine. */
void mf_trace_destroy(struct mf_trace *trace);
/** For the atfork child handler: the memory is not mapped here; close the descriptor, touch nothing
 * else. */
void mf_trace_close_fd(struct mf_trace *trace);
/** What readers are told of this process. A world of 0: it has no rank at present. */
void mf_trace_set_rank(struct mf_trace *trace, uint64_t incarnation, uint32_t rank, uint32_t world);

/** The tracer of calls without a block. `trace` NULL: off. */
static inline struct mf_tracer mf_tracer_shared(struct mf_trace *trace)
{
    return (struct mf_tracer){.own = NULL, .trace = trace};
}

/** A tracer with a block that nobody else gets; the shared one when all are taken. */
static inline struct mf_tracer mf_tracer_own(struct mf_trace *trace)
{
    struct mf_tracer tracer = mf_tracer_shared(trace);
    if (trace != NULL) {
        _Atomic uint32_t *used = &trace->memory->head.blocks_used;
        uint32_t i = atomic_load_explicit(used, memory_order_relaxed);
        while (i < MF_TRACE_BLOCKS && !atomic_compare_exchange_weak(used, &i, i + 1)) {
        }
        tracer.own = i < MF_TRACE_BLOCKS ? &trace->memory->blocks[i] : NULL;
    }
    return tracer;
}

/* ---- out of line: block 0, and what only some calls do ---- */

/* By value, so that a span stays in registers over the call that it brackets. */
uint64_t mf_trace_begin_shared(const struct mf_tracer *tracer, enum mf_point point)
    __attribute__((cold));
void mf_trace_end_shared(struct mf_span span, int rc, uint64_t bytes) __attribute__((cold));
uint64_t mf_trace_start_clock(const struct mf_tracer *tracer);
void mf_trace_stop_clock(struct mf_span span);

static inline void mf_trace_add(_Atomic uint64_t *word, uint64_t more)
{
    uint64_t was = atomic_load_explicit(word, memory_order_relaxed);
    atomic_store_explicit(word, was + more, memory_order_relaxed);
}

/** Is the n-th copy one to be timed? One in 2^(64 - shift), spread by the golden ratio, so that no
 * pattern in the caller's loop falls in step with it. */
static inline bool mf_trace_is_sample(uint64_t n, uint64_t bytes)
{
    uint32_t shift = bytes < MF_TRACE_SMALL ? 58 : 60;
    return bytes >= MF_TRACE_MEDIUM || n * 0x9e3779b97f4a7c15ull >> shift == 0;
}

/* ---- around a call ---- */

/** Begin a call that is always timed. */
static inline struct mf_span mf_trace_begin(const struct mf_tracer *tracer, enum mf_point point)
{
    struct mf_span span = {.tracer = tracer, .point = point, .weight = 1};
    if (tracer->trace == NULL) {
        span.weight = 0;
    } else if (tracer->own == NULL) {
        span.start_ns = mf_trace_begin_shared(tracer, point);
    } else {
        mf_trace_add(&tracer->own->counts[point].begun, 1);
        span.start_ns = mf_trace_start_clock(tracer);
    }
    return span;
}

/** Begin a call that is made often: a copy of so many bytes, timed only sometimes when it is small.
 */
static inline struct mf_span mf_trace_begin_sampled(const struct mf_tracer *tracer,
                                                    enum mf_point point, uint64_t bytes)
{
    struct mf_span span = {.tracer = tracer, .point = point};
    if (__builtin_expect(tracer->own == NULL, 0)) {
        if (tracer->trace != NULL) {
            span.weight = 1;
            span.start_ns = mf_trace_begin_shared(tracer, point);
        }
        return span;
    }
    _Atomic uint64_t *begun = &tracer->own->counts[point].begun;
    uint64_t n = atomic_load_explicit(begun, memory_order_relaxed);
    atomic_store_explicit(begun, n + 1, memory_order_relaxed);
    if (__builtin_expect(mf_trace_is_sample(n, bytes), 0)) {
        /* The first one often finds things cold, and stands for itself alone. */
        span.weight = n == 0 || bytes >= MF_TRACE_MEDIUM ? 1 : bytes < MF_TRACE_SMALL ? 64 : 16;
        span.start_ns = mf_trace_start_clock(tracer);
    }
    return span;
}

/** End it: `bytes` count, and the time, when rc is SMEM_OK. Returns rc. */
static inline int mf_trace_end(const struct mf_span *span, int rc, uint64_t bytes)
{
    struct mf_trace_block *own = span->tracer->own;
    if (__builtin_expect(own == NULL, 0)) {
        if (span->tracer->trace != NULL) {
            mf_trace_end_shared(*span, rc, bytes);
        }
        return rc;
    }
    struct mf_trace_counts *counts = &own->counts[span->point];
    if (__builtin_expect(rc != SMEM_OK, 0)) {
        mf_trace_add(&counts->bad, 1);
        return rc;
    }
    mf_trace_add(&counts->good, 1);
    mf_trace_add(&counts->bytes, bytes);
    if (__builtin_expect(span->weight != 0, 0)) {
        mf_trace_stop_clock(*span);
    }
    return rc;
}

/** Something that has no duration: it happened, or it failed. Returns rc. */
int mf_trace_event(const struct mf_tracer *tracer, enum mf_point point, int rc)
    __attribute__((cold));

#endif
