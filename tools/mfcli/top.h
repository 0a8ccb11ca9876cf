// SPDX-License-Identifier: Apache-2.0
// What mfcli top shows: the processes that are watched, and one report of them as text or JSON.
#ifndef MFCLI_TOP_H
#define MFCLI_TOP_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "memfabric/mf_trace.h"

#define TOP_COMMAND    "mfcli top"
#define TOP_POINTS_MAX 64u

/** One process that is watched, with its last report. */
struct top_process {
    mf_trace_reader_t *reader;
    mf_trace_process_t about;
    mf_trace_point_t points[TOP_POINTS_MAX];
    char names[TOP_POINTS_MAX][64]; /* copies: the points borrow theirs */
    size_t count;
};

struct top_list {
    struct top_process **v; /* in order of the process id */
    size_t count;
};

/** Watch one process. @return 0, or -1 after a sentence on stderr */
int top_list_add(struct top_list *list, int32_t pid);
/** Watch all that there are now and were not before. @return 0, or -1 after a sentence on stderr */
int top_list_search(struct top_list *list);
/** Read all. @return 0, or -1 after a sentence on stderr */
int top_list_read(struct top_list *list);
/** Forget those that had ended when they were read. */
void top_list_drop_ended(struct top_list *list);
void top_list_fini(struct top_list *list);

void top_print_text(const struct top_list *list, FILE *out);
void top_print_json(const struct top_list *list, FILE *out);

#endif
