// SPDX-License-Identifier: Apache-2.0
// smem_bm.h, objects and addresses: check the arguments, call core.
#include <inttypes.h>
#include <string.h>

#include "api/service.h"
#include "base/err.h"
#include "base/limits.h"
#include "smem_bm.h"

#define KNOWN_OPS                                                                              \
    ((uint32_t)(SMEMB_DATA_OP_SDMA | SMEMB_DATA_OP_HOST_RDMA | SMEMB_DATA_OP_HOST_TCP |        \
                SMEMB_DATA_OP_DEVICE_RDMA | SMEMB_DATA_OP_HOST_URMA | SMEMB_DATA_OP_HOST_SHM | \
                SMEMB_DATA_OP_DEVICE_URMA | SMEMB_DATA_OP_DEVICE_UBOE))
#define NUMA_MASK ((1u << SMEM_BM_BIND_NUMA_FLAG_LEN) - 1u)
#define NUMA_ON   (1u << SMEM_BM_PERFORMANCE_MODE_FLAG_INDEX)
#define KNOWN_FLAGS                                                                       \
    (NUMA_MASK | NUMA_ON | SMEM_BM_FLAG_CREATE_WITH_SHM | SMEM_BM_FLAG_DRAM_MAP_HOST_VA | \
     SMEM_BM_FLAG_DRAM_BEST_EFFORT)

static const char CREATE[] = "smem_bm_create2";

static uint64_t number_of(smem_bm_t handle)
{
    return (uint64_t)(uintptr_t)handle;
}

static int null_handle(const char *call)
{
    return mf_err(SMEM_INVALID_PARAM, "%s: handle is NULL", call);
}

/* ---- create and destroy
 * ------------------------------------------------------------------------------------- */

static int check_size(const char *name, uint64_t value, uint64_t most)
{
    if (value > most) {
        return mf_err(SMEM_INVALID_PARAM, "%s: %s %" PRIu64 " is above %" PRIu64, CREATE, name,
                      value, most);
    }
    if (value % MF_PAGE_LARGE != 0) {
        return mf_err(SMEM_INVALID_PARAM, "%s: %s %" PRIu64 " is not a multiple of 2 MiB (%llu)",
                      CREATE, name, value, MF_PAGE_LARGE);
    }
    return SMEM_OK;
}

static int check_pair(const char *local_name, uint64_t local, uint64_t local_most,
                      const char *max_name, uint64_t max)
{
    int rc = check_size(local_name, local, local_most);
    if (rc == SMEM_OK) {
        rc = check_size(max_name, max, 1ull << 46);
    }
    if (rc == SMEM_OK && max < local) {
        rc = mf_err(SMEM_INVALID_PARAM, "%s: %s %" PRIu64 " is below %s %" PRIu64, CREATE, max_name,
                    max, local_name, local);
    }
    return rc;
}

static int check_sizes(const smem_bm_create_option_t *o)
{
    if (o->maxDramSize == 0 && o->maxHbmSize == 0) {
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: maxDramSize and maxHbmSize are both 0: the pool would be empty", CREATE);
    }
    int rc = check_pair("localDRAMSize", o->localDRAMSize, MF_DRAM_LOCAL_MAX, "maxDramSize",
                        o->maxDramSize);
    return rc != SMEM_OK ? rc
                         : check_pair("localHBMSize", o->localHBMSize, MF_HBM_LOCAL_MAX,
                                      "maxHbmSize", o->maxHbmSize);
}

static int check_unsupported(const smem_bm_create_option_t *o)
{
    const char *what = o->flags & SMEM_BM_FLAG_CREATE_WITH_SHM ? "flag SMEM_BM_FLAG_CREATE_WITH_SHM"
                       : o->enable56BitsGva                    ? "enable56BitsGva"
                       : o->tag[0] != '\0'                     ? "tag"
                       : o->tagOpInfo[0] != '\0'               ? "tagOpInfo"
                                                               : NULL;
    return what == NULL
               ? SMEM_OK
               : mf_err(SMEM_ERROR, "%s: %s is not supported in this version", CREATE, what);
}

static int check_option(uint32_t id, const smem_bm_create_option_t *o)
{
    uint32_t ops = (uint32_t)o->dataOpType;
    if (id >= MF_POOLS_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "%s: id %u is not 0..%u", CREATE, id, MF_POOLS_MAX - 1);
    }
    if (o->flags & ~KNOWN_FLAGS) {
        return mf_err(SMEM_INVALID_PARAM, "%s: flags 0x%x has unknown bits 0x%x", CREATE, o->flags,
                      o->flags & ~KNOWN_FLAGS);
    }
    if (ops == 0 || (ops & ~KNOWN_OPS) != 0) {
        return mf_err(SMEM_INVALID_PARAM, "%s: dataOpType 0x%x %s", CREATE, ops,
                      ops == 0 ? "names no operator" : "has unknown bits");
    }
    int rc = check_sizes(o);
    return rc == SMEM_OK ? check_unsupported(o) : rc;
}

/* The node that the flags name; -1: no binding. The device's own node when automatic. */
static int numa_node(uint32_t flags)
{
    const struct mf_ctx *ctx = mf_service_ctx();
    if ((flags & NUMA_ON) == 0) {
        return -1;
    }
    if ((flags & NUMA_MASK) == SMEM_BM_BIND_NUMA_AUTO_AFFINITY_FLAG) {
        return ctx != NULL && ctx->dev != NULL ? ctx->dev->info.numa_node : -1;
    }
    return (int)(flags & NUMA_MASK);
}

smem_bm_t smem_bm_create2(uint32_t id, const smem_bm_create_option_t *option)
{
    uint64_t handle = 0;
    struct mf_err_rec before;
    if (option == NULL) {
        mf_err(SMEM_INVALID_PARAM, "%s: option is NULL", CREATE);
        return NULL;
    }
    if (check_option(id, option) != SMEM_OK) {
        return NULL;
    }
    if (mf_service_ctx() == NULL) {
        mf_service_missing(CREATE);
        return NULL;
    }
    struct mf_pool_cfg cfg = {
        .id = id,
        .max_bytes = {[MF_KIND_HBM] = option->maxHbmSize, [MF_KIND_DRAM] = option->maxDramSize},
        .own_bytes = {[MF_KIND_HBM] = option->localHBMSize, [MF_KIND_DRAM] = option->localDRAMSize},
        .data_ops = (uint32_t)option->dataOpType,
        .numa_node = numa_node(option->flags),
    };
    mf_err_save(&before);
    (void)mf_service_keep_err(mf_service_pool_create(&cfg, &handle), &before);
    return (smem_bm_t)(uintptr_t)handle;
}

smem_bm_t smem_bm_create(uint32_t id, uint32_t memberSize, smem_bm_data_op_type_t dataOpType,
                         uint64_t localDRAMSize, uint64_t localHBMSize, uint32_t flags)
{
    (void)memberSize;
    smem_bm_create_option_t option = {
        .maxDramSize = localDRAMSize,
        .maxHbmSize = localHBMSize,
        .localDRAMSize = localDRAMSize,
        .localHBMSize = localHBMSize,
        .dataOpType = dataOpType,
        .flags = flags & ~SMEM_BM_FLAG_CREATE_WITH_SHM,
        .dramShmFd = -1,
    };
    return smem_bm_create2(id, &option);
}

void smem_bm_destroy(smem_bm_t handle)
{
    struct mf_err_rec before;
    if (handle == NULL) {
        null_handle("smem_bm_destroy");
        return;
    }
    mf_err_save(&before);
    (void)mf_service_keep_err(mf_service_pool_destroy(number_of(handle)), &before);
}

/* ---- members
 * ----------------------------------------------------------------------------------------------------
 */

static int get(const char *call, smem_bm_t handle, struct mf_pool **pool)
{
    return handle == NULL ? null_handle(call) : mf_service_pool_get(call, number_of(handle), pool);
}

int32_t smem_bm_join(smem_bm_t handle, uint32_t flags)
{
    struct mf_pool *pool = NULL;
    struct mf_err_rec before;
    (void)flags;
    mf_err_save(&before);
    int rc = get("smem_bm_join", handle, &pool);
    if (rc == SMEM_OK) {
        rc = mf_pool_join(pool);
        mf_service_pool_put(pool);
    }
    return mf_service_keep_err(rc, &before);
}

int32_t smem_bm_leave(smem_bm_t handle, uint32_t flags)
{
    struct mf_pool *pool = NULL;
    struct mf_err_rec before;
    (void)flags;
    mf_err_save(&before);
    int rc = get("smem_bm_leave", handle, &pool);
    if (rc == SMEM_OK) {
        rc = mf_pool_leave(pool, false);
        mf_service_pool_put(pool);
    }
    return mf_service_keep_err(rc, &before);
}

static int kind_of(const char *call, smem_bm_mem_type_t type, enum mf_mem_kind *kind)
{
    if (type != SMEM_MEM_TYPE_DEVICE && type != SMEM_MEM_TYPE_HOST) {
        return mf_err(
            SMEM_INVALID_PARAM,
            "%s: memType %d is neither SMEM_MEM_TYPE_DEVICE (%d) nor SMEM_MEM_TYPE_HOST (%d)", call,
            (int)type, SMEM_MEM_TYPE_DEVICE, SMEM_MEM_TYPE_HOST);
    }
    *kind = type == SMEM_MEM_TYPE_DEVICE ? MF_KIND_HBM : MF_KIND_DRAM;
    return SMEM_OK;
}

int32_t smem_bm_extend_local_mem(smem_bm_t handle, smem_bm_mem_type_t memType, uint64_t size)
{
    static const char call[] = "smem_bm_extend_local_mem";
    enum mf_mem_kind kind = MF_KIND_DRAM;
    struct mf_pool *pool = NULL;
    int rc = kind_of(call, memType, &kind);
    if (rc == SMEM_OK && (size == 0 || size % MF_PAGE_LARGE != 0)) {
        rc = mf_err(SMEM_INVALID_PARAM, "%s: size %" PRIu64 " is not a multiple of 2 MiB above 0",
                    call, size);
    }
    if (rc == SMEM_OK) {
        rc = get(call, handle, &pool);
    }
    if (rc != SMEM_OK) {
        return rc;
    }
    mf_service_pool_put(pool);
    return mf_err(SMEM_ERROR,
                  "%s: growing is not supported in this version: create the pool with the size "
                  "that is needed",
                  call);
}

/* ---- addresses
 * ---------------------------------------------------------------------------------------------------
 */

uint64_t smem_bm_get_local_mem_size_by_mem_type(smem_bm_t handle, smem_bm_mem_type_t memType)
{
    static const char call[] = "smem_bm_get_local_mem_size_by_mem_type";
    struct mf_pool *pool = NULL;
    enum mf_mem_kind kind = MF_KIND_DRAM;
    if (kind_of(call, memType, &kind) != SMEM_OK || get(call, handle, &pool) != SMEM_OK) {
        return 0;
    }
    uint64_t size = pool->own_bytes[kind];
    mf_service_pool_put(pool);
    return size;
}

static uint64_t slot_of(struct mf_pool *pool, const char *call, enum mf_mem_kind kind,
                        uint32_t rank)
{
    if (rank >= pool->table.layout.world) {
        mf_err(SMEM_INVALID_PARAM, "%s: peerRankId %u is not below the world size %u", call, rank,
               pool->table.layout.world);
        return 0;
    }
    if (pool->table.layout.max_bytes[kind] == 0) {
        mf_err(SMEM_INVALID_PARAM, "%s: pool %u has no %s", call, pool->id,
               kind == MF_KIND_HBM ? "device memory" : "host memory");
        return 0;
    }
    return mf_layout_slot(&pool->table.layout, kind, rank).v;
}

void *smem_bm_ptr_by_mem_type(smem_bm_t handle, smem_bm_mem_type_t memType, uint16_t peerRankId)
{
    static const char call[] = "smem_bm_ptr_by_mem_type";
    struct mf_pool *pool = NULL;
    enum mf_mem_kind kind = MF_KIND_DRAM;
    struct mf_err_rec before;
    if (kind_of(call, memType, &kind) != SMEM_OK || get(call, handle, &pool) != SMEM_OK) {
        return NULL;
    }
    uint64_t at = slot_of(pool, call, kind, peerRankId);
    if (at != 0) {
        mf_err_save(&before);
        mf_pool_map_peer(pool, peerRankId);
        mf_err_restore(&before);
    }
    mf_service_pool_put(pool);
    return (void *)(uintptr_t)at;
}

int32_t smem_bm_gva_to_va(smem_bm_t handle, void *gva, smem_bm_mem_type_t vaMemType, void **va)
{
    static const char call[] = "smem_bm_gva_to_va";
    struct mf_pool *pool = NULL;
    struct mf_err_rec before;
    uint64_t at = 0;
    if (va == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "%s: va is NULL", call);
    }
    *va = NULL;
    if (vaMemType != SMEM_MEM_TYPE_LOCAL_DEVICE && vaMemType != SMEM_MEM_TYPE_LOCAL_HOST) {
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: vaMemType %d is neither SMEM_MEM_TYPE_LOCAL_DEVICE nor _LOCAL_HOST",
                      call, (int)vaMemType);
    }
    mf_err_save(&before);
    int rc = get(call, handle, &pool);
    if (rc != SMEM_OK) {
        return rc;
    }
    rc = mf_pool_translate(pool, (mf_gva){(uint64_t)(uintptr_t)gva},
                           vaMemType == SMEM_MEM_TYPE_LOCAL_DEVICE, &at);
    *va = (void *)(uintptr_t)at;
    mf_service_pool_put(pool);
    return mf_service_keep_err(rc, &before);
}

uint32_t smem_bm_get_rank_id_by_gva(smem_bm_t handle, void *gva)
{
    static const char call[] = "smem_bm_get_rank_id_by_gva";
    struct mf_pool *pool = NULL;
    struct mf_gva_loc loc = {.rank = UINT32_MAX};
    int rc = get(call, handle, &pool);
    if (rc != SMEM_OK) {
        return (uint32_t)rc;
    }
    if (!mf_layout_find(&pool->table.layout, (mf_gva){(uint64_t)(uintptr_t)gva}, &loc)) {
        mf_err(SMEM_INVALID_PARAM, "%s: %p is not in pool %u", call, gva, pool->id);
        loc.rank = UINT32_MAX;
    }
    mf_service_pool_put(pool);
    return loc.rank;
}

int32_t smem_bm_set_group_event_handler(smem_bm_t handle, smem_bm_group_event_cb cb, void *context)
{
    static const char call[] = "smem_bm_set_group_event_handler";
    struct mf_pool *pool = NULL;
    (void)context;
    int rc = get(call, handle, &pool);
    if (rc != SMEM_OK) {
        return rc;
    }
    mf_service_pool_put(pool);
    return cb == NULL
               ? SMEM_OK
               : mf_err(SMEM_ERROR, "%s: group events are not supported in this version", call);
}

/* ---- registered buffers
 * -------------------------------------------------------------------------------------------- */

int32_t smem_bm_register_user_mem(smem_bm_t handle, uint64_t addr, uint64_t size)
{
    static const char call[] = "smem_bm_register_user_mem";
    struct mf_pool *pool = NULL;
    if (handle != NULL && addr == 0) {
        return mf_err(SMEM_INVALID_PARAM, "%s: addr is 0", call);
    }
    int rc = get(call, handle, &pool);
    if (rc == SMEM_OK) {
        rc = mf_pool_user_register(pool, addr, size);
        mf_service_pool_put(pool);
    }
    return rc;
}

int32_t smem_bm_unregister_user_mem(smem_bm_t handle, uint64_t addr)
{
    static const char call[] = "smem_bm_unregister_user_mem";
    struct mf_pool *pool = NULL;
    if (handle != NULL && addr == 0) {
        return mf_err(SMEM_INVALID_PARAM, "%s: addr is 0", call);
    }
    int rc = get(call, handle, &pool);
    if (rc == SMEM_OK) {
        rc = mf_pool_user_unregister(pool, addr);
        mf_service_pool_put(pool);
    }
    return rc;
}
