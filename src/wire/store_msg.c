// SPDX-License-Identifier: Apache-2.0
// Encoding and decoding of the store's messages. Keys travel with a NUL behind them, so that a
// decoded message lends its key as C text without a copy.
#include "wire/store_msg.h"

#include <string.h>

#include "base/err.h"

/* A key's length is sent in 14 bits: longer ones than MF_KEY_MAX can be told from rubbish. */
#define KEY_BITS 14u
_Static_assert(MF_KEY_MAX < (1u << KEY_BITS), "a key's length fits its field");

static void put_optional(struct mf_wr *wr, const void *data, size_t len)
{
    if (data == NULL)
        mf_wr_u32(wr, MF_SMSG_NONE);
    else
        mf_wr_blob(wr, data, len);
}

/* NULL with rd good: none was sent. An empty value is not NULL. */
static const void *get_optional(struct mf_rd *rd, size_t *len)
{
    struct mf_rd ahead = *rd;
    *len = 0;
    if (mf_rd_u32(&ahead) == MF_SMSG_NONE && !ahead.bad) {
        *rd = ahead;
        return NULL;
    }
    return mf_rd_blob(rd, MF_FRAME_MAX, len);
}

static int malformed(const char *what, size_t len)
{
    return mf_err(SMEM_INVALID_PARAM, "a %s message of %zu bytes is malformed", what, len);
}

void mf_smsg_put_hello(struct mf_wr *wr, const struct mf_smsg_hello *msg)
{
    mf_wr_u64(wr, MF_SMSG_HELLO_MAGIC);
    mf_wr_u64(wr, msg->session_id);
    mf_wr_u64(wr, msg->prev_boot);
    mf_wr_u32(wr, msg->session_ms);
}

int mf_smsg_get_hello(const uint8_t *body, size_t len, struct mf_smsg_hello *out)
{
    struct mf_rd rd;
    mf_rd_init(&rd, body, len);
    uint64_t magic = mf_rd_u64(&rd);
    out->session_id = mf_rd_u64(&rd);
    out->prev_boot = mf_rd_u64(&rd);
    out->session_ms = mf_rd_u32(&rd);
    if (!mf_rd_done(&rd) || magic != MF_SMSG_HELLO_MAGIC || out->session_id == 0)
        return malformed("HELLO", len);
    return SMEM_OK;
}

void mf_smsg_put_welcome(struct mf_wr *wr, const struct mf_smsg_welcome *msg)
{
    mf_wr_u64(wr, msg->boot_id);
    mf_wr_u8(wr, msg->restored);
}

int mf_smsg_get_welcome(const uint8_t *body, size_t len, struct mf_smsg_welcome *out)
{
    struct mf_rd rd;
    mf_rd_init(&rd, body, len);
    out->boot_id = mf_rd_u64(&rd);
    out->restored = mf_rd_u8(&rd);
    if (!mf_rd_done(&rd) || out->boot_id == 0 || out->restored > 1)
        return malformed("WELCOME", len);
    return SMEM_OK;
}

void mf_smsg_put_goodbye(struct mf_wr *wr, const struct mf_smsg_goodbye *msg)
{
    size_t len = strlen(msg->msg);
    mf_wr_u8(wr, msg->why);
    mf_wr_u32(wr, (uint32_t)msg->rc);
    mf_wr_blob(wr, msg->msg, len < MF_SMSG_TEXT_MAX ? len : MF_SMSG_TEXT_MAX - 1);
}

int mf_smsg_get_goodbye(const uint8_t *body, size_t len, struct mf_smsg_goodbye *out,
                        char text[MF_SMSG_TEXT_MAX])
{
    struct mf_rd rd;
    size_t text_len;
    mf_rd_init(&rd, body, len);
    out->why = mf_rd_u8(&rd);
    out->rc = (int32_t)mf_rd_u32(&rd);
    const char *msg = mf_rd_blob(&rd, MF_SMSG_TEXT_MAX - 1, &text_len);
    if (!mf_rd_done(&rd) || out->why < MF_SMSG_WHY_CLOSED || out->why > MF_SMSG_WHY_PROTOCOL ||
        out->rc > 0)
        return malformed("GOODBYE", len);
    for (size_t i = 0; i < text_len; i++)
        text[i] = msg[i] >= ' ' && msg[i] <= '~' ? msg[i] : '?';
    text[text_len] = '\0';
    out->msg = text;
    return SMEM_OK;
}

void mf_smsg_put_request(struct mf_wr *wr, const struct mf_smsg_request *msg)
{
    mf_wr_u32(wr, msg->id);
    mf_wr_u8(wr, msg->op);
    mf_wr_u8(wr, msg->flags);
    mf_wr_text16(wr, msg->key, msg->key_len);
    mf_wr_u64(wr, msg->number);
    put_optional(wr, msg->value, msg->value_len);
    put_optional(wr, msg->expect, msg->expect_len);
}

int mf_smsg_get_request(const uint8_t *body, size_t len, struct mf_smsg_request *out)
{
    struct mf_rd rd;
    mf_rd_init(&rd, body, len);
    out->id = mf_rd_u32(&rd);
    out->op = mf_rd_u8(&rd);
    out->flags = mf_rd_u8(&rd);
    out->key = mf_rd_text16(&rd, UINT16_MAX, &out->key_len);
    out->number = mf_rd_u64(&rd);
    out->value = get_optional(&rd, &out->value_len);
    out->expect = get_optional(&rd, &out->expect_len);
    if (!mf_rd_done(&rd))
        return malformed("REQUEST", len);
    if (out->key_len > MF_KEY_MAX)
        return mf_err(SMEM_NO_RESOURCES, "the key has %zu bytes, the limit is %u", out->key_len,
                      MF_KEY_MAX);
    if (out->value_len > MF_VALUE_MAX || out->expect_len > MF_VALUE_MAX)
        return mf_err(SMEM_NO_RESOURCES, "a value has %zu bytes, the limit is %u",
                      out->value_len > out->expect_len ? out->value_len : out->expect_len,
                      MF_VALUE_MAX);
    return SMEM_OK;
}

void mf_smsg_put_watch(struct mf_wr *wr, const struct mf_smsg_watch *msg)
{
    mf_wr_u32(wr, msg->id);
    mf_wr_text16(wr, msg->prefix, msg->prefix_len);
}

int mf_smsg_get_watch(const uint8_t *body, size_t len, struct mf_smsg_watch *out)
{
    struct mf_rd rd;
    mf_rd_init(&rd, body, len);
    out->id = mf_rd_u32(&rd);
    out->prefix = mf_rd_text16(&rd, MF_KEY_MAX, &out->prefix_len);
    return mf_rd_done(&rd) ? SMEM_OK : malformed("WATCH", len);
}

void mf_smsg_put_reply(struct mf_wr *wr, const struct mf_smsg_reply *msg)
{
    mf_wr_u32(wr, msg->id);
    mf_wr_u32(wr, (uint32_t)msg->rc);
    mf_wr_u8(wr, msg->swapped);
    mf_wr_u64(wr, msg->number);
    mf_wr_u64(wr, msg->rev);
    put_optional(wr, msg->value, msg->value_len);
}

int mf_smsg_get_reply(const uint8_t *body, size_t len, struct mf_smsg_reply *out)
{
    struct mf_rd rd;
    mf_rd_init(&rd, body, len);
    out->id = mf_rd_u32(&rd);
    out->rc = (int32_t)mf_rd_u32(&rd);
    out->swapped = mf_rd_u8(&rd);
    out->number = mf_rd_u64(&rd);
    out->rev = mf_rd_u64(&rd);
    out->value = get_optional(&rd, &out->value_len);
    if (!mf_rd_done(&rd) || out->rc > 0 || out->swapped > 1 || out->value_len > MF_VALUE_MAX)
        return malformed("REPLY", len);
    return SMEM_OK;
}

int mf_smsg_get_id(const uint8_t *body, size_t len, uint32_t *id)
{
    struct mf_rd rd;
    mf_rd_init(&rd, body, len);
    *id = mf_rd_u32(&rd);
    return mf_rd_done(&rd) ? SMEM_OK : malformed("CANCEL or UNWATCH", len);
}

void mf_smsg_put_item(struct mf_wr *wr, const struct mf_smsg_item *item)
{
    mf_wr_u16(wr, (uint16_t)(item->key_len | ((unsigned)item->kind << KEY_BITS)));
    mf_wr_u32(wr, (uint32_t)item->value_len);
    mf_wr_text(wr, item->key, item->key_len);
    mf_wr_bytes(wr, item->value, item->value_len);
}

bool mf_smsg_get_item(struct mf_rd *rd, struct mf_smsg_item *out)
{
    if (mf_rd_left(rd) == 0)
        return false;
    unsigned head = mf_rd_u16(rd);
    size_t value_len = mf_rd_u32(rd);
    out->key_len = head & ((1u << KEY_BITS) - 1);
    out->kind = (enum mf_smsg_kind)(head >> KEY_BITS);
    if (out->key_len == 0 || out->key_len > MF_KEY_MAX || head >> KEY_BITS > MF_SMSG_EXPIRE ||
        value_len > MF_VALUE_MAX || (out->kind != MF_SMSG_PUT && value_len != 0))
        rd->bad = true;
    out->key = mf_rd_text(rd, out->key_len);
    out->value = mf_rd_bytes(rd, value_len);
    out->value_len = value_len;
    return !rd->bad;
}

int mf_smsg_check_items(struct mf_rd rd, size_t *count)
{
    struct mf_smsg_item item;
    size_t len = mf_rd_left(&rd);
    *count = 0;
    while (mf_smsg_get_item(&rd, &item))
        (*count)++;
    return mf_rd_done(&rd) ? SMEM_OK : malformed("list of keys", len);
}
