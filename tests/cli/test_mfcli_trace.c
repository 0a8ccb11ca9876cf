// SPDX-License-Identifier: Apache-2.0
// The trace parser: what it takes, and that what it does not take is named by line and column; the
// generated workload's shape.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "alloc.h"
#include "mf_test.h"
#include "replay/trace.h"
#include "replay/workload.h"

struct bad_line {
    const char *line;
    const char *error;
};

static int parse(struct trace *trace, const char *line, char *error)
{
    return trace_parse_line(trace, line, strlen(line), error);
}

static void test_trace_parse_line__takes_a_request(void **state)
{
    struct trace trace;
    char error[TRACE_ERROR_BYTES];

    (void)state;
    trace_init(&trace);
    assert_int_equal(parse(&trace,
                           "{\"timestamp\": 0, \"input_length\": 6758, \"output_length\": 500, "
                           "\"hash_ids\": [0, 14, 18446744073709551615]}",
                           error),
                     0);
    assert_int_equal(parse(&trace, " {\"hash_ids\" : [ ] ,\"chat\":\"a b\",\"x\":-1.5e3} ", error),
                     0);
    assert_int_equal(parse(&trace, "{\"hash_ids\":[7]}", error), 0);
    assert_int_equal(trace.request_count, 3);
    assert_int_equal(trace.requests[0].count, 3);
    assert_int_equal(trace.ids[1], 14);
    assert_true(trace.ids[2] == UINT64_MAX);
    assert_int_equal(trace.requests[1].count, 0);
    assert_int_equal(trace.requests[2].first, 3);
    assert_int_equal(trace.ids[3], 7);
    trace_fini(&trace);
}

static void test_trace_parse_line__names_the_column_of_an_error(void **state)
{
    static const struct bad_line bad[] = {
        {"", "column 1: the line ends where '{' is expected"},
        {"[1]", "column 1: '{' is expected, not '['"},
        {"{}", "column 2: '\"' is expected, not '}'"},
        {"{\"timestamp\": 1}", "column 17: the request has no \"hash_ids\""},
        {"{\"hash_ids\": [1, 2}", "column 19: ',' is expected, not '}'"},
        {"{\"hash_ids\": [1, 2", "column 19: the line ends where ',' is expected"},
        {"{\"hash_ids\": [1,", "column 17: the line ends where a block id is expected"},
        {"{\"hash_ids\": [1, -2]}", "column 18: a block id (a whole number, 0 or more) is"},
        {"{\"hash_ids\": [1.5]}", "column 16: ',' is expected, not '.'"},
        {"{\"hash_ids\": [18446744073709551616]}", "column 15: the block id has more than 64 bits"},
        {"{\"hash_ids\": 5}", "column 14: '[' is expected, not '5'"},
        {"{\"hash_ids\": [1], \"hash_ids\": [2]}", "column 19: \"hash_ids\" stands here for the"},
        {"{\"hash_ids\": [1]} x", "column 19: something follows the request"},
        {"{\"a\": {}, \"hash_ids\": [1]}", "column 7: \"a\" has no single value"},
        {"{\"a\\n\": 1}", "column 4: a name or text with a backslash is not taken"},
        {"{\"a\": 1 \"hash_ids\": [1]}", "column 9: '}' is expected, not '\"'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct trace trace;
        char error[TRACE_ERROR_BYTES] = "";

        trace_init(&trace);
        assert_int_equal(parse(&trace, bad[i].line, error), -1);
        if (strncmp(error, bad[i].error, strlen(bad[i].error)) != 0) {
            fail_msg("'%s' gave \"%s\", expected \"%s\"", bad[i].line, error, bad[i].error);
        }
        /* Nothing half-done stays. */
        assert_int_equal(trace.request_count, 0);
        assert_int_equal(trace.id_count, 0);
        trace_fini(&trace);
    }
}

static void test_trace_parse_line__refuses_every_cut_line(void **state)
{
    static const char line[] = "{\"timestamp\": 0, \"hash_ids\": [0, 14, 15]}";

    (void)state;
    for (size_t length = 0; length < strlen(line); length++) {
        struct trace trace;
        char error[TRACE_ERROR_BYTES];

        trace_init(&trace);
        assert_int_equal(trace_parse_line(&trace, line, length, error), -1);
        trace_fini(&trace);
    }
}

static char *write_file(const char *text, size_t length)
{
    char *path = cli_text("/tmp/mfcli-trace-%d-XXXXXX", (int)getpid());
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, length), (ssize_t)length);
    close(fd);
    return path;
}

static int load_text(const char *text, uint64_t max, struct trace *trace, char *error)
{
    char *path = write_file(text, strlen(text));
    int rc = trace_load(trace, path, max, error);

    unlink(path);
    free(path);
    return rc;
}

static void test_trace_load__reads_lines_with_and_without_end(void **state)
{
    struct trace trace;
    char error[TRACE_ERROR_BYTES];

    (void)state;
    assert_int_equal(load_text("{\"hash_ids\": [1]}\n{\"hash_ids\": [2]}\r\n{\"hash_ids\": [3]}", 0,
                               &trace, error),
                     0);
    assert_int_equal(trace.request_count, 3);
    assert_int_equal(trace.ids[2], 3);
    trace_fini(&trace);
    assert_int_equal(
        load_text("{\"hash_ids\": [1]}\n{\"hash_ids\": [2]}\nrubbish", 2, &trace, error), 0);
    assert_int_equal(trace.request_count, 2);
    trace_fini(&trace);
}

static void test_trace_load__names_file_line_and_cause(void **state)
{
    struct trace trace;
    char error[TRACE_ERROR_BYTES];

    (void)state;
    assert_int_equal(load_text("{\"hash_ids\": [1]}\n{\"hash_ids\": [2\n", 0, &trace, error), -1);
    assert_non_null(strstr(error, "line 2, column 16: the line ends"));
    assert_non_null(strstr(error, "/tmp/mfcli-trace-"));
    trace_fini(&trace);
    assert_int_equal(load_text("", 0, &trace, error), -1);
    assert_non_null(strstr(error, "holds no request"));
    trace_fini(&trace);
    assert_int_equal(trace_load(&trace, "/nonexistent/trace", 0, error), -1);
    assert_non_null(strstr(error, "/nonexistent/trace: No such file"));
    trace_fini(&trace);
    assert_int_equal(trace_load(&trace, "/tmp", 0, error), -1);
    assert_non_null(strstr(error, "Is a directory"));
    trace_fini(&trace);
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static double hit_ratio(const struct trace *trace)
{
    uint64_t *ids = cli_alloc(trace->id_count, sizeof(*ids));
    size_t seen = 0;

    memcpy(ids, trace->ids, trace->id_count * sizeof(*ids));
    qsort(ids, trace->id_count, sizeof(*ids), compare_ids);
    for (size_t i = 1; i < trace->id_count; i++) {
        seen += ids[i] == ids[i - 1];
    }
    free(ids);
    return (double)seen / (double)trace->id_count;
}

static void test_workload_generate__has_the_shape_of_recorded_ones(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct trace trace;
        double blocks = 0;

        trace_init(&trace);
        workload_generate(&trace, seed, 4000);
        assert_int_equal(trace.request_count, 4000);
        blocks = (double)trace.id_count / 4000;
        if (blocks < 21 || blocks > 27 || hit_ratio(&trace) < 0.33 || hit_ratio(&trace) > 0.40) {
            fail_msg("seed %d: %g blocks a request, hit ratio %g", (int)seed, blocks,
                     hit_ratio(&trace));
        }
        trace_fini(&trace);
    }
}

static void test_workload_generate__follows_from_the_seed(void **state)
{
    struct trace a, b, c;

    (void)state;
    trace_init(&a);
    trace_init(&b);
    trace_init(&c);
    workload_generate(&a, 9, 300);
    workload_generate(&b, 9, 300);
    workload_generate(&c, 10, 300);
    assert_int_equal(a.id_count, b.id_count);
    assert_memory_equal(a.ids, b.ids, a.id_count * sizeof(*a.ids));
    assert_true(a.id_count != c.id_count || memcmp(a.ids, c.ids, a.id_count * 8) != 0);
    trace_fini(&a);
    trace_fini(&b);
    trace_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace_parse_line__takes_a_request),
        cmocka_unit_test(test_trace_parse_line__names_the_column_of_an_error),
        cmocka_unit_test(test_trace_parse_line__refuses_every_cut_line),
        cmocka_unit_test(test_trace_load__reads_lines_with_and_without_end),
        cmocka_unit_test(test_trace_load__names_file_line_and_cause),
        cmocka_unit_test(test_workload_generate__has_the_shape_of_recorded_ones),
        cmocka_unit_test(test_workload_generate__follows_from_the_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
