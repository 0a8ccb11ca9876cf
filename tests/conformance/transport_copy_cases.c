// SPDX-License-Identifier: Apache-2.0
// Cases about bytes: every size and alignment, whole words, the edges of a segment, batches, both
// ends remote, device memory.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "transport_suite.h"

#define DRAM  MF_KIND_DRAM
#define HBM   MF_KIND_HBM
#define GUARD 64u

static uint64_t num(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

static struct mf_segment *segment_of(struct ts_rank *r, uint32_t rank, enum mf_mem_kind kind)
{
    struct mf_segment *seg = th_find(&r->th, rank, kind, 0);
    TS_CHECK(r, seg != NULL);
    return seg;
}

static void put(struct ts_rank *r, uint32_t to, uint64_t offset, const void *src, uint64_t size)
{
    TS_RC(r,
          th_copy(&r->th, r->lane, segment_of(r, to, DRAM), th_gva(&r->th, to, DRAM, offset), NULL,
                  num(src), size),
          SMEM_OK);
}

static void get(struct ts_rank *r, uint32_t from, uint64_t offset, void *dst, uint64_t size)
{
    TS_RC(r,
          th_copy(&r->th, r->lane, NULL, num(dst), segment_of(r, from, DRAM),
                  th_gva(&r->th, from, DRAM, offset), size),
          SMEM_OK);
}

static uint64_t look(const void *at, uint32_t size)
{
    return size == 8   ? __atomic_load_n((const uint64_t *)at, __ATOMIC_ACQUIRE)
           : size == 4 ? __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE)
           : size == 2 ? __atomic_load_n((const uint16_t *)at, __ATOMIC_ACQUIRE)
                       : __atomic_load_n((const uint8_t *)at, __ATOMIC_ACQUIRE);
}

/* A reader that looks all the time sees the old word or the new one. */
void ts_words_are_whole(struct ts_rank *r)
{
    static const uint32_t sizes[] = {1, 2, 4, 8};
    const uint64_t last = 0x5555555555555555ull;
    for (int s = 0; s < 4; s++) {
        const void *at = th_ptr(&r->th, 1, DRAM, 4096 + 64u * (uint32_t)s);
        uint64_t mask = sizes[s] == 8 ? UINT64_MAX : (1ull << (8 * sizes[s])) - 1;
        for (int i = 0; r->rank == 0 && i < 3000; i++) {
            uint64_t value = i % 2 ? UINT64_MAX : 0x0101010101010101ull;
            put(r, 1, 4096 + 64u * (uint32_t)s, &value, sizes[s]);
        }
        if (r->rank == 0) {
            put(r, 1, 4096 + 64u * (uint32_t)s, &last, sizes[s]);
        }
        uint64_t seen = 0;
        uint64_t deadline = th_deadline(&r->th, 15000);
        while (r->rank == 1 && seen != (last & mask)) {
            seen = look(at, sizes[s]);
            TS_CHECK(r, seen == 0 || seen == mask || seen == (0x0101010101010101ull & mask) ||
                            seen == (last & mask));
            TS_CHECK(r, mf_now_ns(&r->th.env) < deadline);
        }
    }
    ts_barrier(r);
}

static void one_size(struct ts_rank *r, uint8_t *buf, uint64_t size, uint32_t src_at,
                     uint32_t dst_at)
{
    uint64_t offset = (1ull << 20) + dst_at;
    uint8_t *back = buf + size + 4096;
    uint32_t seed = (uint32_t)size * 31 + src_at;
    ts_pattern(buf + src_at, size, seed);
    memset(back, 0xee, size + 2 * GUARD + 16);
    put(r, 1, offset, buf + src_at, size);
    get(r, 1, offset, back + GUARD + src_at, size);
    TS_CHECK(r, ts_is_pattern(back + GUARD + src_at, size, seed));
    for (uint32_t i = 0; i < GUARD; i++) {
        TS_CHECK(r, back[i + src_at] == 0xee && back[GUARD + src_at + size + i] == 0xee);
    }
}

void ts_sizes_and_alignments(struct ts_rank *r)
{
    static const uint64_t sizes[] = {
        1,  2,   3,   4,   5,   7,    8,    9,    15,   16,    17,     31,      63,           64,
        65, 100, 255, 256, 257, 1000, 2048, 4095, 4096, 65537, 262145, 1 << 20, (1 << 20) + 3};
    static const uint32_t at[] = {0, 1, 3, 8, 13};
    uint64_t most = 16ull << 20;
    uint8_t *buf = malloc(2 * most + 16384);
    TS_CHECK(r, buf != NULL);
    for (size_t i = 0; r->rank == 0 && i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (int a = 0; a < 5; a++) {
            one_size(r, buf, sizes[i], at[a], at[(a + (int)i) % 5]);
        }
    }
    if (r->rank == 0) {
        one_size(r, buf, most, 5, 9);
        one_size(r, buf, most, 0, 0);
    }
    ts_barrier(r);
    if (r->rank == 1) { /* the bytes are where the owner sees them */
        TS_CHECK(r, ts_is_pattern(th_ptr(&r->th, 1, DRAM, 1 << 20), most, (uint32_t)most * 31));
    }
    free(buf);
    ts_barrier(r);
}

void ts_edges_of_a_segment(struct ts_rank *r)
{
    uint8_t *all = malloc(TS_DRAM);
    TS_CHECK(r, all != NULL);
    if (r->rank == 0) {
        ts_pattern(all, TS_DRAM, 1);
        put(r, 1, 0, all, TS_DRAM);
        all[0] ^= 0xff;
        all[TS_DRAM - 1] ^= 0xff;
        put(r, 1, 0, all, 1);
        put(r, 1, TS_DRAM - 1, all + TS_DRAM - 1, 1);
        uint8_t *back = calloc(1, TS_DRAM);
        TS_CHECK(r, back != NULL);
        get(r, 1, 0, back, TS_DRAM);
        TS_CHECK(r, memcmp(back, all, TS_DRAM) == 0);
        get(r, 1, TS_DRAM - 8, back, 8);
        TS_CHECK(r, memcmp(back, all + TS_DRAM - 8, 8) == 0);
        free(back);
    }
    ts_barrier(r);
    if (r->rank == 1) {
        ts_pattern(all, TS_DRAM, 1);
        all[0] ^= 0xff;
        all[TS_DRAM - 1] ^= 0xff;
        TS_CHECK(r, memcmp(th_ptr(&r->th, 1, DRAM, 0), all, TS_DRAM) == 0);
    }
    free(all);
    ts_barrier(r);
}

/* Puts and gets of all sizes in one post, the statuses one by one. */
void ts_batch(struct ts_rank *r)
{
    enum { COUNT = 300, SLOT = 8192 };
    static struct mf_xfer v[COUNT];
    uint8_t *buf = malloc((size_t)COUNT * SLOT);
    TS_CHECK(r, buf != NULL);
    uint32_t peer = 1 - r->rank;
    uint64_t half = r->rank * (TS_DRAM / 2);
    struct mf_segment *seg = segment_of(r, peer, DRAM);
    /* Each has its half of every segment. What will be got lies there first. */
    ts_pattern(th_ptr(&r->th, r->rank, DRAM, TS_DRAM / 2 - half), (uint64_t)COUNT * SLOT, peer);
    ts_barrier(r);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint64_t size = 1 + (i * 2654435761u) % SLOT;
        uint64_t there = th_gva(&r->th, peer, DRAM, half + (uint64_t)i * SLOT);
        uint64_t here = num(buf + (size_t)i * SLOT);
        bool is_get = i % 3 == 0;
        ts_pattern(buf + (size_t)i * SLOT, SLOT, is_get ? 12345 : i);
        v[i] = (struct mf_xfer){.src_seg = is_get ? seg : NULL,
                                .dst_seg = is_get ? NULL : seg,
                                .src = is_get ? there : here,
                                .dst = is_get ? here : there,
                                .size = size,
                                .status = -1};
    }
    TS_RC(r, r->th.ops->post(r->lane, v, COUNT), SMEM_OK);
    TS_RC(r, r->th.ops->wait(r->lane, th_deadline(&r->th, 10000)), SMEM_OK);
    static uint8_t want[(size_t)COUNT * SLOT];
    ts_pattern(want, sizeof(want), r->rank);
    for (uint32_t i = 0; i < COUNT; i++) {
        TS_RC(r, v[i].status, SMEM_OK);
        if (i % 3 == 0) {
            TS_CHECK(r, memcmp(buf + (size_t)i * SLOT, want + (size_t)i * SLOT, v[i].size) == 0);
        }
    }
    ts_barrier(r);
    for (uint32_t i = 0; i < COUNT; i++) {
        const uint8_t *mine =
            th_ptr(&r->th, r->rank, DRAM, TS_DRAM / 2 - half + (uint64_t)i * SLOT);
        TS_CHECK(r, i % 3 == 0 || ts_is_pattern(mine, v[i].size, i));
    }
    free(buf);
    ts_barrier(r);
}

/* Rank 0 moves bytes between two others. */
void ts_third_party(struct ts_rank *r)
{
    if (!(r->th.ops->caps & MF_CAP_THIRD_PARTY)) {
        ts_skip(r, "the transport has no MF_CAP_THIRD_PARTY");
    }
    uint64_t size = (3ull << 20) + 5;
    if (r->rank == 1) {
        ts_pattern(th_ptr(&r->th, 1, DRAM, 100), size, 6);
    }
    ts_barrier(r);
    if (r->rank == 0) {
        TS_RC(r,
              th_copy(&r->th, r->lane, segment_of(r, 2, DRAM), th_gva(&r->th, 2, DRAM, 7),
                      segment_of(r, 1, DRAM), th_gva(&r->th, 1, DRAM, 100), size),
              SMEM_OK);
    }
    ts_barrier(r);
    if (r->rank == 2) {
        TS_CHECK(r, ts_is_pattern(th_ptr(&r->th, 2, DRAM, 7), size, 6));
    }
    ts_barrier(r);
}

/* Host to HBM of rank 1, on to HBM of rank 2, and back to the host of rank 0; then from DRAM to
 * HBM. */
void ts_device_memory(struct ts_rank *r)
{
    if (!(r->th.ops->caps & MF_CAP_DEVICE) || !r->th.dev) {
        ts_skip(r, "the transport has no MF_CAP_DEVICE, or no device was named");
    }
    uint64_t size = (1ull << 20) + 16;
    uint8_t *buf = malloc(size);
    uint8_t *back = calloc(1, size);
    TS_CHECK(r, buf && back);
    if (r->rank == 0) {
        uint64_t first = th_gva(&r->th, 1, HBM, 4096);
        uint64_t second = th_gva(&r->th, 2, HBM, 64);
        struct mf_segment *one = segment_of(r, 1, HBM);
        struct mf_segment *two = segment_of(r, 2, HBM);
        ts_pattern(buf, size, 9);
        TS_RC(r, th_copy(&r->th, r->lane, one, first, NULL, num(buf), size), SMEM_OK);
        TS_RC(r, th_copy(&r->th, r->lane, two, second, one, first, size), SMEM_OK);
        TS_RC(r, th_copy(&r->th, r->lane, NULL, num(back), two, second, size), SMEM_OK);
        TS_CHECK(r, memcmp(buf, back, size) == 0);
        TS_RC(r,
              th_copy(&r->th, r->lane, segment_of(r, 1, DRAM), th_gva(&r->th, 1, DRAM, 0), two,
                      second, size),
              SMEM_OK);
    }
    ts_barrier(r);
    if (r->rank == 1) {
        TS_CHECK(r, ts_is_pattern(th_ptr(&r->th, 1, DRAM, 0), size, 9));
        TS_RC(r,
              th_copy(&r->th, r->lane, NULL, num(back), &r->hbm.segment,
                      th_gva(&r->th, 1, HBM, 4096), size),
              SMEM_OK);
        TS_CHECK(r, ts_is_pattern(back, size, 9));
    }
    free(buf);
    free(back);
    ts_barrier(r);
}
