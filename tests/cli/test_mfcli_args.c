// SPDX-License-Identifier: Apache-2.0
// The option table: values, units, ranges, and the sentences for mistakes. Also what prints: JSON
// and tables.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "args.h"
#include "mf_test.h"
#include "out.h"

struct values {
    bool flag;
    uint64_t number, size, seconds, choice;
    const char *text;
};

static const char *const colours[] = {"red", "green", NULL};

/* Parses `words` (the first is the command) and gives back what was printed to stderr. */
static int parse(struct values *values, const char *operands, char **words, int *rest, char *said,
                 size_t room)
{
    const struct arg_option options[] = {
        {.name = "flag", .letter = 'f', .type = ARG_FLAG, .value = &values->flag, .help = "a flag"},
        {.name = "number",
         .letter = 'n',
         .type = ARG_NUMBER,
         .metavar = "N",
         .value = &values->number,
         .min = 2,
         .max = 10,
         .help = "a number"},
        {.name = "size",
         .type = ARG_SIZE,
         .metavar = "B",
         .value = &values->size,
         .help = "a size"},
        {.name = "seconds",
         .type = ARG_SECONDS,
         .metavar = "S",
         .value = &values->seconds,
         .min = 10,
         .max = 5000,
         .help = "seconds"},
        {.name = "colour",
         .type = ARG_CHOICE,
         .metavar = "C",
         .value = &values->choice,
         .choices = colours,
         .help = "a colour"},
        {.name = "text",
         .type = ARG_TEXT,
         .metavar = "T",
         .value = &values->text,
         .help = "a text"},
        {.name = "secret", .type = ARG_FLAG, .value = &values->flag, .help = "x", .hidden = true},
    };
    const struct arg_spec spec = {.command = "mfcli test",
                                  .operands = operands,
                                  .about = "Test.",
                                  .options = options,
                                  .count = sizeof(options) / sizeof(options[0])};
    FILE *real = stderr;
    FILE *file = tmpfile();
    int argc = 0, result = 0;
    size_t got = 0;

    while (words[argc]) {
        argc++;
    }
    assert_non_null(file);
    stderr = file;
    result = args_parse(&spec, argc, words, rest);
    stderr = real;
    rewind(file);
    got = fread(said, 1, room - 1, file);
    said[got] = '\0';
    fclose(file);
    return result;
}

static void test_args_parse__takes_every_type(void **state)
{
    struct values v = {0};
    char said[512];
    int rest = 0;
    char *words[] = {"test",      "-f",   "-n",           "7",           "--size=16K",
                     "--seconds", "0.25", "--text",       "--looks-odd", "--colour",
                     "green",     "--",   "--left-alone", NULL};

    (void)state;
    assert_int_equal(parse(&v, "WORDS", words, &rest, said, sizeof(said)), ARGS_GO);
    assert_true(v.flag);
    assert_int_equal(v.number, 7);
    assert_int_equal(v.size, 16384);
    assert_int_equal(v.seconds, 250);
    assert_int_equal(v.choice, 1);
    assert_string_equal(v.text, "--looks-odd");
    assert_int_equal(rest, 12);
    assert_string_equal(said, "");
}

static void test_args_parse__leaves_operands(void **state)
{
    struct values v = {0};
    char said[512];
    int rest = 0;
    char *words[] = {"test", "--flag", "program", "--number", "99", NULL};

    (void)state;
    assert_int_equal(parse(&v, "PROGRAM", words, &rest, said, sizeof(said)), ARGS_GO);
    assert_int_equal(rest, 2);
    assert_int_equal(v.number, 0);
}

static void test_args_parse__repeats_what_may_be_repeated(void **state)
{
    struct arg_texts texts = {.count = 0};
    const struct arg_option options[] = {arg_texts("dir", "DIR", &texts, "directories")};
    const struct arg_spec spec = {
        .command = "mfcli test", .about = "Test.", .options = options, .count = 1};
    char name[] = "test", option[] = "--dir", one[] = "one", two[] = "--dir=two";
    char *words[] = {name, option, one, two, NULL};

    (void)state;
    assert_int_equal(args_parse(&spec, 4, words, NULL), ARGS_GO);
    assert_int_equal(texts.count, 2);
    assert_string_equal(texts.items[0], "one");
    assert_string_equal(texts.items[1], "two");
}

static void keep_spec(void *arg, const struct arg_spec *spec)
{
    *(const struct arg_spec **)arg = spec;
}

static void test_args_observe__gives_the_table_in_place_of_a_run(void **state)
{
    bool flag = false;
    const struct arg_option options[] = {arg_flag("flag", &flag, "a flag")};
    const struct arg_spec spec = {
        .command = "mfcli test", .about = "Test.", .options = options, .count = 1};
    const struct arg_spec *seen = NULL;
    char name[] = "test", option[] = "--flag";
    char *words[] = {name, option, NULL};

    (void)state;
    args_observe(keep_spec, &seen);
    assert_int_equal(args_parse(&spec, 2, words, NULL), CLI_OK);
    args_observe(NULL, NULL);
    assert_ptr_equal(seen, &spec);
    assert_false(flag);
    assert_int_equal(args_parse(&spec, 2, words, NULL), ARGS_GO);
    assert_true(flag);
}

struct mistake {
    const char *word, *value, *said;
};

static void test_args_parse__names_mistakes(void **state)
{
    static const struct mistake mistakes[] = {
        {"--nubmer", "3", "no option --nubmer; did you mean --number?"},
        {"--colr", "red", "no option --colr; did you mean --colour?"},
        {"--qqq", NULL, "there is no option --qqq\n"},
        {"-x", NULL, "there is no option -x\n"},
        {"--number", "1", "--number: 1 is not in the range 2 to 10"},
        {"--number", "11", "--number: 11 is not in the range 2 to 10"},
        {"--number", "3x", "--number: '3x' is not a number"},
        {"--number", "-3", "--number: '-3' is not a number"},
        {"--number", NULL, "--number needs a value (N)"},
        {"--size", "16Q", "--size: '16Q' is not a size"},
        {"--size", "99999999T", "--size: '99999999T' is not a size"},
        {"--seconds", "never", "--seconds: 'never' is not seconds"},
        {"--seconds", "6", "--seconds: 6 is not in the range 0.01 to 5 s"},
        {"--colour", "gren", "--colour: there is no 'gren'; did you mean 'green'?"},
        {"--colour", "ultramarine", "the first of the choices is 'red'"},
        {"--flag=1", NULL, "--flag takes no value"},
        {"word", NULL, "'word' is no option"},
        {"--secre", NULL, "there is no option --secre\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        struct values v = {0};
        char said[512];
        char *words[] = {"test", (char *)(uintptr_t)mistakes[i].word,
                         (char *)(uintptr_t)mistakes[i].value, NULL};

        assert_int_equal(parse(&v, NULL, words, NULL, said, sizeof(said)), CLI_USAGE);
        if (!strstr(said, mistakes[i].said) || !strstr(said, "mfcli test --help")) {
            fail_msg("%s %s said: %s", words[1], words[2] ? words[2] : "", said);
        }
    }
}

static void test_args_size__knows_units(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},         {"4096", 4096},       {"0x1000", 4096},   {"1k", 1024},
                {"2M", 2u << 20}, {"3GiB", 3ull << 30}, {"1TB", 1ull << 40}};
    static const char *const bad[] = {"", "K", "1KK", "-1", "1.5K", "18446744073709551616", " 1"};
    uint64_t bytes = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(args_size(good[i].text, &bytes));
        assert_true(bytes == good[i].bytes);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(args_size(bad[i], &bytes));
    }
}

static void test_args_nearest__finds_what_was_meant(void **state)
{
    static const char *const names[] = {"replay", "run", "store", NULL};

    (void)state;
    assert_string_equal(args_nearest("relpay", names), "replay");
    assert_string_equal(args_nearest("sotre", names), "store");
    assert_string_equal(args_nearest("rnu", names), "run");
    assert_null(args_nearest("benchmark", names));
    assert_null(args_nearest("", names));
}

static char *printed(FILE *file, char *text, size_t room)
{
    size_t got = 0;

    rewind(file);
    got = fread(text, 1, room - 1, file);
    text[got] = '\0';
    fclose(file);
    return text;
}

static void test_out_json__escapes_what_must_be(void **state)
{
    struct out_json json;
    FILE *file = tmpfile();
    char text[1024];

    (void)state;
    out_json_open(&json, file);
    out_json_text(&json, "plain", "a/b \"c\" \\ \t\n\x01");
    out_json_bytes(&json, "odd", "\xc3\xa9|\xff|\xc0\xaf|\xed\xa0\x80|\xe2\x82|\0|\x7f", 18);
    out_json_u64(&json, "big", UINT64_MAX);
    out_json_i64(&json, "low", -5);
    out_json_real(&json, "real", 0.366412, 5);
    out_json_real(&json, "none", NAN, 5);
    out_json_bool(&json, "yes", true);
    out_json_raw(&json, "list", "[1]");
    out_json_close(&json);
    assert_string_equal(
        printed(file, text, sizeof(text)),
        "{\"plain\": \"a/b \\\"c\\\" \\\\ \\u0009\\u000a\\u0001\", \"odd\": "
        "\"\xc3\xa9|\\ufffd|\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd|\\ufffd\\ufffd|\\u0000|\x7f\", "
        "\"big\": 18446744073709551615, \"low\": -5, \"real\": 0.36641, \"none\": null, "
        "\"yes\": true, \"list\": [1]}\n");
}

static void test_out_table__aligns_columns(void **state)
{
    static const char *const heads[] = {"name", ">size", "note"};
    static const char *const rows[][3] = {{"a", "1", "one|two"}, {"longer", "1000", ""}};
    struct out_table table;
    FILE *file = tmpfile();
    FILE *markdown = tmpfile();
    char text[512];

    (void)state;
    out_table_init(&table, heads, 3);
    out_table_row(&table, rows[0]);
    out_table_row(&table, rows[1]);
    out_table_print(&table, file);
    out_table_markdown(&table, markdown);
    out_table_fini(&table);
    assert_string_equal(printed(file, text, sizeof(text)), "name    size  note\n"
                                                           "a          1  one|two\n"
                                                           "longer  1000\n");
    assert_string_equal(printed(markdown, text, sizeof(text)), "| name | size | note |\n"
                                                               "|---|---:|---|\n"
                                                               "| a | 1 | one\\|two |\n"
                                                               "| longer | 1000 |  |\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_args_parse__takes_every_type),
        cmocka_unit_test(test_args_parse__leaves_operands),
        cmocka_unit_test(test_args_parse__repeats_what_may_be_repeated),
        cmocka_unit_test(test_args_observe__gives_the_table_in_place_of_a_run),
        cmocka_unit_test(test_args_parse__names_mistakes),
        cmocka_unit_test(test_args_size__knows_units),
        cmocka_unit_test(test_args_nearest__finds_what_was_meant),
        cmocka_unit_test(test_out_json__escapes_what_must_be),
        cmocka_unit_test(test_out_table__aligns_columns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
