// SPDX-License-Identifier: Apache-2.0
// The life of one instance, and the table of the transport.
#include "transport/direct/direct.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "transport/direct/internal.h"
#include "transport/direct/vm.h"

#define CLOSE_NS (10ull * 1000000000ull)

/* The operators of smem_bm_def.h that choose it. */
#define OP_SDMA     1u
#define OP_HOST_SHM 32u

static int direct_probe(const struct mf_plugin_host *host)
{
    (void)host;
    int fd = memfd_create("memfabric probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return mf_err_sys(SMEM_NOT_EXIST, errno, "direct: this kernel gives no sealed memfd");
    }
    close(fd);
    return SMEM_OK;
}

/* Stop watching the peers; on the loop, nobody is told of an end any more. */
static void unwatch_peers(struct mf_direct *d)
{
    mf_mutex_lock(&d->lock);
    for (;;) {
        struct mf_direct_peer *peer = d->peers;
        while (peer && !peer->watch) {
            peer = peer->next;
        }
        if (!peer) {
            break;
        }
        void *watch = peer->watch;
        peer->watch = NULL;
        mf_mutex_unlock(&d->lock);
        d->host->unwatch_fd(d->host->arg, watch); /* waits for on_ended, which finds no watch */
        mf_mutex_lock(&d->lock);
    }
    while (d->endings) {
        mf_cond_wait(&d->changed, &d->lock, mf_direct_now(d) + CLOSE_NS);
    }
    mf_mutex_unlock(&d->lock);
}

/* All segments are taken down; living processes are nothing to us any more. */
static void free_peers(struct mf_direct *d)
{
    mf_mutex_lock(&d->lock);
    while (d->peers) {
        d->peers->dead = true;
        d->peers->refs = 1;
        mf_direct_peer_put_locked(d, d->peers);
    }
    mf_mutex_unlock(&d->lock);
}

static void detach_all(struct mf_direct *d)
{
    for (;;) {
        mf_mutex_lock(&d->lock);
        struct mf_direct_peer *peer = d->peers;
        while (peer && !peer->segs) {
            peer = peer->next;
        }
        uint32_t rank = peer ? peer->rank : 0;
        uint64_t incarnation = peer ? peer->incarnation : 0;
        mf_mutex_unlock(&d->lock);
        if (!peer ||
            mf_direct_detach(d, rank, incarnation, UINT32_MAX, MF_DETACH_LEFT) != SMEM_OK) {
            return;
        }
    }
}

static void direct_close(void *tp)
{
    struct mf_direct *d = tp;
    if (!d) {
        return;
    }
    if (d->control) {
        atomic_store(&d->control->closed, 1);
    }
    mf_direct_serve_stop(d);
    mf_direct_vm_close(d);
    unwatch_peers(d);
    detach_all(d);
    mf_direct_reap_all(d);
    mf_direct_free_graves(d, mf_direct_now(d) + CLOSE_NS);
    free_peers(d);
    mf_direct_control_unmap(d->control);
    mf_direct_fd_close(d, d->control_fd);
    if (d->spare_fd >= 0) {
        close(d->spare_fd);
    }
    mf_cond_fini(&d->changed);
    mf_mutex_fini(&d->lock);
    mf_free(d);
}

static int open_control(struct mf_direct *d)
{
    struct mf_fence_identity who = {.rank = d->host->rank,
                                    .pid = mf_direct_own_pid(),
                                    .incarnation = d->host->incarnation,
                                    .world_id = d->host->world_id,
                                    .needs_fence = !mf_direct_barrier_register()};
    int rc = mf_direct_control_create(&who, &d->control_fd, &d->control);
    if (rc) {
        return rc;
    }
    mf_direct_fd_note(d, d->control_fd);
    mf_fence_owner_init(&d->fence, d->control, d->host->random_token);
    d->spare_fd = fcntl(d->control_fd, F_DUPFD_CLOEXEC, 0);
    return SMEM_OK;
}

static int direct_open(const struct mf_transport_host *host, void **tp)
{
    *tp = NULL;
    if (host->rank >= MF_WORLD_MAX || host->world > MF_WORLD_MAX || host->incarnation == 0) {
        return mf_err(SMEM_INVALID_PARAM, "direct: rank %u of %u, incarnation %" PRIu64, host->rank,
                      host->world, host->incarnation);
    }
    struct mf_direct *d = mf_calloc(1, sizeof(*d), "transport direct");
    if (!d) {
        return SMEM_MALLOC_FAILED;
    }
    d->host = host;
    d->control_fd = -1;
    d->listener = -1;
    d->spare_fd = -1;
    memcpy(d->token, host->random_token, sizeof(d->token));
    mf_mutex_init(&d->lock, MF_RANK_TRANSPORT);
    mf_cond_init(&d->changed);
    mf_direct_hints(&d->host_hint, &d->net_hint);
    int rc = mf_direct_vm_open(d);
    if (rc == SMEM_OK) {
        rc = open_control(d);
    }
    if (rc == SMEM_OK) {
        rc = mf_direct_serve_start(d);
    }
    if (rc) {
        direct_close(d);
        return mf_err_in(rc, "open transport direct");
    }
    *tp = d;
    return SMEM_OK;
}

static int direct_explain(void *tp, uint32_t rank, char *buf, size_t cap)
{
    struct mf_direct *d = tp;
    uint64_t bytes = 0;
    uint64_t read = 0;
    uint32_t count = 0;
    int pid = 0;
    mf_mutex_lock(&d->lock);
    for (struct mf_direct_peer *peer = d->peers; peer; peer = peer->next) {
        if (peer->rank != rank || peer->refused) {
            continue;
        }
        pid = peer->pid;
        for (struct mf_direct_seg *seg = peer->segs; seg; seg = seg->next) {
            count++;
            bytes += seg->placed ? seg->seg.desc.size : 0;
            read += !seg->placed && seg->there ? seg->seg.desc.size : 0;
        }
    }
    mf_mutex_unlock(&d->lock);
    if (pid && read) {
        snprintf(buf, cap,
                 "rank %u is process %d of this host: %u segments, %" PRIu64
                 " MiB not mapped here (peer.map): gets are process_vm_readv of the caller, puts "
                 "those of rank %u; %" PRIu64 " MiB mapped",
                 rank, pid, count, read >> 20, rank, bytes >> 20);
    } else if (pid) {
        snprintf(buf, cap,
                 "rank %u is process %d of this host: %u segments, %" PRIu64
                 " MiB mapped here; copies are loads and stores of the caller, fenced by %s",
                 rank, pid, count, bytes >> 20,
                 d->control->needs_fence ? "memory fences" : "membarrier");
    } else {
        snprintf(buf, cap, "rank %u is not attached by direct", rank);
    }
    return SMEM_OK;
}

static void direct_close_fds(void *tp)
{
    mf_direct_fds_close_all(tp);
}

const struct mf_transport_ops mf_direct_ops = {
    .abi = MF_PLUGIN_ABI,
    .size = sizeof(struct mf_transport_ops),
    .name = "direct",
    .data_ops = OP_SDMA | OP_HOST_SHM,
    .caps = MF_CAP_HOST | MF_CAP_DEVICE | MF_CAP_SAME_HOST | MF_CAP_THIRD_PARTY,
    .probe = direct_probe,
    .open = direct_open,
    .close = direct_close,
    .endpoint = mf_direct_endpoint,
    .publish = mf_direct_publish,
    .withdraw = mf_direct_withdraw,
    .attach = mf_direct_attach,
    .detach = mf_direct_detach,
    .lane_open = mf_direct_lane_open,
    .lane_close = mf_direct_lane_close,
    .post = mf_direct_post,
    .wait = mf_direct_wait,
    .explain = direct_explain,
    .close_fds = direct_close_fds,
    .copy_small = mf_direct_copy_small,
    .post_many = mf_direct_post_many,
    .settle = mf_direct_settle,
};
