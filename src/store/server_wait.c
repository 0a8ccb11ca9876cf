// SPDX-License-Identifier: Apache-2.0
// Requests that wait in the server: GETs for a key that is not there yet, and newcomers' claims
// during recovery. Their deadlines are the client's business: it cancels what it no longer waits
// for.
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "store/server_priv.h"

struct awaited_key {
    struct mf_tree_node node;
    struct mf_srv_wait *waits;
    char key[]; /* with a NUL behind it */
};

struct mf_srv_wait {
    struct mf_server_conn *conn;
    struct mf_srv_wait *conn_prev, *conn_next;
    struct mf_srv_wait *prev, *next; /* of the same key, or of sm->held */
    struct awaited_key *key;         /* NULL: held until recovery is over */
    uint32_t id;
    size_t body_len;
    uint8_t body[]; /* held: the request itself */
};

static struct mf_srv_wait *wait_new(struct mf_server_conn *conn, uint32_t id, size_t body_len)
{
    if (conn->wait_count >= MF_STORE_INFLIGHT_MAX) {
        mf_err(SMEM_NO_RESOURCES, "%u requests of this client wait already, which is the limit",
               conn->wait_count);
        return NULL;
    }
    struct mf_srv_wait *wait = mf_calloc(1, sizeof(*wait) + body_len, "waiting request");
    if (wait == NULL)
        return NULL;
    wait->conn = conn;
    wait->id = id;
    wait->body_len = body_len;
    return wait;
}

static void wait_link(struct mf_srv_wait *wait)
{
    struct mf_server_conn *conn = wait->conn;
    struct mf_srv_wait **last = wait->key != NULL ? &wait->key->waits : &conn->sm->held;
    wait->conn_next = conn->waits;
    if (conn->waits != NULL)
        conn->waits->conn_prev = wait;
    conn->waits = wait;
    conn->wait_count++;
    while (*last != NULL) { /* few wait for one key; order of arrival is order of answer */
        wait->prev = *last;
        last = &(*last)->next;
    }
    *last = wait;
}

static void wait_free(struct mf_srv_wait *wait)
{
    struct mf_server_conn *conn = wait->conn;
    struct mf_srv_wait **head = wait->key != NULL ? &wait->key->waits : &conn->sm->held;
    if (wait->prev != NULL)
        wait->prev->next = wait->next;
    else
        *head = wait->next;
    if (wait->next != NULL)
        wait->next->prev = wait->prev;
    if (wait->conn_prev != NULL)
        wait->conn_prev->conn_next = wait->conn_next;
    else
        conn->waits = wait->conn_next;
    if (wait->conn_next != NULL)
        wait->conn_next->conn_prev = wait->conn_prev;
    conn->wait_count--;
    if (wait->key != NULL && wait->key->waits == NULL) {
        mf_tree_remove(&conn->sm->awaited, &wait->key->node);
        mf_free(wait->key);
    }
    mf_free(wait);
}

static struct awaited_key *key_find(struct mf_server_sm *sm, const char *key, size_t len)
{
    struct mf_tree_node *node = mf_tree_find(&sm->awaited, key, len);
    return node == NULL ? NULL : MF_CONTAINER_OF(node, struct awaited_key, node);
}

int mf_srv_wait_key(struct mf_server_conn *conn, const struct mf_smsg_request *req)
{
    struct mf_srv_wait *wait = wait_new(conn, req->id, 0);
    if (wait == NULL)
        return mf_err_code();
    struct awaited_key *key = key_find(conn->sm, req->key, req->key_len);
    if (key == NULL) {
        key = mf_calloc(1, sizeof(*key) + req->key_len + 1, "awaited key");
        if (key == NULL) {
            mf_free(wait);
            return SMEM_MALLOC_FAILED;
        }
        memcpy(key->key, req->key, req->key_len);
        key->node.key = key->key;
        key->node.key_len = (uint32_t)req->key_len;
        mf_tree_insert(&conn->sm->awaited, &key->node);
    }
    wait->key = key;
    wait_link(wait);
    return SMEM_OK;
}

int mf_srv_wait_recovery(struct mf_server_conn *conn, const uint8_t *body, size_t len,
                         const struct mf_smsg_request *req)
{
    struct mf_srv_wait *wait = wait_new(conn, req->id, len);
    if (wait == NULL)
        return mf_err_code();
    memcpy(wait->body, body, len);
    wait_link(wait);
    return SMEM_OK;
}

void mf_srv_wait_wake(struct mf_server_sm *sm, const struct mf_kv_entry *entry)
{
    if (sm->awaited.count == 0)
        return;
    struct awaited_key *key = key_find(sm, entry->key, entry->node.key_len);
    if (key == NULL)
        return;
    for (struct mf_srv_wait *wait = key->waits, *next; wait != NULL; wait = next) {
        next = wait->next;
        mf_srv_reply_value(wait->conn, wait->id, entry);
        wait_free(wait); /* the last one frees the key */
    }
}

void mf_srv_wait_cancel(struct mf_server_conn *conn, uint32_t id)
{
    struct mf_srv_wait *wait = conn->waits;
    while (wait != NULL && wait->id != id)
        wait = wait->conn_next;
    if (wait == NULL)
        return; /* it is answered already */
    wait_free(wait);
    mf_srv_reply_error(conn, id, mf_err(SMEM_TIMEOUT, "canceled by the client"));
}

void mf_srv_wait_drop_all(struct mf_server_conn *conn)
{
    while (conn->waits != NULL)
        wait_free(conn->waits);
}

void mf_srv_wait_release_held(struct mf_server_sm *sm, uint64_t now_ns)
{
    while (sm->held != NULL) {
        struct mf_srv_wait *wait = sm->held;
        struct mf_smsg_request req;
        /* It was decoded when it came; the copy is the same bytes. */
        MF_ASSERT(mf_smsg_get_request(wait->body, wait->body_len, &req) == SMEM_OK);
        if (wait->conn->state == CONN_OPEN)
            mf_srv_execute(wait->conn, now_ns, &req);
        wait_free(wait);
    }
}
