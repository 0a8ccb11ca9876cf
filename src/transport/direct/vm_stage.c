// SPDX-License-Identifier: Apache-2.0
// Copies for which one step is not enough, because neither end is mapped here or the other one is
// the device's: piece by piece by way of memory of this process, while wait may wait.
#include "base/alloc.h"
#include "transport/direct/vm.h"
#include "transport/direct/vm_lane.h"

#define STAGE_BYTES (1ull << 20)

int mf_direct_vm_stage(struct mf_direct *d, struct mf_direct_vm_lane **vm, struct mf_xfer *v,
                       uint32_t count)
{
    int rc = mf_direct_vm_lane_get(d, vm);
    if (rc == SMEM_OK) {
        rc = mf_direct_vm_runs_add(&(*vm)->staged, &(*vm)->staged_count, &(*vm)->staged_cap, 0, v,
                                   count);
    }
    for (uint32_t i = 0; i < count; i++) {
        v[i].status = rc ? rc : MF_XFER_PENDING;
    }
    return rc;
}

/* One copy; `buf` has STAGE_BYTES, aligned. */
static int stage(const struct mf_xfer *x, void *buf, void *lane, mf_direct_vm_half_fn half,
                 uint64_t deadline_ns)
{
    int rc = SMEM_OK;
    for (uint64_t done = 0; rc == SMEM_OK && done < x->size;) {
        uint64_t left = x->size - done;
        struct mf_xfer in = {.src_seg = x->src_seg,
                             .src = x->src + done,
                             .dst = (uintptr_t)buf,
                             .size = left < STAGE_BYTES ? left : STAGE_BYTES,
                             .flags = x->flags & MF_XFER_SRC_DEV,
                             .status = MF_XFER_PENDING};
        struct mf_xfer out = {.dst_seg = x->dst_seg,
                              .src = (uintptr_t)buf,
                              .dst = x->dst + done,
                              .size = in.size,
                              .flags = x->flags & MF_XFER_DST_DEV,
                              .status = MF_XFER_PENDING};
        rc = half(lane, &in, deadline_ns);
        rc = rc ? rc : half(lane, &out, deadline_ns);
        done += in.size;
    }
    return rc;
}

void mf_direct_vm_run_staged(struct mf_direct_vm_lane *vm, void *lane, mf_direct_vm_half_fn half,
                             uint64_t deadline_ns)
{
    uint32_t count = vm ? vm->staged_count : 0;
    if (count == 0) {
        return;
    }
    void *buf = mf_alloc_aligned(4096, STAGE_BYTES, "copies between two peers");
    for (uint32_t r = 0; r < count; r++) {
        const struct mf_direct_vm_run *run = &vm->staged[r];
        for (uint32_t i = 0; i < run->count; i++) {
            run->v[i].status =
                buf ? stage(&run->v[i], buf, lane, half, deadline_ns) : SMEM_MALLOC_FAILED;
        }
    }
    vm->staged_count = 0;
    mf_free(buf);
}
