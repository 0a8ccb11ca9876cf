// SPDX-License-Identifier: Apache-2.0
// A plug-in of another ABI number is refused with a sentence that names both: `refused_plugin PATH
// ABI`.
#include "device/device.h"

#include <stdio.h>

#include "mf_test.h"

static struct {
    const char *path, *abi;
} arg;

static void test_plugin__of_another_abi_is_refused(void **state)
{
    (void)state;
    struct mf_log log = MF_LOG_INIT;
    struct mf_env env;
    struct mf_config config;
    struct mf_dev *dev;
    char theirs[32];
    char ours[32];
    mf_env_init_real(&env, &log);
    mf_config_defaults(&config);
    snprintf(theirs, sizeof(theirs), "ABI %s", arg.abi);
    snprintf(ours, sizeof(ours), "ABI %u", (unsigned)MF_PLUGIN_ABI);
    mf_assert_rc(mf_dev_open(&env, &config, arg.path, 0, &dev), SMEM_INVALID_PARAM);
    assert_null(dev);
    mf_assert_err_has(arg.path);
    mf_assert_err_has(theirs);
    mf_assert_err_has(ours);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: refused_plugin PATH ABI\n");
        return 2;
    }
    arg.path = argv[1];
    arg.abi = argv[2];
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plugin__of_another_abi_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
