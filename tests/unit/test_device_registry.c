// SPDX-License-Identifier: Apache-2.0
// Tests of src/device: finding and opening plug-ins, completing their tables, sharing open devices.
#include "device_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>

#include "device/builtins.h"
#include "device/table.h"
#include "mf_torture.h"

/* ---- tables ---- */

static void test_table__complete_one_is_taken_as_it_is(void **state)
{
    struct mf_device_ops out;
    (void)state;
    mf_assert_ok(mf_device_table_complete("x", &mf_sim_device_ops, &out));
    assert_ptr_equal(out.copy, mf_sim_device_ops.copy);
    assert_ptr_equal(out.close_fds, mf_sim_device_ops.close_fds);
    assert_int_equal(out.size, sizeof(out));
}

static void test_table__missing_optional_members_refuse(void **state)
{
    struct mf_device_ops in = mf_sim_device_ops;
    struct mf_device_ops out;
    int fd;
    (void)state;
    in.mem_export = NULL;
    in.mem_import = NULL;
    in.mem_punch = NULL;
    in.copy_batch = NULL;
    in.launch = NULL;
    in.close_fds = NULL;
    mf_assert_ok(mf_device_table_complete("x", &in, &out));
    mf_assert_rc(out.mem_export(NULL, NULL, &fd), SMEM_NOT_EXIST);
    mf_assert_err_has("mem_export");
    mf_assert_rc(out.mem_import(NULL, 0, 0, NULL), SMEM_NOT_EXIST);
    mf_assert_err_has("mem_import");
    mf_assert_rc(out.mem_punch(NULL, NULL), SMEM_NOT_EXIST);
    mf_assert_err_has("mem_punch");
    mf_assert_rc(out.host_register(NULL, NULL, 0), SMEM_NOT_EXIST);
    mf_assert_err_has("host_register");
    mf_assert_rc(out.host_unregister(NULL, NULL), SMEM_NOT_EXIST);
    mf_assert_err_has("host_unregister");
    mf_assert_rc(out.copy_batch(NULL, NULL, NULL, 0), SMEM_NOT_EXIST);
    mf_assert_err_has("copy_batch");
    mf_assert_rc(out.launch(NULL, NULL, NULL, NULL), SMEM_NOT_EXIST);
    mf_assert_err_has("launch");
    mf_assert_rc(out.dmabuf_fd(NULL, 0, 0, &fd), SMEM_NOT_EXIST);
    mf_assert_err_has("dmabuf_fd");
    out.close_fds(NULL);
}

static void test_table__missing_required_member_is_named(void **state)
{
    struct mf_device_ops in = mf_sim_device_ops;
    struct mf_device_ops out;
    (void)state;
    in.wait64 = NULL;
    mf_assert_rc(mf_device_table_complete("./x.so", &in, &out), SMEM_INVALID_PARAM);
    mf_assert_err_has("wait64");
    mf_assert_err_has("./x.so");
    in = mf_sim_device_ops;
    in.probe = NULL;
    mf_assert_rc(mf_device_table_complete("x", &in, &out), SMEM_INVALID_PARAM);
    mf_assert_err_has("probe");
}

/* An older library's table ends earlier: what follows is not even read. */
static void test_table__smaller_one_lacks_its_tail(void **state)
{
    struct mf_device_ops in = mf_sim_device_ops;
    struct mf_device_ops out;
    int fd;
    (void)state;
    in.size = offsetof(struct mf_device_ops, dmabuf_fd);
    memset(&in.dmabuf_fd, 0xff, sizeof(in) - offsetof(struct mf_device_ops, dmabuf_fd));
    mf_assert_ok(mf_device_table_complete("x", &in, &out));
    mf_assert_rc(out.dmabuf_fd(NULL, 0, 0, &fd), SMEM_NOT_EXIST);
    out.close_fds(NULL);
    in.size = offsetof(struct mf_device_ops, stream_wait_event);
    mf_assert_rc(mf_device_table_complete("x", &in, &out), SMEM_INVALID_PARAM);
    mf_assert_err_has("stream_wait_event");
}

static void test_table__larger_one_is_of_a_newer_library(void **state)
{
    struct {
        struct mf_device_ops ops;
        void *more[3];
    } in = {.ops = mf_sim_device_ops};
    struct mf_device_ops out;
    (void)state;
    in.ops.size = sizeof(in);
    mf_assert_ok(mf_device_table_complete("x", &in.ops, &out));
    assert_int_equal(out.size, sizeof(out));
}

static void test_table__refuses_what_is_none(void **state)
{
    struct mf_device_ops in = mf_sim_device_ops;
    struct mf_device_ops out;
    (void)state;
    in.abi = MF_PLUGIN_ABI + 1;
    mf_assert_rc(mf_device_table_complete("x", &in, &out), SMEM_INVALID_PARAM);
    mf_assert_err_has("ABI 2");
    in = mf_sim_device_ops;
    in.size = 4;
    mf_assert_rc(mf_device_table_complete("x", &in, &out), SMEM_INVALID_PARAM);
    mf_assert_err_has("4 bytes");
    in = mf_sim_device_ops;
    in.name = NULL;
    mf_assert_rc(mf_device_table_complete("x", &in, &out), SMEM_INVALID_PARAM);
    mf_assert_err_has("name");
}

/* ---- opening ---- */

static void test_open__sim_by_name(void **state)
{
    struct fixture f;
    struct mf_dev *dev;
    (void)state;
    fixture_init(&f);
    mf_assert_ok(mf_config_set(&f.config, MF_OPT_SIM_MEMORY, "64M"));
    mf_assert_ok(mf_dev_open(&f.env, &f.config, "sim", 3, &dev));
    assert_string_equal(dev->info.plugin, "sim");
    assert_int_equal(dev->info.ordinal, 3);
    assert_int_equal(dev->info.memory_total, 64 * MIB);
    assert_true(dev->has_copy_batch);
    mf_dev_close(dev);
    mf_dev_close(NULL);
}

static void test_open__ordinal_beyond_the_count(void **state)
{
    struct fixture f;
    struct mf_dev *dev;
    (void)state;
    fixture_init(&f);
    mf_assert_ok(mf_config_set(&f.config, MF_OPT_SIM_DEVICES, "2"));
    mf_assert_rc(mf_dev_open(&f.env, &f.config, "sim", 2, &dev), SMEM_INVALID_PARAM);
    assert_null(dev);
    mf_assert_err_has("sim:2");
    mf_assert_err_has("sim:0 to sim:1");
}

static void test_open__none_and_auto_give_no_device(void **state)
{
    struct fixture f;
    struct mf_dev *dev = (struct mf_dev *)&f;
    (void)state;
    fixture_init(&f);
    mf_assert_ok(mf_dev_open(&f.env, &f.config, "none", 0, &dev));
    assert_null(dev);
    mf_assert_rc(mf_dev_none(&f.env, &f.config, "none"), SMEM_NOT_EXIST);
    mf_assert_err_has("device.plugin is none");
    mf_assert_err_has("MF_DEVICE=sim");
    dev = (struct mf_dev *)&f;
    mf_assert_ok(mf_dev_open(&f.env, &f.config, "auto", 0, &dev));
    assert_null(dev);
    mf_assert_rc(mf_dev_none(&f.env, &f.config, "auto"), SMEM_NOT_EXIST);
    mf_assert_err_has("no accelerator found");
    mf_assert_err_has("MF_DEVICE=sim");
    assert_false(mf_dev_owns(NULL, 0x1000, 1));
}

static void test_open__unknown_plugin_says_what_there_is(void **state)
{
    struct fixture f;
    struct mf_dev *dev;
    (void)state;
    fixture_init(&f);
    mf_assert_rc(mf_dev_open(&f.env, &f.config, "gpu", 0, &dev), SMEM_NOT_EXIST);
    mf_assert_err_has("\"gpu\"");
    mf_assert_err_has("sim");
    mf_assert_rc(mf_dev_open(&f.env, &f.config, "/does/not/exist.so", 0, &dev), SMEM_NOT_EXIST);
    mf_assert_err_has("/does/not/exist.so");
    assert_null(dev);
}

static void test_none__refuses_to_open(void **state)
{
    struct mf_plugin_host host = {0};
    struct mf_device_params params = {.size = sizeof(params)};
    uint32_t count = 9;
    char why[128];
    void *dev = &host;
    (void)state;
    mf_assert_ok(mf_none_device_ops.probe(&host, &params, &count, why, sizeof(why)));
    assert_int_equal(count, 0);
    assert_non_null(strstr(why, "MF_DEVICE=sim"));
    mf_assert_rc(mf_none_device_ops.open(&host, &params, 0, &dev), SMEM_NOT_EXIST);
    assert_null(dev);
    mf_assert_err_has("no accelerator is used");
}

static void test_probe_all__lists_every_plugin(void **state)
{
    struct fixture f;
    struct mf_dev_probe probes[8];
    (void)state;
    fixture_init(&f);
    mf_assert_ok(mf_config_set(&f.config, MF_OPT_SIM_DEVICES, "5"));
    assert_int_equal(mf_dev_probe_all(&f.env, &f.config, probes, 8), 2);
    assert_string_equal(probes[0].name, "sim");
    assert_int_equal(probes[0].count, 5);
    assert_string_equal(probes[0].why, "");
    assert_string_equal(probes[1].name, "none");
    assert_int_equal(probes[1].count, 0);
    assert_string_not_equal(probes[1].why, "");
    mf_assert_ok(mf_config_set(&f.config, MF_OPT_DEVICE, "/does/not/exist.so"));
    assert_int_equal(mf_dev_probe_all(&f.env, &f.config, probes, 8), 3);
    assert_string_equal(probes[2].name, "/does/not/exist.so");
    assert_int_equal(probes[2].count, 0);
    assert_non_null(strstr(probes[2].why, "/does/not/exist.so"));
    assert_int_equal(mf_dev_probe_all(&f.env, &f.config, NULL, 0), 3);
}

/* ---- the registry ---- */

static void test_registry__shares_one_device(void **state)
{
    struct fixture f;
    struct mf_dev_registry *registry;
    struct mf_dev *a;
    struct mf_dev *b;
    struct mf_dev *c;
    (void)state;
    fixture_init(&f);
    mf_assert_ok(mf_dev_registry_create(&f.env, &f.config, &registry));
    mf_assert_ok(mf_dev_registry_get(registry, "sim", 0, &a));
    mf_assert_ok(mf_dev_registry_get(registry, "sim", 0, &b));
    mf_assert_ok(mf_dev_registry_get(registry, "sim", 1, &c));
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
    mf_dev_registry_put(registry, a);
    /* Still open for b. */
    struct mf_device_info info = {.size = sizeof(info)};
    mf_assert_ok(b->ops.info(b->impl, &info));
    mf_dev_registry_put(registry, b);
    mf_dev_registry_put(registry, c);
    mf_dev_registry_put(registry, NULL);
    mf_dev_registry_destroy(registry);
    mf_dev_registry_destroy(NULL);
}

static void test_registry__none_is_no_error(void **state)
{
    struct fixture f;
    struct mf_dev_registry *registry;
    struct mf_dev *dev;
    (void)state;
    fixture_init(&f);
    mf_assert_ok(mf_dev_registry_create(&f.env, &f.config, &registry));
    mf_assert_ok(mf_dev_registry_get(registry, "none", 0, &dev));
    assert_null(dev);
    mf_assert_rc(mf_dev_registry_get(registry, "sim", 999, &dev), SMEM_INVALID_PARAM);
    assert_null(dev);
    mf_dev_registry_destroy(registry);
}

static void test_registry__destroy_closes_what_is_open(void **state)
{
    struct fixture f;
    struct mf_dev_registry *registry;
    struct mf_dev *dev;
    mf_dev_mem mem;
    int before = count_fds();
    (void)state;
    fixture_init(&f);
    mf_assert_ok(mf_dev_registry_create(&f.env, &f.config, &registry));
    mf_assert_ok(mf_dev_registry_get(registry, "sim", 0, &dev));
    mf_assert_ok(dev->ops.mem_create(dev->impl, 2 * MIB, &mem));
    assert_int_equal(count_fds(), before + 1);
    mf_dev_registry_destroy(registry);
    assert_int_equal(count_fds(), before);
}

static void test_registry__knows_memory_of_another_device(void **state)
{
    struct fixture f;
    struct mf_dev_registry *registry;
    struct mf_dev *dev[2];
    mf_dev_mem mem;
    uint64_t addr;
    char name[32] = "";
    (void)state;
    fixture_init(&f);
    mf_assert_ok(mf_dev_registry_create(&f.env, &f.config, &registry));
    mf_assert_ok(mf_dev_registry_get(registry, "sim", 4, &dev[0]));
    mf_assert_ok(mf_dev_registry_get(registry, "sim", 5, &dev[1]));
    mf_assert_ok(dev[1]->ops.mem_create(dev[1]->impl, 2 * MIB, &mem));
    mf_assert_ok(dev[1]->ops.window_reserve(dev[1]->impl, 0, 2 * MIB, &addr));
    mf_assert_ok(dev[1]->ops.map(dev[1]->impl, addr, mem, 0, 2 * MIB));
    assert_true(mf_dev_registry_owned_by_other(registry, dev[0], addr, name, sizeof(name)));
    assert_string_equal(name, "sim:5");
    assert_false(mf_dev_registry_owned_by_other(registry, dev[1], addr, name, sizeof(name)));
    assert_false(mf_dev_registry_owned_by_other(registry, dev[0], num(&f), name, sizeof(name)));
    mf_dev_registry_destroy(registry);
}

/* As in a child that was forked: nothing of the registry is used afterwards. */
static int close_fds_of(struct mf_dev_registry *registry, int keep, int expected)
{
    mf_dev_registry_close_fds(registry);
    mf_dev_registry_close_fds(NULL);
    if (fcntl(keep, F_GETFD) < 0) {
        return 1;
    }
    return count_fds() == expected ? 0 : 2;
}

static void test_registry__close_fds_closes_descriptors_only(void **state)
{
    struct fixture f;
    struct mf_dev_registry *registry;
    struct mf_dev *dev;
    mf_dev_mem mem;
    int status;
    (void)state;
    fixture_init(&f);
    mf_assert_ok(mf_dev_registry_create(&f.env, &f.config, &registry));
    mf_assert_ok(mf_dev_registry_get(registry, "sim", 0, &dev));
    int keep = open("/dev/null", O_RDONLY);
    int before = count_fds();
    mf_assert_ok(dev->ops.mem_create(dev->impl, 2 * MIB, &mem));
    pid_t child = fork();
    if (child == 0) {
        _exit(close_fds_of(registry, keep, before));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(count_fds(), before + 1);
    close(keep);
    mf_dev_registry_destroy(registry);
}

struct opener {
    struct mf_dev_registry *registry;
    struct mf_dev *dev;
    int rc;
};

static void *open_one(void *arg)
{
    struct opener *o = arg;
    for (int i = 0; i < 50 && !o->rc; i++) {
        o->rc = mf_dev_registry_get(o->registry, "sim", (uint32_t)i % 2, &o->dev);
        if (!o->rc) {
            mf_dev_registry_put(o->registry, o->dev);
        }
    }
    return NULL;
}

static void test_registry__threads_open_and_close(void **state)
{
    struct fixture f;
    struct mf_dev_registry *registry;
    struct opener openers[4];
    pthread_t threads[4];
    (void)state;
    fixture_init(&f);
    mf_assert_ok(mf_dev_registry_create(&f.env, &f.config, &registry));
    for (int i = 0; i < 4; i++) {
        openers[i] = (struct opener){.registry = registry};
        assert_int_equal(pthread_create(&threads[i], NULL, open_one, &openers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < 4; i++) {
        mf_assert_ok(openers[i].rc);
    }
    mf_dev_registry_destroy(registry);
}

/* ---- memory that runs out ---- */

static int open_and_use(void *arg)
{
    struct fixture *f = arg;
    struct mf_dev_registry *registry = NULL;
    struct mf_dev *dev = NULL;
    mf_dev_mem mem;
    uint64_t addr = 0;
    uint64_t word = 1;
    void *stream;
    void *event;
    int rc = mf_dev_registry_create(&f->env, &f->config, &registry);
    rc = rc ? rc : mf_dev_registry_get(registry, "sim", 0, &dev);
    rc = rc ? rc : dev->ops.mem_create(dev->impl, 2 * MIB, &mem);
    rc = rc ? rc : dev->ops.window_reserve(dev->impl, 0, 2 * MIB, &addr);
    rc = rc ? rc : dev->ops.map(dev->impl, addr, mem, 0, 2 * MIB);
    rc = rc ? rc : dev->ops.stream_create(dev->impl, &stream);
    rc = rc ? rc : dev->ops.event_create(dev->impl, &event);
    for (int i = 0; i < 100 && !rc; i++) { /* more than the first ring holds */
        rc = i == 0 ? dev->ops.wait64(dev->impl, stream, num(&word), 1)
                    : dev->ops.fill(dev->impl, stream, addr, 1, 64);
    }
    rc = rc ? rc : dev->ops.event_record(dev->impl, event, stream);
    rc = rc ? rc : dev->ops.stream_sync(dev->impl, stream, mf_deadline_ns(&f->env, 10000));
    mf_dev_registry_destroy(registry);
    return rc;
}

static void test_device__failed_allocations_leave_nothing(void **state)
{
    struct fixture f;
    int before = count_fds();
    (void)state;
    fixture_init(&f);
    assert_true(mf_torture_recovers(open_and_use, &f) > 5);
    assert_int_equal(count_fds(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table__complete_one_is_taken_as_it_is),
        cmocka_unit_test(test_table__missing_optional_members_refuse),
        cmocka_unit_test(test_table__missing_required_member_is_named),
        cmocka_unit_test(test_table__smaller_one_lacks_its_tail),
        cmocka_unit_test(test_table__larger_one_is_of_a_newer_library),
        cmocka_unit_test(test_table__refuses_what_is_none),
        cmocka_unit_test(test_open__sim_by_name),
        cmocka_unit_test(test_open__ordinal_beyond_the_count),
        cmocka_unit_test(test_open__none_and_auto_give_no_device),
        cmocka_unit_test(test_open__unknown_plugin_says_what_there_is),
        cmocka_unit_test(test_none__refuses_to_open),
        cmocka_unit_test(test_probe_all__lists_every_plugin),
        cmocka_unit_test(test_registry__shares_one_device),
        cmocka_unit_test(test_registry__none_is_no_error),
        cmocka_unit_test(test_registry__destroy_closes_what_is_open),
        cmocka_unit_test(test_registry__knows_memory_of_another_device),
        cmocka_unit_test(test_registry__threads_open_and_close),
        cmocka_unit_test(test_device__failed_allocations_leave_nothing),
        cmocka_unit_test(test_registry__close_fds_closes_descriptors_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
