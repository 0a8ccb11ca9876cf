// SPDX-License-Identifier: Apache-2.0
// The system's clock, randomness, identity, sleep and threads: whoever asks for them while an event
// runs would make the run depend on more than the seed, and the program ends with its name.
// Outside of events (the tool itself, the test library) the system answers.
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

#define PAGE_BYTES 4096

static void refuse(const char *name)
{
    if (sim_machine.inside) {
        const struct sim_proc *proc = sim_machine.proc;
        fprintf(stderr, "simulation: %s called %s, which is not of the simulation\n",
                proc ? proc->name : "the machine", name);
        abort();
    }
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    refuse("clock_gettime");
    return (int)syscall(SYS_clock_gettime, clock, out);
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    refuse("gettimeofday");
    struct timespec now;
    (void)zone;
    (void)syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    *out = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out)
{
    refuse("time");
    struct timespec now;
    (void)syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    if (out) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}

ssize_t getrandom(void *buf, size_t len, unsigned flags)
{
    refuse("getrandom");
    return syscall(SYS_getrandom, buf, len, flags);
}

pid_t getpid(void)
{
    refuse("getpid");
    return (pid_t)syscall(SYS_getpid);
}

int nanosleep(const struct timespec *span, struct timespec *left)
{
    refuse("nanosleep");
    return (int)syscall(SYS_nanosleep, span, left);
}

/* The system's own function of this name, for the callers outside of events. */
static void *system_own(const char *name)
{
    refuse(name);
    void *fn = dlsym(RTLD_NEXT, name);
    MF_ASSERT(fn);
    return fn;
}

int usleep(useconds_t us)
{
    int (*own)(useconds_t) = system_own("usleep");
    return own(us);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *span, struct timespec *left)
{
    int (*own)(clockid_t, int, const struct timespec *, struct timespec *) =
        system_own("clock_nanosleep");
    return own(clock, flags, span, left);
}

int sched_yield(void)
{
    int (*own)(void) = system_own("sched_yield");
    return own();
}

int rand(void)
{
    int (*own)(void) = system_own("rand");
    return own();
}

long random(void)
{
    long (*own)(void) = system_own("random");
    return own();
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    int (*own)(struct pollfd *, nfds_t, int) = system_own("poll");
    return own(fds, count, timeout_ms);
}

int epoll_wait(int epoll, struct epoll_event *events, int count, int timeout_ms)
{
    int (*own)(int, struct epoll_event *, int, int) = system_own("epoll_wait");
    return own(epoll, events, count, timeout_ms);
}

int eventfd(unsigned count, int flags)
{
    int (*own)(unsigned, int) = system_own("eventfd");
    return own(count, flags);
}

int socket(int domain, int type, int protocol)
{
    int (*own)(int, int, int) = system_own("socket");
    return own(domain, type, protocol);
}

int memfd_create(const char *name, unsigned flags)
{
    int (*own)(const char *, unsigned) = system_own("memfd_create");
    return own(name, flags);
}

/* How many processors a host has is a property of the host: mostly one, on which nobody looks for
 * long what another thread does. */
static uint32_t processors(const struct sim_proc *proc)
{
    return proc->host % 4 == 3 ? 4 : 1;
}

int sched_getaffinity(pid_t pid, size_t bytes, cpu_set_t *set)
{
    const struct sim_proc *proc = sim_machine.inside ? sim_machine.proc : NULL;
    if (!proc) {
        int (*own)(pid_t, size_t, cpu_set_t *) = system_own("sched_getaffinity");
        return own(pid, bytes, set);
    }
    memset(set, 0, bytes);
    for (uint32_t i = 0; i < processors(proc); i++) {
        CPU_SET_S(i, bytes, set);
    }
    return 0;
}

long sysconf(int name)
{
    if (name == _SC_PAGESIZE) {
        return sim_machine.inside ? PAGE_BYTES : (long)getauxval(AT_PAGESZ);
    }
    if (name == _SC_NPROCESSORS_ONLN && sim_machine.inside && sim_machine.proc) {
        return processors(sim_machine.proc);
    }
    long (*own)(int) = system_own("sysconf");
    return own(name);
}

/* The sanitizers have their own of these, which must be reached. */
#ifndef SIM_SANITIZED
int pthread_create(pthread_t *restrict out, const pthread_attr_t *restrict attr,
                   void *(*fn)(void *), void *restrict arg)
{
    int (*own)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
        system_own("pthread_create");
    return own(out, attr, fn, arg);
}

int pthread_join(pthread_t thread, void **out)
{
    int (*own)(pthread_t, void **) = system_own("pthread_join");
    return own(thread, out);
}

int pthread_detach(pthread_t thread)
{
    int (*own)(pthread_t) = system_own("pthread_detach");
    return own(thread);
}

int pthread_cond_wait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex)
{
    int (*own)(pthread_cond_t *, pthread_mutex_t *) = system_own("pthread_cond_wait");
    return own(cond, mutex);
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    int (*own)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *) =
        system_own("pthread_cond_timedwait");
    return own(cond, mutex, until);
}
#endif
