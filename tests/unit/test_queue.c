// SPDX-License-Identifier: Apache-2.0
// The queue of asynchronous copies: order, waiting from any thread, the first failure, limits, the
// end.
#include "xcopy/queue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/thread.h"
#include "mf_test.h"
#include "mf_torture.h"

#define JOBS_MAX 256u

/* What the jobs do: element 0's size is the number of the job. */
struct fixture {
    struct mf_log log;
    struct mf_env env;
    struct mf_queue *queue;
    struct mf_mutex lock;
    struct mf_cond change;
    bool closed; /* jobs wait until it is open */
    uint32_t running, running_max;
    uint64_t done[JOBS_MAX];
    uint32_t done_count;
    uint64_t fail_at; /* this job fails */
    smem_bm_copy_type last_type;
};

static uint64_t in_ms(const struct fixture *f, uint64_t ms)
{
    return mf_deadline_ns(&f->env, ms);
}

static int run(void *arg, const struct mf_batch *batch, smem_bm_copy_type type)
{
    struct fixture *f = arg;
    mf_mutex_lock(&f->lock);
    f->running++;
    f->running_max = f->running > f->running_max ? f->running : f->running_max;
    mf_cond_broadcast(&f->change);
    while (f->closed) {
        mf_cond_wait(&f->change, &f->lock, UINT64_MAX);
    }
    f->running--;
    uint64_t number = batch->size[0];
    f->last_type = type;
    f->done[f->done_count++] = number;
    if (batch->results) {
        batch->results[0] = (int32_t)number;
    }
    mf_mutex_unlock(&f->lock);
    return number == f->fail_at ? mf_err(SMEM_NOT_CONNECTED, "job %d failed", (int)number)
                                : SMEM_OK;
}

static void gate(struct fixture *f, bool closed)
{
    mf_mutex_lock(&f->lock);
    f->closed = closed;
    mf_cond_broadcast(&f->change);
    mf_mutex_unlock(&f->lock);
}

/* Until a job runs and waits at the gate. */
static void wait_running(struct fixture *f, uint32_t count)
{
    mf_mutex_lock(&f->lock);
    while (f->running < count) {
        assert_true(mf_cond_wait(&f->change, &f->lock, in_ms(f, 20000)));
    }
    mf_mutex_unlock(&f->lock);
}

static void fixture_init(struct fixture *f, uint32_t threads)
{
    memset(f, 0, sizeof(*f));
    f->log = (struct mf_log)MF_LOG_INIT;
    mf_env_init_real(&f->env, &f->log);
    f->fail_at = UINT64_MAX;
    mf_mutex_init(&f->lock, MF_RANK_LEAF);
    mf_cond_init(&f->change);
    mf_assert_ok(mf_queue_create(&f->env, threads, run, f, &f->queue));
}

static void fixture_fini(struct fixture *f)
{
    mf_assert_ok(mf_queue_destroy(f->queue, in_ms(f, 20000)));
    mf_cond_fini(&f->change);
    mf_mutex_fini(&f->lock);
}

static int submit(struct fixture *f, uint64_t number, int32_t *result)
{
    void *src[1] = {f};
    void *dst[1] = {f};
    uint64_t size[1] = {number};
    struct mf_batch batch = {.src = src, .dst = dst, .size = size, .count = 1, .results = result};
    int rc = mf_queue_submit(f->queue, &batch, SMEMB_COPY_G2H);
    /* The queue has copied the arrays: they are the caller's again. */
    memset(src, 0xff, sizeof(src));
    memset(dst, 0xff, sizeof(dst));
    memset(size, 0xff, sizeof(size));
    return rc;
}

static void test_queue__runs_jobs_in_order(void **state)
{
    (void)state;
    struct fixture f;
    int32_t results[100];
    fixture_init(&f, 1);
    for (uint32_t i = 0; i < 100; i++) {
        mf_assert_ok(submit(&f, i, &results[i]));
    }
    mf_assert_ok(mf_queue_wait(f.queue, in_ms(&f, 20000)));
    assert_int_equal(f.done_count, 100);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(f.done[i], i);
        assert_int_equal(results[i], i);
    }
    assert_int_equal(f.last_type, SMEMB_COPY_G2H);
    assert_int_equal(f.running_max, 1);
    fixture_fini(&f);
}

static void test_queue_wait__nothing_pending(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1);
    mf_assert_ok(mf_queue_wait(f.queue, 1));
    mf_assert_ok(submit(&f, 1, NULL));
    mf_assert_ok(mf_queue_wait(f.queue, in_ms(&f, 20000)));
    mf_assert_ok(mf_queue_wait(f.queue, 1));
    fixture_fini(&f);
}

static void test_queue_wait__deadline(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1);
    gate(&f, true);
    mf_assert_ok(submit(&f, 1, NULL));
    mf_assert_ok(submit(&f, 2, NULL));
    mf_assert_rc(mf_queue_wait(f.queue, in_ms(&f, 20)), SMEM_TIMEOUT);
    mf_assert_err_has("2 of them at most");
    gate(&f, false);
    mf_assert_ok(mf_queue_wait(f.queue, in_ms(&f, 20000)));
    assert_int_equal(f.done_count, 2);
    fixture_fini(&f);
}

static void test_queue_wait__gives_the_first_failure_once(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1);
    f.fail_at = 3;
    for (uint32_t i = 0; i < 6; i++) {
        mf_assert_ok(submit(&f, i, NULL));
    }
    mf_err_clear();
    mf_assert_rc(mf_queue_wait(f.queue, in_ms(&f, 20000)), SMEM_NOT_CONNECTED);
    assert_string_equal(mf_err_msg(), "job 3 failed");
    assert_int_equal(f.done_count, 6);
    mf_assert_ok(mf_queue_wait(f.queue, in_ms(&f, 20000)));
    fixture_fini(&f);
}

/* A wait does not wait for what is submitted after it has begun. */
struct waiter {
    struct fixture *f;
    int rc;
    _Atomic bool ended;
};

static void *wait_main(void *arg)
{
    struct waiter *w = arg;
    w->rc = mf_queue_wait(w->f->queue, in_ms(w->f, 20000));
    atomic_store(&w->ended, true);
    return NULL;
}

static void test_queue_wait__from_another_thread(void **state)
{
    (void)state;
    struct fixture f;
    struct waiter w = {.f = &f, .rc = -1};
    pthread_t thread;
    fixture_init(&f, 1);
    gate(&f, true);
    mf_assert_ok(submit(&f, 1, NULL));
    wait_running(&f, 1);
    assert_int_equal(pthread_create(&thread, NULL, wait_main, &w), 0);
    struct timespec pause = {.tv_nsec = 5000000};
    nanosleep(&pause, NULL);
    assert_false(atomic_load(&w.ended));
    gate(&f, false);
    pthread_join(thread, NULL);
    mf_assert_ok(w.rc);
    assert_int_equal(f.done_count, 1);
    fixture_fini(&f);
}

static void test_queue__several_threads_work_at_once(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 3);
    gate(&f, true);
    for (uint32_t i = 0; i < 9; i++) {
        mf_assert_ok(submit(&f, i, NULL));
    }
    wait_running(&f, 3);
    gate(&f, false);
    mf_assert_ok(mf_queue_wait(f.queue, in_ms(&f, 20000)));
    assert_int_equal(f.done_count, 9);
    assert_int_equal(f.running_max, 3);
    fixture_fini(&f);
}

static void test_queue_destroy__drops_what_does_not_run(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1);
    gate(&f, true);
    for (uint32_t i = 0; i < 5; i++) {
        mf_assert_ok(submit(&f, i, NULL));
    }
    wait_running(&f, 1);
    mf_assert_rc(mf_queue_destroy(f.queue, in_ms(&f, 10)), SMEM_TIMEOUT);
    mf_assert_err_has("still runs");
    mf_assert_rc(submit(&f, 9, NULL), SMEM_NOT_STARTED);
    gate(&f, false);
    fixture_fini(&f);
    assert_int_equal(f.done_count, 1);
    mf_assert_ok(mf_queue_destroy(NULL, 0));
}

static void test_queue_submit__limit_of_bytes(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1);
    gate(&f, true);
    /* Zero pages: refused before anybody reads them. */
    uint64_t *zeros = calloc(MF_BATCH_MAX, sizeof(*zeros));
    struct mf_batch batch = {
        .src = (void **)zeros, .dst = (void **)zeros, .size = zeros, .count = 1u << 20};
    for (int i = 0; i < 3; i++) { /* 24 MiB each */
        mf_assert_ok(mf_queue_submit(f.queue, &batch, SMEMB_COPY_AUTO));
    }
    batch.count = MF_BATCH_MAX;
    mf_assert_rc(mf_queue_submit(f.queue, &batch, SMEMB_COPY_AUTO), SMEM_NO_RESOURCES);
    mf_assert_err_has("the batch of 16777216 elements needs 402653");
    mf_assert_err_has("the limit is 469762048: call smem_bm_wait first");
    mf_assert_ok(submit(&f, 1, NULL));
    gate(&f, false);
    fixture_fini(&f);
    free(zeros);
}

static void test_queue_create__threads(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1);
    struct mf_queue *queue;
    mf_assert_rc(mf_queue_create(&f.env, 0, run, &f, &queue), SMEM_INVALID_PARAM);
    assert_null(queue);
    mf_assert_rc(mf_queue_create(&f.env, 17, run, &f, &queue), SMEM_INVALID_PARAM);
    mf_assert_err_has("1 to 16 are allowed");
    fixture_fini(&f);
}

static int whole_life(void *arg)
{
    struct fixture *f = arg;
    int rc = mf_queue_create(&f->env, 2, run, f, &f->queue);
    if (rc) {
        return rc;
    }
    f->done_count = 0;
    for (uint32_t i = 0; i < 4 && rc == SMEM_OK; i++) {
        rc = submit(f, i, NULL);
    }
    int waited = mf_queue_wait(f->queue, in_ms(f, 20000));
    int ended = mf_queue_destroy(f->queue, in_ms(f, 20000));
    return rc ? rc : waited ? waited : ended;
}

static void test_queue__torture(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1);
    mf_assert_ok(mf_queue_destroy(f.queue, in_ms(&f, 20000)));
    assert_int_equal(mf_torture(whole_life, &f), 5);
    mf_cond_fini(&f.change);
    mf_mutex_fini(&f.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue__runs_jobs_in_order),
        cmocka_unit_test(test_queue_wait__nothing_pending),
        cmocka_unit_test(test_queue_wait__deadline),
        cmocka_unit_test(test_queue_wait__gives_the_first_failure_once),
        cmocka_unit_test(test_queue_wait__from_another_thread),
        cmocka_unit_test(test_queue__several_threads_work_at_once),
        cmocka_unit_test(test_queue_destroy__drops_what_does_not_run),
        cmocka_unit_test(test_queue_submit__limit_of_bytes),
        cmocka_unit_test(test_queue_create__threads),
        cmocka_unit_test(test_queue__torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
