// SPDX-License-Identifier: Apache-2.0
// Tests of copies in the order of a stream, on simulated streams: order, streams that do not wait
// for each other, failures, streams and pools that end with copies under way, limits.
#include "unit/device_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "mf_torture.h"
#include "xcopy/stream_jobs.h"

#define STREAMS 8u
#define ROUNDS  50u

struct rig {
    struct fixture f;
    struct mf_dev *dev;
    struct mf_stream_jobs *jobs, *others; /* of two pools */
    void *stream[STREAMS];
    struct mf_stream_words *words[STREAMS];
    _Atomic int fail;       /* code of each copy, or 0 */
    _Atomic uint32_t hold;  /* copies with this size do not end */
    _Atomic uint32_t begun; /* copies */
};

static void sleep_us(long us)
{
    struct timespec span = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&span, NULL);
}

static int run(void *arg, const struct mf_batch *batch, smem_bm_copy_type type)
{
    struct rig *rig = arg;
    int rc = atomic_load(&rig->fail);
    atomic_fetch_add(&rig->begun, 1);
    while (atomic_load(&rig->hold) != 0 && batch->size[0] == atomic_load(&rig->hold)) {
        sleep_us(100);
    }
    if (rc != 0) {
        return mf_err(rc, "rank 3 is dead");
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        memcpy(batch->dst[i], batch->src[i], batch->size[i]);
    }
    return type == SMEMB_COPY_AUTO ? SMEM_OK : mf_err(SMEM_ERROR, "type %d", (int)type);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    *state = rig;
    fixture_init(&rig->f);
    int rc = mf_dev_open(&rig->f.env, &rig->f.config, "sim", 0, &rig->dev);
    for (uint32_t i = 0; i < STREAMS && rc == SMEM_OK; i++) {
        rc = rig->dev->ops.stream_create(rig->dev->impl, &rig->stream[i]);
        if (rc == SMEM_OK) {
            rc = mf_stream_words_create(rig->dev, rig->stream[i], &rig->words[i]);
        }
    }
    if (rc == SMEM_OK) {
        rc = mf_stream_jobs_create(&rig->f.env, 3, run, rig, &rig->jobs);
    }
    return rc == SMEM_OK ? mf_stream_jobs_create(&rig->f.env, 4, run, rig, &rig->others) : rc;
}

static uint64_t in_ms(const struct rig *rig, uint64_t ms)
{
    return mf_deadline_ns(&rig->f.env, ms);
}

static void end_stream(struct rig *rig, uint32_t i)
{
    if (rig->stream[i] != NULL) {
        rig->dev->ops.stream_destroy(rig->dev->impl, rig->stream[i]);
        mf_stream_words_close(rig->words[i]);
    }
    rig->stream[i] = NULL;
    rig->words[i] = NULL;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    atomic_store(&rig->hold, 0);
    int rc = mf_stream_jobs_destroy(rig->jobs, in_ms(rig, 5000));
    rc = rc == SMEM_OK ? mf_stream_jobs_destroy(rig->others, in_ms(rig, 5000)) : rc;
    for (uint32_t i = 0; i < STREAMS; i++) {
        end_stream(rig, i);
    }
    mf_dev_close(rig->dev);
    free(rig);
    return rc;
}

static int submit_to(struct rig *rig, struct mf_stream_jobs *jobs, uint32_t stream, void *dst,
                     const void *src, uint64_t size)
{
    void *from = (void *)(uintptr_t)src;
    struct mf_batch batch = {.src = &from, .dst = &dst, .size = &size, .count = 1};
    return mf_stream_jobs_submit(jobs, rig->words[stream], &batch, SMEMB_COPY_AUTO);
}

static int submit(struct rig *rig, uint32_t stream, void *dst, const void *src, uint64_t size)
{
    return submit_to(rig, rig->jobs, stream, dst, src, size);
}

static int sync_ms(struct rig *rig, uint32_t stream, uint64_t ms)
{
    return rig->dev->ops.stream_sync(rig->dev->impl, rig->stream[stream], in_ms(rig, ms));
}

/* Hold the stream until the word is 1. */
static void block(struct rig *rig, uint32_t stream, _Atomic uint64_t *word)
{
    mf_assert_ok(rig->dev->ops.wait64(rig->dev->impl, rig->stream[stream], num(word), 1));
}

/* ---- order ---------------------------------------------------------------------------------- */

struct step {
    volatile uint64_t *a, *b;
    uint64_t got;
};

/* What stands before a copy in the stream, and what behind it. */
static void count_up(void *arg, const mf_device_view_t *view)
{
    struct step *s = arg;
    (void)view;
    *s->a += 1;
}

static void look(void *arg, const mf_device_view_t *view)
{
    struct step *s = arg;
    (void)view;
    s->got = *s->b;
}

static void test_stream_jobs__copies_stand_in_the_order_of_their_stream(void **state)
{
    struct rig *rig = *state;
    static uint64_t a[STREAMS], b[STREAMS];
    static struct step steps[STREAMS][ROUNDS];
    memset(a, 0, sizeof(a));
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < STREAMS; i++) {
            struct step *s = &steps[i][round];
            *s = (struct step){.a = &a[i], .b = &b[i]};
            void *dev = rig->dev->impl;
            mf_assert_ok(rig->dev->ops.launch(dev, rig->stream[i], count_up, s));
            mf_assert_ok(submit(rig, i, &b[i], &a[i], 8));
            mf_assert_ok(rig->dev->ops.launch(dev, rig->stream[i], look, s));
        }
    }
    for (uint32_t i = 0; i < STREAMS; i++) {
        mf_assert_ok(sync_ms(rig, i, 20000));
        mf_assert_ok(mf_stream_words_take_failure(rig->words[i]));
        for (uint32_t round = 0; round < ROUNDS; round++) {
            assert_true(steps[i][round].got == round + 1);
        }
    }
    mf_assert_ok(mf_stream_jobs_take_failure(rig->jobs));
}

static void test_stream_jobs_submit__copies_the_arrays(void **state)
{
    struct rig *rig = *state;
    _Atomic uint64_t open = 0;
    char from[3][8] = {"one", "two", "three"}, to[3][8];
    void *src[3] = {from[0], from[1], from[2]}, *dst[3] = {to[0], to[1], to[2]};
    uint64_t size[3] = {8, 8, 8};
    struct mf_batch batch = {.src = src, .dst = dst, .size = size, .count = 3};
    block(rig, 0, &open);
    mf_assert_ok(mf_stream_jobs_submit(rig->jobs, rig->words[0], &batch, SMEMB_COPY_AUTO));
    memset(src, 0, sizeof(src));
    memset(dst, 0, sizeof(dst));
    memset(size, 0, sizeof(size));
    atomic_store(&open, 1);
    mf_assert_ok(sync_ms(rig, 0, 5000));
    assert_memory_equal(from, to, sizeof(from));
}

static void test_stream_jobs__a_stream_that_is_not_there_yet_holds_nobody_up(void **state)
{
    struct rig *rig = *state;
    _Atomic uint64_t open = 0;
    uint64_t a = 7, b[STREAMS] = {0};
    for (uint32_t i = 0; i + 1 < STREAMS; i++) { /* more than there are threads */
        block(rig, i, &open);
        mf_assert_ok(submit(rig, i, &b[i], &a, 8));
    }
    mf_assert_ok(submit(rig, STREAMS - 1, &b[STREAMS - 1], &a, 8));
    mf_assert_ok(sync_ms(rig, STREAMS - 1, 5000));
    assert_true(b[STREAMS - 1] == 7);
    assert_int_equal(atomic_load(&rig->begun), 1);
    atomic_store(&open, 1);
    for (uint32_t i = 0; i < STREAMS; i++) {
        mf_assert_ok(sync_ms(rig, i, 5000));
        assert_true(b[i] == 7);
    }
}

static void test_stream_jobs__a_copy_that_takes_long_holds_nobody_up(void **state)
{
    struct rig *rig = *state;
    uint64_t a[2] = {1, 2}, b[2 * MF_STREAM_THREADS_MAX] = {0};
    atomic_store(&rig->hold, 16);
    for (uint32_t i = 0; i + 1 < MF_STREAM_THREADS_MAX; i++) {
        mf_assert_ok(submit(rig, i, &b[2 + 2 * i], a, 16));
    }
    for (uint32_t round = 0; round < 20; round++) {
        mf_assert_ok(submit(rig, 7, &b[0], &a[1], 8));
        mf_assert_ok(sync_ms(rig, 7, 5000));
        assert_true(b[0] == 2);
        b[0] = 0;
    }
    mf_assert_rc(sync_ms(rig, 0, 5), SMEM_TIMEOUT);
    atomic_store(&rig->hold, 0);
    mf_assert_ok(sync_ms(rig, 0, 5000));
    mf_assert_ok(sync_ms(rig, 1, 5000));
    mf_assert_ok(sync_ms(rig, 2, 5000));
}

struct submitter {
    pthread_t thread;
    struct rig *rig;
    uint64_t from, to;
    int rc;
};

static void *submit_main(void *arg)
{
    struct submitter *s = arg;
    for (uint32_t i = 0; i < ROUNDS && s->rc == SMEM_OK; i++) {
        s->rc = submit(s->rig, 0, &s->to, &s->from, 8);
    }
    return NULL;
}

static void test_stream_jobs_submit__by_many_threads_on_one_stream(void **state)
{
    struct submitter s[4];
    struct rig *rig = *state;
    for (uint32_t i = 0; i < 4; i++) {
        s[i] = (struct submitter){.rig = rig, .from = i + 1};
        assert_int_equal(pthread_create(&s[i].thread, NULL, submit_main, &s[i]), 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
        pthread_join(s[i].thread, NULL);
        mf_assert_ok(s[i].rc);
    }
    mf_assert_ok(sync_ms(rig, 0, 20000));
    assert_int_equal(atomic_load(&rig->begun), 4 * ROUNDS);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(s[i].to == i + 1);
    }
}

/* ---- failures ------------------------------------------------------------------------------- */

static void test_stream_jobs__a_failure_lets_the_stream_go_on_and_is_kept_once(void **state)
{
    struct rig *rig = *state;
    uint64_t a = 5, b = 0;
    atomic_store(&rig->fail, SMEM_NOT_CONNECTED);
    mf_assert_ok(submit(rig, 0, &b, &a, 8));
    mf_assert_ok(sync_ms(rig, 0, 5000));
    atomic_store(&rig->fail, SMEM_TIMEOUT);
    mf_assert_ok(submit(rig, 0, &b, &a, 8));
    mf_assert_ok(sync_ms(rig, 0, 5000));
    atomic_store(&rig->fail, 0);
    mf_assert_ok(submit(rig, 0, &b, &a, 8));
    mf_assert_ok(sync_ms(rig, 0, 5000));
    assert_true(b == 5);
    mf_assert_rc(mf_stream_words_take_failure(rig->words[0]), SMEM_NOT_CONNECTED);
    mf_assert_err_has("rank 3 is dead");
    mf_assert_ok(mf_stream_words_take_failure(rig->words[0]));
    mf_assert_ok(mf_stream_words_take_failure(rig->words[1]));
    mf_assert_ok(mf_stream_words_take_failure(NULL));
    mf_err_clear();
    mf_assert_rc(mf_stream_jobs_take_failure(rig->jobs), SMEM_NOT_CONNECTED);
    mf_assert_err_has("rank 3 is dead");
    mf_assert_ok(mf_stream_jobs_take_failure(rig->jobs));
}

static int refuse_words(void *dev, void *stream, uint64_t addr, uint64_t value)
{
    (void)dev;
    (void)stream;
    (void)addr;
    (void)value;
    return mf_err(SMEM_NO_RESOURCES, "the stream is full");
}

static void test_stream_jobs_submit__what_the_stream_refuses_is_not_copied(void **state)
{
    struct rig *rig = *state;
    uint64_t a = 5, b = 0;
    struct mf_device_ops ops = rig->dev->ops;
    rig->dev->ops.wait64 = refuse_words; /* the first of the two words is queued then */
    mf_assert_rc(submit(rig, 0, &b, &a, 8), SMEM_NO_RESOURCES);
    mf_assert_err_has("the stream is full");
    rig->dev->ops.write64 = refuse_words;
    mf_assert_rc(submit(rig, 0, &b, &a, 8), SMEM_NO_RESOURCES);
    rig->dev->ops = ops;
    mf_assert_ok(sync_ms(rig, 0, 5000));
    assert_int_equal(atomic_load(&rig->begun), 0);
    mf_assert_ok(submit(rig, 0, &b, &a, 8));
    mf_assert_ok(sync_ms(rig, 0, 5000));
    assert_true(b == 5);
    assert_int_equal(atomic_load(&rig->begun), 1);
}

static void test_stream_jobs_submit__has_a_limit(void **state)
{
    struct rig *rig = *state;
    uint32_t count = MF_BATCH_MAX;
    void **pointers = calloc(count, sizeof(*pointers));
    uint64_t *sizes = calloc(count, sizeof(*sizes));
    struct mf_batch batch = {.src = pointers, .dst = pointers, .size = sizes, .count = count};
    _Atomic uint64_t open = 0;
    int rc = SMEM_OK, taken = 0;
    block(rig, 0, &open);
    while (rc == SMEM_OK && taken < 100) {
        rc = mf_stream_jobs_submit(rig->jobs, rig->words[0], &batch, SMEMB_COPY_AUTO);
        taken += rc == SMEM_OK;
    }
    mf_assert_rc(rc, SMEM_NO_RESOURCES);
    mf_assert_err_has("synchronize a stream first");
    assert_int_equal(taken, MF_STREAM_BYTES_MAX / (24ull * count + 256));
    mf_assert_ok(mf_stream_jobs_destroy(rig->jobs, in_ms(rig, 5000)));
    rig->jobs = NULL;
    atomic_store(&open, 1);
    mf_assert_ok(sync_ms(rig, 0, 5000));
    free(pointers);
    free(sizes);
}

/* ---- ends ----------------------------------------------------------------------------------- */

static void test_stream_jobs_destroy__lets_the_streams_go_on(void **state)
{
    struct rig *rig = *state;
    _Atomic uint64_t open = 0;
    uint64_t a = 5, b = 0;
    for (uint32_t i = 0; i < STREAMS; i++) {
        block(rig, i, &open);
        mf_assert_ok(submit(rig, i, &b, &a, 8));
        mf_assert_ok(submit(rig, i, &b, &a, 8));
    }
    mf_assert_ok(mf_stream_jobs_destroy(rig->jobs, in_ms(rig, 5000)));
    rig->jobs = NULL;
    assert_int_equal(atomic_load(&rig->begun), 0);
    atomic_store(&open, 1);
    for (uint32_t i = 0; i < STREAMS; i++) {
        mf_assert_ok(sync_ms(rig, i, 5000));
        mf_assert_rc(mf_stream_words_take_failure(rig->words[i]), SMEM_NOT_EXIST);
        mf_assert_err_has("pool 3");
        mf_assert_err_has("the pool was destroyed before the stream got to it");
    }
    mf_assert_ok(mf_stream_jobs_destroy(NULL, 0));
    assert_true(b == 0);
    mf_assert_ok(submit_to(rig, rig->others, 0, &b, &a, 8)); /* the stream is as good as new */
    mf_assert_ok(sync_ms(rig, 0, 5000));
    assert_true(b == 5);
}

static void test_stream_jobs_destroy__keeps_the_order_of_other_pools(void **state)
{
    struct rig *rig = *state;
    _Atomic uint64_t open = 0;
    uint64_t a = 5, b = 0, c = 0;
    struct step seen = {.b = &b};
    block(rig, 0, &open);
    mf_assert_ok(submit_to(rig, rig->others, 0, &b, &a, 8));
    mf_assert_ok(rig->dev->ops.launch(rig->dev->impl, rig->stream[0], look, &seen));
    mf_assert_ok(submit(rig, 0, &c, &a, 8)); /* is dropped before its time */
    mf_assert_ok(submit_to(rig, rig->others, 0, &c, &b, 8));
    mf_assert_ok(mf_stream_jobs_destroy(rig->jobs, in_ms(rig, 5000)));
    rig->jobs = NULL;
    atomic_store(&open, 1);
    mf_assert_ok(sync_ms(rig, 0, 5000));
    assert_true(seen.got == 5); /* it did wait for the copy of the other pool */
    assert_true(c == 5);
    mf_assert_rc(mf_stream_words_take_failure(rig->words[0]), SMEM_NOT_EXIST);
    mf_assert_ok(mf_stream_jobs_take_failure(rig->others));
}

static void test_stream_jobs_destroy__waits_for_what_runs(void **state)
{
    struct rig *rig = *state;
    uint64_t a[2] = {5, 6}, b[2] = {0, 0};
    atomic_store(&rig->hold, 16);
    mf_assert_ok(submit(rig, 0, b, a, 16));
    while (atomic_load(&rig->begun) == 0) {
        sleep_us(100);
    }
    mf_assert_rc(mf_stream_jobs_destroy(rig->jobs, in_ms(rig, 20)), SMEM_TIMEOUT);
    mf_assert_err_has("still runs at the deadline");
    atomic_store(&rig->hold, 0);
    mf_assert_ok(mf_stream_jobs_destroy(rig->jobs, in_ms(rig, 5000)));
    rig->jobs = NULL;
    assert_true(b[1] == 6);
    mf_assert_ok(sync_ms(rig, 0, 5000));
    mf_assert_ok(mf_stream_words_take_failure(rig->words[0]));
}

static void test_stream_words_close__drops_what_the_stream_never_reaches(void **state)
{
    struct rig *rig = *state;
    _Atomic uint64_t open = 0;
    uint64_t a = 5, b = 0;
    int rc = SMEM_OK;
    block(rig, 0, &open);
    mf_assert_ok(submit(rig, 0, &b, &a, 8));
    mf_assert_ok(submit_to(rig, rig->others, 0, &b, &a, 8));
    end_stream(rig, 0);
    for (int i = 0; i < 50000 && rc == SMEM_OK; i++) {
        sleep_us(100);
        rc = mf_stream_jobs_take_failure(rig->jobs);
    }
    mf_assert_rc(rc, SMEM_NOT_EXIST);
    mf_assert_err_has("the stream was destroyed");
    assert_true(b == 0);
    mf_assert_ok(submit(rig, 1, &b, &a, 8)); /* the pool goes on */
    mf_assert_ok(sync_ms(rig, 1, 5000));
    assert_true(b == 5);
    mf_stream_words_close(NULL);
}

/* ---- memory --------------------------------------------------------------------------------- */

static int one_life(void *arg)
{
    struct rig *rig = arg;
    struct mf_stream_words *words = NULL;
    struct mf_stream_jobs *jobs = NULL;
    uint64_t a = 5, b = 0, size = 8;
    void *src = &a, *dst = &b;
    struct mf_batch batch = {.src = &src, .dst = &dst, .size = &size, .count = 1};
    int rc = mf_stream_words_create(rig->dev, rig->stream[0], &words);
    if (rc == SMEM_OK) {
        rc = mf_stream_jobs_create(&rig->f.env, 1, run, rig, &jobs);
    }
    if (rc == SMEM_OK) {
        rc = mf_stream_jobs_submit(jobs, words, &batch, SMEMB_COPY_AUTO);
    }
    if (rc == SMEM_OK) {
        rc = sync_ms(rig, 0, 5000);
    }
    int ended = mf_stream_jobs_destroy(jobs, in_ms(rig, 5000));
    mf_stream_words_close(words); /* the stream has gone beyond them */
    return rc != SMEM_OK ? rc : ended;
}

static void test_stream_jobs__without_memory_nothing_is_half_done(void **state)
{
    struct rig *rig = *state;
    mf_assert_ok(one_life(rig)); /* the stream's own memory is there from now on */
    assert_true(mf_torture(one_life, rig) >= 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_stream_jobs__copies_stand_in_the_order_of_their_stream),
        TEST(test_stream_jobs_submit__copies_the_arrays),
        TEST(test_stream_jobs__a_stream_that_is_not_there_yet_holds_nobody_up),
        TEST(test_stream_jobs__a_copy_that_takes_long_holds_nobody_up),
        TEST(test_stream_jobs_submit__by_many_threads_on_one_stream),
        TEST(test_stream_jobs__a_failure_lets_the_stream_go_on_and_is_kept_once),
        TEST(test_stream_jobs_submit__what_the_stream_refuses_is_not_copied),
        TEST(test_stream_jobs_submit__has_a_limit),
        TEST(test_stream_jobs_destroy__lets_the_streams_go_on),
        TEST(test_stream_jobs_destroy__keeps_the_order_of_other_pools),
        TEST(test_stream_jobs_destroy__waits_for_what_runs),
        TEST(test_stream_words_close__drops_what_the_stream_never_reaches),
        TEST(test_stream_jobs__without_memory_nothing_is_half_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
