// SPDX-License-Identifier: Apache-2.0
// The suite of the BM API: every case runs in ranks that are processes, forked for this case alone,
// which share a page for barriers and words. Device and operator are chosen by name on the command
// line. A rank checks with CHECK: what fails is printed and fails the case.
#ifndef MF_CONFORMANCE_BM_SUITE_H
#define MF_CONFORMANCE_BM_SUITE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "memfabric/mf_device.h"
#include "smem_bm.h"

#define MIB       (1ull << 20)
#define RANKS_MAX 4u
/** What each rank gives of each kind; targets of copies are in the second half. */
#define GIVEN (16 * MIB)
#define HALF  (GIVEN / 2)
/** Size of a slot: its tail has no memory. */
#define SLOT (18 * MIB)

/** Shared by all ranks of a case. */
struct stage {
    char url[2][96]; /* of the store of each world */
    _Atomic uint32_t url_ready[2];
    _Atomic uint32_t failed;
    _Atomic uint32_t arrived;
    _Atomic uint64_t word[16]; /* the case's own */
};

struct bm_rank;

struct bm_case {
    const char *name;
    uint32_t ranks;
    bool two_worlds;  /* ranks 0, 1 are one world, 2, 3 the other */
    bool not_joined;  /* the case joins by itself */
    bool needs_hbm;   /* skipped where pools have no device memory */
    bool needs_loads; /* skipped where peers' memory is not mapped */
    bool sums;        /* its ranks have the option copy.checksum */
    bool races;       /* its ranks write the same bytes at once: never with copy.checksum */
    void (*fn)(struct bm_rank *r);
};

struct bm_rank {
    struct stage *stage;
    uint32_t rank, ranks; /* of all processes of the case */
    uint32_t world_rank;  /* in its world */
    smem_bm_t pool;
    bool has_hbm;    /* pools have device memory */
    mf_device_t dev; /* NULL: no device */
    uint32_t op;
    char *lh;    /* GIVEN bytes of host memory */
    mf_dev_t ld; /* GIVEN bytes of device memory, with a device */
};

extern const struct bm_case bm_copy_cases[], bm_range_cases[], bm_member_cases[], bm_extend_cases[],
    bm_checksum_cases[], bm_tag_cases[], bm_event_cases[], bm_stream_cases[], bm_store_cases[],
    bm_request_cases[];

/* ---- checks ------------------------------------------------------------------------------------
 */

/** Prints and ends this rank. */
void bm_fail(const struct bm_rank *r, const char *file, int line, const char *what, long long got,
             long long want) __attribute__((noreturn));

#define CHECK(r, cond) ((cond) ? (void)0 : bm_fail((r), __FILE__, __LINE__, #cond, 0, 1))
#define CHECK_RC(r, expr, want)                                               \
    do {                                                                      \
        long long got_ = (expr);                                              \
        if (got_ != (want)) {                                                 \
            bm_fail((r), __FILE__, __LINE__, #expr, got_, (long long)(want)); \
        }                                                                     \
    } while (0)
#define CHECK_OK(r, expr) CHECK_RC(r, expr, SMEM_OK)
/** The sentence of the last error has `part`. */
#define CHECK_SAYS(r, part)                          \
    (strstr(smem_get_last_err_msg(), (part)) != NULL \
         ? (void)0                                   \
         : bm_fail((r), __FILE__, __LINE__, "the sentence has no " #part, 0, 1))

/* ---- helpers -----------------------------------------------------------------------------------
 */

/** All ranks of the case have called it as often as this one. */
void bm_barrier(struct bm_rank *r);
/** Set and await the case's words. */
void bm_set(struct bm_rank *r, uint32_t word, uint64_t value);
void bm_await(struct bm_rank *r, uint32_t word, uint64_t value);
void bm_sleep_ms(unsigned ms);
uint64_t bm_now_ms(void);

/** Create this rank's part of a pool as the suite's cases have it. */
smem_bm_t bm_create(struct bm_rank *r, uint32_t id);
/** Start of a rank's host or device memory in the pool. */
char *bm_gh(const struct bm_rank *r, uint32_t rank);
char *bm_gd(const struct bm_rank *r, uint32_t rank);
/** Where this process's CPU reaches a global address: in translated mode elsewhere. */
char *bm_at(struct bm_rank *r, const void *gva);
/** Is peers' DRAM mapped here? Not with MF_PEER_MAP=never. */
bool bm_maps_peers(void);
int bm_copy(struct bm_rank *r, void *dst, const void *src, uint64_t size, smem_bm_copy_type type);
/** Put bytes to, or compare bytes at, an address of this process or of the pool, without the copies
 * under test where that can be. */
void bm_poke(struct bm_rank *r, void *at, const void *bytes, uint64_t size);
bool bm_same(struct bm_rank *r, const void *at, const void *bytes, uint64_t size);
/** Bytes that tell place and time: a function of seed and offset. */
void bm_pattern(char *out, uint64_t size, uint64_t seed);
/** A random number below `below` (not 0). */
uint64_t bm_random(uint64_t *state, uint64_t below);

#endif
