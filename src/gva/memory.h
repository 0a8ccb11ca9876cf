// SPDX-License-Identifier: Apache-2.0
// The memory behind a DRAM segment: a sealed memfd with the best pages there are, populated after
// looking at what the machine and the control group allow: running out is an error, never a signal.
#ifndef MF_GVA_MEMORY_H
#define MF_GVA_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "config/config.h"

enum mf_pages { MF_PAGES_HUGE_2M = 1, MF_PAGES_THP, MF_PAGES_PLAIN };

struct mf_memory {
    int fd; /* owned */
    uint64_t size;
    enum mf_pages pages;
    bool user_fd; /* the descriptor was the user's (dup'ed); never punched */
};

struct mf_memory_cfg {
    const struct mf_env *env;
    const struct mf_config *config;
    uint64_t size;    /* multiple of MF_PAGE_LARGE */
    int numa_node;    /* -1: no binding */
    const char *what; /* for errors and /proc/<pid>/maps: "pool 3 dram" */
};

/** Make a memfd of `size` bytes, sealed against shrinking and growing; not yet populated. */
int mf_memory_create(const struct mf_memory_cfg *cfg, struct mf_memory *out);
/** Take a descriptor of the user as memory: the first `size` bytes of its file, which is made
 * larger when it is smaller and sealed against shrinking when it is not. The descriptor stays the
 * user's. SMEM_INVALID_PARAM with a sentence when it is not a memfd that can be read, written and
 * sealed: who truncates any other file kills everybody who has it mapped. */
int mf_memory_adopt(const struct mf_memory_cfg *cfg, int fd, struct mf_memory *out);
/** The largest size up to cfg->size, a multiple of MF_PAGE_LARGE, that create and populate would
 * give now, with something left for others where it is less than cfg->size; `why` says what limits
 * it. 0: nothing. */
uint64_t mf_memory_fit(const struct mf_memory_cfg *cfg, char *why, size_t why_len);
/** SMEM_INVALID_PARAM with the nodes that there are, when this machine has no such NUMA node; -1 is
 * fine. */
int mf_memory_check_node(int node);
/** Populate (touch) a mapping of it in parallel. Looks at MemAvailable and the control group's
 * limit first: SMEM_MALLOC_FAILED with what is needed, what there is and which limit says so. */
int mf_memory_populate(const struct mf_memory_cfg *cfg, const struct mf_memory *memory,
                       uint64_t addr);
/** Give all pages back, now, for all that have it mapped. */
int mf_memory_punch(struct mf_memory *memory);
/** Close the descriptor. */
void mf_memory_fini(struct mf_memory *memory);
/** Punch through a mapping instead of the descriptor (of a dead owner). */
int mf_memory_punch_mapping(uint64_t addr, uint64_t size);

/** What may still be allocated: the least of MemAvailable and what each control group above us
 * leaves; `why` names which. */
uint64_t mf_memory_available(char *why, size_t why_len);
/** "2 MiB pages", "transparent huge pages", "4 KiB pages". */
const char *mf_pages_name(enum mf_pages pages);

#endif
