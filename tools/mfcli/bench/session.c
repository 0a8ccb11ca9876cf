// SPDX-License-Identifier: Apache-2.0
// The order of a run: every block size with all its paths, then the cases.
#include "session.h"

#include <inttypes.h>
#include <stdio.h>

#include "args.h"
#include "cases.h"
#include "partner.h"

struct session {
    struct world world;
    struct report report;
    struct out_progress bar;
    uint64_t done;
    uint64_t wrong;
};

static uint64_t steps(const struct bench_cfg *cfg)
{
    return (uint64_t)__builtin_popcount(cfg->paths) * cfg->size_count +
           (uint64_t)__builtin_popcount(cfg->cases &
                                        (SESSION_CASES | CHECKED_CASES | UNMAPPED_CASES));
}

static void step(struct session *session)
{
    out_progress_show(&session->bar, ++session->done);
}

static int run_size(struct session *session, uint64_t block)
{
    struct world *world = &session->world;
    const struct bench_cfg *cfg = world->cfg;
    struct shape shape;

    if (shape_init(&shape, SHAPE_WALK, block, block, world->bytes)) {
        fprintf(stderr,
                "%s: blocks of %" PRIu64 " bytes are left out: the working set is %" PRIu64
                " bytes\n",
                BENCH_COMMAND, block, world->bytes);
        return 0;
    }
    report_head(&session->report, block, cfg->batch);
    for (uint32_t i = 0; i < PATH_COUNT; i++) {
        struct measure what;
        struct point point;

        if (!(cfg->paths & 1u << i)) {
            continue;
        }
        what = measure_default(world, &bench_paths[i], &shape, (uint32_t)cfg->batch);
        if (measure_run(world, &what, &point)) {
            return -1;
        }
        session->wrong += point.wrong;
        out_progress_fini(&session->bar);
        report_point(&session->report, &point);
        out_progress_init(&session->bar, "bench", steps(cfg), cfg->json);
        step(session);
    }
    return 0;
}

static int run_cases(struct session *session)
{
    static int (*const cases[CASE_COUNT])(struct world *, uint64_t *) = {
        [CASE_122] = case_122,
        [CASE_SMALL] = case_small,
        [CASE_LAT8] = case_lat8,
        [CASE_PLAN] = case_plan,
        [CASE_TRANSLATED] = case_translated,
        [CASE_TRACE] = case_trace,
        [CASE_PREPARED] = case_prepared,
        [CASE_REQUEST] = case_request,
        [CASE_CHECKSUM] = case_checksum,
        [CASE_VM] = case_vm,
    };

    for (uint32_t i = 0; i < CASE_COUNT; i++) {
        if ((session->world.cfg->cases & 1u << i) && cases[i]) {
            if (cases[i](&session->world, &session->wrong)) {
                return -1;
            }
            step(session);
        }
    }
    return 0;
}

static int measure_everything(struct session *session)
{
    const struct bench_cfg *cfg = session->world.cfg;
    int result = partner_meet(&session->world);

    out_progress_init(&session->bar, "bench", steps(cfg), cfg->json);
    for (uint32_t i = 0; result == 0 && cfg->paths && i < cfg->size_count; i++) {
        result = run_size(session, cfg->sizes[i]);
    }
    if (result == 0) {
        result = run_cases(session);
    }
    out_progress_fini(&session->bar);
    if (partner_end(&session->world)) {
        result = -1;
    }
    if (session->wrong) {
        fprintf(stderr, "%s: %" PRIu64 " wrong bytes\n", BENCH_COMMAND, session->wrong);
        result = -1;
    }
    return result;
}

int session_run(const struct bench_cfg *cfg)
{
    struct session session = {.wrong = 0};
    int result = 0;

    if (world_open(&session.world, cfg)) {
        return CLI_FAILURE;
    }
    session.report = report_of(&session.world);
    result = session.world.rank == 0 ? measure_everything(&session) : partner_serve(&session.world);
    world_close(&session.world);
    return result ? CLI_FAILURE : CLI_OK;
}
