// SPDX-License-Identifier: Apache-2.0
// The registry of transports: built-ins by operator, what is asked for and is not there, and
// plug-ins that are none.
#include "transport/transport.h"

#include "mf_test.h"
#include "mf_torture.h"
#include "smem_bm_def.h"

struct fixture {
    struct mf_log log;
    struct mf_env env;
    struct mf_config config;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.log = MF_LOG_INIT};
    mf_env_init_real(&f.env, &f.log);
    mf_config_defaults(&f.config);
    *state = &f;
    return 0;
}

static void test_registry_find__direct_serves_sdma_and_host_shm(void **state)
{
    struct fixture *f = *state;
    struct mf_transport_registry *registry;
    mf_assert_ok(mf_transport_registry_create(&f->env, &f->config, &registry));
    const struct mf_transport_entry *entry = mf_transport_find(registry, SMEMB_DATA_OP_SDMA);
    assert_non_null(entry);
    assert_string_equal(entry->ops.name, "direct");
    assert_ptr_equal(mf_transport_find(registry, SMEMB_DATA_OP_HOST_SHM), entry);
    assert_ptr_equal(mf_transport_at(registry, 0), entry);
    assert_null(mf_transport_at(registry, 1));
    assert_null(entry->lib);
    mf_transport_registry_destroy(registry);
    mf_transport_registry_destroy(NULL);
}

static void test_registry_find__names_what_is_missing(void **state)
{
    struct fixture *f = *state;
    struct mf_transport_registry *registry;
    mf_assert_ok(mf_transport_registry_create(&f->env, &f->config, &registry));
    assert_null(mf_transport_find(registry, SMEMB_DATA_OP_HOST_RDMA));
    assert_int_equal(mf_err_code(), SMEM_NOT_EXIST);
    mf_assert_err_has("HOST_RDMA");
    mf_assert_err_has("direct");
    mf_assert_err_has("MF_TRANSPORT_PLUGIN");
    assert_null(mf_transport_find(registry, 1u << 20));
    mf_assert_err_has("unknown");
    mf_transport_registry_destroy(registry);
}

static void test_registry_create__a_path_that_is_no_plugin(void **state)
{
    struct fixture *f = *state;
    struct mf_transport_registry *registry = NULL;
    mf_assert_ok(mf_config_set(&f->config, MF_OPT_TRANSPORT, "/nowhere/none.so"));
    mf_assert_rc(mf_transport_registry_create(&f->env, &f->config, &registry), SMEM_NOT_EXIST);
    mf_assert_err_has("transport.plugin");
    mf_assert_err_has("/nowhere/none.so");
    assert_null(registry);
}

static int create_and_destroy(void *arg)
{
    struct fixture *f = arg;
    struct mf_transport_registry *registry;
    int rc = mf_transport_registry_create(&f->env, &f->config, &registry);
    mf_transport_registry_destroy(registry);
    return rc;
}

static void test_registry_create__without_memory(void **state)
{
    assert_true(mf_torture(create_and_destroy, *state) >= 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        CASE(test_registry_find__direct_serves_sdma_and_host_shm),
        CASE(test_registry_find__names_what_is_missing),
        CASE(test_registry_create__a_path_that_is_no_plugin),
        CASE(test_registry_create__without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
