// SPDX-License-Identifier: Apache-2.0
// Tests of the thread's error record: text, context, truncation, aliasing, save and restore.
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "base/alloc.h"
#include "mf_test.h"
#include "mf_torture.h"

static int setup(void **state)
{
    (void)state;
    mf_err_clear();
    return 0;
}

static void test_err__records_code_and_text(void **state)
{
    (void)state;
    mf_assert_rc(mf_err(SMEM_INVALID_PARAM, "length %d of page %s", 7, "x"), SMEM_INVALID_PARAM);
    assert_int_equal(mf_err_code(), SMEM_INVALID_PARAM);
    assert_string_equal(mf_err_msg(), "length 7 of page x");
}

static void test_err__is_empty_after_clear(void **state)
{
    (void)state;
    mf_err(SMEM_ERROR, "something");
    mf_err_clear();
    assert_int_equal(mf_err_code(), SMEM_OK);
    assert_string_equal(mf_err_msg(), "");
}

static void test_err_sys__appends_text_of_errno(void **state)
{
    (void)state;
    mf_assert_rc(mf_err_sys(SMEM_NOT_CONNECTED, ECONNREFUSED, "connect %s", "10.0.0.2:7000"),
                 SMEM_NOT_CONNECTED);
    assert_string_equal(mf_err_msg(), "connect 10.0.0.2:7000: Connection refused");
}

static void test_err_in__puts_context_in_front(void **state)
{
    (void)state;
    mf_err_sys(SMEM_NOT_CONNECTED, ECONNREFUSED, "connect %s", "10.0.0.2:7000");
    mf_assert_rc(mf_err_in(SMEM_ERROR, "join pool %u", 3u), SMEM_ERROR);
    assert_int_equal(mf_err_code(), SMEM_ERROR);
    assert_string_equal(mf_err_msg(), "join pool 3: connect 10.0.0.2:7000: Connection refused");
}

static void test_err_in__needs_no_earlier_message(void **state)
{
    (void)state;
    mf_err_in(SMEM_ERROR, "join pool %u", 3u);
    assert_string_equal(mf_err_msg(), "join pool 3");
}

static void test_err__arguments_may_be_the_record_itself(void **state)
{
    (void)state;
    mf_err(SMEM_ERROR, "inner");
    mf_err(SMEM_ERROR, "outer (%s) and again (%s)", mf_err_msg(), mf_err_msg());
    assert_string_equal(mf_err_msg(), "outer (inner) and again (inner)");
    mf_err_in(SMEM_ERROR, "%s", mf_err_msg());
    assert_string_equal(mf_err_msg(),
                        "outer (inner) and again (inner): outer (inner) and again (inner)");
    mf_err(SMEM_ERROR, "path");
    mf_err_sys(SMEM_ERROR, ENOENT, "%s", mf_err_msg());
    assert_string_equal(mf_err_msg(), "path: No such file or directory");
}

static void test_err__cuts_and_marks_what_does_not_fit(void **state)
{
    (void)state;
    char text[2 * MF_ERR_MSG_MAX];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    mf_err(SMEM_ERROR, "%s", text);
    assert_int_equal(strlen(mf_err_msg()), MF_ERR_MSG_MAX - 1);
    assert_string_equal(mf_err_msg() + MF_ERR_MSG_MAX - 1 - 4, "a...");
}

static void test_err__fits_exactly_without_mark(void **state)
{
    (void)state;
    char text[MF_ERR_MSG_MAX];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    mf_err(SMEM_ERROR, "%s", text);
    assert_string_equal(mf_err_msg(), text);
}

static void test_err_in__keeps_context_when_the_message_is_cut(void **state)
{
    (void)state;
    char text[MF_ERR_MSG_MAX];
    memset(text, 'b', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    mf_err(SMEM_ERROR, "%s", text);
    for (int i = 0; i < 3; i++) {
        mf_err_in(SMEM_ERROR, "layer %d", i);
    }
    assert_memory_equal(mf_err_msg(), "layer 2: layer 1: layer 0: bbb", 30);
    assert_int_equal(strlen(mf_err_msg()), MF_ERR_MSG_MAX - 1);
    assert_string_equal(mf_err_msg() + MF_ERR_MSG_MAX - 1 - 3, "...");
}

static void test_err__does_not_cut_inside_a_character(void **state)
{
    (void)state;
    /* For every phase of a three-byte character against the cut: no lone continuation byte before
     * the mark, no lead byte without its continuation. */
    for (size_t phase = 0; phase < 3; phase++) {
        char text[2 * MF_ERR_MSG_MAX] = {0};
        memset(text, 'x', phase);
        for (size_t i = phase; i + 3 < sizeof(text); i += 3) {
            memcpy(text + i, "\xe2\x82\xac", 3);
        }
        mf_err(SMEM_ERROR, "%s", text);
        const char *mark = strstr(mf_err_msg(), "...");
        assert_non_null(mark);
        assert_int_equal(((size_t)(mark - mf_err_msg()) - phase) % 3, 0);
        assert_memory_equal(mark - 3, "\xe2\x82\xac", 3);
    }
}

static void test_err_save__restores_the_same_record(void **state)
{
    (void)state;
    struct mf_err_rec rec;
    mf_err(SMEM_TIMEOUT, "waited %d ms", 5);
    mf_err_save(&rec);
    mf_err(SMEM_ERROR, "a longer sentence that is in the way");
    mf_err_restore(&rec);
    assert_int_equal(mf_err_code(), SMEM_TIMEOUT);
    assert_string_equal(mf_err_msg(), "waited 5 ms");
}

static void test_err_restore__accepts_an_unterminated_record(void **state)
{
    (void)state;
    struct mf_err_rec rec = {.code = SMEM_ERROR};
    memset(rec.msg, 'c', sizeof(rec.msg));
    mf_err_restore(&rec);
    assert_int_equal(strlen(mf_err_msg()), MF_ERR_MSG_MAX - 1);
}

static void *other_thread(void *arg)
{
    struct mf_err_rec *rec = arg;
    mf_err(SMEM_NOT_EXIST, "of the other thread");
    mf_err_save(rec);
    return NULL;
}

static void test_err__is_per_thread(void **state)
{
    (void)state;
    struct mf_err_rec rec;
    pthread_t thread;
    mf_err(SMEM_ERROR, "of this thread");
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &rec), 0);
    pthread_join(thread, NULL);
    assert_string_equal(rec.msg, "of the other thread");
    assert_int_equal(rec.code, SMEM_NOT_EXIST);
    assert_string_equal(mf_err_msg(), "of this thread");
}

static void test_err__is_kept_in_a_slot_that_is_given(void **state)
{
    (void)state;
    struct mf_err_slot slot = {0};
    mf_err(SMEM_ERROR, "of the thread");
    mf_err_use(&slot);
    assert_string_equal(mf_err_msg(), "");
    assert_int_equal(mf_err_code(), SMEM_OK);
    mf_err(SMEM_TIMEOUT, "of the slot");
    assert_string_equal(mf_err_take(), "of the slot");
    mf_err_use(NULL);
    assert_string_equal(mf_err_msg(), "of the thread");
    mf_err_use(&slot);
    assert_string_equal(mf_err_msg(), ""); /* it was taken */
    mf_err_in(SMEM_ERROR, "in");
    assert_string_equal(slot.rec.msg, "in");
    mf_err_use(NULL);
}

static void test_err__needs_no_allocation(void **state)
{
    (void)state;
    long live = mf_torture_live_blocks();
    mf_torture_arm(1);
    mf_err_nomem(64, "store request");
    mf_err_in(SMEM_ERROR, "join");
    assert_int_equal(mf_torture_disarm(), 0);
    assert_int_equal(mf_torture_live_blocks(), live);
    assert_string_equal(mf_err_msg(), "join: out of memory: 64 bytes for store request");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_err__records_code_and_text, setup),
        cmocka_unit_test_setup(test_err__is_empty_after_clear, setup),
        cmocka_unit_test_setup(test_err_sys__appends_text_of_errno, setup),
        cmocka_unit_test_setup(test_err_in__puts_context_in_front, setup),
        cmocka_unit_test_setup(test_err_in__needs_no_earlier_message, setup),
        cmocka_unit_test_setup(test_err__arguments_may_be_the_record_itself, setup),
        cmocka_unit_test_setup(test_err__cuts_and_marks_what_does_not_fit, setup),
        cmocka_unit_test_setup(test_err__fits_exactly_without_mark, setup),
        cmocka_unit_test_setup(test_err_in__keeps_context_when_the_message_is_cut, setup),
        cmocka_unit_test_setup(test_err__does_not_cut_inside_a_character, setup),
        cmocka_unit_test_setup(test_err_save__restores_the_same_record, setup),
        cmocka_unit_test_setup(test_err_restore__accepts_an_unterminated_record, setup),
        cmocka_unit_test_setup(test_err__is_per_thread, setup),
        cmocka_unit_test_setup(test_err__is_kept_in_a_slot_that_is_given, setup),
        cmocka_unit_test_setup(test_err__needs_no_allocation, setup),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
