// SPDX-License-Identifier: Apache-2.0
// Quartiles, percentiles, and the comparison by pairs with runs whose times the test decides.
#include <math.h>

#include "bench/stats.h"
#include "mf_test.h"

static void assert_near(double got, double want)
{
    if (fabs(got - want) > 1e-9) {
        print_error("%.12g is not %.12g\n", got, want);
        fail();
    }
}

static void test_quartiles__of_an_odd_number_of_values(void **state)
{
    double values[] = {5, 1, 4, 2, 3};
    struct quartiles q = stats_quartiles(values, 5);

    (void)state;
    assert_near(q.q1, 2);
    assert_near(q.median, 3);
    assert_near(q.q3, 4);
}

static void test_quartiles__lie_between_neighbours(void **state)
{
    double values[] = {4, 1, 3, 2};
    struct quartiles q = stats_quartiles(values, 4);

    (void)state;
    assert_near(q.q1, 1.75);
    assert_near(q.median, 2.5);
    assert_near(q.q3, 3.25);
}

static void test_quartiles__of_one_value(void **state)
{
    double value = 7;
    struct quartiles q = stats_quartiles(&value, 1);

    (void)state;
    assert_near(q.q1, 7);
    assert_near(q.median, 7);
    assert_near(q.q3, 7);
}

static void test_percentile__is_a_value_that_was_there(void **state)
{
    double values[200];

    (void)state;
    for (int i = 0; i < 200; i++) {
        values[i] = 200 - i;
    }
    assert_near(stats_percentile(values, 200, 0.5), 100);
    assert_near(stats_percentile(values, 200, 0.99), 198);
    assert_near(stats_percentile(values, 200, 1), 200);
    assert_near(stats_percentile(values, 200, 0), 1);
    assert_near(stats_percentile(values, 1, 0.99), 1);
}

/* Times that runs give, in order, and the order in which they were asked. */
struct script {
    const double *ours, *base;
    int ours_runs, base_runs;
    char order[64];
    int at;
};

static double run_ours(void *arg)
{
    struct script *script = arg;

    script->order[script->at++] = 'o';
    return script->ours[script->ours_runs++];
}

static double run_base(void *arg)
{
    struct script *script = arg;

    script->order[script->at++] = 'b';
    return script->base[script->base_runs++];
}

static void test_compare__takes_ratios_of_pairs_and_changes_who_begins(void **state)
{
    /* The first of each warms up. The machine becomes slower; the ratio of each pair does not. */
    const double ours[] = {99, 1, 2, 10}, base[] = {99, 2, 4, 20};
    struct script script = {.ours = ours, .base = base};
    struct stats_pairs out;

    (void)state;
    assert_int_equal(stats_compare(run_ours, run_base, &script, 3, &out), 0);
    assert_string_equal(script.order, "ob"
                                      "ob"
                                      "bo"
                                      "ob");
    assert_int_equal(out.pairs, 3);
    assert_near(out.ratio.q1, 2);
    assert_near(out.ratio.median, 2);
    assert_near(out.ratio.q3, 2);
    assert_near(out.ours.median, 2);
    assert_near(out.base.median, 4);
    assert_near(out.extra.median, -2);
}

static void test_compare__without_a_baseline_has_no_ratio(void **state)
{
    const double ours[] = {99, 1, 3, 2};
    struct script script = {.ours = ours};
    struct stats_pairs out;

    (void)state;
    assert_int_equal(stats_compare(run_ours, NULL, &script, 3, &out), 0);
    assert_near(out.ours.median, 2);
    assert_true(isnan(out.ratio.median));
    assert_true(isnan(out.base.median));
    assert_true(isnan(out.extra.median));
}

static void test_compare__ends_at_the_first_failure(void **state)
{
    const double ours[] = {1, 1, -1, 1}, base[] = {1, 1, 1, 1};
    struct script script = {.ours = ours, .base = base};
    struct stats_pairs out;

    (void)state;
    assert_int_equal(stats_compare(run_ours, run_base, &script, 3, &out), -1);
    assert_int_equal(script.ours_runs, 3);
}

static void test_compare__refuses_a_bad_number_of_pairs(void **state)
{
    const double ours[] = {1, 1};
    struct script script = {.ours = ours};
    struct stats_pairs out;

    (void)state;
    assert_int_equal(stats_compare(run_ours, NULL, &script, 0, &out), -1);
    assert_int_equal(stats_compare(run_ours, NULL, &script, STATS_PAIRS_MAX + 1, &out), -1);
    assert_int_equal(script.ours_runs, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quartiles__of_an_odd_number_of_values),
        cmocka_unit_test(test_quartiles__lie_between_neighbours),
        cmocka_unit_test(test_quartiles__of_one_value),
        cmocka_unit_test(test_percentile__is_a_value_that_was_there),
        cmocka_unit_test(test_compare__takes_ratios_of_pairs_and_changes_who_begins),
        cmocka_unit_test(test_compare__without_a_baseline_has_no_ratio),
        cmocka_unit_test(test_compare__ends_at_the_first_failure),
        cmocka_unit_test(test_compare__refuses_a_bad_number_of_pairs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
