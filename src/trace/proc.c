// SPDX-License-Identifier: Apache-2.0
// Walks /proc. A descriptor that a child has inherited is its parent's: of several processes with
// the same memory the one that made it is named.
#include "trace/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/err.h"
#include "trace/view.h"

#define LINK_TEXT "/memfd:" MF_TRACE_FD_NAME " (deleted)"

/* ---- one process ---- */

static int no_process(pid_t pid, int sys_errno)
{
    if (sys_errno == ENOENT || sys_errno == ESRCH) {
        return mf_err(SMEM_NOT_EXIST, "there is no process %d", pid);
    }
    if (sys_errno == EACCES || sys_errno == EPERM) {
        return mf_err(SMEM_ERROR,
                      "the trace points of process %d are for its own user (and root) only: run "
                      "this as that user",
                      pid);
    }
    return mf_err_sys(SMEM_ERROR, sys_errno, "look at the descriptors of process %d", pid);
}

/* Is the entry a link to memory of our name? */
static bool is_named(int dir, const char *entry)
{
    char text[sizeof(LINK_TEXT) + 1];
    ssize_t n = isdigit((unsigned char)entry[0]) ? readlinkat(dir, entry, text, sizeof(text)) : -1;
    return n == (ssize_t)strlen(LINK_TEXT) && memcmp(text, LINK_TEXT, (size_t)n) == 0;
}

/* Anybody may give a descriptor that name, a device for example: it is looked at before it is
 * opened. */
static int open_entry(int dir, const char *entry, struct mf_trace_head *head)
{
    struct stat st;
    int fd = -1;
    if (fstatat(dir, entry, &st, 0) == 0 && S_ISREG(st.st_mode)) {
        fd = openat(dir, entry, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    }
    if (fd < 0) {
        return mf_err_sys(SMEM_ERROR, errno, "open it");
    }
    int rc = mf_trace_check_fd(fd, head);
    if (rc != SMEM_OK) {
        close(fd);
        return rc;
    }
    return fd;
}

/* A process may also have what its parent made, so that one counts only when there is none of its
 * own; in another pid namespace no number agrees, and the first good one counts. Without a good one
 * the sentence is about the last bad one. */
static int search(pid_t pid, DIR *dir, struct mf_trace_head *head)
{
    struct dirent *entry;
    bool own = false;
    int best = mf_err(SMEM_NOT_EXIST,
                      "process %d has no trace points: it has not called smem_bm_init, or its "
                      "option trace.enable (MF_TRACE) is off",
                      pid);
    while (!own && (entry = readdir(dir)) != NULL) {
        int fd = is_named(dirfd(dir), entry->d_name) ? open_entry(dirfd(dir), entry->d_name, head)
                                                     : SMEM_NOT_EXIST;
        own = fd >= 0 && head->pid == (uint32_t)pid;
        if (fd >= 0 && best >= 0) {
            close(own ? best : fd);
            best = own ? fd : best;
        } else if (fd >= 0) {
            best = fd;
        } else if (fd != SMEM_NOT_EXIST && best < 0) {
            best = mf_err_in(fd, "the trace memory of process %d is refused (descriptor %s)", pid,
                             entry->d_name);
        }
    }
    return best;
}

int mf_trace_proc_open(pid_t pid, int *fd, struct mf_trace_head *head)
{
    char path[64];
    struct mf_err_rec before;
    mf_err_save(&before);
    *fd = -1;
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return no_process(pid, errno);
    }
    *fd = search(pid, dir, head);
    closedir(dir);
    int rc = *fd < 0 ? *fd : mf_trace_check_fd(*fd, head);
    if (rc == SMEM_OK) {
        mf_err_restore(&before);
    } else if (*fd >= 0) {
        close(*fd);
    }
    *fd = rc == SMEM_OK ? *fd : -1;
    return rc;
}

/* ---- all processes ---- */

struct found {
    pid_t pid;
    bool is_owner;
    dev_t dev;
    ino_t ino;
};

struct list {
    struct found *v;
    size_t count, room;
};

static int add(struct list *list, const struct found *found)
{
    for (size_t i = 0; i < list->count; i++) {
        struct found *other = &list->v[i];
        if (other->dev == found->dev && other->ino == found->ino) {
            *other = found->is_owner && !other->is_owner ? *found : *other;
            return SMEM_OK;
        }
    }
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 64 : list->room * 2;
        struct found *more = mf_realloc(list->v, room * sizeof(*more), "list of processes");
        if (more == NULL) {
            return SMEM_MALLOC_FAILED;
        }
        list->v = more;
        list->room = room;
    }
    list->v[list->count++] = *found;
    return SMEM_OK;
}

static int look_at(struct list *list, pid_t pid, struct mf_trace_head *head)
{
    struct stat st;
    struct found found = {.pid = pid};
    int fd = -1;
    int rc = SMEM_OK;
    if (mf_trace_proc_open(pid, &fd, head) == SMEM_OK && fstat(fd, &st) == 0) {
        found.is_owner = head->pid == (uint32_t)pid;
        found.dev = st.st_dev;
        found.ino = st.st_ino;
        rc = add(list, &found);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static int by_pid(const void *a, const void *b)
{
    const struct found *x = a;
    const struct found *y = b;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

static int walk(struct list *list, struct mf_trace_head *head)
{
    struct dirent *entry;
    int rc = SMEM_OK;
    DIR *dir = opendir("/proc");
    if (dir == NULL) {
        return mf_err_sys(SMEM_ERROR, errno, "look for processes: open /proc");
    }
    while (rc == SMEM_OK && (entry = readdir(dir)) != NULL) {
        if (isdigit((unsigned char)entry->d_name[0])) {
            rc = look_at(list, (pid_t)strtol(entry->d_name, NULL, 10), head);
        }
    }
    closedir(dir);
    return rc;
}

int mf_trace_proc_find(void (*fn)(void *arg, int32_t pid), void *arg)
{
    struct list list = {0};
    struct mf_err_rec before;
    struct mf_trace_head *head = mf_alloc_aligned(4096, sizeof(*head), "trace head");
    if (head == NULL) {
        return SMEM_MALLOC_FAILED;
    }
    mf_err_save(&before);
    int rc = walk(&list, head);
    if (rc == SMEM_OK) {
        mf_err_restore(&before); /* processes that cannot be read are no failure */
        if (list.count > 0) {
            qsort(list.v, list.count, sizeof(*list.v), by_pid);
        }
        for (size_t i = 0; i < list.count; i++) {
            fn(arg, list.v[i].pid);
        }
    }
    mf_free(list.v);
    mf_free(head);
    return rc;
}
