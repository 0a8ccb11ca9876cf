// SPDX-License-Identifier: Apache-2.0
// Makes a trace from a seed, of the shape of recorded ones: conversations of several turns, each
// turn asking for all blocks of the conversation so far and some new ones, all beginning with the
// same block; about 24 blocks a request, about 36 % of them seen before.
#ifndef MFCLI_REPLAY_WORKLOAD_H
#define MFCLI_REPLAY_WORKLOAD_H

#include "trace.h"

/** Appends `requests` requests to `trace`; the same seed gives the same requests. */
void workload_generate(struct trace *trace, uint64_t seed, uint64_t requests);

#endif
