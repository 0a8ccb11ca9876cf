// SPDX-License-Identifier: Apache-2.0
// Where the slots of a pool lie in this process. In identity mode the address range is reserved as
// a whole, and a segment's place is its global address. A translated pool reserves nothing: each
// segment gets a place of its own, which stays when the segment goes, until another one of its slot
// takes it or the pool closes. A device that grants another window than wanted moves all device
// memory by one distance.
#include <inttypes.h>

#include "base/err.h"
#include "core/pool.h"
#include "gva/space.h"

/* Where places are asked for: above what sanitizers use, below the addresses of pools that are not
 * translated, far from what the kernel hands out. So it takes two comparisons to tell an address of
 * the pool from any other; where it cannot be had, a search. */
#define NEAR_BASE 0x180000000000ull
#define NEAR_END  0x280000000000ull
/* Another thread that takes the same place is faster once; more often the device is to blame. */
#define TRIES_MAX 4

static uint64_t kind_bytes(const struct mf_pool *pool, enum mf_mem_kind kind)
{
    return pool->table.layout.world * pool->table.layout.max_bytes[kind];
}

static bool is_wide(const struct mf_pool *pool)
{
    return mf_layout_is_wide(&pool->table.layout);
}

static enum mf_mem_kind kind_of(const struct mf_pool *pool, mf_gva gva)
{
    return gva.v < pool->table.layout.kind_base[MF_KIND_DRAM].v ? MF_KIND_HBM : MF_KIND_DRAM;
}

/* ---- the table's places, under its lock ---- */

static int add_place(struct mf_pool *pool, const struct mf_gva_place *place)
{
    mf_mutex_lock(&pool->table_lock);
    int rc = mf_gva_place_add(&pool->table, place);
    mf_mutex_unlock(&pool->table_lock);
    return rc;
}

static bool find_place(struct mf_pool *pool, uint64_t gva, uint64_t size, struct mf_gva_place *out)
{
    mf_mutex_lock(&pool->table_lock);
    bool found = mf_gva_place_of(&pool->table, (mf_gva){gva}, size, true, out);
    mf_mutex_unlock(&pool->table_lock);
    return found;
}

static void release_place(struct mf_pool *pool, const struct mf_gva_place *place)
{
    struct mf_dev *dev = pool->ctx->dev;
    if (kind_of(pool, place->gva) == MF_KIND_HBM) {
        dev->ops.window_release(dev->impl, place->addr, place->size);
    } else {
        (void)mf_space_release(place->addr, place->size);
    }
}

/* ---- identity mode ---- */

static int refuse_grant(const struct mf_dev *dev, uint64_t granted, uint64_t want, uint64_t size)
{
    dev->ops.window_release(dev->impl, granted, size);
    return mf_err(SMEM_NO_RESOURCES,
                  "device %s grants the window 0x%" PRIx64 " instead of 0x%" PRIx64 ", %" PRIu64
                  " bytes: it is empty, wraps, or lies in the pool's own range; set gva.base "
                  "(MF_GVA_BASE) on all ranks to a range that the device can give",
                  dev->info.name, granted, want, size);
}

/* Device memory lies elsewhere. Its global addresses must not become those of anything else. */
static int move_hbm(struct mf_pool *pool, uint64_t granted)
{
    const struct mf_layout *layout = &pool->table.layout;
    struct mf_gva_place place = {granted, kind_bytes(pool, MF_KIND_HBM),
                                 layout->kind_base[MF_KIND_HBM]};
    uint64_t want = place.gva.v;
    if (granted == 0 || place.size > UINT64_MAX - granted ||
        granted - layout->base.v < layout->size || layout->base.v - granted < place.size) {
        return refuse_grant(pool->ctx->dev, granted, want, place.size);
    }
    int rc = mf_space_reserve(want, place.size);
    if (rc == SMEM_OK) {
        rc = add_place(pool, &place);
        if (rc != SMEM_OK) {
            (void)mf_space_release(want, place.size);
        }
    }
    if (rc != SMEM_OK) {
        release_place(pool, &place);
    }
    return rc;
}

/* The device reserves its window before the host maps anything there. */
static int reserve_hbm(struct mf_pool *pool)
{
    struct mf_dev *dev = pool->ctx->dev;
    uint64_t want = pool->table.layout.kind_base[MF_KIND_HBM].v;
    uint64_t size = kind_bytes(pool, MF_KIND_HBM);
    uint64_t granted = 0;
    if (dev == NULL) {
        return mf_space_reserve(want, size);
    }
    int rc = dev->ops.window_reserve(dev->impl, want, size, &granted);
    return rc == SMEM_OK && granted != want ? move_hbm(pool, granted) : rc;
}

int mf_pool_space_open(struct mf_pool *pool)
{
    int rc = SMEM_OK;
    for (int kind = 0; kind < MF_KIND_COUNT && rc == SMEM_OK && !is_wide(pool); kind++) {
        uint64_t size = kind_bytes(pool, (enum mf_mem_kind)kind);
        if (size == 0) {
            continue;
        }
        rc = kind == MF_KIND_HBM ? reserve_hbm(pool)
                                 : mf_space_reserve(pool->table.layout.kind_base[kind].v, size);
        pool->reserved[kind] = rc == SMEM_OK;
    }
    return rc;
}

void mf_pool_space_close(struct mf_pool *pool)
{
    struct mf_dev *dev = pool->ctx->dev;
    struct mf_gva_place place;
    bool moved = false;
    while (mf_gva_place_any(&pool->table, &place)) {
        mf_mutex_lock(&pool->table_lock);
        mf_gva_place_remove(&pool->table, place.addr);
        mf_mutex_unlock(&pool->table_lock);
        release_place(pool, &place);
        moved = true;
    }
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        uint64_t base = pool->table.layout.kind_base[kind].v;
        uint64_t size = kind_bytes(pool, (enum mf_mem_kind)kind);
        if (!pool->reserved[kind]) {
            continue;
        }
        if (kind == MF_KIND_HBM && dev != NULL && !moved) {
            dev->ops.window_release(dev->impl, base, size);
        } else {
            (void)mf_space_release(base, size);
        }
        pool->reserved[kind] = false;
    }
}

/* ---- translated mode ---- */

/* Behind the pool's other places; the first of a pool begins a stretch of its own. */
static uint64_t place_hint(const struct mf_pool *pool)
{
    const struct mf_config *config = pool->ctx->config;
    uint64_t base = mf_config_u64(config, MF_OPT_GVA_BASE);
    uint64_t span = mf_config_u64(config, MF_OPT_GVA_SPAN);
    uint64_t hint = atomic_load(&pool->table.places.hi);
    if (hint == 0) {
        hint = NEAR_BASE + pool->id * ((NEAR_END - NEAR_BASE) / MF_POOLS_MAX);
    }
    bool disjoint = base >= NEAR_END || base + span <= NEAR_BASE;
    return disjoint && hint >= NEAR_BASE && hint < NEAR_END ? hint : 0;
}

/* A place for the range, of which no part has one. SMEM_DUPLICATED: another thread was faster. */
static int reserve_place(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_gva_place *place)
{
    const struct mf_dev *dev = pool->ctx->dev;
    int rc = kind == MF_KIND_HBM
                 ? dev->ops.window_reserve(dev->impl, 0, place->size, &place->addr)
                 : mf_space_reserve_free(place_hint(pool), place->size, &place->addr);
    if (rc == SMEM_OK) {
        rc = add_place(pool, place);
        if (rc != SMEM_OK) {
            release_place(pool, place);
        }
    }
    return rc == SMEM_OK ? rc
                         : mf_err_in(rc, "pool %u: a place for the segment at 0x%" PRIx64, pool->id,
                                     place->gva.v);
}

enum found { NOTHING, EXACT, OVER, IN_USE };

/* What there is for the range. A place that it only overlaps was that of an earlier segment of the
 * slot, whose rank has come back with others: it is taken out. */
static enum found look(struct mf_pool *pool, const struct mf_gva_place *want,
                       struct mf_gva_place *out)
{
    enum found found = NOTHING;
    mf_mutex_lock(&pool->table_lock);
    if (mf_gva_place_of(&pool->table, want->gva, want->size, false, out)) {
        bool exact = out->gva.v == want->gva.v && out->size == want->size;
        bool live = !exact && mf_gva_table_overlap(&pool->table, out->gva, out->size) != NULL;
        found = exact ? EXACT : live ? IN_USE : OVER;
    }
    if (found == OVER) {
        mf_gva_place_remove(&pool->table, out->addr);
    }
    mf_mutex_unlock(&pool->table_lock);
    return found;
}

static int take_place(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_gva_place *want)
{
    struct mf_gva_place there;
    int rc = SMEM_DUPLICATED;
    for (int tries = 0; rc == SMEM_DUPLICATED && tries < TRIES_MAX;) {
        switch (look(pool, want, &there)) {
        case EXACT:
            *want = there;
            return SMEM_OK;
        case OVER:
            release_place(pool, &there);
            break;
        case IN_USE:
            return mf_err(SMEM_DUPLICATED,
                          "pool %u: 0x%" PRIx64 " + %" PRIu64
                          " bytes overlap the segment at 0x%" PRIx64 " + %" PRIu64 " bytes",
                          pool->id, want->gva.v, want->size, there.gva.v, there.size);
        case NOTHING:
            rc = reserve_place(pool, kind, want);
            tries++;
            break;
        }
    }
    return rc;
}

int mf_pool_space_take(struct mf_pool *pool, enum mf_mem_kind kind, uint64_t gva, uint64_t size,
                       uint64_t *at)
{
    struct mf_gva_place place = {.addr = gva, .size = size, .gva = {gva}};
    int rc = SMEM_OK;
    *at = 0;
    if (kind == MF_KIND_HBM && pool->ctx->dev == NULL) {
        return SMEM_OK;
    }
    if (is_wide(pool)) {
        rc = take_place(pool, kind, &place);
    } else {
        (void)find_place(pool, gva, size, &place);
    }
    *at = rc == SMEM_OK ? place.addr + (gva - place.gva.v) : 0;
    return rc;
}

int mf_pool_space_clear(struct mf_pool *pool, enum mf_mem_kind kind, uint64_t gva, uint64_t size,
                        bool dead)
{
    struct mf_gva_place place = {.addr = gva, .size = size, .gva = {gva}};
    bool found = kind == MF_KIND_DRAM && (!is_wide(pool) || find_place(pool, gva, size, &place));
    if (!found) {
        return SMEM_OK; /* device memory that is unmapped is as before; a place may be gone */
    }
    uint64_t at = place.addr + (gva - place.gva.v);
    return dead ? mf_space_zero(at, size) : mf_space_unmap(at, size);
}
