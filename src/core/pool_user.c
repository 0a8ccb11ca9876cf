// SPDX-License-Identifier: Apache-2.0
// Buffers that the user has registered: known, and pinned for the device where it can profit. A
// buffer is busy while a plug-in is asked about it, which happens outside of the lock.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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

/* ---- is there memory?
 * --------------------------------------------------------------------------------------------- */

/* One line of /proc/self/maps: *at goes on to the end of the mapping when it begins there or
 * before, and can be read. */
static void pass_mapping(const char *line, uint64_t *at)
{
    uint64_t from, to;
    char prot[8];
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &from, &to, prot) == 3 && from <= *at &&
        *at < to && prot[0] == 'r') {
        *at = to;
    }
}

/* The first address of the range that cannot be read; its end when all can, or nobody knows. */
static uint64_t first_hole(uint64_t addr, uint64_t size)
{
    char line[512];
    bool whole = true; /* the buffer begins with the beginning of a line */
    uint64_t at = addr;
    FILE *maps = fopen("/proc/self/maps", "re");
    if (maps == NULL) {
        return addr + size;
    }
    while (at < addr + size && fgets(line, sizeof(line), maps) != NULL) {
        if (whole) {
            pass_mapping(line, &at);
        }
        whole = strchr(line, '\n') != NULL;
    }
    fclose(maps);
    return at < addr + size ? at : addr + size;
}

static int check_memory(const struct mf_pool *pool, uint64_t addr, uint64_t size)
{
    const struct mf_dev *dev = pool->ctx->dev;
    if (size == 0 || size > REGION_BYTES_MAX || addr + size < addr) {
        return mf_err(SMEM_ERROR,
                      "pool %u: buffer 0x%" PRIx64 ": size %" PRIu64
                      " is not 1..%llu bytes, or wraps",
                      pool->id, addr, size, REGION_BYTES_MAX);
    }
    if (dev != NULL && mf_dev_owns(dev, addr, size)) {
        return SMEM_OK;
    }
    uint64_t hole = first_hole(addr, size);
    if (hole == addr + size) {
        return SMEM_OK;
    }
    return mf_err(SMEM_INVALID_PARAM,
                  "pool %u: buffer 0x%" PRIx64 " of %" PRIu64 " bytes: there is no memory that can "
                  "be read at 0x%" PRIx64 ": register what is allocated and mapped",
                  pool->id, addr, size, hole);
}

/* ---- registering
 * --------------------------------------------------------------------------------------------- */

/* The registered buffer, once no other thread is at it. NULL: it is not registered; *late when it
 * still is, and busy, at the deadline. */
static struct mf_user_region *find_idle_locked(struct mf_pool *pool, uint64_t addr, bool *late)
{
    uint64_t deadline_ns =
        mf_deadline_ns(pool->ctx->env, mf_config_u64(pool->ctx->config, MF_OPT_FENCE_MS));
    struct mf_user_region *region = find_locked(pool, addr);
    *late = false;
    while (region != NULL && region->busy) {
        *late = !mf_cond_wait(&pool->changed, &pool->lock, deadline_ns);
        region = find_locked(pool, addr);
        if (*late && region != NULL && region->busy) {
            return NULL;
        }
    }
    *late = false;
    return region;
}

static int busy_elsewhere(const struct mf_pool *pool, uint64_t addr)
{
    return mf_err(SMEM_RES_IN_USE,
                  "pool %u: another thread is registering or unregistering buffer 0x%" PRIx64,
                  pool->id, addr);
}

/* Enter the buffer, busy. *done: there is nothing more to do. */
static int begin_register(struct mf_pool *pool, uint64_t addr, uint64_t size, bool *done)
{
    bool late;
    int rc = SMEM_OK;
    mf_mutex_lock(&pool->lock);
    const struct mf_user_region *known = find_idle_locked(pool, addr, &late);
    *done = known != NULL;
    if (late) {
        rc = busy_elsewhere(pool, addr);
    } else if (known != NULL && known->size != size) {
        rc = mf_err(SMEM_ERROR,
                    "pool %u: buffer 0x%" PRIx64 " is registered with %" PRIu64
                    " bytes already: unregister it before it gets %" PRIu64,
                    pool->id, addr, known->size, size);
    } else if (known == NULL) {
        rc = grow_locked(pool);
    }
    if (rc == SMEM_OK && known == NULL) {
        pool->regions[pool->region_count++] =
            (struct mf_user_region){.addr = addr, .size = size, .busy = true};
    }
    mf_mutex_unlock(&pool->lock);
    return rc;
}

/* The plug-in has been asked: keep the buffer, or forget it. */
static void end_busy(struct mf_pool *pool, uint64_t addr, bool keep, bool on_device)
{
    mf_mutex_lock(&pool->lock);
    struct mf_user_region *region = find_locked(pool, addr);
    region->busy = false;
    region->on_device = on_device;
    if (!keep) {
        *region = pool->regions[--pool->region_count];
    }
    mf_cond_broadcast(&pool->changed);
    mf_mutex_unlock(&pool->lock);
}

int mf_pool_user_register(struct mf_pool *pool, uint64_t addr, uint64_t size)
{
    struct mf_dev *dev = pool->ctx->dev;
    bool done = false;
    bool on_device = false;
    int rc = check_memory(pool, addr, size);
    if (rc == SMEM_OK) {
        rc = begin_register(pool, addr, size, &done);
    }
    if (rc != SMEM_OK || done) {
        return rc;
    }
    if (dev != NULL && !mf_dev_owns(dev, addr, size)) {
        rc = dev->ops.host_register(dev->impl, (void *)(uintptr_t)addr, size);
        on_device = rc == SMEM_OK;
        rc = rc == SMEM_OK || rc == SMEM_NOT_EXIST
                 ? SMEM_OK
                 : mf_err_in(SMEM_ERROR, "pool %u: buffer 0x%" PRIx64 " of %" PRIu64 " bytes",
                             pool->id, addr, size);
    }
    end_busy(pool, addr, rc == SMEM_OK, on_device);
    return rc;
}

static void forget(struct mf_pool *pool, const struct mf_user_region *region)
{
    struct mf_dev *dev = pool->ctx->dev;
    if (region->on_device) {
        (void)dev->ops.host_unregister(dev->impl, (void *)(uintptr_t)region->addr);
    }
}

/* Until no peer reads it for a copy of ours that was given up. */
static int settle(struct mf_pool *pool, const struct mf_user_region *region)
{
    uint64_t deadline_ns =
        mf_deadline_ns(pool->ctx->env, mf_config_u64(pool->ctx->config, MF_OPT_FENCE_MS));
    int rc = SMEM_OK;
    for (uint32_t i = 0; i < pool->tp_count && rc == SMEM_OK; i++) {
        const struct mf_tp *tp = pool->tps[i];
        rc = tp->entry->ops.settle(tp->tp, region->addr, region->size, deadline_ns);
    }
    return rc == SMEM_OK ? rc
                         : mf_err_in(rc, "pool %u: buffer 0x%" PRIx64 " stays registered", pool->id,
                                     region->addr);
}

int mf_pool_user_unregister(struct mf_pool *pool, uint64_t addr)
{
    struct mf_user_region region;
    bool late;
    mf_mutex_lock(&pool->lock);
    struct mf_user_region *known = find_idle_locked(pool, addr, &late);
    if (known != NULL) {
        known->busy = true;
        region = *known;
    }
    mf_mutex_unlock(&pool->lock);
    if (known == NULL) {
        return late ? busy_elsewhere(pool, addr) : SMEM_OK;
    }
    int rc = settle(pool, &region);
    if (rc == SMEM_OK) {
        forget(pool, &region);
    }
    end_busy(pool, addr, rc != SMEM_OK, region.on_device);
    return rc;
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
