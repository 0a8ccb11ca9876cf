// SPDX-License-Identifier: Apache-2.0
// Making and giving back the memory of a DRAM segment. Which pages it gets is decided here, once: 2
// MiB pages when enough are free (they are set aside at once), else those that the kernel gives to
// shared memory.
#include "gva/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <numaif.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "gva/available.h"
#include "gva/memory_priv.h"

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26)
#endif

#define SEALS         (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define NAME_MAX_LEN  64
#define NUMA_NODE_MAX 1024
#define FIT_SPARE     16 /* what is taken leaves this part of the memory to others */

enum huge_mode { HUGE_AUTO, HUGE_NEVER, HUGE_REQUIRE };

static int huge_mode(const struct mf_config *config, enum huge_mode *out)
{
    const char *text = mf_config_str(config, MF_OPT_SEG_HUGE);
    if (strcmp(text, "auto") == 0) {
        *out = HUGE_AUTO;
    } else if (strcmp(text, "never") == 0) {
        *out = HUGE_NEVER;
    } else if (strcmp(text, "require") == 0) {
        *out = HUGE_REQUIRE;
    } else {
        return mf_err(SMEM_INVALID_PARAM,
                      "option segment.huge is \"%s\": auto, never and require are allowed", text);
    }
    return SMEM_OK;
}

static uint64_t read_count(const char *dir, const char *name)
{
    char path[160];
    uint64_t value = 0;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "re");
    if (file) {
        if (fscanf(file, "%" SCNu64, &value) != 1) {
            value = 0;
        }
        fclose(file);
    }
    return value;
}

/* Bytes of 2 MiB pages that nobody has and nobody has set aside; of one node when bound to it. */
static uint64_t huge_free_bytes(int numa_node)
{
    static const char all[] = "/sys/kernel/mm/hugepages/hugepages-2048kB";
    uint64_t pages = read_count(all, "free_hugepages");
    uint64_t reserved = read_count(all, "resv_hugepages");
    pages -= reserved < pages ? reserved : pages;
    if (numa_node >= 0) {
        char dir[96];
        snprintf(dir, sizeof(dir), "/sys/devices/system/node/node%d/hugepages/hugepages-2048kB",
                 numa_node);
        uint64_t on_node = read_count(dir, "free_hugepages");
        pages = on_node < pages ? on_node : pages;
    }
    return pages * MF_PAGE_LARGE;
}

/* The chosen word of a file like "always [never]" is not "never" (and the file is there). */
static bool is_switched_on(const char *path, bool *inherits)
{
    char text[128];
    bool on = false;
    FILE *file = fopen(path, "re");
    *inherits = file == NULL;
    if (!file) {
        return false;
    }
    if (fgets(text, sizeof(text), file)) {
        on = !strstr(text, "[never]") && !strstr(text, "[deny]");
        *inherits = strstr(text, "[inherit]") != NULL;
    }
    fclose(file);
    return on;
}

bool mf_memory_shmem_thp(void)
{
    bool inherits;
    bool on = is_switched_on("/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/shmem_enabled",
                             &inherits);
    if (inherits) {
        on = is_switched_on("/sys/kernel/mm/transparent_hugepage/shmem_enabled", &inherits);
    }
    return on;
}

static uint64_t file_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY ? limit.rlim_cur
                                                                                   : UINT64_MAX;
}

int mf_memory_check_file_limit(const struct mf_memory_cfg *cfg)
{
    uint64_t limit = file_limit();
    if (cfg->size > limit) {
        return mf_err(SMEM_NO_RESOURCES,
                      "%s: %" PRIu64 " bytes are more than the limit of a file's size, %" PRIu64
                      ": raise it (ulimit -f)",
                      cfg->what, cfg->size, limit);
    }
    return SMEM_OK;
}

/* The policy belongs to the memory, not to this mapping of it; a huge page mapping also sets the
 * pages aside. Both outlive the mapping. */
int mf_memory_settle(const struct mf_memory_cfg *cfg, int fd)
{
    void *at = mmap(NULL, cfg->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        return mf_err_sys(SMEM_MALLOC_FAILED, errno, "%s: mmap of %" PRIu64 " bytes", cfg->what,
                          cfg->size);
    }
    int rc = SMEM_OK;
    if (cfg->numa_node >= NUMA_NODE_MAX) {
        rc = mf_err(SMEM_INVALID_PARAM, "%s: NUMA node %d is above the limit %d", cfg->what,
                    cfg->numa_node, NUMA_NODE_MAX - 1);
    } else if (cfg->numa_node >= 0) {
        unsigned long mask[NUMA_NODE_MAX / (8 * sizeof(unsigned long))] = {0};
        size_t bits = 8 * sizeof(mask[0]);
        mask[(size_t)cfg->numa_node / bits] = 1ul << ((size_t)cfg->numa_node % bits);
        if (mbind(at, cfg->size, MPOL_BIND, mask, NUMA_NODE_MAX, 0) != 0) {
            rc = mf_err_sys(SMEM_INVALID_PARAM, errno, "%s: bind to NUMA node %d", cfg->what,
                            cfg->numa_node);
        }
    }
    munmap(at, cfg->size);
    return rc;
}

static int create_file(const struct mf_memory_cfg *cfg, unsigned flags, int *out)
{
    char name[NAME_MAX_LEN];
    snprintf(name, sizeof(name), "memfabric %s", cfg->what);
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
    if (fd < 0) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno, "%s: memfd_create (limit: ulimit -n)",
                          cfg->what);
    }
    int rc = SMEM_OK;
    if (ftruncate(fd, (off_t)cfg->size) != 0) {
        rc = mf_err_sys(SMEM_MALLOC_FAILED, errno, "%s: size of %" PRIu64 " bytes", cfg->what,
                        cfg->size);
    } else if (fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
        rc = mf_err_sys(SMEM_ERROR, errno, "%s: seal the memfd", cfg->what);
    } else {
        rc = mf_memory_settle(cfg, fd);
    }
    if (rc) {
        close(fd);
        return rc;
    }
    *out = fd;
    return SMEM_OK;
}

int mf_memory_create(const struct mf_memory_cfg *cfg, struct mf_memory *out)
{
    enum huge_mode mode = HUGE_AUTO;
    *out = (struct mf_memory){.fd = -1, .size = cfg->size};
    if (cfg->size == 0 || cfg->size % MF_PAGE_LARGE) {
        return mf_err(SMEM_INVALID_PARAM, "%s: size %" PRIu64 " is no multiple of 2 MiB", cfg->what,
                      cfg->size);
    }
    int rc = huge_mode(cfg->config, &mode);
    if (rc == SMEM_OK) {
        rc = mf_memory_check_file_limit(cfg);
    }
    if (rc) {
        return rc;
    }
    uint64_t free_bytes = mode == HUGE_NEVER ? 0 : huge_free_bytes(cfg->numa_node);
    if (free_bytes >= cfg->size) {
        rc = create_file(cfg, MFD_HUGETLB | MFD_HUGE_2MB, &out->fd);
        out->pages = MF_PAGES_HUGE_2M;
        if (rc == SMEM_OK || mode == HUGE_REQUIRE) {
            return rc;
        }
    } else if (mode == HUGE_REQUIRE) {
        return mf_err(SMEM_MALLOC_FAILED,
                      "%s: segment.huge is require and %" PRIu64
                      " bytes of 2 MiB pages are needed, %" PRIu64
                      " are free: raise vm.nr_hugepages, or set MF_SEGMENT_HUGE=auto",
                      cfg->what, cfg->size, free_bytes);
    }
    out->pages = mf_memory_shmem_thp() ? MF_PAGES_THP : MF_PAGES_PLAIN;
    return create_file(cfg, 0, &out->fd);
}

uint64_t mf_memory_fit(const struct mf_memory_cfg *cfg, char *why, size_t why_len)
{
    enum huge_mode mode = HUGE_AUTO;
    if (huge_mode(cfg->config, &mode) != SMEM_OK) {
        return cfg->size; /* create says what is wrong */
    }
    uint64_t huge = mode == HUGE_NEVER ? 0 : huge_free_bytes(cfg->numa_node);
    uint64_t fit = huge;
    uint64_t limit = file_limit();
    snprintf(why, why_len, "%" PRIu64 " bytes of 2 MiB pages are free", huge);
    if (huge < cfg->size && mode != HUGE_REQUIRE) {
        char least[256];
        uint64_t available = mf_memory_available_on(cfg->numa_node, least, sizeof(least));
        fit = available < cfg->size ? available - available / FIT_SPARE : cfg->size;
        fit = fit < huge ? huge : fit;
        snprintf(why, why_len, "%" PRIu64 " may still be allocated, says %s", available, least);
    }
    if (limit < fit && limit < cfg->size) {
        fit = limit;
        snprintf(why, why_len, "%" PRIu64 " are the limit of a file's size (ulimit -f)", limit);
    }
    return (fit < cfg->size ? fit : cfg->size) / MF_PAGE_LARGE * MF_PAGE_LARGE;
}

int mf_memory_check_node(int node)
{
    char path[96];
    char nodes[256] = "0";
    snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", node);
    if (node < 0 || access(path, F_OK) == 0) {
        return SMEM_OK;
    }
    FILE *file = fopen("/sys/devices/system/node/online", "re");
    if (file) {
        if (fgets(nodes, sizeof(nodes), file)) {
            nodes[strcspn(nodes, "\n")] = '\0';
        }
        fclose(file);
    }
    /* A kernel without NUMA has one node and no folder for it. */
    return node == 0 ? SMEM_OK
                     : mf_err(SMEM_INVALID_PARAM,
                              "NUMA node %d (bits 0 to 6 of flags) is not there: this machine has "
                              "the nodes %s",
                              node, nodes);
}

int mf_memory_punch(struct mf_memory *memory)
{
    if (memory->user_fd || memory->fd < 0) {
        return SMEM_OK;
    }
    if (fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)memory->size) !=
        0) {
        return mf_err_sys(SMEM_ERROR, errno, "give %" PRIu64 " bytes back: fallocate(PUNCH_HOLE)",
                          memory->size);
    }
    return SMEM_OK;
}

int mf_memory_punch_mapping(uint64_t addr, uint64_t size)
{
    if (madvise((void *)(uintptr_t)addr, size, MADV_REMOVE) != 0) {
        return mf_err_sys(SMEM_ERROR, errno,
                          "give %" PRIu64 " bytes at 0x%" PRIx64 " back: madvise(MADV_REMOVE)",
                          size, addr);
    }
    return SMEM_OK;
}

void mf_memory_fini(struct mf_memory *memory)
{
    if (memory->fd >= 0) {
        close(memory->fd);
        memory->fd = -1;
    }
}

const char *mf_pages_name(enum mf_pages pages)
{
    switch (pages) {
    case MF_PAGES_HUGE_2M:
        return "2 MiB pages";
    case MF_PAGES_THP:
        return "transparent huge pages";
    case MF_PAGES_PLAIN:
        return "4 KiB pages";
    }
    return "unknown pages";
}
