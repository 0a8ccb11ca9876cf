// SPDX-License-Identifier: Apache-2.0
// What the clients of a rank have counted. Written into the rank's part of the pool at its end,
// read from there by rank 0; so it holds no pointers.
#ifndef MFCLI_REPLAY_STATS_H
#define MFCLI_REPLAY_STATS_H

#include <stdint.h>

#include "hist.h"
#include "layout.h"

#define STATS_TEXT_BYTES 1024u

struct replay_stats {
    uint64_t requests;
    uint64_t blocks;    /* references */
    uint64_t hits;      /* references that got the block from the pool */
    uint64_t remote;    /* references to blocks that another rank owns */
    uint64_t puts;      /* blocks put */
    uint64_t got_bytes; /* by gets */
    uint64_t get_ns;    /* inside gets: look-up, copy, second look */
    uint64_t put_bytes;
    uint64_t put_ns;
    uint64_t wrong_bytes;
    uint64_t lost;        /* gets that lost their block to an eviction */
    uint64_t unput;       /* blocks computed and not put: no room, or somebody else too slow */
    uint64_t evictions;   /* by the rank's directory */
    uint64_t expired;     /* reservations that expired there */
    struct hist get_hist; /* ns of one request's get */
    char text[STATS_TEXT_BYTES]; /* the failure, if any */
};

_Static_assert(sizeof(struct replay_stats) <= LAYOUT_STATS, "statistics have room in the layout");

void stats_merge(struct replay_stats *into, const struct replay_stats *from);

#endif
