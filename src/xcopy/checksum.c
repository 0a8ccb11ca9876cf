// SPDX-License-Identifier: Apache-2.0
// Hashing while copying: a chunk of the source is hashed, stored with ordinary stores, and hashed
// again at the target while it is still in the cache. What others have copied is read back through
// the same movers that copied it, so that the fences of transports hold for it, too.
#include "xcopy/checksum.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/err.h"
#include "xcopy/checksum_isa.h"
#include "xcopy/cpu_copy.h"
#include "xcopy/kernels.h"
#include "xcopy/move.h"

#define PLACE_MAX 96u

uint64_t mf_checksum(const void *data, size_t size)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        return mf_checksum_avx2(data, size);
    }
#endif
    return XXH3_64bits(data, size);
}

/* The stores of a chunk would wait for their lines; hashing the source leaves time to fetch them.
 */
static inline void fetch_for_write(const uint8_t *p, size_t size)
{
    for (size_t at = 0; at < size; at += MF_LINE) {
        __builtin_prefetch(p + at, 1, 3);
    }
}

/* At most 8 bytes; what is aligned and fits a register by one load. */
static void load_once(uint64_t *word, const void *src, size_t size)
{
    bool aligned = ((uintptr_t)src & (size - 1)) == 0;
    if (aligned && size == 8) {
        *word = __atomic_load_n((const uint64_t *)src, __ATOMIC_RELAXED);
    } else if (aligned && size == 4) {
        uint32_t half = __atomic_load_n((const uint32_t *)src, __ATOMIC_RELAXED);
        memcpy(word, &half, sizeof(half));
    } else {
        memcpy(word, src, size);
    }
}

bool mf_checksum_copy(void *copier, void *dst, const void *src, size_t size,
                      struct mf_checksum_bad *bad)
{
    uint8_t *to = dst;
    const uint8_t *from = src;
    uint64_t word = 0;
    bool good = true;
    if (size <= sizeof(word)) { /* a word may be written while it is read: it is read once */
        load_once(&word, src, size);
        from = (const uint8_t *)&word;
    }
    for (size_t at = 0; at < size;) {
        size_t step = size - at < MF_CHECKSUM_CHUNK ? size - at : MF_CHECKSUM_CHUNK;
        fetch_for_write(to + at, step);
        uint64_t before = mf_checksum(from + at, step);
        mf_cpu_copy(copier, to + at, from + at, step);
        /* What is hashed next comes from memory, not from what the compiler knows of it. */
        __asm__ volatile("" ::: "memory");
        uint64_t after = mf_checksum(to + at, step);
        if (__builtin_expect(before != after && good, 0)) {
            good = false;
            *bad = (struct mf_checksum_bad){at, step, before, after};
        }
        at += step;
    }
    return good;
}

/* ---- the sentence ---- */

static void describe(const struct mf_layout *layout, const struct mf_segment *seg, uint64_t addr,
                     bool device, char *buf, size_t cap)
{
    if (!seg) {
        snprintf(buf, cap, "at 0x%" PRIx64 " of this process's %s", addr,
                 device ? "device memory" : "memory");
        return;
    }
    enum mf_mem_kind kind = seg->desc.kind == MF_KIND_HBM ? MF_KIND_HBM : MF_KIND_DRAM;
    uint64_t slot = layout ? mf_layout_slot(layout, kind, seg->desc.owner).v : seg->desc.gva;
    snprintf(buf, cap, "at offset 0x%" PRIx64 " of rank %" PRIu32 "'s %s in pool %" PRIu32,
             addr - slot, seg->desc.owner, kind == MF_KIND_HBM ? "HBM" : "DRAM", seg->desc.pool);
}

int mf_checksum_err(const struct mf_layout *layout, const struct mf_xfer *x,
                    const struct mf_checksum_bad *bad)
{
    char src[PLACE_MAX];
    char dst[PLACE_MAX];
    describe(layout, x->src_seg, x->src + bad->offset, x->flags & MF_XFER_SRC_DEV, src,
             sizeof(src));
    describe(layout, x->dst_seg, x->dst + bad->offset, x->flags & MF_XFER_DST_DEV, dst,
             sizeof(dst));
    return mf_err(SMEM_ERROR,
                  "checksum: %" PRIu64 " bytes %s have XXH3 %016" PRIx64
                  ", their source %s had %016" PRIx64
                  ": the source changed during the copy, or somebody else wrote the target at the "
                  "same time, or memory is bad; copy again",
                  bad->size, dst, bad->dst, src, bad->src);
}

/* ---- copies of others ---- */

/* One end of a transfer. */
struct end {
    struct mf_segment *seg;
    uint64_t addr;
    uint32_t dev_flag; /* MF_XFER_SRC_DEV or 0 */
};

/* The sum of some bytes of one end: in place where they are this thread's own, else of a copy. */
static int sum_of(const struct mf_xcopy_space *space, struct mf_lanes *lanes, const struct end *end,
                  uint64_t offset, uint64_t size, uint64_t deadline_ns, uint64_t *sum)
{
    if (!end->seg && !end->dev_flag) {
        *sum = mf_checksum((const void *)(uintptr_t)(end->addr + offset), size);
        return SMEM_OK;
    }
    struct mf_xfer x = {
        .src_seg = end->seg,
        .src = end->addr + offset,
        .size = size,
        .flags = end->dev_flag,
    };
    int rc = mf_move_to_staging(space, lanes, &x, deadline_ns);
    if (rc == SMEM_OK) {
        *sum = mf_checksum(lanes->staging, size);
    }
    return rc;
}

static int verify(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                  const struct mf_xfer *x, uint64_t deadline_ns)
{
    struct end src = {x->src_seg, x->src, x->flags & MF_XFER_SRC_DEV};
    struct end dst = {x->dst_seg, x->dst, x->flags & MF_XFER_DST_DEV ? MF_XFER_SRC_DEV : 0};
    struct mf_checksum_bad bad;
    for (bad.offset = 0; bad.offset < x->size; bad.offset += bad.size) {
        uint64_t left = x->size - bad.offset;
        bad.size = left < MF_STAGING_BYTES ? left : MF_STAGING_BYTES;
        int rc = sum_of(space, lanes, &src, bad.offset, bad.size, deadline_ns, &bad.src);
        rc = rc ? rc : sum_of(space, lanes, &dst, bad.offset, bad.size, deadline_ns, &bad.dst);
        if (rc) {
            return mf_err_in(rc, "checksum: read back what was copied");
        }
        if (bad.src != bad.dst) {
            return mf_checksum_err(&space->table->layout, x, &bad);
        }
    }
    return SMEM_OK;
}

int mf_checksum_verify(const struct mf_xcopy_space *space, struct mf_lanes *lanes,
                       struct mf_xfer *v, uint32_t count, uint64_t deadline_ns)
{
    int first = SMEM_OK;
    struct mf_err_rec err;
    for (uint32_t i = 0; i < count; i++) {
        if (v[i].status != SMEM_OK || (v[i].flags & MF_XFER_CHECKED)) {
            continue;
        }
        deadline_ns = mf_move_deadline(space, deadline_ns);
        v[i].status = verify(space, lanes, &v[i], deadline_ns);
        if (v[i].status && first == SMEM_OK) {
            first = v[i].status;
            mf_err_save(&err);
        }
    }
    if (first != SMEM_OK) {
        mf_err_restore(&err);
    }
    return first;
}
