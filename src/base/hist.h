// SPDX-License-Identifier: Apache-2.0
// A latency histogram of fixed size: log-linear buckets, 1/32 relative error, values in
// nanoseconds.
#ifndef MF_BASE_HIST_H
#define MF_BASE_HIST_H

#include <stdint.h>

#define MF_HIST_SUB     32u
#define MF_HIST_BUCKETS (60u * MF_HIST_SUB)

struct mf_hist {
    uint64_t count;
    uint64_t sum;
    uint64_t min; /* UINT64_MAX while empty */
    uint64_t max;
    uint64_t buckets[MF_HIST_BUCKETS];
};

void mf_hist_init(struct mf_hist *hist);
void mf_hist_add(struct mf_hist *hist, uint64_t value);
void mf_hist_merge(struct mf_hist *into, const struct mf_hist *from);
/** The value below which the share `q` (0..1) of all values lies; 0 while empty. */
uint64_t mf_hist_quantile(const struct mf_hist *hist, double q);

#endif
