// SPDX-License-Identifier: Apache-2.0
// The arithmetic of a pool's range, against a plain computation, in both ways to divide.
#include "gva/gva.h"
#include "mf_test.h"

#define MIB  (1ull << 20)
#define BASE ((mf_gva){0x2000000000ull})

static void test_layout_init__hbm_first_then_dram(void **state)
{
    struct mf_layout layout;
    (void)state;
    mf_assert_ok(mf_layout_init(&layout, BASE, 4 * MIB, 6 * MIB, 3));
    assert_int_equal(layout.kind_base[MF_KIND_HBM].v, BASE.v);
    assert_int_equal(layout.kind_base[MF_KIND_DRAM].v, BASE.v + 12 * MIB);
    assert_int_equal(layout.size, 30 * MIB);
    assert_int_equal(mf_layout_slot(&layout, MF_KIND_DRAM, 2).v, BASE.v + 24 * MIB);
    assert_int_equal(mf_layout_slot(&layout, MF_KIND_HBM, 1).v, BASE.v + 4 * MIB);
}

static void test_layout_init__refuses_what_is_no_layout(void **state)
{
    struct mf_layout layout;
    (void)state;
    mf_assert_rc(mf_layout_init(&layout, BASE, 0, 0, 2), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_layout_init(&layout, BASE, 0, MIB, 2), SMEM_INVALID_PARAM);
    mf_assert_err_has("1048576");
    mf_assert_rc(mf_layout_init(&layout, BASE, 0, 2 * MIB, 0), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_layout_init(&layout, BASE, 0, 2 * MIB, 1025), SMEM_INVALID_PARAM);
    mf_assert_err_has("1025");
    mf_assert_rc(mf_layout_init(&layout, BASE, 0, 1ull << 62, 4), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_layout_init(&layout, (mf_gva){UINT64_MAX - 2 * MIB + 1}, 0, 2 * MIB, 1),
                 SMEM_INVALID_PARAM);
    mf_assert_rc(mf_layout_init(&layout, (mf_gva){4096}, 0, 2 * MIB, 1), SMEM_INVALID_PARAM);
}

/* First and last byte of every slot, and the neighbours outside. */
static void check_slots_at(mf_gva base, uint64_t max_hbm, uint64_t max_dram, uint32_t world)
{
    struct mf_layout layout;
    struct mf_gva_loc loc;
    uint64_t max[] = {max_hbm, max_dram};
    mf_assert_ok(mf_layout_init(&layout, base, max_hbm, max_dram, world));
    uint64_t at = base.v;
    assert_int_equal(mf_layout_is_wide(&layout), base.v >= MF_GVA_WIDE);
    assert_false(mf_layout_find(&layout, (mf_gva){at - 1}, &loc));
    for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
        for (uint32_t rank = 0; max[kind] && rank < world; rank++) {
            uint64_t offsets[] = {0, max[kind] / 2 + 1, max[kind] - 1};
            for (int i = 0; i < 3; i++) {
                assert_true(mf_layout_find(&layout, (mf_gva){at + offsets[i]}, &loc));
                assert_int_equal(loc.kind, kind);
                assert_int_equal(loc.rank, rank);
                assert_int_equal(loc.offset, offsets[i]);
            }
            at += max[kind];
        }
    }
    assert_false(mf_layout_find(&layout, (mf_gva){at}, &loc));
    assert_false(mf_layout_find(&layout, (mf_gva){0}, &loc));
    assert_false(mf_layout_find(&layout, (mf_gva){UINT64_MAX}, &loc));
}

static void check_all_slots(uint64_t max_hbm, uint64_t max_dram, uint32_t world)
{
    check_slots_at(BASE, max_hbm, max_dram, world);
}

/* Slots as large as a pool can have them, at either end of the translated addresses. */
static void test_layout_find__in_translated_pools(void **state)
{
    (void)state;
    check_slots_at((mf_gva){MF_GVA_WIDE}, 64ull << 30, 512ull << 30, 1024);
    check_slots_at((mf_gva){MF_GVA_WIDE}, 6 * MIB, (1ull << 45) - 14 * MIB, 1024);
    check_slots_at((mf_gva){MF_GVA_WIDE_END - 4 * 6 * MIB}, 2 * MIB, 4 * MIB, 4);
}

static void test_layout_find__agrees_with_a_plain_walk(void **state)
{
    (void)state;
    check_all_slots(0, 2 * MIB, 1);
    check_all_slots(8 * MIB, 0, 4);
    check_all_slots(2 * MIB, 64 * MIB, 1024);
    check_all_slots(6 * MIB, 10 * MIB, 7);         /* no powers of two */
    check_all_slots(14 * MIB, 44ull << 30, 1024);  /* quotients of 32 bits */
    check_all_slots(6 * MIB, (3ull << 53) / 2, 3); /* and beyond */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout_init__hbm_first_then_dram),
        cmocka_unit_test(test_layout_init__refuses_what_is_no_layout),
        cmocka_unit_test(test_layout_find__agrees_with_a_plain_walk),
        cmocka_unit_test(test_layout_find__in_translated_pools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
