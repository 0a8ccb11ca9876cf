// SPDX-License-Identifier: Apache-2.0
// What joins cost the store: requests of one rank from its start until it has joined its pool,
// events and bytes for those that are there, bytes of 1,024 joins in all. The store's server and
// its clients are the real ones, without sockets; what a rank asks is asked by the code of core.
#include "mf_test.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/context.h"
#include "core/layout.h"
#include "core/pool.h"
#include "core/world.h"
#include "store/collective.h"
#include "store/local.h"

/* What is promised: a join asks the store this often, each member gets one event of so many bytes,
 * and 1,024 joins move so many through the store, both directions counted. */
#define REQUESTS_MAX    8u
#define EVENT_BYTES_MAX 256u
#define BYTES_MAX       64000000u

#define WORLD           1024u
#define POOL            3u
#define RANKS_OF_A_HOST 8u
#define HOSTS           (WORLD / RANKS_OF_A_HOST)
/* Every one of this many ranks keeps the whole membership; the others only count. */
#define KEEPERS_EVERY 256u
#define SLOT_BYTES    (4ull << 30)
#define WAIT_MS       20000u

struct rank {
    struct mf_ctx ctx;
    struct mf_tp tp;
    struct mf_members members; /* v is NULL: only counts */
    uint32_t watch;
    uint32_t puts;
};

struct rig {
    struct mf_log log;
    struct mf_env env;
    struct mf_config config;
    struct mf_loop *loop;
    struct mf_store_local *local;
    uint32_t world;
    struct rank *ranks;
    bool in_turn;                             /* neighbours are on different hosts */
    uint64_t answer_bytes;                    /* to the joiner's announcement */
    char tag[MF_TAG_MAX + 1], tag_info[2048]; /* of each */
};

/* ---- helpers ------------------------------------------------------------------------------- */

static struct mf_store_server_status status(struct rig *rig)
{
    struct mf_store_server_status out;
    mf_store_local_get_status(rig->local, &out);
    return out;
}

static uint64_t until(const struct rig *rig)
{
    return mf_deadline_ns(&rig->env, WAIT_MS);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    *state = rig;
    atomic_init(&rig->log.level, MF_LOG_FATAL);
    mf_env_init_real(&rig->env, &rig->log);
    mf_config_defaults(&rig->config);
    int rc = mf_loop_create(&rig->env, "test", &rig->loop);
    if (rc == SMEM_OK) {
        rc = mf_store_local_create(&rig->env, rig->loop, &rig->local);
    }
    rig->ranks = calloc(WORLD, sizeof(*rig->ranks));
    return rc;
}

static void end_rank(struct rank *rank)
{
    mf_store_close(rank->ctx.store, 0);
    rank->ctx.store = NULL;
    mf_members_fini(&rank->members);
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    for (uint32_t i = 0; i < WORLD; i++) {
        end_rank(&rig->ranks[i]);
    }
    mf_store_local_destroy(rig->local);
    mf_loop_destroy(rig->loop);
    free(rig->ranks);
    free(rig);
    return 0;
}

static void on_watch(void *arg, const struct mf_watch_event *event)
{
    struct rank *rank = arg;
    struct mf_member_change change;
    rank->puts += event->kind == MF_WATCH_PUT;
    if (rank->members.v == NULL) {
        return;
    }
    if (event->kind == MF_WATCH_SYNC_BEGIN) {
        mf_members_sync_begin(&rank->members);
    } else if (event->kind == MF_WATCH_SYNC_END) {
        mf_members_sync_end(&rank->members, 1);
    } else if (event->kind == MF_WATCH_PUT) {
        const char *slash = strrchr(event->key, '/');
        if (mf_members_put(&rank->members, (uint32_t)strtoul(slash + 1, NULL, 10), event->value,
                           event->value_len, 1, &change) != SMEM_OK) {
            mf_err_clear();
        }
    }
}

/* An endpoint as the transport direct has it: a token, and two hints that ranks of a host share. */
static void make_endpoint(struct rig *rig, struct rank *rank, uint64_t host)
{
    uint64_t words[5] = {1, mf_random_u64(&rig->env), mf_random_u64(&rig->env),
                         host * 0x9e3779b97f4a7c15ull, 4026531840u};
    rank->tp.endpoint.data_ops = SMEMB_DATA_OP_SDMA;
    rank->tp.endpoint.len = sizeof(words);
    memcpy(rank->tp.endpoint.bytes, words, sizeof(words));
}

/* A process that starts: its session with the store. */
static void begin_rank(struct rig *rig, struct rank *rank, uint64_t host)
{
    rank->ctx = (struct mf_ctx){.env = &rig->env,
                                .config = &rig->config,
                                .world = rig->world,
                                .identity = {.incarnation = mf_random_u64(&rig->env),
                                             .pid = 4711 + (uint32_t)(rank - rig->ranks),
                                             .host_hint = (uint32_t)host * 0x9e3779b9u}};
    rank->puts = 0;
    make_endpoint(rig, rank, host);
    struct mf_store_cfg cfg = {.env = &rig->env,
                               .loop = rig->loop,
                               .session_id = rank->ctx.identity.incarnation,
                               .session_ms = 600000, /* no heartbeats among what is counted */
                               .request_ms = WAIT_MS};
    mf_assert_ok(mf_store_open_local(&cfg, rig->local, until(rig), &rank->ctx.store));
}

/* What smem_bm_init asks the store. */
static void enter(struct rig *rig, struct rank *rank, uint32_t want)
{
    uint64_t world_id;
    struct mf_world_want world = {.rank = want,
                                  .size = rig->world,
                                  .id = mf_random_u64(&rig->env),
                                  .identity = rank->ctx.identity};
    mf_assert_ok(mf_world_enter(rank->ctx.store, &world, until(rig), &rank->ctx.rank, &world_id));
    rank->ctx.world_id = world_id;
}

/* What smem_bm_create2 asks the store. */
static void create(struct rig *rig, struct rank *rank)
{
    struct mf_layout layout;
    struct mf_layout_want want = {
        .pool = POOL, .rank = rank->ctx.rank, .world = rig->world, .max_dram = SLOT_BYTES};
    mf_assert_ok(mf_layout_negotiate(rank->ctx.store, &rig->config, &want, until(rig), &layout));
    assert_int_equal(layout.world, rig->world);
}

/* What a join did: to be compared with what it may. */
struct cost {
    uint64_t requests, events, bytes;
    uint64_t told; /* bytes of the events */
};

static struct cost since(struct rig *rig, const struct mf_store_server_status *before)
{
    struct mf_store_server_status now = status(rig);
    return (struct cost){.requests = now.requests - before->requests,
                         .events = now.events - before->events,
                         .bytes =
                             now.bytes_in + now.bytes_out - before->bytes_in - before->bytes_out};
}

/* What smem_bm_join asks the store; when it returns the answers have arrived. */
static void join(struct rig *rig, struct rank *rank, uint64_t *told)
{
    struct mf_pool pool = {.ctx = &rank->ctx, .id = POOL, .tps = {&rank->tp}, .tp_count = 1};
    char prefix[32];
    mf_assert_ok(mf_tags_parse(rig->tag, sizeof(rig->tag), rig->tag_info, sizeof(rig->tag_info),
                               SMEMB_DATA_OP_SDMA, &pool.tags));
    atomic_init(&pool.own_bytes[MF_KIND_DRAM], SLOT_BYTES);
    if (rank->ctx.rank % KEEPERS_EVERY == 0) {
        mf_members_fini(&rank->members);
        mf_assert_ok(mf_members_init(&rank->members, rig->world, rank->ctx.rank,
                                     rank->ctx.identity.incarnation));
    }
    struct mf_store_server_status before = status(rig);
    mf_assert_ok(mf_pool_announce(&pool, until(rig)));
    struct mf_store_server_status after = status(rig);
    uint64_t sent = after.bytes_out - before.bytes_out;
    if (after.events == before.events) {
        rig->answer_bytes = sent; /* nobody else was told */
    }
    *told = sent - rig->answer_bytes;
    snprintf(prefix, sizeof(prefix), "pool/%u/m/", POOL);
    mf_assert_ok(
        rank->ctx.store->ops->watch(rank->ctx.store, prefix, on_watch, rank, &rank->watch));
    (void)status(rig); /* whatever the loop had to do is done */
}

/* From the start of a process until it is a member. */
static struct cost whole_join(struct rig *rig, uint32_t i, uint32_t want)
{
    struct rank *rank = &rig->ranks[i];
    struct mf_store_server_status before = status(rig);
    uint64_t told = 0;
    begin_rank(rig, rank, rig->in_turn ? i % HOSTS : i / RANKS_OF_A_HOST);
    enter(rig, rank, want);
    create(rig, rank);
    join(rig, rank, &told);
    struct cost cost = since(rig, &before);
    cost.told = told;
    return cost;
}

static void assert_cheap(const struct cost *cost, uint64_t members)
{
    assert_in_range(cost->requests, 1, REQUESTS_MAX);
    assert_int_equal(cost->events, members);
    assert_in_range(cost->told, members, EVENT_BYTES_MAX * members);
}

/* Everybody knows everybody. */
static void assert_complete(struct rig *rig, uint32_t puts)
{
    for (uint32_t i = 0; i < rig->world; i++) {
        assert_int_equal(rig->ranks[i].puts, puts);
        if (rig->ranks[i].members.v != NULL) {
            assert_int_equal(rig->ranks[i].members.joined, rig->world - 1);
        }
    }
}

static uint64_t bytes_of(struct rig *rig)
{
    struct mf_store_server_status now = status(rig);
    return now.bytes_in + now.bytes_out;
}

/* All ranks of a world, one after the other; prints a line of the table in docs/performance.md. */
static void fill_world(struct rig *rig, uint32_t world, bool automatic)
{
    struct cost most = {0};
    uint64_t begin_ns = mf_now_ns(&rig->env);
    rig->world = world;
    for (uint32_t i = 0; i < world; i++) {
        struct cost cost = whole_join(rig, i, automatic ? MF_RANK_AUTO : i);
        assert_int_equal(rig->ranks[i].ctx.rank, i);
        assert_cheap(&cost, i);
        most.requests = cost.requests > most.requests ? cost.requests : most.requests;
        most.told = i > 0 && cost.told / i > most.told ? cost.told / i : most.told;
    }
    assert_complete(rig, world);
    uint64_t took_ms = (mf_now_ns(&rig->env) - begin_ns) / MF_NS_PER_MS;
    print_message("%4u ranks%s: at most %" PRIu64 " requests a join, %" PRIu64
                  " bytes an event; %.3f MB in all; %" PRIu64 " ms\n",
                  world, automatic ? " that take any" : "", most.requests, most.told,
                  (double)bytes_of(rig) / 1e6, took_ms);
}

/* ---- tests --------------------------------------------------------------------------------- */

static void test_join_cost__of_16_ranks(void **state)
{
    fill_world(*state, 16, false);
}

static void test_join_cost__of_64_ranks(void **state)
{
    fill_world(*state, 64, false);
}

static void test_join_cost__of_256_ranks(void **state)
{
    fill_world(*state, 256, false);
}

static void test_join_cost__of_1024_ranks(void **state)
{
    struct rig *rig = *state;
    fill_world(rig, WORLD, false);
    assert_in_range(bytes_of(rig), 1, BYTES_MAX);
}

static void test_join_cost__of_1024_ranks_in_turn_on_128_hosts(void **state)
{
    struct rig *rig = *state;
    rig->in_turn = true;
    fill_world(rig, WORLD, false);
    assert_in_range(bytes_of(rig), 1, BYTES_MAX);
}

static void test_join_cost__of_1024_ranks_that_take_any(void **state)
{
    struct rig *rig = *state;
    fill_world(rig, WORLD, true);
    assert_in_range(bytes_of(rig), 1, BYTES_MAX);
}

/* A job that is started again in a store that stays: its ranks ask which ones are free. */
static void test_join_cost__of_1024_ranks_that_take_any_again(void **state)
{
    struct rig *rig = *state;
    uint64_t most = 0;
    rig->world = WORLD;
    begin_rank(rig, &rig->ranks[0], 0);
    mf_assert_ok(mf_store_add(rig->ranks[0].ctx.store, "world/next", WORLD, until(rig), NULL));
    end_rank(&rig->ranks[0]);
    uint64_t before = bytes_of(rig);
    for (uint32_t i = 0; i < WORLD; i++) {
        struct cost cost = whole_join(rig, i, MF_RANK_AUTO);
        assert_cheap(&cost, i);
        most = cost.requests > most ? cost.requests : most;
    }
    print_message("again: at most %" PRIu64 " requests a join; %.3f MB in all\n", most,
                  (double)(bytes_of(rig) - before) / 1e6);
    assert_in_range(bytes_of(rig) - before, 1, BYTES_MAX);
}

/* A process ends and comes back, into a world that is full otherwise. */
static void come_back(struct rig *rig, uint32_t i, uint32_t want)
{
    struct mf_store_server_status before = status(rig);
    end_rank(&rig->ranks[i]);
    struct cost gone = since(rig, &before);
    assert_in_range(gone.events, rig->world - 1, rig->world - 1);
    assert_in_range(gone.bytes, 1, 64 * rig->world);
    struct cost cost = whole_join(rig, i, want);
    assert_cheap(&cost, rig->world - 1);
    assert_int_equal(rig->ranks[i].ctx.rank, i);
}

static void test_join_cost__of_one_that_comes_back(void **state)
{
    struct rig *rig = *state;
    fill_world(rig, 64, true);
    come_back(rig, 17, 17);
    come_back(rig, 63, 63);
    come_back(rig, 17, MF_RANK_AUTO);
    come_back(rig, 0, MF_RANK_AUTO);
    assert_int_equal(rig->ranks[0].members.joined, 63);
    assert_int_equal(rig->ranks[30].puts, 64 + 4);
}

/* The longest record that there is: what a rank says of itself again costs little. */
static void test_join_cost__with_as_many_tags_as_may_be(void **state)
{
    struct rig *rig = *state;
    size_t len = 0;
    snprintf(rig->tag, sizeof(rig->tag), "%s", "tag_00_abcdefghijklmnopqrstuvw");
    for (unsigned i = 1; i < MF_TAG_PAIRS_MAX; i++) {
        len += (size_t)snprintf(rig->tag_info + len, sizeof(rig->tag_info) - len,
                                "%s%s:HOST_SHM:tag_%02u_abcdefghijklmnopqrstuvw", i > 1 ? "," : "",
                                rig->tag, i);
    }
    assert_true(len < sizeof(rig->tag_info));
    fill_world(rig, 64, false);
}

/* A world that nobody is in any more gets another size: the first of the new ones looks twice
 * whether it is alone. */
static void test_join_cost__of_a_world_of_another_size(void **state)
{
    struct rig *rig = *state;
    fill_world(rig, 16, true);
    for (uint32_t i = 0; i < 16; i++) {
        end_rank(&rig->ranks[i]);
    }
    rig->world = 32;
    struct cost cost = whole_join(rig, 0, 0);
    assert_in_range(cost.requests, 1, REQUESTS_MAX + 3);
    for (uint32_t i = 1; i < 32; i++) {
        cost = whole_join(rig, i, i);
        assert_cheap(&cost, i);
    }
    assert_complete(rig, 32);
}

/* ---- many at the same time ----------------------------------------------------------------- */

#define THREADS    4u
#define PER_THREAD 64u

struct starter {
    struct rig *rig;
    uint32_t first;
    int rc;
};

static void *start_ranks(void *arg)
{
    struct starter *s = arg;
    for (uint32_t i = s->first; i < s->first + PER_THREAD && s->rc == SMEM_OK; i++) {
        struct rank *rank = &s->rig->ranks[i];
        uint64_t world_id;
        struct mf_layout layout;
        struct mf_world_want world = {.rank = i % 2 ? s->rig->world - i : MF_RANK_AUTO,
                                      .size = s->rig->world,
                                      .id = i + 1,
                                      .identity = rank->ctx.identity};
        struct mf_layout_want want = {.pool = i % 3, .world = 2, .max_dram = SLOT_BYTES};
        s->rc = mf_world_enter(rank->ctx.store, &world, until(s->rig), &want.rank, &world_id);
        s->rc = s->rc != SMEM_OK ? s->rc
                                 : mf_layout_negotiate(rank->ctx.store, &s->rig->config, &want,
                                                       until(s->rig), &layout);
        rank->ctx.rank = want.rank;
        rank->ctx.world_id = world_id;
    }
    return NULL;
}

static void test_join_cost__of_many_at_the_same_time(void **state)
{
    struct rig *rig = *state;
    struct starter starters[THREADS];
    pthread_t threads[THREADS];
    rig->world = 2 * THREADS * PER_THREAD;
    for (uint32_t i = 0; i < THREADS * PER_THREAD; i++) {
        begin_rank(rig, &rig->ranks[i], i / RANKS_OF_A_HOST);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        starters[i] = (struct starter){.rig = rig, .first = i * PER_THREAD};
        assert_int_equal(pthread_create(&threads[i], NULL, start_ranks, &starters[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        assert_int_equal(starters[i].rc, SMEM_OK);
    }
    for (uint32_t i = 1; i < THREADS * PER_THREAD; i++) {
        assert_true(rig->ranks[i].ctx.world_id == rig->ranks[0].ctx.world_id);
    }
    /* Those that lay down their pools at the same time ask once more. */
    assert_in_range(status(rig).requests, 1, (REQUESTS_MAX - 2) * THREADS * PER_THREAD);
}

/* ---- the library itself -------------------------------------------------------------------- */

/* A real process asks what the ranks above were made to ask. */
static void test_join_cost__of_the_library_is_the_same(void **state)
{
    struct rig *rig = *state;
    struct mf_config config = rig->config;
    struct mf_threads threads;
    struct mf_dev_registry *devices;
    struct mf_store_server *server;
    struct mf_store_server_status before, now;
    struct mf_pool *pool;
    struct mf_ctx *ctx;
    extern char **environ;
    mf_assert_ok(mf_config_load(&config, environ, NULL)); /* gva.base of the thread sanitizer */
    mf_assert_ok(mf_threads_init(&threads, &rig->env));
    mf_assert_ok(mf_dev_registry_create(&rig->env, &config, &devices));
    mf_assert_ok(mf_store_server_create(&rig->env, "tcp://127.0.0.1:0", 0, &server));
    struct mf_ctx_cfg cfg = {.env = &rig->env,
                             .config = &config,
                             .threads = &threads,
                             .devices = devices,
                             .url = mf_store_server_url(server),
                             .world = 2,
                             .number = 1,
                             .init_ms = WAIT_MS,
                             .create_ms = WAIT_MS,
                             .op_ms = WAIT_MS};
    struct mf_pool_cfg pool_cfg = {.id = POOL,
                                   .max_bytes = {[MF_KIND_DRAM] = MF_PAGE_LARGE},
                                   .own_bytes = {[MF_KIND_DRAM] = MF_PAGE_LARGE},
                                   .data_ops = SMEMB_DATA_OP_SDMA,
                                   .numa_node = -1};
    mf_store_server_get_status(server, &before);
    mf_assert_ok(mf_ctx_open(&cfg, &ctx));
    mf_assert_ok(mf_pool_create(ctx, &pool_cfg, &pool));
    mf_assert_ok(mf_pool_join(pool));
    mf_store_server_get_status(server, &now);
    rig->world = 2;
    assert_int_equal(now.requests - before.requests, whole_join(rig, 0, 0).requests);
    mf_pool_destroy(pool);
    mf_ctx_close(ctx);
    mf_store_server_destroy(server);
    mf_dev_registry_destroy(devices);
    mf_threads_fini(&threads);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_join_cost__of_16_ranks),
        T(test_join_cost__of_64_ranks),
        T(test_join_cost__of_256_ranks),
        T(test_join_cost__of_1024_ranks),
        T(test_join_cost__of_1024_ranks_in_turn_on_128_hosts),
        T(test_join_cost__of_1024_ranks_that_take_any),
        T(test_join_cost__of_1024_ranks_that_take_any_again),
        T(test_join_cost__of_one_that_comes_back),
        T(test_join_cost__with_as_many_tags_as_may_be),
        T(test_join_cost__of_a_world_of_another_size),
        T(test_join_cost__of_many_at_the_same_time),
        T(test_join_cost__of_the_library_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
