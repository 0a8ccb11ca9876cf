// SPDX-License-Identifier: Apache-2.0
// A compiled batch: transfers that a mover takes as they are, each inside one segment on each side,
// neighbours coalesced, grouped by path and peer, in order of target addresses. Compiling moves
// nothing; one plan can be compiled again and again, its memory stays.
#ifndef MF_XCOPY_PLAN_H
#define MF_XCOPY_PLAN_H

#include <stdint.h>

#include "base/err.h"
#include "xcopy/classify.h"

/** Who moves a transfer. */
enum mf_path {
    MF_PATH_TRANSPORT, /* posted to an instance */
    MF_PATH_LOCAL,     /* by this thread: CPU copy, or the device's stream */
    MF_PATH_STAGED,    /* by way of host memory of this process, as two copies */
};

/** The way of one pair of places. */
struct mf_route {
    enum mf_path path;
    const struct mf_transport_ops *ops; /* of MF_PATH_TRANSPORT */
    void *tp;
    uint32_t peer; /* the rank at the other end; this rank when there is none */
};

/** Transfers that lie side by side in the plan and have the same peer. */
struct mf_plan_group {
    struct mf_route route;
    uint32_t first, count;
    uint32_t next;     /* of the same peer, or MF_PLAN_NONE */
    uint64_t last_dst; /* target of the last transfer */
    uint64_t min_dst, max_dst;
    bool descends; /* a target lies below the one before */
};
#define MF_PLAN_NONE UINT32_MAX

/** All transfers of one path (and instance): one post. */
struct mf_plan_run {
    struct mf_route route; /* peer: of the first */
    uint32_t first, count;
    bool done; /* all statuses are final */
};

struct mf_plan {
    struct mf_xfer *v; /* cookie: see mf_cookie_first */
    uint32_t count;
    uint64_t bytes; /* of all transfers */
    struct mf_plan_run *runs;
    uint32_t run_count;
    uint32_t refused;       /* elements; with results only */
    uint32_t first_refused; /* index of the first of them */
    struct mf_err_rec err;  /* its sentence, when refused > 0 */
    struct mf_plan_group *groups;
    uint32_t group_count;
    /* What follows is the compiler's. */
    uint32_t cap, group_cap, run_cap;
    struct mf_xfer *spare;     /* what transfers are put in order into, as large as v, or NULL */
    uint32_t *group_of;        /* of each transfer */
    uint64_t *keys;            /* of each transfer, its target address */
    uint64_t *spare_keys;      /* as long as keys, or NULL */
    uint32_t *by_rank;         /* first group of each rank */
    int32_t *resolved;         /* of each rank: the result of resolve, or MF_PLAN_* */
    uint32_t *ask;             /* ranks in the order in which they were met: */
    uint32_t ask_count;        /* all of them */
    uint32_t asked_count;      /* those that are resolved already */
    uint32_t world;            /* length of by_rank and resolved, half of that of ask */
    uint32_t resolve_err_rank; /* the first rank whose resolve failed, */
    struct mf_err_rec resolve_err; /* and its sentence */
};
enum {
    MF_PLAN_NOT_ASKED = 1,
    MF_PLAN_ASK = 2,
    MF_PLAN_ASK_AGAIN = 3, /* resolve said that it is there, and the table does not have it */
    MF_PLAN_CONFIRMED = 4, /* twice: so it gives nothing there */
};

struct mf_plan *mf_plan_create(void);
void mf_plan_destroy(struct mf_plan *plan);

/** Compile. SMEM_INVALID_PARAM and others: the batch is refused (without results), the sentence
 * names the first bad element; with results only for the batch as a whole (SMEM_MALLOC_FAILED), bad
 * elements have their code in results, good ones 0. `single`: the sentence speaks of no element.
 * deadline_ns is for resolve, 0: from copy_wait_ms. */
int mf_plan_compile(struct mf_plan *plan, const struct mf_xcopy_space *space,
                    const struct mf_batch *batch, smem_bm_copy_type type, bool single,
                    uint64_t deadline_ns);
/** Give memory back that is out of proportion to the last batch. */
void mf_plan_trim(struct mf_plan *plan);

/** The way between two windows. */
void mf_route_find(const struct mf_xcopy_space *space, const struct mf_window *src,
                   const struct mf_window *dst, struct mf_route *out);

/** Between the files of the planner. */

/** Put the transfers in order by group and target, and make the runs. */
int mf_plan_order(struct mf_plan *plan);
/** Make room for `count` transfers in all; for the arrays that ordering needs; for what is kept of
 * ranks. */
int mf_plan_reserve(struct mf_plan *plan, uint64_t count);
int mf_plan_reserve_order(struct mf_plan *plan);
int mf_plan_reserve_ranks(struct mf_plan *plan, uint32_t world);
/** Room for `cap` items of `item` bytes in *array. */
int mf_plan_grow(void **array, size_t item, uint32_t cap, const char *what);

/** The elements that a transfer carries: a run of neighbours, or a part of one. */
static inline uint32_t mf_cookie_first(uint64_t cookie)
{
    return (uint32_t)cookie;
}
static inline uint32_t mf_cookie_count(uint64_t cookie)
{
    return (uint32_t)(cookie >> 32);
}

#endif
