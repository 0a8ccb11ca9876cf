// SPDX-License-Identifier: Apache-2.0
// A program in the style of 1.1: flags of the config store, results of single elements, growing a
// rank's part, group events, alarms, a foreign store backend without queries by prefix.
#include <cstdint>
#include <cstring>

#include "smem.h"
#include "smem_bm.h"

static bool distributed(uint32_t flags)
{
    return flags == 0;
}

static void on_event(smem_bm_t handle, uint32_t rank, smem_bm_group_event_t event, void *context)
{
    if (handle != nullptr && event == SMEM_GROUP_EVENT_JOIN) {
        *static_cast<uint32_t *>(context) = rank;
    }
}

static void on_alarm(uint16_t code, const char *msg)
{
    (void)code;
    (void)msg;
}

static void on_resume(uint16_t code)
{
    (void)code;
}

int main()
{
    const char *url = "tcp://127.0.0.1:8572";
    smem_conf_store_backend_op_t backend;
    std::memset(&backend, 0, sizeof backend);
    backend.distributed = distributed;
    smem_config_store_set_backend_op(&backend);
    smem_set_extern_alarm(on_alarm, on_resume);
    smem_create_config_store(url, SMEM_STORE_SKIP_RECOVER);

    smem_bm_config_t config;
    smem_bm_config_init(&config);
    config.rankId = 70000;
    smem_bm_init(url, 2, 0, &config);
    smem_bm_create_option_t option = {};
    option.maxDramSize = 1UL << 22;
    option.localDRAMSize = 1UL << 21;
    option.dataOpType = SMEMB_DATA_OP_HOST_SHM;
    option.enable56BitsGva = false;
    smem_bm_t bm = smem_bm_create2(63, &option);

    uint32_t newest = 0;
    smem_bm_set_group_event_handler(bm, on_event, &newest);
    smem_bm_extend_local_mem(bm, SMEM_MEM_TYPE_HOST, 1UL << 21);
    void *gva = smem_bm_ptr_by_mem_type(bm, SMEM_MEM_TYPE_HOST, 0);
    void *va = nullptr;
    smem_bm_gva_to_va(bm, gva, SMEM_MEM_TYPE_LOCAL_HOST, &va);

    void *sources[2] = {gva, va};
    void *targets[2] = {va, gva};
    const uint64_t sizes[2] = {8, 8};
    smem_batch_copy_params batch = {sources, targets, sizes, 2, nullptr};
    int32_t codes[2] = {0, 0};
    smem_batch_copy_result result = {codes, 2};
    int32_t rc = smem_bm_copy_batch_partial_succeed(bm, &batch, SMEMB_COPY_AUTO, 0, &result);

    smem_bm_update_store_url("tcp://127.0.0.1:8573");
    smem_bm_uninit(0);
    smem_destroy_config_store(url);
    return rc == SMEM_OK || rc == SMEM_PARTIAL_FAILED ? 0 : 1;
}
