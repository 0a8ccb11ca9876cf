// SPDX-License-Identifier: Apache-2.0
// xcopy: classify each address, compile a batch to a plan, and let the transports (or the local
// mover) carry it out. Everything is refused before a byte moves, or done, or reported element by
// element.
#ifndef MF_XCOPY_XCOPY_H
#define MF_XCOPY_XCOPY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "device/device.h"
#include "gva/gva.h"
#include "smem_bm_def.h"
#include "xcopy/cpu_copy.h"

struct mf_plan;

/** What resolve may answer; no code of the library. */
#define MF_XCOPY_LATER INT32_MIN

/** What xcopy needs to know about one pool. Owned and kept by core. */
struct mf_xcopy_space {
    const struct mf_env *env;
    const struct mf_gva_table *table;
    const struct mf_dev *dev; /* or NULL */
    struct mf_cpu_copy *copier;
    uint32_t pool;         /* for sentences */
    uint32_t self;         /* rank */
    uint64_t copy_wait_ms; /* the option copy.wait_ms: the deadline of copies that are given none */
    bool checked;          /* the option copy.checksum */
    /** Bring the segments of a rank that the table does not have. SMEM_OK: look again. Else the
     * sentence says why the rank's memory cannot be reached (not joined, left, died, other host).
     * May block until the deadline, and may leave the thread's quiesce section and enter it again:
     * no pointer to a segment is kept over the call. MF_XCOPY_LATER: there is no time for it;
     * SMEM_NOT_STARTED: this rank has left meanwhile. That is then what the copy or the whole batch
     * comes to, and nothing of it has moved. */
    int (*resolve)(void *arg, uint32_t rank, uint64_t deadline_ns);
    void *arg;
};

/** What one thread needs to copy: its lane of each transport instance, a stream for local device
 * copies, scratch memory for plans. Used by one thread at a time. Ended before its transports and
 * its device. */
struct mf_lanes {
    struct {
        const struct mf_transport_ops *ops;
        void *tp;
        void *lane;
    } v[MF_TRANSPORTS_MAX];
    uint32_t count;
    const struct mf_dev *dev; /* whose stream it is */
    void *stream;
    void *staging;        /* host memory between two transports, or NULL */
    struct mf_plan *plan; /* scratch, grown on demand, kept small between batches */
};

void mf_lanes_init(struct mf_lanes *lanes);
void mf_lanes_fini(struct mf_lanes *lanes);

struct mf_batch {
    void *const *src;
    void *const *dst;
    const uint64_t *size;
    uint32_t count;
    int32_t *results; /* one code for each element, or NULL */
    uint32_t first;   /* its elements are those from here on of a larger batch: for sentences */
    bool part;        /* of a larger batch: a failure's sentence does not count the elements */
};

/** Bytes that mf_batch_keep needs for the arrays of `count` elements. */
static inline size_t mf_batch_room(uint32_t count)
{
    return count * (2 * sizeof(void *) + sizeof(uint64_t));
}
/** The batch over copies of its arrays (not of its results) in `memory`, which is aligned for a
 * uint64_t. */
struct mf_batch mf_batch_keep(const struct mf_batch *batch, void *memory);

static inline uint64_t mf_batch_bytes(const struct mf_batch *batch)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        bytes += batch->size[i];
    }
    return bytes;
}

/** Copy one element. `type` is validated by the caller (0..SMEMB_COPY_AUTO). deadline_ns 0:
 * copy_wait_ms from the moment in which something must be waited for. Codes: SMEM_INVALID_PARAM
 * (addresses, ranges; nothing moved), SMEM_NOT_CONNECTED (rank not joined, left, died),
 * SMEM_TIMEOUT. The sentence names the addresses, the rank and the cause. */
int mf_xcopy_one(const struct mf_xcopy_space *space, struct mf_lanes *lanes, const void *src,
                 void *dst, uint64_t size, smem_bm_copy_type type, uint64_t deadline_ns);

/** Copy a batch. Without results: any bad element refuses the whole batch before a byte moves, the
 * sentence names the first bad one (before those for which a rank has to be resolved); a failure
 * while moving returns the first failure. With results: bad elements get their code, the others are
 * done; SMEM_PARTIAL_FAILED when some failed, and results say which. deadline_ns as above. */
int mf_xcopy_batch(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                   const struct mf_batch *batch, smem_bm_copy_type type, uint64_t deadline_ns);

/** Compile only (bench, tests): number of transfers that the plan has after coalescing. */
int mf_xcopy_plan(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                  const struct mf_batch *batch, smem_bm_copy_type type, uint32_t *transfers);

#endif
