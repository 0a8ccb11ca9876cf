// SPDX-License-Identifier: Apache-2.0
// The commands of mfcli. Each is one function in a file of its own, and one row of the table in
// main.c. It gets argv with its own name first and returns the tool's exit code.
#ifndef MFCLI_COMMANDS_H
#define MFCLI_COMMANDS_H

#include <stddef.h>

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

/** The table, in the order of the usage. */
const struct command *cli_commands(size_t *count);

int cmd_run(int argc, char **argv);
int cmd_store(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_mem(int argc, char **argv);
int cmd_logs(int argc, char **argv);
int cmd_completion(int argc, char **argv);

#endif
