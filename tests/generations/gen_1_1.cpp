// SPDX-License-Identifier: Apache-2.0
// A program as for 1.1: the store with flags, results of single elements, growing a rank's part,
// translation, group events, alarms, and a foreign store backend without queries by prefix.
#include <atomic>
#include <sys/mman.h>

#include "gen.h"

static bool distributed(uint32_t)
{
    return false;
}

static int32_t create(const char *, const char *, uint32_t, void **)
{
    return SMEM_STORE_BACKEND_CODE_INTERNAL;
}

static void destroy(void *)
{
}

static int32_t put(void *, const char *, const void *, uint64_t, uint32_t)
{
    return SMEM_STORE_BACKEND_CODE_PERM;
}

static int32_t get(void *, const char *, void *, uint64_t, uint32_t, uint64_t *)
{
    return SMEM_STORE_BACKEND_CODE_NOENT;
}

static int32_t remove_key(void *, const char *, uint32_t)
{
    return SMEM_STORE_BACKEND_CODE_OK;
}

static int32_t lock(void *, const char *, uint32_t)
{
    return SMEM_STORE_BACKEND_CODE_LOCKED;
}

static std::atomic<uint32_t> joins, leaves, alarms;

static void on_event(smem_bm_t handle, uint32_t rank, smem_bm_group_event_t event, void *context)
{
    CHECK(handle != nullptr && context == &joins && rank < gen_world && rank != gen_rank);
    CHECK(event < SMEM_MEMBER_EVENT_BUTT);
    (event == SMEM_GROUP_EVENT_JOIN ? joins : leaves)++;
}

static void on_alarm(uint16_t code, const char *msg)
{
    alarms += code != 0 && msg != nullptr;
}

static void on_resume(uint16_t)
{
}

static void common_calls()
{
    gen_common_calls();
    smem_conf_store_backend_op_t backend;
    memset(&backend, 0, sizeof backend);
    CHECK(smem_config_store_set_backend_op(nullptr) == SMEM_INVALID_PARAM);
    backend.distributed = distributed;
    backend.create = create;
    backend.destroy = destroy;
    backend.put = put;
    backend.get = get;
    backend.remove = remove_key;
    backend.lock = backend.try_lock = backend.unlock = lock;
    /* Without prefix_get, which that generation did not have; taken, or refused by name. */
    int32_t rc = smem_config_store_set_backend_op(&backend);
    CHECK(rc == SMEM_OK || rc == SMEM_ERROR);
    CHECK(smem_set_extern_alarm(nullptr, on_resume) == SMEM_INVALID_PARAM);
    CHECK(smem_set_extern_alarm(on_alarm, on_resume) == SMEM_OK);
    /* A store beside the one of the job. */
    CHECK(smem_create_config_store("tcp://127.0.0.1:0", SMEM_STORE_SKIP_RECOVER) == SMEM_OK);
    smem_destroy_config_store("tcp://127.0.0.1:0");
    CHECK(smem_bm_update_store_url(gen_url) == SMEM_NOT_INIT);
    CHECK(smem_bm_extend_local_mem(nullptr, SMEM_MEM_TYPE_HOST, 2 * GEN_MIB) == SMEM_INVALID_PARAM);
}

static smem_bm_t start()
{
    smem_bm_config_t config;
    smem_bm_config_init(&config);
    config.autoRanking = false;
    config.rankId = gen_rank; /* 32 bits by now */
    config.startConfigStoreServer = false;
    CHECK(smem_bm_init(gen_url, gen_world, 0, &config) == SMEM_OK);
    CHECK(smem_bm_update_store_url(nullptr) == SMEM_INVALID_PARAM);
    CHECK(smem_bm_update_store_url(gen_url) == SMEM_OK);
    smem_bm_create_option_t option = {};
    option.maxDramSize = 6 * GEN_MIB;
    option.localDRAMSize = 2 * GEN_MIB;
    option.dataOpType = SMEMB_DATA_OP_HOST_SHM;
    option.enable56BitsGva = false;
    smem_bm_t bm = smem_bm_create2(63, &option);
    CHECK(bm != nullptr);
    return bm;
}

/* Both ranks grow while the other one has them; copies go over the seam. */
static void extend(smem_bm_t bm)
{
    static char here[GEN_BYTES], back[GEN_BYTES];
    uint32_t peer = 1 - gen_rank;
    char *seam = gen_part(bm, peer) + 2 * GEN_MIB - GEN_BYTES / 2;
    gen_step(bm, 10);
    CHECK(gen_copy(bm, here, seam, sizeof here, SMEMB_COPY_H2G, 0) < 0); /* nobody gave that yet */
    gen_step(bm, 11);
    CHECK(smem_bm_extend_local_mem(bm, SMEM_MEM_TYPE_HOST, 2 * GEN_MIB) == SMEM_OK);
    CHECK(smem_bm_get_local_mem_size_by_mem_type(bm, SMEM_MEM_TYPE_HOST) == 4 * GEN_MIB);
    gen_step(bm, 12);
    gen_fill(here, sizeof here, 40 + gen_rank);
    CHECK(gen_copy(bm, here, seam, sizeof here, SMEMB_COPY_H2G, 0) == SMEM_OK);
    CHECK(gen_copy(bm, seam, back, sizeof back, SMEMB_COPY_G2H, 0) == SMEM_OK);
    CHECK(gen_is(back, sizeof back, 40 + gen_rank));
    gen_step(bm, 13);
    CHECK(gen_is(gen_part(bm, gen_rank) + 2 * GEN_MIB - GEN_BYTES / 2, GEN_BYTES, 40 + peer));
    CHECK(smem_bm_extend_local_mem(bm, SMEM_MEM_TYPE_HOST, 4 * GEN_MIB) < 0); /* beyond the max */
    CHECK(smem_bm_extend_local_mem(bm, SMEM_MEM_TYPE_HOST, 1) == SMEM_INVALID_PARAM);
    gen_step(bm, 14);
}

static void translate(smem_bm_t bm)
{
    void *va = nullptr;
    char *there = gen_part(bm, 1 - gen_rank);
    CHECK(smem_bm_gva_to_va(bm, gen_part(bm, gen_rank), SMEM_MEM_TYPE_LOCAL_HOST, &va) == SMEM_OK);
    CHECK(va != nullptr);
    CHECK(smem_bm_gva_to_va(bm, there + 4096, SMEM_MEM_TYPE_LOCAL_HOST, &va) == SMEM_OK);
    memcpy(va, "stored", 7); /* by an ordinary store */
    char back[8] = "";
    CHECK(gen_copy(bm, there + 4096, back, 7, SMEMB_COPY_AUTO, 0) == SMEM_OK);
    CHECK(strcmp(back, "stored") == 0);
    CHECK(smem_bm_gva_to_va(bm, there, SMEM_MEM_TYPE_LOCAL_DEVICE, &va) < 0);
    CHECK(smem_bm_gva_to_va(bm, back, SMEM_MEM_TYPE_LOCAL_HOST, &va) < 0);
}

/* One element is wrong, the others are done. */
static void partial(smem_bm_t bm)
{
    static char here[4][4096], back[4][4096];
    char *there = gen_part(bm, 1 - gen_rank) + 8 * GEN_BYTES;
    void *sources[4], *targets[4];
    uint64_t sizes[4] = {4096, 4096, 4096, 4096};
    int32_t codes[4] = {1, 1, 1, 1};
    for (uint32_t i = 0; i < 4; i++) {
        gen_fill(here[i], 4096, 60 + i);
        sources[i] = here[i];
        targets[i] = there + i * 4096;
    }
    targets[2] = there + 5 * GEN_MIB; /* in its slot, but nobody gave it */
    smem_batch_copy_params batch = {sources, targets, sizes, 4, nullptr};
    smem_batch_copy_result result = {codes, 4};
    CHECK(smem_bm_copy_batch_partial_succeed(bm, &batch, SMEMB_COPY_AUTO, 0, &result) ==
          SMEM_PARTIAL_FAILED);
    CHECK(codes[0] == SMEM_OK && codes[1] == SMEM_OK && codes[2] < 0 && codes[3] == SMEM_OK);
    for (uint32_t i = 0; i < 4; i += i == 1 ? 2 : 1) {
        CHECK(gen_copy(bm, there + i * 4096, back[i], 4096, SMEMB_COPY_G2H, 0) == SMEM_OK);
        CHECK(gen_is(back[i], 4096, 60 + i));
    }
    targets[2] = there + 2 * 4096;
    CHECK(smem_bm_copy_batch_partial_succeed(bm, &batch, SMEMB_COPY_AUTO, 0, &result) == SMEM_OK);
    CHECK(smem_bm_copy_batch_partial_succeed(bm, &batch, SMEMB_COPY_AUTO, 0, nullptr) < 0);
}

/* Memory of the program's own; only that it is taken. */
static void by_descriptor()
{
    smem_bm_create_option_t option = {};
    option.maxDramSize = option.localDRAMSize = 2 * GEN_MIB;
    option.dataOpType = SMEMB_DATA_OP_HOST_SHM;
    option.flags = SMEM_BM_FLAG_CREATE_WITH_SHM;
    option.dramShmFd = memfd_create("generation", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(option.dramShmFd >= 0);
    smem_bm_t bm = smem_bm_create2(30 + gen_rank, &option);
    CHECK(bm != nullptr);
    gen_part(bm, gen_rank)[100] = 'x';
    char back = 0;
    CHECK(pread(option.dramShmFd, &back, 1, 100) == 1 && back == 'x');
    smem_bm_destroy(bm);
    close(option.dramShmFd);
}

int main()
{
    gen_start();
    CHECK(gen_world == 2);
    common_calls();
    smem_bm_t bm = start();
    CHECK(smem_bm_set_group_event_handler(bm, on_event, &joins) == SMEM_OK);
    CHECK(smem_bm_join(bm, 0) == SMEM_OK);
    gen_step(bm, 1);
    while (joins == 0) { /* the other rank */
        usleep(1000);
    }
    translate(bm);
    partial(bm);
    extend(bm);
    by_descriptor();
    gen_own_pool(40 + gen_rank);
    gen_end(bm);
    CHECK(leaves <= 1 && alarms == 0);
    CHECK(smem_bm_set_group_event_handler(bm, nullptr, nullptr) == SMEM_OK);
    CHECK(smem_bm_leave(bm, 0) == SMEM_OK);
    smem_bm_destroy(bm);
    smem_bm_uninit(0);
    smem_uninit();
    return 0;
}
