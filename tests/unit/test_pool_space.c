// SPDX-License-Identifier: Apache-2.0
// Where a pool's segments lie in this process: reserved as a whole, place by place, or moved as the
// device has granted it; places of the dead, ranks that come back with other sizes, and everything
// that can be in the way.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/pool.h"
#include "device/device.h"
#include "gva/space.h"
#include "gva_place.h"
#include "mf_test.h"
#include "mf_torture.h"

#define MIB   (1ull << 20)
#define WORLD 4u
#define SLOT  (64 * MIB)

struct rig {
    struct mf_log log;
    struct mf_env env;
    struct mf_config config;
    struct mf_ctx ctx;
    struct mf_dev fake; /* a device with the grant that a test wants */
    struct mf_dev *sim;
    struct mf_pool pool;
};

/* ---- helpers ------------------------------------------------------------------------------- */

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    *state = rig;
    atomic_init(&rig->log.level, MF_LOG_FATAL);
    mf_env_init_real(&rig->env, &rig->log);
    mf_config_defaults(&rig->config);
    rig->ctx = (struct mf_ctx){.env = &rig->env, .config = &rig->config, .world = WORLD};
    rig->pool.ctx = &rig->ctx;
    rig->pool.id = 3;
    mf_mutex_init(&rig->pool.table_lock, MF_RANK_LEAF);
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    mf_pool_space_close(&rig->pool);
    mf_gva_table_fini(&rig->pool.table);
    mf_mutex_fini(&rig->pool.table_lock);
    if (rig->sim) {
        mf_dev_close(rig->sim);
    }
    free(rig);
    return 0;
}

static void with_sim(struct rig *rig, const char *grant)
{
    assert_int_equal(setenv("MF_SIM_GRANT", grant, 1), 0);
    mf_assert_ok(mf_dev_open(&rig->env, &rig->config, "sim", 0, &rig->sim));
    unsetenv("MF_SIM_GRANT");
    rig->ctx.dev = rig->sim;
}

static void open_pool(struct rig *rig, uint64_t base, uint64_t hbm)
{
    struct mf_layout layout;
    mf_assert_ok(mf_layout_init(&layout, (mf_gva){base}, hbm, SLOT, WORLD));
    mf_assert_ok(mf_gva_table_init(&rig->pool.table, &layout));
    mf_assert_ok(mf_pool_space_open(&rig->pool));
}

static uint64_t dram(const struct rig *rig, uint32_t rank)
{
    return mf_layout_slot(&rig->pool.table.layout, MF_KIND_DRAM, rank).v;
}

static uint64_t hbm(const struct rig *rig, uint32_t rank)
{
    return mf_layout_slot(&rig->pool.table.layout, MF_KIND_HBM, rank).v;
}

static uint64_t take(struct rig *rig, uint64_t gva, uint64_t size)
{
    uint64_t at = 0;
    mf_assert_ok(mf_pool_space_take(&rig->pool, MF_KIND_DRAM, gva, size, &at));
    return at;
}

static bool is_taken(uint64_t addr, uint64_t size)
{
    char who[256];
    return mf_space_conflict(addr, size, who, sizeof(who));
}

static uint32_t places(struct rig *rig)
{
    return atomic_load(&rig->pool.table.places.count);
}

static volatile uint64_t *word(uint64_t addr)
{
    return (volatile uint64_t *)(uintptr_t)addr;
}

/* Lines of /proc/self/maps, and kilobytes of address space. */
static void count_maps(uint64_t *lines, uint64_t *kib)
{
    char text[512];
    *lines = *kib = 0;
    FILE *file = fopen("/proc/self/maps", "re");
    while (fgets(text, sizeof(text), file)) {
        *lines += 1;
    }
    fclose(file);
    file = fopen("/proc/self/status", "re");
    while (fgets(text, sizeof(text), file)) {
        unsigned long value;
        *kib = sscanf(text, "VmSize: %lu", &value) == 1 ? value : *kib;
    }
    fclose(file);
}

/* ---- identity ------------------------------------------------------------------------------ */

static void test_space_take__is_the_global_address_where_all_is_reserved(void **state)
{
    struct rig *rig = *state;
    uint64_t at = 1;
    open_pool(rig, MF_TEST_BASE, SLOT);
    assert_true(is_taken(MF_TEST_BASE, 1));
    assert_true(is_taken(MF_TEST_BASE + 2 * WORLD * SLOT - 1, 1));
    assert_true(take(rig, dram(rig, 1), 4 * MIB) == dram(rig, 1));
    mf_assert_ok(mf_pool_space_take(&rig->pool, MF_KIND_HBM, hbm(rig, 1), 4 * MIB, &at));
    assert_true(at == 0); /* there is no device */
    mf_assert_ok(mf_pool_space_clear(&rig->pool, MF_KIND_DRAM, dram(rig, 1), 4 * MIB, true));
    assert_true(*word(dram(rig, 1)) == 0);
    assert_int_equal(places(rig), 0);
    mf_pool_space_close(&rig->pool);
    assert_false(is_taken(MF_TEST_BASE, 2 * WORLD * SLOT));
}

/* ---- translated ---------------------------------------------------------------------------- */

static void test_space_take__gives_each_segment_a_place(void **state)
{
    struct rig *rig = *state;
    uint64_t before, after, lines;
    mf_gva gva;
    count_maps(&lines, &before);
    open_pool(rig, MF_GVA_WIDE, SLOT);
    count_maps(&lines, &after);
    assert_true(after - before < 1024); /* nothing is reserved as a whole */
    uint64_t a = take(rig, dram(rig, 0), 4 * MIB);
    uint64_t b = take(rig, dram(rig, 3) + 2 * MIB, 2 * MIB);
    assert_true(a % MF_PAGE_LARGE == 0 && b % MF_PAGE_LARGE == 0);
    assert_true(b - a >= 4 * MIB && a - b >= 2 * MIB);
    assert_true(take(rig, dram(rig, 0), 4 * MIB) == a);
    assert_true(mf_gva_place_global(&rig->pool.table, a + 5, &gva));
    assert_true(gva.v == dram(rig, 0) + 5);
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, 4 * MIB), 0);
    mf_assert_ok(mf_space_map(a, 4 * MIB, fd, 0));
    close(fd);
    *word(a) = 77;
    mf_assert_ok(mf_pool_space_clear(&rig->pool, MF_KIND_DRAM, dram(rig, 0), 4 * MIB, true));
    assert_true(*word(a) == 0); /* its owner is dead: a stray load reads zero */
    *word(a) = 1;
    assert_true(mf_gva_place_global(&rig->pool.table, a, &gva)); /* and it is still the pool's */
    assert_true(take(rig, dram(rig, 0), 4 * MIB) == a);
    mf_pool_space_close(&rig->pool);
    assert_false(is_taken(a, 4 * MIB) || is_taken(b, 2 * MIB));
    assert_int_equal(places(rig), 0);
}

/* What was asked for far from everything else is told from other addresses without a search. */
static void test_space_take__puts_places_beside_each_other(void **state)
{
#if defined(MF_TEST_TSAN)
    (void)state;
    skip(); /* it has no such addresses */
#else
    struct rig *rig = *state;
    open_pool(rig, MF_GVA_WIDE, 0);
    uint64_t first = take(rig, dram(rig, 0), 4 * MIB);
    for (uint32_t rank = 1; rank < WORLD; rank++) {
        assert_true(take(rig, dram(rig, rank), 4 * MIB) == first + rank * 4 * MIB);
    }
    int local = 0;
    assert_false(mf_gva_place_near(&rig->pool.table, (uint64_t)(uintptr_t)&local, 4));
    assert_false(mf_gva_place_near(&rig->pool.table, (uint64_t)(uintptr_t)rig, 4));
    /* Where those addresses belong to other pools, places are anywhere. */
    mf_pool_space_close(&rig->pool);
    mf_assert_ok(mf_config_set(&rig->config, MF_OPT_GVA_BASE, "0x170000000000"));
    uint64_t other = take(rig, dram(rig, 0), 4 * MIB);
    assert_true(other != first && other % MF_PAGE_LARGE == 0);
#endif
}

/* Ranks die and come back, with the same memory or with more, less, or other pieces. */
static void test_space_take__does_not_grow_over_deaths(void **state)
{
    struct rig *rig = *state;
    uint64_t lines, kib, lines_now, kib_now;
    uint64_t seed = 5;
    open_pool(rig, MF_GVA_WIDE, 0);
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, (off_t)SLOT), 0);
    for (uint32_t n = 0; n < 10200; n++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        uint32_t rank = n % WORLD;
        bool same = n % 8 < WORLD; /* else another stretch of the slot */
        uint64_t offset = same ? 0 : (seed >> 33) % 16 * 2 * MIB;
        uint64_t size = same ? 4 * MIB : (1 + (seed >> 50) % 16) * 2 * MIB;
        uint64_t gva = dram(rig, rank) + offset;
        uint64_t at = take(rig, gva, size);
        mf_assert_ok(mf_space_map(at, size, fd, 0));
        mf_assert_ok(mf_pool_space_clear(&rig->pool, MF_KIND_DRAM, gva, size, n % 3 != 0));
        if (n == 200) {
            count_maps(&lines, &kib);
        }
    }
    count_maps(&lines_now, &kib_now);
    close(fd);
    /* Places of one slot never overlap, so that they are never more than the slots are large. */
    assert_true(places(rig) <= WORLD * (SLOT / MF_PAGE_LARGE));
    assert_true(lines_now <= lines + WORLD * 32);
    assert_true(kib_now <= kib + WORLD * SLOT / 1024);
    uint64_t sum = 0;
    struct mf_gva_place place;
    for (uint32_t n = places(rig); n > 0; n--) {
        assert_true(mf_gva_place_any(&rig->pool.table, &place));
        sum += place.size;
        mf_gva_place_remove(&rig->pool.table, place.addr);
        mf_assert_ok(mf_space_release(place.addr, place.size));
    }
    assert_true(sum <= WORLD * SLOT);
}

static void test_space_take__keeps_what_is_in_use(void **state)
{
    struct rig *rig = *state;
    uint64_t at = 1;
    open_pool(rig, MF_GVA_WIDE, 0);
    uint64_t a = take(rig, dram(rig, 1), 4 * MIB);
    struct mf_segment segment = {
        .desc = {.gva = dram(rig, 1), .size = 4 * MIB, .owner = 1, .kind = MF_KIND_DRAM},
        .host = a};
    mf_assert_ok(mf_gva_table_add(&rig->pool.table, &segment));
    mf_assert_rc(mf_pool_space_take(&rig->pool, MF_KIND_DRAM, dram(rig, 1) + 2 * MIB, 4 * MIB, &at),
                 SMEM_DUPLICATED);
    mf_assert_err_has("pool 3: 0x");
    mf_assert_err_has("overlap the segment at 0x");
    assert_true(at == 0);
    assert_true(take(rig, dram(rig, 1) + 4 * MIB, 4 * MIB) != a); /* it has grown */
    assert_true(take(rig, dram(rig, 1), 4 * MIB) == a);
    mf_gva_table_remove(&rig->pool.table, &segment);
    uint64_t b = take(rig, dram(rig, 1) + 2 * MIB, 4 * MIB); /* another life with other pieces */
    assert_int_equal(places(rig), 1);
    assert_true(is_taken(b, 4 * MIB));
    mf_assert_ok(mf_pool_space_clear(&rig->pool, MF_KIND_DRAM, dram(rig, 1), 4 * MIB, true));
}

/* Exhausted address space: an error that says so, nothing noted, and fine again later. */
static void test_space_take__without_address_space(void **state)
{
    struct rig *rig = *state;
#if defined(MF_TEST_TSAN) || defined(__SANITIZE_ADDRESS__)
    skip(); /* sanitizers need more than there would be */
#endif
    open_pool(rig, MF_GVA_WIDE, 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        uint64_t lines, kib, at = 1;
        struct rlimit limit;
        count_maps(&lines, &kib);
        (void)getrlimit(RLIMIT_AS, &limit);
        rlim_t was = limit.rlim_cur;
        limit.rlim_cur = kib * 1024 + 8 * MIB;
        (void)setrlimit(RLIMIT_AS, &limit);
        int rc = mf_pool_space_take(&rig->pool, MF_KIND_DRAM, dram(rig, 0), 32 * MIB, &at);
        bool good = rc == SMEM_NO_RESOURCES && at == 0 && places(rig) == 0 &&
                    strstr(mf_err_msg(), "pool 3: a place for the segment at 0x100000000000000") &&
                    strstr(mf_err_msg(), "33554432 bytes") && strstr(mf_err_msg(), "ulimit -v");
        limit.rlim_cur = was;
        (void)setrlimit(RLIMIT_AS, &limit);
        rc = mf_pool_space_take(&rig->pool, MF_KIND_DRAM, dram(rig, 0), 32 * MIB, &at);
        _exit(good && rc == SMEM_OK && at != 0 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int take_some(void *arg)
{
    struct rig *rig = arg;
    struct mf_pool *pool = &rig->pool;
    struct mf_layout layout = pool->table.layout;
    int rc = mf_gva_table_init(&pool->table, &layout);
    for (uint64_t i = 0; rc == SMEM_OK && i < 20; i++) {
        uint64_t at = 0;
        rc = mf_pool_space_take(pool, MF_KIND_DRAM, dram(rig, 0) + i * 2 * MIB, 2 * MIB, &at);
    }
    mf_pool_space_close(pool);
    mf_gva_table_fini(&pool->table);
    return rc;
}

static void test_space_take__without_memory(void **state)
{
    struct rig *rig = *state;
    uint64_t lines, kib, kib_now;
    mf_assert_ok(mf_layout_init(&rig->pool.table.layout, (mf_gva){MF_GVA_WIDE}, 0, SLOT, WORLD));
    count_maps(&lines, &kib);
    assert_true(mf_torture(take_some, rig) >= 3);
    count_maps(&lines, &kib_now);
    assert_true(kib_now < kib + 2 * 1024);
}

struct taker {
    struct rig *rig;
    pthread_t thread;
    uint64_t at[SLOT / (2 * MIB)];
    int rc;
};

static void *take_all(void *arg)
{
    struct taker *t = arg;
    for (uint64_t i = 0; i < SLOT / (2 * MIB) && t->rc == SMEM_OK; i++) {
        t->rc = mf_pool_space_take(&t->rig->pool, MF_KIND_DRAM, dram(t->rig, 2) + i * 2 * MIB,
                                   2 * MIB, &t->at[i]);
    }
    return NULL;
}

/* Whoever is faster, both get the same place. */
static void test_space_take__by_two_threads(void **state)
{
    struct rig *rig = *state;
    struct taker taker[2] = {{.rig = rig}, {.rig = rig}};
    open_pool(rig, MF_GVA_WIDE, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&taker[i].thread, NULL, take_all, &taker[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(taker[i].thread, NULL);
        mf_assert_ok(taker[i].rc);
    }
    assert_memory_equal(taker[0].at, taker[1].at, sizeof(taker[0].at));
    assert_int_equal(places(rig), SLOT / (2 * MIB));
}

/* ---- device memory ------------------------------------------------------------------------- */

static void test_space_take__gives_device_memory_windows(void **state)
{
    struct rig *rig = *state;
    struct mf_dev *dev;
    mf_dev_mem mem;
    uint64_t at = 0, again = 0;
    with_sim(rig, "exact");
    dev = rig->sim;
    open_pool(rig, MF_GVA_WIDE, SLOT);
    mf_assert_ok(mf_pool_space_take(&rig->pool, MF_KIND_HBM, hbm(rig, 1), 4 * MIB, &at));
    mf_assert_ok(dev->ops.mem_create(dev->impl, 4 * MIB, &mem));
    mf_assert_ok(dev->ops.map(dev->impl, at, mem, 0, 4 * MIB));
    assert_true(at < MF_GVA_WIDE && mf_dev_owns(dev, at, 4 * MIB));
    mf_assert_ok(dev->ops.unmap(dev->impl, at, 4 * MIB));
    dev->ops.mem_destroy(dev->impl, mem);
    mf_assert_ok(mf_pool_space_clear(&rig->pool, MF_KIND_HBM, hbm(rig, 1), 4 * MIB, true));
    mf_assert_ok(mf_pool_space_take(&rig->pool, MF_KIND_HBM, hbm(rig, 1), 4 * MIB, &again));
    assert_true(again == at);
    mf_assert_ok(mf_pool_space_take(&rig->pool, MF_KIND_HBM, hbm(rig, 1), 6 * MIB, &again));
    assert_int_equal(places(rig), 1);
    mf_pool_space_close(&rig->pool);
    assert_false(is_taken(again, 6 * MIB));
}

static void test_space_open__follows_the_device_elsewhere(void **state)
{
    struct rig *rig = *state;
    uint64_t at = 0;
    mf_gva gva;
    with_sim(rig, "shift");
    open_pool(rig, MF_TEST_BASE, SLOT);
    mf_assert_ok(mf_pool_space_take(&rig->pool, MF_KIND_HBM, hbm(rig, 2) + 2 * MIB, 4 * MIB, &at));
    assert_true(at - MF_TEST_BASE >= 2 * WORLD * SLOT);
    assert_int_equal(places(rig), 1);
    assert_true(mf_gva_place_global(&rig->pool.table, at, &gva) && gva.v == hbm(rig, 2) + 2 * MIB);
    assert_true(mf_gva_place_global(&rig->pool.table, at - 2 * SLOT, &gva));
    uint64_t window = at - (hbm(rig, 2) + 2 * MIB - MF_TEST_BASE);
    assert_true(is_taken(window, WORLD * SLOT));
    assert_true(is_taken(MF_TEST_BASE, 1)); /* no other memory gets these addresses */
    assert_true(take(rig, dram(rig, 2), 4 * MIB) == dram(rig, 2));
    mf_pool_space_close(&rig->pool);
    assert_false(is_taken(window, WORLD * SLOT) || is_taken(MF_TEST_BASE, 2 * WORLD * SLOT));
}

/* ---- a device that grants nonsense --------------------------------------------------------- */

struct grants {
    uint64_t grant; /* whatever is wanted */
    int rc;
    uint32_t reserved, released;
};

static int fake_reserve(void *impl, uint64_t want, uint64_t size, uint64_t *granted)
{
    struct grants *g = impl;
    (void)want;
    (void)size;
    *granted = g->grant;
    g->reserved += g->rc == SMEM_OK;
    return g->rc == SMEM_OK ? SMEM_OK : mf_err(g->rc, "the device is full");
}

static void fake_release(void *impl, uint64_t addr, uint64_t size)
{
    struct grants *g = impl;
    (void)size;
    g->released += addr == g->grant;
}

static void with_fake(struct rig *rig, struct grants *grants)
{
    rig->fake = (struct mf_dev){
        .ops = {.window_reserve = fake_reserve, .window_release = fake_release}, .impl = grants};
    snprintf(rig->fake.info.name, sizeof(rig->fake.info.name), "odd");
    rig->ctx.dev = &rig->fake;
}

static void test_space_open__refuses_a_grant_that_cannot_be(void **state)
{
    struct rig *rig = *state;
    struct mf_layout layout;
    const uint64_t bad[] = {0, MF_TEST_BASE + SLOT, MF_TEST_BASE - 2 * MIB,
                            MF_TEST_BASE + 2 * WORLD * SLOT - 2 * MIB, UINT64_MAX - SLOT + 1};
    mf_assert_ok(mf_layout_init(&layout, (mf_gva){MF_TEST_BASE}, SLOT, SLOT, WORLD));
    mf_assert_ok(mf_gva_table_init(&rig->pool.table, &layout));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct grants grants = {.grant = bad[i]};
        with_fake(rig, &grants);
        mf_assert_rc(mf_pool_space_open(&rig->pool), SMEM_NO_RESOURCES);
        mf_assert_err_has("device odd grants the window 0x");
        mf_assert_err_has("gva.base");
        assert_int_equal(grants.released, 1);
        mf_pool_space_close(&rig->pool);
        assert_int_equal(grants.released, 1);
        assert_false(is_taken(MF_TEST_BASE, 2 * WORLD * SLOT));
    }
    struct grants full = {.rc = SMEM_NO_RESOURCES};
    with_fake(rig, &full);
    mf_assert_rc(mf_pool_space_open(&rig->pool), SMEM_NO_RESOURCES);
    mf_assert_err_has("the device is full");
    mf_pool_space_close(&rig->pool);
    assert_int_equal(full.released, 0);
    rig->ctx.dev = NULL;
}

/* The device grants another window, and what was wanted is not free for the host either. */
static void test_space_open__reserves_what_the_device_did_not_want(void **state)
{
    struct rig *rig = *state;
    struct mf_layout layout;
    struct grants grants = {.grant = MF_TEST_BASE + (1ull << 36)};
    with_fake(rig, &grants);
    mf_assert_ok(mf_layout_init(&layout, (mf_gva){MF_TEST_BASE}, SLOT, SLOT, WORLD));
    mf_assert_ok(mf_gva_table_init(&rig->pool.table, &layout));
    mf_assert_ok(mf_space_reserve(MF_TEST_BASE + SLOT, MIB));
    mf_assert_rc(mf_pool_space_open(&rig->pool), SMEM_RES_IN_USE);
    mf_assert_err_has("taken by");
    assert_int_equal(grants.released, 1);
    assert_int_equal(places(rig), 0);
    mf_assert_ok(mf_space_release(MF_TEST_BASE + SLOT, MIB));
    mf_pool_space_close(&rig->pool);
    mf_assert_ok(mf_pool_space_open(&rig->pool));
    mf_pool_space_close(&rig->pool);
    assert_int_equal(grants.released, 2);
    rig->ctx.dev = NULL;
}

/* In translated mode a device that gives the same addresses twice is found out. */
static void test_space_take__refuses_a_window_that_is_taken(void **state)
{
    struct rig *rig = *state;
    struct grants grants = {.grant = MF_TEST_BASE + (1ull << 36)};
    uint64_t at = 0;
    with_fake(rig, &grants);
    open_pool(rig, MF_GVA_WIDE, SLOT);
    mf_assert_ok(mf_pool_space_take(&rig->pool, MF_KIND_HBM, hbm(rig, 0), 4 * MIB, &at));
    assert_true(at == grants.grant);
    mf_assert_rc(mf_pool_space_take(&rig->pool, MF_KIND_HBM, hbm(rig, 1), 4 * MIB, &at),
                 SMEM_DUPLICATED);
    mf_assert_err_has("overlaps a place");
    assert_true(at == 0);
    grants.rc = SMEM_NO_RESOURCES;
    mf_assert_rc(mf_pool_space_take(&rig->pool, MF_KIND_HBM, hbm(rig, 1), 4 * MIB, &at),
                 SMEM_NO_RESOURCES);
    mf_assert_err_has("pool 3: a place for the segment at 0x100000004000000: the device is full");
    mf_pool_space_close(&rig->pool);
    assert_int_equal(grants.released, grants.reserved);
    rig->ctx.dev = NULL;
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_space_take__is_the_global_address_where_all_is_reserved),
        CASE(test_space_take__gives_each_segment_a_place),
        CASE(test_space_take__puts_places_beside_each_other),
        CASE(test_space_take__does_not_grow_over_deaths),
        CASE(test_space_take__keeps_what_is_in_use),
        CASE(test_space_take__without_address_space),
        CASE(test_space_take__without_memory),
        CASE(test_space_take__by_two_threads),
        CASE(test_space_take__gives_device_memory_windows),
        CASE(test_space_open__follows_the_device_elsewhere),
        CASE(test_space_open__refuses_a_grant_that_cannot_be),
        CASE(test_space_open__reserves_what_the_device_did_not_want),
        CASE(test_space_take__refuses_a_window_that_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
