// SPDX-License-Identifier: Apache-2.0
// An ordered map of byte strings: a treap of nodes that live inside their owners, threaded in order
// of key. No operation allocates, so none can fail half-way.
#ifndef MF_STORE_TREE_H
#define MF_STORE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mf_tree_node {
    struct mf_tree_node *left, *right;
    struct mf_tree_node *prev, *next; /* neighbours in order of key */
    const char *key;                  /* borrowed from the owner, unchanged while in the tree */
    uint32_t key_len;
    uint32_t prio;
};

struct mf_tree {
    struct mf_tree_node *root;
    uint64_t seed; /* of the priorities: unknown to clients, or they could build a list */
    size_t count;
};

void mf_tree_init(struct mf_tree *tree, uint64_t seed);
/** The node with exactly this key, or NULL. */
struct mf_tree_node *mf_tree_find(const struct mf_tree *tree, const char *key, size_t len);
/** The first node whose key is not less than this one, or NULL; go on with ->next. */
struct mf_tree_node *mf_tree_lower(const struct mf_tree *tree, const char *key, size_t len);
/** node->key and key_len are set; the key must not be there yet. */
void mf_tree_insert(struct mf_tree *tree, struct mf_tree_node *node);
void mf_tree_remove(struct mf_tree *tree, struct mf_tree_node *node);
bool mf_tree_has_prefix(const struct mf_tree_node *node, const char *prefix, size_t len);

#define MF_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
