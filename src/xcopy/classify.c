// SPDX-License-Identifier: Apache-2.0
// Classification is by address alone; the copy type then says which places it allows on which side.
// The check of an element is the only judge of ranges: what it lets through lies in memory that
// somebody gave.
#include "xcopy/classify.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"
#include "base/limits.h"

#define PLACES_L (MF_PLACE_LD | MF_PLACE_GD)
#define PLACES_H (MF_PLACE_LH | MF_PLACE_GH)
#define PLACES_G (MF_PLACE_GH | MF_PLACE_GD)

const struct mf_type_rule mf_type_rules[SMEMB_COPY_BUTT] = {
    [SMEMB_COPY_L2G] = {"L2G", "L", "G", PLACES_L, PLACES_G},
    [SMEMB_COPY_G2L] = {"G2L", "G", "L", PLACES_G, PLACES_L},
    [SMEMB_COPY_G2H] = {"G2H", "G", "H", PLACES_G, PLACES_H},
    [SMEMB_COPY_H2G] = {"H2G", "H", "G", PLACES_H, PLACES_G},
    [SMEMB_COPY_L2GH] = {"L2GH", "L", "GH", PLACES_L, MF_PLACE_GH},
    [SMEMB_COPY_GH2L] = {"GH2L", "GH", "L", MF_PLACE_GH, PLACES_L},
    [SMEMB_COPY_GH2H] = {"GH2H", "GH", "H", MF_PLACE_GH, PLACES_H},
    [SMEMB_COPY_H2GH] = {"H2GH", "H", "GH", PLACES_H, MF_PLACE_GH},
    [SMEMB_COPY_G2G] = {"G2G", "G", "G", PLACES_G, PLACES_G},
    [SMEMB_COPY_AUTO] = {"AUTO", "any", "any", MF_PLACE_ANY, MF_PLACE_ANY},
};

static const char *kind_name(uint32_t place)
{
    return place == MF_PLACE_GD || place == MF_PLACE_LD ? "HBM" : "DRAM";
}

/* The window of a global address. */
static void global_window(const struct mf_xcopy_space *space, uint64_t gva, struct mf_window *out)
{
    struct mf_segment *seg = mf_gva_table_find(space->table, (mf_gva){gva});
    if (seg) {
        out->lo = seg->desc.gva;
        out->hi = seg->desc.gva + seg->desc.size;
        out->seg = seg;
        out->place = seg->desc.kind == MF_KIND_HBM ? MF_PLACE_GD : MF_PLACE_GH;
        out->rank = seg->desc.owner;
        out->shift = 0;
        return;
    }
    struct mf_gva_loc loc;
    bool found = mf_layout_find(&space->table->layout, (mf_gva){gva}, &loc);
    MF_ASSERT(found);
    *out = (struct mf_window){
        .lo = UINT64_MAX,
        .hi = gva,
        .place = loc.kind == MF_KIND_HBM ? MF_PLACE_GD : MF_PLACE_GH,
        .rank = loc.rank,
    };
}

/* The window of an address at which this process has memory of the pool: that of the global
 * address, as far as the place goes. */
static void place_window(const struct mf_xcopy_space *space, const struct mf_gva_place *place,
                         uint64_t addr, struct mf_window *out)
{
    uint64_t shift = place->gva.v - place->addr;
    global_window(space, addr + shift, out);
    out->shift = shift;
    if (!out->seg) {
        out->hi = addr;
        return;
    }
    out->lo = out->lo > place->gva.v ? out->lo - shift : place->addr;
    out->hi = out->hi - place->gva.v < place->size ? out->hi - shift : place->addr + place->size;
}

/* Memory outside of the pool: everything up to the pool's range, or the next place, is alike when
 * there is no device; with one, only the device's own ranges are known as a whole. */
static void local_window(const struct mf_xcopy_space *space, uint64_t addr, struct mf_window *out)
{
    uint64_t base = space->table->layout.base.v;
    bool below = addr < base;
    *out = (struct mf_window){
        .lo = below ? 1 : base + space->table->layout.size,
        .hi = below ? base : UINT64_MAX,
        .place = MF_PLACE_LH,
    };
    uint64_t first = atomic_load_explicit(&space->table->places.lo, memory_order_relaxed);
    uint64_t end = atomic_load_explicit(&space->table->places.hi, memory_order_relaxed);
    if (addr >= first && addr < end) {
        struct mf_gva_around around;
        mf_gva_place_around(space->table, addr, &around);
        if (around.inside) {
            place_window(space, &around.place, addr, out);
            return;
        }
        first = around.hi;
        end = around.lo;
    }
    out->lo = addr >= end && end > out->lo ? end : out->lo;
    out->hi = addr < first && first < out->hi ? first : out->hi;
    if (!space->dev) {
        return;
    }
    struct mf_device_range range;
    if (space->dev->ops.query(space->dev->impl, addr, &range) == SMEM_OK) {
        out->lo = range.base;
        out->hi = range.base + range.size;
        out->place = MF_PLACE_LD;
    } else {
        out->lo = UINT64_MAX;
    }
}

void mf_window_find(const struct mf_xcopy_space *space, uint64_t addr, struct mf_window *out)
{
    const struct mf_layout *layout = &space->table->layout;
    if (addr - layout->base.v >= layout->size) {
        local_window(space, addr, out);
        return;
    }
    global_window(space, addr, out);
}

/* End of the slot that holds the address. */
static uint64_t slot_end(const struct mf_layout *layout, uint64_t addr)
{
    struct mf_gva_loc loc = {0};
    mf_layout_find(layout, (mf_gva){addr}, &loc);
    return addr - loc.offset + layout->max_bytes[loc.kind];
}

bool mf_range_is_given(const struct mf_xcopy_space *space, uint64_t gva, uint64_t size,
                       const struct mf_window *window)
{
    const struct mf_segment *seg = window->seg;
    while (seg && seg->desc.gva + seg->desc.size < gva + size) {
        seg = mf_gva_table_find(space->table, (mf_gva){seg->desc.gva + seg->desc.size});
    }
    return seg != NULL;
}

static enum mf_refusal check_global(const struct mf_xcopy_space *space, uint64_t addr,
                                    uint64_t size, const struct mf_window *window)
{
    const struct mf_layout *layout = &space->table->layout;
    if (size > layout->size - (addr - layout->base.v)) {
        return MF_REFUSE_LEAVES_POOL;
    }
    if (addr + size > slot_end(layout, addr)) {
        return MF_REFUSE_CROSSES_SLOT;
    }
    enum mf_mem_kind kind = window->place == MF_PLACE_GD ? MF_KIND_HBM : MF_KIND_DRAM;
    if (!window->seg && window->rank != space->self &&
        !mf_gva_table_first(space->table, kind, window->rank)) {
        return MF_REFUSE_UNKNOWN_RANK;
    }
    return mf_range_is_given(space, addr, size, window) ? MF_REFUSE_NONE : MF_REFUSE_NOT_GIVEN;
}

static enum mf_refusal check_side(const struct mf_xcopy_space *space, uint64_t addr, uint64_t size,
                                  const struct mf_window *window, uint32_t allowed)
{
    if (addr == 0) {
        return MF_REFUSE_NULL;
    }
    if (size > UINT64_MAX - addr) {
        return MF_REFUSE_WRAPS;
    }
    if (!(window->place & allowed)) {
        return MF_REFUSE_PLACE;
    }
    if (window->seg && window->shift) {
        return size <= window->hi - addr ? MF_REFUSE_NONE : MF_REFUSE_LEAVES_PLACE;
    }
    if (window->place & PLACES_G) {
        return check_global(space, addr + window->shift, size, window);
    }
    if (size <= window->hi - addr) {
        return MF_REFUSE_NONE;
    }
    if (window->place == MF_PLACE_LH) {
        return MF_REFUSE_ENTERS_POOL;
    }
    return mf_dev_owns(space->dev, addr, size) ? MF_REFUSE_NONE : MF_REFUSE_LEAVES_DEV;
}

/* Which side is at fault, when it is not the element as a whole. */
struct verdict {
    enum mf_refusal why;
    bool is_src;
};

static struct verdict judge(const struct mf_xcopy_space *space, const struct mf_element *element,
                            const struct mf_window *src, const struct mf_window *dst)
{
    const struct mf_type_rule *rule = &mf_type_rules[element->type];
    if (element->size == 0) {
        return (struct verdict){MF_REFUSE_ZERO, true};
    }
    if (element->size > MF_COPY_BYTES_MAX) {
        return (struct verdict){MF_REFUSE_TOO_BIG, true};
    }
    enum mf_refusal why = check_side(space, element->src, element->size, src, rule->src_mask);
    if (why && why != MF_REFUSE_UNKNOWN_RANK) {
        return (struct verdict){why, true};
    }
    enum mf_refusal dst_why = check_side(space, element->dst, element->size, dst, rule->dst_mask);
    if (dst_why && dst_why != MF_REFUSE_UNKNOWN_RANK) {
        return (struct verdict){dst_why, false};
    }
    if (mf_overlaps(element->src + src->shift, element->dst + dst->shift, element->size)) {
        return (struct verdict){MF_REFUSE_OVERLAP, true};
    }
    return why ? (struct verdict){why, true} : (struct verdict){dst_why, false};
}

enum mf_refusal mf_element_check(const struct mf_xcopy_space *space,
                                 const struct mf_element *element, const struct mf_window *src,
                                 const struct mf_window *dst)
{
    return judge(space, element, src, dst).why;
}

/* ---- sentences ---- */

#define WHERE_MAX 160
#define PLACE_MAX 128

/* "copy H2G, element 3". */
static void describe_copy(const struct mf_element *element, char *buf, size_t cap)
{
    const char *name = mf_type_rules[element->type].name;
    if (element->index == MF_ELEMENT_SINGLE) {
        snprintf(buf, cap, "copy %s", name);
    } else {
        snprintf(buf, cap, "copy %s, element %" PRIu32, name, element->index);
    }
}

/* What an address is: "DRAM of rank 3 in pool 1", "host memory". */
static void describe_place(const struct mf_xcopy_space *space, uint64_t addr, char *buf, size_t cap)
{
    struct mf_window window;
    mf_window_find(space, addr, &window);
    if (window.place & PLACES_G) {
        snprintf(buf, cap, "%s of rank %" PRIu32 " in pool %" PRIu32, kind_name(window.place),
                 window.rank, space->pool);
    } else {
        snprintf(buf, cap, window.place == MF_PLACE_LD ? "device memory" : "host memory");
    }
}

/* What a side of a type has to be, and what to use instead. */
static const char *wanted(uint32_t mask)
{
    switch (mask) {
    case PLACES_L:
        return "device memory or HBM of the pool: use H for host memory, or AUTO";
    case PLACES_H:
        return "host memory or DRAM of the pool: use L for device memory, or AUTO";
    case MF_PLACE_GH:
        return "DRAM of the pool: use G for HBM, or AUTO";
    default:
        return "an address in the pool's range";
    }
}

static int refuse_place(const struct mf_xcopy_space *space, const struct mf_element *element,
                        const char *copy, bool is_src)
{
    const struct mf_type_rule *rule = &mf_type_rules[element->type];
    const struct mf_layout *layout = &space->table->layout;
    uint64_t addr = is_src ? element->src : element->dst;
    char place[PLACE_MAX];
    describe_place(space, addr, place, sizeof(place));
    return mf_err(SMEM_INVALID_PARAM,
                  "%s: %s 0x%" PRIx64 " is %s, but %s means %s (pool %" PRIu32 " is [0x%" PRIx64
                  ", 0x%" PRIx64 "))",
                  copy, is_src ? "source" : "destination", addr, place,
                  is_src ? rule->src : rule->dst, wanted(is_src ? rule->src_mask : rule->dst_mask),
                  space->pool, layout->base.v, layout->base.v + layout->size);
}

/* The range is in a slot, but not all of it in memory that the rank gave. */
static int refuse_not_given(const struct mf_xcopy_space *space, const char *where, uint64_t addr,
                            uint64_t size)
{
    const struct mf_layout *layout = &space->table->layout;
    struct mf_gva_loc loc = {0};
    mf_layout_find(layout, (mf_gva){addr}, &loc);
    const char *kind = loc.kind == MF_KIND_HBM ? "HBM" : "DRAM";
    uint64_t given = 0; /* end of what is given without a gap, from the start of the slot */
    const struct mf_segment *seg = mf_gva_table_first(space->table, loc.kind, loc.rank);
    uint64_t slot = addr - loc.offset;
    while (seg && seg->desc.gva == slot + given) {
        given += seg->desc.size;
        seg = __atomic_load_n(&seg->next, __ATOMIC_ACQUIRE);
    }
    if (given == 0) {
        return mf_err(SMEM_INVALID_PARAM, "%s: rank %" PRIu32 " has no %s in pool %" PRIu32, where,
                      loc.rank, kind, space->pool);
    }
    return mf_err(SMEM_INVALID_PARAM,
                  "%s: rank %" PRIu32 " has %" PRIu64 " bytes (%.6g GiB) of %s in pool %" PRIu32
                  ", the range ends %" PRIu64 " bytes behind it",
                  where, loc.rank, given, (double)given / (double)(1ull << 30), kind, space->pool,
                  loc.offset + size - given);
}

static int refuse_crossing(const struct mf_xcopy_space *space, const char *where, uint64_t addr,
                           uint64_t size)
{
    const struct mf_layout *layout = &space->table->layout;
    uint64_t end = slot_end(layout, addr);
    char from[PLACE_MAX];
    char to[PLACE_MAX];
    describe_place(space, addr, from, sizeof(from));
    describe_place(space, addr + size - 1, to, sizeof(to));
    return mf_err(SMEM_INVALID_PARAM,
                  "%s: the range begins in the %s and ends in the %s: one element copies memory of "
                  "one rank and kind, split it at 0x%" PRIx64,
                  where, from, to, end);
}

/* The refusals that are about one side. `where`: "copy H2G, element 3: source 0x1000 + 8192 bytes".
 */
static int refuse_range(const struct mf_xcopy_space *space, const struct mf_element *element,
                        const char *where, struct verdict verdict)
{
    const struct mf_layout *layout = &space->table->layout;
    uint64_t addr = verdict.is_src ? element->src : element->dst;
    uint64_t end = layout->base.v + layout->size;
    struct mf_window window;
    mf_window_find(space, addr, &window);
    switch (verdict.why) {
    case MF_REFUSE_NULL:
        return mf_err(SMEM_INVALID_PARAM, "%s: the address is NULL", where);
    case MF_REFUSE_WRAPS:
        return mf_err(SMEM_INVALID_PARAM, "%s wraps around the end of the address space", where);
    case MF_REFUSE_ENTERS_POOL:
        if (window.hi != layout->base.v) {
            return mf_err(SMEM_INVALID_PARAM,
                          "%s: begins in local memory and ends where this process has memory of "
                          "pool %" PRIu32 ", from 0x%" PRIx64 " on: one element is either local or "
                          "global",
                          where, space->pool, window.hi);
        }
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: begins in local memory and ends inside pool %" PRIu32 " [0x%" PRIx64
                      ", 0x%" PRIx64 "): one element is either local or global",
                      where, space->pool, layout->base.v, end);
    case MF_REFUSE_LEAVES_DEV:
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: leaves the device memory in which it begins, see the size that was "
                      "allocated there",
                      where);
    case MF_REFUSE_LEAVES_PLACE:
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: leaves the memory of rank %" PRIu32 " in pool %" PRIu32
                      " that this process has at [0x%" PRIx64 ", 0x%" PRIx64
                      "): what follows there is another piece; split it, or give global addresses",
                      where, window.rank, space->pool, window.lo, window.hi);
    case MF_REFUSE_LEAVES_POOL:
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: ends %" PRIu64 " bytes behind pool %" PRIu32 " [0x%" PRIx64
                      ", 0x%" PRIx64 ")",
                      where, addr + element->size - end, space->pool, layout->base.v, end);
    case MF_REFUSE_CROSSES_SLOT:
        return refuse_crossing(space, where, addr + window.shift, element->size);
    default:
        return refuse_not_given(space, where, addr + window.shift, element->size);
    }
}

int mf_element_refuse(const struct mf_xcopy_space *space, const struct mf_element *element,
                      enum mf_refusal why)
{
    struct mf_window src;
    struct mf_window dst;
    mf_window_find(space, element->src, &src);
    mf_window_find(space, element->dst, &dst);
    struct verdict verdict = judge(space, element, &src, &dst);
    if (verdict.why != why) {
        verdict.why = why; /* a segment came or went meanwhile: say what was found first */
    }
    char copy[64];
    describe_copy(element, copy, sizeof(copy));
    switch (verdict.why) {
    case MF_REFUSE_ZERO:
        return mf_err(SMEM_INVALID_PARAM, "%s: the size is 0: give at least one byte", copy);
    case MF_REFUSE_TOO_BIG:
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: the size %" PRIu64 " is above the limit of %llu bytes", copy,
                      element->size, (unsigned long long)MF_COPY_BYTES_MAX);
    case MF_REFUSE_OVERLAP:
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: source 0x%" PRIx64 " and destination 0x%" PRIx64
                      " overlap, each has %" PRIu64 " bytes: copy through a third place",
                      copy, element->src, element->dst, element->size);
    case MF_REFUSE_PLACE:
        return refuse_place(space, element, copy, verdict.is_src);
    default:
        break;
    }
    char where[WHERE_MAX];
    snprintf(where, sizeof(where), "%s: %s 0x%" PRIx64 " + %" PRIu64 " bytes", copy,
             verdict.is_src ? "source" : "destination",
             verdict.is_src ? element->src : element->dst, element->size);
    return refuse_range(space, element, where, verdict);
}

int mf_element_err_in(const struct mf_xcopy_space *space, const struct mf_element *element, int rc)
{
    char copy[64];
    char src[PLACE_MAX];
    char dst[PLACE_MAX];
    describe_copy(element, copy, sizeof(copy));
    describe_place(space, element->src, src, sizeof(src));
    describe_place(space, element->dst, dst, sizeof(dst));
    return mf_err_in(rc, "%s: %" PRIu64 " bytes from 0x%" PRIx64 " (%s) to 0x%" PRIx64 " (%s)",
                     copy, element->size, element->src, src, element->dst, dst);
}
