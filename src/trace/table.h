// SPDX-License-Identifier: Apache-2.0
// MemFabric's table of trace points as text: one line a point, every line of the same length, so
// that a file that begins again from its start overwrites whole lines.
#ifndef MF_TRACE_TABLE_H
#define MF_TRACE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "trace/sums.h"
#include "trace/trace.h"

#define MF_TRACE_LINE_BYTES (23u + 40u + 8u * 15u + 1u) /* with the newline */

/** What all threads of this process counted since its start. */
void mf_trace_collect(const struct mf_trace *trace, uint64_t period, struct mf_trace_sums *out);

/** Name of a point of this build. */
const char *mf_trace_point_name(enum mf_point point);

/** The heads of the columns. Each writes MF_TRACE_LINE_BYTES and a NUL. */
void mf_trace_line_heads(char out[MF_TRACE_LINE_BYTES + 1]);
/** `sum` has the counts and times to print, `on_fly` the calls under way now; min_ns and max_ns are
 * given apart, since a period's are more exact than those of its buckets. */
void mf_trace_line(char out[MF_TRACE_LINE_BYTES + 1], const char *time, const char *name,
                   const struct mf_trace_sum *sum, uint64_t on_fly, uint64_t min_ns,
                   uint64_t max_ns);

/** "YYYY-mm-dd HH:MM:SS", local time. `wall_ns` since 1970. */
#define MF_TRACE_TIME_BYTES 24u
void mf_trace_line_time(char out[MF_TRACE_TIME_BYTES], uint64_t wall_ns);

#endif
