// SPDX-License-Identifier: Apache-2.0
// Tests of tags: what the parser takes, what it refuses and where it says so, pairs in either
// order, and that two ranks decide alike.
#include "mf_test.h"

#include <stdio.h>

#include "core/pool_tags.h"
#include "smem_bm_def.h"

#define SDMA SMEMB_DATA_OP_SDMA
#define SHM  SMEMB_DATA_OP_HOST_SHM
#define TCP  SMEMB_DATA_OP_HOST_TCP

/* As smem_bm_create2 has them: arrays that hold the text and a NUL. */
static int parse(const char *tag, const char *info, uint32_t ops, struct mf_tags *out)
{
    char tag_bytes[32] = "", info_bytes[256] = "";
    assert_true(strlen(tag) < sizeof(tag_bytes) && strlen(info) < sizeof(info_bytes));
    memcpy(tag_bytes, tag, strlen(tag));
    memcpy(info_bytes, info, strlen(info));
    return mf_tags_parse(tag_bytes, sizeof(tag_bytes), info_bytes, sizeof(info_bytes), ops, out);
}

static void parse_ok(const char *tag, const char *info, uint32_t ops, struct mf_tags *out)
{
    mf_assert_ok(parse(tag, info, ops, out));
}

static uint32_t find(const struct mf_tags *tags, const char *name)
{
    return mf_tags_find(tags->pair, tags->count, name);
}

/* What the rank would write into its record. */
static struct mf_rec_member record_of(const struct mf_tags *tags)
{
    struct mf_rec_member rec = {.tag_count = tags->count};
    memcpy(rec.tag, tags->own, sizeof(rec.tag));
    memcpy(rec.tags, tags->pair, sizeof(rec.tags));
    return rec;
}

static void test_tags_parse__without_anything_is_the_default_tag(void **state)
{
    struct mf_tags tags;
    (void)state;
    parse_ok("", "", SDMA, &tags);
    assert_string_equal(tags.own, MF_TAG_DEFAULT);
    assert_int_equal(find(&tags, MF_TAG_DEFAULT), SDMA);
    assert_int_equal(find(&tags, "other"), 0);
    assert_int_equal(tags.all, SDMA);
}

static void test_tags_parse__entries_of_one_pair_are_joined_in_either_order(void **state)
{
    struct mf_tags tags;
    (void)state;
    parse_ok("a", "a:HOST_TCP:b,b:HOST_SHM:a,b:HOST_RDMA:c,a:DEVICE_SDMA:c", SDMA, &tags);
    assert_int_equal(find(&tags, "b"), TCP | SHM);
    assert_int_equal(find(&tags, "c"), SDMA);
    assert_int_equal(find(&tags, "a"), SDMA);
    assert_int_equal(tags.all, SDMA | TCP | SHM | SMEMB_DATA_OP_HOST_RDMA);
    parse_ok("b", "a:HOST_TCP:b,b:HOST_SHM:a,b:HOST_RDMA:c,a:DEVICE_SDMA:c", TCP, &tags);
    assert_int_equal(find(&tags, "a"), TCP | SHM);
    assert_int_equal(find(&tags, "c"), SMEMB_DATA_OP_HOST_RDMA);
    assert_int_equal(find(&tags, "b"), TCP);
}

static void test_tags_parse__own_pair_keeps_the_operators_of_the_pool(void **state)
{
    struct mf_tags tags;
    (void)state;
    parse_ok("a", "a:HOST_TCP:a", SDMA, &tags);
    assert_int_equal(find(&tags, "a"), SDMA | TCP);
    parse_ok("", "default:HOST_TCP:a", SDMA, &tags);
    assert_int_equal(find(&tags, "a"), TCP);
    assert_int_equal(find(&tags, MF_TAG_DEFAULT), SDMA);
}

static void test_tags_parse__knows_every_operator(void **state)
{
    static const struct {
        const char *name;
        uint32_t bit;
    } all[] = {
        {"DEVICE_SDMA", 1},           {"HOST_RDMA", 2},     {"HOST_TCP", 4},
        {"DEVICE_RDMA", 8},           {"HOST_URMA", 16},    {"HOST_SHM", 32},
        {"DEVICE_URMA", 64},          {"DEVICE_UBOE", 128}, {"DEVICE_MTE", MF_OP_DEVICE_MTE},
        {"AIV_SDMA", MF_OP_AIV_SDMA},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct mf_tags tags;
        char info[64], names[32];
        snprintf(info, sizeof(info), "x:%s:y", all[i].name);
        parse_ok("x", info, SDMA, &tags);
        assert_int_equal(find(&tags, "y"), all[i].bit);
        assert_string_equal(mf_tags_names(all[i].bit, names, sizeof(names)), all[i].name);
    }
}

static void test_tags_parse__takes_the_longest(void **state)
{
    char info[256] = "", tag[32] = "abcdefghijklmnopqrstuvwxyz_019";
    struct mf_tags tags;
    (void)state;
    parse_ok(tag, "", SDMA, &tags);
    assert_string_equal(tags.own, tag);
    for (int i = 0; i < 19; i++) { /* as many as have room: all of them new tags */
        snprintf(info + strlen(info), sizeof(info) - strlen(info), "%sx:HOST_TCP:%c",
                 i > 0 ? "," : "", 'a' + i);
    }
    parse_ok("x", info, SDMA, &tags);
    assert_int_equal(tags.count, MF_TAG_PAIRS_MAX);
    assert_int_equal(find(&tags, "s"), TCP);
}

static void test_tags_parse__says_where_it_is_wrong(void **state)
{
    static const struct {
        const char *tag, *info, *says;
    } bad[] = {
        {"a b", "", "tag, character 2: tag \"a b\""},
        {"a-", "", "tag, character 2"},
        {"abcdefghijklmnopqrstuvwxyz_0191", "", "is not 1 to 30 characters"},
        {"", "a", "tagOpInfo, character 1: \"a\" is not of the form tagA:OPERATOR:tagB"},
        {"", "a:HOST_TCP", "character 1: \"a:HOST_TCP\" is not of the form"},
        {"", "a:HOST_TCP:b,", "character 14: \"\" is not of the form"},
        {"", ",a:HOST_TCP:b", "character 1: \"\" is not of the form"},
        {"", "a:HOST_TCP:b,,b:HOST_TCP:c", "character 14"},
        {"", "a:HOST_TCP:b, b:HOST_TCP:c", "character 14: tag \" b\""},
        {"", ":HOST_TCP:b", "character 1: tag \"\""},
        {"", "a:HOST_TCP:", "character 12: tag \"\""},
        {"", "a:HOST_TCP:b:c", "character 13: tag \"b:c\""},
        {"", "a:HOST_TPC:b", "character 3: \"HOST_TPC\" is no operator; there are HOST_SHM|"},
        {"", "a:host_tcp:b", "character 3: \"host_tcp\""},
        {"", "a::b", "character 3: \"\" is no operator"},
        {"", "a:HOST_TCP:abcdefghijklmnopqrstuvwxyz_0191", "character 12"},
    };
    struct mf_tags tags;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mf_assert_rc(parse(bad[i].tag, bad[i].info, SDMA, &tags), SMEM_INVALID_PARAM);
        mf_assert_err_has(bad[i].says);
    }
}

static void test_tags_parse__needs_the_ends_of_its_texts(void **state)
{
    char tag[32], info[256];
    struct mf_tags tags;
    (void)state;
    memset(tag, 'a', sizeof(tag));
    memset(info, 0, sizeof(info));
    mf_assert_rc(mf_tags_parse(tag, 32, info, 256, SDMA, &tags), SMEM_INVALID_PARAM);
    mf_assert_err_has("tag has no NUL within its 32 bytes");
    memset(tag, 0, sizeof(tag));
    memset(info, 'a', sizeof(info));
    mf_assert_rc(mf_tags_parse(tag, 32, info, 256, SDMA, &tags), SMEM_INVALID_PARAM);
    mf_assert_err_has("tagOpInfo has no NUL within its 256 bytes");
}

static void test_tags_allow__gives_what_both_have(void **state)
{
    struct mf_tags a, b;
    uint32_t mine = 0, theirs = 0;
    (void)state;
    parse_ok("a", "a:HOST_TCP:b,a:HOST_SHM:b", SDMA, &a);
    parse_ok("b", "b:HOST_SHM:a", TCP, &b);
    struct mf_rec_member rec = record_of(&b);
    mf_assert_ok(mf_tags_allow(&a, 3, 0, &rec, 1, &mine, &theirs));
    assert_int_equal(mine, TCP | SHM);
    assert_int_equal(theirs, SHM);
}

/* Whatever two ranks were given, each finds of the other what the other finds of it. */
static void test_tags_allow__is_decided_alike_on_both_sides(void **state)
{
    static const char *const tag[] = {"", "a", "b"};
    static const char *const info[] = {"", "a:HOST_SHM:b", "b:HOST_TCP:a,default:HOST_SHM:b",
                                       "default:HOST_TCP:a"};
    (void)state;
    for (size_t i = 0; i < 12; i++) {
        for (size_t k = 0; k < 12; k++) {
            struct mf_tags one, two;
            uint32_t mine[2] = {0, 0}, theirs[2] = {0, 0};
            parse_ok(tag[i % 3], info[i / 3], SDMA, &one);
            parse_ok(tag[k % 3], info[k / 3], SDMA, &two);
            struct mf_rec_member rec_one = record_of(&one), rec_two = record_of(&two);
            int rc = mf_tags_allow(&one, 0, 0, &rec_two, 1, &mine[0], &theirs[0]);
            mf_assert_rc(mf_tags_allow(&two, 0, 1, &rec_one, 0, &mine[1], &theirs[1]), rc);
            assert_int_equal(mine[0], theirs[1]);
            assert_int_equal(mine[1], theirs[0]);
        }
    }
}

static void test_tags_allow__names_both_ranks_and_what_to_write(void **state)
{
    struct mf_tags a, b;
    uint32_t mine = 0, theirs = 0;
    (void)state;
    parse_ok("a", "", SHM, &a);
    parse_ok("b", "", SHM, &b);
    struct mf_rec_member rec = record_of(&b);
    mf_assert_rc(mf_tags_allow(&a, 3, 7, &rec, 9, &mine, &theirs), SMEM_ERROR);
    mf_assert_err_has("rank 7 with tag \"a\" and rank 9 with tag \"b\" have no operator in pool 3");
    mf_assert_err_has("\"a:HOST_SHM:b\" in tagOpInfo on both ranks");
    mf_assert_err_has("both");
    parse_ok("a", "b:HOST_SHM:a", SHM, &a);
    mf_assert_rc(mf_tags_allow(&a, 3, 7, &rec, 9, &mine, &theirs), SMEM_ERROR);
    mf_assert_err_has("the tagOpInfo of rank 9 does not name");
    parse_ok("a", "", SDMA, &a);
    parse_ok("b", "b:HOST_SHM:a", SDMA, &b);
    rec = record_of(&b);
    mf_assert_rc(mf_tags_allow(&a, 3, 7, &rec, 9, &mine, &theirs), SMEM_ERROR);
    mf_assert_err_has("the tagOpInfo of rank 7 does not name");
    mf_assert_err_has("\"a:DEVICE_SDMA:b\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tags_parse__without_anything_is_the_default_tag),
        cmocka_unit_test(test_tags_parse__entries_of_one_pair_are_joined_in_either_order),
        cmocka_unit_test(test_tags_parse__own_pair_keeps_the_operators_of_the_pool),
        cmocka_unit_test(test_tags_parse__knows_every_operator),
        cmocka_unit_test(test_tags_parse__takes_the_longest),
        cmocka_unit_test(test_tags_parse__says_where_it_is_wrong),
        cmocka_unit_test(test_tags_parse__needs_the_ends_of_its_texts),
        cmocka_unit_test(test_tags_allow__gives_what_both_have),
        cmocka_unit_test(test_tags_allow__is_decided_alike_on_both_sides),
        cmocka_unit_test(test_tags_allow__names_both_ranks_and_what_to_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
