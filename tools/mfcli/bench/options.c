// SPDX-License-Identifier: Apache-2.0
// The options of mfcli bench: tables, defaults, and the rules between them.
#include "options.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "stats.h"
#include "world.h"

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

/* What was not said: all paths, or the figures' paths and cases, or everything. */
static void choose_lists(const struct bench_args *args, const char **paths, const char **cases)
{
    bool none = !args->paths && !args->cases;
    const char *other_paths = NULL, *other_cases = NULL;

    if (args->all) {
        other_paths = other_cases = "all";
    } else if (none && args->cfg.figures) {
        other_paths = PATHS_FIGURES;
        other_cases = "all";
    } else if (none) {
        other_paths = "all";
    }
    *paths = args->paths ? args->paths : other_paths;
    *cases = args->cases ? args->cases : other_cases;
}

static int parse_lists(const struct arg_spec *spec, struct bench_args *args)
{
    struct bench_cfg *cfg = &args->cfg;
    char word[WORD_BYTES] = "";
    const char *sizes = args->sizes ? args->sizes : (cfg->figures ? SIZES_FIGURES : SIZES_DEFAULT);
    const char *paths = NULL, *cases = NULL;

    choose_lists(args, &paths, &cases);
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
         .help = "all, or some of 122,small,lat8,plan,create,join,checksum,translated,trace,"
                 "prepared,request,vm (docs/performance.md)"},
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

/* Over which memory, and with what. */
static size_t where_options(struct bench_args *args, struct arg_option *out)
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
    };

    memcpy(out, options, sizeof(options));
    return sizeof(options) / sizeof(options[0]);
}

/* How long, and what is printed. */
static size_t how_options(struct bench_args *args, struct arg_option *out)
{
    struct bench_cfg *cfg = &args->cfg;
    const struct arg_option options[] = {
        {.name = "pairs",
         .type = ARG_NUMBER,
         .metavar = "N",
         .value = &cfg->pairs,
         .min = 1,
         .max = STATS_PAIRS_MAX,
         .help = "rounds of ours and of memcpy, in turns (default 5; figures 15)"},
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
        {.name = "checked",
         .type = ARG_FLAG,
         .value = &args->checked,
         .help = "a rank of this command's world with checksums",
         .hidden = true},
        {.name = "unmapped",
         .type = ARG_FLAG,
         .value = &args->unmapped,
         .help = "a rank of this command's world without mappings of peers",
         .hidden = true},
    };

    memcpy(out, options, sizeof(options));
    return sizeof(options) / sizeof(options[0]);
}

int bench_options_parse(int argc, char **argv, struct bench_args *args)
{
    struct arg_option options[OPTIONS_MAX];
    struct arg_spec spec = {
        .command = BENCH_COMMAND,
        .about =
            "Copies between the two ranks of a world in every direction, checks the bytes, and "
            "measures,\nin turns with memcpy over the same pages.",
        .options = options};
    int result = 0;

    *args = (struct bench_args){.cfg = {.batch = 1,
                                        .working_set = WORKING_DEFAULT,
                                        .create_bytes = CREATE_DEFAULT,
                                        .idle_ms = IDLE_MS_DEFAULT,
                                        .threads = 1,
                                        .timeout_ms = TIMEOUT_MS}};
    spec.count = what_options(args, options);
    spec.count += where_options(args, options + spec.count);
    spec.count += how_options(args, options + spec.count);
    translate(argc, argv);
    result = args_parse(&spec, argc, argv, NULL);
    return result == ARGS_GO ? check(&spec, args) : result;
}
