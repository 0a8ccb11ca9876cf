// SPDX-License-Identifier: Apache-2.0
// Peers of the model transport: who they are, what they announce, and how they go. A peer is known
// by its incarnation; a rank may have several lives here, of which at most one is not refused.
#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "transport.h"

#define CLAIM_NS (2000ull * 1000000ull)
#define CLOSE_NS (10000ull * 1000000ull)

struct sim_tp_peer *sim_tp_peer_find(struct sim_tp *tp, uint32_t rank, uint64_t incarnation)
{
    struct sim_tp_peer *peer = tp->peers;
    while (peer && (peer->rank != rank || peer->incarnation != incarnation)) {
        peer = peer->next;
    }
    return peer;
}

/* What was never in the list, or has been taken out of it. */
static void peer_free(struct sim_tp_peer *peer)
{
    sim_held_drop_page(peer->tp->held, peer->page);
    mf_free(peer);
}

void sim_tp_peer_put_locked(struct sim_tp *tp, struct sim_tp_peer *peer)
{
    if (--peer->refs > 0 || !peer->dead) {
        return; /* a living process may still copy: its page is needed */
    }
    struct sim_tp_peer **at = &tp->peers;
    while (*at != peer) {
        at = &(*at)->next;
    }
    *at = peer->next;
    peer_free(peer);
}

void sim_tp_peer_put(struct sim_tp *tp, struct sim_tp_peer *peer)
{
    mf_mutex_lock(&tp->lock);
    sim_tp_peer_put_locked(tp, peer);
    mf_mutex_unlock(&tp->lock);
}

/* The peer's process has ended; on the loop. */
static void on_ended(void *arg)
{
    struct sim_tp_peer *peer = arg;
    struct sim_tp *tp = peer->tp;
    mf_mutex_lock(&tp->lock);
    struct sim_watch *watch = peer->watch;
    bool died = watch && peer->pools != 0 && atomic_load(&peer->page->page->closed) == 0;
    if (watch) {
        peer->watch = NULL;
        peer->dead = true;
        peer->refs++;
        sim_tp_far_fail_locked(peer, "has ended");
    }
    mf_mutex_unlock(&tp->lock);
    if (!watch) {
        return;
    }
    sim_held_unwatch(tp->held, watch);
    if (died) {
        tp->host->peer_dead(tp->host->arg, peer->rank, peer->incarnation, "its process has ended");
    }
    mf_mutex_lock(&tp->lock);
    sim_tp_peer_put_locked(tp, peer);
    mf_mutex_unlock(&tp->lock);
}

static int refused(uint32_t rank)
{
    return mf_err(SMEM_NOT_CONNECTED,
                  "rank %u was declared dead under this incarnation: it must leave and join again",
                  rank);
}

static int check_identity(const struct sim_tp *tp, const struct sim_tp_msg *hello)
{
    if (hello->world_id != tp->host->world_id) {
        return mf_err(SMEM_NOT_CONNECTED, "rank %u belongs to another cluster", hello->rank);
    }
    return hello->rank == tp->host->rank || hello->rank >= tp->host->world
               ? mf_err(SMEM_NOT_CONNECTED, "a process says that it is rank %u", hello->rank)
               : SMEM_OK;
}

/* A known life of the rank, with a reference; NULL: it is new. With the lock. */
static int find_known_locked(struct sim_tp *tp, const struct sim_tp_msg *hello,
                             struct sim_tp_peer **out)
{
    struct sim_tp_peer *peer = sim_tp_peer_find(tp, hello->rank, hello->incarnation);
    if ((peer && (peer->refused || peer->dead)) ||
        mf_fence_is_refused(&tp->fence, hello->rank, hello->incarnation)) {
        return refused(hello->rank);
    }
    if (peer) {
        peer->refs++;
    }
    *out = peer;
    return SMEM_OK;
}

/* Another life of the rank that is at work here; 0: there is none. */
static uint64_t other_life(struct sim_tp *tp, uint32_t rank, uint64_t incarnation)
{
    uint64_t other = 0;
    mf_mutex_lock(&tp->lock);
    for (struct sim_tp_peer *p = tp->peers; p && other == 0; p = p->next) {
        bool closed = p->page && atomic_load(&p->page->page->closed) != 0;
        if (p->rank == rank && p->incarnation != incarnation && !p->refused && !closed) {
            other = p->pools ? p->incarnation : 0;
        }
    }
    mf_mutex_unlock(&tp->lock);
    return other;
}

/* A life that comes by itself may be a late one of the past: it waits until the one that is here
 * has been declared dead. One that this rank has asked for is the one that the store names. */
static int make_way(struct sim_tp *tp, const struct sim_tp_msg *hello)
{
    uint64_t other;
    while ((other = other_life(tp, hello->rank, hello->incarnation)) != 0) {
        if (hello->type == SIM_TP_HELLO) {
            return mf_err(
                SMEM_NOT_CONNECTED,
                "rank %u is here under another incarnation, which is not known to be dead",
                hello->rank);
        }
        int rc = sim_tp_detach(tp, hello->rank, other, UINT32_MAX, MF_DETACH_DEAD);
        if (rc) {
            return rc;
        }
    }
    return SMEM_OK;
}

static struct sim_tp_peer *make(struct sim_tp *tp, const struct sim_tp_msg *hello,
                                struct sim_proc *proc)
{
    struct sim_tp_peer *peer = mf_calloc(1, sizeof(*peer), "peer");
    if (!peer) {
        return NULL;
    }
    *peer = (struct sim_tp_peer){.tp = tp,
                                 .rank = hello->rank,
                                 .incarnation = hello->incarnation,
                                 .host = hello->host,
                                 .port = hello->port,
                                 .refs = 1};
    if (hello->host != tp->number) {
        return peer;
    }
    peer->page = proc ? sim_held_page(tp->held, proc, hello->incarnation) : NULL;
    if (!peer->page) {
        mf_err(SMEM_NOT_CONNECTED, "a process says that it is rank %u, its control page does not",
               hello->rank);
        mf_free(peer);
        return NULL;
    }
    return peer;
}

/* It may have come on another thread, or been declared dead meanwhile. */
static int insert(struct sim_tp *tp, struct sim_tp_peer *peer, struct sim_tp_peer **out)
{
    struct sim_tp_msg hello = {.rank = peer->rank, .incarnation = peer->incarnation};
    struct sim_proc *proc = peer->page ? peer->page->proc : NULL;
    mf_mutex_lock(&tp->lock);
    int rc = find_known_locked(tp, &hello, out);
    if (rc == SMEM_OK && !*out && proc) {
        peer->watch = sim_held_watch(tp->held, tp->loop, proc, on_ended, peer);
        rc = peer->watch ? SMEM_OK : SMEM_MALLOC_FAILED;
    }
    if (rc == SMEM_OK) {
        (void)mf_fence_admit(&tp->fence, peer->rank, peer->incarnation);
    }
    bool added = rc == SMEM_OK && !*out;
    if (added) {
        struct sim_tp_peer **at = &tp->peers;
        while (*at) {
            at = &(*at)->next;
        }
        *at = peer;
        *out = peer;
    }
    mf_mutex_unlock(&tp->lock);
    if (!added) {
        peer_free(peer);
    }
    return rc;
}

int sim_tp_peer_meet(struct sim_tp *tp, const struct sim_tp_msg *hello, struct sim_sock *sock,
                     struct sim_tp_peer **out)
{
    struct sim_proc *proc = sim_sock_peer(sock);
    *out = NULL;
    int rc = check_identity(tp, hello);
    if (rc == SMEM_OK) {
        mf_mutex_lock(&tp->lock);
        rc = find_known_locked(tp, hello, out);
        mf_mutex_unlock(&tp->lock);
    }
    if (rc == SMEM_OK && !*out) {
        rc = make_way(tp, hello);
    }
    if (rc || *out) {
        return rc;
    }
    struct sim_tp_peer *peer = make(tp, hello, proc);
    return peer ? insert(tp, peer, out) : mf_err_code();
}

bool sim_tp_peer_claim(struct sim_tp *tp, struct sim_tp_peer *peer, uint64_t deadline_ns)
{
    bool in_time = true;
    mf_mutex_lock(&tp->lock);
    while (peer->busy && in_time) {
        in_time = deadline_ns && mf_cond_wait(&tp->changed, &tp->lock, deadline_ns);
    }
    if (in_time) {
        peer->busy = true;
    }
    mf_mutex_unlock(&tp->lock);
    return in_time;
}

void sim_tp_peer_release(struct sim_tp *tp, struct sim_tp_peer *peer)
{
    mf_mutex_lock(&tp->lock);
    peer->busy = false;
    mf_cond_broadcast(&tp->changed);
    mf_mutex_unlock(&tp->lock);
}

/* ---- segments ---- */

void sim_tp_bury(struct sim_tp *tp, struct sim_tp_seg *seg)
{
    mf_mutex_lock(&tp->lock);
    seg->next = tp->graves;
    tp->graves = seg;
    mf_mutex_unlock(&tp->lock);
}

static void seg_free(struct sim_tp *tp, struct sim_tp_seg *seg)
{
    sim_held_drop_object(tp->held, seg->object);
    if (seg->peer) {
        sim_tp_peer_put(tp, seg->peer);
    }
    mf_free(seg);
}

void sim_tp_free_graves(struct sim_tp *tp, uint64_t deadline_ns)
{
    mf_mutex_lock(&tp->lock);
    struct sim_tp_seg *list = tp->graves;
    tp->graves = NULL;
    mf_mutex_unlock(&tp->lock);
    bool quiet = list && tp->host->quiesce(tp->host->arg, deadline_ns) == SMEM_OK;
    while (list) {
        struct sim_tp_seg *seg = list;
        list = seg->next;
        if (quiet) {
            seg_free(tp, seg);
        } else {
            sim_tp_bury(tp, seg);
        }
    }
}

static void take_down(struct sim_tp *tp, struct sim_tp_seg *seg, bool dead)
{
    if (dead && seg->object && !seg->keep) {
        sim_object_punch(seg->object);
    }
    if (seg->placed) {
        (void)tp->host->unplace(tp->host->arg, &seg->seg.desc, dead);
    }
    sim_tp_bury(tp, seg);
}

static struct sim_tp_seg *make_seg(struct sim_tp *tp, struct sim_tp_peer *peer,
                                   const struct sim_tp_msg_seg *told)
{
    const struct mf_segment_desc *desc = &told->desc;
    struct sim_tp_seg *seg = mf_calloc(1, sizeof(*seg), "segment of a peer");
    if (!seg) {
        return NULL;
    }
    seg->seg.desc = *desc;
    seg->seg.ops = &mf_direct_ops;
    seg->seg.tp = tp;
    seg->seg.priv = seg;
    seg->peer = peer;
    seg->keep = told->keep != 0;
    seg->key.epoch = desc->epoch;
    if (peer->page) {
        mf_fence_key_init(&seg->key, peer->page->page, desc, tp->host->rank, false);
    }
    if (peer->page && !tp->unmapped) {
        seg->object = sim_held_object(tp->held, sim_page_object(peer->page, desc->epoch));
    }
    return seg;
}

/* Give one announced segment its place and tell the host. */
static int learn_one(struct sim_tp *tp, struct sim_tp_peer *peer, const struct sim_tp_msg_seg *told)
{
    const struct mf_segment_desc *desc = &told->desc;
    uint64_t place = 0;
    struct sim_tp_seg *seg = make_seg(tp, peer, told);
    if (!seg) {
        return SMEM_MALLOC_FAILED;
    }
    int rc = tp->host->place(tp->host->arg, desc, &place);
    if (rc == SMEM_OK && seg->object && place) {
        sim_memory_bind(place, desc->size, seg->object);
        seg->seg.host = place;
        seg->placed = true;
    }
    mf_mutex_lock(&tp->lock);
    peer->refs++;
    if (rc == SMEM_OK) {
        seg->next = peer->segs;
        peer->segs = seg;
    }
    mf_mutex_unlock(&tp->lock);
    if (rc) {
        seg_free(tp, seg);
        return rc;
    }
    rc = tp->host->segment_up(tp->host->arg, &seg->seg);
    if (rc) {
        mf_mutex_lock(&tp->lock);
        peer->segs = seg->next; /* the peer is claimed: nobody has put another in front */
        mf_mutex_unlock(&tp->lock);
        take_down(tp, seg, false);
    }
    return rc;
}

/* The segment of that number, which is either the announced one or an earlier one that is over. */
static struct sim_tp_seg *take_stale(struct sim_tp *tp, struct sim_tp_peer *peer,
                                     const struct mf_segment_desc *desc, bool *known)
{
    struct sim_tp_seg *stale = NULL;
    mf_mutex_lock(&tp->lock);
    struct sim_tp_seg **at = &peer->segs;
    while (*at && (*at)->seg.desc.index != desc->index) {
        at = &(*at)->next;
    }
    *known = *at && (*at)->key.epoch == desc->epoch;
    if (*at && !*known) {
        stale = *at;
        *at = stale->next;
    }
    mf_mutex_unlock(&tp->lock);
    return stale;
}

int sim_tp_peer_learn(struct sim_tp *tp, struct sim_tp_peer *peer, const struct sim_tp_msg *msg)
{
    int rc = SMEM_OK;
    for (uint32_t i = 0; rc == SMEM_OK && i < msg->count; i++) {
        bool known;
        struct sim_tp_seg *stale = take_stale(tp, peer, &msg->segs[i].desc, &known);
        if (stale) {
            tp->host->segment_down(tp->host->arg, &stale->seg);
            take_down(tp, stale, false);
        }
        if (!known) {
            rc = learn_one(tp, peer, &msg->segs[i]);
        }
    }
    if (rc == SMEM_OK) {
        mf_mutex_lock(&tp->lock);
        peer->pools |= 1ull << msg->pool;
        mf_mutex_unlock(&tp->lock);
    }
    return rc;
}

void sim_tp_tell(struct sim_tp *tp, struct sim_tp_msg *msg, uint32_t *from)
{
    uint32_t next = *from;
    msg->count = 0;
    msg->last = 1;
    mf_mutex_lock(&tp->lock);
    for (struct sim_tp_seg *seg = tp->own; seg; seg = seg->next) {
        const struct mf_segment_desc *desc = &seg->own->desc;
        if (desc->pool != msg->pool || desc->index < *from) {
            continue;
        }
        if (msg->count == SIM_TP_MSG_SEGMENTS) {
            msg->last = 0;
            break;
        }
        msg->segs[msg->count++] = (struct sim_tp_msg_seg){.desc = *desc, .keep = seg->keep};
        next = desc->index + 1;
    }
    mf_mutex_unlock(&tp->lock);
    *from = next;
}

/* ---- detaching ---- */

/* Take the peer's segments of a pool (UINT32_MAX: of all) out of its list. */
static struct sim_tp_seg *unlink_segments(struct sim_tp *tp, struct sim_tp_peer *peer,
                                          uint32_t pool, bool dead)
{
    struct sim_tp_seg *list = NULL;
    mf_mutex_lock(&tp->lock);
    struct sim_tp_seg **at = &peer->segs;
    while (*at) {
        struct sim_tp_seg *seg = *at;
        if (pool == UINT32_MAX || seg->seg.desc.pool == pool) {
            *at = seg->next;
            seg->next = list;
            list = seg;
        } else {
            at = &seg->next;
        }
    }
    peer->pools &= pool < MF_POOLS_MAX ? ~(1ull << pool) : 0;
    if (dead) {
        peer->refused = true;
        sim_tp_far_fail_locked(peer, "was declared dead");
    }
    mf_mutex_unlock(&tp->lock);
    return list;
}

int sim_tp_detach(void *arg, uint32_t rank, uint64_t incarnation, uint32_t pool,
                  enum mf_detach_why why)
{
    struct sim_tp *tp = arg;
    bool dead = why == MF_DETACH_DEAD;
    if (rank >= MF_WORLD_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "detach: rank %u is not below %u", rank, MF_WORLD_MAX);
    }
    mf_mutex_lock(&tp->lock);
    if (dead) {
        mf_fence_refuse(&tp->fence, rank, incarnation);
        seen_gate(tp->host->incarnation, incarnation);
    }
    struct sim_tp_peer *peer = sim_tp_peer_find(tp, rank, incarnation);
    if (peer) {
        peer->refs++;
    }
    mf_mutex_unlock(&tp->lock);
    if (!peer) {
        return SMEM_OK;
    }
    if (!sim_tp_peer_claim(tp, peer, sim_now() + CLAIM_NS)) {
        sim_tp_peer_put(tp, peer);
        return mf_err(SMEM_RES_IN_USE, "detach rank %u: it is being attached by another thread",
                      rank);
    }
    struct sim_tp_seg *list = unlink_segments(tp, peer, pool, dead);
    for (struct sim_tp_seg *seg = list; seg; seg = seg->next) {
        tp->host->segment_down(tp->host->arg, &seg->seg);
    }
    for (struct sim_tp_seg *seg = list; seg && dead && peer->page; seg = seg->next) {
        mf_fence_revoke_dead(peer->page->page, &seg->seg.desc);
    }
    while (list) {
        struct sim_tp_seg *seg = list;
        list = seg->next;
        take_down(tp, seg, dead);
    }
    sim_tp_peer_release(tp, peer);
    sim_tp_peer_put(tp, peer);
    return SMEM_OK;
}

/* ---- the end ---- */

static bool any_attached(struct sim_tp *tp, uint32_t *rank, uint64_t *incarnation)
{
    mf_mutex_lock(&tp->lock);
    struct sim_tp_peer *peer = tp->peers;
    while (peer && !peer->segs) {
        peer = peer->next;
    }
    if (peer) {
        *rank = peer->rank;
        *incarnation = peer->incarnation;
    }
    mf_mutex_unlock(&tp->lock);
    return peer != NULL;
}

/* On the loop: nobody is told of an end any more. */
static void unwatch_all(void *arg)
{
    struct sim_tp *tp = arg;
    for (struct sim_tp_peer *peer = tp->peers; peer; peer = peer->next) {
        if (peer->watch) {
            sim_held_unwatch(tp->held, peer->watch);
            peer->watch = NULL;
        }
    }
}

void sim_tp_peers_close(struct sim_tp *tp)
{
    uint32_t rank;
    uint64_t incarnation;
    (void)mf_loop_call(tp->loop, unwatch_all, tp);
    while (any_attached(tp, &rank, &incarnation) &&
           sim_tp_detach(tp, rank, incarnation, UINT32_MAX, MF_DETACH_LEFT) == SMEM_OK) {
    }
    sim_tp_far_close(tp);
    sim_tp_free_graves(tp, sim_now() + CLOSE_NS);
    mf_mutex_lock(&tp->lock);
    while (tp->peers) {
        tp->peers->dead = true;
        tp->peers->refs = 1;
        sim_tp_peer_put_locked(tp, tp->peers);
    }
    mf_mutex_unlock(&tp->lock);
}
