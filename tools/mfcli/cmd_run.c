// SPDX-License-Identifier: Apache-2.0
// mfcli run: starts the ranks of a world on this host and serves their config store; with -H,
// starts one mfcli run on each of other hosts through an agent.
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "alloc.h"
#include "args.h"
#include "commands.h"
#include "hosts.h"
#include "launch.h"
#include "smem.h"
#include "store_host.h"

#define GRACE_DEFAULT_MS 2000u

struct run_args {
    uint64_t count, world_size, rank_start, timeout_ms, grace_ms;
    const char *store, *hosts, *agent;
    bool json, tether;
};

static int check_hosts(const struct arg_spec *spec, const struct run_args *args)
{
    if (args->count || args->tether) {
        return args_usage_error(spec, "-H says how many ranks there are: leave out -n");
    }
    if (!args->store) {
        return args_usage_error(spec, "-H needs --store URL with an address that all hosts reach "
                                      "(mfcli store serves one)");
    }
    return ARGS_GO;
}

static int check(const struct arg_spec *spec, struct run_args *args, int words)
{
    if (args->hosts) {
        return words == 0 ? args_usage_error(spec, "the program to run is missing; put it after --")
                          : check_hosts(spec, args);
    }
    if (args->agent) {
        return args_usage_error(spec, "--agent goes with -H, the hosts to start ranks on");
    }
    if (args->count == 0) {
        return args_usage_error(spec, "-n N, the number of ranks, is missing");
    }
    if (words == 0) {
        return args_usage_error(spec, "the program to run is missing; put it after --");
    }
    if (args->world_size == 0) {
        args->world_size = args->rank_start + args->count;
    }
    if (args->rank_start + args->count > args->world_size) {
        return args_usage_error(
            spec, "ranks %u to %u are not all below --world-size %u", (unsigned)args->rank_start,
            (unsigned)(args->rank_start + args->count - 1), (unsigned)args->world_size);
    }
    if (args->world_size > SMEM_WORLD_SIZE_MAX) {
        return args_usage_error(spec, "a world has at most %u ranks", SMEM_WORLD_SIZE_MAX);
    }
    if (!args->store && args->world_size != args->count) {
        return args_usage_error(spec, "a part of a world needs --store URL, where the other ranks "
                                      "come too (mfcli store serves one)");
    }
    return ARGS_GO;
}

static int start(const struct arg_spec *spec, const struct run_args *args, char **program)
{
    struct launch launch;
    struct store_host host = {.store = NULL};
    struct launch_cfg cfg = {.command = spec->command,
                             .store_url = args->store,
                             .count = (uint32_t)args->count,
                             .rank_start = (uint32_t)args->rank_start,
                             .world_size = (uint32_t)args->world_size,
                             .argv = program,
                             .timeout_ms = args->timeout_ms,
                             .grace_ms = args->grace_ms,
                             .tether = args->tether,
                             .json = args->json};
    int result = CLI_FAILURE;

    if (launch_open(&launch, spec->command)) {
        return CLI_FAILURE;
    }
    if (args->store || store_host_open(&host, "tcp://127.0.0.1:0", spec->command) == 0) {
        cfg.store_url = args->store ? args->store : host.url;
        result = launch_run(&launch, &cfg);
    }
    if (host.store) {
        store_host_close(&host);
    }
    launch_close(&launch);
    return result;
}

/* Ranks of other hosts. */
static int start_hosts(const struct arg_spec *spec, const struct run_args *args, char **program)
{
    struct launch launch;
    struct hosts *hosts = cli_alloc(1, sizeof(*hosts));
    const struct hosts_cfg which = {.list = args->hosts,
                                    .agent = args->agent ? args->agent : HOSTS_AGENT_DEFAULT,
                                    .store = args->store,
                                    .rank_start = args->rank_start,
                                    .world_size = args->world_size,
                                    .grace_ms = args->grace_ms,
                                    .json = args->json,
                                    .program = program};
    char *wrong = hosts_open(hosts, &which);
    int result = CLI_FAILURE;

    if (wrong) {
        result = args_usage_error(spec, "%s", wrong);
    } else if (launch_open(&launch, spec->command) == 0) {
        const struct launch_cfg cfg = {.command = spec->command,
                                       .store_url = args->store,
                                       .count = hosts->count,
                                       .members = hosts->members,
                                       .timeout_ms = args->timeout_ms,
                                       /* its own grace is over when a host's agent ends */
                                       .grace_ms = args->grace_ms,
                                       .json = args->json};
        result = launch_run(&launch, &cfg);
        launch_close(&launch);
    }
    hosts_close(hosts);
    free(hosts);
    free(wrong);
    return result;
}

int cmd_run(int argc, char **argv)
{
    struct run_args args = {.grace_ms = GRACE_DEFAULT_MS};
    const struct arg_option options[] = {
        arg_lettered('n', arg_number("ranks", "N", &args.count, 1, SMEM_WORLD_SIZE_MAX,
                                     "ranks to start on this host")),
        arg_number("world-size", "W", &args.world_size, 1, SMEM_WORLD_SIZE_MAX,
                   "ranks of the whole world (default: rank-start + N)"),
        arg_number("rank-start", "R", &args.rank_start, 0, SMEM_WORLD_SIZE_MAX - 1,
                   "number of the first rank here (default 0)"),
        arg_text("store", "URL", &args.store,
                 "config store that runs elsewhere (default: serve one here)"),
        arg_lettered('H', arg_text("hosts", "H1:N,H2:N", &args.hosts,
                                   "start N ranks on each of these hosts instead (needs --store)")),
        arg_text("agent", "WORDS", &args.agent,
                 "what starts a command on host %h; %c, if there, is the command as one\n"
                 "word for a shell (default: ssh -o BatchMode=yes %h)"),
        arg_hidden(arg_flag("tether", &args.tether, "stop when standard input ends")),
        arg_seconds("timeout", &args.timeout_ms, 1, 1000000000,
                    "stop all ranks after S seconds (default: never)"),
        arg_seconds("grace", &args.grace_ms, 0, 86400000,
                    "when a rank fails, the others have S seconds to say what they saw\n"
                    "before they are stopped (default 2)"),
        arg_flag("json", &args.json,
                 "print lines of output and results as JSON, one object a line"),
    };
    const struct arg_spec spec = {
        .command = "mfcli run",
        .operands = "-- PROGRAM [ARGUMENTS]",
        .about = "Starts N ranks of PROGRAM with MF_CONFIG_STORE_URL, MF_WORLD_SIZE, MF_RANK and\n"
                 "MF_LOCAL_RANK set, and puts [rank] in front of each line that they print. When "
                 "one\nfails, all are stopped. No process is left behind.",
        .options = options,
        .count = sizeof(options) / sizeof(options[0])};
    int first = 0;
    int result = args_parse(&spec, argc, argv, &first);

    if (result == ARGS_GO) {
        result = check(&spec, &args, argc - first);
    }
    if (result != ARGS_GO) {
        return result;
    }
    return args.hosts ? start_hosts(&spec, &args, argv + first) : start(&spec, &args, argv + first);
}
