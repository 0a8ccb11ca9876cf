// SPDX-License-Identifier: Apache-2.0
// Requests to pull and their answers: what is encoded is decoded, and whatever else comes is
// refused without a step outside of the buffer.
#include "transport/direct/vm_msg.h"

#include <stdlib.h>

#include "base/limits.h"
#include "mf_test.h"

static void fill_pull(struct mf_direct_pull *pull, uint32_t count)
{
    *pull = (struct mf_direct_pull){.rank = MF_WORLD_MAX - 1,
                                    .index = MF_SEGMENTS_MAX - 1,
                                    .incarnation = UINT64_MAX,
                                    .epoch = 0x1122334455667788ull,
                                    .number = 77,
                                    .count = count};
    for (uint32_t i = 0; i < count; i++) {
        pull->v[i] = (struct mf_direct_piece){
            .src = 0x7f0000000000ull + i, .offset = i * 4096ull, .size = 1 + i};
    }
}

static void fill_done(struct mf_direct_done *done, int32_t code, uint32_t count)
{
    memset(done, 0, sizeof(*done));
    done->number = 12345678901ull;
    done->code = code;
    done->count = count;
    for (uint32_t i = 0; i < count; i++) {
        done->codes[i] = i % 2 ? code : 0;
    }
    if (code) {
        memset(done->text, 'x', count % (MF_DIRECT_PULL_TEXT + 1));
    }
}

static void test_pull__round_trip(void **state)
{
    static struct mf_direct_pull pull, out;
    uint8_t buf[MF_DIRECT_PULL_MAX], again[MF_DIRECT_PULL_MAX];
    (void)state;
    for (uint32_t count = 1; count <= MF_DIRECT_PULL_PIECES; count += 51) {
        fill_pull(&pull, count);
        size_t len = mf_direct_pull_encode(&pull, buf);
        assert_int_equal(len, MF_DIRECT_PULL_HEAD + count * MF_DIRECT_PULL_PIECE);
        memset(&out, 0xee, sizeof(out));
        mf_assert_ok(mf_direct_pull_decode(buf, len, &out));
        assert_memory_equal(out.v, pull.v, count * sizeof(pull.v[0]));
        assert_int_equal(mf_direct_pull_encode(&out, again), len);
        assert_memory_equal(buf, again, len);
    }
}

static void test_done__round_trip(void **state)
{
    static struct mf_direct_done done, out;
    uint8_t buf[MF_DIRECT_DONE_MAX], again[MF_DIRECT_DONE_MAX];
    (void)state;
    for (uint32_t count = 0; count <= MF_DIRECT_PULL_PIECES; count += 64) {
        fill_done(&done, count ? SMEM_NOT_CONNECTED : SMEM_OK, count);
        size_t len = mf_direct_done_encode(&done, buf);
        memset(&out, 0xee, sizeof(out));
        mf_assert_ok(mf_direct_done_decode(buf, len, &out));
        assert_string_equal(out.text, done.text);
        assert_int_equal(mf_direct_done_encode(&out, again), len);
        assert_memory_equal(buf, again, len);
    }
    /* A sentence that fills its place. */
    memset(done.text, 'y', MF_DIRECT_PULL_TEXT + 1);
    size_t len = mf_direct_done_encode(&done, buf);
    mf_assert_ok(mf_direct_done_decode(buf, len, &out));
    assert_int_equal(strlen(out.text), MF_DIRECT_PULL_TEXT);
}

/* One field of a good request is changed. */
static void expect_refused(void (*spoil)(struct mf_direct_pull *pull))
{
    static struct mf_direct_pull pull, out;
    uint8_t buf[MF_DIRECT_PULL_MAX + MF_DIRECT_PULL_PIECE];
    fill_pull(&pull, 3);
    spoil(&pull);
    size_t len = mf_direct_pull_encode(&pull, buf);
    mf_assert_rc(mf_direct_pull_decode(buf, len, &out), SMEM_INVALID_PARAM);
    mf_assert_err_has("request to pull");
}

#define SPOIL(name, statement)                    \
    static void name(struct mf_direct_pull *pull) \
    {                                             \
        statement;                                \
    }
SPOIL(bad_rank, pull->rank = MF_WORLD_MAX)
SPOIL(bad_index, pull->index = MF_SEGMENTS_MAX)
SPOIL(no_incarnation, pull->incarnation = 0)
SPOIL(no_epoch, pull->epoch = 0)
SPOIL(no_number, pull->number = 0)
SPOIL(no_pieces, pull->count = 0)
SPOIL(empty_piece, pull->v[1].size = 0)
SPOIL(null_piece, pull->v[1].src = 0)
SPOIL(wrapping_source, pull->v[1].src = UINT64_MAX)
SPOIL(wrapping_offset, pull->v[1].offset = UINT64_MAX)
SPOIL(long_piece, pull->v[1].size = MF_DIRECT_PULL_BYTES + 1)
SPOIL(long_sum, pull->v[0].size = pull->v[1].size = MF_DIRECT_PULL_BYTES / 2 + 1)

static void test_pull_decode__refuses_bad_fields(void **state)
{
    (void)state;
    expect_refused(bad_rank);
    expect_refused(bad_index);
    expect_refused(no_incarnation);
    expect_refused(no_epoch);
    expect_refused(no_number);
    expect_refused(no_pieces);
    expect_refused(empty_piece);
    expect_refused(null_piece);
    expect_refused(wrapping_source);
    expect_refused(wrapping_offset);
    expect_refused(long_piece);
    expect_refused(long_sum);
}

static void expect_done_refused(const struct mf_direct_done *done)
{
    static struct mf_direct_done out;
    uint8_t buf[MF_DIRECT_DONE_MAX];
    size_t len = mf_direct_done_encode(done, buf);
    mf_assert_rc(mf_direct_done_decode(buf, len, &out), SMEM_INVALID_PARAM);
    mf_assert_err_has("answer to a pull");
}

static void test_done_decode__refuses_bad_fields(void **state)
{
    static struct mf_direct_done done;
    (void)state;
    fill_done(&done, SMEM_ERROR, 3);
    done.number = 0;
    expect_done_refused(&done);
    fill_done(&done, SMEM_ERROR, 3);
    done.code = 5;
    expect_done_refused(&done);
    done.code = 0; /* codes without a failure */
    expect_done_refused(&done);
    fill_done(&done, SMEM_ERROR, 0); /* a failure without codes */
    expect_done_refused(&done);
    fill_done(&done, SMEM_ERROR, 3);
    done.codes[1] = 1;
    expect_done_refused(&done);
}

static void test_decode__another_version_is_named(void **state)
{
    static struct mf_direct_pull pull;
    static struct mf_direct_done done;
    uint8_t buf[MF_DIRECT_PULL_MAX];
    (void)state;
    fill_pull(&pull, 1);
    size_t len = mf_direct_pull_encode(&pull, buf);
    buf[4] = 9;
    mf_assert_rc(mf_direct_pull_decode(buf, len, &pull), SMEM_INVALID_PARAM);
    mf_assert_err_has("version 9; this library speaks version 1");
    buf[4] = 1;
    mf_assert_rc(mf_direct_done_decode(buf, len, &done), SMEM_INVALID_PARAM); /* the other sort */
    mf_assert_err_has("magic");
}

static void test_decode__refuses_every_other_length(void **state)
{
    static struct mf_direct_pull pull, pull_out;
    static struct mf_direct_done done, done_out;
    uint8_t buf[MF_DIRECT_PULL_MAX + 1] = {0};
    (void)state;
    fill_pull(&pull, 4);
    size_t len = mf_direct_pull_encode(&pull, buf);
    for (size_t n = 0; n <= sizeof(buf); n++) {
        uint8_t *exact = malloc(n ? n : 1); /* a step outside is seen by the address sanitizer */
        memcpy(exact, buf, n);
        mf_assert_rc(mf_direct_pull_decode(exact, n, &pull_out),
                     n == len ? SMEM_OK : SMEM_INVALID_PARAM);
        free(exact);
    }
    fill_done(&done, SMEM_ERROR, 4);
    len = mf_direct_done_encode(&done, buf);
    for (size_t n = 0; n <= MF_DIRECT_DONE_MAX + 1; n++) {
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, buf, n);
        mf_assert_rc(mf_direct_done_decode(exact, n, &done_out),
                     n == len ? SMEM_OK : SMEM_INVALID_PARAM);
        free(exact);
    }
}

static void spoil_bits(uint8_t *bytes, size_t len, uint32_t flips, uint64_t *seed)
{
    for (; flips > 0; flips--) {
        *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
        bytes[(*seed >> 33) % len] ^= (uint8_t)(1u << (*seed >> 61));
    }
}

/* Whatever is accepted is what the encoder would have made. */
static void test_decode__mutations(void **state)
{
    static struct mf_direct_pull pull, pull_out;
    static struct mf_direct_done done, done_out;
    uint8_t good[MF_DIRECT_PULL_MAX], bad[MF_DIRECT_PULL_MAX], again[MF_DIRECT_PULL_MAX];
    uint32_t accepted = 0;
    uint64_t seed = 4711;
    (void)state;
    fill_pull(&pull, 5);
    size_t len = mf_direct_pull_encode(&pull, good);
    for (uint32_t round = 0; round < 30000; round++) {
        memcpy(bad, good, len);
        spoil_bits(bad, len, round % 3 + 1, &seed);
        if (mf_direct_pull_decode(bad, len, &pull_out) == SMEM_OK) {
            accepted++;
            assert_int_equal(mf_direct_pull_encode(&pull_out, again), len);
            assert_memory_equal(bad, again, len);
        }
    }
    assert_true(accepted > 0 && accepted < 30000);
    fill_done(&done, SMEM_ERROR, 5);
    len = mf_direct_done_encode(&done, good);
    accepted = 0;
    for (uint32_t round = 0; round < 30000; round++) {
        memcpy(bad, good, len);
        spoil_bits(bad, len, round % 3 + 1, &seed);
        if (mf_direct_done_decode(bad, len, &done_out) == SMEM_OK) {
            accepted++;
            assert_int_equal(mf_direct_done_encode(&done_out, again), len);
            assert_memory_equal(bad, again, len);
        }
    }
    assert_true(accepted > 0 && accepted < 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pull__round_trip),
        cmocka_unit_test(test_done__round_trip),
        cmocka_unit_test(test_pull_decode__refuses_bad_fields),
        cmocka_unit_test(test_done_decode__refuses_bad_fields),
        cmocka_unit_test(test_decode__another_version_is_named),
        cmocka_unit_test(test_decode__refuses_every_other_length),
        cmocka_unit_test(test_decode__mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
