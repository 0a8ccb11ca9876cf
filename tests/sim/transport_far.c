// SPDX-License-Identifier: Apache-2.0
// Copies that need the owner of a segment to be asked, over one connection for each peer that all
// lanes share. A copy goes step by step: one request, its answer, the next. What was sent and not
// answered when the connection or the time ends is unknown, and never sent again.
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "transport.h"

enum state {
    FILLING, /* the bytes of a put are to be read here */
    WAITING, /* for its turn on the connection */
    SENT,
    ANSWERED,
    LOST, /* the connection has ended after it was sent */
};

/* One copy of a lane. */
struct sim_tp_op {
    struct sim_tp_lane *lane; /* NULL: given up, the connection's */
    struct mf_xfer *x;
    struct sim_tp_peer *peer; /* who is asked at this step; a reference */
    enum sim_tp_kind kind;
    enum state state;
    bool touched;    /* a step that may have changed the target was sent */
    bool staged;     /* by way of `buf`, between two peers */
    uint64_t done;   /* bytes of the copy */
    uint64_t size;   /* of this step */
    uint64_t number; /* on the connection */
    uint64_t waited; /* the generation of the connection that it waits for */
    int code;        /* of the answer */
    char text[SIM_TP_TEXT];
    struct sim_tp_op *next;   /* of the lane */
    struct sim_tp_op *behind; /* on the connection */
    uint8_t buf[SIM_TP_DATA_MAX];
};

/* Guarded by the instance's lock. */
struct sim_tp_conn {
    struct sim_tp *tp;
    struct sim_tp_peer *peer;
    struct sim_sock *sock; /* NULL: it is over */
    bool opened;           /* who we are has been said */
    uint64_t next_number;
    uint32_t sent_count;
    struct sim_tp_op *sent_first, *sent_last;
    struct sim_tp_stream in, out;
    struct sim_tp_conn *next; /* of those that are over */
};

static void wake(struct sim_tp_lane *lane)
{
    atomic_fetch_add(&lane->word, 1);
    mf_word_wake(&lane->word);
}

static void wake_all_locked(struct sim_tp *tp)
{
    for (struct sim_tp_lane *lane = tp->lanes; lane; lane = lane->next) {
        if (lane->first) {
            wake(lane);
        }
    }
}

/* ---- the connection ---- */

static struct sim_tp_op *take_sent(struct sim_tp_conn *conn)
{
    struct sim_tp_op *op = conn->sent_first;
    conn->sent_first = op->behind;
    conn->sent_last = conn->sent_first ? conn->sent_last : NULL;
    conn->sent_count--;
    return op;
}

static void op_free_locked(struct sim_tp *tp, struct sim_tp_op *op)
{
    sim_tp_peer_put_locked(tp, op->peer);
    mf_free(op);
}

void sim_tp_far_fail_locked(struct sim_tp_peer *peer, const char *why)
{
    struct sim_tp *tp = peer->tp;
    struct sim_tp_conn *conn = peer->conn;
    if (!conn) {
        wake_all_locked(tp); /* what waits for its turn sees that the peer is gone */
        return;
    }
    peer->conn = NULL;
    while (conn->sent_first) {
        struct sim_tp_op *op = take_sent(conn);
        if (!op->lane) {
            op_free_locked(tp, op);
            continue;
        }
        op->state = LOST;
        snprintf(op->text, sizeof(op->text), "%s before it answered", why);
    }
    sim_sock_close(conn->sock);
    conn->sock = NULL;
    conn->next = tp->ash;
    tp->ash = conn;
    wake_all_locked(tp);
}

/* On the loop, where nobody else has a pointer to one of them. */
static void clear_ash_locked(struct sim_tp *tp)
{
    while (tp->ash) {
        struct sim_tp_conn *conn = tp->ash;
        tp->ash = conn->next;
        mf_free(conn);
    }
}

static void take_answer_locked(struct sim_tp_conn *conn)
{
    struct sim_tp_rsp rsp;
    const uint8_t *bytes = conn->in.bytes;
    memcpy(&rsp, bytes, sizeof(rsp));
    struct sim_tp_op *op = conn->sent_first;
    if (!op || rsp.number != op->number || rsp.len < sizeof(rsp) ||
        rsp.len - sizeof(rsp) > sizeof(op->buf)) {
        sim_tp_far_fail_locked(conn->peer, "has answered out of turn");
        return;
    }
    (void)take_sent(conn);
    if (!op->lane) {
        op_free_locked(conn->tp, op);
        return;
    }
    op->state = ANSWERED;
    op->code = rsp.code;
    memcpy(op->text, rsp.text, sizeof(op->text));
    if (op->kind == SIM_TP_GET) {
        memcpy(op->buf, bytes + sizeof(rsp), rsp.len - sizeof(rsp));
    }
    wake(op->lane);
}

/* Something has changed; on the loop. */
static void on_ready(void *arg)
{
    struct sim_tp_conn *conn = arg;
    struct sim_tp *tp = conn->tp;
    mf_mutex_lock(&tp->lock);
    struct sim_tp_peer *peer = conn->peer;
    int come = conn->sock ? 1 : 0;
    if (come && sim_sock_connected(conn->sock) < 0) {
        sim_tp_far_fail_locked(peer, "cannot be reached");
        come = 0;
    } else if (come && sim_tp_flush(conn->sock, &conn->out) == 1) {
        wake_all_locked(tp); /* there is room */
    }
    while (come > 0 && conn->sock) {
        come = sim_tp_receive(conn->sock, &conn->in);
        if (come > 0) {
            take_answer_locked(conn);
        }
    }
    if (come < 0 && conn->sock) {
        sim_tp_far_fail_locked(peer, "has closed the connection, or it was lost");
    }
    clear_ash_locked(tp);
    mf_mutex_unlock(&tp->lock);
}

static struct sim_tp_conn *open_locked(struct sim_tp *tp, struct sim_tp_peer *peer)
{
    struct sim_tp_conn *conn = mf_calloc(1, sizeof(*conn), "a connection to a peer");
    if (!conn) {
        return NULL;
    }
    conn->tp = tp;
    conn->peer = peer;
    conn->next_number = 1;
    conn->sock = sim_net_connect(tp->loop, peer->host, peer->port, on_ready, conn);
    if (!conn->sock) {
        mf_free(conn);
        return NULL;
    }
    peer->conn = conn;
    peer->generation++;
    return conn;
}

static void say_who_locked(struct sim_tp_conn *conn)
{
    struct sim_tp_msg open;
    sim_tp_msg_init(conn->tp, SIM_TP_OPEN, 0, conn->peer->incarnation, &open);
    open.generation = conn->peer->generation;
    sim_tp_put_msg(&conn->out, &open);
    conn->opened = true;
}

/* ---- one step of a copy ---- */

static void put_request_locked(struct sim_tp_conn *conn, struct sim_tp_op *op)
{
    const struct mf_xfer *x = op->x;
    bool put = op->kind != SIM_TP_GET;
    const struct mf_segment_desc *desc = put ? &x->dst_seg->desc : &x->src_seg->desc;
    struct sim_tp_req req = {.len = (uint32_t)sizeof(req),
                             .kind = op->kind,
                             .number = conn->next_number++,
                             .incarnation = conn->tp->host->incarnation,
                             .owner = desc->incarnation,
                             .epoch = desc->epoch,
                             .offset = (put ? x->dst : x->src) - desc->gva + op->done,
                             .size = op->size,
                             .rank = conn->tp->host->rank,
                             .index = desc->index};
    if (op->kind == SIM_TP_PUT) {
        req.len += (uint32_t)op->size;
    } else if (op->kind == SIM_TP_COPY) {
        req.src_epoch = x->src_seg->desc.epoch;
        req.src_index = x->src_seg->desc.index;
        req.src_offset = x->src - x->src_seg->desc.gva + op->done;
    }
    memcpy(conn->out.bytes, &req, sizeof(req));
    memcpy(conn->out.bytes + sizeof(req), op->buf, req.len - sizeof(req));
    conn->out.have = req.len;
    conn->out.done = 0;
    op->number = req.number;
    op->state = SENT;
    op->touched = op->touched || put;
    op->behind = NULL;
    if (conn->sent_last) {
        conn->sent_last->behind = op;
    } else {
        conn->sent_first = op;
    }
    conn->sent_last = op;
    conn->sent_count++;
}

static int gone(const struct sim_tp_peer *peer, const char *what)
{
    return mf_err(SMEM_NOT_CONNECTED, "rank %u %s: nothing of the copy was sent to it", peer->rank,
                  what);
}

/* Send it when it is its turn. Not 0: it is over. */
static int send_locked(struct sim_tp_op *op)
{
    struct sim_tp_peer *peer = op->peer;
    struct sim_tp *tp = peer->tp;
    if (peer->refused || peer->dead) {
        return gone(peer, peer->dead ? "has ended" : "was declared dead");
    }
    if (!peer->conn && op->waited == peer->generation) {
        return gone(peer, "cannot be reached, or the connection to it was lost");
    }
    struct sim_tp_conn *conn = peer->conn ? peer->conn : open_locked(tp, peer);
    if (!conn) {
        return mf_err_nomem(sizeof(*conn), "a connection to a peer");
    }
    op->waited = peer->generation;
    if (sim_sock_connected(conn->sock) <= 0) {
        return SMEM_OK; /* the loop is told of the failure, too */
    }
    if (!conn->opened) {
        say_who_locked(conn);
    }
    if (sim_tp_flush(conn->sock, &conn->out) == 1 && conn->sent_count < SIM_TP_INFLIGHT) {
        put_request_locked(conn, op);
        (void)sim_tp_flush(conn->sock, &conn->out); /* an end is seen by the loop */
    }
    return SMEM_OK;
}

/* ---- the copies of a lane ---- */

static void unlink_op(struct sim_tp_lane *lane, const struct sim_tp_op *op)
{
    struct sim_tp_op **at = &lane->first;
    while (*at != op) {
        at = &(*at)->next;
    }
    *at = op->next;
    if (lane->last == op) {
        lane->last = lane->first;
        while (lane->last && lane->last->next) {
            lane->last = lane->last->next;
        }
    }
}

/* Its final status, with the sentence that is recorded. */
static void finish(struct sim_tp_op *op, int rc)
{
    struct sim_tp_lane *lane = op->lane;
    op->x->status = rc;
    sim_tp_keep(lane, rc);
    unlink_op(lane, op);
    sim_tp_peer_put(lane->tp, op->peer);
    mf_free(op);
}

static struct sim_tp_peer *owner_of(const struct mf_segment *segment)
{
    return ((const struct sim_tp_seg *)segment->priv)->peer;
}

static void turn_to(struct sim_tp_op *op, struct sim_tp_peer *peer)
{
    struct sim_tp *tp = peer->tp;
    mf_mutex_lock(&tp->lock);
    peer->refs++;
    if (op->peer) {
        sim_tp_peer_put_locked(tp, op->peer);
    }
    op->peer = peer;
    op->waited = UINT64_MAX;
    mf_mutex_unlock(&tp->lock);
}

/* The next bytes of it. */
static void begin_step(struct sim_tp_op *op)
{
    uint64_t left = op->x->size - op->done;
    op->size = left < SIM_TP_DATA_MAX ? left : SIM_TP_DATA_MAX;
    op->state = op->kind == SIM_TP_PUT ? FILLING : WAITING;
    if (op->staged) {
        op->kind = SIM_TP_GET;
        op->state = WAITING;
        turn_to(op, owner_of(op->x->src_seg));
    }
}

static int lost(const struct sim_tp_op *op, int code, const char *what)
{
    return mf_err(code, "rank %u %s%s", op->peer->rank, what,
                  op->touched ? ": what is in the target range is unknown" : "");
}

/* What was answered. Not *over: there is another step. */
static int take_step(struct sim_tp_op *op, bool *over)
{
    bool moved = false;
    *over = true;
    if (op->code) {
        return mf_err(op->code, "rank %u: %s", op->peer->rank, op->text);
    }
    if (op->kind == SIM_TP_GET && op->staged) {
        op->kind = SIM_TP_PUT;
        op->state = WAITING;
        turn_to(op, owner_of(op->x->dst_seg));
        *over = false;
        return SMEM_OK;
    }
    if (op->kind == SIM_TP_GET) {
        int rc = sim_tp_copy_part(op->lane, op->x, op->done, op->size, op->buf, &moved);
        if (rc) {
            return rc;
        }
    }
    op->done += op->size;
    *over = op->done == op->x->size;
    if (!*over) {
        begin_step(op);
    }
    return SMEM_OK;
}

/* One that is not sent: read what it puts, and send it. */
static int push(struct sim_tp_op *op)
{
    bool moved = false;
    int rc = SMEM_OK;
    if (op->state == FILLING) {
        rc = sim_tp_copy_part(op->lane, op->x, op->done, op->size, op->buf, &moved);
        op->state = WAITING;
    }
    if (rc == SMEM_OK) {
        mf_mutex_lock(&op->lane->tp->lock);
        rc = send_locked(op);
        mf_mutex_unlock(&op->lane->tp->lock);
    }
    return rc;
}

/* As far as it goes without waiting. */
static void go_on(struct sim_tp_op *op)
{
    bool over = false;
    if (op->state == LOST) {
        finish(op, lost(op, SMEM_NOT_CONNECTED, op->text));
        return;
    }
    if (op->state == ANSWERED) {
        int rc = take_step(op, &over);
        if (rc || over) {
            finish(op, rc);
            return;
        }
    }
    if (op->state == FILLING || op->state == WAITING) {
        int rc = push(op);
        if (rc) {
            finish(op, rc);
        }
    }
}

void sim_tp_far_pump(struct sim_tp_lane *lane)
{
    struct sim_tp_op *next;
    for (struct sim_tp_op *op = lane->first; op; op = next) {
        next = op->next;
        go_on(op);
    }
}

int sim_tp_far_post(struct sim_tp_lane *lane, struct mf_xfer *x)
{
    bool from = sim_tp_is_far(x->src_seg);
    bool to = sim_tp_is_far(x->dst_seg);
    struct sim_tp_op *op = mf_calloc(1, sizeof(*op), "a copy by way of its owner");
    if (!op) {
        return SMEM_MALLOC_FAILED;
    }
    op->lane = lane;
    op->x = x;
    op->staged = from && to && owner_of(x->src_seg) != owner_of(x->dst_seg);
    op->kind = !to ? SIM_TP_GET : from ? SIM_TP_COPY : SIM_TP_PUT;
    if (!op->staged) {
        turn_to(op, owner_of(to ? x->dst_seg : x->src_seg));
    }
    begin_step(op);
    if (lane->last) {
        lane->last->next = op;
    } else {
        lane->first = op;
    }
    lane->last = op;
    return SMEM_OK;
}

void sim_tp_far_give_up(struct sim_tp_lane *lane)
{
    struct sim_tp *tp = lane->tp;
    while (lane->first) {
        struct sim_tp_op *op = lane->first;
        mf_mutex_lock(&tp->lock);
        bool sent = op->state == SENT;
        op->x->status = lost(op, SMEM_TIMEOUT, "has not answered by the deadline");
        sim_tp_keep(lane, op->x->status);
        unlink_op(lane, op);
        if (sent) {
            op->lane = NULL; /* the connection's, until the answer comes */
        } else {
            op_free_locked(tp, op);
        }
        mf_mutex_unlock(&tp->lock);
    }
}

/* On the loop. */
static void close_all(void *arg)
{
    struct sim_tp *tp = arg;
    mf_mutex_lock(&tp->lock);
    for (struct sim_tp_peer *peer = tp->peers; peer; peer = peer->next) {
        sim_tp_far_fail_locked(peer, "is left");
    }
    clear_ash_locked(tp);
    mf_mutex_unlock(&tp->lock);
}

void sim_tp_far_close(struct sim_tp *tp)
{
    (void)mf_loop_call(tp->loop, close_all, tp);
}
