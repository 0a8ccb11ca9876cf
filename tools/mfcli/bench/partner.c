// SPDX-License-Identifier: Apache-2.0
// Both ends of the messages between rank 0 and the others, and what they ask for.
#include "partner.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "ping.h"

#define STAGING_BYTES (4u << 20)
#define POLL_NS       200000u
#define RETRY_NS      2000000u
#define ANSWER_S      300.0
#define ALIVE_S       1.0

/* ---- what is asked for ---------------------------------------------------------------------- */

/* Bytes of the next piece of a place; host memory needs no pieces, but caches like them. */
static uint64_t piece_of(uint64_t offset, uint64_t bytes)
{
    return bytes - offset < STAGING_BYTES ? bytes - offset : STAGING_BYTES;
}

static int fill_place(struct world *world, const struct place *place, const struct pattern *pattern,
                      uint64_t bytes)
{
    uint8_t *direct = world_cpu_address(world, place);

    for (uint64_t at = 0; at < bytes; at += STAGING_BYTES) {
        uint64_t piece = piece_of(at, bytes);
        uint8_t *to = direct ? direct + at : world->staging;

        if (pattern) {
            pattern_fill(pattern, at, to, piece);
        } else {
            memset(to, PATTERN_POISON, piece);
        }
        if (!direct && place_write(world, place, at, to, piece)) {
            return -1;
        }
    }
    return 0;
}

static int check_place(struct world *world, const struct place *place,
                       const struct expectation *want, uint64_t *wrong)
{
    uint8_t *direct = world_cpu_address(world, place);
    struct extent *extents = NULL;
    size_t count = shape_extents(&want->shape, want->count, &extents);
    int result = 0;

    *wrong = 0;
    for (uint64_t at = 0; result == 0 && at < want->bytes; at += STAGING_BYTES) {
        uint64_t piece = piece_of(at, want->bytes);
        const uint8_t *from = direct ? direct + at : world->staging;

        if (!direct) {
            result = place_read(world, place, at, world->staging, piece);
        }
        if (result == 0) {
            *wrong += pattern_wrong_in_target(&want->pattern, extents, count, at, from, piece);
        }
    }
    free(extents);
    return result;
}

/* ---- asking --------------------------------------------------------------------------------- */

/* Puts into another rank's control words. */
static int put_control(const struct world *world, uint32_t rank, size_t offset, const void *from,
                       size_t bytes)
{
    struct place dram = world_place(world, PLACE_DRAM, rank);
    smem_copy_params params = {.src = from,
                               .dest = (void *)(uintptr_t)(dram.base + world->bytes + offset),
                               .dataSize = bytes};

    return smem_bm_copy(world->pool, &params, SMEMB_COPY_H2G, 0);
}

static int send(struct world *world, uint32_t rank, const struct request *request, uint64_t number)
{
    int rc = put_control(world, rank, offsetof(struct control, request), request, sizeof(*request));

    return rc ? rc
              : put_control(world, rank, offsetof(struct control, request_number), &number,
                            sizeof(number));
}

/* As send(), to a rank that may not have joined yet. */
static int send_patiently(struct world *world, uint32_t rank, const struct request *request,
                          uint64_t number)
{
    double deadline = machine_now() + (double)world->cfg->timeout_ms / 1000;
    int rc = send(world, rank, request, number);

    while (rc == SMEM_NOT_CONNECTED && machine_now() < deadline) {
        machine_sleep_ns(RETRY_NS);
        rc = send(world, rank, request, number);
    }
    return rc ? world_error(world, "message to another rank") : 0;
}

int partner_post(struct world *world, const struct request *request)
{
    return send_patiently(world, world_partner(world), request, ++world->sent);
}

int partner_wait(struct world *world, struct reply *reply)
{
    double deadline = machine_now() + ANSWER_S;
    const struct control *control = world->control;

    while (__atomic_load_n(&control->reply_number, __ATOMIC_ACQUIRE) != world->sent) {
        machine_sleep_ns(POLL_NS);
        if (machine_now() > deadline) {
            fprintf(stderr, "%s: rank %u did not answer within %g s\n", BENCH_COMMAND,
                    world_partner(world), ANSWER_S);
            return -1;
        }
    }
    *reply = control->reply;
    return reply->failed ? -1 : 0;
}

static int ask(struct world *world, const struct request *request, struct reply *reply)
{
    return partner_post(world, request) ? -1 : partner_wait(world, reply);
}

int partner_meet(struct world *world)
{
    struct request request = {.kind = REQUEST_HELLO};
    struct reply reply;

    return ask(world, &request, &reply);
}

int partner_fill(struct world *world, const struct place *place, const struct pattern *pattern,
                 uint64_t bytes)
{
    struct request request = {
        .kind = REQUEST_FILL, .place = place->kind, .what = {.pattern = *pattern, .bytes = bytes}};
    struct reply reply;

    return place->rank == world->rank ? fill_place(world, place, pattern, bytes)
                                      : ask(world, &request, &reply);
}

int partner_poison(struct world *world, const struct place *place, uint64_t bytes)
{
    struct request request = {
        .kind = REQUEST_POISON, .place = place->kind, .what = {.bytes = bytes}};
    struct reply reply;

    return place->rank == world->rank ? fill_place(world, place, NULL, bytes)
                                      : ask(world, &request, &reply);
}

int partner_check(struct world *world, const struct place *place, const struct expectation *want,
                  uint64_t *wrong)
{
    struct request request = {.kind = REQUEST_CHECK, .place = place->kind, .what = *want};
    struct reply reply = {.wrong = 0};
    int result = 0;

    if (place->rank == world->rank) {
        return check_place(world, place, want, wrong);
    }
    result = ask(world, &request, &reply);
    *wrong = reply.wrong;
    return result;
}

int partner_end(struct world *world)
{
    struct request request = {.kind = REQUEST_END};
    int result = 0;

    for (uint32_t rank = 1; rank < world->ranks; rank++) {
        result |= send_patiently(world, rank, &request, world->sent + 1);
    }
    return result;
}

/* ---- serving -------------------------------------------------------------------------------- */

static int serve_one(struct world *world, const struct request *request, struct reply *reply)
{
    struct place place = world_place(world, (enum place_kind)request->place, world->rank);

    switch ((enum request_kind)request->kind) {
    case REQUEST_FILL:
        return fill_place(world, &place, &request->what.pattern, request->what.bytes);
    case REQUEST_POISON:
        return fill_place(world, &place, NULL, request->what.bytes);
    case REQUEST_CHECK:
        return check_place(world, &place, &request->what, &reply->wrong);
    case REQUEST_PING:
        return ping_play(world, request);
    case REQUEST_HELLO:
    case REQUEST_END:
        break;
    }
    return 0;
}

static int answer(const struct world *world, const struct reply *reply, uint64_t number)
{
    int rc = put_control(world, 0, offsetof(struct control, reply), reply, sizeof(*reply));

    if (rc == 0) {
        rc = put_control(world, 0, offsetof(struct control, reply_number), &number, sizeof(number));
    }
    return rc ? world_error(world, "answer to rank 0") : 0;
}

/* Rank 0 is there as long as its memory can be read. @return a code of the library */
static int look_at_rank0(const struct world *world)
{
    struct place dram = world_place(world, PLACE_DRAM, 0);
    uint64_t word = 0;
    smem_copy_params params = {.src = (const void *)(uintptr_t)(dram.base + world->bytes),
                               .dest = &word,
                               .dataSize = sizeof(word)};

    return smem_bm_copy(world->pool, &params, SMEMB_COPY_G2H, 0);
}

static int meet_rank0(const struct world *world)
{
    double deadline = machine_now() + (double)world->cfg->timeout_ms / 1000;
    int rc = look_at_rank0(world);

    while (rc == SMEM_NOT_CONNECTED && machine_now() < deadline) {
        machine_sleep_ns(RETRY_NS);
        rc = look_at_rank0(world);
    }
    return rc ? world_error(world, "rank 0 has not come") : 0;
}

/* Waits for a message other than number `last`. @return 0, or -1 after a report */
static int await(const struct world *world, uint64_t last)
{
    const uint64_t *number = &world->control->request_number;
    double look = machine_now() + ALIVE_S;

    while (__atomic_load_n(number, __ATOMIC_ACQUIRE) == last) {
        machine_sleep_ns(POLL_NS);
        if (machine_now() < look) {
            continue;
        }
        /* It may have sent the end and left since. */
        if (look_at_rank0(world) && __atomic_load_n(number, __ATOMIC_ACQUIRE) == last) {
            return world_error(world, "rank 0 is gone");
        }
        look = machine_now() + ALIVE_S;
    }
    return 0;
}

int partner_serve(struct world *world)
{
    struct control *control = world->control;
    uint64_t last = 0;

    if (meet_rank0(world)) {
        return -1;
    }
    for (;;) {
        struct request request;
        struct reply reply = {.failed = 0};

        if (await(world, last)) {
            return -1;
        }
        last = __atomic_load_n(&control->request_number, __ATOMIC_ACQUIRE);
        request = control->request;
        if (request.kind == REQUEST_END) {
            return 0;
        }
        reply.failed = serve_one(world, &request, &reply);
        if (answer(world, &reply, last) || reply.failed) {
            return -1;
        }
    }
}
