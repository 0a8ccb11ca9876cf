// SPDX-License-Identifier: Apache-2.0
// The control plane's key-value service as its users see it: one table of operations that every
// back end (local, the embedded TCP server; later etcd) fills, and calls on top of it that wait.
// Barrier, allgather and rank allocation (collective.h) are written once, on these operations
// alone.
#ifndef MF_STORE_STORE_H
#define MF_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/loop.h"
#include "trace/trace.h"

struct mf_store; /* an open client: one session */

enum mf_store_op {
    MF_STORE_SET = 1, /* overwrite */
    MF_STORE_GET,     /* one key; with MF_STORE_WAIT: when it is there, or the deadline */
    MF_STORE_ADD,     /* int64, kept as decimal text; absent counts as 0; number = the new value */
    MF_STORE_APPEND,  /* number = bytes after it */
    MF_STORE_CAS,     /* compare and swap, see below */
    MF_STORE_REMOVE,  /* SMEM_NOT_EXIST when absent */
    MF_STORE_LIST,    /* all keys with a prefix, in order of key */
};

enum {
    MF_STORE_EPHEMERAL = 1u << 0, /* SET and CAS: the key ends with this client's session */
    MF_STORE_WAIT = 1u << 1,      /* GET */
    MF_STORE_KEYS = 1u << 2,      /* LIST: the values are not wanted, and come empty */
};

struct mf_store_req {
    enum mf_store_op op;
    uint32_t flags;
    const char *key;   /* 1..MF_KEY_MAX bytes, any but NUL; LIST: the prefix, may be "" */
    const void *value; /* SET, APPEND, CAS. CAS with value NULL removes the key. */
    size_t value_len;
    const void *expect; /* CAS: what must be there; NULL: the key must be absent */
    size_t expect_len;
    int64_t add;
    uint64_t deadline_ns; /* 0: the option store.request_ms from now */
};

struct mf_store_kv {
    const char *key;
    const void *value;
    size_t value_len;
};

/** The answer. All pointers are borrowed during the callback. */
struct mf_store_rsp {
    int rc; /* SMEM_OK, _NOT_EXIST, _TIMEOUT, _NOT_CONNECTED, _INVALID_PARAM, _NO_RESOURCES, ... */
    const char *msg;   /* the sentence when rc is not SMEM_OK */
    const void *value; /* GET; CAS that did not swap: what is there, NULL when absent */
    size_t value_len;
    int64_t number;                /* ADD, APPEND */
    bool swapped;                  /* CAS (rc is SMEM_OK either way) */
    const struct mf_store_kv *kvs; /* LIST */
    size_t count;
};

/** Called once, on the loop's thread (local store: possibly before submit returns). */
typedef void (*mf_store_done_fn)(void *arg, const struct mf_store_rsp *rsp);

enum mf_watch_kind {
    MF_WATCH_SYNC_BEGIN, /* what follows up to SYNC_END is all there is; forget what is not named */
    MF_WATCH_PUT,
    MF_WATCH_DELETE, /* never between SYNC_BEGIN and SYNC_END */
    MF_WATCH_SYNC_END,
    MF_WATCH_LOST, /* the store cannot be heard at present; a SYNC_BEGIN follows when it can */
};

struct mf_watch_event {
    enum mf_watch_kind kind;
    const char *key; /* whole key; borrowed during the call */
    const void *value;
    size_t value_len;
    bool expired; /* DELETE: the session of the key's owner ended (back ends that know) */
};
typedef void (*mf_watch_fn)(void *arg, const struct mf_watch_event *event);

enum mf_session_state {
    MF_SESSION_OK,
    MF_SESSION_LOST,    /* no connection; the client keeps trying; the session may still live */
    MF_SESSION_EXPIRED, /* the store has declared this session dead: final */
};
typedef void (*mf_session_fn)(void *arg, enum mf_session_state state, const char *why);

struct mf_store_cfg {
    const struct mf_env *env; /* borrowed */
    struct mf_loop *loop;     /* borrowed; all callbacks run on it */
    uint64_t session_id;      /* the process's incarnation, never 0 */
    uint32_t session_ms;      /* time to live of the session */
    uint32_t request_ms;      /* default deadline */
    struct mf_trace *trace;   /* where calls that wait are counted; may be NULL */
    mf_session_fn on_session; /* may be NULL */
    void *on_session_arg;
};

struct mf_store_ops {
    const char *name; /* "tcp", "local" */
    /** Never blocks. SMEM_OK: done will be called. Else it will not, and the sentence is recorded.
     */
    int (*submit)(struct mf_store *store, const struct mf_store_req *req, mf_store_done_fn done,
                  void *arg);
    /** Watch all keys with a prefix. Events come in the order of the store's changes. After unwatch
     * has returned (it waits for a running callback unless called from it) none comes any more. */
    int (*watch)(struct mf_store *store, const char *prefix, mf_watch_fn fn, void *arg,
                 uint32_t *id);
    int (*unwatch)(struct mf_store *store, uint32_t id);
    /** Try another address at the next connect; drop the present connection when `now` is true. */
    int (*set_url)(struct mf_store *store, const char *url, bool now);
    /** End the session: the store removes its ephemeral keys at once. Waits at most `deadline_ns`.
     */
    void (*close)(struct mf_store *store, uint64_t deadline_ns);
};

/** Every back end's client begins with this. */
struct mf_store {
    const struct mf_store_ops *ops;
    const struct mf_env *env;
    struct mf_loop *loop;
    struct mf_trace *trace; /* or NULL */
    uint32_t request_ms;
};

/* ---- opening ----------------------------------------------------------------------------------
 */

/** A parsed store URL: tcp://a.b.c.d:port or tcp://[v6]:port; port 0..65535. */
struct mf_store_url {
    bool v6;
    char host[64];
    uint16_t port;
};

/** SMEM_INVALID_PARAM with a sentence that says where the text stops being a URL; etcd:// and
 * reg:// are refused with a sentence of their own. */
int mf_store_url_parse(const char *url, struct mf_store_url *out);

/** Connect and open the session; retries until the deadline while nothing listens there. `*out` is
 * owned: close with mf_store_close. Blocks; not on the loop's thread. */
int mf_store_open(const struct mf_store_cfg *cfg, const char *url, uint64_t deadline_ns,
                  struct mf_store **out);
/** End the session and free the client. NULL is fine. Not on the loop's thread. */
void mf_store_close(struct mf_store *store, uint64_t deadline_ns);

/* ---- calls that wait; from any thread but the loop's -------------------------------------------
 */

int mf_store_set(struct mf_store *store, const char *key, const void *value, size_t len,
                 uint32_t flags, uint64_t deadline_ns);
/** `*value` is allocated with one NUL byte behind it (not counted): free with mf_free. */
int mf_store_get(struct mf_store *store, const char *key, uint32_t flags, uint64_t deadline_ns,
                 void **value, size_t *len);
int mf_store_add(struct mf_store *store, const char *key, int64_t add, uint64_t deadline_ns,
                 int64_t *value);
int mf_store_append(struct mf_store *store, const char *key, const void *value, size_t len,
                    uint64_t deadline_ns, size_t *total);
/** *swapped tells. When it did not swap, *was (may be NULL) is what is there, NULL when absent;
 * free with mf_free. */
int mf_store_cas(struct mf_store *store, const char *key, const void *expect, size_t expect_len,
                 const void *value, size_t len, uint32_t flags, uint64_t deadline_ns, bool *swapped,
                 void **was, size_t *was_len);
int mf_store_remove(struct mf_store *store, const char *key, uint64_t deadline_ns);
/** Calls fn for each key in order; stops when fn returns false. */
int mf_store_list(struct mf_store *store, const char *prefix, uint64_t deadline_ns,
                  bool (*fn)(void *arg, const struct mf_store_kv *kv), void *arg);
/** The same without the values. */
int mf_store_list_keys(struct mf_store *store, const char *prefix, uint64_t deadline_ns,
                       bool (*fn)(void *arg, const struct mf_store_kv *kv), void *arg);

/* ---- the embedded server ------------------------------------------------------------------------
 */

struct mf_store_server;

/** Bind, listen, and serve on a thread of its own. port 0 takes a free one. SMEM_RES_IN_USE when
 * the address is occupied (the sentence names it). `settle_ms`: see struct mf_server_sm_cfg. */
int mf_store_server_create(const struct mf_env *env, const char *url, uint32_t settle_ms,
                           struct mf_store_server **out);
void mf_store_server_destroy(struct mf_store_server *server);
/** "tcp://host:port" with the real port. Borrowed until destroy. */
const char *mf_store_server_url(const struct mf_store_server *server);
/** For the atfork child handler: close the descriptors, touch nothing else. Async-signal-safe. */
void mf_store_server_close_fds(struct mf_store_server *server);
void mf_store_client_close_fds(struct mf_store *store);

struct mf_store_server_status {
    char url[96];
    uint32_t connections, sessions, keys, watches;
    uint64_t requests; /* watches among them */
    uint64_t events, bytes_in, bytes_out, bytes_stored, uptime_ms;
    bool recovering;
};
void mf_store_server_get_status(struct mf_store_server *server, struct mf_store_server_status *out);
/** Copy a key's value into buf; false when it is absent or longer than cap. From any thread. */
bool mf_store_server_read(struct mf_store_server *server, const char *key, uint8_t *buf, size_t cap,
                          size_t *len);
/** Below these keys sessions hold ranks (collective.h, prefix "world/"); the server reads them only
 * to say whose session has ended. */
#define MF_STORE_RANK_KEYS "world/rank/"

/** A session ended by silence or a closed connection; `rank` is the one that it held, UINT32_MAX:
 * none. */
typedef void (*mf_store_broken_fn)(void *arg, uint64_t session_id, uint32_t rank);
/** Called on the server's thread; NULL clears. After the call has returned the old one is not
 * running. */
void mf_store_server_set_broken_fn(struct mf_store_server *server, mf_store_broken_fn fn,
                                   void *arg);

#endif
