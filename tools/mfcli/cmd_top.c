// SPDX-License-Identifier: Apache-2.0
// mfcli top: what the processes of this user do with MemFabric, call by call, refreshed in place.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "args.h"
#include "commands.h"
#include "top.h"

#define COUNT_MAX    1000000000u
#define INTERVAL_MAX 3600000u
#define NO_LINES     SIZE_MAX

struct top {
    uint64_t pid; /* 0: all */
    uint64_t interval_ms, count;
    bool json, in_place;
    struct top_list list;
};

/* ---- one report ---- */

/* Lines that fit on the terminal. */
static size_t terminal_lines(void)
{
    struct winsize size = {.ws_row = 0};

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 2 ? size.ws_row - 1u
                                                                           : NO_LINES;
}

/* What does not fit is counted, so that the picture does not scroll. */
static void print_lines(const char *text, size_t lines)
{
    size_t left = 0;

    for (; *text && lines > 1; text++) {
        fputc(*text, stdout);
        lines -= *text == '\n';
    }
    for (; *text; text++) {
        left += *text == '\n';
    }
    if (left > 0) {
        printf("... %zu more lines: make the window higher, or give --pid\n", left);
    }
}

static int print_in_place(const struct top_list *list)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);

    if (!out) {
        fprintf(stderr, TOP_COMMAND ": there is no memory for a report\n");
        return -1;
    }
    top_print_text(list, out);
    fclose(out);
    fputs("\033[H\033[J", stdout); /* home, clear below */
    print_lines(text, terminal_lines());
    free(text);
    return 0;
}

static int report(struct top *top, bool first)
{
    if ((top->pid == 0 && top_list_search(&top->list)) || top_list_read(&top->list)) {
        return -1;
    }
    if (first && top->list.count == 0) {
        fprintf(stderr, TOP_COMMAND ": no process of this user has trace points: none has called "
                                    "smem_bm_init, or MF_TRACE is off there\n");
        return -1;
    }
    if (top->json) {
        top_print_json(&top->list, stdout);
    } else if (top->in_place) {
        if (print_in_place(&top->list)) {
            return -1;
        }
    } else {
        fputs(first ? "" : "\n", stdout);
        top_print_text(&top->list, stdout);
    }
    return 0;
}

/* ---- all of them ---- */

static void sleep_ms(uint64_t ms)
{
    struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&pause, &pause)) {
    }
}

/* @return false when the only process has ended, or nobody reads any more */
static bool goes_on(struct top *top, uint64_t done)
{
    if (fflush(stdout) || ferror(stdout) || (top->count != 0 && done == top->count)) {
        return false;
    }
    top_list_drop_ended(&top->list);
    return top->pid == 0 || top->list.count > 0;
}

static int run(struct top *top)
{
    uint64_t done = 0;

    if (top->pid != 0 && top_list_add(&top->list, (int32_t)top->pid)) {
        return CLI_FAILURE;
    }
    do {
        if (done > 0) {
            sleep_ms(top->interval_ms);
        }
        if (report(top, done == 0)) {
            return CLI_FAILURE;
        }
        done++;
    } while (goes_on(top, done));
    return CLI_OK;
}

int cmd_top(int argc, char **argv)
{
    struct top top = {.interval_ms = 1000};
    uint64_t count = 0;
    bool all = false;
    const struct arg_option options[] = {
        arg_number("pid", "P", &top.pid, 1, INT32_MAX, "only this process"),
        arg_flag("all", &all, "all processes of this user, for root of everybody (the default)"),
        arg_number("interval", "MS", &top.interval_ms, 10, INTERVAL_MAX,
                   "milliseconds from report to report (default 1000)"),
        arg_number("count", "N", &count, 1, COUNT_MAX,
                   "reports; the first is of all time since a process began (default: on a "
                   "terminal until interrupted, else 1)"),
        arg_flag("json", &top.json, "print JSON, one object a line"),
    };
    const struct arg_spec spec = {
        .command = TOP_COMMAND,
        .about = "Shows what processes do with MemFabric: calls, failures, bandwidth and latency "
                 "of each\ntrace point. Looking on costs them nothing.",
        .options = options,
        .count = sizeof(options) / sizeof(options[0])};
    int result = args_parse(&spec, argc, argv, NULL);

    if (result != ARGS_GO) {
        return result;
    }
    if (all && top.pid != 0) {
        return args_usage_error(&spec, "--pid and --all exclude each other");
    }
    bool terminal = isatty(STDOUT_FILENO);
    top.count = count != 0 ? count : (terminal && !top.json) ? 0 : 1;
    top.in_place = terminal && !top.json && top.count != 1;
    result = run(&top);
    top_list_fini(&top.list);
    return result;
}
