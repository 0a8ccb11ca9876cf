// SPDX-License-Identifier: Apache-2.0
// The traces that mfcli replay reads: the input is a file of JSON lines. What was taken of it lies
// within what was promised, and reading the lines one by one comes to the same.
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "guard.h"
#include "replay/trace.h"

static void check_trace(const struct trace *trace)
{
    size_t first = 0;
    for (size_t i = 0; i < trace->request_count; i++) {
        FUZZ_CHECK(trace->requests[i].first == first);
        FUZZ_CHECK(trace->requests[i].count <= TRACE_REQUEST_BLOCKS);
        first += trace->requests[i].count;
    }
    FUZZ_CHECK(first == trace->id_count && trace->id_count <= trace->id_room);
}

/* How many requests its lines give; -1: one is not taken. */
static long by_lines(const uint8_t *data, size_t len)
{
    struct trace trace;
    char error[TRACE_ERROR_BYTES];
    int rc = 0;
    trace_init(&trace);
    while (len > 0 && rc == 0) {
        const uint8_t *end = memchr(data, '\n', len);
        size_t n = end ? (size_t)(end - data) : len, next = end ? n + 1 : n;
        while (n > 0 && data[n - 1] == '\r') {
            n--;
        }
        rc = trace_parse_line(&trace, (const char *)fuzz_guarded(data, n), n, error);
        FUZZ_CHECK(rc == 0 || memchr(error, '\0', sizeof(error)) != NULL);
        data += next;
        len -= next;
    }
    check_trace(&trace);
    long count = rc == 0 ? (long)trace.request_count : -1;
    trace_fini(&trace);
    return count;
}

static long by_file(const char *path, uint64_t most)
{
    struct trace trace;
    char error[TRACE_ERROR_BYTES] = "";
    int rc = trace_load(&trace, path, most, error);
    FUZZ_CHECK(memchr(error, '\0', sizeof(error)) != NULL && (rc == 0) == (error[0] == '\0'));
    check_trace(&trace);
    FUZZ_CHECK(rc != 0 || most == 0 || trace.request_count <= most);
    long count = rc == 0 ? (long)trace.request_count : -1;
    trace_fini(&trace);
    return count;
}

void fuzz_one(const uint8_t *data, size_t len)
{
    char path[64];
    int fd = memfd_create("trace", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && (len == 0 || write(fd, data, len) == (ssize_t)len));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    long lines = by_lines(data, len);
    FUZZ_CHECK(by_file(path, 0) == (lines == 0 ? -1 : lines)); /* an empty file is refused */
    (void)by_file(path, 2);
    close(fd);
    FUZZ_CHECK(by_file(path, 0) == -1);
}

/* A request of so many blocks, in one line. */
static size_t many_blocks(uint8_t *buf, uint32_t count)
{
    char *at = (char *)buf;
    at += snprintf(at, 32, "{\"hash_ids\": [0");
    for (uint32_t i = 1; i < count; i++) {
        *at++ = ',';
        *at++ = '0';
    }
    at += snprintf(at, 8, "]}\n");
    return (size_t)(at - (char *)buf);
}

static const char three_lines[] =
    "{\"timestamp\": 0, \"input_length\": 6758, \"output_length\": 500, \"hash_ids\": [0, 1, 2]}\n"
    "{\"hash_ids\": []}\r\n"
    "{\"hash_ids\":[18446744073709551615]}";

size_t fuzz_seed(uint32_t i, uint8_t *buf, size_t cap)
{
    static const char *const texts[] = {
        three_lines,
        "{\"a\": null, \"b\": true, \"c\": -1.5e+3, \"d\": \"text\", \"hash_ids\": [7]}",
        "{\"hash_ids\": [18446744073709551616]}",
        "{\"hash_ids\": [1], \"hash_ids\": [2]}",
        "{\"hash_ids\": [1,]}",
        "{\"hash_ids\": [1",
        "{\"hash_ids\": [1}",
        "{\"a\\\\b\": 1}",
        "{\"other\": 1}",
        "{\"other\": [1], \"hash_ids\": []}",
        "{\"hash_ids\": [1]} more",
        "[1]",
        "{\t\"a_name_with_more_bytes_than_there_is_room_for_in_the_reader\" : 1}",
        "\n",
        "{\"hash_ids\" [1]}",
        "{\"hash_ids\": [x]}",
    };
    size_t count = sizeof(texts) / sizeof(texts[0]);
    if (i == count) {
        return many_blocks(buf, 2000);
    }
    if (i > count) {
        return 0;
    }
    size_t len = strlen(texts[i]);
    FUZZ_CHECK(len < cap);
    memcpy(buf, texts[i], len);
    return len;
}
