// SPDX-License-Identifier: Apache-2.0
// CPU copies: kernels behind one table, the choice by a short measurement when the first large copy
// comes, and threads that share a large copy where that is faster.
#ifndef MF_XCOPY_CPU_COPY_H
#define MF_XCOPY_CPU_COPY_H

#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "config/config.h"

/** Copies from this size on use the measured kernel; smaller ones are memcpy. */
#define MF_COPY_SMALL (256u << 10)
/** Second class of sizes: its kernel is chosen apart, and threads may share such a copy. */
#define MF_COPY_LARGE (2u << 20)
/** Parts of a bulk from this size on use the measured kernel. */
#define MF_COPY_BULK_PART 1024u

struct mf_copy_kernel {
    const char *name;       /* "memcpy", "avx2-stream", "avx512-stream4", "neon", ... */
    int (*supported)(void); /* by this processor */
    void (*copy)(void *dst, const void *src, size_t size); /* any size and alignment, no overlap */
};
/** All kernels built for this architecture, NULL-terminated. */
extern const struct mf_copy_kernel *const mf_copy_kernels[];

struct mf_cpu_copy;

/** SMEM_INVALID_PARAM when the option copy.kernel names no kernel that runs here: the sentence
 * lists those that do. Nothing is measured and no thread is started yet. */
int mf_cpu_copy_create(const struct mf_env *env, const struct mf_config *config,
                       struct mf_cpu_copy **out);
/** No copy is under way any more. NULL is fine. */
void mf_cpu_copy_destroy(struct mf_cpu_copy *copier);

/** Copy; ranges do not overlap. Any thread. An aligned element of at most 8 bytes lands by one
 * store. `arg` is the struct mf_cpu_copy *: the type of mf_transport_host.copy. */
void mf_cpu_copy(void *arg, void *dst, const void *src, size_t size);

/** The same for one part of a bulk, many copies of at least MF_COPY_SMALL bytes in all: nobody
 * reads all of it again out of the cache, so that streaming pays for small parts too. */
void mf_cpu_copy_bulk(void *arg, void *dst, const void *src, size_t size);

/** What was chosen for each range of sizes, with the measured rates (mfcli info); measures when
 * that has not been done yet. */
void mf_cpu_copy_explain(struct mf_cpu_copy *copier, char *buf, size_t cap);

#endif
