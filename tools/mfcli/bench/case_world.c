// SPDX-License-Identifier: Apache-2.0
// Copies of 1 MiB in a world of another sort, beside memcpy of the same blocks of this process:
// with checksums (option copy.checksum), and between ranks whose memory is not mapped (option
// peer.map). Each has a world of its own, since an option holds for all copies of a process.
#include <stdio.h>

#include "cases.h"
#include "measure.h"

#define BLOCK (1u << 20)

struct sort {
    uint32_t number; /* of the case */
    const char *title;
    double target; /* x memcpy */
};

static void report_sort(const struct world *world, const struct sort *sort,
                        const struct point *point)
{
    struct report report = report_of(world);
    struct figure figure = {
        .unit = "x memcpy", .measured = point->time.ratio.median, .target = sort->target};
    struct out_json json;

    snprintf(figure.name, sizeof(figure.name), "1 MiB %s, %s", sort->title, point->path->name);
    if (!world->cfg->json) {
        printf("\n1 MiB copies %s, %s: %.3f GB/s, p50 %.1f us, %llu wrong bytes\n", sort->title,
               point->path->name, point_gb_per_s(point), point->p50_s * 1e6,
               (unsigned long long)point->wrong);
        report_figure_text(&figure);
        return;
    }
    report_open(&report, &json);
    out_json_text(&json, "case", bench_case_names[sort->number]);
    report_point_members(&report, &json, point);
    report_close(&report, &json, &figure);
}

static int run_sort(struct world *world, const struct sort *sort, uint64_t *wrong)
{
    static const uint32_t paths[] = {PATH_H2RH, PATH_RH2H};
    struct shape shape;

    if (shape_init(&shape, SHAPE_WALK, BLOCK, BLOCK, world->bytes)) {
        fprintf(stderr, "%s: the working set is too small for the case %s\n", BENCH_COMMAND,
                bench_case_names[sort->number]);
        return -1;
    }
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct measure what = measure_default(world, &bench_paths[paths[i]], &shape, 1);
        struct point point;

        if (measure_run(world, &what, &point)) {
            return -1;
        }
        *wrong += point.wrong;
        report_sort(world, sort, &point);
    }
    return 0;
}

int case_checksum(struct world *world, uint64_t *wrong)
{
    static const struct sort sort = {CASE_CHECKSUM, "with checksums", 0.7};

    return run_sort(world, &sort, wrong);
}

int case_vm(struct world *world, uint64_t *wrong)
{
    static const struct sort sort = {CASE_VM, "without a mapping", 0.7};
    struct place far = world_place(world, PLACE_DRAM, world_partner(world));

    if (world_cpu_address(world, &far)) {
        printf("%s: the case %s is left out: the kernel does not allow process_vm_readv between "
               "these processes (mfcli info says why)\n",
               BENCH_COMMAND, bench_case_names[CASE_VM]);
        return 0;
    }
    return run_sort(world, &sort, wrong);
}
