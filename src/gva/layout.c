// SPDX-License-Identifier: Apache-2.0
// Arithmetic of a pool's address range: where the slot of a rank begins, and whose slot an address
// is in.
#include "gva/gva.h"

#include <inttypes.h>

#include "base/err.h"

/* Sizes are multiples of it, so that quotients of offsets and sizes can be taken in these units. */
#define PAGE_SHIFT 21
_Static_assert(MF_PAGE_LARGE == 1ull << PAGE_SHIFT, "PAGE_SHIFT is not that of MF_PAGE_LARGE");

int mf_layout_init(struct mf_layout *layout, mf_gva base, uint64_t max_hbm, uint64_t max_dram,
                   uint32_t world)
{
    uint64_t max[MF_KIND_COUNT] = {[MF_KIND_HBM] = max_hbm, [MF_KIND_DRAM] = max_dram};
    if (world == 0 || world > MF_WORLD_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "layout of a pool: world size %u is not 1..%u", world,
                      MF_WORLD_MAX);
    }
    if (max_hbm % MF_PAGE_LARGE || max_dram % MF_PAGE_LARGE || base.v % MF_PAGE_LARGE) {
        return mf_err(SMEM_INVALID_PARAM,
                      "layout of a pool: base 0x%" PRIx64 ", HBM size %" PRIu64
                      " and DRAM size %" PRIu64 " must be multiples of 2 MiB",
                      base.v, max_hbm, max_dram);
    }
    if (max_hbm == 0 && max_dram == 0) {
        return mf_err(SMEM_INVALID_PARAM, "layout of a pool: both the HBM and the DRAM size of a "
                                          "rank are 0");
    }
    uint64_t at = base.v;
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        uint64_t bytes;
        layout->max_bytes[kind] = max[kind];
        layout->kind_base[kind].v = at;
        if (__builtin_mul_overflow(max[kind], (uint64_t)world, &bytes) ||
            __builtin_add_overflow(at, bytes, &at)) {
            return mf_err(SMEM_INVALID_PARAM,
                          "layout of a pool: %u ranks of %" PRIu64 " + %" PRIu64
                          " bytes do not fit above 0x%" PRIx64,
                          world, max_hbm, max_dram, base.v);
        }
    }
    layout->base = base;
    layout->world = world;
    layout->size = at - base.v;
    return SMEM_OK;
}

mf_gva mf_layout_slot(const struct mf_layout *layout, enum mf_mem_kind kind, uint32_t rank)
{
    return (mf_gva){layout->kind_base[kind].v + rank * layout->max_bytes[kind]};
}

/* offset / size, where both fit what a slot's number needs: a shift for powers of two, else a
 * division of 32 bits, which costs a third of one of 64. */
static uint32_t slot_number(uint64_t offset, uint64_t size)
{
    if ((size & (size - 1)) == 0) {
        return (uint32_t)(offset >> __builtin_ctzll(size));
    }
    uint64_t pages = offset >> PAGE_SHIFT;
    uint64_t per_slot = size >> PAGE_SHIFT;
    if ((pages | per_slot) >> 32) {
        return (uint32_t)(pages / per_slot);
    }
    return (uint32_t)pages / (uint32_t)per_slot;
}

bool mf_layout_find(const struct mf_layout *layout, mf_gva gva, struct mf_gva_loc *loc)
{
    if (gva.v - layout->base.v >= layout->size) {
        return false; /* also for addresses below: the difference wraps */
    }
    enum mf_mem_kind kind = gva.v >= layout->kind_base[MF_KIND_DRAM].v ? MF_KIND_DRAM : MF_KIND_HBM;
    uint64_t offset = gva.v - layout->kind_base[kind].v;
    loc->kind = kind;
    loc->rank = slot_number(offset, layout->max_bytes[kind]);
    loc->offset = offset - loc->rank * layout->max_bytes[kind];
    return true;
}
