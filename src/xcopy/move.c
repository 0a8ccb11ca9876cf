// SPDX-License-Identifier: Apache-2.0
// The movers. Whatever a transport leaves undecided gets a final status here: after a mover has
// returned, no transfer is pending.
#include "xcopy/move.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/err.h"
#include "xcopy/checksum.h"

int mf_lanes_get(struct mf_lanes *lanes, const struct mf_transport_ops *ops, void *tp, void **lane)
{
    for (uint32_t i = 0; i < lanes->count; i++) {
        if (lanes->v[i].tp == tp && lanes->v[i].ops == ops) {
            *lane = lanes->v[i].lane;
            return SMEM_OK;
        }
    }
    if (lanes->count == MF_TRANSPORTS_MAX) {
        return mf_err(SMEM_NO_RESOURCES, "a thread uses at most %u transports", MF_TRANSPORTS_MAX);
    }
    int rc = ops->lane_open(tp, lane);
    if (rc) {
        return mf_err_in(rc, "open a lane of transport %s", ops->name);
    }
    lanes->v[lanes->count].ops = ops;
    lanes->v[lanes->count].tp = tp;
    lanes->v[lanes->count].lane = *lane;
    lanes->count++;
    return SMEM_OK;
}

uint64_t mf_move_deadline(const struct mf_xcopy_space *space, uint64_t deadline_ns)
{
    return deadline_ns ? deadline_ns : mf_deadline_ns(space->env, space->copy_wait_ms);
}

/* ---- by a transport ---- */

int mf_move_start(struct mf_lanes *lanes, const struct mf_route *route, struct mf_xfer *v,
                  uint32_t count)
{
    void *lane;
    int rc = mf_lanes_get(lanes, route->ops, route->tp, &lane);
    return rc ? rc : route->ops->post(lane, v, count);
}

/* The first transfer that is not done; count when all are. */
static uint32_t first_undone(const struct mf_xfer *v, uint32_t count)
{
    uint32_t i = 0;
    while (i < count && v[i].status == SMEM_OK) {
        i++;
    }
    return i;
}

/* Nothing stays pending, and a failure has a sentence. */
static int conclude(const struct mf_route *route, struct mf_xfer *v, uint32_t count, int rc)
{
    int first = SMEM_OK;
    for (uint32_t i = 0; i < count; i++) {
        if (v[i].status > 0) {
            v[i].status = rc ? rc : SMEM_ERROR;
        }
        if (first == SMEM_OK) {
            first = v[i].status;
        }
    }
    if (first == SMEM_OK && rc != SMEM_OK) {
        v[0].status = rc; /* the transport says that something failed, and not what */
        first = rc;
    }
    if (first != SMEM_OK && mf_err_code() != first) {
        mf_err(first, "transport %s reports code %d and no reason", route->ops->name, first);
    }
    return first;
}

static int finish_posted(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                         const struct mf_route *route, struct mf_xfer *v, uint32_t count,
                         int started, uint64_t deadline_ns)
{
    uint32_t undone = first_undone(v, count);
    if (started == SMEM_OK && undone == count) {
        return SMEM_OK;
    }
    void *lane;
    int rc = mf_lanes_get(lanes, route->ops, route->tp, &lane);
    if (rc == SMEM_OK) {
        /* After a failed post too: some transfers may be under way. */
        int waited = route->ops->wait(lane, mf_move_deadline(space, deadline_ns));
        rc = started ? started : waited;
    }
    return conclude(route, v, count, rc);
}

/* What has been moved is not done before its checksums agree. `rc` is what moving came to; the
 * sentence stays that of the first transfer that failed. */
static int check_moved(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                       struct mf_xfer *v, uint32_t count, int rc, uint64_t deadline_ns)
{
    struct mf_err_rec err;
    uint32_t failed = first_undone(v, count);
    if (!space->checked) {
        return rc;
    }
    mf_err_save(&err);
    int differs = mf_checksum_verify(space, lanes, v, count, deadline_ns);
    if (differs && first_undone(v, count) < failed) {
        return differs;
    }
    mf_err_restore(&err);
    return rc;
}

int mf_move_finish(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                   const struct mf_route *route, struct mf_xfer *v, uint32_t count, int started,
                   uint64_t deadline_ns)
{
    int rc = finish_posted(space, lanes, route, v, count, started, deadline_ns);
    return check_moved(space, lanes, v, count, rc, deadline_ns);
}

int mf_move_posted(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                   const struct mf_route *route, struct mf_xfer *v, uint32_t count,
                   uint64_t deadline_ns)
{
    int started = mf_move_start(lanes, route, v, count);
    return mf_move_finish(space, lanes, route, v, count, started, deadline_ns);
}

static int move_posted(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                       const struct mf_route *route, struct mf_xfer *x, uint64_t deadline_ns)
{
    int started = mf_move_start(lanes, route, x, 1);
    return finish_posted(space, lanes, route, x, 1, started, deadline_ns);
}

/* ---- by this thread ---- */

/* One side of a local transfer: an address that the CPU or the device of this process reaches. */
struct side {
    uint64_t addr; /* 0: neither does */
    bool on_device;
};

static struct side side_of(const struct mf_segment *seg, uint64_t addr, bool device)
{
    if (!seg) {
        return (struct side){addr, device};
    }
    uint64_t offset = addr - seg->desc.gva;
    if (seg->desc.kind == MF_KIND_HBM) {
        return (struct side){seg->dev ? seg->dev + offset : 0, true};
    }
    return (struct side){seg->host ? seg->host + offset : 0, false};
}

static int get_stream(const struct mf_xcopy_space *space, struct mf_lanes *lanes)
{
    if (!space->dev) {
        return mf_err(SMEM_NOT_EXIST, "no device is open in this process: see the option "
                                      "device.plugin (MF_DEVICE)");
    }
    if (lanes->stream && lanes->dev == space->dev) {
        return SMEM_OK;
    }
    if (lanes->stream) {
        lanes->dev->ops.stream_destroy(lanes->dev->impl, lanes->stream);
        lanes->stream = NULL;
    }
    int rc = space->dev->ops.stream_create(space->dev->impl, &lanes->stream);
    if (rc) {
        lanes->stream = NULL;
        return mf_err_in(rc, "a stream for local copies");
    }
    lanes->dev = space->dev;
    return SMEM_OK;
}

/* Copy by the CPU, or queue on the stream (then the status stays pending). */
static int start_local(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                       struct mf_xfer *x, bool bulk)
{
    struct side src = side_of(x->src_seg, x->src, x->flags & MF_XFER_SRC_DEV);
    struct side dst = side_of(x->dst_seg, x->dst, x->flags & MF_XFER_DST_DEV);
    if (src.addr == 0 || dst.addr == 0) {
        const struct mf_segment *seg = src.addr == 0 ? x->src_seg : x->dst_seg;
        return mf_err(SMEM_NOT_CONNECTED,
                      "memory of rank %" PRIu32 " at 0x%" PRIx64 " is not mapped in this process",
                      seg->desc.owner, seg->desc.gva);
    }
    if (!src.on_device && !dst.on_device && space->checked) {
        struct mf_checksum_bad bad;
        x->flags |= MF_XFER_CHECKED;
        x->status = mf_checksum_copy(space->copier, (void *)(uintptr_t)dst.addr,
                                     (const void *)(uintptr_t)src.addr, x->size, &bad)
                        ? SMEM_OK
                        : mf_checksum_err(&space->table->layout, x, &bad);
        return x->status;
    }
    if (!src.on_device && !dst.on_device) {
        (bulk ? mf_cpu_copy_bulk : mf_cpu_copy)(space->copier, (void *)(uintptr_t)dst.addr,
                                                (const void *)(uintptr_t)src.addr, x->size);
        x->status = SMEM_OK;
        return SMEM_OK;
    }
    int rc = get_stream(space, lanes);
    return rc ? rc
              : space->dev->ops.copy(space->dev->impl, lanes->stream, dst.addr, src.addr, x->size);
}

static bool is_bulk(const struct mf_xfer *v, uint32_t count)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < count && total < MF_COPY_SMALL; i++) {
        total += v[i].size;
    }
    return count > 1 && total >= MF_COPY_SMALL;
}

/* Wait for the stream. One that does not end in time is given up: what it still does must not mix
 * with later copies. */
static int finish_stream(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                         uint64_t deadline_ns)
{
    const struct mf_dev *dev = space->dev;
    int rc = dev->ops.stream_sync(dev->impl, lanes->stream, mf_move_deadline(space, deadline_ns));
    if (rc == SMEM_TIMEOUT) {
        dev->ops.stream_destroy(dev->impl, lanes->stream);
        lanes->stream = NULL;
        rc = mf_err_in(rc, "device %s:%" PRIu32 " did not finish the copy in time",
                       dev->info.plugin, dev->info.ordinal);
    }
    return rc;
}

static int move_local(const struct mf_xcopy_space *space, struct mf_lanes *lanes, struct mf_xfer *v,
                      uint32_t count, uint64_t deadline_ns)
{
    bool bulk = is_bulk(v, count);
    bool queued = false;
    int first = SMEM_OK;
    struct mf_err_rec err;
    for (uint32_t i = 0; i < count; i++) {
        int rc = start_local(space, lanes, &v[i], bulk);
        if (rc) {
            v[i].status = rc;
        }
        if (rc && first == SMEM_OK) {
            first = rc;
            mf_err_save(&err);
        }
        queued = queued || v[i].status == MF_XFER_PENDING;
    }
    int synced = queued ? finish_stream(space, lanes, deadline_ns) : SMEM_OK;
    for (uint32_t i = 0; queued && i < count; i++) {
        /* A stream tells only that something on it failed. */
        v[i].status = v[i].status == MF_XFER_PENDING ? synced : v[i].status;
    }
    if (first != SMEM_OK) {
        mf_err_restore(&err);
        return first;
    }
    return synced;
}

int mf_move_local(const struct mf_xcopy_space *space, struct mf_lanes *lanes, struct mf_xfer *v,
                  uint32_t count, uint64_t deadline_ns)
{
    int rc = move_local(space, lanes, v, count, deadline_ns);
    return check_moved(space, lanes, v, count, rc, deadline_ns);
}

/* ---- by way of host memory ---- */

static struct mf_window window_of(struct mf_segment *seg, bool device)
{
    struct mf_window window = {.seg = seg};
    if (seg) {
        window.place = seg->desc.kind == MF_KIND_HBM ? MF_PLACE_GD : MF_PLACE_GH;
        window.rank = seg->desc.owner;
    } else {
        window.place = device ? MF_PLACE_LD : MF_PLACE_LH;
    }
    return window;
}

static int move_half(const struct mf_xcopy_space *space, struct mf_lanes *lanes, struct mf_xfer *x,
                     uint64_t deadline_ns)
{
    struct mf_window src = window_of(x->src_seg, x->flags & MF_XFER_SRC_DEV);
    struct mf_window dst = window_of(x->dst_seg, x->flags & MF_XFER_DST_DEV);
    struct mf_route route;
    mf_route_find(space, &src, &dst, &route);
    x->status = MF_XFER_PENDING;
    switch (route.path) {
    case MF_PATH_TRANSPORT:
        return move_posted(space, lanes, &route, x, deadline_ns);
    case MF_PATH_LOCAL:
        return move_local(space, lanes, x, 1, deadline_ns);
    default:
        x->status = mf_err(SMEM_NOT_CONNECTED,
                           "the transport that reaches rank %" PRIu32 " does not reach its device "
                           "memory",
                           route.peer);
        return x->status;
    }
}

static int get_staging(struct mf_lanes *lanes)
{
    if (!lanes->staging) {
        lanes->staging = mf_alloc_aligned(4096, MF_STAGING_BYTES, "staging memory of a copy");
    }
    return lanes->staging ? SMEM_OK : SMEM_MALLOC_FAILED;
}

int mf_move_to_staging(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                       struct mf_xfer *x, uint64_t deadline_ns)
{
    int rc = get_staging(lanes);
    x->dst = (uintptr_t)lanes->staging;
    return rc ? rc : move_half(space, lanes, x, deadline_ns);
}

static int move_staged(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                       const struct mf_xfer *x, uint64_t deadline_ns)
{
    for (uint64_t done = 0; done < x->size;) {
        uint64_t size = x->size - done;
        size = size < MF_STAGING_BYTES ? size : MF_STAGING_BYTES;
        struct mf_xfer in = {
            .src_seg = x->src_seg,
            .src = x->src + done,
            .dst = (uintptr_t)lanes->staging,
            .size = size,
            .flags = x->flags & MF_XFER_SRC_DEV,
        };
        struct mf_xfer out = {
            .dst_seg = x->dst_seg,
            .src = (uintptr_t)lanes->staging,
            .dst = x->dst + done,
            .size = size,
            .flags = x->flags & MF_XFER_DST_DEV,
        };
        int rc = move_half(space, lanes, &in, deadline_ns);
        rc = rc ? rc : move_half(space, lanes, &out, deadline_ns);
        if (rc) {
            return rc;
        }
        done += size;
    }
    return SMEM_OK;
}

int mf_move_staged(const struct mf_xcopy_space *space, struct mf_lanes *lanes, struct mf_xfer *v,
                   uint32_t count, uint64_t deadline_ns)
{
    int first = SMEM_OK;
    struct mf_err_rec err;
    deadline_ns = mf_move_deadline(space, deadline_ns);
    for (uint32_t i = 0; i < count; i++) {
        v[i].status = get_staging(lanes);
        v[i].status = v[i].status ? v[i].status : move_staged(space, lanes, &v[i], deadline_ns);
        if (v[i].status && first == SMEM_OK) {
            first = v[i].status;
            mf_err_save(&err);
        }
    }
    if (first != SMEM_OK) {
        mf_err_restore(&err);
    }
    return check_moved(space, lanes, v, count, first, deadline_ns);
}
