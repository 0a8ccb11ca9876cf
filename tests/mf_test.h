// SPDX-License-Identifier: Apache-2.0
// What every cmocka program of the project includes: cmocka with the headers it needs, and
// assertions on result codes that print both values and the error sentence. Only the main thread of
// a test may assert; other threads hand their result to it.
#ifndef MF_TEST_H
#define MF_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static inline void mf_test_rc(long long got, long long want, const char *expr, const char *file,
                              int line)
{
    if (got != want) {
        print_error("%s is %lld, expected %lld; error sentence: \"%s\"\n", expr, got, want,
                    mf_err_msg());
        _fail(file, line);
    }
}

static inline void mf_test_err_has(const char *part, const char *file, int line)
{
    if (!strstr(mf_err_msg(), part)) {
        print_error("the error sentence \"%s\" has no \"%s\"\n", mf_err_msg(), part);
        _fail(file, line);
    }
}

/** The result code of `expr` is `rc`. */
#define mf_assert_rc(expr, rc) \
    mf_test_rc((long long)(expr), (long long)(rc), #expr, __FILE__, __LINE__)
/** The result code of `expr` is SMEM_OK. */
#define mf_assert_ok(expr) mf_assert_rc(expr, SMEM_OK)
/** The error sentence of this thread contains `part`. */
#define mf_assert_err_has(part) mf_test_err_has((part), __FILE__, __LINE__)

#endif
