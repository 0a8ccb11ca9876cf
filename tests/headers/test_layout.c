// SPDX-License-Identifier: Apache-2.0
// The binary interface as programs were compiled with it: sizes, offsets and alignments of the
// public structs, values of the public enumerators and macros. The numbers are written down here a
// second time, so that a change of a header is a change of two files.
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "smem_bm.h"
#include "smem_config_store_api.h"

struct number {
    const char *name;
    int64_t actual;
    int64_t expected;
};

#define VALUE(name, expected)            \
    {                                    \
#name, (int64_t)(name), expected \
    }
#define SIZE(type, expected)                             \
    {                                                    \
        "sizeof " #type, (int64_t)sizeof(type), expected \
    }
#define ALIGN(type, expected)                                \
    {                                                        \
        "alignof " #type, (int64_t) _Alignof(type), expected \
    }
#define OFFSET(type, field, expected)                              \
    {                                                              \
#type "." #field, (int64_t)offsetof(type, field), expected \
    }

static const struct number values[] = {
    /* codes */
    VALUE(SMEM_OK, 0),
    VALUE(SMEM_ERROR, -1),
    VALUE(SMEM_INVALID_PARAM, -2000),
    VALUE(SMEM_MALLOC_FAILED, -2001),
    VALUE(SMEM_NO_RESOURCES, -2002),
    VALUE(SMEM_NOT_STARTED, -2003),
    VALUE(SMEM_TIMEOUT, -2004),
    VALUE(SMEM_REPEAT_INVOKE, -2005),
    VALUE(SMEM_DUPLICATED, -2006),
    VALUE(SMEM_NOT_EXIST, -2007),
    VALUE(SMEM_NOT_INIT, -2008),
    VALUE(SMEM_RES_IN_USE, -2009),
    VALUE(SMEM_PARTIAL_FAILED, -2012),
    VALUE(SMEM_NOT_CONNECTED, -2014),
    VALUE(SMEM_BUFFER_TOO_SMALL, -2015),
    /* common */
    VALUE(ASYNC_COPY_FLAG, 1),
    VALUE(COPY_EXTEND_FLAG, 2),
    VALUE(SMEM_BM_FLAG_USE_EXTERNAL_STREAM, 4),
    VALUE(SMEM_WORLD_SIZE_MAX, 1024),
    VALUE(SMEM_INVALID_DEV_ID, -1),
    VALUE(SMEM_STORE_SKIP_RECOVER, 1),
    /* backend */
    VALUE(SMEM_STORE_BACKEND_CODE_OK, 0),
    VALUE(SMEM_STORE_BACKEND_CODE_BASE, -3000),
    VALUE(SMEM_STORE_BACKEND_CODE_INTERNAL, -3000),
    VALUE(SMEM_STORE_BACKEND_CODE_INVAL, -3001),
    VALUE(SMEM_STORE_BACKEND_CODE_BUFEX, -3002),
    VALUE(SMEM_STORE_BACKEND_CODE_PERM, -3003),
    VALUE(SMEM_STORE_BACKEND_CODE_NORES, -3004),
    VALUE(SMEM_STORE_BACKEND_CODE_NOENT, -3005),
    VALUE(SMEM_STORE_BACKEND_CODE_LOCKED, -3006),
    VALUE(SMEM_STORE_BACKEND_CODE_UNLOCKED, -3007),
    /* bm macros */
    VALUE(SMEM_BM_TIMEOUT_MAX, 4294967295),
    VALUE(SMEM_TLS_PATH_SIZE, 256),
    VALUE(SMEM_BM_BIND_NUMA_FLAG_INDEX, 0),
    VALUE(SMEM_BM_BIND_NUMA_FLAG_LEN, 7),
    VALUE(SMEM_BM_PERFORMANCE_MODE_FLAG_INDEX, 7),
    VALUE(SMEM_BM_PERFORMANCE_MODE_FLAG_LEN, 1),
    VALUE(SMEM_BM_BIND_NUMA_AUTO_AFFINITY_FLAG, 127),
    VALUE(SMEM_BM_FLAG_CREATE_WITH_SHM, 256),
    VALUE(SMEM_BM_FLAG_DRAM_MAP_HOST_VA, 512),
    VALUE(SMEM_BM_FLAG_DRAM_BEST_EFFORT, 1024),
    /* kinds of memory */
    VALUE(SMEM_MEM_TYPE_LOCAL_DEVICE, 0),
    VALUE(SMEM_MEM_TYPE_LOCAL_HOST, 1),
    VALUE(SMEM_MEM_TYPE_DEVICE, 2),
    VALUE(SMEM_MEM_TYPE_HOST, 3),
    VALUE(SMEM_MEM_TYPE_BUTT, 4),
    /* operators */
    VALUE(SMEMB_DATA_OP_SDMA, 1),
    VALUE(SMEMB_DATA_OP_HOST_RDMA, 2),
    VALUE(SMEMB_DATA_OP_HOST_TCP, 4),
    VALUE(SMEMB_DATA_OP_DEVICE_RDMA, 8),
    VALUE(SMEMB_DATA_OP_HOST_URMA, 16),
    VALUE(SMEMB_DATA_OP_HOST_SHM, 32),
    VALUE(SMEMB_DATA_OP_DEVICE_URMA, 64),
    VALUE(SMEMB_DATA_OP_DEVICE_UBOE, 128),
    VALUE(SMEMB_DATA_OP_BUTT, 129),
    /* directions */
    VALUE(SMEMB_COPY_L2G, 0),
    VALUE(SMEMB_COPY_G2L, 1),
    VALUE(SMEMB_COPY_G2H, 2),
    VALUE(SMEMB_COPY_H2G, 3),
    VALUE(SMEMB_COPY_L2GH, 4),
    VALUE(SMEMB_COPY_GH2L, 5),
    VALUE(SMEMB_COPY_GH2H, 6),
    VALUE(SMEMB_COPY_H2GH, 7),
    VALUE(SMEMB_COPY_G2G, 8),
    VALUE(SMEMB_COPY_AUTO, 9),
    VALUE(SMEMB_COPY_BUTT, 10),
    /* events */
    VALUE(SMEM_GROUP_EVENT_JOIN, 0),
    VALUE(SMEM_GROUP_EVENT_LEAVE, 1),
    VALUE(SMEM_MEMBER_EVENT_BUTT, 2),
};

static const struct number layouts[] = {
    SIZE(smem_store_prefix_get_ctx_t, 32),
    OFFSET(smem_store_prefix_get_ctx_t, prefix, 0),
    OFFSET(smem_store_prefix_get_ctx_t, marker, 8),
    OFFSET(smem_store_prefix_get_ctx_t, context, 16),
    OFFSET(smem_store_prefix_get_ctx_t, fill, 24),
    SIZE(smem_conf_store_backend_op_t, 80),
    OFFSET(smem_conf_store_backend_op_t, distributed, 0),
    OFFSET(smem_conf_store_backend_op_t, create, 8),
    OFFSET(smem_conf_store_backend_op_t, destroy, 16),
    OFFSET(smem_conf_store_backend_op_t, put, 24),
    OFFSET(smem_conf_store_backend_op_t, get, 32),
    OFFSET(smem_conf_store_backend_op_t, prefix_get, 40),
    OFFSET(smem_conf_store_backend_op_t, remove, 48),
    OFFSET(smem_conf_store_backend_op_t, lock, 56),
    OFFSET(smem_conf_store_backend_op_t, try_lock, 64),
    OFFSET(smem_conf_store_backend_op_t, unlock, 72),
    SIZE(smem_tls_config, 1793),
    OFFSET(smem_tls_config, tlsEnable, 0),
    OFFSET(smem_tls_config, caPath, 1),
    OFFSET(smem_tls_config, crlPath, 257),
    OFFSET(smem_tls_config, certPath, 513),
    OFFSET(smem_tls_config, keyPath, 769),
    OFFSET(smem_tls_config, keyPassPath, 1025),
    OFFSET(smem_tls_config, packagePath, 1281),
    OFFSET(smem_tls_config, decrypterLibPath, 1537),
    SIZE(smem_bm_config_t, 3680),
    OFFSET(smem_bm_config_t, initTimeout, 0),
    OFFSET(smem_bm_config_t, createTimeout, 4),
    OFFSET(smem_bm_config_t, controlOperationTimeout, 8),
    OFFSET(smem_bm_config_t, startConfigStoreServer, 12),
    OFFSET(smem_bm_config_t, startConfigStoreOnly, 13),
    OFFSET(smem_bm_config_t, dynamicWorldSize, 14),
    OFFSET(smem_bm_config_t, unifiedAddressSpace, 15),
    OFFSET(smem_bm_config_t, autoRanking, 16),
    OFFSET(smem_bm_config_t, rankId, 20),
    OFFSET(smem_bm_config_t, flags, 24),
    OFFSET(smem_bm_config_t, hcomUrl, 28),
    OFFSET(smem_bm_config_t, hcomTlsConfig, 92),
    OFFSET(smem_bm_config_t, storeTlsConfig, 1885),
    SIZE(smem_bm_create_option_t, 336),
    OFFSET(smem_bm_create_option_t, maxDramSize, 0),
    OFFSET(smem_bm_create_option_t, maxHbmSize, 8),
    OFFSET(smem_bm_create_option_t, localDRAMSize, 16),
    OFFSET(smem_bm_create_option_t, localHBMSize, 24),
    OFFSET(smem_bm_create_option_t, dataOpType, 32),
    OFFSET(smem_bm_create_option_t, enable56BitsGva, 36),
    OFFSET(smem_bm_create_option_t, flags, 40),
    OFFSET(smem_bm_create_option_t, tag, 44),
    OFFSET(smem_bm_create_option_t, tagOpInfo, 76),
    OFFSET(smem_bm_create_option_t, dramShmFd, 332),
    SIZE(smem_copy_params, 32),
    OFFSET(smem_copy_params, src, 0),
    OFFSET(smem_copy_params, dest, 8),
    OFFSET(smem_copy_params, dataSize, 16),
    OFFSET(smem_copy_params, stream, 24),
    SIZE(smem_batch_copy_params, 40),
    OFFSET(smem_batch_copy_params, sources, 0),
    OFFSET(smem_batch_copy_params, destinations, 8),
    OFFSET(smem_batch_copy_params, dataSizes, 16),
    OFFSET(smem_batch_copy_params, batchSize, 24),
    OFFSET(smem_batch_copy_params, stream, 32),
    SIZE(smem_batch_copy_result, 16),
    OFFSET(smem_batch_copy_result, results, 0),
    OFFSET(smem_batch_copy_result, batchSize, 8),
    SIZE(smem_tls_options_t, 72),
    OFFSET(smem_tls_options_t, enable_tls, 0),
    OFFSET(smem_tls_options_t, tls_top_path, 8),
    OFFSET(smem_tls_options_t, tls_cert, 16),
    OFFSET(smem_tls_options_t, tls_crl_path, 24),
    OFFSET(smem_tls_options_t, tls_ca_path, 32),
    OFFSET(smem_tls_options_t, tls_ca_file, 40),
    OFFSET(smem_tls_options_t, tls_crl_file, 48),
    OFFSET(smem_tls_options_t, tls_private_key, 56),
    OFFSET(smem_tls_options_t, tls_private_key_password, 64),
    SIZE(smem_config_store_leader_info_t, 16),
    OFFSET(smem_config_store_leader_info_t, is_leader, 0),
    OFFSET(smem_config_store_leader_info_t, bindable_leader_address, 8),
    ALIGN(smem_tls_config, 1),
    ALIGN(smem_bm_config_t, 4),
    ALIGN(smem_bm_create_option_t, 8),
    ALIGN(smem_copy_params, 8),
    ALIGN(smem_batch_copy_params, 8),
    ALIGN(smem_batch_copy_result, 8),
};

static void check(const struct number *numbers, size_t count)
{
    size_t wrong = 0;

    for (size_t i = 0; i < count; i++) {
        print_message("%-48s %" PRId64 "\n", numbers[i].name, numbers[i].actual);
        if (numbers[i].actual != numbers[i].expected) {
            print_error("%s is %" PRId64 ", must be %" PRId64 "\n", numbers[i].name,
                        numbers[i].actual, numbers[i].expected);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void test_values__are_those_of_the_abi(void **state)
{
    (void)state;
    check(values, sizeof(values) / sizeof(values[0]));
}

static void test_layouts__are_those_of_the_abi(void **state)
{
    (void)state;
    check(layouts, sizeof(layouts) / sizeof(layouts[0]));
}

#define STRINGIFY2(text) #text
#define STRINGIFY(text)  STRINGIFY2(text)

/* Programs define these macros too; C allows that for the same tokens only. */
static void test_flags__keep_their_tokens(void **state)
{
    (void)state;
    assert_string_equal(STRINGIFY(ASYNC_COPY_FLAG), "(1UL << (0))");
    assert_string_equal(STRINGIFY(COPY_EXTEND_FLAG), "(1UL << (1))");
    assert_string_equal(STRINGIFY(SMEM_BM_FLAG_USE_EXTERNAL_STREAM), "(1UL << (2))");
}

/* Operators are bits of their own, but for the end mark, which is no bit and must not be taken for
 * a combination that is asked for. */
static void test_operators__are_distinct_bits(void **state)
{
    (void)state;
    static const int bits[] = {
        SMEMB_DATA_OP_SDMA,        SMEMB_DATA_OP_HOST_RDMA,   SMEMB_DATA_OP_HOST_TCP,
        SMEMB_DATA_OP_DEVICE_RDMA, SMEMB_DATA_OP_HOST_URMA,   SMEMB_DATA_OP_HOST_SHM,
        SMEMB_DATA_OP_DEVICE_URMA, SMEMB_DATA_OP_DEVICE_UBOE,
    };
    int seen = 0;

    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        assert_int_equal(bits[i] & (bits[i] - 1), 0);
        assert_int_equal(seen & bits[i], 0);
        seen |= bits[i];
    }
    assert_int_equal(seen, 0xff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values__are_those_of_the_abi),
        cmocka_unit_test(test_layouts__are_those_of_the_abi),
        cmocka_unit_test(test_flags__keep_their_tokens),
        cmocka_unit_test(test_operators__are_distinct_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
