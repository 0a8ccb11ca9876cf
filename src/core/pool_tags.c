// SPDX-License-Identifier: Apache-2.0
// The parser of tag and tagOpInfo, and the look-up of pairs.
#include "core/pool_tags.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "smem_bm_def.h"

/* In the order in which a sentence proposes one. */
static const struct {
    const char *name;
    uint32_t bit;
} OPS[] = {
    {"HOST_SHM", SMEMB_DATA_OP_HOST_SHM},       {"DEVICE_SDMA", SMEMB_DATA_OP_SDMA},
    {"HOST_TCP", SMEMB_DATA_OP_HOST_TCP},       {"HOST_RDMA", SMEMB_DATA_OP_HOST_RDMA},
    {"DEVICE_RDMA", SMEMB_DATA_OP_DEVICE_RDMA}, {"HOST_URMA", SMEMB_DATA_OP_HOST_URMA},
    {"DEVICE_URMA", SMEMB_DATA_OP_DEVICE_URMA}, {"DEVICE_UBOE", SMEMB_DATA_OP_DEVICE_UBOE},
    {"DEVICE_MTE", MF_OP_DEVICE_MTE},           {"AIV_SDMA", MF_OP_AIV_SDMA},
};
#define OPS_COUNT (sizeof(OPS) / sizeof(OPS[0]))

/* A piece of the text that is parsed. */
struct piece {
    const char *at;
    size_t len;
};

static bool is_tag_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

const char *mf_tags_names(uint32_t ops, char *buf, size_t len)
{
    size_t used = 0;
    snprintf(buf, len, "none");
    for (size_t i = 0; i < OPS_COUNT && used < len; i++) {
        if (ops & OPS[i].bit) {
            used +=
                (size_t)snprintf(buf + used, len - used, "%s%s", used > 0 ? "|" : "", OPS[i].name);
        }
    }
    return buf;
}

/* ---- parsing
 * ----------------------------------------------------------------------------------- */

static int bad_tag(const char *where, size_t at, struct piece tag)
{
    return mf_err(
        SMEM_INVALID_PARAM,
        "%s, character %zu: tag \"%.*s\" is not 1 to %u characters of A-Z, a-z, 0-9 and _", where,
        at + 1, tag.len > 40 ? 40 : (int)tag.len, tag.at, MF_TAG_MAX);
}

/* `origin`: where the text begins that positions count from. */
static int take_tag(const char *where, const char *origin, struct piece tag, char *out)
{
    size_t good = 0;
    while (good < tag.len && is_tag_char(tag.at[good])) {
        good++;
    }
    if (tag.len == 0 || tag.len > MF_TAG_MAX || good < tag.len) {
        size_t at = good < tag.len && good < MF_TAG_MAX ? good : 0;
        return bad_tag(where, (size_t)(tag.at - origin) + at, tag);
    }
    memcpy(out, tag.at, tag.len);
    out[tag.len] = '\0';
    return SMEM_OK;
}

static int take_op(const char *origin, struct piece op, uint32_t *bit)
{
    char names[160];
    for (size_t i = 0; i < OPS_COUNT; i++) {
        if (strlen(OPS[i].name) == op.len && memcmp(OPS[i].name, op.at, op.len) == 0) {
            *bit = OPS[i].bit;
            return SMEM_OK;
        }
    }
    return mf_err(SMEM_INVALID_PARAM,
                  "tagOpInfo, character %zu: \"%.*s\" is no operator; there are %s",
                  (size_t)(op.at - origin) + 1, op.len > 40 ? 40 : (int)op.len, op.at,
                  mf_tags_names(UINT32_MAX, names, sizeof(names)));
}

static int add_pair(struct mf_tags *tags, const char *other, uint32_t bit)
{
    for (uint32_t i = 0; i < tags->count; i++) {
        if (strcmp(tags->pair[i].name, other) == 0) {
            tags->pair[i].ops |= bit;
            return SMEM_OK;
        }
    }
    if (tags->count == MF_TAG_PAIRS_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "tagOpInfo names more than %u tags", MF_TAG_PAIRS_MAX);
    }
    struct mf_rec_tag *pair = &tags->pair[tags->count++];
    pair->ops = bit;
    snprintf(pair->name, sizeof(pair->name), "%s", other);
    return SMEM_OK;
}

/* One "tagA:OP:tagB". */
static int take_entry(struct mf_tags *tags, const char *origin, struct piece entry)
{
    static const char where[] = "tagOpInfo";
    char a[MF_TAG_MAX + 1], b[MF_TAG_MAX + 1];
    uint32_t bit = 0;
    const char *end = entry.at + entry.len;
    const char *first = memchr(entry.at, ':', entry.len);
    const char *second = first != NULL ? memchr(first + 1, ':', (size_t)(end - first - 1)) : NULL;
    if (second == NULL) {
        return mf_err(SMEM_INVALID_PARAM,
                      "tagOpInfo, character %zu: \"%.*s\" is not of the form tagA:OPERATOR:tagB",
                      (size_t)(entry.at - origin) + 1, entry.len > 40 ? 40 : (int)entry.len,
                      entry.at);
    }
    int rc = take_tag(where, origin, (struct piece){entry.at, (size_t)(first - entry.at)}, a);
    if (rc == SMEM_OK) {
        rc = take_op(origin, (struct piece){first + 1, (size_t)(second - first - 1)}, &bit);
    }
    if (rc == SMEM_OK) {
        rc = take_tag(where, origin, (struct piece){second + 1, (size_t)(end - second - 1)}, b);
    }
    if (rc != SMEM_OK) {
        return rc;
    }
    tags->all |= bit;
    if (strcmp(a, tags->own) == 0) {
        return add_pair(tags, b, bit);
    }
    return strcmp(b, tags->own) == 0 ? add_pair(tags, a, bit) : SMEM_OK;
}

static int check_ends(const char *name, const char *text, size_t bytes)
{
    return memchr(text, '\0', bytes) != NULL
               ? SMEM_OK
               : mf_err(SMEM_INVALID_PARAM, "%s has no NUL within its %zu bytes", name, bytes);
}

int mf_tags_parse(const char *tag, size_t tag_bytes, const char *info, size_t info_bytes,
                  uint32_t data_ops, struct mf_tags *out)
{
    memset(out, 0, sizeof(*out));
    int rc = check_ends("tag", tag, tag_bytes);
    if (rc == SMEM_OK) {
        rc = check_ends("tagOpInfo", info, info_bytes);
    }
    if (rc == SMEM_OK && tag[0] != '\0') {
        rc = take_tag("tag", tag, (struct piece){tag, strlen(tag)}, out->own);
    } else if (rc == SMEM_OK) {
        snprintf(out->own, sizeof(out->own), "%s", MF_TAG_DEFAULT);
    }
    if (rc == SMEM_OK) {
        out->all = data_ops;
        rc = add_pair(out, out->own, data_ops);
    }
    for (const char *at = info; rc == SMEM_OK && *info != '\0';) {
        const char *comma = strchr(at, ',');
        rc = take_entry(out, info, (struct piece){at, comma ? (size_t)(comma - at) : strlen(at)});
        if (comma == NULL) {
            break;
        }
        at = comma + 1;
    }
    return rc;
}

/* ---- pairs
 * ------------------------------------------------------------------------------------- */

uint32_t mf_tags_find(const struct mf_rec_tag *pair, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(pair[i].name, name) == 0) {
            return pair[i].ops;
        }
    }
    return 0;
}

int mf_tags_allow(const struct mf_tags *own, uint32_t pool, uint32_t rank,
                  const struct mf_rec_member *member, uint32_t member_rank, uint32_t *mine,
                  uint32_t *theirs)
{
    size_t op = 0;
    *mine = mf_tags_find(own->pair, own->count, member->tag);
    *theirs = mf_tags_find(member->tags, member->tag_count, own->own);
    if (*mine != 0 && *theirs != 0) {
        return SMEM_OK;
    }
    while (op + 1 < OPS_COUNT && (own->all & OPS[op].bit) == 0) {
        op++;
    }
    char who[32] = "both";
    if (*mine != 0 || *theirs != 0) {
        snprintf(who, sizeof(who), "rank %u", *mine == 0 ? rank : member_rank);
    }
    return mf_err(
        SMEM_ERROR,
        "rank %u with tag \"%s\" and rank %u with tag \"%s\" have no operator in pool %u: "
        "the tagOpInfo of %s does not name the two tags; create the pool with "
        "\"%s:%s:%s\" in tagOpInfo on both ranks",
        rank, own->own, member_rank, member->tag, pool, who, own->own, OPS[op].name, member->tag);
}
