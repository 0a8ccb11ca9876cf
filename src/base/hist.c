// SPDX-License-Identifier: Apache-2.0
// The latency histogram: values below MF_HIST_SUB have a bucket each, every power of two above is
// cut into MF_HIST_SUB equal buckets.
#include "base/hist.h"

#include <string.h>

#define SUB_BITS 5

_Static_assert(1u << SUB_BITS == MF_HIST_SUB, "SUB_BITS is the logarithm of MF_HIST_SUB");

static uint32_t bucket_of(uint64_t value)
{
    if (value < MF_HIST_SUB) {
        return (uint32_t)value;
    }
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - SUB_BITS;
    return shift * MF_HIST_SUB + (uint32_t)(value >> shift);
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_top(uint32_t bucket)
{
    if (bucket < MF_HIST_SUB) {
        return bucket;
    }
    uint32_t shift = bucket / MF_HIST_SUB - 1;
    uint64_t low = (uint64_t)(bucket % MF_HIST_SUB + MF_HIST_SUB) << shift;
    return low + ((1ull << shift) - 1);
}

void mf_hist_init(struct mf_hist *hist)
{
    memset(hist, 0, sizeof(*hist));
    hist->min = UINT64_MAX;
}

void mf_hist_add(struct mf_hist *hist, uint64_t value)
{
    hist->count++;
    hist->sum += value;
    if (value < hist->min) {
        hist->min = value;
    }
    if (value > hist->max) {
        hist->max = value;
    }
    hist->buckets[bucket_of(value)]++;
}

void mf_hist_merge(struct mf_hist *into, const struct mf_hist *from)
{
    into->count += from->count;
    into->sum += from->sum;
    if (from->min < into->min) {
        into->min = from->min;
    }
    if (from->max > into->max) {
        into->max = from->max;
    }
    for (uint32_t i = 0; i < MF_HIST_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
}

uint64_t mf_hist_quantile(const struct mf_hist *hist, double q)
{
    if (hist->count == 0) {
        return 0;
    }
    if (!(q > 0)) {
        return hist->min;
    }
    if (q >= 1) {
        return hist->max;
    }
    double share = q * (double)hist->count;
    uint64_t wanted = (uint64_t)share;
    if ((double)wanted < share) {
        wanted++;
    }
    uint64_t seen = 0;
    uint32_t bucket = 0;
    for (; bucket < MF_HIST_BUCKETS; bucket++) {
        seen += hist->buckets[bucket];
        if (seen >= wanted) {
            break;
        }
    }
    uint64_t top = bucket < MF_HIST_BUCKETS ? bucket_top(bucket) : hist->max;
    return top < hist->max ? top : hist->max;
}
