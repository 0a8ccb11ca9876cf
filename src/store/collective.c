// SPDX-License-Identifier: Apache-2.0
// Barrier, allgather and rank allocation. All state is in keys below the caller's name; who comes
// last opens the door for the others, and who leaves last removes the keys.
#include "store/collective.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/thread.h"
#include "wire/rw.h"

/* Of the time left, the part kept for finding out who is missing. */
#define ASK_MS 100u

#define GATHER_HEADER 8u /* u32 rank, u32 bytes */

static int make_key(char out[MF_KEY_MAX + 1], const char *name, const char *tail)
{
    int len = snprintf(out, MF_KEY_MAX + 1, "%s%s", name, tail);
    if (len < 0 || (size_t)len > MF_KEY_MAX)
        return mf_err(SMEM_INVALID_PARAM,
                      "the name \"%.40s...\" is too long: key of %d bytes of %u", name, len,
                      MF_KEY_MAX);
    return SMEM_OK;
}

/* ---- barrier ----------------------------------------------------------------------------------
 */

struct door {
    char arrived[MF_KEY_MAX + 1], open[MF_KEY_MAX + 1], left[MF_KEY_MAX + 1];
};

static int door_init(struct door *door, const char *name)
{
    int rc = make_key(door->arrived, name, "/arrived");
    if (rc == SMEM_OK)
        rc = make_key(door->open, name, "/open");
    return rc == SMEM_OK ? make_key(door->left, name, "/left") : rc;
}

/* When to stop waiting, so that there is time to ask who is missing. */
static uint64_t ask_ns(struct mf_store *store, uint64_t deadline_ns)
{
    uint64_t now = mf_now_ns(store->env);
    uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
    uint64_t part = left / 4 < ASK_MS * MF_NS_PER_MS ? left / 4 : ASK_MS * MF_NS_PER_MS;
    return deadline_ns - part;
}

/* The deadline of that question; somewhat later than the caller's when the wait ended late. */
static uint64_t asked_ns(struct mf_store *store, uint64_t deadline_ns)
{
    uint64_t least = mf_deadline_ns(store->env, ASK_MS);
    return deadline_ns > least ? deadline_ns : least;
}

/* Wait until somebody sets the key; the value is not wanted. */
static int wait_open(struct mf_store *store, const char *key, uint64_t deadline_ns)
{
    void *value;
    size_t len;
    int rc = mf_store_get(store, key, MF_STORE_WAIT, ask_ns(store, deadline_ns), &value, &len);
    if (rc == SMEM_OK)
        mf_free(value);
    return rc;
}

/* The last one that leaves removes the keys. What cannot be removed stays: the caller is through.
 */
static void leave_door(struct mf_store *store, const struct door *door, uint32_t count,
                       uint64_t deadline_ns)
{
    int64_t left;
    struct mf_err_rec err;
    mf_err_save(&err);
    if (mf_store_add(store, door->left, 1, deadline_ns, &left) == SMEM_OK && left == count) {
        (void)mf_store_remove(store, door->arrived, deadline_ns);
        (void)mf_store_remove(store, door->open, deadline_ns);
        (void)mf_store_remove(store, door->left, deadline_ns);
    }
    mf_err_restore(&err);
}

int mf_store_barrier(struct mf_store *store, const char *name, uint32_t count, uint64_t deadline_ns)
{
    struct door door;
    int64_t arrived;
    int rc = door_init(&door, name);
    if (rc == SMEM_OK && count == 0)
        rc = mf_err(SMEM_INVALID_PARAM, "a barrier of 0 callers");
    if (rc == SMEM_OK)
        rc = mf_store_add(store, door.arrived, 1, deadline_ns, &arrived);
    if (rc != SMEM_OK)
        return mf_err_in(rc, "barrier \"%.80s\"", name);
    if (arrived > count)
        return mf_err(SMEM_INVALID_PARAM,
                      "barrier \"%.80s\": caller number %" PRId64 " of %u: is the name used twice?",
                      name, arrived, count);
    if (arrived == count)
        rc = mf_store_set(store, door.open, "", 0, 0, deadline_ns);
    else
        rc = wait_open(store, door.open, deadline_ns);
    if (rc == SMEM_TIMEOUT) {
        struct mf_err_rec err;
        mf_err_save(&err);
        if (mf_store_add(store, door.arrived, 0, asked_ns(store, deadline_ns), &arrived) == SMEM_OK)
            return mf_err(SMEM_TIMEOUT, "barrier \"%.80s\": %" PRId64 " of %u arrived in time",
                          name, arrived, count);
        mf_err_restore(&err);
    }
    if (rc != SMEM_OK)
        return mf_err_in(rc, "barrier \"%.80s\" of %u", name, count);
    leave_door(store, &door, count, deadline_ns);
    return SMEM_OK;
}

/* ---- allgather --------------------------------------------------------------------------------
 */

struct gather {
    struct mf_store *store;
    const char *name;
    uint32_t rank, count;
    size_t size; /* of each rank's whole contribution */
    uint8_t *recv;
    uint64_t deadline_ns;
};

/* Append this rank's record; *whole tells whether it was the last one. */
static int gather_append(const struct gather *g, const char *key, const uint8_t *piece, size_t len,
                         bool *whole)
{
    struct mf_buf record;
    struct mf_wr wr;
    size_t total = 0;
    size_t each = len + GATHER_HEADER;
    mf_buf_init(&record, each);
    mf_wr_init(&wr, &record);
    mf_wr_u32(&wr, g->rank);
    mf_wr_u32(&wr, (uint32_t)len);
    mf_wr_bytes(&wr, piece, len);
    int rc = wr.rc;
    if (rc == SMEM_OK)
        rc = mf_store_append(g->store, key, record.data, record.len, g->deadline_ns, &total);
    mf_buf_fini(&record);
    if (rc != SMEM_OK)
        return rc;
    if (total % each != 0 || total > each * g->count)
        return mf_err(
            SMEM_INVALID_PARAM,
            "%zu bytes gathered are not up to %u records of %zu: sizes or counts differ, or "
            "the name is used twice",
            total, g->count, each);
    *whole = total == each * g->count;
    return SMEM_OK;
}

/* Put all records at their ranks' places; each rank exactly once. */
static int gather_unpack(const struct gather *g, const void *data, size_t data_len, size_t at,
                         size_t len)
{
    struct mf_rd rd;
    uint8_t *seen = mf_calloc(g->count, 1, "ranks of an allgather");
    int rc = SMEM_OK;
    if (seen == NULL)
        return SMEM_MALLOC_FAILED;
    mf_rd_init(&rd, data, data_len);
    for (uint32_t i = 0; i < g->count && rc == SMEM_OK; i++) {
        uint32_t rank = mf_rd_u32(&rd);
        uint32_t bytes = mf_rd_u32(&rd);
        const void *piece = mf_rd_bytes(&rd, bytes);
        if (rd.bad || rank >= g->count || bytes != len || seen[rank]) {
            rc = mf_err(
                SMEM_INVALID_PARAM,
                "record %u of rank %u with %u bytes: expected each of %u ranks once with %zu", i,
                rank, bytes, g->count, len);
            break;
        }
        seen[rank] = 1;
        if (len > 0)
            memcpy(g->recv + rank * g->size + at, piece, len);
    }
    mf_free(seen);
    return rc;
}

/* One piece: bytes [at, at + len) of every rank. */
static int gather_piece(const struct gather *g, const uint8_t *send, size_t at, size_t len)
{
    struct door door;
    char name[MF_KEY_MAX + 1];
    char tail[32];
    bool whole = false;
    void *data;
    size_t data_len;
    snprintf(tail, sizeof(tail), "/%zu", at);
    int rc = make_key(name, g->name, tail);
    if (rc == SMEM_OK)
        rc = door_init(&door, name);
    if (rc == SMEM_OK)
        rc = gather_append(g, door.arrived, send + at, len, &whole);
    if (rc != SMEM_OK)
        return rc;
    if (whole)
        rc = mf_store_set(g->store, door.open, "", 0, 0, g->deadline_ns);
    else
        rc = wait_open(g->store, door.open, g->deadline_ns);
    struct mf_err_rec err;
    mf_err_save(&err);
    if (rc == SMEM_OK || rc == SMEM_TIMEOUT) {
        uint64_t until = rc == SMEM_OK ? g->deadline_ns : asked_ns(g->store, g->deadline_ns);
        int got = mf_store_get(g->store, door.arrived, 0, until, &data, &data_len);
        if (rc == SMEM_TIMEOUT && got == SMEM_OK) {
            size_t arrived = data_len / (len + GATHER_HEADER);
            mf_free(data);
            return mf_err(SMEM_TIMEOUT, "%zu of %u ranks arrived in time", arrived, g->count);
        }
        if (rc == SMEM_TIMEOUT)
            mf_err_restore(&err);
        else
            rc = got;
    }
    if (rc != SMEM_OK)
        return rc;
    rc = gather_unpack(g, data, data_len, at, len);
    mf_free(data);
    leave_door(g->store, &door, g->count, g->deadline_ns);
    return rc;
}

int mf_store_allgather(struct mf_store *store, const char *name, uint32_t rank, uint32_t count,
                       const void *send, size_t size, void *recv, uint64_t deadline_ns)
{
    struct gather g = {.store = store,
                       .name = name,
                       .rank = rank,
                       .count = count,
                       .size = size,
                       .recv = recv,
                       .deadline_ns = deadline_ns};
    if (count == 0 || count > MF_WORLD_MAX || rank >= count)
        return mf_err(SMEM_INVALID_PARAM, "allgather \"%.80s\": rank %u of %u, at most %u", name,
                      rank, count, MF_WORLD_MAX);
    size_t most = MF_VALUE_MAX / count - GATHER_HEADER; /* all records of a piece are one value */
    size_t at = 0;
    do {
        size_t len = size - at < most ? size - at : most;
        int rc = gather_piece(&g, send, at, len);
        if (rc != SMEM_OK)
            return mf_err_in(rc, "allgather \"%.80s\", rank %u of %u", name, rank, count);
        at += len;
    } while (at < size);
    return SMEM_OK;
}

/* ---- ranks ------------------------------------------------------------------------------------
 */

struct claim {
    struct mf_store *store;
    const char *prefix;
    uint32_t world_size;
    const void *record;
    size_t record_len;
    uint64_t deadline_ns;
};

static int rank_key(const struct claim *claim, uint32_t rank, char out[MF_KEY_MAX + 1])
{
    char tail[32];
    snprintf(tail, sizeof(tail), "rank/%u", rank);
    return make_key(out, claim->prefix, tail);
}

/* Claim one rank if it is free; else *other (may be NULL) is its holder's record. */
static int try_rank(const struct claim *claim, uint32_t rank, bool *got, void **other,
                    size_t *other_len)
{
    char key[MF_KEY_MAX + 1];
    int rc = rank_key(claim, rank, key);
    if (rc != SMEM_OK)
        return rc;
    return mf_store_cas(claim->store, key, NULL, 0, claim->record, claim->record_len,
                        MF_STORE_EPHEMERAL, claim->deadline_ns, got, other, other_len);
}

struct taken {
    size_t prefix_len;
    uint32_t world_size, count;
    uint8_t *ranks;
};

static bool mark_taken(void *arg, const struct mf_store_kv *kv)
{
    struct taken *taken = arg;
    char *end;
    unsigned long rank = strtoul(kv->key + taken->prefix_len, &end, 10);
    if (*end == '\0' && rank < taken->world_size && !taken->ranks[rank]) {
        taken->ranks[rank] = 1;
        taken->count++;
    }
    return true;
}

/* A rank that nobody holds now, the `turn`th of them, so that several newcomers do not want the
 * same. */
static int find_free(const struct claim *claim, uint64_t turn, uint32_t *out)
{
    char prefix[MF_KEY_MAX + 1];
    struct taken taken = {.world_size = claim->world_size};
    int rc = make_key(prefix, claim->prefix, "rank/");
    if (rc != SMEM_OK)
        return rc;
    taken.prefix_len = strlen(prefix);
    taken.ranks = mf_calloc(claim->world_size, 1, "ranks that are taken");
    if (taken.ranks == NULL)
        return SMEM_MALLOC_FAILED;
    rc = mf_store_list_keys(claim->store, prefix, claim->deadline_ns, mark_taken, &taken);
    uint32_t free_count = claim->world_size - taken.count;
    if (rc == SMEM_OK && free_count == 0)
        rc = mf_err(SMEM_NO_RESOURCES, "all %u ranks are taken", claim->world_size);
    if (rc == SMEM_OK) {
        uint64_t skip = turn % free_count;
        uint32_t rank = 0;
        while (taken.ranks[rank] || skip-- > 0)
            rank++;
        *out = rank;
    }
    mf_free(taken.ranks);
    return rc;
}

static int claim_any(const struct claim *claim, uint32_t *rank)
{
    char key[MF_KEY_MAX + 1];
    int64_t turn;
    bool got = false;
    int rc = make_key(key, claim->prefix, "next");
    if (rc == SMEM_OK)
        rc = mf_store_add(claim->store, key, 1, claim->deadline_ns, &turn);
    if (rc != SMEM_OK)
        return rc;
    if (turn > 0 && turn <= claim->world_size) {
        *rank = (uint32_t)(turn - 1);
        rc = try_rank(claim, *rank, &got, NULL, NULL);
    }
    while (rc == SMEM_OK && !got) {
        rc = find_free(claim, (uint64_t)turn - 1, rank);
        if (rc == SMEM_OK)
            rc = try_rank(claim, *rank, &got, NULL, NULL);
        turn++;
    }
    return rc;
}

/* Does anybody hold the wanted rank? Kept by a watch. */
struct holder {
    struct mf_mutex lock;
    struct mf_cond cond;
    const char *key;
    bool held;
};

static void on_holder(void *arg, const struct mf_watch_event *event)
{
    struct holder *holder = arg;
    bool mine = event->key != NULL && strcmp(event->key, holder->key) == 0;
    mf_mutex_lock(&holder->lock);
    if (event->kind == MF_WATCH_SYNC_BEGIN || (event->kind == MF_WATCH_DELETE && mine))
        holder->held = false;
    else if ((event->kind == MF_WATCH_PUT && mine) || event->kind == MF_WATCH_LOST)
        holder->held = true;
    mf_cond_signal(&holder->cond);
    mf_mutex_unlock(&holder->lock);
}

/* Sleep until the rank seems free; false when the deadline has passed. */
static bool wait_free(struct holder *holder, uint64_t deadline_ns)
{
    bool in_time = true;
    mf_mutex_lock(&holder->lock);
    while (holder->held && in_time)
        in_time = mf_cond_wait(&holder->cond, &holder->lock, deadline_ns);
    holder->held = true; /* until the watch says otherwise again */
    mf_mutex_unlock(&holder->lock);
    return in_time;
}

static int wait_rank(const struct claim *claim, uint32_t want, const char *key, void **other,
                     size_t *other_len)
{
    struct holder holder = {.key = key, .held = true};
    uint32_t watch;
    bool got = false;
    uint64_t until = ask_ns(claim->store, claim->deadline_ns);
    mf_mutex_init(&holder.lock, MF_RANK_LEAF);
    mf_cond_init(&holder.cond);
    int rc = claim->store->ops->watch(claim->store, key, on_holder, &holder, &watch);
    if (rc != SMEM_OK)
        goto fini;
    for (bool in_time = true; rc == SMEM_OK && !got && in_time;) {
        in_time = wait_free(&holder, until);
        mf_free(*other);
        *other = NULL;
        rc = try_rank(claim, want, &got, other, other_len);
    }
    struct mf_err_rec err;
    mf_err_save(&err);
    (void)claim->store->ops->unwatch(claim->store, watch);
    mf_err_restore(&err);
    if (rc == SMEM_OK && !got)
        rc = mf_err(SMEM_DUPLICATED, "rank %u is held by another process that is alive", want);
fini:
    mf_cond_fini(&holder.cond);
    mf_mutex_fini(&holder.lock);
    return rc;
}

/* One look at the wanted rank. */
static int try_one(const struct claim *claim, uint32_t want, void **other, size_t *other_len)
{
    bool got = false;
    int rc = try_rank(claim, want, &got, other, other_len);
    if (rc == SMEM_OK && !got)
        rc = mf_err(SMEM_DUPLICATED, "rank %u is held by another process that is alive", want);
    return rc;
}

static int wait_one(const struct claim *claim, uint32_t want, void **other, size_t *other_len)
{
    char key[MF_KEY_MAX + 1];
    int rc = rank_key(claim, want, key);
    return rc == SMEM_OK ? wait_rank(claim, want, key, other, other_len) : rc;
}

enum { CLAIM_TRY = 1, CLAIM_WAIT = 2 };

static int claim_rank(const struct claim *claim, unsigned how, uint32_t want, uint32_t *rank,
                      void **other, size_t *other_len)
{
    int rc = SMEM_DUPLICATED;
    if (claim->world_size == 0 || claim->world_size > MF_WORLD_MAX)
        return mf_err(SMEM_INVALID_PARAM, "a world of %u ranks is not within 1..%u",
                      claim->world_size, MF_WORLD_MAX);
    if (want == MF_RANK_AUTO)
        return claim_any(claim, rank);
    if (want >= claim->world_size)
        return mf_err(SMEM_INVALID_PARAM, "rank %u is not below the world's size %u", want,
                      claim->world_size);
    if (how & CLAIM_TRY)
        rc = try_one(claim, want, other, other_len);
    if (rc == SMEM_DUPLICATED && (how & CLAIM_WAIT))
        rc = wait_one(claim, want, other, other_len);
    return rc;
}

static int claim_how(const struct claim *claim, unsigned how, uint32_t want, uint32_t *rank,
                     void **other, size_t *other_len)
{
    void *held = NULL;
    size_t held_len = 0;
    if (other != NULL)
        *other = NULL;
    if (other_len != NULL)
        *other_len = 0;
    *rank = want;
    int rc = claim_rank(claim, how, want, rank, &held, &held_len);
    if (rc == SMEM_OK) {
        mf_free(held);
        return SMEM_OK;
    }
    if (rc == SMEM_DUPLICATED && other != NULL) {
        *other = held;
        if (other_len != NULL)
            *other_len = held_len;
    } else {
        mf_free(held);
    }
    return mf_err_in(rc, "claim a rank below \"%.80s\" for a world of %u", claim->prefix,
                     claim->world_size);
}

int mf_store_rank_claim(struct mf_store *store, const char *prefix, uint32_t world_size,
                        uint32_t want, const void *record, size_t record_len, uint64_t deadline_ns,
                        uint32_t *rank, void **other, size_t *other_len)
{
    struct claim claim = {store, prefix, world_size, record, record_len, deadline_ns};
    return claim_how(&claim, CLAIM_TRY | CLAIM_WAIT, want, rank, other, other_len);
}

int mf_store_rank_try(struct mf_store *store, const char *prefix, uint32_t world_size,
                      uint32_t want, const void *record, size_t record_len, uint64_t deadline_ns,
                      uint32_t *rank, void **other, size_t *other_len)
{
    struct claim claim = {store, prefix, world_size, record, record_len, deadline_ns};
    return claim_how(&claim, CLAIM_TRY, want, rank, other, other_len);
}

int mf_store_rank_wait(struct mf_store *store, const char *prefix, uint32_t world_size,
                       uint32_t want, const void *record, size_t record_len, uint64_t deadline_ns,
                       uint32_t *rank, void **other, size_t *other_len)
{
    struct claim claim = {store, prefix, world_size, record, record_len, deadline_ns};
    return claim_how(&claim, CLAIM_WAIT, want, rank, other, other_len);
}
