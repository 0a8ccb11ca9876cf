// SPDX-License-Identifier: Apache-2.0
// Tests of the records that ranks write into the store: what is written is read again, at the
// limits too, and nothing that was cut, changed or made up is taken for a record with counts above
// the limits.
#include "mf_test.h"

#include <stdlib.h>

#include "wire/record.h"

#define MUTATIONS 100000
#define TAG_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

/* One decoder behind one face: SMEM_OK only when the decoded record keeps the limits. */
struct kind {
    const char *name;
    int (*get)(const void *data, size_t len);
    size_t (*put)(uint8_t *buf, uint32_t variant);
};

/* ---- samples ------------------------------------------------------------------------------- */

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static struct mf_rec_identity make_identity(uint32_t variant)
{
    return (struct mf_rec_identity){.incarnation = 0x1122334455667788ull + variant,
                                    .pid = 4242 + variant,
                                    .host_hint = UINT32_MAX - variant,
                                    .world_size = 1 + variant};
}

static struct mf_rec_world make_world(uint32_t variant)
{
    return (struct mf_rec_world){.world_id = 77 + variant,
                                 .world_size = 1 + variant % MF_WORLD_MAX};
}

static void make_map(struct mf_rec_map *map, uint32_t variant)
{
    memset(map, 0, sizeof(*map));
    map->count = variant % (MF_POOLS_MAX + 1);
    for (uint32_t i = 0; i < map->count; i++) {
        map->v[i] = (struct mf_rec_layout){.pool = i,
                                           .base = 0x280000000000ull + i * MF_PAGE_LARGE,
                                           .max_hbm = i * MF_PAGE_LARGE,
                                           .max_dram = (uint64_t)variant * MF_PAGE_LARGE,
                                           .world = 1 + i};
    }
}

static void make_member(struct mf_rec_member *member, uint32_t variant)
{
    memset(member, 0, sizeof(*member));
    member->identity = make_identity(variant);
    member->hbm_bytes = variant * MF_PAGE_LARGE;
    member->dram_bytes = UINT64_MAX - variant;
    member->count = variant % (MF_TRANSPORTS_MAX + 1);
    for (uint32_t i = 0; i < member->count; i++) {
        member->endpoint[i].data_ops = 1u << i;
        member->endpoint[i].len = (variant * 7 + i) % (MF_ENDPOINT_MAX + 1);
        memset(member->endpoint[i].bytes, (int)(i + 1), member->endpoint[i].len);
    }
    memset(member->tag, 'a', variant % (MF_TAG_MAX + 1));
    member->tag_count = variant % (MF_TAG_PAIRS_MAX + 1);
    for (uint32_t i = 0; i < member->tag_count; i++) {
        member->tags[i].ops = variant << i;
        memset(member->tags[i].name, 'A' + (int)i, 1 + (variant + i) % MF_TAG_MAX);
    }
}

static size_t put_identity(uint8_t *buf, uint32_t variant)
{
    struct mf_rec_identity rec = make_identity(variant);
    return mf_rec_put_identity(buf, &rec);
}

static size_t put_world(uint8_t *buf, uint32_t variant)
{
    struct mf_rec_world rec = make_world(variant);
    return mf_rec_put_world(buf, &rec);
}

static size_t put_map(uint8_t *buf, uint32_t variant)
{
    struct mf_rec_map rec;
    make_map(&rec, variant);
    return mf_rec_put_map(buf, &rec);
}

static size_t put_member(uint8_t *buf, uint32_t variant)
{
    struct mf_rec_member rec;
    make_member(&rec, variant);
    return mf_rec_put_member(buf, &rec);
}

static int get_identity(const void *data, size_t len)
{
    struct mf_rec_identity rec;
    return mf_rec_get_identity(data, len, &rec);
}

static int get_world(const void *data, size_t len)
{
    struct mf_rec_world rec;
    int rc = mf_rec_get_world(data, len, &rec);
    if (rc == SMEM_OK) {
        assert_in_range(rec.world_size, 1, MF_WORLD_MAX);
    }
    return rc;
}

static int get_map(const void *data, size_t len)
{
    struct mf_rec_map rec;
    int rc = mf_rec_get_map(data, len, &rec);
    if (rc == SMEM_OK) {
        assert_in_range(rec.count, 0, MF_POOLS_MAX);
        for (uint32_t i = 0; i < rec.count; i++) {
            assert_in_range(rec.v[i].pool, 0, MF_POOLS_MAX - 1);
            assert_in_range(rec.v[i].world, 1, MF_WORLD_MAX);
            assert_in_range(rec.v[i].max_hbm, 0, 1ull << 46);
            assert_in_range(rec.v[i].max_dram, 0, 1ull << 46);
        }
    }
    return rc;
}

static int get_member(const void *data, size_t len)
{
    struct mf_rec_member rec;
    int rc = mf_rec_get_member(data, len, &rec);
    if (rc == SMEM_OK) {
        assert_in_range(rec.count, 0, MF_TRANSPORTS_MAX);
        for (uint32_t i = 0; i < rec.count; i++) {
            assert_in_range(rec.endpoint[i].len, 0, MF_ENDPOINT_MAX);
        }
        assert_in_range(rec.tag_count, 0, MF_TAG_PAIRS_MAX);
        assert_in_range(strspn(rec.tag, TAG_CHARS), strlen(rec.tag), MF_TAG_MAX);
    }
    return rc;
}

static const struct kind KINDS[] = {
    {"rank", get_identity, put_identity},
    {"world", get_world, put_world},
    {"pool map", get_map, put_map},
    {"pool member", get_member, put_member},
};
#define KIND_COUNT (sizeof(KINDS) / sizeof(KINDS[0]))

/* Decode from a block of exactly `len` bytes, so that a sanitizer sees a byte read beyond it. */
static int get_exact(const struct kind *kind, const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, data, len);
    int rc = kind->get(copy, len);
    free(copy);
    return rc;
}

/* ---- tests --------------------------------------------------------------------------------- */

static void test_record_identity__round_trip(void **state)
{
    uint8_t buf[MF_RECORD_MAX];
    struct mf_rec_identity in = make_identity(3), out;
    (void)state;
    mf_assert_ok(mf_rec_get_identity(buf, mf_rec_put_identity(buf, &in), &out));
    assert_true(out.incarnation == in.incarnation);
    assert_int_equal(out.pid, in.pid);
    assert_true(out.host_hint == in.host_hint);
    assert_int_equal(out.world_size, in.world_size);
}

static void test_record_world__round_trip(void **state)
{
    uint8_t buf[MF_RECORD_MAX];
    (void)state;
    for (uint32_t variant = 0; variant < MF_WORLD_MAX; variant++) {
        struct mf_rec_world in = make_world(variant), out;
        mf_assert_ok(mf_rec_get_world(buf, mf_rec_put_world(buf, &in), &out));
        assert_true(out.world_id == in.world_id);
        assert_int_equal(out.world_size, in.world_size);
    }
}

static void test_record_map__round_trip_up_to_the_limit(void **state)
{
    uint8_t buf[MF_RECORD_MAX];
    struct mf_rec_map in, out;
    (void)state;
    for (uint32_t count = 0; count <= MF_POOLS_MAX; count++) {
        make_map(&in, count);
        size_t len = mf_rec_put_map(buf, &in);
        assert_in_range(len, 1, MF_RECORD_MAX);
        mf_assert_ok(mf_rec_get_map(buf, len, &out));
        assert_int_equal(out.count, count);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(out.v[i].pool, in.v[i].pool);
            assert_true(out.v[i].base == in.v[i].base);
            assert_true(out.v[i].max_hbm == in.v[i].max_hbm);
            assert_true(out.v[i].max_dram == in.v[i].max_dram);
            assert_int_equal(out.v[i].world, in.v[i].world);
        }
    }
}

static void test_record_member__round_trip_up_to_the_limit(void **state)
{
    uint8_t buf[MF_RECORD_MAX];
    struct mf_rec_member in, out;
    (void)state;
    for (uint32_t variant = 0; variant < 600; variant++) {
        make_member(&in, variant);
        size_t len = mf_rec_put_member(buf, &in);
        assert_in_range(len, 1, MF_RECORD_MAX);
        mf_assert_ok(mf_rec_get_member(buf, len, &out));
        assert_int_equal(out.count, in.count);
        assert_true(out.hbm_bytes == in.hbm_bytes);
        assert_true(out.dram_bytes == in.dram_bytes);
        for (uint32_t i = 0; i < in.count; i++) {
            assert_int_equal(out.endpoint[i].data_ops, in.endpoint[i].data_ops);
            assert_int_equal(out.endpoint[i].len, in.endpoint[i].len);
            assert_memory_equal(out.endpoint[i].bytes, in.endpoint[i].bytes, in.endpoint[i].len);
        }
        assert_string_equal(out.tag, in.tag);
        assert_int_equal(out.tag_count, in.tag_count);
        for (uint32_t i = 0; i < in.tag_count; i++) {
            assert_int_equal(out.tags[i].ops, in.tags[i].ops);
            assert_string_equal(out.tags[i].name, in.tags[i].name);
        }
    }
}

/* The bytes are the format: another release reads what this one wrote. */
static void test_record_world__has_its_bytes(void **state)
{
    static const uint8_t want[] = {3, 0, 2, 0, 8, 7, 6, 5, 4, 3, 2, 1, 0, 4, 0, 0};
    struct mf_rec_world rec = {.world_id = 0x0102030405060708ull, .world_size = 1024};
    uint8_t buf[MF_RECORD_MAX];
    (void)state;
    assert_int_equal(mf_rec_put_world(buf, &rec), sizeof(want));
    assert_memory_equal(buf, want, sizeof(want));
}

static void test_record_member__has_its_bytes(void **state)
{
    static const uint8_t want[] = {3, 0,  4, 0, 1, 0, 0,   0,   0, 0,   0,   0, 2, 0, 0, 0, 3, 0,
                                   0, 0,  7, 0, 0, 0, 0,   0,   0, 0,   8,   0, 0, 0, 0, 0, 0, 0,
                                   1, 32, 0, 0, 0, 2, 'a', 'b', 2, 't', 'a', 1, 4, 0, 1, 0, 1, 'u'};
    struct mf_rec_member rec = {.identity = {.incarnation = 1, .pid = 2, .host_hint = 3},
                                .hbm_bytes = 7,
                                .dram_bytes = 8,
                                .count = 1};
    uint8_t buf[MF_RECORD_MAX];
    (void)state;
    rec.endpoint[0].data_ops = 32;
    rec.endpoint[0].len = 2;
    memcpy(rec.endpoint[0].bytes, "ab", 2);
    memcpy(rec.tag, "ta", 3);
    rec.tag_count = 1;
    rec.tags[0] = (struct mf_rec_tag){.ops = 0x10004, .name = "u"};
    assert_int_equal(mf_rec_put_member(buf, &rec), sizeof(want));
    assert_memory_equal(buf, want, sizeof(want));
}

static void test_record__cut_at_every_byte_is_refused(void **state)
{
    uint8_t buf[MF_RECORD_MAX + 1];
    (void)state;
    for (size_t k = 0; k < KIND_COUNT; k++) {
        for (uint32_t variant = 0; variant < 70; variant += 7) {
            size_t len = KINDS[k].put(buf, variant);
            for (size_t cut = 0; cut < len; cut++) {
                mf_assert_rc(get_exact(&KINDS[k], buf, cut), SMEM_ERROR);
                mf_assert_err_has(KINDS[k].name);
                mf_assert_err_has("cut short");
            }
            buf[len] = 0;
            mf_assert_rc(get_exact(&KINDS[k], buf, len + 1), SMEM_ERROR);
            mf_assert_err_has("1 bytes too many");
        }
    }
}

static void test_record__another_version_or_kind_is_refused(void **state)
{
    uint8_t buf[MF_RECORD_MAX];
    (void)state;
    for (size_t k = 0; k < KIND_COUNT; k++) {
        size_t len = KINDS[k].put(buf, 5);
        for (size_t other = 0; other < KIND_COUNT; other++) {
            if (other != k) {
                mf_assert_rc(get_exact(&KINDS[other], buf, len), SMEM_ERROR);
                mf_assert_err_has("is of kind");
            }
        }
        buf[0] = 1;
        mf_assert_rc(get_exact(&KINDS[k], buf, len), SMEM_ERROR);
        mf_assert_err_has("version 1");
        mf_assert_err_has("same release");
    }
}

static void test_record__counts_above_the_limit_are_refused(void **state)
{
    uint8_t buf[MF_RECORD_MAX] = {0};
    (void)state;
    size_t len = put_map(buf, 2);
    buf[4] = MF_POOLS_MAX + 1;
    mf_assert_rc(get_exact(&KINDS[2], buf, len), SMEM_ERROR);
    mf_assert_err_has("names 65 pools, the limit is 64");
    memset(buf + 4, 0xff, 4);
    mf_assert_rc(get_exact(&KINDS[2], buf, len), SMEM_ERROR);
    mf_assert_err_has("4294967295 pools");

    len = put_member(buf, 1);
    buf[36] = MF_TRANSPORTS_MAX + 1;
    mf_assert_rc(get_exact(&KINDS[3], buf, len), SMEM_ERROR);
    mf_assert_err_has("names 9 transports, the limit is 8");
    buf[36] = 1;
    buf[41] = MF_ENDPOINT_MAX + 1;
    mf_assert_rc(get_exact(&KINDS[3], buf, sizeof(buf)), SMEM_ERROR);
    mf_assert_err_has("endpoint of 65 bytes, the limit is 64");
}

static void test_record_member__tags_that_no_rank_writes_are_refused(void **state)
{
    uint8_t buf[MF_RECORD_MAX] = {0};
    struct mf_rec_member rec = {.tag = "ab"}, out;
    (void)state;
    size_t len = mf_rec_put_member(buf, &rec);
    mf_assert_ok(mf_rec_get_member(buf, len, &out));
    buf[38] = '%'; /* behind the number of transports and the length */
    mf_assert_rc(mf_rec_get_member(buf, len, &out), SMEM_ERROR);
    buf[38] = 'a';
    buf[37] = MF_TAG_MAX + 1;
    mf_assert_rc(mf_rec_get_member(buf, sizeof(buf), &out), SMEM_ERROR);
    buf[37] = 2;
    buf[40] = MF_TAG_PAIRS_MAX + 1;
    mf_assert_rc(mf_rec_get_member(buf, sizeof(buf), &out), SMEM_ERROR);
    mf_assert_err_has("names 21 tags, the limit is 20");
}

static void test_record__values_that_no_rank_writes_are_refused(void **state)
{
    uint8_t buf[MF_RECORD_MAX];
    struct mf_rec_map map, out;
    (void)state;
    for (int bad = 0; bad < 6; bad++) {
        make_map(&map, 3);
        struct mf_rec_layout *l = &map.v[1];
        *(bad == 0 ? &l->pool : &l->world) = bad == 0   ? MF_POOLS_MAX
                                             : bad == 1 ? 0
                                             : bad == 2 ? MF_WORLD_MAX + 1
                                                        : 4;
        l->max_hbm = bad == 3 ? (1ull << 46) + 1 : 0;
        l->max_dram = bad == 4 ? UINT64_MAX : MF_PAGE_LARGE;
        l->base = bad == 5 ? UINT64_MAX : 0x280000000000ull;
        mf_assert_rc(mf_rec_get_map(buf, mf_rec_put_map(buf, &map), &out), SMEM_ERROR);
        mf_assert_err_has("which no rank writes");
    }
    struct mf_rec_world world = {.world_id = 1, .world_size = 0}, got;
    mf_assert_rc(mf_rec_get_world(buf, mf_rec_put_world(buf, &world), &got), SMEM_ERROR);
    mf_assert_err_has("world size 0, not 1..1024");
    world.world_size = 1025;
    mf_assert_rc(mf_rec_get_world(buf, mf_rec_put_world(buf, &world), &got), SMEM_ERROR);
    mf_assert_err_has("1025");
}

static void test_record__random_mutations_never_pass_the_limits(void **state)
{
    uint8_t buf[MF_RECORD_MAX + 16];
    uint64_t seed = 0x9e3779b97f4a7c15ull;
    uint32_t taken = 0, refused = 0;
    (void)state;
    for (uint32_t i = 0; i < MUTATIONS; i++) {
        const struct kind *kind = &KINDS[i % KIND_COUNT];
        size_t len = kind->put(buf, (uint32_t)next(&seed) % 64);
        for (uint64_t n = next(&seed) % 4; n > 0; n--) {
            buf[next(&seed) % len] ^= (uint8_t)next(&seed);
        }
        if (next(&seed) % 4 == 0) {
            len = next(&seed) % (len + 16);
        }
        if (get_exact(kind, buf, len) == SMEM_OK) {
            taken++;
        } else {
            refused++;
            assert_string_not_equal(mf_err_msg(), "");
        }
    }
    assert_in_range(taken, MUTATIONS / 100, MUTATIONS);
    assert_in_range(refused, MUTATIONS / 100, MUTATIONS);
}

static void test_record__random_bytes_never_pass_the_limits(void **state)
{
    uint8_t buf[256];
    uint64_t seed = 42;
    (void)state;
    for (uint32_t i = 0; i < MUTATIONS; i++) {
        size_t len = next(&seed) % sizeof(buf);
        for (size_t b = 0; b < len; b++) {
            buf[b] = (uint8_t)next(&seed);
        }
        if (len >= 4) { /* let it past the head */
            memcpy(buf, (uint8_t[]){2, 0, (uint8_t)(1 + i % KIND_COUNT), 0}, 4);
        }
        (void)get_exact(&KINDS[i % KIND_COUNT], buf, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_identity__round_trip),
        cmocka_unit_test(test_record_world__round_trip),
        cmocka_unit_test(test_record_map__round_trip_up_to_the_limit),
        cmocka_unit_test(test_record_member__round_trip_up_to_the_limit),
        cmocka_unit_test(test_record_world__has_its_bytes),
        cmocka_unit_test(test_record_member__has_its_bytes),
        cmocka_unit_test(test_record__cut_at_every_byte_is_refused),
        cmocka_unit_test(test_record__another_version_or_kind_is_refused),
        cmocka_unit_test(test_record__counts_above_the_limit_are_refused),
        cmocka_unit_test(test_record_member__tags_that_no_rank_writes_are_refused),
        cmocka_unit_test(test_record__values_that_no_rank_writes_are_refused),
        cmocka_unit_test(test_record__random_mutations_never_pass_the_limits),
        cmocka_unit_test(test_record__random_bytes_never_pass_the_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
