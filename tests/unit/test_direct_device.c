// SPDX-License-Identifier: Apache-2.0
// Device copies of the transport of one host, over the simulated device: pending until they are
// waited for, announced all the while, and gone without a trace after a deadline.
#include <stdlib.h>
#include <time.h>

#include "conformance/transport_host.h"
#include "mf_test.h"
#include "transport/direct/internal.h"

#define MIB  (1ull << 20)
#define HBM  MF_KIND_HBM
#define DRAM MF_KIND_DRAM
#define SIZE 65536u

struct pair {
    struct th a, b; /* ranks 0 and 1, each with a device */
    struct th_own sb, hb, spare;
    void *lane; /* of a */
    struct mf_segment *seg;
};

static uint8_t buf[SIZE];
static uint8_t back[SIZE];

static struct pair *open_pair(const char *latency)
{
    struct pair *p = calloc(1, sizeof(*p));
    struct th_cfg a = {.ops = &mf_direct_ops, .rank = 0, .device = "sim", .latency = latency};
    struct th_cfg b = {
        .ops = &mf_direct_ops, .rank = 1, .here = TH_BASE + (1ull << 32), .device = "sim"};
    mf_assert_ok(th_open(&p->a, &a));
    mf_assert_ok(th_open(&p->b, &b));
    mf_assert_ok(th_publish(&p->b, HBM, 0, 4 * MIB, &p->hb));
    mf_assert_ok(th_publish(&p->b, DRAM, 0, 4 * MIB, &p->sb));
    mf_assert_ok(th_attach_to(&p->a, &p->b));
    mf_assert_ok(p->a.ops->lane_open(p->a.tp, &p->lane));
    p->seg = th_find(&p->a, 1, HBM, 0);
    assert_non_null(p->seg);
    for (uint32_t i = 0; i < SIZE; i++) {
        buf[i] = (uint8_t)(i * 7 + 1);
        back[i] = 0xee;
    }
    return p;
}

static void close_pair(struct pair *p)
{
    p->a.ops->lane_close(p->a.tp, p->lane);
    p->a.ops->detach(p->a.tp, 1, p->b.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    if (p->hb.mem) {
        mf_assert_ok(th_withdraw(&p->b, &p->hb, 1000));
    }
    mf_assert_ok(th_withdraw(&p->b, &p->sb, 1000));
    th_close(&p->a);
    th_close(&p->b);
    free(p);
}

static struct mf_xfer put_hbm(const struct pair *p, uint64_t offset)
{
    return (struct mf_xfer){.dst_seg = p->seg,
                            .src = (uint64_t)(uintptr_t)buf,
                            .dst = p->seg->desc.gva + offset,
                            .size = SIZE,
                            .status = -1};
}

static struct mf_xfer get_hbm(const struct pair *p, uint64_t offset)
{
    return (struct mf_xfer){.src_seg = p->seg,
                            .src = p->seg->desc.gva + offset,
                            .dst = (uint64_t)(uintptr_t)back,
                            .size = SIZE,
                            .status = -1};
}

static void sleep_ms(long ms)
{
    struct timespec span = {.tv_nsec = ms * 1000000};
    nanosleep(&span, NULL);
}

static void test_device__pending_until_waited_for(void **state)
{
    struct pair *p = open_pair(NULL);
    struct mf_xfer v[] = {put_hbm(p, 0), get_hbm(p, 0)};
    (void)state;
    mf_assert_ok(p->a.ops->post(p->lane, v, 2));
    assert_int_equal(v[0].status, MF_XFER_PENDING);
    assert_int_equal(v[1].status, MF_XFER_PENDING);
    mf_assert_ok(p->a.ops->wait(p->lane, th_deadline(&p->a, 5000)));
    assert_int_equal(v[0].status, SMEM_OK);
    assert_int_equal(v[1].status, SMEM_OK);
    assert_memory_equal(buf, back, SIZE);
    close_pair(p);
}

/* One post with host and device copies, more groups than a lane keeps. */
static void test_device__many_groups_in_one_post(void **state)
{
    enum { COUNT = 400 };
    static struct mf_xfer v[COUNT];
    struct pair *p = open_pair(NULL);
    struct mf_segment *dram = th_find(&p->a, 1, DRAM, 0);
    (void)state;
    for (uint32_t i = 0; i < COUNT; i++) {
        v[i] = put_hbm(p, i * 64);
        v[i].size = 64;
        v[i].src += i * 64;
        if (i % 2) { /* HBM to DRAM of the same rank: its own group each time */
            v[i].src_seg = dram;
            v[i].src = dram->desc.gva + MIB;
        }
        if (i % 10 == 3) {
            v[i] = (struct mf_xfer){.dst_seg = dram,
                                    .src = (uint64_t)(uintptr_t)buf,
                                    .dst = dram->desc.gva + i * 8,
                                    .size = 8,
                                    .status = -1};
        }
    }
    mf_assert_ok(p->a.ops->post(p->lane, v, COUNT));
    mf_assert_ok(p->a.ops->wait(p->lane, th_deadline(&p->a, 5000)));
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(v[i].status, SMEM_OK);
    }
    struct mf_xfer get = get_hbm(p, 0);
    mf_assert_ok(p->a.ops->post(p->lane, &get, 1));
    mf_assert_ok(p->a.ops->wait(p->lane, th_deadline(&p->a, 5000)));
    assert_memory_equal(back, buf, 64);
    assert_memory_equal(back + 128, buf + 128, 64);
    assert_int_equal(back[64], 0); /* from the DRAM segment */
    close_pair(p);
}

/* The copy takes longer than the caller waits: it is over, and nothing of it lands later. */
static void test_device__deadline_is_final(void **state)
{
    struct pair *p = open_pair("400000000");
    struct mf_xfer v = get_hbm(p, 0);
    (void)state;
    mf_assert_ok(p->a.ops->post(p->lane, &v, 1));
    mf_assert_rc(p->a.ops->wait(p->lane, th_deadline(&p->a, 50)), SMEM_TIMEOUT);
    mf_assert_err_has("deadline");
    assert_int_equal(v.status, SMEM_TIMEOUT);
    memset(back, 0xee, SIZE);
    sleep_ms(600);
    for (uint32_t i = 0; i < SIZE; i++) {
        assert_int_equal(back[i], 0xee);
    }
    mf_assert_ok(p->b.ops->withdraw(p->b.tp, &p->hb.segment, th_deadline(&p->b, 100)));
    p->hb.mem = NULL;
    close_pair(p);
}

static void test_device__withdraw_waits_for_the_queue(void **state)
{
    struct pair *p = open_pair("200000000");
    struct mf_xfer v = put_hbm(p, 0);
    (void)state;
    mf_assert_ok(p->a.ops->post(p->lane, &v, 1));
    mf_assert_rc(p->b.ops->withdraw(p->b.tp, &p->hb.segment, th_deadline(&p->b, 40)),
                 SMEM_RES_IN_USE);
    mf_assert_err_has("rank 0");
    mf_assert_rc(p->a.ops->wait(p->lane, th_deadline(&p->a, 5000)), SMEM_NOT_CONNECTED);
    mf_assert_err_has("rank 1 has left pool 3");
    assert_int_equal(v.status, SMEM_NOT_CONNECTED); /* done, but the owner had taken it back */
    mf_assert_ok(th_withdraw(&p->b, &p->hb, 100));
    p->hb.mem = NULL;
    mf_assert_rc(p->a.ops->post(p->lane, &v, 1), SMEM_NOT_CONNECTED);
    (void)p->a.ops->wait(p->lane, th_deadline(&p->a, 100));
    close_pair(p);
}

/* The peer dies while a copy of ours is in the queue: its memory is unmapped after that, and a new
 * life of the rank finds the place free. */
static void test_device__dead_owner_of_a_pending_copy(void **state)
{
    struct pair *p = open_pair("150000000");
    struct mf_xfer v = put_hbm(p, 0);
    struct th c;
    struct th_own hc;
    (void)state;
    mf_assert_ok(p->a.ops->post(p->lane, &v, 1));
    mf_assert_ok(p->a.ops->detach(p->a.tp, 1, p->b.host.incarnation, UINT32_MAX, MF_DETACH_DEAD));
    assert_int_equal(th_count(&p->a, 1), 0);
    struct th_cfg cfg = {
        .ops = &mf_direct_ops, .rank = 1, .here = TH_BASE + (2ull << 32), .device = "sim"};
    mf_assert_ok(th_open(&c, &cfg));
    mf_assert_ok(th_publish(&c, HBM, 0, 4 * MIB, &hc));
    mf_assert_rc(th_attach(&p->a, 1, c.host.incarnation, c.endpoint, c.endpoint_len, 20),
                 SMEM_TIMEOUT);
    mf_assert_rc(p->a.ops->wait(p->lane, th_deadline(&p->a, 5000)), SMEM_NOT_CONNECTED);
    mf_assert_ok(th_attach_to(&p->a, &c));
    p->seg = th_find(&p->a, 1, HBM, 0);
    v = put_hbm(p, 0);
    mf_assert_ok(p->a.ops->post(p->lane, &v, 1));
    mf_assert_ok(p->a.ops->wait(p->lane, th_deadline(&p->a, 5000)));
    p->a.ops->detach(p->a.tp, 1, c.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    mf_assert_ok(th_withdraw(&c, &hc, 1000));
    c.ops->detach(c.tp, 0, p->a.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    th_close(&c);
    close_pair(p);
}

/* Without a device an HBM segment is known; using it says what is missing. */
static void test_device__none_here(void **state)
{
    struct pair *p = open_pair(NULL);
    struct th c;
    void *lane;
    struct th_cfg cfg = {.ops = &mf_direct_ops, .rank = 2, .here = TH_BASE + (2ull << 32)};
    (void)state;
    mf_assert_ok(th_open(&c, &cfg));
    mf_assert_ok(th_attach_to(&c, &p->b));
    struct mf_segment *seg = th_find(&c, 1, HBM, 0);
    assert_non_null(seg);
    assert_int_equal(seg->host, 0);
    assert_int_equal(seg->dev, 0);
    mf_assert_ok(c.ops->lane_open(c.tp, &lane));
    mf_assert_rc(th_copy(&c, lane, seg, seg->desc.gva, NULL, (uint64_t)(uintptr_t)buf, 8),
                 SMEM_NOT_CONNECTED);
    mf_assert_err_has("MF_DEVICE");
    c.ops->lane_close(c.tp, lane);
    c.ops->detach(c.tp, 1, p->b.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    th_close(&c);
    close_pair(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device__pending_until_waited_for),
        cmocka_unit_test(test_device__many_groups_in_one_post),
        cmocka_unit_test(test_device__deadline_is_final),
        cmocka_unit_test(test_device__withdraw_waits_for_the_queue),
        cmocka_unit_test(test_device__dead_owner_of_a_pending_copy),
        cmocka_unit_test(test_device__none_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
