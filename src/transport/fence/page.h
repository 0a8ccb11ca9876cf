// SPDX-License-Identifier: Apache-2.0
// The control page of one instance: the words by which copies are fenced. Its owner makes it, and
// processes of its host share it; who may write which word is said below. Nothing here is a lock: a
// process that dies leaves only words that name it.
#ifndef MF_TRANSPORT_FENCE_PAGE_H
#define MF_TRANSPORT_FENCE_PAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"

#define MF_FENCE_MAGIC   0x4c5254434446464dull /* "MFFDCTRL" */
#define MF_FENCE_VERSION 2u
/* Hazard words of a line: two for the CPU copy that runs, the others for device copies in the
 * queue. */
#define MF_FENCE_CPU_HAZARDS 2u
#define MF_FENCE_HAZARDS     14u

/** What one lane announces. Written by the thread that uses the lane alone, read by owners of
 * segments. Two cache lines, since processors fetch them in pairs. */
struct mf_fence_line {
    _Alignas(128) _Atomic uint64_t hazard[MF_FENCE_HAZARDS]; /* 0: nothing; mf_fence_hazard() */
    _Atomic uint32_t tid; /* thread of a long CPU copy, as its process sees it; 0: not said */
    uint32_t reserved[3];
};

struct mf_fence_page {
    /* Constant once the page is handed out, except for lines_used and closed. */
    uint64_t magic;
    uint32_t version;
    uint32_t rank;
    uint64_t incarnation;
    uint64_t world_id;
    uint64_t start_time;         /* of the process, as in /proc/<pid>/stat */
    uint32_t pid;                /* as its process sees it */
    uint32_t needs_fence;        /* no membarrier here: whoever announces must fence */
    _Atomic uint32_t lines_used; /* lines from here on were never used; only grows */
    _Atomic uint32_t closed; /* the instance has ended in order: its process's end is no death */
    /* admitted[r]: the one life of rank r whose copies the owner takes; 0: none. Written by the
     * owner. */
    _Alignas(4096) _Atomic uint64_t admitted[MF_WORLD_MAX];
    /* epochs[i]: the epoch of the owner's segment i; 0: not published. Written by the owner, and
     * set to 0 by a peer that takes the memory of a dead owner away. */
    _Alignas(4096) _Atomic uint64_t epochs[MF_SEGMENTS_MAX];
    _Alignas(4096) struct mf_fence_line lines[MF_THREADS_MAX];
};

_Static_assert(sizeof(struct mf_fence_line) == 128, "a line is two cache lines");

/** Whose page it is. */
struct mf_fence_identity {
    uint32_t rank;
    uint32_t pid;
    uint64_t incarnation;
    uint64_t world_id;
    uint64_t start_time;
    bool needs_fence;
};
/** Fill in the head of a page of zeros; the owner admits itself. */
void mf_fence_page_init(struct mf_fence_page *page, const struct mf_fence_identity *who);

/** The word that names a segment in a line. Never 0. */
static inline uint64_t mf_fence_hazard(uint32_t owner, uint32_t index, uint64_t epoch)
{
    return (uint64_t)(owner + 1) << 48 | (uint64_t)index << 32 | (uint32_t)epoch;
}

#endif
