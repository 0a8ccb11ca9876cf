// SPDX-License-Identifier: Apache-2.0
// Prepared batches: what submitting one again costs beyond a bare loop of the same copies, what
// compiling costs for each element, and how long a strided one takes to submit.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "cases.h"
#include "list.h"
#include "machine.h"
#include "memfabric/mf_xcopy.h"
#include "partner.h"

#define ELEMENTS        100000u
#define AGAIN_LIMIT_NS  5.0
#define MAKE_LIMIT_NS   30.0
#define STRIDED         250000u
#define STRIDED_BLOCK   64u
#define SUBMIT_LIMIT_US 10.0
#define WAIT_MS         60000u
#define NS              1e9
#define US              1e6

/* One prepared batch, and the same copies as a list. */
struct batch {
    struct world *world;
    struct shape shape;
    struct place src, dst;
    struct list list;
    uint64_t *offsets[2];
    uint8_t *local, *remote; /* the CPU's addresses of both places */
    bool indexed;
    mf_prepared_t prepared;
};

static int batch_init(struct batch *batch, struct world *world, enum shape_kind kind,
                      uint32_t count, uint64_t block, uint64_t pitch)
{
    *batch = (struct batch){.world = world,
                            .src = world_place(world, PLACE_HOST, world->rank),
                            .dst = world_place(world, PLACE_DRAM, world_partner(world))};
    batch->local = world_cpu_address(world, &batch->src);
    batch->remote = world_cpu_address(world, &batch->dst);
    if (shape_init(&batch->shape, kind, block, pitch, world->bytes) || !batch->remote) {
        fprintf(stderr, "%s: the working set is too small for the case %s\n", BENCH_COMMAND,
                bench_case_names[CASE_PREPARED]);
        return -1;
    }
    if (batch->shape.slots < count) {
        count = (uint32_t)batch->shape.slots;
    }
    list_init(&batch->list, count);
    list_fill(&batch->list, &batch->shape, 0, count, batch->src.base, batch->dst.base);
    for (int side = 0; side < 2; side++) {
        batch->offsets[side] = cli_alloc(count, sizeof(uint64_t));
    }
    for (uint32_t i = 0; i < count; i++) {
        struct extent element = shape_element(&batch->shape, i);

        batch->offsets[0][i] = element.src;
        batch->offsets[1][i] = element.dst;
    }
    return 0;
}

static void batch_fini(struct batch *batch)
{
    mf_prepared_free(batch->prepared);
    list_fini(&batch->list);
    free(batch->offsets[0]);
    free(batch->offsets[1]);
}

static int prepare(struct batch *batch)
{
    const struct list *list = &batch->list;

    if (batch->indexed) {
        mf_xcopy_indexed_t blocks = {.size = sizeof(blocks),
                                     .count = list->count,
                                     .type = SMEMB_COPY_H2G,
                                     .src = (const void *)(uintptr_t)batch->src.base,
                                     .dst = (void *)(uintptr_t)batch->dst.base,
                                     .src_offsets = batch->offsets[0],
                                     .dst_offsets = batch->offsets[1],
                                     .block_bytes = batch->shape.block};

        return mf_prepare_indexed(batch->world->pool, &blocks, &batch->prepared);
    }
    mf_xcopy_batch_t blocks = {.size = sizeof(blocks),
                               .count = list->count,
                               .type = SMEMB_COPY_H2G,
                               .sources = list->src,
                               .destinations = list->dst,
                               .sizes = list->bytes};

    return mf_prepare_list(batch->world->pool, &blocks, &batch->prepared);
}

/* ---- again ---------------------------------------------------------------------------------- */

static double again_ours(void *arg)
{
    const struct batch *batch = arg;
    double start = machine_now();

    if (mf_prepared_run(batch->prepared, 0, 0, 0)) {
        world_error(batch->world, "copy a prepared batch");
        return -1;
    }
    return machine_now() - start;
}

/* The same copies between the same pages, with the CPU's addresses of them. */
static double again_base(void *arg)
{
    const struct batch *batch = arg;
    const uint64_t *src = batch->offsets[0], *dst = batch->offsets[1];
    const uint64_t *bytes = batch->list.bytes;
    uint32_t count = batch->list.count;
    double start = machine_now();

    for (uint32_t i = 0; i < count; i++) {
        memcpy(batch->remote + dst[i], batch->local + src[i], bytes[i]);
    }
    return machine_now() - start;
}

static int check_bytes(struct batch *batch, int (*copy)(struct batch *), uint64_t *wrong)
{
    struct world *world = batch->world;
    struct expectation want = {
        .pattern = {.run = world->run, .round = ++world->round, .rank = batch->src.rank},
        .shape = batch->shape,
        .count = batch->list.count,
        .bytes = batch->shape.slots * batch->shape.pitch};
    uint64_t found = 0;

    if (partner_fill(world, &batch->src, &want.pattern, want.bytes) ||
        partner_poison(world, &batch->dst, want.bytes) || copy(batch) ||
        partner_check(world, &batch->dst, &want, &found)) {
        return -1;
    }
    *wrong += found;
    return 0;
}

static int copy_once(struct batch *batch)
{
    return again_ours(batch) < 0 ? -1 : 0;
}

static void report_again(const struct batch *batch, const struct stats_pairs *time)
{
    struct report report = report_of(batch->world);
    double scale = NS / batch->list.count;
    const char *form = batch->indexed ? "indexed" : "list";
    struct figure figure = {.unit = "ns an element",
                            .measured = time->extra.median * scale,
                            .target = AGAIN_LIMIT_NS,
                            .at_most = true};
    struct out_json json;

    snprintf(figure.name, sizeof(figure.name), "prepared again, %s of %u x %llu bytes", form,
             batch->list.count, (unsigned long long)batch->shape.block);
    if (!batch->world->cfg->json) {
        printf("\nprepared %s of %u blocks of %llu bytes: %.1f ns a block, a bare loop %.1f\n",
               form, batch->list.count, (unsigned long long)batch->shape.block,
               time->ours.median * scale, time->base.median * scale);
        report_figure_text(&figure);
        return;
    }
    report_open(&report, &json);
    out_json_text(&json, "case", bench_case_names[CASE_PREPARED]);
    out_json_text(&json, "what", "again");
    out_json_text(&json, "form", form);
    out_json_u64(&json, "block", batch->shape.block);
    out_json_u64(&json, "batch", batch->list.count);
    out_json_u64(&json, "pairs", time->pairs);
    out_json_real(&json, "again_ns", time->ours.median * scale, 2);
    out_json_real(&json, "loop_ns", time->base.median * scale, 2);
    out_json_real(&json, "extra_ns_q1", time->extra.q1 * scale, 2);
    out_json_real(&json, "extra_ns_q3", time->extra.q3 * scale, 2);
    report_close(&report, &json, &figure);
}

/* ---- making --------------------------------------------------------------------------------- */

static void report_number(const struct batch *batch, const char *what, const char *form,
                          struct figure *figure, const struct quartiles *of)
{
    struct report report = report_of(batch->world);
    struct out_json json;

    if (!batch->world->cfg->json) {
        printf("\n%s: %.2f %s\n", figure->name, figure->measured, figure->unit);
        report_figure_text(figure);
        return;
    }
    report_open(&report, &json);
    out_json_text(&json, "case", bench_case_names[CASE_PREPARED]);
    out_json_text(&json, "what", what);
    out_json_text(&json, "form", form);
    out_json_u64(&json, "block", batch->shape.block);
    out_json_u64(&json, "batch", batch->list.count);
    out_json_real(&json, "q1", of->q1, 3);
    out_json_real(&json, "q3", of->q3, 3);
    report_close(&report, &json, figure);
}

static int measure_making(struct batch *batch)
{
    double seconds[STATS_PAIRS_MAX];
    uint64_t rounds = batch->world->cfg->pairs;
    const char *form = batch->indexed ? "indexed" : "list";
    struct quartiles of;
    struct figure figure = {.unit = "ns an element", .target = MAKE_LIMIT_NS, .at_most = true};

    for (uint64_t i = 0; i < rounds; i++) {
        mf_prepared_t first = batch->prepared;
        double start = machine_now();

        if (prepare(batch)) {
            batch->prepared = first;
            return world_error(batch->world, "prepare");
        }
        seconds[i] = (machine_now() - start) * NS / batch->list.count;
        mf_prepared_free(first);
    }
    of = stats_quartiles(seconds, rounds);
    figure.measured = of.median;
    snprintf(figure.name, sizeof(figure.name), "preparing, %s of %u x %llu bytes", form,
             batch->list.count, (unsigned long long)batch->shape.block);
    report_number(batch, "prepare", form, &figure, &of);
    return 0;
}

static int measure_batch(struct world *world, bool indexed, uint64_t block, uint64_t *wrong)
{
    struct batch batch;
    struct stats_pairs time;
    int result = batch_init(&batch, world, SHAPE_SCATTER, ELEMENTS, block, 2 * block);

    if (result) {
        return -1;
    }
    batch.indexed = indexed;
    if (prepare(&batch)) {
        result = world_error(world, "prepare");
    }
    if (result == 0) {
        result = check_bytes(&batch, copy_once, wrong);
    }
    if (result == 0) {
        result = stats_compare(again_ours, again_base, &batch, world->cfg->pairs, &time);
    }
    if (result == 0) {
        report_again(&batch, &time);
        result = measure_making(&batch);
    }
    batch_fini(&batch);
    return result;
}

/* ---- strides -------------------------------------------------------------------------------- */

/* @return seconds until submit returned; negative after a report */
static double submit_strides(const struct batch *batch)
{
    mf_request_t request = NULL;
    int32_t status = 0;
    double start = machine_now(), end = 0;
    int rc = mf_prepared_submit(batch->prepared, 0, 0, MF_XCOPY_QUEUED, 0, &request);

    end = machine_now();
    if (rc || mf_request_wait(request, WAIT_MS, &status) || status) {
        world_error(batch->world, "submit strides");
        return -1;
    }
    return mf_request_free(request) ? -1 : end - start;
}

static int copy_strides(struct batch *batch)
{
    return submit_strides(batch) < 0 ? -1 : 0;
}

static int time_strides(struct batch *batch)
{
    double us[STATS_PAIRS_MAX];
    uint64_t rounds = batch->world->cfg->pairs;
    struct quartiles of;
    struct figure figure = {.unit = "us to submit", .target = SUBMIT_LIMIT_US, .at_most = true};

    for (uint64_t i = 0; i < rounds; i++) {
        us[i] = submit_strides(batch) * US;
        if (us[i] < 0) {
            return -1;
        }
    }
    of = stats_quartiles(us, rounds);
    figure.measured = of.median;
    snprintf(figure.name, sizeof(figure.name), "strided, %u x %u bytes, submitted",
             batch->list.count, STRIDED_BLOCK);
    report_number(batch, "submit", "strided", &figure, &of);
    return 0;
}

static int measure_strides(struct world *world, uint64_t *wrong)
{
    struct batch batch;
    int result =
        batch_init(&batch, world, SHAPE_WALK, STRIDED, STRIDED_BLOCK, 2 * (uint64_t)STRIDED_BLOCK);

    if (result) {
        return -1;
    }
    mf_xcopy_strided_t blocks = {.size = sizeof(blocks),
                                 .count = batch.list.count,
                                 .type = SMEMB_COPY_H2G,
                                 .src = (const void *)(uintptr_t)batch.src.base,
                                 .dst = (void *)(uintptr_t)batch.dst.base,
                                 .src_stride = batch.shape.pitch,
                                 .dst_stride = batch.shape.pitch,
                                 .block_bytes = STRIDED_BLOCK};
    if (mf_prepare_strided(world->pool, &blocks, &batch.prepared)) {
        result = world_error(world, "prepare strides");
    }
    if (result == 0) {
        result = check_bytes(&batch, copy_strides, wrong);
    }
    if (result == 0) {
        result = time_strides(&batch);
    }
    batch_fini(&batch);
    return result;
}

int case_prepared(struct world *world, uint64_t *wrong)
{
    static const uint64_t blocks[] = {64, 256};

    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        if (measure_batch(world, false, blocks[i], wrong) ||
            measure_batch(world, true, blocks[i], wrong)) {
            return -1;
        }
    }
    return measure_strides(world, wrong);
}
