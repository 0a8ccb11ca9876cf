// SPDX-License-Identifier: Apache-2.0
// The config stores of the process: smem_create_config_store and smem_config_store_*. One table,
// guarded by one lock.
#include "api/stores.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "api/process.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/handle.h"
#include "smem_config_store_api.h"
#include "store/store.h"
#include "wire/record.h"

#define STORES_MAX  64u
#define HANDLE_KIND 0xC5u

struct hosted {
    struct mf_store_server *server;
    uint64_t handle;
    char asked[MF_STORES_URL_MAX]; /* the URL as it was given */
    smem_config_store_broken_cb broken;
    void *broken_arg;
};

static struct {
    pthread_mutex_t lock; /* guards all but tls */
    bool made;
    struct mf_handle_table handles;
    struct hosted *v[STORES_MAX];
    uint32_t count;
    struct hosted lent; /* server NULL: none */
    _Atomic bool tls;   /* was asked for: no clear text until it is switched off */
} stores = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- what may be opened
 * ------------------------------------------------------------------------------------ */

int mf_stores_check_url(const char *call, const char *url)
{
    struct mf_store_url parsed;
    if (url == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "%s: the URL of the config store is NULL", call);
    }
    if (strncmp(url, "etcd://", 7) == 0 || strncmp(url, "reg://", 6) == 0) {
        return mf_err(SMEM_ERROR,
                      "%s: \"%.80s\": only tcp:// config stores are supported in this version",
                      call, url);
    }
    int rc = mf_store_url_parse(url, &parsed);
    if (rc != SMEM_OK) {
        return mf_err_in(rc, "%s", call);
    }
    if (atomic_load(&stores.tls)) {
        return mf_err(
            SMEM_ERROR,
            "%s: TLS was asked for and is not supported in this version: nothing is opened in "
            "clear text; switch TLS off with smem_set_conf_store_tls(false, \"\", 0)",
            call);
    }
    return SMEM_OK;
}

static int want_tls(const char *call)
{
    atomic_store(&stores.tls, true);
    return mf_err(
        SMEM_ERROR,
        "%s: TLS is not supported in this version; until it is switched off again no config "
        "store is opened in clear text",
        call);
}

int32_t smem_set_conf_store_tls(bool enable, const char *tls_info, const uint32_t tls_info_len)
{
    (void)tls_info;
    (void)tls_info_len;
    if (enable) {
        return want_tls("smem_set_conf_store_tls");
    }
    atomic_store(&stores.tls, false);
    return SMEM_OK;
}

int32_t smem_set_config_store_tls_key(const char *tls_pk, const uint32_t tls_pk_len,
                                      const char *tls_pk_pw, const uint32_t tls_pk_pw_len,
                                      const smem_decrypt_handler h)
{
    (void)tls_pk;
    (void)tls_pk_len;
    (void)tls_pk_pw;
    (void)tls_pk_pw_len;
    (void)h;
    return want_tls("smem_set_config_store_tls_key");
}

int32_t smem_config_store_set_tls(const smem_tls_options_t *tls, const char *tls_library,
                                  const char *decrypter_library)
{
    (void)tls_library;
    (void)decrypter_library;
    if (tls != NULL && tls->enable_tls != 0) {
        return want_tls("smem_config_store_set_tls");
    }
    atomic_store(&stores.tls, false);
    return SMEM_OK;
}

/* ---- the table
 * ------------------------------------------------------------------------------------------------
 */

static bool same_url(const struct hosted *h, const char *url)
{
    return strcmp(h->asked, url) == 0 || strcmp(mf_store_server_url(h->server), url) == 0;
}

static struct hosted *find_locked(const char *url)
{
    for (uint32_t i = 0; i < stores.count; i++) {
        if (same_url(stores.v[i], url)) {
            return stores.v[i];
        }
    }
    return NULL;
}

bool mf_stores_serves(const char *url, char *real, size_t len)
{
    pthread_mutex_lock(&stores.lock);
    const struct hosted *h = find_locked(url);
    if (h != NULL) {
        snprintf(real, len, "%s", mf_store_server_url(h->server));
    }
    pthread_mutex_unlock(&stores.lock);
    return h != NULL;
}

static int add_locked(const struct mf_process *process, const char *url, struct hosted **out)
{
    int rc = SMEM_OK;
    if (!stores.made) {
        rc = mf_handle_table_init(&stores.handles, HANDLE_KIND, STORES_MAX);
        stores.made = rc == SMEM_OK;
    }
    if (rc == SMEM_OK && stores.count == STORES_MAX) {
        rc =
            mf_err(SMEM_NO_RESOURCES, "this process hosts %u config stores, the limit", STORES_MAX);
    }
    struct hosted *h = rc == SMEM_OK ? mf_calloc(1, sizeof(*h), "config store") : NULL;
    if (h == NULL) {
        return rc != SMEM_OK ? rc : SMEM_MALLOC_FAILED;
    }
    snprintf(h->asked, sizeof(h->asked), "%s", url);
    rc = mf_store_server_create(&process->env, url,
                                (uint32_t)mf_config_u64(&process->config, MF_OPT_STORE_SETTLE_MS),
                                &h->server);
    if (rc != SMEM_OK) {
        goto free_hosted;
    }
    rc = mf_handle_add(&stores.handles, h, &h->handle);
    if (rc != SMEM_OK) {
        goto destroy_server;
    }
    stores.v[stores.count++] = h;
    *out = h;
    return SMEM_OK;

destroy_server:
    mf_store_server_destroy(h->server);
free_hosted:
    mf_free(h);
    return rc;
}

static void remove_locked(struct hosted *h)
{
    for (uint32_t i = 0; i < stores.count; i++) {
        if (stores.v[i] == h) {
            stores.v[i] = stores.v[--stores.count];
            break;
        }
    }
    mf_handle_remove(&stores.handles, h->handle);
}

static void end(struct hosted *h)
{
    mf_store_server_destroy(h->server);
    mf_free(h);
}

static int create(const char *call, const char *url, uint64_t *handle)
{
    struct mf_process *process = NULL;
    struct hosted *h = NULL;
    *handle = 0;
    int rc = mf_stores_check_url(call, url);
    if (rc == SMEM_OK) {
        rc = mf_process_restart(&process);
    }
    if (rc != SMEM_OK) {
        return rc;
    }
    pthread_mutex_lock(&stores.lock);
    h = find_locked(url);
    if (h == NULL && stores.lent.server != NULL && same_url(&stores.lent, url)) {
        h = &stores.lent; /* that of smem_bm_init: it is served already, without a handle */
    } else if (h == NULL) {
        rc = add_locked(process, url, &h);
    } else if (h->handle == 0) { /* the one that it had was given back */
        rc = mf_handle_add(&stores.handles, h, &h->handle);
    }
    if (rc == SMEM_OK) {
        *handle = h->handle;
    }
    pthread_mutex_unlock(&stores.lock);
    return rc == SMEM_OK ? rc : mf_err_in(rc, "%s", call);
}

int32_t smem_create_config_store(const char *storeUrl, uint64_t flags)
{
    uint64_t handle = 0;
    (void)flags; /* a store that is never restored has nothing to skip */
    return create("smem_create_config_store", storeUrl, &handle);
}

void smem_destroy_config_store(const char *storeUrl)
{
    if (storeUrl == NULL) {
        mf_err(SMEM_INVALID_PARAM, "smem_destroy_config_store: the URL is NULL");
        return;
    }
    pthread_mutex_lock(&stores.lock);
    struct hosted *h = find_locked(storeUrl);
    if (h != NULL) {
        remove_locked(h);
    }
    pthread_mutex_unlock(&stores.lock);
    if (h == NULL) {
        mf_err(SMEM_NOT_EXIST,
               "smem_destroy_config_store: this process hosts no store at \"%.80s\"", storeUrl);
        return;
    }
    end(h);
}

/* ---- state ---------------------------------------------------------------------------------- */

static void fill_status(const struct hosted *h, struct mf_stores_status *status)
{
    uint8_t buf[MF_RECORD_MAX];
    size_t len = 0;
    struct mf_rec_world world;
    *status = (struct mf_stores_status){.asked = h->asked, .world = UINT32_MAX};
    mf_store_server_get_status(h->server, &status->server);
    if (mf_store_server_read(h->server, "world/info", buf, sizeof(buf), &len) &&
        mf_rec_get_world(buf, len, &world) == SMEM_OK) {
        status->world = world.world_size;
    }
}

void mf_stores_lend(struct mf_store_server *server, const char *url)
{
    pthread_mutex_lock(&stores.lock);
    stores.lent.server = server;
    snprintf(stores.lent.asked, sizeof(stores.lent.asked), "%s", server != NULL ? url : "");
    pthread_mutex_unlock(&stores.lock);
}

int mf_stores_visit(int (*fn)(void *arg, const struct mf_stores_status *status), void *arg)
{
    int rc = SMEM_OK;
    pthread_mutex_lock(&stores.lock);
    for (uint32_t i = 0; i < stores.count && rc == SMEM_OK; i++) {
        struct mf_stores_status status;
        fill_status(stores.v[i], &status);
        rc = fn(arg, &status);
    }
    if (rc == SMEM_OK && stores.lent.server != NULL) {
        struct mf_stores_status status;
        fill_status(&stores.lent, &status);
        rc = fn(arg, &status);
    }
    pthread_mutex_unlock(&stores.lock);
    return rc;
}

void mf_stores_after_fork(void)
{
    for (uint32_t i = 0; i < stores.count; i++) {
        mf_store_server_close_fds(stores.v[i]->server);
    }
    stores.count = 0;
    stores.lent.server = NULL;
    stores.made = false;
    pthread_mutex_init(&stores.lock, NULL);
}

/* ---- by handle
 * --------------------------------------------------------------------------------------------------
 */

static int bad_handle(const char *call, int code, smem_config_store_t store)
{
    return mf_err(code, "%s: %p is no handle of a config store of this process", call, store);
}

static struct hosted *get_locked(smem_config_store_t store)
{
    return stores.made ? mf_handle_get(&stores.handles, (uint64_t)(uintptr_t)store) : NULL;
}

smem_config_store_t smem_config_store_create_server(const char *url)
{
    static const char call[] = "smem_config_store_create_server";
    uint64_t handle = 0;
    if (create(call, url, &handle) == SMEM_OK && handle == 0) {
        mf_err(SMEM_RES_IN_USE,
               "%s: smem_bm_init of this process serves %.80s, and has no handle for it", call,
               url);
    }
    return (smem_config_store_t)(uintptr_t)handle;
}

void smem_config_store_destroy_server(smem_config_store_t store, const char *url)
{
    static const char call[] = "smem_config_store_destroy_server";
    pthread_mutex_lock(&stores.lock);
    struct hosted *h = get_locked(store);
    bool mine = h != NULL && (url == NULL || same_url(h, url));
    if (mine && url != NULL) {
        remove_locked(h);
    } else if (mine) {
        mf_handle_remove(&stores.handles, h->handle);
        h->handle = 0;
        mf_store_server_set_broken_fn(h->server, NULL, NULL);
    }
    pthread_mutex_unlock(&stores.lock);
    if (!mine && h != NULL) {
        mf_err(SMEM_INVALID_PARAM, "%s: the store of this handle is at %s, not at \"%.80s\"", call,
               h->asked, url);
    } else if (!mine) {
        bad_handle(call, SMEM_INVALID_PARAM, store);
    } else if (url != NULL) {
        end(h);
    }
}

static void session_broken(void *arg, uint64_t session_id, uint32_t rank)
{
    struct hosted *h = arg;
    smem_config_store_broken_cb cb = h->broken;
    if (cb != NULL) {
        (void)cb(h->broken_arg, (uint32_t)session_id, rank);
    }
}

void smem_config_store_set_server_broken_handler(smem_config_store_t store,
                                                 smem_config_store_broken_cb cb, void *context)
{
    pthread_mutex_lock(&stores.lock);
    struct hosted *h = get_locked(store);
    if (h != NULL) {
        /* Not running any more when this returns, so that both members change together. */
        mf_store_server_set_broken_fn(h->server, NULL, NULL);
        h->broken = cb;
        h->broken_arg = context;
        if (cb != NULL) {
            mf_store_server_set_broken_fn(h->server, session_broken, h);
        }
    }
    pthread_mutex_unlock(&stores.lock);
    if (h == NULL) {
        bad_handle("smem_config_store_set_server_broken_handler", SMEM_INVALID_PARAM, store);
    }
}

int32_t smem_config_store_set_leader_handler(smem_config_store_t store,
                                             smem_config_store_leader_change_cb cb, void *context)
{
    static const char call[] = "smem_config_store_set_leader_handler";
    (void)cb;
    (void)context;
    pthread_mutex_lock(&stores.lock);
    bool found = get_locked(store) != NULL;
    pthread_mutex_unlock(&stores.lock);
    if (!found) {
        return bad_handle(call, SMEM_ERROR, store);
    }
    mf_err(SMEM_ERROR, "%s: a tcp:// config store has one server and no leader", call);
    return 1;
}
