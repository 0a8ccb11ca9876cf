// SPDX-License-Identifier: Apache-2.0
// The treap: a search tree by key and a heap by random priority, which keeps it balanced. Insert
// and remove walk down once, without recursion.
#include "store/tree.h"

#include <string.h>

#include "base/err.h"

static int compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    if (order != 0)
        return order;
    return a_len < b_len ? -1 : a_len > b_len;
}

void mf_tree_init(struct mf_tree *tree, uint64_t seed)
{
    tree->root = NULL;
    tree->seed = seed | 1;
    tree->count = 0;
}

/* xorshift64*: only the shape of the tree hangs on it. */
static uint32_t next_prio(struct mf_tree *tree)
{
    uint64_t x = tree->seed;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    tree->seed = x;
    return (uint32_t)((x * 0x2545f4914f6cdd1dull) >> 32);
}

struct mf_tree_node *mf_tree_find(const struct mf_tree *tree, const char *key, size_t len)
{
    struct mf_tree_node *at = tree->root;
    while (at != NULL) {
        int order = compare(key, len, at->key, at->key_len);
        if (order == 0)
            return at;
        at = order < 0 ? at->left : at->right;
    }
    return NULL;
}

struct mf_tree_node *mf_tree_lower(const struct mf_tree *tree, const char *key, size_t len)
{
    struct mf_tree_node *at = tree->root;
    struct mf_tree_node *best = NULL;
    while (at != NULL) {
        if (compare(at->key, at->key_len, key, len) >= 0) {
            best = at;
            at = at->left;
        } else {
            at = at->right;
        }
    }
    return best;
}

/* Divide the subtree `at` by the key of `node` into its new children. */
static void split(struct mf_tree_node *at, struct mf_tree_node *node)
{
    struct mf_tree_node **less = &node->left;
    struct mf_tree_node **more = &node->right;
    while (at != NULL) {
        if (compare(at->key, at->key_len, node->key, node->key_len) < 0) {
            *less = at;
            less = &at->right;
            at = at->right;
        } else {
            *more = at;
            more = &at->left;
            at = at->left;
        }
    }
    *less = NULL;
    *more = NULL;
}

void mf_tree_insert(struct mf_tree *tree, struct mf_tree_node *node)
{
    struct mf_tree_node *next = mf_tree_lower(tree, node->key, node->key_len);
    struct mf_tree_node *prev = NULL;
    struct mf_tree_node **link = &tree->root;
    bool placed = false;

    MF_ASSERT(next == NULL || compare(next->key, next->key_len, node->key, node->key_len) != 0);
    node->prio = next_prio(tree);
    for (struct mf_tree_node *at = tree->root; at != NULL;) {
        bool right = compare(at->key, at->key_len, node->key, node->key_len) < 0;
        if (at->prio < node->prio && !placed)
            placed = true; /* here the node takes the place of `at`; go on for its neighbour only */
        if (right)
            prev = at;
        if (!placed)
            link = right ? &at->right : &at->left;
        at = right ? at->right : at->left;
    }
    split(*link, node);
    *link = node;
    node->prev = prev;
    node->next = next;
    if (prev != NULL)
        prev->next = node;
    if (next != NULL)
        next->prev = node;
    tree->count++;
}

/* Join two subtrees, all keys of `a` before all keys of `b`, at `*link`. */
static void merge(struct mf_tree_node **link, struct mf_tree_node *a, struct mf_tree_node *b)
{
    while (a != NULL && b != NULL) {
        if (a->prio > b->prio) {
            *link = a;
            link = &a->right;
            a = a->right;
        } else {
            *link = b;
            link = &b->left;
            b = b->left;
        }
    }
    *link = a != NULL ? a : b;
}

void mf_tree_remove(struct mf_tree *tree, struct mf_tree_node *node)
{
    struct mf_tree_node **link = &tree->root;
    while (*link != node) {
        struct mf_tree_node *at = *link;
        MF_ASSERT(at != NULL);
        link = compare(node->key, node->key_len, at->key, at->key_len) < 0 ? &at->left : &at->right;
    }
    merge(link, node->left, node->right);
    if (node->prev != NULL)
        node->prev->next = node->next;
    if (node->next != NULL)
        node->next->prev = node->prev;
    tree->count--;
}

bool mf_tree_has_prefix(const struct mf_tree_node *node, const char *prefix, size_t len)
{
    return node->key_len >= len && memcmp(node->key, prefix, len) == 0;
}
