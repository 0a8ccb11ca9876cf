// SPDX-License-Identifier: Apache-2.0
// Cases of the BM suite: ranges that may not be copied are refused with a sentence that says why,
// and nothing moves, whatever the call.
#include "conformance/bm_suite.h"

#include <stdlib.h>

static char mark[256];

/* Refused in every form of call, with `part` in the sentence; what is there stays. */
static void refused(struct bm_rank *r, const void *dst, const void *src, uint64_t size, int code,
                    const char *part)
{
    void *to = (void *)(uintptr_t)dst, *from = (void *)(uintptr_t)src;
    int32_t result = 77;
    smem_batch_copy_params p = {&from, &to, &size, 1, NULL};
    smem_batch_copy_result results = {&result, 1};
    smem_copy_params one = {from, to, size, NULL};
    for (int form = 0; form < 4; form++) {
        int rc = form == 0   ? smem_bm_copy(r->pool, &one, SMEMB_COPY_AUTO, 0)
                 : form == 1 ? smem_bm_copy_batch(r->pool, &p, SMEMB_COPY_AUTO, 0)
                 : form == 2
                     ? smem_bm_copy_batch_partial_succeed(r->pool, &p, SMEMB_COPY_AUTO, 0, &results)
                     : smem_bm_copy(r->pool, &one, SMEMB_COPY_AUTO, ASYNC_COPY_FLAG);
        rc = form == 3 && rc == SMEM_OK ? smem_bm_wait(r->pool) : rc;
        CHECK_RC(r, rc, form == 2 ? SMEM_PARTIAL_FAILED : code);
        CHECK_RC(r, form == 2 ? result : code, code);
        if (strstr(smem_get_last_err_msg(), part) == NULL) {
            fprintf(stderr, "form %d: no \"%s\"\n", form, part);
            CHECK(r, !"the sentence says why");
        }
    }
}

/* Both ways: as source and as destination; local memory is not touched. */
static void refused_both(struct bm_rank *r, const void *global, uint64_t size, int code,
                         const char *part)
{
    char *local = malloc(size < GIVEN ? size : GIVEN);
    CHECK(r, local != NULL);
    memcpy(local, mark, sizeof(mark));
    refused(r, global, local, size, code, part);
    refused(r, local, global, size, code, part);
    CHECK(r, memcmp(local, mark, sizeof(mark)) == 0);
    free(local);
}

static void check_kind(struct bm_rank *r, char *(*start)(const struct bm_rank *r, uint32_t rank))
{
    for (uint32_t rank = 0; rank < 2; rank++) {
        char *at = start(r, rank);
        char name[16];
        snprintf(name, sizeof(name), "rank %u", rank);
        bm_poke(r, at + GIVEN - sizeof(mark), mark, sizeof(mark));
        refused_both(r, at + GIVEN - 256, 257, SMEM_INVALID_PARAM, name);  /* leaves it */
        refused_both(r, at + GIVEN, 256, SMEM_INVALID_PARAM, name);        /* in the tail */
        refused_both(r, at + SLOT - 256, 256, SMEM_INVALID_PARAM, name);   /* at its end */
        refused_both(r, at + GIVEN - 256, SLOT, SMEM_INVALID_PARAM, "0x"); /* over the slot */
        CHECK(r, bm_same(r, at + GIVEN - sizeof(mark), mark, sizeof(mark)));
        /* To the last byte it is fine. */
        CHECK_OK(r, bm_copy(r, at + GIVEN - 256, mark, 256, SMEMB_COPY_H2G));
        CHECK_OK(r, bm_copy(r, at + GIVEN - 1, mark, 1, SMEMB_COPY_H2G));
    }
}

static void ranges(struct bm_rank *r)
{
    memset(mark, 0x5A, sizeof(mark));
    if (r->rank == 0) {
        check_kind(r, bm_gh);
        if (r->has_hbm) {
            check_kind(r, bm_gd);
            /* From the last slot of device memory into the first of host memory. */
            refused_both(r, bm_gd(r, 1) + SLOT - 256, 512, SMEM_INVALID_PARAM, "0x");
        }
        char *end = bm_gh(r, 1) + SLOT; /* of the pool */
        refused_both(r, end - 256, 4096, SMEM_INVALID_PARAM, "0x");
        refused_both(r, bm_gh(r, 0), UINT64_MAX, SMEM_INVALID_PARAM, "18446744073709551615");
        refused_both(r, bm_gh(r, 0), (1ull << 46) + 1, SMEM_INVALID_PARAM, "70368744177665");
        refused_both(r, bm_gh(r, 0), 1ull << 46, SMEM_INVALID_PARAM, "0x");
        refused(r, (void *)(UINTPTR_MAX - 100), bm_gh(r, 0), 4096, SMEM_INVALID_PARAM, "wraps");
        refused(r, bm_gh(r, 0), (void *)(UINTPTR_MAX - 100), 4096, SMEM_INVALID_PARAM, "wraps");
    }
    bm_barrier(r);
}

/* Source and target do not overlap; they may touch. */
static void overlaps(struct bm_rank *r)
{
    memset(mark, 0x5A, sizeof(mark));
    for (uint32_t rank = 0; r->rank == 0 && rank < 2; rank++) {
        for (int kind = 0; kind < 1 + r->has_hbm; kind++) {
            char *at = kind == 0 ? bm_gh(r, rank) : bm_gd(r, rank);
            bm_poke(r, at, mark, sizeof(mark));
            refused(r, at + 1, at, 100, SMEM_INVALID_PARAM, "overlap");
            refused(r, at, at + 99, 100, SMEM_INVALID_PARAM, "overlap");
            CHECK_OK(r, bm_copy(r, at, at + 100, 100, SMEMB_COPY_G2G));
            CHECK(r, bm_same(r, at, mark, sizeof(mark)));
        }
    }
    bm_barrier(r);
}

static void local_device_ranges(struct bm_rank *r)
{
    if (r->rank == 0 && r->dev != NULL) {
        char *ld = (char *)(uintptr_t)r->ld;
        memset(mark, 0x5A, sizeof(mark));
        refused(r, bm_gh(r, 1), ld + GIVEN - 100, 101, SMEM_INVALID_PARAM, "device memory");
        refused(r, ld + GIVEN - 100, bm_gh(r, 1), 101, SMEM_INVALID_PARAM, "device memory");
        CHECK_OK(r, bm_copy(r, ld + GIVEN - 100, mark, 100, SMEMB_COPY_AUTO));
        CHECK_OK(r, bm_copy(r, bm_gh(r, 1), ld + GIVEN - 100, 100, SMEMB_COPY_L2GH));
        CHECK(r, bm_same(r, bm_gh(r, 1), mark, 100));
        CHECK_OK(r, bm_copy(r, ld, ld + HALF, HALF, SMEMB_COPY_AUTO));
        CHECK_OK(r, mf_device_free(r->dev, r->ld));
        CHECK_OK(r, mf_device_alloc(r->dev, GIVEN, &r->ld));
    }
    bm_barrier(r);
}

/* A rank that gives nothing of its own copies between the others; nobody copies to it. */
static void gives_nothing(struct bm_rank *r)
{
    smem_bm_t first = r->pool;
    smem_bm_create_option_t option = {.maxDramSize = SLOT,
                                      .localDRAMSize = r->rank == 0 ? 0 : GIVEN,
                                      .dataOpType = (smem_bm_data_op_type)r->op};
    memset(mark, (int)r->rank + 1, sizeof(mark));
    r->pool = smem_bm_create2(7, &option);
    CHECK(r, r->pool != NULL);
    CHECK_OK(r, smem_bm_join(r->pool, 0));
    bm_barrier(r);
    if (r->rank == 0) {
        CHECK_OK(r, bm_copy(r, bm_gh(r, 1), mark, sizeof(mark), SMEMB_COPY_H2G));
        CHECK_OK(r, bm_copy(r, bm_gh(r, 2), bm_gh(r, 1), sizeof(mark), SMEMB_COPY_G2G));
        CHECK(r, bm_same(r, bm_gh(r, 2), mark, sizeof(mark)));
    } else {
        CHECK_RC(r, bm_copy(r, bm_gh(r, 0), mark, 8, SMEMB_COPY_H2G), SMEM_INVALID_PARAM);
        CHECK_SAYS(r, "rank 0");
    }
    bm_barrier(r);
    smem_bm_destroy(r->pool);
    r->pool = first;
    bm_barrier(r);
}

const struct bm_case bm_range_cases[] = {
    {.name = "range: outside of what a rank gave", .ranks = 2, .fn = ranges},
    {.name = "range: overlapping ends", .ranks = 2, .fn = overlaps},
    {.name = "range: local device memory", .ranks = 2, .fn = local_device_ranges},
    {.name = "range: a rank that gives nothing", .ranks = 3, .fn = gives_nothing},
    {.name = NULL},
};
