// SPDX-License-Identifier: Apache-2.0
// What a thread does between two looks at a word that another thread is about to change.
#ifndef MF_DEVICE_SIM_SPIN_H
#define MF_DEVICE_SIM_SPIN_H

static inline void mf_sim_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield" ::: "memory");
#endif
}

#endif
