// SPDX-License-Identifier: Apache-2.0
// What the files of the model network share: net.c (paths between hosts, misfortune), net_dir.c
// (one direction of a connection), net_sock.c (what processes call), net_listen.c (listeners and
// the opening of connections).
#ifndef MF_SIM_NET_PRIV_H
#define MF_SIM_NET_PRIV_H

#include "net.h"

#define NET_PATH_BUCKETS 4096u

/** From one host to another one. */
struct net_path {
    uint32_t from, to;
    bool cut;
    uint32_t slow;
    uint64_t base_ns, cut_ns; /* of a piece that waits for nothing; when it was cut */
    struct net_path *same;    /* in the bucket */
    struct net_path *next;    /* in the order in which they were first used */
};

/** Bytes of one send. In a direction's list until they were read. */
struct net_chunk {
    struct net_chunk *next;
    uint64_t due_ns; /* of what has not arrived */
    uint32_t len, arrived, taken;
    uint8_t data[];
};

/** One direction of a connection. In this order arrive: a part of the opening, bytes, the end of
 * the stream, a reset. Nothing arrives while the path is cut, and nothing is acknowledged while the
 * path back is. */
struct net_dir {
    struct net_conn *conn;
    uint32_t from; /* the end that sends */
    struct net_path *path, *back;
    struct sim_event event;
    struct net_chunk *first, *flying, *last; /* flying: the first that has not all arrived */
    uint64_t used;                           /* of the window, as the sender knows */
    uint64_t credit, credit_ns;              /* read; the sender learns of it then */
    uint64_t readable;                       /* arrived, not read */
    uint64_t last_due_ns;
    uint64_t unacked_ns; /* since when the oldest has waited in vain; 0: nothing has */
    bool hungry;         /* the sender was told that there is no room */
    bool hand, fin, fin_arrived, rst;
    uint64_t hand_ns, fin_ns, rst_ns;
    bool dead; /* nothing is carried any more */
};

struct sim_sock {
    struct net_conn *conn;
    uint32_t index; /* 0: who has connected */
    struct sim_proc *proc;
    struct mf_loop *loop; /* NULL: nobody is told */
    struct sim_source source;
    struct sim_hook hook;
    bool hooked;
    bool open;     /* a process, or a listener's queue, has it */
    int connected; /* as sim_sock_connected */
    int error;     /* to be told once */
    bool failed;
    struct sim_sock *waits; /* behind it in the listener's queue */
};

struct net_conn {
    struct net_conn *prev, *next; /* in the order in which they were made */
    uint64_t number, window;
    uint32_t host[2];
    uint16_t port[2];
    uint32_t held;                 /* by functions that run */
    struct sim_listener *listener; /* until it was accepted */
    bool queued;                   /* it can be */
    struct sim_sock end[2];
    struct net_dir dir[2]; /* dir[i] carries what end[i] sends */
};

struct sim_listener {
    struct sim_listener *prev, *next;
    struct sim_proc *proc;
    struct mf_loop *loop;
    struct sim_source source;
    struct sim_hook hook;
    uint32_t host;
    uint16_t port;
    uint32_t pending; /* connections that were not accepted yet */
    struct sim_sock *first, *last;
    void (*accept)(void *arg, struct sim_sock *sock);
    void *arg;
};

struct net {
    struct net_path *buckets[NET_PATH_BUCKETS];
    struct net_path *paths, *paths_last;
    struct net_conn *conns, *conns_last;
    struct sim_listener *listeners, *listeners_last;
    uint64_t conns_made;
};
extern struct net sim_net;

/* net.c */
struct net_path *net_path_get(uint32_t from, uint32_t to);
/** How long a piece of so many bytes takes. */
uint64_t net_path_delay(const struct net_path *path, uint64_t bytes);
/** Memory of the model is not what allocations that fail are about. */
void *net_alloc(size_t bytes);

/* net_dir.c */
void net_dir_init(struct net_conn *conn, uint32_t from);
/** Make the event due when the next thing is. */
void net_dir_arm(struct net_dir *dir);
/** The time at which something sent now is to arrive, behind all that was sent before. Also begins
 * to count how long it waits. */
uint64_t net_dir_due(struct net_dir *dir, uint64_t bytes);
void net_dir_hand(struct net_dir *dir);
void net_dir_fin(struct net_dir *dir);
void net_dir_rst(struct net_dir *dir);
/** Free what was not read. */
void net_dir_drop(struct net_dir *dir, bool also_arrived);
bool net_dir_has_unacked(const struct net_dir *dir);
/** Both ends that are open fail. */
void net_conn_fail(struct net_conn *conn, int error);
/** Free it when nobody has or holds it. */
void net_conn_put(struct net_conn *conn);

/* net_sock.c */
struct net_conn *net_conn_new(uint32_t from, uint32_t to, uint16_t port);
void net_conn_free(struct net_conn *conn);
void net_sock_own(struct sim_sock *sock, struct sim_proc *proc);
void net_sock_wake(struct sim_sock *sock);
/** This end is closed; the connection may be gone afterwards. */
void net_sock_end(struct sim_sock *sock);

/* net_listen.c */
/** What was sent to open the connection has arrived on this direction. */
void net_hand_arrived(struct net_dir *dir);
/** It is not to be accepted any more. */
void net_listener_forget(struct net_conn *conn);
struct sim_listener *net_listener_find(uint32_t host, uint16_t port);
void net_listener_free(struct sim_listener *listener);

#endif
