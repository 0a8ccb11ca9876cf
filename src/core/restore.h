// SPDX-License-Identifier: Apache-2.0
// What a restarted config store has to be told again beside ephemeral keys, which its client
// announces by itself: which world this is, and where its pools lie.
#ifndef MF_CORE_RESTORE_H
#define MF_CORE_RESTORE_H

#include "core/context.h"

/** The store can be reached again, perhaps in another life: put back what it lost. On the loop's
 * thread; does not wait. What the ranks of the world rely on goes before what a newcomer may have
 * laid down in the meantime. */
void mf_restore_start(struct mf_ctx *ctx);

/** This rank relies on the pool's layout, or no longer does. */
void mf_restore_note(struct mf_ctx *ctx, uint32_t pool, const struct mf_layout *layout);
void mf_restore_forget(struct mf_ctx *ctx, uint32_t pool);

#endif
