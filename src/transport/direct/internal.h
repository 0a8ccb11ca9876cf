// SPDX-License-Identifier: Apache-2.0
// One instance of the transport, its peers and their segments, as the files of this folder share
// them. The instance's lock is never held while a function of the host or of the device is called.
#ifndef MF_TRANSPORT_DIRECT_INTERNAL_H
#define MF_TRANSPORT_DIRECT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/thread.h"
#include "memfabric/mf_transport.h"
#include "transport/direct/control.h"
#include "transport/direct/direct.h"
#include "transport/direct/msg.h"
#include "transport/fence/fence.h"

#define MF_DIRECT_AREA "transport/direct"
/* Descriptors that one instance may hold: a pidfd for each peer, connections, the listener. */
#define MF_DIRECT_FDS_MAX (MF_WORLD_MAX * 2u)

struct mf_direct_vm;

/* What a segment needs for its fence: `priv` of its struct mf_segment. */
struct mf_direct_seg {
    struct mf_fence_key key; /* first, so that none of both is the same pointer */
    struct mf_segment seg;   /* a peer's; unused for an own one */
    /* A peer's: */
    struct mf_direct_peer *peer; /* holds a reference; NULL for an own segment */
    bool placed;                 /* mapped at the place that the host gave */
    uint64_t there;              /* where its owner reaches it; 0: it cannot be read there */
    bool keep;                   /* of the user, or of pages that are not punched, see
                                    take_down_dram */
    mf_dev_mem mem;              /* HBM: imported memory */
    /* What is left to do when it was taken down, outside of the caller's thread: */
    void *moved; /* the mapping of its DRAM, moved away from its place; NULL: none */
    bool punch;  /* its owner is dead: its pages are given back through us */
    bool unmap;  /* the device still has it mapped, since a copy of ours was under way */
    bool busy; /* a thread of ours is in the middle of a copy: nothing else may be put there yet */
    /* An own one: */
    struct mf_segment *own;
    int fd; /* borrowed */
    uint64_t fd_offset;
    bool user_memory;
    struct mf_direct_seg *next;
};

/* One life of another rank. Kept until its process is dead and nothing refers to it any more, also
 * when it was detached: as long as it lives, it may still be in the middle of a copy. */
struct mf_direct_peer {
    struct mf_direct *d;
    uint32_t rank;
    uint64_t incarnation;
    int pid;
    int pidfd;
    uint8_t token[MF_DIRECT_MSG_TOKEN]; /* of its socket */
    int vm_errno; /* why its memory may not be read by process_vm_readv; 0: it may */
    void *watch;
    struct mf_fence_page *control;
    /* The rest is guarded by the instance's lock. */
    uint32_t refs;  /* segments, and who uses it outside of the lock */
    uint64_t pools; /* bit p: attached in pool p */
    bool busy;      /* one thread changes its segments */
    bool dead;      /* its process has ended */
    bool refused;   /* declared dead or replaced */
    bool reads_us;  /* its kernel lets it read the memory of this process */
    bool vm_told;   /* the log says that its memory is mapped all the same */
    struct mf_direct_seg *segs;
    struct mf_direct_peer *next;
};

struct mf_direct_conn;

struct mf_direct {
    const struct mf_transport_host *host;
    struct mf_fence_page *control;
    int control_fd;
    int listener;
    void *listen_watch;
    uint8_t token[16];
    uint64_t host_hint;                 /* of the boot id */
    uint64_t net_hint;                  /* of the network namespace */
    struct mf_direct_vm *vm;            /* copies without a mapping, see vm.h */
    _Atomic int fds[MF_DIRECT_FDS_MAX]; /* open ones + 1; 0: free. For the child of a fork. */

    struct mf_mutex lock; /* guards what follows and the peers */
    struct mf_cond changed;
    struct mf_fence_owner fence;
    struct mf_direct_peer *peers;
    uint32_t endings;          /* ends of peers that are being told of on the loop */
    struct mf_direct_seg *own; /* in order of index */
    struct mf_direct_conn *conns;
    uint32_t conn_count;
    uint64_t warned_ns;
    int spare_fd; /* given up for a moment when there is no descriptor left to accept with */
    struct mf_direct_seg *graves; /* taken down; freed after a quiesce */
    uint32_t grave_count;
    struct mf_direct_seg *jobs; /* taken down, with something left to do */
    bool reaping;               /* the thread runs */
    bool reaper_made;           /* and is to be joined */
    pthread_t reaper;
};

static inline uint64_t mf_direct_now(const struct mf_direct *d)
{
    return d->host->plugin->now_ns(d->host->plugin);
}
/** Milliseconds until the deadline, rounded up; 0 when it has passed. */
int mf_direct_left_ms(const struct mf_direct *d, uint64_t deadline_ns);
void mf_direct_sleep_us(uint32_t us);

/* fds.c: descriptors that a forked child closes, and messages with descriptors. */
void mf_direct_fd_note(struct mf_direct *d, int fd);
/** Close and forget; -1 is fine. */
void mf_direct_fd_close(struct mf_direct *d, int fd);
void mf_direct_fds_close_all(struct mf_direct *d);
/** Never waits. SMEM_OK, SMEM_RES_IN_USE when the socket is full (no sentence), SMEM_NOT_CONNECTED.
 */
int mf_direct_send(int sock, const struct mf_direct_msg *msg, const int *fds, uint32_t count);
/** Never waits. SMEM_OK: a whole message with the right number of descriptors, the caller's to
 * close. SMEM_RES_IN_USE: nothing there (no sentence). SMEM_NOT_CONNECTED: closed by the other
 * side. SMEM_INVALID_PARAM: rubbish. */
int mf_direct_recv(int sock, struct mf_direct_msg *msg, int fds[MF_DIRECT_MSG_FDS],
                   uint32_t *count);

/* peer.c: peers and what both sides tell each other. */
/** The peer that has proven who it is by the page behind `control_fd`; made when it is new, with a
 * reference for the caller. `pid` and pidfd come from the socket. An older incarnation of the rank
 * is detached. */
int mf_direct_peer_meet(struct mf_direct *d, const struct mf_direct_msg *hello, int control_fd,
                        int sock, struct mf_direct_peer **out);
struct mf_direct_peer *mf_direct_peer_find(struct mf_direct *d, uint32_t rank,
                                           uint64_t incarnation);
void mf_direct_peer_put(struct mf_direct *d, struct mf_direct_peer *peer);
void mf_direct_peer_put_locked(struct mf_direct *d, struct mf_direct_peer *peer);
bool mf_direct_peer_ended(const struct mf_direct_peer *peer);
/** Take the right to change the peer's segments. With `places`, also wait until nothing of an
 * earlier life of its rank is in the way. False: not by the deadline (0: at once). */
bool mf_direct_peer_claim(struct mf_direct *d, struct mf_direct_peer *peer, bool places,
                          uint64_t deadline_ns);
void mf_direct_peer_release(struct mf_direct *d, struct mf_direct_peer *peer);
/** Map what the message announces and tell the host; the peer is claimed. `fds` are those of the
 * segments. What is already known is left as it is. `*again`: a copy of ours holds a place that has
 * to be free first: claim the peer and learn once more. */
int mf_direct_peer_learn(struct mf_direct *d, struct mf_direct_peer *peer,
                         const struct mf_direct_msg *msg, const int *fds, bool *again);
/** Fill segments of `pool` with index >= *from into the message and send it with their descriptors
 * (and `control_fd` unless it is -1); *from goes on when it was sent. */
int mf_direct_tell(struct mf_direct *d, int sock, struct mf_direct_msg *msg, uint32_t *from,
                   int control_fd);
/** The head of a message to that incarnation. */
void mf_direct_msg_init(const struct mf_direct *d, enum mf_direct_msg_type type, uint32_t pool,
                        uint64_t to, struct mf_direct_msg *msg);
/** Same user? And who it is. */
int mf_direct_peer_check_user(int sock, int *pid);

/* serve.c: the answering side, on the host's loop. */
int mf_direct_serve_start(struct mf_direct *d);
void mf_direct_serve_stop(struct mf_direct *d);

/* attach.c */
int mf_direct_endpoint(void *tp, uint8_t *buf, uint32_t cap, uint32_t *len);
int mf_direct_attach(void *tp, const struct mf_peer *peer, uint32_t pool, uint64_t deadline_ns);
/** Where this process is: hints that save a useless connect. */
void mf_direct_hints(uint64_t *host_hint, uint64_t *net_hint);
/** The address of the abstract socket with that token. */
struct sockaddr_un;
uint32_t mf_direct_address(const uint8_t token[16], struct sockaddr_un *out);

/* retire.c: taking down. */
/** The host and the device let go of a peer's segment that is in no list any more; then it is
 * buried, now or when what is left to do has been done. The peer is claimed. */
void mf_direct_take_down(struct mf_direct *d, struct mf_direct_seg *seg, bool dead);
/** Start what take_down left to do, if there is something. */
void mf_direct_reap(struct mf_direct *d);
int mf_direct_detach(void *tp, uint32_t rank, uint64_t incarnation, uint32_t pool,
                     enum mf_detach_why why);
/** Put a segment that is no longer used by new copies aside until it may be freed. */
void mf_direct_bury(struct mf_direct *d, struct mf_direct_seg *seg);
/** Free what lies there, if the threads let go by the deadline. Not on the loop. */
void mf_direct_free_graves(struct mf_direct *d, uint64_t deadline_ns);
/** Does what is left to do still hold the place of a segment of this rank? Caller holds the lock.
 */
bool mf_direct_place_held_locked(const struct mf_direct *d, uint32_t rank);
/** Until nothing is left to do. */
void mf_direct_reap_all(struct mf_direct *d);

/* withdraw.c */
int mf_direct_publish(void *tp, const struct mf_publish *pub);
int mf_direct_withdraw(void *tp, struct mf_segment *segment, uint64_t deadline_ns);

/* lane.c */
int mf_direct_lane_open(void *tp, void **lane);
void mf_direct_lane_close(void *tp, void *lane);
int mf_direct_post(void *lane, struct mf_xfer *v, uint32_t count);
int mf_direct_wait(void *lane, uint64_t deadline_ns);
/** The line by which the lane announces; it is its user's alone. */
struct mf_fence_line *mf_direct_lane_line(void *lane);
int mf_direct_copy_small(void *lane, struct mf_segment *segment, uint64_t gva, void *local,
                         uint32_t size, int write);

/* lane.c, for many.c: a run of copies between the same two segments (NULL: none). */
struct mf_direct_lane;
/** The host wants no checksums. */
bool mf_direct_lane_plain(const struct mf_direct_lane *lane);
const struct mf_transport_host *mf_direct_lane_host(const struct mf_direct_lane *lane);
/** Announce both; false when one is refused. To be left in any case. */
bool mf_direct_run_enter(const struct mf_direct_lane *lane, const struct mf_segment *src,
                         const struct mf_segment *dst);
/** The second look. */
bool mf_direct_run_valid(const struct mf_direct_lane *lane, const struct mf_segment *src,
                         const struct mf_segment *dst);
void mf_direct_run_leave(const struct mf_direct_lane *lane);
/** Say in the line which thread it is that copies for long, or that it is done. */
void mf_direct_run_name(const struct mf_direct_lane *lane, bool named);
/** Why the fence refuses: the sentence, and its code. */
int mf_direct_run_refused(const struct mf_direct_lane *lane, struct mf_segment *src,
                          struct mf_segment *dst);

/* many.c */
int mf_direct_post_many(void *lane, struct mf_xfer_many *many);

/** One store for what is aligned and fits a register; false when it is not. */
static inline bool mf_direct_copy_word(void *dst, const void *src, uint64_t size)
{
    if ((uintptr_t)dst & (size - 1)) {
        return false;
    }
    switch (size) {
    case 8: {
        uint64_t word;
        memcpy(&word, src, sizeof(word));
        __atomic_store_n((uint64_t *)dst, word, __ATOMIC_RELAXED);
        return true;
    }
    case 4: {
        uint32_t word;
        memcpy(&word, src, sizeof(word));
        __atomic_store_n((uint32_t *)dst, word, __ATOMIC_RELAXED);
        return true;
    }
    case 2: {
        uint16_t word;
        memcpy(&word, src, sizeof(word));
        __atomic_store_n((uint16_t *)dst, word, __ATOMIC_RELAXED);
        return true;
    }
    case 1:
        __atomic_store_n((uint8_t *)dst, *(const uint8_t *)src, __ATOMIC_RELAXED);
        return true;
    default:
        return false;
    }
}

#endif
