// SPDX-License-Identifier: Apache-2.0
// The answering side of puts: one thread of the owner, started by the first peer that asks, reads
// what its peers want to have in this process's segments out of their memory. It announces the
// segment in a line of its own, so that withdraw waits for it as for anybody who copies.
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "transport/direct/vm.h"

#define CLIENTS_MAX    4096u /* connections that are served at a time */
#define EVENTS_AT_ONCE 16

/* A peer's connection. The server's thread owns those that it serves. */
struct client {
    struct mf_direct_peer *peer; /* a reference */
    int fd;
    struct client *next;
};

struct mf_direct_vm_server {
    struct mf_direct *d;
    int epoll;
    int wake; /* an eventfd */
    pthread_t thread;
    void *lane; /* only its line is used */
    struct mf_fence_line *line;
    struct client *clients;
    /* Guarded by the instance's lock: */
    struct client *adopted;
    uint32_t count; /* of both lists */
    bool stop;
    /* Scratch of the thread: */
    struct mf_direct_pull pull;
    struct mf_direct_done done;
    struct mf_fence_range ranges[MF_DIRECT_PULL_PIECES];
    struct mf_direct_span spans[MF_DIRECT_PULL_PIECES];
    uint8_t bytes[MF_DIRECT_PULL_MAX + 1];
};

static void client_free(struct mf_direct *d, struct client *client)
{
    mf_direct_fd_close(d, client->fd);
    mf_direct_peer_put(d, client->peer);
    mf_free(client);
}

/* Forget a client that the thread serves. */
static void drop(struct mf_direct_vm_server *s, struct client *client)
{
    struct client **at = &s->clients;
    while (*at != client) {
        at = &(*at)->next;
    }
    *at = client->next;
    mf_mutex_lock(&s->d->lock);
    s->count--;
    mf_mutex_unlock(&s->d->lock);
    client_free(s->d, client);
}

/* ---- one request ---- */

/* The own segment of that index, as it is now; false: there is none. */
static bool find_target(struct mf_direct *d, uint32_t index, struct mf_fence_target *to,
                        uint64_t *host)
{
    mf_mutex_lock(&d->lock);
    const struct mf_direct_seg *seg = d->own;
    while (seg && seg->own->desc.index != index) {
        seg = seg->next;
    }
    if (seg) {
        *to = (struct mf_fence_target){.desc = seg->own->desc, .key = seg->key};
        *host = seg->own->desc.kind == MF_KIND_DRAM ? seg->own->host : 0;
    }
    mf_mutex_unlock(&d->lock);
    return seg != NULL;
}

static void make_ranges(struct mf_direct_vm_server *s)
{
    for (uint32_t i = 0; i < s->pull.count; i++) {
        const struct mf_direct_piece *piece = &s->pull.v[i];
        s->ranges[i] = (struct mf_fence_range){.offset = piece->offset, .size = piece->size};
    }
}

static void make_spans(struct mf_direct_vm_server *s, uint64_t host)
{
    for (uint32_t i = 0; i < s->pull.count; i++) {
        const struct mf_direct_piece *piece = &s->pull.v[i];
        s->spans[i] = (struct mf_direct_span){
            .to = host + piece->offset, .from = piece->src, .size = piece->size};
    }
}

static int explain_piece(const struct mf_direct_peer *peer, const struct mf_direct_span *span,
                         const struct mf_direct_read *how)
{
    if (how->err != EFAULT) {
        return mf_direct_vm_refusal(peer, how->err);
    }
    if (how->local) {
        return mf_err(SMEM_NOT_CONNECTED, "the segment is not mapped any more");
    }
    return mf_err(SMEM_INVALID_PARAM,
                  "address 0x%" PRIx64 " of rank %u (pid %d) cannot be read: %" PRIu64
                  " of the %" PRIu64 " bytes from 0x%" PRIx64 " on were copied",
                  span->from + how->bytes, peer->rank, peer->pid, how->bytes, span->size,
                  span->from);
}

/* Has the caller given up? What it sent before is then of no use. */
static bool hung_up(const struct client *client)
{
    struct pollfd end = {.fd = client->fd, .events = POLLRDHUP};
    return poll(&end, 1, 0) > 0;
}

/* Read the pieces, each with its own code; the first failure's sentence goes into the answer. */
static void read_pieces(struct mf_direct_vm_server *s, const struct client *client)
{
    struct mf_direct_done *done = &s->done;
    uint32_t count = s->pull.count;
    for (uint32_t at = 0; at < count;) {
        struct mf_direct_read how;
        mf_direct_vm_read(s->d, client->peer->pid, s->spans + at, count - at, &how);
        for (uint32_t i = 0; i < how.whole; i++) {
            done->codes[at + i] = SMEM_OK;
        }
        at += how.whole;
        if (how.err) {
            int rc = explain_piece(client->peer, &s->spans[at], &how);
            done->codes[at++] = rc;
            if (done->code == SMEM_OK) {
                done->code = rc;
                snprintf(done->text, sizeof(done->text), "%s", mf_err_msg());
            }
        }
    }
}

/* All pieces end the same way; the sentence is recorded. */
static void refuse_all(struct mf_direct_vm_server *s, int rc)
{
    s->done.code = rc;
    snprintf(s->done.text, sizeof(s->done.text), "%s", mf_err_msg());
    for (uint32_t i = 0; i < s->pull.count; i++) {
        s->done.codes[i] = rc;
    }
}

/* The fence is that of every copy: announce, look, copy, look again, retract. */
static void pull(struct mf_direct_vm_server *s, const struct client *client)
{
    struct mf_direct *d = s->d;
    struct mf_fence_target to;
    uint64_t host = 0;
    bool found = find_target(d, s->pull.index, &to, &host);
    const struct mf_fence_ask ask = {.rank = client->peer->rank,
                                     .incarnation = client->peer->incarnation,
                                     .owner = d->host->incarnation,
                                     .index = s->pull.index,
                                     .epoch = s->pull.epoch,
                                     .ranges = s->ranges,
                                     .count = s->pull.count};
    make_ranges(s);
    int rc = mf_fence_serve_begin(d->control, s->line, found ? &to : NULL, &ask);
    if (rc == SMEM_OK && host == 0) {
        rc = mf_err(SMEM_INVALID_PARAM, "segment %u of rank %u is device memory", ask.index,
                    d->host->rank);
        mf_fence_leave(s->line);
    } else if (rc == SMEM_OK) {
        make_spans(s, host);
        read_pieces(s, client);
        rc = mf_fence_serve_end(d->control, s->line, &to, &ask);
    }
    if (rc) {
        refuse_all(s, rc);
    }
}

static int check_sender(const struct mf_direct_pull *pull, const struct mf_direct_peer *peer)
{
    if (pull->rank == peer->rank && pull->incarnation == peer->incarnation) {
        return SMEM_OK;
    }
    return mf_err(SMEM_INVALID_PARAM, "request to pull: rank %u asks as rank %u", peer->rank,
                  pull->rank);
}

static bool send_answer(struct mf_direct_vm_server *s, const struct client *client)
{
    ssize_t n;
    s->done.number = s->pull.number;
    s->done.count = s->done.code ? s->pull.count : 0;
    size_t len = mf_direct_done_encode(&s->done, s->bytes);
    do {
        n = send(client->fd, s->bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)len; /* one that does not take its few answers is cut off */
}

/* One request of a client. False: it is of no use any more. */
static bool serve(struct mf_direct_vm_server *s, const struct client *client)
{
    if (hung_up(client)) {
        return false;
    }
    ssize_t n = recv(client->fd, s->bytes, sizeof(s->bytes), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return true;
    }
    if (n <= 0) {
        return false;
    }
    int rc = mf_direct_pull_decode(s->bytes, (size_t)n, &s->pull);
    rc = rc ? rc : check_sender(&s->pull, client->peer);
    if (rc) {
        s->d->host->plugin->log(s->d->host->plugin, 2, MF_DIRECT_AREA, "pid %d is cut off: %s",
                                client->peer->pid, mf_err_msg());
        return false;
    }
    s->done.code = SMEM_OK;
    s->done.text[0] = '\0';
    pull(s, client);
    /* What was read is the caller's only if its process number was, all the time. */
    return !mf_direct_peer_ended(client->peer) && send_answer(s, client);
}

/* ---- the thread ---- */

/* Serve those that the loop has taken in. */
static void take_adopted(struct mf_direct_vm_server *s)
{
    mf_mutex_lock(&s->d->lock);
    struct client *list = s->adopted;
    s->adopted = NULL;
    mf_mutex_unlock(&s->d->lock);
    while (list) {
        struct client *client = list;
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = client};
        list = client->next;
        client->next = s->clients;
        s->clients = client;
        if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, client->fd, &event) != 0) {
            drop(s, client); /* the other side sees the end of the connection */
        }
    }
}

static void drop_ended(struct mf_direct_vm_server *s)
{
    struct client *next;
    for (struct client *client = s->clients; client; client = next) {
        next = client->next;
        mf_mutex_lock(&s->d->lock);
        bool dead = client->peer->dead;
        mf_mutex_unlock(&s->d->lock);
        if (dead) {
            drop(s, client);
        }
    }
}

static bool should_stop(struct mf_direct_vm_server *s)
{
    mf_mutex_lock(&s->d->lock);
    bool stop = s->stop;
    mf_mutex_unlock(&s->d->lock);
    return stop;
}

static void *server_main(void *arg)
{
    struct mf_direct_vm_server *s = arg;
    struct epoll_event events[EVENTS_AT_ONCE];
    while (!should_stop(s)) {
        int n = epoll_wait(s->epoll, events, EVENTS_AT_ONCE, -1);
        bool woken = false;
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;
            woken = woken || !client;
            if (client && !serve(s, client)) {
                drop(s, client);
            }
        }
        if (woken) {
            uint64_t times;
            (void)!read(s->wake, &times, sizeof(times));
            take_adopted(s);
            drop_ended(s);
        }
    }
    take_adopted(s);
    while (s->clients) {
        drop(s, s->clients);
    }
    return NULL;
}

static void server_free(struct mf_direct_vm_server *s)
{
    struct mf_direct *d = s->d;
    mf_direct_fd_close(d, s->wake);
    mf_direct_fd_close(d, s->epoll);
    mf_direct_lane_close(d, s->lane);
    mf_free(s);
}

static int server_open(struct mf_direct *d, struct mf_direct_vm_server *s)
{
    struct epoll_event event = {.events = EPOLLIN};
    s->d = d;
    s->wake = s->epoll = -1;
    int rc = mf_direct_lane_open(d, &s->lane);
    if (rc) {
        s->lane = NULL;
        return rc;
    }
    s->line = mf_direct_lane_line(s->lane);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll >= 0) {
        mf_direct_fd_note(d, s->epoll);
        s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    if (s->wake < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->wake, &event) != 0) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno,
                          "serve puts of other processes (limit: ulimit -n)");
    }
    mf_direct_fd_note(d, s->wake);
    return mf_thread_start(&s->thread, "mf-puller", server_main, s);
}

/* The server, made by the first who needs it: only the loop's thread does. */
static int get_server(struct mf_direct *d, struct mf_direct_vm_server **out)
{
    mf_mutex_lock(&d->lock);
    *out = d->vm->server;
    mf_mutex_unlock(&d->lock);
    if (*out) {
        return SMEM_OK;
    }
    struct mf_direct_vm_server *s = mf_calloc(1, sizeof(*s), "server of puts");
    if (!s) {
        return SMEM_MALLOC_FAILED;
    }
    int rc = server_open(d, s);
    if (rc) {
        server_free(s);
        return rc;
    }
    mf_mutex_lock(&d->lock);
    d->vm->server = s;
    mf_mutex_unlock(&d->lock);
    *out = s;
    return SMEM_OK;
}

static void wake(const struct mf_direct_vm_server *s)
{
    uint64_t one = 1;
    (void)!write(s->wake, &one, sizeof(one));
}

/* Who is it that asks? With a reference. */
static int find_caller(struct mf_direct *d, const struct mf_direct_msg *msg, int pid,
                       struct mf_direct_peer **out)
{
    int rc = SMEM_OK;
    mf_mutex_lock(&d->lock);
    struct mf_direct_peer *peer = mf_direct_peer_find(d, msg->rank, msg->incarnation);
    if (msg->to != d->host->incarnation) {
        rc = mf_err(SMEM_NOT_CONNECTED, "this process is another life of rank %u", d->host->rank);
    } else if (!peer || peer->dead || peer->pid != pid || pid <= 0) {
        rc = mf_err(SMEM_NOT_CONNECTED, "process %d is not attached as rank %u", pid, msg->rank);
    } else if (peer->refused) {
        rc = mf_err(SMEM_NOT_CONNECTED, "rank %u was declared dead", msg->rank);
    } else {
        peer->refs++;
        *out = peer;
    }
    mf_mutex_unlock(&d->lock);
    return rc;
}

int mf_direct_vm_adopt(struct mf_direct *d, const struct mf_direct_msg *msg, int fd)
{
    struct mf_direct_vm_server *s;
    struct mf_direct_peer *peer = NULL;
    int pid = 0;
    int rc = mf_direct_peer_check_user(fd, &pid);
    rc = rc ? rc : get_server(d, &s);
    rc = rc ? rc : find_caller(d, msg, pid, &peer);
    if (rc) {
        return rc;
    }
    struct client *client = mf_calloc(1, sizeof(*client), "connection of puts");
    bool room = false;
    mf_mutex_lock(&d->lock);
    if (client && s->count < CLIENTS_MAX) {
        *client = (struct client){.peer = peer, .fd = fd, .next = s->adopted};
        s->adopted = client;
        s->count++;
        room = true;
    }
    mf_mutex_unlock(&d->lock);
    if (!room) {
        rc = client ? mf_err(SMEM_NO_RESOURCES, "%u connections of puts are open, the limit",
                             CLIENTS_MAX)
                    : SMEM_MALLOC_FAILED;
        mf_free(client);
        mf_direct_peer_put(d, peer);
        return rc;
    }
    wake(s);
    return SMEM_OK;
}

void mf_direct_vm_wake_locked(struct mf_direct *d)
{
    if (d->vm && d->vm->server) {
        wake(d->vm->server);
    }
}

void mf_direct_vm_serve_stop(struct mf_direct *d)
{
    mf_mutex_lock(&d->lock);
    struct mf_direct_vm_server *s = d->vm->server;
    d->vm->server = NULL;
    if (s) {
        s->stop = true;
    }
    mf_mutex_unlock(&d->lock);
    if (s) {
        wake(s);
        mf_thread_join(s->thread);
        server_free(s);
    }
}
