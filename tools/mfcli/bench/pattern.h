// SPDX-License-Identifier: Apache-2.0
// What the bytes of a benchmark are: a function of the run, the rank that owns the source, the
// round and the offset in it, so that a byte that is old, misplaced or another rank's is told from
// a right one. Targets are poisoned before each round; a byte that nobody wrote is seen too.
#ifndef MFCLI_BENCH_PATTERN_H
#define MFCLI_BENCH_PATTERN_H

#include <stddef.h>
#include <stdint.h>

#define PATTERN_POISON 0xa5u

struct pattern {
    uint64_t run;
    uint64_t round;
    uint32_t rank;
};

/** One piece of a copy: bytes at `src` of the source belong at `dst` of the target. */
struct extent {
    uint64_t dst;
    uint64_t src;
    uint64_t bytes;
};

/** The bytes of a source from `offset` on; any offset and length. */
void pattern_fill(const struct pattern *pattern, uint64_t offset, void *to, size_t bytes);

/** @return how many bytes are not what pattern_fill() writes there */
uint64_t pattern_wrong(const struct pattern *pattern, uint64_t offset, const void *at,
                       size_t bytes);

/**
 * Checks a piece of a target: what an extent covers must be the source's, all else poison.
 *
 * @param extents ascending by dst, not overlapping
 * @param offset  where in the target the piece begins
 * @return how many bytes are wrong
 */
uint64_t pattern_wrong_in_target(const struct pattern *pattern, const struct extent *extents,
                                 size_t count, uint64_t offset, const void *at, size_t bytes);

#endif
