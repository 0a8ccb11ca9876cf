// SPDX-License-Identifier: Apache-2.0
// base/thread.h on coroutines: a thread that waits stands in a list of whoever will wake it and has
// an event for its deadline. Locks are checked always: their order, their owner, and cycles.
#include "machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_LISTS   1024u /* a power of two */
#define PASS_NS      2000u /* a thread that lets others run waits about so long */
#define EARLY_IN     256u  /* of so many waits, one ends for no reason */
#define NOBODY_LOOKS 64u   /* locks in a cycle that is looked for */

/** What a mutex and a condition are, in the place of the system's. */
struct lock {
    struct sim_thread *owner;
    struct sim_waiters waiters;
};
struct condition {
    struct sim_waiters waiters;
};
_Static_assert(sizeof(struct lock) <= sizeof(pthread_mutex_t), "a mutex holds a lock");
_Static_assert(sizeof(struct condition) <= sizeof(pthread_cond_t), "a condition holds a list");

static struct sim_thread *pool; /* structs that nobody uses */
static struct sim_thread on_machine = {.name = "machine"};
static struct sim_waiters words[WORD_LISTS]; /* by address; the order in a list is that of time */

static struct lock *lock_of(const struct mf_mutex *mutex)
{
    return (struct lock *)(uintptr_t)&mutex->m;
}

static struct condition *condition_of(const struct mf_cond *cond)
{
    return (struct condition *)(uintptr_t)&cond->c;
}

static struct sim_thread *self(void)
{
    return sim_machine.thread ? sim_machine.thread : &on_machine;
}

static const char *owner_name(const struct sim_thread *thread)
{
    return thread->proc ? thread->proc->name : "machine";
}

/* ---- waiting ----------------------------------------------------------------------------------
 */

static void join_list(struct sim_waiters *list, struct sim_thread *thread)
{
    thread->among = list;
    thread->wait_next = NULL;
    thread->wait_prev = list->last;
    if (list->last) {
        list->last->wait_next = thread;
    } else {
        list->first = thread;
    }
    list->last = thread;
}

static void leave_list(struct sim_thread *thread)
{
    struct sim_waiters *list = thread->among;
    if (!list) {
        return;
    }
    if (thread->wait_prev) {
        thread->wait_prev->wait_next = thread->wait_next;
    } else {
        list->first = thread->wait_next;
    }
    if (thread->wait_next) {
        thread->wait_next->wait_prev = thread->wait_prev;
    } else {
        list->last = thread->wait_prev;
    }
    thread->among = NULL;
}

bool sim_thread_wait(enum sim_wait wait, const void *wait_for, struct sim_waiters *among,
                     uint64_t at_ns)
{
    struct sim_thread *thread = sim_machine.thread;
    MF_ASSERT(thread && "an event of the machine must not wait");
    thread->wait = wait;
    thread->wait_for = wait_for;
    join_list(among, thread);
    if (at_ns != UINT64_MAX) {
        uint64_t at = at_ns > sim_machine.now ? at_ns : sim_machine.now;
        sim_event_set(&thread->wake, sim_later(at, sim_wake_delay(thread->proc)));
    }
    sim_co_park();
    bool woken = !thread->among;
    leave_list(thread);
    thread->wait = SIM_WAIT_NOT;
    return woken;
}

void sim_thread_ready(struct sim_thread *thread)
{
    leave_list(thread);
    uint64_t at = sim_later(sim_machine.now, sim_wake_delay(thread->proc));
    if (!thread->wake.at || thread->wake.at > at) {
        sim_event_set(&thread->wake, at);
    }
}

/* Go on at about that time. */
static void wait_until(uint64_t at_ns)
{
    struct sim_waiters alone = {0};
    (void)sim_thread_wait(SIM_WAIT_NOT, NULL, &alone, at_ns);
}

void sim_thread_pass(void)
{
    struct sim_thread *thread = sim_machine.thread;
    if (thread) {
        wait_until(sim_later(sim_machine.now, 1 + sim_below(PASS_NS) * thread->proc->slow));
    }
}

void sim_yield(void)
{
    if (sim_machine.thread && --sim_machine.yield_in == 0) {
        sim_machine.yield_in = 1 + (uint32_t)sim_below(2ull * sim_machine.yield_every);
        sim_thread_pass();
    }
}

/* ---- locks ------------------------------------------------------------------------------------
 */

static void check_order(const struct sim_thread *thread, const struct mf_mutex *mutex)
{
    for (uint32_t i = 0; i < thread->held_count; i++) {
        if (thread->held[i]->rank >= mutex->rank) {
            sim_broken("lock-order", "thread %s of %s holds a lock of rank %d and takes one of %d",
                       thread->name, owner_name(thread), thread->held[i]->rank, mutex->rank);
        }
    }
}

static void note_held(struct sim_thread *thread, const struct mf_mutex *mutex)
{
    MF_ASSERT(thread->held_count < SIM_LOCKS_HELD_MAX);
    thread->held[thread->held_count++] = mutex;
}

static void note_released(struct sim_thread *thread, const struct mf_mutex *mutex)
{
    uint32_t i = thread->held_count;
    while (i > 0 && thread->held[i - 1] != mutex) {
        i--;
    }
    if (i > 0) {
        thread->held[i - 1] = thread->held[--thread->held_count];
    }
}

/* The owner of what the owner of the lock waits for, and so on, is the one who asks. */
static bool is_cycle(const struct sim_thread *thread, const struct lock *lock)
{
    for (uint32_t i = 0; i < NOBODY_LOOKS && lock->owner; i++) {
        const struct sim_thread *owner = lock->owner;
        if (owner == thread) {
            return true;
        }
        if (owner->wait != SIM_WAIT_MUTEX) {
            return false;
        }
        lock = lock_of(owner->wait_for);
    }
    return false;
}

void mf_mutex_init(struct mf_mutex *mutex, enum mf_lock_rank rank)
{
    memset(&mutex->m, 0, sizeof(mutex->m));
    mutex->rank = (int)rank;
}

void mf_mutex_fini(struct mf_mutex *mutex)
{
    const struct lock *lock = lock_of(mutex);
    if (lock->owner || lock->waiters.first) {
        sim_broken("lock-misuse", "a lock of rank %d is destroyed while thread %s holds it",
                   mutex->rank, lock->owner ? lock->owner->name : "nobody");
    }
}

static void take_lock(struct sim_thread *thread, struct mf_mutex *mutex)
{
    struct lock *lock = lock_of(mutex);
    while (lock->owner) {
        MF_ASSERT(thread != &on_machine && "an event of the machine must not wait for a lock");
        if (is_cycle(thread, lock)) {
            sim_broken("deadlock", "thread %s of %s waits for a lock of rank %d that it holds up",
                       thread->name, owner_name(thread), mutex->rank);
        }
        (void)sim_thread_wait(SIM_WAIT_MUTEX, mutex, &lock->waiters, UINT64_MAX);
    }
    lock->owner = thread;
    note_held(thread, mutex);
}

static void give_lock(struct sim_thread *thread, struct mf_mutex *mutex)
{
    struct lock *lock = lock_of(mutex);
    if (lock->owner != thread) {
        sim_broken("lock-misuse", "thread %s of %s gives a lock of rank %d that it does not hold",
                   thread->name, owner_name(thread), mutex->rank);
        return;
    }
    note_released(thread, mutex);
    lock->owner = NULL;
    if (lock->waiters.first) {
        sim_thread_ready(lock->waiters.first);
    }
}

void mf_mutex_lock(struct mf_mutex *mutex)
{
    sim_yield();
    struct sim_thread *thread = self();
    check_order(thread, mutex);
    take_lock(thread, mutex);
}

void mf_mutex_unlock(struct mf_mutex *mutex)
{
    give_lock(self(), mutex);
    sim_yield();
}

/* ---- conditions -------------------------------------------------------------------------------
 */

void mf_cond_init(struct mf_cond *cond)
{
    memset(&cond->c, 0, sizeof(cond->c));
}

void mf_cond_fini(struct mf_cond *cond)
{
    const struct sim_thread *waiter = condition_of(cond)->waiters.first;
    if (waiter) {
        sim_broken("lock-misuse", "a condition is destroyed while thread %s of %s waits for it",
                   waiter->name, owner_name(waiter));
    }
}

void mf_cond_signal(struct mf_cond *cond)
{
    struct sim_waiters *waiters = &condition_of(cond)->waiters;
    if (waiters->first) {
        bool newest = waiters->first != waiters->last && sim_chance(1, 4);
        sim_thread_ready(newest ? waiters->last : waiters->first);
    }
}

void mf_cond_broadcast(struct mf_cond *cond)
{
    struct sim_waiters *waiters = &condition_of(cond)->waiters;
    while (waiters->first) {
        sim_thread_ready(waiters->first);
    }
}

/* Waits end for no reason now and then, before the deadline. */
static uint64_t maybe_early(uint64_t deadline_ns)
{
    if (!sim_chance(1, EARLY_IN)) {
        return deadline_ns;
    }
    uint64_t early_ns = sim_later(sim_machine.now, sim_below(MF_NS_PER_MS));
    return early_ns < deadline_ns ? early_ns : deadline_ns;
}

bool mf_cond_wait(struct mf_cond *cond, struct mf_mutex *mutex, uint64_t deadline_ns)
{
    struct sim_thread *thread = sim_machine.thread;
    MF_ASSERT(thread && "an event of the machine must not wait for a condition");
    give_lock(thread, mutex);
    bool woken = sim_thread_wait(SIM_WAIT_COND, cond, &condition_of(cond)->waiters,
                                 maybe_early(deadline_ns));
    bool in_time = woken || sim_machine.now < deadline_ns;
    take_lock(thread, mutex);
    return in_time;
}

/* ---- words ------------------------------------------------------------------------------------
 */

static struct sim_waiters *waiters_of(const _Atomic uint32_t *word)
{
    uint64_t hash = ((uint64_t)(uintptr_t)word >> 2) * 0x9e3779b97f4a7c15ull;
    return &words[hash >> 54 & (WORD_LISTS - 1)];
}

void mf_word_wait(_Atomic uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
    sim_yield();
    if (atomic_load(word) == seen) {
        (void)sim_thread_wait(SIM_WAIT_WORD, (const void *)word, waiters_of(word),
                              maybe_early(deadline_ns));
    }
}

void mf_word_wake(_Atomic uint32_t *word)
{
    sim_yield();
    struct sim_thread *thread = waiters_of(word)->first;
    while (thread) {
        struct sim_thread *next = thread->wait_next;
        if (thread->wait_for == (const void *)word) {
            sim_thread_ready(thread);
        }
        thread = next;
    }
}

/* ---- threads ----------------------------------------------------------------------------------
 */

void sim_thread_run(void *arg)
{
    struct sim_thread *thread = arg;
    sim_machine.thread = thread;
    sim_machine.looks_at_clock = 0;
    mf_err_use(&thread->err);
    errno = thread->kept_errno;
    sim_co_resume(&thread->co);
    thread->kept_errno = errno;
    mf_err_use(NULL);
    sim_machine.thread = NULL;
    if (!thread->ended) {
        return;
    }
    sim_co_drop(&thread->co);
    struct sim_proc *proc = thread->proc;
    if (thread == proc->main) {
        sim_thread_free(thread);
        sim_proc_returned(proc);
    } else if (thread->joiner) {
        sim_thread_ready(thread->joiner);
    }
}

static void thread_main(void *arg)
{
    struct sim_thread *thread = arg;
    thread->fn(thread->arg);
    if (thread->held_count) {
        sim_broken("lock-misuse", "thread %s of %s ends and holds a lock of rank %d", thread->name,
                   owner_name(thread), thread->held[0]->rank);
    }
    thread->ended = true;
    sim_co_park();
}

static struct sim_thread *take_struct(void)
{
    struct sim_thread *thread = pool;
    if (thread) {
        pool = thread->next;
    } else {
        thread = malloc(sizeof(*thread));
        MF_ASSERT(thread);
    }
    /* All but the text of the error: most never have one. */
    memset(thread, 0, offsetof(struct sim_thread, err));
    thread->err.rec.code = SMEM_OK;
    thread->err.rec.msg[0] = '\0';
    thread->err.taken = false;
    return thread;
}

struct sim_thread *sim_thread_create(struct sim_proc *proc, const char *name, void *(*fn)(void *),
                                     void *arg)
{
    struct sim_thread *thread = take_struct();
    thread->proc = proc;
    thread->id = ++sim_machine.threads;
    thread->fn = fn;
    thread->arg = arg;
    snprintf(thread->name, sizeof(thread->name), "%s", name);
    thread->prev = proc->last;
    if (proc->last) {
        proc->last->next = thread;
    } else {
        proc->first = thread;
    }
    proc->last = thread;
    sim_co_create(&thread->co, thread_main, thread);
    sim_event_init(&thread->wake, proc, sim_thread_run, thread);
    sim_event_set(&thread->wake, sim_later(sim_machine.now, sim_wake_delay(proc)));
    return thread;
}

void sim_thread_free(struct sim_thread *thread)
{
    struct sim_proc *proc = thread->proc;
    leave_list(thread);
    sim_event_cancel(&thread->wake);
    if (thread->prev) {
        thread->prev->next = thread->next;
    } else {
        proc->first = thread->next;
    }
    if (thread->next) {
        thread->next->prev = thread->prev;
    } else {
        proc->last = thread->prev;
    }
    sim_co_drop(&thread->co);
    thread->next = pool;
    pool = thread;
}

struct sim_thread *sim_thread_find(const struct sim_proc *proc, uint64_t id)
{
    struct sim_thread *thread = proc->first;
    while (thread && thread->id != id) {
        thread = thread->next;
    }
    return thread;
}

int mf_thread_start(pthread_t *out, const char *name, void *(*fn)(void *), void *arg)
{
    MF_ASSERT(sim_machine.proc && "the machine itself has no threads");
    if (sim_starves()) {
        return mf_err_sys(SMEM_NO_RESOURCES, EAGAIN,
                          "start thread %s: raise the limit of tasks (ulimit -u, pids.max)", name);
    }
    *out = (pthread_t)sim_thread_create(sim_machine.proc, name, fn, arg)->id;
    sim_yield();
    return SMEM_OK;
}

void mf_thread_join(pthread_t thread)
{
    MF_ASSERT(sim_machine.thread && "an event of the machine must not wait for a thread");
    struct sim_thread *other = sim_thread_find(sim_machine.proc, (uint64_t)thread);
    if (!other || other->joiner || other == sim_machine.thread) {
        sim_broken("lock-misuse", "thread %s of %s joins a thread that cannot be joined",
                   self()->name, owner_name(self()));
        return;
    }
    other->joiner = sim_machine.thread;
    while (!other->ended) {
        struct sim_waiters alone = {0};
        (void)sim_thread_wait(SIM_WAIT_JOIN, other, &alone, UINT64_MAX);
    }
    sim_thread_free(other);
}

pthread_t mf_thread_self(void)
{
    return (pthread_t)(sim_machine.thread ? sim_machine.thread->id : 0);
}

bool mf_thread_is_self(pthread_t thread)
{
    return (uint64_t)thread == (uint64_t)mf_thread_self();
}

void mf_thread_sleep_ns(uint64_t ns)
{
    wait_until(sim_later(sim_machine.now, ns));
}

void mf_thread_yield(void)
{
    sim_thread_pass();
}

bool mf_thread_barrier_register(void)
{
    return true;
}

void mf_thread_barrier(void)
{
    sim_yield();
}

/* ---- the end ----------------------------------------------------------------------------------
 */

void sim_threads_judge(void)
{
    static const char *const what[] = {
        [SIM_WAIT_NOT] = "nothing", [SIM_WAIT_MUTEX] = "a lock",  [SIM_WAIT_COND] = "a condition",
        [SIM_WAIT_WORD] = "a word", [SIM_WAIT_JOIN] = "a thread", [SIM_WAIT_CALL] = "a loop",
    };
    for (const struct sim_proc *proc = sim_machine.first; proc; proc = proc->next) {
        const struct sim_thread *thread = proc->state == SIM_RUNNING ? proc->first : NULL;
        for (; thread; thread = thread->next) {
            if (!thread->ended && thread->wait != SIM_WAIT_IDLE) {
                sim_broken("deadlock", "nothing is left to run, and thread %s of %s waits for %s",
                           thread->name, proc->name, what[thread->wait]);
                return;
            }
        }
    }
}
