// SPDX-License-Identifier: Apache-2.0
// The suite's processes: one test a case, which forks the ranks, lets each begin, run and end, and
// asks how all of them ended. Usage: test_conformance_bm [device [operator [filter]]]
#include "conformance/bm_suite.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "smem_config_store_api.h"

#define CASES_MAX    128
#define CASE_SECONDS 60

/* What the command line chose. */
static struct {
    const char *device;
    uint32_t op;
} chosen = {"none", SMEMB_DATA_OP_SDMA};

/* ---- checks and barriers ------------------------------------------------------------------------
 */

void bm_fail(const struct bm_rank *r, const char *file, int line, const char *what, long long got,
             long long want)
{
    atomic_store(&r->stage->failed, 1);
    fprintf(stderr, "rank %u: %s:%d: %s: %lld instead of %lld; error sentence: \"%s\"\n", r->rank,
            file, line, what, got, want, smem_get_last_err_msg());
    fflush(NULL);
    _exit(1);
}

uint64_t bm_now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void bm_sleep_ms(unsigned ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000l};
    nanosleep(&ts, NULL);
}

/* One turn of a wait for another rank. */
static void wait_a_little(const struct bm_rank *r)
{
    struct timespec ts = {0, 200000};
    if (atomic_load(&r->stage->failed)) {
        _exit(2); /* another one has said why */
    }
    nanosleep(&ts, NULL);
}

void bm_barrier(struct bm_rank *r)
{
    uint32_t mine = atomic_fetch_add(&r->stage->arrived, 1);
    uint32_t all = (mine / r->ranks + 1) * r->ranks;
    while (atomic_load(&r->stage->arrived) < all) {
        wait_a_little(r);
    }
}

void bm_set(struct bm_rank *r, uint32_t word, uint64_t value)
{
    atomic_store(&r->stage->word[word], value);
}

void bm_await(struct bm_rank *r, uint32_t word, uint64_t value)
{
    while (atomic_load(&r->stage->word[word]) < value) {
        wait_a_little(r);
    }
}

/* ---- memory -------------------------------------------------------------------------------------
 */

uint64_t bm_random(uint64_t *state, uint64_t below)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (*state >> 11) % below;
}

void bm_pattern(char *out, uint64_t size, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
    for (uint64_t i = 0; i < size; i += 8) {
        uint64_t word = bm_random(&state, UINT64_MAX);
        memcpy(out + i, &word, size - i < 8 ? size - i : 8);
    }
}

char *bm_gh(const struct bm_rank *r, uint32_t rank)
{
    return smem_bm_ptr_by_mem_type(r->pool, SMEM_MEM_TYPE_HOST, (uint16_t)rank);
}

char *bm_gd(const struct bm_rank *r, uint32_t rank)
{
    return smem_bm_ptr_by_mem_type(r->pool, SMEM_MEM_TYPE_DEVICE, (uint16_t)rank);
}

int bm_copy(struct bm_rank *r, void *dst, const void *src, uint64_t size, smem_bm_copy_type type)
{
    smem_copy_params p = {.src = src, .dest = dst, .dataSize = size};
    return smem_bm_copy(r->pool, &p, type, 0);
}

bool bm_maps_peers(void)
{
    const char *map = getenv("MF_PEER_MAP");
    return map == NULL || strcmp(map, "never") != 0;
}

enum reach { BY_LOAD, BY_DEVICE, BY_COPY };

char *bm_at(struct bm_rank *r, const void *gva)
{
    void *va = NULL;
    CHECK_OK(r, smem_bm_gva_to_va(r->pool, (void *)(uintptr_t)gva, SMEM_MEM_TYPE_LOCAL_HOST, &va));
    return va;
}

/* `va`: the address by which it is reached. */
static enum reach reach(struct bm_rank *r, const void *at, void **va)
{
    uint64_t addr = (uint64_t)(uintptr_t)at;
    *va = (void *)(uintptr_t)at;
    if (addr - r->ld < GIVEN && r->ld != 0) {
        return BY_DEVICE;
    }
    if (smem_bm_get_rank_id_by_gva(r->pool, (void *)(uintptr_t)at) >= SMEM_WORLD_SIZE_MAX ||
        smem_bm_gva_to_va(r->pool, (void *)(uintptr_t)at, SMEM_MEM_TYPE_LOCAL_HOST, va) ==
            SMEM_OK) {
        return BY_LOAD;
    }
    if (r->dev != NULL && smem_bm_gva_to_va(r->pool, (void *)(uintptr_t)at,
                                            SMEM_MEM_TYPE_LOCAL_DEVICE, va) == SMEM_OK) {
        return BY_DEVICE;
    }
    return BY_COPY;
}

void bm_poke(struct bm_rank *r, void *at, const void *bytes, uint64_t size)
{
    void *va = NULL;
    switch (reach(r, at, &va)) {
    case BY_LOAD:
        memcpy(va, bytes, size);
        break;
    case BY_DEVICE:
        CHECK_OK(r,
                 mf_device_copy(r->dev, (uint64_t)(uintptr_t)va, (uint64_t)(uintptr_t)bytes, size));
        break;
    case BY_COPY:
        CHECK_OK(r, bm_copy(r, at, bytes, size, SMEMB_COPY_H2G));
        break;
    }
}

bool bm_same(struct bm_rank *r, const void *at, const void *bytes, uint64_t size)
{
    void *va = NULL;
    enum reach how = reach(r, at, &va);
    if (size == 0) {
        return true;
    }
    if (how == BY_LOAD) {
        return memcmp(va, bytes, size) == 0;
    }
    char *back = malloc(size);
    CHECK(r, back != NULL);
    if (how == BY_DEVICE) {
        CHECK_OK(r,
                 mf_device_copy(r->dev, (uint64_t)(uintptr_t)back, (uint64_t)(uintptr_t)va, size));
    } else {
        CHECK_OK(r, bm_copy(r, back, at, size, SMEMB_COPY_G2H));
    }
    bool same = memcmp(back, bytes, size) == 0;
    free(back);
    return same;
}

/* ---- one rank -----------------------------------------------------------------------------------
 */

static bool has_device(void)
{
    return strcmp(chosen.device, "none") != 0;
}

static void start_store(struct bm_rank *r, uint32_t world)
{
    char json[4096] = "";
    if (r->world_rank != 0) {
        while (atomic_load(&r->stage->url_ready[world]) == 0) {
            wait_a_little(r);
        }
        return;
    }
    CHECK_OK(r, smem_create_config_store("tcp://127.0.0.1:0", 0));
    CHECK_OK(r, smem_config_store_get_cluster_status(json, sizeof(json), NULL));
    const char *at = strstr(json, "\"listen\":\"");
    CHECK(r, at != NULL);
    at += strlen("\"listen\":\"");
    snprintf(r->stage->url[world], sizeof(r->stage->url[world]), "%.*s", (int)strcspn(at, "\""),
             at);
    atomic_store(&r->stage->url_ready[world], 1);
}

static void open_device(struct bm_rank *r)
{
    char spec[512];
    if (!has_device()) {
        return;
    }
    snprintf(spec, sizeof(spec), "%s:0", chosen.device);
    CHECK_OK(r, mf_device_open(spec, &r->dev));
    CHECK_OK(r, mf_device_alloc(r->dev, GIVEN, &r->ld));
}

smem_bm_t bm_create(struct bm_rank *r, uint32_t id)
{
    smem_bm_create_option_t option = {.maxDramSize = SLOT,
                                      .localDRAMSize = GIVEN,
                                      .maxHbmSize = r->has_hbm ? SLOT : 0,
                                      .localHBMSize = r->has_hbm ? GIVEN : 0,
                                      .dataOpType = (smem_bm_data_op_type)r->op};
    smem_bm_t pool = smem_bm_create2(id, &option);
    CHECK(r, pool != NULL);
    return pool;
}

static void start_rank(struct bm_rank *r, const struct bm_case *c)
{
    uint32_t world = c->two_worlds ? r->rank / 2 : 0;
    smem_bm_config_t config;
    r->world_rank = c->two_worlds ? r->rank % 2 : r->rank;
    r->lh = mmap(NULL, GIVEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(r, r->lh != MAP_FAILED);
    open_device(r);
    start_store(r, world);
    CHECK_OK(r, smem_bm_config_init(&config));
    config.initTimeout = config.createTimeout = config.controlOperationTimeout = 20;
    config.startConfigStoreServer = false;
    config.autoRanking = false;
    config.rankId = r->world_rank;
    CHECK_OK(r, smem_bm_init(r->stage->url[world], c->two_worlds ? 2 : c->ranks, 0, &config));
    CHECK(r, smem_bm_get_rank_id() == r->world_rank);
    r->pool = bm_create(r, 0);
    if (!c->not_joined) {
        CHECK_OK(r, smem_bm_join(r->pool, 0));
    }
}

static void end_rank(struct bm_rank *r)
{
    bm_barrier(r);
    smem_bm_destroy(r->pool);
    if (r->dev != NULL) {
        CHECK_OK(r, mf_device_close(r->dev));
    }
    if (r->world_rank == 0) {
        bm_sleep_ms(20); /* the others may still speak to its store */
    }
    smem_bm_uninit(0);
    munmap(r->lh, GIVEN);
}

/* A crash ends the rank; cmocka's handlers would go on with the tests in this process. */
static void crash_for_real(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        (void)signal(signals[i], SIG_DFL);
    }
}

static void run_rank(const struct bm_case *c, struct stage *stage, uint32_t rank, bool has_hbm)
{
    crash_for_real();
    struct bm_rank r = {
        .stage = stage, .rank = rank, .ranks = c->ranks, .op = chosen.op, .has_hbm = has_hbm};
    alarm(CASE_SECONDS);
    if (c->sums || c->races) {
        setenv("MF_COPY_CHECKSUM", c->sums ? "on" : "off", 1);
    }
    start_rank(&r, c);
    bm_barrier(&r);
    c->fn(&r);
    end_rank(&r);
    _exit(0);
}

/* ---- what the device and the operator can -------------------------------------------------------
 */

enum { FAILED = 1, CAN_HBM = 2, CAN_LOAD = 4 };

/* Asks in a process of its own; the exit status are the bits. */
static int probe(void)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct stage stage;
        memset(&stage, 0, sizeof(stage));
        struct bm_rank r = {.stage = &stage, .ranks = 1, .op = chosen.op};
        smem_bm_config_t config;
        CHECK_OK(&r, smem_bm_config_init(&config));
        CHECK_OK(&r, smem_bm_init("tcp://127.0.0.1:0", 2, 0, &config));
        smem_bm_create_option_t option = {.maxHbmSize = 2 * MIB,
                                          .localHBMSize = 2 * MIB,
                                          .dataOpType = (smem_bm_data_op_type)chosen.op};
        smem_bm_t pool = smem_bm_create2(0, &option);
        CHECK(&r, pool != NULL || smem_get_last_err_code() == SMEM_NOT_EXIST);
        bool same_host = (chosen.op & (SMEMB_DATA_OP_SDMA | SMEMB_DATA_OP_HOST_SHM)) != 0;
        smem_bm_uninit(0);
        _exit((pool != NULL && same_host ? CAN_HBM : 0) |
              (same_host && bm_maps_peers() ? CAN_LOAD : 0));
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
        return FAILED;
    }
    return WEXITSTATUS(status);
}

/* ---- one case -----------------------------------------------------------------------------------
 */

static int capabilities;

static void run_case(void **state)
{
    const struct bm_case *c = *state;
    pid_t pid[RANKS_MAX];
    bool bad = false;
    if ((c->needs_hbm && !(capabilities & CAN_HBM)) ||
        (c->needs_loads && !(capabilities & CAN_LOAD))) {
        print_message("skipped: %s\n", c->needs_hbm ? "pools have no device memory here"
                                                    : "peers' memory is not mapped here");
        skip();
    }
    struct stage *stage =
        mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(stage != MAP_FAILED);
    fflush(NULL);
    for (uint32_t i = 0; i < c->ranks; i++) {
        pid[i] = fork();
        assert_true(pid[i] >= 0);
        if (pid[i] == 0) {
            run_rank(c, stage, i, (capabilities & CAN_HBM) != 0);
        }
    }
    for (uint32_t i = 0; i < c->ranks; i++) {
        int status = 0;
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        /* A rank that the case kills has been announced as such. */
        bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
                      atomic_load(&stage->word[15]) == i + 1;
        if (!killed && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
            print_error("rank %u ended with status 0x%x\n", i, status);
            atomic_store(&stage->failed, 1);
            bad = true;
        }
    }
    munmap(stage, sizeof(*stage));
    assert_false(bad);
}

static size_t add_cases(struct CMUnitTest *tests, size_t count, const struct bm_case *cases)
{
    for (; cases->name != NULL; cases++) {
        tests[count++] = (struct CMUnitTest){
            .name = cases->name, .test_func = run_case, .initial_state = (void *)(uintptr_t)cases};
    }
    return count;
}

static bool choose(int argc, char **argv)
{
    static const struct {
        const char *name;
        uint32_t op;
    } ops[] = {{"SDMA", SMEMB_DATA_OP_SDMA},
               {"HOST_SHM", SMEMB_DATA_OP_HOST_SHM},
               {"HOST_TCP", SMEMB_DATA_OP_HOST_TCP}};
    chosen.device = argc > 1 ? argv[1] : chosen.device;
    /* No store of these worlds had a life before. */
    if (setenv("MF_DEVICE", chosen.device, 1) != 0 || setenv("MF_STORE_SETTLE_MS", "0", 0) != 0) {
        return false;
    }
    for (size_t i = 0; argc > 2 && i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (strcmp(argv[2], ops[i].name) == 0) {
            chosen.op = ops[i].op;
            return true;
        }
    }
    return argc <= 2;
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[CASES_MAX];
    if (!choose(argc, argv)) {
        fprintf(stderr, "usage: %s [device [SDMA|HOST_SHM|HOST_TCP [filter]]]\n", argv[0]);
        return 2;
    }
    if (argc > 3) {
        cmocka_set_test_filter(argv[3]); /* of names; * and ? stand for what one leaves open */
    }
    size_t count = add_cases(tests, 0, bm_copy_cases);
    count = add_cases(tests, count, bm_range_cases);
    count = add_cases(tests, count, bm_member_cases);
    count = add_cases(tests, count, bm_tag_cases);
    count = add_cases(tests, count, bm_event_cases);
    count = add_cases(tests, count, bm_stream_cases);
    count = add_cases(tests, count, bm_store_cases);
    count = add_cases(tests, count, bm_extend_cases);
    count = add_cases(tests, count, bm_checksum_cases);
    count = add_cases(tests, count, bm_request_cases);
    capabilities = probe();
    if (capabilities & FAILED) {
        fprintf(stderr, "device %s cannot be used\n", chosen.device);
        return 1;
    }
    return _cmocka_run_group_tests("bm", tests, count, NULL, NULL);
}
