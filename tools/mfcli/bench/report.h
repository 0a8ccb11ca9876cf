// SPDX-License-Identifier: Apache-2.0
// Results as they are printed: one JSON object a line, or text; and the figures that the project
// wants to reach, which are printed beside what was measured and never make the command fail.
#ifndef MFCLI_BENCH_REPORT_H
#define MFCLI_BENCH_REPORT_H

#include <stdbool.h>

#include "out.h"
#include "config.h"
#include "measure.h"

/** A figure: "measured" should be at least, or at most, "target". */
struct figure {
    char name[64];
    const char *unit;
    double measured, target;
    bool at_most;
};

bool figure_met(const struct figure *figure);
/** The figure that the project has for a path at a block size. @return false when it has none */
bool figure_of_point(const struct point *point, struct figure *figure);

/** What all results of a run share. */
struct report {
    const struct bench_cfg *cfg;
    const char *device; /* "sim:0", "none" */
    uint32_t rank;
    uint64_t working_set; /* 0: does not apply */
};

struct report report_of(const struct world *world);

/** Begins a JSON line; the caller adds its own members. */
void report_open(const struct report *report, struct out_json *json);
/** Adds the figure (or none: NULL) and what is known of the machine, and ends the line. */
void report_close(const struct report *report, struct out_json *json, const struct figure *figure);
/** The figure in text, as the last line of a result. */
void report_figure_text(const struct figure *figure);

/** Adds the members of a point: path, block, rates, latencies, ratio, wrong bytes. */
void report_point_members(const struct report *report, struct out_json *json,
                          const struct point *point);

/** The head of the table for one block size; nothing in JSON. */
void report_head(const struct report *report, uint64_t block, uint64_t batch);
/** One path at one block size: a JSON line, or a row of the table. */
void report_point(const struct report *report, const struct point *point);

#endif
