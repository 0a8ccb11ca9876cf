// SPDX-License-Identifier: Apache-2.0
// Watches of a store client. The server sends a change once to a connection; here it is given to
// each watch whose prefix it has and whose first state has arrived.
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "store/client_priv.h"

int mf_client_watch_create(const char *prefix, uint32_t id, mf_watch_fn fn, void *arg,
                           struct mf_client_watch **out)
{
    *out = NULL;
    if (prefix == NULL || fn == NULL)
        return mf_err(SMEM_INVALID_PARAM, "watch: the %s is NULL",
                      prefix == NULL ? "prefix" : "callback");
    size_t len = strnlen(prefix, MF_KEY_MAX + 1);
    if (len > MF_KEY_MAX)
        return mf_err(SMEM_INVALID_PARAM, "watch: the prefix has %zu bytes, the limit is %u",
                      strlen(prefix), MF_KEY_MAX);
    struct mf_client_watch *watch = mf_calloc(1, sizeof(*watch) + len + 1, "store watch");
    if (watch == NULL)
        return SMEM_MALLOC_FAILED;
    memcpy(watch->prefix, prefix, len);
    watch->prefix_len = len;
    watch->id = id;
    watch->fn = fn;
    watch->arg = arg;
    *out = watch;
    return SMEM_OK;
}

static void give(struct mf_client_watch *watch, enum mf_watch_kind kind)
{
    if (!watch->dead)
        watch->fn(watch->arg, &(struct mf_watch_event){.kind = kind});
}

static void give_item(struct mf_client_watch *watch, const struct mf_smsg_item *item)
{
    struct mf_watch_event event = {
        .kind = item->kind == MF_SMSG_PUT ? MF_WATCH_PUT : MF_WATCH_DELETE,
        .key = item->key,
        .value = item->kind == MF_SMSG_PUT ? item->value : NULL,
        .value_len = item->value_len,
        .expired = item->kind == MF_SMSG_EXPIRE,
    };
    if (!watch->dead)
        watch->fn(watch->arg, &event);
}

/* Callbacks may unwatch: watches are marked and freed when the outermost dispatch is over. */
static void dispatch_end(struct mf_client_sm *sm)
{
    struct mf_client_watch **link = &sm->watches;
    if (--sm->dispatching > 0 || !sm->sweep)
        return;
    sm->sweep = false;
    sm->watches_tail = NULL;
    while (*link != NULL) {
        struct mf_client_watch *watch = *link;
        if (watch->dead) {
            *link = watch->next;
            mf_free(watch);
        } else {
            sm->watches_tail = watch;
            link = &watch->next;
        }
    }
}

static struct mf_client_watch *find(const struct mf_client_sm *sm, uint32_t id)
{
    struct mf_client_watch *watch = sm->watches;
    while (watch != NULL && (watch->id != id || watch->dead))
        watch = watch->next;
    return watch;
}

static void send_watch(struct mf_client_sm *sm, const struct mf_client_watch *watch)
{
    struct mf_wr wr;
    mf_cl_begin(sm, MF_SMSG_WATCH, &wr);
    mf_smsg_put_watch(&wr, &(struct mf_smsg_watch){.id = watch->id,
                                                   .prefix = watch->prefix,
                                                   .prefix_len = watch->prefix_len});
    mf_cl_end(sm, &wr);
}

void mf_client_sm_watch(struct mf_client_sm *sm, uint64_t now_ns, struct mf_client_watch *watch)
{
    (void)now_ns;
    if (sm->watches_tail != NULL)
        sm->watches_tail->next = watch;
    else
        sm->watches = watch;
    sm->watches_tail = watch;
    if (sm->state == MF_CLIENT_OPEN)
        send_watch(sm, watch);
}

int mf_client_sm_unwatch(struct mf_client_sm *sm, uint32_t id)
{
    struct mf_client_watch *watch = find(sm, id);
    struct mf_wr wr;
    if (watch == NULL)
        return mf_err(SMEM_NOT_EXIST, "unwatch: this client has no watch %u",
                      id & ~MF_CLIENT_WATCH_BIT);
    watch->dead = true;
    sm->sweep = true;
    sm->dispatching++;
    if (sm->state == MF_CLIENT_OPEN) {
        mf_cl_begin(sm, MF_SMSG_UNWATCH, &wr);
        mf_wr_u32(&wr, id);
        mf_cl_end(sm, &wr);
    }
    dispatch_end(sm);
    return SMEM_OK;
}

void mf_cl_watch_send_all(struct mf_client_sm *sm)
{
    for (struct mf_client_watch *watch = sm->watches; watch != NULL; watch = watch->next) {
        if (!watch->dead)
            send_watch(sm, watch);
    }
}

void mf_cl_watch_lost(struct mf_client_sm *sm)
{
    sm->dispatching++;
    for (struct mf_client_watch *watch = sm->watches; watch != NULL; watch = watch->next) {
        watch->in_sync = false;
        watch->synced = false;
        give(watch, MF_WATCH_LOST);
    }
    dispatch_end(sm);
}

void mf_cl_watch_refused(struct mf_client_sm *sm, uint32_t id, const char *why)
{
    struct mf_client_watch *watch = find(sm, id);
    if (watch == NULL)
        return;
    mf_log(sm->cfg.env->log, MF_LOG_ERROR, "store", "watch \"%.80s\" at store %s: %s",
           watch->prefix, sm->addr, why);
    sm->dispatching++;
    give(watch, MF_WATCH_LOST);
    dispatch_end(sm);
}

void mf_cl_watch_sync(struct mf_client_sm *sm, const uint8_t *body, size_t len)
{
    struct mf_rd rd;
    struct mf_smsg_item item;
    mf_rd_init(&rd, body, len);
    uint32_t id = mf_rd_u32(&rd);
    uint8_t flags = mf_rd_u8(&rd);
    if (rd.bad || flags > (MF_SMSG_SYNC_BEGIN | MF_SMSG_SYNC_END)) {
        mf_cl_drop(sm, "the store sent a malformed SYNC message");
        return;
    }
    struct mf_client_watch *watch = find(sm, id); /* NULL: unwatched meanwhile */
    if (watch != NULL && (watch->synced || ((flags & MF_SMSG_SYNC_BEGIN) != 0) == watch->in_sync)) {
        mf_cl_drop(sm, "the store sent a SYNC message out of turn");
        return;
    }
    sm->dispatching++;
    if (watch != NULL && (flags & MF_SMSG_SYNC_BEGIN))
        give(watch, MF_WATCH_SYNC_BEGIN);
    while (mf_item_get(&rd, &sm->last, &item)) { /* what follows is written against it */
        if (watch != NULL)
            give_item(watch, &item);
    }
    if (!mf_rd_done(&rd)) {
        mf_cl_drop(sm, "the store sent a malformed SYNC message");
    } else if (watch != NULL) {
        watch->in_sync = (flags & MF_SMSG_SYNC_END) == 0;
        watch->synced = !watch->in_sync;
        if (watch->synced)
            give(watch, MF_WATCH_SYNC_END);
    }
    dispatch_end(sm);
}

void mf_cl_watch_events(struct mf_client_sm *sm, const uint8_t *body, size_t len)
{
    struct mf_rd rd;
    struct mf_smsg_item item;
    mf_rd_init(&rd, body, len);
    sm->dispatching++;
    while (mf_item_get(&rd, &sm->last, &item)) {
        for (struct mf_client_watch *watch = sm->watches; watch != NULL; watch = watch->next) {
            /* While the state arrives in pieces, no change comes in between. */
            if (watch->synced && item.key_len >= watch->prefix_len &&
                memcmp(item.key, watch->prefix, watch->prefix_len) == 0)
                give_item(watch, &item);
        }
    }
    if (!mf_rd_done(&rd))
        mf_cl_drop(sm, "the store sent a malformed EVENTS message");
    dispatch_end(sm);
}

void mf_cl_watch_free_all(struct mf_client_sm *sm)
{
    while (sm->watches != NULL) {
        struct mf_client_watch *watch = sm->watches;
        sm->watches = watch->next;
        mf_free(watch);
    }
}
