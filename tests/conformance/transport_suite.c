// SPDX-License-Identifier: Apache-2.0
// Starts the ranks of each case as processes, lets them meet, and collects what they say.
#include "transport_suite.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "mf_test.h"
#include "smem_bm_def.h"
#include "transport/transport.h"

#define EXIT_SKIPPED 77
#define CASE_LIMIT_S 40
#define BARRIER_MS   20000u
#define POLL_US      200

#define APART (1ull << 36)

/* From the command line: "direct" or the path of a plug-in; device or NULL; whether each rank has
 * the pool at other addresses than its global ones. */
struct suite {
    const char *transport;
    const char *device;
    bool translated;
    bool unmapped; /* MF_PEER_MAP=never */
};

struct ts_case {
    const char *name;
    ts_case_fn fn;
    uint32_t ranks;
};

static void pause_a_little(void)
{
    struct timespec span = {.tv_nsec = POLL_US * 1000};
    nanosleep(&span, NULL);
}

void ts_fail(const struct ts_rank *r, const char *file, int line, const char *fmt, ...)
{
    va_list args;
    char text[400];
    int none = 0;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (atomic_compare_exchange_strong(&r->shared->failed, &none, 1)) {
        snprintf(r->shared->text, sizeof(r->shared->text), "%s:%d: rank %u: %s", file, line,
                 r->rank, text);
    }
    _exit(1);
}

void ts_skip(const struct ts_rank *r, const char *why)
{
    snprintf(r->shared->text, sizeof(r->shared->text), "%s", why);
    atomic_store(&r->shared->skipped, 1);
    _exit(EXIT_SKIPPED);
}

void ts_check_rc(const struct ts_rank *r, int got, int want, const char *expr, const char *file,
                 int line)
{
    if (got != want) {
        ts_fail(r, file, line, "%s is %d and not %d: %s", expr, got, want, mf_err_msg());
    }
}

static void nothing(void *arg)
{
    (void)arg;
}

void ts_barrier(struct ts_rank *r)
{
    _Atomic uint32_t *arrived = &r->shared->arrived[r->next_barrier++];
    uint64_t deadline = th_deadline(&r->th, BARRIER_MS);
    atomic_fetch_add(arrived, 1);
    while (atomic_load(arrived) < r->world) {
        if (atomic_load(&r->shared->failed)) {
            _exit(1);
        }
        TS_CHECK(r, mf_now_ns(&r->th.env) < deadline);
        pause_a_little();
    }
    /* What the loop's thread wrote for a peer before is seen by this thread from here on. */
    mf_loop_call(r->th.loop, nothing, NULL);
    /* And what a thread of the transport wrote: it was under the transport's lock since. */
    char text[256];
    (void)r->th.ops->explain(r->th.tp, r->rank, text, sizeof(text));
}

int ts_soon(int (*is)(struct ts_rank *r), struct ts_rank *r)
{
    uint64_t deadline = th_deadline(&r->th, 2000);
    int yes = is(r);
    while (!yes && mf_now_ns(&r->th.env) < deadline) {
        pause_a_little();
        yes = is(r);
    }
    return yes;
}

void ts_attach(struct ts_rank *r, uint32_t to)
{
    const struct ts_shared *shared = r->shared;
    TS_RC(r,
          th_attach(&r->th, to, shared->incarnation[to], shared->endpoint[to],
                    shared->endpoint_len[to], 10000),
          SMEM_OK);
}

static uint8_t pattern_at(uint64_t i, uint32_t seed)
{
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ull + seed;
    return (uint8_t)(x >> 56);
}

void ts_pattern(uint8_t *buf, uint64_t size, uint32_t seed)
{
    for (uint64_t i = 0; i < size; i++) {
        buf[i] = pattern_at(i, seed);
    }
}

int ts_is_pattern(const uint8_t *buf, uint64_t size, uint32_t seed)
{
    for (uint64_t i = 0; i < size; i++) {
        if (buf[i] != pattern_at(i, seed)) {
            return 0;
        }
    }
    return 1;
}

/* The entry of the registry, which stays until the process ends. */
static const struct mf_transport_ops *find_ops(const struct ts_rank *r, const struct suite *suite)
{
    static struct mf_log log = MF_LOG_INIT;
    static struct mf_config config;
    struct mf_env env;
    struct mf_transport_registry *registry;
    mf_env_init_real(&env, &log);
    mf_config_defaults(&config);
    if (strchr(suite->transport, '/')) {
        TS_RC(r, mf_config_set(&config, MF_OPT_TRANSPORT, suite->transport), SMEM_OK);
    }
    TS_RC(r, mf_transport_registry_create(&env, &config, &registry), SMEM_OK);
    const struct mf_transport_entry *entry = mf_transport_at(registry, 0);
    TS_CHECK(r, entry && (strchr(suite->transport, '/') ||
                          strcmp(entry->ops.name, suite->transport) == 0));
    return &entry->ops;
}

/* The peer may have come to us at the same time: then what it told is just being entered. */
static bool wait_for_segments(struct ts_rank *r, uint32_t rank, uint32_t count)
{
    for (int i = 0; i < 1000 && th_count(&r->th, rank) != count; i++) {
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
    return th_count(&r->th, rank) == count;
}

static void meet(struct ts_rank *r, const struct suite *suite)
{
    struct th_cfg cfg = {.ops = find_ops(r, suite), .rank = r->rank};
    cfg.device = cfg.ops->caps & MF_CAP_DEVICE ? suite->device : NULL;
    cfg.flags = suite->unmapped ? MF_HOST_PEERS_UNMAPPED : 0;
    cfg.here = suite->translated ? TH_BASE + (r->rank + 1) * APART : 0;
    TS_RC(r, th_open(&r->th, &cfg), SMEM_OK);
    TS_RC(r, th_publish(&r->th, MF_KIND_DRAM, 0, TS_DRAM, &r->dram), SMEM_OK);
    if (cfg.device) {
        TS_RC(r, th_publish(&r->th, MF_KIND_HBM, 0, TS_HBM, &r->hbm), SMEM_OK);
    }
    TS_CHECK(r, r->th.endpoint_len <= MF_ENDPOINT_MAX);
    memcpy(r->shared->endpoint[r->rank], r->th.endpoint, r->th.endpoint_len);
    r->shared->endpoint_len[r->rank] = r->th.endpoint_len;
    r->shared->incarnation[r->rank] = r->th.host.incarnation;
    atomic_store(&r->shared->pid[r->rank], (int)getpid());
    ts_barrier(r);
    for (uint32_t to = 0; to < r->world; to++) {
        if (to != r->rank) {
            ts_attach(r, to);
            TS_CHECK(r, wait_for_segments(r, to, 1u + (cfg.device != NULL)));
            if (suite->unmapped && th_find(&r->th, to, MF_KIND_DRAM, 0)->host != 0) {
                ts_skip(r, "process_vm_readv is not allowed between these processes");
            }
        }
    }
    TS_RC(r, r->th.ops->lane_open(r->th.tp, &r->lane), SMEM_OK);
    ts_barrier(r);
}

static void part(struct ts_rank *r)
{
    r->th.ops->lane_close(r->th.tp, r->lane);
    for (uint32_t to = 0; to < r->world; to++) {
        TS_RC(
            r,
            r->th.ops->detach(r->th.tp, to, r->shared->incarnation[to], UINT32_MAX, MF_DETACH_LEFT),
            SMEM_OK);
    }
    if (r->dram.segment.desc.size) {
        TS_RC(r, th_withdraw(&r->th, &r->dram, 2000), SMEM_OK);
    }
    if (r->hbm.segment.desc.size) {
        TS_RC(r, th_withdraw(&r->th, &r->hbm, 2000), SMEM_OK);
    }
    th_close(&r->th);
}

static void rank_main(const struct suite *suite, const struct ts_case *c, struct ts_shared *shared,
                      uint32_t rank)
{
    static struct ts_rank r;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    r = (struct ts_rank){.shared = shared, .rank = rank, .world = c->ranks};
    meet(&r, suite);
    c->fn(&r);
    part(&r);
    exit(0);
}

/* Wait for one rank; kill all when one takes too long. */
static void collect(const struct ts_case *c, struct ts_shared *shared, const pid_t *pids)
{
    bool done[TS_RANKS] = {0};
    for (uint32_t left = c->ranks, polls = 0; left > 0; polls++) {
        for (uint32_t i = 0; i < c->ranks; i++) {
            int status = 0;
            if (done[i] || waitpid(pids[i], &status, WNOHANG) != pids[i]) {
                continue;
            }
            done[i] = true;
            left--;
            bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
                          (atomic_load(&shared->may_die) & 1u << i);
            bool ok = WIFEXITED(status) &&
                      (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == EXIT_SKIPPED);
            if (!killed && !ok && !atomic_exchange(&shared->failed, 1)) {
                snprintf(shared->text, sizeof(shared->text), "rank %u ended with status 0x%x", i,
                         status);
            }
        }
        if (polls > CASE_LIMIT_S * 1000000ull / POLL_US && !atomic_exchange(&shared->failed, 1)) {
            snprintf(shared->text, sizeof(shared->text), "hangs for %d s", CASE_LIMIT_S);
        }
        for (uint32_t i = 0; atomic_load(&shared->failed) && i < c->ranks; i++) {
            if (!done[i] && polls > CASE_LIMIT_S * 1000000ull / POLL_US) {
                kill(pids[i], SIGKILL);
            }
        }
        pause_a_little();
    }
}

static void run_case(const struct suite *suite, const struct ts_case *c)
{
    pid_t pids[TS_RANKS];
    struct ts_shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    fflush(NULL);
    for (uint32_t i = 0; i < c->ranks; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            rank_main(suite, c, shared, i);
        }
    }
    collect(c, shared, pids);
    bool failed = atomic_load(&shared->failed);
    bool skipped = atomic_load(&shared->skipped);
    if (failed || skipped) {
        print_message("%s: %s: %s\n", c->name, failed ? "failed" : "skipped", shared->text);
    }
    munmap(shared, sizeof(*shared));
    if (skipped && !failed) {
        skip();
    }
    assert_false(failed);
}

static const struct ts_case cases[] = {
    {"words_are_whole", ts_words_are_whole, 2},
    {"sizes_and_alignments", ts_sizes_and_alignments, 2},
    {"edges_of_a_segment", ts_edges_of_a_segment, 2},
    {"batch", ts_batch, 2},
    {"third_party", ts_third_party, 3},
    {"device_memory", ts_device_memory, 3},
    {"many", ts_many, 2},
    {"many_ends_with_its_segment", ts_many_ends_with_its_segment, 2},
    {"withdraw_is_final", ts_withdraw_is_final, 3},
    {"stale_segment_is_refused", ts_stale_segment_is_refused, 2},
    {"detach_and_attach_again", ts_detach_and_attach_again, 2},
    {"declared_dead_is_refused", ts_declared_dead_is_refused, 2},
    {"kill_in_the_middle_of_a_copy", ts_kill_in_the_middle_of_a_copy, 3},
    {"death_is_seen_though_a_child_lives", ts_death_is_seen_though_a_child_lives, 2},
    {"stopped_peer_costs_the_deadline", ts_stopped_peer_costs_the_deadline, 2},
    {"new_segments_need_another_attach", ts_new_segments_need_another_attach, 2},
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

/* What one cmocka test gets. */
struct bound_case {
    const struct suite *suite;
    const struct ts_case *c;
};

static void run_bound(void **state)
{
    const struct bound_case *bound = *state;
    run_case(bound->suite, bound->c);
}

int main(int argc, char **argv)
{
    struct suite suite = {.transport = argc > 1 ? argv[1] : "direct",
                          .device = argc > 2 && strcmp(argv[2], "none") != 0 ? argv[2] : NULL,
                          .translated = argc > 3 && strcmp(argv[3], "translated") == 0};
    const char *map = getenv("MF_PEER_MAP");
    suite.unmapped = map && strcmp(map, "never") == 0;
    struct CMUnitTest tests[CASES];
    struct bound_case bound[CASES];
    for (size_t i = 0; i < CASES; i++) {
        bound[i] = (struct bound_case){&suite, &cases[i]};
        tests[i] = (struct CMUnitTest){
            .name = cases[i].name, .test_func = run_bound, .initial_state = &bound[i]};
    }
    return cmocka_run_group_tests_name(suite.transport, tests, NULL, NULL);
}
