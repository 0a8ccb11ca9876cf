// SPDX-License-Identifier: Apache-2.0
// What the copy kernels of one architecture give to the rest of the layer: the kernel that exists
// everywhere, and a way to put memory out of the caches, so that a measurement starts cold.
#ifndef MF_XCOPY_KERNELS_H
#define MF_XCOPY_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xcopy/cpu_copy.h"

/** Bytes of a cache line that kernels align to and flush by. */
#define MF_LINE 64u

/** Streaming kernels hand smaller copies to memcpy: a fence costs more than they save. */
#define MF_STREAM_MIN 512u

/** How far ahead of the loads the "-pf" kernels prefetch. The rate is flat from 1 to 8 KiB. */
#define MF_PREFETCH_AHEAD 2048u

/** The C library's memcpy: the only kernel that exists on every machine. */
extern const struct mf_copy_kernel mf_copy_kernel_memcpy;

/** Write the lines of the range back to memory and drop them from all caches; returns when that is
 * done. False when this processor has no way to do that from a program: then nothing can be
 * measured. */
bool mf_copy_flush(void *p, size_t size);

/** Bytes from p to the next line. */
static inline size_t mf_line_head(const void *p)
{
    return (MF_LINE - ((uintptr_t)p & (MF_LINE - 1))) & (MF_LINE - 1);
}

#endif
