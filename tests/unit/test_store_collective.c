// SPDX-License-Identifier: Apache-2.0
// Barrier, allgather and rank allocation over both back ends, a thread and a session for each rank;
// and the opening of stores when memory runs out.
#include "mf_test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "mf_torture.h"
#include "store/collective.h"
#include "store/local.h"
#include "unit/store_rig.h"

enum { RANKS_MAX = 32 };

struct world {
    struct rig rig;
    bool tcp;
    struct mf_store_local *local;
    struct mf_store *stores[RANKS_MAX];
};

static int setup(void **state, bool tcp)
{
    struct world *w = test_calloc(1, sizeof(*w));
    *state = w;
    w->tcp = tcp;
    int rc = rig_open(&w->rig);
    return rc == SMEM_OK && !tcp ? mf_store_local_create(&w->rig.env, w->rig.loop, &w->local) : rc;
}

static int setup_tcp(void **state)
{
    return setup(state, true);
}

static int setup_local(void **state)
{
    return setup(state, false);
}

static uint64_t in_ms(struct world *w, uint64_t ms)
{
    return rig_in_ms(&w->rig, ms);
}

static int teardown(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < RANKS_MAX; i++)
        mf_store_close(w->stores[i], in_ms(w, 1000));
    mf_store_local_destroy(w->local);
    rig_close(&w->rig);
    test_free(w);
    return 0;
}

static struct mf_store *open_store(struct world *w, int i)
{
    if (w->tcp) {
        mf_assert_ok(rig_client(&w->rig, RIG_SESSION_MS, &w->stores[i]));
    } else {
        struct mf_store_cfg cfg = {.env = &w->rig.env,
                                   .loop = w->rig.loop,
                                   .session_id = mf_random_u64(&w->rig.env),
                                   .session_ms = RIG_SESSION_MS,
                                   .request_ms = 5000};
        mf_assert_ok(mf_store_open_local(&cfg, w->local, in_ms(w, 1000), &w->stores[i]));
    }
    return w->stores[i];
}

static void close_store(struct world *w, int i)
{
    mf_store_close(w->stores[i], in_ms(w, 1000));
    w->stores[i] = NULL;
}

struct rank_arg {
    struct world *w;
    int index, count;
    uint32_t want, rank;
    size_t size;
    uint8_t *recv;
    int rc;
    char msg[512];
};

static void run_ranks(struct world *w, int count, void *(*fn)(void *), struct rank_arg *args)
{
    pthread_t threads[RANKS_MAX];
    for (int i = 0; i < count; i++) {
        args[i].w = w;
        args[i].index = i;
        args[i].count = count;
        if (w->stores[i] == NULL)
            open_store(w, i);
    }
    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fn, &args[i]), 0);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < count; i++) {
        if (args[i].rc != SMEM_OK)
            print_error("rank %d: %s\n", i, args[i].msg);
        assert_int_equal(args[i].rc, SMEM_OK);
    }
}

static void keep_error(struct rank_arg *arg)
{
    snprintf(arg->msg, sizeof(arg->msg), "%.511s", mf_err_msg());
}

static bool no_key(void *arg, const struct mf_store_kv *kv)
{
    print_error("key \"%s\" was left behind\n", kv->key);
    (*(int *)arg)++;
    return true;
}

static void assert_nothing_left(struct world *w, const char *prefix)
{
    int left = 0;
    mf_assert_ok(mf_store_list(w->stores[0], prefix, 0, no_key, &left));
    assert_int_equal(left, 0);
}

/* ---- barrier ----------------------------------------------------------------------------------
 */

static void *barrier_main(void *arg)
{
    struct rank_arg *rank = arg;
    struct mf_store *store = rank->w->stores[rank->index];
    char name[32];
    for (int round = 0; round < 5 && rank->rc == SMEM_OK; round++) {
        int64_t arrived;
        snprintf(name, sizeof(name), "b/%d", round);
        rank->rc = mf_store_add(store, "count", 1, 0, &arrived);
        if (rank->rc == SMEM_OK)
            rank->rc = mf_store_barrier(store, name, (uint32_t)rank->count, in_ms(rank->w, 10000));
        if (rank->rc == SMEM_OK)
            rank->rc = mf_store_add(store, "count", 0, 0, &arrived);
        if (rank->rc == SMEM_OK && arrived < (int64_t)(round + 1) * rank->count)
            rank->rc = mf_err(SMEM_ERROR, "through the door with %lld of %d", (long long)arrived,
                              (round + 1) * rank->count);
    }
    keep_error(rank);
    return NULL;
}

static void test_store_barrier__lets_nobody_through_early(void **state)
{
    struct world *w = *state;
    struct rank_arg args[RANKS_MAX] = {0};
    run_ranks(w, 16, barrier_main, args);
    assert_nothing_left(w, "b/");
}

static void test_store_barrier__says_who_is_missing(void **state)
{
    struct world *w = *state;
    struct mf_store *store = open_store(w, 0);
    uint64_t begin = mf_now_ns(&w->rig.env);
    mf_assert_rc(mf_store_barrier(store, "b", 3, in_ms(w, 200)), SMEM_TIMEOUT);
    assert_in_range((mf_now_ns(&w->rig.env) - begin) / MF_NS_PER_MS, 100, 3000);
    mf_assert_err_has("barrier \"b\": 1 of 3 arrived");
    mf_assert_ok(mf_store_barrier(store, "alone", 1, in_ms(w, 1000)));
    mf_assert_rc(mf_store_barrier(store, "b", 1, in_ms(w, 1000)), SMEM_INVALID_PARAM);
    mf_assert_err_has("caller number 2 of 1: is the name used twice?");
    mf_assert_rc(mf_store_barrier(store, "zero", 0, in_ms(w, 1000)), SMEM_INVALID_PARAM);
}

/* ---- allgather --------------------------------------------------------------------------------
 */

static uint8_t pattern(int rank, size_t at)
{
    return (uint8_t)((size_t)rank * 131 + at * 7 + (at >> 8));
}

static void *gather_main(void *arg)
{
    struct rank_arg *rank = arg;
    uint8_t *send = malloc(rank->size + 1);
    for (size_t i = 0; i < rank->size; i++)
        send[i] = pattern(rank->index, i);
    rank->rc = mf_store_allgather(rank->w->stores[rank->index], "g", (uint32_t)rank->index,
                                  (uint32_t)rank->count, send, rank->size, rank->recv,
                                  in_ms(rank->w, 20000));
    keep_error(rank);
    free(send);
    return NULL;
}

static void gather(struct world *w, int count, size_t size)
{
    struct rank_arg args[RANKS_MAX] = {0};
    for (int i = 0; i < count; i++) {
        args[i].size = size;
        args[i].recv = test_calloc((size_t)count, size + 1);
    }
    run_ranks(w, count, gather_main, args);
    for (int i = 0; i < count; i++) {
        for (int r = 0; r < count; r++) {
            for (size_t at = 0; at < size; at += 1 + at / 16)
                assert_int_equal(args[i].recv[(size_t)r * size + at], pattern(r, at));
        }
        test_free(args[i].recv);
    }
    assert_nothing_left(w, "g");
}

static void test_store_allgather__orders_by_rank(void **state)
{
    gather(*state, 12, 100);
    gather(*state, 5, 0);
}

static void test_store_allgather__large_contributions_go_in_pieces(void **state)
{
    gather(*state, 3, 3000000);
}

static void test_store_allgather__refuses_what_does_not_match(void **state)
{
    struct world *w = *state;
    struct mf_store *store = open_store(w, 0);
    uint8_t recv[64];
    mf_assert_rc(mf_store_allgather(store, "g1", 2, 2, "x", 1, recv, in_ms(w, 100)),
                 SMEM_INVALID_PARAM);
    mf_assert_rc(mf_store_allgather(store, "g2", 0, 2, "xx", 2, recv, in_ms(w, 100)), SMEM_TIMEOUT);
    mf_assert_err_has("1 of 2 ranks arrived in time");
    mf_assert_rc(mf_store_allgather(store, "g2", 1, 2, "xxx", 3, recv, in_ms(w, 100)),
                 SMEM_INVALID_PARAM);
    mf_assert_err_has("sizes or counts differ");
    mf_assert_rc(mf_store_allgather(store, "g3", 1, 2, "x", 1, recv, in_ms(w, 50)), SMEM_TIMEOUT);
    mf_assert_rc(mf_store_allgather(store, "g3", 1, 2, "x", 1, recv, in_ms(w, 500)),
                 SMEM_INVALID_PARAM); /* one rank twice */
    mf_assert_err_has("expected each of 2 ranks once");
}

/* ---- ranks ------------------------------------------------------------------------------------
 */

static void *claim_main(void *arg)
{
    struct rank_arg *rank = arg;
    char record[16];
    int len = snprintf(record, sizeof(record), "record %d", rank->index);
    rank->rc = mf_store_rank_claim(rank->w->stores[rank->index], "world/", (uint32_t)rank->count,
                                   rank->want, record, (size_t)len, in_ms(rank->w, 10000),
                                   &rank->rank, NULL, NULL);
    keep_error(rank);
    return NULL;
}

static void *claim_auto_main(void *arg)
{
    ((struct rank_arg *)arg)->count = 16; /* of the world; fewer come now */
    return claim_main(arg);
}

static int claim_one(struct world *w, int i, uint32_t want, uint64_t ms, uint32_t *rank)
{
    return mf_store_rank_claim(w->stores[i], "world/", 4, want, "r", 1, in_ms(w, ms), rank, NULL,
                               NULL);
}

static void test_store_rank_claim__auto_gives_each_its_own(void **state)
{
    struct world *w = *state;
    struct rank_arg args[RANKS_MAX] = {0};
    bool seen[RANKS_MAX] = {false};
    for (int i = 12; i < 16; i++) { /* some insist on theirs before the others come */
        args[i] = (struct rank_arg){.w = w, .index = i, .count = 16, .want = (uint32_t)i * 5 % 16};
        open_store(w, i);
        claim_main(&args[i]);
        assert_int_equal(args[i].rc, SMEM_OK);
    }
    for (int i = 0; i < 12; i++)
        args[i].want = MF_RANK_AUTO;
    run_ranks(w, 12, claim_auto_main, args);
    for (int i = 0; i < 16; i++) {
        assert_true(args[i].rank < 16 && !seen[args[i].rank]);
        seen[args[i].rank] = true;
    }
    uint32_t rank;
    open_store(w, 16);
    mf_assert_rc(mf_store_rank_claim(w->stores[16], "world/", 16, MF_RANK_AUTO, "r", 1,
                                     in_ms(w, 1000), &rank, NULL, NULL),
                 SMEM_NO_RESOURCES);
    mf_assert_err_has("all 16 ranks are taken");
    close_store(w, 5);
    mf_assert_ok(mf_store_rank_claim(w->stores[16], "world/", 16, MF_RANK_AUTO, "r", 1,
                                     in_ms(w, 1000), &rank, NULL, NULL));
    assert_int_equal(rank, args[5].rank); /* the only free one */
}

static void test_store_rank_claim__fresh_world_is_in_order_of_arrival(void **state)
{
    struct world *w = *state;
    uint32_t rank;
    for (uint32_t i = 0; i < 4; i++) {
        open_store(w, (int)i);
        mf_assert_ok(claim_one(w, (int)i, MF_RANK_AUTO, 1000, &rank));
        assert_int_equal(rank, i);
    }
}

static void *close_later(void *arg)
{
    struct world *w = arg;
    usleep(150000);
    mf_store_close(w->stores[0], in_ms(w, 1000));
    return NULL;
}

static void test_store_rank_claim__wanted_rank_waits_for_its_holder(void **state)
{
    struct world *w = *state;
    pthread_t thread;
    void *other;
    size_t other_len;
    uint32_t rank;
    open_store(w, 0);
    open_store(w, 1);
    mf_assert_ok(claim_one(w, 0, 1, 1000, &rank));
    uint64_t begin = mf_now_ns(&w->rig.env);
    mf_assert_rc(mf_store_rank_claim(w->stores[1], "world/", 4, 1, "r", 1, in_ms(w, 200), &rank,
                                     &other, &other_len),
                 SMEM_DUPLICATED);
    assert_in_range((mf_now_ns(&w->rig.env) - begin) / MF_NS_PER_MS, 100, 3000);
    assert_int_equal(other_len, 1);
    assert_memory_equal(other, "r", 1);
    mf_free(other);
    mf_assert_err_has("rank 1 is held by another process");
    pthread_create(&thread, NULL, close_later, w);
    mf_assert_ok(claim_one(w, 1, 1, 5000, &rank));
    pthread_join(thread, NULL);
    w->stores[0] = NULL;
    assert_int_equal(rank, 1);
    mf_assert_rc(claim_one(w, 1, 4, 1000, &rank), SMEM_INVALID_PARAM);
    mf_assert_err_has("rank 4 is not below the world's size 4");
}

static void test_store_rank_try__does_not_wait(void **state)
{
    struct world *w = *state;
    void *other;
    size_t other_len;
    uint32_t rank;
    open_store(w, 0);
    open_store(w, 1);
    mf_assert_ok(mf_store_rank_try(w->stores[0], "world/", 4, 2, "me", 2, in_ms(w, 5000), &rank,
                                   NULL, NULL));
    assert_int_equal(rank, 2);
    uint64_t begin = mf_now_ns(&w->rig.env);
    mf_assert_rc(mf_store_rank_try(w->stores[1], "world/", 4, 2, "r", 1, in_ms(w, 20000), &rank,
                                   &other, &other_len),
                 SMEM_DUPLICATED);
    assert_in_range((mf_now_ns(&w->rig.env) - begin) / MF_NS_PER_MS, 0, 3000);
    mf_assert_err_has("rank 2 is held by another process");
    assert_int_equal(other_len, 2);
    assert_memory_equal(other, "me", 2);
    mf_free(other);
    mf_assert_rc(
        mf_store_rank_wait(w->stores[1], "world/", 4, 2, "r", 1, in_ms(w, 200), &rank, NULL, NULL),
        SMEM_DUPLICATED);
    close_store(w, 0);
    mf_assert_ok(mf_store_rank_wait(w->stores[1], "world/", 4, 2, "r", 1, in_ms(w, 5000), &rank,
                                    NULL, NULL));
    mf_assert_ok(mf_store_rank_try(w->stores[1], "world/", 4, MF_RANK_AUTO, "r", 1, in_ms(w, 5000),
                                   &rank, NULL, NULL));
    assert_int_equal(rank, 0);
}

/* ---- the local back end alone -----------------------------------------------------------------
 */

struct chain {
    struct mf_store *store;
    int left;
    _Atomic int done;
};

/* Each answer submits the next request: callbacks may, and nothing is entered twice. */
static void on_link(void *arg, const struct mf_store_rsp *rsp)
{
    struct chain *chain = arg;
    if (rsp->rc == SMEM_OK && chain->left-- > 0) {
        struct mf_store_req req = {.op = MF_STORE_ADD, .key = "n", .add = 1};
        if (chain->store->ops->submit(chain->store, &req, on_link, chain) == SMEM_OK)
            return;
    }
    atomic_store(&chain->done, 1);
}

static void test_store_local__callbacks_may_submit(void **state)
{
    struct world *w = *state;
    struct chain chain = {.store = open_store(w, 0), .left = 1000};
    struct mf_store_req req = {.op = MF_STORE_ADD, .key = "n", .add = 0};
    int64_t sum;
    mf_assert_ok(chain.store->ops->submit(chain.store, &req, on_link, &chain));
    uint64_t deadline = in_ms(w, 5000);
    while (!atomic_load(&chain.done) && mf_now_ns(&w->rig.env) < deadline)
        usleep(1000);
    mf_assert_ok(mf_store_add(chain.store, "n", 0, 0, &sum));
    assert_int_equal(sum, 1000);
}

static void test_store_local__has_no_address(void **state)
{
    struct world *w = *state;
    struct mf_store *store = open_store(w, 0);
    mf_assert_rc(store->ops->set_url(store, "tcp://127.0.0.1:1", true), SMEM_INVALID_PARAM);
    mf_assert_err_has("inside this process");
}

struct reentry {
    struct mf_store *store;
    int rc;
};

static void wait_on_loop(void *arg)
{
    struct reentry *in = arg;
    in->rc = mf_store_set(in->store, "k", "v", 1, 0, 0);
}

static void test_store_sync__refuses_to_wait_on_the_loop(void **state)
{
    struct world *w = *state;
    struct reentry in = {.store = open_store(w, 0)};
    mf_assert_ok(mf_loop_call(w->rig.loop, wait_on_loop, &in));
    assert_int_equal(in.rc, SMEM_INVALID_PARAM);
}

/* ---- torture ----------------------------------------------------------------------------------
 */

static int use_store(struct rig *rig, struct mf_store *store)
{
    void *value;
    size_t len;
    uint64_t deadline = rig_in_ms(rig, 2000);
    int rc = mf_store_set(store, "k", "v", 1, MF_STORE_EPHEMERAL, deadline);
    if (rc == SMEM_OK)
        rc = mf_store_get(store, "k", 0, deadline, &value, &len);
    if (rc == SMEM_OK)
        mf_free(value);
    return rc;
}

static int tcp_without_memory(void *arg)
{
    struct rig rig;
    struct mf_store *store;
    struct mf_err_rec err;
    (void)arg;
    int rc = rig_open(&rig);
    if (rc != SMEM_OK)
        return rc;
    atomic_store(&rig.log.level, MF_LOG_FATAL);
    struct mf_store_cfg cfg = {
        .env = &rig.env, .loop = rig.loop, .session_id = 1, .session_ms = 3000, .request_ms = 2000};
    rc = mf_store_open(&cfg, mf_store_server_url(rig.server), rig_in_ms(&rig, 2000), &store);
    if (rc == SMEM_OK) {
        rc = use_store(&rig, store);
        mf_err_save(&err);
        mf_store_close(store, rig_in_ms(&rig, 1000));
        mf_err_restore(&err);
    }
    mf_err_save(&err);
    rig_close(&rig);
    mf_err_restore(&err);
    return rc;
}

static int local_without_memory(void *arg)
{
    struct rig *rig = arg;
    struct mf_store_local *local;
    struct mf_store *store;
    struct mf_err_rec err;
    struct mf_store_cfg cfg = {.env = &rig->env,
                               .loop = rig->loop,
                               .session_id = 1,
                               .session_ms = 3000,
                               .request_ms = 2000};
    int rc = mf_store_local_create(&rig->env, rig->loop, &local);
    if (rc != SMEM_OK)
        return rc;
    rc = mf_store_open_local(&cfg, local, rig_in_ms(rig, 2000), &store);
    if (rc == SMEM_OK) {
        rc = use_store(rig, store);
        mf_err_save(&err);
        mf_store_close(store, rig_in_ms(rig, 1000));
        mf_err_restore(&err);
    }
    mf_err_save(&err);
    mf_store_local_destroy(local);
    mf_err_restore(&err);
    return rc;
}

static void test_store__torture(void **state)
{
    struct world *w = *state;
    atomic_store(&w->rig.log.level, MF_LOG_FATAL);
    assert_true(mf_torture_recovers(local_without_memory, &w->rig) >= 8);
    assert_true(mf_torture_recovers(tcp_without_memory, NULL) >= 12);
}

int main(void)
{
#define BOTH(name)                                        \
    {#name " tcp", name, setup_tcp, teardown, NULL},      \
    {                                                     \
#name " local", name, setup_local, teardown, NULL \
    }
    const struct CMUnitTest tests[] = {
        BOTH(test_store_barrier__lets_nobody_through_early),
        BOTH(test_store_barrier__says_who_is_missing),
        BOTH(test_store_allgather__orders_by_rank),
        BOTH(test_store_allgather__large_contributions_go_in_pieces),
        BOTH(test_store_allgather__refuses_what_does_not_match),
        BOTH(test_store_rank_claim__auto_gives_each_its_own),
        BOTH(test_store_rank_claim__fresh_world_is_in_order_of_arrival),
        BOTH(test_store_rank_claim__wanted_rank_waits_for_its_holder),
        BOTH(test_store_rank_try__does_not_wait),
        BOTH(test_store_sync__refuses_to_wait_on_the_loop),
        BOTH(test_store_local__callbacks_may_submit),
        cmocka_unit_test_setup_teardown(test_store_local__has_no_address, setup_local, teardown),
        cmocka_unit_test_setup_teardown(test_store__torture, setup_local, teardown),
    };
#undef BOTH
    return cmocka_run_group_tests(tests, NULL, NULL);
}
