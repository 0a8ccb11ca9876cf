// SPDX-License-Identifier: Apache-2.0
// Socket addresses of store URLs, for the TCP client and server.
#ifndef MF_STORE_TCP_UTIL_H
#define MF_STORE_TCP_UTIL_H

#include <sys/socket.h>

#include "store/store.h"

#define MF_TCP_NAME_MAX 80u

/** The address of a parsed URL, and its length. */
socklen_t mf_tcp_addr(const struct mf_store_url *url, struct sockaddr_storage *out);
/** "a.b.c.d:port" or "[v6]:port". */
void mf_tcp_name(const struct sockaddr_storage *addr, char out[MF_TCP_NAME_MAX]);
/** Requests are small and somebody waits for each: no delay. */
void mf_tcp_tune(int fd);

#endif
