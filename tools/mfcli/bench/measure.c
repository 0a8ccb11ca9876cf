// SPDX-License-Identifier: Apache-2.0
// The measurement of one path. Ours and the baseline walk the same working set, half of it apart,
// so that neither finds in a cache what the other has left there.
#include "measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "alloc.h"
#include "fault.h"
#include "machine.h"
#include "partner.h"

#define ROUND_ELEMENTS_MAX (1u << 20)
#define CHECK_ELEMENTS     (1u << 16) /* laid out at a time */
#define CHECK_ELEMENTS_MAX (1u << 20)
#define GUARD_BYTES        4096u
#define TOUCH_BLOCK        (1u << 20)
#define CALLS_MIN          16u
#define CALLS_MAX          20000u
#define SYNC_MS            60000u

struct run {
    struct world *world;
    const struct measure *what;
    struct place src, dst;
    struct list list;
    uint64_t ours_at, base_at; /* next elements */
    uint32_t base_elements;
    uint64_t base_src, base_dst; /* addresses for memcpy; 0: device memory */
    double base_s;               /* result of a baseline on the device */
};

struct measure measure_default(const struct world *world, const struct bench_path *path,
                               const struct shape *shape, uint32_t batch)
{
    return (struct measure){.path = path,
                            .shape = *shape,
                            .batch = batch,
                            .count = world->cfg->count,
                            .pairs = world->cfg->pairs,
                            .base_shape = *shape};
}

static struct place source_of(const struct world *world, const struct bench_path *path)
{
    return world_place(world, path->src, path->src_remote ? world_partner(world) : world->rank);
}

static struct place target_of(const struct world *world, const struct bench_path *path)
{
    return world_place(world, path->dst, path->dst_remote ? world_partner(world) : world->rank);
}

/* ---- checking ------------------------------------------------------------------------------- */

static uint64_t check_bytes(const struct world *world, const struct shape *shape)
{
    uint64_t bytes = world->cfg->verify_bytes;

    if (bytes == 0 || bytes > world->bytes) {
        bytes = world->bytes;
    }
    if (bytes / shape->pitch > CHECK_ELEMENTS_MAX) {
        bytes = CHECK_ELEMENTS_MAX * shape->pitch;
    }
    if (bytes < 2 * shape->pitch) {
        bytes = 2 * shape->pitch < world->bytes ? 2 * shape->pitch : world->bytes;
    }
    return bytes;
}

static int copy_for_check(struct world *world, const struct measure *what,
                          const struct shape *shape, const struct place *src,
                          const struct place *dst)
{
    const struct list_call call = {.type = what->path->type, .batch = what->batch};
    uint64_t chunk = CHECK_ELEMENTS / what->batch * what->batch;
    struct fault fault = {.kind = (enum bench_fault)world->cfg->fault, .element = shape->slots / 2};
    struct list list;
    int result = 0;

    chunk = chunk ? chunk : what->batch;
    list_init(&list, (uint32_t)chunk);
    for (uint64_t first = 0; result == 0 && first < shape->slots; first += chunk) {
        uint64_t left = shape->slots - first;

        list_fill(&list, shape, first, (uint32_t)(left < chunk ? left : chunk), src->base,
                  dst->base);
        fault_before(&fault, &list, first);
        result = list_copy(world, &list, &call, NULL) < 0 ? -1 : 0;
    }
    list_fini(&list);
    return result == 0 ? fault_after(&fault, world, shape, dst) : result;
}

int measure_verify(struct world *world, const struct measure *what, struct point *out)
{
    struct place src = source_of(world, what->path), dst = target_of(world, what->path);
    struct expectation want = {.pattern = {.run = world->run, .round = ++world->round}};
    uint64_t bytes = check_bytes(world, &what->shape);

    want.pattern.rank = src.rank;
    if (shape_shrink(&what->shape, bytes, &want.shape)) {
        fprintf(stderr, "%s: a working set of %llu bytes is too small for this case\n",
                BENCH_COMMAND, (unsigned long long)bytes);
        return -1;
    }
    want.count = want.shape.slots;
    want.bytes = bytes + GUARD_BYTES < world->bytes ? bytes + GUARD_BYTES : world->bytes;
    out->verified = want.bytes;
    if (partner_fill(world, &src, &want.pattern, bytes) ||
        partner_poison(world, &dst, want.bytes) ||
        copy_for_check(world, what, &want.shape, &src, &dst)) {
        return -1;
    }
    return partner_check(world, &dst, &want, &out->wrong);
}

/* ---- the two that are compared -------------------------------------------------------------- */

static double run_ours(void *arg)
{
    struct run *run = arg;
    const struct list_call call = {.type = run->what->path->type, .batch = run->what->batch};
    uint32_t count = run->list.room;

    list_fill(&run->list, &run->what->shape, run->ours_at, count, run->src.base, run->dst.base);
    run->ours_at += count;
    return list_copy(run->world, &run->list, &call, NULL);
}

static double run_base_ours(void *arg)
{
    struct run *run = arg;
    const struct list_call call = {.type = run->what->path->type, .batch = 1};

    list_fill(&run->list, &run->what->base_shape, run->base_at, run->base_elements, run->src.base,
              run->dst.base);
    run->base_at += run->base_elements;
    return list_copy(run->world, &run->list, &call, NULL);
}

static double run_memcpy(void *arg)
{
    struct run *run = arg;

    list_fill(&run->list, &run->what->base_shape, run->base_at, run->base_elements, run->base_src,
              run->base_dst);
    run->base_at += run->base_elements;
    return list_memcpy(&run->list);
}

/* The device's view of one end, or the CPU's where it is host memory; 0: none. */
static uint64_t view_of(const mf_device_view_t *view, const struct run *run,
                        const struct place *place, uint64_t cpu)
{
    return cpu ? cpu : (uint64_t)(uintptr_t)view->at(view, place->base, run->world->bytes);
}

/* On an engine thread of the device: memcpy over the memory behind the device's addresses. */
static void memcpy_on_device(void *arg, const mf_device_view_t *view)
{
    struct run *run = arg;
    uint64_t src = view_of(view, run, &run->src, run->base_src);
    uint64_t dst = view_of(view, run, &run->dst, run->base_dst);

    run->base_s = -1;
    if (src && dst) {
        list_fill(&run->list, &run->what->base_shape, run->base_at, run->base_elements, src, dst);
        run->base_at += run->base_elements;
        run->base_s = list_memcpy(&run->list);
    }
}

static double run_memcpy_on_device(void *arg)
{
    struct run *run = arg;

    if (mf_device_launch(run->world->stream, memcpy_on_device, run) ||
        mf_device_stream_synchronize(run->world->stream, SYNC_MS)) {
        return -1;
    }
    return run->base_s;
}

/* Where memcpy reaches the place; this rank's own where a peer's is not mapped. */
static uint64_t base_address(const struct world *world, const struct place *place)
{
    struct place own = world_place(world, place->kind, world->rank);
    const uint8_t *there = world_cpu_address(world, place);

    if (!there && place->kind == PLACE_DRAM) {
        there = world_cpu_address(world, &own);
    }
    return (uint64_t)(uintptr_t)there;
}

static stats_run_fn choose_baseline(struct run *run, const char **name)
{
    run->base_src = base_address(run->world, &run->src);
    run->base_dst = base_address(run->world, &run->dst);
    if (run->what->base_is_ours) {
        *name = "single copies";
        return run_base_ours;
    }
    if (run->base_src && run->base_dst) {
        *name = "memcpy";
        return run_memcpy;
    }
    if (run->world->stream && bench_path_needs_device(run->what->path) &&
        run_memcpy_on_device(run) >= 0) {
        *name = "memcpy on the device's engine";
        return run_memcpy_on_device;
    }
    *name = NULL;
    return NULL;
}

/* ---- the measurement ------------------------------------------------------------------------ */

/* Every page of the working set through the path once, so that no timed copy meets a page fault. */
static int touch_all(struct world *world, const struct bench_path *path)
{
    const struct list_call call = {.type = path->type, .batch = 1};
    struct place src = source_of(world, path), dst = target_of(world, path);
    uint32_t bit = 1u << (path - bench_paths);
    struct shape shape;
    struct list list;
    double seconds = 0;

    if (world->touched & bit) {
        return 0;
    }
    world->touched |= bit;
    shape_init(&shape, SHAPE_WALK, TOUCH_BLOCK, TOUCH_BLOCK, world->bytes);
    list_init(&list, (uint32_t)shape.slots);
    list_fill(&list, &shape, 0, list.room, src.base, dst.base);
    seconds = list_copy(world, &list, &call, NULL);
    list_fini(&list);
    return seconds < 0 ? -1 : 0;
}

/* Calls that take about cfg->round_ms. */
static int calibrate(struct run *run, uint64_t *calls)
{
    const struct measure *what = run->what;
    double wanted = (double)run->world->cfg->round_ms / 1000;
    uint64_t most = ROUND_ELEMENTS_MAX / what->batch;

    for (*calls = what->count ? what->count : 1; what->count == 0; *calls *= 4) {
        double seconds = 0;

        list_init(&run->list, (uint32_t)(*calls * what->batch));
        seconds = run_ours(run);
        list_fini(&run->list);
        if (seconds < 0) {
            return -1;
        }
        if (seconds > wanted / 8 || *calls > most / 4) {
            *calls = (uint64_t)((double)*calls * wanted / seconds);
            break;
        }
    }
    *calls = *calls < 1 ? 1 : *calls;
    *calls = *calls > most && most > 0 ? most : *calls;
    return 0;
}

/* Elements of the baseline that move as many bytes as a round of ours. */
static uint32_t base_elements_for(const struct run *run)
{
    const struct measure *what = run->what;

    if (!what->base_is_ours) {
        return run->list.room;
    }
    return (uint32_t)((run->list.total + what->base_shape.block / 2) / what->base_shape.block);
}

static int time_calls(struct run *run, uint64_t calls, struct point *out)
{
    const struct measure *what = run->what;
    const struct list_call call = {.type = what->path->type, .batch = what->batch};
    uint64_t rounds = calls < CALLS_MIN ? (CALLS_MIN + calls - 1) / calls : 1;
    double *stamps = NULL;
    int result = 0;

    calls = calls > CALLS_MAX ? CALLS_MAX : calls;
    stamps = cli_alloc(calls * rounds, sizeof(*stamps));
    for (uint64_t i = 0; result == 0 && i < rounds; i++) {
        uint32_t count = (uint32_t)(calls * what->batch);

        list_fill(&run->list, &what->shape, run->ours_at, count, run->src.base, run->dst.base);
        run->ours_at += count;
        result = list_copy(run->world, &run->list, &call, stamps + i * calls) < 0 ? -1 : 0;
    }
    out->p50_s = stats_percentile(stamps, calls * rounds, 0.5);
    out->p99_s = stats_percentile(stamps, calls * rounds, 0.99);
    free(stamps);
    return result;
}

/* The bytes of a round, which are what base elements are counted by. */
static void size_round(struct run *run)
{
    list_fill(&run->list, &run->what->shape, 0, run->list.room, 0, 0);
    run->base_elements = base_elements_for(run);
}

static int time_all(struct run *run, struct point *out)
{
    const struct measure *what = run->what;
    uint64_t calls = 0;
    stats_run_fn base = NULL;
    int result = calibrate(run, &calls);

    if (result) {
        return result;
    }
    list_init(&run->list, (uint32_t)(calls * what->batch));
    size_round(run);
    out->round_bytes = run->list.total;
    out->base_bytes =
        what->base_is_ours ? run->base_elements * what->base_shape.block : run->list.total;
    out->count = calls;
    run->ours_at = 0;
    run->base_at = what->base_shape.slots / 2;
    base = choose_baseline(run, &out->baseline);
    result = stats_compare(run_ours, base, run, what->pairs, &out->time);
    if (result == 0) {
        result = time_calls(run, calls, out);
    }
    list_fini(&run->list);
    return result;
}

int measure_run(struct world *world, const struct measure *what, struct point *out)
{
    struct run run = {.world = world,
                      .what = what,
                      .src = source_of(world, what->path),
                      .dst = target_of(world, what->path)};

    *out = (struct point){.path = what->path, .block = what->shape.block, .batch = what->batch};
    if (touch_all(world, what->path) || measure_verify(world, what, out)) {
        return -1;
    }
    return time_all(&run, out);
}
