// SPDX-License-Identifier: Apache-2.0
// The keyspace: one allocation for an entry with its key and one for its value; every change draws
// a new revision.
#include "store/kv.h"

#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"

/* A block larger than this is given back when less than a quarter of it is used. */
#define SHRINK_MIN 4096u

void mf_kv_init(struct mf_kv *kv, uint64_t seed, size_t keys_max, size_t bytes_max)
{
    mf_tree_init(&kv->tree, seed);
    kv->rev = 0;
    kv->bytes = 0;
    kv->keys_max = keys_max;
    kv->bytes_max = bytes_max;
}

static struct mf_kv_entry *entry_of(struct mf_tree_node *node)
{
    return node == NULL ? NULL : MF_CONTAINER_OF(node, struct mf_kv_entry, node);
}

static void disown(struct mf_kv_entry *entry)
{
    if (entry->owner == NULL)
        return;
    if (entry->owned_prev != NULL)
        entry->owned_prev->owned_next = entry->owned_next;
    else
        entry->owner->owned = entry->owned_next;
    if (entry->owned_next != NULL)
        entry->owned_next->owned_prev = entry->owned_prev;
    entry->owner = NULL;
}

static void own(struct mf_kv_entry *entry, struct mf_kv_owner *owner)
{
    if (entry->owner == owner)
        return;
    disown(entry);
    if (owner == NULL)
        return;
    entry->owner = owner;
    entry->owned_prev = NULL;
    entry->owned_next = owner->owned;
    if (owner->owned != NULL)
        owner->owned->owned_prev = entry;
    owner->owned = entry;
}

void mf_kv_give(struct mf_kv_entry *entry, struct mf_kv_owner *owner)
{
    own(entry, owner);
}

void mf_kv_remove(struct mf_kv *kv, struct mf_kv_entry *entry)
{
    disown(entry);
    mf_tree_remove(&kv->tree, &entry->node);
    kv->bytes -= entry->node.key_len + entry->value_len;
    kv->rev++;
    mf_free(entry->value);
    mf_free(entry);
}

void mf_kv_fini(struct mf_kv *kv)
{
    struct mf_kv_entry *entry;
    while ((entry = entry_of(kv->tree.root)) != NULL)
        mf_kv_remove(kv, entry);
}

struct mf_kv_entry *mf_kv_find(const struct mf_kv *kv, const char *key, size_t len)
{
    return entry_of(mf_tree_find(&kv->tree, key, len));
}

struct mf_kv_entry *mf_kv_first(const struct mf_kv *kv, const char *prefix, size_t len)
{
    struct mf_tree_node *node = mf_tree_lower(&kv->tree, prefix, len);
    return node != NULL && mf_tree_has_prefix(node, prefix, len) ? entry_of(node) : NULL;
}

struct mf_kv_entry *mf_kv_next(const struct mf_kv_entry *entry, const char *prefix, size_t len)
{
    struct mf_tree_node *node = entry->node.next;
    return node != NULL && mf_tree_has_prefix(node, prefix, len) ? entry_of(node) : NULL;
}

/* Would the store's totals pass their limits with `more` further bytes? */
static int check_room(const struct mf_kv *kv, bool new_key, size_t more)
{
    if (new_key && kv->tree.count >= kv->keys_max)
        return mf_err(SMEM_NO_RESOURCES, "the store holds %zu keys, which is its limit",
                      kv->tree.count);
    if (more > kv->bytes_max || kv->bytes > kv->bytes_max - more)
        return mf_err(SMEM_NO_RESOURCES,
                      "the store holds %zu bytes, %zu more would pass the limit %zu", kv->bytes,
                      more, kv->bytes_max);
    return SMEM_OK;
}

/* A value block of at least `need` bytes; twice the old one when a value grows piece by piece. */
static int value_reserve(struct mf_kv_entry *entry, size_t need, bool grow)
{
    bool shrink = entry->value_cap > SHRINK_MIN && need < entry->value_cap / 4 && need > 0;
    if (need <= entry->value_cap && !shrink)
        return SMEM_OK;
    size_t cap = grow && need < 2 * entry->value_cap ? 2 * entry->value_cap : need;
    uint8_t *value = mf_realloc(entry->value, cap, "store value");
    if (value == NULL)
        return shrink ? SMEM_OK : SMEM_MALLOC_FAILED;
    entry->value = value;
    entry->value_cap = cap;
    return SMEM_OK;
}

/* A new entry, not yet in the tree. */
static struct mf_kv_entry *entry_new(const char *key, size_t key_len, size_t value_len)
{
    struct mf_kv_entry *entry = mf_calloc(1, sizeof(*entry) + key_len + 1, "store key");
    if (entry == NULL)
        return NULL;
    memcpy(entry->key, key, key_len);
    entry->node.key = entry->key;
    entry->node.key_len = (uint32_t)key_len;
    if (value_reserve(entry, value_len, false) != SMEM_OK) {
        mf_free(entry);
        return NULL;
    }
    return entry;
}

/* Write `value` at `at`, which becomes its end; the entry is created when NULL. */
static int store_at(struct mf_kv *kv, struct mf_kv_entry *entry, const char *key, size_t key_len,
                    const void *value, size_t value_len, size_t at, struct mf_kv_entry **out)
{
    size_t total = at + value_len;
    size_t before = entry == NULL ? 0 : entry->value_len;
    size_t after = entry == NULL ? key_len + total : total;
    int rc = check_room(kv, entry == NULL, after > before ? after - before : 0);
    if (rc != SMEM_OK)
        return rc;
    if (entry == NULL) {
        entry = entry_new(key, key_len, total);
        if (entry == NULL)
            return SMEM_MALLOC_FAILED;
        mf_tree_insert(&kv->tree, &entry->node);
        kv->bytes += key_len;
    } else {
        rc = value_reserve(entry, total, at > 0);
        if (rc != SMEM_OK)
            return rc;
    }
    if (value_len > 0)
        memcpy(entry->value + at, value, value_len);
    kv->bytes += total - entry->value_len;
    entry->value_len = total;
    entry->rev = ++kv->rev;
    *out = entry;
    return SMEM_OK;
}

int mf_kv_put(struct mf_kv *kv, const char *key, size_t key_len, const void *value,
              size_t value_len, struct mf_kv_owner *owner, struct mf_kv_entry **out)
{
    struct mf_kv_entry *entry = mf_kv_find(kv, key, key_len);
    int rc = store_at(kv, entry, key, key_len, value, value_len, 0, &entry);
    if (rc != SMEM_OK)
        return rc;
    own(entry, owner);
    if (out != NULL)
        *out = entry;
    return SMEM_OK;
}

int mf_kv_append(struct mf_kv *kv, const char *key, size_t key_len, const void *value,
                 size_t value_len, struct mf_kv_entry **out)
{
    struct mf_kv_entry *entry = mf_kv_find(kv, key, key_len);
    size_t at = entry == NULL ? 0 : entry->value_len;
    if (value_len > MF_VALUE_MAX - at)
        return mf_err(SMEM_NO_RESOURCES,
                      "the value has %zu bytes, %zu more would pass the limit %u", at, value_len,
                      MF_VALUE_MAX);
    return store_at(kv, entry, key, key_len, value, value_len, at, out);
}
