// SPDX-License-Identifier: Apache-2.0
// Requests of a store client, from submission to the one call of their callback, and the record of
// the session's ephemeral keys, which are set again when the store was restarted.
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/mutant.h"
#include "store/client_priv.h"

/* No further request is queued while this much waits to be sent. */
#define PUSH_BYTES (4u << 20)
#define SLOT_MASK  (MF_STORE_INFLIGHT_MAX - 1)
_Static_assert((MF_STORE_INFLIGHT_MAX & SLOT_MASK) == 0, "the slot is the low bits of an id");

static const char *op_name(uint8_t op)
{
    static const char *const names[] = {
        [MF_STORE_SET] = "set",       [MF_STORE_GET] = "get", [MF_STORE_ADD] = "add",
        [MF_STORE_APPEND] = "append", [MF_STORE_CAS] = "cas", [MF_STORE_REMOVE] = "remove",
        [MF_STORE_LIST] = "list keys"};
    return names[op];
}

static bool idempotent(const struct mf_client_req *req)
{
    return req->msg.op == MF_STORE_GET || req->msg.op == MF_STORE_LIST;
}

/* ---- making one -------------------------------------------------------------------------------
 */

static int check(const struct mf_store_req *req, size_t *key_len)
{
    if (req->op < MF_STORE_SET || req->op > MF_STORE_LIST)
        return mf_err(SMEM_INVALID_PARAM, "store request: there is no operation %d", (int)req->op);
    const char *name = op_name((uint8_t)req->op);
    if (req->key == NULL)
        return mf_err(SMEM_INVALID_PARAM, "%s: the key is NULL", name);
    *key_len = strlen(req->key);
    if (*key_len == 0 && req->op != MF_STORE_LIST)
        return mf_err(SMEM_INVALID_PARAM, "%s: the key is empty, 1..%u bytes are allowed", name,
                      MF_KEY_MAX);
    if (*key_len > MF_KEY_MAX)
        return mf_err(SMEM_INVALID_PARAM, "%s \"%.40s...\": the key has %zu bytes, the limit is %u",
                      name, req->key, *key_len, MF_KEY_MAX);
    if (req->value_len > MF_VALUE_MAX || req->expect_len > MF_VALUE_MAX)
        return mf_err(SMEM_INVALID_PARAM, "%s \"%.80s\": a value has %zu bytes, the limit is %u",
                      name, req->key,
                      req->value_len > req->expect_len ? req->value_len : req->expect_len,
                      MF_VALUE_MAX);
    if (req->value == NULL && req->value_len > 0)
        return mf_err(SMEM_INVALID_PARAM, "%s \"%.80s\": the value is NULL but has %zu bytes", name,
                      req->key, req->value_len);
    if (req->expect == NULL && req->expect_len > 0)
        return mf_err(SMEM_INVALID_PARAM, "%s \"%.80s\": expect is NULL but has %zu bytes", name,
                      req->key, req->expect_len);
    return SMEM_OK;
}

void mf_client_req_destroy(struct mf_client_req *req)
{
    if (req->open != NULL)
        atomic_fetch_sub(req->open, 1);
    mf_free(req->eph);
    mf_buf_fini(&req->parts);
    mf_buf_fini(&req->body);
    mf_free(req);
}

/* What the session will own when this request succeeds. */
static int eph_create(const struct mf_store_req *req, size_t key_len, struct client_eph **out)
{
    bool sets = req->op == MF_STORE_SET || (req->op == MF_STORE_CAS && req->value != NULL);
    if (!sets || !(req->flags & MF_STORE_EPHEMERAL))
        return SMEM_OK;
    struct client_eph *eph =
        mf_calloc(1, sizeof(*eph) + key_len + 1 + req->value_len, "ephemeral key");
    if (eph == NULL)
        return SMEM_MALLOC_FAILED;
    memcpy(eph->key, req->key, key_len);
    eph->key_len = key_len;
    eph->value = (uint8_t *)eph->key + key_len + 1;
    eph->value_len = req->value_len;
    if (req->value_len > 0)
        memcpy(eph->value, req->value, req->value_len);
    *out = eph;
    return SMEM_OK;
}

int mf_client_req_create(const struct mf_store_req *in, mf_store_done_fn done, void *arg,
                         struct mf_client_req **out)
{
    struct mf_wr wr;
    size_t key_len = 0;
    *out = NULL;
    int rc = check(in, &key_len);
    if (rc != SMEM_OK)
        return rc;
    struct mf_client_req *req = mf_calloc(1, sizeof(*req), "store request");
    if (req == NULL)
        return SMEM_MALLOC_FAILED;
    req->done = done;
    req->arg = arg;
    req->deadline_ns = in->deadline_ns;
    mf_buf_init(&req->body, MF_FRAME_MAX);
    mf_buf_init(&req->parts, MF_STORE_QUEUE_MAX);
    bool carries = in->op == MF_STORE_SET || in->op == MF_STORE_APPEND;
    const void *value = in->value == NULL && carries ? "" : in->value;
    struct mf_smsg_request msg = {.op = (uint8_t)in->op,
                                  .flags = (uint8_t)in->flags,
                                  .key = in->key,
                                  .key_len = key_len,
                                  .number = (uint64_t)in->add,
                                  .value = value,
                                  .value_len = in->value_len,
                                  .expect = in->expect,
                                  .expect_len = in->expect_len};
    mf_wr_init(&wr, &req->body);
    mf_smsg_put_request(&wr, &msg);
    rc = wr.rc;
    if (rc == SMEM_OK)
        rc = eph_create(in, key_len, &req->eph);
    if (rc != SMEM_OK) {
        mf_client_req_destroy(req);
        return rc;
    }
    MF_ASSERT(mf_smsg_get_request(req->body.data, req->body.len, &req->msg) == SMEM_OK);
    *out = req;
    return SMEM_OK;
}

/* ---- the table --------------------------------------------------------------------------------
 */

static void table_remove(struct mf_client_sm *sm, struct mf_client_req *req)
{
    struct mf_client_req *before = NULL;
    sm->slots[req->id & SLOT_MASK] = NULL;
    if (--sm->open_count == 0)
        sm->req_next_ns = UINT64_MAX; /* no wake-up for deadlines that are gone */
    if (req->sent)
        return;
    struct mf_client_req *at = sm->unsent_head;
    while (at != NULL && at != req) {
        before = at;
        at = at->next_unsent;
    }
    if (at == NULL)
        return;
    if (before != NULL)
        before->next_unsent = req->next_unsent;
    else
        sm->unsent_head = req->next_unsent;
    if (sm->unsent_tail == req)
        sm->unsent_tail = before;
}

/* The request is over: out of the table first, for its callback may submit the next one. */
static void finish(struct mf_client_sm *sm, struct mf_client_req *req,
                   const struct mf_store_rsp *rsp)
{
    table_remove(sm, req);
    if (req->done != NULL)
        req->done(req->arg, rsp);
    mf_client_req_destroy(req);
}

static void finish_error(struct mf_client_sm *sm, struct mf_client_req *req, int rc,
                         const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* "get "key" at store tcp://...: <text>". A change that was sent and has timed out stays in the
 * table without its callback: when its answer comes after all, the record of ephemeral keys must
 * follow. */
static void finish_error(struct mf_client_sm *sm, struct mf_client_req *req, int rc,
                         const char *fmt, ...)
{
    char msg[MF_ERR_MSG_MAX];
    va_list args;
    mf_store_done_fn done = req->done;
    int used = snprintf(msg, sizeof(msg), "%s \"%.80s%s\" at store %s: ", op_name(req->msg.op),
                        req->msg.key, req->msg.key_len > 80 ? "..." : "", sm->addr);
    va_start(args, fmt);
    vsnprintf(msg + used, sizeof(msg) - (size_t)used, fmt, args);
    va_end(args);
    struct mf_store_rsp rsp = {.rc = rc, .msg = msg};
    if (rc != SMEM_TIMEOUT || idempotent(req) || !req->sent || done == NULL) {
        finish(sm, req, &rsp);
        return;
    }
    req->done = NULL;
    req->deadline_ns = UINT64_MAX;
    done(req->arg, &rsp);
}

static struct mf_client_req *find(struct mf_client_sm *sm, uint32_t id)
{
    struct mf_client_req *req = sm->slots[id & SLOT_MASK];
    return req != NULL && req->id == id ? req : NULL;
}

static void unsent_append(struct mf_client_sm *sm, struct mf_client_req *req)
{
    req->sent = false;
    req->next_unsent = NULL;
    if (sm->unsent_tail != NULL)
        sm->unsent_tail->next_unsent = req;
    else
        sm->unsent_head = req;
    sm->unsent_tail = req;
}

static struct client_eph **eph_find(struct mf_client_sm *sm, const char *key, size_t len)
{
    struct client_eph **link = &sm->ephs;
    while (*link != NULL && ((*link)->key_len != len || memcmp((*link)->key, key, len) != 0))
        link = &(*link)->next;
    return link;
}

static void eph_drop(struct client_eph **link)
{
    struct client_eph *eph = *link;
    if (eph == NULL)
        return;
    *link = eph->next;
    mf_free(eph);
}

void mf_client_sm_submit(struct mf_client_sm *sm, uint64_t now_ns, struct mf_client_req *req)
{
    struct mf_store_rsp refused = {.rc = SMEM_NOT_CONNECTED, .msg = sm->why};
    if (sm->state == MF_CLIENT_CLOSED || sm->closing) {
        req->done(req->arg, &refused);
        mf_client_req_destroy(req);
        return;
    }
    if (sm->open_count >= MF_STORE_INFLIGHT_MAX) {
        refused.rc = SMEM_NO_RESOURCES;
        refused.msg = "too many requests of this client are not answered yet";
        req->done(req->arg, &refused);
        mf_client_req_destroy(req);
        return;
    }
    while (sm->slots[sm->slot_hint] != NULL)
        sm->slot_hint = (sm->slot_hint + 1) & SLOT_MASK;
    sm->generation++;
    req->id =
        ((sm->generation * MF_STORE_INFLIGHT_MAX) | sm->slot_hint) & (CLIENT_ANNOUNCE_BIT - 1);
    mf_put_u32(req->body.data, req->id);
    sm->slots[sm->slot_hint] = req;
    sm->slot_hint = (sm->slot_hint + 1) & SLOT_MASK;
    sm->open_count++;
    req->begin_ns = now_ns;
    /* Whether or not this is answered: a store that is started again must not hear of the key. */
    if (req->msg.op == MF_STORE_REMOVE)
        eph_drop(eph_find(sm, req->msg.key, req->msg.key_len));
    if (req->deadline_ns < sm->req_next_ns && !MF_MUTANT(DEADLINE))
        sm->req_next_ns = req->deadline_ns;
    unsent_append(sm, req);
    mf_cl_req_push(sm);
}

void mf_cl_req_push(struct mf_client_sm *sm)
{
    struct mf_wr wr;
    const uint8_t *data;
    while (sm->unsent_head != NULL && sm->state == MF_CLIENT_OPEN && !sm->drop &&
           mf_outq_peek(&sm->out, &data) < PUSH_BYTES) {
        struct mf_client_req *req = sm->unsent_head;
        uint64_t at = sm->stream_queued;
        mf_cl_begin(sm, MF_SMSG_REQUEST, &wr);
        mf_wr_bytes(&wr, req->body.data, req->body.len);
        if (!mf_cl_end(sm, &wr))
            return;
        sm->unsent_head = req->next_unsent;
        if (sm->unsent_head == NULL)
            sm->unsent_tail = NULL;
        req->sent = true;
        req->stream_at = at;
    }
}

void mf_cl_req_lost(struct mf_client_sm *sm)
{
    uint64_t sent = sm->stream_sent;
    struct mf_client_req *later = sm->unsent_head;
    sm->unsent_head = NULL;
    sm->unsent_tail = NULL;
    /* What goes out again does so in its old order: by stream position, then what was never queued.
     */
    for (;;) {
        struct mf_client_req *first = NULL;
        for (uint32_t i = 0; i < MF_STORE_INFLIGHT_MAX; i++) {
            struct mf_client_req *req = sm->slots[i];
            if (req != NULL && req->sent && (idempotent(req) || req->stream_at >= sent) &&
                (first == NULL || req->stream_at < first->stream_at))
                first = req;
        }
        if (first == NULL)
            break;
        mf_buf_clear(&first->parts);
        unsent_append(sm, first);
    }
    while (later != NULL) {
        struct mf_client_req *next = later->next_unsent;
        unsent_append(sm, later);
        later = next;
    }
    for (uint32_t i = 0; i < MF_STORE_INFLIGHT_MAX; i++) {
        struct mf_client_req *req = sm->slots[i];
        if (req != NULL && req->sent)
            finish_error(sm, req, SMEM_NOT_CONNECTED,
                         "the connection broke before the answer (%s); it may have been executed",
                         sm->why);
    }
}

void mf_cl_req_fail_all(struct mf_client_sm *sm, const char *why)
{
    for (uint32_t i = 0; i < MF_STORE_INFLIGHT_MAX; i++) {
        if (sm->slots[i] != NULL)
            finish_error(sm, sm->slots[i], SMEM_NOT_CONNECTED, "%s", why);
    }
}

static void timed_out(struct mf_client_sm *sm, struct mf_client_req *req, uint64_t now_ns)
{
    uint64_t ms = (now_ns - req->begin_ns) / MF_NS_PER_MS;
    bool waits = req->msg.op == MF_STORE_GET && (req->msg.flags & MF_STORE_WAIT) != 0;
    struct mf_wr wr;
    if (req->sent && sm->state == MF_CLIENT_OPEN) { /* whatever it waits for there */
        mf_cl_begin(sm, MF_SMSG_CANCEL, &wr);
        mf_wr_u32(&wr, req->id);
        mf_cl_end(sm, &wr);
    }
    if (sm->state != MF_CLIENT_OPEN)
        finish_error(sm, req, SMEM_TIMEOUT, "no connection within %" PRIu64 " ms (%s)", ms,
                     sm->why[0] != '\0' ? sm->why : "still connecting");
    else if (waits)
        finish_error(sm, req, SMEM_TIMEOUT, "nobody has set the key within %" PRIu64 " ms", ms);
    else
        finish_error(sm, req, SMEM_TIMEOUT, "no answer within %" PRIu64 " ms%s", ms,
                     req->sent && !idempotent(req) ? "; it may have been executed" : "");
}

void mf_cl_req_tick(struct mf_client_sm *sm, uint64_t now_ns)
{
    if (now_ns < sm->req_next_ns)
        return;
    sm->req_next_ns = UINT64_MAX;
    for (uint32_t i = 0; i < MF_STORE_INFLIGHT_MAX; i++) {
        struct mf_client_req *req = sm->slots[i];
        if (req != NULL && now_ns >= req->deadline_ns)
            timed_out(sm, req, now_ns);
        req = sm->slots[i]; /* the callback may have put a new one here */
        if (req != NULL && req->deadline_ns < sm->req_next_ns)
            sm->req_next_ns = req->deadline_ns;
    }
}

/* ---- ephemeral keys ---------------------------------------------------------------------------
 */

/* The server has executed a request that changes its key: is the key ours from now on? */
static void eph_update(struct mf_client_sm *sm, struct mf_client_req *req, uint64_t rev)
{
    if (idempotent(req))
        return;
    eph_drop(eph_find(sm, req->msg.key, req->msg.key_len));
    if (req->eph == NULL)
        return;
    req->eph->rev = rev;
    req->eph->id = CLIENT_ANNOUNCE_BIT | (sm->eph_next_id++ & (CLIENT_ANNOUNCE_BIT - 1));
    req->eph->next = sm->ephs;
    sm->ephs = req->eph;
    req->eph = NULL;
}

void mf_cl_announce_all(struct mf_client_sm *sm)
{
    struct mf_wr wr;
    for (struct client_eph *eph = sm->ephs; eph != NULL; eph = eph->next) {
        struct mf_smsg_request msg = {.id = eph->id,
                                      .op = MF_SMSG_OP_ANNOUNCE,
                                      .flags = MF_STORE_EPHEMERAL,
                                      .key = eph->key,
                                      .key_len = eph->key_len,
                                      .number = eph->rev,
                                      .value = eph->value,
                                      .value_len = eph->value_len};
        mf_cl_begin(sm, MF_SMSG_REQUEST, &wr);
        mf_smsg_put_request(&wr, &msg);
        if (!mf_cl_end(sm, &wr))
            return;
    }
}

void mf_cl_eph_free_all(struct mf_client_sm *sm)
{
    while (sm->ephs != NULL)
        eph_drop(&sm->ephs);
}

/* The answer to an announcement: a key that another session holds now means that this one has lost
 * its place while the store was away. */
static void announced(struct mf_client_sm *sm, const struct mf_smsg_reply *reply)
{
    char why[256];
    struct client_eph *eph = sm->ephs;
    while (eph != NULL && eph->id != reply->id)
        eph = eph->next;
    if (eph == NULL || (reply->rc == SMEM_OK && reply->swapped))
        return;
    if (reply->rc != SMEM_OK)
        snprintf(why, sizeof(why), "key \"%.80s\" could not be set again: %.*s", eph->key,
                 reply->value != NULL && reply->value_len < 128 ? (int)reply->value_len : 0,
                 reply->value != NULL ? (const char *)reply->value : "");
    else
        snprintf(why, sizeof(why),
                 "key \"%.80s\" belongs to another session since the store's restart", eph->key);
    mf_cl_expire(sm, why);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static void finish_list(struct mf_client_sm *sm, struct mf_client_req *req, uint64_t count)
{
    struct mf_rd rd;
    struct mf_smsg_item item;
    size_t have;
    mf_rd_init(&rd, req->parts.data, req->parts.len);
    if (mf_smsg_check_items(rd, &have) != SMEM_OK || have != count) {
        mf_cl_drop(sm, "the store sent a malformed list of keys");
        return;
    }
    struct mf_store_kv *kvs = NULL;
    if (have > 0) {
        kvs = mf_calloc(have, sizeof(*kvs), "list of keys");
        if (kvs == NULL) {
            finish_error(sm, req, SMEM_MALLOC_FAILED, "no memory for a list of %zu keys", have);
            return;
        }
    }
    for (size_t i = 0; mf_smsg_get_item(&rd, &item); i++)
        kvs[i] =
            (struct mf_store_kv){.key = item.key, .value = item.value, .value_len = item.value_len};
    finish(sm, req, &(struct mf_store_rsp){.rc = SMEM_OK, .kvs = kvs, .count = have});
    mf_free(kvs);
}

static void finish_reply(struct mf_client_sm *sm, struct mf_client_req *req,
                         const struct mf_smsg_reply *reply)
{
    if (reply->rc != SMEM_OK) {
        if (req->msg.op == MF_STORE_REMOVE && reply->rc == SMEM_NOT_EXIST)
            eph_update(sm, req, 0);
        finish_error(sm, req, reply->rc, "%.*s",
                     reply->value_len < MF_SMSG_TEXT_MAX ? (int)reply->value_len : 0,
                     reply->value != NULL ? (const char *)reply->value : "");
        return;
    }
    if (req->msg.op == MF_STORE_LIST) {
        finish_list(sm, req, reply->number);
        return;
    }
    if (req->msg.op != MF_STORE_CAS || reply->swapped)
        eph_update(sm, req, reply->rev);
    finish(sm, req,
           &(struct mf_store_rsp){.rc = SMEM_OK,
                                  .value = reply->value,
                                  .value_len = reply->value_len,
                                  .number = (int64_t)reply->number,
                                  .swapped = reply->swapped != 0});
}

void mf_cl_req_reply(struct mf_client_sm *sm, const uint8_t *body, size_t len)
{
    struct mf_smsg_reply reply;
    char text[MF_SMSG_TEXT_MAX];
    if (mf_smsg_get_reply(body, len, &reply) != SMEM_OK) {
        mf_cl_drop(sm, mf_err_msg());
        return;
    }
    if (reply.id & MF_CLIENT_WATCH_BIT) {
        snprintf(text, sizeof(text), "%.*s",
                 reply.value_len < sizeof(text) ? (int)reply.value_len : 0,
                 reply.value != NULL ? (const char *)reply.value : "");
        mf_cl_watch_refused(sm, reply.id, text);
        return;
    }
    if (reply.id & CLIENT_ANNOUNCE_BIT) {
        announced(sm, &reply);
        return;
    }
    struct mf_client_req *req = find(sm, reply.id);
    if (req != NULL && req->sent) /* else it has timed out */
        finish_reply(sm, req, &reply);
}

void mf_cl_req_part(struct mf_client_sm *sm, const uint8_t *body, size_t len)
{
    struct mf_rd rd;
    mf_rd_init(&rd, body, len);
    uint32_t id = mf_rd_u32(&rd);
    size_t left = mf_rd_left(&rd);
    if (rd.bad) {
        mf_cl_drop(sm, "the store sent a malformed PART message");
        return;
    }
    struct mf_client_req *req = find(sm, id);
    if (req == NULL || !req->sent)
        return;
    if (req->msg.op != MF_STORE_LIST)
        mf_cl_drop(sm, "the store sent a list that nobody asked for");
    else if (mf_buf_append(&req->parts, rd.at, left) != SMEM_OK)
        finish_error(sm, req, mf_err_code(), "%.200s", mf_err_msg());
}
