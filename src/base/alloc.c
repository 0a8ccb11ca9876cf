// SPDX-License-Identifier: Apache-2.0
// The one way to heap memory: asks the (weak) fault hook, counts the block, and records an error
// sentence when there is no memory. A size of 0 gives a block of one byte, never NULL.
#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

__attribute__((weak)) bool mf_alloc_should_fail(size_t bytes, const char *what)
{
    (void)bytes;
    (void)what;
    return false;
}

__attribute__((weak)) void mf_alloc_count(int delta)
{
    (void)delta;
}

/* Count a new block, or record that there is none. */
static void *counted(void *p, size_t bytes, const char *what)
{
    if (p) {
        mf_alloc_count(1);
    } else {
        mf_err_nomem(bytes, what);
    }
    return p;
}

void *mf_alloc(size_t bytes, const char *what)
{
    void *p = mf_alloc_should_fail(bytes, what) ? NULL : malloc(bytes ? bytes : 1);
    return counted(p, bytes, what);
}

void *mf_calloc(size_t count, size_t size, const char *what)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        mf_err(SMEM_MALLOC_FAILED, "out of memory: %zu times %zu bytes for %s", count, size, what);
        return NULL;
    }
    void *p = mf_alloc_should_fail(bytes, what) ? NULL : calloc(1, bytes ? bytes : 1);
    return counted(p, bytes, what);
}

void *mf_realloc(void *old, size_t bytes, const char *what)
{
    if (!old) {
        return mf_alloc(bytes, what);
    }
    void *p = mf_alloc_should_fail(bytes, what) ? NULL : realloc(old, bytes ? bytes : 1);
    if (!p) {
        mf_err_nomem(bytes, what);
    }
    return p;
}

void *mf_alloc_aligned(size_t align, size_t bytes, const char *what)
{
    MF_ASSERT(align != 0 && (align & (align - 1)) == 0);
    if (align < sizeof(void *)) {
        align = sizeof(void *);
    }
    void *p = NULL;
    if (mf_alloc_should_fail(bytes, what) || posix_memalign(&p, align, bytes ? bytes : 1) != 0) {
        p = NULL;
    }
    if (p) {
        memset(p, 0, bytes);
    }
    return counted(p, bytes, what);
}

char *mf_strdup(const char *text, const char *what)
{
    size_t bytes = strlen(text) + 1;
    char *copy = mf_alloc(bytes, what);
    if (copy) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

void mf_free(void *p)
{
    if (p) {
        mf_alloc_count(-1);
        free(p);
    }
}
