// SPDX-License-Identifier: Apache-2.0
// The world as its files share it: seats (what a process is started for, again and again), lives
// (one process of a seat), workers (its threads that copy), and how calls are judged.
#ifndef MF_SIM_WORLD_PRIV_H
#define MF_SIM_WORLD_PRIV_H

#include "core/pool.h"
#include "oracle.h"
#include "sim.h"
#include "world.h"
#include "xcopy/request.h"

#define MS           1000000ull
#define WORKERS_MAX  3u
#define ELEMENTS_MAX 12u
#define CALLS_MAX    8u /* of one life at the same time */
#define PIECE        MF_PAGE_LARGE
#define PIECES_MAX   3u
#define PORT         7000u
#define GRACE_MS     2000u
#define END_MS       240000u /* so long may the end of all take */
#define NEVER        UINT64_MAX

struct life;

/** One element of a copy. */
struct element {
    struct oracle_part part;
    bool bad;     /* it has to be refused */
    bool certain; /* nothing stands in its way */
    void *src, *dst;
    uint64_t size;
    int32_t result;
    uint64_t local[ORACLE_PART_WORDS];
};

/** A thread of a life that copies. */
struct worker {
    struct life *life;
    uint32_t number;
    struct mf_thread *thread; /* its entry; NULL: none yet */
    pthread_t handle;
    bool running;
    struct element elements[ELEMENTS_MAX];
    uint32_t count;
    bool together;  /* one of them that fails stops the others */
    uint64_t stale; /* the handle of a request that was freed */
};

/** A call of the library that is under way. */
struct call {
    const char *name; /* NULL: none */
    uint64_t begun_ns, stopped_ns, limit_ms;
};

/** One process that copies, from its start to its end. */
struct life {
    struct seat *seat;
    struct sim_proc *proc;
    struct sim_hook hook;
    const struct mf_env *env;
    struct mf_threads threads;
    struct mf_dev_registry *devices;
    struct mf_req_table requests;
    struct mf_ctx *ctx;
    uint64_t incarnation; /* 0: no context */
    uint32_t rank;
    uint32_t contexts;
    struct mf_pool *pools[ORACLE_POOLS];
    uint32_t users[ORACLE_POOLS]; /* calls that may block */
    bool joined[ORACLE_POOLS];
    bool extended[ORACLE_POOLS];
    bool stop;  /* its workers are to end */
    bool ended; /* in order */
    struct call calls[CALLS_MAX];
    struct life *next;
    uint32_t worker_count;   /* but the first, which is the process's own thread */
    struct worker workers[]; /* [worker_count + 1] */
};

/** What is started as a process, and again when that was killed. */
struct seat {
    uint32_t number, host;
    bool automatic;    /* takes any rank */
    bool store;        /* hosts the store and nothing else */
    struct life *life; /* NULL: away */
    struct sim_proc *proc;
    enum world_state state;
    struct sim_event restart;
    uint32_t slowest;     /* how many times slower than others it has been at worst */
    uint64_t troubled_ns; /* until when a fault excuses it; NEVER: still */
    bool done;
    bool starved; /* allocations of it have been made to fail */
};

/** Whose a rank is, as the store said last. */
struct owner_seen {
    uint64_t incarnation;
    uint32_t store_life;
};

struct world {
    const struct world_cfg *cfg;
    struct world_result *out;
    uint32_t ranks, seat_count, hosts, pools, store_seat;
    bool embedded, unmapped;
    bool ending, struck;
    bool contested;    /* there are more processes than ranks */
    uint64_t calm_ns;  /* 0: faults may strike; else when the work ends */
    uint64_t ended_ns; /* when the work ended */
    uint64_t looked_steps;
    uint32_t init_ms, create_ms, op_ms, session_ms, connect_ms, fence_ms, copy_ms;
    uint32_t pause_us;
    char url[64];
    struct mf_config config;
    struct seat *seats;
    struct life *lives;   /* all that ever were */
    struct life **owners; /* [rank]: who has opened it last and believes in it */
    uint64_t *grants;     /* lives in the order in which the store named them */
    uint32_t grant_count;
    struct owner_seen *seen; /* [rank]: what the store says */
    struct sim_event monitor;
    uint64_t store_started_ns;
    uint32_t store_lives;
};
extern struct world world;

/* world.c */

/** Start a process for it after a while, if it has none then. */
void seat_restart(struct seat *seat, uint64_t after_ns);

/* world_life.c */

void seat_start(struct seat *seat);
/** The memory of all lives that ever were. */
void lives_free(void);
bool life_is_expired(const struct life *life);

/* world_owner.c */

/** It has opened a context and believes from now on that the rank is its own; until it closes. */
void owner_opened(struct life *life);
void owner_closes(struct life *life);
/** Allocations of it that have failed lately are a trouble, now. */
void seat_note_starved(struct seat *seat);
/** At a quiet time: nobody believes any more what is not so. */
void owners_check(void);
/** Has every seat but this one ended, or is away for good? */
bool others_are_done(const struct seat *seat);

/* world_call.c */

/** A call begins that ends within limit_ms, plus what is allowed to all. */
struct call *call_begin(struct life *life, const char *name, uint64_t limit_ms);
/** Judge its time and, when it failed, its sentence. Returns rc. */
int call_end(struct life *life, struct call *call, int rc);
/** All calls under way of all lives. */
void calls_watch(void);
void state_set(struct life *life, enum world_state state);
/** Enter a pool as a copy does; NULL: it is not there. */
struct mf_pool *pool_enter(struct worker *worker, uint32_t pool);
void pool_leave(struct worker *worker);
/** For calls that may block. */
struct mf_pool *pool_get(struct life *life, uint32_t pool);
void pool_put(struct life *life, uint32_t pool);

/* world_copy.c */

/** Something that copies, in a pool that the life has joined. */
void worker_copy(struct worker *worker);
/** The process has ended in the middle. */
void worker_killed(struct worker *worker);
/** Fill in elements of one pool; how many. */
uint32_t elements_draw(struct worker *worker, uint32_t pool, uint32_t most, bool bad);
/** Judge them all by `results` (or `rc` alone). */
void elements_judge(struct worker *worker, int rc, bool each, const char *what);
/** Arrays for struct mf_batch. */
struct element_arrays {
    void *src[ELEMENTS_MAX];
    void *dst[ELEMENTS_MAX];
    uint64_t size[ELEMENTS_MAX];
    int32_t results[ELEMENTS_MAX];
};
struct mf_batch elements_batch(struct worker *worker, struct element_arrays *arrays);

/* world_request.c */

void worker_request(struct worker *worker, uint32_t pool);
void worker_prepared(struct worker *worker, uint32_t pool);
void requests_free(struct life *life);

#endif
