// SPDX-License-Identifier: Apache-2.0
// The calls that wait: each submits one request and sleeps until its callback has run. The client
// ends every request by its deadline, so the sleep ends too.
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/thread.h"
#include "store/store.h"

struct waiter {
    struct mf_mutex lock; /* guards all below */
    struct mf_cond cond;
    bool done;
    bool want_value;
    int rc;
    struct mf_err_rec err;
    void *value; /* a copy with a NUL behind it */
    size_t value_len;
    int64_t number;
    bool swapped;
    bool (*each)(void *arg, const struct mf_store_kv *kv);
    struct mf_store_kv *kvs; /* copies: the caller's function runs on the caller's thread */
    size_t count;
};

static void *copy_value(const void *value, size_t len)
{
    char *copy = mf_alloc(len + 1, "store value");
    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, value, len);
    copy[len] = '\0';
    return copy;
}

/* All keys and values of a list in one block behind the array. */
static struct mf_store_kv *copy_kvs(const struct mf_store_kv *kvs, size_t count)
{
    size_t bytes = count * sizeof(*kvs);
    for (size_t i = 0; i < count; i++)
        bytes += strlen(kvs[i].key) + 1 + kvs[i].value_len;
    struct mf_store_kv *copy = mf_alloc(bytes, "list of keys");
    if (copy == NULL)
        return NULL;
    char *at = (char *)(copy + count);
    for (size_t i = 0; i < count; i++) {
        size_t key_bytes = strlen(kvs[i].key) + 1;
        memcpy(at, kvs[i].key, key_bytes);
        memcpy(at + key_bytes, kvs[i].value, kvs[i].value_len);
        copy[i] =
            (struct mf_store_kv){.key = at, .value = at + key_bytes, .value_len = kvs[i].value_len};
        at += key_bytes + kvs[i].value_len;
    }
    return copy;
}

static void take_result(struct waiter *waiter, const struct mf_store_rsp *rsp)
{
    waiter->rc = rsp->rc;
    waiter->number = rsp->number;
    waiter->swapped = rsp->swapped;
    if (rsp->rc != SMEM_OK) {
        mf_err(rsp->rc, "%s", rsp->msg);
    } else if (waiter->want_value && rsp->value != NULL) {
        waiter->value = copy_value(rsp->value, rsp->value_len);
        waiter->value_len = rsp->value_len;
        if (waiter->value == NULL)
            waiter->rc = SMEM_MALLOC_FAILED;
    } else if (waiter->each != NULL && rsp->count > 0) {
        waiter->kvs = copy_kvs(rsp->kvs, rsp->count);
        waiter->count = rsp->count;
        if (waiter->kvs == NULL)
            waiter->rc = SMEM_MALLOC_FAILED;
    }
    if (waiter->rc != SMEM_OK)
        mf_err_save(&waiter->err);
}

static void on_done(void *arg, const struct mf_store_rsp *rsp)
{
    struct waiter *waiter = arg;
    mf_mutex_lock(&waiter->lock);
    take_result(waiter, rsp);
    waiter->done = true;
    mf_cond_signal(&waiter->cond);
    mf_mutex_unlock(&waiter->lock);
}

/* Submit and wait; the result is in *waiter, the error in the thread's record. */
static int run(struct mf_store *store, const struct mf_store_req *req, struct waiter *waiter)
{
    if (mf_loop_is_current(store->loop))
        return mf_err(SMEM_INVALID_PARAM,
                      "a store call that waits was made on the store's own loop thread");
    struct mf_tracer tracer = mf_tracer_shared(store->trace);
    struct mf_span span = mf_trace_begin(&tracer, MF_POINT_STORE_REQUEST);
    mf_mutex_init(&waiter->lock, MF_RANK_LEAF);
    mf_cond_init(&waiter->cond);
    int rc = store->ops->submit(store, req, on_done, waiter);
    if (rc == SMEM_OK) {
        mf_mutex_lock(&waiter->lock);
        while (!waiter->done)
            mf_cond_wait(&waiter->cond, &waiter->lock, mf_deadline_ns(store->env, 1000));
        mf_mutex_unlock(&waiter->lock);
        rc = waiter->rc;
        if (rc != SMEM_OK)
            mf_err_restore(&waiter->err);
    }
    mf_cond_fini(&waiter->cond);
    mf_mutex_fini(&waiter->lock);
    (void)mf_trace_end(&span, rc == SMEM_NOT_EXIST ? SMEM_OK : rc, 0); /* an answer like others */
    return rc;
}

int mf_store_set(struct mf_store *store, const char *key, const void *value, size_t len,
                 uint32_t flags, uint64_t deadline_ns)
{
    struct waiter waiter = {0};
    struct mf_store_req req = {.op = MF_STORE_SET,
                               .flags = flags,
                               .key = key,
                               .value = value,
                               .value_len = len,
                               .deadline_ns = deadline_ns};
    return run(store, &req, &waiter);
}

int mf_store_get(struct mf_store *store, const char *key, uint32_t flags, uint64_t deadline_ns,
                 void **value, size_t *len)
{
    struct waiter waiter = {.want_value = true};
    struct mf_store_req req = {
        .op = MF_STORE_GET, .flags = flags, .key = key, .deadline_ns = deadline_ns};
    *value = NULL;
    *len = 0;
    int rc = run(store, &req, &waiter);
    if (rc != SMEM_OK)
        return rc;
    *value = waiter.value;
    *len = waiter.value_len;
    return SMEM_OK;
}

int mf_store_add(struct mf_store *store, const char *key, int64_t add, uint64_t deadline_ns,
                 int64_t *value)
{
    struct waiter waiter = {0};
    struct mf_store_req req = {
        .op = MF_STORE_ADD, .key = key, .add = add, .deadline_ns = deadline_ns};
    int rc = run(store, &req, &waiter);
    if (rc == SMEM_OK && value != NULL)
        *value = waiter.number;
    return rc;
}

int mf_store_append(struct mf_store *store, const char *key, const void *value, size_t len,
                    uint64_t deadline_ns, size_t *total)
{
    struct waiter waiter = {0};
    struct mf_store_req req = {.op = MF_STORE_APPEND,
                               .key = key,
                               .value = value,
                               .value_len = len,
                               .deadline_ns = deadline_ns};
    int rc = run(store, &req, &waiter);
    if (rc == SMEM_OK && total != NULL)
        *total = (size_t)waiter.number;
    return rc;
}

int mf_store_cas(struct mf_store *store, const char *key, const void *expect, size_t expect_len,
                 const void *value, size_t len, uint32_t flags, uint64_t deadline_ns, bool *swapped,
                 void **was, size_t *was_len)
{
    struct waiter waiter = {.want_value = was != NULL};
    struct mf_store_req req = {.op = MF_STORE_CAS,
                               .flags = flags,
                               .key = key,
                               .value = value,
                               .value_len = len,
                               .expect = expect,
                               .expect_len = expect_len,
                               .deadline_ns = deadline_ns};
    *swapped = false;
    if (was != NULL)
        *was = NULL;
    if (was_len != NULL)
        *was_len = 0;
    int rc = run(store, &req, &waiter);
    if (rc != SMEM_OK)
        return rc;
    *swapped = waiter.swapped;
    if (was != NULL)
        *was = waiter.value;
    if (was_len != NULL)
        *was_len = waiter.value_len;
    return SMEM_OK;
}

int mf_store_remove(struct mf_store *store, const char *key, uint64_t deadline_ns)
{
    struct waiter waiter = {0};
    struct mf_store_req req = {.op = MF_STORE_REMOVE, .key = key, .deadline_ns = deadline_ns};
    return run(store, &req, &waiter);
}

static int list(struct mf_store *store, const char *prefix, uint32_t flags, uint64_t deadline_ns,
                bool (*fn)(void *arg, const struct mf_store_kv *kv), void *arg)
{
    struct waiter waiter = {.each = fn};
    struct mf_store_req req = {
        .op = MF_STORE_LIST, .flags = flags, .key = prefix, .deadline_ns = deadline_ns};
    int rc = run(store, &req, &waiter);
    if (rc != SMEM_OK)
        return rc;
    for (size_t i = 0; i < waiter.count; i++) {
        if (!fn(arg, &waiter.kvs[i]))
            break;
    }
    mf_free(waiter.kvs);
    return SMEM_OK;
}

int mf_store_list(struct mf_store *store, const char *prefix, uint64_t deadline_ns,
                  bool (*fn)(void *arg, const struct mf_store_kv *kv), void *arg)
{
    return list(store, prefix, 0, deadline_ns, fn, arg);
}

int mf_store_list_keys(struct mf_store *store, const char *prefix, uint64_t deadline_ns,
                       bool (*fn)(void *arg, const struct mf_store_kv *kv), void *arg)
{
    return list(store, prefix, MF_STORE_KEYS, deadline_ns, fn, arg);
}

void mf_store_close(struct mf_store *store, uint64_t deadline_ns)
{
    if (store != NULL)
        store->ops->close(store, deadline_ns);
}
