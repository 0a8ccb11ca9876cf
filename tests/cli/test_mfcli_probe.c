// SPDX-License-Identifier: Apache-2.0
// The probe of memory: all bytes touched by all workers, what the kernel refuses, and what does not
// end in time.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mem/probe.h"
#include "mf_test.h"

#define BYTES ((uint64_t)8 << 20)

static void test_mem_probe__touches_all_with_any_number_of_workers(void **state)
{
    static const uint32_t workers[] = {1, 2, 7, 200};

    (void)state;
    for (size_t i = 0; i < sizeof(workers) / sizeof(workers[0]); i++) {
        struct mem_probe probe = {
            .node = -1, .bytes = BYTES, .workers = workers[i], .timeout_ms = 30000};
        struct mem_probe_result result;

        assert_int_equal(mem_probe_run(&probe, &result), 0);
        assert_int_equal(result.touched, BYTES);
        assert_string_equal(result.error, "");
    }
}

static void test_mem_probe__binds_to_a_node(void **state)
{
    struct mem_probe probe = {.node = 0, .bytes = BYTES, .workers = 2, .timeout_ms = 30000};
    struct mem_probe_result result;

    (void)state;
    if (access("/sys/devices/system/node/node0", F_OK)) {
        print_message("skipped: this kernel tells of no NUMA nodes\n");
        skip();
    }
    if (mem_probe_run(&probe, &result) && strstr(result.error, "not permitted")) {
        print_message("skipped: this container may not bind memory: %s\n", result.error);
        skip();
    }
    assert_string_equal(result.error, "");
    assert_int_equal(result.touched, BYTES);
    probe.node = 1000;
    assert_int_equal(mem_probe_run(&probe, &result), -1);
    assert_int_equal(result.touched, 0);
    assert_non_null(strstr(result.error, "cannot bind it to the node"));
}

static void test_mem_probe__says_what_the_kernel_refuses(void **state)
{
    /* No machine has so much. */
    struct mem_probe probe = {
        .node = -1, .bytes = (uint64_t)1 << 60, .workers = 1, .timeout_ms = 30000};
    struct mem_probe_result result;

    (void)state;
    assert_int_equal(mem_probe_run(&probe, &result), -1);
    assert_int_equal(result.touched, 0);
    assert_non_null(strstr(result.error, "cannot map it: Cannot allocate memory"));
}

static void test_mem_probe__ends_at_its_deadline(void **state)
{
    struct mem_probe probe = {
        .node = -1, .bytes = (uint64_t)256 << 20, .workers = 1, .timeout_ms = 1};
    struct mem_probe_result result;

    (void)state;
    assert_int_equal(mem_probe_run(&probe, &result), -1);
    assert_string_equal(result.error, "not done after 1 ms");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem_probe__touches_all_with_any_number_of_workers),
        cmocka_unit_test(test_mem_probe__binds_to_a_node),
        cmocka_unit_test(test_mem_probe__says_what_the_kernel_refuses),
        cmocka_unit_test(test_mem_probe__ends_at_its_deadline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
