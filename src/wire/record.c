// SPDX-License-Identifier: Apache-2.0
// Encoders and decoders of the records in the store: fixed little-endian, versioned, bounded. Pure
// functions over bytes.
#include "wire/record.h"

#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "wire/rw.h"

/* Each record begins with its version and its kind. */
enum { KIND_IDENTITY = 1, KIND_WORLD, KIND_MAP, KIND_MEMBER };

/* No slot is larger and no address is above it, so that sums over all ranks of a pool do not wrap.
 */
#define SLOT_MAX (1ull << 46)
#define BASE_MAX (1ull << 57)

struct cursor {
    uint8_t *at;
};

static void put(struct cursor *c, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        *c->at++ = (uint8_t)(value >> (8 * i));
    }
}

static void put_head(struct cursor *c, uint8_t kind)
{
    put(c, MF_RECORD_VERSION, 2);
    put(c, kind, 2);
}

static int get_head(struct mf_rd *rd, uint16_t kind, const char *what)
{
    uint16_t version = mf_rd_u16(rd);
    uint16_t found = mf_rd_u16(rd);
    if (rd->bad) {
        return mf_err(SMEM_ERROR, "%s record of the store is cut short", what);
    }
    if (version != MF_RECORD_VERSION) {
        return mf_err(SMEM_ERROR,
                      "%s record of the store has version %u, this library writes version %d: all "
                      "ranks must use the same release",
                      what, version, MF_RECORD_VERSION);
    }
    if (found != kind) {
        return mf_err(SMEM_ERROR, "%s record of the store is of kind %u instead of %u", what, found,
                      kind);
    }
    return SMEM_OK;
}

static int get_end(const struct mf_rd *rd, const char *what)
{
    if (rd->bad) {
        return mf_err(SMEM_ERROR, "%s record of the store is cut short or has a bad count", what);
    }
    if (!mf_rd_done(rd)) {
        return mf_err(SMEM_ERROR, "%s record of the store has %zu bytes too many", what,
                      mf_rd_left(rd));
    }
    return SMEM_OK;
}

static void put_identity_body(struct cursor *c, const struct mf_rec_identity *rec)
{
    put(c, rec->incarnation, 8);
    put(c, rec->pid, 4);
    put(c, rec->host_hint, 4);
}

static void get_identity_body(struct mf_rd *rd, struct mf_rec_identity *rec)
{
    rec->incarnation = mf_rd_u64(rd);
    rec->pid = mf_rd_u32(rd);
    rec->host_hint = mf_rd_u32(rd);
    rec->world_size = 0;
}

size_t mf_rec_put_identity(uint8_t *buf, const struct mf_rec_identity *rec)
{
    struct cursor c = {buf};
    put_head(&c, KIND_IDENTITY);
    put_identity_body(&c, rec);
    put(&c, rec->world_size, 4);
    return (size_t)(c.at - buf);
}

int mf_rec_get_identity(const void *data, size_t len, struct mf_rec_identity *rec)
{
    struct mf_rd rd;
    mf_rd_init(&rd, data, len);
    int rc = get_head(&rd, KIND_IDENTITY, "rank");
    if (rc != SMEM_OK) {
        return rc;
    }
    get_identity_body(&rd, rec);
    rec->world_size = mf_rd_u32(&rd);
    return get_end(&rd, "rank");
}

size_t mf_rec_put_world(uint8_t *buf, const struct mf_rec_world *rec)
{
    struct cursor c = {buf};
    put_head(&c, KIND_WORLD);
    put(&c, rec->world_id, 8);
    put(&c, rec->world_size, 4);
    return (size_t)(c.at - buf);
}

int mf_rec_get_world(const void *data, size_t len, struct mf_rec_world *rec)
{
    struct mf_rd rd;
    mf_rd_init(&rd, data, len);
    int rc = get_head(&rd, KIND_WORLD, "world");
    if (rc != SMEM_OK) {
        return rc;
    }
    rec->world_id = mf_rd_u64(&rd);
    rec->world_size = mf_rd_u32(&rd);
    rc = get_end(&rd, "world");
    if (rc == SMEM_OK && (rec->world_size == 0 || rec->world_size > MF_WORLD_MAX)) {
        rc = mf_err(SMEM_ERROR, "world record of the store has world size %u, not 1..%u",
                    rec->world_size, MF_WORLD_MAX);
    }
    return rc;
}

size_t mf_rec_put_map(uint8_t *buf, const struct mf_rec_map *rec)
{
    struct cursor c = {buf};
    put_head(&c, KIND_MAP);
    put(&c, rec->count, 4);
    for (uint32_t i = 0; i < rec->count; i++) {
        put(&c, rec->v[i].pool, 4);
        put(&c, rec->v[i].base, 8);
        put(&c, rec->v[i].max_hbm, 8);
        put(&c, rec->v[i].max_dram, 8);
        put(&c, rec->v[i].world, 4);
        put(&c, rec->v[i].closing, 4);
    }
    return (size_t)(c.at - buf);
}

static int check_layout(const struct mf_rec_layout *l)
{
    if (l->pool < MF_POOLS_MAX && l->world >= 1 && l->world <= MF_WORLD_MAX &&
        l->base <= BASE_MAX && l->max_hbm <= SLOT_MAX && l->max_dram <= SLOT_MAX) {
        return SMEM_OK;
    }
    return mf_err(SMEM_ERROR,
                  "pool map record of the store has pool %u at 0x%" PRIx64 " with slots of %" PRIu64
                  " + %" PRIu64 " bytes for %u ranks, which no rank writes",
                  l->pool, l->base, l->max_hbm, l->max_dram, l->world);
}

int mf_rec_get_map(const void *data, size_t len, struct mf_rec_map *rec)
{
    struct mf_rd rd;
    mf_rd_init(&rd, data, len);
    int rc = get_head(&rd, KIND_MAP, "pool map");
    if (rc != SMEM_OK) {
        return rc;
    }
    rec->count = mf_rd_u32(&rd);
    if (rec->count > MF_POOLS_MAX) {
        return mf_err(SMEM_ERROR, "pool map record of the store names %u pools, the limit is %u",
                      rec->count, MF_POOLS_MAX);
    }
    for (uint32_t i = 0; i < rec->count; i++) {
        rec->v[i].pool = mf_rd_u32(&rd);
        rec->v[i].base = mf_rd_u64(&rd);
        rec->v[i].max_hbm = mf_rd_u64(&rd);
        rec->v[i].max_dram = mf_rd_u64(&rd);
        rec->v[i].world = mf_rd_u32(&rd);
        rec->v[i].closing = mf_rd_u32(&rd);
    }
    rc = get_end(&rd, "pool map");
    for (uint32_t i = 0; i < rec->count && rc == SMEM_OK; i++) {
        rc = check_layout(&rec->v[i]);
    }
    return rc;
}

static void put_tag(struct cursor *c, const char *tag)
{
    size_t len = strnlen(tag, MF_TAG_MAX);
    put(c, len, 1);
    memcpy(c->at, tag, len);
    c->at += len;
}

/* A tag stands in sentences, so that nothing else than what it may consist of is let in. */
static void get_tag(struct mf_rd *rd, char *tag)
{
    size_t len = mf_rd_u8(rd);
    const uint8_t *bytes = len <= MF_TAG_MAX ? mf_rd_bytes(rd, len) : NULL;
    bool good = bytes != NULL;
    for (size_t i = 0; good && i < len; i++) {
        uint8_t b = bytes[i];
        good =
            (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || b == '_';
    }
    rd->bad = rd->bad || !good;
    memset(tag, 0, MF_TAG_MAX + 1);
    if (good) {
        memcpy(tag, bytes, len);
    }
}

static int get_tags(struct mf_rd *rd, struct mf_rec_member *rec)
{
    get_tag(rd, rec->tag);
    rec->tag_count = mf_rd_u8(rd);
    if (rec->tag_count > MF_TAG_PAIRS_MAX) {
        return mf_err(SMEM_ERROR, "pool member record of the store names %u tags, the limit is %u",
                      rec->tag_count, MF_TAG_PAIRS_MAX);
    }
    for (uint32_t i = 0; i < rec->tag_count; i++) {
        rec->tags[i].ops = mf_rd_u32(rd);
        get_tag(rd, rec->tags[i].name);
    }
    return SMEM_OK;
}

size_t mf_rec_put_member(uint8_t *buf, const struct mf_rec_member *rec)
{
    struct cursor c = {buf};
    put_head(&c, KIND_MEMBER);
    put_identity_body(&c, &rec->identity);
    put(&c, rec->hbm_bytes, 8);
    put(&c, rec->dram_bytes, 8);
    put(&c, rec->count, 1);
    for (uint32_t i = 0; i < rec->count; i++) {
        put(&c, rec->endpoint[i].data_ops, 4);
        put(&c, rec->endpoint[i].len, 1);
        memcpy(c.at, rec->endpoint[i].bytes, rec->endpoint[i].len);
        c.at += rec->endpoint[i].len;
    }
    put_tag(&c, rec->tag);
    put(&c, rec->tag_count, 1);
    for (uint32_t i = 0; i < rec->tag_count; i++) {
        put(&c, rec->tags[i].ops, 4);
        put_tag(&c, rec->tags[i].name);
    }
    return (size_t)(c.at - buf);
}

int mf_rec_get_member(const void *data, size_t len, struct mf_rec_member *rec)
{
    struct mf_rd rd;
    mf_rd_init(&rd, data, len);
    int rc = get_head(&rd, KIND_MEMBER, "pool member");
    if (rc != SMEM_OK) {
        return rc;
    }
    get_identity_body(&rd, &rec->identity);
    rec->hbm_bytes = mf_rd_u64(&rd);
    rec->dram_bytes = mf_rd_u64(&rd);
    rec->count = mf_rd_u8(&rd);
    if (rec->count > MF_TRANSPORTS_MAX) {
        return mf_err(SMEM_ERROR,
                      "pool member record of the store names %u transports, the limit is %u",
                      rec->count, MF_TRANSPORTS_MAX);
    }
    for (uint32_t i = 0; i < rec->count; i++) {
        rec->endpoint[i].data_ops = mf_rd_u32(&rd);
        rec->endpoint[i].len = mf_rd_u8(&rd);
        if (rec->endpoint[i].len > MF_ENDPOINT_MAX) {
            return mf_err(
                SMEM_ERROR,
                "pool member record of the store has an endpoint of %u bytes, the limit is %u",
                rec->endpoint[i].len, MF_ENDPOINT_MAX);
        }
        const void *bytes = mf_rd_bytes(&rd, rec->endpoint[i].len);
        if (bytes != NULL) {
            memcpy(rec->endpoint[i].bytes, bytes, rec->endpoint[i].len);
        }
    }
    rc = get_tags(&rd, rec);
    return rc == SMEM_OK ? get_end(&rd, "pool member") : rc;
}
