// SPDX-License-Identifier: Apache-2.0
// A pool of KV-cache blocks. Rank 0 computes blocks (prefill) and puts them into the pool; the
// other ranks (decode) get them, while rank 0 goes on and old blocks are replaced. A block's id
// says by its hash where it lives: which rank, and which slot there. A small directory beside the
// slots says which block a slot holds; only rank 0 writes it, everybody reads it.
//
//     mfcli run -n 4 -- ./kv
#include <inttypes.h>
#include <string.h>

#include "example.h"

#define PART_BYTES  (8u << 20)
#define SLOTS       256u   /* of each rank */
#define BLOCK_BYTES 16384u /* keys and values of some tokens */
#define BLOCKS      4000u  /* that are put; more than 4 ranks have slots for */
#define RECENT      1024u  /* decode ranks ask for the last so many */
#define GETS        2000u  /* each decode rank makes at least so many */

/* The part of one rank: some words, the directory, the blocks. */
#define LINE_AT      0u  /* see meet() */
#define PUT_AT       64u /* of rank 0: how many blocks are put */
#define DIRECTORY_AT 4096u
#define BLOCKS_AT    (1u << 20)

/* A slot's entry. `generation` is odd while the block is being replaced, and another one after. */
struct entry {
    uint64_t generation;
    uint64_t id;
};

_Static_assert(DIRECTORY_AT + SLOTS * sizeof(struct entry) <= BLOCKS_AT, "the directory fits");
_Static_assert(BLOCKS_AT + SLOTS * BLOCK_BYTES <= PART_BYTES, "the blocks fit");

enum result { HIT, MISS, REPLACED };

struct place {
    unsigned char *entry, *block;
};

static uint64_t hash(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static struct place place_of(const struct world *world, uint64_t id)
{
    uint64_t number = hash(id + 1);
    unsigned char *part = world->parts[number % world->ranks];
    uint64_t slot = number / world->ranks % SLOTS;

    return (struct place){.entry = part + DIRECTORY_AT + slot * sizeof(struct entry),
                          .block = part + BLOCKS_AT + slot * BLOCK_BYTES};
}

/* What a model would compute; here a pattern that the reader can check. */
static void compute(uint64_t id, uint64_t *block)
{
    for (size_t i = 0; i < BLOCK_BYTES / sizeof(*block); i++) {
        block[i] = hash(id << 20 | i);
    }
}

/* A copy from or to a block's owner. An owner that has died is no failure of a cache: its blocks
 * are misses, and nothing can be put there. @return whether the owner is there */
static bool reach(const struct world *world, const void *from, void *to, size_t bytes,
                  smem_bm_copy_type_t type)
{
    int rc = copy(world, from, to, bytes, type);

    if (rc == SMEM_NOT_CONNECTED) {
        return false;
    }
    must(rc, "reach a block's owner");
    return true;
}

/* ---- put: the only writer --------------------------------------------------------------------
 * Each copy has landed when its call returns, so the four happen in this order for every reader. */
static bool put(const struct world *world, uint64_t id, const uint64_t *block)
{
    struct place place = place_of(world, id);
    struct entry entry;
    uint64_t odd, even;

    if (!reach(world, place.entry, &entry, sizeof(entry), SMEMB_COPY_G2H)) {
        return false;
    }
    odd = entry.generation + 1; /* do not touch */
    even = entry.generation + 2;
    return reach(world, &odd, place.entry, 8, SMEMB_COPY_H2G) &&
           reach(world, block, place.block, BLOCK_BYTES, SMEMB_COPY_H2G) &&
           reach(world, &id, place.entry + 8, 8, SMEMB_COPY_H2G) &&
           reach(world, &even, place.entry, 8, SMEMB_COPY_H2G);
}

/* ---- get: many readers, no lock -------------------------------------------------------------- */
static enum result get(const struct world *world, uint64_t id, uint64_t *block)
{
    struct place place = place_of(world, id);
    struct entry before, after;

    if (!reach(world, place.entry, &before, sizeof(before), SMEMB_COPY_G2H) ||
        before.generation % 2 == 1 || before.generation == 0 || before.id != id ||
        !reach(world, place.block, block, BLOCK_BYTES, SMEMB_COPY_G2H) ||
        !reach(world, place.entry, &after, sizeof(after), SMEMB_COPY_G2H)) {
        return MISS;
    }
    /* Another block took the place meanwhile: what we have may be a mixture. */
    return after.generation == before.generation && after.id == id ? HIT : REPLACED;
}

static void prefill(const struct world *world)
{
    uint64_t block[BLOCK_BYTES / 8], count = 0;
    double start = now_s();

    for (uint64_t id = 0; id < BLOCKS; id++) {
        compute(id, block);
        count += put(world, id, block);
        __atomic_store_n((uint64_t *)(void *)(world->parts[0] + PUT_AT), id + 1, __ATOMIC_RELEASE);
    }
    printf("prefill: %" PRIu64 " blocks of %u KiB put in %.2f s\n", count, BLOCK_BYTES >> 10,
           now_s() - start);
}

static uint64_t decode(const struct world *world)
{
    uint64_t block[BLOCK_BYTES / 8], expected[BLOCK_BYTES / 8];
    uint64_t counts[3] = {0}, wrong = 0, state = world->rank;
    uint64_t put_so_far = 0, gets = 0;
    double start = now_s();

    while (put_so_far < BLOCKS || gets < GETS) {
        uint64_t recent = 0, id = 0;

        put_so_far = word_get(world, 0, PUT_AT);
        if (put_so_far == 0) {
            wait_a_little(start, "the first block");
            continue;
        }
        recent = put_so_far < RECENT ? put_so_far : RECENT;
        state = hash(state + 1);
        id = put_so_far - 1 - state % recent;
        enum result result = get(world, id, block);
        counts[result]++;
        gets++;
        if (result == HIT) {
            compute(id, expected);
            wrong += memcmp(block, expected, BLOCK_BYTES) != 0;
        }
    }
    printf("decode: %" PRIu64 " hits, %" PRIu64 " misses, %" PRIu64 " replaced while read, %" PRIu64
           " wrong blocks\n",
           counts[HIT], counts[MISS], counts[REPLACED], wrong);
    return wrong;
}

int main(void)
{
    struct world world;
    uint64_t wrong = 0;

    world_open(&world, 2, PART_BYTES);
    if (world.rank == 0) {
        prefill(&world);
    } else {
        wrong = decode(&world);
    }
    meet_and_part(&world, LINE_AT, 1);
    return wrong ? 1 : 0;
}
