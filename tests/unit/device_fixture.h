// SPDX-License-Identifier: Apache-2.0
// What the tests of the device layer share: an environment with options that a test may change.
#ifndef MF_DEVICE_FIXTURE_H
#define MF_DEVICE_FIXTURE_H

#include <dirent.h>
#include <unistd.h>

#include "device/device.h"
#include "mf_test.h"

#define MIB (1ull << 20)

struct fixture {
    struct mf_log log;
    struct mf_env env;
    struct mf_config config;
};

static inline void fixture_init(struct fixture *f)
{
    *f = (struct fixture){.log = MF_LOG_INIT};
    mf_env_init_real(&f->env, &f->log);
    mf_config_defaults(&f->config);
}

/** Open descriptors of this process. */
static inline int count_fds(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n;
}

static inline uint64_t num(const volatile void *p)
{
    return (uint64_t)(uintptr_t)p;
}

#endif
