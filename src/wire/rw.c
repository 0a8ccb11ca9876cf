// SPDX-License-Identifier: Apache-2.0
// The bounded reader and the writer. Numbers are put together byte by byte, so that neither
// alignment nor the byte order of the machine matters; compilers make one load or store of it.
#include "wire/rw.h"

#include <string.h>

#include "base/err.h"

void mf_rd_init(struct mf_rd *rd, const void *data, size_t len)
{
    rd->at = data != NULL ? data : (const void *)""; /* arithmetic on NULL is undefined */
    rd->end = rd->at + len;
    rd->bad = false;
}

/* A fault that the fuzz tests have to find, see tests/fuzz. */
#ifdef MF_PLANTED_OFF_BY_ONE
#define PLANTED 1u
#else
#define PLANTED 0u
#endif

const void *mf_rd_bytes(struct mf_rd *rd, size_t len)
{
    if (rd->bad || len > (size_t)(rd->end - rd->at) + PLANTED) {
        rd->bad = true;
        return NULL;
    }
    const uint8_t *at = rd->at;
    rd->at += len;
    return at;
}

static uint64_t read_le(struct mf_rd *rd, size_t bytes)
{
    const uint8_t *at = mf_rd_bytes(rd, bytes);
    uint64_t value = 0;
    if (at == NULL)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

uint8_t mf_rd_u8(struct mf_rd *rd)
{
    return (uint8_t)read_le(rd, 1);
}

uint16_t mf_rd_u16(struct mf_rd *rd)
{
    return (uint16_t)read_le(rd, 2);
}

uint32_t mf_rd_u32(struct mf_rd *rd)
{
    return (uint32_t)read_le(rd, 4);
}

uint64_t mf_rd_u64(struct mf_rd *rd)
{
    return read_le(rd, 8);
}

uint32_t mf_rd_varint(struct mf_rd *rd)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 32; shift += 7) {
        uint32_t byte = mf_rd_u8(rd);
        uint32_t bits = byte & 0x7f;
        if ((bits << shift) >> shift != bits || (byte == 0 && shift > 0))
            break;
        value |= bits << shift;
        if (byte < 0x80)
            return rd->bad ? 0 : value;
    }
    rd->bad = true;
    return 0;
}

const void *mf_rd_blob(struct mf_rd *rd, size_t max, size_t *len)
{
    size_t want = mf_rd_u32(rd);
    *len = 0;
    if (want > max)
        rd->bad = true;
    const void *at = mf_rd_bytes(rd, want);
    if (at != NULL)
        *len = want;
    return at;
}

const char *mf_rd_text(struct mf_rd *rd, size_t len)
{
    const char *at = mf_rd_bytes(rd, len);
    const uint8_t *nul = mf_rd_bytes(rd, 1);
    if (at == NULL || nul == NULL || *nul != 0 || memchr(at, 0, len) != NULL) {
        rd->bad = true;
        return NULL;
    }
    return at;
}

const char *mf_rd_text16(struct mf_rd *rd, size_t max, size_t *len)
{
    size_t want = mf_rd_u16(rd);
    *len = 0;
    if (want > max)
        rd->bad = true;
    const char *at = mf_rd_text(rd, want);
    if (at != NULL)
        *len = want;
    return at;
}

void mf_wr_init(struct mf_wr *wr, struct mf_buf *buf)
{
    wr->buf = buf;
    wr->rc = SMEM_OK;
}

void mf_wr_bytes(struct mf_wr *wr, const void *data, size_t len)
{
    if (wr->rc == SMEM_OK && len > 0)
        wr->rc = mf_buf_append(wr->buf, data, len);
}

static void write_le(struct mf_wr *wr, uint64_t value, size_t bytes)
{
    uint8_t le[8];
    for (size_t i = 0; i < bytes; i++)
        le[i] = (uint8_t)(value >> (8 * i));
    mf_wr_bytes(wr, le, bytes);
}

void mf_wr_u8(struct mf_wr *wr, uint8_t value)
{
    write_le(wr, value, 1);
}

void mf_wr_u16(struct mf_wr *wr, uint16_t value)
{
    write_le(wr, value, 2);
}

void mf_wr_u32(struct mf_wr *wr, uint32_t value)
{
    write_le(wr, value, 4);
}

void mf_wr_u64(struct mf_wr *wr, uint64_t value)
{
    write_le(wr, value, 8);
}

void mf_wr_varint(struct mf_wr *wr, uint32_t value)
{
    while (value >= 0x80) {
        mf_wr_u8(wr, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    mf_wr_u8(wr, (uint8_t)value);
}

void mf_wr_blob(struct mf_wr *wr, const void *data, size_t len)
{
    mf_wr_u32(wr, (uint32_t)len);
    mf_wr_bytes(wr, data, len);
}

void mf_wr_text(struct mf_wr *wr, const char *text, size_t len)
{
    mf_wr_bytes(wr, text, len);
    mf_wr_u8(wr, 0);
}

void mf_wr_text16(struct mf_wr *wr, const char *text, size_t len)
{
    mf_wr_u16(wr, (uint16_t)len);
    mf_wr_text(wr, text, len);
}

void mf_put_u32(uint8_t *at, uint32_t value)
{
    for (size_t i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}
