// SPDX-License-Identifier: Apache-2.0
// Carrying a plan out: everything is posted before anything is waited for, transports that cross
// the network first; then the statuses of transfers become those of elements. One element alone
// takes a short way past the plan.
#include "xcopy/xcopy.h"

#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "xcopy/move.h"
#include "xcopy/plan.h"

void mf_lanes_init(struct mf_lanes *lanes)
{
    memset(lanes, 0, sizeof(*lanes));
}

void mf_lanes_fini(struct mf_lanes *lanes)
{
    for (uint32_t i = 0; i < lanes->count; i++) {
        lanes->v[i].ops->lane_close(lanes->v[i].tp, lanes->v[i].lane);
    }
    if (lanes->stream) {
        lanes->dev->ops.stream_destroy(lanes->dev->impl, lanes->stream);
    }
    mf_free(lanes->staging);
    mf_plan_destroy(lanes->plan);
    mf_lanes_init(lanes);
}

/* What a batch came to. */
struct outcome {
    int rc;           /* the first failure while moving, */
    uint32_t element; /* where it was, */
    struct mf_err_rec err;
};

/* One batch on its way. */
struct job {
    const struct mf_xcopy_space *space;
    struct mf_lanes *lanes;
    struct mf_plan *plan;
    uint64_t deadline_ns;
    struct outcome outcome;
};

static void note(struct job *job, struct mf_plan_run *run, int rc)
{
    run->done = true;
    if (rc == SMEM_OK || job->outcome.rc != SMEM_OK) {
        return;
    }
    const struct mf_xfer *x = job->plan->v + run->first;
    while (x->status == SMEM_OK) {
        x++;
    }
    job->outcome.rc = rc;
    job->outcome.element = mf_cookie_first(x->cookie);
    mf_err_save(&job->outcome.err);
}

static void finish_post(struct job *job, struct mf_plan_run *run, int started)
{
    note(job, run,
         mf_move_finish(job->space, job->lanes, &run->route, job->plan->v + run->first, run->count,
                        started, job->deadline_ns));
}

/* Post what goes over the network, or what stays on the host. */
static void post_runs(struct job *job, bool network)
{
    for (uint32_t r = 0; r < job->plan->run_count; r++) {
        struct mf_plan_run *run = &job->plan->runs[r];
        if (run->route.path != MF_PATH_TRANSPORT ||
            network != !(run->route.ops->caps & MF_CAP_SAME_HOST)) {
            continue;
        }
        int rc = mf_move_start(job->lanes, &run->route, job->plan->v + run->first, run->count);
        if (rc) {
            finish_post(job, run, rc);
        }
    }
}

/* Staged transfers use the same lanes, so they begin when nothing else is under way there. */
static void run_plan(struct job *job)
{
    struct mf_plan *plan = job->plan;
    post_runs(job, true);
    post_runs(job, false);
    for (uint32_t r = 0; r < plan->run_count; r++) {
        struct mf_plan_run *run = &plan->runs[r];
        if (run->route.path == MF_PATH_LOCAL) {
            note(job, run,
                 mf_move_local(job->space, job->lanes, plan->v + run->first, run->count,
                               job->deadline_ns));
        }
    }
    for (uint32_t r = 0; r < plan->run_count; r++) {
        if (plan->runs[r].route.path == MF_PATH_TRANSPORT && !plan->runs[r].done) {
            finish_post(job, &plan->runs[r], SMEM_OK);
        }
    }
    for (uint32_t r = 0; r < plan->run_count; r++) {
        struct mf_plan_run *run = &plan->runs[r];
        if (run->route.path == MF_PATH_STAGED) {
            note(job, run,
                 mf_move_staged(job->space, job->lanes, plan->v + run->first, run->count,
                                job->deadline_ns));
        }
    }
}

/* Statuses of transfers to those of their elements: an element is done when all its parts are.
 * Returns how many elements failed. */
static uint32_t spread(const struct mf_plan *plan, int32_t *results)
{
    uint32_t failed = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct mf_xfer *x = &plan->v[i];
        if (x->status == SMEM_OK) {
            continue;
        }
        uint32_t first = mf_cookie_first(x->cookie);
        for (uint32_t e = first; e < first + mf_cookie_count(x->cookie); e++) {
            failed += results[e] == SMEM_OK;
            results[e] = results[e] == SMEM_OK ? x->status : results[e];
        }
    }
    return failed;
}

/* Install the sentence of the outcome, with the element in front. */
static int report(const struct job *job, const struct mf_batch *batch, smem_bm_copy_type type,
                  bool single)
{
    uint32_t i = job->outcome.element;
    struct mf_element element = {
        .src = (uintptr_t)batch->src[i],
        .dst = (uintptr_t)batch->dst[i],
        .size = batch->size[i],
        .type = type,
        .index = single ? MF_ELEMENT_SINGLE : batch->first + i,
    };
    mf_err_restore(&job->outcome.err);
    return mf_element_err_in(job->space, &element, job->outcome.rc);
}

static int conclude(const struct job *job, const struct mf_batch *batch, smem_bm_copy_type type,
                    bool single)
{
    const struct mf_plan *plan = job->plan;
    if (job->outcome.rc == SMEM_OK && plan->refused == 0) {
        return SMEM_OK;
    }
    if (!batch->results) {
        return report(job, batch, type, single);
    }
    uint32_t failed = plan->refused + spread(plan, batch->results);
    if (job->outcome.rc != SMEM_OK &&
        (plan->refused == 0 || job->outcome.element < plan->first_refused)) {
        report(job, batch, type, single);
    } else {
        mf_err_restore(&plan->err);
    }
    return batch->part
               ? SMEM_PARTIAL_FAILED
               : mf_err_in(SMEM_PARTIAL_FAILED, "%u of %u elements failed", failed, batch->count);
}

static int get_plan(struct mf_lanes *lanes)
{
    if (!lanes->plan) {
        lanes->plan = mf_plan_create();
    }
    return lanes->plan ? SMEM_OK : SMEM_MALLOC_FAILED;
}

static int copy_batch(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                      const struct mf_batch *batch, smem_bm_copy_type type, bool single,
                      uint64_t deadline_ns)
{
    int rc = get_plan(lanes);
    rc = rc ? rc : mf_plan_compile(lanes->plan, space, batch, type, single, deadline_ns);
    if (rc) {
        return rc;
    }
    struct job job = {
        .space = space,
        .lanes = lanes,
        .plan = lanes->plan,
        .deadline_ns = deadline_ns,
    };
    run_plan(&job);
    rc = conclude(&job, batch, type, single);
    mf_plan_trim(lanes->plan);
    return rc;
}

int mf_xcopy_batch(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                   const struct mf_batch *batch, smem_bm_copy_type type, uint64_t deadline_ns)
{
    return copy_batch(space, lanes, batch, type, false, deadline_ns);
}

int mf_xcopy_plan(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                  const struct mf_batch *batch, smem_bm_copy_type type, uint32_t *transfers)
{
    int rc = get_plan(lanes);
    rc = rc ? rc : mf_plan_compile(lanes->plan, space, batch, type, false, 0);
    *transfers = rc ? 0 : lanes->plan->count;
    return rc;
}

/* ---- one element ---- */

static __attribute__((noinline)) int copy_one_slowly(const struct mf_xcopy_space *space,
                                                     struct mf_lanes *lanes, const void *src,
                                                     void *dst, uint64_t size,
                                                     smem_bm_copy_type type, uint64_t deadline_ns)
{
    void *sources[1] = {(void *)(uintptr_t)src};
    void *targets[1] = {dst};
    struct mf_batch batch = {.src = sources, .dst = targets, .size = &size, .count = 1};
    return copy_batch(space, lanes, &batch, type, true, deadline_ns);
}

static __attribute__((noinline)) int finish_one(const struct mf_xcopy_space *space,
                                                struct mf_lanes *lanes,
                                                const struct mf_route *route, struct mf_xfer *x,
                                                int started, smem_bm_copy_type type,
                                                uint64_t deadline_ns)
{
    int rc = mf_move_finish(space, lanes, route, x, 1, started, deadline_ns);
    if (rc == SMEM_OK) {
        return SMEM_OK;
    }
    struct mf_element element = {x->src, x->dst, x->size, type, MF_ELEMENT_SINGLE};
    return mf_element_err_in(space, &element, rc);
}

#define SMALL_MAX 256u /* bytes, see copy_small of struct mf_transport_ops */

/* A few bytes between this process's memory and one DRAM segment, the commonest small copy: no
 * window and no transfer are made. False: not of that sort, or not done; the long way finds out. */
static inline bool copy_small(const struct mf_xcopy_space *space, const struct mf_lanes *lanes,
                              uint64_t src, uint64_t dst, uint64_t size,
                              const struct mf_type_rule *rule)
{
    const struct mf_layout *layout = &space->table->layout;
    uint64_t base = layout->base.v;
    bool write = dst - base < layout->size;
    uint64_t gva = write ? dst : src;
    uint64_t local = write ? src : dst;
    uint8_t src_place = write ? MF_PLACE_LH : MF_PLACE_GH;
    uint8_t dst_place = write ? MF_PLACE_GH : MF_PLACE_LH;
    if (size - 1 >= SMALL_MAX || space->dev || local == 0 || local + size < local ||
        local - base < layout->size || local + size - 1 - base < layout->size ||
        !(rule->src_mask & src_place) || !(rule->dst_mask & dst_place) ||
        mf_gva_place_near(space->table, local, size)) {
        return false;
    }
    struct mf_segment *seg = mf_gva_table_find(space->table, (mf_gva){gva});
    if (!seg || !seg->host || seg->desc.kind != MF_KIND_DRAM ||
        size > seg->desc.size - (gva - seg->desc.gva) || lanes->count == 0 ||
        lanes->v[0].tp != seg->tp || lanes->v[0].ops != seg->ops) {
        return false;
    }
    return seg->ops->copy_small(lanes->v[0].lane, seg, gva, (void *)(uintptr_t)local,
                                (uint32_t)size, write) == SMEM_OK;
}

int mf_xcopy_one(const struct mf_xcopy_space *space, struct mf_lanes *lanes, const void *src,
                 void *dst, uint64_t size, smem_bm_copy_type type, uint64_t deadline_ns)
{
    const struct mf_type_rule *rule = &mf_type_rules[type];
    uint64_t src_addr = (uintptr_t)src;
    uint64_t dst_addr = (uintptr_t)dst;
    struct mf_window from;
    struct mf_window to;
    if (__builtin_expect(space->checked, 0)) {
        return copy_one_slowly(space, lanes, src, dst, size, type, deadline_ns);
    }
    if (copy_small(space, lanes, src_addr, dst_addr, size, rule)) {
        return SMEM_OK;
    }
    mf_window_find(space, src_addr, &from);
    mf_window_find(space, dst_addr, &to);
    if (size - 1 >= MF_COPY_BYTES_MAX || !mf_window_fits(&from, src_addr, size) ||
        !mf_window_fits(&to, dst_addr, size) || !(from.place & rule->src_mask) ||
        !(to.place & rule->dst_mask) ||
        mf_overlaps(src_addr + from.shift, dst_addr + to.shift, size)) {
        return copy_one_slowly(space, lanes, src, dst, size, type, deadline_ns);
    }
    struct mf_route route;
    mf_route_find(space, &from, &to, &route);
    if (route.path != MF_PATH_TRANSPORT) {
        if ((from.place | to.place) == MF_PLACE_LH) {
            mf_cpu_copy(space->copier, dst, src, size);
            return SMEM_OK;
        }
        return copy_one_slowly(space, lanes, src, dst, size, type, deadline_ns);
    }
    struct mf_xfer x = {
        .src_seg = from.seg,
        .dst_seg = to.seg,
        .src = src_addr + from.shift,
        .dst = dst_addr + to.shift,
        .size = size,
        .flags = mf_window_flags(&from, &to),
        .status = MF_XFER_PENDING,
    };
    int started = mf_move_start(lanes, &route, &x, 1);
    if (started == SMEM_OK && x.status == SMEM_OK) {
        return SMEM_OK;
    }
    return finish_one(space, lanes, &route, &x, started, type, deadline_ns);
}
