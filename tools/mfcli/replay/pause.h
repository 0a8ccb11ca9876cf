// SPDX-License-Identifier: Apache-2.0
// Time, and waiting that begins quick and becomes cheap: a short spin, then giving the processor
// away, then naps that grow. Many ranks share few processors.
#ifndef MFCLI_REPLAY_PAUSE_H
#define MFCLI_REPLAY_PAUSE_H

#include <sched.h>
#include <stdint.h>
#include <time.h>

#define PAUSE_SPIN_NS    20000u
#define PAUSE_YIELD_NS   100000u
#define PAUSE_NAP_MAX_NS 200000u

static inline uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t now_ms(void)
{
    return now_ns() / 1000000;
}

static inline void nap_ns(uint64_t ns)
{
    struct timespec nap = {.tv_sec = (time_t)(ns / 1000000000u),
                           .tv_nsec = (long)(ns % 1000000000u)};

    nanosleep(&nap, NULL);
}

/** One step of waiting for something that has not happened for `waited_ns`. */
static inline void pause_step(uint64_t waited_ns)
{
    if (waited_ns < PAUSE_SPIN_NS) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
    } else if (waited_ns < PAUSE_YIELD_NS) {
        sched_yield();
    } else {
        nap_ns(waited_ns / 8 < PAUSE_NAP_MAX_NS ? waited_ns / 8 : PAUSE_NAP_MAX_NS);
    }
}

#endif
