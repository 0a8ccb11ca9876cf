// SPDX-License-Identifier: Apache-2.0
// Tests of entering a world, over a store inside this process: who is first, who gives another
// size, worlds that are left and get another size, ranks that are held, and many at the same time.
#include "mf_test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/world.h"
#include "mf_torture.h"
#include "store/collective.h"
#include "store/local.h"

#define CLIENTS 8u
#define ROUNDS  200u

struct rig {
    struct mf_log log;
    struct mf_env env;
    struct mf_loop *loop;
    struct mf_store_local *local;
    struct mf_store *client[CLIENTS];
};

/* ---- helpers ------------------------------------------------------------------------------- */

static int open_client(struct rig *rig, uint32_t i)
{
    struct mf_store_cfg cfg = {.env = &rig->env,
                               .loop = rig->loop,
                               .session_id = mf_random_u64(&rig->env),
                               .session_ms = 60000,
                               .request_ms = 5000};
    return mf_store_open_local(&cfg, rig->local, mf_deadline_ns(&rig->env, 5000), &rig->client[i]);
}

static void close_client(struct rig *rig, uint32_t i)
{
    mf_store_close(rig->client[i], mf_deadline_ns(&rig->env, 5000));
    rig->client[i] = NULL;
}

static void reopen_all(struct rig *rig)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        close_client(rig, i);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        mf_assert_ok(open_client(rig, i));
    }
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    *state = rig;
    atomic_init(&rig->log.level, MF_LOG_FATAL);
    mf_env_init_real(&rig->env, &rig->log);
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

static int enter_in(struct rig *rig, uint32_t i, uint32_t rank, uint32_t size, uint64_t ms,
                    uint32_t *got, uint64_t *world_id)
{
    struct mf_world_want want = {
        .rank = rank,
        .size = size,
        .id = 100 + i,
        .identity = {.incarnation = 1000 + i, .pid = 4711 + i, .host_hint = i % 2}};
    return mf_world_enter(rig->client[i], &want, mf_deadline_ns(&rig->env, ms), got, world_id);
}

static int enter(struct rig *rig, uint32_t i, uint32_t rank, uint32_t size)
{
    uint32_t got;
    uint64_t world_id;
    int rc = enter_in(rig, i, rank, size, 5000, &got, &world_id);
    return rc == SMEM_OK && rank != MF_RANK_AUTO && got != rank ? SMEM_ERROR : rc;
}

static uint64_t requests(struct rig *rig)
{
    struct mf_store_server_status status;
    mf_store_local_get_status(rig->local, &status);
    return status.requests;
}

/* ---- tests --------------------------------------------------------------------------------- */

static void test_world_enter__the_first_lays_it_down(void **state)
{
    struct rig *rig = *state;
    uint32_t rank;
    uint64_t world_id;
    mf_assert_ok(enter_in(rig, 3, MF_RANK_AUTO, 4, 5000, &rank, &world_id));
    assert_int_equal(rank, 0);
    assert_int_equal(world_id, 103);
    assert_int_equal(requests(rig), 3);
    mf_assert_ok(enter_in(rig, 5, 2, 4, 5000, &rank, &world_id));
    assert_int_equal(rank, 2);
    assert_int_equal(world_id, 103);
    assert_int_equal(requests(rig), 5);
}

static void test_world_enter__another_size_is_refused_while_somebody_is_there(void **state)
{
    struct rig *rig = *state;
    mf_assert_ok(enter(rig, 0, 0, 4));
    mf_assert_rc(enter(rig, 1, 1, 8), SMEM_INVALID_PARAM);
    mf_assert_err_has("worldSize 8 differs from the 4");
    close_client(rig, 1); /* as whoever fails does */
    /* It says so at once where the rank that is wanted is held, or none is free. */
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    mf_assert_rc(enter(rig, 2, 0, 8), SMEM_INVALID_PARAM);
    mf_assert_err_has("worldSize 8 differs from the 4");
    mf_assert_rc(enter(rig, 3, MF_RANK_AUTO, 1), SMEM_INVALID_PARAM);
    mf_assert_err_has("worldSize 1 differs from the 4");
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_in_range(end.tv_sec - begin.tv_sec, 0, 2);
    mf_assert_ok(enter(rig, 4, 1, 4)); /* the rank of the first who failed is free */
}

static void test_world_enter__a_world_that_is_left_gets_another_size(void **state)
{
    struct rig *rig = *state;
    uint32_t rank;
    uint64_t world_id;
    mf_assert_ok(enter(rig, 0, 3, 4));
    close_client(rig, 0);
    mf_assert_ok(enter_in(rig, 1, 5, 8, 5000, &rank, &world_id));
    assert_int_equal(world_id, 101);
    mf_assert_rc(enter(rig, 2, 0, 4), SMEM_INVALID_PARAM);
    mf_assert_err_has("worldSize 4 differs from the 8");
    mf_assert_ok(enter_in(rig, 3, 6, 8, 5000, &rank, &world_id));
    assert_int_equal(world_id, 101);
}

static void test_world_enter__names_who_holds_the_rank(void **state)
{
    struct rig *rig = *state;
    uint32_t rank;
    uint64_t world_id;
    mf_assert_ok(enter(rig, 0, 1, 4));
    mf_assert_rc(enter_in(rig, 1, 1, 4, 200, &rank, &world_id), SMEM_DUPLICATED);
    mf_assert_err_has("rank 1 is held by process 4711 of another host");
    mf_assert_rc(enter_in(rig, 2, 1, 4, 200, &rank, &world_id), SMEM_DUPLICATED);
    mf_assert_err_has("rank 1 is held by process 4711 of this host");
    mf_assert_rc(enter(rig, 3, 4, 4), SMEM_INVALID_PARAM);
    mf_assert_err_has("rank 4 is not below the world's size 4");
    mf_assert_rc(enter(rig, 3, 0, 0), SMEM_INVALID_PARAM);
    mf_assert_err_has("a world of 0 ranks");
}

static void *close_later(void *arg)
{
    struct timespec pause = {0, 100000000};
    nanosleep(&pause, NULL);
    close_client(arg, 0);
    return NULL;
}

/* It got the rank, and never the answer. */
static void test_world_enter__whose_answer_was_lost_finds_its_own_claim(void **state)
{
    struct rig *rig = *state;
    uint64_t id = 0;
    uint32_t rank = UINT32_MAX;
    struct mf_world_want want = {.rank = 2, .size = 4, .id = 77, .identity = {.incarnation = 5}};
    struct mf_rec_identity record = want.identity;
    uint8_t buf[MF_RECORD_MAX];
    record.world_size = want.size;
    mf_assert_ok(mf_store_set(rig->client[0], "world/rank/2", buf,
                              mf_rec_put_identity(buf, &record), MF_STORE_EPHEMERAL,
                              mf_deadline_ns(&rig->env, 1000)));
    mf_assert_ok(
        mf_world_enter(rig->client[0], &want, mf_deadline_ns(&rig->env, 1000), &rank, &id));
    assert_int_equal(rank, 2);
    want.identity.incarnation = 6; /* another process is told who has it */
    mf_assert_rc(mf_world_enter(rig->client[1], &want, mf_deadline_ns(&rig->env, 50), &rank, &id),
                 SMEM_DUPLICATED);
}

static void test_world_enter__waits_for_the_holders_end(void **state)
{
    struct rig *rig = *state;
    pthread_t thread;
    mf_assert_ok(enter(rig, 0, 1, 4));
    assert_int_equal(pthread_create(&thread, NULL, close_later, rig), 0);
    int rc = enter(rig, 1, 1, 4);
    pthread_join(thread, NULL);
    mf_assert_ok(rc);
    mf_assert_ok(enter(rig, 2, 0, 4));
}

static void test_world_enter__what_cannot_be_read_is_refused(void **state)
{
    struct rig *rig = *state;
    mf_assert_ok(mf_store_set(rig->client[0], "world/info", "?", 1, 0, 0));
    mf_assert_rc(enter(rig, 1, 0, 4), SMEM_ERROR);
    mf_assert_err_has("world record of the store");
    close_client(rig, 1);
    mf_assert_ok(mf_store_remove(rig->client[0], "world/info", 0));
    /* A rank of another release is no reason to go on, when the size has to change. */
    mf_assert_ok(enter(rig, 2, 0, 4));
    close_client(rig, 2);
    mf_assert_ok(mf_store_set(rig->client[0], "world/rank/3", "?", 1, MF_STORE_EPHEMERAL, 0));
    mf_assert_rc(enter(rig, 3, 0, 8), SMEM_INVALID_PARAM);
    mf_assert_err_has("worldSize 8 differs from the 4");
}

/* ---- at the same time ---------------------------------------------------------------------- */

struct starter {
    struct rig *rig;
    uint32_t i, size;
    uint64_t world_id;
    int rc;
};

static void *start(void *arg)
{
    struct starter *s = arg;
    uint32_t rank;
    s->rc = enter_in(s->rig, s->i, s->i, s->size, 5000, &rank, &s->world_id);
    return NULL;
}

static void start_all(struct rig *rig, struct starter *s, uint32_t count, uint32_t size,
                      uint32_t odd_size)
{
    pthread_t threads[CLIENTS];
    for (uint32_t i = 0; i < count; i++) {
        s[i] = (struct starter){.rig = rig, .i = i, .size = i % 2 ? odd_size : size};
        assert_int_equal(pthread_create(&threads[i], NULL, start, &s[i]), 0);
    }
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* All ranks of a job that was started again with another size come together. */
static void test_world_enter__many_give_a_new_size_together(void **state)
{
    struct rig *rig = *state;
    struct starter s[CLIENTS];
    for (uint32_t round = 0; round < ROUNDS; round++) {
        start_all(rig, s, CLIENTS, 100 + round, 100 + round);
        for (uint32_t i = 0; i < CLIENTS; i++) {
            assert_int_equal(s[i].rc, SMEM_OK);
            assert_true(s[i].world_id == s[0].world_id);
        }
        reopen_all(rig);
    }
}

/* Two sizes at the same time, in a world of a third one: never do both get in. */
static void test_world_enter__two_sizes_never_get_in_together(void **state)
{
    struct rig *rig = *state;
    struct starter s[2];
    uint32_t alone = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t size = 16 + 3 * round;
        mf_assert_ok(enter(rig, 7, 7, size + 2));
        close_client(rig, 7);
        mf_assert_ok(open_client(rig, 7));
        start_all(rig, s, 2, size, size + 1);
        assert_false(s[0].rc == SMEM_OK && s[1].rc == SMEM_OK);
        for (uint32_t i = 0; i < 2; i++) {
            assert_true(s[i].rc == SMEM_OK || s[i].rc == SMEM_INVALID_PARAM);
            alone += s[i].rc == SMEM_OK;
        }
        reopen_all(rig);
    }
    print_message("one of two got in in %u of %u rounds\n", alone, ROUNDS);
}

/* ---- without memory ------------------------------------------------------------------------ */

static int enter_without_memory(void *arg)
{
    struct rig *rig = arg;
    struct mf_err_rec err;
    uint32_t rank;
    uint64_t world_id;
    int rc = open_client(rig, 0);
    if (rc != SMEM_OK) {
        return rc;
    }
    rc = enter_in(rig, 0, MF_RANK_AUTO, 3, 5000, &rank, &world_id);
    mf_err_save(&err);
    close_client(rig, 0);
    mf_err_restore(&err);
    return rc;
}

static void test_world_enter__torture(void **state)
{
    struct rig *rig = *state;
    mf_assert_ok(enter(rig, 1, 0, 2)); /* so that the size has to be replaced, and keys are there */
    mf_assert_ok(mf_store_set(rig->client[1], "world/next", "0", 1, 0, 0));
    close_client(rig, 1);
    close_client(rig, 0);
    assert_true(mf_torture_recovers(enter_without_memory, rig) >= 8);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_world_enter__the_first_lays_it_down),
        T(test_world_enter__another_size_is_refused_while_somebody_is_there),
        T(test_world_enter__a_world_that_is_left_gets_another_size),
        T(test_world_enter__names_who_holds_the_rank),
        T(test_world_enter__whose_answer_was_lost_finds_its_own_claim),
        T(test_world_enter__waits_for_the_holders_end),
        T(test_world_enter__what_cannot_be_read_is_refused),
        T(test_world_enter__many_give_a_new_size_together),
        T(test_world_enter__two_sizes_never_get_in_together),
        T(test_world_enter__torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
