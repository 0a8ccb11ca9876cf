// SPDX-License-Identifier: Apache-2.0
// What the guide of the demo asks of its ranks and what they answer: one datagram each way, over a
// socket pair between the two processes. Also the bytes by which all copies are checked.
#ifndef MFCLI_DEMO_ASK_H
#define MFCLI_DEMO_ASK_H

#include <stddef.h>
#include <stdint.h>

#define DEMO_RANKS      4u
#define DEMO_TEXT_BYTES 768u
#define DEMO_VALUES     8u

enum demo_op {
    DEMO_INIT,    /* text: URL; a[0]: rank, a[1]: device */
    DEMO_POOL,    /* a[0]: bytes, a[1]: most; creates and joins. v: where the ranks' parts begin */
    DEMO_TEXT,    /* put the text at offset a[1] of rank a[0] */
    DEMO_LOAD,    /* the text at offset a[1] of rank a[0], by a pointer */
    DEMO_FILL,    /* a[2] bytes at offset a[1] of the own part, by stores, pattern a[3] */
    DEMO_PUT,     /* pattern a[3], a[2] bytes, to offset a[1] of rank a[0], a[4] times. v[0]: ns */
    DEMO_CHECK,   /* a[2] bytes at offset a[1] of rank a[0], by loads. v[0]: wrong bytes */
    DEMO_GATHER,  /* a[0] rows of a[1] bytes of each other rank, one batch; the same prepared.
                   * v: ns, wrong bytes, ns of the prepared one */
    DEMO_PARTIAL, /* a batch one of whose elements is wrong. v[0..3]: codes; v[4]: wrong bytes */
    DEMO_BEYOND,  /* a put behind what rank a[0] gave, a[1]: its size. text: the sentence */
    DEMO_ASYNC,   /* a[0] copies of a[1] bytes to rank a[2]. v: ns to queue, to wait, wrong bytes */
    DEMO_REQUEST, /* as DEMO_ASYNC, as one request. v: ns to submit, to its end, wrong, polls */
    DEMO_GROW,    /* a[0] bytes more in the own part */
    DEMO_STORM,   /* copy to rank a[0] until it fails, and to rank a[1]; answers twice */
    DEMO_DEVICE,  /* a[0]: bytes of device memory, pool 1. v: where the parts begin */
    DEMO_AROUND,  /* host to rank 1's device memory, to rank 3's, back. v: wrong bytes */
    DEMO_LEAVE,
    DEMO_OPS
};

struct demo_ask {
    uint32_t op;
    uint32_t fault; /* spoil a byte before it is checked: the check must notice */
    uint64_t a[DEMO_VALUES];
    char text[DEMO_TEXT_BYTES];
};

struct demo_answer {
    int32_t rc;
    uint64_t v[DEMO_VALUES];
    char text[DEMO_TEXT_BYTES]; /* the library's sentence after a failure */
};

/** The byte that belongs to position `at` of pattern `seed`; no two neighbours follow a rule. */
static inline unsigned char demo_byte(uint64_t seed, size_t at)
{
    uint64_t x = (seed << 32) + at + 0x9e3779b97f4a7c15u;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    return (unsigned char)(x >> 56);
}

#endif
