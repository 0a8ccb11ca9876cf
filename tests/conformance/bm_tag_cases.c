// SPDX-License-Identifier: Apache-2.0
// Cases of the BM suite: ranks with tags. Pairs that tagOpInfo names reach each other, others are
// refused on both sides, whoever joins first and whoever tries first.
#include "conformance/bm_suite.h"

#include <stdlib.h>

#define POOL 7u

static char bytes[4096], back[4096];

static const char *op_name(const struct bm_rank *r)
{
    return r->op == SMEMB_DATA_OP_HOST_TCP   ? "HOST_TCP"
           : r->op == SMEMB_DATA_OP_HOST_SHM ? "HOST_SHM"
                                             : "DEVICE_SDMA";
}

/* A pool beside the suite's own; `info` has %s in the place of the operator, at most twice. */
static smem_bm_t create(struct bm_rank *r, const char *tag, const char *a, const char *b)
{
    smem_bm_create_option_t option = {.maxDramSize = 4 * MIB,
                                      .localDRAMSize = 2 * MIB,
                                      .dataOpType = (smem_bm_data_op_type)r->op};
    snprintf(option.tag, sizeof(option.tag), "%s", tag);
    if (a != NULL) {
        snprintf(option.tagOpInfo, sizeof(option.tagOpInfo), "%s:%s:%s", a, op_name(r), b);
    }
    smem_bm_t pool = smem_bm_create2(POOL, &option);
    CHECK(r, pool != NULL);
    return pool;
}

static int copy_to(struct bm_rank *r, smem_bm_t pool, uint32_t rank)
{
    smem_copy_params p = {
        .src = bytes,
        .dest = (char *)smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, (uint16_t)rank) +
                r->rank * sizeof(bytes),
        .dataSize = sizeof(bytes)};
    return smem_bm_copy(pool, &p, SMEMB_COPY_H2G, 0);
}

static int copy_from(struct bm_rank *r, smem_bm_t pool, uint32_t rank)
{
    smem_copy_params p = {
        .src = (char *)smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, (uint16_t)rank) +
               r->rank * sizeof(bytes),
        .dest = back,
        .dataSize = sizeof(back)};
    return smem_bm_copy(pool, &p, SMEMB_COPY_G2H, 0);
}

static void check_refused(struct bm_rank *r, smem_bm_t pool, uint32_t rank, const char *says)
{
    void *va = NULL;
    CHECK_RC(r, copy_to(r, pool, rank), SMEM_ERROR);
    CHECK(r, strstr(smem_get_last_err_msg(), says) != NULL);
    CHECK_SAYS(r, "have no operator in pool 7");
    CHECK_SAYS(r, op_name(r));
    CHECK_RC(r, copy_from(r, pool, rank), SMEM_ERROR);
    void *gva = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, (uint16_t)rank);
    CHECK_RC(r, smem_bm_gva_to_va(pool, gva, SMEM_MEM_TYPE_LOCAL_HOST, &va), SMEM_ERROR);
}

/* Ranks 0 and 1 are of one group, 2 of another that works with it, 3 of one that nobody named. */
static void groups(struct bm_rank *r)
{
    static const char *const tag[4] = {"prefill", "prefill", "decode", "other"};
    bm_pattern(bytes, sizeof(bytes), r->rank);
    for (int round = 0; round < 3; round++) {
        smem_bm_t pool = r->rank % 2 ? create(r, tag[r->rank], "prefill", "decode")
                                     : create(r, tag[r->rank], "decode", "prefill");
        for (uint32_t turn = 0; turn < r->ranks; turn++) { /* in another order each time */
            if ((turn + (uint32_t)round) % r->ranks == r->rank) {
                CHECK_OK(r, smem_bm_join(pool, 0));
            }
            bm_barrier(r);
        }
        for (uint32_t i = 0; i < r->ranks; i++) {
            uint32_t rank = (r->rank + i) % r->ranks;
            if (rank == r->rank || (rank != 3 && r->rank != 3)) {
                CHECK_OK(r, copy_to(r, pool, rank));
                CHECK_OK(r, copy_from(r, pool, rank));
                CHECK(r, memcmp(bytes, back, sizeof(back)) == 0);
            } else {
                char says[96];
                snprintf(says, sizeof(says), "rank %u with tag \"%s\" and rank %u with tag \"%s\"",
                         r->rank, tag[r->rank], rank, tag[rank]);
                check_refused(r, pool, rank, says);
            }
        }
        bm_barrier(r);
        if (round == 1) {
            CHECK_OK(r, smem_bm_leave(pool, 0));
        }
        smem_bm_destroy(pool);
        bm_barrier(r);
    }
}

/* Both are refused although one of them names the pair, also when the other one tries. */
static void one_sided(struct bm_rank *r)
{
    smem_bm_t pool = r->rank == 0 ? create(r, "a", "a", "b") : create(r, "b", NULL, NULL);
    for (uint32_t first = 0; first < 2; first++) {
        if (r->rank == first) {
            CHECK_OK(r, smem_bm_join(pool, 0));
        }
        bm_barrier(r);
    }
    if (r->rank == 1) {
        CHECK_OK(r, smem_bm_join(pool, 0));
    }
    bm_barrier(r);
    for (uint32_t turn = 0; turn < 4; turn++) {
        if (turn % 2 == r->rank) {
            check_refused(r, pool, 1 - r->rank, "the tagOpInfo of rank 1 does not name");
        }
        bm_barrier(r);
    }
    CHECK_OK(r, copy_to(r, pool, r->rank));
    smem_bm_destroy(pool);
    bm_barrier(r);
    if (r->rank == 1) { /* mended by its next life */
        pool = create(r, "b", "b", "a");
        CHECK_OK(r, smem_bm_join(pool, 0));
        bm_barrier(r);
        CHECK_OK(r, copy_to(r, pool, 0));
    } else {
        pool = create(r, "a", "a", "b");
        CHECK_OK(r, smem_bm_join(pool, 0));
        bm_barrier(r);
        CHECK_OK(r, copy_to(r, pool, 1));
    }
    bm_barrier(r);
    smem_bm_destroy(pool);
}

/* Without a tag a rank is "default", and may be named so. */
static void default_tag(struct bm_rank *r)
{
    smem_bm_t pool = r->rank == 0 ? create(r, "", "default", "b") : create(r, "b", "b", "default");
    CHECK_OK(r, smem_bm_join(pool, 0));
    bm_barrier(r);
    CHECK_OK(r, copy_to(r, pool, 1 - r->rank));
    bm_barrier(r);
    smem_bm_destroy(pool);
}

/* A rank between two that do not know each other copies from one to the other. */
static void go_between(struct bm_rank *r)
{
    static const char *const tag[3] = {"left", "middle", "right"};
    smem_bm_create_option_t option = {.maxDramSize = 2 * MIB,
                                      .localDRAMSize = 2 * MIB,
                                      .dataOpType = (smem_bm_data_op_type)r->op};
    snprintf(option.tag, sizeof(option.tag), "%s", tag[r->rank]);
    snprintf(option.tagOpInfo, sizeof(option.tagOpInfo), "left:%s:middle,middle:%s:right",
             op_name(r), op_name(r));
    smem_bm_t pool = smem_bm_create2(POOL, &option);
    CHECK(r, pool != NULL);
    CHECK_OK(r, smem_bm_join(pool, 0));
    bm_pattern(bytes, sizeof(bytes), r->rank);
    CHECK_OK(r, copy_to(r, pool, r->rank));
    bm_barrier(r);
    if (r->rank == 1) {
        char *left = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
        char *right = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 2);
        smem_copy_params p = {
            .src = left, .dest = right + 2 * sizeof(bytes), .dataSize = sizeof(bytes)};
        CHECK_OK(r, smem_bm_copy(pool, &p, SMEMB_COPY_G2G, 0));
    } else {
        check_refused(r, pool, 2 - r->rank, "have no operator");
    }
    bm_barrier(r);
    if (r->rank == 2) {
        bm_pattern(bytes, sizeof(bytes), 0);
        CHECK_OK(r, copy_from(r, pool, 2));
        CHECK(r, memcmp(bytes, back, sizeof(back)) == 0);
    }
    bm_barrier(r);
    smem_bm_destroy(pool);
}

const struct bm_case bm_tag_cases[] = {
    {.name = "tags: groups reach whom they name", .ranks = 4, .fn = groups},
    {.name = "tags: named by one side only", .ranks = 2, .fn = one_sided},
    {.name = "tags: the default tag", .ranks = 2, .fn = default_tag},
    {.name = "tags: one between two", .ranks = 3, .fn = go_between},
    {.name = NULL},
};
