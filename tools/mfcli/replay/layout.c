// SPDX-License-Identifier: Apache-2.0
// Computes what lies where in a rank's part of the pool.
#include "layout.h"

#include <string.h>

#define HEADER_BYTES 4096u

static size_t round_up(size_t value, size_t unit)
{
    return (value + unit - 1) / unit * unit;
}

void layout_make(struct layout *layout, uint32_t ranks, uint32_t clients, uint64_t block_bytes,
                 uint64_t slots)
{
    memset(layout, 0, sizeof(*layout));
    layout->ranks = ranks;
    layout->clients = clients;
    layout->block_bytes = block_bytes;
    layout->slots = slots;
    layout->local_room = (clients + ranks - 1) / ranks;
    /* At most half of the entries are in use, so that nearly all are in their home bucket. */
    for (layout->buckets = BUCKET_PROBES; layout->buckets * BUCKET_ENTRIES < 2 * slots;) {
        layout->buckets *= 2;
    }
    layout->stats = HEADER_BYTES;
    layout->doorbells = layout->stats + LAYOUT_STATS;
    layout->requests = layout->doorbells + round_up(8 * (size_t)clients, HEADER_BYTES);
    layout->answers = layout->requests + round_up(sizeof(struct mail_request) * clients, 64);
    layout->directory =
        round_up(layout->answers + sizeof(struct mail_answer) * (size_t)layout->local_room * ranks,
                 HEADER_BYTES);
    layout->blocks = layout->directory + (size_t)(BUCKET_BYTES * layout->buckets);
    layout->bytes = round_up(layout->blocks + (size_t)(block_bytes * slots), LAYOUT_PAGE);
}
