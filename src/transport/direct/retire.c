// SPDX-License-Identifier: Apache-2.0
// Taking a peer's segments down. The places are free again when detach returns; what takes long,
// giving the pages of a dead owner back, is done by a thread that lives only as long as there is
// something to do. Segments are freed when no thread can hold a pointer to them any more.
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "gva/memory.h"
#include "transport/direct/internal.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define CLAIM_NS      (2000ull * 1000000ull)
#define QUIESCE_NS    (1000ull * 1000000ull)
#define UNMAP_WAIT_NS (600ull * 1000000000ull)
#define TABLE_SPAN    (1ull << 30)
#define GRAVES_KEPT   16u /* more than that are worth a thread */

void mf_direct_bury(struct mf_direct *d, struct mf_direct_seg *seg)
{
    mf_mutex_lock(&d->lock);
    seg->next = d->graves;
    d->graves = seg;
    d->grave_count++;
    mf_mutex_unlock(&d->lock);
}

void mf_direct_free_graves(struct mf_direct *d, uint64_t deadline_ns)
{
    mf_mutex_lock(&d->lock);
    struct mf_direct_seg *list = d->graves;
    d->graves = NULL;
    d->grave_count = 0;
    mf_mutex_unlock(&d->lock);
    if (!list) {
        return;
    }
    bool free_now = d->host->quiesce(d->host->arg, deadline_ns) == SMEM_OK;
    while (list) {
        struct mf_direct_seg *seg = list;
        list = seg->next;
        if (!free_now) {
            mf_direct_bury(d, seg);
            continue;
        }
        if (seg->peer) {
            mf_direct_peer_put(d, seg->peer);
        }
        mf_free(seg);
    }
}

/* Move the mapping, with all its pages, to another address: the place is then empty, however many
 * pages there are. To an address that differs by a multiple of what an upper page table covers, the
 * kernel moves whole tables: microseconds instead of milliseconds. NULL when it cannot. */
static void *move_away(uint64_t addr, uint64_t size)
{
    uint64_t span = size + TABLE_SPAN;
    char *room = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) {
        return NULL;
    }
    uint64_t before = (addr - (uint64_t)(uintptr_t)room) % TABLE_SPAN;
    void *moved = mremap((void *)(uintptr_t)addr, size, size,
                         MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, room + before);
    if (moved == MAP_FAILED) {
        munmap(room, span);
        return NULL;
    }
    if (before) {
        munmap(room, before);
    }
    if (before + size < span) {
        munmap(room + before + size, span - before - size);
    }
    return moved;
}

/* Memory of the user is his. Huge pages are not punched: who loads from such a hole when no huge
 * page is left gets SIGBUS. They are free when the last process has taken the mapping away. */
static void take_down_dram(struct mf_direct *d, struct mf_direct_seg *seg, bool dead)
{
    uint64_t addr = seg->seg.host;
    uint64_t size = seg->seg.desc.size;
    bool punch = dead && !seg->keep;
    if (punch) {
        seg->moved = move_away(addr, size);
        seg->punch = true;
    }
    if (punch && !seg->moved && mf_memory_punch_mapping(addr, size) != SMEM_OK) {
        d->host->plugin->log(d->host->plugin, 2, MF_DIRECT_AREA, "rank %u, pool %u: %s",
                             seg->peer->rank, seg->seg.desc.pool, mf_err_msg());
    }
    /* Zero pages for those who left, too: a stray load of the application does not crash. */
    if (d->host->unplace(d->host->arg, &seg->seg.desc, 1) != SMEM_OK) {
        d->host->plugin->log(d->host->plugin, 3, MF_DIRECT_AREA, "rank %u, pool %u: %s",
                             seg->peer->rank, seg->seg.desc.pool, mf_err_msg());
    }
}

static void unmap_hbm(struct mf_direct *d, struct mf_direct_seg *seg)
{
    if (d->host->device->unmap(d->host->device_impl, seg->seg.dev, seg->seg.desc.size) != SMEM_OK) {
        d->host->plugin->log(d->host->plugin, 3, MF_DIRECT_AREA, "rank %u, pool %u: %s",
                             seg->peer->rank, seg->seg.desc.pool, mf_err_msg());
    }
}

void mf_direct_take_down(struct mf_direct *d, struct mf_direct_seg *seg, bool dead)
{
    bool hbm = seg->placed && seg->seg.desc.kind == MF_KIND_HBM;
    if (seg->placed && !hbm) {
        take_down_dram(d, seg, dead);
    }
    if (hbm) {
        seg->punch = dead;
        mf_direct_barrier();
        seg->unmap = !mf_fence_clear_of(d->control, seg->key.hazard);
        if (!seg->unmap) {
            unmap_hbm(d, seg);
        }
        if (!seg->unmap && !dead) {
            d->host->device->mem_destroy(d->host->device_impl, seg->mem);
            seg->mem = NULL;
        }
    }
    if (seg->placed && !hbm) {
        /* Late bytes of ours go to the zero pages, not to what its owner puts there next. */
        mf_direct_barrier();
        seg->busy = !mf_fence_clear_of(d->control, seg->key.hazard);
    }
    /* Of a dead peer that is not mapped, its descriptor: the thread frees it soon. */
    bool unmapped = dead && !seg->placed && seg->there;
    if (!seg->mem && !seg->moved && !seg->busy && !unmapped) {
        mf_direct_bury(d, seg);
        return;
    }
    mf_mutex_lock(&d->lock);
    seg->next = d->jobs;
    d->jobs = seg;
    mf_mutex_unlock(&d->lock);
}

/* What was left to do for one segment. */
static void finish_segment(struct mf_direct *d, struct mf_direct_seg *seg)
{
    uint64_t give_up = mf_direct_now(d) + UNMAP_WAIT_NS;
    int rc = SMEM_OK;
    while ((seg->unmap || seg->busy) && !mf_fence_clear_of(d->control, seg->key.hazard) &&
           mf_direct_now(d) < give_up) {
        mf_direct_sleep_us(1000);
    }
    if (seg->unmap) {
        unmap_hbm(d, seg);
    }
    if (seg->moved) {
        rc = mf_memory_punch_mapping((uint64_t)(uintptr_t)seg->moved, seg->seg.desc.size);
        munmap(seg->moved, seg->seg.desc.size);
    }
    if (seg->mem) {
        if (seg->punch) {
            rc = d->host->device->mem_punch(d->host->device_impl, seg->mem);
        }
        d->host->device->mem_destroy(d->host->device_impl, seg->mem);
    }
    if (rc) {
        d->host->plugin->log(d->host->plugin, 2, MF_DIRECT_AREA,
                             "memory of rank %u in pool %u is not given back at once: %s",
                             seg->peer->rank, seg->seg.desc.pool, mf_err_msg());
    }
}

/* One job. It stays in the list while it runs, since it may hold its place. False: there was none.
 */
static bool finish_one(struct mf_direct *d)
{
    mf_mutex_lock(&d->lock);
    struct mf_direct_seg *seg = d->jobs;
    mf_mutex_unlock(&d->lock);
    if (!seg) {
        return false;
    }
    finish_segment(d, seg);
    mf_mutex_lock(&d->lock);
    struct mf_direct_seg **at = &d->jobs;
    while (*at != seg) {
        at = &(*at)->next;
    }
    *at = seg->next;
    mf_cond_broadcast(&d->changed);
    mf_mutex_unlock(&d->lock);
    mf_direct_bury(d, seg);
    return true;
}

static void *reaper_main(void *arg)
{
    struct mf_direct *d = arg;
    bool more = true;
    while (more) {
        while (finish_one(d)) {
        }
        mf_direct_free_graves(d, mf_direct_now(d) + QUIESCE_NS);
        mf_mutex_lock(&d->lock);
        more = d->jobs != NULL;
        d->reaping = more;
        mf_cond_broadcast(&d->changed);
        mf_mutex_unlock(&d->lock);
    }
    return NULL;
}

void mf_direct_reap(struct mf_direct *d)
{
    mf_mutex_lock(&d->lock);
    bool start = !d->reaping && (d->jobs || d->grave_count > GRAVES_KEPT);
    if (start && d->reaper_made) {
        mf_thread_join(d->reaper); /* it has let go of the lock for good */
    }
    if (start) {
        d->reaping = true;
        d->reaper_made = mf_thread_start(&d->reaper, "mf-reaper", reaper_main, d) == SMEM_OK;
    }
    bool here = start && !d->reaper_made;
    mf_mutex_unlock(&d->lock);
    if (here) {
        reaper_main(d); /* no thread to be had: better late than never */
    }
}

void mf_direct_reap_all(struct mf_direct *d)
{
    mf_direct_reap(d);
    mf_mutex_lock(&d->lock);
    while (d->reaping) {
        mf_cond_wait(&d->changed, &d->lock, mf_direct_now(d) + QUIESCE_NS);
    }
    bool made = d->reaper_made;
    d->reaper_made = false;
    mf_mutex_unlock(&d->lock);
    if (made) {
        mf_thread_join(d->reaper);
    }
}

bool mf_direct_place_held_locked(const struct mf_direct *d, uint32_t rank)
{
    for (const struct mf_direct_seg *seg = d->jobs; seg; seg = seg->next) {
        if ((seg->unmap || seg->busy) && seg->peer->rank == rank) {
            return true;
        }
    }
    return false;
}

/* Take the peer's segments of a pool (UINT32_MAX: of all) out of its list. */
static struct mf_direct_seg *unlink_segments(struct mf_direct *d, struct mf_direct_peer *peer,
                                             uint32_t pool, bool dead)
{
    struct mf_direct_seg *list = NULL;
    mf_mutex_lock(&d->lock);
    struct mf_direct_seg **at = &peer->segs;
    while (*at) {
        struct mf_direct_seg *seg = *at;
        if (pool == UINT32_MAX || seg->seg.desc.pool == pool) {
            *at = seg->next;
            seg->next = list;
            list = seg;
        } else {
            at = &seg->next;
        }
    }
    peer->pools &= pool < MF_POOLS_MAX ? ~(1ull << pool) : 0;
    peer->refused = peer->refused || dead;
    mf_mutex_unlock(&d->lock);
    return list;
}

/* Whoever is in the middle of a copy out of the dead owner's memory must not take the zeros of its
 * empty pages for data: its second look at the epoch says so. */
static void revoke_epochs(struct mf_direct_peer *peer, const struct mf_direct_seg *list)
{
    for (; list; list = list->next) {
        mf_fence_revoke_dead(peer->control, &list->seg.desc);
    }
    atomic_thread_fence(memory_order_seq_cst);
}

int mf_direct_detach(void *tp, uint32_t rank, uint64_t incarnation, uint32_t pool,
                     enum mf_detach_why why)
{
    struct mf_direct *d = tp;
    bool dead = why == MF_DETACH_DEAD;
    if (rank >= MF_WORLD_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "detach: rank %u is not below %u", rank, MF_WORLD_MAX);
    }
    mf_mutex_lock(&d->lock);
    if (dead) {
        mf_fence_refuse(&d->fence, rank, incarnation);
    }
    struct mf_direct_peer *peer = mf_direct_peer_find(d, rank, incarnation);
    if (peer) {
        peer->refs++;
    }
    mf_mutex_unlock(&d->lock);
    if (!peer) {
        return SMEM_OK;
    }
    if (!mf_direct_peer_claim(d, peer, false, mf_direct_now(d) + CLAIM_NS)) {
        mf_direct_peer_put(d, peer);
        return mf_err(SMEM_RES_IN_USE, "detach rank %u: it is being attached by another thread",
                      rank);
    }
    struct mf_direct_seg *list = unlink_segments(d, peer, pool, dead);
    for (struct mf_direct_seg *seg = list; seg; seg = seg->next) {
        d->host->segment_down(d->host->arg, &seg->seg);
    }
    if (dead) {
        revoke_epochs(peer, list);
    }
    while (list) {
        struct mf_direct_seg *seg = list;
        list = seg->next;
        mf_direct_take_down(d, seg, dead);
    }
    mf_direct_peer_release(d, peer);
    mf_direct_peer_put(d, peer);
    mf_direct_reap(d);
    return SMEM_OK;
}
