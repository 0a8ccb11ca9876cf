// SPDX-License-Identifier: Apache-2.0
// Tests of copies in the order of a stream of the caller, through the public calls: what stands
// before and behind them, failures, ends, and handles that are no stream of the service's device.
#include "unit/api_fixture.h"

#include <stdatomic.h>
#include <time.h>

#include "memfabric/mf_device.h"

#define STREAMS 6u
#define ON      SMEM_BM_FLAG_USE_EXTERNAL_STREAM

struct rig {
    smem_bm_t pool;
    char *gh, *gd; /* of this rank */
    mf_device_t dev;
    mf_device_stream_t stream[STREAMS];
};

static void sleep_us(long us)
{
    struct timespec span = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&span, NULL);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    *state = rig;
    if (rig == NULL || api_setup(state) != SMEM_OK || mf_device_open("sim:0", &rig->dev) != 0) {
        return 1;
    }
    *state = rig;
    for (uint32_t i = 0; i < STREAMS; i++) {
        mf_assert_ok(mf_device_stream_create(rig->dev, &rig->stream[i]));
    }
    smem_bm_create_option_t option = api_option(2 * MIB, 2 * MIB);
    rig->pool = smem_bm_create2(0, &option);
    rig->gh = smem_bm_ptr_by_mem_type(rig->pool, SMEM_MEM_TYPE_HOST, 0);
    rig->gd = smem_bm_ptr_by_mem_type(rig->pool, SMEM_MEM_TYPE_DEVICE, 0);
    return smem_bm_join(rig->pool, 0);
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    int rc = mf_device_close(rig->dev);
    free(rig);
    smem_bm_uninit(0);
    return rc;
}

static int copy_on(struct rig *rig, mf_device_stream_t stream, void *dst, const void *src,
                   uint64_t size)
{
    smem_copy_params p = {.src = src, .dest = dst, .dataSize = size, .stream = stream};
    return smem_bm_copy(rig->pool, &p, SMEMB_COPY_AUTO, ON);
}

/* ---- order ---------------------------------------------------------------------------------- */

struct kernel {
    uint64_t at;    /* device address of a word */
    uint64_t write; /* what it becomes */
    uint64_t read;  /* what it was */
};

static void kernel_main(void *arg, const mf_device_view_t *view)
{
    struct kernel *k = arg;
    uint64_t *word = view->at(view, k->at, sizeof(*word));
    if (word != NULL) {
        k->read = *word;
        *word = k->write;
    }
}

/* A kernel fills device memory, the copy takes it elsewhere in the pool, a kernel finds it there.
 */
static void test_smem_bm_stream__stands_between_kernels(void **state)
{
    static struct kernel before[STREAMS][32], after[STREAMS][32];
    struct rig *rig = *state;
    memset(before, 0, sizeof(before));
    memset(after, 0, sizeof(after));
    for (uint32_t n = 0; n < 32; n++) {
        for (uint32_t i = 0; i < STREAMS; i++) {
            char *src = rig->gd + i * 4096, *mid = rig->gh + i * 4096, *dst = src + MIB;
            before[i][n] = (struct kernel){.at = (uint64_t)(uintptr_t)src, .write = n + 1};
            after[i][n] = (struct kernel){.at = (uint64_t)(uintptr_t)dst};
            mf_assert_ok(mf_device_launch(rig->stream[i], kernel_main, &before[i][n]));
            mf_assert_ok(copy_on(rig, rig->stream[i], mid, src, 64));
            mf_assert_ok(copy_on(rig, rig->stream[i], dst, mid, 64));
            mf_assert_ok(mf_device_launch(rig->stream[i], kernel_main, &after[i][n]));
        }
    }
    for (uint32_t i = 0; i < STREAMS; i++) {
        mf_assert_ok(mf_device_stream_synchronize(rig->stream[i], 20000));
        for (uint32_t n = 0; n < 32; n++) {
            assert_true(after[i][n].read == n + 1);
            assert_true(before[i][n].read == n); /* nobody was too early */
        }
    }
    mf_assert_ok(smem_bm_wait(rig->pool));
}

static void test_smem_bm_stream__returns_at_once_and_holds_no_other_stream_up(void **state)
{
    struct rig *rig = *state;
    _Atomic uint64_t open = 0;
    static char from[64] = "from", to[STREAMS][64];
    for (uint32_t i = 0; i < STREAMS; i++) {
        if (i != 2) {
            mf_assert_ok(mf_device_wait64(rig->stream[i], (uint64_t)(uintptr_t)&open, 1));
        }
        mf_assert_ok(copy_on(rig, rig->stream[i], rig->gh + i * 64, from, 64));
        mf_assert_ok(copy_on(rig, rig->stream[i], to[i], rig->gh + i * 64, 64));
    }
    mf_assert_ok(mf_device_stream_synchronize(rig->stream[2], 5000));
    assert_memory_equal(to[2], from, 64);
    mf_assert_ok(smem_bm_wait(rig->pool)); /* does not wait for streams */
    assert_true(to[1][0] == '\0');
    atomic_store(&open, 1);
    for (uint32_t i = 0; i < STREAMS; i++) {
        mf_assert_ok(mf_device_stream_synchronize(rig->stream[i], 5000));
        assert_memory_equal(to[i], from, 64);
    }
}

static void test_smem_bm_stream__takes_batches(void **state)
{
    struct rig *rig = *state;
    static char from[4][4096], to[4][4096];
    void *src[8], *dst[8];
    uint64_t size[8];
    memset(from, 0x5a, sizeof(from));
    for (uint32_t i = 0; i < 4; i++) {
        src[i] = from[i];
        dst[i] = i % 2 ? rig->gd + i * 4096 : rig->gh + i * 4096;
        size[i] = 4096 - i;
        src[4 + i] = dst[i];
        dst[4 + i] = to[i];
        size[4 + i] = size[i];
    }
    smem_batch_copy_params in = {src, dst, size, 4, rig->stream[0]};
    smem_batch_copy_params out = {src + 4, dst + 4, size + 4, 4, rig->stream[0]};
    mf_assert_ok(smem_bm_copy_batch(rig->pool, &in, SMEMB_COPY_H2G, ON));
    mf_assert_ok(smem_bm_copy_batch(rig->pool, &out, SMEMB_COPY_G2H, ON | ASYNC_COPY_FLAG));
    memset(src, 0, sizeof(src));
    memset(dst, 0, sizeof(dst));
    mf_assert_ok(mf_device_stream_synchronize(rig->stream[0], 5000));
    for (uint32_t i = 0; i < 4; i++) {
        assert_memory_equal(to[i], from[i], 4096 - i);
    }
}

/* ---- failures ------------------------------------------------------------------------------- */

static void test_smem_bm_stream__failures_come_out_of_synchronize_and_wait(void **state)
{
    struct rig *rig = *state;
    static char here[64];
    char *nobody = smem_bm_ptr_by_mem_type(rig->pool, SMEM_MEM_TYPE_HOST, 3);
    mf_assert_ok(copy_on(rig, rig->stream[0], nobody, here, 64));
    mf_assert_ok(copy_on(rig, rig->stream[0], rig->gh, here, 64)); /* the stream goes on */
    assert_refused(mf_device_stream_synchronize(rig->stream[0], 5000), SMEM_NOT_CONNECTED,
                   "rank 3 is not in pool 0");
    mf_assert_ok(mf_device_stream_synchronize(rig->stream[0], 5000)); /* once */
    assert_refused(smem_bm_wait(rig->pool), SMEM_NOT_CONNECTED, "rank 3 is not in pool 0");
    mf_assert_ok(smem_bm_wait(rig->pool));
    mf_assert_ok(copy_on(rig, rig->stream[1], rig->gh + 2 * MIB - 8, here, 64)); /* over its end */
    assert_refused(mf_device_stream_synchronize(rig->stream[1], 5000), SMEM_INVALID_PARAM, "");
    mf_assert_rc(smem_bm_wait(rig->pool), SMEM_INVALID_PARAM);
    mf_assert_ok(copy_on(rig, rig->stream[1], nobody, here, 64));
    assert_refused(mf_device_stream_destroy(rig->stream[1]), SMEM_NOT_CONNECTED, "is destroyed");
}

static void test_smem_bm_stream__after_leave_and_destroy_the_stream_goes_on(void **state)
{
    struct rig *rig = *state;
    _Atomic uint64_t open = 0;
    static char here[64];
    mf_assert_ok(mf_device_wait64(rig->stream[0], (uint64_t)(uintptr_t)&open, 1));
    mf_assert_ok(copy_on(rig, rig->stream[0], rig->gh, here, 64));
    mf_assert_ok(smem_bm_leave(rig->pool, 0));
    assert_refused(copy_on(rig, rig->stream[0], rig->gh, here, 64), SMEM_NOT_STARTED,
                   "has not joined pool 0");
    atomic_store(&open, 1);
    assert_refused(mf_device_stream_synchronize(rig->stream[0], 5000), SMEM_NOT_STARTED,
                   "has not joined pool 0");
    mf_assert_ok(smem_bm_join(rig->pool, 0));
    atomic_store(&open, 0);
    mf_assert_ok(mf_device_wait64(rig->stream[0], (uint64_t)(uintptr_t)&open, 1));
    mf_assert_ok(copy_on(rig, rig->stream[0], rig->gh, here, 64));
    smem_bm_destroy(rig->pool);
    mf_assert_rc(mf_device_stream_synchronize(rig->stream[0], 5), SMEM_TIMEOUT);
    atomic_store(&open, 1);
    assert_refused(mf_device_stream_synchronize(rig->stream[0], 5000), SMEM_NOT_EXIST,
                   "the pool was destroyed");
}

static void test_smem_bm_stream__a_stream_that_ends_drops_its_copies(void **state)
{
    struct rig *rig = *state;
    _Atomic uint64_t open = 0;
    static char here[64];
    mf_device_t dev = NULL;
    mf_device_stream_t stream = NULL;
    int rc = SMEM_OK;
    mf_assert_ok(mf_device_open("sim:0", &dev));
    mf_assert_ok(mf_device_stream_create(dev, &stream));
    mf_assert_ok(mf_device_wait64(stream, (uint64_t)(uintptr_t)&open, 1));
    mf_assert_ok(copy_on(rig, stream, rig->gh, here, 64));
    mf_assert_ok(mf_device_close(dev));
    for (int i = 0; i < 50000 && rc == SMEM_OK; i++) {
        sleep_us(100);
        rc = smem_bm_wait(rig->pool);
    }
    mf_assert_rc(rc, SMEM_NOT_EXIST);
    mf_assert_err_has("the stream was destroyed");
    assert_refused(copy_on(rig, stream, rig->gh, here, 64), SMEM_INVALID_PARAM,
                   "no handle of stream");
}

/* ---- handles -------------------------------------------------------------------------------- */

static void test_smem_bm_stream__refuses_what_is_no_stream_of_its_device(void **state)
{
    struct rig *rig = *state;
    static char here[64];
    mf_device_t other = NULL;
    mf_device_stream_t stream = NULL;
    mf_device_event_t event = NULL;
    smem_copy_params p = {.src = here, .dest = rig->gh, .dataSize = 8, .stream = rig->stream[0]};
    assert_refused(copy_on(rig, NULL, rig->gh, here, 8), SMEM_INVALID_PARAM,
                   "params->stream is NULL");
    assert_refused(copy_on(rig, (mf_device_stream_t)(uintptr_t)here, rig->gh, here, 8),
                   SMEM_INVALID_PARAM, "no handle of stream");
    assert_refused(copy_on(rig, (mf_device_stream_t)(void *)rig->dev, rig->gh, here, 8),
                   SMEM_INVALID_PARAM, "no handle of stream");
    mf_assert_ok(mf_device_event_create(rig->dev, &event));
    assert_refused(copy_on(rig, (mf_device_stream_t)(void *)event, rig->gh, here, 8),
                   SMEM_INVALID_PARAM, "no handle of stream");
    mf_assert_ok(mf_device_stream_destroy(rig->stream[1]));
    assert_refused(copy_on(rig, rig->stream[1], rig->gh, here, 8), SMEM_INVALID_PARAM,
                   "it was closed");
    mf_assert_ok(mf_device_open("sim:1", &other));
    mf_assert_ok(mf_device_stream_create(other, &stream));
    assert_refused(copy_on(rig, stream, rig->gh, here, 8), SMEM_INVALID_PARAM,
                   "params->stream is of sim:1, the device of the service is sim:0");
    mf_assert_ok(mf_device_close(other));
    assert_refused(smem_bm_copy(NULL, &p, SMEMB_COPY_AUTO, ON), SMEM_INVALID_PARAM,
                   "handle is NULL");
    assert_refused(smem_bm_copy((smem_bm_t)(uintptr_t)here, &p, SMEMB_COPY_AUTO, ON),
                   SMEM_INVALID_PARAM, "no handle of a pool");
    p.dataSize = 0;
    assert_refused(smem_bm_copy(rig->pool, &p, SMEMB_COPY_AUTO, ON), SMEM_INVALID_PARAM,
                   "dataSize is 0");
    mf_assert_ok(mf_device_stream_synchronize(rig->stream[0], 5000));
}

static void test_smem_bm_stream__needs_a_device_of_the_service(void **state)
{
    mf_device_t dev = NULL;
    mf_device_stream_t stream = NULL;
    static char here[64];
    (void)state;
    smem_bm_t pool = api_pool(0);
    mf_assert_ok(mf_device_open("sim:0", &dev));
    mf_assert_ok(mf_device_stream_create(dev, &stream));
    smem_copy_params p = {.src = here,
                          .dest = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0),
                          .dataSize = 8,
                          .stream = stream};
    assert_refused(smem_bm_copy(pool, &p, SMEMB_COPY_AUTO, ON), SMEM_INVALID_PARAM,
                   "the service was started without a device");
    mf_assert_ok(mf_device_close(dev));
}

/* Options are read once in a process. */
static int run_without_device(void *arg)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(
        test_smem_bm_stream__needs_a_device_of_the_service, api_setup, api_teardown)};
    (void)arg;
    return cmocka_run_group_tests_name("no device", tests, NULL, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_smem_bm_stream__stands_between_kernels),
        TEST(test_smem_bm_stream__returns_at_once_and_holds_no_other_stream_up),
        TEST(test_smem_bm_stream__takes_batches),
        TEST(test_smem_bm_stream__failures_come_out_of_synchronize_and_wait),
        TEST(test_smem_bm_stream__after_leave_and_destroy_the_stream_goes_on),
        TEST(test_smem_bm_stream__a_stream_that_ends_drops_its_copies),
        TEST(test_smem_bm_stream__refuses_what_is_no_stream_of_its_device),
    };
    if (setenv("MF_DEVICE", "none", 1) != 0 || setenv("MF_SIM_DEVICES", "2", 1) != 0 ||
        api_in_child(run_without_device, NULL) != 0 || setenv("MF_DEVICE", "sim", 1) != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
