// SPDX-License-Identifier: Apache-2.0
// Execution of requests by the store's server. Every request is answered exactly once: with its
// result, with an error sentence, or later, when it waits. Watchers hear of a change before its
// author does.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mutant.h"
#include "store/server_priv.h"

/* A list of keys is sent in pieces of about this size. */
#define PIECE_BYTES (256u * 1024u)

static const void *value_of(const struct mf_kv_entry *entry)
{
    return entry->value != NULL ? (const void *)entry->value : "";
}

static void reply(struct mf_server_conn *conn, const struct mf_smsg_reply *msg)
{
    struct mf_wr wr;
    mf_srv_send_begin(conn, MF_SMSG_REPLY, &wr);
    mf_smsg_put_reply(&wr, msg);
    mf_srv_send_end(conn, &wr);
}

void mf_srv_reply_error(struct mf_server_conn *conn, uint32_t id, int rc)
{
    const char *text = mf_err_msg();
    reply(conn,
          &(struct mf_smsg_reply){.id = id, .rc = rc, .value = text, .value_len = strlen(text)});
}

void mf_srv_reply_value(struct mf_server_conn *conn, uint32_t id, const struct mf_kv_entry *entry)
{
    reply(conn, &(struct mf_smsg_reply){.id = id,
                                        .rev = entry->rev,
                                        .value = value_of(entry),
                                        .value_len = entry->value_len});
}

/* A change has been made: events first, then who waited for the key. */
static void changed(struct mf_server_sm *sm, const struct mf_kv_entry *entry)
{
    mf_srv_publish(sm, MF_SMSG_PUT, entry);
    mf_srv_wait_wake(sm, entry);
}

static struct mf_kv_entry *find(struct mf_server_conn *conn, const struct mf_smsg_request *req)
{
    return mf_kv_find(&conn->sm->kv, req->key, req->key_len);
}

static int put(struct mf_server_conn *conn, const struct mf_smsg_request *req,
               struct mf_kv_owner *owner, struct mf_kv_entry **out)
{
    int rc =
        mf_kv_put(&conn->sm->kv, req->key, req->key_len, req->value, req->value_len, owner, out);
    if (rc == SMEM_OK)
        changed(conn->sm, *out);
    return rc;
}

static struct mf_kv_owner *owner_for(struct mf_server_conn *conn, const struct mf_smsg_request *req)
{
    return (req->flags & MF_STORE_EPHEMERAL) ? &conn->owner : NULL;
}

static int op_set(struct mf_server_conn *conn, const struct mf_smsg_request *req)
{
    struct mf_kv_entry *entry;
    if (req->value == NULL)
        return mf_err(SMEM_INVALID_PARAM, "set without a value");
    int rc = put(conn, req, owner_for(conn, req), &entry);
    if (rc == SMEM_OK)
        reply(conn, &(struct mf_smsg_reply){.id = req->id, .rev = entry->rev});
    return rc;
}

static int op_get(struct mf_server_conn *conn, const struct mf_smsg_request *req)
{
    struct mf_kv_entry *entry = find(conn, req);
    if (entry == NULL && (req->flags & MF_STORE_WAIT))
        return mf_srv_wait_key(conn, req);
    if (entry == NULL)
        return mf_err(SMEM_NOT_EXIST, "no such key");
    mf_srv_reply_value(conn, req->id, entry);
    return SMEM_OK;
}

/* The decimal number that a value is, all of it. */
static int parse_number(const struct mf_kv_entry *entry, int64_t *out)
{
    char text[24];
    char *end;
    size_t digits = entry->value_len;
    if (digits > 0 && digits < sizeof(text)) {
        memcpy(text, entry->value, digits);
        text[digits] = '\0';
        bool begins = (text[0] >= '0' && text[0] <= '9') || (text[0] == '-' && digits > 1);
        errno = 0;
        *out = strtoll(text, &end, 10);
        if (begins && end == text + digits && errno == 0)
            return SMEM_OK;
    }
    return mf_err(SMEM_INVALID_PARAM, "the value there (%zu bytes) is not a decimal int64", digits);
}

/* The owner of an ephemeral key sets it again after a restart of the store: it must know the whole
 * value, so nobody changes a part of it. */
static int refuse_ephemeral(const struct mf_kv_entry *entry)
{
    if (entry == NULL || entry->owner == NULL)
        return SMEM_OK;
    return mf_err(SMEM_INVALID_PARAM,
                  "the key is ephemeral: it can be set or swapped, not added or appended to");
}

static int op_add(struct mf_server_conn *conn, const struct mf_smsg_request *req)
{
    struct mf_kv_entry *entry = find(conn, req);
    struct mf_smsg_request text_req = *req;
    int64_t old = 0;
    int64_t sum;
    char text[24];
    int rc = refuse_ephemeral(entry);
    if (rc == SMEM_OK && entry != NULL)
        rc = parse_number(entry, &old);
    if (rc != SMEM_OK)
        return rc;
    if (__builtin_add_overflow(old, (int64_t)req->number, &sum))
        return mf_err(SMEM_INVALID_PARAM, "%" PRId64 " + %" PRId64 " does not fit an int64", old,
                      (int64_t)req->number);
    text_req.value = text;
    text_req.value_len = (size_t)snprintf(text, sizeof(text), "%" PRId64, sum);
    rc = put(conn, &text_req, NULL, &entry);
    if (rc == SMEM_OK)
        reply(conn,
              &(struct mf_smsg_reply){.id = req->id, .number = (uint64_t)sum, .rev = entry->rev});
    return rc;
}

static int op_append(struct mf_server_conn *conn, const struct mf_smsg_request *req)
{
    struct mf_kv_entry *entry = find(conn, req);
    if (req->value == NULL)
        return mf_err(SMEM_INVALID_PARAM, "append without a value");
    int rc = refuse_ephemeral(entry);
    if (rc != SMEM_OK)
        return rc;
    rc = mf_kv_append(&conn->sm->kv, req->key, req->key_len, req->value, req->value_len, &entry);
    if (rc != SMEM_OK)
        return rc;
    changed(conn->sm, entry);
    reply(conn,
          &(struct mf_smsg_reply){.id = req->id, .number = entry->value_len, .rev = entry->rev});
    return SMEM_OK;
}

static void drop(struct mf_server_sm *sm, struct mf_kv_entry *entry)
{
    mf_srv_publish(sm, MF_SMSG_DELETE, entry);
    mf_kv_remove(&sm->kv, entry);
}

/* Whoever removes a key that lives with another session takes that one for dead: it is told so, and
 * all else that it has goes with it. */
static void take_away(struct mf_server_conn *conn, struct mf_kv_entry *entry)
{
    if (entry->owner == NULL || entry->owner == &conn->owner)
        drop(conn->sm, entry);
    else
        mf_srv_expel(mf_srv_conn_of(entry->owner),
                     "another session has removed one of its keys: it was declared dead");
}

static int op_cas(struct mf_server_conn *conn, const struct mf_smsg_request *req)
{
    struct mf_kv_entry *entry = find(conn, req);
    struct mf_smsg_reply msg = {.id = req->id, .swapped = 1};
    bool match = entry == NULL ? req->expect == NULL
                               : req->expect != NULL && req->expect_len == entry->value_len &&
                                     memcmp(req->expect, value_of(entry), entry->value_len) == 0;
    if (!match) {
        msg.swapped = 0;
        if (entry != NULL) {
            msg.value = value_of(entry);
            msg.value_len = entry->value_len;
            msg.rev = entry->rev;
        }
    } else if (req->value == NULL) {
        if (entry != NULL)
            take_away(conn, entry);
    } else {
        int rc = put(conn, req, owner_for(conn, req), &entry);
        if (rc != SMEM_OK)
            return rc;
        msg.rev = entry->rev;
    }
    reply(conn, &msg);
    return SMEM_OK;
}

static int op_remove(struct mf_server_conn *conn, const struct mf_smsg_request *req)
{
    struct mf_kv_entry *entry = find(conn, req);
    if (entry == NULL)
        return mf_err(SMEM_NOT_EXIST, "no such key");
    take_away(conn, entry);
    reply(conn, &(struct mf_smsg_reply){.id = req->id});
    return SMEM_OK;
}

/* One frame of items, from *at on; *at becomes the entry after it. */
static void send_piece(struct mf_server_conn *conn, uint8_t type, uint32_t id, const char *prefix,
                       size_t prefix_len, bool values, bool first, struct mf_kv_entry **at)
{
    struct mf_wr wr;
    bool sync = type == MF_SMSG_SYNC;
    size_t flags_at = 0;
    mf_srv_send_begin(conn, type, &wr);
    mf_wr_u32(&wr, id);
    if (sync) {
        flags_at = conn->out.buf.len;
        mf_wr_u8(&wr, first ? MF_SMSG_SYNC_BEGIN : 0);
    }
    size_t begin = conn->out.buf.len;
    while (*at != NULL && wr.rc == SMEM_OK && conn->out.buf.len - begin < PIECE_BYTES) {
        struct mf_kv_entry *entry = *at;
        struct mf_smsg_item item = {.kind = MF_SMSG_PUT,
                                    .key = entry->key,
                                    .key_len = entry->node.key_len,
                                    .value = entry->value,
                                    .value_len = values ? entry->value_len : 0};
        if (sync)
            mf_item_put(&wr, &conn->last, &item);
        else
            mf_smsg_put_item(&wr, &item);
        *at = mf_kv_next(entry, prefix, prefix_len);
    }
    if (sync && *at == NULL && wr.rc == SMEM_OK)
        conn->out.buf.data[flags_at] |= MF_SMSG_SYNC_END;
    mf_srv_send_end(conn, &wr);
}

bool mf_srv_send_items(struct mf_server_conn *conn, uint8_t type, uint32_t id, const char *prefix,
                       size_t prefix_len, bool values, size_t *count)
{
    const struct mf_kv *kv = &conn->sm->kv;
    size_t limit = conn->sm->cfg.queue_max / 2;
    size_t bytes = 0;
    struct mf_kv_entry *first = mf_kv_first(kv, prefix, prefix_len);
    *count = 0;
    for (struct mf_kv_entry *at = first; at != NULL; at = mf_kv_next(at, prefix, prefix_len)) {
        bytes += at->node.key_len + (values ? at->value_len : 0) + MF_SMSG_ITEM_OVERHEAD;
        (*count)++;
    }
    if (bytes > limit) {
        mf_err(SMEM_NO_RESOURCES,
               "%zu keys with this prefix make %zu bytes, the limit is %zu: take a longer prefix",
               *count, bytes, limit);
        return false;
    }
    struct mf_kv_entry *at = first;
    for (bool begin = true; at != NULL || (begin && type == MF_SMSG_SYNC); begin = false) {
        send_piece(conn, type, id, prefix, prefix_len, values, begin, &at);
        if (conn->state != CONN_OPEN)
            break;
    }
    return true;
}

static int op_list(struct mf_server_conn *conn, const struct mf_smsg_request *req)
{
    size_t count;
    bool values = (req->flags & MF_STORE_KEYS) == 0;
    if (!mf_srv_send_items(conn, MF_SMSG_PART, req->id, req->key, req->key_len, values, &count))
        return SMEM_NO_RESOURCES;
    reply(conn, &(struct mf_smsg_reply){.id = req->id, .number = count});
    return SMEM_OK;
}

/* Who keeps a key that a restored session announces and another session holds already? During
 * recovery the announcement beats a newcomer, and of two announcements the later change in the
 * store's former life; after recovery who holds it keeps it. */
static bool announce_wins(struct mf_server_conn *conn, uint64_t now_ns,
                          const struct mf_kv_entry *entry, uint64_t rev)
{
    bool in_time = MF_MUTANT(LATE_ANNOUNCE) || mf_server_sm_recovering(conn->sm, now_ns);
    if (entry->owner == NULL || !in_time)
        return false;
    return !mf_srv_conn_of(entry->owner)->reopened || rev > entry->rev;
}

static int op_announce(struct mf_server_conn *conn, uint64_t now_ns,
                       const struct mf_smsg_request *req)
{
    struct mf_kv *kv = &conn->sm->kv;
    struct mf_kv_entry *entry = find(conn, req);
    if (!conn->reopened || req->value == NULL)
        return mf_err(SMEM_INVALID_PARAM,
                      "announced by a session that this server has not restored");
    if (entry != NULL && entry->owner != &conn->owner) {
        if (!announce_wins(conn, now_ns, entry, req->number)) {
            reply(conn, &(struct mf_smsg_reply){.id = req->id});
            return SMEM_OK;
        }
        mf_srv_expel(mf_srv_conn_of(entry->owner), /* removes the entry */
                     "its key was taken back by a session from before the store's restart");
    }
    int rc = put(conn, req, &conn->owner, &entry);
    if (rc != SMEM_OK)
        return rc;
    entry->rev = req->number;
    if (kv->rev < req->number)
        kv->rev = req->number;
    reply(conn, &(struct mf_smsg_reply){.id = req->id, .swapped = 1, .rev = entry->rev});
    return SMEM_OK;
}

void mf_srv_execute(struct mf_server_conn *conn, uint64_t now_ns, const struct mf_smsg_request *req)
{
    int rc;
    if (req->key_len == 0 && req->op != MF_STORE_LIST) {
        rc = mf_err(SMEM_INVALID_PARAM, "the key is empty");
        mf_srv_reply_error(conn, req->id, rc);
        return;
    }
    switch (req->op) {
    case MF_STORE_SET:
        rc = op_set(conn, req);
        break;
    case MF_STORE_GET:
        rc = op_get(conn, req);
        break;
    case MF_STORE_ADD:
        rc = op_add(conn, req);
        break;
    case MF_STORE_APPEND:
        rc = op_append(conn, req);
        break;
    case MF_STORE_CAS:
        rc = op_cas(conn, req);
        break;
    case MF_STORE_REMOVE:
        rc = op_remove(conn, req);
        break;
    case MF_STORE_LIST:
        rc = op_list(conn, req);
        break;
    case MF_SMSG_OP_ANNOUNCE:
        rc = op_announce(conn, now_ns, req);
        break;
    default:
        rc = mf_err(SMEM_INVALID_PARAM, "this server knows no operation %u", req->op);
        break;
    }
    if (rc != SMEM_OK)
        mf_srv_reply_error(conn, req->id, rc);
}

void mf_srv_request(struct mf_server_conn *conn, uint64_t now_ns, const uint8_t *body, size_t len)
{
    struct mf_smsg_request req;
    conn->sm->requests++;
    int rc = mf_smsg_get_request(body, len, &req);
    if (rc == SMEM_INVALID_PARAM) {
        mf_srv_cut(conn, mf_err_msg());
        return;
    }
    bool claim = req.op == MF_STORE_CAS && req.expect == NULL && req.value != NULL &&
                 (req.flags & MF_STORE_EPHEMERAL) != 0;
    /* Also of a session that is restored: what it had, it announces; what it claims it has not. */
    if (rc == SMEM_OK && claim && !MF_MUTANT(EARLY_NEWCOMER) &&
        mf_server_sm_recovering(conn->sm, now_ns)) {
        rc = mf_srv_wait_recovery(conn, body, len, &req);
    } else if (rc == SMEM_OK) {
        mf_srv_execute(conn, now_ns, &req);
        return;
    }
    if (rc != SMEM_OK)
        mf_srv_reply_error(conn, req.id, rc);
}
