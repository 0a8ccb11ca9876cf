// SPDX-License-Identifier: Apache-2.0
// Tests of counting and timing calls, of adding up, and of the memory that holds the counts.
#include "unit/trace_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "mf_torture.h"

/* ---- counts ---- */

static void test_trace__counts_calls_failures_and_bytes(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer own = mf_tracer_own(rig->trace);
    for (uint64_t i = 1; i <= 10; i++) {
        rig_call(rig, &own, MF_POINT_COPY_PUT, 100 * i, SMEM_OK, i);
    }
    rig_call(rig, &own, MF_POINT_COPY_PUT, 5, SMEM_TIMEOUT, 999);
    rig_call(rig, &own, MF_POINT_COPY_GET, 7, SMEM_OK, 3);
    const struct mf_trace_sum *put = rig_sum(rig, MF_POINT_COPY_PUT);
    assert_int_equal(put->begun, 11);
    assert_int_equal(put->good, 10);
    assert_int_equal(put->bad, 1);
    assert_int_equal(put->bytes, 55);
    assert_int_equal(put->calls, 10); /* a failed one is not timed */
    assert_int_equal(put->total_ns, 5500);
    assert_int_equal(put->min_ns, 100);
    assert_int_equal(put->max_ns, 1000);
    assert_int_equal(mf_trace_sum_on_fly(put), 0);
    assert_int_equal(rig_sum(rig, MF_POINT_COPY_GET)->bytes, 3);
    assert_int_equal(rig_sum(rig, MF_POINT_BM_JOIN)->begun, 0);
}

static void test_trace__call_under_way_is_on_the_fly(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer own = mf_tracer_own(rig->trace);
    struct mf_tracer shared = mf_tracer_shared(rig->trace);
    struct mf_span a = mf_trace_begin(&own, MF_POINT_BM_JOIN);
    struct mf_span b = mf_trace_begin(&shared, MF_POINT_BM_JOIN);
    assert_int_equal(mf_trace_sum_on_fly(rig_sum(rig, MF_POINT_BM_JOIN)), 2);
    mf_assert_ok(mf_trace_end(&a, SMEM_OK, 0));
    assert_int_equal(mf_trace_sum_on_fly(rig_sum(rig, MF_POINT_BM_JOIN)), 1);
    mf_assert_rc(mf_trace_end(&b, SMEM_ERROR, 0), SMEM_ERROR);
    assert_int_equal(mf_trace_sum_on_fly(rig_sum(rig, MF_POINT_BM_JOIN)), 0);
    assert_int_equal(rig_sum(rig, MF_POINT_BM_JOIN)->bad, 1);
}

static void test_trace__shared_block_counts_as_an_own_one(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer shared = mf_tracer_shared(rig->trace);
    rig_call(rig, &shared, MF_POINT_BM_EXTEND, 20, SMEM_OK, 4096);
    rig_call(rig, &shared, MF_POINT_BM_EXTEND, 40, SMEM_OK, 4096);
    rig_call(rig, &shared, MF_POINT_BM_EXTEND, 10, SMEM_ERROR, 4096);
    const struct mf_trace_sum *sum = rig_sum(rig, MF_POINT_BM_EXTEND);
    assert_int_equal(sum->good, 2);
    assert_int_equal(sum->bad, 1);
    assert_int_equal(sum->bytes, 8192);
    assert_int_equal(sum->calls, 2);
    assert_int_equal(sum->total_ns, 60);
}

static void test_trace__that_is_off_does_nothing(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer off = mf_tracer_own(NULL);
    uint64_t asked = rig->asked;
    struct mf_span span = mf_trace_begin(&off, MF_POINT_BM_JOIN);
    mf_assert_rc(mf_trace_end(&span, SMEM_ERROR, 0), SMEM_ERROR);
    span = mf_trace_begin_sampled(&off, MF_POINT_COPY_PUT, 1 << 20);
    mf_assert_ok(mf_trace_end(&span, SMEM_OK, 1 << 20));
    mf_assert_rc(mf_trace_event(&off, MF_POINT_PEER_DEATH, SMEM_TIMEOUT), SMEM_TIMEOUT);
    assert_int_equal(rig->asked, asked);
    for (int p = 0; p < MF_POINT_COUNT; p++) {
        assert_int_equal(rig_sum(rig, (enum mf_point)p)->begun, 0);
    }
}

static void test_trace_event__has_no_duration(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer own = mf_tracer_own(rig->trace);
    mf_assert_ok(mf_trace_event(&own, MF_POINT_PEER_DEATH, SMEM_OK));
    mf_assert_rc(mf_trace_event(&own, MF_POINT_PEER_DEATH, SMEM_ERROR), SMEM_ERROR);
    const struct mf_trace_sum *sum = rig_sum(rig, MF_POINT_PEER_DEATH);
    assert_int_equal(sum->begun, 2);
    assert_int_equal(sum->good, 1);
    assert_int_equal(sum->bad, 1);
    assert_int_equal(sum->calls, 0);
}

static void test_tracer_own__is_nobody_elses_until_all_are_taken(void **state)
{
    struct trace_rig *rig = *state;
    const struct mf_trace_block *last = &rig->trace->memory->blocks[0];
    for (uint32_t i = 1; i < MF_TRACE_BLOCKS; i++) {
        struct mf_tracer own = mf_tracer_own(rig->trace);
        assert_ptr_equal(own.own, last + 1);
        last = own.own;
    }
    struct mf_tracer more = mf_tracer_own(rig->trace);
    assert_null(more.own);
    rig_call(rig, &more, MF_POINT_BM_JOIN, 1, SMEM_OK, 0);
    assert_int_equal(rig_sum(rig, MF_POINT_BM_JOIN)->good, 1);
}

static void test_trace__two_in_one_process_do_not_mix(void **state)
{
    struct trace_rig *rig = *state;
    struct trace_rig *other = rig_new();
    mf_assert_ok(mf_trace_create(&other->env, &other->trace));
    struct mf_tracer here = mf_tracer_own(rig->trace);
    struct mf_tracer there = mf_tracer_own(other->trace);
    rig_call(rig, &here, MF_POINT_COPY_PUT, 1, SMEM_OK, 1);
    rig_call(other, &there, MF_POINT_COPY_PUT, 1, SMEM_OK, 10);
    rig_call(other, &there, MF_POINT_COPY_PUT, 1, SMEM_OK, 10);
    assert_int_equal(rig_sum(rig, MF_POINT_COPY_PUT)->bytes, 1);
    assert_int_equal(rig_sum(other, MF_POINT_COPY_PUT)->bytes, 20);
    mf_trace_destroy(other->trace);
    free(other);
}

/* ---- which copies are timed ---- */

/* Makes `count` copies, of `bytes` and of `other` bytes by turns. */
static void copy(struct trace_rig *rig, struct mf_tracer *tracer, uint64_t count, uint64_t bytes,
                 uint64_t other)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t size = i % 2 ? other : bytes;
        struct mf_span span = mf_trace_begin_sampled(tracer, MF_POINT_COPY_PUT, size);
        atomic_fetch_add(&rig->clock_ns, size);
        mf_assert_ok(mf_trace_end(&span, SMEM_OK, size));
    }
}

static void assert_near(uint64_t value, uint64_t wanted, uint64_t percent)
{
    uint64_t room = wanted * percent / 100;
    assert_in_range(value, wanted - room, wanted + room);
}

static void test_trace_copy__small_ones_are_timed_once_in_64(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer own = mf_tracer_own(rig->trace);
    uint64_t asked = rig->asked;
    copy(rig, &own, 64000, 8, 8);
    const struct mf_trace_sum *sum = rig_sum(rig, MF_POINT_COPY_PUT);
    assert_int_equal(sum->begun, 64000);
    assert_int_equal(sum->bytes, 64000 * 8);
    assert_near(rig->asked - asked, 2 * 1000, 2);
    assert_near(sum->calls, 64000, 2);
    assert_near(sum->total_ns, 64000 * 8, 2);
    assert_int_equal(sum->min_ns, 8);
    assert_int_equal(sum->max_ns, 8);
}

static void test_trace_copy__medium_once_in_16_and_large_always(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer medium = mf_tracer_own(rig->trace);
    struct mf_tracer large = mf_tracer_own(rig->trace);
    uint64_t asked = rig->asked;
    copy(rig, &medium, 16000, MF_TRACE_SMALL, MF_TRACE_MEDIUM - 1);
    assert_near(rig->asked - asked, 2 * 1000, 2);
    assert_near(rig_sum(rig, MF_POINT_COPY_PUT)->calls, 16000, 2);
    asked = rig->asked;
    copy(rig, &large, 1000, MF_TRACE_MEDIUM, 1 << 22);
    assert_int_equal(rig->asked - asked, 2 * 1000);
}

static void test_trace_copy__first_one_is_timed_and_stands_for_itself(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer own = mf_tracer_own(rig->trace);
    copy(rig, &own, 1, 8, 8);
    assert_int_equal(rig_sum(rig, MF_POINT_COPY_PUT)->calls, 1);
}

/* A loop that copies a small header and a block by turns: the headers are half of the calls, and
 * half of the times. */
static void test_trace_copy__sampling_does_not_fall_in_step(void **state)
{
    struct trace_rig *rig = *state;
    for (uint64_t turn = 0; turn < 2; turn++) {
        struct mf_tracer own = mf_tracer_own(rig->trace);
        struct mf_trace_sum before = *rig_sum(rig, MF_POINT_COPY_PUT);
        struct mf_trace_sum latest;
        copy(rig, &own, 100000, turn ? 16 : 1 << 20, turn ? 1 << 20 : 16);
        mf_trace_sum_between(&before, rig_sum(rig, MF_POINT_COPY_PUT), &latest);
        assert_near(latest.buckets[mf_trace_bucket(16)], 50000, 3);
        assert_near(latest.buckets[mf_trace_bucket(1 << 20)], 50000, 1);
    }
}

/* ---- buckets and quantiles ---- */

static void test_trace_bucket__holds_its_times(void **state)
{
    (void)state;
    uint64_t ns = 0;
    assert_int_equal(mf_trace_bucket(UINT64_MAX), MF_TRACE_BUCKETS - 1);
    for (uint32_t bucket = 0; bucket < MF_TRACE_BUCKETS; bucket++) {
        assert_int_equal(mf_trace_bucket_low(bucket), ns); /* no gap */
        ns = mf_trace_bucket_low(bucket + 1);
        assert_int_equal(mf_trace_bucket(mf_trace_bucket_low(bucket)), bucket);
        assert_int_equal(mf_trace_bucket(ns - 1), bucket);
        assert_true(ns - mf_trace_bucket_low(bucket) <= 1 + mf_trace_bucket_low(bucket) / 8);
    }
    assert_int_equal(ns, 1ull << MF_TRACE_TOP_BITS);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_trace_sum_quantile__agrees_with_a_sorted_list(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer own = mf_tracer_own(rig->trace);
    enum { COUNT = 20000 };
    static uint64_t times[COUNT];
    const double shares[] = {0, 0.01, 0.5, 0.9, 0.99, 0.999, 1};
    uint64_t seed = 12345;
    for (int i = 0; i < COUNT; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        times[i] = 20 + ((seed >> 33) % 1000 << (seed >> 60)); /* from 20 ns to 32 us, skewed */
        rig_call(rig, &own, MF_POINT_COPY_GET, times[i], SMEM_OK, 1);
    }
    qsort(times, COUNT, sizeof(times[0]), by_value);
    const struct mf_trace_sum *sum = rig_sum(rig, MF_POINT_COPY_GET);
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        uint64_t exact = times[(size_t)(shares[i] * (COUNT - 1))];
        uint64_t got = mf_trace_sum_quantile(sum, shares[i]);
        if (got + got / 7 < exact || got > exact + exact / 7) {
            fail_msg("quantile %g is %llu, exactly %llu", shares[i], (unsigned long long)got,
                     (unsigned long long)exact);
        }
    }
    assert_int_equal(sum->min_ns, times[0]);
    assert_int_equal(sum->max_ns, times[COUNT - 1]);
}

static void test_trace_sum_quantile__of_nothing_and_of_one(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer own = mf_tracer_own(rig->trace);
    assert_int_equal(mf_trace_sum_quantile(rig_sum(rig, MF_POINT_BM_WAIT), 0.5), 0);
    rig_call(rig, &own, MF_POINT_BM_WAIT, 12345, SMEM_OK, 0);
    const struct mf_trace_sum *sum = rig_sum(rig, MF_POINT_BM_WAIT);
    assert_int_equal(mf_trace_sum_quantile(sum, 0.5), 12345);
    assert_int_equal(mf_trace_sum_quantile(sum, 0.999), 12345);
}

static void test_trace_sum_between__is_what_came_since(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer own = mf_tracer_own(rig->trace);
    struct mf_trace_sum latest;
    rig_call(rig, &own, MF_POINT_COPY_PUT, 1000000, SMEM_OK, 100);
    struct mf_trace_sum before = *rig_sum(rig, MF_POINT_COPY_PUT);
    rig_call(rig, &own, MF_POINT_COPY_PUT, 10, SMEM_OK, 5);
    rig_call(rig, &own, MF_POINT_COPY_PUT, 10, SMEM_ERROR, 5);
    mf_trace_sum_between(&before, rig_sum(rig, MF_POINT_COPY_PUT), &latest);
    assert_int_equal(latest.begun, 2);
    assert_int_equal(latest.good, 1);
    assert_int_equal(latest.bad, 1);
    assert_int_equal(latest.bytes, 5);
    assert_int_equal(latest.total_ns, 10);
    assert_in_range(mf_trace_sum_quantile(&latest, 0.99), 10, 11);
    assert_in_range(latest.max_ns, 10, 11);
}

/* ---- threads ---- */

#define THREADS 4
#define CALLS   20000

struct worker {
    struct mf_tracer tracer;
    pthread_t thread;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    for (int i = 0; i < CALLS; i++) {
        struct mf_span span = mf_trace_begin_sampled(&worker->tracer, MF_POINT_COPY_PUT, 8);
        (void)mf_trace_end(&span, i % 10 == 0 ? SMEM_ERROR : SMEM_OK, 8);
        span = mf_trace_begin(&worker->tracer, MF_POINT_BM_WAIT);
        (void)mf_trace_end(&span, SMEM_OK, 0);
    }
    return NULL;
}

static void test_trace__counts_of_many_threads_are_exact(void **state)
{
    struct trace_rig *rig = *state;
    struct worker workers[THREADS];
    uint64_t seen = 0;
    rig->step_ns = 3;
    for (int i = 0; i < THREADS; i++) { /* half of them share block 0 */
        workers[i].tracer = i % 2 ? mf_tracer_own(rig->trace) : mf_tracer_shared(rig->trace);
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 200; i++) { /* read meanwhile */
        const struct mf_trace_sum *sum = rig_sum(rig, MF_POINT_COPY_PUT);
        assert_true(sum->begun >= seen);
        assert_true(mf_trace_sum_on_fly(sum) <= sum->begun);
        seen = sum->begun;
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    const struct mf_trace_sum *sum = rig_sum(rig, MF_POINT_COPY_PUT);
    assert_int_equal(sum->begun, THREADS * CALLS);
    assert_int_equal(sum->bad, THREADS * CALLS / 10);
    assert_int_equal(sum->bytes, THREADS * (CALLS - CALLS / 10) * 8);
    assert_int_equal(rig_sum(rig, MF_POINT_BM_WAIT)->calls, THREADS * CALLS);
}

/* ---- the memory ---- */

static void test_trace_create__memory_is_small_until_it_is_used(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer shared = mf_tracer_shared(rig->trace);
    struct stat st;
    for (int p = 0; p < MF_POINT_COUNT; p++) {
        rig_call(rig, &shared, (enum mf_point)p, 10, SMEM_OK, 0);
    }
    (void)rig_sum(rig, MF_POINT_BM_INIT);
    assert_int_equal(fstat(rig->trace->fd, &st), 0);
    assert_in_range(st.st_blocks * 512, 4096, 128 * 1024);
}

static void test_trace_create__only_its_user_opens_it_and_nobody_shrinks_it(void **state)
{
    struct trace_rig *rig = *state;
    struct stat st;
    assert_int_equal(fstat(rig->trace->fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, sizeof(struct mf_trace_memory));
    int seals = fcntl(rig->trace->fd, F_GET_SEALS);
    assert_int_equal(seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
                     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    assert_int_equal(ftruncate(rig->trace->fd, 4096), -1);
    if (seals & F_SEAL_FUTURE_WRITE) {
        assert_int_equal(pwrite(rig->trace->fd, "x", 1, 0), -1);
    }
    assert_int_equal(fcntl(rig->trace->fd, F_GETFD), FD_CLOEXEC);
}

static void test_trace_create__without_descriptors_says_so(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_trace *more = rig->trace;
    struct rlimit was;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int rc = mf_trace_create(&rig->env, &more);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    mf_assert_rc(rc, SMEM_NO_RESOURCES);
    mf_assert_err_has("memfd_create");
    assert_null(more);
}

static int create_once(void *arg)
{
    struct trace_rig *rig = arg;
    struct mf_trace *more = NULL;
    int rc = mf_trace_create(&rig->env, &more);
    assert_true((more != NULL) == (rc == SMEM_OK));
    mf_trace_destroy(more);
    return rc;
}

static void test_trace_create__without_memory_leaves_nothing(void **state)
{
    assert_true(mf_torture(create_once, *state) > 0);
}

/* A child has no trace memory of its parent: what it would count for it is a crash in the test and
 * impossible in the library, which forgets its tracers. */
static void test_trace__child_cannot_count_for_its_parent(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer own = mf_tracer_own(rig->trace);
    unsigned char in_core = 0;
    rig_call(rig, &own, MF_POINT_COPY_PUT, 10, SMEM_OK, 1);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = rig->trace->fd;
        bool mapped = mincore(own.own, 4096, &in_core) == 0;
        mf_trace_close_fd(rig->trace);
        _exit(!mapped && errno == ENOMEM && fcntl(fd, F_GETFD) == -1 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    rig_call(rig, &own, MF_POINT_COPY_PUT, 10, SMEM_OK, 1);
    assert_int_equal(rig_sum(rig, MF_POINT_COPY_PUT)->bytes, 2);
}

static void test_trace_points__have_names_and_numbers_of_their_own(void **state)
{
    struct trace_rig *rig = *state;
    const struct mf_trace_head *head = &rig->trace->memory->head;
    assert_int_equal(head->points, MF_POINT_COUNT);
    for (uint32_t a = 0; a < MF_POINT_COUNT; a++) {
        assert_true(head->point[a].id >> 16 >= 1 && (head->point[a].id & 0xffff) >= 1);
        assert_in_range(strlen(head->point[a].name), 1, MF_TRACE_NAME_MAX - 1);
        assert_string_equal(head->point[a].name, mf_trace_point_name((enum mf_point)a));
        for (uint32_t b = 0; b < a; b++) {
            assert_int_not_equal(head->point[a].id, head->point[b].id);
            assert_string_not_equal(head->point[a].name, head->point[b].name);
        }
    }
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_trace__counts_calls_failures_and_bytes),
        WITH_RIG(test_trace__call_under_way_is_on_the_fly),
        WITH_RIG(test_trace__shared_block_counts_as_an_own_one),
        WITH_RIG(test_trace__that_is_off_does_nothing),
        WITH_RIG(test_trace_event__has_no_duration),
        WITH_RIG(test_tracer_own__is_nobody_elses_until_all_are_taken),
        WITH_RIG(test_trace__two_in_one_process_do_not_mix),
        WITH_RIG(test_trace_copy__small_ones_are_timed_once_in_64),
        WITH_RIG(test_trace_copy__medium_once_in_16_and_large_always),
        WITH_RIG(test_trace_copy__first_one_is_timed_and_stands_for_itself),
        WITH_RIG(test_trace_copy__sampling_does_not_fall_in_step),
        cmocka_unit_test(test_trace_bucket__holds_its_times),
        WITH_RIG(test_trace_sum_quantile__agrees_with_a_sorted_list),
        WITH_RIG(test_trace_sum_quantile__of_nothing_and_of_one),
        WITH_RIG(test_trace_sum_between__is_what_came_since),
        WITH_RIG(test_trace__counts_of_many_threads_are_exact),
        WITH_RIG(test_trace_create__memory_is_small_until_it_is_used),
        WITH_RIG(test_trace_create__only_its_user_opens_it_and_nobody_shrinks_it),
        WITH_RIG(test_trace_create__without_descriptors_says_so),
        WITH_RIG(test_trace_create__without_memory_leaves_nothing),
        WITH_RIG(test_trace__child_cannot_count_for_its_parent),
        WITH_RIG(test_trace_points__have_names_and_numbers_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
