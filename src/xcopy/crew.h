// SPDX-License-Identifier: Apache-2.0
// Helper threads that share one large copy with the thread that asked for it. The copy is cut into
// chunks which whoever is free takes; the caller never waits for a helper that has not begun one.
#ifndef MF_XCOPY_CREW_H
#define MF_XCOPY_CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"

struct mf_crew;

typedef void (*mf_crew_copy_fn)(void *dst, const void *src, size_t size);

/** No thread yet. `env` is borrowed. */
int mf_crew_create(const struct mf_env *env, struct mf_crew **out);
/** Ends the helpers. No copy is under way. NULL is fine. */
void mf_crew_destroy(struct mf_crew *crew);
/** Have at least `helpers` of them (at most MF_COPY_THREADS_MAX - 1). One thread at a time. */
int mf_crew_start(struct mf_crew *crew, uint32_t helpers);
/** Copy with at most `helpers` helpers beside the caller. False, and nothing is done, when the crew
 * works for somebody else or has lately been late: then copy alone. Any thread. */
bool mf_crew_copy(struct mf_crew *crew, uint32_t helpers, mf_crew_copy_fn copy, void *dst,
                  const void *src, size_t size);

#endif
