// SPDX-License-Identifier: Apache-2.0
// Calls of the library as a program makes them: pools that may be destroyed by another thread
// meanwhile, and the promises that hold for every call: it ends by its deadline, a failure has a
// sentence.
#include <string.h>

#include "base/err.h"
#include "world_priv.h"

/* ---- judging ---- */

static uint64_t own_time(const struct life *life, const struct call *call)
{
    uint64_t all = sim_now() - call->begun_ns;
    uint64_t stopped = sim_proc_stopped_ns(life->proc) - call->stopped_ns;
    return all > stopped ? all - stopped : 0;
}

static void judge_time(const struct life *life, const struct call *call)
{
    uint64_t took = own_time(life, call);
    if (took > (call->limit_ms + GRACE_MS) * MS * life->seat->slowest) {
        sim_broken("deadline", "%s of rank %u, for which %llu ms are given, %s after %llu ms",
                   call->name, life->rank, (unsigned long long)call->limit_ms,
                   life->seat->life == life ? "has not ended or has just ended" : "ended",
                   (unsigned long long)(took / MS));
    }
}

struct call *call_begin(struct life *life, const char *name, uint64_t limit_ms)
{
    struct call *call = life->calls;
    while (call->name != NULL) {
        call++;
        MF_ASSERT(call < life->calls + CALLS_MAX);
    }
    *call = (struct call){.name = name,
                          .begun_ns = sim_now(),
                          .stopped_ns = sim_proc_stopped_ns(life->proc),
                          .limit_ms = limit_ms};
    mf_err_clear();
    return call;
}

/* Codes and sentences that say nothing. */
static void judge_sentence(const struct life *life, const char *name, int rc)
{
    const char *text = mf_err_msg();
    if (text[0] == '\0') {
        sim_broken("silent-error", "%s of rank %u gave %d without a sentence", name, life->rank,
                   rc);
    } else if (rc == SMEM_NOT_CONNECTED && strstr(text, "rank") == NULL &&
               strstr(text, "store") == NULL) {
        sim_broken("silent-error", "%s of rank %u gave %d and names no rank: \"%s\"", name,
                   life->rank, rc, text);
    } else if (rc > 0) {
        sim_broken("silent-error", "%s of rank %u gave %d, which is no code", name, life->rank, rc);
    }
}

int call_end(struct life *life, struct call *call, int rc)
{
    const char *name = call->name;
    judge_time(life, call);
    call->name = NULL;
    world.out->calls++;
    sim_note(1, (uint64_t)(int64_t)rc);
    if (rc != SMEM_OK) {
        world.out->failed_calls++;
        judge_sentence(life, name, rc);
        sim_say("%s: %d %s", name, rc, mf_err_msg());
    } else if (sim_verbose()) {
        sim_say("%s: ok", name);
    }
    return rc;
}

void calls_watch(void)
{
    for (uint32_t i = 0; i < world.seat_count; i++) {
        const struct life *life = world.seats[i].life;
        for (uint32_t k = 0; life != NULL && k < CALLS_MAX; k++) {
            if (life->calls[k].name != NULL) {
                judge_time(life, &life->calls[k]);
            }
        }
    }
}

void state_set(struct life *life, enum world_state state)
{
    life->seat->state = state;
}

/* ---- pools ---- */

struct mf_pool *pool_enter(struct worker *worker, uint32_t pool)
{
    struct life *life = worker->life;
    if (worker->thread == NULL && mf_threads_take(&life->threads, &worker->thread) != SMEM_OK) {
        worker->thread = NULL;
        return NULL;
    }
    mf_thread_enter(&life->threads, worker->thread);
    struct mf_pool *there = life->pools[pool];
    if (there == NULL) {
        mf_thread_leave(worker->thread);
    }
    return there;
}

void pool_leave(struct worker *worker)
{
    mf_thread_leave(worker->thread);
}

struct mf_pool *pool_get(struct life *life, uint32_t pool)
{
    struct mf_pool *there = life->pools[pool];
    life->users[pool] += there != NULL;
    return there;
}

void pool_put(struct life *life, uint32_t pool)
{
    life->users[pool]--;
}
