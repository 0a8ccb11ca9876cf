// SPDX-License-Identifier: Apache-2.0
// A program in the style of 1.2: a complete store backend with queries by prefix, the operators of
// the unified bus, flags of the pool's DRAM, codes by name, and functions looked up by their exact
// type.
#include <cstdint>

#include "smem.h"
#include "smem_bm.h"

static int32_t prefix_get(void *handle, const smem_store_prefix_get_ctx_t *ctx, uint32_t flags)
{
    (void)handle;
    (void)flags;
    if (ctx == nullptr || ctx->fill == nullptr) {
        return SMEM_STORE_BACKEND_CODE_INVAL;
    }
    return ctx->fill("key", "value", 5, ctx->context) ? SMEM_STORE_BACKEND_CODE_OK
                                                      : SMEM_STORE_BACKEND_CODE_NOENT;
}

static int32_t put(void *, const char *, const void *, uint64_t, uint32_t)
{
    return SMEM_STORE_BACKEND_CODE_NORES;
}

static int32_t get(void *, const char *, void *, uint64_t capacity, uint32_t, uint64_t *size)
{
    *size = 1;
    return capacity < 1 ? SMEM_STORE_BACKEND_CODE_BUFEX : SMEM_STORE_BACKEND_CODE_OK;
}

static int32_t lock_state(void *, const char *, uint32_t)
{
    return SMEM_STORE_BACKEND_CODE_LOCKED;
}

typedef int32_t (*init_fn)(const char *, uint32_t, uint16_t, const smem_bm_config_t *);
typedef smem_bm_t (*create_fn)(uint32_t, uint32_t, smem_bm_data_op_type, uint64_t, uint64_t,
                               uint32_t);
typedef int32_t (*batch_fn)(smem_bm_t, smem_batch_copy_params *, smem_bm_copy_type, uint32_t);
typedef void *(*ptr_fn)(smem_bm_t, smem_bm_mem_type, uint16_t);
typedef int32_t (*store_fn)(const char *, uint64_t);

int main()
{
    smem_conf_store_backend_op_t backend = {};
    backend.put = put;
    backend.get = get;
    backend.prefix_get = prefix_get;
    backend.lock = lock_state;
    backend.try_lock = lock_state;
    backend.unlock = lock_state;
    if (smem_config_store_set_backend_op(&backend) == SMEM_OK) {
        return 1;
    }
    init_fn init = smem_bm_init;
    create_fn create = smem_bm_create;
    batch_fn copy_batch = smem_bm_copy_batch;
    ptr_fn ptr = smem_bm_ptr_by_mem_type;
    store_fn store = smem_create_config_store;

    smem_bm_config_t config;
    smem_bm_config_init(&config);
    if (store("tcp://[::1]:8574", 0) != SMEM_OK ||
        init("tcp://[::1]:8574", 1, 0, &config) == SMEM_NOT_INIT) {
        return smem_get_last_err_code() == SMEM_TIMEOUT ? 2 : 1;
    }
    uint32_t flags = SMEM_BM_FLAG_DRAM_BEST_EFFORT | SMEM_BM_FLAG_DRAM_MAP_HOST_VA |
                     (1U << SMEM_BM_PERFORMANCE_MODE_FLAG_INDEX) |
                     SMEM_BM_BIND_NUMA_AUTO_AFFINITY_FLAG;
    smem_bm_t bm =
        create(2, 1,
               static_cast<smem_bm_data_op_type_t>(SMEMB_DATA_OP_DEVICE_URMA |
                                                   SMEMB_DATA_OP_DEVICE_UBOE | SMEMB_DATA_OP_SDMA),
               1UL << 21, 0, flags);
    void *base = ptr(bm, SMEM_MEM_TYPE_HOST, 0);
    uint64_t size = 8;
    smem_batch_copy_params_t batch = {&base, &base, &size, 1, nullptr};
    int32_t rc = copy_batch(bm, &batch, SMEMB_COPY_G2G, 0);
    smem_bm_uninit(0);
    return rc == SMEM_INVALID_PARAM || rc == SMEM_NOT_STARTED || rc == SMEM_NOT_CONNECTED ? 0 : 1;
}
