// SPDX-License-Identifier: Apache-2.0
// mf_xcopy.h as a program calls it: arguments, outcomes, handles that outlive what they came from,
// leave, destroy, uninit and fork with requests open.
#include <poll.h>
#include <pthread.h>

#include "api_fixture.h"
#include "memfabric/mf_xcopy.h"

#define WAIT_MS 60000u
#define KIB     1024ull

static int setup(void **state)
{
    /* Read once a process: one worker, so that what stands behind a slow request waits. */
    setenv("MF_COPY_WORKERS", "1", 1);
    return api_setup(state);
}

/* ---- helpers ---- */

struct one {
    void *src, *dst;
    uint64_t bytes;
    mf_xcopy_batch_t batch;
};

static mf_xcopy_batch_t *one(struct one *o, void *dst, void *src, uint64_t bytes, uint32_t flags)
{
    *o = (struct one){.src = src, .dst = dst, .bytes = bytes};
    o->batch = (mf_xcopy_batch_t){.size = sizeof(o->batch),
                                  .flags = flags,
                                  .count = 1,
                                  .type = SMEMB_COPY_AUTO,
                                  .sources = &o->src,
                                  .destinations = &o->dst,
                                  .sizes = &o->bytes};
    return &o->batch;
}

static char *memory_of(smem_bm_t pool)
{
    return smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
}

static int32_t wait_free(mf_request_t req)
{
    int32_t status = 1;
    mf_assert_ok(mf_request_wait(req, WAIT_MS, &status));
    mf_assert_ok(mf_request_free(req));
    return status;
}

#define SLOW_COUNT 100000u

/* A request that takes seconds unless it is stopped. */
static mf_request_t submit_slow(smem_bm_t pool)
{
    static char from[64 * KIB];
    void **src = calloc(SLOW_COUNT, sizeof(void *));
    void **dst = calloc(SLOW_COUNT, sizeof(void *));
    uint64_t *sizes = calloc(SLOW_COUNT, sizeof(uint64_t));
    mf_request_t req = NULL;
    for (uint32_t i = 0; i < SLOW_COUNT; i++) {
        src[i] = from;
        dst[i] = memory_of(pool) + (i % 8) * 2 * sizeof(from);
        sizes[i] = sizeof(from);
    }
    mf_xcopy_batch_t batch = {.size = sizeof(batch),
                              .count = SLOW_COUNT,
                              .type = SMEMB_COPY_H2G,
                              .sources = src,
                              .destinations = dst,
                              .sizes = sizes};
    mf_assert_ok(mf_xcopy_submit(pool, &batch, &req));
    free(src);
    free(dst);
    free(sizes);
    return req;
}

/* ---- requests ---- */

static void test_submit__copies_small_ones_at_once(void **state)
{
    (void)state;
    smem_bm_t pool = api_pool(1);
    struct one o;
    mf_request_t req = NULL;
    int32_t status = 1;
    int32_t code = 1;
    char text[64] = "x";
    char from[64] = "a request";
    mf_assert_ok(mf_xcopy_submit(pool, one(&o, memory_of(pool), from, sizeof(from), 0), &req));
    assert_string_equal(memory_of(pool), "a request");
    mf_assert_ok(mf_request_poll(req, &status));
    mf_assert_ok(status);
    mf_assert_ok(mf_request_results(req, &code, 1));
    mf_assert_ok(code);
    mf_assert_ok(mf_request_error(req, text, sizeof(text)));
    assert_string_equal(text, "");
    mf_assert_ok(mf_request_free(req));
    smem_bm_destroy(pool);
}

static void test_submit__hands_over_when_asked_to(void **state)
{
    (void)state;
    smem_bm_t pool = api_pool(1);
    struct one o;
    mf_request_t req = NULL;
    int fd = -1;
    char from[64] = "queued";
    mf_assert_ok(
        mf_xcopy_submit(pool, one(&o, memory_of(pool), from, sizeof(from), MF_XCOPY_QUEUED), &req));
    mf_assert_ok(mf_request_fd(req, &fd));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, WAIT_MS), 1);
    mf_assert_ok(wait_free(req));
    assert_string_equal(memory_of(pool), "queued");
    smem_bm_destroy(pool);
}

static void test_submit__tells_what_failed(void **state)
{
    (void)state;
    smem_bm_t pool = api_pool(1);
    struct one o;
    mf_request_t req = NULL;
    int32_t status = 0;
    char text[200];
    char from[64];
    for (uint32_t flags = 0; flags <= MF_XCOPY_QUEUED; flags++) {
        char *behind = memory_of(pool) + 4 * MIB - 8; /* into the next slot */
        mf_assert_ok(mf_xcopy_submit(pool, one(&o, behind, from, sizeof(from), flags), &req));
        mf_assert_ok(mf_request_wait(req, WAIT_MS, &status));
        mf_assert_rc(status, SMEM_INVALID_PARAM);
        mf_assert_rc(smem_get_last_err_code(), SMEM_INVALID_PARAM);
        mf_assert_err_has("copy AUTO");
        mf_err_clear();
        mf_assert_ok(mf_request_poll(req, &status)); /* and installs it again */
        mf_assert_err_has("copy AUTO");
        mf_assert_ok(mf_request_error(req, text, sizeof(text)));
        assert_non_null(strstr(text, "copy AUTO"));
        mf_assert_ok(mf_request_error(req, text, 5));
        assert_string_equal(text, "copy");
        mf_assert_ok(mf_request_free(req));
    }
    smem_bm_destroy(pool);
}

static void test_submit__checks_its_arguments(void **state)
{
    (void)state;
    smem_bm_t pool = api_pool(1);
    struct one o;
    mf_request_t req = (mf_request_t)1;
    char from[8];
    mf_xcopy_batch_t *b = one(&o, memory_of(pool), from, 8, 0);
    assert_refused(mf_xcopy_submit(NULL, b, &req), SMEM_INVALID_PARAM, "handle is NULL");
    assert_refused(mf_xcopy_submit(pool, b, NULL), SMEM_INVALID_PARAM, "out is NULL");
    assert_refused(mf_xcopy_submit(pool, NULL, &req), SMEM_INVALID_PARAM, "batch is NULL");
    assert_null(req);
    assert_refused(mf_xcopy_submit((smem_bm_t)12345, b, &req), SMEM_INVALID_PARAM, "no handle");
    b->size--;
    assert_refused(mf_xcopy_submit(pool, b, &req), SMEM_INVALID_PARAM, "batch->size");
    b = one(&o, memory_of(pool), from, 8, 6);
    assert_refused(mf_xcopy_submit(pool, b, &req), SMEM_INVALID_PARAM, "flags 0x6");
    b = one(&o, memory_of(pool), from, 8, 0);
    b->count = 0;
    assert_refused(mf_xcopy_submit(pool, b, &req), SMEM_INVALID_PARAM, "count 0");
    b->count = (1u << 24) + 1;
    assert_refused(mf_xcopy_submit(pool, b, &req), SMEM_INVALID_PARAM, "is not 1..");
    b = one(&o, memory_of(pool), from, 8, 0);
    b->type = (smem_bm_copy_type_t)99;
    assert_refused(mf_xcopy_submit(pool, b, &req), SMEM_INVALID_PARAM, "type 99");
    b = one(&o, memory_of(pool), from, 8, 0);
    b->sizes = NULL;
    assert_refused(mf_xcopy_submit(pool, b, &req), SMEM_INVALID_PARAM, "sizes is NULL");
    b->sources = NULL;
    assert_refused(mf_xcopy_submit(pool, b, &req), SMEM_INVALID_PARAM, "sources is NULL");
    b = one(&o, memory_of(pool), from, 8, 0);
    b->destinations = NULL;
    assert_refused(mf_xcopy_submit(pool, b, &req), SMEM_INVALID_PARAM, "destinations is NULL");
    b = one(&o, memory_of(pool), from, 8, 0);
    b->reserved = 1;
    assert_refused(mf_xcopy_submit(pool, b, &req), SMEM_INVALID_PARAM, "reserved");
    mf_assert_ok(smem_bm_leave(pool, 0));
    b = one(&o, memory_of(pool), from, 8, 0);
    assert_refused(mf_xcopy_submit(pool, b, &req), SMEM_NOT_STARTED, "has not joined");
    smem_bm_destroy(pool);
}

static void test_request__checks_handles_and_arguments(void **state)
{
    (void)state;
    smem_bm_t pool = api_pool(1);
    struct one o;
    mf_request_t req = NULL;
    int32_t status;
    int32_t codes[2];
    int fd;
    char from[8];
    char text[8];
    mf_assert_ok(mf_xcopy_submit(pool, one(&o, memory_of(pool), from, 8, 0), &req));
    assert_refused(mf_request_poll(req, NULL), SMEM_INVALID_PARAM, "status is NULL");
    assert_refused(mf_request_wait(req, 0, NULL), SMEM_INVALID_PARAM, "status is NULL");
    assert_refused(mf_request_results(req, NULL, 1), SMEM_INVALID_PARAM, "codes is NULL");
    assert_refused(mf_request_results(req, codes, 2), SMEM_INVALID_PARAM, "count 2");
    assert_refused(mf_request_error(req, NULL, 1), SMEM_INVALID_PARAM, "text is NULL");
    assert_refused(mf_request_error(req, text, 0), SMEM_INVALID_PARAM, "len is 0");
    assert_refused(mf_request_fd(req, NULL), SMEM_INVALID_PARAM, "fd is NULL");
    mf_assert_ok(mf_request_free(req));
    mf_request_t bad[] = {NULL, req, (mf_request_t)(uintptr_t)pool};
    for (size_t i = 0; i < 3; i++) {
        const char *says = i == 0 ? "is NULL" : "no handle of a request";
        assert_refused(mf_request_poll(bad[i], &status), SMEM_INVALID_PARAM, says);
        assert_refused(mf_request_wait(bad[i], 1, &status), SMEM_INVALID_PARAM, says);
        assert_refused(mf_request_results(bad[i], codes, 1), SMEM_INVALID_PARAM, says);
        assert_refused(mf_request_error(bad[i], text, 8), SMEM_INVALID_PARAM, says);
        assert_refused(mf_request_cancel(bad[i], 1), SMEM_INVALID_PARAM, says);
        assert_refused(mf_request_fd(bad[i], &fd), SMEM_INVALID_PARAM, says);
        assert_refused(mf_request_free(bad[i]), SMEM_INVALID_PARAM, says);
    }
    smem_bm_destroy(pool);
}

static void test_request__under_way_is_neither_told_nor_freed(void **state)
{
    (void)state;
    smem_bm_t pool = api_pool(1);
    int32_t status = 77;
    int32_t code;
    char text[8];
    mf_request_t req = submit_slow(pool);
    mf_err_clear();
    mf_assert_rc(mf_request_poll(req, &status), SMEM_TIMEOUT);
    assert_string_equal(smem_get_last_err_msg(), "");
    assert_int_equal(status, 77);
    assert_refused(mf_request_wait(req, 1, &status), SMEM_TIMEOUT, "has not ended after 1 ms");
    assert_refused(mf_request_results(req, &code, SLOW_COUNT), SMEM_TIMEOUT, "has not ended");
    assert_refused(mf_request_error(req, text, 8), SMEM_TIMEOUT, "has not ended");
    assert_refused(mf_request_free(req), SMEM_RES_IN_USE, "under way");
    mf_assert_ok(mf_request_cancel(req, WAIT_MS));
    int32_t *codes = calloc(SLOW_COUNT, sizeof(*codes));
    mf_assert_ok(mf_request_results(req, codes, SLOW_COUNT));
    mf_assert_ok(codes[0]);
    mf_assert_rc(codes[SLOW_COUNT - 1], SMEM_NOT_STARTED);
    free(codes);
    mf_assert_rc(wait_free(req), SMEM_PARTIAL_FAILED);
    mf_assert_err_has("had not begun: the request was cancelled");
    smem_bm_destroy(pool);
}

static void test_request_wait__does_what_nobody_has_begun(void **state)
{
    (void)state;
    smem_bm_t pool = api_pool(1);
    struct one o;
    char from[32] = "by the waiting thread";
    mf_prepared_t p = NULL;
    mf_request_t slow = submit_slow(pool);
    mf_request_t req = NULL;
    int32_t status;
    char *to = memory_of(pool) + 3 * MIB; /* the only worker is busy */
    mf_assert_ok(mf_xcopy_submit(pool, one(&o, to, from, sizeof(from), MF_XCOPY_QUEUED), &req));
    mf_assert_rc(mf_request_poll(req, &status), SMEM_TIMEOUT);
    mf_assert_ok(wait_free(req));
    assert_string_equal(to, from);
    mf_assert_ok(mf_prepare_list(pool, one(&o, to + 100, from, sizeof(from), 0), &p));
    mf_assert_ok(mf_prepared_submit(p, 0, 0, MF_XCOPY_QUEUED, 0, &req));
    mf_assert_ok(wait_free(req));
    assert_string_equal(to + 100, from);
    mf_assert_rc(mf_request_poll(slow, &status), SMEM_TIMEOUT);
    mf_assert_ok(mf_prepared_free(p));
    mf_assert_ok(mf_request_cancel(slow, WAIT_MS));
    mf_assert_ok(mf_request_free(slow));
    smem_bm_destroy(pool);
}

static void test_request__ends_by_its_deadline(void **state)
{
    (void)state;
    smem_bm_t pool = api_pool(1);
    struct one o;
    char from[8];
    int32_t status = 1;
    mf_request_t slow = submit_slow(pool);
    mf_request_t late = NULL;
    mf_xcopy_batch_t *b = one(&o, memory_of(pool), from, 8, MF_XCOPY_QUEUED);
    b->timeout_ms = 20;
    mf_assert_ok(mf_xcopy_submit(pool, b, &late));
    /* By looking only: who waits for it would do it. */
    for (int i = 0; mf_request_poll(late, &status) == SMEM_TIMEOUT && i < 10000; i++) {
        usleep(1000);
    }
    mf_assert_rc(status, SMEM_TIMEOUT);
    mf_assert_err_has("deadline");
    mf_assert_ok(mf_request_free(late));
    mf_assert_ok(mf_request_cancel(slow, WAIT_MS));
    mf_assert_ok(mf_request_free(slow));
    smem_bm_destroy(pool);
}

/* ---- the end of things ---- */

static void test_request__outlives_leave_and_destroy(void **state)
{
    (void)state;
    struct one o;
    char from[8];
    mf_request_t queued = NULL;
    smem_bm_t pool = api_pool(1);
    mf_request_t slow = submit_slow(pool);
    mf_assert_ok(
        mf_xcopy_submit(pool, one(&o, memory_of(pool), from, 8, MF_XCOPY_QUEUED), &queued));
    mf_assert_ok(smem_bm_leave(pool, 0));
    int32_t status = wait_free(slow);
    assert_true(status == SMEM_NOT_STARTED || status == SMEM_PARTIAL_FAILED);
    mf_assert_rc(wait_free(queued), SMEM_NOT_STARTED);
    mf_assert_ok(smem_bm_join(pool, 0));
    slow = submit_slow(pool);
    mf_assert_ok(
        mf_xcopy_submit(pool, one(&o, memory_of(pool), from, 8, MF_XCOPY_QUEUED), &queued));
    smem_bm_destroy(pool);
    mf_assert_rc(wait_free(queued), SMEM_NOT_STARTED);
    mf_assert_err_has("destroyed");
    status = wait_free(slow);
    assert_true(status == SMEM_NOT_STARTED || status == SMEM_PARTIAL_FAILED);
}

static void test_request__outlives_uninit(void **state)
{
    struct one o;
    char from[8];
    smem_bm_t pool = api_pool(1);
    mf_request_t queued = NULL;
    mf_request_t slow = submit_slow(pool);
    mf_assert_ok(
        mf_xcopy_submit(pool, one(&o, memory_of(pool), from, 8, MF_XCOPY_QUEUED), &queued));
    smem_bm_uninit(0);
    mf_assert_rc(wait_free(queued), SMEM_NOT_STARTED);
    (void)wait_free(slow);
    assert_refused(mf_xcopy_submit(pool, one(&o, from, from, 8, 0), &queued), SMEM_NOT_INIT,
                   "smem_bm_init first");
    mf_assert_ok(api_setup(state));
}

static int use_in_child(void *arg)
{
    mf_request_t req = arg;
    int32_t status;
    mf_prepared_t none = (mf_prepared_t)arg;
    if (mf_request_poll(req, &status) != SMEM_NOT_INIT) {
        return 1;
    }
    if (mf_request_free(req) != SMEM_NOT_INIT || mf_request_cancel(req, 1) != SMEM_NOT_INIT) {
        return 2;
    }
    return mf_prepared_run(none, 0, 0, 0) != SMEM_NOT_INIT ? 3 : 0;
}

static void test_request__is_nothing_in_a_child(void **state)
{
    (void)state;
    struct one o;
    char from[8];
    int fd;
    mf_request_t req = NULL;
    smem_bm_t pool = api_pool(1);
    mf_assert_ok(mf_xcopy_submit(pool, one(&o, memory_of(pool), from, 8, 0), &req));
    mf_assert_ok(mf_request_fd(req, &fd));
    assert_int_equal(api_in_child(use_in_child, req), 0);
    mf_assert_ok(wait_free(req));
    smem_bm_destroy(pool);
}

/* ---- threads ---- */

struct worker {
    smem_bm_t pool;
    uint32_t number;
    uint32_t wrong;
    mf_request_t left; /* open when the thread ended */
};

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    char *mine = memory_of(w->pool) + w->number * 64 * KIB;
    uint64_t from[16];
    struct one o;
    for (uint32_t i = 0; i < 300; i++) {
        int32_t status = 1;
        mf_request_t req = NULL;
        memset(from, (int)(i + w->number), sizeof(from));
        if (mf_xcopy_submit(w->pool, one(&o, mine, from, sizeof(from), i % 2), &req) ||
            mf_request_wait(req, WAIT_MS, &status) || status ||
            memcmp(mine, from, sizeof(from)) != 0 || mf_request_free(req)) {
            w->wrong++;
        }
    }
    w->wrong += mf_xcopy_submit(w->pool, one(&o, mine, mine + 4096, 64, MF_XCOPY_QUEUED),
                                &w->left) != SMEM_OK;
    return NULL;
}

static void test_request__serves_many_threads_and_outlives_them(void **state)
{
    (void)state;
    pthread_t threads[8];
    struct worker workers[8];
    smem_bm_t pool = api_pool(1);
    for (uint32_t i = 0; i < 8; i++) {
        workers[i] = (struct worker){.pool = pool, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, worker_main, &workers[i]), 0);
    }
    for (uint32_t i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].wrong, 0);
        mf_assert_ok(wait_free(workers[i].left));
    }
    smem_bm_destroy(pool);
}

/* ---- prepared batches ---- */

static void test_prepared__copies_between_new_bases(void **state)
{
    (void)state;
    smem_bm_t pool = api_pool(1);
    char *to = memory_of(pool);
    static char from[64 * KIB];
    uint32_t rows[4] = {7, 1, 5, 2};
    mf_prepared_t p = NULL;
    mf_request_t req = NULL;
    for (uint32_t i = 0; i < sizeof(from); i++) {
        from[i] = (char)(i / 256);
    }
    mf_xcopy_indexed_t gather = {.size = sizeof(gather),
                                 .count = 4,
                                 .type = SMEMB_COPY_H2G,
                                 .src = from,
                                 .dst = to,
                                 .src_rows = rows,
                                 .src_row_bytes = 256,
                                 .block_bytes = 100};
    mf_assert_ok(mf_prepare_indexed(pool, &gather, &p));
    mf_assert_ok(mf_prepared_run(p, 0, 0, 0));
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(to[i * 100], (char)rows[i]);
        assert_int_equal(to[i * 100 + 99], (char)rows[i]);
    }
    for (uint32_t flags = 0; flags <= MF_XCOPY_QUEUED; flags++) {
        mf_assert_ok(mf_prepared_submit(p, (uintptr_t)from + 2560, (uintptr_t)to + MIB * flags,
                                        flags, 0, &req));
        mf_assert_ok(wait_free(req));
        assert_int_equal(to[MIB * flags], 17);
    }
    mf_assert_ok(mf_prepared_free(p));
    mf_xcopy_strided_t plane = {.size = sizeof(plane),
                                .count = 100,
                                .type = SMEMB_COPY_G2H,
                                .src = to,
                                .dst = from,
                                .src_stride = 512,
                                .dst_stride = 64,
                                .block_bytes = 64};
    mf_assert_ok(mf_prepare_strided(pool, &plane, &p));
    mf_assert_ok(mf_prepared_submit(p, 0, 0, MF_XCOPY_QUEUED, 0, &req));
    mf_assert_ok(mf_prepared_free(p)); /* the request goes on */
    mf_assert_ok(wait_free(req));
    assert_int_equal(from[0], 17);
    smem_bm_destroy(pool);
}

static void test_prepare_list__takes_displacements(void **state)
{
    (void)state;
    smem_bm_t pool = api_pool(1);
    char *to = memory_of(pool);
    char from[256];
    void *src[2] = {from + 100, from + 200};
    void *dst[2] = {to + 1000, to + 3000};
    uint64_t sizes[2] = {10, 20};
    int32_t codes[2];
    mf_prepared_t p = NULL;
    mf_request_t req = NULL;
    memset(from, 3, sizeof(from));
    mf_xcopy_batch_t batch = {.size = sizeof(batch),
                              .count = 2,
                              .type = SMEMB_COPY_AUTO,
                              .sources = src,
                              .destinations = dst,
                              .sizes = sizes};
    mf_assert_ok(mf_prepare_list(pool, &batch, &p));
    mf_assert_ok(mf_prepared_submit(p, (uint64_t)-100, (uint64_t)-1000, 0, 0, &req));
    mf_assert_ok(mf_request_results(req, codes, 2));
    mf_assert_ok(codes[0]);
    mf_assert_ok(codes[1]);
    mf_assert_ok(wait_free(req));
    assert_int_equal(to[0], 3);
    assert_int_equal(to[10], 0);
    assert_int_equal(to[2019], 3);
    assert_refused(mf_prepared_submit(p, 0, 4 * MIB - 1005, 0, 0, &req), SMEM_INVALID_PARAM,
                   "element 0");
    assert_null(req);
    mf_assert_ok(mf_prepared_free(p));
    batch.timeout_ms = 1;
    assert_refused(mf_prepare_list(pool, &batch, &p), SMEM_INVALID_PARAM, "timeout_ms is 1");
    batch.timeout_ms = 0;
    batch.flags = MF_XCOPY_QUEUED;
    assert_refused(mf_prepare_list(pool, &batch, &p), SMEM_INVALID_PARAM, "preparing knows none");
    smem_bm_destroy(pool);
}

static void test_prepare__checks_its_arguments(void **state)
{
    (void)state;
    smem_bm_t pool = api_pool(1);
    char from[512];
    uint64_t offsets[2] = {0, 64};
    uint32_t rows[2] = {0, 1};
    mf_prepared_t p = NULL;
    mf_request_t req = NULL;
    mf_xcopy_strided_t s = {.size = sizeof(s),
                            .count = 2,
                            .type = SMEMB_COPY_H2G,
                            .src = from,
                            .dst = memory_of(pool),
                            .src_stride = 64,
                            .dst_stride = 64,
                            .block_bytes = 64};
    mf_xcopy_strided_t bad = s;
    assert_refused(mf_prepare_strided(NULL, &s, &p), SMEM_INVALID_PARAM, "handle is NULL");
    assert_refused(mf_prepare_strided(pool, NULL, &p), SMEM_INVALID_PARAM, "is NULL");
    assert_refused(mf_prepare_strided(pool, &s, NULL), SMEM_INVALID_PARAM, "out is NULL");
    bad.size = 8;
    assert_refused(mf_prepare_strided(pool, &bad, &p), SMEM_INVALID_PARAM, "blocks->size is 8");
    bad = s;
    bad.flags = 1;
    assert_refused(mf_prepare_strided(pool, &bad, &p), SMEM_INVALID_PARAM, "flags 0x1");
    bad = s;
    bad.dst = NULL;
    assert_refused(mf_prepare_strided(pool, &bad, &p), SMEM_INVALID_PARAM, "dst is NULL");
    bad = s;
    bad.src_stride = 0;
    assert_refused(mf_prepare_strided(pool, &bad, &p), SMEM_INVALID_PARAM, "stride is 0");
    mf_assert_err_has("mf_prepare_strided: ");
    mf_xcopy_indexed_t x = {.size = sizeof(x),
                            .count = 2,
                            .type = SMEMB_COPY_H2G,
                            .src = from,
                            .dst = memory_of(pool),
                            .src_offsets = offsets,
                            .src_rows = rows,
                            .block_bytes = 64};
    assert_refused(mf_prepare_indexed(pool, &x, &p), SMEM_INVALID_PARAM, "src_rows are given");
    x.src_rows = NULL;
    x.dst_offsets = offsets;
    x.dst_rows = rows;
    assert_refused(mf_prepare_indexed(pool, &x, &p), SMEM_INVALID_PARAM, "dst_rows are given");
    x.dst_rows = NULL;
    x.src = NULL;
    assert_refused(mf_prepare_indexed(pool, &x, &p), SMEM_INVALID_PARAM, "src is NULL");
    assert_null(p);
    mf_assert_ok(mf_prepare_strided(pool, &s, &p));
    assert_refused(mf_prepared_submit(p, 0, 0, 0, 0, NULL), SMEM_INVALID_PARAM, "out is NULL");
    assert_refused(mf_prepared_submit(p, 0, 0, 2, 0, &req), SMEM_INVALID_PARAM, "flags 0x2");
    mf_assert_ok(mf_prepared_free(p));
    assert_refused(mf_prepared_free(p), SMEM_INVALID_PARAM, "no handle of a prepared batch");
    assert_refused(mf_prepared_run(p, 0, 0, 0), SMEM_INVALID_PARAM, "no handle");
    assert_refused(mf_prepared_submit(p, 0, 0, 0, 0, &req), SMEM_INVALID_PARAM, "no handle");
    assert_refused(mf_prepared_free(NULL), SMEM_INVALID_PARAM, "is NULL");
    smem_bm_destroy(pool);
}

static void test_prepared__is_void_when_its_memory_is_another(void **state)
{
    (void)state;
    char from[128];
    smem_bm_t pool = api_pool(1);
    mf_prepared_t p = NULL;
    mf_request_t req = NULL;
    mf_xcopy_strided_t s = {.size = sizeof(s),
                            .count = 2,
                            .type = SMEMB_COPY_H2G,
                            .src = from,
                            .dst = memory_of(pool),
                            .src_stride = 64,
                            .dst_stride = 128,
                            .block_bytes = 64};
    mf_assert_ok(mf_prepare_strided(pool, &s, &p));
    mf_assert_ok(smem_bm_leave(pool, 0));
    assert_refused(mf_prepared_run(p, 0, 0, 0), SMEM_NOT_STARTED, "has not joined");
    mf_assert_ok(smem_bm_join(pool, 0));
    assert_refused(mf_prepared_run(p, 0, 0, 0), SMEM_NOT_CONNECTED, "prepare it again");
    mf_assert_err_has("this rank, which has joined again");
    assert_refused(mf_prepared_submit(p, 0, 0, 0, 0, &req), SMEM_NOT_CONNECTED, "rank 0");
    assert_null(req);
    smem_bm_destroy(pool);
    assert_refused(mf_prepared_run(p, 0, 0, 0), SMEM_INVALID_PARAM, "no handle of a pool");
    mf_assert_ok(mf_prepared_free(p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_submit__copies_small_ones_at_once),
        cmocka_unit_test(test_submit__hands_over_when_asked_to),
        cmocka_unit_test(test_submit__tells_what_failed),
        cmocka_unit_test(test_submit__checks_its_arguments),
        cmocka_unit_test(test_request__checks_handles_and_arguments),
        cmocka_unit_test(test_request__under_way_is_neither_told_nor_freed),
        cmocka_unit_test(test_request_wait__does_what_nobody_has_begun),
        cmocka_unit_test(test_request__ends_by_its_deadline),
        cmocka_unit_test(test_request__outlives_leave_and_destroy),
        cmocka_unit_test(test_request__outlives_uninit),
        cmocka_unit_test(test_request__is_nothing_in_a_child),
        cmocka_unit_test(test_request__serves_many_threads_and_outlives_them),
        cmocka_unit_test(test_prepared__copies_between_new_bases),
        cmocka_unit_test(test_prepare_list__takes_displacements),
        cmocka_unit_test(test_prepare__checks_its_arguments),
        cmocka_unit_test(test_prepared__is_void_when_its_memory_is_another),
    };
    return cmocka_run_group_tests(tests, setup, api_teardown);
}
