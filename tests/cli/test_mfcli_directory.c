// SPDX-License-Identifier: Apache-2.0
// The owner's directory, and with it the bytes of a block and the histogram: reservations, eviction
// in the order of use, expiry, what readers see.
#include <stdlib.h>

#include "alloc.h"
#include "mf_test.h"
#include "replay/directory.h"
#include "replay/fill.h"
#include "replay/hist.h"

#define RESERVATION_MS 100u

struct fixture {
    struct layout layout;
    unsigned char *part;
    struct directory directory;
};

static void open_directory(struct fixture *f, uint64_t slots)
{
    layout_make(&f->layout, 1, 4, 64, slots);
    f->part = cli_alloc_pages(f->layout.bytes);
    directory_init(&f->directory, &f->layout, f->part, RESERVATION_MS);
}

static void close_directory(struct fixture *f)
{
    directory_fini(&f->directory);
    free(f->part);
}

static struct mail_result serve(struct fixture *f, struct mail_item item, uint64_t now_ms)
{
    struct mail_result result;

    directory_serve(&f->directory, &item, 1, now_ms, &result);
    return result;
}

static struct mail_result want_at(struct fixture *f, uint64_t id, uint64_t now_ms)
{
    return serve(f, (struct mail_item){.id = id, .op = MAIL_WANT}, now_ms);
}

static struct mail_result want(struct fixture *f, uint64_t id)
{
    return want_at(f, id, 0);
}

static uint64_t publish(struct fixture *f, uint64_t id, struct mail_result reserved)
{
    struct mail_item item = {
        .id = id, .op = MAIL_PUBLISH, .slot = reserved.slot, .generation = reserved.generation};

    return serve(f, item, 0).status;
}

static struct mail_result put(struct fixture *f, uint64_t id)
{
    struct mail_result result = want(f, id);

    assert_int_equal(result.status, MAIL_RESERVED);
    assert_int_equal(publish(f, id, result), MAIL_DONE);
    return result;
}

/* As a reader finds it. */
static const struct entry *find(struct fixture *f, uint64_t id)
{
    const struct bucket *buckets = (const struct bucket *)(void *)(f->part + f->layout.directory);
    uint64_t home = layout_home(&f->layout, id);
    uint32_t index = 0;
    enum found found = bucket_find(&buckets[home], id, &index);

    if (found == FOUND_ENTRY) {
        return &buckets[home].entries[index];
    }
    for (uint32_t step = 1; found == FOUND_NEXT && step < BUCKET_PROBES; step++) {
        const struct bucket *bucket = &buckets[(home + step) & (f->layout.buckets - 1)];

        if (bucket_find(bucket, id, &index) == FOUND_ENTRY) {
            return &bucket->entries[index];
        }
    }
    return NULL;
}

static void test_directory_want__reserves_then_tells(void **state)
{
    struct fixture f;
    struct mail_result first, second;

    (void)state;
    open_directory(&f, 8);
    assert_null(find(&f, 5));
    first = want(&f, 5);
    assert_int_equal(first.status, MAIL_RESERVED);
    assert_non_null(find(&f, 5));
    assert_false(entry_is_valid(find(&f, 5)));
    assert_int_equal(want(&f, 5).status, MAIL_BUSY);
    assert_int_equal(publish(&f, 5, first), MAIL_DONE);
    assert_true(entry_is_valid(find(&f, 5)));
    assert_int_equal(find(&f, 5)->slot, first.slot);
    assert_int_equal(entry_generation(find(&f, 5)), first.generation);
    second = want(&f, 5);
    assert_int_equal(second.status, MAIL_VALID);
    assert_int_equal(second.slot, first.slot);
    assert_int_equal(second.generation, first.generation);
    close_directory(&f);
}

static void test_directory_want__evicts_the_least_recently_used(void **state)
{
    struct fixture f;
    struct mail_result reserved[3], fourth;

    (void)state;
    open_directory(&f, 3);
    for (uint64_t id = 0; id < 3; id++) {
        reserved[id] = put(&f, id);
    }
    serve(&f, (struct mail_item){.id = 0, .op = MAIL_TOUCH, .generation = reserved[0].generation},
          0);
    /* A touch of a block that is gone, or of another life of it, does nothing. */
    serve(&f, (struct mail_item){.id = 1, .op = MAIL_TOUCH, .generation = 99}, 0);
    serve(&f, (struct mail_item){.id = 77, .op = MAIL_TOUCH, .generation = 1}, 0);
    fourth = put(&f, 3);
    assert_null(find(&f, 1));
    assert_non_null(find(&f, 0));
    assert_int_equal(fourth.slot, reserved[1].slot);
    assert_true(fourth.generation > reserved[2].generation);
    assert_int_equal(f.directory.header->evictions, 1);
    assert_int_equal(want(&f, 2).status, MAIL_VALID);
    put(&f, 4);
    assert_null(find(&f, 0));
    assert_non_null(find(&f, 2));
    close_directory(&f);
}

static void test_directory_want__is_full_when_all_is_reserved(void **state)
{
    struct fixture f;
    struct mail_result a;

    (void)state;
    open_directory(&f, 2);
    a = want(&f, 1);
    want(&f, 2);
    assert_int_equal(want(&f, 3).status, MAIL_FULL);
    assert_null(find(&f, 3));
    assert_int_equal(publish(&f, 1, a), MAIL_DONE);
    assert_int_equal(want(&f, 3).status, MAIL_RESERVED);
    close_directory(&f);
}

static void test_directory_want__takes_over_an_expired_reservation(void **state)
{
    struct fixture f;
    struct mail_result late, next;

    (void)state;
    open_directory(&f, 2);
    late = want_at(&f, 1, 1000);
    assert_int_equal(want_at(&f, 1, 1000 + RESERVATION_MS).status, MAIL_BUSY);
    next = want_at(&f, 1, 1001 + RESERVATION_MS);
    assert_int_equal(next.status, MAIL_RESERVED);
    /* The late one may still write: its slot belongs to nobody until it has spoken. */
    assert_int_not_equal(next.slot, late.slot);
    assert_int_equal(want(&f, 2).status, MAIL_FULL);
    assert_int_equal(publish(&f, 1, next), MAIL_DONE);
    assert_int_equal(publish(&f, 1, late), MAIL_FULL);
    assert_int_equal(f.directory.late, 1);
    assert_int_equal(f.directory.header->expired, 1);
    assert_int_equal(entry_generation(find(&f, 1)), next.generation);
    assert_int_equal(want(&f, 2).status, MAIL_RESERVED);
    close_directory(&f);
}

/* Two callers read the clock, then the later reading gets the lock first. */
static void test_directory_want__reservation_of_the_future_has_not_expired(void **state)
{
    struct fixture f;

    (void)state;
    open_directory(&f, 2);
    assert_int_equal(want_at(&f, 1, 1000).status, MAIL_RESERVED);
    assert_int_equal(want_at(&f, 1, 999).status, MAIL_BUSY);
    assert_int_equal(f.directory.header->expired, 0);
    close_directory(&f);
}

static void test_directory_serve__refuses_what_makes_no_sense(void **state)
{
    struct fixture f;
    struct mail_result a, wrong;

    (void)state;
    open_directory(&f, 4);
    a = want(&f, 1);
    wrong = a;
    wrong.generation++;
    assert_int_equal(publish(&f, 1, wrong), MAIL_FULL);
    wrong = a;
    wrong.slot = 4;
    assert_int_equal(publish(&f, 1, wrong), MAIL_FULL);
    wrong.slot = UINT64_MAX;
    assert_int_equal(publish(&f, 1, wrong), MAIL_FULL);
    assert_int_equal(publish(&f, 2, a), MAIL_FULL);
    assert_int_equal(publish(&f, 1, (struct mail_result){.slot = 3}), MAIL_FULL);
    assert_int_equal(serve(&f, (struct mail_item){.id = 1, .op = 77}, 0).status, MAIL_FULL);
    assert_int_equal(publish(&f, 1, a), MAIL_DONE);
    assert_int_equal(publish(&f, 1, a), MAIL_FULL);
    assert_int_equal(want(&f, 1).status, MAIL_VALID);
    close_directory(&f);
}

/* Ids that share a home bucket, until `count` are found. */
static void crowd(struct fixture *f, uint64_t *ids, uint32_t count)
{
    uint64_t home = layout_home(&f->layout, 0);
    uint32_t found = 0;

    for (uint64_t id = 0; found < count; id++) {
        if (layout_home(&f->layout, id) == home) {
            ids[found++] = id;
        }
    }
}

static void test_directory__finds_entries_that_spilled(void **state)
{
    struct fixture f;
    uint64_t ids[20];
    const struct bucket *buckets = NULL;

    (void)state;
    open_directory(&f, 20);
    buckets = (const struct bucket *)(void *)(f.part + f.layout.directory);
    crowd(&f, ids, 20);
    for (uint32_t i = 0; i < 20; i++) {
        put(&f, ids[i]);
    }
    assert_int_equal(buckets[layout_home(&f.layout, 0)].spilled, 20 - BUCKET_ENTRIES);
    for (uint32_t i = 0; i < 20; i++) {
        assert_non_null(find(&f, ids[i]));
        assert_int_equal(want(&f, ids[i]).status, MAIL_VALID);
    }
    /* All are evicted by others, those that spilled too. */
    for (uint64_t id = 1u << 20; id < (1u << 20) + 20; id++) {
        put(&f, id);
    }
    for (uint32_t i = 0; i < 20; i++) {
        assert_null(find(&f, ids[i]));
    }
    for (uint64_t bucket = 0; bucket < f.layout.buckets; bucket++) {
        assert_true(buckets[bucket].spilled < 20);
    }
    close_directory(&f);
}

static void test_directory__is_full_where_no_bucket_is_near(void **state)
{
    struct fixture f;
    uint32_t most = BUCKET_PROBES * BUCKET_ENTRIES;
    uint64_t *ids = cli_alloc(most + 1, sizeof(*ids));

    (void)state;
    open_directory(&f, 4 * most);
    crowd(&f, ids, most + 1);
    for (uint32_t i = 0; i < most; i++) {
        put(&f, ids[i]);
    }
    assert_int_equal(want(&f, ids[most]).status, MAIL_FULL);
    assert_int_equal(f.directory.free_count, 3 * most);
    free(ids);
    close_directory(&f);
}

static void test_bucket_find__does_not_take_a_torn_entry(void **state)
{
    struct fixture f;
    struct bucket copy;
    uint32_t index = 0;
    uint64_t *words = NULL;

    (void)state;
    open_directory(&f, 4);
    put(&f, 9);
    memcpy(&copy, f.part + layout_bucket(&f.layout, layout_home(&f.layout, 9)), sizeof(copy));
    assert_int_equal(bucket_find(&copy, 9, &index), FOUND_ENTRY);
    words = (uint64_t *)(void *)&copy.entries[index];
    for (uint32_t word = 1; word < 4; word++) {
        words[word] ^= 4;
        assert_int_equal(bucket_find(&copy, 9, &index), FOUND_NOTHING);
        words[word] ^= 4;
    }
    assert_int_equal(bucket_find(&copy, 9, &index), FOUND_ENTRY);
    close_directory(&f);
}

/* A model of ten lines: the ids in the order of their last use, newest last. */
struct model {
    uint64_t ids[64];
    uint32_t count, room;
};

static bool model_use(struct model *m, uint64_t id)
{
    uint32_t at = 0;
    bool there = false;

    while (at < m->count && m->ids[at] != id) {
        at++;
    }
    there = at < m->count;
    if (!there && m->count == m->room) {
        at = 0;
    }
    m->count = there || m->count == m->room ? m->count - 1 : m->count;
    memmove(m->ids + at, m->ids + at + 1, (m->count - at) * sizeof(*m->ids));
    m->ids[m->count++] = id;
    return there;
}

static void test_directory__evicts_as_a_model_does(void **state)
{
    struct fixture f;
    struct model model = {.room = 40};
    uint64_t random = 1;

    (void)state;
    open_directory(&f, model.room);
    for (uint32_t i = 0; i < 20000; i++) {
        uint64_t id = 0;
        struct mail_result result;

        random = hash_mix(random);
        id = random % 3 ? random % 30 : random % 120;
        result = want(&f, id);
        assert_int_equal(result.status, model_use(&model, id) ? MAIL_VALID : MAIL_RESERVED);
        if (result.status == MAIL_RESERVED) {
            assert_int_equal(publish(&f, id, result), MAIL_DONE);
        }
    }
    assert_true(f.directory.header->evictions > 1000);
    close_directory(&f);
}

static void test_layout_make__areas_do_not_overlap(void **state)
{
    (void)state;
    for (uint32_t ranks = 1; ranks < 6; ranks++) {
        for (uint32_t clients = 1; clients < 20; clients += 3) {
            struct layout l;

            layout_make(&l, ranks, clients, 16384, 100);
            assert_true(l.stats >= sizeof(struct rank_header));
            assert_true(layout_doorbell(&l, 0) >= l.stats + LAYOUT_STATS);
            assert_true(layout_request(&l, 0) >= layout_doorbell(&l, clients - 1) + 8);
            assert_true(l.answers >= layout_request(&l, clients - 1) + sizeof(struct mail_request));
            assert_true(l.directory >=
                        layout_answer(&l, clients - 1, ranks - 1) + sizeof(struct mail_answer));
            assert_true(l.blocks >= layout_bucket(&l, l.buckets));
            assert_true(l.bytes >= layout_block(&l, l.slots));
            assert_int_equal(l.bytes % LAYOUT_PAGE, 0);
            assert_int_equal(l.blocks % 64, 0);
        }
    }
}

static void test_layout_owner__spreads_blocks(void **state)
{
    (void)state;
    for (uint32_t ranks = 2; ranks <= 8; ranks++) {
        struct layout layout = {.ranks = ranks};
        uint32_t counts[8] = {0};

        for (uint64_t id = 0; id < 80000; id++) {
            counts[layout_owner(&layout, id)]++;
        }
        for (uint32_t rank = 0; rank < ranks; rank++) {
            assert_in_range(counts[rank], 80000 / ranks * 97 / 100, 80000 / ranks * 103 / 100);
        }
    }
}

static void test_fill_check__finds_every_wrong_byte(void **state)
{
    unsigned char block[512];
    size_t first = 0;

    (void)state;
    fill_block(block, sizeof(block), 7, 3);
    assert_int_equal(fill_check(block, sizeof(block), 7, 3, &first), 0);
    for (size_t i = 0; i < sizeof(block); i++) {
        block[i] ^= (unsigned char)(1u << (i % 8));
        assert_int_equal(fill_check(block, sizeof(block), 7, 3, &first), 1);
        assert_int_equal(first, i);
        block[i] ^= (unsigned char)(1u << (i % 8));
    }
    block[9] ^= 1;
    block[500] ^= 1;
    assert_int_equal(fill_check(block, sizeof(block), 7, 3, &first), 2);
    assert_int_equal(first, 9);
}

static void test_fill_block__depends_on_id_generation_and_place(void **state)
{
    uint64_t a[64], b[64];
    size_t first = 0;

    (void)state;
    fill_block(a, sizeof(a), 7, 3);
    fill_block(b, sizeof(b), 8, 3);
    for (size_t i = 0; i < 64; i++) {
        assert_true(a[i] != b[i]);
        assert_true(a[i] == fill_word(7, 3, i));
        assert_true(i == 0 || a[i] != a[i - 1]);
    }
    assert_true(fill_check(a, sizeof(a), 7, 4, &first) > 400);
    memset(b, FILL_POISON, sizeof(b));
    assert_true(fill_check(b, sizeof(b), 7, 3, &first) > 400);
    /* Two words exchanged. */
    b[0] = a[0];
    a[0] = a[1];
    a[1] = b[0];
    assert_true(fill_check(a, sizeof(a), 7, 3, &first) > 8);
}

static void test_hist_quantile__is_within_a_bucket(void **state)
{
    struct hist hist = {0}, other = {0};

    (void)state;
    assert_true(hist_quantile(&hist, 0.5) == 0);
    for (uint64_t value = 1; value <= 100000; value++) {
        hist_add(value % 2 ? &hist : &other, value);
    }
    hist_merge(&hist, &other);
    assert_int_equal(hist.count, 100000);
    assert_in_range((uint64_t)hist_quantile(&hist, 0.5), 47000, 53000);
    assert_in_range((uint64_t)hist_quantile(&hist, 0.99), 93000, 105000);
    hist_add(&hist, 0);
    hist_add(&hist, UINT64_MAX);
    assert_true(hist_quantile(&hist, 1.0) > 1.7e19);
    assert_true(hist_quantile(&hist, 0) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_directory_want__reserves_then_tells),
        cmocka_unit_test(test_directory_want__evicts_the_least_recently_used),
        cmocka_unit_test(test_directory_want__is_full_when_all_is_reserved),
        cmocka_unit_test(test_directory_want__takes_over_an_expired_reservation),
        cmocka_unit_test(test_directory_want__reservation_of_the_future_has_not_expired),
        cmocka_unit_test(test_directory_serve__refuses_what_makes_no_sense),
        cmocka_unit_test(test_directory__finds_entries_that_spilled),
        cmocka_unit_test(test_directory__is_full_where_no_bucket_is_near),
        cmocka_unit_test(test_bucket_find__does_not_take_a_torn_entry),
        cmocka_unit_test(test_directory__evicts_as_a_model_does),
        cmocka_unit_test(test_layout_make__areas_do_not_overlap),
        cmocka_unit_test(test_layout_owner__spreads_blocks),
        cmocka_unit_test(test_fill_check__finds_every_wrong_byte),
        cmocka_unit_test(test_fill_block__depends_on_id_generation_and_place),
        cmocka_unit_test(test_hist_quantile__is_within_a_bucket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
