// SPDX-License-Identifier: Apache-2.0
// mf-sim: runs schedules of the simulation, one or many, replays and shrinks them. Arguments are
// checked here; see --help.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batch.h"
#include "mutants.h"
#include "table.h"

#define LIMIT_S_DEFAULT  120u
#define SHRINK_TRIES     600u
#define SEEDS_NONE       UINT64_MAX
#define NS_OF_MINUTES(m) ((uint64_t)((m)*60e9))
#define MINUTES_MOST     1000000.0

enum option_id {
    OPT_SEED = 256,
    OPT_RANKS,
    OPT_RANKS_PER_HOST,
    OPT_STEPS,
    OPT_FAULTS,
    OPT_BATCH,
    OPT_JOBS,
    OPT_MINUTES,
    OPT_AT_LEAST,
    OPT_STOP,
    OPT_STOP_AT,
    OPT_SHRINK,
    OPT_DIGEST_TWICE,
    OPT_TABLE,
    OPT_JSON,
    OPT_LIMIT,
    OPT_MUTANT,
    OPT_LIST_MUTANTS,
};

static const struct {
    int id;
    const char *name, *arg, *help;
} options[] = {
    {OPT_SEED, "seed", "S", "run the schedule of this seed"},
    {OPT_RANKS, "ranks", "N[..N]", "ranks; a range: as the seed draws (2..128, mostly 8..12)"},
    {OPT_RANKS_PER_HOST, "ranks-per-host", "N", "ranks of one host (as the seed draws)"},
    {OPT_STEPS, "steps", "N[..N]", "events before the orderly end (2000..6000, more ranks: more)"},
    {OPT_FAULTS, "faults", "F",
     "how many (3..12); or kinds: kill:3,cut:2; or exactly these: kill@1200:r3/joining/500ms,..."},
    {OPT_BATCH, "batch", "A..[B]", "run the schedules of the seeds A to B"},
    {OPT_JOBS, "jobs", "J", "schedules at a time (the number of processors)"},
    {OPT_MINUTES, "minutes", "M", "no schedule begins after so many minutes"},
    {OPT_AT_LEAST, "at-least", "K", "but K schedules are run in any case"},
    {OPT_STOP, "stop", NULL, "the batch ends with its first failure"},
    {OPT_STOP_AT, "stop-at", "NAME", "the batch ends when the promise of this name is broken"},
    {OPT_SHRINK, "shrink", NULL, "make the schedule smaller while it breaks the same promise"},
    {OPT_DIGEST_TWICE, "digest-twice", NULL, "run it twice and compare"},
    {OPT_TABLE, "table", NULL, "the table of a batch as Markdown"},
    {OPT_JSON, "json", NULL, "the result as one line of JSON"},
    {OPT_LIMIT, "limit", "S", "a schedule that takes longer than S seconds hangs (120)"},
    {OPT_MUTANT, "mutant", "NAME", "bring a planted fault to life (mf-sim-mutants)"},
    {OPT_LIST_MUTANTS, "list-mutants", NULL, "name them"},
    {'v', "verbose", NULL, "print the story; of a batch: a line for each schedule"},
    {'h', "help", NULL, "this text"},
};
#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

struct args {
    struct wishes wishes;
    uint64_t seed; /* SEEDS_NONE: not given */
    bool batch, shrink, twice, table, json, stop, verbose;
    struct range seeds;
    struct range at_least, jobs, limit;
    double minutes;
    const char *stop_at;
    char why[1024];
};

/* ---- arguments ---- */

static void print_help(void)
{
    printf("mf-sim: a world of simulated ranks under misfortune; one seed decides everything\n\n"
           "  mf-sim --seed S [--ranks N] [--steps N] [--faults F] [-v | --shrink]\n"
           "  mf-sim --batch A..B [--jobs J] [--minutes M] [--table | --json]\n\n");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        char left[40];
        snprintf(left, sizeof(left), "--%s %s", options[i].name,
                 options[i].arg ? options[i].arg : "");
        printf("  %-20s %s\n", left, options[i].help);
    }
    printf("\nExit status: 0 every promise was kept, 1 one was not, 2 wrong arguments.\n");
}

static bool wrong(struct args *args, const char *fmt, const char *value)
{
    snprintf(args->why, sizeof(args->why), fmt, value);
    return false;
}

static bool parse_number(struct args *args, const char *what, const char *text, struct range limits,
                         struct range *out)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno || value < limits.low ||
        value > limits.high) {
        snprintf(args->why, sizeof(args->why), "%s %s: a number from %" PRIu64 " to %" PRIu64, what,
                 text, limits.low, limits.high);
        return false;
    }
    *out = (struct range){value, value};
    return true;
}

static bool parse_batch(struct args *args, const char *text)
{
    char from[24];
    size_t digits = strspn(text, "0123456789");
    const struct range limits = {0, SEEDS_NONE - 1};
    args->batch = true;
    if (digits < sizeof(from) && strcmp(text + digits, "..") == 0) {
        snprintf(from, sizeof(from), "%.*s", (int)digits, text);
        bool good = parse_number(args, "--batch", from, limits, &args->seeds);
        args->seeds.high = limits.high;
        return good;
    }
    return wishes_range("--batch", text, limits, &args->seeds, args->why, sizeof(args->why));
}

static bool parse_minutes(struct args *args, const char *text)
{
    char *end;
    args->minutes = strtod(text, &end);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || !(args->minutes > 0) ||
        args->minutes > MINUTES_MOST) {
        return wrong(args, "--minutes %s: a number above 0, such as 3 or 0.5", text);
    }
    return true;
}

/* Options that ask for a world. */
static bool parse_world(struct args *args, int id, const char *value)
{
    struct wishes *wishes = &args->wishes;
    struct range number;
    switch (id) {
    case OPT_SEED:
        if (!parse_number(args, "--seed", value, (struct range){0, SEEDS_NONE - 1}, &number)) {
            return false;
        }
        args->seed = number.low;
        return true;
    case OPT_RANKS:
        return wishes_range("--ranks", value, (struct range){2, WORLD_RANKS_MAX}, &wishes->ranks,
                            args->why, sizeof(args->why));
    case OPT_RANKS_PER_HOST:
        if (!parse_number(args, "--ranks-per-host", value, (struct range){1, WORLD_RANKS_MAX},
                          &number)) {
            return false;
        }
        wishes->ranks_per_host = (uint32_t)number.low;
        return true;
    case OPT_STEPS:
        return wishes_range("--steps", value, (struct range){1, SCHEDULE_STEPS_MAX}, &wishes->steps,
                            args->why, sizeof(args->why));
    default:
        return wishes_faults(wishes, value, args->why, sizeof(args->why));
    }
}

/* Options that say how it is run. */
static bool parse_way(struct args *args, int id, const char *value)
{
    switch (id) {
    case OPT_BATCH:
        return parse_batch(args, value);
    case OPT_JOBS:
        return parse_number(args, "--jobs", value, (struct range){1, BATCH_JOBS_MAX}, &args->jobs);
    case OPT_MINUTES:
        return parse_minutes(args, value);
    case OPT_AT_LEAST:
        return parse_number(args, "--at-least", value, (struct range){1, SEEDS_NONE - 1},
                            &args->at_least);
    case OPT_STOP_AT:
        args->stop_at = value;
        return value[0] != '\0' || wrong(args, "--stop-at%s: the name of a promise", "");
    case OPT_LIMIT:
        return parse_number(args, "--limit", value, (struct range){1, 86400}, &args->limit);
    case OPT_MUTANT:
        return mutants_choose(value, args->why, sizeof(args->why));
    case OPT_LIST_MUTANTS:
        if (mutants_list()) {
            exit(0);
        }
        return wrong(args, "--list-mutants: this program has none: use %s", "mf-sim-mutants");
    case 'h':
        print_help();
        exit(0);
    default:
        args->stop |= id == OPT_STOP;
        args->shrink |= id == OPT_SHRINK;
        args->twice |= id == OPT_DIGEST_TWICE;
        args->table |= id == OPT_TABLE;
        args->json |= id == OPT_JSON;
        args->verbose |= id == 'v';
        return true;
    }
}

/* Options that do not go together. */
static bool check_together(struct args *args)
{
    if (args->batch == (args->seed != SEEDS_NONE)) {
        return wrong(args, "give either --seed S or --batch A..B%s", "");
    }
    const char *alone = args->shrink ? "--shrink" : args->twice ? "--digest-twice" : NULL;
    if (args->batch && alone) {
        return wrong(args, "%s takes one schedule: give --seed instead of --batch", alone);
    }
    const char *many = args->minutes > 0     ? "--minutes"
                       : args->at_least.high ? "--at-least"
                       : args->stop          ? "--stop"
                       : args->stop_at       ? "--stop-at"
                       : args->table         ? "--table"
                       : args->jobs.high     ? "--jobs"
                                             : NULL;
    if (!args->batch && many) {
        return wrong(args, "%s is for many schedules: give --batch instead of --seed", many);
    }
    if (args->at_least.high && args->minutes <= 0) {
        return wrong(args, "--at-least needs --minutes%s", "");
    }
    if (args->stop && args->stop_at) {
        return wrong(args, "--stop and --stop-at%s: one of them", "");
    }
    if (args->shrink && args->twice) {
        return wrong(args, "--shrink and --digest-twice%s: one at a time", "");
    }
    if (args->json && (args->table || args->verbose || args->twice)) {
        return wrong(args, "--json%s goes with neither --table, --verbose nor --digest-twice", "");
    }
    return true;
}

/* Index of the option that the argument names; its value is behind "=", else NULL. -1: none. */
static int find_option(const char *argument, const char **value)
{
    *value = NULL;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const char *name = options[i].name;
        size_t len = strlen(name);
        bool is_short = argument[1] == options[i].id && argument[2] == '\0';
        if (argument[0] == '-' && is_short) {
            return (int)i;
        }
        if (strncmp(argument, "--", 2) == 0 && strncmp(argument + 2, name, len) == 0 &&
            (argument[2 + len] == '\0' || argument[2 + len] == '=')) {
            *value = argument[2 + len] == '=' ? argument + 3 + len : NULL;
            return (int)i;
        }
    }
    return -1;
}

static bool parse(struct args *args, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value;
        int index = find_option(argv[i], &value);
        if (index < 0) {
            return wrong(args, "there is no option %s: see --help", argv[i]);
        }
        if (!options[index].arg && value) {
            return wrong(args, "%s: this option takes no value", argv[i]);
        }
        if (options[index].arg && !value && ++i == argc) {
            return wrong(args, "%s needs a value: see --help", argv[i - 1]);
        }
        if (options[index].arg && !value) {
            value = argv[i];
        }
        int id = options[index].id;
        bool world = id >= OPT_SEED && id <= OPT_FAULTS;
        if (!(world ? parse_world(args, id, value) : parse_way(args, id, value))) {
            return false;
        }
    }
    return check_together(args);
}

/* ---- one schedule ---- */

static void print_schedule(const struct schedule *schedule)
{
    static char faults[SCHEDULE_TEXT_MAX];
    schedule_print_faults(schedule, faults, sizeof(faults));
    printf("seed %" PRIu64 ": %u ranks, %" PRIu64 " steps, %u faults: %s\n", schedule->seed,
           schedule->ranks, schedule->steps, schedule->fault_count, faults);
}

static void print_command(const struct schedule *schedule)
{
    static char command[SCHEDULE_TEXT_MAX + 256];
    schedule_print_command(schedule, command, sizeof(command));
    printf("  %s\n", command);
}

static void print_result(const struct schedule *schedule, const struct run_result *result)
{
    const struct world_result *world = &result->world;
    if (result->verdict == RUN_KEPT) {
        printf("every promise was kept\n");
    } else {
        printf("BROKEN %s at step %" PRIu64 ": %s\n", result->oracle, world->broken_step,
               world->text);
        print_command(schedule);
    }
    if (result->verdict == RUN_KEPT || result->verdict == RUN_BROKEN) {
        printf("%" PRIu64 " steps, %.3f s of the world, %" PRIu64 " joins, %" PRIu64
               " copies, %" PRIu64 " of %" PRIu64 " calls failed, digest %016" PRIx64 "\n",
               world->steps, (double)world->virtual_ns / 1e9, world->joins, world->copies,
               world->failed_calls, world->calls, world->digest);
    }
}

static void print_json(const struct schedule *schedule, const struct run_result *result)
{
    static struct table table;
    static char command[SCHEDULE_TEXT_MAX + 256];
    table_add(&table, schedule, result);
    schedule_print_command(schedule, command, sizeof(command));
    printf("{\"seed\": %" PRIu64 ", \"digest\": \"%016" PRIx64 "\", \"oracle\": ", schedule->seed,
           result->world.digest);
    table_print_quoted(result->oracle, stdout);
    printf(", \"broken_step\": %" PRIu64 ", \"text\": ", result->world.broken_step);
    table_print_quoted(result->world.text, stdout);
    printf(", \"command\": ");
    table_print_quoted(command, stdout);
    printf(", ");
    table_print_json(&table, stdout);
    printf("}\n");
}

static bool same(const struct run_result *a, const struct run_result *b)
{
    return a->verdict == b->verdict && strcmp(a->oracle, b->oracle) == 0 &&
           a->world.digest == b->world.digest && a->world.steps == b->world.steps &&
           strcmp(a->world.text, b->world.text) == 0;
}

static int run_single(const struct args *args, struct schedule *schedule)
{
    static struct run_result result, again;
    uint32_t limit_s = (uint32_t)args->limit.low;
    if (args->shrink) {
        if (!shrink(schedule, &result, SHRINK_TRIES, limit_s, args->verbose)) {
            printf("seed %" PRIu64 ": every promise was kept: there is nothing to shrink\n",
                   schedule->seed);
            return 0;
        }
    } else if (!run_one(schedule, args->verbose, limit_s, &result)) {
        return 1;
    }
    if (args->json) {
        print_json(schedule, &result);
        return result.verdict != RUN_KEPT;
    }
    print_schedule(schedule);
    print_result(schedule, &result);
    if (args->twice) {
        if (!run_one(schedule, false, limit_s, &again) || !same(&result, &again)) {
            printf("NOT REPEATED: the second run ended with %s after %" PRIu64
                   " steps, digest %016" PRIx64 "\n",
                   again.verdict == RUN_KEPT ? "every promise kept" : again.oracle,
                   again.world.steps, again.world.digest);
            return 1;
        }
        printf("the second run is the same\n");
    }
    return result.verdict != RUN_KEPT;
}

static uint32_t processors(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > (long)BATCH_JOBS_MAX ? BATCH_JOBS_MAX : (uint32_t)count;
}

int main(int argc, char **argv)
{
    static struct args args = {.seed = SEEDS_NONE, .limit = {LIMIT_S_DEFAULT, LIMIT_S_DEFAULT}};
    static struct schedule schedule;
    wishes_init(&args.wishes);
    bool good = parse(&args, argc, argv);
    if (good && !args.batch) {
        good = schedule_draw(&args.wishes, args.seed, &schedule, args.why, sizeof(args.why));
    }
    if (!good) {
        fprintf(stderr, "mf-sim: %s\n", args.why);
        return 2;
    }
    if (!args.batch) {
        return run_single(&args, &schedule);
    }
    struct batch_cfg cfg = {
        .wishes = &args.wishes,
        .first = args.seeds.low,
        .last = args.seeds.high,
        .at_least = args.at_least.low,
        .time_ns = NS_OF_MINUTES(args.minutes),
        .jobs = args.jobs.high ? (uint32_t)args.jobs.low : processors(),
        .limit_s = (uint32_t)args.limit.low,
        .stop = args.stop,
        .stop_at = args.stop_at,
        .verbose = args.verbose,
        .form = args.json    ? BATCH_JSON
                : args.table ? BATCH_MARKDOWN
                             : BATCH_PLAIN,
    };
    return batch_run(&cfg);
}
