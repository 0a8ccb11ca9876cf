// SPDX-License-Identifier: Apache-2.0
// The services of core for a transport instance. Called from the loop's thread and from threads
// that attach; none of them blocks, but for quiesce.
#include "core/host.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/plugin.h"
#include "core/pool.h"
#include "xcopy/checksum.h"

static struct mf_ctx *ctx_of(void *arg)
{
    return ((struct mf_tp *)arg)->ctx;
}

static void host_copy(void *arg, void *dst, const void *src, size_t size)
{
    mf_cpu_copy(ctx_of(arg)->copier, dst, src, size);
}

static void host_copy_bulk(void *arg, void *dst, const void *src, size_t size)
{
    mf_cpu_copy_bulk(ctx_of(arg)->copier, dst, src, size);
}

static int host_copy_checked(void *arg, struct mf_xfer *x, uint64_t offset, void *dst,
                             const void *src, size_t size)
{
    struct mf_ctx *ctx = ctx_of(arg);
    struct mf_checksum_bad bad;
    x->flags |= MF_XFER_CHECKED;
    if (mf_checksum_copy(ctx->copier, dst, src, size, &bad)) {
        return SMEM_OK;
    }
    const struct mf_segment *segment = x->dst_seg ? x->dst_seg : x->src_seg;
    struct mf_pool *pool = segment ? mf_ctx_pool_get(ctx, segment->desc.pool) : NULL;
    bad.offset += offset;
    int rc = mf_checksum_err(pool ? &pool->table.layout : NULL, x, &bad);
    if (pool != NULL) {
        mf_pool_put(pool);
    }
    return rc;
}

static int host_place(void *arg, const struct mf_segment_desc *desc, uint64_t *host)
{
    struct mf_pool *pool = mf_ctx_pool_get(ctx_of(arg), desc->pool);
    if (pool == NULL) {
        return mf_err(SMEM_NOT_EXIST, "segment of rank %u: this rank has no pool %u", desc->owner,
                      desc->pool);
    }
    int rc = mf_pool_place(pool, desc, host);
    mf_pool_put(pool);
    return rc;
}

static int host_unplace(void *arg, const struct mf_segment_desc *desc, int dead)
{
    struct mf_pool *pool = mf_ctx_pool_get(ctx_of(arg), desc->pool);
    if (pool == NULL) {
        return SMEM_OK; /* its range is released with it */
    }
    int rc = mf_pool_unplace(pool, desc, dead != 0);
    mf_pool_put(pool);
    return rc;
}

static int host_segment_up(void *arg, struct mf_segment *segment)
{
    struct mf_pool *pool = mf_ctx_pool_get(ctx_of(arg), segment->desc.pool);
    if (pool == NULL) {
        return mf_err(SMEM_NOT_EXIST, "segment of rank %u: this rank has no pool %u",
                      segment->desc.owner, segment->desc.pool);
    }
    const struct mf_tp *tp = arg;
    segment->ops = &tp->entry->ops; /* the complete table, not the plug-in's own */
    segment->tp = tp->tp;
    int rc = mf_pool_segment_up(pool, segment);
    mf_pool_put(pool);
    return rc;
}

static void host_segment_down(void *arg, struct mf_segment *segment)
{
    struct mf_pool *pool = mf_ctx_pool_get(ctx_of(arg), segment->desc.pool);
    if (pool != NULL) {
        mf_pool_segment_down(pool, segment);
        mf_pool_put(pool);
    }
}

static int host_quiesce(void *arg, uint64_t deadline_ns)
{
    return mf_threads_quiesce(ctx_of(arg)->threads, deadline_ns);
}

/* ---- deaths ------------------------------------------------------------------------------------
 */

struct death {
    struct mf_ctx *ctx;
    uint32_t rank;
    uint64_t incarnation;
    char why[128];
};

static void run_death(void *arg)
{
    struct death *death = arg;
    mf_pools_peer_dead(death->ctx, death->rank, death->incarnation, death->why);
    mf_free(death);
}

static void host_peer_dead(void *arg, uint32_t rank, uint64_t incarnation, const char *why)
{
    struct mf_ctx *ctx = ctx_of(arg);
    if (mf_loop_is_current(ctx->loop)) {
        mf_pools_peer_dead(ctx, rank, incarnation, why);
        return;
    }
    struct death *death = mf_calloc(1, sizeof(*death), "news of a death");
    if (death == NULL) {
        return; /* the store's session of that rank will end, too */
    }
    death->ctx = ctx;
    death->rank = rank;
    death->incarnation = incarnation;
    snprintf(death->why, sizeof(death->why), "%s", why);
    if (mf_loop_post(ctx->loop, run_death, death) != SMEM_OK) {
        mf_free(death);
    }
}

/* ---- readable descriptors -----------------------------------------------------------------------
 */

static int host_watch_fd(void *arg, int fd, void (*fn)(void *fn_arg), void *fn_arg, void **out)
{
    struct mf_fd_watch *watch = NULL;
    int rc = mf_loop_watch_fd(ctx_of(arg)->loop, fd, fn, fn_arg, &watch);
    *out = watch;
    return rc;
}

static void host_unwatch_fd(void *arg, void *watch)
{
    (void)arg;
    mf_loop_unwatch_fd(watch);
}

/* Whether peers' DRAM is mapped: the option peer.map. */
static int peer_map_flags(const struct mf_config *config, uint32_t *flags)
{
    const char *text = mf_config_str(config, MF_OPT_PEER_MAP);
    *flags = strcmp(text, "never") == 0 ? MF_HOST_PEERS_UNMAPPED : 0;
    return *flags || strcmp(text, "auto") == 0
               ? SMEM_OK
               : mf_err(SMEM_INVALID_PARAM, "option peer.map is \"%s\": auto and never are allowed",
                        text);
}

int mf_host_init(struct mf_tp *tp)
{
    struct mf_ctx *ctx = tp->ctx;
    uint32_t flags = 0;
    int rc = peer_map_flags(ctx->config, &flags);
    if (rc != SMEM_OK) {
        return rc;
    }
    mf_plugin_host_init(&tp->plugin, ctx->env);
    tp->host = (struct mf_transport_host){
        .size = sizeof(tp->host),
        .plugin = &tp->plugin,
        .arg = tp,
        .rank = ctx->rank,
        .world = ctx->world,
        .incarnation = ctx->identity.incarnation,
        .world_id = ctx->world_id,
        .device = ctx->dev != NULL ? &ctx->dev->ops : NULL,
        .device_impl = ctx->dev != NULL ? ctx->dev->impl : NULL,
        .random_token = {mf_random_u64(ctx->env), mf_random_u64(ctx->env)},
        .copy = host_copy,
        .copy_bulk = host_copy_bulk,
        .place = host_place,
        .unplace = host_unplace,
        .segment_up = host_segment_up,
        .segment_down = host_segment_down,
        .quiesce = host_quiesce,
        .peer_dead = host_peer_dead,
        .watch_fd = host_watch_fd,
        .unwatch_fd = host_unwatch_fd,
        .copy_checked = mf_config_u64(ctx->config, MF_OPT_COPY_CHECKSUM) ? host_copy_checked : NULL,
        .flags = flags,
    };
    return SMEM_OK;
}
