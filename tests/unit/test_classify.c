// SPDX-License-Identifier: Apache-2.0
// Where addresses lie, which places each copy type allows, and what is said about the rest.
#include "xcopy_world.h"

/* The kinds of address that the table is about. */
enum { LH, LD, GH_OWN, GH_PEER, GD_OWN, GD_PEER, ADDRS };
static const char *const addr_names[ADDRS] = {"LH", "LD", "GH own", "GH peer", "GD own", "GD peer"};

struct fixture {
    struct world w;
    uint8_t host[8192];
    uint64_t addr[ADDRS][2]; /* for a source and for a target */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    world_init(&f->w, 3, 4 * MIB, 8 * MIB);
    world_add_device(&f->w, 2 * MIB);
    f->w.space.self = 1;
    for (uint32_t rank = 1; rank < 3; rank++) {
        world_add_segment(&f->w, rank, MF_KIND_HBM, 0, 2 * MIB, 0);
        world_add_segment(&f->w, rank, MF_KIND_DRAM, 0, 2 * MIB, 0);
    }
    uint64_t base[ADDRS] = {
        num(f->host),
        num(f->w.dev_mem),
        world_gva(&f->w, MF_KIND_DRAM, 1, 0),
        world_gva(&f->w, MF_KIND_DRAM, 2, 0),
        world_gva(&f->w, MF_KIND_HBM, 1, 0),
        world_gva(&f->w, MF_KIND_HBM, 2, 0),
    };
    for (int i = 0; i < ADDRS; i++) {
        f->addr[i][0] = base[i];
        f->addr[i][1] = base[i] + 4096;
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    world_fini(&f->w);
    free(f);
    return 0;
}

static enum mf_refusal check(struct fixture *f, uint64_t src, uint64_t dst, uint64_t size,
                             smem_bm_copy_type type)
{
    struct mf_window from;
    struct mf_window to;
    mf_window_find(&f->w.space, src, &from);
    mf_window_find(&f->w.space, dst, &to);
    struct mf_element element = {src, dst, size, type, MF_ELEMENT_SINGLE};
    return mf_element_check(&f->w.space, &element, &from, &to);
}

/* The sentence of a refused copy, through the door that callers use; nothing may have moved. */
static void refused(struct fixture *f, uint64_t src, uint64_t dst, uint64_t size,
                    smem_bm_copy_type type, const char *words)
{
    mf_err_clear();
    mf_assert_rc(mf_xcopy_one(&f->w.space, &f->w.lanes, ptr(src), ptr(dst), size, type, 0),
                 SMEM_INVALID_PARAM);
    mf_assert_err_has(words);
    assert_int_equal(f->w.tp[0].posts, 0);
    assert_int_equal(f->w.dev_copies, 0);
}

/* What each side of each type allows, written down anew from the rules: a letter for each kind of
 * address in the order above. */
static const struct {
    smem_bm_copy_type type;
    const char *src, *dst;
} allowed[] = {
    {SMEMB_COPY_L2G, ".x..xx", "..xxxx"},  {SMEMB_COPY_G2L, "..xxxx", ".x..xx"},
    {SMEMB_COPY_G2H, "..xxxx", "x.xx.."},  {SMEMB_COPY_H2G, "x.xx..", "..xxxx"},
    {SMEMB_COPY_L2GH, ".x..xx", "..xx.."}, {SMEMB_COPY_GH2L, "..xx..", ".x..xx"},
    {SMEMB_COPY_GH2H, "..xx..", "x.xx.."}, {SMEMB_COPY_H2GH, "x.xx..", "..xx.."},
    {SMEMB_COPY_G2G, "..xxxx", "..xxxx"},  {SMEMB_COPY_AUTO, "xxxxxx", "xxxxxx"},
};

static void test_element_check__all_types_and_places(void **state)
{
    struct fixture *f = *state;
    uint32_t cases = 0;
    for (size_t t = 0; t < sizeof(allowed) / sizeof(allowed[0]); t++) {
        for (int s = 0; s < ADDRS; s++) {
            for (int d = 0; d < ADDRS; d++) {
                bool good = allowed[t].src[s] == 'x' && allowed[t].dst[d] == 'x';
                enum mf_refusal why = check(f, f->addr[s][0], f->addr[d][1], 4096, allowed[t].type);
                if (why != (good ? MF_REFUSE_NONE : MF_REFUSE_PLACE)) {
                    fail_msg("%s from %s to %s: refusal %d", mf_type_rules[allowed[t].type].name,
                             addr_names[s], addr_names[d], why);
                }
                cases++;
            }
        }
    }
    assert_int_equal(cases, SMEMB_COPY_BUTT * ADDRS * ADDRS);
}

static void test_element_check__local_address_in_the_pool_is_global(void **state)
{
    struct fixture *f = *state;
    struct mf_window window;
    mf_window_find(&f->w.space, f->addr[GH_OWN][0], &window);
    assert_int_equal(window.place, MF_PLACE_GH);
    assert_int_equal(window.rank, 1);
    assert_non_null(window.seg);
}

static void test_element_refuse__names_the_place_that_is_wrong(void **state)
{
    struct fixture *f = *state;
    refused(f, f->addr[LH][0], f->addr[GH_PEER][0], 64, SMEMB_COPY_L2G,
            "is host memory, but L means device memory or HBM of the pool: use H");
    refused(f, f->addr[LD][0], f->addr[GH_PEER][0], 64, SMEMB_COPY_H2G,
            "is device memory, but H means host memory");
    refused(f, f->addr[LH][0], f->addr[GD_PEER][0], 64, SMEMB_COPY_H2GH,
            "is HBM of rank 2 in pool 5, but GH means DRAM of the pool");
    refused(f, f->addr[LH][0], f->addr[LH][1], 64, SMEMB_COPY_H2G,
            "is host memory, but G means an address in the pool's range");
    char pool[64];
    snprintf(pool, sizeof(pool), "(pool 5 is [0x%llx, ", (unsigned long long)WORLD_BASE);
    mf_assert_err_has(pool);
    char address[64];
    snprintf(address, sizeof(address), "destination 0x%llx", (unsigned long long)f->addr[LH][1]);
    mf_assert_err_has(address);
}

static void test_element_refuse__sizes(void **state)
{
    struct fixture *f = *state;
    uint64_t src = f->addr[LH][0];
    uint64_t dst = f->addr[GH_PEER][0];
    refused(f, src, dst, 0, SMEMB_COPY_H2G, "copy H2G: the size is 0");
    refused(f, src, dst, MF_COPY_BYTES_MAX + 1, SMEMB_COPY_H2G, "above the limit");
    refused(f, UINT64_MAX - 10, dst, 4096, SMEMB_COPY_H2G, "wraps around");
    refused(f, 0, dst, 4096, SMEMB_COPY_H2G, "source 0x0 + 4096 bytes: the address is NULL");
    refused(f, src, 0, 4096, SMEMB_COPY_AUTO, "destination 0x0 + 4096 bytes: the address is NULL");
}

static void test_element_refuse__ranges_that_leave(void **state)
{
    struct fixture *f = *state;
    uint64_t src = f->addr[LH][0];
    uint64_t slot = world_gva(&f->w, MF_KIND_DRAM, 2, 0);
    uint64_t end = WORLD_BASE + f->w.table.layout.size;
    refused(
        f, src, slot + 2 * MIB - 4096, 8192, SMEMB_COPY_H2G,
        "rank 2 has 2097152 bytes (0.00195312 GiB) of DRAM in pool 5, the range ends 4096 bytes "
        "behind it");
    refused(f, src, slot + 4 * MIB, 1, SMEMB_COPY_H2G, "the range ends 2097153 bytes behind it");
    refused(f, src, slot - 4096, 8192, SMEMB_COPY_H2G,
            "begins in the DRAM of rank 1 in pool 5 and ends in the DRAM of rank 2 in pool 5");
    char split[64];
    snprintf(split, sizeof(split), "split it at 0x%llx", (unsigned long long)slot);
    mf_assert_err_has(split);
    refused(f, src, world_gva(&f->w, MF_KIND_DRAM, 0, 0) - 4096, 8192, SMEMB_COPY_H2G,
            "begins in the HBM of rank 2 in pool 5 and ends in the DRAM of rank 0");
    refused(f, src, end - 4096, 8192, SMEMB_COPY_H2G, "ends 4096 bytes behind pool 5 [0x28");
    refused(f, end - 4096, src, 8192, SMEMB_COPY_G2H, "source");
    refused(f, WORLD_BASE - 4096, slot, 8192, SMEMB_COPY_H2G,
            "begins in local memory and ends inside pool 5");
    refused(f, src, world_gva(&f->w, MF_KIND_HBM, 1, 3 * MIB), 64, SMEMB_COPY_H2G,
            "rank 1 has 2097152 bytes");
}

static void test_element_refuse__device_ranges(void **state)
{
    struct fixture *f = *state;
    uint64_t dev = f->addr[LD][0];
    uint64_t dst = f->addr[GH_PEER][0];
    /* Over the seam of two mappings that lie side by side. */
    assert_int_equal(check(f, dev + MIB - 64, dst, 128, SMEMB_COPY_L2G), MF_REFUSE_NONE);
    refused(f, dev + 2 * MIB - 64, dst, 128, SMEMB_COPY_L2G, "leaves the device memory");
}

static void test_element_refuse__overlap(void **state)
{
    struct fixture *f = *state;
    uint64_t g = f->addr[GH_PEER][0];
    refused(f, g, g + 4095, 4096, SMEMB_COPY_G2G, "overlap");
    refused(f, g + 4095, g, 4096, SMEMB_COPY_G2G, "overlap");
    refused(f, g, g, 4096, SMEMB_COPY_G2G, "overlap");
    refused(f, f->addr[LH][0], f->addr[LH][0] + 1, 2, SMEMB_COPY_AUTO, "overlap");
    assert_int_equal(check(f, g, g + 4096, 4096, SMEMB_COPY_G2G), MF_REFUSE_NONE);
    assert_int_equal(check(f, g + 4096, g, 4096, SMEMB_COPY_G2G), MF_REFUSE_NONE);
}

static void test_element_refuse__rank_without_memory(void **state)
{
    struct fixture *f = *state;
    uint64_t src = f->addr[LH][0];
    uint64_t nobody = world_gva(&f->w, MF_KIND_DRAM, 0, 0);
    assert_int_equal(check(f, src, nobody, 64, SMEMB_COPY_H2G), MF_REFUSE_UNKNOWN_RANK);
    refused(f, src, nobody, 64, SMEMB_COPY_H2G, "rank 0 has no DRAM in pool 5");
    assert_int_equal(f->w.resolves, 2); /* and asked once more before it is refused */
    /* This rank's own slot is known without asking. */
    f->w.space.self = 0;
    refused(f, src, nobody, 64, SMEMB_COPY_H2G, "rank 0 has no DRAM in pool 5");
    assert_int_equal(f->w.resolves, 2);
}

static void test_element_refuse__names_the_element_of_a_batch(void **state)
{
    struct fixture *f = *state;
    void *src[3] = {f->host, f->host, f->host};
    void *dst[3] = {ptr(f->addr[GH_PEER][0]), ptr(f->addr[GH_PEER][1]), ptr(f->addr[LD][0])};
    uint64_t size[3] = {64, 64, 64};
    struct mf_batch batch = {.src = src, .dst = dst, .size = size, .count = 3};
    mf_assert_rc(mf_xcopy_batch(&f->w.space, &f->w.lanes, &batch, SMEMB_COPY_H2G, 0),
                 SMEM_INVALID_PARAM);
    mf_assert_err_has("copy H2G, element 2: destination");
    assert_int_equal(f->w.tp[0].posts, 0);
}

static void test_window_find__without_a_device(void **state)
{
    struct fixture *f = *state;
    struct mf_window window;
    f->w.space.dev = NULL;
    mf_window_find(&f->w.space, num(f->host), &window);
    assert_int_equal(window.place, MF_PLACE_LH);
    bool below = num(f->host) < WORLD_BASE;
    assert_true(mf_window_holds(&window, below ? WORLD_BASE - 1 : UINT64_MAX - 1, 1));
    assert_false(mf_window_holds(&window, below ? WORLD_BASE : 1, 1));
    mf_window_find(&f->w.space, num(f->w.dev_mem), &window);
    assert_int_equal(window.place, MF_PLACE_LH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_element_check__all_types_and_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_element_check__local_address_in_the_pool_is_global,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_element_refuse__names_the_place_that_is_wrong, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_element_refuse__sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_element_refuse__ranges_that_leave, setup, teardown),
        cmocka_unit_test_setup_teardown(test_element_refuse__device_ranges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_element_refuse__overlap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_element_refuse__rank_without_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_element_refuse__names_the_element_of_a_batch, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_window_find__without_a_device, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
