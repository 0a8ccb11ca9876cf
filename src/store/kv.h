// SPDX-License-Identifier: Apache-2.0
// The keyspace of a store: entries ordered by key, each with its value, its revision and the
// session that owns it. Knows nothing of connections, watches or time.
#ifndef MF_STORE_KV_H
#define MF_STORE_KV_H

#include "store/tree.h"

struct mf_kv_owner;

struct mf_kv_entry {
    struct mf_tree_node node;
    struct mf_kv_owner *owner; /* NULL: the key outlives every session */
    struct mf_kv_entry *owned_prev, *owned_next;
    uint64_t rev; /* revision of the last change */
    uint8_t *value;
    size_t value_len, value_cap;
    char key[]; /* with a NUL behind it */
};

/** What owns ephemeral keys. The list is kept by this module. */
struct mf_kv_owner {
    struct mf_kv_entry *owned;
};

struct mf_kv {
    struct mf_tree tree;
    uint64_t rev; /* of the last change in this keyspace; never goes back */
    size_t bytes; /* of all keys and values */
    size_t keys_max, bytes_max;
};

void mf_kv_init(struct mf_kv *kv, uint64_t seed, size_t keys_max, size_t bytes_max);
void mf_kv_fini(struct mf_kv *kv);
/** Borrowed until the entry changes. */
struct mf_kv_entry *mf_kv_find(const struct mf_kv *kv, const char *key, size_t len);
/** The first entry with this prefix, and the one after `entry`; NULL when there is none. */
struct mf_kv_entry *mf_kv_first(const struct mf_kv *kv, const char *prefix, size_t len);
struct mf_kv_entry *mf_kv_next(const struct mf_kv_entry *entry, const char *prefix, size_t len);
/** Create or overwrite. On failure nothing has changed: SMEM_MALLOC_FAILED, or SMEM_NO_RESOURCES
 * when a limit of the store would be passed. `*out` may be NULL. */
int mf_kv_put(struct mf_kv *kv, const char *key, size_t key_len, const void *value,
              size_t value_len, struct mf_kv_owner *owner, struct mf_kv_entry **out);
/** Append; creates the key without an owner when absent. As mf_kv_put on failure. */
int mf_kv_append(struct mf_kv *kv, const char *key, size_t key_len, const void *value,
                 size_t value_len, struct mf_kv_entry **out);
/** Give the entry to another owner. */
void mf_kv_give(struct mf_kv_entry *entry, struct mf_kv_owner *owner);
/** Remove and free. */
void mf_kv_remove(struct mf_kv *kv, struct mf_kv_entry *entry);

#endif
