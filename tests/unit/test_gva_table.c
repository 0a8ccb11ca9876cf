// SPDX-License-Identifier: Apache-2.0
// The table of a pool: order, overlap, limits, translation in both modes, readers beside a writer.
#include "gva/gva.h"

#include <pthread.h>

#include "mf_test.h"
#include "mf_torture.h"

#define MIB      (1ull << 20)
#define WORLD    4u
#define MAX_DRAM (1024 * MIB)

static const mf_gva base = {0x2000000000ull};

static int setup(void **state)
{
    static struct mf_gva_table table;
    struct mf_layout layout;
    mf_assert_ok(mf_layout_init(&layout, base, 8 * MIB, MAX_DRAM, WORLD));
    mf_assert_ok(mf_gva_table_init(&table, &layout));
    *state = &table;
    return 0;
}

static int teardown(void **state)
{
    mf_gva_table_fini(*state);
    return 0;
}

static struct mf_segment segment_at(const struct mf_gva_table *table, uint32_t rank,
                                    uint64_t offset, uint64_t size)
{
    uint64_t gva = mf_layout_slot(&table->layout, MF_KIND_DRAM, rank).v + offset;
    return (struct mf_segment){
        .desc = {.gva = gva, .size = size, .owner = rank, .kind = MF_KIND_DRAM}, .host = gva};
}

static void test_table_find__segments_in_any_order_of_adding(void **state)
{
    struct mf_gva_table *table = *state;
    struct mf_segment b = segment_at(table, 1, 4 * MIB, 2 * MIB);
    struct mf_segment a = segment_at(table, 1, 0, 2 * MIB);
    struct mf_segment c = segment_at(table, 1, 6 * MIB, 4 * MIB);
    mf_assert_ok(mf_gva_table_add(table, &b));
    mf_assert_ok(mf_gva_table_add(table, &c));
    mf_assert_ok(mf_gva_table_add(table, &a));
    assert_ptr_equal(mf_gva_table_first(table, MF_KIND_DRAM, 1), &a);
    assert_ptr_equal(a.next, &b);
    assert_ptr_equal(b.next, &c);
    assert_null(mf_gva_table_first(table, MF_KIND_DRAM, 0));
    assert_ptr_equal(mf_gva_table_find(table, (mf_gva){a.desc.gva}), &a);
    assert_ptr_equal(mf_gva_table_find(table, (mf_gva){a.desc.gva + 2 * MIB - 1}), &a);
    assert_null(mf_gva_table_find(table, (mf_gva){a.desc.gva + 2 * MIB}));
    assert_ptr_equal(mf_gva_table_find(table, (mf_gva){b.desc.gva}), &b);
    assert_ptr_equal(mf_gva_table_find(table, (mf_gva){c.desc.gva + 4 * MIB - 1}), &c);
    assert_null(mf_gva_table_find(table, (mf_gva){c.desc.gva + 4 * MIB}));
    assert_null(mf_gva_table_find(table, (mf_gva){base.v - 1}));
}

static void test_table_add__refuses_overlap(void **state)
{
    struct mf_gva_table *table = *state;
    struct mf_segment a = segment_at(table, 2, 4 * MIB, 4 * MIB);
    struct mf_segment same = a;
    struct mf_segment tail = segment_at(table, 2, 6 * MIB, 4 * MIB);
    struct mf_segment around = segment_at(table, 2, 2 * MIB, 8 * MIB);
    mf_assert_ok(mf_gva_table_add(table, &a));
    mf_assert_rc(mf_gva_table_add(table, &same), SMEM_DUPLICATED);
    mf_assert_rc(mf_gva_table_add(table, &tail), SMEM_DUPLICATED);
    mf_assert_rc(mf_gva_table_add(table, &around), SMEM_DUPLICATED);
    mf_assert_err_has("rank 2");
    assert_null(a.next);
}

static void test_table_add__refuses_what_leaves_its_slot(void **state)
{
    struct mf_gva_table *table = *state;
    struct mf_segment tail = segment_at(table, 1, MAX_DRAM - 2 * MIB, 4 * MIB);
    struct mf_segment empty = segment_at(table, 1, 0, 0);
    struct mf_segment owner = segment_at(table, 1, 0, 2 * MIB);
    struct mf_segment kind = segment_at(table, 1, 0, 2 * MIB);
    struct mf_segment wraps = segment_at(table, 1, 0, UINT64_MAX - 2 * MIB);
    struct mf_segment nobody = segment_at(table, 1, 0, 2 * MIB);
    owner.desc.owner = 2;
    kind.desc.kind = MF_KIND_HBM;
    nobody.desc.owner = WORLD;
    struct mf_segment *all[] = {&tail, &empty, &owner, &kind, &wraps, &nobody};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        mf_assert_rc(mf_gva_table_add(table, all[i]), SMEM_INVALID_PARAM);
    }
}

static void test_table_add__limits_the_segments_of_a_slot(void **state)
{
    struct mf_gva_table *table = *state;
    static struct mf_segment many[MF_SLOT_SEGMENTS + 1];
    for (uint32_t i = 0; i <= MF_SLOT_SEGMENTS; i++) {
        many[i] = segment_at(table, 0, i * 2 * MIB, 2 * MIB);
        mf_assert_rc(mf_gva_table_add(table, &many[i]),
                     i < MF_SLOT_SEGMENTS ? SMEM_OK : SMEM_NO_RESOURCES);
    }
    mf_assert_err_has("256");
}

static void test_table_remove__leaves_the_others(void **state)
{
    struct mf_gva_table *table = *state;
    struct mf_segment v[3];
    for (uint32_t i = 0; i < 3; i++) {
        v[i] = segment_at(table, 3, i * 2 * MIB, 2 * MIB);
        mf_assert_ok(mf_gva_table_add(table, &v[i]));
    }
    mf_gva_table_remove(table, &v[1]);
    mf_gva_table_remove(table, &v[1]);  /* is not there: nothing happens */
    assert_ptr_equal(v[1].next, &v[2]); /* a reader that stands on it gets on */
    assert_ptr_equal(v[0].next, &v[2]);
    mf_gva_table_remove(table, &v[0]);
    assert_ptr_equal(mf_gva_table_first(table, MF_KIND_DRAM, 3), &v[2]);
    mf_gva_table_remove(table, &v[2]);
    assert_null(mf_gva_table_first(table, MF_KIND_DRAM, 3));
    mf_assert_ok(mf_gva_table_add(table, &v[1]));
}

static void test_table_from_host__identity_and_moved(void **state)
{
    struct mf_gva_table *table = *state;
    struct mf_segment same = segment_at(table, 0, 0, 2 * MIB);
    struct mf_segment moved = segment_at(table, 1, 2 * MIB, 2 * MIB);
    struct mf_segment absent = segment_at(table, 2, 0, 2 * MIB);
    mf_gva gva;
    moved.host = 0x700000000000ull;
    absent.host = 0;
    mf_assert_ok(mf_gva_table_add(table, &same));
    assert_true(mf_gva_table_from_host(table, same.host + 5, &gva));
    assert_int_equal(gva.v, same.desc.gva + 5);
    assert_false(mf_gva_table_from_host(table, moved.host, &gva));
    mf_assert_ok(mf_gva_table_add(table, &moved));
    mf_assert_ok(mf_gva_table_add(table, &absent));
    assert_true(mf_gva_table_from_host(table, moved.host + 2 * MIB - 1, &gva));
    assert_int_equal(gva.v, moved.desc.gva + 2 * MIB - 1);
    assert_false(mf_gva_table_from_host(table, moved.host + 2 * MIB, &gva));
    assert_false(mf_gva_table_from_host(table, moved.host - 1, &gva));
    assert_false(mf_gva_table_from_host(table, moved.desc.gva, &gva)); /* nothing is mapped there */
    assert_false(mf_gva_table_from_host(table, absent.desc.gva, &gva));
}

struct reader {
    struct mf_gva_table *table;
    uint64_t gva;
    struct mf_segment *want;
    _Atomic int stop;
    uint64_t wrong;
    uint64_t rounds;
};

static void *read_always(void *arg)
{
    struct reader *reader = arg;
    do {
        struct mf_segment *found = mf_gva_table_find(reader->table, (mf_gva){reader->gva});
        reader->wrong += found != reader->want;
        reader->rounds++;
    } while (!atomic_load(&reader->stop));
    return NULL;
}

/* A segment that stays is found at any moment, while its neighbours come and go. */
static void test_table_find__beside_a_writer(void **state)
{
    struct mf_gva_table *table = *state;
    struct mf_segment before = segment_at(table, 1, 0, 2 * MIB);
    struct mf_segment stays = segment_at(table, 1, 4 * MIB, 2 * MIB);
    struct mf_segment between = segment_at(table, 1, 2 * MIB, 2 * MIB);
    struct reader reader = {.table = table, .gva = stays.desc.gva + 9, .want = &stays};
    pthread_t thread;
    mf_assert_ok(mf_gva_table_add(table, &stays));
    assert_int_equal(pthread_create(&thread, NULL, read_always, &reader), 0);
    for (int i = 0; i < 20000; i++) {
        mf_gva_table_add(table, &between);
        mf_gva_table_add(table, &before);
        mf_gva_table_remove(table, &between);
        mf_gva_table_remove(table, &before);
    }
    atomic_store(&reader.stop, 1);
    pthread_join(thread, NULL);
    assert_int_equal(reader.wrong, 0);
    assert_true(reader.rounds > 0);
}

static int init_and_fini(void *arg)
{
    struct mf_gva_table table;
    int rc = mf_gva_table_init(&table, arg);
    if (rc == SMEM_OK) {
        mf_gva_table_fini(&table);
    }
    return rc;
}

static void test_table_init__without_memory(void **state)
{
    struct mf_gva_table *table = *state;
    assert_int_equal(mf_torture(init_and_fini, &table->layout), 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_table_find__segments_in_any_order_of_adding),
        CASE(test_table_add__refuses_overlap),
        CASE(test_table_add__refuses_what_leaves_its_slot),
        CASE(test_table_add__limits_the_segments_of_a_slot),
        CASE(test_table_remove__leaves_the_others),
        CASE(test_table_from_host__identity_and_moved),
        CASE(test_table_find__beside_a_writer),
        CASE(test_table_init__without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
