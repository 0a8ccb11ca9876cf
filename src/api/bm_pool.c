// SPDX-License-Identifier: Apache-2.0
// smem_bm.h, objects and addresses: check the arguments, call core.
#include <inttypes.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

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

static int check_shm(const smem_bm_create_option_t *o)
{
    if ((o->flags & SMEM_BM_FLAG_CREATE_WITH_SHM) == 0) {
        return SMEM_OK;
    }
    if (o->dramShmFd < 0) {
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: SMEM_BM_FLAG_CREATE_WITH_SHM is set and dramShmFd is %d: give the "
                      "descriptor of a memfd",
                      CREATE, o->dramShmFd);
    }
    if (o->localDRAMSize == 0) {
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: SMEM_BM_FLAG_CREATE_WITH_SHM is set and localDRAMSize is 0: say how "
                      "much of dramShmFd the pool uses",
                      CREATE);
    }
    return SMEM_OK;
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
    return rc == SMEM_OK ? check_shm(o) : rc;
}

static int check_tags(const smem_bm_create_option_t *o, struct mf_tags *tags)
{
    int rc = mf_tags_parse(o->tag, sizeof(o->tag), o->tagOpInfo, sizeof(o->tagOpInfo),
                           (uint32_t)o->dataOpType, tags);
    return rc == SMEM_OK ? rc : mf_err_in(rc, "%s", CREATE);
}

/* The node that the flags name; -1: no binding. When automatic, the device's own node, or that of
 * the calling thread. */
static int numa_node(uint32_t flags)
{
    const struct mf_ctx *ctx = mf_service_ctx();
    unsigned cpu = 0, node = 0;
    if ((flags & NUMA_ON) == 0) {
        return -1;
    }
    if ((flags & NUMA_MASK) != SMEM_BM_BIND_NUMA_AUTO_AFFINITY_FLAG) {
        return (int)(flags & NUMA_MASK);
    }
    if (ctx != NULL && ctx->dev != NULL && ctx->dev->info.numa_node >= 0) {
        return ctx->dev->info.numa_node;
    }
    return syscall(SYS_getcpu, &cpu, &node, NULL) == 0 ? (int)node : -1;
}

smem_bm_t smem_bm_create2(uint32_t id, const smem_bm_create_option_t *option)
{
    uint64_t handle = 0;
    struct mf_err_rec before;
    struct mf_tags tags;
    struct mf_span span = mf_service_begin(MF_POINT_BM_CREATE);
    int rc = option == NULL ? mf_err(SMEM_INVALID_PARAM, "%s: option is NULL", CREATE)
                            : check_option(id, option);
    rc = rc == SMEM_OK ? check_tags(option, &tags) : rc;
    if (rc == SMEM_OK && mf_service_ctx() == NULL) {
        rc = mf_service_missing(CREATE);
    }
    if (rc != SMEM_OK) {
        (void)mf_trace_end(&span, rc, 0);
        return NULL;
    }
    struct mf_pool_cfg cfg = {
        .id = id,
        .max_bytes = {[MF_KIND_HBM] = option->maxHbmSize, [MF_KIND_DRAM] = option->maxDramSize},
        .own_bytes = {[MF_KIND_HBM] = option->localHBMSize, [MF_KIND_DRAM] = option->localDRAMSize},
        .data_ops = (uint32_t)option->dataOpType,
        .tags = tags,
        .numa_node = numa_node(option->flags),
        .has_fd = (option->flags & SMEM_BM_FLAG_CREATE_WITH_SHM) != 0,
        .dram_fd = option->dramShmFd,
        .best_effort = (option->flags & SMEM_BM_FLAG_DRAM_BEST_EFFORT) != 0,
        .map_host_va = (option->flags & SMEM_BM_FLAG_DRAM_MAP_HOST_VA) != 0,
        .wide = option->enable56BitsGva,
    };
    mf_err_save(&before);
    rc = mf_trace_end(&span, mf_service_pool_create(&cfg, &handle), 0);
    (void)mf_service_keep_err(rc, &before);
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
    if (mf_service_check_handler("smem_bm_destroy") != SMEM_OK) {
        return;
    }
    mf_err_save(&before);
    struct mf_span span = mf_service_begin(MF_POINT_BM_DESTROY);
    int rc = mf_trace_end(&span, mf_service_pool_destroy(number_of(handle)), 0);
    (void)mf_service_keep_err(rc, &before);
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
    struct mf_span span = mf_service_begin(MF_POINT_BM_JOIN);
    int rc = get("smem_bm_join", handle, &pool);
    if (rc == SMEM_OK) {
        rc = mf_pool_join(pool);
        mf_service_pool_put(pool);
    }
    return mf_service_keep_err(mf_trace_end(&span, rc, 0), &before);
}

int32_t smem_bm_leave(smem_bm_t handle, uint32_t flags)
{
    struct mf_pool *pool = NULL;
    struct mf_err_rec before;
    (void)flags;
    mf_err_save(&before);
    struct mf_span span = mf_service_begin(MF_POINT_BM_LEAVE);
    int rc = get("smem_bm_leave", handle, &pool);
    if (rc == SMEM_OK) {
        rc = mf_pool_leave(pool, false);
        mf_service_pool_put(pool);
    }
    return mf_service_keep_err(mf_trace_end(&span, rc, 0), &before);
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
    struct mf_span span = mf_service_begin(MF_POINT_BM_EXTEND);
    int rc = kind_of(call, memType, &kind);
    if (rc == SMEM_OK && (size == 0 || size % MF_PAGE_LARGE != 0)) {
        rc = mf_err(SMEM_INVALID_PARAM, "%s: size %" PRIu64 " is not a multiple of 2 MiB above 0",
                    call, size);
    }
    if (rc == SMEM_OK) {
        rc = get(call, handle, &pool);
    }
    if (rc != SMEM_OK) {
        return mf_trace_end(&span, rc, 0);
    }
    struct mf_err_rec before;
    mf_err_save(&before);
    rc = mf_trace_end(&span, mf_pool_extend(pool, kind, size), size);
    mf_ctx_memory(pool->ctx, rc);
    mf_service_pool_put(pool);
    return mf_service_keep_err(rc, &before);
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
    uint64_t size = atomic_load(&pool->own_bytes[kind]);
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
    struct mf_span span = mf_trace_begin_sampled(mf_service_tracer(), MF_POINT_BM_PTR, 0);
    int rc = kind_of(call, memType, &kind);
    rc = rc == SMEM_OK ? get(call, handle, &pool) : rc;
    if (rc != SMEM_OK) {
        (void)mf_trace_end(&span, rc, 0);
        return NULL;
    }
    uint64_t at = slot_of(pool, call, kind, peerRankId);
    if (at != 0) {
        mf_err_save(&before);
        mf_pool_map_peer(pool, peerRankId);
        mf_err_restore(&before);
    }
    mf_service_pool_put(pool);
    (void)mf_trace_end(&span, at != 0 ? SMEM_OK : SMEM_INVALID_PARAM, 0);
    return (void *)(uintptr_t)at;
}

int32_t smem_bm_gva_to_va(smem_bm_t handle, void *gva, smem_bm_mem_type_t vaMemType, void **va)
{
    static const char call[] = "smem_bm_gva_to_va";
    struct mf_pool *pool = NULL;
    struct mf_err_rec before;
    uint64_t at = 0;
    struct mf_span span = mf_trace_begin_sampled(mf_service_tracer(), MF_POINT_BM_TRANSLATE, 0);
    if (va == NULL) {
        return mf_trace_end(&span, mf_err(SMEM_INVALID_PARAM, "%s: va is NULL", call), 0);
    }
    *va = NULL;
    if (vaMemType != SMEM_MEM_TYPE_LOCAL_DEVICE && vaMemType != SMEM_MEM_TYPE_LOCAL_HOST) {
        int bad = mf_err(SMEM_INVALID_PARAM,
                         "%s: vaMemType %d is neither SMEM_MEM_TYPE_LOCAL_DEVICE nor _LOCAL_HOST",
                         call, (int)vaMemType);
        return mf_trace_end(&span, bad, 0);
    }
    mf_err_save(&before);
    int rc = get(call, handle, &pool);
    if (rc != SMEM_OK) {
        return mf_trace_end(&span, rc, 0);
    }
    rc = mf_pool_translate(pool, (mf_gva){(uint64_t)(uintptr_t)gva},
                           vaMemType == SMEM_MEM_TYPE_LOCAL_DEVICE, &at);
    *va = (void *)(uintptr_t)at;
    mf_service_pool_put(pool);
    return mf_service_keep_err(mf_trace_end(&span, rc, 0), &before);
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
    mf_gva at = {(uint64_t)(uintptr_t)gva};
    bool in_pool = mf_layout_find(&pool->table.layout, at, &loc) ||
                   (mf_gva_place_global(&pool->table, at.v, &at) &&
                    mf_layout_find(&pool->table.layout, at, &loc));
    if (!in_pool) {
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
    int rc = get(call, handle, &pool);
    if (rc == SMEM_OK) {
        rc = mf_service_set_handler(pool, number_of(handle), cb, context);
        rc = rc == SMEM_OK ? rc : mf_err_in(rc, "%s", call);
        mf_service_pool_put(pool);
    }
    return rc;
}

/* ---- registered buffers
 * -------------------------------------------------------------------------------------------- */

int32_t smem_bm_register_user_mem(smem_bm_t handle, uint64_t addr, uint64_t size)
{
    static const char call[] = "smem_bm_register_user_mem";
    struct mf_pool *pool = NULL;
    struct mf_span span = mf_service_begin(MF_POINT_BM_REGISTER);
    int rc = handle != NULL && addr == 0 ? mf_err(SMEM_INVALID_PARAM, "%s: addr is 0", call)
                                         : get(call, handle, &pool);
    if (rc == SMEM_OK) {
        rc = mf_pool_user_register(pool, addr, size);
        mf_service_pool_put(pool);
    }
    return mf_trace_end(&span, rc, size);
}

int32_t smem_bm_unregister_user_mem(smem_bm_t handle, uint64_t addr)
{
    static const char call[] = "smem_bm_unregister_user_mem";
    struct mf_pool *pool = NULL;
    struct mf_span span = mf_service_begin(MF_POINT_BM_UNREGISTER);
    int rc = handle != NULL && addr == 0 ? mf_err(SMEM_INVALID_PARAM, "%s: addr is 0", call)
                                         : get(call, handle, &pool);
    if (rc == SMEM_OK) {
        rc = mf_pool_user_unregister(pool, addr);
        mf_service_pool_put(pool);
    }
    return mf_trace_end(&span, rc, 0);
}
