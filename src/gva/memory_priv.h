// SPDX-License-Identifier: Apache-2.0
// What the files that make memory share.
#ifndef MF_GVA_MEMORY_PRIV_H
#define MF_GVA_MEMORY_PRIV_H

#include <stdbool.h>

#include "gva/memory.h"

/** Growing a file past the limit of its size raises a signal: SMEM_NO_RESOURCES instead. */
int mf_memory_check_file_limit(const struct mf_memory_cfg *cfg);
/** Set the memory policy of the file's first bytes; of huge pages, set them aside. */
int mf_memory_settle(const struct mf_memory_cfg *cfg, int fd);
/** Does the kernel give transparent huge pages to shared memory that asks for them? */
bool mf_memory_shmem_thp(void);

#endif
