// SPDX-License-Identifier: Apache-2.0
// Printing of results.
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "machine.h"
#include "memfabric/mf_info.h"

#define KIB 1024u
#define MIB (1024u * 1024u)

bool figure_met(const struct figure *figure)
{
    return figure->at_most ? figure->measured <= figure->target
                           : figure->measured >= figure->target;
}

bool figure_of_point(const struct point *point, struct figure *figure)
{
    bool host = point->path == &bench_paths[PATH_H2RH] || point->path == &bench_paths[PATH_RH2H];
    double calls = (double)point->count;

    if (!host || point->batch != 1 || !point->baseline) {
        return false;
    }
    *figure = (struct figure){.unit = "x memcpy", .measured = point->time.ratio.median};
    if (point->block == 4 * KIB) {
        figure->unit = "ns";
        figure->at_most = true;
        figure->measured = point->time.ours.median / calls * 1e9;
        figure->target = 1.1 * point->time.base.median / calls * 1e9 + 60;
    } else if (point->block >= MIB && point->block <= 64 * MIB) {
        figure->target = 1.15;
    } else if (point->block > 64 * MIB) {
        figure->target = 1.0;
    } else {
        return false;
    }
    snprintf(figure->name, sizeof(figure->name), "%s, %" PRIu64 " KiB", point->path->name,
             point->block / KIB);
    return true;
}

struct report report_of(const struct world *world)
{
    return (struct report){.cfg = world->cfg,
                           .device = world->device_name,
                           .rank = world->rank,
                           .working_set = world->bytes};
}

void report_open(const struct report *report, struct out_json *json)
{
    out_json_open(json, stdout);
    out_json_text(json, "transport", bench_transport_names[report->cfg->transport]);
}

static void figure_members(struct out_json *json, const struct figure *figure)
{
    char target[48];

    snprintf(target, sizeof(target), "%s %.4g", figure->at_most ? "<=" : ">=", figure->target);
    out_json_text(json, "figure", figure->name);
    out_json_real(json, "measured", figure->measured, 3);
    out_json_text(json, "unit", figure->unit);
    out_json_text(json, "target", target);
    out_json_bool(json, "met", figure_met(figure));
}

void report_close(const struct report *report, struct out_json *json, const struct figure *figure)
{
    char cpu[128], date[16];

    if (figure) {
        figure_members(json, figure);
    }
    machine_cpu(cpu, sizeof(cpu));
    machine_date(date, sizeof(date));
    if (report->working_set) {
        out_json_u64(json, "working_set", report->working_set);
    }
    out_json_u64(json, "threads", report->cfg->threads);
    out_json_text(json, "device", report->device);
    out_json_text(json, "version", mf_version());
    if (report->cfg->commit) {
        out_json_text(json, "commit", report->cfg->commit);
    }
    out_json_text(json, "cpu", cpu);
    out_json_u64(json, "cores", machine_cores());
    out_json_text(json, "date", date);
    out_json_close(json);
}

void report_figure_text(const struct figure *figure)
{
    printf("  %s: %.4g %s, wanted %s %.4g: %s\n", figure->name, figure->measured, figure->unit,
           figure->at_most ? "<=" : ">=", figure->target, figure_met(figure) ? "met" : "MISSED");
    fflush(stdout);
}

void report_point_members(const struct report *report, struct out_json *json,
                          const struct point *point)
{
    const struct stats_pairs *time = &point->time;
    bool memcpy_base = point->baseline && strncmp(point->baseline, "memcpy", 6) == 0;

    out_json_text(json, "path", point->path->name);
    out_json_u64(json, "rank", report->rank);
    out_json_u64(json, "block", point->block);
    out_json_u64(json, "batch", point->batch);
    out_json_u64(json, "count", point->count);
    out_json_u64(json, "pairs", time->pairs);
    out_json_real(json, "gb_per_s", point_gb_per_s(point), 3);
    out_json_real(json, "p50_us", point->p50_s * 1e6, 3);
    out_json_real(json, "p99_us", point->p99_s * 1e6, 3);
    if (memcpy_base) {
        out_json_text(json, "baseline", point->baseline);
        out_json_real(json, "memcpy_gb_per_s", (double)point->base_bytes / time->base.median / 1e9,
                      3);
        out_json_real(json, "ratio_memcpy", time->ratio.median, 3);
        out_json_real(json, "q1", time->ratio.q1, 3);
        out_json_real(json, "q3", time->ratio.q3, 3);
    } else {
        out_json_raw(json, "ratio_memcpy", "null");
    }
    out_json_u64(json, "wrong_bytes", point->wrong);
    out_json_u64(json, "verified_bytes", point->verified);
}

void report_head(const struct report *report, uint64_t block, uint64_t batch)
{
    if (report->cfg->json) {
        return;
    }
    printf("\nblock_size:%" PRIu64 " batch_size:%" PRIu64 " working_set:%" PRIu64 "\n", block,
           batch, report->working_set);
    printf("---------------------------------------- Band Width Test "
           "----------------------------------------\n");
    printf("%-10s%-10s%-10s%-20s%-20s%-20s%-20s%-20s\n", "Type", "NPU", "Rank", "TotalSize(KB)",
           "TotalTime(us)", "AvgTime(us)", "BW(GB/s)", "WrongBytes(B)");
    fflush(stdout);
}

static void point_row(const struct report *report, const struct point *point)
{
    double seconds = point->time.ours.median;

    printf("%-10s%-10s%-10" PRIu32 "%-20.3f%-20.1f%-20.3f%-20.3f%-20" PRIu64 "\n",
           point->path->name, report->device, report->rank, (double)point->round_bytes / KIB,
           seconds * 1e6, seconds * 1e6 / (double)point->count, point_gb_per_s(point),
           point->wrong);
    fflush(stdout);
}

void report_point(const struct report *report, const struct point *point)
{
    struct figure figure;
    bool known = figure_of_point(point, &figure);
    struct out_json json;

    if (!report->cfg->json) {
        point_row(report, point);
        if (known && report->cfg->figures) {
            report_figure_text(&figure);
        }
        return;
    }
    report_open(report, &json);
    report_point_members(report, &json, point);
    report_close(report, &json, known ? &figure : NULL);
}
