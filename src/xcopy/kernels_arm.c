// SPDX-License-Identifier: Apache-2.0
// Copy kernels for arm64: a plain loop of 128-bit pairs, and the same with non-temporal stores
// (stnp), with and without prefetch. NEON is part of the architecture: nothing to ask at run time.
#include "xcopy/kernels.h"

#if defined(__aarch64__)

#include <string.h>

#define STEP 64u

static int always(void)
{
    return 1;
}

static inline void line_plain(uint8_t *d, const uint8_t *s)
{
    __asm__ volatile("ldp q0, q1, [%1]\n\t"
                     "ldp q2, q3, [%1, #32]\n\t"
                     "stp q0, q1, [%0]\n\t"
                     "stp q2, q3, [%0, #32]"
                     :
                     : "r"(d), "r"(s)
                     : "v0", "v1", "v2", "v3", "memory");
}

static inline void line_stream(uint8_t *d, const uint8_t *s)
{
    __asm__ volatile("ldp q0, q1, [%1]\n\t"
                     "ldp q2, q3, [%1, #32]\n\t"
                     "stnp q0, q1, [%0]\n\t"
                     "stnp q2, q3, [%0, #32]"
                     :
                     : "r"(d), "r"(s)
                     : "v0", "v1", "v2", "v3", "memory");
}

static inline void copy_steps(uint8_t *d, const uint8_t *s, size_t size, bool stream, size_t ahead)
{
    if (size >= MF_STREAM_MIN) {
        size_t head = mf_line_head(d);
        memcpy(d, s, head);
        d += head;
        s += head;
        size -= head;
        for (; size >= STEP; size -= STEP, d += STEP, s += STEP) {
            if (ahead) {
                __builtin_prefetch(s + ahead, 0, 0);
            }
            if (stream) {
                line_stream(d, s);
            } else {
                line_plain(d, s);
            }
        }
        if (stream) {
            /* Non-temporal pairs are ordered with what follows only by a barrier. */
            __asm__ volatile("dmb ishst" : : : "memory");
        }
    }
    memcpy(d, s, size);
}

static void neon_plain(void *dst, const void *src, size_t size)
{
    copy_steps(dst, src, size, false, 0);
}

static void neon_stream(void *dst, const void *src, size_t size)
{
    copy_steps(dst, src, size, true, 0);
}

static void neon_stream_pf(void *dst, const void *src, size_t size)
{
    copy_steps(dst, src, size, true, MF_PREFETCH_AHEAD);
}

bool mf_copy_flush(void *p, size_t size)
{
    uint64_t ctr;
    __asm__ volatile("mrs %0, ctr_el0" : "=r"(ctr));
    uintptr_t line = (uintptr_t)4 << ((ctr >> 16) & 15);
    uintptr_t end = (uintptr_t)p + size;
    for (uintptr_t at = (uintptr_t)p & ~(line - 1); at < end; at += line) {
        __asm__ volatile("dc civac, %0" : : "r"(at) : "memory");
    }
    __asm__ volatile("dsb ish" : : : "memory");
    return true;
}

static const struct mf_copy_kernel kernels[] = {
    {"neon", always, neon_plain},
    {"neon-stream", always, neon_stream},
    {"neon-stream-pf", always, neon_stream_pf},
};

const struct mf_copy_kernel *const mf_copy_kernels[] = {
    &mf_copy_kernel_memcpy, &kernels[0], &kernels[1], &kernels[2], NULL,
};

#endif
