// SPDX-License-Identifier: Apache-2.0
// Tests of the life of the BM service and of its objects in one process: ranks, stores, join and
// leave in any order, several pools, threads that come and go, and fork.
#include "unit/api_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

/* ---- service ----------------------------------------------------------------------------------
 */

static void test_smem_bm_init__again_does_nothing(void **state)
{
    (void)state;
    smem_bm_config_t config = api_config();
    uint32_t rank = smem_bm_get_rank_id();
    assert_int_equal(rank, 0);
    mf_assert_ok(smem_bm_init(ANY_PORT, 4, 0, &config));
    mf_assert_ok(smem_bm_init("tcp://127.0.0.1:1", 7, 0, &config));
    assert_int_equal(smem_bm_get_rank_id(), rank);
}

static void test_smem_bm_init__and_uninit_many_times(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        mf_assert_ok(api_setup(NULL));
        smem_bm_t pool = api_pool(1);
        if (i % 2 == 0) {
            smem_bm_destroy(pool); /* else uninit does */
        }
        smem_bm_uninit(0);
        assert_int_equal(smem_bm_get_rank_id(), UINT32_MAX);
    }
}

static void test_smem_bm_init__takes_the_rank_that_is_asked_for(void **state)
{
    (void)state;
    smem_bm_config_t config = api_config();
    config.autoRanking = false;
    config.rankId = 0;
    mf_assert_ok(smem_bm_init(ANY_PORT, 4, 0, &config));
    assert_int_equal(smem_bm_get_rank_id(), 0);
    smem_bm_uninit(0);
    mf_assert_ok(smem_create_config_store(ANY_PORT, 0));
    config.rankId = 3;
    mf_assert_ok(smem_bm_init(ANY_PORT, 4, 0, &config));
    assert_int_equal(smem_bm_get_rank_id(), 3);
    smem_bm_uninit(0);
    smem_destroy_config_store(ANY_PORT);
}

static void test_smem_bm_init__store_only_has_no_rank(void **state)
{
    (void)state;
    smem_bm_config_t config = api_config();
    config.startConfigStoreOnly = true;
    config.autoRanking = false; /* no rank: rankId is not looked at */
    mf_assert_ok(smem_bm_init(ANY_PORT, 4, 0, &config));
    assert_int_equal(smem_bm_get_rank_id(), UINT32_MAX);
    assert_refused_null(smem_bm_create(0, 0, SMEMB_DATA_OP_SDMA, 2 * MIB, 0, 0), SMEM_NOT_STARTED,
                        "startConfigStoreOnly");
    assert_refused(smem_bm_update_store_server("127.0.0.1", 1), SMEM_ERROR, "hosts the config");
    smem_bm_uninit(0);
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void test_smem_bm_init__ends_by_its_deadline_without_a_store(void **state)
{
    (void)state;
    smem_bm_config_t config = api_config();
    config.initTimeout = 1;
    config.startConfigStoreServer = false;
    uint64_t before = now_ms();
    assert_refused(smem_bm_init("tcp://127.0.0.1:1", 4, 0, &config), SMEM_TIMEOUT,
                   "tcp://127.0.0.1:1");
    assert_in_range(now_ms() - before, 900, 5000);
    assert_int_equal(smem_bm_get_rank_id(), UINT32_MAX);
    mf_assert_ok(api_setup(NULL)); /* nothing is left of it */
    api_teardown(NULL);
}

/* ---- members ----------------------------------------------------------------------------------
 */

static void test_smem_bm_join__leave_and_join_again(void **state)
{
    char word[8] = "abcdefg", back[8] = "";
    (void)state;
    smem_bm_t pool = smem_bm_create(0, 0, SMEMB_DATA_OP_SDMA, 4 * MIB, 0, 0);
    assert_non_null(pool);
    char *mine = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
    smem_copy_params in = {word, mine, 8, NULL}, out = {mine, back, 8, NULL};
    memcpy(mine + 4096, "before", 7); /* own memory is there before the join */
    assert_refused(smem_bm_copy(pool, &in, SMEMB_COPY_H2G, 0), SMEM_NOT_STARTED, "smem_bm_join");
    mf_assert_ok(smem_bm_leave(pool, 0)); /* not joined */
    assert_string_equal(mine + 4096, "before");
    for (int round = 0; round < 3; round++) {
        mf_assert_ok(smem_bm_join(pool, 0));
        mf_assert_ok(smem_bm_join(pool, 0));
        assert_string_equal(mine + 4096, round == 0 ? "before" : "");
        mf_assert_ok(smem_bm_copy(pool, &in, SMEMB_COPY_H2G, 0));
        mf_assert_ok(smem_bm_copy(pool, &out, SMEMB_COPY_G2H, 0));
        assert_string_equal(back, word);
        mf_assert_ok(smem_bm_leave(pool, 0));
        mf_assert_ok(smem_bm_leave(pool, 0));
        assert_string_equal(mine, ""); /* fresh memory at the same address */
        assert_refused(smem_bm_copy(pool, &in, SMEMB_COPY_H2G, 0), SMEM_NOT_STARTED, "joined");
        assert_refused(smem_bm_copy(pool, &in, SMEMB_COPY_H2G, ASYNC_COPY_FLAG), SMEM_NOT_STARTED,
                       "joined");
    }
    smem_bm_destroy(pool);
}

static void test_smem_bm_create__one_pool_an_id(void **state)
{
    (void)state;
    smem_bm_t pool = api_pool(9);
    assert_refused_null(smem_bm_create(9, 0, SMEMB_DATA_OP_SDMA, 4 * MIB, 0, 0), SMEM_DUPLICATED,
                        "has pool 9 already");
    char *at = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
    memcpy(at, "still there", 12);
    smem_bm_destroy(pool);
    pool = api_pool(9);
    assert_ptr_equal(smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0), at);
    assert_string_equal(at, "");
    smem_bm_destroy(pool);
}

static void test_smem_bm_create__all_64_pools(void **state)
{
    smem_bm_t pool[64];
    char *at[64];
    (void)state;
    for (uint32_t id = 0; id < 64; id++) {
        pool[id] = api_pool(id);
        at[id] = smem_bm_ptr_by_mem_type(pool[id], SMEM_MEM_TYPE_HOST, 0);
        snprintf(at[id], 32, "pool %u", id);
    }
    for (uint32_t id = 0; id < 64; id++) {
        char name[32], back[32] = "";
        snprintf(name, sizeof(name), "pool %u", id);
        smem_copy_params out = {at[id], back, sizeof(back), NULL};
        mf_assert_ok(smem_bm_copy(pool[id], &out, SMEMB_COPY_GH2H, 0));
        assert_string_equal(back, name);
        assert_int_equal(smem_bm_get_rank_id_by_gva(pool[id], at[(id + 1) % 64]), UINT32_MAX);
        /* For this pool another pool's address is no pool address. */
        out.dest = at[(id + 1) % 64];
        assert_refused(smem_bm_copy(pool[id], &out, SMEMB_COPY_G2G, 0), SMEM_INVALID_PARAM,
                       "but G means an address");
    }
    for (uint32_t id = 0; id < 64; id++) {
        smem_bm_destroy(pool[(id * 7) % 64]);
    }
}

static void test_smem_bm_create__a_rank_may_give_nothing(void **state)
{
    char here[64] = "x";
    (void)state;
    smem_bm_create_option_t o = api_option(4 * MIB, 0);
    o.localDRAMSize = 0;
    smem_bm_t pool = smem_bm_create2(0, &o);
    assert_non_null(pool);
    mf_assert_ok(smem_bm_join(pool, 0));
    char *mine = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
    assert_non_null(mine);
    smem_copy_params in = {here, mine, 8, NULL};
    assert_refused(smem_bm_copy(pool, &in, SMEMB_COPY_H2G, 0), SMEM_INVALID_PARAM, "rank 0");
    mf_assert_ok(smem_bm_leave(pool, 0));
    smem_bm_destroy(pool);
}

/* A call that succeeds leaves the last error alone, whatever it met on its way. */
static void test_smem_bm__success_leaves_the_last_error_alone(void **state)
{
    char here[64] = "x";
    (void)state;
    for (int had = 0; had < 2; had++) {
        const char *want = "";
        (void)smem_get_and_clear_last_err_msg();
        if (had) {
            mf_assert_rc(smem_set_log_level(99), SMEM_INVALID_PARAM);
            want = "smem_set_log_level: level 99 is not 0..5";
        }
        smem_bm_t pool = smem_bm_create(4, 0, SMEMB_DATA_OP_SDMA, 4 * MIB, 0, 0);
        assert_string_equal(smem_get_last_err_msg(), want);
        mf_assert_ok(smem_bm_join(pool, 0));
        assert_string_equal(smem_get_last_err_msg(), want);
        char *mine = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
        (void)smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST,
                                      1); /* not there: cannot be mapped */
        smem_copy_params in = {here, mine, 8, NULL};
        mf_assert_ok(smem_bm_copy(pool, &in, SMEMB_COPY_AUTO, 0));
        mf_assert_ok(smem_bm_copy(pool, &in, SMEMB_COPY_AUTO, ASYNC_COPY_FLAG));
        mf_assert_ok(smem_bm_wait(pool));
        mf_assert_ok(smem_bm_leave(pool, 0));
        assert_string_equal(smem_get_last_err_msg(), want);
        smem_bm_destroy(pool);
        smem_bm_uninit(0);
        assert_string_equal(smem_get_last_err_msg(), want);
        mf_assert_ok(api_setup(NULL));
        assert_string_equal(smem_get_last_err_msg(), want);
    }
}

/* ---- threads ----------------------------------------------------------------------------------
 */

struct worker {
    smem_bm_t pool;
    pthread_t thread;
    uint32_t number;
    int rc;
};

static void *copy_some(void *arg)
{
    struct worker *w = arg;
    char text[64], back[64] = "";
    char *at = smem_bm_ptr_by_mem_type(w->pool, SMEM_MEM_TYPE_HOST, 0);
    at += 64 * (size_t)w->number;
    snprintf(text, sizeof(text), "thread %u", w->number);
    for (int i = 0; i < 50 && w->rc == SMEM_OK; i++) {
        smem_copy_params in = {text, at, sizeof(text), NULL}, out = {at, back, sizeof(back), NULL};
        w->rc = smem_bm_copy(w->pool, &in, SMEMB_COPY_H2G, 0);
        if (w->rc == SMEM_OK) {
            w->rc = smem_bm_copy(w->pool, &out, SMEMB_COPY_G2H, i % 2 ? ASYNC_COPY_FLAG : 0);
        }
        if (w->rc == SMEM_OK) {
            w->rc = smem_bm_wait(w->pool);
        }
        if (w->rc == SMEM_OK && strcmp(text, back) != 0) {
            w->rc = 1;
        }
    }
    return NULL;
}

/* Threads of many generations use the same few entries. */
static void test_smem_bm_copy__threads_come_and_go(void **state)
{
    struct worker w[8];
    (void)state;
    smem_bm_t pool = api_pool(0);
    for (int generation = 0; generation < 100; generation++) {
        for (uint32_t i = 0; i < 8; i++) {
            w[i] = (struct worker){.pool = pool, .number = i};
            assert_int_equal(pthread_create(&w[i].thread, NULL, copy_some, &w[i]), 0);
        }
        for (uint32_t i = 0; i < 8; i++) {
            pthread_join(w[i].thread, NULL);
            mf_assert_ok(w[i].rc);
        }
    }
    smem_bm_destroy(pool);
}

static _Atomic bool stop;

static void *copy_until_refused(void *arg)
{
    struct worker *w = arg;
    char text[4096] = "";
    char *at = smem_bm_ptr_by_mem_type(w->pool, SMEM_MEM_TYPE_HOST, 0);
    smem_copy_params in = {text, at + sizeof(text) * w->number, sizeof(text), NULL};
    while (w->rc == SMEM_OK && !atomic_load(&stop)) {
        w->rc = smem_bm_copy(w->pool, &in, SMEMB_COPY_H2G, w->number % 2 ? ASYNC_COPY_FLAG : 0);
        if (w->rc == SMEM_NO_RESOURCES) { /* asynchronous ones pile up */
            w->rc = smem_bm_wait(w->pool);
        }
    }
    return NULL;
}

/* destroy and uninit wait for calls under way, later ones are refused, nothing crashes. */
static void test_smem_bm_destroy__while_others_copy(void **state)
{
    struct worker w[4];
    (void)state;
    for (int round = 0; round < 10; round++) {
        smem_bm_t pool = api_pool(0);
        atomic_store(&stop, false);
        for (uint32_t i = 0; i < 4; i++) {
            w[i] = (struct worker){.pool = pool, .number = i};
            assert_int_equal(pthread_create(&w[i].thread, NULL, copy_until_refused, &w[i]), 0);
        }
        usleep(5000);
        if (round % 2 == 0) {
            smem_bm_destroy(pool);
        } else {
            smem_bm_uninit(0);
        }
        for (uint32_t i = 0; i < 4; i++) {
            pthread_join(w[i].thread, NULL);
            assert_true(w[i].rc == SMEM_INVALID_PARAM || w[i].rc == SMEM_NOT_INIT ||
                        w[i].rc == SMEM_NOT_STARTED);
        }
        if (round % 2) {
            mf_assert_ok(api_setup(NULL));
        }
    }
}

static void *join_and_leave(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < 10 && w->rc == SMEM_OK; i++) {
        w->rc = (i + w->number) % 2 ? smem_bm_join(w->pool, 0) : smem_bm_leave(w->pool, 0);
    }
    return NULL;
}

static void test_smem_bm_join__and_leave_from_many_threads(void **state)
{
    struct worker w[4];
    (void)state;
    smem_bm_t pool = api_pool(0);
    for (uint32_t i = 0; i < 4; i++) {
        w[i] = (struct worker){.pool = pool, .number = i};
        assert_int_equal(pthread_create(&w[i].thread, NULL, join_and_leave, &w[i]), 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
        pthread_join(w[i].thread, NULL);
        mf_assert_ok(w[i].rc);
    }
    mf_assert_ok(smem_bm_join(pool, 0));
    smem_bm_destroy(pool);
}

/* ---- fork -------------------------------------------------------------------------------------
 */

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "child: line %d: %s: %s\n", __LINE__, #cond, smem_get_last_err_msg()); \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

static int child_of_a_user(void *arg)
{
    smem_bm_t pool = arg;
    char here[64] = "child";
    void *va = NULL;
    smem_copy_params in = {here, (void *)(uintptr_t)4096, 8, NULL};
    CHECK(smem_bm_get_rank_id() == UINT32_MAX);
    CHECK(smem_bm_join(pool, 0) == SMEM_NOT_INIT);
    CHECK(strstr(smem_get_last_err_msg(), "forked") != NULL);
    CHECK(smem_bm_leave(pool, 0) == SMEM_NOT_INIT);
    CHECK(smem_bm_copy(pool, &in, SMEMB_COPY_H2G, 0) == SMEM_NOT_INIT);
    CHECK(smem_bm_wait(pool) == SMEM_NOT_INIT);
    CHECK(smem_bm_gva_to_va(pool, here, SMEM_MEM_TYPE_LOCAL_HOST, &va) == SMEM_NOT_INIT);
    CHECK(smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0) == NULL);
    CHECK(smem_bm_create(1, 0, SMEMB_DATA_OP_SDMA, 2 * MIB, 0, 0) == NULL);
    CHECK(smem_get_last_err_code() == SMEM_NOT_INIT);
    smem_bm_destroy(pool);
    smem_bm_uninit(0);
    /* It begins anew, at the very addresses of its parent. */
    smem_bm_config_t config;
    smem_bm_config_init(&config);
    config.initTimeout = config.createTimeout = config.controlOperationTimeout = 10;
    CHECK(smem_bm_init(ANY_PORT, 2, 0, &config) == SMEM_OK);
    CHECK(smem_bm_get_rank_id() == 0);
    CHECK(smem_bm_join(pool, 0) == SMEM_INVALID_PARAM);
    smem_bm_t mine = smem_bm_create(0, 0, SMEMB_DATA_OP_SDMA, 2 * MIB, 0, 0);
    CHECK(mine != NULL && smem_bm_join(mine, 0) == SMEM_OK);
    in.dest = smem_bm_ptr_by_mem_type(mine, SMEM_MEM_TYPE_HOST, 0);
    CHECK(smem_bm_copy(mine, &in, SMEMB_COPY_H2G, 0) == SMEM_OK);
    CHECK(memcmp(in.dest, "child", 6) == 0);
    CHECK(smem_bm_copy(mine, &in, SMEMB_COPY_H2G, ASYNC_COPY_FLAG) == SMEM_OK);
    CHECK(smem_bm_wait(mine) == SMEM_OK);
    smem_bm_destroy(mine);
    smem_bm_uninit(0);
    return 0;
}

static void test_smem_bm_fork__child_has_nothing_and_begins_anew(void **state)
{
    api_skip_without_threads_after_fork();
    char here[64] = "parent";
    (void)state;
    smem_bm_t pool = api_pool(0);
    char *at = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
    smem_copy_params in = {here, at, 8, NULL};
    mf_assert_ok(smem_bm_copy(pool, &in, SMEMB_COPY_H2G, ASYNC_COPY_FLAG)); /* threads exist */
    mf_assert_ok(smem_bm_wait(pool));
    assert_int_equal(api_in_child(child_of_a_user, pool), 0);
    assert_string_equal(at, "parent"); /* and the parent goes on */
    mf_assert_ok(smem_bm_copy(pool, &in, SMEMB_COPY_H2G, 0));
    mf_assert_ok(smem_bm_leave(pool, 0));
    mf_assert_ok(smem_bm_join(pool, 0));
    smem_bm_destroy(pool);
}

static int child_does_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void test_smem_bm_fork__children_while_others_copy(void **state)
{
    api_skip_without_threads_after_fork();
    struct worker w = {.number = 0};
    (void)state;
    w.pool = api_pool(0);
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&w.thread, NULL, copy_until_refused, &w), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(api_in_child(child_does_nothing, NULL), 0);
    }
    assert_int_equal(api_in_child(child_of_a_user, w.pool), 0);
    atomic_store(&stop, true);
    pthread_join(w.thread, NULL);
    mf_assert_ok(w.rc);
    smem_bm_destroy(w.pool);
}

#define served(test) cmocka_unit_test_setup_teardown(test, api_setup, api_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        served(test_smem_bm_init__again_does_nothing),
        cmocka_unit_test(test_smem_bm_init__and_uninit_many_times),
        cmocka_unit_test(test_smem_bm_init__takes_the_rank_that_is_asked_for),
        cmocka_unit_test(test_smem_bm_init__store_only_has_no_rank),
        cmocka_unit_test(test_smem_bm_init__ends_by_its_deadline_without_a_store),
        served(test_smem_bm_join__leave_and_join_again),
        served(test_smem_bm_create__one_pool_an_id),
        served(test_smem_bm_create__all_64_pools),
        served(test_smem_bm_create__a_rank_may_give_nothing),
        served(test_smem_bm__success_leaves_the_last_error_alone),
        served(test_smem_bm_copy__threads_come_and_go),
        served(test_smem_bm_destroy__while_others_copy),
        served(test_smem_bm_join__and_leave_from_many_threads),
        served(test_smem_bm_fork__child_has_nothing_and_begins_anew),
        served(test_smem_bm_fork__children_while_others_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
