// SPDX-License-Identifier: Apache-2.0
// A transport plug-in of another ABI number fails the registry with a sentence that names both
// numbers: `refused_transport PATH ABI`.
#include "transport/transport.h"

#include <stdio.h>

#include "mf_test.h"

static struct {
    const char *path, *abi;
} arg;

static void test_transport__of_another_abi_is_refused(void **state)
{
    struct mf_log log = MF_LOG_INIT;
    struct mf_env env;
    struct mf_config config;
    struct mf_transport_registry *registry = NULL;
    char theirs[32];
    char ours[32];
    (void)state;
    mf_env_init_real(&env, &log);
    mf_config_defaults(&config);
    mf_assert_ok(mf_config_set(&config, MF_OPT_TRANSPORT, arg.path));
    mf_assert_rc(mf_transport_registry_create(&env, &config, &registry), SMEM_INVALID_PARAM);
    assert_null(registry);
    snprintf(theirs, sizeof(theirs), "ABI %s", arg.abi);
    snprintf(ours, sizeof(ours), "ABI %u", (unsigned)MF_PLUGIN_ABI);
    mf_assert_err_has(arg.path);
    mf_assert_err_has(theirs);
    mf_assert_err_has(ours);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: refused_transport PATH ABI\n");
        return 2;
    }
    arg.path = argv[1];
    arg.abi = argv[2];
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transport__of_another_abi_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
