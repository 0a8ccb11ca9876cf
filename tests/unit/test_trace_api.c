// SPDX-License-Identifier: Apache-2.0
// Tests of mf_trace.h and of what the calls of smem_bm.h count.
#include "unit/api_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "memfabric/mf_trace.h"
#include "memfabric/mf_xcopy.h"

/* ---- counts of one point ---- */

struct wanted {
    const char *name;
    mf_trace_point_t point;
    int found;
};

static void take(void *arg, const mf_trace_point_t *point)
{
    struct wanted *wanted = arg;
    if (strcmp(point->name, wanted->name) == 0) {
        wanted->point = *point;
        wanted->found++;
    }
}

/* Since the process began; zeros when it was never called. */
static mf_trace_point_t point_of(const char *name)
{
    struct wanted wanted = {.name = name};
    mf_trace_reader_t *reader = NULL;
    mf_trace_process_t process;
    mf_assert_ok(mf_trace_open(getpid(), &reader));
    mf_assert_ok(mf_trace_read(reader, &process, take, &wanted));
    mf_trace_close(reader);
    assert_in_range(wanted.found, 0, 1);
    assert_int_equal(process.pid, getpid());
    assert_int_equal(process.alive, 1);
    return wanted.point;
}

static void assert_counts(const char *name, const mf_trace_point_t *before, uint64_t good,
                          uint64_t bad, uint64_t bytes)
{
    mf_trace_point_t now = point_of(name);
    if (now.total.good - before->total.good != good || now.total.bad - before->total.bad != bad ||
        now.total.bytes - before->total.bytes != bytes || now.on_fly != 0) {
        fail_msg("%s: %llu good, %llu bad, %llu bytes, %llu on the fly", name,
                 (unsigned long long)(now.total.good - before->total.good),
                 (unsigned long long)(now.total.bad - before->total.bad),
                 (unsigned long long)(now.total.bytes - before->total.bytes),
                 (unsigned long long)now.on_fly);
    }
    assert_int_equal(now.total.begun, now.total.good + now.total.bad);
}

static uint8_t *own(smem_bm_t pool)
{
    return smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, (uint16_t)smem_bm_get_rank_id());
}

static int32_t copy(smem_bm_t pool, void *dst, const void *src, uint64_t size, uint32_t flags)
{
    smem_copy_params params = {.src = src, .dest = dst, .dataSize = size};
    return smem_bm_copy(pool, &params, SMEMB_COPY_AUTO, flags);
}

/* ---- what calls count ---- */

static void test_trace_copy__counts_by_direction(void **state)
{
    (void)state;
    static uint8_t local[8192];
    smem_bm_t pool = api_pool(1);
    uint8_t *gva = own(pool);
    mf_trace_point_t put = point_of("BM_COPY_PUT");
    mf_trace_point_t get = point_of("BM_COPY_GET");
    mf_trace_point_t global = point_of("BM_COPY_GLOBAL");
    mf_trace_point_t inside = point_of("BM_COPY_LOCAL");
    mf_trace_point_t refused = point_of("BM_COPY_REFUSED");
    for (int i = 0; i < 1000; i++) {
        mf_assert_ok(copy(pool, gva, local, 8, 0));
    }
    mf_assert_ok(copy(pool, gva, local, 4096, 0));
    for (int i = 0; i < 3; i++) {
        mf_assert_ok(copy(pool, local, gva, 100, 0));
    }
    mf_assert_ok(copy(pool, gva + 4096, gva, 10, 0));
    mf_assert_ok(copy(pool, local + 4096, local, 20, 0));
    assert_true(copy(pool, gva + 4 * MIB - 4, local, 8, 0) != SMEM_OK); /* past the slot's end */
    assert_true(copy(pool, gva, local, 0, 0) != SMEM_OK);
    assert_true(copy(NULL, gva, local, 8, 0) != SMEM_OK);
    assert_true(copy((smem_bm_t)(uintptr_t)0x1234, gva, local, 8, 0) != SMEM_OK);
    assert_counts("BM_COPY_PUT", &put, 1001, 1, 1000 * 8 + 4096);
    assert_counts("BM_COPY_GET", &get, 3, 0, 300);
    assert_counts("BM_COPY_GLOBAL", &global, 1, 0, 10);
    assert_counts("BM_COPY_LOCAL", &inside, 1, 0, 20);
    assert_counts("BM_COPY_REFUSED", &refused, 0, 3, 0);
    mf_trace_point_t now = point_of("BM_COPY_PUT");
    assert_in_range(now.total.timed, 1, now.total.good + 64);
    assert_true(now.total.p50_ns > 0 && now.total.p50_ns <= now.total.p99_ns);
    assert_true(now.total.p99_ns <= now.total.max_ns && now.total.min_ns <= now.total.p50_ns);
    smem_bm_destroy(pool);
}

static void test_trace_batch__counts_bytes_of_all_elements(void **state)
{
    (void)state;
    static uint8_t local[4096];
    smem_bm_t pool = api_pool(1);
    uint8_t *gva = own(pool);
    void *src[] = {local, local + 512, gva};
    void *dst[] = {gva, gva + 8192, local + 1024};
    uint64_t size[] = {100, 200, 300};
    int32_t codes[3];
    smem_batch_copy_params params = {
        .sources = src, .destinations = dst, .dataSizes = size, .batchSize = 3};
    smem_batch_copy_result result = {.results = codes, .batchSize = 3};
    mf_trace_point_t batch = point_of("BM_COPY_BATCH");
    mf_trace_point_t async = point_of("BM_COPY_ASYNC");
    mf_trace_point_t queued = point_of("BM_COPY_QUEUED");
    mf_trace_point_t wait = point_of("BM_WAIT");
    mf_trace_point_t refused = point_of("BM_COPY_REFUSED");
    mf_assert_ok(smem_bm_copy_batch(pool, &params, SMEMB_COPY_AUTO, 0));
    mf_assert_ok(smem_bm_copy_batch_partial_succeed(pool, &params, SMEMB_COPY_AUTO, 0, &result));
    mf_assert_ok(smem_bm_copy_batch(pool, &params, SMEMB_COPY_AUTO, ASYNC_COPY_FLAG));
    mf_assert_ok(copy(pool, gva, local, 50, ASYNC_COPY_FLAG));
    mf_assert_ok(smem_bm_wait(pool));
    params.batchSize = 0;
    assert_true(smem_bm_copy_batch(pool, &params, SMEMB_COPY_AUTO, 0) != SMEM_OK);
    params.batchSize = 2;
    assert_true(smem_bm_copy_batch_partial_succeed(pool, &params, SMEMB_COPY_AUTO, 0, &result) !=
                SMEM_OK);
    assert_true(smem_bm_wait(NULL) != SMEM_OK);
    smem_bm_destroy(pool); /* the worker has ended */
    assert_counts("BM_COPY_BATCH", &batch, 2, 0, 1200);
    assert_counts("BM_COPY_ASYNC", &async, 2, 0, 650);
    assert_counts("BM_COPY_QUEUED", &queued, 2, 0, 650);
    assert_counts("BM_WAIT", &wait, 1, 1, 0);
    assert_counts("BM_COPY_REFUSED", &refused, 0, 2, 0);
}

static void test_trace_request__counts_submitting_waiting_and_preparing(void **state)
{
    (void)state;
    static uint8_t local[4096];
    smem_bm_t pool = api_pool(1);
    uint8_t *gva = own(pool);
    void *src[] = {local, local + 512};
    void *dst[] = {gva, gva + 8192};
    uint64_t size[] = {100, 200};
    int32_t status = 0;
    mf_request_t request = NULL;
    mf_prepared_t prepared = NULL;
    mf_xcopy_batch_t batch = {.size = sizeof(batch),
                              .count = 2,
                              .sources = src,
                              .destinations = dst,
                              .sizes = size,
                              .type = SMEMB_COPY_AUTO};
    mf_trace_point_t submit = point_of("XCOPY_SUBMIT");
    mf_trace_point_t wait = point_of("XCOPY_WAIT");
    mf_trace_point_t compile = point_of("PREPARED_COMPILE");
    mf_trace_point_t again = point_of("PREPARED_SUBMIT");
    mf_trace_point_t run = point_of("PREPARED_RUN");
    mf_assert_ok(mf_xcopy_submit(pool, &batch, &request));
    mf_assert_ok(mf_request_wait(request, 10000, &status));
    mf_assert_ok(status);
    mf_assert_ok(mf_request_free(request));
    assert_true(mf_request_wait(request, 1, &status) != SMEM_OK);
    assert_true(mf_xcopy_submit(pool, NULL, &request) != SMEM_OK);
    mf_assert_ok(mf_prepare_list(pool, &batch, &prepared));
    mf_assert_ok(mf_prepared_free(prepared));
    assert_true(mf_prepare_list(pool, NULL, &prepared) != SMEM_OK);
    mf_assert_ok(mf_prepare_list(pool, &batch, &prepared));
    mf_assert_ok(mf_prepared_submit(prepared, 0, 0, 0, 0, &request));
    mf_assert_ok(mf_request_wait(request, 10000, &status));
    mf_assert_ok(mf_request_free(request));
    assert_true(mf_prepared_submit(prepared, 0, 0, 0, 0, NULL) != SMEM_OK);
    mf_assert_ok(mf_prepared_run(prepared, 0, 0, 10000));
    mf_assert_ok(mf_prepared_free(prepared));
    assert_true(mf_prepared_run(prepared, 0, 0, 10000) != SMEM_OK);
    assert_counts("XCOPY_SUBMIT", &submit, 1, 1, 300);
    assert_counts("XCOPY_WAIT", &wait, 2, 1, 0);
    assert_counts("PREPARED_COMPILE", &compile, 2, 1, 0);
    assert_counts("PREPARED_SUBMIT", &again, 1, 1, 300);
    assert_counts("PREPARED_RUN", &run, 1, 1, 300);
    smem_bm_destroy(pool);
}

static void test_trace_life__counts_each_call(void **state)
{
    (void)state;
    static const char *const names[] = {
        "BM_CREATE",    "BM_JOIN",   "BM_LEAVE",        "BM_DESTROY",        "BM_PTR",
        "BM_TRANSLATE", "BM_EXTEND", "BM_REGISTER_MEM", "BM_UNREGISTER_MEM", "STORE_REQUEST"};
    enum { NAMES = sizeof(names) / sizeof(names[0]) };
    mf_trace_point_t before[NAMES];
    void *va = NULL;
    static uint8_t buffer[65536];
    for (size_t i = 0; i < NAMES; i++) {
        before[i] = point_of(names[i]);
    }
    assert_null(smem_bm_create2(1, NULL));
    assert_null(smem_bm_create(64, 0, SMEMB_DATA_OP_SDMA, 2 * MIB, 0, 0));
    smem_bm_t pool = api_pool(1);
    assert_true(smem_bm_join(NULL, 0) != SMEM_OK);
    assert_non_null(own(pool));
    assert_null(smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 1000));
    mf_assert_ok(smem_bm_gva_to_va(pool, own(pool), SMEM_MEM_TYPE_LOCAL_HOST, &va));
    assert_true(smem_bm_gva_to_va(pool, NULL, SMEM_MEM_TYPE_LOCAL_HOST, NULL) != SMEM_OK);
    assert_true(smem_bm_extend_local_mem(pool, SMEM_MEM_TYPE_HOST, 1) != SMEM_OK);
    mf_assert_ok(smem_bm_register_user_mem(pool, (uint64_t)(uintptr_t)buffer, sizeof(buffer)));
    assert_true(smem_bm_register_user_mem(pool, 0, 1) != SMEM_OK);
    mf_assert_ok(smem_bm_unregister_user_mem(pool, (uint64_t)(uintptr_t)buffer));
    mf_assert_ok(smem_bm_leave(pool, 0));
    smem_bm_destroy(pool);
    smem_bm_destroy(pool); /* stale */
    assert_counts("BM_CREATE", &before[0], 1, 2, 0);
    assert_counts("BM_JOIN", &before[1], 1, 1, 0);
    assert_counts("BM_LEAVE", &before[2], 1, 0, 0);
    assert_counts("BM_DESTROY", &before[3], 1, 1, 0);
    assert_counts("BM_PTR", &before[4], 2, 1, 0);
    assert_counts("BM_TRANSLATE", &before[5], 1, 1, 0);
    assert_counts("BM_EXTEND", &before[6], 0, 1, 0);
    assert_counts("BM_REGISTER_MEM", &before[7], 1, 1, sizeof(buffer));
    assert_counts("BM_UNREGISTER_MEM", &before[8], 1, 0, 0);
    assert_true(point_of("STORE_REQUEST").total.good > before[9].total.good);
    assert_int_equal(point_of("STORE_REQUEST").on_fly, 0);
}

static void test_trace_life__goes_on_over_uninit_and_init(void **state)
{
    (void)state;
    mf_trace_reader_t *reader = NULL;
    mf_trace_process_t process;
    mf_trace_point_t init = point_of("BM_INIT");
    mf_trace_point_t uninit = point_of("BM_UNINIT");
    smem_bm_config_t config = api_config();
    assert_true(smem_bm_init(ANY_PORT, 0, 0, &config) != SMEM_OK);
    mf_assert_ok(mf_trace_open(getpid(), &reader));
    mf_assert_ok(mf_trace_read(reader, &process, NULL, NULL));
    uint64_t incarnation = process.incarnation;
    assert_int_equal(process.rank, smem_bm_get_rank_id());
    assert_int_equal(process.world, 4);
    assert_true(incarnation != 0);
    smem_bm_uninit(0);
    mf_assert_ok(mf_trace_read(reader, &process, NULL, NULL));
    assert_int_equal(process.rank, UINT32_MAX);
    assert_int_equal(process.world, 0);
    mf_assert_ok(api_setup(NULL));
    mf_assert_ok(mf_trace_read(reader, &process, NULL, NULL));
    assert_true(process.incarnation != incarnation && process.incarnation != 0);
    assert_true(process.total_ns > process.latest_ns);
    mf_trace_close(reader);
    assert_counts("BM_INIT", &init, 1, 1, 0);
    assert_counts("BM_UNINIT", &uninit, 1, 0, 0);
}

/* ---- the public calls ---- */

static void test_mf_trace_read__latest_is_since_the_last_read(void **state)
{
    (void)state;
    struct wanted wanted = {.name = "BM_WAIT"};
    mf_trace_reader_t *reader = NULL;
    mf_trace_process_t process;
    smem_bm_t pool = api_pool(1);
    for (int i = 0; i < 5; i++) {
        mf_assert_ok(smem_bm_wait(pool));
    }
    mf_assert_ok(mf_trace_open(getpid(), &reader));
    mf_assert_ok(mf_trace_read(reader, &process, take, &wanted));
    assert_memory_equal(&wanted.point.latest, &wanted.point.total, sizeof(wanted.point.total));
    assert_int_equal(process.latest_ns, process.total_ns);
    uint64_t total = wanted.point.total.begun;
    mf_assert_ok(smem_bm_wait(pool));
    mf_assert_ok(smem_bm_wait(pool));
    mf_assert_ok(mf_trace_read(reader, &process, take, &wanted));
    assert_int_equal(wanted.point.latest.begun, 2);
    assert_int_equal(wanted.point.latest.timed, 2);
    assert_int_equal(wanted.point.total.begun, total + 2);
    assert_int_equal(wanted.point.id, 2u << 16 | 9u);
    mf_trace_close(reader);
    smem_bm_destroy(pool);
}

static void test_mf_trace__refuses_bad_arguments(void **state)
{
    (void)state;
    mf_trace_reader_t *reader = NULL;
    mf_trace_process_t process;
    size_t need = 7;
    assert_refused(mf_trace_find(NULL, NULL), SMEM_INVALID_PARAM, "mf_trace_find: fn is NULL");
    assert_refused(mf_trace_open(getpid(), NULL), SMEM_INVALID_PARAM, "reader is NULL");
    assert_refused(mf_trace_open(0, &reader), SMEM_INVALID_PARAM, "pid 0 is no process id");
    assert_refused(mf_trace_open(-5, &reader), SMEM_INVALID_PARAM, "pid -5");
    assert_refused(mf_trace_open(0x7ffffffe, &reader), SMEM_NOT_EXIST, "there is no process");
    assert_refused(mf_trace_read(NULL, &process, NULL, NULL), SMEM_INVALID_PARAM, "reader is NULL");
    mf_assert_ok(mf_trace_open(getpid(), &reader));
    assert_refused(mf_trace_read(reader, NULL, NULL, NULL), SMEM_INVALID_PARAM, "process is NULL");
    mf_trace_close(reader);
    mf_trace_close(NULL);
    assert_refused(mf_trace_table(NULL, 10, &need), SMEM_INVALID_PARAM,
                   "buf is NULL and cap is 10");
    assert_refused(mf_trace_thread(2), SMEM_INVALID_PARAM, "on is 2, not 0 or 1");
    assert_refused(mf_trace_thread(-1), SMEM_INVALID_PARAM, "on is -1");
}

static void test_mf_trace_table__is_whole_or_cut_to_lines(void **state)
{
    (void)state;
    size_t need = 0;
    static char text[16384];
    char part[16384];
    mf_assert_ok(mf_trace_table(NULL, 0, &need));
    assert_in_range(need, 2 * 184, sizeof(text) - 1);
    mf_assert_ok(mf_trace_table(text, sizeof(text), &need));
    assert_int_equal(strlen(text), need);
    assert_int_equal(need % 184, 0);
    assert_memory_equal(text, "TIME   ", 7);
    assert_non_null(strstr(text, "BM_INIT"));
    for (size_t cap = 1; cap <= 600; cap += 61) {
        size_t whole = (cap - 1) / 184 * 184;
        memset(part, 'x', sizeof(part));
        mf_assert_ok(mf_trace_table(part, cap, NULL));
        assert_int_equal(strlen(part), whole);
        assert_int_equal(part[cap], 'x');
        assert_true(whole == 0 || memcmp(part, text, 184) == 0);
    }
}

static void test_mf_trace_thread__leaves_its_calls_out(void **state)
{
    (void)state;
    static uint8_t local[64];
    smem_bm_t pool = api_pool(1);
    uint8_t *gva = own(pool);
    mf_trace_point_t put = point_of("BM_COPY_PUT");
    mf_trace_point_t wait = point_of("BM_WAIT");
    mf_assert_ok(mf_trace_thread(0));
    mf_assert_ok(copy(pool, gva, local, 8, 0));
    mf_assert_ok(smem_bm_wait(pool));
    assert_counts("BM_COPY_PUT", &put, 0, 0, 0);
    assert_counts("BM_WAIT", &wait, 0, 0, 0);
    mf_assert_ok(mf_trace_thread(1));
    mf_assert_ok(copy(pool, gva, local, 8, 0));
    assert_counts("BM_COPY_PUT", &put, 1, 0, 8);
    smem_bm_destroy(pool);
}

/* ---- threads ---- */

struct churn {
    smem_bm_t pool;
    uint8_t *gva;
    int32_t rc;
};

static void *copy_twice(void *arg)
{
    struct churn *churn = arg;
    uint8_t local[16] = {0};
    churn->rc = copy(churn->pool, churn->gva, local, 16, 0);
    churn->rc = churn->rc == SMEM_OK ? copy(churn->pool, local, churn->gva, 16, 0) : churn->rc;
    (void)mf_trace_thread(0); /* the next thread that gets its entry counts all the same */
    return NULL;
}

/* More threads than there are entries, some at a time. */
static void test_trace__counts_of_600_threads_are_exact(void **state)
{
    (void)state;
    enum { AT_A_TIME = 20, ROUNDS = 30 };
    smem_bm_t pool = api_pool(1);
    struct churn churn[AT_A_TIME];
    pthread_t threads[AT_A_TIME];
    mf_trace_point_t put = point_of("BM_COPY_PUT");
    mf_trace_point_t get = point_of("BM_COPY_GET");
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < AT_A_TIME; i++) {
            churn[i] = (struct churn){.pool = pool, .gva = own(pool) + 64 * i};
            assert_int_equal(pthread_create(&threads[i], NULL, copy_twice, &churn[i]), 0);
        }
        for (int i = 0; i < AT_A_TIME; i++) {
            pthread_join(threads[i], NULL);
            mf_assert_ok(churn[i].rc);
        }
    }
    assert_counts("BM_COPY_PUT", &put, 600, 0, 600 * 16);
    assert_counts("BM_COPY_GET", &get, 600, 0, 600 * 16);
    smem_bm_destroy(pool);
}

/* ---- fork, options ---- */

static int count_in_child(void *arg)
{
    static uint8_t local[64];
    smem_copy_params params = {.src = local, .dest = arg, .dataSize = 8};
    size_t need = 0;
    char link[64];
    if (mf_trace_table(NULL, 0, &need) != SMEM_NOT_INIT) {
        return 1;
    }
    if (smem_bm_copy((smem_bm_t)(uintptr_t)1, &params, SMEMB_COPY_AUTO, 0) == SMEM_OK) {
        return 2;
    }
    for (int fd = 3; fd < 200; fd++) { /* it has no descriptor of its parent's */
        char path[64];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, link, sizeof(link) - 1);
        link[n > 0 ? n : 0] = '\0';
        if (strstr(link, "memfabric-trace") != NULL) {
            return 3;
        }
    }
    return 0;
}

static void test_trace__forked_child_counts_nothing_for_its_parent(void **state)
{
    (void)state;
    smem_bm_t pool = api_pool(1);
    mf_trace_point_t refused = point_of("BM_COPY_REFUSED");
    assert_int_equal(api_in_child(count_in_child, own(pool)), 0);
    assert_counts("BM_COPY_REFUSED", &refused, 0, 0, 0);
    smem_bm_destroy(pool);
}

static int begin_anew_in_child(void *arg)
{
    mf_trace_reader_t *reader = NULL;
    mf_trace_process_t process;
    struct wanted wanted = {.name = "BM_INIT"};
    (void)arg;
    if (api_setup(NULL) != SMEM_OK || mf_trace_open(getpid(), &reader) != SMEM_OK ||
        mf_trace_read(reader, &process, take, &wanted) != SMEM_OK) {
        return 1;
    }
    smem_bm_uninit(0);
    return wanted.point.total.begun == 1 ? 0 : 2; /* its own, not its parent's too */
}

static void test_trace__forked_child_that_begins_anew_has_its_own(void **state)
{
    (void)state;
    api_skip_without_threads_after_fork();
    mf_trace_point_t init = point_of("BM_INIT");
    assert_int_equal(api_in_child(begin_anew_in_child, NULL), 0);
    assert_counts("BM_INIT", &init, 0, 0, 0);
}

/* Options are read once in a process, so each gets one of its own. */
static int off_in_child(void *arg)
{
    size_t need = 0;
    mf_trace_reader_t *reader = NULL;
    (void)arg;
    setenv("MF_TRACE", "off", 1);
    if (mf_trace_table(NULL, 0, &need) != SMEM_NOT_INIT || api_setup(NULL) != SMEM_OK) {
        return 1;
    }
    smem_bm_t pool = smem_bm_create(1, 0, SMEMB_DATA_OP_SDMA, 4 * MIB, 0, 0);
    if (pool == NULL || smem_bm_join(pool, 0) != SMEM_OK || smem_bm_wait(pool) != SMEM_OK) {
        return 2;
    }
    int32_t rc = mf_trace_open(getpid(), &reader);
    int32_t table = mf_trace_table(NULL, 0, &need);
    int32_t thread = mf_trace_thread(0);
    smem_bm_uninit(0);
    return rc == SMEM_NOT_EXIST && table == SMEM_NOT_INIT && thread == SMEM_NOT_INIT ? 0 : 3;
}

static void test_trace_option__off_counts_nothing(void **state)
{
    (void)state;
    assert_int_equal(api_in_child(off_in_child, NULL), 0);
}

static int file_in_child(void *arg)
{
    char path[160];
    struct stat st;
    setenv("MF_TRACE_DIR", arg, 1);
    if (api_setup(NULL) != SMEM_OK) {
        return 1;
    }
    smem_bm_uninit(0); /* writes the period that it ends */
    snprintf(path, sizeof(path), "%s/ptracer_%d.dat", (const char *)arg, (int)getpid());
    if (stat(path, &st) != 0) {
        return errno == ENOENT ? 2 : 3;
    }
    unlink(path);
    return st.st_size >= 2 * 184 && st.st_size % 184 == 0 ? 0 : 4;
}

static void test_trace_option__dir_gets_the_table(void **state)
{
    (void)state;
    char dir[] = "/tmp/mf-trace-api-XXXXXX";
    assert_non_null(mkdtemp(dir));
    assert_int_equal(api_in_child(file_in_child, dir), 0);
    rmdir(dir);
}

static void test_trace_option__dir_that_cannot_be_made_is_no_failure(void **state)
{
    (void)state;
    assert_int_equal(api_in_child(file_in_child, "/dev/null/no"), 3);
}

static int call_before_init(void *arg)
{
    size_t need = 7;
    char text[8] = "x";
    (void)arg;
    mf_trace_reader_t *reader = NULL;
    bool ok = mf_trace_table(text, sizeof(text), &need) == SMEM_NOT_INIT && need == 0 &&
              text[0] == '\0' && mf_trace_thread(1) == SMEM_NOT_INIT &&
              mf_trace_open(getpid(), &reader) == SMEM_NOT_EXIST && reader == NULL;
    return ok ? 0 : 1;
}

static void test_mf_trace__before_init_says_so(void **state)
{
    (void)state;
    assert_int_equal(api_in_child(call_before_init, NULL), 0);
}

#define WITH_SERVICE(test) cmocka_unit_test_setup_teardown(test, api_setup, api_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* These first: their children begin with a process that has not used the library. */
        cmocka_unit_test(test_mf_trace__before_init_says_so),
        cmocka_unit_test(test_trace_option__off_counts_nothing),
        cmocka_unit_test(test_trace_option__dir_gets_the_table),
        cmocka_unit_test(test_trace_option__dir_that_cannot_be_made_is_no_failure),
        WITH_SERVICE(test_trace_copy__counts_by_direction),
        WITH_SERVICE(test_trace_batch__counts_bytes_of_all_elements),
        WITH_SERVICE(test_trace_request__counts_submitting_waiting_and_preparing),
        WITH_SERVICE(test_trace_life__counts_each_call),
        WITH_SERVICE(test_trace_life__goes_on_over_uninit_and_init),
        WITH_SERVICE(test_mf_trace_read__latest_is_since_the_last_read),
        WITH_SERVICE(test_mf_trace__refuses_bad_arguments),
        WITH_SERVICE(test_mf_trace_table__is_whole_or_cut_to_lines),
        WITH_SERVICE(test_mf_trace_thread__leaves_its_calls_out),
        WITH_SERVICE(test_trace__counts_of_600_threads_are_exact),
        WITH_SERVICE(test_trace__forked_child_counts_nothing_for_its_parent),
        WITH_SERVICE(test_trace__forked_child_that_begins_anew_has_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
