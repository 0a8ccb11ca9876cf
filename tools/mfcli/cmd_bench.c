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
#include "bench/options.h"
#include "bench/parts.h"
#include "bench/session.h"
#include "commands.h"

#define WORDS_ADDED 12u
#define RANKS_SOME  64u
#define RANKS_MANY  256u

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

static const char *path_name(uint32_t i)
{
    return bench_paths[i].name;
}

static const char *case_name(uint32_t i)
{
    return bench_case_names[i];
}

static char *join_names(uint32_t bits, const char *(*name)(uint32_t))
{
    char *text = cli_text("%s", "");

    for (uint32_t i = 0; bits >> i; i++) {
        if (bits & 1u << i) {
            char *longer = cli_text("%s%s%s", text, text[0] ? "," : "", name(i));

            free(text);
            text = longer;
        }
    }
    return text;
}

/* The ranks get our arguments and what was decided; the last of two wins. */
static int run_world(const struct bench_args *args, int argc, char **argv)
{
    const struct bench_cfg *cfg = &args->cfg;
    char **words = cli_alloc((size_t)argc + WORDS_ADDED, sizeof(*words));
    char *working = cli_text("%" PRIu64, cfg->working_set);
    char *paths = join_names(cfg->paths, path_name);
    uint32_t here = args->checked ? CHECKED_CASES : args->unmapped ? UNMAPPED_CASES : SESSION_CASES;
    char *cases = join_names(cfg->cases & here, case_name);
    int used = 1, result = 0;

    words[used++] = argv[0];
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
    if (cases[0]) {
        words[used++] = "--case";
        words[used++] = cases;
    }
    if (args->checked) {
        words[used++] = "--checked";
    }
    if (args->unmapped) {
        words[used++] = "--unmapped";
    }
    result = parts_run_world(words);
    free(cases);
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
    if (result == CLI_OK && (cfg->cases & CHECKED_CASES)) {
        choose_working_set(cfg);
        setenv("MF_COPY_CHECKSUM", "on", 1);
        args->checked = true;
        result = run_world(args, argc, argv);
        unsetenv("MF_COPY_CHECKSUM");
        args->checked = false;
    }
    if (result == CLI_OK && (cfg->cases & UNMAPPED_CASES)) {
        choose_working_set(cfg);
        setenv("MF_PEER_MAP", "never", 1);
        args->unmapped = true;
        result = run_world(args, argc, argv);
        unsetenv("MF_PEER_MAP");
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
            fprintf(
                stderr,
                "%s: the cases create, join, checksum and vm are left out: they start processes "
                "of their own, without mfcli run\n",
                BENCH_COMMAND);
        }
    }
    if (args->checked) {
        cfg->paths = 0;
        cfg->cases &= CHECKED_CASES;
    } else if (args->unmapped) {
        cfg->paths = 0;
        cfg->cases &= UNMAPPED_CASES;
    } else {
        cfg->cases &= SESSION_CASES;
    }
    return session_run(cfg);
}

int cmd_bench(int argc, char **argv)
{
    struct bench_args args;
    int result = bench_options_parse(argc, argv, &args);

    if (result != ARGS_GO) {
        return result;
    }
    return getenv("MF_RANK") ? run_rank(&args) : run_alone(&args, argc, argv);
}
