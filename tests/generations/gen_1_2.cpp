// SPDX-License-Identifier: Apache-2.0
// A program as for 1.2: the code of the last error, new flags of create, queries by prefix of a
// foreign backend, group events, and ranks that the store hands out.
#include <atomic>
#include <mutex>
#include <vector>

#include "gen.h"

struct log_of_events {
    std::mutex lock;
    std::vector<int> told; /* rank + 1, negative for a leave */
};

static void on_event(smem_bm_t, uint32_t rank, smem_bm_group_event_t event, void *context)
{
    log_of_events *events = static_cast<log_of_events *>(context);
    std::lock_guard<std::mutex> guard(events->lock);
    events->told.push_back(event == SMEM_GROUP_EVENT_JOIN ? (int)rank + 1 : -(int)rank - 1);
}

static size_t count_of(log_of_events &events)
{
    std::lock_guard<std::mutex> guard(events.lock);
    return events.told.size();
}

static int32_t prefix_get(void *, const smem_store_prefix_get_ctx_t *ctx, uint32_t)
{
    return ctx->fill("key", "value", 5, ctx->context) ? SMEM_STORE_BACKEND_CODE_OK
                                                      : SMEM_STORE_BACKEND_CODE_BUFEX;
}

static std::atomic<unsigned> alarms, resumes;

static void on_alarm(uint16_t, const char *)
{
    alarms++;
}

static void on_resume(uint16_t)
{
    resumes++;
}

static void codes()
{
    gen_common_calls();
    CHECK(smem_set_extern_alarm(on_alarm, on_resume) == SMEM_OK);
    CHECK(smem_create_config_store("tcp://127.0.0.1:0", SMEM_STORE_SKIP_RECOVER) == SMEM_OK);
    smem_destroy_config_store("tcp://127.0.0.1:0");
    (void)smem_get_and_clear_last_err_msg();
    CHECK(smem_get_last_err_code() == SMEM_OK);
    CHECK(smem_bm_init(nullptr, 0, 0, nullptr) == SMEM_INVALID_PARAM);
    CHECK(smem_get_last_err_code() == SMEM_INVALID_PARAM);
    CHECK(smem_bm_create(0, 1, SMEMB_DATA_OP_SDMA, 2 * GEN_MIB, 0, 0) == nullptr);
    CHECK(smem_get_last_err_code() == SMEM_NOT_INIT);
    (void)smem_get_and_clear_last_err_msg();
    CHECK(smem_get_last_err_code() == SMEM_OK);
    smem_conf_store_backend_op_t backend = {};
    backend.prefix_get = prefix_get; /* and nothing else */
    CHECK(smem_config_store_set_backend_op(&backend) == SMEM_INVALID_PARAM);
}

static smem_bm_t start()
{
    smem_bm_config_t config;
    smem_bm_config_init(&config);
    CHECK(config.controlOperationTimeout == 900);
    config.controlOperationTimeout = 60;
    config.autoRanking = true; /* the store hands out a rank, whatever the launcher says */
    config.dynamicWorldSize = true;
    config.startConfigStoreServer = false;
    CHECK(smem_bm_init(gen_url, gen_world, 0, &config) == SMEM_OK);
    gen_rank = smem_bm_get_rank_id();
    CHECK(gen_rank < gen_world);
    smem_bm_create_option_t option = {};
    option.flags = SMEM_BM_FLAG_CREATE_WITH_SHM; /* without a descriptor */
    option.dramShmFd = -1;
    option.maxDramSize = option.localDRAMSize = 2 * GEN_MIB;
    option.dataOpType = SMEMB_DATA_OP_SDMA;
    CHECK(smem_bm_create2(12, &option) == nullptr);
    CHECK(smem_get_last_err_code() == SMEM_INVALID_PARAM);
    option.maxDramSize = 8 * GEN_MIB;
    option.localDRAMSize = 2 * GEN_MIB;
    option.dataOpType = (smem_bm_data_op_type)(SMEMB_DATA_OP_SDMA | SMEMB_DATA_OP_DEVICE_URMA |
                                               SMEMB_DATA_OP_DEVICE_UBOE);
    option.flags = SMEM_BM_FLAG_DRAM_MAP_HOST_VA | SMEM_BM_FLAG_DRAM_BEST_EFFORT |
                   (1U << SMEM_BM_PERFORMANCE_MODE_FLAG_INDEX) |
                   SMEM_BM_BIND_NUMA_AUTO_AFFINITY_FLAG;
    smem_bm_t bm = smem_bm_create2(12, &option);
    CHECK(bm != nullptr);
    return bm;
}

/* Every rank writes a row into each other's part and reads its column. */
static void exchange(smem_bm_t bm, uint32_t seed)
{
    static char here[GEN_BYTES];
    for (uint32_t rank = 0; rank < gen_world; rank++) {
        gen_fill(here, sizeof here, seed + gen_rank * 16 + rank);
        CHECK(gen_copy(bm, here, gen_part(bm, rank) + gen_rank * GEN_BYTES, sizeof here,
                       SMEMB_COPY_AUTO, rank % 2 ? ASYNC_COPY_FLAG : 0) == SMEM_OK);
        CHECK(smem_bm_wait(bm) == SMEM_OK);
    }
    gen_step(bm, seed);
    for (uint32_t rank = 0; rank < gen_world; rank++) {
        CHECK(gen_is(gen_part(bm, gen_rank) + rank * GEN_BYTES, GEN_BYTES,
                     seed + rank * 16 + gen_rank));
    }
    gen_step(bm, seed + 1);
}

int main()
{
    gen_start();
    codes();
    smem_bm_t bm = start();
    log_of_events events;
    CHECK(smem_bm_join(bm, 0) == SMEM_OK);
    gen_step(bm, 1);
    CHECK(smem_bm_set_group_event_handler(bm, on_event, &events) == SMEM_OK);
    while (count_of(events) < gen_world - 1) { /* who is there is told to a late handler, too */
        usleep(1000);
    }
    exchange(bm, 10);
    CHECK(smem_bm_extend_local_mem(bm, SMEM_MEM_TYPE_HOST, 4 * GEN_MIB) == SMEM_OK);
    gen_step(bm, 20);
    char *last = gen_part(bm, (gen_rank + 1) % gen_world) + 6 * GEN_MIB - 8;
    uint64_t word = gen_rank, back = 0;
    CHECK(gen_copy(bm, &word, last, 8, SMEMB_COPY_H2G, 0) == SMEM_OK);
    CHECK(gen_copy(bm, last, &back, 8, SMEMB_COPY_G2H, 0) == SMEM_OK && back == word);
    void *va = nullptr;
    CHECK(smem_bm_gva_to_va(bm, last, SMEM_MEM_TYPE_LOCAL_DEVICE, &va) < 0); /* there is none */
    CHECK(smem_bm_gva_to_va(bm, last, SMEM_MEM_TYPE_LOCAL_HOST, &va) == SMEM_OK);
    CHECK(memcmp(va, &word, 8) == 0);
    CHECK(smem_bm_update_store_url(gen_url) == SMEM_OK);
    exchange(bm, 30);
    gen_own_pool(40 + gen_rank);
    CHECK(alarms == 0 && resumes == 0);
    gen_end(bm);
    CHECK(smem_bm_leave(bm, 0) == SMEM_OK);
    CHECK(gen_copy(bm, &word, last, 8, SMEMB_COPY_H2G, 0) == SMEM_NOT_STARTED);
    CHECK(smem_get_last_err_code() == SMEM_NOT_STARTED);
    smem_bm_destroy(bm); /* with a handler */
    smem_bm_uninit(0);
    smem_uninit();
    std::lock_guard<std::mutex> guard(events.lock);
    for (size_t i = 0; i + 1 < gen_world; i++) {
        CHECK(events.told[i] > 0 && events.told[i] != (int)gen_rank + 1);
    }
    return 0;
}
