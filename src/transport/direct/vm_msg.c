// SPDX-License-Identifier: Apache-2.0
// Encoding and decoding of requests to pull and of their answers. A decoder accepts exactly what
// its encoder makes of a valid message.
#include "transport/direct/vm_msg.h"

#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"

#define PULL_MAGIC   0x50464d44u /* "DMFP" */
#define DONE_MAGIC   0x44464d44u /* "DMFD" */
#define PULL_VERSION 1u

static uint8_t *put(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        *at++ = (uint8_t)(value >> (8 * i));
    }
    return at;
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

size_t mf_direct_pull_encode(const struct mf_direct_pull *pull, uint8_t *buf)
{
    uint8_t *at = put(buf, PULL_MAGIC, 4);
    at = put(at, PULL_VERSION, 4);
    at = put(at, pull->rank, 4);
    at = put(at, pull->index, 4);
    at = put(at, pull->incarnation, 8);
    at = put(at, pull->epoch, 8);
    at = put(at, pull->number, 8);
    at = put(at, pull->count, 4);
    at = put(at, 0, 4);
    at = put(at, 0, 8);
    for (uint32_t i = 0; i < pull->count; i++) {
        at = put(at, pull->v[i].src, 8);
        at = put(at, pull->v[i].offset, 8);
        at = put(at, pull->v[i].size, 8);
    }
    return (size_t)(at - buf);
}

static int check_version(const char *what, uint32_t magic, uint32_t want, uint32_t version)
{
    if (magic == want && version == PULL_VERSION) {
        return SMEM_OK;
    }
    return mf_err(SMEM_INVALID_PARAM,
                  "%s: magic 0x%x, version %u; this library speaks version %u: all processes of a "
                  "host need the same one",
                  what, magic, version, PULL_VERSION);
}

static int get_pieces(const uint8_t *in, struct mf_direct_pull *pull)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < pull->count; i++) {
        struct mf_direct_piece *piece = &pull->v[i];
        piece->src = get(&in, 8);
        piece->offset = get(&in, 8);
        piece->size = get(&in, 8);
        if (piece->size == 0 || piece->size > MF_DIRECT_PULL_BYTES || piece->src == 0 ||
            piece->src + piece->size < piece->src || piece->offset + piece->size < piece->offset) {
            return mf_err(SMEM_INVALID_PARAM,
                          "request to pull: piece %u of %" PRIu64 " bytes from 0x%" PRIx64
                          " is malformed",
                          i, piece->size, piece->src);
        }
        total += piece->size;
    }
    if (total > MF_DIRECT_PULL_BYTES) {
        return mf_err(SMEM_INVALID_PARAM,
                      "request to pull: %" PRIu64 " bytes, at most %" PRIu64 " are allowed", total,
                      (uint64_t)MF_DIRECT_PULL_BYTES);
    }
    return SMEM_OK;
}

int mf_direct_pull_decode(const uint8_t *buf, size_t len, struct mf_direct_pull *pull)
{
    const uint8_t *in = buf;
    if (len < MF_DIRECT_PULL_HEAD || len > MF_DIRECT_PULL_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "request to pull: %zu bytes are not %u..%u", len,
                      MF_DIRECT_PULL_HEAD, MF_DIRECT_PULL_MAX);
    }
    uint32_t magic = (uint32_t)get(&in, 4);
    int rc = check_version("request to pull", magic, PULL_MAGIC, (uint32_t)get(&in, 4));
    if (rc) {
        return rc;
    }
    pull->rank = (uint32_t)get(&in, 4);
    pull->index = (uint32_t)get(&in, 4);
    pull->incarnation = get(&in, 8);
    pull->epoch = get(&in, 8);
    pull->number = get(&in, 8);
    pull->count = (uint32_t)get(&in, 4);
    uint64_t reserved = get(&in, 4) | get(&in, 8);
    if (pull->rank >= MF_WORLD_MAX || pull->index >= MF_SEGMENTS_MAX || pull->incarnation == 0 ||
        pull->epoch == 0 || pull->number == 0 || reserved || pull->count == 0 ||
        pull->count > MF_DIRECT_PULL_PIECES ||
        len != MF_DIRECT_PULL_HEAD + pull->count * MF_DIRECT_PULL_PIECE) {
        return mf_err(SMEM_INVALID_PARAM,
                      "request to pull: %zu bytes, rank %u, segment %u, %u pieces: malformed", len,
                      pull->rank, pull->index, pull->count);
    }
    return get_pieces(in, pull);
}

size_t mf_direct_done_encode(const struct mf_direct_done *done, uint8_t *buf)
{
    size_t text_len = strnlen(done->text, MF_DIRECT_PULL_TEXT);
    uint8_t *at = put(buf, DONE_MAGIC, 4);
    at = put(at, PULL_VERSION, 4);
    at = put(at, done->number, 8);
    at = put(at, (uint32_t)done->code, 4);
    at = put(at, done->count, 4);
    at = put(at, text_len, 4);
    at = put(at, 0, 4);
    for (uint32_t i = 0; i < done->count; i++) {
        at = put(at, (uint32_t)done->codes[i], 4);
    }
    memcpy(at, done->text, text_len);
    return (size_t)(at - buf) + text_len;
}

int mf_direct_done_decode(const uint8_t *buf, size_t len, struct mf_direct_done *done)
{
    const uint8_t *in = buf;
    if (len < MF_DIRECT_DONE_HEAD || len > MF_DIRECT_DONE_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "answer to a pull: %zu bytes are not %u..%u", len,
                      MF_DIRECT_DONE_HEAD, MF_DIRECT_DONE_MAX);
    }
    uint32_t magic = (uint32_t)get(&in, 4);
    int rc = check_version("answer to a pull", magic, DONE_MAGIC, (uint32_t)get(&in, 4));
    if (rc) {
        return rc;
    }
    done->number = get(&in, 8);
    done->code = (int32_t)(uint32_t)get(&in, 4);
    done->count = (uint32_t)get(&in, 4);
    uint32_t text_len = (uint32_t)get(&in, 4);
    uint32_t reserved = (uint32_t)get(&in, 4);
    if (done->number == 0 || done->code > 0 || reserved || done->count > MF_DIRECT_PULL_PIECES ||
        text_len > MF_DIRECT_PULL_TEXT || (done->code == 0) != (done->count == 0) ||
        (done->code == 0 && text_len) ||
        len != MF_DIRECT_DONE_HEAD + done->count * MF_DIRECT_DONE_CODE + text_len) {
        return mf_err(SMEM_INVALID_PARAM, "answer to a pull: %zu bytes, %u codes: malformed", len,
                      done->count);
    }
    for (uint32_t i = 0; i < done->count; i++) {
        done->codes[i] = (int32_t)(uint32_t)get(&in, 4);
        if (done->codes[i] > 0) {
            return mf_err(SMEM_INVALID_PARAM, "answer to a pull: code %d", done->codes[i]);
        }
    }
    if (memchr(in, '\0', text_len)) {
        return mf_err(SMEM_INVALID_PARAM, "answer to a pull: a sentence of %u bytes has a NUL",
                      text_len);
    }
    memcpy(done->text, in, text_len);
    done->text[text_len] = '\0';
    return SMEM_OK;
}
