// SPDX-License-Identifier: Apache-2.0
// Statistics of timed runs.
#include "stats.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Of sorted values, at `share` of the way from the first to the last. */
static double between(const double *values, size_t count, double share)
{
    double place = share * (double)(count - 1);
    size_t low = (size_t)place;
    size_t high = low + 1 < count ? low + 1 : low;

    return values[low] + (place - (double)low) * (values[high] - values[low]);
}

struct quartiles stats_quartiles(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), ascending);
    return (struct quartiles){.q1 = between(values, count, 0.25),
                              .median = between(values, count, 0.5),
                              .q3 = between(values, count, 0.75)};
}

double stats_percentile(double *values, size_t count, double share)
{
    size_t index = (size_t)ceil(share * (double)count);

    qsort(values, count, sizeof(*values), ascending);
    index = index > 0 ? index - 1 : 0;
    return values[index < count ? index : count - 1];
}

struct samples {
    double ours[STATS_PAIRS_MAX];
    double base[STATS_PAIRS_MAX];
    double ratio[STATS_PAIRS_MAX];
    double extra[STATS_PAIRS_MAX];
};

static bool run_pair(stats_run_fn ours, stats_run_fn base, void *arg, bool ours_first,
                     double *ours_s, double *base_s)
{
    if (ours_first) {
        *ours_s = ours(arg);
    }
    *base_s = base ? base(arg) : NAN;
    if (!ours_first) {
        *ours_s = ours(arg);
    }
    return *ours_s >= 0 && !(*base_s < 0);
}

int stats_compare(stats_run_fn ours, stats_run_fn base, void *arg, size_t pairs,
                  struct stats_pairs *out)
{
    static const struct quartiles none = {NAN, NAN, NAN};
    struct samples *samples = calloc(1, sizeof(*samples));
    double warm_ours = 0, warm_base = 0;
    bool good = samples && pairs > 0 && pairs <= STATS_PAIRS_MAX &&
                run_pair(ours, base, arg, true, &warm_ours, &warm_base);

    for (size_t i = 0; good && i < pairs; i++) {
        good = run_pair(ours, base, arg, i % 2 == 0, &samples->ours[i], &samples->base[i]);
        samples->ratio[i] = samples->base[i] / samples->ours[i];
        samples->extra[i] = samples->ours[i] - samples->base[i];
    }
    if (good) {
        out->ours = stats_quartiles(samples->ours, pairs);
        out->base = base ? stats_quartiles(samples->base, pairs) : none;
        out->ratio = base ? stats_quartiles(samples->ratio, pairs) : none;
        out->extra = base ? stats_quartiles(samples->extra, pairs) : none;
        out->pairs = pairs;
    }
    free(samples);
    return good ? 0 : -1;
}
