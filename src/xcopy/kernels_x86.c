// SPDX-License-Identifier: Apache-2.0
// Copy kernels for x86-64: plain loops, streaming stores (with prefetch, and with four pages
// interleaved), for AVX2 and AVX-512. The processor is asked at run time; nothing here is compiled
// for more than the baseline outside of the functions that say so.
#include "xcopy/kernels.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>

#define PAGE 4096u

static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2") != 0;
}

static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") != 0;
}

#define ISA(name)    avx2_##name
#define ISA_TARGET   __attribute__((target("avx2")))
#define VEC          __m256i
#define VEC_BYTES    32u
#define LOAD(p)      _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define STORE(p, v)  _mm256_store_si256((__m256i *)(void *)(p), (v))
#define STREAM(p, v) _mm256_stream_si256((__m256i *)(void *)(p), (v))
#include "xcopy/kernels_x86_isa.h"

#define ISA(name)    avx512_##name
#define ISA_TARGET   __attribute__((target("avx512f")))
#define VEC          __m512i
#define VEC_BYTES    64u
#define LOAD(p)      _mm512_loadu_si512((const void *)(p))
#define STORE(p, v)  _mm512_store_si512((void *)(p), (v))
#define STREAM(p, v) _mm512_stream_si512((__m512i *)(void *)(p), (v))
#include "xcopy/kernels_x86_isa.h"

__attribute__((target("clflushopt"))) static void flush_opt(const uint8_t *p, const uint8_t *end)
{
    for (; p < end; p += MF_LINE) {
        _mm_clflushopt((void *)(uintptr_t)p);
    }
}

bool mf_copy_flush(void *p, size_t size)
{
    const uint8_t *at = (const uint8_t *)((uintptr_t)p & ~(uintptr_t)(MF_LINE - 1));
    const uint8_t *end = (const uint8_t *)p + size;
    unsigned a = 0, b = 0, c = 0, d = 0;
    _mm_mfence();
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_CLFLUSHOPT)) {
        flush_opt(at, end);
    } else {
        for (; at < end; at += MF_LINE) {
            _mm_clflush(at);
        }
    }
    _mm_mfence();
    return true;
}

static const struct mf_copy_kernel kernels[] = {
    {"avx2", has_avx2, avx2_plain},
    {"avx2-stream", has_avx2, avx2_stream},
    {"avx2-stream-pf", has_avx2, avx2_stream_pf},
    {"avx2-stream4", has_avx2, avx2_stream4},
    {"avx2-stream4-pf", has_avx2, avx2_stream4_pf},
    {"avx512", has_avx512, avx512_plain},
    {"avx512-stream", has_avx512, avx512_stream},
    {"avx512-stream-pf", has_avx512, avx512_stream_pf},
    {"avx512-stream4", has_avx512, avx512_stream4},
    {"avx512-stream4-pf", has_avx512, avx512_stream4_pf},
};

const struct mf_copy_kernel *const mf_copy_kernels[] = {
    &mf_copy_kernel_memcpy,
    &kernels[0],
    &kernels[1],
    &kernels[2],
    &kernels[3],
    &kernels[4],
    &kernels[5],
    &kernels[6],
    &kernels[7],
    &kernels[8],
    &kernels[9],
    NULL,
};

#endif
