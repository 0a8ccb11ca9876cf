// SPDX-License-Identifier: Apache-2.0
// The world keeps every promise without faults and with them, gives the same history for the same
// seed, and carries 128 ranks.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

#define FAULTS 6u

/* A schedule of the seed, without the tool that draws better ones. */
static void draw_faults(uint64_t seed, uint32_t ranks, uint64_t steps, struct world_fault *faults)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15ull + 1;
    for (uint32_t i = 0; i < FAULTS; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        faults[i] = (struct world_fault){
            .kind = (enum world_fault_kind)((x >> 33) % FAULT_KINDS),
            .step = steps / 8 + (x >> 20) % (steps / 2),
            .rank = (uint32_t)(x >> 40) % ranks,
            .other = (uint32_t)(x >> 45) % ranks,
            .state = (enum world_state)((x >> 50) % (WORLD_STATES + 1)),
            .duration_ns = (1 + (x >> 36) % 3000) * 1000000ull,
        };
    }
}

static struct world_result run(uint64_t seed, uint32_t ranks, uint64_t steps, bool faulty)
{
    struct world_fault faults[FAULTS];
    struct world_result result;
    draw_faults(seed, ranks, steps, faults);
    struct world_cfg cfg = {.seed = seed,
                            .ranks = ranks,
                            .steps = steps,
                            .faults = faults,
                            .fault_count = faulty ? FAULTS : 0};
    world_run(&cfg, &result);
    if (result.oracle != NULL) {
        print_message("seed %llu: %s: %s\n", (unsigned long long)seed, result.oracle, result.text);
    }
    return result;
}

static void test_world__keeps_its_promises_without_faults(void **state)
{
    uint64_t copies = 0, joins = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world_result result = run(seed, 2 + (uint32_t)(seed % 8), 15000, false);
        assert_null(result.oracle);
        assert_true(result.steps >= 15000);
        copies += result.copies;
        joins += result.joins;
    }
    assert_true(copies > 1000);
    assert_true(joins > 100);
}

static void test_world__keeps_its_promises_with_faults(void **state)
{
    uint32_t struck = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world_result result = run(seed, 4 + (uint32_t)(seed % 8), 20000, true);
        assert_null(result.oracle);
        for (int kind = 0; kind < FAULT_KINDS; kind++) {
            for (int at = 0; at < WORLD_STATES; at++) {
                struck += result.struck[kind][at];
            }
        }
    }
    assert_true(struck > 10 * FAULTS);
}

static void test_world__same_seed_has_the_same_history(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 105; seed++) {
        struct world_result first = run(seed, 8, 10000, true);
        struct world_result second = run(seed, 8, 10000, true);
        assert_int_equal(first.digest, second.digest);
        assert_int_equal(first.steps, second.steps);
        assert_int_equal(first.virtual_ns, second.virtual_ns);
        assert_int_equal(first.copies, second.copies);
    }
}

static void test_world__another_seed_has_another_history(void **state)
{
    (void)state;
    assert_int_not_equal(run(200, 4, 5000, false).digest, run(201, 4, 5000, false).digest);
}

static void test_world__carries_128_ranks(void **state)
{
    (void)state;
    struct world_result result = run(300, 128, 60000, true);
    assert_null(result.oracle);
    assert_true(result.joins >= 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_world__keeps_its_promises_without_faults),
        cmocka_unit_test(test_world__keeps_its_promises_with_faults),
        cmocka_unit_test(test_world__same_seed_has_the_same_history),
        cmocka_unit_test(test_world__another_seed_has_another_history),
        cmocka_unit_test(test_world__carries_128_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
