// SPDX-License-Identifier: Apache-2.0
// Cutting a byte stream into frames, and queueing frames for sending. A header is judged as soon as
// its eight bytes are there, before anything is allocated for the body.
#include "wire/frame.h"

#include "base/err.h"
#include "wire/rw.h"

/* Sent bytes are cut off the front once they are more than half of the buffer and worth moving. */
#define COMPACT_MIN (64u * 1024u)

struct header {
    uint8_t type;
    size_t len;
};

static int parse_header(const struct mf_framer *framer, const uint8_t *data, struct header *out)
{
    struct mf_rd rd;
    mf_rd_init(&rd, data, MF_FRAME_HEADER);
    uint8_t magic = mf_rd_u8(&rd);
    uint8_t version = mf_rd_u8(&rd);
    out->type = mf_rd_u8(&rd);
    uint8_t zero = mf_rd_u8(&rd);
    out->len = mf_rd_u32(&rd);
    if (magic != MF_FRAME_MAGIC || zero != 0)
        return mf_err(SMEM_INVALID_PARAM,
                      "the bytes %02x %02x %02x %02x do not begin a frame of the store protocol",
                      magic, version, out->type, zero);
    if (version != MF_FRAME_VERSION)
        return mf_err(SMEM_INVALID_PARAM,
                      "the peer speaks version %u of the store protocol, this end version %u",
                      version, MF_FRAME_VERSION);
    if (out->len > framer->body_max)
        return mf_err(SMEM_INVALID_PARAM, "a frame of type %u has %zu bytes, the limit is %zu here",
                      out->type, out->len, framer->body_max);
    return SMEM_OK;
}

void mf_framer_init(struct mf_framer *framer, size_t body_max)
{
    mf_buf_init(&framer->part, MF_FRAME_HEADER + MF_FRAME_MAX);
    framer->body_max = body_max;
}

void mf_framer_fini(struct mf_framer *framer)
{
    mf_buf_fini(&framer->part);
}

void mf_framer_reset(struct mf_framer *framer)
{
    mf_buf_fini(&framer->part);
    mf_buf_init(&framer->part, MF_FRAME_HEADER + MF_FRAME_MAX);
}

/* Move up to `upto - part.len` bytes into the incomplete frame. */
static int collect(struct mf_framer *framer, size_t upto, const uint8_t **data, size_t *len)
{
    size_t take = upto - framer->part.len;
    if (take > *len)
        take = *len;
    int rc = mf_buf_append(&framer->part, *data, take);
    if (rc != SMEM_OK)
        return rc;
    *data += take;
    *len -= take;
    return SMEM_OK;
}

/* Continue the incomplete frame; *more tells whether to go on with the rest of the input. */
static int feed_part(struct mf_framer *framer, const uint8_t **data, size_t *len, mf_frame_fn fn,
                     void *arg, bool *more)
{
    struct header head;
    int rc;
    if (framer->part.len < MF_FRAME_HEADER) {
        rc = collect(framer, MF_FRAME_HEADER, data, len);
        if (rc != SMEM_OK || framer->part.len < MF_FRAME_HEADER)
            return rc;
    }
    rc = parse_header(framer, framer->part.data, &head);
    if (rc != SMEM_OK)
        return rc;
    size_t whole = MF_FRAME_HEADER + head.len;
    if (framer->part.len < whole) {
        rc = collect(framer, whole, data, len);
        if (rc != SMEM_OK || framer->part.len < whole)
            return rc;
    }
    *more = fn(arg, head.type, framer->part.data + MF_FRAME_HEADER, head.len);
    if (framer->part.cap > COMPACT_MIN)
        mf_framer_reset(framer);
    else
        mf_buf_clear(&framer->part);
    return SMEM_OK;
}

int mf_framer_feed(struct mf_framer *framer, const uint8_t *data, size_t len, mf_frame_fn fn,
                   void *arg)
{
    bool more = true;
    int rc = SMEM_OK;
    while (len > 0 && more && rc == SMEM_OK) {
        struct header head;
        if (framer->part.len == 0 && len >= MF_FRAME_HEADER) {
            rc = parse_header(framer, data, &head);
            if (rc != SMEM_OK)
                return rc;
            if (len - MF_FRAME_HEADER >= head.len) { /* whole in the input: no copy */
                more = fn(arg, head.type, data + MF_FRAME_HEADER, head.len);
                data += MF_FRAME_HEADER + head.len;
                len -= MF_FRAME_HEADER + head.len;
                continue;
            }
        }
        rc = feed_part(framer, &data, &len, fn, arg, &more);
    }
    return rc;
}

void mf_outq_init(struct mf_outq *queue, size_t max)
{
    mf_buf_init(&queue->buf, max);
    queue->off = 0;
    queue->open = 0;
}

void mf_outq_fini(struct mf_outq *queue)
{
    mf_buf_fini(&queue->buf);
}

void mf_outq_clear(struct mf_outq *queue)
{
    size_t max = queue->buf.max;
    mf_buf_fini(&queue->buf);
    mf_outq_init(queue, max);
}

size_t mf_outq_peek(const struct mf_outq *queue, const uint8_t **data)
{
    *data = queue->buf.data == NULL ? NULL : queue->buf.data + queue->off;
    return queue->buf.len - queue->off;
}

void mf_outq_sent(struct mf_outq *queue, size_t len)
{
    queue->off += len;
    MF_ASSERT(queue->off <= queue->buf.len);
    if (queue->off == queue->buf.len) {
        queue->off = 0;
        if (queue->buf.cap > COMPACT_MIN)
            mf_outq_clear(queue);
        else
            mf_buf_clear(&queue->buf);
    } else if (queue->off > COMPACT_MIN && queue->off > queue->buf.len / 2) {
        mf_buf_consume(&queue->buf, queue->off);
        queue->off = 0;
    }
}

void mf_outq_begin(struct mf_outq *queue, uint8_t type, struct mf_wr *wr)
{
    queue->open = queue->buf.len;
    mf_wr_init(wr, &queue->buf);
    mf_wr_u8(wr, MF_FRAME_MAGIC);
    mf_wr_u8(wr, MF_FRAME_VERSION);
    mf_wr_u8(wr, type);
    mf_wr_u8(wr, 0);
    mf_wr_u32(wr, 0);
}

int mf_outq_end(struct mf_outq *queue, struct mf_wr *wr)
{
    if (wr->rc != SMEM_OK) {
        queue->buf.len = queue->open;
        return wr->rc;
    }
    size_t body = queue->buf.len - queue->open - MF_FRAME_HEADER;
    if (body > MF_FRAME_MAX) {
        queue->buf.len = queue->open;
        return mf_err(SMEM_INVALID_PARAM, "a frame of %zu bytes is longer than the limit of %u",
                      body, MF_FRAME_MAX);
    }
    mf_put_u32(queue->buf.data + queue->open + 4, (uint32_t)body);
    return SMEM_OK;
}

int mf_outq_extend(struct mf_outq *queue, const void *data, size_t len)
{
    size_t body = queue->buf.len - queue->open - MF_FRAME_HEADER + len;
    MF_ASSERT(queue->off <= queue->open && body <= MF_FRAME_MAX);
    int rc = mf_buf_append(&queue->buf, data, len);
    if (rc == SMEM_OK)
        mf_put_u32(queue->buf.data + queue->open + 4, (uint32_t)body);
    return rc;
}
