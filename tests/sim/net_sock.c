// SPDX-License-Identifier: Apache-2.0
// What processes call of the model network: connect, send, receive, shut down, close. A process
// that ends closes what it has, as a kernel does. After a read that leaves something, the loop is
// told again, so that a reader may stop whenever it likes.
#include "net_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define WINDOW_MIN      (64u * 1024u)
#define WINDOW_MAX      (256u * 1024u)
#define PORT_FIRST      32768u
#define PORTS           28000u
#define SHORT_READ_IN   16u /* one read in so many gives less than there is */
#define CHUNK_BYTES_MAX (1u << 20)

/* ---- connections ------------------------------------------------------------------------------
 */

struct net_conn *net_conn_new(uint32_t from, uint32_t to, uint16_t port)
{
    struct net_conn *conn = net_alloc(sizeof(*conn));
    conn->number = ++sim_net.conns_made;
    conn->window = WINDOW_MIN + sim_below(WINDOW_MAX - WINDOW_MIN);
    conn->host[0] = from;
    conn->host[1] = to;
    conn->port[0] = (uint16_t)(PORT_FIRST + conn->number % PORTS);
    conn->port[1] = port;
    for (uint32_t i = 0; i < 2; i++) {
        conn->end[i].conn = conn;
        conn->end[i].index = i;
        net_dir_init(conn, i);
    }
    conn->prev = sim_net.conns_last;
    if (conn->prev) {
        conn->prev->next = conn;
    } else {
        sim_net.conns = conn;
    }
    sim_net.conns_last = conn;
    return conn;
}

static void disown(struct sim_sock *sock)
{
    if (sock->hooked) {
        sock->hooked = false;
        sim_proc_unhook(sock->proc, &sock->hook);
    }
}

void net_conn_free(struct net_conn *conn)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct net_dir *dir = &conn->dir[i];
        if (dir->event.at != 0) {
            sim_event_cancel(&dir->event);
        }
        net_dir_drop(dir, true);
        disown(&conn->end[i]);
    }
    if (conn->prev) {
        conn->prev->next = conn->next;
    } else {
        sim_net.conns = conn->next;
    }
    if (conn->next) {
        conn->next->prev = conn->prev;
    } else {
        sim_net.conns_last = conn->prev;
    }
    free(conn);
}

/* ---- owners -----------------------------------------------------------------------------------
 */

static void proc_ended(void *arg)
{
    struct sim_sock *sock = arg;
    sock->hooked = false;
    sock->loop = NULL;
    net_sock_end(sock);
}

void net_sock_own(struct sim_sock *sock, struct sim_proc *proc)
{
    sock->proc = proc;
    sock->open = true;
    sock->hook = (struct sim_hook){.fn = proc_ended, .arg = sock};
    sock->hooked = true;
    sim_proc_hook(proc, &sock->hook);
}

void net_sock_wake(struct sim_sock *sock)
{
    if (sock->open && sock->loop) {
        sim_loop_raise(sock->loop, &sock->source);
    }
}

void net_sock_end(struct sim_sock *sock)
{
    struct net_conn *conn = sock->conn;
    struct net_dir *in = &conn->dir[1 - sock->index];
    struct net_dir *out = &conn->dir[sock->index];
    sock->open = false;
    conn->held++;
    if (sock->index == 0 && sock->connected == 0) {
        if (conn->listener) { /* never accepted */
            net_listener_forget(conn);
        }
        conn->end[1].open = false;
    } else if (in->readable > 0) {
        net_dir_rst(out);
    } else {
        net_dir_fin(out);
    }
    while (in->readable > 0) { /* what still comes is answered by a reset */
        struct net_chunk *c = in->first;
        in->readable -= c->arrived - c->taken;
        c->taken = c->arrived;
        if (c->arrived < c->len) {
            break;
        }
        in->first = c->next;
        in->last = c->next ? in->last : NULL;
        free(c);
    }
    conn->held--;
    net_conn_put(conn);
}

/* ---- calls ------------------------------------------------------------------------------------
 */

void sim_sock_serve(struct sim_sock *sock, struct mf_loop *loop, void (*ready)(void *arg),
                    void *arg)
{
    if (sock->loop) {
        sim_loop_forget(sock->loop, &sock->source);
    }
    sock->loop = loop;
    sock->source = (struct sim_source){.fn = ready, .arg = arg};
    net_sock_wake(sock); /* there may be something already */
}

struct sim_sock *sim_net_connect(struct mf_loop *loop, uint32_t host, uint16_t port,
                                 void (*ready)(void *arg), void *arg)
{
    struct sim_proc *self = sim_proc_self();
    struct net_conn *conn = net_conn_new(sim_proc_host(self), host, port);
    struct sim_sock *sock = &conn->end[0];
    net_sock_own(sock, self);
    sock->loop = loop;
    sock->source = (struct sim_source){.fn = ready, .arg = arg};
    net_dir_hand(&conn->dir[0]);
    return sock;
}

int sim_sock_connected(const struct sim_sock *sock)
{
    return sock->connected;
}

/* Tell the error that there is, once. */
static ssize_t tell(struct sim_sock *sock)
{
    errno = sock->error;
    sock->error = 0;
    sock->failed = true;
    return -1;
}

static ssize_t refuse(int error)
{
    errno = error;
    return -1;
}

static void chunk_append(struct net_dir *dir, const uint8_t *data, uint32_t len)
{
    struct net_chunk *chunk = malloc(sizeof(*chunk) + len);
    MF_ASSERT(chunk);
    *chunk = (struct net_chunk){.len = len};
    memcpy(chunk->data, data, len);
    chunk->due_ns = net_dir_due(dir, len);
    if (dir->last) {
        dir->last->next = chunk;
    } else {
        dir->first = chunk;
    }
    dir->last = chunk;
    if (!dir->flying) {
        dir->flying = chunk;
        net_dir_arm(dir);
    }
    dir->used += len;
}

ssize_t sim_sock_send(struct sim_sock *sock, const void *data, size_t len)
{
    struct net_conn *conn = sock->conn;
    struct net_dir *dir = &conn->dir[sock->index];
    if (sock->error != 0) {
        return tell(sock);
    }
    if (sock->failed || dir->fin) {
        return refuse(EPIPE);
    }
    if (sock->connected == 0) {
        return refuse(EAGAIN);
    }
    uint64_t room = conn->window - dir->used;
    if (len > room) {
        dir->hungry = true;
        len = (size_t)room;
    }
    if (len == 0) {
        return room == 0 ? refuse(EAGAIN) : 0;
    }
    len = len < CHUNK_BYTES_MAX ? len : CHUNK_BYTES_MAX;
    chunk_append(dir, data, (uint32_t)len);
    return (ssize_t)len;
}

/* The sender has more room: it learns of it at once when it does not wait for it, which nobody can
 * tell from later. */
static void give_room(struct net_dir *dir, uint64_t bytes)
{
    if (dir->dead) {
        return;
    }
    if (!dir->hungry && dir->credit == 0 && !dir->back->cut) {
        dir->used -= bytes;
        return;
    }
    if (dir->credit == 0) {
        dir->credit_ns = sim_now() + net_path_delay(dir->back, 0);
    }
    dir->credit += bytes;
    net_dir_arm(dir);
}

static size_t take(struct net_dir *dir, uint8_t *buf, size_t len)
{
    size_t done = 0;
    while (done < len && dir->readable > 0) {
        struct net_chunk *c = dir->first;
        uint32_t some = c->arrived - c->taken;
        some = some < len - done ? some : (uint32_t)(len - done);
        memcpy(buf + done, c->data + c->taken, some);
        c->taken += some;
        done += some;
        dir->readable -= some;
        if (c->taken == c->len) {
            dir->first = c->next;
            dir->last = c->next ? dir->last : NULL;
            free(c);
        }
    }
    return done;
}

ssize_t sim_sock_recv(struct sim_sock *sock, void *buf, size_t len)
{
    struct net_dir *dir = &sock->conn->dir[1 - sock->index];
    if (dir->readable > 0 && len > 0) {
        if (sim_chance(1, SHORT_READ_IN) && len > 1) {
            uint64_t most = dir->readable < len ? dir->readable : len;
            len = 1 + (size_t)sim_below(most);
        }
        size_t got = take(dir, buf, len);
        give_room(dir, got);
        if (dir->readable > 0 || dir->fin_arrived || sock->error != 0) {
            net_sock_wake(sock);
        }
        return (ssize_t)got;
    }
    if (sock->error != 0) {
        return tell(sock);
    }
    if (sock->failed || dir->fin_arrived) {
        return 0;
    }
    return refuse(EAGAIN);
}

void sim_sock_shutdown(struct sim_sock *sock)
{
    if (sock->connected == 1) {
        net_dir_fin(&sock->conn->dir[sock->index]);
    }
}

void sim_sock_close(struct sim_sock *sock)
{
    if (!sock) {
        return;
    }
    if (sock->loop) {
        sim_loop_forget(sock->loop, &sock->source);
        sock->loop = NULL;
    }
    disown(sock);
    net_sock_end(sock);
}

struct sim_proc *sim_sock_peer(const struct sim_sock *sock)
{
    const struct sim_sock *other = &sock->conn->end[1 - sock->index];
    return other->open ? other->proc : NULL;
}

void sim_sock_peer_name(const struct sim_sock *sock, char *out, size_t len)
{
    uint32_t host = sock->conn->host[1 - sock->index];
    snprintf(out, len, "10.0.%u.%u:%u", host >> 8, host & 0xff, sock->conn->port[1 - sock->index]);
}
