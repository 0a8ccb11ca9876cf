// SPDX-License-Identifier: Apache-2.0
// The model transport's instances and its table, which stands in the place of transport/direct's,
// so that the registry of transports picks it up.
#include "transport.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"

/* The operators of smem_bm_def.h that choose it. */
#define OP_SDMA     1u
#define OP_HOST_SHM 32u

static int tp_probe(const struct mf_plugin_host *host)
{
    (void)host;
    return SMEM_OK;
}

static void tp_close(void *arg)
{
    struct sim_tp *tp = arg;
    if (!tp) {
        return;
    }
    if (tp->page) {
        atomic_store(&tp->page->page->closed, 1);
        sim_tp_guests_close(tp);
        sim_tp_serve_stop(tp);
        sim_tp_peers_close(tp);
    }
    sim_held_close(tp->held);
    mf_cond_fini(&tp->changed);
    mf_mutex_fini(&tp->lock);
    mf_free(tp);
}

static int open_page(struct sim_tp *tp)
{
    const struct mf_fence_identity who = {.rank = tp->host->rank,
                                          .pid = sim_proc_pid(tp->proc),
                                          .incarnation = tp->host->incarnation,
                                          .world_id = tp->host->world_id,
                                          .start_time = 1};
    tp->held = sim_held_open();
    struct sim_page *page = tp->held ? sim_held_own_page(tp->held, &who) : NULL;
    if (!page) {
        return mf_err(SMEM_NO_RESOURCES, "make the control page of %zu bytes",
                      sizeof(struct mf_fence_page));
    }
    mf_fence_owner_init(&tp->fence, page->page, tp->host->random_token);
    tp->page = page;
    return SMEM_OK;
}

static int tp_open(const struct mf_transport_host *host, void **out)
{
    *out = NULL;
    if (host->rank >= MF_WORLD_MAX || host->world > MF_WORLD_MAX || host->incarnation == 0) {
        return mf_err(SMEM_INVALID_PARAM, "model: rank %u of %u, incarnation %" PRIu64, host->rank,
                      host->world, host->incarnation);
    }
    struct sim_tp *tp = mf_calloc(1, sizeof(*tp), "model transport");
    if (!tp) {
        return SMEM_MALLOC_FAILED;
    }
    tp->host = host;
    tp->loop = sim_tp_loop(host);
    tp->proc = sim_proc_self();
    tp->number = sim_proc_host(tp->proc);
    tp->many = (host->random_token[0] & 1) != 0;
    tp->small = (host->random_token[0] & 2) != 0;
    tp->unmapped = (host->flags & MF_HOST_PEERS_UNMAPPED) != 0;
    mf_mutex_init(&tp->lock, MF_RANK_TRANSPORT);
    mf_cond_init(&tp->changed);
    int rc = open_page(tp);
    rc = rc ? rc : sim_tp_guests_open(tp);
    if (rc) {
        tp_close(tp);
        return mf_err_in(rc, "open the model transport");
    }
    *out = tp;
    return SMEM_OK;
}

static int tp_explain(void *arg, uint32_t rank, char *buf, size_t cap)
{
    struct sim_tp *tp = arg;
    uint32_t count = 0;
    bool near = false;
    mf_mutex_lock(&tp->lock);
    for (struct sim_tp_peer *peer = tp->peers; peer; peer = peer->next) {
        for (struct sim_tp_seg *seg = peer->segs; peer->rank == rank && seg; seg = seg->next) {
            near = peer->page != NULL;
            count++;
        }
    }
    mf_mutex_unlock(&tp->lock);
    snprintf(buf, cap, "rank %u: %u segments on %s host", rank, count,
             near ? "this" : "another, or no,");
    return SMEM_OK;
}

const struct mf_transport_ops mf_direct_ops = {
    .abi = MF_PLUGIN_ABI,
    .size = sizeof(struct mf_transport_ops),
    .name = "direct",
    .data_ops = OP_SDMA | OP_HOST_SHM,
    .caps = MF_CAP_HOST | MF_CAP_THIRD_PARTY,
    .probe = tp_probe,
    .open = tp_open,
    .close = tp_close,
    .endpoint = sim_tp_endpoint,
    .publish = sim_tp_publish,
    .withdraw = sim_tp_withdraw,
    .attach = sim_tp_attach,
    .detach = sim_tp_detach,
    .lane_open = sim_tp_lane_open,
    .lane_close = sim_tp_lane_close,
    .post = sim_tp_post,
    .wait = sim_tp_wait,
    .explain = tp_explain,
    .copy_small = sim_tp_copy_small,
    .post_many = sim_tp_post_many,
};
