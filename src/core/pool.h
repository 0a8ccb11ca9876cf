// SPDX-License-Identifier: Apache-2.0
// One pool as this rank has it: its address range, the memory that this rank gives, who is a
// member, how each is reached. Created, joined, copied with, left, destroyed.
#ifndef MF_CORE_POOL_H
#define MF_CORE_POOL_H

#include "core/context.h"
#include "core/members.h"
#include "core/pool_notify.h"
#include "core/pool_tags.h"
#include "gva/gva.h"
#include "gva/memory.h"
#include "xcopy/queue.h"
#include "xcopy/request.h"
#include "xcopy/stream_jobs.h"
#include "xcopy/xcopy.h"

/** One piece of the memory that this rank gives to a slot: what it was created with, or one
 * extension. Kept until the pool is freed, since a copy may still look at its segment. */
struct mf_own {
    struct mf_segment segment; /* valid while `made` */
    uint64_t offset, size;     /* of the slot, for good */
    struct mf_memory memory;   /* DRAM */
    mf_dev_mem dev_mem;        /* HBM */
    int fd;                    /* what is published: memory.fd or the exported handle */
    bool made;                 /* it has memory, a place and a descriptor */
    bool listed;               /* the table has it */
    bool fresh;                /* not populated yet */
    bool on_device;            /* its host memory is registered with the device */
    _Atomic(struct mf_own *) next;
};

/** The pieces of one slot, without gaps. Changed under op_lock; read by a forked child. */
struct mf_own_list {
    _Atomic(struct mf_own *) first;
    uint32_t count;
};

enum mf_pool_state {
    MF_POOL_CREATED, /* also after leave */
    MF_POOL_JOINING,
    MF_POOL_JOINED,
    MF_POOL_LEAVING, /* also after a leave that has to be called again */
};

struct mf_pool {
    struct mf_ctx *ctx;
    uint32_t id;
    uint32_t data_ops; /* of any pair of tags */
    struct mf_tags tags;
    uint64_t max_bytes[MF_KIND_COUNT];
    _Atomic uint64_t own_bytes[MF_KIND_COUNT]; /* that this rank gives: the sum of its pieces */
    int numa_node;
    int dram_fd;      /* the user's descriptor, until its piece is made; -1: none */
    bool best_effort; /* less DRAM than asked for is no failure of create */
    bool map_host_va; /* register DRAM with the device */
    bool wide;        /* it was asked to be translated */

    struct mf_mutex op_lock;    /* joins, leaves, destroy: one at a time; rank MF_RANK_CORE */
    struct mf_mutex lock;       /* guards members; rank MF_RANK_POOL */
    struct mf_cond changed;     /* of members */
    struct mf_mutex table_lock; /* guards writes to the table and its places; MF_RANK_LEAF */
    _Atomic uint32_t refs;      /* of callbacks under way */
    _Atomic uint32_t users;     /* of the API's calls that may block */

    struct mf_gva_table table;
    bool reserved[MF_KIND_COUNT]; /* its part of the address range is reserved */
    bool announced;               /* pool/<id>/open/<rank> is in the store */
    struct mf_own_list own[MF_KIND_COUNT];
    struct mf_own *graves; /* pieces that an extension gave up while a thread might look at them */
    struct mf_tp *tps[MF_TRANSPORTS_MAX]; /* in order of preference */
    uint32_t tp_count;

    _Atomic int state; /* enum mf_pool_state */
    struct mf_members members;
    struct mf_notify notify;          /* the handler of group events */
    struct mf_member_change *changes; /* [world]: scratch of the loop's thread */
    _Atomic uint64_t *placed;         /* [world]: incarnation that was last given a place here */
    uint32_t watch;                   /* id in the store, 0: none */
    struct mf_timer *grace;           /* timer for members that the store has not named again */

    struct mf_user_region *regions; /* registered buffers of the user, guarded by lock */
    uint32_t region_count, region_cap;

    struct mf_xcopy_space space;
    struct mf_queue *queue;
    struct mf_stream_jobs *streams; /* copies on streams of the caller */
    struct mf_req_engine *requests;
};

/** A buffer of the user, see smem_bm_register_user_mem. */
struct mf_user_region {
    uint64_t addr, size;
    bool on_device; /* the device knows it */
    bool busy;      /* one thread asks a plug-in about it */
};

struct mf_pool_cfg {
    uint32_t id;
    uint64_t max_bytes[MF_KIND_COUNT];
    uint64_t own_bytes[MF_KIND_COUNT];
    uint32_t data_ops;   /* SMEMB_DATA_OP_* bits */
    struct mf_tags tags; /* count 0: no tag, and data_ops for all */
    int numa_node;       /* -1: no binding */
    bool has_fd;         /* dram_fd is the memory of own_bytes[MF_KIND_DRAM]; borrowed */
    int dram_fd;
    bool best_effort; /* SMEM_BM_FLAG_DRAM_BEST_EFFORT */
    bool map_host_va; /* SMEM_BM_FLAG_DRAM_MAP_HOST_VA */
    bool wide;        /* enable56BitsGva */
};

/* ---- life (pool.c)
 * -------------------------------------------------------------------------------- */

int mf_pool_create(struct mf_ctx *ctx, const struct mf_pool_cfg *cfg, struct mf_pool **out);
/** Leaves first. No call on the pool is under way and none can begin. SMEM_RES_IN_USE: a copy that
 * nobody can end still uses it; then it stays, with its id and its addresses. */
int mf_pool_destroy(struct mf_pool *pool);
static inline void mf_pool_put(struct mf_pool *pool)
{
    atomic_fetch_sub(&pool->refs, 1);
}
void mf_pool_close_fds(struct mf_pool *pool);

/* ---- membership (pool_join.c)
 * ---------------------------------------------------------------------- */

int mf_pool_join(struct mf_pool *pool);
/** Have the transports forget what every peer has here, whether its record has been seen or not;
 * waits for attaches under way. */
void mf_pool_detach_all(struct mf_pool *pool);
/** `last`: destroy follows, so no fresh memory is laid down. SMEM_RES_IN_USE: a peer may still
 * write to memory of the user; the pool is left but for that, and leave has to be called again. */
int mf_pool_leave(struct mf_pool *pool, bool last);
/** The sentence for calls that have to wait for a leave that was not completed. */
int mf_pool_refuse_leaving(const struct mf_pool *pool);
/** Write this rank's record as a member into the store. */
int mf_pool_announce(struct mf_pool *pool, uint64_t deadline_ns);

/* ---- what this rank publishes (pool_own.c)
 * ------------------------------------------------------------------------------------- */

int mf_pool_publish(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_own *own);
int mf_pool_publish_all(struct mf_pool *pool);
/** SMEM_RES_IN_USE: a peer may still write to memory of the user. */
int mf_pool_withdraw(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_own *own,
                     uint64_t deadline_ns);
int mf_pool_withdraw_all(struct mf_pool *pool);

/* ---- growing (pool_extend.c)
 * ------------------------------------------------------------------------------------- */

/** `size` is a positive multiple of 2 MiB. Everything is as before when it fails. */
int mf_pool_extend(struct mf_pool *pool, enum mf_mem_kind kind, uint64_t size);

/* ---- own memory (pool_memory.c)
 * ------------------------------------------------------------------- */

int mf_pool_memory_create(struct mf_pool *pool);
/** One more piece behind those that there are: populated, in the table, not published. */
int mf_pool_memory_add(struct mf_pool *pool, enum mf_mem_kind kind, uint64_t size,
                       struct mf_own **out);
/** Take back what add gave; it is not published (any more). */
void mf_pool_memory_drop(struct mf_pool *pool, enum mf_mem_kind kind, struct mf_own *own);
int mf_pool_memory_populate(struct mf_pool *pool);
/** Give the pages back that peers have seen; put fresh ones there unless `last`. Memory of the user
 * stays as it is. */
int mf_pool_memory_renew(struct mf_pool *pool, bool last);
void mf_pool_memory_destroy(struct mf_pool *pool);

/* ---- addresses in this process (pool_space.c)
 * ---------------------------------------------------------------------------- */

/** Reserve what the pool's slots need, before anything of it is mapped. A translated pool
 * (mf_layout_is_wide) reserves a place for each segment, when it is taken. */
int mf_pool_space_open(struct mf_pool *pool);
/** Nothing of the pool is mapped any more. */
void mf_pool_space_close(struct mf_pool *pool);
/** The place of a segment of this process or a peer, given by its range of global addresses: a
 * reserved host address (DRAM), or one in a window of the device (HBM; 0: there is no device).
 * Again for the same range: the same place, until one is taken that overlaps it.
 * SMEM_NO_RESOURCES: no address space; SMEM_DUPLICATED: a segment of the table overlaps it. */
int mf_pool_space_take(struct mf_pool *pool, enum mf_mem_kind kind, uint64_t gva, uint64_t size,
                       uint64_t *at);
/** The segment is not mapped any more: put the inaccessible reservation, or (dead) zero pages
 * without reserve, into its place. */
int mf_pool_space_clear(struct mf_pool *pool, enum mf_mem_kind kind, uint64_t gva, uint64_t size,
                        bool dead);

/* ---- for transports (pool_host.c); see struct mf_transport_host
 * ------------------------------------ */

int mf_pool_place(struct mf_pool *pool, const struct mf_segment_desc *desc, uint64_t *host);
int mf_pool_unplace(struct mf_pool *pool, const struct mf_segment_desc *desc, bool dead);
int mf_pool_segment_up(struct mf_pool *pool, struct mf_segment *segment);
void mf_pool_segment_down(struct mf_pool *pool, struct mf_segment *segment);

/* ---- events (pool_events.c)
 * ------------------------------------------------------------------------ */

/** The watch on the pool's members; runs on the loop's thread, as do all that follow. */
void mf_pool_on_watch(void *pool, const struct mf_watch_event *event);
/** That life of the rank is a member from now on: memory that an earlier one has here goes. Any
 * thread. */
void mf_pool_member_up(struct mf_pool *pool, uint32_t rank, uint64_t incarnation);
void mf_pools_peer_dead(struct mf_ctx *ctx, uint32_t rank, uint64_t incarnation, const char *why);
int mf_pool_grace_start(struct mf_pool *pool);
void mf_pool_grace_stop(struct mf_pool *pool);

/* ---- what is told of members (pool_news.c)
 * -------------------------------------------------------------------------- */

/** The rank's state may have changed: tell the handler, end the alarm of a death when it is back.
 */
void mf_pool_news(struct mf_pool *pool, uint32_t rank);
/** It is dead: the alarm. */
void mf_pool_news_dead(struct mf_pool *pool, uint32_t rank, const char *why);
/** This rank has left: forget the members; they have left as far as the handler is concerned. */
void mf_pool_news_reset(struct mf_pool *pool);
/** The handler of group events; NULL: none. Waits until the one before does not run any more. */
int mf_pool_set_handler(struct mf_pool *pool, const struct mf_notify_handler *handler);
/** Before destroy, without locks: the handler is not called any more. SMEM_RES_IN_USE: it does not
 * return. */
int mf_pool_stop_handler(struct mf_pool *pool);

/* ---- copies (pool_copy.c)
 * -------------------------------------------------------------------------- */

/** The calling thread is inside a call (mf_thread_enter). */
int mf_pool_copy(struct mf_pool *pool, struct mf_thread *thread, const void *src, void *dst,
                 uint64_t size, smem_bm_copy_type type, uint32_t flags);
int mf_pool_copy_batch(struct mf_pool *pool, struct mf_thread *thread, const struct mf_batch *batch,
                       smem_bm_copy_type type, uint32_t flags);
/** In the order of the stream that the words belong to; returns at once. */
int mf_pool_copy_stream(struct mf_pool *pool, struct mf_stream_words *words,
                        const struct mf_batch *batch, smem_bm_copy_type type);
/** Not inside a call. */
int mf_pool_wait(struct mf_pool *pool);
int mf_pool_queue_create(struct mf_pool *pool);
/** SMEM_NOT_STARTED when this rank is no member, or what mf_ctx_check says. */
int mf_pool_check_joined(const struct mf_pool *pool);
/** Map a peer of this host so that its memory can be loaded and stored; quietly nothing when it
 * cannot be. */
void mf_pool_map_peer(struct mf_pool *pool, uint32_t rank);
/** Where this process's CPU (or its device) reaches the address. SMEM_INVALID_PARAM,
 * SMEM_NOT_CONNECTED, or SMEM_ERROR when it cannot reach it. */
int mf_pool_translate(struct mf_pool *pool, mf_gva gva, bool device, uint64_t *addr);
/** May the member and this rank reach each other at all? SMEM_ERROR with what to do when their tags
 * have no operator. */
int mf_pool_allows(const struct mf_pool *pool, uint32_t rank, const struct mf_rec_member *record,
                   uint32_t *mine, uint32_t *theirs);
/** Make the rank's segments known here; the reason when that cannot be. */
int mf_pool_resolve(void *pool, uint32_t rank, uint64_t deadline_ns);
/** As resolve, for somebody who has looked in vain for memory of the rank: asks the store, now and
 * then, whether the rank gives more than is known here. */
int mf_pool_seek(void *pool, uint32_t rank, uint64_t deadline_ns);

/* ---- requests and prepared batches (pool_request.c)
 * ------------------------------------------------------------------------------ */

int mf_pool_requests_create(struct mf_pool *pool);
/** As mf_pool_copy_batch, with a request, which is done, or under way, when this returns SMEM_OK;
 * else it is the caller's as before. `queued`: by a worker in any case. timeout_ms 0: the option
 * copy.wait_ms. */
int mf_pool_submit(struct mf_pool *pool, struct mf_thread *thread, struct mf_req *req,
                   const struct mf_batch *batch, smem_bm_copy_type type, bool queued,
                   uint32_t timeout_ms);
/** Inside a call. */
int mf_pool_prepare(struct mf_pool *pool, const struct mf_prep_cfg *cfg, struct mf_prep **out);
int mf_pool_submit_prepared(struct mf_pool *pool, struct mf_thread *thread, struct mf_req *req,
                            struct mf_prep *prep, const uint64_t base[MF_PREP_SIDES], bool queued,
                            uint32_t timeout_ms);
/** Inside a call: do what the caller is about to wait for, if that is small and not begun. */
void mf_pool_help(struct mf_pool *pool, struct mf_thread *thread, struct mf_req *req);
/** Copy a prepared batch on this thread. */
int mf_pool_run_prepared(struct mf_pool *pool, struct mf_thread *thread, struct mf_prep *prep,
                         const uint64_t base[MF_PREP_SIDES], uint32_t timeout_ms);

/* ---- buffers of the user (pool_user.c)
 * --------------------------------------------------------------- */

int mf_pool_user_register(struct mf_pool *pool, uint64_t addr, uint64_t size);
int mf_pool_user_unregister(struct mf_pool *pool, uint64_t addr);
void mf_pool_user_fini(struct mf_pool *pool);

#endif
