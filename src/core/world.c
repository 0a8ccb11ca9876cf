// SPDX-License-Identifier: Apache-2.0
// Entering a world. Keys: world/rank/<rank> (ephemeral) says who holds a rank and which size of the
// world it gave, world/info holds the size that was agreed on. The rank is claimed first: a store
// that was restarted grants it only when it has heard from the world that was there, and whoever
// holds a rank is seen by all that would lay down another size.
#include "core/world.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "store/collective.h"

#define INFO_KEY "world/info"

static int refuse_size(uint32_t mine, uint32_t theirs)
{
    return mf_err(SMEM_INVALID_PARAM,
                  "worldSize %u differs from the %u that the other ranks of this config store "
                  "gave: all ranks must give the same",
                  mine, theirs);
}

/* ---- the size
 * ----------------------------------------------------------------------------------- */

struct other {
    uint32_t size; /* ours */
    bool found;
    uint32_t theirs; /* what the first that differs gave; 0: its record cannot be read */
};

static bool find_other(void *arg, const struct mf_store_kv *kv)
{
    struct other *other = arg;
    struct mf_rec_identity rec;
    bool known = mf_rec_get_identity(kv->value, kv->value_len, &rec) == SMEM_OK;
    if (!known || rec.world_size != other->size) {
        other->found = true;
        other->theirs = known ? rec.world_size : 0;
    }
    return !other->found;
}

/* SMEM_OK when every rank that is there gave our size. */
static int check_ranks(struct mf_store *store, uint32_t size, uint32_t agreed, uint64_t deadline_ns)
{
    struct other other = {.size = size};
    int rc = mf_store_list(store, MF_STORE_RANK_KEYS, deadline_ns, find_other, &other);
    if (rc == SMEM_OK && other.found) {
        rc = refuse_size(size, other.theirs != 0 ? other.theirs : agreed);
    }
    return rc;
}

/* One try to lay our world down where `*was` is (NULL: nothing). *done: the size is agreed on;
 * else *was is what is there now. A world that nobody is in any more is given another size; whoever
 * came meanwhile and found the old one is seen by the second look. */
static int agree_once(struct mf_store *store, const struct mf_rec_world *mine, uint64_t deadline_ns,
                      void **was, size_t *was_len, uint64_t *world_id, bool *done)
{
    uint8_t buf[MF_RECORD_MAX];
    struct mf_rec_world theirs;
    void *there = NULL;
    size_t there_len = 0;
    bool swapped = false;
    int rc = mf_store_cas(store, INFO_KEY, *was, *was_len, buf, mf_rec_put_world(buf, mine), 0,
                          deadline_ns, &swapped, &there, &there_len);
    bool replaced = swapped && *was != NULL;
    mf_free(*was);
    *was = there;
    *was_len = there_len;
    if (rc != SMEM_OK || (!swapped && there == NULL)) {
        return rc; /* it went meanwhile: once more */
    }
    if (swapped) {
        *done = true;
        *world_id = mine->world_id;
        return replaced ? check_ranks(store, mine->world_size, mine->world_size, deadline_ns)
                        : SMEM_OK;
    }
    rc = mf_rec_get_world(there, there_len, &theirs);
    if (rc != SMEM_OK) {
        return rc;
    }
    *done = theirs.world_size == mine->world_size;
    *world_id = theirs.world_id;
    return *done ? SMEM_OK : check_ranks(store, mine->world_size, theirs.world_size, deadline_ns);
}

static int agree(struct mf_store *store, const struct mf_world_want *want, uint64_t deadline_ns,
                 uint64_t *world_id)
{
    struct mf_rec_world mine = {.world_id = want->id, .world_size = want->size};
    void *was = NULL;
    size_t was_len = 0;
    bool done = false;
    int rc = SMEM_OK;
    while (rc == SMEM_OK && !done) {
        rc = agree_once(store, &mine, deadline_ns, &was, &was_len, world_id, &done);
    }
    mf_free(was);
    return rc;
}

/* ---- the rank
 * ----------------------------------------------------------------------------------- */

typedef int (*claim_fn)(struct mf_store *store, const char *prefix, uint32_t world_size,
                        uint32_t want, const void *record, size_t record_len, uint64_t deadline_ns,
                        uint32_t *rank, void **other, size_t *other_len);

/* The answer to this process's own claim was lost: it says so again, so that its client knows the
 * key as one of its own. */
static int claim_again(struct mf_store *store, uint32_t want, const void *record, size_t len,
                       uint64_t deadline_ns, uint32_t *rank)
{
    char key[32];
    bool swapped = false;
    snprintf(key, sizeof(key), "world/rank/%u", want);
    int rc = mf_store_cas(store, key, record, len, record, len, MF_STORE_EPHEMERAL, deadline_ns,
                          &swapped, NULL, NULL);
    if (rc == SMEM_OK && !swapped) {
        rc = mf_err(SMEM_NOT_CONNECTED, "rank %u was claimed and lost again: try again", want);
    }
    *rank = rc == SMEM_OK ? want : *rank;
    return rc;
}

static int claim(struct mf_store *store, claim_fn how, const struct mf_world_want *want,
                 uint64_t deadline_ns, uint32_t *rank)
{
    uint8_t buf[MF_RECORD_MAX];
    void *other = NULL;
    size_t other_len = 0;
    struct mf_rec_identity identity = want->identity, holder;
    identity.world_size = want->size;
    size_t len = mf_rec_put_identity(buf, &identity);
    int rc = how(store, "world/", want->size, want->rank, buf, len, deadline_ns, rank, &other,
                 &other_len);
    bool held = rc == SMEM_DUPLICATED && mf_rec_get_identity(other, other_len, &holder) == SMEM_OK;
    if (held && holder.incarnation == identity.incarnation) {
        rc = claim_again(store, want->rank, buf, len, deadline_ns, rank);
    } else if (held) {
        rc = mf_err(
            SMEM_DUPLICATED,
            "rank %u is held by process %u%s, which is alive: give each process a rank of its "
            "own, or use autoRanking",
            want->rank, holder.pid,
            holder.host_hint == identity.host_hint ? " of this host" : " of another host");
    }
    mf_free(other);
    return rc;
}

int mf_world_enter(struct mf_store *store, const struct mf_world_want *want, uint64_t deadline_ns,
                   uint32_t *rank, uint64_t *world_id)
{
    struct mf_err_rec taken;
    int rc = claim(store, mf_store_rank_try, want, deadline_ns, rank);
    if (rc != SMEM_OK && rc != SMEM_DUPLICATED && rc != SMEM_NO_RESOURCES) {
        return rc;
    }
    mf_err_save(&taken);
    int agreed = agree(store, want, deadline_ns, world_id);
    if (agreed != SMEM_OK || rc == SMEM_OK) {
        return agreed;
    }
    mf_err_restore(&taken);
    if (rc == SMEM_NO_RESOURCES) {
        return rc;
    }
    rc = claim(store, mf_store_rank_wait, want, deadline_ns, rank);
    return rc == SMEM_OK ? agree(store, want, deadline_ns, world_id) : rc;
}
