// SPDX-License-Identifier: Apache-2.0
// Tests of the table of options: parsing, the environment, guesses at misspelt names, printing. The
// tests use the real table; those that walk over it hold for every row that is added.
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>

#include "mf_test.h"

static void test_parse_u64__accepts_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } cases[] = {
        {"0", 0},
        {"4096", 4096},
        {"007", 7},
        {"0x1000", 4096},
        {"0XaBcDeF", 0xabcdef},
        {"64K", 65536},
        {"64k", 65536},
        {"3M", 3ull << 20},
        {"16G", 16ull << 30},
        {"40T", 40ull << 40},
        {"0x10G", 16ull << 30},
        {"0T", 0},
        {"18446744073709551615", UINT64_MAX},
        {"0xffffffffffffffff", UINT64_MAX},
        {"16777215T", 16777215ull << 40},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t value = 1;
        if (!mf_parse_u64(cases[i].text, &value) || value != cases[i].value) {
            fail_msg("\"%s\" gives %llu", cases[i].text, (unsigned long long)value);
        }
    }
}

static void test_parse_u64__refuses_the_rest(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        " ",
        "K",
        "x",
        "0x",
        "0xg",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1KB",
        "1KK",
        "1.5G",
        "1e3",
        "12a",
        "0b1",
        "1\n",
        "١",
        "0x 1",
        "1,000",
        "0xK",
        "18446744073709551616",
        "0x10000000000000000",
        "16777216T",
        "18014398509481984K",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t value = 77;
        if (mf_parse_u64(cases[i], &value)) {
            fail_msg("\"%s\" is taken for %llu", cases[i], (unsigned long long)value);
        }
        assert_int_equal(value, 77);
    }
}

static void test_opt_table__every_row_is_sound(void **state)
{
    (void)state;
    for (int id = 0; id < MF_OPT_COUNT; id++) {
        const struct mf_opt_info *info = mf_opt_info((enum mf_opt)id);
        assert_true(strncmp(info->env, "MF_", 3) == 0);
        assert_non_null(strchr(info->name, '.'));
        assert_true(strlen(info->name) < 64 && strlen(info->env) < 64);
        assert_true(strlen(info->help) > 10);
        assert_true(info->type != MF_OPT_TYPE_U64 || info->min < info->max);
        /* Found by both names, so neither stands twice in the table. */
        assert_int_equal(mf_opt_find(info->name), id);
        assert_int_equal(mf_opt_find(info->env), id);
    }
    assert_int_equal(mf_opt_find("no.such"), -1);
    assert_int_equal(mf_opt_find(""), -1);
}

static void test_config_defaults__are_the_table_s(void **state)
{
    (void)state;
    struct mf_config config;
    mf_config_defaults(&config);
    assert_int_equal(mf_config_u64(&config, MF_OPT_LOG_LEVEL), 2);
    assert_true(mf_config_u64(&config, MF_OPT_GVA_BASE) == 0x280000000000ull);
    assert_true(mf_config_u64(&config, MF_OPT_GVA_SPAN) == 40ull << 40);
    assert_string_equal(mf_config_str(&config, MF_OPT_DEVICE), "auto");
    for (int id = 0; id < MF_OPT_COUNT; id++) {
        assert_true(config.v[id].is_default);
        assert_string_equal(config.v[id].str, mf_opt_info((enum mf_opt)id)->def);
    }
}

static void test_config_set__takes_the_bounds_and_nothing_beside(void **state)
{
    (void)state;
    struct mf_config config;
    mf_config_defaults(&config);
    for (int id = 0; id < MF_OPT_COUNT; id++) {
        const struct mf_opt_info *info = mf_opt_info((enum mf_opt)id);
        if (info->type != MF_OPT_TYPE_U64) {
            continue;
        }
        char text[32];
        snprintf(text, sizeof(text), "%llu", (unsigned long long)info->min);
        mf_assert_ok(mf_config_set(&config, (enum mf_opt)id, text));
        assert_true(mf_config_u64(&config, (enum mf_opt)id) == info->min);
        assert_false(config.v[id].is_default);
        snprintf(text, sizeof(text), "%llu", (unsigned long long)info->max);
        mf_assert_ok(mf_config_set(&config, (enum mf_opt)id, text));
        snprintf(text, sizeof(text), "%llu", (unsigned long long)info->max + 1);
        mf_assert_rc(mf_config_set(&config, (enum mf_opt)id, text), SMEM_INVALID_PARAM);
        if (info->min > 0) {
            snprintf(text, sizeof(text), "%llu", (unsigned long long)info->min - 1);
            mf_assert_rc(mf_config_set(&config, (enum mf_opt)id, text), SMEM_INVALID_PARAM);
        }
        assert_true(mf_config_u64(&config, (enum mf_opt)id) == info->max); /* the old value stays */
    }
}

static void test_config_set__says_option_value_and_what_is_allowed(void **state)
{
    (void)state;
    struct mf_config config;
    mf_config_defaults(&config);
    mf_assert_rc(mf_config_set(&config, MF_OPT_LOG_LEVEL, "loud"), SMEM_INVALID_PARAM);
    assert_string_equal(
        mf_err_msg(),
        "option log.level: value \"loud\" is not valid: allowed is 0 to 5, unit level");
    mf_assert_rc(mf_config_set(&config, MF_OPT_SIM_MEMORY, "1"), SMEM_INVALID_PARAM);
    mf_assert_err_has("allowed is 2M to 1T, unit bytes");
    mf_assert_rc(mf_config_set(&config, MF_OPT_GVA_BASE, "4096"), SMEM_INVALID_PARAM);
    mf_assert_err_has("allowed is 0x1000000000 to 0x7f0000000000, unit address");
}

static void test_config_set__takes_suffixes_only_for_bytes(void **state)
{
    (void)state;
    struct mf_config config;
    mf_config_defaults(&config);
    mf_assert_ok(mf_config_set(&config, MF_OPT_SIM_MEMORY, "4M"));
    assert_int_equal(mf_config_u64(&config, MF_OPT_SIM_MEMORY), 4 << 20);
    assert_string_equal(mf_config_str(&config, MF_OPT_SIM_MEMORY), "4M");
    mf_assert_rc(mf_config_set(&config, MF_OPT_STORE_REQUEST_MS, "1K"), SMEM_INVALID_PARAM);
    mf_assert_err_has("store.request_ms");
}

static void test_config_set__limits_the_length_of_text(void **state)
{
    (void)state;
    struct mf_config config;
    char text[MF_OPT_STR_MAX + 10];
    mf_config_defaults(&config);
    memset(text, 'p', sizeof(text));
    text[MF_OPT_STR_MAX - 1] = '\0';
    mf_assert_ok(mf_config_set(&config, MF_OPT_DEVICE, text));
    assert_string_equal(mf_config_str(&config, MF_OPT_DEVICE), text);
    text[MF_OPT_STR_MAX - 1] = 'p';
    text[MF_OPT_STR_MAX] = '\0';
    mf_assert_rc(mf_config_set(&config, MF_OPT_DEVICE, text), SMEM_INVALID_PARAM);
    mf_assert_err_has("at most 255 bytes");
    mf_assert_rc(mf_config_set(&config, MF_OPT_LOG_LEVEL, text), SMEM_INVALID_PARAM);
    mf_assert_ok(mf_config_set(&config, MF_OPT_TRANSPORT, ""));
}

static void test_opt_nearest__guesses_a_misspelt_option(void **state)
{
    (void)state;
    assert_string_equal(mf_opt_nearest("gva.bsae"), "gva.base");
    assert_string_equal(mf_opt_nearest("log.levle"), "log.level");
    assert_string_equal(mf_opt_nearest("store.sesion_ms"), "store.session_ms");
    assert_string_equal(mf_opt_nearest("copy.thread"), "copy.threads");
    assert_string_equal(mf_opt_nearest("sim.device"), "sim.devices");
    assert_null(mf_opt_nearest("something quite different"));
    assert_null(mf_opt_nearest(""));
    char long_name[5000];
    memset(long_name, 'a', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    assert_null(mf_opt_nearest(long_name));
}

/** The log lines of a load, one after the other. */
static struct {
    int count;
    int levels[8];
    char lines[8][256];
} logged;

static void sink(int level, const char *msg)
{
    if (logged.count < 8) {
        logged.levels[logged.count] = level;
        snprintf(logged.lines[logged.count], sizeof(logged.lines[0]), "%s", msg);
    }
    logged.count++;
}

static int load(struct mf_config *config, char *const *variables)
{
    struct mf_log log = {.level = MF_LOG_INFO, .sink = sink};
    memset(&logged, 0, sizeof(logged));
    mf_err_clear();
    mf_config_defaults(config);
    return mf_config_load(config, variables, &log);
}

static void test_config_load__reads_the_variables_of_options(void **state)
{
    (void)state;
    char *variables[] = {"PATH=/bin",
                         "MF_LOG_LEVEL=5",
                         "MF_SIM_MEMORY=1G",
                         "MF_DEVICE=sim",
                         "MF_SIM_MEMORY=2G",
                         "HOME=/",
                         NULL};
    struct mf_config config;
    mf_assert_ok(load(&config, variables));
    assert_int_equal(mf_config_u64(&config, MF_OPT_LOG_LEVEL), 5);
    assert_true(mf_config_u64(&config, MF_OPT_SIM_MEMORY) == 1ull << 30); /* the first counts */
    assert_string_equal(mf_config_str(&config, MF_OPT_DEVICE), "sim");
    assert_false(config.v[MF_OPT_DEVICE].is_default);
    assert_true(config.v[MF_OPT_GVA_BASE].is_default);
    assert_int_equal(logged.count, 0);
}

static void test_config_load__names_an_ill_typed_variable(void **state)
{
    (void)state;
    static const struct {
        char *variable;
        const char *said;
    } cases[] = {
        {"MF_LOG_LEVEL=loud",
         "environment variable MF_LOG_LEVEL: option log.level: value \"loud\""},
        {"MF_LOG_LEVEL=6", "environment variable MF_LOG_LEVEL: option log.level: value \"6\""},
        {"MF_LOG_LEVEL=", "environment variable MF_LOG_LEVEL: option log.level: value \"\""},
        {"MF_GVA_BASE=0", "environment variable MF_GVA_BASE: "},
        {"ASCEND_MF_LOG_LEVEL=x", "environment variable ASCEND_MF_LOG_LEVEL: option log.level"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *variables[] = {cases[i].variable, NULL};
        struct mf_config config;
        mf_assert_rc(load(&config, variables), SMEM_INVALID_PARAM);
        mf_assert_err_has(cases[i].said);
    }
}

static void test_config_load__takes_the_old_name_when_the_new_is_not_set(void **state)
{
    (void)state;
    char *only_old[] = {"ASCEND_MF_LOG_LEVEL=1", NULL};
    char *both[] = {"ASCEND_MF_LOG_LEVEL=1", "MF_LOG_LEVEL=0", NULL};
    struct mf_config config;
    mf_assert_ok(load(&config, only_old));
    assert_int_equal(mf_config_u64(&config, MF_OPT_LOG_LEVEL), 1);
    assert_int_equal(logged.count, 1);
    assert_int_equal(logged.levels[0], MF_LOG_WARN);
    assert_string_equal(
        logged.lines[0],
        "config: environment variable ASCEND_MF_LOG_LEVEL is an old name: use MF_LOG_LEVEL");
    mf_assert_ok(load(&config, both));
    assert_int_equal(mf_config_u64(&config, MF_OPT_LOG_LEVEL), 0);
}

static void test_config_load__warns_of_unknown_variables(void **state)
{
    (void)state;
    char *variables[] = {"MF_LOG_LEVLE=1", "MF_WORLD_SZIE=4", "MF_COMPLETELY_DIFFERENT=1",
                         "OTHER_LOG_LEVLE=1", NULL};
    struct mf_config config;
    mf_assert_ok(load(&config, variables));
    assert_int_equal(logged.count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(logged.levels[i], MF_LOG_WARN);
    }
    assert_string_equal(
        logged.lines[0],
        "config: environment variable MF_LOG_LEVLE is unknown: did you mean MF_LOG_LEVEL?");
    assert_string_equal(
        logged.lines[1],
        "config: environment variable MF_WORLD_SZIE is unknown: did you mean MF_WORLD_SIZE?");
    assert_string_equal(logged.lines[2],
                        "config: environment variable MF_COMPLETELY_DIFFERENT is unknown");
}

static void test_config_load__knows_the_variables_of_other_parts(void **state)
{
    (void)state;
    char *variables[] = {"MF_CONFIG_STORE_URL=tcp://127.0.0.1:1",
                         "MF_WORLD_SIZE=2",
                         "MF_RANK=0",
                         "MF_LOCAL_RANK=0",
                         "MF_CLUSTER_KEY_FILE=/k",
                         NULL};
    struct mf_config config;
    mf_assert_ok(load(&config, variables));
    assert_int_equal(logged.count, 0);
}

static void test_config_load__names_the_reference_s_variables_at_info(void **state)
{
    (void)state;
    char *variables[] = {"MF_HCOM_SQ_SIZE=1", "ACCLINK_CHECK_PERIOD_HOURS=24", NULL};
    struct mf_config config;
    mf_assert_ok(load(&config, variables));
    assert_int_equal(logged.count, 2);
    assert_int_equal(logged.levels[0], MF_LOG_INFO);
    assert_string_equal(logged.lines[0],
                        "config: environment variable MF_HCOM_SQ_SIZE has no meaning here");
    assert_string_equal(
        logged.lines[1],
        "config: environment variable ACCLINK_CHECK_PERIOD_HOURS has no meaning here");
}

static void test_config_load__survives_odd_environments(void **state)
{
    (void)state;
    char long_name[5000];
    memset(long_name, 'X', sizeof(long_name));
    memcpy(long_name, "MF_", 3);
    long_name[sizeof(long_name) - 1] = '\0';
    char *variables[] = {"", "=", "MF_", "MF_LOG_LEVEL", "=MF_LOG_LEVEL=1", long_name, NULL};
    char *none[] = {NULL};
    struct mf_config config;
    mf_assert_ok(load(&config, variables));
    assert_true(config.v[MF_OPT_LOG_LEVEL].is_default);
    assert_int_equal(logged.count, 2); /* "MF_" and the long one */
    mf_assert_ok(load(&config, none));
    mf_assert_ok(mf_config_load(&config, variables, NULL));
}

/* What mf_config_print writes; free() it. */
static char *printed(const struct mf_config *config, enum mf_config_format format)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    mf_assert_ok(mf_config_print(out, config, format));
    fclose(out);
    return text;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        fail_msg("no \"%s\" in:\n%s", part, text);
    }
}

static int count_lines(const char *text)
{
    int count = 0;
    for (; *text; text++) {
        count += *text == '\n';
    }
    return count;
}

static void test_config_print__text_shows_values_and_defaults(void **state)
{
    (void)state;
    struct mf_config config;
    mf_config_defaults(&config);
    mf_assert_ok(mf_config_set(&config, MF_OPT_SIM_MEMORY, "4M"));
    char *text = printed(&config, MF_CONFIG_TEXT);
    assert_has(text, "gva.base = 0x280000000000 (default)\n");
    assert_has(text, "sim.memory = 4M\n");
    assert_has(text, "    MF_SIM_MEMORY, number of unit bytes, 2M to 1T; default \"16G\"\n");
    assert_int_equal(count_lines(text), 3 * MF_OPT_COUNT);
    free(text);
}

static void test_config_print__markdown_without_values_is_the_documentation(void **state)
{
    (void)state;
    struct mf_config config;
    char *text = printed(NULL, MF_CONFIG_MARKDOWN);
    assert_has(text, "| option | variable | type | unit | default | allowed | meaning |\n"
                     "|---|---|---|---|---|---|---|\n");
    assert_has(text,
               "| sim.memory | MF_SIM_MEMORY | number | bytes | 16G | 2M to 1T | memory of each "
               "simulated device |\n");
    assert_int_equal(count_lines(text), 2 + MF_OPT_COUNT);
    free(text);
    mf_config_defaults(&config);
    mf_assert_ok(mf_config_set(&config, MF_OPT_DEVICE, "a|b"));
    text = printed(&config, MF_CONFIG_MARKDOWN);
    assert_has(text, "| a\\|b | no |\n");
    free(text);
}

static void test_config_print__json_has_typed_values(void **state)
{
    (void)state;
    struct mf_config config;
    mf_config_defaults(&config);
    mf_assert_ok(mf_config_set(&config, MF_OPT_SIM_MEMORY, "4M"));
    mf_assert_ok(mf_config_set(&config, MF_OPT_DEVICE, "a\"b\\c\n"));
    char *text = printed(&config, MF_CONFIG_JSON);
    assert_has(text,
               "  {\"name\": \"sim.memory\", \"env\": \"MF_SIM_MEMORY\", \"type\": \"number\", "
               "\"unit\": \"bytes\", \"help\": \"memory of each simulated device\", "
               "\"min\": 2097152, \"max\": 1099511627776, \"default\": 17179869184, "
               "\"value\": 4194304, \"is_default\": false}");
    assert_has(text,
               "\"default\": \"auto\", \"value\": \"a\\\"b\\\\c\\u000a\", \"is_default\": false}");
    assert_memory_equal(text, "[\n  {", 5);
    assert_string_equal(text + strlen(text) - 4, "}\n]\n");
    assert_int_equal(count_lines(text), MF_OPT_COUNT + 2);
    free(text);
    text = printed(NULL, MF_CONFIG_JSON);
    assert_null(strstr(text, "\"value\""));
    assert_null(strstr(text, ",\n]"));
    free(text);
}

static void test_config_print__reports_a_full_disk(void **state)
{
    (void)state;
    struct mf_config config;
    mf_config_defaults(&config);
    FILE *out = fopen("/dev/full", "w");
    assert_non_null(out);
    mf_assert_rc(mf_config_print(out, &config, MF_CONFIG_TEXT), SMEM_ERROR);
    mf_assert_err_has("No space left on device");
    fclose(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_u64__accepts_numbers),
        cmocka_unit_test(test_parse_u64__refuses_the_rest),
        cmocka_unit_test(test_opt_table__every_row_is_sound),
        cmocka_unit_test(test_config_defaults__are_the_table_s),
        cmocka_unit_test(test_config_set__takes_the_bounds_and_nothing_beside),
        cmocka_unit_test(test_config_set__says_option_value_and_what_is_allowed),
        cmocka_unit_test(test_config_set__takes_suffixes_only_for_bytes),
        cmocka_unit_test(test_config_set__limits_the_length_of_text),
        cmocka_unit_test(test_opt_nearest__guesses_a_misspelt_option),
        cmocka_unit_test(test_config_load__reads_the_variables_of_options),
        cmocka_unit_test(test_config_load__names_an_ill_typed_variable),
        cmocka_unit_test(test_config_load__takes_the_old_name_when_the_new_is_not_set),
        cmocka_unit_test(test_config_load__warns_of_unknown_variables),
        cmocka_unit_test(test_config_load__knows_the_variables_of_other_parts),
        cmocka_unit_test(test_config_load__names_the_reference_s_variables_at_info),
        cmocka_unit_test(test_config_load__survives_odd_environments),
        cmocka_unit_test(test_config_print__text_shows_values_and_defaults),
        cmocka_unit_test(test_config_print__markdown_without_values_is_the_documentation),
        cmocka_unit_test(test_config_print__json_has_typed_values),
        cmocka_unit_test(test_config_print__reports_a_full_disk),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
