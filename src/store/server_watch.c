// SPDX-License-Identifier: Apache-2.0
// Watches of prefixes and the events that go to them. Distinct prefixes stand in a tree with their
// watchers; a change looks up each prefix length in use, and a connection gets it once, however
// many of its watches match (the client sorts it out).
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "store/server_priv.h"

/* Events of one frame; more begin another. */
#define EVENTS_FRAME_MAX (1u << 20)

struct watched_prefix {
    struct mf_tree_node node;
    struct mf_srv_watch *watches;
    char prefix[]; /* with a NUL behind it */
};

struct mf_srv_watch {
    struct mf_server_conn *conn;
    struct watched_prefix *prefix;
    struct mf_srv_watch *conn_next;
    struct mf_srv_watch *prefix_prev, *prefix_next;
    uint32_t id;
};

static struct watched_prefix *prefix_find(struct mf_server_sm *sm, const char *text, size_t len)
{
    struct mf_tree_node *node = mf_tree_find(&sm->watched, text, len);
    return node == NULL ? NULL : MF_CONTAINER_OF(node, struct watched_prefix, node);
}

static struct watched_prefix *prefix_get(struct mf_server_sm *sm, const char *text, size_t len)
{
    struct watched_prefix *prefix = prefix_find(sm, text, len);
    if (prefix != NULL)
        return prefix;
    prefix = mf_calloc(1, sizeof(*prefix) + len + 1, "watched prefix");
    if (prefix == NULL)
        return NULL;
    memcpy(prefix->prefix, text, len);
    prefix->node.key = prefix->prefix;
    prefix->node.key_len = (uint32_t)len;
    mf_tree_insert(&sm->watched, &prefix->node);
    sm->prefix_lens[len]++;
    return prefix;
}

static void prefix_put(struct mf_server_sm *sm, struct watched_prefix *prefix)
{
    if (prefix->watches != NULL)
        return;
    sm->prefix_lens[prefix->node.key_len]--;
    mf_tree_remove(&sm->watched, &prefix->node);
    mf_free(prefix);
}

static int watch_add(struct mf_server_conn *conn, const struct mf_smsg_watch *msg)
{
    struct mf_server_sm *sm = conn->sm;
    if (conn->watch_count >= MF_STORE_WATCHES_MAX)
        return mf_err(SMEM_NO_RESOURCES, "this client has %u watches, which is the limit",
                      conn->watch_count);
    struct mf_srv_watch *watch = mf_calloc(1, sizeof(*watch), "store watch");
    if (watch == NULL)
        return SMEM_MALLOC_FAILED;
    watch->prefix = prefix_get(sm, msg->prefix, msg->prefix_len);
    if (watch->prefix == NULL) {
        mf_free(watch);
        return SMEM_MALLOC_FAILED;
    }
    watch->conn = conn;
    watch->id = msg->id;
    watch->conn_next = conn->watches;
    conn->watches = watch;
    watch->prefix_next = watch->prefix->watches;
    if (watch->prefix_next != NULL)
        watch->prefix_next->prefix_prev = watch;
    watch->prefix->watches = watch;
    conn->watch_count++;
    sm->watch_count++;
    return SMEM_OK;
}

/* Take the watch that *link points to out of both lists. */
static void watch_free(struct mf_srv_watch **link)
{
    struct mf_srv_watch *watch = *link;
    struct mf_server_conn *conn = watch->conn;
    *link = watch->conn_next;
    if (watch->prefix_prev != NULL)
        watch->prefix_prev->prefix_next = watch->prefix_next;
    else
        watch->prefix->watches = watch->prefix_next;
    if (watch->prefix_next != NULL)
        watch->prefix_next->prefix_prev = watch->prefix_prev;
    prefix_put(conn->sm, watch->prefix);
    conn->watch_count--;
    conn->sm->watch_count--;
    mf_free(watch);
}

void mf_srv_watch_remove(struct mf_server_conn *conn, uint32_t id)
{
    for (struct mf_srv_watch **link = &conn->watches; *link != NULL; link = &(*link)->conn_next) {
        if ((*link)->id == id) {
            watch_free(link);
            return;
        }
    }
}

void mf_srv_watch_add(struct mf_server_conn *conn, const struct mf_smsg_watch *msg)
{
    size_t count;
    mf_srv_watch_remove(conn, msg->id);
    int rc = watch_add(conn, msg);
    if (rc == SMEM_OK && !mf_srv_send_items(conn, MF_SMSG_SYNC, msg->id, msg->prefix,
                                            msg->prefix_len, true, &count)) {
        mf_srv_watch_remove(conn, msg->id);
        rc = SMEM_NO_RESOURCES;
    }
    if (rc != SMEM_OK)
        mf_srv_reply_error(conn, msg->id, rc);
}

void mf_srv_watch_drop_all(struct mf_server_conn *conn)
{
    while (conn->watches != NULL)
        watch_free(&conn->watches);
}

/* Written against what went to this connection before, behind the events that wait there. */
static void event_append(struct mf_server_conn *conn, const struct mf_smsg_item *item)
{
    struct mf_server_sm *sm = conn->sm;
    struct mf_wr wr;
    if (conn->state != CONN_OPEN || conn->event_seq == sm->event_seq)
        return;
    conn->event_seq = sm->event_seq;
    sm->events++;
    mf_buf_clear(&sm->scratch);
    mf_wr_init(&wr, &sm->scratch);
    mf_item_put(&wr, &conn->last, item);
    if (wr.rc != SMEM_OK) {
        mf_srv_cut(conn, "no memory for an event that it watches");
        return;
    }
    const struct mf_buf *event = &sm->scratch;
    if (conn->events_open && conn->out.buf.len - conn->out.open + event->len < EVENTS_FRAME_MAX) {
        if (mf_outq_extend(&conn->out, event->data, event->len) != SMEM_OK)
            mf_srv_cut(conn, mf_err_msg());
        else
            mf_srv_mark_ready(conn);
        return;
    }
    mf_srv_send_begin(conn, MF_SMSG_EVENTS, &wr);
    mf_wr_bytes(&wr, event->data, event->len);
    mf_srv_send_end(conn, &wr);
    conn->events_open = conn->state == CONN_OPEN;
}

void mf_srv_publish(struct mf_server_sm *sm, enum mf_smsg_kind kind,
                    const struct mf_kv_entry *entry)
{
    struct mf_smsg_item item = {.kind = kind,
                                .key = entry->key,
                                .key_len = entry->node.key_len,
                                .value = kind == MF_SMSG_PUT ? entry->value : NULL,
                                .value_len = kind == MF_SMSG_PUT ? entry->value_len : 0};
    sm->event_seq++;
    for (size_t len = 0; len <= entry->node.key_len && sm->watch_count > 0; len++) {
        if (sm->prefix_lens[len] == 0)
            continue;
        struct watched_prefix *prefix = prefix_find(sm, entry->key, len);
        if (prefix == NULL)
            continue;
        for (struct mf_srv_watch *watch = prefix->watches; watch; watch = watch->prefix_next)
            event_append(watch->conn, &item);
    }
}
