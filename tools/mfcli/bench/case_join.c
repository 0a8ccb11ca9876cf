// SPDX-License-Identifier: Apache-2.0
// Many processes that join one pool: all but one at once, then one more; what an idle one costs;
// how long the end of one takes. The ranks are forked before this process has threads and wait at
// gates, so that starting processes is no part of what is measured.
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "store_host.h"
#include "cases.h"
#include "machine.h"

#define RANKS_MAX   1024u
#define RANK_BYTES  (2ull << 20)
#define JOIN_POOL   3u
#define POLL_NS     500000u
#define SETTLE_NS   1500000000u
#define PATIENCE_S  120.0
#define ONE_MORE_MS 100.0
#define IDLE_MIB    8.0
#define WAKE_UPS    2.0
#define END_MS      20.0
#define DESCRIPTORS 8u

/* Gates that ranks wait at: a pipe each, open when its write end is closed. */
enum gate { GATE_ALL, GATE_ONE_MORE, GATE_END_ONE, GATE_END_ALL, GATE_EXIT, GATE_COUNT };

/* What a rank tells, in memory that all share; times of the common clock. */
struct rank_times {
    _Atomic int state; /* 1 joined, 2 ended, -1 failed */
    double begin, started, created, joined;
    double destroyed, ended, end_begin;
};

struct shared {
    char url[STORE_URL_BYTES];
    struct rank_times ranks[RANKS_MAX];
};

struct join {
    const struct bench_cfg *cfg;
    uint32_t ranks;
    struct shared *shared;
    int gates[GATE_COUNT][2];
    pid_t *pids;
};

/* ---- a rank --------------------------------------------------------------------------------- */

static void pass(const struct join *join, enum gate gate)
{
    char byte = 0;

    while (read(join->gates[gate][0], &byte, 1) < 0 && errno == EINTR) {
    }
}

static int fail(uint32_t rank, const char *what)
{
    fprintf(stderr, "%s: join: rank %u of many: %s: %s\n", BENCH_COMMAND, rank, what,
            smem_get_last_err_msg());
    return -1;
}

static int come(const struct join *join, uint32_t rank, struct rank_times *times, smem_bm_t *pool)
{
    smem_bm_create_option_t option = {.maxDramSize = RANK_BYTES, .localDRAMSize = RANK_BYTES};
    smem_bm_config_t config;

    option.dataOpType = (smem_bm_data_op_type_t)bench_transport_ops(join->cfg->transport);
    smem_bm_config_init(&config);
    config.autoRanking = false;
    config.startConfigStoreServer = false;
    config.rankId = rank;
    times->begin = machine_now();
    if (smem_bm_init(join->shared->url, join->ranks, 0, &config)) {
        return fail(rank, "start");
    }
    times->started = machine_now();
    *pool = smem_bm_create2(JOIN_POOL, &option);
    if (!*pool) {
        return fail(rank, "create");
    }
    times->created = machine_now();
    if (smem_bm_join(*pool, 0)) {
        return fail(rank, "join");
    }
    times->joined = machine_now();
    return 0;
}

static void be_rank(const struct join *join, uint32_t rank)
{
    struct rank_times *times = &join->shared->ranks[rank];
    bool last = rank == join->ranks - 1;
    smem_bm_t pool = NULL;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < GATE_COUNT; i++) {
        close(join->gates[i][1]);
    }
    pass(join, last ? GATE_ONE_MORE : GATE_ALL);
    if (join->shared->url[0] == '\0' || come(join, rank, times, &pool)) {
        atomic_store(&times->state, -1);
        _exit(1);
    }
    atomic_store(&times->state, 1);
    pass(join, last ? GATE_END_ONE : GATE_END_ALL);
    times->end_begin = machine_now();
    smem_bm_destroy(pool);
    times->destroyed = machine_now();
    smem_bm_uninit(0);
    times->ended = machine_now();
    atomic_store(&times->state, 2);
    /* No process goes while others still hear of it. */
    pass(join, GATE_EXIT);
    _exit(0);
}

/* ---- the conductor -------------------------------------------------------------------------- */

static void open_gate(struct join *join, enum gate gate)
{
    if (join->gates[gate][1] >= 0) {
        close(join->gates[gate][1]);
        join->gates[gate][1] = -1;
    }
}

/* Until ranks first..last-1 are at `state`. @return 0, or -1 when one failed or the time is over */
static int wait_for(const struct join *join, uint32_t first, uint32_t last, int state)
{
    double deadline = machine_now() + PATIENCE_S;
    uint32_t at = first;

    while (at < last) {
        int now = atomic_load(&join->shared->ranks[at].state);

        if (now == state) {
            at++;
        } else if (now < 0) {
            return -1;
        } else if (machine_now() > deadline) {
            fprintf(stderr, "%s: join: rank %u is not done after %g s\n", BENCH_COMMAND, at,
                    PATIENCE_S);
            return -1;
        } else {
            machine_sleep_ns(POLL_NS);
        }
    }
    return 0;
}

/* What a process has for itself: the pool's memory is shared and not counted. */
static double own_mib(pid_t pid)
{
    uint64_t all = machine_status_bytes(pid, "VmRSS"), pool = machine_status_bytes(pid, "RssShmem");

    return (double)(all > pool ? all - pool : 0) / (1u << 20);
}

struct idle {
    double own_mib, wake_ups; /* the most of all ranks */
};

static struct idle watch_idle(const struct join *join)
{
    uint64_t *before = cli_alloc(join->ranks, sizeof(*before));
    double start = 0, seconds = 0;
    struct idle idle = {0, 0};

    machine_sleep_ns(SETTLE_NS);
    start = machine_now();
    for (uint32_t i = 0; i < join->ranks; i++) {
        before[i] = machine_switches(join->pids[i]);
    }
    machine_sleep_ns(join->cfg->idle_ms * 1000000u);
    seconds = machine_now() - start;
    for (uint32_t i = 0; i < join->ranks; i++) {
        double wakes = (double)(machine_switches(join->pids[i]) - before[i]) / seconds;
        double mib = own_mib(join->pids[i]);

        idle.wake_ups = wakes > idle.wake_ups ? wakes : idle.wake_ups;
        idle.own_mib = mib > idle.own_mib ? mib : idle.own_mib;
    }
    free(before);
    return idle;
}

/* From the opening of the gate to the last join. */
static double all_joined(const struct join *join, double opened)
{
    double last = opened;

    for (uint32_t i = 0; i + 1 < join->ranks; i++) {
        double joined = join->shared->ranks[i].joined;

        last = joined > last ? joined : last;
    }
    return last - opened;
}

/* ---- results -------------------------------------------------------------------------------- */

/* The project's figures are for 64 and 256 ranks. */
static double all_limit_s(uint32_t ranks)
{
    return ranks <= 64 ? 2.0 : 8.0 * (ranks > 256 ? ranks / 256.0 : 1.0);
}

static void print_figure(const struct report *report, uint32_t ranks, const char *name,
                         const char *unit, double measured, double limit)
{
    struct figure figure = {.unit = unit, .measured = measured, .target = limit, .at_most = true};
    struct out_json json;

    snprintf(figure.name, sizeof(figure.name), "%s", name);
    if (!report->cfg->json) {
        report_figure_text(&figure);
        return;
    }
    report_open(report, &json);
    out_json_text(&json, "case", bench_case_names[CASE_JOIN]);
    out_json_u64(&json, "ranks", ranks);
    report_close(report, &json, &figure);
}

static void report_join(const struct join *join, double all_s, const struct idle *idle)
{
    struct report report = {.cfg = join->cfg, .device = "none"};
    const struct rank_times *last = &join->shared->ranks[join->ranks - 1];
    double one_more = (last->joined - last->begin) * 1000;
    double end = (last->ended - last->end_begin) * 1000;
    uint32_t n = join->ranks;

    if (!join->cfg->json) {
        printf("\njoin of %u processes: %u in %.3f s, one more in %.1f ms (start %.1f, create "
               "%.1f, join %.1f)\n",
               n, n - 1, all_s, one_more, (last->started - last->begin) * 1000,
               (last->created - last->started) * 1000, (last->joined - last->created) * 1000);
    }
    print_figure(&report, n, "all join, and one more", "s", all_s + one_more / 1000,
                 all_limit_s(n));
    print_figure(&report, n, "one more rank joins", "ms", one_more, ONE_MORE_MS);
    print_figure(&report, n, "idle rank, memory of its own", "MiB", idle->own_mib, IDLE_MIB);
    print_figure(&report, n, "idle rank, wake-ups", "a second", idle->wake_ups, WAKE_UPS);
    print_figure(&report, n, "destroy and uninit of a rank", "ms", end, END_MS);
}

/* ---- life ----------------------------------------------------------------------------------- */

static int conduct(struct join *join)
{
    uint32_t n = join->ranks;
    double opened = machine_now(), all_s = 0;
    struct idle idle;

    open_gate(join, GATE_ALL);
    if (wait_for(join, 0, n - 1, 1)) {
        return -1;
    }
    all_s = all_joined(join, opened);
    open_gate(join, GATE_ONE_MORE);
    if (wait_for(join, n - 1, n, 1)) {
        return -1;
    }
    idle = watch_idle(join);
    open_gate(join, GATE_END_ONE);
    if (wait_for(join, n - 1, n, 2)) {
        return -1;
    }
    open_gate(join, GATE_END_ALL);
    if (wait_for(join, 0, n - 1, 2)) {
        return -1;
    }
    report_join(join, all_s, &idle);
    return 0;
}

static int start_ranks(struct join *join)
{
    fflush(stdout);
    for (int i = 0; i < GATE_COUNT; i++) {
        if (pipe(join->gates[i])) {
            fprintf(stderr, "%s: join: pipe: %s\n", BENCH_COMMAND, strerror(errno));
            return -1;
        }
    }
    for (uint32_t rank = 0; rank < join->ranks; rank++) {
        join->pids[rank] = fork();
        if (join->pids[rank] == 0) {
            be_rank(join, rank);
        }
        if (join->pids[rank] < 0) {
            fprintf(stderr, "%s: join: process %u of %u: %s\n", BENCH_COMMAND, rank, join->ranks,
                    strerror(errno));
            return -1;
        }
    }
    return 0;
}

static void end_ranks(struct join *join, bool kill_them)
{
    open_gate(join, GATE_EXIT);
    for (uint32_t rank = 0; rank < join->ranks; rank++) {
        if (join->pids[rank] > 0) {
            if (kill_them) {
                kill(join->pids[rank], SIGKILL);
            }
            waitpid(join->pids[rank], NULL, 0);
        }
    }
    for (int i = 0; i < GATE_COUNT; i++) {
        open_gate(join, (enum gate)i);
        if (join->gates[i][0] >= 0) {
            close(join->gates[i][0]);
        }
    }
}

static int run_join(const struct bench_cfg *cfg, uint32_t ranks)
{
    struct join join = {.cfg = cfg, .ranks = ranks};
    struct store_host store = {.store = NULL};
    int result = -1;

    memset(join.gates, -1, sizeof(join.gates));
    join.shared =
        mmap(NULL, sizeof(*join.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (join.shared == MAP_FAILED) {
        fprintf(stderr, "%s: join: shared memory: %s\n", BENCH_COMMAND, strerror(errno));
        return -1;
    }
    join.pids = cli_alloc(ranks, sizeof(*join.pids));
    if (start_ranks(&join) == 0 &&
        store_host_open(&store, "tcp://127.0.0.1:0", BENCH_COMMAND) == 0) {
        memcpy(join.shared->url, store.url, sizeof(store.url));
        result = conduct(&join);
    }
    end_ranks(&join, result != 0);
    if (store.store) {
        store_host_close(&store);
    }
    free(join.pids);
    munmap(join.shared, sizeof(*join.shared));
    return result;
}

int case_join(const struct bench_cfg *cfg)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < RANKS_MAX * DESCRIPTORS) {
        limit.rlim_cur =
            limit.rlim_max < RANKS_MAX * DESCRIPTORS ? limit.rlim_max : RANKS_MAX * DESCRIPTORS;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return run_join(cfg, (uint32_t)cfg->join_ranks);
}
