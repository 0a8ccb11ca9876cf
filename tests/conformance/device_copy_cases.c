// SPDX-License-Identifier: Apache-2.0
// Conformance of a device: copies and fills, and what they refuse.
#include "device_suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define LEN 100000u

void test_device__copies_in_every_direction(void **state)
{
    struct suite *s = *state;
    struct place a;
    struct place b;
    uint8_t *from = malloc(LEN);
    uint8_t *to = malloc(LEN);
    uint8_t *third = malloc(LEN);
    pattern(from, LEN, 7);
    place_create(s, whole_units(s, LEN), &a);
    place_create(s, whole_units(s, LEN + 64), &b);
    mf_assert_ok(DEV(s, copy, s->stream, a.addr, num(from), LEN));       /* host to device */
    mf_assert_ok(DEV(s, copy, s->stream, b.addr + 64, a.addr, LEN));     /* device to device */
    mf_assert_ok(DEV(s, copy, s->stream, num(third), b.addr + 64, LEN)); /* device to host */
    mf_assert_ok(DEV(s, copy, s->stream, num(to), num(third), LEN));     /* host to host */
    mf_assert_ok(sync_stream(s));
    assert_memory_equal(to, from, LEN);
    place_destroy(s, &a);
    place_destroy(s, &b);
    free(from);
    free(to);
    free(third);
}

void test_device__copies_at_odd_offsets_and_sizes(void **state)
{
    struct suite *s = *state;
    static const uint32_t sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 63, 65, 4095, 4097};
    struct place place;
    uint8_t from[4200];
    uint8_t to[4200];
    pattern(from, sizeof(from), 3);
    place_create(s, whole_units(s, sizeof(from)), &place);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (uint32_t offset = 0; offset < 9; offset++) {
            uint64_t at = place.addr + place.size - sizes[i] - offset;
            memset(to, 0xcc, sizeof(to));
            mf_assert_ok(DEV(s, copy, s->stream, at, num(from + offset), sizes[i]));
            mf_assert_ok(DEV(s, copy, s->stream, num(to + 1), at, sizes[i]));
            mf_assert_ok(sync_stream(s));
            assert_memory_equal(to + 1, from + offset, sizes[i]);
            assert_int_equal(to[0], 0xcc);
            assert_int_equal(to[1 + sizes[i]], 0xcc);
        }
    }
    place_destroy(s, &place);
}

/* Three memories, next to each other in one window. */
void test_device__copy_crosses_adjacent_mappings(void **state)
{
    struct suite *s = *state;
    mf_dev_mem mem[3];
    uint64_t addr;
    uint64_t len = 2 * s->unit + 100;
    uint8_t *from = malloc(len);
    uint8_t *to = malloc(len);
    pattern(from, len, 11);
    mf_assert_ok(DEV(s, window_reserve, 0, 3 * s->unit, &addr));
    for (int i = 2; i >= 0; i--) {
        mf_assert_ok(DEV(s, mem_create, s->unit, &mem[i]));
        mf_assert_ok(DEV(s, map, addr + (uint64_t)i * s->unit, mem[i], 0, s->unit));
    }
    assert_true(mf_dev_owns(s->dev, addr, 3 * s->unit));
    mf_assert_ok(DEV(s, copy, s->stream, addr + 77, num(from), len));
    mf_assert_ok(DEV(s, copy, s->stream, num(to), addr + 77, len));
    mf_assert_ok(sync_stream(s));
    assert_memory_equal(to, from, len);
    mf_assert_ok(DEV(s, fill, s->stream, addr + 50, 9, len));
    mf_assert_ok(DEV(s, copy, s->stream, num(to), addr + 50, len));
    mf_assert_ok(sync_stream(s));
    for (uint64_t i = 0; i < len; i++) {
        assert_int_equal(to[i], 9);
    }
    for (int i = 0; i < 3; i++) {
        mf_assert_ok(DEV(s, unmap, addr + (uint64_t)i * s->unit, s->unit));
        DEV(s, mem_destroy, mem[i]);
    }
    DEV(s, window_release, addr, 3 * s->unit);
    free(from);
    free(to);
}

void test_device__copy_refuses_what_is_not_mapped(void **state)
{
    struct suite *s = *state;
    mf_dev_mem mem;
    uint64_t addr;
    uint8_t host[64];
    memset(host, 0x5a, sizeof(host));
    mf_assert_ok(DEV(s, mem_create, s->unit, &mem));
    mf_assert_ok(DEV(s, window_reserve, 0, 3 * s->unit, &addr));
    uint64_t base = addr + s->unit;
    mf_assert_ok(DEV(s, map, base, mem, 0, s->unit));
    const uint64_t bad[] = {
        base + s->unit - 63, /* runs out of the mapping */
        base - 1,            /* begins before it */
        addr,                /* reserved, not mapped */
        base + s->unit,
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mf_assert_rc(DEV(s, copy, s->stream, bad[i], num(host), 64), SMEM_INVALID_PARAM);
        assert_string_not_equal(mf_err_msg(), "");
        mf_assert_rc(DEV(s, copy, s->stream, num(host), bad[i], 64), SMEM_INVALID_PARAM);
    }
    mf_assert_rc(DEV(s, copy, s->stream, base, UINT64_MAX - 3, 64), SMEM_INVALID_PARAM);
    mf_assert_ok(sync_stream(s));
    uint8_t last = 1;
    mf_assert_ok(DEV(s, copy, s->stream, num(&last), base + s->unit - 1, 1));
    mf_assert_ok(sync_stream(s));
    assert_int_equal(last, 0); /* nothing was written before the end either */
    for (size_t i = 0; i < sizeof(host); i++) {
        assert_int_equal(host[i], 0x5a);
    }
    mf_assert_ok(DEV(s, unmap, base, s->unit));
    DEV(s, window_release, addr, 3 * s->unit);
    DEV(s, mem_destroy, mem);
}

void test_device__copy_of_nothing_is_fine(void **state)
{
    struct suite *s = *state;
    struct place place;
    uint8_t byte = 0;
    place_create(s, s->unit, &place);
    mf_assert_ok(DEV(s, copy, s->stream, place.addr, num(&byte), 0));
    mf_assert_ok(DEV(s, fill, s->stream, place.addr, 1, 0));
    mf_assert_ok(sync_stream(s));
    place_destroy(s, &place);
}

#define BATCH 300u

void test_device__batch_copies_all(void **state)
{
    struct suite *s = *state;
    struct mf_device_copy_desc desc[BATCH];
    struct place place;
    uint8_t *from = malloc(BATCH * 40);
    uint8_t *to = malloc(BATCH * 40);
    pattern(from, BATCH * 40, 5);
    place_create(s, whole_units(s, BATCH * 50ull), &place);
    for (uint64_t i = 0; i < BATCH; i++) {
        desc[i] = (struct mf_device_copy_desc){place.addr + i * 50, num(from) + i * 40, 40};
    }
    mf_assert_ok(mf_dev_copy_batch(s->dev, s->stream, desc, BATCH));
    for (uint64_t i = 0; i < BATCH; i++) {
        desc[i] = (struct mf_device_copy_desc){num(to) + i * 40, place.addr + i * 50, 40};
    }
    mf_assert_ok(mf_dev_copy_batch(s->dev, s->stream, desc, BATCH));
    mf_assert_ok(sync_stream(s));
    assert_memory_equal(to, from, BATCH * 40);
    place_destroy(s, &place);
    free(from);
    free(to);
}

void test_device__batch_names_the_element_it_refuses(void **state)
{
    struct suite *s = *state;
    struct place place;
    uint64_t words[3] = {1, 2, 3};
    place_create(s, s->unit, &place);
    const struct mf_device_copy_desc desc[] = {
        {place.addr, num(&words[0]), 8},
        {place.addr + s->unit - 4, num(&words[1]), 8},
        {place.addr + 16, num(&words[2]), 8},
    };
    mf_assert_rc(mf_dev_copy_batch(s->dev, s->stream, desc, 3), SMEM_INVALID_PARAM);
    mf_assert_err_has("1 of 3");
    /* What stands behind it was not done. */
    mf_assert_ok(DEV(s, copy, s->stream, num(words), place.addr + 16, 8));
    mf_assert_ok(sync_stream(s));
    assert_int_equal(words[0], 0);
    place_destroy(s, &place);
}

void test_device__fill_sets_its_range_only(void **state)
{
    struct suite *s = *state;
    struct place place;
    uint8_t back[300];
    place_create(s, s->unit, &place);
    mf_assert_ok(DEV(s, fill, s->stream, place.addr + 33, 0xa7, 200));
    mf_assert_ok(DEV(s, copy, s->stream, num(back), place.addr, sizeof(back)));
    mf_assert_ok(sync_stream(s));
    for (size_t i = 0; i < sizeof(back); i++) {
        assert_int_equal(back[i], i >= 33 && i < 233 ? 0xa7 : 0);
    }
    place_destroy(s, &place);
}

void test_device__fill_refuses_what_is_not_mapped(void **state)
{
    struct suite *s = *state;
    struct place place;
    uint8_t host[8] = {0};
    place_create(s, s->unit, &place);
    mf_assert_rc(DEV(s, fill, s->stream, num(host), 1, 8), SMEM_INVALID_PARAM);
    mf_assert_rc(DEV(s, fill, s->stream, place.addr + s->unit - 7, 1, 8), SMEM_INVALID_PARAM);
    mf_assert_ok(sync_stream(s));
    assert_int_equal(host[0], 0);
    place_destroy(s, &place);
}

struct watched {
    _Atomic uint64_t word;
    _Atomic bool stop;
    _Atomic uint64_t torn;
};

static void *watch(void *arg)
{
    struct watched *w = arg;
    while (!w->stop) {
        uint64_t seen = w->word;
        if (seen != 0 && seen != UINT64_MAX) {
            w->torn = seen;
        }
    }
    return NULL;
}

/* The engine flips a host word between two values; a thread that looks sees one or the other. */
void test_device__small_elements_do_not_tear(void **state)
{
    struct suite *s = *state;
    struct watched w = {.word = 0};
    struct place place;
    pthread_t thread;
    place_create(s, s->unit, &place);
    mf_assert_ok(DEV(s, fill, s->stream, place.addr + 8, 0xff, 8));
    mf_assert_ok(sync_stream(s));
    assert_int_equal(pthread_create(&thread, NULL, watch, &w), 0);
    int rc = 0;
    for (uint32_t i = 0; i < 2000 && !rc; i++) {
        rc = DEV(s, copy, s->stream, num(&w.word), place.addr + 8 * (i % 2), 8);
        if (i % 100 == 99) {
            rc = rc ? rc : sync_stream(s);
        }
    }
    rc = rc ? rc : sync_stream(s);
    w.stop = true;
    pthread_join(thread, NULL);
    mf_assert_ok(rc);
    assert_int_equal(w.torn, 0);
    place_destroy(s, &place);
}
