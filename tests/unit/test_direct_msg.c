// SPDX-License-Identifier: Apache-2.0
// The messages between processes of one host: what is encoded is decoded, and whatever else comes
// is refused without a step outside of the buffer.
#include "transport/direct/msg.h"

#include <stdlib.h>

#include "base/limits.h"
#include "mf_test.h"

static void fill(struct mf_direct_msg *msg, enum mf_direct_msg_type type, uint32_t count)
{
    memset(msg, 0, sizeof(*msg));
    msg->type = type;
    msg->rank = 1023;
    msg->pool = 63;
    msg->world_id = 0x1122334455667788ull;
    msg->incarnation = UINT64_MAX;
    msg->to = 5;
    msg->count = count;
    for (uint32_t i = 0; i < count; i++) {
        msg->segs[i].desc = (struct mf_segment_desc){.gva = 0x280000000000ull + i,
                                                     .size = 4096,
                                                     .epoch = 77 + i,
                                                     .incarnation = UINT64_MAX,
                                                     .pool = 63,
                                                     .owner = 1023,
                                                     .index = MF_SEGMENTS_MAX - 1 - i,
                                                     .kind = i % 2};
        msg->segs[i].fd_offset = i * 4096ull;
        msg->segs[i].has_fd = i % 3 != 0;
        msg->segs[i].keep = i % 5 == 2;
    }
}

static void expect_round_trip(const struct mf_direct_msg *msg)
{
    static struct mf_direct_msg out;
    uint8_t buf[MF_DIRECT_MSG_MAX];
    uint8_t again[MF_DIRECT_MSG_MAX];
    size_t len = mf_direct_msg_encode(msg, buf);
    memset(&out, 0xee, sizeof(out));
    mf_assert_ok(mf_direct_msg_decode(buf, len, &out));
    assert_int_equal(mf_direct_msg_encode(&out, again), len);
    assert_memory_equal(buf, again, len);
    assert_int_equal(mf_direct_msg_fds(&out), mf_direct_msg_fds(msg));
}

static void test_msg__round_trip(void **state)
{
    static struct mf_direct_msg msg;
    (void)state;
    for (uint32_t count = 0; count <= MF_DIRECT_MSG_SEGMENTS; count += 4) {
        fill(&msg, MF_DIRECT_HELLO, count);
        msg.flags = MF_DIRECT_LAST;
        expect_round_trip(&msg);
        fill(&msg, MF_DIRECT_MORE, count);
        expect_round_trip(&msg);
    }
    fill(&msg, MF_DIRECT_AGAIN, 0);
    expect_round_trip(&msg);
    fill(&msg, MF_DIRECT_REFUSE, 0);
    msg.code = SMEM_NOT_CONNECTED;
    memset(msg.text, 'x', MF_DIRECT_MSG_TEXT);
    expect_round_trip(&msg);
}

static void test_msg_fds__control_page_and_segments(void **state)
{
    static struct mf_direct_msg msg;
    (void)state;
    fill(&msg, MF_DIRECT_NEXT, 6); /* 0 and 3 have none */
    assert_int_equal(mf_direct_msg_fds(&msg), 4);
    fill(&msg, MF_DIRECT_WELCOME, 6);
    assert_int_equal(mf_direct_msg_fds(&msg), 5);
}

/* One field of a good message is changed. */
static void expect_refused(void (*spoil)(struct mf_direct_msg *msg))
{
    static struct mf_direct_msg msg;
    static struct mf_direct_msg out;
    uint8_t buf[MF_DIRECT_MSG_MAX];
    fill(&msg, MF_DIRECT_HELLO, 2);
    spoil(&msg);
    size_t len = mf_direct_msg_encode(&msg, buf);
    mf_assert_rc(mf_direct_msg_decode(buf, len, &out), SMEM_INVALID_PARAM);
    assert_true(mf_err_msg()[0] != '\0');
}

#define SPOIL(name, statement)                  \
    static void name(struct mf_direct_msg *msg) \
    {                                           \
        statement;                              \
    }
SPOIL(bad_type, msg->type = (enum mf_direct_msg_type)8)
SPOIL(no_type, msg->type = (enum mf_direct_msg_type)0)
SPOIL(bad_rank, msg->rank = MF_WORLD_MAX)
SPOIL(bad_pool, msg->pool = MF_POOLS_MAX)
SPOIL(no_incarnation, msg->incarnation = 0)
SPOIL(bad_flags, msg->flags = 4)
SPOIL(code_without_refusal, msg->code = -1)
SPOIL(segments_in_again, msg->type = MF_DIRECT_AGAIN)
SPOIL(empty_segment, msg->segs[1].desc.size = 0)
SPOIL(wrapping_segment, msg->segs[1].desc.size = UINT64_MAX - 5)
SPOIL(no_epoch, msg->segs[1].desc.epoch = 0)
SPOIL(bad_index, msg->segs[1].desc.index = MF_SEGMENTS_MAX)
SPOIL(bad_kind, msg->segs[1].desc.kind = MF_KIND_COUNT)
SPOIL(wrapping_offset, msg->segs[1].fd_offset = UINT64_MAX)
SPOIL(foreign_segment, msg->segs[1].desc.owner = 3)
SPOIL(foreign_life, msg->segs[1].desc.incarnation = 3)
SPOIL(foreign_pool, msg->segs[1].desc.pool = 3)

static void test_msg_decode__refuses_bad_fields(void **state)
{
    (void)state;
    expect_refused(bad_type);
    expect_refused(no_type);
    expect_refused(bad_rank);
    expect_refused(bad_pool);
    expect_refused(no_incarnation);
    expect_refused(bad_flags);
    expect_refused(code_without_refusal);
    expect_refused(segments_in_again);
    expect_refused(empty_segment);
    expect_refused(wrapping_segment);
    expect_refused(no_epoch);
    expect_refused(bad_index);
    expect_refused(bad_kind);
    expect_refused(wrapping_offset);
    expect_refused(foreign_segment);
    expect_refused(foreign_life);
    expect_refused(foreign_pool);
}

static void test_msg_decode__refuses_every_other_length(void **state)
{
    static struct mf_direct_msg msg;
    static struct mf_direct_msg out;
    (void)state;
    fill(&msg, MF_DIRECT_HELLO, 3);
    uint8_t buf[MF_DIRECT_MSG_MAX + 1] = {0};
    size_t len = mf_direct_msg_encode(&msg, buf);
    for (size_t n = 0; n <= MF_DIRECT_MSG_MAX + 1; n++) {
        uint8_t *exact = malloc(n ? n : 1); /* a step outside is seen by the address sanitizer */
        memcpy(exact, buf, n);
        mf_assert_rc(mf_direct_msg_decode(exact, n, &out), n == len ? SMEM_OK : SMEM_INVALID_PARAM);
        free(exact);
    }
}

/* Whatever is accepted is what the encoder would have made. */
static void test_msg_decode__mutations(void **state)
{
    static struct mf_direct_msg msg;
    static struct mf_direct_msg out;
    uint8_t good[MF_DIRECT_MSG_MAX];
    uint8_t again[MF_DIRECT_MSG_MAX];
    uint32_t accepted = 0;
    uint64_t seed = 12345;
    (void)state;
    fill(&msg, MF_DIRECT_WELCOME, 4);
    size_t len = mf_direct_msg_encode(&msg, good);
    for (uint32_t round = 0; round < 50000; round++) {
        uint8_t bad[MF_DIRECT_MSG_MAX];
        memcpy(bad, good, len);
        for (uint32_t flips = round % 3 + 1; flips > 0; flips--) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            bad[(seed >> 33) % len] ^= (uint8_t)(1u << (seed >> 61));
        }
        if (mf_direct_msg_decode(bad, len, &out) == SMEM_OK) {
            accepted++;
            assert_int_equal(mf_direct_msg_encode(&out, again), len);
            assert_memory_equal(bad, again, len);
        }
    }
    assert_true(accepted > 0 && accepted < 50000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_msg__round_trip),
        cmocka_unit_test(test_msg_fds__control_page_and_segments),
        cmocka_unit_test(test_msg_decode__refuses_bad_fields),
        cmocka_unit_test(test_msg_decode__refuses_every_other_length),
        cmocka_unit_test(test_msg_decode__mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
