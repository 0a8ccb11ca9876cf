// SPDX-License-Identifier: Apache-2.0
// The sums of many schedules, and the table of which faults struck ranks in which state.
#ifndef MF_SIM_TABLE_H
#define MF_SIM_TABLE_H

#include <stdio.h>

#include "run.h"

struct table {
    uint64_t struck[FAULT_KINDS][WORLD_STATES];
    uint64_t schedules, steps, cpu_ns, virtual_ns;
    uint64_t faults; /* planned; those that struck are in the table */
    uint64_t calls, copies, bytes, failed_calls, joins;
    uint64_t least_ranks, most_ranks, large; /* the latter: schedules of 128 ranks and more */
    uint64_t least_steps, least_faults;
    uint64_t failures;
};

void table_add(struct table *table, const struct schedule *schedule,
               const struct run_result *result);
uint64_t table_struck(const struct table *table);
/** Steps in a second of one core. */
double table_speed(const struct table *table);
/** Columns for people. */
void table_print(const struct table *table, FILE *out);
void table_print_markdown(const struct table *table, FILE *out);
/** Members of an object, without its braces. */
void table_print_json(const struct table *table, FILE *out);
/** A string of JSON. */
void table_print_quoted(const char *text, FILE *out);

#endif
