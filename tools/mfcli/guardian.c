// SPDX-License-Identifier: Apache-2.0
// The guardian: reads from a pipe which process groups to care for, and kills them at its end.
#include "guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "smem.h"

#define GROUPS_MAX SMEM_WORLD_SIZE_MAX

struct record {
    int32_t group;
    int32_t add;
};

static void apply(pid_t *groups, size_t *count, const struct record *record)
{
    if (record->add) {
        if (*count < GROUPS_MAX) {
            groups[(*count)++] = record->group;
        }
        return;
    }
    for (size_t i = 0; i < *count; i++) {
        if (groups[i] == record->group) {
            groups[i] = groups[--*count];
            return;
        }
    }
}

/* Only calls that are allowed after fork in any process. */
static void guard(int input)
{
    pid_t groups[GROUPS_MAX];
    size_t count = 0;
    struct record record;

    for (;;) {
        ssize_t got = read(input, &record, sizeof(record));

        if (got == (ssize_t)sizeof(record)) {
            apply(groups, &count, &record);
        } else if (got >= 0 || errno != EINTR) {
            break;
        }
    }
    for (size_t i = 0; i < count; i++) {
        kill(-groups[i], SIGKILL);
    }
    _exit(0);
}

static void detach(int input)
{
    int null = open("/dev/null", O_RDWR);
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    setsid();
    for (int fd = 0; fd < 3; fd++) {
        dup2(null, fd);
    }
    dup2(input, 3);
    close_range(4, ~0U, 0);
}

int guardian_start(struct guardian *guardian)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC)) {
        return -1;
    }
    guardian->pid = fork();
    if (guardian->pid == 0) {
        detach(ends[0]);
        guard(3);
    }
    close(ends[0]);
    if (guardian->pid < 0) {
        close(ends[1]);
        return -1;
    }
    guardian->pipe = ends[1];
    return 0;
}

static void tell(struct guardian *guardian, pid_t group, int add)
{
    struct record record = {.group = group, .add = add};
    ssize_t written = 0;

    /* A record is far below PIPE_BUF: it is written whole. A guardian that somebody killed cannot
     * be told; the ranks' own death signal remains. */
    do {
        written = write(guardian->pipe, &record, sizeof(record));
    } while (written < 0 && errno == EINTR);
}

void guardian_add(struct guardian *guardian, pid_t group)
{
    tell(guardian, group, 1);
}

void guardian_remove(struct guardian *guardian, pid_t group)
{
    tell(guardian, group, 0);
}

void guardian_stop(struct guardian *guardian)
{
    close(guardian->pipe);
    while (waitpid(guardian->pid, NULL, 0) < 0 && errno == EINTR) {
    }
}
