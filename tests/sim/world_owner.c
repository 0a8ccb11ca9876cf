// SPDX-License-Identifier: Apache-2.0
// Who owns which rank: what each life believes, and what the store says. A life that was cut off,
// stopped or slow may be the last to learn that its rank is another's; one that nothing has
// happened to may not lose it.
#include <stdlib.h>

#include "base/err.h"
#include "world_priv.h"

#define GRANTS_STEP 256u
#define LATE_MS                                                                      \
    2000u /* after a trouble is over, and a session's time, it is no excuse any more \
           */

static struct life *find_life(uint64_t incarnation)
{
    struct life *life = world.lives;
    while (life != NULL && life->incarnation != incarnation) {
        life = life->next;
    }
    return life;
}

static bool believes(const struct life *life)
{
    return life != NULL && life->seat->life == life && life->ctx != NULL && !life_is_expired(life);
}

void seat_note_starved(struct seat *seat)
{
    if (seat->life != NULL && sim_proc_starved(seat->proc) > 0 && seat->troubled_ns != NEVER) {
        seat->troubled_ns = sim_now();
    }
}

/* A store without memory for a client cuts it off. */
static bool is_store_starved(void)
{
    struct seat *store = &world.seats[world.store_seat];
    uint64_t late_ns = (world.session_ms + LATE_MS) * MS;
    seat_note_starved(store);
    return store->starved && store->troubled_ns != 0 &&
           (store->troubled_ns == NEVER || sim_now() < store->troubled_ns + late_ns);
}

static bool is_excused(const struct life *life)
{
    seat_note_starved(life->seat);
    if (is_store_starved()) {
        return true;
    }
    uint64_t troubled_ns = life->seat->troubled_ns;
    uint64_t late_ns = (world.session_ms + LATE_MS) * MS;
    return troubled_ns == NEVER || (troubled_ns != 0 && sim_now() < troubled_ns + late_ns);
}

static uint32_t grant_of(uint64_t incarnation);

void owner_opened(struct life *life)
{
    const struct life *other = world.owners[life->rank];
    if (other != life && believes(other) && other->rank == life->rank && !is_excused(other)) {
        bool young = world.store_lives > 1 &&
                     sim_now() < world.store_started_ns + (world.session_ms + LATE_MS) * MS;
        if (young && grant_of(life->incarnation) < grant_of(other->incarnation)) {
            return; /* the younger one announces itself in a moment, and wins */
        }
        sim_broken(young ? "newcomer-in-recovery" : "two-owners",
                   "rank %u is given to process %u while process %u has it, lives and can be heard",
                   life->rank, sim_proc_pid(life->proc), sim_proc_pid(other->proc));
    }
    world.owners[life->rank] = life;
}

void owner_closes(struct life *life)
{
    if (world.owners[life->rank] == life) {
        world.owners[life->rank] = NULL;
    }
}

void owners_check(void)
{
    for (const struct life *a = world.lives; a != NULL; a = a->next) {
        for (const struct life *b = a->next; believes(a) && b != NULL; b = b->next) {
            if (believes(b) && a->rank == b->rank) {
                sim_broken("two-owners", "processes %u and %u both have rank %u at the end",
                           sim_proc_pid(a->proc), sim_proc_pid(b->proc), a->rank);
            }
        }
    }
}

/* When the store named the life for the first time: of two, the one with the larger number is the
 * younger one. */
static uint32_t grant_of(uint64_t incarnation)
{
    uint32_t i = 0;
    while (i < world.grant_count && world.grants[i] != incarnation) {
        i++;
    }
    if (i == world.grant_count) {
        if (i % GRANTS_STEP == 0) {
            world.grants = realloc(world.grants, (i + GRANTS_STEP) * sizeof(*world.grants));
            MF_ASSERT(world.grants != NULL);
        }
        world.grants[world.grant_count++] = incarnation;
    }
    return i;
}

void seen_owner(uint32_t rank, uint64_t incarnation)
{
    struct owner_seen *seen = rank < world.ranks ? &world.seen[rank] : NULL;
    sim_note(2, incarnation);
    if (seen == NULL || incarnation == 0 || incarnation == seen->incarnation) {
        return;
    }
    const struct life *there = find_life(seen->incarnation);
    uint32_t grant = grant_of(incarnation);
    /* A store that has just been started gives a rank back to whoever says that it had it. */
    bool young = sim_now() < world.store_started_ns + 2ull * world.session_ms * MS;
    if (seen->incarnation != 0 && !young && grant < grant_of(seen->incarnation) &&
        seen->store_life == world.store_lives && believes(there)) {
        sim_broken("late-announcement",
                   "rank %u, which process %u has, goes back to a life that had lost it", rank,
                   sim_proc_pid(there->proc));
    }
    seen->incarnation = incarnation;
    seen->store_life = world.store_lives;
}

bool others_are_done(const struct seat *seat)
{
    if (!world.ending) {
        return false;
    }
    for (uint32_t i = 0; i < world.seat_count; i++) {
        const struct seat *other = &world.seats[i];
        if (other != seat && other->life != NULL && !other->store) {
            return false;
        }
    }
    return true;
}
