// SPDX-License-Identifier: Apache-2.0
// What lies where in each rank's part of the pool: header, statistics, mailboxes, directory,
// blocks. All ranks have the same layout, so that an offset means the same everywhere. Every word
// has one writer, which its comment names; others only read it.
#ifndef MFCLI_REPLAY_LAYOUT_H
#define MFCLI_REPLAY_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "hash.h"

#define LAYOUT_PAGE       (2u << 20) /* parts of the pool are multiples of it */
#define LAYOUT_STATS      65536u     /* bytes kept for a rank's statistics */
#define LAYOUT_REASON     1024u
#define BUCKET_ENTRIES    7u
#define BUCKET_BYTES      256u
#define BUCKET_PROBES     16u /* an entry is in its home bucket or one of the next 15 */
#define MAIL_ITEMS        256u
#define REPLAY_CLIENT_MAX 1024u

enum rank_phase {
    PHASE_STARTING = 0,
    PHASE_RUNNING = 1,
    PHASE_DONE = 2,   /* its clients are done and its statistics are written */
    PHASE_FAILED = 3, /* its statistics hold the sentence */
};

enum rank_verdict {
    VERDICT_NONE = 0,
    VERDICT_GOOD = 1,   /* all ranks are done: end */
    VERDICT_FAILED = 2, /* a rank failed: end */
};

/** First words of a rank's part. */
struct rank_header {
    /* written by the rank itself */
    uint64_t ready;     /* digest of its arguments and workload, once it serves; never 0 then */
    uint64_t phase;     /* enum rank_phase */
    uint64_t beat;      /* counts as long as the rank's service thread lives */
    uint64_t done;      /* requests that its clients have done */
    uint64_t evictions; /* by its directory */
    uint64_t expired;   /* reservations there that somebody else's wish ended */
    uint64_t unused[2];
    /* written by rank 0 */
    uint64_t verdict;           /* enum rank_verdict */
    char reason[LAYOUT_REASON]; /* FAILED: the sentence; written before the verdict */
};

enum mail_op {
    MAIL_WANT = 1,    /* reserve a slot for the block, or tell where it is */
    MAIL_PUBLISH = 2, /* the block's bytes are in the slot: make it valid */
    MAIL_TOUCH = 3,   /* the block was used: keep it longer */
};

struct mail_item {
    uint64_t id;
    uint64_t op;
    uint64_t slot;       /* PUBLISH */
    uint64_t generation; /* PUBLISH, TOUCH */
};

/** Written by the client; complete when the client's doorbell has its number. */
struct mail_request {
    uint64_t count;
    uint64_t unused;
    struct mail_item items[MAIL_ITEMS];
};

enum mail_status {
    MAIL_DONE = 0,     /* PUBLISH, TOUCH */
    MAIL_RESERVED = 1, /* WANT: put the block into the slot and publish it */
    MAIL_VALID = 2,    /* WANT: it is in the slot already */
    MAIL_BUSY = 3,     /* WANT: somebody else is about to put it */
    MAIL_FULL = 4,     /* WANT: no room */
};

struct mail_result {
    uint64_t status;
    uint64_t slot;
    uint64_t generation;
};

/** Written by the owner into the client's rank; complete when `number` is the request's. */
struct mail_answer {
    uint64_t number;
    uint64_t unused;
    struct mail_result results[MAIL_ITEMS];
};

struct layout {
    uint32_t ranks;
    uint32_t clients; /* in the world; client c lives on rank c % ranks */
    uint64_t block_bytes;
    uint64_t slots;      /* blocks that a rank holds */
    uint64_t buckets;    /* of a rank's directory; a power of two */
    uint32_t local_room; /* clients that live on one rank, at most */
    size_t stats;        /* offsets of what follows the header */
    size_t doorbells;    /* one word a client, written by it */
    size_t requests;     /* struct mail_request a client */
    size_t answers;      /* struct mail_answer for each (client of the rank, owner) */
    size_t directory;    /* struct bucket, written by the rank itself */
    size_t blocks;       /* slots of block_bytes, written by whoever holds the reservation */
    size_t bytes;        /* of a rank's part; a multiple of LAYOUT_PAGE */
};

void layout_make(struct layout *layout, uint32_t ranks, uint32_t clients, uint64_t block_bytes,
                 uint64_t slots);

/** The rank that owns a block. */
static inline uint32_t layout_owner(const struct layout *layout, uint64_t id)
{
    return (uint32_t)(((hash_mix(id) >> 32) * layout->ranks) >> 32);
}

/** The bucket where a block's entry is looked for first. */
static inline uint64_t layout_home(const struct layout *layout, uint64_t id)
{
    return hash_mix(id) & (layout->buckets - 1);
}

static inline size_t layout_doorbell(const struct layout *layout, uint32_t client)
{
    return layout->doorbells + 8 * (size_t)client;
}

static inline size_t layout_request(const struct layout *layout, uint32_t client)
{
    return layout->requests + sizeof(struct mail_request) * (size_t)client;
}

static inline size_t layout_answer(const struct layout *layout, uint32_t client, uint32_t owner)
{
    return layout->answers +
           sizeof(struct mail_answer) * ((size_t)(client / layout->ranks) * layout->ranks + owner);
}

static inline size_t layout_bucket(const struct layout *layout, uint64_t bucket)
{
    return layout->directory + BUCKET_BYTES * (size_t)bucket;
}

static inline size_t layout_block(const struct layout *layout, uint64_t slot)
{
    return layout->blocks + (size_t)(layout->block_bytes * slot);
}

#endif
