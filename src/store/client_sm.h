// SPDX-License-Identifier: Apache-2.0
// The store's client as a pure state machine: requests, watches, bytes and time go in; bytes to
// send and the wish to connect or disconnect come out, and the callbacks of requests, watches and
// the session run inside these calls. The TCP client, the local store and the simulation are shells
// around it. One caller at a time; callbacks may submit, watch and unwatch, and must not feed bytes
// or time.
#ifndef MF_STORE_CLIENT_SM_H
#define MF_STORE_CLIENT_SM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

struct mf_client_sm;
struct mf_client_req;
struct mf_client_watch;

struct mf_client_sm_cfg {
    const struct mf_env *env; /* borrowed: randomness and the log; never the clock */
    uint64_t session_id;
    uint32_t session_ms;
    mf_session_fn on_session; /* may be NULL */
    void *on_session_arg;
    const char *addr; /* copied: names the store in sentences */
};

int mf_client_sm_create(const struct mf_client_sm_cfg *cfg, uint64_t now_ns,
                        struct mf_client_sm **out);
/** Requests that are still open end with SMEM_NOT_CONNECTED. NULL is fine. */
void mf_client_sm_destroy(struct mf_client_sm *sm);

/* ---- requests and watches ---------------------------------------------------------------------
 */

/** Check a request and encode it; may run on any thread. The deadline must be set.
 * SMEM_INVALID_PARAM with a sentence that names the key or the limit, SMEM_MALLOC_FAILED. */
int mf_client_req_create(const struct mf_store_req *req, mf_store_done_fn done, void *arg,
                         struct mf_client_req **out);
/** One that was not submitted: done is not called. */
void mf_client_req_destroy(struct mf_client_req *req);
/** Takes the request over; done is called exactly once, by its deadline, perhaps from here. */
void mf_client_sm_submit(struct mf_client_sm *sm, uint64_t now_ns, struct mf_client_req *req);

/** `id` has the highest bit set and is unused. May run on any thread. */
int mf_client_watch_create(const char *prefix, uint32_t id, mf_watch_fn fn, void *arg,
                           struct mf_client_watch **out);
/** Takes the watch over. */
void mf_client_sm_watch(struct mf_client_sm *sm, uint64_t now_ns, struct mf_client_watch *watch);
/** SMEM_NOT_EXIST when there is no such watch. */
int mf_client_sm_unwatch(struct mf_client_sm *sm, uint32_t id);
#define MF_CLIENT_WATCH_BIT 0x80000000u

/* ---- the connection ---------------------------------------------------------------------------
 */

enum mf_client_want { MF_CLIENT_NOTHING, MF_CLIENT_CONNECT, MF_CLIENT_DISCONNECT };

/** What the shell is to do; asked again after each call. */
enum mf_client_want mf_client_sm_want(const struct mf_client_sm *sm, uint64_t now_ns);
/** The shell has begun to connect. */
void mf_client_sm_connecting(struct mf_client_sm *sm, uint64_t now_ns);
void mf_client_sm_connected(struct mf_client_sm *sm, uint64_t now_ns);
/** The connection, or the attempt, has ended; `why` when the shell knows the cause, else NULL. */
void mf_client_sm_closed(struct mf_client_sm *sm, uint64_t now_ns, const char *why);
void mf_client_sm_bytes(struct mf_client_sm *sm, uint64_t now_ns, const void *data, size_t len);
/** What to send next; valid until the next call. */
size_t mf_client_sm_output(const struct mf_client_sm *sm, const uint8_t **data);
void mf_client_sm_sent(struct mf_client_sm *sm, uint64_t now_ns, size_t len);
void mf_client_sm_tick(struct mf_client_sm *sm, uint64_t now_ns);
/** When the next tick, or question what the machine wants, is due; UINT64_MAX: not before bytes
 * come. */
uint64_t mf_client_sm_next_ns(const struct mf_client_sm *sm);

/** Another address in sentences from now on; leave the present connection for it when `now`. */
void mf_client_sm_set_addr(struct mf_client_sm *sm, const char *addr, bool now, uint64_t now_ns);
/** End the session: no new connection is made after this. */
void mf_client_sm_close(struct mf_client_sm *sm, uint64_t now_ns);

enum mf_client_state {
    MF_CLIENT_DOWN,       /* no connection; the next attempt is scheduled */
    MF_CLIENT_CONNECTING, /* the shell connects */
    MF_CLIENT_HELLO,      /* connected, the session is not yet granted */
    MF_CLIENT_OPEN,
    MF_CLIENT_CLOSING, /* asked to close; the server has not answered yet */
    MF_CLIENT_CLOSED,  /* final: closed, or the session has expired */
};
enum mf_client_state mf_client_sm_state(const struct mf_client_sm *sm);
bool mf_client_sm_expired(const struct mf_client_sm *sm);
/** Why the last connection or attempt ended; "" when none did. Borrowed until the next call. */
const char *mf_client_sm_why(const struct mf_client_sm *sm);

#endif
