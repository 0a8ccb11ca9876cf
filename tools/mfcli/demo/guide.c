// SPDX-License-Identifier: Apache-2.0
// The guide of the demo: processes, and questions to them over socket pairs.
#include "guide.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replay/pause.h"
#include "smem.h"

#define COMMAND   "mfcli demo"
#define END_MS    5000u /* for a rank to end by itself */
#define LOOK_NS   2000000u
#define CHILD_END 3

int guide_open(struct guide *guide)
{
    ssize_t length = 0;

    memset(guide, 0, sizeof(*guide));
    for (uint32_t r = 0; r < DEMO_RANKS; r++) {
        guide->ranks[r].channel = -1;
    }
    length = readlink("/proc/self/exe", guide->path, sizeof(guide->path) - 1);
    if (length <= 0) {
        fprintf(stderr, COMMAND ": /proc/self/exe: %s\n", strerror(errno));
        return -1;
    }
    if (guardian_start(&guide->guardian)) {
        fprintf(stderr, COMMAND ": cannot start a process: %s\n", strerror(errno));
        return -1;
    }
    if (store_host_open(&guide->store, "tcp://127.0.0.1:0", COMMAND)) {
        guardian_stop(&guide->guardian);
        return -1;
    }
    return 0;
}

/* Runs in the child; only calls that are allowed after fork in a process with threads. */
static void become_rank(const char *path, int channel, pid_t parent)
{
    char name[] = "mfcli", command[] = "demo", option[] = "--channel", number[] = "3";
    char *argv[] = {name, command, option, number, NULL};
    int null = open("/dev/null", O_RDWR);
    sigset_t none;

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    if (channel == CHILD_END) {
        fcntl(channel, F_SETFD, 0);
    } else {
        dup2(channel, CHILD_END);
    }
    execv(path, argv);
    _exit(127);
}

int guide_start(struct guide *guide, uint32_t rank)
{
    pid_t parent = getpid();
    int pair[2];
    pid_t pid = 0;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
        return -1;
    }
    pid = fork();
    if (pid == 0) {
        become_rank(guide->path, pair[1], parent);
    }
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return -1;
    }
    setpgid(pid, pid);
    guardian_add(&guide->guardian, pid);
    guide->ranks[rank] = (struct guide_rank){.pid = pid, .channel = pair[0]};
    return 0;
}

/* The leader is reaped last, so that the group's number is still its own. */
static void reap(struct guide *guide, uint32_t rank)
{
    struct guide_rank *one = &guide->ranks[rank];

    kill(-one->pid, SIGKILL);
    guardian_remove(&guide->guardian, one->pid);
    while (waitpid(one->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    close(one->channel);
    *one = (struct guide_rank){.channel = -1};
}

uint64_t guide_kill(struct guide *guide, uint32_t rank)
{
    uint64_t when = now_ns();

    reap(guide, rank);
    return when;
}

/* A rank that does not end by itself is killed. */
static void end_rank(struct guide *guide, uint32_t rank)
{
    struct guide_rank *one = &guide->ranks[rank];
    uint64_t until = now_ms() + END_MS;
    siginfo_t info = {.si_pid = 0};

    while (waitid(P_PID, (id_t)one->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0 && now_ms() < until) {
        nap_ns(LOOK_NS);
    }
    reap(guide, rank);
}

void guide_close(struct guide *guide)
{
    /* The end of its channel is the word for a rank to end. */
    for (uint32_t r = 0; r < DEMO_RANKS; r++) {
        if (guide->ranks[r].pid) {
            shutdown(guide->ranks[r].channel, SHUT_RDWR);
        }
    }
    for (uint32_t r = 0; r < DEMO_RANKS; r++) {
        if (guide->ranks[r].pid) {
            end_rank(guide, r);
        }
    }
    store_host_close(&guide->store);
    guardian_stop(&guide->guardian);
}

void guide_send(struct guide *guide, uint32_t rank, const struct demo_ask *ask)
{
    ssize_t sent = 0;

    /* One that is dead is noticed by guide_receive(). */
    do {
        sent = send(guide->ranks[rank].channel, ask, sizeof(*ask), MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
}

void guide_receive(struct guide *guide, uint32_t rank, struct demo_answer *answer)
{
    struct guide_rank *one = &guide->ranks[rank];
    struct pollfd one_poll = {.fd = one->channel, .events = POLLIN};
    uint64_t until = now_ms() + GUIDE_ANSWER_MS;
    ssize_t got = -1;
    int ready = 0;

    do {
        uint64_t now = now_ms();

        ready = poll(&one_poll, 1, now < until ? (int)(until - now) : 0);
    } while (ready < 0 && errno == EINTR);
    if (ready > 0) {
        got = recv(one->channel, answer, sizeof(*answer), MSG_DONTWAIT);
    }
    if (got == (ssize_t)sizeof(*answer)) {
        answer->text[DEMO_TEXT_BYTES - 1] = '\0';
        return;
    }
    memset(answer, 0, sizeof(*answer));
    answer->rc = SMEM_ERROR;
    snprintf(answer->text, sizeof(answer->text),
             ready == 0 ? "rank %u (pid %d) did not answer within %u s"
                        : "rank %u (pid %d) has ended before it answered (limit %u s)",
             rank, (int)one->pid, GUIDE_ANSWER_MS / 1000);
}

bool guide_ask(struct guide *guide, uint32_t rank, const struct demo_ask *ask,
               struct demo_answer *answer)
{
    guide_send(guide, rank, ask);
    guide_receive(guide, rank, answer);
    return answer->rc == SMEM_OK;
}
