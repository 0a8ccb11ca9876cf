// SPDX-License-Identifier: Apache-2.0
// Prints the result of a replay.
#include "report.h"

#include <inttypes.h>
#include <stdio.h>

#include "out.h"

struct figures {
    double hit_ratio, remote_fraction, gb_per_s, blocks_per_s, put_gb_per_s, requests_per_s;
    double p50_us, p99_us;
};

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static struct figures figures_of(const struct replay_result *r)
{
    const struct replay_stats *s = &r->sum;

    return (struct figures){
        .hit_ratio = ratio((double)s->hits, (double)s->blocks),
        .remote_fraction = ratio((double)s->remote, (double)s->blocks),
        .gb_per_s = ratio((double)s->got_bytes, (double)s->get_ns),
        .blocks_per_s = ratio((double)s->hits * 1e9, (double)s->get_ns),
        .put_gb_per_s = ratio((double)s->put_bytes, (double)s->put_ns),
        .requests_per_s = ratio((double)s->requests, r->seconds),
        .p50_us = hist_quantile(&s->get_hist, 0.5) / 1000,
        .p99_us = hist_quantile(&s->get_hist, 0.99) / 1000,
    };
}

static void print_json(const struct replay_result *r)
{
    struct figures f = figures_of(r);
    const struct replay_stats *s = &r->sum;
    struct out_json json;

    out_json_open(&json, stdout);
    out_json_text(&json, "workload", r->cfg->trace_path ? r->cfg->trace_path : "generated");
    out_json_text(&json, "op", r->cfg->op_name);
    out_json_u64(&json, "ranks", r->cfg->ranks);
    out_json_u64(&json, "clients", r->cfg->clients);
    out_json_u64(&json, "block", r->cfg->block_bytes);
    out_json_u64(&json, "capacity", r->cfg->capacity);
    out_json_u64(&json, "requests", s->requests);
    out_json_u64(&json, "blocks", s->blocks);
    out_json_u64(&json, "hits", s->hits);
    out_json_real(&json, "hit_ratio", f.hit_ratio, 5);
    out_json_real(&json, "remote_fraction", f.remote_fraction, 4);
    out_json_real(&json, "gb_per_s", f.gb_per_s, 3);
    out_json_real(&json, "blocks_per_s", f.blocks_per_s, 0);
    out_json_real(&json, "get_p50_us", f.p50_us, 1);
    out_json_real(&json, "get_p99_us", f.p99_us, 1);
    out_json_u64(&json, "puts", s->puts);
    out_json_real(&json, "put_gb_per_s", f.put_gb_per_s, 3);
    out_json_u64(&json, "evictions", s->evictions);
    out_json_u64(&json, "lost", s->lost);
    out_json_u64(&json, "not_put", s->unput);
    out_json_u64(&json, "expired", s->expired);
    out_json_real(&json, "seconds", r->seconds, 3);
    out_json_real(&json, "requests_per_s", f.requests_per_s, 0);
    out_json_u64(&json, "wrong_bytes", s->wrong_bytes);
    if (r->error) {
        out_json_text(&json, "error", r->error);
    }
    out_json_close(&json);
}

static void print_table(const struct replay_result *r)
{
    struct figures f = figures_of(r);
    const struct replay_stats *s = &r->sum;
    double mib = 1 << 20;

    printf("workload        %s\n", r->cfg->trace_path ? r->cfg->trace_path : "generated");
    printf("world           %u ranks, %u clients, blocks of %" PRIu64 " bytes, operator %s\n",
           r->cfg->ranks, r->cfg->clients, r->cfg->block_bytes, r->cfg->op_name);
    if (r->cfg->capacity) {
        printf("capacity        %.0f MiB of blocks, %" PRIu64 " evictions, %" PRIu64
               " gets lost their block\n",
               (double)r->cfg->capacity / mib, s->evictions, s->lost);
    }
    printf("requests        %" PRIu64 " in %.2f s, %.0f a second\n", s->requests, r->seconds,
           f.requests_per_s);
    printf("blocks          %" PRIu64 " asked for, %" PRIu64 " there: hit ratio %.5f\n", s->blocks,
           s->hits, f.hit_ratio);
    printf("remote          %.2f %% of the blocks belong to another rank\n",
           100 * f.remote_fraction);
    printf("gets            %.0f MiB, %.2f GB/s, %.0f blocks a second of a client's time\n",
           (double)s->got_bytes / mib, f.gb_per_s, f.blocks_per_s);
    printf("get, a request  p50 %.1f us, p99 %.1f us\n", f.p50_us, f.p99_us);
    printf("puts            %" PRIu64 " blocks, %.0f MiB, %.2f GB/s; %" PRIu64
           " blocks computed and not put\n",
           s->puts, (double)s->put_bytes / mib, f.put_gb_per_s, s->unput);
    printf("wrong bytes     %" PRIu64 "\n", s->wrong_bytes);
    if (r->error) {
        printf("failed          %s\n", r->error);
        printf("                (figures of rank 0 alone)\n");
    }
    fflush(stdout);
}

void report_print(const struct replay_result *result)
{
    if (result->cfg->json) {
        print_json(result);
    } else {
        print_table(result);
    }
}
