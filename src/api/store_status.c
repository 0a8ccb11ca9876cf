// SPDX-License-Identifier: Apache-2.0
// smem_config_store_get_cluster_status: the state of the stores of this process as JSON text.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/stores.h"
#include "base/buf.h"
#include "base/err.h"
#include "smem_config_store_api.h"

#define STATUS_MAX (64u << 10)

static int add_text(struct mf_buf *buf, const char *text)
{
    return mf_buf_append(buf, text, strlen(text));
}

/* URLs are made of the library's own characters: nothing in them needs quoting. */
static int add_store(struct mf_buf *buf, const struct mf_stores_status *s)
{
    char text[1024];
    const struct mf_store_server_status *st = &s->server;
    snprintf(text, sizeof(text),
             "%s{\"type\":\"tcp\",\"model\":\"single\",\"connect\":\"%s\",\"server\":{"
             "\"state\":\"%s\",\"worldSize\":%u,\"listen\":\"%s\",\"backendAliveRanks\":%u,"
             "\"aliveRanks\":%u,\"reconnectedRanks\":0,\"lastHeartbeat\":%" PRIu64 ","
             "\"groupManager\":{\"maxRanks\":%u,\"ranks\":%u,\"linkSummary\":{\"activeRanks\":%u,"
             "\"connectedLinks\":%u,\"expectedLinks\":%u,\"completionRate\":%s,"
             "\"abnormalLinks\":0},\"unstableLinks\":[]},"
             "\"sessions\":%u,\"keys\":%u,\"watches\":%u,\"requests\":%" PRIu64
             ",\"events\":%" PRIu64 ",\"bytesIn\":%" PRIu64 ",\"bytesOut\":%" PRIu64
             ",\"bytesStored\":%" PRIu64 ",\"uptimeMs\":%" PRIu64 "}}",
             buf->len > 1 ? "," : "", s->asked, st->recovering ? "SS_RECOVERING" : "SS_NORMAL",
             s->world, st->url, st->sessions, st->sessions, st->uptime_ms, s->world, st->sessions,
             st->sessions, st->connections, st->sessions,
             st->connections >= st->sessions ? "1.0" : "0.0", st->sessions, st->keys, st->watches,
             st->requests, st->events, st->bytes_in, st->bytes_out, st->bytes_stored,
             st->uptime_ms);
    return add_text(buf, text);
}

static int add_one(void *arg, const struct mf_stores_status *status)
{
    return add_store(arg, status);
}

static int build(struct mf_buf *buf)
{
    int rc = add_text(buf, "[");
    if (rc == SMEM_OK) {
        rc = mf_stores_visit(add_one, buf);
    }
    if (rc == SMEM_OK) {
        rc = add_text(buf, "]");
    }
    return rc == SMEM_OK ? mf_buf_append(buf, "", 1) : rc;
}

static int deliver(const struct mf_buf *buf, char *json, uint32_t bufLen, uint32_t *outLen)
{
    static const char call[] = "smem_config_store_get_cluster_status";
    bool none = buf->len == sizeof("[]");
    if (outLen != NULL) {
        *outLen = (uint32_t)buf->len;
    }
    if (json != NULL && bufLen < buf->len) {
        return mf_err(SMEM_BUFFER_TOO_SMALL, "%s: the text needs %zu bytes, the buffer has %u",
                      call, buf->len, bufLen);
    }
    if (json != NULL) {
        memcpy(json, buf->data, buf->len);
        if (outLen != NULL) {
            *outLen = (uint32_t)buf->len - 1;
        }
    }
    return none ? mf_err(SMEM_NOT_EXIST, "%s: this process hosts no config store", call) : SMEM_OK;
}

int32_t smem_config_store_get_cluster_status(char *json, uint32_t bufLen, uint32_t *outLen)
{
    struct mf_buf buf;
    if (json == NULL && outLen == NULL) {
        return mf_err(SMEM_INVALID_PARAM,
                      "smem_config_store_get_cluster_status: json and outLen are both NULL");
    }
    mf_buf_init(&buf, STATUS_MAX);
    int rc = build(&buf);
    if (rc == SMEM_OK) {
        rc = deliver(&buf, json, bufLen, outLen);
    }
    mf_buf_fini(&buf);
    return rc;
}
