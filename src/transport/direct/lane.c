// SPDX-License-Identifier: Apache-2.0
// The data path. A run of copies between the same two segments is announced in the lane's line,
// checked against the owners' words, done, checked again and retracted: two loads and two stores
// around an 8-byte copy. Device copies are queued on the lane's stream and stay announced until
// wait() has seen them end.
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "transport/direct/internal.h"
#include "transport/direct/vm.h"

#define RUN_COUNT_MAX 64u            /* copies between two checks */
#define RUN_BYTES_MAX (16ull << 20)  /* bytes between two checks: an owner never waits long */
#define BULK_BYTES    (256ull << 10) /* a run of so many bytes goes past the cache */
#define BULK_PART_MIN 1024u
#define NAMED_BYTES   (1ull << 20) /* a run of so many bytes says which thread does it */
#define SMALL_MAX     2048u        /* by memcpy, else by the host's copy */
#define PENDING_RUNS  64u
#define FLUSH_NS      (60ull * 1000000000ull) /* of device copies that stand in the way of a post */

/* Device copies that wait() is to finish. */
struct pending_run {
    struct mf_xfer *v;
    uint32_t count;
};

struct mf_direct_lane {
    struct mf_direct *d;
    struct mf_fence_line *line;
    uint64_t incarnation;
    bool checked; /* the host wants checksums */
    uint32_t pending_count;
    uint32_t held_count; /* hazards of the device copies */
    struct mf_direct_seg *held[MF_FENCE_HAZARDS - MF_FENCE_CPU_HAZARDS];
    struct pending_run pending[PENDING_RUNS];
    void *stream;
    struct mf_direct_vm_lane *vm; /* copies without a mapping; NULL: none so far */
    struct mf_err_rec first;      /* first failure since the last wait; code 0: none */
};

static struct mf_direct_seg *fence_of(const struct mf_segment *segment)
{
    return segment ? segment->priv : NULL;
}

/* NULL of NULL: the key stands first. */
static inline const struct mf_fence_key *key_of(const struct mf_direct_seg *seg)
{
    return seg ? &seg->key : NULL;
}

static inline bool enter(const struct mf_direct_lane *lane, const struct mf_direct_seg *src,
                         const struct mf_direct_seg *dst)
{
    return mf_fence_enter(lane->line, key_of(src), key_of(dst), lane->incarnation);
}

static inline void leave(const struct mf_direct_lane *lane)
{
    mf_fence_leave(lane->line);
}

static inline bool still_valid(const struct mf_direct_lane *lane, const struct mf_direct_seg *src,
                               const struct mf_direct_seg *dst)
{
    return mf_fence_still_valid(key_of(src), key_of(dst), lane->incarnation);
}

static __attribute__((cold)) int keep_first(struct mf_direct_lane *lane, int rc)
{
    if (lane->first.code == SMEM_OK) {
        mf_err_save(&lane->first);
    }
    return rc;
}

/* Why the fence refuses. */
static __attribute__((cold)) int explain_refusal(const struct mf_direct_lane *lane,
                                                 const struct mf_xfer *x)
{
    const struct mf_direct_seg *src = fence_of(x->src_seg);
    const struct mf_direct_seg *dst = fence_of(x->dst_seg);
    const struct mf_fence_end ends[] = {
        {src ? &x->src_seg->desc : NULL, key_of(src), src && !src->peer},
        {dst ? &x->dst_seg->desc : NULL, key_of(dst), dst && !dst->peer},
    };
    return mf_fence_refusal(ends, 2, lane->incarnation);
}

static __attribute__((cold)) int unreachable(const struct mf_segment *segment)
{
    const struct mf_segment_desc *desc = &segment->desc;
    return mf_err(SMEM_NOT_CONNECTED,
                  "segment %u of rank %u in pool %u (%s) is not mapped in this process: %s",
                  desc->index, desc->owner, desc->pool, desc->kind == MF_KIND_HBM ? "HBM" : "DRAM",
                  desc->kind == MF_KIND_HBM ? "it has no device; choose one with MF_DEVICE"
                                            : "it has no place for it");
}

/* All elements of a run end the same way. */
static __attribute__((cold)) int fail_run(struct mf_direct_lane *lane, struct mf_xfer *v,
                                          uint32_t count, int rc)
{
    for (uint32_t i = 0; i < count; i++) {
        v[i].status = rc;
    }
    return keep_first(lane, rc);
}

static inline void copy_bytes(const struct mf_direct_lane *lane, void *dst, const void *src,
                              uint64_t size, bool bulk)
{
    if (size <= 8 && mf_direct_copy_word(dst, src, size)) {
        return;
    }
    if (size <= SMALL_MAX) {
        memcpy(dst, src, size);
    } else if (bulk && size >= BULK_PART_MIN) {
        lane->d->host->copy_bulk(lane->d->host->arg, dst, src, size);
    } else {
        lane->d->host->copy(lane->d->host->arg, dst, src, size);
    }
}

/* Where this process's CPU reaches that end of a copy. */
static inline void *host_end(const struct mf_segment *segment, uint64_t addr)
{
    uint64_t at = segment ? segment->host + (addr - segment->desc.gva) : addr;
    return (void *)(uintptr_t)at;
}

/* A single copy that is longer than a run: in pieces, announced all the time, checked between. */
static bool copy_long(const struct mf_direct_lane *lane, const struct mf_xfer *x,
                      const struct mf_direct_seg *src, const struct mf_direct_seg *dst)
{
    char *to = host_end(x->dst_seg, x->dst);
    const char *from = host_end(x->src_seg, x->src);
    for (uint64_t done = 0; done < x->size;) {
        uint64_t left = x->size - done;
        uint64_t step = left < RUN_BYTES_MAX ? left : RUN_BYTES_MAX;
        copy_bytes(lane, to + done, from + done, step, false);
        done += step;
        if (!still_valid(lane, src, dst)) {
            return false;
        }
    }
    return true;
}

/* The copies of a run with checksums, each with its own status. False: a segment is gone; a
 * difference is one only when it is not. */
static bool copy_checked(struct mf_direct_lane *lane, struct mf_xfer *v, uint32_t count,
                         const struct mf_direct_seg *src, const struct mf_direct_seg *dst)
{
    const struct mf_transport_host *host = lane->d->host;
    for (struct mf_xfer *x = v; x < v + count; x++) {
        char *to = host_end(x->dst_seg, x->dst);
        const char *from = host_end(x->src_seg, x->src);
        uint64_t step;
        x->status = SMEM_OK;
        for (uint64_t done = 0; done < x->size && x->status == SMEM_OK; done += step) {
            uint64_t left = x->size - done;
            step = left < RUN_BYTES_MAX ? left : RUN_BYTES_MAX;
            x->status = host->copy_checked(host->arg, x, done, to + done, from + done, step);
            if ((x->status || left > step) && !still_valid(lane, src, dst)) {
                return false;
            }
        }
        if (x->status) {
            keep_first(lane, x->status);
        }
    }
    return still_valid(lane, src, dst);
}

static int first_status(const struct mf_xfer *v, uint32_t count)
{
    uint32_t i = 0;
    while (i < count - 1 && v[i].status == SMEM_OK) {
        i++;
    }
    return v[i].status;
}

/* Is it memory of a peer that is reached without a mapping? */
static inline bool is_unmapped(const struct mf_segment *segment)
{
    return segment && !segment->host && segment->desc.kind == MF_KIND_DRAM &&
           fence_of(segment)->there;
}

/* Queued for wait: the owner of the target is asked, or two steps are needed. */
static int queue_run(struct mf_direct_lane *lane, struct mf_xfer *v, uint32_t count, bool staged)
{
    int rc = staged ? mf_direct_vm_stage(lane->d, &lane->vm, v, count)
                    : mf_direct_vm_put(lane->d, &lane->vm, v, count);
    return rc ? keep_first(lane, rc) : SMEM_OK;
}

/* Out of a segment that is not mapped here, under the fence of every copy. */
static int get_run(struct mf_direct_lane *lane, struct mf_xfer *v, uint32_t count, uint64_t bytes)
{
    const struct mf_direct_seg *src = fence_of(v->src_seg);
    const struct mf_direct_seg *dst = fence_of(v->dst_seg);
    int rc = SMEM_OK;
    bool ok = enter(lane, src, dst);
    if (ok && bytes <= RUN_BYTES_MAX) {
        rc = mf_direct_vm_get(lane->d, v, count);
        ok = still_valid(lane, src, dst);
    }
    for (uint64_t done = 0; ok && rc == SMEM_OK && bytes > RUN_BYTES_MAX && done < v->size;) {
        struct mf_xfer part = *v;
        uint64_t left = v->size - done;
        part.src += done;
        part.dst += done;
        part.size = left < RUN_BYTES_MAX ? left : RUN_BYTES_MAX;
        rc = mf_direct_vm_get(lane->d, &part, 1);
        v->status = part.status;
        done += part.size;
        ok = still_valid(lane, src, dst);
    }
    leave(lane);
    if (!ok) {
        return fail_run(lane, v, count, explain_refusal(lane, v));
    }
    return rc ? keep_first(lane, rc) : SMEM_OK;
}

/* At least one end is not mapped in this process. */
static __attribute__((cold)) int unmapped_run(struct mf_direct_lane *lane, struct mf_xfer *v,
                                              uint32_t count, uint64_t bytes)
{
    bool from = is_unmapped(v->src_seg);
    bool to = is_unmapped(v->dst_seg);
    if (v->src_seg && !v->src_seg->host && !from) {
        return fail_run(lane, v, count, unreachable(v->src_seg));
    }
    if (v->dst_seg && !v->dst_seg->host && !to) {
        return fail_run(lane, v, count, unreachable(v->dst_seg));
    }
    return to ? queue_run(lane, v, count, from) : get_run(lane, v, count, bytes);
}

/* Copies of one run on this thread. The run is not empty. */
static int host_run(struct mf_direct_lane *lane, struct mf_xfer *v, uint32_t count, uint64_t bytes)
{
    const struct mf_direct_seg *src = fence_of(v->src_seg);
    const struct mf_direct_seg *dst = fence_of(v->dst_seg);
    if (__builtin_expect((src && !v->src_seg->host) || (dst && !v->dst_seg->host), 0)) {
        return unmapped_run(lane, v, count, bytes);
    }
    bool named = bytes >= NAMED_BYTES;
    if (named) {
        atomic_store_explicit(&lane->line->tid, (uint32_t)syscall(SYS_gettid),
                              memory_order_relaxed);
    }
    bool ok = enter(lane, src, dst);
    if (__builtin_expect(ok, 1)) {
        if (__builtin_expect(lane->checked, 0)) {
            ok = copy_checked(lane, v, count, src, dst);
        } else if (bytes > RUN_BYTES_MAX) {
            ok = copy_long(lane, v, src, dst);
        } else {
            bool bulk = count > 1 && bytes >= BULK_BYTES;
            for (uint32_t i = 0; i < count; i++) {
                copy_bytes(lane, host_end(v[i].dst_seg, v[i].dst), host_end(v[i].src_seg, v[i].src),
                           v[i].size, bulk);
            }
            ok = still_valid(lane, src, dst);
        }
    }
    leave(lane);
    if (named) {
        atomic_store_explicit(&lane->line->tid, 0, memory_order_relaxed);
    }
    if (__builtin_expect(!ok, 0)) {
        return fail_run(lane, v, count, explain_refusal(lane, v));
    }
    if (__builtin_expect(lane->checked, 0)) {
        return first_status(v, count);
    }
    for (uint32_t i = 0; i < count; i++) {
        v[i].status = SMEM_OK;
    }
    return SMEM_OK;
}

/* Forget the hazards of device copies. */
static void release_held(struct mf_direct_lane *lane)
{
    for (uint32_t i = 0; i < lane->held_count; i++) {
        atomic_store_explicit(&lane->line->hazard[MF_FENCE_CPU_HAZARDS + i], 0,
                              memory_order_release);
    }
    lane->held_count = 0;
}

static int line_take(struct mf_direct *d, struct mf_direct_lane *lane)
{
    mf_mutex_lock(&d->lock);
    int rc = mf_fence_line_take(&d->fence, &lane->line);
    mf_mutex_unlock(&d->lock);
    return rc;
}

static void line_give(struct mf_direct *d, struct mf_fence_line *line)
{
    mf_mutex_lock(&d->lock);
    mf_fence_line_give(&d->fence, line);
    mf_mutex_unlock(&d->lock);
}

/* Give the pending copies their final status. */
static int finish_pending(struct mf_direct_lane *lane, int rc)
{
    int first = rc;
    for (uint32_t r = 0; r < lane->pending_count; r++) {
        struct mf_xfer *v = lane->pending[r].v;
        uint32_t count = lane->pending[r].count;
        int here = rc;
        if (here == SMEM_OK && !still_valid(lane, fence_of(v->src_seg), fence_of(v->dst_seg))) {
            here = explain_refusal(lane, v);
        }
        for (uint32_t i = 0; i < count; i++) {
            v[i].status = here;
        }
        if (here) {
            keep_first(lane, here);
            first = first ? first : here;
        }
    }
    lane->pending_count = 0;
    return first;
}

static int flush(struct mf_direct_lane *lane, uint64_t deadline_ns)
{
    const struct mf_transport_host *host = lane->d->host;
    if (lane->pending_count == 0 && lane->held_count == 0) {
        return SMEM_OK;
    }
    int rc = host->device->stream_sync(host->device_impl, lane->stream, deadline_ns);
    if (rc == SMEM_TIMEOUT) {
        rc = mf_err(SMEM_TIMEOUT, "%u groups of device copies did not end by the deadline",
                    lane->pending_count);
        /* What has not begun never happens, and what runs has ended when this returns. */
        host->device->stream_destroy(host->device_impl, lane->stream);
        lane->stream = NULL;
    }
    rc = finish_pending(lane, rc);
    release_held(lane);
    return rc;
}

static bool is_held(const struct mf_direct_lane *lane, const struct mf_direct_seg *seg)
{
    for (uint32_t i = 0; i < lane->held_count; i++) {
        if (lane->held[i] == seg) {
            return true;
        }
    }
    return seg == NULL;
}

/* Announce a segment for as long as device copies are pending. */
static void hold(struct mf_direct_lane *lane, struct mf_direct_seg *seg)
{
    if (is_held(lane, seg)) {
        return;
    }
    mf_fence_announce(&lane->line->hazard[MF_FENCE_CPU_HAZARDS + lane->held_count], &seg->key);
    lane->held[lane->held_count++] = seg;
    mf_fence_after_announce(seg->key.strict);
}

/* Room for one more run, and its segments announced and valid. */
static int enter_device(struct mf_direct_lane *lane, struct mf_xfer *v)
{
    const struct mf_transport_host *host = lane->d->host;
    struct mf_direct_seg *src = fence_of(v->src_seg);
    struct mf_direct_seg *dst = fence_of(v->dst_seg);
    uint32_t room = MF_FENCE_HAZARDS - MF_FENCE_CPU_HAZARDS - lane->held_count;
    uint32_t need = (uint32_t)!is_held(lane, src) + (uint32_t)!is_held(lane, dst);
    int rc = SMEM_OK;
    if (!host->device) {
        return mf_err(SMEM_NOT_CONNECTED,
                      "a copy of device memory in a process without a device: choose one with "
                      "MF_DEVICE");
    }
    if (need > room || lane->pending_count == PENDING_RUNS) {
        (void)flush(lane, mf_direct_now(lane->d) + FLUSH_NS); /* kept as the lane's first failure */
    }
    if (!lane->stream) {
        rc = host->device->stream_create(host->device_impl, &lane->stream);
    }
    if (rc) {
        return rc;
    }
    hold(lane, src);
    hold(lane, dst);
    if ((src && !mf_fence_is_valid(&src->key, lane->incarnation)) ||
        (dst && !mf_fence_is_valid(&dst->key, lane->incarnation))) {
        return explain_refusal(lane, v);
    }
    return SMEM_OK;
}

/* The address by which the device is told of that end; 0 when it has none. */
static uint64_t device_end(const struct mf_segment *segment, uint64_t addr)
{
    if (!segment) {
        return addr;
    }
    uint64_t base = segment->desc.kind == MF_KIND_HBM ? segment->dev : segment->host;
    return base ? base + (addr - segment->desc.gva) : 0;
}

/* In one batch, or one by one where the device has no batches. */
static int queue_copies(const struct mf_direct_lane *lane, const struct mf_device_copy_desc *list,
                        uint32_t count)
{
    const struct mf_transport_host *host = lane->d->host;
    int rc = SMEM_NOT_EXIST;
    if (count > 1) {
        rc = host->device->copy_batch(host->device_impl, lane->stream, list, count);
    }
    if (rc != SMEM_NOT_EXIST) {
        return rc;
    }
    rc = SMEM_OK;
    for (uint32_t i = 0; rc == SMEM_OK && i < count; i++) {
        rc = host->device->copy(host->device_impl, lane->stream, list[i].dst, list[i].src,
                                list[i].size);
    }
    return rc;
}

static int device_run(struct mf_direct_lane *lane, struct mf_xfer *v, uint32_t count)
{
    struct mf_device_copy_desc list[RUN_COUNT_MAX];
    if (is_unmapped(v->src_seg) || is_unmapped(v->dst_seg)) {
        return queue_run(lane, v, count, true);
    }
    int rc = enter_device(lane, v);
    if (rc == SMEM_OK && v->src_seg && !device_end(v->src_seg, v->src)) {
        rc = unreachable(v->src_seg);
    } else if (rc == SMEM_OK && v->dst_seg && !device_end(v->dst_seg, v->dst)) {
        rc = unreachable(v->dst_seg);
    }
    if (rc) {
        return fail_run(lane, v, count, rc);
    }
    for (uint32_t i = 0; i < count; i++) {
        list[i] = (struct mf_device_copy_desc){.dst = device_end(v[i].dst_seg, v[i].dst),
                                               .src = device_end(v[i].src_seg, v[i].src),
                                               .size = v[i].size};
        v[i].status = MF_XFER_PENDING;
    }
    rc = queue_copies(lane, list, count);
    if (rc) {
        return fail_run(lane, v, count,
                        rc); /* part of it may be queued: its hazards stay until wait */
    }
    lane->pending[lane->pending_count++] = (struct pending_run){.v = v, .count = count};
    return SMEM_OK;
}

static inline bool on_device(const struct mf_xfer *x)
{
    return (x->flags & (MF_XFER_SRC_DEV | MF_XFER_DST_DEV)) ||
           (x->src_seg && x->src_seg->desc.kind == MF_KIND_HBM) ||
           (x->dst_seg && x->dst_seg->desc.kind == MF_KIND_HBM);
}

/* How many elements from v on may go as one run, and their bytes. */
static inline uint32_t run_length(const struct mf_xfer *v, uint32_t count, bool device,
                                  uint64_t *bytes)
{
    uint64_t sum = v->size;
    uint32_t n = 1;
    uint32_t max = count < RUN_COUNT_MAX ? count : RUN_COUNT_MAX;
    while (n < max && v[n].src_seg == v->src_seg && v[n].dst_seg == v->dst_seg &&
           on_device(&v[n]) == device && sum + v[n].size <= RUN_BYTES_MAX) {
        sum += v[n].size;
        n++;
    }
    *bytes = sum;
    return n;
}

int mf_direct_post(void *arg, struct mf_xfer *v, uint32_t count)
{
    struct mf_direct_lane *lane = arg;
    int first = SMEM_OK;
    for (uint32_t i = 0; i < count;) {
        uint64_t bytes;
        bool device = on_device(&v[i]);
        uint32_t n = run_length(&v[i], count - i, device, &bytes);
        int rc = device ? device_run(lane, &v[i], n) : host_run(lane, &v[i], n, bytes);
        first = first ? first : rc;
        i += n;
    }
    if (__builtin_expect(lane->vm != NULL, 0)) {
        mf_direct_vm_kick(lane->vm);
    }
    return first;
}

int mf_direct_copy_small(void *arg, struct mf_segment *segment, uint64_t gva, void *local,
                         uint32_t size, int write)
{
    const struct mf_direct_lane *lane = arg;
    const struct mf_direct_seg *seg = segment->priv;
    void *there = host_end(segment, gva);
    _Atomic uint64_t *hazard = &lane->line->hazard[0];
    mf_fence_announce(hazard, &seg->key);
    mf_fence_after_announce(seg->key.strict);
    bool ok = mf_fence_is_valid(&seg->key, lane->incarnation);
    if (__builtin_expect(ok, 1)) {
        void *dst = write ? there : local;
        const void *src = write ? local : there;
        if (size > 8 || !mf_direct_copy_word(dst, src, size)) {
            memcpy(dst, src, size);
        }
        ok = still_valid(lane, seg, NULL);
    }
    atomic_store_explicit(hazard, 0, memory_order_release);
    return ok ? SMEM_OK : SMEM_NOT_CONNECTED;
}

/* ---- for many.c ---- */

bool mf_direct_lane_plain(const struct mf_direct_lane *lane)
{
    return !lane->checked;
}

const struct mf_transport_host *mf_direct_lane_host(const struct mf_direct_lane *lane)
{
    return lane->d->host;
}

bool mf_direct_run_enter(const struct mf_direct_lane *lane, const struct mf_segment *src,
                         const struct mf_segment *dst)
{
    return enter(lane, fence_of(src), fence_of(dst));
}

bool mf_direct_run_valid(const struct mf_direct_lane *lane, const struct mf_segment *src,
                         const struct mf_segment *dst)
{
    return still_valid(lane, fence_of(src), fence_of(dst));
}

void mf_direct_run_leave(const struct mf_direct_lane *lane)
{
    leave(lane);
}

void mf_direct_run_name(const struct mf_direct_lane *lane, bool named)
{
    atomic_store_explicit(&lane->line->tid, named ? (uint32_t)syscall(SYS_gettid) : 0,
                          memory_order_relaxed);
}

int mf_direct_run_refused(const struct mf_direct_lane *lane, struct mf_segment *src,
                          struct mf_segment *dst)
{
    struct mf_xfer x = {.src_seg = src, .dst_seg = dst};
    return explain_refusal(lane, &x);
}

/* Everything has its final status but what is staged. */
static void settle(struct mf_direct_lane *lane, uint64_t deadline_ns)
{
    (void)flush(lane, deadline_ns);
    int rc = mf_direct_vm_wait(lane->vm, deadline_ns);
    if (rc) {
        keep_first(lane, rc);
    }
}

/* One of the two steps of a staged copy. */
static int half(void *arg, struct mf_xfer *x, uint64_t deadline_ns)
{
    (void)mf_direct_post(arg, x, 1); /* the status says it */
    settle(arg, deadline_ns);
    return x->status;
}

int mf_direct_wait(void *arg, uint64_t deadline_ns)
{
    struct mf_direct_lane *lane = arg;
    atomic_thread_fence(
        memory_order_acq_rel); /* what was posted before is seen before what follows */
    settle(lane, deadline_ns);
    mf_direct_vm_run_staged(lane->vm, lane, half, deadline_ns);
    if (__builtin_expect(lane->first.code == SMEM_OK, 1)) {
        return SMEM_OK;
    }
    int rc = lane->first.code;
    mf_err_restore(&lane->first);
    lane->first.code = SMEM_OK;
    return rc;
}

int mf_direct_lane_open(void *tp, void **out)
{
    struct mf_direct *d = tp;
    struct mf_direct_lane *lane = mf_alloc_aligned(64, sizeof(*lane), "lane");
    if (!lane) {
        return SMEM_MALLOC_FAILED;
    }
    lane->d = d;
    lane->incarnation = d->host->incarnation;
    lane->checked = d->host->copy_checked != NULL;
    int rc = line_take(d, lane);
    if (rc) {
        mf_free(lane);
        return rc;
    }
    *out = lane;
    return SMEM_OK;
}

struct mf_fence_line *mf_direct_lane_line(void *lane)
{
    return ((struct mf_direct_lane *)lane)->line;
}

void mf_direct_lane_close(void *tp, void *arg)
{
    struct mf_direct *d = tp;
    struct mf_direct_lane *lane = arg;
    if (!lane) {
        return;
    }
    (void)flush(lane, mf_direct_now(d) + FLUSH_NS);
    mf_direct_vm_lane_close(lane->vm);
    if (lane->stream) {
        d->host->device->stream_destroy(d->host->device_impl, lane->stream);
    }
    line_give(d, lane->line);
    mf_free(lane);
}
