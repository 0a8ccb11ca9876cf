// SPDX-License-Identifier: Apache-2.0
// Tests of the loop thread: order of posted work, calls, what destroy still runs, timers and
// descriptors beside posted work, allocation failures.
#include "base/loop.h"

#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mf_test.h"
#include "mf_torture.h"

#define POSTERS 4
#define POSTS   2000

/** A loop and what the work on it leaves behind. Only the loop's thread writes the plain members,
 * which are read after destroy or in a call. */
struct fixture {
    struct mf_env env;
    struct mf_loop *loop;
    int order[16];
    int count;
    bool on_loop;
    int next_of[POSTERS];
    int out_of_order;
};

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof(*f));
    mf_env_init_real(&f->env, NULL);
    mf_assert_ok(mf_loop_create(&f->env, "test-loop", &f->loop));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    mf_loop_destroy(f->loop);
    test_free(f);
    return 0;
}

static void destroy_now(struct fixture *f)
{
    mf_loop_destroy(f->loop);
    f->loop = NULL;
}

/** One numbered piece of work. */
struct step {
    struct fixture *f;
    int number;
};

static void note_step(void *arg)
{
    const struct step *step = arg;
    step->f->order[step->f->count++] = step->number;
}

static void test_loop_post__runs_in_order(void **state)
{
    struct fixture *f = *state;
    struct step steps[16];
    for (int i = 0; i < 16; i++) {
        steps[i] = (struct step){f, i};
        mf_assert_ok(mf_loop_post(f->loop, note_step, &steps[i]));
    }
    destroy_now(f);
    assert_int_equal(f->count, 16);
    for (int i = 0; i < 16; i++) {
        assert_int_equal(f->order[i], i);
    }
}

static void note_current(void *arg)
{
    struct fixture *f = arg;
    f->on_loop = mf_loop_is_current(f->loop);
}

static void test_loop_call__runs_on_the_loop_and_waits(void **state)
{
    struct fixture *f = *state;
    assert_false(mf_loop_is_current(f->loop));
    mf_assert_ok(mf_loop_call(f->loop, note_current, f));
    assert_true(f->on_loop);
}

static void test_loop_call__comes_after_what_was_posted(void **state)
{
    struct fixture *f = *state;
    struct step first = {f, 1};
    struct step second = {f, 2};
    mf_assert_ok(mf_loop_post(f->loop, note_step, &first));
    mf_assert_ok(mf_loop_call(f->loop, note_step, &second));
    assert_int_equal(f->count, 2);
    assert_int_equal(f->order[0], 1);
    assert_int_equal(f->order[1], 2);
}

static void call_from_inside(void *arg)
{
    struct fixture *f = arg;
    struct step inner = {f, 7};
    mf_loop_call(f->loop, note_step, &inner);
    f->on_loop = f->count == 1; /* it ran at once */
}

static void test_loop_call__from_the_loop_runs_at_once(void **state)
{
    struct fixture *f = *state;
    mf_assert_ok(mf_loop_call(f->loop, call_from_inside, f));
    assert_true(f->on_loop);
    assert_int_equal(f->order[0], 7);
}

static void test_loop_call__needs_no_memory(void **state)
{
    struct fixture *f = *state;
    mf_torture_arm(1);
    int rc = mf_loop_call(f->loop, note_current, f);
    assert_int_equal(mf_torture_disarm(), 0);
    mf_assert_ok(rc);
    assert_true(f->on_loop);
}

static void test_loop_post__without_memory_never_runs(void **state)
{
    struct fixture *f = *state;
    struct step step = {f, 1};
    mf_torture_arm(1);
    int rc = mf_loop_post(f->loop, note_step, &step);
    assert_int_equal(mf_torture_disarm(), 1);
    mf_assert_rc(rc, SMEM_MALLOC_FAILED);
    destroy_now(f);
    assert_int_equal(f->count, 0);
}

/** A chain: each link posts the next one. */
struct chain {
    struct fixture *f;
    int left;
};

static void post_next(void *arg)
{
    struct chain *chain = arg;
    chain->f->count++;
    if (--chain->left > 0) {
        mf_loop_post(chain->f->loop, post_next, chain);
    }
}

static void test_loop_destroy__runs_what_posted_work_posts(void **state)
{
    struct fixture *f = *state;
    struct chain chain = {f, 100};
    mf_assert_ok(mf_loop_post(f->loop, post_next, &chain));
    mf_loop_destroy(f->loop); /* f->loop is still read by the chain */
    f->loop = NULL;
    assert_int_equal(f->count, 100);
}

/** One of several threads that post; `numbers` are its messages. */
struct poster {
    struct fixture *f;
    int id;
    struct message {
        struct poster *from;
        int number;
    } messages[POSTS];
};

static void check_order(void *arg)
{
    const struct message *message = arg;
    struct fixture *f = message->from->f;
    f->out_of_order += f->next_of[message->from->id] != message->number;
    f->next_of[message->from->id] = message->number + 1;
}

static void *post_all(void *arg)
{
    struct poster *poster = arg;
    for (int i = 0; i < POSTS; i++) {
        poster->messages[i] = (struct message){poster, i};
        int rc = i % 10 == 9 ? mf_loop_call(poster->f->loop, check_order, &poster->messages[i])
                             : mf_loop_post(poster->f->loop, check_order, &poster->messages[i]);
        if (rc) {
            return poster;
        }
    }
    return NULL;
}

static void test_loop_post__keeps_the_order_of_each_thread(void **state)
{
    struct fixture *f = *state;
    struct poster *posters = test_calloc(POSTERS, sizeof(*posters));
    pthread_t threads[POSTERS];
    for (int i = 0; i < POSTERS; i++) {
        posters[i].f = f;
        posters[i].id = i;
        assert_int_equal(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
    }
    for (int i = 0; i < POSTERS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    destroy_now(f);
    assert_int_equal(f->out_of_order, 0);
    for (int i = 0; i < POSTERS; i++) {
        assert_int_equal(f->next_of[i], POSTS);
    }
    test_free(posters);
}

/** Work that posts itself until a descriptor's event has run: the loop must serve both. */
struct starve {
    struct fixture *f;
    int fds[2];
    struct event *event;
    bool event_ran;
    long rounds;
    _Atomic bool finished;
};

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct starve *starve = arg;
    starve->event_ran = true;
}

static void repost(void *arg)
{
    struct starve *starve = arg;
    if (starve->event_ran || ++starve->rounds > 1000000) {
        event_free(starve->event);
        atomic_store(&starve->finished, true);
        return;
    }
    mf_loop_post(starve->f->loop, repost, starve);
}

static void add_event(void *arg)
{
    struct starve *starve = arg;
    starve->event =
        event_new(mf_loop_base(starve->f->loop), starve->fds[0], EV_READ, on_readable, starve);
    event_add(starve->event, NULL);
    repost(starve);
}

static void test_loop__serves_descriptors_between_posted_work(void **state)
{
    struct fixture *f = *state;
    struct starve starve = {.f = f};
    assert_int_equal(pipe2(starve.fds, O_CLOEXEC), 0);
    assert_int_equal(write(starve.fds[1], "x", 1), 1);
    mf_assert_ok(mf_loop_post(f->loop, add_event, &starve));
    while (!atomic_load(&starve.finished)) {
        usleep(1000);
    }
    destroy_now(f);
    assert_true(starve.event_ran);
    close(starve.fds[0]);
    close(starve.fds[1]);
}

/** A timer of the loop. */
struct timer {
    struct fixture *f;
    struct event *event;
    uint64_t fired_ns;
    _Atomic bool fired;
};

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct timer *timer = arg;
    timer->fired_ns = mf_now_ns(&timer->f->env);
    atomic_store(&timer->fired, true);
    event_free(timer->event);
}

static void add_timer(void *arg)
{
    struct timer *timer = arg;
    struct timeval after = {.tv_usec = 20000};
    timer->event = evtimer_new(mf_loop_base(timer->f->loop), on_timer, timer);
    evtimer_add(timer->event, &after);
}

static void test_loop__runs_timers(void **state)
{
    struct fixture *f = *state;
    struct timer timer = {.f = f};
    uint64_t start_ns = mf_now_ns(&f->env);
    mf_assert_ok(mf_loop_call(f->loop, add_timer, &timer));
    while (!atomic_load(&timer.fired)) {
        usleep(1000);
    }
    destroy_now(f);
    /* The loop's clock ticks coarsely, in up to 10 ms. */
    assert_true(timer.fired_ns - start_ns >= 10 * MF_NS_PER_MS);
}

static void read_name(void *arg)
{
    pthread_getname_np(pthread_self(), arg, 16);
}

/* A timer that starts itself again, and how often its thread went to sleep meanwhile. */
struct ticks {
    struct fixture *f;
    struct event *timer;
    _Atomic int left;
    long before, slept;
};

#define TICKS 25

static long sleeps_of_this_thread(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_THREAD, &usage), 0);
    return usage.ru_nvcsw;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct ticks *ticks = arg;
    struct timeval soon = {0, 21300};
    (void)fd;
    (void)what;
    ticks->before = ticks->before == 0 ? sleeps_of_this_thread() : ticks->before;
    ticks->slept = sleeps_of_this_thread() - ticks->before;
    if (atomic_fetch_sub(&ticks->left, 1) > 1) {
        event_add(ticks->timer, &soon);
    }
}

static void start_ticks(void *arg)
{
    struct ticks *ticks = arg;
    ticks->timer = evtimer_new(mf_loop_base(ticks->f->loop), on_tick, ticks);
    on_tick(-1, 0, ticks);
}

static void end_ticks(void *arg)
{
    event_free(((struct ticks *)arg)->timer);
}

/* A clock that moves in steps of 4 ms wakes it early half of the time, only to sleep again. */
static void test_loop__a_timer_wakes_once(void **state)
{
    struct fixture *f = *state;
    struct ticks ticks = {.f = f, .left = TICKS};
    mf_assert_ok(mf_loop_call(f->loop, start_ticks, &ticks));
    while (atomic_load(&ticks.left) > 0) {
        usleep(5000);
    }
    mf_assert_ok(mf_loop_call(f->loop, end_ticks, &ticks));
    assert_in_range(ticks.slept, 1, TICKS + 3);
}

static void test_loop_create__names_the_thread(void **state)
{
    struct fixture *f = *state;
    char name[16];
    mf_assert_ok(mf_loop_call(f->loop, read_name, name));
    assert_string_equal(name, "test-loop");
}

static int count_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static void test_loop_destroy__closes_its_descriptors(void **state)
{
    struct fixture *f = *state;
    destroy_now(f);
    int before = count_fds();
    for (int i = 0; i < 5; i++) {
        mf_assert_ok(mf_loop_create(&f->env, "again", &f->loop));
        assert_true(count_fds() > before);
        destroy_now(f);
        assert_int_equal(count_fds(), before);
    }
    mf_loop_destroy(NULL);
}

static void do_nothing(void *arg)
{
    (void)arg;
}

static int use_a_loop(void *arg)
{
    struct fixture *f = arg;
    struct mf_loop *loop;
    int rc = mf_loop_create(&f->env, "torture", &loop);
    if (rc) {
        return rc;
    }
    rc = mf_loop_post(loop, do_nothing, NULL);
    mf_loop_destroy(loop);
    return rc;
}

static void test_loop__survives_failing_allocations(void **state)
{
    struct fixture *f = *state;
    int before = count_fds();
    assert_int_equal(mf_torture(use_a_loop, f), 2);
    assert_int_equal(count_fds(), before);
}

int main(void)
{
#define LOOP_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_loop_post__runs_in_order),
        LOOP_TEST(test_loop_call__runs_on_the_loop_and_waits),
        LOOP_TEST(test_loop_call__comes_after_what_was_posted),
        LOOP_TEST(test_loop_call__from_the_loop_runs_at_once),
        LOOP_TEST(test_loop_call__needs_no_memory),
        LOOP_TEST(test_loop_post__without_memory_never_runs),
        LOOP_TEST(test_loop_destroy__runs_what_posted_work_posts),
        LOOP_TEST(test_loop_post__keeps_the_order_of_each_thread),
        LOOP_TEST(test_loop__serves_descriptors_between_posted_work),
        LOOP_TEST(test_loop__runs_timers),
        LOOP_TEST(test_loop__a_timer_wakes_once),
        LOOP_TEST(test_loop_create__names_the_thread),
        LOOP_TEST(test_loop_destroy__closes_its_descriptors),
        LOOP_TEST(test_loop__survives_failing_allocations),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
