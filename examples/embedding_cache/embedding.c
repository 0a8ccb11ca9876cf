// SPDX-License-Identifier: Apache-2.0
// Embedding tables that are too large for one rank: their rows are spread over all of them. Each
// rank looks up batches of rows by their indices, popular ones more often than others, as a
// recommendation model does; each batch is wanted from all tables. Three ways to do it: a copy for
// each row, a batch for each table, and a batch that is compiled once and used for all tables.
//
//     mfcli run -n 4 -- ./embedding
#include <inttypes.h>
#include <string.h>

#include "example.h"
#include "memfabric/mf_xcopy.h"

#define TABLES      4u
#define COLUMNS     64u   /* of a row, floats: 256 bytes */
#define ROWS        8192u /* of each table at each rank */
#define BATCH       512u  /* rows of one look-up */
#define ROUNDS      50u
#define LINE_AT     0u /* see meet() */
#define TABLES_AT   4096u
#define ROW_BYTES   (COLUMNS * sizeof(float))
#define TABLE_BYTES (ROWS * ROW_BYTES)
#define PART_BYTES  (10u << 20)

_Static_assert(TABLES_AT + TABLES * TABLE_BYTES <= PART_BYTES, "the tables fit");

/* The rows that were looked up, of all tables. */
struct found {
    float rows[TABLES][BATCH][COLUMNS];
};

static uint64_t hash(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Neighbours are at different ranks, so popular rows burden all alike. */
static unsigned char *place_of(const struct world *world, uint32_t table, uint64_t row)
{
    return world->parts[row % world->ranks] + TABLES_AT + table * TABLE_BYTES +
           row / world->ranks * ROW_BYTES;
}

static float value_of(uint32_t table, uint64_t row, uint32_t column)
{
    return (float)(hash((row * TABLES + table) * COLUMNS + column) >> 40) / (float)(1u << 24);
}

/* This rank's rows, by plain stores: its part is ordinary memory. */
static void load_tables(const struct world *world)
{
    for (uint64_t row = world->rank; row < (uint64_t)ROWS * world->ranks; row += world->ranks) {
        for (uint32_t table = 0; table < TABLES; table++) {
            float *at = (float *)(void *)place_of(world, table, row);

            for (uint32_t column = 0; column < COLUMNS; column++) {
                at[column] = value_of(table, row, column);
            }
        }
    }
}

/* Indices of one look-up: half of them from a hundredth of the rows. */
static void draw(const struct world *world, uint64_t *state, uint64_t *rows)
{
    uint64_t all = (uint64_t)ROWS * world->ranks;

    for (uint32_t i = 0; i < BATCH; i++) {
        *state = hash(*state + 1);
        rows[i] = *state % 2 ? *state / 2 % all : *state / 2 % (all / 100);
    }
}

static uint64_t wrong_values(const uint64_t *rows, const struct found *found)
{
    uint64_t wrong = 0;

    for (uint32_t table = 0; table < TABLES; table++) {
        for (uint32_t i = 0; i < BATCH; i++) {
            for (uint32_t column = 0; column < COLUMNS; column++) {
                wrong += found->rows[table][i][column] != value_of(table, rows[i], column);
            }
        }
    }
    return wrong;
}

/* ---- three ways ----------------------------------------------------------------------------- */

/* A call for each row. */
static void one_by_one(const struct world *world, const uint64_t *rows, struct found *found)
{
    for (uint32_t table = 0; table < TABLES; table++) {
        for (uint32_t i = 0; i < BATCH; i++) {
            must(copy(world, place_of(world, table, rows[i]), found->rows[table][i], ROW_BYTES,
                      SMEMB_COPY_G2H),
                 "get a row");
        }
    }
}

/* A call for each table. */
static void batches(const struct world *world, const uint64_t *rows, struct found *found)
{
    void *from[BATCH], *to[BATCH];
    uint64_t sizes[BATCH];
    smem_batch_copy_params_t batch = {
        .sources = from, .destinations = to, .dataSizes = sizes, .batchSize = BATCH};

    for (uint32_t table = 0; table < TABLES; table++) {
        for (uint32_t i = 0; i < BATCH; i++) {
            from[i] = place_of(world, table, rows[i]);
            to[i] = found->rows[table][i];
            sizes[i] = ROW_BYTES;
        }
        must(smem_bm_copy_batch(world->pool, &batch, SMEMB_COPY_G2H, 0), "gather");
    }
}

/* The rows lie alike in all tables: compiled for the first one, used for each with its own base.
 * The pool is one range of addresses, so offsets from part 0 lead to the rows of all ranks. */
static void prepared(const struct world *world, const uint64_t *rows, struct found *found)
{
    uint64_t offsets[BATCH];
    mf_xcopy_indexed_t blocks = {.size = sizeof(blocks),
                                 .count = BATCH,
                                 .type = SMEMB_COPY_G2H,
                                 .src = world->parts[0],
                                 .dst = found->rows[0],
                                 .src_offsets = offsets,
                                 .block_bytes = ROW_BYTES};
    mf_prepared_t gather;

    for (uint32_t i = 0; i < BATCH; i++) {
        offsets[i] = (uint64_t)(place_of(world, 0, rows[i]) - world->parts[0]);
    }
    must(mf_prepare_indexed(world->pool, &blocks, &gather), "prepare");
    for (uint32_t table = 0; table < TABLES; table++) {
        must(mf_prepared_run(gather, (uint64_t)(uintptr_t)world->parts[0] + table * TABLE_BYTES,
                             (uint64_t)(uintptr_t)found->rows[table], 0),
             "run");
    }
    must(mf_prepared_free(gather), "free");
}

typedef void (*way_fn)(const struct world *world, const uint64_t *rows, struct found *found);

/* Million rows in a second; only the gathering is timed. */
static double measure(const struct world *world, way_fn way, struct found *found, uint64_t *wrong)
{
    uint64_t rows[BATCH], state = world->rank;
    double seconds = 0;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        double start = 0;

        draw(world, &state, rows);
        memset(found, 0, sizeof(*found));
        start = now_s();
        way(world, rows, found);
        seconds += now_s() - start;
        *wrong += wrong_values(rows, found);
    }
    return ROUNDS * TABLES * BATCH / seconds / 1e6;
}

int main(void)
{
    struct world world;
    struct found *found = calloc(1, sizeof(*found));
    uint64_t wrong = 0;
    double rates[3];

    if (found == NULL) {
        fprintf(stderr, "no memory for the rows\n");
        return 1;
    }
    world_open(&world, 2, PART_BYTES);
    load_tables(&world);
    meet(&world, LINE_AT, 1);
    measure(&world, batches, found, &wrong); /* the first walk maps the others' pages */
    rates[0] = measure(&world, one_by_one, found, &wrong);
    rates[1] = measure(&world, batches, found, &wrong);
    rates[2] = measure(&world, prepared, found, &wrong);
    printf("%" PRIu64 " rows of %zu bytes in %u tables at %u ranks; M rows/s: one by one %.2f, "
           "in batches of %u %.2f, prepared once for all tables %.2f (%.2f GB/s); %" PRIu64
           " wrong values\n",
           (uint64_t)ROWS * world.ranks, ROW_BYTES, TABLES, world.ranks, rates[0], BATCH, rates[1],
           rates[2], rates[2] * (double)ROW_BYTES / 1e3, wrong);
    meet_and_part(&world, LINE_AT, 2);
    free(found);
    return wrong ? 1 : 0;
}
