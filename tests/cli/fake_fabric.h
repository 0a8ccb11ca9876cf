// SPDX-License-Identifier: Apache-2.0
// A fabric for tests: the parts of all ranks lie in this process. Bytes move in words of 8, each by
// one store, so that threads that play ranks see what ranks see. A rank can be declared dead: then
// nothing reaches it.
#ifndef TESTS_CLI_FAKE_FABRIC_H
#define TESTS_CLI_FAKE_FABRIC_H

#include <stdatomic.h>
#include <stdint.h>

#include "replay/fabric.h"
#include "replay/layout.h"

#define FAKE_RANKS_MAX 8u

struct fake_pool;

struct fake_fabric {
    struct fabric fabric;
    struct fake_pool *pool;
};

struct fake_pool {
    uint32_t ranks;
    size_t bytes; /* of each part */
    unsigned char *parts[FAKE_RANKS_MAX];
    uint64_t bases[FAKE_RANKS_MAX];
    atomic_bool dead[FAKE_RANKS_MAX];
    struct fake_fabric ends[FAKE_RANKS_MAX]; /* what rank i works with */
    /* Called after each batch of gets when set: what happens while a client copies. */
    void (*after_get_batch)(void *arg, uint32_t count);
    void *arg;
};

void fake_pool_init(struct fake_pool *pool, uint32_t ranks, size_t bytes);
void fake_pool_fini(struct fake_pool *pool);

#endif
