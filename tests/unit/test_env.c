// SPDX-License-Identifier: Apache-2.0
// Tests of what is computed from an environment (with a virtual clock), and of the real one.
#include "base/env.h"

#include <unistd.h>

#include "mf_test.h"

/** An environment that a test controls. */
struct fake {
    uint64_t now_ns;
    int zeroes; /* so many random numbers are 0 */
};

static uint64_t fake_now_ns(void *arg)
{
    const struct fake *fake = arg;
    return fake->now_ns;
}

static void fake_random(void *arg, void *buf, size_t len)
{
    struct fake *fake = arg;
    memset(buf, fake->zeroes-- > 0 ? 0 : 0x5a, len);
}

static pid_t fake_pid(void *arg)
{
    (void)arg;
    return 42;
}

static const struct mf_env_ops fake_ops = {
    .now_ns = fake_now_ns,
    .random = fake_random,
    .pid = fake_pid,
};

static void test_random_u64__is_never_zero(void **state)
{
    (void)state;
    struct fake fake = {.zeroes = 3};
    struct mf_env env = {.ops = &fake_ops, .arg = &fake};
    assert_true(mf_random_u64(&env) == 0x5a5a5a5a5a5a5a5aull);
    assert_int_equal(fake.zeroes, -1);
}

static void test_deadline__saturates(void **state)
{
    (void)state;
    struct fake fake = {.now_ns = 1000};
    struct mf_env env = {.ops = &fake_ops, .arg = &fake};
    assert_int_equal(mf_deadline_ns(&env, 0), 1000);
    assert_int_equal(mf_deadline_ns(&env, 5), 1000 + 5 * MF_NS_PER_MS);
    assert_true(mf_deadline_ns(&env, UINT64_MAX) == UINT64_MAX);
    assert_true(mf_deadline_ns(&env, UINT64_MAX / MF_NS_PER_MS + 1) == UINT64_MAX);
    fake.now_ns = UINT64_MAX - 5;
    assert_true(mf_deadline_ns(&env, 1) == UINT64_MAX);
}

static void test_left_ms__rounds_up_and_is_never_negative(void **state)
{
    (void)state;
    struct fake fake = {.now_ns = 1000};
    struct mf_env env = {.ops = &fake_ops, .arg = &fake};
    assert_int_equal(mf_left_ms(&env, 0), 0);
    assert_int_equal(mf_left_ms(&env, 1000), 0);
    assert_int_equal(mf_left_ms(&env, 1001), 1);
    assert_int_equal(mf_left_ms(&env, 1000 + MF_NS_PER_MS), 1);
    assert_int_equal(mf_left_ms(&env, 1001 + MF_NS_PER_MS), 2);
    assert_int_equal(mf_left_ms(&env, UINT64_MAX), INT32_MAX);
    assert_int_equal(mf_left_ms(&env, mf_deadline_ns(&env, 3000)), 3000);
}

static void test_env_real__clock_goes_forward(void **state)
{
    (void)state;
    struct mf_env env;
    mf_env_init_real(&env, NULL);
    uint64_t last = mf_now_ns(&env);
    assert_true(last != 0);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = mf_now_ns(&env);
        assert_true(now >= last);
        last = now;
    }
    assert_int_equal(env.ops->pid(env.arg), getpid());
}

static void test_env_real__random_fills_every_byte(void **state)
{
    (void)state;
    struct mf_env env;
    mf_env_init_real(&env, NULL);
    /* Longer than one getrandom call is sure to give; a byte that stays 0 in 16 draws is not
     * filled. */
    static uint8_t seen[1000];
    uint8_t draw[1000];
    for (int i = 0; i < 16; i++) {
        env.ops->random(env.arg, draw, sizeof(draw));
        for (size_t at = 0; at < sizeof(draw); at++) {
            seen[at] |= draw[at];
        }
    }
    for (size_t at = 0; at < sizeof(seen); at++) {
        assert_int_not_equal(seen[at], 0);
    }
    assert_true(mf_random_u64(&env) != mf_random_u64(&env));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_u64__is_never_zero),
        cmocka_unit_test(test_deadline__saturates),
        cmocka_unit_test(test_left_ms__rounds_up_and_is_never_negative),
        cmocka_unit_test(test_env_real__clock_goes_forward),
        cmocka_unit_test(test_env_real__random_fills_every_byte),
    };
    return cmocka_run_group_tests_name("env", tests, NULL, NULL);
}
