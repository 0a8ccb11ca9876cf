// SPDX-License-Identifier: Apache-2.0
// The config stores that this process hosts, by URL, and the request for TLS that forbids clear
// text.
#ifndef MF_API_STORES_H
#define MF_API_STORES_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

/** Bytes of a URL, as in struct mf_store_server_status. */
#define MF_STORES_URL_MAX 96

/** May a store be opened or joined at this URL? SMEM_INVALID_PARAM (NULL, does not parse),
 * SMEM_ERROR (kind of store that is not supported; TLS was asked for). */
int mf_stores_check_url(const char *call, const char *url);
/** Does this process host a store at this URL already? Then `real` is its URL with the real port.
 */
bool mf_stores_serves(const char *url, char *real, size_t len);
/** What is known of one hosted store. */
struct mf_stores_status {
    const char *asked; /* the URL as it was given */
    struct mf_store_server_status server;
    uint32_t world; /* UINT32_MAX: no rank has been there */
};
/** Show a store that somebody else owns (the service's) in the status too; NULL: no more. */
void mf_stores_lend(struct mf_store_server *server, const char *url);
/** Call fn for each; ends with the first result that is not SMEM_OK. */
int mf_stores_visit(int (*fn)(void *arg, const struct mf_stores_status *status), void *arg);
/** In a forked child: close the listeners, forget the stores. */
void mf_stores_after_fork(void);

#endif
