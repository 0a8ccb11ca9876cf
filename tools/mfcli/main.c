// SPDX-License-Identifier: Apache-2.0
// mfcli, the command-line tool: one table of commands, {name, function, help}.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "commands.h"

static const struct command commands[] = {
    {"demo", cmd_demo, "a guided tour of four ranks that says what it does and why"},
    {"replay", cmd_replay, "run a KV-cache workload against a pool and check every byte"},
    {"bench", cmd_bench, "bandwidth and latency of every direction, beside memcpy"},
    {"run", cmd_run, "start the ranks of a world on this host"},
    {"store", cmd_store, "serve a config store"},
    {"top", cmd_top, "what running processes do: calls, failures, bandwidth, latency"},
    {"info", cmd_info, "what this machine and this build give; the options"},
    {"mem", cmd_mem, "scan: free memory and huge pages of each NUMA node"},
    {"logs", cmd_logs, "gather what a report of a problem needs into one archive"},
    {"completion", cmd_completion, "print a script that completes commands in a shell"},
    {"version", cmd_version, "print the version"},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

const struct command *cli_commands(size_t *count)
{
    *count = COMMANDS;
    return commands;
}

static void print_commands(FILE *file)
{
    fprintf(file, "usage: mfcli COMMAND [options]\n\ncommands:\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        fprintf(file, "  %-10s %s\n", commands[i].name, commands[i].help);
    }
    fprintf(file, "\nmfcli COMMAND --help tells the options of a command. Exit codes: 0 done, 1 "
                  "failed, 2 wrong usage.\n");
}

static int unknown_command(const char *name)
{
    const char *names[COMMANDS + 1] = {NULL};
    const char *near = NULL;

    for (size_t i = 0; i < COMMANDS; i++) {
        names[i] = commands[i].name;
    }
    near = args_nearest(name, names);
    fprintf(stderr, "mfcli: there is no command '%s'", name);
    if (near) {
        fprintf(stderr, "; did you mean '%s'?", near);
    }
    fprintf(stderr, "\nmfcli --help tells the commands.\n");
    return CLI_USAGE;
}

/* Output that could not be written, to a full disk for example, is a failure. */
static int flushed(int result)
{
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "mfcli: cannot write the output: %s\n", strerror(errno));
        return CLI_FAILURE;
    }
    return result;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_commands(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_commands(stdout);
        return CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        argv[1] = "version";
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return flushed(commands[i].run(argc - 1, argv + 1));
        }
    }
    return unknown_command(argv[1]);
}
