// SPDX-License-Identifier: Apache-2.0
// Lists of blocks: they stay in the working set, no place comes twice before all came once, and the
// extents are what the elements cover.
#include <stdlib.h>

#include "bench/shape.h"
#include "mf_test.h"

#define SET (64ull << 20)

/* Each of the first `slots` elements has a place of its own at both ends, inside the set. */
static void assert_places(const struct shape *shape, uint64_t set)
{
    uint8_t *seen = calloc(shape->slots, 2);

    assert_non_null(seen);
    for (uint64_t i = 0; i < shape->slots; i++) {
        struct extent e = shape_element(shape, i);

        assert_true(e.bytes > 0 && e.bytes <= shape->pitch);
        assert_true(e.src + e.bytes <= set && e.dst + e.bytes <= set);
        assert_int_equal(e.src % shape->pitch, 0);
        assert_int_equal(e.dst % shape->pitch, 0);
        assert_int_equal(seen[2 * (e.src / shape->pitch)]++, 0);
        assert_int_equal(seen[2 * (e.dst / shape->pitch) + 1]++, 0);
    }
    free(seen);
}

static void test_shape_walk__goes_through_the_set_and_begins_again(void **state)
{
    struct shape shape;

    (void)state;
    assert_int_equal(shape_init(&shape, SHAPE_WALK, 4096, 4096, SET), 0);
    assert_int_equal(shape.slots, SET / 4096);
    assert_places(&shape, SET);
    assert_int_equal(shape_element(&shape, 3).src, 3 * 4096);
    assert_int_equal(shape_element(&shape, 3).dst, 3 * 4096);
    assert_int_equal(shape_element(&shape, shape.slots + 1).src, 4096);
}

static void test_shape_walk__takes_sizes_that_do_not_divide_the_set(void **state)
{
    struct shape shape;

    (void)state;
    assert_int_equal(shape_init(&shape, SHAPE_WALK, 1000, 1000, 10999), 0);
    assert_int_equal(shape.slots, 10);
    assert_places(&shape, 10999);
    assert_int_equal(shape_init(&shape, SHAPE_WALK, 8, 64, 128), 0);
    assert_int_equal(shape_element(&shape, 1).dst, 64);
    assert_int_equal(shape_element(&shape, 1).bytes, 8);
}

static void test_shape_scatter__uses_each_place_once(void **state)
{
    struct shape shape;

    (void)state;
    assert_int_equal(shape_init(&shape, SHAPE_SCATTER, 1024, 4096, SET), 0);
    assert_places(&shape, SET);
    for (uint64_t i = 0; i < 1000; i++) {
        struct extent a = shape_element(&shape, i), b = shape_element(&shape, i + 1);

        assert_true(a.src + 4096 != b.src && a.dst + 4096 != b.dst);
    }
}

static void test_shape_122__has_61_blocks_of_each_size(void **state)
{
    struct shape shape;
    uint32_t large = 0, medium = 0;

    (void)state;
    assert_int_equal(shape_init(&shape, SHAPE_122, 0, 0, SET), 0);
    assert_places(&shape, SET);
    for (uint64_t i = 5 * SHAPE_122_LIST; i < 6 * SHAPE_122_LIST; i++) {
        uint64_t bytes = shape_element(&shape, i).bytes;

        large += bytes == 128u << 10;
        medium += bytes == 16u << 10;
    }
    assert_int_equal(large, 61);
    assert_int_equal(medium, 61);
}

static void test_shape_init__refuses_a_set_that_is_too_small(void **state)
{
    struct shape shape;

    (void)state;
    assert_int_equal(shape_init(&shape, SHAPE_WALK, 4096, 4096, 4095), -1);
    assert_int_equal(shape_init(&shape, SHAPE_SCATTER, 1024, 4096, 4095), -1);
    assert_int_equal(shape_init(&shape, SHAPE_122, 0, 0, 127ull << 17), -1);
    assert_int_equal(shape_init(&shape, SHAPE_122, 0, 0, 128ull << 17), 0);
}

static void test_shape_shrink__keeps_the_kind(void **state)
{
    struct shape shape, small;

    (void)state;
    assert_int_equal(shape_init(&shape, SHAPE_SCATTER, 1024, 4096, SET), 0);
    assert_int_equal(shape_shrink(&shape, SET / 4, &small), 0);
    assert_int_equal(small.kind, SHAPE_SCATTER);
    assert_int_equal(small.block, 1024);
    assert_int_equal(small.pitch, 4096);
    assert_int_equal(small.slots, shape.slots / 4);
}

static void test_shape_extents__merges_neighbours(void **state)
{
    struct shape shape;
    struct extent *extents = NULL;

    (void)state;
    shape_init(&shape, SHAPE_WALK, 4096, 4096, SET);
    assert_int_equal(shape_extents(&shape, 100, &extents), 1);
    assert_int_equal(extents[0].src, 0);
    assert_int_equal(extents[0].dst, 0);
    assert_int_equal(extents[0].bytes, 100 * 4096);
    free(extents);
}

static void test_shape_extents__are_ascending_and_complete(void **state)
{
    struct shape shape;
    struct extent *extents = NULL;
    uint64_t sum = 0, wanted = 0, end = 0;
    size_t count = 0;

    (void)state;
    shape_init(&shape, SHAPE_122, 0, 0, SET);
    count = shape_extents(&shape, shape.slots, &extents);
    for (size_t i = 0; i < count; i++) {
        assert_true(extents[i].dst >= end);
        end = extents[i].dst + extents[i].bytes;
        sum += extents[i].bytes;
    }
    for (uint64_t i = 0; i < shape.slots; i++) {
        wanted += shape_element(&shape, i).bytes;
    }
    assert_int_equal(sum, wanted);
    free(extents);
}

static void test_shape_extents__of_nothing(void **state)
{
    struct shape shape;
    struct extent *extents = NULL;

    (void)state;
    shape_init(&shape, SHAPE_WALK, 4096, 4096, SET);
    assert_int_equal(shape_extents(&shape, 0, &extents), 0);
    free(extents);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape_walk__goes_through_the_set_and_begins_again),
        cmocka_unit_test(test_shape_walk__takes_sizes_that_do_not_divide_the_set),
        cmocka_unit_test(test_shape_scatter__uses_each_place_once),
        cmocka_unit_test(test_shape_122__has_61_blocks_of_each_size),
        cmocka_unit_test(test_shape_init__refuses_a_set_that_is_too_small),
        cmocka_unit_test(test_shape_shrink__keeps_the_kind),
        cmocka_unit_test(test_shape_extents__merges_neighbours),
        cmocka_unit_test(test_shape_extents__are_ascending_and_complete),
        cmocka_unit_test(test_shape_extents__of_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
