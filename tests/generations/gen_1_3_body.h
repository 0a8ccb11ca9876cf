// SPDX-License-Identifier: Apache-2.0
// A program as for 1.3, in what C99 and C++11 have in common: the ABI's version, copies in the
// order of a stream, the store's server as an object, leaders, and types with _t.
#ifndef MF_GENERATIONS_GEN_1_3_BODY_H
#define MF_GENERATIONS_GEN_1_3_BODY_H

#include "gen.h"
#include "memfabric/mf_device.h"
#include "smem_config_store_api.h"

static unsigned volatile joins, leaves;

static void on_event(smem_bm_t handle, uint32_t rank, smem_bm_group_event_t event, void *context)
{
    CHECK(handle != NULL && context == &joins && rank < gen_world);
    if (event == SMEM_GROUP_EVENT_JOIN) {
        joins++;
    } else {
        leaves++;
    }
}

static void on_leader(void *userData)
{
    (void)userData;
}

static void on_store_leader(void *context, const smem_config_store_leader_info_t *info)
{
    (void)context;
    (void)info;
}

static int32_t on_broken(void *context, uint32_t link_id, uint32_t rank_id)
{
    (void)context;
    (void)link_id;
    (void)rank_id;
    return 0;
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

static void common_calls(void)
{
    smem_conf_store_backend_op_t backend;
    gen_common_calls();
    CHECK(smem_get_abi_version() == 0x00010003);
    memset(&backend, 0, sizeof(backend));
    CHECK(smem_config_store_set_backend_op(&backend) == SMEM_INVALID_PARAM);
    CHECK(smem_create_config_store("tcp://127.0.0.1:0", 0) == SMEM_OK);
    smem_destroy_config_store("tcp://127.0.0.1:0");
    CHECK(smem_set_log_level(5) == SMEM_OK && smem_set_log_level(4) == SMEM_OK);
    CHECK(smem_set_log_level(6) == SMEM_INVALID_PARAM);
    CHECK(smem_set_extern_logger(NULL) == SMEM_INVALID_PARAM);
    CHECK(smem_set_extern_alarm(on_alarm, on_resume) == SMEM_OK);
    CHECK(smem_set_conf_store_tls(false, "", 0) == SMEM_OK);
    CHECK(smem_get_last_err_code() == SMEM_INVALID_PARAM);
    CHECK(strlen(smem_get_and_clear_last_err_msg()) > 0);
    CHECK(smem_get_last_err_code() == SMEM_OK && smem_get_last_err_msg()[0] == '\0');
    CHECK(smem_bm_get_rank_id() >= SMEM_WORLD_SIZE_MAX);
}

/* A store of this process, beside the one of the job. */
static void own_store(void)
{
    char json[8192], ip[64];
    uint32_t length = 0;
    uint16_t port = 0;
    smem_tls_options_t tls;
    memset(&tls, 0, sizeof(tls));
    CHECK(smem_config_store_set_tls(&tls, NULL, NULL) == SMEM_OK);
    smem_config_store_t store = smem_config_store_create_server("tcp://127.0.0.1:0");
    CHECK(store != NULL);
    smem_config_store_set_server_broken_handler(store, on_broken, NULL);
    CHECK(smem_config_store_set_leader_handler(store, on_store_leader, NULL) == 1);
    CHECK(smem_config_store_get_cluster_status(json, sizeof(json), &length) == SMEM_OK);
    CHECK(length == strlen(json) && strstr(json, "\"listen\"") != NULL);
    CHECK(smem_config_store_get_cluster_status(json, 2, &length) == SMEM_BUFFER_TOO_SMALL);
    smem_config_store_destroy_server(store, "tcp://127.0.0.1:0");
    CHECK(smem_bm_get_bindable_leader_address(ip, sizeof(ip), &port) < 0); /* before init */
    CHECK(smem_bm_get_bindable_leader_address_by_store_url(gen_url, NULL, gen_world, ip, sizeof(ip),
                                                           &port) == SMEM_ERROR);
    smem_bm_release_leader_address_store();
    CHECK(smem_bm_register_leader_change_callback(on_leader, NULL) == SMEM_NOT_INIT);
    CHECK(smem_bm_update_store_server("127.0.0.1", 5000) < 0);
}

static smem_bm_t start(void)
{
    smem_bm_config_t config;
    smem_bm_create_option_t option;
    char ip[64];
    uint16_t port = 0;
    CHECK(smem_bm_config_init(&config) == SMEM_OK);
    CHECK(config.controlOperationTimeout == 900 && config.rankId == 65535);
    config.autoRanking = false;
    config.rankId = gen_rank;
    config.startConfigStoreServer = false;
    CHECK(smem_bm_init(gen_url, gen_world, 0, &config) == SMEM_OK);
    CHECK(smem_bm_get_rank_id() == gen_rank);
    CHECK(smem_bm_get_bindable_leader_address(ip, sizeof(ip), &port) == SMEM_ERROR);
    CHECK(smem_bm_register_leader_change_callback(NULL, NULL) == SMEM_OK);
    memset(&option, 0, sizeof(option));
    option.maxDramSize = 4 * GEN_MIB;
    option.maxHbmSize = 4 * GEN_MIB;
    option.localDRAMSize = 2 * GEN_MIB;
    option.localHBMSize = 2 * GEN_MIB;
    option.dataOpType = SMEMB_DATA_OP_SDMA;
    option.dramShmFd = -1;
    option.flags = SMEM_BM_FLAG_DRAM_MAP_HOST_VA | SMEM_BM_FLAG_DRAM_BEST_EFFORT |
                   (1U << SMEM_BM_PERFORMANCE_MODE_FLAG_INDEX) |
                   (SMEM_BM_BIND_NUMA_AUTO_AFFINITY_FLAG << SMEM_BM_BIND_NUMA_FLAG_INDEX);
    snprintf(option.tag, sizeof(option.tag), "%s", gen_rank == 0 ? "driver" : "worker");
    snprintf(option.tagOpInfo, sizeof(option.tagOpInfo), "driver:DEVICE_SDMA:worker");
    CHECK(smem_bm_create2(64, &option) == NULL);
    CHECK(smem_get_last_err_code() == SMEM_INVALID_PARAM);
    smem_bm_t bm = smem_bm_create2(5, &option);
    CHECK(bm != NULL);
    CHECK(smem_bm_create2(5, &option) == NULL && smem_get_last_err_code() == SMEM_DUPLICATED);
    return bm;
}

/* Drops the connection and connects again, to the store where it is. */
static void same_store_again(void)
{
    char ip[64];
    unsigned port = 0;
    const char *host = strstr(gen_url, "//") + 2, *colon = strrchr(gen_url, ':');
    CHECK(colon != NULL && (size_t)(colon - host) < sizeof(ip));
    memcpy(ip, host, (size_t)(colon - host));
    ip[colon - host] = '\0';
    port = (unsigned)strtoul(colon + 1, NULL, 10);
    CHECK(smem_bm_update_store_server(ip, (uint16_t)port) == SMEM_OK);
    CHECK(smem_bm_update_store_server("no address", 5000) == SMEM_INVALID_PARAM);
    CHECK(smem_bm_update_store_url(gen_url) == SMEM_OK);
}

static int32_t copy_on(smem_bm_t bm, mf_device_stream_t stream, void *src, void *dest, size_t size,
                       smem_bm_copy_type_t type)
{
    smem_copy_params_t params;
    params.src = src;
    params.dest = dest;
    params.dataSize = size;
    params.stream = stream;
    return smem_bm_copy(bm, &params, type, SMEM_BM_FLAG_USE_EXTERNAL_STREAM);
}

/* Fill on the device, copy to the next rank and back, all on one stream of the program. */
static void on_stream(smem_bm_t bm)
{
    static char back[GEN_BYTES];
    mf_device_t dev = NULL;
    mf_device_stream_t stream = NULL;
    mf_dev_t ptr = 0;
    char *there = (char *)smem_bm_ptr_by_mem_type(bm, SMEM_MEM_TYPE_DEVICE,
                                                  (uint16_t)((gen_rank + 1) % gen_world)) +
                  gen_rank * GEN_BYTES;
    CHECK(mf_device_open("sim:0", &dev) == SMEM_OK);
    CHECK(mf_device_stream_create(dev, &stream) == SMEM_OK);
    CHECK(mf_device_alloc(dev, 2 * GEN_BYTES, &ptr) == SMEM_OK);
    void *first = (void *)(uintptr_t)ptr, *second = (void *)(uintptr_t)(ptr + GEN_BYTES);
    for (uint32_t round = 0; round < 20; round++) {
        CHECK(mf_device_fill_async(stream, ptr, (uint8_t)(gen_rank * 32 + round), GEN_BYTES) == 0);
        CHECK(copy_on(bm, stream, first, there, GEN_BYTES, SMEMB_COPY_L2G) == SMEM_OK);
        CHECK(mf_device_fill_async(stream, ptr, 0xee, GEN_BYTES) == 0);
        void *sources[1], *targets[1];
        uint64_t sizes[1] = {GEN_BYTES};
        sources[0] = there;
        targets[0] = second;
        smem_batch_copy_params_t batch = {sources, targets, sizes, 1, stream};
        CHECK(smem_bm_copy_batch(bm, &batch, SMEMB_COPY_G2L, SMEM_BM_FLAG_USE_EXTERNAL_STREAM) ==
              SMEM_OK);
        CHECK(copy_on(bm, stream, second, back, GEN_BYTES, SMEMB_COPY_AUTO) == SMEM_OK);
        CHECK(mf_device_stream_synchronize(stream, 20000) == SMEM_OK);
        for (uint32_t i = 0; i < GEN_BYTES; i++) {
            CHECK((uint8_t)back[i] == (uint8_t)(gen_rank * 32 + round));
        }
    }
    CHECK(smem_bm_wait(bm) == SMEM_OK);
    CHECK(copy_on(bm, NULL, first, there, 8, SMEMB_COPY_L2G) == SMEM_INVALID_PARAM);
    CHECK(mf_device_stream_destroy(stream) == SMEM_OK);
    CHECK(copy_on(bm, stream, first, there, 8, SMEMB_COPY_L2G) == SMEM_INVALID_PARAM);
    CHECK(mf_device_close(dev) == SMEM_OK);
}

static void memory_calls(smem_bm_t bm)
{
    static char here[GEN_BYTES], back[GEN_BYTES];
    uint32_t peer = (gen_rank + 1) % gen_world;
    void *va = NULL;
    gen_fill(here, sizeof(here), gen_rank);
    CHECK(smem_bm_register_user_mem(bm, (uint64_t)(uintptr_t)here, sizeof(here)) == SMEM_OK);
    CHECK(gen_copy(bm, here, gen_part(bm, peer), sizeof(here), SMEMB_COPY_H2GH, 0) == SMEM_OK);
    CHECK(smem_bm_unregister_user_mem(bm, (uint64_t)(uintptr_t)here) == SMEM_OK);
    gen_step(bm, 5);
    CHECK(gen_is(gen_part(bm, gen_rank), GEN_BYTES, (gen_rank + gen_world - 1) % gen_world));
    gen_step(bm, 6);
    CHECK(smem_bm_extend_local_mem(bm, SMEM_MEM_TYPE_DEVICE, 2 * GEN_MIB) == SMEM_OK);
    CHECK(smem_bm_get_local_mem_size_by_mem_type(bm, SMEM_MEM_TYPE_DEVICE) == 4 * GEN_MIB);
    gen_step(bm, 7);
    char *last = (char *)smem_bm_ptr_by_mem_type(bm, SMEM_MEM_TYPE_DEVICE, (uint16_t)peer) +
                 4 * GEN_MIB - sizeof(here);
    CHECK(gen_copy(bm, here, last, sizeof(here), SMEMB_COPY_H2G, 0) == SMEM_OK);
    CHECK(gen_copy(bm, last, back, sizeof(back), SMEMB_COPY_G2H, 0) == SMEM_OK);
    CHECK(gen_is(back, sizeof(back), gen_rank));
    CHECK(smem_bm_get_rank_id_by_gva(bm, last) == peer);
    CHECK(smem_bm_gva_to_va(bm, last, SMEM_MEM_TYPE_LOCAL_DEVICE, &va) == SMEM_OK && va != NULL);
    CHECK(smem_bm_gva_to_va(bm, last, SMEM_MEM_TYPE_LOCAL_HOST, &va) < 0);
}

static int run(void)
{
    gen_start();
    CHECK(ASYNC_COPY_FLAG == 1 && COPY_EXTEND_FLAG == 2 && SMEM_BM_FLAG_USE_EXTERNAL_STREAM == 4);
    CHECK(SMEM_STORE_SKIP_RECOVER == 1 && SMEM_BM_FLAG_CREATE_WITH_SHM == 256);
    CHECK(SMEMB_DATA_OP_BUTT == 129 && SMEMB_COPY_BUTT == 10 && SMEM_MEM_TYPE_BUTT == 4);
    common_calls();
    own_store();
    smem_bm_t bm = start();
    CHECK(smem_bm_set_group_event_handler(NULL, on_event, (void *)&joins) == SMEM_INVALID_PARAM);
    CHECK(smem_bm_set_group_event_handler(bm, on_event, (void *)&joins) == SMEM_OK);
    CHECK(smem_bm_wait(bm) == SMEM_OK);
    CHECK(smem_bm_leave(bm, 0) == SMEM_OK); /* not joined: nothing to do */
    CHECK(smem_bm_join(bm, 0) == SMEM_OK);
    gen_step(bm, 1);
    same_store_again();
    on_stream(bm);
    gen_step(bm, 2);
    memory_calls(bm);
    gen_own_pool(40 + gen_rank);
    CHECK(joins == gen_world - 1);
    gen_end(bm);
    CHECK(smem_bm_set_group_event_handler(bm, NULL, NULL) == SMEM_OK);
    CHECK(smem_bm_leave(bm, 0) == SMEM_OK);
    CHECK(smem_bm_leave(bm, 0) == SMEM_OK);
    smem_bm_destroy(bm);
    smem_bm_uninit(0);
    smem_uninit();
    return 0;
}

#endif
