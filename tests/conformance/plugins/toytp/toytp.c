// SPDX-License-Identifier: Apache-2.0
// A transport from outside of the tree, as an author would write it against the installed headers:
// every copy into a segment is done by the segment's owner, who is asked by a datagram and reads
// the bytes with process_vm_readv; reads are done by the caller, who then asks whether the segment
// was still there. So an owner fences its memory with one lock of its own. Slow, small, and
// complete.
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "memfabric/mf_transport.h"
#include "smem.h"

#ifndef TOY_ABI
#define TOY_ABI MF_PLUGIN_ABI
#endif
#define TOY_OP   4u /* SMEMB_DATA_OP_HOST_TCP: the operator that it serves */
#define RANKS    1024u
#define SEGMENTS 32u
#define XFERS    1024u

enum { TOY_TELL = 1, TOY_PUT = 2, TOY_CHECK = 3 };

struct toy_seg {
    struct mf_segment_desc desc;
    uint64_t at; /* address in its owner's process */
};

/* One datagram, request and answer alike. */
struct toy_msg {
    uint32_t what;
    uint32_t rank;
    uint64_t incarnation;
    uint64_t id;
    int32_t pid;
    int32_t status;
    uint32_t pool;
    uint32_t count; /* TELL: of segs */
    uint64_t offset, size, from, deadline_ns;
    struct toy_seg segs[SEGMENTS]; /* PUT, CHECK: the first one is meant */
};

struct toy_peer {
    struct toy *toy;
    uint32_t rank;
    uint64_t incarnation;
    int pid, pidfd;
    void *watch;
    _Atomic bool gone; /* dead, or declared so */
    char name[64];     /* of its socket; the first byte 0 is not stored */
    struct toy_peer *next;
};

/* A peer's segment; kept until close, so that nobody ever holds a pointer to nothing. */
struct toy_remote {
    struct mf_segment segment;
    uint64_t at;
    struct toy_peer *peer;
    bool up;
    struct toy_remote *next;
};

struct toy {
    const struct mf_transport_host *host;
    int sock;
    void *watch;
    char name[64];
    uint64_t refused[RANKS]; /* incarnations that were declared dead */
    pthread_mutex_t lock;    /* guards what follows, and is held while own memory is copied */
    struct mf_segment *own[SEGMENTS];
    struct toy_peer *peers;
    struct toy_remote *remotes;
    uint64_t epoch, next_id;
    pthread_cond_t ended;
    uint32_t endings; /* of on_death that run */
};

struct toy_lane {
    struct toy *toy;
    int sock;
    uint32_t count;
    struct mf_xfer *todo[XFERS];
};

static uint64_t now_ns(const struct toy *toy)
{
    return toy->host->plugin->now_ns(toy->host->plugin);
}

#define TOY_ERR(toy, rc, ...) ((toy)->host->plugin->err((rc), __VA_ARGS__))

static int toy_socket(const char *name)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(sa_family_t); /* no name: the kernel gives one */
    int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (name) {
        memcpy(addr.sun_path + 1, name, strlen(name));
        len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    }
    if (sock >= 0 && bind(sock, (struct sockaddr *)&addr, len) != 0) {
        close(sock);
        sock = -1;
    }
    return sock;
}

/* ---- the peer's word: what it has published ---- */

static void on_death(void *arg)
{
    struct toy_peer *peer = arg;
    struct toy *toy = peer->toy;
    pthread_mutex_lock(&toy->lock);
    void *watch = peer->watch;
    peer->watch = NULL;
    toy->endings++;
    pthread_mutex_unlock(&toy->lock);
    if (watch) {
        toy->host->unwatch_fd(toy->host->arg, watch);
        atomic_store(&peer->gone, true);
        toy->host->peer_dead(toy->host->arg, peer->rank, peer->incarnation,
                             "its process has ended");
    }
    pthread_mutex_lock(&toy->lock);
    toy->endings--;
    pthread_cond_broadcast(&toy->ended);
    pthread_mutex_unlock(&toy->lock);
}

static struct toy_peer *meet(struct toy *toy, const struct toy_msg *msg, const char *name)
{
    struct toy_peer *peer;
    pthread_mutex_lock(&toy->lock);
    for (peer = toy->peers; peer && peer->incarnation != msg->incarnation; peer = peer->next) {
    }
    bool made = !peer;
    if (made) {
        peer = calloc(1, sizeof(*peer));
        *peer = (struct toy_peer){.toy = toy,
                                  .rank = msg->rank,
                                  .incarnation = msg->incarnation,
                                  .pid = msg->pid,
                                  .pidfd = (int)syscall(SYS_pidfd_open, msg->pid, 0),
                                  .next = toy->peers};
        snprintf(peer->name, sizeof(peer->name), "%s", name);
        toy->peers = peer;
    }
    pthread_mutex_unlock(&toy->lock);
    if (made) {
        void *watch = NULL;
        toy->host->watch_fd(toy->host->arg, peer->pidfd, on_death, peer, &watch);
        pthread_mutex_lock(&toy->lock);
        peer->watch = watch;
        pthread_mutex_unlock(&toy->lock);
    }
    return peer;
}

/* What the peer told before about the same place is over: its owner has left and come again. */
static void drop_stale(struct toy *toy, const struct mf_segment_desc *desc)
{
    struct toy_remote *remote;
    pthread_mutex_lock(&toy->lock);
    for (remote = toy->remotes; remote && (!remote->up || remote->segment.desc.gva != desc->gva ||
                                           remote->segment.desc.pool != desc->pool ||
                                           remote->segment.desc.epoch == desc->epoch);
         remote = remote->next) {
    }
    if (remote) {
        remote->up = false;
    }
    pthread_mutex_unlock(&toy->lock);
    if (remote) {
        toy->host->segment_down(toy->host->arg, &remote->segment);
    }
}

/* Tell the host of each segment that is new. */
static int learn(struct toy *toy, struct toy_peer *peer, const struct toy_msg *msg)
{
    int rc = SMEM_OK;
    for (uint32_t i = 0; rc == SMEM_OK && i < msg->count && i < SEGMENTS; i++) {
        const struct toy_seg *told = &msg->segs[i];
        struct toy_remote *remote;
        drop_stale(toy, &told->desc);
        pthread_mutex_lock(&toy->lock);
        for (remote = toy->remotes;
             remote && (!remote->up || remote->segment.desc.epoch != told->desc.epoch);
             remote = remote->next) {
        }
        bool made = !remote;
        if (made) {
            remote = calloc(1, sizeof(*remote));
            remote->segment.desc = told->desc;
            remote->segment.tp = toy;
            remote->segment.priv = remote;
            remote->at = told->at;
            remote->peer = peer;
            remote->up = true;
            remote->next = toy->remotes;
            toy->remotes = remote;
        }
        pthread_mutex_unlock(&toy->lock);
        rc = made ? toy->host->segment_up(toy->host->arg, &remote->segment) : SMEM_OK;
        if (rc) { /* the host has not joined: told again, it is new again */
            pthread_mutex_lock(&toy->lock);
            remote->up = false;
            pthread_mutex_unlock(&toy->lock);
        }
    }
    return rc;
}

static void tell(struct toy *toy, struct toy_msg *msg, uint32_t what, uint32_t pool)
{
    memset(msg, 0, sizeof(*msg));
    msg->what = what;
    msg->rank = toy->host->rank;
    msg->incarnation = toy->host->incarnation;
    msg->pid = getpid();
    msg->pool = pool;
    pthread_mutex_lock(&toy->lock);
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        if (toy->own[i] && toy->own[i]->desc.pool == pool) {
            msg->segs[msg->count++] =
                (struct toy_seg){.desc = toy->own[i]->desc, .at = toy->own[i]->host};
        }
    }
    pthread_mutex_unlock(&toy->lock);
}

/* ---- the owner's side, on the loop ---- */

static struct mf_segment *find_own_locked(struct toy *toy, const struct mf_segment_desc *desc)
{
    struct mf_segment *own = desc->index < SEGMENTS ? toy->own[desc->index] : NULL;
    return own && own->desc.epoch == desc->epoch ? own : NULL;
}

/* What is aligned and fits a register lands by one store. */
static void store_word(void *to, const void *word, uint64_t size)
{
    if (size == 8) {
        __atomic_store_n((uint64_t *)to, *(const uint64_t *)word, __ATOMIC_RELEASE);
    } else if (size == 4) {
        __atomic_store_n((uint32_t *)to, *(const uint32_t *)word, __ATOMIC_RELEASE);
    } else if (size == 2) {
        __atomic_store_n((uint16_t *)to, *(const uint16_t *)word, __ATOMIC_RELEASE);
    } else {
        __atomic_store_n((uint8_t *)to, *(const uint8_t *)word, __ATOMIC_RELEASE);
    }
}

static int serve_put_locked(struct toy *toy, const struct toy_msg *msg,
                            const struct mf_segment *own)
{
    uint64_t word = 0;
    char *to = (char *)(uintptr_t)(own->host + msg->offset);
    bool small = msg->size <= 8 && (msg->size & (msg->size - 1)) == 0 &&
                 ((uintptr_t)to & (msg->size - 1)) == 0;
    struct iovec here = {.iov_base = small ? (void *)&word : to, .iov_len = msg->size};
    struct iovec there = {.iov_base = (void *)(uintptr_t)msg->from, .iov_len = msg->size};
    if (msg->offset > own->desc.size || msg->size > own->desc.size - msg->offset ||
        now_ns(toy) > msg->deadline_ns) {
        return SMEM_INVALID_PARAM;
    }
    if (process_vm_readv(msg->pid, &here, 1, &there, 1, 0) != (ssize_t)msg->size) {
        return SMEM_NOT_CONNECTED;
    }
    if (small) {
        store_word(to, &word, msg->size);
    }
    return SMEM_OK;
}

static void on_request(void *arg)
{
    struct toy *toy = arg;
    struct toy_msg msg;
    struct sockaddr_un from = {0};
    socklen_t len = sizeof(from);
    ssize_t n =
        recvfrom(toy->sock, &msg, sizeof(msg), MSG_DONTWAIT, (struct sockaddr *)&from, &len);
    if (n != (ssize_t)sizeof(msg) || msg.rank >= RANKS || msg.count > SEGMENTS) {
        return;
    }
    struct toy_msg answer = {.id = msg.id, .what = msg.what};
    pthread_mutex_lock(&toy->lock);
    bool refused = toy->refused[msg.rank] == msg.incarnation;
    pthread_mutex_unlock(&toy->lock);
    if (refused) {
        answer.status = SMEM_NOT_CONNECTED;
    } else if (msg.what == TOY_TELL) {
        char name[64];
        snprintf(name, sizeof(name), "toytp-%d-%llx", msg.pid, (unsigned long long)msg.incarnation);
        answer.status = learn(toy, meet(toy, &msg, name), &msg);
        int32_t status = answer.status;
        tell(toy, &answer, TOY_TELL, msg.pool);
        answer.id = msg.id;
        answer.status = status;
    } else {
        pthread_mutex_lock(&toy->lock);
        const struct mf_segment *own = find_own_locked(toy, &msg.segs[0].desc);
        answer.status = !own                  ? SMEM_NOT_CONNECTED
                        : msg.what == TOY_PUT ? serve_put_locked(toy, &msg, own)
                                              : SMEM_OK;
        pthread_mutex_unlock(&toy->lock);
    }
    sendto(toy->sock, &answer, sizeof(answer), MSG_DONTWAIT, (struct sockaddr *)&from, len);
}

/* ---- the asking side ---- */

/* Send a request and wait for its answer, for the peer's end, or for the deadline. */
static int ask(struct toy *toy, int sock, const char *name, int pidfd, struct toy_msg *msg,
               uint64_t deadline_ns)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    uint64_t id = __atomic_add_fetch(&toy->next_id, 1, __ATOMIC_RELAXED);
    memcpy(addr.sun_path + 1, name, strlen(name));
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    bool sent = false;
    msg->id = id;
    msg->deadline_ns = deadline_ns;
    while (now_ns(toy) < deadline_ns) {
        if (!sent &&
            sendto(sock, msg, sizeof(*msg), MSG_DONTWAIT, (struct sockaddr *)&addr, len) < 0 &&
            errno != EAGAIN) {
            return TOY_ERR(toy, SMEM_NOT_CONNECTED, "toytp: send to @%s: %s", name,
                           strerror(errno));
        }
        sent = sent || errno != EAGAIN;
        struct pollfd fds[] = {{.fd = sock, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
        poll(fds, pidfd >= 0 ? 2 : 1, sent ? 20 : 1);
        while (recv(sock, msg, sizeof(*msg), MSG_DONTWAIT) == (ssize_t)sizeof(*msg)) {
            if (msg->id == id) {
                return SMEM_OK;
            }
        }
        if (pidfd >= 0 && fds[1].revents) {
            return TOY_ERR(toy, SMEM_NOT_CONNECTED, "toytp: the process of @%s has ended", name);
        }
        errno = 0;
    }
    return TOY_ERR(toy, SMEM_TIMEOUT, "toytp: no answer of @%s", name);
}

static int toy_attach(void *tp, const struct mf_peer *to, uint32_t pool, uint64_t deadline_ns)
{
    struct toy *toy = tp;
    struct toy_msg msg;
    char name[64];
    if (to->endpoint_len == 0 || to->endpoint_len >= sizeof(name)) {
        return TOY_ERR(toy, SMEM_INVALID_PARAM, "toytp: endpoint of %u bytes", to->endpoint_len);
    }
    memcpy(name, to->endpoint, to->endpoint_len);
    name[to->endpoint_len] = '\0';
    int sock = toy_socket(NULL);
    if (sock < 0) {
        return TOY_ERR(toy, SMEM_NO_RESOURCES, "toytp: socket: %s", strerror(errno));
    }
    tell(toy, &msg, TOY_TELL, pool);
    int rc = ask(toy, sock, name, -1, &msg, deadline_ns);
    close(sock);
    if (rc == SMEM_OK && msg.status) {
        rc = TOY_ERR(toy, SMEM_NOT_CONNECTED, "toytp: rank %u refuses (%d)", to->rank, msg.status);
    }
    return rc ? rc : learn(toy, meet(toy, &msg, name), &msg);
}

static struct toy_remote *remote_of(const struct toy *toy, const struct mf_segment *segment)
{
    return segment && segment->desc.owner != toy->host->rank ? segment->priv : NULL;
}

/* A copy within this process, into or out of an own segment: the lock is the fence. */
static int copy_here(struct toy *toy, const struct mf_xfer *x)
{
    uint64_t src = x->src_seg ? x->src_seg->host + (x->src - x->src_seg->desc.gva) : x->src;
    uint64_t dst = x->dst_seg ? x->dst_seg->host + (x->dst - x->dst_seg->desc.gva) : x->dst;
    pthread_mutex_lock(&toy->lock);
    bool ok = (!x->src_seg || find_own_locked(toy, &x->src_seg->desc)) &&
              (!x->dst_seg || find_own_locked(toy, &x->dst_seg->desc));
    if (ok) {
        toy->host->copy(toy->host->arg, (void *)(uintptr_t)dst, (const void *)(uintptr_t)src,
                        x->size);
    }
    pthread_mutex_unlock(&toy->lock);
    return ok ? SMEM_OK : TOY_ERR(toy, SMEM_NOT_CONNECTED, "toytp: an own segment was withdrawn");
}

static int copy_one(struct toy_lane *lane, const struct mf_xfer *x, uint64_t deadline_ns)
{
    struct toy *toy = lane->toy;
    const struct toy_remote *src = remote_of(toy, x->src_seg);
    const struct toy_remote *dst = remote_of(toy, x->dst_seg);
    const struct toy_remote *far = dst ? dst : src;
    struct toy_msg msg;
    if (src && dst) {
        return TOY_ERR(toy, SMEM_NOT_EXIST, "toytp: both ends are peers' segments");
    }
    if (!far) {
        return copy_here(toy, x);
    }
    struct toy_peer *peer = far->peer;
    if (atomic_load(&peer->gone)) {
        return TOY_ERR(toy, SMEM_NOT_CONNECTED, "toytp: rank %u has left or died", peer->rank);
    }
    memset(&msg, 0, sizeof(msg));
    msg.what = dst ? TOY_PUT : TOY_CHECK;
    msg.rank = toy->host->rank;
    msg.incarnation = toy->host->incarnation;
    msg.pid = getpid();
    msg.size = x->size;
    msg.offset = (dst ? x->dst : x->src) - far->segment.desc.gva;
    msg.segs[0].desc = far->segment.desc;
    if (dst) {
        msg.from = x->src_seg ? x->src_seg->host + (x->src - x->src_seg->desc.gva) : x->src;
    } else {
        uint64_t to = x->dst_seg ? x->dst_seg->host + (x->dst - x->dst_seg->desc.gva) : x->dst;
        struct iovec here = {.iov_base = (void *)(uintptr_t)to, .iov_len = x->size};
        struct iovec there = {.iov_base = (void *)(uintptr_t)(src->at + msg.offset),
                              .iov_len = x->size};
        (void)process_vm_readv(peer->pid, &here, 1, &there, 1,
                               0); /* believed if the check succeeds */
    }
    int rc = ask(toy, lane->sock, peer->name, peer->pidfd, &msg, deadline_ns);
    if (rc == SMEM_OK && msg.status) {
        rc = TOY_ERR(toy, msg.status, "toytp: rank %u refuses: the segment is gone, or we are",
                     peer->rank);
    }
    return rc;
}

static int toy_post(void *arg, struct mf_xfer *v, uint32_t count)
{
    struct toy_lane *lane = arg;
    for (uint32_t i = 0; i < count; i++) {
        v[i].status = lane->count < XFERS ? MF_XFER_PENDING : SMEM_NO_RESOURCES;
        if (lane->count < XFERS) {
            lane->todo[lane->count++] = &v[i];
        }
    }
    return SMEM_OK;
}

static int toy_wait(void *arg, uint64_t deadline_ns)
{
    struct toy_lane *lane = arg;
    int first = SMEM_OK;
    for (uint32_t i = 0; i < lane->count; i++) {
        lane->todo[i]->status = copy_one(lane, lane->todo[i], deadline_ns);
        first = first ? first : lane->todo[i]->status;
    }
    lane->count = 0;
    return first;
}

static int toy_lane_open(void *tp, void **out)
{
    struct toy_lane *lane = calloc(1, sizeof(*lane));
    lane->toy = tp;
    lane->sock = toy_socket(NULL);
    *out = lane;
    return SMEM_OK;
}

static void toy_lane_close(void *tp, void *arg)
{
    struct toy_lane *lane = arg;
    (void)tp;
    close(lane->sock);
    free(lane);
}

/* ---- life ---- */

static int toy_publish(void *tp, const struct mf_publish *pub)
{
    struct toy *toy = tp;
    uint32_t i = 0;
    pthread_mutex_lock(&toy->lock);
    while (i < SEGMENTS && toy->own[i]) {
        i++;
    }
    if (i < SEGMENTS) {
        pub->segment->desc.index = i;
        pub->segment->desc.epoch = toy->host->random_token[0] + ++toy->epoch;
        toy->own[i] = pub->segment;
    }
    pthread_mutex_unlock(&toy->lock);
    return i < SEGMENTS ? SMEM_OK : TOY_ERR(toy, SMEM_NO_RESOURCES, "toytp: %u segments", SEGMENTS);
}

static int toy_withdraw(void *tp, struct mf_segment *segment, uint64_t deadline_ns)
{
    struct toy *toy = tp;
    while (pthread_mutex_trylock(&toy->lock) != 0) {
        struct timespec pause = {.tv_nsec = 100000};
        if (now_ns(toy) >= deadline_ns) {
            return TOY_ERR(toy, SMEM_RES_IN_USE, "toytp: rank %u still copies", toy->host->rank);
        }
        nanosleep(&pause, NULL);
    }
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        if (toy->own[i] == segment) {
            toy->own[i] = NULL;
        }
    }
    pthread_mutex_unlock(&toy->lock);
    return SMEM_OK;
}

static int toy_detach(void *tp, uint32_t rank, uint64_t incarnation, uint32_t pool,
                      enum mf_detach_why why)
{
    struct toy *toy = tp;
    struct mf_segment *down[SEGMENTS];
    uint32_t count = 0;
    pthread_mutex_lock(&toy->lock);
    if (why == MF_DETACH_DEAD && rank < RANKS) {
        toy->refused[rank] = incarnation;
    }
    for (struct toy_remote *remote = toy->remotes; remote; remote = remote->next) {
        if (remote->up && remote->peer->incarnation == incarnation && count < SEGMENTS &&
            (pool == UINT32_MAX || remote->segment.desc.pool == pool)) {
            remote->up = false;
            down[count++] = &remote->segment;
            if (why == MF_DETACH_DEAD) {
                atomic_store(&remote->peer->gone, true);
            }
        }
    }
    pthread_mutex_unlock(&toy->lock);
    for (uint32_t i = 0; i < count; i++) {
        toy->host->segment_down(toy->host->arg, down[i]);
    }
    return SMEM_OK;
}

static int toy_probe(const struct mf_plugin_host *host)
{
    char byte = 1;
    char copy = 0;
    struct iovec here = {&copy, 1};
    struct iovec there = {&byte, 1};
    return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 1 && copy == 1
               ? SMEM_OK
               : host->err(SMEM_NOT_EXIST, "toytp: process_vm_readv is not allowed here");
}

static void toy_close(void *tp)
{
    struct toy *toy = tp;
    if (toy->watch) {
        toy->host->unwatch_fd(toy->host->arg, toy->watch);
    }
    for (struct toy_peer *peer = toy->peers, *next; peer; peer = next) {
        next = peer->next;
        pthread_mutex_lock(&toy->lock);
        void *watch = peer->watch;
        peer->watch = NULL;
        while (toy->endings) {
            pthread_cond_wait(&toy->ended, &toy->lock);
        }
        pthread_mutex_unlock(&toy->lock);
        if (watch) {
            toy->host->unwatch_fd(toy->host->arg, watch);
        }
        close(peer->pidfd);
        free(peer);
    }
    for (struct toy_remote *remote = toy->remotes, *next; remote; remote = next) {
        next = remote->next;
        free(remote);
    }
    close(toy->sock);
    pthread_cond_destroy(&toy->ended);
    pthread_mutex_destroy(&toy->lock);
    free(toy);
}

static int toy_open(const struct mf_transport_host *host, void **tp)
{
    struct toy *toy = calloc(1, sizeof(*toy));
    toy->host = host;
    pthread_mutex_init(&toy->lock, NULL);
    pthread_cond_init(&toy->ended, NULL);
    snprintf(toy->name, sizeof(toy->name), "toytp-%d-%llx", getpid(),
             (unsigned long long)host->incarnation);
    toy->sock = toy_socket(toy->name);
    int rc = toy->sock < 0 ? TOY_ERR(toy, SMEM_NO_RESOURCES, "toytp: socket: %s", strerror(errno))
                           : host->watch_fd(host->arg, toy->sock, on_request, toy, &toy->watch);
    if (rc) {
        toy_close(toy);
        return rc;
    }
    *tp = toy;
    return SMEM_OK;
}

static int toy_endpoint(void *tp, uint8_t *buf, uint32_t cap, uint32_t *len)
{
    struct toy *toy = tp;
    *len = (uint32_t)strlen(toy->name);
    if (*len > cap) {
        return TOY_ERR(toy, SMEM_BUFFER_TOO_SMALL, "toytp: endpoint needs %u bytes", *len);
    }
    memcpy(buf, toy->name, *len);
    return SMEM_OK;
}

static const struct mf_transport_ops toy_ops = {
    .abi = TOY_ABI,
    .size = sizeof(struct mf_transport_ops),
    .name = "toytp",
    .data_ops = TOY_OP,
    .caps = MF_CAP_HOST | MF_CAP_SAME_HOST,
    .probe = toy_probe,
    .open = toy_open,
    .close = toy_close,
    .endpoint = toy_endpoint,
    .publish = toy_publish,
    .withdraw = toy_withdraw,
    .attach = toy_attach,
    .detach = toy_detach,
    .lane_open = toy_lane_open,
    .lane_close = toy_lane_close,
    .post = toy_post,
    .wait = toy_wait,
};

/* The twin that the tests build has another ABI number, in its name and in its tables. */
#undef MF_PLUGIN_SYMBOL
#define MF_PLUGIN_SYMBOL MF_PLUGIN_CONCAT(mf_plugin_v, TOY_ABI)
MF_PLUGIN_EXPORT extern const struct mf_plugin MF_PLUGIN_SYMBOL;
const struct mf_plugin MF_PLUGIN_SYMBOL = {
    .abi = TOY_ABI,
    .size = sizeof(struct mf_plugin),
    .name = "toytp",
    .version = "1",
    .transport = &toy_ops,
};
