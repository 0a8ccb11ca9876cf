// SPDX-License-Identifier: Apache-2.0
// The threads that copy: each has its lanes and one word that says whether it is inside a call. A
// call may read the segment table without a lock; who takes something out of a table waits in
// mf_threads_quiesce until every call that might have seen it has ended. The waiting side pays for
// the order of memory (membarrier), the calling side writes one word.
#ifndef MF_CORE_THREADS_H
#define MF_CORE_THREADS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/thread.h"
#include "trace/trace.h"
#include "xcopy/xcopy.h"

/** One thread that copies. Used by that thread alone, except for `call`. */
struct mf_thread {
    _Alignas(128) _Atomic uint64_t call; /* odd: inside a call; changes with every call */
    struct mf_tracer tracer;             /* {0} while its calls are not counted */
    struct mf_tracer home;               /* where it counts otherwise; its own for life */
    struct mf_lanes lanes;
    uint64_t lanes_of; /* number of the context that the lanes belong to; 0: none */
    bool taken;
    pthread_t owner; /* valid while taken */
};

/** All threads of a process. */
struct mf_threads {
    const struct mf_env *env;
    struct mf_trace *trace; /* NULL: off; set before the first entry is taken */
    struct mf_mutex lock;   /* guards taken, count and the pointers; rank MF_RANK_LEAF */
    struct mf_thread *v[MF_THREADS_MAX];
    _Atomic uint32_t count; /* of v; only grows */
    bool fenced;            /* no membarrier here: calls pay for the order themselves */
};

int mf_threads_init(struct mf_threads *threads, const struct mf_env *env);
/** No thread is inside a call. */
void mf_threads_fini(struct mf_threads *threads);

/** A free entry for the calling thread. SMEM_NO_RESOURCES when MF_THREADS_MAX threads have one. */
int mf_threads_take(struct mf_threads *threads, struct mf_thread **out);
/** Give it back; its lanes stay open for the next one. */
void mf_threads_give(struct mf_threads *threads, struct mf_thread *thread);

static inline void mf_thread_enter(const struct mf_threads *threads, struct mf_thread *thread)
{
    uint64_t call = atomic_load_explicit(&thread->call, memory_order_relaxed);
    atomic_store_explicit(&thread->call, call + 1, memory_order_relaxed);
    if (__builtin_expect(threads->fenced, 0)) {
        atomic_thread_fence(memory_order_seq_cst);
    } else {
        atomic_signal_fence(memory_order_seq_cst);
    }
}

static inline void mf_thread_leave(struct mf_thread *thread)
{
    uint64_t call = atomic_load_explicit(&thread->call, memory_order_relaxed);
    atomic_store_explicit(&thread->call, call + 1, memory_order_release);
}

/** Wait until every call that was under way when this was called has ended. SMEM_TIMEOUT; at once
 * so when the caller is itself inside a call. */
int mf_threads_quiesce(struct mf_threads *threads, uint64_t deadline_ns);

/** Close all lanes of the context with this number. Its transports are still open, no call of it is
 * under way and none can begin. */
void mf_threads_close_lanes(struct mf_threads *threads, uint64_t context);

#endif
