// SPDX-License-Identifier: Apache-2.0
// Copies from end to end over transports and devices of the test's own: every pair of places,
// splits, results of elements, failures at every stage, staging, the short way of one element.
#include "xcopy_world.h"

#include "mf_torture.h"

#define COUNT_MAX 64u

struct fixture {
    struct world w;
    uint8_t *local; /* 8 MiB */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->local = malloc(8 * MIB);
    world_init(&f->w, 4, 4 * MIB, 8 * MIB);
    world_add_device(&f->w, 4 * MIB);
    f->w.space.self = 0;
    /* Ranks 0 and 1 by alpha, 2 by beta, 3 has nothing. */
    for (uint32_t rank = 0; rank < 3; rank++) {
        world_add_segment(&f->w, rank, MF_KIND_HBM, 0, 4 * MIB, rank == 2);
        world_add_segment(&f->w, rank, MF_KIND_DRAM, 0, 2 * MIB, rank == 2);
        world_add_segment(&f->w, rank, MF_KIND_DRAM, 2 * MIB, 4 * MIB, rank == 2);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    world_fini(&f->w);
    free(f->local);
    free(f);
    return 0;
}

/* The bytes behind an address of any place. */
static uint8_t *at(const struct fixture *f, uint64_t addr)
{
    bool global = addr - WORLD_BASE < f->w.table.layout.size;
    return global ? world_at(&f->w, addr) : ptr(addr);
}

static void fill(struct fixture *f, uint64_t addr, uint64_t size, uint8_t salt)
{
    for (uint64_t i = 0; i < size; i++) {
        *at(f, addr + i) = (uint8_t)(i * 7 + (i >> 8) + salt);
    }
}

static bool same(const struct fixture *f, uint64_t a, uint64_t b, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++) {
        if (*at(f, a + i) != *at(f, b + i)) {
            return false;
        }
    }
    return true;
}

static int copy_one(struct fixture *f, uint64_t src, uint64_t dst, uint64_t size)
{
    return mf_xcopy_one(&f->w.space, &f->w.lanes, ptr(src), ptr(dst), size, SMEMB_COPY_AUTO, 0);
}

/* One address of each place: local, own, of a peer by either transport; host and device. */
static uint32_t places(const struct fixture *f, uint64_t *v)
{
    uint32_t n = 0;
    v[n++] = num(f->local);
    v[n++] = num(f->w.dev_mem);
    for (uint32_t rank = 0; rank < 3; rank++) {
        v[n++] = world_gva(&f->w, MF_KIND_DRAM, rank, 0);
        v[n++] = world_gva(&f->w, MF_KIND_HBM, rank, 0);
    }
    return n;
}

/* All pairs with all combinations of what the transports can. */
static void test_xcopy__every_pair_of_places(void **state)
{
    struct fixture *f = *state;
    uint64_t v[8];
    uint32_t n = places(f, v);
    static const uint32_t caps[] = {MF_CAP_HOST | MF_CAP_DEVICE | MF_CAP_THIRD_PARTY,
                                    MF_CAP_HOST | MF_CAP_DEVICE | MF_CAP_SAME_HOST};
    for (int c = 0; c < 4; c++) {
        f->w.ops[0].caps = caps[c & 1];
        f->w.ops[1].caps = caps[c >> 1];
        f->w.tp[0].async = c & 1;
        for (uint32_t s = 0; s < n; s++) {
            for (uint32_t d = 0; d < n; d++) {
                uint64_t src = v[s] + 100;
                uint64_t dst = v[d] + 700000;
                fill(f, src, 5000, (uint8_t)(s * 8 + d + (uint32_t)c));
                mf_assert_ok(copy_one(f, src, dst, 5000));
                if (!same(f, src, dst, 5000)) {
                    fail_msg("from place %u to %u with transports %d", s, d, c);
                }
            }
        }
    }
}

static void test_xcopy_one__over_a_seam(void **state)
{
    struct fixture *f = *state;
    uint64_t dst = world_gva(&f->w, MF_KIND_DRAM, 1, 2 * MIB - 3000);
    fill(f, num(f->local), 10000, 3);
    mf_assert_ok(copy_one(f, num(f->local), dst, 10000));
    assert_true(same(f, num(f->local), dst, 10000));
    assert_int_equal(f->w.tp[0].xfers, 2);
    assert_int_equal(f->w.tp[0].posts, 1);
}

static void test_xcopy_one__posts_one_transfer_and_does_not_wait(void **state)
{
    struct fixture *f = *state;
    uint64_t dst = world_gva(&f->w, MF_KIND_DRAM, 1, 64);
    for (uint64_t i = 0; i < 10; i++) {
        memcpy(f->local, &i, 8);
        mf_assert_ok(
            mf_xcopy_one(&f->w.space, &f->w.lanes, f->local, ptr(dst), 8, SMEMB_COPY_H2G, 0));
        assert_memory_equal(at(f, dst), &i, 8);
    }
    assert_int_equal(f->w.tp[0].posts, 10);
    assert_int_equal(f->w.tp[0].waits, 0);
    assert_int_equal(f->w.tp[0].opened, 1);
    assert_null(f->w.lanes.plan);
}

static void test_xcopy_one__deadline_comes_from_the_option(void **state)
{
    struct fixture *f = *state;
    uint64_t dst = world_gva(&f->w, MF_KIND_DRAM, 1, 64);
    f->w.tp[0].async = true;
    uint64_t now = mf_now_ns(&f->w.env);
    mf_assert_ok(copy_one(f, num(f->local), dst, 100));
    assert_in_range(f->w.tp[0].last_deadline, now + 60000 * MF_NS_PER_MS,
                    now + 90000 * MF_NS_PER_MS);
    mf_assert_ok(mf_xcopy_one(&f->w.space, &f->w.lanes, f->local, ptr(dst), 100, SMEMB_COPY_AUTO,
                              123456789));
    assert_int_equal(f->w.tp[0].last_deadline, 123456789);
}

static void test_xcopy_one__failures_name_rank_and_cause(void **state)
{
    struct fixture *f = *state;
    uint64_t dst = world_gva(&f->w, MF_KIND_DRAM, 1, 64);
    struct fake_tp *tp = &f->w.tp[0];
    tp->fail_every = 1;
    mf_assert_rc(copy_one(f, num(f->local), dst, 100), SMEM_NOT_CONNECTED);
    mf_assert_err_has("copy AUTO: 100 bytes from 0x");
    mf_assert_err_has("(DRAM of rank 1 in pool 5): the fake transport fails transfer 1");
    tp->fail_every = 0;
    tp->post_rc = SMEM_NO_RESOURCES;
    mf_assert_rc(copy_one(f, num(f->local), dst, 100), SMEM_NO_RESOURCES);
    mf_assert_err_has("the fake transport takes nothing");
    tp->post_rc = 0;
    tp->async = true;
    tp->wait_rc = SMEM_TIMEOUT;
    mf_assert_rc(copy_one(f, num(f->local), dst, 100), SMEM_TIMEOUT);
    mf_assert_err_has("waits in vain");
    tp->wait_rc = 0;
    mf_assert_ok(copy_one(f, num(f->local), dst, 100));
}

static void test_xcopy_one__no_lane(void **state)
{
    struct fixture *f = *state;
    f->w.tp[1].lane_rc = SMEM_NO_RESOURCES;
    mf_assert_rc(copy_one(f, num(f->local), world_gva(&f->w, MF_KIND_DRAM, 2, 0), 100),
                 SMEM_NO_RESOURCES);
    mf_assert_err_has("open a lane of transport beta: the fake transport has no lane");
}

/* A transport that fails and gives no reason still leaves a sentence. */
static int silent_post(void *lane, struct mf_xfer *v, uint32_t count)
{
    (void)lane;
    for (uint32_t i = 0; i < count; i++) {
        v[i].status = MF_XFER_PENDING;
    }
    return SMEM_OK;
}

static int silent_wait(void *lane, uint64_t deadline_ns)
{
    (void)lane;
    (void)deadline_ns;
    return SMEM_OK;
}

static void test_xcopy_one__transport_without_a_reason(void **state)
{
    struct fixture *f = *state;
    f->w.ops[0].post = silent_post;
    f->w.ops[0].wait = silent_wait;
    mf_err_clear();
    mf_assert_rc(copy_one(f, num(f->local), world_gva(&f->w, MF_KIND_DRAM, 1, 0), 100), SMEM_ERROR);
    mf_assert_err_has("transport alpha reports code -1 and no reason");
}

/* ---- batches ---- */

struct lists {
    void *src[COUNT_MAX], *dst[COUNT_MAX];
    uint64_t size[COUNT_MAX];
    int32_t results[COUNT_MAX];
    struct mf_batch batch;
};

/* Elements of 4 KiB to the ranks in turn, each with its own bytes, none a neighbour of the one
 * before. */
static void make_lists(struct fixture *f, struct lists *l, uint32_t count)
{
    memset(l, 0, sizeof(*l));
    for (uint32_t i = 0; i < count; i++) {
        l->src[i] = f->local + i * 16384;
        l->dst[i] = ptr(world_gva(&f->w, MF_KIND_DRAM, i % 3, i * 65536));
        l->size[i] = 4096;
        fill(f, num(l->src[i]), 4096, (uint8_t)i);
        memset(at(f, num(l->dst[i])), 0, 4096);
    }
    l->batch = (struct mf_batch){
        .src = l->src, .dst = l->dst, .size = l->size, .count = count, .results = l->results};
}

static int copy_lists(struct fixture *f, struct lists *l)
{
    return mf_xcopy_batch(&f->w.space, &f->w.lanes, &l->batch, SMEMB_COPY_AUTO, 0);
}

static bool landed(struct fixture *f, const struct lists *l, uint32_t i)
{
    return same(f, num(l->src[i]), num(l->dst[i]), l->size[i]);
}

static void test_xcopy_batch__one_post_for_each_transport(void **state)
{
    struct fixture *f = *state;
    struct lists l;
    make_lists(f, &l, 60);
    mf_assert_ok(copy_lists(f, &l));
    for (uint32_t i = 0; i < 60; i++) {
        assert_true(landed(f, &l, i));
        assert_int_equal(l.results[i], SMEM_OK);
    }
    assert_int_equal(f->w.tp[0].posts, 1);
    assert_int_equal(f->w.tp[1].posts, 1);
    assert_int_equal(f->w.tp[0].xfers, 40);
    assert_int_equal(f->w.tp[1].xfers, 20);
}

/* Both directions, local copies and both transports in one batch. */
static void test_xcopy_batch__mixed_directions(void **state)
{
    struct fixture *f = *state;
    uint64_t v[8];
    uint32_t n = places(f, v);
    struct lists l;
    make_lists(f, &l, COUNT_MAX);
    for (uint32_t i = 0; i < COUNT_MAX; i++) {
        l.src[i] = ptr(v[i % n] + i * 4096);
        l.dst[i] = ptr(v[i / n] + MIB + i * 8192);
        fill(f, num(l.src[i]), 4096, (uint8_t)(i * 3));
    }
    f->w.tp[1].async = true;
    mf_assert_ok(copy_lists(f, &l));
    for (uint32_t i = 0; i < COUNT_MAX; i++) {
        assert_true(landed(f, &l, i));
    }
}

static void test_xcopy_batch__bad_element_stops_all_without_results(void **state)
{
    struct fixture *f = *state;
    struct lists l;
    make_lists(f, &l, 20);
    l.size[13] = 0;
    l.batch.results = NULL;
    mf_assert_rc(copy_lists(f, &l), SMEM_INVALID_PARAM);
    mf_assert_err_has("element 13: the size is 0");
    assert_int_equal(f->w.tp[0].posts + f->w.tp[1].posts, 0);
}

static void test_xcopy_batch__bad_elements_get_their_codes(void **state)
{
    struct fixture *f = *state;
    struct lists l;
    make_lists(f, &l, 20);
    l.size[13] = 0;
    l.dst[7] = ptr(world_gva(&f->w, MF_KIND_DRAM, 3, 0));
    f->w.resolve_rc = SMEM_NOT_CONNECTED;
    mf_assert_rc(copy_lists(f, &l), SMEM_PARTIAL_FAILED);
    mf_assert_err_has("2 of 20 elements failed: copy AUTO, element 7: 4096 bytes from");
    mf_assert_err_has("rank 3 has not joined");
    for (uint32_t i = 0; i < 20; i++) {
        int32_t want = i == 7 ? SMEM_NOT_CONNECTED : i == 13 ? SMEM_INVALID_PARAM : SMEM_OK;
        assert_int_equal(l.results[i], want);
        assert_true(want != SMEM_OK || landed(f, &l, i));
    }
}

/* Whatever fails, each element says truly whether its bytes are there. */
static void test_xcopy_batch__random_failures(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 12345;
    for (int round = 0; round < 200; round++) {
        struct lists l;
        uint32_t count = 1 + (uint32_t)rnd_below(&seed, COUNT_MAX);
        make_lists(f, &l, count);
        for (uint32_t i = 1; i < count; i++) {
            if (rnd_below(&seed, 2)) { /* a neighbour: becomes one transfer */
                l.src[i] = ptr(num(l.src[i - 1]) + 4096);
                l.dst[i] = ptr(num(l.dst[i - 1]) + 4096);
                fill(f, num(l.src[i]), 4096, (uint8_t)(i + 100));
                memset(at(f, num(l.dst[i])), 0, 4096);
            }
        }
        for (int t = 0; t < 2; t++) {
            f->w.tp[t].fail_every = (uint32_t)rnd_below(&seed, 8);
            f->w.tp[t].async = rnd_below(&seed, 2);
        }
        int rc = copy_lists(f, &l);
        uint32_t failed = 0;
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(landed(f, &l, i), l.results[i] == SMEM_OK);
            failed += l.results[i] != SMEM_OK;
        }
        assert_int_equal(rc, failed ? SMEM_PARTIAL_FAILED : SMEM_OK);
        if (failed) {
            char words[64];
            snprintf(words, sizeof(words), "%u of %u elements failed: copy AUTO, element ", failed,
                     count);
            mf_assert_err_has(words);
        }
    }
}

static void test_xcopy_batch__first_failure_without_results(void **state)
{
    struct fixture *f = *state;
    struct lists l;
    make_lists(f, &l, 9);
    l.batch.results = NULL;
    f->w.tp[1].fail_every = 2;
    f->w.tp[1].fail_rc = SMEM_TIMEOUT;
    mf_assert_rc(copy_lists(f, &l), SMEM_TIMEOUT);
    mf_assert_err_has("copy AUTO, element 5: 4096 bytes");
    mf_assert_err_has("(DRAM of rank 2 in pool 5): the fake transport fails transfer 2");
    /* The others were done all the same. */
    assert_true(landed(f, &l, 0) && landed(f, &l, 8) && !landed(f, &l, 5));
}

static void test_xcopy_batch__failed_post_does_not_stop_other_transports(void **state)
{
    struct fixture *f = *state;
    struct lists l;
    make_lists(f, &l, 9);
    f->w.tp[0].post_rc = SMEM_NO_RESOURCES;
    mf_assert_rc(copy_lists(f, &l), SMEM_PARTIAL_FAILED);
    for (uint32_t i = 0; i < 9; i++) {
        assert_int_equal(l.results[i], i % 3 == 2 ? SMEM_OK : SMEM_NO_RESOURCES);
        assert_int_equal(landed(f, &l, i), i % 3 == 2);
    }
}

/* ---- staging and devices ---- */

static void test_xcopy__third_party_is_staged_in_pieces(void **state)
{
    struct fixture *f = *state;
    uint64_t src = world_gva(&f->w, MF_KIND_DRAM, 1, 2 * MIB);
    uint64_t dst = world_gva(&f->w, MF_KIND_DRAM, 2, 2 * MIB);
    fill(f, src, 3 * MIB + 5, 1);
    mf_assert_ok(copy_one(f, src, dst, 3 * MIB + 5));
    assert_true(same(f, src, dst, 3 * MIB + 5));
    assert_int_equal(f->w.tp[0].xfers, 4); /* out of the one, into the other, 1 MiB at a time */
    assert_int_equal(f->w.tp[1].xfers, 4);
    f->w.tp[1].fail_every = 7;
    mf_assert_rc(copy_one(f, src, dst, 3 * MIB), SMEM_NOT_CONNECTED);
    mf_assert_err_has("(DRAM of rank 1 in pool 5) to");
    mf_assert_err_has("fails transfer 7");
}

static void test_xcopy__device_memory_over_a_host_transport_is_staged(void **state)
{
    struct fixture *f = *state;
    uint64_t peer = world_gva(&f->w, MF_KIND_DRAM, 1, 0);
    uint64_t dev = num(f->w.dev_mem);
    f->w.ops[0].caps = MF_CAP_HOST;
    fill(f, dev, 2 * MIB, 9);
    mf_assert_ok(copy_one(f, dev, peer, 2 * MIB));
    assert_true(same(f, dev, peer, 2 * MIB));
    mf_assert_ok(copy_one(f, peer, dev + 2 * MIB, 2 * MIB));
    assert_true(same(f, dev, dev + 2 * MIB, 2 * MIB));
    assert_int_equal(f->w.dev_copies, 4);
    /* The far end's device memory is out of reach, and says so. */
    mf_assert_rc(copy_one(f, num(f->local), world_gva(&f->w, MF_KIND_HBM, 1, 0), 64),
                 SMEM_NOT_CONNECTED);
    mf_assert_err_has("does not reach its device memory");
}

static void test_xcopy__failed_stream_fails_its_elements(void **state)
{
    struct fixture *f = *state;
    struct lists l;
    make_lists(f, &l, 4);
    l.dst[1] = f->w.dev_mem;
    l.dst[2] = f->local + 4 * MIB;
    f->w.dev_sync_rc = SMEM_TIMEOUT;
    mf_assert_rc(copy_lists(f, &l), SMEM_PARTIAL_FAILED);
    mf_assert_err_has("1 of 4 elements failed: copy AUTO, element 1");
    mf_assert_err_has("did not finish the copy in time");
    assert_int_equal(l.results[1], SMEM_TIMEOUT);
    assert_int_equal(l.results[2], SMEM_OK);
    assert_true(landed(f, &l, 0) && landed(f, &l, 2) && landed(f, &l, 3));
    assert_int_equal(f->w.dev_streams, 0); /* given up */
    f->w.dev_sync_rc = 0;
    mf_assert_ok(copy_lists(f, &l));
}

static void test_xcopy__own_segments_without_a_transport(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 3; i++) {
        f->w.segs[i].ops = NULL;
        f->w.segs[i].tp = NULL;
    }
    uint64_t host = world_gva(&f->w, MF_KIND_DRAM, 0, 2 * MIB - 500);
    uint64_t hbm = world_gva(&f->w, MF_KIND_HBM, 0, 0);
    fill(f, num(f->local), 1000, 77);
    mf_assert_ok(copy_one(f, num(f->local), host, 1000));
    mf_assert_ok(copy_one(f, host, hbm, 1000));
    mf_assert_ok(copy_one(f, hbm, hbm + MIB, 1000));
    assert_true(same(f, num(f->local), hbm + MIB, 1000));
    assert_int_equal(f->w.tp[0].posts, 0);
    f->w.segs[1].host = 0;
    mf_assert_rc(copy_one(f, num(f->local), world_gva(&f->w, MF_KIND_DRAM, 0, 0), 10),
                 SMEM_NOT_CONNECTED);
    mf_assert_err_has("memory of rank 0 at 0x");
}

static void test_xcopy_one__rank_that_arrives(void **state)
{
    struct fixture *f = *state;
    f->w.arriving = world_make_segment(&f->w, 3, MF_KIND_DRAM, 0, 2 * MIB, 1);
    uint64_t dst = world_gva(&f->w, MF_KIND_DRAM, 3, 0);
    fill(f, num(f->local), 100, 1);
    mf_assert_ok(copy_one(f, num(f->local), dst, 100));
    assert_true(same(f, num(f->local), dst, 100));
    assert_int_equal(f->w.resolves, 1);
}

/* The emulated accelerator: memory that a stray host access would fault on. */
static void test_xcopy__simulated_device(void **state)
{
    struct fixture *f = *state;
    struct mf_dev *dev;
    mf_dev_mem mem;
    uint64_t addr;
    uint64_t size = 4 * MIB;
    mf_assert_ok(mf_dev_open(&f->w.env, &f->w.config, "sim", 0, &dev));
    mf_assert_ok(dev->ops.mem_create(dev->impl, size, &mem));
    mf_assert_ok(dev->ops.window_reserve(dev->impl, 0, size, &addr));
    mf_assert_ok(dev->ops.map(dev->impl, addr, mem, 0, size));
    struct mf_lanes lanes;
    struct mf_xcopy_space space = f->w.space;
    space.dev = dev;
    mf_lanes_init(&lanes);
    fill(f, num(f->local), 2 * MIB, 5);
    void *src[2] = {f->local, ptr(addr)};
    void *dst[2] = {ptr(addr), ptr(addr + 2 * MIB)};
    for (int i = 0; i < 2; i++) { /* to the device, and within it */
        mf_assert_ok(mf_xcopy_one(&space, &lanes, src[i], dst[i], 2 * MIB, SMEMB_COPY_AUTO, 0));
    }
    mf_assert_ok(mf_xcopy_one(&space, &lanes, ptr(addr + 2 * MIB), f->local + 4 * MIB, 2 * MIB,
                              SMEMB_COPY_AUTO, 0));
    assert_memory_equal(f->local, f->local + 4 * MIB, 2 * MIB);
    mf_assert_rc(
        mf_xcopy_one(&space, &lanes, f->local, ptr(addr + size - 10), 20, SMEMB_COPY_AUTO, 0),
        SMEM_INVALID_PARAM);
    mf_lanes_fini(&lanes);
    mf_assert_ok(dev->ops.unmap(dev->impl, addr, size));
    dev->ops.window_release(dev->impl, addr, size);
    dev->ops.mem_destroy(dev->impl, mem);
    mf_dev_close(dev);
}

/* ---- the rest ---- */

static void test_xcopy_plan__counts_transfers(void **state)
{
    struct fixture *f = *state;
    struct lists l;
    uint32_t transfers = 7;
    make_lists(f, &l, 10);
    for (uint32_t i = 1; i < 5; i++) {
        l.src[i] = ptr(num(l.src[i - 1]) + 4096);
        l.dst[i] = ptr(num(l.dst[i - 1]) + 4096);
    }
    mf_assert_ok(mf_xcopy_plan(&f->w.space, &f->w.lanes, &l.batch, SMEMB_COPY_AUTO, &transfers));
    assert_int_equal(transfers, 6);
    assert_int_equal(f->w.tp[0].posts, 0);
    l.size[0] = 0;
    l.batch.results = NULL;
    mf_assert_rc(mf_xcopy_plan(&f->w.space, &f->w.lanes, &l.batch, SMEMB_COPY_AUTO, &transfers),
                 SMEM_INVALID_PARAM);
    assert_int_equal(transfers, 0);
}

static int copy_with_new_lanes(void *arg)
{
    struct fixture *f = arg;
    struct lists l;
    make_lists(f, &l, 30);
    l.src[4] = ptr(world_gva(&f->w, MF_KIND_DRAM, 1, MIB)); /* to rank 1: third party by alpha */
    l.src[5] = ptr(world_gva(&f->w, MF_KIND_DRAM, 1, MIB)); /* to rank 2: staged */
    l.batch.results = NULL;
    struct mf_lanes lanes;
    mf_lanes_init(&lanes);
    int rc = mf_xcopy_batch(&f->w.space, &lanes, &l.batch, SMEMB_COPY_AUTO, 0);
    mf_lanes_fini(&lanes);
    return rc;
}

static void test_xcopy_batch__torture(void **state)
{
    struct fixture *f = *state;
    assert_true(mf_torture(copy_with_new_lanes, f) >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_xcopy__every_pair_of_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_xcopy_one__over_a_seam, setup, teardown),
        cmocka_unit_test_setup_teardown(test_xcopy_one__posts_one_transfer_and_does_not_wait, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_xcopy_one__deadline_comes_from_the_option, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_xcopy_one__failures_name_rank_and_cause, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_xcopy_one__no_lane, setup, teardown),
        cmocka_unit_test_setup_teardown(test_xcopy_one__transport_without_a_reason, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_xcopy_batch__one_post_for_each_transport, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_xcopy_batch__mixed_directions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_xcopy_batch__bad_element_stops_all_without_results,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_xcopy_batch__bad_elements_get_their_codes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_xcopy_batch__random_failures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_xcopy_batch__first_failure_without_results, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_xcopy_batch__failed_post_does_not_stop_other_transports, setup, teardown),
        cmocka_unit_test_setup_teardown(test_xcopy__third_party_is_staged_in_pieces, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_xcopy__device_memory_over_a_host_transport_is_staged,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_xcopy__failed_stream_fails_its_elements, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_xcopy__own_segments_without_a_transport, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_xcopy_one__rank_that_arrives, setup, teardown),
        cmocka_unit_test_setup_teardown(test_xcopy__simulated_device, setup, teardown),
        cmocka_unit_test_setup_teardown(test_xcopy_plan__counts_transfers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_xcopy_batch__torture, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
