// SPDX-License-Identifier: Apache-2.0
// Listeners of the model network and the opening of connections in three steps, each of which takes
// its way: asked (refused when nobody listens, asked again later when the queue is full), agreed,
// and ready to be accepted. The kernel does all of it, also for a process that is stopped.
#include "net_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "base/err.h"

#define BACKLOG      256u
#define ASK_AGAIN_NS 1000000000ull
#define PORT_FIRST   32768u
#define PORTS        28000u

struct sim_listener *net_listener_find(uint32_t host, uint16_t port)
{
    struct sim_listener *l = sim_net.listeners;
    while (l && (l->host != host || l->port != port)) {
        l = l->next;
    }
    return l;
}

void net_listener_forget(struct net_conn *conn)
{
    conn->listener->pending--;
    conn->listener = NULL;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static void asked(struct net_conn *conn)
{
    struct sim_listener *listener = net_listener_find(conn->host[1], conn->port[1]);
    struct net_dir *there = &conn->dir[0];
    if (!listener) {
        net_dir_rst(&conn->dir[1]);
        return;
    }
    if (listener->pending >= BACKLOG) { /* not answered: asked again until it is given up */
        if (there->unacked_ns == 0) {
            there->unacked_ns = sim_now();
        }
        there->hand = true;
        there->hand_ns = sim_now() + ASK_AGAIN_NS;
        return;
    }
    if (!there->back->cut) {
        there->unacked_ns = 0;
    }
    conn->listener = listener;
    listener->pending++;
    conn->end[1].open = true;
    conn->end[1].connected = 1;
    conn->end[1].proc = listener->proc;
    net_dir_hand(&conn->dir[1]);
}

static void agreed(struct net_conn *conn)
{
    conn->end[0].connected = 1;
    net_sock_wake(&conn->end[0]);
    net_dir_hand(&conn->dir[0]);
}

static void acceptable(struct net_conn *conn)
{
    struct sim_listener *listener = conn->listener;
    struct sim_sock *sock = &conn->end[1];
    if (!listener) { /* it has ended meanwhile; the reset is on its way */
        return;
    }
    conn->queued = true;
    if (listener->last) {
        listener->last->waits = sock;
    } else {
        listener->first = sock;
    }
    listener->last = sock;
    sim_loop_raise(listener->loop, &listener->source);
}

void net_hand_arrived(struct net_dir *dir)
{
    struct net_conn *conn = dir->conn;
    sim_note(conn->number << 8 | 5, dir->from);
    if (dir->from == 1) {
        agreed(conn);
    } else if (conn->end[0].connected == 1) {
        acceptable(conn);
    } else {
        asked(conn);
    }
}

/* ---- listeners --------------------------------------------------------------------------------
 */

/* One at a time: accept() may do anything, also end the listener. */
static void on_source(void *arg)
{
    struct sim_listener *listener = arg;
    struct sim_sock *sock = listener->first;
    if (!sock) {
        return;
    }
    listener->first = sock->waits;
    if (listener->first) {
        sim_loop_raise(listener->loop, &listener->source);
    } else {
        listener->last = NULL;
    }
    sock->conn->queued = false;
    net_listener_forget(sock->conn);
    net_sock_own(sock, listener->proc);
    listener->accept(listener->arg, sock);
}

/* Whoever has not been accepted never will be. */
static void refuse_pending(struct sim_listener *listener)
{
    struct net_conn *next;
    for (struct net_conn *conn = sim_net.conns; conn; conn = next) {
        next = conn->next;
        if (conn->listener != listener) {
            continue;
        }
        conn->listener = NULL;
        conn->queued = false;
        conn->end[1].open = false;
        net_dir_rst(&conn->dir[1]);
        net_conn_put(conn);
    }
}

void net_listener_free(struct sim_listener *listener)
{
    if (listener->prev) {
        listener->prev->next = listener->next;
    } else {
        sim_net.listeners = listener->next;
    }
    if (listener->next) {
        listener->next->prev = listener->prev;
    } else {
        sim_net.listeners_last = listener->prev;
    }
    if (listener->proc) {
        sim_proc_unhook(listener->proc, &listener->hook);
    }
    free(listener);
}

static void proc_ended(void *arg)
{
    struct sim_listener *listener = arg;
    refuse_pending(listener);
    listener->proc = NULL;
    net_listener_free(listener);
}

static uint16_t free_port(uint32_t host)
{
    uint64_t at = sim_below(PORTS);
    uint64_t tries = 0;
    while (tries++ < PORTS && net_listener_find(host, (uint16_t)(PORT_FIRST + at))) {
        at = (at + 1) % PORTS;
    }
    return (uint16_t)(PORT_FIRST + at);
}

int sim_net_listen(struct mf_loop *loop, uint16_t port,
                   void (*accept)(void *arg, struct sim_sock *sock), void *arg,
                   struct sim_listener **out)
{
    struct sim_proc *self = sim_proc_self();
    uint32_t host = sim_proc_host(self);
    port = port != 0 ? port : free_port(host);
    *out = NULL;
    if (net_listener_find(host, port)) {
        return mf_err_sys(SMEM_RES_IN_USE, EADDRINUSE, "listen on port %u of host %u", port, host);
    }
    struct sim_listener *listener = net_alloc(sizeof(*listener));
    *listener = (struct sim_listener){
        .proc = self, .loop = loop, .host = host, .port = port, .accept = accept, .arg = arg};
    listener->source = (struct sim_source){.fn = on_source, .arg = listener};
    listener->hook = (struct sim_hook){.fn = proc_ended, .arg = listener};
    sim_proc_hook(self, &listener->hook);
    listener->prev = sim_net.listeners_last;
    if (listener->prev) {
        listener->prev->next = listener;
    } else {
        sim_net.listeners = listener;
    }
    sim_net.listeners_last = listener;
    *out = listener;
    return SMEM_OK;
}

uint16_t sim_listener_port(const struct sim_listener *listener)
{
    return listener->port;
}

void sim_net_unlisten(struct sim_listener *listener)
{
    if (!listener) {
        return;
    }
    sim_loop_forget(listener->loop, &listener->source);
    refuse_pending(listener);
    net_listener_free(listener);
}
