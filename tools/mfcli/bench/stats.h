// SPDX-License-Identifier: Apache-2.0
// Medians, quartiles and percentiles, and the comparison by pairs: ours and a baseline take turns,
// each pair gives one ratio, and the median of the ratios is the result, since the speed of a
// machine drifts by more than what is measured.
#ifndef MFCLI_BENCH_STATS_H
#define MFCLI_BENCH_STATS_H

#include <stddef.h>
#include <stdint.h>

#define STATS_PAIRS_MAX 1001u

struct quartiles {
    double q1, median, q3;
};

/** Sorts `values`; quartiles lie between neighbours where needed. @param count at least 1 */
struct quartiles stats_quartiles(double *values, size_t count);
/** Sorts `values`. @return the least value that at least `share` (0..1) of all do not exceed */
double stats_percentile(double *values, size_t count, double share);

/** Runs once and gives the seconds it took; negative: it failed. */
typedef double (*stats_run_fn)(void *arg);

struct stats_pairs {
    struct quartiles ours;  /* seconds */
    struct quartiles base;  /* seconds; NaN without a baseline */
    struct quartiles ratio; /* base / ours of each pair: above 1, ours is faster; NaN likewise */
    struct quartiles extra; /* ours - base of each pair, seconds; NaN likewise */
    size_t pairs;
};

/**
 * One untimed run of each, then `pairs` pairs; who begins changes from pair to pair.
 *
 * @param base  may be NULL: no baseline
 * @param pairs 1..STATS_PAIRS_MAX
 * @return 0, or -1 when a run failed
 */
int stats_compare(stats_run_fn ours, stats_run_fn base, void *arg, size_t pairs,
                  struct stats_pairs *out);

#endif
