// SPDX-License-Identifier: Apache-2.0
// The bounded reader, frames cut from arbitrary pieces, and the store's messages: round trips,
// limits, and a hundred thousand damaged frames.
#include "mf_test.h"

#include <stdlib.h>

#include "mf_torture.h"
#include "wire/store_msg.h"

/* ---- reader and writer ------------------------------------------------------------------------
 */

static void test_rw__numbers_and_bytes_come_back(void **state)
{
    struct mf_buf buf;
    struct mf_wr wr;
    struct mf_rd rd;
    size_t len;
    (void)state;
    mf_buf_init(&buf, 4096);
    mf_wr_init(&wr, &buf);
    mf_wr_u8(&wr, 0xab);
    mf_wr_u16(&wr, 0x1234);
    mf_wr_u32(&wr, 0xdeadbeef);
    mf_wr_u64(&wr, 0x0123456789abcdefull);
    mf_wr_blob(&wr, "blob", 4);
    mf_wr_blob(&wr, NULL, 0);
    mf_wr_text16(&wr, "text", 4);
    mf_assert_ok(wr.rc);
    assert_memory_equal(buf.data, "\xab\x34\x12\xef\xbe\xad\xde\xef\xcd", 9); /* little-endian */
    mf_rd_init(&rd, buf.data, buf.len);
    assert_int_equal(mf_rd_u8(&rd), 0xab);
    assert_int_equal(mf_rd_u16(&rd), 0x1234);
    assert_int_equal(mf_rd_u32(&rd), 0xdeadbeef);
    assert_true(mf_rd_u64(&rd) == 0x0123456789abcdefull);
    assert_memory_equal(mf_rd_blob(&rd, 4, &len), "blob", 4);
    assert_int_equal(len, 4);
    assert_non_null(mf_rd_blob(&rd, 0, &len));
    assert_int_equal(len, 0);
    assert_string_equal(mf_rd_text16(&rd, 4, &len), "text");
    assert_true(mf_rd_done(&rd));
    mf_buf_fini(&buf);
}

static void test_rd__error_sticks(void **state)
{
    struct mf_rd rd;
    (void)state;
    mf_rd_init(&rd, "\x01\x02\x03\x04\x05", 5);
    assert_int_equal(mf_rd_u32(&rd), 0x04030201);
    assert_int_equal(mf_rd_u16(&rd), 0);
    assert_true(rd.bad);
    assert_int_equal(mf_rd_u8(&rd), 0); /* a byte is there, but the message is bad */
    assert_int_equal(mf_rd_left(&rd), 0);
    assert_false(mf_rd_done(&rd));
    mf_rd_init(&rd, NULL, 0);
    assert_true(mf_rd_done(&rd));
    assert_null(mf_rd_bytes(&rd, 1));
}

static void test_rd__lengths_are_checked_against_limit_and_input(void **state)
{
    struct mf_rd rd;
    size_t len = 7;
    (void)state;
    mf_rd_init(&rd,
               "\x03\x00\x00\x00"
               "abc",
               7);
    assert_null(mf_rd_blob(&rd, 2, &len));
    assert_int_equal(len, 0);
    mf_rd_init(&rd,
               "\x04\x00\x00\x00"
               "abc",
               7);
    assert_null(mf_rd_blob(&rd, 100, &len));
    mf_rd_init(&rd,
               "\xff\xff\xff\xff"
               "abc",
               7);
    assert_null(mf_rd_blob(&rd, SIZE_MAX, &len));
    mf_rd_init(&rd,
               "\x03\x00"
               "a\0c\0",
               6); /* a NUL inside a text */
    assert_null(mf_rd_text16(&rd, 100, &len));
    mf_rd_init(&rd,
               "\x03\x00"
               "abcd",
               6); /* none behind it */
    assert_null(mf_rd_text16(&rd, 100, &len));
}

static void test_wr__passing_the_maximum_sticks(void **state)
{
    struct mf_buf buf;
    struct mf_wr wr;
    (void)state;
    mf_buf_init(&buf, 6);
    mf_wr_init(&wr, &buf);
    mf_wr_u32(&wr, 1);
    mf_wr_u32(&wr, 2);
    mf_assert_rc(wr.rc, SMEM_NO_RESOURCES);
    mf_wr_u8(&wr, 3);
    assert_int_equal(buf.len, 4);
    mf_buf_fini(&buf);
}

/* ---- frames -----------------------------------------------------------------------------------
 */

struct frames {
    size_t count, stop_at;
    uint64_t sum;
};

static bool on_frame(void *arg, uint8_t type, const uint8_t *body, size_t len)
{
    struct frames *frames = arg;
    frames->sum = frames->sum * 31 + type;
    for (size_t i = 0; i < len; i++)
        frames->sum = frames->sum * 31 + body[i];
    return ++frames->count != frames->stop_at;
}

static void add_frame(struct mf_outq *queue, uint8_t type, size_t len)
{
    struct mf_wr wr;
    mf_outq_begin(queue, type, &wr);
    for (size_t i = 0; i < len; i++)
        mf_wr_u8(&wr, (uint8_t)(i * 7 + type));
    mf_assert_ok(mf_outq_end(queue, &wr));
}

static void test_framer__any_split_gives_the_same_frames(void **state)
{
    struct mf_outq queue;
    const uint8_t *data;
    uint64_t want = 0;
    (void)state;
    mf_outq_init(&queue, 1u << 20);
    for (size_t i = 0; i < 20; i++)
        add_frame(&queue, (uint8_t)i, i * i * 13 % 300);
    size_t len = mf_outq_peek(&queue, &data);
    for (size_t step = len; step > 0; step = step > 40 ? step / 2 : step - 1) {
        struct frames frames = {0};
        struct mf_framer framer;
        mf_framer_init(&framer, 1000);
        for (size_t at = 0; at < len; at += step)
            mf_assert_ok(mf_framer_feed(&framer, data + at, len - at < step ? len - at : step,
                                        on_frame, &frames));
        assert_int_equal(frames.count, 20);
        assert_int_equal(framer.part.len, 0);
        want = want == 0 ? frames.sum : want;
        assert_true(frames.sum == want);
        mf_framer_fini(&framer);
    }
    mf_outq_fini(&queue);
}

static void test_framer__bad_headers_are_named(void **state)
{
    struct frames frames = {0};
    struct mf_framer framer;
    (void)state;
    mf_framer_init(&framer, 100);
    mf_assert_rc(mf_framer_feed(&framer, (const uint8_t *)"GET / HT", 8, on_frame, &frames),
                 SMEM_INVALID_PARAM);
    mf_assert_err_has("47 45 54 20 do not begin a frame");
    mf_assert_rc(
        mf_framer_feed(&framer, (const uint8_t *)"\x4d\x03\x01\0\0\0\0\0", 8, on_frame, &frames),
        SMEM_INVALID_PARAM);
    mf_assert_err_has("version 3 of the store protocol, this end version 2");
    mf_assert_rc(
        mf_framer_feed(&framer, (const uint8_t *)"\x4d\x02\x01\0\x65\0\0\0", 8, on_frame, &frames),
        SMEM_INVALID_PARAM);
    mf_assert_err_has("101 bytes, the limit is 100");
    /* Piece by piece too, and nothing was allocated for the body. */
    mf_assert_ok(mf_framer_feed(&framer, (const uint8_t *)"\x4d\x02\x01\0\xff\xff\xff", 7, on_frame,
                                &frames));
    mf_assert_rc(mf_framer_feed(&framer, (const uint8_t *)"\xff", 1, on_frame, &frames),
                 SMEM_INVALID_PARAM);
    assert_true(framer.part.cap <= 4096);
    assert_int_equal(frames.count, 0);
    mf_framer_fini(&framer);
}

static void test_framer__false_ends_the_feed(void **state)
{
    struct frames frames = {.stop_at = 2};
    struct mf_framer framer;
    struct mf_outq queue;
    const uint8_t *data;
    (void)state;
    mf_framer_init(&framer, 100);
    mf_outq_init(&queue, 4096);
    for (uint8_t i = 0; i < 5; i++)
        add_frame(&queue, i, 3);
    size_t len = mf_outq_peek(&queue, &data);
    mf_assert_ok(mf_framer_feed(&framer, data, len, on_frame, &frames));
    assert_int_equal(frames.count, 2);
    mf_outq_fini(&queue);
    mf_framer_fini(&framer);
}

static void test_outq__keeps_order_over_partial_sends(void **state)
{
    struct mf_outq queue;
    struct mf_framer framer;
    struct frames got = {0};
    struct frames want = {0};
    const uint8_t *data;
    (void)state;
    mf_outq_init(&queue, 1u << 22);
    mf_framer_init(&framer, 1u << 20);
    for (size_t i = 0; i < 200; i++) {
        uint8_t body[5000];
        size_t len = i * 37 % sizeof(body);
        for (size_t j = 0; j < len; j++)
            body[j] = (uint8_t)(j * 7 + i);
        on_frame(&want, (uint8_t)i, body, len);
        add_frame(&queue, (uint8_t)i, len);
        size_t part = mf_outq_peek(&queue, &data) / 3;
        mf_assert_ok(mf_framer_feed(&framer, data, part, on_frame, &got));
        mf_outq_sent(&queue, part);
    }
    size_t rest = mf_outq_peek(&queue, &data);
    mf_assert_ok(mf_framer_feed(&framer, data, rest, on_frame, &got));
    mf_outq_sent(&queue, rest);
    assert_int_equal(mf_outq_peek(&queue, &data), 0);
    assert_int_equal(got.count, 200);
    assert_true(got.sum == want.sum);
    mf_framer_fini(&framer);
    mf_outq_fini(&queue);
}

static void test_outq__a_frame_that_does_not_fit_leaves_nothing(void **state)
{
    struct mf_outq queue;
    struct mf_wr wr;
    const uint8_t *data;
    (void)state;
    mf_outq_init(&queue, 64);
    add_frame(&queue, 1, 20);
    mf_assert_ok(mf_outq_extend(&queue, "more", 4));
    mf_outq_peek(&queue, &data);
    assert_int_equal(data[4], 24); /* the frame has grown */
    mf_assert_rc(mf_outq_extend(&queue, data, 50), SMEM_NO_RESOURCES);
    mf_outq_begin(&queue, 2, &wr);
    for (int i = 0; i < 60; i++)
        mf_wr_u8(&wr, 0);
    mf_assert_rc(mf_outq_end(&queue, &wr), SMEM_NO_RESOURCES);
    assert_int_equal(mf_outq_peek(&queue, &data), MF_FRAME_HEADER + 24);
    mf_outq_fini(&queue);
}

/* ---- messages ---------------------------------------------------------------------------------
 */

static void test_smsg__round_trips(void **state)
{
    struct mf_buf buf;
    struct mf_wr wr;
    struct mf_smsg_hello hello;
    struct mf_smsg_welcome welcome;
    struct mf_smsg_goodbye bye;
    struct mf_smsg_watch watch;
    struct mf_smsg_reply reply;
    char text[MF_SMSG_TEXT_MAX];
    (void)state;
#define ENCODE(call) \
    (mf_buf_clear(&buf), mf_wr_init(&wr, &buf), (call), assert_int_equal(wr.rc, SMEM_OK))
    mf_buf_init(&buf, MF_FRAME_MAX);
    ENCODE(mf_smsg_put_hello(&wr, &(struct mf_smsg_hello){1, 2, 3}));
    mf_assert_ok(mf_smsg_get_hello(buf.data, buf.len, &hello));
    assert_true(hello.session_id == 1 && hello.prev_boot == 2 && hello.session_ms == 3);
    assert_true(buf.len <= MF_SMSG_HELLO_MAX);
    ENCODE(mf_smsg_put_welcome(&wr, &(struct mf_smsg_welcome){9, 1}));
    mf_assert_ok(mf_smsg_get_welcome(buf.data, buf.len, &welcome));
    assert_true(welcome.boot_id == 9 && welcome.restored == 1);
    ENCODE(mf_smsg_put_goodbye(
        &wr, &(struct mf_smsg_goodbye){MF_SMSG_WHY_EXPIRED, SMEM_TIMEOUT, "why\x01\n%s"}));
    mf_assert_ok(mf_smsg_get_goodbye(buf.data, buf.len, &bye, text));
    assert_string_equal(bye.msg, "why??%s"); /* what a peer says is made printable */
    assert_int_equal(bye.rc, SMEM_TIMEOUT);
    ENCODE(mf_smsg_put_watch(&wr, &(struct mf_smsg_watch){5, "", 0}));
    mf_assert_ok(mf_smsg_get_watch(buf.data, buf.len, &watch));
    assert_string_equal(watch.prefix, "");
    ENCODE(mf_smsg_put_reply(&wr, &(struct mf_smsg_reply){.id = 4,
                                                          .rc = SMEM_TIMEOUT,
                                                          .swapped = 1,
                                                          .number = UINT64_MAX,
                                                          .rev = 6,
                                                          .value = "",
                                                          .value_len = 0}));
    mf_assert_ok(mf_smsg_get_reply(buf.data, buf.len, &reply));
    assert_true(reply.id == 4 && reply.rc == SMEM_TIMEOUT && reply.swapped == 1 &&
                reply.number == UINT64_MAX && reply.rev == 6);
    assert_non_null(reply.value); /* empty is not absent */
#undef ENCODE
    mf_buf_fini(&buf);
}

static void test_smsg_request__round_trip_and_limits(void **state)
{
    struct mf_buf buf;
    struct mf_wr wr;
    struct mf_smsg_request out;
    char *key = test_malloc(70000);
    uint8_t *value = test_calloc(1, MF_VALUE_MAX + 1);
    struct mf_smsg_request in = {.id = 77,
                                 .op = 5,
                                 .flags = 3,
                                 .key = key,
                                 .key_len = 3,
                                 .number = 8,
                                 .expect = "old",
                                 .expect_len = 3};
    (void)state;
    memset(key, 'k', 70000);
    mf_buf_init(&buf, MF_FRAME_MAX);
    mf_wr_init(&wr, &buf);
    mf_smsg_put_request(&wr, &in);
    mf_assert_ok(mf_smsg_get_request(buf.data, buf.len, &out));
    assert_true(out.id == 77 && out.op == 5 && out.flags == 3 && out.number == 8);
    assert_string_equal(out.key, "kkk");
    assert_null(out.value);
    assert_memory_equal(out.expect, "old", 3);
    for (size_t cut = 0; cut < buf.len; cut++) /* no prefix of it is a message */
        mf_assert_rc(mf_smsg_get_request(buf.data, cut, &out), SMEM_INVALID_PARAM);
    mf_buf_clear(&buf);
    in.key_len = MF_KEY_MAX + 1;
    mf_smsg_put_request(&wr, &in);
    mf_assert_rc(mf_smsg_get_request(buf.data, buf.len, &out), SMEM_NO_RESOURCES);
    mf_assert_err_has("the key has 1025 bytes, the limit is 1024");
    assert_int_equal(out.id, 77);
    mf_buf_clear(&buf);
    in.key_len = 1;
    in.value = value;
    in.value_len = MF_VALUE_MAX + 1;
    mf_smsg_put_request(&wr, &in);
    mf_assert_rc(mf_smsg_get_request(buf.data, buf.len, &out), SMEM_NO_RESOURCES);
    mf_assert_err_has("a value has 4194305 bytes");
    mf_buf_fini(&buf);
    test_free(key);
    test_free(value);
}

static void test_smsg_item__costs_seven_bytes(void **state)
{
    struct mf_outq queue;
    struct mf_wr wr;
    struct mf_rd rd;
    struct mf_smsg_item item;
    const uint8_t *data;
    size_t count;
    (void)state;
    mf_outq_init(&queue, 4096);
    mf_outq_begin(&queue, MF_SMSG_EVENTS, &wr);
    mf_smsg_put_item(&wr, &(struct mf_smsg_item){MF_SMSG_PUT, "key", 3, "value", 5});
    mf_assert_ok(mf_outq_end(&queue, &wr));
    size_t len = mf_outq_peek(&queue, &data);
    assert_in_range(len, 8, 3 + 5 + 16); /* with the frame's header */
    mf_outq_begin(&queue, MF_SMSG_EVENTS, &wr);
    mf_smsg_put_item(&wr, &(struct mf_smsg_item){MF_SMSG_EXPIRE, "gone", 4, NULL, 0});
    mf_smsg_put_item(&wr, &(struct mf_smsg_item){MF_SMSG_PUT, "k", 1, "", 0});
    mf_assert_ok(mf_outq_end(&queue, &wr));
    assert_int_equal(mf_outq_peek(&queue, &data) - len,
                     MF_FRAME_HEADER + 2 * MF_SMSG_ITEM_OVERHEAD + 5);
    mf_rd_init(&rd, data + len + MF_FRAME_HEADER, 2 * MF_SMSG_ITEM_OVERHEAD + 5);
    mf_assert_ok(mf_smsg_check_items(rd, &count));
    assert_int_equal(count, 2);
    assert_true(mf_smsg_get_item(&rd, &item));
    assert_int_equal(item.kind, MF_SMSG_EXPIRE);
    assert_string_equal(item.key, "gone");
    assert_true(mf_smsg_get_item(&rd, &item));
    assert_false(mf_smsg_get_item(&rd, &item));
    assert_true(mf_rd_done(&rd));
    mf_outq_fini(&queue);
}

/* ---- damage -----------------------------------------------------------------------------------
 */

static uint64_t next(uint64_t *rng)
{
    *rng ^= *rng << 13;
    *rng ^= *rng >> 7;
    *rng ^= *rng << 17;
    return *rng;
}

/* Decode by every decoder; read all that they give, so that a sanitizer sees a wrong length. */
static uint64_t decode_all(const uint8_t *body, size_t len)
{
    struct mf_smsg_hello hello;
    struct mf_smsg_welcome welcome;
    struct mf_smsg_goodbye bye;
    struct mf_smsg_request req;
    struct mf_smsg_watch watch;
    struct mf_smsg_reply reply;
    struct mf_smsg_item item;
    struct mf_rd rd;
    char text[MF_SMSG_TEXT_MAX];
    uint32_t id;
    uint64_t good = 0;
    good += mf_smsg_get_hello(body, len, &hello) == SMEM_OK;
    good += mf_smsg_get_welcome(body, len, &welcome) == SMEM_OK;
    good += mf_smsg_get_id(body, len, &id) == SMEM_OK;
    if (mf_smsg_get_goodbye(body, len, &bye, text) == SMEM_OK)
        good += 1 + 0 * strlen(bye.msg);
    if (mf_smsg_get_request(body, len, &req) == SMEM_OK) {
        assert_int_equal(strlen(req.key), req.key_len);
        assert_true(req.key_len <= MF_KEY_MAX && req.value_len + req.expect_len <= len);
        good++;
    }
    if (mf_smsg_get_watch(body, len, &watch) == SMEM_OK) {
        assert_int_equal(strlen(watch.prefix), watch.prefix_len);
        good++;
    }
    if (mf_smsg_get_reply(body, len, &reply) == SMEM_OK) {
        assert_true(reply.value_len <= len);
        good++;
    }
    mf_rd_init(&rd, body, len);
    while (mf_smsg_get_item(&rd, &item)) {
        assert_int_equal(strlen(item.key), item.key_len);
        assert_true(item.value_len <= len);
        good++;
    }
    return good;
}

static size_t make_sample(struct mf_buf *buf, uint64_t which)
{
    struct mf_wr wr;
    mf_buf_clear(buf);
    mf_wr_init(&wr, buf);
    switch (which % 6) {
    case 0:
        mf_smsg_put_hello(&wr, &(struct mf_smsg_hello){1, 2, 3000});
        break;
    case 1:
        mf_smsg_put_goodbye(&wr, &(struct mf_smsg_goodbye){2, -1, "a reason to go"});
        break;
    case 2:
        mf_smsg_put_request(&wr, &(struct mf_smsg_request){.id = 1,
                                                           .op = 5,
                                                           .key = "some/key",
                                                           .key_len = 8,
                                                           .value = "value",
                                                           .value_len = 5,
                                                           .expect = "x",
                                                           .expect_len = 1});
        break;
    case 3:
        mf_smsg_put_watch(&wr, &(struct mf_smsg_watch){1, "prefix/", 7});
        break;
    case 4:
        mf_smsg_put_reply(&wr, &(struct mf_smsg_reply){.id = 1, .value = "value", .value_len = 5});
        break;
    default:
        for (int i = 0; i < 3; i++)
            mf_smsg_put_item(&wr, &(struct mf_smsg_item){MF_SMSG_PUT, "key", 3, "value", 5});
        break;
    }
    return buf->len;
}

static void test_smsg__damaged_frames_are_refused_or_whole(void **state)
{
    struct mf_buf buf;
    uint64_t rng = 88172645463325252ull;
    uint64_t good = 0;
    (void)state;
    mf_buf_init(&buf, 4096);
    for (uint32_t i = 0; i < 100000; i++) {
        size_t len = make_sample(&buf, i);
        for (uint64_t flips = next(&rng) % 4; flips > 0; flips--)
            buf.data[next(&rng) % len] = (uint8_t)next(&rng);
        if (next(&rng) % 4 == 0)
            len = next(&rng) % len;
        uint8_t *exact = malloc(len + !len); /* of exactly this size: one byte too far is seen */
        memcpy(exact, buf.data, len);
        good += decode_all(exact, len);
        free(exact);
    }
    assert_true(good > 10000); /* the undamaged ones at least */
    mf_buf_fini(&buf);
}

static int frames_without_memory(void *arg)
{
    struct mf_framer framer;
    struct mf_outq queue;
    struct mf_wr wr;
    struct frames frames = {0};
    const uint8_t *data;
    (void)arg;
    mf_framer_init(&framer, 4096);
    mf_outq_init(&queue, 4096);
    mf_outq_begin(&queue, 1, &wr);
    mf_wr_blob(&wr, "some bytes", 10);
    int rc = mf_outq_end(&queue, &wr);
    size_t len = mf_outq_peek(&queue, &data);
    for (size_t i = 0; i < len && rc == SMEM_OK; i++)
        rc = mf_framer_feed(&framer, data + i, 1, on_frame, &frames);
    if (rc == SMEM_OK && frames.count != 1)
        rc = mf_err(SMEM_ERROR, "the frame did not come through");
    mf_outq_fini(&queue);
    mf_framer_fini(&framer);
    return rc;
}

static void test_frame__torture(void **state)
{
    (void)state;
    assert_true(mf_torture(frames_without_memory, NULL) >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rw__numbers_and_bytes_come_back),
        cmocka_unit_test(test_rd__error_sticks),
        cmocka_unit_test(test_rd__lengths_are_checked_against_limit_and_input),
        cmocka_unit_test(test_wr__passing_the_maximum_sticks),
        cmocka_unit_test(test_framer__any_split_gives_the_same_frames),
        cmocka_unit_test(test_framer__bad_headers_are_named),
        cmocka_unit_test(test_framer__false_ends_the_feed),
        cmocka_unit_test(test_outq__keeps_order_over_partial_sends),
        cmocka_unit_test(test_outq__a_frame_that_does_not_fit_leaves_nothing),
        cmocka_unit_test(test_smsg__round_trips),
        cmocka_unit_test(test_smsg_request__round_trip_and_limits),
        cmocka_unit_test(test_smsg_item__costs_seven_bytes),
        cmocka_unit_test(test_smsg__damaged_frames_are_refused_or_whole),
        cmocka_unit_test(test_frame__torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
