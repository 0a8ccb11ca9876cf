// SPDX-License-Identifier: Apache-2.0
// The copy kernel that exists everywhere, and the table for architectures that have no other.
#include "xcopy/kernels.h"

#include <string.h>

static int always(void)
{
    return 1;
}

static void copy_memcpy(void *dst, const void *src, size_t size)
{
    memcpy(dst, src, size);
}

const struct mf_copy_kernel mf_copy_kernel_memcpy = {
    .name = "memcpy",
    .supported = always,
    .copy = copy_memcpy,
};

#if !defined(__x86_64__) && !defined(__aarch64__)

bool mf_copy_flush(void *p, size_t size)
{
    (void)p;
    (void)size;
    return false;
}

const struct mf_copy_kernel *const mf_copy_kernels[] = {
    &mf_copy_kernel_memcpy,
    NULL,
};

#endif
