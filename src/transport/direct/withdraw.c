// SPDX-License-Identifier: Apache-2.0
// Own segments: publishing and withdrawing them by the fence. After a barrier on every processor,
// whoever still announces a withdrawn one is in the middle of a copy, and is waited for until he is
// done, or dead.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "transport/direct/internal.h"

#define GRAVES_QUIESCE_NS (50ull * 1000000ull)

int mf_direct_publish(void *tp, const struct mf_publish *pub)
{
    struct mf_direct *d = tp;
    struct mf_segment *segment = pub->segment;
    struct mf_segment_desc *desc = &segment->desc;
    if (desc->size == 0 || desc->pool >= MF_POOLS_MAX || desc->kind >= MF_KIND_COUNT) {
        return mf_err(SMEM_INVALID_PARAM, "publish: pool %u, kind %u, %" PRIu64 " bytes",
                      desc->pool, desc->kind, desc->size);
    }
    struct mf_direct_seg *own = mf_alloc_aligned(64, sizeof(*own), "own segment");
    if (!own) {
        return SMEM_MALLOC_FAILED;
    }
    mf_mutex_lock(&d->lock);
    int rc = mf_fence_publish(&d->fence, desc, &own->key);
    if (rc) {
        mf_mutex_unlock(&d->lock);
        mf_free(own);
        return rc;
    }
    segment->ops = &mf_direct_ops;
    segment->tp = d;
    segment->priv = own;
    own->own = segment;
    own->fd = pub->fd;
    own->fd_offset = pub->fd_offset;
    own->user_memory = (pub->flags & MF_PUBLISH_KEEP) != 0;
    struct mf_direct_seg **at = &d->own;
    while (*at && (*at)->own->desc.index < desc->index) {
        at = &(*at)->next;
    }
    own->next = *at;
    *at = own;
    mf_mutex_unlock(&d->lock);
    return SMEM_OK;
}

/* ---- what the fence asks; `who` is a struct mf_direct_peer ---- */

static uint64_t fence_now(void *arg)
{
    return mf_direct_now(arg);
}

static void fence_sleep_us(void *arg, uint32_t us)
{
    (void)arg;
    mf_direct_sleep_us(us);
}

static void fence_barrier(void *arg)
{
    (void)arg;
    mf_direct_barrier();
}

static bool fence_process_ended(void *arg, const void *who)
{
    (void)arg;
    return mf_direct_peer_ended(who);
}

/* Only where its numbers are those that we see. */
static bool fence_thread_ended(void *arg, const void *who, uint32_t tid)
{
    const struct mf_direct *d = arg;
    const struct mf_direct_peer *peer = who;
    uint32_t pid = peer ? peer->control->pid : d->control->pid;
    char path[64];
    if (peer && (uint32_t)peer->pid != pid) {
        return false;
    }
    snprintf(path, sizeof(path), "/proc/%u/task/%u", pid, tid);
    return access(path, F_OK) != 0 && errno == ENOENT;
}

static const struct mf_fence_ops fence_ops = {
    .now_ns = fence_now,
    .sleep_us = fence_sleep_us,
    .barrier = fence_barrier,
    .process_ended = fence_process_ended,
    .thread_ended = fence_thread_ended,
};

static bool wait_for_process(struct mf_direct *d, const struct mf_direct_peer *peer,
                             uint64_t hazard, uint64_t deadline_ns)
{
    return mf_fence_wait(&fence_ops, d, peer ? peer->control : d->control, peer, hazard,
                         deadline_ns);
}

static int still_in_use(const struct mf_direct *d, const struct mf_direct_peer *peer,
                        const struct mf_segment_desc *desc)
{
    return mf_err(SMEM_RES_IN_USE,
                  "withdraw segment %u of pool %u: rank %u (pid %d) has neither ended its copy nor "
                  "died; the memory must not be used again before it does",
                  desc->index, desc->pool, peer ? peer->rank : d->host->rank,
                  peer ? peer->pid : (int)d->control->pid);
}

/* The peer after *peer (NULL: the first), with a reference; the one of *peer is given back. */
static bool next_peer(struct mf_direct *d, struct mf_direct_peer **peer)
{
    mf_mutex_lock(&d->lock);
    struct mf_direct_peer *next = *peer ? (*peer)->next : d->peers;
    if (next) {
        next->refs++;
    }
    if (*peer) {
        mf_direct_peer_put_locked(d, *peer);
    }
    mf_mutex_unlock(&d->lock);
    *peer = next;
    return next != NULL;
}

static int wait_for_all(struct mf_direct *d, const struct mf_segment_desc *desc,
                        uint64_t deadline_ns)
{
    struct mf_direct_peer *peer = NULL;
    uint64_t hazard = mf_fence_hazard(d->host->rank, desc->index, desc->epoch);
    int rc = SMEM_OK;
    if (!wait_for_process(d, NULL, hazard, deadline_ns)) {
        rc = still_in_use(d, NULL, desc);
    }
    while (next_peer(d, &peer)) {
        if (!wait_for_process(d, peer, hazard, deadline_ns) && rc == SMEM_OK) {
            rc = still_in_use(d, peer, desc);
        }
    }
    return rc;
}

int mf_direct_withdraw(void *tp, struct mf_segment *segment, uint64_t deadline_ns)
{
    struct mf_direct *d = tp;
    const struct mf_segment_desc *desc = &segment->desc;
    if (desc->index >= MF_SEGMENTS_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "withdraw: segment %u was not published", desc->index);
    }
    mf_mutex_lock(&d->lock);
    struct mf_direct_seg **at = &d->own;
    while (*at && (*at)->own != segment) {
        at = &(*at)->next;
    }
    struct mf_direct_seg *own = *at;
    if (own) {
        *at = own->next;
        mf_fence_revoke(&d->fence, desc);
    }
    mf_mutex_unlock(&d->lock);
    fence_ops.barrier(d);
    int rc = wait_for_all(d, desc, deadline_ns); /* again, when it was withdrawn in vain before */
    if (own) {
        mf_direct_bury(d, own);
    }
    mf_direct_free_graves(d, mf_direct_now(d) + GRAVES_QUIESCE_NS);
    return rc;
}
