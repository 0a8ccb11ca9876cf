// SPDX-License-Identifier: Apache-2.0
// The store server's state machine alone: what it answers, when it ends sessions, how it recovers,
// and what it does with clients that break the rules. The clock is set by hand.
#include "mf_test.h"

#include <stdio.h>

#include "base/limits.h"
#include "mf_torture.h"
#include "store/server_sm.h"
#include "unit/store_sm_rig.h"
#include "wire/store_item.h"

struct peer {
    struct mf_server_conn *conn; /* NULL: the machine wanted it closed */
    struct frame_log log;
    size_t bytes; /* received in all */
    bool closed;
};

struct world {
    struct sm_rig rig;
    struct mf_server_sm_cfg cfg;
    struct mf_server_sm *sm;
    uint64_t broken;
    int broken_count;
    struct peer peers[4];
};

static void on_broken(void *arg, uint64_t session_id, uint32_t rank)
{
    (void)rank;
    struct world *w = arg;
    w->broken = session_id;
    w->broken_count++;
}

static int setup(void **state)
{
    struct world *w = test_calloc(1, sizeof(*w));
    *state = w;
    sm_rig_init(&w->rig);
    mf_server_sm_cfg_init(&w->cfg, &w->rig.env);
    w->cfg.on_broken = on_broken;
    w->cfg.on_broken_arg = w;
    for (int i = 0; i < 4; i++)
        frame_log_init(&w->peers[i].log);
    return mf_server_sm_create(&w->cfg, w->rig.now, &w->sm);
}

static int teardown(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 4; i++) {
        if (w->peers[i].conn != NULL)
            mf_server_sm_closed(w->sm, w->rig.now, w->peers[i].conn);
        frame_log_fini(&w->peers[i].log);
    }
    mf_server_sm_destroy(w->sm);
    test_free(w);
    return 0;
}

/* Take the output of all connections; close those that are to be closed. */
static void drain(struct world *w)
{
    struct mf_server_conn *conn;
    const uint8_t *data;
    size_t len;
    while ((conn = mf_server_sm_pop_ready(w->sm)) != NULL) {
        struct peer *peer = mf_server_conn_user(conn);
        while (mf_server_conn_want(conn) != MF_CONN_CLOSE &&
               (len = mf_server_conn_output(conn, &data)) > 0) {
            frame_log_feed(&peer->log, data, len);
            peer->bytes += len;
            mf_server_conn_sent(conn, len);
        }
        if (mf_server_conn_want(conn) != MF_CONN_KEEP) {
            mf_server_sm_closed(w->sm, w->rig.now, conn);
            peer->conn = NULL;
            peer->closed = true;
        }
    }
}

static void tick_at(struct world *w, uint64_t ns)
{
    while (mf_server_sm_next_ns(w->sm) <= ns) { /* as a shell would: never late */
        w->rig.now = mf_server_sm_next_ns(w->sm);
        mf_server_sm_tick(w->sm, w->rig.now);
        drain(w);
    }
    w->rig.now = ns;
}

static void bytes(struct world *w, int p, const void *data, size_t len)
{
    mf_server_sm_bytes(w->sm, w->rig.now, w->peers[p].conn, data, len);
}

static struct peer *connect_peer(struct world *w, int p)
{
    struct peer *peer = &w->peers[p];
    frame_log_clear(&peer->log);
    peer->closed = false;
    mf_assert_ok(mf_server_sm_open(w->sm, w->rig.now, "peer", peer, &peer->conn));
    return peer;
}

static void frame(struct world *w, int p, struct mf_outq *queue, struct mf_wr *wr)
{
    const uint8_t *data;
    mf_assert_ok(mf_outq_end(queue, wr));
    size_t len = mf_outq_peek(queue, &data);
    if (w->peers[p].conn != NULL)
        bytes(w, p, data, len);
    mf_outq_fini(queue);
}

static void hello(struct world *w, int p, uint64_t id, uint64_t prev_boot)
{
    struct mf_outq queue;
    struct mf_wr wr;
    mf_outq_init(&queue, MF_FRAME_MAX);
    mf_outq_begin(&queue, MF_SMSG_HELLO, &wr);
    mf_smsg_put_hello(
        &wr, &(struct mf_smsg_hello){.session_id = id, .prev_boot = prev_boot, .session_ms = 1000});
    frame(w, p, &queue, &wr);
    drain(w);
}

/* Connect and open a session; its boot id. */
static uint64_t open_session(struct world *w, int p, uint64_t id, uint64_t prev_boot)
{
    struct mf_smsg_welcome welcome;
    size_t len;
    struct peer *peer = connect_peer(w, p);
    hello(w, p, id, prev_boot);
    const uint8_t *body = frame_log_at(&peer->log, 0, MF_SMSG_WELCOME, &len);
    mf_assert_ok(mf_smsg_get_welcome(body, len, &welcome));
    frame_log_clear(&peer->log);
    return welcome.boot_id;
}

static void request(struct world *w, int p, const struct mf_smsg_request *req)
{
    struct mf_outq queue;
    struct mf_wr wr;
    struct mf_smsg_request copy = *req;
    copy.key_len = strlen(req->key);
    mf_outq_init(&queue, MF_FRAME_MAX);
    mf_outq_begin(&queue, MF_SMSG_REQUEST, &wr);
    mf_smsg_put_request(&wr, &copy);
    frame(w, p, &queue, &wr);
}

static void simple(struct world *w, int p, uint8_t type, uint32_t id)
{
    struct mf_outq queue;
    struct mf_wr wr;
    mf_outq_init(&queue, MF_FRAME_MAX);
    mf_outq_begin(&queue, type, &wr);
    if (type == MF_SMSG_WATCH)
        mf_smsg_put_watch(&wr, &(struct mf_smsg_watch){.id = id, .prefix = "m/", .prefix_len = 2});
    else if (type != MF_SMSG_HEARTBEAT && type != MF_SMSG_CLOSE)
        mf_wr_u32(&wr, id);
    frame(w, p, &queue, &wr);
}

static void set(struct world *w, int p, const char *key, const char *value, uint8_t flags)
{
    request(w, p,
            &(struct mf_smsg_request){.id = 1,
                                      .op = MF_STORE_SET,
                                      .flags = flags,
                                      .key = key,
                                      .value = value,
                                      .value_len = strlen(value)});
}

static void remove_key(struct world *w, int p, const char *key)
{
    request(w, p, &(struct mf_smsg_request){.id = 2, .op = MF_STORE_REMOVE, .key = key});
}

static void claim(struct world *w, int p, uint32_t id, const char *key, const char *value)
{
    request(w, p,
            &(struct mf_smsg_request){.id = id,
                                      .op = MF_STORE_CAS,
                                      .flags = MF_STORE_EPHEMERAL,
                                      .key = key,
                                      .value = value,
                                      .value_len = strlen(value)});
}

static void announce(struct world *w, int p, uint32_t id, const char *key, const char *value,
                     uint64_t rev)
{
    request(w, p,
            &(struct mf_smsg_request){.id = id,
                                      .op = MF_SMSG_OP_ANNOUNCE,
                                      .flags = MF_STORE_EPHEMERAL,
                                      .key = key,
                                      .number = rev,
                                      .value = value,
                                      .value_len = strlen(value)});
}

static void assert_stored(struct world *w, const char *key, const char *want)
{
    size_t len = 0;
    const char *value = mf_server_sm_peek(w->sm, key, &len);
    assert_int_equal(value != NULL, want != NULL);
    if (want != NULL) {
        assert_int_equal(len, strlen(want));
        assert_memory_equal(value, want, len);
    }
}

static struct mf_smsg_goodbye goodbye(struct peer *peer, uint32_t n)
{
    static char text[MF_SMSG_TEXT_MAX];
    struct mf_smsg_goodbye bye;
    size_t len;
    const uint8_t *body = frame_log_at(&peer->log, n, MF_SMSG_GOODBYE, &len);
    mf_assert_ok(mf_smsg_get_goodbye(body, len, &bye, text));
    return bye;
}

/* ---- sessions ---------------------------------------------------------------------------------
 */

static void test_server_sm__closes_who_never_says_hello(void **state)
{
    struct world *w = *state;
    uint64_t begin = w->rig.now;
    struct peer *peer = connect_peer(w, 0);
    tick_at(w, begin + 4999 * MS);
    assert_false(peer->closed);
    tick_at(w, begin + 5000 * MS);
    assert_true(peer->closed);
    assert_true(mf_server_sm_next_ns(w->sm) == UINT64_MAX);
}

static void test_server_sm__silence_ends_a_session_heartbeats_keep_it(void **state)
{
    struct world *w = *state;
    uint64_t begin = w->rig.now;
    open_session(w, 0, 10, 0);
    open_session(w, 1, 11, 0);
    set(w, 0, "m/0", "x", MF_STORE_EPHEMERAL);
    set(w, 1, "m/1", "x", MF_STORE_EPHEMERAL);
    for (int i = 1; i <= 5; i++) {
        tick_at(w, begin + (uint64_t)i * 400 * MS);
        simple(w, 0, MF_SMSG_HEARTBEAT, 0);
        drain(w);
        assert_int_equal(w->peers[1].closed, i > 2);
    }
    assert_stored(w, "m/0", "x");
    assert_stored(w, "m/1", NULL);
    assert_true(w->broken == 11 && w->broken_count == 1);
    assert_int_equal(goodbye(&w->peers[1], 1).why, MF_SMSG_WHY_EXPIRED);
    size_t len;
    frame_log_at(&w->peers[0].log, 5, MF_SMSG_HEARTBEAT, &len); /* after the reply: 5 of them */
    assert_int_equal(w->peers[0].log.count, 6);
}

static void test_server_sm__forgives_a_time_in_which_it_did_not_run(void **state)
{
    struct world *w = *state;
    uint64_t begin = w->rig.now;
    open_session(w, 0, 10, 0);
    w->rig.now = begin + 30000 * MS; /* stopped for half a minute */
    mf_server_sm_tick(w->sm, w->rig.now);
    drain(w);
    assert_false(w->peers[0].closed);
    tick_at(w, w->rig.now + 1000 * MS); /* but real silence counts from then on */
    assert_true(w->peers[0].closed);
}

static void test_server_sm__closed_connection_ends_the_session(void **state)
{
    struct world *w = *state;
    uint64_t boot = open_session(w, 0, 10, 0);
    set(w, 0, "m/0", "x", MF_STORE_EPHEMERAL);
    mf_server_sm_closed(w->sm, w->rig.now, w->peers[0].conn);
    w->peers[0].conn = NULL;
    assert_stored(w, "m/0", NULL);
    assert_true(w->broken == 10);
    connect_peer(w, 1); /* the same life comes back: it has ended for good */
    hello(w, 1, 10, boot);
    assert_int_equal(goodbye(&w->peers[1], 0).why, MF_SMSG_WHY_EXPIRED);
    assert_true(w->peers[1].closed);
}

static void test_server_sm__close_message_is_not_a_break(void **state)
{
    struct world *w = *state;
    open_session(w, 0, 10, 0);
    open_session(w, 1, 11, 0);
    simple(w, 1, MF_SMSG_WATCH, 1);
    set(w, 0, "m/0", "x", MF_STORE_EPHEMERAL);
    simple(w, 0, MF_SMSG_CLOSE, 0);
    drain(w);
    assert_int_equal(w->broken_count, 0);
    assert_int_equal(goodbye(&w->peers[0], 1).why, MF_SMSG_WHY_CLOSED);
    struct mf_item_prev prev = {0};
    struct mf_smsg_item item;
    struct mf_rd rd;
    size_t len;
    const uint8_t *body = frame_log_at(&w->peers[1].log, 1, MF_SMSG_EVENTS, &len);
    mf_rd_init(&rd, body, len);
    assert_true(mf_item_get(&rd, &prev, &item)); /* put and delete in one frame */
    assert_int_equal(item.kind, MF_SMSG_PUT);
    assert_true(mf_item_get(&rd, &prev, &item));
    assert_int_equal(item.kind, MF_SMSG_DELETE);
    assert_true(mf_rd_done(&rd));
}

/* Who takes a key away that lives with a session has declared it dead. */
static void test_server_sm__a_session_whose_key_is_removed_is_told(void **state)
{
    struct world *w = *state;
    open_session(w, 0, 10, 0);
    open_session(w, 1, 11, 0);
    set(w, 0, "m/0", "x", MF_STORE_EPHEMERAL);
    set(w, 0, "m/1", "x", MF_STORE_EPHEMERAL);
    set(w, 0, "plain", "x", 0);
    remove_key(w, 1, "plain"); /* nobody's */
    remove_key(w, 0, "m/1");   /* its own */
    drain(w);
    assert_false(w->peers[0].closed);
    remove_key(w, 1, "m/0");
    drain(w);
    assert_stored(w, "m/0", NULL);
    assert_true(w->peers[0].closed);
    assert_true(w->broken == 10);
    assert_false(w->peers[1].closed);
}

static void test_server_sm__refuses_a_second_connection_of_a_live_session(void **state)
{
    struct world *w = *state;
    open_session(w, 0, 10, 0);
    connect_peer(w, 1);
    hello(w, 1, 10, 0);
    struct mf_smsg_goodbye bye = goodbye(&w->peers[1], 0);
    assert_int_equal(bye.why, MF_SMSG_WHY_REFUSED);
    assert_int_equal(bye.rc, SMEM_DUPLICATED);
    assert_true(w->peers[1].closed && !w->peers[0].closed);
    assert_int_equal(w->broken_count, 0);
}

/* ---- recovery ---------------------------------------------------------------------------------
 */

static void test_server_sm__newcomers_wait_while_recovering(void **state)
{
    struct world *w = *state;
    uint64_t begin = w->rig.now;
    open_session(w, 0, 10, 0);    /* a newcomer, before anybody tells of the restart */
    open_session(w, 1, 11, 4711); /* it lived here before */
    assert_true(mf_server_sm_recovering(w->sm, w->rig.now));
    claim(w, 0, 5, "m/0", "new");
    set(w, 0, "plain", "x", 0); /* all else goes on */
    drain(w);
    assert_int_equal(w->peers[0].log.count, 1);
    assert_stored(w, "m/0", NULL);
    announce(w, 1, 6, "m/0", "old", 40);
    drain(w);
    assert_int_equal(frame_log_reply(&w->peers[1].log, 0).swapped, 1);
    assert_stored(w, "m/0", "old");
    tick_at(w, begin + 600 * MS);
    simple(w, 0, MF_SMSG_HEARTBEAT, 0);
    simple(w, 1, MF_SMSG_HEARTBEAT, 0);
    tick_at(w, begin + 1000 * MS);
    assert_false(mf_server_sm_recovering(w->sm, w->rig.now));
    struct mf_smsg_reply reply = frame_log_reply(&w->peers[0].log, 2);
    assert_true(reply.id == 5 && !reply.swapped); /* its turn comes, and the key is taken */
    assert_memory_equal(reply.value, "old", 3);
}

/* A store that has just begun does not know yet whether it had a life before. */
static void test_server_sm__settles_before_newcomers_get_ranks(void **state)
{
    struct world *w = *state;
    mf_server_sm_destroy(w->sm);
    w->cfg.settle_ms = 200;
    uint64_t begin = w->rig.now;
    mf_assert_ok(mf_server_sm_create(&w->cfg, begin, &w->sm));
    assert_true(mf_server_sm_recovering(w->sm, begin));
    assert_int_equal(mf_server_sm_next_ns(w->sm), begin + 200 * MS);
    open_session(w, 0, 10, 0);
    claim(w, 0, 5, "m/0", "new");
    claim(w, 0, 6, "m/1", "new");
    drain(w);
    assert_int_equal(w->peers[0].log.count, 0);
    tick_at(w, begin + 199 * MS);
    open_session(w, 1, 11, 4711); /* it lived here before: now it is a recovery */
    announce(w, 1, 7, "m/0", "old", 40);
    tick_at(w, begin + 201 * MS);
    drain(w);
    assert_stored(w, "m/0", "old");
    assert_int_equal(w->peers[0].log.count, 0);
    tick_at(w, begin + 700 * MS);
    simple(w, 0, MF_SMSG_HEARTBEAT, 0);
    simple(w, 1, MF_SMSG_HEARTBEAT, 0);
    tick_at(w, begin + 1200 * MS);
    assert_false(mf_server_sm_recovering(w->sm, w->rig.now));
    drain(w);
    assert_stored(w, "m/0", "old");
    assert_stored(w, "m/1", "new");
}

static void test_server_sm__settles_no_longer_than_it_has_to(void **state)
{
    struct world *w = *state;
    mf_server_sm_destroy(w->sm);
    w->cfg.settle_ms = 200;
    uint64_t begin = w->rig.now;
    mf_assert_ok(mf_server_sm_create(&w->cfg, begin, &w->sm));
    open_session(w, 0, 10, 0);
    claim(w, 0, 5, "m/0", "new");
    tick_at(w, begin + 200 * MS);
    drain(w);
    assert_stored(w, "m/0", "new");
    assert_false(mf_server_sm_recovering(w->sm, w->rig.now));
    open_session(w, 1, 11, 4711); /* it comes late: newcomers wait from now on */
    assert_true(mf_server_sm_recovering(w->sm, w->rig.now));
}

/* The time in which a store is stopped is none in which anybody could have come back. */
static void test_server_sm__a_stopped_store_is_not_done_recovering(void **state)
{
    struct world *w = *state;
    uint64_t begin = w->rig.now;
    open_session(w, 1, 11, 4711);
    open_session(w, 0, 10, 0);
    claim(w, 0, 5, "m/0", "new");
    w->rig.now = begin + 5000 * MS;
    claim(w, 0, 6, "m/1", "new"); /* read before the tick comes */
    mf_server_sm_tick(w->sm, w->rig.now);
    assert_true(mf_server_sm_recovering(w->sm, w->rig.now));
    assert_stored(w, "m/0", NULL);
    open_session(w, 2, 12, 4711);
    announce(w, 2, 7, "m/0", "old", 40);
    for (uint64_t ms = 5400; ms <= 6200; ms += 400) {
        simple(w, 0, MF_SMSG_HEARTBEAT, 0);
        simple(w, 2, MF_SMSG_HEARTBEAT, 0);
        tick_at(w, begin + ms * MS);
    }
    assert_false(mf_server_sm_recovering(w->sm, w->rig.now));
    drain(w);
    assert_stored(w, "m/0", "old");
    assert_stored(w, "m/1", "new");
}

/* Those who are there have taken it for dead, and somebody else may have what it had. */
static void test_server_sm__who_comes_after_its_time_recovers_nothing(void **state)
{
    struct world *w = *state;
    uint64_t begin = w->rig.now;
    open_session(w, 0, 10, 0);
    claim(w, 0, 5, "m/0", "new");
    tick_at(w, begin + 700 * MS);
    simple(w, 0, MF_SMSG_HEARTBEAT, 0);
    tick_at(w, begin + 1100 * MS);
    open_session(w, 1, 11, 4711);
    assert_false(mf_server_sm_recovering(w->sm, w->rig.now));
    announce(w, 1, 6, "m/1", "old", 40);
    assert_stored(w, "m/1", "old");
    announce(w, 1, 7, "m/0", "old", 41);
    drain(w);
    assert_int_equal(frame_log_reply(&w->peers[1].log, 1).swapped, 0); /* its client ends by that */
    assert_stored(w, "m/0", "new");
}

/* Stopped for longer than a session: its clients gave up their connections. Their ends are read
 * first, their new connections after it. */
static void test_server_sm__forgives_connections_that_ended_while_it_did_not_run(void **state)
{
    struct world *w = *state;
    uint64_t begin = w->rig.now;
    uint64_t boot = open_session(w, 0, 10, 0);
    open_session(w, 1, 11, 0);
    claim(w, 0, 5, "m/0", "a");
    claim(w, 1, 6, "m/1", "b");
    drain(w);
    w->rig.now = begin + 5000 * MS;
    for (int i = 0; i < 2; i++) {
        mf_server_sm_closed(w->sm, w->rig.now, w->peers[i].conn);
        w->peers[i].conn = NULL;
    }
    assert_stored(w, "m/0", "a");
    open_session(w, 2, 10, boot); /* this one is back */
    assert_stored(w, "m/0", "a");
    tick_at(w, begin + 5499 * MS);
    assert_stored(w, "m/1", "b");
    tick_at(w, begin + 5501 * MS);
    assert_stored(w, "m/0", "a");
    assert_stored(w, "m/1", NULL); /* the other one is not, and has really ended */
    w->rig.now = begin + 5502 * MS;
    mf_server_sm_closed(w->sm, w->rig.now, w->peers[2].conn);
    w->peers[2].conn = NULL;
    assert_stored(w, "m/0", "a"); /* so shortly after it, it may still be one of those */
    open_session(w, 3, 10, boot);
    tick_at(w, begin + 5900 * MS);
    simple(w, 3, MF_SMSG_HEARTBEAT, 0);
    tick_at(w, begin + 6300 * MS);
    simple(w, 3, MF_SMSG_HEARTBEAT, 0);
    tick_at(w, begin + 6700 * MS);
    mf_server_sm_closed(w->sm, w->rig.now, w->peers[3].conn);
    w->peers[3].conn = NULL;
    assert_stored(w, "m/0", NULL);
}

static void test_server_sm__held_claim_is_executed_when_the_key_stays_free(void **state)
{
    struct world *w = *state;
    uint64_t begin = w->rig.now;
    open_session(w, 1, 11, 4711);
    open_session(w, 0, 10, 0);
    claim(w, 0, 5, "m/0", "new");
    claim(w, 0, 6, "m/1", "new");
    simple(w, 0, MF_SMSG_CANCEL, 6);
    drain(w);
    assert_int_equal(frame_log_reply(&w->peers[0].log, 0).rc, SMEM_TIMEOUT);
    tick_at(w, begin + 500 * MS);
    simple(w, 0, MF_SMSG_HEARTBEAT, 0);
    tick_at(w, begin + 1000 * MS);
    assert_stored(w, "m/0", "new");
    assert_stored(w, "m/1", NULL);
}

static void test_server_sm__announcement_wins_over_a_newcomer_and_the_later_over_the_older(
    void **state)
{
    struct world *w = *state;
    open_session(w, 0, 10, 0);
    claim(w, 0, 5, "m/0", "new"); /* nobody knows of a restart yet */
    open_session(w, 1, 11, 4711);
    announce(w, 1, 6, "m/0", "old", 40);
    drain(w);
    assert_stored(w, "m/0", "old");
    assert_true(w->peers[0].closed && w->broken == 10);
    assert_int_equal(goodbye(&w->peers[0], 1).why, MF_SMSG_WHY_EXPIRED);
    open_session(w, 2, 12, 4711);
    announce(w, 2, 7, "m/0", "older", 39);
    drain(w);
    assert_int_equal(frame_log_reply(&w->peers[2].log, 0).swapped, 0);
    assert_stored(w, "m/0", "old");
    announce(w, 2, 8, "m/0", "younger", 41);
    drain(w);
    assert_stored(w, "m/0", "younger");
    assert_true(w->peers[1].closed);
}

static void test_server_sm__late_announcement_does_not_take_a_key_away(void **state)
{
    struct world *w = *state;
    open_session(w, 1, 11, 4711);
    tick_at(w, w->rig.now + 999 * MS);
    open_session(w, 0, 10, 0);
    tick_at(w, w->rig.now + 2 * MS);
    claim(w, 0, 5, "m/0", "new");
    open_session(w, 2, 12, 4711);
    announce(w, 2, 7, "m/0", "late", 99);
    announce(w, 2, 8, "m/2", "free", 98); /* nobody has it */
    drain(w);
    assert_int_equal(frame_log_reply(&w->peers[2].log, 0).swapped, 0);
    assert_int_equal(frame_log_reply(&w->peers[2].log, 1).swapped, 1);
    assert_stored(w, "m/0", "new");
    announce(w, 0, 9, "m/3", "x", 1); /* not restored: may not announce */
    drain(w);
    assert_int_equal(frame_log_reply(&w->peers[0].log, 1).rc, SMEM_INVALID_PARAM);
}

static void test_server_sm__revisions_never_go_back(void **state)
{
    struct world *w = *state;
    open_session(w, 1, 11, 4711);
    announce(w, 1, 7, "m/0", "x", 5000);
    set(w, 1, "k", "v", 0);
    drain(w);
    assert_true(frame_log_reply(&w->peers[1].log, 1).rev == 5001);
}

/* ---- requests ---------------------------------------------------------------------------------
 */

static void test_server_sm__ephemeral_keys_are_not_changed_in_part(void **state)
{
    struct world *w = *state;
    open_session(w, 0, 10, 0);
    set(w, 0, "m/0", "1", MF_STORE_EPHEMERAL);
    request(w, 0,
            &(struct mf_smsg_request){.id = 2, .op = MF_STORE_ADD, .key = "m/0", .number = 1});
    request(w, 0,
            &(struct mf_smsg_request){
                .id = 3, .op = MF_STORE_APPEND, .key = "m/0", .value = "x", .value_len = 1});
    drain(w);
    assert_int_equal(frame_log_reply(&w->peers[0].log, 1).rc, SMEM_INVALID_PARAM);
    assert_int_equal(frame_log_reply(&w->peers[0].log, 2).rc, SMEM_INVALID_PARAM);
    assert_stored(w, "m/0", "1");
}

static void test_server_sm__odd_requests_are_answered(void **state)
{
    struct world *w = *state;
    open_session(w, 0, 10, 0);
    request(w, 0, &(struct mf_smsg_request){.id = 2, .op = MF_STORE_SET, .key = "k"});
    request(w, 0, &(struct mf_smsg_request){.id = 3, .op = MF_STORE_APPEND, .key = "k"});
    request(w, 0, &(struct mf_smsg_request){.id = 4, .op = 99, .key = "k"});
    request(w, 0, &(struct mf_smsg_request){.id = 5, .op = MF_STORE_GET, .key = ""});
    simple(w, 0, MF_SMSG_CANCEL, 77);
    simple(w, 0, MF_SMSG_UNWATCH, 77);
    drain(w);
    assert_int_equal(w->peers[0].log.count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        struct mf_smsg_reply reply = frame_log_reply(&w->peers[0].log, i);
        assert_int_equal(reply.id, i + 2);
        assert_int_equal(reply.rc, SMEM_INVALID_PARAM);
        assert_true(reply.value_len > 0);
    }
}

static void test_server_sm__waiters_are_answered_in_order_and_limited(void **state)
{
    struct world *w = *state;
    struct mf_smsg_request get = {
        .op = MF_STORE_GET, .flags = MF_STORE_WAIT, .key = "later", .id = 1};
    open_session(w, 0, 10, 0);
    open_session(w, 1, 11, 0);
    for (uint32_t i = 0; i < 3; i++) {
        get.id = i;
        request(w, 0, &get);
    }
    simple(w, 0, MF_SMSG_CANCEL, 1);
    for (uint32_t i = 0; i < MF_STORE_INFLIGHT_MAX; i++) {
        get.id = 100 + i;
        request(w, 1, &get);
    }
    get.id = 9999;
    request(w, 1, &get); /* one too many */
    drain(w);
    assert_int_equal(w->peers[1].log.count, 1);
    assert_int_equal(frame_log_reply(&w->peers[1].log, 0).rc, SMEM_NO_RESOURCES);
    mf_server_sm_closed(w->sm, w->rig.now, w->peers[1].conn); /* its waits go with it */
    w->peers[1].conn = NULL;
    set(w, 0, "later", "now", 0);
    drain(w);
    assert_int_equal(w->peers[0].log.count, 4);
    assert_int_equal(frame_log_reply(&w->peers[0].log, 0).rc, SMEM_TIMEOUT);
    assert_int_equal(frame_log_reply(&w->peers[0].log, 1).id, 0);
    assert_int_equal(frame_log_reply(&w->peers[0].log, 2).id, 2);
    assert_memory_equal(frame_log_reply(&w->peers[0].log, 2).value, "now", 3);
}

static void test_server_sm__events_coalesce_and_cost_little(void **state)
{
    struct world *w = *state;
    char key[16];
    size_t len;
    size_t payload = 0;
    open_session(w, 0, 10, 0);
    open_session(w, 1, 11, 0);
    simple(w, 1, MF_SMSG_WATCH, 1);
    simple(w, 1, MF_SMSG_WATCH, 2); /* a second one with the same prefix: no second copy */
    drain(w);
    size_t before = w->peers[1].bytes;
    frame_log_clear(&w->peers[1].log);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "m/%d", i);
        set(w, 0, key, "value", 0);
        payload += strlen(key) + 5;
    }
    struct mf_server_conn *conn = NULL;
    frame_log_init(&w->peers[0].log);
    while ((conn = mf_server_sm_pop_ready(w->sm)) != NULL) {
        const uint8_t *data;
        size_t out = mf_server_conn_output(conn, &data);
        if (mf_server_conn_user(conn) == &w->peers[1]) {
            frame_log_feed(&w->peers[1].log, data, out);
            w->peers[1].bytes += out;
        }
        mf_server_conn_sent(conn, out);
    }
    assert_int_equal(w->peers[1].log.count, 1); /* one frame */
    frame_log_at(&w->peers[1].log, 0, MF_SMSG_EVENTS, &len);
    assert_in_range(w->peers[1].bytes - before, 100 * 4, payload); /* what they share goes once */
    struct mf_store_server_status status;
    mf_server_sm_get_status(w->sm, &status);
    assert_int_equal(status.events, 100);
    assert_int_equal(status.watches, 2);
    simple(w, 1, MF_SMSG_UNWATCH, 1);
    simple(w, 1, MF_SMSG_UNWATCH, 2);
    mf_server_sm_get_status(w->sm, &status);
    assert_int_equal(status.watches, 0);
}

/* Who asks is answered before those who watch are told, and in the order of asking. */
static void test_server_sm__answers_go_before_news(void **state)
{
    struct world *w = *state;
    for (int p = 0; p < 4; p++) {
        open_session(w, p, 10 + (uint64_t)p, 0);
    }
    simple(w, 0, MF_SMSG_WATCH, 1);
    simple(w, 3, MF_SMSG_WATCH, 1);
    drain(w);
    assert_false(mf_server_sm_has_asked(w->sm));
    set(w, 2, "m/1", "value", 0);
    set(w, 1, "m/2", "value", 0);
    set(w, 2, "m/3", "value", 0); /* its second does not put it behind */
    const int order[] = {2, 1, 0, 3};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(mf_server_sm_has_asked(w->sm), i < 2);
        struct mf_server_conn *conn = mf_server_sm_pop_ready(w->sm);
        assert_non_null(conn);
        struct peer *peer = mf_server_conn_user(conn);
        assert_true(peer == &w->peers[order[i]] || (i >= 2 && peer == &w->peers[order[5 - i]]));
    }
    assert_null(mf_server_sm_pop_ready(w->sm));
    /* One that asks and goes leaves the list in order. */
    set(w, 1, "m/4", "value", 0);
    set(w, 2, "m/5", "value", 0);
    mf_server_sm_closed(w->sm, w->rig.now, w->peers[2].conn);
    w->peers[2].conn = NULL;
    set(w, 0, "m/6", "value", 0);
    assert_ptr_equal(mf_server_conn_user(mf_server_sm_pop_ready(w->sm)), &w->peers[1]);
    assert_ptr_equal(mf_server_conn_user(mf_server_sm_pop_ready(w->sm)), &w->peers[0]);
    assert_ptr_equal(mf_server_conn_user(mf_server_sm_pop_ready(w->sm)), &w->peers[3]);
    assert_null(mf_server_sm_pop_ready(w->sm));
}

static void test_server_sm__watches_are_limited_with_an_answer(void **state)
{
    struct world *w = *state;
    open_session(w, 0, 10, 0);
    for (uint32_t i = 0; i <= MF_STORE_WATCHES_MAX; i++) {
        frame_log_clear(&w->peers[0].log);
        simple(w, 0, MF_SMSG_WATCH, 0x80000000u + i);
        drain(w);
    }
    struct mf_smsg_reply reply = frame_log_reply(&w->peers[0].log, 0);
    assert_int_equal(reply.id, 0x80000000u + MF_STORE_WATCHES_MAX);
    assert_int_equal(reply.rc, SMEM_NO_RESOURCES);
}

/* ---- broken rules -----------------------------------------------------------------------------
 */

static void test_server_sm__cuts_off_who_breaks_the_protocol(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x4d\x02\x04\x00\x03\x00\x00\x00xyz", 11}, /* a malformed request */
        {"\x4d\x02\x06\x00\x01\x00\x00\x00x", 9},    /* a malformed watch */
        {"\x4d\x02\x05\x00\x01\x00\x00\x00x", 9},    /* a malformed cancel */
        {"\x4d\x02\x63\x00\x00\x00\x00\x00", 8},     /* an unknown type */
        {"\x4d\x02\x20\x00\x00\x00\x00\x00", 8},     /* a server's message */
        {"\x4d\x02\x01\x00\x00\x00\x00\x00", 8},     /* HELLO again */
        {"\x4d\x02\x04\x00\x01\x00\x80\x00", 8},     /* longer than any frame */
        {"rubbish!", 8},
    };
    open_session(w, 3, 99, 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        open_session(w, 0, 10 + i, 0);
        set(w, 0, "m/0", "x", MF_STORE_EPHEMERAL);
        bytes(w, 0, bad[i].bytes, bad[i].len);
        drain(w);
        assert_true(w->peers[0].closed);
        assert_stored(w, "m/0", NULL);
    }
    set(w, 3, "k", "v", 0);
    drain(w);
    assert_int_equal(frame_log_reply(&w->peers[3].log, 0).rc, SMEM_OK);
}

static void test_server_sm__requests_before_hello_are_not_served(void **state)
{
    struct world *w = *state;
    connect_peer(w, 0);
    set(w, 0, "k", "v", 0);
    drain(w);
    assert_true(w->peers[0].closed);
    assert_stored(w, "k", NULL);
    connect_peer(w, 1);
    bytes(w, 1, "\x4d\x02\x01\x00\x00\x02\x00\x00", 8); /* a HELLO of 512 bytes */
    drain(w);
    assert_true(w->peers[1].closed);
}

static void test_server_sm__queue_limit_cuts_off_a_slow_reader_alone(void **state)
{
    struct world *w = *state;
    struct mf_server_sm *other;
    mf_server_sm_destroy(w->sm);
    w->cfg.queue_max = 20000;
    mf_assert_ok(mf_server_sm_create(&w->cfg, w->rig.now, &other));
    w->sm = other;
    char value[MF_ITEM_VALUE_MAX + 2]; /* too long to be sent as a difference */
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    open_session(w, 0, 10, 0);
    open_session(w, 1, 11, 0);
    simple(w, 1, MF_SMSG_WATCH, 1);
    drain(w);
    for (int i = 0; i < 50; i++) { /* peer 1 takes nothing */
        const uint8_t *data;
        set(w, 0, "m/0", value, 0);
        size_t out = mf_server_conn_output(w->peers[0].conn, &data);
        mf_server_conn_sent(w->peers[0].conn, out);
    }
    assert_int_equal(mf_server_conn_want(w->peers[1].conn), MF_CONN_CLOSE);
    assert_int_equal(mf_server_conn_want(w->peers[0].conn), MF_CONN_KEEP);
    drain(w);
    assert_true(w->peers[1].closed && w->broken == 11);
}

static void test_server_sm__connections_and_keys_are_limited(void **state)
{
    struct world *w = *state;
    struct mf_server_conn *conn;
    struct mf_server_sm *other;
    mf_server_sm_destroy(w->sm);
    w->cfg.conns_max = 2;
    w->cfg.keys_max = 1;
    mf_assert_ok(mf_server_sm_create(&w->cfg, w->rig.now, &other));
    w->sm = other;
    open_session(w, 0, 10, 0);
    open_session(w, 1, 11, 0);
    mf_assert_rc(mf_server_sm_open(w->sm, w->rig.now, "1.2.3.4:5", NULL, &conn), SMEM_NO_RESOURCES);
    mf_assert_err_has("1.2.3.4:5 refused: 2 connections");
    set(w, 0, "a", "x", 0);
    set(w, 0, "b", "x", 0);
    drain(w);
    assert_int_equal(frame_log_reply(&w->peers[0].log, 1).rc, SMEM_NO_RESOURCES);
}

static void test_server_sm__too_long_lists_are_refused_with_advice(void **state)
{
    struct world *w = *state;
    struct mf_server_sm *other;
    mf_server_sm_destroy(w->sm);
    w->cfg.queue_max = 4000;
    mf_assert_ok(mf_server_sm_create(&w->cfg, w->rig.now, &other));
    w->sm = other;
    char value[701];
    memset(value, 'v', 700);
    value[700] = '\0';
    open_session(w, 0, 10, 0);
    set(w, 0, "m/0", value, 0);
    set(w, 0, "m/1", value, 0);
    set(w, 0, "m/2", value, 0);
    request(w, 0, &(struct mf_smsg_request){.id = 9, .op = MF_STORE_LIST, .key = "m/"});
    drain(w);
    struct mf_smsg_reply reply = frame_log_reply(&w->peers[0].log, 3);
    assert_int_equal(reply.rc, SMEM_NO_RESOURCES);
    assert_non_null(memmem(reply.value, reply.value_len, "longer prefix", 13));
    simple(w, 0, MF_SMSG_WATCH, 0x80000001u);
    drain(w);
    assert_int_equal(frame_log_reply(&w->peers[0].log, 4).rc, SMEM_NO_RESOURCES);
}

/* Every allocation of a session with all that it can do fails once: the machine answers with an
 * error or cuts the connection, and lives on. */
static int work_without_memory(void *arg)
{
    struct sm_rig rig;
    struct mf_server_sm_cfg cfg;
    struct mf_server_sm *sm;
    struct mf_server_conn *conn;
    const struct mf_buf *script = arg;
    sm_rig_init(&rig);
    mf_server_sm_cfg_init(&cfg, &rig.env);
    int rc = mf_server_sm_create(&cfg, rig.now, &sm);
    if (rc != SMEM_OK)
        return rc;
    rc = mf_server_sm_open(sm, rig.now, "peer", NULL, &conn);
    if (rc == SMEM_OK) {
        mf_server_sm_bytes(sm, rig.now, conn, script->data, script->len);
        mf_server_sm_closed(sm, rig.now, conn);
    }
    mf_server_sm_destroy(sm);
    return rc;
}

static void put_frame(struct mf_outq *queue, uint8_t type, const struct mf_smsg_request *req)
{
    struct mf_wr wr;
    mf_outq_begin(queue, type, &wr);
    if (type == MF_SMSG_HELLO)
        mf_smsg_put_hello(&wr, &(struct mf_smsg_hello){.session_id = 1, .session_ms = 1000});
    else if (type == MF_SMSG_WATCH)
        mf_smsg_put_watch(&wr, &(struct mf_smsg_watch){.id = 1, .prefix = "k", .prefix_len = 1});
    else
        mf_smsg_put_request(&wr, req);
    mf_assert_ok(mf_outq_end(queue, &wr));
}

static void test_server_sm__torture(void **state)
{
    struct mf_outq queue;
    struct mf_smsg_request req = {.key = "k1", .key_len = 2, .value = "1", .value_len = 1};
    (void)state;
    mf_outq_init(&queue, 1u << 20);
    put_frame(&queue, MF_SMSG_HELLO, NULL);
    put_frame(&queue, MF_SMSG_WATCH, NULL);
    req.op = MF_STORE_GET;
    req.flags = MF_STORE_WAIT;
    put_frame(&queue, MF_SMSG_REQUEST, &req);
    req.flags = MF_STORE_EPHEMERAL;
    for (uint8_t op = MF_STORE_SET; op <= MF_STORE_LIST; op++) {
        req.op = op;
        put_frame(&queue, MF_SMSG_REQUEST, &req);
    }
    assert_true(mf_torture_recovers(work_without_memory, &queue.buf) >= 10);
    mf_outq_fini(&queue);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_server_sm__closes_who_never_says_hello),
        T(test_server_sm__silence_ends_a_session_heartbeats_keep_it),
        T(test_server_sm__forgives_a_time_in_which_it_did_not_run),
        T(test_server_sm__closed_connection_ends_the_session),
        T(test_server_sm__close_message_is_not_a_break),
        T(test_server_sm__a_session_whose_key_is_removed_is_told),
        T(test_server_sm__refuses_a_second_connection_of_a_live_session),
        T(test_server_sm__newcomers_wait_while_recovering),
        T(test_server_sm__settles_before_newcomers_get_ranks),
        T(test_server_sm__settles_no_longer_than_it_has_to),
        T(test_server_sm__a_stopped_store_is_not_done_recovering),
        T(test_server_sm__who_comes_after_its_time_recovers_nothing),
        T(test_server_sm__forgives_connections_that_ended_while_it_did_not_run),
        T(test_server_sm__held_claim_is_executed_when_the_key_stays_free),
        T(test_server_sm__announcement_wins_over_a_newcomer_and_the_later_over_the_older),
        T(test_server_sm__late_announcement_does_not_take_a_key_away),
        T(test_server_sm__revisions_never_go_back),
        T(test_server_sm__ephemeral_keys_are_not_changed_in_part),
        T(test_server_sm__odd_requests_are_answered),
        T(test_server_sm__waiters_are_answered_in_order_and_limited),
        T(test_server_sm__events_coalesce_and_cost_little),
        T(test_server_sm__answers_go_before_news),
        T(test_server_sm__watches_are_limited_with_an_answer),
        T(test_server_sm__cuts_off_who_breaks_the_protocol),
        T(test_server_sm__requests_before_hello_are_not_served),
        T(test_server_sm__queue_limit_cuts_off_a_slow_reader_alone),
        T(test_server_sm__connections_and_keys_are_limited),
        T(test_server_sm__too_long_lists_are_refused_with_advice),
        T(test_server_sm__torture),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
