// SPDX-License-Identifier: Apache-2.0
// The TCP client of the store: a non-blocking socket as the link of a client shell. Reading is
// always armed, so that a closed connection is noticed while output waits.
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/err.h"
#include "store/client_shell.h"
#include "store/tcp_util.h"

#define READ_BYTES  (64u * 1024u)
#define READ_ROUNDS 8 /* reads of one wake-up: others on this loop want their turn */

struct tcp_client {
    struct mf_client_shell shell;
    struct mf_store_url url; /* the loop's thread only, once started */
    struct mf_store_url at;  /* where the present connection leads */
    _Atomic int fd;          /* -1: none; read by the child handler of fork */
    bool connecting, blocked;
    struct event readable, writable;
    uint8_t *buf; /* READ_BYTES */
};

static struct tcp_client *client_of(struct mf_client_shell *shell)
{
    return (struct tcp_client *)shell; /* the first member */
}

static void link_disconnect(struct mf_client_shell *shell)
{
    struct tcp_client *client = client_of(shell);
    int fd = atomic_exchange(&client->fd, -1);
    if (fd < 0)
        return;
    event_del(&client->readable);
    event_del(&client->writable);
    client->blocked = false;
    client->connecting = false;
    close(fd);
}

/* The connection or the attempt has failed with this error number. */
static void failed(struct tcp_client *client, const char *what, int error)
{
    char why[256];
    char name[MF_TCP_NAME_MAX];
    struct sockaddr_storage addr;
    mf_tcp_addr(&client->url, &addr);
    mf_tcp_name(&addr, name);
    mf_err_sys(SMEM_NOT_CONNECTED, error, "%s %s", what, name);
    snprintf(why, sizeof(why), "%s", mf_err_msg());
    link_disconnect(&client->shell);
    mf_client_sm_closed(client->shell.sm, mf_now_ns(client->shell.base.env), why);
}

static void established(struct tcp_client *client)
{
    client->connecting = false;
    mf_client_sm_connected(client->shell.sm, mf_now_ns(client->shell.base.env));
    if (event_add(&client->readable, NULL) != 0)
        failed(client, "wait for", ENOMEM);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct tcp_client *client = arg;
    int error = 0;
    socklen_t len = sizeof(error);
    (void)what;
    if (client->connecting) {
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
            error = errno;
        if (error != 0)
            failed(client, "connect", error);
        else
            established(client);
    }
    client->blocked = false;
    mf_client_shell_pump(&client->shell);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct tcp_client *client = arg;
    struct mf_client_shell *shell = &client->shell;
    (void)what;
    shell->pumping = true; /* what callbacks submit goes out together */
    for (int i = 0; i < READ_ROUNDS && atomic_load(&client->fd) == fd; i++) {
        ssize_t got = recv(fd, client->buf, READ_BYTES, 0);
        uint64_t now = mf_now_ns(shell->base.env);
        if (got > 0) {
            mf_client_sm_bytes(shell->sm, now, client->buf, (size_t)got);
        } else if (got == 0) {
            link_disconnect(shell);
            mf_client_sm_closed(shell->sm, now, "the store closed the connection");
        } else if (errno != EINTR) {
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                failed(client, "receive from", errno);
            break;
        }
        if (got < (ssize_t)READ_BYTES)
            break;
    }
    shell->pumping = false;
    mf_client_shell_pump(shell);
}

static void link_connect(struct mf_client_shell *shell)
{
    struct tcp_client *client = client_of(shell);
    struct event_base *base = mf_loop_base(shell->base.loop);
    struct sockaddr_storage addr;
    socklen_t len = mf_tcp_addr(&client->url, &addr);
    client->at = client->url;
    int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        failed(client, "make a socket for", errno);
        return;
    }
    atomic_store(&client->fd, fd);
    mf_tcp_tune(fd);
    event_assign(&client->readable, base, fd, EV_READ | EV_PERSIST, on_readable, client);
    event_assign(&client->writable, base, fd, EV_WRITE, on_writable, client);
    client->connecting = true;
    if (connect(fd, (struct sockaddr *)&addr, len) == 0)
        established(client);
    else if (errno != EINPROGRESS)
        failed(client, "connect", errno);
    else if (event_add(&client->writable, NULL) != 0)
        failed(client, "wait for", ENOMEM);
}

static size_t link_write(struct mf_client_shell *shell, const uint8_t *data, size_t len)
{
    struct tcp_client *client = client_of(shell);
    if (client->blocked)
        return 0;
    ssize_t sent = send(atomic_load(&client->fd), data, len, MSG_NOSIGNAL);
    if (sent > 0)
        return (size_t)sent;
    if (sent < 0 && errno == EINTR)
        return link_write(shell, data, len);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        failed(client, "send to", errno);
    else if (event_add(&client->writable, NULL) != 0)
        failed(client, "wait for", ENOMEM);
    else
        client->blocked = true;
    return 0;
}

static void link_destroy(struct mf_client_shell *shell)
{
    struct tcp_client *client = client_of(shell);
    mf_free(client->buf);
    mf_free(client);
}

static const struct mf_client_link_ops tcp_link = {
    .connect = link_connect,
    .disconnect = link_disconnect,
    .write = link_write,
    .destroy = link_destroy,
};

struct set_url_arg {
    struct tcp_client *client;
    const struct mf_store_url *url;
    const char *text;
    bool now;
};

/* It is connected there already, or about to be: nothing to do. */
static bool is_there(const struct tcp_client *client, const struct mf_store_url *url)
{
    enum mf_client_state state = mf_client_sm_state(client->shell.sm);
    bool comes =
        state == MF_CLIENT_OPEN || state == MF_CLIENT_HELLO || state == MF_CLIENT_CONNECTING;
    return comes && client->at.v6 == url->v6 && client->at.port == url->port &&
           strcmp(client->at.host, url->host) == 0;
}

static void set_url_on_loop(void *arg)
{
    struct set_url_arg *in = arg;
    bool drop = in->now && !is_there(in->client, in->url);
    in->client->url = *in->url;
    mf_client_sm_set_addr(in->client->shell.sm, in->text, drop,
                          mf_now_ns(in->client->shell.base.env));
    mf_client_shell_pump(&in->client->shell);
}

static int parse_target(const char *url, struct mf_store_url *out)
{
    int rc = mf_store_url_parse(url, out);
    if (rc == SMEM_OK && out->port == 0)
        rc = mf_err(SMEM_INVALID_PARAM, "store URL \"%.120s\": a client cannot connect to port 0",
                    url);
    return rc;
}

static int tcp_set_url(struct mf_store *store, const char *text, bool now)
{
    struct mf_store_url url;
    struct set_url_arg in = {
        .client = (struct tcp_client *)store, .url = &url, .text = text, .now = now};
    int rc = parse_target(text, &url);
    return rc == SMEM_OK ? mf_loop_call(store->loop, set_url_on_loop, &in) : rc;
}

static const struct mf_store_ops tcp_ops = {
    .name = "tcp",
    .submit = mf_client_shell_submit,
    .watch = mf_client_shell_watch,
    .unwatch = mf_client_shell_unwatch,
    .set_url = tcp_set_url,
    .close = mf_client_shell_close,
};

int mf_store_open(const struct mf_store_cfg *cfg, const char *text, uint64_t deadline_ns,
                  struct mf_store **out)
{
    struct mf_store_url url;
    *out = NULL;
    int rc = parse_target(text, &url);
    if (rc != SMEM_OK)
        return rc;
    struct tcp_client *client = mf_calloc(1, sizeof(*client), "store client");
    if (client == NULL)
        return SMEM_MALLOC_FAILED;
    client->url = url;
    atomic_init(&client->fd, -1);
    client->buf = mf_alloc(READ_BYTES, "store client's read buffer");
    if (client->buf == NULL) {
        rc = SMEM_MALLOC_FAILED;
        goto free_client;
    }
    rc = mf_client_shell_init(&client->shell, cfg, &tcp_ops, &tcp_link, text);
    if (rc != SMEM_OK)
        goto free_client;
    rc = mf_client_shell_start(&client->shell, text, deadline_ns);
    if (rc != SMEM_OK) {
        mf_client_shell_fini(&client->shell);
        goto free_client;
    }
    *out = &client->shell.base;
    return SMEM_OK;
free_client:
    mf_free(client->buf);
    mf_free(client);
    return rc;
}

void mf_store_client_close_fds(struct mf_store *store)
{
    if (store == NULL || store->ops != &tcp_ops)
        return;
    int fd = atomic_exchange(&((struct tcp_client *)store)->fd, -1);
    if (fd >= 0)
        close(fd);
}
