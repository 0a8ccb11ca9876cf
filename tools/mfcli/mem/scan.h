// SPDX-License-Identifier: Apache-2.0
// What the kernel tells of memory: NUMA nodes, huge pages of each size, limits.
#ifndef MFCLI_MEM_SCAN_H
#define MFCLI_MEM_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEM_KINDS_MAX  8u /* sizes of huge pages */
#define MEM_NODES_MAX  1024u
#define MEM_TEXT_BYTES 256u
#define MEM_POOL_PAGE  ((uint64_t)2 << 20) /* the huge pages that pools use */

struct mem_pages {
    uint64_t total, free; /* pages */
};

struct mem_node {
    uint32_t number;
    uint64_t total, free;                  /* bytes */
    uint64_t available;                    /* bytes: free, and what the kernel would drop */
    struct mem_pages pages[MEM_KINDS_MAX]; /* as mem_scan.sizes */
    uint64_t can_give; /* bytes that a rank bound to this node could give to a pool now */
};

struct mem_scan {
    uint64_t sizes[MEM_KINDS_MAX]; /* of huge pages, bytes, ascending */
    uint32_t kinds;
    struct mem_node *nodes; /* ascending */
    uint32_t count;
    bool numa;                  /* false: the kernel tells of no nodes, node 0 is the machine */
    uint64_t may_allocate;      /* bytes, by all limits */
    char limit[MEM_TEXT_BYTES]; /* the narrowest one */
    char thp[MEM_TEXT_BYTES];   /* transparent huge pages: the kernel's own line */
    char thp_shared[MEM_TEXT_BYTES]; /* the same of shared memory */
};

/**
 * @param root "" or a directory in which a copy of /proc and /sys lies
 * @return 0, or -1 with a sentence in scan->limit; free with mem_scan_fini() in both cases
 */
int mem_scan_read(struct mem_scan *scan, const char *root);
void mem_scan_fini(struct mem_scan *scan);
/** Index of the size in scan->sizes; -1 when there are no such pages. */
int mem_scan_kind(const struct mem_scan *scan, uint64_t size);

#endif
