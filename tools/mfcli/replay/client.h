// SPDX-License-Identifier: Apache-2.0
// A client of the KV-cache pool: for each request it looks its blocks up, gets those that are there
// and checks every byte, and computes and puts the others.
#ifndef MFCLI_REPLAY_CLIENT_H
#define MFCLI_REPLAY_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mailbox.h"
#include "stats.h"
#include "trace.h"

enum replay_fault {
    FAULT_NONE = 0,
    FAULT_FLIP = 1, /* every block that is put gets one wrong bit */
};

struct client_cfg {
    const struct trace *trace;
    bool touch; /* the pool is bounded: tell owners which blocks are used */
    enum replay_fault fault;
    uint64_t busy_ms; /* how long to wait for a block that somebody else is putting */
};

struct client_wave;

struct client {
    struct replay_world *world;
    const struct client_cfg *cfg;
    uint32_t number; /* in the world; requests number, number + clients, ... are its own */
    struct mailbox mailbox;
    struct client_wave *wave;
    struct replay_stats stats;
    atomic_uint_fast64_t done; /* requests, for the progress bar */
};

void client_init(struct client *client, struct replay_world *world, const struct client_cfg *cfg,
                 uint32_t number);
void client_fini(struct client *client);

/** Replays one request. @return 0, or -1 after a report to world->failure */
int client_request(struct client *client, const uint64_t *ids, uint32_t count);

/** Replays all of this client's requests. @return 0, or -1 after a report */
int client_run(struct client *client);

#endif
