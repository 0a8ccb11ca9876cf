// SPDX-License-Identifier: Apache-2.0
// A program as for 1.0.x: the store with one argument, a 16-bit rank, pools by size alone, copies
// of three members, wait, and its own definition of ASYNC_COPY_FLAG.
#include "gen.h"

#define ASYNC_COPY_FLAG (1UL << (0))

static int decrypt(const char *cipher, size_t cipherLen, char *plain, size_t &plainLen)
{
    if (cipherLen > plainLen) {
        return -1;
    }
    memcpy(plain, cipher, cipherLen);
    plainLen = cipherLen;
    return 0;
}

static unsigned lines;

static void log_line(int level, const char *msg)
{
    lines += level >= 0 && msg != nullptr;
}

static void common_calls()
{
    CHECK(smem_init(0) == 0);
    CHECK(smem_set_extern_logger(log_line) == 0);
    CHECK(smem_set_extern_logger(nullptr) != 0);
    for (int level = 0; level <= 4; level++) {
        CHECK(smem_set_log_level(level) == 0);
    }
    CHECK(smem_set_log_level(9) < 0);
    CHECK(smem_set_log_level(3) == 0);
    /* A key asks for TLS, which is refused, not forgotten: the program takes it back. */
    (void)smem_set_config_store_tls_key("key", 3, "password", 8, decrypt);
    CHECK(smem_set_conf_store_tls(false, nullptr, 0) == 0);
    CHECK(smem_create_config_store(nullptr) < 0);
    CHECK(strlen(smem_get_last_err_msg()) > 0);
    CHECK(strlen(smem_get_and_clear_last_err_msg()) > 0);
    CHECK(strlen(smem_get_last_err_msg()) == 0);
}

static void start(uint16_t rank)
{
    if (rank == 0) {
        CHECK(smem_create_config_store(gen_url) == 0);
        CHECK(smem_create_config_store(gen_url) == 0);
    }
    smem_bm_config_t config;
    CHECK(smem_bm_config_init(&config) == 0);
    CHECK(config.initTimeout == 120 && config.createTimeout == 120);
    CHECK(config.unifiedAddressSpace && config.autoRanking && !config.dynamicWorldSize);
    config.autoRanking = false;
    config.rankId = rank;
    config.startConfigStoreServer = false;
    config.startConfigStoreOnly = false;
    config.flags = 0;
    config.hcomUrl[0] = '\0';
    config.hcomTlsConfig.tlsEnable = false;
    memset(config.storeTlsConfig.caPath, 0, SMEM_TLS_PATH_SIZE);
    CHECK(smem_bm_init(gen_url, gen_world, 0, &config) == 0);
    CHECK(smem_bm_init(gen_url, gen_world, 0, &config) == 0);
    CHECK(smem_bm_get_rank_id() == rank);
}

static void copies(smem_bm_t bm, uint16_t rank)
{
    static char here[GEN_BYTES], back[GEN_BYTES];
    uint16_t peer = (uint16_t)((rank + 1) % gen_world);
    char *own = gen_part(bm, rank), *there = gen_part(bm, peer);
    CHECK(smem_bm_get_rank_id_by_gva(bm, there + 5) == peer);
    CHECK(smem_bm_get_rank_id_by_gva(bm, here) == UINT32_MAX);
    gen_step(bm, 1); /* who has not joined cannot be reached */
    gen_fill(here, sizeof here, rank);
    smem_copy_params one = {here, there, sizeof here};
    CHECK(smem_bm_copy(bm, &one, SMEMB_COPY_H2G, 0) == 0);
    CHECK(gen_copy(bm, there, back, sizeof back, SMEMB_COPY_G2H, COPY_EXTEND_FLAG) == 0);
    CHECK(gen_is(back, sizeof back, rank));
    gen_step(bm, 2);
    CHECK(
        gen_is(own, GEN_BYTES, (rank + gen_world - 1) % gen_world)); /* what the other one wrote */
    gen_step(bm, 3);

    CHECK(gen_copy(bm, here, there + GEN_BYTES, sizeof here, SMEMB_COPY_H2GH, ASYNC_COPY_FLAG) ==
          0);
    CHECK(smem_bm_wait(bm) == 0);
    CHECK(smem_bm_wait(bm) == 0); /* with nothing to wait for */
    CHECK(gen_copy(bm, there + GEN_BYTES, there + 2 * GEN_BYTES, sizeof here, SMEMB_COPY_G2G, 0) ==
          0);
    memset(back, 0, sizeof back);
    CHECK(gen_copy(bm, there + 2 * GEN_BYTES, back, sizeof back, SMEMB_COPY_GH2H, 0) == 0);
    CHECK(gen_is(back, sizeof back, rank));

    void *sources[4], *targets[4];
    uint64_t sizes[4];
    for (uint32_t i = 0; i < 4; i++) {
        sources[i] = here + i * 1000;
        targets[i] = there + 3 * GEN_BYTES + i * 1000;
        sizes[i] = 1000;
    }
    smem_batch_copy_params batch = {sources, targets, sizes, 4};
    CHECK(smem_bm_copy_batch(bm, &batch, SMEMB_COPY_H2G, 0) == 0);
    memset(back, 0, sizeof back);
    CHECK(gen_copy(bm, there + 3 * GEN_BYTES, back, 4000, SMEMB_COPY_G2H, 0) == 0);
    CHECK(memcmp(here, back, 4000) == 0);
    uint64_t addr = reinterpret_cast<uint64_t>(here);
    CHECK(smem_bm_register_user_mem(bm, addr, sizeof here) == 0);
    CHECK(smem_bm_register_user_mem(bm, addr, sizeof here) == 0);
    CHECK(gen_copy(bm, here, there, sizeof here, SMEMB_COPY_H2G, 0) == 0);
    CHECK(smem_bm_unregister_user_mem(bm, addr) == 0);
    CHECK(smem_bm_unregister_user_mem(bm, addr) == 0);
    CHECK(gen_copy(bm, here, there, 0, SMEMB_COPY_H2G, 0) < 0);
    CHECK(gen_copy(bm, here, there, 8, SMEMB_COPY_BUTT, 0) < 0);
    CHECK(gen_copy(bm, nullptr, there, 8, SMEMB_COPY_H2G, 0) < 0);
}

/* What only names directions to and from device memory, here where there is none. */
static void device_directions(smem_bm_t bm)
{
    char here[8] = "";
    CHECK(gen_copy(bm, here, gen_part(bm, gen_rank), 8, SMEMB_COPY_L2G, 0) < 0);
    CHECK(gen_copy(bm, gen_part(bm, gen_rank), here, 8, SMEMB_COPY_G2L, 0) < 0);
    CHECK(gen_copy(bm, here, gen_part(bm, gen_rank), 8, SMEMB_COPY_L2GH, 0) < 0);
    CHECK(gen_copy(bm, gen_part(bm, gen_rank), here, 8, SMEMB_COPY_GH2L, 0) < 0);
    CHECK(smem_bm_ptr_by_mem_type(bm, SMEM_MEM_TYPE_DEVICE, 0) == nullptr);
    CHECK(smem_bm_ptr_by_mem_type(bm, SMEM_MEM_TYPE_LOCAL_HOST, 0) == nullptr);
    CHECK(smem_bm_ptr_by_mem_type(bm, SMEM_MEM_TYPE_LOCAL_DEVICE, 0) == nullptr);
    CHECK(smem_bm_ptr_by_mem_type(bm, SMEM_MEM_TYPE_BUTT, 0) == nullptr);
    CHECK(smem_bm_ptr_by_mem_type(bm, SMEM_MEM_TYPE_HOST, (uint16_t)gen_world) == nullptr);
}

int main()
{
    gen_start();
    uint16_t rank = (uint16_t)gen_rank;
    CHECK(SMEM_WORLD_SIZE_MAX == 1024U && SMEM_INVALID_DEV_ID == -1);
    CHECK(SMEM_BM_TIMEOUT_MAX == UINT32_MAX && SMEMB_DATA_OP_BUTT > SMEMB_DATA_OP_HOST_SHM);
    CHECK(SMEMB_DATA_OP_HOST_RDMA == 2 && SMEMB_DATA_OP_HOST_TCP == 4);
    CHECK(SMEMB_DATA_OP_DEVICE_RDMA == 8 && SMEMB_DATA_OP_HOST_URMA == 16);
    CHECK(smem_bm_join(nullptr, 0) < 0 && smem_bm_wait(nullptr) < 0);
    common_calls();
    start(rank);

    smem_bm_t bm = smem_bm_create(0, gen_world, SMEMB_DATA_OP_HOST_SHM, 2 * GEN_MIB, 0, 0);
    CHECK(bm != nullptr);
    CHECK(smem_bm_create(0, gen_world, SMEMB_DATA_OP_HOST_SHM, 2 * GEN_MIB, 0, 0) == nullptr);
    uint32_t flags =
        (1U << SMEM_BM_PERFORMANCE_MODE_FLAG_INDEX) | (0U << SMEM_BM_BIND_NUMA_FLAG_INDEX);
    CHECK(SMEM_BM_BIND_NUMA_FLAG_LEN == 7 && SMEM_BM_PERFORMANCE_MODE_FLAG_LEN == 1);
    smem_bm_t bound = smem_bm_create(1, gen_world, SMEMB_DATA_OP_SDMA, 2 * GEN_MIB, 0, flags);
    CHECK(bound != nullptr && gen_part(bound, rank) != nullptr);
    memset(gen_part(bound, rank), 1, 4096); /* its own part, before it joins */
    smem_bm_destroy(bound);

    CHECK(smem_bm_get_local_mem_size_by_mem_type(bm, SMEM_MEM_TYPE_HOST) == 2 * GEN_MIB);
    CHECK(smem_bm_get_local_mem_size_by_mem_type(bm, SMEM_MEM_TYPE_DEVICE) == 0);
    char byte = 1;
    CHECK(gen_copy(bm, &byte, gen_part(bm, 0), 1, SMEMB_COPY_H2G, 0) < 0); /* has not joined */
    CHECK(smem_bm_leave(bm, 0) == 0);                                      /* nor has it to leave */
    CHECK(smem_bm_join(bm, 0) == 0);
    CHECK(smem_bm_join(bm, 0) == 0); /* twice */
    copies(bm, rank);
    device_directions(bm);
    gen_end(bm);
    CHECK(smem_bm_leave(bm, 0) == 0);
    CHECK(smem_bm_leave(bm, 0) == 0);
    if (rank == 0) { /* its store is still there */
        CHECK(smem_bm_join(bm, 0) == 0);
    }
    smem_bm_destroy(bm);
    smem_bm_destroy(bm); /* a stale handle */
    CHECK(smem_bm_join(bm, 0) < 0);
    smem_bm_uninit(0);
    smem_bm_uninit(0);
    smem_uninit();
    return 0;
}
