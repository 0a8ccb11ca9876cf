// SPDX-License-Identifier: Apache-2.0
// Time, randomness and log of a fuzz target that runs a state machine: the same for the same input.
#ifndef MF_TESTS_FUZZ_ENV_H
#define MF_TESTS_FUZZ_ENV_H

#include <string.h>

#include "base/env.h"

struct fuzz_world {
    struct mf_log log;
    struct mf_env env;
    uint64_t now, random;
};

static uint64_t fuzz_now(void *arg)
{
    return ((struct fuzz_world *)arg)->now;
}

static void fuzz_random(void *arg, void *buf, size_t len)
{
    struct fuzz_world *world = arg;
    for (size_t i = 0; i < len; i++) {
        world->random = world->random * 6364136223846793005ull + 1442695040888963407ull;
        ((uint8_t *)buf)[i] = (uint8_t)(world->random >> 56);
    }
}

static pid_t fuzz_pid(void *arg)
{
    (void)arg;
    return 1;
}

static void fuzz_silent(int level, const char *msg)
{
    (void)level;
    (void)msg;
}

static inline void fuzz_world_init(struct fuzz_world *world)
{
    static const struct mf_env_ops ops = {
        .now_ns = fuzz_now, .random = fuzz_random, .pid = fuzz_pid};
    memset(world, 0, sizeof(*world));
    world->now = 1000000000;
    world->log.sink = fuzz_silent;
    world->env = (struct mf_env){.ops = &ops, .arg = world, .log = &world->log};
}

#endif
