// SPDX-License-Identifier: Apache-2.0
// Agreement on pool layouts. Keys: pool/<id>/open/<rank> (ephemeral) says who has the pool open and
// with which sizes, gva/map holds the layouts of all pools. A rank announces itself before it
// looks; a layout is replaced only when nobody else has announced himself with it, so that ranks
// that start together after an earlier world of other sizes do not refuse each other.
#include "core/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"

#define KEY_LEN 64
#define MAP_KEY "gva/map"

static uint64_t range_size(const struct mf_rec_layout *rec)
{
    return rec->world * (rec->max_hbm + rec->max_dram);
}

uint64_t mf_layout_first_fit(const struct mf_rec_map *map, uint64_t base, uint64_t span,
                             uint64_t size)
{
    uint64_t at = base;
    bool moved = true;
    while (moved) {
        moved = false;
        for (uint32_t i = 0; i < map->count; i++) {
            uint64_t from = map->v[i].base;
            uint64_t to = from + range_size(&map->v[i]);
            if (at < to && from < at + size) {
                at = to;
                moved = true;
            }
        }
    }
    return size <= span && at - base <= span - size ? at : 0;
}

static struct mf_rec_layout *map_find(struct mf_rec_map *map, uint32_t pool)
{
    for (uint32_t i = 0; i < map->count; i++) {
        if (map->v[i].pool == pool) {
            return &map->v[i];
        }
    }
    return NULL;
}

static bool same_sizes(const struct mf_rec_layout *a, const struct mf_rec_layout *b)
{
    return a->max_hbm == b->max_hbm && a->max_dram == b->max_dram && a->world == b->world;
}

struct users {
    uint32_t self;
    const struct mf_rec_layout *have;
    bool found;
    uint32_t rank;
};

/* Stops at the first other rank that has the pool open with the layout that is there. */
static bool find_user(void *arg, const struct mf_store_kv *kv)
{
    struct users *u = arg;
    struct mf_rec_map theirs;
    unsigned rank = 0;
    const char *slash = strrchr(kv->key, '/');
    if (slash != NULL && sscanf(slash + 1, "%u", &rank) == 1 && rank != u->self &&
        mf_rec_get_map(kv->value, kv->value_len, &theirs) == SMEM_OK && theirs.count == 1 &&
        same_sizes(&theirs.v[0], u->have)) {
        u->found = true;
        u->rank = rank;
    }
    return !u->found;
}

static int refuse_if_open(struct mf_store *store, const struct mf_layout_want *want,
                          const struct mf_rec_layout *have, uint64_t deadline_ns)
{
    char prefix[KEY_LEN];
    struct users users = {.self = want->rank, .have = have};
    snprintf(prefix, sizeof(prefix), "pool/%u/open/", want->pool);
    int rc = mf_store_list(store, prefix, deadline_ns, find_user, &users);
    if (rc != SMEM_OK || !users.found) {
        return rc;
    }
    return mf_err(SMEM_INVALID_PARAM,
                  "pool %u exists with maxDramSize %" PRIu64 ", maxHbmSize %" PRIu64
                  " and world size %u (rank %u has it open), this rank asks for %" PRIu64
                  ", %" PRIu64 " and %u: all ranks must give the same",
                  want->pool, have->max_dram, have->max_hbm, have->world, users.rank,
                  want->max_dram, want->max_hbm, want->world);
}

/* What this rank asks for; where it will lie is not known yet. */
static struct mf_rec_layout wanted(const struct mf_layout_want *want)
{
    return (struct mf_rec_layout){.pool = want->pool,
                                  .max_hbm = want->max_hbm,
                                  .max_dram = want->max_dram,
                                  .world = want->world};
}

static int announce(struct mf_store *store, const struct mf_layout_want *want, uint64_t deadline_ns)
{
    char key[KEY_LEN];
    uint8_t buf[MF_RECORD_MAX];
    struct mf_rec_map map = {.count = 1, .v = {wanted(want)}};
    snprintf(key, sizeof(key), "pool/%u/open/%u", want->pool, want->rank);
    return mf_store_set(store, key, buf, mf_rec_put_map(buf, &map), MF_STORE_EPHEMERAL,
                        deadline_ns);
}

/* Put the wanted layout into the map, in place of an older one of this pool. */
static int map_put(struct mf_rec_map *map, const struct mf_config *config,
                   const struct mf_layout_want *want, struct mf_rec_layout *rec)
{
    struct mf_rec_layout *old = map_find(map, want->pool);
    if (old != NULL) {
        *old = map->v[--map->count];
    }
    *rec = wanted(want);
    uint64_t base = mf_config_u64(config, MF_OPT_GVA_BASE);
    uint64_t span = mf_config_u64(config, MF_OPT_GVA_SPAN);
    rec->base = mf_layout_first_fit(map, base, span, range_size(rec));
    if (rec->base == 0) {
        return mf_err(SMEM_NO_RESOURCES,
                      "no %" PRIu64 " bytes of global address space are free beside %u other pools "
                      "in 0x%" PRIx64 " + %" PRIu64 " bytes: lower the maximum of the slots or the "
                      "world size, or raise gva.span (MF_GVA_SPAN)",
                      range_size(rec), map->count, base, span);
    }
    map->v[map->count++] = *rec;
    return SMEM_OK;
}

/* One look at the map and, where it has to change, one try to swap it. */
static int agree_once(struct mf_store *store, const struct mf_config *config,
                      const struct mf_layout_want *want, uint64_t deadline_ns,
                      struct mf_rec_layout *rec, bool *done)
{
    struct mf_rec_map map = {0};
    uint8_t buf[MF_RECORD_MAX];
    void *old = NULL;
    size_t old_len = 0;
    int rc = mf_store_get(store, MAP_KEY, 0, deadline_ns, &old, &old_len);
    if (rc == SMEM_OK) {
        rc = mf_rec_get_map(old, old_len, &map);
    } else if (rc == SMEM_NOT_EXIST) {
        rc = SMEM_OK;
    }
    struct mf_rec_layout *have = rc == SMEM_OK ? map_find(&map, want->pool) : NULL;
    struct mf_rec_layout mine = wanted(want);
    bool adopt = have != NULL && same_sizes(&mine, have);
    *done = adopt && have->closing == 0;
    if (adopt) {
        have->closing = 0; /* whoever is taking it out finds the map changed and lets it be */
        *rec = *have;
    } else if (rc == SMEM_OK && have != NULL) {
        rc = refuse_if_open(store, want, have, deadline_ns);
    }
    if (rc == SMEM_OK && !adopt) {
        rc = map_put(&map, config, want, rec);
    }
    if (rc == SMEM_OK && !*done) {
        rc = mf_store_cas(store, MAP_KEY, old, old_len, buf, mf_rec_put_map(buf, &map), 0,
                          deadline_ns, done, NULL, NULL);
    }
    mf_free(old);
    return rc;
}

int mf_layout_negotiate(struct mf_store *store, const struct mf_config *config,
                        const struct mf_layout_want *want, uint64_t deadline_ns,
                        struct mf_layout *layout)
{
    struct mf_rec_layout rec = {0};
    int rc = announce(store, want, deadline_ns);
    if (rc != SMEM_OK) {
        return rc;
    }
    bool done = false;
    while (rc == SMEM_OK && !done) {
        rc = agree_once(store, config, want, deadline_ns, &rec, &done);
    }
    if (rc == SMEM_OK) {
        rc = mf_layout_init(layout, (mf_gva){rec.base}, rec.max_hbm, rec.max_dram, rec.world);
    }
    if (rc != SMEM_OK) {
        struct mf_err_rec saved;
        mf_err_save(&saved);
        (void)mf_layout_release(store, want->pool, want->rank, deadline_ns);
        mf_err_restore(&saved);
    }
    return rc;
}

struct openers {
    uint32_t self;
    bool found;
};

static bool find_opener(void *arg, const struct mf_store_kv *kv)
{
    struct openers *o = arg;
    unsigned rank = 0;
    const char *slash = strrchr(kv->key, '/');
    o->found |= slash != NULL && sscanf(slash + 1, "%u", &rank) == 1 && rank != o->self;
    return !o->found;
}

/* SMEM_OK when nobody else has the pool open. */
static int check_unused(struct mf_store *store, uint32_t pool, uint32_t rank, uint64_t deadline_ns)
{
    char prefix[KEY_LEN];
    struct openers openers = {.self = rank};
    snprintf(prefix, sizeof(prefix), "pool/%u/open/", pool);
    int rc = mf_store_list(store, prefix, deadline_ns, find_opener, &openers);
    return rc == SMEM_OK && openers.found ? SMEM_RES_IN_USE : rc;
}

/* Give the addresses of a pool back that nobody has open. It is marked first: a rank that opens it
 * meanwhile has either announced itself before the mark, and is seen by the second look, or finds
 * the mark and takes it off, and the last swap fails. */
static int map_retire(struct mf_store *store, uint32_t pool, uint32_t rank, uint64_t deadline_ns)
{
    struct mf_rec_map map = {0};
    uint8_t marked[MF_RECORD_MAX], without[MF_RECORD_MAX];
    void *old = NULL;
    size_t old_len = 0, marked_len = 0;
    bool swapped = false;
    int rc = check_unused(store, pool, rank, deadline_ns);
    if (rc == SMEM_OK) {
        rc = mf_store_get(store, MAP_KEY, 0, deadline_ns, &old, &old_len);
    }
    if (rc == SMEM_OK) {
        rc = mf_rec_get_map(old, old_len, &map);
    }
    struct mf_rec_layout *have = rc == SMEM_OK ? map_find(&map, pool) : NULL;
    if (have != NULL) {
        have->closing = rank + 1;
        marked_len = mf_rec_put_map(marked, &map);
        rc = mf_store_cas(store, MAP_KEY, old, old_len, marked, marked_len, 0, deadline_ns,
                          &swapped, NULL, NULL);
    }
    mf_free(old);
    if (rc == SMEM_OK && swapped) {
        rc = check_unused(store, pool, rank, deadline_ns);
    }
    if (rc == SMEM_OK && swapped) {
        *have = map.v[--map.count];
        rc = mf_store_cas(store, MAP_KEY, marked, marked_len, without,
                          mf_rec_put_map(without, &map), 0, deadline_ns, &swapped, NULL, NULL);
    }
    return rc == SMEM_RES_IN_USE || rc == SMEM_NOT_EXIST ? SMEM_OK : rc;
}

int mf_layout_release(struct mf_store *store, uint32_t pool, uint32_t rank, uint64_t deadline_ns)
{
    char key[KEY_LEN];
    snprintf(key, sizeof(key), "pool/%u/open/%u", pool, rank);
    int rc = mf_store_remove(store, key, deadline_ns);
    rc = rc == SMEM_NOT_EXIST ? SMEM_OK : rc;
    return rc == SMEM_OK ? map_retire(store, pool, rank, deadline_ns) : rc;
}
