// SPDX-License-Identifier: Apache-2.0
// Copies of 1 MiB with checksums (option copy.checksum), beside memcpy of the same blocks. Runs in
// a world of its own, since a process has checksums for all of its copies or for none.
#include <stdio.h>

#include "cases.h"
#include "measure.h"

#define CHECKSUM_BLOCK (1u << 20)
#define CHECKSUM_LIMIT 0.7

static void report_checksum(const struct world *world, const struct point *point)
{
    struct report report = report_of(world);
    struct figure figure = {
        .unit = "x memcpy", .measured = point->time.ratio.median, .target = CHECKSUM_LIMIT};
    struct out_json json;

    snprintf(figure.name, sizeof(figure.name), "1 MiB with checksums, %s", point->path->name);
    if (!world->cfg->json) {
        printf("\n1 MiB copies with checksums, %s: %.3f GB/s, p50 %.1f us, %llu wrong bytes\n",
               point->path->name, point_gb_per_s(point), point->p50_s * 1e6,
               (unsigned long long)point->wrong);
        report_figure_text(&figure);
        return;
    }
    report_open(&report, &json);
    out_json_text(&json, "case", bench_case_names[CASE_CHECKSUM]);
    report_point_members(&report, &json, point);
    report_close(&report, &json, &figure);
}

int case_checksum(struct world *world, uint64_t *wrong)
{
    static const uint32_t paths[] = {PATH_H2RH, PATH_RH2H};
    struct shape shape;

    if (shape_init(&shape, SHAPE_WALK, CHECKSUM_BLOCK, CHECKSUM_BLOCK, world->bytes)) {
        fprintf(stderr, "%s: the working set is too small for the case %s\n", BENCH_COMMAND,
                bench_case_names[CASE_CHECKSUM]);
        return -1;
    }
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct measure what = measure_default(world, &bench_paths[paths[i]], &shape, 1);
        struct point point;

        if (measure_run(world, &what, &point)) {
            return -1;
        }
        *wrong += point.wrong;
        report_checksum(world, &point);
    }
    return 0;
}
