// SPDX-License-Identifier: Apache-2.0
// The tool's heap: allocation that ends the process with a sentence when there is no memory.
#include "alloc.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *checked(void *memory, size_t bytes)
{
    if (!memory) {
        fprintf(stderr, "mfcli: out of memory: %zu bytes could not be allocated\n", bytes);
        exit(1);
    }
    return memory;
}

void *cli_alloc(size_t count, size_t size)
{
    return checked(calloc(count ? count : 1, size ? size : 1), count * size);
}

void *cli_alloc_pages(size_t bytes)
{
    void *memory = NULL;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (posix_memalign(&memory, page, bytes ? bytes : 1)) {
        memory = NULL;
    }
    checked(memory, bytes);
    memset(memory, 0, bytes);
    return memory;
}

void *cli_grow(void *array, size_t count, size_t size)
{
    size_t bytes = 0;

    if (__builtin_mul_overflow(count ? count : 1, size, &bytes)) {
        return checked(NULL, SIZE_MAX);
    }
    return checked(realloc(array, bytes), bytes);
}

char *cli_text(const char *format, ...)
{
    va_list args;
    char *text = NULL;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) {
        text = NULL;
    }
    va_end(args);
    return checked(text, 0);
}
