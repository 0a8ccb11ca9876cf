// SPDX-License-Identifier: Apache-2.0
// A latency histogram that ranks can add up: 16 buckets to each power of two, so 6 % wide.
#ifndef MFCLI_REPLAY_HIST_H
#define MFCLI_REPLAY_HIST_H

#include <stdint.h>

#define HIST_SUB     16u
#define HIST_BUCKETS (61u * HIST_SUB)

struct hist {
    uint64_t count;
    uint64_t buckets[HIST_BUCKETS];
};

void hist_add(struct hist *hist, uint64_t value);
void hist_merge(struct hist *into, const struct hist *from);
/** The middle of the bucket below which the share `q` of all values lies; 0 while empty. */
double hist_quantile(const struct hist *hist, double q);

#endif
