// SPDX-License-Identifier: Apache-2.0
// Copying a prepared batch: new bases are checked part by part, then each part goes to its
// transport as it is, or is copied here, or, where neither can, is written out as transfers for the
// ordinary movers, a bounded number at a time.
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "xcopy/move.h"
#include "xcopy/prepared.h"

enum { SRC = MF_PREP_SRC, DST = MF_PREP_DST, SIDES = MF_PREP_SIDES };

/* Transfers that are written out at a time. */
#define EXPAND_MAX 1024u
/* Parts of local copies up to this size are copied by memcpy. */
#define LOCAL_SMALL 2048u

/* ---- bases ---- */

/* Does a part fit between the bases, and where? False: compile again, or find out what is wrong;
 * the windows are those of now all the same. */
static bool bind_part(const struct mf_prep_run *run, const struct mf_xcopy_space *space,
                      uint32_t number, struct mf_prep_bound *out)
{
    const struct mf_prep_program *program = run->program;
    const struct mf_prep_part *part = &program->parts[number];
    const struct mf_type_rule *rule = &mf_type_rules[run->prep->type];
    uint64_t lo[SIDES];
    uint64_t len[SIDES];
    for (int side = 0; side < SIDES; side++) {
        lo[side] = run->base[side] + part->lo[side];
        len[side] = part->hi[side] - part->lo[side];
        mf_window_find(space, lo[side], &out->window[side]);
    }
    for (int side = 0; side < SIDES; side++) {
        const struct mf_window *window = &out->window[side];
        bool global = window->place & (MF_PLACE_GH | MF_PLACE_GD);
        if (!mf_window_fits(window, lo[side], len[side]) || (global && !window->seg)) {
            return false;
        }
        /* Device memory may lie between two blocks in host memory: only where they have been looked
         * at one by one is known that it does not hold one of them. */
        if (space->dev && window->place == MF_PLACE_LH && run->base[side] != program->base[side]) {
            return false;
        }
    }
    /* The blocks of a part were looked at one by one when its sides overlap: that holds as long as
     * they lie as far apart as then. */
    uint64_t apart = lo[SRC] + out->window[SRC].shift - lo[DST] - out->window[DST].shift;
    uint64_t shift =
        run->base[SRC] + out->window[SRC].shift - run->base[DST] - out->window[DST].shift;
    bool overlap = apart < len[DST] || 0 - apart < len[SRC];
    if ((overlap && shift != part->apart) || !(out->window[SRC].place & rule->src_mask) ||
        !(out->window[DST].place & rule->dst_mask)) {
        return false;
    }
    mf_route_find(space, &out->window[SRC], &out->window[DST], &out->route);
    return true;
}

/* Bind all parts; that of the first one stays in the run. *again: compile for these bases. */
static int bind_all(struct mf_prep_run *run, const struct mf_xcopy_space *space, bool *again)
{
    *again = mf_prep_wraps(run->prep, SRC, run->base[SRC]) ||
             mf_prep_wraps(run->prep, DST, run->base[DST]);
    for (uint32_t i = 0; i < run->program->part_count && !*again; i++) {
        struct mf_prep_bound other;
        struct mf_prep_bound *bound = i == 0 ? &run->bound : &other;
        if (!bind_part(run, space, i, bound)) {
            *again = true;
            break;
        }
        int rc = mf_prep_check_window(run->prep, space, &bound->window[SRC]);
        rc = rc ? rc : mf_prep_check_window(run->prep, space, &bound->window[DST]);
        if (rc) {
            return rc;
        }
    }
    run->is_bound = !*again;
    return SMEM_OK;
}

/* The program of the batch, with a reference. */
static struct mf_prep_program *take_program(struct mf_prep *prep)
{
    mf_mutex_lock(&prep->lock);
    struct mf_prep_program *program = prep->program;
    atomic_fetch_add_explicit(&program->refs, 1, memory_order_relaxed);
    mf_mutex_unlock(&prep->lock);
    return program;
}

/* Compile for the run's bases, and keep that for later runs. */
static int compile_again(struct mf_prep_run *run, const struct mf_xcopy_space *space,
                         uint64_t deadline_ns)
{
    struct mf_prep_program *program;
    struct mf_prep *prep = run->prep;
    int rc = mf_prep_compile(prep, space, run->base, deadline_ns, &program);
    if (rc) {
        return rc;
    }
    mf_prep_program_put(run->program);
    run->program = program;
    atomic_fetch_add_explicit(&program->refs, 1, memory_order_relaxed);
    mf_mutex_lock(&prep->lock);
    struct mf_prep_program *old = prep->program;
    prep->program = program;
    mf_mutex_unlock(&prep->lock);
    mf_prep_program_put(old);
    return SMEM_OK;
}

int mf_prep_run_start(struct mf_prep_run *run, const struct mf_xcopy_space *space,
                      struct mf_prep *prep, const uint64_t base[SIDES], uint64_t deadline_ns)
{
    bool again;
    run->prep = prep;
    run->program = take_program(prep);
    run->base[SRC] = base[SRC];
    run->base[DST] = base[DST];
    run->part = 0;
    run->done = 0;
    run->begun = 0;
    run->at = 0;
    run->rc = SMEM_OK;
    int rc = bind_all(run, space, &again);
    if (rc == SMEM_OK && again) {
        rc = compile_again(run, space, deadline_ns);
    }
    if (rc) {
        mf_prep_program_put(run->program);
        run->program = NULL;
        return rc;
    }
    mf_prep_get(prep);
    return SMEM_OK;
}

void mf_prep_run_end(struct mf_prep_run *run)
{
    mf_prep_program_put(run->program);
    mf_prep_put(run->prep);
    run->program = NULL;
    run->prep = NULL;
}

/* ---- movers ---- */

static uint64_t many_size(const struct mf_xfer_many *m, uint32_t i)
{
    return m->sizes ? m->sizes[i] : m->size;
}

static uint64_t many_src(const struct mf_xfer_many *m, uint32_t i)
{
    return m->src + (m->src_offsets ? m->src_offsets[i] : i * m->src_stride);
}

static uint64_t many_dst(const struct mf_xfer_many *m, uint32_t i)
{
    return m->dst + (m->dst_offsets ? m->dst_offsets[i] : i * m->dst_stride);
}

static void copy_local(const struct mf_xcopy_space *space, struct mf_xfer_many *m)
{
    bool bulk = m->count > 1 && m->bytes >= MF_COPY_SMALL;
    for (uint32_t i = 0; i < m->count; i++) {
        void *dst = (void *)(uintptr_t)many_dst(m, i);
        const void *src = (const void *)(uintptr_t)many_src(m, i);
        uint64_t size = many_size(m, i);
        if (size > 8 && size <= LOCAL_SMALL) {
            memcpy(dst, src, size);
        } else {
            (bulk ? mf_cpu_copy_bulk : mf_cpu_copy)(space->copier, dst, src, size);
        }
    }
    m->begun = m->count;
    m->done = m->count;
}

static int move_transfers(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                          const struct mf_route *route, struct mf_xfer *v, uint32_t count,
                          uint64_t deadline_ns)
{
    switch (route->path) {
    case MF_PATH_TRANSPORT:
        return mf_move_posted(space, lanes, route, v, count, deadline_ns);
    case MF_PATH_LOCAL:
        return mf_move_local(space, lanes, v, count, deadline_ns);
    default:
        return mf_move_staged(space, lanes, v, count, deadline_ns);
    }
}

/* Write the blocks out as transfers. What fails among them ends the run: those before the first
 * failure have arrived, of those behind it in the same piece nothing is known. */
static int move_expanded(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                         const struct mf_route *route, struct mf_xfer_many *m, uint64_t deadline_ns)
{
    int rc = SMEM_OK;
    if (!lanes->plan) {
        lanes->plan = mf_plan_create();
    }
    if (!lanes->plan || mf_plan_reserve(lanes->plan, EXPAND_MAX)) {
        return SMEM_MALLOC_FAILED;
    }
    struct mf_xfer *v = lanes->plan->v;
    while (m->done < m->count && rc == SMEM_OK) {
        uint32_t n = m->count - m->done < EXPAND_MAX ? m->count - m->done : EXPAND_MAX;
        for (uint32_t i = 0; i < n; i++) {
            v[i] = (struct mf_xfer){
                .src_seg = m->src_seg,
                .dst_seg = m->dst_seg,
                .src = many_src(m, m->done + i),
                .dst = many_dst(m, m->done + i),
                .size = many_size(m, m->done + i),
                .flags = m->flags,
                .status = MF_XFER_PENDING,
            };
        }
        m->begun = m->done + n;
        rc = move_transfers(space, lanes, route, v, n, deadline_ns);
        uint32_t i = 0;
        while (i < n && v[i].status == SMEM_OK) {
            i++;
        }
        m->done += i;
    }
    return rc;
}

static int move_many(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                     const struct mf_prep_bound *bound, struct mf_xfer_many *m,
                     uint64_t deadline_ns)
{
    const struct mf_route *route = &bound->route;
    bool host = (bound->window[SRC].place | bound->window[DST].place) == MF_PLACE_LH;
    m->done = 0;
    m->begun = 0;
    if (host && !space->checked) {
        copy_local(space, m);
        return SMEM_OK;
    }
    if (route->path == MF_PATH_TRANSPORT && !space->checked) {
        void *lane;
        int rc = mf_lanes_get(lanes, route->ops, route->tp, &lane);
        rc = rc ? rc : route->ops->post_many(lane, m);
        if (rc != SMEM_NOT_EXIST) {
            return rc;
        }
    }
    return move_expanded(space, lanes, route, m, deadline_ns);
}

/* ---- steps ---- */

static uint64_t block_size(const struct mf_prep_program *program, uint32_t i)
{
    return program->sizes ? program->sizes[i] : program->size;
}

static uint64_t block_offset(const struct mf_prep_program *program, int side, uint32_t i)
{
    return program->offsets[side] ? program->offsets[side][i] : i * program->stride[side];
}

/* How many blocks from run->done on make a step, and their bytes. */
static uint32_t step_length(const struct mf_prep_run *run, uint64_t *bytes)
{
    const struct mf_prep_program *program = run->program;
    const struct mf_prep_part *part = &program->parts[run->part];
    uint32_t left = part->first + part->count - run->done;
    if (left == part->count && part->bytes <= MF_PREP_STEP_BYTES) {
        *bytes = part->bytes;
        return left;
    }
    if (!program->sizes) {
        uint64_t most = MF_PREP_STEP_BYTES / program->size;
        uint32_t n = most < 1 ? 1 : most < left ? (uint32_t)most : left;
        *bytes = n * program->size;
        return n;
    }
    uint32_t n = 0;
    uint64_t sum = 0;
    do {
        sum += program->sizes[run->done + n++];
    } while (n < left && sum + program->sizes[run->done + n] <= MF_PREP_STEP_BYTES);
    *bytes = sum;
    return n;
}

/* The base of the current part as transfers have it: a global address of pool memory. */
static uint64_t real_base(const struct mf_prep_run *run, int side)
{
    return run->base[side] + run->bound.window[side].shift;
}

static void fill_many(const struct mf_prep_run *run, struct mf_xfer_many *m)
{
    const struct mf_prep_program *program = run->program;
    uint32_t at = run->done;
    *m = (struct mf_xfer_many){
        .src_seg = run->bound.window[SRC].seg,
        .dst_seg = run->bound.window[DST].seg,
        .src = real_base(run, SRC) + (program->offsets[SRC] ? 0 : at * program->stride[SRC]),
        .dst = real_base(run, DST) + (program->offsets[DST] ? 0 : at * program->stride[DST]),
        .src_offsets = program->offsets[SRC] ? program->offsets[SRC] + at : NULL,
        .dst_offsets = program->offsets[DST] ? program->offsets[DST] + at : NULL,
        .src_stride = program->stride[SRC],
        .dst_stride = program->stride[DST],
        .sizes = program->sizes ? program->sizes + at : NULL,
        .size = program->size,
        .flags = mf_window_flags(&run->bound.window[SRC], &run->bound.window[DST]),
    };
    m->count = step_length(run, &m->bytes);
}

/* A block that is larger than a step, as one block: the next piece of it. */
static void cut_block(const struct mf_prep_run *run, struct mf_xfer_many *m)
{
    uint64_t left = m->bytes - run->at;
    m->src = real_base(run, SRC) + block_offset(run->program, SRC, run->done) + run->at;
    m->dst = real_base(run, DST) + block_offset(run->program, DST, run->done) + run->at;
    m->src_offsets = NULL;
    m->dst_offsets = NULL;
    m->sizes = NULL;
    m->size = left < MF_PREP_STEP_BYTES ? left : MF_PREP_STEP_BYTES;
    m->bytes = m->size;
}

/* The first element of a block; parts are counted through. */
static uint32_t first_of(const struct mf_prep_program *program, uint32_t block)
{
    return program->first ? program->first[block] : block;
}

static uint32_t elements_of(const struct mf_prep_program *program, uint32_t block)
{
    return program->elements ? program->elements[block] : 1;
}

/* The sentence of a failure, with the element in front. */
static int report(const struct mf_prep_run *run, const struct mf_xcopy_space *space, int rc)
{
    struct mf_element element = {
        .src = run->base[SRC] + block_offset(run->program, SRC, run->done),
        .dst = run->base[DST] + block_offset(run->program, DST, run->done),
        .size = block_size(run->program, run->done),
        .type = run->prep->type,
        .index = first_of(run->program, run->done),
    };
    return mf_element_err_in(space, &element, rc);
}

/* Find the current part again after the call was left. */
static int bind_again(struct mf_prep_run *run, const struct mf_xcopy_space *space)
{
    if (run->is_bound) {
        return SMEM_OK;
    }
    bool fits = bind_part(run, space, run->part, &run->bound);
    int rc = mf_prep_check_window(run->prep, space, &run->bound.window[SRC]);
    rc = rc ? rc : mf_prep_check_window(run->prep, space, &run->bound.window[DST]);
    if (rc == SMEM_OK && !fits) {
        rc = mf_err(SMEM_NOT_CONNECTED,
                    "memory of the prepared batch of %" PRIu32
                    " elements has gone since it was submitted",
                    run->prep->count);
    }
    run->is_bound = rc == SMEM_OK;
    return rc;
}

int mf_prep_run_step(struct mf_prep_run *run, const struct mf_xcopy_space *space,
                     struct mf_lanes *lanes, uint64_t deadline_ns)
{
    struct mf_xfer_many m;
    const struct mf_prep_program *program = run->program;
    int rc = bind_again(run, space);
    if (rc == SMEM_OK) {
        fill_many(run, &m);
        bool cut = m.count == 1 && m.bytes > MF_PREP_STEP_BYTES;
        if (cut) {
            cut_block(run, &m);
        }
        rc = move_many(space, lanes, &run->bound, &m, deadline_ns);
        if (cut) {
            run->at += m.done ? m.size : 0;
            run->begun = run->done + (run->at > 0 || m.begun > 0);
            m.done = run->at == block_size(program, run->done);
        } else {
            run->begun = run->done + m.begun;
        }
        run->done += m.done;
        run->at = m.done ? 0 : run->at;
    }
    if (rc) {
        run->rc = report(run, space, rc);
        return run->rc;
    }
    const struct mf_prep_part *part = &program->parts[run->part];
    if (run->done == part->first + part->count) {
        run->part++;
        run->is_bound = false;
    }
    return SMEM_OK;
}

/* ---- results ---- */

static void put(const struct mf_prep_program *program, uint32_t block, int rc, int32_t *codes)
{
    uint32_t first = first_of(program, block);
    for (uint32_t i = first; i < first + elements_of(program, block); i++) {
        codes[i] = rc;
    }
}

/* An element in several blocks has moved in part when one of them has and another has not. */
static void put_unbegun(const struct mf_prep_program *program, uint32_t block, int32_t *codes)
{
    uint32_t first = first_of(program, block);
    for (uint32_t i = first; i < first + elements_of(program, block); i++) {
        codes[i] = codes[i] == SMEM_OK ? SMEM_PARTIAL_FAILED : codes[i];
    }
}

void mf_prep_run_results(const struct mf_prep_run *run, int32_t *codes)
{
    const struct mf_prep_program *program = run->program;
    int failure = run->rc ? run->rc : SMEM_PARTIAL_FAILED;
    for (uint32_t i = 0; i < run->prep->count; i++) {
        codes[i] = SMEM_NOT_STARTED;
    }
    for (uint32_t i = 0; i < run->done; i++) {
        put(program, i, SMEM_OK, codes);
    }
    for (uint32_t i = run->done; i < program->block_count; i++) {
        if (i < run->begun) {
            put(program, i, failure, codes);
        } else {
            put_unbegun(program, i, codes);
        }
    }
}
