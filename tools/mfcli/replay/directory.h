// SPDX-License-Identifier: Apache-2.0
// A rank's directory of the blocks that it owns: which block is in which slot, under which
// generation. The buckets lie in the pool, where other ranks read them; the owner alone writes
// them, under one mutex, and keeps beside them what only it needs: free slots, the order of last
// use, who holds a reservation since when.
#ifndef MFCLI_REPLAY_DIRECTORY_H
#define MFCLI_REPLAY_DIRECTORY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

enum entry_state {
    ENTRY_FREE = 0,
    ENTRY_RESERVED = 1, /* somebody is putting the block */
    ENTRY_VALID = 2,
};

/** `check` covers the other words, so that a reader recognises an entry that changed under it. */
struct entry {
    uint64_t id;
    uint64_t state; /* generation << 2 | enum entry_state */
    uint64_t slot;
    uint64_t check;
};

struct bucket {
    uint64_t spilled; /* entries whose home this is that stand in a later bucket */
    uint64_t unused[3];
    struct entry entries[BUCKET_ENTRIES];
};

_Static_assert(sizeof(struct bucket) == BUCKET_BYTES, "a bucket is read by one get of this size");

struct slot_info;

struct directory {
    pthread_mutex_t lock; /* guards all below and the writing of buckets */
    const struct layout *layout;
    struct bucket *buckets; /* in the pool */
    struct slot_info *slots;
    uint32_t *free;
    uint32_t free_count;
    uint32_t oldest, newest;    /* valid slots in the order of their last use */
    uint64_t generation;        /* of the last reservation */
    uint64_t reservation_ms;    /* how long a reservation holds */
    struct rank_header *header; /* in the pool: evictions and expired are counted there */
    uint64_t
        late; /* of the expired ones, whose holder published all the same: the slot came back */
};

/** @param part this rank's part of the pool, zeroed; its header and its buckets are used */
void directory_init(struct directory *directory, const struct layout *layout, unsigned char *part,
                    uint64_t reservation_ms);
void directory_fini(struct directory *directory);

/**
 * Serves `count` items of one request, in their order. What makes no sense (another op, a slot
 * beyond the end) gets MAIL_FULL and changes nothing.
 */
void directory_serve(struct directory *directory, const struct mail_item *items, uint32_t count,
                     uint64_t now_ms, struct mail_result *results);

/* ---- for readers, on a copy of a bucket ----------------------------------------------------- */

enum found {
    FOUND_NOTHING, /* not there, or changing at the moment: the owner knows */
    FOUND_NEXT,    /* not in this bucket, perhaps in the next */
    FOUND_ENTRY,
};

/** Looks for the block in a copy of a bucket. @param index receives which entry it is */
enum found bucket_find(const struct bucket *bucket, uint64_t id, uint32_t *index);

static inline bool entry_is_valid(const struct entry *entry)
{
    return (entry->state & 3) == ENTRY_VALID;
}

static inline uint64_t entry_generation(const struct entry *entry)
{
    return entry->state >> 2;
}

/** Both are the same block in the same slot, unchanged since. */
static inline bool entry_same(const struct entry *a, const struct entry *b)
{
    return a->id == b->id && a->state == b->state && a->slot == b->slot && a->check == b->check;
}

#endif
