// SPDX-License-Identifier: Apache-2.0
// Prepared batches: blocks given once (strides, offsets over two bases, or plain addresses),
// checked and compiled once, copied many times between new bases. A program is the compiled form:
// parts whose blocks lie between one pair of segments, so that new bases are checked by the bounds
// of each part. A program that does not fit new bases is compiled again, never bent.
#ifndef MF_XCOPY_PREPARED_H
#define MF_XCOPY_PREPARED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/thread.h"
#include "xcopy/plan.h"

enum { MF_PREP_SRC, MF_PREP_DST, MF_PREP_SIDES };

/** Bytes after which a run of a program may be stopped. */
#define MF_PREP_STEP_BYTES (16ull << 20)

/** One side of the blocks: offsets, or rows, or neither (then strides). */
struct mf_prep_side {
    uint64_t base;           /* an address; with absolute offsets 0 */
    const uint64_t *offsets; /* [count] bytes from the base, or addresses */
    const uint32_t *rows;    /* [count] numbers of rows of `stride` bytes */
    uint64_t stride;         /* bytes from one block to the next, or of a row */
};

/** What is prepared. Borrowed during mf_prep_create. */
struct mf_prep_cfg {
    bool absolute; /* offsets are addresses */
    struct mf_prep_side side[MF_PREP_SIDES];
    const uint64_t *sizes; /* [count], or NULL: */
    uint64_t size;         /* bytes of each block */
    uint32_t count;
    smem_bm_copy_type type;
};

/** A segment that a batch was prepared for. */
struct mf_prep_id {
    uint64_t gva, incarnation, epoch;
    uint32_t owner, kind;
};

/** Blocks between one pair of segments (or local memory). */
struct mf_prep_part {
    uint32_t first, count; /* blocks */
    uint64_t bytes;
    uint64_t lo[MF_PREP_SIDES]; /* offset of the first byte, */
    uint64_t hi[MF_PREP_SIDES]; /* and behind the last one */
    uint64_t apart; /* source base minus destination base when it was compiled, both as transfers
                       have them */
};

/** Immutable once it is compiled; counted. */
struct mf_prep_program {
    _Atomic uint32_t refs;
    uint32_t part_count, block_count;
    struct mf_prep_part *parts;
    uint64_t base[MF_PREP_SIDES]; /* that it was compiled for */
    /* Blocks, part after part. offsets NULL: i * stride (one part); sizes NULL: all are `size`. */
    const uint64_t *offsets[MF_PREP_SIDES];
    uint64_t stride[MF_PREP_SIDES];
    const uint64_t *sizes;
    uint64_t size;
    /* Elements of a block: count[i] from first[i] on; NULL: block i is element i. */
    uint32_t *first, *elements;
    bool own_arrays; /* offsets and sizes; else those of the prepared batch */
};

/** A prepared batch; counted. */
struct mf_prep {
    _Atomic uint32_t refs;
    uint64_t cookie; /* the caller's */
    uint32_t count;
    smem_bm_copy_type type;
    bool absolute;                    /* offsets are addresses, bases are displacements */
    uint64_t bytes;                   /* of all elements */
    uint64_t base[MF_PREP_SIDES];     /* as prepared */
    uint64_t lo[MF_PREP_SIDES];       /* least offset of all elements, */
    uint64_t hi[MF_PREP_SIDES];       /* and the greatest end */
    uint64_t *offsets[MF_PREP_SIDES]; /* of elements; NULL: i * stride */
    uint64_t stride[MF_PREP_SIDES];
    uint64_t *sizes; /* or NULL: all are `size` */
    uint64_t size;
    struct mf_prep_id *ids; /* made by the first compilation, then constant */
    uint32_t id_count;
    struct mf_mutex lock; /* guards program; rank MF_RANK_LEAF */
    struct mf_prep_program *program;
};

/** Check and compile. The calling thread is inside a call. SMEM_INVALID_PARAM (names the element),
 * SMEM_MALLOC_FAILED, SMEM_NOT_CONNECTED. */
int mf_prep_create(const struct mf_xcopy_space *space, const struct mf_prep_cfg *cfg,
                   uint64_t deadline_ns, struct mf_prep **out);
static inline void mf_prep_get(struct mf_prep *prep)
{
    atomic_fetch_add_explicit(&prep->refs, 1, memory_order_relaxed);
}
/** NULL is fine. */
void mf_prep_put(struct mf_prep *prep);

/** Where a part lies with given bases. Holds inside of one quiesce section. */
struct mf_prep_bound {
    struct mf_window window[MF_PREP_SIDES];
    struct mf_route route;
};

/** One execution of a prepared batch; also after its failure it says what has become of each
 * block. */
struct mf_prep_run {
    struct mf_prep *prep;            /* holds a reference */
    struct mf_prep_program *program; /* holds a reference */
    uint64_t base[MF_PREP_SIDES];
    uint32_t part;
    uint32_t done;  /* blocks that have arrived, in the program's order */
    uint32_t begun; /* of blocks from here on nothing has moved */
    uint64_t at;    /* bytes of block `done` that have arrived */
    int rc;         /* what blocks from done to begun - 1 came to, when the run has ended */
    bool is_bound;  /* `bound` is that of `part`, found in this section */
    struct mf_prep_bound bound;
};

/** Check the bases (list: displacements) and take the program for them. Inside a call; moves
 * nothing. SMEM_NOT_CONNECTED when a segment that the batch was prepared for has changed;
 * SMEM_INVALID_PARAM and others as for a batch. */
int mf_prep_run_start(struct mf_prep_run *run, const struct mf_xcopy_space *space,
                      struct mf_prep *prep, const uint64_t base[MF_PREP_SIDES],
                      uint64_t deadline_ns);
/** Copy the next MF_PREP_STEP_BYTES or less. Inside a call. */
int mf_prep_run_step(struct mf_prep_run *run, const struct mf_xcopy_space *space,
                     struct mf_lanes *lanes, uint64_t deadline_ns);
static inline bool mf_prep_run_ended(const struct mf_prep_run *run)
{
    return run->rc != SMEM_OK || run->done == run->program->block_count;
}
/** The call (quiesce section) in which the run was has been left. */
static inline void mf_prep_run_left(struct mf_prep_run *run)
{
    run->is_bound = false;
}
/** The code of each element: 0, the run's failure, SMEM_NOT_STARTED: nothing of it has moved,
 * SMEM_PARTIAL_FAILED: the run was stopped in the middle of it. */
void mf_prep_run_results(const struct mf_prep_run *run, int32_t *codes);
void mf_prep_run_end(struct mf_prep_run *run);

/* ---- between the files of prepared batches ---- */

/** The elements as they are compiled. */
struct mf_prep_elements {
    const uint64_t *offsets[MF_PREP_SIDES]; /* NULL: i * stride */
    const uint64_t *sizes;
    uint64_t size;
    uint64_t stride[MF_PREP_SIDES];
    uint32_t count;
};
static inline uint64_t mf_prep_offset(const struct mf_prep_elements *e, int side, uint32_t i)
{
    return e->offsets[side] ? e->offsets[side][i] : i * e->stride[side];
}

/** Note a segment of the first compilation; there is room for it. */
void mf_prep_note(struct mf_prep *prep, const struct mf_segment_desc *desc);
/** Does the base (or displacement) lead around the end of the address space? */
static inline bool mf_prep_wraps(const struct mf_prep *prep, int side, uint64_t base)
{
    bool down = prep->absolute && (int64_t)base < 0;
    return down ? prep->lo[side] < 0 - base : prep->hi[side] > UINT64_MAX - base;
}

/** Compile for these bases; resolves ranks. */
int mf_prep_compile(struct mf_prep *prep, const struct mf_xcopy_space *space,
                    const uint64_t base[MF_PREP_SIDES], uint64_t deadline_ns,
                    struct mf_prep_program **out);
void mf_prep_program_put(struct mf_prep_program *program);
/** Is the segment, or the absence of one, what the batch was prepared for? Else SMEM_NOT_CONNECTED
 * and the sentence. */
int mf_prep_check_window(const struct mf_prep *prep, const struct mf_xcopy_space *space,
                         const struct mf_window *window);

#endif
