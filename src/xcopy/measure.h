// SPDX-License-Identifier: Apache-2.0
// The short measurement of copy kernels: each copies from cold memory to cold memory, and what
// counts is the time until the bytes have left the caches again.
#ifndef MF_XCOPY_MEASURE_H
#define MF_XCOPY_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"

/** Source and target, each of MF_BENCH_BYTES. */
struct mf_bench_area {
    uint8_t *src;
    uint8_t *dst;
};

#define MF_BENCH_BYTES  (2u << 20)
#define MF_BENCH_ROUNDS 3u

/** False when there is no memory for it, or the caches cannot be emptied: then nothing is measured.
 */
bool mf_bench_open(struct mf_bench_area *area);
void mf_bench_close(struct mf_bench_area *area);

typedef void (*mf_bench_fn)(void *arg, void *dst, const void *src, size_t size);
/** Nanoseconds for one copy of `size` bytes (<= MF_BENCH_BYTES) at place `nth` of the area: begins
 * with source and target out of the caches, and contains the time to write the target back. */
uint64_t mf_bench_sample(const struct mf_env *env, const struct mf_bench_area *area, uint32_t nth,
                         size_t size, mf_bench_fn copy, void *arg);
/** The least of the samples: what disturbs a sample only ever adds to it. */
uint64_t mf_bench_best(const uint64_t *samples, uint32_t count);

#endif
