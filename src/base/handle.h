// SPDX-License-Identifier: Apache-2.0
// Public handles: slot + generation in one word, never a pointer. A stale or random handle is found
// out by mf_handle_get, not dereferenced.
#ifndef MF_BASE_HANDLE_H
#define MF_BASE_HANDLE_H

#include <stdatomic.h>
#include <stdint.h>

/** A table of at most `cap` (<= 65535) objects of one kind. Alloc and remove are called under the
 * owner's lock; get needs none. */
struct mf_handle_table {
    uint32_t cap;
    uint32_t kind; /* 0..255, in the handle, so that a handle of another kind is refused */
    uint32_t
        next; /* where the search for a free slot starts: a slot rests before it is used again */
    struct mf_handle_slot *slots;
};

struct mf_handle_slot {
    _Atomic uint32_t generation; /* odd: in use */
    _Atomic(void *) object;
};

int mf_handle_table_init(struct mf_handle_table *table, uint32_t kind, uint32_t cap);
void mf_handle_table_fini(struct mf_handle_table *table);
/** A handle (never 0, never a valid user address) for `object`, or SMEM_NO_RESOURCES. */
int mf_handle_add(struct mf_handle_table *table, void *object, uint64_t *out);
/** The object, or NULL when the handle is stale, of another kind or never was one. That the object
 *  outlives its use is the owner's affair (a reference count, a lock). */
void *mf_handle_get(const struct mf_handle_table *table, uint64_t handle);
/** Invalidate; returns the object, or NULL when the handle was no longer valid. */
void *mf_handle_remove(struct mf_handle_table *table, uint64_t handle);

#endif
