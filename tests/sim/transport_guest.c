// SPDX-License-Identifier: Apache-2.0
// The answering side of attaching, on the loop of the process: each connection sends a message and
// gets one, nothing waits. One that is going to send requests is handed over to another thread.
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "transport.h"

#define GUESTS_MAX   1024u
#define GUEST_MAX_NS (5000ull * 1000000ull)

struct sim_tp_guest {
    struct sim_tp *tp;
    struct sim_sock *sock;
    uint64_t since_ns;
    struct sim_tp_peer *peer; /* a reference, once it has said HELLO */
    uint32_t from;            /* first own segment that it does not know */
    struct sim_tp_msg msg, reply;
    struct sim_tp_stream in, out;
    struct sim_tp_guest *next;
};

static void drop(struct sim_tp_guest *guest)
{
    struct sim_tp *tp = guest->tp;
    struct sim_tp_guest **at = &tp->guests;
    while (*at != guest) {
        at = &(*at)->next;
    }
    *at = guest->next;
    tp->guest_count--;
    if (guest->sock) {
        sim_sock_close(guest->sock);
    }
    if (guest->peer) {
        sim_tp_peer_put(tp, guest->peer);
    }
    mf_free(guest);
}

static void refuse(struct sim_tp_guest *guest, int rc)
{
    struct sim_tp_msg *reply = &guest->reply;
    sim_tp_msg_init(guest->tp, SIM_TP_REFUSE, guest->msg.pool, guest->msg.incarnation, reply);
    reply->code = rc;
    snprintf(reply->text, sizeof(reply->text), "%s", mf_err_msg());
    sim_tp_put_msg(&guest->out, reply);
}

static int take_hello(struct sim_tp_guest *guest)
{
    struct sim_tp *tp = guest->tp;
    const struct sim_tp_msg *msg = &guest->msg;
    if (msg->to != tp->host->incarnation) {
        return mf_err(SMEM_NOT_CONNECTED, "this process is another life of rank %u",
                      tp->host->rank);
    }
    if (guest->peer) {
        sim_tp_peer_put(tp, guest->peer);
        guest->peer = NULL;
    }
    guest->from = 0;
    int rc = sim_tp_peer_meet(tp, msg, guest->sock, &guest->peer);
    if (rc == SMEM_OK) {
        sim_tp_msg_init(tp, SIM_TP_WELCOME, msg->pool, msg->incarnation, &guest->reply);
        sim_tp_put_msg(&guest->out, &guest->reply);
    }
    return rc;
}

static int take_segments(struct sim_tp_guest *guest)
{
    struct sim_tp *tp = guest->tp;
    const struct sim_tp_msg *msg = &guest->msg;
    if (!guest->peer || guest->peer->incarnation != msg->incarnation ||
        guest->peer->rank != msg->rank || msg->count > SIM_TP_MSG_SEGMENTS) {
        return mf_err(SMEM_INVALID_PARAM, "message of type %u out of turn", msg->type);
    }
    if (!sim_tp_peer_claim(tp, guest->peer, 0)) {
        sim_tp_msg_init(tp, SIM_TP_AGAIN, msg->pool, msg->incarnation, &guest->reply);
        sim_tp_put_msg(&guest->out, &guest->reply);
        return SMEM_OK;
    }
    int rc = guest->peer->refused
                 ? mf_err(SMEM_NOT_CONNECTED, "rank %u was declared dead", msg->rank)
                 : sim_tp_peer_learn(tp, guest->peer, msg);
    sim_tp_peer_release(tp, guest->peer);
    if (rc == SMEM_OK) {
        sim_tp_msg_init(tp, SIM_TP_TOLD, msg->pool, msg->incarnation, &guest->reply);
        sim_tp_tell(tp, &guest->reply, &guest->from);
        sim_tp_put_msg(&guest->out, &guest->reply);
    }
    return rc;
}

/* The message in guest->in. False: the connection is over, or somebody else's. */
static bool answer(struct sim_tp_guest *guest)
{
    uint32_t len;
    int rc;
    memcpy(&len, guest->in.bytes, sizeof(len));
    memcpy(&guest->msg, guest->in.bytes, len < sizeof(guest->msg) ? len : sizeof(guest->msg));
    if (guest->msg.type == SIM_TP_OPEN) {
        rc = sim_tp_serve(guest->tp, &guest->msg, guest->sock, &guest->in);
        guest->sock = rc == SMEM_OK ? NULL : guest->sock;
        return false;
    }
    rc = guest->msg.type == SIM_TP_HELLO ? take_hello(guest) : take_segments(guest);
    if (rc) {
        refuse(guest, rc);
    }
    return true; /* who was refused ends the connection */
}

static void on_ready(void *arg)
{
    struct sim_tp_guest *guest = arg;
    int rc = sim_tp_flush(guest->sock, &guest->out);
    while (rc > 0) {
        rc = sim_tp_receive(guest->sock, &guest->in);
        if (rc > 0) {
            rc = answer(guest) ? sim_tp_flush(guest->sock, &guest->out) : -1;
        }
    }
    if (rc < 0) {
        drop(guest);
    }
}

static void drop_old(struct sim_tp *tp)
{
    struct sim_tp_guest *next;
    for (struct sim_tp_guest *guest = tp->guests; guest; guest = next) {
        next = guest->next;
        if (sim_now() - guest->since_ns > GUEST_MAX_NS) {
            drop(guest);
        }
    }
}

static void on_accept(void *arg, struct sim_sock *sock)
{
    struct sim_tp *tp = arg;
    drop_old(tp);
    struct sim_tp_guest *guest =
        tp->guest_count < GUESTS_MAX ? mf_calloc(1, sizeof(*guest), "a guest") : NULL;
    if (!guest) {
        sim_sock_close(sock); /* the other side sees the end, and tries again */
        return;
    }
    guest->tp = tp;
    guest->sock = sock;
    guest->since_ns = sim_now();
    guest->next = tp->guests;
    tp->guests = guest;
    tp->guest_count++;
    sim_sock_serve(sock, tp->loop, on_ready, guest);
    on_ready(guest);
}

int sim_tp_guests_open(struct sim_tp *tp)
{
    return sim_net_listen(tp->loop, 0, on_accept, tp, &tp->listener);
}

/* On the loop. */
static void close_all(void *arg)
{
    struct sim_tp *tp = arg;
    sim_net_unlisten(tp->listener);
    tp->listener = NULL;
    while (tp->guests) {
        drop(tp->guests);
    }
}

void sim_tp_guests_close(struct sim_tp *tp)
{
    if (tp->listener) {
        (void)mf_loop_call(tp->loop, close_all, tp);
    }
}
