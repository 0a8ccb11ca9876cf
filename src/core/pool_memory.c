// SPDX-License-Identifier: Apache-2.0
// The memory that this rank gives to a pool, piece by piece: made, mapped at its slot, populated,
// and renewed when it leaves, since pages that a peer has seen are never used again. Memory behind
// a descriptor of the user is the exception: it is his, so it is neither renewed nor given back.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/err.h"
#include "core/pool.h"
#include "gva/space.h"

#define AREA "core"

static const char *const KIND_NAME[MF_KIND_COUNT] = {
    [MF_KIND_HBM] = "HBM", [MF_KIND_DRAM] = "DRAM"};

static struct mf_own *first_of(struct mf_pool *pool, enum mf_mem_kind kind)
{
    return atomic_load(&pool->own[kind].first);
}

static struct mf_own *next_of(struct mf_own *own)
{
    return atomic_load(&own->next);
}

static uint64_t gva_of(const struct mf_pool *pool, enum mf_mem_kind kind, const struct mf_own *own)
{
    return mf_layout_slot(&pool->table.layout, kind, pool->ctx->rank).v + own->offset;
}

static void describe(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_own *own)
{
    struct mf_segment *segment = &own->segment;
    *segment = (struct mf_segment){
        .desc =
            {
                .gva = gva_of(pool, kind, own),
                .size = own->size,
                .incarnation = pool->ctx->identity.incarnation,
                .pool = pool->id,
                .owner = pool->ctx->rank,
                .kind = (uint32_t)kind,
            },
        .ops = &pool->tps[0]->entry->ops,
        .tp = pool->tps[0]->tp,
    };
}

static struct mf_memory_cfg memory_cfg(const struct mf_pool *pool, uint64_t size)
{
    return (struct mf_memory_cfg){
        .env = pool->ctx->env,
        .config = pool->ctx->config,
        .size = size,
        .numa_node = pool->numa_node,
        .what = "memfabric pool",
    };
}

/* ---- one piece
 * ------------------------------------------------------------------------------------------- */

static int make_dram(struct mf_pool *pool, struct mf_own *own)
{
    struct mf_memory_cfg cfg = memory_cfg(pool, own->size);
    uint64_t at = 0;
    int rc = pool->dram_fd >= 0 ? mf_memory_adopt(&cfg, pool->dram_fd, &own->memory)
                                : mf_memory_create(&cfg, &own->memory);
    if (rc != SMEM_OK) {
        return rc;
    }
    rc = mf_pool_space_take(pool, MF_KIND_DRAM, gva_of(pool, MF_KIND_DRAM, own), own->size, &at);
    if (rc == SMEM_OK) {
        rc = mf_space_map(at, cfg.size, own->memory.fd, 0);
    }
    if (rc != SMEM_OK) {
        mf_memory_fini(&own->memory);
        return rc;
    }
    own->fd = own->memory.fd;
    own->fresh = true;
    describe(pool, MF_KIND_DRAM, own);
    own->segment.host = at;
    return SMEM_OK;
}

static int make_hbm(struct mf_pool *pool, struct mf_own *own)
{
    struct mf_dev *dev = pool->ctx->dev;
    uint64_t at = 0;
    int rc = dev->ops.mem_create(dev->impl, own->size, &own->dev_mem);
    if (rc != SMEM_OK) {
        return rc;
    }
    rc = dev->ops.mem_export(dev->impl, own->dev_mem, &own->fd);
    if (rc != SMEM_OK) {
        goto destroy_mem;
    }
    rc = mf_pool_space_take(pool, MF_KIND_HBM, gva_of(pool, MF_KIND_HBM, own), own->size, &at);
    if (rc == SMEM_OK) {
        rc = dev->ops.map(dev->impl, at, own->dev_mem, 0, own->size);
    }
    if (rc != SMEM_OK) {
        goto close_fd;
    }
    describe(pool, MF_KIND_HBM, own);
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

static int make(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_own *own)
{
    int rc = kind == MF_KIND_HBM ? make_hbm(pool, own) : make_dram(pool, own);
    own->made = rc == SMEM_OK;
    return own->made ? rc : mf_err_in(rc, "%" PRIu64 " bytes of %s", own->size, KIND_NAME[kind]);
}

/* Memory of ours goes back to the machine at once. */
static void unmake_dram(struct mf_pool *pool, struct mf_own *own)
{
    struct mf_dev *dev = pool->ctx->dev;
    const struct mf_segment_desc *desc = &own->segment.desc;
    /* A hole of huge pages would kill a peer that still loads from it when none are left: these
     * are free when the last process has let go of them. */
    bool punch = !own->memory.user_fd && own->memory.pages != MF_PAGES_HUGE_2M;
    if (own->on_device) {
        (void)dev->ops.host_unregister(dev->impl, (void *)(uintptr_t)own->segment.host);
        own->on_device = false;
    }
    if (punch && mf_memory_punch(&own->memory) != SMEM_OK) {
        mf_log(pool->ctx->env->log, MF_LOG_WARN, AREA, "pool %u: %s", pool->id, mf_err_msg());
    }
    (void)mf_pool_space_clear(pool, MF_KIND_DRAM, desc->gva, desc->size, false);
    mf_memory_fini(&own->memory);
}

/* The segment is in no table any more. */
static void unmake(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_own *own)
{
    struct mf_dev *dev = pool->ctx->dev;
    if (!own->made) {
        return;
    }
    if (kind == MF_KIND_DRAM) {
        unmake_dram(pool, own);
    } else {
        (void)dev->ops.unmap(dev->impl, own->segment.dev, own->segment.desc.size);
        (void)mf_pool_space_clear(pool, kind, own->segment.desc.gva, own->size, false);
        (void)dev->ops.mem_punch(dev->impl, own->dev_mem);
        dev->ops.mem_destroy(dev->impl, own->dev_mem);
        close(own->fd);
        own->dev_mem = NULL;
    }
    own->fd = -1;
    own->made = false;
}

static int list(struct mf_pool *pool, struct mf_own *own)
{
    mf_mutex_lock(&pool->table_lock);
    int rc = mf_gva_table_add(&pool->table, &own->segment);
    mf_mutex_unlock(&pool->table_lock);
    own->listed = rc == SMEM_OK;
    return rc;
}

static void unlist(struct mf_pool *pool, struct mf_own *own)
{
    if (own->listed) {
        mf_mutex_lock(&pool->table_lock);
        mf_gva_table_remove(&pool->table, &own->segment);
        mf_mutex_unlock(&pool->table_lock);
        own->listed = false;
    }
}

/* SMEM_BM_FLAG_DRAM_MAP_HOST_VA: the device uses the host's address. One that needs no registration
 * has no function for it. */
static int map_for_device(struct mf_pool *pool, struct mf_own *own)
{
    struct mf_dev *dev = pool->ctx->dev;
    if (!pool->map_host_va || dev == NULL) {
        return SMEM_OK;
    }
    int rc = dev->ops.host_register(dev->impl, (void *)(uintptr_t)own->segment.host, own->size);
    if (rc != SMEM_OK && rc != SMEM_NOT_EXIST) {
        return mf_err_in(rc, "SMEM_BM_FLAG_DRAM_MAP_HOST_VA: device %s", dev->info.name);
    }
    own->on_device = rc == SMEM_OK;
    if (rc != SMEM_OK) {
        mf_err_clear();
    }
    mf_mutex_lock(&pool->table_lock);
    own->segment.dev = own->segment.host;
    mf_mutex_unlock(&pool->table_lock);
    return SMEM_OK;
}

static int populate(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_own *own)
{
    struct mf_memory_cfg cfg = memory_cfg(pool, own->size);
    if (kind != MF_KIND_DRAM || !own->fresh) {
        return SMEM_OK;
    }
    int rc = mf_memory_populate(&cfg, &own->memory, own->segment.host);
    if (rc == SMEM_OK) {
        rc = map_for_device(pool, own);
    }
    if (rc != SMEM_OK) {
        return mf_err_in(rc, "%" PRIu64 " bytes of DRAM", cfg.size);
    }
    own->fresh = false;
    return SMEM_OK;
}

/* ---- the list of pieces
 * ----------------------------------------------------------------------------------- */

static void append(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_own *own)
{
    struct mf_own_list *pieces = &pool->own[kind];
    _Atomic(struct mf_own *) *at = &pieces->first;
    while (atomic_load(at) != NULL) {
        at = &atomic_load(at)->next;
    }
    atomic_store(at, own);
    pieces->count++;
    atomic_fetch_add(&pool->own_bytes[kind], own->size);
}

static void take_out(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_own *own)
{
    struct mf_own_list *pieces = &pool->own[kind];
    _Atomic(struct mf_own *) *at = &pieces->first;
    while (atomic_load(at) != own) {
        at = &atomic_load(at)->next;
    }
    atomic_store(at, next_of(own));
    pieces->count--;
    atomic_fetch_sub(&pool->own_bytes[kind], own->size);
}

int mf_pool_memory_add(struct mf_pool *pool, enum mf_mem_kind kind, uint64_t size,
                       struct mf_own **out)
{
    struct mf_own *own = mf_calloc(1, sizeof(*own), "piece of a pool");
    *out = NULL;
    if (own == NULL) {
        return SMEM_MALLOC_FAILED;
    }
    own->offset = atomic_load(&pool->own_bytes[kind]);
    own->size = size;
    own->fd = -1;
    int rc = make(pool, kind, own);
    if (rc == SMEM_OK) {
        rc = populate(pool, kind, own);
    }
    if (rc == SMEM_OK) {
        rc = list(pool, own);
    }
    if (rc != SMEM_OK) {
        unmake(pool, kind, own);
        mf_free(own);
        return rc;
    }
    append(pool, kind, own);
    *out = own;
    return SMEM_OK;
}

void mf_pool_memory_drop(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_own *own)
{
    uint64_t deadline_ns =
        mf_deadline_ns(pool->ctx->env, mf_config_u64(pool->ctx->config, MF_OPT_FENCE_MS));
    take_out(pool, kind, own);
    unlist(pool, own);
    if (mf_threads_quiesce(pool->ctx->threads, deadline_ns) != SMEM_OK) {
        mf_log(pool->ctx->env->log, MF_LOG_WARN, AREA, "pool %u: %s", pool->id, mf_err_msg());
        unmake(pool, kind, own);
        atomic_store(&own->next, pool->graves);
        pool->graves = own;
        return;
    }
    unmake(pool, kind, own);
    mf_free(own);
}

/* ---- all of it
 * -------------------------------------------------------------------------------------------- */

/* As much as there is, when that is less than `want`. */
static int add_what_there_is(struct mf_pool *pool, uint64_t want)
{
    struct mf_memory_cfg cfg = memory_cfg(pool, want);
    struct mf_own *own = NULL;
    char why[512];
    uint64_t size = mf_memory_fit(&cfg, why, sizeof(why));
    size = size < MF_PAGE_LARGE ? MF_PAGE_LARGE : size;
    int rc = mf_pool_memory_add(pool, MF_KIND_DRAM, size, &own);
    while (rc == SMEM_MALLOC_FAILED && size > MF_PAGE_LARGE) {
        snprintf(why, sizeof(why), "%s", mf_err_msg());
        size = size / 2 / MF_PAGE_LARGE * MF_PAGE_LARGE;
        rc = mf_pool_memory_add(pool, MF_KIND_DRAM, size, &own);
    }
    if (rc == SMEM_OK && size < want) {
        mf_log(pool->ctx->env->log, MF_LOG_WARN, AREA,
               "pool %u: rank %u gives %" PRIu64 " bytes of DRAM instead of %" PRIu64
               " (SMEM_BM_FLAG_DRAM_BEST_EFFORT): %s",
               pool->id, pool->ctx->rank, size, want, why);
    }
    return rc == SMEM_OK ? rc
                         : mf_err_in(rc, "not even the least of SMEM_BM_FLAG_DRAM_BEST_EFFORT");
}

static int create_kind(struct mf_pool *pool, enum mf_mem_kind kind, uint64_t want)
{
    struct mf_own *own = NULL;
    if (want == 0) {
        return SMEM_OK;
    }
    return kind == MF_KIND_DRAM && pool->best_effort && pool->dram_fd < 0
               ? add_what_there_is(pool, want)
               : mf_pool_memory_add(pool, kind, want, &own);
}

int mf_pool_memory_create(struct mf_pool *pool)
{
    int rc = mf_memory_check_node(pool->numa_node);
    for (int kind = 0; kind < MF_KIND_COUNT && rc == SMEM_OK; kind++) {
        uint64_t want = atomic_exchange(&pool->own_bytes[kind], 0);
        rc = create_kind(pool, (enum mf_mem_kind)kind, want);
    }
    pool->dram_fd = -1; /* the piece has its own */
    return rc;
}

/* Memory that a leave could not lay down anew is tried once more. */
static int remake(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_own *own)
{
    int rc = own->made ? SMEM_OK : make(pool, kind, own);
    if (rc == SMEM_OK && !own->listed) {
        rc = list(pool, own);
        MF_ASSERT(rc == SMEM_OK); /* nothing else can be in our own slot */
    }
    return rc;
}

int mf_pool_memory_populate(struct mf_pool *pool)
{
    int rc = SMEM_OK;
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        struct mf_own *own = first_of(pool, (enum mf_mem_kind)kind);
        for (; own != NULL && rc == SMEM_OK; own = next_of(own)) {
            rc = remake(pool, (enum mf_mem_kind)kind, own);
            if (rc == SMEM_OK) {
                rc = populate(pool, (enum mf_mem_kind)kind, own);
            }
        }
    }
    return rc;
}

int mf_pool_memory_renew(struct mf_pool *pool, bool last)
{
    int rc = SMEM_OK;
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        struct mf_own *own = first_of(pool, (enum mf_mem_kind)kind);
        for (; own != NULL; own = next_of(own)) {
            unlist(pool, own);
        }
    }
    /* A call that still holds one of the segments has to end before the objects are used again. */
    uint64_t deadline_ns =
        mf_deadline_ns(pool->ctx->env, mf_config_u64(pool->ctx->config, MF_OPT_FENCE_MS));
    if (mf_threads_quiesce(pool->ctx->threads, deadline_ns) != SMEM_OK) {
        mf_log(pool->ctx->env->log, MF_LOG_WARN, AREA, "pool %u: %s", pool->id, mf_err_msg());
    }
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        struct mf_own *own = first_of(pool, (enum mf_mem_kind)kind);
        for (; own != NULL; own = next_of(own)) {
            if (last || !own->memory.user_fd) {
                unmake(pool, (enum mf_mem_kind)kind, own);
            }
            if (!last && rc == SMEM_OK) {
                rc = remake(pool, (enum mf_mem_kind)kind, own);
            }
        }
    }
    return rc;
}

static void free_pieces(struct mf_pool *pool, enum mf_mem_kind kind)
{
    struct mf_own *own = first_of(pool, kind);
    atomic_store(&pool->own[kind].first, NULL);
    while (own != NULL) {
        struct mf_own *next = next_of(own);
        unlist(pool, own);
        unmake(pool, kind, own);
        mf_free(own);
        own = next;
    }
}

void mf_pool_memory_destroy(struct mf_pool *pool)
{
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        free_pieces(pool, (enum mf_mem_kind)kind);
    }
    while (pool->graves != NULL) {
        struct mf_own *own = pool->graves;
        pool->graves = next_of(own);
        mf_free(own);
    }
}
