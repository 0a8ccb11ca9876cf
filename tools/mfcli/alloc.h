// SPDX-License-Identifier: Apache-2.0
// The tool's heap: allocation that ends the process with a sentence when there is no memory, since
// no command can go on without it.
#ifndef MFCLI_ALLOC_H
#define MFCLI_ALLOC_H

#include <stddef.h>

/** Zeroed memory for `count` elements of `size` bytes; never NULL. Freed by free(). */
void *cli_alloc(size_t count, size_t size);
/** As cli_alloc(), aligned to a page. */
void *cli_alloc_pages(size_t bytes);
/** Grows (or shrinks) an array to `count` elements; what is new is not zeroed. Never NULL. */
void *cli_grow(void *array, size_t count, size_t size);
/** printf into fresh memory; never NULL. */
char *cli_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
