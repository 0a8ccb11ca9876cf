// SPDX-License-Identifier: Apache-2.0
// The error sentence of the calling thread: what was tried, the values, the peer, the cause, the
// remedy. Recording one needs no allocation and never fails. Codes are those of smem.h.
#ifndef MF_BASE_ERR_H
#define MF_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smem.h"

#define MF_ERR_MSG_MAX 1024

/** A copy of a thread's record: an asynchronous failure is saved in its request and installed again
 * in the thread that waits for it. */
struct mf_err_rec {
    int code;
    char msg[MF_ERR_MSG_MAX];
};

/** Replace the record by `rc` and the sentence; returns rc. rc must be negative. */
int mf_err(int rc, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));
int mf_err_v(int rc, const char *fmt, va_list args) __attribute__((format(printf, 2, 0), cold));

/** As mf_err, and append ": " and the text of the error number `sys_errno`. */
int mf_err_sys(int rc, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));

/** Put the sentence's context in front of the recorded message: "join pool 3: <what was there>".
 * Once per layer. The record's code becomes rc; returns rc. */
int mf_err_in(int rc, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));

/** SMEM_MALLOC_FAILED: "out of memory: <bytes> bytes for <what>". */
int mf_err_nomem(size_t bytes, const char *what) __attribute__((cold));

void mf_err_clear(void);
/** Never NULL; "" when there is none. Borrowed until the thread records another error. */
const char *mf_err_msg(void);
/** The same, and the record is empty afterwards; the text stays readable until the thread records
 * another error. */
const char *mf_err_take(void);
int mf_err_code(void);
void mf_err_save(struct mf_err_rec *out);
void mf_err_restore(const struct mf_err_rec *rec);

/** Where a thread keeps its record; {0} is an empty one. */
struct mf_err_slot {
    struct mf_err_rec rec;
    bool taken; /* the record is empty, and its text is still there for the one who has taken it */
};
/** The calling thread's record is the one in `slot` from now on; NULL: its own. For a simulation,
 * whose threads are not the system's. */
void mf_err_use(struct mf_err_slot *slot);

/** A broken invariant of ours: prints file, line and the text to stderr, then aborts. Kept in
 * release builds. A caller's mistake is never an assertion. */
#define MF_ASSERT(cond) ((cond) ? (void)0 : mf_assert_failed(__FILE__, __LINE__, __func__, #cond))
void mf_assert_failed(const char *file, int line, const char *func, const char *cond)
    __attribute__((noreturn, cold));

#endif
