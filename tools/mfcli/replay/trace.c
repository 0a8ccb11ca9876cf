// SPDX-License-Identifier: Apache-2.0
// Reads traces: a strict parser of one JSON object a line that names the line and column of what it
// does not take.
#include "trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"

#define NAME_BYTES 32u

struct cursor {
    const char *line;
    size_t length;
    size_t at;
    char *error;
};

void trace_init(struct trace *trace)
{
    memset(trace, 0, sizeof(*trace));
}

void trace_fini(struct trace *trace)
{
    free(trace->requests);
    free(trace->ids);
    memset(trace, 0, sizeof(*trace));
}

void trace_add_request(struct trace *trace)
{
    if (trace->request_count == trace->request_room) {
        trace->request_room = trace->request_room ? 2 * trace->request_room : 1024;
        trace->requests = cli_grow(trace->requests, trace->request_room, sizeof(*trace->requests));
    }
    trace->requests[trace->request_count++] = (struct trace_request){.first = trace->id_count};
}

void trace_add_id(struct trace *trace, uint64_t id)
{
    if (trace->id_count == trace->id_room) {
        trace->id_room = trace->id_room ? 2 * trace->id_room : 16384;
        trace->ids = cli_grow(trace->ids, trace->id_room, sizeof(*trace->ids));
    }
    trace->ids[trace->id_count++] = id;
    trace->requests[trace->request_count - 1].count++;
}

static int wrong(struct cursor *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int wrong(struct cursor *c, const char *format, ...)
{
    va_list args;
    int used = snprintf(c->error, TRACE_ERROR_BYTES, "column %zu: ", c->at + 1);

    va_start(args, format);
    vsnprintf(c->error + used, TRACE_ERROR_BYTES - (size_t)used, format, args);
    va_end(args);
    return -1;
}

static void skip_space(struct cursor *c)
{
    while (c->at < c->length && (c->line[c->at] == ' ' || c->line[c->at] == '\t')) {
        c->at++;
    }
}

/* The next character that is no space, or '\0' at the end of the line. */
static char peek(struct cursor *c)
{
    skip_space(c);
    return c->at < c->length ? c->line[c->at] : '\0';
}

static int expect(struct cursor *c, char want)
{
    char got = peek(c);

    if (c->at >= c->length) {
        return wrong(c, "the line ends where '%c' is expected", want);
    }
    if (got != want) {
        return wrong(c, "'%c' is expected, not '%c'", want, got >= ' ' && got < 0x7f ? got : '?');
    }
    c->at++;
    return 0;
}

static int take_string(struct cursor *c, char *text, size_t room)
{
    size_t used = 0;

    if (expect(c, '"')) {
        return -1;
    }
    while (c->at < c->length && c->line[c->at] != '"') {
        if (c->line[c->at] == '\\') {
            return wrong(c, "a name or text with a backslash is not taken");
        }
        if (used + 1 < room) {
            text[used++] = c->line[c->at];
        }
        c->at++;
    }
    text[used] = '\0';
    return expect(c, '"');
}

static int take_id(struct cursor *c, uint64_t *id)
{
    char first = peek(c);
    size_t start = c->at;
    uint64_t value = 0;

    if (first < '0' || first > '9') {
        return c->at < c->length ? wrong(c, "a block id (a whole number, 0 or more) is expected")
                                 : wrong(c, "the line ends where a block id is expected");
    }
    while (c->at < c->length && c->line[c->at] >= '0' && c->line[c->at] <= '9') {
        uint64_t digit = (uint64_t)(c->line[c->at] - '0');

        if (value > (UINT64_MAX - digit) / 10) {
            c->at = start;
            return wrong(c, "the block id has more than 64 bits");
        }
        value = value * 10 + digit;
        c->at++;
    }
    *id = value;
    return 0;
}

static int take_ids(struct cursor *c, struct trace *trace)
{
    if (expect(c, '[')) {
        return -1;
    }
    if (peek(c) == ']') {
        c->at++;
        return 0;
    }
    for (;;) {
        uint64_t id = 0;

        if (take_id(c, &id)) {
            return -1;
        }
        if (trace->requests[trace->request_count - 1].count == TRACE_REQUEST_BLOCKS) {
            return wrong(c, "the request has more than %u blocks", TRACE_REQUEST_BLOCKS);
        }
        trace_add_id(trace, id);
        if (peek(c) == ']') {
            c->at++;
            return 0;
        }
        if (expect(c, ',')) {
            return -1;
        }
    }
}

/* A number, text, true, false or null that is of no interest. */
static int skip_value(struct cursor *c, const char *name)
{
    static const char scalar[] = "+-.0123456789eEtrufalsn";
    char text[NAME_BYTES];
    char first = peek(c);
    size_t start = c->at;

    if (first == '"') {
        return take_string(c, text, sizeof(text));
    }
    while (c->at < c->length && c->line[c->at] && strchr(scalar, c->line[c->at])) {
        c->at++;
    }
    if (c->at == start) {
        return wrong(c, "\"%s\" has no single value", name);
    }
    return 0;
}

static int take_member(struct cursor *c, struct trace *trace, bool *has_ids)
{
    char name[NAME_BYTES];
    size_t start = 0;

    skip_space(c);
    start = c->at;
    if (take_string(c, name, sizeof(name)) || expect(c, ':')) {
        return -1;
    }
    if (strcmp(name, "hash_ids") != 0) {
        return skip_value(c, name);
    }
    if (*has_ids) {
        c->at = start;
        return wrong(c, "\"hash_ids\" stands here for the second time");
    }
    *has_ids = true;
    return take_ids(c, trace);
}

static int take_object(struct cursor *c, struct trace *trace)
{
    bool has_ids = false;

    if (expect(c, '{')) {
        return -1;
    }
    do {
        if (take_member(c, trace, &has_ids)) {
            return -1;
        }
    } while (peek(c) == ',' && ++c->at);
    if (expect(c, '}')) {
        return -1;
    }
    if (!has_ids) {
        return wrong(c, "the request has no \"hash_ids\"");
    }
    if (peek(c) || c->at < c->length) {
        return wrong(c, "something follows the request");
    }
    return 0;
}

int trace_parse_line(struct trace *trace, const char *line, size_t length, char *error)
{
    struct cursor cursor = {.line = line, .length = length, .error = error};

    trace_add_request(trace);
    if (take_object(&cursor, trace)) {
        trace->id_count = trace->requests[--trace->request_count].first;
        return -1;
    }
    return 0;
}

static int parse_file(struct trace *trace, FILE *file, const char *path, uint64_t max_requests,
                      char *error)
{
    char *line = NULL;
    size_t room = 0;
    uint64_t number = 0;
    char what[TRACE_ERROR_BYTES];
    int rc = 0;

    while (rc == 0 && (max_requests == 0 || trace->request_count < max_requests)) {
        ssize_t length = 0;

        errno = 0;
        length = getline(&line, &room, file);
        if (length < 0) {
            if (!feof(file)) {
                snprintf(error, TRACE_ERROR_BYTES,
                         "cannot read trace %s after line %" PRIu64 ": %s", path, number,
                         strerror(errno));
                rc = -1;
            }
            break;
        }
        number++;
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r')) {
            length--;
        }
        rc = trace_parse_line(trace, line, (size_t)length, what);
        if (rc) {
            snprintf(error, TRACE_ERROR_BYTES, "trace %.200s: line %" PRIu64 ", %.200s", path,
                     number, what);
        }
    }
    free(line);
    return rc;
}

int trace_load(struct trace *trace, const char *path, uint64_t max_requests, char *error)
{
    FILE *file = fopen(path, "re");
    int rc = 0;

    trace_init(trace);
    if (!file) {
        snprintf(error, TRACE_ERROR_BYTES, "cannot open trace %s: %s", path, strerror(errno));
        return -1;
    }
    rc = parse_file(trace, file, path, max_requests, error);
    fclose(file);
    if (rc == 0 && trace->request_count == 0) {
        snprintf(error, TRACE_ERROR_BYTES, "trace %s holds no request", path);
        rc = -1;
    }
    return rc;
}
