// SPDX-License-Identifier: Apache-2.0
// What counting costs: the same puts with this thread's trace points on and off, by turns, to one
// place, so that nothing else of a copy varies.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cases.h"
#include "memfabric/mf_trace.h"
#include "stats.h"

#define LIMIT_NS  5.0
#define NS        1e9
#define BYTES_MAX 65536u
#define SHORT     10u /* rounds of a millisecond, so that many are left alone; more of them */

struct kind {
    uint64_t bytes, puts; /* of a round */
};

static const struct kind kinds[] = {{8, 20000}, {4096, 8000}, {65536, 800}};

struct job {
    struct world *world;
    const struct kind *kind;
    struct place target;
    uint8_t local[BYTES_MAX];
};

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / NS;
}

static double run(struct job *job, int32_t counted)
{
    smem_copy_params params = {.src = job->local,
                               .dest = (void *)(uintptr_t)job->target.base,
                               .dataSize = job->kind->bytes};
    int rc = mf_trace_thread(counted);
    double begin = now();

    for (uint64_t i = 0; i < job->kind->puts && rc == 0; i++) {
        rc = smem_bm_copy(job->world->pool, &params, SMEMB_COPY_H2GH, 0);
    }
    return rc ? world_error(job->world, "copy") : now() - begin;
}

static double run_counted(void *arg)
{
    return run(arg, 1);
}

static double run_uncounted(void *arg)
{
    return run(arg, 0);
}

static void report_kind(const struct world *world, const struct kind *kind,
                        const struct stats_pairs *time, uint64_t wrong)
{
    struct report report = report_of(world);
    double scale = NS / (double)kind->puts;
    struct figure figure = {.unit = "ns a call",
                            .measured = time->extra.median * scale,
                            .target = LIMIT_NS,
                            .at_most = true};
    struct out_json json;

    snprintf(figure.name, sizeof(figure.name), "trace point, puts of %llu bytes",
             (unsigned long long)kind->bytes);
    if (!world->cfg->json) {
        printf("\nputs of %llu bytes: %.1f ns counted, %.1f not, %llu wrong bytes\n",
               (unsigned long long)kind->bytes, time->ours.median * scale,
               time->base.median * scale, (unsigned long long)wrong);
        report_figure_text(&figure);
        return;
    }
    report_open(&report, &json);
    out_json_text(&json, "case", bench_case_names[CASE_TRACE]);
    out_json_text(&json, "what", "puts counted and not");
    out_json_u64(&json, "block", kind->bytes);
    out_json_u64(&json, "pairs", time->pairs);
    out_json_real(&json, "counted_ns", time->ours.median * scale, 2);
    out_json_real(&json, "uncounted_ns", time->base.median * scale, 2);
    out_json_real(&json, "more_ns_q1", time->extra.q1 * scale, 2);
    out_json_real(&json, "more_ns_q3", time->extra.q3 * scale, 2);
    out_json_u64(&json, "wrong_bytes", wrong);
    report_close(&report, &json, &figure);
}

/* What the partner's memory has, beside what was put there. @return -1 after a report */
static int count_wrong(struct job *job, uint64_t *wrong)
{
    static uint8_t back[BYTES_MAX];

    if (place_read(job->world, &job->target, 0, back, job->kind->bytes)) {
        return -1;
    }
    *wrong = 0;
    for (uint64_t i = 0; i < job->kind->bytes; i++) {
        *wrong += back[i] != job->local[i];
    }
    return 0;
}

static int run_kind(struct job *job, uint64_t *wrong)
{
    struct stats_pairs time;
    uint64_t here = 0;
    size_t pairs = job->world->cfg->pairs * SHORT;

    pairs = pairs < STATS_PAIRS_MAX ? pairs : STATS_PAIRS_MAX;
    memset(job->local, (int)(17 + job->world->run), sizeof(job->local));
    memset(job->local, 90, job->kind->bytes / 2);
    if (stats_compare(run_counted, run_uncounted, job, pairs, &time) || count_wrong(job, &here)) {
        return -1;
    }
    *wrong += here;
    report_kind(job->world, job->kind, &time, here);
    return 0;
}

int case_trace(struct world *world, uint64_t *wrong)
{
    static struct job job;
    int rc = 0;

    job.world = world;
    job.target = world_place(world, PLACE_DRAM, world_partner(world));
    if (mf_trace_thread(1) != SMEM_OK) {
        return world_error(world, "count copies");
    }
    if (world->bytes < BYTES_MAX) {
        fprintf(stderr, "%s: the working set is too small for the case %s\n", BENCH_COMMAND,
                bench_case_names[CASE_TRACE]);
        return -1;
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && rc == 0; i++) {
        job.kind = &kinds[i];
        rc = run_kind(&job, wrong);
    }
    (void)mf_trace_thread(1);
    return rc;
}
