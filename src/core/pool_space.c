// SPDX-License-Identifier: Apache-2.0
// Where the slots of a pool lie in this process: the address range is reserved as a whole, and a
// segment's place is its global address.
#include <inttypes.h>

#include "base/err.h"
#include "core/pool.h"
#include "gva/space.h"

static uint64_t kind_bytes(const struct mf_pool *pool, enum mf_mem_kind kind)
{
    return pool->table.layout.world * pool->table.layout.max_bytes[kind];
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
    if (rc == SMEM_OK && granted != want) {
        dev->ops.window_release(dev->impl, granted, size);
        rc = mf_err(
            SMEM_NO_RESOURCES,
            "device %s grants the window 0x%" PRIx64 " instead of 0x%" PRIx64
            ": this version needs equal addresses; set gva.base (MF_GVA_BASE) on all ranks to "
            "a range that the device can give",
            dev->info.name, granted, want);
    }
    return rc;
}

int mf_pool_space_open(struct mf_pool *pool)
{
    int rc = SMEM_OK;
    for (int kind = 0; kind < MF_KIND_COUNT && rc == SMEM_OK; kind++) {
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
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        uint64_t base = pool->table.layout.kind_base[kind].v;
        uint64_t size = kind_bytes(pool, (enum mf_mem_kind)kind);
        if (!pool->reserved[kind]) {
            continue;
        }
        if (kind == MF_KIND_HBM && dev != NULL) {
            dev->ops.window_release(dev->impl, base, size);
        } else {
            (void)mf_space_release(base, size);
        }
        pool->reserved[kind] = false;
    }
}

int mf_pool_space_take(struct mf_pool *pool, enum mf_mem_kind kind, uint64_t gva, uint64_t size,
                       uint64_t *at)
{
    (void)size;
    *at = kind == MF_KIND_HBM && pool->ctx->dev == NULL ? 0 : gva;
    return SMEM_OK;
}

int mf_pool_space_clear(struct mf_pool *pool, enum mf_mem_kind kind, uint64_t gva, uint64_t size,
                        bool dead)
{
    (void)pool;
    if (kind != MF_KIND_DRAM) {
        return SMEM_OK;
    }
    return dead ? mf_space_zero(gva, size) : mf_space_unmap(gva, size);
}
