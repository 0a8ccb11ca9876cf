// SPDX-License-Identifier: Apache-2.0
// Tests of the teller of group events: order, once for each change, what cancels out, handlers that
// are replaced and taken away while one of them runs, and the end.
#include "mf_test.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "core/pool_notify.h"
#include "mf_torture.h"

#define WORLD 8u
#define SEEN  4096u

struct rig {
    struct mf_env env;
    struct mf_notify notify;
    _Atomic uint32_t count;  /* of what the handler was told */
    int told[SEEN];          /* rank + 1, negative for a leave */
    _Atomic uint32_t hold;   /* the handler waits while it is not 0 */
    _Atomic uint32_t inside; /* handlers that run */
    bool take_away;          /* the handler unregisters itself */
    _Atomic int rc;          /* of what the handler called */
};

static void sleep_us(long us)
{
    struct timespec span = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&span, NULL);
}

static void run(const struct mf_notify_handler *handler, uint32_t rank, bool joined)
{
    struct rig *rig = handler->context;
    atomic_fetch_add(&rig->inside, 1);
    uint32_t at = atomic_load(&rig->count);
    rig->told[at % SEEN] = joined ? (int)rank + 1 : -(int)rank - 1;
    atomic_store(&rig->count, at + 1);
    if (rig->take_away) {
        int rc = mf_notify_set(&rig->notify, NULL);
        atomic_store(&rig->rc, rc != 0 ? rc : mf_notify_settle(&rig->notify, UINT64_MAX));
    }
    while (atomic_load(&rig->hold) != 0) {
        sleep_us(100);
    }
    atomic_fetch_sub(&rig->inside, 1);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    *state = rig;
    mf_env_init_real(&rig->env, NULL);
    mf_notify_init(&rig->notify, &rig->env, WORLD);
    return rig == NULL;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    int rc = mf_notify_stop(&rig->notify, mf_deadline_ns(&rig->env, 5000));
    mf_notify_fini(&rig->notify);
    free(rig);
    return rc;
}

static void set_handler(struct rig *rig)
{
    struct mf_notify_handler handler = {.run = run, .context = rig};
    mf_assert_ok(mf_notify_set(&rig->notify, &handler));
}

static void await_count(struct rig *rig, uint32_t count)
{
    for (int i = 0; i < 50000 && atomic_load(&rig->count) < count; i++) {
        sleep_us(100);
    }
    assert_int_equal(atomic_load(&rig->count), count);
}

/* Nothing more comes. */
static void stays_at(struct rig *rig, uint32_t count)
{
    sleep_us(5000);
    assert_int_equal(atomic_load(&rig->count), count);
}

static void test_notify__tells_in_order_and_once(void **state)
{
    static const int want[] = {3, 1, -3, 3, -3, 3, -1};
    struct rig *rig = *state;
    set_handler(rig);
    mf_notify_rank(&rig->notify, 2, 10);
    mf_notify_rank(&rig->notify, 2, 10); /* no news */
    await_count(rig, 1);
    mf_notify_rank(&rig->notify, 0, 11);
    await_count(rig, 2);
    mf_notify_rank(&rig->notify, 2, 0);
    mf_notify_rank(&rig->notify, 2, 0);
    await_count(rig, 3);
    mf_notify_rank(&rig->notify, 2, 12);
    await_count(rig, 4);
    mf_notify_rank(&rig->notify, 2, 13); /* another stay at once: a leave, then a join */
    await_count(rig, 6);
    mf_notify_rank(&rig->notify, 0, 0);
    await_count(rig, 7);
    assert_memory_equal(rig->told, want, sizeof(want));
    stays_at(rig, 7);
}

static void test_notify__without_handler_keeps_nothing(void **state)
{
    struct rig *rig = *state;
    mf_notify_rank(&rig->notify, 2, 10);
    assert_false(rig->notify.started);
    set_handler(rig);
    stays_at(rig, 0);
    mf_notify_rank(&rig->notify, WORLD, 10); /* beyond the world */
    mf_notify_rank(&rig->notify, WORLD - 1, 10);
    await_count(rig, 1);
    assert_int_equal(rig->told[0], WORLD);
}

static void test_notify__what_cancels_out_is_not_told(void **state)
{
    struct rig *rig = *state;
    atomic_store(&rig->hold, 1);
    set_handler(rig);
    mf_notify_rank(&rig->notify, 0, 1);
    await_count(rig, 1); /* and is held */
    mf_notify_rank(&rig->notify, 1, 2);
    mf_notify_rank(&rig->notify, 1, 0); /* was never told of */
    mf_notify_rank(&rig->notify, 2, 3);
    mf_notify_rank(&rig->notify, 0, 0);
    mf_notify_rank(&rig->notify, 0, 4); /* left and came back: both are told */
    for (uint64_t stay = 5; stay < 1000; stay++) {
        mf_notify_rank(&rig->notify, 0, stay); /* of the stays between nobody hears */
        mf_notify_rank(&rig->notify, 3, stay % 2);
    }
    mf_notify_rank(&rig->notify, 3, 0);
    atomic_store(&rig->hold, 0);
    await_count(rig, 4);
    stays_at(rig, 4);
    static const int want[] = {1, 3, -1, 1};
    assert_memory_equal(rig->told, want, sizeof(want));
}

static void test_notify_set__forgets_what_the_old_one_was_not_told(void **state)
{
    struct rig *rig = *state;
    struct rig *other = calloc(1, sizeof(*other));
    struct mf_notify_handler handler = {.run = run, .context = other};
    atomic_store(&rig->hold, 1);
    set_handler(rig);
    mf_notify_rank(&rig->notify, 0, 1);
    await_count(rig, 1);
    mf_notify_rank(&rig->notify, 1, 1);
    mf_assert_ok(mf_notify_set(&rig->notify, &handler));
    mf_notify_rank(&rig->notify, 4, 1); /* what the new one is told is there */
    mf_assert_rc(mf_notify_settle(&rig->notify, mf_deadline_ns(&rig->env, 20)), SMEM_RES_IN_USE);
    mf_assert_err_has("still runs");
    assert_int_equal(atomic_load(&other->count), 0); /* never two at once */
    atomic_store(&rig->hold, 0);
    mf_assert_ok(mf_notify_settle(&rig->notify, mf_deadline_ns(&rig->env, 5000)));
    assert_int_equal(atomic_load(&rig->inside), 0);
    await_count(other, 1);
    assert_int_equal(other->told[0], 5);
    stays_at(rig, 1);
    mf_assert_ok(mf_notify_set(&rig->notify, NULL));
    mf_assert_ok(mf_notify_settle(&rig->notify, mf_deadline_ns(&rig->env, 5000)));
    mf_notify_rank(&rig->notify, 4, 0);
    stays_at(other, 1);
    free(other);
}

static void test_notify_set__none_by_the_handler_itself(void **state)
{
    struct rig *rig = *state;
    rig->take_away = true;
    atomic_store(&rig->rc, 1);
    set_handler(rig);
    mf_notify_rank(&rig->notify, 0, 1);
    mf_notify_rank(&rig->notify, 1, 1);
    for (int i = 0; i < 50000 && atomic_load(&rig->rc) == 1; i++) {
        sleep_us(100);
    }
    assert_int_equal(atomic_load(&rig->rc), SMEM_OK);
    stays_at(rig, 1);
}

static void test_notify_stop__waits_for_the_handler_until_the_deadline(void **state)
{
    struct rig *rig = *state;
    struct mf_notify_handler handler = {.run = run, .context = rig};
    atomic_store(&rig->hold, 1);
    set_handler(rig);
    mf_notify_rank(&rig->notify, 0, 1);
    mf_notify_rank(&rig->notify, 1, 1);
    await_count(rig, 1);
    mf_assert_rc(mf_notify_stop(&rig->notify, mf_deadline_ns(&rig->env, 20)), SMEM_RES_IN_USE);
    mf_assert_err_has("has not returned");
    mf_assert_rc(mf_notify_set(&rig->notify, &handler), SMEM_NOT_EXIST);
    atomic_store(&rig->hold, 0);
    mf_assert_ok(mf_notify_stop(&rig->notify, mf_deadline_ns(&rig->env, 5000)));
    assert_int_equal(atomic_load(&rig->inside), 0);
    stays_at(rig, 1); /* what had not been told is not told any more */
    mf_assert_ok(mf_notify_stop(&rig->notify, 0));
}

/* A life of its own. */
static int set_once(void *arg)
{
    struct rig *rig = arg;
    struct mf_notify_handler handler = {.run = run, .context = rig};
    struct mf_notify notify;
    mf_notify_init(&notify, &rig->env, WORLD);
    int rc = mf_notify_set(&notify, &handler);
    mf_notify_rank(&notify, 0, 1);
    int stopped = mf_notify_stop(&notify, mf_deadline_ns(&rig->env, 5000));
    mf_notify_fini(&notify);
    return rc != SMEM_OK ? rc : stopped;
}

static void test_notify_set__without_memory_leaves_all_as_it_was(void **state)
{
    assert_true(mf_torture(set_once, *state) >= 1);
}

/* Whatever happens while the handler is busy, in the end it knows what is there, and what it was
 * told makes sense: of each rank a join and a leave in turn. */
static void test_notify__random_changes_end_in_what_there_is(void **state)
{
    struct rig *rig = *state;
    uint64_t stay[WORLD] = {0}, number = 0, seed = 7;
    bool known[WORLD] = {false};
    set_handler(rig);
    for (uint32_t i = 0; i < 20000; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        uint32_t rank = (uint32_t)(seed >> 33) % WORLD;
        stay[rank] = (seed >> 40) % 2 ? ++number : 0;
        mf_notify_rank(&rig->notify, rank, stay[rank]);
        if (i % 64 == 0) {
            sleep_us(100);
        }
        if (atomic_load(&rig->count) > SEEN / 2) {
            break;
        }
    }
    uint32_t count = 0;
    for (int i = 0; i < 100 || atomic_load(&rig->count) != count; i++) {
        count = atomic_load(&rig->count);
        sleep_us(200);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t rank = (uint32_t)abs(rig->told[i]) - 1;
        assert_true(known[rank] != (rig->told[i] > 0));
        known[rank] = rig->told[i] > 0;
    }
    for (uint32_t rank = 0; rank < WORLD; rank++) {
        assert_true(known[rank] == (stay[rank] != 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_notify__tells_in_order_and_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify__without_handler_keeps_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_notify__what_cancels_out_is_not_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify_set__forgets_what_the_old_one_was_not_told,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify_set__none_by_the_handler_itself, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_notify_stop__waits_for_the_handler_until_the_deadline,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_notify_set__without_memory_leaves_all_as_it_was, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_notify__random_changes_end_in_what_there_is, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
