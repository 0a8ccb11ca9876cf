// SPDX-License-Identifier: Apache-2.0
// A program in the style of the 1.0.x releases: one-argument smem_create_config_store, a 16-bit
// rank, copies without a stream, operators up to HOST_SHM, ASYNC_COPY_FLAG defined once more by the
// program.
#include <cstdint>
#include <cstdlib>

#include "smem.h"
#include "smem_bm.h"

#define ASYNC_COPY_FLAG (1UL << (0))

static int decrypt(const char *cipher, size_t cipherLen, char *plain, size_t &plainLen)
{
    if (cipherLen > plainLen) {
        return -1;
    }
    for (size_t i = 0; i < cipherLen; i++) {
        plain[i] = cipher[i];
    }
    plainLen = cipherLen;
    return 0;
}

static void log_line(int level, const char *msg)
{
    (void)level;
    (void)msg;
}

int main()
{
    const char *url = "tcp://127.0.0.1:8570";
    uint16_t rank = 1;

    smem_init(0);
    smem_set_log_level(3);
    smem_set_extern_logger(log_line);
    smem_set_conf_store_tls(false, nullptr, 0);
    smem_set_config_store_tls_key("key", 3, "password", 8, decrypt);
    if (smem_create_config_store(url) != 0) {
        return EXIT_FAILURE;
    }

    smem_bm_config_t config;
    smem_bm_config_init(&config);
    config.autoRanking = false;
    config.rankId = rank;
    config.startConfigStoreServer = false;
    if (smem_bm_init(url, 2, 0, &config) != 0) {
        return EXIT_FAILURE;
    }

    smem_bm_t bm = smem_bm_create(0, 2, SMEMB_DATA_OP_HOST_SHM, 1UL << 21, 0, 0);
    smem_bm_join(bm, 0);
    char local[64] = {};
    void *remote = smem_bm_ptr_by_mem_type(bm, SMEM_MEM_TYPE_HOST, 0);
    smem_copy_params one = {local, remote, sizeof local};
    smem_bm_copy(bm, &one, SMEMB_COPY_H2G, ASYNC_COPY_FLAG);
    smem_bm_wait(bm);

    void *sources[1] = {remote};
    void *targets[1] = {local};
    uint64_t sizes[1] = {sizeof local};
    smem_batch_copy_params batch = {sources, targets, sizes, 1};
    smem_bm_copy_batch(bm, &batch, SMEMB_COPY_G2H, 0);

    smem_bm_leave(bm, 0);
    smem_bm_destroy(bm);
    smem_bm_uninit(0);
    smem_uninit();
    return EXIT_SUCCESS;
}
