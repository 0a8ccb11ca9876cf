// SPDX-License-Identifier: Apache-2.0
// Threads, locks with a rank, condition variables and words that are always waited for with a
// deadline. Everything above that starts, ends, blocks or orders threads does so through these
// functions: the simulation has its own of them and runs threads as coroutines.
#ifndef MF_BASE_THREAD_H
#define MF_BASE_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"

/** The order of locks: a thread that holds one may take only one of a higher rank. Checked when the
 *  library is built with MF_LOCK_CHECK (sanitizer builds). */
enum mf_lock_rank {
    MF_RANK_API = 1,   /* api: init and uninit, the handle table */
    MF_RANK_CORE,      /* core: the world, the list of pools */
    MF_RANK_POOL,      /* core: one pool's members and segments */
    MF_RANK_TRANSPORT, /* transport: one instance's peers */
    MF_RANK_DEVICE,    /* device: one instance */
    MF_RANK_XCOPY,     /* xcopy: the queue of asynchronous work, the copy threads */
    MF_RANK_STORE,     /* store: one client's table of requests */
    MF_RANK_LOOP,      /* base: a loop's list of posted work */
    MF_RANK_LEAF,      /* anything that calls nothing while it holds it */
};

struct mf_mutex {
    pthread_mutex_t m;
    int rank;
};

void mf_mutex_init(struct mf_mutex *mutex, enum mf_lock_rank rank);
void mf_mutex_fini(struct mf_mutex *mutex);
void mf_mutex_lock(struct mf_mutex *mutex);
void mf_mutex_unlock(struct mf_mutex *mutex);

/** On CLOCK_MONOTONIC. */
struct mf_cond {
    pthread_cond_t c;
};

void mf_cond_init(struct mf_cond *cond);
void mf_cond_fini(struct mf_cond *cond);
void mf_cond_signal(struct mf_cond *cond);
void mf_cond_broadcast(struct mf_cond *cond);
/** False when `deadline_ns` (of mf_now_ns with the real clock) has passed. */
bool mf_cond_wait(struct mf_cond *cond, struct mf_mutex *mutex, uint64_t deadline_ns);

/** Start a thread named `name` (cut to 15 bytes) that gets no signals but those of its own faults
 *  (SIGSEGV and the like). 0 or SMEM_NO_RESOURCES. */
int mf_thread_start(pthread_t *out, const char *name, void *(*fn)(void *), void *arg);
/** Wait for its end. Once for each thread started. */
void mf_thread_join(pthread_t thread);
pthread_t mf_thread_self(void);
bool mf_thread_is_self(pthread_t thread);
void mf_thread_sleep_ns(uint64_t ns);
/** Let others run that are ready. */
void mf_thread_yield(void);

/** Sleep while *word is `seen`, until somebody wakes the word or the deadline (UINT64_MAX: none)
 * has passed; may return at any time. */
void mf_word_wait(_Atomic uint32_t *word, uint32_t seen, uint64_t deadline_ns);
/** Wake all that sleep on the word. */
void mf_word_wake(_Atomic uint32_t *word);

/** Have the kernel know that this process uses mf_thread_barrier; false when it cannot. */
bool mf_thread_barrier_register(void);
/** A full barrier on all threads of this process that run. */
void mf_thread_barrier(void);

#endif
