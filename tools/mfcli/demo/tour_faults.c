// SPDX-License-Identifier: Apache-2.0
// The second half of the tour: a rank dies and comes back, device memory, and a leave.
#include "tour.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "replay/pause.h"
#include "smem.h"

#define VICTIM        2u
#define STORM_PAUSE   20000000u /* ns that copies go on before the kill */
#define LOST_MS       2000.0    /* the library's promise */
#define DEVICE_BYTES  (2u << 20)
#define AROUND_BYTES  (1u << 20)
#define AROUND_SEED   11u
#define RETURN_SEED   10u
#define RETURN_OFFSET 4096u
#define RETURN_BYTES  65536u
#define TEXT_OFFSET   64u

static const uint32_t survivors[] = {0, 1, 3};

#define SURVIVORS (sizeof(survivors) / sizeof(survivors[0]))

/* All three copy to rank 2 and between each two copies to a survivor. @return when it was killed */
static bool kill_in_storm(struct tour *tour, uint64_t *killed_ns)
{
    struct demo_answer answer;

    for (size_t i = 0; i < SURVIVORS; i++) {
        struct demo_ask ask = tour_question(tour, DEMO_STORM);

        ask.a[0] = VICTIM;
        ask.a[1] = survivors[(i + 1) % SURVIVORS];
        guide_send(&tour->guide, survivors[i], &ask);
    }
    for (size_t i = 0; i < SURVIVORS; i++) {
        guide_receive(&tour->guide, survivors[i], &answer);
        if (answer.rc != SMEM_OK || answer.v[0]) {
            return say_check(&tour->say, false, "rank %u, copies to rank 2: %s", survivors[i],
                             answer.text);
        }
    }
    nap_ns(STORM_PAUSE);
    say_line(&tour->say, "kill -9 %d", (int)tour->guide.ranks[VICTIM].pid);
    *killed_ns = guide_kill(&tour->guide, VICTIM);
    return true;
}

/* What one survivor saw. */
static void tell_survivor(struct tour *tour, uint32_t rank, const struct demo_answer *answer,
                          uint64_t killed_ns)
{
    struct say *say = &tour->say;
    double ms = ((double)answer->v[0] - (double)killed_ns) / 1e6;
    bool seen = answer->rc == SMEM_NOT_CONNECTED && answer->v[0];

    if (!seen) {
        say_check(say, false, "rank %u did not see the death: %d: %s", rank, answer->rc,
                  answer->text);
        return;
    }
    say_check(say, ms < LOST_MS,
              "rank %u: after %" PRIu64 " good copies one failed, %.1f ms after the kill", rank,
              answer->v[1], ms);
    say_check(say, answer->v[3] == 0 && answer->v[2] > answer->v[1],
              "rank %u: its %" PRIu64 " copies to another rank went on, %" PRIu64 " wrong bytes",
              rank, answer->v[2], answer->v[3]);
}

bool tour_death(struct tour *tour)
{
    struct say *say = &tour->say;
    struct demo_answer answers[SURVIVORS];
    uint64_t killed_ns = 0;

    say_text(say, "Ranks 0, 1 and 3 copy to rank 2 as fast as they can, and to each other in "
                  "between. Then rank 2 is killed, without a chance to say good-bye:");
    if (!kill_in_storm(tour, &killed_ns)) {
        return false;
    }
    for (size_t i = 0; i < SURVIVORS; i++) {
        guide_receive(&tour->guide, survivors[i], &answers[i]);
        tell_survivor(tour, survivors[i], &answers[i], killed_ns);
    }
    say_text(say, "What rank 0 is told when it tries again:");
    say_sentence(say, answers[0].text);
    say_value(say, "sentence", answers[0].text);
    say_text(say, "Nobody crashed, nobody hangs, and no late byte lands in memory that is used "
                  "again. Rank 2's memory is given back by the survivors.");
    return say->step_wrong == 0;
}

/* Starts rank 2's process again and lets it join. */
static bool restart(struct tour *tour, uint64_t *took_ns)
{
    struct demo_ask ask = tour_question(tour, DEMO_INIT);
    struct demo_answer answer;
    uint64_t start = now_ns();

    if (guide_start(&tour->guide, VICTIM)) {
        return say_check(&tour->say, false, "start rank 2: %s", strerror(errno));
    }
    ask.a[0] = VICTIM;
    ask.a[1] = strcmp(tour->device, "sim") == 0 ? VICTIM : 0;
    snprintf(ask.text, sizeof(ask.text), "%s", tour->guide.store.url);
    if (!tour_ask(tour, VICTIM, &ask, &answer, "smem_bm_init")) {
        return false;
    }
    ask = tour_question(tour, DEMO_POOL);
    ask.a[0] = TOUR_PART_BYTES;
    ask.a[1] = TOUR_MOST_BYTES;
    if (!tour_ask(tour, VICTIM, &ask, &answer, "create and join")) {
        return false;
    }
    *took_ns = now_ns() - start;
    return say_check(&tour->say, memcmp(answer.v, tour->parts, sizeof(tour->parts)) == 0,
                     "process %d joined as rank 2 after %.1f ms, at the old addresses",
                     (int)tour->guide.ranks[VICTIM].pid, (double)*took_ns / 1e6);
}

bool tour_return(struct tour *tour)
{
    struct say *say = &tour->say;
    struct demo_ask ask = tour_question(tour, DEMO_LOAD);
    struct demo_answer answer;
    uint64_t took_ns = 0;

    say_text(say, "A new process takes rank 2's place. The others need not do anything. Its memory "
                  "is fresh: what the old one held is gone, so a cache simply misses there.");
    if (!restart(tour, &took_ns)) {
        return false;
    }
    say_u64(say, "back_ns", took_ns);
    ask.fault = 0;
    ask.a[0] = VICTIM;
    ask.a[1] = 0;
    if (!tour_ask(tour, 1, &ask, &answer, "load")) {
        return false;
    }
    say_check(say, answer.text[0] == '\0', "rank 1 reads zeros where the old rank 2 had its rows");
    ask = tour_question(tour, DEMO_PUT);
    ask.a[0] = VICTIM;
    ask.a[1] = RETURN_OFFSET;
    ask.a[2] = RETURN_BYTES;
    ask.a[3] = RETURN_SEED;
    if (!tour_ask(tour, 0, &ask, &answer, "put")) {
        return false;
    }
    ask.op = DEMO_CHECK;
    if (!tour_ask(tour, VICTIM, &ask, &answer, "check")) {
        return false;
    }
    say_check(say, answer.v[0] == 0,
              "rank 0 put 64 KiB into the new rank 2, which found %" PRIu64 " wrong bytes",
              answer.v[0]);
    return true;
}

/* Each rank makes its part of a pool of device memory. */
static bool make_device_pool(struct tour *tour, uint64_t *parts)
{
    struct demo_ask ask = tour_question(tour, DEMO_DEVICE);
    bool good = true;

    ask.a[0] = DEVICE_BYTES;
    for (uint32_t r = 0; r < DEMO_RANKS; r++) {
        guide_send(&tour->guide, r, &ask);
    }
    for (uint32_t r = 0; r < DEMO_RANKS; r++) {
        struct demo_answer answer;

        guide_receive(&tour->guide, r, &answer);
        good = good && (answer.rc == SMEM_OK ||
                        say_check(&tour->say, false, "rank %u, device memory: %s", r, answer.text));
        memcpy(parts, answer.v, DEMO_RANKS * sizeof(*parts));
    }
    return good;
}

bool tour_device(struct tour *tour)
{
    struct say *say = &tour->say;
    struct demo_ask ask = {0};
    struct demo_answer answer;
    uint64_t parts[DEMO_RANKS];

    say_value(say, "device", tour->device);
    if (strcmp(tour->device, "none") == 0) {
        say_text(say, "MF_DEVICE is none, so this step is left out. With MF_DEVICE=sim, or with "
                      "the variable unset, simulated devices show it.");
        return true;
    }
    say_text(say,
             "A pool can hold the memory of accelerators too. The device here is \"%s\"%s. Rank 0 "
             "moves 1 MiB from its host memory to rank 1's device, from there to rank 3's device, "
             "and back; neither rank 1 nor rank 3 does anything.",
             tour->device,
             strcmp(tour->device, "sim") == 0
                 ? ", an accelerator made of host memory that host code cannot touch"
                 : "");
    say_line(say, "pool1 = smem_bm_create(1, 4, SMEMB_DATA_OP_SDMA, 0, 2 << 20, 0);");
    say_line(say, "H2G: host -> 0x...   G2G: rank 1 -> rank 3   G2H: 0x... -> host");
    if (!make_device_pool(tour, parts)) {
        return false;
    }
    ask = tour_question(tour, DEMO_AROUND);
    ask.a[1] = AROUND_BYTES;
    ask.a[2] = parts[1];
    ask.a[3] = AROUND_SEED;
    ask.a[4] = parts[3];
    if (!tour_ask(tour, 0, &ask, &answer, "copies of device memory")) {
        return false;
    }
    say_check(say, answer.v[0] == 0, "1 MiB went around, %" PRIu64 " wrong bytes", answer.v[0]);
    if (answer.v[1]) {
        say_text(say, "A pointer is not to be had to that memory; asked for one, the library "
                      "says:");
        say_sentence(say, answer.text);
    }
    return true;
}

bool tour_leave(struct tour *tour)
{
    struct say *say = &tour->say;
    struct demo_ask ask = tour_question(tour, DEMO_LEAVE);
    struct demo_answer answer;

    say_text(say, "Rank 3 leaves the pool. The call returns when no byte of a peer can land in its "
                  "memory any more; then it may be used for something else.");
    say_line(say, "smem_bm_leave(pool, 0);");
    if (!tour_ask(tour, 3, &ask, &answer, "leave")) {
        return false;
    }
    ask = tour_question(tour, DEMO_TEXT);
    ask.a[0] = 3;
    ask.a[1] = TEXT_OFFSET;
    snprintf(ask.text, sizeof(ask.text), "anybody there?");
    guide_ask(&tour->guide, 0, &ask, &answer);
    say_text(say, "Rank 0 copies to it all the same:");
    say_sentence(say, answer.text);
    say_value(say, "sentence", answer.text);
    return say_check(say, answer.rc == SMEM_NOT_CONNECTED,
                     "the call returned %d, SMEM_NOT_CONNECTED", answer.rc);
}
