// SPDX-License-Identifier: Apache-2.0
// The local store: links that hand a client's bytes straight to the server's state machine, and one
// place, run(), that carries the answers back, so that neither machine is ever entered from within
// a call of its own.
#include "store/local.h"

#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "store/client_shell.h"
#include "store/server_sm.h"

/* Bytes that are carried at once; also the room between the machines. */
#define PIECE_BYTES (64u * 1024u)

struct local_client {
    struct mf_client_shell shell;
    struct mf_store_local *local;
    struct mf_server_conn *conn; /* NULL: not connected */
};

struct mf_store_local {
    const struct mf_env *env;
    struct mf_loop *loop;
    struct mf_server_sm *sm; /* this and all below: the loop's thread only */
    struct mf_timer *timer;
    bool running;
    uint8_t piece[PIECE_BYTES];
};

static struct local_client *client_of(struct mf_client_shell *shell)
{
    return (struct local_client *)shell; /* the first member */
}

static void disconnect(struct local_client *client)
{
    struct mf_server_conn *conn = client->conn;
    client->conn = NULL;
    if (conn != NULL)
        mf_server_sm_closed(client->local->sm, mf_now_ns(client->local->env), conn);
}

/* Give one client what the server has for it; its callbacks may write to the server meanwhile. */
static void carry(struct mf_store_local *local, struct local_client *client)
{
    const uint8_t *data;
    struct mf_client_shell *shell = &client->shell;
    while (client->conn != NULL && mf_server_conn_want(client->conn) != MF_CONN_CLOSE) {
        size_t len = mf_server_conn_output(client->conn, &data);
        if (len == 0)
            break;
        if (len > PIECE_BYTES)
            len = PIECE_BYTES;
        memcpy(local->piece, data, len); /* the server's buffer moves when it is written to */
        mf_server_conn_sent(client->conn, len);
        mf_client_sm_bytes(shell->sm, mf_now_ns(local->env), local->piece, len);
        mf_client_shell_pump(shell);
    }
    if (client->conn != NULL && mf_server_conn_want(client->conn) != MF_CONN_KEEP) {
        disconnect(client);
        mf_client_sm_closed(shell->sm, mf_now_ns(local->env), NULL);
        mf_client_shell_pump(shell);
    }
}

static void run(struct mf_store_local *local)
{
    struct mf_server_conn *conn;
    if (local->running)
        return;
    local->running = true;
    while ((conn = mf_server_sm_pop_ready(local->sm)) != NULL)
        carry(local, mf_server_conn_user(conn));
    local->running = false;
    mf_timer_set(local->timer, mf_server_sm_next_ns(local->sm));
}

static void link_connect(struct mf_client_shell *shell)
{
    struct local_client *client = client_of(shell);
    struct mf_store_local *local = client->local;
    uint64_t now = mf_now_ns(local->env);
    if (mf_server_sm_open(local->sm, now, "this process", client, &client->conn) == SMEM_OK)
        mf_client_sm_connected(shell->sm, now);
    else
        mf_client_sm_closed(shell->sm, now, mf_err_msg());
}

static void link_disconnect(struct mf_client_shell *shell)
{
    disconnect(client_of(shell));
    run(client_of(shell)->local); /* the end of its session is news for others */
}

static size_t link_write(struct mf_client_shell *shell, const uint8_t *data, size_t len)
{
    struct local_client *client = client_of(shell);
    if (client->conn == NULL)
        return 0;
    mf_server_sm_bytes(client->local->sm, mf_now_ns(client->local->env), client->conn, data, len);
    return len;
}

static void link_flush(struct mf_client_shell *shell)
{
    run(client_of(shell)->local);
}

static void link_destroy(struct mf_client_shell *shell)
{
    mf_free(client_of(shell));
}

static const struct mf_client_link_ops local_link = {
    .connect = link_connect,
    .disconnect = link_disconnect,
    .write = link_write,
    .flush = link_flush,
    .destroy = link_destroy,
};

static int local_set_url(struct mf_store *store, const char *url, bool now)
{
    (void)store;
    (void)now;
    return mf_err(SMEM_INVALID_PARAM,
                  "set store URL \"%.120s\": the store is inside this process and has no address",
                  url);
}

static const struct mf_store_ops local_ops = {
    .name = "local",
    .submit = mf_client_shell_submit,
    .watch = mf_client_shell_watch,
    .unwatch = mf_client_shell_unwatch,
    .set_url = local_set_url,
    .close = mf_client_shell_close,
};

int mf_store_open_local(const struct mf_store_cfg *cfg, struct mf_store_local *local,
                        uint64_t deadline_ns, struct mf_store **out)
{
    *out = NULL;
    if (cfg->loop != local->loop)
        return mf_err(SMEM_INVALID_PARAM, "open local store: the client has another loop than it");
    struct local_client *client = mf_calloc(1, sizeof(*client), "store client");
    if (client == NULL)
        return SMEM_MALLOC_FAILED;
    client->local = local;
    int rc = mf_client_shell_init(&client->shell, cfg, &local_ops, &local_link, "local");
    if (rc != SMEM_OK)
        goto free_client;
    rc = mf_client_shell_start(&client->shell, "local", deadline_ns);
    if (rc != SMEM_OK) {
        mf_client_shell_fini(&client->shell);
        goto free_client;
    }
    *out = &client->shell.base;
    return SMEM_OK;
free_client:
    mf_free(client);
    return rc;
}

static void on_timer(void *arg)
{
    struct mf_store_local *local = arg;
    mf_server_sm_tick(local->sm, mf_now_ns(local->env));
    run(local);
}

int mf_store_local_create(const struct mf_env *env, struct mf_loop *loop,
                          struct mf_store_local **out)
{
    struct mf_server_sm_cfg cfg;
    *out = NULL;
    struct mf_store_local *local = mf_calloc(1, sizeof(*local), "local store");
    if (local == NULL)
        return SMEM_MALLOC_FAILED;
    local->env = env;
    local->loop = loop;
    mf_server_sm_cfg_init(&cfg, env);
    int rc = mf_server_sm_create(&cfg, mf_now_ns(env), &local->sm);
    if (rc != SMEM_OK)
        goto free_local;
    rc = mf_timer_create(loop, on_timer, local, &local->timer);
    if (rc != SMEM_OK)
        goto destroy_sm;
    *out = local;
    return SMEM_OK;
destroy_sm:
    mf_server_sm_destroy(local->sm);
free_local:
    mf_free(local);
    return rc;
}

struct status_arg {
    struct mf_store_local *local;
    struct mf_store_server_status *out;
};

static void status_on_loop(void *arg)
{
    const struct status_arg *in = arg;
    mf_server_sm_get_status(in->local->sm, in->out);
    in->out->recovering = mf_server_sm_recovering(in->local->sm, mf_now_ns(in->local->env));
}

void mf_store_local_get_status(struct mf_store_local *local, struct mf_store_server_status *out)
{
    struct status_arg in = {.local = local, .out = out};
    mf_loop_call(local->loop, status_on_loop, &in);
}

static void stop_on_loop(void *arg)
{
    struct mf_store_local *local = arg;
    mf_timer_destroy(local->timer);
}

void mf_store_local_destroy(struct mf_store_local *local)
{
    if (local == NULL)
        return;
    mf_loop_call(local->loop, stop_on_loop, local);
    mf_server_sm_destroy(local->sm);
    mf_free(local);
}
