// SPDX-License-Identifier: Apache-2.0
// A program as for the public tree of February 2026: pools by option (set by name), tags, memory by
// descriptor, the direction AUTO, a 16-bit rank, and copies of three members.
#include <sys/mman.h>

#include "gen.h"

static smem_bm_create_option_t basic_option()
{
    smem_bm_create_option_t option;
    memset(&option, 0, sizeof option);
    option.maxDramSize = 4 * GEN_MIB;
    option.maxHbmSize = 0;
    option.localDRAMSize = 2 * GEN_MIB;
    option.localHBMSize = 0;
    option.dataOpType = SMEMB_DATA_OP_SDMA;
    option.flags = 0;
    option.dramShmFd = -1;
    return option;
}

static void start(uint16_t rank)
{
    gen_common_calls();
    if (rank == 0) {
        CHECK(smem_create_config_store(gen_url) == 0);
    }
    smem_bm_config_t config;
    smem_bm_config_init(&config);
    config.initTimeout = config.createTimeout = config.controlOperationTimeout = 60;
    config.autoRanking = false;
    config.rankId = rank;
    config.startConfigStoreServer = rank == 0;
    CHECK(smem_bm_init(gen_url, gen_world, 0, &config) == 0);
    CHECK(smem_bm_get_rank_id() == rank);
    CHECK(smem_bm_create2(0, nullptr) == nullptr);
}

/* Ranks 0 and 1 fill, rank 2 empties; the two groups are named to each other. */
static smem_bm_t create_tagged(uint16_t rank)
{
    smem_bm_create_option_t option = basic_option();
    snprintf(option.tag, sizeof option.tag, "%s", rank < 2 ? "prefill" : "decode");
    snprintf(option.tagOpInfo, sizeof option.tagOpInfo,
             "prefill:DEVICE_SDMA:decode,decode:HOST_TCP:prefill");
    smem_bm_t bm = smem_bm_create2(3, &option);
    CHECK(bm != nullptr);
    option.tagOpInfo[0] = '-';
    CHECK(smem_bm_create2(4, &option) == nullptr);
    return bm;
}

static void copies(smem_bm_t bm)
{
    static char here[GEN_BYTES], back[GEN_BYTES];
    uint32_t next = (gen_rank + 1) % gen_world, last = (gen_rank + 2) % gen_world;
    char *there = gen_part(bm, next), *beyond = gen_part(bm, last);
    gen_step(bm, 1); /* who has not joined cannot be reached */
    gen_fill(here, sizeof here, gen_rank);
    CHECK(gen_copy(bm, here, there, sizeof here, SMEMB_COPY_AUTO, 0) == 0);
    gen_step(bm, 2);
    CHECK(gen_is(gen_part(bm, gen_rank), GEN_BYTES, last)); /* by the one before */
    gen_step(bm, 3);
    CHECK(gen_copy(bm, there, beyond + GEN_BYTES * (1 + gen_rank), GEN_BYTES, SMEMB_COPY_AUTO,
                   ASYNC_COPY_FLAG) == 0); /* from one other rank to another */
    CHECK(smem_bm_wait(bm) == 0);
    CHECK(gen_copy(bm, beyond + GEN_BYTES * (1 + gen_rank), back, GEN_BYTES, SMEMB_COPY_AUTO,
                   COPY_EXTEND_FLAG) == 0);
    CHECK(gen_is(back, sizeof back, gen_rank));

    void *sources[3] = {here, there, gen_part(bm, gen_rank)};
    void *targets[3] = {gen_part(bm, gen_rank) + 5 * GEN_BYTES, back, here};
    uint64_t sizes[3] = {4096, 4096, 4096};
    smem_batch_copy_params batch;
    memset(&batch, 0xa5, sizeof batch);
    batch.sources = sources;
    batch.destinations = targets;
    batch.dataSizes = sizes;
    batch.batchSize = 2;
    CHECK(smem_bm_copy_batch(bm, &batch, SMEMB_COPY_AUTO, 0) == 0); /* each in its direction */
    CHECK(memcmp(gen_part(bm, gen_rank) + 5 * GEN_BYTES, here, 4096) == 0);
    batch.batchSize = 0;
    CHECK(smem_bm_copy_batch(bm, &batch, SMEMB_COPY_AUTO, 0) < 0);
}

/* A pool in memory that the program has made itself. */
static void by_descriptor()
{
    int fd = memfd_create("generation", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(fd >= 0);
    smem_bm_create_option_t option = basic_option();
    option.flags = SMEM_BM_FLAG_CREATE_WITH_SHM;
    option.dramShmFd = -1;
    CHECK(smem_bm_create2(9, &option) == nullptr);
    option.dramShmFd = fd;
    smem_bm_t bm = smem_bm_create2(9, &option);
    CHECK(bm != nullptr);
    CHECK(smem_bm_join(bm, 0) == 0);
    char here[64] = "seen through the descriptor", back[64] = "";
    CHECK(gen_copy(bm, here, gen_part(bm, gen_rank) + 4096, sizeof here, SMEMB_COPY_H2G, 0) == 0);
    CHECK(pread(fd, back, sizeof back, 4096) == (ssize_t)sizeof back);
    CHECK(memcmp(here, back, sizeof here) == 0);
    CHECK(smem_bm_leave(bm, 0) == 0);
    smem_bm_destroy(bm);
    CHECK(pread(fd, back, sizeof back, 4096) == (ssize_t)sizeof back);
    CHECK(memcmp(here, back, sizeof here) == 0); /* it stays the program's */
    close(fd);
}

static void user_memory(smem_bm_t bm)
{
    static char buffer[2 * GEN_BYTES];
    CHECK(smem_bm_register_user_mem(bm, (uint64_t)buffer, sizeof buffer) == 0);
    CHECK(smem_bm_register_user_mem(bm, 0, sizeof buffer) < 0);
    CHECK(gen_copy(bm, gen_part(bm, gen_rank), buffer, GEN_BYTES, SMEMB_COPY_G2H, 0) == 0);
    CHECK(smem_bm_unregister_user_mem(bm, (uint64_t)buffer) == 0);
    CHECK(smem_bm_get_rank_id_by_gva(bm, gen_part(bm, 2)) == 2);
    CHECK(smem_bm_get_local_mem_size_by_mem_type(bm, SMEM_MEM_TYPE_HOST) == 2 * GEN_MIB);
    CHECK(gen_part(bm, 1) == gen_part(bm, 0) + 4 * GEN_MIB);
}

int main()
{
    gen_start();
    CHECK(gen_world == 3);
    start((uint16_t)gen_rank);
    smem_bm_t bm = create_tagged((uint16_t)gen_rank);
    CHECK(smem_bm_leave(bm, 0) == 0);
    CHECK(smem_bm_wait(bm) == 0);
    CHECK(smem_bm_join(bm, 0) == 0);
    CHECK(smem_bm_join(bm, 0) == 0);
    copies(bm);
    user_memory(bm);
    by_descriptor();
    gen_own_pool(40 + gen_rank);
    gen_end(bm);
    CHECK(smem_bm_leave(bm, 0) == 0);
    smem_bm_destroy(bm);
    smem_bm_uninit(0);
    smem_uninit();
    CHECK(smem_get_and_clear_last_err_msg() != nullptr);
    return 0;
}
