// SPDX-License-Identifier: Apache-2.0
// mfcli replay: reads the arguments; is one rank when MF_RANK is set, else starts all of them.
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "args.h"
#include "commands.h"
#include "launch.h"
#include "store_host.h"
#include "rank.h"
#include "smem.h"

#define RANKS_DEFAULT   4u
#define BLOCK_DEFAULT   16384u
#define ANSWER_DEFAULT  10000u
#define GRACE_MS        5000u
#define BLOCK_UNIT      64u
#define BLOCK_BYTES_MAX (64u << 20)
#define REQUESTS_MAX    100000000u

static const char *const op_names[] = {"sdma",        "host_shm",  "host_tcp", "host_rdma",
                                       "device_rdma", "host_urma", NULL};
static const smem_bm_data_op_type_t op_values[] = {
    SMEMB_DATA_OP_SDMA,      SMEMB_DATA_OP_HOST_SHM,    SMEMB_DATA_OP_HOST_TCP,
    SMEMB_DATA_OP_HOST_RDMA, SMEMB_DATA_OP_DEVICE_RDMA, SMEMB_DATA_OP_HOST_URMA};
static const char *const fault_names[] = {"none", "flip", NULL};

struct replay_args {
    const char *trace;
    uint64_t ranks, clients, block, capacity, requests, seed, op, answer_ms, timeout_ms, fault;
    bool json;
};

static int parse(struct arg_spec *spec, struct replay_args *args, int argc, char **argv)
{
    const struct arg_option options[] = {
        arg_text("trace", "FILE", &args->trace,
                 "requests as JSON lines with \"hash_ids\" (default: generate them)"),
        arg_number("ranks", "N", &args->ranks, 1, SMEM_WORLD_SIZE_MAX,
                   "ranks that share the pool (default 4)"),
        arg_number("clients", "C", &args->clients, 1, REPLAY_CLIENT_MAX,
                   "clients in all; client i lives on rank i % N, and with one\n"
                   "the order of the trace is kept (default 1)"),
        arg_size("block", "BYTES", &args->block, BLOCK_UNIT, BLOCK_BYTES_MAX,
                 "size of a block, a multiple of 64 (default 16K)"),
        arg_size("capacity", "BYTES", &args->capacity, 1, UINT64_MAX,
                 "bytes of blocks that the pool holds in all; then the least\n"
                 "recently used goes (default: all blocks fit)"),
        arg_number("requests", "M", &args->requests, 1, REQUESTS_MAX,
                   "first M requests of the trace, or M generated ones\n"
                   "(default: all, or 4000)"),
        arg_number("seed", "S", &args->seed, 0, 0, "of the generated requests (default 1)"),
        arg_choice("op", "OP", &args->op, op_names,
                   "operator of the pool: sdma, host_shm, host_tcp, host_rdma,\n"
                   "device_rdma, host_urma (default sdma)"),
        arg_seconds("peer-timeout", &args->answer_ms, 100, 3600000,
                    "a rank that is silent for so long has failed (default 10)"),
        arg_seconds("timeout", &args->timeout_ms, 1, 1000000000,
                    "stop all ranks after S seconds (default: never)"),
        arg_flag("json", &args->json, "print the result as a JSON object"),
        arg_hidden(arg_choice("fault", "KIND", &args->fault, fault_names,
                              "spoil bytes on purpose: the run must notice")),
    };
    int result = 0;

    spec->options = options;
    spec->count = sizeof(options) / sizeof(options[0]);
    result = args_parse(spec, argc, argv, NULL);
    spec->options = NULL;
    spec->count = 0;
    return result;
}

static int check(const struct arg_spec *spec, const struct replay_cfg *cfg)
{
    if (cfg->block_bytes % BLOCK_UNIT) {
        return args_usage_error(spec, "--block: %" PRIu64 " is not a multiple of %u",
                                cfg->block_bytes, BLOCK_UNIT);
    }
    if (cfg->capacity && cfg->capacity / cfg->block_bytes / cfg->ranks == 0) {
        return args_usage_error(spec,
                                "--capacity: %" PRIu64 " is less than one block of %" PRIu64
                                " bytes for each of %u ranks",
                                cfg->capacity, cfg->block_bytes, cfg->ranks);
    }
    return ARGS_GO;
}

/* A number in the environment that a launcher has set. */
static int env_number(const struct arg_spec *spec, const char *name, uint64_t max, uint64_t *value)
{
    const char *text = getenv(name);
    char *end = NULL;

    if (!text || !*text) {
        return args_usage_error(spec, "MF_RANK is set, but not %s", name);
    }
    errno = 0;
    *value = strtoull(text, &end, 10);
    if (errno || *end || *text == '-' || *value > max) {
        return args_usage_error(spec, "%s: '%s' is not a number up to %" PRIu64, name, text, max);
    }
    return ARGS_GO;
}

/* This process is one rank of a world that somebody has started. */
static int be_rank(const struct arg_spec *spec, struct replay_cfg *cfg, uint64_t ranks_asked)
{
    uint64_t rank = 0, ranks = 0;
    int result = env_number(spec, "MF_WORLD_SIZE", SMEM_WORLD_SIZE_MAX, &ranks);

    if (result == ARGS_GO && ranks == 0) {
        result = args_usage_error(spec, "MF_WORLD_SIZE: a world of 0 ranks");
    }
    if (result == ARGS_GO) {
        result = env_number(spec, "MF_RANK", ranks - 1, &rank);
    }
    if (result != ARGS_GO) {
        return result;
    }
    cfg->store_url = getenv("MF_CONFIG_STORE_URL");
    if (!cfg->store_url) {
        return args_usage_error(spec, "MF_RANK is set, but not MF_CONFIG_STORE_URL");
    }
    if (ranks_asked && ranks_asked != ranks) {
        return args_usage_error(spec, "--ranks %" PRIu64 " in a world of %" PRIu64 " ranks",
                                ranks_asked, ranks);
    }
    cfg->rank = (uint32_t)rank;
    cfg->ranks = (uint32_t)ranks;
    result = check(spec, cfg);
    return result == ARGS_GO ? replay_rank(cfg) : result;
}

/* What would fail in every rank shall be said once. */
static int check_trace(const struct arg_spec *spec, const struct replay_cfg *cfg)
{
    struct trace trace;
    char error[TRACE_ERROR_BYTES];
    int rc = 0;

    if (!cfg->trace_path) {
        return 0;
    }
    rc = replay_load(cfg, &trace, error);
    if (rc) {
        fprintf(stderr, "%s: %s\n", spec->command, error);
    }
    trace_fini(&trace);
    return rc;
}

/* This program's file. */
static char *own_path(void)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path));

    return cli_text("%.*s", length > 0 ? (int)length : 0, path);
}

/* Starts all ranks, each this same program with the same arguments. */
static int start_ranks(const struct arg_spec *spec, const struct replay_cfg *cfg,
                       uint64_t timeout_ms, int argc, char **argv)
{
    struct launch launch;
    struct store_host host;
    char **again = cli_alloc((size_t)argc + 2, sizeof(*again));
    struct launch_cfg launch_cfg = {.command = spec->command,
                                    .store_url = host.url,
                                    .count = cfg->ranks,
                                    .world_size = cfg->ranks,
                                    .argv = again,
                                    .timeout_ms = timeout_ms,
                                    .grace_ms = GRACE_MS,
                                    .json = cfg->json,
                                    .first_is_tool = true};
    int result = CLI_FAILURE;

    again[0] = own_path();
    memcpy(again + 1, argv, (size_t)argc * sizeof(*argv));
    if (check_trace(spec, cfg) == 0 && launch_open(&launch, spec->command) == 0) {
        if (store_host_open(&host, "tcp://127.0.0.1:0", spec->command) == 0) {
            result = launch_run(&launch, &launch_cfg);
            store_host_close(&host);
        }
        launch_close(&launch);
    }
    free(again[0]);
    free(again);
    return result;
}

int cmd_replay(int argc, char **argv)
{
    struct replay_args args = {
        .clients = 1, .block = BLOCK_DEFAULT, .seed = 1, .answer_ms = ANSWER_DEFAULT};
    struct arg_spec spec = {
        .command = "mfcli replay",
        .about = "A KV-cache pool at work: each request asks the pool for its blocks; what is "
                 "there is got and\nchecked byte by byte, what is absent is computed and put. "
                 "Starts its ranks itself, or is one\nrank under mfcli run."};
    int result = parse(&spec, &args, argc, argv);
    struct replay_cfg cfg = {.trace_path = args.trace,
                             .ranks = args.ranks ? (uint32_t)args.ranks : RANKS_DEFAULT,
                             .clients = (uint32_t)args.clients,
                             .block_bytes = args.block,
                             .capacity = args.capacity,
                             .requests = args.requests,
                             .seed = args.seed,
                             .op = op_values[args.op],
                             .op_name = op_names[args.op],
                             .answer_ms = args.answer_ms,
                             .fault = (enum replay_fault)args.fault,
                             .json = args.json};

    if (result != ARGS_GO) {
        return result;
    }
    if (getenv("MF_RANK")) {
        return be_rank(&spec, &cfg, args.ranks);
    }
    result = check(&spec, &cfg);
    return result == ARGS_GO ? start_ranks(&spec, &cfg, args.timeout_ms, argc, argv) : result;
}
