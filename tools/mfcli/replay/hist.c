// SPDX-License-Identifier: Apache-2.0
// A latency histogram of fixed size.
#include "hist.h"

#define SUB_BITS 4u

static uint32_t bucket_of(uint64_t value)
{
    uint32_t top = 0;

    if (value < HIST_SUB) {
        return (uint32_t)value;
    }
    top = 63u - (uint32_t)__builtin_clzll(value);
    return (top - SUB_BITS + 1) * HIST_SUB + (uint32_t)(value >> (top - SUB_BITS)) - HIST_SUB;
}

static double middle_of(uint32_t bucket)
{
    uint32_t power = bucket / HIST_SUB;

    if (power == 0) {
        return bucket;
    }
    return (double)(HIST_SUB + bucket % HIST_SUB) * (double)(1ull << (power - 1)) +
           (double)(1ull << (power - 1)) / 2;
}

void hist_add(struct hist *hist, uint64_t value)
{
    hist->count++;
    hist->buckets[bucket_of(value)]++;
}

void hist_merge(struct hist *into, const struct hist *from)
{
    into->count += from->count;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
}

double hist_quantile(const struct hist *hist, double q)
{
    double wanted = q * (double)hist->count;
    uint64_t seen = 0;

    for (uint32_t i = 0; hist->count && i < HIST_BUCKETS; i++) {
        seen += hist->buckets[i];
        if ((double)seen >= wanted && hist->buckets[i]) {
            return middle_of(i);
        }
    }
    return 0;
}
