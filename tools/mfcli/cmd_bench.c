// SPDX-License-Identifier: Apache-2.0
// mfcli bench: bandwidth and latency of every direction of copy, beside memcpy over the same pages,
// and the named cases. Alone it starts two ranks; under mfcli run it is one rank of that world.
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "alloc.h"
#include "args.h"
#include "bench/cases.h"
#include "bench/parts.h"
#include "bench/session.h"
#include "commands.h"

#define WORD_BYTES       64u
#define OPTIONS_MAX      32u
#define SIZES_DEFAULT    "4K,64K,1M,16M"
#define SIZES_FIGURES    "4K,64K,1M,4M,16M,64M,128M,256M"
#define PATHS_FIGURES    "h2rh,rh2h"
#define PAIRS_DEFAULT    5u
#define PAIRS_FIGURES    15u
#define ROUND_MS_DEFAULT 30u
#define ROUND_MS_FIGURES 60u
#define VERIFY_DEFAULT   (64ull << 20)
#define WORKING_DEFAULT  (1ull << 30)
#define CREATE_DEFAULT   (8ull << 30)
#define IDLE_MS_DEFAULT  5000u
#define TIMEOUT_MS       60000u
#define RANKS_SOME       64u
#define RANKS_MANY       256u

struct bench_args {
    struct bench_cfg cfg;
    const char *paths, *sizes, *cases, *device;
    uint64_t verify;
    bool all;
    bool launched; /* by this command: what there was to decide is decided */
};

/* The reference's spellings of two letters. */
static void translate(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-bs") == 0) {
            argv[i] = "--batch";
        } else if (strcmp(argv[i], "-cc") == 0) {
            argv[i] = "--count";
        }
    }
}

static int parse_lists(const struct arg_spec *spec, struct bench_args *args)
{
    struct bench_cfg *cfg = &args->cfg;
    char word[WORD_BYTES] = "";
    const char *sizes = args->sizes ? args->sizes : (cfg->figures ? SIZES_FIGURES : SIZES_DEFAULT);
    const char *paths = args->paths;
    const char *cases = args->cases;

    if (!paths && (args->all || (!cases && !cfg->figures))) {
        paths = "all";
    }
    if (!paths && cfg->figures) {
        paths = PATHS_FIGURES;
    }
    if (!cases && (args->all || cfg->figures)) {
        cases = "all";
    }
    if (paths && bench_parse_paths(paths, &cfg->paths, word, sizeof(word))) {
        return args_usage_error(spec, "--paths: there is no path '%s'; the first is h2d", word);
    }
    if (cases && bench_parse_cases(cases, &cfg->cases, word, sizeof(word))) {
        return args_usage_error(spec, "--case: there is no case '%s'; the first is 122", word);
    }
    if (bench_parse_sizes(sizes, cfg, word, sizeof(word))) {
        return args_usage_error(spec,
                                "--sizes: '%s' is not a size such as 4096, 16K or 1M (at "
                                "most %u of them)",
                                word, BENCH_SIZES_MAX);
    }
    return ARGS_GO;
}

static int check(const struct arg_spec *spec, struct bench_args *args)
{
    struct bench_cfg *cfg = &args->cfg;
    int result = parse_lists(spec, args);

    if (result != ARGS_GO) {
        return result;
    }
    if (cfg->pairs == 0) {
        cfg->pairs = cfg->figures ? PAIRS_FIGURES : PAIRS_DEFAULT;
    }
    if (cfg->round_ms == 0) {
        cfg->round_ms = cfg->figures ? ROUND_MS_FIGURES : ROUND_MS_DEFAULT;
    }
    cfg->verify_bytes = cfg->figures ? 0 : VERIFY_DEFAULT;
    if (args->verify) {
        cfg->verify_bytes = args->verify;
    }
    for (uint32_t i = 0; i < cfg->size_count && args->sizes; i++) {
        if (cfg->sizes[i] > cfg->working_set) {
            return args_usage_error(spec,
                                    "a block of %" PRIu64 " bytes is larger than the "
                                    "working set of %" PRIu64,
                                    cfg->sizes[i], cfg->working_set);
        }
    }
    return ARGS_GO;
}

/* ---- decisions before any process is started ------------------------------------------------ */

/* Which device the device paths use; says so when it is not a real one. */
static int choose_device(struct bench_args *args)
{
    struct bench_cfg *cfg = &args->cfg;
    const char *name = NULL;
    uint32_t host = bench_host_paths();

    if (args->device) {
        setenv("MF_DEVICE", args->device, 1);
    }
    if ((cfg->paths & ~host) == 0) {
        return CLI_OK;
    }
    name = getenv("MF_DEVICE");
    if (!name || name[0] == '\0' || strcmp(name, "auto") == 0) {
        if (!parts_device_is_there(false)) {
            setenv("MF_DEVICE", "sim", 1);
            fprintf(stderr,
                    "%s: no accelerator here: device paths use an emulated one "
                    "(--device none leaves them out)\n",
                    BENCH_COMMAND);
        }
        return CLI_OK;
    }
    if (parts_device_is_there(strcmp(name, "none") != 0)) {
        return CLI_OK;
    }
    if (args->paths && strcasecmp(args->paths, "all") != 0) {
        fprintf(stderr, "%s: %s needs a device (--device sim emulates one)\n", BENCH_COMMAND,
                args->paths);
        return CLI_FAILURE;
    }
    cfg->paths &= host;
    fprintf(stderr, "%s: no device: device paths are left out (--device sim emulates one)\n",
            BENCH_COMMAND);
    return CLI_OK;
}

/* The library copies with as many threads as memcpy, unless the user wants something else. */
static void choose_threads(const struct bench_cfg *cfg)
{
    char *text = cli_text("%" PRIu64, cfg->threads);

    setenv("MF_COPY_THREADS", text, 1);
    free(text);
}

static void choose_working_set(struct bench_cfg *cfg)
{
    uint64_t bytes = world_working_set(cfg);

    if (bytes < cfg->working_set) {
        fprintf(stderr,
                "%s: memory is short: the working set is %" PRIu64 " MiB in place of %" PRIu64 "\n",
                BENCH_COMMAND, bytes >> 20, cfg->working_set >> 20);
        cfg->working_set = bytes;
    }
}

static char *join_names(const struct bench_cfg *cfg)
{
    char *text = cli_text("%s", "");

    for (uint32_t i = 0; i < PATH_COUNT; i++) {
        if (cfg->paths & 1u << i) {
            char *longer = cli_text("%s%s%s", text, text[0] ? "," : "", bench_paths[i].name);

            free(text);
            text = longer;
        }
    }
    return text;
}

/* The ranks get our arguments and what was decided; the last of two wins. */
static int run_world(const struct bench_args *args, int argc, char **argv)
{
    char **words = cli_alloc((size_t)argc + 8, sizeof(*words));
    char *working = cli_text("%" PRIu64, args->cfg.working_set);
    char *paths = join_names(&args->cfg);
    int used = 2, result = 0;

    words[1] = argv[0];
    for (int i = 1; i < argc; i++) {
        words[used++] = argv[i];
    }
    words[used++] = "--launched";
    words[used++] = "--working-set";
    words[used++] = working;
    if (paths[0]) {
        words[used++] = "--paths";
        words[used++] = paths;
    }
    result = parts_run_world(words);
    free(paths);
    free(working);
    free(words);
    return result;
}

static int run_join(struct bench_cfg *cfg)
{
    static const uint64_t some[] = {RANKS_SOME, RANKS_MANY};
    int result = CLI_OK;

    if (cfg->join_ranks) {
        return parts_run_case(case_join, cfg);
    }
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]) && result == CLI_OK; i++) {
        cfg->join_ranks = some[i];
        result = parts_run_case(case_join, cfg);
    }
    return result;
}

/* Alone: starts all that is needed, one after the other. */
static int run_alone(struct bench_args *args, int argc, char **argv)
{
    struct bench_cfg *cfg = &args->cfg;
    int result = choose_device(args);

    if (result != CLI_OK) {
        return result;
    }
    choose_threads(cfg);
    if (cfg->paths || (cfg->cases & SESSION_CASES)) {
        choose_working_set(cfg);
        result = run_world(args, argc, argv);
    }
    if (result == CLI_OK && (cfg->cases & 1u << CASE_CREATE)) {
        result = parts_run_case(case_create, cfg);
    }
    if (result == CLI_OK && (cfg->cases & 1u << CASE_JOIN)) {
        result = run_join(cfg);
    }
    return result;
}

/* As a rank of somebody's world. */
static int run_rank(struct bench_args *args)
{
    struct bench_cfg *cfg = &args->cfg;
    const char *size = getenv("MF_WORLD_SIZE");

    if (!size || strtoul(size, NULL, 10) < 2 || !getenv("MF_CONFIG_STORE_URL")) {
        fprintf(stderr,
                "%s: as one rank of a world it needs MF_CONFIG_STORE_URL and MF_WORLD_SIZE "
                "of at least 2 (mfcli run -n 2 sets them)\n",
                BENCH_COMMAND);
        return CLI_FAILURE;
    }
    if (!args->launched) {
        int result = choose_device(args);

        if (result != CLI_OK) {
            return result;
        }
        choose_threads(cfg);
        if (cfg->cases & ~SESSION_CASES) {
            fprintf(stderr,
                    "%s: the cases create and join are left out: they start processes of "
                    "their own, without mfcli run\n",
                    BENCH_COMMAND);
        }
    }
    cfg->cases &= SESSION_CASES;
    return session_run(cfg);
}

/* What is measured. */
static size_t what_options(struct bench_args *args, struct arg_option *out)
{
    static const char *const faults[] = {"none", "flip", "skip", "misroute", NULL};
    struct bench_cfg *cfg = &args->cfg;
    const struct arg_option options[] = {
        {.name = "paths",
         .letter = 't',
         .type = ARG_TEXT,
         .metavar = "LIST",
         .value = &args->paths,
         .help = "all, or some of h2d,d2h,h2rd,h2rh,d2rh,d2rd,rh2d,rh2h,rd2d,rd2h:\n"
                 "H, D: this rank's host and device memory, RH, RD: the partner's"},
        {.name = "sizes",
         .letter = 's',
         .type = ARG_TEXT,
         .metavar = "LIST",
         .value = &args->sizes,
         .help = "block sizes (default " SIZES_DEFAULT ")"},
        {.name = "batch",
         .type = ARG_NUMBER,
         .metavar = "N",
         .value = &cfg->batch,
         .min = 1,
         .max = BENCH_BATCH_MAX,
         .help = "blocks of one call, also -bs (default 1: single copies)"},
        {.name = "count",
         .type = ARG_NUMBER,
         .metavar = "N",
         .value = &cfg->count,
         .min = 1,
         .max = BENCH_BATCH_MAX,
         .help = "calls of a timed round, also -cc (default: some tens of milliseconds)"},
        {.name = "case",
         .type = ARG_TEXT,
         .metavar = "LIST",
         .value = &args->cases,
         .help = "all, or some of 122,small,lat8,plan,create,join (docs/performance.md)"},
        {.name = "all", .type = ARG_FLAG, .value = &args->all, .help = "all paths and all cases"},
        {.name = "figures",
         .type = ARG_FLAG,
         .value = &cfg->figures,
         .help = "what the project wants to reach, beside what is measured here"},
        {.name = "fault",
         .type = ARG_CHOICE,
         .metavar = "KIND",
         .value = &cfg->fault,
         .choices = faults,
         .help = "make a fault that must be seen",
         .hidden = true},
    };

    memcpy(out, options, sizeof(options));
    return sizeof(options) / sizeof(options[0]);
}

/* How, on what, and how long. */
static size_t how_options(struct bench_args *args, struct arg_option *out)
{
    struct bench_cfg *cfg = &args->cfg;
    const struct arg_option options[] = {
        {.name = "working-set",
         .type = ARG_SIZE,
         .metavar = "BYTES",
         .value = &cfg->working_set,
         .min = 2u << 20,
         .max = 1ull << 40,
         .help = "memory that is walked on each side (default 1G, less when memory is short)"},
        {.name = "pairs",
         .type = ARG_NUMBER,
         .metavar = "N",
         .value = &cfg->pairs,
         .min = 1,
         .max = STATS_PAIRS_MAX,
         .help = "rounds of ours and of memcpy, in turns (default 5; figures 15)"},
        {.name = "verify",
         .type = ARG_SIZE,
         .metavar = "BYTES",
         .value = &args->verify,
         .min = 4096,
         .max = 1ull << 40,
         .help = "bytes of each target that are checked (default 64M; figures "
                 "all)"},
        {.name = "device",
         .type = ARG_TEXT,
         .metavar = "NAME",
         .value = &args->device,
         .help = "device plug-in: auto, none, sim, or the path of one (default: MF_DEVICE;\n"
                 "sim when there is no accelerator)"},
        {.name = "transport",
         .type = ARG_CHOICE,
         .metavar = "NAME",
         .value = &cfg->transport,
         .choices = bench_transport_names,
         .help = "how the partner is reached: direct (default)"},
        {.name = "threads",
         .type = ARG_NUMBER,
         .metavar = "N",
         .value = &cfg->threads,
         .min = 0,
         .max = 16,
         .help = "threads that share a large copy; 0: the library's choice (default 1,\n"
                 "as memcpy)"},
        {.name = "create",
         .type = ARG_SIZE,
         .metavar = "BYTES",
         .value = &cfg->create_bytes,
         .min = 2u << 20,
         .max = 1ull << 40,
         .help = "memory of the case create (default 8G)"},
        {.name = "join-ranks",
         .type = ARG_NUMBER,
         .metavar = "N",
         .value = &cfg->join_ranks,
         .min = 2,
         .max = 1024,
         .help = "processes of the case join (default: 64, then 256)"},
        {.name = "idle",
         .type = ARG_SECONDS,
         .metavar = "S",
         .value = &cfg->idle_ms,
         .min = 100,
         .max = 600000,
         .help = "how long idle ranks are watched in the case join (default 5)"},
        {.name = "timeout",
         .type = ARG_SECONDS,
         .metavar = "S",
         .value = &cfg->timeout_ms,
         .min = 1000,
         .max = 3600000,
         .help = "for the other rank to come (default 60)"},
        {.name = "round",
         .type = ARG_SECONDS,
         .metavar = "S",
         .value = &cfg->round_ms,
         .min = 1,
         .max = 10000,
         .help = "time of a round (default 0.03; figures 0.06)"},
        {.name = "commit",
         .type = ARG_TEXT,
         .metavar = "TEXT",
         .value = &cfg->commit,
         .help = "goes into each JSON line as it is"},
        {.name = "json", .type = ARG_FLAG, .value = &cfg->json, .help = "one JSON object a line"},
        {.name = "launched",
         .type = ARG_FLAG,
         .value = &args->launched,
         .help = "a rank of this command's own world",
         .hidden = true},
    };

    memcpy(out, options, sizeof(options));
    return sizeof(options) / sizeof(options[0]);
}

int cmd_bench(int argc, char **argv)
{
    struct bench_args args = {.cfg = {.batch = 1,
                                      .working_set = WORKING_DEFAULT,
                                      .create_bytes = CREATE_DEFAULT,
                                      .idle_ms = IDLE_MS_DEFAULT,
                                      .threads = 1,
                                      .timeout_ms = TIMEOUT_MS}};
    struct arg_option options[OPTIONS_MAX];
    struct arg_spec spec = {
        .command = BENCH_COMMAND,
        .about =
            "Copies between the two ranks of a world in every direction, checks the bytes, and "
            "measures,\nin turns with memcpy over the same pages.",
        .options = options};
    int result = 0;

    spec.count = what_options(&args, options);
    spec.count += how_options(&args, options + spec.count);
    translate(argc, argv);
    result = args_parse(&spec, argc, argv, NULL);
    if (result == ARGS_GO) {
        result = check(&spec, &args);
    }
    if (result != ARGS_GO) {
        return result;
    }
    return getenv("MF_RANK") ? run_rank(&args) : run_alone(&args, argc, argv);
}
