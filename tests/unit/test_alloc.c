// SPDX-License-Identifier: Apache-2.0
// Tests of the allocation functions and of the torture driver that stands on their hooks.
#include "base/alloc.h"

#include <stdio.h>

#include "mf_test.h"
#include "mf_torture.h"

/* Sanitizers end the process when a size is absurd, unless they are told to return NULL. Their
 * run-time library looks for these two by name. */
#define FOR_SANITIZER __attribute__((visibility("default")))
const char *__asan_default_options(void);
FOR_SANITIZER const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void);
FOR_SANITIZER const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static int setup(void **state)
{
    (void)state;
    mf_err_clear();
    return 0;
}

static void test_alloc__zero_bytes_is_a_block(void **state)
{
    (void)state;
    void *a = mf_alloc(0, "a");
    void *b = mf_calloc(0, 8, "b");
    void *c = mf_alloc_aligned(64, 0, "c");
    void *d = mf_realloc(NULL, 0, "d");
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    assert_non_null(d);
    d = mf_realloc(d, 0, "d");
    assert_non_null(d);
    mf_free(a);
    mf_free(b);
    mf_free(c);
    mf_free(d);
}

static void test_calloc__is_zeroed(void **state)
{
    (void)state;
    uint8_t *p = mf_calloc(100, 10, "thing");
    assert_non_null(p);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(p[i], 0);
    }
    mf_free(p);
}

static void test_calloc__refuses_overflow(void **state)
{
    (void)state;
    size_t volatile half = SIZE_MAX / 2;
    assert_null(mf_calloc(half, 3, "huge table"));
    assert_int_equal(mf_err_code(), SMEM_MALLOC_FAILED);
    mf_assert_err_has("huge table");
    mf_assert_err_has("times 3");
}

static void test_alloc__says_size_and_purpose_when_there_is_none(void **state)
{
    (void)state;
    size_t volatile bytes = SIZE_MAX / 2;
    assert_null(mf_alloc(bytes, "store request"));
    assert_int_equal(mf_err_code(), SMEM_MALLOC_FAILED);
    mf_assert_err_has("out of memory: 9223372036854775807 bytes for store request");
}

static void test_alloc_aligned__is_aligned_and_zeroed(void **state)
{
    (void)state;
    static const size_t aligns[] = {1, 2, 8, 64, 4096};
    for (size_t i = 0; i < sizeof(aligns) / sizeof(aligns[0]); i++) {
        uint8_t *p = mf_alloc_aligned(aligns[i], 100, "line");
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % aligns[i], 0);
        for (int at = 0; at < 100; at++) {
            assert_int_equal(p[at], 0);
        }
        mf_free(p);
    }
}

static void test_realloc__failure_leaves_the_old_block(void **state)
{
    (void)state;
    char *p = mf_strdup("content", "text");
    assert_non_null(p);
    mf_torture_arm(1);
    char *bigger = mf_realloc(p, 1000, "text");
    assert_int_equal(mf_torture_disarm(), 1);
    assert_null(bigger);
    assert_string_equal(p, "content");
    bigger = mf_realloc(p, 1000, "text");
    assert_non_null(bigger);
    assert_string_equal(bigger, "content");
    mf_free(bigger);
}

static void test_alloc__counts_live_blocks(void **state)
{
    (void)state;
    long before = mf_torture_live_blocks();
    void *a = mf_alloc(1, "a");
    void *b = mf_calloc(1, 1, "b");
    void *c = mf_alloc_aligned(64, 1, "c");
    char *d = mf_strdup("d", "d");
    a = mf_realloc(a, 100, "a");
    assert_int_equal(mf_torture_live_blocks(), before + 4);
    mf_free(a);
    mf_free(b);
    mf_free(c);
    mf_free(d);
    mf_free(NULL);
    assert_int_equal(mf_torture_live_blocks(), before);
}

static void test_alloc__every_kind_can_be_made_to_fail(void **state)
{
    (void)state;
    void *results[5];
    for (int kind = 0; kind < 5; kind++) {
        mf_torture_arm(1);
        switch (kind) {
        case 0:
            results[kind] = mf_alloc(1, "x");
            break;
        case 1:
            results[kind] = mf_calloc(1, 1, "x");
            break;
        case 2:
            results[kind] = mf_realloc(NULL, 1, "x");
            break;
        case 3:
            results[kind] = mf_alloc_aligned(64, 1, "x");
            break;
        default:
            results[kind] = mf_strdup("x", "x");
            break;
        }
        assert_int_equal(mf_torture_disarm(), 1);
        assert_null(results[kind]);
        assert_int_equal(mf_err_code(), SMEM_MALLOC_FAILED);
    }
}

/** An operation of three allocations, with a chosen defect. */
struct operation {
    int runs;
    bool ignores_failure; /* reports success although an allocation failed */
};

static int three_allocations(void *arg)
{
    struct operation *op = arg;
    op->runs++;
    int rc = SMEM_OK;
    for (int i = 0; i < 3; i++) {
        char *p = mf_strdup("p", "part");
        if (!p && !op->ignores_failure) {
            rc = SMEM_MALLOC_FAILED;
        }
        mf_free(p);
    }
    return rc;
}

static void test_torture__fails_each_allocation_once(void **state)
{
    (void)state;
    struct operation op = {0};
    assert_int_equal(mf_torture(three_allocations, &op), 3);
    assert_int_equal(op.runs, 4);
}

static void test_torture_recovers__accepts_success(void **state)
{
    (void)state;
    struct operation op = {.ignores_failure = true};
    assert_int_equal(mf_torture_recovers(three_allocations, &op), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_alloc__zero_bytes_is_a_block, setup),
        cmocka_unit_test_setup(test_calloc__is_zeroed, setup),
        cmocka_unit_test_setup(test_calloc__refuses_overflow, setup),
        cmocka_unit_test_setup(test_alloc__says_size_and_purpose_when_there_is_none, setup),
        cmocka_unit_test_setup(test_alloc_aligned__is_aligned_and_zeroed, setup),
        cmocka_unit_test_setup(test_realloc__failure_leaves_the_old_block, setup),
        cmocka_unit_test_setup(test_alloc__counts_live_blocks, setup),
        cmocka_unit_test_setup(test_alloc__every_kind_can_be_made_to_fail, setup),
        cmocka_unit_test_setup(test_torture__fails_each_allocation_once, setup),
        cmocka_unit_test_setup(test_torture_recovers__accepts_success, setup),
    };
    return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
