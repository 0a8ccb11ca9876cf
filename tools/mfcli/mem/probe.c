// SPDX-License-Identifier: Apache-2.0
// The probe's child process: maps, binds, touches by several threads, reports over a pipe.
#include "probe.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replay/pause.h"

#define MPOL_BIND_MODE 2
#define NODE_WORDS     16u
#define POPULATE_WRITE 23 /* MADV_POPULATE_WRITE, Linux 5.14 */
#define HUGE_SHIFT     26 /* MAP_HUGE_SHIFT */
#define STEP_BYTES     ((uint64_t)64 << 20)

enum stage { MAPPING, BINDING, TOUCHING };

struct report {
    uint64_t touched;
    enum stage stage; /* where it ended */
    int error;        /* errno; 0: none */
};

struct worker {
    pthread_t thread;
    char *from;
    uint64_t bytes, page, touched;
    int error;
};

static void *touch(void *arg)
{
    struct worker *worker = arg;

    while (worker->touched < worker->bytes) {
        uint64_t step = worker->bytes - worker->touched;
        char *at = worker->from + worker->touched;

        step = step < STEP_BYTES ? step : STEP_BYTES;
        if (madvise(at, step, POPULATE_WRITE)) {
            if (errno != EINVAL) {
                worker->error = errno;
                break;
            }
            /* An older kernel: a page that it cannot give ends this process, which is noticed. */
            for (uint64_t i = 0; i < step; i += worker->page) {
                ((volatile char *)at)[i] = 1;
            }
        }
        worker->touched += step;
    }
    return NULL;
}

static void *map(const struct mem_probe *probe, struct report *report)
{
    unsigned long mask[NODE_WORDS] = {0};
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *memory = NULL;
    unsigned bits = 8 * sizeof(mask[0]);

    if (probe->page) {
        flags |= MAP_HUGETLB | (__builtin_ctzll(probe->page) << HUGE_SHIFT);
    }
    memory = mmap(NULL, probe->bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) {
        report->error = errno;
        return NULL;
    }
    report->stage = BINDING;
    if (probe->node >= 0) {
        mask[(unsigned)probe->node / bits] = 1ul << ((unsigned)probe->node % bits);
        if (syscall(SYS_mbind, memory, probe->bytes, MPOL_BIND_MODE, mask, sizeof(mask) * 8, 0u)) {
            report->error = errno;
            return NULL;
        }
    }
    report->stage = TOUCHING;
    return memory;
}

/* Each worker gets whole pages. */
static void touch_all(const struct mem_probe *probe, char *memory, struct report *report)
{
    static struct worker workers[PROBE_WORKERS_MAX];
    uint64_t page = probe->page ? probe->page : (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t pages = probe->bytes / page, at = 0;
    uint32_t started = 0;

    for (uint32_t i = 0; i < probe->workers; i++) {
        struct worker *worker = &workers[i];
        uint64_t share = pages / probe->workers + (i < pages % probe->workers ? 1 : 0);

        *worker = (struct worker){.from = memory + at, .bytes = share * page, .page = page};
        at += share * page;
        report->error = pthread_create(&worker->thread, NULL, touch, worker);
        if (report->error) {
            break;
        }
        started++;
    }
    for (uint32_t i = 0; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
        report->touched += workers[i].touched;
        report->error = report->error ? report->error : workers[i].error;
    }
}

static void child(const struct mem_probe *probe, int out)
{
    struct report report = {.touched = 0};
    char *memory = map(probe, &report);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (memory) {
        touch_all(probe, memory, &report);
    }
    _exit(write(out, &report, sizeof(report)) == (ssize_t)sizeof(report) ? 0 : 1);
}

static int fail(struct mem_probe_result *result, const char *what, int error)
{
    snprintf(result->error, sizeof(result->error), "%s: %s", what, strerror(error));
    return -1;
}

/* The child's report, or what happened to it. */
static int take_report(const struct mem_probe *probe, struct mem_probe_result *result, int in,
                       pid_t pid)
{
    static const char *const stages[] = {"cannot map it", "cannot bind it to the node",
                                         "cannot touch the rest"};
    struct pollfd one = {.fd = in, .events = POLLIN};
    struct report report;
    int ready = 0, status = 0;

    do {
        ready = poll(&one, 1, (int)probe->timeout_ms);
    } while (ready < 0 && errno == EINTR);
    if (ready == 0) {
        kill(pid, SIGKILL);
    }
    if (ready > 0 && read(in, &report, sizeof(report)) != (ssize_t)sizeof(report)) {
        ready = -1;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (ready == 0) {
        snprintf(result->error, sizeof(result->error), "not done after %" PRIu64 " ms",
                 probe->timeout_ms);
        return -1;
    }
    if (ready < 0) {
        snprintf(result->error, sizeof(result->error),
                 "the kernel could not give the memory that it had promised (signal %d)",
                 WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        return -1;
    }
    result->touched = report.touched;
    return report.error ? fail(result, stages[report.stage], report.error) : 0;
}

int mem_probe_run(const struct mem_probe *probe, struct mem_probe_result *result)
{
    uint64_t start = now_ns();
    int ends[2], rc = 0;
    pid_t pid = 0;

    memset(result, 0, sizeof(*result));
    if (pipe(ends)) {
        return fail(result, "pipe", errno);
    }
    pid = fork();
    if (pid == 0) {
        close(ends[0]);
        child(probe, ends[1]);
    }
    close(ends[1]);
    rc = pid < 0 ? fail(result, "fork", errno) : take_report(probe, result, ends[0], pid);
    close(ends[0]);
    result->seconds = (double)(now_ns() - start) / 1e9;
    return rc;
}
