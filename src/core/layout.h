// SPDX-License-Identifier: Apache-2.0
// Agreement of all ranks on where a pool lies: kept in the store, on its operations alone.
#ifndef MF_CORE_LAYOUT_H
#define MF_CORE_LAYOUT_H

#include "config/config.h"
#include "gva/gva.h"
#include "store/store.h"
#include "wire/record.h"

struct mf_layout_want {
    uint32_t pool;
    uint32_t rank;
    uint32_t world;
    uint64_t max_hbm, max_dram;
    bool wide; /* enable56BitsGva: global addresses that are no local ones */
};

/** Announce that this rank has the pool open (an ephemeral key), then take the layout that is there
 * or lay it down. One that is there and differs is SMEM_INVALID_PARAM with both, as long as another
 * rank has the pool open with it; else it is replaced. A pool that is asked to be translated (wide,
 * or the option gva.translate) gets addresses from MF_GVA_WIDE on; one that finds no room in
 * gva.span gets them from MF_GVA_WIDE_FREE on. On failure nothing is announced any more. */
int mf_layout_negotiate(struct mf_store *store, const struct mf_config *config,
                        const struct mf_layout_want *want, uint64_t deadline_ns,
                        struct mf_layout *layout);
/** This rank no longer has the pool open; when no other has, its addresses are free again. */
int mf_layout_release(struct mf_store *store, uint32_t pool, uint32_t rank, uint64_t deadline_ns);

/** First place of `size` bytes from `base` on that none of the map's ranges takes and that ends at
 * or before base + span; 0 when there is none. */
uint64_t mf_layout_first_fit(const struct mf_rec_map *map, uint64_t base, uint64_t span,
                             uint64_t size);

#endif
