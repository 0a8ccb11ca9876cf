// SPDX-License-Identifier: Apache-2.0
// Tests of contexts and pools as objects: several ranks of one world in one process, on one store.
// In one process a range of addresses is mapped once, so that each pool is open in one of them;
// ranks that share a pool are tested as processes, by the conformance suite.
#include "mf_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/context.h"
#include "core/pool.h"
#include "gva/space.h"
#include "store/collective.h"

#define WORLD 4u
#define BYTES (2 * MF_PAGE_LARGE)

struct rig {
    struct mf_log log;
    struct mf_env env;
    struct mf_config config;
    struct mf_dev_registry *devices;
    struct mf_store_server *server;
    struct mf_threads threads[WORLD];
    struct mf_ctx *ctx[WORLD];
};

/* ---- helpers ------------------------------------------------------------------------------- */

static int open_ctx(struct rig *rig, uint32_t slot, uint32_t rank, uint32_t world, uint32_t init_ms)
{
    struct mf_ctx_cfg cfg = {
        .env = &rig->env,
        .config = &rig->config,
        .threads = &rig->threads[slot],
        .devices = rig->devices,
        .url = mf_store_server_url(rig->server),
        .world = world,
        .rank = rank,
        .number = slot + 1,
        .init_ms = init_ms,
        .create_ms = 5000,
        .op_ms = 5000,
    };
    return mf_ctx_open(&cfg, &rig->ctx[slot]);
}

static void close_ctx(struct rig *rig, uint32_t slot)
{
    mf_ctx_close(rig->ctx[slot]);
    rig->ctx[slot] = NULL;
}

static int setup(void **state)
{
    extern char **environ;
    struct rig *rig = calloc(1, sizeof(*rig));
    *state = rig;
    atomic_init(&rig->log.level, MF_LOG_FATAL);
    mf_env_init_real(&rig->env, &rig->log);
    mf_config_defaults(&rig->config);
    int rc = mf_config_load(&rig->config, environ, NULL); /* gva.base of thread-sanitizer builds */
    if (rc == SMEM_OK) {
        rc = mf_dev_registry_create(&rig->env, &rig->config, &rig->devices);
    }
    if (rc == SMEM_OK) {
        rc = mf_store_server_create(&rig->env, "tcp://127.0.0.1:0", 0, &rig->server);
    }
    for (uint32_t i = 0; i < WORLD && rc == SMEM_OK; i++) {
        rc = mf_threads_init(&rig->threads[i], &rig->env);
    }
    return rc;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    for (uint32_t i = 0; i < WORLD; i++) {
        close_ctx(rig, i);
        mf_threads_fini(&rig->threads[i]);
    }
    mf_store_server_destroy(rig->server);
    mf_dev_registry_destroy(rig->devices);
    free(rig);
    return 0;
}

static struct mf_pool_cfg pool_cfg(uint32_t id)
{
    return (struct mf_pool_cfg){.id = id,
                                .max_bytes = {[MF_KIND_DRAM] = BYTES},
                                .own_bytes = {[MF_KIND_DRAM] = BYTES},
                                .data_ops = SMEMB_DATA_OP_SDMA,
                                .numa_node = -1};
}

static int create(struct rig *rig, uint32_t slot, uint32_t id, struct mf_pool **pool)
{
    struct mf_pool_cfg cfg = pool_cfg(id);
    return mf_pool_create(rig->ctx[slot], &cfg, pool);
}

static char *own_memory(const struct mf_pool *pool)
{
    return (char *)(uintptr_t)mf_layout_slot(&pool->table.layout, MF_KIND_DRAM, pool->ctx->rank).v;
}

static int copy_as(struct rig *rig, uint32_t slot, struct mf_pool *pool, void *dst, const void *src,
                   uint64_t size, smem_bm_copy_type type)
{
    struct mf_thread *thread = NULL;
    int rc = mf_threads_take(&rig->threads[slot], &thread);
    if (rc == SMEM_OK) {
        mf_thread_enter(&rig->threads[slot], thread);
        rc = mf_pool_copy(pool, thread, src, dst, size, type, 0);
        mf_thread_leave(thread);
        mf_threads_give(&rig->threads[slot], thread);
    }
    return rc;
}

static int copy(struct rig *rig, uint32_t slot, struct mf_pool *pool, void *dst, const void *src,
                uint64_t size)
{
    return copy_as(rig, slot, pool, dst, src, size, SMEMB_COPY_AUTO);
}

/* ---- contexts ------------------------------------------------------------------------------ */

static void test_ctx_open__hands_out_ranks_in_order(void **state)
{
    struct rig *rig = *state;
    for (uint32_t i = 0; i < WORLD; i++) {
        mf_assert_ok(open_ctx(rig, i, MF_RANK_AUTO, WORLD, 5000));
        assert_int_equal(rig->ctx[i]->rank, i);
        assert_true(rig->ctx[i]->world_id == rig->ctx[0]->world_id);
        mf_assert_ok(mf_ctx_check(rig->ctx[i]));
    }
    struct mf_ctx *last = rig->ctx[3];
    mf_assert_rc(open_ctx(rig, 3, MF_RANK_AUTO, WORLD, 500), SMEM_NO_RESOURCES);
    assert_null(rig->ctx[3]);
    rig->ctx[3] = last;
    close_ctx(rig, 1);
    mf_assert_ok(open_ctx(rig, 1, MF_RANK_AUTO, WORLD, 5000));
    assert_int_equal(rig->ctx[1]->rank, 1);
}

static void test_ctx_open__a_rank_has_one_holder(void **state)
{
    struct rig *rig = *state;
    mf_assert_ok(open_ctx(rig, 0, 2, WORLD, 5000));
    assert_int_equal(rig->ctx[0]->rank, 2);
    mf_assert_rc(open_ctx(rig, 1, 2, WORLD, 300), SMEM_DUPLICATED);
    char pid[32];
    snprintf(pid, sizeof(pid), "held by process %d of this host", (int)getpid());
    mf_assert_err_has("rank 2");
    mf_assert_err_has(pid);
    assert_null(rig->ctx[1]);
    close_ctx(rig, 0);
    mf_assert_ok(open_ctx(rig, 1, 2, WORLD, 5000)); /* free at once */
}

static void test_ctx_open__the_world_has_one_size(void **state)
{
    struct rig *rig = *state;
    mf_assert_ok(open_ctx(rig, 0, MF_RANK_AUTO, WORLD, 5000));
    mf_assert_rc(open_ctx(rig, 1, MF_RANK_AUTO, WORLD + 1, 5000), SMEM_INVALID_PARAM);
    mf_assert_err_has("worldSize 5 differs from the 4");
    uint64_t first = rig->ctx[0]->world_id;
    close_ctx(rig, 0);
    mf_assert_ok(open_ctx(rig, 1, MF_RANK_AUTO, WORLD + 1, 5000)); /* nobody is left in it */
    assert_true(rig->ctx[1]->world_id != first);
}

static void test_ctx_open__device_that_is_not_there(void **state)
{
    struct rig *rig = *state;
    mf_assert_ok(mf_config_set(&rig->config, MF_OPT_DEVICE, "/no/such/plugin.so"));
    assert_true(open_ctx(rig, 0, MF_RANK_AUTO, WORLD, 5000) < 0);
    mf_assert_err_has("/no/such/plugin.so");
    assert_null(rig->ctx[0]);
}

/* ---- pools --------------------------------------------------------------------------------- */

static void test_pool__lives_in_one_of_several_contexts(void **state)
{
    struct rig *rig = *state;
    struct mf_pool *pool[WORLD];
    char bytes[4096], back[4096];
    for (uint32_t i = 0; i < WORLD; i++) {
        mf_assert_ok(open_ctx(rig, i, MF_RANK_AUTO, WORLD, 5000));
        mf_assert_ok(create(rig, i, 10 + i, &pool[i]));
        mf_assert_ok(mf_pool_join(pool[i]));
    }
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < WORLD; i++) {
            char *own = own_memory(pool[i]);
            memset(bytes, (int)(16 * round + i + 1), sizeof(bytes));
            mf_assert_ok(copy(rig, i, pool[i], own, bytes, sizeof(bytes)));
            mf_assert_ok(copy(rig, i, pool[i], back, own, sizeof(back)));
            assert_memory_equal(bytes, back, sizeof(back));
            mf_assert_rc(copy_as(rig, i, pool[i], own + BYTES, bytes, 8, SMEMB_COPY_H2G),
                         i == WORLD - 1 ? SMEM_INVALID_PARAM : SMEM_NOT_CONNECTED);
        }
        for (uint32_t i = 0; i < WORLD; i++) {
            mf_assert_ok(mf_pool_leave(pool[i], false));
            assert_int_equal(*own_memory(pool[i]), 0);
            mf_assert_rc(copy(rig, i, pool[i], own_memory(pool[i]), bytes, 8), SMEM_NOT_STARTED);
            mf_assert_ok(mf_pool_join(pool[i]));
        }
    }
    for (uint32_t i = 0; i < WORLD; i++) {
        mf_pool_destroy(pool[i]);
    }
}

static void test_pool_create__names_the_mapping_in_its_way(void **state)
{
    struct rig *rig = *state;
    struct mf_pool *pool = NULL, *other = NULL;
    mf_assert_ok(open_ctx(rig, 0, MF_RANK_AUTO, WORLD, 5000));
    mf_assert_ok(open_ctx(rig, 1, MF_RANK_AUTO, WORLD, 5000));
    mf_assert_ok(create(rig, 0, 5, &pool));
    mf_assert_rc(create(rig, 1, 5, &other), SMEM_RES_IN_USE);
    mf_assert_err_has("create pool 5 on rank 1");
    assert_null(other);
    *own_memory(pool) = 'x'; /* the first one is not touched */
    mf_assert_ok(create(rig, 1, 6, &other));
    mf_pool_destroy(other);
    assert_int_equal(*own_memory(pool), 'x');
    mf_pool_destroy(pool);
    mf_assert_ok(create(rig, 1, 5, &other)); /* its addresses are free again */
    mf_pool_destroy(other);
}

static void test_pool_destroy__gives_the_addresses_back(void **state)
{
    struct rig *rig = *state;
    struct mf_pool *pool = NULL;
    char text[256];
    mf_assert_ok(open_ctx(rig, 0, MF_RANK_AUTO, WORLD, 5000));
    for (int round = 0; round < 5; round++) {
        mf_assert_ok(create(rig, 0, 1, &pool));
        uint64_t base = pool->table.layout.base.v, size = pool->table.layout.size;
        assert_true(mf_space_conflict(base, size, text, sizeof(text)));
        if (round % 2) {
            mf_assert_ok(mf_pool_join(pool));
        }
        mf_pool_destroy(pool);
        assert_false(mf_space_conflict(base, size, text, sizeof(text)));
    }
}

static void test_pool_create__fails_whole(void **state)
{
    struct rig *rig = *state;
    struct mf_pool *pool = NULL;
    mf_assert_ok(open_ctx(rig, 0, MF_RANK_AUTO, WORLD, 5000));
    struct mf_pool_cfg cfg = pool_cfg(1);
    cfg.own_bytes[MF_KIND_HBM] = cfg.max_bytes[MF_KIND_HBM] = BYTES;
    mf_assert_rc(mf_pool_create(rig->ctx[0], &cfg, &pool), SMEM_NOT_EXIST);
    mf_assert_err_has("MF_DEVICE");
    cfg = pool_cfg(1);
    cfg.data_ops = SMEMB_DATA_OP_HOST_RDMA;
    mf_assert_rc(mf_pool_create(rig->ctx[0], &cfg, &pool), SMEM_ERROR);
    mf_assert_err_has("HOST_RDMA");
    cfg = pool_cfg(1);
    cfg.data_ops |= SMEMB_DATA_OP_HOST_RDMA; /* one that is there is enough */
    mf_assert_ok(mf_pool_create(rig->ctx[0], &cfg, &pool));
    struct mf_pool *twin = NULL;
    mf_assert_rc(create(rig, 0, 1, &twin), SMEM_DUPLICATED);
    assert_ptr_equal(mf_ctx_pool_get(rig->ctx[0], 1), pool);
    mf_pool_put(pool);
    mf_pool_destroy(pool);
    assert_null(mf_ctx_pool_get(rig->ctx[0], 1));
}

/* ---- declared dead ------------------------------------------------------------------------- */

static bool expires(const struct mf_ctx *ctx)
{
    struct timespec pause = {0, 1000000};
    for (int i = 0; i < 3000 && mf_ctx_check(ctx) == SMEM_OK; i++) {
        nanosleep(&pause, NULL);
    }
    return mf_ctx_check(ctx) == SMEM_NOT_CONNECTED;
}

static void test_pool__rank_whose_record_is_removed_stops(void **state)
{
    struct rig *rig = *state;
    struct mf_pool *pool = NULL, *more = NULL;
    char bytes[64] = "x";
    mf_assert_ok(open_ctx(rig, 0, MF_RANK_AUTO, WORLD, 5000));
    mf_assert_ok(open_ctx(rig, 1, MF_RANK_AUTO, WORLD, 5000));
    mf_assert_ok(create(rig, 0, 1, &pool));
    mf_assert_ok(mf_pool_join(pool));
    mf_assert_ok(copy(rig, 0, pool, own_memory(pool), bytes, 64));
    mf_assert_ok(mf_store_remove(rig->ctx[1]->store, "pool/1/m/0", 0));
    assert_true(expires(rig->ctx[0]));
    mf_assert_rc(copy(rig, 0, pool, own_memory(pool), bytes, 64), SMEM_NOT_CONNECTED);
    mf_assert_err_has("rank 0 was declared dead");
    mf_assert_rc(create(rig, 0, 2, &more), SMEM_NOT_CONNECTED);
    mf_assert_ok(mf_ctx_check(rig->ctx[1]));
    mf_pool_destroy(pool);
    close_ctx(rig, 0);
    mf_assert_ok(open_ctx(rig, 0, 0, WORLD, 5000)); /* back under a new incarnation */
    mf_assert_ok(create(rig, 0, 1, &pool));
    mf_assert_ok(mf_pool_join(pool));
    mf_pool_destroy(pool);
}

/* ---- without the store --------------------------------------------------------------------- */

/* Only the life that the config store names may bring memory for a rank. */
static void test_pool_place__only_for_the_life_that_has_the_rank(void **state)
{
    struct rig *rig = *state;
    struct mf_pool *pool;
    mf_assert_ok(open_ctx(rig, 0, 0, 2, 5000));
    mf_assert_ok(create(rig, 0, 1, &pool));
    mf_assert_ok(mf_pool_join(pool));
    struct mf_rec_member record = {.identity = {.incarnation = 77, .pid = 1}, .dram_bytes = BYTES};
    memcpy(record.tag, pool->tags.own, sizeof(record.tag));
    memcpy(record.tags, pool->tags.pair, sizeof(record.tags));
    record.tag_count = pool->tags.count;
    struct mf_member_change change;
    uint8_t buf[MF_RECORD_MAX];
    uint64_t host = 0;
    struct mf_segment_desc desc = {
        .gva = mf_layout_slot(&pool->table.layout, MF_KIND_DRAM, 1).v,
        .size = BYTES,
        .epoch = 1,
        .incarnation = 78,
        .pool = 1,
        .owner = 1,
        .kind = MF_KIND_DRAM,
    };
    mf_assert_ok(mf_pool_place(pool, &desc, &host)); /* nothing is known of the rank yet */
    mf_mutex_lock(&pool->lock);
    mf_assert_ok(
        mf_members_put(&pool->members, 1, buf, mf_rec_put_member(buf, &record), 1, &change));
    mf_mutex_unlock(&pool->lock);
    mf_assert_rc(mf_pool_place(pool, &desc, &host), SMEM_NOT_CONNECTED);
    mf_assert_err_has("another process");
    desc.incarnation = 77;
    mf_assert_ok(mf_pool_place(pool, &desc, &host));
    assert_int_equal(host, desc.gva);
    mf_mutex_lock(&pool->lock);
    mf_members_dead(&pool->members, 1, 77, "killed", 2, &change);
    mf_mutex_unlock(&pool->lock);
    mf_assert_rc(mf_pool_place(pool, &desc, &host), SMEM_NOT_CONNECTED);
    desc.incarnation = 79; /* its next life comes before its record */
    mf_assert_ok(mf_pool_place(pool, &desc, &host));
    mf_assert_ok(mf_pool_destroy(pool));
    close_ctx(rig, 0);
}

static void test_pool__goes_on_without_the_store(void **state)
{
    struct rig *rig = *state;
    struct mf_pool *pool = NULL;
    char bytes[64] = "x";
    mf_assert_ok(open_ctx(rig, 0, MF_RANK_AUTO, WORLD, 5000));
    mf_assert_ok(create(rig, 0, 1, &pool));
    mf_assert_ok(mf_pool_join(pool));
    mf_store_server_destroy(rig->server);
    rig->server = NULL;
    mf_assert_ok(copy(rig, 0, pool, own_memory(pool), bytes, 64));
    rig->ctx[0]->op_ms = 300;
    uint64_t before = mf_now_ns(&rig->env);
    int rc = mf_pool_leave(pool, false);
    assert_true(rc == SMEM_TIMEOUT || rc == SMEM_NOT_CONNECTED);
    mf_assert_err_has("leave pool 1 as rank 0");
    assert_in_range(mf_now_ns(&rig->env) - before, 0, 3 * MF_NS_PER_S);
    assert_int_equal(*own_memory(pool), 0); /* the memory is withdrawn all the same */
    assert_true(mf_pool_join(pool) < 0);
    mf_assert_err_has("join pool 1 as rank 0");
    mf_pool_destroy(pool);
    mf_assert_ok(mf_store_server_create(&rig->env, "tcp://127.0.0.1:0", 0, &rig->server));
}

#define with_rig(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_rig(test_ctx_open__hands_out_ranks_in_order),
        with_rig(test_ctx_open__a_rank_has_one_holder),
        with_rig(test_ctx_open__the_world_has_one_size),
        with_rig(test_ctx_open__device_that_is_not_there),
        with_rig(test_pool__lives_in_one_of_several_contexts),
        with_rig(test_pool_create__names_the_mapping_in_its_way),
        with_rig(test_pool_destroy__gives_the_addresses_back),
        with_rig(test_pool_create__fails_whole),
        with_rig(test_pool__rank_whose_record_is_removed_stops),
        with_rig(test_pool_place__only_for_the_life_that_has_the_rank),
        with_rig(test_pool__goes_on_without_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
