// SPDX-License-Identifier: Apache-2.0
// Time, and waiting that begins quick and becomes cheap: a short spin, then giving the processor
// away, then naps that grow. Many ranks share few processors.
#ifndef MFCLI_REPLAY_PAUSE_H
#define MFCLI_REPLAY_PAUSE_H

#include <sched.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <time.h>

#define PAUSE_SPIN_NS    20000u
#define PAUSE_YIELD_NS   100000u
#define PAUSE_NAP_MAX_NS 200000u
/* After so long nothing is going on here; dozens of ranks that look often would hold up the others.
 */
#define PAUSE_IDLE_NS         20000000u
#define PAUSE_IDLE_NAP_MAX_NS 2000000u
/* A yield that takes longer has given the processor to somebody who works; another one would cost
 * as much again, so for some time there are none. */
#define PAUSE_CROWDED_NS     1000000u
#define PAUSE_CROWDED_FOR_NS 200000000u
/* Naps of 20 us shall not last 70. */
#define PAUSE_SLACK_NS 1000u

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

/** How one thread waits; zeroed at first. */
struct pause {
    uint64_t crowded_until_ns;
};

/** Once in each thread that waits: naps are to be short. */
static inline void pause_prepare_thread(void)
{
    prctl(PR_SET_TIMERSLACK, PAUSE_SLACK_NS, 0, 0, 0);
}

static inline uint64_t pause_nap_length(uint64_t waited_ns)
{
    uint64_t most = waited_ns < PAUSE_IDLE_NS ? PAUSE_NAP_MAX_NS : PAUSE_IDLE_NAP_MAX_NS;
    uint64_t nap = waited_ns < PAUSE_IDLE_NS ? waited_ns / 8 : waited_ns / 100;

    return nap < most ? nap : most;
}

static inline void pause_yield(struct pause *pause, uint64_t now)
{
    uint64_t after = 0;

    sched_yield();
    after = now_ns();
    if (after - now > PAUSE_CROWDED_NS) {
        pause->crowded_until_ns = after + PAUSE_CROWDED_FOR_NS;
    }
}

/** One step of waiting, at `now_ns`, for something that has not happened for `waited_ns`. */
static inline void pause_step(struct pause *pause, uint64_t now, uint64_t waited_ns)
{
    if (waited_ns < PAUSE_SPIN_NS) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
    } else if (waited_ns < PAUSE_YIELD_NS && now >= pause->crowded_until_ns) {
        pause_yield(pause, now);
    } else {
        nap_ns(pause_nap_length(waited_ns));
    }
}

#endif
