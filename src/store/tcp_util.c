// SPDX-License-Identifier: Apache-2.0
// Turning parsed URLs into socket addresses and back into text.
#include "store/tcp_util.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

socklen_t mf_tcp_addr(const struct mf_store_url *url, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (url->v6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(url->port);
        inet_pton(AF_INET6, url->host, &in6->sin6_addr); /* the parser has checked the text */
        return sizeof(*in6);
    }
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    in->sin_family = AF_INET;
    in->sin_port = htons(url->port);
    inet_pton(AF_INET, url->host, &in->sin_addr);
    return sizeof(*in);
}

void mf_tcp_name(const struct sockaddr_storage *addr, char out[MF_TCP_NAME_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (addr->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        snprintf(out, MF_TCP_NAME_MAX, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)addr;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        snprintf(out, MF_TCP_NAME_MAX, "%s:%u", host, ntohs(in->sin_port));
    }
}

void mf_tcp_tune(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}
