// SPDX-License-Identifier: Apache-2.0
// Serves a config store in this process and finds out its real URL.
#include "store_host.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "smem.h"

char *store_host_status(void)
{
    uint32_t length = 0;
    char *text = NULL;

    /* The text may grow between the two calls, when a rank joins. */
    for (int tries = 0; tries < 8; tries++) {
        if (smem_config_store_get_cluster_status(NULL, 0, &length)) {
            return NULL;
        }
        length += 1024;
        text = cli_alloc(length, 1);
        if (smem_config_store_get_cluster_status(text, length, &length) == SMEM_OK) {
            for (char *c = text; *c; c++) {
                *c = *c == '\n' ? ' ' : *c;
            }
            return text;
        }
        free(text);
    }
    return NULL;
}

/* The text of member `key` after `from` in JSON; false when it is not there. */
static bool json_member(const char *from, const char *key, char *value, size_t bytes)
{
    char quoted[32];
    const char *at = NULL;
    size_t length = 0;

    snprintf(quoted, sizeof(quoted), "\"%s\"", key);
    at = strstr(from, quoted);
    at = at ? strchr(at + strlen(quoted), '"') : NULL;
    length = at ? strcspn(at + 1, "\"") : 0;
    if (length == 0 || length >= bytes) {
        return false;
    }
    memcpy(value, at + 1, length);
    value[length] = '\0';
    return true;
}

/* The URL with the port that was taken in place of port 0. */
static bool find_url(struct store_host *host, const char *url)
{
    size_t length = strlen(url);
    char *status = NULL;
    char listen[STORE_URL_BYTES];
    const char *port = NULL;
    bool found = false;

    if (length >= STORE_URL_BYTES - 6) {
        return false;
    }
    memcpy(host->url, url, length + 1);
    if (length < 2 || strcmp(url + length - 2, ":0") != 0) {
        return true;
    }
    status = store_host_status();
    if (status && json_member(status, "listen", listen, sizeof(listen))) {
        port = strrchr(listen, ':');
    }
    if (port && strcmp(port, ":0") != 0) {
        snprintf(host->url + length - 2, STORE_URL_BYTES - (length - 2), "%s", port);
        found = true;
    }
    free(status);
    return found;
}

int store_host_open(struct store_host *host, const char *url, const char *command)
{
    host->store = smem_config_store_create_server(url);
    if (!host->store) {
        fprintf(stderr, "%s: %s\n", command, smem_get_last_err_msg());
        return -1;
    }
    if (!find_url(host, url)) {
        fprintf(stderr, "%s: the store at %s does not tell the port that it took\n", command, url);
        smem_config_store_destroy_server(host->store, url);
        return -1;
    }
    return 0;
}

void store_host_close(struct store_host *host)
{
    smem_config_store_destroy_server(host->store, host->url);
    host->store = NULL;
}
