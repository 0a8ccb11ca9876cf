// SPDX-License-Identifier: Apache-2.0
// The store's server fed by four connections that say anything. An input is a list of steps: one
// byte (connection, and what happens to it), a length, that many bytes of the stream. Afterwards an
// honest client still gets its answer: nobody else is harmed.
#include "base/limits.h"
#include "fuzz.h"
#include "fuzz_env.h"
#include "smem.h"
#include "store/server_sm.h"
#include "wire/store_msg.h"

#define CONNS 4u

struct fuzz {
    struct fuzz_world world;
    struct mf_server_sm *sm;
    struct mf_server_conn *conns[CONNS + 1]; /* the last one is honest */
    uint32_t frames;                         /* that the honest one has got */
};

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
    while ((len = mf_server_conn_output(conn, &data)) > 0) {
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
    }
}

static void pump(struct fuzz *f)
{
    struct mf_server_conn *conn;
    while ((conn = mf_server_sm_pop_ready(f->sm)) != NULL) {
        uint32_t which = 0;
        while (f->conns[which] != conn) {
            which++;
            FUZZ_CHECK(which <= CONNS);
        }
        take_output(f, conn, which);
        if (mf_server_conn_want(conn) != MF_CONN_KEEP) {
            close_conn(f, which);
        }
    }
}

static void feed(struct fuzz *f, uint32_t which, const uint8_t *data, size_t len)
{
    if (!f->conns[which] &&
        mf_server_sm_open(f->sm, f->world.now, "fuzz", NULL, &f->conns[which]) != SMEM_OK) {
        f->conns[which] = NULL;
        return;
    }
    mf_server_sm_bytes(f->sm, f->world.now, f->conns[which], data, len);
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
    } else {
        mf_smsg_put_request(&wr, &(struct mf_smsg_request){.id = id,
                                                           .op = MF_STORE_SET,
                                                           .key = "honest",
                                                           .key_len = 6,
                                                           .value = "x",
                                                           .value_len = 1});
    }
    FUZZ_CHECK(mf_outq_end(queue, &wr) == SMEM_OK);
}

/* The honest client says HELLO and sets a key, and is answered twice. */
static void honest(struct fuzz *f)
{
    struct mf_outq queue;
    const uint8_t *data = NULL;
    mf_outq_init(&queue, 65536);
    frame(&queue, MF_SMSG_HELLO, 0);
    frame(&queue, MF_SMSG_REQUEST, 1);
    size_t len = mf_outq_peek(&queue, &data);
    feed(f, CONNS, data, len);
    mf_outq_fini(&queue);
    FUZZ_CHECK(f->conns[CONNS] != NULL);
    FUZZ_CHECK(f->frames == 2);
}

void fuzz_one(const uint8_t *data, size_t len)
{
    struct fuzz f = {.frames = 0};
    struct mf_server_sm_cfg cfg;
    fuzz_world_init(&f.world);
    mf_server_sm_cfg_init(&cfg, &f.world.env);
    cfg.keys_max = 64; /* and one more for the honest */
    FUZZ_CHECK(mf_server_sm_create(&cfg, f.world.now, &f.sm) == SMEM_OK);
    while (len >= 3) {
        uint32_t which = data[0] % CONNS, what = data[0] / CONNS % 8;
        size_t n = (size_t)data[1] | (size_t)data[2] << 8;
        data += 3;
        len -= 3;
        n = n < len ? n : len;
        if (what == 6) {
            pass_time(&f, n);
        } else if (what == 7) {
            close_conn(&f, which);
            pump(&f);
        } else {
            feed(&f, which, data, n);
            data += n;
            len -= n;
        }
    }
    pass_time(&f, 700); /* a flood of keys by those who are gone does not stand in the way */
    for (uint32_t i = 0; i < CONNS; i++) {
        close_conn(&f, i);
    }
    pass_time(&f, 60000);
    if (mf_server_sm_recovering(f.sm, f.world.now)) {
        pass_time(&f, 600000);
    }
    honest(&f);
    close_conn(&f, CONNS);
    mf_server_sm_destroy(f.sm);
}

static size_t step(uint8_t *buf, uint32_t which, const uint8_t *data, size_t len)
{
    buf[0] = (uint8_t)which;
    buf[1] = (uint8_t)len;
    buf[2] = (uint8_t)(len >> 8);
    memcpy(buf + 3, data, len);
    return 3 + len;
}

/* Conversations: each of four clients says HELLO and then one request of each kind, watches, or
 * closes. */
size_t fuzz_seed(uint32_t i, uint8_t *buf, size_t cap)
{
    static const uint8_t ops[] = {MF_STORE_SET, MF_STORE_GET,    MF_STORE_ADD, MF_STORE_APPEND,
                                  MF_STORE_CAS, MF_STORE_REMOVE, MF_STORE_LIST};
    struct mf_outq queue;
    struct mf_wr wr;
    const uint8_t *data = NULL;
    if (i >= 8 || cap < FUZZ_INPUT_MAX) {
        return 0;
    }
    mf_outq_init(&queue, 32768);
    mf_outq_begin(&queue, MF_SMSG_HELLO, &wr);
    mf_smsg_put_hello(&wr, &(struct mf_smsg_hello){100 + i, i & 1, 1000 + i});
    (void)mf_outq_end(&queue, &wr);
    for (uint32_t k = 0; k < sizeof(ops); k++) {
        mf_outq_begin(&queue, MF_SMSG_REQUEST, &wr);
        mf_smsg_put_request(&wr, &(struct mf_smsg_request){.id = k + 1,
                                                           .op = ops[(k + i) % sizeof(ops)],
                                                           .flags = (uint8_t)((i + k) & 1),
                                                           .key = "a/b",
                                                           .key_len = (size_t)(1 + (k + i) % 3),
                                                           .number = i,
                                                           .value = k % 2 ? "val" : NULL,
                                                           .value_len = k % 2 ? 3 : 0});
        (void)mf_outq_end(&queue, &wr);
    }
    mf_outq_begin(&queue, MF_SMSG_WATCH, &wr);
    mf_smsg_put_watch(&wr, &(struct mf_smsg_watch){0x80000001u, "a", 1});
    (void)mf_outq_end(&queue, &wr);
    mf_outq_begin(&queue, i % 2 ? MF_SMSG_CLOSE : MF_SMSG_HEARTBEAT, &wr);
    (void)mf_outq_end(&queue, &wr);
    size_t whole = mf_outq_peek(&queue, &data);
    size_t cut = whole * (i + 1) / 9;
    size_t len = step(buf, i % CONNS, data, cut);
    len += step(buf + len, i % CONNS, data + cut, whole - cut);
    mf_outq_fini(&queue);
    return len;
}
