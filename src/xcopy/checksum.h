// SPDX-License-Identifier: Apache-2.0
// Checksums of copies (option copy.checksum): the source's bytes are hashed as they are read, the
// target's where they have landed; a difference fails the copy with a sentence that names the place
// and both sums. XXH3 with 64 bits.
#ifndef MF_XCOPY_CHECKSUM_H
#define MF_XCOPY_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gva/gva.h"

struct mf_lanes;
struct mf_xcopy_space;

/** Bytes that are hashed, copied and hashed again at a time: so few that the processor overlaps the
 * steps and the next chunk with each other. Twice as many cost a quarter of the rate. */
#define MF_CHECKSUM_CHUNK 2048u

/** The first part of a copy whose target is not what its source was. */
struct mf_checksum_bad {
    uint64_t offset; /* from the beginning of the copy, bytes */
    uint64_t size;   /* bytes */
    uint64_t src, dst;
};

/** XXH3 (64 bits, no seed) of the bytes. */
uint64_t mf_checksum(const void *data, size_t size);

/** As mf_cpu_copy, on the calling thread alone, with both sides hashed chunk by chunk. False: the
 * target differs, `bad` tells where first; all bytes are copied all the same. */
bool mf_checksum_copy(void *copier, void *dst, const void *src, size_t size,
                      struct mf_checksum_bad *bad);

/** SMEM_ERROR and the sentence for a difference within the transfer; `bad` counts from the
 * transfer's beginning. layout NULL: the pool is about to go, offsets count from the segment. */
int mf_checksum_err(const struct mf_layout *layout, const struct mf_xfer *x,
                    const struct mf_checksum_bad *bad);

/** For copies that were made by somebody else (a device, a transport that knows nothing of sums):
 * read both ends of each transfer that is done and not marked MF_XFER_CHECKED, and compare. Those
 * that differ get SMEM_ERROR as their status, those whose ends cannot be read the reason. Returns 0
 * or the first failure with its sentence. Uses the lanes' staging memory and waits. */
int mf_checksum_verify(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                       struct mf_xfer *v, uint32_t count, uint64_t deadline_ns);

#endif
