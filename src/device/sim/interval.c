// SPDX-License-Identifier: Apache-2.0
// The table of address ranges. A writer makes the sequence number odd, moves entries with release
// stores, and makes it even again; a reader that saw an odd or a changed number looks again. All
// fields are atomic, so that a reader that is too late reads stale numbers, never undefined ones.
#include "device/sim/interval.h"

#include <stddef.h>

#include "base/alloc.h"
#include "base/err.h"

static uint64_t get(const _Atomic uint64_t *field)
{
    return atomic_load_explicit(field, memory_order_acquire);
}

static void put(_Atomic uint64_t *field, uint64_t value)
{
    atomic_store_explicit(field, value, memory_order_release);
}

int mf_sim_intervals_init(struct mf_sim_intervals *table, uint32_t cap, const char *what)
{
    table->v = mf_calloc(cap, sizeof(*table->v), what);
    if (!table->v) {
        return SMEM_MALLOC_FAILED;
    }
    table->cap = cap;
    return SMEM_OK;
}

void mf_sim_intervals_fini(struct mf_sim_intervals *table)
{
    mf_free(table->v);
    table->v = NULL;
}

/* Index of the first entry that ends behind addr; count when there is none. */
static uint32_t lower(const struct mf_sim_intervals *table, uint64_t addr, uint32_t count)
{
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const struct mf_sim_interval *entry = &table->v[mid];
        if (get(&entry->base) + get(&entry->size) <= addr) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

const struct mf_sim_interval *mf_sim_intervals_next(const struct mf_sim_intervals *table,
                                                    uint64_t addr)
{
    uint32_t at = lower(table, addr, table->count);
    return at < table->count ? &table->v[at] : NULL;
}

const struct mf_sim_interval *mf_sim_intervals_overlap(const struct mf_sim_intervals *table,
                                                       uint64_t addr, uint64_t size)
{
    const struct mf_sim_interval *entry = mf_sim_intervals_next(table, addr);
    return entry && entry->base < addr + size ? entry : NULL;
}

static void write_begin(struct mf_sim_intervals *table)
{
    atomic_store_explicit(&table->seq, table->seq + 1, memory_order_relaxed);
}

static void write_end(struct mf_sim_intervals *table)
{
    atomic_store_explicit(&table->seq, table->seq + 1, memory_order_release);
}

static void move(struct mf_sim_interval *to, const struct mf_sim_interval *from)
{
    put(&to->base, get(&from->base));
    put(&to->size, get(&from->size));
    put(&to->offset, get(&from->offset));
    atomic_store_explicit(&to->mem, from->mem, memory_order_release);
}

bool mf_sim_intervals_insert(struct mf_sim_intervals *table, uint64_t base, uint64_t size,
                             struct mf_sim_mem *mem, uint64_t offset)
{
    uint32_t count = table->count;
    if (count == table->cap) {
        return false;
    }
    uint32_t at = lower(table, base, count);
    write_begin(table);
    for (uint32_t i = count; i > at; i--) {
        move(&table->v[i], &table->v[i - 1]);
    }
    put(&table->v[at].base, base);
    put(&table->v[at].size, size);
    put(&table->v[at].offset, offset);
    atomic_store_explicit(&table->v[at].mem, mem, memory_order_release);
    atomic_store_explicit(&table->count, count + 1, memory_order_release);
    write_end(table);
    return true;
}

void mf_sim_intervals_remove(struct mf_sim_intervals *table, const struct mf_sim_interval *entry)
{
    uint32_t count = table->count;
    write_begin(table);
    for (uint32_t i = (uint32_t)(entry - table->v); i + 1 < count; i++) {
        move(&table->v[i], &table->v[i + 1]);
    }
    atomic_store_explicit(&table->count, count - 1, memory_order_release);
    write_end(table);
}

bool mf_sim_intervals_find(const struct mf_sim_intervals *table, uint64_t addr, uint64_t *base,
                           uint64_t *size)
{
    for (;;) {
        uint32_t seq = atomic_load_explicit(&table->seq, memory_order_acquire);
        uint32_t count = atomic_load_explicit(&table->count, memory_order_acquire);
        uint32_t at = lower(table, addr, count);
        bool found = false;
        if (at < count) {
            *base = get(&table->v[at].base);
            *size = get(&table->v[at].size);
            found = addr - *base < *size;
        }
        if (seq % 2 == 0 && atomic_load_explicit(&table->seq, memory_order_relaxed) == seq) {
            return found;
        }
    }
}
