// SPDX-License-Identifier: Apache-2.0
// The growable byte buffer: doubles, from a small first size to the maximum it was given.
#include "base/buf.h"

#include <string.h>

#include "base/alloc.h"
#include "base/err.h"

#define FIRST_CAP 256u

void mf_buf_init(struct mf_buf *buf, size_t max)
{
    *buf = (struct mf_buf){.max = max};
}

void mf_buf_fini(struct mf_buf *buf)
{
    mf_free(buf->data);
    *buf = (struct mf_buf){.max = buf->max};
}

static size_t grown_cap(const struct mf_buf *buf, size_t needed)
{
    size_t cap = buf->cap ? buf->cap : FIRST_CAP;
    while (cap < needed && cap <= buf->max / 2) {
        cap *= 2;
    }
    return cap >= needed && cap <= buf->max ? cap : buf->max;
}

int mf_buf_reserve(struct mf_buf *buf, size_t len, uint8_t **out)
{
    if (len > buf->max - buf->len) {
        return mf_err(SMEM_NO_RESOURCES,
                      "buffer of %zu bytes cannot take %zu more: its maximum is %zu", buf->len, len,
                      buf->max);
    }
    size_t needed = buf->len + len;
    if (needed > buf->cap || !buf->data) {
        size_t cap = grown_cap(buf, needed);
        uint8_t *data = mf_realloc(buf->data, cap, "buffer");
        if (!data) {
            return SMEM_MALLOC_FAILED;
        }
        buf->data = data;
        buf->cap = cap;
    }
    *out = buf->data + buf->len;
    return SMEM_OK;
}

int mf_buf_append(struct mf_buf *buf, const void *data, size_t len)
{
    if (len == 0) {
        return SMEM_OK;
    }
    uint8_t *at;
    int rc = mf_buf_reserve(buf, len, &at);
    if (rc) {
        return rc;
    }
    memcpy(at, data, len);
    buf->len += len;
    return SMEM_OK;
}

void mf_buf_consume(struct mf_buf *buf, size_t len)
{
    MF_ASSERT(len <= buf->len);
    buf->len -= len;
    if (buf->len > 0 && len > 0) {
        memmove(buf->data, buf->data + len, buf->len);
    }
}
