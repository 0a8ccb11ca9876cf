// SPDX-License-Identifier: Apache-2.0
// Checksums of copies: the sum itself, what a copy with sums writes and what it notices, and that
// every mover's work is read back: transports that lie, devices that lie, staged ways, batches.
#include "xcopy/checksum.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "mf_torture.h"
#include "xcopy_world.h"

#define AREA  (64u << 10)
#define GUARD 64u

static void fill(uint8_t *p, size_t size, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i < size; i++) {
        p[i] = (uint8_t)rnd(&state);
    }
}

/* ---- the sum ---- */

static void test_checksum__is_xxh3(void **state)
{
    (void)state;
    uint8_t *bytes = malloc(AREA);
    fill(bytes, AREA, 1);
    assert_int_equal(mf_checksum("", 0), 0x2d06800538d394c2ull);
    for (size_t size = 0; size <= AREA - 8; size += size < 600 ? 1 : 997) {
        uint64_t want = XXH3_64bits(bytes + size % 7, size);
        if (mf_checksum(bytes + size % 7, size) != want) {
            fail_msg("%zu bytes", size);
        }
    }
    free(bytes);
}

static void test_checksum__every_bit_counts(void **state)
{
    (void)state;
    uint8_t bytes[MF_CHECKSUM_CHUNK];
    fill(bytes, sizeof(bytes), 2);
    uint64_t sum = mf_checksum(bytes, sizeof(bytes));
    for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(mf_checksum(bytes, sizeof(bytes)) != sum);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* ---- copies by this thread ---- */

static void test_copy__moves_all_and_nothing_else(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 2, 0, 2 * MIB);
    uint8_t *src = malloc(AREA);
    uint8_t *dst = malloc(AREA);
    fill(src, AREA, 3);
    uint64_t seed = 4;
    for (int i = 0; i < 3000; i++) {
        struct mf_checksum_bad bad;
        size_t size = i < 600 ? (size_t)i : rnd_below(&seed, AREA - 4 * GUARD);
        size_t from = rnd_below(&seed, GUARD);
        size_t to = GUARD + rnd_below(&seed, GUARD);
        memset(dst, 0xee, to + size + GUARD);
        assert_true(mf_checksum_copy(w.copier, dst + to, src + from, size, &bad));
        assert_memory_equal(dst + to, src + from, size);
        for (size_t k = 0; k < GUARD; k++) {
            assert_int_equal(dst[to - 1 - k], 0xee);
            assert_int_equal(dst[to + size + k], 0xee);
        }
    }
    free(src);
    free(dst);
    world_fini(&w);
}

/* Two mappings of the same pages: no two of their addresses overlap, and yet the copy writes into
 * its own source. */
struct twice {
    uint8_t *a, *b;
    size_t size;
};

static void twice_init(struct twice *t, size_t size)
{
    int fd = memfd_create("twice", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    t->size = size;
    t->a = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    t->b = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(t->a != MAP_FAILED && t->b != MAP_FAILED);
    close(fd);
    fill(t->a, size, 5);
}

static void twice_fini(struct twice *t)
{
    munmap(t->a, t->size);
    munmap(t->b, t->size);
}

/* Half a chunk apart, one way or the other: a memcpy that walks up spoils what lies above, one that
 * walks down what lies below. */
#define APART (MF_CHECKSUM_CHUNK / 2)

static void test_copy__notices_a_source_that_changes(void **state)
{
    (void)state;
    struct world w;
    struct twice t;
    struct mf_checksum_bad bad = {.offset = 1};
    world_init(&w, 2, 0, 2 * MIB);
    twice_init(&t, AREA);
    bool up = mf_checksum_copy(w.copier, t.b + APART, t.a, AREA / 2, &bad);
    fill(t.a, AREA, 6);
    bool down = up && mf_checksum_copy(w.copier, t.b, t.a + APART, AREA / 2, &bad);
    assert_true(!up || !down);
    assert_int_equal(bad.offset % MF_CHECKSUM_CHUNK, 0);
    assert_int_equal(bad.size, MF_CHECKSUM_CHUNK);
    assert_true(bad.src != bad.dst);
    /* The same places are fine when they don't overlap. */
    assert_true(mf_checksum_copy(w.copier, t.b + AREA / 2, t.a, AREA / 2, &bad));
    assert_memory_equal(t.b + AREA / 2, t.a, AREA / 2);
    twice_fini(&t);
    world_fini(&w);
}

/* A word that is written while it is copied is no mismatch: it arrives as one of its values. */
struct toggler {
    _Alignas(8) _Atomic uint64_t word;
    _Atomic bool stop;
};

static void *toggle_main(void *arg)
{
    struct toggler *t = arg;
    while (!atomic_load(&t->stop)) {
        atomic_fetch_xor(&t->word, UINT64_MAX);
    }
    return NULL;
}

static void test_copy__a_word_that_is_written_meanwhile_is_read_once(void **state)
{
    (void)state;
    struct world w;
    struct toggler t = {.word = 0x0123456789abcdefull};
    pthread_t thread;
    world_init(&w, 2, 0, 2 * MIB);
    assert_int_equal(pthread_create(&thread, NULL, toggle_main, &t), 0);
    for (int i = 0; i < 300000; i++) {
        struct mf_checksum_bad bad;
        uint64_t got = 0;
        bool good = mf_checksum_copy(w.copier, &got, (const void *)&t.word, sizeof(got), &bad);
        assert_true(good);
        assert_true(got == 0x0123456789abcdefull || got == ~0x0123456789abcdefull);
    }
    atomic_store(&t.stop, true);
    pthread_join(thread, NULL);
    world_fini(&w);
}

static void test_local__mismatch_names_both_addresses(void **state)
{
    (void)state;
    struct world w;
    struct twice t;
    char text[64];
    world_init(&w, 2, 0, 2 * MIB);
    w.space.checked = true;
    twice_init(&t, AREA);
    uint8_t *src = t.a;
    uint8_t *dst = t.b + APART;
    if (mf_xcopy_one(&w.space, &w.lanes, src, dst, MF_CHECKSUM_CHUNK, SMEMB_COPY_AUTO, 0) == 0) {
        src = t.a + APART;
        dst = t.b;
        fill(t.a, AREA, 7);
        mf_assert_rc(
            mf_xcopy_one(&w.space, &w.lanes, src, dst, MF_CHECKSUM_CHUNK, SMEMB_COPY_AUTO, 0),
            SMEM_ERROR);
    }
    mf_assert_err_has("copy AUTO: 2048 bytes from");
    snprintf(text, sizeof(text), "2048 bytes at 0x%llx of this process's memory have",
             (unsigned long long)num(dst));
    mf_assert_err_has(text);
    snprintf(text, sizeof(text), "source at 0x%llx of this process's memory had",
             (unsigned long long)num(src));
    mf_assert_err_has(text);
    mf_assert_err_has("copy again");
    twice_fini(&t);
    world_fini(&w);
}

static void test_off__nothing_is_noticed(void **state)
{
    (void)state;
    struct world w;
    struct twice t;
    world_init(&w, 2, 0, 2 * MIB);
    twice_init(&t, AREA);
    mf_assert_ok(mf_xcopy_one(&w.space, &w.lanes, t.a, t.b + APART, AREA / 2, SMEMB_COPY_AUTO, 0));
    mf_assert_ok(mf_xcopy_one(&w.space, &w.lanes, t.a + APART, t.b, AREA / 2, SMEMB_COPY_AUTO, 0));
    twice_fini(&t);
    world_fini(&w);
}

/* ---- transports ---- */

/* A transport whose nth transfer has one bit wrong at its target. */
static struct {
    uint32_t seen, wrong;
} liar;

static int lying_post(void *lane, struct mf_xfer *v, uint32_t count)
{
    int rc = fake_post(lane, v, count);
    for (uint32_t i = 0; i < count; i++) {
        if (++liar.seen == liar.wrong) {
            world_reach(v[i].dst_seg, v[i].dst)[v[i].size / 2] ^= 4;
        }
    }
    return rc;
}

/* Pool 5 of two ranks; rank 1's 1 MiB begin at 512 KiB in its slot. */
#define SEG_AT (512u << 10)

static struct mf_segment *lying_world(struct world *w, uint32_t wrong)
{
    world_init(w, 2, 2 * MIB, 2 * MIB);
    w->space.checked = true;
    w->ops[0].post = lying_post;
    liar.seen = 0;
    liar.wrong = wrong;
    return world_add_segment(w, 1, MF_KIND_DRAM, SEG_AT, MIB, 0);
}

static void test_transport__what_it_got_wrong_is_reported(void **state)
{
    (void)state;
    struct world w;
    char text[96];
    uint8_t src[4096];
    struct mf_segment *seg = lying_world(&w, 1);
    fill(src, sizeof(src), 8);
    mf_assert_rc(mf_xcopy_one(&w.space, &w.lanes, src, ptr(seg->desc.gva + 0x1000), sizeof(src),
                              SMEMB_COPY_H2G, 0),
                 SMEM_ERROR);
    mf_assert_err_has("copy H2G: 4096 bytes from");
    mf_assert_err_has("offset 0x81000 of rank 1's DRAM in pool 5");
    snprintf(text, sizeof(text), "had %016llx", (unsigned long long)XXH3_64bits(src, sizeof(src)));
    mf_assert_err_has(text);
    const uint8_t *got = world_at(&w, seg->desc.gva + 0x1000);
    snprintf(text, sizeof(text), "XXH3 %016llx", (unsigned long long)XXH3_64bits(got, sizeof(src)));
    mf_assert_err_has(text);
    /* Copied again, it is right. */
    mf_assert_ok(mf_xcopy_one(&w.space, &w.lanes, src, ptr(seg->desc.gva + 0x1000), sizeof(src),
                              SMEMB_COPY_H2G, 0));
    world_fini(&w);
}

static void test_transport__off_means_no_reading_back(void **state)
{
    (void)state;
    struct world w;
    uint8_t src[512] = {1};
    struct mf_segment *seg = lying_world(&w, 1);
    w.space.checked = false;
    mf_assert_ok(
        mf_xcopy_one(&w.space, &w.lanes, src, ptr(seg->desc.gva), sizeof(src), SMEMB_COPY_H2G, 0));
    assert_int_equal(w.tp[0].xfers, 1);
    assert_null(w.lanes.staging);
    world_fini(&w);
}

static int checking_post(void *lane, struct mf_xfer *v, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        v[i].flags |= MF_XFER_CHECKED;
    }
    return fake_post(lane, v, count);
}

static void test_transport__what_it_checked_itself_is_not_read_back(void **state)
{
    (void)state;
    struct world w;
    uint8_t src[512] = {1};
    struct mf_segment *seg = lying_world(&w, 0);
    w.ops[0].post = checking_post;
    mf_assert_ok(
        mf_xcopy_one(&w.space, &w.lanes, src, ptr(seg->desc.gva), sizeof(src), SMEMB_COPY_H2G, 0));
    assert_int_equal(w.tp[0].xfers, 1);
    world_fini(&w);
}

#define LIST 7u

/* Neighbours, which would be one transfer without sums. */
static void make_list(struct mf_batch *batch, void **src, void **dst, uint64_t *size, uint8_t *from,
                      uint64_t to)
{
    for (uint32_t i = 0; i < LIST; i++) {
        src[i] = from + i * 1000;
        dst[i] = ptr(to + i * 1000);
        size[i] = 1000;
    }
    *batch = (struct mf_batch){.src = src, .dst = dst, .size = size, .count = LIST};
}

static void test_batch__each_element_has_its_own_result(void **state)
{
    (void)state;
    for (int async = 0; async < 2; async++) {
        struct world w;
        struct mf_batch batch;
        void *src[LIST], *dst[LIST];
        uint64_t size[LIST];
        int32_t results[LIST];
        uint8_t *bytes = malloc(AREA);
        struct mf_segment *seg = lying_world(&w, async ? 0 : 4);
        fill(bytes, AREA, 9);
        make_list(&batch, src, dst, size, bytes, seg->desc.gva + 64);
        batch.results = results;
        w.tp[0].async = async;
        mf_assert_rc(mf_xcopy_batch(&w.space, &w.lanes, &batch, SMEMB_COPY_H2G, 0),
                     async ? SMEM_OK : SMEM_PARTIAL_FAILED);
        for (uint32_t i = 0; i < LIST; i++) {
            assert_int_equal(results[i], !async && i == 3 ? SMEM_ERROR : SMEM_OK);
        }
        if (!async) {
            mf_assert_err_has("1 of 7 elements failed");
            mf_assert_err_has("element 3");
            mf_assert_err_has("offset 0x80bf8 of rank 1's DRAM in pool 5");
        }
        /* All reads of the check went through the transport. */
        assert_int_equal(w.tp[0].xfers, 2 * LIST);
        free(bytes);
        world_fini(&w);
    }
}

static void test_batch__without_results_the_first_one_is_named(void **state)
{
    (void)state;
    struct world w;
    struct mf_batch batch;
    void *src[LIST], *dst[LIST];
    uint64_t size[LIST];
    uint8_t *bytes = malloc(AREA);
    struct mf_segment *seg = lying_world(&w, 6);
    fill(bytes, AREA, 10);
    make_list(&batch, src, dst, size, bytes, seg->desc.gva);
    mf_assert_rc(mf_xcopy_batch(&w.space, &w.lanes, &batch, SMEMB_COPY_H2G, 0), SMEM_ERROR);
    mf_assert_err_has("element 5");
    mf_assert_err_has("checksum");
    free(bytes);
    world_fini(&w);
}

static void test_batch__a_transfer_that_failed_keeps_its_reason(void **state)
{
    (void)state;
    struct world w;
    struct mf_batch batch;
    void *src[LIST], *dst[LIST];
    uint64_t size[LIST];
    int32_t results[LIST];
    uint8_t *bytes = malloc(AREA);
    struct mf_segment *seg = lying_world(&w, 2);
    fill(bytes, AREA, 11);
    make_list(&batch, src, dst, size, bytes, seg->desc.gva);
    batch.results = results;
    w.tp[0].fail_every = 5; /* of those posted: element 4, and then reads of the check */
    w.tp[0].fail_rc = SMEM_NOT_CONNECTED;
    mf_assert_rc(mf_xcopy_batch(&w.space, &w.lanes, &batch, SMEMB_COPY_H2G, 0),
                 SMEM_PARTIAL_FAILED);
    assert_int_equal(results[0], SMEM_OK);
    assert_int_equal(results[1], SMEM_ERROR);
    assert_int_equal(results[4], SMEM_NOT_CONNECTED);
    /* The third read of the check failed: the transfer after those of elements 0 and 1. */
    assert_int_equal(results[2], SMEM_NOT_CONNECTED);
    /* The sentence is that of the first one in the batch's order. */
    mf_assert_err_has("element 1");
    mf_assert_err_has("checksum");
    free(bytes);
    world_fini(&w);
}

static void test_check__a_read_that_fails_says_so(void **state)
{
    (void)state;
    struct world w;
    uint8_t src[512] = {1};
    struct mf_segment *seg = lying_world(&w, 0);
    w.tp[0].fail_every = 2;
    mf_assert_rc(
        mf_xcopy_one(&w.space, &w.lanes, src, ptr(seg->desc.gva), sizeof(src), SMEMB_COPY_H2G, 0),
        SMEM_NOT_CONNECTED);
    mf_assert_err_has("checksum: read back what was copied");
    mf_assert_err_has("the fake transport fails transfer 2");
    world_fini(&w);
}

static void test_small__words_are_checked_too(void **state)
{
    (void)state;
    struct world w;
    uint64_t word = 0x1122334455667788ull;
    struct mf_segment *seg = lying_world(&w, 1);
    mf_assert_rc(mf_xcopy_one(&w.space, &w.lanes, &word, ptr(seg->desc.gva), sizeof(word),
                              SMEMB_COPY_H2G, 0),
                 SMEM_ERROR);
    mf_assert_err_has("8 bytes at offset 0x80000 of rank 1's DRAM in pool 5");
    world_fini(&w);
}

static void test_seam__both_pieces_are_checked(void **state)
{
    (void)state;
    for (uint32_t wrong = 1; wrong <= 2; wrong++) {
        struct world w;
        uint8_t src[8192];
        struct mf_segment *seg = lying_world(&w, wrong);
        world_add_segment(&w, 1, MF_KIND_DRAM, SEG_AT + MIB, 64 << 10, 0);
        fill(src, sizeof(src), 12);
        mf_assert_rc(mf_xcopy_one(&w.space, &w.lanes, src, ptr(seg->desc.gva + MIB - 4096),
                                  sizeof(src), SMEMB_COPY_H2G, 0),
                     SMEM_ERROR);
        mf_assert_err_has(wrong == 1 ? "offset 0x17f000" : "offset 0x180000");
        world_fini(&w);
    }
}

/* ---- devices and staged ways ---- */

static struct {
    uint32_t seen, wrong;
} bad_device;

static int lying_dev_copy(void *dev, void *stream, uint64_t dst, uint64_t src, uint64_t size)
{
    int rc = fake_dev_copy(dev, stream, dst, src, size);
    if (++bad_device.seen == bad_device.wrong) {
        *(uint8_t *)(uintptr_t)(dst + size - 1) ^= 0x80;
    }
    return rc;
}

static void test_device__local_copies_are_read_back(void **state)
{
    (void)state;
    for (uint32_t wrong = 0; wrong < 2; wrong++) {
        struct world w;
        uint64_t bytes = 2 * MIB + 4096; /* more than the staging memory holds at once */
        uint8_t *host = malloc(bytes);
        char text[64];
        world_init(&w, 2, 0, 2 * MIB);
        world_add_device(&w, 8 * MIB);
        w.space.checked = true;
        w.dev.ops.copy = lying_dev_copy;
        bad_device.seen = 0;
        bad_device.wrong = wrong;
        fill(host, bytes, 13);
        int rc = mf_xcopy_one(&w.space, &w.lanes, host, w.dev_mem, bytes, SMEMB_COPY_AUTO, 0);
        mf_assert_rc(rc, wrong ? SMEM_ERROR : SMEM_OK);
        if (wrong) {
            snprintf(text, sizeof(text), "4096 bytes at 0x%llx of this process's device memory",
                     (unsigned long long)num(w.dev_mem) + 2 * MIB);
            mf_assert_err_has(text);
        }
        assert_int_equal(w.dev_copies, 4);
        free(host);
        world_fini(&w);
    }
}

static void test_staged__the_whole_way_is_checked(void **state)
{
    (void)state;
    for (uint32_t wrong = 0; wrong < 2; wrong++) {
        struct world w;
        world_init(&w, 3, 0, 2 * MIB);
        struct mf_segment *from = world_add_segment(&w, 1, MF_KIND_DRAM, SEG_AT, MIB, 0);
        struct mf_segment *to = world_add_segment(&w, 2, MF_KIND_DRAM, 0, MIB, 1);
        w.space.checked = true;
        w.ops[0].post = lying_post; /* the first half of the way */
        liar.seen = 0;
        liar.wrong = wrong;
        fill(from->priv, MIB, 14);
        int rc = mf_xcopy_one(&w.space, &w.lanes, ptr(from->desc.gva + 4096),
                              ptr(to->desc.gva + 8192), 10000, SMEMB_COPY_G2G, 0);
        mf_assert_rc(rc, wrong ? SMEM_ERROR : SMEM_OK);
        if (wrong) {
            mf_assert_err_has("offset 0x2000 of rank 2's DRAM in pool 5");
            mf_assert_err_has("offset 0x81000 of rank 1's DRAM in pool 5");
        }
        world_fini(&w);
    }
}

/* ---- torture ---- */

static int copy_in_new_world(void *arg)
{
    struct world *w = arg;
    uint8_t src[4096];
    fill(src, sizeof(src), 15);
    int rc = mf_xcopy_one(&w->space, &w->lanes, src, ptr(world_gva(w, MF_KIND_DRAM, 1, SEG_AT)),
                          sizeof(src), SMEMB_COPY_H2G, 0);
    mf_lanes_fini(&w->lanes);
    return rc;
}

static void test_torture__out_of_memory_fails_cleanly(void **state)
{
    (void)state;
    struct world w;
    lying_world(&w, 0);
    assert_true(mf_torture(copy_in_new_world, &w) >= 2); /* the plan, and what is read back into */
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum__is_xxh3),
        cmocka_unit_test(test_checksum__every_bit_counts),
        cmocka_unit_test(test_copy__moves_all_and_nothing_else),
        cmocka_unit_test(test_copy__notices_a_source_that_changes),
        cmocka_unit_test(test_copy__a_word_that_is_written_meanwhile_is_read_once),
        cmocka_unit_test(test_local__mismatch_names_both_addresses),
        cmocka_unit_test(test_off__nothing_is_noticed),
        cmocka_unit_test(test_transport__what_it_got_wrong_is_reported),
        cmocka_unit_test(test_transport__off_means_no_reading_back),
        cmocka_unit_test(test_transport__what_it_checked_itself_is_not_read_back),
        cmocka_unit_test(test_batch__each_element_has_its_own_result),
        cmocka_unit_test(test_batch__without_results_the_first_one_is_named),
        cmocka_unit_test(test_batch__a_transfer_that_failed_keeps_its_reason),
        cmocka_unit_test(test_check__a_read_that_fails_says_so),
        cmocka_unit_test(test_small__words_are_checked_too),
        cmocka_unit_test(test_seam__both_pieces_are_checked),
        cmocka_unit_test(test_device__local_copies_are_read_back),
        cmocka_unit_test(test_staged__the_whole_way_is_checked),
        cmocka_unit_test(test_torture__out_of_memory_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
