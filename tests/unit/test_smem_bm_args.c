// SPDX-License-Identifier: Apache-2.0
// Tests of the argument rules of smem_bm.h: for every call and argument the code and a sentence
// that names both, before the service runs, while it runs, and with stale handles.
#include "unit/api_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>

#define NO_POOL ((smem_bm_t)(uintptr_t)0x123456)

/* ---- init ------------------------------------------------------------------------------------ */

static void test_smem_bm_config_init__gives_the_defaults(void **state)
{
    smem_bm_config_t config, zero;
    (void)state;
    memset(&config, 0xff, sizeof(config));
    memset(&zero, 0, sizeof(zero));
    mf_assert_ok(smem_bm_config_init(&config));
    assert_int_equal(config.initTimeout, 120);
    assert_int_equal(config.createTimeout, 120);
    assert_int_equal(config.controlOperationTimeout, 900);
    assert_true(config.startConfigStoreServer && config.unifiedAddressSpace && config.autoRanking);
    assert_false(config.startConfigStoreOnly || config.dynamicWorldSize);
    assert_int_equal(config.rankId, 65535);
    assert_memory_equal(&config.flags, &zero.flags,
                        sizeof(zero) - offsetof(smem_bm_config_t, flags));
    assert_refused(smem_bm_config_init(NULL), SMEM_INVALID_PARAM, "config is NULL");
}

static void test_smem_bm_init__checks_world_url_and_config(void **state)
{
    smem_bm_config_t config = api_config();
    (void)state;
    assert_refused(smem_bm_init(ANY_PORT, 0, 0, &config), SMEM_INVALID_PARAM, "worldSize 0");
    assert_refused(smem_bm_init(ANY_PORT, 1025, 0, &config), SMEM_INVALID_PARAM,
                   "worldSize 1025 is not 1..1024");
    assert_refused(smem_bm_init(NULL, 2, 0, &config), SMEM_INVALID_PARAM, "storeURL is NULL");
    assert_refused(smem_bm_init(ANY_PORT, 2, 0, NULL), SMEM_INVALID_PARAM, "config is NULL");
    assert_refused(smem_bm_init(NULL, 0, 0, NULL), SMEM_INVALID_PARAM, "worldSize 0");
    assert_refused(smem_bm_init("tcp://nowhere", 2, 0, &config), SMEM_INVALID_PARAM,
                   "tcp://nowhere");
}

/* Change one member, look, put it back. */
static void refused_config(smem_bm_config_t config, int code, const char *part)
{
    assert_refused(smem_bm_init(ANY_PORT, 4, 0, &config), code, part);
    assert_int_equal(smem_bm_get_rank_id(), UINT32_MAX);
}

static void test_smem_bm_init__checks_every_member(void **state)
{
    smem_bm_config_t c;
    (void)state;
    c = api_config();
    c.initTimeout = 0;
    refused_config(c, SMEM_INVALID_PARAM, "initTimeout is 0");
    c = api_config();
    c.createTimeout = 0;
    refused_config(c, SMEM_INVALID_PARAM, "createTimeout is 0");
    c = api_config();
    c.controlOperationTimeout = 0;
    refused_config(c, SMEM_INVALID_PARAM, "controlOperationTimeout is 0");
    c = api_config();
    c.unifiedAddressSpace = false;
    refused_config(c, SMEM_INVALID_PARAM, "unifiedAddressSpace is false");
    c = api_config();
    c.autoRanking = false;
    refused_config(c, SMEM_INVALID_PARAM, "rankId 65535 is not below worldSize 4");
    c.rankId = 4;
    refused_config(c, SMEM_INVALID_PARAM, "rankId 4");
    c = api_config();
    memset(c.hcomUrl, 'x', sizeof(c.hcomUrl));
    refused_config(c, SMEM_INVALID_PARAM, "hcomUrl does not end");
    c = api_config();
    c.storeTlsConfig.tlsEnable = true;
    refused_config(c, SMEM_ERROR, "storeTlsConfig.tlsEnable is true");
    c = api_config();
    c.hcomTlsConfig.tlsEnable = true;
    refused_config(c, SMEM_ERROR, "hcomTlsConfig.tlsEnable is true");
}

/* ---- every call without a service, in the order NULL, range, SMEM_NOT_INIT --------------------
 */

static void test_smem_bm__without_a_service(void **state)
{
    smem_copy_params one = {"x", (void *)(uintptr_t)64, 1, NULL};
    void *addr = (void *)(uintptr_t)64, *va = &va;
    uint64_t size = 1;
    smem_batch_copy_params many = {&addr, &addr, &size, 1, NULL};
    int32_t code = 77;
    smem_batch_copy_result result = {&code, 1};
    smem_bm_create_option_t option = api_option(2 * MIB, 0);
    (void)state;
    assert_refused_null(smem_bm_create(0, 0, SMEMB_DATA_OP_SDMA, 2 * MIB, 0, 0), SMEM_NOT_INIT,
                        "smem_bm_init first");
    assert_refused_null(smem_bm_create2(0, &option), SMEM_NOT_INIT, "smem_bm_create2");
    assert_refused(smem_bm_join(NO_POOL, 0), SMEM_NOT_INIT, "smem_bm_join");
    assert_refused(smem_bm_leave(NO_POOL, 0), SMEM_NOT_INIT, "smem_bm_leave");
    assert_refused(smem_bm_extend_local_mem(NO_POOL, SMEM_MEM_TYPE_HOST, 2 * MIB), SMEM_NOT_INIT,
                   "smem_bm_extend_local_mem");
    assert_refused_null(smem_bm_get_local_mem_size_by_mem_type(NO_POOL, SMEM_MEM_TYPE_HOST),
                        SMEM_NOT_INIT, "smem_bm_get_local_mem_size_by_mem_type");
    assert_refused_null(smem_bm_ptr_by_mem_type(NO_POOL, SMEM_MEM_TYPE_HOST, 0), SMEM_NOT_INIT,
                        "smem_bm_ptr_by_mem_type");
    assert_refused(smem_bm_gva_to_va(NO_POOL, addr, SMEM_MEM_TYPE_LOCAL_HOST, &va), SMEM_NOT_INIT,
                   "smem_bm_gva_to_va");
    assert_null(va);
    assert_int_equal(smem_bm_get_rank_id_by_gva(NO_POOL, addr), (uint32_t)SMEM_NOT_INIT);
    assert_refused(smem_bm_copy(NO_POOL, &one, SMEMB_COPY_H2G, 0), SMEM_NOT_INIT, "smem_bm_copy");
    assert_refused(smem_bm_copy_batch(NO_POOL, &many, SMEMB_COPY_AUTO, 0), SMEM_NOT_INIT,
                   "smem_bm_copy_batch");
    assert_refused(smem_bm_copy_batch_partial_succeed(NO_POOL, &many, SMEMB_COPY_AUTO, 0, &result),
                   SMEM_NOT_INIT, "smem_bm_copy_batch_partial_succeed");
    assert_int_equal(code, 77);
    assert_refused(smem_bm_wait(NO_POOL), SMEM_NOT_INIT, "smem_bm_wait");
    assert_refused(smem_bm_register_user_mem(NO_POOL, 64, 64), SMEM_NOT_INIT, "register_user_mem");
    assert_refused(smem_bm_unregister_user_mem(NO_POOL, 64), SMEM_NOT_INIT, "unregister_user_mem");
    assert_refused(smem_bm_set_group_event_handler(NO_POOL, NULL, NULL), SMEM_NOT_INIT, "group");
    assert_refused(smem_bm_update_store_url(ANY_PORT), SMEM_NOT_INIT, "smem_bm_update_store_url");
    assert_refused(smem_bm_update_store_server("127.0.0.1", 1), SMEM_NOT_INIT,
                   "update_store_server");
    assert_refused(smem_bm_register_leader_change_callback(NULL, NULL), SMEM_NOT_INIT, "leader");
    assert_int_equal(smem_bm_get_rank_id(), UINT32_MAX);
    mf_assert_rc(smem_get_last_err_code(), SMEM_NOT_INIT);
    mf_err_clear();
    smem_bm_destroy(NO_POOL);
    mf_assert_rc(smem_get_last_err_code(), SMEM_NOT_INIT);
    mf_err_clear();
    smem_bm_uninit(0);
    mf_assert_rc(smem_get_last_err_code(), SMEM_NOT_INIT);
}

/* What is wrong by itself is refused first, service or not. */
static void check_null_and_range(smem_bm_t h)
{
    void *va = &va;
    uint16_t port = 0;
    char ip[64];
    assert_refused(smem_bm_join(NULL, 0), SMEM_INVALID_PARAM, "handle is NULL");
    assert_refused(smem_bm_leave(NULL, 0), SMEM_INVALID_PARAM, "handle is NULL");
    assert_refused(smem_bm_wait(NULL), SMEM_INVALID_PARAM, "handle is NULL");
    assert_refused(smem_bm_set_group_event_handler(NULL, NULL, NULL), SMEM_INVALID_PARAM, "NULL");
    assert_refused(smem_bm_extend_local_mem(NULL, SMEM_MEM_TYPE_HOST, 2 * MIB), SMEM_INVALID_PARAM,
                   "handle is NULL");
    assert_refused(smem_bm_extend_local_mem(h, SMEM_MEM_TYPE_LOCAL_HOST, 2 * MIB),
                   SMEM_INVALID_PARAM, "memType 1");
    assert_refused(smem_bm_extend_local_mem(h, SMEM_MEM_TYPE_HOST, 0), SMEM_INVALID_PARAM,
                   "size 0");
    assert_refused(smem_bm_extend_local_mem(h, SMEM_MEM_TYPE_HOST, 4096), SMEM_INVALID_PARAM,
                   "size 4096");
    assert_refused_null(smem_bm_get_local_mem_size_by_mem_type(NULL, SMEM_MEM_TYPE_HOST),
                        SMEM_INVALID_PARAM, "handle is NULL");
    assert_refused_null(smem_bm_get_local_mem_size_by_mem_type(h, SMEM_MEM_TYPE_BUTT),
                        SMEM_INVALID_PARAM, "memType 4");
    assert_refused_null(smem_bm_ptr_by_mem_type(NULL, SMEM_MEM_TYPE_HOST, 0), SMEM_INVALID_PARAM,
                        "handle is NULL");
    assert_refused_null(smem_bm_ptr_by_mem_type(h, SMEM_MEM_TYPE_LOCAL_DEVICE, 0),
                        SMEM_INVALID_PARAM, "memType 0");
    assert_refused(smem_bm_gva_to_va(NULL, h, SMEM_MEM_TYPE_LOCAL_HOST, &va), SMEM_INVALID_PARAM,
                   "handle is NULL");
    assert_null(va);
    va = &va;
    assert_refused(smem_bm_gva_to_va(h, h, SMEM_MEM_TYPE_HOST, &va), SMEM_INVALID_PARAM,
                   "vaMemType 3");
    assert_null(va);
    assert_refused(smem_bm_gva_to_va(h, h, SMEM_MEM_TYPE_LOCAL_HOST, NULL), SMEM_INVALID_PARAM,
                   "va is NULL");
    assert_int_equal(smem_bm_get_rank_id_by_gva(NULL, h), (uint32_t)SMEM_INVALID_PARAM);
    assert_refused(smem_bm_register_user_mem(NULL, 64, 64), SMEM_INVALID_PARAM, "handle is NULL");
    assert_refused(smem_bm_register_user_mem(h, 0, 64), SMEM_INVALID_PARAM, "addr is 0");
    assert_refused(smem_bm_unregister_user_mem(NULL, 64), SMEM_INVALID_PARAM, "handle is NULL");
    assert_refused(smem_bm_unregister_user_mem(h, 0), SMEM_INVALID_PARAM, "addr is 0");
    assert_refused(smem_bm_update_store_url(NULL), SMEM_INVALID_PARAM, "NULL");
    assert_refused(smem_bm_update_store_url("tcp://x:1"), SMEM_INVALID_PARAM, "tcp://x:1");
    assert_refused(smem_bm_update_store_url("etcd://1.2.3.4:5"), SMEM_ERROR, "only tcp://");
    assert_refused(smem_bm_update_store_server(NULL, 1), SMEM_INVALID_PARAM, "ip is NULL");
    assert_refused(smem_bm_update_store_server("127.0.0.1", 0), SMEM_INVALID_PARAM, "port is 0");
    assert_refused(smem_bm_update_store_server("localhost", 1), SMEM_INVALID_PARAM, "localhost");
    assert_refused(smem_bm_get_bindable_leader_address(NULL, 64, &port), SMEM_INVALID_PARAM, "ip");
    assert_refused(smem_bm_get_bindable_leader_address(ip, 64, NULL), SMEM_INVALID_PARAM, "port");
    assert_refused(smem_bm_get_bindable_leader_address(ip, 63, &port), SMEM_INVALID_PARAM, "64");
}

static void check_store_url_leader(void)
{
    uint16_t port = 0;
    char ip[64];
    assert_refused(
        smem_bm_get_bindable_leader_address_by_store_url(NULL, NULL, 4, ip, sizeof(ip), &port),
        SMEM_INVALID_PARAM, "storeUrl is NULL");
    assert_refused(smem_bm_get_bindable_leader_address_by_store_url("tcp://1.2.3.4:5", NULL, 4,
                                                                    NULL, 64, &port),
                   SMEM_INVALID_PARAM, "ip is NULL");
    assert_refused(
        smem_bm_get_bindable_leader_address_by_store_url("tcp://1.2.3.4:5", NULL, 4, ip, 64, NULL),
        SMEM_INVALID_PARAM, "port is NULL");
    assert_refused(
        smem_bm_get_bindable_leader_address_by_store_url("tcp://1.2.3.4:5", NULL, 4, ip, 8, &port),
        SMEM_INVALID_PARAM, "ipLen");
    assert_refused(
        smem_bm_get_bindable_leader_address_by_store_url("tcp://1.2.3.4:5", NULL, 0, ip, 64, &port),
        SMEM_INVALID_PARAM, "worldSize 0");
    assert_refused(smem_bm_get_bindable_leader_address_by_store_url("tcp://1.2.3.4:5", NULL, 1025,
                                                                    ip, 64, &port),
                   SMEM_INVALID_PARAM, "worldSize 1025");
    assert_refused(
        smem_bm_get_bindable_leader_address_by_store_url("tcp://1.2.3.4", NULL, 4, ip, 64, &port),
        SMEM_INVALID_PARAM, "tcp://1.2.3.4");
    assert_refused(
        smem_bm_get_bindable_leader_address_by_store_url("tcp://1.2.3.4:5", NULL, 4, ip, 64, &port),
        SMEM_ERROR, "no leader");
    smem_bm_release_leader_address_store();
}

static void test_smem_bm__null_and_range_without_a_service(void **state)
{
    (void)state;
    check_null_and_range(NO_POOL);
    check_store_url_leader();
}

/* ---- create -----------------------------------------------------------------------------------
 */

static void refused_option(uint32_t id, smem_bm_create_option_t o, int code, const char *part)
{
    assert_refused_null(smem_bm_create2(id, &o), code, part);
}

static void check_options(void)
{
    smem_bm_create_option_t o = api_option(2 * MIB, 0);
    assert_refused_null(smem_bm_create2(0, NULL), SMEM_INVALID_PARAM, "option is NULL");
    refused_option(64, o, SMEM_INVALID_PARAM, "id 64 is not 0..63");
    refused_option(0, api_option(0, 0), SMEM_INVALID_PARAM, "both 0");
    refused_option(0, api_option(MIB, 0), SMEM_INVALID_PARAM, "localDRAMSize 1048576");
    refused_option(0, api_option(0, MIB), SMEM_INVALID_PARAM, "localHBMSize 1048576");
    refused_option(0, api_option((2ull << 40) + 2 * MIB, 0), SMEM_INVALID_PARAM, "localDRAMSize");
    refused_option(0, api_option(0, (64ull << 30) + 2 * MIB), SMEM_INVALID_PARAM, "localHBMSize");
    o.localDRAMSize = 4 * MIB;
    refused_option(0, o, SMEM_INVALID_PARAM, "maxDramSize 2097152 is below localDRAMSize 4194304");
    o = api_option(0, 2 * MIB);
    o.localHBMSize = 4 * MIB;
    refused_option(0, o, SMEM_INVALID_PARAM, "maxHbmSize 2097152 is below localHBMSize 4194304");
    o = api_option(2 * MIB, 0);
    o.maxDramSize = 3 * MIB;
    refused_option(0, o, SMEM_INVALID_PARAM, "maxDramSize 3145728");
    o.maxDramSize = 1ull << 47;
    refused_option(0, o, SMEM_INVALID_PARAM, "maxDramSize 140737488355328 is above");
    o = api_option(2 * MIB, 0);
    o.dataOpType = 0;
    refused_option(0, o, SMEM_INVALID_PARAM, "names no operator");
    o.dataOpType = (smem_bm_data_op_type)256;
    refused_option(0, o, SMEM_INVALID_PARAM, "dataOpType 0x100 has unknown bits");
    o.dataOpType = (smem_bm_data_op_type)(SMEMB_DATA_OP_SDMA | 512);
    refused_option(0, o, SMEM_INVALID_PARAM, "0x201");
    o = api_option(2 * MIB, 0);
    o.flags = 1u << 11;
    refused_option(0, o, SMEM_INVALID_PARAM, "flags 0x800 has unknown bits 0x800");
    o.flags = SMEM_BM_FLAG_CREATE_WITH_SHM;
    o.dramShmFd = -1;
    refused_option(0, o, SMEM_INVALID_PARAM, "dramShmFd is -1");
    o.dramShmFd = 0;
    o.localDRAMSize = 0;
    refused_option(0, o, SMEM_INVALID_PARAM, "localDRAMSize is 0");
    o = api_option(2 * MIB, 0);
    o.tag[0] = '-';
    refused_option(0, o, SMEM_INVALID_PARAM, "smem_bm_create2: tag, character 1: tag \"-\"");
    memset(o.tag, 'a', sizeof(o.tag));
    refused_option(0, o, SMEM_INVALID_PARAM, "tag has no NUL within its 32 bytes");
    o = api_option(2 * MIB, 0);
    memcpy(o.tagOpInfo, "a:SDMA:b", 9);
    refused_option(0, o, SMEM_INVALID_PARAM, "tagOpInfo, character 3: \"SDMA\" is no operator");
}

static void test_smem_bm_create2__checks_its_options_without_a_service(void **state)
{
    (void)state;
    check_options();
}

static void test_smem_bm_create2__checks_its_options(void **state)
{
    (void)state;
    check_options();
    check_null_and_range(NO_POOL);
    smem_bm_create_option_t o = api_option(2 * MIB, 0);
    o.dataOpType = SMEMB_DATA_OP_HOST_TCP;
    refused_option(0, o, SMEM_ERROR, "no transport for operator HOST_TCP");
    refused_option(0, api_option(0, 2 * MIB), SMEM_NOT_EXIST, "MF_DEVICE");
}

static void test_smem_bm_create__ignores_what_it_says_it_ignores(void **state)
{
    (void)state;
    uint32_t flags = SMEM_BM_FLAG_CREATE_WITH_SHM | SMEM_BM_FLAG_DRAM_MAP_HOST_VA |
                     SMEM_BM_FLAG_DRAM_BEST_EFFORT | 0x55; /* a node, but no binding */
    smem_bm_t pool = smem_bm_create(63, 1234567, SMEMB_DATA_OP_HOST_SHM, 2 * MIB, 0, flags);
    assert_non_null(pool);
    smem_bm_destroy(pool);
}

static void test_smem_bm_create2__binds_to_a_numa_node(void **state)
{
    uint32_t on = 1u << SMEM_BM_PERFORMANCE_MODE_FLAG_INDEX;
    (void)state;
    smem_bm_create_option_t o = api_option(2 * MIB, 0);
    o.flags = on | 0;
    smem_bm_t pool = smem_bm_create2(0, &o);
    assert_non_null(pool);
    smem_bm_destroy(pool);
    o.flags = on | SMEM_BM_BIND_NUMA_AUTO_AFFINITY_FLAG;
    pool = smem_bm_create2(0, &o);
    assert_non_null(pool);
    smem_bm_destroy(pool);
    o.flags = on | 126; /* no machine of the tests has so many */
    refused_option(0, o, SMEM_INVALID_PARAM, "NUMA node 126 (bits 0 to 6 of flags) is not there");
    o.localDRAMSize = 0;
    refused_option(0, o, SMEM_INVALID_PARAM, "this machine has the nodes 0");
    o.localDRAMSize = 2 * MIB;
    o.flags = 0;
    pool = smem_bm_create2(0, &o); /* the id and the addresses are free again */
    assert_non_null(pool);
    smem_bm_destroy(pool);
}

/* The descriptor of create2; smem_bm_create has none. */
static void test_smem_bm_create2__takes_a_descriptor(void **state)
{
    (void)state;
    int fd = memfd_create("args", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    smem_bm_create_option_t o = api_option(2 * MIB, 0);
    o.flags = SMEM_BM_FLAG_CREATE_WITH_SHM;
    o.dramShmFd = fd;
    smem_bm_t pool = smem_bm_create2(0, &o);
    assert_non_null(pool);
    char *at = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
    void *va = NULL;
    mf_assert_ok(smem_bm_gva_to_va(pool, at, SMEM_MEM_TYPE_LOCAL_HOST, &va));
    memcpy(va, "bytes", 6);
    smem_bm_destroy(pool);
    char back[6] = "";
    assert_int_equal(pread(fd, back, 6, 0), 6);
    assert_string_equal(back, "bytes");
    close(fd);
    refused_option(0, o, SMEM_INVALID_PARAM, "create pool 0 on rank 0: 2097152 bytes of DRAM");
    o.flags = 0; /* then it is not looked at */
    pool = smem_bm_create2(0, &o);
    assert_non_null(pool);
    smem_bm_destroy(pool);
}

/* As a program sees it, from the API's side. */
static void test_smem_bm_extend_local_mem__grows_to_the_maximum(void **state)
{
    (void)state;
    smem_bm_create_option_t o = api_option(2 * MIB, 0);
    o.maxDramSize = 8 * MIB;
    o.flags = SMEM_BM_FLAG_DRAM_BEST_EFFORT | SMEM_BM_FLAG_DRAM_MAP_HOST_VA;
    smem_bm_t pool = smem_bm_create2(0, &o);
    assert_non_null(pool);
    for (uint64_t size = 4 * MIB; size <= 8 * MIB; size += 2 * MIB) {
        smem_get_and_clear_last_err_msg();
        mf_assert_ok(smem_bm_extend_local_mem(pool, SMEM_MEM_TYPE_HOST, 2 * MIB));
        assert_string_equal(smem_get_last_err_msg(), "");
        assert_int_equal(smem_bm_get_local_mem_size_by_mem_type(pool, SMEM_MEM_TYPE_HOST), size);
        mf_assert_ok(smem_bm_join(pool, 0));
    }
    assert_refused(smem_bm_extend_local_mem(pool, SMEM_MEM_TYPE_HOST, 2 * MIB), SMEM_ERROR,
                   "gives 8388608 bytes of DRAM and 2097152 more are wanted, but maxDramSize "
                   "8388608 is the most");
    assert_refused(smem_bm_extend_local_mem(pool, SMEM_MEM_TYPE_DEVICE, 2 * MIB), SMEM_ERROR,
                   "maxHbmSize 0 is the most");
    smem_bm_destroy(pool);
}

/* ---- handles ----------------------------------------------------------------------------------
 */

static void check_stale(smem_bm_t h)
{
    smem_copy_params one = {"x", (void *)(uintptr_t)64, 1, NULL};
    void *addr = (void *)(uintptr_t)64, *va = &va;
    uint64_t size = 1;
    int32_t code = 77;
    smem_batch_copy_params many = {&addr, &addr, &size, 1, NULL};
    smem_batch_copy_result result = {&code, 1};
    assert_refused(smem_bm_join(h, 0), SMEM_INVALID_PARAM, "no handle of a pool");
    assert_refused(smem_bm_leave(h, 0), SMEM_INVALID_PARAM, "no handle of a pool");
    assert_refused(smem_bm_wait(h), SMEM_INVALID_PARAM, "no handle of a pool");
    assert_refused(smem_bm_extend_local_mem(h, SMEM_MEM_TYPE_HOST, 2 * MIB), SMEM_INVALID_PARAM,
                   "no handle");
    assert_refused_null(smem_bm_get_local_mem_size_by_mem_type(h, SMEM_MEM_TYPE_HOST),
                        SMEM_INVALID_PARAM, "no handle");
    assert_refused_null(smem_bm_ptr_by_mem_type(h, SMEM_MEM_TYPE_HOST, 0), SMEM_INVALID_PARAM,
                        "no handle");
    assert_refused(smem_bm_gva_to_va(h, addr, SMEM_MEM_TYPE_LOCAL_HOST, &va), SMEM_INVALID_PARAM,
                   "no handle");
    assert_null(va);
    assert_int_equal(smem_bm_get_rank_id_by_gva(h, addr), (uint32_t)SMEM_INVALID_PARAM);
    assert_refused(smem_bm_copy(h, &one, SMEMB_COPY_H2G, 0), SMEM_INVALID_PARAM, "no handle");
    assert_refused(smem_bm_copy(h, &one, SMEMB_COPY_H2G, ASYNC_COPY_FLAG), SMEM_INVALID_PARAM,
                   "no handle");
    assert_refused(smem_bm_copy_batch(h, &many, SMEMB_COPY_H2G, 0), SMEM_INVALID_PARAM,
                   "no handle");
    assert_refused(smem_bm_copy_batch_partial_succeed(h, &many, SMEMB_COPY_H2G, 0, &result),
                   SMEM_INVALID_PARAM, "no handle");
    assert_int_equal(code, 77);
    assert_refused(smem_bm_register_user_mem(h, 64, 64), SMEM_INVALID_PARAM, "no handle");
    assert_refused(smem_bm_unregister_user_mem(h, 64), SMEM_INVALID_PARAM, "no handle");
    assert_refused(smem_bm_set_group_event_handler(h, NULL, NULL), SMEM_INVALID_PARAM, "no handle");
    mf_err_clear();
    smem_bm_destroy(h);
    mf_assert_rc(smem_get_last_err_code(), SMEM_INVALID_PARAM);
    mf_assert_err_has("smem_bm_destroy");
}

static void test_smem_bm__stale_handles_are_refused(void **state)
{
    (void)state;
    check_stale(NO_POOL);
    check_stale((smem_bm_t)(intptr_t)-1);
    smem_bm_t pool = api_pool(5);
    smem_bm_t made_up[] = {(char *)pool + 1, (smem_bm_t)((uintptr_t)pool ^ 1u << 20)};
    check_stale(made_up[0]);
    check_stale(made_up[1]);
    smem_bm_destroy(pool);
    check_stale(pool);
    smem_bm_t next = api_pool(5);
    assert_ptr_not_equal(next, pool);
    check_stale(pool);
    mf_assert_ok(smem_bm_wait(next));
    mf_err_clear();
    smem_bm_destroy(NULL);
    mf_assert_rc(smem_get_last_err_code(), SMEM_INVALID_PARAM);
    smem_bm_destroy(next);
}

static void test_smem_bm__handles_do_not_outlive_the_service(void **state)
{
    (void)state;
    smem_bm_t pool = api_pool(5);
    api_teardown(NULL);
    assert_refused(smem_bm_join(pool, 0), SMEM_NOT_INIT, "smem_bm_join");
    mf_assert_ok(api_setup(NULL));
    check_stale(pool);
}

/* ---- arguments of calls on a pool ---------------------------------------------------------------
 */

static void test_smem_bm_copy__checks_its_arguments(void **state)
{
    char here[64] = "";
    (void)state;
    smem_bm_t pool = api_pool(0);
    char *there = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
    smem_copy_params p = {here, there, 8, NULL};
    assert_refused(smem_bm_copy(NULL, &p, SMEMB_COPY_H2G, 0), SMEM_INVALID_PARAM, "handle is NULL");
    assert_refused(smem_bm_copy(pool, NULL, SMEMB_COPY_H2G, 0), SMEM_INVALID_PARAM,
                   "params is NULL");
    assert_refused(smem_bm_copy(pool, &p, SMEMB_COPY_BUTT, 0), SMEM_INVALID_PARAM, "type 10");
    assert_refused(smem_bm_copy(pool, &p, (smem_bm_copy_type)-1, 0), SMEM_INVALID_PARAM, "type -1");
    assert_refused(smem_bm_copy(pool, &p, SMEMB_COPY_H2G, SMEM_BM_FLAG_USE_EXTERNAL_STREAM),
                   SMEM_INVALID_PARAM, "params->stream is NULL");
    p.src = NULL;
    assert_refused(smem_bm_copy(pool, &p, SMEMB_COPY_H2G, 0), SMEM_INVALID_PARAM, "src is NULL");
    p = (smem_copy_params){here, NULL, 8, NULL};
    assert_refused(smem_bm_copy(pool, &p, SMEMB_COPY_H2G, 0), SMEM_INVALID_PARAM, "dest is NULL");
    p = (smem_copy_params){here, there, 0, NULL};
    assert_refused(smem_bm_copy(pool, &p, SMEMB_COPY_H2G, 0), SMEM_INVALID_PARAM, "dataSize is 0");
    p.dataSize = (1ull << 46) + 1;
    assert_refused(smem_bm_copy(pool, &p, SMEMB_COPY_H2G, 0), SMEM_INVALID_PARAM, "70368744177665");
    p = (smem_copy_params){here, there, 8, (void *)(uintptr_t)1}; /* without its flag: not read */
    mf_assert_ok(smem_bm_copy(pool, &p, SMEMB_COPY_H2G, COPY_EXTEND_FLAG | 1u << 30));
    smem_bm_destroy(pool);
}

static void test_smem_bm_copy_batch__checks_its_arguments(void **state)
{
    char here[64] = "";
    int32_t codes[2] = {77, 77};
    (void)state;
    smem_bm_t pool = api_pool(0);
    char *there = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
    void *src[2] = {here, here + 8}, *dst[2] = {there, there + 8};
    uint64_t size[2] = {8, 8};
    smem_batch_copy_params ok = {src, dst, size, 2, NULL}, p;
    smem_batch_copy_result r = {codes, 2};
    const struct {
        smem_batch_copy_params p;
        const char *part;
    } bad[] = {
        {{NULL, dst, size, 2, NULL}, "sources is NULL"},
        {{src, NULL, size, 2, NULL}, "destinations is NULL"},
        {{src, dst, NULL, 2, NULL}, "dataSizes is NULL"},
        {{src, dst, size, 0, NULL}, "batchSize 0"},
        {{src, dst, size, (1u << 24) + 1, NULL}, "batchSize 16777217"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        p = bad[i].p;
        assert_refused(smem_bm_copy_batch(pool, &p, SMEMB_COPY_H2G, 0), SMEM_INVALID_PARAM,
                       bad[i].part);
        assert_refused(smem_bm_copy_batch_partial_succeed(pool, &p, SMEMB_COPY_H2G, 0, &r),
                       SMEM_INVALID_PARAM, bad[i].part);
    }
    assert_refused(smem_bm_copy_batch(pool, NULL, SMEMB_COPY_H2G, 0), SMEM_INVALID_PARAM, "params");
    assert_refused(smem_bm_copy_batch(NULL, &ok, SMEMB_COPY_H2G, 0), SMEM_INVALID_PARAM, "handle");
    assert_refused(smem_bm_copy_batch(pool, &ok, SMEMB_COPY_BUTT, 0), SMEM_INVALID_PARAM,
                   "type 10");
    assert_refused(smem_bm_copy_batch(pool, &ok, SMEMB_COPY_H2G, SMEM_BM_FLAG_USE_EXTERNAL_STREAM),
                   SMEM_INVALID_PARAM, "params->stream is NULL");
    assert_refused(smem_bm_copy_batch_partial_succeed(pool, &ok, SMEMB_COPY_H2G,
                                                      SMEM_BM_FLAG_USE_EXTERNAL_STREAM, &r),
                   SMEM_INVALID_PARAM, "use smem_bm_copy_batch");
    assert_refused(smem_bm_copy_batch_partial_succeed(pool, &ok, SMEMB_COPY_H2G, 0, NULL),
                   SMEM_INVALID_PARAM, "result is NULL");
    r.results = NULL;
    assert_refused(smem_bm_copy_batch_partial_succeed(pool, &ok, SMEMB_COPY_H2G, 0, &r),
                   SMEM_INVALID_PARAM, "results is NULL");
    r = (smem_batch_copy_result){codes, 1};
    assert_refused(smem_bm_copy_batch_partial_succeed(pool, &ok, SMEMB_COPY_H2G, 0, &r),
                   SMEM_INVALID_PARAM, "result->batchSize 1 differs from params->batchSize 2");
    assert_int_equal(codes[0], 77);
    r.batchSize = 2;
    mf_assert_ok(
        smem_bm_copy_batch_partial_succeed(pool, &ok, SMEMB_COPY_H2G, ASYNC_COPY_FLAG, &r));
    assert_int_equal(codes[0] | codes[1], 0);
    smem_bm_destroy(pool);
}

static void test_smem_bm__refuses_what_comes_later(void **state)
{
    (void)state;
    uint16_t port = 7;
    char ip[64] = "x";
    smem_bm_t pool = api_pool(0);
    mf_assert_ok(smem_bm_set_group_event_handler(pool, NULL, NULL));
    assert_refused(smem_bm_get_bindable_leader_address(ip, sizeof(ip), &port), SMEM_ERROR,
                   "no leader");
    assert_string_equal(ip, "x");
    assert_int_equal(port, 7);
    mf_assert_ok(smem_bm_register_leader_change_callback(NULL, NULL));
    assert_refused(
        smem_bm_register_leader_change_callback((smem_bm_leader_change_cb)(uintptr_t)abort, NULL),
        SMEM_ERROR, "no leader");
    check_store_url_leader();
    smem_bm_destroy(pool);
}

static void test_smem_bm_register_user_mem__rules(void **state)
{
    static char buffer[3 * 4096];
    uint64_t addr = (uint64_t)(uintptr_t)buffer;
    (void)state;
    smem_bm_t pool = api_pool(0);
    assert_refused(smem_bm_register_user_mem(pool, addr, 0), SMEM_ERROR, "size 0");
    assert_refused(smem_bm_register_user_mem(pool, addr, (1ull << 40) + 1), SMEM_ERROR,
                   "1099511627777");
    assert_refused(smem_bm_register_user_mem(pool, UINT64_MAX - 10, 100), SMEM_ERROR, "wraps");
    mf_assert_ok(smem_bm_register_user_mem(pool, addr, 4096));
    mf_assert_ok(smem_bm_register_user_mem(pool, addr, 4096));
    assert_refused(smem_bm_register_user_mem(pool, addr, 8192), SMEM_ERROR, "4096 bytes already");
    mf_assert_ok(smem_bm_unregister_user_mem(pool, addr + 1));
    mf_assert_ok(smem_bm_unregister_user_mem(pool, addr));
    mf_assert_ok(smem_bm_unregister_user_mem(pool, addr));
    mf_assert_ok(smem_bm_register_user_mem(pool, addr, 8192));
    for (uint64_t i = 1; i < 4096; i++) {
        mf_assert_ok(smem_bm_register_user_mem(pool, addr + i, 1));
    }
    assert_refused(smem_bm_register_user_mem(pool, addr + 4096, 1), SMEM_NO_RESOURCES, "4096");
    mf_assert_ok(smem_bm_unregister_user_mem(pool, addr + 7));
    mf_assert_ok(smem_bm_register_user_mem(pool, addr + 4096, 1));
    smem_bm_destroy(pool); /* with all of them */
}

static void test_smem_bm_register_user_mem__needs_memory(void **state)
{
    char part[64];
    (void)state;
    smem_bm_t pool = api_pool(0);
    char *at = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(at, MAP_FAILED);
    uint64_t addr = (uint64_t)(uintptr_t)at;
    assert_int_equal(mprotect(at + 3 * 4096, 4096, PROT_NONE), 0);
    assert_int_equal(munmap(at + 4096, 4096), 0);
    mf_assert_ok(smem_bm_register_user_mem(pool, addr, 4096));
    snprintf(part, sizeof(part), "read at 0x%llx", (unsigned long long)addr + 4096);
    assert_refused(smem_bm_register_user_mem(pool, addr + 1, 4096), SMEM_INVALID_PARAM, part);
    assert_refused(smem_bm_register_user_mem(pool, addr + 4096, 1), SMEM_INVALID_PARAM, part);
    snprintf(part, sizeof(part), "read at 0x%llx", (unsigned long long)addr + 3 * 4096);
    assert_refused(smem_bm_register_user_mem(pool, addr + 2 * 4096, 4097), SMEM_INVALID_PARAM,
                   part);
    /* Over a seam between two mappings. */
    assert_int_equal(mprotect(at + 3 * 4096, 4096, PROT_READ), 0);
    mf_assert_ok(smem_bm_register_user_mem(pool, addr + 2 * 4096, 2 * 4096));
    mf_assert_ok(smem_bm_unregister_user_mem(pool, addr + 2 * 4096));
    smem_bm_destroy(pool);
    munmap(at, 4 * 4096);
}

static void *register_many(void *pool)
{
    static char buffer[64];
    for (int i = 0; i < 300; i++) {
        uint64_t addr = (uint64_t)(uintptr_t)buffer;
        int rc = smem_bm_register_user_mem(pool, addr, sizeof(buffer));
        rc = rc ? rc : smem_bm_unregister_user_mem(pool, addr);
        if (rc) {
            return (void *)(intptr_t)rc;
        }
    }
    return NULL;
}

static void test_smem_bm_register_user_mem__from_two_threads(void **state)
{
    pthread_t other;
    void *rc = NULL;
    (void)state;
    smem_bm_t pool = api_pool(0);
    assert_int_equal(pthread_create(&other, NULL, register_many, pool), 0);
    assert_null(register_many(pool));
    assert_int_equal(pthread_join(other, &rc), 0);
    assert_null(rc);
    smem_bm_destroy(pool);
}

static void test_smem_bm__addresses(void **state)
{
    void *va = NULL;
    (void)state;
    smem_bm_create_option_t o = api_option(4 * MIB, 0);
    o.maxDramSize = 8 * MIB;
    smem_bm_t pool = smem_bm_create2(0, &o);
    assert_non_null(pool);
    char *base = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
    for (uint16_t rank = 0; rank < 4; rank++) {
        char *at = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, rank);
        assert_ptr_equal(at, base + rank * 8 * MIB);
        assert_int_equal(smem_bm_get_rank_id_by_gva(pool, at), rank);
        assert_int_equal(smem_bm_get_rank_id_by_gva(pool, at + 8 * MIB - 1), rank);
    }
    assert_int_equal(smem_bm_get_rank_id_by_gva(pool, base - 1), UINT32_MAX);
    assert_int_equal(smem_bm_get_rank_id_by_gva(pool, base + 32 * MIB), UINT32_MAX);
    assert_int_equal(smem_bm_get_rank_id_by_gva(pool, NULL), UINT32_MAX);
    assert_refused_null(smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 4), SMEM_INVALID_PARAM,
                        "peerRankId 4 is not below the world size 4");
    assert_refused_null(smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_DEVICE, 0), SMEM_INVALID_PARAM,
                        "no device memory");
    assert_true(smem_bm_get_local_mem_size_by_mem_type(pool, SMEM_MEM_TYPE_HOST) == 4 * MIB);
    assert_true(smem_bm_get_local_mem_size_by_mem_type(pool, SMEM_MEM_TYPE_DEVICE) == 0);
    mf_assert_ok(smem_bm_gva_to_va(pool, base + 5, SMEM_MEM_TYPE_LOCAL_HOST, &va));
    assert_ptr_equal(va, base + 5);
    assert_refused(smem_bm_gva_to_va(pool, base + 4 * MIB, SMEM_MEM_TYPE_LOCAL_HOST, &va),
                   SMEM_ERROR, "has no memory at");
    assert_null(va);
    assert_refused(smem_bm_gva_to_va(pool, base, SMEM_MEM_TYPE_LOCAL_DEVICE, &va), SMEM_ERROR,
                   "cannot be reached by this process's device");
    assert_refused(smem_bm_gva_to_va(pool, base - 1, SMEM_MEM_TYPE_LOCAL_HOST, &va),
                   SMEM_INVALID_PARAM, "is not in pool 0");
    mf_assert_ok(smem_bm_join(pool, 0));
    assert_refused(smem_bm_gva_to_va(pool, base + 8 * MIB, SMEM_MEM_TYPE_LOCAL_HOST, &va),
                   SMEM_NOT_CONNECTED, "rank 1 is not in pool 0: it has not joined");
    smem_bm_destroy(pool);
}

#define served(test) cmocka_unit_test_setup_teardown(test, api_setup, api_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smem_bm_config_init__gives_the_defaults),
        cmocka_unit_test(test_smem_bm_init__checks_world_url_and_config),
        cmocka_unit_test(test_smem_bm_init__checks_every_member),
        cmocka_unit_test(test_smem_bm__without_a_service),
        cmocka_unit_test(test_smem_bm__null_and_range_without_a_service),
        cmocka_unit_test(test_smem_bm_create2__checks_its_options_without_a_service),
        served(test_smem_bm_create2__checks_its_options),
        served(test_smem_bm_create__ignores_what_it_says_it_ignores),
        served(test_smem_bm_create2__binds_to_a_numa_node),
        served(test_smem_bm_create2__takes_a_descriptor),
        served(test_smem_bm_extend_local_mem__grows_to_the_maximum),
        served(test_smem_bm__stale_handles_are_refused),
        served(test_smem_bm__handles_do_not_outlive_the_service),
        served(test_smem_bm_copy__checks_its_arguments),
        served(test_smem_bm_copy_batch__checks_its_arguments),
        served(test_smem_bm__refuses_what_comes_later),
        served(test_smem_bm_register_user_mem__rules),
        served(test_smem_bm_register_user_mem__needs_memory),
        served(test_smem_bm_register_user_mem__from_two_threads),
        served(test_smem_bm__addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
