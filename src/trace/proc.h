// SPDX-License-Identifier: Apache-2.0
// Finds trace memory in /proc: the descriptor among those of a process, and the processes that have
// one.
#ifndef MF_TRACE_PROC_H
#define MF_TRACE_PROC_H

#include <stdint.h>
#include <sys/types.h>

#include "trace/format.h"

/** A descriptor of our own for the process's trace memory, checked; -1 on failure. Codes as those
 * of mf_trace_open. */
int mf_trace_proc_open(pid_t pid, int *fd, struct mf_trace_head *head);
/** Processes with trace memory that can be read, in order of their number. */
int mf_trace_proc_find(void (*fn)(void *arg, int32_t pid), void *arg);

#endif
