// SPDX-License-Identifier: Apache-2.0
// Control pages between processes of one host: a sealed memfd, whose descriptor its owner hands to
// each peer; and what the fence on them asks of the kernel.
#ifndef MF_TRANSPORT_DIRECT_CONTROL_H
#define MF_TRANSPORT_DIRECT_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/fence/page.h"

/** Make the own page: sealed memfd, mapped, header filled in; start_time of `who` is this
 * process's. */
int mf_direct_control_create(const struct mf_fence_identity *who, int *fd,
                             struct mf_fence_page **out);
/** Map a peer's page after checking seals, size and header. `fd` stays the caller's.
 * SMEM_INVALID_PARAM with what is wrong. */
int mf_direct_control_map(int fd, struct mf_fence_page **out);
void mf_direct_control_unmap(struct mf_fence_page *control);

/** Register this process for membarrier; false when the kernel cannot. */
bool mf_direct_barrier_register(void);
/** A full barrier on all threads of all registered processes. */
void mf_direct_barrier(void);
/** Number of this process. */
uint32_t mf_direct_own_pid(void);
/** Start time of a process as in /proc/<pid>/stat; pid 0 is this process. 0 when it is gone. */
uint64_t mf_direct_start_time(int pid);

#endif
