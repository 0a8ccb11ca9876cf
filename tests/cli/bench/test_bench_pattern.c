// SPDX-License-Identifier: Apache-2.0
// The pattern of the benchmark: it differs by run, rank, round and offset, at any alignment, and
// each kind of wrong byte in a target is counted.
#include <stdlib.h>

#include "bench/pattern.h"
#include "mf_test.h"

#define BYTES 1024u

static const struct pattern here = {.run = 1, .round = 2, .rank = 3};

static void test_pattern_fill__is_what_pattern_wrong_expects(void **state)
{
    uint8_t buffer[BYTES];

    (void)state;
    for (size_t offset = 0; offset < 20; offset++) {
        for (size_t bytes = 0; bytes < 40; bytes++) {
            pattern_fill(&here, offset, buffer, bytes);
            assert_int_equal(pattern_wrong(&here, offset, buffer, bytes), 0);
        }
    }
}

static void test_pattern_fill__gives_each_offset_its_byte(void **state)
{
    uint8_t whole[BYTES], piece[64];

    (void)state;
    pattern_fill(&here, 0, whole, BYTES);
    for (size_t offset = 1; offset + sizeof(piece) < 200; offset += 7) {
        pattern_fill(&here, offset, piece, sizeof(piece));
        assert_memory_equal(piece, whole + offset, sizeof(piece));
    }
}

static void test_pattern_fill__stays_in_its_bytes(void **state)
{
    uint8_t buffer[32];

    (void)state;
    memset(buffer, 0x11, sizeof(buffer));
    pattern_fill(&here, 5, buffer + 8, 9);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(buffer[i], 0x11);
        assert_int_equal(buffer[17 + i], 0x11);
    }
}

/* Nearly all bytes of `other` at `offset` are wrong for `here` at 0. */
static void assert_differs(const struct pattern *other, uint64_t offset)
{
    uint8_t buffer[BYTES];

    pattern_fill(other, offset, buffer, BYTES);
    assert_true(pattern_wrong(&here, 0, buffer, BYTES) > BYTES * 9 / 10);
}

static void test_pattern_fill__differs_by_run_round_rank_and_offset(void **state)
{
    struct pattern run = here, round = here, rank = here;

    (void)state;
    run.run++;
    round.round++;
    rank.rank++;
    assert_differs(&run, 0);
    assert_differs(&round, 0);
    assert_differs(&rank, 0);
    assert_differs(&here, 8);
    assert_differs(&here, 4096);
}

static void test_pattern_wrong__counts_each_wrong_byte(void **state)
{
    uint8_t buffer[BYTES];

    (void)state;
    pattern_fill(&here, 3, buffer, BYTES);
    buffer[0] ^= 1;
    buffer[500] ^= 0x80;
    buffer[BYTES - 1] ^= 0xff;
    assert_int_equal(pattern_wrong(&here, 3, buffer, BYTES), 3);
}

/* A target of BYTES: [64, 164) holds source 0.., [300, 400) holds source 1000... */
static const struct extent extents[] = {{.dst = 64, .src = 0, .bytes = 100},
                                        {.dst = 300, .src = 1000, .bytes = 100}};

static void make_target(uint8_t *target)
{
    memset(target, PATTERN_POISON, BYTES);
    pattern_fill(&here, 0, target + 64, 100);
    pattern_fill(&here, 1000, target + 300, 100);
}

static uint64_t wrong_in(const uint8_t *target)
{
    return pattern_wrong_in_target(&here, extents, 2, 0, target, BYTES);
}

static void test_pattern_wrong_in_target__accepts_a_right_target_in_any_pieces(void **state)
{
    uint8_t target[BYTES];

    (void)state;
    make_target(target);
    assert_int_equal(wrong_in(target), 0);
    for (size_t piece = 1; piece < 130; piece++) {
        for (size_t at = 0; at < BYTES; at += piece) {
            size_t bytes = BYTES - at < piece ? BYTES - at : piece;

            assert_int_equal(pattern_wrong_in_target(&here, extents, 2, at, target + at, bytes), 0);
        }
    }
}

static void test_pattern_wrong_in_target__sees_a_flipped_bit(void **state)
{
    uint8_t target[BYTES];

    (void)state;
    make_target(target);
    target[163] ^= 4;
    assert_int_equal(wrong_in(target), 1);
}

static void test_pattern_wrong_in_target__sees_a_block_left_out(void **state)
{
    uint8_t target[BYTES];

    (void)state;
    make_target(target);
    memset(target + 300, PATTERN_POISON, 100);
    assert_true(wrong_in(target) > 90);
}

static void test_pattern_wrong_in_target__sees_a_block_in_anothers_place(void **state)
{
    uint8_t target[BYTES];

    (void)state;
    make_target(target);
    pattern_fill(&here, 0, target + 300, 100);
    assert_true(wrong_in(target) > 90);
}

static void test_pattern_wrong_in_target__sees_bytes_where_none_belong(void **state)
{
    uint8_t target[BYTES];

    (void)state;
    make_target(target);
    target[0] = 0;
    target[200] = 0;
    target[BYTES - 1] = 0;
    assert_int_equal(wrong_in(target), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pattern_fill__is_what_pattern_wrong_expects),
        cmocka_unit_test(test_pattern_fill__gives_each_offset_its_byte),
        cmocka_unit_test(test_pattern_fill__stays_in_its_bytes),
        cmocka_unit_test(test_pattern_fill__differs_by_run_round_rank_and_offset),
        cmocka_unit_test(test_pattern_wrong__counts_each_wrong_byte),
        cmocka_unit_test(test_pattern_wrong_in_target__accepts_a_right_target_in_any_pieces),
        cmocka_unit_test(test_pattern_wrong_in_target__sees_a_flipped_bit),
        cmocka_unit_test(test_pattern_wrong_in_target__sees_a_block_left_out),
        cmocka_unit_test(test_pattern_wrong_in_target__sees_a_block_in_anothers_place),
        cmocka_unit_test(test_pattern_wrong_in_target__sees_bytes_where_none_belong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
