// SPDX-License-Identifier: Apache-2.0
// mfcli run: starts the ranks of a world on this host and serves their config store.
#include <stdbool.h>
#include <stdint.h>

#include "args.h"
#include "commands.h"
#include "launch.h"
#include "smem.h"
#include "store_host.h"

#define GRACE_DEFAULT_MS 2000u

struct run_args {
    uint64_t count, world_size, rank_start, timeout_ms, grace_ms;
    const char *store;
    bool json;
};

static int check(const struct arg_spec *spec, struct run_args *args, int words)
{
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

int cmd_run(int argc, char **argv)
{
    struct run_args args = {.grace_ms = GRACE_DEFAULT_MS};
    const struct arg_option options[] = {
        {.name = "ranks",
         .letter = 'n',
         .type = ARG_NUMBER,
         .metavar = "N",
         .value = &args.count,
         .min = 1,
         .max = SMEM_WORLD_SIZE_MAX,
         .help = "ranks to start on this host"},
        {.name = "world-size",
         .type = ARG_NUMBER,
         .metavar = "W",
         .value = &args.world_size,
         .min = 1,
         .max = SMEM_WORLD_SIZE_MAX,
         .help = "ranks of the whole world (default: rank-start + N)"},
        {.name = "rank-start",
         .type = ARG_NUMBER,
         .metavar = "R",
         .value = &args.rank_start,
         .min = 0,
         .max = SMEM_WORLD_SIZE_MAX - 1,
         .help = "number of the first rank here (default 0)"},
        {.name = "store",
         .type = ARG_TEXT,
         .metavar = "URL",
         .value = &args.store,
         .help = "config store that runs elsewhere (default: serve one here)"},
        {.name = "timeout",
         .type = ARG_SECONDS,
         .metavar = "S",
         .value = &args.timeout_ms,
         .min = 1,
         .max = 1000000000,
         .help = "stop all ranks after S seconds (default: never)"},
        {.name = "grace",
         .type = ARG_SECONDS,
         .metavar = "S",
         .value = &args.grace_ms,
         .min = 0,
         .max = 86400000,
         .help = "when a rank fails, the others have S seconds to say what they saw\n"
                 "before they are stopped (default 2)"},
        {.name = "json",
         .type = ARG_FLAG,
         .value = &args.json,
         .help = "print lines of output and results as JSON, one object a line"},
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
    return result == ARGS_GO ? start(&spec, &args, argv + first) : result;
}
