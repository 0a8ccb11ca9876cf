// SPDX-License-Identifier: Apache-2.0
// Tests of a client that goes to another store address while the one it is connected to lives: to
// the same store under another address, to another store and back, and away for good.
#include "mf_test.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "store/server_sm.h"
#include "unit/store_rig.h"
#include "unit/store_sm_rig.h"

/* What a watch was told. */
struct seen {
    _Atomic uint32_t puts, deleted, expired, ends;
};

static void on_event(void *arg, const struct mf_watch_event *event)
{
    struct seen *seen = arg;
    atomic_fetch_add(&seen->puts, event->kind == MF_WATCH_PUT);
    atomic_fetch_add(&seen->ends, event->kind == MF_WATCH_SYNC_END);
    if (event->kind == MF_WATCH_DELETE) {
        atomic_fetch_add(event->expired ? &seen->expired : &seen->deleted, 1);
    }
}

static void await(_Atomic uint32_t *value, uint32_t least)
{
    struct timespec span = {0, 1000000};
    for (int ms = 0; ms < 10000 && atomic_load(value) < least; ms++) {
        nanosleep(&span, NULL);
    }
    assert_true(atomic_load(value) >= least);
}

static uint32_t sessions_of(struct mf_store_server *server)
{
    struct mf_store_server_status status;
    mf_store_server_get_status(server, &status);
    return status.sessions;
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    *state = rig;
    return rig == NULL ? 1 : rig_open(rig);
}

static int teardown(void **state)
{
    rig_close(*state);
    free(*state);
    return 0;
}

static bool has(struct rig *rig, struct mf_store *store, const char *key)
{
    void *value = NULL;
    size_t len = 0;
    int rc = mf_store_get(store, key, 0, rig_in_ms(rig, 5000), &value, &len);
    bool good = rc == SMEM_OK && len == 3 && memcmp(value, "abc", 3) == 0;
    mf_free(value);
    return good;
}

/* The server's port at another address of this machine. */
static void other_address(const struct rig *rig, char *url, size_t len)
{
    const char *colon = strrchr(mf_store_server_url(rig->server), ':');
    snprintf(url, len, "tcp://127.0.0.2%s", colon);
}

static void test_store_move__to_the_same_store_loses_nothing(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = NULL, *b = NULL;
    struct seen by_a = {0}, by_b = {0};
    uint32_t watch_a = 0, watch_b = 0;
    char url[96];
    mf_store_server_destroy(rig->server);
    mf_assert_ok(mf_store_server_create(&rig->env, "tcp://0.0.0.0:0", 0, &rig->server));
    other_address(rig, url, sizeof(url));
    mf_assert_ok(rig_client(rig, RIG_SESSION_MS, &a));
    mf_assert_ok(rig_client(rig, RIG_SESSION_MS, &b));
    mf_assert_ok(mf_store_set(a, "k/a", "abc", 3, MF_STORE_EPHEMERAL, rig_in_ms(rig, 5000)));
    mf_assert_ok(a->ops->watch(a, "k/", on_event, &by_a, &watch_a));
    mf_assert_ok(b->ops->watch(b, "k/", on_event, &by_b, &watch_b));
    await(&by_b.ends, 1);
    for (uint32_t round = 0; round < 10; round++) {
        mf_assert_ok(a->ops->set_url(a, url, true));
        mf_assert_ok(a->ops->set_url(a, url, true)); /* it is on its way, or there */
        await(&by_a.ends, 2 + round);                /* its watch has come along */
        assert_true(has(rig, b, "k/a"));
        assert_true(has(rig, a, "k/a"));
        mf_assert_ok(mf_store_set(b, "k/b", "abc", 3, 0, rig_in_ms(rig, 5000)));
        snprintf(url, sizeof(url), "tcp://127.0.0.%u%s", 1 + round % 2,
                 strrchr(mf_store_server_url(rig->server), ':'));
    }
    assert_int_equal(atomic_load(&by_b.deleted) + atomic_load(&by_b.expired), 0);
    assert_int_equal(sessions_of(rig->server), 2);
    mf_store_close(a, rig_in_ms(rig, 1000));
    await(&by_b.deleted, 1); /* and its end is its end */
    mf_store_close(b, rig_in_ms(rig, 1000));
}

/* Whatever the connection is doing when the next address comes, the session lives on. */
static void test_store_move__again_before_it_has_arrived(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = NULL;
    char url[96];
    mf_store_server_destroy(rig->server);
    mf_assert_ok(mf_store_server_create(&rig->env, "tcp://0.0.0.0:0", 0, &rig->server));
    mf_assert_ok(rig_client(rig, RIG_SESSION_MS, &a));
    mf_assert_ok(mf_store_set(a, "k/a", "abc", 3, MF_STORE_EPHEMERAL, rig_in_ms(rig, 5000)));
    for (uint32_t i = 0; i < 300; i++) {
        struct timespec span = {0, (long)(i % 50) * 10000};
        snprintf(url, sizeof(url), "tcp://127.0.0.%u%s", 1 + i % 3,
                 strrchr(mf_store_server_url(rig->server), ':'));
        mf_assert_ok(a->ops->set_url(a, url, true));
        nanosleep(&span, NULL);
    }
    assert_true(has(rig, a, "k/a"));
    assert_int_equal(sessions_of(rig->server), 1);
    mf_store_close(a, rig_in_ms(rig, 1000));
}

static void test_store_move__to_another_store_and_back(void **state)
{
    struct rig *rig = *state;
    struct mf_store_server *second = NULL;
    struct mf_store *a = NULL, *b = NULL;
    struct seen seen = {0};
    uint32_t watch = 0;
    mf_assert_ok(mf_store_server_create(&rig->env, "tcp://127.0.0.1:0", 0, &second));
    mf_assert_ok(rig_client(rig, RIG_SESSION_MS, &a));
    mf_assert_ok(rig_client(rig, RIG_SESSION_MS, &b));
    mf_assert_ok(mf_store_set(a, "k/a", "abc", 3, MF_STORE_EPHEMERAL, rig_in_ms(rig, 5000)));
    mf_assert_ok(b->ops->watch(b, "k/", on_event, &seen, &watch));
    await(&seen.ends, 1);
    mf_assert_ok(a->ops->set_url(a, mf_store_server_url(second), true));
    for (int i = 0; i < 5000 && sessions_of(second) == 0; i++) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    assert_true(has(rig, a, "k/a")); /* announced there */
    assert_true(has(rig, b, "k/a")); /* whoever has not moved yet does not take it for dead */
    mf_assert_ok(a->ops->set_url(a, mf_store_server_url(rig->server), true));
    assert_true(has(rig, a, "k/a"));
    assert_int_equal(atomic_load(&seen.deleted) + atomic_load(&seen.expired), 0);
    mf_store_close(a, rig_in_ms(rig, 1000));
    await(&seen.deleted, 1);
    mf_store_close(b, rig_in_ms(rig, 1000));
    mf_store_server_destroy(second); /* with a session that is away */
}

/* ---- the server alone, on a clock that is set by hand --------------------------------------- */

struct alone {
    struct sm_rig rig;
    struct mf_server_sm *sm;
    struct mf_server_conn *conn[4];
    uint32_t broken;
};

static void on_broken(void *arg, uint64_t session_id, uint32_t rank)
{
    (void)session_id;
    (void)rank;
    ((struct alone *)arg)->broken++;
}

static void send_frame(struct alone *w, uint32_t c, uint8_t type, const struct mf_smsg_hello *hello,
                       const struct mf_smsg_request *req)
{
    struct mf_outq queue;
    struct mf_wr wr;
    const uint8_t *data = NULL;
    mf_outq_init(&queue, MF_FRAME_MAX);
    mf_outq_begin(&queue, type, &wr);
    if (hello != NULL) {
        mf_smsg_put_hello(&wr, hello);
    } else if (req != NULL) {
        mf_smsg_put_request(&wr, req);
    }
    mf_assert_ok(mf_outq_end(&queue, &wr));
    size_t len = mf_outq_peek(&queue, &data);
    mf_server_sm_bytes(w->sm, w->rig.now, w->conn[c], data, len);
    mf_outq_fini(&queue);
}

static void say_hello(struct alone *w, uint32_t c, uint64_t session, uint64_t prev_boot)
{
    struct mf_smsg_hello hello = {
        .session_id = session, .prev_boot = prev_boot, .session_ms = RIG_SESSION_MS};
    mf_assert_ok(mf_server_sm_open(w->sm, w->rig.now, "test", NULL, &w->conn[c]));
    send_frame(w, c, MF_SMSG_HELLO, &hello, NULL);
}

static uint64_t boot_id(struct alone *w, uint32_t c)
{
    struct frame_log log;
    struct mf_smsg_welcome welcome = {0};
    const uint8_t *data = NULL;
    size_t len = mf_server_conn_output(w->conn[c], &data);
    frame_log_init(&log);
    frame_log_feed(&log, data, len);
    const uint8_t *body = frame_log_at(&log, 0, MF_SMSG_WELCOME, &len);
    mf_assert_ok(mf_smsg_get_welcome(body, len, &welcome));
    frame_log_fini(&log);
    return welcome.boot_id;
}

static void close_conn(struct alone *w, uint32_t c)
{
    mf_server_sm_closed(w->sm, w->rig.now, w->conn[c]);
    w->conn[c] = NULL;
}

static void set_key(struct alone *w, uint32_t c)
{
    struct mf_smsg_request req = {.id = 1,
                                  .op = MF_STORE_SET,
                                  .flags = MF_STORE_EPHEMERAL,
                                  .key = "key",
                                  .key_len = 3,
                                  .value = "v",
                                  .value_len = 1};
    send_frame(w, c, MF_SMSG_REQUEST, NULL, &req);
}

static int alone_setup(void **state)
{
    struct alone *w = calloc(1, sizeof(*w));
    struct mf_server_sm_cfg cfg;
    *state = w;
    sm_rig_init(&w->rig);
    mf_server_sm_cfg_init(&cfg, &w->rig.env);
    cfg.on_broken = on_broken;
    cfg.on_broken_arg = w;
    return mf_server_sm_create(&cfg, w->rig.now, &w->sm);
}

static int alone_teardown(void **state)
{
    struct alone *w = *state;
    for (uint32_t c = 0; c < 4; c++) {
        if (w->conn[c] != NULL) {
            close_conn(w, c);
        }
    }
    mf_server_sm_destroy(w->sm);
    free(w);
    return 0;
}

static bool has_key(const struct alone *w)
{
    size_t len = 0;
    return mf_server_sm_peek(w->sm, "key", &len) != NULL;
}

static void test_store_server_move__who_stays_away_expires(void **state)
{
    struct alone *w = *state;
    say_hello(w, 0, 7, 0);
    set_key(w, 0);
    send_frame(w, 0, MF_SMSG_MOVE, NULL, NULL);
    assert_int_equal(mf_server_conn_want(w->conn[0]), MF_CONN_FLUSH_CLOSE);
    close_conn(w, 0);
    assert_true(has_key(w));
    for (int i = 0; i < 29; i++) {
        w->rig.now += 1000 * MS;
        mf_server_sm_tick(w->sm, w->rig.now);
        assert_true(has_key(w));
    }
    assert_int_equal(w->broken, 0);
    w->rig.now += 1001 * MS;
    mf_server_sm_tick(w->sm, w->rig.now);
    assert_false(has_key(w));
    assert_int_equal(w->broken, 1);
    mf_server_sm_tick(w->sm, w->rig.now + 60000 * MS);
    assert_int_equal(w->broken, 1);
}

static void test_store_server_move__another_connection_takes_over(void **state)
{
    struct alone *w = *state;
    say_hello(w, 0, 7, 0);
    uint64_t boot = boot_id(w, 0);
    set_key(w, 0);
    send_frame(w, 0, MF_SMSG_MOVE, NULL, NULL);
    say_hello(w, 1, 7, boot); /* before the first connection has been closed */
    assert_true(boot_id(w, 1) == boot);
    close_conn(w, 0);
    assert_true(has_key(w));
    send_frame(w, 1, MF_SMSG_MOVE, NULL, NULL);
    close_conn(w, 1);
    say_hello(w, 2, 7, boot); /* behind it */
    assert_true(boot_id(w, 2) == boot);
    assert_false(mf_server_sm_recovering(w->sm, w->rig.now));
    assert_true(has_key(w));
    close_conn(w, 2); /* without a word this time */
    assert_false(has_key(w));
    assert_int_equal(w->broken, 1);
    say_hello(w, 3, 7, boot);
    assert_int_equal(mf_server_conn_want(w->conn[3]), MF_CONN_FLUSH_CLOSE); /* it has ended */
}

static void test_store_server_move__another_life_is_not_taken_for_it(void **state)
{
    struct alone *w = *state;
    say_hello(w, 0, 7, 0);
    set_key(w, 0);
    send_frame(w, 0, MF_SMSG_MOVE, NULL, NULL);
    close_conn(w, 0);
    say_hello(w, 1, 8, 0);
    assert_true(has_key(w));
    close_conn(w, 1);
    assert_true(has_key(w)); /* 7 is still awaited; destroyed with the server */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_store_move__to_the_same_store_loses_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_store_move__again_before_it_has_arrived, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_store_move__to_another_store_and_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_store_server_move__who_stays_away_expires, alone_setup,
                                        alone_teardown),
        cmocka_unit_test_setup_teardown(test_store_server_move__another_connection_takes_over,
                                        alone_setup, alone_teardown),
        cmocka_unit_test_setup_teardown(test_store_server_move__another_life_is_not_taken_for_it,
                                        alone_setup, alone_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
