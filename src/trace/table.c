// SPDX-License-Identifier: Apache-2.0
// Prints lines of the table, cut and padded to their columns.
#include "trace/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TIME_COLUMN  23
#define NAME_COLUMN  40
#define VALUE_COLUMN 15
#define VALUES       8

void mf_trace_collect(const struct mf_trace *trace, uint64_t period, struct mf_trace_sums *out)
{
    uint32_t used = atomic_load_explicit(&trace->memory->head.blocks_used, memory_order_acquire);
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < used; i++) {
        mf_trace_sums_add(out, &trace->memory->blocks[i], period);
    }
}

const char *mf_trace_point_name(enum mf_point point)
{
    static const char *const names[] = {
#define MF_POINT(id, module, number, name, counts_bytes) name,
#include "trace/points.h"
#undef MF_POINT
    };
    return names[point];
}

static void join(char out[MF_TRACE_LINE_BYTES + 1], const char *time, const char *name,
                 char values[VALUES][VALUE_COLUMN])
{
    int at = snprintf(out, MF_TRACE_LINE_BYTES + 1, "%-*.*s%-*.*s", TIME_COLUMN, TIME_COLUMN, time,
                      NAME_COLUMN, NAME_COLUMN, name);
    for (int i = 0; i < VALUES; i++) {
        at += snprintf(out + at, MF_TRACE_LINE_BYTES + 1 - (size_t)at, "%-*s", VALUE_COLUMN,
                       values[i]);
    }
    memcpy(out + at, "\n", 2);
}

void mf_trace_line_heads(char out[MF_TRACE_LINE_BYTES + 1])
{
    char heads[VALUES][VALUE_COLUMN] = {"BEGIN",   "GOOD_END", "BAD_END", "ON_FLY",
                                        "MIN(us)", "MAX(us)",  "AVG(us)", "TOTAL(us)"};
    join(out, "TIME", "NAME", heads);
}

/* What does not fit loses digits, never its column. */
static void print_count(char out[VALUE_COLUMN], uint64_t value)
{
    if (snprintf(out, VALUE_COLUMN, "%" PRIu64, value) >= VALUE_COLUMN) {
        (void)snprintf(out, VALUE_COLUMN, "%.6e", (double)value);
    }
}

static void print_us(char out[VALUE_COLUMN], double ns)
{
    if (snprintf(out, VALUE_COLUMN, "%.3f", ns / 1e3) >= VALUE_COLUMN) {
        (void)snprintf(out, VALUE_COLUMN, "%.6e", ns / 1e3);
    }
}

void mf_trace_line(char out[MF_TRACE_LINE_BYTES + 1], const char *time, const char *name,
                   const struct mf_trace_sum *sum, uint64_t on_fly, uint64_t min_ns,
                   uint64_t max_ns)
{
    char values[VALUES][VALUE_COLUMN];
    print_count(values[0], sum->begun);
    print_count(values[1], sum->good);
    print_count(values[2], sum->bad);
    print_count(values[3], on_fly);
    print_us(values[4], (double)min_ns);
    print_us(values[5], (double)max_ns);
    print_us(values[6], sum->calls == 0 ? 0 : (double)sum->total_ns / (double)sum->calls);
    print_us(values[7], (double)sum->total_ns);
    join(out, time, name, values);
}

void mf_trace_line_time(char out[MF_TRACE_TIME_BYTES], uint64_t wall_ns)
{
    time_t seconds = (time_t)(wall_ns / MF_NS_PER_S);
    struct tm tm;
    localtime_r(&seconds, &tm);
    (void)strftime(out, MF_TRACE_TIME_BYTES, "%Y-%m-%d %H:%M:%S", &tm);
}
