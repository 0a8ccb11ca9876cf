// SPDX-License-Identifier: Apache-2.0
// A growable byte buffer with a maximum given at init: no unbounded buffer exists.
#ifndef MF_BASE_BUF_H
#define MF_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct mf_buf {
    uint8_t *data; /* owned; NULL while empty and never grown */
    size_t len;    /* bytes in use, starting at data */
    size_t cap;
    size_t max;
};

void mf_buf_init(struct mf_buf *buf, size_t max);
void mf_buf_fini(struct mf_buf *buf);
/** 0, SMEM_MALLOC_FAILED, or SMEM_NO_RESOURCES when the buffer would pass its maximum. */
int mf_buf_append(struct mf_buf *buf, const void *data, size_t len);
/** Room for `len` more bytes; the pointer is valid until the next call. len is not added. */
int mf_buf_reserve(struct mf_buf *buf, size_t len, uint8_t **out);
/** Drop `len` bytes from the front. */
void mf_buf_consume(struct mf_buf *buf, size_t len);
static inline void mf_buf_clear(struct mf_buf *buf)
{
    buf->len = 0;
}

#endif
