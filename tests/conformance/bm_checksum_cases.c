// SPDX-License-Identifier: Apache-2.0
// Cases of the BM suite with the option copy.checksum: a target that somebody else writes during
// the copy is reported, in every form of call; what nobody disturbs is not.
#include "conformance/bm_suite.h"

#include <sys/mman.h>

#define PART    2048u /* bytes that the sentence speaks of at most */
#define PATIENT 20000u

static char pattern[4 * PART];

/* ---- another process ----------------------------------------------------------------------------
 */

/* Words: 0: the copier has seen what it wants, 1: the scribbler writes. */
static void scribble(struct bm_rank *r)
{
    volatile uint64_t *at = (void *)(bm_at(r, bm_gh(r, r->rank)) + HALF);
    uint64_t value = 1;
    bm_set(r, 1, 1);
    while (atomic_load(&r->stage->word[0]) == 0) {
        for (uint32_t i = 0; i < PART / sizeof(*at); i++) {
            at[i] = value++;
        }
    }
}

/* The owner of the target writes it during the copy. */
static void case_scribbled(struct bm_rank *r)
{
    if (r->rank == 1) {
        scribble(r);
        bm_barrier(r);
        return;
    }
    char *dst = bm_gh(r, 1) + HALF;
    uint64_t until = bm_now_ms() + PATIENT;
    int rc = SMEM_OK;
    bm_await(r, 1, 1);
    while (rc == SMEM_OK && bm_now_ms() < until) {
        rc = bm_copy(r, dst, r->lh, PART, SMEMB_COPY_H2G);
    }
    bm_set(r, 0, 1);
    CHECK_RC(r, rc, SMEM_ERROR);
    CHECK_SAYS(r, "checksum: 2048 bytes at offset 0x800000 of rank 1's DRAM in pool 0");
    CHECK_SAYS(r, "somebody else wrote the target");
    bm_barrier(r);
    /* Nobody writes any more: the same copy is in order. */
    CHECK_OK(r, bm_copy(r, dst, r->lh, PART, SMEMB_COPY_H2G));
    CHECK(r, bm_same(r, dst, r->lh, PART));
}

/* ---- the source itself -------------------------------------------------------------------------
 */

/* A second mapping of the rank's own pool memory: copying from the one to the other writes into the
 * source, which no check of addresses can see. */
static char *map_again(struct bm_rank *r)
{
    char *again = mremap(bm_at(r, bm_gh(r, r->rank)), 0, GIVEN, MREMAP_MAYMOVE);
    CHECK(r, again != MAP_FAILED);
    return again;
}

/* Copies that spoil their own source: half a part up, or half a part down, whichever way memcpy
 * does not stand. */
struct spoiled {
    char *src, *dst;
};

static struct spoiled find_spoiled(struct bm_rank *r, char *again)
{
    char *here = bm_at(r, bm_gh(r, r->rank));
    struct spoiled ways[] = {{again, here + PART / 2}, {again + PART / 2, here}};
    for (int i = 0; i < 2; i++) {
        bm_pattern(pattern, sizeof(pattern), 3);
        memcpy(here, pattern, sizeof(pattern));
        if (bm_copy(r, ways[i].dst, ways[i].src, PART, SMEMB_COPY_H2G) == SMEM_ERROR) {
            CHECK_SAYS(r, "copy H2G: 2048 bytes from");
            CHECK_SAYS(r, "checksum: 2048 bytes at offset ");
            CHECK_SAYS(r, "of rank 0's DRAM in pool 0 have XXH3 ");
            memcpy(here, pattern, sizeof(pattern));
            return ways[i];
        }
    }
    CHECK(r, !"one of the two copies is noticed");
    return ways[0];
}

static void case_forms_of_calls(struct bm_rank *r)
{
    char *again = map_again(r);
    struct spoiled spoiled = find_spoiled(r, again);
    char *quiet = bm_at(r, bm_gh(r, r->rank)) + HALF;
    void *src[] = {r->lh, r->lh + 8, spoiled.src, r->lh + 16};
    void *dst[] = {quiet, quiet + 8, spoiled.dst, quiet + 16};
    uint64_t size[] = {8, 8, PART, 3000};
    int32_t results[4] = {7, 7, 7, 7};
    smem_batch_copy_result each = {results, 4};
    smem_batch_copy_params batch = {
        .sources = src, .destinations = dst, .dataSizes = size, .batchSize = 4};
    CHECK_RC(r, smem_bm_copy_batch(r->pool, &batch, SMEMB_COPY_H2G, 0), SMEM_ERROR);
    CHECK_SAYS(r, "element 2");
    memcpy(bm_at(r, bm_gh(r, r->rank)), pattern, sizeof(pattern));
    CHECK_RC(r, smem_bm_copy_batch_partial_succeed(r->pool, &batch, SMEMB_COPY_H2G, 0, &each),
             SMEM_PARTIAL_FAILED);
    CHECK_SAYS(r, "1 of 4 elements failed");
    for (int i = 0; i < 4; i++) {
        CHECK_RC(r, results[i], i == 2 ? SMEM_ERROR : SMEM_OK);
    }
    CHECK(r, memcmp(quiet + 16, r->lh + 16, 3000) == 0);
    /* Asynchronous: the wait says it. */
    memcpy(bm_at(r, bm_gh(r, r->rank)), pattern, sizeof(pattern));
    CHECK_OK(r, smem_bm_copy_batch(r->pool, &batch, SMEMB_COPY_H2G, ASYNC_COPY_FLAG));
    CHECK_RC(r, smem_bm_wait(r->pool), SMEM_ERROR);
    CHECK_SAYS(r, "checksum: 2048 bytes");
    CHECK_OK(r, smem_bm_wait(r->pool));
    munmap(again, GIVEN);
}

static void case_undisturbed(struct bm_rank *r)
{
    static const uint64_t sizes[] = {1, 8, 256, 257, 2047, 2049, 65537, 4 * MIB + 3};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *there = bm_gh(r, 1 - r->rank) + HALF + 3;
        bm_pattern(r->lh, sizes[i] + 8, i + 10 * r->rank);
        CHECK_OK(r, bm_copy(r, there, r->lh, sizes[i], SMEMB_COPY_H2G));
        CHECK(r, bm_same(r, there, r->lh, sizes[i]));
        CHECK_OK(r, bm_copy(r, r->lh + HALF, there, sizes[i], SMEMB_COPY_G2H));
        CHECK(r, memcmp(r->lh + HALF, r->lh, sizes[i]) == 0);
    }
}

const struct bm_case bm_checksum_cases[] = {
    {.name = "checksums: nothing is reported when nobody disturbs",
     .ranks = 2,
     .sums = true,
     .fn = case_undisturbed},
    {.name = "checksums: a target that its owner writes",
     .ranks = 2,
     .sums = true,
     .needs_loads = true,
     .fn = case_scribbled},
    {.name = "checksums: every form of call reports",
     .ranks = 1,
     .sums = true,
     .needs_loads = true,
     .fn = case_forms_of_calls},
    {.name = NULL},
};
