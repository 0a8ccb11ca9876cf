// SPDX-License-Identifier: Apache-2.0
// Starts the ranks of a world as processes of this host, passes their output on, stops all when one
// fails, and leaves nothing behind however it ends. `mfcli run` and `mfcli replay` stand on it.
#ifndef MFCLI_LAUNCH_H
#define MFCLI_LAUNCH_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "guardian.h"

/** A process that looks after ranks on another host: its lines are passed on as they are, and its
 * standard input ends when this process does, or wants it to. */
struct launch_member {
    char *name;     /* of the host */
    uint32_t ranks; /* there */
    char **argv;    /* the agent's words, NULL-terminated */
};

struct launch_cfg {
    const char *command;   /* in front of messages: "mfcli run" */
    const char *store_url; /* MF_CONFIG_STORE_URL */
    uint32_t count;        /* ranks to start here */
    uint32_t rank_start;   /* the first one's number */
    uint32_t world_size;
    char **argv;         /* program and arguments, NULL-terminated */
    uint64_t timeout_ms; /* for all; 0: none */
    uint64_t grace_ms;   /* after a failure the others have this long to end by themselves */
    bool json;           /* lines and results as JSON objects */
    bool first_is_tool;  /* the first rank writes to our stdout and stderr itself, unprefixed */
    bool tether;         /* all are stopped when standard input ends */
    const struct launch_member *members; /* [count] in place of ranks of this host; NULL: none */
};

struct launch {
    struct guardian guardian;
    sigset_t old_mask;
    int signals; /* signalfd */
};

/**
 * Prepares the process: blocks the signals that it handles and starts the guardian. Call first of
 * all, before the process has threads.
 *
 * @return 0, or -1 after a sentence on stderr
 */
int launch_open(struct launch *launch, const char *command);

/**
 * Starts the ranks and waits until all have ended. May be called once.
 *
 * @return CLI_OK when all ended with code 0, else CLI_FAILURE after a sentence on stderr that names
 *         the rank and how it ended
 */
int launch_run(struct launch *launch, const struct launch_cfg *cfg);

void launch_close(struct launch *launch);

#endif
