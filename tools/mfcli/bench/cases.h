// SPDX-License-Identifier: Apache-2.0
// The named cases: what a plain walk over blocks does not show. Each prints its results itself.
#ifndef MFCLI_BENCH_CASES_H
#define MFCLI_BENCH_CASES_H

#include "report.h"
#include "world.h"

/* In the world of two ranks, by rank 0. @return 0, or -1 after a report; *wrong grows by the wrong
 * bytes that were seen. */
int case_122(struct world *world, uint64_t *wrong);
int case_small(struct world *world, uint64_t *wrong);
int case_lat8(struct world *world, uint64_t *wrong);
int case_plan(struct world *world, uint64_t *wrong);
int case_translated(struct world *world, uint64_t *wrong);
int case_trace(struct world *world, uint64_t *wrong);
int case_prepared(struct world *world, uint64_t *wrong);
int case_request(struct world *world, uint64_t *wrong);
/* In a world with checksums. */
int case_checksum(struct world *world, uint64_t *wrong);
/* In a world that does not map peers. */
int case_vm(struct world *world, uint64_t *wrong);

/* With processes of their own; called before this process has threads. @return 0, or -1 */
int case_create(const struct bench_cfg *cfg);
int case_join(const struct bench_cfg *cfg);

#endif
