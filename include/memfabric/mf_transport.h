/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file mf_transport.h
 * The table of functions that a transport fills: a way to reach the memory of a peer. See
 * docs/plugins.md. A transport publishes this rank's segments, attaches peers (then both sides know
 * each other's segments) and moves bytes between addresses of which at least one may lie in such a
 * segment.
 *
 * Life of an instance: open, endpoint, then publish / attach / detach / withdraw in any order from
 * any thread, lanes for data, close. All functions return 0 or a negative SMEM_* code with
 * host->err() recorded.
 */
#ifndef MEMFABRIC_MF_TRANSPORT_H
#define MEMFABRIC_MF_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

#include "memfabric/mf_device.h"
#include "memfabric/mf_plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Kind of memory; also the order of the slots in a pool's address range. */
enum mf_mem_kind { MF_KIND_HBM = 0, MF_KIND_DRAM = 1, MF_KIND_COUNT = 2 };

/** A published piece of a slot, as its owner announces it: enough to name it, nothing local in it.
 */
struct mf_segment_desc {
    uint64_t gva;         /* global address of its first byte */
    uint64_t size;        /* bytes */
    uint64_t epoch;       /* drawn when published, never 0; a stale one is refused */
    uint64_t incarnation; /* of the owner */
    uint32_t pool;
    uint32_t owner; /* rank */
    uint32_t index; /* the owner's number for it, < 4096; its epoch word has the same index */
    uint32_t kind;  /* enum mf_mem_kind */
};

/** A segment as this process reaches it: its own or a peer's. Made by the library for an own
 * segment, by the transport for a peer's. Read by threads that copy without a lock; freed by its
 * maker only after host->quiesce(). */
struct mf_segment {
    struct mf_segment_desc desc;
    uint64_t host; /* where this process's CPU reaches its first byte; 0: it cannot */
    uint64_t dev;  /* where this process's device reaches it; 0: it cannot */
    const struct mf_transport_ops *ops; /* of the transport that reaches it */
    void *tp;                           /* that transport's instance */
    void *priv;                         /* the transport's own */
    struct mf_segment *next; /* the library's: the slot's next segment, in order of address */
};

/** A peer as the control plane knows it. */
struct mf_peer {
    uint32_t rank;
    uint64_t incarnation;
    const uint8_t *endpoint; /* what the peer's instance of this transport announced */
    uint32_t endpoint_len;
};

/** Why a peer is detached. */
enum mf_detach_why {
    MF_DETACH_LEFT = 0, /* it left the pool: drop what was attached */
    MF_DETACH_DEAD =
        1 /* it died or was declared dead: give its memory back, refuse it from now on */
};

struct mf_xfer;

/** What the library gives to a transport instance. Valid until close. */
struct mf_transport_host {
    uint32_t size;
    const struct mf_plugin_host *plugin;
    void *arg; /* first argument of the functions below */

    uint32_t rank, world;
    uint64_t incarnation;
    uint64_t world_id; /* drawn once for all ranks; another one is another cluster */
    const struct mf_device_ops *device; /* or NULL */
    void *device_impl;
    uint64_t random_token[2]; /* fresh random bits for the endpoint */

    /** The best CPU copy of this machine; for any size; may use several threads for large ones. */
    void (*copy)(void *arg, void *dst, const void *src, size_t size);
    /** As copy, for one of many parts that together are large (256 KiB and more): the parts go past
     * the cache as one large copy would. */
    void (*copy_bulk)(void *arg, void *dst, const void *src, size_t size);
    /** The place reserved for a peer's segment in this process: *host is an address where
     * `desc->size` bytes may be mapped over with MAP_FIXED, for HBM an address in the device's
     * window (0: this process has no place for it). Refuses (SMEM_INVALID_PARAM) a desc that does
     * not fit the pool's layout or is not the owner's. */
    int (*place)(void *arg, const struct mf_segment_desc *desc, uint64_t *host);
    /** Put the inaccessible reservation (dead == 0) or zero pages without reserve (dead != 0) back
     * there. */
    int (*unplace)(void *arg, const struct mf_segment_desc *desc, int dead);
    /** A peer's segment can be used from now on / must not be used by new copies. */
    int (*segment_up)(void *arg, struct mf_segment *segment);
    void (*segment_down)(void *arg, struct mf_segment *segment);
    /** Returns when no thread of this process can still hold a pointer to a segment that was taken
     * down before the call, or SMEM_TIMEOUT. Not from a lane. */
    int (*quiesce)(void *arg, uint64_t deadline_ns);
    /** The peer's process has ended (seen by the transport). Any thread. */
    void (*peer_dead)(void *arg, uint32_t rank, uint64_t incarnation, const char *why);
    /** Call fn(fn_arg) on the library's loop thread whenever fd is readable, until unwatch (which
     * waits for a running fn unless called from it). */
    int (*watch_fd)(void *arg, int fd, void (*fn)(void *fn_arg), void *fn_arg, void **watch);
    void (*unwatch_fd)(void *arg, void *watch);
    /** OPTIONAL: set when this process wants checksums of its copies (option copy.checksum); then
     * the transport calls it in place of copy and copy_bulk for the bytes from `offset` on of the
     * transfer that lie at `dst` and `src`. Copies them, marks the transfer MF_XFER_CHECKED, and
     * returns 0, or SMEM_ERROR with a sentence when the target is not what the source was. What is
     * not marked when its status is final is read back and compared by the library. */
    int (*copy_checked)(void *arg, struct mf_xfer *x, uint64_t offset, void *dst, const void *src,
                        size_t size);
    uint32_t flags; /* MF_HOST_* */
};
enum {
    /** Peers' DRAM is not to be mapped into this process where the transport can copy without: a
     * peer's segment then has `host` 0 (option peer.map). */
    MF_HOST_PEERS_UNMAPPED = 1u
};

/** An own segment given to publish. The descriptor is borrowed for as long as it is published. */
struct mf_publish {
    struct mf_segment *segment; /* the library's; desc.index and desc.epoch are set by publish */
    int fd;             /* memfd of a DRAM segment, exported handle of an HBM one; -1: none */
    uint64_t fd_offset; /* bytes */
    uint32_t flags;     /* MF_PUBLISH_* */
};
/** The memory belongs to the user: whoever maps it never gives its pages back, not even when its
 * owner has died. */
enum { MF_PUBLISH_KEEP = 1u };

enum { MF_XFER_PENDING = 1 };

/** One copy between two places. */
struct mf_xfer {
    struct mf_segment *src_seg; /* NULL: memory of this process outside the pool */
    struct mf_segment *dst_seg;
    uint64_t src; /* global address when src_seg is set, else an address of this process */
    uint64_t dst;
    uint64_t size;   /* > 0; lies inside the segment (checked by the caller) */
    uint32_t flags;  /* MF_XFER_SRC_DEV, MF_XFER_DST_DEV: device memory (with a segment: desc.kind
                        says); out: MF_XFER_CHECKED */
    int32_t status;  /* out: MF_XFER_PENDING, 0, or a negative SMEM_* code */
    uint64_t cookie; /* the caller's */
};
enum { MF_XFER_SRC_DEV = 1u, MF_XFER_DST_DEV = 2u, MF_XFER_CHECKED = 4u };

/** Many copies between the same two places. Block i begins at src + its source offset and goes to
 * dst + its target offset; sums are modulo 2^64, so a base may lie outside of its segment. All
 * blocks lie inside the segments (checked by the caller); no block's ends overlap. */
struct mf_xfer_many {
    struct mf_segment *src_seg; /* NULL: memory of this process outside the pool */
    struct mf_segment *dst_seg;
    uint64_t src; /* as in struct mf_xfer */
    uint64_t dst;
    const uint64_t *src_offsets; /* [count], or NULL: i * src_stride */
    const uint64_t *dst_offsets; /* [count], or NULL: i * dst_stride */
    uint64_t src_stride;
    uint64_t dst_stride;
    const uint64_t *sizes; /* [count], each > 0, or NULL: all are `size` */
    uint64_t size;         /* of each block, bytes */
    uint64_t bytes;        /* of all blocks */
    uint32_t count;
    uint32_t flags; /* MF_XFER_SRC_DEV, MF_XFER_DST_DEV */
    uint32_t done;  /* out: blocks 0..done-1 have arrived, with the promise of a status of 0 */
    uint32_t begun; /* out: of blocks begun..count-1 nothing has moved; between: unknown */
};

/** What a transport can do; `caps`. */
enum {
    MF_CAP_HOST = 1u,       /* reaches DRAM segments */
    MF_CAP_DEVICE = 2u,     /* reaches HBM segments (with a device) */
    MF_CAP_SAME_HOST = 4u,  /* only peers on this host */
    MF_CAP_THIRD_PARTY = 8u /* both ends of a copy may be peers' segments */
};

struct mf_transport_ops {
    uint32_t abi;  /* MF_PLUGIN_ABI */
    uint32_t size; /* sizeof(struct mf_transport_ops) */
    const char *name;
    uint32_t data_ops; /* the SMEMB_DATA_OP_* bits that choose this transport */
    uint32_t caps;

    /** REQUIRED. Can this transport work on this machine? 0, or a code and the sentence why not. */
    int (*probe)(const struct mf_plugin_host *host);
    /** REQUIRED. */
    int (*open)(const struct mf_transport_host *host, void **tp);
    /** REQUIRED. All lanes are closed, all segments withdrawn, all peers detached before. */
    void (*close)(void *tp);
    /** REQUIRED. What peers need to reach this instance, at most MF_ENDPOINT_MAX (64) bytes. */
    int (*endpoint)(void *tp, uint8_t *buf, uint32_t cap, uint32_t *len);

    /** REQUIRED. From now on peers may reach the segment. */
    int (*publish)(void *tp, const struct mf_publish *pub);
    /** REQUIRED. Refuse the segment from now on and wait until no copy of any peer (and of this
     * process) into or out of it is under way. SMEM_RES_IN_USE names the rank that neither finished
     * nor died by the deadline; the segment is refused all the same. */
    int (*withdraw)(void *tp, struct mf_segment *segment, uint64_t deadline_ns);

    /** REQUIRED. Reach the peer and exchange what both have published for `pool`: calls
     * host->segment_up for each of the peer's segments not yet known here, and makes the peer do
     * the same with ours. Again when already attached: brings what is new. Blocks until the
     * deadline; not on the loop's thread. */
    int (*attach)(void *tp, const struct mf_peer *peer, uint32_t pool, uint64_t deadline_ns);
    /** REQUIRED. Take down (host->segment_down) and forget the peer's segments of the pool; pool
     * UINT32_MAX: of all pools. After MF_DETACH_DEAD copies of that incarnation into this rank's
     * segments are refused. Unknown peers: 0. May run on the loop's thread: never blocks longer
     * than a few ms. */
    int (*detach)(void *tp, uint32_t rank, uint64_t incarnation, uint32_t pool,
                  enum mf_detach_why why);

    /** REQUIRED. A lane is used by one thread at a time. */
    int (*lane_open)(void *tp, void **lane);
    void (*lane_close)(void *tp, void *lane);
    /** REQUIRED. Start `count` copies, in any order; sets each status. Never waits for a peer. An
     * aligned element of at most 8 bytes lands by one store. A status of 0 means: the bytes are at
     * the target, visible to its owner, and both segments were still valid after the copy. */
    int (*post)(void *lane, struct mf_xfer *v, uint32_t count);
    /** REQUIRED. Wait until every posted copy of the lane has a final status, or the deadline: then
     * those left get SMEM_TIMEOUT and nothing of theirs lands later, unless the sentence says that
     * the target range is unknown: then one that was under way may still end. Returns 0 or the
     * first failure. */
    int (*wait)(void *lane, uint64_t deadline_ns);

    /** OPTIONAL. One sentence about how the peer is reached (mfcli explain). */
    int (*explain)(void *tp, uint32_t rank, char *buf, size_t cap);
    /** OPTIONAL. For the atfork child handler: close(2) of descriptors, nothing else. */
    void (*close_fds)(void *tp);
    /** OPTIONAL. At most 256 bytes between host memory of this process and a DRAM segment that its
     * CPU reaches (`segment->host` is not 0), at once; with the promises of post. write: from local
     * to gva. Anything but 0 makes the library post the copy, which gives the sentence. */
    int (*copy_small)(void *lane, struct mf_segment *segment, uint64_t gva, void *local,
                      uint32_t size, int write);
    /** OPTIONAL. Many copies, at once and in order of their numbers, with the promises of post;
     * sets `done` and `begun`. SMEM_NOT_EXIST without a sentence: not of a sort that this transport
     * does this way, nothing was done; the library posts them. Another code: blocks from `done` on
     * have not arrived, the sentence says why. */
    int (*post_many)(void *lane, struct mf_xfer_many *many);
    /** OPTIONAL. Return when no peer can still read that memory of this process for a copy of ours
     * that ended with SMEM_TIMEOUT. SMEM_RES_IN_USE names the rank that has neither ended its
     * reading nor died by the deadline. */
    int (*settle)(void *tp, uint64_t addr, uint64_t size, uint64_t deadline_ns);
};

#ifdef __cplusplus
}
#endif
#endif
