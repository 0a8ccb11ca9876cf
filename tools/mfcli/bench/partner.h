// SPDX-License-Identifier: Apache-2.0
// Filling, poisoning and checking of places, by the rank that owns them. What belongs to the
// partner is asked for with a message: words in the partner's part of the pool, answered by words
// in ours.
#ifndef MFCLI_BENCH_PARTNER_H
#define MFCLI_BENCH_PARTNER_H

#include "world.h"

enum request_kind {
    REQUEST_HELLO,
    REQUEST_FILL,
    REQUEST_POISON,
    REQUEST_CHECK,
    REQUEST_PING,
    REQUEST_END,
};

/** What a target must hold: elements 0..count-1 of a shape; all else up to `bytes` is poison. */
struct expectation {
    struct pattern pattern;
    struct shape shape;
    uint64_t count;
    uint64_t bytes;
};

/** One message; which members count depends on the kind. */
struct request {
    uint64_t kind;  /* enum request_kind */
    uint64_t place; /* enum place_kind, of the rank that serves */
    struct expectation what;
    uint64_t first, rounds, through_library; /* REQUEST_PING */
};

struct reply {
    int64_t failed;
    uint64_t wrong;
};

/** The words at the end of each rank's DRAM. Each line has one writer. */
struct control {
    struct request request; /* by rank 0 */
    _Alignas(64) uint64_t request_number;
    _Alignas(64) struct reply reply; /* by rank 1, in rank 0's memory */
    _Alignas(64) uint64_t reply_number;
    _Alignas(64) uint64_t ball; /* by the other player; see ping.h */
};

/** Room that the control words take in a pool. */
#define CONTROL_BYTES (2u << 20)

_Static_assert(sizeof(struct control) <= CONTROL_BYTES, "the control words need more room");

/** Waits until the partner has joined and answers. @return 0, or -1 after a report */
int partner_meet(struct world *world);

/** Source memory gets the pattern, a target gets poison. @return 0, or -1 after a report */
int partner_fill(struct world *world, const struct place *place, const struct pattern *pattern,
                 uint64_t bytes);
int partner_poison(struct world *world, const struct place *place, uint64_t bytes);
/** Counts wrong bytes. @return 0, or -1 after a report */
int partner_check(struct world *world, const struct place *place, const struct expectation *want,
                  uint64_t *wrong);

/** Sends without waiting. @return 0, or -1 after a report */
int partner_post(struct world *world, const struct request *request);
/** Waits for the answer to the last message. @return 0, or -1 after a report */
int partner_wait(struct world *world, struct reply *reply);

/** Rank 0: ends the other ranks. @return 0, or -1 after a report */
int partner_end(struct world *world);
/** The other ranks: serve until the end. @return 0, or -1 after a report */
int partner_serve(struct world *world);

#endif
