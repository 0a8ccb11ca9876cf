// SPDX-License-Identifier: Apache-2.0
// What commands print: JSON objects, text tables, and a progress bar on a terminal.
#include "out.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"

#define BAR_WIDTH 40
#define PAD_MAX   48u /* longer cells stick out instead of making their column wider */

/* Bytes of the UTF-8 character at `text`, at most `left`; 0 when there is none. */
static size_t utf8_length(const unsigned char *text, size_t left)
{
    size_t length = text[0] < 0x80   ? 1
                    : text[0] < 0xc2 ? 0
                    : text[0] < 0xe0 ? 2
                    : text[0] < 0xf0 ? 3
                    : text[0] < 0xf5 ? 4
                                     : 0;

    if (length > left) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* Forms that are too long, surrogates, beyond the last character. */
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f)) {
        return 0;
    }
    return length;
}

static void write_string(FILE *file, const char *bytes, size_t length)
{
    const unsigned char *text = (const unsigned char *)bytes;

    fputc('"', file);
    for (size_t i = 0; i < length;) {
        size_t step = utf8_length(text + i, length - i);

        if (step == 0) {
            fputs("\\ufffd", file);
            step = 1;
        } else if (text[i] == '"' || text[i] == '\\') {
            fprintf(file, "\\%c", text[i]);
        } else if (text[i] < 0x20) {
            fprintf(file, "\\u%04x", text[i]);
        } else {
            fwrite(text + i, 1, step, file);
        }
        i += step;
    }
    fputc('"', file);
}

static void write_key(struct out_json *json, const char *key)
{
    if (!json->first) {
        fputs(", ", json->file);
    }
    json->first = false;
    fprintf(json->file, "\"%s\": ", key);
}

void out_json_open(struct out_json *json, FILE *file)
{
    json->file = file;
    json->first = true;
    fputc('{', file);
}

void out_json_bytes(struct out_json *json, const char *key, const char *bytes, size_t length)
{
    write_key(json, key);
    write_string(json->file, bytes, length);
}

void out_json_text(struct out_json *json, const char *key, const char *value)
{
    out_json_bytes(json, key, value, strlen(value));
}

void out_json_u64(struct out_json *json, const char *key, uint64_t value)
{
    write_key(json, key);
    fprintf(json->file, "%" PRIu64, value);
}

void out_json_i64(struct out_json *json, const char *key, int64_t value)
{
    write_key(json, key);
    fprintf(json->file, "%" PRId64, value);
}

void out_json_real(struct out_json *json, const char *key, double value, int digits)
{
    write_key(json, key);
    if (isfinite(value)) {
        fprintf(json->file, "%.*f", digits, value);
    } else {
        fputs("null", json->file);
    }
}

void out_json_bool(struct out_json *json, const char *key, bool value)
{
    out_json_raw(json, key, value ? "true" : "false");
}

void out_json_raw(struct out_json *json, const char *key, const char *value)
{
    write_key(json, key);
    fputs(value, json->file);
}

void out_json_close(struct out_json *json)
{
    fputs("}\n", json->file);
    fflush(json->file);
}

void out_table_init(struct out_table *table, const char *const *heads, size_t columns)
{
    memset(table, 0, sizeof(*table));
    table->columns = columns;
    out_table_row(table, heads);
}

void out_table_row(struct out_table *table, const char *const *cells)
{
    size_t at = table->rows * table->columns;

    table->cells = cli_grow(table->cells, at + table->columns, sizeof(*table->cells));
    for (size_t i = 0; i < table->columns; i++) {
        table->cells[at + i] = cli_text("%s", cells[i]);
    }
    table->rows++;
}

static bool is_right(const struct out_table *table, size_t column)
{
    return table->cells[column][0] == '>';
}

static const char *cell(const struct out_table *table, size_t row, size_t column)
{
    const char *text = table->cells[row * table->columns + column];

    return row == 0 && text[0] == '>' ? text + 1 : text;
}

static size_t column_width(const struct out_table *table, size_t column)
{
    size_t width = 0;

    for (size_t row = 0; row < table->rows; row++) {
        size_t length = strlen(cell(table, row, column));

        width = length > width && length <= PAD_MAX ? length : width;
    }
    return width;
}

/* The last column of the row that is not empty; no spaces follow it. */
static size_t last_cell(const struct out_table *table, size_t row)
{
    size_t last = table->columns - 1;

    while (last > 0 && !cell(table, row, last)[0]) {
        last--;
    }
    return last;
}

void out_table_print(const struct out_table *table, FILE *file)
{
    int width[OUT_COLUMNS_MAX] = {0};

    for (size_t i = 0; i < table->columns; i++) {
        width[i] = (int)column_width(table, i);
    }
    for (size_t row = 0; row < table->rows; row++) {
        size_t last = last_cell(table, row);

        for (size_t i = 0; i <= last; i++) {
            const char *text = cell(table, row, i);

            fprintf(file, is_right(table, i) ? "%*s" : "%-*s",
                    i < last || is_right(table, i) ? width[i] : 0, text);
            fputs(i < last ? "  " : "", file);
        }
        fputc('\n', file);
    }
}

static void markdown_cell(const char *text, FILE *file)
{
    for (; *text; text++) {
        if (*text == '|') {
            fputc('\\', file);
        }
        fputc(*text, file);
    }
}

void out_table_markdown(const struct out_table *table, FILE *file)
{
    for (size_t row = 0; row < table->rows; row++) {
        fputc('|', file);
        for (size_t i = 0; i < table->columns; i++) {
            fputc(' ', file);
            markdown_cell(cell(table, row, i), file);
            fputs(" |", file);
        }
        fputc('\n', file);
        for (size_t i = 0; row == 0 && i < table->columns; i++) {
            fputs(is_right(table, i) ? "|---:" : "|---", file);
        }
        fputs(row == 0 ? "|\n" : "", file);
    }
}

void out_table_fini(struct out_table *table)
{
    for (size_t i = 0; i < table->rows * table->columns; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    memset(table, 0, sizeof(*table));
}

void out_progress_init(struct out_progress *bar, const char *what, uint64_t total, bool quiet)
{
    bar->on = !quiet && total > 0 && isatty(STDERR_FILENO);
    bar->what = what;
    bar->total = total;
    bar->last_permille = -1;
}

void out_progress_show(struct out_progress *bar, uint64_t done)
{
    static const char full[] = "########################################";
    int permille = 0, filled = 0;

    if (!bar->on) {
        return;
    }
    permille = (int)(done * 1000 / bar->total);
    if (permille == bar->last_permille) {
        return;
    }
    bar->last_permille = permille;
    filled = permille * BAR_WIDTH / 1000;
    filled = filled > BAR_WIDTH ? BAR_WIDTH : filled;
    fprintf(stderr, "\r%s [%.*s%*s] %3d%%", bar->what, filled, full, BAR_WIDTH - filled, "",
            permille / 10);
    fflush(stderr);
}

void out_progress_fini(struct out_progress *bar)
{
    if (bar->on && bar->last_permille >= 0) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
    }
    bar->on = false;
}
