// SPDX-License-Identifier: Apache-2.0
// The loop thread and its list of posted work. The event base has no lock: other threads append to
// the list under the loop's mutex and wake the thread through an eventfd, and never touch the base.
#include "base/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/thread.h"

/* How long mf_loop_call sleeps between two looks at its work; a wake-up comes long before. */
#define CALL_LOOK_MS 1000u
/* Descriptors that an event base takes. */
#define BASE_FDS 7u

struct work {
    void (*fn)(void *arg);
    void *arg;
    struct work *next;
    bool *done; /* of a mf_loop_call, which owns the work; NULL: posted, the loop owns it */
};

struct mf_loop {
    const struct mf_env *env;
    struct event_base *base;
    struct event *wake_event;
    int wake_fd;
    pthread_t thread;

    struct mf_mutex mutex; /* guards what follows; rank MF_RANK_LOOP */
    struct mf_cond called; /* some mf_loop_call's work is done */
    struct work *first;
    struct work **last;
    bool stopping;
};

/* Take the whole list. */
static struct work *take_work(struct mf_loop *loop, bool *stopping)
{
    mf_mutex_lock(&loop->mutex);
    struct work *work = loop->first;
    loop->first = NULL;
    loop->last = &loop->first;
    *stopping = loop->stopping;
    mf_mutex_unlock(&loop->mutex);
    return work;
}

static void finish_work(struct mf_loop *loop, struct work *work)
{
    if (!work->done) {
        mf_free(work);
        return;
    }
    mf_mutex_lock(&loop->mutex);
    *work->done = true; /* from here on the work may be gone */
    mf_cond_broadcast(&loop->called);
    mf_mutex_unlock(&loop->mutex);
}

static void run_work(struct mf_loop *loop, struct work *work)
{
    while (work) {
        struct work *next = work->next;
        work->fn(work->arg);
        finish_work(loop, work);
        work = next;
    }
}

/* Run what is on the list now. What that posts has its own wake-up, so that descriptors and timers
 * get their turn in between; only at the end the list is emptied to the last. */
static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct mf_loop *loop = arg;
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof(count));
    MF_ASSERT(n == (ssize_t)sizeof(count) || errno == EAGAIN || errno == EINTR);
    bool stopping;
    struct work *work = take_work(loop, &stopping);
    run_work(loop, work);
    while (stopping) {
        work = take_work(loop, &stopping);
        if (!work) {
            event_base_loopbreak(loop->base);
            return;
        }
        run_work(loop, work);
    }
}

static void wake(struct mf_loop *loop)
{
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(loop->wake_fd, &one, sizeof(one));
    } while (n < 0 && errno == EINTR);
    MF_ASSERT(n == (ssize_t)sizeof(one) || errno == EAGAIN); /* EAGAIN: 2^64-2 wake-ups wait */
}

static void append_work(struct mf_loop *loop, struct work *work)
{
    mf_mutex_lock(&loop->mutex);
    bool was_empty = loop->first == NULL;
    *loop->last = work;
    loop->last = &work->next;
    mf_mutex_unlock(&loop->mutex);
    if (was_empty) {
        wake(loop);
    }
}

static void *loop_main(void *arg)
{
    struct mf_loop *loop = arg;
    /* The creator holds the mutex until `thread` is set. */
    mf_mutex_lock(&loop->mutex);
    mf_mutex_unlock(&loop->mutex);
    int rc = event_base_dispatch(loop->base);
    MF_ASSERT(rc == 0);
    return NULL;
}

/* libevent ends the process when it finds no descriptor for its signals: look before it does. */
static int check_descriptors(const char *name)
{
    int fds[BASE_FDS];
    uint32_t count = 0;
    int cause = 0;
    while (count < BASE_FDS && cause == 0) {
        fds[count] = eventfd(0, EFD_CLOEXEC);
        cause = fds[count] < 0 ? errno : 0;
        count += cause == 0;
    }
    while (count > 0) {
        close(fds[--count]);
    }
    return cause == 0 ? SMEM_OK
                      : mf_err_sys(SMEM_NO_RESOURCES, cause,
                                   "loop %s: %u descriptors (limit: ulimit -n)", name, BASE_FDS);
}

static int create_base(struct mf_loop *loop, const char *name)
{
    int rc = check_descriptors(name);
    if (rc) {
        return rc;
    }
    struct event_config *config = event_config_new();
    if (!config) {
        return mf_err(SMEM_MALLOC_FAILED, "loop %s: out of memory for its configuration", name);
    }
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
    /* Its usual clock moves in steps of 4 ms and is read once a turn: a timer then often wakes the
     * thread too early, and again. */
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME);
    loop->base = event_base_new_with_config(config);
    event_config_free(config);
    if (!loop->base) {
        return mf_err(SMEM_NO_RESOURCES,
                      "loop %s: no event base: out of memory or of descriptors "
                      "(ulimit -n)",
                      name);
    }
    return SMEM_OK;
}

/* Everything but the thread. */
static int open_loop(struct mf_loop *loop, const char *name)
{
    int rc = create_base(loop, name);
    if (rc) {
        return rc;
    }
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0) {
        rc = mf_err_sys(SMEM_NO_RESOURCES, errno, "loop %s: eventfd", name);
        goto free_base;
    }
    loop->wake_event = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, loop);
    if (!loop->wake_event) {
        rc = mf_err(SMEM_MALLOC_FAILED, "loop %s: out of memory for an event", name);
        goto close_fd;
    }
    if (event_add(loop->wake_event, NULL) != 0) {
        rc = mf_err(SMEM_NO_RESOURCES, "loop %s: cannot watch its eventfd", name);
        goto free_event;
    }
    return SMEM_OK;
free_event:
    event_free(loop->wake_event);
close_fd:
    close(loop->wake_fd);
free_base:
    event_base_free(loop->base);
    return rc;
}

static void close_loop(struct mf_loop *loop)
{
    event_free(loop->wake_event);
    close(loop->wake_fd);
    event_base_free(loop->base);
}

int mf_loop_create(const struct mf_env *env, const char *name, struct mf_loop **out)
{
    *out = NULL;
    struct mf_loop *loop = mf_calloc(1, sizeof(*loop), "event loop");
    if (!loop) {
        return SMEM_MALLOC_FAILED;
    }
    loop->env = env;
    loop->last = &loop->first;
    int rc = open_loop(loop, name);
    if (rc) {
        goto free_loop;
    }
    mf_mutex_init(&loop->mutex, MF_RANK_LOOP);
    mf_cond_init(&loop->called);
    mf_mutex_lock(&loop->mutex);
    rc = mf_thread_start(&loop->thread, name, loop_main, loop);
    mf_mutex_unlock(&loop->mutex);
    if (rc) {
        goto fini_lock;
    }
    *out = loop;
    return SMEM_OK;
fini_lock:
    mf_cond_fini(&loop->called);
    mf_mutex_fini(&loop->mutex);
    close_loop(loop);
free_loop:
    mf_free(loop);
    return rc;
}

void mf_loop_destroy(struct mf_loop *loop)
{
    if (!loop) {
        return;
    }
    MF_ASSERT(!mf_loop_is_current(loop));
    mf_mutex_lock(&loop->mutex);
    loop->stopping = true;
    mf_mutex_unlock(&loop->mutex);
    wake(loop);
    mf_thread_join(loop->thread);
    MF_ASSERT(!loop->first);
    mf_cond_fini(&loop->called);
    mf_mutex_fini(&loop->mutex);
    close_loop(loop);
    mf_free(loop);
}

struct event_base *mf_loop_base(struct mf_loop *loop)
{
    return loop->base;
}

bool mf_loop_is_current(const struct mf_loop *loop)
{
    return mf_thread_is_self(loop->thread);
}

int mf_loop_post(struct mf_loop *loop, void (*fn)(void *arg), void *arg)
{
    struct work *work = mf_alloc(sizeof(*work), "work of a loop");
    if (!work) {
        return SMEM_MALLOC_FAILED;
    }
    *work = (struct work){.fn = fn, .arg = arg};
    append_work(loop, work);
    return SMEM_OK;
}

int mf_loop_call(struct mf_loop *loop, void (*fn)(void *arg), void *arg)
{
    if (mf_loop_is_current(loop)) {
        fn(arg);
        return SMEM_OK;
    }
    bool done = false;
    struct work work = {.fn = fn, .arg = arg, .done = &done};
    append_work(loop, &work);
    mf_mutex_lock(&loop->mutex);
    while (!done) {
        mf_cond_wait(&loop->called, &loop->mutex, mf_deadline_ns(loop->env, CALL_LOOK_MS));
    }
    mf_mutex_unlock(&loop->mutex);
    return SMEM_OK;
}

/* ---- timers ------------------------------------------------------------------------------------
 */

struct mf_timer {
    struct mf_loop *loop;
    struct event *event;
    uint64_t at_ns; /* UINT64_MAX: not set */
    void (*fn)(void *arg);
    void *arg;
};

static void timer_fired(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct mf_timer *timer = arg;
    timer->at_ns = UINT64_MAX;
    timer->fn(timer->arg);
}

int mf_timer_create(struct mf_loop *loop, void (*fn)(void *arg), void *arg, struct mf_timer **out)
{
    *out = NULL;
    struct mf_timer *timer = mf_calloc(1, sizeof(*timer), "timer");
    if (!timer) {
        return SMEM_MALLOC_FAILED;
    }
    *timer = (struct mf_timer){.loop = loop, .at_ns = UINT64_MAX, .fn = fn, .arg = arg};
    timer->event = event_new(loop->base, -1, 0, timer_fired, timer);
    if (!timer->event) {
        mf_free(timer);
        return mf_err_nomem(128, "event of a timer");
    }
    *out = timer;
    return SMEM_OK;
}

void mf_timer_set(struct mf_timer *timer, uint64_t at_ns)
{
    if (at_ns == timer->at_ns) {
        return;
    }
    timer->at_ns = at_ns;
    if (at_ns == UINT64_MAX) {
        event_del(timer->event);
        return;
    }
    uint64_t now = mf_now_ns(timer->loop->env);
    uint64_t us = at_ns > now ? (at_ns - now + 999) / 1000 : 0;
    struct timeval tv = {.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
    int rc = event_add(timer->event, &tv);
    if (rc != 0) {
        mf_log(timer->loop->env->log, MF_LOG_ERROR, "base", "a timer cannot be set: out of memory");
    }
}

void mf_timer_destroy(struct mf_timer *timer)
{
    if (timer) {
        event_free(timer->event);
        mf_free(timer);
    }
}

/* ---- descriptors -------------------------------------------------------------------------------
 */

struct mf_fd_watch {
    struct mf_loop *loop;
    struct event *event;
    int fd;
    void (*fn)(void *arg);
    void *arg;
};

static void fd_ready(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct mf_fd_watch *watch = arg;
    watch->fn(watch->arg);
}

static void watch_on_loop(void *arg)
{
    struct mf_fd_watch *watch = arg;
    watch->event = event_new(watch->loop->base, watch->fd, EV_READ | EV_PERSIST, fd_ready, watch);
    if (watch->event && event_add(watch->event, NULL) != 0) {
        event_free(watch->event);
        watch->event = NULL;
    }
}

static void unwatch_on_loop(void *arg)
{
    struct mf_fd_watch *watch = arg;
    event_free(watch->event);
}

int mf_loop_watch_fd(struct mf_loop *loop, int fd, void (*fn)(void *arg), void *arg,
                     struct mf_fd_watch **out)
{
    *out = NULL;
    struct mf_fd_watch *watch = mf_calloc(1, sizeof(*watch), "descriptor watch");
    if (!watch) {
        return SMEM_MALLOC_FAILED;
    }
    *watch = (struct mf_fd_watch){.loop = loop, .fd = fd, .fn = fn, .arg = arg};
    mf_loop_call(loop, watch_on_loop, watch);
    if (!watch->event) {
        mf_free(watch);
        return mf_err(SMEM_NO_RESOURCES, "descriptor %d cannot be added to the event loop", fd);
    }
    *out = watch;
    return SMEM_OK;
}

void mf_loop_unwatch_fd(struct mf_fd_watch *watch)
{
    if (watch) {
        mf_loop_call(watch->loop, unwatch_on_loop, watch);
        mf_free(watch);
    }
}
