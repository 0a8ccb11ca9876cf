// SPDX-License-Identifier: Apache-2.0
// Global virtual addresses: the type, the layout of a pool, and the table that leads from a global
// address to the segment behind it. The table is the only place that may know that a global address
// and a local one are equal.
#ifndef MF_GVA_GVA_H
#define MF_GVA_GVA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "memfabric/mf_transport.h"

/** A global virtual address. A type of its own: never a pointer, never mixed with local addresses.
 */
typedef struct mf_gva {
    uint64_t v;
} mf_gva;

/** Where everything lies in one pool: the same in every process. First all HBM slots, then all DRAM
 * slots; slot r of a kind begins at kind_base + r * max_bytes. */
struct mf_layout {
    mf_gva base;
    uint64_t max_bytes[MF_KIND_COUNT]; /* multiples of MF_PAGE_LARGE; 0: the pool has none of it */
    uint32_t world;
    mf_gva kind_base[MF_KIND_COUNT];
    uint64_t size; /* bytes of the whole range */
};

/** SMEM_INVALID_PARAM when a size is no multiple of 2 MiB, all are 0, or the sum wraps. */
int mf_layout_init(struct mf_layout *layout, mf_gva base, uint64_t max_hbm, uint64_t max_dram,
                   uint32_t world);
mf_gva mf_layout_slot(const struct mf_layout *layout, enum mf_mem_kind kind, uint32_t rank);

/** What lies at a global address. */
struct mf_gva_loc {
    uint32_t rank;
    enum mf_mem_kind kind;
    uint64_t offset; /* in the slot */
};
/** False when the address is outside of the pool. */
bool mf_layout_find(const struct mf_layout *layout, mf_gva gva, struct mf_gva_loc *loc);

/** The table of one pool. Readers take no lock (they are inside a quiesce section of their thread);
 *  writers hold the pool's lock. */
struct mf_gva_table {
    struct mf_layout layout;
    _Atomic(struct mf_segment *) *slots; /* [kind * world + rank]: chain in order of address */
    /* Bounds of the host mappings that ever lay elsewhere than their global address; empty (lo >
     * hi) in identity mode, so that mf_gva_table_from_host needs no search there. */
    _Atomic uint64_t moved_lo;
    _Atomic uint64_t moved_hi;
};

int mf_gva_table_init(struct mf_gva_table *table, const struct mf_layout *layout);
void mf_gva_table_fini(struct mf_gva_table *table);
/** SMEM_DUPLICATED when it overlaps one that is there; SMEM_INVALID_PARAM when it leaves its slot;
 *  SMEM_NO_RESOURCES when the slot has MF_SLOT_SEGMENTS. */
int mf_gva_table_add(struct mf_gva_table *table, struct mf_segment *segment);
void mf_gva_table_remove(struct mf_gva_table *table, struct mf_segment *segment);
/** The segment that holds the address, or NULL. */
struct mf_segment *mf_gva_table_find(const struct mf_gva_table *table, mf_gva gva);
/** First segment of a slot, or NULL. */
static inline struct mf_segment *mf_gva_table_first(const struct mf_gva_table *table,
                                                    enum mf_mem_kind kind, uint32_t rank)
{
    return atomic_load_explicit(&table->slots[kind * table->layout.world + rank],
                                memory_order_acquire);
}
/** Global address of a local host address that lies in a mapped segment, false when in none. */
bool mf_gva_table_from_host(const struct mf_gva_table *table, uint64_t host, mf_gva *out);

#endif
