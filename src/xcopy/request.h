// SPDX-License-Identifier: Apache-2.0
// Requests: copies that are submitted, then polled, waited for, cancelled, asked what became of
// each element. A request outlives the pool it copies in; its memory is never given back to the
// heap while its table lives, so that a stale handle is found out and never dereferences what is
// gone.
#ifndef MF_XCOPY_REQUEST_H
#define MF_XCOPY_REQUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "base/limits.h"
#include "xcopy/prepared.h"
#include "xcopy/xcopy.h"

/** Elements of a request whose codes and addresses need no memory of their own. */
#define MF_REQ_SMALL 16u
/** Requests up to this size are copied by the thread that submits them: handing them over costs
 * more. Measured: a worker begins about as late as these bytes take. */
#define MF_REQ_INLINE_BYTES (64u << 10)
/** Blocks of a prepared batch of that size at most: some ten microseconds. */
#define MF_REQ_INLINE_BLOCKS 1024u
/** Bytes, and elements, after which a request looks whether it shall stop. */
#define MF_REQ_STEP_BYTES    (16ull << 20)
#define MF_REQ_STEP_ELEMENTS 16384u
#define MF_REQ_CHUNK         64u /* requests that are allocated together */

enum mf_req_state {
    MF_REQ_FREE,
    MF_REQ_QUEUED,
    MF_REQ_RUNNING, /* one thread owns it: a worker, or whoever ends it before it began */
    MF_REQ_DONE,
};

struct mf_req_table;
struct mf_req_engine;

/** One request. What is not atomic belongs to the thread that submits it, then to the one that has
 * moved it to MF_REQ_RUNNING; and is read by all once it is MF_REQ_DONE. */
struct mf_req {
    _Alignas(64) _Atomic uint32_t generation; /* odd: the handle is valid */
    _Atomic uint32_t state;                   /* enum mf_req_state; waited for by futex */
    _Atomic uint32_t waiters;
    _Atomic uint32_t refs; /* the handle, the queue, calls under way */
    _Atomic uint32_t next; /* free requests: slot + 1 of the next one */
    _Atomic uint32_t cancelled;
    _Atomic int32_t status;
    _Atomic int32_t fd; /* eventfd + 1; 0: none */
    uint32_t slot;
    uint32_t count;  /* elements */
    uint64_t cookie; /* the caller's */
    struct mf_req_table *table;
    const struct mf_env *env;
    struct mf_req *after; /* in the engine's queue */
    uint64_t deadline_ns;
    uint64_t drops; /* the engine's, when it was submitted */
    /* A batch: */
    bool prepared; /* no: run counts */
    smem_bm_copy_type type;
    struct mf_batch batch; /* into `memory`; results: `small`, or there too */
    uint32_t begun;        /* elements that are no longer to be begun */
    uint32_t failed;
    uint64_t at; /* bytes of element `begun` that have arrived */
    void *memory;
    uint64_t memory_bytes;
    int32_t small[MF_REQ_SMALL];
    /* A prepared batch: */
    struct mf_prep_run run;
    struct mf_err_rec err; /* of the first failure; code 0: none */
};

/** All requests of a process. Zero-initialised it is empty. */
struct mf_req_table {
    _Atomic uint64_t free;  /* tag << 32 | slot + 1 of the first free request */
    _Atomic uint32_t count; /* made so far */
    _Atomic(struct mf_req *) chunks[MF_REQUESTS_MAX / MF_REQ_CHUNK];
    uint64_t spin_ns; /* a waiting thread looks for so long before it sleeps; 0: on one processor */
};

/* ---- handles (request.c) ---- */

/** A free request with one reference, or NULL: grow the table. Its state is MF_REQ_FREE and it has
 * no handle yet. */
struct mf_req *mf_req_take(struct mf_req_table *table);
/** More requests; one thread at a time. SMEM_NO_RESOURCES says the limit. */
int mf_req_table_grow(struct mf_req_table *table, const struct mf_env *env);
/** In the child of a fork: close descriptors, forget all. */
void mf_req_table_forget(struct mf_req_table *table);
/** Make the handle valid and return it. */
uint64_t mf_req_publish(struct mf_req *req);
/** The request, with a reference, or NULL when the handle is stale. */
struct mf_req *mf_req_find(struct mf_req_table *table, uint64_t handle);
void mf_req_put(struct mf_req *req);

/** Without a reference: MF_REQ_DONE and *status, another state, or MF_REQ_FREE for a stale handle.
 */
enum mf_req_state mf_req_look(struct mf_req_table *table, uint64_t handle, int32_t *status);
/** Until it is done, the deadline, or its own deadline, at which it ends when it has not begun.
 * False: it is not done. */
bool mf_req_wait(struct mf_req *req, uint64_t deadline_ns);
/** Nothing of it lands any more when this returns true. */
bool mf_req_cancel(struct mf_req *req, uint64_t deadline_ns);
/** Codes of the elements of a request that is done. */
void mf_req_results(const struct mf_req *req, int32_t *codes);
/** A descriptor that is readable when the request is done; the request's. */
int mf_req_fd(struct mf_req *req, int *fd);
/** Invalidate the handle of a request that is done; false: somebody else has. */
bool mf_req_free(struct mf_req *req, uint64_t handle);

/** Has the deadline of a request that nobody has begun passed? Then end it. */
void mf_req_expire(struct mf_req *req);

/* ---- what is to be done (request_run.c) ---- */

/** The batch's arrays become the request's own. */
int mf_req_set_batch(struct mf_req *req, const struct mf_batch *batch, smem_bm_copy_type type);
/** Copy a batch of at most MF_REQ_SMALL elements on this thread, inside a call, before anybody else
 * knows of the request. False: a rank has to be resolved first, which may take long: queue it;
 * nothing has been copied. */
bool mf_req_run_now(struct mf_req *req, const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                    const struct mf_batch *batch, smem_bm_copy_type type);
/** The same for a prepared batch whose run has been started. */
void mf_req_run_prepared(struct mf_req *req, const struct mf_xcopy_space *space,
                         struct mf_lanes *lanes);
/** The next step, inside a call; true when nothing is left. */
bool mf_req_step(struct mf_req *req, const struct mf_xcopy_space *space, struct mf_lanes *lanes);
/** Say of a request that is MF_REQ_RUNNING, and whose outcome is written down, that it is done
 * (request.c). The caller has a reference. */
void mf_req_announce(struct mf_req *req);
/** End a request that this thread owns. `rc` 0: what its elements came to; else why it was stopped,
 * with the recorded sentence. */
void mf_req_end(struct mf_req *req, int rc);
/** Take a request that nobody has begun; false: it has been. */
static inline bool mf_req_claim(struct mf_req *req)
{
    uint32_t queued = MF_REQ_QUEUED;
    return atomic_compare_exchange_strong(&req->state, &queued, MF_REQ_RUNNING);
}

/* ---- workers of one pool (request_engine.c) ---- */

/** How a worker gets at the pool. */
struct mf_req_host {
    const struct mf_xcopy_space *space;
    /** Begin a call: *thread is NULL at first and the worker's own. A code ends the request. */
    int (*enter)(void *arg, void **thread, struct mf_lanes **lanes);
    void (*leave)(void *arg, void *thread);
    /** The worker ends; thread may be NULL. */
    void (*quit)(void *arg, void *thread);
    void *arg;
};

/** Workers start with the first requests. */
int mf_req_engine_create(const struct mf_env *env, uint32_t workers, const struct mf_req_host *host,
                         struct mf_req_engine **out);
/** Ends all requests that have not begun, and those that run at their next step. SMEM_TIMEOUT: one
 * still runs; call again. NULL is fine. No other call uses the engine. */
int mf_req_engine_destroy(struct mf_req_engine *engine, uint64_t deadline_ns);
/** The rank leaves its pool: what was submitted before ends without being begun. */
void mf_req_engine_drop(struct mf_req_engine *engine);
/** Carry a small request that nobody has begun out on this thread, inside a call of its pool:
 * whoever waits for it has nothing better to do. False: it is not such a one. */
bool mf_req_engine_help(struct mf_req_engine *engine, struct mf_req *req, struct mf_lanes *lanes);
/** Give it a request that has its work; it is MF_REQ_QUEUED from here on. */
int mf_req_engine_submit(struct mf_req_engine *engine, struct mf_req *req, uint64_t deadline_ns);

#endif
