// SPDX-License-Identifier: Apache-2.0
// Summing results, and the three forms of the table.
#include "table.h"

#include <inttypes.h>

static uint64_t less(uint64_t have, uint64_t value, bool first)
{
    return first || value < have ? value : have;
}

void table_add(struct table *table, const struct schedule *schedule,
               const struct run_result *result)
{
    const struct world_result *world = &result->world;
    bool first = table->schedules++ == 0;
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        for (int state = 0; state < WORLD_STATES; state++) {
            table->struck[kind][state] += world->struck[kind][state];
        }
    }
    table->least_ranks = less(table->least_ranks, schedule->ranks, first);
    table->least_steps = less(table->least_steps, schedule->steps, first);
    table->least_faults = less(table->least_faults, schedule->fault_count, first);
    table->most_ranks = schedule->ranks > table->most_ranks ? schedule->ranks : table->most_ranks;
    table->large += schedule->ranks >= 128;
    table->steps += world->steps;
    table->cpu_ns += result->cpu_ns;
    table->virtual_ns += world->virtual_ns;
    table->faults += schedule->fault_count;
    table->calls += world->calls;
    table->failed_calls += world->failed_calls;
    table->copies += world->copies;
    table->bytes += world->bytes;
    table->joins += world->joins;
    table->failures += result->verdict != RUN_KEPT;
}

uint64_t table_struck(const struct table *table)
{
    uint64_t sum = 0;
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        for (int state = 0; state < WORLD_STATES; state++) {
            sum += table->struck[kind][state];
        }
    }
    return sum;
}

double table_speed(const struct table *table)
{
    return table->cpu_ns ? (double)table->steps * 1e9 / (double)table->cpu_ns : 0;
}

void table_print(const struct table *table, FILE *out)
{
    fprintf(out, "%-12s", "struck while");
    for (int state = 0; state < WORLD_STATES; state++) {
        fprintf(out, " %9.9s", world_state_names[state]);
    }
    fputc('\n', out);
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        fprintf(out, "%-12.12s", world_fault_names[kind]);
        for (int state = 0; state < WORLD_STATES; state++) {
            fprintf(out, " %9" PRIu64, table->struck[kind][state]);
        }
        fputc('\n', out);
    }
}

void table_print_markdown(const struct table *table, FILE *out)
{
    fprintf(out, "| fault \\ state |");
    for (int state = 0; state < WORLD_STATES; state++) {
        fprintf(out, " %s |", world_state_names[state]);
    }
    fprintf(out, "\n|---|");
    for (int state = 0; state < WORLD_STATES; state++) {
        fprintf(out, "---:|");
    }
    fputc('\n', out);
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        fprintf(out, "| %s |", world_fault_names[kind]);
        for (int state = 0; state < WORLD_STATES; state++) {
            fprintf(out, " %" PRIu64 " |", table->struck[kind][state]);
        }
        fputc('\n', out);
    }
}

static void print_sum(const char *name, uint64_t value, FILE *out)
{
    fprintf(out, "\"%s\": %" PRIu64 ", ", name, value);
}

void table_print_json(const struct table *table, FILE *out)
{
    print_sum("schedules", table->schedules, out);
    print_sum("failures", table->failures, out);
    print_sum("steps", table->steps, out);
    print_sum("cpu_ns", table->cpu_ns, out);
    print_sum("virtual_ns", table->virtual_ns, out);
    print_sum("faults", table->faults, out);
    print_sum("struck", table_struck(table), out);
    print_sum("calls", table->calls, out);
    print_sum("failed_calls", table->failed_calls, out);
    print_sum("copies", table->copies, out);
    print_sum("bytes", table->bytes, out);
    print_sum("joins", table->joins, out);
    print_sum("least_ranks", table->least_ranks, out);
    print_sum("most_ranks", table->most_ranks, out);
    print_sum("large", table->large, out);
    print_sum("least_steps", table->least_steps, out);
    print_sum("least_faults", table->least_faults, out);
    fprintf(out, "\"table\": {");
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        fprintf(out, "%s\"%s\": {", kind ? ", " : "", world_fault_names[kind]);
        for (int state = 0; state < WORLD_STATES; state++) {
            fprintf(out, "%s\"%s\": %" PRIu64, state ? ", " : "", world_state_names[state],
                    table->struck[kind][state]);
        }
        fputc('}', out);
    }
    fputc('}', out);
}

void table_print_quoted(const char *text, FILE *out)
{
    fputc('"', out);
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (*at == '"' || *at == '\\') {
            fputc('\\', out);
        }
        if (*at < 0x20) {
            fprintf(out, "\\u%04x", *at);
        } else {
            fputc(*at, out);
        }
    }
    fputc('"', out);
}
