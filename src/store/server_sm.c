// SPDX-License-Identifier: Apache-2.0
// The store server's connections, sessions and time. A session lives on exactly one connection;
// when it ends, its watches and waiting requests go first and its ephemeral keys after them, so
// that it hears nothing of its own end. Connections are freed in mf_server_sm_closed; one whose
// session has moved away stays behind it, without a connection, until the session is back or
// expires.
#include "store/server_sm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "store/server_priv.h"

#define SESSION_MS_MIN 10u
#define SESSION_MS_MAX 3600000u
/* A tick that comes later than this finds that this thread did not run, and that what clients have
 * said may not have been read yet; they get so much more time, once. */
#define LATE_NS    (5 * MF_NS_PER_MS)
#define FORGIVE_NS (500 * MF_NS_PER_MS)
/* How long a session that has moved may stay away: another store may be this one under another
 * address, and ranks do not move all at once. */
#define AWAY_MS 30000u
/* After this thread did not run for a while: how long connections that close may be those of
 * clients that gave up waiting for it, and are about to come back. */
#define LATE_AFTER_NS MF_NS_PER_S
/* The end of a recovery that is so late was not late by load. */
#define STOPPED_NS (100 * MF_NS_PER_MS)

void mf_server_sm_cfg_init(struct mf_server_sm_cfg *cfg, const struct mf_env *env)
{
    *cfg = (struct mf_server_sm_cfg){.env = env,
                                     .hello_ms = MF_STORE_HELLO_MS,
                                     .conns_max = MF_STORE_CONNS_MAX,
                                     .keys_max = MF_STORE_KEYS_MAX,
                                     .bytes_max = MF_STORE_BYTES_MAX,
                                     .queue_max = MF_STORE_QUEUE_MAX};
}

int mf_server_sm_create(const struct mf_server_sm_cfg *cfg, uint64_t now_ns,
                        struct mf_server_sm **out)
{
    *out = NULL;
    struct mf_server_sm *sm = mf_calloc(1, sizeof(*sm), "store server");
    if (sm == NULL)
        return SMEM_MALLOC_FAILED;
    sm->cfg = *cfg;
    sm->boot_id = mf_random_u64(cfg->env);
    sm->boot_ns = now_ns;
    sm->ran_ns = now_ns;
    sm->recovering = cfg->settle_ms > 0;
    sm->recover_until = now_ns + cfg->settle_ms * MF_NS_PER_MS;
    sm->next_ns = cfg->settle_ms > 0 ? sm->recover_until : UINT64_MAX;
    mf_kv_init(&sm->kv, mf_random_u64(cfg->env), cfg->keys_max, cfg->bytes_max);
    mf_tree_init(&sm->sessions, mf_random_u64(cfg->env));
    mf_tree_init(&sm->watched, mf_random_u64(cfg->env));
    mf_tree_init(&sm->awaited, mf_random_u64(cfg->env));
    mf_buf_init(&sm->scratch, MF_FRAME_MAX);
    *out = sm;
    return SMEM_OK;
}

static void free_conn(struct mf_server_conn *conn)
{
    struct mf_server_sm *sm = conn->sm;
    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        sm->conns = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    mf_framer_fini(&conn->in);
    mf_outq_fini(&conn->out);
    mf_free(conn);
}

static void free_away(struct mf_server_conn *conn)
{
    if (conn->session)
        mf_tree_remove(&conn->sm->sessions, &conn->session_node);
    while (conn->owner.owned != NULL)
        mf_kv_give(conn->owner.owned, NULL);
    free_conn(conn);
}

void mf_server_sm_destroy(struct mf_server_sm *sm)
{
    if (sm == NULL)
        return;
    while (sm->conns != NULL && sm->conns->state == CONN_AWAY)
        free_away(sm->conns);
    MF_ASSERT(sm->conns == NULL);
    mf_kv_fini(&sm->kv);
    mf_buf_fini(&sm->scratch);
    mf_free(sm);
}

/* ---- output -----------------------------------------------------------------------------------
 */

void mf_srv_mark_ready(struct mf_server_conn *conn)
{
    struct mf_server_sm *sm = conn->sm;
    if (conn->ready)
        return;
    conn->ready = true;
    conn->ready_next = NULL;
    if (sm->ready_tail != NULL)
        sm->ready_tail->ready_next = conn;
    else
        sm->ready_head = conn;
    sm->ready_tail = conn;
}

struct mf_server_conn *mf_server_sm_pop_ready(struct mf_server_sm *sm)
{
    struct mf_server_conn *conn = sm->ready_head;
    if (conn == NULL)
        return NULL;
    sm->ready_head = conn->ready_next;
    if (sm->ready_head == NULL)
        sm->ready_tail = NULL;
    if (sm->asked_tail == conn)
        sm->asked_tail = NULL;
    conn->ready = false;
    conn->asked = false;
    return conn;
}

bool mf_server_sm_has_asked(const struct mf_server_sm *sm)
{
    return sm->asked_tail != NULL;
}

static void unready(struct mf_server_conn *conn)
{
    struct mf_server_sm *sm = conn->sm;
    struct mf_server_conn *before = NULL;
    if (!conn->ready)
        return;
    for (struct mf_server_conn *at = sm->ready_head; at != conn; at = at->ready_next)
        before = at;
    if (before != NULL)
        before->ready_next = conn->ready_next;
    else
        sm->ready_head = conn->ready_next;
    if (sm->ready_tail == conn)
        sm->ready_tail = before;
    if (sm->asked_tail == conn)
        sm->asked_tail = before; /* those who asked stand in front, one behind the other */
    conn->ready = false;
    conn->asked = false;
}

/* Who asks is answered before others are told what comes of it, in the order of asking. */
static void mark_asked(struct mf_server_conn *conn)
{
    struct mf_server_sm *sm = conn->sm;
    if (conn->asked)
        return;
    unready(conn);
    conn->ready = true;
    conn->asked = true;
    if (sm->asked_tail != NULL) {
        conn->ready_next = sm->asked_tail->ready_next;
        sm->asked_tail->ready_next = conn;
    } else {
        conn->ready_next = sm->ready_head;
        sm->ready_head = conn;
    }
    if (conn->ready_next == NULL)
        sm->ready_tail = conn;
    sm->asked_tail = conn;
}

void mf_srv_cut(struct mf_server_conn *conn, const char *why)
{
    if (conn->state == CONN_CUT)
        return;
    mf_log(conn->sm->cfg.env->log, MF_LOG_WARN, "store", "cutting off client %s: %s", conn->peer,
           why);
    conn->state = CONN_CUT;
    mf_srv_mark_ready(conn);
}

void mf_srv_send_begin(struct mf_server_conn *conn, uint8_t type, struct mf_wr *wr)
{
    conn->events_open = false;
    if (conn->state == CONN_CUT || conn->state == CONN_FLUSH) { /* nothing more goes there */
        mf_wr_init(wr, &conn->out.buf);
        wr->rc = SMEM_NOT_CONNECTED;
        return;
    }
    mf_outq_begin(&conn->out, type, wr);
}

void mf_srv_send_end(struct mf_server_conn *conn, struct mf_wr *wr)
{
    if (conn->state == CONN_CUT || conn->state == CONN_FLUSH)
        return;
    if (mf_outq_end(&conn->out, wr) == SMEM_OK) {
        mf_srv_mark_ready(conn);
        return;
    }
    char why[MF_ERR_MSG_MAX];
    snprintf(why, sizeof(why), "%zu bytes are queued to it: %.900s", conn->out.buf.len,
             mf_err_msg());
    mf_srv_cut(conn, why);
}

/* Say why, then close as soon as that is sent. */
static void say_goodbye(struct mf_server_conn *conn, enum mf_smsg_why why, int rc, const char *msg)
{
    struct mf_wr wr;
    mf_srv_send_begin(conn, MF_SMSG_GOODBYE, &wr);
    mf_smsg_put_goodbye(&wr, &(struct mf_smsg_goodbye){.why = (uint8_t)why, .rc = rc, .msg = msg});
    mf_srv_send_end(conn, &wr);
    if (conn->state != CONN_CUT)
        conn->state = CONN_FLUSH;
}

void *mf_server_conn_user(const struct mf_server_conn *conn)
{
    return conn->user;
}

size_t mf_server_conn_output(const struct mf_server_conn *conn, const uint8_t **data)
{
    return mf_outq_peek(&conn->out, data);
}

void mf_server_conn_sent(struct mf_server_conn *conn, size_t len)
{
    conn->events_open = false;
    conn->sm->bytes_out += len;
    mf_outq_sent(&conn->out, len);
}

enum mf_conn_want mf_server_conn_want(const struct mf_server_conn *conn)
{
    if (conn->state == CONN_CUT)
        return MF_CONN_CLOSE;
    return conn->state == CONN_FLUSH ? MF_CONN_FLUSH_CLOSE : MF_CONN_KEEP;
}

/* ---- sessions ---------------------------------------------------------------------------------
 */

bool mf_server_sm_recovering(const struct mf_server_sm *sm, uint64_t now_ns)
{
    (void)now_ns; /* it is over when a tick says so, which knows whether this thread ran at all */
    return sm->recovering;
}

static uint64_t expiry_ns(const struct mf_server_conn *conn)
{
    uint64_t ms = conn->state == CONN_OPEN   ? conn->session_ms
                  : conn->state == CONN_AWAY ? conn->away_ms
                                             : conn->sm->cfg.hello_ms;
    return conn->heard_ns + ms * MF_NS_PER_MS;
}

static void due(struct mf_server_sm *sm, uint64_t at_ns)
{
    if (at_ns < sm->next_ns)
        sm->next_ns = at_ns;
}

/* The rank that a key says its session holds; UINT32_MAX when it says nothing of the kind. */
static uint32_t rank_of_key(const char *key)
{
    static const char prefix[] = MF_STORE_RANK_KEYS;
    size_t len = sizeof(prefix) - 1;
    char *end = NULL;
    if (strncmp(key, prefix, len) != 0 || key[len] < '0' || key[len] > '9')
        return UINT32_MAX;
    unsigned long rank = strtoul(key + len, &end, 10);
    return *end == '\0' && rank < MF_WORLD_MAX ? (uint32_t)rank : UINT32_MAX;
}

/* `broken`: by silence or a closed connection, not by the client's wish. */
static void end_session(struct mf_server_conn *conn, bool broken)
{
    struct mf_server_sm *sm = conn->sm;
    if (!conn->session)
        return;
    conn->session = false;
    mf_tree_remove(&sm->sessions, &conn->session_node);
    mf_srv_watch_drop_all(conn);
    mf_srv_wait_drop_all(conn);
    uint32_t rank = UINT32_MAX;
    while (conn->owner.owned != NULL) {
        struct mf_kv_entry *entry = conn->owner.owned;
        rank = rank == UINT32_MAX ? rank_of_key(entry->key) : rank;
        mf_srv_publish(sm, broken ? MF_SMSG_EXPIRE : MF_SMSG_DELETE, entry);
        mf_kv_remove(&sm->kv, entry);
    }
    if (broken && sm->cfg.on_broken != NULL)
        sm->cfg.on_broken(sm->cfg.on_broken_arg, conn->session_id, rank);
}

void mf_srv_expel(struct mf_server_conn *conn, const char *why)
{
    if (conn->state != CONN_AWAY) /* nobody would hear it; the next tick frees it */
        say_goodbye(conn, MF_SMSG_WHY_EXPIRED, SMEM_NOT_CONNECTED, why);
    end_session(conn, true);
}

static struct mf_server_conn *session_find(struct mf_server_sm *sm, const char key[8])
{
    struct mf_tree_node *node = mf_tree_find(&sm->sessions, key, 8);
    return node == NULL ? NULL : MF_CONTAINER_OF(node, struct mf_server_conn, session_node);
}

/* May this session be opened? Else the goodbye has been said. */
static bool admit(struct mf_server_conn *conn, const struct mf_smsg_hello *hello)
{
    struct mf_server_sm *sm = conn->sm;
    char text[256];
    const struct mf_server_conn *other = session_find(sm, conn->session_key);
    if (hello->session_ms < SESSION_MS_MIN || hello->session_ms > SESSION_MS_MAX) {
        snprintf(text, sizeof(text), "a session time of %u ms is not within %u..%u",
                 hello->session_ms, SESSION_MS_MIN, SESSION_MS_MAX);
        say_goodbye(conn, MF_SMSG_WHY_PROTOCOL, SMEM_INVALID_PARAM, text);
        return false;
    }
    if (other != NULL && !other->moved) {
        snprintf(text, sizeof(text), "session %016" PRIx64 " is alive on the connection from %s",
                 hello->session_id, other->peer);
        say_goodbye(conn, MF_SMSG_WHY_REFUSED, SMEM_DUPLICATED, text);
        return false;
    }
    if (other == NULL && hello->prev_boot == sm->boot_id) {
        snprintf(text, sizeof(text),
                 "session %016" PRIx64
                 " has ended: its connection was closed or it was silent for %u ms",
                 hello->session_id, hello->session_ms);
        say_goodbye(conn, MF_SMSG_WHY_EXPIRED, SMEM_NOT_CONNECTED, text);
        return false;
    }
    return true;
}

/* The session that said MOVE on the other connection is here again: nothing of it was lost. */
static void take_over(struct mf_server_conn *conn, struct mf_server_conn *other)
{
    while (other->owner.owned != NULL)
        mf_kv_give(other->owner.owned, &conn->owner);
    mf_tree_remove(&conn->sm->sessions, &other->session_node);
    other->session = false;
    if (other->state == CONN_AWAY)
        free_conn(other);
}

static void on_move(struct mf_server_conn *conn)
{
    say_goodbye(conn, MF_SMSG_WHY_CLOSED, SMEM_OK, "moved as asked");
    mf_srv_watch_drop_all(conn);
    mf_srv_wait_drop_all(conn);
    conn->moved = true;
    conn->away_ms = AWAY_MS;
}

/* Who lived on a former life of this store and comes within its session's time is waited for, and
 * others like it. Later, those who are there have taken it for dead: it gets what nobody has. */
static bool may_recover(const struct mf_server_sm *sm, const struct mf_smsg_hello *hello,
                        uint64_t now_ns)
{
    uint32_t ms = hello->session_ms > sm->cfg.settle_ms ? hello->session_ms : sm->cfg.settle_ms;
    return sm->recovering || now_ns < sm->boot_ns + ms * MF_NS_PER_MS;
}

static void on_hello(struct mf_server_conn *conn, uint64_t now_ns, const uint8_t *body, size_t len)
{
    struct mf_server_sm *sm = conn->sm;
    struct mf_smsg_hello hello;
    struct mf_wr wr;
    if (mf_smsg_get_hello(body, len, &hello) != SMEM_OK) {
        say_goodbye(conn, MF_SMSG_WHY_PROTOCOL, SMEM_INVALID_PARAM, mf_err_msg());
        return;
    }
    for (int i = 0; i < 8; i++)
        conn->session_key[i] = (char)(hello.session_id >> (56 - 8 * i));
    if (!admit(conn, &hello))
        return;
    struct mf_server_conn *other = session_find(sm, conn->session_key);
    if (other != NULL)
        take_over(conn, other);
    conn->session = true;
    conn->session_id = hello.session_id;
    conn->session_ms = hello.session_ms;
    conn->reopened = hello.prev_boot != 0;
    conn->session_node.key = conn->session_key;
    conn->session_node.key_len = sizeof(conn->session_key);
    mf_tree_insert(&sm->sessions, &conn->session_node);
    if (conn->reopened && other == NULL && !sm->reopened && may_recover(sm, &hello, now_ns)) {
        sm->reopened = true;
        sm->recovering = true;
        sm->recover_until = now_ns + hello.session_ms * MF_NS_PER_MS;
        due(sm, sm->recover_until);
        mf_log(sm->cfg.env->log, MF_LOG_WARN, "store",
               "%s had its session on a former life of this store: recovering for %u ms",
               conn->peer, hello.session_ms);
    }
    mf_srv_send_begin(conn, MF_SMSG_WELCOME, &wr);
    mf_smsg_put_welcome(
        &wr, &(struct mf_smsg_welcome){.boot_id = sm->boot_id, .restored = conn->reopened});
    mf_srv_send_end(conn, &wr);
    if (conn->state == CONN_HELLO) {
        conn->state = CONN_OPEN;
        conn->in.body_max = MF_FRAME_MAX;
    }
    due(sm, expiry_ns(conn));
}

/* ---- input ------------------------------------------------------------------------------------
 */

struct feed_arg {
    struct mf_server_conn *conn;
    uint64_t now_ns;
};

static void on_heartbeat(struct mf_server_conn *conn)
{
    struct mf_wr wr;
    mf_srv_send_begin(conn, MF_SMSG_HEARTBEAT, &wr);
    mf_srv_send_end(conn, &wr);
}

static void on_id_message(struct mf_server_conn *conn, uint8_t type, const uint8_t *body,
                          size_t len)
{
    uint32_t id;
    if (mf_smsg_get_id(body, len, &id) != SMEM_OK)
        mf_srv_cut(conn, mf_err_msg());
    else if (type == MF_SMSG_CANCEL)
        mf_srv_wait_cancel(conn, id);
    else
        mf_srv_watch_remove(conn, id);
}

static bool on_frame(void *arg, uint8_t type, const uint8_t *body, size_t len)
{
    const struct feed_arg *feed = arg;
    struct mf_server_conn *conn = feed->conn;
    struct mf_smsg_watch watch;
    if ((type == MF_SMSG_HELLO) != (conn->state == CONN_HELLO)) {
        mf_srv_cut(conn, type == MF_SMSG_HELLO ? "it said HELLO twice" : "it did not say HELLO");
        return false;
    }
    switch (type) {
    case MF_SMSG_HELLO:
        on_hello(conn, feed->now_ns, body, len);
        break;
    case MF_SMSG_HEARTBEAT:
        on_heartbeat(conn);
        break;
    case MF_SMSG_CLOSE:
        say_goodbye(conn, MF_SMSG_WHY_CLOSED, SMEM_OK, "closed as asked");
        end_session(conn, false);
        break;
    case MF_SMSG_MOVE:
        on_move(conn);
        break;
    case MF_SMSG_REQUEST:
        mf_srv_request(conn, feed->now_ns, body, len);
        break;
    case MF_SMSG_WATCH:
        conn->sm->requests++;
        if (mf_smsg_get_watch(body, len, &watch) == SMEM_OK)
            mf_srv_watch_add(conn, &watch);
        else
            mf_srv_cut(conn, mf_err_msg());
        break;
    case MF_SMSG_CANCEL:
    case MF_SMSG_UNWATCH:
        on_id_message(conn, type, body, len);
        break;
    default:
        mf_srv_cut(conn, "it sent a message of an unknown type");
        break;
    }
    return conn->state == CONN_OPEN;
}

/* The machine is called: for how long was it not? */
static void note_run(struct mf_server_sm *sm, uint64_t now_ns)
{
    uint64_t gap = now_ns - sm->ran_ns;
    sm->ran_ns = now_ns;
    if (gap >= sm->gap_ns || now_ns - sm->gap_end_ns >= LATE_AFTER_NS) {
        sm->gap_ns = gap;
        sm->gap_end_ns = now_ns;
    }
}

void mf_server_sm_bytes(struct mf_server_sm *sm, uint64_t now_ns, struct mf_server_conn *conn,
                        const void *data, size_t len)
{
    struct feed_arg feed = {.conn = conn, .now_ns = now_ns};
    note_run(sm, now_ns);
    sm->bytes_in += len;
    if (conn->state != CONN_HELLO && conn->state != CONN_OPEN)
        return;
    if (conn->state == CONN_OPEN) {
        conn->heard_ns = now_ns;
        conn->forgiven = false;
    }
    mark_asked(conn);
    int rc = mf_framer_feed(&conn->in, data, len, on_frame, &feed);
    if (rc == SMEM_INVALID_PARAM && conn->state != CONN_CUT) {
        mf_log(sm->cfg.env->log, MF_LOG_WARN, "store", "client %s: %s", conn->peer, mf_err_msg());
        say_goodbye(conn, MF_SMSG_WHY_PROTOCOL, rc, mf_err_msg());
    } else if (rc != SMEM_OK) {
        mf_srv_cut(conn, mf_err_msg());
    }
}

/* ---- connections and time ---------------------------------------------------------------------
 */

int mf_server_sm_open(struct mf_server_sm *sm, uint64_t now_ns, const char *peer, void *user,
                      struct mf_server_conn **out)
{
    *out = NULL;
    note_run(sm, now_ns);
    if (sm->conn_count >= sm->cfg.conns_max)
        return mf_err(SMEM_NO_RESOURCES, "client %s refused: %u connections are open, the limit",
                      peer, sm->conn_count);
    struct mf_server_conn *conn = mf_calloc(1, sizeof(*conn), "store connection");
    if (conn == NULL)
        return SMEM_MALLOC_FAILED;
    conn->sm = sm;
    conn->user = user;
    conn->heard_ns = now_ns;
    snprintf(conn->peer, sizeof(conn->peer), "%s", peer);
    mf_framer_init(&conn->in, MF_SMSG_HELLO_MAX);
    mf_outq_init(&conn->out, sm->cfg.queue_max);
    conn->next = sm->conns;
    if (sm->conns != NULL)
        sm->conns->prev = conn;
    sm->conns = conn;
    sm->conn_count++;
    due(sm, expiry_ns(conn));
    *out = conn;
    return SMEM_OK;
}

/* A client that lives is heard more often than twice in its time. Was nobody heard for as long,
 * just before now? Then this thread did not run, and the client may have given up waiting for it.
 */
static bool gave_up(const struct mf_server_conn *conn, uint64_t now_ns)
{
    const struct mf_server_sm *sm = conn->sm;
    return now_ns - sm->gap_end_ns < LATE_AFTER_NS &&
           sm->gap_ns >= conn->session_ms * MF_NS_PER_MS / 2;
}

void mf_server_sm_closed(struct mf_server_sm *sm, uint64_t now_ns, struct mf_server_conn *conn)
{
    note_run(sm, now_ns);
    unready(conn);
    sm->conn_count--;
    if (conn->state == CONN_OPEN && conn->session && !conn->moved && gave_up(conn, now_ns)) {
        mf_srv_watch_drop_all(conn);
        mf_srv_wait_drop_all(conn);
        conn->moved = true;
        conn->away_ms = conn->session_ms / 2;
    }
    if (conn->moved && conn->session) {
        conn->state = CONN_AWAY;
        conn->heard_ns = now_ns;
        due(sm, expiry_ns(conn));
        return;
    }
    conn->state = CONN_CUT;
    end_session(conn, true);
    free_conn(conn);
}

static void expire(struct mf_server_conn *conn)
{
    char text[128];
    if (conn->state == CONN_HELLO) {
        mf_srv_cut(conn, "it did not say HELLO in time");
        return;
    }
    if (conn->state == CONN_FLUSH) {
        mf_srv_cut(conn, "it does not read its last message");
        return;
    }
    if (conn->state == CONN_AWAY) {
        end_session(conn, true);
        free_conn(conn);
        return;
    }
    snprintf(text, sizeof(text), "session %016" PRIx64 " has ended: it was silent for %u ms",
             conn->session_id, conn->session_ms);
    mf_log(conn->sm->cfg.env->log, MF_LOG_INFO, "store", "client %s: %s", conn->peer, text);
    mf_srv_expel(conn, text);
}

/* This thread did not run for a while: nobody could be heard, so nobody was silent. What was said
 * meanwhile is read in the next turns. */
static void forgive(struct mf_server_sm *sm, uint64_t now_ns)
{
    if (now_ns - sm->next_ns < LATE_NS)
        return;
    for (struct mf_server_conn *conn = sm->conns; conn != NULL; conn = conn->next) {
        uint64_t whole = conn->session_ms * MF_NS_PER_MS;
        uint64_t grace = whole / 2 < FORGIVE_NS ? whole / 2 : FORGIVE_NS;
        if (conn->state == CONN_OPEN && !conn->forgiven && expiry_ns(conn) < now_ns + grace) {
            conn->heard_ns = now_ns + grace - whole;
            conn->forgiven = true;
        }
    }
}

/* Nobody could come back while this thread did not run: they get a little longer then. */
static void end_recovery(struct mf_server_sm *sm, uint64_t now_ns)
{
    if (!sm->recovering || now_ns < sm->recover_until)
        return;
    if (now_ns - sm->recover_until >= STOPPED_NS)
        sm->recover_until = now_ns + LATE_AFTER_NS;
    else
        sm->recovering = false;
}

void mf_server_sm_tick(struct mf_server_sm *sm, uint64_t now_ns)
{
    note_run(sm, now_ns);
    if (now_ns < sm->next_ns)
        return;
    forgive(sm, now_ns);
    sm->next_ns = UINT64_MAX;
    struct mf_server_conn *next;
    for (struct mf_server_conn *conn = sm->conns; conn != NULL; conn = next) {
        bool away = conn->state == CONN_AWAY;
        next = conn->next;
        if (conn->state == CONN_CUT)
            continue;
        if (now_ns >= expiry_ns(conn) || (away && !conn->session)) {
            expire(conn);
            if (away)
                continue;            /* it is freed */
            conn->heard_ns = now_ns; /* FLUSH: as long again for the last message */
        }
        if (conn->state != CONN_CUT)
            due(sm, expiry_ns(conn));
    }
    end_recovery(sm, now_ns);
    if (sm->recovering)
        due(sm, sm->recover_until);
    else
        mf_srv_wait_release_held(sm, now_ns);
}

uint64_t mf_server_sm_next_ns(const struct mf_server_sm *sm)
{
    return sm->next_ns;
}

void mf_server_sm_get_status(const struct mf_server_sm *sm, struct mf_store_server_status *out)
{
    *out = (struct mf_store_server_status){.connections = sm->conn_count,
                                           .sessions = (uint32_t)sm->sessions.count,
                                           .keys = (uint32_t)sm->kv.tree.count,
                                           .watches = sm->watch_count,
                                           .requests = sm->requests,
                                           .events = sm->events,
                                           .bytes_in = sm->bytes_in,
                                           .bytes_out = sm->bytes_out,
                                           .bytes_stored = sm->kv.bytes};
}

const void *mf_server_sm_peek(const struct mf_server_sm *sm, const char *key, size_t *len)
{
    const struct mf_kv_entry *entry = mf_kv_find(&sm->kv, key, strlen(key));
    if (entry == NULL)
        return NULL;
    *len = entry->value_len;
    return entry->value != NULL ? (const void *)entry->value : "";
}
