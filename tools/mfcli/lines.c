// SPDX-License-Identifier: Apache-2.0
// Passes a rank's output on line by line.
#include "lines.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "out.h"

void lines_init(struct lines *lines, int fd, FILE *out, const char *name, uint32_t rank, bool json)
{
    lines->fd = fd;
    lines->out = out;
    lines->name = name;
    lines->rank = rank;
    lines->json = json;
    lines->raw = false;
    lines->used = 0;
}

static void emit(struct lines *lines, const char *line, size_t length)
{
    struct out_json json;

    if (lines->raw || !lines->json) {
        if (!lines->raw) {
            fprintf(lines->out, "[%u] ", lines->rank);
        }
        fwrite(line, 1, length, lines->out);
        fputc('\n', lines->out);
        fflush(lines->out);
        return;
    }
    out_json_open(&json, lines->out);
    out_json_u64(&json, "rank", lines->rank);
    out_json_text(&json, "stream", lines->name);
    out_json_bytes(&json, "line", line, length);
    out_json_close(&json);
}

static void split(struct lines *lines)
{
    char *start = lines->buffer;
    char *end = lines->buffer + lines->used;
    char *newline = NULL;

    while ((newline = memchr(start, '\n', (size_t)(end - start)))) {
        emit(lines, start, (size_t)(newline - start));
        start = newline + 1;
    }
    lines->used = (size_t)(end - start);
    memmove(lines->buffer, start, lines->used);
    if (lines->used == LINES_BUFFER) {
        emit(lines, lines->buffer, lines->used);
        lines->used = 0;
    }
}

void lines_read(struct lines *lines)
{
    ssize_t got = read(lines->fd, lines->buffer + lines->used, LINES_BUFFER - lines->used);

    if (got > 0) {
        lines->used += (size_t)got;
        split(lines);
    } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
        lines_close(lines);
    }
}

void lines_close(struct lines *lines)
{
    if (lines->fd < 0) {
        return;
    }
    if (lines->used) {
        emit(lines, lines->buffer, lines->used);
        lines->used = 0;
    }
    close(lines->fd);
    lines->fd = -1;
}
