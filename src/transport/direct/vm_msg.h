// SPDX-License-Identifier: Apache-2.0
// What is said on a connection by which a process has the owner of a segment pull bytes out of the
// caller's memory: requests and their answers. Little-endian, fixed layout, versioned, checked as a
// whole before anything of them is used. Pure functions over bytes.
#ifndef MF_TRANSPORT_DIRECT_VM_MSG_H
#define MF_TRANSPORT_DIRECT_VM_MSG_H

#include <stddef.h>
#include <stdint.h>

#define MF_DIRECT_PULL_PIECES 256u          /* of one request */
#define MF_DIRECT_PULL_BYTES  (16ull << 20) /* of all pieces of one request */
#define MF_DIRECT_PULL_TEXT   383u
#define MF_DIRECT_PULL_HEAD   56u
#define MF_DIRECT_PULL_PIECE  24u
#define MF_DIRECT_PULL_MAX    (MF_DIRECT_PULL_HEAD + MF_DIRECT_PULL_PIECES * MF_DIRECT_PULL_PIECE)
#define MF_DIRECT_DONE_HEAD   32u
#define MF_DIRECT_DONE_CODE   4u
#define MF_DIRECT_DONE_MAX \
    (MF_DIRECT_DONE_HEAD + MF_DIRECT_PULL_PIECES * MF_DIRECT_DONE_CODE + MF_DIRECT_PULL_TEXT)

/** One stretch of bytes: from `src` of the caller to `offset` of the segment. */
struct mf_direct_piece {
    uint64_t src;    /* address in the caller's process */
    uint64_t offset; /* bytes, of the segment */
    uint64_t size;   /* bytes, 1..MF_DIRECT_PULL_BYTES */
};

/** A request; answered by one mf_direct_done with its number, in the order of requests. */
struct mf_direct_pull {
    uint32_t rank; /* of the caller */
    uint32_t index;
    uint64_t incarnation; /* of the caller */
    uint64_t epoch;       /* of the segment */
    uint64_t number;      /* 1, 2, ... on each connection */
    uint32_t count;       /* pieces, 1..MF_DIRECT_PULL_PIECES */
    struct mf_direct_piece v[MF_DIRECT_PULL_PIECES];
};

struct mf_direct_done {
    uint64_t number;
    int32_t code;   /* 0: all pieces are in the segment; else the first failure */
    uint32_t count; /* codes that follow: 0 when code is 0, else one for each piece */
    int32_t codes[MF_DIRECT_PULL_PIECES];
    char text[MF_DIRECT_PULL_TEXT + 1]; /* the sentence of the first failure */
};

/** Each returns the length; `buf` has MF_DIRECT_PULL_MAX or MF_DIRECT_DONE_MAX bytes. */
size_t mf_direct_pull_encode(const struct mf_direct_pull *pull, uint8_t *buf);
size_t mf_direct_done_encode(const struct mf_direct_done *done, uint8_t *buf);
/** SMEM_INVALID_PARAM with what is wrong; then the target is not to be used. */
int mf_direct_pull_decode(const uint8_t *buf, size_t len, struct mf_direct_pull *pull);
int mf_direct_done_decode(const uint8_t *buf, size_t len, struct mf_direct_done *done);

#endif
