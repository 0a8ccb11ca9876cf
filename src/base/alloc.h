// SPDX-License-Identifier: Apache-2.0
// All heap memory of the library. A test program that defines mf_alloc_should_fail() decides which
// allocation fails; the library's own (weak) one never does.
#ifndef MF_BASE_ALLOC_H
#define MF_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/** Each returns NULL and records SMEM_MALLOC_FAILED with size and `what` when there is no memory.
 * Free with mf_free. `what` is a literal that names the thing: "store request". */
void *mf_alloc(size_t bytes, const char *what) __attribute__((malloc, warn_unused_result));
void *mf_calloc(size_t count, size_t size, const char *what) __attribute__((warn_unused_result));
/** NULL leaves the old block valid. */
void *mf_realloc(void *old, size_t bytes, const char *what) __attribute__((warn_unused_result));
/** Zeroed, aligned to `align` (a power of two; 64 for what threads share). */
void *mf_alloc_aligned(size_t align, size_t bytes, const char *what)
    __attribute__((warn_unused_result));
char *mf_strdup(const char *text, const char *what) __attribute__((warn_unused_result));
void mf_free(void *p);

/** Weak in the library; a test program may define its own. Called from any thread. */
bool mf_alloc_should_fail(size_t bytes, const char *what);
/** Weak in the library, does nothing; called with +1 for a new block and -1 for a freed one, so
 * that a test program can count the blocks that live. */
void mf_alloc_count(int delta);

#endif
