// SPDX-License-Identifier: Apache-2.0
// Copies by the addresses that this process has of pool memory, where these are not the global
// ones: what transports get is always the global address, and nothing of the pool passes for local
// memory.
#include "xcopy_world.h"

#define PIECE (2 * MIB)
#define PAGE  4096u

/* Ranks 0 and 1 give two pieces each; this process has each at an address of its own, the two of a
 * rank beside each other in the wrong order, local memory before and behind them. */
struct fixture {
    struct world w;
    uint8_t *room[2]; /* of each rank: PAGE local, piece 1, piece 0, PAGE local */
};

static uint8_t *piece_of(struct fixture *f, uint32_t rank, int piece)
{
    return f->room[rank] + PAGE + (piece ? 0 : PIECE);
}

static int small(void *lane, struct mf_segment *segment, uint64_t gva, void *local, uint32_t size,
                 int write)
{
    (void)lane;
    uint8_t *there = world_reach(segment, gva);
    memcpy(write ? there : local, write ? local : there, size);
    return SMEM_OK;
}

static struct mf_segment *add_piece(struct fixture *f, uint32_t rank, int piece,
                                    enum mf_mem_kind kind, uint8_t *memory)
{
    struct mf_segment *seg = &f->w.segs[f->w.seg_count++];
    uint64_t gva = world_gva(&f->w, kind, rank, (uint64_t)piece * PIECE);
    *seg = (struct mf_segment){
        .desc = {.gva = gva, .size = PIECE, .epoch = 1, .owner = rank, .pool = 5, .kind = kind},
        .host = kind == MF_KIND_DRAM ? num(memory) : 0,
        .dev = num(memory),
        .ops = &f->w.ops[0],
        .tp = &f->w.tp[0],
        .priv = memory};
    struct mf_gva_place place = {num(memory), PIECE, {gva}};
    mf_assert_ok(mf_gva_place_add(&f->w.table, &place));
    mf_assert_ok(mf_gva_table_add(&f->w.table, seg));
    return seg;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    world_init(&f->w, 3, 8 * MIB, 8 * MIB);
    f->w.ops[0].copy_small = small;
    for (uint32_t rank = 0; rank < 2; rank++) {
        f->room[rank] = calloc(1, 2 * PIECE + 2 * PAGE);
        for (int piece = 0; piece < 2; piece++) {
            add_piece(f, rank, piece, MF_KIND_DRAM, piece_of(f, rank, piece));
        }
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < f->w.seg_count; i++) {
        f->w.segs[i].priv = NULL; /* the rooms' */
    }
    world_fini(&f->w);
    free(f->room[0]);
    free(f->room[1]);
    free(f);
    return 0;
}

static int copy(struct fixture *f, const void *src, void *dst, uint64_t size,
                smem_bm_copy_type type)
{
    return mf_xcopy_one(&f->w.space, &f->w.lanes, src, dst, size, type, 0);
}

static void *gva_of(struct fixture *f, uint32_t rank, uint64_t offset)
{
    return ptr(world_gva(&f->w, MF_KIND_DRAM, rank, offset));
}

static void test_place__is_what_its_global_address_is(void **state)
{
    struct fixture *f = *state;
    struct mf_window window;
    uint8_t *at = piece_of(f, 1, 1);
    mf_window_find(&f->w.space, num(at) + 7, &window);
    assert_int_equal(window.place, MF_PLACE_GH);
    assert_int_equal(window.rank, 1);
    assert_true(window.lo == num(at) && window.hi == num(at) + PIECE);
    assert_true(num(at) + window.shift == world_gva(&f->w, MF_KIND_DRAM, 1, PIECE));
    mf_window_find(&f->w.space, num(at) - 1, &window); /* the page before */
    assert_int_equal(window.place, MF_PLACE_LH);
    assert_true(window.hi == num(at) && window.shift == 0);
    mf_window_find(&f->w.space, num(at) + 2 * PIECE, &window); /* the page behind */
    assert_int_equal(window.place, MF_PLACE_LH);
    assert_true(window.lo == num(at) + 2 * PIECE);
}

static void test_copy__by_pointers_of_all_sizes(void **state)
{
    static const uint64_t sizes[] = {1, 8, 256, 257, 5000, PIECE};
    struct fixture *f = *state;
    uint8_t *local = malloc(PIECE);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t size = sizes[i];
        memset(local, (int)i + 1, size);
        mf_assert_ok(copy(f, local, piece_of(f, 1, 0), size, SMEMB_COPY_H2G));
        assert_memory_equal(piece_of(f, 1, 0), local, size);
        mf_assert_ok(copy(f, piece_of(f, 1, 0), gva_of(f, 0, 0), size, SMEMB_COPY_G2G));
        mf_assert_ok(copy(f, gva_of(f, 0, 0), piece_of(f, 1, 1), size, SMEMB_COPY_GH2H));
        assert_memory_equal(piece_of(f, 1, 1), local, size);
        memset(local, 0, size);
        mf_assert_ok(copy(f, piece_of(f, 1, 1), local, size, SMEMB_COPY_AUTO));
        assert_memory_equal(piece_of(f, 1, 1), local, size);
        assert_int_equal(local[size - 1], i + 1);
    }
    free(local);
}

static void refused(struct fixture *f, const void *src, void *dst, uint64_t size,
                    smem_bm_copy_type type, const char *words)
{
    uint32_t posts = f->w.tp[0].posts;
    void *srcs = ptr(num(src));
    struct mf_batch batch = {.src = &srcs, .dst = &dst, .size = &size, .count = 1, .results = NULL};
    mf_assert_rc(copy(f, src, dst, size, type), SMEM_INVALID_PARAM);
    mf_assert_err_has(words);
    mf_assert_rc(mf_xcopy_batch(&f->w.space, &f->w.lanes, &batch, type, 0), SMEM_INVALID_PARAM);
    mf_assert_err_has(words);
    assert_int_equal(f->w.tp[0].posts, posts);
}

static void test_copy__refuses_what_leaves_or_enters_a_place(void **state)
{
    struct fixture *f = *state;
    uint8_t local[PAGE] = {0};
    uint8_t *one = piece_of(f, 1, 1), *zero = piece_of(f, 1, 0);
    /* Piece 0 follows in this process, piece 2 would in the pool: neither is meant. */
    refused(f, local, one + PIECE - 8, 16, SMEMB_COPY_H2G, "leaves the memory of rank 1 in pool 5");
    refused(f, one + PIECE - 8, local, 9, SMEMB_COPY_AUTO, "leaves the memory of rank 1");
    refused(f, zero + PIECE - 8, local, 9, SMEMB_COPY_AUTO, "split it, or give global addresses");
    refused(f, zero, gva_of(f, 0, 0), 2 * PIECE, SMEMB_COPY_G2G, "leaves the memory of rank 1");
    refused(f, one - 8, gva_of(f, 0, 0), 9, SMEMB_COPY_H2G, "ends where this process has memory");
    refused(f, gva_of(f, 0, 0), one - PAGE, 2 * PAGE, SMEMB_COPY_G2H, "one element is either");
    mf_assert_ok(copy(f, one - 8, gva_of(f, 0, 0), 8, SMEMB_COPY_H2G));      /* up to it */
    mf_assert_ok(copy(f, gva_of(f, 0, 0), zero + PIECE, 8, SMEMB_COPY_G2H)); /* from its end on */
    /* By global addresses the same range goes over the seam. */
    memset(zero + PIECE - 8, 0xAA, 8);
    memset(one, 0xBB, 8);
    mf_assert_ok(copy(f, gva_of(f, 1, PIECE - 8), local, 16, SMEMB_COPY_G2H));
    assert_int_equal(local[7], 0xAA);
    assert_int_equal(local[8], 0xBB);
}

static void test_copy__sees_that_pointer_and_address_overlap(void **state)
{
    struct fixture *f = *state;
    uint8_t *zero = piece_of(f, 1, 0);
    refused(f, zero + 4, gva_of(f, 1, 0), 8, SMEMB_COPY_G2G, "overlap");
    refused(f, gva_of(f, 1, 100), zero, 5000, SMEMB_COPY_AUTO, "overlap");
    mf_assert_ok(copy(f, zero + 8, gva_of(f, 1, 0), 8, SMEMB_COPY_G2G));
}

static void test_copy__types_take_pointers_for_pool_memory(void **state)
{
    struct fixture *f = *state;
    uint8_t local[64] = {0};
    refused(f, piece_of(f, 1, 0), gva_of(f, 0, 0), 8, SMEMB_COPY_L2G, "DRAM of rank 1 in pool 5");
    mf_assert_ok(copy(f, piece_of(f, 1, 0), local, 8, SMEMB_COPY_GH2H));
    refused(f, local, local + 32, 8, SMEMB_COPY_G2H, "host memory");
}

/* The owner is gone: its zero pages are not local memory. */
static void test_copy__by_pointers_of_the_dead_is_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t local[64] = {0};
    void *src[2] = {local, piece_of(f, 1, 0)}, *dst[2] = {gva_of(f, 0, 0), local + 32};
    uint64_t size[2] = {8, 8};
    int32_t results[2] = {7, 7};
    struct mf_batch batch = {.src = src, .dst = dst, .size = size, .count = 2, .results = results};
    mf_gva_table_remove(&f->w.table, &f->w.segs[2]);
    mf_gva_table_remove(&f->w.table, &f->w.segs[3]);
    f->w.resolve_rc = SMEM_NOT_CONNECTED;
    mf_assert_rc(copy(f, piece_of(f, 1, 0), local, 8, SMEMB_COPY_G2H), SMEM_NOT_CONNECTED);
    mf_assert_err_has("rank 1 has not joined");
    mf_assert_rc(copy(f, local, piece_of(f, 1, 1) + 9, 5000, SMEMB_COPY_AUTO), SMEM_NOT_CONNECTED);
    mf_assert_rc(mf_xcopy_batch(&f->w.space, &f->w.lanes, &batch, SMEMB_COPY_AUTO, 0),
                 SMEM_PARTIAL_FAILED);
    assert_int_equal(results[0], SMEM_OK);
    assert_int_equal(results[1], SMEM_NOT_CONNECTED);
    /* It comes back. */
    f->w.resolve_rc = SMEM_OK;
    f->w.arriving = &f->w.segs[2];
    mf_assert_ok(copy(f, piece_of(f, 1, 0), local, 8, SMEMB_COPY_G2H));
}

static uint32_t transfers(struct fixture *f, void *const *src, void *const *dst,
                          const uint64_t *size, uint32_t count)
{
    uint32_t n = 0;
    struct mf_batch batch = {.src = src, .dst = dst, .size = size, .count = count, .results = NULL};
    mf_assert_ok(mf_xcopy_plan(&f->w.space, &f->w.lanes, &batch, SMEMB_COPY_AUTO, &n));
    return n;
}

static void test_plan__coalesces_pointers_too(void **state)
{
    struct fixture *f = *state;
    uint8_t *local = malloc(3 * PAGE), *zero = piece_of(f, 1, 0);
    void *src[3] = {local, local + PAGE, local + 2 * PAGE};
    void *dst[3] = {zero, zero + PAGE, zero + 2 * PAGE};
    void *apart[3] = {zero, piece_of(f, 1, 1), piece_of(f, 1, 1) + PAGE};
    uint64_t size[3] = {PAGE, PAGE, PAGE};
    assert_int_equal(transfers(f, src, dst, size, 3), 1);
    assert_int_equal(transfers(f, src, apart, size, 3), 2);
    free(local);
}

/* Random batches: each end by its global address, by this process's, or local; beside memcpy. */
static void test_batch__mixes_pointers_and_addresses(void **state)
{
    enum { COUNT = 400, CELL = 2048 };
    struct fixture *f = *state;
    uint64_t seed = 42;
    uint8_t *local = malloc(2 * PIECE);
    static void *src[COUNT], *dst[COUNT];
    static uint64_t size[COUNT];
    static uint8_t *from[COUNT], *to[COUNT];
    for (int round = 0; round < 60; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            for (int side = 0; side < 2; side++) {
                /* Sources in pieces 1 and the second half of local memory, targets elsewhere. */
                uint64_t offset = side ? i * CELL : rnd_below(&seed, PIECE - CELL);
                uint64_t rank = rnd_below(&seed, 3);
                uint8_t *at = rank < 2 ? piece_of(f, (uint32_t)rank, !side) + offset
                                       : local + (side ? 0 : PIECE) + offset;
                bool by_gva = rank < 2 && rnd_below(&seed, 2);
                void *addr =
                    by_gva ? gva_of(f, (uint32_t)rank, (side ? 0 : PIECE) + offset) : (void *)at;
                *(side ? &dst[i] : &src[i]) = addr;
                *(side ? &to[i] : &from[i]) = at;
            }
            size[i] = rnd_below(&seed, 4) ? CELL : 1 + rnd_below(&seed, CELL);
            for (uint32_t b = 0; b < size[i]; b += 64) {
                from[i][b] = (uint8_t)rnd(&seed);
            }
        }
        struct mf_batch batch = {
            .src = src, .dst = dst, .size = size, .count = COUNT, .results = NULL};
        mf_assert_ok(mf_xcopy_batch(&f->w.space, &f->w.lanes, &batch, SMEMB_COPY_AUTO, 0));
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_memory_equal(to[i], from[i], size[i]);
        }
    }
    free(local);
}

static void test_place__of_device_memory(void **state)
{
    struct fixture *f = *state;
    uint8_t *device = calloc(1, 3 * PIECE), *local = calloc(1, PAGE);
    struct mf_window window;
    world_set_device(&f->w, device, 3 * PIECE);
    add_piece(f, 1, 0, MF_KIND_HBM, device + PIECE);
    mf_window_find(&f->w.space, num(device) + PIECE + 9, &window);
    assert_int_equal(window.place, MF_PLACE_GD); /* though it is the device's, too */
    assert_int_equal(window.rank, 1);
    mf_window_find(&f->w.space, num(device), &window);
    assert_int_equal(window.place, MF_PLACE_LD);
    memset(device + PIECE, 0x5A, PAGE);
    mf_assert_ok(copy(f, device + PIECE, local, PAGE, SMEMB_COPY_G2H));
    assert_memory_equal(local, device + PIECE, PAGE);
    assert_int_equal(f->w.tp[0].posts, 1);
    mf_assert_ok(copy(f, device + PIECE, piece_of(f, 0, 0), PAGE, SMEMB_COPY_L2GH));
    refused(f, device + 2 * PIECE - 8, local, 9, SMEMB_COPY_G2H, "leaves the memory of rank 1");
    refused(f, device + PIECE, local, 9, SMEMB_COPY_GH2H, "HBM of rank 1");
    mf_lanes_fini(&f->w.lanes); /* its stream is the device's */
    f->w.space.dev = NULL;
    free(device);
    free(local);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_place__is_what_its_global_address_is),
        CASE(test_copy__by_pointers_of_all_sizes),
        CASE(test_copy__refuses_what_leaves_or_enters_a_place),
        CASE(test_copy__sees_that_pointer_and_address_overlap),
        CASE(test_copy__types_take_pointers_for_pool_memory),
        CASE(test_copy__by_pointers_of_the_dead_is_refused),
        CASE(test_plan__coalesces_pointers_too),
        CASE(test_batch__mixes_pointers_and_addresses),
        CASE(test_place__of_device_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
