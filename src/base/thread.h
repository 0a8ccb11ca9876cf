// SPDX-License-Identifier: Apache-2.0
// Threads, locks with a rank, and condition variables that always have a deadline.
#ifndef MF_BASE_THREAD_H
#define MF_BASE_THREAD_H

#include <pthread.h>
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

#endif
