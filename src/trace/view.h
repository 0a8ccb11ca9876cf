// SPDX-License-Identifier: Apache-2.0
// Reads the trace memory of another process through the descriptor that it holds open. The kernel
// lets only the same user (and root) reach that; what is found there is checked before it is
// believed, and read with pread, so that nothing that its owner does can hurt the reader.
#ifndef MF_TRACE_VIEW_H
#define MF_TRACE_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/env.h"
#include "trace/format.h"
#include "trace/sums.h"

/** Heads and sums of two moments; made by mf_trace_view_open, only read by others. */
struct mf_trace_view {
    const struct mf_env *env;
    pid_t pid;
    int fd;
    int pidfd; /* -1: the kernel has none; then the process's entry in /proc tells */
    struct mf_trace_head head;   /* as it was at the last read */
    struct mf_trace_block block; /* room for one */
    uint64_t before_ns, now_ns;  /* 0: never read */
    struct mf_trace_sums before, now;
};

/** Codes as those of mf_trace_open. `env` is borrowed. */
int mf_trace_view_open(const struct mf_env *env, pid_t pid, struct mf_trace_view **out);
void mf_trace_view_close(struct mf_trace_view *view);
/** What was `now` becomes `before`. SMEM_ERROR. */
int mf_trace_view_read(struct mf_trace_view *view);
bool mf_trace_view_is_alive(const struct mf_trace_view *view);

/** SMEM_OK when the descriptor is trace memory that this build reads; `head` is a copy of its head.
 */
int mf_trace_check_fd(int fd, struct mf_trace_head *head);

#endif
