// SPDX-License-Identifier: Apache-2.0
// The movers of single transfers: what this thread copies itself, what it has a transport copy, and
// what goes by way of host memory.
#ifndef MF_XCOPY_MOVE_H
#define MF_XCOPY_MOVE_H

#include "xcopy/plan.h"

/** Bytes of host memory between the two halves of a staged transfer. */
#define MF_STAGING_BYTES (1u << 20)

/** The thread's lane of a transport instance, opened on demand. */
int mf_lanes_get(struct mf_lanes *lanes, const struct mf_transport_ops *ops, void *tp, void **lane);

/** A deadline for what has to be waited for: the given one, or copy_wait_ms from now. */
uint64_t mf_move_deadline(const struct mf_xcopy_space *space, uint64_t deadline_ns);

/** Each of these sets the status of every transfer and returns 0 or the first failure with its
 * sentence. */
int mf_move_posted(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                   const struct mf_route *route, struct mf_xfer *v, uint32_t count,
                   uint64_t deadline_ns);
int mf_move_local(const struct mf_xcopy_space *space, struct mf_lanes *lanes, struct mf_xfer *v,
                  uint32_t count, uint64_t deadline_ns);
int mf_move_staged(const struct mf_xcopy_space *space, struct mf_lanes *lanes, struct mf_xfer *v,
                   uint32_t count, uint64_t deadline_ns);

/** Read `x->size` bytes (at most MF_STAGING_BYTES) of the transfer's source into lanes->staging;
 * the rest of `x` is this function's. */
int mf_move_to_staging(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                       struct mf_xfer *x, uint64_t deadline_ns);

/** The two halves of mf_move_posted, so that several transports work at the same time.
 * mf_move_finish is called after every start, with its result. */
int mf_move_start(struct mf_lanes *lanes, const struct mf_route *route, struct mf_xfer *v,
                  uint32_t count);
int mf_move_finish(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                   const struct mf_route *route, struct mf_xfer *v, uint32_t count, int started,
                   uint64_t deadline_ns);

#endif
