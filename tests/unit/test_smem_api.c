// SPDX-License-Identifier: Apache-2.0
// Tests of smem.h, smem_config_store_api.h and mf_info.h as a program sees them: codes and
// sentences of every refusal, TLS, stores by URL and by handle, log and alarms, the last error,
// fork.
#include "unit/api_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "memfabric/mf_info.h"

/* ---- process, log, last error --------------------------------------------------------------- */

static void test_smem__version_init_and_uninit(void **state)
{
    (void)state;
    assert_int_equal(smem_get_abi_version(), 0x00010003);
    mf_assert_ok(smem_init(0));
    mf_assert_ok(smem_init(UINT32_MAX));
    smem_uninit();
    smem_uninit();
    mf_assert_ok(smem_init(0));
}

static void test_smem_last_err__is_kept_until_taken(void **state)
{
    (void)state;
    (void)smem_get_and_clear_last_err_msg();
    assert_string_equal(smem_get_last_err_msg(), "");
    mf_assert_ok(smem_get_last_err_code());
    mf_assert_rc(smem_set_log_level(17), SMEM_INVALID_PARAM);
    mf_assert_ok(smem_set_log_level(2)); /* a success leaves it alone */
    assert_non_null(strstr(smem_get_last_err_msg(), "17"));
    mf_assert_rc(smem_get_last_err_code(), SMEM_INVALID_PARAM);
    const char *taken = smem_get_and_clear_last_err_msg();
    assert_string_equal(smem_get_last_err_msg(), "");
    mf_assert_ok(smem_get_last_err_code());
    assert_non_null(strstr(taken, "17"));
    assert_string_equal(smem_get_and_clear_last_err_msg(), "");
}

static void *read_last_err(void *arg)
{
    *(bool *)arg = smem_get_last_err_msg()[0] == '\0' && smem_get_last_err_code() == SMEM_OK;
    return NULL;
}

static void test_smem_last_err__belongs_to_its_thread(void **state)
{
    pthread_t thread;
    bool empty = false;
    (void)state;
    mf_assert_rc(smem_set_log_level(-1), SMEM_INVALID_PARAM);
    assert_int_equal(pthread_create(&thread, NULL, read_last_err, &empty), 0);
    pthread_join(thread, NULL);
    assert_true(empty);
    assert_string_not_equal(smem_get_last_err_msg(), "");
}

static _Atomic int lines, alarms, resumes;
static void count_line(int level, const char *msg)
{
    if (level >= 0 && level <= 5 && msg[0] != '\0') {
        atomic_fetch_add(&lines, 1);
    }
}
static void count_alarm(uint16_t code, const char *msg)
{
    if (code == 1 && strstr(msg, "config store") != NULL) {
        atomic_fetch_add(&alarms, 1);
    }
}
static void count_resume(uint16_t code)
{
    if (code == 1) {
        atomic_fetch_add(&resumes, 1);
    }
}

static void test_smem_log__level_and_logger(void **state)
{
    (void)state;
    for (int level = 0; level <= 5; level++) {
        mf_assert_ok(smem_set_log_level(level));
    }
    assert_refused(smem_set_log_level(6), SMEM_INVALID_PARAM, "level 6 is not 0..5");
    assert_refused(smem_set_log_level(-1), SMEM_INVALID_PARAM, "level -1");
    assert_refused(smem_set_extern_logger(NULL), SMEM_INVALID_PARAM, "func is NULL");
    assert_refused(smem_set_extern_alarm(NULL, count_resume), SMEM_INVALID_PARAM, "alarm is NULL");
    assert_refused(smem_set_extern_alarm(count_alarm, NULL), SMEM_INVALID_PARAM, "resume is NULL");
    mf_assert_ok(smem_set_extern_logger(count_line));
    mf_assert_ok(smem_set_extern_alarm(count_alarm, count_resume));
    mf_assert_ok(smem_set_log_level(1));
    mf_assert_ok(api_setup(NULL));
    smem_bm_t pool = api_pool(0);
    smem_bm_destroy(pool);
    api_teardown(NULL);
    mf_assert_ok(smem_set_log_level(4));
    int said = atomic_load(&lines);
    mf_assert_ok(api_setup(NULL));
    api_teardown(NULL);
    assert_int_equal(atomic_load(&lines), said);
    mf_assert_ok(smem_set_log_level(2));
}

/* ---- stores by URL --------------------------------------------------------------------------- */

/* The address at which the one store of this process listens. */
static void listens_at(char *url, size_t len)
{
    char json[4096];
    uint32_t out = 0;
    mf_assert_ok(smem_config_store_get_cluster_status(json, sizeof(json), &out));
    const char *at = strstr(json, "\"listen\":\"");
    assert_non_null(at);
    at += strlen("\"listen\":\"");
    snprintf(url, len, "%.*s", (int)strcspn(at, "\""), at);
}

static void test_smem_create_config_store__refuses_bad_urls(void **state)
{
    static const char *const bad[] = {
        "",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:80x",
        "tcp://127.0.0.256:8000",
        "tcp://localhost:8000",
        "tcp://::1:8000",
        "tcp://[::1:8000",
        "tcp://[zz]:8000",
        "http://127.0.0.1:8000",
        "127.0.0.1:8000",
        "tcp://127.0.0.1:8000#x",
        " tcp://127.0.0.1:8000",
    };
    (void)state;
    assert_refused(smem_create_config_store(NULL, 0), SMEM_INVALID_PARAM, "NULL");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_refused(smem_create_config_store(bad[i], 0), SMEM_INVALID_PARAM,
                       "smem_create_config_store");
        assert_refused_null(smem_config_store_create_server(bad[i]), SMEM_INVALID_PARAM,
                            "smem_config_store_create_server");
    }
}

static void test_smem_create_config_store__refuses_other_back_ends(void **state)
{
    (void)state;
    assert_refused(smem_create_config_store("etcd://127.0.0.1:2379", 0), SMEM_ERROR, "tcp://");
    assert_refused(smem_create_config_store("reg://127.0.0.1:1#a", 0), SMEM_ERROR, "tcp://");
    assert_refused_null(smem_config_store_create_server("etcd://[::1]:2379#c"), SMEM_ERROR,
                        "only tcp:// config stores");
    smem_bm_config_t config = api_config();
    assert_refused(smem_bm_init("etcd://127.0.0.1:2379", 2, 0, &config), SMEM_ERROR, "tcp://");
    assert_refused(smem_bm_init("reg://x", 2, 0, &config), SMEM_ERROR, "tcp://");
}

static void test_smem_create_config_store__of_one_url_once(void **state)
{
    char url[128];
    (void)state;
    mf_assert_ok(smem_create_config_store(ANY_PORT, 0));
    mf_assert_ok(smem_create_config_store(ANY_PORT, SMEM_STORE_SKIP_RECOVER));
    mf_assert_ok(smem_create_config_store(ANY_PORT, UINT64_MAX));
    listens_at(url, sizeof(url));
    mf_assert_ok(smem_create_config_store(url, 0));
    smem_destroy_config_store(url);
    mf_assert_rc(smem_config_store_get_cluster_status(NULL, 0, &(uint32_t){0}), SMEM_NOT_EXIST);
    mf_err_clear();
    smem_destroy_config_store(url);
    mf_assert_rc(smem_get_last_err_code(), SMEM_NOT_EXIST);
    mf_assert_err_has(url);
    smem_destroy_config_store(NULL);
    mf_assert_rc(smem_get_last_err_code(), SMEM_INVALID_PARAM);
}

static int create_at(void *url)
{
    int rc = smem_create_config_store(url, 0);
    return rc == SMEM_RES_IN_USE && strstr(smem_get_last_err_msg(), url) != NULL ? 0 : 1;
}

static void test_smem_create_config_store__names_an_occupied_address(void **state)
{
    api_skip_without_threads_after_fork();
    char url[128];
    (void)state;
    mf_assert_ok(smem_create_config_store(ANY_PORT, 0));
    listens_at(url, sizeof(url));
    assert_int_equal(api_in_child(create_at, url), 0);
    smem_destroy_config_store(url);
}

static void test_smem_create_config_store__serves_ipv6_where_there_is_one(void **state)
{
    (void)state;
    int rc = smem_create_config_store("tcp://[::1]:0", 0);
    if (rc != SMEM_OK) { /* a machine without: still a code and a sentence */
        mf_assert_rc(rc, SMEM_ERROR);
        mf_assert_err_has("[::1]");
        return;
    }
    smem_bm_config_t config = api_config();
    char url[128];
    listens_at(url, sizeof(url));
    mf_assert_ok(smem_bm_init(url, 2, 0, &config));
    smem_bm_uninit(0);
    smem_destroy_config_store("tcp://[::1]:0");
}

static void test_smem_config_store_set_backend_op__refuses(void **state)
{
    smem_conf_store_backend_op_t op;
    void **members = (void **)&op;
    (void)state;
    assert_refused(smem_config_store_set_backend_op(NULL), SMEM_INVALID_PARAM, "op is NULL");
    for (size_t i = 0; i < sizeof(op) / sizeof(void *); i++) {
        for (size_t k = 0; k < sizeof(op) / sizeof(void *); k++) {
            members[k] = k == i ? NULL : (void *)(uintptr_t)abort;
        }
        bool optional = &members[i] == (void **)(void *)&op.prefix_get;
        assert_refused(smem_config_store_set_backend_op(&op),
                       optional ? SMEM_ERROR : SMEM_INVALID_PARAM,
                       optional ? "only tcp://" : "required function");
    }
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static int decrypt_nothing(const char *cipher, size_t len, char *plain, size_t *plain_len)
{
    (void)cipher;
    (void)len;
    (void)plain;
    (void)plain_len;
    abort();
}

static void ask_for_tls(int way)
{
    smem_tls_options_t options = {.enable_tls = 1, .tls_top_path = "/nowhere"};
    if (way == 0) {
        assert_refused(smem_set_conf_store_tls(true, "tlsCert: x;", 11), SMEM_ERROR, "TLS");
    } else if (way == 1) {
        assert_refused(smem_set_config_store_tls_key("k", 1, "p", 1, decrypt_nothing), SMEM_ERROR,
                       "TLS is not supported");
    } else {
        assert_refused(smem_config_store_set_tls(&options, "/lib", NULL), SMEM_ERROR, "TLS");
    }
}

static void switch_tls_off(int way)
{
    smem_tls_options_t options = {.enable_tls = 0};
    mf_assert_ok(way == 0   ? smem_set_conf_store_tls(false, NULL, 0)
                 : way == 1 ? smem_config_store_set_tls(NULL, NULL, NULL)
                            : smem_config_store_set_tls(&options, NULL, NULL));
}

static void test_smem_tls__is_refused_and_remembered(void **state)
{
    smem_bm_config_t config = api_config();
    (void)state;
    for (int way = 0; way < 3; way++) {
        ask_for_tls(way);
        for (int again = 0; again < 2; again++) {
            assert_refused(smem_create_config_store(ANY_PORT, 0), SMEM_ERROR, "TLS was asked for");
            assert_refused_null(smem_config_store_create_server(ANY_PORT), SMEM_ERROR, "TLS");
            assert_refused(smem_bm_init(ANY_PORT, 2, 0, &config), SMEM_ERROR, "clear text");
        }
        switch_tls_off(way);
        mf_assert_ok(smem_create_config_store(ANY_PORT, 0));
        smem_destroy_config_store(ANY_PORT);
    }
}

/* ---- stores by handle ------------------------------------------------------------------------ */

static int32_t on_broken(void *context, uint32_t link_id, uint32_t rank_id)
{
    (void)link_id;
    atomic_fetch_add((_Atomic int *)context, rank_id == 0 ? 1 : 100);
    return 0;
}

static void on_leader(void *context, const smem_config_store_leader_info_t *info)
{
    (void)context;
    (void)info;
}

static void destroy_is_refused(smem_config_store_t store, const char *url)
{
    mf_err_clear();
    smem_config_store_destroy_server(store, url);
    mf_assert_rc(smem_get_last_err_code(), SMEM_INVALID_PARAM);
    mf_assert_err_has("smem_config_store_destroy_server");
}

static void test_smem_config_store__handles_are_checked(void **state)
{
    (void)state;
    destroy_is_refused(NULL, NULL);
    destroy_is_refused((void *)(uintptr_t)0x1234, NULL);
    smem_config_store_t a = smem_config_store_create_server(ANY_PORT);
    assert_non_null(a);
    smem_config_store_t same = smem_config_store_create_server(ANY_PORT);
    assert_ptr_equal(a, same);
    destroy_is_refused(a, "tcp://127.0.0.1:1");
    mf_assert_err_has("tcp://127.0.0.1:1");
    mf_assert_rc(smem_config_store_set_leader_handler(a, on_leader, NULL), 1);
    mf_assert_err_has("no leader");
    assert_refused(smem_config_store_set_leader_handler(NULL, on_leader, NULL), SMEM_ERROR,
                   "no handle");
    smem_config_store_destroy_server(a, ANY_PORT);
    destroy_is_refused(a, ANY_PORT);
    assert_refused(smem_config_store_set_leader_handler(a, NULL, NULL), SMEM_ERROR, "no handle");
    smem_config_store_set_server_broken_handler(a, on_broken, NULL);
    mf_assert_rc(smem_get_last_err_code(), SMEM_INVALID_PARAM);
    mf_assert_rc(smem_config_store_get_cluster_status(NULL, 0, &(uint32_t){0}), SMEM_NOT_EXIST);
}

static void test_smem_config_store_destroy_server__can_keep_the_store(void **state)
{
    char url[128];
    (void)state;
    smem_config_store_t store = smem_config_store_create_server(ANY_PORT);
    listens_at(url, sizeof(url));
    smem_config_store_destroy_server(store, NULL);
    destroy_is_refused(store, NULL);
    char again[128];
    listens_at(again, sizeof(again)); /* it runs on */
    assert_string_equal(url, again);
    smem_config_store_t other = smem_config_store_create_server(url);
    assert_non_null(other);
    assert_ptr_not_equal(other, store);
    smem_config_store_destroy_server(other, url);
    mf_assert_rc(smem_config_store_get_cluster_status(NULL, 0, &(uint32_t){0}), SMEM_NOT_EXIST);
}

static int join_and_die(void *url)
{
    smem_bm_config_t config;
    smem_bm_config_init(&config);
    config.initTimeout = 10;
    return smem_bm_init(url, 2, 0, &config) == SMEM_OK ? 0 : 1;
}

static void test_smem_config_store__tells_of_a_lost_rank(void **state)
{
    api_skip_without_threads_after_fork();
    char url[128];
    static _Atomic int broken;
    (void)state;
    atomic_store(&broken, 0);
    smem_config_store_t store = smem_config_store_create_server(ANY_PORT);
    smem_config_store_set_server_broken_handler(store, on_broken, &broken);
    listens_at(url, sizeof(url));
    assert_int_equal(api_in_child(join_and_die, url), 0);
    for (int i = 0; i < 500 && atomic_load(&broken) == 0; i++) {
        usleep(10000);
    }
    assert_int_equal(atomic_load(&broken), 1);
    smem_config_store_set_server_broken_handler(store, NULL, NULL);
    assert_int_equal(api_in_child(join_and_die, url), 0);
    usleep(100000);
    assert_int_equal(atomic_load(&broken), 1);
    smem_config_store_destroy_server(store, url);
}

static void test_smem_config_store_get_cluster_status__sizes(void **state)
{
    char json[4096];
    uint32_t need = 0, out = 0;
    (void)state;
    assert_refused(smem_config_store_get_cluster_status(NULL, 0, NULL), SMEM_INVALID_PARAM, "NULL");
    assert_refused(smem_config_store_get_cluster_status(json, sizeof(json), &out), SMEM_NOT_EXIST,
                   "no config store");
    assert_string_equal(json, "[]");
    mf_assert_ok(smem_create_config_store(ANY_PORT, 0));
    mf_assert_ok(smem_config_store_get_cluster_status(NULL, 0, &need));
    assert_in_range(need, 100, sizeof(json) - 1);
    memset(json, 'x', sizeof(json));
    assert_refused(smem_config_store_get_cluster_status(json, need / 2, &out),
                   SMEM_BUFFER_TOO_SMALL, "buffer has");
    assert_int_equal(json[0], 'x');
    assert_in_range(out, need - 8, need + 8); /* counters may have grown by a digit */
    mf_assert_ok(smem_config_store_get_cluster_status(json, sizeof(json), &out));
    assert_int_equal(strlen(json), out);
    mf_assert_ok(smem_config_store_get_cluster_status(json, sizeof(json), NULL));
    static const char *const members[] = {
        "\"type\":\"tcp\"",    "\"model\":",        "\"connect\":\"" ANY_PORT "\"",
        "\"server\":{",        "\"state\":\"SS_",   "\"worldSize\":4294967295",
        "\"listen\":\"tcp://", "\"aliveRanks\":",   "\"backendAliveRanks\":",
        "\"lastHeartbeat\":",  "\"groupManager\":", "\"reconnectedRanks\":",
    };
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        assert_non_null(strstr(json, members[i]));
    }
    smem_destroy_config_store(ANY_PORT);
}

static void test_smem_config_store_get_cluster_status__knows_the_services_store(void **state)
{
    char json[4096];
    uint32_t out = 0;
    (void)state;
    mf_assert_ok(api_setup(NULL));
    mf_assert_ok(smem_config_store_get_cluster_status(json, sizeof(json), &out));
    assert_non_null(strstr(json, "\"worldSize\":4,"));
    assert_non_null(strstr(json, "\"aliveRanks\":1,"));
    api_teardown(NULL);
    mf_assert_rc(smem_config_store_get_cluster_status(json, sizeof(json), &out), SMEM_NOT_EXIST);
}

/* ---- facts and options ----------------------------------------------------------------------- */

struct facts {
    uint32_t count, bad;
    bool version, sim, direct;
};

static void look_at_item(void *arg, const mf_info_item_t *item)
{
    struct facts *facts = arg;
    facts->count++;
    facts->bad += item->section == NULL || item->name == NULL || item->value == NULL ||
                  item->note == NULL || item->available < -1 || item->available > 1;
    facts->version |= strcmp(item->section, "library") == 0 && strstr(item->value, mf_version());
    facts->sim |= strcmp(item->section, "device") == 0 && strcmp(item->name, "sim") == 0;
    facts->direct |= strcmp(item->section, "transport") == 0 && strcmp(item->name, "direct") == 0 &&
                     item->available == 1;
}

static void test_mf_info_visit__tells_the_facts(void **state)
{
    struct facts facts = {0};
    (void)state;
    assert_refused(mf_info_visit(NULL, NULL), SMEM_INVALID_PARAM, "fn is NULL");
    mf_assert_ok(mf_info_visit(look_at_item, &facts));
    assert_true(facts.count > 15);
    assert_int_equal(facts.bad, 0);
    assert_true(facts.version && facts.sim && facts.direct);
}

static void look_at_option(void *arg, const mf_info_option_t *option)
{
    struct facts *facts = arg;
    facts->count++;
    facts->bad += strncmp(option->env, "MF_", 3) != 0 || option->help[0] == '\0' ||
                  option->default_value == NULL || option->value == NULL;
    facts->version |= strcmp(option->name, "gva.base") == 0 && strcmp(option->type, "number") == 0;
}

static void test_mf_info_visit_options__names_all(void **state)
{
    struct facts facts = {0};
    (void)state;
    assert_refused(mf_info_visit_options(NULL, NULL), SMEM_INVALID_PARAM, "fn is NULL");
    mf_assert_ok(mf_info_visit_options(look_at_option, &facts));
    assert_true(facts.count > 10);
    assert_int_equal(facts.bad, 0);
    assert_true(facts.version);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smem__version_init_and_uninit),
        cmocka_unit_test(test_smem_last_err__is_kept_until_taken),
        cmocka_unit_test(test_smem_last_err__belongs_to_its_thread),
        cmocka_unit_test(test_smem_create_config_store__refuses_bad_urls),
        cmocka_unit_test(test_smem_create_config_store__refuses_other_back_ends),
        cmocka_unit_test(test_smem_create_config_store__of_one_url_once),
        cmocka_unit_test(test_smem_create_config_store__names_an_occupied_address),
        cmocka_unit_test(test_smem_create_config_store__serves_ipv6_where_there_is_one),
        cmocka_unit_test(test_smem_config_store_set_backend_op__refuses),
        cmocka_unit_test(test_smem_tls__is_refused_and_remembered),
        cmocka_unit_test(test_smem_config_store__handles_are_checked),
        cmocka_unit_test(test_smem_config_store_destroy_server__can_keep_the_store),
        cmocka_unit_test(test_smem_config_store__tells_of_a_lost_rank),
        cmocka_unit_test(test_smem_config_store_get_cluster_status__sizes),
        cmocka_unit_test(test_smem_config_store_get_cluster_status__knows_the_services_store),
        cmocka_unit_test(test_mf_info_visit__tells_the_facts),
        cmocka_unit_test(test_mf_info_visit_options__names_all),
        cmocka_unit_test(test_smem_log__level_and_logger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
