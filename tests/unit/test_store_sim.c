// SPDX-License-Identifier: Apache-2.0
// The real state machines of one store server and 64 clients in one process, on a virtual clock,
// over a model network that splits, delays and cuts byte streams, all decided by a seed. The
// clients count, hold ephemeral keys and watch; at the end what each believes is compared with the
// server.
#include "mf_test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "store/client_sm.h"
#include "store/server_sm.h"

#define CLIENTS     64
#define WATCHERS    6
#define COUNTERS    4
#define FLAGS       4
#define SESSION_MS  1000u
#define FAULT_END   (4 * MF_NS_PER_S) /* then the network heals */
#define ACTION_END  (5 * MF_NS_PER_S)
#define SIM_END     (9 * MF_NS_PER_S)
#define NEVER       UINT64_MAX
#define TOLERATE_NS MF_NS_PER_MS

struct sim;

/* One direction of a connection. */
struct pipe_dir {
    struct mf_buf buf;
    uint64_t due; /* when the next piece arrives */
    bool eof;     /* the sender has closed: after the last byte */
    bool broken;  /* nothing arrives any more, and nobody is told */
};

struct watched {
    struct sim_client *client;
    bool synced;
    bool flags[FLAGS]; /* r/<i> is there */
    int64_t counters[COUNTERS];
    uint64_t members[CLIENTS]; /* incarnation of the holder of e/<i>; 0: absent */
};

struct sim_client {
    struct sim *sim;
    int index;
    struct mf_client_sm *sm;
    uint64_t session_id;
    uint64_t connect_due; /* the attempt ends then */
    struct mf_server_conn *conn;
    bool up; /* the client's end is open */
    struct pipe_dir to_server, to_client;
    uint64_t action_due;
    uint64_t paused_until;
    bool expired;            /* told so; a new life begins at the next action */
    uint64_t mine;           /* the incarnation whose key was acknowledged; 0: none */
    struct watched view;     /* of a watch on everything */
    struct watched counters; /* of a second one on "c/" */
    uint32_t next_watch;
};

struct sim {
    struct mf_log log;
    struct mf_env env;
    uint64_t now, rng, digest;
    struct mf_server_sm *server;
    uint64_t server_due; /* when it comes back, while it is NULL */
    uint64_t fault_due;
    bool restarts;
    struct sim_client clients[CLIENTS];
    int64_t acked[COUNTERS], unknown[COUNTERS];
    uint32_t open_requests, finished, steps, expiries;
    char wrong[256]; /* the first broken promise */
};

struct sim_req {
    struct sim_client *client;
    uint64_t deadline_ns;
    uint64_t session_id;
    int kind; /* 0 get, 1 cas, 2 add, 3 ephemeral, 4 wait, 5 set or remove */
    int counter;
};

static uint64_t rnd(struct sim *sim, uint64_t below)
{
    uint64_t x = sim->rng;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    sim->rng = x;
    return (x * 0x2545f4914f6cdd1dull >> 11) % below;
}

static void note(struct sim *sim, uint64_t a, uint64_t b)
{
    sim->digest = (sim->digest ^ a) * 0x100000001b3ull;
    sim->digest = (sim->digest ^ b ^ sim->now) * 0x100000001b3ull;
}

static void wrong(struct sim *sim, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void wrong(struct sim *sim, const char *fmt, ...)
{
    va_list args;
    if (sim->wrong[0] != '\0')
        return;
    va_start(args, fmt);
    vsnprintf(sim->wrong, sizeof(sim->wrong), fmt, args);
    va_end(args);
}

static uint64_t env_now(void *arg)
{
    return ((struct sim *)arg)->now;
}

static void env_random(void *arg, void *buf, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)buf)[i] = (uint8_t)rnd(arg, 256);
}

static pid_t env_pid(void *arg)
{
    (void)arg;
    return 1;
}

/* ---- the model network ------------------------------------------------------------------------
 */

static void dir_reset(struct pipe_dir *dir)
{
    mf_buf_clear(&dir->buf);
    dir->due = NEVER;
    dir->eof = false;
    dir->broken = false;
}

static void dir_schedule(struct sim *sim, struct pipe_dir *dir)
{
    uint64_t delay = 20000 + rnd(sim, 400000);
    if (dir->due != NEVER || dir->broken)
        return;
    if (sim->now < FAULT_END && rnd(sim, 300) == 0)
        delay += rnd(sim, 1500 * MF_NS_PER_MS); /* held up on the way */
    dir->due = sim->now + delay;
}

static void dir_push(struct sim *sim, struct pipe_dir *dir, const uint8_t *data, size_t len)
{
    if (!dir->broken && mf_buf_append(&dir->buf, data, len) != SMEM_OK)
        wrong(sim, "the model network is full");
    dir_schedule(sim, dir);
}

/* The server's end closes; what it sent before still arrives. */
static void server_end_close(struct sim *sim, struct sim_client *client)
{
    struct mf_server_conn *conn = client->conn;
    client->conn = NULL;
    if (conn != NULL && sim->server != NULL)
        mf_server_sm_closed(sim->server, sim->now, conn);
    client->to_client.eof = true;
    dir_schedule(sim, &client->to_client);
}

static void client_end_close(struct sim *sim, struct sim_client *client)
{
    if (!client->up)
        return;
    client->up = false;
    client->to_server.eof = true;
    dir_schedule(sim, &client->to_server);
    mf_buf_clear(&client->to_client.buf);
    client->to_client.due = NEVER;
}

static void flush_server(struct sim *sim)
{
    struct mf_server_conn *conn;
    const uint8_t *data;
    size_t len;
    while (sim->server != NULL && (conn = mf_server_sm_pop_ready(sim->server)) != NULL) {
        struct sim_client *client = mf_server_conn_user(conn);
        while ((len = mf_server_conn_output(conn, &data)) > 0) {
            dir_push(sim, &client->to_client, data, len);
            mf_server_conn_sent(conn, len);
        }
        if (mf_server_conn_want(conn) != MF_CONN_KEEP)
            server_end_close(sim, client);
    }
}

static void pump_client(struct sim *sim, struct sim_client *client)
{
    const uint8_t *data;
    for (;;) {
        enum mf_client_want want = mf_client_sm_want(client->sm, sim->now);
        if (want == MF_CLIENT_DISCONNECT) {
            client_end_close(sim, client);
            client->connect_due = NEVER;
            mf_client_sm_closed(client->sm, sim->now, NULL);
            continue;
        }
        if (want == MF_CLIENT_CONNECT) {
            mf_client_sm_connecting(client->sm, sim->now);
            client->connect_due = sim->now + 50000 + rnd(sim, MF_NS_PER_MS);
            continue;
        }
        size_t len = mf_client_sm_output(client->sm, &data);
        if (len == 0 || !client->up)
            break;
        size_t part = 1 + rnd(sim, len);
        dir_push(sim, &client->to_server, data, part);
        mf_client_sm_sent(client->sm, sim->now, part);
    }
}

static void connect_ends(struct sim *sim, struct sim_client *client)
{
    client->connect_due = NEVER;
    bool busy = client->conn != NULL; /* the old connection has not ended over there */
    if (sim->server == NULL || busy || rnd(sim, 20) == 0 ||
        mf_server_sm_open(sim->server, sim->now, "sim", client, &client->conn) != SMEM_OK) {
        mf_client_sm_closed(client->sm, sim->now, "refused");
        return;
    }
    dir_reset(&client->to_server);
    dir_reset(&client->to_client);
    client->up = true;
    mf_client_sm_connected(client->sm, sim->now);
}

/* A piece of a direction arrives; *closed: then the end of the stream. Returns its length. */
static size_t dir_take(struct sim *sim, struct pipe_dir *dir, uint8_t *out, size_t max,
                       bool *closed)
{
    size_t len = dir->buf.len < max ? dir->buf.len : max;
    if (len > 1 && rnd(sim, 4) == 0)
        len = 1 + rnd(sim, len - 1);
    if (len > 0)
        memcpy(out, dir->buf.data, len);
    mf_buf_consume(&dir->buf, len);
    dir->due = NEVER;
    *closed = dir->eof && dir->buf.len == 0;
    if (dir->buf.len > 0)
        dir_schedule(sim, dir);
    return len;
}

static void deliver_to_server(struct sim *sim, struct sim_client *client)
{
    static uint8_t piece[8192];
    bool closed;
    size_t len = dir_take(sim, &client->to_server, piece, sizeof(piece), &closed);
    note(sim, 1, len);
    if (client->conn == NULL)
        return;
    if (len > 0)
        mf_server_sm_bytes(sim->server, sim->now, client->conn, piece, len);
    flush_server(sim);
    if (closed && client->conn != NULL) {
        server_end_close(sim, client);
        flush_server(sim);
    }
}

static void deliver_to_client(struct sim *sim, struct sim_client *client)
{
    static uint8_t piece[8192];
    bool closed;
    size_t len = dir_take(sim, &client->to_client, piece, sizeof(piece), &closed);
    note(sim, 2, len);
    if (!client->up)
        return;
    if (len > 0)
        mf_client_sm_bytes(client->sm, sim->now, piece, len);
    if (closed && client->up) {
        client_end_close(sim, client);
        mf_client_sm_closed(client->sm, sim->now, "closed by the server");
    }
    pump_client(sim, client);
}

/* ---- what the clients do ----------------------------------------------------------------------
 */

static void on_done(void *arg, const struct mf_store_rsp *rsp);

static void request(struct sim_client *client, const struct mf_store_req *in, int kind, int counter)
{
    struct sim *sim = client->sim;
    struct sim_req *req = test_malloc(sizeof(*req));
    struct mf_store_req copy = *in;
    struct mf_client_req *out;
    copy.deadline_ns = sim->now + (50 + rnd(sim, 2000)) * MF_NS_PER_MS;
    *req = (struct sim_req){.client = client,
                            .deadline_ns = copy.deadline_ns,
                            .session_id = client->session_id,
                            .kind = kind,
                            .counter = counter};
    if (mf_client_req_create(&copy, on_done, req, &out) != SMEM_OK) {
        wrong(sim, "request: %s", mf_err_msg());
        test_free(req);
        return;
    }
    sim->open_requests++;
    mf_client_sm_submit(client->sm, sim->now, out);
}

static void swap_counter(struct sim_client *client, int counter, const struct mf_store_rsp *rsp)
{
    char key[16];
    char text[24];
    char old[24] = "";
    snprintf(key, sizeof(key), "c/%d", counter);
    if (rsp->rc == SMEM_OK)
        snprintf(old, sizeof(old), "%.*s", (int)rsp->value_len, (const char *)rsp->value);
    snprintf(text, sizeof(text), "%ld", (rsp->rc == SMEM_OK ? strtol(old, NULL, 10) : 0) + 1);
    request(client,
            &(struct mf_store_req){.op = MF_STORE_CAS,
                                   .key = key,
                                   .value = text,
                                   .value_len = strlen(text),
                                   .expect = rsp->rc == SMEM_OK ? old : NULL,
                                   .expect_len = strlen(old)},
            1, counter);
}

static void on_done(void *arg, const struct mf_store_rsp *rsp)
{
    struct sim_req req = *(struct sim_req *)arg;
    struct sim *sim = req.client->sim;
    bool counts = req.kind == 1 || req.kind == 2;
    test_free(arg);
    sim->open_requests--;
    sim->finished++;
    note(sim, (uint64_t)req.kind, (uint64_t)(int64_t)rsp->rc);
    uint64_t late =
        req.client->paused_until > req.deadline_ns ? req.client->paused_until : req.deadline_ns;
    if (sim->now > late + TOLERATE_NS)
        wrong(sim, "a request of kind %d ended %" PRIu64 " ns after its deadline", req.kind,
              sim->now - late);
    if (rsp->rc != SMEM_OK && (rsp->msg == NULL || rsp->msg[0] == '\0'))
        wrong(sim, "an error %d without a sentence", rsp->rc);
    if (counts && rsp->rc == SMEM_OK && (req.kind == 2 || rsp->swapped))
        sim->acked[req.counter]++;
    else if (counts && (rsp->rc == SMEM_NOT_CONNECTED || rsp->rc == SMEM_TIMEOUT))
        sim->unknown[req.counter]++;
    else if (counts && rsp->rc != SMEM_OK)
        wrong(sim, "counting: error %d: %s", rsp->rc, rsp->msg);
    if (req.kind == 0 && (rsp->rc == SMEM_OK || rsp->rc == SMEM_NOT_EXIST) && !req.client->expired)
        swap_counter(req.client, req.counter, rsp);
    /* A claim that broke off may have been executed: the next one finds the key, and is no grant.
     */
    if (req.kind == 3 && rsp->rc == SMEM_OK && rsp->swapped &&
        req.session_id == req.client->session_id)
        req.client->mine = req.session_id;
}

static void on_watch(void *arg, const struct mf_watch_event *event)
{
    struct watched *view = arg;
    struct sim_client *client = view->client;
    note(client->sim, 3, event->kind);
    if (event->kind == MF_WATCH_SYNC_BEGIN) {
        *view = (struct watched){.client = client};
        return;
    }
    if (event->kind == MF_WATCH_LOST) {
        view->synced = false;
        return;
    }
    if (event->kind == MF_WATCH_SYNC_END) {
        view->synced = true;
        return;
    }
    if (event->kind == MF_WATCH_DELETE && !view->synced)
        wrong(client->sim, "a DELETE between SYNC_BEGIN and SYNC_END");
    char text[24];
    snprintf(text, sizeof(text), "%.*s", (int)event->value_len,
             event->value != NULL ? (const char *)event->value : "");
    unsigned long index = strtoul(event->key + 2, NULL, 10);
    bool put = event->kind == MF_WATCH_PUT;
    if (event->key[0] == 'c' && index < COUNTERS) {
        int64_t value = put ? strtol(text, NULL, 10) : 0;
        if (put && view->synced && value != view->counters[index] + 1)
            wrong(client->sim, "a watcher saw counter %lu go from %" PRId64 " to %" PRId64, index,
                  view->counters[index], value);
        view->counters[index] = value;
    } else if (event->key[0] == 'e' && index < CLIENTS) {
        view->members[index] = put ? strtoul(text, NULL, 16) : 0;
    } else if (event->key[0] == 'r' && index < FLAGS) {
        view->flags[index] = put;
    }
}

static void on_session(void *arg, enum mf_session_state state, const char *why)
{
    struct sim_client *client = arg;
    (void)why;
    note(client->sim, 4, state);
    if (state == MF_SESSION_EXPIRED) {
        client->expired = true;
        client->mine = 0;
        client->action_due = client->sim->now + MF_NS_PER_MS; /* a new life, also at the end */
        client->sim->expiries++;
    }
}

static void watch(struct sim_client *client, const char *prefix, struct watched *view)
{
    struct mf_client_watch *out;
    *view = (struct watched){.client = client};
    if (mf_client_watch_create(prefix, MF_CLIENT_WATCH_BIT | client->next_watch++, on_watch, view,
                               &out) != SMEM_OK)
        abort();
    mf_client_sm_watch(client->sm, client->sim->now, out);
}

static void new_life(struct sim *sim, struct sim_client *client)
{
    client->session_id = mf_random_u64(&sim->env);
    client->expired = false;
    client->mine = 0;
    struct mf_client_sm_cfg cfg = {.env = &sim->env,
                                   .session_id = client->session_id,
                                   .session_ms = SESSION_MS,
                                   .on_session = on_session,
                                   .on_session_arg = client,
                                   .addr = "sim"};
    if (mf_client_sm_create(&cfg, sim->now, &client->sm) != SMEM_OK)
        abort();
    if (client->index < WATCHERS) {
        watch(client, "", &client->view);
        watch(client, "c/", &client->counters);
    }
}

static void claim_key(struct sim_client *client)
{
    char key[16];
    char text[24];
    snprintf(key, sizeof(key), "e/%d", client->index);
    snprintf(text, sizeof(text), "%016" PRIx64, client->session_id);
    request(client,
            &(struct mf_store_req){.op = MF_STORE_CAS,
                                   .flags = MF_STORE_EPHEMERAL,
                                   .key = key,
                                   .value = text,
                                   .value_len = 16},
            3, 0);
}

static void act(struct sim *sim, struct sim_client *client)
{
    char key[16];
    int counter = (int)rnd(sim, COUNTERS / 2);
    client->action_due =
        sim->now < ACTION_END ? sim->now + (50 + rnd(sim, 600)) * MF_NS_PER_MS : NEVER;
    if (client->expired) {
        mf_client_sm_destroy(client->sm);
        new_life(sim, client);
    }
    if (client->mine != client->session_id)
        claim_key(client);
    if (client->action_due == NEVER)
        return;
    switch (rnd(sim, 5)) {
    case 4:
        snprintf(key, sizeof(key), "r/%d", (int)rnd(sim, FLAGS));
        request(
            client,
            &(struct mf_store_req){.op = rnd(sim, 2) ? MF_STORE_SET : MF_STORE_REMOVE, .key = key},
            5, 0);
        break;
    case 0:
    case 1:
        snprintf(key, sizeof(key), "c/%d", counter);
        request(client, &(struct mf_store_req){.op = MF_STORE_GET, .key = key}, 0, counter);
        break;
    case 2:
        counter += COUNTERS / 2;
        snprintf(key, sizeof(key), "c/%d", counter);
        request(client, &(struct mf_store_req){.op = MF_STORE_ADD, .key = key, .add = 1}, 2,
                counter);
        break;
    default:
        request(
            client,
            &(struct mf_store_req){.op = MF_STORE_GET, .flags = MF_STORE_WAIT, .key = "never set"},
            4, 0);
        break;
    }
}

/* ---- faults -----------------------------------------------------------------------------------
 */

static void start_server(struct sim *sim)
{
    struct mf_server_sm_cfg cfg;
    mf_server_sm_cfg_init(&cfg, &sim->env);
    if (mf_server_sm_create(&cfg, sim->now, &sim->server) != SMEM_OK)
        abort();
    sim->server_due = NEVER;
}

static void kill_server(struct sim *sim)
{
    for (int i = 0; i < CLIENTS; i++) {
        if (sim->clients[i].conn != NULL)
            server_end_close(sim, &sim->clients[i]);
    }
    mf_server_sm_destroy(sim->server);
    sim->server = NULL;
    sim->server_due = sim->now + rnd(sim, 400 * MF_NS_PER_MS);
}

/* Silently: what is sent to the server, or both ways, arrives no more, and nobody is told. */
static void lose_route(struct sim_client *client, bool both)
{
    client->to_server.broken = true;
    if (both)
        client->to_client.broken = true;
}

static void fault(struct sim *sim)
{
    struct sim_client *client = &sim->clients[rnd(sim, CLIENTS)];
    uint64_t kind = rnd(sim, 10);
    note(sim, 5, kind);
    sim->fault_due = sim->now + rnd(sim, 600 * MF_NS_PER_MS);
    if (sim->now >= FAULT_END)
        sim->fault_due = NEVER;
    else if (kind == 0 && sim->restarts && sim->server != NULL)
        kill_server(sim);
    else if (kind <= 3 && client->up)
        lose_route(client, kind != 1);
    else if (kind <= 6 && client->conn != NULL)
        server_end_close(sim, client); /* reset */
    else if (kind <= 7)
        client->paused_until = sim->now + rnd(sim, 2000 * MF_NS_PER_MS);
    flush_server(sim);
}

/* ---- the run ----------------------------------------------------------------------------------
 */

static uint64_t min_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What of this client is due next. A paused client runs only when its pause is over. */
static uint64_t client_due(const struct sim_client *client)
{
    uint64_t own = min_of(mf_client_sm_next_ns(client->sm), client->connect_due);
    own = min_of(own, client->action_due);
    own = min_of(own, client->to_client.due);
    if (own != NEVER && own < client->paused_until)
        own = client->paused_until;
    return min_of(own, client->to_server.due);
}

static void run_client(struct sim *sim, struct sim_client *client)
{
    if (client->to_server.due <= sim->now)
        deliver_to_server(sim, client);
    if (sim->now < client->paused_until)
        return;
    if (client->to_client.due <= sim->now)
        deliver_to_client(sim, client);
    if (client->connect_due <= sim->now)
        connect_ends(sim, client);
    if (client->action_due <= sim->now)
        act(sim, client);
    if (mf_client_sm_next_ns(client->sm) <= sim->now)
        mf_client_sm_tick(client->sm, sim->now);
    pump_client(sim, client);
}

static void step(struct sim *sim)
{
    uint64_t due = min_of(sim->fault_due, sim->server_due);
    if (sim->server != NULL)
        due = min_of(due, mf_server_sm_next_ns(sim->server));
    for (int i = 0; i < CLIENTS; i++)
        due = min_of(due, client_due(&sim->clients[i]));
    sim->now = due > sim->now ? due : sim->now;
    sim->steps++;
    if (sim->server_due <= sim->now)
        start_server(sim);
    if (sim->fault_due <= sim->now)
        fault(sim);
    if (sim->server != NULL && mf_server_sm_next_ns(sim->server) <= sim->now) {
        mf_server_sm_tick(sim->server, sim->now);
        flush_server(sim);
    }
    for (int i = 0; i < CLIENTS; i++) {
        if (client_due(&sim->clients[i]) <= sim->now)
            run_client(sim, &sim->clients[i]);
    }
}

static int64_t server_number(struct sim *sim, const char *key, int base)
{
    char text[24];
    size_t len;
    const void *value = mf_server_sm_peek(sim->server, key, &len);
    if (value == NULL)
        return 0;
    snprintf(text, sizeof(text), "%.*s", (int)len, (const char *)value);
    return (int64_t)strtoul(text, NULL, base);
}

static void judge(struct sim *sim)
{
    char key[16];
    for (int k = 0; k < COUNTERS; k++) {
        snprintf(key, sizeof(key), "c/%d", k);
        int64_t value = server_number(sim, key, 10);
        if (!sim->restarts && (value < sim->acked[k] || value > sim->acked[k] + sim->unknown[k]))
            wrong(sim, "counter %d is %" PRId64 ", acknowledged %" PRId64 ", unknown %" PRId64, k,
                  value, sim->acked[k], sim->unknown[k]);
        for (int w = 0; w < WATCHERS; w++) {
            if (sim->clients[w].view.counters[k] != value ||
                sim->clients[w].counters.counters[k] != value)
                wrong(sim, "watcher %d has counter %d at %" PRId64 ", the server at %" PRId64, w, k,
                      sim->clients[w].view.counters[k], value);
        }
    }
    for (int i = 0; i < FLAGS; i++) {
        size_t len;
        snprintf(key, sizeof(key), "r/%d", i);
        bool there = mf_server_sm_peek(sim->server, key, &len) != NULL;
        for (int w = 0; w < WATCHERS; w++) {
            if (sim->clients[w].view.flags[i] != there)
                wrong(sim, "watcher %d does not agree with the server on key %s", w, key);
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        snprintf(key, sizeof(key), "e/%d", i);
        uint64_t holder = (uint64_t)server_number(sim, key, 16);
        const struct sim_client *client = &sim->clients[i];
        if (client->mine != 0 && holder != client->session_id)
            wrong(sim, "client %d believes to hold its key, the server has %016" PRIx64, i, holder);
        if (holder != 0 && holder != client->session_id)
            wrong(sim, "the key of client %d outlived its session", i);
        for (int w = 0; w < WATCHERS; w++) {
            if (!sim->clients[w].view.synced || sim->clients[w].view.members[i] != holder)
                wrong(sim, "watcher %d does not agree with the server on client %d", w, i);
        }
    }
}

static void sim_close(struct sim *sim)
{
    for (int i = 0; i < CLIENTS; i++) {
        struct sim_client *client = &sim->clients[i];
        if (client->conn != NULL)
            mf_server_sm_closed(sim->server, sim->now, client->conn);
        mf_client_sm_destroy(client->sm);
        mf_buf_fini(&client->to_server.buf);
        mf_buf_fini(&client->to_client.buf);
    }
    mf_server_sm_destroy(sim->server);
    if (sim->open_requests != 0)
        wrong(sim, "%u requests never ended", sim->open_requests);
}

/* The whole life of one world. Returns its digest; fails the test when a promise was broken. */
static uint64_t run_seed(uint64_t seed, struct sim *sim)
{
    static const struct mf_env_ops ops = {.now_ns = env_now, .random = env_random, .pid = env_pid};
    memset(sim, 0, sizeof(*sim));
    sim->rng = (seed + 1) * 0x9e3779b97f4a7c15ull;
    sim->now = 1;
    atomic_init(&sim->log.level, MF_LOG_FATAL);
    sim->env = (struct mf_env){.ops = &ops, .arg = sim, .log = &sim->log};
    sim->restarts = seed % 2 == 1;
    sim->fault_due = rnd(sim, MF_NS_PER_S);
    start_server(sim);
    for (int i = 0; i < CLIENTS; i++) {
        struct sim_client *client = &sim->clients[i];
        client->sim = sim;
        client->index = i;
        client->connect_due = NEVER;
        mf_buf_init(&client->to_server.buf, 1u << 24);
        mf_buf_init(&client->to_client.buf, 1u << 24);
        dir_reset(&client->to_server);
        dir_reset(&client->to_client);
        client->action_due = rnd(sim, 500 * MF_NS_PER_MS);
        new_life(sim, client);
    }
    while (sim->now < SIM_END && sim->wrong[0] == '\0')
        step(sim);
    if (sim->wrong[0] == '\0')
        judge(sim);
    sim_close(sim);
    note(sim, sim->finished, sim->expiries);
    if (sim->wrong[0] != '\0') {
        print_error("seed %" PRIu64 ": %s\n", seed, sim->wrong);
        fail();
    }
    return sim->digest;
}

static void test_store_sim__keeps_its_promises_on_every_seed(void **state)
{
    struct sim *sim = test_calloc(1, sizeof(*sim));
    const char *from_text = getenv("MF_SIM_SEED");
    uint64_t from = from_text != NULL ? strtoull(from_text, NULL, 10) : 0;
    uint64_t count = from_text != NULL ? 1 : 200;
    uint64_t expiries = 0;
    uint64_t finished = 0;
    uint64_t steps = 0;
    (void)state;
    for (uint64_t seed = from; seed < from + count; seed++) {
        run_seed(seed, sim);
        expiries += sim->expiries;
        finished += sim->finished;
        steps += sim->steps;
    }
    print_message("%" PRIu64 " seeds: %" PRIu64 " steps, %" PRIu64 " requests, %" PRIu64
                  " sessions expired\n",
                  count, steps, finished, expiries);
    assert_true(expiries > 0 || count == 1); /* the faults do strike */
    test_free(sim);
}

static void test_store_sim__same_seed_gives_the_same_history(void **state)
{
    struct sim *sim = test_calloc(1, sizeof(*sim));
    (void)state;
    for (uint64_t seed = 1000; seed < 1004; seed++) {
        uint64_t first = run_seed(seed, sim);
        assert_true(first == run_seed(seed, sim));
        assert_true(first != run_seed(seed + 100, sim));
    }
    test_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_sim__keeps_its_promises_on_every_seed),
        cmocka_unit_test(test_store_sim__same_seed_gives_the_same_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
