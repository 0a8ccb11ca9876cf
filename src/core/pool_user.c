// SPDX-License-Identifier: Apache-2.0
// Buffers that the user has registered: known, and pinned for the device where it can profit.
#include <inttypes.h>

#include "base/alloc.h"
#include "base/err.h"
#include "core/pool.h"

#define REGION_BYTES_MAX (1ull << 40)

static struct mf_user_region *find_locked(struct mf_pool *pool, uint64_t addr)
{
    for (uint32_t i = 0; i < pool->region_count; i++) {
        if (pool->regions[i].addr == addr) {
            return &pool->regions[i];
        }
    }
    return NULL;
}

static int grow_locked(struct mf_pool *pool)
{
    if (pool->region_count < pool->region_cap) {
        return SMEM_OK;
    }
    if (pool->region_cap == MF_USER_REGIONS_MAX) {
        return mf_err(SMEM_NO_RESOURCES, "pool %u: %u buffers are registered, the limit", pool->id,
                      MF_USER_REGIONS_MAX);
    }
    uint32_t cap = pool->region_cap == 0 ? 16 : pool->region_cap * 2;
    struct mf_user_region *v =
        mf_realloc(pool->regions, cap * sizeof(*pool->regions), "registered buffers");
    if (v == NULL) {
        return SMEM_MALLOC_FAILED;
    }
    pool->regions = v;
    pool->region_cap = cap;
    return SMEM_OK;
}

static int register_locked(struct mf_pool *pool, uint64_t addr, uint64_t size)
{
    struct mf_dev *dev = pool->ctx->dev;
    const struct mf_user_region *known = find_locked(pool, addr);
    if (known != NULL) {
        return known->size == size
                   ? SMEM_OK
                   : mf_err(SMEM_ERROR,
                            "pool %u: buffer 0x%" PRIx64 " is registered with %" PRIu64
                            " bytes already: unregister it before it gets %" PRIu64,
                            pool->id, addr, known->size, size);
    }
    int rc = grow_locked(pool);
    if (rc != SMEM_OK) {
        return rc;
    }
    struct mf_user_region region = {.addr = addr, .size = size};
    if (dev != NULL && !mf_dev_owns(dev, addr, size)) {
        rc = dev->ops.host_register(dev->impl, (void *)(uintptr_t)addr, size);
        region.on_device = rc == SMEM_OK;
        if (rc != SMEM_OK && rc != SMEM_NOT_EXIST) {
            return mf_err_in(SMEM_ERROR, "pool %u: buffer 0x%" PRIx64 " of %" PRIu64 " bytes",
                             pool->id, addr, size);
        }
    }
    pool->regions[pool->region_count++] = region;
    return SMEM_OK;
}

int mf_pool_user_register(struct mf_pool *pool, uint64_t addr, uint64_t size)
{
    if (size == 0 || size > REGION_BYTES_MAX || addr + size < addr) {
        return mf_err(SMEM_ERROR,
                      "pool %u: buffer 0x%" PRIx64 ": size %" PRIu64
                      " is not 1..%llu bytes, or wraps",
                      pool->id, addr, size, REGION_BYTES_MAX);
    }
    mf_mutex_lock(&pool->lock);
    int rc = register_locked(pool, addr, size);
    mf_mutex_unlock(&pool->lock);
    return rc;
}

static void forget(struct mf_pool *pool, const struct mf_user_region *region)
{
    struct mf_dev *dev = pool->ctx->dev;
    if (region->on_device) {
        (void)dev->ops.host_unregister(dev->impl, (void *)(uintptr_t)region->addr);
    }
}

int mf_pool_user_unregister(struct mf_pool *pool, uint64_t addr)
{
    mf_mutex_lock(&pool->lock);
    struct mf_user_region *region = find_locked(pool, addr);
    if (region != NULL) {
        forget(pool, region);
        *region = pool->regions[--pool->region_count];
    }
    mf_mutex_unlock(&pool->lock);
    return SMEM_OK;
}

void mf_pool_user_fini(struct mf_pool *pool)
{
    for (uint32_t i = 0; i < pool->region_count; i++) {
        forget(pool, &pool->regions[i]);
    }
    mf_free(pool->regions);
    pool->regions = NULL;
    pool->region_count = pool->region_cap = 0;
}
