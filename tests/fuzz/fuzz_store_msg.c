// SPDX-License-Identifier: Apache-2.0
// Every message of the store protocol: the first byte says which decoder, the rest is the body.
// What decodes is encoded again and must give the same bytes.
#include <string.h>

#include "fuzz.h"
#include "smem.h"
#include "wire/store_item.h"
#include "wire/store_msg.h"

static void check_same(const struct mf_buf *buf, const struct mf_wr *wr, const uint8_t *body,
                       size_t len)
{
    FUZZ_CHECK(wr->rc == SMEM_OK);
    FUZZ_CHECK(buf->len == len);
    FUZZ_CHECK(len == 0 || memcmp(buf->data, body, len) == 0);
}

static void one_session(uint8_t type, const uint8_t *body, size_t len, struct mf_wr *wr)
{
    struct mf_smsg_hello hello;
    struct mf_smsg_welcome welcome;
    struct mf_smsg_goodbye goodbye;
    char text[MF_SMSG_TEXT_MAX];
    if (type == MF_SMSG_HELLO && mf_smsg_get_hello(body, len, &hello) == SMEM_OK) {
        mf_smsg_put_hello(wr, &hello);
        check_same(wr->buf, wr, body, len);
    } else if (type == MF_SMSG_WELCOME && mf_smsg_get_welcome(body, len, &welcome) == SMEM_OK) {
        mf_smsg_put_welcome(wr, &welcome);
        check_same(wr->buf, wr, body, len);
    } else if (type == MF_SMSG_GOODBYE &&
               mf_smsg_get_goodbye(body, len, &goodbye, text) == SMEM_OK) {
        FUZZ_CHECK(strlen(text) < sizeof(text));
        mf_smsg_put_goodbye(wr, &goodbye); /* its text was made printable */
        FUZZ_CHECK(wr->rc == SMEM_OK);
    }
}

static void one_request(uint8_t type, const uint8_t *body, size_t len, struct mf_wr *wr)
{
    struct mf_smsg_request request;
    struct mf_smsg_watch watch;
    struct mf_smsg_reply reply;
    if (type == MF_SMSG_REQUEST && mf_smsg_get_request(body, len, &request) == SMEM_OK) {
        FUZZ_CHECK(request.key_len <= MF_KEY_MAX && request.key[request.key_len] == '\0');
        mf_smsg_put_request(wr, &request);
        check_same(wr->buf, wr, body, len);
    } else if (type == MF_SMSG_WATCH && mf_smsg_get_watch(body, len, &watch) == SMEM_OK) {
        mf_smsg_put_watch(wr, &watch);
        check_same(wr->buf, wr, body, len);
    } else if (type == MF_SMSG_REPLY && mf_smsg_get_reply(body, len, &reply) == SMEM_OK) {
        mf_smsg_put_reply(wr, &reply);
        check_same(wr->buf, wr, body, len);
    }
}

static void one_list(const uint8_t *body, size_t len, struct mf_wr *wr)
{
    struct mf_rd rd;
    struct mf_smsg_item item;
    size_t count = 0, seen = 0;
    mf_rd_init(&rd, body, len);
    int rc = mf_smsg_check_items(rd, &count);
    while (mf_smsg_get_item(&rd, &item)) {
        mf_smsg_put_item(wr, &item);
        seen++;
    }
    FUZZ_CHECK((rc == SMEM_OK) == mf_rd_done(&rd));
    if (rc == SMEM_OK) {
        FUZZ_CHECK(seen == count);
        check_same(wr->buf, wr, body, len);
    }
}

/* Items of SYNC and EVENTS have more than one form of the same: what was read is written and read
 * again, and comes out alike. */
static void one_differences(const uint8_t *body, size_t len, struct mf_wr *wr)
{
    static struct mf_item_prev from, to, back;
    struct mf_rd rd, again;
    struct mf_smsg_item item, other;
    mf_item_prev_reset(&from);
    mf_item_prev_reset(&to);
    mf_item_prev_reset(&back);
    mf_rd_init(&rd, body, len);
    while (mf_item_get(&rd, &from, &item)) {
        size_t begin = wr->buf->len;
        FUZZ_CHECK(item.key_len >= 1 && item.key_len <= MF_KEY_MAX);
        FUZZ_CHECK(item.key[item.key_len] == '\0' && strlen(item.key) == item.key_len);
        mf_item_put(wr, &to, &item);
        FUZZ_CHECK(wr->rc == SMEM_OK);
        mf_rd_init(&again, wr->buf->data + begin, wr->buf->len - begin);
        FUZZ_CHECK(mf_item_get(&again, &back, &other) && mf_rd_done(&again));
        FUZZ_CHECK(other.kind == item.kind && other.key_len == item.key_len &&
                   other.value_len == item.value_len);
        FUZZ_CHECK(memcmp(other.key, item.key, item.key_len) == 0);
        FUZZ_CHECK(item.value_len == 0 || memcmp(other.value, item.value, item.value_len) == 0);
    }
}

void fuzz_one(const uint8_t *data, size_t len)
{
    struct mf_buf buf;
    struct mf_wr wr;
    uint32_t id = 0;
    if (len == 0) {
        return;
    }
    mf_buf_init(&buf, MF_FRAME_MAX);
    mf_wr_init(&wr, &buf);
    switch (data[0]) {
    case MF_SMSG_HELLO:
    case MF_SMSG_WELCOME:
    case MF_SMSG_GOODBYE:
        one_session(data[0], data + 1, len - 1, &wr);
        break;
    case MF_SMSG_PART:
        one_list(data + 1, len - 1, &wr);
        break;
    case MF_SMSG_EVENTS:
        one_differences(data + 1, len - 1, &wr);
        break;
    case MF_SMSG_CANCEL:
        (void)mf_smsg_get_id(data + 1, len - 1, &id);
        break;
    default:
        one_request(data[0], data + 1, len - 1, &wr);
        break;
    }
    mf_buf_fini(&buf);
}

static void put_seed(uint32_t i, struct mf_wr *wr, uint8_t *type)
{
    static const char value[] = "some value";
    static struct mf_item_prev prev;
    struct mf_smsg_item items[] = {{MF_SMSG_PUT, "pool/3/m/17", 11, value, sizeof(value)},
                                   {MF_SMSG_DELETE, "world/rank/2", 12, NULL, 0},
                                   {MF_SMSG_EXPIRE, "k", 1, NULL, 0}};
    struct mf_smsg_request request = {.id = 9,
                                      .op = (uint8_t)i,
                                      .flags = i & 3,
                                      .key = "gva/map",
                                      .key_len = 7,
                                      .number = i,
                                      .value = i % 2 ? value : NULL,
                                      .value_len = i % 2 ? sizeof(value) : 0,
                                      .expect = i % 3 ? value : NULL,
                                      .expect_len = i % 3 ? 4 : 0};
    switch (i) {
    case 0:
        *type = MF_SMSG_HELLO;
        mf_smsg_put_hello(wr, &(struct mf_smsg_hello){0x1122334455667788ull, 5, 3000});
        return;
    case 1:
        *type = MF_SMSG_WELCOME;
        mf_smsg_put_welcome(wr, &(struct mf_smsg_welcome){77, 1});
        return;
    case 2:
        *type = MF_SMSG_GOODBYE;
        mf_smsg_put_goodbye(wr, &(struct mf_smsg_goodbye){MF_SMSG_WHY_REFUSED, -1, "not\nnow"});
        return;
    case 3:
        *type = MF_SMSG_WATCH;
        mf_smsg_put_watch(wr, &(struct mf_smsg_watch){1, "pool/", 5});
        return;
    case 4:
        *type = MF_SMSG_REPLY;
        mf_smsg_put_reply(wr, &(struct mf_smsg_reply){4, 0, 1, 2, 3, value, sizeof(value)});
        return;
    case 5:
        *type = MF_SMSG_PART;
        for (size_t k = 0; k < sizeof(items) / sizeof(items[0]); k++) {
            mf_smsg_put_item(wr, &items[k]);
        }
        return;
    case 6:
        *type = MF_SMSG_CANCEL;
        mf_wr_u32(wr, 5);
        return;
    case 7:
        *type = MF_SMSG_EVENTS;
        mf_item_prev_reset(&prev);
        for (size_t k = 0; k < 5; k++) {
            mf_item_put(wr, &prev, &items[k % 3]);
        }
        return;
    default:
        request.op = i == 20 ? MF_SMSG_OP_ANNOUNCE : (uint8_t)(i - 8);
        *type = MF_SMSG_REQUEST;
        mf_smsg_put_request(wr, &request);
        return;
    }
}

size_t fuzz_seed(uint32_t i, uint8_t *buf, size_t cap)
{
    struct mf_buf body;
    struct mf_wr wr;
    if (i > 20) {
        return 0;
    }
    mf_buf_init(&body, cap - 1);
    mf_wr_init(&wr, &body);
    put_seed(i, &wr, buf);
    memcpy(buf + 1, body.data, body.len);
    size_t len = 1 + body.len;
    mf_buf_fini(&body);
    return len;
}
