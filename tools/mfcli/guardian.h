// SPDX-License-Identifier: Apache-2.0
// A small process beside the launcher that outlives it: when the launcher ends in any way, kill -9
// too, the guardian kills every process group that is still in its care.
#ifndef MFCLI_GUARDIAN_H
#define MFCLI_GUARDIAN_H

#include <sys/types.h>

struct guardian {
    int pipe; /* the guardian sees its end closed when the launcher is gone */
    pid_t pid;
};

/** Starts it; call before the process has threads. @return 0, or -1 with errno */
int guardian_start(struct guardian *guardian);
/** Puts the process group into its care. */
void guardian_add(struct guardian *guardian, pid_t group);
/** Takes it out again; before the group's leader is reaped, so that the number is still its own. */
void guardian_remove(struct guardian *guardian, pid_t group);
/** Ends it. */
void guardian_stop(struct guardian *guardian);

#endif
