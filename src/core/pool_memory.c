// SPDX-License-Identifier: Apache-2.0
// The memory that this rank gives to a pool: made, mapped at its slot, populated, and renewed when
// it leaves, since pages that a peer has seen are never used again.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "core/pool.h"
#include "gva/space.h"

#define AREA "core"

static const char *const KIND_NAME[MF_KIND_COUNT] = {
    [MF_KIND_HBM] = "HBM", [MF_KIND_DRAM] = "DRAM"};

static void describe(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_segment *segment)
{
    mf_gva slot = mf_layout_slot(&pool->table.layout, kind, pool->ctx->rank);
    segment->desc = (struct mf_segment_desc){
        .gva = slot.v,
        .size = pool->own_bytes[kind],
        .incarnation = pool->ctx->identity.incarnation,
        .pool = pool->id,
        .owner = pool->ctx->rank,
        .kind = (uint32_t)kind,
    };
    segment->ops = &pool->tps[0]->entry->ops;
    segment->tp = pool->tps[0]->tp;
    segment->priv = NULL;
    segment->next = NULL;
}

static struct mf_memory_cfg memory_cfg(const struct mf_pool *pool)
{
    return (struct mf_memory_cfg){
        .env = pool->ctx->env,
        .config = pool->ctx->config,
        .size = pool->own_bytes[MF_KIND_DRAM],
        .numa_node = pool->numa_node,
        .what = "memfabric pool",
    };
}

static int take_place(struct mf_pool *pool, enum mf_mem_kind kind, uint64_t *at)
{
    mf_gva slot = mf_layout_slot(&pool->table.layout, kind, pool->ctx->rank);
    return mf_pool_space_take(pool, kind, slot.v, pool->own_bytes[kind], at);
}

static int make_dram(struct mf_pool *pool)
{
    struct mf_own *own = &pool->own[MF_KIND_DRAM];
    struct mf_memory_cfg cfg = memory_cfg(pool);
    uint64_t at = 0;
    int rc = mf_memory_create(&cfg, &own->memory);
    if (rc != SMEM_OK) {
        return rc;
    }
    rc = take_place(pool, MF_KIND_DRAM, &at);
    if (rc == SMEM_OK) {
        rc = mf_space_map(at, cfg.size, own->memory.fd, 0);
    }
    if (rc != SMEM_OK) {
        mf_memory_fini(&own->memory);
        return rc;
    }
    own->fd = own->memory.fd;
    own->fresh = true;
    describe(pool, MF_KIND_DRAM, &own->segment);
    own->segment.host = at;
    return SMEM_OK;
}

static int make_hbm(struct mf_pool *pool)
{
    struct mf_own *own = &pool->own[MF_KIND_HBM];
    struct mf_dev *dev = pool->ctx->dev;
    uint64_t size = pool->own_bytes[MF_KIND_HBM];
    uint64_t at = 0;
    int rc = dev->ops.mem_create(dev->impl, size, &own->dev_mem);
    if (rc != SMEM_OK) {
        return rc;
    }
    rc = dev->ops.mem_export(dev->impl, own->dev_mem, &own->fd);
    if (rc != SMEM_OK) {
        goto destroy_mem;
    }
    rc = take_place(pool, MF_KIND_HBM, &at);
    if (rc == SMEM_OK) {
        rc = dev->ops.map(dev->impl, at, own->dev_mem, 0, size);
    }
    if (rc != SMEM_OK) {
        goto close_fd;
    }
    describe(pool, MF_KIND_HBM, &own->segment);
    own->segment.dev = at;
    return SMEM_OK;

close_fd:
    close(own->fd);
    own->fd = -1;
destroy_mem:
    dev->ops.mem_destroy(dev->impl, own->dev_mem);
    own->dev_mem = NULL;
    return rc;
}

static int make(struct mf_pool *pool, enum mf_mem_kind kind)
{
    if (pool->own_bytes[kind] == 0) {
        return SMEM_OK;
    }
    int rc = kind == MF_KIND_HBM ? make_hbm(pool) : make_dram(pool);
    if (rc != SMEM_OK) {
        return mf_err_in(rc, "%" PRIu64 " bytes of %s", pool->own_bytes[kind], KIND_NAME[kind]);
    }
    mf_mutex_lock(&pool->table_lock);
    rc = mf_gva_table_add(&pool->table, &pool->own[kind].segment);
    mf_mutex_unlock(&pool->table_lock);
    MF_ASSERT(rc == SMEM_OK); /* nothing else can be in our own slot */
    return SMEM_OK;
}

/* The segment is in no table any more. Its pages go back to the machine at once. */
static void unmake(struct mf_pool *pool, enum mf_mem_kind kind)
{
    struct mf_own *own = &pool->own[kind];
    struct mf_dev *dev = pool->ctx->dev;
    if (own->segment.desc.size == 0) {
        return;
    }
    if (kind == MF_KIND_DRAM) {
        /* A hole of huge pages would kill a peer that still loads from it when none are left: these
         * are free when the last process has let go of them. */
        bool punch = !own->memory.user_fd && own->memory.pages != MF_PAGES_HUGE_2M;
        if (punch && mf_memory_punch(&own->memory) != SMEM_OK) {
            mf_log(pool->ctx->env->log, MF_LOG_WARN, AREA, "pool %u: %s", pool->id, mf_err_msg());
        }
        (void)mf_pool_space_clear(pool, kind, own->segment.desc.gva, own->segment.desc.size, false);
        mf_memory_fini(&own->memory);
    } else {
        (void)dev->ops.unmap(dev->impl, own->segment.dev, own->segment.desc.size);
        (void)dev->ops.mem_punch(dev->impl, own->dev_mem);
        dev->ops.mem_destroy(dev->impl, own->dev_mem);
        close(own->fd);
        own->dev_mem = NULL;
    }
    own->fd = -1;
    own->segment.desc.size = 0;
}

static void take_down(struct mf_pool *pool, enum mf_mem_kind kind)
{
    if (pool->own[kind].segment.desc.size > 0) {
        mf_mutex_lock(&pool->table_lock);
        mf_gva_table_remove(&pool->table, &pool->own[kind].segment);
        mf_mutex_unlock(&pool->table_lock);
    }
}

int mf_pool_memory_populate(struct mf_pool *pool)
{
    struct mf_own *own = &pool->own[MF_KIND_DRAM];
    struct mf_memory_cfg cfg = memory_cfg(pool);
    if (own->segment.desc.size == 0 || !own->fresh) {
        return SMEM_OK;
    }
    int rc = mf_memory_populate(&cfg, &own->memory, own->segment.host);
    if (rc != SMEM_OK) {
        return mf_err_in(rc, "%" PRIu64 " bytes of DRAM", cfg.size);
    }
    own->fresh = false;
    return SMEM_OK;
}

int mf_pool_memory_create(struct mf_pool *pool)
{
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        int rc = make(pool, (enum mf_mem_kind)kind);
        if (rc != SMEM_OK) {
            return rc;
        }
    }
    return mf_pool_memory_populate(pool);
}

int mf_pool_memory_renew(struct mf_pool *pool, bool last)
{
    int rc = SMEM_OK;
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        take_down(pool, (enum mf_mem_kind)kind);
    }
    /* A call that still holds one of the segments has to end before the objects are used again. */
    uint64_t deadline_ns =
        mf_deadline_ns(pool->ctx->env, mf_config_u64(pool->ctx->config, MF_OPT_FENCE_MS));
    if (mf_threads_quiesce(pool->ctx->threads, deadline_ns) != SMEM_OK) {
        mf_log(pool->ctx->env->log, MF_LOG_WARN, AREA, "pool %u: %s", pool->id, mf_err_msg());
    }
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        unmake(pool, (enum mf_mem_kind)kind);
        if (!last && rc == SMEM_OK) {
            rc = make(pool, (enum mf_mem_kind)kind);
        }
    }
    return rc;
}

void mf_pool_memory_destroy(struct mf_pool *pool)
{
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        take_down(pool, (enum mf_mem_kind)kind);
        unmake(pool, (enum mf_mem_kind)kind);
    }
}
