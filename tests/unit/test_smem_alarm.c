// SPDX-License-Identifier: Apache-2.0
// Tests of alarms: each condition is told when it begins and when it has ended. Ranks that die or
// are stopped are children, which share a page with the test.
#include "unit/api_fixture.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#define CODES 8u

struct page {
    _Atomic uint32_t alarms[2][CODES], resumes[2][CODES]; /* [0] parent, [1] child */
    _Atomic uint32_t child_joined, child_may_end;
    char url[96];
};

static struct page *page;
static uint32_t self; /* whose counts */
static char last[512];

static void on_alarm(uint16_t code, const char *msg)
{
    if (code < CODES) {
        snprintf(last, sizeof(last), "%s", msg);
        atomic_fetch_add(&page->alarms[self][code], 1);
    }
}

static void on_resume(uint16_t code)
{
    if (code < CODES) {
        atomic_fetch_add(&page->resumes[self][code], 1);
    }
}

static bool becomes(_Atomic uint32_t *value, uint32_t want)
{
    struct timespec span = {0, 1000000};
    for (int ms = 0; ms < 10000 && atomic_load(value) < want; ms++) {
        nanosleep(&span, NULL);
    }
    return atomic_load(value) == want;
}

static bool raised(uint32_t who, uint32_t code, uint32_t count)
{
    return becomes(&page->alarms[who][code], count);
}

static bool resumed(uint32_t who, uint32_t code, uint32_t count)
{
    return becomes(&page->resumes[who][code], count);
}

/* The URL at which this process's first store listens. */
static void store_url(char *url, size_t len)
{
    char json[4096] = "";
    mf_assert_ok(smem_config_store_get_cluster_status(json, sizeof(json), NULL));
    const char *at = strstr(json, "\"listen\":\"");
    assert_non_null(at);
    at += strlen("\"listen\":\"");
    snprintf(url, len, "%.*s", (int)strcspn(at, "\""), at);
}

static smem_bm_config_t rank_config(uint32_t rank)
{
    smem_bm_config_t config = api_config();
    config.startConfigStoreServer = false;
    config.autoRanking = false;
    config.rankId = rank;
    return config;
}

/* ---- a child as rank 1 ----------------------------------------------------------------------- */

static void child_main(void)
{
    self = 1;
    smem_bm_config_t config = rank_config(1);
    struct timespec span = {0, 1000000};
    if (smem_set_extern_alarm(on_alarm, on_resume) != 0 ||
        smem_bm_init(page->url, 2, 0, &config) != 0) {
        fprintf(stderr, "child: %s\n", smem_get_last_err_msg());
        _exit(1);
    }
    smem_bm_t pool = smem_bm_create(0, 0, SMEMB_DATA_OP_SDMA, 4 * MIB, 0, 0);
    if (pool == NULL || smem_bm_join(pool, 0) != 0) {
        fprintf(stderr, "child: %s\n", smem_get_last_err_msg());
        _exit(2);
    }
    atomic_fetch_add(&page->child_joined, 1);
    while (atomic_load(&page->child_may_end) == 0) {
        nanosleep(&span, NULL);
    }
    smem_bm_uninit(0);
    _exit(0);
}

static pid_t child_start(uint32_t joined)
{
    atomic_store(&page->child_may_end, 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        child_main();
    }
    assert_true(pid > 0);
    assert_true(becomes(&page->child_joined, joined));
    return pid;
}

static int child_end(pid_t pid)
{
    int status = 0;
    atomic_store(&page->child_may_end, 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

static int setup(void **state)
{
    (void)state;
    memset(page, 0, sizeof(*page));
    self = 0;
    mf_assert_ok(smem_set_extern_alarm(on_alarm, on_resume));
    mf_assert_ok(smem_create_config_store(ANY_PORT, 0));
    store_url(page->url, sizeof(page->url));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    smem_bm_uninit(0);
    smem_destroy_config_store(page->url);
    return 0;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_smem_alarm__store_lost_and_back(void **state)
{
    smem_bm_config_t config = rank_config(0);
    (void)state;
    mf_assert_ok(smem_bm_init(page->url, 2, 0, &config));
    smem_bm_t pool = api_pool(0);
    smem_destroy_config_store(page->url);
    assert_true(raised(0, SMEM_ALARM_STORE_LOST, 1));
    assert_non_null(strstr(last, "cannot reach the config store"));
    assert_int_equal(atomic_load(&page->resumes[0][SMEM_ALARM_STORE_LOST]), 0);
    mf_assert_ok(smem_create_config_store(page->url, 0));
    assert_true(resumed(0, SMEM_ALARM_STORE_LOST, 1));
    mf_assert_ok(smem_bm_leave(pool, 0)); /* the store is heard again */
    smem_destroy_config_store(page->url);
    assert_true(raised(0, SMEM_ALARM_STORE_LOST, 2));
    smem_bm_uninit(0); /* nothing is lost that is not wanted */
    assert_true(resumed(0, SMEM_ALARM_STORE_LOST, 2));
    mf_assert_ok(smem_create_config_store(page->url, 0));
}

static void test_smem_alarm__peer_dead_and_back(void **state)
{
    int status = 0;
    (void)state;
    api_skip_without_threads_after_fork();
    pid_t first = child_start(1);
    smem_bm_config_t config = rank_config(0);
    mf_assert_ok(smem_bm_init(page->url, 2, 0, &config));
    (void)api_pool(0);
    kill(first, SIGKILL);
    assert_int_equal(waitpid(first, &status, 0), first);
    assert_true(raised(0, SMEM_ALARM_PEER_DEAD, 1));
    assert_non_null(strstr(last, "pool 0: rank 1 is dead"));
    assert_int_equal(atomic_load(&page->resumes[0][SMEM_ALARM_PEER_DEAD]), 0);
    pid_t second = child_start(2);
    assert_true(resumed(0, SMEM_ALARM_PEER_DEAD, 1));
    assert_int_equal(child_end(second), 0);
    smem_bm_uninit(0);
    assert_int_equal(atomic_load(&page->alarms[0][SMEM_ALARM_PEER_DEAD]), 1); /* a leave is none */
    assert_int_equal(atomic_load(&page->resumes[0][SMEM_ALARM_PEER_DEAD]), 1);
}

static void test_smem_alarm__a_death_is_over_when_the_own_rank_leaves(void **state)
{
    int status = 0;
    (void)state;
    api_skip_without_threads_after_fork();
    pid_t first = child_start(1);
    smem_bm_config_t config = rank_config(0);
    mf_assert_ok(smem_bm_init(page->url, 2, 0, &config));
    smem_bm_t pool = api_pool(0);
    kill(first, SIGKILL);
    assert_int_equal(waitpid(first, &status, 0), first);
    assert_true(raised(0, SMEM_ALARM_PEER_DEAD, 1));
    mf_assert_ok(smem_bm_leave(pool, 0));
    assert_int_equal(atomic_load(&page->resumes[0][SMEM_ALARM_PEER_DEAD]), 1);
    smem_bm_destroy(pool);
    assert_int_equal(atomic_load(&page->resumes[0][SMEM_ALARM_PEER_DEAD]), 1);
}

static void test_smem_alarm__declared_dead_until_uninit(void **state)
{
    struct timespec span = {2, 0};
    (void)state;
    api_skip_without_threads_after_fork();
    pid_t child = child_start(1);
    kill(child, SIGSTOP);
    nanosleep(&span, NULL); /* longer than its session's time */
    kill(child, SIGCONT);
    assert_true(raised(1, SMEM_ALARM_SELF_EXPIRED, 1));
    assert_int_equal(atomic_load(&page->resumes[1][SMEM_ALARM_SELF_EXPIRED]), 0);
    assert_int_equal(child_end(child), 0);
    assert_int_equal(atomic_load(&page->resumes[1][SMEM_ALARM_SELF_EXPIRED]), 1);
}

static void test_smem_alarm__memory_short_and_there_again(void **state)
{
    smem_bm_config_t config = rank_config(0);
    smem_bm_create_option_t option = api_option(2 * MIB, 1ull << 30);
    (void)state;
    mf_assert_ok(smem_bm_init(page->url, 2, 0, &config));
    for (int i = 0; i < 3; i++) { /* told once */
        assert_refused_null(smem_bm_create2(0, &option), SMEM_MALLOC_FAILED, "HBM");
    }
    assert_true(raised(0, SMEM_ALARM_MEMORY_SHORT, 1));
    assert_non_null(strstr(last, "1073741824 bytes"));
    assert_int_equal(atomic_load(&page->resumes[0][SMEM_ALARM_MEMORY_SHORT]), 0);
    smem_bm_destroy(api_pool(0));
    assert_int_equal(atomic_load(&page->resumes[0][SMEM_ALARM_MEMORY_SHORT]), 1);
    assert_refused_null(smem_bm_create2(0, &option), SMEM_MALLOC_FAILED, "HBM");
    assert_int_equal(atomic_load(&page->alarms[0][SMEM_ALARM_MEMORY_SHORT]), 2);
    smem_bm_uninit(0);
    assert_int_equal(atomic_load(&page->resumes[0][SMEM_ALARM_MEMORY_SHORT]), 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_smem_alarm__store_lost_and_back),
        TEST(test_smem_alarm__peer_dead_and_back),
        TEST(test_smem_alarm__a_death_is_over_when_the_own_rank_leaves),
        TEST(test_smem_alarm__declared_dead_until_uninit),
        TEST(test_smem_alarm__memory_short_and_there_again),
    };
    page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || setenv("MF_DEVICE", "sim", 1) != 0 ||
        setenv("MF_SIM_MEMORY", "64M", 1) != 0 || setenv("MF_STORE_SESSION_MS", "1000", 1) != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
