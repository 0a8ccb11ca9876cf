// SPDX-License-Identifier: Apache-2.0
// The context: everything one rank has. The loop and its thread, the store client (and perhaps the
// store itself), the device, the transports, the pools. A process normally has one.
#ifndef MF_CORE_CONTEXT_H
#define MF_CORE_CONTEXT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/loop.h"
#include "base/thread.h"
#include "config/config.h"
#include "core/threads.h"
#include "device/device.h"
#include "gva/gva.h"
#include "store/store.h"
#include "transport/transport.h"
#include "wire/record.h"
#include "xcopy/cpu_copy.h"

struct mf_pool;
struct mf_ctx;

/** An open transport instance. */
struct mf_tp {
    struct mf_ctx *ctx;
    const struct mf_transport_entry *entry;
    struct mf_plugin_host plugin;
    struct mf_transport_host host;
    void *tp;
    struct mf_rec_endpoint endpoint;
};

struct mf_ctx_cfg {
    const struct mf_env *env; /* all borrowed until close */
    const struct mf_config *config;
    struct mf_threads *threads;
    struct mf_dev_registry *devices;
    const char *url; /* of the store; borrowed during open */
    uint32_t world;
    uint32_t rank;   /* MF_RANK_AUTO: the store hands one out */
    uint32_t device; /* ordinal */
    bool serve;      /* host the store here when that is this process's part */
    bool serve_only; /* no rank: host the store and nothing else */
    uint64_t number; /* of the context within the process, not 0 */
    uint32_t init_ms, create_ms, op_ms;
};

struct mf_ctx {
    const struct mf_env *env;
    const struct mf_config *config;
    struct mf_threads *threads;
    struct mf_dev_registry *devices;
    struct mf_cpu_copy *copier;
    struct mf_dev *dev; /* NULL: no accelerator */
    uint64_t number;
    uint32_t create_ms, op_ms;

    struct mf_loop *loop;
    struct mf_store_server *server; /* NULL: hosted elsewhere */
    struct mf_store *store;
    struct mf_rec_identity identity;
    _Atomic uint64_t world_id; /* 0: not entered yet */
    uint32_t world, rank;

    struct mf_transport_registry *registry;
    struct mf_mutex tp_lock; /* guards tps and tp_count; rank MF_RANK_POOL */
    struct mf_tp *tps[MF_TRANSPORTS_MAX];
    uint32_t tp_count;

    struct mf_mutex pools_lock; /* guards pools and layouts; rank MF_RANK_LEAF */
    struct mf_pool *pools[MF_POOLS_MAX];
    struct mf_rec_map layouts; /* that this rank relies on, see restore.h */
    uint32_t restore_tries;    /* of the loop's thread */

    _Atomic bool store_lost;
    _Atomic bool expired;          /* this rank was declared dead: nothing of it works any more */
    _Atomic uint32_t dead_members; /* of all pools, whose alarm stands */
    _Atomic bool memory_short;     /* that alarm stands */
};

/** Meet the other ranks: host or reach the store, agree on the world, claim a rank, open the
 * device. Blocks until cfg->init_ms at most. On failure nothing is left. */
int mf_ctx_open(const struct mf_ctx_cfg *cfg, struct mf_ctx **out);
/** All pools are destroyed before. NULL is fine. */
void mf_ctx_close(struct mf_ctx *ctx);

/** SMEM_OK, or SMEM_NOT_CONNECTED when this rank was declared dead. */
int mf_ctx_check(const struct mf_ctx *ctx);
/** This rank was declared dead. */
void mf_ctx_expire(struct mf_ctx *ctx, const char *why);

/** How the last try to get memory for a pool ended: raises or ends the alarm; the sentence of a
 * failure is the thread's. */
void mf_ctx_memory(struct mf_ctx *ctx, int rc);
/** The context ends, and with it what its alarms were about. */
void mf_ctx_alarms_end(struct mf_ctx *ctx);

/** For requests to the store that nobody needs when this rank goes: a second from now, 0 when the
 * store cannot be reached at present. */
uint64_t mf_ctx_store_deadline(const struct mf_ctx *ctx);

/** The transport instance for one operator bit; opened by the first who asks. */
int mf_ctx_transport(struct mf_ctx *ctx, uint32_t data_op, struct mf_tp **out);

/** The pool with this id, referenced: mf_pool_put it. NULL: none. */
struct mf_pool *mf_ctx_pool_get(struct mf_ctx *ctx, uint32_t id);

/** For the atfork child handler: close descriptors that would keep things alive, touch nothing
 * else. */
void mf_ctx_close_fds(struct mf_ctx *ctx);

#endif
