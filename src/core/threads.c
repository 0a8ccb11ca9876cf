// SPDX-License-Identifier: Apache-2.0
// The registry of copying threads and the wait for calls under way.
#include "core/threads.h"

#include <string.h>

#include "base/alloc.h"
#include "base/err.h"

int mf_threads_init(struct mf_threads *threads, const struct mf_env *env)
{
    memset(threads, 0, sizeof(*threads));
    threads->env = env;
    mf_mutex_init(&threads->lock, MF_RANK_LEAF);
    threads->fenced = !mf_thread_barrier_register();
    return SMEM_OK;
}

void mf_threads_fini(struct mf_threads *threads)
{
    uint32_t count = atomic_load(&threads->count);
    for (uint32_t i = 0; i < count; i++) {
        mf_lanes_fini(&threads->v[i]->lanes);
        mf_free(threads->v[i]);
    }
    atomic_store(&threads->count, 0);
    mf_mutex_fini(&threads->lock);
}

int mf_threads_take(struct mf_threads *threads, struct mf_thread **out)
{
    int rc = SMEM_OK;
    struct mf_thread *thread = NULL;
    mf_mutex_lock(&threads->lock);
    uint32_t count = atomic_load_explicit(&threads->count, memory_order_relaxed);
    for (uint32_t i = 0; i < count && thread == NULL; i++) {
        thread = threads->v[i]->taken ? NULL : threads->v[i];
    }
    if (thread == NULL && count == MF_THREADS_MAX) {
        rc =
            mf_err(SMEM_NO_RESOURCES,
                   "%u threads of this process copy already, the limit; end threads that no longer "
                   "need the library",
                   count);
    } else if (thread == NULL) {
        thread = mf_alloc_aligned(128, sizeof(*thread), "thread entry");
        if (thread == NULL) {
            rc = SMEM_MALLOC_FAILED;
        } else {
            mf_lanes_init(&thread->lanes);
            thread->home = mf_tracer_own(threads->trace);
            threads->v[count] = thread;
            atomic_store_explicit(&threads->count, count + 1, memory_order_release);
        }
    }
    if (thread != NULL) {
        thread->taken = true;
        thread->tracer = thread->home;
        thread->owner = mf_thread_self();
    }
    mf_mutex_unlock(&threads->lock);
    *out = thread;
    return rc;
}

void mf_threads_give(struct mf_threads *threads, struct mf_thread *thread)
{
    mf_mutex_lock(&threads->lock);
    thread->taken = false;
    mf_mutex_unlock(&threads->lock);
}

/* Is the caller inside a call? It would wait for itself. */
static bool caller_is_inside(struct mf_threads *threads)
{
    bool inside = false;
    mf_mutex_lock(&threads->lock);
    uint32_t count = atomic_load_explicit(&threads->count, memory_order_relaxed);
    for (uint32_t i = 0; i < count && !inside; i++) {
        struct mf_thread *t = threads->v[i];
        inside = t->taken && mf_thread_is_self(t->owner) &&
                 (atomic_load_explicit(&t->call, memory_order_relaxed) & 1);
    }
    mf_mutex_unlock(&threads->lock);
    return inside;
}

int mf_threads_quiesce(struct mf_threads *threads, uint64_t deadline_ns)
{
    if (caller_is_inside(threads)) {
        return mf_err(SMEM_TIMEOUT, "a call cannot wait for itself to end");
    }
    atomic_thread_fence(memory_order_seq_cst);
    if (!threads->fenced) {
        mf_thread_barrier();
    }
    uint32_t count = atomic_load_explicit(&threads->count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        struct mf_thread *t = threads->v[i];
        uint64_t seen = atomic_load_explicit(&t->call, memory_order_acquire);
        for (uint32_t spins = 0;
             (seen & 1) && atomic_load_explicit(&t->call, memory_order_acquire) == seen; spins++) {
            if (mf_now_ns(threads->env) >= deadline_ns) {
                return mf_err(SMEM_TIMEOUT,
                              "a call of another thread of this process has not ended");
            }
            mf_thread_sleep_ns(spins < 100 ? 1000 : 200000);
        }
    }
    return SMEM_OK;
}

void mf_threads_close_lanes(struct mf_threads *threads, uint64_t context)
{
    uint32_t count = atomic_load_explicit(&threads->count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        struct mf_thread *t = threads->v[i];
        if (t->lanes_of == context) {
            mf_lanes_fini(&t->lanes);
            mf_lanes_init(&t->lanes);
            t->lanes_of = 0;
        }
    }
}
