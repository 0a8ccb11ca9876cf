// SPDX-License-Identifier: Apache-2.0
// The launcher: one loop over the ranks' pipes and the signals of this process. A rank is the
// leader of a process group; a group is killed before its leader is reaped, so that its number
// cannot have gone to somebody else.
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "alloc.h"
#include "args.h"
#include "lines.h"
#include "out.h"

#define KILL_AFTER_MS  3000u /* from SIGTERM to SIGKILL */
#define DRAIN_MS       500u  /* for what is left in the pipes when all have ended */
#define DESCRIPTORS    3u    /* that one rank needs here, with some to spare */
#define NEVER          UINT64_MAX
#define ENV_TEXT_BYTES 32u

extern char **environ;

enum stage {
    RUNNING,
    GRACE,      /* a rank failed; the others may end by themselves */
    TERMINATED, /* SIGTERM was sent */
    KILLED,     /* SIGKILL was sent */
};

struct rank {
    pid_t pid; /* 0: not started */
    bool ended;
    int status; /* of waitpid() */
    uint64_t ended_ms;
    struct lines out;
    struct lines err;
    int tether; /* write end of a member's standard input; -1 */
};

struct run {
    struct launch *launch;
    const struct launch_cfg *cfg;
    struct rank *ranks;
    struct pollfd *polls;
    uint32_t alive;
    uint64_t start_ms;
    int tether; /* our own; -1 */
    enum stage stage;
    uint64_t next_ms; /* when the stage ends; NEVER */
    bool failed;
};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int launch_open(struct launch *launch, const char *command)
{
    sigset_t handled;

    sigemptyset(&handled);
    sigaddset(&handled, SIGCHLD);
    sigaddset(&handled, SIGINT);
    sigaddset(&handled, SIGTERM);
    sigaddset(&handled, SIGHUP);
    if (guardian_start(&launch->guardian)) {
        fprintf(stderr, "%s: cannot start a process: %s\n", command, strerror(errno));
        return -1;
    }
    sigprocmask(SIG_BLOCK, &handled, &launch->old_mask);
    launch->signals = signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK);
    if (launch->signals < 0) {
        fprintf(stderr, "%s: signalfd: %s\n", command, strerror(errno));
        sigprocmask(SIG_SETMASK, &launch->old_mask, NULL);
        guardian_stop(&launch->guardian);
        return -1;
    }
    return 0;
}

void launch_close(struct launch *launch)
{
    close(launch->signals);
    sigprocmask(SIG_SETMASK, &launch->old_mask, NULL);
    guardian_stop(&launch->guardian);
}

/* ---- starting ------------------------------------------------------------------------------- */

static bool is_ours(const char *entry)
{
    static const char *const names[] = {
        "MF_CONFIG_STORE_URL=", "MF_WORLD_SIZE=", "MF_RANK=", "MF_LOCAL_RANK="};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strncmp(entry, names[i], strlen(names[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* The rank's environment; the last four texts are its own. */
static char **make_environment(const struct launch_cfg *cfg, uint32_t local, size_t *own)
{
    size_t count = 0, used = 0;
    char **list = NULL;

    while (environ[count]) {
        count++;
    }
    list = cli_alloc(count + 5, sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        if (!is_ours(environ[i])) {
            list[used++] = environ[i];
        }
    }
    *own = used;
    list[used++] = cli_text("MF_CONFIG_STORE_URL=%s", cfg->store_url);
    list[used++] = cli_text("MF_WORLD_SIZE=%u", cfg->world_size);
    list[used++] = cli_text("MF_RANK=%u", cfg->rank_start + local);
    list[used] = cli_text("MF_LOCAL_RANK=%u", local);
    return list;
}

static void free_environment(char **list, size_t own)
{
    for (size_t i = own; list[i]; i++) {
        free(list[i]);
    }
    free(list);
}

struct child_ends {
    int in, out, err, status; /* in: -1 for none; out and err: -1 to keep ours */
    pid_t parent;
};

/* Runs in the child, between fork and exec. */
static void become_rank(char **argv, const struct launch *launch, char **envp,
                        const struct child_ends *ends)
{
    int in = ends->in >= 0 ? ends->in : open("/dev/null", O_RDONLY);
    int error = 0;

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != ends->parent) {
        _exit(1);
    }
    dup2(in, STDIN_FILENO);
    if (ends->out >= 0) {
        dup2(ends->out, STDOUT_FILENO);
        dup2(ends->err, STDERR_FILENO);
    }
    sigprocmask(SIG_SETMASK, &launch->old_mask, NULL);
    execvpe(argv[0], argv, envp);
    error = errno;
    if (write(ends->status, &error, sizeof(error)) < 0) {
        _exit(126);
    }
    _exit(127);
}

/* Waits for exec in the child. @return 0, or the errno with which it failed */
static int exec_result(int status)
{
    int error = 0;
    ssize_t got = 0;

    do {
        got = read(status, &error, sizeof(error));
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof(error) ? error : 0;
}

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0) {
            close(pair[i]);
        }
    }
}

static char **argv_of(const struct run *run, uint32_t local)
{
    const struct launch_cfg *cfg = run->cfg;

    return cfg->members ? cfg->members[local].argv : cfg->argv;
}

static int start_process(struct run *run, uint32_t local, int in, int out[2], int err[2])
{
    struct rank *rank = &run->ranks[local];
    struct child_ends ends = {.in = in, .out = out[1], .err = err[1], .parent = getpid()};
    int status[2];
    size_t own = 0;
    char **envp = NULL;
    int error = 0;

    if (pipe2(status, O_CLOEXEC)) {
        return errno;
    }
    ends.status = status[1];
    envp = make_environment(run->cfg, local, &own);
    rank->pid = fork();
    if (rank->pid == 0) {
        become_rank(argv_of(run, local), run->launch, envp, &ends);
    }
    error = rank->pid < 0 ? errno : 0;
    close(status[1]);
    if (!error) {
        setpgid(rank->pid, rank->pid);
        guardian_add(&run->launch->guardian, rank->pid);
        run->alive++;
        error = exec_result(status[0]);
    } else {
        rank->pid = 0;
    }
    close(status[0]);
    free_environment(envp, own);
    return error;
}

/* @return 0 or an errno */
static int start_rank(struct run *run, uint32_t local)
{
    const struct launch_cfg *cfg = run->cfg;
    struct rank *rank = &run->ranks[local];
    uint32_t number = cfg->rank_start + local;
    bool piped = local > 0 || !cfg->first_is_tool;
    bool json = cfg->json && !cfg->first_is_tool;
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
    int error = 0;

    if ((cfg->members && pipe2(in, O_CLOEXEC)) ||
        (piped && (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)))) {
        error = errno;
    } else {
        error = start_process(run, local, in[0], out, err);
    }
    if (error) {
        close_pair(in);
        close_pair(out);
        close_pair(err);
        return error;
    }
    if (cfg->members) {
        close(in[0]);
        rank->tether = in[1];
    }
    if (piped) {
        close(out[1]);
        close(err[1]);
        lines_init(&rank->out, out[0], cfg->first_is_tool ? stderr : stdout, "stdout", number,
                   json);
        lines_init(&rank->err, err[0], stderr, "stderr", number, json);
        rank->out.raw = rank->err.raw = cfg->members != NULL;
    }
    return 0;
}

static void raise_descriptor_limit(const struct run *run)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)run->cfg->count * DESCRIPTORS + 64;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* ---- stopping ------------------------------------------------------------------------------- */

static void signal_all(struct run *run, int number)
{
    for (uint32_t i = 0; i < run->cfg->count; i++) {
        if (run->ranks[i].pid && !run->ranks[i].ended) {
            kill(-run->ranks[i].pid, number);
        }
    }
}

/* Whoever looks after ranks elsewhere stops them, also where a signal does not reach. */
static void cut_tethers(struct run *run)
{
    for (uint32_t i = 0; i < run->cfg->count; i++) {
        if (run->ranks[i].tether >= 0) {
            close(run->ranks[i].tether);
            run->ranks[i].tether = -1;
        }
    }
}

static void go_to(struct run *run, enum stage stage)
{
    uint64_t now = now_ms();

    if (stage <= run->stage) {
        return;
    }
    run->stage = stage;
    switch (stage) {
    case GRACE:
        run->next_ms = now + run->cfg->grace_ms;
        break;
    case TERMINATED:
        cut_tethers(run);
        signal_all(run, SIGTERM);
        signal_all(run, SIGCONT); /* who is stopped shall see it too */
        run->next_ms = now + KILL_AFTER_MS;
        break;
    case KILLED:
        signal_all(run, SIGKILL);
        run->next_ms = NEVER;
        break;
    case RUNNING:
        break;
    }
}

static void stage_is_over(struct run *run)
{
    switch (run->stage) {
    case RUNNING:
        fprintf(stderr, "%s: not done after %g s: stopping all ranks\n", run->cfg->command,
                (double)run->cfg->timeout_ms / 1000);
        run->failed = true;
        go_to(run, TERMINATED);
        break;
    case GRACE:
        go_to(run, TERMINATED);
        break;
    case TERMINATED:
    case KILLED:
        go_to(run, KILLED);
        break;
    }
}

/* "rank 3", or "the agent of host h". */
static void name_of(const struct run *run, uint32_t local, char *text, size_t length)
{
    const struct launch_cfg *cfg = run->cfg;

    if (cfg->members) {
        snprintf(text, length, "the agent of host %s", cfg->members[local].name);
    } else {
        snprintf(text, length, "rank %u", cfg->rank_start + local);
    }
}

/* Says how a rank ended that did not end well. After the launcher stopped it, that is no news. */
static void tell_end(const struct run *run, uint32_t local)
{
    const struct rank *rank = &run->ranks[local];
    char who[300];
    const char *more = run->alive && run->stage == RUNNING ? "; stopping the others" : "";

    if (run->stage >= TERMINATED) {
        return;
    }
    name_of(run, local, who, sizeof(who));
    if (WIFSIGNALED(rank->status)) {
        fprintf(stderr, "%s: %s (pid %d) was killed by signal %d (%s)%s\n", run->cfg->command, who,
                (int)rank->pid, WTERMSIG(rank->status), strsignal(WTERMSIG(rank->status)), more);
    } else {
        fprintf(stderr, "%s: %s (pid %d) ended with code %d%s\n", run->cfg->command, who,
                (int)rank->pid, WEXITSTATUS(rank->status), more);
    }
}

static void reap(struct run *run, uint32_t local)
{
    struct rank *rank = &run->ranks[local];

    kill(-rank->pid, SIGKILL);
    guardian_remove(&run->launch->guardian, rank->pid);
    while (waitpid(rank->pid, &rank->status, 0) < 0 && errno == EINTR) {
    }
    rank->ended = true;
    rank->ended_ms = now_ms();
    run->alive--;
    if (rank->status != 0) {
        run->failed = true;
        tell_end(run, local);
        go_to(run, GRACE);
    }
}

static void reap_all(struct run *run)
{
    for (uint32_t i = 0; i < run->cfg->count; i++) {
        struct rank *rank = &run->ranks[i];
        siginfo_t info = {.si_pid = 0};

        if (rank->pid && !rank->ended &&
            waitid(P_PID, (id_t)rank->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid == rank->pid) {
            reap(run, i);
        }
    }
}

static void take_signals(struct run *run)
{
    struct signalfd_siginfo info;

    while (read(run->launch->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        int number = (int)info.ssi_signo;

        if (number == SIGCHLD) {
            reap_all(run);
            continue;
        }
        fprintf(stderr, "%s: %s: stopping all ranks\n", run->cfg->command, strsignal(number));
        run->failed = true;
        if (run->stage >= TERMINATED) {
            go_to(run, KILLED);
            continue;
        }
        cut_tethers(run);
        signal_all(run, number);
        run->stage = TERMINATED;
        run->next_ms = now_ms() + KILL_AFTER_MS;
    }
}

/* ---- the loop ------------------------------------------------------------------------------- */

static int poll_timeout(uint64_t until_ms)
{
    uint64_t now = now_ms();

    if (until_ms == NEVER) {
        return -1;
    }
    if (until_ms <= now) {
        return 0;
    }
    return until_ms - now > 60000 ? 60000 : (int)(until_ms - now);
}

/* Whoever holds the other end has ended, or wants us to. */
static void pull_tether(struct run *run)
{
    char bytes[64];
    ssize_t got = read(run->tether, bytes, sizeof(bytes));

    if (got > 0 || (got < 0 && errno == EINTR)) {
        return; /* nobody has anything to say here */
    }
    run->tether = -1;
    run->failed = true;
    fprintf(stderr, "%s: standard input has ended: stopping all ranks\n", run->cfg->command);
    go_to(run, TERMINATED);
}

/* Waits for output, a signal or the time; passes output on. @return false when no pipe is open */
static bool pump(struct run *run, uint64_t until_ms)
{
    uint32_t count = run->cfg->count;
    struct pollfd *polls = run->polls;
    bool open = false;

    for (uint32_t i = 0; i < count; i++) {
        polls[2 * i] = (struct pollfd){.fd = run->ranks[i].out.fd, .events = POLLIN};
        polls[2 * i + 1] = (struct pollfd){.fd = run->ranks[i].err.fd, .events = POLLIN};
        open = open || run->ranks[i].out.fd >= 0 || run->ranks[i].err.fd >= 0;
    }
    polls[2 * count] = (struct pollfd){.fd = run->launch->signals, .events = POLLIN};
    polls[2 * count + 1] = (struct pollfd){.fd = run->tether, .events = POLLIN};
    if (poll(polls, 2 * count + 2, poll_timeout(until_ms)) > 0) {
        if (polls[2 * count + 1].revents) {
            pull_tether(run);
        }
        for (uint32_t i = 0; i < count; i++) {
            if (polls[2 * i].revents) {
                lines_read(&run->ranks[i].out);
            }
            if (polls[2 * i + 1].revents) {
                lines_read(&run->ranks[i].err);
            }
        }
    }
    return open;
}

static void wait_for_all(struct run *run)
{
    uint64_t drain_until = 0;

    while (run->alive) {
        pump(run, run->next_ms);
        take_signals(run);
        if (now_ms() >= run->next_ms) {
            stage_is_over(run);
        }
    }
    drain_until = now_ms() + DRAIN_MS;
    while (pump(run, drain_until) && now_ms() < drain_until) {
    }
}

static void report_json(const struct run *run)
{
    for (uint32_t i = 0; i < run->cfg->count; i++) {
        const struct rank *rank = &run->ranks[i];
        struct out_json json;

        if (!rank->pid) {
            continue;
        }
        out_json_open(&json, stdout);
        out_json_u64(&json, "rank", run->cfg->rank_start + i);
        out_json_i64(&json, "pid", rank->pid);
        out_json_i64(&json, "code", WIFEXITED(rank->status) ? WEXITSTATUS(rank->status) : -1);
        out_json_i64(&json, "signal", WIFSIGNALED(rank->status) ? WTERMSIG(rank->status) : 0);
        out_json_real(&json, "seconds", (double)(rank->ended_ms - run->start_ms) / 1000, 3);
        out_json_close(&json);
    }
}

static void start_all(struct run *run)
{
    raise_descriptor_limit(run);
    for (uint32_t i = 0; i < run->cfg->count; i++) {
        int error = start_rank(run, i);

        if (error) {
            char who[300];

            name_of(run, i, who, sizeof(who));
            fprintf(stderr, "%s: %s: cannot start '%s': %s\n", run->cfg->command, who,
                    argv_of(run, i)[0], strerror(error));
            run->failed = true;
            go_to(run, KILLED);
            return;
        }
    }
}

int launch_run(struct launch *launch, const struct launch_cfg *cfg)
{
    struct run run = {
        .launch = launch, .cfg = cfg, .start_ms = now_ms(), .stage = RUNNING, .next_ms = NEVER};

    run.ranks = cli_alloc(cfg->count, sizeof(*run.ranks));
    run.polls = cli_alloc(2 * (size_t)cfg->count + 2, sizeof(*run.polls));
    run.tether = cfg->tether ? STDIN_FILENO : -1;
    for (uint32_t i = 0; i < cfg->count; i++) {
        run.ranks[i].out.fd = -1;
        run.ranks[i].err.fd = -1;
        run.ranks[i].tether = -1;
    }
    if (cfg->timeout_ms) {
        run.next_ms = run.start_ms + cfg->timeout_ms;
    }
    start_all(&run);
    wait_for_all(&run);
    for (uint32_t i = 0; i < cfg->count; i++) {
        lines_close(&run.ranks[i].out);
        lines_close(&run.ranks[i].err);
    }
    cut_tethers(&run);
    if (cfg->json && !cfg->first_is_tool && !cfg->members) {
        report_json(&run);
    }
    free(run.ranks);
    free(run.polls);
    return run.failed ? CLI_FAILURE : CLI_OK;
}
