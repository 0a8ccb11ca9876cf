// SPDX-License-Identifier: Apache-2.0
// Items as differences. A key is the number of bytes that it shares with the front of the last one,
// and the rest. A value is sent whole or as runs: so many bytes as at the same place in the last
// value, then so many new ones, until it is complete.
#include "wire/store_item.h"

#include <string.h>

#define KIND_MASK 3u
#define BY_RUNS   4u /* the value is written as runs */
#define RUN_MAX   255u
/* Fewer equal bytes are cheaper among new ones than as a run of their own. */
#define RUN_MIN 3u

void mf_item_prev_reset(struct mf_item_prev *prev)
{
    prev->key_len = 0;
    prev->value_len = 0;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* How many bytes from `at` on are as in the last value; at most `max`. */
static size_t same_bytes(const struct mf_item_prev *prev, const uint8_t *value, size_t len,
                         size_t at, size_t max)
{
    size_t end = len < prev->value_len ? len : prev->value_len;
    size_t n = 0;
    while (at + n < end && n < max && value[at + n] == prev->value[at + n])
        n++;
    return n;
}

/* The runs of a value, if they are fewer bytes than it; else 0. */
static size_t make_runs(const struct mf_item_prev *prev, const uint8_t *value, size_t len,
                        uint8_t out[MF_ITEM_VALUE_MAX])
{
    size_t used = 0;
    size_t at = 0;
    while (at < len) {
        size_t same = same_bytes(prev, value, len, at, RUN_MAX);
        size_t from = at + same;
        size_t to = from;
        while (to < len && to - from < RUN_MAX &&
               same_bytes(prev, value, len, to, RUN_MIN) < RUN_MIN)
            to++;
        if (used + 2 + (to - from) >= len)
            return 0;
        out[used++] = (uint8_t)same;
        if (from < len) {
            out[used++] = (uint8_t)(to - from);
            memcpy(out + used, value + from, to - from);
            used += to - from;
        }
        at = to;
    }
    return used;
}

static void remember_value(struct mf_item_prev *prev, const void *value, size_t len)
{
    if (len == 0 || len > MF_ITEM_VALUE_MAX)
        return;
    memcpy(prev->value, value, len);
    prev->value_len = len;
}

static size_t shared_key(const struct mf_item_prev *prev, const struct mf_smsg_item *item)
{
    size_t n = 0;
    while (n < prev->key_len && n < item->key_len && prev->key[n] == item->key[n])
        n++;
    return n;
}

void mf_item_put(struct mf_wr *wr, struct mf_item_prev *prev, const struct mf_smsg_item *item)
{
    uint8_t runs[MF_ITEM_VALUE_MAX];
    size_t shared = shared_key(prev, item);
    size_t rest = item->key_len - shared;
    bool put = item->kind == MF_SMSG_PUT;
    size_t runs_len = put && item->value_len <= MF_ITEM_VALUE_MAX
                          ? make_runs(prev, item->value, item->value_len, runs)
                          : 0;
    mf_wr_u8(wr, (uint8_t)((unsigned)item->kind | (runs_len > 0 ? BY_RUNS : 0)));
    mf_wr_varint(wr, (uint32_t)shared);
    mf_wr_varint(wr, (uint32_t)rest);
    mf_wr_bytes(wr, item->key + shared, rest);
    memcpy(prev->key + shared, item->key + shared, rest);
    prev->key_len = item->key_len;
    if (!put)
        return;
    mf_wr_varint(wr, (uint32_t)item->value_len);
    if (runs_len > 0)
        mf_wr_bytes(wr, runs, runs_len);
    else
        mf_wr_bytes(wr, item->value, item->value_len);
    remember_value(prev, item->value, item->value_len);
}

/* ---- reading ------------------------------------------------------------------------------- */

static void get_key(struct mf_rd *rd, struct mf_item_prev *prev, struct mf_smsg_item *out)
{
    size_t shared = mf_rd_varint(rd);
    size_t rest = mf_rd_varint(rd);
    if (shared > prev->key_len || rest > MF_KEY_MAX || shared + rest > MF_KEY_MAX ||
        shared + rest == 0)
        rd->bad = true;
    const char *text = mf_rd_bytes(rd, rest);
    if (text == NULL || (rest > 0 && memchr(text, '\0', rest) != NULL)) {
        rd->bad = true;
        return;
    }
    memcpy(prev->key + shared, text, rest);
    prev->key_len = shared + rest;
    prev->key[prev->key_len] = '\0';
    out->key = prev->key;
    out->key_len = prev->key_len;
}

/* The runs lie over the last value, which becomes this one. */
static void get_runs(struct mf_rd *rd, struct mf_item_prev *prev, size_t len)
{
    size_t at = 0;
    while (at < len && !rd->bad) {
        size_t same = mf_rd_u8(rd);
        if (same > len - at || (same > 0 && at + same > prev->value_len)) {
            rd->bad = true;
            return;
        }
        at += same;
        size_t fresh = at < len ? mf_rd_u8(rd) : 0;
        const void *bytes = fresh <= len - at ? mf_rd_bytes(rd, fresh) : NULL;
        if (bytes == NULL || same + fresh == 0) {
            rd->bad = true;
            return;
        }
        memcpy(prev->value + at, bytes, fresh);
        at += fresh;
    }
}

static void get_value(struct mf_rd *rd, struct mf_item_prev *prev, bool by_runs,
                      struct mf_smsg_item *out)
{
    size_t len = mf_rd_varint(rd);
    if (len > (by_runs ? MF_ITEM_VALUE_MAX : MF_VALUE_MAX) || (by_runs && len == 0)) {
        rd->bad = true;
        return;
    }
    out->value_len = len;
    if (by_runs) {
        get_runs(rd, prev, len);
        prev->value_len = len;
        out->value = prev->value;
        return;
    }
    out->value = mf_rd_bytes(rd, len);
    if (out->value != NULL)
        remember_value(prev, out->value, len);
}

bool mf_item_get(struct mf_rd *rd, struct mf_item_prev *prev, struct mf_smsg_item *out)
{
    *out = (struct mf_smsg_item){.kind = MF_SMSG_PUT};
    if (mf_rd_left(rd) == 0)
        return false;
    unsigned head = mf_rd_u8(rd);
    unsigned kind = head & KIND_MASK;
    if (kind > MF_SMSG_EXPIRE || (head & ~KIND_MASK) > (kind == MF_SMSG_PUT ? BY_RUNS : 0))
        rd->bad = true;
    out->kind = (enum mf_smsg_kind)kind;
    get_key(rd, prev, out);
    if (!rd->bad && kind == MF_SMSG_PUT)
        get_value(rd, prev, (head & BY_RUNS) != 0, out);
    return !rd->bad;
}
