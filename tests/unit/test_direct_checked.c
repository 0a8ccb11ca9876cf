// SPDX-License-Identifier: Apache-2.0
// Copies of the transport of one host when the host wants checksums: every copy goes through the
// host's function, long ones piece by piece, and what it says becomes the copy's own status, unless
// the segment is gone.
#include "transport/direct/direct.h"

#include <stdlib.h>
#include <string.h>

#include "conformance/transport_host.h"
#include "mf_test.h"
#include "transport/direct/internal.h"

#define MIB       (1ull << 20)
#define DRAM      MF_KIND_DRAM
#define PIECE     (16 * MIB)
#define GIVEN     (40 * MIB)
#define CALLS_MAX 64u

/* What the host's function was asked, and what it is to do. */
struct calls {
    uint32_t count;
    uint64_t offset[CALLS_MAX], size[CALLS_MAX];
    uint32_t fail_at;           /* from 1; 0: never */
    struct mf_direct *gone_for; /* at that call this owner withdraws its segment `gone` */
    uint32_t gone;
};

struct duo {
    struct th a, b; /* ranks 0, 1 */
    struct th_own sb;
    void *lane; /* of a */
    struct mf_segment *seg;
    uint8_t *local;
    struct calls calls;
};

static struct duo duo;

static int copy_checked(void *arg, struct mf_xfer *x, uint64_t offset, void *dst, const void *src,
                        size_t size)
{
    struct calls *calls = &duo.calls;
    (void)arg;
    assert_true(calls->count < CALLS_MAX);
    calls->offset[calls->count] = offset;
    calls->size[calls->count++] = size;
    memcpy(dst, src, size);
    x->flags |= MF_XFER_CHECKED;
    if (calls->count != calls->fail_at) {
        return SMEM_OK;
    }
    if (calls->gone_for) {
        atomic_store(&calls->gone_for->control->epochs[calls->gone], 0);
    }
    return mf_err(SMEM_ERROR, "call %u of the host differs", calls->count);
}

static void open_rank(struct th *th, uint32_t rank)
{
    struct th_cfg cfg = {
        .ops = &mf_direct_ops, .rank = rank, .here = TH_BASE + ((uint64_t)rank << 32)};
    mf_assert_ok(th_open(th, &cfg));
}

static int setup(void **state)
{
    (void)state;
    memset(&duo, 0, sizeof(duo));
    open_rank(&duo.a, 0);
    open_rank(&duo.b, 1);
    duo.a.host.copy_checked = copy_checked;
    mf_assert_ok(th_publish(&duo.b, DRAM, 0, GIVEN, &duo.sb));
    mf_assert_ok(th_attach_to(&duo.a, &duo.b));
    mf_assert_ok(duo.a.ops->lane_open(duo.a.tp, &duo.lane));
    duo.seg = th_find(&duo.a, 1, DRAM, 0);
    assert_non_null(duo.seg);
    duo.local = malloc(GIVEN);
    memset(duo.local, 0x5a, GIVEN);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(duo.local);
    duo.a.ops->lane_close(duo.a.tp, duo.lane);
    duo.a.ops->detach(duo.a.tp, 1, duo.b.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    duo.b.ops->detach(duo.b.tp, 0, duo.a.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    mf_assert_ok(th_withdraw(&duo.b, &duo.sb, 1000));
    th_close(&duo.a);
    th_close(&duo.b);
    return 0;
}

static int put(uint64_t offset, uint64_t size)
{
    return th_copy(&duo.a, duo.lane, duo.seg, th_gva(&duo.a, 1, DRAM, offset), NULL,
                   (uint64_t)(uintptr_t)duo.local, size);
}

static void test_post__goes_through_the_host(void **state)
{
    (void)state;
    mf_assert_ok(put(64, 8));
    mf_assert_ok(put(128, 100000));
    assert_int_equal(duo.calls.count, 2);
    assert_int_equal(duo.calls.size[1], 100000);
    assert_memory_equal(th_ptr(&duo.b, 1, DRAM, 128), duo.local, 100000);
}

static void test_post__long_copies_in_pieces(void **state)
{
    (void)state;
    mf_assert_ok(put(0, 2 * PIECE + 5));
    assert_int_equal(duo.calls.count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(duo.calls.offset[i], i * PIECE);
        assert_int_equal(duo.calls.size[i], i < 2 ? PIECE : 5);
    }
    assert_memory_equal(th_ptr(&duo.b, 1, DRAM, 0), duo.local, 2 * PIECE + 5);
    /* What differs is not gone on with. */
    duo.calls.count = 0;
    duo.calls.fail_at = 2;
    mf_assert_rc(put(0, 2 * PIECE + 5), SMEM_ERROR);
    mf_assert_err_has("call 2 of the host differs");
    assert_int_equal(duo.calls.count, 2);
}

static void test_post__each_copy_of_a_run_has_its_status(void **state)
{
    (void)state;
    struct mf_xfer v[8];
    duo.calls.fail_at = 3;
    for (uint32_t i = 0; i < 8; i++) {
        v[i] = (struct mf_xfer){.dst_seg = duo.seg,
                                .src = (uintptr_t)duo.local,
                                .dst = th_gva(&duo.a, 1, DRAM, i * 4096),
                                .size = 4096,
                                .status = MF_XFER_PENDING};
    }
    mf_assert_rc(duo.a.ops->post(duo.lane, v, 8), SMEM_ERROR);
    mf_assert_rc(duo.a.ops->wait(duo.lane, th_deadline(&duo.a, 1000)), SMEM_ERROR);
    mf_assert_err_has("call 3 of the host differs");
    for (uint32_t i = 0; i < 8; i++) {
        assert_int_equal(v[i].status, i == 2 ? SMEM_ERROR : SMEM_OK);
        assert_true(v[i].flags & MF_XFER_CHECKED);
    }
    mf_assert_ok(duo.a.ops->wait(duo.lane, th_deadline(&duo.a, 1000)));
}

static void test_post__a_segment_that_is_gone_is_no_difference(void **state)
{
    (void)state;
    struct mf_direct *owner = duo.b.tp;
    duo.calls.fail_at = 1;
    duo.calls.gone_for = owner;
    duo.calls.gone = duo.sb.segment.desc.index;
    mf_assert_rc(put(0, 4096), SMEM_NOT_CONNECTED);
    mf_assert_err_has("rank 1 has left pool 3 or died");
    atomic_store(&owner->control->epochs[duo.calls.gone], duo.sb.segment.desc.epoch);
    duo.calls.fail_at = 0;
    mf_assert_ok(put(0, 4096));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_post__goes_through_the_host, setup, teardown),
        cmocka_unit_test_setup_teardown(test_post__long_copies_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_post__each_copy_of_a_run_has_its_status, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_post__a_segment_that_is_gone_is_no_difference, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
