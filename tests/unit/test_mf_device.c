// SPDX-License-Identifier: Apache-2.0
// Tests of mf_device.h for applications: devices, memory, copies, streams and events through
// handles.
#include "memfabric/mf_device.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mf_test.h"

#define MIB (1ull << 20)
/* MF_COPY_WAIT_MS of this program: a call that waits for a held device ends. */
#define COPY_WAIT_MS "5000"

static uint64_t num(const volatile void *p)
{
    return (uint64_t)(uintptr_t)p;
}

static mf_device_t open_sim(const char *spec)
{
    mf_device_t dev = NULL;
    mf_assert_ok(mf_device_open(spec, &dev));
    assert_non_null(dev);
    return dev;
}

static uint64_t memory_free(mf_device_t dev)
{
    mf_device_info_t info = {.size = sizeof(info)};
    mf_assert_ok(mf_device_get_info(dev, &info));
    return info.memory_free;
}

/* ---- in a process of its own: what depends on the first call ---- */

static void in_child(int (*fn)(void))
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(fn());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0) {
        print_error("the child ended with status 0x%x\n", status);
    }
    assert_int_equal(status, 0);
}

/* The number of the first check that fails, 0 when none does. */
static int wrong_option(void)
{
    mf_device_t dev;
    setenv("MF_SIM_DEVICES", "lots", 1);
    for (int i = 0; i < 2; i++) {
        if (mf_device_open("sim:0", &dev) != SMEM_INVALID_PARAM || dev) {
            return 1;
        }
        if (!strstr(mf_err_msg(), "MF_SIM_DEVICES") && !strstr(mf_err_msg(), "sim.devices")) {
            return 2;
        }
    }
    return 0;
}

static void test_open__wrong_option_fails_every_call(void **state)
{
    (void)state;
    in_child(wrong_option);
}

static int no_accelerator(void)
{
    mf_device_t dev;
    unsetenv("MF_DEVICE");
    if (mf_device_open("auto", &dev) != SMEM_NOT_EXIST || dev) {
        return 1;
    }
    if (!strstr(mf_err_msg(), "no accelerator found") || !strstr(mf_err_msg(), "MF_DEVICE=sim")) {
        return 2;
    }
    if (mf_device_open("none", &dev) != SMEM_NOT_EXIST || !strstr(mf_err_msg(), "MF_DEVICE=sim")) {
        return 3;
    }
    return 0;
}

static void test_open__auto_says_why_there_is_none(void **state)
{
    (void)state;
    in_child(no_accelerator);
}

static int auto_takes_the_option(void)
{
    mf_device_t dev;
    mf_device_info_t info = {.size = sizeof(info)};
    setenv("MF_DEVICE", "sim", 1);
    if (mf_device_open("auto", &dev) || mf_device_get_info(dev, &info)) {
        return 1;
    }
    return strcmp(info.plugin, "sim") == 0 && mf_device_close(dev) == 0 ? 0 : 2;
}

static void test_open__auto_is_what_the_option_says(void **state)
{
    (void)state;
    in_child(auto_takes_the_option);
}

static struct {
    mf_device_t dev;
    mf_device_stream_t stream;
    mf_device_event_t event;
} parents;

static int call_after_fork(void)
{
    mf_device_t dev;
    mf_dev_t ptr;
    const int rcs[] = {
        mf_device_open("sim:0", &dev),
        mf_device_alloc(parents.dev, 1, &ptr),
        mf_device_copy(parents.dev, num(&dev), num(&ptr), 8),
        mf_device_stream_synchronize(parents.stream, 10),
        mf_device_event_synchronize(parents.event, 10),
        mf_device_write64(parents.stream, num(&ptr), 1),
        mf_device_close(parents.dev),
    };
    for (int i = 0; i < (int)(sizeof(rcs) / sizeof(rcs[0])); i++) {
        if (rcs[i] != SMEM_NOT_INIT || !strstr(mf_err_msg(), "forked")) {
            return i + 1;
        }
    }
    return 0;
}

static void test_fork__child_gets_clear_errors(void **state)
{
    (void)state;
    parents.dev = open_sim("sim:0");
    mf_assert_ok(mf_device_stream_create(parents.dev, &parents.stream));
    mf_assert_ok(mf_device_event_create(parents.dev, &parents.event));
    in_child(call_after_fork);
    /* The parent goes on. */
    uint64_t word = 0;
    mf_assert_ok(mf_device_write64(parents.stream, num(&word), 7));
    mf_assert_ok(mf_device_stream_synchronize(parents.stream, 10000));
    assert_int_equal(word, 7);
    mf_assert_ok(mf_device_close(parents.dev));
}

/* ---- devices ---- */

static void test_open__spec_names_plugin_and_ordinal(void **state)
{
    mf_device_info_t info = {.size = sizeof(info)};
    (void)state;
    mf_device_t dev = open_sim("sim:3");
    mf_assert_ok(mf_device_get_info(dev, &info));
    assert_string_equal(info.plugin, "sim");
    assert_int_equal(info.ordinal, 3);
    assert_int_equal(info.size, sizeof(info));
    mf_assert_ok(mf_device_close(dev));
    dev = open_sim("sim");
    mf_assert_ok(mf_device_get_info(dev, &info));
    assert_int_equal(info.ordinal, 0);
    mf_assert_ok(mf_device_close(dev));
}

static void test_open__refuses_bad_specs(void **state)
{
    static const struct {
        const char *spec;
        int rc;
        const char *says;
    } bad[] = {
        {"", SMEM_INVALID_PARAM, "0 bytes"},
        {":1", SMEM_INVALID_PARAM, "0 bytes"},
        {"sim:", SMEM_INVALID_PARAM, "sim:0"},
        {"sim:x", SMEM_INVALID_PARAM, "sim:0"},
        {"sim:1x", SMEM_INVALID_PARAM, "sim:0"},
        {"sim:-1", SMEM_INVALID_PARAM, "sim:0"},
        {"sim:123456", SMEM_INVALID_PARAM, "sim:0"},
        {"sim:99", SMEM_INVALID_PARAM, "does not exist"},
        {"gpu:0", SMEM_NOT_EXIST, "gpu"},
        {"/does/not/exist.so:1", SMEM_NOT_EXIST, "/does/not/exist.so"},
        {"./a:b/c.so", SMEM_NOT_EXIST, "./a:b/c.so"},
    };
    mf_device_t dev;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        dev = (mf_device_t)&dev;
        mf_assert_rc(mf_device_open(bad[i].spec, &dev), bad[i].rc);
        mf_assert_err_has(bad[i].says);
        mf_assert_err_has("mf_device_open");
        assert_null(dev);
    }
    mf_assert_rc(mf_device_open(NULL, &dev), SMEM_INVALID_PARAM);
    mf_assert_err_has("spec is NULL");
    mf_assert_rc(mf_device_open("sim", NULL), SMEM_INVALID_PARAM);
    mf_assert_err_has("out is NULL");
    char longest[400];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    mf_assert_rc(mf_device_open(longest, &dev), SMEM_INVALID_PARAM);
}

static void test_handle__stale_ones_are_refused(void **state)
{
    mf_dev_t ptr;
    mf_device_stream_t stream;
    mf_device_event_t event;
    mf_device_info_t info = {.size = sizeof(info)};
    (void)state;
    mf_device_t dev = open_sim("sim:0");
    mf_assert_ok(mf_device_stream_create(dev, &stream));
    mf_assert_ok(mf_device_event_create(dev, &event));
    mf_assert_ok(mf_device_close(dev));
    mf_assert_rc(mf_device_close(dev), SMEM_INVALID_PARAM);
    mf_assert_err_has("mf_device_close");
    mf_assert_err_has("no handle of device");
    mf_assert_rc(mf_device_get_info(dev, &info), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_alloc(dev, 1, &ptr), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_free(dev, 1), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_copy(dev, num(&ptr), num(&ptr), 1), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_fill(dev, num(&ptr), 0, 1), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_stream_create(dev, &stream), SMEM_INVALID_PARAM);
    assert_null(stream);
    mf_assert_rc(mf_device_event_create(dev, &event), SMEM_INVALID_PARAM);
    assert_null(event);
    mf_assert_ok(mf_device_close(NULL));
}

static void test_handle__closing_a_device_ends_its_streams_and_events(void **state)
{
    mf_device_stream_t stream;
    mf_device_event_t event;
    static uint64_t word;
    (void)state;
    mf_device_t dev = open_sim("sim:0");
    mf_assert_ok(mf_device_stream_create(dev, &stream));
    mf_assert_ok(mf_device_event_create(dev, &event));
    mf_assert_ok(mf_device_wait64(stream, num(&word), 1)); /* never comes */
    mf_assert_ok(mf_device_close(dev));
    mf_assert_rc(mf_device_stream_synchronize(stream, 1), SMEM_INVALID_PARAM);
    mf_assert_err_has("no handle of stream");
    mf_assert_rc(mf_device_stream_destroy(stream), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_event_synchronize(event, 1), SMEM_INVALID_PARAM);
    mf_assert_err_has("no handle of event");
    mf_assert_rc(mf_device_event_destroy(event), SMEM_INVALID_PARAM);
}

static void test_handle__one_kind_is_not_another(void **state)
{
    mf_device_stream_t stream;
    (void)state;
    mf_device_t dev = open_sim("sim:0");
    mf_assert_ok(mf_device_stream_create(dev, &stream));
    mf_assert_rc(mf_device_close((mf_device_t)(void *)stream), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_event_destroy((mf_device_event_t)(void *)stream), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_stream_destroy((mf_device_stream_t)(void *)dev), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_stream_destroy(NULL), SMEM_INVALID_PARAM);
    mf_assert_ok(mf_device_stream_destroy(stream));
    mf_assert_rc(mf_device_stream_destroy(stream), SMEM_INVALID_PARAM);
    mf_assert_ok(mf_device_close(dev));
}

static void test_get_info__wants_its_size(void **state)
{
    mf_device_info_t info = {.size = 8};
    (void)state;
    mf_device_t dev = open_sim("sim:0");
    mf_assert_rc(mf_device_get_info(dev, &info), SMEM_INVALID_PARAM);
    mf_assert_err_has("info->size");
    mf_assert_rc(mf_device_get_info(dev, NULL), SMEM_INVALID_PARAM);
    mf_assert_ok(mf_device_close(dev));
}

/* ---- memory ---- */

static void test_open__two_opens_share_the_device(void **state)
{
    mf_dev_t ptr;
    uint64_t word = 6;
    uint64_t back = 0;
    (void)state;
    mf_device_t a = open_sim("sim:1");
    mf_device_t b = open_sim("sim:1");
    uint64_t before = memory_free(b);
    mf_assert_ok(mf_device_alloc(a, 8, &ptr));
    assert_int_equal(memory_free(b), before - 2 * MIB);
    mf_assert_ok(mf_device_copy(b, ptr, num(&word), 8)); /* a's memory is known to b */
    mf_assert_ok(mf_device_copy(b, num(&back), ptr, 8));
    assert_int_equal(back, 6);
    mf_assert_rc(mf_device_free(b, ptr), SMEM_INVALID_PARAM);
    mf_assert_err_has("not allocated through this handle");
    mf_assert_ok(mf_device_close(a)); /* frees it */
    assert_int_equal(memory_free(b), before);
    mf_assert_rc(mf_device_fill(b, ptr, 0, 8), SMEM_INVALID_PARAM);
    mf_assert_ok(mf_device_close(b));
}

static void test_alloc__refuses_and_says_what_is_free(void **state)
{
    mf_dev_t ptr = 1;
    (void)state;
    mf_device_t dev = open_sim("sim:0");
    mf_assert_rc(mf_device_alloc(dev, 0, &ptr), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_alloc(dev, UINT64_MAX, &ptr), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_alloc(dev, 8, NULL), SMEM_INVALID_PARAM);
    mf_assert_err_has("mf_device_alloc");
    mf_assert_rc(mf_device_alloc(dev, 65 * MIB, &ptr), SMEM_MALLOC_FAILED);
    mf_assert_err_has("67108864 are free");
    assert_int_equal(ptr, 0);
    mf_assert_ok(mf_device_alloc(dev, 64 * MIB, &ptr));
    mf_assert_ok(mf_device_free(dev, ptr));
    mf_assert_rc(mf_device_free(dev, ptr), SMEM_INVALID_PARAM);
    mf_assert_err_has("freed already");
    mf_assert_ok(mf_device_close(dev));
}

static void test_free__waits_for_what_is_queued(void **state)
{
    mf_dev_t ptr;
    mf_device_stream_t stream;
    uint8_t *host = malloc(MIB);
    (void)state;
    mf_device_t dev = open_sim("sim:0");
    mf_assert_ok(mf_device_stream_create(dev, &stream));
    mf_assert_ok(mf_device_alloc(dev, MIB, &ptr));
    memset(host, 1, MIB);
    mf_assert_ok(mf_device_fill_async(stream, ptr, 0x77, MIB));
    mf_assert_ok(mf_device_copy_async(stream, num(host), ptr, MIB));
    mf_assert_ok(mf_device_free(dev, ptr));
    assert_int_equal(host[MIB - 1], 0x77); /* done before free returned */
    mf_assert_ok(mf_device_close(dev));
    free(host);
}

/* ---- copies ---- */

static void test_copy__every_direction(void **state)
{
    mf_dev_t a;
    mf_dev_t b;
    char from[] = "over the device and back";
    char to[sizeof(from)] = "";
    char third[sizeof(from)] = "";
    (void)state;
    mf_device_t dev = open_sim("sim:0");
    mf_assert_ok(mf_device_alloc(dev, 100, &a));
    mf_assert_ok(mf_device_alloc(dev, 100, &b));
    mf_assert_ok(mf_device_copy(dev, a, num(from), sizeof(from)));
    mf_assert_ok(mf_device_copy(dev, b, a, sizeof(from)));
    mf_assert_ok(mf_device_copy(dev, num(third), b, sizeof(from)));
    mf_assert_ok(mf_device_copy(dev, num(to), num(third), sizeof(from)));
    assert_string_equal(to, from);
    mf_assert_ok(mf_device_fill(dev, a, 'z', 3));
    mf_assert_ok(mf_device_copy(dev, num(to), a, 4));
    assert_memory_equal(to, "zzzr", 4);
    mf_assert_ok(mf_device_close(dev));
}

static void test_copy__refuses_ranges_that_leave_their_allocation(void **state)
{
    mf_dev_t ptr;
    uint64_t word = 0;
    (void)state;
    mf_device_t dev = open_sim("sim:0");
    mf_assert_ok(mf_device_alloc(dev, 2 * MIB, &ptr));
    mf_assert_rc(mf_device_copy(dev, ptr + 2 * MIB - 4, num(&word), 8), SMEM_INVALID_PARAM);
    mf_assert_err_has("mf_device_copy");
    mf_assert_err_has("leaves");
    mf_assert_rc(mf_device_copy(dev, ptr, 0, 8), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_copy(dev, UINT64_MAX - 2, num(&word), 8), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_fill(dev, num(&word), 1, 8), SMEM_INVALID_PARAM);
    mf_assert_err_has("no device address");
    mf_assert_ok(mf_device_close(dev));
}

static void test_copy__refuses_memory_of_another_device(void **state)
{
    mf_dev_t ptr;
    uint64_t word = 0;
    mf_device_stream_t stream;
    (void)state;
    mf_device_t a = open_sim("sim:0");
    mf_device_t b = open_sim("sim:2");
    mf_assert_ok(mf_device_alloc(b, 8, &ptr));
    mf_assert_rc(mf_device_copy(a, num(&word), ptr, 8), SMEM_INVALID_PARAM);
    mf_assert_err_has("memory of sim:2, not of sim:0");
    mf_assert_rc(mf_device_copy(a, ptr, num(&word), 8), SMEM_INVALID_PARAM);
    mf_assert_ok(mf_device_stream_create(a, &stream));
    mf_assert_rc(mf_device_copy_async(stream, ptr, num(&word), 8), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_write64(stream, ptr, 1), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_wait64(stream, ptr, 1), SMEM_INVALID_PARAM);
    mf_assert_ok(mf_device_close(a));
    mf_assert_ok(mf_device_close(b));
}

/* ---- streams and events ---- */

static void add_one(void *arg, const mf_device_view_t *view)
{
    uint64_t *at = view->at(view, *(mf_dev_t *)arg, 8);
    if (at) {
        ++*at;
    }
}

static void test_stream__runs_in_order(void **state)
{
    mf_dev_t ptr;
    mf_device_stream_t stream;
    uint64_t from = 40;
    uint64_t to = 0;
    (void)state;
    mf_device_t dev = open_sim("sim:0");
    mf_assert_ok(mf_device_alloc(dev, 64, &ptr));
    mf_assert_ok(mf_device_stream_create(dev, &stream));
    mf_assert_ok(mf_device_copy_async(stream, ptr, num(&from), 8));
    mf_assert_ok(mf_device_launch(stream, add_one, &ptr));
    mf_assert_ok(mf_device_launch(stream, add_one, &ptr));
    mf_assert_ok(mf_device_copy_async(stream, num(&to), ptr, 8));
    mf_assert_ok(mf_device_stream_synchronize(stream, 10000));
    assert_int_equal(to, 42);
    mf_assert_rc(mf_device_launch(stream, NULL, NULL), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_stream_create(dev, NULL), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_device_event_create(dev, NULL), SMEM_INVALID_PARAM);
    mf_assert_ok(mf_device_stream_destroy(stream));
    mf_assert_ok(mf_device_close(dev));
}

static void test_stream__waits_time_out(void **state)
{
    mf_device_stream_t stream;
    mf_device_event_t event;
    _Atomic uint64_t word = 0;
    (void)state;
    mf_device_t dev = open_sim("sim:0");
    mf_assert_ok(mf_device_stream_create(dev, &stream));
    mf_assert_ok(mf_device_event_create(dev, &event));
    mf_assert_ok(mf_device_event_synchronize(event, 0)); /* never recorded */
    mf_assert_ok(mf_device_wait64(stream, num(&word), 3));
    mf_assert_ok(mf_device_event_record(event, stream));
    mf_assert_rc(mf_device_stream_synchronize(stream, 20), SMEM_TIMEOUT);
    mf_assert_err_has("mf_device_stream_synchronize");
    mf_assert_rc(mf_device_event_synchronize(event, 0), SMEM_TIMEOUT);
    mf_assert_rc(mf_device_event_synchronize(event, 20), SMEM_TIMEOUT);
    word = 3;
    mf_assert_ok(mf_device_event_synchronize(event, 10000));
    mf_assert_ok(mf_device_stream_synchronize(stream, 10000));
    mf_assert_ok(mf_device_event_destroy(event));
    mf_assert_ok(mf_device_close(dev));
}

static void test_stream__one_waits_for_the_other(void **state)
{
    mf_device_stream_t a;
    mf_device_stream_t b;
    mf_device_event_t event;
    _Atomic uint64_t word = 0;
    _Atomic uint64_t answer = 0;
    (void)state;
    mf_device_t dev = open_sim("sim:0");
    mf_device_t other = open_sim("sim:1");
    mf_device_stream_t strange;
    mf_assert_ok(mf_device_stream_create(dev, &a));
    mf_assert_ok(mf_device_stream_create(dev, &b));
    mf_assert_ok(mf_device_stream_create(other, &strange));
    mf_assert_ok(mf_device_event_create(dev, &event));
    mf_assert_rc(mf_device_event_record(event, strange), SMEM_INVALID_PARAM);
    mf_assert_err_has("the event is of sim:0, the stream of sim:1");
    mf_assert_rc(mf_device_stream_wait_event(strange, event), SMEM_INVALID_PARAM);
    mf_assert_ok(mf_device_wait64(a, num(&word), 1));
    mf_assert_ok(mf_device_event_record(event, a));
    mf_assert_ok(mf_device_stream_wait_event(b, event));
    mf_assert_ok(mf_device_write64(b, num(&answer), 5));
    mf_assert_rc(mf_device_stream_synchronize(b, 20), SMEM_TIMEOUT);
    assert_int_equal(answer, 0);
    word = 1;
    mf_assert_ok(mf_device_stream_synchronize(b, 10000));
    assert_int_equal(answer, 5);
    mf_assert_ok(mf_device_close(other));
    mf_assert_ok(mf_device_close(dev));
}

#define THREADS 4

struct caller {
    mf_device_t dev;
    int rc;
    bool wrong;
};

static void *call(void *arg)
{
    struct caller *c = arg;
    for (uint64_t i = 0; i < 40 && !c->rc; i++) {
        mf_dev_t ptr;
        uint64_t back = 0;
        c->rc = mf_device_alloc(c->dev, 8, &ptr);
        c->rc = c->rc ? c->rc : mf_device_copy(c->dev, ptr, num(&i), 8);
        c->rc = c->rc ? c->rc : mf_device_copy(c->dev, num(&back), ptr, 8);
        c->rc = c->rc ? c->rc : mf_device_free(c->dev, ptr);
        c->wrong = c->wrong || back != i;
    }
    return NULL;
}

static void test_device__calls_from_many_threads(void **state)
{
    pthread_t threads[THREADS];
    struct caller callers[THREADS];
    (void)state;
    mf_device_t dev = open_sim("sim:0");
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.dev = dev};
        assert_int_equal(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        mf_assert_ok(callers[i].rc);
        assert_false(callers[i].wrong);
    }
    mf_assert_ok(mf_device_close(dev));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* These need a process in which nothing was called yet. */
        cmocka_unit_test(test_open__wrong_option_fails_every_call),
        cmocka_unit_test(test_open__auto_says_why_there_is_none),
        cmocka_unit_test(test_open__auto_is_what_the_option_says),
        cmocka_unit_test(test_fork__child_gets_clear_errors),
        cmocka_unit_test(test_open__spec_names_plugin_and_ordinal),
        cmocka_unit_test(test_open__refuses_bad_specs),
        cmocka_unit_test(test_handle__stale_ones_are_refused),
        cmocka_unit_test(test_handle__closing_a_device_ends_its_streams_and_events),
        cmocka_unit_test(test_handle__one_kind_is_not_another),
        cmocka_unit_test(test_get_info__wants_its_size),
        cmocka_unit_test(test_open__two_opens_share_the_device),
        cmocka_unit_test(test_alloc__refuses_and_says_what_is_free),
        cmocka_unit_test(test_free__waits_for_what_is_queued),
        cmocka_unit_test(test_copy__every_direction),
        cmocka_unit_test(test_copy__refuses_ranges_that_leave_their_allocation),
        cmocka_unit_test(test_copy__refuses_memory_of_another_device),
        cmocka_unit_test(test_stream__runs_in_order),
        cmocka_unit_test(test_stream__waits_time_out),
        cmocka_unit_test(test_stream__one_waits_for_the_other),
        cmocka_unit_test(test_device__calls_from_many_threads),
    };
    setenv("MF_SIM_MEMORY", "64M", 1);
    setenv("MF_COPY_WAIT_MS", COPY_WAIT_MS, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
