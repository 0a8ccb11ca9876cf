// SPDX-License-Identifier: Apache-2.0
// Putting back what a restarted config store has lost. Each rank does so; whoever comes first
// writes, the others find it there. All by compare-and-swap: a look, a change, and again when
// somebody else was faster.
#include "core/restore.h"

#include <string.h>

#include "base/err.h"

#define AREA      "core"
#define WORLD_KEY "world/info"
#define MAP_KEY   "gva/map"
/* Every change by another rank is one that this rank need not make: few are left after some. */
#define TRIES_MAX 64u

static void submit(struct mf_ctx *ctx, const struct mf_store_req *req, mf_store_done_fn done)
{
    if (ctx->store->ops->submit(ctx->store, req, done, ctx) != SMEM_OK) {
        mf_log(ctx->env->log, MF_LOG_WARN, AREA, "restore %s in the config store: %s", req->key,
               mf_err_msg());
        mf_err_clear();
    }
}

/* ---- the world ---------------------------------------------------------------------------------
 */

static void swap_world(struct mf_ctx *ctx, const void *was, size_t was_len);

static void on_world(void *arg, const struct mf_store_rsp *rsp)
{
    struct mf_ctx *ctx = arg;
    struct mf_rec_world there;
    if (rsp->rc != SMEM_OK || rsp->swapped ||
        (rsp->value != NULL && mf_rec_get_world(rsp->value, rsp->value_len, &there) == SMEM_OK &&
         there.world_id == ctx->world_id)) {
        return;
    }
    swap_world(ctx, rsp->value, rsp->value_len);
}

static void swap_world(struct mf_ctx *ctx, const void *was, size_t was_len)
{
    uint8_t buf[MF_RECORD_MAX];
    struct mf_rec_world mine = {.world_id = ctx->world_id, .world_size = ctx->world};
    struct mf_store_req req = {.op = MF_STORE_CAS,
                               .key = WORLD_KEY,
                               .value = buf,
                               .value_len = mf_rec_put_world(buf, &mine),
                               .expect = was,
                               .expect_len = was_len};
    if (ctx->restore_tries++ < TRIES_MAX) {
        submit(ctx, &req, on_world);
    }
}

/* ---- the pools ---------------------------------------------------------------------------------
 */

static uint64_t end_of(const struct mf_rec_layout *rec)
{
    return rec->base + rec->world * (rec->max_hbm + rec->max_dram);
}

static bool same(const struct mf_rec_layout *a, const struct mf_rec_layout *b)
{
    return a->base == b->base && a->max_hbm == b->max_hbm && a->max_dram == b->max_dram &&
           a->world == b->world;
}

/* Put one layout into the map, in place of what contradicts it. False: it is there already. */
static bool merge(struct mf_rec_map *map, const struct mf_rec_layout *mine)
{
    uint32_t kept = 0;
    bool there = false;
    for (uint32_t i = 0; i < map->count; i++) {
        const struct mf_rec_layout *rec = &map->v[i];
        bool ours = rec->pool == mine->pool && same(rec, mine);
        if (ours ||
            (rec->pool != mine->pool && (rec->base >= end_of(mine) || mine->base >= end_of(rec)))) {
            there = there || ours;
            map->v[kept++] = *rec;
        }
    }
    map->count = kept;
    if (!there && kept < MF_POOLS_MAX) {
        map->v[map->count++] = *mine;
    }
    return !there;
}

static void merge_map(struct mf_ctx *ctx, const void *was, size_t was_len);

static void on_map(void *arg, const struct mf_store_rsp *rsp)
{
    if (rsp->rc == SMEM_OK && !rsp->swapped) {
        merge_map(arg, rsp->value, rsp->value_len);
    }
}

static void merge_map(struct mf_ctx *ctx, const void *was, size_t was_len)
{
    uint8_t buf[MF_RECORD_MAX];
    struct mf_rec_map map = {.count = 0};
    bool changed = false;
    if (was != NULL && mf_rec_get_map(was, was_len, &map) != SMEM_OK) {
        mf_log(ctx->env->log, MF_LOG_WARN, AREA, "restore the map of pools: %s", mf_err_msg());
        mf_err_clear();
        return;
    }
    mf_mutex_lock(&ctx->pools_lock);
    for (uint32_t i = 0; i < ctx->layouts.count; i++) {
        changed = merge(&map, &ctx->layouts.v[i]) || changed;
    }
    mf_mutex_unlock(&ctx->pools_lock);
    struct mf_store_req req = {.op = MF_STORE_CAS,
                               .key = MAP_KEY,
                               .value = buf,
                               .value_len = mf_rec_put_map(buf, &map),
                               .expect = was,
                               .expect_len = was_len};
    if (changed && ctx->restore_tries++ < TRIES_MAX) {
        submit(ctx, &req, on_map);
    }
}

/* A get answers that the key does not exist, or with its value. */
static void on_first_look(void *arg, const struct mf_store_rsp *rsp)
{
    if (rsp->rc == SMEM_OK || rsp->rc == SMEM_NOT_EXIST) {
        merge_map(arg, rsp->rc == SMEM_OK ? rsp->value : NULL, rsp->value_len);
    }
}

/* ---- shared ------------------------------------------------------------------------------------
 */

void mf_restore_start(struct mf_ctx *ctx)
{
    struct mf_store_req look = {.op = MF_STORE_GET, .key = MAP_KEY};
    ctx->restore_tries = 0;
    if (ctx->world_id == 0) {
        return; /* it has not entered yet, and nothing of the store is its business */
    }
    swap_world(ctx, NULL, 0);
    submit(ctx, &look, on_first_look);
}

static void forget_locked(struct mf_rec_map *map, uint32_t pool)
{
    for (uint32_t i = 0; i < map->count; i++) {
        if (map->v[i].pool == pool) {
            map->v[i] = map->v[--map->count];
            return;
        }
    }
}

void mf_restore_note(struct mf_ctx *ctx, uint32_t pool, const struct mf_layout *layout)
{
    mf_mutex_lock(&ctx->pools_lock);
    forget_locked(&ctx->layouts, pool);
    ctx->layouts.v[ctx->layouts.count++] =
        (struct mf_rec_layout){.pool = pool,
                               .base = layout->kind_base[MF_KIND_HBM].v,
                               .max_hbm = layout->max_bytes[MF_KIND_HBM],
                               .max_dram = layout->max_bytes[MF_KIND_DRAM],
                               .world = layout->world};
    mf_mutex_unlock(&ctx->pools_lock);
}

void mf_restore_forget(struct mf_ctx *ctx, uint32_t pool)
{
    mf_mutex_lock(&ctx->pools_lock);
    forget_locked(&ctx->layouts, pool);
    mf_mutex_unlock(&ctx->pools_lock);
}
