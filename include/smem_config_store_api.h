/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file smem_config_store_api.h
 * For a process that hosts config stores: start and stop them by handle, learn of ranks that are
 * lost, and read the state of the cluster. A program that only needs a store for its ranks calls
 * smem_create_config_store() of smem.h, or lets smem_bm_init() start one.
 */
#ifndef MEMFABRIC_SMEM_CONFIG_STORE_API_H
#define MEMFABRIC_SMEM_CONFIG_STORE_API_H

#include "smem_config_store_def.h"
#include "smem_tls_options.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Ask for TLS on connections to config stores, for stores and clients made later. Not supported in
 * this version: asking is refused, and remembered.
 *
 * After a refused request the process opens no config store and joins none in clear text: such
 * calls fail with SMEM_ERROR until TLS is switched off again. Nothing is read from disk, kept or
 * loaded. Does not block.
 *
 * @param tls               NULL, or enable_tls 0: clear text. Borrowed.
 * @param tls_library       directory of the TLS library, or NULL. Borrowed.
 * @param decrypter_library shared object that decrypts the key's password, or NULL. Borrowed.
 * @return SMEM_OK when TLS is switched off; SMEM_ERROR with a sentence that says that TLS is not
 *         supported.
 * Threads: any. Since: 0.1 (MemFabric 1.3).
 */
MF_API int32_t smem_config_store_set_tls(const smem_tls_options_t *tls, const char *tls_library,
                                         const char *decrypter_library);

/**
 * Start a config store in this process, as smem_create_config_store() does, and get its handle.
 *
 * A URL that this process already serves gives a handle of the same store. Blocks until the store
 * listens: milliseconds, at most the option store.request_ms.
 *
 * @param url see smem_create_config_store(). Borrowed.
 * @return the handle, owned: give it back with smem_config_store_destroy_server(). NULL on failure;
 *         then smem_get_last_err_code() is one of the codes of smem_create_config_store().
 * Threads: any. Since: 0.1 (MemFabric 1.3).
 */
MF_API smem_config_store_t smem_config_store_create_server(const char *url);

/**
 * Give a handle back, and stop the store.
 *
 * The handle is stale afterwards, and its handlers are not called any more once this has returned.
 * Blocks for milliseconds, until the store's thread has ended. NULL, a stale handle, or a URL of
 * another store does nothing and leaves a sentence as last error (SMEM_INVALID_PARAM).
 *
 * @param store the handle
 * @param url   as given to create; NULL keeps the store running, until smem_destroy_config_store()
 *              or the end of the process. Borrowed.
 * Threads: any, but not from a callback of the library. Since: 0.1 (MemFabric 1.3).
 */
MF_API void smem_config_store_destroy_server(smem_config_store_t store, const char *url);

/**
 * Have a function called when a rank's session ends without a word: it was killed, or fell silent.
 *
 * @param store   the handle; NULL or a stale one does nothing and leaves a sentence as last error
 *                (SMEM_INVALID_PARAM)
 * @param cb      see smem_config_store_broken_cb; the newest wins; NULL clears. After clearing has
 *                returned, the old function is not running and is not called again.
 * @param context given to cb; the caller's
 * Threads: any, but not from cb. Blocks for as long as a call of the old function lasts. Since: 0.1
 * (MemFabric 1.3).
 */
MF_API void smem_config_store_set_server_broken_handler(smem_config_store_t store,
                                                        smem_config_store_broken_cb cb,
                                                        void *context);

/**
 * Have a function called when the leader of a group of stores changes. A `tcp://` store is alone
 * and has no leader: refuses. Does not block.
 *
 * @param store   the handle
 * @param cb      see smem_config_store_leader_change_cb; NULL clears
 * @param context given to cb; the caller's
 * @return 1 when the store has no leaders, which is always so in this version (the one positive
 *         code of the API; the sentence says why); SMEM_ERROR for NULL or a stale handle.
 * Threads: any. Since: 0.1 (MemFabric 1.3).
 */
MF_API int32_t smem_config_store_set_leader_handler(smem_config_store_t store,
                                                    smem_config_store_leader_change_cb cb,
                                                    void *context);

/**
 * The state of all config stores of this process, as JSON: an array with one object a store.
 *
 * Members of each: type ("tcp"), model, connect (the URL), and server with state ("SS_INITED",
 * "SS_RECOVERING", "SS_NORMAL", ...), worldSize, listen, backendAliveRanks, aliveRanks,
 * reconnectedRanks, lastHeartbeat and groupManager. Members may be added. To size the buffer, call
 * with json NULL first. Does not block.
 *
 * @param json   receives the text and a NUL; the caller's. NULL: only *outLen is written.
 * @param bufLen bytes of json
 * @param outLen json NULL: bytes needed with the NUL. SMEM_OK: bytes written without the NUL. May
 *               be NULL when json is not.
 * @return SMEM_OK; SMEM_BUFFER_TOO_SMALL (*outLen: bytes needed with the NUL; json is not changed);
 *         SMEM_NOT_EXIST when this process has no store (the text is "[]"); SMEM_INVALID_PARAM when
 *         json and outLen are both NULL; SMEM_MALLOC_FAILED.
 * Threads: any. Since: 0.1 (MemFabric 1.3).
 */
MF_API int32_t smem_config_store_get_cluster_status(char *json, uint32_t bufLen, uint32_t *outLen);

#ifdef __cplusplus
}
#endif
#endif
