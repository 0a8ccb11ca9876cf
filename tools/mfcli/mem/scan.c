// SPDX-License-Identifier: Apache-2.0
// Reads what /proc and /sys tell of memory. How much may be allocated, by all limits, is the
// library's own answer.
#include "scan.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "memfabric/mf_info.h"
#include "smem.h"

#define LINE_BYTES 256u
#define NODES_DIR  "/sys/devices/system/node"
#define PAGES_DIR  "/sys/kernel/mm/hugepages"

static FILE *open_file(const char *root, const char *dir, const char *name)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s%s/%s", root, dir, name);

    return length > 0 && (size_t)length < sizeof(path) ? fopen(path, "re") : NULL;
}

static uint64_t read_number(const char *root, const char *dir, const char *name)
{
    FILE *file = open_file(root, dir, name);
    uint64_t value = 0;

    if (file) {
        if (fscanf(file, "%" SCNu64, &value) != 1) {
            value = 0;
        }
        fclose(file);
    }
    return value;
}

static void read_line(const char *root, const char *name, char *line)
{
    FILE *file = open_file(root, "/sys/kernel/mm/transparent_hugepage", name);

    snprintf(line, MEM_TEXT_BYTES, "not there");
    if (file) {
        if (fgets(line, MEM_TEXT_BYTES, file)) {
            line[strcspn(line, "\n")] = '\0';
        }
        fclose(file);
    }
}

/* Lines "Key: value kB", with "Node N " in front in the files of nodes. */
static int read_meminfo(FILE *file, struct mem_node *node)
{
    char line[LINE_BYTES], key[64];
    uint64_t kib = 0, cache = 0, available = 0;

    while (fgets(line, sizeof(line), file)) {
        const char *at = line;
        int skip = 0;

        if (sscanf(line, "Node %*u %n", &skip) == 0 && skip) {
            at += skip;
        }
        if (sscanf(at, "%63[^:]: %" SCNu64, key, &kib) != 2) {
            continue;
        }
        if (strcmp(key, "MemTotal") == 0) {
            node->total = kib * 1024;
        } else if (strcmp(key, "MemFree") == 0) {
            node->free = kib * 1024;
        } else if (strcmp(key, "MemAvailable") == 0) {
            available = kib * 1024;
        } else if (strcmp(key, "Active(file)") == 0 || strcmp(key, "Inactive(file)") == 0 ||
                   strcmp(key, "SReclaimable") == 0) {
            cache += kib * 1024;
        }
    }
    /* Nodes have no MemAvailable. */
    node->available = available ? available : node->free + cache;
    node->available = node->available < node->total ? node->available : node->total;
    return node->total ? 0 : -1;
}

static int compare_sizes(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void find_sizes(struct mem_scan *scan, const char *root)
{
    char path[PATH_MAX];
    DIR *dir = NULL;
    struct dirent *entry = NULL;

    snprintf(path, sizeof(path), "%s%s", root, PAGES_DIR);
    dir = opendir(path);
    while (dir && scan->kinds < MEM_KINDS_MAX && (entry = readdir(dir))) {
        uint64_t kib = 0;

        if (sscanf(entry->d_name, "hugepages-%" SCNu64 "kB", &kib) == 1) {
            scan->sizes[scan->kinds++] = kib * 1024;
        }
    }
    if (dir) {
        closedir(dir);
    }
    qsort(scan->sizes, scan->kinds, sizeof(scan->sizes[0]), compare_sizes);
}

/* `base`: the directory that holds hugepages-*kB. */
static void read_pages(const struct mem_scan *scan, const char *root, const char *base,
                       struct mem_node *node)
{
    for (uint32_t i = 0; i < scan->kinds; i++) {
        char dir[2 * LINE_BYTES], host[LINE_BYTES];
        uint64_t spoken_for = 0, all = 0;

        snprintf(dir, sizeof(dir), "%s/hugepages-%" PRIu64 "kB", base, scan->sizes[i] / 1024);
        snprintf(host, sizeof(host), PAGES_DIR "/hugepages-%" PRIu64 "kB", scan->sizes[i] / 1024);
        node->pages[i].total = read_number(root, dir, "nr_hugepages");
        node->pages[i].free = read_number(root, dir, "free_hugepages");
        /* Pages that others have reserved count as free on their node until they are touched. */
        spoken_for = read_number(root, host, "resv_hugepages");
        all = read_number(root, host, "free_hugepages");
        all = all > spoken_for ? all - spoken_for : 0;
        node->pages[i].free = node->pages[i].free < all ? node->pages[i].free : all;
    }
}

int mem_scan_kind(const struct mem_scan *scan, uint64_t size)
{
    for (uint32_t i = 0; i < scan->kinds; i++) {
        if (scan->sizes[i] == size) {
            return (int)i;
        }
    }
    return -1;
}

/* A pool takes 2 MiB pages when there are enough for all that the rank gives, else ordinary ones;
 * so the most is the larger of the two, not their sum. */
static void judge(const struct mem_scan *scan, struct mem_node *node)
{
    int kind = mem_scan_kind(scan, MEM_POOL_PAGE);
    uint64_t huge = kind >= 0 ? node->pages[kind].free * MEM_POOL_PAGE : 0;
    uint64_t ordinary = node->available < scan->may_allocate ? node->available : scan->may_allocate;

    node->can_give = huge > ordinary ? huge : ordinary;
    node->can_give -= node->can_give % MEM_POOL_PAGE;
}

static struct mem_node *add_node(struct mem_scan *scan, uint32_t number)
{
    scan->nodes = cli_grow(scan->nodes, scan->count + 1, sizeof(*scan->nodes));
    scan->nodes[scan->count] = (struct mem_node){.number = number};
    return &scan->nodes[scan->count++];
}

static void find_nodes(struct mem_scan *scan, const char *root)
{
    char path[PATH_MAX];

    for (uint32_t number = 0; number < MEM_NODES_MAX; number++) {
        struct mem_node *node = NULL;
        FILE *file = NULL;

        snprintf(path, sizeof(path), NODES_DIR "/node%u", number);
        file = open_file(root, path, "meminfo");
        if (!file) {
            continue;
        }
        node = add_node(scan, number);
        if (read_meminfo(file, node)) {
            scan->count--; /* a node of processors only */
        }
        fclose(file);
    }
    scan->numa = scan->count > 0;
}

/* "23270 MiB", and what limits it. */
static void take_limit(void *arg, const mf_info_item_t *item)
{
    struct mem_scan *scan = arg;
    uint64_t mib = 0;

    if (strcmp(item->section, "memory") == 0 && strcmp(item->name, "may be allocated") == 0 &&
        sscanf(item->value, "%" SCNu64, &mib) == 1) {
        scan->may_allocate = mib << 20;
        snprintf(scan->limit, sizeof(scan->limit), "%s", item->note);
    }
}

/* @return 0, or -1 with a sentence in scan->limit */
static int find_limit(struct mem_scan *scan, const char *root)
{
    struct mem_node whole = {.number = 0};
    FILE *file = NULL;

    if (!root[0]) {
        if (mf_info_visit(take_limit, scan) == SMEM_OK) {
            return 0;
        }
        snprintf(scan->limit, sizeof(scan->limit), "%s", smem_get_last_err_msg());
        return -1;
    }
    file = open_file(root, "/proc", "meminfo");
    if (file) {
        scan->may_allocate = read_meminfo(file, &whole) == 0 ? whole.available : 0;
        fclose(file);
    }
    snprintf(scan->limit, sizeof(scan->limit), "MemAvailable of %s/proc/meminfo", root);
    return 0;
}

static int whole_machine(struct mem_scan *scan, const char *root)
{
    FILE *file = open_file(root, "/proc", "meminfo");
    int rc = -1;

    if (file) {
        rc = read_meminfo(file, add_node(scan, 0));
        fclose(file);
    }
    if (rc) {
        snprintf(scan->limit, sizeof(scan->limit), "%s/proc/meminfo: %s", root,
                 file ? "no MemTotal in it" : strerror(errno));
    }
    return rc;
}

int mem_scan_read(struct mem_scan *scan, const char *root)
{
    memset(scan, 0, sizeof(*scan));
    find_sizes(scan, root);
    find_nodes(scan, root);
    if ((!scan->numa && whole_machine(scan, root)) || find_limit(scan, root)) {
        return -1;
    }
    read_line(root, "enabled", scan->thp);
    read_line(root, "shmem_enabled", scan->thp_shared);
    for (uint32_t i = 0; i < scan->count; i++) {
        char base[LINE_BYTES];

        snprintf(base, sizeof(base), NODES_DIR "/node%u/hugepages", scan->nodes[i].number);
        read_pages(scan, root, scan->numa ? base : PAGES_DIR, &scan->nodes[i]);
        judge(scan, &scan->nodes[i]);
    }
    return 0;
}

void mem_scan_fini(struct mem_scan *scan)
{
    free(scan->nodes);
    scan->nodes = NULL;
}
