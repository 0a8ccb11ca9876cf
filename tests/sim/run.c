// SPDX-License-Identifier: Apache-2.0
// The processes in which schedules run: a child runs one and writes its result into a pipe.
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNS_MAX 256u

static uint64_t clock_ns(clockid_t which)
{
    struct timespec now = {0};
    syscall(SYS_clock_gettime, which, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

uint64_t run_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* ---- the child ---- */

static void write_all(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno != EINTR) {
            _exit(3);
        }
        at += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

static void run_child(const struct schedule *schedule, bool verbose, int fd)
{
    struct run_result result = {.verdict = RUN_KEPT};
    struct world_cfg cfg = {.seed = schedule->seed,
                            .ranks = schedule->ranks,
                            .ranks_per_host = schedule->ranks_per_host,
                            .steps = schedule->steps,
                            .faults = schedule->faults,
                            .fault_count = schedule->fault_count,
                            .verbose = verbose};
    uint64_t begin_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    world_run(&cfg, &result.world);
    result.cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - begin_ns;
    if (result.world.oracle) {
        result.verdict = RUN_BROKEN;
        snprintf(result.oracle, sizeof(result.oracle), "%s", result.world.oracle);
        result.world.oracle = NULL; /* this process's */
    }
    fflush(stdout);
    write_all(fd, &result, sizeof(result));
    _exit(0);
}

/* ---- the parent ---- */

bool run_start(struct run *run, const struct schedule *schedule, bool verbose, uint32_t limit_s)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        fprintf(stderr, "mf-sim: pipe: %s\n", strerror(errno));
        return false;
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0) {
        fprintf(stderr, "mf-sim: fork: %s\n", strerror(errno));
        close(ends[0]);
        close(ends[1]);
        return false;
    }
    if (pid == 0) {
        struct rlimit none = {0, 0};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGINT, SIG_IGN); /* the parent ends the batch in order */
        signal(SIGTERM, SIG_DFL);
        setrlimit(RLIMIT_CORE, &none);
        close(ends[0]);
        run_child(schedule, verbose, ends[1]);
    }
    close(ends[1]);
    *run =
        (struct run){.pid = pid, .fd = ends[0], .limit_ns = run_now_ns() + limit_s * 1000000000ull};
    return true;
}

/* It has ended, or is ended now. */
static void finish(struct run *run, const char *hung)
{
    int status = 0;
    struct run_result *result = &run->result;
    if (hung) {
        kill(run->pid, SIGKILL);
    }
    close(run->fd);
    while (waitpid(run->pid, &status, 0) < 0 && errno == EINTR) {
    }
    run->pid = 0;
    if (run->have == sizeof(*result) && !hung) {
        return;
    }
    memset(result, 0, sizeof(*result));
    result->verdict = hung ? RUN_HUNG : RUN_CRASHED;
    snprintf(result->oracle, sizeof(result->oracle), "%s", hung ? "hang" : "crash");
    if (hung) {
        snprintf(result->world.text, sizeof(result->world.text), "%s", hung);
    } else if (WIFSIGNALED(status)) {
        snprintf(result->world.text, sizeof(result->world.text),
                 "the process was ended by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    } else {
        snprintf(result->world.text, sizeof(result->world.text),
                 "the process ended with %d without a result", WEXITSTATUS(status));
    }
}

/* False: nothing more comes. */
static bool receive(struct run *run)
{
    char *at = (char *)&run->result + run->have;
    ssize_t n = read(run->fd, at, sizeof(run->result) - run->have);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
        return true;
    }
    run->have += n > 0 ? (size_t)n : 0;
    return n > 0 && run->have < sizeof(run->result);
}

struct run *run_wait(struct run *runs, uint32_t count, int timeout_ms)
{
    struct pollfd polls[RUNS_MAX];
    for (uint32_t i = 0; i < count && i < RUNS_MAX; i++) {
        polls[i] = (struct pollfd){.fd = runs[i].pid ? runs[i].fd : -1, .events = POLLIN};
    }
    int ready = poll(polls, count, timeout_ms);
    uint64_t now_ns = run_now_ns();
    for (uint32_t i = 0; i < count && i < RUNS_MAX; i++) {
        if (runs[i].pid && ready > 0 && polls[i].revents && !receive(&runs[i])) {
            finish(&runs[i], NULL);
            return &runs[i];
        }
        if (runs[i].pid && now_ns >= runs[i].limit_ns) {
            finish(&runs[i], "the program did not come to an end in time (see --limit)");
            return &runs[i];
        }
    }
    return NULL;
}

void run_kill(struct run *runs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (runs[i].pid) {
            finish(&runs[i], "stopped");
        }
    }
}

bool run_one(const struct schedule *schedule, bool verbose, uint32_t limit_s,
             struct run_result *out)
{
    struct run run;
    if (!run_start(&run, schedule, verbose, limit_s)) {
        return false;
    }
    while (!run_wait(&run, 1, 1000)) {
    }
    *out = run.result;
    return true;
}
