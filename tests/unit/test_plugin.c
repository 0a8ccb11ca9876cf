// SPDX-License-Identifier: Apache-2.0
// Tests of loading a plug-in by path, with shared objects that each have one defect
// (plugins/plugin.c), and of the services that a plug-in gets.
#include "base/plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mf_test.h"
#include "mf_torture.h"

#define PATH(defect) PLUGIN_DIR "/test_plugin_" defect ".so"

static int setup(void **state)
{
    (void)state;
    mf_err_clear();
    return 0;
}

/* `path` is refused with `code`, and nothing is handed out. */
static void refused(const char *path, int code)
{
    struct mf_plugin_lib *lib = (struct mf_plugin_lib *)&lib;
    const struct mf_plugin *plugin = (const struct mf_plugin *)&plugin;
    mf_assert_rc(mf_plugin_open(path, &lib, &plugin), code);
    assert_null(lib);
    assert_null(plugin);
    mf_assert_err_has(path);
}

static void test_plugin_open__accepts_a_good_one(void **state)
{
    (void)state;
    struct mf_plugin_lib *lib;
    const struct mf_plugin *plugin;
    mf_assert_ok(mf_plugin_open(PATH("good"), &lib, &plugin));
    assert_string_equal(plugin->name, "good_1");
    assert_string_equal(plugin->version, "1.0 of the tests");
    assert_non_null(plugin->device);
    assert_null(plugin->transport);
    mf_plugin_close(lib);
}

static void test_plugin_open__may_be_opened_twice(void **state)
{
    (void)state;
    struct mf_plugin_lib *libs[2];
    const struct mf_plugin *plugins[2];
    mf_assert_ok(mf_plugin_open(PATH("good"), &libs[0], &plugins[0]));
    mf_assert_ok(mf_plugin_open(PATH("good"), &libs[1], &plugins[1]));
    mf_plugin_close(libs[0]);
    assert_string_equal(plugins[1]->name, "good_1");
    mf_plugin_close(libs[1]);
    mf_plugin_close(NULL);
}

static void test_plugin_open__names_both_abi_numbers(void **state)
{
    (void)state;
    refused(PATH("wrong_abi"), SMEM_INVALID_PARAM);
    mf_assert_err_has(
        "built for plug-in ABI 7, this library has ABI 1: rebuild it against these headers");
}

static void test_plugin_open__refuses_another_abi_under_our_symbol(void **state)
{
    (void)state;
    refused(PATH("lying_abi"), SMEM_INVALID_PARAM);
    mf_assert_err_has("says ABI 2 under the symbol of ABI 1");
}

static void test_plugin_open__refuses_a_smaller_struct(void **state)
{
    (void)state;
    char both[64];
    refused(PATH("small_size"), SMEM_INVALID_PARAM);
    snprintf(both, sizeof(both), "has %zu bytes, this library needs %zu",
             sizeof(struct mf_plugin) - 1, sizeof(struct mf_plugin));
    mf_assert_err_has(both);
}

static void test_plugin_open__refuses_what_is_no_plug_in(void **state)
{
    (void)state;
    refused(PATH("no_symbol"), SMEM_INVALID_PARAM);
    mf_assert_err_has("exports no symbol mf_plugin_v1");
}

static void test_plugin_open__refuses_bad_names(void **state)
{
    (void)state;
    refused(PATH("bad_name"), SMEM_INVALID_PARAM);
    mf_assert_err_has("name \"Bad-Name\" is not of the form [a-z0-9_]{1,15}");
    refused(PATH("long_name"), SMEM_INVALID_PARAM);
    mf_assert_err_has("name \"a234567890123456\"");
    refused(PATH("no_name"), SMEM_INVALID_PARAM);
    mf_assert_err_has("name \"(null)\"");
}

static void test_plugin_open__refuses_one_that_offers_nothing(void **state)
{
    (void)state;
    refused(PATH("empty"), SMEM_INVALID_PARAM);
    mf_assert_err_has("neither a device nor a transport");
}

static void test_plugin_open__says_why_the_loader_refused(void **state)
{
    (void)state;
    refused(PATH("there_is_none"), SMEM_NOT_EXIST);
    mf_assert_err_has("No such file");
    refused(PATH("unresolved"), SMEM_NOT_EXIST);
    mf_assert_err_has("function_that_nobody_has");
}

static void test_plugin_open__refuses_a_file_that_is_no_library(void **state)
{
    (void)state;
    char path[] = "/tmp/mf_test_plugin.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "not ELF", 7), 7);
    close(fd);
    refused(path, SMEM_NOT_EXIST);
    unlink(path);
}

static void test_plugin_open__needs_a_path(void **state)
{
    (void)state;
    refused("libm.so.6", SMEM_INVALID_PARAM);
    mf_assert_err_has("write ./libm.so.6");
    refused("", SMEM_INVALID_PARAM);
}

static int open_and_close(void *arg)
{
    struct mf_plugin_lib *lib;
    const struct mf_plugin *plugin;
    int rc = mf_plugin_open(arg, &lib, &plugin);
    mf_plugin_close(lib);
    return rc;
}

static void test_plugin_open__survives_a_failing_allocation(void **state)
{
    (void)state;
    assert_int_equal(mf_torture(open_and_close, (void *)PATH("good")), 1);
}

static char last_line[256];
static int last_level;

static void sink(int level, const char *msg)
{
    last_level = level;
    snprintf(last_line, sizeof(last_line), "%s", msg);
}

static void test_plugin_host__records_errors(void **state)
{
    (void)state;
    struct mf_log log = MF_LOG_INIT;
    struct mf_env env;
    struct mf_plugin_host host;
    mf_env_init_real(&env, &log);
    mf_plugin_host_init(&host, &env);
    assert_int_equal(host.abi, MF_PLUGIN_ABI);
    assert_int_equal(host.size, sizeof(host));
    mf_assert_rc(host.err(SMEM_NO_RESOURCES, "device %d has no memory", 3), SMEM_NO_RESOURCES);
    assert_string_equal(mf_err_msg(), "device 3 has no memory");
    mf_assert_rc(host.err(0, "a code that is none"), SMEM_ERROR);
    assert_int_equal(mf_err_code(), SMEM_ERROR);
}

static void test_plugin_host__logs_by_the_level(void **state)
{
    (void)state;
    struct mf_log log = {.level = MF_LOG_INFO, .sink = sink};
    struct mf_env env;
    struct mf_plugin_host host;
    mf_env_init_real(&env, &log);
    mf_plugin_host_init(&host, &env);
    last_line[0] = '\0';
    host.log(&host, MF_LOG_DEBUG, "device/x", "not %s", "this");
    assert_string_equal(last_line, "");
    host.log(&host, MF_LOG_INFO, "device/x", "%d%%", 50);
    assert_string_equal(last_line, "device/x: 50%");
    assert_int_equal(last_level, MF_LOG_INFO);
}

static void test_plugin_host__gives_time_and_environment(void **state)
{
    (void)state;
    struct mf_log log = MF_LOG_INIT;
    struct mf_env env;
    struct mf_plugin_host host;
    mf_env_init_real(&env, &log);
    mf_plugin_host_init(&host, &env);
    uint64_t before = mf_now_ns(&env);
    uint64_t now = host.now_ns(&host);
    assert_in_range(now, before, mf_now_ns(&env));
    setenv("MF_TEST_PLUGIN_HOST", "value", 1);
    assert_string_equal(host.getenv(&host, "MF_TEST_PLUGIN_HOST"), "value");
    unsetenv("MF_TEST_PLUGIN_HOST");
    assert_null(host.getenv(&host, "MF_TEST_PLUGIN_HOST"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_plugin_open__accepts_a_good_one, setup),
        cmocka_unit_test_setup(test_plugin_open__may_be_opened_twice, setup),
        cmocka_unit_test_setup(test_plugin_open__names_both_abi_numbers, setup),
        cmocka_unit_test_setup(test_plugin_open__refuses_another_abi_under_our_symbol, setup),
        cmocka_unit_test_setup(test_plugin_open__refuses_a_smaller_struct, setup),
        cmocka_unit_test_setup(test_plugin_open__refuses_what_is_no_plug_in, setup),
        cmocka_unit_test_setup(test_plugin_open__refuses_bad_names, setup),
        cmocka_unit_test_setup(test_plugin_open__refuses_one_that_offers_nothing, setup),
        cmocka_unit_test_setup(test_plugin_open__says_why_the_loader_refused, setup),
        cmocka_unit_test_setup(test_plugin_open__refuses_a_file_that_is_no_library, setup),
        cmocka_unit_test_setup(test_plugin_open__needs_a_path, setup),
        cmocka_unit_test_setup(test_plugin_open__survives_a_failing_allocation, setup),
        cmocka_unit_test_setup(test_plugin_host__records_errors, setup),
        cmocka_unit_test_setup(test_plugin_host__logs_by_the_level, setup),
        cmocka_unit_test_setup(test_plugin_host__gives_time_and_environment, setup),
    };
    return cmocka_run_group_tests_name("plugin", tests, NULL, NULL);
}
