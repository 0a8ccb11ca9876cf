// SPDX-License-Identifier: Apache-2.0
// A program in the style of the public tree of February 2026: smem_bm_create2 with tags and a
// descriptor, members set by name, SMEMB_COPY_AUTO, registered buffers, the type names without _t.
#include <cstdint>
#include <cstring>

#include "smem.h"
#include "smem_bm.h"

static uint32_t numa_flags(uint32_t node)
{
    return (1U << SMEM_BM_PERFORMANCE_MODE_FLAG_INDEX) | (node << SMEM_BM_BIND_NUMA_FLAG_INDEX);
}

int main()
{
    const char *url = "tcp://127.0.0.1:8571";
    if (smem_create_config_store(url) != 0) {
        return 1;
    }
    smem_bm_config_t config;
    if (smem_bm_config_init(&config) != 0) {
        return 1;
    }
    config.initTimeout = SMEM_BM_TIMEOUT_MAX;
    config.hcomTlsConfig.tlsEnable = false;
    std::strncpy(config.hcomUrl, "tcp://127.0.0.1/8:9000", sizeof(config.hcomUrl) - 1);
    std::memset(config.storeTlsConfig.caPath, 0, SMEM_TLS_PATH_SIZE);
    if (smem_bm_init(url, SMEM_WORLD_SIZE_MAX, static_cast<uint16_t>(SMEM_INVALID_DEV_ID),
                     &config) != 0) {
        return 1;
    }

    smem_bm_create_option_t option;
    std::memset(&option, 0, sizeof option);
    option.maxDramSize = 1UL << 30;
    option.localDRAMSize = 1UL << 21;
    option.dataOpType =
        static_cast<smem_bm_data_op_type>(SMEMB_DATA_OP_SDMA | SMEMB_DATA_OP_HOST_TCP);
    option.flags = numa_flags(0) | SMEM_BM_FLAG_CREATE_WITH_SHM;
    option.dramShmFd = -1;
    std::strncpy(option.tag, "prefill", sizeof(option.tag) - 1);
    std::strncpy(option.tagOpInfo, "prefill:HOST_TCP:decode", sizeof(option.tagOpInfo) - 1);

    smem_bm_t bm = smem_bm_create2(1, &option);
    if (bm == nullptr) {
        return smem_get_last_err_msg()[0] != '\0' ? 1 : 2;
    }
    smem_bm_mem_type kind = SMEM_MEM_TYPE_HOST;
    smem_bm_copy_type type = SMEMB_COPY_AUTO;
    char local[8] = {};
    uint64_t address = reinterpret_cast<uint64_t>(local);
    smem_bm_register_user_mem(bm, address, sizeof local);
    void *own = smem_bm_ptr_by_mem_type(bm, kind, static_cast<uint16_t>(smem_bm_get_rank_id()));
    smem_copy_params params;
    params.src = local;
    params.dest = own;
    params.dataSize = smem_bm_get_local_mem_size_by_mem_type(bm, kind);
    int32_t rc = smem_bm_copy(bm, &params, type, COPY_EXTEND_FLAG);
    uint32_t rank = smem_bm_get_rank_id_by_gva(bm, own);
    smem_bm_unregister_user_mem(bm, address);
    smem_bm_destroy(bm);
    smem_bm_uninit(0);
    return rc == 0 && rank == 0 ? 0 : 1;
}
