// SPDX-License-Identifier: Apache-2.0
// Frames on a byte stream: an 8-byte header (magic, version, type, length), the collector that
// makes frames of whatever pieces arrive, and the queue of bytes to send. Both ends of the store
// use it.
#ifndef MF_WIRE_FRAME_H
#define MF_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"

#define MF_FRAME_MAGIC   0x4du
#define MF_FRAME_VERSION 2u
#define MF_FRAME_HEADER  8u /* u8 magic, u8 version, u8 type, u8 zero, u32 length of the body */

/** One whole frame. False ends the feed: what follows is dropped. */
typedef bool (*mf_frame_fn)(void *arg, uint8_t type, const uint8_t *body, size_t len);

/** Collects frames. It holds at most one incomplete frame, and memory only for bytes that arrived.
 */
struct mf_framer {
    struct mf_buf part;
    size_t body_max;
};

void mf_framer_init(struct mf_framer *framer, size_t body_max);
void mf_framer_fini(struct mf_framer *framer);
/** Drop an incomplete frame. */
void mf_framer_reset(struct mf_framer *framer);
/** Call fn for every frame that is now whole. SMEM_INVALID_PARAM with a sentence when the header is
 *  not one (magic, version, length above body_max): the stream cannot be used any more. Also
 *  SMEM_MALLOC_FAILED. body_max may be raised by fn. */
int mf_framer_feed(struct mf_framer *framer, const uint8_t *data, size_t len, mf_frame_fn fn,
                   void *arg);

/** Bytes that wait to be sent, with a maximum. */
struct mf_outq {
    struct mf_buf buf;
    size_t off;  /* bytes of buf that were sent already */
    size_t open; /* where the frame being written begins */
};

void mf_outq_init(struct mf_outq *queue, size_t max);
void mf_outq_fini(struct mf_outq *queue);
void mf_outq_clear(struct mf_outq *queue);
/** What is to be sent; valid until the queue changes. */
size_t mf_outq_peek(const struct mf_outq *queue, const uint8_t **data);
void mf_outq_sent(struct mf_outq *queue, size_t len);

struct mf_wr;
/** Begin a frame: its header is written, `wr` appends the body. Frames do not nest. */
void mf_outq_begin(struct mf_outq *queue, uint8_t type, struct mf_wr *wr);
/** Fill in the length. On failure the frame's bytes are taken back and wr->rc is returned. */
int mf_outq_end(struct mf_outq *queue, struct mf_wr *wr);
/** Put more into the last frame of the queue, which begins at queue->open and of which nothing was
 *  sent. On failure nothing has changed. */
int mf_outq_extend(struct mf_outq *queue, const void *data, size_t len);

#endif
