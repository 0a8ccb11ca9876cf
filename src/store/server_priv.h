// SPDX-License-Identifier: Apache-2.0
// What the files of the server's state machine share: server_sm.c (connections, sessions, time),
// server_ops.c (requests), server_watch.c (watches and events), server_wait.c (requests that wait).
#ifndef MF_STORE_SERVER_PRIV_H
#define MF_STORE_SERVER_PRIV_H

#include "base/limits.h"
#include "store/kv.h"
#include "store/server_sm.h"
#include "wire/store_item.h"

enum conn_state {
    CONN_HELLO, /* nothing but HELLO is accepted */
    CONN_OPEN,  /* a session is alive on it */
    CONN_FLUSH, /* the last bytes are being sent; input is ignored */
    CONN_CUT,   /* to be closed at once */
    CONN_AWAY,  /* closed; the session has moved, and what it owns waits for it */
};

struct mf_srv_watch;
struct mf_srv_wait;

/* A connection and the session that lives on it: the one does not outlive the other, except that a
 * session that says MOVE may come back on another connection. */
struct mf_server_conn {
    struct mf_server_sm *sm;
    struct mf_server_conn *prev, *next; /* all connections */
    struct mf_server_conn *ready_next;
    bool ready;
    bool asked; /* is among those in front of the list */
    enum conn_state state;
    void *user;
    struct mf_framer in;
    struct mf_outq out;
    bool events_open; /* the last frame of `out` is EVENTS and nothing of it was sent */
    uint64_t heard_ns;
    bool forgiven; /* was given more time since it was heard */
    char peer[80];

    bool session;  /* alive: the fields below count, and session_node is in the tree */
    bool moved;    /* it may come back on another connection */
    bool reopened; /* it lived on the server that ran here before */
    uint32_t session_ms;
    uint32_t away_ms; /* how long it may stay away when it has moved */
    uint64_t session_id;
    char session_key[8];
    struct mf_tree_node session_node;
    struct mf_kv_owner owner;
    struct mf_srv_watch *watches;
    uint32_t watch_count;
    struct mf_srv_wait *waits;
    uint32_t wait_count;
    uint64_t event_seq;       /* the last change that was queued here */
    struct mf_item_prev last; /* what the next item is written against */
};

struct mf_server_sm {
    struct mf_server_sm_cfg cfg;
    uint64_t boot_id, boot_ns;
    uint64_t next_ns;            /* not later than the earliest expiry */
    bool recovering;             /* newcomers' claims wait ... */
    uint64_t recover_until;      /* ... until a tick comes then */
    bool reopened;               /* somebody from before a restart has shown up */
    uint64_t ran_ns;             /* when this machine was called last */
    uint64_t gap_ns, gap_end_ns; /* the longest time of late in which it was not */
    struct mf_kv kv;
    struct mf_tree sessions;              /* by session id */
    struct mf_tree watched;               /* distinct prefixes */
    uint32_t prefix_lens[MF_KEY_MAX + 1]; /* how many of them have this length */
    struct mf_tree awaited;               /* keys that somebody waits for */
    struct mf_srv_wait *held;             /* newcomers' requests during recovery, oldest first */
    struct mf_server_conn *conns;
    struct mf_server_conn *ready_head, *ready_tail;
    /* The last of those who are to be answered; NULL: none. */
    struct mf_server_conn *asked_tail;
    struct mf_buf scratch; /* one event as it is written to one connection */
    uint64_t event_seq;
    uint32_t conn_count, watch_count;
    uint64_t requests, events, bytes_in, bytes_out;
};

/* server_sm.c */
void mf_srv_mark_ready(struct mf_server_conn *conn);
/** The connection cannot be served any more: close it at once; its session ends with it. */
void mf_srv_cut(struct mf_server_conn *conn, const char *why);
/** Begin a frame to this connection; end it with mf_srv_send_end. */
void mf_srv_send_begin(struct mf_server_conn *conn, uint8_t type, struct mf_wr *wr);
/** Cuts the connection when the frame could not be queued. */
void mf_srv_send_end(struct mf_server_conn *conn, struct mf_wr *wr);
/** End the session alive on `conn` and close it, with the reason as its last word. */
void mf_srv_expel(struct mf_server_conn *conn, const char *why);
static inline struct mf_server_conn *mf_srv_conn_of(struct mf_kv_owner *owner)
{
    return MF_CONTAINER_OF(owner, struct mf_server_conn, owner);
}

/* server_ops.c */
void mf_srv_request(struct mf_server_conn *conn, uint64_t now_ns, const uint8_t *body, size_t len);
/** Execute a request that was held, now. */
void mf_srv_execute(struct mf_server_conn *conn, uint64_t now_ns,
                    const struct mf_smsg_request *req);
/** REPLY with the thread's error sentence. */
void mf_srv_reply_error(struct mf_server_conn *conn, uint32_t id, int rc);
void mf_srv_reply_value(struct mf_server_conn *conn, uint32_t id, const struct mf_kv_entry *entry);
/** Items of all keys with the prefix, in frames of `type`, PART or SYNC; false when they are too
 * many bytes for one answer (the sentence says so). Without `values` these are empty. */
bool mf_srv_send_items(struct mf_server_conn *conn, uint8_t type, uint32_t id, const char *prefix,
                       size_t prefix_len, bool values, size_t *count);

/* server_watch.c */
void mf_srv_watch_add(struct mf_server_conn *conn, const struct mf_smsg_watch *msg);
void mf_srv_watch_remove(struct mf_server_conn *conn, uint32_t id);
void mf_srv_watch_drop_all(struct mf_server_conn *conn);
/** Tell everybody who watches a prefix of the entry's key; the entry still has its value. */
void mf_srv_publish(struct mf_server_sm *sm, enum mf_smsg_kind kind,
                    const struct mf_kv_entry *entry);

/* server_wait.c */
/** Answer the GETs that waited for this key. */
void mf_srv_wait_wake(struct mf_server_sm *sm, const struct mf_kv_entry *entry);
int mf_srv_wait_key(struct mf_server_conn *conn, const struct mf_smsg_request *req);
int mf_srv_wait_recovery(struct mf_server_conn *conn, const uint8_t *body, size_t len,
                         const struct mf_smsg_request *req);
void mf_srv_wait_cancel(struct mf_server_conn *conn, uint32_t id);
void mf_srv_wait_drop_all(struct mf_server_conn *conn);
/** Recovery is over: execute what was held, oldest first. */
void mf_srv_wait_release_held(struct mf_server_sm *sm, uint64_t now_ns);

#endif
