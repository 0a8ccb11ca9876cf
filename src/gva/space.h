// SPDX-License-Identifier: Apache-2.0
// Reserved address space of this process: reserve, put things in, take them out, release; and the
// explanation when a range is taken.
#ifndef MF_GVA_SPACE_H
#define MF_GVA_SPACE_H

#include <stddef.h>
#include <stdint.h>

#include "base/env.h"

/** Reserve [addr, addr + size) with PROT_NONE and no reserve, overwriting nothing, not inherited by
 * fork. SMEM_RES_IN_USE when something is mapped there: the sentence names that mapping (range and
 * file) and its size and the option gva.base. */
int mf_space_reserve(uint64_t addr, uint64_t size);
/** Reserve `size` bytes at a multiple of 2 MiB that this process has free, in the same way; at
 * `near` (0: anywhere) when that is free. SMEM_NO_RESOURCES: the sentence names the limits. */
int mf_space_reserve_free(uint64_t near, uint64_t size, uint64_t *at);
/** Unmap everything in the range. */
int mf_space_release(uint64_t addr, uint64_t size);
/** Map `size` bytes of fd from offset over a reserved place, shared, readable and writable, not
 * inherited by fork. */
int mf_space_map(uint64_t addr, uint64_t size, int fd, uint64_t offset);
/** Put the inaccessible reservation back. */
int mf_space_unmap(uint64_t addr, uint64_t size);
/** Put zero pages without reserve there: a stray load reads zero and does not crash. */
int mf_space_zero(uint64_t addr, uint64_t size);
/** The first mapping that overlaps the range, as text: "7f12..-7f13.. r-xp libc.so.6". False: none.
 */
bool mf_space_conflict(uint64_t addr, uint64_t size, char *buf, size_t len);

#endif
