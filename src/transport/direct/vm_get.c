// SPDX-License-Identifier: Apache-2.0
// Reading a peer's segment where its owner has it: the caller's half of copies without a mapping.
#include <errno.h>
#include <inttypes.h>

#include "transport/direct/vm.h"

/* The next `count` spans of a run. */
static void fill_spans(const struct mf_xfer *v, uint32_t count, struct mf_direct_span *spans)
{
    const struct mf_direct_seg *src = v->src_seg->priv;
    for (uint32_t i = 0; i < count; i++) {
        const struct mf_segment *to = v[i].dst_seg;
        spans[i] = (struct mf_direct_span){
            .to = to ? to->host + (v[i].dst - to->desc.gva) : v[i].dst,
            .from = src->there + (v[i].src - v[i].src_seg->desc.gva),
            .size = v[i].size,
        };
    }
}

/* Why an element could not be read. */
static int fail(const struct mf_direct_seg *src, const struct mf_direct_span *span,
                const struct mf_direct_read *how)
{
    const struct mf_direct_peer *peer = src->peer;
    if (how->err != EFAULT) {
        return mf_direct_vm_refusal(peer, how->err);
    }
    if (how->local) {
        return mf_err(SMEM_INVALID_PARAM,
                      "address 0x%" PRIx64 " of this process cannot be written: %" PRIu64
                      " of the %" PRIu64 " bytes from 0x%" PRIx64 " on were copied",
                      span->to + how->bytes, how->bytes, span->size, span->to);
    }
    return mf_err(
        SMEM_NOT_CONNECTED,
        "rank %u (pid %d) has taken its segment %u in pool %u away, or has ended: %" PRIu64
        " of %" PRIu64 " bytes were copied",
        peer->rank, peer->pid, src->seg.desc.index, src->seg.desc.pool, how->bytes, span->size);
}

int mf_direct_vm_get(struct mf_direct *d, struct mf_xfer *v, uint32_t count)
{
    enum { SPANS = 64 };
    struct mf_direct_span spans[SPANS];
    const struct mf_direct_seg *src = v->src_seg->priv;
    const struct mf_direct_peer *peer = src->peer;
    struct mf_err_rec record = {0};
    int first = SMEM_OK;
    for (uint32_t at = 0; at < count;) {
        struct mf_direct_read how;
        uint32_t n = count - at < SPANS ? count - at : SPANS;
        fill_spans(v + at, n, spans);
        mf_direct_vm_read(d, peer->pid, spans, n, &how);
        for (uint32_t i = 0; i < how.whole; i++) {
            v[at + i].status = SMEM_OK;
        }
        if (how.err) {
            v[at + how.whole].status = fail(src, &spans[how.whole], &how);
            if (first == SMEM_OK) {
                first = v[at + how.whole].status;
                mf_err_save(&record);
            }
        }
        at += how.whole + (how.err != 0);
    }
    /* Only now is it certain that the number was that process's all the time. */
    if (mf_direct_peer_ended(peer)) {
        for (uint32_t i = 0; i < count; i++) {
            v[i].status = SMEM_NOT_CONNECTED;
        }
        return mf_direct_vm_refusal(peer, ESRCH);
    }
    if (first) {
        mf_err_restore(&record);
    }
    return first;
}
