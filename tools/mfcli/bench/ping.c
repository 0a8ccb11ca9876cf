// SPDX-License-Identifier: Apache-2.0
// Ping-pong. Balls carry ascending numbers, so that no round can take the last one's for its own.
#include "ping.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include "machine.h"

#define LOOKS      (1u << 20) /* between two looks at the clock */
#define PATIENCE_S 10.0

/* Spins until the ball in this rank's memory has the number. */
static int catch_ball(const struct world *world, uint64_t number)
{
    double deadline = 0;

    for (;;) {
        for (uint32_t i = 0; i < LOOKS; i++) {
            if (__atomic_load_n(&world->control->ball, __ATOMIC_ACQUIRE) == number) {
                return 0;
            }
        }
        if (deadline == 0) {
            deadline = machine_now() + PATIENCE_S;
        } else if (machine_now() > deadline) {
            fprintf(stderr, "%s: rank %u: the other rank did not answer a put within %g s\n",
                    BENCH_COMMAND, world->rank, PATIENCE_S);
            return -1;
        }
    }
}

/* The ball of the rank at the other end. */
static uint64_t *far_ball(const struct world *world, uint32_t rank, bool through_library)
{
    struct place dram = world_place(world, PLACE_DRAM, rank);
    uint64_t offset = world->bytes + offsetof(struct control, ball);

    if (through_library) {
        return (uint64_t *)(uintptr_t)(dram.base + offset);
    }
    uint8_t *address = world_cpu_address(world, &dram);
    return address ? (uint64_t *)(void *)(address + offset) : NULL;
}

static int throw_ball(const struct world *world, uint64_t *ball, uint64_t number,
                      bool through_library)
{
    if (!through_library) {
        __atomic_store_n(ball, number, __ATOMIC_RELEASE);
        return 0;
    }
    smem_copy_params params = {.src = &number, .dest = ball, .dataSize = sizeof(number)};
    return smem_bm_copy(world->pool, &params, SMEMB_COPY_H2G, 0) ? world_error(world, "put") : 0;
}

int ping_play(struct world *world, const struct request *request)
{
    bool through_library = request->through_library != 0;
    uint64_t *ball = far_ball(world, 0, through_library);
    int result = ball ? 0 : -1;

    for (uint64_t i = 0; result == 0 && i <= request->rounds; i++) {
        result = catch_ball(world, request->first + i);
        if (result == 0) {
            result = throw_ball(world, ball, request->first + i, through_library);
        }
    }
    return result;
}

int ping_measure(struct world *world, uint64_t rounds, bool through_library, double *seconds)
{
    uint64_t *ball = far_ball(world, world_partner(world), through_library);
    uint64_t first = __atomic_load_n(&world->control->ball, __ATOMIC_RELAXED) + 1;
    struct request request = {
        .kind = REQUEST_PING, .first = first, .rounds = rounds, .through_library = through_library};
    struct reply reply;
    double start = 0;
    int result = ball ? partner_post(world, &request) : -1;

    /* The first round only wakes the partner. */
    for (uint64_t i = 0; result == 0 && i <= rounds; i++) {
        start = i == 1 ? machine_now() : start;
        result = throw_ball(world, ball, first + i, through_library);
        if (result == 0) {
            result = catch_ball(world, first + i);
        }
    }
    *seconds = (machine_now() - start) / (double)rounds / 2;
    return result == 0 ? partner_wait(world, &reply) : -1;
}
