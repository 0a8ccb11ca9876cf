// SPDX-License-Identifier: Apache-2.0
// Entering a world: a rank of it, and agreement on its size. On the operations of the store alone.
#ifndef MF_CORE_WORLD_H
#define MF_CORE_WORLD_H

#include "store/store.h"
#include "wire/record.h"

struct mf_world_want {
    uint32_t rank; /* MF_RANK_AUTO: any */
    uint32_t size;
    uint64_t id;                     /* of the world, when this rank is its first; not 0 */
    struct mf_rec_identity identity; /* world_size is filled in */
};

/** Claim a rank, then find the world's size agreed on or lay it down: two requests, three with
 * MF_RANK_AUTO, as long as nobody is in the way. SMEM_INVALID_PARAM: ranks are there that gave
 * another size; SMEM_DUPLICATED, with the holder: the wanted rank was not free by the deadline;
 * SMEM_NO_RESOURCES: no rank is free. On failure the session may hold a rank: it has to be closed.
 * Blocks; not on the loop's thread. */
int mf_world_enter(struct mf_store *store, const struct mf_world_want *want, uint64_t deadline_ns,
                   uint32_t *rank, uint64_t *world_id);

#endif
