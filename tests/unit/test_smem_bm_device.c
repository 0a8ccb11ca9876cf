// SPDX-License-Identifier: Apache-2.0
// Tests of pools with device memory, with the simulated device: host only, device only, both, in
// one process; what the device refuses comes out of the BM calls with its sentence.
#include "unit/api_fixture.h"

#include "memfabric/mf_device.h"

static char pattern[65536], back[65536];

static int setup(void **state)
{
    for (size_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (char)(i * 31 + i / 257);
    }
    return api_setup(state);
}

static smem_bm_t create(uint32_t id, uint64_t dram, uint64_t hbm)
{
    smem_bm_create_option_t option = api_option(dram, hbm);
    smem_bm_t pool = smem_bm_create2(id, &option);
    if (pool == NULL) {
        fail_msg("create: %s", smem_get_last_err_msg());
    }
    mf_assert_ok(smem_bm_join(pool, 0));
    return pool;
}

static int copy(smem_bm_t pool, void *dst, const void *src, uint64_t size, smem_bm_copy_type type)
{
    smem_copy_params p = {.src = src, .dest = dst, .dataSize = size};
    return smem_bm_copy(pool, &p, type, 0);
}

static void check_round_trip(smem_bm_t pool, char *at)
{
    memset(back, 0, sizeof(back));
    mf_assert_ok(copy(pool, at + 3, pattern, sizeof(pattern), SMEMB_COPY_H2G));
    mf_assert_ok(copy(pool, back, at + 3, sizeof(back), SMEMB_COPY_G2H));
    assert_memory_equal(back, pattern, sizeof(back));
}

static void test_smem_bm_device__pool_of_device_memory_only(void **state)
{
    (void)state;
    smem_bm_t pool = create(0, 0, 4 * MIB);
    char *at = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_DEVICE, 0);
    assert_non_null(at);
    assert_ptr_equal(smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_DEVICE, 1), at + 4 * MIB);
    assert_refused_null(smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0), SMEM_INVALID_PARAM,
                        "has no host memory");
    assert_true(smem_bm_get_local_mem_size_by_mem_type(pool, SMEM_MEM_TYPE_DEVICE) == 4 * MIB);
    assert_true(smem_bm_get_local_mem_size_by_mem_type(pool, SMEM_MEM_TYPE_HOST) == 0);
    check_round_trip(pool, at);
    smem_bm_destroy(pool);
}

static void test_smem_bm_device__pool_of_both(void **state)
{
    void *va = NULL;
    (void)state;
    smem_bm_t pool = create(0, 2 * MIB, 4 * MIB);
    char *gd = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_DEVICE, 0);
    char *gh = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
    assert_ptr_equal(gh, gd + 4 * 4 * MIB); /* behind the device slots of the world */
    check_round_trip(pool, gd);
    check_round_trip(pool, gh);
    mf_assert_ok(copy(pool, gd + 100000, gh + 3, sizeof(pattern), SMEMB_COPY_G2G));
    mf_assert_ok(copy(pool, back, gd + 100000, sizeof(back), SMEMB_COPY_AUTO));
    assert_memory_equal(back, pattern, sizeof(back));
    mf_assert_ok(smem_bm_gva_to_va(pool, gd + 1, SMEM_MEM_TYPE_LOCAL_DEVICE, &va));
    assert_non_null(va);
    assert_refused(smem_bm_gva_to_va(pool, gd, SMEM_MEM_TYPE_LOCAL_HOST, &va), SMEM_ERROR,
                   "device memory");
    smem_bm_destroy(pool);
}

static void test_smem_bm_device__copies_local_device_memory(void **state)
{
    mf_device_t dev = NULL;
    mf_dev_t ptr = 0;
    (void)state;
    smem_bm_t pool = create(0, 2 * MIB, 2 * MIB);
    char *gd = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_DEVICE, 0);
    char *gh = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
    mf_assert_ok(mf_device_open("sim:0", &dev));
    mf_assert_ok(mf_device_alloc(dev, 2 * MIB, &ptr));
    char *ld = (char *)(uintptr_t)ptr;
    mf_assert_ok(copy(pool, ld, pattern, sizeof(pattern), SMEMB_COPY_AUTO));          /* LH to LD */
    mf_assert_ok(copy(pool, gd + 5, ld, sizeof(pattern), SMEMB_COPY_L2G));            /* LD to GD */
    mf_assert_ok(copy(pool, gh + 7, gd + 5, sizeof(pattern), SMEMB_COPY_G2G));        /* GD to GH */
    mf_assert_ok(copy(pool, ld + 99999, gh + 7, sizeof(pattern), SMEMB_COPY_GH2L));   /* GH to LD */
    mf_assert_ok(copy(pool, ld + MIB, ld + 99999, sizeof(pattern), SMEMB_COPY_AUTO)); /* LD, LD */
    mf_assert_ok(copy(pool, back, ld + MIB, sizeof(back), SMEMB_COPY_AUTO));          /* LD to LH */
    assert_memory_equal(back, pattern, sizeof(back));
    mf_assert_ok(mf_device_copy(dev, (uint64_t)(uintptr_t)back, ptr, sizeof(back)));
    assert_memory_equal(back, pattern, sizeof(back));
    mf_assert_ok(mf_device_close(dev));
    smem_bm_destroy(pool);
}

static void test_smem_bm_device__leave_gives_fresh_memory(void **state)
{
    static const char zero[65536];
    (void)state;
    smem_bm_t pool = create(0, 0, 2 * MIB);
    char *gd = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_DEVICE, 0);
    check_round_trip(pool, gd);
    mf_assert_ok(smem_bm_leave(pool, 0));
    mf_assert_ok(smem_bm_join(pool, 0));
    mf_assert_ok(copy(pool, back, gd + 3, sizeof(back), SMEMB_COPY_G2H));
    assert_memory_equal(back, zero, sizeof(back));
    smem_bm_destroy(pool);
}

static void test_smem_bm_device__too_much_is_refused_whole(void **state)
{
    (void)state;
    smem_bm_create_option_t option = api_option(2 * MIB, 1ull << 30);
    for (int i = 0; i < 3; i++) {
        assert_refused_null(smem_bm_create2(0, &option), SMEM_MALLOC_FAILED, "HBM");
    }
    smem_bm_destroy(create(0, 2 * MIB, 2 * MIB));
}

static void test_smem_bm_device__registers_host_and_device_buffers(void **state)
{
    mf_device_t dev = NULL;
    mf_dev_t ptr = 0;
    (void)state;
    smem_bm_t pool = create(0, 2 * MIB, 2 * MIB);
    mf_assert_ok(mf_device_open("sim:0", &dev));
    mf_assert_ok(mf_device_alloc(dev, 2 * MIB, &ptr));
    mf_assert_ok(smem_bm_register_user_mem(pool, ptr, 2 * MIB));
    mf_assert_ok(smem_bm_register_user_mem(pool, (uint64_t)(uintptr_t)pattern, sizeof(pattern)));
    check_round_trip(pool, smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_DEVICE, 0));
    mf_assert_ok(smem_bm_unregister_user_mem(pool, (uint64_t)(uintptr_t)pattern));
    mf_assert_ok(smem_bm_unregister_user_mem(pool, ptr));
    mf_assert_ok(smem_bm_register_user_mem(pool, (uint64_t)(uintptr_t)back, sizeof(back)));
    mf_assert_ok(mf_device_close(dev));
    smem_bm_destroy(pool); /* what is registered still goes with it */
}

static void test_smem_bm_device__several_pools_share_the_device(void **state)
{
    smem_bm_t pool[4];
    (void)state;
    for (uint32_t id = 0; id < 4; id++) {
        pool[id] = create(id, id % 2 ? 2 * MIB : 0, 2 * MIB);
    }
    for (uint32_t id = 0; id < 4; id++) {
        check_round_trip(pool[id], smem_bm_ptr_by_mem_type(pool[id], SMEM_MEM_TYPE_DEVICE, 0));
    }
    for (uint32_t id = 0; id < 4; id++) {
        smem_bm_destroy(pool[3 - id]);
    }
}

static void test_smem_bm_device__ordinal_that_does_not_exist(void **state)
{
    (void)state;
    smem_bm_config_t config = api_config();
    assert_refused(smem_bm_init(ANY_PORT, 4, 8, &config), SMEM_INVALID_PARAM, "8");
    assert_refused(smem_bm_init(ANY_PORT, 4, 65535, &config), SMEM_INVALID_PARAM, "65535");
    mf_assert_ok(smem_bm_init(ANY_PORT, 4, 7, &config));
    smem_bm_uninit(0);
}

#define served(test) cmocka_unit_test_setup_teardown(test, setup, api_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        served(test_smem_bm_device__pool_of_device_memory_only),
        served(test_smem_bm_device__pool_of_both),
        served(test_smem_bm_device__copies_local_device_memory),
        served(test_smem_bm_device__leave_gives_fresh_memory),
        served(test_smem_bm_device__too_much_is_refused_whole),
        served(test_smem_bm_device__registers_host_and_device_buffers),
        served(test_smem_bm_device__several_pools_share_the_device),
        cmocka_unit_test(test_smem_bm_device__ordinal_that_does_not_exist),
    };
    if (setenv("MF_DEVICE", "sim", 1) != 0 || setenv("MF_SIM_MEMORY", "64M", 1) != 0 ||
        setenv("MF_SIM_DEVICES", "8", 1) != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
