// SPDX-License-Identifier: Apache-2.0
// The replay's fabric over the BM API.
#include "fabric_bm.h"

#include <stdio.h>
#include <stdlib.h>

#include "alloc.h"

#define POOL_ID           1u
#define INIT_TIMEOUT_S    30u
#define CONTROL_TIMEOUT_S 30u

static struct fabric_bm *bm_of(struct fabric *fabric)
{
    return (struct fabric_bm *)(void *)fabric;
}

_Static_assert(offsetof(struct fabric_bm, fabric) == 0, "bm_of() relies on it");

static int copy_one(struct fabric *fabric, const void *from, void *to, size_t bytes,
                    smem_bm_copy_type_t type)
{
    smem_copy_params params = {.src = from, .dest = to, .dataSize = bytes};

    return smem_bm_copy(bm_of(fabric)->pool, &params, type, 0) == SMEM_OK ? 0 : -1;
}

static int bm_get(struct fabric *fabric, void *to, uint64_t from, size_t bytes)
{
    return copy_one(fabric, (const void *)(uintptr_t)from, to, bytes, SMEMB_COPY_G2H);
}

static int bm_put(struct fabric *fabric, uint64_t to, const void *from, size_t bytes)
{
    return copy_one(fabric, from, (void *)(uintptr_t)to, bytes, SMEMB_COPY_H2G);
}

static int copy_many(struct fabric *fabric, void **from, void **to, const uint64_t *bytes,
                     uint32_t count, smem_bm_copy_type_t type)
{
    smem_batch_copy_params params = {
        .sources = from, .destinations = to, .dataSizes = bytes, .batchSize = count};

    return smem_bm_copy_batch(bm_of(fabric)->pool, &params, type, 0) == SMEM_OK ? 0 : -1;
}

static int bm_get_batch(struct fabric *fabric, void **to, void **from, const uint64_t *bytes,
                        uint32_t count)
{
    return copy_many(fabric, from, to, bytes, count, SMEMB_COPY_G2H);
}

static int bm_put_batch(struct fabric *fabric, void **to, void **from, const uint64_t *bytes,
                        uint32_t count)
{
    return copy_many(fabric, from, to, bytes, count, SMEMB_COPY_H2G);
}

static const char *bm_error(struct fabric *fabric)
{
    (void)fabric;
    return smem_get_last_err_msg();
}

static const struct fabric_ops bm_ops = {
    .get = bm_get,
    .put = bm_put,
    .get_batch = bm_get_batch,
    .put_batch = bm_put_batch,
    .error = bm_error,
};

static int failed(char *error, const char *what)
{
    snprintf(error, FABRIC_ERROR_BYTES, "%s: %s", what, smem_get_last_err_msg());
    return -1;
}

static int start_service(const struct fabric_bm_cfg *cfg, char *error)
{
    smem_bm_config_t config;

    if (smem_bm_config_init(&config) != SMEM_OK) {
        return failed(error, "configuration");
    }
    config.autoRanking = false;
    config.rankId = cfg->rank;
    config.startConfigStoreServer = false;
    config.initTimeout = INIT_TIMEOUT_S;
    config.controlOperationTimeout = CONTROL_TIMEOUT_S;
    if (smem_bm_init(cfg->store_url, cfg->ranks, 0, &config) != SMEM_OK) {
        return failed(error, "start");
    }
    return 0;
}

/* Learns where each rank's part is, and this rank's own. */
static int find_parts(struct fabric_bm *bm, const struct fabric_bm_cfg *cfg)
{
    void *own = NULL;

    for (uint32_t rank = 0; rank < cfg->ranks; rank++) {
        void *part = smem_bm_ptr_by_mem_type(bm->pool, SMEM_MEM_TYPE_HOST, (uint16_t)rank);

        if (!part) {
            return -1;
        }
        bm->fabric.bases[rank] = (uint64_t)(uintptr_t)part;
    }
    if (smem_bm_gva_to_va(bm->pool, (void *)(uintptr_t)bm->fabric.bases[cfg->rank],
                          SMEM_MEM_TYPE_LOCAL_HOST, &own) != SMEM_OK) {
        return -1;
    }
    bm->fabric.own = own;
    return 0;
}

int fabric_bm_open(struct fabric_bm *bm, const struct fabric_bm_cfg *cfg, char *error)
{
    smem_bm_create_option_t option = {
        .maxDramSize = cfg->bytes, .localDRAMSize = cfg->bytes, .dataOpType = cfg->op};

    if (start_service(cfg, error)) {
        return -1;
    }
    bm->fabric.ops = &bm_ops;
    bm->fabric.rank = cfg->rank;
    bm->fabric.ranks = cfg->ranks;
    bm->pool = smem_bm_create2(POOL_ID, &option);
    if (!bm->pool) {
        failed(error, "create the pool");
        smem_bm_uninit(0);
        return -1;
    }
    bm->fabric.bases = cli_alloc(cfg->ranks, sizeof(*bm->fabric.bases));
    if (find_parts(bm, cfg)) {
        failed(error, "find the pool's parts");
        fabric_bm_close(bm, false);
        return -1;
    }
    return 0;
}

int fabric_bm_join(struct fabric_bm *bm, char *error)
{
    return smem_bm_join(bm->pool, 0) == SMEM_OK ? 0 : failed(error, "join the pool");
}

void fabric_bm_close(struct fabric_bm *bm, bool leave)
{
    if (leave && smem_bm_leave(bm->pool, 0) != SMEM_OK) {
        fprintf(stderr, "mfcli replay: leave the pool: %s\n", smem_get_last_err_msg());
    }
    smem_bm_destroy(bm->pool);
    smem_bm_uninit(0);
    free(bm->fabric.bases);
    bm->fabric.bases = NULL;
}
