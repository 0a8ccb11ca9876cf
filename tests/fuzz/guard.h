// SPDX-License-Identifier: Apache-2.0
// A copy of bytes that ends at an inaccessible page: a piece of a stream in which one byte too many
// is a crash in every build, also where the whole input goes on behind it.
#ifndef MF_TESTS_FUZZ_GUARD_H
#define MF_TESTS_FUZZ_GUARD_H

#include <stddef.h>
#include <stdint.h>

/** Valid until the next call; at most FUZZ_INPUT_MAX bytes. */
const uint8_t *fuzz_guarded(const void *data, size_t len);

#endif
