// SPDX-License-Identifier: Apache-2.0
// The store's client over the model network, in the place of the TCP client: a socket of the model
// as the link of the real client shell and the real client machine.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "net.h"
#include "store/client_shell.h"

#define READ_BYTES  (64u * 1024u)
#define READ_ROUNDS 8 /* reads of one wake-up: others on this loop want their turn */

struct sim_client {
    struct mf_client_shell shell;
    struct mf_store_url url; /* the loop's thread only, once started */
    struct mf_store_url at;  /* where the present connection leads */
    struct sim_sock *sock;   /* NULL: none */
    bool connecting, blocked;
    uint8_t *buf; /* READ_BYTES */
};

static struct sim_client *client_of(struct mf_client_shell *shell)
{
    return (struct sim_client *)shell; /* the first member */
}

static void link_disconnect(struct mf_client_shell *shell)
{
    struct sim_client *client = client_of(shell);
    sim_sock_close(client->sock);
    client->sock = NULL;
    client->blocked = false;
    client->connecting = false;
}

/* The connection or the attempt has failed with this error number. */
static void failed(struct sim_client *client, const char *what, int error)
{
    char why[256];
    mf_err_sys(SMEM_NOT_CONNECTED, error, "%s %s:%u", what, client->url.host, client->url.port);
    snprintf(why, sizeof(why), "%s", mf_err_msg());
    link_disconnect(&client->shell);
    mf_client_sm_closed(client->shell.sm, mf_now_ns(client->shell.base.env), why);
}

static void established(struct sim_client *client)
{
    client->connecting = false;
    mf_client_sm_connected(client->shell.sm, mf_now_ns(client->shell.base.env));
}

static void read_some(struct sim_client *client)
{
    struct mf_client_shell *shell = &client->shell;
    struct sim_sock *sock = client->sock;
    shell->pumping = true; /* what callbacks submit goes out together */
    for (int i = 0; i < READ_ROUNDS && client->sock == sock; i++) {
        ssize_t got = sim_sock_recv(sock, client->buf, READ_BYTES);
        uint64_t now = mf_now_ns(shell->base.env);
        if (got > 0) {
            mf_client_sm_bytes(shell->sm, now, client->buf, (size_t)got);
        } else if (got == 0) {
            link_disconnect(shell);
            mf_client_sm_closed(shell->sm, now, "the store closed the connection");
        } else {
            if (errno != EAGAIN)
                failed(client, "receive from", errno);
            break;
        }
        if (got < (ssize_t)READ_BYTES)
            break;
    }
    shell->pumping = false;
}

static void on_ready(void *arg)
{
    struct sim_client *client = arg;
    if (client->connecting) {
        int connected = sim_sock_connected(client->sock);
        if (connected == 0)
            return;
        if (connected > 0)
            established(client);
        else if (sim_sock_recv(client->sock, client->buf, READ_BYTES) < 0)
            failed(client, "connect", errno);
    }
    client->blocked = false;
    if (client->sock != NULL)
        read_some(client);
    mf_client_shell_pump(&client->shell);
}

static void link_connect(struct mf_client_shell *shell)
{
    struct sim_client *client = client_of(shell);
    uint32_t self = sim_proc_host(sim_proc_self());
    uint32_t host;
    client->at = client->url;
    if (!sim_net_host_of(client->url.host, self, &host)) {
        failed(client, "connect", ENETUNREACH);
        return;
    }
    client->connecting = true;
    client->sock = sim_net_connect(shell->base.loop, host, client->url.port, on_ready, client);
}

static size_t link_write(struct mf_client_shell *shell, const uint8_t *data, size_t len)
{
    struct sim_client *client = client_of(shell);
    if (client->blocked || client->sock == NULL)
        return 0;
    ssize_t sent = sim_sock_send(client->sock, data, len);
    if (sent > 0)
        return (size_t)sent;
    if (sent < 0 && errno != EAGAIN)
        failed(client, "send to", errno);
    else
        client->blocked = true;
    return 0;
}

static void link_destroy(struct mf_client_shell *shell)
{
    struct sim_client *client = client_of(shell);
    mf_free(client->buf);
    mf_free(client);
}

static const struct mf_client_link_ops sim_link = {
    .connect = link_connect,
    .disconnect = link_disconnect,
    .write = link_write,
    .destroy = link_destroy,
};

struct set_url_arg {
    struct sim_client *client;
    const struct mf_store_url *url;
    const char *text;
    bool now;
};

/* It is connected there already, or about to be: nothing to do. */
static bool is_there(const struct sim_client *client, const struct mf_store_url *url)
{
    enum mf_client_state state = mf_client_sm_state(client->shell.sm);
    bool comes =
        state == MF_CLIENT_OPEN || state == MF_CLIENT_HELLO || state == MF_CLIENT_CONNECTING;
    return comes && client->at.port == url->port && strcmp(client->at.host, url->host) == 0;
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

static int sim_set_url(struct mf_store *store, const char *text, bool now)
{
    struct mf_store_url url;
    struct set_url_arg in = {
        .client = (struct sim_client *)store, .url = &url, .text = text, .now = now};
    int rc = parse_target(text, &url);
    return rc == SMEM_OK ? mf_loop_call(store->loop, set_url_on_loop, &in) : rc;
}

static const struct mf_store_ops sim_ops = {
    .name = "tcp",
    .submit = mf_client_shell_submit,
    .watch = mf_client_shell_watch,
    .unwatch = mf_client_shell_unwatch,
    .set_url = sim_set_url,
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
    struct sim_client *client = mf_calloc(1, sizeof(*client), "store client");
    if (client == NULL)
        return SMEM_MALLOC_FAILED;
    client->url = url;
    client->buf = mf_alloc(READ_BYTES, "store client's read buffer");
    if (client->buf == NULL) {
        rc = SMEM_MALLOC_FAILED;
        goto free_client;
    }
    rc = mf_client_shell_init(&client->shell, cfg, &sim_ops, &sim_link, text);
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
    (void)store; /* there are no descriptors, and nobody forks */
}
