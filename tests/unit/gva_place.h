// SPDX-License-Identifier: Apache-2.0
// Where tests put their address ranges: the usual base, or the one that the thread sanitizer leaves
// free.
#ifndef GVA_PLACE_H
#define GVA_PLACE_H

#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define MF_TEST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MF_TEST_TSAN 1
#endif
#endif
#ifdef MF_TEST_TSAN
#define MF_TEST_BASE UINT64_C(0x2000000000)
#else
#define MF_TEST_BASE UINT64_C(0x280000000000)
#endif

#endif
