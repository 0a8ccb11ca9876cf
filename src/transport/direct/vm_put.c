// SPDX-License-Identifier: Apache-2.0
// The asking side of puts into memory that is not mapped here: each lane has a connection to each
// owner that it has asked, on which the owner is told what to pull out of this process. What is
// sent and not answered is limited; the rest waits in the lane.
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "transport/direct/vm.h"
#include "transport/direct/vm_lane.h"

#define TICK_MS 100 /* how often a wait looks whether a peer was declared dead */

/* Neither done nor failed: try again a little later. */
enum { NOT_NOW = 1 };

/* ---- statuses ---- */

static void keep_first(struct mf_direct_vm_lane *vm, int rc)
{
    if (vm->first.code == SMEM_OK && rc != SMEM_OK) {
        mf_err_save(&vm->first);
    }
}

static bool is_source_gone(const struct mf_xfer *x)
{
    const struct mf_direct_seg *src = x->src_seg ? x->src_seg->priv : NULL;
    return src && !mf_fence_is_there(&src->key);
}

/* One part of an element has ended; the sentence is that of `rc`. */
static void end_part(struct mf_direct_vm_lane *vm, struct mf_xfer *x, int rc, bool last)
{
    if (x->status != MF_XFER_PENDING) {
        return; /* an earlier part has failed */
    }
    if (rc == SMEM_OK && last && is_source_gone(x)) {
        rc = mf_err(SMEM_NOT_CONNECTED,
                    "segment %u of rank %u in pool %u was withdrawn while it was copied",
                    x->src_seg->desc.index, x->src_seg->desc.owner, x->src_seg->desc.pool);
    }
    if (rc != SMEM_OK || last) {
        x->status = rc;
        keep_first(vm, rc);
    }
}

static bool has_unsent(const struct mf_direct_vm_conn *conn)
{
    return conn->run_at < conn->run_count;
}

static bool is_busy(const struct mf_direct_vm_conn *conn)
{
    return conn->sent_count > 0 || has_unsent(conn);
}

static struct mf_direct_vm_sent *sent_at(struct mf_direct_vm_conn *conn, uint32_t i)
{
    return &conn->sent[(conn->sent_first + i) % MF_DIRECT_VM_INFLIGHT];
}

/* Everything that the connection has ends like this; the sentence is recorded. */
static void end_all(struct mf_direct_vm_lane *vm, struct mf_direct_vm_conn *conn, int rc)
{
    for (uint32_t r = 0; r < conn->sent_count; r++) {
        const struct mf_direct_vm_sent *sent = sent_at(conn, r);
        for (uint32_t i = 0; i < sent->count; i++) {
            end_part(vm, sent->x[i], rc, true);
        }
    }
    for (uint32_t r = conn->run_at; r < conn->run_count; r++) {
        const struct mf_direct_vm_run *run = &conn->runs[r];
        for (uint32_t i = r == conn->run_at ? conn->at : 0; i < run->count; i++) {
            end_part(vm, &run->v[i], rc, true);
        }
    }
    conn->sent_count = 0;
    conn->run_count = conn->run_at = conn->at = 0;
    conn->done = 0;
}

/* ---- connections ---- */

static void close_fd(struct mf_direct_vm_lane *vm, struct mf_direct_vm_conn *conn)
{
    mf_direct_fd_close(vm->d, conn->fd);
    conn->fd = -1;
    conn->next_number = 1;
}

static void conn_free(struct mf_direct_vm_lane *vm, struct mf_direct_vm_conn *conn)
{
    close_fd(vm, conn);
    mf_direct_peer_put(vm->d, conn->peer);
    mf_free(conn->debt);
    mf_free(conn->runs);
    mf_free(conn);
}

static void unlink_conn(struct mf_direct_vm_lane *vm, const struct mf_direct_vm_conn *conn)
{
    struct mf_direct_vm_conn **at = &vm->conns;
    while (*at != conn) {
        at = &(*at)->next;
    }
    *at = conn->next;
    vm->conn_count--;
}

/* The connection is of no use any more: what it has fails, the next put opens another. */
static void fail_conn(struct mf_direct_vm_lane *vm, struct mf_direct_vm_conn *conn, int rc)
{
    end_all(vm, conn, rc);
    close_fd(vm, conn);
}

static uint64_t source_of(const struct mf_xfer *x)
{
    return x->src_seg ? x->src_seg->host + (x->src - x->src_seg->desc.gva) : x->src;
}

/* What the owner may still read, for as long as it may. */
static struct mf_direct_debt *make_debt(struct mf_direct_vm_conn *conn)
{
    uint32_t count = 0;
    for (uint32_t r = 0; r < conn->sent_count; r++) {
        count += sent_at(conn, r)->count;
    }
    struct mf_direct_debt *debt =
        mf_alloc(sizeof(*debt) + count * sizeof(debt->ranges[0]), "a put that was given up");
    if (!debt) {
        debt = conn->debt;
        conn->debt = NULL;
        return debt; /* without ranges */
    }
    memset(debt, 0, sizeof(*debt));
    for (uint32_t r = 0; r < conn->sent_count; r++) {
        const struct mf_direct_vm_sent *sent = sent_at(conn, r);
        for (uint32_t i = 0; i < sent->count; i++) {
            debt->ranges[debt->count++] =
                (struct mf_direct_range){source_of(sent->x[i]), sent->x[i]->size};
        }
    }
    return debt;
}

/* Give up what the owner has not answered; it may be in the middle of it. The sentence is recorded.
 */
static void give_up(struct mf_direct_vm_lane *vm, struct mf_direct_vm_conn *conn, int rc)
{
    struct mf_err_rec record;
    mf_err_save(&record);
    struct mf_direct_debt *debt = conn->sent_count ? make_debt(conn) : NULL;
    mf_err_restore(&record);
    end_all(vm, conn, rc);
    if (!debt) {
        close_fd(vm, conn);
        return;
    }
    debt->peer = conn->peer;
    debt->fd = conn->fd;
    mf_direct_debt_add(vm->d, debt);
    conn->fd = -1;
    unlink_conn(vm, conn); /* its reference is the debt's */
    mf_free(conn->debt);
    mf_free(conn->runs);
    mf_free(conn);
}

/* Connections to processes that have ended are of no use. */
static void sweep_conns(struct mf_direct_vm_lane *vm)
{
    struct mf_direct_vm_conn *next;
    for (struct mf_direct_vm_conn *conn = vm->conns; conn; conn = next) {
        next = conn->next;
        mf_mutex_lock(&vm->d->lock);
        bool dead = conn->peer->dead;
        mf_mutex_unlock(&vm->d->lock);
        if (!is_busy(conn) && (dead || mf_direct_peer_ended(conn->peer))) {
            unlink_conn(vm, conn);
            conn_free(vm, conn);
        }
    }
}

static struct mf_direct_vm_conn *conn_new(struct mf_direct_vm_lane *vm, struct mf_direct_peer *peer)
{
    sweep_conns(vm);
    struct pollfd *polls =
        mf_realloc(vm->polls, 2u * (vm->conn_count + 1) * sizeof(*polls), "puts of a lane");
    if (!polls) {
        return NULL;
    }
    vm->polls = polls;
    struct mf_direct_vm_conn *conn = mf_calloc(1, sizeof(*conn), "puts to a peer");
    if (!conn) {
        return NULL;
    }
    conn->debt = mf_calloc(1, sizeof(*conn->debt), "puts to a peer");
    if (!conn->debt) {
        mf_free(conn);
        return NULL;
    }
    mf_mutex_lock(&vm->d->lock);
    peer->refs++;
    mf_mutex_unlock(&vm->d->lock);
    conn->peer = peer;
    conn->fd = -1;
    conn->next_number = 1;
    conn->next = vm->conns;
    vm->conns = conn;
    vm->conn_count++;
    return conn;
}

/* NOT_NOW: its queue of connections is full. */
static int conn_open(struct mf_direct_vm_lane *vm, struct mf_direct_vm_conn *conn)
{
    struct mf_direct *d = vm->d;
    struct sockaddr_un addr;
    struct mf_direct_msg msg;
    int pid = 0;
    socklen_t len = mf_direct_address(conn->peer->token, &addr);
    int rc = mf_direct_debts_check(d, conn->peer);
    if (rc) {
        return rc;
    }
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno, "socket (limit: ulimit -n)");
    }
    mf_direct_fd_note(d, fd);
    if (connect(fd, (struct sockaddr *)&addr, len) != 0) {
        int cause = errno;
        mf_direct_fd_close(d, fd);
        return cause == EAGAIN || cause == EINTR
                   ? NOT_NOW
                   : mf_err_sys(SMEM_NOT_CONNECTED, cause,
                                "connect to @%s: its process has ended, or left the cluster",
                                addr.sun_path + 1);
    }
    rc = mf_direct_peer_check_user(fd, &pid);
    if (rc == SMEM_OK && pid != conn->peer->pid) {
        rc = mf_err(SMEM_NOT_CONNECTED, "process %d answers instead of process %d", pid,
                    conn->peer->pid);
    }
    if (rc == SMEM_OK) {
        mf_direct_msg_init(d, MF_DIRECT_PULL, 0, conn->peer->incarnation, &msg);
        rc = mf_direct_send(fd, &msg, NULL, 0);
        rc = rc == SMEM_RES_IN_USE ? NOT_NOW : rc;
    }
    if (rc) {
        mf_direct_fd_close(d, fd);
        return rc;
    }
    conn->fd = fd;
    return SMEM_OK;
}

/* ---- sending ---- */

/* One piece more; false when the request is full or the element is of another segment. */
static bool add_piece(struct mf_direct_vm_conn *conn, struct mf_direct_pull *pull,
                      struct mf_direct_vm_sent *sent, uint64_t *bytes)
{
    const struct mf_direct_vm_run *run = &conn->runs[conn->run_at];
    struct mf_xfer *x = &run->v[conn->at];
    const struct mf_segment_desc *desc = &x->dst_seg->desc;
    uint64_t left = x->size - conn->done;
    uint64_t room = MF_DIRECT_PULL_BYTES - *bytes;
    if (pull->count == MF_DIRECT_PULL_PIECES || room == 0 || (left > room && left <= 8) ||
        (pull->count && (desc->index != pull->index || desc->epoch != pull->epoch))) {
        return false;
    }
    uint64_t size = left < room ? left : room;
    pull->index = desc->index;
    pull->epoch = desc->epoch;
    pull->v[pull->count++] = (struct mf_direct_piece){
        .src = source_of(x) + conn->done, .offset = x->dst - desc->gva + conn->done, .size = size};
    sent->last[sent->count] = size == left;
    sent->x[sent->count++] = x;
    *bytes += size;
    conn->done += size;
    if (size == left) {
        conn->done = 0;
        conn->at++;
    }
    if (conn->at == run->count) {
        conn->at = 0;
        conn->run_at++;
    }
    return true;
}

/* One request. NOT_NOW: the connection takes no more; nothing has changed. */
static int send_request(struct mf_direct_vm_lane *vm, struct mf_direct_vm_conn *conn)
{
    struct mf_direct_pull *pull = &vm->pull;
    struct mf_direct_vm_sent *sent = sent_at(conn, conn->sent_count);
    uint32_t run_at = conn->run_at;
    uint32_t at = conn->at;
    uint64_t done = conn->done;
    uint64_t bytes = 0;
    ssize_t n;
    pull->rank = vm->d->host->rank;
    pull->incarnation = vm->d->host->incarnation;
    pull->number = conn->next_number;
    pull->count = 0;
    sent->number = conn->next_number;
    sent->count = 0;
    while (has_unsent(conn) && add_piece(conn, pull, sent, &bytes)) {
    }
    size_t len = mf_direct_pull_encode(pull, vm->bytes);
    do {
        n = send(conn->fd, vm->bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)len) {
        conn->next_number++;
        conn->sent_count++;
        return SMEM_OK;
    }
    int cause = n < 0 ? errno : EMSGSIZE;
    conn->run_at = run_at;
    conn->at = at;
    conn->done = done;
    return cause == EAGAIN || cause == EWOULDBLOCK || cause == ENOBUFS
               ? NOT_NOW
               : mf_err_sys(SMEM_NOT_CONNECTED, cause, "ask rank %u (pid %d) to pull",
                            conn->peer->rank, conn->peer->pid);
}

/* Is it the other sort of message, by which the owner says why it does not serve at all? */
static int refusal(const struct mf_direct_vm_conn *conn, const uint8_t *bytes, size_t len)
{
    struct mf_direct_msg msg;
    if (mf_direct_msg_decode(bytes, len, &msg) == SMEM_OK && msg.type == MF_DIRECT_REFUSE) {
        return mf_err(SMEM_NOT_CONNECTED, "rank %u (pid %d) refuses to pull: %s", conn->peer->rank,
                      conn->peer->pid, msg.text);
    }
    return mf_err(SMEM_NOT_CONNECTED, "rank %u (pid %d) answers rubbish", conn->peer->rank,
                  conn->peer->pid);
}

/* Nothing could be sent: has the owner said why? */
static int hear_refusal(struct mf_direct_vm_lane *vm, const struct mf_direct_vm_conn *conn, int rc)
{
    struct mf_err_rec record;
    mf_err_save(&record);
    for (int i = 0; conn->fd >= 0 && i < 2; i++) { /* the first time, the socket tells its error */
        ssize_t n = recv(conn->fd, vm->bytes, sizeof(vm->bytes), MSG_DONTWAIT);
        if (n > 0) {
            return refusal(conn, vm->bytes, (size_t)n);
        }
    }
    mf_err_restore(&record);
    return mf_err_in(rc, "put to rank %u", conn->peer->rank);
}

static void conn_kick(struct mf_direct_vm_lane *vm, struct mf_direct_vm_conn *conn)
{
    int rc = SMEM_OK;
    if (conn->fd < 0 && has_unsent(conn)) {
        rc = conn_open(vm, conn);
    }
    while (rc == SMEM_OK && has_unsent(conn) && conn->sent_count < MF_DIRECT_VM_INFLIGHT) {
        rc = send_request(vm, conn);
    }
    conn->stuck = rc == NOT_NOW;
    if (rc < 0 && conn->sent_count == 0) {
        fail_conn(vm, conn, hear_refusal(vm, conn, rc));
    } /* else the answers, or their end, tell why */
}

/* ---- answers ---- */

static int take_answer(struct mf_direct_vm_lane *vm, struct mf_direct_vm_conn *conn,
                       const uint8_t *bytes, size_t len)
{
    struct mf_direct_done *done = &vm->done;
    if (mf_direct_done_decode(bytes, len, done) != SMEM_OK) {
        return refusal(conn, bytes, len);
    }
    const struct mf_direct_vm_sent *sent = sent_at(conn, 0);
    if (conn->sent_count == 0 || done->number != sent->number ||
        (done->count && done->count != sent->count)) {
        return mf_err(SMEM_NOT_CONNECTED,
                      "rank %u (pid %d) answers request %" PRIu64 " out of turn", conn->peer->rank,
                      conn->peer->pid, done->number);
    }
    if (done->code) {
        mf_err(done->code, "rank %u (pid %d) could not pull: %s", conn->peer->rank, conn->peer->pid,
               done->text);
    }
    for (uint32_t i = 0; i < sent->count; i++) {
        end_part(vm, sent->x[i], done->count ? done->codes[i] : SMEM_OK, sent->last[i]);
    }
    conn->sent_first = (conn->sent_first + 1) % MF_DIRECT_VM_INFLIGHT;
    conn->sent_count--;
    if (!is_busy(conn)) {
        conn->run_count = conn->run_at = 0;
    }
    return SMEM_OK;
}

static int lost(const struct mf_direct_vm_conn *conn)
{
    return mf_err(SMEM_NOT_CONNECTED,
                  mf_direct_peer_ended(conn->peer)
                      ? "rank %u: its process (pid %d) has ended before it answered a put"
                      : "rank %u (pid %d) has closed the connection before it answered a put: what "
                        "is in the target range is unknown",
                  conn->peer->rank, conn->peer->pid);
}

/* Take what has come. True: something had. */
static bool conn_receive(struct mf_direct_vm_lane *vm, struct mf_direct_vm_conn *conn)
{
    bool any = false;
    bool again = true; /* an error is told once, before what was said last */
    while (conn->fd >= 0 && conn->sent_count > 0) {
        ssize_t n = recv(conn->fd, vm->bytes, sizeof(vm->bytes), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            break;
        }
        if (n < 0 && (errno == EINTR || again)) {
            again = errno == EINTR && again;
            continue;
        }
        any = true;
        int rc = n > 0 ? take_answer(vm, conn, vm->bytes, (size_t)n) : lost(conn);
        if (rc) {
            fail_conn(vm, conn, rc);
        }
    }
    return any;
}

/* ---- the lane ---- */

int mf_direct_vm_lane_get(struct mf_direct *d, struct mf_direct_vm_lane **vm)
{
    if (!*vm) {
        *vm = mf_calloc(1, sizeof(**vm), "lane of puts");
    }
    if (!*vm) {
        return SMEM_MALLOC_FAILED;
    }
    (*vm)->d = d;
    return SMEM_OK;
}

int mf_direct_vm_runs_add(struct mf_direct_vm_run **runs, uint32_t *count, uint32_t *cap,
                          uint32_t from, struct mf_xfer *v, uint32_t n)
{
    struct mf_direct_vm_run *last = *count > from ? &(*runs)[*count - 1] : NULL;
    if (last && last->v + last->count == v) {
        last->count += n;
        return SMEM_OK;
    }
    if (*count == *cap) {
        uint32_t more = *cap ? *cap * 2 : 16;
        struct mf_direct_vm_run *grown = mf_realloc(*runs, more * sizeof(*grown), "runs of copies");
        if (!grown) {
            return SMEM_MALLOC_FAILED;
        }
        *runs = grown;
        *cap = more;
    }
    (*runs)[(*count)++] = (struct mf_direct_vm_run){v, n};
    return SMEM_OK;
}

static void set_all(struct mf_xfer *v, uint32_t count, int status)
{
    for (uint32_t i = 0; i < count; i++) {
        v[i].status = status;
    }
}

int mf_direct_vm_put(struct mf_direct *d, struct mf_direct_vm_lane **lane, struct mf_xfer *v,
                     uint32_t count)
{
    struct mf_direct_peer *peer = ((const struct mf_direct_seg *)v->dst_seg->priv)->peer;
    struct mf_direct_vm_conn *conn = NULL;
    int rc = mf_direct_vm_lane_get(d, lane);
    if (rc == SMEM_OK) {
        conn = (*lane)->conns;
        while (conn && conn->peer != peer) {
            conn = conn->next;
        }
        conn = conn ? conn : conn_new(*lane, peer);
        rc = conn ? SMEM_OK : SMEM_MALLOC_FAILED;
    }
    if (rc == SMEM_OK) {
        rc = mf_direct_vm_runs_add(&conn->runs, &conn->run_count, &conn->run_cap, conn->run_at, v,
                                   count);
    }
    set_all(v, count, rc ? rc : MF_XFER_PENDING);
    return rc;
}

void mf_direct_vm_kick(struct mf_direct_vm_lane *vm)
{
    for (struct mf_direct_vm_conn *conn = vm ? vm->conns : NULL; conn; conn = conn->next) {
        if (has_unsent(conn)) {
            conn_kick(vm, conn);
        }
    }
}

/* Does it make sense to go on waiting for that peer? */
static bool conn_check(struct mf_direct_vm_lane *vm, struct mf_direct_vm_conn *conn)
{
    struct mf_direct *d = vm->d;
    mf_mutex_lock(&d->lock);
    bool refused = conn->peer->refused;
    mf_mutex_unlock(&d->lock);
    if (mf_direct_peer_ended(conn->peer)) {
        (void)conn_receive(vm, conn);
        fail_conn(vm, conn, lost(conn));
        return false;
    }
    if (refused) {
        give_up(vm, conn,
                mf_err(SMEM_NOT_CONNECTED,
                       "rank %u (pid %d) was declared dead before it answered a put: what is in "
                       "the target range is unknown",
                       conn->peer->rank, conn->peer->pid));
        return false;
    }
    return true;
}

/* Sleep until something may have happened. */
static void sleep_for_answers(struct mf_direct_vm_lane *vm, uint64_t deadline_ns)
{
    uint32_t count = 0;
    int ms = mf_direct_left_ms(vm->d, deadline_ns);
    ms = ms < TICK_MS ? ms : TICK_MS;
    for (struct mf_direct_vm_conn *conn = vm->conns; conn; conn = conn->next) {
        if (!is_busy(conn)) {
            continue;
        }
        short events = POLLIN | (conn->stuck ? POLLOUT : 0);
        vm->polls[count++] = (struct pollfd){.fd = conn->fd, .events = events};
        vm->polls[count++] = (struct pollfd){.fd = conn->peer->pidfd, .events = POLLIN};
        ms = conn->fd < 0 && ms > 1 ? 1 : ms; /* its queue of connections is full */
    }
    (void)poll(vm->polls, count, ms);
}

static void give_up_all(struct mf_direct_vm_lane *vm)
{
    struct mf_direct_vm_conn *next;
    for (struct mf_direct_vm_conn *conn = vm->conns; conn; conn = next) {
        next = conn->next;
        if (is_busy(conn)) {
            give_up(vm, conn,
                    mf_err(SMEM_TIMEOUT,
                           "rank %u (pid %d) has not answered a put by the deadline: what is in "
                           "the target range is unknown; its process is stopped or busy",
                           conn->peer->rank, conn->peer->pid));
        }
    }
}

int mf_direct_vm_wait(struct mf_direct_vm_lane *vm, uint64_t deadline_ns)
{
    bool busy = vm != NULL;
    while (busy) {
        struct mf_direct_vm_conn *next;
        bool any = false;
        busy = false;
        for (struct mf_direct_vm_conn *conn = vm->conns; conn; conn = next) {
            next = conn->next;
            any = conn_receive(vm, conn) || any;
            if (is_busy(conn) && !any && !conn_check(vm, conn)) {
                continue;
            }
            if (has_unsent(conn)) {
                conn_kick(vm, conn);
            }
            busy = busy || is_busy(conn);
        }
        if (busy && mf_direct_now(vm->d) >= deadline_ns) {
            give_up_all(vm);
            busy = false;
        } else if (busy && !any) {
            sleep_for_answers(vm, deadline_ns);
        }
    }
    int rc = vm ? vm->first.code : SMEM_OK;
    if (rc) {
        mf_err_restore(&vm->first);
        vm->first.code = SMEM_OK;
    }
    return rc;
}

void mf_direct_vm_lane_close(struct mf_direct_vm_lane *vm)
{
    while (vm && vm->conns) {
        struct mf_direct_vm_conn *conn = vm->conns;
        vm->conns = conn->next;
        conn_free(vm, conn);
    }
    if (vm) {
        mf_free(vm->polls);
        mf_free(vm->staged);
        mf_free(vm);
    }
}
