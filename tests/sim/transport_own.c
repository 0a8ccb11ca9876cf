// SPDX-License-Identifier: Apache-2.0
// Own segments of the model transport: published and withdrawn by the real fence.
#include <inttypes.h>

#include "base/alloc.h"
#include "transport.h"

#define QUIESCE_NS (50ull * 1000000ull)

int sim_tp_publish(void *arg, const struct mf_publish *pub)
{
    struct sim_tp *tp = arg;
    struct mf_segment_desc *desc = &pub->segment->desc;
    if (desc->size == 0 || desc->pool >= MF_POOLS_MAX || desc->kind >= MF_KIND_COUNT) {
        return mf_err(SMEM_INVALID_PARAM, "publish: pool %u, kind %u, %" PRIu64 " bytes",
                      desc->pool, desc->kind, desc->size);
    }
    struct sim_tp_seg *own = mf_calloc(1, sizeof(*own), "own segment");
    if (!own) {
        return SMEM_MALLOC_FAILED;
    }
    own->own = pub->segment;
    own->keep = (pub->flags & MF_PUBLISH_KEEP) != 0;
    own->object = sim_held_object(tp->held, sim_object_of_fd(tp->proc, pub->fd));
    mf_mutex_lock(&tp->lock);
    int rc = mf_fence_publish(&tp->fence, desc, &own->key);
    if (rc == SMEM_OK) {
        struct sim_tp_seg **at = &tp->own;
        while (*at && (*at)->own->desc.index < desc->index) {
            at = &(*at)->next;
        }
        own->next = *at;
        *at = own;
        pub->segment->ops = &mf_direct_ops;
        pub->segment->tp = tp;
        pub->segment->priv = own;
        if (own->object) {
            MF_ASSERT(sim_page_publish(tp->page, desc->epoch, own->object));
        }
        seen_publish(desc);
    }
    mf_mutex_unlock(&tp->lock);
    if (rc) {
        sim_held_drop_object(tp->held, own->object);
        mf_free(own);
    }
    return rc;
}

/* ---- what the fence asks; `who` is a struct sim_tp_peer ---- */

static uint64_t fence_now(void *arg)
{
    (void)arg;
    return sim_now();
}

static void fence_sleep_us(void *arg, uint32_t us)
{
    (void)arg;
    mf_thread_sleep_ns(us * 1000ull);
}

/* All threads of the machine take turns: what one has written, the next one sees. */
static void fence_barrier(void *arg)
{
    (void)arg;
    sim_yield();
}

static bool fence_process_ended(void *arg, const void *who)
{
    const struct sim_tp_peer *peer = who;
    (void)arg;
    return sim_proc_state(peer->page->proc) == SIM_ENDED;
}

static bool fence_thread_ended(void *arg, const void *who, uint32_t tid)
{
    (void)arg;
    (void)who;
    (void)tid;
    return false; /* threads end with their process only */
}

static const struct mf_fence_ops fence_ops = {
    .now_ns = fence_now,
    .sleep_us = fence_sleep_us,
    .barrier = fence_barrier,
    .process_ended = fence_process_ended,
    .thread_ended = fence_thread_ended,
};

/* The next peer that copies by itself, with a reference; the one of *peer is given back. */
static bool next_peer(struct sim_tp *tp, struct sim_tp_peer **peer)
{
    mf_mutex_lock(&tp->lock);
    struct sim_tp_peer *next = *peer ? (*peer)->next : tp->peers;
    while (next && !next->page) {
        next = next->next;
    }
    if (next) {
        next->refs++;
    }
    if (*peer) {
        sim_tp_peer_put_locked(tp, *peer);
    }
    mf_mutex_unlock(&tp->lock);
    *peer = next;
    return next != NULL;
}

static int still_in_use(const struct sim_tp *tp, const struct sim_tp_peer *peer,
                        const struct mf_segment_desc *desc)
{
    return mf_err(
        SMEM_RES_IN_USE,
        "withdraw segment %u of pool %u: rank %u has neither ended its copy nor died; the "
        "memory must not be used again before it does",
        desc->index, desc->pool, peer ? peer->rank : tp->host->rank);
}

static int wait_for_all(struct sim_tp *tp, const struct mf_segment_desc *desc, uint64_t deadline_ns)
{
    uint64_t hazard = mf_fence_hazard(tp->host->rank, desc->index, desc->epoch);
    struct sim_tp_peer *peer = NULL;
    int rc = SMEM_OK;
    if (!mf_fence_wait(&fence_ops, tp, tp->page->page, NULL, hazard, deadline_ns)) {
        rc = still_in_use(tp, NULL, desc);
    }
    while (next_peer(tp, &peer)) {
        if (!mf_fence_wait(&fence_ops, tp, peer->page->page, peer, hazard, deadline_ns) &&
            rc == SMEM_OK) {
            rc = still_in_use(tp, peer, desc);
        }
    }
    return rc;
}

int sim_tp_withdraw(void *arg, struct mf_segment *segment, uint64_t deadline_ns)
{
    struct sim_tp *tp = arg;
    const struct mf_segment_desc desc = segment->desc;
    if (desc.index >= MF_SEGMENTS_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "withdraw: segment %u was not published", desc.index);
    }
    mf_mutex_lock(&tp->lock);
    struct sim_tp_seg **at = &tp->own;
    while (*at && (*at)->own != segment) {
        at = &(*at)->next;
    }
    struct sim_tp_seg *own = *at;
    if (own) {
        *at = own->next;
        mf_fence_revoke(&tp->fence, &desc);
        sim_page_withdraw(tp->page, desc.epoch);
    }
    mf_mutex_unlock(&tp->lock);
    fence_ops.barrier(tp);
    int rc = wait_for_all(tp, &desc, deadline_ns);
    seen_withdraw(&desc, rc);
    struct mf_err_rec saved;
    mf_err_save(&saved);
    if (own) {
        sim_tp_bury(tp, own);
    }
    sim_tp_free_graves(tp, sim_now() + QUIESCE_NS);
    mf_err_restore(&saved);
    return rc;
}
