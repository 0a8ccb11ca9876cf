// SPDX-License-Identifier: Apache-2.0
// Store URLs: tcp://a.b.c.d:port and tcp://[v6]:port, numeric addresses only, so that parsing never
// asks a name server.
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store/store.h"

static int refuse(const char *url, const char *at, const char *what)
{
    return mf_err(SMEM_INVALID_PARAM,
                  "store URL \"%.120s\": %s at character %zu; write tcp://<IPv4>:<port> or "
                  "tcp://[<IPv6>]:<port>",
                  url, what, (size_t)(at - url) + 1);
}

static int parse_port(const char *url, const char *text, uint16_t *out)
{
    unsigned value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (unsigned)(*at - '0');
        if (value > UINT16_MAX)
            return refuse(url, text, "the port is above 65535");
    }
    if (at == text)
        return refuse(url, at, "a port number is missing");
    if (*at != '\0')
        return refuse(url, at, "something follows the port");
    *out = (uint16_t)value;
    return SMEM_OK;
}

int mf_store_url_parse(const char *url, struct mf_store_url *out)
{
    struct in6_addr addr;
    if (url == NULL)
        return mf_err(SMEM_INVALID_PARAM, "store URL: it is NULL");
    if (strncmp(url, "etcd://", 7) == 0 || strncmp(url, "reg://", 6) == 0)
        return mf_err(SMEM_INVALID_PARAM,
                      "store URL \"%.120s\": the etcd and reg back ends are not available in this "
                      "version; use tcp://",
                      url);
    if (strncmp(url, "tcp://", 6) != 0)
        return refuse(url, url, "\"tcp://\" is missing");
    const char *host = url + 6;
    bool v6 = *host == '[';
    if (v6)
        host++;
    const char *end = host + strcspn(host, v6 ? "]" : ":");
    size_t len = (size_t)(end - host);
    if (*end == '\0')
        return refuse(url, end, v6 ? "\"]\" is missing" : "\":\" and a port are missing");
    if (v6 && end[1] != ':')
        return refuse(url, end + 1, "\":\" and a port are missing");
    if (len == 0 || len >= sizeof(out->host))
        return refuse(url, host, "a numeric address is missing");
    memset(out, 0, sizeof(*out));
    memcpy(out->host, host, len);
    if (inet_pton(v6 ? AF_INET6 : AF_INET, out->host, &addr) != 1)
        return refuse(url, host, v6 ? "there is no IPv6 address" : "there is no IPv4 address");
    out->v6 = v6;
    return parse_port(url, end + (v6 ? 2 : 1), &out->port);
}
