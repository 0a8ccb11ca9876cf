// SPDX-License-Identifier: Apache-2.0
// What lies in a process's trace memory, a memfd that the writing process maps and readers of the
// same user read: a head that says what follows, then one block for each thread that counts. Block
// 0 is shared by the calls that have no block of their own. A change here is a new MF_TRACE_FORMAT.
#ifndef MF_TRACE_FORMAT_H
#define MF_TRACE_FORMAT_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/limits.h"

#define MF_TRACE_FD_NAME  "memfabric-trace"
#define MF_TRACE_MAGIC    0x4543415254464d00ull
#define MF_TRACE_FORMAT   1u
#define MF_TRACE_POINTS   32u /* room in the format; the table of points.h is shorter */
#define MF_TRACE_NAME_MAX 40u
#define MF_TRACE_BLOCKS   (MF_THREADS_MAX + 1u)

/* Times in nanoseconds: below 8 a bucket each, every power of two above is cut into 8, up to
 * 2^40 (18 minutes), which the last bucket takes with all that is longer. */
#define MF_TRACE_SUB_BITS 3u
#define MF_TRACE_SUB      (1u << MF_TRACE_SUB_BITS)
#define MF_TRACE_TOP_BITS 40u
#define MF_TRACE_BUCKETS  ((MF_TRACE_TOP_BITS - MF_TRACE_SUB_BITS + 1u) * MF_TRACE_SUB)

/** What every call counts. Its owner alone writes, except in block 0. */
struct mf_trace_counts {
    _Atomic uint64_t begun, good, bad, bytes;
};

/** Shortest and longest time of one period of whoever writes the table of periods. */
struct mf_trace_extreme {
    _Atomic uint64_t period, min_ns, max_ns; /* of another period: nothing yet */
};

/** What timed calls add: times of calls that succeeded, each counted as the number of calls it
 * stands for. */
struct mf_trace_times {
    _Alignas(64) _Atomic uint64_t calls;
    _Atomic uint64_t total_ns;
    _Atomic uint64_t min_ns, max_ns;    /* of those timed; 0: none */
    struct mf_trace_extreme extreme[2]; /* by the lowest bit of the period */
    _Atomic uint64_t buckets[MF_TRACE_BUCKETS];
};

struct mf_trace_block {
    _Alignas(4096) struct mf_trace_counts counts[MF_TRACE_POINTS];
    struct mf_trace_times times[MF_TRACE_POINTS];
};

/** A point as the head describes it, so that a reader of another version can name it. */
struct mf_trace_point_name {
    uint32_t id; /* 0: there is no such point */
    uint32_t counts_bytes;
    char name[MF_TRACE_NAME_MAX];
};

struct mf_trace_head {
    _Alignas(4096) _Atomic uint64_t magic; /* written last */
    uint32_t format, head_bytes, block_bytes, blocks, points, buckets;
    uint32_t pid;
    uint64_t started_ns; /* CLOCK_MONOTONIC */
    _Atomic uint64_t incarnation;
    _Atomic uint32_t rank, world; /* UINT32_MAX: no rank at present */
    _Atomic uint32_t blocks_used; /* with block 0; only grows */
    _Atomic uint64_t period;      /* of the table of periods; counted up by its writer */
    struct mf_trace_point_name point[MF_TRACE_POINTS];
};

struct mf_trace_memory {
    struct mf_trace_head head;
    struct mf_trace_block blocks[MF_TRACE_BLOCKS];
};

_Static_assert(sizeof(struct mf_trace_counts) == 32, "two points a cache line");
_Static_assert(sizeof(struct mf_trace_head) == 4096, "the head is one page");
_Static_assert(sizeof(struct mf_trace_block) % 4096 == 0, "blocks share no page");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit words are read whole");

static inline uint32_t mf_trace_bucket(uint64_t ns)
{
    if (ns < MF_TRACE_SUB) {
        return (uint32_t)ns;
    }
    if (ns >> MF_TRACE_TOP_BITS) {
        return MF_TRACE_BUCKETS - 1;
    }
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(ns) - MF_TRACE_SUB_BITS;
    return shift * MF_TRACE_SUB + (uint32_t)(ns >> shift);
}

/** The least time that falls into the bucket; of one past the last: where the last one ends. */
static inline uint64_t mf_trace_bucket_low(uint32_t bucket)
{
    if (bucket < MF_TRACE_SUB) {
        return bucket;
    }
    return (uint64_t)(bucket % MF_TRACE_SUB + MF_TRACE_SUB) << (bucket / MF_TRACE_SUB - 1);
}

#endif
