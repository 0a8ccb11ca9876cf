// SPDX-License-Identifier: Apache-2.0
// Tests of the agreement on where pools lie, over a store inside this process: agree, differ,
// replace, first fit, all the pools there may be, a full address space, and creators that race.
#include "mf_test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "core/layout.h"
#include "store/local.h"

#define CLIENTS 8u
#define BASE    0x300000000000ull
#define SPAN    (1ull << 40)
#define MIB2    MF_PAGE_LARGE

struct rig {
    struct mf_log log;
    struct mf_env env;
    struct mf_config config;
    struct mf_loop *loop;
    struct mf_store_local *local;
    struct mf_store *client[CLIENTS]; /* one a rank */
};

/* ---- helpers ------------------------------------------------------------------------------- */

static uint64_t soon(const struct rig *rig)
{
    return mf_deadline_ns(&rig->env, 5000);
}

static int open_client(struct rig *rig, uint32_t rank)
{
    struct mf_store_cfg cfg = {.env = &rig->env,
                               .loop = rig->loop,
                               .session_id = mf_random_u64(&rig->env),
                               .session_ms = 60000,
                               .request_ms = 5000};
    return mf_store_open_local(&cfg, rig->local, soon(rig), &rig->client[rank]);
}

static void close_client(struct rig *rig, uint32_t rank)
{
    mf_store_close(rig->client[rank], soon(rig));
    rig->client[rank] = NULL;
}

static void set_space(struct rig *rig, uint64_t base, uint64_t span)
{
    char text[32];
    snprintf(text, sizeof(text), "0x%llx", (unsigned long long)base);
    mf_assert_ok(mf_config_set(&rig->config, MF_OPT_GVA_BASE, text));
    snprintf(text, sizeof(text), "%llu", (unsigned long long)span);
    mf_assert_ok(mf_config_set(&rig->config, MF_OPT_GVA_SPAN, text));
}

static void set_translate(struct rig *rig, const char *text)
{
    mf_assert_ok(mf_config_set(&rig->config, MF_OPT_GVA_TRANSLATE, text));
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    *state = rig;
    atomic_init(&rig->log.level, MF_LOG_ERROR);
    mf_env_init_real(&rig->env, &rig->log);
    mf_config_defaults(&rig->config);
    set_space(rig, BASE, SPAN);
    int rc = mf_loop_create(&rig->env, "test", &rig->loop);
    if (rc == SMEM_OK) {
        rc = mf_store_local_create(&rig->env, rig->loop, &rig->local);
    }
    for (uint32_t i = 0; i < CLIENTS && rc == SMEM_OK; i++) {
        rc = open_client(rig, i);
    }
    return rc;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        close_client(rig, i);
    }
    mf_store_local_destroy(rig->local);
    mf_loop_destroy(rig->loop);
    free(rig);
    return 0;
}

static int negotiate(struct rig *rig, uint32_t rank, uint32_t pool, uint64_t dram,
                     struct mf_layout *layout)
{
    struct mf_layout_want want = {
        .pool = pool, .rank = rank, .world = CLIENTS, .max_dram = dram, .max_hbm = MIB2};
    return mf_layout_negotiate(rig->client[rank], &rig->config, &want, soon(rig), layout);
}

static bool is_open(struct rig *rig, uint32_t pool, uint32_t rank)
{
    char key[64];
    void *value = NULL;
    size_t len = 0;
    snprintf(key, sizeof(key), "pool/%u/open/%u", pool, rank);
    int rc = mf_store_get(rig->client[0], key, 0, soon(rig), &value, &len);
    free(value);
    return rc == SMEM_OK;
}

static void release(struct rig *rig, uint32_t rank, uint32_t pool)
{
    mf_assert_ok(mf_layout_release(rig->client[rank], pool, rank, soon(rig)));
}

/* ---- agreement ----------------------------------------------------------------------------- */

static void test_layout_negotiate__first_lays_down_others_agree(void **state)
{
    struct rig *rig = *state;
    struct mf_layout layout;
    for (uint32_t rank = 0; rank < CLIENTS; rank++) {
        memset(&layout, 0, sizeof(layout));
        mf_assert_ok(negotiate(rig, rank, 3, 4 * MIB2, &layout));
        assert_true(layout.base.v == BASE);
        assert_int_equal(layout.world, CLIENTS);
        assert_true(layout.max_bytes[MF_KIND_HBM] == MIB2);
        assert_true(layout.max_bytes[MF_KIND_DRAM] == 4 * MIB2);
        assert_true(layout.kind_base[MF_KIND_DRAM].v == BASE + CLIENTS * MIB2);
        assert_true(is_open(rig, 3, rank));
    }
}

static uint64_t requests(struct rig *rig)
{
    struct mf_store_server_status status;
    mf_store_local_get_status(rig->local, &status);
    return status.requests;
}

/* It says that it comes, and swaps the map or learns what is in it. */
static void test_layout_negotiate__asks_the_store_twice(void **state)
{
    struct rig *rig = *state;
    struct mf_layout layout;
    for (uint32_t rank = 0; rank < CLIENTS; rank++) {
        uint64_t before = requests(rig);
        mf_assert_ok(negotiate(rig, rank, 3, 4 * MIB2, &layout));
        assert_int_equal(requests(rig) - before, 2);
    }
    uint64_t before = requests(rig);
    mf_assert_ok(negotiate(rig, 0, 4, 4 * MIB2, &layout)); /* into a map with another pool */
    assert_int_equal(requests(rig) - before, 3);
}

/* A rank whose own window is too small, or was, takes what others have laid down in theirs. */
static void test_layout_negotiate__takes_what_others_had_room_for(void **state)
{
    struct rig *rig = *state;
    struct mf_layout first, second;
    mf_assert_ok(negotiate(rig, 0, 3, 512 * MIB2, &first));
    set_translate(rig, "never");
    set_space(rig, BASE, 1ull << 30);
    mf_assert_ok(negotiate(rig, 1, 3, 512 * MIB2, &second));
    assert_true(second.base.v == first.base.v);
    mf_assert_rc(negotiate(rig, 2, 4, 512 * MIB2, &second), SMEM_NO_RESOURCES);
    mf_assert_err_has("beside 1 other pools");
    assert_false(is_open(rig, 4, 2));
}

static void test_layout_negotiate__refuses_another_layout_while_one_is_open(void **state)
{
    struct rig *rig = *state;
    struct mf_layout layout;
    mf_assert_ok(negotiate(rig, 2, 0, 4 * MIB2, &layout));
    mf_assert_rc(negotiate(rig, 1, 0, 8 * MIB2, &layout), SMEM_INVALID_PARAM);
    mf_assert_err_has("pool 0 exists with maxDramSize 8388608, maxHbmSize 2097152");
    mf_assert_err_has("rank 2 has it open");
    mf_assert_err_has("asks for 16777216, 2097152 and 8");
    assert_false(is_open(rig, 0, 1));
    struct mf_layout_want want = {
        .pool = 0, .rank = 1, .world = 4, .max_dram = 4 * MIB2, .max_hbm = MIB2};
    mf_assert_rc(mf_layout_negotiate(rig->client[1], &rig->config, &want, soon(rig), &layout),
                 SMEM_INVALID_PARAM);
    mf_assert_err_has("world size 8");
    mf_assert_ok(negotiate(rig, 1, 0, 4 * MIB2, &layout));
}

static void test_layout_negotiate__replaces_what_nobody_has_open(void **state)
{
    struct rig *rig = *state;
    struct mf_layout layout;
    mf_assert_ok(negotiate(rig, 0, 0, 4 * MIB2, &layout));
    mf_assert_ok(negotiate(rig, 1, 0, 4 * MIB2, &layout));
    release(rig, 0, 0);
    mf_assert_rc(negotiate(rig, 0, 0, 8 * MIB2, &layout), SMEM_INVALID_PARAM);
    close_client(rig, 1); /* as one that died: its announcement ends with its session */
    mf_assert_ok(negotiate(rig, 0, 0, 8 * MIB2, &layout));
    assert_true(layout.max_bytes[MF_KIND_DRAM] == 8 * MIB2);
    assert_true(layout.base.v == BASE);
    mf_assert_ok(open_client(rig, 1));
    mf_assert_ok(negotiate(rig, 1, 0, 8 * MIB2, &layout));
}

static void test_layout_negotiate__replaces_its_own(void **state)
{
    struct rig *rig = *state;
    struct mf_layout layout;
    mf_assert_ok(negotiate(rig, 0, 0, 4 * MIB2, &layout));
    mf_assert_ok(negotiate(rig, 0, 0, 6 * MIB2, &layout));
    assert_true(layout.max_bytes[MF_KIND_DRAM] == 6 * MIB2);
}

static void test_layout_negotiate__keeps_the_address_for_those_who_come_back(void **state)
{
    struct rig *rig = *state;
    struct mf_layout first, again;
    mf_assert_ok(negotiate(rig, 0, 0, 4 * MIB2, &first));
    mf_assert_ok(negotiate(rig, 0, 1, 4 * MIB2, &first));
    release(rig, 0, 1);
    mf_assert_ok(negotiate(rig, 1, 1, 4 * MIB2, &again));
    assert_true(first.base.v == again.base.v);
}

static void test_layout_release__of_what_is_not_open_is_fine(void **state)
{
    struct rig *rig = *state;
    release(rig, 0, 9);
    struct mf_layout layout;
    mf_assert_ok(negotiate(rig, 0, 9, MIB2, &layout));
    release(rig, 0, 9);
    release(rig, 0, 9);
    assert_false(is_open(rig, 9, 0));
}

static void test_layout_negotiate__refuses_a_map_that_is_none(void **state)
{
    struct rig *rig = *state;
    struct mf_layout layout;
    mf_assert_ok(mf_store_set(rig->client[0], "gva/map", "rubbish", 7, 0, soon(rig)));
    mf_assert_rc(negotiate(rig, 1, 0, MIB2, &layout), SMEM_ERROR);
    mf_assert_err_has("pool map record of the store");
    assert_false(is_open(rig, 0, 1));
}

/* ---- places -------------------------------------------------------------------------------- */

static void test_layout_negotiate__holds_64_pools(void **state)
{
    struct rig *rig = *state;
    struct mf_layout layout;
    uint64_t at = BASE;
    for (uint32_t pool = 0; pool < MF_POOLS_MAX; pool++) {
        mf_assert_ok(negotiate(rig, pool % CLIENTS, pool, (1 + pool) * MIB2, &layout));
        assert_true(layout.base.v == at);
        at += layout.size;
    }
    for (uint32_t pool = 0; pool < MF_POOLS_MAX; pool++) {
        mf_assert_ok(negotiate(rig, (pool + 1) % CLIENTS, pool, (1 + pool) * MIB2, &layout));
    }
}

static void test_layout_negotiate__says_when_the_space_is_full(void **state)
{
    struct rig *rig = *state;
    struct mf_layout layout;
    set_space(rig, BASE, 1ull << 30);
    set_translate(rig, "never");
    uint64_t dram = (1ull << 30) / CLIENTS - MIB2; /* with the device's part it is all */
    mf_assert_rc(negotiate(rig, 0, 1, dram + MIB2, &layout), SMEM_NO_RESOURCES);
    mf_assert_err_has("1090519040 bytes of global address space");
    mf_assert_err_has("MF_GVA_SPAN");
    mf_assert_err_has("MF_GVA_TRANSLATE");
    assert_false(is_open(rig, 1, 0));
    mf_assert_ok(negotiate(rig, 0, 0, dram, &layout));
    mf_assert_rc(negotiate(rig, 0, 1, 0, &layout), SMEM_NO_RESOURCES);
    mf_assert_err_has("beside 1 other pools");
    release(rig, 0, 0);
    mf_assert_ok(negotiate(rig, 0, 0, MIB2, &layout)); /* its old place is free for it */
    mf_assert_ok(negotiate(rig, 0, 1, 0, &layout));
}

/* ---- translated pools ---------------------------------------------------------------------- */

static int negotiate_wide(struct rig *rig, uint32_t rank, uint32_t pool, uint64_t dram,
                          struct mf_layout *layout)
{
    struct mf_layout_want want = {
        .pool = pool, .rank = rank, .world = CLIENTS, .max_dram = dram, .wide = true};
    return mf_layout_negotiate(rig->client[rank], &rig->config, &want, soon(rig), layout);
}

static void test_layout_negotiate__wide_pools_lie_beside_each_other(void **state)
{
    struct rig *rig = *state;
    struct mf_layout a, b, c, here;
    mf_assert_ok(negotiate_wide(rig, 0, 1, 4 * MIB2, &a));
    assert_true(a.base.v == MF_GVA_WIDE && mf_layout_is_wide(&a));
    mf_assert_ok(negotiate_wide(rig, 1, 2, 1ull << 40, &b));
    assert_true(b.base.v == a.base.v + a.size);
    mf_assert_ok(negotiate_wide(rig, 1, 1, 4 * MIB2, &c));
    assert_true(c.base.v == a.base.v);
    mf_assert_ok(negotiate(rig, 1, 3, MIB2, &here)); /* takes nothing of theirs */
    assert_true(here.base.v == BASE && !mf_layout_is_wide(&here));
    release(rig, 0, 1);
    release(rig, 1, 1);
    mf_assert_ok(negotiate_wide(rig, 2, 4, MIB2, &c));
    assert_true(c.base.v == MF_GVA_WIDE);
}

static void test_layout_negotiate__all_ranks_give_the_same_flag(void **state)
{
    struct rig *rig = *state;
    struct mf_layout layout;
    struct mf_layout_want plain = {.pool = 1, .rank = 1, .world = CLIENTS, .max_dram = 4 * MIB2};
    mf_assert_ok(negotiate_wide(rig, 0, 1, 4 * MIB2, &layout));
    mf_assert_rc(mf_layout_negotiate(rig->client[1], &rig->config, &plain, soon(rig), &layout),
                 SMEM_INVALID_PARAM);
    mf_assert_err_has("pool 1 exists with enable56BitsGva on (rank 0 has it open)");
    mf_assert_err_has("enable56BitsGva off");
    mf_assert_err_has("MF_GVA_TRANSLATE");
    assert_false(is_open(rig, 1, 1));
    release(rig, 0, 1);
    mf_assert_ok(mf_layout_negotiate(rig->client[1], &rig->config, &plain, soon(rig), &layout));
    assert_true(layout.base.v == BASE);
    mf_assert_rc(negotiate_wide(rig, 0, 1, 4 * MIB2, &layout), SMEM_INVALID_PARAM);
    mf_assert_err_has("exists with enable56BitsGva off (rank 1 has it open)");
    /* What the option says is as the flag. */
    set_translate(rig, "always");
    mf_assert_rc(negotiate(rig, 2, 1, 4 * MIB2, &layout), SMEM_INVALID_PARAM);
    mf_assert_ok(negotiate(rig, 2, 5, 4 * MIB2, &layout));
    assert_true(layout.base.v == MF_GVA_WIDE);
    mf_assert_rc(negotiate(rig, 3, 5, 8 * MIB2, &layout), SMEM_INVALID_PARAM);
    mf_assert_err_has("maxDramSize 8388608"); /* other sizes are said first */
}

static void test_layout_negotiate__what_does_not_fit_is_translated(void **state)
{
    struct rig *rig = *state;
    struct mf_layout first, second, third;
    set_space(rig, BASE, 1ull << 30);
    uint64_t dram = (1ull << 30) / CLIENTS - MIB2;
    mf_assert_ok(negotiate(rig, 0, 0, dram + MIB2, &first));
    assert_true(first.base.v == MF_GVA_WIDE_FREE && mf_layout_is_wide(&first));
    mf_assert_ok(negotiate(rig, 1, 0, dram + MIB2, &second));
    assert_true(second.base.v == first.base.v);
    mf_assert_ok(negotiate(rig, 0, 1, dram, &second));
    assert_true(second.base.v == BASE);
    mf_assert_ok(negotiate(rig, 0, 2, MIB2, &third)); /* beside it there is no room any more */
    assert_true(third.base.v == first.base.v + first.size);
    /* Who asks for it does not agree with those who did not. */
    set_translate(rig, "always");
    mf_assert_rc(negotiate(rig, 2, 0, dram + MIB2, &third), SMEM_INVALID_PARAM);
    mf_assert_err_has("exists with enable56BitsGva off");
    /* And who refuses it says so. */
    set_translate(rig, "never");
    mf_assert_rc(negotiate(rig, 3, 0, dram + MIB2, &third), SMEM_INVALID_PARAM);
    mf_assert_err_has("pool 0 lies at 0x180000000000000");
    assert_false(is_open(rig, 0, 3));
    mf_assert_ok(negotiate(rig, 3, 1, dram, &third));
}

/* No process has addresses beyond 47 bits, whatever gva.base and gva.span say together. */
static void test_layout_negotiate__a_window_ends_with_the_addresses(void **state)
{
    struct rig *rig = *state;
    struct mf_layout layout;
    set_space(rig, 0x7e0000000000ull, 0x7f0000000000ull);
    struct mf_layout_want want = {.pool = 1, .world = 2, .max_dram = 1ull << 40};
    mf_assert_ok(mf_layout_negotiate(rig->client[0], &rig->config, &want, soon(rig), &layout));
    assert_true(layout.base.v == 0x7e0000000000ull);
    want.pool = 2;
    mf_assert_ok(mf_layout_negotiate(rig->client[0], &rig->config, &want, soon(rig), &layout));
    assert_true(layout.base.v == MF_GVA_WIDE_FREE);
}

static void test_layout_negotiate__large_worlds_and_more_than_there_is(void **state)
{
    struct rig *rig = *state;
    struct mf_layout layout;
    struct mf_layout_want want = {.pool = 1, .world = MF_WORLD_MAX, .max_dram = 64ull << 30};
    mf_assert_ok(mf_layout_negotiate(rig->client[0], &rig->config, &want, soon(rig), &layout));
    assert_true(layout.base.v == MF_GVA_WIDE_FREE && layout.size == 64ull << 40);
    want.pool = 2;
    want.max_dram = 512ull << 30;
    mf_assert_ok(mf_layout_negotiate(rig->client[0], &rig->config, &want, soon(rig), &layout));
    assert_true(layout.base.v == MF_GVA_WIDE_FREE + (64ull << 40));
    assert_true(mf_layout_slot(&layout, MF_KIND_DRAM, 1023).v ==
                layout.base.v + 1023 * (512ull << 30));
    want = (struct mf_layout_want){
        .pool = 3, .world = MF_WORLD_MAX, .max_dram = 1ull << 46, .max_hbm = 1ull << 46};
    for (int wide = 0; wide < 2; wide++) {
        want.wide = wide;
        mf_assert_rc(mf_layout_negotiate(rig->client[0], &rig->config, &want, soon(rig), &layout),
                     SMEM_NO_RESOURCES);
        mf_assert_err_has("no 144115188075855872 bytes of translated global address space");
        assert_false(is_open(rig, 3, 0));
    }
    want.max_hbm = 0;
    want.max_dram = 1ull << 45; /* as much as there is */
    mf_assert_ok(mf_layout_negotiate(rig->client[0], &rig->config, &want, soon(rig), &layout));
    assert_true(layout.base.v == MF_GVA_WIDE && layout.base.v + layout.size == MF_GVA_WIDE_FREE);
    want.pool = 4;
    want.max_dram = MIB2;
    mf_assert_rc(mf_layout_negotiate(rig->client[0], &rig->config, &want, soon(rig), &layout),
                 SMEM_NO_RESOURCES);
    mf_assert_err_has("beside 3 other pools");
}

static void test_layout_negotiate__refuses_a_bad_option(void **state)
{
    struct rig *rig = *state;
    struct mf_layout layout;
    set_translate(rig, "sometimes");
    mf_assert_rc(negotiate(rig, 0, 1, MIB2, &layout), SMEM_INVALID_PARAM);
    mf_assert_err_has("gva.translate (MF_GVA_TRANSLATE) is \"sometimes\"");
    set_translate(rig, "never");
    mf_assert_rc(negotiate_wide(rig, 0, 1, MIB2, &layout), SMEM_INVALID_PARAM);
    mf_assert_err_has("pool 1: enable56BitsGva asks for");
    assert_false(is_open(rig, 1, 0));
}

static struct mf_rec_layout piece(uint64_t base, uint64_t size)
{
    return (struct mf_rec_layout){.base = base, .max_dram = size, .world = 1};
}

static void test_layout_first_fit__finds_the_first_gap(void **state)
{
    struct mf_rec_map map = {.count = 0};
    (void)state;
    assert_true(mf_layout_first_fit(&map, 100, 50, 50) == 100);
    assert_true(mf_layout_first_fit(&map, 100, 50, 51) == 0);
    map.count = 3; /* out of order on purpose */
    map.v[0] = piece(140, 10);
    map.v[1] = piece(100, 10);
    map.v[2] = piece(115, 5);
    assert_true(mf_layout_first_fit(&map, 100, 100, 5) == 110);
    assert_true(mf_layout_first_fit(&map, 100, 100, 6) == 120);
    assert_true(mf_layout_first_fit(&map, 100, 100, 20) == 120);
    assert_true(mf_layout_first_fit(&map, 100, 100, 21) == 150);
    assert_true(mf_layout_first_fit(&map, 100, 100, 50) == 150);
    assert_true(mf_layout_first_fit(&map, 100, 100, 51) == 0);
    assert_true(mf_layout_first_fit(&map, 105, 100, 5) == 110);
    assert_true(mf_layout_first_fit(&map, 100, UINT64_MAX, 5) == 0); /* wraps */
    assert_true(mf_layout_first_fit(&map, 100, 100, UINT64_MAX) == 0);
}

/* Beside a count of every address: what it says is free is free, and nothing before would do. */
static void test_layout_first_fit__random_maps(void **state)
{
    uint64_t seed = 7;
    (void)state;
    for (uint32_t n = 0; n < 3000; n++) {
        struct mf_rec_map map = {.count = 0};
        bool used[256] = {false};
        for (uint32_t tries = 0; tries < 12; tries++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            uint64_t from = (seed >> 33) % 240, size = 1 + (seed >> 20) % 16;
            map.v[map.count++] = piece(1000 + from, size);
            memset(used + from, true, size);
        }
        uint64_t size = 1 + (seed >> 40) % 40, want = 0;
        for (uint64_t at = 0; at + size <= 256 && want == 0; at++) {
            want = memchr(used + at, true, size) == NULL ? 1000 + at : 0;
        }
        assert_true(mf_layout_first_fit(&map, 1000, 256, size) == want);
    }
}

/* ---- races --------------------------------------------------------------------------------- */

struct creator {
    struct rig *rig;
    pthread_t thread;
    pthread_barrier_t *start;
    uint32_t rank;
    uint64_t dram;
    int rc[MF_POOLS_MAX];
    struct mf_layout layout[MF_POOLS_MAX];
};

static void *create_all(void *arg)
{
    struct creator *c = arg;
    pthread_barrier_wait(c->start);
    for (uint32_t i = 0; i < MF_POOLS_MAX; i++) {
        uint32_t pool = (i + c->rank * 8) % MF_POOLS_MAX;
        c->rc[pool] = negotiate(c->rig, c->rank, pool, c->dram + pool * MIB2, &c->layout[pool]);
    }
    return NULL;
}

/* Rank r asks for dram[r] + pool * 2 MiB in every pool. */
static struct creator *race(struct rig *rig, const uint64_t dram[CLIENTS])
{
    pthread_barrier_t start;
    struct creator *all = calloc(CLIENTS, sizeof(*all));
    pthread_barrier_init(&start, NULL, CLIENTS);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        all[i] = (struct creator){.rig = rig, .start = &start, .rank = i, .dram = dram[i]};
        assert_int_equal(pthread_create(&all[i].thread, NULL, create_all, &all[i]), 0);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        pthread_join(all[i].thread, NULL);
    }
    pthread_barrier_destroy(&start);
    return all;
}

static void check_all_agree(const struct creator *all)
{
    for (uint32_t pool = 0; pool < MF_POOLS_MAX; pool++) {
        const struct mf_layout *l = &all[0].layout[pool];
        for (uint32_t i = 0; i < CLIENTS; i++) {
            mf_assert_ok(all[i].rc[pool]);
            assert_true(all[i].layout[pool].base.v == l->base.v);
            assert_true(all[i].layout[pool].size == l->size);
        }
        for (uint32_t other = 0; other < pool; other++) {
            const struct mf_layout *o = &all[0].layout[other];
            assert_true(o->base.v + o->size <= l->base.v || l->base.v + l->size <= o->base.v);
        }
    }
}

static void test_layout_negotiate__creators_that_race_agree(void **state)
{
    static const uint64_t dram[CLIENTS] = {0};
    struct creator *all = race(*state, dram);
    check_all_agree(all);
    free(all);
}

/* An earlier world left other sizes behind: ranks that start together all get the new ones. */
static void test_layout_negotiate__creators_that_race_replace_together(void **state)
{
    struct rig *rig = *state;
    struct mf_layout layout;
    uint64_t dram[CLIENTS];
    for (uint32_t pool = 0; pool < MF_POOLS_MAX; pool++) {
        mf_assert_ok(negotiate(rig, 0, pool, 100 * MIB2, &layout));
        release(rig, 0, pool);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        dram[i] = 3 * MIB2;
    }
    struct creator *all = race(rig, dram);
    check_all_agree(all);
    free(all);
}

/* Of ranks that do not agree some get the pool, all of these the same, the others an error. */
static void test_layout_negotiate__creators_that_differ_never_get_both(void **state)
{
    uint64_t dram[CLIENTS];
    for (uint32_t i = 0; i < CLIENTS; i++) {
        dram[i] = (1 + i % 2) * 64 * MIB2;
    }
    struct creator *all = race(*state, dram);
    for (uint32_t pool = 0; pool < MF_POOLS_MAX; pool++) {
        const struct mf_layout *got = NULL;
        for (uint32_t i = 0; i < CLIENTS; i++) {
            if (all[i].rc[pool] != SMEM_OK) {
                mf_assert_rc(all[i].rc[pool], SMEM_INVALID_PARAM);
                continue;
            }
            got = got == NULL ? &all[i].layout[pool] : got;
            assert_true(all[i].layout[pool].base.v == got->base.v);
            assert_true(all[i].layout[pool].size == got->size);
        }
        assert_non_null(got);
    }
    free(all);
}

#define with_store(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_store(test_layout_negotiate__first_lays_down_others_agree),
        with_store(test_layout_negotiate__asks_the_store_twice),
        with_store(test_layout_negotiate__takes_what_others_had_room_for),
        with_store(test_layout_negotiate__refuses_another_layout_while_one_is_open),
        with_store(test_layout_negotiate__replaces_what_nobody_has_open),
        with_store(test_layout_negotiate__replaces_its_own),
        with_store(test_layout_negotiate__keeps_the_address_for_those_who_come_back),
        with_store(test_layout_release__of_what_is_not_open_is_fine),
        with_store(test_layout_negotiate__refuses_a_map_that_is_none),
        with_store(test_layout_negotiate__holds_64_pools),
        with_store(test_layout_negotiate__says_when_the_space_is_full),
        with_store(test_layout_negotiate__wide_pools_lie_beside_each_other),
        with_store(test_layout_negotiate__all_ranks_give_the_same_flag),
        with_store(test_layout_negotiate__what_does_not_fit_is_translated),
        with_store(test_layout_negotiate__a_window_ends_with_the_addresses),
        with_store(test_layout_negotiate__large_worlds_and_more_than_there_is),
        with_store(test_layout_negotiate__refuses_a_bad_option),
        cmocka_unit_test(test_layout_first_fit__finds_the_first_gap),
        cmocka_unit_test(test_layout_first_fit__random_maps),
        with_store(test_layout_negotiate__creators_that_race_agree),
        with_store(test_layout_negotiate__creators_that_race_replace_together),
        with_store(test_layout_negotiate__creators_that_differ_never_get_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
