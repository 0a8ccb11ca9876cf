// SPDX-License-Identifier: Apache-2.0
// Global virtual addresses: the type, the layout of a pool, and the table that leads from a global
// address to the segment behind it, and from an address of this process to the global one. The
// table is the only place that may know that a global address and a local one are equal.
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

/** Global addresses that are no addresses of any process: 56 bits are more than any processor
 * translates. A pool whose layout begins here is translated: each process puts its segments where
 * it has room. The lower half is for pools that were asked to be (enable56BitsGva, gva.translate),
 * the upper one for those that fit nowhere else, so that the layout alone tells which. */
#define MF_GVA_WIDE      (1ull << 56)
#define MF_GVA_WIDE_FREE (MF_GVA_WIDE + (1ull << 55))
#define MF_GVA_WIDE_END  (1ull << 57)

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

/** The pool is translated: its global addresses are no local ones in any process. */
static inline bool mf_layout_is_wide(const struct mf_layout *layout)
{
    return layout->base.v >= MF_GVA_WIDE;
}

/** What lies at a global address. */
struct mf_gva_loc {
    uint32_t rank;
    enum mf_mem_kind kind;
    uint64_t offset; /* in the slot */
};
/** False when the address is outside of the pool. */
bool mf_layout_find(const struct mf_layout *layout, mf_gva gva, struct mf_gva_loc *loc);

/** A range of addresses of this process in which memory of the pool lies elsewhere than at its
 * global address, or may come to lie: it is one of the pool's also while nothing is mapped. */
struct mf_gva_place {
    uint64_t addr, size;
    mf_gva gva; /* of its first byte */
};

/** All places of one pool, in order of address (places.c). Readers take no lock. None in identity
 * mode. */
struct mf_gva_places {
    _Atomic uint64_t lo, hi;   /* no place lies outside of [lo, hi); lo > hi: there are none */
    _Atomic uint32_t sequence; /* odd while a writer is at work */
    _Atomic uint32_t count;
    _Atomic(struct mf_gva_places_array *) array;
};

/** What is around an address of this process. */
struct mf_gva_around {
    bool inside;               /* in a place */
    struct mf_gva_place place; /* that one */
    uint64_t lo, hi;           /* else: no place lies in [lo, hi) */
};

/** The table of one pool. Readers take no lock (they are inside a quiesce section of their thread);
 *  writers hold the pool's lock. */
struct mf_gva_table {
    struct mf_layout layout;
    _Atomic(struct mf_segment *) *slots; /* [kind * world + rank]: chain in order of address */
    struct mf_gva_places places;
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
/** A segment of the table that overlaps the range, or NULL. */
struct mf_segment *mf_gva_table_overlap(const struct mf_gva_table *table, mf_gva gva,
                                        uint64_t size);

/** Note a place. It overlaps no other, in addresses of neither sort: SMEM_DUPLICATED. */
int mf_gva_place_add(struct mf_gva_table *table, const struct mf_gva_place *place);
/** Forget the place that begins at the address. */
void mf_gva_place_remove(struct mf_gva_table *table, uint64_t addr);
/** The first place that holds (`whole`), or overlaps, a range of global addresses. */
bool mf_gva_place_of(const struct mf_gva_table *table, mf_gva gva, uint64_t size, bool whole,
                     struct mf_gva_place *out);
/** Any place. */
bool mf_gva_place_any(const struct mf_gva_table *table, struct mf_gva_place *out);
/** What is around an address of this process. */
void mf_gva_place_around(const struct mf_gva_table *table, uint64_t addr,
                         struct mf_gva_around *out);
/** Global address of an address of this process in a place: false when it is in none. */
bool mf_gva_place_global(const struct mf_gva_table *table, uint64_t addr, mf_gva *out);
/** Can a place overlap [addr, addr + size)? For all but a few addresses the answer takes no search.
 */
static inline bool mf_gva_place_near(const struct mf_gva_table *table, uint64_t addr, uint64_t size)
{
    uint64_t lo = atomic_load_explicit(&table->places.lo, memory_order_relaxed);
    uint64_t hi = atomic_load_explicit(&table->places.hi, memory_order_relaxed);
    return addr < hi && (addr >= lo || size > lo - addr);
}

#endif
