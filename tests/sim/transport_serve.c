// SPDX-License-Identifier: Apache-2.0
// The answering side of copies: one thread of the owner, started by the first peer that asks, does
// what its peers want done to this process's segments, by the fence of copies that others ask for.
// Requests of one connection are done in their order, those of a life's later connection after all
// of its earlier ones have ended.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "transport.h"

#define CLIENTS_MAX 1024u

struct client {
    struct sim_tp_peer *peer; /* a reference */
    struct sim_sock *sock;
    uint64_t generation;
    struct sim_tp_stream in, out;
    bool queued; /* something has changed */
    struct client *next, *next_queued;
};

struct sim_tp_server {
    struct sim_tp *tp;
    pthread_t thread;
    struct mf_fence_line *line, *second;
    _Atomic uint32_t word;
    bool stop;
    uint32_t count;
    struct client *clients;              /* the thread's */
    struct client *adopted;              /* by the loop, not yet seen by the thread; oldest last */
    struct client *queued, *queued_last; /* in the order in which they got something */
};

/* An end of a copy that somebody asks for. */
struct side {
    struct mf_fence_target target;
    struct mf_fence_ask ask;
    struct mf_fence_range range;
    struct sim_object *object; /* a reference; NULL: there is no such segment */
    struct mf_fence_line *line;
    bool announced;
};

static void wake(struct sim_tp_server *server)
{
    atomic_fetch_add(&server->word, 1);
    mf_word_wake(&server->word);
}

static void enqueue(struct sim_tp_server *server, struct client *client)
{
    if (client->queued) {
        return;
    }
    client->queued = true;
    client->next_queued = NULL;
    if (server->queued_last) {
        server->queued_last->next_queued = client;
    } else {
        server->queued = client;
    }
    server->queued_last = client;
}

/* On the loop. */
static void on_ready(void *arg)
{
    struct client *client = arg;
    struct sim_tp_server *server = client->peer->tp->server;
    enqueue(server, client);
    wake(server);
}

static struct client *dequeue(struct sim_tp_server *server)
{
    struct client *client = server->queued;
    if (client) {
        server->queued = client->next_queued;
        server->queued_last = server->queued ? server->queued_last : NULL;
        client->queued = false;
    }
    return client;
}

static void unqueue(struct sim_tp_server *server, struct client *client)
{
    struct client *before = NULL;
    struct client *at = server->queued;
    while (client->queued && at != client) {
        before = at;
        at = at->next_queued;
    }
    if (!client->queued) {
        return;
    }
    if (before) {
        before->next_queued = client->next_queued;
    } else {
        server->queued = client->next_queued;
    }
    server->queued_last = server->queued_last == client ? before : server->queued_last;
    client->queued = false;
}

static void client_free(struct sim_tp_server *server, struct client *client)
{
    sim_sock_close(client->sock);
    unqueue(server, client);
    sim_tp_peer_put(server->tp, client->peer);
    server->count--;
    mf_free(client);
}

static void drop(struct sim_tp_server *server, struct client *client)
{
    struct client **at = &server->clients;
    while (*at != client) {
        at = &(*at)->next;
    }
    *at = client->next;
    client_free(server, client);
}

/* ---- one request ---- */

/* The own segment of that index as it is now. */
static void find(struct sim_tp *tp, const struct sim_tp_req *req, struct side *side)
{
    side->ask = (struct mf_fence_ask){.rank = req->rank,
                                      .incarnation = req->incarnation,
                                      .owner = req->owner,
                                      .index = req->index,
                                      .epoch = req->epoch,
                                      .ranges = &side->range,
                                      .count = 1};
    mf_mutex_lock(&tp->lock);
    struct sim_tp_seg *seg = tp->own;
    while (seg && seg->own->desc.index != side->ask.index) {
        seg = seg->next;
    }
    if (seg) {
        side->target = (struct mf_fence_target){.desc = seg->own->desc, .key = seg->key};
        side->object = sim_held_object(tp->held, seg->object);
    }
    mf_mutex_unlock(&tp->lock);
}

static int begin(const struct sim_tp *tp, struct side *side)
{
    int rc = mf_fence_serve_begin(tp->page->page, side->line, side->object ? &side->target : NULL,
                                  &side->ask);
    side->announced = rc == SMEM_OK;
    return rc;
}

static bool valid(const struct sim_tp *tp, const struct side *side)
{
    return !side->announced || mf_fence_serve_valid(tp->page->page, &side->target, &side->ask);
}

static int end(const struct sim_tp *tp, struct side *side, int rc)
{
    if (side->announced) {
        int ended = mf_fence_serve_end(tp->page->page, side->line, &side->target, &side->ask);
        rc = rc ? rc : ended;
    }
    sim_held_drop_object(tp->held, side->object);
    return rc;
}

static void tell(const struct side *to, const struct sim_tp_place *from, uint64_t done,
                 uint64_t size, uint64_t begun_ns)
{
    const unsigned char *bytes =
        from->object ? sim_object_bytes(from->object) + from->offset : from->at;
    const struct seen_land land = {.desc = &to->target.desc,
                                   .offset = to->range.offset + done,
                                   .bytes = bytes + done,
                                   .size = size,
                                   .source_rank = to->ask.rank,
                                   .source_incarnation = to->ask.incarnation,
                                   .begun_ns = begun_ns,
                                   .same_host = false};
    seen_land(&land);
}

/* Bytes in pieces, looked at again between them. */
static void copy(const struct sim_tp *tp, const struct side *to, const struct side *from,
                 uint8_t *buf, uint64_t size)
{
    struct sim_tp_place target = {.at = buf};
    struct sim_tp_place source = {.at = buf};
    uint64_t begun_ns = sim_now();
    if (to->announced) {
        target = (struct sim_tp_place){.object = to->object, .offset = to->range.offset};
    }
    if (from->announced) {
        source = (struct sim_tp_place){.object = from->object, .offset = from->range.offset};
    }
    for (uint64_t done = 0; done < size;) {
        uint64_t piece = sim_tp_piece(size - done);
        sim_tp_pause();
        if (!valid(tp, to) || !valid(tp, from)) {
            return; /* the end says why */
        }
        if (to->announced) {
            tell(to, &source, done, piece, begun_ns);
        }
        sim_tp_move(&target, &source, done, piece);
        done += piece;
    }
    sim_tp_pause();
}

static int carry_out(struct sim_tp_server *server, const struct sim_tp_req *req, uint8_t *data)
{
    struct sim_tp *tp = server->tp;
    struct side to = {.range = {req->offset, req->size}, .line = server->line};
    struct side from = {.range = {req->offset, req->size}, .line = server->second};
    struct sim_tp_req of_source = *req;
    int rc = SMEM_OK;
    if (req->kind == SIM_TP_COPY) {
        of_source.index = req->src_index;
        of_source.epoch = req->src_epoch;
        from.range.offset = req->src_offset;
    }
    if (req->kind != SIM_TP_GET) {
        find(tp, req, &to);
        rc = begin(tp, &to);
    }
    if (rc == SMEM_OK && req->kind != SIM_TP_PUT) {
        find(tp, &of_source, &from);
        rc = begin(tp, &from);
    }
    if (rc == SMEM_OK) {
        copy(tp, &to, &from, data, req->size);
    }
    rc = end(tp, &to, rc);
    return end(tp, &from, rc);
}

static bool is_sound(const struct client *client, const struct sim_tp_req *req)
{
    uint64_t data = req->kind == SIM_TP_PUT ? req->size : 0;
    return req->size > 0 && req->size <= SIM_TP_DATA_MAX && req->len == sizeof(*req) + data &&
           req->kind >= SIM_TP_PUT && req->kind <= SIM_TP_COPY && req->rank == client->peer->rank &&
           req->incarnation == client->peer->incarnation;
}

/* The request in client->in; its answer goes to client->out. False: rubbish. */
static bool answer(struct sim_tp_server *server, struct client *client)
{
    struct sim_tp_req req = {0};
    struct sim_tp_rsp rsp = {.len = (uint32_t)sizeof(rsp)};
    uint32_t len;
    memcpy(&len, client->in.bytes, sizeof(len));
    if (len < sizeof(req)) {
        return false;
    }
    memcpy(&req, client->in.bytes, sizeof(req));
    if (!is_sound(client, &req)) {
        return false;
    }
    uint8_t *data =
        req.kind == SIM_TP_GET ? client->out.bytes + sizeof(rsp) : client->in.bytes + sizeof(req);
    rsp.number = req.number;
    rsp.code = carry_out(server, &req, data);
    if (rsp.code) {
        snprintf(rsp.text, sizeof(rsp.text), "%s", mf_err_msg());
    } else if (req.kind == SIM_TP_GET) {
        rsp.len += (uint32_t)req.size;
    }
    memcpy(client->out.bytes, &rsp, sizeof(rsp));
    client->out.have = rsp.len;
    client->out.done = 0;
    return true;
}

/* Serve what has come. */
static void serve(struct sim_tp_server *server, struct client *client)
{
    int rc = sim_tp_flush(client->sock, &client->out);
    while (rc > 0) {
        rc = sim_tp_receive(client->sock, &client->in);
        if (rc > 0) {
            rc = answer(server, client) ? sim_tp_flush(client->sock, &client->out) : -1;
        }
    }
    if (rc < 0) {
        drop(server, client);
    }
}

/* ---- the thread ---- */

/* A life's later connection ends its earlier ones: what they had asked for and was not done never
 * happens. */
static void take_adopted(struct sim_tp_server *server)
{
    while (server->adopted) {
        struct client **oldest = &server->adopted;
        while ((*oldest)->next) {
            oldest = &(*oldest)->next;
        }
        struct client *client = *oldest;
        *oldest = NULL;
        if (client->generation < client->peer->served_generation) {
            client_free(server, client);
            continue;
        }
        client->peer->served_generation = client->generation;
        struct client *next;
        for (struct client *other = server->clients; other; other = next) {
            next = other->next;
            if (other->peer == client->peer) {
                drop(server, other);
            }
        }
        client->next = server->clients;
        server->clients = client;
        enqueue(server, client);
    }
}

static void *server_main(void *arg)
{
    struct sim_tp_server *server = arg;
    while (!server->stop) {
        uint32_t seen = atomic_load(&server->word);
        take_adopted(server);
        struct client *client = dequeue(server);
        if (client) {
            serve(server, client);
        } else if (!server->stop) {
            mf_word_wait(&server->word, seen, UINT64_MAX);
        }
    }
    take_adopted(server);
    while (server->clients) {
        drop(server, server->clients);
    }
    return NULL;
}

static void server_free(struct sim_tp_server *server)
{
    struct sim_tp *tp = server->tp;
    mf_mutex_lock(&tp->lock);
    mf_fence_line_give(&tp->fence, server->line);
    mf_fence_line_give(&tp->fence, server->second);
    mf_mutex_unlock(&tp->lock);
    mf_free(server);
}

/* The server, made by the first who needs it: only the loop's thread does. */
static int get_server(struct sim_tp *tp, struct sim_tp_server **out)
{
    *out = tp->server;
    if (*out) {
        return SMEM_OK;
    }
    struct sim_tp_server *server = mf_calloc(1, sizeof(*server), "server of copies");
    if (!server) {
        return SMEM_MALLOC_FAILED;
    }
    server->tp = tp;
    mf_mutex_lock(&tp->lock);
    int rc = mf_fence_line_take(&tp->fence, &server->line);
    rc = rc ? rc : mf_fence_line_take(&tp->fence, &server->second);
    mf_mutex_unlock(&tp->lock);
    rc = rc ? rc : mf_thread_start(&server->thread, "mf-server", server_main, server);
    if (rc) {
        server_free(server);
        return rc;
    }
    tp->server = server;
    *out = server;
    return SMEM_OK;
}

static int find_caller(struct sim_tp *tp, const struct sim_tp_msg *open, struct sim_tp_peer **out)
{
    int rc = SMEM_OK;
    mf_mutex_lock(&tp->lock);
    struct sim_tp_peer *peer = sim_tp_peer_find(tp, open->rank, open->incarnation);
    if (open->to != tp->host->incarnation) {
        rc = mf_err(SMEM_NOT_CONNECTED, "this process is another life of rank %u", tp->host->rank);
    } else if (!peer || peer->dead || peer->refused) {
        rc = mf_err(SMEM_NOT_CONNECTED, "rank %u is not attached under this incarnation",
                    open->rank);
    } else {
        peer->refs++;
        *out = peer;
    }
    mf_mutex_unlock(&tp->lock);
    return rc;
}

int sim_tp_serve(struct sim_tp *tp, const struct sim_tp_msg *open, struct sim_sock *sock,
                 const struct sim_tp_stream *in)
{
    struct sim_tp_server *server = NULL;
    struct sim_tp_peer *peer = NULL;
    int rc = get_server(tp, &server);
    rc = rc ? rc : find_caller(tp, open, &peer);
    if (rc) {
        return rc;
    }
    struct client *client =
        server->count < CLIENTS_MAX ? mf_calloc(1, sizeof(*client), "who asks for copies") : NULL;
    if (!client) {
        sim_tp_peer_put(tp, peer);
        return mf_err(SMEM_NO_RESOURCES, "%u connections are served, the limit, or out of memory",
                      server->count);
    }
    client->peer = peer;
    client->sock = sock;
    client->generation = open->generation;
    client->in = *in;
    client->next = server->adopted;
    server->adopted = client;
    server->count++;
    sim_sock_serve(sock, tp->loop, on_ready, client);
    wake(server);
    return SMEM_OK;
}

void sim_tp_serve_stop(struct sim_tp *tp)
{
    struct sim_tp_server *server = tp->server;
    if (server) {
        server->stop = true;
        wake(server);
        mf_thread_join(server->thread);
        tp->server = NULL;
        server_free(server);
    }
}
