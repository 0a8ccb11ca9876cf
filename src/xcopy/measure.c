// SPDX-License-Identifier: Apache-2.0
// Why cold, and why the write-back counts: memory of a pool is seldom in the cache, and a copy that
// leaves its target dirty in the cache has only put off the work; the next copy pays. Emptying the
// caches line by line gives the same order of kernels as walking through gigabytes, in a thousandth
// of the time and with 4 MiB.
#include "xcopy/measure.h"

#include <sys/mman.h>

#include "xcopy/kernels.h"

bool mf_bench_open(struct mf_bench_area *area)
{
    uint8_t *both = mmap(NULL, 2 * (size_t)MF_BENCH_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (both == MAP_FAILED) {
        return false;
    }
    *area = (struct mf_bench_area){.src = both, .dst = both + MF_BENCH_BYTES};
    if (!mf_copy_flush(both, 2 * (size_t)MF_BENCH_BYTES)) {
        mf_bench_close(area);
        return false;
    }
    return true;
}

void mf_bench_close(struct mf_bench_area *area)
{
    munmap(area->src, 2 * (size_t)MF_BENCH_BYTES);
}

uint64_t mf_bench_sample(const struct mf_env *env, const struct mf_bench_area *area, uint32_t nth,
                         size_t size, mf_bench_fn copy, void *arg)
{
    size_t at = nth * size % MF_BENCH_BYTES;
    if (at + size > MF_BENCH_BYTES) {
        at = 0;
    }
    uint64_t start = mf_now_ns(env);
    copy(arg, area->dst + at, area->src + at, size);
    mf_copy_flush(area->dst + at, size);
    uint64_t end = mf_now_ns(env);
    mf_copy_flush(area->src + at, size);
    return end - start;
}

uint64_t mf_bench_best(const uint64_t *samples, uint32_t count)
{
    uint64_t best = samples[0];
    for (uint32_t i = 1; i < count; i++) {
        best = samples[i] < best ? samples[i] : best;
    }
    return best;
}
