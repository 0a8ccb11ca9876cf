// SPDX-License-Identifier: Apache-2.0
// A fuzz target: what is fed with bytes, and well-formed inputs to begin with. Built twice: with
// the driver of this folder, which mutates by itself, and with libFuzzer (-DMF_FUZZ=ON).
#ifndef MF_TESTS_FUZZ_H
#define MF_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define FUZZ_INPUT_MAX (64u << 10)

/** Feeds the bytes; aborts (FUZZ_CHECK) when a promise is broken. Reading outside of them crashes:
 * they end at an inaccessible page. */
void fuzz_one(const uint8_t *data, size_t len);
/** The i-th well-formed input, its length; 0: there are no more. */
size_t fuzz_seed(uint32_t i, uint8_t *buf, size_t cap);

#define FUZZ_CHECK(what)                                                              \
    do {                                                                              \
        if (!(what)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what); \
            abort();                                                                  \
        }                                                                             \
    } while (0)

#endif
