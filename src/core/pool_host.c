// SPDX-License-Identifier: Apache-2.0
// What a pool does for a transport: places for peers' segments, and segments that come and go.
#include <inttypes.h>

#include "base/err.h"
#include "core/pool.h"

/* Does the desc name a piece of its owner's own slot? */
static int check_desc(struct mf_pool *pool, const struct mf_segment_desc *desc)
{
    const struct mf_layout *layout = &pool->table.layout;
    struct mf_gva_loc first, last;
    if (desc->owner < layout->world && desc->owner != pool->ctx->rank && desc->size > 0 &&
        desc->gva + desc->size > desc->gva && mf_layout_find(layout, (mf_gva){desc->gva}, &first) &&
        mf_layout_find(layout, (mf_gva){desc->gva + desc->size - 1}, &last) &&
        first.rank == desc->owner && last.rank == desc->owner && first.kind == desc->kind &&
        last.kind == desc->kind && desc->gva % MF_PAGE_LARGE == 0 &&
        desc->size % MF_PAGE_LARGE == 0) {
        return SMEM_OK;
    }
    return mf_err(
        SMEM_INVALID_PARAM,
        "rank %u announces a segment at 0x%" PRIx64 " of %" PRIu64
        " bytes, which is not in its slot of pool %u: all ranks must create the pool with "
        "the same sizes",
        desc->owner, desc->gva, desc->size, pool->id);
}

/* Only then are there places, and somebody who empties them. */
static int check_member(struct mf_pool *pool)
{
    int state = atomic_load(&pool->state);
    return state == MF_POOL_JOINED || state == MF_POOL_JOINING
               ? SMEM_OK
               : mf_err(SMEM_NOT_STARTED, "rank %u has not joined pool %u", pool->ctx->rank,
                        pool->id);
}

/* A rank with a tag that has no operator with ours does not come in. It knows our record; before
 * its own is known here, it alone decides. `ops`: of the transport by which it comes, 0: not known.
 */
static int check_tag(struct mf_pool *pool, const struct mf_segment_desc *desc, uint32_t ops)
{
    uint32_t mine = UINT32_MAX, theirs = UINT32_MAX;
    int rc = SMEM_OK;
    mf_mutex_lock(&pool->lock);
    const struct mf_member *member = &pool->members.v[desc->owner];
    if (member->state == MF_MEMBER_JOINED &&
        member->record.identity.incarnation == desc->incarnation) {
        rc = mf_pool_allows(pool, desc->owner, &member->record, &mine, &theirs);
    }
    mf_mutex_unlock(&pool->lock);
    if (rc == SMEM_OK && ops != 0 && ((ops & mine) == 0 || (ops & theirs) == 0)) {
        rc = mf_err(SMEM_ERROR, "rank %u comes by a transport that its tag does not allow",
                    desc->owner);
    }
    return rc;
}

/* The config store knows which life has a rank: another one has lost it, or its record is not known
 * here yet; it comes again. */
static int check_life(struct mf_pool *pool, const struct mf_segment_desc *desc)
{
    mf_mutex_lock(&pool->lock);
    const struct mf_member *member = &pool->members.v[desc->owner];
    bool same = member->record.identity.incarnation == desc->incarnation;
    bool wrong = (member->state == MF_MEMBER_JOINED && !same) ||
                 mf_members_is_dead(&pool->members, desc->owner, desc->incarnation);
    mf_mutex_unlock(&pool->lock);
    return wrong ? mf_err(SMEM_NOT_CONNECTED,
                          "rank %u announces a segment in pool %u, but the rank is another process "
                          "there or was declared dead",
                          desc->owner, pool->id)
                 : SMEM_OK;
}

/* Nothing is mapped over a segment that copies may use. */
static int check_free(struct mf_pool *pool, const struct mf_segment_desc *desc)
{
    mf_mutex_lock(&pool->table_lock);
    const struct mf_segment *there =
        mf_gva_table_overlap(&pool->table, (mf_gva){desc->gva}, desc->size);
    uint64_t gva = there == NULL ? 0 : there->desc.gva;
    mf_mutex_unlock(&pool->table_lock);
    return there == NULL ? SMEM_OK
                         : mf_err(SMEM_DUPLICATED,
                                  "rank %u announces a segment at 0x%" PRIx64 " of %" PRIu64
                                  " bytes in pool %u, which overlaps its segment at 0x%" PRIx64,
                                  desc->owner, desc->gva, desc->size, pool->id, gva);
}

int mf_pool_place(struct mf_pool *pool, const struct mf_segment_desc *desc, uint64_t *host)
{
    int rc = check_member(pool);
    *host = 0;
    if (rc == SMEM_OK) {
        rc = check_desc(pool, desc);
    }
    if (rc == SMEM_OK) {
        rc = check_life(pool, desc);
    }
    if (rc == SMEM_OK) {
        rc = check_tag(pool, desc, 0);
    }
    if (rc == SMEM_OK) {
        rc = check_free(pool, desc);
    }
    if (rc == SMEM_OK) {
        atomic_store(&pool->placed[desc->owner], desc->incarnation);
        rc = mf_pool_space_take(pool, (enum mf_mem_kind)desc->kind, desc->gva, desc->size, host);
    }
    return rc;
}

int mf_pool_unplace(struct mf_pool *pool, const struct mf_segment_desc *desc, bool dead)
{
    int rc = check_desc(pool, desc);
    return rc != SMEM_OK ? rc
                         : mf_pool_space_clear(pool, (enum mf_mem_kind)desc->kind, desc->gva,
                                               desc->size, dead);
}

int mf_pool_segment_up(struct mf_pool *pool, struct mf_segment *segment)
{
    int rc = check_desc(pool, &segment->desc);
    if (rc == SMEM_OK) {
        rc = check_member(pool);
    }
    if (rc == SMEM_OK) {
        rc = check_life(pool, &segment->desc);
    }
    if (rc == SMEM_OK) {
        rc = check_tag(pool, &segment->desc, segment->ops->data_ops);
    }
    if (rc != SMEM_OK) {
        return rc;
    }
    /* Not every transport asks for a place. */
    atomic_store(&pool->placed[segment->desc.owner], segment->desc.incarnation);
    mf_mutex_lock(&pool->table_lock);
    rc = mf_gva_table_add(&pool->table, segment);
    mf_mutex_unlock(&pool->table_lock);
    return rc;
}

void mf_pool_segment_down(struct mf_pool *pool, struct mf_segment *segment)
{
    mf_mutex_lock(&pool->table_lock);
    mf_gva_table_remove(&pool->table, segment);
    mf_mutex_unlock(&pool->table_lock);
    /* Whoever needs the rank has to ask it again: it may be about to announce another one. */
    mf_mutex_lock(&pool->lock);
    if (pool->members.v != NULL) {
        pool->members.v[segment->desc.owner].attached = false;
    }
    mf_mutex_unlock(&pool->lock);
}
