// SPDX-License-Identifier: Apache-2.0
// The store's server fed by connections that say anything. An input is a list of steps: one byte
// (connection, and what happens to it), a length, that many bytes of the stream. Afterwards an
// honest client still gets its answer: nobody else is harmed.
#include "base/limits.h"
#include "fuzz.h"
#include "fuzz_env.h"
#include "guard.h"
#include "server_steps.h"
#include "smem.h"
#include "store/server_sm.h"
#include "wire/store_msg.h"

#define CONNS     SERVER_CONNS
#define QUEUE_MAX (64u << 10) /* small, so that who does not read is soon cut off */

struct fuzz {
    struct fuzz_world world;
    struct mf_server_sm *sm;
    struct mf_server_conn *conns[CONNS + 1]; /* the last one is honest */
    bool slow[CONNS + 1];                    /* takes nothing of what is sent to it */
    uint32_t frames;                         /* that the honest one has got */
    uint32_t broken;                         /* sessions that ended badly */
};

static void on_broken(void *arg, uint64_t session_id, uint32_t rank)
{
    struct fuzz *f = arg;
    FUZZ_CHECK(rank == UINT32_MAX || rank < MF_WORLD_MAX);
    f->broken += session_id != 0;
}

static bool count_frame(void *arg, uint8_t type, const uint8_t *body, size_t len)
{
    struct fuzz *f = arg;
    (void)body;
    (void)len;
    f->frames += type == MF_SMSG_WELCOME || type == MF_SMSG_REPLY;
    return true;
}

static void take_output(struct fuzz *f, struct mf_server_conn *conn, uint32_t which)
{
    const uint8_t *data = NULL;
    size_t len;
    struct mf_framer framer;
    mf_framer_init(&framer, MF_FRAME_MAX);
    while (!f->slow[which] && (len = mf_server_conn_output(conn, &data)) > 0) {
        if (which == CONNS) {
            FUZZ_CHECK(mf_framer_feed(&framer, data, len, count_frame, f) == SMEM_OK);
        }
        mf_server_conn_sent(conn, len);
    }
    mf_framer_fini(&framer);
}

static void close_conn(struct fuzz *f, uint32_t which)
{
    if (f->conns[which]) {
        mf_server_sm_closed(f->sm, f->world.now, f->conns[which]);
        f->conns[which] = NULL;
        f->slow[which] = false;
    }
}

static void pump(struct fuzz *f)
{
    struct mf_server_conn *conn;
    (void)mf_server_sm_has_asked(f->sm);
    while ((conn = mf_server_sm_pop_ready(f->sm)) != NULL) {
        uint32_t which = (uint32_t)(uintptr_t)mf_server_conn_user(conn);
        FUZZ_CHECK(which <= CONNS && f->conns[which] == conn);
        take_output(f, conn, which);
        if (mf_server_conn_want(conn) != MF_CONN_KEEP) {
            close_conn(f, which);
        }
    }
}

static void feed(struct fuzz *f, uint32_t which, const uint8_t *data, size_t len)
{
    if (!f->conns[which] && mf_server_sm_open(f->sm, f->world.now, "fuzz", (void *)(uintptr_t)which,
                                              &f->conns[which]) != SMEM_OK) {
        FUZZ_CHECK(which != CONNS);
        f->conns[which] = NULL;
        return;
    }
    mf_server_sm_bytes(f->sm, f->world.now, f->conns[which], fuzz_guarded(data, len), len);
    pump(f);
}

static void pass_time(struct fuzz *f, uint64_t ms)
{
    f->world.now += ms * MF_NS_PER_MS;
    mf_server_sm_tick(f->sm, f->world.now);
    pump(f);
}

static void frame(struct mf_outq *queue, uint8_t type, uint32_t id)
{
    struct mf_wr wr;
    mf_outq_begin(queue, type, &wr);
    if (type == MF_SMSG_HELLO) {
        mf_smsg_put_hello(&wr, &(struct mf_smsg_hello){0xfedcba9876543210ull, 0, 600000});
    } else if (type == MF_SMSG_REQUEST) {
        mf_smsg_put_request(&wr, &(struct mf_smsg_request){.id = id,
                                                           .op = MF_STORE_SET,
                                                           .flags = MF_STORE_EPHEMERAL,
                                                           .key = "honest",
                                                           .key_len = 6,
                                                           .value = "x",
                                                           .value_len = 1});
    }
    FUZZ_CHECK(mf_outq_end(queue, &wr) == SMEM_OK);
}

/* The honest client says HELLO and sets a key, and is answered twice; then it is on its way to
 * another address. */
static void honest(struct fuzz *f)
{
    struct mf_outq queue;
    const uint8_t *data = NULL;
    mf_outq_init(&queue, 65536);
    frame(&queue, MF_SMSG_HELLO, 0);
    frame(&queue, MF_SMSG_REQUEST, 1);
    size_t len = mf_outq_peek(&queue, &data);
    feed(f, CONNS, data, len);
    FUZZ_CHECK(f->conns[CONNS] != NULL);
    FUZZ_CHECK(f->frames == 2);
    FUZZ_CHECK(mf_server_sm_peek(f->sm, "honest", &len) != NULL && len == 1);
    mf_outq_clear(&queue);
    frame(&queue, MF_SMSG_MOVE, 0);
    len = mf_outq_peek(&queue, &data);
    feed(f, CONNS, data, len);
    mf_outq_fini(&queue);
    close_conn(f, CONNS);
    FUZZ_CHECK(mf_server_sm_peek(f->sm, "honest", &len) != NULL);
}

static void set_slow(struct fuzz *f, uint32_t which, bool slow)
{
    f->slow[which] = slow && f->conns[which] != NULL;
    if (!slow && f->conns[which]) { /* its socket takes more: the shell goes on sending */
        take_output(f, f->conns[which], which);
        if (mf_server_conn_want(f->conns[which]) != MF_CONN_KEEP) {
            close_conn(f, which);
        }
        pump(f);
    }
}

static void take_steps(struct fuzz *f, const uint8_t *data, size_t len)
{
    while (len >= 3) {
        uint32_t which = data[0] % CONNS, what = data[0] / CONNS % SERVER_STEPS;
        size_t n = (size_t)data[1] | (size_t)data[2] << 8;
        data += 3;
        len -= 3;
        if (what == SERVER_STEP_TIME) {
            pass_time(f, n);
        } else if (what == SERVER_STEP_CLOSED) {
            close_conn(f, which);
            pump(f);
        } else if (what == SERVER_STEP_SLOW) {
            set_slow(f, which, n == 0);
        } else {
            n = n < len ? n : len;
            feed(f, which, data, n);
            data += n;
            len -= n;
        }
    }
}

/* What a status and an oracle read is in order at any time. */
static void look(struct fuzz *f)
{
    struct mf_store_server_status status;
    size_t len = 0;
    mf_server_sm_get_status(f->sm, &status);
    FUZZ_CHECK(status.sessions <= CONNS && status.keys <= 64);
    FUZZ_CHECK(mf_server_sm_next_ns(f->sm) > 0);
    (void)mf_server_sm_peek(f->sm, "a/b", &len);
}

void fuzz_one(const uint8_t *data, size_t len)
{
    struct fuzz f = {.frames = 0};
    struct mf_server_sm_cfg cfg;
    fuzz_world_init(&f.world);
    mf_server_sm_cfg_init(&cfg, &f.world.env);
    cfg.keys_max = 64; /* and one more for the honest */
    cfg.conns_max = CONNS - 1;
    cfg.queue_max = QUEUE_MAX;
    cfg.on_broken = on_broken;
    cfg.on_broken_arg = &f;
    FUZZ_CHECK(mf_server_sm_create(&cfg, f.world.now, &f.sm) == SMEM_OK);
    take_steps(&f, data, len);
    look(&f);
    pass_time(&f, 700); /* a flood of keys by those who are gone does not stand in the way */
    for (uint32_t i = 0; i < CONNS; i++) {
        close_conn(&f, i);
    }
    pass_time(&f, 60000);
    if (mf_server_sm_recovering(f.sm, f.world.now)) {
        pass_time(&f, 600000);
    }
    honest(&f);
    mf_server_sm_destroy(f.sm);
}

/* ---- conversations to begin with ---- */

struct script {
    uint8_t *at;
    uint32_t conn;
    struct mf_outq queue;
    struct mf_wr wr;
};

static void step(struct script *s, enum server_step what, const void *data, size_t n)
{
    s->at[0] = server_step_byte(s->conn, what);
    s->at[1] = (uint8_t)n;
    s->at[2] = (uint8_t)(n >> 8);
    s->at += 3;
    if (data) {
        memcpy(s->at, data, n);
        s->at += n;
    }
}

static void begin(struct script *s, uint8_t type)
{
    mf_outq_begin(&s->queue, type, &s->wr);
}

/* The frame is whole: one step. */
static void say(struct script *s)
{
    const uint8_t *data = NULL;
    FUZZ_CHECK(mf_outq_end(&s->queue, &s->wr) == SMEM_OK);
    size_t len = mf_outq_peek(&s->queue, &data);
    step(s, SERVER_STEP_BYTES, data, len);
    mf_outq_sent(&s->queue, len);
}

static void hello(struct script *s, uint64_t session, uint64_t prev_boot)
{
    begin(s, MF_SMSG_HELLO);
    mf_smsg_put_hello(&s->wr, &(struct mf_smsg_hello){session, prev_boot, 1000});
    say(s);
}

static void ask(struct script *s, uint32_t id, uint8_t op, uint8_t flags, const char *key,
                const char *value)
{
    begin(s, MF_SMSG_REQUEST);
    mf_smsg_put_request(
        &s->wr, &(struct mf_smsg_request){.id = id,
                                          .op = op,
                                          .flags = flags,
                                          .key = key,
                                          .key_len = strlen(key),
                                          .number = id,
                                          .value = value,
                                          .value_len = value ? strlen(value) : 0,
                                          .expect = id % 2 ? value : NULL,
                                          .expect_len = id % 2 && value ? strlen(value) : 0});
    say(s);
}

static void watch(struct script *s, uint32_t id, const char *prefix)
{
    begin(s, MF_SMSG_WATCH);
    mf_smsg_put_watch(&s->wr, &(struct mf_smsg_watch){id, prefix, strlen(prefix)});
    say(s);
}

static void say_id(struct script *s, uint8_t type, uint32_t id)
{
    begin(s, type);
    if (type == MF_SMSG_CANCEL || type == MF_SMSG_UNWATCH) {
        mf_wr_u32(&s->wr, id);
    }
    say(s);
}

/* One client that uses everything; the second one waits for its keys and sees it go. */
static void talk(struct script *s, uint32_t i)
{
    static const uint8_t ops[] = {MF_STORE_SET, MF_STORE_GET,    MF_STORE_ADD, MF_STORE_APPEND,
                                  MF_STORE_CAS, MF_STORE_REMOVE, MF_STORE_LIST};
    bool old = i % 4 == 3; /* sessions that another server has known */
    s->conn = 1;
    hello(s, 200, old ? 5 : 0);
    watch(s, 0x80000001u, "a");
    watch(s, 0x80000002u, "a");
    ask(s, 1, MF_STORE_GET, MF_STORE_WAIT, "a/b", NULL);
    for (uint32_t k = 2; k < 6; k++) {
        ask(s, k, MF_STORE_GET, MF_STORE_WAIT, "never", NULL);
    }
    s->conn = 0;
    hello(s, 100, old ? 5 : 0);
    ask(s, 1, MF_SMSG_OP_ANNOUNCE, MF_STORE_EPHEMERAL, "world/rank/3", "me");
    ask(s, 2, MF_STORE_SET, MF_STORE_EPHEMERAL, "world/rank/7", "me");
    for (uint32_t k = 0; k < sizeof(ops); k++) {
        ask(s, 3 + k, ops[(k + i) % sizeof(ops)], (uint8_t)((i + k) & 1), i % 3 ? "a/b" : "a/c",
            k % 2 ? "12" : NULL);
    }
    s->conn = 1;
    say_id(s, MF_SMSG_CANCEL, 2);
    say_id(s, MF_SMSG_CANCEL, 5);
    say_id(s, MF_SMSG_UNWATCH, 0x80000001u);
    s->conn = 0;
    say_id(s, MF_SMSG_HEARTBEAT, 0);
}

/* The number by which the server knows its own life: what it draws first. */
static uint64_t boot_id(void)
{
    struct fuzz_world world;
    fuzz_world_init(&world);
    return mf_random_u64(&world.env);
}

/* Newcomers of a store that recovers claim their ranks; they are answered when that is over. */
static void claim(struct script *s)
{
    for (s->conn = 2; s->conn < 4; s->conn++) {
        hello(s, 300 + s->conn, 0);
        ask(s, 2, MF_STORE_CAS, MF_STORE_EPHEMERAL, "world/rank/1", "new");
    }
    s->conn = 0;
    step(s, SERVER_STEP_TIME, NULL, 500);
    for (s->conn = 2; s->conn < 4; s->conn++) {
        say_id(s, MF_SMSG_HEARTBEAT, 0);
    }
    s->conn = 0;
    step(s, SERVER_STEP_TIME, NULL, 501);
    step(s, SERVER_STEP_TIME, NULL, 60000);
}

/* More watches and more waiting requests than one client may have. */
static void exceed_limits(struct script *s)
{
    for (uint32_t k = 0; k <= MF_STORE_WATCHES_MAX; k++) {
        watch(s, 0x80000002u + k, "b");
    }
    for (uint32_t k = 0; k <= MF_STORE_INFLIGHT_MAX; k++) {
        ask(s, 100 + k, MF_STORE_GET, MF_STORE_WAIT, "n", NULL);
    }
}

/* A client that does not read: what it asks for, or the server's last word. */
static void be_slow(struct script *s, bool asks)
{
    step(s, SERVER_STEP_SLOW, NULL, 0);
    for (uint32_t k = 0; asks && k < 200; k++) {
        ask(s, 100 + k, MF_STORE_APPEND, 0, "log", "some forty bytes or so that are appended");
        ask(s, 400 + k, MF_STORE_GET, 0, "log", NULL);
    }
    if (asks) {
        step(s, SERVER_STEP_SLOW, NULL, 1);
    } else {
        say_id(s, MF_SMSG_CLOSE, 0);
        step(s, SERVER_STEP_TIME, NULL, 65535);
    }
}

size_t fuzz_seed(uint32_t i, uint8_t *buf, size_t cap)
{
    struct script s = {.at = buf};
    if (i >= 16 || cap < FUZZ_INPUT_MAX) {
        return 0;
    }
    mf_outq_init(&s.queue, 32768);
    talk(&s, i);
    switch (i % 8) {
    case 0:
        say_id(&s, MF_SMSG_CLOSE, 0);
        break;
    case 1: /* it goes to another address and comes back */
        say_id(&s, MF_SMSG_MOVE, 0);
        s.conn = 2;
        hello(&s, 100, 0);
        break;
    case 2: /* a second connection wants the session; and one that has ended is asked for */
        s.conn = 2;
        hello(&s, 100, 0);
        s.conn = 3;
        hello(&s, 99, boot_id());
        break;
    case 3:
        claim(&s);
        break;
    case 4:
        if (i > 8) {
            exceed_limits(&s);
        }
        step(&s, SERVER_STEP_CLOSED, NULL, 0);
        break;
    case 5:
        step(&s, SERVER_STEP_TIME, NULL, 150);
        step(&s, SERVER_STEP_TIME, NULL, 65535);
        break;
    case 6:
        be_slow(&s, i < 8);
        break;
    default: /* a flood of connections that say nothing */
        for (s.conn = 0; s.conn < CONNS; s.conn++) {
            step(&s, SERVER_STEP_BYTES, "", 0);
        }
        s.conn = 0;
        step(&s, SERVER_STEP_TIME, NULL, 65535);
        break;
    }
    mf_outq_fini(&s.queue);
    return (size_t)(s.at - buf);
}
