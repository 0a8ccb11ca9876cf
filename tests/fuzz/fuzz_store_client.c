// SPDX-License-Identifier: Apache-2.0
// The store's client between a user and a server that say anything. An input is a list of steps:
// one byte (what happens), a length, that many bytes. Every request ends exactly once, by its
// deadline, and no byte of the server is read twice or beyond its end.
#include "base/limits.h"
#include "client_steps.h"
#include "fuzz.h"
#include "fuzz_env.h"
#include "guard.h"
#include "smem.h"
#include "store/client_sm.h"
#include "wire/store_item.h"
#include "wire/store_msg.h"

#define REQUESTS   64u
#define WATCHES    8u
#define TIMEOUT_MS 60000u /* no request of the input has a later deadline */

struct slot {
    struct fuzz *f;
    uint32_t ended;
    uint64_t deadline_ns;
};

struct fuzz {
    struct fuzz_world world;
    struct mf_client_sm *sm;
    struct slot slots[REQUESTS];
    uint32_t requests, watches;
    uint64_t sum; /* of what the callbacks were given: all of it is read */
};

static uint64_t sum_of(const void *data, size_t len)
{
    uint64_t sum = len;
    for (size_t i = 0; i < len; i++) {
        sum = sum * 31 + ((const uint8_t *)data)[i];
    }
    return sum;
}

static void on_done(void *arg, const struct mf_store_rsp *rsp)
{
    struct slot *slot = arg;
    slot->ended++;
    FUZZ_CHECK(rsp->rc <= 0 && (rsp->rc == SMEM_OK || rsp->msg != NULL));
    if (rsp->value) {
        slot->f->sum += sum_of(rsp->value, rsp->value_len);
    }
    for (size_t i = 0; i < rsp->count; i++) {
        slot->f->sum += sum_of(rsp->kvs[i].key, strlen(rsp->kvs[i].key));
        slot->f->sum += sum_of(rsp->kvs[i].value, rsp->kvs[i].value_len);
    }
}

/* A watch that sees a value of one byte ends itself: callbacks may do that. */
static void on_event(void *arg, const struct mf_watch_event *event)
{
    struct fuzz *f = arg;
    if (event->key) {
        f->sum += sum_of(event->key, strlen(event->key));
    }
    if (event->value) {
        f->sum += sum_of(event->value, event->value_len);
    }
    if (event->kind == MF_WATCH_PUT && event->value_len == 1) {
        (void)mf_client_sm_unwatch(f->sm, MF_CLIENT_WATCH_BIT | 1);
    }
}

static void on_session(void *arg, enum mf_session_state state, const char *why)
{
    struct fuzz *f = arg;
    f->sum += sum_of(why, strlen(why)) + (uint64_t)state;
}

/* What a shell does after each call. */
static void pump(struct fuzz *f)
{
    const uint8_t *data = NULL;
    size_t len;
    while ((len = mf_client_sm_output(f->sm, &data)) > 0) {
        f->sum += sum_of(data, len);
        mf_client_sm_sent(f->sm, f->world.now, len);
    }
    enum mf_client_want want = mf_client_sm_want(f->sm, f->world.now);
    if (want == MF_CLIENT_DISCONNECT) {
        mf_client_sm_closed(f->sm, f->world.now, NULL);
        want = mf_client_sm_want(f->sm, f->world.now);
    }
    if (want == MF_CLIENT_CONNECT) {
        mf_client_sm_connecting(f->sm, f->world.now);
        mf_client_sm_connected(f->sm, f->world.now);
    }
}

static void pass_time(struct fuzz *f, uint64_t ms)
{
    f->world.now += ms * MF_NS_PER_MS;
    mf_client_sm_tick(f->sm, f->world.now);
    for (uint32_t i = 0; i < f->requests; i++) {
        FUZZ_CHECK(f->slots[i].ended == 1 || f->world.now < f->slots[i].deadline_ns);
    }
}

/* The bytes of a REQUEST; in place of its id, which the client gives, the milliseconds that it may
 * take. */
static void submit(struct fuzz *f, const uint8_t *body, size_t len)
{
    struct mf_smsg_request msg;
    struct mf_client_req *req = NULL;
    if (f->requests == REQUESTS || mf_smsg_get_request(body, len, &msg) != SMEM_OK) {
        return;
    }
    struct slot *slot = &f->slots[f->requests];
    *slot = (struct slot){.f = f,
                          .deadline_ns = f->world.now + (1 + msg.id % TIMEOUT_MS) * MF_NS_PER_MS};
    struct mf_store_req ask = {.op = (enum mf_store_op)msg.op,
                               .flags = msg.flags,
                               .key = msg.key,
                               .value = msg.value,
                               .value_len = msg.value_len,
                               .expect = msg.expect,
                               .expect_len = msg.expect_len,
                               .add = (int64_t)msg.number,
                               .deadline_ns = slot->deadline_ns};
    int rc = mf_client_req_create(&ask, on_done, slot, &req);
    FUZZ_CHECK(rc == SMEM_OK || rc == SMEM_INVALID_PARAM);
    if (rc != SMEM_OK) {
        return;
    }
    f->requests++;
    if (msg.id == UINT32_MAX) { /* one that its user gives up before it was submitted */
        mf_client_req_destroy(req);
        f->slots[f->requests - 1].ended = 1;
    } else {
        mf_client_sm_submit(f->sm, f->world.now, req);
    }
}

static void watch(struct fuzz *f, const uint8_t *prefix, size_t len)
{
    struct mf_client_watch *made = NULL;
    char text[256];
    size_t n = len < sizeof(text) - 1 ? len : sizeof(text) - 1;
    memcpy(text, prefix, n);
    text[n] = '\0';
    if (f->watches < WATCHES) {
        f->watches++;
        FUZZ_CHECK(mf_client_watch_create(text, MF_CLIENT_WATCH_BIT | f->watches, on_event, f,
                                          &made) == SMEM_OK);
        mf_client_sm_watch(f->sm, f->world.now, made);
    }
}

/* A connection is there when bytes come; before, time passes until the client tries again. */
static void bytes(struct fuzz *f, const uint8_t *data, size_t len)
{
    if (mf_client_sm_state(f->sm) == MF_CLIENT_DOWN) {
        pass_time(f, 500);
        pump(f);
    }
    enum mf_client_state state = mf_client_sm_state(f->sm);
    if (state == MF_CLIENT_HELLO || state == MF_CLIENT_OPEN || state == MF_CLIENT_CLOSING) {
        mf_client_sm_bytes(f->sm, f->world.now, fuzz_guarded(data, len), len);
    }
}

static void event(struct fuzz *f, uint8_t what, size_t n)
{
    switch (what) {
    case CLIENT_STEP_TIME:
        pass_time(f, n);
        break;
    case CLIENT_STEP_UNWATCH:
        (void)mf_client_sm_unwatch(f->sm, MF_CLIENT_WATCH_BIT | (uint32_t)n);
        break;
    case CLIENT_STEP_CLOSED:
        mf_client_sm_closed(f->sm, f->world.now, n ? "the shell's cause" : NULL);
        break;
    case CLIENT_STEP_MOVE:
        mf_client_sm_set_addr(f->sm, "elsewhere", n != 0, f->world.now);
        break;
    case CLIENT_STEP_CONNECTING: /* an attempt that takes its time */
        if (mf_client_sm_want(f->sm, f->world.now) == MF_CLIENT_CONNECT) {
            mf_client_sm_connecting(f->sm, f->world.now);
        }
        break;
    default:
        mf_client_sm_close(f->sm, f->world.now);
        break;
    }
}

static void run(struct fuzz *f, const uint8_t *data, size_t len)
{
    while (len >= 3) {
        uint8_t what = data[0] % CLIENT_STEPS;
        size_t n = (size_t)data[1] | (size_t)data[2] << 8;
        bool counts = what > CLIENT_STEP_WATCH; /* bytes follow only the others */
        size_t take = counts ? 0 : n < len - 3 ? n : len - 3;
        data += 3;
        if (what == CLIENT_STEP_BYTES) {
            bytes(f, data, take);
        } else if (what == CLIENT_STEP_SUBMIT) {
            submit(f, data, take);
        } else if (what == CLIENT_STEP_WATCH) {
            watch(f, data, take);
        } else {
            event(f, what, n);
        }
        data += take;
        len -= 3 + take;
        if (what != CLIENT_STEP_CLOSED && what != CLIENT_STEP_CONNECTING) {
            pump(f);
        }
        FUZZ_CHECK(mf_client_sm_next_ns(f->sm) > 0 && mf_client_sm_why(f->sm) != NULL);
    }
}

void fuzz_one(const uint8_t *data, size_t len)
{
    static struct fuzz f;
    memset(&f, 0, sizeof(f));
    fuzz_world_init(&f.world);
    struct mf_client_sm_cfg cfg = {.env = &f.world.env,
                                   .session_id = 7,
                                   .session_ms = 1000,
                                   .on_session = on_session,
                                   .on_session_arg = &f,
                                   .addr = "fuzz"};
    FUZZ_CHECK(mf_client_sm_create(&cfg, f.world.now, &f.sm) == SMEM_OK);
    run(&f, data, len);
    if (f.sum % 2) { /* some end with requests under way */
        pass_time(&f, TIMEOUT_MS);
    }
    FUZZ_CHECK(!mf_client_sm_expired(f.sm) || mf_client_sm_state(f.sm) == MF_CLIENT_CLOSED ||
               mf_client_sm_want(f.sm, f.world.now) == MF_CLIENT_DISCONNECT);
    mf_client_sm_destroy(f.sm);
    for (uint32_t i = 0; i < f.requests; i++) {
        FUZZ_CHECK(f.slots[i].ended == 1);
    }
}

/* ---- conversations to begin with ---- */

struct script {
    uint8_t *at;
    struct mf_outq queue;
    struct mf_item_prev prev; /* items of SYNC and EVENTS are what differs from the last ones */
};

static void step(struct script *s, uint8_t what, const void *data, size_t n)
{
    s->at[0] = what;
    s->at[1] = (uint8_t)n;
    s->at[2] = (uint8_t)(n >> 8);
    s->at += 3;
    if (data) {
        memcpy(s->at, data, n);
        s->at += n;
    }
}

/* What the server has said since. */
static void say(struct script *s)
{
    const uint8_t *data = NULL;
    size_t len = mf_outq_peek(&s->queue, &data);
    step(s, CLIENT_STEP_BYTES, data, len);
    mf_outq_sent(&s->queue, len);
}

static void ask(struct script *s, enum mf_store_op op, uint8_t flags, uint32_t ms)
{
    struct mf_buf buf;
    struct mf_wr wr;
    bool cas = op == MF_STORE_CAS, sets = cas || op == MF_STORE_SET || op == MF_STORE_APPEND;
    struct mf_smsg_request msg = {.id = ms,
                                  .op = (uint8_t)op,
                                  .flags = flags,
                                  .key = "a/k",
                                  .key_len = 3,
                                  .number = 3,
                                  .value = sets ? "v" : NULL,
                                  .value_len = sets,
                                  .expect = cas ? "w" : NULL,
                                  .expect_len = cas};
    mf_buf_init(&buf, 4096);
    mf_wr_init(&wr, &buf);
    mf_smsg_put_request(&wr, &msg);
    step(s, CLIENT_STEP_SUBMIT, buf.data, buf.len);
    mf_buf_fini(&buf);
}

static void welcome(struct script *s, uint64_t boot_id, uint8_t restored)
{
    struct mf_wr wr;
    mf_item_prev_reset(&s->prev);
    mf_outq_begin(&s->queue, MF_SMSG_WELCOME, &wr);
    mf_smsg_put_welcome(&wr, &(struct mf_smsg_welcome){boot_id, restored});
    (void)mf_outq_end(&s->queue, &wr);
    say(s);
}

static void goodbye(struct script *s, uint8_t why)
{
    struct mf_wr wr;
    mf_outq_begin(&s->queue, MF_SMSG_GOODBYE, &wr);
    mf_smsg_put_goodbye(&wr, &(struct mf_smsg_goodbye){why, -1, "gone\n"});
    (void)mf_outq_end(&s->queue, &wr);
    say(s);
}

static void reply(struct script *s, uint32_t id, int32_t rc, uint64_t number, const char *value)
{
    struct mf_wr wr;
    mf_outq_begin(&s->queue, MF_SMSG_REPLY, &wr);
    mf_smsg_put_reply(&wr, &(struct mf_smsg_reply){.id = id,
                                                   .rc = rc,
                                                   .swapped = 1,
                                                   .number = number,
                                                   .rev = 4,
                                                   .value = value,
                                                   .value_len = value ? strlen(value) : 0});
    (void)mf_outq_end(&s->queue, &wr);
    say(s);
}

static void put_item(struct script *s, struct mf_wr *wr, uint8_t type, enum mf_smsg_kind kind,
                     const char *key, const char *value)
{
    struct mf_smsg_item item = {kind, key, strlen(key), value, value ? strlen(value) : 0};
    if (type == MF_SMSG_PART) {
        mf_smsg_put_item(wr, &item);
    } else {
        mf_item_put(wr, &s->prev, &item);
    }
}

static void items(struct script *s, uint8_t type, uint32_t id, uint8_t flags, const char *value)
{
    struct mf_wr wr;
    mf_outq_begin(&s->queue, type, &wr);
    if (type != MF_SMSG_EVENTS) {
        mf_wr_u32(&wr, id);
    }
    if (type == MF_SMSG_SYNC) {
        mf_wr_u8(&wr, flags);
    }
    put_item(s, &wr, type, MF_SMSG_PUT, "a/b", value);
    if (type == MF_SMSG_EVENTS) {
        put_item(s, &wr, type, MF_SMSG_PUT, "a/bc", "a value that is nearly the same");
        put_item(s, &wr, type, MF_SMSG_PUT, "a/bcd", "a value that was nearly the same");
        put_item(s, &wr, type, MF_SMSG_DELETE, "a/c", NULL);
        put_item(s, &wr, type, MF_SMSG_EXPIRE, "a/d", NULL);
    }
    (void)mf_outq_end(&s->queue, &wr);
    say(s);
}

/* The id of the nth request of a client, from 1 on, as the client gives them. */
static uint32_t nth(uint32_t n)
{
    return n * MF_STORE_INFLIGHT_MAX + n - 1;
}

static void script(struct script *s, uint32_t i)
{
    const uint32_t id = MF_CLIENT_WATCH_BIT | 1;
    step(s, CLIENT_STEP_WATCH, "a/", 2);
    for (uint32_t op = MF_STORE_SET; op <= MF_STORE_LIST; op++) {
        ask(s, (enum mf_store_op)op, op == MF_STORE_GET ? MF_STORE_WAIT : i & 1, 2000 * (i + 1));
    }
    if (i == 1) {
        goodbye(s, MF_SMSG_WHY_EXPIRED);
        return;
    }
    welcome(s, 5, 0);
    items(s, MF_SMSG_SYNC, id, MF_SMSG_SYNC_BEGIN, "value");
    items(s, MF_SMSG_SYNC, id, MF_SMSG_SYNC_END, i == 2 ? "!" : "value");
    items(s, MF_SMSG_EVENTS, 0, 0, i == 3 ? "!" : "value");
    items(s, MF_SMSG_PART, nth(MF_STORE_LIST), 0, "value");
    for (uint32_t k = MF_STORE_SET; k <= MF_STORE_LIST; k++) {
        reply(s, nth(k), i == 4 ? SMEM_NOT_EXIST : SMEM_OK, 1, k % 2 ? NULL : "text");
    }
    switch (i) {
    case 5:
        step(s, CLIENT_STEP_CLOSED, NULL, 1);
        welcome(s, 6, 1); /* restarted: the ephemeral keys are announced */
        reply(s, 0x40000000u, SMEM_OK, 0, NULL);
        reply(s, 0x40000001u, SMEM_NOT_EXIST, 0, "why");
        break;
    case 6:
        step(s, CLIENT_STEP_MOVE, NULL, 1);
        goodbye(s, MF_SMSG_WHY_CLOSED);
        welcome(s, 7, 1);
        break;
    case 7:
        reply(s, MF_CLIENT_WATCH_BIT | 1, SMEM_NO_RESOURCES, 0, "too many");
        ask(s, MF_STORE_ADD, 0, 3000); /* a connection breaks while these are under way */
        ask(s, MF_STORE_GET, MF_STORE_WAIT, 3000);
        step(s, CLIENT_STEP_CLOSED, NULL, 0);
        ask(s, MF_STORE_REMOVE, 0, 3000);
        step(s, CLIENT_STEP_TIME, NULL, 500);
        step(s, CLIENT_STEP_TIME, NULL, 4000);
        break;
    case 8:
        step(s, CLIENT_STEP_UNWATCH, NULL, 1);
        step(s, CLIENT_STEP_CLOSE, NULL, 0);
        goodbye(s, MF_SMSG_WHY_CLOSED);
        break;
    default:
        goodbye(s, (uint8_t)(1 + i % 5));
        break;
    }
}

size_t fuzz_seed(uint32_t i, uint8_t *buf, size_t cap)
{
    static struct script s;
    memset(&s, 0, sizeof(s));
    s.at = buf;
    if (i >= 12 || cap < FUZZ_INPUT_MAX) {
        return 0;
    }
    mf_outq_init(&s.queue, 32768);
    script(&s, i);
    mf_outq_fini(&s.queue);
    return (size_t)(s.at - buf);
}
