// SPDX-License-Identifier: Apache-2.0
// Many copies between the same two places, on the calling thread: the addresses are computed as the
// blocks are copied, so that nothing is written or read for a block but its bytes. Announced and
// checked run by run, as single copies are.
#include <string.h>

#include "transport/direct/internal.h"

#define RUN_COUNT_MAX 1024u          /* copies between two checks */
#define RUN_BYTES_MAX (16ull << 20)  /* bytes between two checks: an owner never waits long */
#define BULK_BYTES    (256ull << 10) /* so many bytes go past the cache */
#define BULK_PART_MIN 1024u
#define NAMED_BYTES   (1ull << 20)
#define SMALL_MAX     2048u /* by memcpy, else by the host's copy */
#define LINE          64u
#define AHEAD         8u /* blocks that are fetched ahead */

_Static_assert((uint64_t)RUN_COUNT_MAX *SMALL_MAX <= RUN_BYTES_MAX, "a run of small blocks fits");

/* The copies as they lie in this process. */
struct walk {
    const struct mf_xfer_many *many;
    const struct mf_transport_host *host;
    uintptr_t dst; /* the bases; they may lie anywhere, the sums do not */
    uintptr_t src;
    bool bulk;
    bool small; /* copy_small does it */
};

static uint64_t base_of(const struct mf_segment *segment, uint64_t addr)
{
    return segment ? segment->host - segment->desc.gva + addr : addr;
}

static inline uint64_t size_at(const struct mf_xfer_many *m, uint32_t i)
{
    return m->sizes ? m->sizes[i] : m->size;
}

static inline void *dst_at(const struct walk *w, uint32_t i)
{
    const struct mf_xfer_many *m = w->many;
    uint64_t offset = m->dst_offsets ? m->dst_offsets[i] : i * m->dst_stride;
    return (void *)(w->dst + (uintptr_t)offset);
}

static inline const void *src_at(const struct walk *w, uint32_t i)
{
    const struct mf_xfer_many *m = w->many;
    uint64_t offset = m->src_offsets ? m->src_offsets[i] : i * m->src_stride;
    return (const void *)(w->src + (uintptr_t)offset);
}

static inline void copy_block(const struct walk *w, void *dst, const void *src, uint64_t size)
{
    if (size <= 8 && mf_direct_copy_word(dst, src, size)) {
        return;
    }
    if (size <= SMALL_MAX) {
        memcpy(dst, src, size);
    } else if (w->bulk && size >= BULK_PART_MIN) {
        w->host->copy_bulk(w->host->arg, dst, src, size);
    } else {
        w->host->copy(w->host->arg, dst, src, size);
    }
}

/* Small blocks of one size. Where arrays tell the places, the processor cannot guess the next ones:
 * they are fetched ahead. `src` and `dst` are constants NULL, or the arrays; `size` may be a
 * constant too. */
static inline __attribute__((always_inline)) void copy_even(const struct walk *w, uint32_t first,
                                                            uint32_t end, const uint64_t *src,
                                                            const uint64_t *dst, size_t size)
{
    const struct mf_xfer_many *m = w->many;
    uint32_t last = end - 1;
    for (uint32_t i = first; i < end; i++) {
        uint32_t next = last - i < AHEAD ? last : i + AHEAD;
        if (src) {
            __builtin_prefetch((const void *)(w->src + src[next]), 0);
        }
        if (dst) {
            __builtin_prefetch((const void *)(w->dst + dst[next]), 1);
        }
        memcpy((void *)(w->dst + (dst ? dst[i] : i * m->dst_stride)),
               (const void *)(w->src + (src ? src[i] : i * m->src_stride)), size);
    }
}

static inline __attribute__((always_inline)) void copy_placed(const struct walk *w, uint32_t first,
                                                              uint32_t end, size_t size)
{
    const struct mf_xfer_many *m = w->many;
    if (m->src_offsets && m->dst_offsets) {
        copy_even(w, first, end, m->src_offsets, m->dst_offsets, size);
    } else if (m->src_offsets) {
        copy_even(w, first, end, m->src_offsets, NULL, size);
    } else if (m->dst_offsets) {
        copy_even(w, first, end, NULL, m->dst_offsets, size);
    } else {
        copy_even(w, first, end, NULL, NULL, size);
    }
}

/* A cache line is the commonest row: a call of memcpy takes longer than its moves. */
static void copy_small(const struct walk *w, uint32_t first, uint32_t end)
{
    if (w->many->size == LINE) {
        copy_placed(w, first, end, LINE);
    } else {
        copy_placed(w, first, end, w->many->size);
    }
}

/* The blocks from `first` on that make a run; the block after it in *end. The first one may be
 * larger than a run. */
static void copy_run(const struct walk *w, uint32_t first, uint32_t *end)
{
    const struct mf_xfer_many *m = w->many;
    uint32_t last = m->count - first < RUN_COUNT_MAX ? m->count : first + RUN_COUNT_MAX;
    uint64_t bytes = 0;
    uint32_t i = first;
    if (w->small) {
        copy_small(w, first, last);
        *end = last;
        return;
    }
    do {
        uint64_t size = size_at(m, i);
        copy_block(w, dst_at(w, i), src_at(w, i), size);
        bytes += size;
        i++;
    } while (i < last && bytes + size_at(m, i) <= RUN_BYTES_MAX);
    *end = i;
}

/* One block that is larger than a run: in pieces, checked between. */
static bool copy_long(const struct mf_direct_lane *lane, const struct walk *w, uint32_t i)
{
    const struct mf_xfer_many *m = w->many;
    char *dst = dst_at(w, i);
    const char *src = src_at(w, i);
    uint64_t size = size_at(m, i);
    uint64_t step;
    for (uint64_t done = 0; done < size; done += step) {
        step = size - done < RUN_BYTES_MAX ? size - done : RUN_BYTES_MAX;
        w->host->copy(w->host->arg, dst + done, src + done, step);
        if (!mf_direct_run_valid(lane, m->src_seg, m->dst_seg)) {
            return false;
        }
    }
    return true;
}

static bool on_device(const struct mf_xfer_many *m)
{
    return m->flags || (m->src_seg && m->src_seg->desc.kind == MF_KIND_HBM) ||
           (m->dst_seg && m->dst_seg->desc.kind == MF_KIND_HBM);
}

static int copy_all(const struct mf_direct_lane *lane, struct mf_xfer_many *m, const struct walk *w)
{
    while (m->done < m->count) {
        uint32_t end = m->done;
        bool ok = mf_direct_run_enter(lane, m->src_seg, m->dst_seg);
        if (ok && size_at(m, m->done) > RUN_BYTES_MAX) {
            end = m->done + 1;
            ok = copy_long(lane, w, m->done);
        } else if (ok) {
            copy_run(w, m->done, &end);
            ok = mf_direct_run_valid(lane, m->src_seg, m->dst_seg);
        }
        mf_direct_run_leave(lane);
        m->begun = end;
        if (!ok) {
            return mf_direct_run_refused(lane, m->src_seg, m->dst_seg);
        }
        m->done = end;
    }
    return SMEM_OK;
}

int mf_direct_post_many(void *arg, struct mf_xfer_many *m)
{
    const struct mf_direct_lane *lane = arg;
    m->done = 0;
    m->begun = 0;
    if (on_device(m) || !mf_direct_lane_plain(lane) || (m->src_seg && !m->src_seg->host) ||
        (m->dst_seg && !m->dst_seg->host)) {
        return SMEM_NOT_EXIST;
    }
    struct walk w = {
        .many = m,
        .host = mf_direct_lane_host(lane),
        .dst = (uintptr_t)base_of(m->dst_seg, m->dst),
        .src = (uintptr_t)base_of(m->src_seg, m->src),
        .bulk = m->count > 1 && m->bytes >= BULK_BYTES,
        .small = !m->sizes && m->size > 8 && m->size <= SMALL_MAX,
    };
    bool named = m->bytes >= NAMED_BYTES;
    if (named) {
        mf_direct_run_name(lane, true);
    }
    int rc = copy_all(lane, m, &w);
    if (named) {
        mf_direct_run_name(lane, false);
    }
    return rc;
}
