// SPDX-License-Identifier: Apache-2.0
// What the programs of all generations share and no generation's API has: where the rank runs,
// checks that end the program, a pattern, and steps that all ranks take together. Compiles as C99
// and C++11.
#ifndef MF_GENERATIONS_GEN_H
#define MF_GENERATIONS_GEN_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "smem.h"
#include "smem_bm.h"

#define GEN_MIB   (1024UL * 1024UL)
#define GEN_BYTES 65536u
/** Where in its part a rank keeps the number of the step that it has reached. */
#define GEN_STEP    (GEN_MIB + GEN_MIB / 2)
#define GEN_DONE    1000u
#define GEN_SECONDS 60

static uint32_t gen_rank, gen_world;
static const char *gen_url;

#define CHECK(cond)                                                                         \
    do {                                                                                    \
        if (!(cond)) {                                                                      \
            fprintf(stderr, "%s:%d: rank %u: %s; last error: \"%s\"\n", __FILE__, __LINE__, \
                    (unsigned)gen_rank, #cond, smem_get_last_err_msg());                    \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

static inline uint32_t gen_number(const char *name)
{
    const char *text = getenv(name);
    if (text == NULL) {
        fprintf(stderr, "%s is not set: start this program with mfcli run\n", name);
        exit(2);
    }
    return (uint32_t)strtoul(text, NULL, 10);
}

static inline void gen_start(void)
{
    alarm(GEN_SECONDS);
    gen_rank = gen_number("MF_RANK");
    gen_world = gen_number("MF_WORLD_SIZE");
    gen_url = getenv("MF_CONFIG_STORE_URL");
}

static inline void gen_fill(void *at, size_t size, uint32_t seed)
{
    for (size_t i = 0; i < size; i++) {
        ((unsigned char *)at)[i] = (unsigned char)(i * 7 + i / 251 + seed * 13);
    }
}

static inline int gen_is(const void *at, size_t size, uint32_t seed)
{
    for (size_t i = 0; i < size; i++) {
        if (((const unsigned char *)at)[i] != (unsigned char)(i * 7 + i / 251 + seed * 13)) {
            return 0;
        }
    }
    return 1;
}

/** Start of a rank's host memory. */
static inline char *gen_part(smem_bm_t bm, uint32_t rank)
{
    return (char *)smem_bm_ptr_by_mem_type(bm, SMEM_MEM_TYPE_HOST, (uint16_t)rank);
}

/** A copy as programs of the first generations write it: what they do not know is left as it is. */
static inline int32_t gen_copy(smem_bm_t bm, const void *src, void *dest, size_t size,
                               smem_bm_copy_type type, uint32_t flags)
{
    smem_copy_params params;
    memset(&params, 0xa5, sizeof(params));
    params.src = src;
    params.dest = dest;
    params.dataSize = size;
    return smem_bm_copy(bm, &params, type, flags);
}

static inline void gen_publish(smem_bm_t bm, uint64_t step)
{
    CHECK(gen_copy(bm, &step, gen_part(bm, gen_rank) + GEN_STEP, sizeof(step), SMEMB_COPY_H2G, 0) ==
          0);
}

/** Until the rank has reached the step; 0: it has, else the code of what ended the wait. */
static inline int32_t gen_await(smem_bm_t bm, uint32_t rank, uint64_t step, int gone_is_fine)
{
    for (;;) {
        uint64_t now = 0;
        int32_t rc =
            gen_copy(bm, gen_part(bm, rank) + GEN_STEP, &now, sizeof(now), SMEMB_COPY_G2H, 0);
        if (rc == 0 && now >= step) {
            return 0;
        }
        if (rc != 0 && (gone_is_fine || rc != SMEM_NOT_CONNECTED)) {
            return rc;
        }
        usleep(1000);
    }
}

/* ---- what has been in smem.h and smem_bm.h from the first generation on ---------------------- */

static inline void gen_log_line(int level, const char *msg)
{
    if (level > 3) {
        fprintf(stderr, "%s\n", msg);
    }
}

#ifdef __cplusplus
static inline int gen_decrypt(const char *, size_t, char *, size_t &plainTextLen)
{
    plainTextLen = 0;
    return 0;
}
#else
static inline int gen_decrypt(const char *cipherText, size_t cipherTextLen, char *plainText,
                              size_t *plainTextLen)
{
    (void)cipherText;
    (void)cipherTextLen;
    (void)plainText;
    *plainTextLen = 0;
    return 0;
}
#endif

/** Before smem_bm_init. */
static inline void gen_common_calls(void)
{
    CHECK(ASYNC_COPY_FLAG == 1 && COPY_EXTEND_FLAG == 2);
    CHECK(SMEM_WORLD_SIZE_MAX == 1024 && SMEM_INVALID_DEV_ID == -1);
    CHECK(SMEM_BM_TIMEOUT_MAX == UINT32_MAX && SMEM_TLS_PATH_SIZE == 256);
    CHECK(SMEM_BM_BIND_NUMA_FLAG_INDEX == 0 && SMEM_BM_BIND_NUMA_FLAG_LEN == 7);
    CHECK(SMEM_BM_PERFORMANCE_MODE_FLAG_INDEX == 7 && SMEM_BM_PERFORMANCE_MODE_FLAG_LEN == 1);
    CHECK(smem_init(0) == 0);
    CHECK(smem_set_extern_logger(gen_log_line) == 0 && smem_set_log_level(3) == 0);
    /* A key asks for TLS, which is refused, not forgotten: the program takes it back. */
    (void)smem_set_config_store_tls_key("key", 3, "password", 8, gen_decrypt);
    CHECK(smem_set_conf_store_tls(false, NULL, 0) == 0);
    CHECK(smem_create_config_store(NULL, 0) < 0);
    CHECK(smem_get_last_err_msg()[0] != '\0');
    CHECK(smem_get_and_clear_last_err_msg()[0] != '\0' && smem_get_last_err_msg()[0] == '\0');
}

/** A pool by sizes alone, of this rank alone: every call of the first generation on it. */
static inline void gen_own_pool(uint32_t id)
{
    static char here[4096], back[4096];
    void *sources[2], *targets[2];
    uint64_t sizes[2] = {2048, 2048};
    smem_batch_copy_params batch;
    smem_bm_t bm = smem_bm_create(id, gen_world, SMEMB_DATA_OP_SDMA, 2 * GEN_MIB, 0, 0);
    CHECK(bm != NULL && smem_bm_join(bm, 0) == 0);
    CHECK(smem_bm_get_rank_id() == gen_rank);
    char *own = gen_part(bm, gen_rank);
    CHECK(smem_bm_get_local_mem_size_by_mem_type(bm, SMEM_MEM_TYPE_HOST) == 2 * GEN_MIB);
    CHECK(smem_bm_get_rank_id_by_gva(bm, own) == gen_rank);
    CHECK(smem_bm_ptr_by_mem_type(bm, SMEM_MEM_TYPE_LOCAL_DEVICE, 0) == NULL);
    CHECK(smem_bm_ptr_by_mem_type(bm, SMEM_MEM_TYPE_LOCAL_HOST, 0) == NULL);
    CHECK(smem_bm_ptr_by_mem_type(bm, SMEM_MEM_TYPE_BUTT, 0) == NULL);
    gen_fill(here, sizeof(here), id);
    CHECK(smem_bm_register_user_mem(bm, (uint64_t)(uintptr_t)here, sizeof(here)) == 0);
    CHECK(gen_copy(bm, here, own, sizeof(here), SMEMB_COPY_H2G, COPY_EXTEND_FLAG) == 0);
    CHECK(gen_copy(bm, here, own + 8192, sizeof(here), SMEMB_COPY_H2G, ASYNC_COPY_FLAG) == 0);
    CHECK(smem_bm_wait(bm) == 0 && smem_bm_wait(bm) == 0);
    CHECK(smem_bm_unregister_user_mem(bm, (uint64_t)(uintptr_t)here) == 0);
    memset(&batch, 0xa5, sizeof(batch)); /* what a generation does not know is not set */
    batch.sources = sources;
    batch.destinations = targets;
    batch.dataSizes = sizes;
    batch.batchSize = 2;
    for (int i = 0; i < 2; i++) {
        sources[i] = own + 8192 + i * 2048;
        targets[i] = back + i * 2048;
    }
    CHECK(smem_bm_copy_batch(bm, &batch, SMEMB_COPY_G2H, 0) == 0);
    CHECK(gen_is(back, sizeof(back), id) && memcmp(own, here, sizeof(here)) == 0);
    CHECK(smem_bm_leave(bm, 0) == 0 && smem_bm_leave(bm, 0) == 0);
    smem_bm_destroy(bm);
}

/** All ranks have come this far. */
static inline void gen_step(smem_bm_t bm, uint64_t step)
{
    gen_publish(bm, step);
    for (uint32_t rank = 0; rank < gen_world; rank++) {
        CHECK(rank == gen_rank || gen_await(bm, rank, step, 0) == 0);
    }
}

/** The last step: behind it nobody looks at the other ranks any more, so that all may leave. Rank
 * 0, which may serve the store, returns when all others have left. */
static inline void gen_end(smem_bm_t bm)
{
    gen_publish(bm, GEN_DONE);
    if (gen_rank != 0) {
        CHECK(gen_await(bm, 0, GEN_DONE + 1, 0) == 0);
        return;
    }
    for (uint32_t rank = 1; rank < gen_world; rank++) {
        CHECK(gen_await(bm, rank, GEN_DONE, 0) == 0);
    }
    gen_publish(bm, GEN_DONE + 1);
    for (uint32_t rank = 1; rank < gen_world; rank++) {
        CHECK(gen_await(bm, rank, UINT64_MAX, 1) == SMEM_NOT_CONNECTED);
    }
}

#endif
