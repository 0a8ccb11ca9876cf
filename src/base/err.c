// SPDX-License-Identifier: Apache-2.0
// The calling thread's error record. It lives in static thread-local storage, so that recording an
// error needs no allocation. Every text is formatted into a local buffer first, because arguments
// may point into the record itself.
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Thread_local struct mf_err_slot own;
static _Thread_local struct mf_err_slot *other; /* NULL: own */

/* Marks a message that did not fit. */
static const char ellipsis[] = "...";

static struct mf_err_slot *slot_now(void)
{
    return other ? other : &own;
}

/** A piece of text that is put together in a fixed buffer; what does not fit is cut and marked. */
struct text {
    char buf[MF_ERR_MSG_MAX];
    size_t len;
};

static void text_finish(struct text *text, size_t wanted)
{
    if (wanted < sizeof(text->buf)) {
        text->len = wanted;
        return;
    }
    size_t cut = sizeof(text->buf) - sizeof(ellipsis);
    while (cut > 0 && ((unsigned char)text->buf[cut] & 0xc0) == 0x80) {
        cut--; /* not in the middle of a UTF-8 sequence */
    }
    memcpy(text->buf + cut, ellipsis, sizeof(ellipsis));
    text->len = cut + sizeof(ellipsis) - 1;
}

static void text_vformat(struct text *text, const char *fmt, va_list args)
{
    int n = vsnprintf(text->buf, sizeof(text->buf), fmt, args);
    if (n < 0) {
        n = snprintf(text->buf, sizeof(text->buf), "(message that cannot be formatted: \"%s\")",
                     fmt);
    }
    text_finish(text, (size_t)n);
}

static void text_append(struct text *text, const char *more)
{
    size_t room = sizeof(text->buf) - text->len;
    int n = snprintf(text->buf + text->len, room, ": %s", more);
    text_finish(text, text->len + (size_t)n);
}

static int text_record(const struct text *text, int rc)
{
    MF_ASSERT(rc < 0);
    struct mf_err_slot *slot = slot_now();
    slot->taken = false;
    slot->rec.code = rc;
    memcpy(slot->rec.msg, text->buf, text->len + 1);
    return rc;
}

int mf_err_v(int rc, const char *fmt, va_list args)
{
    struct text text;
    text_vformat(&text, fmt, args);
    return text_record(&text, rc);
}

int mf_err(int rc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    mf_err_v(rc, fmt, args);
    va_end(args);
    return rc;
}

int mf_err_sys(int rc, int sys_errno, const char *fmt, ...)
{
    struct text text;
    va_list args;
    va_start(args, fmt);
    text_vformat(&text, fmt, args);
    va_end(args);
    char buf[128];
    text_append(&text, strerror_r(sys_errno, buf, sizeof(buf)));
    return text_record(&text, rc);
}

int mf_err_in(int rc, const char *fmt, ...)
{
    struct text text;
    va_list args;
    va_start(args, fmt);
    text_vformat(&text, fmt, args);
    va_end(args);
    if (*mf_err_msg() != '\0') {
        text_append(&text, mf_err_msg());
    }
    return text_record(&text, rc);
}

int mf_err_nomem(size_t bytes, const char *what)
{
    return mf_err(SMEM_MALLOC_FAILED, "out of memory: %zu bytes for %s", bytes, what);
}

void mf_err_clear(void)
{
    struct mf_err_slot *slot = slot_now();
    slot->taken = false;
    slot->rec.code = SMEM_OK;
    slot->rec.msg[0] = '\0';
}

const char *mf_err_msg(void)
{
    const struct mf_err_slot *slot = slot_now();
    return slot->taken ? "" : slot->rec.msg;
}

const char *mf_err_take(void)
{
    const char *text = mf_err_msg();
    struct mf_err_slot *slot = slot_now();
    slot->rec.code = SMEM_OK;
    slot->taken = true;
    return text;
}

int mf_err_code(void)
{
    return slot_now()->rec.code;
}

void mf_err_save(struct mf_err_rec *out)
{
    out->code = mf_err_code();
    memcpy(out->msg, mf_err_msg(), strlen(mf_err_msg()) + 1);
}

void mf_err_restore(const struct mf_err_rec *rec)
{
    struct mf_err_slot *slot = slot_now();
    if (slot->taken && rec->msg[0] == '\0') {
        return; /* as empty as before, and the text stays */
    }
    slot->taken = false;
    slot->rec.code = rec->code;
    memmove(slot->rec.msg, rec->msg, strnlen(rec->msg, sizeof(slot->rec.msg) - 1) + 1);
    slot->rec.msg[sizeof(slot->rec.msg) - 1] = '\0';
}

void mf_err_use(struct mf_err_slot *slot)
{
    other = slot;
}

void mf_assert_failed(const char *file, int line, const char *func, const char *cond)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "memfabric: %s:%d: %s: assertion failed: %s\n", file, line,
                     func, cond);
    size_t len = n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1;
    /* The process ends here in any case; a lost line cannot be reported anywhere. */
    ssize_t written = write(STDERR_FILENO, text, len);
    (void)written;
    abort();
}
