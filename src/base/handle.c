// SPDX-License-Identifier: Apache-2.0
// The table behind public handles. A handle is 0xF (4 bits), kind (8), 0 (4), generation (32), slot
// (16): the top bits make it neither 0 nor an address of user space, the generation goes up by one
// with every add and every remove of its slot, so a handle is valid exactly while its generation
// stands there.
#include "base/handle.h"

#include <stddef.h>

#include "base/alloc.h"
#include "base/err.h"

#define CAP_MAX          65535u
#define KIND_MAX         255u
#define MARK             0xFull
#define MARK_SHIFT       60
#define KIND_SHIFT       52
#define GENERATION_SHIFT 16
#define SLOT_MASK        0xFFFFull
#define GENERATION_MASK  0xFFFFFFFFull

static uint64_t encode(uint32_t kind, uint32_t generation, uint32_t slot)
{
    return MARK << MARK_SHIFT | (uint64_t)kind << KIND_SHIFT |
           (uint64_t)generation << GENERATION_SHIFT | slot;
}

static uint32_t generation_of(uint64_t handle)
{
    return (uint32_t)(handle >> GENERATION_SHIFT & GENERATION_MASK);
}

/* The slot that `handle` names, or NULL when it cannot be a handle of this table. */
static struct mf_handle_slot *slot_of(const struct mf_handle_table *table, uint64_t handle)
{
    uint32_t slot = (uint32_t)(handle & SLOT_MASK);
    uint32_t generation = generation_of(handle);
    if (slot >= table->cap || generation % 2 == 0 ||
        handle != encode(table->kind, generation, slot)) {
        return NULL;
    }
    return &table->slots[slot];
}

int mf_handle_table_init(struct mf_handle_table *table, uint32_t kind, uint32_t cap)
{
    MF_ASSERT(kind <= KIND_MAX && cap <= CAP_MAX);
    *table = (struct mf_handle_table){.kind = kind};
    table->slots = mf_calloc(cap, sizeof(*table->slots), "handle table");
    if (!table->slots) {
        return SMEM_MALLOC_FAILED;
    }
    table->cap = cap;
    return SMEM_OK;
}

void mf_handle_table_fini(struct mf_handle_table *table)
{
    mf_free(table->slots);
    table->slots = NULL;
    table->cap = 0;
}

int mf_handle_add(struct mf_handle_table *table, void *object, uint64_t *out)
{
    for (uint32_t i = 0; i < table->cap; i++) {
        uint32_t slot = (table->next + i) % table->cap;
        struct mf_handle_slot *s = &table->slots[slot];
        uint32_t generation = atomic_load_explicit(&s->generation, memory_order_relaxed);
        if (generation % 2 != 0) {
            continue;
        }
        atomic_store_explicit(&s->object, object, memory_order_release);
        atomic_store_explicit(&s->generation, generation + 1, memory_order_release);
        table->next = (slot + 1) % table->cap;
        *out = encode(table->kind, generation + 1, slot);
        return SMEM_OK;
    }
    return mf_err(SMEM_NO_RESOURCES, "all %u handles of kind %u are in use", table->cap,
                  table->kind);
}

void *mf_handle_get(const struct mf_handle_table *table, uint64_t handle)
{
    struct mf_handle_slot *s = slot_of(table, handle);
    if (!s || atomic_load_explicit(&s->generation, memory_order_acquire) != generation_of(handle)) {
        return NULL;
    }
    /* An object that a later add put here is seen only together with its remove's new generation.
     */
    void *object = atomic_load_explicit(&s->object, memory_order_acquire);
    if (atomic_load_explicit(&s->generation, memory_order_relaxed) != generation_of(handle)) {
        return NULL;
    }
    return object;
}

void *mf_handle_remove(struct mf_handle_table *table, uint64_t handle)
{
    struct mf_handle_slot *s = slot_of(table, handle);
    uint32_t generation = generation_of(handle);
    if (!s || atomic_load_explicit(&s->generation, memory_order_relaxed) != generation) {
        return NULL;
    }
    void *object = atomic_load_explicit(&s->object, memory_order_relaxed);
    atomic_store_explicit(&s->generation, generation + 1, memory_order_relaxed);
    atomic_store_explicit(&s->object, NULL, memory_order_release);
    return object;
}
