// SPDX-License-Identifier: Apache-2.0
// Tests of the memory that a rank gives to a pool: extended, brought by the user, as much as there
// is, known to the device. One rank of one world in this process; what peers see of it is tested by
// the conformance suite.
#include "mf_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/context.h"
#include "core/pool.h"
#include "gva/space.h"
#include "store/collective.h"

#define WORLD 2u
#define STEP  MF_PAGE_LARGE

struct rig {
    struct mf_log log;
    struct mf_env env;
    struct mf_config config;
    struct mf_dev_registry *devices;
    struct mf_store_server *server;
    struct mf_threads threads;
    struct mf_ctx *ctx;
    struct mf_transport_entry entry; /* of the pool's transport, with a function replaced */
    char warned[1024];               /* the last warning */
};

/* ---- helpers ------------------------------------------------------------------------------- */

static void open_ctx(struct rig *rig)
{
    struct mf_ctx_cfg cfg = {
        .env = &rig->env,
        .config = &rig->config,
        .threads = &rig->threads,
        .devices = rig->devices,
        .url = mf_store_server_url(rig->server),
        .world = WORLD,
        .rank = 1,
        .number = 1,
        .init_ms = 5000,
        .create_ms = 5000,
        .op_ms = 5000,
    };
    mf_assert_ok(mf_ctx_open(&cfg, &rig->ctx));
}

static int setup_with(void **state, const char *device)
{
    extern char **environ;
    struct rig *rig = calloc(1, sizeof(*rig));
    *state = rig;
    atomic_init(&rig->log.level, MF_LOG_FATAL);
    mf_env_init_real(&rig->env, &rig->log);
    mf_config_defaults(&rig->config);
    mf_assert_ok(mf_config_load(&rig->config, environ, NULL)); /* gva.base */
    mf_assert_ok(mf_config_set(&rig->config, MF_OPT_DEVICE, device));
    mf_assert_ok(mf_config_set(&rig->config, MF_OPT_FENCE_MS, "200"));
    mf_assert_ok(mf_config_set(&rig->config, MF_OPT_SEG_HUGE, "never"));
    mf_assert_ok(mf_dev_registry_create(&rig->env, &rig->config, &rig->devices));
    mf_assert_ok(mf_store_server_create(&rig->env, "tcp://127.0.0.1:0", 0, &rig->server));
    mf_assert_ok(mf_threads_init(&rig->threads, &rig->env));
    open_ctx(rig);
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, "none");
}

static int setup_sim(void **state)
{
    return setup_with(state, "sim");
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    mf_ctx_close(rig->ctx);
    mf_threads_fini(&rig->threads);
    mf_store_server_destroy(rig->server);
    mf_dev_registry_destroy(rig->devices);
    free(rig);
    return 0;
}

static struct mf_pool_cfg pool_cfg(uint64_t own, uint64_t most)
{
    return (struct mf_pool_cfg){.id = 3,
                                .max_bytes = {[MF_KIND_DRAM] = most},
                                .own_bytes = {[MF_KIND_DRAM] = own},
                                .data_ops = SMEMB_DATA_OP_SDMA,
                                .numa_node = -1};
}

static struct mf_pool *create(struct rig *rig, const struct mf_pool_cfg *cfg)
{
    struct mf_pool *pool = NULL;
    mf_assert_ok(mf_pool_create(rig->ctx, cfg, &pool));
    return pool;
}

/* A pool of DRAM, joined. */
static struct mf_pool *join(struct rig *rig, uint64_t own, uint64_t most)
{
    struct mf_pool_cfg cfg = pool_cfg(own, most);
    struct mf_pool *pool = create(rig, &cfg);
    mf_assert_ok(mf_pool_join(pool));
    return pool;
}

static uint64_t own_bytes(struct mf_pool *pool, enum mf_mem_kind kind)
{
    return atomic_load(&pool->own_bytes[kind]);
}

static void *slot(const struct mf_pool *pool, enum mf_mem_kind kind, uint64_t offset)
{
    uint64_t at = mf_layout_slot(&pool->table.layout, kind, pool->ctx->rank).v + offset;
    return (void *)(uintptr_t)at;
}

static char *host(struct mf_pool *pool, uint64_t offset)
{
    mf_gva gva = {(uint64_t)(uintptr_t)slot(pool, MF_KIND_DRAM, offset)};
    uint64_t at = 0;
    mf_assert_ok(mf_pool_translate(pool, gva, false, &at));
    return (char *)(uintptr_t)at;
}

static int copy(struct rig *rig, struct mf_pool *pool, void *dst, const void *src, uint64_t size)
{
    struct mf_thread *thread = NULL;
    int rc = mf_threads_take(&rig->threads, &thread);
    if (rc == SMEM_OK) {
        mf_thread_enter(&rig->threads, thread);
        rc = mf_pool_copy(pool, thread, src, dst, size, SMEMB_COPY_AUTO, 0);
        mf_thread_leave(thread);
        mf_threads_give(&rig->threads, thread);
    }
    return rc;
}

/* Everything of `bytes` bytes can be copied to and from, nothing behind it. */
static void check_size(struct rig *rig, struct mf_pool *pool, enum mf_mem_kind kind, uint64_t bytes)
{
    char text[64] = "there and back", back[64];
    assert_int_equal(own_bytes(pool, kind), bytes);
    for (uint64_t at = STEP; at <= bytes; at += STEP) {
        char *seam = slot(pool, kind, at - (at == bytes ? 64 : 32));
        mf_assert_ok(copy(rig, pool, seam, text, 64));
        memset(back, 0, sizeof(back));
        mf_assert_ok(copy(rig, pool, back, seam, 64));
        assert_memory_equal(text, back, 64);
    }
    assert_true(copy(rig, pool, slot(pool, kind, bytes - 63), text, 64) < 0);
}

/* ---- extended ------------------------------------------------------------------------------ */

static void test_extend__before_and_after_the_join(void **state)
{
    struct rig *rig = *state;
    struct mf_pool_cfg cfg = pool_cfg(0, 6 * STEP); /* it begins with nothing */
    struct mf_pool *pool = create(rig, &cfg);
    mf_assert_ok(mf_pool_extend(pool, MF_KIND_DRAM, STEP));
    memset(host(pool, 0), 7, STEP);
    mf_assert_ok(mf_pool_extend(pool, MF_KIND_DRAM, 2 * STEP));
    mf_assert_ok(mf_pool_join(pool));
    assert_int_equal(*host(pool, STEP - 1), 7);
    check_size(rig, pool, MF_KIND_DRAM, 3 * STEP);
    mf_assert_ok(mf_pool_extend(pool, MF_KIND_DRAM, 3 * STEP));
    check_size(rig, pool, MF_KIND_DRAM, 6 * STEP);
    for (int round = 0; round < 2; round++) {
        mf_assert_ok(mf_pool_leave(pool, false));
        assert_int_equal(*host(pool, STEP - 1), 0); /* fresh */
        assert_int_equal(*host(pool, 4 * STEP), 0);
        mf_assert_ok(mf_pool_join(pool));
        check_size(rig, pool, MF_KIND_DRAM, 6 * STEP);
    }
    mf_assert_ok(mf_pool_destroy(pool));
}

static void test_extend__device_memory(void **state)
{
    struct rig *rig = *state;
    struct mf_pool_cfg cfg = pool_cfg(STEP, STEP);
    cfg.max_bytes[MF_KIND_HBM] = 4 * STEP;
    cfg.own_bytes[MF_KIND_HBM] = STEP;
    struct mf_pool *pool = create(rig, &cfg);
    mf_assert_ok(mf_pool_extend(pool, MF_KIND_HBM, STEP));
    mf_assert_ok(mf_pool_join(pool));
    mf_assert_ok(mf_pool_extend(pool, MF_KIND_HBM, 2 * STEP));
    check_size(rig, pool, MF_KIND_HBM, 4 * STEP);
    mf_assert_rc(mf_pool_extend(pool, MF_KIND_HBM, STEP), SMEM_ERROR);
    mf_assert_err_has("extend the HBM of rank 1 in pool 3 by 2097152 bytes");
    mf_assert_err_has("maxHbmSize 8388608");
    mf_assert_ok(mf_pool_leave(pool, false));
    mf_assert_ok(mf_pool_join(pool));
    check_size(rig, pool, MF_KIND_HBM, 4 * STEP);
    mf_assert_ok(mf_pool_destroy(pool));
}

static void test_extend__device_memory_without_a_device(void **state)
{
    struct rig *rig = *state;
    struct mf_pool_cfg cfg = pool_cfg(STEP, STEP);
    cfg.max_bytes[MF_KIND_HBM] = STEP;
    struct mf_pool *pool = create(rig, &cfg);
    mf_assert_rc(mf_pool_extend(pool, MF_KIND_HBM, STEP), SMEM_NOT_EXIST);
    mf_assert_err_has("MF_DEVICE");
    assert_int_equal(own_bytes(pool, MF_KIND_HBM), 0);
    mf_assert_ok(mf_pool_destroy(pool));
}

/* More device memory than the device has. */
static void test_extend__device_memory_that_is_not_there(void **state)
{
    struct rig *rig = *state;
    struct mf_pool_cfg cfg = pool_cfg(STEP, STEP);
    cfg.max_bytes[MF_KIND_HBM] = 64ull << 30;
    cfg.own_bytes[MF_KIND_HBM] = STEP;
    struct mf_pool *pool = create(rig, &cfg);
    mf_assert_ok(mf_pool_join(pool));
    assert_true(mf_pool_extend(pool, MF_KIND_HBM, 32ull << 30) < 0);
    mf_assert_err_has("34359738368 bytes of HBM");
    check_size(rig, pool, MF_KIND_HBM, STEP);
    mf_assert_ok(mf_pool_extend(pool, MF_KIND_HBM, STEP));
    check_size(rig, pool, MF_KIND_HBM, 2 * STEP);
    mf_assert_ok(mf_pool_destroy(pool));
}

/* ---- what goes wrong ------------------------------------------------------------------------ */

static void test_extend__beyond_the_maximum(void **state)
{
    struct rig *rig = *state;
    struct mf_pool *pool = join(rig, STEP, 3 * STEP);
    const uint64_t sizes[] = {3 * STEP, 1ull << 40, UINT64_MAX - STEP + 1};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        mf_assert_rc(mf_pool_extend(pool, MF_KIND_DRAM, sizes[i]), SMEM_ERROR);
        mf_assert_err_has("gives 2097152 bytes of DRAM");
        mf_assert_err_has("maxDramSize 6291456 is the most");
        check_size(rig, pool, MF_KIND_DRAM, STEP);
    }
    mf_assert_ok(mf_pool_extend(pool, MF_KIND_DRAM, 2 * STEP));
    check_size(rig, pool, MF_KIND_DRAM, 3 * STEP);
    mf_assert_ok(mf_pool_destroy(pool));
}

static void test_extend__beyond_what_one_rank_may_give(void **state)
{
    struct rig *rig = *state;
    struct mf_pool_cfg cfg = pool_cfg(STEP, STEP);
    cfg.max_bytes[MF_KIND_HBM] = MF_HBM_LOCAL_MAX + STEP;
    struct mf_pool *pool = create(rig, &cfg);
    mf_assert_rc(mf_pool_extend(pool, MF_KIND_HBM, MF_HBM_LOCAL_MAX + STEP), SMEM_ERROR);
    mf_assert_err_has("one rank may give at most 68719476736");
    assert_int_equal(own_bytes(pool, MF_KIND_HBM), 0);
    mf_assert_ok(mf_pool_destroy(pool));
}

static void test_extend__beyond_the_memory(void **state)
{
    struct rig *rig = *state;
    char why[512];
    uint64_t much = (mf_memory_available(why, sizeof(why)) + (4ull << 30)) / STEP * STEP;
    struct mf_pool *pool = join(rig, STEP, 2 * much);
    mf_assert_rc(mf_pool_extend(pool, MF_KIND_DRAM, much), SMEM_MALLOC_FAILED);
    mf_assert_err_has("may still be allocated, says");
    check_size(rig, pool, MF_KIND_DRAM, STEP);
    mf_assert_ok(mf_pool_extend(pool, MF_KIND_DRAM, STEP)); /* in the same place */
    check_size(rig, pool, MF_KIND_DRAM, 2 * STEP);
    mf_assert_ok(mf_pool_destroy(pool));
}

static void test_extend__as_often_as_it_goes(void **state)
{
    struct rig *rig = *state;
    struct mf_pool *pool = join(rig, STEP, (MF_SLOT_SEGMENTS + 1) * STEP);
    for (uint32_t i = 1; i < MF_SLOT_SEGMENTS; i++) {
        mf_assert_ok(mf_pool_extend(pool, MF_KIND_DRAM, STEP));
    }
    mf_assert_rc(mf_pool_extend(pool, MF_KIND_DRAM, STEP), SMEM_NO_RESOURCES);
    mf_assert_err_has("extended 255 times, the limit");
    check_size(rig, pool, MF_KIND_DRAM, MF_SLOT_SEGMENTS * STEP);
    mf_assert_ok(mf_pool_destroy(pool));
}

static void test_extend__without_the_store(void **state)
{
    struct rig *rig = *state;
    struct mf_pool *pool = join(rig, STEP, 3 * STEP);
    mf_store_server_destroy(rig->server);
    rig->server = NULL;
    rig->ctx->op_ms = 300;
    for (int i = 0; i < 2; i++) {
        int rc = mf_pool_extend(pool, MF_KIND_DRAM, STEP);
        assert_true(rc == SMEM_TIMEOUT || rc == SMEM_NOT_CONNECTED);
        mf_assert_err_has("extend the DRAM of rank 1 in pool 3");
        check_size(rig, pool, MF_KIND_DRAM, STEP);
    }
    (void)mf_pool_leave(pool, false);
    mf_assert_ok(mf_pool_extend(pool, MF_KIND_DRAM, STEP)); /* a matter of this process alone */
    assert_int_equal(own_bytes(pool, MF_KIND_DRAM), 2 * STEP);
    mf_assert_ok(mf_pool_destroy(pool));
    mf_assert_ok(mf_store_server_create(&rig->env, "tcp://127.0.0.1:0", 0, &rig->server));
}

/* Use a copy of the transport's table, in which a test replaces functions. */
static struct mf_transport_ops *own_ops(struct rig *rig, struct mf_pool *pool)
{
    rig->entry = *pool->tps[0]->entry;
    pool->tps[0]->entry = &rig->entry;
    return &rig->entry.ops;
}

static int no_publish(void *tp, const struct mf_publish *pub)
{
    (void)tp;
    (void)pub;
    return mf_err(SMEM_NO_RESOURCES, "no room");
}

static void test_extend__transport_that_has_no_room(void **state)
{
    struct rig *rig = *state;
    struct mf_pool *pool = join(rig, STEP, 3 * STEP);
    const struct mf_transport_entry *entry = pool->tps[0]->entry;
    own_ops(rig, pool)->publish = no_publish;
    mf_assert_rc(mf_pool_extend(pool, MF_KIND_DRAM, STEP), SMEM_NO_RESOURCES);
    mf_assert_err_has("transport direct: no room");
    pool->tps[0]->entry = entry;
    check_size(rig, pool, MF_KIND_DRAM, STEP);
    mf_assert_ok(mf_pool_extend(pool, MF_KIND_DRAM, STEP));
    check_size(rig, pool, MF_KIND_DRAM, 2 * STEP);
    mf_assert_ok(mf_pool_destroy(pool));
}

/* ---- memory of the user --------------------------------------------------------------------- */

static int user_file(uint64_t size)
{
    int fd = memfd_create("user", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static struct mf_pool_cfg shm_cfg(int fd)
{
    struct mf_pool_cfg cfg = pool_cfg(2 * STEP, 4 * STEP);
    cfg.has_fd = true;
    cfg.dram_fd = fd;
    return cfg;
}

static void test_shm__bytes_are_the_users_all_the_time(void **state)
{
    struct rig *rig = *state;
    int fd = user_file(4096);
    struct mf_pool_cfg cfg = shm_cfg(fd);
    assert_int_equal(pwrite(fd, "first", 6, 100), 6);
    struct mf_pool *pool = create(rig, &cfg);
    char *map = mmap(NULL, 2 * STEP, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    assert_string_equal(host(pool, 100), "first");
    mf_assert_ok(mf_pool_join(pool));
    for (int round = 0; round < 3; round++) {
        char text[32], back[32];
        snprintf(text, sizeof(text), "round %d", round);
        mf_assert_ok(copy(rig, pool, slot(pool, MF_KIND_DRAM, STEP + 5), text, sizeof(text)));
        assert_string_equal(map + STEP + 5, text);
        mf_assert_ok(mf_pool_leave(pool, false));
        assert_string_equal(map + STEP + 5, text);
        snprintf(map + 200, 32, "%d was here", round);
        mf_assert_ok(mf_pool_join(pool));
        mf_assert_ok(copy(rig, pool, back, slot(pool, MF_KIND_DRAM, 200), sizeof(back)));
        assert_string_equal(back, map + 200);
    }
    check_size(rig, pool, MF_KIND_DRAM, 2 * STEP);
    mf_assert_ok(mf_pool_extend(pool, MF_KIND_DRAM, STEP)); /* by memory of ours */
    check_size(rig, pool, MF_KIND_DRAM, 3 * STEP);
    mf_assert_ok(mf_pool_leave(pool, false));
    assert_int_equal(*host(pool, 2 * STEP), 0);
    mf_assert_ok(mf_pool_destroy(pool));
    assert_string_equal(map + 200, "2 was here");
    assert_int_not_equal(ftruncate(fd, 0), 0); /* still sealed */
    munmap(map, 2 * STEP);
    assert_int_equal(close(fd), 0); /* it was not closed for us */
}

static void test_shm__bad_descriptor_fails_the_create(void **state)
{
    struct rig *rig = *state;
    struct mf_pool *pool = NULL;
    int fd = memfd_create("user", MFD_CLOEXEC);
    struct mf_pool_cfg cfg = shm_cfg(fd);
    mf_assert_rc(mf_pool_create(rig->ctx, &cfg, &pool), SMEM_INVALID_PARAM);
    mf_assert_err_has("create pool 3 on rank 1");
    mf_assert_err_has("cannot be sealed against shrinking");
    assert_null(pool);
    close(fd);
    cfg = pool_cfg(STEP, STEP);
    mf_assert_ok(mf_pool_destroy(create(rig, &cfg))); /* nothing is left of it */
}

static int in_use(void *tp, struct mf_segment *segment, uint64_t deadline_ns)
{
    (void)tp;
    (void)segment;
    (void)deadline_ns;
    return mf_err(SMEM_RES_IN_USE, "rank 0 (pid 1) has neither ended its copy nor died");
}

/* A peer that does not end its copy: never success, and leave can be called again. */
static void test_shm__leave_waits_for_the_last_copy(void **state)
{
    struct rig *rig = *state;
    int fd = user_file(2 * STEP);
    struct mf_pool_cfg cfg = shm_cfg(fd);
    struct mf_pool *pool = create(rig, &cfg);
    const struct mf_transport_entry *entry = pool->tps[0]->entry;
    char byte = 5;
    mf_assert_ok(mf_pool_extend(pool, MF_KIND_DRAM, STEP));
    mf_assert_ok(mf_pool_join(pool));
    own_ops(rig, pool)->withdraw = in_use;
    for (int i = 0; i < 2; i++) {
        mf_assert_rc(mf_pool_leave(pool, false), SMEM_RES_IN_USE);
        mf_assert_err_has("rank 0 (pid 1)");
        mf_assert_err_has("smem_bm_leave again");
    }
    mf_assert_rc(copy(rig, pool, slot(pool, MF_KIND_DRAM, 0), &byte, 1), SMEM_NOT_STARTED);
    mf_assert_rc(mf_pool_join(pool), SMEM_RES_IN_USE);
    mf_assert_err_has("call smem_bm_leave until it succeeds");
    mf_assert_rc(mf_pool_extend(pool, MF_KIND_DRAM, STEP), SMEM_RES_IN_USE);
    rig->entry = *entry;
    mf_assert_ok(mf_pool_leave(pool, false));
    mf_assert_ok(mf_pool_join(pool));
    check_size(rig, pool, MF_KIND_DRAM, 3 * STEP);
    rig->entry.ops.withdraw = in_use;
    mf_assert_rc(mf_pool_destroy(pool), SMEM_RES_IN_USE); /* it stays, with its addresses */
    assert_ptr_equal(mf_ctx_pool_get(rig->ctx, 3), pool);
    mf_pool_put(pool);
    *host(pool, 0) = 'x';
    pool->tps[0]->entry = entry;
    mf_assert_ok(mf_pool_destroy(pool));
    close(fd);
}

/* ---- as much as there is --------------------------------------------------------------------- */

static _Thread_local char *warning; /* where keep_warning puts it */

static void keep_warning(int level, const char *line)
{
    if (warning != NULL && level == MF_LOG_WARN) {
        snprintf(warning, 1024, "%s", line);
    }
}

static int create_limited(struct rig *rig, uint64_t limit, bool best_effort, struct mf_pool **pool)
{
    struct rlimit old;
    struct mf_pool_cfg cfg = pool_cfg(8 * STEP, 8 * STEP);
    cfg.best_effort = best_effort;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    struct rlimit low = {.rlim_cur = limit, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    int rc = mf_pool_create(rig->ctx, &cfg, pool);
    setrlimit(RLIMIT_FSIZE, &old);
    return rc;
}

static void test_best_effort__takes_what_there_is(void **state)
{
    struct rig *rig = *state;
    struct mf_pool *pool = NULL;
    mf_assert_rc(create_limited(rig, 3 * STEP + 4096, false, &pool), SMEM_NO_RESOURCES);
    assert_true(create_limited(rig, STEP - 4096, true, &pool) < 0);
    mf_assert_err_has("SMEM_BM_FLAG_DRAM_BEST_EFFORT");
    atomic_store(&rig->log.sink, keep_warning);
    atomic_store(&rig->log.level, MF_LOG_WARN);
    warning = rig->warned;
    mf_assert_ok(create_limited(rig, 3 * STEP + 4096, true, &pool));
    warning = NULL;
    assert_non_null(strstr(rig->warned, "6291456 bytes of DRAM instead of 16777216"));
    mf_assert_ok(mf_pool_join(pool));
    check_size(rig, pool, MF_KIND_DRAM, 3 * STEP);
    mf_assert_ok(mf_pool_extend(pool, MF_KIND_DRAM, 5 * STEP)); /* there is more by now */
    check_size(rig, pool, MF_KIND_DRAM, 8 * STEP);
    mf_assert_ok(mf_pool_destroy(pool));
}

static void test_best_effort__all_of_it_when_it_is_there(void **state)
{
    struct rig *rig = *state;
    struct mf_pool_cfg cfg = pool_cfg(4 * STEP, 4 * STEP);
    cfg.best_effort = true;
    struct mf_pool *pool = create(rig, &cfg);
    assert_int_equal(own_bytes(pool, MF_KIND_DRAM), 4 * STEP);
    mf_assert_ok(mf_pool_destroy(pool));
    cfg = pool_cfg(0, 4 * STEP);
    cfg.best_effort = true;
    pool = create(rig, &cfg); /* of nothing, all is there */
    assert_int_equal(own_bytes(pool, MF_KIND_DRAM), 0);
    mf_assert_ok(mf_pool_destroy(pool));
}

/* ---- host memory for the device, and NUMA -----------------------------------------------------
 */

static struct {
    void *at[8];
    uint32_t count;
    int rc;
} registered; /* by the functions below */

static int count_register(void *dev, void *ptr, uint64_t size)
{
    (void)dev;
    assert_true(size > 0);
    if (registered.rc == SMEM_OK) {
        registered.at[registered.count++] = ptr;
        return SMEM_OK;
    }
    return mf_err(registered.rc, "no register");
}

static int count_unregister(void *dev, void *ptr)
{
    (void)dev;
    assert_ptr_equal(registered.at[--registered.count], ptr);
    return SMEM_OK;
}

static void check_device_address(struct mf_pool *pool, bool there)
{
    uint64_t at = 0;
    for (uint64_t offset = 0; offset < own_bytes(pool, MF_KIND_DRAM); offset += STEP) {
        mf_gva gva = {(uint64_t)(uintptr_t)slot(pool, MF_KIND_DRAM, offset + 64)};
        mf_assert_rc(mf_pool_translate(pool, gva, true, &at), there ? SMEM_OK : SMEM_ERROR);
        assert_true(!there || at == (uint64_t)(uintptr_t)host(pool, offset + 64));
    }
}

static void test_map_host_va__registers_with_the_device(void **state)
{
    struct rig *rig = *state;
    struct mf_pool_cfg cfg = pool_cfg(STEP, 2 * STEP);
    struct mf_pool *pool = create(rig, &cfg);
    check_device_address(pool, false);
    mf_assert_ok(mf_pool_destroy(pool));
    cfg.map_host_va = true;
    pool = create(rig, &cfg); /* the device has no function for it, and needs none */
    check_device_address(pool, true);
    mf_assert_ok(mf_pool_destroy(pool));
    rig->ctx->dev->ops.host_register = count_register;
    rig->ctx->dev->ops.host_unregister = count_unregister;
    memset(&registered, 0, sizeof(registered));
    pool = create(rig, &cfg);
    assert_int_equal(registered.count, 1);
    mf_assert_ok(mf_pool_join(pool));
    check_device_address(pool, true);
    mf_assert_ok(mf_pool_leave(pool, false));
    assert_int_equal(registered.count, 0);
    mf_assert_ok(mf_pool_join(pool));
    assert_int_equal(registered.count, 1);
    check_device_address(pool, true);
    mf_assert_ok(mf_pool_destroy(pool));
    assert_int_equal(registered.count, 0);
    registered.rc = SMEM_NO_RESOURCES;
    mf_assert_rc(mf_pool_create(rig->ctx, &cfg, &pool), SMEM_NO_RESOURCES);
    mf_assert_err_has("SMEM_BM_FLAG_DRAM_MAP_HOST_VA");
}

static void test_map_host_va__without_a_device(void **state)
{
    struct rig *rig = *state;
    struct mf_pool_cfg cfg = pool_cfg(STEP, STEP);
    cfg.map_host_va = true;
    struct mf_pool *pool = create(rig, &cfg);
    *host(pool, 5) = 1;
    check_device_address(pool, false);
    mf_assert_ok(mf_pool_destroy(pool));
}

static void test_numa__node_that_is_not_there(void **state)
{
    struct rig *rig = *state;
    struct mf_pool_cfg cfg = pool_cfg(STEP, 2 * STEP);
    struct mf_pool *pool = NULL;
    cfg.numa_node = 126;
    mf_assert_rc(mf_pool_create(rig->ctx, &cfg, &pool), SMEM_INVALID_PARAM);
    mf_assert_err_has("NUMA node 126");
    mf_assert_err_has("this machine has the nodes");
    cfg.own_bytes[MF_KIND_DRAM] = 0; /* said at once, though nothing is bound yet */
    mf_assert_rc(mf_pool_create(rig->ctx, &cfg, &pool), SMEM_INVALID_PARAM);
    cfg = pool_cfg(STEP, 2 * STEP);
    cfg.numa_node = 0;
    pool = create(rig, &cfg);
    mf_assert_ok(mf_pool_extend(pool, MF_KIND_DRAM, STEP));
    mf_assert_ok(mf_pool_destroy(pool));
}

#define with(test)     cmocka_unit_test_setup_teardown(test, setup, teardown)
#define with_sim(test) cmocka_unit_test_setup_teardown(test, setup_sim, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with(test_extend__before_and_after_the_join),
        with_sim(test_extend__device_memory),
        with(test_extend__device_memory_without_a_device),
        with_sim(test_extend__device_memory_that_is_not_there),
        with(test_extend__beyond_the_maximum),
        with(test_extend__beyond_what_one_rank_may_give),
        with(test_extend__beyond_the_memory),
        with(test_extend__as_often_as_it_goes),
        with(test_extend__without_the_store),
        with(test_extend__transport_that_has_no_room),
        with(test_shm__bytes_are_the_users_all_the_time),
        with(test_shm__bad_descriptor_fails_the_create),
        with(test_shm__leave_waits_for_the_last_copy),
        with(test_best_effort__takes_what_there_is),
        with(test_best_effort__all_of_it_when_it_is_there),
        with_sim(test_map_host_va__registers_with_the_device),
        with(test_map_host_va__without_a_device),
        with(test_numa__node_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
