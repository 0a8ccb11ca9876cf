// SPDX-License-Identifier: Apache-2.0
// Tells one handler which other ranks join and leave a pool. Whoever changes the membership says
// which stay of a rank is there now; a thread, started by the first handler, tells the handler what
// is new to it. Bounded: of one rank at most a leave and a join behind it wait.
#ifndef MF_CORE_POOL_NOTIFY_H
#define MF_CORE_POOL_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/thread.h"

struct mf_notify_handler;

/** Calls the user's function; on the thread, with no lock held. */
typedef void (*mf_notify_fn)(const struct mf_notify_handler *handler, uint32_t rank, bool joined);

struct mf_notify_handler {
    mf_notify_fn run;
    void (*fn)(void); /* the rest is run's own */
    void *handle, *context;
};

/** What waits to be told of one rank: at most [leave], [join] or [leave, join]. */
struct mf_notify_rank {
    uint64_t told;                      /* the stay that the handler knows of; 0: none */
    uint64_t now;                       /* the stay that there is */
    struct mf_notify_rank *prev, *next; /* of those with something to tell, oldest first */
    bool waits;
};

struct mf_notify {
    const struct mf_env *env;
    uint32_t world;
    struct mf_mutex lock; /* guards all; a leaf */
    struct mf_cond cond;
    struct mf_notify_rank *v; /* [world], from the first handler on */
    struct mf_notify_rank *first, *last;
    struct mf_notify_handler handler; /* run NULL: none */
    uint64_t number;                  /* of the handler, counted up with every set */
    uint64_t running;                 /* number of the handler that is called right now; 0: none */
    pthread_t thread;
    bool started, stop;
};

void mf_notify_init(struct mf_notify *notify, const struct mf_env *env, uint32_t world);
/** After a stop that succeeded. */
void mf_notify_fini(struct mf_notify *notify);

/** Take a handler in place of the one that is there, or none (NULL): what was not told to the old
 * one is forgotten. The caller then says of each rank that is there that it is (mf_notify_rank),
 * before it lets go of the lock that guards the membership. SMEM_MALLOC_FAILED, SMEM_NO_RESOURCES:
 * as before. SMEM_NOT_EXIST: stopped. */
int mf_notify_set(struct mf_notify *notify, const struct mf_notify_handler *handler);
/** Until no call of a handler that was set before runs; at once on the thread itself.
 * SMEM_RES_IN_USE at the deadline. */
int mf_notify_settle(struct mf_notify *notify, uint64_t deadline_ns);
/** Which stay of the rank is there now: a number that no other stay of it has, 0 for none. No
 * handler: nothing. */
void mf_notify_rank(struct mf_notify *notify, uint32_t rank, uint64_t stay);
/** End the thread, for good. SMEM_RES_IN_USE: the handler still runs at the deadline. Not on the
 * thread itself. */
int mf_notify_stop(struct mf_notify *notify, uint64_t deadline_ns);

#endif
