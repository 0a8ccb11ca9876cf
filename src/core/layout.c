// SPDX-License-Identifier: Apache-2.0
// Agreement on pool layouts. Keys: pool/<id>/open/<rank> (ephemeral) says who has the pool open and
// with which sizes, gva/map holds the layouts of all pools. A rank announces itself before it
// looks; a layout is replaced only when nobody else has announced himself with it, so that ranks
// that start together after an earlier world of other sizes do not refuse each other. The base of a
// layout tells whether its pool is translated, and whether it was asked to be.
#include "core/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"

#define KEY_LEN 64
#define MAP_KEY "gva/map"
/* No process of the machines that the library runs on has more addresses. */
#define LOCAL_END (1ull << 47)

/* Records that come from the store are within limits by which this does not wrap. */
static uint64_t range_size(const struct mf_rec_layout *rec)
{
    return rec->world * (rec->max_hbm + rec->max_dram);
}

uint64_t mf_layout_first_fit(const struct mf_rec_map *map, uint64_t base, uint64_t span,
                             uint64_t size)
{
    uint64_t at = base;
    bool moved = size <= span;
    if (size == 0 || size > span || base + span < base) {
        return 0;
    }
    while (moved && at - base <= span - size) {
        moved = false;
        for (uint32_t i = 0; i < map->count; i++) {
            uint64_t from = map->v[i].base;
            uint64_t to = from + range_size(&map->v[i]);
            if (at < to && from < at + size) {
                at = to;
                moved = true;
                break;
            }
        }
    }
    return moved ? 0 : at;
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

static bool is_wide(const struct mf_rec_layout *rec)
{
    return rec->base >= MF_GVA_WIDE;
}

/* Was the pool asked to be translated? Also true of what a rank that asks for it announces. */
static bool is_asked(const struct mf_rec_layout *rec)
{
    return is_wide(rec) && rec->base < MF_GVA_WIDE_FREE;
}

static bool same_sizes(const struct mf_rec_layout *a, const struct mf_rec_layout *b)
{
    return a->max_hbm == b->max_hbm && a->max_dram == b->max_dram && a->world == b->world;
}

static bool agrees(const struct mf_rec_layout *a, const struct mf_rec_layout *b)
{
    return same_sizes(a, b) && is_asked(a) == is_asked(b);
}

/* ---- the option gva.translate ------------------------------------------------------------- */

enum translate { TRANSLATE_AUTO, TRANSLATE_ALWAYS, TRANSLATE_NEVER };

static int get_translate(const struct mf_config *config, const struct mf_layout_want *want,
                         enum translate *out)
{
    static const char *const names[] = {"auto", "always", "never"};
    const char *text = mf_config_str(config, MF_OPT_GVA_TRANSLATE);
    size_t i = 0;
    while (i < sizeof(names) / sizeof(names[0]) && strcmp(text, names[i]) != 0) {
        i++;
    }
    if (i == sizeof(names) / sizeof(names[0])) {
        return mf_err(SMEM_INVALID_PARAM,
                      "option gva.translate (MF_GVA_TRANSLATE) is \"%s\": auto, always and never "
                      "are allowed",
                      text);
    }
    *out = (enum translate)i;
    if (*out == TRANSLATE_NEVER && want->wide) {
        return mf_err(SMEM_INVALID_PARAM,
                      "pool %u: enable56BitsGva asks for global addresses that have to be "
                      "translated, and gva.translate (MF_GVA_TRANSLATE) is never: change one",
                      want->pool);
    }
    return SMEM_OK;
}

/* ---- agreement ---------------------------------------------------------------------------- */

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
        agrees(&theirs.v[0], u->have)) {
        u->found = true;
        u->rank = rank;
    }
    return !u->found;
}

static int refuse_if_open(struct mf_store *store, const struct mf_layout_want *want,
                          const struct mf_rec_layout *have, const struct mf_rec_layout *mine,
                          uint64_t deadline_ns)
{
    char prefix[KEY_LEN];
    struct users users = {.self = want->rank, .have = have};
    snprintf(prefix, sizeof(prefix), "pool/%u/open/", want->pool);
    int rc = mf_store_list(store, prefix, deadline_ns, find_user, &users);
    if (rc != SMEM_OK || !users.found) {
        return rc;
    }
    if (is_asked(have) != is_asked(mine) && same_sizes(have, mine)) {
        return mf_err(SMEM_INVALID_PARAM,
                      "pool %u exists with enable56BitsGva %s (rank %u has it open), this rank "
                      "asks for it with enable56BitsGva %s: all ranks must give the same (or the "
                      "same MF_GVA_TRANSLATE)",
                      want->pool, is_asked(have) ? "on" : "off", users.rank,
                      is_asked(mine) ? "on" : "off");
    }
    return mf_err(SMEM_INVALID_PARAM,
                  "pool %u exists with maxDramSize %" PRIu64 ", maxHbmSize %" PRIu64
                  " and world size %u (rank %u has it open), this rank asks for %" PRIu64
                  ", %" PRIu64 " and %u: all ranks must give the same",
                  want->pool, have->max_dram, have->max_hbm, have->world, users.rank,
                  want->max_dram, want->max_hbm, want->world);
}

/* What this rank asks for; where it will lie is not known yet, but which addresses it gets. */
static struct mf_rec_layout wanted(const struct mf_layout_want *want)
{
    return (struct mf_rec_layout){.pool = want->pool,
                                  .base = want->wide ? MF_GVA_WIDE : 0,
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

/* Room for a pool that is not asked to be translated: among the addresses of all processes. */
static uint64_t fit_local(const struct mf_rec_map *map, const struct mf_config *config,
                          uint64_t size)
{
    uint64_t base = mf_config_u64(config, MF_OPT_GVA_BASE);
    uint64_t span = mf_config_u64(config, MF_OPT_GVA_SPAN);
    span = span < LOCAL_END - base ? span : LOCAL_END - base;
    return mf_layout_first_fit(map, base, span, size);
}

static int no_room(const struct mf_rec_map *map, const struct mf_config *config,
                   const struct mf_rec_layout *rec, bool never)
{
    if (never) {
        return mf_err(SMEM_NO_RESOURCES,
                      "no %" PRIu64 " bytes of global address space are free beside %u other pools "
                      "in 0x%" PRIx64 " + %" PRIu64 " bytes, and gva.translate (MF_GVA_TRANSLATE) "
                      "is never: lower the maximum of the slots or the world size, or raise "
                      "gva.span (MF_GVA_SPAN)",
                      range_size(rec), map->count, mf_config_u64(config, MF_OPT_GVA_BASE),
                      mf_config_u64(config, MF_OPT_GVA_SPAN));
    }
    return mf_err(SMEM_NO_RESOURCES,
                  "no %" PRIu64 " bytes of translated global address space are free beside %u "
                  "other pools, all of them have %llu: lower the maximum of the slots or the world "
                  "size",
                  range_size(rec), map->count, MF_GVA_WIDE_FREE - MF_GVA_WIDE);
}

/* Put the wanted layout into the map, in place of an older one of this pool. */
static int map_put(struct mf_rec_map *map, const struct mf_config *config,
                   const struct mf_layout_want *want, bool never, struct mf_rec_layout *rec)
{
    struct mf_rec_layout *old = map_find(map, want->pool);
    if (old != NULL) {
        *old = map->v[--map->count];
    }
    *rec = wanted(want);
    uint64_t size = range_size(rec);
    rec->base = want->wide ? 0 : fit_local(map, config, size);
    if (rec->base == 0 && !never) {
        uint64_t from = want->wide ? MF_GVA_WIDE : MF_GVA_WIDE_FREE;
        rec->base = mf_layout_first_fit(map, from, MF_GVA_WIDE_FREE - MF_GVA_WIDE, size);
    }
    if (rec->base == 0) {
        return no_room(map, config, rec, never);
    }
    map->v[map->count++] = *rec;
    return SMEM_OK;
}

static int refuse_wide(const struct mf_layout_want *want, const struct mf_rec_layout *have)
{
    return mf_err(SMEM_INVALID_PARAM,
                  "pool %u lies at 0x%" PRIx64 ", where no process has addresses, since it did not "
                  "fit into gva.span, and gva.translate (MF_GVA_TRANSLATE) is never on this rank",
                  want->pool, have->base);
}

/* What was found in the map so far; NULL: nothing. */
struct found {
    void *map;
    size_t len;
};

/* One try to swap what was found for a map with the pool in it. Where that was no longer there the
 * store says what is, so that a pool that is laid down already costs one request. */
static int swap_map(struct mf_store *store, struct found *found, const struct mf_rec_map *map,
                    uint64_t deadline_ns, bool *swapped)
{
    uint8_t buf[MF_RECORD_MAX];
    struct found there = {0};
    int rc = mf_store_cas(store, MAP_KEY, found->map, found->len, buf, mf_rec_put_map(buf, map), 0,
                          deadline_ns, swapped, &there.map, &there.len);
    mf_free(found->map);
    *found = there;
    return rc;
}

/* The wanted layout fits nowhere: what other ranks have laid down may, if there is something. */
static int look_again(struct mf_store *store, struct found *found, int rc, uint64_t deadline_ns)
{
    struct mf_err_rec why;
    if (found->map != NULL) {
        return rc;
    }
    mf_err_save(&why);
    int got = mf_store_get(store, MAP_KEY, 0, deadline_ns, &found->map, &found->len);
    if (got == SMEM_NOT_EXIST) {
        mf_err_restore(&why);
        return rc;
    }
    return got;
}

/* Take the layout from the map that was found or put the wanted one into it. */
static int agree_once(struct mf_store *store, const struct mf_config *config,
                      const struct mf_layout_want *want, bool never, uint64_t deadline_ns,
                      struct found *found, struct mf_rec_layout *rec, bool *done)
{
    struct mf_rec_map map = {0};
    int rc = found->map != NULL ? mf_rec_get_map(found->map, found->len, &map) : SMEM_OK;
    struct mf_rec_layout *have = rc == SMEM_OK ? map_find(&map, want->pool) : NULL;
    struct mf_rec_layout mine = wanted(want);
    bool adopt = have != NULL && agrees(&mine, have);
    *done = adopt && have->closing == 0;
    if (adopt && never && is_wide(have)) {
        rc = refuse_wide(want, have);
    } else if (adopt) {
        have->closing = 0; /* whoever is taking it out finds the map changed and lets it be */
        *rec = *have;
    } else if (rc == SMEM_OK && have != NULL) {
        rc = refuse_if_open(store, want, have, &mine, deadline_ns);
    }
    if (rc == SMEM_OK && !adopt) {
        rc = map_put(&map, config, want, never, rec);
        if (rc != SMEM_OK) {
            return look_again(store, found, rc, deadline_ns);
        }
    }
    return rc == SMEM_OK && !*done ? swap_map(store, found, &map, deadline_ns, done) : rc;
}

/* This rank has announced itself: nobody takes the pool out of the map any more. */
static int agree(struct mf_store *store, const struct mf_config *config,
                 const struct mf_layout_want *want, bool never, uint64_t deadline_ns,
                 struct mf_rec_layout *rec)
{
    struct found found = {0};
    bool done = false;
    int rc = SMEM_OK;
    while (rc == SMEM_OK && !done) {
        rc = agree_once(store, config, want, never, deadline_ns, &found, rec, &done);
    }
    mf_free(found.map);
    return rc;
}

int mf_layout_negotiate(struct mf_store *store, const struct mf_config *config,
                        const struct mf_layout_want *asked, uint64_t deadline_ns,
                        struct mf_layout *layout)
{
    struct mf_rec_layout rec = {0};
    struct mf_layout_want own = *asked;
    const struct mf_layout_want *want = &own;
    enum translate translate = TRANSLATE_AUTO;
    int rc = get_translate(config, want, &translate);
    if (rc == SMEM_OK) {
        own.wide = own.wide || translate == TRANSLATE_ALWAYS;
        rc = announce(store, want, deadline_ns);
    }
    if (rc != SMEM_OK) {
        return rc;
    }
    rc = agree(store, config, want, translate == TRANSLATE_NEVER, deadline_ns, &rec);
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
    int rc = mf_store_list_keys(store, prefix, deadline_ns, find_opener, &openers);
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
