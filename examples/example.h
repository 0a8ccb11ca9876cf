// SPDX-License-Identifier: Apache-2.0
// What the larger examples share, so that each of them shows its own matter only: this process's
// place in the world, a pool to which each rank gives the same amount, clean errors, waiting with
// an end. It stands on the public API alone; examples/first_steps does the same without it.
#ifndef MEMFABRIC_EXAMPLE_H
#define MEMFABRIC_EXAMPLE_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "smem_bm.h"

#define EXAMPLE_RANKS  64u
#define EXAMPLE_WAIT_S 30.0

struct world {
    uint32_t rank, ranks;
    smem_bm_t pool;
    unsigned char *parts[EXAMPLE_RANKS]; /* where each rank's memory begins */
};

/* A call that has to succeed. The sentence says what was wrong and what to do. */
static inline void must(int rc, const char *what)
{
    if (rc != SMEM_OK) {
        fprintf(stderr, "%s: %d: %s\n", what, rc, smem_get_last_err_msg());
        exit(1);
    }
}

static inline double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* One step of waiting for something that began to be waited for at `since`. */
static inline void wait_a_little(double since, const char *what)
{
    struct timespec nap = {.tv_nsec = 500000};

    if (now_s() - since > EXAMPLE_WAIT_S) {
        fprintf(stderr, "waited %.0f s in vain for %s\n", EXAMPLE_WAIT_S, what);
        exit(1);
    }
    nanosleep(&nap, NULL);
}

static inline int copy(const struct world *world, const void *from, void *to, size_t bytes,
                       smem_bm_copy_type_t type)
{
    smem_copy_params_t params = {.src = from, .dest = to, .dataSize = bytes};

    return smem_bm_copy(world->pool, &params, type, 0);
}

/* A number that mfcli run has put into the environment. */
static inline uint32_t number_of(const char *name)
{
    const char *text = getenv(name);

    if (text == NULL) {
        fprintf(stderr, "%s is not set: start it with mfcli run -n N -- PROGRAM\n", name);
        exit(2);
    }
    return (uint32_t)strtoul(text, NULL, 10);
}

/* Becomes a rank, gives `bytes` to the pool, and waits until all others have done so. */
static inline void world_open(struct world *world, uint32_t least, uint64_t bytes)
{
    smem_bm_config_t config;
    double start = now_s();

    world->rank = number_of("MF_RANK");
    world->ranks = number_of("MF_WORLD_SIZE");
    if (world->ranks < least || world->ranks > EXAMPLE_RANKS) {
        fprintf(stderr, "this example needs %u to %u ranks\n", least, EXAMPLE_RANKS);
        exit(2);
    }
    smem_bm_config_init(&config);
    config.autoRanking = false;
    config.rankId = world->rank;
    must(smem_bm_init(getenv("MF_CONFIG_STORE_URL"), world->ranks, 0, &config), "init");
    world->pool = smem_bm_create(0, world->ranks, SMEMB_DATA_OP_SDMA, bytes, 0, 0);
    must(world->pool != NULL ? SMEM_OK : smem_get_last_err_code(), "create");
    must(smem_bm_join(world->pool, 0), "join");
    for (uint32_t rank = 0; rank < world->ranks; rank++) {
        uint64_t word;
        int rc = SMEM_NOT_CONNECTED;

        world->parts[rank] =
            smem_bm_ptr_by_mem_type(world->pool, SMEM_MEM_TYPE_HOST, (uint16_t)rank);
        for (; rc == SMEM_NOT_CONNECTED; wait_a_little(start, "all ranks to join")) {
            rc = copy(world, world->parts[rank], &word, sizeof(word), SMEMB_COPY_G2H);
        }
        must(rc, "look for the others");
    }
}

static inline void world_close(struct world *world)
{
    smem_bm_destroy(world->pool);
    smem_bm_uninit(0);
}

/* A word in the pool by which a rank tells how far it is; a copy moves 8 aligned bytes at once. */
static inline uint64_t word_get(const struct world *world, uint32_t rank, uint64_t offset)
{
    uint64_t word = 0;

    must(copy(world, world->parts[rank] + offset, &word, sizeof(word), SMEMB_COPY_G2H),
         "read a word");
    return word;
}

/* All ranks have come to line `line` (1, 2, 3 ...) when this returns. The word at `offset` of each
 * rank's part holds the line to which it has come. */
static inline void meet(const struct world *world, uint64_t offset, uint64_t line)
{
    double start = now_s();

    __atomic_store_n((uint64_t *)(void *)(world->parts[world->rank] + offset), line,
                     __ATOMIC_SEQ_CST);
    for (uint32_t rank = 0; rank < world->ranks; rank++) {
        while (word_get(world, rank, offset) < line) {
            wait_a_little(start, "the others");
        }
    }
}

/* As meet(), as the last thing: a rank that has left does not have to be asked any more. */
static inline void meet_and_part(struct world *world, uint64_t offset, uint64_t line)
{
    double start = now_s();

    __atomic_store_n((uint64_t *)(void *)(world->parts[world->rank] + offset), line,
                     __ATOMIC_SEQ_CST);
    for (uint32_t rank = 0; rank < world->ranks; rank++) {
        for (;;) {
            uint64_t word = 0;
            int rc = copy(world, world->parts[rank] + offset, &word, sizeof(word), SMEMB_COPY_G2H);

            if (rc == SMEM_NOT_CONNECTED || (rc == SMEM_OK && word >= line)) {
                break;
            }
            must(rc, "wait for the others");
            wait_a_little(start, "the others to end");
        }
    }
    world_close(world);
}

#endif
