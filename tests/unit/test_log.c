// SPDX-License-Identifier: Apache-2.0
// Tests of log lines: levels, form on stderr, the user's logger and alarm handlers.
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "mf_test.h"

/* What the sinks were called with last; reset by setup. */
static struct {
    int calls;
    int level;
    int code;
    char msg[4096];
} seen;

static void sink(int level, const char *msg)
{
    seen.calls++;
    seen.level = level;
    snprintf(seen.msg, sizeof(seen.msg), "%s", msg);
    errno = E2BIG;
}

static void alarm_sink(uint16_t code, const char *msg)
{
    seen.calls++;
    seen.code = code;
    snprintf(seen.msg, sizeof(seen.msg), "%s", msg);
}

static void resume_sink(uint16_t code)
{
    seen.calls++;
    seen.code = -code;
}

static int setup(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    return 0;
}

/** stderr, led into a file for a while. */
struct capture {
    int saved_fd;
    int file_fd;
};

static void capture_start(struct capture *capture)
{
    char path[] = "/tmp/mf_test_log.XXXXXX";
    capture->file_fd = mkstemp(path);
    assert_true(capture->file_fd >= 0);
    unlink(path);
    capture->saved_fd = dup(STDERR_FILENO);
    dup2(capture->file_fd, STDERR_FILENO);
}

static size_t capture_stop(struct capture *capture, char *buf, size_t size)
{
    dup2(capture->saved_fd, STDERR_FILENO);
    close(capture->saved_fd);
    ssize_t n = pread(capture->file_fd, buf, size - 1, 0);
    close(capture->file_fd);
    assert_true(n >= 0);
    buf[n] = '\0';
    return (size_t)n;
}

static void test_log_enabled__trace_is_the_most_talkative(void **state)
{
    (void)state;
    struct mf_log log = MF_LOG_INIT;
    for (int level = MF_LOG_DEBUG; level <= MF_LOG_TRACE; level++) {
        log.level = MF_LOG_TRACE;
        assert_true(mf_log_enabled(&log, level));
    }
    log.level = MF_LOG_DEBUG;
    assert_false(mf_log_enabled(&log, MF_LOG_TRACE));
    assert_true(mf_log_enabled(&log, MF_LOG_DEBUG));
    log.level = MF_LOG_FATAL;
    assert_false(mf_log_enabled(&log, MF_LOG_TRACE));
    assert_false(mf_log_enabled(&log, MF_LOG_ERROR));
    assert_true(mf_log_enabled(&log, MF_LOG_FATAL));
}

static void test_log_enabled__default_is_warn(void **state)
{
    (void)state;
    struct mf_log log = MF_LOG_INIT;
    assert_false(mf_log_enabled(&log, MF_LOG_INFO));
    assert_true(mf_log_enabled(&log, MF_LOG_WARN));
}

static void test_log__null_drops_all(void **state)
{
    (void)state;
    struct capture capture;
    char out[64];
    capture_start(&capture);
    assert_false(mf_log_enabled(NULL, MF_LOG_FATAL));
    mf_log_write(NULL, MF_LOG_FATAL, "area", "text");
    mf_log_alarm(NULL, 1, "text");
    mf_log_resume(NULL, 1);
    assert_int_equal(capture_stop(&capture, out, sizeof(out)), 0);
}

static void test_log__evaluates_no_argument_when_off(void **state)
{
    (void)state;
    struct mf_log log = MF_LOG_INIT;
    int evaluated = 0;
    mf_log(&log, MF_LOG_INFO, "area", "%d", ++evaluated);
    assert_int_equal(evaluated, 0);
}

static void test_log_write__line_on_stderr_has_the_form(void **state)
{
    (void)state;
    struct mf_log log = MF_LOG_INIT;
    struct capture capture;
    char out[512];
    capture_start(&capture);
    mf_log(&log, MF_LOG_WARN, "transport/direct", "peer %d is slow", 7);
    capture_stop(&capture, out, sizeof(out));
    regex_t form;
    assert_int_equal(regcomp(&form,
                             "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6} "
                             "WARN \\[[0-9]+-[0-9]+\\] transport/direct: peer 7 is slow\n$",
                             REG_EXTENDED | REG_NOSUB),
                     0);
    if (regexec(&form, out, 0, NULL, 0) != 0) {
        fail_msg("not of the form: \"%s\"", out);
    }
    regfree(&form);
}

static void test_log_write__has_a_name_for_each_level(void **state)
{
    (void)state;
    static const char *const names[] = {" DEBUG ", " INFO ",  " WARN ",
                                        " ERROR ", " FATAL ", " TRACE "};
    struct mf_log log = {.level = MF_LOG_TRACE};
    for (int level = MF_LOG_DEBUG; level <= MF_LOG_TRACE; level++) {
        struct capture capture;
        char out[256];
        capture_start(&capture);
        mf_log(&log, level, "a", "b");
        capture_stop(&capture, out, sizeof(out));
        assert_non_null(strstr(out, names[level]));
    }
}

static void test_log_write__sink_gets_area_and_text(void **state)
{
    (void)state;
    struct mf_log log = {.level = MF_LOG_INFO, .sink = sink};
    mf_log(&log, MF_LOG_INFO, "store", "%s %d", "listens on", 7000);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.level, MF_LOG_INFO);
    assert_string_equal(seen.msg, "store: listens on 7000");
    mf_log(&log, MF_LOG_DEBUG, "store", "not this");
    assert_int_equal(seen.calls, 1);
}

static void test_log_write__is_one_line(void **state)
{
    (void)state;
    struct mf_log log = {.level = MF_LOG_INFO, .sink = sink};
    mf_log(&log, MF_LOG_INFO, "a", "one\ntwo\r\nthree%s", "\n");
    assert_string_equal(seen.msg, "a: one two  three ");
}

static void test_log_write__cuts_a_long_line(void **state)
{
    (void)state;
    struct mf_log log = MF_LOG_INIT;
    struct capture capture;
    char text[8192];
    char out[8192];
    memset(text, 'z', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    capture_start(&capture);
    mf_log(&log, MF_LOG_ERROR, "a", "%s", text);
    size_t len = capture_stop(&capture, out, sizeof(out));
    assert_in_range(len, 1024, 4096);
    assert_string_equal(out + len - 2, "z\n");
    assert_ptr_equal(strchr(out, '\n'), out + len - 1);
    log.sink = sink;
    mf_log(&log, MF_LOG_ERROR, "a", "%s", text);
    assert_in_range(strlen(seen.msg), 1024, 4096);
}

static void test_log_write__keeps_errno(void **state)
{
    (void)state;
    struct mf_log log = {.level = MF_LOG_INFO, .sink = sink};
    errno = ENOENT;
    mf_log(&log, MF_LOG_INFO, "a", "b");
    assert_int_equal(seen.calls, 1);
    assert_int_equal(errno, ENOENT);
}

static void test_log_alarm__goes_to_the_handler(void **state)
{
    (void)state;
    struct mf_log log = {.level = MF_LOG_FATAL, .alarm = alarm_sink, .resume = resume_sink};
    mf_log_alarm(&log, MF_ALARM_PEER_DEAD, "rank %d died", 3);
    assert_int_equal(seen.code, MF_ALARM_PEER_DEAD);
    assert_string_equal(seen.msg, "rank 3 died");
    mf_log_resume(&log, MF_ALARM_STORE_LOST);
    assert_int_equal(seen.code, -MF_ALARM_STORE_LOST);
    assert_int_equal(seen.calls, 2);
}

static void test_log_alarm__is_a_warning_without_handler(void **state)
{
    (void)state;
    struct mf_log log = {.level = MF_LOG_WARN, .sink = sink};
    mf_log_alarm(&log, MF_ALARM_STORE_LOST, "store %s", "gone");
    assert_int_equal(seen.level, MF_LOG_WARN);
    assert_string_equal(seen.msg, "alarm: 1: store gone");
    mf_log_resume(&log, MF_ALARM_STORE_LOST);
    assert_string_equal(seen.msg, "alarm: 1: over");
    log.level = MF_LOG_ERROR;
    mf_log_alarm(&log, MF_ALARM_STORE_LOST, "not shown");
    assert_int_equal(seen.calls, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_log_enabled__trace_is_the_most_talkative, setup),
        cmocka_unit_test_setup(test_log_enabled__default_is_warn, setup),
        cmocka_unit_test_setup(test_log__null_drops_all, setup),
        cmocka_unit_test_setup(test_log__evaluates_no_argument_when_off, setup),
        cmocka_unit_test_setup(test_log_write__line_on_stderr_has_the_form, setup),
        cmocka_unit_test_setup(test_log_write__has_a_name_for_each_level, setup),
        cmocka_unit_test_setup(test_log_write__sink_gets_area_and_text, setup),
        cmocka_unit_test_setup(test_log_write__is_one_line, setup),
        cmocka_unit_test_setup(test_log_write__cuts_a_long_line, setup),
        cmocka_unit_test_setup(test_log_write__keeps_errno, setup),
        cmocka_unit_test_setup(test_log_alarm__goes_to_the_handler, setup),
        cmocka_unit_test_setup(test_log_alarm__is_a_warning_without_handler, setup),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
