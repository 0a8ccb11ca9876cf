// SPDX-License-Identifier: Apache-2.0
// Tests of the registry of copying threads: entries, and the wait for calls that are under way. The
// lanes of an entry are counted here in place of the real ones.
#include "mf_test.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "core/threads.h"
#include "mf_torture.h"

#define READERS 4

static int
    lanes_open; /* by this thread alone: the registry makes and ends lanes where it is called */

void mf_lanes_init(struct mf_lanes *lanes)
{
    memset(lanes, 0, sizeof(*lanes));
    lanes_open++;
}

void mf_lanes_fini(struct mf_lanes *lanes)
{
    memset(lanes, 0xee, sizeof(*lanes));
    lanes_open--;
}

struct rig {
    struct mf_log log;
    struct mf_env env;
    struct mf_threads threads;
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    *state = rig;
    lanes_open = 0;
    atomic_init(&rig->log.level, MF_LOG_ERROR);
    mf_env_init_real(&rig->env, &rig->log);
    return mf_threads_init(&rig->threads, &rig->env);
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    mf_threads_fini(&rig->threads);
    int left = lanes_open;
    free(rig);
    return left;
}

static void sleep_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static uint64_t in_ms(struct rig *rig, uint64_t ms)
{
    return mf_deadline_ns(&rig->env, ms);
}

/* ---- entries ------------------------------------------------------------------------------- */

static void test_threads_take__gives_an_entry_again(void **state)
{
    struct rig *rig = *state;
    struct mf_thread *a, *b, *c;
    mf_assert_ok(mf_threads_take(&rig->threads, &a));
    mf_assert_ok(mf_threads_take(&rig->threads, &b));
    assert_ptr_not_equal(a, b);
    assert_int_equal((uintptr_t)a % 128, 0);
    mf_threads_give(&rig->threads, a);
    mf_assert_ok(mf_threads_take(&rig->threads, &c));
    assert_ptr_equal(a, c);
    assert_int_equal(lanes_open, 2);
}

static void test_threads_take__has_a_limit_and_says_it(void **state)
{
    struct rig *rig = *state;
    struct mf_thread *v[MF_THREADS_MAX], *more;
    for (uint32_t i = 0; i < MF_THREADS_MAX; i++) {
        mf_assert_ok(mf_threads_take(&rig->threads, &v[i]));
    }
    mf_assert_rc(mf_threads_take(&rig->threads, &more), SMEM_NO_RESOURCES);
    mf_assert_err_has("512 threads");
    assert_null(more);
    mf_threads_give(&rig->threads, v[100]);
    mf_assert_ok(mf_threads_take(&rig->threads, &more));
    assert_ptr_equal(more, v[100]);
}

static void test_threads_close_lanes__of_one_context_only(void **state)
{
    struct rig *rig = *state;
    struct mf_thread *a, *b;
    mf_assert_ok(mf_threads_take(&rig->threads, &a));
    mf_assert_ok(mf_threads_take(&rig->threads, &b));
    a->lanes_of = 1;
    a->lanes.count = 3;
    b->lanes_of = 2;
    b->lanes.count = 4;
    mf_threads_close_lanes(&rig->threads, 1);
    assert_true(a->lanes_of == 0);
    assert_int_equal(a->lanes.count, 0);
    assert_true(b->lanes_of == 2);
    assert_int_equal(b->lanes.count, 4);
    assert_int_equal(lanes_open, 2);
}

static int take_and_end(void *arg)
{
    struct rig *rig = arg;
    struct mf_threads threads;
    struct mf_thread *thread;
    int rc = mf_threads_init(&threads, &rig->env);
    if (rc == SMEM_OK) {
        rc = mf_threads_take(&threads, &thread);
        mf_threads_fini(&threads);
    }
    return rc;
}

static void test_threads_take__survives_no_memory(void **state)
{
    assert_int_equal(mf_torture(take_and_end, *state), 1);
    assert_int_equal(lanes_open, 0);
}

/* ---- quiesce ------------------------------------------------------------------------------- */

static void test_threads_quiesce__at_once_when_nobody_is_inside(void **state)
{
    struct rig *rig = *state;
    struct mf_thread *thread;
    mf_assert_ok(mf_threads_quiesce(&rig->threads, 1)); /* the deadline does not matter */
    mf_assert_ok(mf_threads_take(&rig->threads, &thread));
    for (int i = 0; i < 3; i++) {
        mf_thread_enter(&rig->threads, thread);
        mf_thread_leave(thread);
        mf_assert_ok(mf_threads_quiesce(&rig->threads, 1));
    }
}

static void test_threads_quiesce__refuses_a_caller_inside(void **state)
{
    struct rig *rig = *state;
    struct mf_thread *thread;
    mf_assert_ok(mf_threads_take(&rig->threads, &thread));
    mf_thread_enter(&rig->threads, thread);
    uint64_t before = mf_now_ns(&rig->env);
    mf_assert_rc(mf_threads_quiesce(&rig->threads, in_ms(rig, 5000)), SMEM_TIMEOUT);
    mf_assert_err_has("cannot wait for itself");
    assert_in_range(mf_now_ns(&rig->env) - before, 0, 1000 * MF_NS_PER_MS);
    mf_thread_leave(thread);
    mf_assert_ok(mf_threads_quiesce(&rig->threads, in_ms(rig, 5000)));
}

/* Another thread that is inside a call until it is told to go. */
struct insider {
    struct rig *rig;
    pthread_t thread;
    int rc;
    _Atomic bool inside, go, again;
};

static void *stay_inside(void *arg)
{
    struct insider *in = arg;
    struct mf_thread *thread = NULL;
    in->rc = mf_threads_take(&in->rig->threads, &thread);
    if (in->rc != SMEM_OK) {
        atomic_store(&in->inside, true);
        return NULL;
    }
    mf_thread_enter(&in->rig->threads, thread);
    atomic_store(&in->inside, true);
    while (!atomic_load(&in->go)) {
        sleep_ms(1);
        if (atomic_load(&in->again)) { /* out and in again: a call that began later */
            mf_thread_leave(thread);
            mf_thread_enter(&in->rig->threads, thread);
        }
    }
    mf_thread_leave(thread);
    mf_threads_give(&in->rig->threads, thread);
    return NULL;
}

static void start_insider(struct rig *rig, struct insider *in)
{
    *in = (struct insider){.rig = rig};
    assert_int_equal(pthread_create(&in->thread, NULL, stay_inside, in), 0);
    while (!atomic_load(&in->inside)) {
        sleep_ms(1);
    }
    mf_assert_ok(in->rc);
}

static void stop_insider(struct insider *in)
{
    atomic_store(&in->go, true);
    pthread_join(in->thread, NULL);
}

static void test_threads_quiesce__ends_at_its_deadline(void **state)
{
    struct rig *rig = *state;
    struct insider in;
    start_insider(rig, &in);
    uint64_t before = mf_now_ns(&rig->env);
    int rc = mf_threads_quiesce(&rig->threads, in_ms(rig, 50));
    uint64_t took = mf_now_ns(&rig->env) - before;
    stop_insider(&in);
    mf_assert_rc(rc, SMEM_TIMEOUT);
    mf_assert_err_has("has not ended");
    assert_in_range(took, 50 * MF_NS_PER_MS, 3000 * MF_NS_PER_MS);
    mf_assert_ok(mf_threads_quiesce(&rig->threads, in_ms(rig, 5000)));
}

static void test_threads_quiesce__does_not_wait_for_later_calls(void **state)
{
    struct rig *rig = *state;
    struct insider in;
    start_insider(rig, &in);
    atomic_store(&in.again, true);
    int rc = mf_threads_quiesce(&rig->threads, in_ms(rig, 5000));
    stop_insider(&in);
    mf_assert_ok(rc);
}

/* ---- what it is for: take out, quiesce, use again ------------------------------------------ */

struct thing {
    uint64_t a, b; /* equal while it may be read */
};

struct readers {
    struct rig *rig;
    _Atomic(struct thing *) current;
    _Atomic bool stop;
    _Atomic uint64_t reads, torn, failed;
};

static void *read_always(void *arg)
{
    struct readers *r = arg;
    struct mf_thread *thread = NULL;
    if (mf_threads_take(&r->rig->threads, &thread) != SMEM_OK) {
        atomic_fetch_add(&r->failed, 1);
        return NULL;
    }
    for (uint64_t n = 0; !atomic_load_explicit(&r->stop, memory_order_relaxed); n++) {
        mf_thread_enter(&r->rig->threads, thread);
        const struct thing *t = atomic_load_explicit(&r->current, memory_order_acquire);
        uint64_t a = t->a;
        if (n % 64 == 0) {
            sched_yield(); /* be caught inside */
        }
        if (t->b != a) {
            atomic_fetch_add(&r->torn, 1);
        }
        mf_thread_leave(thread);
        atomic_fetch_add_explicit(&r->reads, 1, memory_order_relaxed);
        if (n % 1000 == 999) { /* entries change hands */
            mf_threads_give(&r->rig->threads, thread);
            if (mf_threads_take(&r->rig->threads, &thread) != SMEM_OK) {
                atomic_fetch_add(&r->failed, 1);
                return NULL;
            }
        }
    }
    mf_threads_give(&r->rig->threads, thread);
    return NULL;
}

/* Two things take turns: the one that is out is written with plain stores, which a reader that
 * still held it would see half done (and a thread sanitizer as a race). */
static void run_turns(struct rig *rig)
{
    pthread_t thread[READERS];
    struct thing things[2] = {{0, 0}, {0, 0}};
    struct readers r = {.rig = rig};
    int rc = SMEM_OK;
    uint64_t turns = 0, end = in_ms(rig, 400);
    atomic_store(&r.current, &things[0]);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, read_always, &r), 0);
    }
    while (rc == SMEM_OK && mf_now_ns(&rig->env) < end) {
        struct thing *in = &things[++turns % 2];
        struct thing *out = &things[(turns + 1) % 2];
        atomic_store_explicit(&r.current, in, memory_order_release);
        rc = mf_threads_quiesce(&rig->threads, in_ms(rig, 5000));
        out->a = turns;
        out->b = turns;
    }
    atomic_store(&r.stop, true);
    for (int i = 0; i < READERS; i++) {
        pthread_join(thread[i], NULL);
    }
    mf_assert_ok(rc);
    assert_true(turns > 10);
    assert_true(atomic_load(&r.reads) > 100);
    assert_true(atomic_load(&r.torn) == 0);
    assert_true(atomic_load(&r.failed) == 0);
}

static void test_threads_quiesce__nobody_holds_what_was_taken_out(void **state)
{
    run_turns(*state);
}

static void test_threads_quiesce__holds_without_membarrier(void **state)
{
    struct rig *rig = *state;
    rig->threads.fenced = true; /* as where the system has none */
    run_turns(rig);
}

#define with_rig(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_rig(test_threads_take__gives_an_entry_again),
        with_rig(test_threads_take__has_a_limit_and_says_it),
        with_rig(test_threads_close_lanes__of_one_context_only),
        with_rig(test_threads_take__survives_no_memory),
        with_rig(test_threads_quiesce__at_once_when_nobody_is_inside),
        with_rig(test_threads_quiesce__refuses_a_caller_inside),
        with_rig(test_threads_quiesce__ends_at_its_deadline),
        with_rig(test_threads_quiesce__does_not_wait_for_later_calls),
        with_rig(test_threads_quiesce__nobody_holds_what_was_taken_out),
        with_rig(test_threads_quiesce__holds_without_membarrier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
