// SPDX-License-Identifier: Apache-2.0
// The store client's connection and session: connecting with a growing pause, HELLO, heartbeats
// both ways, what happens when the connection breaks, and the end of the session.
#include "store/client_sm.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/mutant.h"
#include "store/client_priv.h"

/* Pauses between attempts. The longest is well below the time for which a store that was started
 * again waits for those who were there before (option store.settle_ms). */
#define BACKOFF_MIN_MS 20u
#define BACKOFF_MAX_MS 100u
#define CONNECT_MS     2000u /* one attempt, until the session is granted */

int mf_client_sm_create(const struct mf_client_sm_cfg *cfg, uint64_t now_ns,
                        struct mf_client_sm **out)
{
    *out = NULL;
    struct mf_client_sm *sm = mf_calloc(1, sizeof(*sm), "store client");
    if (sm == NULL)
        return SMEM_MALLOC_FAILED;
    sm->cfg = *cfg;
    snprintf(sm->addr, sizeof(sm->addr), "%s", cfg->addr);
    sm->cfg.addr = NULL; /* the copy counts */
    sm->state = MF_CLIENT_DOWN;
    sm->retry_ns = now_ns;
    sm->backoff_ms = BACKOFF_MIN_MS;
    sm->req_next_ns = UINT64_MAX;
    mf_framer_init(&sm->in, MF_FRAME_MAX);
    mf_outq_init(&sm->out, MF_STORE_QUEUE_MAX);
    *out = sm;
    return SMEM_OK;
}

void mf_client_sm_destroy(struct mf_client_sm *sm)
{
    if (sm == NULL)
        return;
    sm->state = MF_CLIENT_CLOSED;
    snprintf(sm->why, sizeof(sm->why), "the store client was closed");
    mf_cl_req_fail_all(sm, "the store client was closed");
    mf_cl_watch_free_all(sm);
    mf_cl_eph_free_all(sm);
    mf_framer_fini(&sm->in);
    mf_outq_fini(&sm->out);
    mf_free(sm);
}

static void tell_session(struct mf_client_sm *sm, enum mf_session_state state, const char *why)
{
    if (sm->cfg.on_session != NULL)
        sm->cfg.on_session(sm->cfg.on_session_arg, state, why);
}

static void set_why(struct mf_client_sm *sm, const char *why)
{
    if (why != sm->why)
        snprintf(sm->why, sizeof(sm->why), "%.500s", why);
}

static bool connected(const struct mf_client_sm *sm)
{
    return sm->state == MF_CLIENT_HELLO || sm->state == MF_CLIENT_OPEN ||
           sm->state == MF_CLIENT_CLOSING;
}

void mf_cl_drop(struct mf_client_sm *sm, const char *why)
{
    if (sm->drop)
        return;
    sm->drop = true;
    set_why(sm, why);
}

/* ---- output -----------------------------------------------------------------------------------
 */

void mf_cl_begin(struct mf_client_sm *sm, uint8_t type, struct mf_wr *wr)
{
    mf_outq_begin(&sm->out, type, wr);
}

bool mf_cl_end(struct mf_client_sm *sm, struct mf_wr *wr)
{
    if (mf_outq_end(&sm->out, wr) != SMEM_OK) {
        mf_cl_drop(sm, mf_err_msg());
        return false;
    }
    sm->stream_queued += sm->out.buf.len - sm->out.open;
    return true;
}

size_t mf_client_sm_output(const struct mf_client_sm *sm, const uint8_t **data)
{
    *data = NULL;
    return connected(sm) && !sm->drop ? mf_outq_peek(&sm->out, data) : 0;
}

void mf_client_sm_sent(struct mf_client_sm *sm, uint64_t now_ns, size_t len)
{
    (void)now_ns;
    sm->stream_sent += len;
    mf_outq_sent(&sm->out, len);
    mf_cl_req_push(sm);
}

static void send_empty(struct mf_client_sm *sm, uint8_t type)
{
    struct mf_wr wr;
    mf_cl_begin(sm, type, &wr);
    mf_cl_end(sm, &wr);
}

/* ---- the session ------------------------------------------------------------------------------
 */

void mf_cl_expire(struct mf_client_sm *sm, const char *why)
{
    if (sm->state == MF_CLIENT_CLOSED)
        return;
    mf_cl_drop(sm, why);
    set_why(sm, why);
    sm->expired = true;
}

/* A connection that just breaks would be this rank's death for whoever is still there. */
static void begin_move(struct mf_client_sm *sm, uint64_t now_ns)
{
    send_empty(sm, MF_SMSG_MOVE);
    sm->moving = true;
    sm->move_on = false;
    sm->state = MF_CLIENT_CLOSING;
    sm->limit_ns = now_ns + CONNECT_MS * MF_NS_PER_MS;
}

static void on_welcome(struct mf_client_sm *sm, uint64_t now_ns, const uint8_t *body, size_t len)
{
    struct mf_smsg_welcome welcome;
    if (sm->state != MF_CLIENT_HELLO || mf_smsg_get_welcome(body, len, &welcome) != SMEM_OK) {
        mf_cl_drop(sm, "the store sent a WELCOME that is malformed or out of turn");
        return;
    }
    /* The same life of the store has kept the session when it moved, or when the store itself had
     * not run for a while and this client left it for that. */
    if ((sm->boot_id != 0) != (welcome.restored != 0)) {
        mf_cl_drop(sm, "the store granted another session than the one asked for");
        return;
    }
    sm->boot_id = welcome.boot_id;
    sm->moving = false;
    sm->state = MF_CLIENT_OPEN;
    sm->backoff_ms = BACKOFF_MIN_MS;
    sm->beat_ns = now_ns;
    sm->why[0] = '\0';
    mf_cl_announce_all(sm);
    mf_cl_watch_send_all(sm);
    mf_cl_req_push(sm);
    tell_session(sm, MF_SESSION_OK, "");
    if (sm->move_on && !sm->drop)
        begin_move(sm, now_ns);
}

static void on_goodbye(struct mf_client_sm *sm, const uint8_t *body, size_t len)
{
    struct mf_smsg_goodbye bye;
    char text[MF_SMSG_TEXT_MAX];
    if (mf_smsg_get_goodbye(body, len, &bye, text) != SMEM_OK)
        mf_cl_drop(sm, mf_err_msg());
    else if (bye.why == MF_SMSG_WHY_EXPIRED)
        mf_cl_expire(sm, text);
    else
        mf_cl_drop(sm, text);
}

struct feed_arg {
    struct mf_client_sm *sm;
    uint64_t now_ns;
};

static bool on_frame(void *arg, uint8_t type, const uint8_t *body, size_t len)
{
    const struct feed_arg *feed = arg;
    struct mf_client_sm *sm = feed->sm;
    if (type == MF_SMSG_WELCOME) {
        on_welcome(sm, feed->now_ns, body, len);
    } else if (type == MF_SMSG_GOODBYE) {
        on_goodbye(sm, body, len);
    } else if (sm->state == MF_CLIENT_HELLO) {
        mf_cl_drop(sm, "the store answered HELLO with something else");
    } else {
        switch (type) {
        case MF_SMSG_HEARTBEAT:
            break;
        case MF_SMSG_REPLY:
            mf_cl_req_reply(sm, body, len);
            break;
        case MF_SMSG_PART:
            mf_cl_req_part(sm, body, len);
            break;
        case MF_SMSG_SYNC:
            mf_cl_watch_sync(sm, body, len);
            break;
        case MF_SMSG_EVENTS:
            mf_cl_watch_events(sm, body, len);
            break;
        default:
            mf_cl_drop(sm, "the store sent a message of an unknown type");
            break;
        }
    }
    return !sm->drop;
}

void mf_client_sm_bytes(struct mf_client_sm *sm, uint64_t now_ns, const void *data, size_t len)
{
    struct feed_arg feed = {.sm = sm, .now_ns = now_ns};
    if (!connected(sm) || sm->drop)
        return;
    sm->heard_ns = now_ns;
    if (mf_framer_feed(&sm->in, data, len, on_frame, &feed) != SMEM_OK)
        mf_cl_drop(sm, mf_err_msg());
}

/* ---- the connection ---------------------------------------------------------------------------
 */

enum mf_client_want mf_client_sm_want(const struct mf_client_sm *sm, uint64_t now_ns)
{
    if (sm->drop && sm->state != MF_CLIENT_DOWN && sm->state != MF_CLIENT_CLOSED)
        return MF_CLIENT_DISCONNECT;
    if (sm->state == MF_CLIENT_DOWN && now_ns >= sm->retry_ns)
        return MF_CLIENT_CONNECT;
    return MF_CLIENT_NOTHING;
}

void mf_client_sm_connecting(struct mf_client_sm *sm, uint64_t now_ns)
{
    sm->state = MF_CLIENT_CONNECTING;
    sm->drop = false;
    sm->limit_ns = now_ns + CONNECT_MS * MF_NS_PER_MS;
}

void mf_client_sm_connected(struct mf_client_sm *sm, uint64_t now_ns)
{
    struct mf_wr wr;
    sm->state = MF_CLIENT_HELLO;
    sm->heard_ns = now_ns;
    sm->stream_queued = 0;
    sm->stream_sent = 0;
    mf_framer_reset(&sm->in);
    mf_item_prev_reset(&sm->last);
    mf_outq_clear(&sm->out);
    mf_cl_begin(sm, MF_SMSG_HELLO, &wr);
    mf_smsg_put_hello(&wr, &(struct mf_smsg_hello){.session_id = sm->cfg.session_id,
                                                   .prev_boot = sm->boot_id,
                                                   .session_ms = sm->cfg.session_ms});
    mf_cl_end(sm, &wr);
}

/* The next attempt: between half of the pause and all of it, so that many do not come at once. */
static void schedule_retry(struct mf_client_sm *sm, uint64_t now_ns)
{
    uint64_t span = sm->backoff_ms * MF_NS_PER_MS / 2;
    sm->retry_ns = now_ns + span + mf_random_u64(sm->cfg.env) % span;
    sm->backoff_ms = sm->backoff_ms * 2 < BACKOFF_MAX_MS ? sm->backoff_ms * 2 : BACKOFF_MAX_MS;
}

void mf_client_sm_closed(struct mf_client_sm *sm, uint64_t now_ns, const char *why)
{
    bool was_open = sm->state == MF_CLIENT_OPEN || sm->state == MF_CLIENT_CLOSING;
    if (sm->state == MF_CLIENT_DOWN || sm->state == MF_CLIENT_CLOSED)
        return;
    if (!sm->drop) /* a drop has set its own reason */
        set_why(sm, why != NULL ? why : "the store closed the connection");
    sm->drop = false;
    sm->move_on = false;
    sm->state = sm->closing || sm->expired ? MF_CLIENT_CLOSED : MF_CLIENT_DOWN;
    mf_framer_reset(&sm->in);
    if (MF_MUTANT(CUT_LEAK) && !sm->closing)
        mf_outq_init(&sm->out, MF_STORE_QUEUE_MAX);
    mf_outq_clear(&sm->out);
    if (sm->state == MF_CLIENT_DOWN)
        schedule_retry(sm, now_ns);
    if (sm->moving && was_open)
        sm->retry_ns = now_ns;
    mf_log(sm->cfg.env->log, MF_LOG_INFO, "store", "no connection to store %s: %s", sm->addr,
           sm->why);
    if (sm->state == MF_CLIENT_CLOSED)
        mf_cl_req_fail_all(sm, sm->why);
    else if (was_open)
        mf_cl_req_lost(sm);
    if (was_open)
        mf_cl_watch_lost(sm);
    if (sm->expired)
        tell_session(sm, MF_SESSION_EXPIRED, sm->why);
    else if (was_open && !sm->closing)
        tell_session(sm, MF_SESSION_LOST, sm->why);
}

/* Two of them fit into a session, and as few wake-ups as that allows. */
static uint64_t beat_every_ns(const struct mf_client_sm *sm)
{
    return sm->cfg.session_ms * MF_NS_PER_MS * 9 / 20;
}

/* When the connection is given up unless something is heard. */
static uint64_t silence_ns(const struct mf_client_sm *sm)
{
    return sm->heard_ns + sm->cfg.session_ms * MF_NS_PER_MS;
}

void mf_client_sm_tick(struct mf_client_sm *sm, uint64_t now_ns)
{
    char why[128];
    mf_cl_req_tick(sm, now_ns);
    if (sm->drop)
        return;
    if (sm->state == MF_CLIENT_OPEN && now_ns >= silence_ns(sm)) {
        snprintf(why, sizeof(why), "the store was silent for %u ms", sm->cfg.session_ms);
        mf_cl_drop(sm, why);
    } else if (sm->state == MF_CLIENT_OPEN && now_ns >= sm->beat_ns + beat_every_ns(sm)) {
        sm->beat_ns = now_ns;
        send_empty(sm, MF_SMSG_HEARTBEAT);
    } else if (sm->state == MF_CLIENT_CONNECTING && now_ns >= sm->limit_ns) {
        mf_cl_drop(sm, "no connection after 2 s");
    } else if (sm->state == MF_CLIENT_HELLO && now_ns >= sm->limit_ns) {
        mf_cl_drop(sm, "connected, but no answer to HELLO: is this a store?");
    } else if (sm->state == MF_CLIENT_CLOSING && now_ns >= sm->limit_ns) {
        mf_cl_drop(sm, "closed without the store's answer");
    }
}

uint64_t mf_client_sm_next_ns(const struct mf_client_sm *sm)
{
    uint64_t next = sm->req_next_ns;
    uint64_t own = UINT64_MAX;
    if (sm->state == MF_CLIENT_DOWN) {
        own = sm->retry_ns;
    } else if (sm->state == MF_CLIENT_OPEN) {
        own = sm->beat_ns + beat_every_ns(sm);
        if (silence_ns(sm) < own)
            own = silence_ns(sm);
    } else if (sm->state != MF_CLIENT_CLOSED) {
        own = sm->limit_ns;
    }
    return own < next ? own : next;
}

void mf_client_sm_set_addr(struct mf_client_sm *sm, const char *addr, bool now, uint64_t now_ns)
{
    snprintf(sm->addr, sizeof(sm->addr), "%s", addr);
    if (now && sm->state == MF_CLIENT_OPEN && !sm->drop) {
        begin_move(sm, now_ns);
    } else if (now && sm->state == MF_CLIENT_HELLO) {
        sm->move_on = true; /* the session may live on this connection by now */
    } else if (now && sm->state == MF_CLIENT_CONNECTING) {
        mf_cl_drop(sm, "another store address was set");
    }
}

void mf_client_sm_close(struct mf_client_sm *sm, uint64_t now_ns)
{
    if (sm->closing || sm->state == MF_CLIENT_CLOSED)
        return;
    sm->closing = true;
    if (sm->state == MF_CLIENT_OPEN && !sm->drop) {
        send_empty(sm, MF_SMSG_CLOSE);
        sm->state = MF_CLIENT_CLOSING;
        sm->limit_ns = now_ns + CONNECT_MS * MF_NS_PER_MS;
    } else if (sm->state == MF_CLIENT_DOWN) {
        sm->state = MF_CLIENT_CLOSED;
        mf_cl_req_fail_all(sm, "the store client was closed");
    } else {
        mf_cl_drop(sm, "the store client was closed");
    }
}

enum mf_client_state mf_client_sm_state(const struct mf_client_sm *sm)
{
    return sm->state;
}

bool mf_client_sm_expired(const struct mf_client_sm *sm)
{
    return sm->expired;
}

const char *mf_client_sm_why(const struct mf_client_sm *sm)
{
    return sm->why;
}
