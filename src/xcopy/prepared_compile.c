// SPDX-License-Identifier: Apache-2.0
// The compiler of prepared batches. As long as every element is a block of one part, nothing is
// written down: the program uses the elements' own arrays. The first seam, neighbour or change of
// segments makes arrays of blocks. Ranks that nothing is known of are resolved between two passes,
// since no segment is held over that call.
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "xcopy/prepared.h"

enum { SRC = MF_PREP_SRC, DST = MF_PREP_DST, SIDES = MF_PREP_SIDES };

/* A part while it is made. */
struct part {
    struct mf_window window[SIDES];
    struct mf_prep_part as;
};

struct compiler {
    struct mf_prep *prep;
    const struct mf_xcopy_space *space;
    struct mf_prep_elements e;
    uint64_t base[SIDES];
    struct part *parts;
    uint32_t part_count, part_cap;
    struct part *at; /* of the element before, or NULL */
    uint32_t blocks;
    bool made; /* the arrays below exist: a block is no longer the element of its number */
    uint64_t *offsets[SIDES];
    uint64_t *sizes;
    uint32_t *first, *elements, *part_of;
    uint32_t cap;
    bool open; /* the next element may continue the last block, whose ends and size are: */
    uint64_t last_end[SIDES];
    uint64_t last_size;
    uint64_t asked[MF_WORLD_MAX / 64]; /* ranks that were resolved */
    uint64_t ask[MF_WORLD_MAX / 64];   /* ranks to be resolved, */
    uint32_t ask_element;              /* met first by this element */
    bool must_ask;
};

void mf_prep_program_put(struct mf_prep_program *program)
{
    if (!program || atomic_fetch_sub_explicit(&program->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (program->own_arrays) {
        for (int side = 0; side < SIDES; side++) {
            mf_free((void *)(uintptr_t)program->offsets[side]);
        }
        mf_free((void *)(uintptr_t)program->sizes);
    }
    mf_free(program->first);
    mf_free(program->elements);
    mf_free(program->parts);
    mf_free(program);
}

/* ---- arrays of blocks ---- */

static int grow(struct compiler *c, uint32_t cap)
{
    static const char what[] = "prepared batch";
    int rc = SMEM_OK;
    for (int side = 0; side < SIDES && !rc; side++) {
        rc = mf_plan_grow((void **)&c->offsets[side], sizeof(uint64_t), cap, what);
    }
    rc = rc ? rc : mf_plan_grow((void **)&c->sizes, sizeof(uint64_t), cap, what);
    rc = rc ? rc : mf_plan_grow((void **)&c->first, sizeof(uint32_t), cap, what);
    rc = rc ? rc : mf_plan_grow((void **)&c->elements, sizeof(uint32_t), cap, what);
    rc = rc ? rc : mf_plan_grow((void **)&c->part_of, sizeof(uint32_t), cap, what);
    c->cap = rc ? c->cap : cap;
    return rc;
}

static uint64_t size_of(const struct mf_prep_elements *e, uint32_t i)
{
    return e->sizes ? e->sizes[i] : e->size;
}

/* Write down the blocks so far, each of which is one element of the first part. */
static int make_arrays(struct compiler *c)
{
    int rc = grow(c, c->e.count < 16 ? 16 : c->e.count);
    if (rc) {
        return rc;
    }
    for (uint32_t i = 0; i < c->blocks; i++) {
        c->offsets[SRC][i] = mf_prep_offset(&c->e, SRC, i);
        c->offsets[DST][i] = mf_prep_offset(&c->e, DST, i);
        c->sizes[i] = size_of(&c->e, i);
        c->first[i] = i;
        c->elements[i] = 1;
        c->part_of[i] = 0;
    }
    c->made = true;
    return SMEM_OK;
}

static int write_block(struct compiler *c, uint64_t src, uint64_t dst, uint64_t size, uint32_t i)
{
    int rc = c->made ? SMEM_OK : make_arrays(c);
    if (rc == SMEM_OK && c->blocks == c->cap) {
        rc = c->cap > UINT32_MAX / 2 ? mf_err(SMEM_NO_RESOURCES, "the batch has too many seams")
                                     : grow(c, c->cap + c->cap / 2);
    }
    if (rc) {
        return rc;
    }
    c->offsets[SRC][c->blocks] = src;
    c->offsets[DST][c->blocks] = dst;
    c->sizes[c->blocks] = size;
    c->first[c->blocks] = i;
    c->elements[c->blocks] = 1;
    c->part_of[c->blocks] = (uint32_t)(c->at - c->parts);
    c->blocks++;
    return SMEM_OK;
}

/* Does the element go on where the last block ends, on both sides? Words stay alone: each lands by
 * one store. */
static inline bool continues(const struct compiler *c, uint64_t src, uint64_t dst, uint64_t size)
{
    const struct mf_window *window = c->at->window;
    uint64_t sum = c->last_size + size;
    uint64_t back = size - sum;
    return c->open && src == c->last_end[SRC] && dst == c->last_end[DST] && size > 8 &&
           c->last_size > 8 &&
           !mf_overlaps(c->base[SRC] + src + back + window[SRC].shift,
                        c->base[DST] + dst + back + window[DST].shift, sum);
}

static inline void widen(struct mf_prep_part *p, uint64_t src, uint64_t dst, uint64_t size)
{
    p->bytes += size;
    p->lo[SRC] = src < p->lo[SRC] ? src : p->lo[SRC];
    p->lo[DST] = dst < p->lo[DST] ? dst : p->lo[DST];
    p->hi[SRC] = src + size > p->hi[SRC] ? src + size : p->hi[SRC];
    p->hi[DST] = dst + size > p->hi[DST] ? dst + size : p->hi[DST];
}

/* A piece of element i to the current part. `whole`: all of the element. */
static inline int add(struct compiler *c, uint64_t src, uint64_t dst, uint64_t size, uint32_t i,
                      bool whole)
{
    int rc = SMEM_OK;
    widen(&c->at->as, src, dst, size);
    if (whole && continues(c, src, dst, size)) {
        rc = c->made ? SMEM_OK : make_arrays(c);
        if (rc == SMEM_OK) {
            c->sizes[c->blocks - 1] += size;
            c->elements[c->blocks - 1]++;
            c->last_size += size;
        }
    } else {
        if (!c->made && whole && c->at == c->parts && c->blocks == i) {
            c->blocks++;
        } else {
            rc = write_block(c, src, dst, size, i);
        }
        c->at->as.count++;
        c->last_size = size;
        c->open = whole && !c->space->checked; /* checksums tell every element apart */
    }
    c->last_end[SRC] = src + size;
    c->last_end[DST] = dst + size;
    return rc;
}

/* ---- parts ---- */

static bool is_same(const struct mf_window *a, const struct mf_window *b)
{
    return a->seg == b->seg && a->place == b->place && a->hi == b->hi;
}

/* Make the part of these windows the current one. */
static int enter_part(struct compiler *c, const struct mf_window *src, const struct mf_window *dst)
{
    for (uint32_t i = 0; i < c->part_count; i++) {
        if (is_same(&c->parts[i].window[SRC], src) && is_same(&c->parts[i].window[DST], dst)) {
            c->at = &c->parts[i];
            return SMEM_OK;
        }
    }
    int rc = mf_prep_check_window(c->prep, c->space, src);
    rc = rc ? rc : mf_prep_check_window(c->prep, c->space, dst);
    if (rc == SMEM_OK && c->part_count == c->part_cap) {
        uint32_t cap = c->part_cap ? c->part_cap * 2 : 4;
        rc = mf_plan_grow((void **)&c->parts, sizeof(*c->parts), cap, "prepared batch's parts");
        c->part_cap = rc ? c->part_cap : cap;
    }
    if (rc) {
        return rc;
    }
    c->at = &c->parts[c->part_count++];
    *c->at = (struct part){
        .window = {*src, *dst},
        .as = {.lo = {UINT64_MAX, UINT64_MAX},
               .apart = c->base[SRC] + src->shift - c->base[DST] - dst->shift},
    };
    return SMEM_OK;
}

static uint64_t piece_limit(const struct mf_window *window, uint64_t addr)
{
    return window->seg ? window->hi - addr : UINT64_MAX;
}

/* The window behind a seam; the memory may have been taken down since it was checked. */
static int next_window(const struct compiler *c, uint64_t addr, struct mf_window *window)
{
    uint32_t rank = window->rank;
    mf_window_find(c->space, addr, window);
    return window->seg ? SMEM_OK
                       : mf_err(SMEM_NOT_CONNECTED,
                                "memory of rank %u in pool %u went away while a batch over it was "
                                "prepared: prepare it again when the rank has joined",
                                rank, c->space->pool);
}

/* An element that is in order, in one block for each stretch between seams. */
static int add_pieces(struct compiler *c, uint32_t i, struct mf_window *src, struct mf_window *dst)
{
    uint64_t offset[SIDES] = {mf_prep_offset(&c->e, SRC, i), mf_prep_offset(&c->e, DST, i)};
    uint64_t rest = size_of(&c->e, i);
    bool whole = true;
    int rc = SMEM_OK;
    while (rest > 0 && rc == SMEM_OK) {
        uint64_t src_addr = c->base[SRC] + offset[SRC];
        uint64_t dst_addr = c->base[DST] + offset[DST];
        if (!whole && src->seg) {
            rc = next_window(c, src_addr, src);
        }
        if (rc == SMEM_OK && !whole && dst->seg) {
            rc = next_window(c, dst_addr, dst);
        }
        if (rc != SMEM_OK) {
            break;
        }
        uint64_t src_limit = piece_limit(src, src_addr);
        uint64_t dst_limit = piece_limit(dst, dst_addr);
        uint64_t size = rest < src_limit ? rest : src_limit;
        size = size < dst_limit ? size : dst_limit;
        whole = whole && size == rest;
        rc = enter_part(c, src, dst);
        rc = rc ? rc : add(c, offset[SRC], offset[DST], size, i, whole);
        offset[SRC] += size;
        offset[DST] += size;
        rest -= size;
        c->open = whole && c->open;
    }
    return rc;
}

/* ---- elements ---- */

static struct mf_element element_at(const struct compiler *c, uint32_t i)
{
    return (struct mf_element){
        .src = c->base[SRC] + mf_prep_offset(&c->e, SRC, i),
        .dst = c->base[DST] + mf_prep_offset(&c->e, DST, i),
        .size = size_of(&c->e, i),
        .type = c->prep->type,
        .index = i,
    };
}

/* Not all of that side's range is known here: have its rank resolved before the next pass. False:
 * it is, or the rank was. */
static bool ask_for(struct compiler *c, uint32_t i, const struct mf_window *window, uint64_t addr)
{
    bool global = window->place & (MF_PLACE_GD | MF_PLACE_GH);
    uint64_t bit = 1ull << (window->rank % 64);
    if (!global || window->rank == c->space->self || (c->asked[window->rank / 64] & bit) ||
        mf_range_is_given(c->space, addr + window->shift, size_of(&c->e, i), window)) {
        return false;
    }
    if (!c->must_ask) {
        c->ask_element = i;
    }
    c->must_ask = true;
    c->ask[window->rank / 64] |= bit;
    return true;
}

/* An element outside of the windows of the one before. */
static __attribute__((noinline)) int add_elsewhere(struct compiler *c, uint32_t i)
{
    struct mf_element element = element_at(c, i);
    struct mf_window src;
    struct mf_window dst;
    mf_window_find(c->space, element.src, &src);
    mf_window_find(c->space, element.dst, &dst);
    enum mf_refusal why = mf_element_check(c->space, &element, &src, &dst);
    c->open = c->open && c->at && is_same(&c->at->window[SRC], &src) &&
              is_same(&c->at->window[DST], &dst);
    c->at = NULL;
    if (why == MF_REFUSE_NONE) {
        return add_pieces(c, i, &src, &dst);
    }
    bool absent = why == MF_REFUSE_UNKNOWN_RANK || why == MF_REFUSE_NOT_GIVEN;
    int rc = absent ? mf_prep_check_window(c->prep, c->space, &src) : SMEM_OK;
    rc = rc || !absent ? rc : mf_prep_check_window(c->prep, c->space, &dst);
    if (rc) {
        return rc;
    }
    if (absent) {
        bool asks = ask_for(c, i, &src, element.src);
        asks = ask_for(c, i, &dst, element.dst) || asks;
        if (asks) {
            c->open = false;
            return SMEM_OK;
        }
        why = MF_REFUSE_NOT_GIVEN;
    }
    return mf_element_refuse(c->space, &element, why);
}

/* Does the part take the element as it is? */
static inline bool takes(const struct part *part, uint64_t src, uint64_t dst, uint64_t size)
{
    return mf_window_holds(&part->window[SRC], src, size) &&
           mf_window_holds(&part->window[DST], dst, size) &&
           !mf_overlaps(src + part->window[SRC].shift, dst + part->window[DST].shift, size);
}

/* The part among those that are there which takes the element. */
static bool find_part(struct compiler *c, uint64_t src, uint64_t dst, uint64_t size)
{
    for (uint32_t i = 0; i < c->part_count; i++) {
        struct part *part = &c->parts[i];
        if (takes(part, src, dst, size)) {
            c->open = c->open && c->at == part;
            c->at = part;
            return true;
        }
    }
    return false;
}

static int compile_pass(struct compiler *c)
{
    const struct mf_prep_elements *e = &c->e;
    int rc = SMEM_OK;
    c->part_count = 0;
    c->blocks = 0;
    c->at = NULL;
    c->open = false;
    c->made = false;
    for (uint32_t i = 0; i < e->count && rc == SMEM_OK; i++) {
        uint64_t src_offset = mf_prep_offset(e, SRC, i);
        uint64_t dst_offset = mf_prep_offset(e, DST, i);
        uint64_t src = c->base[SRC] + src_offset;
        uint64_t dst = c->base[DST] + dst_offset;
        uint64_t size = size_of(e, i);
        if (__builtin_expect(c->at && takes(c->at, src, dst, size), 1) ||
            find_part(c, src, dst, size)) {
            rc = add(c, src_offset, dst_offset, size, i, true);
        } else {
            rc = add_elsewhere(c, i);
        }
    }
    return rc;
}

/* ---- strides ---- */

/* Strides between one pair of windows, with no look at single blocks. False: not that simple. */
static bool compile_strides(struct compiler *c)
{
    const struct mf_prep_elements *e = &c->e;
    uint64_t len[SIDES];
    if (e->offsets[SRC] || e->offsets[DST] || e->sizes) {
        return false;
    }
    struct mf_element element = element_at(c, 0);
    struct mf_window src;
    struct mf_window dst;
    mf_window_find(c->space, element.src, &src);
    mf_window_find(c->space, element.dst, &dst);
    for (int side = 0; side < SIDES; side++) {
        len[side] = (e->count - 1) * e->stride[side] + e->size;
    }
    uint64_t apart = element.src + src.shift - element.dst - dst.shift;
    bool scattered = c->space->dev && ((src.place | dst.place) & MF_PLACE_LH) && e->count > 1;
    if (apart < len[DST] || 0 - apart < len[SRC] || scattered ||
        !mf_window_fits(&src, element.src, len[SRC]) ||
        !mf_window_fits(&dst, element.dst, len[DST]) ||
        mf_element_check(c->space, &element, &src, &dst) || enter_part(c, &src, &dst)) {
        return false;
    }
    c->at->as = (struct mf_prep_part){
        .count = e->count, .bytes = e->count * e->size, .hi = {len[SRC], len[DST]}, .apart = apart};
    c->blocks = e->count;
    return true;
}

/* All strided blocks lie side by side on both sides: they are one. */
static bool is_solid(const struct compiler *c)
{
    const struct mf_prep_elements *e = &c->e;
    return e->count > 1 && e->stride[SRC] == e->size && e->stride[DST] == e->size && e->size > 8 &&
           !c->space->checked;
}

static int make_solid(struct compiler *c)
{
    c->blocks = 1;
    c->at->as.count = 1;
    int rc = grow(c, 1);
    if (rc) {
        return rc;
    }
    c->made = true;
    c->offsets[SRC][0] = 0;
    c->offsets[DST][0] = 0;
    c->sizes[0] = c->at->as.bytes;
    c->first[0] = 0;
    c->elements[0] = c->e.count;
    c->part_of[0] = 0;
    return SMEM_OK;
}

/* ---- the program ---- */

/* Put the blocks of each part side by side. */
static int sort_parts(struct compiler *c)
{
    struct compiler to = {0};
    int rc = grow(&to, c->blocks);
    uint32_t *next = mf_alloc(sizeof(*next) * c->part_count, "prepared batch's parts");
    rc = rc || next ? rc : SMEM_MALLOC_FAILED;
    for (uint32_t i = 0; i < c->part_count && rc == SMEM_OK; i++) {
        next[i] = c->parts[i].as.first;
    }
    for (uint32_t i = 0; i < c->blocks && rc == SMEM_OK; i++) {
        uint32_t at = next[c->part_of[i]]++;
        to.offsets[SRC][at] = c->offsets[SRC][i];
        to.offsets[DST][at] = c->offsets[DST][i];
        to.sizes[at] = c->sizes[i];
        to.first[at] = c->first[i];
        to.elements[at] = c->elements[i];
    }
    struct compiler old = *c;
    if (rc == SMEM_OK) {
        memcpy(c->offsets, to.offsets, sizeof(c->offsets));
        c->sizes = to.sizes;
        c->first = to.first;
        c->elements = to.elements;
        memcpy(to.offsets, old.offsets, sizeof(to.offsets));
        to.sizes = old.sizes;
        to.first = old.first;
        to.elements = old.elements;
    }
    mf_free(next);
    mf_free(to.offsets[SRC]);
    mf_free(to.offsets[DST]);
    mf_free(to.sizes);
    mf_free(to.first);
    mf_free(to.elements);
    mf_free(to.part_of);
    return rc;
}

/* Give unused room back. An array that cannot shrink stays. */
static void shrink(void **array, size_t bytes)
{
    void *smaller = mf_realloc(*array, bytes, "prepared batch");
    *array = smaller ? smaller : *array;
}

static void give_arrays(struct compiler *c, struct mf_prep_program *out)
{
    bool uniform = true;
    for (uint32_t i = 1; i < c->blocks && uniform; i++) {
        uniform = c->sizes[i] == c->sizes[0];
    }
    out->size = c->sizes[0];
    if (uniform) {
        mf_free(c->sizes);
        c->sizes = NULL;
    }
    if (c->blocks < c->cap / 2) {
        shrink((void **)&c->offsets[SRC], c->blocks * sizeof(uint64_t));
        shrink((void **)&c->offsets[DST], c->blocks * sizeof(uint64_t));
        shrink((void **)&c->first, c->blocks * sizeof(uint32_t));
        shrink((void **)&c->elements, c->blocks * sizeof(uint32_t));
    }
    out->offsets[SRC] = c->offsets[SRC];
    out->offsets[DST] = c->offsets[DST];
    out->sizes = c->sizes;
    out->first = c->first;
    out->elements = c->elements;
    out->own_arrays = true;
    memset(c->offsets, 0, sizeof(c->offsets));
    c->sizes = NULL;
    c->first = NULL;
    c->elements = NULL;
}

static int make_program(struct compiler *c, struct mf_prep_program **out)
{
    uint32_t first = 0;
    for (uint32_t i = 0; i < c->part_count; i++) {
        c->parts[i].as.first = first;
        first += c->parts[i].as.count;
    }
    int rc = c->part_count > 1 ? sort_parts(c) : SMEM_OK;
    if (rc) {
        return rc;
    }
    struct mf_prep_program *program = mf_calloc(1, sizeof(*program), "prepared batch's program");
    if (!program) {
        return SMEM_MALLOC_FAILED;
    }
    atomic_init(&program->refs, 1);
    program->parts = mf_alloc(sizeof(*program->parts) * c->part_count, "prepared batch's parts");
    if (!program->parts) {
        mf_prep_program_put(program);
        return SMEM_MALLOC_FAILED;
    }
    program->part_count = c->part_count;
    program->block_count = c->blocks;
    for (uint32_t i = 0; i < c->part_count; i++) {
        program->parts[i] = c->parts[i].as;
    }
    memcpy(program->base, c->base, sizeof(program->base));
    if (c->made) {
        give_arrays(c, program);
    } else {
        memcpy(program->offsets, c->e.offsets, sizeof(program->offsets));
        memcpy(program->stride, c->e.stride, sizeof(program->stride));
        program->sizes = c->e.sizes;
        program->size = c->e.size;
    }
    *out = program;
    return SMEM_OK;
}

/* ---- compile ---- */

/* Remember the segments of the first compilation. */
static int note_segments(struct compiler *c)
{
    struct mf_prep *prep = c->prep;
    if (prep->ids) {
        return SMEM_OK;
    }
    prep->ids = mf_calloc(c->part_count * SIDES, sizeof(*prep->ids), "prepared batch's segments");
    if (!prep->ids) {
        return SMEM_MALLOC_FAILED;
    }
    for (uint32_t i = 0; i < c->part_count * SIDES; i++) {
        const struct mf_segment *seg = c->parts[i / SIDES].window[i % SIDES].seg;
        if (seg) {
            mf_prep_note(prep, &seg->desc);
        }
    }
    return SMEM_OK;
}

static int check_bases(const struct mf_prep *prep, const uint64_t base[SIDES])
{
    for (int side = 0; side < SIDES; side++) {
        if (mf_prep_wraps(prep, side, base[side])) {
            return mf_err(SMEM_INVALID_PARAM,
                          "the %s %s 0x%" PRIx64 " with offsets from 0x%" PRIx64 " to 0x%" PRIx64
                          " wraps around the end of the address space",
                          side == SRC ? "source's" : "destination's",
                          prep->absolute ? "displacement" : "base", base[side], prep->lo[side],
                          prep->hi[side]);
        }
    }
    return SMEM_OK;
}

static int resolve_ranks(struct compiler *c, uint64_t deadline_ns)
{
    const struct mf_xcopy_space *space = c->space;
    if (deadline_ns == 0) {
        deadline_ns = mf_deadline_ns(space->env, space->copy_wait_ms);
    }
    for (uint32_t rank = 0; rank < MF_WORLD_MAX; rank++) {
        uint64_t bit = 1ull << (rank % 64);
        if (!(c->ask[rank / 64] & bit)) {
            continue;
        }
        c->ask[rank / 64] &= ~bit;
        c->asked[rank / 64] |= bit;
        int rc = space->resolve(space->arg, rank, deadline_ns);
        if (rc) {
            struct mf_element element = element_at(c, c->ask_element);
            return mf_element_err_in(space, &element, rc);
        }
    }
    c->must_ask = false;
    return SMEM_OK;
}

static void free_compiler(struct compiler *c)
{
    mf_free(c->parts);
    mf_free(c->offsets[SRC]);
    mf_free(c->offsets[DST]);
    mf_free(c->sizes);
    mf_free(c->first);
    mf_free(c->elements);
    mf_free(c->part_of);
}

int mf_prep_compile(struct mf_prep *prep, const struct mf_xcopy_space *space,
                    const uint64_t base[SIDES], uint64_t deadline_ns, struct mf_prep_program **out)
{
    struct compiler c = {
        .prep = prep,
        .space = space,
        .e = {.offsets = {prep->offsets[SRC], prep->offsets[DST]},
              .sizes = prep->sizes,
              .size = prep->size,
              .stride = {prep->stride[SRC], prep->stride[DST]},
              .count = prep->count},
        .base = {base[SRC], base[DST]},
    };
    *out = NULL;
    int rc = check_bases(prep, base);
    if (rc) {
        return rc;
    }
    if (compile_strides(&c)) {
        rc = is_solid(&c) ? make_solid(&c) : SMEM_OK;
    } else {
        rc = compile_pass(&c);
        while (rc == SMEM_OK && c.must_ask) {
            rc = resolve_ranks(&c, deadline_ns);
            rc = rc ? rc : compile_pass(&c);
        }
    }
    rc = rc ? rc : note_segments(&c);
    rc = rc ? rc : make_program(&c, out);
    free_compiler(&c);
    return rc;
}
