// SPDX-License-Identifier: Apache-2.0
// Stacks and the switch between them: a few instructions on x86-64 and arm64, swapcontext (slower:
// it asks the system for the signal mask) elsewhere. The sanitizers are told of every switch.
#include "coroutine.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

/* SIM_CO_PORTABLE: as elsewhere, so that this can be tested. */
#if defined(__x86_64__) && !defined(SIM_CO_PORTABLE)
#define SWITCH_X86 1
#elif defined(__aarch64__) && !defined(SIM_CO_PORTABLE)
#define SWITCH_ARM 1
#else
#include <ucontext.h>
#define SWITCH_PORTABLE 1
#endif

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define WITH_ASAN 1
#endif
#ifdef __SANITIZE_THREAD__
#define WITH_TSAN 1
#endif
#ifndef WITH_ASAN
#define WITH_ASAN 0
#endif
#ifndef WITH_TSAN
#define WITH_TSAN 0
#endif

#if WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if WITH_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#define STACK_BYTES ((WITH_ASAN || WITH_TSAN ? 256u : 64u) << 10)

/** At the upper end of its own mapping: guard, stack, this. */
struct sim_stack {
    struct sim_stack *next; /* in the pool */
    void *fiber;
    char *low;
#ifdef SWITCH_PORTABLE
    ucontext_t context;
#endif
};

static struct sim_stack *pool; /* stacks that nobody uses */
static struct sim_co hub;      /* the machine's own stack */
static struct sim_co *now;     /* the coroutine that runs; NULL: the machine */
static const void *hub_low;    /* the machine's stack, as the address sanitizer told */
static size_t hub_bytes;
static void *hub_fiber;

static void begin(void);

#ifdef SWITCH_X86

/* Save what a called function keeps on the stack, the stack pointer to *save, and go on where `to`
 * was saved in the same way. */
void sim_co_switch(void **save, void *to) __attribute__((visibility("hidden")));
__asm__(".pushsection .text\n"
        ".p2align 4\n"
        ".globl sim_co_switch\n"
        ".hidden sim_co_switch\n"
        ".type sim_co_switch, @function\n"
        "sim_co_switch:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size sim_co_switch, . - sim_co_switch\n"
        ".popsection\n");

#define SAVED_WORDS 6

static void prepare(struct sim_co *co)
{
    uintptr_t *top = (uintptr_t *)((uintptr_t)co->stack & ~(uintptr_t)15);
    *--top = 0; /* where begin would return to */
    *--top = (uintptr_t)begin;
    for (int i = 0; i < SAVED_WORDS; i++) {
        *--top = 0;
    }
    co->at = top;
}

static void change(struct sim_co *from, struct sim_co *to)
{
    sim_co_switch(&from->at, to->at);
}

#elif defined(SWITCH_ARM)

void sim_co_switch(void **save, void *to) __attribute__((visibility("hidden")));
__asm__(".pushsection .text\n"
        ".p2align 4\n"
        ".globl sim_co_switch\n"
        ".hidden sim_co_switch\n"
        ".type sim_co_switch, %function\n"
        "sim_co_switch:\n"
        "    sub sp, sp, #160\n"
        "    stp x19, x20, [sp, #0]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mov x9, sp\n"
        "    str x9, [x0]\n"
        "    mov sp, x1\n"
        "    ldp x19, x20, [sp, #0]\n"
        "    ldp x21, x22, [sp, #16]\n"
        "    ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n"
        "    ldp x27, x28, [sp, #64]\n"
        "    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #160\n"
        "    ret\n"
        ".size sim_co_switch, . - sim_co_switch\n"
        ".popsection\n");

#define SAVED_WORDS 20
#define SAVED_LINK  11 /* x30 */

static void prepare(struct sim_co *co)
{
    uintptr_t *top = (uintptr_t *)((uintptr_t)co->stack & ~(uintptr_t)15) - SAVED_WORDS;
    memset(top, 0, SAVED_WORDS * sizeof(*top));
    top[SAVED_LINK] = (uintptr_t)begin;
    co->at = top;
}

static void change(struct sim_co *from, struct sim_co *to)
{
    sim_co_switch(&from->at, to->at);
}

#else

static ucontext_t hub_context;

static void prepare(struct sim_co *co)
{
    ucontext_t *context = &co->stack->context;
    getcontext(context);
    context->uc_stack.ss_sp = co->stack->low;
    context->uc_stack.ss_size = (size_t)((char *)co->stack - co->stack->low);
    context->uc_link = NULL;
    makecontext(context, begin, 0);
    co->at = context;
}

static void change(struct sim_co *from, struct sim_co *to)
{
    hub.at = &hub_context;
    swapcontext(from->at, to->at);
}

#endif

static struct sim_stack *take_stack(void)
{
    struct sim_stack *stack = pool;
    if (stack) {
        pool = stack->next;
        return stack;
    }
    size_t guard = getauxval(AT_PAGESZ);
    size_t bytes = guard + STACK_BYTES;
    char *low = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (low == MAP_FAILED || mprotect(low, guard, PROT_NONE) != 0) {
        perror("simulation: no memory for the stack of a thread (vm.max_map_count?)");
        abort();
    }
    stack = (struct sim_stack *)((uintptr_t)(low + bytes - sizeof(*stack)) & ~(uintptr_t)15);
    stack->low = low + guard;
    return stack;
}

/* What the sanitizers are told: before the switch on the old stack, after it on the new one. */

static void leave(struct sim_co *from, const struct sim_co *to)
{
#if WITH_ASAN
    if (to == &hub) {
        __sanitizer_start_switch_fiber(&from->fake, hub_low, hub_bytes);
    } else {
        __sanitizer_start_switch_fiber(&from->fake, to->stack->low,
                                       (size_t)((char *)to->stack - to->stack->low));
    }
#endif
#if WITH_TSAN
    __tsan_switch_to_fiber(to == &hub ? hub_fiber : to->stack->fiber, 0);
#endif
    (void)from;
    (void)to;
}

static void arrive(const struct sim_co *self)
{
#if WITH_ASAN
    if (self == &hub) {
        __sanitizer_finish_switch_fiber(self->fake, NULL, NULL);
    } else {
        __sanitizer_finish_switch_fiber(self->fake, &hub_low, &hub_bytes);
    }
#endif
    (void)self;
    (void)hub_low;
    (void)hub_bytes;
}

static void begin(void)
{
    arrive(now);
    now->fn(now->arg);
    abort(); /* fn never returns */
}

void sim_co_create(struct sim_co *co, void (*fn)(void *arg), void *arg)
{
    *co = (struct sim_co){.stack = take_stack(), .fn = fn, .arg = arg};
#if WITH_TSAN
    co->stack->fiber = __tsan_create_fiber(0);
#endif
    prepare(co);
}

void sim_co_drop(struct sim_co *co)
{
    struct sim_stack *stack = co->stack;
    if (!stack) {
        return;
    }
#if WITH_ASAN
    __asan_unpoison_memory_region(stack->low, (size_t)((char *)stack - stack->low));
#endif
#if WITH_TSAN
    __tsan_destroy_fiber(stack->fiber);
#endif
    stack->next = pool;
    pool = stack;
    co->stack = NULL;
}

void sim_co_resume(struct sim_co *co)
{
#if WITH_TSAN
    hub_fiber = __tsan_get_current_fiber();
#endif
    (void)hub_fiber;
    now = co;
    leave(&hub, co);
    change(&hub, co);
    arrive(&hub);
    now = NULL;
}

void sim_co_park(void)
{
    struct sim_co *self = now;
    leave(self, &hub);
    change(self, &hub);
    arrive(self);
}
