// SPDX-License-Identifier: Apache-2.0
// A thread that runs a libevent loop: the shell around the state machines. Nothing that may block
// runs on it.
#ifndef MF_BASE_LOOP_H
#define MF_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"

struct event_base;
struct mf_loop;

/** Create the loop and its thread. `env` is borrowed until destroy. */
int mf_loop_create(const struct mf_env *env, const char *name, struct mf_loop **out);
/** Run what was posted (and what that posts), stop the thread and free the loop. Events are freed
 * before, by their owners. Not from the loop's own thread. NULL is fine. */
void mf_loop_destroy(struct mf_loop *loop);

/** For the sockets of the store; events are added, changed and freed only from the loop's own
 * thread (in a function given to post or call): the base has no lock. */
struct event_base *mf_loop_base(struct mf_loop *loop);
bool mf_loop_is_current(const struct mf_loop *loop);

/** Run fn(arg) on the loop's thread, in the order posted. 0 or SMEM_MALLOC_FAILED (then fn never
 * runs). */
int mf_loop_post(struct mf_loop *loop, void (*fn)(void *arg), void *arg);
/** Run fn(arg) on the loop's thread and wait until it has returned. From the loop's own thread: at
 * once. Always 0: needs no memory. */
int mf_loop_call(struct mf_loop *loop, void (*fn)(void *arg), void *arg);

/** Calls a function at a given time on the loop's thread. All but create on the loop's thread. */
struct mf_timer;
int mf_timer_create(struct mf_loop *loop, void (*fn)(void *arg), void *arg, struct mf_timer **out);
/** Fire once, at `at_ns` of the loop's clock or soon after; replaces the time that was set.
 * UINT64_MAX: not at all. */
void mf_timer_set(struct mf_timer *timer, uint64_t at_ns);
/** NULL is fine. */
void mf_timer_destroy(struct mf_timer *timer);

/** Calls a function on the loop's thread whenever a descriptor is readable. */
struct mf_fd_watch;
/** Any thread. SMEM_NO_RESOURCES when the loop cannot watch it. */
int mf_loop_watch_fd(struct mf_loop *loop, int fd, void (*fn)(void *arg), void *arg,
                     struct mf_fd_watch **out);
/** Any thread; waits for a running fn unless called from it. NULL is fine. */
void mf_loop_unwatch_fd(struct mf_fd_watch *watch);

#endif
