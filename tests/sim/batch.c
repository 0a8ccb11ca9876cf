// SPDX-License-Identifier: Apache-2.0
// A range of seeds, run side by side; failures are told when they happen, sums at the end.
#include "batch.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

#define FAILURES_KEPT 64u

struct failure {
    uint64_t seed, step;
    char oracle[RUN_NAME_MAX];
    char text[512];
    char *command;
};

struct batch {
    const struct batch_cfg *cfg;
    uint64_t next; /* seed */
    uint64_t begun;
    bool no_more;
    uint64_t end_ns; /* 0: none */
    struct run runs[BATCH_JOBS_MAX];
    struct schedule *schedules; /* of the runs */
    struct table table;
    uint32_t failure_count;
    struct failure failures[FAILURES_KEPT];
};

static volatile sig_atomic_t asked_to_stop;

static void on_signal(int number)
{
    (void)number;
    asked_to_stop = 1;
}

/* ---- results ---- */

static void keep_failure(struct batch *batch, const struct schedule *schedule,
                         const struct run_result *result)
{
    const char *stop_at = batch->cfg->stop_at;
    bool last = stop_at ? strcmp(stop_at, result->oracle) == 0 : batch->cfg->stop;
    size_t room = SCHEDULE_TEXT_MAX + 256;
    batch->no_more |= last;
    if (batch->failure_count == FAILURES_KEPT && last) {
        free(batch->failures[--batch->failure_count].command);
    } else if (batch->failure_count == FAILURES_KEPT) {
        return;
    }
    struct failure *failure = &batch->failures[batch->failure_count++];
    failure->seed = schedule->seed;
    failure->step = result->world.broken_step;
    memcpy(failure->oracle, result->oracle, sizeof(failure->oracle));
    memcpy(failure->text, result->world.text, sizeof(failure->text));
    failure->command = malloc(room);
    if (failure->command) {
        schedule_print_command(schedule, failure->command, room);
    }
    if (batch->cfg->form == BATCH_JSON) {
        return;
    }
    printf("BROKEN %s at step %" PRIu64 " of seed %" PRIu64 ": %s\n  %s\n", failure->oracle,
           failure->step, failure->seed, failure->text, failure->command ? failure->command : "");
    fflush(stdout);
}

static void take_result(struct batch *batch, struct run *run)
{
    const struct schedule *schedule = &batch->schedules[run - batch->runs];
    const struct run_result *result = &run->result;
    table_add(&batch->table, schedule, result);
    if (result->verdict != RUN_KEPT) {
        keep_failure(batch, schedule, result);
    } else if (batch->cfg->verbose) {
        printf("seed %" PRIu64 ": %u ranks, %u faults, %" PRIu64 " steps, digest %016" PRIx64 "\n",
               schedule->seed, schedule->ranks, schedule->fault_count, result->world.steps,
               result->world.digest);
        fflush(stdout);
    }
}

static void print_failures_json(const struct batch *batch)
{
    printf("\"broken\": [");
    for (uint32_t i = 0; i < batch->failure_count; i++) {
        const struct failure *failure = &batch->failures[i];
        printf("%s{\"seed\": %" PRIu64 ", \"step\": %" PRIu64 ", \"oracle\": ", i ? ", " : "",
               failure->seed, failure->step);
        table_print_quoted(failure->oracle, stdout);
        printf(", \"text\": ");
        table_print_quoted(failure->text, stdout);
        printf(", \"command\": ");
        table_print_quoted(failure->command ? failure->command : "", stdout);
        printf("}");
    }
    printf("]");
}

static void print_sums(const struct batch *batch)
{
    const struct table *table = &batch->table;
    if (batch->cfg->form == BATCH_JSON) {
        printf("{\"first\": %" PRIu64 ", \"last\": %" PRIu64 ", ", batch->cfg->first,
               batch->next - 1);
        table_print_json(table, stdout);
        printf(", ");
        print_failures_json(batch);
        printf("}\n");
        return;
    }
    if (batch->cfg->form == BATCH_MARKDOWN) {
        table_print_markdown(table, stdout);
    } else {
        table_print(table, stdout);
    }
    printf("%" PRIu64 " schedules (seeds %" PRIu64 "..%" PRIu64 "), %" PRIu64 "..%" PRIu64
           " ranks, %" PRIu64 " faults of which %" PRIu64 " struck\n",
           table->schedules, batch->cfg->first, batch->next - 1, table->least_ranks,
           table->most_ranks, table->faults, table_struck(table));
    printf("%" PRIu64 " steps, %.0f a second of one core; %" PRIu64 " copies, %" PRIu64
           " joins, %" PRIu64 " of %" PRIu64 " calls failed\n",
           table->steps, table_speed(table), table->copies, table->joins, table->failed_calls,
           table->calls);
    printf("%" PRIu64 " failures\n", table->failures);
}

/* ---- the course ---- */

/* True: the next schedule is to begin. */
static bool more(struct batch *batch)
{
    const struct batch_cfg *cfg = batch->cfg;
    if (asked_to_stop || batch->no_more || batch->begun > cfg->last - cfg->first) {
        return false;
    }
    return batch->end_ns == 0 || batch->begun < cfg->at_least || run_now_ns() < batch->end_ns;
}

/* 0, or what batch_run returns. */
static int fill(struct batch *batch)
{
    char why[1024];
    for (uint32_t i = 0; i < batch->cfg->jobs && more(batch); i++) {
        if (batch->runs[i].pid) {
            continue;
        }
        if (!schedule_draw(batch->cfg->wishes, batch->next, &batch->schedules[i], why,
                           sizeof(why))) {
            fprintf(stderr, "mf-sim: %s\n", why);
            return 2;
        }
        if (!run_start(&batch->runs[i], &batch->schedules[i], false, batch->cfg->limit_s)) {
            return 1;
        }
        batch->next++;
        batch->begun++;
    }
    return 0;
}

static bool any_runs(const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->cfg->jobs; i++) {
        if (batch->runs[i].pid) {
            return true;
        }
    }
    return false;
}

int batch_run(const struct batch_cfg *cfg)
{
    struct batch *batch = calloc(1, sizeof(*batch));
    struct schedule *schedules = calloc(cfg->jobs, sizeof(*schedules));
    int rc = 0;
    if (!batch || !schedules) {
        fprintf(stderr, "mf-sim: no memory for a batch of %u jobs\n", cfg->jobs);
        free(batch);
        free(schedules);
        return 1;
    }
    batch->cfg = cfg;
    batch->schedules = schedules;
    batch->next = cfg->first;
    batch->end_ns = cfg->time_ns ? run_now_ns() + cfg->time_ns : 0;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    while (rc == 0) {
        rc = fill(batch);
        if (rc || !any_runs(batch)) {
            break;
        }
        struct run *run = run_wait(batch->runs, cfg->jobs, 1000);
        if (run) {
            take_result(batch, run);
        }
    }
    run_kill(batch->runs, cfg->jobs);
    if (rc == 0) {
        print_sums(batch);
        rc = batch->table.failures ? 1 : 0;
    }
    for (uint32_t i = 0; i < batch->failure_count; i++) {
        free(batch->failures[i].command);
    }
    free(schedules);
    free(batch);
    return rc;
}
