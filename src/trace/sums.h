// SPDX-License-Identifier: Apache-2.0
// Adding up: what all blocks of a trace memory counted, at one moment or between two, and quantiles
// of the times. The blocks may be those of this process, written meanwhile, or a copy of another's.
#ifndef MF_TRACE_SUMS_H
#define MF_TRACE_SUMS_H

#include <stdint.h>

#include "trace/format.h"

/** One point. */
struct mf_trace_sum {
    uint64_t begun, good, bad, bytes;
    uint64_t calls, total_ns;              /* that the times stand for */
    uint64_t min_ns, max_ns;               /* 0: no call was timed */
    uint64_t period_min_ns, period_max_ns; /* likewise, of the period that was asked for */
    uint64_t buckets[MF_TRACE_BUCKETS];
};

struct mf_trace_sums {
    struct mf_trace_sum point[MF_TRACE_POINTS];
};

/** Add what one block has. `period` 0: extremes of no period. */
void mf_trace_sums_add(struct mf_trace_sums *sums, const struct mf_trace_block *block,
                       uint64_t period);

/** Calls that have begun and not ended. */
static inline uint64_t mf_trace_sum_on_fly(const struct mf_trace_sum *sum)
{
    uint64_t ended = sum->good + sum->bad;
    return sum->begun > ended ? sum->begun - ended : 0;
}

/** What came between two moments. Its shortest and longest time are as exact as the buckets. */
void mf_trace_sum_between(const struct mf_trace_sum *before, const struct mf_trace_sum *now,
                          struct mf_trace_sum *out);

/** The time below which the share `q` (0..1) of calls ended; within 1/8. 0: no call was timed. */
uint64_t mf_trace_sum_quantile(const struct mf_trace_sum *sum, double q);

#endif
