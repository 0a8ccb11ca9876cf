// SPDX-License-Identifier: Apache-2.0
// The asking side, on the caller's thread: find the peer's process by its endpoint, prove to each
// other who one is, and exchange segments until both know all of the other's.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "transport/direct/internal.h"
#include "transport/direct/vm.h"

/* Endpoint: version, 3 zero bytes, user, token, hint of the host, hint of the network namespace. */
#define ENDPOINT_VERSION 1u
#define ENDPOINT_LEN     40u
#define RETRY_FIRST_US   100u
#define RETRY_MAX_US     5000u

/* One conversation. */
struct talk {
    struct mf_direct *d;
    const struct mf_peer *to;
    uint32_t pool;
    uint64_t deadline_ns;
    int sock;
    int pid;                     /* of the process at its other end */
    uint32_t from;               /* first own segment that the other side does not know */
    bool said_last;              /* we have no more */
    bool heard_last;             /* they have no more */
    bool retry;                  /* turned away without a word: it may have room a little later */
    struct mf_direct_peer *peer; /* a reference, once known */
};

static uint64_t hash_of(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    for (; *text; text++) {
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3ull;
    }
    return hash;
}

void mf_direct_hints(uint64_t *host_hint, uint64_t *net_hint)
{
    char text[64] = "";
    struct stat st;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, text, sizeof(text) - 1);
        text[n > 0 ? n : 0] = '\0';
        close(fd);
    }
    *host_hint = hash_of(text);
    *net_hint = stat("/proc/self/ns/net", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

uint32_t mf_direct_address(const uint8_t token[16], struct sockaddr_un *out)
{
    static const char prefix[] = "memfabric-";
    static const char hex[] = "0123456789abcdef";
    memset(out, 0, sizeof(*out));
    out->sun_family = AF_UNIX;
    char *at = out->sun_path + 1; /* the first byte 0: no file, gone with its process */
    memcpy(at, prefix, sizeof(prefix) - 1);
    at += sizeof(prefix) - 1;
    for (int i = 0; i < 16; i++) {
        *at++ = hex[token[i] >> 4];
        *at++ = hex[token[i] & 15];
    }
    return (uint32_t)(at - (char *)out);
}

static void put64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

int mf_direct_endpoint(void *tp, uint8_t *buf, uint32_t cap, uint32_t *len)
{
    const struct mf_direct *d = tp;
    if (cap < ENDPOINT_LEN) {
        return mf_err(SMEM_BUFFER_TOO_SMALL, "endpoint: %u bytes are needed, %u given",
                      ENDPOINT_LEN, cap);
    }
    memset(buf, 0, ENDPOINT_LEN);
    buf[0] = ENDPOINT_VERSION;
    memcpy(buf + 8, d->token, sizeof(d->token));
    put64(buf + 24, d->host_hint);
    put64(buf + 32, d->net_hint);
    *len = ENDPOINT_LEN;
    return SMEM_OK;
}

/* What the endpoint alone tells. */
static int check_endpoint(const struct mf_direct *d, const struct mf_peer *to)
{
    if (to->endpoint_len != ENDPOINT_LEN || to->endpoint[0] != ENDPOINT_VERSION) {
        return mf_err(SMEM_INVALID_PARAM,
                      "rank %u: an endpoint of %u bytes, version %u, is not one of this transport",
                      to->rank, to->endpoint_len, to->endpoint_len ? to->endpoint[0] : 0);
    }
    if (get64(to->endpoint + 24) != d->host_hint) {
        return mf_err(SMEM_NOT_CONNECTED,
                      "rank %u is on another host (its boot id differs): direct reaches only "
                      "processes of this one",
                      to->rank);
    }
    if (get64(to->endpoint + 32) != d->net_hint) {
        return mf_err(SMEM_NOT_CONNECTED,
                      "rank %u is on this host in another network namespace: containers that share "
                      "memory need one in common (--network host, or one pod)",
                      to->rank);
    }
    if (to->rank == d->host->rank || to->rank >= d->host->world) {
        return mf_err(SMEM_INVALID_PARAM,
                      "attach: rank %u is this rank or outside of the world of %u", to->rank,
                      d->host->world);
    }
    return SMEM_OK;
}

static int connect_to(struct talk *t)
{
    struct sockaddr_un addr;
    socklen_t len = mf_direct_address(t->to->endpoint + 8, &addr);
    t->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (t->sock < 0) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno, "socket (limit: ulimit -n)");
    }
    mf_direct_fd_note(t->d, t->sock);
    if (connect(t->sock, (struct sockaddr *)&addr, len) != 0) {
        if (errno == EAGAIN || errno == EINTR) {
            t->retry = true;
        }
        return mf_err_sys(SMEM_NOT_CONNECTED, errno,
                          "connect to @%s: its process has ended, or left the cluster",
                          addr.sun_path + 1);
    }
    return mf_direct_peer_check_user(t->sock, &t->pid);
}

static int wait_for(const struct talk *t, short events)
{
    struct pollfd ready = {.fd = t->sock, .events = events};
    int ms = mf_direct_left_ms(t->d, t->deadline_ns);
    int n = poll(&ready, 1, ms);
    if (n < 0 && errno != EINTR) {
        return mf_err_sys(SMEM_ERROR, errno, "poll");
    }
    if (n == 0) {
        return mf_err(SMEM_TIMEOUT, "no answer by the deadline: its process is stopped or busy");
    }
    return SMEM_OK;
}

static int say(struct talk *t, enum mf_direct_msg_type type, bool segments)
{
    struct mf_direct_msg msg;
    int control_fd = type == MF_DIRECT_HELLO ? t->d->control_fd : -1;
    mf_direct_msg_init(t->d, type, t->pool, t->to->incarnation, &msg);
    if (type == MF_DIRECT_HELLO && mf_direct_vm_ask(t->d, t->pid) == 0) {
        msg.flags |= MF_DIRECT_READS;
    }
    for (;;) {
        int rc = segments ? mf_direct_tell(t->d, t->sock, &msg, &t->from, control_fd)
                          : mf_direct_send(t->sock, &msg, &control_fd, control_fd >= 0);
        if (rc != SMEM_RES_IN_USE) {
            t->said_last = rc == SMEM_OK && (msg.flags & MF_DIRECT_LAST);
            return rc;
        }
        rc = wait_for(t, POLLOUT);
        if (rc) {
            return rc;
        }
    }
}

static int hear(struct talk *t, struct mf_direct_msg *msg, int *fds, uint32_t *fd_count)
{
    for (;;) {
        int rc = mf_direct_recv(t->sock, msg, fds, fd_count);
        if (rc != SMEM_RES_IN_USE) {
            return rc;
        }
        rc = wait_for(t, POLLIN);
        if (rc) {
            return rc;
        }
    }
}

/* Take what the other side has said. */
static int understand(struct talk *t, const struct mf_direct_msg *msg, const int *fds)
{
    struct mf_direct *d = t->d;
    bool welcome = msg->type == MF_DIRECT_WELCOME;
    if (msg->type == MF_DIRECT_REFUSE) {
        return mf_err(SMEM_NOT_CONNECTED, "it refuses: %s", msg->text);
    }
    if (!welcome && msg->type != MF_DIRECT_MORE) {
        return mf_err(SMEM_NOT_CONNECTED, "message of type %u out of turn", (unsigned)msg->type);
    }
    if (msg->rank != t->to->rank || msg->incarnation != t->to->incarnation ||
        msg->to != d->host->incarnation || msg->pool != t->pool) {
        return mf_err(SMEM_NOT_CONNECTED, "another process answers: rank %u", msg->rank);
    }
    if (welcome && !t->peer) {
        int rc = mf_direct_peer_meet(d, msg, fds[0], t->sock, &t->peer);
        if (rc) {
            return rc;
        }
    }
    if (!t->peer) {
        return mf_err(SMEM_NOT_CONNECTED, "it did not say who it is");
    }
    bool again = true;
    int rc = SMEM_OK;
    while (rc == SMEM_OK && again) {
        if (!mf_direct_peer_claim(d, t->peer, true, t->deadline_ns)) {
            return mf_err(SMEM_TIMEOUT,
                          "its memory is being taken down or mapped by another thread");
        }
        rc = t->peer->refused
                 ? mf_err(SMEM_NOT_CONNECTED, "it was declared dead under this incarnation")
                 : mf_direct_peer_learn(d, t->peer, msg, fds + welcome, &again);
        mf_direct_peer_release(d, t->peer);
    }
    t->heard_last = (msg->flags & MF_DIRECT_LAST) != 0;
    return rc;
}

/* A message and its answer. Our segments go only to a process whose lines we can read. */
static int exchange(struct talk *t, enum mf_direct_msg_type type)
{
    struct mf_direct_msg msg;
    int fds[MF_DIRECT_MSG_FDS];
    uint32_t fd_count = 0;
    uint32_t from = t->from;
    for (;;) {
        t->from = from;
        int rc = say(t, type, t->peer != NULL);
        if (rc == SMEM_OK) {
            rc = hear(t, &msg, fds, &fd_count);
        }
        if (rc) {
            t->retry = type == MF_DIRECT_HELLO && rc == SMEM_NOT_CONNECTED;
            return rc;
        }
        if (msg.type != MF_DIRECT_AGAIN) {
            break;
        }
        if (mf_direct_left_ms(t->d, t->deadline_ns) == 0) {
            return mf_err(SMEM_TIMEOUT, "it is busy with another thread of this process");
        }
        mf_direct_sleep_us(RETRY_FIRST_US);
    }
    int rc = understand(t, &msg, fds);
    for (uint32_t i = 0; i < fd_count; i++) {
        close(fds[i]);
    }
    return rc;
}

static int converse(struct talk *t)
{
    struct mf_direct *d = t->d;
    mf_mutex_lock(&d->lock);
    t->peer = mf_direct_peer_find(d, t->to->rank, t->to->incarnation);
    if (t->peer) {
        t->peer->refs++;
    }
    mf_mutex_unlock(&d->lock);
    int rc = connect_to(t);
    if (rc == SMEM_OK) {
        rc = exchange(t, MF_DIRECT_HELLO);
    }
    while (rc == SMEM_OK && (!t->said_last || !t->heard_last)) {
        rc = exchange(t, MF_DIRECT_NEXT);
    }
    mf_direct_fd_close(d, t->sock);
    if (t->peer) {
        mf_direct_peer_put(d, t->peer);
        t->peer = NULL;
    }
    return rc;
}

int mf_direct_attach(void *tp, const struct mf_peer *peer, uint32_t pool, uint64_t deadline_ns)
{
    struct mf_direct *d = tp;
    uint32_t pause_us = RETRY_FIRST_US;
    int rc = check_endpoint(d, peer);
    while (rc == SMEM_OK) {
        struct talk talk = {
            .d = d, .to = peer, .pool = pool, .deadline_ns = deadline_ns, .sock = -1};
        rc = converse(&talk);
        if (rc == SMEM_OK) {
            return SMEM_OK;
        }
        if (!talk.retry || mf_direct_left_ms(d, deadline_ns) == 0) {
            break;
        }
        mf_direct_sleep_us(pause_us);
        pause_us = pause_us * 2 < RETRY_MAX_US ? pause_us * 2 : RETRY_MAX_US;
        rc = SMEM_OK;
    }
    return mf_err_in(rc, "attach rank %u in pool %u", peer->rank, pool);
}
