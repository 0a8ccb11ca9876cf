// SPDX-License-Identifier: Apache-2.0
// What the parts of the machine know of each other: the structs of processes and threads, and who
// runs at the moment. Used by the files of the machine only; all others use sim.h.
#ifndef MF_SIM_MACHINE_H
#define MF_SIM_MACHINE_H

#include "base/err.h"
#include "base/thread.h"
#include "coroutine.h"
#include "queue.h"
#include "sim.h"

#define SIM_LOCKS_HELD_MAX 16u

struct sim_block;

/** Threads that wait for the same thing, in the order in which they began to. */
struct sim_waiters {
    struct sim_thread *first, *last;
};

/** What a thread is doing; one that does not wait runs or is about to. */
enum sim_wait {
    SIM_WAIT_NOT,
    SIM_WAIT_MUTEX,
    SIM_WAIT_COND,
    SIM_WAIT_WORD,
    SIM_WAIT_JOIN,
    SIM_WAIT_CALL, /* mf_loop_call */
    SIM_WAIT_IDLE, /* a loop that has nothing to do */
};

struct sim_thread {
    struct sim_co co;
    struct sim_event wake; /* when it goes on; also its deadline */
    struct sim_proc *proc;
    uint64_t id; /* its pthread_t: never used twice */
    void *(*fn)(void *arg);
    void *arg;
    enum sim_wait wait;
    const void *wait_for;      /* the mutex, condition or word */
    struct sim_waiters *among; /* NULL: woken */
    struct sim_thread *wait_prev, *wait_next;
    struct sim_thread *joiner;
    bool ended;
    int kept_errno;
    const struct mf_mutex *held[SIM_LOCKS_HELD_MAX];
    uint32_t held_count;
    struct sim_thread *prev, *next; /* of its process; `next` also in the pool */
    char name[16];
    struct mf_err_slot err;
};

struct sim_proc {
    char name[32];
    uint32_t number, host, pid;
    enum sim_proc_state state;
    void (*fn)(void *arg);
    void *arg;
    struct mf_env env;
    uint64_t random;                 /* state of its own stream */
    struct sim_thread *first, *last; /* in the order of their start */
    struct sim_thread *main;         /* NULL: has ended */
    struct mf_loop *loops;           /* newest first */
    struct sim_event *late_first;    /* events whose time came while it was stopped */
    struct sim_event *late_last;
    struct sim_block *blocks_first, *blocks_last;
    uint64_t blocks;
    uint32_t starve_skip, starve_count, starved;
    uint32_t slow;
    uint64_t stopped_at_ns, stopped_ns;
    struct sim_hook *hook_first, *hook_last;
    struct sim_proc *next; /* in the order of their start */
};

/** There is one. */
struct sim_machine {
    bool open, verbose;
    bool inside; /* an event runs */
    uint64_t now, number, steps, digest;
    uint64_t random;
    uint64_t delay_ns;         /* most wake-ups take less */
    uint32_t yield_in;         /* so many chances to yield until the next one that is taken */
    uint32_t yield_every;      /* about */
    uint32_t looks_at_clock;   /* in a row by a thread that does nothing else */
    struct sim_queue queue;    /* of events */
    struct sim_proc *proc;     /* whose thread or event runs */
    struct sim_thread *thread; /* that runs; NULL: the machine's stack */
    struct sim_proc *first, *last;
    uint32_t procs;
    uint64_t threads; /* ids given */
    struct mf_loop *dead_loops;
    const char *broken;
    char text[512];
};
extern struct sim_machine sim_machine;

/* machine.c */

/** The next number of a stream (splitmix64). */
static inline uint64_t sim_stream_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}
/** How long it takes until a thread that may run does. */
uint64_t sim_wake_delay(const struct sim_proc *proc);
/** `at` and so much later, at most UINT64_MAX - 1. */
static inline uint64_t sim_later(uint64_t at, uint64_t delay)
{
    return at >= UINT64_MAX - 1 - delay ? UINT64_MAX - 1 : at + delay;
}
/** Drop every event of the process. */
void sim_drop_events(struct sim_proc *proc);
/** The process goes on: what has come due in the meantime is due now. */
void sim_release_events(struct sim_proc *proc);

/* process.c */

/** Its first thread has returned. On the machine's stack. */
void sim_proc_returned(struct sim_proc *proc);
void sim_procs_free(void);

/* env.c */

void sim_env_init(struct sim_proc *proc);

/* threads.c */

/** A thread that begins to run soon. */
struct sim_thread *sim_thread_create(struct sim_proc *proc, const char *name, void *(*fn)(void *),
                                     void *arg);
/** Wherever it is: it does not go on. */
void sim_thread_free(struct sim_thread *thread);
/** What its wake event does: it goes on. `arg` is the thread. */
void sim_thread_run(void *arg);
/** The calling thread waits until sim_thread_ready, or until `at_ns` (UINT64_MAX: never) and a
 * little. True: until sim_thread_ready. */
bool sim_thread_wait(enum sim_wait wait, const void *wait_for, struct sim_waiters *among,
                     uint64_t at_ns);
/** Let a thread that waits go on soon. */
void sim_thread_ready(struct sim_thread *thread);
/** Give others their turn, whatever the chance. */
void sim_thread_pass(void);
/** Nothing is left to run: say who waits for what will never come. */
void sim_threads_judge(void);
struct sim_thread *sim_thread_find(const struct sim_proc *proc, uint64_t id);

/* loop.c */

/** The process has ended: nothing is run on its loops any more. */
void sim_loops_end(struct sim_proc *proc);
void sim_loops_free(void);

/* alloc.c */

void sim_blocks_free(struct sim_proc *proc);
/** The names of the blocks that the process has, the first ones, in `buf`. */
void sim_blocks_name(const struct sim_proc *proc, char *buf, size_t len);
/** Those of the machine itself. */
void sim_machine_blocks_free(void);
/** Nobody needs what sim_fixed gave any more. */
void sim_fixed_reset(void);
/** An allocation (or a start of a thread) of the process that runs is to fail. */
bool sim_starves(void);

#endif
