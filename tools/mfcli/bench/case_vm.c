// SPDX-License-Identifier: Apache-2.0
// Copies of 1 MiB between ordinary memory and a rank whose memory is not mapped (option peer.map),
// beside memcpy of the same blocks of this process. Runs in a world of its own, since a process
// maps all of its peers or none.
#include <stdio.h>

#include "cases.h"
#include "measure.h"

#define VM_BLOCK (1u << 20)
#define VM_LIMIT 0.7

static void report_vm(const struct world *world, const struct point *point)
{
    struct report report = report_of(world);
    struct figure figure = {
        .unit = "x memcpy", .measured = point->time.ratio.median, .target = VM_LIMIT};
    struct out_json json;

    snprintf(figure.name, sizeof(figure.name), "1 MiB without a mapping, %s", point->path->name);
    if (!world->cfg->json) {
        printf("\n1 MiB copies by process_vm_readv, %s: %.3f GB/s, p50 %.1f us, %llu wrong bytes\n",
               point->path->name, point_gb_per_s(point), point->p50_s * 1e6,
               (unsigned long long)point->wrong);
        report_figure_text(&figure);
        return;
    }
    report_open(&report, &json);
    out_json_text(&json, "case", bench_case_names[CASE_VM]);
    report_point_members(&report, &json, point);
    report_close(&report, &json, &figure);
}

int case_vm(struct world *world, uint64_t *wrong)
{
    static const uint32_t paths[] = {PATH_H2RH, PATH_RH2H};
    struct place far = world_place(world, PLACE_DRAM, world_partner(world));
    struct shape shape;

    if (world_cpu_address(world, &far)) {
        printf("%s: the case %s is left out: the kernel does not allow process_vm_readv between "
               "these processes (mfcli info says why)\n",
               BENCH_COMMAND, bench_case_names[CASE_VM]);
        return 0;
    }
    if (shape_init(&shape, SHAPE_WALK, VM_BLOCK, VM_BLOCK, world->bytes)) {
        fprintf(stderr, "%s: the working set is too small for the case %s\n", BENCH_COMMAND,
                bench_case_names[CASE_VM]);
        return -1;
    }
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct measure what = measure_default(world, &bench_paths[paths[i]], &shape, 1);
        struct point point;

        if (measure_run(world, &what, &point)) {
            return -1;
        }
        *wrong += point.wrong;
        report_vm(world, &point);
    }
    return 0;
}
