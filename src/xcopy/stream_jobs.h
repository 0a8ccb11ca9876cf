// SPDX-License-Identifier: Apache-2.0
// Copies in the order of a stream of the caller. The stream writes a number when it gets to the
// copy and waits for the same number in another word; a thread of the pool sees the first, copies,
// and writes the second. The words belong to the stream, the threads to the pool: neither has to
// outlive the other, and a stream is let go on whatever happens to its copies.
#ifndef MF_XCOPY_STREAM_JOBS_H
#define MF_XCOPY_STREAM_JOBS_H

#include "base/env.h"
#include "base/limits.h"
#include "device/device.h"
#include "xcopy/xcopy.h"

/** Threads of one pool: copies of as many streams run at the same time. */
#define MF_STREAM_THREADS_MAX 4u
/** Bytes of copies that wait for their streams (three words an element), at most: the largest batch
 * and some more. */
#define MF_STREAM_BYTES_MAX (24ull * MF_BATCH_MAX + (64ull << 20))

/* ---- what belongs to a stream ---------------------------------------------------------------- */

struct mf_stream_words;

/** For `stream` of `dev`, both of which stay until close. SMEM_MALLOC_FAILED, or what the device
 * says of host memory that it shall reach. */
int mf_stream_words_create(const struct mf_dev *dev, void *stream, struct mf_stream_words **out);
/** The stream is destroyed: nothing that was queued on it runs any more. Copies that have not begun
 * fail; what was taken is freed when the last of them is over. NULL is fine. */
void mf_stream_words_close(struct mf_stream_words *words);
/** The first failure of a copy on this stream since the last time, once; its sentence becomes this
 * thread's. SMEM_OK: none. NULL is fine. */
int mf_stream_words_take_failure(struct mf_stream_words *words);

/* ---- what belongs to a pool ------------------------------------------------------------------ */

struct mf_stream_jobs;

/** Runs one copy; as mf_queue_run_fn. Ends by a deadline of its own. */
typedef int (*mf_stream_run_fn)(void *arg, const struct mf_batch *batch, smem_bm_copy_type type);

/** Starts no thread before the first copy. `pool` is for sentences. */
int mf_stream_jobs_create(const struct mf_env *env, uint32_t pool, mf_stream_run_fn run, void *arg,
                          struct mf_stream_jobs **out);
/** Drops what has not begun, which lets its streams go on and is their failure; waits for what
 * runs. SMEM_TIMEOUT: a copy still runs at the deadline, nothing is freed; call again. NULL is
 * fine.
 */
int mf_stream_jobs_destroy(struct mf_stream_jobs *jobs, uint64_t deadline_ns);
/** Queue a copy on the stream of the words; the arrays are copied. The stream is not destroyed
 * meanwhile. SMEM_MALLOC_FAILED, SMEM_NO_RESOURCES, or what the device says: nothing will be
 * copied.
 */
int mf_stream_jobs_submit(struct mf_stream_jobs *jobs, struct mf_stream_words *words,
                          const struct mf_batch *batch, smem_bm_copy_type type);
/** As mf_stream_words_take_failure, of the copies of this pool on any stream. */
int mf_stream_jobs_take_failure(struct mf_stream_jobs *jobs);

#endif
