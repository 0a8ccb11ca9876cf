// SPDX-License-Identifier: Apache-2.0
// Makes a trace from a seed: a window of open conversations that are continued or replaced.
#include "workload.h"

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "hash.h"

#define OPEN_CONVERSATIONS 64u
#define BLOCKS_MAX         240u /* a conversation that would grow beyond ends */
#define CONTINUE_PERCENT   34u
#define FIRST_TURN_MEAN    16u
#define NEXT_TURN_MEAN     14u

struct conversation {
    uint32_t count;
    uint64_t ids[BLOCKS_MAX];
};

struct generator {
    uint64_t state;
    uint64_t next_id;
    struct conversation *open;
};

static uint64_t draw(struct generator *g, uint64_t below)
{
    g->state += 0x9e3779b97f4a7c15u;
    return (uint64_t)(((unsigned __int128)hash_mix(g->state) * below) >> 64);
}

/* A length of the given mean with a long tail: geometric, at least 1. */
static uint32_t draw_length(struct generator *g, uint32_t mean)
{
    uint32_t length = 1;

    while (length < BLOCKS_MAX / 2 && draw(g, mean) != 0) {
        length++;
    }
    return length;
}

static void grow(struct generator *g, struct conversation *c, uint32_t mean)
{
    uint32_t length = draw_length(g, mean);

    for (uint32_t i = 0; i < length && c->count < BLOCKS_MAX; i++) {
        c->ids[c->count++] = g->next_id++;
    }
}

static void next_request(struct generator *g, struct trace *trace)
{
    struct conversation *c = &g->open[draw(g, OPEN_CONVERSATIONS)];

    if (c->count > 0 && c->count < BLOCKS_MAX && draw(g, 100) < CONTINUE_PERCENT) {
        grow(g, c, NEXT_TURN_MEAN);
    } else {
        c->count = 1;
        c->ids[0] = 0;
        grow(g, c, FIRST_TURN_MEAN);
    }
    trace_add_request(trace);
    for (uint32_t i = 0; i < c->count; i++) {
        trace_add_id(trace, c->ids[i]);
    }
}

void workload_generate(struct trace *trace, uint64_t seed, uint64_t requests)
{
    struct generator g = {.state = hash_mix(seed), .next_id = 1};

    g.open = cli_alloc(OPEN_CONVERSATIONS, sizeof(*g.open));
    for (uint64_t i = 0; i < requests; i++) {
        next_request(&g, trace);
    }
    free(g.open);
}
