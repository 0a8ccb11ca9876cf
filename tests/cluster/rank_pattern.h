// SPDX-License-Identifier: Apache-2.0
// The bytes that scripted ranks write: each 64-byte line says who wrote it, in which generation and
// for which offset, and carries a checksum, so that a stale, torn or misplaced byte is seen.
#ifndef MF_TESTS_CLUSTER_RANK_PATTERN_H
#define MF_TESTS_CLUSTER_RANK_PATTERN_H

#include <stdint.h>

#define PATTERN_LINE 64u

/** What was found where the pattern was expected. */
struct pattern_fault {
    uint64_t wrong; /* bytes that differ */
    uint64_t zero;  /* lines that are all zero */
    uint64_t first; /* offset of the first wrong line within the range */
    uint64_t got[8];
};

/** Fill `size` bytes, a multiple of PATTERN_LINE; `offset` is where they lie in the slot. */
void pattern_fill(void *at, uint64_t size, uint32_t writer, uint64_t generation, uint64_t offset);
/** Compare; returns the bytes that differ. */
uint64_t pattern_check(const void *at, uint64_t size, uint32_t writer, uint64_t generation,
                       uint64_t offset, struct pattern_fault *fault);

#endif
