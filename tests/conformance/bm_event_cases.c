// SPDX-License-Identifier: Apache-2.0
// Cases of the BM suite: the handler of group events, as the other ranks come, go and die.
#include "conformance/bm_suite.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define DEAD_WORD 15 /* 1 + the rank that kills itself */
#define EVENTS    256u

/* What one handler was told. */
struct seen {
    struct bm_rank *r;
    _Atomic uint32_t count;
    int told[EVENTS];          /* rank + 1, negative for a leave */
    _Atomic(smem_bm_t) handle; /* of the last call */
    _Atomic uint32_t inside;   /* calls that run */
    _Atomic uint32_t hold;     /* the handler waits while it is not 0 */
    bool calls_back;           /* the handler uses the pool */
    _Atomic int destroy_rc, uninit_rc;
};

static void on_event(smem_bm_t handle, uint32_t rank, smem_bm_group_event_t event, void *context)
{
    struct seen *s = context;
    uint32_t at = atomic_load(&s->count);
    CHECK(s->r, atomic_fetch_add(&s->inside, 1) == 0); /* one after the other */
    CHECK(s->r, event == SMEM_GROUP_EVENT_JOIN || event == SMEM_GROUP_EVENT_LEAVE);
    CHECK(s->r, at < EVENTS);
    s->told[at] = event == SMEM_GROUP_EVENT_JOIN ? (int)rank + 1 : -(int)rank - 1;
    atomic_store(&s->handle, handle);
    if (s->calls_back && event == SMEM_GROUP_EVENT_JOIN) {
        char word[8] = "handler";
        char *there = smem_bm_ptr_by_mem_type(handle, SMEM_MEM_TYPE_HOST, (uint16_t)rank);
        smem_copy_params p = {.src = word, .dest = there + s->r->rank * 64, .dataSize = 8};
        CHECK_OK(s->r, smem_bm_copy(handle, &p, SMEMB_COPY_H2G, 0));
        CHECK_OK(s->r, smem_bm_join(handle, 0)); /* it has joined */
        smem_bm_destroy(handle);
        atomic_store(&s->destroy_rc, smem_get_last_err_code());
        smem_bm_uninit(0);
        atomic_store(&s->uninit_rc, smem_get_last_err_code());
    }
    while (atomic_load(&s->hold) != 0) {
        bm_sleep_ms(1);
    }
    atomic_fetch_sub(&s->inside, 1);
    atomic_store(&s->count, at + 1);
}

static void await_count(struct seen *s, uint32_t count)
{
    for (uint64_t end = bm_now_ms() + 10000; bm_now_ms() < end;) {
        if (atomic_load(&s->count) >= count) {
            break;
        }
        bm_sleep_ms(1);
    }
    CHECK_RC(s->r, (int)atomic_load(&s->count), (int)count);
}

static bool was_told(const struct seen *s, const int *want, uint32_t count)
{
    bool same = atomic_load(&s->count) == count;
    for (uint32_t i = 0; same && i < count; i++) {
        same = s->told[i] == want[i];
    }
    return same;
}

/* ---- order --------------------------------------------------------------------------------------
 */

/* Rank 0 sees rank 1 join, leave, join, and rank 2 join and die. */
static void come_and_go(struct bm_rank *r)
{
    static const int want[] = {2, -2, 2, 3, -3};
    if (r->rank == 0) {
        struct seen s = {.r = r};
        CHECK_OK(r, smem_bm_set_group_event_handler(r->pool, on_event, &s)); /* before its join */
        CHECK_OK(r, smem_bm_join(r->pool, 0));
        for (uint32_t step = 1; step <= 5; step++) {
            bm_set(r, 0, step);
            await_count(&s, step);
            CHECK(r, atomic_load(&s.handle) == r->pool);
        }
        CHECK(r, was_told(&s, want, 5));
        bm_sleep_ms(20);
        CHECK(r, was_told(&s, want, 5)); /* once each */
        CHECK_OK(r, smem_bm_set_group_event_handler(r->pool, NULL, NULL));
        CHECK_RC(r, bm_copy(r, bm_gh(r, 2), &s, 8, SMEMB_COPY_H2G), SMEM_NOT_CONNECTED);
    } else if (r->rank == 1) {
        bm_await(r, 0, 1);
        CHECK_OK(r, smem_bm_join(r->pool, 0));
        bm_await(r, 0, 2);
        CHECK_OK(r, smem_bm_leave(r->pool, 0));
        bm_await(r, 0, 3);
        CHECK_OK(r, smem_bm_join(r->pool, 0));
        bm_await(r, 0, 5);
    } else {
        bm_await(r, 0, 4);
        CHECK_OK(r, smem_bm_join(r->pool, 0));
        bm_await(r, 0, 5);
        atomic_store(&r->stage->word[DEAD_WORD], r->rank + 1);
        kill(getpid(), SIGKILL);
    }
    if (r->rank == 0) {
        atomic_fetch_add(&r->stage->arrived, 1); /* at the last barrier, for the dead one */
    }
}

/* A handler that is set late hears of those that are there, and a new one hears of all again. */
static void set_late(struct bm_rank *r)
{
    struct seen a = {.r = r}, b = {.r = r};
    uint32_t others = r->ranks - 1, sum = 0;
    CHECK_OK(r, smem_bm_set_group_event_handler(r->pool, on_event, &a));
    await_count(&a, others);
    for (uint32_t i = 0; i < others; i++) {
        CHECK(r, a.told[i] > 0 && a.told[i] != (int)r->rank + 1);
        sum += 1u << a.told[i];
    }
    CHECK(r, sum == ((2u << r->ranks) - 2) - (2u << r->rank)); /* each once, but itself */
    CHECK_OK(r, smem_bm_set_group_event_handler(r->pool, on_event, &b));
    await_count(&b, others);
    CHECK_RC(r, (int)atomic_load(&a.count), (int)others);
    bm_barrier(r);
    CHECK_OK(r, smem_bm_leave(r->pool, 0)); /* so that it sees nobody any more */
    await_count(&b, 2 * others);
    bm_barrier(r);
    CHECK_OK(r, smem_bm_join(r->pool, 0));
    bm_barrier(r);
    for (int ms = 0; ms < 5000 && atomic_load(&b.count) < 3 * others; ms++) {
        bm_sleep_ms(1);
    }
    int there[RANKS_MAX + 2] = {0};
    for (uint32_t i = 0; i < atomic_load(&b.count); i++) {
        there[abs(b.told[i])] += b.told[i] > 0 ? 1 : -1;
        CHECK(r, there[abs(b.told[i])] == (b.told[i] > 0)); /* in turn */
    }
    for (uint32_t rank = 0; rank < r->ranks; rank++) {
        CHECK(r, there[rank + 1] == (rank != r->rank)); /* and all are back in the end */
    }
    bm_barrier(r);
    CHECK_OK(r, smem_bm_set_group_event_handler(r->pool, NULL, NULL));
}

/* ---- what a handler may do ----------------------------------------------------------------------
 */

static void calls_back(struct bm_rank *r)
{
    struct seen s = {.r = r, .calls_back = true};
    char word[8];
    CHECK_OK(r, smem_bm_set_group_event_handler(r->pool, on_event, &s));
    await_count(&s, r->ranks - 1);
    CHECK_RC(r, atomic_load(&s.destroy_rc), SMEM_RES_IN_USE);
    CHECK_RC(r, atomic_load(&s.uninit_rc), SMEM_RES_IN_USE);
    bm_barrier(r);
    for (uint32_t rank = 0; rank < r->ranks; rank++) {
        CHECK_OK(r, bm_copy(r, word, bm_gh(r, r->rank) + rank * 64, 8, SMEMB_COPY_G2H));
        CHECK(r, rank == r->rank || memcmp(word, "handler", 8) == 0);
    }
    bm_barrier(r);
    CHECK_OK(r, smem_bm_set_group_event_handler(r->pool, NULL, NULL));
}

static void *release_later(void *arg)
{
    struct seen *s = arg;
    bm_sleep_ms(50);
    atomic_store(&s->hold, 0);
    return NULL;
}

/* Taking a handler away waits for its call; destroy with a busy one does, too. */
static void taken_away(struct bm_rank *r)
{
    pthread_t thread;
    for (int round = 0; round < 3; round++) {
        struct seen s = {.r = r, .hold = 1};
        CHECK_OK(r, smem_bm_set_group_event_handler(r->pool, on_event, &s));
        for (int ms = 0; ms < 5000 && atomic_load(&s.inside) == 0; ms++) {
            bm_sleep_ms(1);
        }
        CHECK(r, atomic_load(&s.inside) == 1);
        CHECK(r, pthread_create(&thread, NULL, release_later, &s) == 0);
        if (round < 2) {
            CHECK_OK(r, smem_bm_set_group_event_handler(r->pool, NULL, NULL));
        } else {
            bm_barrier(r);
            smem_bm_destroy(r->pool);
        }
        CHECK(r, atomic_load(&s.inside) == 0);
        CHECK_RC(r, (int)atomic_load(&s.count), 1);
        pthread_join(thread, NULL);
    }
    CHECK_RC(r, smem_bm_set_group_event_handler(r->pool, on_event, NULL), SMEM_INVALID_PARAM);
    bm_barrier(r);
    r->pool = bm_create(r, 0);
}

const struct bm_case bm_event_cases[] = {
    {.name = "events: ranks come, go and die", .ranks = 3, .not_joined = true, .fn = come_and_go},
    {.name = "events: a handler that is set late", .ranks = 3, .fn = set_late},
    {.name = "events: a handler uses the pool", .ranks = 3, .fn = calls_back},
    {.name = "events: a handler is taken away", .ranks = 2, .fn = taken_away},
    {.name = NULL},
};
