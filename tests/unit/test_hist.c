// SPDX-License-Identifier: Apache-2.0
// Tests of the histogram against sorted samples.
#include "base/hist.h"

#include <math.h>
#include <stdlib.h>

#include "mf_test.h"

#define SAMPLES 20000

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* A fixed sequence of numbers (xorshift), so that a failure repeats. */
static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void test_hist_quantile__is_zero_while_empty(void **state)
{
    (void)state;
    struct mf_hist hist;
    mf_hist_init(&hist);
    assert_int_equal(hist.count, 0);
    assert_true(hist.min == UINT64_MAX);
    assert_int_equal(mf_hist_quantile(&hist, 0.5), 0);
    assert_int_equal(mf_hist_quantile(&hist, 1), 0);
}

static void test_hist_quantile__is_exact_for_one_value(void **state)
{
    (void)state;
    static const uint64_t values[] = {
        0, 1, 31, 32, 33, 63, 64, 65, 1000, 123456789, UINT64_MAX / 2, UINT64_MAX};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct mf_hist hist;
        mf_hist_init(&hist);
        mf_hist_add(&hist, values[i]);
        assert_true(hist.min == values[i] && hist.max == values[i] && hist.sum == values[i]);
        assert_true(mf_hist_quantile(&hist, 0) == values[i]);
        assert_true(mf_hist_quantile(&hist, 0.5) == values[i]);
        assert_true(mf_hist_quantile(&hist, 1) == values[i]);
    }
}

static void test_hist_quantile__is_exact_for_small_values(void **state)
{
    (void)state;
    struct mf_hist hist;
    mf_hist_init(&hist);
    for (uint64_t value = 0; value < 32; value++) {
        mf_hist_add(&hist, value);
    }
    for (uint64_t value = 0; value < 32; value++) {
        assert_int_equal(mf_hist_quantile(&hist, (double)(value + 1) / 32), value);
    }
}

static void test_hist_quantile__is_within_one_thirty_second(void **state)
{
    (void)state;
    static const double shares[] = {0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999};
    uint64_t seed = 88172645463325252ull;
    uint64_t *samples = calloc(SAMPLES, sizeof(*samples));
    assert_non_null(samples);
    struct mf_hist hist;
    mf_hist_init(&hist);
    for (int i = 0; i < SAMPLES; i++) {
        samples[i] = next_random(&seed) >> (next_random(&seed) % 64); /* over all magnitudes */
        mf_hist_add(&hist, samples[i]);
    }
    qsort(samples, SAMPLES, sizeof(*samples), compare);
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        size_t rank = (size_t)(shares[i] * SAMPLES);
        uint64_t want = samples[rank - 1 + (shares[i] * SAMPLES > (double)rank)];
        uint64_t got = mf_hist_quantile(&hist, shares[i]);
        assert_true(got >= want);
        assert_true(got - want <= want / 32);
    }
    assert_true(mf_hist_quantile(&hist, 0) == samples[0]);
    assert_true(mf_hist_quantile(&hist, 1) == samples[SAMPLES - 1]);
    free(samples);
}

static void test_hist_quantile__takes_any_share(void **state)
{
    (void)state;
    struct mf_hist hist;
    mf_hist_init(&hist);
    mf_hist_add(&hist, 10);
    mf_hist_add(&hist, 20);
    assert_int_equal(mf_hist_quantile(&hist, -1), 10);
    assert_int_equal(mf_hist_quantile(&hist, 2), 20);
    assert_int_equal(mf_hist_quantile(&hist, (double)NAN), 10);
}

static void test_hist_merge__equals_one_histogram_of_all(void **state)
{
    (void)state;
    struct mf_hist parts[3];
    struct mf_hist merged;
    struct mf_hist all;
    uint64_t seed = 42;
    mf_hist_init(&merged);
    mf_hist_init(&all);
    for (int part = 0; part < 3; part++) {
        mf_hist_init(&parts[part]);
        for (int i = 0; i < part * 500; i++) { /* the first one stays empty */
            uint64_t value = next_random(&seed) >> 40;
            mf_hist_add(&parts[part], value);
            mf_hist_add(&all, value);
        }
        mf_hist_merge(&merged, &parts[part]);
    }
    assert_memory_equal(&merged, &all, sizeof(all));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hist_quantile__is_zero_while_empty),
        cmocka_unit_test(test_hist_quantile__is_exact_for_one_value),
        cmocka_unit_test(test_hist_quantile__is_exact_for_small_values),
        cmocka_unit_test(test_hist_quantile__is_within_one_thirty_second),
        cmocka_unit_test(test_hist_quantile__takes_any_share),
        cmocka_unit_test(test_hist_merge__equals_one_histogram_of_all),
    };
    return cmocka_run_group_tests_name("hist", tests, NULL, NULL);
}
