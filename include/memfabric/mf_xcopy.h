/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file mf_xcopy.h
 * Copies as requests, and batches that are compiled once. A request is submitted, then polled,
 * waited for, cancelled, or watched by a file descriptor, and tells what became of each element. A
 * prepared batch (strides, indexes over two bases, or a plain list) is checked and compiled once
 * and submitted many times with new bases. docs/xcopy.md is the guide.
 *
 * Requests have no order among each other; order comes from waiting only. All functions return
 * SMEM_OK or a negative code of smem.h and record a sentence (smem_get_last_err_msg), except where
 * it is said. All may be called from any thread. Strings, structures and arrays that are passed in
 * are read during the call only; the memory that is copied must stay until the request has ended.
 */
#ifndef MEMFABRIC_MF_XCOPY_H
#define MEMFABRIC_MF_XCOPY_H

#include <stddef.h>
#include <stdint.h>

#include "smem_bm_def.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MF_XCOPY_API __attribute__((visibility("default")))
#else
#define MF_XCOPY_API
#endif

/** A submitted copy. Opaque handle; a stale one is an error, not a crash. It stays valid when its
 * pool is destroyed, until it is freed. */
typedef struct mf_request *mf_request_t;
/** A compiled batch of one pool. Opaque handle. */
typedef struct mf_prepared *mf_prepared_t;

/** Flag: submit returns before the request is carried out, even when it is small; a worker does it,
 * or whoever waits for it first (mf_request_wait). Without the flag, requests of at most 64 KiB and
 * 16 elements are copied before submit returns, which is sooner than handing them over. */
#define MF_XCOPY_QUEUED 1u

/** What mf_xcopy_submit copies: as smem_bm_copy_batch. */
typedef struct mf_xcopy_batch {
    uint32_t size;             /**< sizeof(struct mf_xcopy_batch), set by the caller */
    uint32_t flags;            /**< 0 or MF_XCOPY_QUEUED */
    uint32_t count;            /**< elements, 1 to 2^24 */
    smem_bm_copy_type_t type;  /**< SMEMB_COPY_H2G, ..., SMEMB_COPY_AUTO */
    void *const *sources;      /**< [count] */
    void *const *destinations; /**< [count] */
    const uint64_t *sizes;     /**< [count] bytes, each above 0 */
    uint32_t timeout_ms;       /**< from now until it must have ended; 0: option copy.wait_ms */
    uint32_t reserved;         /**< 0 */
} mf_xcopy_batch_t;

/**
 * Submit a batch.
 *
 * Elements are independent: one that is refused or fails does not stop the others. Small requests
 * are copied at once; others are handed to the pool's workers (option copy.workers). At the
 * deadline, elements that have not begun end as SMEM_NOT_STARTED.
 *
 * @param handle pool; this rank has joined it
 * @param batch  borrowed; its arrays are copied when the request is handed over
 * @param out    the request, also when elements fail; free it with mf_request_free
 * @return SMEM_OK; SMEM_INVALID_PARAM (an argument); SMEM_NOT_INIT; SMEM_NOT_STARTED (not joined);
 *         SMEM_NO_RESOURCES (too many requests, or bytes of queued arrays); SMEM_MALLOC_FAILED.
 * Then there is no request. Threads: any. Since: 0.2.
 */
MF_XCOPY_API int32_t mf_xcopy_submit(smem_bm_t handle, const mf_xcopy_batch_t *batch,
                                     mf_request_t *out);

/**
 * Has the request ended? Never blocks.
 *
 * @param status its outcome when it has: SMEM_OK; the code of its only element;
 *        SMEM_PARTIAL_FAILED (see mf_request_results); SMEM_TIMEOUT (its deadline passed);
 *        SMEM_NOT_STARTED (cancelled, or this rank left or destroyed the pool, before any of it
 *        had begun). A failure's sentence becomes this thread's last error.
 * @return SMEM_OK it has; SMEM_TIMEOUT not yet (no sentence is recorded); SMEM_INVALID_PARAM;
 *         SMEM_NOT_INIT in the child of a fork. Since: 0.2.
 */
MF_XCOPY_API int32_t mf_request_poll(mf_request_t req, int32_t *status);

/**
 * Wait until the request has ended: looks for some microseconds, then sleeps. A small request that
 * no worker has begun is carried out by the waiting thread.
 *
 * @param timeout_ms 0 asks, as mf_request_poll
 * @param status     as mf_request_poll
 * @return as mf_request_poll; SMEM_TIMEOUT has a sentence. Several threads may wait for one
 * request. Since: 0.2.
 */
MF_XCOPY_API int32_t mf_request_wait(mf_request_t req, uint32_t timeout_ms, int32_t *status);

/**
 * What became of each element of a request that has ended.
 *
 * @param codes receives for each element: SMEM_OK; SMEM_NOT_STARTED nothing of it has moved;
 *        SMEM_PARTIAL_FAILED the request was stopped in the middle of it; another code: it failed,
 *        and an unknown part of it has moved. A target that is not SMEM_OK or SMEM_NOT_STARTED
 * holds old and new bytes.
 * @param count elements of the request
 * @return SMEM_OK; SMEM_TIMEOUT it has not ended; SMEM_INVALID_PARAM (handle, or another count).
 * Since: 0.2.
 */
MF_XCOPY_API int32_t mf_request_results(mf_request_t req, int32_t *codes, uint32_t count);

/**
 * The sentence of the first failure of a request that has ended, "" when there was none.
 *
 * @param text receives it, cut to `len` - 1 bytes
 * @return SMEM_OK; SMEM_TIMEOUT it has not ended; SMEM_INVALID_PARAM. Since: 0.2.
 */
MF_XCOPY_API int32_t mf_request_error(mf_request_t req, char *text, uint32_t len);

/**
 * Stop the request. What has not begun never happens; what runs is stopped at its next step, at
 * most 16 MiB later.
 *
 * @return SMEM_OK: it has ended (perhaps before this call) and nothing of it lands any more;
 *         SMEM_TIMEOUT after timeout_ms: a step still runs, nothing begins after it;
 *         SMEM_INVALID_PARAM. Since: 0.2.
 */
MF_XCOPY_API int32_t mf_request_cancel(mf_request_t req, uint32_t timeout_ms);

/**
 * A descriptor (eventfd) that is readable once the request has ended. It belongs to the request:
 * mf_request_free closes it. The same one every time.
 *
 * @return SMEM_OK; SMEM_INVALID_PARAM; SMEM_NO_RESOURCES (no descriptor is left). Since: 0.2.
 */
MF_XCOPY_API int32_t mf_request_fd(mf_request_t req, int *fd);

/**
 * Free the request; its handle is stale from here on.
 *
 * @return SMEM_OK; SMEM_RES_IN_USE it has not ended: wait for it, or cancel it; SMEM_INVALID_PARAM
 *         (also for a second free). Since: 0.2.
 */
MF_XCOPY_API int32_t mf_request_free(mf_request_t req);

/** Blocks of one size at regular distances: block i from src + i * src_stride to
 * dst + i * dst_stride. */
typedef struct mf_xcopy_strided {
    uint32_t size;            /**< sizeof(struct mf_xcopy_strided), set by the caller */
    uint32_t flags;           /**< 0 */
    uint32_t count;           /**< blocks, 1 to 2^24 */
    smem_bm_copy_type_t type; /**< as mf_xcopy_batch.type */
    const void *src;
    void *dst;
    uint64_t src_stride; /**< bytes, above 0 when there is more than one block */
    uint64_t dst_stride; /**< bytes, at least block_bytes likewise */
    uint64_t block_bytes;
} mf_xcopy_strided_t;

/** Blocks of one size at places that arrays tell. Each side has offsets, or numbers of rows, or
 * neither: then its blocks lie at distances of its row_bytes. So a gather of rows is src_rows with
 * a dense destination, a scatter the reverse. */
typedef struct mf_xcopy_indexed {
    uint32_t size;            /**< sizeof(struct mf_xcopy_indexed), set by the caller */
    uint32_t flags;           /**< 0 */
    uint32_t count;           /**< blocks, 1 to 2^24 */
    smem_bm_copy_type_t type; /**< as mf_xcopy_batch.type */
    const void *src;
    void *dst;
    const uint64_t *src_offsets; /**< [count] bytes from src, or NULL */
    const uint64_t *dst_offsets; /**< [count] bytes from dst, or NULL */
    const uint32_t *src_rows;    /**< [count] rows of src_row_bytes from src, or NULL */
    const uint32_t *dst_rows;    /**< [count] rows of dst_row_bytes from dst, or NULL */
    uint64_t src_row_bytes;      /**< 0: block_bytes; not used with offsets */
    uint64_t dst_row_bytes;      /**< 0: block_bytes; not used with offsets */
    uint64_t block_bytes;
} mf_xcopy_indexed_t;

/**
 * Check and compile blocks at regular distances. Blocks that lie side by side on both sides become
 * one copy. May block while a rank's memory is reached for the first time.
 *
 * The batch remembers the memory that it was prepared for (rank, incarnation, epoch): when that
 * rank leaves, dies or joins again, submitting fails with SMEM_NOT_CONNECTED and the batch has to
 * be prepared again. Other ranks that come or go do not matter.
 *
 * @param out free it with mf_prepared_free; it may outlive the pool, and is of no use then
 * @return SMEM_OK; SMEM_INVALID_PARAM (names argument or element); SMEM_NOT_CONNECTED;
 *         SMEM_NOT_STARTED; SMEM_NOT_INIT; SMEM_NO_RESOURCES; SMEM_MALLOC_FAILED. Since: 0.2.
 */
MF_XCOPY_API int32_t mf_prepare_strided(smem_bm_t handle, const mf_xcopy_strided_t *blocks,
                                        mf_prepared_t *out);
/** The same for blocks that arrays place; the arrays are copied. Since: 0.2. */
MF_XCOPY_API int32_t mf_prepare_indexed(smem_bm_t handle, const mf_xcopy_indexed_t *blocks,
                                        mf_prepared_t *out);
/** The same for a list of addresses and sizes; `flags` and `timeout_ms` of the batch are 0. Since:
 * 0.2. */
MF_XCOPY_API int32_t mf_prepare_list(smem_bm_t handle, const mf_xcopy_batch_t *batch,
                                     mf_prepared_t *out);

/**
 * Submit a prepared batch between new bases. What is checked is where the blocks lie as a whole;
 * bases with which they divide otherwise among segments cost a new compilation.
 *
 * A failure stops the copy: elements behind it are SMEM_NOT_STARTED.
 *
 * @param src, dst   strided and indexed: the bases, 0: those it was prepared with. A list: what is
 *                   added to its addresses on each side (modulo 2^64, so negative ones work)
 * @param flags      0 or MF_XCOPY_QUEUED
 * @param timeout_ms as in mf_xcopy_batch
 * @return as mf_xcopy_submit; SMEM_NOT_CONNECTED: memory that it was prepared for has changed;
 *         SMEM_INVALID_PARAM also where the bases do not fit: nothing was copied, there is no
 *         request. Since: 0.2.
 */
MF_XCOPY_API int32_t mf_prepared_submit(mf_prepared_t prepared, uint64_t src, uint64_t dst,
                                        uint32_t flags, uint32_t timeout_ms, mf_request_t *out);

/** Copy a prepared batch on this thread and return when it is done. Arguments as
 * mf_prepared_submit;
 *  @return as that, or the failure of the copy. Since: 0.2. */
MF_XCOPY_API int32_t mf_prepared_run(mf_prepared_t prepared, uint64_t src, uint64_t dst,
                                     uint32_t timeout_ms);

/** Free a prepared batch. Requests that use it go on. @return SMEM_OK; SMEM_INVALID_PARAM (also for
 * a second free). Since: 0.2. */
MF_XCOPY_API int32_t mf_prepared_free(mf_prepared_t prepared);

#ifdef __cplusplus
}
#endif
#endif
