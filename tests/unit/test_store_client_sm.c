// SPDX-License-Identifier: Apache-2.0
// The store client's state machine alone: connecting, heartbeats, deadlines, what a broken
// connection does to requests, watches and ephemeral keys, and answers that break the protocol.
#include "mf_test.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "mf_torture.h"
#include "store/client_sm.h"
#include "unit/store_sm_rig.h"
#include "wire/store_item.h"

struct world {
    struct sm_rig rig;
    struct mf_client_sm *sm;
    struct frame_log log; /* what the client has sent on this connection */
    uint32_t wakes;
    int session_events[3];
    int done, rc;
    char msg[256];
    bool swapped;
    char watch_text[512];
};

static void on_session(void *arg, enum mf_session_state state, const char *why)
{
    struct world *w = arg;
    assert_non_null(why);
    w->session_events[state]++;
}

static void on_done(void *arg, const struct mf_store_rsp *rsp)
{
    struct world *w = arg;
    w->done++;
    w->rc = rsp->rc;
    w->swapped = rsp->swapped;
    snprintf(w->msg, sizeof(w->msg), "%.255s", rsp->msg != NULL ? rsp->msg : "");
}

static void on_watch(void *arg, const struct mf_watch_event *event)
{
    static const char names[] = "BPDEL"; /* begin, put, delete, end, lost */
    struct world *w = arg;
    size_t used = strlen(w->watch_text);
    snprintf(w->watch_text + used, sizeof(w->watch_text) - used, "%c%s", names[event->kind],
             event->key != NULL ? event->key : "");
}

static int setup(void **state)
{
    struct world *w = test_calloc(1, sizeof(*w));
    *state = w;
    sm_rig_init(&w->rig);
    frame_log_init(&w->log);
    struct mf_client_sm_cfg cfg = {.env = &w->rig.env,
                                   .session_id = 10,
                                   .session_ms = 3000,
                                   .on_session = on_session,
                                   .on_session_arg = w,
                                   .addr = "tcp://10.0.0.1:7000"};
    return mf_client_sm_create(&cfg, w->rig.now, &w->sm);
}

static int teardown(void **state)
{
    struct world *w = *state;
    mf_client_sm_destroy(w->sm);
    frame_log_fini(&w->log);
    test_free(w);
    return 0;
}

static void drain(struct world *w)
{
    const uint8_t *data;
    size_t len;
    while ((len = mf_client_sm_output(w->sm, &data)) > 0) {
        frame_log_feed(&w->log, data, len);
        mf_client_sm_sent(w->sm, w->rig.now, len);
    }
}

static void connect_sm(struct world *w)
{
    assert_int_equal(mf_client_sm_want(w->sm, w->rig.now), MF_CLIENT_CONNECT);
    mf_client_sm_connecting(w->sm, w->rig.now);
    frame_log_fini(&w->log);
    frame_log_init(&w->log);
    mf_client_sm_connected(w->sm, w->rig.now);
    drain(w);
}

static void feed(struct world *w, struct mf_outq *queue, struct mf_wr *wr)
{
    const uint8_t *data;
    mf_assert_ok(mf_outq_end(queue, wr));
    size_t len = mf_outq_peek(queue, &data);
    mf_client_sm_bytes(w->sm, w->rig.now, data, len);
    mf_outq_fini(queue);
}

#define FEED(w, type, call)                 \
    do {                                    \
        struct mf_outq queue;               \
        struct mf_wr wr;                    \
        mf_outq_init(&queue, MF_FRAME_MAX); \
        mf_outq_begin(&queue, (type), &wr); \
        call;                               \
        feed((w), &queue, &wr);             \
    } while (0)

static void welcome(struct world *w, uint64_t boot, uint8_t restored)
{
    FEED(w, MF_SMSG_WELCOME, mf_smsg_put_welcome(&wr, &(struct mf_smsg_welcome){boot, restored}));
    drain(w);
}

static void open_sm(struct world *w)
{
    connect_sm(w);
    welcome(w, 1, 0);
    assert_int_equal(mf_client_sm_state(w->sm), MF_CLIENT_OPEN);
}

static void reply(struct world *w, const struct mf_smsg_reply *msg)
{
    FEED(w, MF_SMSG_REPLY, mf_smsg_put_reply(&wr, msg));
    drain(w);
}

static void submit(struct world *w, const struct mf_store_req *in, uint64_t timeout_ms)
{
    struct mf_store_req req = *in;
    struct mf_client_req *out;
    req.deadline_ns = w->rig.now + timeout_ms * MS;
    mf_assert_ok(mf_client_req_create(&req, on_done, w, &out));
    mf_client_sm_submit(w->sm, w->rig.now, out);
    drain(w);
}

/* Run the clock to `ns`, waking only when the machine asks to be woken. */
static void run_to(struct world *w, uint64_t ns)
{
    while (mf_client_sm_next_ns(w->sm) <= ns) {
        w->rig.now = mf_client_sm_next_ns(w->sm);
        w->wakes++;
        mf_client_sm_tick(w->sm, w->rig.now);
        if (mf_client_sm_want(w->sm, w->rig.now) != MF_CLIENT_NOTHING)
            return;
        drain(w);
    }
    w->rig.now = ns;
}

static uint32_t request_id(struct world *w, uint32_t n, uint8_t op)
{
    struct mf_smsg_request req;
    size_t len;
    const uint8_t *body = frame_log_at(&w->log, n, MF_SMSG_REQUEST, &len);
    mf_assert_ok(mf_smsg_get_request(body, len, &req));
    assert_int_equal(req.op, op);
    return req.id;
}

static void breaks(struct world *w)
{
    mf_client_sm_closed(w->sm, w->rig.now, "Connection reset by peer");
    run_to(w, w->rig.now + 1000 * MS);
}

/* ---- connection -------------------------------------------------------------------------------
 */

static void test_client_sm__retries_with_a_growing_pause(void **state)
{
    struct world *w = *state;
    uint64_t last = 0;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(mf_client_sm_want(w->sm, w->rig.now), MF_CLIENT_CONNECT);
        mf_client_sm_connecting(w->sm, w->rig.now);
        mf_client_sm_closed(w->sm, w->rig.now, "refused");
        assert_int_equal(mf_client_sm_want(w->sm, w->rig.now), MF_CLIENT_NOTHING);
        last = mf_client_sm_next_ns(w->sm) - w->rig.now;
        assert_in_range(last / MS, i == 0 ? 10 : 20, 100);
        w->rig.now = mf_client_sm_next_ns(w->sm);
    }
    assert_true(last >= 50 * MS); /* and below store.settle_ms */
    assert_string_equal(mf_client_sm_why(w->sm), "refused");
    assert_int_equal(w->session_events[MF_SESSION_LOST], 0); /* there was none to lose */
}

static void test_client_sm__gives_up_an_attempt_that_hangs(void **state)
{
    struct world *w = *state;
    mf_client_sm_connecting(w->sm, w->rig.now);
    run_to(w, w->rig.now + 5000 * MS);
    assert_int_equal(mf_client_sm_want(w->sm, w->rig.now), MF_CLIENT_DISCONNECT);
    mf_client_sm_closed(w->sm, w->rig.now, NULL);
    run_to(w, w->rig.now + 1000 * MS);
    connect_sm(w); /* connected, but nobody answers HELLO */
    run_to(w, w->rig.now + 5000 * MS);
    assert_int_equal(mf_client_sm_want(w->sm, w->rig.now), MF_CLIENT_DISCONNECT);
    mf_client_sm_closed(w->sm, w->rig.now, NULL);
    assert_non_null(strstr(mf_client_sm_why(w->sm), "is this a store?"));
}

static void test_client_sm__idle_costs_less_than_a_wake_up_a_second(void **state)
{
    struct world *w = *state;
    open_sm(w);
    uint64_t begin = w->rig.now;
    w->wakes = 0;
    uint32_t beats = 0;
    for (uint64_t at = 100; at <= 60000; at += 100) { /* a server that answers in 100 ms at most */
        run_to(w, begin + at * MS);
        if (w->log.count > 0 && w->log.frames[w->log.count - 1].type == MF_SMSG_HEARTBEAT) {
            beats++;
            FEED(w, MF_SMSG_HEARTBEAT, (void)0);
        }
        frame_log_clear(&w->log);
    }
    assert_int_equal(mf_client_sm_state(w->sm), MF_CLIENT_OPEN);
    assert_int_equal(beats, 44); /* one in 1.35 s */
    assert_int_equal(w->wakes, 44);
}

static void test_client_sm__silent_server_is_noticed(void **state)
{
    struct world *w = *state;
    open_sm(w);
    uint64_t begin = w->rig.now;
    run_to(w, begin + 10000 * MS);
    assert_int_equal(mf_client_sm_want(w->sm, w->rig.now), MF_CLIENT_DISCONNECT);
    assert_true(w->rig.now == begin + 3000 * MS);
    mf_client_sm_closed(w->sm, w->rig.now, NULL);
    assert_string_equal(mf_client_sm_why(w->sm), "the store was silent for 3000 ms");
    assert_int_equal(w->session_events[MF_SESSION_LOST], 1);
}

/* ---- requests ---------------------------------------------------------------------------------
 */

static void test_client_sm__request_waits_for_the_connection_until_its_deadline(void **state)
{
    struct world *w = *state;
    submit(w, &(struct mf_store_req){.op = MF_STORE_SET, .key = "k", .value = "v", .value_len = 1},
           100);
    submit(w, &(struct mf_store_req){.op = MF_STORE_SET, .key = "late"}, 200);
    mf_client_sm_connecting(w->sm, w->rig.now);
    mf_client_sm_closed(w->sm, w->rig.now, "Connection refused");
    w->rig.now += 100 * MS;
    mf_client_sm_tick(w->sm, w->rig.now);
    assert_int_equal(w->done, 1);
    assert_int_equal(w->rc, SMEM_TIMEOUT);
    assert_string_equal(w->msg,
                        "set \"k\" at store tcp://10.0.0.1:7000: no connection within 100 ms "
                        "(Connection refused)");
    open_sm(w);
    reply(w, &(struct mf_smsg_reply){.id = request_id(w, 1, MF_STORE_SET)});
    assert_int_equal(w->done, 2);
    assert_int_equal(w->rc, SMEM_OK);
}

static void test_client_sm__deadline_of_a_sent_request(void **state)
{
    struct world *w = *state;
    size_t len;
    open_sm(w);
    submit(w, &(struct mf_store_req){.op = MF_STORE_GET, .flags = MF_STORE_WAIT, .key = "k"}, 100);
    uint32_t id = request_id(w, 1, MF_STORE_GET);
    run_to(w, w->rig.now + 100 * MS);
    assert_int_equal(w->rc, SMEM_TIMEOUT);
    assert_non_null(strstr(w->msg, "nobody has set the key within 100 ms"));
    assert_memory_equal(frame_log_at(&w->log, 2, MF_SMSG_CANCEL, &len), &id, 4);
    submit(w, &(struct mf_store_req){.op = MF_STORE_ADD, .key = "n", .add = 1}, 100);
    run_to(w, w->rig.now + 100 * MS);
    assert_non_null(strstr(w->msg, "no answer within 100 ms; it may have been executed"));
    reply(w, &(struct mf_smsg_reply){.id = id}); /* late answers fall on nobody */
    reply(w, &(struct mf_smsg_reply){.id = request_id(w, 3, MF_STORE_ADD)});
    assert_int_equal(w->done, 2);
}

static void test_client_sm__broken_connection_fails_changes_and_repeats_reads(void **state)
{
    struct world *w = *state;
    open_sm(w);
    submit(w, &(struct mf_store_req){.op = MF_STORE_GET, .key = "read"}, 60000);
    submit(w, &(struct mf_store_req){.op = MF_STORE_ADD, .key = "n", .add = 1}, 60000);
    submit(w, &(struct mf_store_req){.op = MF_STORE_LIST, .key = "l"}, 60000);
    breaks(w);
    assert_int_equal(w->done, 1);
    assert_int_equal(w->rc, SMEM_NOT_CONNECTED);
    assert_non_null(strstr(w->msg, "(Connection reset by peer); it may have been executed"));
    submit(w, &(struct mf_store_req){.op = MF_STORE_SET, .key = "new"}, 60000);
    connect_sm(w);
    welcome(w, 2, 1);
    reply(w, &(struct mf_smsg_reply){
                 .id = request_id(w, 1, MF_STORE_GET), .value = "v", .value_len = 1});
    reply(w, &(struct mf_smsg_reply){.id = request_id(w, 2, MF_STORE_LIST)});
    reply(w, &(struct mf_smsg_reply){.id = request_id(w, 3, MF_STORE_SET)});
    assert_int_equal(w->done, 4);
    assert_int_equal(w->rc, SMEM_OK);
}

static void test_client_sm__what_never_left_is_sent_again(void **state)
{
    struct world *w = *state;
    struct mf_client_req *out;
    struct mf_store_req req = {
        .op = MF_STORE_ADD, .key = "n", .add = 1, .deadline_ns = w->rig.now + 60000 * MS};
    open_sm(w);
    mf_assert_ok(mf_client_req_create(&req, on_done, w, &out));
    mf_client_sm_submit(w->sm, w->rig.now, out); /* queued, but the socket took none of it */
    breaks(w);
    assert_int_equal(w->done, 0);
    connect_sm(w);
    welcome(w, 2, 1);
    reply(w, &(struct mf_smsg_reply){.id = request_id(w, 1, MF_STORE_ADD), .number = 1});
    assert_int_equal(w->rc, SMEM_OK);
}

static void test_client_sm__limit_of_open_requests(void **state)
{
    struct world *w = *state;
    for (uint32_t i = 0; i < MF_STORE_INFLIGHT_MAX; i++)
        submit(w, &(struct mf_store_req){.op = MF_STORE_GET, .key = "k"}, 60000);
    assert_int_equal(w->done, 0);
    submit(w, &(struct mf_store_req){.op = MF_STORE_GET, .key = "k"}, 60000);
    assert_int_equal(w->done, 1);
    assert_int_equal(w->rc, SMEM_NO_RESOURCES);
}

/* ---- ephemeral keys and restarts --------------------------------------------------------------
 */

static void own_key(struct world *w, const char *key, uint64_t rev)
{
    frame_log_clear(&w->log);
    submit(w,
           &(struct mf_store_req){.op = MF_STORE_CAS,
                                  .flags = MF_STORE_EPHEMERAL,
                                  .key = key,
                                  .value = "mine",
                                  .value_len = 4},
           60000);
    reply(w,
          &(struct mf_smsg_reply){.id = request_id(w, 0, MF_STORE_CAS), .swapped = 1, .rev = rev});
    assert_int_equal(w->rc, SMEM_OK);
    frame_log_clear(&w->log);
}

static void test_client_sm__announces_its_keys_to_a_restarted_server_first(void **state)
{
    struct world *w = *state;
    struct mf_client_watch *watch;
    struct mf_smsg_hello hello;
    struct mf_smsg_request req;
    size_t len;
    open_sm(w);
    own_key(w, "m/1", 17);
    own_key(w, "m/2", 18);
    submit(w, &(struct mf_store_req){.op = MF_STORE_REMOVE, .key = "m/2"}, 60000);
    reply(w, &(struct mf_smsg_reply){.id = request_id(w, 0, MF_STORE_REMOVE)});
    mf_assert_ok(mf_client_watch_create("m/", MF_CLIENT_WATCH_BIT | 1, on_watch, w, &watch));
    mf_client_sm_watch(w->sm, w->rig.now, watch);
    breaks(w);
    submit(w, &(struct mf_store_req){.op = MF_STORE_GET, .key = "x"}, 60000);
    connect_sm(w);
    const uint8_t *body = frame_log_at(&w->log, 0, MF_SMSG_HELLO, &len);
    mf_assert_ok(mf_smsg_get_hello(body, len, &hello));
    assert_true(hello.prev_boot == 1 && hello.session_id == 10);
    welcome(w, 2, 1);
    body = frame_log_at(&w->log, 1, MF_SMSG_REQUEST, &len);
    mf_assert_ok(mf_smsg_get_request(body, len, &req));
    assert_int_equal(req.op, MF_SMSG_OP_ANNOUNCE);
    assert_string_equal(req.key, "m/1");
    assert_true(req.number == 17);
    assert_memory_equal(req.value, "mine", 4);
    frame_log_at(&w->log, 2, MF_SMSG_WATCH, &len);
    request_id(w, 3, MF_STORE_GET);
    assert_int_equal(w->log.count, 4);
    assert_int_equal(w->session_events[MF_SESSION_OK], 2);
    uint32_t id = req.id;
    reply(w, &(struct mf_smsg_reply){.id = id, .swapped = 1, .rev = 17});
    assert_int_equal(mf_client_sm_want(w->sm, w->rig.now), MF_CLIENT_NOTHING);
    reply(w, &(struct mf_smsg_reply){.id = id}); /* another session has the key */
    assert_int_equal(mf_client_sm_want(w->sm, w->rig.now), MF_CLIENT_DISCONNECT);
    mf_client_sm_closed(w->sm, w->rig.now, NULL);
    assert_int_equal(w->session_events[MF_SESSION_EXPIRED], 1);
    assert_non_null(strstr(mf_client_sm_why(w->sm), "\"m/1\" belongs to another session"));
}

static void test_client_sm__late_answer_of_a_timed_out_claim_counts(void **state)
{
    struct world *w = *state;
    open_sm(w);
    submit(w,
           &(struct mf_store_req){.op = MF_STORE_SET,
                                  .flags = MF_STORE_EPHEMERAL,
                                  .key = "m/1",
                                  .value = "mine",
                                  .value_len = 4},
           100);
    run_to(w, w->rig.now + 100 * MS);
    assert_int_equal(w->rc, SMEM_TIMEOUT);
    reply(w, &(struct mf_smsg_reply){.id = request_id(w, 1, MF_STORE_SET), .rev = 5});
    assert_int_equal(w->done, 1);
    breaks(w);
    connect_sm(w);
    welcome(w, 2, 1);
    request_id(w, 1, MF_SMSG_OP_ANNOUNCE); /* the server has it, so it is announced */
}

static void test_client_sm__expired_is_final(void **state)
{
    struct world *w = *state;
    open_sm(w);
    submit(w, &(struct mf_store_req){.op = MF_STORE_GET, .flags = MF_STORE_WAIT, .key = "k"},
           60000);
    FEED(w, MF_SMSG_GOODBYE,
         mf_smsg_put_goodbye(&wr, &(struct mf_smsg_goodbye){MF_SMSG_WHY_EXPIRED, SMEM_NOT_CONNECTED,
                                                            "silent for 3000 ms"}));
    assert_int_equal(mf_client_sm_want(w->sm, w->rig.now), MF_CLIENT_DISCONNECT);
    mf_client_sm_closed(w->sm, w->rig.now, NULL);
    assert_int_equal(w->done, 1);
    assert_int_equal(w->rc, SMEM_NOT_CONNECTED);
    assert_int_equal(w->session_events[MF_SESSION_EXPIRED], 1);
    assert_int_equal(w->session_events[MF_SESSION_LOST], 0);
    assert_true(mf_client_sm_expired(w->sm));
    assert_true(mf_client_sm_next_ns(w->sm) == UINT64_MAX);
    submit(w, &(struct mf_store_req){.op = MF_STORE_GET, .key = "k"}, 60000);
    assert_int_equal(w->done, 2);
    assert_string_equal(w->msg, "silent for 3000 ms");
}

static void test_client_sm__close_waits_for_the_answer_but_not_for_ever(void **state)
{
    struct world *w = *state;
    size_t len;
    open_sm(w);
    mf_client_sm_close(w->sm, w->rig.now);
    drain(w);
    frame_log_at(&w->log, 1, MF_SMSG_CLOSE, &len);
    assert_int_equal(mf_client_sm_state(w->sm), MF_CLIENT_CLOSING);
    run_to(w, w->rig.now + 10000 * MS);
    assert_int_equal(mf_client_sm_want(w->sm, w->rig.now), MF_CLIENT_DISCONNECT);
    mf_client_sm_closed(w->sm, w->rig.now, NULL);
    assert_int_equal(mf_client_sm_state(w->sm), MF_CLIENT_CLOSED);
    assert_int_equal(w->session_events[MF_SESSION_LOST], 0);
}

/* ---- watches ----------------------------------------------------------------------------------
 */

/* Whole, that is, against nothing: good whatever came before it on the connection. */
static void put_items(struct mf_wr *wr, const char *key, enum mf_smsg_kind kind)
{
    struct mf_item_prev prev;
    mf_item_prev_reset(&prev);
    mf_item_put(wr, &prev, &(struct mf_smsg_item){kind, key, strlen(key), NULL, 0});
}

static void sync_frame(struct world *w, uint32_t id, uint8_t flags, const char *key)
{
    FEED(w, MF_SMSG_SYNC, {
        mf_wr_u32(&wr, id);
        mf_wr_u8(&wr, flags);
        if (key != NULL)
            put_items(&wr, key, MF_SMSG_PUT);
    });
}

static void test_client_sm__watch_state_comes_in_pieces_then_changes(void **state)
{
    struct world *w = *state;
    struct mf_client_watch *watch;
    uint32_t id = MF_CLIENT_WATCH_BIT | 1;
    mf_assert_ok(mf_client_watch_create("m/", id, on_watch, w, &watch));
    mf_client_sm_watch(w->sm, w->rig.now, watch);
    open_sm(w);
    FEED(w, MF_SMSG_EVENTS, put_items(&wr, "m/0", MF_SMSG_PUT)); /* before its state: not for it */
    sync_frame(w, id, MF_SMSG_SYNC_BEGIN, "m/1");
    sync_frame(w, id, 0, "m/2");
    sync_frame(w, id, MF_SMSG_SYNC_END, "m/3");
    FEED(w, MF_SMSG_EVENTS, {
        put_items(&wr, "m/4", MF_SMSG_PUT);
        put_items(&wr, "n", MF_SMSG_PUT);
        put_items(&wr, "m/1", MF_SMSG_EXPIRE);
    });
    assert_string_equal(w->watch_text, "BPm/1Pm/2Pm/3EPm/4Dm/1");
    w->watch_text[0] = '\0';
    breaks(w);
    connect_sm(w);
    welcome(w, 2, 1);
    sync_frame(w, id, MF_SMSG_SYNC_BEGIN | MF_SMSG_SYNC_END, NULL);
    assert_string_equal(w->watch_text, "LBE");
    w->watch_text[0] = '\0';
    mf_assert_ok(mf_client_sm_unwatch(w->sm, id));
    FEED(w, MF_SMSG_EVENTS, put_items(&wr, "m/5", MF_SMSG_PUT)); /* it was on its way */
    assert_string_equal(w->watch_text, "");
    mf_assert_rc(mf_client_sm_unwatch(w->sm, id), SMEM_NOT_EXIST);
}

/* An item is written against the one before it, whoever that was for. */
static void test_client_sm__items_for_nobody_count_for_the_next(void **state)
{
    struct world *w = *state;
    struct mf_client_watch *watch;
    struct mf_item_prev prev;
    uint32_t id = MF_CLIENT_WATCH_BIT | 1;
    mf_assert_ok(mf_client_watch_create("m/1", id, on_watch, w, &watch));
    mf_client_sm_watch(w->sm, w->rig.now, watch);
    open_sm(w);
    sync_frame(w, id, MF_SMSG_SYNC_BEGIN | MF_SMSG_SYNC_END, NULL);
    mf_item_prev_reset(&prev);
    FEED(
        w, MF_SMSG_SYNC,
        { /* of a watch that is over */
          mf_wr_u32(&wr, id + 1);
          mf_wr_u8(&wr, MF_SMSG_SYNC_BEGIN | MF_SMSG_SYNC_END);
          mf_item_put(&wr, &prev, &(struct mf_smsg_item){MF_SMSG_PUT, "m/10", 4, "longvalue1", 10});
        });
    FEED(w, MF_SMSG_EVENTS,
         mf_item_put(&wr, &prev, &(struct mf_smsg_item){MF_SMSG_PUT, "m/2", 3, "longvalue2", 10}));
    FEED(w, MF_SMSG_EVENTS, {
        size_t begin = wr.buf->len;
        mf_item_put(&wr, &prev, &(struct mf_smsg_item){MF_SMSG_PUT, "m/13", 4, "longvalue3", 10});
        assert_in_range(wr.buf->len - begin, 1, 10); /* it does say what differs */
    });
    assert_string_equal(w->watch_text, "BEPm/13");
    assert_int_equal(mf_client_sm_want(w->sm, w->rig.now), MF_CLIENT_NOTHING);
    FEED(w, MF_SMSG_EVENTS, { /* more of the last value than it had */
                              mf_wr_u8(&wr, 4);
                              mf_wr_varint(&wr, 4);
                              mf_wr_varint(&wr, 0);
                              mf_wr_varint(&wr, 12);
                              mf_wr_u8(&wr, 12);
    });
    assert_int_equal(mf_client_sm_want(w->sm, w->rig.now), MF_CLIENT_DISCONNECT);
    assert_string_equal(mf_client_sm_why(w->sm), "the store sent a malformed EVENTS message");
}

struct self_unwatch {
    struct world *w;
    uint32_t id;
    int calls;
};

static void unwatch_itself(void *arg, const struct mf_watch_event *event)
{
    struct self_unwatch *self = arg;
    self->calls++;
    if (event->kind == MF_WATCH_PUT)
        mf_assert_ok(mf_client_sm_unwatch(self->w->sm, self->id));
}

static void test_client_sm__callback_may_unwatch_itself(void **state)
{
    struct world *w = *state;
    struct mf_client_watch *watch;
    struct self_unwatch self = {.w = w, .id = MF_CLIENT_WATCH_BIT | 1};
    mf_assert_ok(mf_client_watch_create("", self.id, unwatch_itself, &self, &watch));
    mf_client_sm_watch(w->sm, w->rig.now, watch);
    mf_assert_ok(mf_client_watch_create("m", self.id + 1, on_watch, w, &watch));
    mf_client_sm_watch(w->sm, w->rig.now, watch);
    open_sm(w);
    sync_frame(w, self.id + 1, MF_SMSG_SYNC_BEGIN | MF_SMSG_SYNC_END, NULL);
    sync_frame(w, self.id, MF_SMSG_SYNC_BEGIN | MF_SMSG_SYNC_END, "m/1");
    assert_int_equal(self.calls, 2);
    FEED(w, MF_SMSG_EVENTS, put_items(&wr, "m/2", MF_SMSG_PUT));
    assert_int_equal(self.calls, 2);
    assert_string_equal(w->watch_text, "BEPm/2");
}

/* ---- a server that breaks the rules -----------------------------------------------------------
 */

static void test_client_sm__drops_a_connection_that_makes_no_sense(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"HTTP/1.1 400 Bad Request\r\n", 26},
        {"\x4d\x02\x20\x00\x00\x00\x00\x00", 8},     /* WELCOME twice, and malformed */
        {"\x4d\x02\x22\x00\x03\x00\x00\x00xyz", 11}, /* REPLY */
        {"\x4d\x02\x23\x00\x03\x00\x00\x00xyz", 11}, /* PART */
        {"\x4d\x02\x24\x00\x03\x00\x00\x00xyz", 11}, /* SYNC */
        {"\x4d\x02\x25\x00\x03\x00\x00\x00xyz", 11}, /* EVENTS */
        {"\x4d\x02\x21\x00\x03\x00\x00\x00xyz", 11}, /* GOODBYE */
        {"\x4d\x02\x04\x00\x00\x00\x00\x00", 8},     /* a client's message */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        connect_sm(w);
        welcome(w, i + 1, i > 0);
        assert_int_equal(mf_client_sm_state(w->sm), MF_CLIENT_OPEN);
        mf_client_sm_bytes(w->sm, w->rig.now, bad[i].bytes, bad[i].len);
        assert_int_equal(mf_client_sm_want(w->sm, w->rig.now), MF_CLIENT_DISCONNECT);
        assert_true(strlen(mf_client_sm_why(w->sm)) > 10);
        breaks(w);
    }
    connect_sm(w); /* something else where WELCOME should come */
    mf_client_sm_bytes(w->sm, w->rig.now, "\x4d\x02\x02\x00\x00\x00\x00\x00", 8);
    assert_int_equal(mf_client_sm_want(w->sm, w->rig.now), MF_CLIENT_DISCONNECT);
    breaks(w);
    connect_sm(w);
    welcome(w, 99, 0); /* a new session where the old one was asked for */
    assert_int_equal(mf_client_sm_want(w->sm, w->rig.now), MF_CLIENT_DISCONNECT);
}

static int open_without_memory(void *arg)
{
    struct sm_rig rig;
    struct mf_client_sm *sm;
    struct mf_client_req *req = NULL;
    struct mf_client_watch *watch = NULL;
    struct mf_store_req in = {.op = MF_STORE_SET,
                              .flags = MF_STORE_EPHEMERAL,
                              .key = "k",
                              .value = "v",
                              .value_len = 1,
                              .deadline_ns = UINT64_MAX};
    (void)arg;
    sm_rig_init(&rig);
    struct mf_client_sm_cfg cfg = {
        .env = &rig.env, .session_id = 1, .session_ms = 1000, .addr = "sim"};
    int rc = mf_client_sm_create(&cfg, rig.now, &sm);
    if (rc != SMEM_OK)
        return rc;
    rc = mf_client_req_create(&in, on_done, &(struct world){0}, &req);
    if (rc == SMEM_OK)
        rc = mf_client_watch_create("k", MF_CLIENT_WATCH_BIT, on_watch, NULL, &watch);
    if (watch != NULL)
        mf_client_sm_watch(sm, rig.now, watch);
    if (req != NULL)
        mf_client_req_destroy(req);
    if (rc == SMEM_OK) {
        mf_client_sm_connecting(sm, rig.now);
        mf_client_sm_connected(sm, rig.now);
        if (mf_client_sm_want(sm, rig.now) == MF_CLIENT_DISCONNECT)
            rc = mf_err(SMEM_MALLOC_FAILED, "%s", mf_client_sm_why(sm));
    }
    mf_client_sm_destroy(sm);
    return rc;
}

static void test_client_sm__torture(void **state)
{
    (void)state;
    assert_true(mf_torture(open_without_memory, NULL) >= 5);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_client_sm__retries_with_a_growing_pause),
        T(test_client_sm__gives_up_an_attempt_that_hangs),
        T(test_client_sm__idle_costs_less_than_a_wake_up_a_second),
        T(test_client_sm__silent_server_is_noticed),
        T(test_client_sm__request_waits_for_the_connection_until_its_deadline),
        T(test_client_sm__deadline_of_a_sent_request),
        T(test_client_sm__broken_connection_fails_changes_and_repeats_reads),
        T(test_client_sm__what_never_left_is_sent_again),
        T(test_client_sm__limit_of_open_requests),
        T(test_client_sm__announces_its_keys_to_a_restarted_server_first),
        T(test_client_sm__late_answer_of_a_timed_out_claim_counts),
        T(test_client_sm__expired_is_final),
        T(test_client_sm__close_waits_for_the_answer_but_not_for_ever),
        T(test_client_sm__watch_state_comes_in_pieces_then_changes),
        T(test_client_sm__items_for_nobody_count_for_the_next),
        T(test_client_sm__callback_may_unwatch_itself),
        T(test_client_sm__drops_a_connection_that_makes_no_sense),
        T(test_client_sm__torture),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
