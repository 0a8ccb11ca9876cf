// SPDX-License-Identifier: Apache-2.0
// The torture driver's counters and loop. The counters are atomic: allocations of all threads
// count.
#include "mf_torture.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "mf_test.h"

/* More allocations than any operation of a test makes: a loop without end is found out. */
#define RUNS_MAX 20000

static _Atomic int countdown; /* 0 or less: nothing fails */
static _Atomic int hits;
static _Atomic long live_blocks;

bool mf_alloc_should_fail(size_t bytes, const char *what)
{
    (void)bytes;
    (void)what;
    if (atomic_load(&countdown) <= 0 || atomic_fetch_sub(&countdown, 1) != 1) {
        return false;
    }
    atomic_fetch_add(&hits, 1);
    return true;
}

void mf_alloc_count(int delta)
{
    atomic_fetch_add(&live_blocks, delta);
}

void mf_torture_arm(int nth)
{
    atomic_store(&hits, 0);
    atomic_store(&countdown, nth);
}

int mf_torture_disarm(void)
{
    atomic_store(&countdown, 0);
    return atomic_load(&hits);
}

long mf_torture_live_blocks(void)
{
    return atomic_load(&live_blocks);
}

static bool is_defined_code(int rc)
{
    static const int codes[] = {
        SMEM_ERROR,         SMEM_INVALID_PARAM,    SMEM_MALLOC_FAILED, SMEM_NO_RESOURCES,
        SMEM_NOT_STARTED,   SMEM_TIMEOUT,          SMEM_REPEAT_INVOKE, SMEM_DUPLICATED,
        SMEM_NOT_EXIST,     SMEM_NOT_INIT,         SMEM_RES_IN_USE,    SMEM_PARTIAL_FAILED,
        SMEM_NOT_CONNECTED, SMEM_BUFFER_TOO_SMALL,
    };
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (rc == codes[i]) {
            return true;
        }
    }
    return false;
}

static void check_failed_run(int n, int rc, bool may_recover)
{
    if (rc == SMEM_OK && !may_recover) {
        fail_msg("allocation %d failed, yet the operation reported success", n);
    }
    if (rc != SMEM_OK && !is_defined_code(rc)) {
        fail_msg("allocation %d failed, and the operation returned %d, which is no code of ours", n,
                 rc);
    }
    if (rc != SMEM_OK && mf_err_msg()[0] == '\0') {
        fail_msg("allocation %d failed, the operation returned %d without a sentence", n, rc);
    }
}

static int torture(mf_torture_fn fn, void *arg, bool may_recover)
{
    for (int n = 1; n <= RUNS_MAX; n++) {
        long live_before = mf_torture_live_blocks();
        mf_err_clear();
        mf_torture_arm(n);
        int rc = fn(arg);
        int hit = mf_torture_disarm();
        long live_after = mf_torture_live_blocks();
        if (live_after != live_before) {
            fail_msg("failing allocation %d leaves %ld blocks, %ld before (code %d: %s)", n,
                     live_after, live_before, rc, mf_err_msg());
        }
        if (!hit) {
            mf_assert_ok(rc);
            return n - 1;
        }
        check_failed_run(n, rc, may_recover);
    }
    fail_msg("the operation still allocates after %d failures", RUNS_MAX);
    return -1;
}

int mf_torture(mf_torture_fn fn, void *arg)
{
    return torture(fn, arg, false);
}

int mf_torture_recovers(mf_torture_fn fn, void *arg)
{
    return torture(fn, arg, true);
}
