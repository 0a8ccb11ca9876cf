// SPDX-License-Identifier: Apache-2.0
// What it costs that a pool's global addresses are not this process's: the same copies into two
// pools of this rank, one of either sort, which take turns.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cases.h"

#define POOL_PLAIN 2u
#define POOL_WIDE  3u
#define POOL_BYTES (16ull << 20)
#define LIMIT_NS   5.0
#define NS         1e9

/** One pool and what is copied into it. */
struct target {
    smem_bm_t pool;
    uint8_t *base; /* its global address */
    void **dst;
};

struct job {
    const struct world *world;
    struct target plain, wide;
    uint8_t *local;
    void **src;
    uint64_t *bytes;
    uint32_t count; /* elements of a call */
    uint32_t calls; /* of a round */
};

/** One line of the result. */
struct kind {
    const char *name;
    uint32_t block, pitch;
    uint32_t count; /* elements of a call; 1: no batch */
    uint32_t copies;
};

static const struct kind kinds[] = {
    {"8-byte copies", 8, 64, 1, 200000},
    {"batches of 256 x 4 KiB", 4096, 4096, 256, 256 * 200},
    {"a batch of 100,000 x 16 bytes", 16, 64, 100000, 1000000},
};

/* ---- the pools ------------------------------------------------------------------------------ */

static int open_target(const struct world *world, uint32_t id, bool wide, struct target *target)
{
    smem_bm_create_option_t option = {
        .maxDramSize = POOL_BYTES,
        .localDRAMSize = POOL_BYTES,
        .dataOpType = (smem_bm_data_op_type_t)bench_transport_ops(world->cfg->transport),
        .enable56BitsGva = wide};

    target->pool = smem_bm_create2(id, &option);
    if (!target->pool) {
        return world_error(world, "create a second pool");
    }
    target->base = smem_bm_ptr_by_mem_type(target->pool, SMEM_MEM_TYPE_HOST, (uint16_t)world->rank);
    return smem_bm_join(target->pool, 0) ? world_error(world, "join a second pool") : 0;
}

static void close_target(struct target *target)
{
    if (target->pool) {
        smem_bm_destroy(target->pool);
    }
    free(target->dst);
}

/* ---- rounds --------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / NS;
}

static int copy_singly(const struct job *job, const struct target *target)
{
    uint32_t slots = (uint32_t)(POOL_BYTES / kinds[0].pitch) - 1;
    int rc = 0;

    for (uint32_t i = 0; i < job->calls && rc == 0; i++) {
        uint64_t at = (uint64_t)(i & (slots >> 4)) * kinds[0].pitch;
        smem_copy_params params = {job->local + at, target->base + at, job->bytes[0], NULL};
        rc = smem_bm_copy(target->pool, &params, SMEMB_COPY_H2G, 0);
    }
    return rc;
}

static double run(const struct job *job, const struct target *target)
{
    smem_batch_copy_params params = {
        .sources = job->src,
        .destinations = target->dst,
        .dataSizes = job->bytes,
        .batchSize = job->count,
    };
    double begin = now();
    int rc = 0;

    if (job->count == 1) {
        rc = copy_singly(job, target);
    }
    for (uint32_t i = 0; job->count > 1 && i < job->calls && rc == 0; i++) {
        rc = smem_bm_copy_batch(target->pool, &params, SMEMB_COPY_H2G, 0);
    }
    return rc ? world_error(job->world, "copy") : now() - begin;
}

static double run_wide(void *arg)
{
    const struct job *job = arg;

    return run(job, &job->wide);
}

static double run_plain(void *arg)
{
    const struct job *job = arg;

    return run(job, &job->plain);
}

/* ---- results -------------------------------------------------------------------------------- */

static void report_kind(const struct world *world, const struct kind *kind,
                        const struct stats_pairs *time, double copies, uint64_t wrong)
{
    struct report report = report_of(world);
    double scale = NS / copies;
    struct figure figure = {.unit = "ns an element more",
                            .measured = time->extra.median * scale,
                            .target = LIMIT_NS,
                            .at_most = true};
    struct out_json json;

    snprintf(figure.name, sizeof(figure.name), "translated, %s", kind->name);
    if (!world->cfg->json) {
        printf("\n%s: %.1f ns an element into a translated pool, %.1f into another, %llu wrong "
               "bytes\n",
               kind->name, time->ours.median * scale, time->base.median * scale,
               (unsigned long long)wrong);
        report_figure_text(&figure);
        return;
    }
    report_open(&report, &json);
    out_json_text(&json, "case", bench_case_names[CASE_TRANSLATED]);
    out_json_text(&json, "what", kind->name);
    out_json_u64(&json, "block", kind->block);
    out_json_u64(&json, "batch", kind->count);
    out_json_u64(&json, "pairs", time->pairs);
    out_json_real(&json, "translated_ns", time->ours.median * scale, 2);
    out_json_real(&json, "identity_ns", time->base.median * scale, 2);
    out_json_real(&json, "more_ns_q1", time->extra.q1 * scale, 2);
    out_json_real(&json, "more_ns_q3", time->extra.q3 * scale, 2);
    out_json_u64(&json, "wrong", wrong);
    report_close(&report, &json, &figure);
}

/* Bytes of the elements that did not arrive in the translated pool. */
static uint64_t count_wrong(const struct job *job, const struct kind *kind)
{
    void *va = NULL;
    uint64_t wrong = 0;

    if (smem_bm_gva_to_va(job->wide.pool, job->wide.base, SMEM_MEM_TYPE_LOCAL_HOST, &va)) {
        (void)world_error(job->world, "translate the address of a pool");
        return kind->block;
    }
    for (uint32_t i = 0; i < kind->count; i++) {
        uint64_t at = (uint64_t)i * kind->pitch;
        bool same = memcmp((const uint8_t *)va + at, job->local + at, kind->block) == 0;
        wrong += same ? 0 : kind->block;
    }
    return wrong;
}

static int run_kind(struct job *job, const struct kind *kind, uint64_t *wrong)
{
    struct stats_pairs time;

    for (uint64_t i = 0; i < POOL_BYTES; i++) {
        job->local[i] = (uint8_t)(i * 7 + i / 251 + kind->block);
    }
    for (uint32_t i = 0; i < kind->count; i++) {
        uint64_t at = (uint64_t)i * kind->pitch;
        job->src[i] = job->local + at;
        job->plain.dst[i] = job->plain.base + at;
        job->wide.dst[i] = job->wide.base + at;
        job->bytes[i] = kind->block;
    }
    job->count = kind->count;
    job->calls = kind->copies / kind->count;
    if (stats_compare(run_wide, run_plain, job, job->world->cfg->pairs, &time)) {
        return -1;
    }
    uint64_t bad = count_wrong(job, kind);
    *wrong += bad;
    report_kind(job->world, kind, &time, (double)job->calls * kind->count, bad);
    return 0;
}

int case_translated(struct world *world, uint64_t *wrong)
{
    struct job job = {.world = world};
    uint32_t most = kinds[2].count;
    int result = 0;

    job.local = malloc(POOL_BYTES);
    job.src = calloc(most, sizeof(*job.src));
    job.bytes = calloc(most, sizeof(*job.bytes));
    job.plain.dst = calloc(most, sizeof(*job.plain.dst));
    job.wide.dst = calloc(most, sizeof(*job.wide.dst));
    if (!job.local || !job.src || !job.bytes || !job.plain.dst || !job.wide.dst) {
        fprintf(stderr, "%s: out of memory for the case translated\n", BENCH_COMMAND);
        result = -1;
    }
    if (result == 0) {
        result = open_target(world, POOL_PLAIN, false, &job.plain);
    }
    if (result == 0) {
        result = open_target(world, POOL_WIDE, true, &job.wide);
    }
    for (size_t i = 0; result == 0 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        result = run_kind(&job, &kinds[i], wrong);
    }
    close_target(&job.plain);
    close_target(&job.wide);
    free(job.bytes);
    free(job.src);
    free(job.local);
    return result;
}
