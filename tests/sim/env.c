// SPDX-License-Identifier: Apache-2.0
// What a process of the simulation gets from outside: the virtual clock, random numbers of a stream
// of its own, so that its draws shift nobody else's, its pid and host, and a log that tells the
// story.
#include "machine.h"

#include <string.h>

/* A thread that asks for the time so often without anything else happening waits for it to pass. */
#define LOOKS_IN_A_ROW 1000u

#define LEVEL_NOTHING 100

static uint64_t env_now_ns(void *arg)
{
    (void)arg;
    if (++sim_machine.looks_at_clock >= LOOKS_IN_A_ROW && sim_machine.thread) {
        sim_thread_pass();
    }
    return sim_machine.now;
}

static void env_random(void *arg, void *buf, size_t len)
{
    struct sim_proc *proc = arg;
    uint8_t *at = buf;
    while (len > 0) {
        uint64_t value = sim_stream_next(&proc->random);
        size_t n = len < sizeof(value) ? len : sizeof(value);
        memcpy(at, &value, n);
        at += n;
        len -= n;
    }
}

static pid_t env_pid(void *arg)
{
    const struct sim_proc *proc = arg;
    return (pid_t)proc->pid;
}

static uint64_t env_host_hint(void *arg)
{
    const struct sim_proc *proc = arg;
    uint64_t state = proc->host;
    return sim_stream_next(&state);
}

static void log_line(int level, const char *msg)
{
    static const char *const names[] = {"debug", "info", "WARN", "ERROR", "FATAL", "trace"};
    sim_say("%s %s", level >= 0 && level < 6 ? names[level] : "?", msg);
}

static struct mf_log quiet = {.level = LEVEL_NOTHING, .sink = log_line};
static struct mf_log talkative = {.level = MF_LOG_INFO, .sink = log_line};

void sim_env_init(struct sim_proc *proc)
{
    static const struct mf_env_ops ops = {
        .now_ns = env_now_ns,
        .random = env_random,
        .pid = env_pid,
        .host_hint = env_host_hint,
    };
    proc->random = sim_random();
    proc->env =
        (struct mf_env){.ops = &ops, .arg = proc, .log = sim_machine.verbose ? &talkative : &quiet};
}
