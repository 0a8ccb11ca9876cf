// SPDX-License-Identifier: Apache-2.0
// The machine's clock, its queue of events, its choices and its digest, and the first broken
// promise. Everything that happens in a simulation happens in an event that sim_step runs.
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_NS  1000000000ull
#define SLOT_LATE UINT32_MAX /* the event is in its process's list of late ones */

struct sim_machine sim_machine;

/* ---- the machine ------------------------------------------------------------------------------
 */

void sim_open(const struct sim_cfg *cfg)
{
    MF_ASSERT(!sim_machine.open);
    static const uint64_t delays[] = {2000, 5000, 20000, 50000};
    static const uint32_t yields[] = {8, 32, 128, 512};
    struct sim_queue queue = sim_machine.queue;
    sim_fixed_reset();
    sim_machine = (struct sim_machine){
        .open = true,
        .verbose = cfg->verbose,
        .now = START_NS,
        .random = cfg->seed,
        .digest = cfg->seed,
        .queue = queue,
    };
    sim_machine.delay_ns = delays[sim_below(sizeof(delays) / sizeof(delays[0]))];
    sim_machine.yield_every = yields[sim_below(sizeof(yields) / sizeof(yields[0]))];
    sim_machine.yield_in = 1 + sim_machine.yield_every;
}

void sim_close(void)
{
    MF_ASSERT(sim_machine.open && !sim_machine.inside);
    for (struct sim_proc *p = sim_machine.first; p; p = p->next) {
        sim_proc_kill(p);
    }
    sim_procs_free();
    sim_loops_free();
    sim_machine_blocks_free();
    sim_queue_free(&sim_machine.queue);
    sim_machine.open = false;
    sim_machine.thread = NULL;
}

static void run(struct sim_event *event)
{
    event->at = 0;
    sim_machine.steps++;
    sim_note(event->proc ? event->proc->number : 0, sim_machine.now);
    sim_machine.proc = event->proc;
    sim_machine.inside = true;
    event->fn(event->arg);
    sim_machine.inside = false;
    sim_machine.proc = NULL;
}

static void put_late(struct sim_proc *proc, struct sim_event *event)
{
    event->slot = SLOT_LATE;
    event->next = NULL;
    if (proc->late_last) {
        proc->late_last->next = event;
    } else {
        proc->late_first = event;
    }
    proc->late_last = event;
}

bool sim_step(void)
{
    struct sim_event *event;
    while (!sim_machine.broken && (event = sim_queue_first(&sim_machine.queue))) {
        sim_queue_take(&sim_machine.queue, event);
        sim_machine.now = event->at;
        if (!event->proc || event->proc->state == SIM_RUNNING) {
            run(event);
            return !sim_machine.broken;
        }
        put_late(event->proc, event);
    }
    if (!sim_machine.broken) {
        sim_threads_judge();
    }
    return false;
}

uint64_t sim_now(void)
{
    return sim_machine.now;
}

uint64_t sim_steps(void)
{
    return sim_machine.steps;
}

uint64_t sim_digest(void)
{
    return sim_machine.digest;
}

void sim_note(uint64_t what, uint64_t value)
{
    uint64_t d = sim_machine.digest;
    d = (d ^ what) * 0x9e3779b97f4a7c15ull;
    d = ((d ^ (d >> 32)) + value) * 0xd6e8feb86659fd93ull;
    sim_machine.digest = d ^ (d >> 29);
}

bool sim_verbose(void)
{
    return sim_machine.verbose;
}

void sim_say(const char *fmt, ...)
{
    if (!sim_machine.verbose) {
        return;
    }
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    unsigned long long ns = sim_machine.now - START_NS;
    printf("[%5llu.%06llu ms] %s: %s\n", ns / MF_NS_PER_MS, ns % MF_NS_PER_MS,
           sim_machine.proc ? sim_machine.proc->name : "machine", text);
}

void sim_broken(const char *oracle, const char *fmt, ...)
{
    if (sim_machine.broken) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    vsnprintf(sim_machine.text, sizeof(sim_machine.text), fmt, args);
    va_end(args);
    sim_machine.broken = oracle;
    sim_say("BROKEN %s: %s", oracle, sim_machine.text);
}

const char *sim_broken_oracle(void)
{
    return sim_machine.broken;
}

const char *sim_broken_text(void)
{
    return sim_machine.text;
}

/* ---- choices ----------------------------------------------------------------------------------
 */

uint64_t sim_random(void)
{
    return sim_stream_next(&sim_machine.random);
}

uint64_t sim_below(uint64_t n)
{
    MF_ASSERT(n > 0);
    return (uint64_t)(((unsigned __int128)sim_random() * n) >> 64);
}

bool sim_chance(uint32_t of, uint32_t in)
{
    return sim_below(in) < of;
}

/* Mostly below delay_ns, now and then eight times as much, seldom 128 times. */
uint64_t sim_wake_delay(const struct sim_proc *proc)
{
    uint64_t r = sim_random();
    uint64_t delay = ((r & UINT32_MAX) * sim_machine.delay_ns) >> 32;
    uint32_t roll = (uint32_t)(r >> 32) & 1023;
    if (roll == 0) {
        delay *= 128;
    } else if (roll < 32) {
        delay *= 8;
    }
    return delay * proc->slow;
}

/* ---- events -----------------------------------------------------------------------------------
 */

void sim_event_init(struct sim_event *event, struct sim_proc *proc, void (*fn)(void *arg),
                    void *arg)
{
    *event = (struct sim_event){.proc = proc, .fn = fn, .arg = arg};
}

void sim_event_set(struct sim_event *event, uint64_t at_ns)
{
    sim_event_cancel(event);
    if (at_ns == UINT64_MAX || (event->proc && event->proc->state == SIM_ENDED)) {
        return;
    }
    event->at = at_ns > sim_machine.now ? at_ns : sim_machine.now;
    event->number = ++sim_machine.number;
    sim_queue_put(&sim_machine.queue, event);
}

static void take_late(struct sim_proc *proc, struct sim_event *event)
{
    struct sim_event *before = NULL;
    struct sim_event *e = proc->late_first;
    while (e != event) {
        before = e;
        e = e->next;
    }
    if (before) {
        before->next = event->next;
    } else {
        proc->late_first = event->next;
    }
    if (proc->late_last == event) {
        proc->late_last = before;
    }
}

void sim_event_cancel(struct sim_event *event)
{
    if (!event->at) {
        return;
    }
    if (event->slot == SLOT_LATE) {
        take_late(event->proc, event);
    } else {
        sim_queue_take(&sim_machine.queue, event);
    }
    event->at = 0;
}

void sim_drop_events(struct sim_proc *proc)
{
    sim_queue_drop(&sim_machine.queue, proc);
    while (proc->late_first) {
        sim_event_cancel(proc->late_first);
    }
}

void sim_release_events(struct sim_proc *proc)
{
    struct sim_event *event = proc->late_first;
    proc->late_first = NULL;
    proc->late_last = NULL;
    while (event) {
        struct sim_event *next = event->next;
        event->at = 0;
        bool is_thread = event->fn == sim_thread_run;
        sim_event_set(event, sim_later(sim_machine.now, is_thread ? sim_wake_delay(proc) : 0));
        event = next;
    }
}
