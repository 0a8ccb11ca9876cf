// SPDX-License-Identifier: Apache-2.0
// smem_bm.h, the service: check the arguments, start and stop, and what concerns the store's
// address.
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/service.h"
#include "api/stores.h"
#include "base/err.h"
#include "smem_bm.h"
#include "store/collective.h"

int32_t smem_bm_config_init(smem_bm_config_t *config)
{
    if (config == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "smem_bm_config_init: config is NULL");
    }
    memset(config, 0, sizeof(*config));
    config->initTimeout = 120;
    config->createTimeout = 120;
    config->controlOperationTimeout = 900;
    config->startConfigStoreServer = true;
    config->unifiedAddressSpace = true;
    config->autoRanking = true;
    config->rankId = UINT16_MAX;
    return SMEM_OK;
}

static int check_timeouts(const smem_bm_config_t *config)
{
    const struct {
        const char *name;
        uint32_t value;
    } all[] = {{"initTimeout", config->initTimeout},
               {"createTimeout", config->createTimeout},
               {"controlOperationTimeout", config->controlOperationTimeout}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].value == 0) {
            return mf_err(SMEM_INVALID_PARAM,
                          "smem_bm_init: config->%s is 0: give the seconds that the operation may "
                          "take, at least 1",
                          all[i].name);
        }
    }
    return SMEM_OK;
}

static int check_config(const smem_bm_config_t *config, uint32_t world)
{
    int rc = check_timeouts(config);
    if (rc != SMEM_OK) {
        return rc;
    }
    if (!config->unifiedAddressSpace) {
        return mf_err(
            SMEM_INVALID_PARAM,
            "smem_bm_init: config->unifiedAddressSpace is false: the pool has one address "
            "space, set it to true");
    }
    if (!config->autoRanking && !config->startConfigStoreOnly && config->rankId >= world) {
        return mf_err(SMEM_INVALID_PARAM,
                      "smem_bm_init: config->rankId %u is not below worldSize %u (autoRanking is "
                      "false)",
                      config->rankId, world);
    }
    if (memchr(config->hcomUrl, '\0', sizeof(config->hcomUrl)) == NULL) {
        return mf_err(SMEM_INVALID_PARAM,
                      "smem_bm_init: config->hcomUrl does not end within 64 bytes");
    }
    if (config->hcomTlsConfig.tlsEnable || config->storeTlsConfig.tlsEnable) {
        return mf_err(
            SMEM_ERROR,
            "smem_bm_init: config->%s.tlsEnable is true, but TLS is not supported in this "
            "version: nothing is opened in clear text instead",
            config->hcomTlsConfig.tlsEnable ? "hcomTlsConfig" : "storeTlsConfig");
    }
    return SMEM_OK;
}

static uint32_t seconds_to_ms(uint32_t seconds)
{
    return seconds > UINT32_MAX / 1000 ? UINT32_MAX : seconds * 1000;
}

/* Counted from the second time on: before there is nothing that counts. */
static int refused(int rc)
{
    return mf_service_refused(MF_POINT_BM_INIT, rc);
}

int32_t smem_bm_init(const char *storeURL, uint32_t worldSize, uint16_t deviceId,
                     const smem_bm_config_t *config)
{
    if (worldSize == 0 || worldSize > SMEM_WORLD_SIZE_MAX) {
        return refused(mf_err(SMEM_INVALID_PARAM, "smem_bm_init: worldSize %u is not 1..%u",
                              worldSize, SMEM_WORLD_SIZE_MAX));
    }
    if (storeURL == NULL || config == NULL) {
        return refused(mf_err(SMEM_INVALID_PARAM, "smem_bm_init: %s is NULL",
                              storeURL == NULL ? "storeURL" : "config"));
    }
    int rc = check_config(config, worldSize);
    if (rc == SMEM_OK) {
        rc = mf_stores_check_url("smem_bm_init", storeURL);
    }
    if (rc != SMEM_OK) {
        return refused(rc);
    }
    char real[MF_STORES_URL_MAX];
    bool served = mf_stores_serves(storeURL, real, sizeof(real));
    struct mf_ctx_cfg cfg = {
        .url = served ? real : storeURL,
        .world = worldSize,
        .rank = config->autoRanking ? MF_RANK_AUTO : config->rankId,
        .device = deviceId,
        .serve = config->startConfigStoreServer && !served,
        .serve_only = config->startConfigStoreOnly,
        .init_ms = seconds_to_ms(config->initTimeout),
        .create_ms = seconds_to_ms(config->createTimeout),
        .op_ms = seconds_to_ms(config->controlOperationTimeout),
    };
    struct mf_err_rec before;
    mf_err_save(&before);
    rc = mf_service_start(&cfg);
    return rc == SMEM_OK
               ? mf_service_keep_err(rc, &before)
               : mf_err_in(rc, "smem_bm_init: store %s, world of %u ranks", storeURL, worldSize);
}

void smem_bm_uninit(uint32_t flags)
{
    struct mf_err_rec before;
    (void)flags;
    if (mf_service_ctx() == NULL) {
        (void)mf_service_missing("smem_bm_uninit");
        return;
    }
    if (mf_service_check_handler("smem_bm_uninit") != SMEM_OK) {
        return;
    }
    mf_err_save(&before);
    struct mf_span span = mf_service_begin(MF_POINT_BM_UNINIT);
    mf_service_stop();
    (void)mf_trace_end(&span, SMEM_OK, 0);
    mf_err_restore(&before);
}

uint32_t smem_bm_get_rank_id(void)
{
    const struct mf_ctx *ctx = mf_service_ctx();
    if (ctx == NULL) {
        (void)mf_service_missing("smem_bm_get_rank_id");
        return UINT32_MAX;
    }
    return ctx->rank;
}

/* ---- the store's address
 * ------------------------------------------------------------------------------------ */

static int set_url(const char *call, const char *url, bool now)
{
    struct mf_ctx *ctx = mf_service_ctx();
    if (ctx == NULL) {
        return mf_service_missing(call);
    }
    if (ctx->store == NULL) {
        return mf_err(SMEM_ERROR,
                      "%s: this process hosts the config store and has no connection to one", call);
    }
    int rc = ctx->store->ops->set_url(ctx->store, url, now);
    return rc == SMEM_OK ? rc : mf_err_in(rc, "%s", call);
}

int32_t smem_bm_update_store_url(const char *storeURL)
{
    int rc = mf_stores_check_url("smem_bm_update_store_url", storeURL);
    return rc == SMEM_OK ? set_url("smem_bm_update_store_url", storeURL, false) : rc;
}

int32_t smem_bm_update_store_server(const char *ip, uint16_t port)
{
    static const char call[] = "smem_bm_update_store_server";
    unsigned char addr[sizeof(struct in6_addr)];
    char url[96];
    if (ip == NULL || port == 0) {
        return mf_err(SMEM_INVALID_PARAM, "%s: %s", call, ip == NULL ? "ip is NULL" : "port is 0");
    }
    bool v4 = inet_pton(AF_INET, ip, addr) == 1;
    if (!v4 && inet_pton(AF_INET6, ip, addr) != 1) {
        return mf_err(SMEM_INVALID_PARAM, "%s: \"%.64s\" is no numeric IPv4 or IPv6 address", call,
                      ip);
    }
    snprintf(url, sizeof(url), v4 ? "tcp://%s:%u" : "tcp://[%s]:%u", ip, port);
    return set_url(call, url, true);
}

/* ---- leaders: only stores with several servers have them
 * ------------------------------------------------------ */

static int no_leader(const char *call)
{
    return mf_err(SMEM_ERROR,
                  "%s: a tcp:// config store has one server and no leader; stores with several "
                  "servers are not supported in this version",
                  call);
}

int32_t smem_bm_get_bindable_leader_address(char *ip, size_t ipLen, uint16_t *port)
{
    static const char call[] = "smem_bm_get_bindable_leader_address";
    if (ip == NULL || port == NULL || ipLen < 64) {
        return mf_err(SMEM_INVALID_PARAM, "%s: %s", call,
                      ip == NULL     ? "ip is NULL"
                      : port == NULL ? "port is NULL"
                                     : "ipLen is below 64");
    }
    return mf_service_ctx() == NULL ? mf_service_missing(call) : no_leader(call);
}

int32_t smem_bm_get_bindable_leader_address_by_store_url(const char *storeUrl,
                                                         const smem_tls_config *tlsOption,
                                                         uint32_t worldSize, char *ip, size_t ipLen,
                                                         uint16_t *port)
{
    static const char call[] = "smem_bm_get_bindable_leader_address_by_store_url";
    (void)tlsOption;
    if (storeUrl == NULL || ip == NULL || port == NULL || ipLen < 64) {
        return mf_err(SMEM_INVALID_PARAM, "%s: %s", call,
                      storeUrl == NULL ? "storeUrl is NULL"
                      : ip == NULL     ? "ip is NULL"
                      : port == NULL   ? "port is NULL"
                                       : "ipLen is below 64");
    }
    if (worldSize == 0 || worldSize > SMEM_WORLD_SIZE_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "%s: worldSize %u is not 1..%u", call, worldSize,
                      SMEM_WORLD_SIZE_MAX);
    }
    int rc = mf_stores_check_url(call, storeUrl);
    return rc == SMEM_OK ? no_leader(call) : rc;
}

void smem_bm_release_leader_address_store(void)
{
}

int32_t smem_bm_register_leader_change_callback(smem_bm_leader_change_cb cb, void *userData)
{
    static const char call[] = "smem_bm_register_leader_change_callback";
    (void)userData;
    if (mf_service_ctx() == NULL) {
        return mf_service_missing(call);
    }
    return cb == NULL ? SMEM_OK : no_leader(call);
}
