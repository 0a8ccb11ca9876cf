// SPDX-License-Identifier: Apache-2.0
// Asynchronous work of one pool: jobs in, executed by worker threads, waited for as a whole from
// any thread; the first failure is kept and given to the one who waits.
#ifndef MF_XCOPY_QUEUE_H
#define MF_XCOPY_QUEUE_H

#include "base/env.h"
#include "base/limits.h"
#include "xcopy/xcopy.h"

/** Bytes of jobs (three words an element) that one queue holds at most: the largest batch and some
 * more. */
#define MF_QUEUE_BYTES_MAX (24ull * MF_BATCH_MAX + (64ull << 20))

struct mf_queue;

/** Runs one job on a worker thread; the batch's arrays are the queue's own copies, its results are
 * the array that was submitted. */
typedef int (*mf_queue_run_fn)(void *arg, const struct mf_batch *batch, smem_bm_copy_type type);

/** `threads`: 1 to MF_COPY_THREADS_MAX; with 1, jobs run in the order of submission. */
int mf_queue_create(const struct mf_env *env, uint32_t threads, mf_queue_run_fn run, void *arg,
                    struct mf_queue **out);
/** Waits for the jobs that run (at most until the deadline), drops the others. SMEM_TIMEOUT: a job
 * still runs, the queue takes no more and is not freed; call again. No other thread uses the queue.
 * NULL is fine. */
int mf_queue_destroy(struct mf_queue *queue, uint64_t deadline_ns);
/** Copies the arrays and returns. SMEM_MALLOC_FAILED, SMEM_NO_RESOURCES (too many bytes queued:
 * says the limit). Starts a worker as long as there are less than `threads`. */
int mf_queue_submit(struct mf_queue *queue, const struct mf_batch *batch, smem_bm_copy_type type);
/** Until everything submitted before the call is done. The first failure since the last wait (its
 * sentence is installed in this thread), SMEM_TIMEOUT, or SMEM_OK; nothing pending: SMEM_OK. */
int mf_queue_wait(struct mf_queue *queue, uint64_t deadline_ns);

#endif
