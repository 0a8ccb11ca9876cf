// SPDX-License-Identifier: Apache-2.0
// Cases about the shape of a batch: 122 scattered blocks as a KV-cache moves them, many small
// blocks, and what planning costs for each of very many tiny ones.
#include <stdio.h>

#include "cases.h"
#include "partner.h"

#define SMALL_BLOCK   1024u
#define SMALL_PITCH   4096u
#define SMALL_LIST    256u
#define PLAN_BLOCK    16u
#define PLAN_ELEMENTS 100000u
#define PLAN_LIMIT_NS 25.0
#define SINGLE_BLOCK  (1u << 20)
#define RATIO_122     0.97
#define NS            1e9

static const uint32_t host_paths[] = {PATH_H2RH, PATH_RH2H};

#define HOST_PATHS (sizeof(host_paths) / sizeof(host_paths[0]))

static int too_small(const char *name)
{
    fprintf(stderr, "%s: the working set is too small for the case %s\n", BENCH_COMMAND, name);
    return -1;
}

/* ---- 122 ------------------------------------------------------------------------------------ */

static void report_122(const struct world *world, const struct point *against_memcpy,
                       const struct point *against_single)
{
    struct report report = report_of(world);
    double ratio = point_ratio(against_single, against_single->time.ratio.median);
    struct figure figure = {
        .unit = "x the rate of 1 MiB copies", .measured = ratio, .target = RATIO_122};
    struct out_json json;

    snprintf(figure.name, sizeof(figure.name), "122 scattered blocks, %s",
             against_memcpy->path->name);
    if (!world->cfg->json) {
        printf("\n122 scattered blocks (61 x 128 KiB + 61 x 16 KiB), %s: %.3f GB/s, %.3f x memcpy "
               "of the same blocks, %llu wrong bytes\n",
               against_memcpy->path->name, point_gb_per_s(against_memcpy),
               against_memcpy->time.ratio.median, (unsigned long long)against_memcpy->wrong);
        report_figure_text(&figure);
        return;
    }
    report_open(&report, &json);
    out_json_text(&json, "case", bench_case_names[CASE_122]);
    report_point_members(&report, &json, against_memcpy);
    out_json_real(&json, "ratio_1m", ratio, 3);
    out_json_real(&json, "ratio_1m_q1", point_ratio(against_single, against_single->time.ratio.q1),
                  3);
    out_json_real(&json, "ratio_1m_q3", point_ratio(against_single, against_single->time.ratio.q3),
                  3);
    report_close(&report, &json, &figure);
}

int case_122(struct world *world, uint64_t *wrong)
{
    struct shape shape, single;

    if (shape_init(&shape, SHAPE_122, 0, 0, world->bytes) ||
        shape_init(&single, SHAPE_WALK, SINGLE_BLOCK, SINGLE_BLOCK, world->bytes)) {
        return too_small(bench_case_names[CASE_122]);
    }
    for (size_t i = 0; i < HOST_PATHS; i++) {
        const struct bench_path *path = &bench_paths[host_paths[i]];
        struct measure what = measure_default(world, path, &shape, SHAPE_122_LIST);
        struct point against_memcpy, against_single;

        if (measure_run(world, &what, &against_memcpy)) {
            return -1;
        }
        what.base_shape = single;
        what.base_is_ours = true;
        if (measure_run(world, &what, &against_single)) {
            return -1;
        }
        *wrong += against_memcpy.wrong + against_single.wrong;
        report_122(world, &against_memcpy, &against_single);
    }
    return 0;
}

/* ---- small ---------------------------------------------------------------------------------- */

static void report_small(const struct world *world, const struct point *point)
{
    struct report report = report_of(world);
    struct figure figure = {
        .unit = "x a loop of memcpy", .measured = point->time.ratio.median, .target = 1.0};
    struct out_json json;

    snprintf(figure.name, sizeof(figure.name), "256 x 1 KiB scattered, %s", point->path->name);
    if (!world->cfg->json) {
        printf("\n256 x 1 KiB scattered, %s: %.3f GB/s, %.1f us a batch, %llu wrong bytes\n",
               point->path->name, point_gb_per_s(point), point->p50_s * 1e6,
               (unsigned long long)point->wrong);
        report_figure_text(&figure);
        return;
    }
    report_open(&report, &json);
    out_json_text(&json, "case", bench_case_names[CASE_SMALL]);
    report_point_members(&report, &json, point);
    report_close(&report, &json, &figure);
}

int case_small(struct world *world, uint64_t *wrong)
{
    struct shape shape;

    if (shape_init(&shape, SHAPE_SCATTER, SMALL_BLOCK, SMALL_PITCH, world->bytes)) {
        return too_small(bench_case_names[CASE_SMALL]);
    }
    for (size_t i = 0; i < HOST_PATHS; i++) {
        struct measure what =
            measure_default(world, &bench_paths[host_paths[i]], &shape, SMALL_LIST);
        struct point point;

        if (measure_run(world, &what, &point)) {
            return -1;
        }
        *wrong += point.wrong;
        report_small(world, &point);
    }
    return 0;
}

/* ---- plan ----------------------------------------------------------------------------------- */

struct spread {
    const char *name;
    enum shape_kind kind;
    uint64_t pitch;
};

static void report_plan(const struct world *world, const struct spread *spread, uint32_t elements,
                        const struct point *point)
{
    struct report report = report_of(world);
    double scale = NS / elements / (double)point->count;
    struct figure figure = {.unit = "ns an element",
                            .measured = point->time.extra.median * scale,
                            .target = PLAN_LIMIT_NS,
                            .at_most = true};
    struct out_json json;

    snprintf(figure.name, sizeof(figure.name), "planning %u elements, %s", elements, spread->name);
    if (!world->cfg->json) {
        printf("\nbatch of %u elements of %u bytes, %s: %.1f ns an element, a plain loop %.1f\n",
               elements, PLAN_BLOCK, spread->name, point->time.ours.median * scale,
               point->time.base.median * scale);
        report_figure_text(&figure);
        return;
    }
    report_open(&report, &json);
    out_json_text(&json, "case", bench_case_names[CASE_PLAN]);
    out_json_text(&json, "spread", spread->name);
    report_point_members(&report, &json, point);
    out_json_real(&json, "batch_ns", point->time.ours.median * scale, 2);
    out_json_real(&json, "loop_ns", point->time.base.median * scale, 2);
    out_json_real(&json, "plan_ns_q1", point->time.extra.q1 * scale, 2);
    out_json_real(&json, "plan_ns_q3", point->time.extra.q3 * scale, 2);
    report_close(&report, &json, &figure);
}

int case_plan(struct world *world, uint64_t *wrong)
{
    static const struct spread spreads[] = {
        {"side by side", SHAPE_WALK, PLAN_BLOCK},
        {"64 bytes apart", SHAPE_WALK, 64},
        {"4 KiB apart", SHAPE_WALK, 4096},
        {"scattered", SHAPE_SCATTER, 4096},
    };

    for (size_t i = 0; i < sizeof(spreads) / sizeof(spreads[0]); i++) {
        const struct spread *spread = &spreads[i];
        struct measure what;
        struct shape shape;
        struct point point;
        uint32_t elements = PLAN_ELEMENTS;

        if (shape_init(&shape, spread->kind, PLAN_BLOCK, spread->pitch, world->bytes)) {
            return too_small(bench_case_names[CASE_PLAN]);
        }
        elements = shape.slots < elements ? (uint32_t)shape.slots : elements;
        what = measure_default(world, &bench_paths[PATH_H2RH], &shape, elements);
        if (measure_run(world, &what, &point)) {
            return -1;
        }
        *wrong += point.wrong;
        report_plan(world, spread, elements, &point);
    }
    return 0;
}
