// SPDX-License-Identifier: Apache-2.0
// Thin wrappers of pthread locks and threads that cannot be used wrongly in silence: an error of a
// lock function is a broken invariant. With MF_LOCK_CHECK each thread remembers the locks it holds,
// and taking one out of the order of mf_lock_rank aborts.
#include "base/thread.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"

#define THREAD_NAME_MAX 16 /* with the terminating 0; the kernel's limit */

#ifdef MF_LOCK_CHECK

#define HELD_MAX 16
static _Thread_local const struct mf_mutex *held[HELD_MAX];
static _Thread_local int held_count;

static void check_lock(const struct mf_mutex *mutex)
{
    for (int i = 0; i < held_count; i++) {
        MF_ASSERT(held[i]->rank < mutex->rank);
    }
    MF_ASSERT(held_count < HELD_MAX);
    held[held_count++] = mutex;
}

static void check_unlock(const struct mf_mutex *mutex)
{
    int i = held_count - 1;
    while (i >= 0 && held[i] != mutex) {
        i--;
    }
    MF_ASSERT(i >= 0 && "unlock of a mutex that this thread does not hold");
    held[i] = held[--held_count];
}

#else

static void check_lock(const struct mf_mutex *mutex)
{
    (void)mutex;
}

static void check_unlock(const struct mf_mutex *mutex)
{
    (void)mutex;
}

#endif

void mf_mutex_init(struct mf_mutex *mutex, enum mf_lock_rank rank)
{
    int rc = pthread_mutex_init(&mutex->m, NULL);
    MF_ASSERT(rc == 0);
    mutex->rank = (int)rank;
}

void mf_mutex_fini(struct mf_mutex *mutex)
{
    int rc = pthread_mutex_destroy(&mutex->m);
    MF_ASSERT(rc == 0);
}

void mf_mutex_lock(struct mf_mutex *mutex)
{
    check_lock(mutex);
    int rc = pthread_mutex_lock(&mutex->m);
    MF_ASSERT(rc == 0);
}

void mf_mutex_unlock(struct mf_mutex *mutex)
{
    check_unlock(mutex);
    int rc = pthread_mutex_unlock(&mutex->m);
    MF_ASSERT(rc == 0);
}

void mf_cond_init(struct mf_cond *cond)
{
    pthread_condattr_t attr;
    int rc = pthread_condattr_init(&attr);
    MF_ASSERT(rc == 0);
    rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    MF_ASSERT(rc == 0);
    rc = pthread_cond_init(&cond->c, &attr);
    MF_ASSERT(rc == 0);
    pthread_condattr_destroy(&attr);
}

void mf_cond_fini(struct mf_cond *cond)
{
    int rc = pthread_cond_destroy(&cond->c);
    MF_ASSERT(rc == 0);
}

void mf_cond_signal(struct mf_cond *cond)
{
    pthread_cond_signal(&cond->c);
}

void mf_cond_broadcast(struct mf_cond *cond)
{
    pthread_cond_broadcast(&cond->c);
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / MF_NS_PER_S),
                             .tv_nsec = (long)(ns % MF_NS_PER_S)};
}

bool mf_cond_wait(struct mf_cond *cond, struct mf_mutex *mutex, uint64_t deadline_ns)
{
    struct timespec until = timespec_of(deadline_ns);
    int rc = pthread_cond_timedwait(&cond->c, &mutex->m, &until);
    MF_ASSERT(rc == 0 || rc == ETIMEDOUT);
    return rc == 0;
}

/* All signals but those that a thread's own instruction raises: blocked, these kill the process
 * before the application's handler (a crash reporter) sees them. */
static void signals_to_block(sigset_t *set)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigfillset(set);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        sigdelset(set, faults[i]);
    }
}

int mf_thread_start(pthread_t *out, const char *name, void *(*fn)(void *), void *arg)
{
    sigset_t block;
    sigset_t old;
    signals_to_block(&block);
    pthread_sigmask(SIG_SETMASK, &block, &old);
    int rc = pthread_create(out, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) {
        return mf_err_sys(SMEM_NO_RESOURCES, rc,
                          "start thread %s: raise the limit of tasks (ulimit -u, pids.max)", name);
    }
    char short_name[THREAD_NAME_MAX];
    snprintf(short_name, sizeof(short_name), "%s", name);
    pthread_setname_np(*out, short_name); /* a convenience for top and gdb; may fail */
    return SMEM_OK;
}

void mf_thread_join(pthread_t thread)
{
    int rc = pthread_join(thread, NULL);
    MF_ASSERT(rc == 0);
}

pthread_t mf_thread_self(void)
{
    return pthread_self();
}

bool mf_thread_is_self(pthread_t thread)
{
    return pthread_equal(thread, pthread_self()) != 0;
}

void mf_thread_sleep_ns(uint64_t ns)
{
    struct timespec span = timespec_of(ns);
    nanosleep(&span, NULL);
}

void mf_thread_yield(void)
{
    sched_yield();
}

void mf_word_wait(_Atomic uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
    struct timespec until = timespec_of(deadline_ns);
    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen,
                  deadline_ns == UINT64_MAX ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

void mf_word_wake(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

bool mf_thread_barrier_register(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void mf_thread_barrier(void)
{
    long rc = syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    MF_ASSERT(rc == 0);
}
