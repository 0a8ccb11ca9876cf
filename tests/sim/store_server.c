// SPDX-License-Identifier: Apache-2.0
// The store's server over the model network, in the place of the TCP server: a listener and its
// connections around the real server machine, on a loop of its own, and answers in the same order.
// Every change of who holds a rank is told to the oracle: the machine's function that tells
// watchers of a change is linked through the one here (--wrap=mf_srv_publish).
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "net.h"
#include "seen.h"
#include "store/server_priv.h"
#include "wire/record.h"

#define READ_BYTES (64u * 1024u) /* of one connection in one turn of the loop */
#define FLUSH_TURN 32u           /* connections that are told news in one turn, besides answers */

struct sim_conn {
    struct mf_store_server *server;
    struct sim_conn *prev, *next;
    struct mf_server_conn *conn;
    struct sim_sock *sock;
    bool blocked;  /* the socket took no more */
    bool shutdown; /* our side is finished; what still comes is read and dropped */
};

struct mf_store_server {
    const struct mf_env *env;
    struct mf_loop *loop;
    struct mf_server_sm *sm; /* this and all below: the loop's thread only */
    struct sim_listener *listener;
    struct sim_conn *conns;
    struct mf_timer *timer;
    struct sim_source flush;
    uint64_t start_ns;
    uint8_t *buf; /* READ_BYTES */
    mf_store_broken_fn broken_fn;
    void *broken_arg;
    char url[96];
};

/* ---- who holds a rank -------------------------------------------------------------------------
 */

void __real_mf_srv_publish(struct mf_server_sm *sm, enum mf_smsg_kind kind,
                           const struct mf_kv_entry *entry);
void __wrap_mf_srv_publish(struct mf_server_sm *sm, enum mf_smsg_kind kind,
                           const struct mf_kv_entry *entry);

static void tell_owner(enum mf_smsg_kind kind, const struct mf_kv_entry *entry)
{
    char *end;
    struct mf_rec_identity who;
    unsigned long rank = strtoul(entry->key + sizeof(MF_STORE_RANK_KEYS) - 1, &end, 10);
    if (*end != '\0' || rank >= MF_WORLD_MAX)
        return;
    if (kind != MF_SMSG_PUT) {
        sim_say("rank %lu is nobody's", rank);
        seen_owner((uint32_t)rank, 0);
    } else if (mf_rec_get_identity(entry->value, entry->value_len, &who) == SMEM_OK) {
        sim_say("rank %lu is process %u's", rank, who.pid);
        seen_owner((uint32_t)rank, who.incarnation);
    }
}

void __wrap_mf_srv_publish(struct mf_server_sm *sm, enum mf_smsg_kind kind,
                           const struct mf_kv_entry *entry)
{
    if (strncmp(entry->key, MF_STORE_RANK_KEYS, sizeof(MF_STORE_RANK_KEYS) - 1) == 0)
        tell_owner(kind, entry);
    __real_mf_srv_publish(sm, kind, entry);
}

/* ---- connections ------------------------------------------------------------------------------
 */

static void arm_timer(struct mf_store_server *server)
{
    mf_timer_set(server->timer, mf_server_sm_next_ns(server->sm));
}

/* Once all that is ready now has been read. */
static void flush_later(struct mf_store_server *server)
{
    sim_loop_raise(server->loop, &server->flush);
}

static void conn_close(struct sim_conn *conn)
{
    struct mf_store_server *server = conn->server;
    sim_sock_close(conn->sock);
    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        server->conns = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    mf_server_sm_closed(server->sm, mf_now_ns(server->env), conn->conn);
    mf_free(conn);
    flush_later(server); /* the end of its session may be news for others */
}

/* Send what is queued, as far as the socket takes it; false: the connection has failed. */
static bool conn_send(struct sim_conn *conn)
{
    const uint8_t *data;
    size_t len;
    while (!conn->blocked && (len = mf_server_conn_output(conn->conn, &data)) > 0) {
        ssize_t sent = sim_sock_send(conn->sock, data, len);
        if (sent > 0)
            mf_server_conn_sent(conn->conn, (size_t)sent);
        else if (sent < 0 && errno == EAGAIN)
            conn->blocked = true;
        else
            return false;
    }
    return true;
}

/* False: it is closed. */
static bool conn_flush(struct sim_conn *conn)
{
    enum mf_conn_want want = mf_server_conn_want(conn->conn);
    if (want == MF_CONN_CLOSE || !conn_send(conn)) {
        conn_close(conn);
        return false;
    }
    /* Closing with unread input would reset the connection and lose our last message on its way. */
    if (want == MF_CONN_FLUSH_CLOSE && !conn->blocked && !conn->shutdown) {
        conn->shutdown = true;
        sim_sock_shutdown(conn->sock);
    }
    return true;
}

static void on_flush(void *arg)
{
    struct mf_store_server *server = arg;
    struct mf_server_conn *conn = NULL;
    for (uint32_t told = 0; told < FLUSH_TURN;) {
        told += !mf_server_sm_has_asked(server->sm);
        conn = mf_server_sm_pop_ready(server->sm);
        if (conn == NULL)
            break;
        conn_flush(mf_server_conn_user(conn));
    }
    if (conn != NULL) /* the rest in the next turn of the loop, which looks for requests first */
        flush_later(server);
    arm_timer(server);
}

static void on_timer(void *arg)
{
    struct mf_store_server *server = arg;
    mf_server_sm_tick(server->sm, mf_now_ns(server->env));
    on_flush(server);
}

static void on_ready(void *arg)
{
    struct sim_conn *conn = arg;
    struct mf_store_server *server = conn->server;
    if (conn->blocked) {
        conn->blocked = false;
        if (!conn_flush(conn))
            return;
    }
    ssize_t got = sim_sock_recv(conn->sock, server->buf, READ_BYTES);
    if (got > 0) {
        mf_server_sm_bytes(server->sm, mf_now_ns(server->env), conn->conn, server->buf,
                           (size_t)got);
        flush_later(server);
    } else if (got == 0 || errno != EAGAIN) {
        conn_close(conn);
    }
}

static int conn_add(struct mf_store_server *server, struct sim_sock *sock, const char *peer)
{
    struct sim_conn *conn = mf_calloc(1, sizeof(*conn), "store connection");
    if (conn == NULL)
        return SMEM_MALLOC_FAILED;
    conn->server = server;
    conn->sock = sock;
    int rc = mf_server_sm_open(server->sm, mf_now_ns(server->env), peer, conn, &conn->conn);
    if (rc != SMEM_OK) {
        mf_free(conn);
        return rc;
    }
    conn->next = server->conns;
    if (server->conns != NULL)
        server->conns->prev = conn;
    server->conns = conn;
    sim_sock_serve(sock, server->loop, on_ready, conn);
    return SMEM_OK;
}

static void on_accept(void *arg, struct sim_sock *sock)
{
    struct mf_store_server *server = arg;
    char peer[64];
    sim_sock_peer_name(sock, peer, sizeof(peer));
    if (conn_add(server, sock, peer) != SMEM_OK) {
        mf_log(server->env->log, MF_LOG_WARN, "store", "store %s: client %s: %s", server->url, peer,
               mf_err_msg());
        sim_sock_close(sock);
    }
    flush_later(server);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void on_broken(void *arg, uint64_t session_id, uint32_t rank)
{
    struct mf_store_server *server = arg;
    if (server->broken_fn != NULL)
        server->broken_fn(server->broken_arg, session_id, rank);
}

struct listen_arg {
    struct mf_store_server *server;
    const struct mf_store_url *url;
    const char *text;
    int rc;
    struct mf_err_rec err;
};

static void listen_on_loop(void *arg)
{
    struct listen_arg *in = arg;
    struct mf_store_server *server = in->server;
    uint32_t self = sim_proc_host(sim_proc_self());
    uint32_t host;
    bool known = sim_net_host_of(in->url->host, self, &host);
    if (!known || host != self)
        in->rc = mf_err_sys(SMEM_INVALID_PARAM, EADDRNOTAVAIL, "store server: listen on %.100s",
                            in->text);
    else
        in->rc = sim_net_listen(server->loop, in->url->port, on_accept, server, &server->listener);
    if (in->rc == SMEM_RES_IN_USE)
        in->rc =
            mf_err_sys(SMEM_RES_IN_USE, EADDRINUSE, "store server: listen on %.100s", in->text);
    if (in->rc == SMEM_OK) {
        snprintf(server->url, sizeof(server->url), "tcp://%s:%u", in->url->host,
                 sim_listener_port(server->listener));
        arm_timer(server);
    } else {
        mf_err_save(&in->err);
    }
}

static void stop_on_loop(void *arg)
{
    struct mf_store_server *server = arg;
    server->broken_fn = NULL;
    sim_net_unlisten(server->listener);
    server->listener = NULL;
    while (server->conns != NULL)
        conn_close(server->conns);
    mf_timer_destroy(server->timer);
    sim_loop_forget(server->loop, &server->flush);
}

static int server_init(struct mf_store_server *server, const char *text,
                       const struct mf_store_url *url, uint32_t settle_ms)
{
    struct mf_server_sm_cfg cfg;
    struct listen_arg in = {.server = server, .url = url, .text = text};
    server->start_ns = mf_now_ns(server->env);
    server->flush = (struct sim_source){.fn = on_flush, .arg = server};
    server->buf = mf_alloc(READ_BYTES, "store server's read buffer");
    if (server->buf == NULL)
        return SMEM_MALLOC_FAILED;
    mf_server_sm_cfg_init(&cfg, server->env);
    cfg.settle_ms = settle_ms;
    cfg.on_broken = on_broken;
    cfg.on_broken_arg = server;
    int rc = mf_server_sm_create(&cfg, server->start_ns, &server->sm);
    if (rc != SMEM_OK)
        return rc;
    rc = mf_loop_create(server->env, "mf-store", &server->loop);
    if (rc != SMEM_OK)
        return rc;
    rc = mf_timer_create(server->loop, on_timer, server, &server->timer);
    if (rc != SMEM_OK)
        return rc;
    mf_loop_call(server->loop, listen_on_loop, &in);
    if (in.rc != SMEM_OK)
        mf_err_restore(&in.err);
    return in.rc;
}

static void server_free(struct mf_store_server *server)
{
    if (server->loop != NULL)
        mf_loop_call(server->loop, stop_on_loop, server);
    mf_loop_destroy(server->loop);
    mf_server_sm_destroy(server->sm);
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
        struct mf_err_rec err;
        mf_err_save(&err);
        server_free(server);
        mf_err_restore(&err);
        return rc;
    }
    *out = server;
    return SMEM_OK;
}

void mf_store_server_destroy(struct mf_store_server *server)
{
    if (server != NULL)
        server_free(server);
}

const char *mf_store_server_url(const struct mf_store_server *server)
{
    return server->url;
}

void mf_store_server_close_fds(struct mf_store_server *server)
{
    (void)server; /* there are no descriptors, and nobody forks */
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
