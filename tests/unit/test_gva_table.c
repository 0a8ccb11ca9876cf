// SPDX-License-Identifier: Apache-2.0
// The table of a pool: order, overlap, limits, places, readers beside a writer.
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

static void test_table_overlap__any_segment_of_the_slot(void **state)
{
    struct mf_gva_table *table = *state;
    struct mf_segment a = segment_at(table, 1, 4 * MIB, 2 * MIB);
    struct mf_segment b = segment_at(table, 1, 8 * MIB, 4 * MIB);
    uint64_t slot = mf_layout_slot(&table->layout, MF_KIND_DRAM, 1).v;
    mf_assert_ok(mf_gva_table_add(table, &a));
    mf_assert_ok(mf_gva_table_add(table, &b));
    static const struct {
        uint64_t offset, size;
        int which; /* 0: none, 1: a, 2: b */
    } cases[] = {
        {0, 4, 0}, {0, 5, 1}, {4, 1, 1},  {5, 9, 1},     {6, 2, 0},
        {6, 3, 2}, {9, 1, 2}, {11, 9, 2}, {12, 1000, 0}, {0, 1024, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct mf_segment *want = cases[i].which == 0 ? NULL : cases[i].which == 1 ? &a : &b;
        assert_ptr_equal(mf_gva_table_overlap(table, (mf_gva){slot + cases[i].offset * MIB},
                                              cases[i].size * MIB),
                         want);
    }
    assert_null(mf_gva_table_overlap(table, (mf_gva){base.v - 1}, 1));
}

/* ---- places ---- */

#define PLACE(a, s, g) (&(struct mf_gva_place){.addr = (a), .size = (s), .gva = {(g)}})

static void test_place_around__places_and_gaps(void **state)
{
    struct mf_gva_table *table = *state;
    struct mf_gva_around around;
    struct mf_gva_place place;
    mf_gva gva;
    mf_gva_place_around(table, 12345, &around);
    assert_false(around.inside);
    assert_true(around.lo == 0 && around.hi == UINT64_MAX);
    assert_false(mf_gva_place_near(table, 0, UINT64_MAX));
    assert_false(mf_gva_place_any(table, &place));
    mf_assert_ok(mf_gva_place_add(table, PLACE(0x5000, 0x1000, base.v + 0x2000)));
    mf_assert_ok(mf_gva_place_add(table, PLACE(0x1000, 0x1000, base.v)));
    mf_assert_ok(mf_gva_place_add(table, PLACE(0x2000, 0x800, base.v + 0x1000)));
    mf_gva_place_around(table, 0xfff, &around);
    assert_true(!around.inside && around.lo == 0 && around.hi == 0x1000);
    mf_gva_place_around(table, 0x2000, &around);
    assert_true(around.inside && around.place.gva.v == base.v + 0x1000);
    mf_gva_place_around(table, 0x2800, &around);
    assert_true(!around.inside && around.lo == 0x2800 && around.hi == 0x5000);
    mf_gva_place_around(table, 0x6000, &around);
    assert_true(!around.inside && around.lo == 0x6000 && around.hi == UINT64_MAX);
    assert_true(mf_gva_place_global(table, 0x5fff, &gva) && gva.v == base.v + 0x2fff);
    assert_false(mf_gva_place_global(table, 0x6000, &gva));
    assert_false(mf_gva_place_global(table, 0x4000, &gva));
    assert_true(mf_gva_place_near(table, 0xfff, 2) && !mf_gva_place_near(table, 0xfff, 1));
    assert_true(mf_gva_place_near(table, 0x5fff, 1) && !mf_gva_place_near(table, 0x6000, 1));
    mf_gva_place_remove(table, 0x1001); /* begins nowhere: nothing happens */
    mf_gva_place_remove(table, 0x1000);
    assert_false(mf_gva_place_near(table, 0x1fff, 1));
    mf_gva_place_remove(table, 0x5000);
    assert_false(mf_gva_place_near(table, 0x2800, 1));
    assert_true(mf_gva_place_any(table, &place) && place.addr == 0x2000);
    mf_gva_place_remove(table, 0x2000);
    assert_false(mf_gva_place_near(table, 0, UINT64_MAX));
}

static void test_place_add__refuses_what_overlaps_or_wraps(void **state)
{
    struct mf_gva_table *table = *state;
    struct mf_gva_place place;
    mf_assert_ok(mf_gva_place_add(table, PLACE(0x5000, 0x1000, base.v)));
    mf_assert_rc(mf_gva_place_add(table, PLACE(0x5800, 0x1000, base.v + 0x8000)), SMEM_DUPLICATED);
    mf_assert_rc(mf_gva_place_add(table, PLACE(0x4800, 0x801, base.v + 0x8000)), SMEM_DUPLICATED);
    mf_assert_rc(mf_gva_place_add(table, PLACE(0x9000, 0x1000, base.v + 0xfff)), SMEM_DUPLICATED);
    mf_assert_err_has("0x5000");
    mf_assert_rc(mf_gva_place_add(table, PLACE(0x9000, 0, base.v + 0x8000)), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_gva_place_add(table, PLACE(0, 1, base.v + 0x8000)), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_gva_place_add(table, PLACE(UINT64_MAX - 5, 9, base.v)), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_gva_place_add(table, PLACE(9, 9, UINT64_MAX - 5)), SMEM_INVALID_PARAM);
    mf_assert_ok(mf_gva_place_add(table, PLACE(0x4000, 0x1000, base.v + 0x1000)));
    assert_true(mf_gva_place_of(table, (mf_gva){base.v + 0x1000}, 0x1000, true, &place));
    assert_true(place.addr == 0x4000);
    assert_false(mf_gva_place_of(table, (mf_gva){base.v + 0x800}, 0x1000, true, &place));
    assert_true(mf_gva_place_of(table, (mf_gva){base.v + 0x800}, 0x1000, false, &place));
    assert_false(mf_gva_place_of(table, (mf_gva){base.v + 0x2000}, 0x1000, false, &place));
}

/* Beside a plain array, with places that come and go. */
static void test_place_around__random_places(void **state)
{
    enum { CELLS = 300, CELL = 0x1000 };
    struct mf_gva_table *table = *state;
    struct mf_gva_around around;
    bool there[CELLS] = {false};
    uint64_t seed = 11;
    for (uint32_t n = 0; n < 20000; n++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        uint64_t i = (seed >> 33) % CELLS, at = (i + 1) * CELL;
        mf_gva_place_around(table, at + (seed >> 20) % CELL, &around);
        assert_int_equal(around.inside, there[i]);
        for (uint64_t lo = around.lo / CELL; !there[i] && lo < i + 1 && lo > 0; lo++) {
            assert_false(there[lo - 1]);
        }
        assert_true(!there[i] || around.place.gva.v == base.v + i * CELL);
        if (there[i]) {
            mf_gva_place_remove(table, at);
        } else {
            mf_assert_ok(mf_gva_place_add(table, PLACE(at, CELL, base.v + i * CELL)));
        }
        there[i] = !there[i];
    }
}

static int add_many(void *arg)
{
    struct mf_gva_table table;
    int rc = mf_gva_table_init(&table, arg);
    for (uint64_t i = 0; rc == SMEM_OK && i < 40; i++) {
        rc = mf_gva_place_add(&table, PLACE((i + 1) * 4096, 4096, base.v + i * 4096));
        assert_int_equal(mf_gva_place_near(&table, (i + 1) * 4096, 1), rc == SMEM_OK);
    }
    mf_gva_table_fini(&table);
    return rc;
}

static void test_place_add__without_memory(void **state)
{
    struct mf_gva_table *table = *state;
    assert_true(mf_torture(add_many, &table->layout) >= 3);
}

struct finder {
    struct mf_gva_table *table;
    _Atomic int stop;
    uint64_t wrong;
};

static void *find_always(void *arg)
{
    struct finder *finder = arg;
    do {
        mf_gva gva = {0};
        bool found = mf_gva_place_global(finder->table, 0x500008, &gva);
        finder->wrong += !found || gva.v != base.v + 8;
        finder->wrong += mf_gva_place_global(finder->table, 0x501000, &gva);
    } while (!atomic_load(&finder->stop));
    return NULL;
}

/* A place that stays is found at any moment, and a gap is one, while all around comes and goes. */
static void test_place_around__beside_a_writer(void **state)
{
    struct mf_gva_table *table = *state;
    struct finder finder = {.table = table};
    pthread_t thread;
    mf_assert_ok(mf_gva_place_add(table, PLACE(0x500000, 0x1000, base.v)));
    assert_int_equal(pthread_create(&thread, NULL, find_always, &finder), 0);
    for (uint64_t i = 0; i < 40000; i++) {
        uint64_t n = i % 100;
        uint64_t at = n < 50 ? 0x1000 * (n + 1) : 0x502000 + 0x1000 * n;
        if (i / 100 % 2 == 0) {
            mf_assert_ok(mf_gva_place_add(table, PLACE(at, 0x1000, base.v + (n + 1) * 0x1000)));
        } else {
            mf_gva_place_remove(table, at);
        }
    }
    atomic_store(&finder.stop, 1);
    pthread_join(thread, NULL);
    assert_int_equal(finder.wrong, 0);
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
        CASE(test_table_overlap__any_segment_of_the_slot),
        CASE(test_place_around__places_and_gaps),
        CASE(test_place_add__refuses_what_overlaps_or_wraps),
        CASE(test_place_around__random_places),
        CASE(test_place_add__without_memory),
        CASE(test_place_around__beside_a_writer),
        CASE(test_table_find__beside_a_writer),
        CASE(test_table_init__without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
