// SPDX-License-Identifier: Apache-2.0
// What the replay needs of a pool: bytes from there to here and back, one range or many. Behind it
// stands the BM API (fabric_bm.h) or, in tests, memory of one process. An aligned range of 8 bytes
// is moved as a whole; between calls there is order only through their return.
#ifndef MFCLI_REPLAY_FABRIC_H
#define MFCLI_REPLAY_FABRIC_H

#include <stddef.h>
#include <stdint.h>

#define FABRIC_ERROR_BYTES 512u

struct fabric;

/** All required. Results: 0, or -1 with a sentence in error(). Safe from several threads. */
struct fabric_ops {
    int (*get)(struct fabric *fabric, void *to, uint64_t from, size_t bytes);
    int (*put)(struct fabric *fabric, uint64_t to, const void *from, size_t bytes);
    /** `count` ranges; to[] is local, from[] are pool addresses. */
    int (*get_batch)(struct fabric *fabric, void **to, void **from, const uint64_t *bytes,
                     uint32_t count);
    /** `count` ranges; to[] are pool addresses, from[] is local. */
    int (*put_batch)(struct fabric *fabric, void **to, void **from, const uint64_t *bytes,
                     uint32_t count);
    /** The sentence of this thread's last failure. Borrowed until the next one. */
    const char *(*error)(struct fabric *fabric);
};

struct fabric {
    const struct fabric_ops *ops;
    uint32_t rank;
    uint32_t ranks;
    uint64_t *bases;    /* ranks: the pool address where each rank's part begins */
    unsigned char *own; /* this rank's part, for the CPU */
};

static inline int fabric_get(struct fabric *f, void *to, uint32_t rank, size_t offset, size_t bytes)
{
    return f->ops->get(f, to, f->bases[rank] + offset, bytes);
}

static inline int fabric_put(struct fabric *f, uint32_t rank, size_t offset, const void *from,
                             size_t bytes)
{
    return f->ops->put(f, f->bases[rank] + offset, from, bytes);
}

static inline void *fabric_address(const struct fabric *f, uint32_t rank, size_t offset)
{
    return (void *)(uintptr_t)(f->bases[rank] + offset);
}

#endif
