// SPDX-License-Identifier: Apache-2.0
// The lists of the benchmark's command line, and the table of paths.
#include "bench/config.h"
#include "mf_test.h"

static void test_parse_paths__takes_all_and_lists_in_any_case(void **state)
{
    char word[32];
    uint32_t paths = 0;

    (void)state;
    assert_int_equal(bench_parse_paths("all", &paths, word, sizeof(word)), 0);
    assert_int_equal(paths, (1u << PATH_COUNT) - 1);
    paths = 0;
    assert_int_equal(bench_parse_paths("h2rd,RH2H", &paths, word, sizeof(word)), 0);
    assert_int_equal(paths, 1u << PATH_H2RD | 1u << PATH_RH2H);
}

static void test_parse_paths__names_the_bad_word(void **state)
{
    char word[32];
    uint32_t paths = 0;

    (void)state;
    assert_int_equal(bench_parse_paths("h2d,h2x,d2h", &paths, word, sizeof(word)), -1);
    assert_string_equal(word, "h2x");
    assert_int_equal(paths, 0);
    assert_int_equal(bench_parse_paths("", &paths, word, sizeof(word)), -1);
    assert_string_equal(word, "");
}

static void test_parse_cases__knows_every_case(void **state)
{
    char word[32];
    uint32_t cases = 0;

    (void)state;
    for (uint32_t i = 0; i < CASE_COUNT; i++) {
        cases = 0;
        assert_int_equal(bench_parse_cases(bench_case_names[i], &cases, word, sizeof(word)), 0);
        assert_int_equal(cases, 1u << i);
    }
    assert_null(bench_case_names[CASE_COUNT]);
    assert_int_equal(bench_parse_cases("lat9", &cases, word, sizeof(word)), -1);
    assert_string_equal(word, "lat9");
}

static void test_parse_sizes__takes_units(void **state)
{
    struct bench_cfg cfg = {.size_count = 7};
    char word[32];

    (void)state;
    assert_int_equal(bench_parse_sizes("8,4K,1M", &cfg, word, sizeof(word)), 0);
    assert_int_equal(cfg.size_count, 3);
    assert_int_equal(cfg.sizes[0], 8);
    assert_int_equal(cfg.sizes[1], 4096);
    assert_int_equal(cfg.sizes[2], 1 << 20);
}

static void test_parse_sizes__refuses_zero_rubbish_and_too_many(void **state)
{
    struct bench_cfg cfg;
    char word[32];

    (void)state;
    assert_int_equal(bench_parse_sizes("4K,0", &cfg, word, sizeof(word)), -1);
    assert_string_equal(word, "0");
    assert_int_equal(bench_parse_sizes("4X", &cfg, word, sizeof(word)), -1);
    assert_int_equal(bench_parse_sizes("", &cfg, word, sizeof(word)), -1);
    assert_int_equal(
        bench_parse_sizes("1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", &cfg, word, sizeof(word)), -1);
}

static void test_paths__types_fit_the_places(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < PATH_COUNT; i++) {
        const struct bench_path *path = &bench_paths[i];
        bool from_pool = path->src == PLACE_DRAM || path->src == PLACE_HBM;
        bool to_pool = path->dst == PLACE_DRAM || path->dst == PLACE_HBM;

        assert_true(from_pool != to_pool);
        assert_true(!path->src_remote || from_pool);
        assert_true(!path->dst_remote || to_pool);
        switch (path->type) {
        case SMEMB_COPY_H2G:
            assert_true(path->src == PLACE_HOST && to_pool);
            break;
        case SMEMB_COPY_L2G:
            assert_true(path->src == PLACE_DEVICE && to_pool);
            break;
        case SMEMB_COPY_G2H:
            assert_true(path->dst == PLACE_HOST && from_pool);
            break;
        case SMEMB_COPY_G2L:
            assert_true(path->dst == PLACE_DEVICE && from_pool);
            break;
        default:
            fail_msg("%s: type %d", path->name, (int)path->type);
        }
    }
}

static void test_host_paths__need_no_device(void **state)
{
    (void)state;
    assert_int_equal(bench_host_paths(), 1u << PATH_H2RH | 1u << PATH_RH2H);
}

static void test_transports__have_operators(void **state)
{
    (void)state;
    for (uint64_t i = 0; bench_transport_names[i]; i++) {
        assert_true(bench_transport_ops(i) != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_paths__takes_all_and_lists_in_any_case),
        cmocka_unit_test(test_parse_paths__names_the_bad_word),
        cmocka_unit_test(test_parse_cases__knows_every_case),
        cmocka_unit_test(test_parse_sizes__takes_units),
        cmocka_unit_test(test_parse_sizes__refuses_zero_rubbish_and_too_many),
        cmocka_unit_test(test_paths__types_fit_the_places),
        cmocka_unit_test(test_host_paths__need_no_device),
        cmocka_unit_test(test_transports__have_operators),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
