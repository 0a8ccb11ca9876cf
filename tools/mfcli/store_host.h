// SPDX-License-Identifier: Apache-2.0
// A config store served by this process, and the URL under which others find it.
#ifndef MFCLI_STORE_HOST_H
#define MFCLI_STORE_HOST_H

#include "smem_config_store_api.h"

#define STORE_URL_BYTES 128u

struct store_host {
    smem_config_store_t store;
    char url[STORE_URL_BYTES]; /* with the real port */
};

/**
 * Serves a store at `url`; port 0 takes a free one.
 *
 * @return 0, or -1 after the library's sentence on stderr
 */
int store_host_open(struct store_host *host, const char *url, const char *command);
void store_host_close(struct store_host *host);

/** The state of this process's stores as JSON on one line; free() it. NULL when there is none. */
char *store_host_status(void);

#endif
