// SPDX-License-Identifier: Apache-2.0
// Opening and closing a context: the store, the world, the rank, the device, the transports.
#include "core/context.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "core/host.h"
#include "core/pool.h"
#include "core/restore.h"
#include "core/world.h"
#include "store/collective.h"

#define AREA "core"

int mf_ctx_check(const struct mf_ctx *ctx)
{
    if (__builtin_expect(!atomic_load_explicit(&ctx->expired, memory_order_relaxed), 1)) {
        return SMEM_OK;
    }
    return mf_err(SMEM_NOT_CONNECTED,
                  "rank %u was declared dead (its session with the config store ended): its memory "
                  "and its place are lost; call smem_bm_uninit and smem_bm_init to come back",
                  ctx->rank);
}

void mf_ctx_expire(struct mf_ctx *ctx, const char *why)
{
    if (!atomic_exchange(&ctx->expired, true)) {
        mf_log_alarm(ctx->env->log, MF_ALARM_SELF_EXPIRED, "rank %u was declared dead: %s",
                     ctx->rank, why);
    }
}

/* ---- the store ----------------------------------------------------------------------------------
 */

/* Is the host part of the URL an address of this machine? */
static bool is_local_host(const struct mf_store_url *url)
{
    struct ifaddrs *list = NULL;
    bool local = strcmp(url->host, "0.0.0.0") == 0 || strcmp(url->host, "::") == 0 ||
                 strncmp(url->host, "127.", 4) == 0 || strcmp(url->host, "::1") == 0;
    if (local || getifaddrs(&list) != 0) {
        return local;
    }
    for (const struct ifaddrs *i = list; i != NULL && !local; i = i->ifa_next) {
        char text[INET6_ADDRSTRLEN] = "";
        if (i->ifa_addr != NULL && i->ifa_addr->sa_family == AF_INET) {
            const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)i->ifa_addr;
            inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        } else if (i->ifa_addr != NULL && i->ifa_addr->sa_family == AF_INET6) {
            const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)i->ifa_addr;
            inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        }
        local = strcmp(text, url->host) == 0;
    }
    freeifaddrs(list);
    return local;
}

/* Host the store when that is this process's part. Somebody else who serves there already is fine.
 */
static int serve_store(struct mf_ctx *ctx, const struct mf_ctx_cfg *cfg)
{
    struct mf_store_url url;
    int rc = mf_store_url_parse(cfg->url, &url);
    if (rc != SMEM_OK) {
        return rc;
    }
    bool mine =
        cfg->serve_only ||
        (cfg->serve && (cfg->rank == 0 || (cfg->rank == MF_RANK_AUTO && is_local_host(&url))));
    if (!mine) {
        return SMEM_OK;
    }
    rc = mf_store_server_create(ctx->env, cfg->url,
                                (uint32_t)mf_config_u64(ctx->config, MF_OPT_STORE_SETTLE_MS),
                                &ctx->server);
    if (rc == SMEM_RES_IN_USE && !cfg->serve_only) {
        mf_log(ctx->env->log, MF_LOG_INFO, AREA,
               "the config store is served by another process: %s", mf_err_msg());
        mf_err_clear();
        return SMEM_OK;
    }
    return rc;
}

static void on_session(void *arg, enum mf_session_state state, const char *why)
{
    struct mf_ctx *ctx = arg;
    if (state == MF_SESSION_EXPIRED) {
        mf_ctx_expire(ctx, why);
    } else if (state == MF_SESSION_LOST) {
        ctx->store_lost = true;
        mf_log_alarm(
            ctx->env->log, MF_ALARM_STORE_LOST,
            "rank %u cannot reach the config store (%s): copies go on, joins and leaves wait",
            ctx->rank, why);
    } else if (ctx->store_lost) {
        ctx->store_lost = false;
        mf_log_resume(ctx->env->log, MF_ALARM_STORE_LOST);
        mf_restore_start(ctx);
    }
}

uint64_t mf_ctx_store_deadline(const struct mf_ctx *ctx)
{
    return atomic_load(&ctx->store_lost) ? 0 : mf_deadline_ns(ctx->env, 1000);
}

static int open_store(struct mf_ctx *ctx, const struct mf_ctx_cfg *cfg, uint64_t deadline_ns)
{
    struct mf_store_cfg store = {
        .env = ctx->env,
        .loop = ctx->loop,
        .session_id = ctx->identity.incarnation,
        .session_ms = (uint32_t)mf_config_u64(ctx->config, MF_OPT_STORE_SESSION_MS),
        .trace = ctx->threads->trace,
        .request_ms = (uint32_t)mf_config_u64(ctx->config, MF_OPT_STORE_REQUEST_MS),
        .on_session = on_session,
        .on_session_arg = ctx,
    };
    const char *url = ctx->server != NULL ? mf_store_server_url(ctx->server) : cfg->url;
    int rc = mf_store_open(&store, url, deadline_ns, &ctx->store);
    return rc == SMEM_NOT_CONNECTED && mf_now_ns(ctx->env) >= deadline_ns
               ? mf_err_in(SMEM_TIMEOUT, "wait for the config store")
               : rc;
}

/* ---- world and rank
 * ------------------------------------------------------------------------------ */

static int enter_world(struct mf_ctx *ctx, uint32_t rank, uint64_t deadline_ns)
{
    uint64_t world_id = 0;
    struct mf_world_want want = {
        .rank = rank, .size = ctx->world, .id = mf_random_u64(ctx->env), .identity = ctx->identity};
    int rc = mf_world_enter(ctx->store, &want, deadline_ns, &ctx->rank, &world_id);
    if (rc == SMEM_OK) {
        ctx->world_id = world_id; /* from now on this rank restores the world when it is lost */
        return SMEM_OK;
    }
    return rank == MF_RANK_AUTO
               ? mf_err_in(rc, "enter the world of %u as any rank", ctx->world)
               : mf_err_in(rc, "enter the world of %u as rank %u", ctx->world, rank);
}

/* ---- transports
 * ---------------------------------------------------------------------------------- */

static int open_transport(struct mf_ctx *ctx, const struct mf_transport_entry *entry,
                          struct mf_tp **out)
{
    struct mf_tp *tp = mf_calloc(1, sizeof(*tp), "transport");
    if (tp == NULL) {
        return SMEM_MALLOC_FAILED;
    }
    tp->ctx = ctx;
    tp->entry = entry;
    int rc = mf_host_init(tp);
    if (rc == SMEM_OK) {
        rc = entry->ops.open(&tp->host, &tp->tp);
    }
    if (rc != SMEM_OK) {
        mf_free(tp);
        return mf_err_in(rc, "transport %s", entry->ops.name);
    }
    tp->endpoint.data_ops = entry->ops.data_ops;
    rc = entry->ops.endpoint(tp->tp, tp->endpoint.bytes, sizeof(tp->endpoint.bytes),
                             &tp->endpoint.len);
    if (rc != SMEM_OK) {
        entry->ops.close(tp->tp);
        mf_free(tp);
        return mf_err_in(rc, "transport %s", entry->ops.name);
    }
    *out = tp;
    return SMEM_OK;
}

int mf_ctx_transport(struct mf_ctx *ctx, uint32_t data_op, struct mf_tp **out)
{
    const struct mf_transport_entry *entry = mf_transport_find(ctx->registry, data_op);
    if (entry == NULL) {
        return mf_err_code();
    }
    int rc = SMEM_OK;
    struct mf_tp *found = NULL;
    mf_mutex_lock(&ctx->tp_lock);
    for (uint32_t i = 0; i < ctx->tp_count && found == NULL; i++) {
        found = ctx->tps[i]->entry == entry ? ctx->tps[i] : NULL;
    }
    if (found == NULL && ctx->tp_count == MF_TRANSPORTS_MAX) {
        rc = mf_err(SMEM_NO_RESOURCES, "%u transports are open, the limit", MF_TRANSPORTS_MAX);
    } else if (found == NULL) {
        rc = open_transport(ctx, entry, &found);
        if (rc == SMEM_OK) {
            ctx->tps[ctx->tp_count++] = found;
        }
    }
    mf_mutex_unlock(&ctx->tp_lock);
    *out = found;
    return rc;
}

/* ---- open and close
 * ------------------------------------------------------------------------------ */

static int open_memory(struct mf_ctx *ctx, const struct mf_ctx_cfg *cfg)
{
    int rc = mf_cpu_copy_create(ctx->env, ctx->config, &ctx->copier);
    if (rc == SMEM_OK) {
        rc = mf_transport_registry_create(ctx->env, ctx->config, &ctx->registry);
    }
    if (rc == SMEM_OK) {
        rc = mf_dev_registry_get(ctx->devices, mf_config_str(ctx->config, MF_OPT_DEVICE),
                                 cfg->device, &ctx->dev);
    }
    return rc;
}

static int open_all(struct mf_ctx *ctx, const struct mf_ctx_cfg *cfg)
{
    uint64_t deadline_ns = mf_deadline_ns(ctx->env, cfg->init_ms);
    int rc = serve_store(ctx, cfg);
    if (rc != SMEM_OK || cfg->serve_only) {
        return rc;
    }
    rc = open_memory(ctx, cfg);
    if (rc == SMEM_OK) {
        rc = mf_loop_create(ctx->env, "mf-loop", &ctx->loop);
    }
    if (rc == SMEM_OK) {
        rc = open_store(ctx, cfg, deadline_ns);
    }
    if (rc == SMEM_OK) {
        rc = enter_world(ctx, cfg->rank, deadline_ns);
    }
    return rc;
}

int mf_ctx_open(const struct mf_ctx_cfg *cfg, struct mf_ctx **out)
{
    struct mf_ctx *ctx = mf_calloc(1, sizeof(*ctx), "context");
    *out = NULL;
    if (ctx == NULL) {
        return SMEM_MALLOC_FAILED;
    }
    ctx->env = cfg->env;
    ctx->config = cfg->config;
    ctx->threads = cfg->threads;
    ctx->devices = cfg->devices;
    ctx->number = cfg->number;
    ctx->world = cfg->world;
    ctx->rank = UINT32_MAX;
    ctx->create_ms = cfg->create_ms;
    ctx->op_ms = cfg->op_ms;
    ctx->identity = (struct mf_rec_identity){
        .incarnation = mf_random_u64(cfg->env),
        .pid = (uint32_t)cfg->env->ops->pid(cfg->env->arg),
        .host_hint = (uint32_t)cfg->env->ops->host_hint(cfg->env->arg),
    };
    mf_mutex_init(&ctx->tp_lock, MF_RANK_POOL);
    mf_mutex_init(&ctx->pools_lock, MF_RANK_LEAF);
    int rc = open_all(ctx, cfg);
    if (rc != SMEM_OK) {
        struct mf_err_rec saved;
        mf_err_save(&saved);
        mf_ctx_close(ctx);
        mf_err_restore(&saved);
        return rc;
    }
    *out = ctx;
    return SMEM_OK;
}

void mf_ctx_close(struct mf_ctx *ctx)
{
    if (ctx == NULL) {
        return;
    }
    mf_threads_close_lanes(ctx->threads, ctx->number);
    for (uint32_t i = 0; i < ctx->tp_count; i++) {
        ctx->tps[i]->entry->ops.close(ctx->tps[i]->tp);
        mf_free(ctx->tps[i]);
    }
    mf_ctx_alarms_end(ctx);
    mf_store_close(ctx->store, mf_ctx_store_deadline(ctx));
    if (ctx->loop != NULL) {
        mf_loop_destroy(ctx->loop);
    }
    if (ctx->server != NULL) {
        mf_store_server_destroy(ctx->server);
    }
    if (ctx->dev != NULL) {
        mf_dev_registry_put(ctx->devices, ctx->dev);
    }
    if (ctx->registry != NULL) {
        mf_transport_registry_destroy(ctx->registry);
    }
    if (ctx->copier != NULL) {
        mf_cpu_copy_destroy(ctx->copier);
    }
    mf_mutex_fini(&ctx->tp_lock);
    mf_mutex_fini(&ctx->pools_lock);
    mf_free(ctx);
}

struct mf_pool *mf_ctx_pool_get(struct mf_ctx *ctx, uint32_t id)
{
    struct mf_pool *pool = NULL;
    if (id < MF_POOLS_MAX) {
        mf_mutex_lock(&ctx->pools_lock);
        pool = ctx->pools[id];
        if (pool != NULL) {
            atomic_fetch_add(&pool->refs, 1);
        }
        mf_mutex_unlock(&ctx->pools_lock);
    }
    return pool;
}

void mf_ctx_close_fds(struct mf_ctx *ctx)
{
    if (ctx->server != NULL) {
        mf_store_server_close_fds(ctx->server);
    }
    if (ctx->store != NULL) {
        mf_store_client_close_fds(ctx->store);
    }
    for (uint32_t i = 0; i < ctx->tp_count; i++) {
        ctx->tps[i]->entry->ops.close_fds(ctx->tps[i]->tp);
    }
    for (uint32_t i = 0; i < MF_POOLS_MAX; i++) {
        if (ctx->pools[i] != NULL) {
            mf_pool_close_fds(ctx->pools[i]);
        }
    }
}
