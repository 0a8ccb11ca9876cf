/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file mf_trace.h
 * Trace points: how often each call was made, how often it failed, how many bytes it moved and how
 * long it took, in this process and in others of the same user. Counting is on by default (option
 * trace.enable) and costs a call a few nanoseconds; reading stops nobody. docs/tracing.md lists the
 * points and says what is timed.
 */
#ifndef MEMFABRIC_MF_TRACE_H
#define MEMFABRIC_MF_TRACE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MF_TRACE_API __attribute__((visibility("default")))
#else
#define MF_TRACE_API
#endif

/** What one point counted. Times are in nanoseconds, of calls that succeeded; small copies are
 * sampled, each sample standing for the calls between. 0 where no call was timed. */
typedef struct mf_trace_values {
    uint64_t begun;    /**< calls */
    uint64_t good;     /**< that ended with SMEM_OK */
    uint64_t bad;      /**< that ended with an error, refused arguments included */
    uint64_t bytes;    /**< moved by the good ones */
    uint64_t timed;    /**< calls that the times below stand for */
    uint64_t total_ns; /**< time of those together */
    uint64_t min_ns;
    uint64_t max_ns;
    uint64_t p50_ns; /**< half of the calls took less; within an eighth, as the next two */
    uint64_t p99_ns;
    uint64_t p999_ns;
} mf_trace_values_t;

/** One point. */
typedef struct mf_trace_point {
    uint32_t id;              /**< module << 16 | number; the same in every version */
    const char *name;         /**< "BM_COPY_PUT"; borrowed during the call */
    int32_t counts_bytes;     /**< 0: `bytes` means nothing here */
    uint64_t on_fly;          /**< calls that have begun and not ended */
    mf_trace_values_t total;  /**< since the process began to count */
    mf_trace_values_t latest; /**< since the last mf_trace_read of this reader; the first: as total.
                                   Its min_ns and max_ns are within an eighth */
} mf_trace_point_t;

/** The process that is read. */
typedef struct mf_trace_process {
    int32_t pid;
    int32_t alive;        /**< 0: it has ended; the values are its last */
    uint32_t rank;        /**< UINT32_MAX: it has none at present */
    uint32_t world;       /**< 0 likewise */
    uint64_t incarnation; /**< of its present or last service; 0: none yet */
    uint64_t total_ns;    /**< how long it has been counting: the time of `total` */
    uint64_t latest_ns;   /**< the time of `latest` */
} mf_trace_process_t;

typedef struct mf_trace_reader mf_trace_reader_t;

typedef void (*mf_trace_pid_fn)(void *arg, int32_t pid);
typedef void (*mf_trace_point_fn)(void *arg, const mf_trace_point_t *point);

/**
 * Find the processes of this host that have trace points and may be read: those of the same user,
 * for root all.
 *
 * @param fn  called for each, in order of the process id
 * @param arg given to fn
 * @return SMEM_OK, also when there is none; SMEM_INVALID_PARAM when fn is NULL; SMEM_ERROR when
 *         /proc cannot be read; SMEM_MALLOC_FAILED
 * Threads: any. Since: 0.2.
 */
MF_TRACE_API int32_t mf_trace_find(mf_trace_pid_fn fn, void *arg);

/**
 * Begin to read a process. What it says of itself is checked: memory that is no MemFabric's, of
 * another format, or that could be taken away is refused.
 *
 * @param pid    1 or more; this process's own is fine
 * @param reader owned: mf_trace_close it. NULL on failure
 * @return SMEM_OK; SMEM_INVALID_PARAM for an argument; SMEM_NOT_EXIST when there is no such process
 *         or it has no trace points; SMEM_ERROR when it belongs to another user or its memory is
 *         refused
 * Threads: any; a reader is used by one at a time. Since: 0.2.
 */
MF_TRACE_API int32_t mf_trace_open(int32_t pid, mf_trace_reader_t **reader);

/**
 * Read all points. Those that were never called are left out. Goes on working when the process has
 * ended.
 *
 * @param process filled before fn is called; not NULL
 * @param fn      called for each point, in the order of the process's table; may be NULL
 * @param arg     given to fn
 * @return SMEM_OK; SMEM_INVALID_PARAM when reader or process is NULL; SMEM_ERROR when the memory
 *         cannot be read
 * Since: 0.2.
 */
MF_TRACE_API int32_t mf_trace_read(mf_trace_reader_t *reader, mf_trace_process_t *process,
                                   mf_trace_point_fn fn, void *arg);

/** End reading. NULL is fine. Since: 0.2. */
MF_TRACE_API void mf_trace_close(mf_trace_reader_t *reader);

/**
 * The points of this process since it began to count, as MemFabric's table: a line of heads, then
 * one line for each point that was called, columns flush left: TIME (23 wide), NAME (40), BEGIN,
 * GOOD_END, BAD_END, ON_FLY, MIN(us), MAX(us), AVG(us), TOTAL(us) (15 each).
 *
 * @param buf  receives the text and a NUL, cut to whole lines when there is too little room; may be
 *             NULL when cap is 0
 * @param cap  bytes of buf
 * @param need receives the bytes of the whole text, without the NUL; may be NULL
 * @return SMEM_OK, also when the text was cut; SMEM_INVALID_PARAM; SMEM_NOT_INIT when this process
 *         counts nothing: before smem_bm_init, or with the option trace.enable off
 * Threads: any. Since: 0.2.
 */
MF_TRACE_API int32_t mf_trace_table(char *buf, size_t cap, size_t *need);

/**
 * Stop counting the calling thread's calls, or go on. For threads whose calls should not show, and
 * for measuring what counting costs. The default is on.
 *
 * @param on 0 or 1
 * @return SMEM_OK; SMEM_INVALID_PARAM; SMEM_NOT_INIT before smem_bm_init
 * Threads: any. Since: 0.2.
 */
MF_TRACE_API int32_t mf_trace_thread(int32_t on);

#ifdef __cplusplus
}
#endif
#endif
