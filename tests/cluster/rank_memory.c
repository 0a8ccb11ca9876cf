// SPDX-License-Identifier: Apache-2.0
// Commands of a scripted rank about the memory that it gives: more of it, how much it is, and a
// memfd of its own to make a pool of.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rank.h"

/* size POOL */
int memory_size(struct rank *rank, const struct words *words, char *text)
{
    smem_bm_t pool = rank->pools[word_u64(words, 1) % RANK_POOLS];
    smem_get_and_clear_last_err_msg();
    uint64_t size = smem_bm_get_local_mem_size_by_mem_type(pool, SMEM_MEM_TYPE_HOST);
    snprintf(text, LINE_BYTES, "size=%" PRIu64, size);
    return smem_get_last_err_code();
}

/* extend POOL BYTES */
int memory_extend(struct rank *rank, const struct words *words, char *text)
{
    smem_bm_t pool = rank->pools[word_u64(words, 1) % RANK_POOLS];
    int rc = smem_bm_extend_local_mem(pool, SMEM_MEM_TYPE_HOST, word_u64(words, 2));
    return rc == SMEM_OK ? memory_size(rank, words, text) : rc;
}

/* memfd BYTES [seals=]: a descriptor that can be sealed; it stays open. */
int memory_memfd(struct rank *rank, const struct words *words, char *text)
{
    int seals = (int)option_u64(words, "seals", 0);
    int fd = memfd_create("rank", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    (void)rank;
    if (fd < 0 || ftruncate(fd, (off_t)word_u64(words, 1)) != 0 ||
        (seals != 0 && fcntl(fd, F_ADD_SEALS, seals) != 0)) {
        snprintf(text, LINE_BYTES, "memfd: %s", strerror(errno));
        return SMEM_NO_RESOURCES;
    }
    snprintf(text, LINE_BYTES, "fd=%d", fd);
    return SMEM_OK;
}

/* open PATH: a descriptor of a file, made if it is not there; it stays open. */
int memory_open(struct rank *rank, const struct words *words, char *text)
{
    int fd = open(words->count > 1 ? words->v[1] : "", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    (void)rank;
    if (fd < 0) {
        snprintf(text, LINE_BYTES, "open: %s", strerror(errno));
        return SMEM_NO_RESOURCES;
    }
    snprintf(text, LINE_BYTES, "fd=%d", fd);
    return SMEM_OK;
}
