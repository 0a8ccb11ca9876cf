// SPDX-License-Identifier: Apache-2.0
// Tests of handles: stale, random and foreign ones are refused; lookup while others add and remove.
#include "base/handle.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "mf_test.h"
#include "mf_torture.h"

static void test_handle_get__finds_what_was_added(void **state)
{
    (void)state;
    struct mf_handle_table table;
    int objects[10];
    uint64_t handles[10];
    mf_assert_ok(mf_handle_table_init(&table, 3, 10));
    for (int i = 0; i < 10; i++) {
        mf_assert_ok(mf_handle_add(&table, &objects[i], &handles[i]));
    }
    for (int i = 0; i < 10; i++) {
        assert_ptr_equal(mf_handle_get(&table, handles[i]), &objects[i]);
    }
    mf_handle_table_fini(&table);
}

static void test_handle_add__is_no_address_and_not_zero(void **state)
{
    (void)state;
    for (uint32_t kind = 0; kind <= 255; kind++) {
        struct mf_handle_table table;
        uint64_t handle;
        mf_assert_ok(mf_handle_table_init(&table, kind, 1));
        mf_assert_ok(mf_handle_add(&table, &table, &handle));
        /* User addresses are below 2^57, with or without a tag in the top byte's low bits. */
        assert_int_equal(handle >> 60, 0xF);
        assert_ptr_equal(mf_handle_get(&table, handle), &table);
        mf_handle_table_fini(&table);
    }
}

static void test_handle_add__says_when_the_table_is_full(void **state)
{
    (void)state;
    struct mf_handle_table table;
    uint64_t handle;
    mf_assert_ok(mf_handle_table_init(&table, 3, 2));
    mf_assert_ok(mf_handle_add(&table, &table, &handle));
    mf_assert_ok(mf_handle_add(&table, &table, &handle));
    mf_assert_rc(mf_handle_add(&table, &table, &handle), SMEM_NO_RESOURCES);
    mf_assert_err_has("all 2 handles of kind 3 are in use");
    assert_non_null(mf_handle_remove(&table, handle));
    mf_assert_ok(mf_handle_add(&table, &table, &handle));
    mf_handle_table_fini(&table);
}

static void test_handle_get__refuses_a_stale_handle_for_ever(void **state)
{
    (void)state;
    struct mf_handle_table table;
    int old_object;
    int new_object;
    uint64_t old;
    uint64_t handle;
    mf_assert_ok(mf_handle_table_init(&table, 3, 1));
    mf_assert_ok(mf_handle_add(&table, &old_object, &old));
    assert_ptr_equal(mf_handle_remove(&table, old), &old_object);
    assert_null(mf_handle_get(&table, old));
    assert_null(mf_handle_remove(&table, old));
    for (int i = 0; i < 1000; i++) {
        mf_assert_ok(mf_handle_add(&table, &new_object, &handle));
        assert_true(handle != old);
        assert_null(mf_handle_get(&table, old));
        assert_null(mf_handle_remove(&table, old));
        assert_ptr_equal(mf_handle_get(&table, handle), &new_object);
        assert_ptr_equal(mf_handle_remove(&table, handle), &new_object);
    }
    mf_handle_table_fini(&table);
}

static void test_handle_get__refuses_another_kind(void **state)
{
    (void)state;
    struct mf_handle_table pools;
    struct mf_handle_table regions;
    uint64_t pool;
    uint64_t region;
    mf_assert_ok(mf_handle_table_init(&pools, 1, 4));
    mf_assert_ok(mf_handle_table_init(&regions, 2, 4));
    mf_assert_ok(mf_handle_add(&pools, &pools, &pool));
    mf_assert_ok(mf_handle_add(&regions, &regions, &region));
    assert_null(mf_handle_get(&pools, region));
    assert_null(mf_handle_get(&regions, pool));
    assert_null(mf_handle_remove(&regions, pool));
    mf_handle_table_fini(&pools);
    mf_handle_table_fini(&regions);
}

static void test_handle_get__refuses_every_changed_bit(void **state)
{
    (void)state;
    struct mf_handle_table table;
    uint64_t handle;
    mf_assert_ok(mf_handle_table_init(&table, 5, 65535));
    mf_assert_ok(mf_handle_add(&table, &table, &handle));
    for (int bit = 0; bit < 64; bit++) {
        assert_null(mf_handle_get(&table, handle ^ 1ull << bit));
        assert_null(mf_handle_remove(&table, handle ^ 1ull << bit));
    }
    assert_null(mf_handle_get(&table, 0));
    assert_null(mf_handle_get(&table, UINT64_MAX));
    assert_null(mf_handle_get(&table, (uint64_t)(uintptr_t)&table));
    assert_ptr_equal(mf_handle_get(&table, handle), &table);
    mf_handle_table_fini(&table);
}

static void test_handle_get__refuses_all_after_fini(void **state)
{
    (void)state;
    struct mf_handle_table table;
    uint64_t handle;
    mf_assert_ok(mf_handle_table_init(&table, 5, 3));
    mf_assert_ok(mf_handle_add(&table, &table, &handle));
    mf_handle_table_fini(&table);
    assert_null(mf_handle_get(&table, handle));
    mf_assert_rc(mf_handle_add(&table, &table, &handle), SMEM_NO_RESOURCES);
}

#define SLOTS  4
#define ROUNDS 20000

/** Two objects take turns at the same slots; each has a value that a reader can check. */
struct race {
    struct mf_handle_table table;
    int objects[SLOTS];
    _Atomic uint64_t handles[SLOTS];
    _Atomic bool stop;
    _Atomic int wrong;
    _Atomic long found;
};

static void *reader(void *arg)
{
    struct race *race = arg;
    while (!atomic_load(&race->stop)) {
        for (int i = 0; i < SLOTS; i++) {
            uint64_t handle = atomic_load(&race->handles[i]);
            void *object = mf_handle_get(&race->table, handle);
            if (object && object != &race->objects[i]) {
                atomic_fetch_add(&race->wrong, 1);
            }
            atomic_fetch_add(&race->found, object != NULL);
        }
    }
    return NULL;
}

static void test_handle_get__never_gives_the_object_of_another_handle(void **state)
{
    (void)state;
    struct race race = {0};
    pthread_t thread;
    mf_assert_ok(mf_handle_table_init(&race.table, 9, SLOTS));
    for (int i = 0; i < SLOTS; i++) {
        uint64_t handle;
        mf_assert_ok(mf_handle_add(&race.table, &race.objects[i], &handle));
        atomic_store(&race.handles[i], handle);
    }
    assert_int_equal(pthread_create(&thread, NULL, reader, &race), 0);
    for (int round = 0; round < ROUNDS || atomic_load(&race.found) == 0; round++) {
        int i = round % SLOTS;
        int j = (round + 1) % SLOTS;
        uint64_t a;
        uint64_t b;
        /* The two objects change slots. */
        mf_handle_remove(&race.table, atomic_load(&race.handles[i]));
        mf_handle_remove(&race.table, atomic_load(&race.handles[j]));
        mf_assert_ok(mf_handle_add(&race.table, &race.objects[j], &b));
        mf_assert_ok(mf_handle_add(&race.table, &race.objects[i], &a));
        atomic_store(&race.handles[i], a);
        atomic_store(&race.handles[j], b);
    }
    atomic_store(&race.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(race.wrong, 0);
    mf_handle_table_fini(&race.table);
}

static int init_table(void *arg)
{
    (void)arg;
    struct mf_handle_table table;
    int rc = mf_handle_table_init(&table, 1, 100);
    if (rc) {
        return rc;
    }
    mf_handle_table_fini(&table);
    return SMEM_OK;
}

static void test_handle_table_init__survives_a_failing_allocation(void **state)
{
    (void)state;
    assert_int_equal(mf_torture(init_table, NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handle_get__finds_what_was_added),
        cmocka_unit_test(test_handle_add__is_no_address_and_not_zero),
        cmocka_unit_test(test_handle_add__says_when_the_table_is_full),
        cmocka_unit_test(test_handle_get__refuses_a_stale_handle_for_ever),
        cmocka_unit_test(test_handle_get__refuses_another_kind),
        cmocka_unit_test(test_handle_get__refuses_every_changed_bit),
        cmocka_unit_test(test_handle_get__refuses_all_after_fini),
        cmocka_unit_test(test_handle_get__never_gives_the_object_of_another_handle),
        cmocka_unit_test(test_handle_table_init__survives_a_failing_allocation),
    };
    return cmocka_run_group_tests_name("handle", tests, NULL, NULL);
}
