// SPDX-License-Identifier: Apache-2.0
// What the TCP client and the local store's client have in common: a client state machine on a
// loop, its timer, and the operations of struct mf_store from any thread. A link carries its bytes.
#ifndef MF_STORE_CLIENT_SHELL_H
#define MF_STORE_CLIENT_SHELL_H

#include <stdatomic.h>

#include "base/loop.h"
#include "base/thread.h"
#include "store/client_sm.h"

struct mf_client_shell;

/** All on the loop's thread. A link reports by mf_client_sm_connected, _closed and _bytes, each
 *  followed by mf_client_shell_pump. */
struct mf_client_link_ops {
    void (*connect)(struct mf_client_shell *shell);
    void (*disconnect)(struct mf_client_shell *shell);
    /** How many bytes were taken; 0: none at present, the link pumps when it can take more. */
    size_t (*write)(struct mf_client_shell *shell, const uint8_t *data, size_t len);
    /** Called when a pump has ended. May be NULL. */
    void (*flush)(struct mf_client_shell *shell);
    /** Frees the whole client; all is disconnected. */
    void (*destroy)(struct mf_client_shell *shell);
};

struct mf_client_shell {
    struct mf_store base;
    const struct mf_client_link_ops *link;
    struct mf_client_sm *sm; /* the loop's thread only */
    struct mf_timer *timer;
    bool pumping;
    _Atomic uint32_t open_requests, open_watches, next_watch;
    struct mf_mutex lock; /* guards phase; who opens or closes waits for it */
    struct mf_cond cond;
    enum mf_client_state phase;
    bool expired;
};

/** Fill the common part, make the state machine and the timer. `addr` names the store. */
int mf_client_shell_init(struct mf_client_shell *shell, const struct mf_store_cfg *cfg,
                         const struct mf_store_ops *ops, const struct mf_client_link_ops *link,
                         const char *addr);
/** Undo init, on any thread but the loop's. */
void mf_client_shell_fini(struct mf_client_shell *shell);
/** Connect and wait for the session; on failure everything is undone but the caller's memory. */
int mf_client_shell_start(struct mf_client_shell *shell, const char *addr, uint64_t deadline_ns);
/** Do what the machine wants and arm the timer. On the loop's thread. */
void mf_client_shell_pump(struct mf_client_shell *shell);

/* Members of struct mf_store_ops. */
int mf_client_shell_submit(struct mf_store *store, const struct mf_store_req *req,
                           mf_store_done_fn done, void *arg);
int mf_client_shell_watch(struct mf_store *store, const char *prefix, mf_watch_fn fn, void *arg,
                          uint32_t *id);
int mf_client_shell_unwatch(struct mf_store *store, uint32_t id);
void mf_client_shell_close(struct mf_store *store, uint64_t deadline_ns);

#endif
