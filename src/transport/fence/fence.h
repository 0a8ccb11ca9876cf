// SPDX-License-Identifier: Apache-2.0
// The fence of copies. Whoever copies announces the segment in a line, looks whether it is there
// and whether he is welcome, copies, looks again and retracts; an owner that takes a segment back
// sets its epoch to 0 and waits for every line that names it. This header: the copying side, which
// costs two loads and two stores around a small copy, and the owner's side.
#ifndef MF_TRANSPORT_FENCE_FENCE_H
#define MF_TRANSPORT_FENCE_FENCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mutant.h"
#include "memfabric/mf_transport.h"
#include "transport/fence/page.h"

/* ---- the copying side ---- */

/** What is needed to fence copies into and out of one segment. */
struct mf_fence_key {
    uint64_t hazard; /* the word that announces it */
    uint64_t epoch;
    const _Atomic uint64_t *epoch_now; /* the owner's */
    const _Atomic uint64_t *admitted;  /* the owner's word on this rank */
    bool strict;                       /* announcing it takes a fence */
};

/** The key of a peer's (or an own) segment for copies by `rank`. `strict`: the copying process
 * needs fences. */
void mf_fence_key_init(struct mf_fence_key *key, const struct mf_fence_page *owner,
                       const struct mf_segment_desc *desc, uint32_t rank, bool strict);

/** Does its owner take copies of that life of this rank? */
static inline bool mf_fence_is_welcome(const struct mf_fence_key *key, uint64_t incarnation)
{
    return MF_MUTANT(GATE) ||
           atomic_load_explicit(key->admitted, memory_order_relaxed) == incarnation;
}

/** Is the segment that was announced still there? */
static inline bool mf_fence_is_there(const struct mf_fence_key *key)
{
    return atomic_load_explicit(key->epoch_now, memory_order_acquire) == key->epoch;
}

static inline bool mf_fence_is_valid(const struct mf_fence_key *key, uint64_t incarnation)
{
    return mf_fence_is_there(key) && mf_fence_is_welcome(key, incarnation);
}

static inline void mf_fence_announce(_Atomic uint64_t *hazard, const struct mf_fence_key *key)
{
    atomic_store_explicit(hazard, key->hazard, memory_order_relaxed);
}

/** Between announcing and looking. The owner's barrier stands for ours where there is membarrier.
 */
static inline void mf_fence_after_announce(bool strict)
{
    if (__builtin_expect(strict, 0)) {
        atomic_thread_fence(memory_order_seq_cst);
    } else {
        atomic_signal_fence(memory_order_seq_cst);
    }
}

/** Announce both (NULL: not in a segment) and take the first look. False: one is refused. To be
 * left in any case. */
static inline bool mf_fence_enter(struct mf_fence_line *line, const struct mf_fence_key *src,
                                  const struct mf_fence_key *dst, uint64_t incarnation)
{
    bool strict = false;
    if (src) {
        mf_fence_announce(&line->hazard[0], src);
        strict = src->strict;
    }
    if (dst) {
        mf_fence_announce(&line->hazard[1], dst);
        strict |= dst->strict;
    }
    mf_fence_after_announce(strict);
    return MF_MUTANT(FENCE_CHECK) || ((!src || mf_fence_is_valid(src, incarnation)) &&
                                      (!dst || mf_fence_is_valid(dst, incarnation)));
}

/** The second look: what was read may have been given back, what was written may be in the orphan.
 */
static inline bool mf_fence_still_valid(const struct mf_fence_key *src,
                                        const struct mf_fence_key *dst, uint64_t incarnation)
{
    atomic_thread_fence(memory_order_acq_rel);
    return MF_MUTANT(FENCE_RECHECK) || ((!src || mf_fence_is_valid(src, incarnation)) &&
                                        (!dst || mf_fence_is_valid(dst, incarnation)));
}

/** Retract what mf_fence_enter has announced. */
static inline void mf_fence_leave(struct mf_fence_line *line)
{
    atomic_store_explicit(&line->hazard[0], 0, memory_order_release);
    atomic_store_explicit(&line->hazard[1], 0, memory_order_release);
}

/** Why the fence refuses a copy between these two (NULL: none): the code and its sentence. */
struct mf_fence_end {
    const struct mf_segment_desc *desc;
    const struct mf_fence_key *key;
    bool own; /* of this process */
};
int mf_fence_refusal(const struct mf_fence_end *ends, uint32_t count, uint64_t incarnation)
    __attribute__((cold));

/* ---- the owner's side ---- */

/** What the fence asks of the system. `who` is what the caller knows a process by; NULL: this one.
 */
struct mf_fence_ops {
    uint64_t (*now_ns)(void *arg);
    void (*sleep_us)(void *arg, uint32_t us);
    /** A full barrier on all threads of all processes that announce without a fence. */
    void (*barrier)(void *arg);
    bool (*process_ended)(void *arg, const void *who);
    /** Has that thread ended, while its process lives? False when it cannot be known. */
    bool (*thread_ended)(void *arg, const void *who, uint32_t tid);
};

/** The owner's half of one instance. The caller's lock guards it. */
struct mf_fence_owner {
    struct mf_fence_page *page;
    uint64_t random[2];
    uint64_t drawn;                       /* epochs so far */
    uint64_t used[MF_SEGMENTS_MAX / 64u]; /* a bit for each index */
    uint64_t refused[MF_WORLD_MAX];       /* the last life of each rank that was declared dead */
    uint8_t line_taken[MF_THREADS_MAX];
};

/** `random`: fresh random bits of this instance. The page is borrowed. */
void mf_fence_owner_init(struct mf_fence_owner *owner, struct mf_fence_page *page,
                         const uint64_t random[2]);

/** Draw index and epoch for `desc`, whose owner and incarnation are set as well, and let copies in
 * from now on. SMEM_NO_RESOURCES: MF_SEGMENTS_MAX are published. */
int mf_fence_publish(struct mf_fence_owner *owner, struct mf_segment_desc *desc,
                     struct mf_fence_key *key);
/** Refuse copies from now on: the first half of withdrawing. */
void mf_fence_revoke(struct mf_fence_owner *owner, const struct mf_segment_desc *desc);
/** The second half, after a barrier, without the lock, for the page of each process that may copy:
 * wait until no line of it names the segment, or its process has ended. False: not by the deadline.
 */
bool mf_fence_wait(const struct mf_fence_ops *ops, void *arg, const struct mf_fence_page *page,
                   const void *who, uint64_t hazard, uint64_t deadline_ns);
/** Do all lines of the page lack this word? */
bool mf_fence_clear_of(const struct mf_fence_page *page, uint64_t hazard);
/** The owner of the page is dead: whoever is in the middle of a copy out of that segment must not
 * take what is there now for data. */
void mf_fence_revoke_dead(struct mf_fence_page *page, const struct mf_segment_desc *desc);

/** Take copies of that life of another rank from now on, and of no other life of it. False: it was
 * declared dead. */
bool mf_fence_admit(struct mf_fence_owner *owner, uint32_t rank, uint64_t incarnation);
/** That life is declared dead: none of its copies is taken any more. */
void mf_fence_refuse(struct mf_fence_owner *owner, uint32_t rank, uint64_t incarnation);
bool mf_fence_is_refused(const struct mf_fence_owner *owner, uint32_t rank, uint64_t incarnation);

/** A line for a lane. SMEM_NO_RESOURCES: MF_THREADS_MAX are taken. */
int mf_fence_line_take(struct mf_fence_owner *owner, struct mf_fence_line **out);
/** NULL is fine. */
void mf_fence_line_give(struct mf_fence_owner *owner, struct mf_fence_line *line);

/* ---- copies that another rank asks the owner of a segment for ---- */

/** A stretch of a segment. */
struct mf_fence_range {
    uint64_t offset, size; /* bytes */
};

/** What is asked for, by the words of who asks. */
struct mf_fence_ask {
    uint32_t rank;
    uint64_t incarnation; /* of who asks */
    uint64_t owner;       /* the life of the owner that is meant */
    uint32_t index;       /* the segment */
    uint64_t epoch;
    const struct mf_fence_range *ranges;
    uint32_t count;
};

/** An own segment. */
struct mf_fence_target {
    struct mf_segment_desc desc;
    struct mf_fence_key key;
};

/** Check everything that was asked against the segment of that index (NULL: there is none) and
 * announce it in a line of the owner's. On success the copy may be made, followed by
 * mf_fence_serve_end; else nothing is announced, and the sentence says why. */
int mf_fence_serve_begin(const struct mf_fence_page *page, struct mf_fence_line *line,
                         const struct mf_fence_target *target, const struct mf_fence_ask *ask);
/** Between pieces of a long copy: is it still in order? */
bool mf_fence_serve_valid(const struct mf_fence_page *page, const struct mf_fence_target *target,
                          const struct mf_fence_ask *ask);
/** The second look, and retract. Not 0: the copy does not count, the sentence says why. */
int mf_fence_serve_end(const struct mf_fence_page *page, struct mf_fence_line *line,
                       const struct mf_fence_target *target, const struct mf_fence_ask *ask);

#endif
