// SPDX-License-Identifier: Apache-2.0
// Sums over blocks, differences of sums, and quantiles from buckets.
#include "trace/sums.h"

#include <string.h>

static uint64_t get(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static void widen(uint64_t *min_ns, uint64_t *max_ns, uint64_t low, uint64_t high)
{
    if (low != 0 && (*min_ns == 0 || low < *min_ns)) {
        *min_ns = low;
    }
    if (high > *max_ns) {
        *max_ns = high;
    }
}

static void add_times(struct mf_trace_sum *sum, const struct mf_trace_times *times, uint64_t period)
{
    const struct mf_trace_extreme *extreme = &times->extreme[period & 1];
    uint64_t calls = get(&times->calls);
    if (calls == 0) {
        return; /* leaves pages alone that nobody has written */
    }
    sum->calls += calls;
    sum->total_ns += get(&times->total_ns);
    widen(&sum->min_ns, &sum->max_ns, get(&times->min_ns), get(&times->max_ns));
    if (period != 0 && get(&extreme->period) == period) {
        widen(&sum->period_min_ns, &sum->period_max_ns, get(&extreme->min_ns),
              get(&extreme->max_ns));
    }
    for (uint32_t i = 0; i < MF_TRACE_BUCKETS; i++) {
        sum->buckets[i] += get(&times->buckets[i]);
    }
}

void mf_trace_sums_add(struct mf_trace_sums *sums, const struct mf_trace_block *block,
                       uint64_t period)
{
    for (uint32_t p = 0; p < MF_TRACE_POINTS; p++) {
        const struct mf_trace_counts *counts = &block->counts[p];
        struct mf_trace_sum *sum = &sums->point[p];
        uint64_t begun = get(&counts->begun);
        if (begun == 0) {
            continue;
        }
        sum->good += get(&counts->good);
        sum->bad += get(&counts->bad);
        sum->bytes += get(&counts->bytes);
        sum->begun += begun;
        add_times(sum, &block->times[p], period);
    }
}

static uint64_t less(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0;
}

void mf_trace_sum_between(const struct mf_trace_sum *before, const struct mf_trace_sum *now,
                          struct mf_trace_sum *out)
{
    memset(out, 0, sizeof(*out));
    out->begun = less(now->begun, before->begun);
    out->good = less(now->good, before->good);
    out->bad = less(now->bad, before->bad);
    out->bytes = less(now->bytes, before->bytes);
    out->calls = less(now->calls, before->calls);
    out->total_ns = less(now->total_ns, before->total_ns);
    out->period_min_ns = now->period_min_ns;
    out->period_max_ns = now->period_max_ns;
    for (uint32_t i = 0; i < MF_TRACE_BUCKETS; i++) {
        out->buckets[i] = less(now->buckets[i], before->buckets[i]);
        if (out->buckets[i] != 0) {
            uint64_t low = mf_trace_bucket_low(i);
            uint64_t high = mf_trace_bucket_low(i + 1) - 1;
            widen(&out->min_ns, &out->max_ns, low < now->min_ns ? now->min_ns : low,
                  high > now->max_ns ? now->max_ns : high);
        }
    }
}

/* Within the bucket the calls are taken to lie evenly. */
static uint64_t place_in(const struct mf_trace_sum *sum, uint32_t bucket, double share)
{
    uint64_t low = mf_trace_bucket_low(bucket);
    uint64_t high = mf_trace_bucket_low(bucket + 1);
    uint64_t ns = low + (uint64_t)((double)(high - low) * share);
    ns = ns < sum->min_ns ? sum->min_ns : ns;
    return ns > sum->max_ns ? sum->max_ns : ns;
}

uint64_t mf_trace_sum_quantile(const struct mf_trace_sum *sum, double q)
{
    uint64_t all = 0;
    uint64_t seen = 0;
    uint32_t bucket = 0;
    for (uint32_t i = 0; i < MF_TRACE_BUCKETS; i++) {
        all += sum->buckets[i]; /* not `calls`: a writer may be between the two */
    }
    if (all == 0) {
        return 0;
    }
    double wanted = q * (double)all;
    while (bucket < MF_TRACE_BUCKETS - 1 && (double)(seen + sum->buckets[bucket]) < wanted) {
        seen += sum->buckets[bucket++];
    }
    uint64_t in = sum->buckets[bucket];
    return place_in(sum, bucket, in == 0 ? 0 : (wanted - (double)seen) / (double)in);
}
