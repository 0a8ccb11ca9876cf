// SPDX-License-Identifier: Apache-2.0
// Latency of an 8-byte put: from call to return, and until a spinning peer sees it, beside what the
// processor itself needs from core to core.
#include <stdio.h>

#include "cases.h"
#include "ping.h"

#define PUT_BYTES    8u
#define PUT_PITCH    64u
#define PUTS         1000000u
#define PING_ROUNDS  20000u /* at most */
#define PING_FEW     100u
#define PUT_LIMIT_NS 50.0
#define SEEN_LIMIT   1.25
#define NS           1e9

/* ---- call to return ------------------------------------------------------------------------- */

static void report_put(const struct world *world, const struct point *point)
{
    struct report report = report_of(world);
    double ns = point->time.ours.median / (double)point->count * NS;
    struct figure figure = {.name = "8-byte put, call to return",
                            .unit = "ns",
                            .measured = ns,
                            .target = PUT_LIMIT_NS,
                            .at_most = true};
    struct out_json json;

    if (!world->cfg->json) {
        printf("\n8-byte put, mean of %llu: %.1f ns from call to return (memcpy %.1f), %llu wrong "
               "bytes\n",
               (unsigned long long)point->count, ns,
               point->time.base.median / (double)point->count * NS,
               (unsigned long long)point->wrong);
        report_figure_text(&figure);
        return;
    }
    report_open(&report, &json);
    out_json_text(&json, "case", bench_case_names[CASE_LAT8]);
    report_point_members(&report, &json, point);
    out_json_real(&json, "put_ns", ns, 2);
    out_json_real(&json, "memcpy_ns", point->time.base.median / (double)point->count * NS, 2);
    report_close(&report, &json, &figure);
}

static int call_to_return(struct world *world, uint64_t *wrong)
{
    struct measure what;
    struct shape shape;
    struct point point;

    shape_init(&shape, SHAPE_WALK, PUT_BYTES, PUT_PITCH, world->bytes);
    what = measure_default(world, &bench_paths[PATH_H2RH], &shape, 1);
    what.count = world->cfg->count ? world->cfg->count : PUTS;
    if (measure_run(world, &what, &point)) {
        return -1;
    }
    *wrong += point.wrong;
    report_put(world, &point);
    return 0;
}

/* ---- seen by a spinning peer ---------------------------------------------------------------- */

struct ping {
    struct world *world;
    uint64_t rounds;
};

static double play(const struct ping *ping, bool through_library)
{
    double seconds = 0;

    return ping_measure(ping->world, ping->rounds, through_library, &seconds) ? -1 : seconds;
}

static double ping_ours(void *arg)
{
    return play(arg, true);
}

static double ping_base(void *arg)
{
    return play(arg, false);
}

/* As many rounds as fit into the time of a round: on a busy machine each one may cost a time slice.
 */
static int count_rounds(struct ping *ping)
{
    double wanted = (double)ping->world->cfg->round_ms / 1000, seconds = 0;

    ping->rounds = PING_FEW;
    seconds = ping_ours(ping);
    if (seconds < 0) {
        return -1;
    }
    if (seconds * 2 * PING_ROUNDS <= wanted) {
        ping->rounds = PING_ROUNDS;
    } else if (seconds * 2 * PING_FEW < wanted) {
        ping->rounds = (uint64_t)(wanted / 2 / seconds);
    }
    return 0;
}

static void report_ping(const struct world *world, const struct stats_pairs *time)
{
    struct report report = report_of(world);
    struct figure figure = {.name = "8-byte put, until a spinning peer sees it",
                            .unit = "x core to core",
                            .measured = 1 / time->ratio.median,
                            .target = SEEN_LIMIT,
                            .at_most = true};
    struct out_json json;

    if (!world->cfg->json) {
        printf("\n8-byte put until a spinning peer sees it: %.1f ns; core to core: %.1f ns\n",
               time->ours.median * NS, time->base.median * NS);
        report_figure_text(&figure);
        return;
    }
    report_open(&report, &json);
    out_json_text(&json, "case", bench_case_names[CASE_LAT8]);
    out_json_text(&json, "path", bench_paths[PATH_H2RH].name);
    out_json_text(&json, "what", "one way of a ping-pong");
    out_json_u64(&json, "block", PUT_BYTES);
    out_json_u64(&json, "pairs", time->pairs);
    out_json_real(&json, "seen_ns", time->ours.median * NS, 2);
    out_json_real(&json, "core_to_core_ns", time->base.median * NS, 2);
    out_json_real(&json, "q1", 1 / time->ratio.q3, 3);
    out_json_real(&json, "q3", 1 / time->ratio.q1, 3);
    report_close(&report, &json, &figure);
}

int case_lat8(struct world *world, uint64_t *wrong)
{
    struct ping ping = {.world = world};
    struct stats_pairs time;

    if (call_to_return(world, wrong) || count_rounds(&ping) ||
        stats_compare(ping_ours, ping_base, &ping, world->cfg->pairs, &time)) {
        return -1;
    }
    report_ping(world, &time);
    return 0;
}
