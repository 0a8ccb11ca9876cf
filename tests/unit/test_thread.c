// SPDX-License-Identifier: Apache-2.0
// Tests of mutexes, condition variables with deadlines, and threads with their names and signals.
#include "base/thread.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "mf_test.h"

static void env_init(struct mf_env *env)
{
    mf_env_init_real(env, NULL);
}

/** A counter that two threads add to. */
struct shared {
    struct mf_env env;
    struct mf_mutex mutex;
    struct mf_cond cond;
    int value;
};

static void shared_init(struct shared *shared)
{
    env_init(&shared->env);
    mf_mutex_init(&shared->mutex, MF_RANK_LEAF);
    mf_cond_init(&shared->cond);
    shared->value = 0;
}

static void shared_fini(struct shared *shared)
{
    mf_cond_fini(&shared->cond);
    mf_mutex_fini(&shared->mutex);
}

static void *adder(void *arg)
{
    struct shared *shared = arg;
    for (int i = 0; i < 10000; i++) {
        mf_mutex_lock(&shared->mutex);
        shared->value++;
        mf_mutex_unlock(&shared->mutex);
    }
    return NULL;
}

static void test_mutex__excludes(void **state)
{
    (void)state;
    struct shared shared;
    pthread_t threads[4];
    shared_init(&shared);
    for (int i = 0; i < 4; i++) {
        mf_assert_ok(mf_thread_start(&threads[i], "adder", adder, &shared));
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(shared.value, 40000);
    shared_fini(&shared);
}

static void test_cond_wait__ends_at_the_deadline(void **state)
{
    (void)state;
    struct shared shared;
    shared_init(&shared);
    uint64_t deadline = mf_deadline_ns(&shared.env, 30);
    mf_mutex_lock(&shared.mutex);
    while (mf_cond_wait(&shared.cond, &shared.mutex, deadline)) {
        /* woken for no reason */
    }
    assert_true(mf_now_ns(&shared.env) >= deadline);
    /* A deadline in the past does not wait. */
    assert_false(mf_cond_wait(&shared.cond, &shared.mutex, 1));
    mf_mutex_unlock(&shared.mutex);
    shared_fini(&shared);
}

static void *setter(void *arg)
{
    struct shared *shared = arg;
    mf_mutex_lock(&shared->mutex);
    shared->value = 1;
    mf_cond_signal(&shared->cond);
    mf_mutex_unlock(&shared->mutex);
    return NULL;
}

static void test_cond_wait__is_woken_long_before(void **state)
{
    (void)state;
    struct shared shared;
    pthread_t thread;
    shared_init(&shared);
    /* The farthest deadline there is must not overflow into the past. */
    mf_mutex_lock(&shared.mutex);
    mf_assert_ok(mf_thread_start(&thread, "setter", setter, &shared));
    while (shared.value == 0) {
        assert_true(mf_cond_wait(&shared.cond, &shared.mutex, UINT64_MAX));
    }
    mf_mutex_unlock(&shared.mutex);
    pthread_join(thread, NULL);
    shared_fini(&shared);
}

static void *waiter(void *arg)
{
    struct shared *shared = arg;
    uint64_t deadline = mf_deadline_ns(&shared->env, 30000);
    mf_mutex_lock(&shared->mutex);
    bool in_time = true;
    while (shared->value == 0 && in_time) {
        in_time = mf_cond_wait(&shared->cond, &shared->mutex, deadline);
    }
    mf_mutex_unlock(&shared->mutex);
    return in_time ? shared : NULL;
}

static void test_cond_broadcast__wakes_all(void **state)
{
    (void)state;
    struct shared shared;
    pthread_t threads[3];
    shared_init(&shared);
    for (int i = 0; i < 3; i++) {
        mf_assert_ok(mf_thread_start(&threads[i], "waiter", waiter, &shared));
    }
    mf_mutex_lock(&shared.mutex);
    shared.value = 1;
    mf_cond_broadcast(&shared.cond);
    mf_mutex_unlock(&shared.mutex);
    for (int i = 0; i < 3; i++) {
        void *woken;
        pthread_join(threads[i], &woken);
        assert_ptr_equal(woken, &shared);
    }
    shared_fini(&shared);
}

/** What a thread sees of itself. */
struct self {
    _Atomic bool named;
    char name[32];
    sigset_t blocked;
};

static void *look_at_self(void *arg)
{
    struct self *self = arg;
    while (!atomic_load(&self->named)) {
        usleep(1000);
    }
    pthread_getname_np(pthread_self(), self->name, sizeof(self->name));
    pthread_sigmask(SIG_SETMASK, NULL, &self->blocked);
    return NULL;
}

static void test_thread_start__names_the_thread_and_cuts_the_name(void **state)
{
    (void)state;
    struct self self = {0};
    pthread_t thread;
    mf_assert_ok(mf_thread_start(&thread, "store-server-of-rank-0", look_at_self, &self));
    atomic_store(&self.named, true);
    pthread_join(thread, NULL);
    assert_string_equal(self.name, "store-server-of");
}

static void test_thread_start__blocks_signals_but_faults(void **state)
{
    (void)state;
    struct self self = {0};
    sigset_t before;
    sigset_t after;
    pthread_t thread;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    mf_assert_ok(mf_thread_start(&thread, "t", look_at_self, &self));
    atomic_store(&self.named, true);
    pthread_join(thread, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    static const int blocked[] = {SIGINT, SIGTERM, SIGPIPE, SIGUSR1, SIGALRM, SIGCHLD, SIGHUP};
    for (size_t i = 0; i < sizeof(blocked) / sizeof(blocked[0]); i++) {
        assert_int_equal(sigismember(&self.blocked, blocked[i]), 1);
        assert_int_equal(sigismember(&after, blocked[i]), sigismember(&before, blocked[i]));
    }
    static const int open[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
        assert_int_equal(sigismember(&self.blocked, open[i]), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutex__excludes),
        cmocka_unit_test(test_cond_wait__ends_at_the_deadline),
        cmocka_unit_test(test_cond_wait__is_woken_long_before),
        cmocka_unit_test(test_cond_broadcast__wakes_all),
        cmocka_unit_test(test_thread_start__names_the_thread_and_cuts_the_name),
        cmocka_unit_test(test_thread_start__blocks_signals_but_faults),
    };
    return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
