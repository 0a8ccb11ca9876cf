// SPDX-License-Identifier: Apache-2.0
// The membership of one pool: transitions of one rank's state, and nothing else.
#include "core/members.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"

int mf_members_init(struct mf_members *members, uint32_t world, uint32_t self, uint64_t incarnation)
{
    memset(members, 0, sizeof(*members));
    members->v = mf_calloc(world, sizeof(*members->v), "pool members");
    if (members->v == NULL) {
        return SMEM_MALLOC_FAILED;
    }
    members->world = world;
    members->self = self;
    members->self_incarnation = incarnation;
    return SMEM_OK;
}

void mf_members_fini(struct mf_members *members)
{
    mf_free(members->v);
    members->v = NULL;
}

bool mf_members_is_dead(const struct mf_members *members, uint32_t rank, uint64_t incarnation)
{
    const uint64_t *dead = members->v[rank].dead;
    bool found = false;
    for (uint32_t i = 0; i < MF_DEAD_LIVES; i++) {
        found = found || (dead[i] == incarnation && incarnation != 0);
    }
    return found;
}

static void remember_dead(struct mf_members *members, struct mf_member *m, uint64_t incarnation)
{
    if (incarnation != 0 && !mf_members_is_dead(members, (uint32_t)(m - members->v), incarnation)) {
        memmove(&m->dead[1], &m->dead[0], sizeof(m->dead) - sizeof(m->dead[0]));
        m->dead[0] = incarnation;
    }
}

static void gone(struct mf_members *members, struct mf_member *m, enum mf_member_state state,
                 const char *why, uint64_t now_ns)
{
    members->joined -= m->state == MF_MEMBER_JOINED;
    m->state = state;
    m->attached = false;
    m->missing_ns = 0;
    m->changed_ns = now_ns;
    snprintf(m->why, sizeof(m->why), "%s", why);
}

static void joined(struct mf_members *members, struct mf_member *m, const struct mf_rec_member *rec,
                   uint64_t now_ns)
{
    members->joined += m->state != MF_MEMBER_JOINED;
    m->state = MF_MEMBER_JOINED;
    m->attached = false;
    m->changed_ns = now_ns;
    m->record = *rec;
    m->why[0] = '\0';
}

int mf_members_put(struct mf_members *members, uint32_t rank, const void *record, size_t len,
                   uint64_t now_ns, struct mf_member_change *change)
{
    struct mf_rec_member rec;
    *change = (struct mf_member_change){.kind = MF_CHANGE_NOTHING, .rank = rank};
    if (rank >= members->world) {
        return mf_err(SMEM_ERROR, "rank %u of a member record is not below the world size %u", rank,
                      members->world);
    }
    int rc = mf_rec_get_member(record, len, &rec);
    if (rc != SMEM_OK) {
        return mf_err_in(rc, "rank %u", rank);
    }
    struct mf_member *m = &members->v[rank];
    uint64_t incarnation = rec.identity.incarnation;
    m->in_sync = true;
    m->missing_ns = 0;
    if (rank == members->self) {
        if (incarnation != members->self_incarnation) {
            members->revoked = true;
            change->kind = MF_CHANGE_REVOKED;
        }
        return SMEM_OK;
    }
    bool same = m->record.identity.incarnation == incarnation;
    if (mf_members_is_dead(members, rank, incarnation)) {
        /* One that has ended does not come back, and its record goes with it; one that was declared
         * dead and lives has to come under a new incarnation. */
        change->kind = MF_CHANGE_ZOMBIE;
        change->incarnation = incarnation;
        return SMEM_OK;
    }
    if (same && m->state == MF_MEMBER_JOINED) {
        m->record = rec;
        return SMEM_OK;
    }
    change->kind = MF_CHANGE_UP;
    if (m->state == MF_MEMBER_JOINED) {
        change->kind = MF_CHANGE_REPLACED;
        change->incarnation = m->record.identity.incarnation;
        remember_dead(members, m, change->incarnation);
    }
    joined(members, m, &rec, now_ns);
    return SMEM_OK;
}

bool mf_members_has_grown(const struct mf_members *members, uint32_t rank, const void *record,
                          size_t len)
{
    struct mf_rec_member rec;
    const struct mf_member *m = rank < members->world ? &members->v[rank] : NULL;
    return m != NULL && m->state == MF_MEMBER_JOINED &&
           mf_rec_get_member(record, len, &rec) == SMEM_OK &&
           rec.identity.incarnation == m->record.identity.incarnation &&
           (rec.hbm_bytes > m->record.hbm_bytes || rec.dram_bytes > m->record.dram_bytes);
}

void mf_members_delete(struct mf_members *members, uint32_t rank, bool expired, uint64_t now_ns,
                       struct mf_member_change *change)
{
    *change = (struct mf_member_change){.kind = MF_CHANGE_NOTHING, .rank = rank};
    if (rank >= members->world) {
        return;
    }
    if (rank == members->self) {
        members->revoked = true;
        change->kind = MF_CHANGE_REVOKED;
        return;
    }
    struct mf_member *m = &members->v[rank];
    if (m->state != MF_MEMBER_JOINED) {
        return;
    }
    change->incarnation = m->record.identity.incarnation;
    change->kind = expired ? MF_CHANGE_DEAD : MF_CHANGE_LEFT;
    if (expired) {
        remember_dead(members, m, change->incarnation);
    }
    gone(members, m, expired ? MF_MEMBER_DEAD : MF_MEMBER_LEFT,
         expired ? "its session with the config store ended" : "it left the pool", now_ns);
}

void mf_members_dead(struct mf_members *members, uint32_t rank, uint64_t incarnation,
                     const char *why, uint64_t now_ns, struct mf_member_change *change)
{
    *change = (struct mf_member_change){.kind = MF_CHANGE_NOTHING, .rank = rank};
    if (rank >= members->world || rank == members->self) {
        return;
    }
    struct mf_member *m = &members->v[rank];
    bool same = m->record.identity.incarnation == incarnation;
    if ((m->state == MF_MEMBER_JOINED && !same) || (m->state == MF_MEMBER_DEAD && same)) {
        return; /* an earlier life of this rank, or no news */
    }
    /* It may have left before, or be unknown here: it reached us through a transport before its
     * record did. */
    change->kind = MF_CHANGE_DEAD;
    change->incarnation = incarnation;
    remember_dead(members, m, incarnation);
    gone(members, m, MF_MEMBER_DEAD, why, now_ns);
    m->record.identity.incarnation = incarnation;
}

void mf_members_sync_begin(struct mf_members *members)
{
    members->synced = false;
    for (uint32_t r = 0; r < members->world; r++) {
        members->v[r].in_sync = false;
    }
}

void mf_members_sync_end(struct mf_members *members, uint64_t now_ns)
{
    for (uint32_t r = 0; r < members->world; r++) {
        struct mf_member *m = &members->v[r];
        bool expected = m->state == MF_MEMBER_JOINED || r == members->self;
        /* Anew after the store was away: meanwhile nobody could be named. */
        if (expected && !m->in_sync && (m->missing_ns == 0 || members->lost)) {
            m->missing_ns = now_ns;
        }
    }
    members->synced = true;
    members->lost = false;
}

uint32_t mf_members_tick(struct mf_members *members, uint64_t now_ns, uint64_t grace_ns,
                         struct mf_member_change *changes, uint64_t *next_ns)
{
    uint32_t count = 0;
    *next_ns = 0;
    for (uint32_t r = 0; r < members->world; r++) {
        struct mf_member *m = &members->v[r];
        if (m->missing_ns == 0 || members->lost) {
            continue;
        }
        /* This rank's client sets its keys again before it watches: what is not there was removed.
         */
        if (r == members->self || now_ns - m->missing_ns >= grace_ns) {
            m->missing_ns = 0;
            changes[count] = (struct mf_member_change){
                .kind = MF_CHANGE_MISSING,
                .rank = r,
                .incarnation = m->record.identity.incarnation,
            };
            if (r == members->self) {
                mf_members_delete(members, r, true, now_ns, &changes[count]);
            }
            count++;
        } else if (*next_ns == 0 || m->missing_ns + grace_ns < *next_ns) {
            *next_ns = m->missing_ns + grace_ns;
        }
    }
    return count;
}

void mf_members_judge(struct mf_members *members, uint32_t rank, uint64_t incarnation,
                      enum mf_life life, uint64_t now_ns, struct mf_member_change *change)
{
    *change = (struct mf_member_change){.kind = MF_CHANGE_NOTHING, .rank = rank};
    struct mf_member *m = rank < members->world ? &members->v[rank] : NULL;
    if (m == NULL || m->state != MF_MEMBER_JOINED || m->in_sync ||
        m->record.identity.incarnation != incarnation) {
        return; /* it was named meanwhile, or has gone another way */
    }
    if (life == MF_LIFE_UNKNOWN) {
        m->missing_ns = now_ns;
        return;
    }
    mf_members_delete(members, rank, life == MF_LIFE_ENDED, now_ns, change);
}

void mf_members_reset(struct mf_members *members)
{
    for (uint32_t r = 0; r < members->world; r++) {
        struct mf_member fresh = {.state = MF_MEMBER_NONE};
        memcpy(fresh.dead, members->v[r].dead, sizeof(fresh.dead));
        members->v[r] = fresh;
    }
    members->joined = 0;
    members->synced = members->lost = members->revoked = false;
}
