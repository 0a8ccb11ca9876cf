// SPDX-License-Identifier: Apache-2.0
// What comes from outside: time, randomness, who we are. Everything that needs one of them takes a
// struct mf_env, so that a simulation can give its own. Only env_real.c asks the system.
#ifndef MF_BASE_ENV_H
#define MF_BASE_ENV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"

struct mf_env_ops {
    uint64_t (*now_ns)(void *arg); /* monotonic, never 0 */
    void (*random)(void *arg, void *buf, size_t len);
    pid_t (*pid)(void *arg);
    /** The same number for processes of one host, most likely another one elsewhere. Only a hint.
     */
    uint64_t (*host_hint)(void *arg);
};

struct mf_env {
    const struct mf_env_ops *ops;
    void *arg;
    struct mf_log *log;
};

/** The system's clock (CLOCK_MONOTONIC), getrandom and getpid. `log` is borrowed. */
void mf_env_init_real(struct mf_env *env, struct mf_log *log);

static inline uint64_t mf_now_ns(const struct mf_env *env)
{
    return env->ops->now_ns(env->arg);
}

/** A random number that is never 0 (incarnations and epochs use 0 as "none"). */
uint64_t mf_random_u64(const struct mf_env *env);

#define MF_NS_PER_MS 1000000ull
#define MF_NS_PER_S  1000000000ull
/** A deadline `timeout_ms` from now; saturates instead of wrapping. */
uint64_t mf_deadline_ns(const struct mf_env *env, uint64_t timeout_ms);
/** Milliseconds left until the deadline, rounded up, 0 when it has passed; at most INT32_MAX. */
int mf_left_ms(const struct mf_env *env, uint64_t deadline_ns);

#endif
