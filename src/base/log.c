// SPDX-License-Identifier: Apache-2.0
// Formats log lines and hands each to the user's logger, or to stderr with one write. Together with
// env_real.c the only place that asks the system for time and thread ids, and only for stderr
// lines.
#include "base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Longest line, with its newline; what is longer is cut. */
#define LINE_MAX_BYTES 2048

/* How important a level is: TRACE has the highest number and the lowest weight. */
static int weight(int level)
{
    return level == MF_LOG_TRACE ? -1 : level;
}

static const char *level_name(int level)
{
    static const char *const names[] = {"DEBUG", "INFO", "WARN", "ERROR", "FATAL", "TRACE"};
    return level >= MF_LOG_DEBUG && level <= MF_LOG_TRACE ? names[level] : "?";
}

/* What snprintf wanted to write, limited to what it did write. */
static size_t written(int n, size_t room)
{
    if (n < 0) {
        return 0;
    }
    return (size_t)n < room ? (size_t)n : room - 1;
}

static size_t format_prefix(char *buf, size_t room, int level)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    int n =
        snprintf(buf, room, "%04d-%02d-%02d %02d:%02d:%02d.%06ld %s [%d-%ld] ", tm.tm_year + 1900,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000,
                 level_name(level), (int)getpid(), (long)syscall(SYS_gettid));
    return written(n, room);
}

static size_t format_text(char *buf, size_t room, const char *area, const char *fmt, va_list args)
    __attribute__((format(printf, 4, 0)));
static size_t format_text(char *buf, size_t room, const char *area, const char *fmt, va_list args)
{
    size_t len = written(snprintf(buf, room, "%s: ", area), room);
    len += written(vsnprintf(buf + len, room - len, fmt, args), room - len);
    for (size_t i = 0; i < len; i++) {
        if (buf[i] == '\n' || buf[i] == '\r') {
            buf[i] = ' ';
        }
    }
    return len;
}

static void write_line(int level, const char *area, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));
static void write_line(int level, const char *area, const char *fmt, va_list args)
{
    char line[LINE_MAX_BYTES];
    size_t len = format_prefix(line, sizeof(line), level);
    len += format_text(line + len, sizeof(line) - len, area, fmt, args);
    line[len++] = '\n'; /* in the place of the terminating 0 */
    /* A line that stderr does not take is lost: there is nowhere to say so. */
    ssize_t n = write(STDERR_FILENO, line, len);
    (void)n;
}

bool mf_log_enabled(const struct mf_log *log, int level)
{
    return log && weight(level) >= weight(atomic_load_explicit(&log->level, memory_order_relaxed));
}

void mf_log_write(struct mf_log *log, int level, const char *area, const char *fmt, ...)
{
    if (!log) {
        return;
    }
    int saved_errno = errno;
    mf_log_sink_fn sink = atomic_load(&log->sink);
    va_list args;
    va_start(args, fmt);
    if (sink) {
        char text[LINE_MAX_BYTES];
        format_text(text, sizeof(text), area, fmt, args);
        sink(level, text);
    } else {
        write_line(level, area, fmt, args);
    }
    va_end(args);
    errno = saved_errno;
}

void mf_log_alarm(struct mf_log *log, uint16_t code, const char *fmt, ...)
{
    if (!log) {
        return;
    }
    int saved_errno = errno;
    char text[LINE_MAX_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    mf_alarm_fn alarm_fn = atomic_load(&log->alarm);
    if (alarm_fn) {
        alarm_fn(code, text);
    } else {
        mf_log(log, MF_LOG_WARN, "alarm", "%u: %s", (unsigned)code, text);
    }
    errno = saved_errno;
}

void mf_log_resume(struct mf_log *log, uint16_t code)
{
    if (!log) {
        return;
    }
    int saved_errno = errno;
    mf_resume_fn resume_fn = atomic_load(&log->resume);
    if (resume_fn) {
        resume_fn(code);
    } else {
        mf_log(log, MF_LOG_WARN, "alarm", "%u: over", (unsigned)code);
    }
    errno = saved_errno;
}
