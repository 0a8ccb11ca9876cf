// SPDX-License-Identifier: Apache-2.0
// What mf-sim does around a world: faults as text, drawing from a seed, running in processes of
// their own, shrinking, sums. The world here is a fake that fails as its arguments say.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batch.h"
#include "table.h"

#define SEED_CRASH 1001u
#define SEED_HANG  1002u
#define SEED_EXIT  1003u

/* ---- the fake ---- */

const char *const world_state_names[WORLD_STATES] = {"away",    "opening",   "creating", "joining",
                                                     "idle",    "putting",   "getting",  "batch",
                                                     "request", "extending", "leaving",  "closing"};
const char *const world_fault_names[FAULT_KINDS] = {
    "kill",        "stop",  "slow",      "alloc",      "cut",
    "cut-one-way", "reset", "link-slow", "store-kill", "store-stop"};

/* Breaks a promise when two kills and a cut come before the end. */
void world_run(const struct world_cfg *cfg, struct world_result *out)
{
    uint32_t kills = 0, cuts = 0;
    if (cfg->seed == SEED_CRASH) {
        raise(SIGKILL);
    }
    if (cfg->seed == SEED_EXIT) {
        _exit(7);
    }
    while (cfg->seed == SEED_HANG) {
        sleep(1);
    }
    memset(out, 0, sizeof(*out));
    out->steps = cfg->steps + cfg->ranks;
    out->digest = cfg->seed * 31 + cfg->ranks;
    for (uint32_t i = 0; i < cfg->fault_count; i++) {
        const struct world_fault *fault = &cfg->faults[i];
        enum world_state state = fault->state == WORLD_STATES ? WORLD_IDLE : fault->state;
        assert_true(fault->rank < cfg->ranks && fault->other < cfg->ranks);
        out->struck[fault->kind][state]++;
        out->digest = out->digest * 31 + fault->step;
        kills += fault->kind == FAULT_KILL && fault->step <= cfg->steps;
        cuts += fault->kind == FAULT_CUT && fault->step <= cfg->steps;
    }
    if (kills >= 2 && cuts >= 1) {
        out->oracle = "late-landing";
        out->broken_step = cfg->steps;
        snprintf(out->text, sizeof(out->text), "%u kills, %u \"cuts\"", kills, cuts);
    }
}

/* ---- helpers ---- */

static char why[1024];

static struct wishes wish(const char *faults)
{
    struct wishes wishes;
    wishes_init(&wishes);
    if (!wishes_faults(&wishes, faults, why, sizeof(why))) {
        fail_msg("%s: %s", faults, why);
    }
    return wishes;
}

static void refused(const char *faults, const char *part)
{
    struct wishes wishes;
    wishes_init(&wishes);
    assert_false(wishes_faults(&wishes, faults, why, sizeof(why)));
    if (!strstr(why, part)) {
        fail_msg("%s: \"%s\" does not say \"%s\"", faults, why, part);
    }
}

static void draw(const struct wishes *wishes, uint64_t seed, struct schedule *out)
{
    if (!schedule_draw(wishes, seed, out, why, sizeof(why))) {
        fail_msg("seed %llu: %s", (unsigned long long)seed, why);
    }
}

static void same_faults(const struct schedule *a, const struct schedule *b)
{
    static char text[2][SCHEDULE_TEXT_MAX];
    schedule_print_faults(a, text[0], sizeof(text[0]));
    schedule_print_faults(b, text[1], sizeof(text[1]));
    assert_string_equal(text[0], text[1]);
}

/* ---- faults as text ---- */

static void test_faults__exact_list_is_printed_as_it_was_given(void **state)
{
    (void)state;
    static struct schedule schedule;
    static char text[SCHEDULE_TEXT_MAX];
    const char *list = "store-kill@1:r0/any/1500ms,kill@1200:r3/joining/500ms,"
                       "cut-one-way@1500:r1-r4/any/2s,stop@1500:r7/getting/0ms";
    struct wishes wishes = wish(list);
    wishes.ranks = (struct range){8, 8};
    draw(&wishes, 5, &schedule);
    schedule_print_faults(&schedule, text, sizeof(text));
    assert_string_equal(text, "store-kill@1:r0/any/1500ms,kill@1200:r3/joining/500ms,"
                              "stop@1500:r7/getting/0ms,cut-one-way@1500:r1-r4/any/2s");
    assert_int_equal(schedule.faults[1].duration_ns, 500000000);
    assert_int_equal(schedule.faults[3].other, 4);
    wishes = wish("cut@5:r1-r2/idle/1s;kill@7:r1/away/3s");
    assert_int_equal(wishes.exact_count, 2);
}

static void test_faults__numbers_and_kinds(void **state)
{
    (void)state;
    static struct schedule schedule;
    struct wishes wishes = wish("kill:3,cut:2,stop");
    uint32_t kinds[FAULT_KINDS] = {0};
    draw(&wishes, 9, &schedule);
    assert_int_equal(schedule.fault_count, 6);
    for (uint32_t i = 0; i < schedule.fault_count; i++) {
        kinds[schedule.faults[i].kind]++;
    }
    assert_int_equal(kinds[FAULT_KILL], 3);
    assert_int_equal(kinds[FAULT_CUT], 2);
    assert_int_equal(kinds[FAULT_STOP], 1);
    wishes = wish("0");
    draw(&wishes, 9, &schedule);
    assert_int_equal(schedule.fault_count, 0);
    wishes = wish("256");
    draw(&wishes, 9, &schedule);
    assert_int_equal(schedule.fault_count, SCHEDULE_FAULTS_MAX);
    wishes = wish("5..7");
    for (uint64_t seed = 0; seed < 50; seed++) {
        draw(&wishes, seed, &schedule);
        assert_in_range(schedule.fault_count, 5, 7);
    }
}

static void test_faults__wrong_text_is_refused_with_a_sentence(void **state)
{
    (void)state;
    refused("", "there is no fault \"\"");
    refused("boom:3", "there is no fault \"boom\"; the kinds are kill, stop");
    refused("kill:", "behind \":\" there is no number up to 256");
    refused("kill:257", "no number up to 256");
    refused("kill:200,cut:57", "256 faults in all at most");
    refused("kill:2;cut:2", "kinds with numbers");
    refused("257", "a number from 0 to 256");
    refused("7..5", "a range of them");
    refused("5x", "a number from 0 to 256");
    refused("99999999999999999999", "a number from 0 to 256");
    refused("kill@12", "\"kill@12\" is no fault");
    refused("kill@x:r3/any/1s", "is no fault");
    refused("kill@1:3/any/1s", "is no fault");
    refused("kill@1:r3/nowhere/1s", "states are any, away, opening");
    refused("kill@1:r3/any/1", "is no fault");
    refused("kill@1:r3/any/1h", "is no fault");
    refused("kill@1:r3/any/3601s", "an hour at most");
    refused("kill@1:r3/any/3600001ms", "an hour at most");
    refused("kill@1:r1024/any/1s", "is no fault");
    refused("kill@1:r3/any/1s,", "\"\" is no fault");
    refused("kill@1:r3/any/1s cut@", "is no fault");
}

static void test_faults__a_list_is_limited(void **state)
{
    (void)state;
    static char text[(SCHEDULE_FAULTS_MAX + 1) * 24];
    size_t used = 0;
    for (uint32_t i = 0; i <= SCHEDULE_FAULTS_MAX; i++) {
        used +=
            (size_t)snprintf(text + used, sizeof(text) - used, "%skill@1:r0/any/1s", i ? "," : "");
    }
    refused(text, "more than 256 faults");
}

static void test_range__wrong_text_is_refused_with_a_sentence(void **state)
{
    (void)state;
    struct range range = {0};
    const struct range limits = {2, 1024};
    static const char *const bad[] = {"1",   "1025", "",      "x",      "3..",
                                      "..3", "4..3", "3...4", "3..2000"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(wishes_range("--ranks", bad[i], limits, &range, why, sizeof(why)));
        assert_non_null(strstr(why, "a number from 2 to 1024"));
    }
    assert_true(wishes_range("--ranks", "8..24", limits, &range, why, sizeof(why)));
    assert_int_equal(range.low, 8);
    assert_int_equal(range.high, 24);
}

/* ---- drawing ---- */

static void test_draw__the_seed_decides(void **state)
{
    (void)state;
    static struct schedule a, b, c;
    struct wishes wishes;
    wishes_init(&wishes);
    uint32_t small = 0, usual = 0, large = 0;
    for (uint64_t seed = 0; seed < 500; seed++) {
        draw(&wishes, seed, &a);
        draw(&wishes, seed, &b);
        same_faults(&a, &b);
        assert_int_equal(a.ranks, b.ranks);
        assert_int_equal(a.steps, b.steps);
        assert_in_range(a.ranks, 2, 128);
        assert_in_range(a.fault_count, 3, 12);
        assert_true(a.steps >= 2000);
        small += a.ranks < 8;
        usual += a.ranks >= 8 && a.ranks <= 12;
        large += a.ranks >= 32;
    }
    assert_true(usual > 300 && small > 30 && large > 5);
    draw(&wishes, 7, &b);
    draw(&wishes, 8, &c);
    assert_true(b.steps != c.steps || b.ranks != c.ranks);
}

static void test_draw__what_is_given_leaves_the_rest_as_it_was(void **state)
{
    (void)state;
    static struct schedule free_one, given;
    struct wishes wishes;
    wishes_init(&wishes);
    for (uint64_t seed = 0; seed < 50; seed++) {
        draw(&wishes, seed, &free_one);
        struct wishes same = wishes;
        same.ranks = (struct range){free_one.ranks, free_one.ranks};
        same.steps = (struct range){free_one.steps, free_one.steps};
        draw(&same, seed, &given);
        same_faults(&given, &free_one);
    }
}

static void test_draw__faults_are_in_order_and_of_ranks_that_are(void **state)
{
    (void)state;
    static struct schedule schedule;
    struct wishes wishes = wish("100");
    wishes.ranks = (struct range){2, 3};
    for (uint64_t seed = 0; seed < 50; seed++) {
        draw(&wishes, seed, &schedule);
        for (uint32_t i = 0; i < schedule.fault_count; i++) {
            const struct world_fault *fault = &schedule.faults[i];
            assert_true(fault->rank < schedule.ranks && fault->other < schedule.ranks);
            assert_int_not_equal(fault->rank, fault->other);
            assert_true(fault->duration_ns >= 1000000 && fault->step <= schedule.steps);
            assert_true(i == 0 || fault->step >= schedule.faults[i - 1].step);
        }
    }
}

static void test_draw__an_exact_fault_of_a_rank_that_is_not_there(void **state)
{
    (void)state;
    static struct schedule schedule;
    struct wishes wishes = wish("cut@5:r1-r9/any/1s");
    wishes.ranks = (struct range){9, 9};
    assert_false(schedule_draw(&wishes, 1, &schedule, why, sizeof(why)));
    assert_non_null(strstr(why, "names rank 9 of a world of 9 ranks"));
}

static void test_command__replays(void **state)
{
    (void)state;
    static struct schedule schedule;
    static char text[SCHEDULE_TEXT_MAX + 256];
    struct wishes wishes = wish("cut@5:r1-r2/any/1s");
    wishes.ranks = (struct range){9, 9};
    wishes.steps = (struct range){100, 100};
    wishes.ranks_per_host = 3;
    draw(&wishes, 1, &schedule);
    schedule_print_command(&schedule, text, sizeof(text));
    assert_string_equal(text, "mf-sim --seed 1 --ranks 9 --ranks-per-host 3 --steps 100 --faults "
                              "cut@5:r1-r2/any/1s");
}

/* ---- processes ---- */

static void run_seed(uint64_t seed, uint32_t limit_s, struct run_result *result)
{
    static struct schedule schedule;
    struct wishes wishes = wish("0");
    draw(&wishes, seed, &schedule);
    assert_true(run_one(&schedule, false, limit_s, result));
}

static void test_run__result_crash_and_hang(void **state)
{
    (void)state;
    static struct run_result result;
    run_seed(1, 60, &result);
    assert_int_equal(result.verdict, RUN_KEPT);
    assert_true(result.world.digest != 0);
    run_seed(SEED_CRASH, 60, &result);
    assert_int_equal(result.verdict, RUN_CRASHED);
    assert_string_equal(result.oracle, "crash");
    run_seed(SEED_EXIT, 60, &result);
    assert_int_equal(result.verdict, RUN_CRASHED);
    assert_non_null(strstr(result.world.text, "ended with 7 without a result"));
    run_seed(SEED_HANG, 1, &result);
    assert_int_equal(result.verdict, RUN_HUNG);
    assert_string_equal(result.oracle, "hang");
}

static void test_run__several_at_a_time(void **state)
{
    (void)state;
    static struct schedule schedule;
    static struct run runs[3];
    struct wishes wishes = wish("0");
    uint64_t steps = 0, want = 0;
    for (uint32_t i = 0; i < 3; i++) {
        draw(&wishes, i, &schedule);
        want += schedule.steps + schedule.ranks;
        assert_true(run_start(&runs[i], &schedule, false, 60));
    }
    for (uint32_t ended = 0; ended < 3;) {
        struct run *run = run_wait(runs, 3, 1000);
        if (run) {
            assert_int_equal(run->result.verdict, RUN_KEPT);
            steps += run->result.world.steps;
            ended++;
        }
    }
    assert_int_equal(steps, want);
    draw(&wishes, SEED_HANG, &schedule);
    assert_true(run_start(&runs[0], &schedule, false, 60));
    run_kill(runs, 3);
    assert_int_equal(runs[0].pid, 0);
}

/* ---- shrinking ---- */

static void test_shrink__leaves_what_is_needed(void **state)
{
    (void)state;
    static struct schedule schedule;
    static struct run_result result;
    struct wishes wishes = wish("kill:4,cut:3,stop:5,store-kill:4");
    wishes.ranks = (struct range){12, 12};
    draw(&wishes, 3, &schedule);
    assert_true(shrink(&schedule, &result, 600, 60, false));
    assert_int_equal(schedule.fault_count, 3);
    assert_int_equal(schedule.ranks, 2);
    assert_true(schedule.steps < 64);
    assert_string_equal(result.oracle, "late-landing");
    uint32_t kills = 0;
    for (uint32_t i = 0; i < 3; i++) {
        kills += schedule.faults[i].kind == FAULT_KILL;
    }
    assert_int_equal(kills, 2);
}

static void test_shrink__nothing_to_do(void **state)
{
    (void)state;
    static struct schedule schedule;
    static struct run_result result;
    struct wishes wishes = wish("kill:1");
    draw(&wishes, 3, &schedule);
    assert_false(shrink(&schedule, &result, 600, 60, false));
    assert_int_equal(result.verdict, RUN_KEPT);
}

static void test_shrink__tries_are_limited(void **state)
{
    (void)state;
    static struct schedule schedule;
    static struct run_result result;
    struct wishes wishes = wish("kill:20,cut:20,stop:60");
    draw(&wishes, 3, &schedule);
    assert_true(shrink(&schedule, &result, 1, 60, false));
    assert_true(schedule.fault_count >= 99);
}

/* ---- sums ---- */

static void test_table__sums(void **state)
{
    (void)state;
    static struct schedule schedule;
    static struct run_result result;
    static struct table table;
    struct wishes wishes = wish("kill@5:r1/joining/1s,kill@6:r1/joining/1s,cut@7:r0-r1/any/1s");
    wishes.steps = (struct range){3000, 3000};
    wishes.ranks = (struct range){128, 128};
    draw(&wishes, 1, &schedule);
    assert_true(run_one(&schedule, false, 60, &result));
    assert_int_equal(result.verdict, RUN_BROKEN);
    result.cpu_ns = 500000000;
    table_add(&table, &schedule, &result);
    wishes.ranks = (struct range){3, 3};
    draw(&wishes, 2, &schedule);
    assert_true(run_one(&schedule, false, 60, &result));
    result.cpu_ns = 500000000;
    table_add(&table, &schedule, &result);
    assert_int_equal(table.schedules, 2);
    assert_int_equal(table.failures, 2);
    assert_int_equal(table.struck[FAULT_KILL][WORLD_JOINING], 4);
    assert_int_equal(table.struck[FAULT_CUT][WORLD_IDLE], 2);
    assert_int_equal(table_struck(&table), 6);
    assert_int_equal(table.least_ranks, 3);
    assert_int_equal(table.most_ranks, 128);
    assert_int_equal(table.large, 1);
    assert_true(table_speed(&table) > 6130 && table_speed(&table) < 6132);
}

static void test_table__forms(void **state)
{
    (void)state;
    static struct table table;
    char *text = NULL;
    size_t len = 0;
    table.struck[FAULT_KILL][WORLD_AWAY] = 17;
    FILE *out = open_memstream(&text, &len);
    table_print_markdown(&table, out);
    table_print_json(&table, out);
    table_print_quoted("a \"b\" \\ c\n", out);
    fclose(out);
    assert_non_null(strstr(text, "| kill | 17 | 0 |"));
    assert_non_null(strstr(text, "\"kill\": {\"away\": 17, \"opening\": 0"));
    assert_non_null(strstr(text, "\"a \\\"b\\\" \\\\ c\\u000a\""));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults__exact_list_is_printed_as_it_was_given),
        cmocka_unit_test(test_faults__numbers_and_kinds),
        cmocka_unit_test(test_faults__wrong_text_is_refused_with_a_sentence),
        cmocka_unit_test(test_faults__a_list_is_limited),
        cmocka_unit_test(test_range__wrong_text_is_refused_with_a_sentence),
        cmocka_unit_test(test_draw__the_seed_decides),
        cmocka_unit_test(test_draw__what_is_given_leaves_the_rest_as_it_was),
        cmocka_unit_test(test_draw__faults_are_in_order_and_of_ranks_that_are),
        cmocka_unit_test(test_draw__an_exact_fault_of_a_rank_that_is_not_there),
        cmocka_unit_test(test_command__replays),
        cmocka_unit_test(test_run__result_crash_and_hang),
        cmocka_unit_test(test_run__several_at_a_time),
        cmocka_unit_test(test_shrink__leaves_what_is_needed),
        cmocka_unit_test(test_shrink__nothing_to_do),
        cmocka_unit_test(test_shrink__tries_are_limited),
        cmocka_unit_test(test_table__sums),
        cmocka_unit_test(test_table__forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
