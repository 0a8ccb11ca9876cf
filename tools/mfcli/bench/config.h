// SPDX-License-Identifier: Apache-2.0
// What a user asked the benchmark for: paths, sizes, cases, and how to measure. The lists of the
// command line are parsed here.
#ifndef MFCLI_BENCH_CONFIG_H
#define MFCLI_BENCH_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "smem_bm.h"

#define BENCH_SIZES_MAX 16u
#define BENCH_BATCH_MAX (1u << 20)

enum place_kind {
    PLACE_HOST,   /* memory of this process */
    PLACE_DEVICE, /* device memory of this process */
    PLACE_DRAM,   /* host memory of the pool */
    PLACE_HBM,    /* device memory of the pool */
};

/** One direction, as the reference names it: H and D this rank's, RH and RD the partner's. */
struct bench_path {
    const char *name;
    enum place_kind src, dst;
    bool src_remote, dst_remote; /* the partner's part of the pool, else this rank's */
    smem_bm_copy_type_t type;
};

enum {
    PATH_H2D,
    PATH_D2H,
    PATH_H2RD,
    PATH_H2RH,
    PATH_D2RH,
    PATH_D2RD,
    PATH_RH2D,
    PATH_RH2H,
    PATH_RD2D,
    PATH_RD2H,
    PATH_COUNT,
};

extern const struct bench_path bench_paths[PATH_COUNT];

/** Cases by name; bits of bench_cfg.cases. */
enum bench_case {
    CASE_122,
    CASE_SMALL,
    CASE_LAT8,
    CASE_PLAN,
    CASE_CREATE,
    CASE_JOIN,
    CASE_CHECKSUM,
    CASE_TRANSLATED,
    CASE_TRACE,
    CASE_PREPARED,
    CASE_REQUEST,
    CASE_VM,
    CASE_COUNT,
};

extern const char *const bench_case_names[CASE_COUNT + 1];

enum bench_fault { FAULT_NONE, FAULT_FLIP, FAULT_SKIP, FAULT_MISROUTE };

struct bench_cfg {
    uint32_t paths; /* bits 1 << PATH_* */
    uint32_t cases; /* bits 1 << CASE_* */
    uint64_t sizes[BENCH_SIZES_MAX];
    uint32_t size_count;
    uint64_t batch;
    uint64_t count; /* calls of a timed round; 0: as many as fill round_ms */
    uint64_t pairs; /* 0: a default of the case */
    uint64_t working_set;
    uint64_t round_ms;
    uint64_t verify_bytes; /* of each target; 0: all */
    uint64_t create_bytes; /* CASE_CREATE */
    uint64_t join_ranks;   /* CASE_JOIN; 0: a default */
    uint64_t idle_ms;      /* CASE_JOIN: how long idle ranks are watched */
    uint64_t fault;        /* enum bench_fault */
    uint64_t transport;    /* index of bench_transport_names */
    uint64_t threads;      /* that share one copy; 0: the library's choice */
    uint64_t timeout_ms;   /* for the other rank to come */
    const char *commit;    /* goes into the JSON; NULL */
    bool json, figures;
};

extern const char *const bench_transport_names[];
/** Operators of a transport. */
uint32_t bench_transport_ops(uint64_t transport);

/** "all" or "h2rd,RH2H". @return 0, or -1 with the bad word in `word` */
int bench_parse_paths(const char *text, uint32_t *paths, char *word, size_t word_len);
/** "all" or "122,lat8". @return as bench_parse_paths() */
int bench_parse_cases(const char *text, uint32_t *cases, char *word, size_t word_len);
/** "4K,1M". @return as bench_parse_paths() */
int bench_parse_sizes(const char *text, struct bench_cfg *cfg, char *word, size_t word_len);

static inline bool bench_path_needs_device(const struct bench_path *path)
{
    return path->src == PLACE_DEVICE || path->src == PLACE_HBM || path->dst == PLACE_DEVICE ||
           path->dst == PLACE_HBM;
}

/** Paths that need no accelerator. */
uint32_t bench_host_paths(void);

#endif
