// SPDX-License-Identifier: Apache-2.0
// A trace: requests in their order, each a list of block ids. Read from a file of JSON lines, or
// generated (workload.h).
#ifndef MFCLI_REPLAY_TRACE_H
#define MFCLI_REPLAY_TRACE_H

#include <stddef.h>
#include <stdint.h>

#define TRACE_REQUEST_BLOCKS 65536u /* most block ids of a request */
#define TRACE_ERROR_BYTES    512u

struct trace_request {
    size_t first; /* its ids are ids[first], ids[first + 1], ... */
    uint32_t count;
};

struct trace {
    struct trace_request *requests;
    size_t request_count, request_room;
    uint64_t *ids;
    size_t id_count, id_room;
};

void trace_init(struct trace *trace);
void trace_fini(struct trace *trace);
/** Begins a request; trace_add_id() fills it. */
void trace_add_request(struct trace *trace);
void trace_add_id(struct trace *trace, uint64_t id);

/**
 * Appends one line, {"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": [0, 7]}.
 * Members may stand in any order; unknown ones are skipped when they are single values.
 *
 * @param length bytes of the line without its end
 * @param error  TRACE_ERROR_BYTES; on failure "column N: what is wrong"
 * @return 0 or -1
 */
int trace_parse_line(struct trace *trace, const char *line, size_t length, char *error);

/**
 * Reads a file.
 *
 * @param max_requests stop after so many; 0: all
 * @param error        TRACE_ERROR_BYTES; on failure a sentence with the file, line and column
 * @return 0 or -1; `trace` is initialised in both cases
 */
int trace_load(struct trace *trace, const char *path, uint64_t max_requests, char *error);

#endif
