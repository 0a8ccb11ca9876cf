// SPDX-License-Identifier: Apache-2.0
// Tests of option types and bounds that the real table does not have: src/config is compiled into
// this program with the table of fake_options/.
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>

#include "mf_test.h"

static void test_config_set__takes_all_words_for_a_switch(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } cases[] = {{"1", 1},    {"0", 0},     {"on", 1}, {"off", 0},
                 {"true", 1}, {"false", 0}, {"ON", 1}, {"False", 0}};
    struct mf_config config;
    mf_config_defaults(&config);
    assert_int_equal(mf_config_u64(&config, MF_OPT_FLAG_ON), 1);
    assert_int_equal(mf_config_u64(&config, MF_OPT_FLAG_OFF), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mf_assert_ok(mf_config_set(&config, MF_OPT_FLAG_OFF, cases[i].text));
        assert_int_equal(mf_config_u64(&config, MF_OPT_FLAG_OFF), cases[i].value);
    }
}

static void test_config_set__refuses_other_words_for_a_switch(void **state)
{
    (void)state;
    static const char *const cases[] = {"", "2", "yes", "o", "onn", " on", "-1", "01"};
    struct mf_config config;
    mf_config_defaults(&config);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mf_assert_rc(mf_config_set(&config, MF_OPT_FLAG_ON, cases[i]), SMEM_INVALID_PARAM);
        mf_assert_err_has("option flag.on: value \"");
        mf_assert_err_has("allowed is on or off");
        assert_int_equal(mf_config_u64(&config, MF_OPT_FLAG_ON), 1);
    }
}

static void test_config_set__takes_the_largest_number(void **state)
{
    (void)state;
    struct mf_config config;
    mf_config_defaults(&config);
    mf_assert_ok(mf_config_set(&config, MF_OPT_ANY, "18446744073709551615"));
    assert_true(mf_config_u64(&config, MF_OPT_ANY) == UINT64_MAX);
    mf_assert_rc(mf_config_set(&config, MF_OPT_ANY, "18446744073709551616"), SMEM_INVALID_PARAM);
    mf_assert_err_has("allowed is 0 to 18446744073709551615");
}

static void test_opt_format_range__uses_whole_units_up_to_tera(void **state)
{
    (void)state;
    char range[MF_OPT_RANGE_MAX];
    mf_opt_format_range(MF_OPT_SIZE, range);
    assert_string_equal(range, "1 to 3072T");
    mf_opt_format_range(MF_OPT_TEXT, range);
    assert_string_equal(range, "at most 255 bytes");
}

static void test_config_load__reads_a_switch(void **state)
{
    (void)state;
    char *variables[] = {"MF_FLAG_ON=off", "MF_TEXT_ANY=", NULL};
    char *wrong[] = {"MF_FLAG_ON=perhaps", NULL};
    struct mf_config config;
    mf_config_defaults(&config);
    mf_assert_ok(mf_config_load(&config, variables, NULL));
    assert_int_equal(mf_config_u64(&config, MF_OPT_FLAG_ON), 0);
    assert_false(config.v[MF_OPT_TEXT].is_default); /* empty text is a value */
    mf_assert_rc(mf_config_load(&config, wrong, NULL), SMEM_INVALID_PARAM);
    mf_assert_err_has("environment variable MF_FLAG_ON: option flag.on: value \"perhaps\"");
}

static void assert_prints(enum mf_config_format format, const char *want)
{
    struct mf_config config;
    char *text = NULL;
    size_t size = 0;
    mf_config_defaults(&config);
    mf_assert_ok(mf_config_set(&config, MF_OPT_FLAG_ON, "off"));
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    mf_assert_ok(mf_config_print(out, &config, format));
    fclose(out);
    assert_string_equal(text, want);
    free(text);
}

static void test_config_print__whole_table_as_text(void **state)
{
    (void)state;
    assert_prints(MF_CONFIG_TEXT,
                  "flag.on = off\n"
                  "    a switch that is on by default\n"
                  "    MF_FLAG_ON, bool, on or off; default \"on\"\n"
                  "flag.off = 0 (default)\n"
                  "    a switch that is off | not on\n"
                  "    MF_FLAG_OFF, bool, on or off; default \"0\"\n"
                  "number.any = 0 (default)\n"
                  "    any number at all\n"
                  "    MF_NUMBER_ANY, number, 0 to 18446744073709551615; default \"0\"\n"
                  "number.size = 1536 (default)\n"
                  "    a size with bounds that are not whole units\n"
                  "    MF_NUMBER_SIZE, number of unit bytes, 1 to 3072T; default \"1536\"\n"
                  "text.any =  (default)\n"
                  "    any text at all\n"
                  "    MF_TEXT_ANY, text, at most 255 bytes; default \"\"\n");
}

static void test_config_print__whole_table_as_markdown(void **state)
{
    (void)state;
    assert_prints(
        MF_CONFIG_MARKDOWN,
        "| option | variable | type | unit | default | allowed | meaning | value | is default |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
        "| flag.on | MF_FLAG_ON | bool |  | on | on or off | a switch that is on by default | off "
        "| "
        "no |\n"
        "| flag.off | MF_FLAG_OFF | bool |  | 0 | on or off | a switch that is off \\| not on | 0 "
        "| "
        "yes |\n"
        "| number.any | MF_NUMBER_ANY | number |  | 0 | 0 to 18446744073709551615 | any number at "
        "all | 0 | yes |\n"
        "| number.size | MF_NUMBER_SIZE | number | bytes | 1536 | 1 to 3072T | a size with bounds "
        "that are not whole units | 1536 | yes |\n"
        "| text.any | MF_TEXT_ANY | text |  |  | at most 255 bytes | any text at all |  | yes |\n");
}

static void test_config_print__whole_table_as_json(void **state)
{
    (void)state;
    assert_prints(
        MF_CONFIG_JSON,
        "[\n"
        "  {\"name\": \"flag.on\", \"env\": \"MF_FLAG_ON\", \"type\": \"bool\", \"unit\": \"\", "
        "\"help\": \"a switch that is on by default\", \"default\": true, \"value\": false, "
        "\"is_default\": false},\n"
        "  {\"name\": \"flag.off\", \"env\": \"MF_FLAG_OFF\", \"type\": \"bool\", \"unit\": \"\", "
        "\"help\": \"a switch that is off | not on\", \"default\": false, \"value\": false, "
        "\"is_default\": true},\n"
        "  {\"name\": \"number.any\", \"env\": \"MF_NUMBER_ANY\", \"type\": \"number\", \"unit\": "
        "\"\", \"help\": \"any number at all\", \"min\": 0, \"max\": 18446744073709551615, "
        "\"default\": 0, \"value\": 0, \"is_default\": true},\n"
        "  {\"name\": \"number.size\", \"env\": \"MF_NUMBER_SIZE\", \"type\": \"number\", "
        "\"unit\": "
        "\"bytes\", \"help\": \"a size with bounds that are not whole units\", \"min\": 1, "
        "\"max\": "
        "3377699720527872, \"default\": 1536, \"value\": 1536, \"is_default\": true},\n"
        "  {\"name\": \"text.any\", \"env\": \"MF_TEXT_ANY\", \"type\": \"text\", \"unit\": \"\", "
        "\"help\": \"any text at all\", \"default\": \"\", \"value\": \"\", \"is_default\": true}\n"
        "]\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_set__takes_all_words_for_a_switch),
        cmocka_unit_test(test_config_set__refuses_other_words_for_a_switch),
        cmocka_unit_test(test_config_set__takes_the_largest_number),
        cmocka_unit_test(test_opt_format_range__uses_whole_units_up_to_tera),
        cmocka_unit_test(test_config_load__reads_a_switch),
        cmocka_unit_test(test_config_print__whole_table_as_text),
        cmocka_unit_test(test_config_print__whole_table_as_markdown),
        cmocka_unit_test(test_config_print__whole_table_as_json),
    };
    return cmocka_run_group_tests_name("config_types", tests, NULL, NULL);
}
