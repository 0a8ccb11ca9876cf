// SPDX-License-Identifier: Apache-2.0
// Tests of translated pools through the public API, in one process: which pools are, what the
// address functions say, copies by either sort of address, and what is refused.
#include "unit/api_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define WIDE      (1ull << 56)
#define WIDE_FREE (WIDE + (1ull << 55))

static uint64_t num(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

static smem_bm_t create_wide(uint32_t id, uint64_t max)
{
    smem_bm_create_option_t option = api_option(4 * MIB, 0);
    option.maxDramSize = max;
    option.enable56BitsGva = true;
    smem_bm_t pool = smem_bm_create2(id, &option);
    if (pool == NULL) {
        fail_msg("create: %s", smem_get_last_err_msg());
    }
    return pool;
}

static char *own_gva(smem_bm_t pool)
{
    return smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
}

static char *own_va(smem_bm_t pool)
{
    void *va = NULL;
    mf_assert_ok(smem_bm_gva_to_va(pool, own_gva(pool), SMEM_MEM_TYPE_LOCAL_HOST, &va));
    return va;
}

static int copy(smem_bm_t pool, const void *src, void *dst, uint64_t size)
{
    smem_copy_params p = {src, dst, size, NULL};
    return smem_bm_copy(pool, &p, SMEMB_COPY_AUTO, 0);
}

static void test_wide__addresses_and_copies(void **state)
{
    (void)state;
    char bytes[5000], back[5000];
    smem_bm_t pool = create_wide(1, 8 * MIB);
    char *gva = own_gva(pool), *va = own_va(pool); /* before the join, too */
    assert_true(num(gva) == WIDE);
    assert_true(num(va) < 1ull << 47 && num(va) % (2 * MIB) == 0);
    assert_true(num(smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 3)) == WIDE + 24 * MIB);
    assert_int_equal(smem_bm_get_rank_id_by_gva(pool, gva + 8 * MIB), 1);
    assert_int_equal(smem_bm_get_rank_id_by_gva(pool, va + 4 * MIB - 1), 0);
    assert_int_equal(smem_bm_get_rank_id_by_gva(pool, bytes), UINT32_MAX);
    mf_assert_err_has("is not in pool 1");
    mf_assert_ok(smem_bm_join(pool, 0));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (char)(i * 7);
    }
    static const uint64_t sizes[] = {1, 8, 100, 5000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memset(va, 0, sizeof(bytes));
        mf_assert_ok(copy(pool, bytes, gva, sizes[i]));
        assert_memory_equal(va, bytes, sizes[i]);
        mf_assert_ok(copy(pool, va, gva + MIB, sizes[i]));
        mf_assert_ok(copy(pool, gva + MIB, va + 2 * MIB, sizes[i]));
        mf_assert_ok(copy(pool, va + 2 * MIB, back, sizes[i]));
        assert_memory_equal(back, bytes, sizes[i]);
    }
    assert_refused(copy(pool, va, gva + 8, 16), SMEM_INVALID_PARAM, "overlap");
    assert_refused(copy(pool, bytes, va + 4 * MIB - 8, 16), SMEM_INVALID_PARAM,
                   "leaves the memory of rank 0 in pool 1");
    assert_refused(copy(pool, bytes, gva + 4 * MIB - 8, 16), SMEM_INVALID_PARAM,
                   "rank 0 has 4194304 bytes");
    smem_bm_destroy(pool);
}

static void test_wide__what_gva_to_va_refuses(void **state)
{
    (void)state;
    smem_bm_t pool = create_wide(1, 8 * MIB);
    void *va = &va;
    char *gva = own_gva(pool);
    assert_refused(smem_bm_gva_to_va(pool, own_va(pool), SMEM_MEM_TYPE_LOCAL_HOST, &va),
                   SMEM_INVALID_PARAM, "is not a global address of pool 1 but this process's for");
    assert_refused(smem_bm_gva_to_va(pool, &va, SMEM_MEM_TYPE_LOCAL_HOST, &va), SMEM_INVALID_PARAM,
                   "is not in pool 1");
    assert_refused(smem_bm_gva_to_va(pool, gva + 4 * MIB, SMEM_MEM_TYPE_LOCAL_HOST, &va),
                   SMEM_ERROR, "rank 0 has no memory at 0x100000000400000");
    assert_refused(smem_bm_gva_to_va(pool, gva, SMEM_MEM_TYPE_LOCAL_DEVICE, &va), SMEM_ERROR,
                   "cannot be reached by this process's device");
    assert_refused(smem_bm_gva_to_va(pool, gva + 8 * MIB, SMEM_MEM_TYPE_LOCAL_HOST, &va),
                   SMEM_NOT_STARTED, "has not joined pool 1");
    assert_null(va);
    smem_bm_destroy(pool);
}

static void test_wide__is_what_does_not_fit(void **state)
{
    (void)state;
    smem_bm_create_option_t option = api_option(4 * MIB, 0);
    option.maxDramSize = 1ull << 46;
    smem_bm_t pool = smem_bm_create2(2, &option);
    assert_non_null(pool);
    assert_true(num(own_gva(pool)) == WIDE_FREE);
    mf_assert_ok(smem_bm_join(pool, 0));
    mf_assert_ok(copy(pool, &option, own_gva(pool), sizeof(option)));
    assert_memory_equal(own_va(pool), &option, sizeof(option));
    smem_bm_t small = api_pool(3); /* as ever */
    assert_ptr_equal(own_va(small), own_gva(small));
    smem_bm_destroy(small);
    smem_bm_destroy(pool);
}

static void test_wide__comes_and_goes(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        smem_bm_t a = create_wide(1, 8 * MIB), b = create_wide(2, 4 * MIB);
        assert_true(num(own_gva(a)) == WIDE && num(own_gva(b)) == WIDE + 4 * 8 * MIB);
        char *va = own_va(a);
        mf_assert_ok(smem_bm_join(a, 0));
        *va = 7;
        mf_assert_ok(smem_bm_leave(a, 0));
        assert_ptr_equal(own_va(a), va);
        assert_int_equal(*va, 0); /* fresh memory at the same place */
        mf_assert_ok(smem_bm_join(a, 0));
        mf_assert_ok(copy(a, "x", own_gva(a), 1));
        assert_int_equal(*va, 'x');
        smem_bm_destroy(b);
        smem_bm_destroy(a);
    }
}

/* Between pools: one's address is local memory for the other, and is moved as such. */
static void test_wide__two_pools_copy_through_pointers(void **state)
{
    (void)state;
    smem_bm_t wide = create_wide(1, 8 * MIB), plain = api_pool(2);
    mf_assert_ok(smem_bm_join(wide, 0));
    memset(own_va(wide), 0x5A, MIB);
    mf_assert_ok(copy(plain, own_va(wide), own_gva(plain), MIB));
    assert_memory_equal(own_va(plain), own_va(wide), MIB);
    memset(own_va(plain), 0x3C, MIB);
    mf_assert_ok(copy(wide, own_va(plain), own_gva(wide), MIB));
    assert_memory_equal(own_va(plain), own_va(wide), MIB);
    smem_bm_destroy(wide);
    smem_bm_destroy(plain);
}

static int read_byte(void *arg)
{
    signal(SIGSEGV, SIG_DFL);
    return *(volatile char *)arg;
}

static void test_wide__places_are_not_inherited(void **state)
{
    (void)state;
    smem_bm_t pool = create_wide(1, 8 * MIB);
    assert_int_equal(api_in_child(read_byte, own_va(pool)), 100);
    smem_bm_destroy(pool);
}

struct asker {
    smem_bm_t pool;
    _Atomic int stop;
    uint64_t wrong;
};

static void *ask_always(void *arg)
{
    struct asker *asker = arg;
    char *va = own_va(asker->pool), *gva = own_gva(asker->pool);
    char word[8];
    do {
        asker->wrong += smem_bm_get_rank_id_by_gva(asker->pool, va) != 0;
        asker->wrong += copy(asker->pool, va, word, 8) != SMEM_OK;
        asker->wrong += copy(asker->pool, word, gva + 4096, 8) != SMEM_OK;
    } while (!atomic_load(&asker->stop));
    return NULL;
}

/* Addresses are told apart while places come: other pools, and growing. */
static void test_wide__beside_other_threads(void **state)
{
    (void)state;
    struct asker asker = {.pool = create_wide(1, 64 * MIB)};
    pthread_t thread;
    mf_assert_ok(smem_bm_join(asker.pool, 0));
    assert_int_equal(pthread_create(&thread, NULL, ask_always, &asker), 0);
    for (int i = 0; i < 20; i++) {
        smem_bm_t other = create_wide(2, 4 * MIB);
        mf_assert_ok(smem_bm_extend_local_mem(asker.pool, SMEM_MEM_TYPE_HOST, 2 * MIB));
        smem_bm_destroy(other);
    }
    atomic_store(&asker.stop, 1);
    pthread_join(thread, NULL);
    assert_int_equal(asker.wrong, 0);
    smem_bm_destroy(asker.pool);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, api_setup, api_teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_wide__addresses_and_copies),
        CASE(test_wide__what_gva_to_va_refuses),
        CASE(test_wide__is_what_does_not_fit),
        CASE(test_wide__comes_and_goes),
        CASE(test_wide__two_pools_copy_through_pointers),
        CASE(test_wide__places_are_not_inherited),
        CASE(test_wide__beside_other_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
