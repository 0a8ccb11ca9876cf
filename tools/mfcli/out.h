// SPDX-License-Identifier: Apache-2.0
// What commands print: JSON objects, one a line; text tables with aligned columns; and a progress
// bar on a terminal.
#ifndef MFCLI_OUT_H
#define MFCLI_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** One JSON object under way. Keys are plain ASCII names. */
struct out_json {
    FILE *file;
    bool first;
};

void out_json_open(struct out_json *json, FILE *file);
void out_json_text(struct out_json *json, const char *key, const char *value);
/** As out_json_text() for bytes that may be anything: what is no UTF-8 is replaced. */
void out_json_bytes(struct out_json *json, const char *key, const char *bytes, size_t length);
void out_json_u64(struct out_json *json, const char *key, uint64_t value);
void out_json_i64(struct out_json *json, const char *key, int64_t value);
/** A number with `digits` digits after the point; null when it is not finite. */
void out_json_real(struct out_json *json, const char *key, double value, int digits);
void out_json_bool(struct out_json *json, const char *key, bool value);
/** A value that is JSON already. */
void out_json_raw(struct out_json *json, const char *key, const char *value);
/** Ends the object and its line, and flushes. */
void out_json_close(struct out_json *json);

#define OUT_COLUMNS_MAX 16u

/** A text table; cells are copied. Columns named with a leading '>' are set flush right. */
struct out_table {
    size_t columns;
    size_t rows; /* with the head */
    char **cells;
};

/** @param heads `columns` names, at most OUT_COLUMNS_MAX */
void out_table_init(struct out_table *table, const char *const *heads, size_t columns);
void out_table_row(struct out_table *table, const char *const *cells);
/** Prints with columns as wide as their widest cell. */
void out_table_print(const struct out_table *table, FILE *file);
/** Prints as a table of Markdown. */
void out_table_markdown(const struct out_table *table, FILE *file);
void out_table_fini(struct out_table *table);

/** A progress bar on stderr; silent when stderr is no terminal or `quiet` is set. */
struct out_progress {
    bool on;
    const char *what;
    uint64_t total;
    int last_permille;
};

void out_progress_init(struct out_progress *bar, const char *what, uint64_t total, bool quiet);
void out_progress_show(struct out_progress *bar, uint64_t done);
/** Removes the bar from the terminal. */
void out_progress_fini(struct out_progress *bar);

#endif
