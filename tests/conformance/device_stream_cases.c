// SPDX-License-Identifier: Apache-2.0
// Conformance of a device: streams, words, events and host functions.
#include "device_suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Held streams are looked at after this time: long enough to be done by mistake. */
#define A_WHILE_MS 30

static int sync_for(struct suite *s, void *stream, uint32_t ms)
{
    return DEV(s, stream_sync, stream, mf_deadline_ns(&s->env, ms));
}

void test_device__stream_keeps_its_order(void **state)
{
    struct suite *s = *state;
    struct place place;
    uint64_t value[200];
    uint64_t seen[200];
    place_create(s, s->unit, &place);
    for (uint64_t i = 0; i < 200; i++) {
        value[i] = i + 1;
        mf_assert_ok(DEV(s, copy, s->stream, place.addr, num(&value[i]), 8));
        mf_assert_ok(DEV(s, copy, s->stream, num(&seen[i]), place.addr, 8));
    }
    mf_assert_ok(sync_stream(s));
    assert_memory_equal(seen, value, sizeof(value));
    place_destroy(s, &place);
}

void test_device__sync_of_an_idle_stream_returns(void **state)
{
    struct suite *s = *state;
    mf_assert_ok(DEV(s, stream_sync, s->stream, 0));
    mf_assert_ok(sync_stream(s));
}

void test_device__wait_holds_the_stream_until_the_word(void **state)
{
    struct suite *s = *state;
    struct place place;
    void *other;
    uint64_t from = 77;
    _Atomic uint64_t to = 0;
    place_create(s, s->unit, &place);
    mf_assert_ok(DEV(s, stream_create, &other));
    mf_assert_ok(DEV(s, wait64, s->stream, place.addr + 8, 5));
    mf_assert_ok(DEV(s, copy, s->stream, num(&to), num(&from), 8));
    mf_assert_rc(sync_for(s, s->stream, A_WHILE_MS), SMEM_TIMEOUT);
    assert_int_equal(to, 0);
    mf_assert_ok(DEV(s, write64, other, place.addr + 8, 4));
    mf_assert_ok(sync_for(s, other, 10000));
    mf_assert_rc(sync_for(s, s->stream, A_WHILE_MS), SMEM_TIMEOUT);
    assert_int_equal(to, 0);
    mf_assert_ok(DEV(s, write64, other, place.addr + 8, 5));
    mf_assert_ok(sync_for(s, other, 10000));
    mf_assert_ok(sync_stream(s));
    assert_int_equal(to, 77);
    DEV(s, stream_destroy, other);
    place_destroy(s, &place);
}

/* A word in host memory, written by the host; compared as unsigned. */
void test_device__wait_is_released_by_a_larger_word(void **state)
{
    struct suite *s = *state;
    _Atomic uint64_t word = 1;
    _Atomic uint64_t answer = 0;
    mf_assert_ok(DEV(s, wait64, s->stream, num(&word), 2));
    mf_assert_ok(DEV(s, write64, s->stream, num(&answer), 9));
    mf_assert_rc(sync_for(s, s->stream, A_WHILE_MS), SMEM_TIMEOUT);
    word = UINT64_MAX;
    mf_assert_ok(sync_stream(s));
    assert_int_equal(answer, 9);
}

void test_device__words_must_be_aligned(void **state)
{
    struct suite *s = *state;
    struct place place;
    place_create(s, s->unit, &place);
    mf_assert_rc(DEV(s, write64, s->stream, place.addr + 4, 1), SMEM_INVALID_PARAM);
    mf_assert_rc(DEV(s, wait64, s->stream, place.addr + 1, 1), SMEM_INVALID_PARAM);
    mf_assert_rc(DEV(s, write64, s->stream, place.addr + s->unit - 4, 1), SMEM_INVALID_PARAM);
    assert_string_not_equal(mf_err_msg(), "");
    place_destroy(s, &place);
}

void test_device__sync_keeps_its_deadline(void **state)
{
    struct suite *s = *state;
    _Atomic uint64_t word = 0;
    mf_assert_ok(DEV(s, wait64, s->stream, num(&word), 1));
    uint64_t start = mf_now_ns(&s->env);
    mf_assert_rc(sync_for(s, s->stream, 50), SMEM_TIMEOUT);
    uint64_t took = mf_now_ns(&s->env) - start;
    assert_string_not_equal(mf_err_msg(), "");
    assert_in_range(took, 50 * MF_NS_PER_MS, 5000 * MF_NS_PER_MS);
    mf_assert_rc(DEV(s, stream_sync, s->stream, 1), SMEM_TIMEOUT); /* one that has passed */
    word = 1;
    mf_assert_ok(sync_stream(s));
}

void test_device__event_happens_when_the_stream_is_there(void **state)
{
    struct suite *s = *state;
    _Atomic uint64_t word = 0;
    void *event;
    mf_assert_ok(DEV(s, event_create, &event));
    mf_assert_ok(DEV(s, event_sync, event, 0)); /* never recorded */
    mf_assert_ok(DEV(s, wait64, s->stream, num(&word), 1));
    mf_assert_ok(DEV(s, event_record, event, s->stream));
    mf_assert_rc(DEV(s, event_sync, event, 0), SMEM_TIMEOUT);
    mf_assert_rc(DEV(s, event_sync, event, mf_deadline_ns(&s->env, A_WHILE_MS)), SMEM_TIMEOUT);
    word = 1;
    mf_assert_ok(DEV(s, event_sync, event, soon(s)));
    mf_assert_ok(DEV(s, event_sync, event, 0));
    DEV(s, event_destroy, event);
}

void test_device__event_recorded_again_replaces(void **state)
{
    struct suite *s = *state;
    _Atomic uint64_t word = 0;
    void *event;
    mf_assert_ok(DEV(s, event_create, &event));
    mf_assert_ok(DEV(s, event_record, event, s->stream));
    mf_assert_ok(DEV(s, event_sync, event, soon(s)));
    mf_assert_ok(DEV(s, wait64, s->stream, num(&word), 1));
    mf_assert_ok(DEV(s, event_record, event, s->stream));
    mf_assert_rc(DEV(s, event_sync, event, 0), SMEM_TIMEOUT);
    word = 1;
    mf_assert_ok(DEV(s, event_sync, event, soon(s)));
    DEV(s, event_destroy, event);
}

void test_device__stream_waits_for_an_event(void **state)
{
    struct suite *s = *state;
    _Atomic uint64_t word = 0;
    _Atomic uint64_t answer = 0;
    void *other;
    void *event;
    mf_assert_ok(DEV(s, stream_create, &other));
    mf_assert_ok(DEV(s, event_create, &event));
    mf_assert_ok(DEV(s, wait64, s->stream, num(&word), 1));
    mf_assert_ok(DEV(s, event_record, event, s->stream));
    mf_assert_ok(DEV(s, stream_wait_event, other, event));
    mf_assert_ok(DEV(s, write64, other, num(&answer), 3));
    DEV(s, event_destroy, event); /* the wait that is queued stays */
    mf_assert_rc(sync_for(s, other, A_WHILE_MS), SMEM_TIMEOUT);
    assert_int_equal(answer, 0);
    word = 1;
    mf_assert_ok(sync_for(s, other, 10000));
    assert_int_equal(answer, 3);
    DEV(s, stream_destroy, other);
}

void test_device__held_stream_can_be_destroyed(void **state)
{
    struct suite *s = *state;
    static _Atomic uint64_t word; /* outlives the streams, which stay held */
    static _Atomic uint64_t answer;
    void *held;
    void *event;
    mf_assert_ok(DEV(s, stream_create, &held));
    mf_assert_ok(DEV(s, event_create, &event));
    mf_assert_ok(DEV(s, wait64, held, num(&word), 1));
    mf_assert_ok(DEV(s, write64, held, num(&answer), 1));
    mf_assert_ok(DEV(s, event_record, event, held));
    mf_assert_ok(DEV(s, stream_wait_event, s->stream, event));
    uint64_t start = mf_now_ns(&s->env);
    DEV(s, stream_destroy, held);
    assert_true(mf_now_ns(&s->env) - start < 5 * MF_NS_PER_S);
    /* What was queued is dropped, and nobody waits for it any more. */
    assert_int_equal(answer, 0);
    mf_assert_ok(DEV(s, event_sync, event, soon(s)));
    mf_assert_ok(sync_stream(s));
    DEV(s, event_destroy, event);
}

struct seen {
    uint64_t addr;
    uint64_t size;
    uint64_t word;
    bool beyond, host;
};

static void look(void *arg, const mf_device_view_t *view)
{
    struct seen *seen = arg;
    uint64_t *at = view->at(view, seen->addr, seen->size);
    seen->beyond = view->at(view, seen->addr, seen->size + 1) != NULL;
    seen->host = view->at(view, num(seen), sizeof(*seen)) != NULL;
    if (at) {
        seen->word = at[1];
        at[0] = 99;
    }
}

void test_device__host_function_sees_device_memory(void **state)
{
    struct suite *s = *state;
    struct place place;
    uint64_t word = 1234;
    uint64_t back = 0;
    place_create(s, s->unit, &place);
    struct seen seen = {.addr = place.addr, .size = s->unit, .beyond = true, .host = true};
    mf_assert_ok(DEV(s, copy, s->stream, place.addr + 8, num(&word), 8));
    int rc = DEV(s, launch, s->stream, look, &seen);
    skip_without(rc, "launch");
    mf_assert_ok(rc);
    mf_assert_ok(DEV(s, copy, s->stream, num(&back), place.addr, 8));
    mf_assert_ok(sync_stream(s));
    assert_int_equal(seen.word, 1234);
    assert_false(seen.beyond);
    assert_false(seen.host);
    assert_int_equal(back, 99);
    place_destroy(s, &place);
}

#define THREADS 4u
#define ROUNDS  50u

struct worker {
    struct suite *s;
    uint64_t addr; /* of its own 4 KiB */
    uint32_t seed;
    int rc;
    bool wrong;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    struct suite *s = w->s;
    void *stream;
    uint8_t from[4096];
    uint8_t to[4096];
    int rc = DEV(s, stream_create, &stream);
    for (uint32_t i = 0; i < ROUNDS && !rc; i++) {
        pattern(from, sizeof(from), w->seed + i);
        rc = DEV(s, copy, stream, w->addr, num(from), sizeof(from));
        rc = rc ? rc : DEV(s, copy, stream, num(to), w->addr, sizeof(to));
        rc = rc ? rc : DEV(s, stream_sync, stream, soon(s));
        w->wrong = w->wrong || memcmp(from, to, sizeof(to)) != 0;
        struct place extra = {.size = s->unit}; /* the tables change meanwhile */
        rc = rc ? rc : DEV(s, mem_create, s->unit, &extra.mem);
        rc = rc ? rc : DEV(s, window_reserve, 0, s->unit, &extra.addr);
        rc = rc ? rc : DEV(s, map, extra.addr, extra.mem, 0, s->unit);
        rc = rc ? rc : DEV(s, unmap, extra.addr, s->unit);
        DEV(s, window_release, extra.addr, s->unit);
        DEV(s, mem_destroy, extra.mem);
    }
    DEV(s, stream_destroy, stream);
    w->rc = rc;
    return NULL;
}

void test_device__streams_of_many_threads(void **state)
{
    struct suite *s = *state;
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    struct place place;
    place_create(s, whole_units(s, THREADS * 4096ull), &place);
    for (uint32_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.s = s, .addr = place.addr + i * 4096ull, .seed = i * 1000};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        mf_assert_ok(workers[i].rc);
        assert_false(workers[i].wrong);
    }
    place_destroy(s, &place);
}
