// SPDX-License-Identifier: Apache-2.0
// The machine on which everything simulated runs: a virtual clock, events in order of time,
// coroutines in place of threads, processes that can be killed, stopped and continued. One seed
// decides every choice. There is one machine at a time in a program.
#ifndef MF_SIM_SIM_H
#define MF_SIM_SIM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/loop.h"

struct sim_proc;

/* ---- the machine (machine.c) ---- */

struct sim_cfg {
    uint64_t seed;
    bool verbose; /* sim_say prints */
};
void sim_open(const struct sim_cfg *cfg);
/** Kill what still lives and free everything. */
void sim_close(void);
/** Run the next event; false: there is none, or a promise was broken. */
bool sim_step(void);
/** Virtual nanoseconds; begins at 1 s, so that 0 is never a time. */
uint64_t sim_now(void);
/** Events run so far. */
uint64_t sim_steps(void);
/** Of everything that has happened: equal for equal runs. */
uint64_t sim_digest(void);
/** Something has happened: goes into the digest. */
void sim_note(uint64_t what, uint64_t value);
/** A line of the story, when it is wanted: "[   12.345678 ms] rank3.2: ...". */
void sim_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool sim_verbose(void);
/** A promise is broken: the first one is kept, and the run ends with the event that runs. `oracle`
 * is the short name of the promise ("late-landing"), one of those that docs/failure.md lists. */
void sim_broken(const char *oracle, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** NULL: all promises are kept so far. */
const char *sim_broken_oracle(void);
const char *sim_broken_text(void);

/* ---- choices: one stream, used in the order of events ---- */

uint64_t sim_random(void);
uint64_t sim_below(uint64_t n); /* n > 0 */
bool sim_chance(uint32_t of, uint32_t in);

/* ---- events ---- */

/** Part of whoever waits for it; not in the queue while `at` is 0. Its function runs on the
 * machine's own stack and must not block (mutexes, conditions, sleeps: never). */
struct sim_event {
    uint64_t at, number;
    uint32_t slot;         /* in the queue */
    struct sim_proc *proc; /* its function is called when the process runs; it is dropped when that
                              has ended; NULL: the machine's */
    void (*fn)(void *arg);
    void *arg;
    struct sim_event *next; /* while its process is stopped */
};
void sim_event_init(struct sim_event *event, struct sim_proc *proc, void (*fn)(void *arg),
                    void *arg);
/** Replaces the time that was set; a time that has passed is now, UINT64_MAX is never. Nothing when
 * its process has ended. */
void sim_event_set(struct sim_event *event, uint64_t at_ns);
void sim_event_cancel(struct sim_event *event);

/* ---- processes (process.c) ---- */

enum sim_proc_state { SIM_RUNNING, SIM_STOPPED, SIM_ENDED };

/** A process whose first thread runs fn(arg); it has ended when fn returns: all its threads must
 * have ended by then, and its memory been given back (a broken promise otherwise, "leak"). `host`
 * is a number from 0. The struct stays until sim_close. */
struct sim_proc *sim_proc_start(const char *name, uint32_t host, void (*fn)(void *arg), void *arg);
/** As by SIGKILL: its threads stop where they are, its memory is freed, hooks are called. From an
 * event of the machine, not by one of its own threads. Nothing when it has ended. */
void sim_proc_kill(struct sim_proc *proc);
/** As by SIGSTOP and SIGCONT. Events and wake-ups wait. */
void sim_proc_stop(struct sim_proc *proc);
void sim_proc_continue(struct sim_proc *proc);
enum sim_proc_state sim_proc_state(const struct sim_proc *proc);
/** The process whose thread or event runs; NULL: the machine's. */
struct sim_proc *sim_proc_self(void);
const struct mf_env *sim_proc_env(struct sim_proc *proc);
const char *sim_proc_name(const struct sim_proc *proc);
uint32_t sim_proc_pid(const struct sim_proc *proc);
uint32_t sim_proc_host(const struct sim_proc *proc);
/** Of the whole time that it has existed, how much it was stopped: deadlines of its calls are
 * judged without it. */
uint64_t sim_proc_stopped_ns(const struct sim_proc *proc);
/** How much slower than others: every wake-up takes so many times longer; 1 at first. */
void sim_proc_slow(struct sim_proc *proc, uint32_t factor);

/** Called once when the process has ended, for whatever reason, on the machine's stack: its threads
 * and events are gone, its memory (in which the hook may lie) is freed afterwards. */
struct sim_hook {
    void (*fn)(void *arg);
    void *arg;
    struct sim_hook *prev, *next;
};
void sim_proc_hook(struct sim_proc *proc, struct sim_hook *hook);
void sim_proc_unhook(struct sim_proc *proc, struct sim_hook *hook);

/* ---- threads (threads.c): base/thread.h, and ---- */

/** A point at which another thread may get its turn: the machine decides by chance. In the locks
 * already; model code calls it where real code could be interrupted with an effect. */
void sim_yield(void);

/* ---- loops (loop.c): base/loop.h, and ---- */

/** Something that a loop is to look at, raised by the machine (a socket is readable). Part of
 * whoever owns it. */
struct sim_source {
    void (*fn)(void *arg); /* on the loop's thread */
    void *arg;
    bool raised;
    struct sim_source *next;
};
/** Run source->fn on the loop's thread soon; once until it has run. From any stack. */
void sim_loop_raise(struct mf_loop *loop, struct sim_source *source);
/** It is not run any more. From any stack, also when the process has ended. */
void sim_loop_forget(struct mf_loop *loop, struct sim_source *source);

/* ---- memory (alloc.c): base/alloc.h with a list for each process, and ---- */

/** Zeroed memory whose address depends on nothing but what was asked for before: for buffers that
 * the library orders by address. Stays until the next sim_open; not freed before. */
void *sim_fixed(size_t bytes);
/** Blocks of the library that the process has. */
uint64_t sim_proc_blocks(const struct sim_proc *proc);
/** After `skip` more allocations, `count` of them in a row fail. Starts of threads count as ones.
 */
void sim_proc_starve(struct sim_proc *proc, uint32_t skip, uint32_t count);
/** How many allocations of it have failed since the last call. */
uint32_t sim_proc_starved(struct sim_proc *proc);

#endif
