// SPDX-License-Identifier: Apache-2.0
// The replay's fabric over the BM API: one pool of DRAM in which each rank has a part of one size.
#ifndef MFCLI_REPLAY_FABRIC_BM_H
#define MFCLI_REPLAY_FABRIC_BM_H

#include "fabric.h"
#include "smem_bm.h"

struct fabric_bm_cfg {
    const char *store_url;
    uint32_t rank;
    uint32_t ranks;
    uint64_t bytes; /* of each rank's part */
    smem_bm_data_op_type_t op;
};

struct fabric_bm {
    struct fabric fabric; /* what the replay works with */
    smem_bm_t pool;
};

/**
 * Starts the service, creates this rank's part and maps it; others do not see it yet.
 *
 * @param error receives a sentence on failure; FABRIC_ERROR_BYTES
 * @return 0 or -1; after a failure nothing is left
 */
int fabric_bm_open(struct fabric_bm *bm, const struct fabric_bm_cfg *cfg, char *error);
/** Makes this rank's part visible. @return as fabric_bm_open(), but the pool stays */
int fabric_bm_join(struct fabric_bm *bm, char *error);
/** @param leave say so to the others first; not when something has failed */
void fabric_bm_close(struct fabric_bm *bm, bool leave);

#endif
