// SPDX-License-Identifier: Apache-2.0
// The table in a file: <dir>/ptracer_<pid>.dat gets, every period, a line for each point that began
// in it. A thread of its own writes, so that a slow disk delays nobody; it exists only while the
// option asks for the file.
#ifndef MF_TRACE_FILE_H
#define MF_TRACE_FILE_H

#include <stdint.h>

#include "trace/trace.h"

#define MF_TRACE_FILE_CAP 10485760u /* bytes; then the file begins again from its start */

struct mf_trace_file;

struct mf_trace_file_cfg {
    struct mf_trace *trace;    /* borrowed until close */
    const char *dir;           /* made when it is not there, with what is above it */
    uint64_t period_ms;        /* 0: no thread, only mf_trace_file_write writes */
    uint64_t cap_bytes;        /* 0: MF_TRACE_FILE_CAP */
    uint64_t (*wall_ns)(void); /* nanoseconds since 1970 */
};

/** A trace memory has at most one file. SMEM_ERROR when directory or file cannot be made or are not
 * what they should be. */
int mf_trace_file_open(const struct mf_trace_file_cfg *cfg, struct mf_trace_file **out);
/** Write the last, shorter period and end. Waits two seconds at most for a disk that hangs; then
 * the file is left to its thread. NULL is fine. */
void mf_trace_file_close(struct mf_trace_file *file);
/** End the period now: write its lines. SMEM_ERROR when the file takes none (full disk). Called by
 * one thread. */
int mf_trace_file_write(struct mf_trace_file *file);
/** For the atfork child handler: close the descriptor, touch nothing else. */
void mf_trace_file_close_fd(struct mf_trace_file *file);

#endif
