// SPDX-License-Identifier: Apache-2.0
// Encoding and decoding of the messages. The decoder accepts exactly what the encoder makes of a
// valid message: lengths must add up, reserved fields are 0, and a segment must be its sender's
// own.
#include "transport/direct/msg.h"

#include <string.h>

#include "base/err.h"
#include "base/limits.h"

#define MSG_MAGIC   0x4d46444du
#define MSG_VERSION 2u
#define SEG_HAS_FD  1u
#define SEG_KEEP    2u

struct cursor {
    uint8_t *at;
};

static void put(struct cursor *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        *out->at++ = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get(const uint8_t **in, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value |= (uint64_t)(*in)[i] << (8 * i);
    }
    *in += bytes;
    return value;
}

static void put_segment(struct cursor *out, const struct mf_direct_msg_seg *seg)
{
    const struct mf_segment_desc *desc = &seg->desc;
    put(out, desc->gva, 8);
    put(out, desc->size, 8);
    put(out, desc->epoch, 8);
    put(out, desc->incarnation, 8);
    put(out, desc->pool, 4);
    put(out, desc->owner, 4);
    put(out, desc->index, 4);
    put(out, desc->kind, 4);
    put(out, seg->fd_offset, 8);
    put(out, seg->host, 8);
    put(out, (seg->has_fd ? SEG_HAS_FD : 0) | (seg->keep ? SEG_KEEP : 0), 4);
    put(out, 0, 4);
}

static int get_segment(const uint8_t **in, const struct mf_direct_msg *msg,
                       struct mf_direct_msg_seg *seg)
{
    struct mf_segment_desc *desc = &seg->desc;
    desc->gva = get(in, 8);
    desc->size = get(in, 8);
    desc->epoch = get(in, 8);
    desc->incarnation = get(in, 8);
    desc->pool = (uint32_t)get(in, 4);
    desc->owner = (uint32_t)get(in, 4);
    desc->index = (uint32_t)get(in, 4);
    desc->kind = (uint32_t)get(in, 4);
    seg->fd_offset = get(in, 8);
    seg->host = get(in, 8);
    uint32_t flags = (uint32_t)get(in, 4);
    uint32_t reserved = (uint32_t)get(in, 4);
    seg->has_fd = (flags & SEG_HAS_FD) != 0;
    seg->keep = (flags & SEG_KEEP) != 0;
    if (desc->size == 0 || desc->gva + desc->size < desc->gva || desc->epoch == 0 ||
        desc->index >= MF_SEGMENTS_MAX || desc->kind >= MF_KIND_COUNT ||
        seg->fd_offset + desc->size < seg->fd_offset || seg->host + desc->size < seg->host ||
        (flags & ~(SEG_HAS_FD | SEG_KEEP)) || reserved) {
        return mf_err(SMEM_INVALID_PARAM, "message: segment %u of kind %u is malformed",
                      desc->index, desc->kind);
    }
    if (desc->owner != msg->rank || desc->incarnation != msg->incarnation ||
        desc->pool != msg->pool) {
        return mf_err(SMEM_INVALID_PARAM,
                      "message: rank %u announces segment %u of rank %u in pool %u", msg->rank,
                      desc->index, desc->owner, desc->pool);
    }
    return SMEM_OK;
}

size_t mf_direct_msg_encode(const struct mf_direct_msg *msg, uint8_t *buf)
{
    struct cursor out = {buf};
    size_t text_len = msg->type == MF_DIRECT_REFUSE ? strnlen(msg->text, MF_DIRECT_MSG_TEXT) : 0;
    put(&out, MSG_MAGIC, 4);
    put(&out, MSG_VERSION, 2);
    put(&out, msg->type, 2);
    put(&out, msg->rank, 4);
    put(&out, msg->pool, 4);
    put(&out, msg->world_id, 8);
    put(&out, msg->incarnation, 8);
    put(&out, msg->to, 8);
    memcpy(out.at, msg->token, MF_DIRECT_MSG_TOKEN);
    out.at += MF_DIRECT_MSG_TOKEN;
    put(&out, (uint32_t)msg->code, 4);
    put(&out, msg->flags, 4);
    put(&out, msg->count, 4);
    put(&out, text_len, 4);
    for (uint32_t i = 0; i < msg->count; i++) {
        put_segment(&out, &msg->segs[i]);
    }
    memcpy(out.at, msg->text, text_len);
    return (size_t)(out.at - buf) + text_len;
}

/* What must hold between the fields of the head. */
static int check_head(const struct mf_direct_msg *msg, size_t text_len, size_t len)
{
    bool known = msg->type >= MF_DIRECT_HELLO && msg->type <= MF_DIRECT_PULL;
    bool carries = msg->type <= MF_DIRECT_MORE;
    bool refuses = msg->type == MF_DIRECT_REFUSE;
    if (!known || msg->rank >= MF_WORLD_MAX || msg->pool >= MF_POOLS_MAX || msg->incarnation == 0 ||
        msg->count > MF_DIRECT_MSG_SEGMENTS || text_len > MF_DIRECT_MSG_TEXT ||
        (msg->flags & ~(MF_DIRECT_LAST | MF_DIRECT_READS)) ||
        (!carries && (msg->count || msg->flags)) || (!refuses && (msg->code || text_len)) ||
        (refuses && msg->code >= 0) ||
        len != MF_DIRECT_MSG_HEAD + msg->count * MF_DIRECT_MSG_SEG + text_len) {
        return mf_err(SMEM_INVALID_PARAM,
                      "message: %zu bytes, type %u, rank %u, pool %u, %u segments: malformed", len,
                      (unsigned)msg->type, msg->rank, msg->pool, msg->count);
    }
    return SMEM_OK;
}

int mf_direct_msg_decode(const uint8_t *buf, size_t len, struct mf_direct_msg *msg)
{
    const uint8_t *in = buf;
    if (len < MF_DIRECT_MSG_HEAD || len > MF_DIRECT_MSG_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "message: %zu bytes are not %u..%u", len,
                      MF_DIRECT_MSG_HEAD, MF_DIRECT_MSG_MAX);
    }
    uint32_t magic = (uint32_t)get(&in, 4);
    uint32_t version = (uint32_t)get(&in, 2);
    if (magic != MSG_MAGIC || version != MSG_VERSION) {
        return mf_err(SMEM_INVALID_PARAM,
                      "message: magic 0x%x, version %u; this library speaks version %u", magic,
                      version, MSG_VERSION);
    }
    msg->type = (enum mf_direct_msg_type)get(&in, 2);
    msg->rank = (uint32_t)get(&in, 4);
    msg->pool = (uint32_t)get(&in, 4);
    msg->world_id = get(&in, 8);
    msg->incarnation = get(&in, 8);
    msg->to = get(&in, 8);
    memcpy(msg->token, in, MF_DIRECT_MSG_TOKEN);
    in += MF_DIRECT_MSG_TOKEN;
    msg->code = (int32_t)(uint32_t)get(&in, 4);
    msg->flags = (uint32_t)get(&in, 4);
    msg->count = (uint32_t)get(&in, 4);
    size_t text_len = get(&in, 4);
    int rc = check_head(msg, text_len, len);
    for (uint32_t i = 0; rc == SMEM_OK && i < msg->count; i++) {
        rc = get_segment(&in, msg, &msg->segs[i]);
    }
    if (rc == SMEM_OK) {
        memcpy(msg->text, in, text_len);
        msg->text[text_len] = '\0';
    }
    return rc;
}

uint32_t mf_direct_msg_fds(const struct mf_direct_msg *msg)
{
    uint32_t fds = msg->type == MF_DIRECT_HELLO || msg->type == MF_DIRECT_WELCOME;
    for (uint32_t i = 0; i < msg->count; i++) {
        fds += msg->segs[i].has_fd;
    }
    return fds;
}
