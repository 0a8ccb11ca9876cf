// SPDX-License-Identifier: Apache-2.0
// Measures one path with one shape of blocks: the bytes are checked once, everything is touched,
// then ours and memcpy take turns over the working set, then single calls are timed.
#ifndef MFCLI_BENCH_MEASURE_H
#define MFCLI_BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>

#include "list.h"
#include "stats.h"
#include "world.h"

/** What to measure. */
struct measure {
    const struct bench_path *path;
    struct shape shape;
    uint32_t batch; /* elements of a call; 1: single copies */
    uint64_t count; /* calls of a round; 0: as many as fill cfg->round_ms */
    size_t pairs;
    /* The baseline: memcpy over elements of this shape; or, when base_is_ours, the library's single
     * copies of them. */
    struct shape base_shape;
    bool base_is_ours;
};

struct point {
    const struct bench_path *path;
    uint64_t block, count, round_bytes, base_bytes, verified, wrong;
    uint32_t batch;
    struct stats_pairs time; /* of rounds */
    double p50_s, p99_s;     /* of calls */
    const char *baseline;    /* what it was; NULL: none */
};

/** The usual: ours against memcpy over the same shape. */
struct measure measure_default(const struct world *world, const struct bench_path *path,
                               const struct shape *shape, uint32_t batch);

/** Checks the bytes only. @return 0, or -1 after a report */
int measure_verify(struct world *world, const struct measure *what, struct point *out);
/** All of it. @return 0, or -1 after a report */
int measure_run(struct world *world, const struct measure *what, struct point *out);

/** Ratio of rates, ours to the baseline's, which may move a few bytes more or less in a round. */
static inline double point_ratio(const struct point *point, double of_times)
{
    return of_times * (double)point->round_bytes / (double)point->base_bytes;
}

static inline double point_gb_per_s(const struct point *point)
{
    return (double)point->round_bytes / point->time.ours.median / 1e9;
}

#endif
