// SPDX-License-Identifier: Apache-2.0
// Children of the benchmark.
#include "parts.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "args.h"
#include "launch.h"
#include "store_host.h"
#include "memfabric/mf_device.h"
#include "smem.h"
#include "world.h"

#define RANKS    2u
#define GRACE_MS 2000u
#define PATH_LEN 4096u

typedef int (*part_fn)(void *arg);

/* Runs the function in a child that ends with this process. @return its exit code */
static int run_part(part_fn part, void *arg)
{
    int status = 0;
    pid_t pid = 0;

    fflush(NULL);
    pid = fork();
    if (pid < 0) {
        fprintf(stderr, "%s: cannot start a process: %s\n", BENCH_COMMAND, strerror(errno));
        return CLI_FAILURE;
    }
    if (pid == 0) {
        int code = 0;

        prctl(PR_SET_PDEATHSIG, SIGTERM);
        code = part(arg);
        fflush(NULL);
        _exit(code);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "%s: a process was killed by signal %d (%s)\n", BENCH_COMMAND,
                WTERMSIG(status), strsignal(WTERMSIG(status)));
        return CLI_FAILURE;
    }
    return WEXITSTATUS(status);
}

static int probe_device(void *arg)
{
    const bool *tell = arg;
    mf_device_t device = NULL;

    if (mf_device_open("auto:0", &device)) {
        if (*tell) {
            fprintf(stderr, "%s: %s\n", BENCH_COMMAND, smem_get_last_err_msg());
        }
        return CLI_FAILURE;
    }
    mf_device_close(device);
    return CLI_OK;
}

bool parts_device_is_there(bool tell)
{
    return run_part(probe_device, &tell) == CLI_OK;
}

static int launch_world(void *arg)
{
    struct launch launch;
    struct store_host store;
    struct launch_cfg cfg = {.command = BENCH_COMMAND,
                             .count = RANKS,
                             .world_size = RANKS,
                             .argv = arg,
                             .grace_ms = GRACE_MS,
                             .first_is_tool = true};
    int result = CLI_FAILURE;

    if (launch_open(&launch, BENCH_COMMAND)) {
        return CLI_FAILURE;
    }
    if (store_host_open(&store, "tcp://127.0.0.1:0", BENCH_COMMAND) == 0) {
        cfg.store_url = store.url;
        result = launch_run(&launch, &cfg);
        store_host_close(&store);
    }
    launch_close(&launch);
    return result;
}

int parts_run_world(char **argv)
{
    char program[PATH_LEN];
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);

    if (length <= 0) {
        fprintf(stderr, "%s: /proc/self/exe: %s\n", BENCH_COMMAND, strerror(errno));
        return CLI_FAILURE;
    }
    program[length] = '\0';
    argv[0] = program;
    return run_part(launch_world, argv);
}

struct case_part {
    int (*run)(const struct bench_cfg *);
    const struct bench_cfg *cfg;
};

static int run_case(void *arg)
{
    const struct case_part *part = arg;

    return part->run(part->cfg) ? CLI_FAILURE : CLI_OK;
}

int parts_run_case(int (*run)(const struct bench_cfg *), const struct bench_cfg *cfg)
{
    struct case_part part = {.run = run, .cfg = cfg};

    return run_part(run_case, &part);
}
