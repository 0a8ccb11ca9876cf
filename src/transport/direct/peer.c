// SPDX-License-Identifier: Apache-2.0
// Peers of this host: proving who they are, watching their processes, and mapping what they
// announce. A peer is known by its incarnation; a rank may have several lives here, of which at
// most one is not refused.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "gva/space.h"
#include "transport/direct/internal.h"
#include "transport/direct/vm.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

int mf_direct_left_ms(const struct mf_direct *d, uint64_t deadline_ns)
{
    uint64_t now = mf_direct_now(d);
    if (now >= deadline_ns) {
        return 0;
    }
    uint64_t ms = (deadline_ns - now + 999999) / 1000000;
    return ms > 3600000 ? 3600000 : (int)ms;
}

void mf_direct_sleep_us(uint32_t us)
{
    struct timespec span = {.tv_nsec = (long)us * 1000};
    nanosleep(&span, NULL);
}

struct mf_direct_peer *mf_direct_peer_find(struct mf_direct *d, uint32_t rank, uint64_t incarnation)
{
    struct mf_direct_peer *peer = d->peers;
    while (peer && (peer->rank != rank || peer->incarnation != incarnation)) {
        peer = peer->next;
    }
    return peer;
}

static void peer_free(struct mf_direct_peer *peer)
{
    mf_direct_fd_close(peer->d, peer->pidfd);
    mf_direct_control_unmap(peer->control);
    mf_free(peer);
}

void mf_direct_peer_put_locked(struct mf_direct *d, struct mf_direct_peer *peer)
{
    if (--peer->refs > 0 || !peer->dead || peer->watch) {
        return; /* a living process may still copy: its page is needed */
    }
    struct mf_direct_peer **at = &d->peers;
    while (*at != peer) {
        at = &(*at)->next;
    }
    *at = peer->next;
    peer_free(peer);
}

void mf_direct_peer_put(struct mf_direct *d, struct mf_direct_peer *peer)
{
    mf_mutex_lock(&d->lock);
    mf_direct_peer_put_locked(d, peer);
    mf_mutex_unlock(&d->lock);
}

bool mf_direct_peer_ended(const struct mf_direct_peer *peer)
{
    struct pollfd ended = {.fd = peer->pidfd, .events = POLLIN};
    return poll(&ended, 1, 0) > 0;
}

/* Nothing of the peer copies any more: forget it as soon as nothing refers to it. The caller has
 * taken its watch off it, under the lock, and has counted itself in refs and endings. */
static void finish_peer(struct mf_direct_peer *peer, void *watch, const char *why)
{
    struct mf_direct *d = peer->d;
    d->host->unwatch_fd(d->host->arg, watch);
    if (why) {
        d->host->peer_dead(d->host->arg, peer->rank, peer->incarnation, why);
    }
    mf_mutex_lock(&d->lock);
    mf_direct_peer_put_locked(d, peer);
    d->endings--;
    mf_cond_broadcast(&d->changed);
    mf_mutex_unlock(&d->lock);
}

static void *begin_finish_locked(struct mf_direct_peer *peer)
{
    void *watch = peer->watch;
    peer->watch = NULL;
    peer->dead = true;
    peer->refs++;
    peer->d->endings++;
    mf_direct_vm_wake_locked(peer->d);
    return watch;
}

/* The peer's process has ended; on the loop. */
static void on_ended(void *arg)
{
    struct mf_direct_peer *peer = arg;
    struct mf_direct *d = peer->d;
    mf_mutex_lock(&d->lock);
    if (!peer->watch) {
        mf_mutex_unlock(&d->lock);
        return; /* it is being noted right now: called again at once */
    }
    void *watch = begin_finish_locked(peer);
    bool died = peer->pools != 0 && atomic_load(&peer->control->closed) == 0;
    mf_mutex_unlock(&d->lock);
    char why[64];
    snprintf(why, sizeof(why), "its process (pid %d) has ended", peer->pid);
    finish_peer(peer, watch, died ? why : NULL);
}

/* A process may live on after its instance has closed, and open others: those that have closed are
 * forgotten, lest a rank that comes and goes costs a descriptor each time. */
static void forget_closed(struct mf_direct *d)
{
    for (;;) {
        void *watch = NULL;
        mf_mutex_lock(&d->lock);
        struct mf_direct_peer *peer = d->peers;
        while (peer && (!peer->watch || peer->pools != 0 || peer->segs ||
                        atomic_load(&peer->control->closed) == 0)) {
            peer = peer->next;
        }
        if (peer) {
            watch = begin_finish_locked(peer);
        }
        mf_mutex_unlock(&d->lock);
        if (!peer) {
            return;
        }
        finish_peer(peer, watch, NULL);
    }
}

int mf_direct_peer_check_user(int sock, int *pid)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0) {
        return mf_err_sys(SMEM_NOT_CONNECTED, errno, "ask who is at the other end of the socket");
    }
    *pid = cred.pid;
    if (cred.uid != geteuid()) {
        return mf_err(
            SMEM_NOT_CONNECTED,
            "process %d belongs to user %u and this one to user %u: only processes of one "
            "user share memory",
            cred.pid, cred.uid, geteuid());
    }
    return SMEM_OK;
}

/* A descriptor of the process at the other end of the socket, not of one that has its number now.
 */
static int open_pidfd(int sock, const struct mf_fence_page *control, int pid, int *out)
{
    int fd = -1;
    socklen_t len = sizeof(fd);
    if (getsockopt(sock, SOL_SOCKET, SO_PEERPIDFD, &fd, &len) == 0) {
        *out = fd;
        return SMEM_OK;
    }
    fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (fd >= 0 && mf_direct_start_time(pid) == control->start_time) {
        *out = fd;
        return SMEM_OK;
    }
    int cause = fd >= 0 ? ESRCH : errno;
    if (fd >= 0) {
        close(fd);
    }
    return mf_err_sys(SMEM_NOT_CONNECTED, cause,
                      "watch process %d of rank %u (limits: ulimit -n; processes that share memory "
                      "need one PID namespace on this kernel)",
                      pid, control->rank);
}

/* Who the page says it is must be who the message says it is: only that process could hand it over.
 */
static int check_identity(const struct mf_direct *d, const struct mf_direct_msg *hello,
                          const struct mf_fence_page *control)
{
    if (control->world_id != d->host->world_id || hello->world_id != d->host->world_id) {
        return mf_err(SMEM_NOT_CONNECTED, "rank %u belongs to another cluster", hello->rank);
    }
    if (control->incarnation != hello->incarnation || control->rank != hello->rank ||
        hello->rank == d->host->rank || hello->rank >= d->host->world) {
        return mf_err(SMEM_NOT_CONNECTED,
                      "a process says that it is rank %u, its control page says rank %u",
                      hello->rank, control->rank);
    }
    return SMEM_OK;
}

static int refused(uint32_t rank)
{
    return mf_err(SMEM_NOT_CONNECTED,
                  "rank %u was declared dead under this incarnation: it must leave and join again",
                  rank);
}

/* A known life of the rank, with a reference; or why it is not welcome. *out stays NULL when it is
 * new. */
static int find_known(struct mf_direct *d, uint32_t rank, uint64_t incarnation,
                      struct mf_direct_peer **out)
{
    mf_mutex_lock(&d->lock);
    bool no = mf_fence_is_refused(&d->fence, rank, incarnation);
    struct mf_direct_peer *peer = mf_direct_peer_find(d, rank, incarnation);
    no = no || (peer && peer->refused);
    if (peer && !no) {
        peer->refs++;
        *out = peer;
    }
    mf_mutex_unlock(&d->lock);
    return no ? refused(rank) : SMEM_OK;
}

/* The process was watched before it is in the list, so that a peer in the list always is. */
static int insert_watched(struct mf_direct *d, struct mf_direct_peer *peer,
                          struct mf_direct_peer **out)
{
    void *watch;
    int rc = d->host->watch_fd(d->host->arg, peer->pidfd, on_ended, peer, &watch);
    if (rc) {
        peer_free(peer);
        return rc;
    }
    mf_mutex_lock(&d->lock);
    struct mf_direct_peer *known = mf_direct_peer_find(d, peer->rank, peer->incarnation);
    bool welcome = mf_fence_admit(&d->fence, peer->rank, peer->incarnation);
    *out = known ? known : peer;
    if (!welcome) {
        *out = NULL;
    } else if (known) {
        known->refs++;
    } else {
        peer->watch = watch;
        peer->next = d->peers;
        d->peers = peer;
    }
    mf_mutex_unlock(&d->lock);
    if (*out != peer) {
        rc = welcome ? SMEM_OK : refused(peer->rank);
        d->host->unwatch_fd(d->host->arg, watch);
        peer_free(peer);
    }
    return rc;
}

/* Lives of the same rank that are not this one end here. */
static void retire_others(struct mf_direct *d, uint32_t rank, uint64_t incarnation)
{
    for (;;) {
        uint64_t old = 0;
        mf_mutex_lock(&d->lock);
        for (struct mf_direct_peer *p = d->peers; p; p = p->next) {
            if (p->rank == rank && p->incarnation != incarnation && !p->refused) {
                old = p->incarnation;
            }
        }
        mf_mutex_unlock(&d->lock);
        if (old == 0) {
            return;
        }
        mf_direct_detach(d, rank, old, UINT32_MAX, MF_DETACH_DEAD);
    }
}

/* Is another life of the rank attached here, and its process alive? */
static bool has_rival(struct mf_direct *d, uint32_t rank, uint64_t incarnation)
{
    bool rival = false;
    mf_mutex_lock(&d->lock);
    for (struct mf_direct_peer *p = d->peers; p && !rival; p = p->next) {
        rival = p->rank == rank && p->incarnation != incarnation && p->pools && !p->refused &&
                !p->dead && !mf_direct_peer_ended(p);
    }
    mf_mutex_unlock(&d->lock);
    return rival;
}

/* Which of two living processes has the rank is for the config store to say. Who comes by himself
 * may be the one that has lost it and does not know yet; whom our own core asked for is the right
 * one. */
static int check_rivals(struct mf_direct *d, const struct mf_direct_msg *hello)
{
    return hello->type != MF_DIRECT_HELLO || !has_rival(d, hello->rank, hello->incarnation)
               ? SMEM_OK
               : mf_err(SMEM_NOT_CONNECTED,
                        "rank %u is another living process here: come again when that one has left "
                        "or was declared dead",
                        hello->rank);
}

int mf_direct_peer_meet(struct mf_direct *d, const struct mf_direct_msg *hello, int control_fd,
                        int sock, struct mf_direct_peer **out)
{
    struct mf_fence_page *control = NULL;
    int pid;
    *out = NULL;
    int rc = mf_direct_peer_check_user(sock, &pid);
    if (rc == SMEM_OK) {
        rc = mf_direct_control_map(control_fd, &control);
    }
    if (rc) {
        return rc;
    }
    rc = check_identity(d, hello, control);
    if (rc == SMEM_OK) {
        rc = find_known(d, hello->rank, hello->incarnation, out);
    }
    if (rc == SMEM_OK && !*out) {
        rc = check_rivals(d, hello);
    }
    if (rc || *out) {
        mf_direct_control_unmap(control);
        return rc;
    }
    struct mf_direct_peer *peer = mf_calloc(1, sizeof(*peer), "peer");
    if (!peer) {
        mf_direct_control_unmap(control);
        return SMEM_MALLOC_FAILED;
    }
    *peer = (struct mf_direct_peer){.d = d,
                                    .rank = hello->rank,
                                    .incarnation = hello->incarnation,
                                    .pid = pid,
                                    .pidfd = -1,
                                    .control = control,
                                    .vm_errno = mf_direct_vm_ask(d, pid),
                                    .refs = 1};
    memcpy(peer->token, hello->token, sizeof(peer->token));
    rc = open_pidfd(sock, control, pid, &peer->pidfd);
    if (rc) {
        peer_free(peer);
        return rc;
    }
    mf_direct_fd_note(d, peer->pidfd);
    retire_others(d, hello->rank, hello->incarnation);
    forget_closed(d);
    return insert_watched(d, peer, out);
}

bool mf_direct_peer_claim(struct mf_direct *d, struct mf_direct_peer *peer, bool places,
                          uint64_t deadline_ns)
{
    bool in_time = true;
    mf_mutex_lock(&d->lock);
    while ((peer->busy || (places && mf_direct_place_held_locked(d, peer->rank))) && in_time) {
        in_time = deadline_ns && mf_cond_wait(&d->changed, &d->lock, deadline_ns);
    }
    if (in_time) {
        peer->busy = true;
    }
    mf_mutex_unlock(&d->lock);
    return in_time;
}

void mf_direct_peer_release(struct mf_direct *d, struct mf_direct_peer *peer)
{
    mf_mutex_lock(&d->lock);
    peer->busy = false;
    mf_cond_broadcast(&d->changed);
    mf_mutex_unlock(&d->lock);
}

/* A file that could shrink under the mapping would be a way to kill this process. */
static int check_memfd(const struct mf_direct_seg *seg, int fd)
{
    const struct mf_segment_desc *desc = &seg->seg.desc;
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK)) {
        return mf_err(SMEM_NOT_CONNECTED,
                      "segment %u of rank %u in pool %u: its descriptor is not sealed against "
                      "shrinking: make it with memfd_create and seal it",
                      desc->index, desc->owner, desc->pool);
    }
    if (fstat(fd, &st) != 0 || st.st_size < 0 ||
        (uint64_t)st.st_size < seg->fd_offset + desc->size) {
        return mf_err(
            SMEM_NOT_CONNECTED,
            "segment %u of rank %u in pool %u: its descriptor holds less than the %" PRIu64
            " bytes that it announces",
            desc->index, desc->owner, desc->pool, seg->fd_offset + desc->size);
    }
    return SMEM_OK;
}

static int map_dram(struct mf_direct *d, struct mf_direct_seg *seg, int fd, uint64_t place)
{
    int rc = check_memfd(seg, fd);
    if (rc) {
        return rc;
    }
    struct statfs fs;
    seg->keep |= fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC;
    rc = mf_space_map(place, seg->seg.desc.size, fd, seg->fd_offset);
    if (rc) {
        d->host->unplace(d->host->arg, &seg->seg.desc, 0);
        return rc;
    }
    seg->placed = true;
    seg->seg.host = place;
    seg->seg.dev = d->host->device ? place : 0;
    return SMEM_OK;
}

static int map_hbm(struct mf_direct *d, struct mf_direct_seg *seg, int fd, uint64_t place)
{
    const struct mf_device_ops *dev = d->host->device;
    void *impl = d->host->device_impl;
    if (!dev) {
        return SMEM_OK; /* known, but nothing here reaches it */
    }
    uint64_t size = seg->seg.desc.size;
    int rc = dev->mem_import(impl, fd, seg->fd_offset + size, &seg->mem);
    if (rc) {
        return rc;
    }
    rc = dev->map(impl, place, seg->mem, seg->fd_offset, size);
    if (rc) {
        dev->mem_destroy(impl, seg->mem);
        seg->mem = NULL;
        return rc;
    }
    seg->placed = true;
    seg->seg.dev = place;
    return SMEM_OK;
}

/* Map one announced segment and tell the host. `fd` is -1 when there is none. */
static int learn_one(struct mf_direct *d, struct mf_direct_peer *peer,
                     const struct mf_direct_msg_seg *told, int fd)
{
    const struct mf_segment_desc *desc = &told->desc;
    uint64_t place = 0;
    struct mf_direct_seg *seg = mf_alloc_aligned(64, sizeof(*seg), "segment of a peer");
    if (!seg) {
        return SMEM_MALLOC_FAILED;
    }
    seg->seg.desc = *desc;
    seg->seg.ops = &mf_direct_ops;
    seg->seg.tp = d;
    seg->seg.priv = seg;
    mf_fence_key_init(&seg->key, peer->control, desc, d->host->rank, d->control->needs_fence);
    seg->fd = -1;
    seg->fd_offset = told->fd_offset;
    seg->keep = told->keep;
    seg->there = peer->vm_errno == 0 && peer->reads_us ? told->host : 0;
    seg->peer = peer;
    int rc = d->host->place(d->host->arg, desc, &place);
    bool unmapped = mf_direct_vm_instead(d, peer, told);
    if (rc == SMEM_OK && place && fd >= 0 && !unmapped) {
        rc = desc->kind == MF_KIND_DRAM ? map_dram(d, seg, fd, place) : map_hbm(d, seg, fd, place);
    }
    if (rc) {
        mf_free(seg);
        return rc;
    }
    mf_mutex_lock(&d->lock);
    peer->refs++;
    seg->next = peer->segs;
    peer->segs = seg;
    mf_mutex_unlock(&d->lock);
    rc = d->host->segment_up(d->host->arg, &seg->seg);
    if (rc) {
        mf_mutex_lock(&d->lock);
        peer->segs = seg->next; /* the peer is claimed: nobody has put another in front */
        mf_mutex_unlock(&d->lock);
        if (seg->placed && desc->kind == MF_KIND_DRAM) {
            d->host->unplace(d->host->arg, desc, 0); /* as if it had never been there */
            seg->placed = false;
        }
        mf_direct_take_down(d, seg, false);
    }
    return rc;
}

/* The segment of that number, which is either the announced one or an earlier one that is over. */
static struct mf_direct_seg *take_stale(struct mf_direct *d, struct mf_direct_peer *peer,
                                        const struct mf_segment_desc *desc, bool *known)
{
    struct mf_direct_seg *stale = NULL;
    mf_mutex_lock(&d->lock);
    struct mf_direct_seg **at = &peer->segs;
    while (*at && (*at)->seg.desc.index != desc->index) {
        at = &(*at)->next;
    }
    *known = *at && (*at)->key.epoch == desc->epoch;
    if (*at && !*known) {
        stale = *at;
        *at = stale->next;
    }
    mf_mutex_unlock(&d->lock);
    return stale;
}

static bool is_place_held(struct mf_direct *d, uint32_t rank)
{
    mf_mutex_lock(&d->lock);
    bool held = mf_direct_place_held_locked(d, rank);
    mf_mutex_unlock(&d->lock);
    return held;
}

int mf_direct_peer_learn(struct mf_direct *d, struct mf_direct_peer *peer,
                         const struct mf_direct_msg *msg, const int *fds, bool *again)
{
    int rc = SMEM_OK;
    uint32_t next_fd = 0;
    *again = false;
    if (msg->type == MF_DIRECT_HELLO || msg->type == MF_DIRECT_WELCOME) {
        peer->reads_us = (msg->flags & MF_DIRECT_READS) != 0;
    }
    for (uint32_t i = 0; rc == SMEM_OK && i < msg->count; i++) {
        const struct mf_direct_msg_seg *told = &msg->segs[i];
        int fd = told->has_fd ? fds[next_fd++] : -1;
        bool known;
        struct mf_direct_seg *stale = take_stale(d, peer, &told->desc, &known);
        if (stale) {
            d->host->segment_down(d->host->arg, &stale->seg);
            mf_direct_take_down(d, stale, false);
            mf_direct_reap(d);
            *again = is_place_held(d, peer->rank);
        }
        if (*again) {
            return SMEM_OK;
        }
        if (!known) {
            rc = learn_one(d, peer, told, fd);
        }
    }
    if (rc == SMEM_OK) {
        mf_mutex_lock(&d->lock);
        peer->pools |= 1ull << msg->pool;
        mf_mutex_unlock(&d->lock);
    }
    return rc;
}

void mf_direct_msg_init(const struct mf_direct *d, enum mf_direct_msg_type type, uint32_t pool,
                        uint64_t to, struct mf_direct_msg *msg)
{
    memset(msg, 0, sizeof(*msg));
    msg->type = type;
    msg->rank = d->host->rank;
    msg->pool = pool;
    msg->world_id = d->host->world_id;
    msg->incarnation = d->host->incarnation;
    msg->to = to;
    memcpy(msg->token, d->token, sizeof(msg->token));
}

int mf_direct_tell(struct mf_direct *d, int sock, struct mf_direct_msg *msg, uint32_t *from,
                   int control_fd)
{
    int fds[MF_DIRECT_MSG_FDS];
    uint32_t fd_count = 0;
    uint32_t next = *from;
    bool more = false;
    if (control_fd >= 0) {
        fds[fd_count++] = control_fd;
    }
    msg->count = 0;
    /* Under the lock, since a withdrawn segment's descriptor may be closed. */
    mf_mutex_lock(&d->lock);
    for (struct mf_direct_seg *seg = d->own; seg; seg = seg->next) {
        const struct mf_segment_desc *desc = &seg->own->desc;
        if (desc->pool != msg->pool || desc->index < *from) {
            continue;
        }
        if (msg->count == MF_DIRECT_MSG_SEGMENTS) {
            more = true;
            break;
        }
        msg->segs[msg->count++] =
            (struct mf_direct_msg_seg){.desc = *desc,
                                       .fd_offset = seg->fd_offset,
                                       .host = desc->kind == MF_KIND_DRAM ? seg->own->host : 0,
                                       .has_fd = seg->fd >= 0,
                                       .keep = seg->user_memory};
        if (seg->fd >= 0) {
            fds[fd_count++] = seg->fd;
        }
        next = desc->index + 1;
    }
    msg->flags = (msg->flags & MF_DIRECT_READS) | (more ? 0 : MF_DIRECT_LAST);
    int rc = mf_direct_send(sock, msg, fds, fd_count);
    mf_mutex_unlock(&d->lock);
    if (rc == SMEM_OK) {
        *from = next;
    }
    return rc;
}
