// SPDX-License-Identifier: Apache-2.0
// Descriptors: the list that a forked child closes, and messages that carry descriptors over a
// socket of whole packets.
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/direct/internal.h"

void mf_direct_fd_note(struct mf_direct *d, int fd)
{
    for (uint32_t i = 0; i < MF_DIRECT_FDS_MAX; i++) {
        int none = 0;
        if (atomic_compare_exchange_strong(&d->fds[i], &none, fd + 1)) {
            return;
        }
    }
    /* A full list costs only the child of a fork a descriptor. */
}

void mf_direct_fd_close(struct mf_direct *d, int fd)
{
    if (fd < 0) {
        return;
    }
    for (uint32_t i = 0; i < MF_DIRECT_FDS_MAX; i++) {
        int noted = fd + 1;
        if (atomic_compare_exchange_strong(&d->fds[i], &noted, 0)) {
            break;
        }
    }
    close(fd);
}

void mf_direct_fds_close_all(struct mf_direct *d)
{
    for (uint32_t i = 0; i < MF_DIRECT_FDS_MAX; i++) {
        int fd = atomic_load(&d->fds[i]) - 1;
        if (fd >= 0) {
            close(fd);
        }
    }
}

int mf_direct_send(int sock, const struct mf_direct_msg *msg, const int *fds, uint32_t count)
{
    uint8_t bytes[MF_DIRECT_MSG_MAX];
    union {
        struct cmsghdr head; /* for its alignment */
        char space[CMSG_SPACE(MF_DIRECT_MSG_FDS * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = bytes, .iov_len = mf_direct_msg_encode(msg, bytes)};
    struct msghdr out = {.msg_iov = &iov, .msg_iovlen = 1};
    if (count) {
        memset(&control, 0, sizeof(control));
        out.msg_control = control.space;
        out.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&out);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
    }
    ssize_t n;
    do {
        n = sendmsg(sock, &out, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)iov.iov_len) {
        return SMEM_OK;
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return SMEM_RES_IN_USE;
    }
    return mf_err_sys(SMEM_NOT_CONNECTED, n < 0 ? errno : EMSGSIZE,
                      "send %zu bytes and %u "
                      "descriptors to a process of this host",
                      iov.iov_len, count);
}

/* All descriptors of a received packet; more than there may be are closed and counted. */
static uint32_t take_fds(struct msghdr *in, int *fds)
{
    uint32_t count = 0;
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(in); cmsg; cmsg = CMSG_NXTHDR(in, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t here = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
            if (count < MF_DIRECT_MSG_FDS) {
                fds[count] = fd;
            } else {
                close(fd);
            }
            count++;
        }
    }
    return count;
}

static void drop_fds(const int *fds, uint32_t count)
{
    for (uint32_t i = 0; i < count && i < MF_DIRECT_MSG_FDS; i++) {
        close(fds[i]);
    }
}

int mf_direct_recv(int sock, struct mf_direct_msg *msg, int fds[MF_DIRECT_MSG_FDS], uint32_t *count)
{
    uint8_t bytes[MF_DIRECT_MSG_MAX + 1];
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(MF_DIRECT_MSG_FDS * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
    struct msghdr in = {.msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control.space,
                        .msg_controllen = sizeof(control.space)};
    ssize_t n;
    do {
        n = recvmsg(sock, &in, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return SMEM_RES_IN_USE;
    }
    if (n <= 0) {
        return mf_err_sys(SMEM_NOT_CONNECTED, n < 0 ? errno : ECONNRESET,
                          "receive from a process of this host");
    }
    uint32_t got = take_fds(&in, fds);
    int rc = SMEM_OK;
    if (in.msg_flags & MSG_CTRUNC) {
        rc = mf_err(SMEM_NO_RESOURCES,
                    "a message lost descriptors: this process has none left (limit: ulimit -n)");
    } else {
        rc = mf_direct_msg_decode(bytes, (size_t)n, msg);
    }
    if (rc == SMEM_OK && got != mf_direct_msg_fds(msg)) {
        rc = mf_err(SMEM_INVALID_PARAM, "message of type %u with %u descriptors instead of %u",
                    (unsigned)msg->type, got, mf_direct_msg_fds(msg));
    }
    if (rc) {
        drop_fds(fds, got);
        return rc;
    }
    *count = got;
    return SMEM_OK;
}
