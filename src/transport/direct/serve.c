// SPDX-License-Identifier: Apache-2.0
// The answering side, on the host's loop: each connection sends a message and gets one, nothing
// waits. Who sends rubbish, is not our user, or stays silent is cut off and harms nobody else.
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <fcntl.h>

#include "base/alloc.h"
#include "transport/direct/internal.h"
#include "transport/direct/vm.h"

#define CONNS_MAX       256u
#define CONN_MAX_NS     (5ull * 1000000000ull)
#define WARN_EVERY_NS   (1000ull * 1000000ull)
#define ACCEPTS_AT_ONCE 32u
#define BACKLOG         4096

struct mf_direct_conn {
    struct mf_direct *d;
    int fd;
    void *watch;
    uint64_t since_ns;
    struct mf_direct_peer *peer; /* a reference, once it has said HELLO */
    uint32_t from;               /* first own segment that it does not know */
    struct mf_direct_conn *next;
};

/* One line a second: whoever sends rubbish does not fill the disk. */
static void warn(struct mf_direct *d, const char *what)
{
    uint64_t now = mf_direct_now(d);
    mf_mutex_lock(&d->lock);
    bool quiet = d->warned_ns && now - d->warned_ns < WARN_EVERY_NS;
    if (!quiet) {
        d->warned_ns = now;
    }
    mf_mutex_unlock(&d->lock);
    if (!quiet) {
        d->host->plugin->log(d->host->plugin, 2, MF_DIRECT_AREA, "%s: %s", what, mf_err_msg());
    }
}

/* Out of the list; false when stop() has taken it out. */
static bool conn_unlink(struct mf_direct_conn *conn)
{
    struct mf_direct *d = conn->d;
    mf_mutex_lock(&d->lock);
    struct mf_direct_conn **at = &d->conns;
    while (*at && *at != conn) {
        at = &(*at)->next;
    }
    bool found = *at != NULL;
    if (found) {
        *at = conn->next;
        d->conn_count--;
    }
    mf_mutex_unlock(&d->lock);
    return found;
}

static void conn_free(struct mf_direct_conn *conn)
{
    struct mf_direct *d = conn->d;
    if (conn->watch) {
        d->host->unwatch_fd(d->host->arg, conn->watch);
    }
    if (conn->peer) {
        mf_direct_peer_put(d, conn->peer);
    }
    mf_direct_fd_close(d, conn->fd);
    mf_free(conn);
}

static void refuse(struct mf_direct_conn *conn, int rc, uint32_t pool, uint64_t to)
{
    struct mf_direct_msg reply;
    mf_direct_msg_init(conn->d, MF_DIRECT_REFUSE, pool, to, &reply);
    reply.code = rc;
    snprintf(reply.text, sizeof(reply.text), "%s", mf_err_msg());
    (void)mf_direct_send(conn->fd, &reply, NULL, 0); /* it is cut off in any case */
}

/* Who is it? The descriptor of its control page is the first of the message. */
static int take_hello(struct mf_direct_conn *conn, const struct mf_direct_msg *msg, int control_fd)
{
    struct mf_direct *d = conn->d;
    if (msg->to != d->host->incarnation) {
        return mf_err(SMEM_NOT_CONNECTED, "this process is another life of rank %u", d->host->rank);
    }
    if (conn->peer) {
        mf_direct_peer_put(d, conn->peer);
        conn->peer = NULL;
    }
    conn->from = 0;
    return mf_direct_peer_meet(d, msg, control_fd, conn->fd, &conn->peer);
}

/* One message that decodes; SMEM_OK when the conversation goes on. */
static int answer(struct mf_direct_conn *conn, const struct mf_direct_msg *msg, const int *fds)
{
    struct mf_direct *d = conn->d;
    struct mf_direct_msg reply;
    bool hello = msg->type == MF_DIRECT_HELLO;
    if (hello) {
        int rc = take_hello(conn, msg, fds[0]);
        if (rc) {
            return rc;
        }
    } else if (msg->type != MF_DIRECT_NEXT || !conn->peer ||
               conn->peer->incarnation != msg->incarnation || conn->peer->rank != msg->rank) {
        return mf_err(SMEM_INVALID_PARAM, "message of type %u out of turn", (unsigned)msg->type);
    }
    bool again = true;
    int rc = SMEM_OK;
    if (mf_direct_peer_claim(d, conn->peer, true, 0)) {
        rc = conn->peer->refused
                 ? mf_err(SMEM_NOT_CONNECTED, "rank %u was declared dead", msg->rank)
                 : mf_direct_peer_learn(d, conn->peer, msg, fds + hello, &again);
        mf_direct_peer_release(d, conn->peer);
    }
    if (rc) {
        return rc;
    }
    if (again) {
        mf_direct_msg_init(d, MF_DIRECT_AGAIN, msg->pool, msg->incarnation, &reply);
        return mf_direct_send(conn->fd, &reply, NULL, 0);
    }
    mf_direct_msg_init(d, hello ? MF_DIRECT_WELCOME : MF_DIRECT_MORE, msg->pool, msg->incarnation,
                       &reply);
    reply.flags = hello && conn->peer->vm_errno == 0 ? MF_DIRECT_READS : 0;
    return mf_direct_tell(d, conn->fd, &reply, &conn->from, hello ? d->control_fd : -1);
}

/* The peer wants to be served by another thread. */
static void hand_over(struct mf_direct_conn *conn, const struct mf_direct_msg *msg)
{
    struct mf_direct *d = conn->d;
    if (!conn_unlink(conn)) {
        return; /* stop() has it */
    }
    d->host->unwatch_fd(d->host->arg, conn->watch);
    conn->watch = NULL;
    int rc = mf_direct_vm_adopt(d, msg, conn->fd);
    if (rc) {
        refuse(conn, rc, msg->pool, msg->incarnation);
        warn(d, "a process of this host is refused");
    } else {
        conn->fd = -1;
    }
    conn_free(conn);
}

static void on_message(void *arg)
{
    struct mf_direct_conn *conn = arg;
    struct mf_direct *d = conn->d;
    struct mf_direct_msg msg;
    int fds[MF_DIRECT_MSG_FDS];
    uint32_t fd_count = 0;
    int rc = mf_direct_recv(conn->fd, &msg, fds, &fd_count);
    if (rc == SMEM_RES_IN_USE) {
        return;
    }
    bool over = rc == SMEM_NOT_CONNECTED;
    if (rc == SMEM_OK && msg.type == MF_DIRECT_PULL) {
        hand_over(conn, &msg);
        return;
    }
    if (rc == SMEM_OK) {
        rc = answer(conn, &msg, fds);
        for (uint32_t i = 0; i < fd_count; i++) {
            close(fds[i]);
        }
    } else {
        msg.pool = 0;
        msg.incarnation = 0;
    }
    if (rc == SMEM_OK) {
        return;
    }
    if (!over) {
        refuse(conn, rc, msg.pool, msg.incarnation);
        warn(d, "a process of this host is refused");
    }
    if (conn_unlink(conn)) {
        conn_free(conn);
    }
}

/* Cut off who has been here for too long; on the loop. */
static void drop_old(struct mf_direct *d)
{
    for (;;) {
        uint64_t now = mf_direct_now(d);
        mf_mutex_lock(&d->lock);
        struct mf_direct_conn *old = d->conns;
        while (old && now - old->since_ns < CONN_MAX_NS) {
            old = old->next;
        }
        mf_mutex_unlock(&d->lock);
        if (!old || !conn_unlink(old)) {
            return;
        }
        conn_free(old);
    }
}

/* When all places are taken, who has been silent for longest makes room; on the loop. */
static void make_room(struct mf_direct *d)
{
    struct mf_direct_conn *silent = NULL;
    mf_mutex_lock(&d->lock);
    if (d->conn_count >= CONNS_MAX) {
        for (struct mf_direct_conn *at = d->conns; at; at = at->next) {
            silent = at->peer ? silent : at; /* the list begins with the newest */
        }
    }
    mf_mutex_unlock(&d->lock);
    if (silent && conn_unlink(silent)) {
        conn_free(silent);
    }
}

static void accept_conn(struct mf_direct *d, int fd)
{
    int pid;
    struct mf_direct_conn *conn = mf_calloc(1, sizeof(*conn), "connection");
    if (!conn) {
        close(fd);
        return;
    }
    mf_direct_fd_note(d, fd);
    *conn = (struct mf_direct_conn){.d = d, .fd = fd, .since_ns = mf_direct_now(d)};
    int rc = mf_direct_peer_check_user(fd, &pid);
    if (rc) {
        refuse(conn, rc, 0, 0);
        warn(d, "a process of this host is refused");
        conn_free(conn);
        return;
    }
    make_room(d);
    mf_mutex_lock(&d->lock);
    bool room = d->conn_count < CONNS_MAX;
    if (room) {
        conn->next = d->conns;
        d->conns = conn;
        d->conn_count++;
    }
    mf_mutex_unlock(&d->lock);
    if (!room || (d->host->watch_fd(d->host->arg, fd, on_message, conn, &conn->watch) != SMEM_OK &&
                  conn_unlink(conn))) {
        conn_free(conn); /* the other side tries again */
    }
}

/* There is no descriptor left: take the next in line with the spare one, so that it learns of it
 * and the listener does not stay readable for ever. */
static void turn_away(struct mf_direct *d)
{
    if (d->spare_fd >= 0) {
        close(d->spare_fd);
    }
    int fd = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        close(fd);
    }
    d->spare_fd = fcntl(d->control_fd, F_DUPFD_CLOEXEC, 0);
    mf_err_sys(SMEM_NO_RESOURCES, EMFILE, "accept a process of this host (limit: ulimit -n)");
    warn(d, "a process of this host is turned away");
}

static void on_connect(void *arg)
{
    struct mf_direct *d = arg;
    drop_old(d);
    for (uint32_t i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int fd = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            accept_conn(d, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            turn_away(d);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

int mf_direct_serve_start(struct mf_direct *d)
{
    struct sockaddr_un addr;
    socklen_t len = mf_direct_address(d->token, &addr);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno, "socket for peers of this host");
    }
    if (bind(fd, (struct sockaddr *)&addr, len) != 0 || listen(fd, BACKLOG) != 0) {
        int rc = mf_err_sys(SMEM_NO_RESOURCES, errno, "listen for peers of this host at @%s",
                            addr.sun_path + 1);
        close(fd);
        return rc;
    }
    mf_direct_fd_note(d, fd);
    d->listener = fd;
    return d->host->watch_fd(d->host->arg, fd, on_connect, d, &d->listen_watch);
}

void mf_direct_serve_stop(struct mf_direct *d)
{
    if (d->listen_watch) {
        d->host->unwatch_fd(d->host->arg, d->listen_watch);
        d->listen_watch = NULL;
    }
    mf_direct_fd_close(d, d->listener);
    d->listener = -1;
    for (;;) {
        mf_mutex_lock(&d->lock);
        struct mf_direct_conn *conn = d->conns;
        if (conn) {
            d->conns = conn->next;
            d->conn_count--;
        }
        mf_mutex_unlock(&d->lock);
        if (!conn) {
            return;
        }
        conn_free(conn); /* waits for on_message, which leaves it to us */
    }
}
