// SPDX-License-Identifier: Apache-2.0
// Makes a schedule that fails smaller: fewer faults (delta debugging), an earlier end, fewer ranks,
// as long as the same promise is broken. A change of any of them changes every choice that the seed
// makes, so a few seeds are tried for each.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "batch.h"

#define SEEDS_FOR_FAULTS 2u
#define SEEDS_FOR_STEPS  2u
#define SEEDS_FOR_RANKS  8u
#define STEPS_LEAST      16u

struct shrinking {
    struct schedule *best;
    struct run_result *result; /* of the best */
    char oracle[RUN_NAME_MAX];
    uint32_t tries_left, limit_s;
    bool verbose, no_process;
    struct schedule candidate;
};

/* Does the candidate break the same promise, with one of so many seeds? Then it is the best. */
static bool try_candidate(struct shrinking *s, uint32_t seeds)
{
    struct run_result result;
    for (uint32_t i = 0; i < seeds && s->tries_left > 0 && !s->no_process; i++) {
        s->candidate.seed = s->best->seed + i;
        s->tries_left--;
        if (!run_one(&s->candidate, false, s->limit_s, &result)) {
            s->no_process = true;
        } else if (result.verdict != RUN_KEPT && strcmp(result.oracle, s->oracle) == 0) {
            *s->best = s->candidate;
            *s->result = result;
            if (s->verbose) {
                fprintf(stderr, "%u ranks, %" PRIu64 " steps, %u faults, seed %" PRIu64 "\n",
                        s->best->ranks, s->best->steps, s->best->fault_count, s->best->seed);
            }
            return true;
        }
    }
    return false;
}

/* The best one without `count` faults from `at` on. */
static void without(struct shrinking *s, uint32_t at, uint32_t count)
{
    struct schedule *c = &s->candidate;
    *c = *s->best;
    memmove(&c->faults[at], &c->faults[at + count],
            (c->fault_count - at - count) * sizeof(c->faults[0]));
    c->fault_count -= count;
}

static bool fewer_faults(struct shrinking *s)
{
    bool better = false;
    for (uint32_t chunk = s->best->fault_count; chunk > 0; chunk /= 2) {
        uint32_t at = 0;
        while (at + chunk <= s->best->fault_count && s->tries_left > 0) {
            without(s, at, chunk);
            if (try_candidate(s, SEEDS_FOR_FAULTS)) {
                better = true;
            } else {
                at += chunk;
            }
        }
    }
    return better;
}

static bool fewer_steps(struct shrinking *s)
{
    bool better = false;
    if (s->result->world.broken_step > 0 && s->result->world.broken_step < s->best->steps) {
        s->candidate = *s->best;
        s->candidate.steps = s->result->world.broken_step;
        better = try_candidate(s, 1);
    }
    for (uint64_t cut = s->best->steps / 2; cut >= STEPS_LEAST; cut /= 2) {
        while (s->best->steps > cut + STEPS_LEAST && s->tries_left > 0) {
            s->candidate = *s->best;
            s->candidate.steps -= cut;
            if (!try_candidate(s, SEEDS_FOR_STEPS)) {
                break;
            }
            better = true;
        }
    }
    return better;
}

/* Everything happens in half of the steps. */
static bool earlier(struct shrinking *s)
{
    bool better = false;
    while (s->best->steps >= 2 * STEPS_LEAST && s->tries_left > 0) {
        s->candidate = *s->best;
        s->candidate.steps /= 2;
        for (uint32_t i = 0; i < s->candidate.fault_count; i++) {
            s->candidate.faults[i].step /= 2;
        }
        if (!try_candidate(s, SEEDS_FOR_STEPS)) {
            break;
        }
        better = true;
    }
    return better;
}

/* Faults of ranks that are no more strike others. */
static void with_ranks(struct shrinking *s, uint32_t ranks)
{
    struct schedule *c = &s->candidate;
    *c = *s->best;
    c->ranks = ranks;
    for (uint32_t i = 0; i < c->fault_count; i++) {
        struct world_fault *fault = &c->faults[i];
        bool pair = fault->rank != fault->other;
        fault->rank %= ranks;
        fault->other %= ranks;
        if (pair && fault->rank == fault->other) {
            fault->other = (fault->rank + 1) % ranks;
        }
    }
}

static bool fewer_ranks(struct shrinking *s)
{
    uint32_t most = s->best->ranks;
    for (uint32_t ranks = 2; ranks < most && s->tries_left > 0;
         ranks += ranks < 8 ? 1 : ranks / 4) {
        with_ranks(s, ranks);
        if (try_candidate(s, SEEDS_FOR_RANKS)) {
            return true;
        }
    }
    return false;
}

bool shrink(struct schedule *schedule, struct run_result *result, uint32_t tries, uint32_t limit_s,
            bool verbose)
{
    struct shrinking s = {.best = schedule,
                          .result = result,
                          .tries_left = tries,
                          .limit_s = limit_s,
                          .verbose = verbose};
    if (!run_one(schedule, false, limit_s, result) || result->verdict == RUN_KEPT) {
        return false;
    }
    memcpy(s.oracle, result->oracle, sizeof(s.oracle));
    bool better = true;
    while (better && s.tries_left > 0) {
        better = fewer_faults(&s);
        better |= earlier(&s);
        better |= fewer_steps(&s);
        better |= fewer_ranks(&s);
    }
    return true;
}
