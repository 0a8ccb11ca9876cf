// SPDX-License-Identifier: Apache-2.0
// One pool as this rank has it: its address range, the memory that this rank gives, who is a
// member, how each is reached. Created, joined, copied with, left, destroyed.
#ifndef MF_CORE_POOL_H
#define MF_CORE_POOL_H

#include "core/context.h"
#include "core/members.h"
#include "gva/gva.h"
#include "gva/memory.h"
#include "xcopy/queue.h"
#include "xcopy/xcopy.h"

struct event;

/** Memory that this rank gives to one slot. */
struct mf_own {
    struct mf_segment segment; /* its desc, host and dev are valid while size > 0 */
    struct mf_memory memory;   /* DRAM */
    mf_dev_mem dev_mem;        /* HBM */
    int fd;                    /* what is published: memory.fd or the exported handle */
    bool fresh;                /* not populated yet */
};

enum mf_pool_state {
    MF_POOL_CREATED, /* also after leave */
    MF_POOL_JOINING,
    MF_POOL_JOINED,
    MF_POOL_LEAVING,
};

struct mf_pool {
    struct mf_ctx *ctx;
    uint32_t id;
    uint32_t data_ops;
    uint64_t max_bytes[MF_KIND_COUNT];
    uint64_t own_bytes[MF_KIND_COUNT];
    int numa_node;

    struct mf_mutex op_lock;    /* joins, leaves, destroy: one at a time; rank MF_RANK_CORE */
    struct mf_mutex lock;       /* guards members; rank MF_RANK_POOL */
    struct mf_cond changed;     /* of members */
    struct mf_mutex table_lock; /* guards writes to the table; rank MF_RANK_LEAF */
    _Atomic uint32_t refs;      /* of callbacks under way */
    _Atomic uint32_t users;     /* of the API's calls that may block */

    struct mf_gva_table table;
    bool reserved[MF_KIND_COUNT]; /* its part of the address range is reserved */
    bool announced;               /* pool/<id>/open/<rank> is in the store */
    struct mf_own own[MF_KIND_COUNT];
    struct mf_tp *tps[MF_TRANSPORTS_MAX]; /* in order of preference */
    uint32_t tp_count;

    _Atomic int state; /* enum mf_pool_state */
    struct mf_members members;
    struct mf_member_change *changes; /* [world]: scratch of the loop's thread */
    _Atomic uint64_t *placed;         /* [world]: incarnation that was last given a place here */
    uint32_t watch;                   /* id in the store, 0: none */
    struct event *grace;              /* timer for members that the store has not named again */

    struct mf_user_region *regions; /* registered buffers of the user, guarded by lock */
    uint32_t region_count, region_cap;

    struct mf_xcopy_space space;
    struct mf_queue *queue;
};

/** A buffer of the user, see smem_bm_register_user_mem. */
struct mf_user_region {
    uint64_t addr, size;
    bool on_device; /* the device knows it */
};

struct mf_pool_cfg {
    uint32_t id;
    uint64_t max_bytes[MF_KIND_COUNT];
    uint64_t own_bytes[MF_KIND_COUNT];
    uint32_t data_ops; /* SMEMB_DATA_OP_* bits */
    int numa_node;     /* -1: no binding */
};

/* ---- life (pool.c)
 * -------------------------------------------------------------------------------- */

int mf_pool_create(struct mf_ctx *ctx, const struct mf_pool_cfg *cfg, struct mf_pool **out);
/** Leaves first. No call on the pool is under way and none can begin. */
void mf_pool_destroy(struct mf_pool *pool);
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
/** `last`: destroy follows, so no fresh memory is laid down. */
int mf_pool_leave(struct mf_pool *pool, bool last);

/* ---- own memory (pool_memory.c)
 * ------------------------------------------------------------------- */

int mf_pool_memory_create(struct mf_pool *pool);
int mf_pool_memory_populate(struct mf_pool *pool);
/** Give the pages back that peers have seen; put fresh ones there unless `last`. */
int mf_pool_memory_renew(struct mf_pool *pool, bool last);
void mf_pool_memory_destroy(struct mf_pool *pool);

/* ---- addresses in this process (pool_space.c)
 * ---------------------------------------------------------------------------- */

/** Reserve what the pool's slots need, before anything of it is mapped. */
int mf_pool_space_open(struct mf_pool *pool);
/** Nothing of the pool is mapped any more. */
void mf_pool_space_close(struct mf_pool *pool);
/** The place of a segment of this process or a peer, given by its range of global addresses: a
 * reserved host address (DRAM), or one in a window of the device (HBM; 0: there is no device).
 * Again for the same range: the same place. */
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
void mf_pools_peer_dead(struct mf_ctx *ctx, uint32_t rank, uint64_t incarnation, const char *why);
int mf_pool_grace_start(struct mf_pool *pool);
void mf_pool_grace_stop(struct mf_pool *pool);

/* ---- copies (pool_copy.c)
 * -------------------------------------------------------------------------- */

/** The calling thread is inside a call (mf_thread_enter). */
int mf_pool_copy(struct mf_pool *pool, struct mf_thread *thread, const void *src, void *dst,
                 uint64_t size, smem_bm_copy_type type, uint32_t flags);
int mf_pool_copy_batch(struct mf_pool *pool, struct mf_thread *thread, const struct mf_batch *batch,
                       smem_bm_copy_type type, uint32_t flags);
/** Not inside a call. */
int mf_pool_wait(struct mf_pool *pool);
int mf_pool_queue_create(struct mf_pool *pool);
/** Map a peer of this host so that its memory can be loaded and stored; quietly nothing when it
 * cannot be. */
void mf_pool_map_peer(struct mf_pool *pool, uint32_t rank);
/** Where this process's CPU (or its device) reaches the address. SMEM_INVALID_PARAM,
 * SMEM_NOT_CONNECTED, or SMEM_ERROR when it cannot reach it. */
int mf_pool_translate(struct mf_pool *pool, mf_gva gva, bool device, uint64_t *addr);
/** Make the rank's segments known here; the reason when that cannot be. */
int mf_pool_resolve(void *pool, uint32_t rank, uint64_t deadline_ns);

/* ---- buffers of the user (pool_user.c)
 * --------------------------------------------------------------- */

int mf_pool_user_register(struct mf_pool *pool, uint64_t addr, uint64_t size);
int mf_pool_user_unregister(struct mf_pool *pool, uint64_t addr);
void mf_pool_user_fini(struct mf_pool *pool);

#endif
