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

/** For adding events; they are added, changed and freed only from the loop's own thread (in a
 * function given to post or call): the base has no lock. */
struct event_base *mf_loop_base(struct mf_loop *loop);
bool mf_loop_is_current(const struct mf_loop *loop);

/** Run fn(arg) on the loop's thread, in the order posted. 0 or SMEM_MALLOC_FAILED (then fn never
 * runs). */
int mf_loop_post(struct mf_loop *loop, void (*fn)(void *arg), void *arg);
/** Run fn(arg) on the loop's thread and wait until it has returned. From the loop's own thread: at
 * once. Always 0: needs no memory. */
int mf_loop_call(struct mf_loop *loop, void (*fn)(void *arg), void *arg);

#endif
