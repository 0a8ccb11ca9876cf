// SPDX-License-Identifier: Apache-2.0
// Ping-pong of an 8-byte word between rank 0 and the partner, both spinning: by puts of the
// library, or by plain stores, which is what the processor needs from core to core.
#ifndef MFCLI_BENCH_PING_H
#define MFCLI_BENCH_PING_H

#include "partner.h"

/**
 * Rank 0: plays and measures.
 *
 * @param seconds receives the time of one way, half a round
 * @return 0, or -1 after a report
 */
int ping_measure(struct world *world, uint64_t rounds, bool through_library, double *seconds);

/** The partner's side. @return 0, or -1 after a report */
int ping_play(struct world *world, const struct request *request);

#endif
