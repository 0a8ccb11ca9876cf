// SPDX-License-Identifier: Apache-2.0
// Creating and destroying a pool: agree on the layout, reserve the addresses, choose the
// transports, make this rank's memory; and the reverse.
#include "core/pool.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/err.h"
#include "core/layout.h"
#include "core/restore.h"
#include "smem_bm_def.h"

#define AREA "core"

/* Operators in the order in which they are tried for a pair of ranks. */
static const uint32_t OP_ORDER[] = {
    SMEMB_DATA_OP_SDMA,      SMEMB_DATA_OP_HOST_SHM,    SMEMB_DATA_OP_DEVICE_RDMA,
    SMEMB_DATA_OP_HOST_RDMA, SMEMB_DATA_OP_DEVICE_URMA, SMEMB_DATA_OP_DEVICE_UBOE,
    SMEMB_DATA_OP_HOST_URMA, SMEMB_DATA_OP_HOST_TCP,
};

/* ---- transports
 * ------------------------------------------------------------------------------------ */

static bool has_tp(const struct mf_pool *pool, const struct mf_tp *tp)
{
    for (uint32_t i = 0; i < pool->tp_count; i++) {
        if (pool->tps[i] == tp) {
            return true;
        }
    }
    return false;
}

/* Open what the operators name. One that cannot be had is no failure as long as another can. */
static int choose_transports(struct mf_pool *pool)
{
    struct mf_err_rec first = {.code = SMEM_OK};
    for (size_t i = 0; i < sizeof(OP_ORDER) / sizeof(OP_ORDER[0]); i++) {
        struct mf_tp *tp = NULL;
        if ((pool->data_ops & OP_ORDER[i]) == 0) {
            continue;
        }
        if (mf_ctx_transport(pool->ctx, OP_ORDER[i], &tp) != SMEM_OK) {
            if (first.code == SMEM_OK) {
                mf_err_save(&first);
            }
            mf_log(pool->ctx->env->log, MF_LOG_INFO, AREA, "pool %u: operator 0x%x: %s", pool->id,
                   OP_ORDER[i], mf_err_msg());
        } else if (!has_tp(pool, tp)) {
            pool->tps[pool->tp_count++] = tp;
        }
    }
    if (pool->tp_count > 0) {
        return SMEM_OK;
    }
    if (first.code == SMEM_OK) {
        return mf_err(SMEM_INVALID_PARAM, "no known operator in 0x%x", pool->data_ops);
    }
    first.code = first.code == SMEM_NOT_EXIST ? SMEM_ERROR : first.code;
    mf_err_restore(&first);
    return first.code;
}

/* ---- create
 * ---------------------------------------------------------------------------------------- */

static int enter_list(struct mf_pool *pool)
{
    struct mf_ctx *ctx = pool->ctx;
    int rc = SMEM_OK;
    mf_mutex_lock(&ctx->pools_lock);
    if (ctx->pools[pool->id] != NULL) {
        rc = mf_err(SMEM_DUPLICATED, "this process has pool %u already", pool->id);
    } else {
        ctx->pools[pool->id] = pool;
    }
    mf_mutex_unlock(&ctx->pools_lock);
    return rc;
}

/* Afterwards no callback of a transport holds the pool. */
static void leave_list(struct mf_pool *pool)
{
    struct mf_ctx *ctx = pool->ctx;
    mf_mutex_lock(&ctx->pools_lock);
    if (ctx->pools[pool->id] == pool) {
        ctx->pools[pool->id] = NULL;
    }
    mf_mutex_unlock(&ctx->pools_lock);
    while (atomic_load(&pool->refs) != 0) {
        mf_thread_sleep_ns(50000);
    }
}

static int create_all(struct mf_pool *pool)
{
    struct mf_ctx *ctx = pool->ctx;
    uint64_t deadline_ns = mf_deadline_ns(ctx->env, ctx->create_ms);
    struct mf_layout layout;
    struct mf_layout_want want = {.pool = pool->id,
                                  .rank = ctx->rank,
                                  .world = ctx->world,
                                  .max_hbm = pool->max_bytes[MF_KIND_HBM],
                                  .max_dram = pool->max_bytes[MF_KIND_DRAM],
                                  .wide = pool->wide};
    int rc = choose_transports(pool);
    if (rc == SMEM_OK && atomic_load(&pool->own_bytes[MF_KIND_HBM]) > 0 && ctx->dev == NULL) {
        rc = mf_dev_none(ctx->env, ctx->config, mf_config_str(ctx->config, MF_OPT_DEVICE));
    }
    if (rc == SMEM_OK) {
        rc = mf_layout_negotiate(ctx->store, ctx->config, &want, deadline_ns, &layout);
        pool->announced = rc == SMEM_OK;
    }
    if (rc == SMEM_OK) {
        mf_restore_note(ctx, pool->id, &layout);
        rc = mf_gva_table_init(&pool->table, &layout);
    }
    if (rc == SMEM_OK) {
        rc = mf_pool_space_open(pool);
    }
    if (rc == SMEM_OK) {
        rc = mf_members_init(&pool->members, ctx->world, ctx->rank, ctx->identity.incarnation);
    }
    if (rc == SMEM_OK) {
        pool->changes = mf_calloc(ctx->world, sizeof(*pool->changes), "membership changes");
        pool->placed = mf_calloc(ctx->world, sizeof(*pool->placed), "peers with a place");
        rc = pool->changes == NULL || pool->placed == NULL ? SMEM_MALLOC_FAILED
                                                           : mf_pool_memory_create(pool);
        mf_ctx_memory(ctx, rc);
    }
    if (rc == SMEM_OK) {
        rc = mf_pool_queue_create(pool);
    }
    if (rc == SMEM_OK) {
        rc = mf_pool_requests_create(pool);
    }
    return rc;
}

int mf_pool_create(struct mf_ctx *ctx, const struct mf_pool_cfg *cfg, struct mf_pool **out)
{
    *out = NULL;
    int rc = mf_ctx_check(ctx);
    struct mf_pool *pool = rc == SMEM_OK ? mf_calloc(1, sizeof(*pool), "pool") : NULL;
    if (pool == NULL) {
        return rc != SMEM_OK ? rc : SMEM_MALLOC_FAILED;
    }
    pool->ctx = ctx;
    pool->id = cfg->id;
    pool->tags = cfg->tags;
    if (cfg->tags.count == 0) {
        rc = mf_tags_parse("", 1, "", 1, cfg->data_ops, &pool->tags);
    }
    pool->data_ops = pool->tags.all;
    pool->numa_node = cfg->numa_node;
    pool->wide = cfg->wide;
    memcpy(pool->max_bytes, cfg->max_bytes, sizeof(pool->max_bytes));
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        atomic_init(&pool->own_bytes[kind], cfg->own_bytes[kind]); /* wanted; then what there is */
    }
    pool->dram_fd = cfg->has_fd ? cfg->dram_fd : -1;
    pool->best_effort = cfg->best_effort;
    pool->map_host_va = cfg->map_host_va;
    mf_mutex_init(&pool->op_lock, MF_RANK_CORE);
    mf_mutex_init(&pool->lock, MF_RANK_POOL);
    mf_mutex_init(&pool->table_lock, MF_RANK_LEAF);
    mf_cond_init(&pool->changed);
    mf_notify_init(&pool->notify, ctx->env, ctx->world);
    pool->space = (struct mf_xcopy_space){
        .env = ctx->env,
        .table = &pool->table,
        .dev = ctx->dev,
        .copier = ctx->copier,
        .pool = pool->id,
        .self = ctx->rank,
        .copy_wait_ms = (uint32_t)mf_config_u64(ctx->config, MF_OPT_COPY_WAIT_MS),
        .checked = mf_config_u64(ctx->config, MF_OPT_COPY_CHECKSUM) != 0,
        .resolve = mf_pool_seek,
        .arg = pool,
    };
    rc = rc == SMEM_OK ? enter_list(pool) : rc;
    if (rc == SMEM_OK) {
        rc = create_all(pool);
    }
    if (rc != SMEM_OK) {
        struct mf_err_rec saved;
        mf_err_in(rc, "create pool %u on rank %u", cfg->id, ctx->rank);
        mf_err_save(&saved);
        (void)mf_pool_destroy(pool);
        mf_err_restore(&saved);
        return rc;
    }
    *out = pool;
    return SMEM_OK;
}

int mf_pool_destroy(struct mf_pool *pool)
{
    struct mf_ctx *ctx = pool->ctx;
    uint64_t until_ns = mf_deadline_ns(ctx->env, pool->space.copy_wait_ms);
    if (mf_pool_stop_handler(pool) != SMEM_OK) {
        mf_log(ctx->env->log, MF_LOG_ERROR, AREA, "pool %u is not freed: %s", pool->id,
               mf_err_msg());
        return SMEM_RES_IN_USE;
    }
    if (pool->queue != NULL && mf_queue_destroy(pool->queue, until_ns) != SMEM_OK) {
        /* The copy that hangs would use freed memory: the pool stays, and its id is taken. */
        mf_log(ctx->env->log, MF_LOG_ERROR, AREA, "pool %u is not freed: %s", pool->id,
               mf_err_msg());
        return SMEM_RES_IN_USE;
    }
    pool->queue = NULL;
    if (mf_stream_jobs_destroy(pool->streams, until_ns) != SMEM_OK) {
        mf_log(ctx->env->log, MF_LOG_ERROR, AREA, "pool %u is not freed: %s", pool->id,
               mf_err_msg());
        return SMEM_RES_IN_USE;
    }
    pool->streams = NULL;
    if (mf_req_engine_destroy(pool->requests, until_ns) != SMEM_OK) {
        mf_log(ctx->env->log, MF_LOG_ERROR, AREA, "pool %u is not freed: %s", pool->id,
               mf_err_msg());
        return SMEM_RES_IN_USE;
    }
    pool->requests = NULL;
    int rc = mf_pool_leave(pool, true);
    if (rc == SMEM_RES_IN_USE) {
        /* Bytes of a peer may still land in memory of the user: never said to be over. */
        mf_log(ctx->env->log, MF_LOG_ERROR, AREA, "pool %u is not freed: %s", pool->id,
               mf_err_msg());
        return rc;
    }
    if (rc != SMEM_OK) {
        mf_log(ctx->env->log, MF_LOG_WARN, AREA, "destroy pool %u: %s", pool->id, mf_err_msg());
    }
    leave_list(pool);
    mf_pool_news_reset(pool);
    mf_pool_detach_all(pool); /* peers that came while the pool could still be found */
    mf_pool_memory_destroy(pool);
    mf_pool_space_close(pool);
    uint64_t deadline_ns = mf_ctx_store_deadline(ctx);
    if (pool->announced) {
        mf_restore_forget(ctx, pool->id);
    }
    if (pool->announced && deadline_ns != 0) {
        (void)mf_layout_release(ctx->store, pool->id, ctx->rank, deadline_ns);
    }
    mf_pool_user_fini(pool);
    mf_gva_table_fini(&pool->table);
    mf_members_fini(&pool->members);
    mf_free(pool->changes);
    mf_free((void *)pool->placed);
    mf_notify_fini(&pool->notify);
    mf_cond_fini(&pool->changed);
    mf_mutex_fini(&pool->table_lock);
    mf_mutex_fini(&pool->lock);
    mf_mutex_fini(&pool->op_lock);
    mf_free(pool);
    return SMEM_OK;
}

void mf_pool_close_fds(struct mf_pool *pool)
{
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        const struct mf_own *own = atomic_load(&pool->own[kind].first);
        for (; own != NULL; own = atomic_load(&own->next)) {
            if (own->made) {
                close(own->fd);
            }
        }
    }
}
