// SPDX-License-Identifier: Apache-2.0
// What a batch was prepared for: the segments that its first compilation met. Another life of their
// owner, or another epoch of the same memory, makes the batch void; memory that new bases lead to,
// and that it was not prepared for, does not.
#include <inttypes.h>

#include "xcopy/prepared.h"

static const struct mf_prep_id *find_id(const struct mf_prep *prep, uint32_t owner, uint32_t kind)
{
    for (uint32_t i = 0; i < prep->id_count; i++) {
        if (prep->ids[i].owner == owner && prep->ids[i].kind == kind) {
            return &prep->ids[i];
        }
    }
    return NULL;
}

static int refuse_changed(const struct mf_prep *prep, const struct mf_xcopy_space *space,
                          const struct mf_prep_id *id)
{
    return mf_err(SMEM_NOT_CONNECTED,
                  "rank %" PRIu32 " has left pool %" PRIu32 " or died since the batch of %" PRIu32
                  " elements was prepared%s: prepare it again",
                  id->owner, space->pool, prep->count,
                  id->owner == space->self ? " (it is this rank, which has joined again)" : "");
}

int mf_prep_check_window(const struct mf_prep *prep, const struct mf_xcopy_space *space,
                         const struct mf_window *window)
{
    if (prep->id_count == 0 || !(window->place & (MF_PLACE_GH | MF_PLACE_GD))) {
        return SMEM_OK;
    }
    const struct mf_segment *seg = window->seg;
    if (!seg) {
        enum mf_mem_kind kind = window->place == MF_PLACE_GD ? MF_KIND_HBM : MF_KIND_DRAM;
        const struct mf_prep_id *id = find_id(prep, window->rank, kind);
        bool gone = id && !mf_gva_table_first(space->table, kind, window->rank);
        return gone ? refuse_changed(prep, space, id) : SMEM_OK;
    }
    for (uint32_t i = 0; i < prep->id_count; i++) {
        const struct mf_prep_id *id = &prep->ids[i];
        if (id->owner != seg->desc.owner || id->kind != seg->desc.kind) {
            continue;
        }
        if (id->incarnation != seg->desc.incarnation ||
            (id->gva == seg->desc.gva && id->epoch != seg->desc.epoch)) {
            return refuse_changed(prep, space, id);
        }
        if (id->gva == seg->desc.gva) {
            return SMEM_OK;
        }
    }
    return SMEM_OK; /* memory that the batch was not prepared for, and that new bases lead to */
}

void mf_prep_note(struct mf_prep *prep, const struct mf_segment_desc *desc)
{
    for (uint32_t i = 0; i < prep->id_count; i++) {
        if (prep->ids[i].gva == desc->gva) {
            return;
        }
    }
    prep->ids[prep->id_count++] = (struct mf_prep_id){
        .gva = desc->gva,
        .incarnation = desc->incarnation,
        .epoch = desc->epoch,
        .owner = desc->owner,
        .kind = desc->kind,
    };
}
