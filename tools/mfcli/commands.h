// SPDX-License-Identifier: Apache-2.0
// The commands of mfcli. Each is one function in a file of its own, and one row of the table in
// main.c. It gets argv with its own name first and returns the tool's exit code.
#ifndef MFCLI_COMMANDS_H
#define MFCLI_COMMANDS_H

int cmd_run(int argc, char **argv);
int cmd_store(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_bench(int argc, char **argv);

#endif
