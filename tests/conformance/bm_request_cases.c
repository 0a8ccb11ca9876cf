// SPDX-License-Identifier: Apache-2.0
// Cases of the BM suite: requests and prepared batches between ranks, over whichever device and
// operator the suite runs with.
#include "conformance/bm_suite.h"

#include <stdlib.h>

#include "memfabric/mf_xcopy.h"

#define WAIT_MS 30000u
#define COUNT   40u
#define PITCH   4096u

static char pattern[GIVEN];

/* Every place that this rank can copy from and to: its own memory, and the pool's. */
static uint32_t list_places(const struct bm_rank *r, char **v)
{
    uint32_t n = 0;
    v[n++] = r->lh;
    if (r->dev != NULL) {
        v[n++] = (char *)(uintptr_t)r->ld;
    }
    for (uint32_t rank = 0; rank < r->ranks; rank++) {
        v[n++] = bm_gh(r, rank);
        if (r->has_hbm) {
            v[n++] = bm_gd(r, rank);
        }
    }
    return n;
}

#define PLACES_MAX (2 + 2 * RANKS_MAX)

/* Element i of every test: blocks that differ in size, in another order at the target. */
static uint64_t size_of(uint32_t i, uint32_t seed)
{
    return 1 + (i * 977u + seed * 131u) % (PITCH - 1);
}
static uint64_t src_of(uint32_t i)
{
    return i * (uint64_t)PITCH;
}
static uint64_t dst_of(uint32_t i)
{
    return HALF + (i * 7 % COUNT) * (uint64_t)PITCH;
}

static void check_arrived(struct bm_rank *r, const char *to, uint64_t shift, uint32_t seed)
{
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK(r, bm_same(r, to + dst_of(i) + shift, pattern + src_of(i), size_of(i, seed)));
    }
}

static void fill(struct bm_rank *r, char **v, uint32_t n)
{
    bm_pattern(pattern, sizeof(pattern), 5);
    for (uint32_t i = 0; i < n; i++) {
        bm_poke(r, v[i], pattern, COUNT * PITCH);
    }
}

static mf_xcopy_batch_t list_of(char *from, char *to, uint32_t seed)
{
    static void *src[COUNT], *dst[COUNT];
    static uint64_t sizes[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        src[i] = from + src_of(i);
        dst[i] = to + dst_of(i);
        sizes[i] = size_of(i, seed);
    }
    return (mf_xcopy_batch_t){.size = sizeof(mf_xcopy_batch_t),
                              .count = COUNT,
                              .type = SMEMB_COPY_AUTO,
                              .sources = src,
                              .destinations = dst,
                              .sizes = sizes};
}

static void wait_ok(struct bm_rank *r, mf_request_t req)
{
    int32_t status = 1;
    CHECK_OK(r, mf_request_wait(req, WAIT_MS, &status));
    CHECK_OK(r, status);
    CHECK_OK(r, mf_request_free(req));
}

/* ---- bytes arrive ---- */

static void requests_everywhere(struct bm_rank *r)
{
    char *v[PLACES_MAX];
    uint32_t n = list_places(r, v);
    if (r->rank == 0) {
        fill(r, v, n);
        for (uint32_t k = 0; k < n * n; k++) {
            mf_request_t req = NULL;
            mf_xcopy_batch_t batch = list_of(v[k / n], v[k % n], k);
            batch.flags = k % 2 ? MF_XCOPY_QUEUED : 0;
            CHECK_OK(r, mf_xcopy_submit(r->pool, &batch, &req));
            wait_ok(r, req);
            check_arrived(r, v[k % n], 0, k);
            batch.count = 1; /* at once, where it is small */
            batch.flags = 0;
            CHECK_OK(r, mf_xcopy_submit(r->pool, &batch, &req));
            wait_ok(r, req);
        }
    }
    bm_barrier(r);
}

static void prepared_everywhere(struct bm_rank *r)
{
    char *v[PLACES_MAX];
    uint32_t n = list_places(r, v);
    if (r->rank == 0) {
        fill(r, v, n);
        for (uint32_t k = 0; k < n * n; k++) {
            mf_request_t req = NULL;
            mf_prepared_t p = NULL;
            mf_xcopy_batch_t batch = list_of(v[k / n], v[k % n], k);
            CHECK_OK(r, mf_prepare_list(r->pool, &batch, &p));
            CHECK_OK(r, mf_prepared_run(p, 0, 0, 0));
            check_arrived(r, v[k % n], 0, k);
            CHECK_OK(r, mf_prepared_submit(p, 0, 8192 + 24, MF_XCOPY_QUEUED, 0, &req));
            wait_ok(r, req);
            check_arrived(r, v[k % n], 8192 + 24, k);
            CHECK_OK(r, mf_prepared_free(p));
        }
    }
    bm_barrier(r);
}

/* One list that alternates between all ranks, then the same one shifted. */
static void prepared_to_all_ranks(struct bm_rank *r)
{
    if (r->rank == 0) {
        mf_prepared_t p = NULL;
        mf_xcopy_batch_t batch = list_of(r->lh, r->lh, 3);
        void *dst[COUNT];
        bm_pattern(pattern, sizeof(pattern), 6);
        bm_poke(r, r->lh, pattern, COUNT * PITCH);
        for (uint32_t i = 0; i < COUNT; i++) {
            dst[i] = bm_gh(r, i % r->ranks) + dst_of(i);
        }
        batch.destinations = dst;
        CHECK_OK(r, mf_prepare_list(r->pool, &batch, &p));
        for (uint64_t shift = 0; shift < 3 * 64; shift += 64) {
            CHECK_OK(r, mf_prepared_run(p, 0, shift, 0));
            for (uint32_t i = 0; i < COUNT; i++) {
                CHECK(r, bm_same(r, (char *)dst[i] + shift, pattern + src_of(i), size_of(i, 3)));
            }
        }
        CHECK_OK(r, mf_prepared_free(p));
    }
    bm_barrier(r);
}

/* Rows gathered from a peer: random rows and sizes, against the peer's pattern. */
static void random_gathers(struct bm_rank *r)
{
    uint64_t state = 99;
    if (r->rank == 1) {
        bm_pattern(pattern, HALF, 8);
        bm_poke(r, bm_gh(r, 1), pattern, HALF);
    }
    bm_barrier(r);
    for (uint32_t round = 0; r->rank == 0 && round < 300; round++) {
        static uint32_t rows[2000];
        uint64_t block = 1 + bm_random(&state, 300);
        uint64_t row = block + bm_random(&state, 3) * bm_random(&state, 200);
        uint32_t count = 1 + (uint32_t)bm_random(&state, 2000);
        uint64_t base = bm_random(&state, 5000);
        mf_prepared_t p = NULL;
        for (uint32_t i = 0; i < count; i++) {
            uint64_t most = (HALF - base - block) / row;
            rows[i] = i > 0 && bm_random(&state, 3) ? (rows[i - 1] + 1) % (uint32_t)most
                                                    : (uint32_t)bm_random(&state, most);
        }
        mf_xcopy_indexed_t gather = {.size = sizeof(gather),
                                     .count = count,
                                     .type = SMEMB_COPY_G2H,
                                     .src = bm_gh(r, 1) + base,
                                     .dst = r->lh,
                                     .src_rows = rows,
                                     .src_row_bytes = row,
                                     .block_bytes = block};
        bm_pattern(pattern, HALF, 8);
        memset(r->lh, 0x5a, count * block + 8);
        CHECK_OK(r, mf_prepare_indexed(r->pool, &gather, &p));
        CHECK_OK(r, mf_prepared_run(p, 0, 0, 0));
        CHECK_OK(r, mf_prepared_free(p));
        for (uint32_t i = 0; i < count; i++) {
            CHECK(r, memcmp(r->lh + i * block, pattern + base + rows[i] * row, block) == 0);
        }
        CHECK(r, r->lh[count * block] == 0x5a);
    }
    bm_barrier(r);
}

/* ---- peers that come and go ---- */

static mf_prepared_t prepare_to(struct bm_rank *r, uint32_t rank)
{
    mf_prepared_t p = NULL;
    mf_xcopy_strided_t s = {.size = sizeof(s),
                            .count = 10,
                            .type = SMEMB_COPY_H2G,
                            .src = r->lh,
                            .dst = bm_gh(r, rank),
                            .src_stride = 128,
                            .dst_stride = 256,
                            .block_bytes = 128};
    CHECK_OK(r, mf_prepare_strided(r->pool, &s, &p));
    CHECK_OK(r, mf_prepared_run(p, 0, 0, 0));
    return p;
}

static void prepared_while_a_peer_leaves(struct bm_rank *r)
{
    mf_prepared_t p[3] = {NULL, NULL, NULL};
    if (r->rank == 0) {
        p[1] = prepare_to(r, 1);
        p[2] = prepare_to(r, 2);
    }
    bm_barrier(r);
    if (r->rank == 1) {
        CHECK_OK(r, smem_bm_leave(r->pool, 0));
    }
    bm_barrier(r);
    if (r->rank == 0) {
        CHECK_RC(r, mf_prepared_run(p[1], 0, 0, 0), SMEM_NOT_CONNECTED);
        CHECK_SAYS(r, "rank 1");
        CHECK_OK(r, mf_prepared_run(p[2], 0, 0, 0));
    }
    bm_barrier(r);
    if (r->rank == 1) {
        CHECK_OK(r, smem_bm_join(r->pool, 0));
    }
    bm_barrier(r);
    if (r->rank == 0) {
        mf_request_t req = NULL;
        int rc = mf_prepared_submit(p[1], 0, 0, 0, 0, &req);
        CHECK_RC(r, rc, SMEM_NOT_CONNECTED);
        CHECK(r, req == NULL);
        CHECK_OK(r, mf_prepared_run(p[2], 0, 0, 0));
        CHECK_OK(r, mf_prepared_free(p[1]));
        p[1] = prepare_to(r, 1);
        CHECK_OK(r, mf_prepared_free(p[1]));
        CHECK_OK(r, mf_prepared_free(p[2]));
    }
    bm_barrier(r);
}

/* Large requests while the target leaves and comes: each element is done, or was refused since the
 * rank was not there. */
static void requests_while_a_peer_leaves(struct bm_rank *r)
{
    bm_barrier(r);
    for (uint32_t round = 0; round < 10; round++) {
        if (r->rank == 0) {
            int32_t codes[COUNT];
            int32_t status;
            mf_request_t req = NULL;
            void *src[COUNT], *dst[COUNT];
            uint64_t sizes[COUNT];
            for (uint32_t i = 0; i < COUNT; i++) {
                src[i] = r->lh;
                dst[i] = bm_gh(r, 1);
                sizes[i] = 2 * MIB;
            }
            mf_xcopy_batch_t batch = {.size = sizeof(batch),
                                      .count = COUNT,
                                      .type = SMEMB_COPY_H2G,
                                      .sources = src,
                                      .destinations = dst,
                                      .sizes = sizes};
            CHECK_OK(r, mf_xcopy_submit(r->pool, &batch, &req));
            bm_barrier(r);
            CHECK_OK(r, mf_request_wait(req, WAIT_MS, &status));
            CHECK(r, status == SMEM_OK || status == SMEM_PARTIAL_FAILED);
            CHECK_OK(r, mf_request_results(req, codes, COUNT));
            for (uint32_t i = 0; i < COUNT; i++) {
                CHECK(r, codes[i] == SMEM_OK || codes[i] == SMEM_NOT_CONNECTED);
                CHECK(r, status != SMEM_OK || codes[i] == SMEM_OK);
            }
            CHECK_OK(r, mf_request_free(req));
        } else {
            bm_barrier(r);
            bm_sleep_ms(round % 4);
            CHECK_OK(r, smem_bm_leave(r->pool, 0));
            CHECK_OK(r, smem_bm_join(r->pool, 0));
        }
        bm_barrier(r);
    }
}

const struct bm_case bm_request_cases[] = {
    {.name = "request: every direction", .ranks = 2, .fn = requests_everywhere},
    {.name = "request: a peer leaves", .ranks = 2, .fn = requests_while_a_peer_leaves},
    {.name = "prepared: every direction", .ranks = 2, .fn = prepared_everywhere},
    {.name = "prepared: to all ranks in one", .ranks = 4, .fn = prepared_to_all_ranks},
    {.name = "prepared: random gathers", .ranks = 2, .fn = random_gathers},
    {.name = "prepared: a peer leaves", .ranks = 3, .fn = prepared_while_a_peer_leaves},
    {.name = NULL},
};
