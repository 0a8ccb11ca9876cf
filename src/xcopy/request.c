// SPDX-License-Identifier: Apache-2.0
// The life of requests: a table of memory that stays, free ones in a stack without a lock, handles
// with generations, waiting by futex, descriptors. The last reference puts a request back.
#include "xcopy/request.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/mutant.h"
#include "base/thread.h"

/* A handle has the form of base/handle.h: mark, kind, generation, slot. */
#define HANDLE_KIND  0xB1ull
#define HANDLE_HEAD  (0xFull << 60 | HANDLE_KIND << 52)
#define SLOT_MASK    0xFFFFull
#define GENERATION   16
#define SPIN_NS      20000u /* about what a wake-up takes */
#define SPIN_LOOKS   16u    /* between two looks at the clock */
#define SLOT_OF_FREE 0xFFFFFFFFull

_Static_assert(MF_REQUESTS_MAX <= SLOT_MASK + 1, "a handle has 16 bits for the slot");

/* ---- the table ---- */

static struct mf_req *at(const struct mf_req_table *table, uint32_t slot)
{
    struct mf_req *chunk =
        atomic_load_explicit(&table->chunks[slot / MF_REQ_CHUNK], memory_order_acquire);
    return chunk + slot % MF_REQ_CHUNK;
}

static void push(struct mf_req_table *table, struct mf_req *req)
{
    uint64_t head = atomic_load_explicit(&table->free, memory_order_relaxed);
    uint64_t next;
    do {
        atomic_store_explicit(&req->next, (uint32_t)(head & SLOT_OF_FREE), memory_order_relaxed);
        next = ((head >> 32) + 1) << 32 | (req->slot + 1);
    } while (!atomic_compare_exchange_weak_explicit(&table->free, &head, next, memory_order_release,
                                                    memory_order_relaxed));
}

struct mf_req *mf_req_take(struct mf_req_table *table)
{
    uint64_t head = atomic_load_explicit(&table->free, memory_order_acquire);
    struct mf_req *req;
    uint64_t next;
    do {
        if ((head & SLOT_OF_FREE) == 0) {
            return NULL;
        }
        /* Another thread may have it by now: its memory is there all the same, and the tag says. */
        req = at(table, (uint32_t)(head & SLOT_OF_FREE) - 1);
        next = ((head >> 32) + 1) << 32 | atomic_load_explicit(&req->next, memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(&table->free, &head, next, memory_order_acquire,
                                                    memory_order_acquire));
    atomic_store_explicit(&req->refs, 1, memory_order_relaxed);
    atomic_store_explicit(&req->cancelled, 0, memory_order_relaxed);
    req->prepared = false;
    req->begun = 0;
    req->failed = 0;
    req->at = 0;
    req->memory_bytes = 0;
    req->err.code = SMEM_OK;
    return req;
}

int mf_req_table_grow(struct mf_req_table *table, const struct mf_env *env)
{
    uint32_t count = atomic_load_explicit(&table->count, memory_order_relaxed);
    if (atomic_load_explicit(&table->free, memory_order_relaxed) & SLOT_OF_FREE) {
        return SMEM_OK; /* another thread has made room */
    }
    if (count == MF_REQUESTS_MAX) {
        return mf_err(SMEM_NO_RESOURCES,
                      "%u requests exist in this process, the limit: free those that have ended "
                      "with mf_request_free",
                      MF_REQUESTS_MAX);
    }
    struct mf_req *chunk = mf_alloc_aligned(64, sizeof(*chunk) * MF_REQ_CHUNK, "requests");
    if (!chunk) {
        return SMEM_MALLOC_FAILED;
    }
    memset(chunk, 0, sizeof(*chunk) * MF_REQ_CHUNK);
    if (count == 0) {
        table->spin_ns = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? SPIN_NS : 0;
    }
    atomic_store_explicit(&table->chunks[count / MF_REQ_CHUNK], chunk, memory_order_release);
    /* Before any of them can be taken: its handle has to be one. */
    atomic_store_explicit(&table->count, count + MF_REQ_CHUNK, memory_order_release);
    for (uint32_t i = MF_REQ_CHUNK; i-- > 0;) {
        chunk[i].slot = count + i;
        chunk[i].table = table;
        chunk[i].env = env;
        push(table, &chunk[i]);
    }
    return SMEM_OK;
}

void mf_req_table_forget(struct mf_req_table *table)
{
    uint32_t count = atomic_load(&table->count);
    for (uint32_t i = 0; i < count; i++) {
        int fd = atomic_load(&at(table, i)->fd);
        if (fd) {
            close(fd - 1);
        }
    }
    memset(table, 0, sizeof(*table));
}

/* ---- handles ---- */

uint64_t mf_req_publish(struct mf_req *req)
{
    uint32_t generation = atomic_load_explicit(&req->generation, memory_order_relaxed) + 1;
    atomic_store_explicit(&req->generation, generation, memory_order_release);
    return HANDLE_HEAD | (uint64_t)generation << GENERATION | req->slot;
}

/* The request that the handle names, with its generation; NULL: it never was one. */
static struct mf_req *decode(const struct mf_req_table *table, uint64_t handle,
                             uint32_t *generation)
{
    uint32_t slot = (uint32_t)(handle & SLOT_MASK);
    *generation = (uint32_t)(handle >> GENERATION);
    if ((handle & ~((uint64_t)UINT32_MAX << GENERATION | SLOT_MASK)) != HANDLE_HEAD ||
        *generation % 2 == 0 || slot >= atomic_load_explicit(&table->count, memory_order_acquire)) {
        return NULL;
    }
    return at(table, slot);
}

static inline bool is_of(const struct mf_req *req, uint32_t generation)
{
    return MF_MUTANT(STALE_HANDLE) ||
           atomic_load_explicit(&req->generation, memory_order_acquire) == generation;
}

struct mf_req *mf_req_find(struct mf_req_table *table, uint64_t handle)
{
    uint32_t generation;
    struct mf_req *req = decode(table, handle, &generation);
    if (!req || !is_of(req, generation)) {
        return NULL;
    }
    uint32_t refs = atomic_load_explicit(&req->refs, memory_order_relaxed);
    do {
        if (refs == 0) {
            return NULL;
        }
    } while (!atomic_compare_exchange_weak(&req->refs, &refs, refs + 1));
    if (!is_of(req, generation)) { /* freed between */
        mf_req_put(req);
        return NULL;
    }
    return req;
}

enum mf_req_state mf_req_look(struct mf_req_table *table, uint64_t handle, int32_t *status)
{
    uint32_t generation;
    struct mf_req *req = decode(table, handle, &generation);
    if (!req || !is_of(req, generation)) {
        return MF_REQ_FREE;
    }
    uint32_t state = atomic_load_explicit(&req->state, memory_order_acquire);
    *status = atomic_load_explicit(&req->status, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    return is_of(req, generation) ? (enum mf_req_state)state : MF_REQ_FREE;
}

void mf_req_put(struct mf_req *req)
{
    if (atomic_fetch_sub_explicit(&req->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    int fd = atomic_load_explicit(&req->fd, memory_order_relaxed);
    if (__builtin_expect(fd != 0, 0)) {
        close(fd - 1);
        atomic_store_explicit(&req->fd, 0, memory_order_relaxed);
    }
    if (req->prepared) {
        mf_prep_run_end(&req->run);
    }
    if (req->memory) {
        mf_free(req->memory);
        req->memory = NULL;
    }
    atomic_store_explicit(&req->state, MF_REQ_FREE, memory_order_relaxed);
    push(req->table, req);
}

bool mf_req_free(struct mf_req *req, uint64_t handle)
{
    uint32_t generation = (uint32_t)(handle >> GENERATION);
    if (!atomic_compare_exchange_strong(&req->generation, &generation, generation + 1)) {
        return false;
    }
    mf_req_put(req); /* the handle's */
    return true;
}

/* ---- waiting ---- */

static bool is_done(const struct mf_req *req)
{
    return atomic_load_explicit(&req->state, memory_order_acquire) == MF_REQ_DONE;
}

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void mf_req_expire(struct mf_req *req)
{
    if (atomic_load_explicit(&req->state, memory_order_relaxed) == MF_REQ_QUEUED &&
        mf_now_ns(req->env) >= req->deadline_ns && mf_req_claim(req)) {
        mf_req_end(req, mf_err(SMEM_TIMEOUT, "the deadline of the request passed before it began"));
    }
}

/* Sleep until the state is another than `seen`, or until the deadline. */
static void sleep_while(struct mf_req *req, uint32_t seen, uint64_t deadline_ns)
{
    atomic_fetch_add(&req->waiters, 1);
    if (atomic_load(&req->state) == seen) {
        mf_word_wait(&req->state, seen, deadline_ns);
    }
    atomic_fetch_sub(&req->waiters, 1);
}

static void look_for_a_while(const struct mf_req *req)
{
    uint64_t spin_ns = req->table->spin_ns;
    uint64_t until_ns = spin_ns && !is_done(req) ? mf_now_ns(req->env) + spin_ns : 0;
    while (until_ns && !is_done(req) && mf_now_ns(req->env) < until_ns) {
        for (uint32_t i = 0; i < SPIN_LOOKS && !is_done(req); i++) {
            relax();
        }
        mf_thread_yield(); /* to the worker, where processors are few */
    }
}

bool mf_req_wait(struct mf_req *req, uint64_t deadline_ns)
{
    if (deadline_ns) {
        look_for_a_while(req);
    }
    while (!is_done(req)) {
        mf_req_expire(req);
        uint64_t now_ns = mf_now_ns(req->env);
        uint32_t state = atomic_load(&req->state);
        if (state == MF_REQ_DONE || now_ns >= deadline_ns) {
            break;
        }
        uint64_t until_ns = state == MF_REQ_QUEUED && req->deadline_ns < deadline_ns
                                ? req->deadline_ns
                                : deadline_ns;
        sleep_while(req, state, until_ns);
    }
    return is_done(req);
}

bool mf_req_cancel(struct mf_req *req, uint64_t deadline_ns)
{
    if (mf_req_claim(req) ||
        (MF_MUTANT(DOUBLE_COMPLETION) && atomic_load(&req->state) == MF_REQ_RUNNING)) {
        mf_req_end(req, mf_err(SMEM_NOT_STARTED, "the request was cancelled before it began"));
        return true;
    }
    atomic_store(&req->cancelled, 1);
    return mf_req_wait(req, deadline_ns);
}

/* ---- completion ---- */

static void ring(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof(one));
    (void)n; /* full: it is readable already */
}

int mf_req_fd(struct mf_req *req, int *fd)
{
    int had = atomic_load(&req->fd);
    if (had == 0) {
        int made = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (made < 0) {
            return mf_err_sys(SMEM_NO_RESOURCES, errno, "a descriptor for a request");
        }
        if (atomic_compare_exchange_strong(&req->fd, &had, made + 1)) {
            had = made + 1;
            /* Whoever ends it looks for a descriptor after it has said so. */
            if (atomic_load(&req->state) == MF_REQ_DONE) {
                ring(made);
            }
        } else {
            close(made);
        }
    }
    *fd = had - 1;
    return SMEM_OK;
}

void mf_req_announce(struct mf_req *req)
{
    atomic_store(&req->state, MF_REQ_DONE);
    int fd = atomic_load(&req->fd);
    if (fd) {
        ring(fd - 1);
    }
    if (atomic_load(&req->waiters)) {
        mf_word_wake(&req->state);
    }
}
