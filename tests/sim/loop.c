// SPDX-License-Identifier: Apache-2.0
// base/loop.h on a coroutine: it runs what was posted, what was raised and the timers that are due,
// one after the other; which of the three comes first is a choice of the machine.
#include "base/loop.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "machine.h"

#define ITEMS_IN_A_ROW 64u /* then time passes */

struct work {
    void (*fn)(void *arg);
    void *arg;
    struct work *next;
    struct sim_thread *caller; /* of a mf_loop_call, which owns the work; NULL: posted */
    bool done;
};

/** Not in the memory of the process, so that sources may be forgotten after its end. */
struct mf_loop {
    struct sim_proc *proc;
    void *block; /* what stands for it in the memory of the process */
    pthread_t id;
    struct sim_waiters idle;
    struct work *work_first, *work_last;
    struct sim_source *raised_first, *raised_last;
    struct sim_queue timers;
    bool stopping, dead;
    struct mf_loop *prev, *next; /* of its process; `next` also of the dead ones */
};

struct mf_timer {
    struct sim_event event; /* in the loop's own queue; not in it while `at` is 0 */
    struct mf_loop *loop;
    uint64_t at_ns; /* UINT64_MAX: not set */
};

/* ---- the thread -------------------------------------------------------------------------------
 */

static void wake(struct mf_loop *loop)
{
    if (loop->idle.first) {
        sim_thread_ready(loop->idle.first);
    }
}

static void run_work(struct mf_loop *loop)
{
    struct work *work = loop->work_first;
    loop->work_first = work->next;
    if (!loop->work_first) {
        loop->work_last = NULL;
    }
    work->fn(work->arg);
    if (work->caller) {
        work->done = true;
        sim_thread_ready(work->caller);
    } else {
        mf_free(work);
    }
}

static void run_source(struct mf_loop *loop)
{
    struct sim_source *source = loop->raised_first;
    loop->raised_first = source->next;
    if (!loop->raised_first) {
        loop->raised_last = NULL;
    }
    source->raised = false;
    source->fn(source->arg);
}

static void run_timer(struct mf_loop *loop)
{
    struct sim_event *event = sim_queue_first(&loop->timers);
    struct mf_timer *timer = (struct mf_timer *)event; /* its first member */
    sim_queue_take(&loop->timers, event);
    event->at = 0;
    timer->at_ns = UINT64_MAX;
    event->fn(event->arg);
}

static bool timer_is_due(const struct mf_loop *loop)
{
    const struct sim_event *first = sim_queue_first(&loop->timers);
    return first && first->at <= sim_machine.now;
}

/* One thing; false: there is none. */
static bool run_one(struct mf_loop *loop)
{
    void (*ready[3])(struct mf_loop * loop);
    uint32_t count = 0;
    if (loop->work_first) {
        ready[count++] = run_work;
    }
    if (!loop->stopping && loop->raised_first) {
        ready[count++] = run_source;
    }
    if (!loop->stopping && timer_is_due(loop)) {
        ready[count++] = run_timer;
    }
    if (count == 0) {
        return false;
    }
    ready[count == 1 ? 0 : sim_below(count)](loop);
    return true;
}

static void *loop_main(void *arg)
{
    struct mf_loop *loop = arg;
    uint32_t items = 0;
    for (;;) {
        if (run_one(loop)) {
            if (++items % ITEMS_IN_A_ROW == 0) {
                sim_thread_pass();
            } else {
                sim_yield();
            }
        } else if (loop->stopping) {
            return NULL;
        } else {
            const struct sim_event *first = sim_queue_first(&loop->timers);
            (void)sim_thread_wait(SIM_WAIT_IDLE, loop, &loop->idle, first ? first->at : UINT64_MAX);
        }
    }
}

/* ---- loops ------------------------------------------------------------------------------------
 */

static void unlink_loop(struct mf_loop *loop)
{
    if (loop->prev) {
        loop->prev->next = loop->next;
    } else {
        loop->proc->loops = loop->next;
    }
    if (loop->next) {
        loop->next->prev = loop->prev;
    }
}

int mf_loop_create(const struct mf_env *env, const char *name, struct mf_loop **out)
{
    (void)env; /* of the process, as everything here */
    *out = NULL;
    void *block = mf_calloc(1, sizeof(struct mf_loop), "event loop");
    if (!block) {
        return SMEM_MALLOC_FAILED;
    }
    struct mf_loop *loop = calloc(1, sizeof(*loop));
    MF_ASSERT(loop);
    *loop = (struct mf_loop){.proc = sim_machine.proc, .block = block};
    loop->next = loop->proc->loops;
    if (loop->next) {
        loop->next->prev = loop;
    }
    loop->proc->loops = loop;
    int rc = mf_thread_start(&loop->id, name, loop_main, loop);
    if (rc) {
        unlink_loop(loop);
        free(loop);
        mf_free(block);
        return rc;
    }
    *out = loop;
    return SMEM_OK;
}

void mf_loop_destroy(struct mf_loop *loop)
{
    if (!loop) {
        return;
    }
    MF_ASSERT(!mf_loop_is_current(loop));
    loop->stopping = true;
    wake(loop);
    mf_thread_join(loop->id);
    while (loop->raised_first) {
        sim_loop_forget(loop, loop->raised_first);
    }
    unlink_loop(loop);
    sim_queue_free(&loop->timers);
    mf_free(loop->block);
    free(loop);
}

void sim_loops_end(struct sim_proc *proc)
{
    while (proc->loops) {
        struct mf_loop *loop = proc->loops;
        unlink_loop(loop);
        sim_queue_free(&loop->timers);
        loop->dead = true;
        loop->next = sim_machine.dead_loops;
        sim_machine.dead_loops = loop;
    }
}

void sim_loops_free(void)
{
    while (sim_machine.dead_loops) {
        struct mf_loop *loop = sim_machine.dead_loops;
        sim_machine.dead_loops = loop->next;
        free(loop);
    }
}

struct event_base *mf_loop_base(struct mf_loop *loop)
{
    (void)loop;
    MF_ASSERT(!"a simulated loop has no event base");
    return NULL;
}

bool mf_loop_is_current(const struct mf_loop *loop)
{
    return mf_thread_is_self(loop->id);
}

/* Not inlined: gcc would warn that a caller's own work is listed, which waits until it is not. */
__attribute__((noinline)) static void append_work(struct mf_loop *loop, struct work *work)
{
    if (loop->work_last) {
        loop->work_last->next = work;
    } else {
        loop->work_first = work;
    }
    loop->work_last = work;
    wake(loop);
}

int mf_loop_post(struct mf_loop *loop, void (*fn)(void *arg), void *arg)
{
    struct work *work = mf_alloc(sizeof(*work), "work of a loop");
    if (!work) {
        return SMEM_MALLOC_FAILED;
    }
    *work = (struct work){.fn = fn, .arg = arg};
    append_work(loop, work);
    sim_yield();
    return SMEM_OK;
}

int mf_loop_call(struct mf_loop *loop, void (*fn)(void *arg), void *arg)
{
    if (mf_loop_is_current(loop)) {
        fn(arg);
        return SMEM_OK;
    }
    MF_ASSERT(sim_machine.thread && "an event of the machine must not wait for a loop");
    struct work work = {.fn = fn, .arg = arg, .caller = sim_machine.thread};
    append_work(loop, &work);
    while (!work.done) {
        struct sim_waiters alone = {0};
        (void)sim_thread_wait(SIM_WAIT_CALL, loop, &alone, UINT64_MAX);
    }
    return SMEM_OK;
}

/* ---- timers -----------------------------------------------------------------------------------
 */

int mf_timer_create(struct mf_loop *loop, void (*fn)(void *arg), void *arg, struct mf_timer **out)
{
    *out = NULL;
    struct mf_timer *timer = mf_calloc(1, sizeof(*timer), "timer");
    if (!timer) {
        return SMEM_MALLOC_FAILED;
    }
    *timer = (struct mf_timer){.loop = loop, .at_ns = UINT64_MAX};
    sim_event_init(&timer->event, loop->proc, fn, arg);
    *out = timer;
    return SMEM_OK;
}

void mf_timer_set(struct mf_timer *timer, uint64_t at_ns)
{
    if (at_ns == timer->at_ns) {
        return;
    }
    struct mf_loop *loop = timer->loop;
    timer->at_ns = at_ns;
    if (timer->event.at) {
        sim_queue_take(&loop->timers, &timer->event);
        timer->event.at = 0;
    }
    if (at_ns != UINT64_MAX) {
        timer->event.at = at_ns > sim_machine.now ? at_ns : sim_machine.now;
        timer->event.number = ++sim_machine.number;
        sim_queue_put(&loop->timers, &timer->event);
    }
}

void mf_timer_destroy(struct mf_timer *timer)
{
    if (timer) {
        mf_timer_set(timer, UINT64_MAX);
        mf_free(timer);
    }
}

/* ---- what is raised ---------------------------------------------------------------------------
 */

void sim_loop_raise(struct mf_loop *loop, struct sim_source *source)
{
    if (loop->dead || source->raised) {
        return;
    }
    source->raised = true;
    source->next = NULL;
    if (loop->raised_last) {
        loop->raised_last->next = source;
    } else {
        loop->raised_first = source;
    }
    loop->raised_last = source;
    wake(loop);
}

void sim_loop_forget(struct mf_loop *loop, struct sim_source *source)
{
    if (loop->dead || !source->raised) {
        return;
    }
    struct sim_source *before = NULL;
    struct sim_source *s = loop->raised_first;
    while (s != source) {
        before = s;
        s = s->next;
    }
    if (before) {
        before->next = source->next;
    } else {
        loop->raised_first = source->next;
    }
    if (loop->raised_last == source) {
        loop->raised_last = before;
    }
    source->raised = false;
}

/* ---- descriptors: none ------------------------------------------------------------------------
 */

int mf_loop_watch_fd(struct mf_loop *loop, int fd, void (*fn)(void *arg), void *arg,
                     struct mf_fd_watch **out)
{
    (void)loop;
    (void)fn;
    (void)arg;
    *out = NULL;
    return mf_err(SMEM_NO_RESOURCES, "descriptor %d cannot be watched in a simulation", fd);
}

void mf_loop_unwatch_fd(struct mf_fd_watch *watch)
{
    MF_ASSERT(!watch);
}
