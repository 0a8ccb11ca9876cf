// SPDX-License-Identifier: Apache-2.0
// Cases of the BM suite: copies in the order of a stream, from and to other ranks, and a peer that
// dies with copies on the stream.
#include "conformance/bm_suite.h"

#include <signal.h>
#include <unistd.h>

#define DEAD_WORD 15 /* 1 + the rank that kills itself */
#define STREAMS   4u
#define ROUNDS    16u
#define PART      65536u

static char bytes[PART], back[PART];

static int copy_on(struct bm_rank *r, mf_device_stream_t stream, void *dst, const void *src,
                   uint64_t size)
{
    smem_copy_params p = {.src = src, .dest = dst, .dataSize = size, .stream = stream};
    return smem_bm_copy(r->pool, &p, SMEMB_COPY_AUTO, SMEM_BM_FLAG_USE_EXTERNAL_STREAM);
}

/* Fill, send to the next rank, take it back, and look at it in a host buffer: all on the stream. */
static void there_and_back(struct bm_rank *r)
{
    mf_device_stream_t stream[STREAMS];
    uint32_t next = (r->rank + 1) % r->ranks;
    for (uint32_t i = 0; i < STREAMS; i++) {
        CHECK_OK(r, mf_device_stream_create(r->dev, &stream[i]));
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < STREAMS; i++) {
            uint64_t mine = r->ld + i * PART, other = r->ld + (STREAMS + i) * PART;
            char *there = (i % 2 ? bm_gd(r, next) : bm_gh(r, next)) + (r->rank * 8 + i) * PART;
            CHECK_OK(r, mf_device_fill_async(stream[i], mine, (uint8_t)(round * 8 + i), PART));
            CHECK_OK(r, copy_on(r, stream[i], there, (void *)(uintptr_t)mine, PART));
            CHECK_OK(r, mf_device_fill_async(stream[i], mine, 0xff, PART)); /* not too early */
            CHECK_OK(r, copy_on(r, stream[i], (void *)(uintptr_t)other, there, PART));
        }
        for (uint32_t i = 0; i < STREAMS; i++) {
            uint64_t other = r->ld + (STREAMS + i) * PART;
            uint64_t host = (uint64_t)(uintptr_t)back;
            CHECK_OK(r, mf_device_copy_async(stream[i], host, other, PART));
            CHECK_OK(r, mf_device_stream_synchronize(stream[i], 20000));
            memset(bytes, (int)(round * 8 + i), PART);
            CHECK(r, memcmp(back, bytes, PART) == 0);
        }
    }
    CHECK_OK(r, smem_bm_wait(r->pool));
    for (uint32_t i = 0; i < STREAMS; i++) {
        CHECK_OK(r, mf_device_stream_destroy(stream[i]));
    }
    bm_barrier(r);
}

/* The streams of the survivor go on at once, and say what was not done. */
static void peer_dies(struct bm_rank *r)
{
    mf_device_stream_t stream[STREAMS];
    if (r->rank == 1) {
        bm_await(r, 0, 1);
        atomic_store(&r->stage->word[DEAD_WORD], r->rank + 1);
        kill(getpid(), SIGKILL);
    }
    for (uint32_t i = 0; i < STREAMS; i++) {
        CHECK_OK(r, mf_device_stream_create(r->dev, &stream[i]));
        CHECK_OK(r, copy_on(r, stream[i], bm_gh(r, 1) + i * PART, bytes, PART));
        CHECK_OK(r, mf_device_stream_synchronize(stream[i], 5000));
    }
    bm_set(r, 0, 1);
    bm_await(r, DEAD_WORD, 1);
    uint64_t before = bm_now_ms();
    int failed = 0;
    while (failed == 0 && bm_now_ms() - before < 2000) {
        for (uint32_t i = 0; i < STREAMS; i++) {
            char *there = i % 2 ? bm_gd(r, 1) : bm_gh(r, 1);
            CHECK_OK(r, copy_on(r, stream[i], there + i * PART, bytes, PART));
        }
        for (uint32_t i = 0; i < STREAMS; i++) {
            int rc = mf_device_stream_synchronize(stream[i], 2000);
            CHECK(r, rc == SMEM_OK || rc == SMEM_NOT_CONNECTED);
            failed += rc == SMEM_NOT_CONNECTED;
        }
    }
    CHECK(r, failed > 0);
    CHECK_RC(r, smem_bm_wait(r->pool), SMEM_NOT_CONNECTED);
    CHECK_SAYS(r, "rank 1");
    CHECK_OK(r, copy_on(r, stream[0], bm_gh(r, 0), bytes, PART)); /* the stream is as it was */
    CHECK_OK(r, mf_device_stream_synchronize(stream[0], 5000));
    r->ranks = 1; /* both have passed one barrier */
}

const struct bm_case bm_stream_cases[] = {
    {.name = "streams: there and back", .ranks = 3, .needs_hbm = true, .fn = there_and_back},
    {.name = "streams: a peer dies", .ranks = 2, .needs_hbm = true, .fn = peer_dies},
    {.name = NULL},
};
