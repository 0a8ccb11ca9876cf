// SPDX-License-Identifier: Apache-2.0
// The table of one pool: for each slot a chain of segments in order of address. A reader walks a
// chain without a lock; a segment that is taken out keeps its `next`, so that a reader who stands
// on it gets on.
#include "gva/gva.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/err.h"
#include "gva/places.h"

static _Atomic(struct mf_segment *) *slot_of(const struct mf_gva_table *table,
                                             enum mf_mem_kind kind, uint32_t rank)
{
    return &table->slots[kind * table->layout.world + rank];
}

static struct mf_segment *next_of(struct mf_segment *segment)
{
    return __atomic_load_n(&segment->next, __ATOMIC_ACQUIRE);
}

static void set_next(struct mf_segment *segment, struct mf_segment *next, int order)
{
    __atomic_store_n(&segment->next, next, order);
}

int mf_gva_table_init(struct mf_gva_table *table, const struct mf_layout *layout)
{
    table->layout = *layout;
    table->slots =
        mf_calloc((size_t)MF_KIND_COUNT * layout->world, sizeof(*table->slots), "address table");
    mf_gva_places_init(&table->places);
    return table->slots ? SMEM_OK : SMEM_MALLOC_FAILED;
}

void mf_gva_table_fini(struct mf_gva_table *table)
{
    mf_gva_places_fini(&table->places);
    mf_free(table->slots);
    table->slots = NULL;
}

/* Does the segment lie in the slot of its owner and kind? */
static int check_place(const struct mf_gva_table *table, const struct mf_segment_desc *desc)
{
    struct mf_gva_loc loc;
    const struct mf_layout *layout = &table->layout;
    if (desc->kind < MF_KIND_COUNT && desc->owner < layout->world && desc->size != 0 &&
        mf_layout_find(layout, (mf_gva){desc->gva}, &loc) && loc.rank == desc->owner &&
        loc.kind == desc->kind && desc->size <= layout->max_bytes[loc.kind] - loc.offset) {
        return SMEM_OK;
    }
    return mf_err(SMEM_INVALID_PARAM,
                  "segment %u of rank %u (kind %u, 0x%" PRIx64 ", %" PRIu64
                  " bytes) leaves its slot in the pool at 0x%" PRIx64 " of %u ranks",
                  desc->index, desc->owner, desc->kind, desc->gva, desc->size, layout->base.v,
                  layout->world);
}

int mf_gva_table_add(struct mf_gva_table *table, struct mf_segment *segment)
{
    const struct mf_segment_desc *desc = &segment->desc;
    int rc = check_place(table, desc);
    if (rc) {
        return rc;
    }
    _Atomic(struct mf_segment *) *slot = slot_of(table, desc->kind, desc->owner);
    struct mf_segment *before = NULL;
    struct mf_segment *at = atomic_load(slot);
    uint32_t count = 0;
    for (struct mf_segment *s = at; s; s = s->next) {
        count++;
        if (desc->gva < s->desc.gva + s->desc.size && s->desc.gva < desc->gva + desc->size) {
            return mf_err(SMEM_DUPLICATED,
                          "segment %u of rank %u at 0x%" PRIx64
                          " overlaps its segment %u at 0x%" PRIx64 " in pool %u",
                          desc->index, desc->owner, desc->gva, s->desc.index, s->desc.gva,
                          desc->pool);
        }
        if (s->desc.gva < desc->gva) {
            before = s;
        }
    }
    if (count >= MF_SLOT_SEGMENTS) {
        return mf_err(SMEM_NO_RESOURCES, "rank %u has %u segments in pool %u already, the limit",
                      desc->owner, count, desc->pool);
    }
    if (before) {
        set_next(segment, before->next, __ATOMIC_RELAXED);
        set_next(before, segment, __ATOMIC_RELEASE);
    } else {
        set_next(segment, at, __ATOMIC_RELAXED);
        atomic_store_explicit(slot, segment, memory_order_release);
    }
    return SMEM_OK;
}

void mf_gva_table_remove(struct mf_gva_table *table, struct mf_segment *segment)
{
    _Atomic(struct mf_segment *) *slot = slot_of(table, segment->desc.kind, segment->desc.owner);
    struct mf_segment *at = atomic_load(slot);
    if (at == segment) {
        atomic_store_explicit(slot, segment->next, memory_order_release);
        return;
    }
    while (at && at->next != segment) {
        at = at->next;
    }
    if (at) {
        set_next(at, segment->next, __ATOMIC_RELEASE);
    }
}

struct mf_segment *mf_gva_table_find(const struct mf_gva_table *table, mf_gva gva)
{
    struct mf_gva_loc loc;
    if (!mf_layout_find(&table->layout, gva, &loc)) {
        return NULL;
    }
    struct mf_segment *s = mf_gva_table_first(table, loc.kind, loc.rank);
    while (s && gva.v - s->desc.gva >= s->desc.size) {
        s = next_of(s);
    }
    return s;
}

struct mf_segment *mf_gva_table_overlap(const struct mf_gva_table *table, mf_gva gva, uint64_t size)
{
    struct mf_gva_loc loc;
    if (!mf_layout_find(&table->layout, gva, &loc)) {
        return NULL;
    }
    struct mf_segment *s = mf_gva_table_first(table, loc.kind, loc.rank);
    /* Of two ranges that overlap, one holds the beginning of the other. */
    while (s && gva.v - s->desc.gva >= s->desc.size && s->desc.gva - gva.v >= size) {
        s = next_of(s);
    }
    return s;
}
