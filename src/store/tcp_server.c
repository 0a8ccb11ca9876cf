// SPDX-License-Identifier: Apache-2.0
// The embedded store server: a listening socket and its connections around a server state machine,
// on a loop of its own. What one turn of the loop changes goes out in one write to each client.
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "store/server_sm.h"
#include "store/tcp_util.h"

#define READ_BYTES      (64u * 1024u) /* of one connection in one turn of the loop */
#define FLUSH_TURN      32u /* connections that are told news in one turn, besides answers */
#define ACCEPT_ROUNDS   64
#define ACCEPT_PAUSE_MS 100 /* when there are no descriptors: the listener would spin */
#define FDS_MAX         (MF_STORE_CONNS_MAX + 1)

struct tcp_conn {
    struct mf_store_server *server;
    struct tcp_conn *prev, *next;
    struct mf_server_conn *conn;
    int fd;
    uint32_t slot;
    bool blocked;  /* the socket took no more; `writable` is armed */
    bool shutdown; /* our side is finished; what still comes is read and dropped */
    struct event readable, writable;
};

struct mf_store_server {
    const struct mf_env *env;
    struct mf_loop *loop;
    struct mf_server_sm *sm; /* this and all below: the loop's thread only */
    struct tcp_conn *conns;
    struct event acceptable, accept_again, timer, flush;
    uint64_t timer_ns, start_ns;
    bool flush_pending;
    uint8_t *buf; /* READ_BYTES */
    mf_store_broken_fn broken_fn;
    void *broken_arg;
    char url[96];
    uint32_t fd_hint;
    _Atomic int fds[FDS_MAX]; /* -1: free; [0] is the listener; read by the child handler of fork */
};

static void arm_timer(struct mf_store_server *server)
{
    uint64_t next = mf_server_sm_next_ns(server->sm);
    if (next == server->timer_ns)
        return;
    server->timer_ns = next;
    if (next == UINT64_MAX) {
        event_del(&server->timer);
        return;
    }
    uint64_t now = mf_now_ns(server->env);
    uint64_t us = next > now ? (next - now + 999) / 1000 : 0;
    struct timeval tv = {.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
    event_add(&server->timer, &tv);
}

/* Once all that is ready now has been read. */
static void flush_later(struct mf_store_server *server)
{
    if (server->flush_pending)
        return;
    server->flush_pending = true;
    event_active(&server->flush, EV_TIMEOUT, 0);
}

static void conn_close(struct tcp_conn *tcp)
{
    struct mf_store_server *server = tcp->server;
    event_del(&tcp->readable);
    event_del(&tcp->writable);
    atomic_store(&server->fds[tcp->slot], -1);
    close(tcp->fd);
    if (tcp->prev != NULL)
        tcp->prev->next = tcp->next;
    else
        server->conns = tcp->next;
    if (tcp->next != NULL)
        tcp->next->prev = tcp->prev;
    mf_server_sm_closed(server->sm, mf_now_ns(server->env), tcp->conn);
    mf_free(tcp);
    flush_later(server); /* the end of its session may be news for others */
}

/* Send what is queued, as far as the socket takes it; false: the connection has failed. */
static bool conn_send(struct tcp_conn *tcp)
{
    const uint8_t *data;
    size_t len;
    while (!tcp->blocked && (len = mf_server_conn_output(tcp->conn, &data)) > 0) {
        ssize_t sent = send(tcp->fd, data, len, MSG_NOSIGNAL);
        if (sent > 0) {
            mf_server_conn_sent(tcp->conn, (size_t)sent);
        } else if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (event_add(&tcp->writable, NULL) != 0)
                return false;
            tcp->blocked = true;
        } else if (sent == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

static void conn_flush(struct tcp_conn *tcp)
{
    enum mf_conn_want want = mf_server_conn_want(tcp->conn);
    if (want == MF_CONN_CLOSE || !conn_send(tcp)) {
        conn_close(tcp);
        return;
    }
    /* Closing with unread input would reset the connection and lose our last message on its way. */
    if (want == MF_CONN_FLUSH_CLOSE && !tcp->blocked && !tcp->shutdown) {
        tcp->shutdown = true;
        shutdown(tcp->fd, SHUT_WR);
    }
}

static void flush_all(struct mf_store_server *server)
{
    struct mf_server_conn *conn = NULL;
    const struct timeval now = {0, 0};
    for (uint32_t told = 0; told < FLUSH_TURN;) {
        told += !mf_server_sm_has_asked(server->sm);
        conn = mf_server_sm_pop_ready(server->sm);
        if (conn == NULL)
            break;
        conn_flush(mf_server_conn_user(conn));
    }
    /* The rest in the next turn of the loop, which looks for requests first. */
    server->flush_pending = conn != NULL && event_add(&server->flush, &now) == 0;
    if (conn != NULL)
        flush_later(server);
    arm_timer(server);
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    flush_all(arg);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct mf_store_server *server = arg;
    (void)fd;
    (void)what;
    server->timer_ns = UINT64_MAX;
    mf_server_sm_tick(server->sm, mf_now_ns(server->env));
    flush_all(server);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct tcp_conn *tcp = arg;
    (void)fd;
    (void)what;
    tcp->blocked = false;
    conn_flush(tcp);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct tcp_conn *tcp = arg;
    struct mf_store_server *server = tcp->server;
    (void)what;
    ssize_t got = recv(fd, server->buf, READ_BYTES, 0);
    if (got > 0) {
        mf_server_sm_bytes(server->sm, mf_now_ns(server->env), tcp->conn, server->buf, (size_t)got);
        flush_later(server);
    } else if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
        conn_close(tcp);
    }
}

/* ---- accepting --------------------------------------------------------------------------------
 */

static int slot_take(struct mf_store_server *server, int fd, uint32_t *out)
{
    for (uint32_t i = 0; i < MF_STORE_CONNS_MAX; i++) {
        uint32_t slot = 1 + (server->fd_hint + i) % MF_STORE_CONNS_MAX;
        if (atomic_load(&server->fds[slot]) < 0) {
            atomic_store(&server->fds[slot], fd);
            server->fd_hint = slot % MF_STORE_CONNS_MAX;
            *out = slot;
            return SMEM_OK;
        }
    }
    return mf_err(SMEM_NO_RESOURCES, "%u connections are open, the limit", MF_STORE_CONNS_MAX);
}

static int conn_add(struct mf_store_server *server, int fd, const char *peer)
{
    struct event_base *base = mf_loop_base(server->loop);
    struct tcp_conn *tcp = mf_calloc(1, sizeof(*tcp), "store connection");
    if (tcp == NULL)
        return SMEM_MALLOC_FAILED;
    tcp->server = server;
    tcp->fd = fd;
    int rc = slot_take(server, fd, &tcp->slot);
    if (rc != SMEM_OK)
        goto free_tcp;
    rc = mf_server_sm_open(server->sm, mf_now_ns(server->env), peer, tcp, &tcp->conn);
    if (rc != SMEM_OK)
        goto free_slot;
    event_assign(&tcp->readable, base, fd, EV_READ | EV_PERSIST, on_readable, tcp);
    event_assign(&tcp->writable, base, fd, EV_WRITE, on_writable, tcp);
    if (event_add(&tcp->readable, NULL) != 0) {
        rc = mf_err(SMEM_NO_RESOURCES, "cannot wait for a connection's input");
        goto close_conn;
    }
    mf_tcp_tune(fd);
    tcp->next = server->conns;
    if (server->conns != NULL)
        server->conns->prev = tcp;
    server->conns = tcp;
    return SMEM_OK;
close_conn:
    mf_server_sm_closed(server->sm, mf_now_ns(server->env), tcp->conn);
free_slot:
    atomic_store(&server->fds[tcp->slot], -1);
free_tcp:
    mf_free(tcp);
    return rc;
}

static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
    struct mf_store_server *server = arg;
    (void)fd;
    (void)what;
    event_add(&server->acceptable, NULL);
}

static void on_acceptable(evutil_socket_t listener, short what, void *arg)
{
    struct mf_store_server *server = arg;
    char peer[MF_TCP_NAME_MAX];
    (void)what;
    for (int i = 0; i < ACCEPT_ROUNDS; i++) {
        struct sockaddr_storage addr = {0};
        socklen_t len = sizeof(addr);
        int fd = accept4(listener, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0) {
            struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};
            mf_err_sys(SMEM_NO_RESOURCES, errno, "store %s: accept", server->url);
            mf_log(server->env->log, MF_LOG_WARN, "store", "%s", mf_err_msg());
            event_del(&server->acceptable);
            event_add(&server->accept_again, &pause);
            break;
        }
        mf_tcp_name(&addr, peer);
        if (conn_add(server, fd, peer) != SMEM_OK) {
            mf_log(server->env->log, MF_LOG_WARN, "store", "store %s: client %s: %s", server->url,
                   peer, mf_err_msg());
            close(fd);
        }
    }
    flush_later(server);
}

static int listen_failed(int error, const char *url)
{
    int rc = error == EADDRINUSE      ? SMEM_RES_IN_USE
             : error == EADDRNOTAVAIL ? SMEM_INVALID_PARAM
                                      : SMEM_ERROR;
    return mf_err_sys(rc, error, "store server: listen on %.100s", url);
}

/* A listening socket in fds[0], and the URL with its real port. */
static int listen_on(struct mf_store_server *server, const char *text,
                     const struct mf_store_url *url)
{
    struct sockaddr_storage addr;
    char name[MF_TCP_NAME_MAX];
    int on = 1;
    int off = 0;
    socklen_t len = mf_tcp_addr(url, &addr);
    int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return listen_failed(errno, text);
    atomic_store(&server->fds[0], fd);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (url->v6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, (struct sockaddr *)&addr, len) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        return listen_failed(errno, text);
    mf_tcp_name(&addr, name);
    snprintf(server->url, sizeof(server->url), "tcp://%s", name);
    bool loopback = strncmp(url->host, "127.", 4) == 0 || strcmp(url->host, "::1") == 0;
    if (!loopback)
        mf_log(
            server->env->log, MF_LOG_WARN, "store",
            "store %s: anyone who reaches this address can read and write the control plane; use "
            "a loopback address, or keep strangers out of this network",
            server->url);
    return SMEM_OK;
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void on_broken(void *arg, uint64_t session_id, uint32_t rank)
{
    struct mf_store_server *server = arg;
    if (server->broken_fn != NULL)
        server->broken_fn(server->broken_arg, session_id, rank);
}

static void start_on_loop(void *arg)
{
    struct mf_store_server *server = arg;
    event_add(&server->acceptable, NULL);
}

static void stop_on_loop(void *arg)
{
    struct mf_store_server *server = arg;
    server->broken_fn = NULL;
    event_del(&server->acceptable);
    event_del(&server->accept_again);
    while (server->conns != NULL)
        conn_close(server->conns);
    event_del(&server->timer);
    event_del(&server->flush);
}

static int server_init(struct mf_store_server *server, const char *text,
                       const struct mf_store_url *url, uint32_t settle_ms)
{
    struct mf_server_sm_cfg cfg;
    server->timer_ns = UINT64_MAX;
    server->start_ns = mf_now_ns(server->env);
    for (uint32_t i = 0; i < FDS_MAX; i++)
        atomic_init(&server->fds[i], -1);
    server->buf = mf_alloc(READ_BYTES, "store server's read buffer");
    if (server->buf == NULL)
        return SMEM_MALLOC_FAILED;
    int rc = listen_on(server, text, url);
    if (rc != SMEM_OK)
        return rc;
    mf_server_sm_cfg_init(&cfg, server->env);
    cfg.settle_ms = settle_ms;
    cfg.on_broken = on_broken;
    cfg.on_broken_arg = server;
    rc = mf_server_sm_create(&cfg, server->start_ns, &server->sm);
    if (rc != SMEM_OK)
        return rc;
    rc = mf_loop_create(server->env, "mf-store", &server->loop);
    if (rc != SMEM_OK)
        return rc;
    struct event_base *base = mf_loop_base(server->loop);
    event_assign(&server->acceptable, base, atomic_load(&server->fds[0]), EV_READ | EV_PERSIST,
                 on_acceptable, server);
    event_assign(&server->accept_again, base, -1, 0, on_accept_again, server);
    event_assign(&server->timer, base, -1, 0, on_timer, server);
    event_assign(&server->flush, base, -1, 0, on_flush, server);
    return mf_loop_call(server->loop, start_on_loop, server);
}

static void server_free(struct mf_store_server *server)
{
    mf_loop_destroy(server->loop);
    mf_server_sm_destroy(server->sm);
    int listener = atomic_load(&server->fds[0]);
    if (listener >= 0)
        close(listener);
    mf_free(server->buf);
    mf_free(server);
}

int mf_store_server_create(const struct mf_env *env, const char *text, uint32_t settle_ms,
                           struct mf_store_server **out)
{
    struct mf_store_url url;
    *out = NULL;
    int rc = mf_store_url_parse(text, &url);
    if (rc != SMEM_OK)
        return rc;
    struct mf_store_server *server = mf_calloc(1, sizeof(*server), "store server");
    if (server == NULL)
        return SMEM_MALLOC_FAILED;
    server->env = env;
    rc = server_init(server, text, &url, settle_ms);
    if (rc != SMEM_OK) {
        server_free(server);
        return rc;
    }
    *out = server;
    return SMEM_OK;
}

void mf_store_server_destroy(struct mf_store_server *server)
{
    if (server == NULL)
        return;
    mf_loop_call(server->loop, stop_on_loop, server);
    server_free(server);
}

const char *mf_store_server_url(const struct mf_store_server *server)
{
    return server->url;
}

void mf_store_server_close_fds(struct mf_store_server *server)
{
    if (server == NULL)
        return;
    for (uint32_t i = 0; i < FDS_MAX; i++) {
        int fd = atomic_exchange(&server->fds[i], -1);
        if (fd >= 0)
            close(fd);
    }
}

struct status_arg {
    struct mf_store_server *server;
    struct mf_store_server_status *out;
};

static void status_on_loop(void *arg)
{
    const struct status_arg *in = arg;
    mf_server_sm_get_status(in->server->sm, in->out);
    in->out->recovering = mf_server_sm_recovering(in->server->sm, mf_now_ns(in->server->env));
}

void mf_store_server_get_status(struct mf_store_server *server, struct mf_store_server_status *out)
{
    struct status_arg in = {.server = server, .out = out};
    memset(out, 0, sizeof(*out));
    mf_loop_call(server->loop, status_on_loop, &in);
    out->uptime_ms = (mf_now_ns(server->env) - server->start_ns) / MF_NS_PER_MS;
    snprintf(out->url, sizeof(out->url), "%s", server->url);
}

struct broken_arg {
    struct mf_store_server *server;
    mf_store_broken_fn fn;
    void *arg;
};

static void broken_on_loop(void *arg)
{
    const struct broken_arg *in = arg;
    in->server->broken_fn = in->fn;
    in->server->broken_arg = in->arg;
}

void mf_store_server_set_broken_fn(struct mf_store_server *server, mf_store_broken_fn fn, void *arg)
{
    struct broken_arg in = {.server = server, .fn = fn, .arg = arg};
    mf_loop_call(server->loop, broken_on_loop, &in);
}

struct read_arg {
    struct mf_store_server *server;
    const char *key;
    uint8_t *buf;
    size_t cap, len;
    bool found;
};

static void read_on_loop(void *arg)
{
    struct read_arg *in = arg;
    const void *value = mf_server_sm_peek(in->server->sm, in->key, &in->len);
    in->found = value != NULL && in->len <= in->cap;
    if (in->found)
        memcpy(in->buf, value, in->len);
}

bool mf_store_server_read(struct mf_store_server *server, const char *key, uint8_t *buf, size_t cap,
                          size_t *len)
{
    struct read_arg in = {.server = server, .key = key, .buf = buf, .cap = cap};
    mf_loop_call(server->loop, read_on_loop, &in);
    *len = in.found ? in.len : 0;
    return in.found;
}
