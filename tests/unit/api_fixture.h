// SPDX-License-Identifier: Apache-2.0
// What the tests of the public API share: a configuration with short deadlines, a service of one
// rank that hosts its own store, a pool of host memory, and work in a forked child.
#ifndef MF_TEST_API_FIXTURE_H
#define MF_TEST_API_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mf_test.h"
#include "smem_bm.h"
#include "smem_config_store_api.h"

#define ANY_PORT "tcp://127.0.0.1:0"
#define MIB      (1ull << 20)

static inline smem_bm_config_t api_config(void)
{
    smem_bm_config_t config;
    mf_assert_ok(smem_bm_config_init(&config));
    config.initTimeout = config.createTimeout = config.controlOperationTimeout = 10;
    return config;
}

static inline int api_setup(void **state)
{
    (void)state;
    smem_bm_config_t config = api_config();
    return smem_bm_init(ANY_PORT, 4, 0, &config);
}

static inline int api_teardown(void **state)
{
    (void)state;
    smem_bm_uninit(0);
    return 0;
}

static inline smem_bm_create_option_t api_option(uint64_t dram, uint64_t hbm)
{
    return (smem_bm_create_option_t){.maxDramSize = dram,
                                     .maxHbmSize = hbm,
                                     .localDRAMSize = dram,
                                     .localHBMSize = hbm,
                                     .dataOpType = SMEMB_DATA_OP_SDMA,
                                     .dramShmFd = -1};
}

/** A pool of 4 MiB of DRAM, joined. */
static inline smem_bm_t api_pool(uint32_t id)
{
    smem_bm_t pool = smem_bm_create(id, 0, SMEMB_DATA_OP_SDMA, 4 * MIB, 0, 0);
    if (pool == NULL) {
        fail_msg("create: %s", smem_get_last_err_msg());
    }
    mf_assert_ok(smem_bm_join(pool, 0));
    return pool;
}

/** Run fn in a forked child; what it returns, 0..99, or 100 when it died of something else. */
static inline int api_in_child(int (*fn)(void *arg), void *arg)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(fn(arg));
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
        return 100;
    }
    return WEXITSTATUS(status);
}

/** A thread sanitizer does not let the child of a process with threads start threads. */
static inline void api_skip_without_threads_after_fork(void)
{
#if defined(__SANITIZE_THREAD__)
    bool sanitized = true;
#elif defined(__has_feature)
    bool sanitized = __has_feature(thread_sanitizer);
#else
    bool sanitized = false;
#endif
    if (sanitized) {
        print_message("skipped: the thread sanitizer forbids threads after fork\n");
        skip();
    }
}

/** The call failed with `rc`, code and sentence agree, and the sentence has `part`. */
#define assert_refused(expr, rc, part)                \
    do {                                              \
        mf_err_clear();                               \
        mf_assert_rc(expr, rc);                       \
        mf_assert_rc(smem_get_last_err_code(), (rc)); \
        mf_assert_err_has(part);                      \
    } while (0)

/** The call gave NULL or 0, the code is `rc` and the sentence has `part`. */
#define assert_refused_null(expr, rc, part)           \
    do {                                              \
        mf_err_clear();                               \
        assert_true((expr) == 0);                     \
        mf_assert_rc(smem_get_last_err_code(), (rc)); \
        mf_assert_err_has(part);                      \
    } while (0)

#endif
