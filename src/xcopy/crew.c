// SPDX-License-Identifier: Apache-2.0
// The helpers of large copies. One word, the gate, says which job there is, whether it may still be
// entered and how many helpers are inside: the caller closes it when no chunk is left and waits for
// those inside only. Idle helpers spin for some microseconds, then sleep.
#include "xcopy/crew.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/thread.h"

#define INSIDE_MASK 0xffffull
#define OPEN        0x10000ull
#define GENERATION  0x20000ull /* one of it */

#define SPIN_NS      (20 * 1000ull)  /* a helper looks for the next job so long before it sleeps */
#define LATE_NS      (200 * 1000ull) /* a helper that keeps the caller waiting for longer is late */
#define SKIP_MIN     64u             /* copies that do without helpers after a late one ... */
#define SKIP_MAX     4096u           /* ... twice as many each time */
#define CHUNK_MIN    (128u << 10)
#define CHUNK_MAX    (1u << 20)
#define CHUNK_ALIGN  4096u
#define SPINS_A_LOOK 64u

struct job {
    mf_crew_copy_fn copy;
    uint8_t *dst;
    const uint8_t *src;
    size_t size;
    size_t chunk;
};

struct mf_crew {
    const struct mf_env *env;
    pthread_t threads[MF_COPY_THREADS_MAX];
    uint32_t count;
    struct mf_mutex lock; /* guards the sleep of helpers: `stop` and who waits on `work` */
    struct mf_cond work;
    bool stop;
    uint32_t skip_next; /* of whoever owns the crew */
    _Atomic uint32_t skip;
    _Atomic uint32_t wanted;
    _Atomic bool busy; /* owned by one copying thread; the job is that thread's */
    struct job job;
    _Alignas(64) _Atomic uint64_t gate;
    _Alignas(64) _Atomic size_t next; /* chunk */
    _Alignas(64) _Atomic uint32_t sleepers;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void take_chunks(struct mf_crew *crew)
{
    const struct job *job = &crew->job;
    for (;;) {
        size_t at = atomic_fetch_add_explicit(&crew->next, 1, memory_order_relaxed) * job->chunk;
        if (at >= job->size) {
            return;
        }
        size_t left = job->size - at;
        job->copy(job->dst + at, job->src + at, left < job->chunk ? left : job->chunk);
    }
}

static bool may_enter(const struct mf_crew *crew, uint64_t gate, uint64_t seen)
{
    return (gate & OPEN) && gate / GENERATION != seen &&
           (gate & INSIDE_MASK) < atomic_load_explicit(&crew->wanted, memory_order_relaxed);
}

/* Enter the job that is open, work, leave. False when there is none. */
static bool help(struct mf_crew *crew, uint64_t *seen)
{
    uint64_t gate = atomic_load(&crew->gate);
    if (!may_enter(crew, gate, *seen) ||
        !atomic_compare_exchange_strong(&crew->gate, &gate, gate + 1)) {
        return false;
    }
    *seen = gate / GENERATION;
    take_chunks(crew);
    atomic_fetch_sub(&crew->gate, 1);
    return true;
}

/* Returns false when the crew ends. */
static bool sleep_until_work(struct mf_crew *crew, uint64_t seen)
{
    mf_mutex_lock(&crew->lock);
    atomic_fetch_add(&crew->sleepers, 1);
    while (!crew->stop && !may_enter(crew, atomic_load(&crew->gate), seen)) {
        mf_cond_wait(&crew->work, &crew->lock, UINT64_MAX);
    }
    atomic_fetch_sub(&crew->sleepers, 1);
    bool go_on = !crew->stop;
    mf_mutex_unlock(&crew->lock);
    return go_on;
}

static void *helper_main(void *arg)
{
    struct mf_crew *crew = arg;
    uint64_t seen = 0;
    do {
        uint64_t until = mf_now_ns(crew->env) + SPIN_NS;
        while (mf_now_ns(crew->env) < until) {
            for (uint32_t i = 0; i < SPINS_A_LOOK; i++) {
                if (help(crew, &seen)) {
                    until = mf_now_ns(crew->env) + SPIN_NS;
                }
                relax();
            }
        }
    } while (sleep_until_work(crew, seen));
    return NULL;
}

int mf_crew_create(const struct mf_env *env, struct mf_crew **out)
{
    *out = NULL;
    struct mf_crew *crew = mf_alloc_aligned(64, sizeof(*crew), "copy threads");
    if (!crew) {
        return SMEM_MALLOC_FAILED;
    }
    crew->env = env;
    crew->skip_next = SKIP_MIN;
    mf_mutex_init(&crew->lock, MF_RANK_XCOPY);
    mf_cond_init(&crew->work);
    *out = crew;
    return SMEM_OK;
}

void mf_crew_destroy(struct mf_crew *crew)
{
    if (!crew) {
        return;
    }
    mf_mutex_lock(&crew->lock);
    crew->stop = true;
    mf_cond_broadcast(&crew->work);
    mf_mutex_unlock(&crew->lock);
    for (uint32_t i = 0; i < crew->count; i++) {
        mf_thread_join(crew->threads[i]);
    }
    mf_cond_fini(&crew->work);
    mf_mutex_fini(&crew->lock);
    mf_free(crew);
}

int mf_crew_start(struct mf_crew *crew, uint32_t helpers)
{
    MF_ASSERT(helpers < MF_COPY_THREADS_MAX);
    while (crew->count < helpers) {
        int rc = mf_thread_start(&crew->threads[crew->count], "mf-copy", helper_main, crew);
        if (rc) {
            return rc;
        }
        crew->count++;
    }
    return SMEM_OK;
}

/* Cut so that each has about four chunks: late helpers then cost little. */
static size_t chunk_size(size_t size, uint32_t threads)
{
    size_t chunk = size / (4 * threads) / CHUNK_ALIGN * CHUNK_ALIGN;
    if (chunk < CHUNK_MIN) {
        return CHUNK_MIN;
    }
    return chunk > CHUNK_MAX ? CHUNK_MAX : chunk;
}

/* A helper inside may have lost its processor: look at the clock now and then, and let others run.
 */
static void wait_for_helpers(struct mf_crew *crew)
{
    uint64_t start = 0;
    for (uint32_t spins = 0; atomic_load(&crew->gate) & INSIDE_MASK; spins++) {
        relax();
        if (spins % SPINS_A_LOOK == 0) {
            start = start ? start : mf_now_ns(crew->env);
            if (mf_now_ns(crew->env) - start > SPIN_NS) {
                mf_thread_yield();
            }
        }
    }
    if (start && mf_now_ns(crew->env) - start > LATE_NS) {
        atomic_store_explicit(&crew->skip, crew->skip_next, memory_order_relaxed);
        crew->skip_next = crew->skip_next < SKIP_MAX ? crew->skip_next * 2 : SKIP_MAX;
    } else if (crew->skip_next > SKIP_MIN) {
        crew->skip_next--;
    }
}

bool mf_crew_copy(struct mf_crew *crew, uint32_t helpers, mf_crew_copy_fn copy, void *dst,
                  const void *src, size_t size)
{
    uint32_t skip = atomic_load_explicit(&crew->skip, memory_order_relaxed);
    if (skip > 0) {
        atomic_store_explicit(&crew->skip, skip - 1, memory_order_relaxed);
        return false;
    }
    if (atomic_exchange(&crew->busy, true)) {
        return false;
    }
    crew->job = (struct job){copy, dst, src, size, chunk_size(size, helpers + 1)};
    atomic_store_explicit(&crew->wanted, helpers, memory_order_relaxed);
    atomic_store_explicit(&crew->next, 0, memory_order_relaxed);
    uint64_t generation = atomic_load_explicit(&crew->gate, memory_order_relaxed) / GENERATION + 1;
    atomic_store(&crew->gate, generation * GENERATION | OPEN);
    if (atomic_load(&crew->sleepers) > 0) {
        mf_mutex_lock(&crew->lock);
        mf_cond_broadcast(&crew->work);
        mf_mutex_unlock(&crew->lock);
    }
    take_chunks(crew);
    atomic_fetch_and(&crew->gate, ~OPEN);
    wait_for_helpers(crew);
    atomic_store(&crew->busy, false);
    return true;
}
