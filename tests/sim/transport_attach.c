// SPDX-License-Identifier: Apache-2.0
// Attaching a peer by the model transport: on the caller's thread, one conversation on a connection
// of its own, as the real one has it. Both sides say who they are before either tells its segments.
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "transport.h"

#define RETRY_FIRST_NS 100000ull

/* As in an endpoint. */
struct endpoint {
    uint32_t host;
    uint32_t port;
};

/* One conversation. */
struct talk {
    struct sim_tp *tp;
    const struct mf_peer *to;
    uint32_t pool;
    uint64_t deadline_ns;
    struct sim_sock *sock;
    _Atomic uint32_t word; /* changes when the socket has */
    struct sim_tp_peer *peer;
    uint32_t from; /* first own segment that the other side does not know */
    bool said_last, heard_last;
    struct sim_tp_stream in, out;
};

int sim_tp_endpoint(void *arg, uint8_t *buf, uint32_t cap, uint32_t *len)
{
    const struct sim_tp *tp = arg;
    struct endpoint at = {tp->number, sim_listener_port(tp->listener)};
    if (cap < sizeof(at)) {
        return mf_err(SMEM_BUFFER_TOO_SMALL, "endpoint: %zu bytes are needed, %u given", sizeof(at),
                      cap);
    }
    memcpy(buf, &at, sizeof(at));
    *len = sizeof(at);
    return SMEM_OK;
}

static void on_ready(void *arg)
{
    struct talk *t = arg;
    atomic_fetch_add(&t->word, 1);
    mf_word_wake(&t->word);
}

/* Until the socket has changed since `seen`. */
static int wait_for(struct talk *t, uint32_t seen)
{
    if (sim_now() >= t->deadline_ns) {
        return mf_err(SMEM_TIMEOUT, "no answer by the deadline: its process is stopped or busy, or "
                                    "it cannot be reached");
    }
    mf_word_wait(&t->word, seen, t->deadline_ns);
    return SMEM_OK;
}

static int connect_to(struct talk *t)
{
    struct endpoint at;
    int state = 0;
    memcpy(&at, t->to->endpoint, sizeof(at));
    t->sock = sim_net_connect(t->tp->loop, at.host, (uint16_t)at.port, on_ready, t);
    if (!t->sock) {
        return mf_err_nomem(sizeof(t->in), "a connection to a peer");
    }
    for (;;) {
        uint32_t seen = atomic_load(&t->word);
        state = sim_sock_connected(t->sock);
        if (state != 0) {
            break;
        }
        int rc = wait_for(t, seen);
        if (rc) {
            return rc;
        }
    }
    return state > 0 ? SMEM_OK
                     : mf_err(SMEM_NOT_CONNECTED,
                              "connect to host %u, port %u: its process has ended, or left the "
                              "cluster",
                              at.host, at.port);
}

static int ended(void)
{
    return mf_err(SMEM_NOT_CONNECTED, "the connection has ended before an answer came");
}

/* Say it, and hear the answer, which is in t->in. */
static int exchange(struct talk *t, struct sim_tp_msg *msg)
{
    t->out.have = t->out.done = 0;
    sim_tp_put_msg(&t->out, msg);
    for (;;) {
        uint32_t seen = atomic_load(&t->word);
        int sent = sim_tp_flush(t->sock, &t->out);
        int come = sent > 0 ? sim_tp_receive(t->sock, &t->in) : 0;
        if (sent < 0 || come < 0) {
            return ended();
        }
        if (come > 0) {
            return SMEM_OK;
        }
        int rc = wait_for(t, seen);
        if (rc) {
            return rc;
        }
    }
}

static int understand(struct talk *t, enum sim_tp_type want, struct sim_tp_msg *msg)
{
    uint32_t len;
    memcpy(&len, t->in.bytes, sizeof(len));
    memcpy(msg, t->in.bytes, len < sizeof(*msg) ? len : sizeof(*msg));
    if (msg->type == SIM_TP_REFUSE) {
        return mf_err(SMEM_NOT_CONNECTED, "it refuses: %s", msg->text);
    }
    if (msg->rank != t->to->rank || msg->incarnation != t->to->incarnation ||
        msg->to != t->tp->host->incarnation) {
        return mf_err(SMEM_NOT_CONNECTED, "another process answers: rank %u", msg->rank);
    }
    return msg->type == want || msg->type == SIM_TP_AGAIN
               ? SMEM_OK
               : mf_err(SMEM_NOT_CONNECTED, "message of type %u out of turn", msg->type);
}

/* Say a message until it is taken. */
static int say(struct talk *t, struct sim_tp_msg *msg, enum sim_tp_type want,
               struct sim_tp_msg *answer)
{
    for (;;) {
        int rc = exchange(t, msg);
        rc = rc ? rc : understand(t, want, answer);
        if (rc || answer->type != SIM_TP_AGAIN) {
            return rc;
        }
        if (sim_now() >= t->deadline_ns) {
            return mf_err(SMEM_TIMEOUT, "it is busy with another thread of this process");
        }
        mf_thread_sleep_ns(RETRY_FIRST_NS);
    }
}

/* Our segments for theirs. */
static int swap(struct talk *t, struct sim_tp_msg *msg, struct sim_tp_msg *answer)
{
    struct sim_tp *tp = t->tp;
    sim_tp_msg_init(tp, SIM_TP_TELL, t->pool, t->to->incarnation, msg);
    sim_tp_tell(tp, msg, &t->from);
    t->said_last = msg->last != 0;
    int rc = say(t, msg, SIM_TP_TOLD, answer);
    if (rc) {
        return rc;
    }
    if (!sim_tp_peer_claim(tp, t->peer, t->deadline_ns)) {
        return mf_err(SMEM_TIMEOUT, "its memory is being taken down or mapped by another thread");
    }
    rc = t->peer->refused
             ? mf_err(SMEM_NOT_CONNECTED, "it was declared dead under this incarnation")
             : sim_tp_peer_learn(tp, t->peer, answer);
    sim_tp_peer_release(tp, t->peer);
    t->heard_last = answer->last != 0;
    return rc;
}

static int converse(struct talk *t, struct sim_tp_msg *msg, struct sim_tp_msg *answer)
{
    int rc = connect_to(t);
    if (rc == SMEM_OK) {
        sim_tp_msg_init(t->tp, SIM_TP_HELLO, t->pool, t->to->incarnation, msg);
        rc = say(t, msg, SIM_TP_WELCOME, answer);
    }
    if (rc == SMEM_OK) {
        rc = sim_tp_peer_meet(t->tp, answer, t->sock, &t->peer);
    }
    while (rc == SMEM_OK && (!t->said_last || !t->heard_last)) {
        rc = swap(t, msg, answer);
    }
    return rc;
}

/* What one conversation needs is too much for a stack. */
struct room {
    struct talk talk;
    struct sim_tp_msg msg, answer;
};

int sim_tp_attach(void *arg, const struct mf_peer *to, uint32_t pool, uint64_t deadline_ns)
{
    struct sim_tp *tp = arg;
    if (to->endpoint_len != sizeof(struct endpoint) || to->rank == tp->host->rank ||
        to->rank >= tp->host->world) {
        return mf_err(SMEM_INVALID_PARAM, "attach: rank %u of %u, an endpoint of %u bytes",
                      to->rank, tp->host->world, to->endpoint_len);
    }
    struct room *room = mf_calloc(1, sizeof(*room), "attaching a peer");
    if (!room) {
        return SMEM_MALLOC_FAILED;
    }
    struct talk *t = &room->talk;
    t->tp = tp;
    t->to = to;
    t->pool = pool;
    t->deadline_ns = deadline_ns;
    int rc = converse(t, &room->msg, &room->answer);
    if (t->sock) {
        sim_sock_close(t->sock);
    }
    if (t->peer) {
        sim_tp_peer_put(tp, t->peer);
    }
    mf_free(room);
    return rc ? mf_err_in(rc, "attach rank %u in pool %u", to->rank, pool) : SMEM_OK;
}
