// SPDX-License-Identifier: Apache-2.0
// What is computed from an environment's clock and randomness, the same for a real and a simulated
// one.
#include "base/env.h"

uint64_t mf_random_u64(const struct mf_env *env)
{
    uint64_t value;
    do {
        env->ops->random(env->arg, &value, sizeof(value));
    } while (value == 0);
    return value;
}

uint64_t mf_deadline_ns(const struct mf_env *env, uint64_t timeout_ms)
{
    uint64_t span_ns;
    uint64_t deadline_ns;
    if (__builtin_mul_overflow(timeout_ms, MF_NS_PER_MS, &span_ns) ||
        __builtin_add_overflow(mf_now_ns(env), span_ns, &deadline_ns)) {
        return UINT64_MAX;
    }
    return deadline_ns;
}

int mf_left_ms(const struct mf_env *env, uint64_t deadline_ns)
{
    uint64_t now_ns = mf_now_ns(env);
    if (now_ns >= deadline_ns) {
        return 0;
    }
    uint64_t left_ns = deadline_ns - now_ns;
    uint64_t left_ms = left_ns / MF_NS_PER_MS + (left_ns % MF_NS_PER_MS != 0);
    return left_ms > INT32_MAX ? INT32_MAX : (int)left_ms;
}
