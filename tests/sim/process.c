// SPDX-License-Identifier: Apache-2.0
// Processes: how they start, are stopped, killed, or end. What a process has (threads, events,
// loops, blocks of memory) hangs on its struct, so that its end finds all of it.
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PID_FIRST 1000u

static void *main_of(void *arg)
{
    struct sim_proc *proc = arg;
    proc->fn(proc->arg);
    return NULL;
}

struct sim_proc *sim_proc_start(const char *name, uint32_t host, void (*fn)(void *arg), void *arg)
{
    MF_ASSERT(sim_machine.open);
    struct sim_proc *proc = calloc(1, sizeof(*proc));
    MF_ASSERT(proc);
    snprintf(proc->name, sizeof(proc->name), "%s", name);
    proc->number = ++sim_machine.procs;
    proc->host = host;
    proc->pid = PID_FIRST + proc->number;
    proc->fn = fn;
    proc->arg = arg;
    proc->slow = 1;
    sim_env_init(proc);
    if (sim_machine.last) {
        sim_machine.last->next = proc;
    } else {
        sim_machine.first = proc;
    }
    sim_machine.last = proc;
    proc->main = sim_thread_create(proc, "main", main_of, proc);
    sim_note(proc->number, host);
    sim_say("%s begins on host %u", proc->name, host);
    return proc;
}

/* Its threads go on no more, its hooks are told, its memory is freed: in this order, because hooks
 * may lie in its memory. */
static void end(struct sim_proc *proc)
{
    MF_ASSERT(!sim_machine.thread);
    struct sim_proc *self = sim_machine.proc;
    sim_machine.proc = NULL;
    if (proc->state == SIM_STOPPED) {
        proc->stopped_ns += sim_machine.now - proc->stopped_at_ns;
    }
    proc->state = SIM_ENDED;
    sim_drop_events(proc);
    while (proc->first) {
        sim_thread_free(proc->first);
    }
    proc->main = NULL;
    sim_loops_end(proc);
    while (proc->hook_first) {
        struct sim_hook *hook = proc->hook_first;
        sim_proc_unhook(proc, hook);
        hook->fn(hook->arg);
    }
    sim_blocks_free(proc);
    sim_machine.proc = self == proc ? NULL : self;
}

void sim_proc_kill(struct sim_proc *proc)
{
    if (proc->state == SIM_ENDED) {
        return;
    }
    sim_note(proc->number, 'k');
    sim_say("%s is killed", proc->name);
    end(proc);
}

void sim_proc_returned(struct sim_proc *proc)
{
    const struct sim_thread *left = proc->first;
    if (left) {
        sim_broken("thread-left", "%s has ended, its thread %s %s", proc->name, left->name,
                   left->ended ? "was never joined" : "has not");
    }
    if (proc->blocks) {
        char names[256];
        sim_blocks_name(proc, names, sizeof(names));
        sim_broken("leak", "%s has ended with %llu blocks of memory: %s", proc->name,
                   (unsigned long long)proc->blocks, names);
    }
    sim_say("%s has ended", proc->name);
    sim_note(proc->number, 'e');
    end(proc);
}

void sim_proc_stop(struct sim_proc *proc)
{
    if (proc->state != SIM_RUNNING) {
        return;
    }
    sim_note(proc->number, 's');
    sim_say("%s is stopped", proc->name);
    proc->state = SIM_STOPPED;
    proc->stopped_at_ns = sim_machine.now;
}

void sim_proc_continue(struct sim_proc *proc)
{
    if (proc->state != SIM_STOPPED) {
        return;
    }
    sim_note(proc->number, 'c');
    sim_say("%s goes on", proc->name);
    proc->state = SIM_RUNNING;
    proc->stopped_ns += sim_machine.now - proc->stopped_at_ns;
    sim_release_events(proc);
}

enum sim_proc_state sim_proc_state(const struct sim_proc *proc)
{
    return proc->state;
}

struct sim_proc *sim_proc_self(void)
{
    return sim_machine.proc;
}

const struct mf_env *sim_proc_env(struct sim_proc *proc)
{
    return &proc->env;
}

const char *sim_proc_name(const struct sim_proc *proc)
{
    return proc->name;
}

uint32_t sim_proc_pid(const struct sim_proc *proc)
{
    return proc->pid;
}

uint32_t sim_proc_host(const struct sim_proc *proc)
{
    return proc->host;
}

uint64_t sim_proc_stopped_ns(const struct sim_proc *proc)
{
    uint64_t since = proc->state == SIM_STOPPED ? sim_machine.now - proc->stopped_at_ns : 0;
    return proc->stopped_ns + since;
}

void sim_proc_slow(struct sim_proc *proc, uint32_t factor)
{
    MF_ASSERT(factor > 0);
    sim_note(proc->number, factor);
    proc->slow = factor;
}

void sim_proc_hook(struct sim_proc *proc, struct sim_hook *hook)
{
    MF_ASSERT(proc->state != SIM_ENDED);
    hook->next = NULL;
    hook->prev = proc->hook_last;
    if (proc->hook_last) {
        proc->hook_last->next = hook;
    } else {
        proc->hook_first = hook;
    }
    proc->hook_last = hook;
}

void sim_proc_unhook(struct sim_proc *proc, struct sim_hook *hook)
{
    if (hook->prev) {
        hook->prev->next = hook->next;
    } else if (proc->hook_first == hook) {
        proc->hook_first = hook->next;
    } else {
        return; /* it has been called */
    }
    if (hook->next) {
        hook->next->prev = hook->prev;
    } else {
        proc->hook_last = hook->prev;
    }
    hook->prev = NULL;
    hook->next = NULL;
}

void sim_procs_free(void)
{
    struct sim_proc *proc = sim_machine.first;
    while (proc) {
        struct sim_proc *next = proc->next;
        free(proc);
        proc = next;
    }
    sim_machine.first = NULL;
    sim_machine.last = NULL;
}
