// SPDX-License-Identifier: Apache-2.0
// Cases about post_many: every form of offsets, strides and sizes lands as single copies would, and
// a segment that is withdrawn ends it as it ends them.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "transport_suite.h"

#define DRAM    MF_KIND_DRAM
#define BLOCKS  3000u
#define SOURCES (20u << 20)

static uint64_t num(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

/* Optional: a transport without it, or one that does not do this sort, is left out. */
static void need_many(struct ts_rank *r)
{
    struct mf_segment *seg = r->rank == 0 ? th_find(&r->th, 1, DRAM, 0) : NULL;
    uint64_t word = 1;
    struct mf_xfer_many m = {.dst_seg = seg, .src = num(&word), .size = 8, .bytes = 8, .count = 1};
    if (r->th.ops->post_many == NULL) {
        ts_skip(r, "the transport has no post_many");
    }
    if (r->rank == 0) {
        m.dst = seg->desc.gva;
        atomic_store(&r->shared->word[7],
                     r->th.ops->post_many(r->lane, &m) == SMEM_NOT_EXIST ? 1 : 2);
    }
    ts_barrier(r);
    if (atomic_load(&r->shared->word[7]) == 1) {
        ts_skip(r, "the transport does not copy many blocks to a peer's DRAM at once");
    }
}

static uint64_t size_at(const struct mf_xfer_many *m, uint32_t i)
{
    return m->sizes ? m->sizes[i] : m->size;
}

static uint64_t at(const uint64_t *offsets, uint64_t stride, uint32_t i)
{
    return offsets ? offsets[i] : i * stride;
}

/* Write by post_many, read back as one, compare block by block. */
static void check_many(struct ts_rank *r, struct mf_segment *seg, const uint8_t *from,
                       struct mf_xfer_many m, uint8_t *back)
{
    uint64_t end = 0;
    m.dst_seg = seg;
    m.src = num(from);
    m.dst = seg->desc.gva;
    m.bytes = 0;
    for (uint32_t i = 0; i < m.count; i++) {
        uint64_t last = at(m.dst_offsets, m.dst_stride, i) + size_at(&m, i);
        end = last > end ? last : end;
        m.bytes += size_at(&m, i);
    }
    memset(back, 0xEE, end);
    TS_RC(r, th_copy(&r->th, r->lane, seg, seg->desc.gva, NULL, num(back), end), SMEM_OK);
    TS_RC(r, r->th.ops->post_many(r->lane, &m), SMEM_OK);
    TS_CHECK(r, m.done == m.count && m.begun == m.count);
    TS_RC(r, th_copy(&r->th, r->lane, NULL, num(back), seg, seg->desc.gva, end), SMEM_OK);
    for (uint32_t i = 0; i < m.count; i++) {
        uint8_t *block = back + at(m.dst_offsets, m.dst_stride, i);
        TS_CHECK(r, memcmp(block, from + at(m.src_offsets, m.src_stride, i), size_at(&m, i)) == 0);
        memset(block, 0xEE, size_at(&m, i));
    }
    for (uint64_t k = 0; k < end; k++) {
        TS_CHECK(r, back[k] == 0xEE); /* and nothing beside them */
    }
}

void ts_many(struct ts_rank *r)
{
    static uint64_t src[BLOCKS], dst[BLOCKS], sizes[BLOCKS];
    static const uint64_t some[] = {1, 2, 4, 8, 9, 64, 333, 2048, 2049, 6000};
    need_many(r);
    if (r->rank == 0) {
        struct mf_segment *seg = th_find(&r->th, 1, DRAM, 0);
        uint8_t *from = malloc(SOURCES);
        uint8_t *back = malloc(TS_DRAM);
        TS_CHECK(r, from != NULL && back != NULL);
        ts_pattern(from, SOURCES, 3);
        for (size_t s = 0; s < sizeof(some) / sizeof(some[0]); s++) {
            uint64_t size = some[s];
            uint64_t step = size > 2048 ? 6100 : 2304;
            for (uint32_t i = 0; i < BLOCKS; i++) {
                src[i] = (i * 977u % BLOCKS) * step + (size % 3);
                dst[i] = (i * 1231u % BLOCKS) * step + (size % 8 ? 5 : 0);
                sizes[i] = 1 + i % size;
            }
            struct mf_xfer_many m = {.count = BLOCKS, .size = size};
            m.src_offsets = src;
            m.dst_offsets = dst;
            check_many(r, seg, from, m, back);
            m.src_offsets = NULL;
            m.src_stride = size;
            check_many(r, seg, from, m, back);
            m.dst_offsets = NULL;
            m.dst_stride = step;
            m.sizes = sizes;
            check_many(r, seg, from, m, back);
            m.src_offsets = src;
            m.sizes = NULL;
            check_many(r, seg, from, m, back);
        }
        /* Blocks that are larger than what is fenced at once, among small ones. */
        uint64_t large_src[3] = {100, 1000, 7};
        uint64_t large_dst[3] = {0, 20ull << 20, 100};
        uint64_t large[3] = {50, 3 << 20, (18 << 20) + 13};
        check_many(
            r, seg, from,
            (struct mf_xfer_many){
                .count = 3, .src_offsets = large_src, .dst_offsets = large_dst, .sizes = large},
            back);
        free(from);
        free(back);
    }
    ts_barrier(r);
}

static int other_copies(struct ts_rank *r)
{
    return atomic_load(&r->shared->word[1]) > 20;
}

/* A rank writes many blocks without a pause; the owner withdraws. From then on nothing lands, and
 * what is reported as done had landed before. */
void ts_many_ends_with_its_segment(struct ts_rank *r)
{
    need_many(r);
    if (r->rank == 1) {
        uint8_t *own = th_ptr(&r->th, 1, DRAM, 0);
        TS_CHECK(r, ts_soon(other_copies, r));
        TS_RC(r, r->th.ops->withdraw(r->th.tp, &r->dram.segment, th_deadline(&r->th, 5000)),
              SMEM_OK);
        atomic_store(&r->shared->word[0], 1);
        memset(own, 0x5a, 1 << 20);
        for (int i = 0; i < 20; i++) {
            for (uint32_t k = 0; k < 1 << 20; k++) {
                TS_CHECK(r, own[k] == 0x5a);
            }
        }
    } else {
        struct mf_segment *seg = th_find(&r->th, 1, DRAM, 0);
        uint8_t *from = calloc(1, 1 << 20);
        TS_CHECK(r, seg != NULL && from != NULL);
        int rc = SMEM_OK;
        struct mf_xfer_many m = {.dst_seg = seg,
                                 .src = num(from),
                                 .dst = seg->desc.gva,
                                 .src_stride = 64,
                                 .dst_stride = 64,
                                 .size = 48,
                                 .bytes = 16384 * 48,
                                 .count = 16384};
        while (rc == SMEM_OK) {
            bool over = atomic_load(&r->shared->word[0]);
            rc = r->th.ops->post_many(r->lane, &m);
            TS_CHECK(r, rc != SMEM_OK || !over);
            TS_CHECK(r, rc != SMEM_OK || m.done == m.count);
            atomic_fetch_add(&r->shared->word[1], 1);
        }
        TS_RC(r, rc, SMEM_NOT_CONNECTED);
        TS_CHECK(r, strstr(mf_err_msg(), "rank 1") != NULL);
        TS_CHECK(r, m.done <= m.begun && m.begun <= m.count && m.done < m.count);
        TS_RC(r, r->th.ops->post_many(r->lane, &m), SMEM_NOT_CONNECTED);
        TS_CHECK(r, m.done == 0 && m.begun == 0);
        free(from);
    }
    ts_barrier(r);
}
