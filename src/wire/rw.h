// SPDX-License-Identifier: Apache-2.0
// The one bounded reader and the one writer of every byte format: fixed little-endian numbers and
// counted bytes. An error sticks: callers read a whole message and ask once at its end.
#ifndef MF_WIRE_RW_H
#define MF_WIRE_RW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/** Reads from borrowed bytes. After the first read that does not fit, `bad` stays true and every
 * read gives zero or NULL. */
struct mf_rd {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

void mf_rd_init(struct mf_rd *rd, const void *data, size_t len);
uint8_t mf_rd_u8(struct mf_rd *rd);
uint16_t mf_rd_u16(struct mf_rd *rd);
uint32_t mf_rd_u32(struct mf_rd *rd);
uint64_t mf_rd_u64(struct mf_rd *rd);
/** 7 bits a byte, lowest first, at most 32 in all; longer than it need be is an error. */
uint32_t mf_rd_varint(struct mf_rd *rd);
/** `len` bytes, borrowed from the input; NULL when fewer are left. */
const void *mf_rd_bytes(struct mf_rd *rd, size_t len);
/** A u32 length and as many bytes; a length above `max` is an error. `*len` is 0 on error. */
const void *mf_rd_blob(struct mf_rd *rd, size_t max, size_t *len);
/** `len` bytes and a NUL behind them, none inside: usable as C text in place. */
const char *mf_rd_text(struct mf_rd *rd, size_t len);
/** A u16 length and text as above; a length above `max` is an error. */
const char *mf_rd_text16(struct mf_rd *rd, size_t max, size_t *len);
static inline size_t mf_rd_left(const struct mf_rd *rd)
{
    return rd->bad ? 0 : (size_t)(rd->end - rd->at);
}
/** Nothing was bad and nothing is left over. */
static inline bool mf_rd_done(const struct mf_rd *rd)
{
    return !rd->bad && rd->at == rd->end;
}

/** Appends to a buffer; the first failure (memory, the buffer's maximum) sticks in `rc`. */
struct mf_wr {
    struct mf_buf *buf;
    int rc;
};

void mf_wr_init(struct mf_wr *wr, struct mf_buf *buf);
void mf_wr_u8(struct mf_wr *wr, uint8_t value);
void mf_wr_u16(struct mf_wr *wr, uint16_t value);
void mf_wr_u32(struct mf_wr *wr, uint32_t value);
void mf_wr_u64(struct mf_wr *wr, uint64_t value);
void mf_wr_varint(struct mf_wr *wr, uint32_t value);
void mf_wr_bytes(struct mf_wr *wr, const void *data, size_t len);
void mf_wr_blob(struct mf_wr *wr, const void *data, size_t len);
/** The bytes of the text and one NUL. */
void mf_wr_text(struct mf_wr *wr, const char *text, size_t len);
void mf_wr_text16(struct mf_wr *wr, const char *text, size_t len);

/** Store a u32 into bytes that were written before. */
void mf_put_u32(uint8_t *at, uint32_t value);

#endif
