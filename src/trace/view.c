// SPDX-License-Identifier: Apache-2.0
// Opens and reads one process's trace memory.
#include "trace/view.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/err.h"
#include "trace/proc.h"

/* Blocks and points as this build lays them out: another layout has another format number. */
static int check_head(const struct mf_trace_head *head, uint64_t size)
{
    uint64_t magic = atomic_load_explicit(&head->magic, memory_order_relaxed);
    uint32_t used = atomic_load_explicit(&head->blocks_used, memory_order_relaxed);
    if (magic != MF_TRACE_MAGIC) {
        return mf_err(SMEM_ERROR, "it does not begin as trace memory does (0x%" PRIx64 ")", magic);
    }
    if (head->format != MF_TRACE_FORMAT) {
        return mf_err(SMEM_ERROR,
                      "it has format %u, and this version reads format %u: use the mfcli of the "
                      "version that the process runs",
                      head->format, MF_TRACE_FORMAT);
    }
    if (head->head_bytes != sizeof(*head) || head->block_bytes != sizeof(struct mf_trace_block) ||
        head->blocks != MF_TRACE_BLOCKS || head->buckets != MF_TRACE_BUCKETS ||
        head->points > MF_TRACE_POINTS || used == 0 || used > MF_TRACE_BLOCKS) {
        return mf_err(SMEM_ERROR,
                      "its head contradicts its format (%u blocks of %u bytes, %u in use, %u "
                      "points)",
                      head->blocks, head->block_bytes, used, head->points);
    }
    if (size != sizeof(struct mf_trace_memory)) {
        return mf_err(SMEM_ERROR, "it has %" PRIu64 " bytes instead of %zu", size,
                      sizeof(struct mf_trace_memory));
    }
    return SMEM_OK;
}

static int read_at(int fd, void *to, size_t bytes, uint64_t at)
{
    char *out = to;
    while (bytes > 0) {
        ssize_t n = pread(fd, out, bytes, (off_t)at);
        if (n > 0) {
            out += n;
            at += (uint64_t)n;
            bytes -= (size_t)n;
        } else if (n == 0) {
            return mf_err(SMEM_ERROR, "it ends at byte %" PRIu64, at);
        } else if (errno != EINTR) {
            return mf_err_sys(SMEM_ERROR, errno, "read %zu bytes", bytes);
        }
    }
    return SMEM_OK;
}

int mf_trace_check_fd(int fd, struct mf_trace_head *head)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return mf_err(SMEM_ERROR, "it is no memfd");
    }
    if ((seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW)) {
        return mf_err(SMEM_ERROR, "it is not sealed, so its owner could take it away meanwhile");
    }
    if ((uint64_t)st.st_size < sizeof(*head)) {
        return mf_err(SMEM_ERROR, "it has %" PRIu64 " bytes, a head alone has %zu",
                      (uint64_t)st.st_size, sizeof(*head));
    }
    int rc = read_at(fd, head, sizeof(*head), 0);
    return rc == SMEM_OK ? check_head(head, (uint64_t)st.st_size) : rc;
}

/* Names are printed: what is no plain text is not. */
static void clean_names(struct mf_trace_head *head)
{
    for (uint32_t p = 0; p < MF_TRACE_POINTS; p++) {
        char *name = head->point[p].name;
        name[MF_TRACE_NAME_MAX - 1] = '\0';
        for (; *name != '\0'; name++) {
            *name = *name > ' ' && *name < 0x7f ? *name : '?';
        }
    }
}

int mf_trace_view_read(struct mf_trace_view *view)
{
    int rc = mf_trace_check_fd(view->fd, &view->head);
    uint64_t now_ns = mf_now_ns(view->env);
    uint32_t used = atomic_load_explicit(&view->head.blocks_used, memory_order_relaxed);
    if (rc != SMEM_OK) {
        return mf_err_in(rc, "trace points of process %d", view->pid);
    }
    clean_names(&view->head);
    view->before = view->now;
    view->before_ns = view->now_ns;
    memset(&view->now, 0, sizeof(view->now));
    for (uint32_t i = 0; i < used; i++) {
        uint64_t at = sizeof(view->head) + (uint64_t)i * sizeof(view->block);
        rc = read_at(view->fd, &view->block, sizeof(view->block), at);
        if (rc != SMEM_OK) {
            return mf_err_in(rc, "trace points of process %d", view->pid);
        }
        mf_trace_sums_add(&view->now, &view->block, 0);
    }
    view->now_ns = now_ns;
    return SMEM_OK;
}

bool mf_trace_view_is_alive(const struct mf_trace_view *view)
{
    struct pollfd ended = {.fd = view->pidfd, .events = POLLIN};
    if (view->pidfd >= 0) {
        return poll(&ended, 1, 0) == 0;
    }
    return kill(view->pid, 0) == 0 || errno == EPERM;
}

int mf_trace_view_open(const struct mf_env *env, pid_t pid, struct mf_trace_view **out)
{
    struct mf_trace_view *view = mf_alloc_aligned(4096, sizeof(*view), "trace view");
    *out = NULL;
    if (view == NULL) {
        return SMEM_MALLOC_FAILED;
    }
    view->env = env;
    view->pid = pid;
    /* First the process, then its descriptor: so they are of the same life. */
    view->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    int rc = mf_trace_proc_open(pid, &view->fd, &view->head);
    if (rc == SMEM_OK && !mf_trace_view_is_alive(view)) {
        rc = mf_err(SMEM_NOT_EXIST, "process %d has ended", pid);
    }
    if (rc != SMEM_OK) {
        mf_trace_view_close(view);
        return rc;
    }
    *out = view;
    return SMEM_OK;
}

void mf_trace_view_close(struct mf_trace_view *view)
{
    if (view == NULL) {
        return;
    }
    if (view->pidfd >= 0) {
        close(view->pidfd);
    }
    if (view->fd >= 0) {
        close(view->fd);
    }
    mf_free(view);
}
