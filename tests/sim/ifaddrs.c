// SPDX-License-Identifier: Apache-2.0
// The addresses of a simulated host, for core's question whether a URL is of this machine: one, as
// in sim_net_url. In the place of libc's functions.
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "net.h"

struct host_addr {
    struct ifaddrs list; /* the first member: freed by its address */
    struct sockaddr_in in;
    char name[2];
};

int getifaddrs(struct ifaddrs **out)
{
    struct sim_proc *self = sim_proc_self();
    struct host_addr *addr = self ? calloc(1, sizeof(*addr)) : NULL;
    *out = NULL;
    if (!addr) {
        errno = self ? ENOMEM : ENOSYS;
        return -1;
    }
    addr->in.sin_family = AF_INET;
    addr->in.sin_addr.s_addr = htonl(10u << 24 | sim_proc_host(self));
    addr->name[0] = 'e';
    addr->list = (struct ifaddrs){.ifa_name = addr->name,
                                  .ifa_flags = IFF_UP | IFF_RUNNING,
                                  .ifa_addr = (struct sockaddr *)&addr->in};
    *out = &addr->list;
    return 0;
}

void freeifaddrs(struct ifaddrs *list)
{
    free(list);
}
