// SPDX-License-Identifier: Apache-2.0
// The store's client fed by a server that says anything: every request ends exactly once, by its
// deadline, and no byte of the server is read twice or beyond its end.
#include "base/limits.h"
#include "fuzz.h"
#include "fuzz_env.h"
#include "smem.h"
#include "store/client_sm.h"
#include "wire/store_msg.h"

#define REQUESTS 6u

struct fuzz {
    struct fuzz_world world;
    struct mf_client_sm *sm;
    uint32_t ended[REQUESTS];
    uint64_t sum; /* of what the callbacks were given: all of it is read */
};

struct slot {
    struct fuzz *f;
    uint32_t i;
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
    slot->f->ended[slot->i]++;
    if (rsp->value) {
        slot->f->sum += sum_of(rsp->value, rsp->value_len);
    }
}

static void on_event(void *arg, const struct mf_watch_event *event)
{
    struct fuzz *f = arg;
    if (event->key) {
        f->sum += sum_of(event->key, strlen(event->key));
    }
    if (event->value) {
        f->sum += sum_of(event->value, event->value_len);
    }
}

static void pump(struct fuzz *f)
{
    const uint8_t *data = NULL;
    size_t len;
    while ((len = mf_client_sm_output(f->sm, &data)) > 0) {
        f->sum += sum_of(data, len);
        mf_client_sm_sent(f->sm, f->world.now, len);
    }
    if (mf_client_sm_want(f->sm, f->world.now) == MF_CLIENT_CONNECT) {
        mf_client_sm_connecting(f->sm, f->world.now);
        mf_client_sm_connected(f->sm, f->world.now);
    } else if (mf_client_sm_want(f->sm, f->world.now) == MF_CLIENT_DISCONNECT) {
        mf_client_sm_closed(f->sm, f->world.now, NULL);
    }
}

static void submit(struct fuzz *f, struct slot *slots)
{
    static const enum mf_store_op ops[REQUESTS] = {MF_STORE_SET, MF_STORE_GET,    MF_STORE_ADD,
                                                   MF_STORE_CAS, MF_STORE_REMOVE, MF_STORE_LIST};
    for (uint32_t i = 0; i < REQUESTS; i++) {
        struct mf_client_req *req = NULL;
        struct mf_store_req ask = {.op = ops[i],
                                   .key = "k",
                                   .value = "v",
                                   .value_len = 1,
                                   .deadline_ns = f->world.now + 2000 * MF_NS_PER_MS};
        slots[i] = (struct slot){f, i};
        FUZZ_CHECK(mf_client_req_create(&ask, on_done, &slots[i], &req) == SMEM_OK);
        mf_client_sm_submit(f->sm, f->world.now, req);
    }
}

void fuzz_one(const uint8_t *data, size_t len)
{
    struct fuzz f = {.sum = 0};
    struct slot slots[REQUESTS];
    struct mf_client_watch *watch = NULL;
    fuzz_world_init(&f.world);
    struct mf_client_sm_cfg cfg = {
        .env = &f.world.env, .session_id = 7, .session_ms = 1000, .addr = "fuzz"};
    FUZZ_CHECK(mf_client_sm_create(&cfg, f.world.now, &f.sm) == SMEM_OK);
    FUZZ_CHECK(mf_client_watch_create("a/", MF_CLIENT_WATCH_BIT | 1, on_event, &f, &watch) ==
               SMEM_OK);
    mf_client_sm_watch(f.sm, f.world.now, watch);
    submit(&f, slots);
    pump(&f);
    while (len >= 2) {
        size_t n = (size_t)data[0] | (size_t)data[1] << 8;
        data += 2;
        len -= 2;
        if (n >= 0xff00) {
            f.world.now += (n & 0xff) * MF_NS_PER_MS;
            mf_client_sm_tick(f.sm, f.world.now);
        } else {
            n = n < len ? n : len;
            enum mf_client_state state = mf_client_sm_state(f.sm);
            if (state == MF_CLIENT_HELLO || state == MF_CLIENT_OPEN || state == MF_CLIENT_CLOSING) {
                mf_client_sm_bytes(f.sm, f.world.now, data, n);
            }
            data += n;
            len -= n;
        }
        pump(&f);
    }
    f.world.now += 2100 * MF_NS_PER_MS;
    mf_client_sm_tick(f.sm, f.world.now);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        FUZZ_CHECK(f.ended[i] == 1);
    }
    mf_client_sm_destroy(f.sm);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        FUZZ_CHECK(f.ended[i] == 1);
    }
}

static void reply(struct mf_outq *queue, uint32_t id, int32_t rc, const char *value)
{
    struct mf_wr wr;
    mf_outq_begin(queue, MF_SMSG_REPLY, &wr);
    mf_smsg_put_reply(&wr, &(struct mf_smsg_reply){.id = id,
                                                   .rc = rc,
                                                   .swapped = 1,
                                                   .number = 3,
                                                   .rev = 4,
                                                   .value = value,
                                                   .value_len = value ? strlen(value) : 0});
    (void)mf_outq_end(queue, &wr);
}

static void items(struct mf_outq *queue, uint8_t type, uint32_t id, uint8_t flags)
{
    struct mf_wr wr;
    mf_outq_begin(queue, type, &wr);
    if (type != MF_SMSG_EVENTS) {
        mf_wr_u32(&wr, id);
    }
    if (type == MF_SMSG_SYNC) {
        mf_wr_u8(&wr, flags);
    }
    mf_smsg_put_item(&wr, &(struct mf_smsg_item){MF_SMSG_PUT, "a/b", 3, "value", 5});
    mf_smsg_put_item(&wr, &(struct mf_smsg_item){MF_SMSG_DELETE, "a/c", 3, NULL, 0});
    (void)mf_outq_end(queue, &wr);
}

size_t fuzz_seed(uint32_t i, uint8_t *buf, size_t cap)
{
    struct mf_outq queue;
    struct mf_wr wr;
    const uint8_t *data = NULL;
    if (i >= 8 || cap < FUZZ_INPUT_MAX) {
        return 0;
    }
    mf_outq_init(&queue, 32768);
    mf_outq_begin(&queue, i == 7 ? MF_SMSG_GOODBYE : MF_SMSG_WELCOME, &wr);
    if (i == 7) {
        mf_smsg_put_goodbye(&wr, &(struct mf_smsg_goodbye){MF_SMSG_WHY_EXPIRED, -1, "gone"});
    } else {
        mf_smsg_put_welcome(&wr, &(struct mf_smsg_welcome){5 + i, i & 1});
    }
    (void)mf_outq_end(&queue, &wr);
    items(&queue, MF_SMSG_SYNC, MF_CLIENT_WATCH_BIT | 1, MF_SMSG_SYNC_BEGIN);
    items(&queue, MF_SMSG_SYNC, MF_CLIENT_WATCH_BIT | 1, MF_SMSG_SYNC_END);
    items(&queue, MF_SMSG_EVENTS, 0, 0);
    for (uint32_t id = 1; id <= REQUESTS; id++) {
        if (id == REQUESTS) {
            items(&queue, MF_SMSG_PART, id, 0);
        }
        reply(&queue, id, i == 3 ? -1 : 0, id % 2 ? "value" : NULL);
    }
    size_t whole = mf_outq_peek(&queue, &data);
    size_t first = whole * (i + 1) / 9, at = 0;
    for (int part = 0; part < 2; part++) {
        size_t from = part ? first : 0, n = part ? whole - first : first;
        buf[at] = (uint8_t)n;
        buf[at + 1] = (uint8_t)(n >> 8);
        memcpy(buf + at + 2, data + from, n);
        at += 2 + n;
    }
    mf_outq_fini(&queue);
    return at;
}
