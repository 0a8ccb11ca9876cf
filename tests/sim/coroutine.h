// SPDX-License-Identifier: Apache-2.0
// Coroutines: pieces of a program with a stack of their own, between which the machine switches
// without a system call. One that is dropped never goes on; its stack is used again.
#ifndef MF_SIM_COROUTINE_H
#define MF_SIM_COROUTINE_H

#include <stddef.h>

struct sim_stack;

struct sim_co {
    void *at; /* where it goes on */
    struct sim_stack *stack;
    void (*fn)(void *arg);
    void *arg;
    void *fake; /* what the address sanitizer keeps for it */
};

/** It begins with fn(arg) when it is resumed; fn never returns. */
void sim_co_create(struct sim_co *co, void (*fn)(void *arg), void *arg);
/** Give back its stack. Not the one that runs. */
void sim_co_drop(struct sim_co *co);
/** Let it run until it parks. From the machine's stack. */
void sim_co_resume(struct sim_co *co);
/** Go back to the machine's stack, until resumed. */
void sim_co_park(void);

#endif
