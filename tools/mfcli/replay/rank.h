// SPDX-License-Identifier: Apache-2.0
// One rank of a replay, from its start to the printed result.
#ifndef MFCLI_REPLAY_RANK_H
#define MFCLI_REPLAY_RANK_H

#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "smem_bm_def.h"

struct replay_cfg {
    const char *trace_path; /* NULL: generate */
    const char *store_url;
    uint32_t rank;
    uint32_t ranks;
    uint32_t clients;
    uint64_t block_bytes;
    uint64_t capacity; /* bytes of block data in all; 0: all blocks of the trace fit */
    uint64_t requests; /* 0: the whole trace, or the default of a generated one */
    uint64_t seed;
    smem_bm_data_op_type_t op;
    const char *op_name;
    uint64_t answer_ms; /* a rank silent for so long has failed */
    enum replay_fault fault;
    bool json;
};

#define REPLAY_SLOTS_MAX (1u << 28) /* blocks of one rank */

/**
 * Reads or makes the trace.
 *
 * @param error TRACE_ERROR_BYTES; receives the sentence on failure
 * @return 0 or -1
 */
int replay_load(const struct replay_cfg *cfg, struct trace *trace, char *error);

/** Runs this process's rank to the end. @return the tool's exit code */
int replay_rank(const struct replay_cfg *cfg);

/** Most different blocks of the trace that one of `ranks` owners has. */
uint64_t replay_slots_needed(const struct trace *trace, uint32_t ranks);

#endif
