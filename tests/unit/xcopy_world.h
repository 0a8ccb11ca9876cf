// SPDX-License-Identifier: Apache-2.0
// What the tests of the xcopy layer share: a small pool whose segments are heap memory at other
// addresses than their global ones, a device made of heap memory, and transports that copy, fail or
// stay silent as the test wants.
#ifndef MF_XCOPY_WORLD_H
#define MF_XCOPY_WORLD_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "config/config.h"
#include "mf_test.h"
#include "xcopy/plan.h"

#define MIB        (1ull << 20)
#define WORLD_BASE 0x280000000000ull
#define RANKS_MAX  8u
#define SEGS_MAX   48u
#define POSTS_MAX  64u

/** A transport that a test scripts. */
struct fake_tp {
    uint64_t opened, closed; /* lanes */
    uint32_t posts, waits;   /* calls */
    uint64_t xfers;          /* posted in all */
    uint64_t last_deadline;  /* of wait */
    bool async;              /* nothing is done before wait */
    int post_rc;             /* what post returns; negative: it does nothing */
    int lane_rc;             /* what lane_open returns */
    int wait_rc;             /* negative: pending transfers get it */
    uint32_t fail_every;     /* each nth transfer gets fail_rc; 0: none */
    int fail_rc;
    uint32_t seen; /* transfers, for fail_every */
    struct mf_xfer *pending;
    uint32_t pending_count;
};

struct world {
    struct mf_log log;
    struct mf_env env;
    struct mf_config config;
    struct mf_gva_table table;
    struct mf_segment segs[SEGS_MAX];
    uint32_t seg_count;
    struct mf_transport_ops ops[2]; /* of tp[0] and tp[1] */
    struct fake_tp tp[2];
    struct mf_dev dev;
    uint8_t *dev_mem; /* the device's memory, or NULL */
    uint8_t *dev_own; /* where that is the world's */
    uint64_t dev_bytes;
    uint32_t dev_copies, dev_streams;
    int dev_sync_rc;
    struct mf_cpu_copy *copier;
    struct mf_xcopy_space space;
    struct mf_lanes lanes;
    uint32_t resolves; /* calls of resolve */
    int resolve_rc;
    struct mf_segment *arriving; /* resolve adds it to the table */
};

/* ---- the transports ---- */

/* Where a test's process really reaches one side of a transfer. */
static inline uint8_t *world_reach(const struct mf_segment *seg, uint64_t addr)
{
    if (!seg) {
        return (uint8_t *)(uintptr_t)addr;
    }
    return (uint8_t *)seg->priv + (addr - seg->desc.gva);
}

static inline void fake_run(struct fake_tp *tp, struct mf_xfer *x)
{
    tp->seen++;
    if (tp->fail_every && tp->seen % tp->fail_every == 0) {
        x->status = mf_err(tp->fail_rc, "the fake transport fails transfer %u", tp->seen);
        return;
    }
    memcpy(world_reach(x->dst_seg, x->dst), world_reach(x->src_seg, x->src), x->size);
    x->status = SMEM_OK;
}

static inline int fake_post(void *lane, struct mf_xfer *v, uint32_t count)
{
    struct fake_tp *tp = lane;
    tp->posts++;
    tp->xfers += count;
    if (tp->post_rc) {
        return mf_err(tp->post_rc, "the fake transport takes nothing");
    }
    if (tp->async) {
        tp->pending = v;
        tp->pending_count = count;
        return SMEM_OK;
    }
    for (uint32_t i = 0; i < count; i++) {
        fake_run(tp, &v[i]);
    }
    return SMEM_OK;
}

static inline int fake_wait(void *lane, uint64_t deadline_ns)
{
    struct fake_tp *tp = lane;
    tp->waits++;
    tp->last_deadline = deadline_ns;
    int first = SMEM_OK;
    for (uint32_t i = 0; i < tp->pending_count; i++) {
        if (tp->wait_rc) {
            tp->pending[i].status = mf_err(tp->wait_rc, "the fake transport waits in vain");
        } else {
            fake_run(tp, &tp->pending[i]);
        }
        first = first ? first : tp->pending[i].status;
    }
    tp->pending_count = 0;
    return first;
}

static inline int fake_lane_open(void *tp, void **lane)
{
    struct fake_tp *fake = tp;
    if (fake->lane_rc) {
        return mf_err(fake->lane_rc, "the fake transport has no lane");
    }
    fake->opened++;
    *lane = tp;
    return SMEM_OK;
}

static inline void fake_lane_close(void *tp, void *lane)
{
    (void)lane;
    ((struct fake_tp *)tp)->closed++;
}

/* ---- the device ---- */

static inline int fake_query(void *dev, uint64_t addr, struct mf_device_range *range)
{
    const struct world *w = dev;
    uint64_t base = (uintptr_t)w->dev_mem;
    if (addr < base || addr - base >= w->dev_bytes) {
        return SMEM_NOT_EXIST;
    }
    /* Two mappings side by side. */
    uint64_t half = w->dev_bytes / 2;
    bool second = addr - base >= half;
    *range = (struct mf_device_range){.base = base + (second ? half : 0), .size = half};
    return SMEM_OK;
}

static inline int fake_stream_create(void *dev, void **stream)
{
    ((struct world *)dev)->dev_streams++;
    *stream = dev;
    return SMEM_OK;
}

static inline void fake_stream_destroy(void *dev, void *stream)
{
    (void)stream;
    ((struct world *)dev)->dev_streams--;
}

static inline int fake_stream_sync(void *dev, void *stream, uint64_t deadline_ns)
{
    (void)stream;
    (void)deadline_ns;
    const struct world *w = dev;
    return w->dev_sync_rc ? mf_err(w->dev_sync_rc, "the fake stream fails") : SMEM_OK;
}

static inline int fake_dev_copy(void *dev, void *stream, uint64_t dst, uint64_t src, uint64_t size)
{
    (void)stream;
    ((struct world *)dev)->dev_copies++;
    memcpy((void *)(uintptr_t)dst, (const void *)(uintptr_t)src, size);
    return SMEM_OK;
}

/* ---- the pool ---- */

static inline int world_resolve(void *arg, uint32_t rank, uint64_t deadline_ns)
{
    struct world *w = arg;
    (void)deadline_ns;
    w->resolves++;
    if (w->resolve_rc) {
        return mf_err(w->resolve_rc, "rank %u has not joined", rank);
    }
    if (w->arriving && w->arriving->desc.owner == rank) {
        int rc = mf_gva_table_add(&w->table, w->arriving);
        w->arriving = NULL;
        return rc;
    }
    return SMEM_OK;
}

static inline void world_init(struct world *w, uint32_t ranks, uint64_t max_hbm, uint64_t max_dram)
{
    memset(w, 0, sizeof(*w));
    w->log = (struct mf_log)MF_LOG_INIT;
    mf_env_init_real(&w->env, &w->log);
    mf_config_defaults(&w->config);
    mf_assert_ok(mf_config_set(&w->config, MF_OPT_COPY_KERNEL, "memcpy"));
    mf_assert_ok(mf_config_set(&w->config, MF_OPT_COPY_THREADS, "1"));
    mf_assert_ok(mf_cpu_copy_create(&w->env, &w->config, &w->copier));
    struct mf_layout layout;
    mf_assert_ok(mf_layout_init(&layout, (mf_gva){WORLD_BASE}, max_hbm, max_dram, ranks));
    mf_assert_ok(mf_gva_table_init(&w->table, &layout));
    for (int i = 0; i < 2; i++) {
        w->ops[i] = (struct mf_transport_ops){
            .name = i ? "beta" : "alpha",
            .caps = MF_CAP_HOST | MF_CAP_DEVICE | MF_CAP_THIRD_PARTY,
            .lane_open = fake_lane_open,
            .lane_close = fake_lane_close,
            .post = fake_post,
            .wait = fake_wait,
        };
        w->tp[i].fail_rc = SMEM_NOT_CONNECTED;
    }
    w->space = (struct mf_xcopy_space){
        .env = &w->env,
        .table = &w->table,
        .copier = w->copier,
        .pool = 5,
        .copy_wait_ms = 60000,
        .resolve = world_resolve,
        .arg = w,
    };
    mf_lanes_init(&w->lanes);
}

/** Give the world a device whose memory is the given one, which stays the caller's. */
static inline void world_set_device(struct world *w, uint8_t *memory, uint64_t bytes)
{
    w->dev_mem = memory;
    w->dev_bytes = bytes;
    w->dev.impl = w;
    w->dev.ops.query = fake_query;
    w->dev.ops.copy = fake_dev_copy;
    w->dev.ops.stream_create = fake_stream_create;
    w->dev.ops.stream_destroy = fake_stream_destroy;
    w->dev.ops.stream_sync = fake_stream_sync;
    w->space.dev = &w->dev;
}

/** Give the world a device with `bytes` of memory of its own. */
static inline void world_add_device(struct world *w, uint64_t bytes)
{
    w->dev_own = calloc(1, bytes);
    world_set_device(w, w->dev_own, bytes);
}

/** A segment of `rank` at `offset` in its slot, reached through tp[tp]; not yet in the table. */
static inline struct mf_segment *world_make_segment(struct world *w, uint32_t rank,
                                                    enum mf_mem_kind kind, uint64_t offset,
                                                    uint64_t size, int tp)
{
    assert_true(w->seg_count < SEGS_MAX);
    struct mf_segment *seg = &w->segs[w->seg_count++];
    uint8_t *memory = calloc(1, size);
    assert_non_null(memory);
    *seg = (struct mf_segment){
        .desc = {.gva = mf_layout_slot(&w->table.layout, kind, rank).v + offset,
                 .size = size,
                 .epoch = 1,
                 .owner = rank,
                 .pool = 5,
                 .kind = kind},
        .host = kind == MF_KIND_DRAM ? (uintptr_t)memory : 0,
        .dev = kind == MF_KIND_HBM ? (uintptr_t)memory : 0,
        .ops = &w->ops[tp],
        .tp = &w->tp[tp],
        .priv = memory,
    };
    return seg;
}

static inline struct mf_segment *world_add_segment(struct world *w, uint32_t rank,
                                                   enum mf_mem_kind kind, uint64_t offset,
                                                   uint64_t size, int tp)
{
    struct mf_segment *seg = world_make_segment(w, rank, kind, offset, size, tp);
    mf_assert_ok(mf_gva_table_add(&w->table, seg));
    return seg;
}

static inline void world_fini(struct world *w)
{
    mf_lanes_fini(&w->lanes);
    assert_int_equal(w->tp[0].opened, w->tp[0].closed);
    assert_int_equal(w->tp[1].opened, w->tp[1].closed);
    assert_int_equal(w->dev_streams, 0);
    mf_gva_table_fini(&w->table);
    mf_cpu_copy_destroy(w->copier);
    for (uint32_t i = 0; i < w->seg_count; i++) {
        free(w->segs[i].priv);
    }
    free(w->dev_own);
}

/** Global address of `offset` in a slot. */
static inline uint64_t world_gva(const struct world *w, enum mf_mem_kind kind, uint32_t rank,
                                 uint64_t offset)
{
    return mf_layout_slot(&w->table.layout, kind, rank).v + offset;
}

/** The bytes behind a global address, wherever its segment is. */
static inline uint8_t *world_at(const struct world *w, uint64_t gva)
{
    const struct mf_segment *seg = mf_gva_table_find(&w->table, (mf_gva){gva});
    assert_non_null(seg);
    return world_reach(seg, gva);
}

static inline void *ptr(uint64_t addr)
{
    return (void *)(uintptr_t)addr;
}

static inline uint64_t num(const volatile void *p)
{
    return (uint64_t)(uintptr_t)p;
}

/** A small random generator, so that a failing run can be repeated from its seed. */
static inline uint64_t rnd(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline uint64_t rnd_below(uint64_t *state, uint64_t limit)
{
    return rnd(state) % limit;
}

#endif
