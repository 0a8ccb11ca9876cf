// SPDX-License-Identifier: Apache-2.0
// Log lines to stderr or to the user's logger, and alarms to the user's alarm handler. A struct
// mf_log is an input of everything that logs; there is none behind the scenes. A NULL log drops
// all.
#ifndef MF_BASE_LOG_H
#define MF_BASE_LOG_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/** The numbers are the reference's (smem_set_log_level). TRACE is the most talkative although its
 *  number is the highest: mf_log_enabled() knows. */
enum mf_log_level {
    MF_LOG_DEBUG = 0,
    MF_LOG_INFO = 1,
    MF_LOG_WARN = 2,
    MF_LOG_ERROR = 3,
    MF_LOG_FATAL = 4,
    MF_LOG_TRACE = 5,
};

typedef void (*mf_log_sink_fn)(int level, const char *msg);
typedef void (*mf_alarm_fn)(uint16_t code, const char *msg);
typedef void (*mf_resume_fn)(uint16_t code);

struct mf_log {
    _Atomic int level;            /* default MF_LOG_WARN */
    _Atomic(mf_log_sink_fn) sink; /* NULL: stderr */
    _Atomic(mf_alarm_fn) alarm;   /* NULL: a WARN line */
    _Atomic(mf_resume_fn) resume;
};

/** What an alarm is about; the code given to the user's handler. */
enum mf_alarm_code {
    MF_ALARM_STORE_LOST = 1,   /* the control plane cannot be reached; data plane goes on */
    MF_ALARM_PEER_DEAD = 2,    /* a rank died or was declared dead */
    MF_ALARM_SELF_EXPIRED = 3, /* this rank was declared dead */
    MF_ALARM_MEMORY_SHORT = 4, /* no memory for a pool */
};

#define MF_LOG_INIT          \
    {                        \
        .level = MF_LOG_WARN \
    }

bool mf_log_enabled(const struct mf_log *log, int level);

/** One line: "YYYY-mm-dd HH:MM:SS.uuuuuu LEVEL [pid-tid] area: text". `area` is the layer or module
 *  ("store", "transport/direct"). Saves and restores errno. CR and LF in the text become spaces. */
void mf_log_write(struct mf_log *log, int level, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#define mf_log(log, level, area, ...) \
    (mf_log_enabled((log), (level)) ? mf_log_write((log), (level), (area), __VA_ARGS__) : (void)0)

void mf_log_alarm(struct mf_log *log, uint16_t code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void mf_log_resume(struct mf_log *log, uint16_t code);

#endif
