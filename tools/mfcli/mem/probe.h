// SPDX-License-Identifier: Apache-2.0
// Really takes memory of a node, touches it, and gives it back. All of it happens in a child
// process, so that whatever the kernel does to it, the tool goes on and the memory is free again.
#ifndef MFCLI_MEM_PROBE_H
#define MFCLI_MEM_PROBE_H

#include <stdint.h>

#define PROBE_WORKERS_MAX 256u

struct mem_probe {
    int node;         /* -1: any */
    uint64_t bytes;   /* a multiple of the page */
    uint64_t page;    /* bytes of the huge pages to take; 0: ordinary memory */
    uint32_t workers; /* threads that touch it, 1..PROBE_WORKERS_MAX */
    uint64_t timeout_ms;
};

struct mem_probe_result {
    uint64_t touched; /* bytes */
    double seconds;
    char error[256]; /* "": all is well */
};

/** @return 0 when all bytes were touched; -1 with the sentence in result->error */
int mem_probe_run(const struct mem_probe *probe, struct mem_probe_result *result);

#endif
