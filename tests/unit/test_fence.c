// SPDX-License-Identifier: Apache-2.0
// The fence: what is drawn and refused, whom an owner waits for, and copies that another rank asks
// the owner for.
#include "transport/fence/fence.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "mf_test.h"

#define MS 1000000ull

/* An owner of rank 1, and what the fence is told of the system. */
struct rig {
    struct mf_fence_page *page, *other;
    struct mf_fence_owner owner;
    uint64_t now_ns;
    uint64_t ends_ns;        /* when the process is seen to have ended; 0: it lives */
    uint64_t thread_ends_ns; /* the same of each thread */
    uint64_t retracts_ns;    /* when the line is cleared; 0: never */
    _Atomic uint64_t *retracts;
    uint32_t sleeps;
};

static const uint64_t random_bits[2] = {0x1234567890abcdef, 0xfedcba0987654321};

static uint64_t rig_now(void *arg)
{
    return ((struct rig *)arg)->now_ns;
}

static void rig_sleep(void *arg, uint32_t us)
{
    struct rig *rig = arg;
    rig->now_ns += us * 1000ull;
    rig->sleeps++;
    if (rig->retracts_ns && rig->now_ns >= rig->retracts_ns) {
        atomic_store(rig->retracts, 0);
    }
}

static void rig_barrier(void *arg)
{
    (void)arg;
}

static bool rig_process_ended(void *arg, const void *who)
{
    const struct rig *rig = arg;
    assert_ptr_equal(who, rig->other);
    return rig->ends_ns && rig->now_ns >= rig->ends_ns;
}

static bool rig_thread_ended(void *arg, const void *who, uint32_t tid)
{
    const struct rig *rig = arg;
    assert_ptr_equal(who, rig->other);
    assert_int_equal(tid, 99);
    return rig->thread_ends_ns && rig->now_ns >= rig->thread_ends_ns;
}

static const struct mf_fence_ops rig_ops = {
    .now_ns = rig_now,
    .sleep_us = rig_sleep,
    .barrier = rig_barrier,
    .process_ended = rig_process_ended,
    .thread_ended = rig_thread_ended,
};

static struct mf_fence_page *make_page(uint32_t rank, uint64_t incarnation)
{
    const struct mf_fence_identity who = {.rank = rank, .incarnation = incarnation};
    struct mf_fence_page *page = aligned_alloc(4096, sizeof(*page));
    assert_non_null(page);
    memset(page, 0, sizeof(*page));
    mf_fence_page_init(page, &who);
    return page;
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig->page = make_page(1, 111);
    rig->other = make_page(0, 100);
    rig->now_ns = 1000 * MS;
    mf_fence_owner_init(&rig->owner, rig->page, random_bits);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    free(rig->page);
    free(rig->other);
    free(rig);
    return 0;
}

static struct mf_fence_target publish(struct rig *rig)
{
    struct mf_fence_target target = {.desc = {.size = 4096, .pool = 7}};
    mf_assert_ok(mf_fence_publish(&rig->owner, &target.desc, &target.key));
    return target;
}

/* ---- segments ---- */

static void test_publish__draws_the_lowest_index_and_a_new_epoch(void **state)
{
    struct rig *rig = *state;
    struct mf_fence_target a = publish(rig), b = publish(rig), c = publish(rig);
    assert_int_equal(a.desc.index, 0);
    assert_int_equal(c.desc.index, 2);
    assert_int_equal(a.desc.owner, 1);
    assert_int_equal(a.desc.incarnation, 111);
    assert_int_equal(atomic_load(&rig->page->epochs[1]), b.desc.epoch);
    mf_fence_revoke(&rig->owner, &b.desc);
    assert_int_equal(atomic_load(&rig->page->epochs[1]), 0);
    assert_false(mf_fence_is_there(&b.key));
    struct mf_fence_target d = publish(rig);
    assert_int_equal(d.desc.index, 1);
    assert_true(d.desc.epoch != b.desc.epoch && d.key.hazard != b.key.hazard);
    assert_false(mf_fence_is_there(&b.key)); /* the same word, another epoch */
    assert_true(mf_fence_is_there(&d.key));
}

static void test_publish__has_a_limit(void **state)
{
    struct rig *rig = *state;
    struct mf_fence_target last = {0}, more = {0};
    for (uint32_t i = 0; i < MF_SEGMENTS_MAX; i++) {
        last = publish(rig);
    }
    assert_int_equal(last.desc.index, MF_SEGMENTS_MAX - 1);
    mf_assert_rc(mf_fence_publish(&rig->owner, &more.desc, &more.key), SMEM_NO_RESOURCES);
    mf_assert_err_has("4096");
    mf_fence_revoke(&rig->owner, &last.desc);
    assert_int_equal(publish(rig).desc.index, MF_SEGMENTS_MAX - 1);
}

static void test_revoke_dead__leaves_a_later_epoch_alone(void **state)
{
    struct rig *rig = *state;
    struct mf_fence_target old = publish(rig);
    mf_fence_revoke(&rig->owner, &old.desc);
    struct mf_fence_target now = publish(rig);
    mf_fence_revoke_dead(rig->page, &old.desc);
    assert_true(mf_fence_is_there(&now.key));
    mf_fence_revoke_dead(rig->page, &now.desc);
    assert_false(mf_fence_is_there(&now.key));
}

/* ---- the copying side ---- */

static void test_enter__announces_both_and_looks(void **state)
{
    struct rig *rig = *state;
    struct mf_fence_target a = publish(rig), b = publish(rig);
    struct mf_fence_line *line = &rig->other->lines[3];
    struct mf_fence_key src, dst;
    mf_fence_key_init(&src, rig->page, &a.desc, 0, true);
    mf_fence_key_init(&dst, rig->page, &b.desc, 0, false);
    assert_true(src.strict && !dst.strict);
    assert_false(mf_fence_enter(line, &src, &dst, 100)); /* not admitted yet */
    assert_int_equal(atomic_load(&line->hazard[0]), src.hazard);
    assert_int_equal(atomic_load(&line->hazard[1]), dst.hazard);
    mf_fence_leave(line);
    assert_int_equal(atomic_load(&line->hazard[0]) | atomic_load(&line->hazard[1]), 0);
    assert_true(mf_fence_admit(&rig->owner, 0, 100));
    assert_true(mf_fence_enter(line, &src, &dst, 100));
    assert_true(mf_fence_still_valid(&src, &dst, 100));
    assert_false(mf_fence_still_valid(&src, &dst, 101)); /* another life */
    mf_fence_revoke(&rig->owner, &b.desc);
    assert_true(mf_fence_still_valid(&src, NULL, 100));
    assert_false(mf_fence_still_valid(&src, &dst, 100));
    mf_fence_leave(line);
    assert_true(mf_fence_enter(line, NULL, NULL, 100));
}

static void test_refusal__names_the_reason(void **state)
{
    struct rig *rig = *state;
    struct mf_fence_target a = publish(rig);
    struct mf_fence_key key;
    mf_fence_key_init(&key, rig->page, &a.desc, 0, false);
    struct mf_fence_end ends[] = {{NULL, NULL, false}, {&a.desc, &key, false}};
    mf_assert_rc(mf_fence_refusal(ends, 2, 100), SMEM_NOT_CONNECTED);
    mf_assert_err_has("declared dead by rank 1: it must leave pool 7");
    assert_true(mf_fence_admit(&rig->owner, 0, 100));
    mf_assert_rc(mf_fence_refusal(ends, 2, 100), SMEM_NOT_CONNECTED);
    mf_assert_err_has("withdrawn during the copy"); /* it has changed meanwhile */
    mf_fence_revoke(&rig->owner, &a.desc);
    mf_assert_rc(mf_fence_refusal(ends, 2, 100), SMEM_NOT_CONNECTED);
    mf_assert_err_has("rank 1 has left pool 7 or died");
    ends[1].own = true;
    mf_assert_rc(mf_fence_refusal(ends, 2, 100), SMEM_NOT_CONNECTED);
    mf_assert_err_has("segment 0 of this rank");
}

/* ---- lives ---- */

static void test_admit__one_life_at_a_time_and_never_a_refused_one(void **state)
{
    struct rig *rig = *state;
    struct mf_fence_target a = publish(rig);
    struct mf_fence_key key;
    mf_fence_key_init(&key, rig->page, &a.desc, 0, false);
    assert_false(mf_fence_is_welcome(&key, 100));
    assert_true(mf_fence_admit(&rig->owner, 0, 100));
    assert_true(mf_fence_is_welcome(&key, 100));
    mf_fence_refuse(&rig->owner, 0, 99); /* another one: nothing changes for this one */
    assert_true(mf_fence_is_welcome(&key, 100));
    mf_fence_refuse(&rig->owner, 0, 100);
    assert_true(mf_fence_is_refused(&rig->owner, 0, 100));
    assert_false(mf_fence_is_welcome(&key, 100));
    assert_false(mf_fence_admit(&rig->owner, 0, 100));
    assert_true(mf_fence_admit(&rig->owner, 0, 200));
    mf_fence_refuse(&rig->owner, 0, 200);
    assert_false(mf_fence_is_welcome(&key, 100)); /* the first life is still out */
    assert_false(mf_fence_is_welcome(&key, 200));
    assert_true(mf_fence_is_welcome(&a.key, 111)); /* the owner itself */
}

/* ---- waiting ---- */

static bool wait_for(struct rig *rig, const struct mf_fence_target *target, uint64_t ms)
{
    return mf_fence_wait(&rig_ops, rig, rig->other, rig->other, target->key.hazard,
                         rig->now_ns + ms * MS);
}

static void test_wait__until_the_line_is_clear_or_the_process_is_gone(void **state)
{
    struct rig *rig = *state;
    struct mf_fence_target a = publish(rig);
    struct mf_fence_line *line = NULL;
    mf_fence_owner_init(&rig->owner, rig->other, random_bits);
    mf_assert_ok(mf_fence_line_take(&rig->owner, &line));
    assert_true(wait_for(rig, &a, 0)); /* nobody announces it */
    atomic_store(&line->hazard[5], a.key.hazard);
    assert_false(mf_fence_clear_of(rig->other, a.key.hazard));
    assert_false(wait_for(rig, &a, 50));
    assert_true(rig->sleeps > 20);
    rig->retracts = &line->hazard[5];
    rig->retracts_ns = rig->now_ns + 20 * MS;
    assert_true(wait_for(rig, &a, 50));
    assert_true(mf_fence_clear_of(rig->other, a.key.hazard));
    atomic_store(&line->hazard[13], a.key.hazard);
    rig->retracts_ns = 0;
    rig->ends_ns = rig->now_ns + 30 * MS;
    assert_true(wait_for(rig, &a, 50));
    assert_true(rig->now_ns >= rig->ends_ns);
}

static void test_wait__believes_late_that_a_thread_is_gone(void **state)
{
    struct rig *rig = *state;
    struct mf_fence_target a = publish(rig);
    uint64_t begun = rig->now_ns;
    atomic_store(&rig->other->lines_used, 1);
    atomic_store(&rig->other->lines[0].hazard[0], a.key.hazard);
    rig->thread_ends_ns = 1;
    assert_false(wait_for(rig, &a, 300)); /* the line names no thread */
    atomic_store(&rig->other->lines[0].tid, 99);
    begun = rig->now_ns;
    assert_true(wait_for(rig, &a, 300));
    assert_in_range(rig->now_ns - begun, 100 * MS, 120 * MS);
}

/* ---- lines ---- */

static void test_lines__are_given_out_once(void **state)
{
    struct rig *rig = *state;
    struct mf_fence_line *line, *first = NULL;
    for (uint32_t i = 0; i < MF_THREADS_MAX; i++) {
        mf_assert_ok(mf_fence_line_take(&rig->owner, &line));
        first = first ? first : line;
        assert_ptr_equal(line, first + i);
        assert_int_equal(atomic_load(&rig->page->lines_used), i + 1);
    }
    mf_assert_rc(mf_fence_line_take(&rig->owner, &line), SMEM_NO_RESOURCES);
    mf_assert_err_has("512");
    atomic_store(&first[4].hazard[9], 5);
    mf_fence_line_give(&rig->owner, &first[4]);
    mf_fence_line_give(&rig->owner, NULL);
    assert_int_equal(atomic_load(&first[4].hazard[9]), 0);
    mf_assert_ok(mf_fence_line_take(&rig->owner, &line));
    assert_ptr_equal(line, &first[4]);
}

/* ---- copies that somebody asks for ---- */

static void test_serve__checks_everything_that_was_asked(void **state)
{
    struct rig *rig = *state;
    struct mf_fence_target a = publish(rig);
    struct mf_fence_range range = {.offset = 4000, .size = 96};
    struct mf_fence_line *line = &rig->page->lines[0];
    struct mf_fence_ask ask = {.rank = 0,
                               .incarnation = 100,
                               .owner = 111,
                               .index = 0,
                               .epoch = a.desc.epoch,
                               .ranges = &range,
                               .count = 1};
    assert_true(mf_fence_admit(&rig->owner, 0, 100));
    mf_assert_ok(mf_fence_serve_begin(rig->page, line, &a, &ask));
    assert_int_equal(atomic_load(&line->hazard[0]), a.key.hazard);
    assert_true(mf_fence_serve_valid(rig->page, &a, &ask));
    mf_assert_ok(mf_fence_serve_end(rig->page, line, &a, &ask));
    assert_int_equal(atomic_load(&line->hazard[0]), 0);

    mf_assert_rc(mf_fence_serve_begin(rig->page, line, NULL, &ask), SMEM_NOT_CONNECTED);
    mf_assert_err_has("segment 0 of that epoch is gone");
    ask.epoch++;
    mf_assert_rc(mf_fence_serve_begin(rig->page, line, &a, &ask), SMEM_NOT_CONNECTED);
    ask.epoch--;
    ask.index = 1;
    mf_assert_rc(mf_fence_serve_begin(rig->page, line, &a, &ask), SMEM_NOT_CONNECTED);
    ask.index = 0;
    ask.owner = 110;
    mf_assert_rc(mf_fence_serve_begin(rig->page, line, &a, &ask), SMEM_NOT_CONNECTED);
    mf_assert_err_has("another life of rank 1");
    ask.owner = 111;
    range.size = 97;
    mf_assert_rc(mf_fence_serve_begin(rig->page, line, &a, &ask), SMEM_INVALID_PARAM);
    mf_assert_err_has("97 bytes at offset 4000 are outside of segment 0 of 4096 bytes");
    range.offset = UINT64_MAX;
    mf_assert_rc(mf_fence_serve_begin(rig->page, line, &a, &ask), SMEM_INVALID_PARAM);
    range.offset = 0;
    ask.incarnation = 99;
    mf_assert_rc(mf_fence_serve_begin(rig->page, line, &a, &ask), SMEM_NOT_CONNECTED);
    mf_assert_err_has("rank 0 was declared dead by rank 1");
    ask.rank = MF_WORLD_MAX;
    mf_assert_rc(mf_fence_serve_begin(rig->page, line, &a, &ask), SMEM_NOT_CONNECTED);
    assert_int_equal(atomic_load(&line->hazard[0]), 0);
}

static void test_serve_end__tells_what_has_changed_meanwhile(void **state)
{
    struct rig *rig = *state;
    struct mf_fence_target a = publish(rig);
    struct mf_fence_line *line = &rig->page->lines[0];
    struct mf_fence_ask ask = {.incarnation = 100, .owner = 111, .epoch = a.desc.epoch};
    assert_true(mf_fence_admit(&rig->owner, 0, 100));
    mf_assert_ok(mf_fence_serve_begin(rig->page, line, &a, &ask));
    mf_fence_refuse(&rig->owner, 0, 100);
    assert_false(mf_fence_serve_valid(rig->page, &a, &ask));
    mf_assert_rc(mf_fence_serve_end(rig->page, line, &a, &ask), SMEM_NOT_CONNECTED);
    mf_assert_err_has("declared dead");
    assert_int_equal(atomic_load(&line->hazard[0]), 0);
    assert_true(mf_fence_admit(&rig->owner, 0, 101));
    ask.incarnation = 101;
    mf_assert_ok(mf_fence_serve_begin(rig->page, line, &a, &ask));
    mf_fence_revoke(&rig->owner, &a.desc);
    assert_false(mf_fence_serve_valid(rig->page, &a, &ask));
    mf_assert_rc(mf_fence_serve_end(rig->page, line, &a, &ask), SMEM_NOT_CONNECTED);
    mf_assert_err_has("has left pool 7: its segment 0 is gone");
    assert_int_equal(atomic_load(&line->hazard[0]), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_publish__draws_the_lowest_index_and_a_new_epoch),
        TEST(test_publish__has_a_limit),
        TEST(test_revoke_dead__leaves_a_later_epoch_alone),
        TEST(test_enter__announces_both_and_looks),
        TEST(test_refusal__names_the_reason),
        TEST(test_admit__one_life_at_a_time_and_never_a_refused_one),
        TEST(test_wait__until_the_line_is_clear_or_the_process_is_gone),
        TEST(test_wait__believes_late_that_a_thread_is_gone),
        TEST(test_lines__are_given_out_once),
        TEST(test_serve__checks_everything_that_was_asked),
        TEST(test_serve_end__tells_what_has_changed_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
