// SPDX-License-Identifier: Apache-2.0
// One rank of the benchmark's world: its pool, its local memory, its device, and what it tells the
// other rank. Rank 0 measures; rank 1, the partner, fills and checks its own memory when asked, so
// that what a benchmark calls right is what the owner of the memory sees.
#ifndef MFCLI_BENCH_WORLD_H
#define MFCLI_BENCH_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "memfabric/mf_device.h"
#include "pattern.h"
#include "shape.h"

#define BENCH_COMMAND "mfcli bench"
#define BENCH_POOL    1u

/** Memory that can be the source or target of a path. */
struct place {
    enum place_kind kind;
    uint32_t rank; /* owner */
    uint64_t base; /* address, device address or GVA */
};

struct world {
    const struct bench_cfg *cfg;
    uint32_t rank, ranks;
    uint64_t bytes; /* working set: of each place */
    smem_bm_t pool;
    mf_device_t device; /* NULL: none */
    mf_device_stream_t stream;
    char device_name[32]; /* "sim:0", "none" */
    void *host;           /* working set in local memory; NULL when no path needs it */
    mf_dev_t local;       /* the same on the device; 0 */
    uint8_t *staging;
    struct control *control; /* this rank's, at the end of its DRAM */
    uint64_t sent;           /* messages so far */
    uint64_t run;            /* number of this run, for patterns */
    uint64_t round;          /* checks so far, likewise */
    uint32_t touched;        /* bits 1 << PATH_*: every page went through the path */
};

/**
 * Joins the world that MF_CONFIG_STORE_URL, MF_WORLD_SIZE and MF_RANK name, and allocates.
 *
 * @return 0, or -1 after a sentence on stderr
 */
int world_open(struct world *world, const struct bench_cfg *cfg);
void world_close(struct world *world);

/** Bytes of each place: as asked for, or less when there is not enough memory for all of them. */
uint64_t world_working_set(const struct bench_cfg *cfg);

struct place world_place(const struct world *world, enum place_kind kind, uint32_t rank);
/** Rank 1, or 0 itself in a world of one. */
uint32_t world_partner(const struct world *world);

/** The CPU's address of a place of host memory; NULL when it has none here. */
uint8_t *world_cpu_address(const struct world *world, const struct place *place);

/** One copy through the library, by the kinds of the two addresses. @return 0, or -1 after a report
 */
int world_copy(const struct world *world, uint64_t dst, uint64_t src, uint64_t bytes);

/** Moves bytes between `buffer` and a place, the way that is there. @return 0, or -1 after a report
 */
int place_read(const struct world *world, const struct place *place, uint64_t offset, void *buffer,
               uint64_t bytes);
int place_write(const struct world *world, const struct place *place, uint64_t offset,
                const void *buffer, uint64_t bytes);

/** Reports the library's sentence. @return -1 */
int world_error(const struct world *world, const char *what);

#endif
