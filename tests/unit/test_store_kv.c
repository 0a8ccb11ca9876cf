// SPDX-License-Identifier: Apache-2.0
// The ordered keyspace against a plain model, its limits, ownership, and store URLs.
#include "mf_test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "mf_torture.h"
#include "store/kv.h"
#include "store/store.h"

static uint64_t next(uint64_t *rng)
{
    *rng ^= *rng << 13;
    *rng ^= *rng >> 7;
    *rng ^= *rng << 17;
    return *rng;
}

static void check_order(const struct mf_kv *kv)
{
    const struct mf_kv_entry *last = NULL;
    size_t count = 0;
    size_t bytes = 0;
    for (struct mf_kv_entry *at = mf_kv_first(kv, "", 0); at != NULL; at = mf_kv_next(at, "", 0)) {
        assert_true(last == NULL || strcmp(last->key, at->key) < 0);
        bytes += at->node.key_len + at->value_len;
        count++;
        last = at;
    }
    assert_int_equal(count, kv->tree.count);
    assert_int_equal(bytes, kv->bytes);
}

static void test_kv__agrees_with_a_model(void **state)
{
    enum { KEYS = 500 };
    struct mf_kv kv;
    uint32_t model[KEYS] = {0}; /* value + 1; 0: absent */
    uint64_t rng = 12345;
    char key[16];
    (void)state;
    mf_kv_init(&kv, 1, 10000, 1u << 20);
    for (uint32_t step = 0; step < 50000; step++) {
        uint32_t i = (uint32_t)(next(&rng) % KEYS);
        int len = snprintf(key, sizeof(key), "%x/%x", i % 7, i);
        struct mf_kv_entry *entry = mf_kv_find(&kv, key, (size_t)len);
        assert_int_equal(entry != NULL, model[i] != 0);
        if (entry != NULL) {
            uint32_t value;
            memcpy(&value, entry->value, sizeof(value));
            assert_int_equal(value, model[i] - 1);
        }
        if (next(&rng) % 3 == 0 && entry != NULL) {
            mf_kv_remove(&kv, entry);
            model[i] = 0;
        } else {
            mf_assert_ok(mf_kv_put(&kv, key, (size_t)len, &step, sizeof(step), NULL, NULL));
            model[i] = step + 1;
        }
        if (step % 5000 == 0)
            check_order(&kv);
    }
    check_order(&kv);
    size_t with_prefix = 0;
    size_t want = 0;
    for (uint32_t i = 0; i < KEYS; i++)
        want += model[i] != 0 && i % 7 == 3;
    for (struct mf_kv_entry *at = mf_kv_first(&kv, "3/", 2); at; at = mf_kv_next(at, "3/", 2))
        with_prefix++;
    assert_int_equal(with_prefix, want);
    mf_kv_fini(&kv);
    assert_int_equal(kv.bytes, 0);
}

/* The path from the root to any of 100,000 keys that come in order is short. */
static size_t depth(const struct mf_tree_node *node)
{
    if (node == NULL)
        return 0;
    size_t left = depth(node->left);
    size_t right = depth(node->right);
    return 1 + (left > right ? left : right);
}

static void test_kv__stays_balanced_with_ordered_keys(void **state)
{
    struct mf_kv kv;
    char key[16];
    (void)state;
    mf_kv_init(&kv, 99, 200000, 1u << 26);
    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof(key), "key/%06d", i);
        mf_assert_ok(mf_kv_put(&kv, key, 10, &i, sizeof(i), NULL, NULL));
    }
    assert_in_range(depth(kv.tree.root), 17, 70);
    mf_kv_fini(&kv);
}

static void test_kv__limits_refuse_and_change_nothing(void **state)
{
    struct mf_kv kv;
    struct mf_kv_entry *entry;
    (void)state;
    mf_kv_init(&kv, 1, 2, 20);
    mf_assert_ok(mf_kv_put(&kv, "a", 1, "12345", 5, NULL, NULL));
    mf_assert_ok(mf_kv_put(&kv, "b", 1, "12345", 5, NULL, NULL));
    mf_assert_rc(mf_kv_put(&kv, "c", 1, "", 0, NULL, NULL), SMEM_NO_RESOURCES);
    mf_assert_err_has("holds 2 keys, which is its limit");
    mf_assert_rc(mf_kv_append(&kv, "a", 1, "123456789", 9, &entry), SMEM_NO_RESOURCES);
    mf_assert_err_has("12 bytes, 9 more would pass the limit 20");
    mf_assert_ok(mf_kv_append(&kv, "a", 1, "67890abc", 8, &entry));
    assert_int_equal(entry->value_len, 13);
    assert_memory_equal(entry->value, "1234567890abc", 13);
    assert_int_equal(kv.bytes, 20);
    mf_assert_ok(mf_kv_put(&kv, "a", 1, "1", 1, NULL, NULL)); /* smaller always fits */
    mf_kv_fini(&kv);
}

static void test_kv__ownership_moves_and_ends(void **state)
{
    struct mf_kv kv;
    struct mf_kv_owner one = {0};
    struct mf_kv_owner two = {0};
    struct mf_kv_entry *entry;
    (void)state;
    mf_kv_init(&kv, 1, 100, 1000);
    mf_assert_ok(mf_kv_put(&kv, "a", 1, "x", 1, &one, NULL));
    mf_assert_ok(mf_kv_put(&kv, "b", 1, "x", 1, &one, NULL));
    mf_assert_ok(mf_kv_put(&kv, "c", 1, "x", 1, &one, NULL));
    mf_assert_ok(mf_kv_put(&kv, "b", 1, "y", 1, &two, &entry));
    assert_ptr_equal(two.owned, entry);
    assert_true(entry->rev == kv.rev);
    mf_assert_ok(mf_kv_put(&kv, "a", 1, "z", 1, NULL, NULL));
    assert_string_equal(one.owned->key, "c");
    assert_null(one.owned->owned_next);
    mf_kv_remove(&kv, one.owned);
    assert_null(one.owned);
    mf_kv_fini(&kv);
    assert_null(two.owned);
}

static void test_kv__gives_back_large_blocks(void **state)
{
    struct mf_kv kv;
    struct mf_kv_entry *entry;
    uint8_t *big = test_calloc(1, 1u << 20);
    (void)state;
    mf_kv_init(&kv, 1, 100, 1u << 24);
    mf_assert_ok(mf_kv_put(&kv, "a", 1, big, 1u << 20, NULL, &entry));
    mf_assert_ok(mf_kv_put(&kv, "a", 1, big, 100, NULL, &entry));
    assert_in_range(entry->value_cap, 100, 4096);
    test_free(big);
    mf_kv_fini(&kv);
}

static int kv_without_memory(void *arg)
{
    struct mf_kv kv;
    struct mf_kv_entry *entry;
    (void)arg;
    mf_kv_init(&kv, 1, 100, 1000);
    int rc = mf_kv_put(&kv, "a", 1, "value", 5, NULL, NULL);
    if (rc == SMEM_OK)
        rc = mf_kv_append(&kv, "a", 1, "more of it", 10, &entry);
    if (rc == SMEM_OK)
        rc = mf_kv_put(&kv, "b", 1, "", 0, NULL, NULL);
    mf_kv_fini(&kv);
    return rc;
}

static void test_kv__torture(void **state)
{
    (void)state;
    assert_true(mf_torture(kv_without_memory, NULL) >= 4);
}

static void test_store_url__parses(void **state)
{
    struct mf_store_url url;
    (void)state;
    mf_assert_ok(mf_store_url_parse("tcp://10.0.0.2:7000", &url));
    assert_string_equal(url.host, "10.0.0.2");
    assert_true(!url.v6 && url.port == 7000);
    mf_assert_ok(mf_store_url_parse("tcp://0.0.0.0:0", &url));
    mf_assert_ok(mf_store_url_parse("tcp://[fe80::1]:65535", &url));
    assert_string_equal(url.host, "fe80::1");
    assert_true(url.v6 && url.port == 65535);
    mf_assert_ok(mf_store_url_parse("tcp://[::]:1", &url));
}

static void test_store_url__says_where_it_stops(void **state)
{
    static const struct {
        const char *url, *says;
    } bad[] = {
        {"", "\"tcp://\" is missing at character 1"},
        {"127.0.0.1:7000", "\"tcp://\" is missing at character 1"},
        {"http://127.0.0.1:7000", "\"tcp://\" is missing at character 1"},
        {"tcp6://127.0.0.1:7000", "\"tcp://\" is missing at character 1"},
        {"tcp://", "\":\" and a port are missing at character 7"},
        {"tcp://127.0.0.1", "\":\" and a port are missing at character 16"},
        {"tcp://:7000", "a numeric address is missing at character 7"},
        {"tcp://127.0.0.1:", "a port number is missing at character 17"},
        {"tcp://127.0.0.1:x", "a port number is missing at character 17"},
        {"tcp://127.0.0.1:70000", "the port is above 65535 at character 17"},
        {"tcp://127.0.0.1:99999999999999999999", "the port is above 65535 at character 17"},
        {"tcp://127.0.0.1:7000/x", "something follows the port at character 21"},
        {"tcp://127.0.0.1:7000#a", "something follows the port at character 21"},
        {"tcp://127.0.0:7000", "no IPv4 address at character 7"},
        {"tcp://localhost:7000", "no IPv4 address at character 7"},
        {"tcp://${HOST}:7000", "no IPv4 address at character 7"},
        {"tcp://fe80::1:7000", "no IPv4 address"},
        {"tcp://[fe80::1:7000", "\"]\" is missing at character 20"},
        {"tcp://[127.0.0.1]:7000", "no IPv6 address at character 8"},
        {"tcp://[::1]7000", "\":\" and a port are missing at character 12"},
        {"etcd://127.0.0.1:2379", "the etcd and reg back ends are not available"},
        {"reg://127.0.0.1:2379", "the etcd and reg back ends are not available"},
    };
    struct mf_store_url url;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mf_assert_rc(mf_store_url_parse(bad[i].url, &url), SMEM_INVALID_PARAM);
        mf_assert_err_has(bad[i].says);
        mf_assert_err_has(bad[i].url);
    }
    mf_assert_rc(mf_store_url_parse(NULL, &url), SMEM_INVALID_PARAM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kv__agrees_with_a_model),
        cmocka_unit_test(test_kv__stays_balanced_with_ordered_keys),
        cmocka_unit_test(test_kv__limits_refuse_and_change_nothing),
        cmocka_unit_test(test_kv__ownership_moves_and_ends),
        cmocka_unit_test(test_kv__gives_back_large_blocks),
        cmocka_unit_test(test_kv__torture),
        cmocka_unit_test(test_store_url__parses),
        cmocka_unit_test(test_store_url__says_where_it_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
