// SPDX-License-Identifier: Apache-2.0
// Two ranks share one pool. Rank 0 copies a text into the memory of rank 1, then a word that says
// that the text is there. Run it as two ranks: mfcli run -n 2 -- ./first
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "smem_bm.h"

static void must(int rc, const char *what)
{
    if (rc != SMEM_OK) {
        fprintf(stderr, "%s: %d: %s\n", what, rc, smem_get_last_err_msg());
        exit(1);
    }
}

static int copy(smem_bm_t pool, const void *src, void *dst, size_t size, smem_bm_copy_type_t type)
{
    smem_copy_params_t params = {.src = src, .dest = dst, .dataSize = size};
    return smem_bm_copy(pool, &params, type, 0);
}

int main(void)
{
    const char *url = getenv("MF_CONFIG_STORE_URL"), *rank = getenv("MF_RANK");
    char text[64] = "hello from rank 0";
    uint64_t word = 1;
    smem_bm_config_t config;
    smem_bm_config_init(&config);
    config.autoRanking = false;
    config.rankId = rank != NULL ? (uint32_t)strtoul(rank, NULL, 10) : 0;
    must(smem_bm_init(url, 2, 0, &config), "init");

    uint64_t size = 64ull << 20; /* what each rank gives, bytes */
    smem_bm_t pool = smem_bm_create(0, 2, SMEMB_DATA_OP_SDMA, size, 0, 0);
    must(pool != NULL ? SMEM_OK : smem_get_last_err_code(), "create");
    must(smem_bm_join(pool, 0), "join");
    char *part0 = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
    char *part1 = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 1);

    if (config.rankId == 0) {
        int rc = SMEM_NOT_CONNECTED; /* rank 1 has not joined yet */
        for (; rc == SMEM_NOT_CONNECTED; usleep(1000)) {
            rc = copy(pool, text, part1, sizeof(text), SMEMB_COPY_H2G);
        }
        must(rc, "copy the text");
        must(copy(pool, &word, part1 + 64, sizeof(word), SMEMB_COPY_H2G), "copy the word");
    } else {
        while (__atomic_load_n((uint64_t *)(part1 + 64), __ATOMIC_ACQUIRE) != 1) {
            usleep(1000); /* our own part is ordinary memory */
        }
        printf("%s\n", part1);
        /* Stay until rank 0 has left: then its copies have returned. */
        while (copy(pool, part0, &word, sizeof(word), SMEMB_COPY_G2H) == SMEM_OK) {
            usleep(1000);
        }
    }
    smem_bm_destroy(pool);
    smem_bm_uninit(0);
    return 0;
}
