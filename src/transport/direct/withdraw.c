// SPDX-License-Identifier: Apache-2.0
// Own segments: publishing, and the owner's half of the fence. A withdrawn segment's epoch is 0 for
// all to see; after a barrier on every processor, whoever still announces it is in the middle of a
// copy, and is waited for until he is done, or dead.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "transport/direct/internal.h"

#define SPINS          2000u
#define SLEEP_FIRST_US 50u
#define SLEEP_MAX_US   1000u
#define THREAD_CHECK_NS                                                       \
    (10ull * 1000000ull) /* wait so long before asking whether a thread lives \
                          */
#define THREAD_GONE_NS    (100ull * 1000000ull) /* and so long after it was gone */
#define GRAVES_QUIESCE_NS (50ull * 1000000ull)
#define GOLDEN            0x9e3779b97f4a7c15ull

/* A fresh number, never 0, from the random bits of this instance (splitmix64). */
static uint64_t draw_epoch_locked(struct mf_direct *d)
{
    uint64_t x;
    do {
        x = d->host->random_token[0] ^ (d->host->random_token[1] + ++d->epochs_drawn * GOLDEN);
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
        x ^= x >> 31;
    } while (x == 0);
    return x;
}

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
    uint32_t index = 0;
    struct mf_direct_seg **at = &d->own;
    while (*at && (*at)->own->desc.index == index) {
        index++;
        at = &(*at)->next;
    }
    if (index == MF_SEGMENTS_MAX) {
        mf_mutex_unlock(&d->lock);
        mf_free(own);
        return mf_err(SMEM_NO_RESOURCES, "publish: this rank has %u segments, the limit",
                      MF_SEGMENTS_MAX);
    }
    desc->owner = d->host->rank;
    desc->incarnation = d->host->incarnation;
    desc->index = index;
    desc->epoch = draw_epoch_locked(d);
    segment->ops = &mf_direct_ops;
    segment->tp = d;
    segment->priv = own;
    own->hazard = mf_direct_hazard(desc->owner, index, desc->epoch);
    own->epoch = desc->epoch;
    own->epoch_now = &d->control->epochs[index];
    own->gate = &d->control->gates[desc->owner];
    own->fence = d->control->needs_fence;
    own->own = segment;
    own->fd = pub->fd;
    own->fd_offset = pub->fd_offset;
    own->user_memory = (pub->flags & MF_PUBLISH_KEEP) != 0;
    own->next = *at;
    *at = own;
    atomic_store_explicit(&d->control->epochs[index], desc->epoch, memory_order_release);
    mf_mutex_unlock(&d->lock);
    return SMEM_OK;
}

/* One wait for one word in the lines of one process. */
struct waiting {
    const struct mf_direct *d;
    const struct mf_direct_control *control;
    const struct mf_direct_peer *peer; /* NULL: this process */
    uint64_t hazard;
    uint64_t deadline_ns;
    uint64_t since_ns;
    uint64_t gone_ns; /* when the thread was first seen to be gone; 0: it is not */
    uint32_t spins;
    uint32_t sleep_us;
};

/* Has the thread that announces a long copy ended, while its process lives? Only asked after a
 * while, and believed only after another: helpers of the thread may be finishing what it began. */
static bool thread_ended(struct waiting *w, const struct mf_direct_line *line, uint64_t now)
{
    uint32_t tid = atomic_load_explicit(&line->tid, memory_order_relaxed);
    bool visible = !w->peer || (uint32_t)w->peer->pid == w->control->pid;
    if (tid == 0 || !visible || now - w->since_ns < THREAD_CHECK_NS) {
        return false;
    }
    char path[64];
    snprintf(path, sizeof(path), "/proc/%u/task/%u", w->control->pid, tid);
    if (access(path, F_OK) == 0 || errno != ENOENT) {
        w->gone_ns = 0;
        return false;
    }
    if (w->gone_ns == 0) {
        w->gone_ns = now;
    }
    return now - w->gone_ns > THREAD_GONE_NS;
}

/* Wait a little. False: the deadline has passed. */
static bool wait_a_little(struct waiting *w)
{
    if (w->spins < SPINS) {
        w->spins++;
        atomic_signal_fence(memory_order_seq_cst);
        return true;
    }
    if (mf_direct_now(w->d) >= w->deadline_ns) {
        return false;
    }
    mf_direct_sleep_us(w->sleep_us);
    w->sleep_us = w->sleep_us * 2 < SLEEP_MAX_US ? w->sleep_us * 2 : SLEEP_MAX_US;
    return true;
}

/* Every word is waited for once: after the barrier, whoever writes it again finds the epoch gone.
 */
static int wait_for_line(struct waiting *w, const struct mf_direct_line *line)
{
    for (uint32_t k = 0; k < MF_DIRECT_HAZARDS; k++) {
        while (atomic_load_explicit(&line->hazard[k], memory_order_acquire) == w->hazard) {
            bool slow = w->spins >= SPINS;
            if (slow && w->peer && mf_direct_peer_ended(w->peer)) {
                return SMEM_OK;
            }
            if (slow && thread_ended(w, line, mf_direct_now(w->d))) {
                break;
            }
            if (!wait_a_little(w)) {
                return SMEM_RES_IN_USE;
            }
        }
    }
    return SMEM_OK;
}

static int wait_for_process(const struct mf_direct *d, const struct mf_direct_peer *peer,
                            const struct mf_direct_seg *key, uint64_t deadline_ns)
{
    struct waiting w = {.d = d,
                        .control = peer ? peer->control : d->control,
                        .peer = peer,
                        .hazard = key->hazard,
                        .deadline_ns = deadline_ns,
                        .since_ns = mf_direct_now(d),
                        .sleep_us = SLEEP_FIRST_US};
    uint32_t used = atomic_load_explicit(&w.control->lines_used, memory_order_acquire);
    int rc = SMEM_OK;
    for (uint32_t i = 0; rc == SMEM_OK && i < used && i < MF_THREADS_MAX; i++) {
        rc = wait_for_line(&w, &w.control->lines[i]);
    }
    return rc;
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

static int wait_for_all(struct mf_direct *d, const struct mf_direct_seg *key,
                        const struct mf_segment_desc *desc, uint64_t deadline_ns)
{
    struct mf_direct_peer *peer = NULL;
    int rc = SMEM_OK;
    if (wait_for_process(d, NULL, key, deadline_ns) != SMEM_OK) {
        rc = still_in_use(d, NULL, desc);
    }
    while (next_peer(d, &peer)) {
        if (wait_for_process(d, peer, key, deadline_ns) != SMEM_OK && rc == SMEM_OK) {
            rc = still_in_use(d, peer, desc);
        }
    }
    return rc;
}

int mf_direct_withdraw(void *tp, struct mf_segment *segment, uint64_t deadline_ns)
{
    struct mf_direct *d = tp;
    const struct mf_segment_desc *desc = &segment->desc;
    struct mf_direct_seg key = {.hazard =
                                    mf_direct_hazard(d->host->rank, desc->index, desc->epoch)};
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
        atomic_store_explicit(&d->control->epochs[desc->index], 0, memory_order_release);
    }
    mf_mutex_unlock(&d->lock);
    mf_direct_barrier();
    int rc =
        wait_for_all(d, &key, desc, deadline_ns); /* again, when it was withdrawn in vain before */
    if (own) {
        mf_direct_bury(d, own);
    }
    mf_direct_free_graves(d, mf_direct_now(d) + GRAVES_QUIESCE_NS);
    return rc;
}
