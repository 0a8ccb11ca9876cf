// SPDX-License-Identifier: Apache-2.0
// A sorted table of address ranges that do not overlap. Changes happen under the owner's lock;
// looking an address up needs none (a sequence number tells a reader that the table changed
// meanwhile).
#ifndef MF_DEVICE_SIM_INTERVAL_H
#define MF_DEVICE_SIM_INTERVAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct mf_sim_mem;

struct mf_sim_interval {
    _Atomic uint64_t base, size;      /* bytes */
    _Atomic uint64_t offset;          /* into mem */
    _Atomic(struct mf_sim_mem *) mem; /* NULL: reserved only */
};

struct mf_sim_intervals {
    _Atomic uint32_t seq; /* odd while it changes */
    _Atomic uint32_t count;
    uint32_t cap;
    struct mf_sim_interval *v;
};

/** 0 or SMEM_MALLOC_FAILED. */
int mf_sim_intervals_init(struct mf_sim_intervals *table, uint32_t cap, const char *what);
void mf_sim_intervals_fini(struct mf_sim_intervals *table);

/** Under the owner's lock: the first entry that ends behind addr, or NULL. Valid until the next
 * change. */
const struct mf_sim_interval *mf_sim_intervals_next(const struct mf_sim_intervals *table,
                                                    uint64_t addr);
/** Under the owner's lock: the first entry that overlaps [addr, addr + size), or NULL. */
const struct mf_sim_interval *mf_sim_intervals_overlap(const struct mf_sim_intervals *table,
                                                       uint64_t addr, uint64_t size);
/** Under the owner's lock; the range overlaps none. False when the table is full. */
bool mf_sim_intervals_insert(struct mf_sim_intervals *table, uint64_t base, uint64_t size,
                             struct mf_sim_mem *mem, uint64_t offset);
/** Under the owner's lock. */
void mf_sim_intervals_remove(struct mf_sim_intervals *table, const struct mf_sim_interval *entry);

/** From any thread, without a lock: the range that holds addr. */
bool mf_sim_intervals_find(const struct mf_sim_intervals *table, uint64_t addr, uint64_t *base,
                           uint64_t *size);

#endif
