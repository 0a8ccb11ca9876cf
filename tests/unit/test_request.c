// SPDX-License-Identifier: Apache-2.0
// Requests without a pool: handles, the states of a request, waiting by all means, cancelling and
// deadlines at every point of its life, the end of the engine, and many threads at once.
#include "xcopy_world.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "base/thread.h"
#include "mf_torture.h"
#include "xcopy/request.h"

#define MINUTE_NS (60 * MF_NS_PER_S)

/* ---- a pool that a test holds up ---- */

struct rig {
    struct world w;
    struct mf_req_table table;
    struct mf_req_engine *engine;
    pthread_mutex_t lanes_lock; /* the world has one set of lanes */
    _Atomic int hold;           /* workers stop before a step while it is not 0 */
    _Atomic int inside;         /* that stand there, or have passed */
    _Atomic int steps;
    _Atomic int enter_rc;
    uint8_t *local;
    uint64_t target; /* 40 MiB of rank 0 */
};

static int rig_enter(void *arg, void **thread, struct mf_lanes **lanes)
{
    struct rig *rig = arg;
    *thread = rig;
    atomic_fetch_add(&rig->inside, 1);
    while (atomic_load(&rig->hold)) {
        usleep(100);
    }
    if (atomic_load(&rig->enter_rc)) {
        return mf_err(atomic_load(&rig->enter_rc), "the pool is shut");
    }
    pthread_mutex_lock(&rig->lanes_lock);
    atomic_fetch_add(&rig->steps, 1);
    *lanes = &rig->w.lanes;
    return SMEM_OK;
}

static void rig_leave(void *arg, void *thread)
{
    struct rig *rig = arg;
    (void)thread;
    pthread_mutex_unlock(&rig->lanes_lock);
}

static void rig_quit(void *arg, void *thread)
{
    (void)arg;
    (void)thread;
}

static int no_many(void *lane, struct mf_xfer_many *m)
{
    (void)lane;
    (void)m;
    return SMEM_NOT_EXIST;
}

static int no_small(void *lane, struct mf_segment *segment, uint64_t gva, void *local,
                    uint32_t size, int write)
{
    (void)lane;
    (void)segment;
    (void)gva;
    (void)local;
    (void)size;
    (void)write;
    return SMEM_NOT_EXIST;
}

#define BYTES (40 * MIB)

static void rig_init(struct rig *rig, uint32_t workers)
{
    memset(rig, 0, sizeof(*rig));
    world_init(&rig->w, 2, 0, 64 * MIB);
    rig->w.ops[0].post_many = no_many;
    rig->w.ops[0].copy_small = no_small;
    world_add_segment(&rig->w, 0, MF_KIND_DRAM, 0, BYTES, 0);
    rig->target = world_gva(&rig->w, MF_KIND_DRAM, 0, 0);
    rig->local = calloc(1, BYTES);
    assert_non_null(rig->local);
    pthread_mutex_init(&rig->lanes_lock, NULL);
    struct mf_req_host host = {.space = &rig->w.space,
                               .enter = rig_enter,
                               .leave = rig_leave,
                               .quit = rig_quit,
                               .arg = rig};
    mf_assert_ok(mf_req_engine_create(&rig->w.env, workers, &host, &rig->engine));
}

static void table_fini(struct mf_req_table *table)
{
    for (uint32_t i = 0; i < atomic_load(&table->count) / MF_REQ_CHUNK; i++) {
        mf_free(atomic_load(&table->chunks[i]));
    }
}

static void rig_fini(struct rig *rig)
{
    atomic_store(&rig->hold, 0);
    mf_assert_ok(mf_req_engine_destroy(rig->engine, UINT64_MAX));
    table_fini(&rig->table);
    pthread_mutex_destroy(&rig->lanes_lock);
    free(rig->local);
    world_fini(&rig->w);
}

static struct mf_req *take(struct rig *rig)
{
    struct mf_req *req = mf_req_take(&rig->table);
    if (!req) {
        mf_assert_ok(mf_req_table_grow(&rig->table, &rig->w.env));
        req = mf_req_take(&rig->table);
    }
    assert_non_null(req);
    return req;
}

static uint64_t now(const struct rig *rig)
{
    return mf_now_ns(&rig->w.env);
}

/* `count` elements of `size` bytes each, side by side. */
static uint64_t submit_until(struct rig *rig, uint32_t count, uint64_t size, uint64_t deadline_ns)
{
    void *src[8];
    void *dst[8];
    uint64_t sizes[8];
    struct mf_req *req = take(rig);
    for (uint32_t i = 0; i < count; i++) {
        src[i] = rig->local + i * size;
        dst[i] = ptr(rig->target + i * size);
        sizes[i] = size;
    }
    struct mf_batch batch = {.src = src, .dst = dst, .size = sizes, .count = count};
    mf_assert_ok(mf_req_set_batch(req, &batch, SMEMB_COPY_H2G));
    mf_assert_ok(mf_req_engine_submit(rig->engine, req, deadline_ns));
    return mf_req_publish(req);
}

static uint64_t submit(struct rig *rig, uint32_t count, uint64_t size)
{
    return submit_until(rig, count, size, now(rig) + MINUTE_NS);
}

static bool wait_for(struct rig *rig, uint64_t handle, uint64_t ns)
{
    struct mf_req *req = mf_req_find(&rig->table, handle);
    assert_non_null(req);
    bool done = mf_req_wait(req, ns ? now(rig) + ns : 0);
    mf_req_put(req);
    return done;
}

/* It ends, with this code; then it is freed. */
static void expect_end(struct rig *rig, uint64_t handle, int code, const char *says)
{
    int32_t status = 1;
    assert_true(wait_for(rig, handle, MINUTE_NS));
    assert_int_equal(mf_req_look(&rig->table, handle, &status), MF_REQ_DONE);
    struct mf_req *req = mf_req_find(&rig->table, handle);
    mf_err_restore(&req->err);
    mf_assert_rc(status, code);
    if (says) {
        mf_assert_err_has(says);
    }
    assert_true(mf_req_free(req, handle));
    mf_req_put(req);
    assert_int_equal(mf_req_look(&rig->table, handle, &status), MF_REQ_FREE);
}

static void await_inside(struct rig *rig, int count)
{
    for (int i = 0; atomic_load(&rig->inside) < count && i < 100000; i++) {
        usleep(100);
    }
    assert_true(atomic_load(&rig->inside) >= count);
}

/* ---- handles ---- */

static void test_req_find__refuses_what_is_no_handle_any_more(void **state)
{
    (void)state;
    struct rig rig;
    int32_t status = 0;
    rig_init(&rig, 1);
    assert_null(mf_req_find(&rig.table, 0));
    assert_null(mf_req_find(&rig.table, 0xFB10000000010000ull)); /* empty table */
    uint64_t first = submit(&rig, 1, 64);
    assert_null(mf_req_find(&rig.table, first + 1));          /* another slot */
    assert_null(mf_req_find(&rig.table, first + 0x20000));    /* another generation */
    assert_null(mf_req_find(&rig.table, first ^ 1ull << 52)); /* another kind */
    expect_end(&rig, first, SMEM_OK, NULL);
    assert_null(mf_req_find(&rig.table, first));
    uint64_t second = submit(&rig, 1, 64); /* the same slot */
    assert_int_equal(second & 0xFFFF, first & 0xFFFF);
    assert_int_equal(mf_req_look(&rig.table, first, &status), MF_REQ_FREE);
    expect_end(&rig, second, SMEM_OK, NULL);
    rig_fini(&rig);
}

static void test_req_free__succeeds_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 1);
    uint64_t handle = submit(&rig, 1, 64);
    assert_true(wait_for(&rig, handle, MINUTE_NS));
    struct mf_req *req = mf_req_find(&rig.table, handle);
    assert_true(mf_req_free(req, handle));
    assert_false(mf_req_free(req, handle));
    mf_req_put(req);
    rig_fini(&rig);
}

static void test_req_table_grow__says_the_limit(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 1);
    struct mf_req **all = calloc(MF_REQUESTS_MAX, sizeof(*all));
    for (uint32_t i = 0; i < MF_REQUESTS_MAX; i++) {
        all[i] = take(&rig);
    }
    assert_null(mf_req_take(&rig.table));
    mf_assert_rc(mf_req_table_grow(&rig.table, &rig.w.env), SMEM_NO_RESOURCES);
    mf_assert_err_has("16384 requests exist");
    for (uint32_t i = 0; i < MF_REQUESTS_MAX; i++) {
        mf_req_put(all[i]);
    }
    free(all);
    rig_fini(&rig);
}

/* ---- at once ---- */

static void test_req_run_now__tells_of_each_element(void **state)
{
    (void)state;
    struct rig rig;
    int32_t codes[3];
    rig_init(&rig, 1);
    void *src[3] = {rig.local, rig.local + 100, rig.local + 200};
    void *dst[3] = {ptr(rig.target), ptr(rig.target + BYTES), ptr(rig.target + 200)};
    uint64_t sizes[3] = {8, 8, 8};
    struct mf_batch batch = {.src = src, .dst = dst, .size = sizes, .count = 3};
    memset(rig.local, 7, 1000);
    struct mf_req *req = take(&rig);
    req->deadline_ns = 0;
    assert_true(mf_req_run_now(req, &rig.w.space, &rig.w.lanes, &batch, SMEMB_COPY_H2G));
    mf_assert_rc(atomic_load(&req->status), SMEM_PARTIAL_FAILED);
    assert_non_null(strstr(req->err.msg, "1 of 3 elements failed: copy H2G, element 1"));
    mf_req_results(req, codes);
    mf_assert_ok(codes[0]);
    mf_assert_rc(codes[1], SMEM_INVALID_PARAM);
    mf_assert_ok(codes[2]);
    assert_int_equal(*world_at(&rig.w, rig.target + 207), 7);
    mf_req_put(req);
    rig_fini(&rig);
}

static void test_req_run_now__does_not_wait_for_a_rank(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 1);
    void *src[2] = {rig.local, rig.local};
    void *dst[2] = {ptr(world_gva(&rig.w, MF_KIND_DRAM, 1, 0)), ptr(rig.target)};
    uint64_t sizes[2] = {8, 8};
    for (uint32_t count = 1; count <= 2; count++) {
        struct mf_batch batch = {.src = src, .dst = dst, .size = sizes, .count = count};
        struct mf_req *req = take(&rig);
        req->deadline_ns = 0;
        assert_false(mf_req_run_now(req, &rig.w.space, &rig.w.lanes, &batch, SMEMB_COPY_H2G));
        assert_int_equal(rig.w.resolves, 0);
        mf_req_put(req);
    }
    rig_fini(&rig);
}

/* ---- by a worker ---- */

static void test_req_engine__copies_in_steps(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 1);
    for (uint64_t i = 0; i < BYTES; i++) {
        rig.local[i] = (uint8_t)(i * 31 + i / 4096);
    }
    expect_end(&rig, submit(&rig, 1, BYTES), SMEM_OK, NULL);
    assert_int_equal(atomic_load(&rig.steps), 3);
    assert_memory_equal(world_at(&rig.w, rig.target), rig.local, BYTES);
    atomic_store(&rig.steps, 0);
    memset(world_at(&rig.w, rig.target), 0, BYTES);
    expect_end(&rig, submit(&rig, 8, 5 * MIB), SMEM_OK, NULL);
    assert_int_equal(atomic_load(&rig.steps), 3); /* 3 + 3 + 2 elements */
    assert_memory_equal(world_at(&rig.w, rig.target), rig.local, BYTES);
    rig_fini(&rig);
}

static void test_req_engine__refuses_a_large_element_before_its_first_byte(void **state)
{
    (void)state;
    struct rig rig;
    int32_t codes[2];
    rig_init(&rig, 1);
    rig.local[0] = 5;
    void *src[2] = {rig.local, rig.local};
    void *dst[2] = {ptr(rig.target + 16 * MIB), ptr(rig.target)};
    uint64_t sizes[2] = {BYTES, 8};
    struct mf_batch batch = {.src = src, .dst = dst, .size = sizes, .count = 2};
    struct mf_req *req = take(&rig);
    mf_assert_ok(mf_req_set_batch(req, &batch, SMEMB_COPY_H2G));
    mf_assert_ok(mf_req_engine_submit(rig.engine, req, now(&rig) + MINUTE_NS));
    uint64_t handle = mf_req_publish(req);
    assert_true(wait_for(&rig, handle, MINUTE_NS));
    mf_req_results(req, codes);
    mf_assert_rc(codes[0], SMEM_INVALID_PARAM);
    mf_assert_ok(codes[1]);
    assert_int_equal(*world_at(&rig.w, rig.target + 16 * MIB), 0);
    assert_int_equal(*world_at(&rig.w, rig.target), 5);
    expect_end(&rig, handle, SMEM_PARTIAL_FAILED, "1 of 2 elements failed: copy H2G, element 0");
    rig_fini(&rig);
}

static void test_req_engine__keeps_the_sentence_of_the_first_failure(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 1);
    rig.w.tp[0].fail_every = 2;
    expect_end(&rig, submit(&rig, 8, 4096), SMEM_OK, NULL); /* neighbours: one transfer */
    expect_end(&rig, submit(&rig, 1, 4096), SMEM_NOT_CONNECTED, "the fake transport fails");
    rig.w.tp[0].fail_every = 0;
    atomic_store(&rig.enter_rc, SMEM_NOT_STARTED);
    expect_end(&rig, submit(&rig, 1, 4096), SMEM_NOT_STARTED, "the pool is shut");
    rig_fini(&rig);
}

/* ---- waiting ---- */

static void test_req_wait__ends_at_its_deadline_and_not_before(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 1);
    atomic_store(&rig.hold, 1);
    uint64_t handle = submit(&rig, 1, 64);
    uint64_t before = now(&rig);
    assert_false(wait_for(&rig, handle, 0));
    assert_false(wait_for(&rig, handle, 20 * MF_NS_PER_MS));
    assert_true(now(&rig) - before >= 20 * MF_NS_PER_MS);
    atomic_store(&rig.hold, 0);
    expect_end(&rig, handle, SMEM_OK, NULL);
    rig_fini(&rig);
}

struct waiter {
    struct rig *rig;
    uint64_t handle;
    bool done;
};

static void *wait_main(void *arg)
{
    struct waiter *waiter = arg;
    struct mf_req *req = mf_req_find(&waiter->rig->table, waiter->handle);
    if (req) {
        waiter->done = mf_req_wait(req, mf_now_ns(req->env) + MINUTE_NS);
        mf_req_put(req);
    }
    return NULL;
}

static void test_req_wait__serves_several_threads(void **state)
{
    (void)state;
    struct rig rig;
    struct waiter waiters[6];
    pthread_t threads[6];
    rig_init(&rig, 1);
    atomic_store(&rig.hold, 1);
    uint64_t handle = submit(&rig, 1, 64);
    for (int i = 0; i < 6; i++) {
        waiters[i] = (struct waiter){.rig = &rig, .handle = handle};
        assert_int_equal(pthread_create(&threads[i], NULL, wait_main, &waiters[i]), 0);
    }
    usleep(20000); /* most of them sleep by now */
    atomic_store(&rig.hold, 0);
    for (int i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
        assert_true(waiters[i].done);
    }
    expect_end(&rig, handle, SMEM_OK, NULL);
    rig_fini(&rig);
}

static bool is_readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms) == 1;
}

static void test_req_fd__is_readable_when_it_has_ended(void **state)
{
    (void)state;
    struct rig rig;
    int fd = -1;
    int again = -1;
    rig_init(&rig, 1);
    atomic_store(&rig.hold, 1);
    uint64_t handle = submit(&rig, 1, 64);
    struct mf_req *req = mf_req_find(&rig.table, handle);
    mf_assert_ok(mf_req_fd(req, &fd));
    mf_assert_ok(mf_req_fd(req, &again));
    assert_int_equal(fd, again);
    assert_false(is_readable(fd, 0));
    atomic_store(&rig.hold, 0);
    assert_true(is_readable(fd, 60000));
    mf_req_put(req);
    expect_end(&rig, handle, SMEM_OK, NULL);
    /* Asked for after the end. */
    handle = submit(&rig, 1, 64);
    assert_true(wait_for(&rig, handle, MINUTE_NS));
    req = mf_req_find(&rig.table, handle);
    mf_assert_ok(mf_req_fd(req, &fd));
    assert_true(is_readable(fd, 0));
    mf_req_put(req);
    expect_end(&rig, handle, SMEM_OK, NULL);
    assert_false(is_readable(fd, 0) && fd != again); /* closed */
    rig_fini(&rig);
}

/* ---- cancelling and deadlines ---- */

static bool cancel(struct rig *rig, uint64_t handle, uint64_t ns)
{
    struct mf_req *req = mf_req_find(&rig->table, handle);
    assert_non_null(req);
    bool ended = mf_req_cancel(req, now(rig) + ns);
    mf_req_put(req);
    return ended;
}

static void test_req_cancel__before_it_begins(void **state)
{
    (void)state;
    struct rig rig;
    int32_t codes[2];
    rig_init(&rig, 1);
    atomic_store(&rig.hold, 1);
    uint64_t first = submit(&rig, 1, 64);
    await_inside(&rig, 1);
    rig.local[0] = 9;
    uint64_t second = submit(&rig, 2, 64);
    assert_true(cancel(&rig, second, 0));
    struct mf_req *req = mf_req_find(&rig.table, second);
    mf_req_results(req, codes);
    mf_assert_rc(codes[0], SMEM_NOT_STARTED);
    mf_assert_rc(codes[1], SMEM_NOT_STARTED);
    mf_req_put(req);
    expect_end(&rig, second, SMEM_NOT_STARTED, "cancelled before it began");
    atomic_store(&rig.hold, 0);
    expect_end(&rig, first, SMEM_OK, NULL);
    expect_end(&rig, submit(&rig, 1, 64), SMEM_OK, NULL); /* the queue has gone on past it */
    rig_fini(&rig);
}

static void test_req_cancel__while_it_runs(void **state)
{
    (void)state;
    struct rig rig;
    int32_t code;
    rig_init(&rig, 1);
    memset(rig.local, 1, BYTES);
    pthread_mutex_lock(&rig.lanes_lock);
    uint64_t handle = submit(&rig, 1, BYTES);
    await_inside(&rig, 1); /* it stands before its first step */
    assert_false(cancel(&rig, handle, 10 * MF_NS_PER_MS));
    pthread_mutex_unlock(&rig.lanes_lock);
    assert_true(cancel(&rig, handle, MINUTE_NS));
    struct mf_req *req = mf_req_find(&rig.table, handle);
    mf_req_results(req, &code);
    mf_req_put(req);
    mf_assert_rc(code, SMEM_PARTIAL_FAILED);
    assert_int_equal(*world_at(&rig.w, rig.target + 16 * MIB - 1), 1);
    assert_int_equal(*world_at(&rig.w, rig.target + 16 * MIB), 0);
    expect_end(&rig, handle, SMEM_PARTIAL_FAILED,
               "0 of 1 elements had not begun: the request was "
               "cancelled");
    rig_fini(&rig);
}

static void test_req_cancel__after_it_has_ended(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 1);
    uint64_t handle = submit(&rig, 1, 64);
    assert_true(wait_for(&rig, handle, MINUTE_NS));
    assert_true(cancel(&rig, handle, 0));
    expect_end(&rig, handle, SMEM_OK, NULL);
    rig_fini(&rig);
}

static void test_req_deadline__passes_before_during_and_unseen(void **state)
{
    (void)state;
    struct rig rig;
    int32_t status;
    rig_init(&rig, 1);
    expect_end(&rig, submit_until(&rig, 2, 64, 1), SMEM_TIMEOUT, "deadline");
    pthread_mutex_lock(&rig.lanes_lock);
    int stood = atomic_load(&rig.inside);
    uint64_t first = submit_until(&rig, 1, BYTES, now(&rig) + 30 * MF_NS_PER_MS);
    await_inside(&rig, stood + 1);
    /* Behind it, one that nobody begins; whoever looks ends it, */
    uint64_t second = submit_until(&rig, 1, 64, now(&rig) + 10 * MF_NS_PER_MS);
    uint64_t third = submit_until(&rig, 1, 64, now(&rig) + 10 * MF_NS_PER_MS);
    expect_end(&rig, second, SMEM_TIMEOUT, "before it began");
    usleep(50000);
    pthread_mutex_unlock(&rig.lanes_lock);
    expect_end(&rig, first, SMEM_TIMEOUT, "had not begun: the deadline");
    /* or the worker between its steps. */
    for (int i = 0; mf_req_look(&rig.table, third, &status) != MF_REQ_DONE && i < 10000; i++) {
        usleep(1000);
    }
    expect_end(&rig, third, SMEM_TIMEOUT, "deadline");
    rig_fini(&rig);
}

/* ---- the end of the pool ---- */

static void test_req_engine_drop__ends_what_was_submitted_before(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 1);
    atomic_store(&rig.hold, 1);
    uint64_t first = submit(&rig, 1, 64);
    uint64_t second = submit(&rig, 1, 64);
    await_inside(&rig, 1);
    mf_req_engine_drop(rig.engine);
    uint64_t third = submit(&rig, 1, 64);
    atomic_store(&rig.hold, 0);
    expect_end(&rig, first, SMEM_NOT_STARTED, "left the pool");
    expect_end(&rig, second, SMEM_NOT_STARTED, "left the pool");
    expect_end(&rig, third, SMEM_OK, NULL);
    rig_fini(&rig);
}

static void test_req_engine_destroy__ends_what_is_queued(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t handles[20];
    rig_init(&rig, 2);
    atomic_store(&rig.hold, 1);
    for (int i = 0; i < 20; i++) {
        handles[i] = submit(&rig, 1, BYTES);
    }
    await_inside(&rig, 2);
    mf_assert_rc(mf_req_engine_destroy(rig.engine, now(&rig) + 10 * MF_NS_PER_MS), SMEM_TIMEOUT);
    mf_assert_err_has("2 requests still run");
    expect_end(&rig, handles[19], SMEM_NOT_STARTED, "destroyed before the request began");
    struct mf_req *late = take(&rig);
    mf_assert_rc(mf_req_engine_submit(rig.engine, late, UINT64_MAX), SMEM_NOT_STARTED);
    mf_req_put(late);
    atomic_store(&rig.hold, 0);
    mf_assert_ok(mf_req_engine_destroy(rig.engine, UINT64_MAX));
    rig.engine = NULL;
    for (int i = 0; i < 19; i++) { /* handles outlive it */
        int32_t status = 0;
        assert_int_equal(mf_req_look(&rig.table, handles[i], &status), MF_REQ_DONE);
        assert_true(status == SMEM_NOT_STARTED || status == SMEM_PARTIAL_FAILED);
        expect_end(&rig, handles[i], status, "destroyed");
    }
    rig_fini(&rig);
}

/* ---- many threads ---- */

struct busy {
    struct rig *rig;
    uint32_t number;
    uint32_t wrong;
};

static void *busy_main(void *arg)
{
    struct busy *busy = arg;
    struct rig *rig = busy->rig;
    uint64_t state = busy->number * 77 + 1;
    for (int i = 0; i < 400; i++) {
        void *src = rig->local + busy->number * 4096;
        void *dst = ptr(rig->target + busy->number * 4096);
        uint64_t size = 64;
        int32_t status;
        struct mf_batch batch = {.src = &src, .dst = &dst, .size = &size, .count = 1};
        struct mf_req *req = mf_req_take(&rig->table);
        if (!req) {
            continue;
        }
        if (mf_req_set_batch(req, &batch, SMEMB_COPY_H2G) ||
            mf_req_engine_submit(rig->engine, req, mf_now_ns(&rig->w.env) + MINUTE_NS)) {
            busy->wrong++;
            mf_req_put(req);
            continue;
        }
        uint64_t handle = mf_req_publish(req);
        uint64_t what = rnd_below(&state, 3);
        req = mf_req_find(&rig->table, handle);
        bool ended = what == 0 ? mf_req_cancel(req, mf_now_ns(req->env) + MINUTE_NS)
                               : mf_req_wait(req, mf_now_ns(req->env) + MINUTE_NS);
        busy->wrong += !ended || mf_req_look(&rig->table, handle, &status) != MF_REQ_DONE ||
                       (status != SMEM_OK && (what || status != SMEM_NOT_STARTED)) ||
                       !mf_req_free(req, handle);
        mf_req_put(req);
    }
    return NULL;
}

static void test_req__serves_many_threads(void **state)
{
    (void)state;
    struct rig rig;
    struct busy busy[8];
    pthread_t threads[8];
    rig_init(&rig, 3);
    mf_assert_ok(mf_req_table_grow(&rig.table, &rig.w.env));
    for (uint32_t i = 0; i < 8; i++) {
        busy[i] = (struct busy){.rig = &rig, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, busy_main, &busy[i]), 0);
    }
    for (uint32_t i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(busy[i].wrong, 0);
    }
    rig_fini(&rig);
}

/* ---- memory ---- */

static int submit_once(void *arg)
{
    struct rig *rig = arg;
    struct mf_req_table table = {.count = 0};
    struct mf_req_engine *engine = NULL;
    struct mf_req_host host = {.space = &rig->w.space,
                               .enter = rig_enter,
                               .leave = rig_leave,
                               .quit = rig_quit,
                               .arg = rig};
    void *src = rig->local;
    void *dst = ptr(rig->target);
    uint64_t size = 64;
    struct mf_batch batch = {.src = &src, .dst = &dst, .size = &size, .count = 1};
    struct mf_req *req = NULL;
    int rc = mf_req_table_grow(&table, &rig->w.env);
    rc = rc ? rc : mf_req_engine_create(&rig->w.env, 1, &host, &engine);
    if (rc == SMEM_OK) {
        req = mf_req_take(&table);
        rc = mf_req_set_batch(req, &batch, SMEMB_COPY_H2G);
        rc = rc ? rc : mf_req_engine_submit(engine, req, mf_now_ns(&rig->w.env) + MINUTE_NS);
        if (rc == SMEM_OK) {
            mf_req_wait(req, mf_now_ns(&rig->w.env) + MINUTE_NS);
        }
        mf_req_put(req);
    }
    (void)mf_req_engine_destroy(engine, UINT64_MAX);
    table_fini(&table);
    return rc;
}

static void test_req__leaves_nothing_behind_when_memory_ends(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 1);
    void *src = rig.local;
    mf_assert_ok(mf_xcopy_one(&rig.w.space, &rig.w.lanes, src, ptr(rig.target), 64, SMEMB_COPY_H2G,
                              0)); /* lanes and plans are there */
    mf_torture(submit_once, &rig);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_req_find__refuses_what_is_no_handle_any_more),
        cmocka_unit_test(test_req_free__succeeds_once),
        cmocka_unit_test(test_req_table_grow__says_the_limit),
        cmocka_unit_test(test_req_run_now__tells_of_each_element),
        cmocka_unit_test(test_req_run_now__does_not_wait_for_a_rank),
        cmocka_unit_test(test_req_engine__copies_in_steps),
        cmocka_unit_test(test_req_engine__refuses_a_large_element_before_its_first_byte),
        cmocka_unit_test(test_req_engine__keeps_the_sentence_of_the_first_failure),
        cmocka_unit_test(test_req_wait__ends_at_its_deadline_and_not_before),
        cmocka_unit_test(test_req_wait__serves_several_threads),
        cmocka_unit_test(test_req_fd__is_readable_when_it_has_ended),
        cmocka_unit_test(test_req_cancel__before_it_begins),
        cmocka_unit_test(test_req_cancel__while_it_runs),
        cmocka_unit_test(test_req_cancel__after_it_has_ended),
        cmocka_unit_test(test_req_deadline__passes_before_during_and_unseen),
        cmocka_unit_test(test_req_engine_drop__ends_what_was_submitted_before),
        cmocka_unit_test(test_req_engine_destroy__ends_what_is_queued),
        cmocka_unit_test(test_req__serves_many_threads),
        cmocka_unit_test(test_req__leaves_nothing_behind_when_memory_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
