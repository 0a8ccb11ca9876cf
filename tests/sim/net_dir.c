// SPDX-License-Identifier: Apache-2.0
// One direction of a connection of the model network: what was sent waits in a list until its time
// has come, arrives in other pieces than it was sent in, and frees room for the sender when it was
// read. One event serves all of it.
#include "net_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "base/err.h"

#define CUT_ONE_IN  8u     /* pieces that arrive in two */
#define CUT_WAIT_NS 20000u /* the second one so much later, at most */
#define JOIN_NS     30000u /* pieces that come so soon after one arrive with it, now and then */

static struct sim_sock *receiver_of(struct net_dir *dir)
{
    return &dir->conn->end[1 - dir->from];
}

static struct sim_sock *sender_of(struct net_dir *dir)
{
    return &dir->conn->end[dir->from];
}

/* ---- time -------------------------------------------------------------------------------------
 */

/* When the next thing arrives; UINT64_MAX: nothing is under way. */
static uint64_t next_arrival(const struct net_dir *dir)
{
    if (dir->hand) {
        return dir->hand_ns;
    }
    if (dir->flying) {
        return dir->flying->due_ns;
    }
    if (dir->fin && !dir->fin_arrived) {
        return dir->fin_ns;
    }
    return dir->rst ? dir->rst_ns : UINT64_MAX;
}

void net_dir_arm(struct net_dir *dir)
{
    uint64_t at = UINT64_MAX;
    if (!dir->dead && !dir->path->cut) {
        at = next_arrival(dir);
    }
    if (!dir->dead && dir->credit > 0 && !dir->back->cut && dir->credit_ns < at) {
        at = dir->credit_ns;
    }
    if (!dir->dead && dir->unacked_ns != 0 && dir->unacked_ns + SIM_NET_GIVE_UP_NS < at) {
        at = dir->unacked_ns + SIM_NET_GIVE_UP_NS;
    }
    if (at == UINT64_MAX) {
        if (dir->event.at != 0) {
            sim_event_cancel(&dir->event);
        }
    } else if (dir->event.at != at) {
        sim_event_set(&dir->event, at);
    }
}

bool net_dir_has_unacked(const struct net_dir *dir)
{
    return dir->hand || dir->flying || (dir->fin && !dir->fin_arrived);
}

uint64_t net_dir_due(struct net_dir *dir, uint64_t bytes)
{
    uint64_t due = sim_now() + net_path_delay(dir->path, bytes);
    if (due < dir->last_due_ns) {
        due = dir->last_due_ns;
    }
    dir->last_due_ns = due;
    if ((dir->path->cut || dir->back->cut) && dir->unacked_ns == 0) {
        dir->unacked_ns = sim_now();
    }
    return due;
}

/* ---- sending ----------------------------------------------------------------------------------
 */

void net_dir_hand(struct net_dir *dir)
{
    dir->hand = true;
    dir->hand_ns = net_dir_due(dir, 0);
    net_dir_arm(dir);
}

void net_dir_fin(struct net_dir *dir)
{
    if (dir->fin || dir->dead) {
        return;
    }
    dir->fin = true;
    dir->fin_ns = net_dir_due(dir, 0);
    net_dir_arm(dir);
}

void net_dir_rst(struct net_dir *dir)
{
    if (dir->rst || dir->dead) {
        return;
    }
    if (sim_chance(1, 2)) {
        net_dir_drop(dir, false); /* it overtakes what was sent before */
        dir->fin = dir->fin_arrived;
        dir->hand = false;
    }
    dir->rst = true;
    dir->rst_ns = sim_now() + net_path_delay(dir->path, 0);
    if (dir->flying && dir->rst_ns < dir->last_due_ns) {
        dir->rst_ns = dir->last_due_ns;
    }
    net_dir_arm(dir);
}

void net_dir_drop(struct net_dir *dir, bool also_arrived)
{
    struct net_chunk **link = &dir->first;
    struct net_chunk *kept = NULL;
    while (*link) {
        struct net_chunk *c = *link;
        c->len = c->arrived; /* what has not arrived never will */
        if (!also_arrived && c->taken < c->len) {
            kept = c;
            link = &c->next;
            continue;
        }
        *link = c->next;
        free(c);
    }
    dir->last = kept;
    dir->flying = NULL;
    dir->readable = also_arrived ? 0 : dir->readable;
}

/* ---- arriving ---------------------------------------------------------------------------------
 */

/* Nothing more is carried; what has arrived can still be read. */
static void kill_dir(struct net_dir *dir)
{
    dir->dead = true;
    dir->hand = false;
    dir->unacked_ns = 0;
    dir->credit = 0;
    net_dir_drop(dir, !receiver_of(dir)->open);
    net_dir_arm(dir);
}

static void fail_end(struct sim_sock *sock, int error)
{
    if (!sock->open || sock->error != 0 || sock->failed) {
        return;
    }
    sock->error = error;
    if (sock->connected == 0) {
        sock->connected = -1;
    }
    net_sock_wake(sock);
}

/* The end that would have been accepted is none any more. */
static void fail_half_open(struct net_conn *conn)
{
    if (conn->listener && !conn->queued) {
        net_listener_forget(conn);
        conn->end[1].open = false;
    }
}

void net_conn_fail(struct net_conn *conn, int error)
{
    if (sim_verbose()) {
        sim_say("connection %llu of hosts %u and %u has failed: errno %d",
                (unsigned long long)conn->number, conn->host[0], conn->host[1], error);
    }
    sim_note(conn->number << 8 | 3, (uint64_t)error);
    fail_half_open(conn);
    fail_end(&conn->end[0], error);
    fail_end(&conn->end[1], error);
    kill_dir(&conn->dir[0]);
    kill_dir(&conn->dir[1]);
}

static void rst_arrived(struct net_dir *dir)
{
    struct sim_sock *to = receiver_of(dir);
    dir->rst = false;
    sim_note(dir->conn->number << 8 | 4, dir->from);
    fail_half_open(dir->conn);
    fail_end(to, to->connected == 0 ? ECONNREFUSED : ECONNRESET);
    kill_dir(&dir->conn->dir[0]);
    kill_dir(&dir->conn->dir[1]);
}

/* A part of a chunk, or all of it; false: the rest comes later. */
static bool chunk_arrived(struct net_dir *dir, struct net_chunk *chunk)
{
    uint32_t left = chunk->len - chunk->arrived;
    uint32_t some = left;
    if (left > 1 && sim_chance(1, CUT_ONE_IN)) {
        some = 1 + (uint32_t)sim_below(left - 1);
        chunk->due_ns = sim_now() + sim_below(CUT_WAIT_NS);
    }
    chunk->arrived += some;
    dir->readable += some;
    sim_note(dir->conn->number << 8 | dir->from, some);
    return some == left;
}

static void bytes_arrived(struct net_dir *dir)
{
    uint64_t until = sim_now();
    bool some = false;
    while (dir->flying && dir->flying->due_ns <= until) {
        if (!some && sim_chance(1, 2)) {
            until += sim_below(JOIN_NS);
        }
        some = true;
        if (!chunk_arrived(dir, dir->flying)) {
            break;
        }
        dir->flying = dir->flying->next;
    }
    if (some && !receiver_of(dir)->open) {
        net_dir_drop(dir, true);
        net_dir_rst(&dir->conn->dir[1 - dir->from]);
    } else if (some) {
        net_sock_wake(receiver_of(dir));
    }
}

static void arrivals(struct net_dir *dir)
{
    uint64_t now = sim_now();
    if (dir->hand) {
        if (dir->hand_ns <= now) {
            dir->hand = false;
            net_hand_arrived(dir);
        }
        return; /* the rest in an event of its own */
    }
    bytes_arrived(dir);
    if (!dir->flying && dir->fin && !dir->fin_arrived && dir->fin_ns <= now) {
        dir->fin_arrived = true;
        sim_note(dir->conn->number << 8 | 2, dir->from);
        net_sock_wake(receiver_of(dir));
    }
    if (!dir->flying && dir->rst && dir->rst_ns <= now) {
        rst_arrived(dir);
    }
}

static void credit_arrived(struct net_dir *dir)
{
    dir->used -= dir->credit;
    dir->credit = 0;
    dir->hungry = false;
    net_sock_wake(sender_of(dir));
}

static void on_event(void *arg)
{
    struct net_dir *dir = arg;
    struct net_conn *conn = dir->conn;
    uint64_t now = sim_now();
    conn->held++;
    if (dir->unacked_ns != 0 && now >= dir->unacked_ns + SIM_NET_GIVE_UP_NS) {
        net_conn_fail(conn, ETIMEDOUT);
    } else {
        if (dir->credit > 0 && !dir->back->cut && now >= dir->credit_ns) {
            credit_arrived(dir);
        }
        if (!dir->path->cut) {
            arrivals(dir);
        }
        net_dir_arm(dir);
    }
    conn->held--;
    net_conn_put(conn);
}

void net_dir_init(struct net_conn *conn, uint32_t from)
{
    struct net_dir *dir = &conn->dir[from];
    dir->conn = conn;
    dir->from = from;
    dir->path = net_path_get(conn->host[from], conn->host[1 - from]);
    dir->back = net_path_get(conn->host[1 - from], conn->host[from]);
    sim_event_init(&dir->event, NULL, on_event, dir);
}

void net_conn_put(struct net_conn *conn)
{
    if (conn->held == 0 && !conn->end[0].open && !conn->end[1].open) {
        net_conn_free(conn);
    }
}
