// SPDX-License-Identifier: Apache-2.0
// One report of mfcli top: a table for each process, or a JSON object for each point.
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "out.h"
#include "top.h"

#define CELL 32u

static double per_second(uint64_t value, uint64_t ns)
{
    return ns == 0 ? 0 : (double)value * 1e9 / (double)ns;
}

/* ---- text ---- */

static void print_rate(char out[CELL], double rate)
{
    snprintf(out, CELL,
             rate >= 1e6   ? "%.4g M"
             : rate >= 1e4 ? "%.4g k"
                           : "%.4g",
             rate >= 1e6   ? rate / 1e6
             : rate >= 1e4 ? rate / 1e3
                           : rate);
}

static void print_time(char out[CELL], uint64_t ns, bool known)
{
    double value = (double)ns;

    if (!known) {
        snprintf(out, CELL, "-");
    } else if (ns < 10000) {
        snprintf(out, CELL, "%" PRIu64 " ns", ns);
    } else if (ns < 10000000) {
        snprintf(out, CELL, "%.4g us", value / 1e3);
    } else if (ns < 10000000000u) {
        snprintf(out, CELL, "%.4g ms", value / 1e6);
    } else {
        snprintf(out, CELL, "%.4g s", value / 1e9);
    }
}

static void add_row(struct out_table *table, const mf_trace_point_t *point, uint64_t ns)
{
    const mf_trace_values_t *v = &point->latest;
    char rate[CELL], failed[CELL], speed[CELL], p50[CELL], p99[CELL], p999[CELL], fly[CELL],
        calls[CELL];
    const char *const cells[] = {point->name, rate, failed, speed, p50, p99, p999, fly, calls};

    print_rate(rate, per_second(v->begun, ns));
    snprintf(failed, CELL, "%" PRIu64, v->bad);
    snprintf(speed, CELL, "-");
    if (point->counts_bytes) {
        snprintf(speed, CELL, "%.3f", per_second(v->bytes, ns) / 1e9);
    }
    print_time(p50, v->p50_ns, v->timed > 0);
    print_time(p99, v->p99_ns, v->timed > 0);
    print_time(p999, v->p999_ns, v->timed > 0);
    snprintf(fly, CELL, "%" PRIu64, point->on_fly);
    snprintf(calls, CELL, "%" PRIu64, point->total.begun);
    out_table_row(table, cells);
}

static void print_about(const mf_trace_process_t *about, FILE *out)
{
    fprintf(out, "process %d", about->pid);
    if (about->rank != UINT32_MAX) {
        fprintf(out, ", rank %u of %u", about->rank, about->world);
    } else {
        fprintf(out, ", no rank");
    }
    if (!about->alive) {
        fprintf(out, ", has ended; its last %.1f s:\n", (double)about->latest_ns / 1e9);
    } else if (about->latest_ns == about->total_ns) {
        fprintf(out, ", since it began %.1f s ago:\n", (double)about->total_ns / 1e9);
    } else {
        fprintf(out, ", the last %.1f s:\n", (double)about->latest_ns / 1e9);
    }
}

void top_print_text(const struct top_list *list, FILE *out)
{
    static const char *const heads[] = {"point", ">calls/s", ">failed", ">GB/s", ">p50",
                                        ">p99",  ">p99.9",   ">on fly", ">calls"};
    char now[CELL];
    time_t seconds = time(NULL);
    struct tm tm;

    strftime(now, sizeof(now), "%Y-%m-%d %H:%M:%S", localtime_r(&seconds, &tm));
    fprintf(out, "%s, %zu process%s with trace points\n", now, list->count,
            list->count == 1 ? "" : "es");
    for (size_t i = 0; i < list->count; i++) {
        const struct top_process *process = list->v[i];
        struct out_table table;

        fputc('\n', out);
        print_about(&process->about, out);
        out_table_init(&table, heads, sizeof(heads) / sizeof(heads[0]));
        for (size_t p = 0; p < process->count; p++) {
            add_row(&table, &process->points[p], process->about.latest_ns);
        }
        out_table_print(&table, out);
        out_table_fini(&table);
    }
}

/* ---- JSON ---- */

static void open_object(struct out_json *json, FILE *out, const char *event, double now,
                        const mf_trace_process_t *about)
{
    char rank[CELL] = "null";

    if (about->rank != UINT32_MAX) {
        snprintf(rank, sizeof(rank), "%u", about->rank);
    }
    out_json_open(json, out);
    out_json_text(json, "event", event);
    out_json_real(json, "time", now, 3);
    out_json_u64(json, "pid", (uint64_t)about->pid);
    out_json_raw(json, "rank", rank);
    out_json_u64(json, "world", about->world);
    out_json_real(json, "seconds", (double)about->latest_ns / 1e9, 6);
}

static void print_point_json(FILE *out, double now, const mf_trace_process_t *about,
                             const mf_trace_point_t *point)
{
    const mf_trace_values_t *v = &point->latest;
    struct out_json json;

    open_object(&json, out, "point", now, about);
    out_json_text(&json, "point", point->name);
    out_json_u64(&json, "id", point->id);
    out_json_u64(&json, "calls", v->begun);
    out_json_u64(&json, "good", v->good);
    out_json_u64(&json, "failed", v->bad);
    out_json_u64(&json, "bytes", v->bytes);
    out_json_u64(&json, "on_fly", point->on_fly);
    out_json_real(&json, "calls_per_s", per_second(v->begun, about->latest_ns), 3);
    out_json_real(&json, "gb_per_s", per_second(v->bytes, about->latest_ns) / 1e9, 6);
    out_json_u64(&json, "timed", v->timed);
    out_json_u64(&json, "min_ns", v->min_ns);
    out_json_u64(&json, "max_ns", v->max_ns);
    out_json_u64(&json, "p50_ns", v->p50_ns);
    out_json_u64(&json, "p99_ns", v->p99_ns);
    out_json_u64(&json, "p999_ns", v->p999_ns);
    out_json_u64(&json, "total_calls", point->total.begun);
    out_json_u64(&json, "total_failed", point->total.bad);
    out_json_u64(&json, "total_bytes", point->total.bytes);
    out_json_close(&json);
}

void top_print_json(const struct top_list *list, FILE *out)
{
    struct timespec ts;
    struct out_json json;

    clock_gettime(CLOCK_REALTIME, &ts);
    double now = (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
    for (size_t i = 0; i < list->count; i++) {
        const struct top_process *process = list->v[i];

        open_object(&json, out, process->about.alive ? "process" : "ended", now, &process->about);
        out_json_real(&json, "total_seconds", (double)process->about.total_ns / 1e9, 3);
        out_json_u64(&json, "points", process->count);
        out_json_close(&json);
        for (size_t p = 0; p < process->count; p++) {
            print_point_json(out, now, &process->about, &process->points[p]);
        }
    }
}
