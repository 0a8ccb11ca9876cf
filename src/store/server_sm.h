// SPDX-License-Identifier: Apache-2.0
// The store's server as a pure state machine: connections are opened, bytes come in, time passes;
// bytes to send and connections to close come out. No socket, clock or thread: the TCP server, the
// local store and the simulation are shells around it. Not thread-safe: one caller at a time.
#ifndef MF_STORE_SERVER_SM_H
#define MF_STORE_SERVER_SM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "store/store.h"

struct mf_server_sm;
struct mf_server_conn;

struct mf_server_sm_cfg {
    const struct mf_env *env; /* borrowed: randomness and the log; never the clock */
    uint32_t hello_ms;        /* a connection that has not said HELLO by then is closed */
    uint32_t settle_ms; /* so long after the beginning, newcomers' claims wait: who had a session on
                           a former life of this store comes first. 0: there was none */
    uint32_t conns_max;
    size_t keys_max, bytes_max; /* of the keyspace */
    size_t queue_max;           /* bytes queued to one connection before it is cut off */
    /* A session ended by silence or a closed connection. May be NULL; must not call the machine. */
    mf_store_broken_fn on_broken;
    void *on_broken_arg;
};

#define MF_STORE_HELLO_MS  5000u
#define MF_STORE_BYTES_MAX (1ull << 30) /* bytes of all keys and values of one store */

/** The defaults of limits.h. */
void mf_server_sm_cfg_init(struct mf_server_sm_cfg *cfg, const struct mf_env *env);

int mf_server_sm_create(const struct mf_server_sm_cfg *cfg, uint64_t now_ns,
                        struct mf_server_sm **out);
/** Every connection must have been closed. */
void mf_server_sm_destroy(struct mf_server_sm *sm);

/** A new connection. `peer` (copied) names it in sentences; `user` is the shell's own.
 * SMEM_NO_RESOURCES when there are too many: the shell closes it at once. */
int mf_server_sm_open(struct mf_server_sm *sm, uint64_t now_ns, const char *peer, void *user,
                      struct mf_server_conn **out);
void mf_server_sm_bytes(struct mf_server_sm *sm, uint64_t now_ns, struct mf_server_conn *conn,
                        const void *data, size_t len);
/** The shell has closed the connection, whoever wanted it: frees conn. Its session, if still alive,
 * has ended. Called once for each connection opened. */
void mf_server_sm_closed(struct mf_server_sm *sm, uint64_t now_ns, struct mf_server_conn *conn);
/** To be called at mf_server_sm_next_ns or soon after. When it comes late, so did everything else
 * on this thread: no session is declared silent for a time in which nobody listened. */
void mf_server_sm_tick(struct mf_server_sm *sm, uint64_t now_ns);
/** When the next tick is due; UINT64_MAX: none. */
uint64_t mf_server_sm_next_ns(const struct mf_server_sm *sm);

/** Connections that have something new to send or are to be closed, each once; NULL: no more. */
struct mf_server_conn *mf_server_sm_pop_ready(struct mf_server_sm *sm);
/** Is the next ready one a client that has asked something? These come first. */
bool mf_server_sm_has_asked(const struct mf_server_sm *sm);
void *mf_server_conn_user(const struct mf_server_conn *conn);
/** What to send next; the bytes are valid until the next call with this machine. */
size_t mf_server_conn_output(const struct mf_server_conn *conn, const uint8_t **data);
void mf_server_conn_sent(struct mf_server_conn *conn, size_t len);

enum mf_conn_want {
    MF_CONN_KEEP,
    MF_CONN_FLUSH_CLOSE, /* send what is queued, then close; at once when it cannot be sent */
    MF_CONN_CLOSE,       /* close now */
};
enum mf_conn_want mf_server_conn_want(const struct mf_server_conn *conn);

/** All but url and uptime_ms, which the shell knows. */
void mf_server_sm_get_status(const struct mf_server_sm *sm, struct mf_store_server_status *out);
/** True while ranks that lived before a restart of the store announce themselves again, or may be
 * about to (settle_ms), and newcomers' ephemeral keys wait. */
bool mf_server_sm_recovering(const struct mf_server_sm *sm, uint64_t now_ns);
/** For tests and oracles: the value of a key, borrowed until the next call; NULL when absent. */
const void *mf_server_sm_peek(const struct mf_server_sm *sm, const char *key, size_t *len);

#endif
