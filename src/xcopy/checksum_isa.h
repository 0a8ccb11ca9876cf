// SPDX-License-Identifier: Apache-2.0
// What checksum.c gets from the files that are compiled for more than the baseline.
#ifndef MF_XCOPY_CHECKSUM_ISA_H
#define MF_XCOPY_CHECKSUM_ISA_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
/** The processor has AVX2. */
uint64_t mf_checksum_avx2(const void *data, size_t size);
#endif

#endif
