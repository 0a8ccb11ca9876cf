// SPDX-License-Identifier: Apache-2.0
// The shell around a client state machine: brings requests of any thread to the loop's thread,
// keeps the timer, and lets open and close wait.
#include "store/client_shell.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "store/client_priv.h"

static struct mf_client_shell *shell_of(struct mf_store *store)
{
    return (struct mf_client_shell *)store; /* base is the first member */
}

static void publish_phase(struct mf_client_shell *shell)
{
    enum mf_client_state phase = mf_client_sm_state(shell->sm);
    if (phase == shell->phase) /* written by this thread alone */
        return;
    mf_mutex_lock(&shell->lock);
    shell->phase = phase;
    shell->expired = mf_client_sm_expired(shell->sm);
    mf_cond_broadcast(&shell->cond);
    mf_mutex_unlock(&shell->lock);
}

void mf_client_shell_pump(struct mf_client_shell *shell)
{
    const uint8_t *data;
    if (shell->pumping) /* a callback submits: the pump that runs takes it along */
        return;
    shell->pumping = true;
    for (;;) {
        uint64_t now = mf_now_ns(shell->base.env);
        enum mf_client_want want = mf_client_sm_want(shell->sm, now);
        if (want == MF_CLIENT_DISCONNECT) {
            shell->link->disconnect(shell);
            mf_client_sm_closed(shell->sm, now, NULL);
            continue;
        }
        if (want == MF_CLIENT_CONNECT) {
            mf_client_sm_connecting(shell->sm, now);
            shell->link->connect(shell);
            continue;
        }
        size_t len = mf_client_sm_output(shell->sm, &data);
        size_t sent = len > 0 ? shell->link->write(shell, data, len) : 0;
        if (sent == 0)
            break;
        mf_client_sm_sent(shell->sm, now, sent);
    }
    shell->pumping = false;
    publish_phase(shell);
    mf_timer_set(shell->timer, mf_client_sm_next_ns(shell->sm));
    if (shell->link->flush != NULL)
        shell->link->flush(shell);
}

static void on_timer(void *arg)
{
    struct mf_client_shell *shell = arg;
    mf_client_sm_tick(shell->sm, mf_now_ns(shell->base.env));
    mf_client_shell_pump(shell);
}

int mf_client_shell_init(struct mf_client_shell *shell, const struct mf_store_cfg *cfg,
                         const struct mf_store_ops *ops, const struct mf_client_link_ops *link,
                         const char *addr)
{
    struct mf_client_sm_cfg sm_cfg = {.env = cfg->env,
                                      .session_id = cfg->session_id,
                                      .session_ms = cfg->session_ms,
                                      .on_session = cfg->on_session,
                                      .on_session_arg = cfg->on_session_arg,
                                      .addr = addr};
    if (cfg->session_id == 0)
        return mf_err(SMEM_INVALID_PARAM, "open store %s: the session id is 0", addr);
    if (mf_loop_is_current(cfg->loop))
        return mf_err(SMEM_INVALID_PARAM, "open store %s: called on the loop's own thread", addr);
    int rc = mf_client_sm_create(&sm_cfg, mf_now_ns(cfg->env), &shell->sm);
    if (rc != SMEM_OK)
        return rc;
    rc = mf_timer_create(cfg->loop, on_timer, shell, &shell->timer);
    if (rc != SMEM_OK) {
        mf_client_sm_destroy(shell->sm);
        return rc;
    }
    shell->base = (struct mf_store){.ops = ops,
                                    .env = cfg->env,
                                    .loop = cfg->loop,
                                    .trace = cfg->trace,
                                    .request_ms = cfg->request_ms};
    shell->link = link;
    shell->phase = MF_CLIENT_DOWN;
    mf_mutex_init(&shell->lock, MF_RANK_STORE);
    mf_cond_init(&shell->cond);
    return SMEM_OK;
}

static void teardown_on_loop(void *arg)
{
    struct mf_client_shell *shell = arg;
    mf_timer_destroy(shell->timer);
    shell->link->disconnect(shell);
    shell->pumping = true; /* callbacks of what is cut short start nothing any more */
    mf_client_sm_destroy(shell->sm);
    shell->sm = NULL;
}

void mf_client_shell_fini(struct mf_client_shell *shell)
{
    mf_loop_call(shell->base.loop, teardown_on_loop, shell);
    mf_cond_fini(&shell->cond);
    mf_mutex_fini(&shell->lock);
}

static void pump_on_loop(void *arg)
{
    mf_client_shell_pump(arg);
}

struct why_arg {
    struct mf_client_shell *shell;
    char why[512];
};

static void why_on_loop(void *arg)
{
    struct why_arg *out = arg;
    snprintf(out->why, sizeof(out->why), "%s", mf_client_sm_why(out->shell->sm));
}

int mf_client_shell_start(struct mf_client_shell *shell, const char *addr, uint64_t deadline_ns)
{
    uint64_t begin = mf_now_ns(shell->base.env);
    int rc = mf_loop_call(shell->base.loop, pump_on_loop, shell);
    if (rc != SMEM_OK)
        return rc;
    mf_mutex_lock(&shell->lock);
    while (shell->phase != MF_CLIENT_OPEN && shell->phase != MF_CLIENT_CLOSED &&
           mf_cond_wait(&shell->cond, &shell->lock, deadline_ns)) {
    }
    bool open = shell->phase == MF_CLIENT_OPEN;
    mf_mutex_unlock(&shell->lock);
    if (open)
        return SMEM_OK;
    struct why_arg out = {.shell = shell};
    mf_loop_call(shell->base.loop, why_on_loop, &out);
    uint64_t ms = (mf_now_ns(shell->base.env) - begin) / MF_NS_PER_MS;
    return mf_err(SMEM_NOT_CONNECTED, "open store %s: no session within %llu ms: %s", addr,
                  (unsigned long long)ms, out.why[0] != '\0' ? out.why : "still connecting");
}

/* ---- operations, from any thread --------------------------------------------------------------
 */

static void submit_on_loop(void *arg)
{
    struct mf_client_req *req = arg;
    struct mf_client_shell *shell = req->shell;
    mf_client_sm_submit(shell->sm, mf_now_ns(shell->base.env), req);
    mf_client_shell_pump(shell);
}

int mf_client_shell_submit(struct mf_store *store, const struct mf_store_req *in,
                           mf_store_done_fn done, void *arg)
{
    struct mf_client_shell *shell = shell_of(store);
    struct mf_store_req copy = *in;
    struct mf_client_req *req;
    if (copy.deadline_ns == 0)
        copy.deadline_ns = mf_deadline_ns(store->env, store->request_ms);
    if (atomic_fetch_add(&shell->open_requests, 1) >= MF_STORE_INFLIGHT_MAX) {
        atomic_fetch_sub(&shell->open_requests, 1);
        return mf_err(SMEM_NO_RESOURCES, "store request: %u of this client are not answered yet",
                      MF_STORE_INFLIGHT_MAX);
    }
    int rc = mf_client_req_create(&copy, done, arg, &req);
    if (rc != SMEM_OK) {
        atomic_fetch_sub(&shell->open_requests, 1);
        return rc;
    }
    req->shell = shell;
    req->open = &shell->open_requests;
    if (mf_loop_is_current(store->loop)) {
        submit_on_loop(req);
        return SMEM_OK;
    }
    rc = mf_loop_post(store->loop, submit_on_loop, req);
    if (rc != SMEM_OK)
        mf_client_req_destroy(req);
    return rc;
}

static void watch_on_loop(void *arg)
{
    struct mf_client_watch *watch = arg;
    struct mf_client_shell *shell = watch->shell;
    mf_client_sm_watch(shell->sm, mf_now_ns(shell->base.env), watch);
    mf_client_shell_pump(shell);
}

int mf_client_shell_watch(struct mf_store *store, const char *prefix, mf_watch_fn fn, void *arg,
                          uint32_t *id)
{
    struct mf_client_shell *shell = shell_of(store);
    struct mf_client_watch *watch;
    if (atomic_fetch_add(&shell->open_watches, 1) >= MF_STORE_WATCHES_MAX) {
        atomic_fetch_sub(&shell->open_watches, 1);
        return mf_err(SMEM_NO_RESOURCES, "watch \"%.80s\": this client has %u watches, the limit",
                      prefix, MF_STORE_WATCHES_MAX);
    }
    uint32_t number = atomic_fetch_add(&shell->next_watch, 1) | MF_CLIENT_WATCH_BIT;
    int rc = mf_client_watch_create(prefix, number, fn, arg, &watch);
    if (rc == SMEM_OK) {
        watch->shell = shell;
        *id = number;
        if (mf_loop_is_current(store->loop)) {
            watch_on_loop(watch);
            return SMEM_OK;
        }
        rc = mf_loop_post(store->loop, watch_on_loop, watch);
        if (rc == SMEM_OK)
            return SMEM_OK;
        mf_free(watch);
    }
    atomic_fetch_sub(&shell->open_watches, 1);
    return rc;
}

struct unwatch_arg {
    struct mf_client_shell *shell;
    uint32_t id;
    int rc;
    struct mf_err_rec err;
};

static void unwatch_on_loop(void *arg)
{
    struct unwatch_arg *in = arg;
    in->rc = mf_client_sm_unwatch(in->shell->sm, in->id);
    if (in->rc != SMEM_OK)
        mf_err_save(&in->err);
    mf_client_shell_pump(in->shell);
}

int mf_client_shell_unwatch(struct mf_store *store, uint32_t id)
{
    struct unwatch_arg in = {.shell = shell_of(store), .id = id};
    int rc = mf_loop_call(store->loop, unwatch_on_loop, &in);
    if (rc != SMEM_OK)
        return rc;
    if (in.rc == SMEM_OK)
        atomic_fetch_sub(&in.shell->open_watches, 1);
    else
        mf_err_restore(&in.err);
    return in.rc;
}

static void close_on_loop(void *arg)
{
    struct mf_client_shell *shell = arg;
    mf_client_sm_close(shell->sm, mf_now_ns(shell->base.env));
    mf_client_shell_pump(shell);
}

void mf_client_shell_close(struct mf_store *store, uint64_t deadline_ns)
{
    struct mf_client_shell *shell = shell_of(store);
    const struct mf_client_link_ops *link = shell->link;
    mf_loop_call(store->loop, close_on_loop, shell);
    mf_mutex_lock(&shell->lock);
    while (shell->phase != MF_CLIENT_CLOSED &&
           mf_cond_wait(&shell->cond, &shell->lock, deadline_ns)) {
    }
    mf_mutex_unlock(&shell->lock);
    mf_client_shell_fini(shell);
    link->destroy(shell);
}
