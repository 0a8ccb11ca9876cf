// SPDX-License-Identifier: Apache-2.0
// Making a prepared batch: its three forms become one, offsets of elements or strides, with own
// copies of what the caller gave; and what is checked of them once for all bases.
#include "xcopy/prepared.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"

enum { SRC = MF_PREP_SRC, DST = MF_PREP_DST, SIDES = MF_PREP_SIDES };

static const char *side_name(int side)
{
    return side == SRC ? "source" : "destination";
}

static const char *type_name(const struct mf_prep_cfg *cfg)
{
    return mf_type_rules[cfg->type].name;
}

static uint64_t size_at(const struct mf_prep *prep, uint32_t i)
{
    return prep->sizes ? prep->sizes[i] : prep->size;
}

/* ---- sides ---- */

static int refuse_wrap(const struct mf_prep_cfg *cfg, int side, uint32_t i)
{
    return mf_err(SMEM_INVALID_PARAM,
                  "copy %s, element %" PRIu32
                  ": the %s's offset wraps around the end of the address space",
                  type_name(cfg), i, side_name(side));
}

static int widen(struct mf_prep *prep, const struct mf_prep_cfg *cfg, int side, uint32_t i,
                 uint64_t offset)
{
    uint64_t end;
    if (__builtin_add_overflow(offset, size_at(prep, i), &end)) {
        return refuse_wrap(cfg, side, i);
    }
    prep->lo[side] = offset < prep->lo[side] ? offset : prep->lo[side];
    prep->hi[side] = end > prep->hi[side] ? end : prep->hi[side];
    return SMEM_OK;
}

static int check_stride(const struct mf_prep_cfg *cfg, int side)
{
    uint64_t stride = cfg->side[side].stride;
    if (cfg->count > 1 && stride == 0) {
        return mf_err(SMEM_INVALID_PARAM,
                      "copy %s: the %s's stride is 0: all %" PRIu32
                      " blocks would lie at one place",
                      type_name(cfg), side_name(side), cfg->count);
    }
    if (cfg->count > 1 && side == DST && !cfg->sizes && stride < cfg->size) {
        return mf_err(SMEM_INVALID_PARAM,
                      "copy %s: the destination's stride %" PRIu64 " is below the block's %" PRIu64
                      " bytes: blocks would overwrite each other",
                      type_name(cfg), stride, cfg->size);
    }
    return SMEM_OK;
}

static int take_strides(struct mf_prep *prep, const struct mf_prep_cfg *cfg, int side)
{
    uint64_t last;
    int rc = check_stride(cfg, side);
    if (rc) {
        return rc;
    }
    if (__builtin_mul_overflow(cfg->side[side].stride, (uint64_t)(cfg->count - 1), &last)) {
        return refuse_wrap(cfg, side, cfg->count - 1);
    }
    prep->stride[side] = cfg->side[side].stride;
    rc = widen(prep, cfg, side, 0, 0);
    return rc ? rc : widen(prep, cfg, side, cfg->count - 1, last);
}

static int take_rows(struct mf_prep *prep, const struct mf_prep_cfg *cfg, int side)
{
    uint64_t *out = prep->offsets[side];
    int rc = SMEM_OK;
    for (uint32_t i = 0; i < cfg->count && rc == SMEM_OK; i++) {
        if (__builtin_mul_overflow((uint64_t)cfg->side[side].rows[i], cfg->side[side].stride,
                                   &out[i])) {
            return refuse_wrap(cfg, side, i);
        }
        rc = widen(prep, cfg, side, i, out[i]);
    }
    return rc;
}

static int take_offsets(struct mf_prep *prep, const struct mf_prep_cfg *cfg, int side)
{
    uint64_t *out = prep->offsets[side];
    int rc = SMEM_OK;
    memcpy(out, cfg->side[side].offsets, cfg->count * sizeof(*out));
    for (uint32_t i = 0; i < cfg->count && rc == SMEM_OK; i++) {
        rc = widen(prep, cfg, side, i, out[i]);
    }
    return rc;
}

static int take_side(struct mf_prep *prep, const struct mf_prep_cfg *cfg, int side)
{
    const struct mf_prep_side *from = &cfg->side[side];
    prep->base[side] = from->base;
    prep->lo[side] = UINT64_MAX;
    if (!from->offsets && !from->rows) {
        return take_strides(prep, cfg, side);
    }
    prep->offsets[side] = mf_alloc(cfg->count * sizeof(uint64_t), "prepared batch's offsets");
    if (!prep->offsets[side]) {
        return SMEM_MALLOC_FAILED;
    }
    return from->offsets ? take_offsets(prep, cfg, side) : take_rows(prep, cfg, side);
}

/* ---- sizes ---- */

static int refuse_size(const struct mf_prep_cfg *cfg, uint32_t i, uint64_t size)
{
    if (size == 0) {
        return mf_err(SMEM_INVALID_PARAM,
                      "copy %s, element %" PRIu32 ": the size is 0: give at least one byte",
                      type_name(cfg), i);
    }
    return mf_err(SMEM_INVALID_PARAM,
                  "copy %s, element %" PRIu32 ": the size %" PRIu64
                  " is above the limit of %llu bytes",
                  type_name(cfg), i, size, (unsigned long long)MF_COPY_BYTES_MAX);
}

/* Keep the sizes, or one size when they are all alike. */
static int take_sizes(struct mf_prep *prep, const struct mf_prep_cfg *cfg)
{
    bool uniform = true;
    prep->size = cfg->sizes ? cfg->sizes[0] : cfg->size;
    for (uint32_t i = 0; i < cfg->count; i++) {
        uint64_t size = cfg->sizes ? cfg->sizes[i] : cfg->size;
        if (size - 1 >= MF_COPY_BYTES_MAX) {
            return refuse_size(cfg, i, size);
        }
        uniform = uniform && size == prep->size;
        prep->bytes += size; /* at most 2^24 elements of 2^46 bytes: wraps for no memory there is */
        if (!cfg->sizes) {
            prep->bytes = size * cfg->count;
            break;
        }
    }
    if (uniform) {
        return SMEM_OK;
    }
    prep->sizes = mf_alloc(cfg->count * sizeof(uint64_t), "prepared batch's sizes");
    if (!prep->sizes) {
        return SMEM_MALLOC_FAILED;
    }
    memcpy(prep->sizes, cfg->sizes, cfg->count * sizeof(uint64_t));
    return SMEM_OK;
}

/* ---- life ---- */

static int check(const struct mf_prep_cfg *cfg)
{
    if (cfg->count == 0 || cfg->count > MF_BATCH_MAX) {
        return mf_err(SMEM_INVALID_PARAM,
                      "copy %s: a batch of %" PRIu32 " elements: 1 to %u are allowed",
                      type_name(cfg), cfg->count, MF_BATCH_MAX);
    }
    return SMEM_OK;
}

int mf_prep_create(const struct mf_xcopy_space *space, const struct mf_prep_cfg *cfg,
                   uint64_t deadline_ns, struct mf_prep **out)
{
    *out = NULL;
    int rc = check(cfg);
    struct mf_prep *prep = rc ? NULL : mf_calloc(1, sizeof(*prep), "prepared batch");
    if (!prep) {
        return rc ? rc : SMEM_MALLOC_FAILED;
    }
    atomic_init(&prep->refs, 1);
    mf_mutex_init(&prep->lock, MF_RANK_LEAF);
    prep->absolute = cfg->absolute;
    prep->count = cfg->count;
    prep->type = cfg->type;
    rc = take_sizes(prep, cfg);
    rc = rc ? rc : take_side(prep, cfg, SRC);
    rc = rc ? rc : take_side(prep, cfg, DST);
    rc = rc ? rc : mf_prep_compile(prep, space, prep->base, deadline_ns, &prep->program);
    if (rc) {
        mf_prep_put(prep);
        return rc;
    }
    *out = prep;
    return SMEM_OK;
}

void mf_prep_put(struct mf_prep *prep)
{
    if (!prep || atomic_fetch_sub_explicit(&prep->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    mf_prep_program_put(prep->program);
    mf_free(prep->offsets[SRC]);
    mf_free(prep->offsets[DST]);
    mf_free(prep->sizes);
    mf_free(prep->ids);
    mf_mutex_fini(&prep->lock);
    mf_free(prep);
}
