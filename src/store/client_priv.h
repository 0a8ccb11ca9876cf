// SPDX-License-Identifier: Apache-2.0
// What the files of the client's state machine share: client_sm.c (connection, session, time),
// client_req.c (requests and ephemeral keys), client_watch.c (watches).
#ifndef MF_STORE_CLIENT_PRIV_H
#define MF_STORE_CLIENT_PRIV_H

#include "base/limits.h"
#include "store/client_sm.h"
#include "wire/store_item.h"

/* Ids of announcements: this bit, and the number of the ephemeral key. */
#define CLIENT_ANNOUNCE_BIT 0x40000000u

/* A key that lives with this session, as the server last confirmed it. */
struct client_eph {
    struct client_eph *next;
    uint32_t id;
    uint64_t rev;
    uint8_t *value; /* points behind the key */
    size_t key_len, value_len;
    char key[]; /* with a NUL behind it, then the value */
};

struct mf_client_req {
    struct mf_client_req *next_unsent;
    void *shell;            /* the shell's own */
    _Atomic uint32_t *open; /* counted down when the request is freed; may be NULL */
    mf_store_done_fn done;
    void *arg;
    uint32_t id;
    bool sent;
    uint64_t stream_at; /* sent: where in the connection's stream it begins */
    uint64_t begin_ns, deadline_ns;
    struct client_eph *eph;     /* what becomes ours when it succeeds */
    struct mf_buf parts;        /* LIST: items that came so far */
    struct mf_smsg_request msg; /* points into body */
    struct mf_buf body;
};

struct mf_client_watch {
    struct mf_client_watch *next;
    uint32_t id;
    mf_watch_fn fn;
    void *arg;
    void *shell;  /* the shell's own */
    bool dead;    /* unwatched; freed when no dispatch runs */
    bool in_sync; /* between SYNC_BEGIN and SYNC_END */
    bool synced;
    size_t prefix_len;
    char prefix[];
};

struct mf_client_sm {
    struct mf_client_sm_cfg cfg;
    char addr[128];
    char why[512];
    enum mf_client_state state;
    bool drop;    /* the connection is to be closed */
    bool expired; /* with state CLOSED */
    bool closing; /* the user wants the end */
    bool move_on; /* HELLO: the address has changed meanwhile */
    bool moving;  /* the connection was given up for another address: the store may be the same */
    uint64_t boot_id;
    uint64_t retry_ns; /* DOWN: when to connect */
    uint64_t backoff_ms;
    uint64_t limit_ns; /* CONNECTING, HELLO, CLOSING: when to give up */
    uint64_t heard_ns, beat_ns;
    uint64_t req_next_ns; /* not later than the earliest deadline */
    struct mf_framer in;
    struct mf_outq out;
    uint64_t stream_queued, stream_sent; /* of this connection */
    struct mf_client_req *slots[MF_STORE_INFLIGHT_MAX];
    uint32_t slot_hint, generation, open_count;
    struct mf_client_req *unsent_head, *unsent_tail;
    struct client_eph *ephs;
    uint32_t eph_next_id;
    struct mf_client_watch *watches, *watches_tail;
    struct mf_item_prev last; /* what the next item of this connection is written against */
    uint32_t dispatching;
    bool sweep; /* a watch died during a dispatch */
};

/* client_sm.c */
void mf_cl_drop(struct mf_client_sm *sm, const char *why);
void mf_cl_begin(struct mf_client_sm *sm, uint8_t type, struct mf_wr *wr);
/** False: it could not be queued, and the connection is dropped. */
bool mf_cl_end(struct mf_client_sm *sm, struct mf_wr *wr);
/** Final: the session is dead. */
void mf_cl_expire(struct mf_client_sm *sm, const char *why);

/* client_req.c */
void mf_cl_req_reply(struct mf_client_sm *sm, const uint8_t *body, size_t len);
void mf_cl_req_part(struct mf_client_sm *sm, const uint8_t *body, size_t len);
/** Queue requests that were not sent yet, as far as the queue has room. */
void mf_cl_req_push(struct mf_client_sm *sm);
/** The connection broke: what was sent and may have been executed fails, the rest waits. */
void mf_cl_req_lost(struct mf_client_sm *sm);
void mf_cl_req_tick(struct mf_client_sm *sm, uint64_t now_ns);
/** End all requests with SMEM_NOT_CONNECTED. */
void mf_cl_req_fail_all(struct mf_client_sm *sm, const char *why);
void mf_cl_announce_all(struct mf_client_sm *sm);
void mf_cl_eph_free_all(struct mf_client_sm *sm);

/* client_watch.c */
void mf_cl_watch_send_all(struct mf_client_sm *sm);
void mf_cl_watch_lost(struct mf_client_sm *sm);
void mf_cl_watch_sync(struct mf_client_sm *sm, const uint8_t *body, size_t len);
void mf_cl_watch_events(struct mf_client_sm *sm, const uint8_t *body, size_t len);
void mf_cl_watch_refused(struct mf_client_sm *sm, uint32_t id, const char *why);
void mf_cl_watch_free_all(struct mf_client_sm *sm);

#endif
