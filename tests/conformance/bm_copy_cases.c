// SPDX-License-Identifier: Apache-2.0
// Cases of the BM suite: bytes arrive, whole and nowhere else, in every direction, size, alignment
// and form of call.
#include "conformance/bm_suite.h"

#include <pthread.h>
#include <stdlib.h>

#include "memfabric/mf_xcopy.h"

#define GUARD 64u

/* ---- places -------------------------------------------------------------------------------------
 */

enum kind { LH, LD, GH, GD };

/** GIVEN bytes somewhere. */
struct place {
    enum kind kind;
    uint32_t rank; /* of GH, GD */
    char *at;
};

#define PLACES_MAX (2 + 2 * RANKS_MAX)

static uint32_t list_places(const struct bm_rank *r, struct place *v)
{
    uint32_t n = 0;
    v[n++] = (struct place){LH, 0, r->lh};
    if (r->dev != NULL) {
        v[n++] = (struct place){LD, 0, (char *)(uintptr_t)r->ld};
    }
    for (uint32_t rank = 0; rank < r->ranks; rank++) {
        v[n++] = (struct place){GH, rank, bm_gh(r, rank)};
        if (r->has_hbm) {
            v[n++] = (struct place){GD, rank, bm_gd(r, rank)};
        }
    }
    return n;
}

/* What a type demands of its ends: bits of enum kind. */
static const struct {
    unsigned src, dst;
} TYPES[SMEMB_COPY_BUTT] = {
    [SMEMB_COPY_L2G] = {1u << LD, 1u << GH | 1u << GD},
    [SMEMB_COPY_G2L] = {1u << GH | 1u << GD, 1u << LD},
    [SMEMB_COPY_G2H] = {1u << GH | 1u << GD, 1u << LH},
    [SMEMB_COPY_H2G] = {1u << LH, 1u << GH | 1u << GD},
    [SMEMB_COPY_L2GH] = {1u << LD, 1u << GH},
    [SMEMB_COPY_GH2L] = {1u << GH, 1u << LD},
    [SMEMB_COPY_GH2H] = {1u << GH, 1u << LH},
    [SMEMB_COPY_H2GH] = {1u << LH, 1u << GH},
    [SMEMB_COPY_G2G] = {1u << GH | 1u << GD, 1u << GH | 1u << GD},
    [SMEMB_COPY_AUTO] = {0xf, 0xf},
};

static bool fits(const struct place *src, const struct place *dst, int type)
{
    return (TYPES[type].src & 1u << src->kind) && (TYPES[type].dst & 1u << dst->kind);
}

/* ---- every direction, size and alignment --------------------------------------------------------
 */

static char pattern[6 * MIB], empty[6 * MIB];

/* The bytes arrive, and not one beside them. */
static void check_one(struct bm_rank *r, const struct place *src, const struct place *dst, int type,
                      uint64_t size, uint32_t src_off, uint32_t dst_off)
{
    char *from = src->at + GUARD + src_off;
    char *to = dst->at + HALF + GUARD + dst_off;
    bm_poke(r, to - GUARD, empty, size + 2 * GUARD);
    if (bm_copy(r, to, from, size, (smem_bm_copy_type)type) != SMEM_OK ||
        !bm_same(r, to, pattern + GUARD + src_off, size) || !bm_same(r, to - GUARD, empty, GUARD) ||
        !bm_same(r, to + size, empty, GUARD)) {
        fprintf(stderr, "kind %d of rank %u to kind %d of rank %u, type %d, size %llu, at %u, %u\n",
                src->kind, src->rank, dst->kind, dst->rank, type, (unsigned long long)size, src_off,
                dst_off);
        CHECK(r, !"the bytes have arrived, and nothing else has changed");
    }
}

static void check_direction(struct bm_rank *r, const struct place *src, const struct place *dst,
                            int type)
{
    static const uint64_t sizes[] = {1, 7, 8, 64, 4095, 4096, 65537, MIB + 1, 5 * MIB};
    static const struct {
        uint32_t src, dst;
    } at[] = {{0, 0}, {3, 5}, {1, 0}, {0, 7}, {63, 64}};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        size_t n = sizes[s] > MIB ? 1 + (type != SMEMB_COPY_AUTO) : sizeof(at) / sizeof(at[0]);
        for (size_t a = 0; a < n; a++) {
            check_one(r, src, dst, type, sizes[s], at[a].src, at[a].dst);
        }
    }
}

static void all_directions(struct bm_rank *r)
{
    struct place v[PLACES_MAX];
    uint32_t n = list_places(r, v), directions = 0;
    bm_pattern(pattern, sizeof(pattern), 1);
    memset(empty, 0xEE, sizeof(empty));
    if (r->rank == 0) {
        for (uint32_t i = 0; i < n; i++) {
            bm_poke(r, v[i].at, pattern, sizeof(pattern));
        }
        for (uint32_t i = 0; i < n * n; i++) {
            for (int type = 0; type < SMEMB_COPY_BUTT; type++) {
                if (fits(&v[i / n], &v[i % n], type)) { /* with AUTO all are */
                    check_direction(r, &v[i / n], &v[i % n], type);
                    directions++;
                }
            }
        }
        CHECK(r, directions >= 2 * r->ranks);
    }
    bm_barrier(r);
}

/* Pool memory of the same kind may stand for this process's own; and what memcpy does, AUTO may do.
 */
static bool may_do(const struct place *src, const struct place *dst, int type)
{
    unsigned as_src = 1u << src->kind | (src->kind >= GH ? 1u << (src->kind - GH) : 0);
    unsigned as_dst = 1u << dst->kind | (dst->kind >= GH ? 1u << (dst->kind - GH) : 0);
    return (TYPES[type].src & as_src) && (TYPES[type].dst & as_dst);
}

/* Ends of another kind than the type says are refused before a byte moves. */
static void wrong_types(struct bm_rank *r)
{
    struct place v[PLACES_MAX];
    char mark[256];
    uint32_t n = list_places(r, v);
    memset(mark, 0xAB, sizeof(mark));
    for (uint32_t i = 0; r->rank == 0 && i < n * n; i++) {
        const struct place *src = &v[i / n], *dst = &v[i % n];
        for (int type = 0; type < SMEMB_COPY_BUTT; type++) {
            if (may_do(src, dst, type)) {
                continue;
            }
            bm_poke(r, dst->at + HALF, mark, sizeof(mark));
            CHECK_RC(r, bm_copy(r, dst->at + HALF, src->at, sizeof(mark), (smem_bm_copy_type)type),
                     SMEM_INVALID_PARAM);
            CHECK_SAYS(r, "0x");
            CHECK(r, bm_same(r, dst->at + HALF, mark, sizeof(mark)));
        }
    }
    bm_barrier(r);
}

/* ---- what the owner sees ------------------------------------------------------------------------
 */

/* A put that has returned is there for its owner, who is told by a word that is put after it. */
static void owner_sees(struct bm_rank *r)
{
    uint32_t next = (r->rank + 1) % r->ranks, before = (r->rank + r->ranks - 1) % r->ranks;
    char *bytes = r->lh;
    for (uint64_t round = 1; round <= 20; round++) {
        uint64_t size = 100000 * round / 3 + round;
        bm_pattern(bytes, size, 100 * round + r->rank);
        CHECK_OK(r, bm_copy(r, bm_gh(r, next) + 64, bytes, size, SMEMB_COPY_H2G));
        if (r->has_hbm) {
            CHECK_OK(r, bm_copy(r, bm_gd(r, next) + 64, bytes, size, SMEMB_COPY_H2G));
        }
        CHECK_OK(r, bm_copy(r, bm_gh(r, next), &round, 8, SMEMB_COPY_H2GH));
        const _Atomic uint64_t *flag = (const void *)bm_at(r, bm_gh(r, r->rank));
        for (uint64_t end = bm_now_ms() + 20000; atomic_load(flag) < round;) {
            CHECK(r, bm_now_ms() < end);
        }
        bm_pattern(bytes, size, 100 * round + before);
        CHECK(r, bm_same(r, bm_gh(r, r->rank) + 64, bytes, size));
        CHECK(r, !r->has_hbm || bm_same(r, bm_gd(r, r->rank) + 64, bytes, size));
        bm_barrier(r);
    }
}

/* ---- batches ------------------------------------------------------------------------------------
 */

#define CELL     4096u
#define CELLS    ((uint32_t)(HALF / CELL))
#define ELEMENTS 600u

struct batch {
    void *src[ELEMENTS], *dst[ELEMENTS];
    uint64_t size[ELEMENTS];
    uint64_t pattern_at[ELEMENTS]; /* where the bytes of the source lie in `pattern` */
    int32_t result[ELEMENTS];
    uint32_t count;
};

/* Each element has a target cell of its own; some are neighbours on both sides. */
static void random_batch(struct bm_rank *r, struct batch *b, uint64_t *seed, bool global_only)
{
    struct place v[PLACES_MAX];
    uint32_t n = list_places(r, v);
    b->count = 1 + (uint32_t)bm_random(seed, ELEMENTS);
    uint32_t cell = (uint32_t)bm_random(seed, CELLS - ELEMENTS);
    for (uint32_t i = 0; i < b->count; i++) {
        const struct place *src, *dst;
        do {
            src = &v[bm_random(seed, n)];
            dst = &v[bm_random(seed, n)];
        } while (global_only && (src->kind < GH || dst->kind < GH));
        bool next = i > 0 && bm_random(seed, 3) == 0;
        b->size[i] = bm_random(seed, 4) == 0 ? CELL : 1 + bm_random(seed, CELL);
        b->pattern_at[i] = bm_random(seed, sizeof(pattern) - CELL);
        b->src[i] = src->at + b->pattern_at[i];
        b->dst[i] = dst->at + HALF + (uint64_t)(cell + i) * CELL;
        if (next && b->size[i - 1] == CELL) { /* one run with the element before */
            b->dst[i] = (char *)b->dst[i - 1] + CELL;
            b->pattern_at[i] = b->pattern_at[i - 1] + CELL;
            if (b->pattern_at[i] > sizeof(pattern) - CELL) {
                b->pattern_at[i] = 0;
                b->src[i] = src->at;
            } else {
                b->src[i] = (char *)b->src[i - 1] + CELL;
            }
        }
        bm_poke(r, b->dst[i], empty, CELL);
    }
}

static void check_batch(struct bm_rank *r, const struct batch *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        CHECK(r, bm_same(r, b->dst[i], pattern + b->pattern_at[i], b->size[i]));
        CHECK(r, bm_same(r, (char *)b->dst[i] + b->size[i], empty, CELL - b->size[i]));
    }
}

static void fill_places(struct bm_rank *r)
{
    struct place v[PLACES_MAX];
    uint32_t n = list_places(r, v);
    bm_pattern(pattern, sizeof(pattern), 1);
    memset(empty, 0xEE, sizeof(empty));
    for (uint32_t i = 0; i < n; i++) {
        if (v[i].kind < GH || v[i].rank == r->rank) {
            bm_poke(r, v[i].at, pattern, sizeof(pattern));
        }
    }
    bm_barrier(r);
}

static void batches(struct bm_rank *r)
{
    struct batch *b = calloc(1, sizeof(*b));
    uint64_t seed = 4711;
    CHECK(r, b != NULL);
    fill_places(r);
    for (int round = 0; r->rank == 0 && round < 30; round++) {
        bool global_only = round % 3 == 2;
        smem_batch_copy_params p = {
            .sources = b->src, .destinations = b->dst, .dataSizes = b->size};
        smem_batch_copy_result result = {.results = b->result};
        random_batch(r, b, &seed, global_only);
        p.batchSize = result.batchSize = b->count;
        smem_bm_copy_type type = global_only ? SMEMB_COPY_G2G : SMEMB_COPY_AUTO;
        if (round % 3 == 0) {
            CHECK_OK(r, smem_bm_copy_batch(r->pool, &p, type, 0));
        } else if (round % 3 == 1) {
            CHECK_OK(r, smem_bm_copy_batch(r->pool, &p, type, ASYNC_COPY_FLAG));
            CHECK_OK(r, smem_bm_wait(r->pool));
        } else {
            memset(b->result, 0x77, sizeof(b->result));
            CHECK_OK(r, smem_bm_copy_batch_partial_succeed(r->pool, &p, type, 0, &result));
            for (uint32_t i = 0; i < b->count; i++) {
                CHECK_OK(r, b->result[i]);
            }
        }
        check_batch(r, b);
    }
    free(b);
    bm_barrier(r);
}

/* ---- batches with bad elements ------------------------------------------------------------------
 */

/* Make element i bad; the code that it deserves. */
static int32_t spoil(struct bm_rank *r, struct batch *b, uint32_t i, uint64_t way)
{
    switch (way) {
    case 0:
        b->size[i] = 0;
        return SMEM_INVALID_PARAM;
    case 1:
        b->src[i] = NULL;
        return SMEM_INVALID_PARAM;
    case 2:
        b->dst[i] = bm_gh(r, 1) + GIVEN; /* no memory of rank 1 there */
        return SMEM_INVALID_PARAM;
    case 3:
        b->src[i] = (char *)b->dst[i] + 1; /* one over the other */
        b->size[i] = 64;
        return SMEM_INVALID_PARAM;
    default:
        b->src[i] = bm_gh(r, 2); /* has not joined */
        return SMEM_NOT_CONNECTED;
    }
}

static void bad_elements(struct bm_rank *r)
{
    struct batch *b = calloc(1, sizeof(*b));
    uint64_t seed = 99;
    uint32_t all = r->ranks;
    int32_t want[ELEMENTS];
    CHECK(r, b != NULL);
    if (r->rank < 2) {
        CHECK_OK(r, smem_bm_join(r->pool, 0));
    }
    fill_places(r);
    for (int round = 0; r->rank == 0 && round < 10; round++) {
        smem_batch_copy_params p = {
            .sources = b->src, .destinations = b->dst, .dataSizes = b->size};
        smem_batch_copy_result result = {.results = b->result};
        uint32_t first = ELEMENTS, lowest = ELEMENTS;
        bool first_asks = false;
        r->ranks = 2; /* rank 2 takes no part but in bad elements */
        random_batch(r, b, &seed, false);
        r->ranks = all;
        for (uint32_t i = 0; i < b->count; i++) {
            want[i] = SMEM_OK;
            if (i == b->count / 2 || bm_random(&seed, 20) == 0) {
                uint64_t way = bm_random(&seed, 5);
                want[i] = spoil(r, b, i, way);
                /* What is wrong by itself is found before a rank is asked for, whether it is there
                 * and whether it has more memory by now. */
                bool asks = way == 2 || way == 4;
                bool found = first == ELEMENTS || (first_asks && !asks);
                first = found ? i : first;
                first_asks = found ? asks : first_asks;
                lowest = lowest == ELEMENTS ? i : lowest;
            }
        }
        p.batchSize = result.batchSize = b->count;
        /* As a whole it is refused, nothing moves, and the sentence names the first bad one. */
        char number[32];
        CHECK_RC(r, smem_bm_copy_batch(r->pool, &p, SMEMB_COPY_AUTO, 0), want[first]);
        snprintf(number, sizeof(number), "element %u", first);
        CHECK_SAYS(r, number);
        CHECK_OK(r, smem_bm_copy_batch(r->pool, &p, SMEMB_COPY_AUTO, ASYNC_COPY_FLAG));
        CHECK_RC(r, smem_bm_wait(r->pool), want[first]);
        CHECK_SAYS(r, number);
        CHECK_OK(r, smem_bm_wait(r->pool));
        for (uint32_t i = 0; i < b->count; i++) {
            CHECK(r, want[i] != SMEM_OK || bm_same(r, b->dst[i], empty, CELL));
        }
        /* Element by element the good ones are done. */
        CHECK_RC(r, smem_bm_copy_batch_partial_succeed(r->pool, &p, SMEMB_COPY_AUTO, 0, &result),
                 SMEM_PARTIAL_FAILED);
        snprintf(number, sizeof(number), "element %u", lowest);
        CHECK_SAYS(r, number);
        for (uint32_t i = 0; i < b->count; i++) {
            CHECK_RC(r, b->result[i], want[i]);
            CHECK(r, want[i] != SMEM_OK ||
                         bm_same(r, b->dst[i], pattern + b->pattern_at[i], b->size[i]));
        }
    }
    free(b);
    bm_barrier(r);
}

/* ---- asynchronous copies, threads ---------------------------------------------------------------
 */

static void *wait_elsewhere(void *arg)
{
    const struct bm_rank *r = arg;
    return (void *)(intptr_t)smem_bm_wait(r->pool);
}

static void async_wait(struct bm_rank *r)
{
    pthread_t thread;
    void *rc = NULL;
    uint32_t peer = 1;
    bm_pattern(pattern, sizeof(pattern), 3);
    if (r->rank == 0) {
        CHECK_OK(r, smem_bm_wait(r->pool)); /* nothing pending */
        for (uint64_t i = 0; i < 200; i++) {
            smem_copy_params p = {pattern + i * 4096, bm_gh(r, peer) + i * 4096, 4096, NULL};
            CHECK_OK(r, smem_bm_copy(r->pool, &p, SMEMB_COPY_H2G, ASYNC_COPY_FLAG));
        }
        CHECK(r, pthread_create(&thread, NULL, wait_elsewhere, r) == 0);
        CHECK(r, pthread_join(thread, &rc) == 0);
        CHECK_OK(r, (int)(intptr_t)rc);
        CHECK(r, bm_same(r, bm_gh(r, peer), pattern, 200 * 4096));
        /* What is wrong with an address comes out of the wait, once, with its sentence. */
        smem_copy_params bad = {pattern, bm_gh(r, peer) + GIVEN, 8, NULL};
        CHECK_OK(r, smem_bm_copy(r->pool, &bad, SMEMB_COPY_H2G, ASYNC_COPY_FLAG));
        CHECK_RC(r, smem_bm_wait(r->pool), SMEM_INVALID_PARAM);
        CHECK_SAYS(r, "rank 1");
        CHECK_RC(r, smem_get_last_err_code(), SMEM_INVALID_PARAM);
        CHECK_OK(r, smem_bm_wait(r->pool));
    }
    bm_barrier(r);
}

struct worker {
    struct bm_rank *r;
    pthread_t thread;
    uint32_t number;
    int rc;
};

static void *copy_thread(void *arg)
{
    struct worker *w = arg;
    struct bm_rank *r = w->r;
    uint64_t seed = 17 + w->number;
    uint64_t area = HALF / 4;
    char *bytes = malloc(65536), *back = malloc(65536);
    for (uint32_t i = 0; i < 300 && w->rc == SMEM_OK && bytes != NULL && back != NULL; i++) {
        uint32_t peer = (uint32_t)bm_random(&seed, r->ranks);
        uint64_t size = 1 + bm_random(&seed, 65536), off = bm_random(&seed, area - 65536);
        /* Ranks and threads have areas of their own in everybody's memory. */
        char *at = (r->has_hbm && i % 3 == 0 ? bm_gd(r, peer) : bm_gh(r, peer)) +
                   r->rank % 2 * HALF + w->number * area + off;
        bm_pattern(bytes, size, i);
        w->rc = bm_copy(r, at, bytes, size, SMEMB_COPY_H2G);
        if (w->rc == SMEM_OK) {
            w->rc = bm_copy(r, back, at, size, SMEMB_COPY_G2H);
        }
        if (w->rc == SMEM_OK && memcmp(bytes, back, size) != 0) {
            fprintf(stderr, "rank %u, thread %u: wrong bytes\n", r->rank, w->number);
            w->rc = 1;
        }
    }
    free(bytes);
    free(back);
    return NULL;
}

static void many_threads(struct bm_rank *r)
{
    struct worker w[4];
    for (uint32_t i = 0; i < 4; i++) {
        w[i] = (struct worker){.r = r, .number = i};
        CHECK(r, pthread_create(&w[i].thread, NULL, copy_thread, &w[i]) == 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
        pthread_join(w[i].thread, NULL);
        CHECK_OK(r, w[i].rc);
    }
    bm_barrier(r);
}

/* ---- words --------------------------------------------------------------------------------------
 */

#define WORDS 20000u

/* A word of 2, 4 or 8 bytes whose halves say the same number: half a word would show. */
static uint64_t make_word(uint64_t i, uint32_t bytes)
{
    uint64_t half = bytes == 8 ? i & 0xffffffff : bytes == 4 ? i & 0xffff : i & 0xff;
    return half << (bytes * 4) | half;
}

static void word_writer(struct bm_rank *r, bool from_hbm)
{
    uint64_t end = bm_now_ms() + 20000;
    /* Until the reader, who may have to wait for a processor, has seen enough. */
    for (uint64_t i = 1; i <= WORDS || atomic_load(&r->stage->word[1]) == 0; i++) {
        uint32_t bytes = 2u << (i % 3);
        uint64_t word = make_word(i, bytes);
        char *at = bm_gh(r, 1) + 64 * (i % 3);
        if (from_hbm && i % 64 == 0) {
            bm_poke(r, bm_gd(r, 0), &word, 8);
            CHECK_OK(r, bm_copy(r, at, bm_gd(r, 0), bytes, SMEMB_COPY_G2G));
        } else {
            CHECK_OK(r, bm_copy(r, at, &word, bytes, i % 2 ? SMEMB_COPY_H2G : SMEMB_COPY_AUTO));
        }
        CHECK(r, bm_now_ms() < end);
    }
    bm_set(r, 0, 1);
}

static void word_reader(struct bm_rank *r)
{
    const volatile char *at = bm_at(r, bm_gh(r, 1));
    uint64_t last = 0, changes = 0;
    while (atomic_load(&r->stage->word[0]) == 0) {
        uint64_t w8 = *(const volatile uint64_t *)(at + 128);
        uint32_t w4 = *(const volatile uint32_t *)(at + 64);
        uint16_t w2 = *(const volatile uint16_t *)at;
        CHECK(r, w8 >> 32 == (w8 & 0xffffffff));
        CHECK(r, w4 >> 16 == (w4 & 0xffff));
        CHECK(r, w2 >> 8 == (w2 & 0xff));
        changes += w8 != last;
        last = w8;
        if (changes == 100) {
            bm_set(r, 1, 1);
        }
        CHECK(r, !atomic_load(&r->stage->failed));
    }
}

static void words_whole(struct bm_rank *r)
{
    if (r->rank == 0) {
        word_writer(r, r->has_hbm);
    } else {
        word_reader(r);
    }
    bm_barrier(r);
}

/* ---- pointers -----------------------------------------------------------------------------------
 */

static void load_and_store(struct bm_rank *r)
{
    char *next = bm_at(r, bm_gh(r, (r->rank + 1) % r->ranks));
    for (uint64_t i = 0; i < GIVEN; i += 4096) {
        *(volatile uint64_t *)(next + i) = i + r->rank;
    }
    bm_barrier(r);
    for (uint32_t rank = 0; rank < r->ranks; rank++) {
        uint32_t writer = (rank + r->ranks - 1) % r->ranks;
        const char *there = bm_at(r, bm_gh(r, rank));
        for (uint64_t i = 0; i < GIVEN; i += 4096) {
            CHECK(r, *(const volatile uint64_t *)(there + i) == i + writer);
        }
    }
    bm_barrier(r);
}

static void translated(struct bm_rank *r)
{
    void *va = NULL;
    for (uint32_t rank = 0; rank < r->ranks; rank++) {
        char *gh = bm_gh(r, rank) + 12345;
        CHECK_OK(r, smem_bm_gva_to_va(r->pool, gh, SMEM_MEM_TYPE_LOCAL_HOST, &va));
        CHECK(r, va != NULL);
        CHECK_RC(r,
                 smem_bm_gva_to_va(r->pool, bm_gh(r, rank) + GIVEN, SMEM_MEM_TYPE_LOCAL_HOST, &va),
                 SMEM_ERROR);
        CHECK(r, va == NULL);
        CHECK(r, smem_bm_get_rank_id_by_gva(r->pool, gh) == rank);
        CHECK(r, smem_bm_get_rank_id_by_gva(r->pool, bm_at(r, gh)) == rank);
        if (r->has_hbm) {
            char *gd = bm_gd(r, rank) + 12345;
            CHECK_OK(r, smem_bm_gva_to_va(r->pool, gd, SMEM_MEM_TYPE_LOCAL_DEVICE, &va));
            CHECK_RC(r, smem_bm_gva_to_va(r->pool, gd, SMEM_MEM_TYPE_LOCAL_HOST, &va), SMEM_ERROR);
            CHECK(r, smem_bm_get_rank_id_by_gva(r->pool, gd) == rank);
        }
    }
    bm_barrier(r);
}

/* A pointer that gva_to_va gave, in a copy: as its global address would be, in both directions,
 * with what it stands for on the other side, and to the end of what the rank gave. */
static void check_pointer(struct bm_rank *r, char *gva, smem_bm_mem_type_t type)
{
    void *va = NULL;
    CHECK_OK(r, smem_bm_gva_to_va(r->pool, gva, type, &va));
    char *at = va;
    bm_poke(r, gva, empty, MIB);
    CHECK_OK(r, bm_copy(r, at, pattern, 65537, SMEMB_COPY_H2G));
    CHECK_OK(r, bm_copy(r, gva + 65537, pattern + 65537, MIB - 65537, SMEMB_COPY_H2G));
    CHECK(r, bm_same(r, gva, pattern, MIB));
    CHECK_OK(r, bm_copy(r, r->lh, at + 3, 8, SMEMB_COPY_G2H));
    CHECK_OK(r, bm_copy(r, r->lh + 8, at + 11, MIB - 11, SMEMB_COPY_AUTO));
    CHECK(r, memcmp(r->lh, pattern + 3, MIB - 3) == 0);
    CHECK_OK(r, bm_copy(r, at + HALF, gva, MIB, SMEMB_COPY_G2G));
    CHECK(r, bm_same(r, gva + HALF, pattern, MIB));
    CHECK_RC(r, bm_copy(r, at + 100, gva, 4096, SMEMB_COPY_G2G), SMEM_INVALID_PARAM);
    CHECK_SAYS(r, "overlap");
    CHECK_OK(r, bm_copy(r, at + GIVEN - 100, pattern, 100, SMEMB_COPY_H2G));
    CHECK_RC(r, bm_copy(r, at + GIVEN - 100, pattern, 101, SMEMB_COPY_H2G), SMEM_INVALID_PARAM);
    CHECK_SAYS(r, "rank ");
    CHECK_RC(r, bm_copy(r, r->lh, at + GIVEN - 100, 4096, SMEMB_COPY_AUTO), SMEM_INVALID_PARAM);
    void *src[3] = {at, pattern + MIB, gva}, *dst[3] = {r->lh, at + MIB, at + 2 * MIB};
    uint64_t size[3] = {5000, 5000, 5000};
    smem_batch_copy_params p = {src, dst, size, 3, NULL};
    CHECK_OK(r, smem_bm_copy_batch(r->pool, &p, SMEMB_COPY_AUTO, 0));
    CHECK(r, memcmp(r->lh, pattern, 5000) == 0);
    CHECK(r, bm_same(r, gva + MIB, pattern + MIB, 5000));
    CHECK(r, bm_same(r, gva + 2 * MIB, pattern, 5000));
}

/* Prepared with a pointer and submitted with an address, and the other way round; and a request. */
static void check_prepared(struct bm_rank *r, char *gva)
{
    char *at = bm_at(r, gva);
    mf_xcopy_strided_t blocks = {.size = sizeof(blocks),
                                 .count = 100,
                                 .type = SMEMB_COPY_AUTO,
                                 .src = r->lh,
                                 .src_stride = 4096,
                                 .dst_stride = 8192,
                                 .block_bytes = 4096};
    memcpy(r->lh, pattern, MIB);
    for (int turn = 0; turn < 2; turn++) {
        mf_prepared_t prepared;
        mf_request_t request;
        int32_t status = 1;
        char *first = turn ? gva : at, *second = turn ? at : gva;
        blocks.dst = first;
        bm_poke(r, gva, empty, 4 * MIB);
        CHECK_OK(r, mf_prepare_strided(r->pool, &blocks, &prepared));
        CHECK_OK(r, mf_prepared_submit(prepared, 0, 0, 0, 0, &request));
        CHECK_OK(r, mf_request_wait(request, 10000, &status));
        CHECK_OK(r, status);
        CHECK_OK(r, mf_request_free(request));
        CHECK_OK(r, mf_prepared_run(prepared, 0, (uintptr_t)second + 2 * MIB, 0));
        for (uint64_t i = 0; i < blocks.count; i++) {
            CHECK(r, bm_same(r, gva + i * 8192, pattern + i * 4096, 4096));
            CHECK(r, bm_same(r, gva + i * 8192 + 4096, empty, 4096));
            CHECK(r, bm_same(r, gva + 2 * MIB + i * 8192, pattern + i * 4096, 4096));
        }
        CHECK_OK(r, mf_prepared_free(prepared));
    }
}

static void pointers_in_copies(struct bm_rank *r)
{
    bm_pattern(pattern, sizeof(pattern), 5);
    memset(empty, 0xEE, sizeof(empty));
    for (uint32_t rank = 0; r->rank == 0 && rank < r->ranks; rank++) {
        check_pointer(r, bm_gh(r, rank), SMEM_MEM_TYPE_LOCAL_HOST);
        check_prepared(r, bm_gh(r, rank));
        if (r->has_hbm) {
            check_pointer(r, bm_gd(r, rank), SMEM_MEM_TYPE_LOCAL_DEVICE);
        }
    }
    bm_barrier(r);
}

const struct bm_case bm_copy_cases[] = {
    {.name = "copy: every direction among three ranks", .ranks = 3, .fn = all_directions},
    {.name = "copy: ends of another kind are refused", .ranks = 2, .fn = wrong_types},
    {.name = "copy: the owner sees what has returned", .ranks = 3, .fn = owner_sees},
    {.name = "copy: batches mix directions and peers", .ranks = 3, .fn = batches},
    {.name = "copy: batches with bad elements", .ranks = 3, .not_joined = true, .fn = bad_elements},
    {.name = "copy: asynchronous, waited for elsewhere", .ranks = 2, .fn = async_wait},
    {.name = "copy: from many threads of two ranks", .ranks = 2, .fn = many_threads},
    {.name = "copy: words are never torn", .ranks = 2, .fn = words_whole},
    {.name = "pointers: load and store", .ranks = 3, .needs_loads = true, .fn = load_and_store},
    {.name = "pointers: translation", .ranks = 2, .needs_loads = true, .fn = translated},
    {.name = "pointers: in copies", .ranks = 2, .needs_loads = true, .fn = pointers_in_copies},
    {.name = NULL},
};
