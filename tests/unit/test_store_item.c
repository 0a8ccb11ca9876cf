// SPDX-License-Identifier: Apache-2.0
// Tests of items that are written as differences: what goes in comes out whatever came before it,
// neighbours cost little, and bytes that make no sense are refused.
#include "mf_test.h"

#include <stdio.h>

#include "mf_torture.h"
#include "wire/store_item.h"

#define ITEMS 4000u

static struct mf_smsg_item put_of(const char *key, const void *value, size_t len)
{
    return (struct mf_smsg_item){MF_SMSG_PUT, key, strlen(key), value, len};
}

static uint64_t next(uint64_t *rng)
{
    *rng ^= *rng << 13;
    *rng ^= *rng >> 7;
    *rng ^= *rng << 17;
    return *rng;
}

/* Bytes of one item behind those that `prev` stands for. */
static size_t write_one(struct mf_buf *buf, struct mf_item_prev *prev,
                        const struct mf_smsg_item *item)
{
    struct mf_wr wr;
    mf_buf_clear(buf);
    mf_wr_init(&wr, buf);
    mf_item_put(&wr, prev, item);
    assert_int_equal(wr.rc, SMEM_OK);
    return buf->len;
}

static void read_one(const struct mf_buf *buf, struct mf_item_prev *prev,
                     const struct mf_smsg_item *want)
{
    struct mf_rd rd;
    struct mf_smsg_item item;
    mf_rd_init(&rd, buf->data, buf->len);
    assert_true(mf_item_get(&rd, prev, &item));
    assert_true(mf_rd_done(&rd));
    assert_int_equal(item.kind, want->kind);
    assert_int_equal(item.key_len, want->key_len);
    assert_int_equal(strlen(item.key), want->key_len);
    assert_memory_equal(item.key, want->key, want->key_len);
    assert_int_equal(item.value_len, want->value_len);
    if (want->value_len > 0)
        assert_memory_equal(item.value, want->value, want->value_len);
    else
        assert_int_equal(item.value != NULL, want->kind == MF_SMSG_PUT);
}

/* Changes a value as neighbours differ: some bytes of it, its length, or all. */
static size_t vary(uint64_t *rng, uint8_t *value, size_t len)
{
    uint64_t how = next(rng) % 16;
    if (how == 0)
        len = next(rng) % (2 * MF_ITEM_VALUE_MAX);
    else if (how < 4)
        len = next(rng) % 300;
    else if (how == 4)
        len = MF_ITEM_VALUE_MAX + next(rng) % 2;
    for (uint64_t i = next(rng) % 40; i > 0 && len > 0; i--)
        value[next(rng) % len] = (uint8_t)(next(rng) % 3);
    for (size_t i = 0; how == 5 && i < len; i++)
        value[i] = (uint8_t)next(rng);
    return len;
}

static void test_item__comes_out_as_it_went_in(void **state)
{
    static uint8_t value[2 * MF_ITEM_VALUE_MAX];
    static struct mf_item_prev out, in;
    char key[MF_KEY_MAX + 1];
    struct mf_buf buf;
    uint64_t rng = 88172645463325252ull;
    size_t len = 0;
    (void)state;
    mf_item_prev_reset(&out);
    mf_item_prev_reset(&in);
    mf_buf_init(&buf, 1u << 20);
    for (uint32_t i = 0; i < ITEMS; i++) {
        int width = next(&rng) % 50 == 0 ? (int)(MF_KEY_MAX - 2) : 1 + (int)(next(&rng) % 6);
        snprintf(key, sizeof(key), "m/%0*u", width, (unsigned)(next(&rng) % 2000) % 10u);
        struct mf_smsg_item item = put_of(key, value, len);
        if (next(&rng) % 5 == 0) {
            item.kind = next(&rng) % 2 ? MF_SMSG_DELETE : MF_SMSG_EXPIRE;
            item.value = NULL;
            item.value_len = 0;
        } else {
            item.value_len = len = vary(&rng, value, len);
        }
        size_t bytes = write_one(&buf, &out, &item);
        assert_true(bytes <= item.key_len + item.value_len + 9);
        read_one(&buf, &in, &item);
    }
    mf_buf_fini(&buf);
}

/* The bytes are the format. */
static void test_item__has_its_bytes(void **state)
{
    static const struct {
        struct mf_smsg_item item;
        uint8_t bytes[24];
        size_t len;
    } want[] = {
        {{MF_SMSG_PUT, "m/1", 3, "abcdef", 6},
         {0, 0, 3, 'm', '/', '1', 6, 'a', 'b', 'c', 'd', 'e', 'f'},
         13},
        {{MF_SMSG_PUT, "m/1", 3, "abcdef", 6}, {4, 3, 0, 6, 6}, 5},
        {{MF_SMSG_EXPIRE, "m/1", 3, NULL, 0}, {2, 3, 0}, 3},
        /* The last value stands behind a key that went, and behind an empty one. */
        {{MF_SMSG_PUT, "m/23", 4, "abcdefghij", 10},
         {4, 2, 2, '2', '3', 10, 6, 4, 'g', 'h', 'i', 'j'},
         12},
        {{MF_SMSG_PUT, "m/2", 3, "", 0}, {0, 3, 0, 0}, 4},
        {{MF_SMSG_DELETE, "n", 1, NULL, 0}, {1, 0, 1, 'n'}, 4},
        {{MF_SMSG_PUT, "n", 1, "abXdeY", 6}, {0, 1, 0, 6, 'a', 'b', 'X', 'd', 'e', 'Y'}, 10},
        {{MF_SMSG_PUT, "n", 1, "abXdZY", 6}, {4, 1, 0, 6, 4, 2, 'Z', 'Y'}, 8},
    };
    static struct mf_item_prev out, in;
    struct mf_buf buf;
    (void)state;
    mf_buf_init(&buf, 4096);
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        assert_int_equal(write_one(&buf, &out, &want[i].item), want[i].len);
        assert_memory_equal(buf.data, want[i].bytes, want[i].len);
        read_one(&buf, &in, &want[i].item);
    }
    mf_buf_fini(&buf);
}

/* Records of neighbours: of 100 bytes, a random number and one more byte differ. */
static void test_item__neighbours_cost_what_differs(void **state)
{
    static struct mf_item_prev prev;
    uint8_t value[100] = {0};
    char key[16];
    struct mf_buf buf;
    uint64_t rng = 7;
    (void)state;
    mf_buf_init(&buf, 4096);
    for (unsigned i = 0; i < 100; i++) {
        for (size_t k = 0; k < 8; k++)
            value[4 + k] = (uint8_t)next(&rng);
        value[90] = (uint8_t)i;
        snprintf(key, sizeof(key), "pool/0/m/%u", i);
        struct mf_smsg_item item = put_of(key, value, sizeof(value));
        size_t len = write_one(&buf, &prev, &item);
        assert_in_range(len, 8, i == 0 ? 200 : 22);
    }
    mf_buf_fini(&buf);
}

/* ---- rubbish ------------------------------------------------------------------------------- */

/* Is it refused, when the last item was "m/1" with the value "abcdef"? */
static bool is_refused(const void *bytes, size_t len)
{
    static struct mf_item_prev prev;
    struct mf_smsg_item item = put_of("m/1", "abcdef", 6);
    struct mf_buf buf;
    struct mf_rd rd;
    mf_buf_init(&buf, 4096);
    mf_item_prev_reset(&prev);
    (void)write_one(&buf, &prev, &item);
    mf_buf_fini(&buf);
    mf_rd_init(&rd, bytes, len);
    while (mf_item_get(&rd, &prev, &item)) {
        assert_int_equal(strlen(item.key), item.key_len);
    }
    return !mf_rd_done(&rd);
}

static void test_item__rubbish_is_refused(void **state)
{
    static const struct {
        const char *what;
        uint8_t bytes[24];
        size_t len;
        bool good;
    } cases[] = {
        {"an item that is whole", {0, 0, 1, 'k', 1, 'v'}, 6, true},
        {"one by runs", {4, 3, 0, 6, 5, 1, 'x'}, 7, true},
        {"a kind that there is not", {3, 3, 0}, 3, false},
        {"a flag that there is not", {8, 3, 0, 1, 'v'}, 5, false},
        {"a key that went, by runs", {5, 3, 0}, 3, false},
        {"more of the last key than it had", {1, 4, 0}, 3, false},
        {"no key", {1, 0, 0}, 3, false},
        {"a key that is too long", {1, 3, 0xfe, 0x07, 'a'}, 5, false},
        {"a key that is longer than what there is", {1, 0, 4, 'a'}, 4, false},
        {"a NUL in the key", {1, 0, 2, 'a', 0}, 5, false},
        {"a value that is cut short", {0, 3, 0, 2, 'v'}, 5, false},
        {"a value that is too long", {0, 3, 0, 0x81, 0x80, 0x80, 0x02, 'v'}, 8, false},
        {"runs of a value that is too long", {4, 3, 0, 0x81, 0x08, 6, 1, 'x'}, 8, false},
        {"runs of nothing", {4, 3, 0, 0}, 4, false},
        {"a run beyond the last value", {4, 3, 0, 8, 7, 1, 'x'}, 7, false},
        {"a run beyond the value", {4, 3, 0, 4, 5}, 5, false},
        {"new bytes beyond the value", {4, 3, 0, 4, 2, 3, 'x', 'y', 'z'}, 9, false},
        {"a run of no bytes at all", {4, 3, 0, 4, 0, 0, 4}, 7, false},
        {"runs that end early", {4, 3, 0, 6, 2, 1, 'x'}, 7, false},
        {"a length with a byte too many", {1, 0x83, 0x00, 0}, 4, false},
        {"a length of more than 32 bits", {1, 3, 0xff, 0xff, 0xff, 0xff, 0x1f}, 7, false},
        {"a length without an end", {1, 3, 0x80}, 3, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (is_refused(cases[i].bytes, cases[i].len) == cases[i].good)
            fail_msg("%s: expected to be %s", cases[i].what, cases[i].good ? "good" : "refused");
    }
}

static void test_item__damage_reads_nothing_else(void **state)
{
    static const uint8_t good[] = {4, 2, 2, '2', '3', 8, 4,   4, 'x', 'y', 'z', 'w',
                                   2, 4, 0, 0,   4,   1, '/', 3, 'n', 'e', 'w'};
    uint64_t rng = 88172645463325252ull;
    uint32_t refused = 0;
    (void)state;
    assert_false(is_refused(good, sizeof(good)));
    for (size_t cut = 1; cut < sizeof(good); cut++) {
        uint8_t *copy = test_malloc(cut); /* so that a sanitizer sees what is read behind it */
        memcpy(copy, good, cut);
        assert_int_equal(is_refused(copy, cut), cut != 12 && cut != 15);
        test_free(copy);
    }
    for (int i = 0; i < 20000; i++) {
        uint8_t *copy = test_malloc(sizeof(good));
        memcpy(copy, good, sizeof(good));
        for (uint64_t n = 1 + next(&rng) % 3; n > 0; n--)
            copy[next(&rng) % sizeof(good)] = (uint8_t)next(&rng);
        refused += is_refused(copy, sizeof(good));
        test_free(copy);
    }
    assert_in_range(refused, 5000, 19999);
}

static int write_without_memory(void *arg)
{
    static struct mf_item_prev prev;
    struct mf_buf buf;
    struct mf_wr wr;
    struct mf_smsg_item item = put_of("key", "value", 5);
    (void)arg;
    mf_buf_init(&buf, 4096);
    mf_wr_init(&wr, &buf);
    mf_item_put(&wr, &prev, &item);
    mf_buf_fini(&buf);
    return wr.rc;
}

static void test_item__no_memory_is_an_error(void **state)
{
    (void)state;
    mf_torture(write_without_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_item__comes_out_as_it_went_in),
        cmocka_unit_test(test_item__has_its_bytes),
        cmocka_unit_test(test_item__neighbours_cost_what_differs),
        cmocka_unit_test(test_item__rubbish_is_refused),
        cmocka_unit_test(test_item__damage_reads_nothing_else),
        cmocka_unit_test(test_item__no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
