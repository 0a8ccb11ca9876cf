// SPDX-License-Identifier: Apache-2.0
// What the demo prints: steps with a title, paragraphs, facts and checks on lines of at most 80
// columns; or one JSON object for each step.
#ifndef MFCLI_DEMO_SAY_H
#define MFCLI_DEMO_SAY_H

#include <stdbool.h>
#include <stdint.h>

#include "out.h"

struct say {
    bool json;
    bool colour; /* stdout is a terminal */
    bool pause;  /* wait for Enter after each step */
    uint32_t step;
    uint32_t checks, wrong;           /* of all steps */
    uint32_t step_checks, step_wrong; /* of this one */
    uint64_t step_start_ns;
    struct out_json object;
};

void say_init(struct say *say, bool json, bool pause);
/** Begins a step: its number and title. */
void say_step(struct say *say, const char *name, const char *title);
/** Ends a step. */
void say_end(struct say *say);
/** A paragraph, wrapped. */
void say_text(struct say *say, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** A line as it is, indented: a call, a drawing, a value. Cut at 80 columns. */
void say_line(struct say *say, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** A sentence of the library: wrapped and set off. */
void say_sentence(struct say *say, const char *text);
/** Something that must be so. Counted, and printed with "ok" or "WRONG". @return `good` */
bool say_check(struct say *say, bool good, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/** A value for the JSON object of the step; prints nothing else. */
void say_u64(struct say *say, const char *key, uint64_t value);
void say_value(struct say *say, const char *key, const char *value);

#endif
