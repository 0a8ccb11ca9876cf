// SPDX-License-Identifier: Apache-2.0
// Cases of the BM suite: ranks that join, leave, come back and die, seen from the others.
#include "conformance/bm_suite.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define DEAD_WORD 15 /* 1 + the rank that kills itself */

static char bytes[65536], back[65536];

/* Try until the call gives `code`; what others did takes a moment to be known here. */
static void becomes(struct bm_rank *r, void *dst, const void *src, uint64_t size, int code)
{
    int rc = 1;
    for (uint64_t end = bm_now_ms() + 2000; rc != code && bm_now_ms() < end;) {
        rc = bm_copy(r, dst, src, size, SMEMB_COPY_AUTO);
        if (rc != code) {
            bm_sleep_ms(1);
        }
    }
    CHECK_RC(r, rc, code);
}

/* At first it may be the fence that refuses; what the store says comes a moment later. */
static void becomes_left(struct bm_rank *r, void *theirs)
{
    const char *left = "rank 1 is not in pool 0: it left";
    for (int ms = 0; ms < 5000 && strstr(smem_get_last_err_msg(), left) == NULL; ms++) {
        bm_sleep_ms(1);
        CHECK_RC(r, bm_copy(r, theirs, bytes, 8, SMEMB_COPY_H2G), SMEM_NOT_CONNECTED);
    }
    CHECK_SAYS(r, "rank 1 is not in pool 0: it left");
}

/* ---- join, leave, join again --------------------------------------------------------------------
 */

/* Rank 0 looks at rank 1, which does one thing after the other. */
static void stages(struct bm_rank *r)
{
    memset(bytes, 0x11, sizeof(bytes));
    char *own = bm_gh(r, r->rank), *theirs = bm_gh(r, 1 - r->rank);
    if (r->rank == 1) {
        CHECK_RC(r, bm_copy(r, theirs, bytes, 8, SMEMB_COPY_H2G), SMEM_NOT_STARTED);
        CHECK_SAYS(r, "rank 1 has not joined pool 0");
        CHECK_RC(r, bm_copy(r, own, bytes, 8, SMEMB_COPY_H2G), SMEM_NOT_STARTED);
        bm_poke(r, own, bytes, 4096); /* its own memory is there from the beginning */
        bm_await(r, 0, 1);
        CHECK_OK(r, smem_bm_join(r->pool, 0));
        bm_set(r, 1, 1);
        bm_await(r, 0, 2);
        CHECK_OK(r, smem_bm_leave(r->pool, 0));
        CHECK_RC(r, bm_copy(r, theirs, bytes, 8, SMEMB_COPY_H2G), SMEM_NOT_STARTED);
        bm_set(r, 1, 2);
        bm_await(r, 0, 3);
        CHECK_OK(r, smem_bm_join(r->pool, 0));
        bm_set(r, 1, 3);
        bm_barrier(r);
        return;
    }
    CHECK_OK(r, smem_bm_join(r->pool, 0));
    CHECK_RC(r, bm_copy(r, theirs, bytes, 8, SMEMB_COPY_H2G), SMEM_NOT_CONNECTED);
    CHECK_SAYS(r, "rank 1 is not in pool 0: it has not joined");
    bm_set(r, 0, 1);
    bm_await(r, 1, 1);
    CHECK_OK(r, bm_copy(r, back, theirs, 4096, SMEMB_COPY_G2H)); /* at once */
    CHECK(r, memcmp(back, bytes, 4096) == 0);
    bm_set(r, 0, 2);
    bm_await(r, 1, 2);
    becomes(r, theirs, bytes, 8, SMEM_NOT_CONNECTED);
    becomes_left(r, theirs);
    CHECK_RC(r, bm_copy(r, back, theirs, 8, SMEMB_COPY_G2H), SMEM_NOT_CONNECTED);
    bm_set(r, 0, 3);
    bm_await(r, 1, 3);
    CHECK_OK(r, bm_copy(r, back, theirs, 4096, SMEMB_COPY_G2H));
    for (uint32_t i = 0; i < 4096; i++) {
        CHECK(r, back[i] == 0); /* fresh memory */
    }
    bm_barrier(r);
}

/* A leave gives fresh zeroed memory, for its owner and for whoever comes to it later. */
static void fresh_memory(struct bm_rank *r)
{
    uint32_t peer = 1 - r->rank;
    memset(bytes, 0x22, sizeof(bytes));
    for (int round = 0; round < 5; round++) {
        CHECK_OK(r, bm_copy(r, bm_gh(r, peer) + 4096, bytes, sizeof(bytes), SMEMB_COPY_H2G));
        if (r->has_hbm) {
            CHECK_OK(r, bm_copy(r, bm_gd(r, peer) + 4096, bytes, sizeof(bytes), SMEMB_COPY_H2G));
        }
        bm_barrier(r);
        CHECK(r, bm_same(r, bm_gh(r, r->rank) + 4096, bytes, sizeof(bytes)));
        bm_barrier(r);
        CHECK_OK(r, smem_bm_leave(r->pool, 0));
        memset(back, 0, sizeof(back));
        CHECK(r, bm_same(r, bm_gh(r, r->rank) + 4096, back, sizeof(back)));
        CHECK(r, !r->has_hbm || bm_same(r, bm_gd(r, r->rank) + 4096, back, sizeof(back)));
        CHECK_OK(r, smem_bm_join(r->pool, 0));
        bm_barrier(r);
        CHECK_OK(r, bm_copy(r, back, bm_gh(r, peer) + 4096, sizeof(back), SMEMB_COPY_G2H));
        for (size_t i = 0; i < sizeof(back); i++) {
            CHECK(r, back[i] == 0);
        }
        bm_barrier(r);
    }
}

/* ---- others come and go -------------------------------------------------------------------------
 */

/* Ranks 2 and 3 come and go; what 0 and 1 have between them never fails and is never lost. */
static void coming_and_going(struct bm_rank *r)
{
    bm_pattern(bytes, sizeof(bytes), r->rank);
    if (r->rank < 2) {
        CHECK_OK(r, smem_bm_join(r->pool, 0));
        bm_barrier(r);
        uint32_t peer = 1 - r->rank, rounds = 0;
        CHECK_OK(r, bm_copy(r, bm_gh(r, peer) + MIB, bytes, sizeof(bytes), SMEMB_COPY_H2G));
        while (atomic_load(&r->stage->word[0]) < 2 || rounds < 100) {
            CHECK_OK(r, bm_copy(r, bm_gh(r, peer), bytes, sizeof(bytes), SMEMB_COPY_H2G));
            CHECK_OK(r, bm_copy(r, back, bm_gh(r, peer), sizeof(back), SMEMB_COPY_G2H));
            CHECK(r, memcmp(bytes, back, sizeof(back)) == 0);
            int rc = bm_copy(r, back, bm_gh(r, 2 + rounds++ % 2), 4096, SMEMB_COPY_G2H);
            CHECK(r, rc == SMEM_OK || rc == SMEM_NOT_CONNECTED);
            bm_sleep_ms(rounds % 16 == 0);
        }
        CHECK_OK(r, bm_copy(r, back, bm_gh(r, peer) + MIB, sizeof(back), SMEMB_COPY_G2H));
        CHECK(r, memcmp(bytes, back, sizeof(back)) == 0);
    } else {
        bm_barrier(r);
        for (int i = 0; i < 15; i++) {
            CHECK_OK(r, smem_bm_join(r->pool, 0));
            for (uint32_t peer = 0; peer < 2; peer++) { /* at once after a join */
                CHECK_OK(r, bm_copy(r, bm_gh(r, peer) + HALF + r->rank * MIB, bytes, sizeof(bytes),
                                    SMEMB_COPY_H2G));
            }
            if (i % 5 == 4) { /* for once with everything */
                smem_bm_destroy(r->pool);
                r->pool = bm_create(r, 0);
            } else {
                CHECK_OK(r, smem_bm_leave(r->pool, 0));
            }
        }
        atomic_fetch_add(&r->stage->word[0], 1);
    }
    bm_barrier(r);
}

/* Copies into a rank that leaves are done or refused; nothing lands in its fresh memory. */
static void leave_under_copies(struct bm_rank *r)
{
    memset(bytes, 0x33, sizeof(bytes));
    if (r->rank != 0) {
        while (atomic_load(&r->stage->word[0]) == 0) {
            int rc = bm_copy(r, bm_gh(r, 0) + r->rank * MIB, bytes, sizeof(bytes), SMEMB_COPY_H2G);
            CHECK(r, rc == SMEM_OK || rc == SMEM_NOT_CONNECTED);
            bm_sleep_ms(rc != SMEM_OK); /* leave the processor to the one that leaves */
        }
        bm_barrier(r);
        return;
    }
    const char *own = bm_at(r, bm_gh(r, 0));
    for (int round = 0; round < 15; round++) {
        bm_sleep_ms(3);
        CHECK_OK(r, smem_bm_leave(r->pool, 0));
        for (uint64_t i = 0; i < 4 * MIB; i += 64) {
            CHECK(r, *(const volatile uint64_t *)(own + i) == 0);
        }
        bm_sleep_ms(3);
        for (uint64_t i = 0; i < 4 * MIB; i += 64) {
            CHECK(r, *(const volatile uint64_t *)(own + i) == 0);
        }
        CHECK_OK(r, smem_bm_join(r->pool, 0));
    }
    bm_set(r, 0, 1);
    bm_barrier(r);
}

/* All at once, many times. */
static void all_join_and_leave(struct bm_rank *r)
{
    for (int round = 0; round < 8; round++) {
        CHECK_OK(r, smem_bm_join(r->pool, 0));
        bm_barrier(r);
        memset(bytes, (int)r->rank + 1, 4096);
        for (uint32_t peer = 0; peer < r->ranks; peer++) {
            CHECK_OK(r, bm_copy(r, bm_gh(r, peer) + r->rank * 4096, bytes, 4096, SMEMB_COPY_H2G));
        }
        bm_barrier(r);
        for (uint32_t peer = 0; peer < r->ranks; peer++) {
            memset(bytes, (int)peer + 1, 4096);
            CHECK(r, bm_same(r, bm_gh(r, r->rank) + peer * 4096, bytes, 4096));
        }
        bm_barrier(r);
        CHECK_OK(r, smem_bm_leave(r->pool, 0));
        if (round % 2) {
            bm_barrier(r);
        }
    }
    CHECK_OK(r, smem_bm_join(r->pool, 0));
    bm_barrier(r);
}

/* ---- deaths -------------------------------------------------------------------------------------
 */

/* The others learn of it in two seconds, go on, read zeros, and the rank can be taken again. */
static void death(struct bm_rank *r)
{
    bool mapped = r->op != SMEMB_DATA_OP_HOST_TCP && bm_maps_peers();
    memset(bytes, 0x44, sizeof(bytes));
    CHECK_OK(r, bm_copy(r, bm_gh(r, 2), bytes, 4096, SMEMB_COPY_H2G));
    char *there = mapped ? bm_at(r, bm_gh(r, 2)) : NULL;
    bm_barrier(r);
    if (r->rank == 2) {
        atomic_store(&r->stage->word[DEAD_WORD], r->rank + 1);
        kill(getpid(), SIGKILL);
    }
    bm_await(r, DEAD_WORD, 1);
    uint64_t before = bm_now_ms();
    do { /* refused at first, then also with the reason */
        becomes(r, bm_gh(r, 2), bytes, 64, SMEM_NOT_CONNECTED);
        CHECK_SAYS(r, "rank 2");
        CHECK(r, bm_now_ms() - before < 2000);
    } while (strstr(smem_get_last_err_msg(), "rank 2 is not in pool 0: it is dead") == NULL);
    CHECK_RC(r, bm_copy(r, back, bm_gh(r, 2), 64, SMEMB_COPY_G2H), SMEM_NOT_CONNECTED);
    if (mapped) { /* a pointer to it is no more than its global address is */
        CHECK_RC(r, bm_copy(r, back, there, 64, SMEMB_COPY_G2H), SMEM_NOT_CONNECTED);
        CHECK_RC(r, bm_copy(r, there, bytes, 64, SMEMB_COPY_AUTO), SMEM_NOT_CONNECTED);
        for (uint32_t i = 0; i < 4096; i += 8) {
            CHECK(r, *(volatile uint64_t *)(there + i) == 0);
        }
        *(volatile uint64_t *)there = 1; /* lost, but no crash */
    }
    CHECK_OK(r, bm_copy(r, bm_gh(r, 1 - r->rank) + 4096, bytes, 4096, SMEMB_COPY_H2G));
    r->ranks = 2; /* all three have passed two barriers: the count is even */
}

/* ---- several pools and worlds -------------------------------------------------------------------
 */

/* Two worlds on one host use the same ids, ranks and addresses, each for itself. */
static void two_worlds(struct bm_rank *r)
{
    uint32_t world = r->rank / 2, peer = 1 - r->world_rank;
    for (int round = 0; round < 20; round++) {
        memset(bytes, (int)(1 + world + 2 * round), sizeof(bytes));
        CHECK_OK(r, bm_copy(r, bm_gh(r, peer), bytes, sizeof(bytes), SMEMB_COPY_H2G));
        bm_barrier(r);
        CHECK(r, bm_same(r, bm_gh(r, r->world_rank), bytes, sizeof(bytes)));
        CHECK_OK(r, bm_copy(r, back, bm_gh(r, peer), sizeof(back), SMEMB_COPY_G2H));
        CHECK(r, memcmp(back, bytes, sizeof(back)) == 0);
        bm_barrier(r);
    }
}

/* Several pools of one world, created in different orders, joined and left one by one. */
static void several_pools(struct bm_rank *r)
{
    smem_bm_t pool[5], first = r->pool;
    for (uint32_t i = 1; i < 5; i++) {
        uint32_t id = 1 + (i + r->rank) % 4;
        pool[id] = bm_create(r, id);
        CHECK_OK(r, smem_bm_join(pool[id], 0));
    }
    bm_barrier(r);
    for (uint32_t id = 1; id < 5; id++) {
        r->pool = pool[id];
        memset(bytes, (int)(16 * id + r->rank), 4096);
        CHECK_OK(r, bm_copy(r, bm_gh(r, 1 - r->rank), bytes, 4096, SMEMB_COPY_H2G));
    }
    bm_barrier(r);
    for (uint32_t id = 1; id < 5; id++) {
        r->pool = pool[id];
        memset(bytes, (int)(16 * id + 1 - r->rank), 4096);
        CHECK(r, bm_same(r, bm_gh(r, r->rank), bytes, 4096));
    }
    bm_barrier(r);
    CHECK_OK(r, smem_bm_leave(pool[2], 0));
    smem_bm_destroy(pool[3]);
    bm_barrier(r);
    r->pool = pool[4];
    CHECK_OK(r, bm_copy(r, bm_gh(r, 1 - r->rank), bytes, 4096, SMEMB_COPY_H2G));
    bm_barrier(r);
    for (uint32_t id = 1; id < 5; id++) {
        if (id != 3) {
            smem_bm_destroy(pool[id]);
        }
    }
    r->pool = first;
    CHECK_OK(r, bm_copy(r, bm_gh(r, 1 - r->rank), bytes, 4096, SMEMB_COPY_H2G));
    bm_barrier(r);
}

/* A pool of other sizes is refused with both; when nobody has it open, it may get other ones. */
static void sizes_agree(struct bm_rank *r)
{
    smem_bm_create_option_t option = {.maxDramSize = 4 * MIB,
                                      .localDRAMSize = 4 * MIB,
                                      .dataOpType = (smem_bm_data_op_type)r->op};
    smem_bm_t other = NULL;
    if (r->rank == 0) {
        other = smem_bm_create2(9, &option);
        CHECK(r, other != NULL);
    }
    bm_barrier(r);
    option.maxDramSize = 6 * MIB;
    if (r->rank == 1) {
        CHECK(r, smem_bm_create2(9, &option) == NULL);
        CHECK_RC(r, smem_get_last_err_code(), SMEM_INVALID_PARAM);
        CHECK_SAYS(r, "maxDramSize 4194304");
        CHECK_SAYS(r, "6291456");
    }
    bm_barrier(r);
    if (r->rank == 0) {
        smem_bm_destroy(other);
    }
    bm_barrier(r);
    smem_bm_t again = smem_bm_create2(9, &option);
    CHECK(r, again != NULL);
    CHECK_OK(r, smem_bm_join(again, 0));
    bm_barrier(r);
    smem_bm_t first = r->pool;
    r->pool = again;
    CHECK_OK(r, bm_copy(r, bm_gh(r, 1 - r->rank), bytes, 4096, SMEMB_COPY_H2G));
    bm_barrier(r);
    r->pool = first;
    smem_bm_destroy(again);
    bm_barrier(r);
}

const struct bm_case bm_member_cases[] = {
    {.name = "member: not joined, joined, left, back",
     .ranks = 2,
     .not_joined = true,
     .fn = stages},
    {.name = "member: leave gives fresh memory", .ranks = 2, .fn = fresh_memory},
    {.name = "member: others come and go", .ranks = 4, .not_joined = true, .fn = coming_and_going},
    {.name = "member: leaves while others copy", .ranks = 3, .fn = leave_under_copies},
    {.name = "member: all at once", .ranks = 4, .not_joined = true, .fn = all_join_and_leave},
    {.name = "member: one is killed", .ranks = 3, .fn = death},
    {.name = "pools: two worlds on one host", .ranks = 4, .two_worlds = true, .fn = two_worlds},
    {.name = "pools: several in a process", .ranks = 2, .fn = several_pools},
    {.name = "pools: sizes are agreed on", .ranks = 2, .fn = sizes_agree},
    {.name = NULL},
};
