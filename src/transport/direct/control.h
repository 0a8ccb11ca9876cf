// SPDX-License-Identifier: Apache-2.0
// The control page of one instance: the words by which processes of one host fence each other's
// copies. Its owner makes it as a sealed memfd and hands the descriptor to each peer; who may write
// which word is said below. Nothing here is a lock: a process that dies leaves only words that name
// it.
#ifndef MF_TRANSPORT_DIRECT_CONTROL_H
#define MF_TRANSPORT_DIRECT_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"

#define MF_DIRECT_MAGIC   0x4c5254434446464dull /* "MFFDCTRL" */
#define MF_DIRECT_VERSION 1u
/* Hazard words of a line: two for the CPU copy that runs, the others for device copies in the
 * queue. */
#define MF_DIRECT_CPU_HAZARDS 2u
#define MF_DIRECT_HAZARDS     14u

/** What one lane announces. Written by the thread that uses the lane alone, read by owners of
 * segments. Two cache lines, since processors fetch them in pairs. */
struct mf_direct_line {
    _Alignas(128) _Atomic uint64_t hazard[MF_DIRECT_HAZARDS]; /* 0: nothing; mf_direct_hazard() */
    _Atomic uint32_t tid; /* thread of a long CPU copy, as its process sees it; 0: not said */
    uint32_t reserved[3];
};

struct mf_direct_control {
    /* Constant once the descriptor is handed out, except for lines_used. */
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
    /* gates[r]: the incarnation of rank r that the owner refuses; 0: none. Written by the owner. */
    _Alignas(4096) _Atomic uint64_t gates[MF_WORLD_MAX];
    /* epochs[i]: the epoch of the owner's segment i; 0: not published. Written by the owner, and
     * set to 0 by a peer that takes the memory of a dead owner away. */
    _Alignas(4096) _Atomic uint64_t epochs[MF_SEGMENTS_MAX];
    _Alignas(4096) struct mf_direct_line lines[MF_THREADS_MAX];
};

_Static_assert(sizeof(struct mf_direct_line) == 128, "a line is two cache lines");

/** The word that names a segment in a line. Never 0. */
static inline uint64_t mf_direct_hazard(uint32_t owner, uint32_t index, uint64_t epoch)
{
    return (uint64_t)(owner + 1) << 48 | (uint64_t)index << 32 | (uint32_t)epoch;
}

/** Make the own page: sealed memfd, mapped, header filled in. */
struct mf_direct_identity {
    uint32_t rank;
    uint32_t pid;
    uint64_t incarnation;
    uint64_t world_id;
    bool needs_fence;
};
int mf_direct_control_create(const struct mf_direct_identity *who, int *fd,
                             struct mf_direct_control **out);
/** Map a peer's page after checking seals, size and header. `fd` stays the caller's.
 * SMEM_INVALID_PARAM with what is wrong. */
int mf_direct_control_map(int fd, struct mf_direct_control **out);
void mf_direct_control_unmap(struct mf_direct_control *control);

/** Do all lines of the page lack this word? */
bool mf_direct_control_clear_of(const struct mf_direct_control *control, uint64_t hazard);

/** Register this process for membarrier; false when the kernel cannot. */
bool mf_direct_barrier_register(void);
/** A full barrier on all threads of all registered processes. */
void mf_direct_barrier(void);
/** Number of this process. */
uint32_t mf_direct_own_pid(void);
/** Start time of a process as in /proc/<pid>/stat; pid 0 is this process. 0 when it is gone. */
uint64_t mf_direct_start_time(int pid);

#endif
