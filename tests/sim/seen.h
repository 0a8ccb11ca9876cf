// SPDX-License-Identifier: Apache-2.0
// What the model transport and the world tell the oracle, at the moment when it happens. The
// oracle (oracle.c) knows what may happen and calls sim_broken otherwise.
#ifndef MF_SIM_SEEN_H
#define MF_SIM_SEEN_H

#include <stdint.h>

#include "memfabric/mf_transport.h"

/** The owner has made a segment reachable (publish returns), or tried to take it back (withdraw
 * returns `rc`). From a withdraw that gave 0 on, nothing lands in it. */
void seen_publish(const struct mf_segment_desc *desc);
void seen_withdraw(const struct mf_segment_desc *desc, int rc);
/** `owner` (one life) refuses this life of another rank from now on. */
void seen_gate(uint64_t owner_incarnation, uint64_t refused_incarnation);

/** Bytes are about to be put into a segment by an operation of the life `source`, whose first look
 * at the fence was at `begun_ns`. `same_host`: by that process itself, else by the owner for it. */
struct seen_land {
    const struct mf_segment_desc *desc; /* as the operation knows it */
    uint64_t offset;                    /* in the segment */
    const void *bytes;
    uint64_t size;
    uint32_t source_rank;
    uint64_t source_incarnation;
    uint64_t begun_ns;
    bool same_host;
};
void seen_land(const struct seen_land *land);

/** The store's server says that this life of the rank holds `world/rank/<rank>` (0: nobody). */
void seen_owner(uint32_t rank, uint64_t incarnation);

#endif
