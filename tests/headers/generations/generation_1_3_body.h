/* SPDX-License-Identifier: Apache-2.0 */
/* A program in the style of 1.3.0, in the common part of C99 and C++11: external streams, the
 * config store API, leaders, cluster status, every alias that ends in _t. */
#include <stdio.h>
#include <string.h>

#include "smem.h"
#include "smem_bm.h"
#include "smem_config_store_api.h"

static int32_t on_broken(void *context, uint32_t link_id, uint32_t rank_id)
{
    printf("%s: link %u of rank %u is broken\n", (const char *)context, (unsigned)link_id,
           (unsigned)rank_id);
    return 0;
}

static void on_leader(void *context, const smem_config_store_leader_info_t *info)
{
    (void)context;
    if (info->is_leader != 0 && info->bindable_leader_address != NULL) {
        printf("leads at %s\n", info->bindable_leader_address);
    }
}

static void on_leader_change(void *userData)
{
    (void)userData;
}

static int32_t host_store(const char *url)
{
    smem_tls_options_t tls;
    char json[512];
    char ip[64];
    uint32_t length = 0;
    uint16_t port = 0;
    smem_tls_config_t tlsConfig;
    smem_config_store_t store = smem_config_store_create_server(url);

    memset(&tls, 0, sizeof tls);
    memset(&tlsConfig, 0, sizeof tlsConfig);
    smem_config_store_set_tls(&tls, NULL, NULL);
    smem_config_store_set_server_broken_handler(store, on_broken, (void *)ip);
    if (smem_config_store_set_leader_handler(store, on_leader, NULL) > 1) {
        return SMEM_ERROR;
    }
    if (smem_config_store_get_cluster_status(json, sizeof json, &length) == SMEM_BUFFER_TOO_SMALL) {
        return SMEM_NO_RESOURCES;
    }
    smem_bm_get_bindable_leader_address(ip, sizeof ip, &port);
    smem_bm_get_bindable_leader_address_by_store_url(url, &tlsConfig, 2, ip, sizeof ip, &port);
    smem_bm_release_leader_address_store();
    smem_bm_register_leader_change_callback(on_leader_change, NULL);
    smem_bm_update_store_server("127.0.0.1", 8575);
    smem_config_store_destroy_server(store, url);
    return SMEM_OK;
}

static int32_t copy_on_stream(smem_bm_t bm, void *stream)
{
    smem_bm_mem_type_t kind = SMEM_MEM_TYPE_DEVICE;
    smem_bm_copy_type_t type = SMEMB_COPY_G2G;
    smem_copy_params_t params;

    params.src = smem_bm_ptr_by_mem_type(bm, kind, 0);
    params.dest = smem_bm_ptr_by_mem_type(bm, kind, 1);
    params.dataSize = 4096;
    params.stream = stream;
    return smem_bm_copy(bm, &params, type, ASYNC_COPY_FLAG | SMEM_BM_FLAG_USE_EXTERNAL_STREAM);
}

int main(void)
{
    const char *url = "tcp://0.0.0.0:8575";
    smem_batch_copy_result_t result;
    smem_batch_copy_params_t batch;
    smem_bm_data_op_type_t op = SMEMB_DATA_OP_SDMA;
    smem_bm_t bm;

    memset(&result, 0, sizeof result);
    memset(&batch, 0, sizeof batch);
    if (smem_get_abi_version() >> 16 != 1 || host_store(url) != SMEM_OK) {
        return 1;
    }
    bm = smem_bm_create(0, 1, op, 0, 1UL << 21, 0);
    if (copy_on_stream(bm, NULL) == SMEM_OK) {
        return 1;
    }
    return smem_bm_copy_batch_partial_succeed(bm, &batch, SMEMB_COPY_AUTO, 0, &result) == SMEM_OK;
}
