// SPDX-License-Identifier: Apache-2.0
// The model transport, as its files share it: one instance, its peers and their segments, its
// connections. It stands in the place of transport/direct, with the real fence; copies within a
// host are the caller's own, all others are asked of the owner over the model network.
//
// The instance's lock is never held while a function of the host is called, and a function that a
// socket calls takes no lock that is held while one waits.
#ifndef MF_SIM_TRANSPORT_H
#define MF_SIM_TRANSPORT_H

#include <pthread.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/loop.h"
#include "base/thread.h"
#include "memfabric/mf_transport.h"
#include "memory.h"
#include "net.h"
#include "seen.h"
#include "sim.h"
#include "transport/direct/direct.h"
#include "transport/fence/fence.h"

#define SIM_TP_MSG_SEGMENTS 16u
#define SIM_TP_TEXT         200u
#define SIM_TP_DATA_MAX     4096u /* bytes of one request */
#define SIM_TP_INFLIGHT     8u    /* requests of a connection that are not answered */

struct sim_tp;

/** The loop of the process that opened the instance: of core, or what a test puts in its place. */
struct mf_loop *sim_tp_loop(const struct mf_transport_host *host);

/* ---- what outlives processes (transport_held.c) ---- */

/** A control page: lives as long as somebody refers to it. */
struct sim_page {
    struct mf_fence_page *page;
    struct sim_proc *proc;
    uint32_t refs;
    struct sim_published *published; /* what can be reached at present */
    struct sim_page *next;           /* of those with the same hash */
};

/** What one instance holds of the machine's: given back by close, or when its process ends. */
struct sim_held;
struct sim_held *sim_held_open(void);
/** Give everything back that is still there. NULL is fine. */
void sim_held_close(struct sim_held *held);

/** The page of the instance; owned by `held`. NULL: no memory. */
struct sim_page *sim_held_own_page(struct sim_held *held, const struct mf_fence_identity *who);
/** The page of that life, if it belongs to that process; a reference of `held`. NULL: it is not its
 * page. */
struct sim_page *sim_held_page(struct sim_held *held, const struct sim_proc *proc,
                               uint64_t incarnation);
void sim_held_drop_page(struct sim_held *held, struct sim_page *page);
/** The memory behind a segment of the page's owner, from publish to withdraw or the end of the
 * owner's process: as a descriptor that is handed over. False: no memory. */
bool sim_page_publish(struct sim_page *page, uint64_t epoch, struct sim_object *object);
void sim_page_withdraw(struct sim_page *page, uint64_t epoch);
/** Borrowed; NULL: there is no such segment any more. */
struct sim_object *sim_page_object(const struct sim_page *page, uint64_t epoch);
/** Keep and let go of the memory behind a segment. NULL is fine. */
struct sim_object *sim_held_object(struct sim_held *held, struct sim_object *object);
void sim_held_drop_object(struct sim_held *held, struct sim_object *object);

/** Calls fn(arg) on the loop's thread a little after the process has ended. NULL: no memory. */
struct sim_watch;
struct sim_watch *sim_held_watch(struct sim_held *held, struct mf_loop *loop, struct sim_proc *proc,
                                 void (*fn)(void *arg), void *arg);
/** On the loop's thread. */
void sim_held_unwatch(struct sim_held *held, struct sim_watch *watch);

/* ---- messages ---- */

enum sim_tp_type {
    SIM_TP_HELLO = 1, /* who I am; answered by WELCOME */
    SIM_TP_WELCOME,
    SIM_TP_TELL, /* segments; answered by TOLD */
    SIM_TP_TOLD,
    SIM_TP_AGAIN,  /* nothing was taken: the same again a little later */
    SIM_TP_REFUSE, /* code and text */
    SIM_TP_OPEN,   /* what follows on this connection are requests */
};

struct sim_tp_msg_seg {
    struct mf_segment_desc desc;
    uint64_t keep;
};

/** On the stream: so many bytes as `len` says. */
struct sim_tp_msg {
    uint32_t len, type;
    uint32_t rank, pool;
    uint64_t world_id, incarnation;
    uint64_t to;         /* the life that is meant */
    uint64_t generation; /* of OPEN: later connections of a life end earlier ones */
    int32_t code;
    uint32_t count;
    uint32_t last; /* no further segments */
    uint16_t port; /* of the sender's listener */
    uint16_t host;
    char text[SIM_TP_TEXT];
    struct sim_tp_msg_seg segs[SIM_TP_MSG_SEGMENTS];
};

/** A request of a data connection, followed by the bytes of a put. */
struct sim_tp_req {
    uint32_t len;
    uint32_t kind; /* enum sim_tp_kind */
    uint64_t number;
    uint64_t incarnation, owner, epoch, offset, size;
    uint32_t rank, index;
    uint64_t src_epoch, src_offset; /* of a copy between two segments of the owner */
    uint32_t src_index, reserved;
};
enum sim_tp_kind { SIM_TP_PUT = 1, SIM_TP_GET, SIM_TP_COPY };

/** Its answer, followed by the bytes of a get. */
struct sim_tp_rsp {
    uint32_t len;
    int32_t code;
    uint64_t number;
    char text[SIM_TP_TEXT];
};

/** Bytes of a stream: what has come and is not yet a whole message, or what is still to be sent. */
struct sim_tp_stream {
    uint32_t have, done;
    uint8_t bytes[sizeof(struct sim_tp_msg) + SIM_TP_DATA_MAX];
};
/** 1: a whole message lies in stream->bytes (taken off by the next call); 0: not yet; -1: ended or
 * rubbish. */
int sim_tp_receive(struct sim_sock *sock, struct sim_tp_stream *in);
/** 1: everything has been sent; 0: not yet; -1: it has ended. */
int sim_tp_flush(struct sim_sock *sock, struct sim_tp_stream *out);
void sim_tp_put_msg(struct sim_tp_stream *out, struct sim_tp_msg *msg);
void sim_tp_msg_init(const struct sim_tp *tp, enum sim_tp_type type, uint32_t pool, uint64_t to,
                     struct sim_tp_msg *msg);

/* ---- the instance ---- */

/** `priv` of a struct mf_segment. */
struct sim_tp_seg {
    struct mf_fence_key key;   /* of a segment whose owner's page is not here: epoch_now is NULL */
    struct mf_segment seg;     /* a peer's */
    struct sim_object *object; /* NULL: not reached but by its owner */
    struct sim_tp_peer *peer;  /* holds a reference; NULL for an own segment */
    struct mf_segment *own;
    bool placed, keep;
    struct sim_tp_seg *next;
};

/** One life of another rank. */
struct sim_tp_peer {
    struct sim_tp *tp;
    uint32_t rank;
    uint64_t incarnation;
    uint32_t host; /* where it is */
    uint16_t port;
    struct sim_page *page; /* NULL: on another host */
    struct sim_watch *watch;
    /* The rest is guarded by the instance's lock. */
    uint32_t refs;
    uint64_t pools; /* bit p: attached in pool p */
    bool busy;      /* one thread changes its segments */
    bool dead;      /* its process has ended */
    bool refused;   /* declared dead or replaced */
    struct sim_tp_seg *segs;
    struct sim_tp_conn *conn;   /* by which it is asked; NULL: none */
    uint64_t generation;        /* of the last one that was opened */
    uint64_t served_generation; /* of the last one by which it asks us */
    struct sim_tp_peer *next;
};

struct sim_tp_guest;
struct sim_tp_server;

struct sim_tp {
    const struct mf_transport_host *host;
    struct mf_loop *loop;
    struct sim_proc *proc;
    struct sim_held *held;
    struct sim_page *page;
    struct sim_listener *listener;
    bool many, small, unmapped; /* which optional ways this instance has */
    uint32_t number;            /* of the process's host */
    struct mf_mutex lock;       /* guards what follows and the peers */
    struct mf_cond changed;
    struct mf_fence_owner fence;
    struct sim_tp_peer *peers; /* in order of coming */
    struct sim_tp_seg *own;    /* in order of index */
    struct sim_tp_seg *graves; /* taken down; freed after a quiesce */
    struct sim_tp_guest *guests;
    uint32_t guest_count;
    struct sim_tp_lane *lanes;
    struct sim_tp_conn *ash;      /* connections that are over; the loop frees them */
    struct sim_tp_server *server; /* NULL: nobody has asked yet */
};

/* transport_peer.c */

struct sim_tp_peer *sim_tp_peer_find(struct sim_tp *tp, uint32_t rank, uint64_t incarnation);
/** The life that says HELLO or WELCOME; with a reference. */
int sim_tp_peer_meet(struct sim_tp *tp, const struct sim_tp_msg *hello, struct sim_sock *sock,
                     struct sim_tp_peer **out);
void sim_tp_peer_put(struct sim_tp *tp, struct sim_tp_peer *peer);
void sim_tp_peer_put_locked(struct sim_tp *tp, struct sim_tp_peer *peer);
/** The right to change its segments. False: not by the deadline (0: at once). */
bool sim_tp_peer_claim(struct sim_tp *tp, struct sim_tp_peer *peer, uint64_t deadline_ns);
void sim_tp_peer_release(struct sim_tp *tp, struct sim_tp_peer *peer);
/** Take what the message announces; the peer is claimed. */
int sim_tp_peer_learn(struct sim_tp *tp, struct sim_tp_peer *peer, const struct sim_tp_msg *msg);
/** Fill in own segments of msg->pool from index *from on. */
void sim_tp_tell(struct sim_tp *tp, struct sim_tp_msg *msg, uint32_t *from);
int sim_tp_detach(void *arg, uint32_t rank, uint64_t incarnation, uint32_t pool,
                  enum mf_detach_why why);
void sim_tp_bury(struct sim_tp *tp, struct sim_tp_seg *seg);
void sim_tp_free_graves(struct sim_tp *tp, uint64_t deadline_ns);
void sim_tp_peers_close(struct sim_tp *tp);

/* transport_attach.c, transport_guest.c: asking and answering */

int sim_tp_endpoint(void *arg, uint8_t *buf, uint32_t cap, uint32_t *len);
int sim_tp_attach(void *arg, const struct mf_peer *to, uint32_t pool, uint64_t deadline_ns);
int sim_tp_guests_open(struct sim_tp *tp);
void sim_tp_guests_close(struct sim_tp *tp);

/* transport_own.c */

int sim_tp_publish(void *arg, const struct mf_publish *pub);
int sim_tp_withdraw(void *arg, struct mf_segment *segment, uint64_t deadline_ns);

/* transport_lane.c */

struct sim_tp_lane {
    struct sim_tp *tp;
    struct mf_fence_line *line;
    struct sim_tp_op *first, *last; /* under way, by way of owners */
    _Atomic uint32_t word;          /* changes when something has come */
    struct mf_err_rec failure;      /* the first since the last wait; code 0: none */
    struct sim_tp_lane *next;
};

int sim_tp_lane_open(void *arg, void **out);
void sim_tp_lane_close(void *arg, void *lane);
int sim_tp_post(void *lane, struct mf_xfer *v, uint32_t count);
int sim_tp_wait(void *lane, uint64_t deadline_ns);
int sim_tp_copy_small(void *lane, struct mf_segment *segment, uint64_t gva, void *local,
                      uint32_t size, int write);
int sim_tp_post_many(void *lane, struct mf_xfer_many *many);
/** Copy part of a transfer whose ends are both here, or in `buf` (NULL: none; it stands for the end
 * that is not here), by the fence. Sets *moved when something may have. */
int sim_tp_copy_part(struct sim_tp_lane *lane, const struct mf_xfer *x, uint64_t done,
                     uint64_t size, void *buf, bool *moved);
bool sim_tp_is_far(const struct mf_segment *segment);
/** A failure of the lane, with the sentence that is recorded. */
int sim_tp_keep(struct sim_tp_lane *lane, int rc);

/** Where bytes lie: in an object, or at a pointer. */
struct sim_tp_place {
    struct sim_object *object;
    uint64_t offset;
    uint8_t *at;
    const struct mf_segment_desc *desc; /* of the segment; NULL: none */
    uint64_t base;                      /* offset in the segment */
};
/** Bytes from place to place at once: what is aligned and fits a register stays whole. */
void sim_tp_move(const struct sim_tp_place *to, const struct sim_tp_place *from, uint64_t done,
                 uint64_t size);
/** In the middle of a copy: others may have their turn, and time may pass. */
void sim_tp_pause(void);
/** The next piece of a copy: not always the same. */
uint64_t sim_tp_piece(uint64_t left);

/* transport_far.c: asking owners */

struct sim_tp_op;
int sim_tp_far_post(struct sim_tp_lane *lane, struct mf_xfer *x);
/** Send what can be sent, take what has come. */
void sim_tp_far_pump(struct sim_tp_lane *lane);
void sim_tp_far_give_up(struct sim_tp_lane *lane);
/** What is asked of the peer fails; with the lock. `why`: what has happened to it. */
void sim_tp_far_fail_locked(struct sim_tp_peer *peer, const char *why);
/** No socket calls any more. */
void sim_tp_far_close(struct sim_tp *tp);

/* transport_serve.c: being asked */

/** Take over a connection on which a peer sends requests; on the loop. `in`: what has come. */
int sim_tp_serve(struct sim_tp *tp, const struct sim_tp_msg *open, struct sim_sock *sock,
                 const struct sim_tp_stream *in);
void sim_tp_serve_stop(struct sim_tp *tp);

#endif
