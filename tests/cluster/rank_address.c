// SPDX-License-Identifier: Apache-2.0
// Commands about addresses: where a global address is reached here, copies by that address, what a
// raw address reads, and device memory of the pool.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rank.h"
#include "rank_pattern.h"

static smem_bm_t pool_named(const struct rank *rank, const struct words *words)
{
    uint64_t pool = option_u64(words, "pool", 0);
    return pool < RANK_POOLS ? rank->pools[pool] : NULL;
}

/* gva= va= owner=: of the address, and by the address of this process. */
int address_where(struct rank *rank, const struct words *words, char *text)
{
    smem_bm_t pool = pool_named(rank, words);
    uint64_t offset = word_u64(words, 2);
    char *gva = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, (uint16_t)word_u64(words, 1));
    void *va = NULL;
    int rc = smem_bm_gva_to_va(pool, gva + offset, SMEM_MEM_TYPE_LOCAL_HOST, &va);
    if (rc == SMEM_OK) {
        snprintf(text, LINE_BYTES, "gva=%p va=%p owner=%u", (void *)(gva + offset), va,
                 smem_bm_get_rank_id_by_gva(pool, va));
    }
    return rc;
}

/* at ADDRESS LEN: how many bytes there are not 0, whatever the address is. */
int address_read(struct rank *rank, const struct words *words, char *text)
{
    const volatile char *at = (const volatile char *)(uintptr_t)word_u64(words, 1);
    uint64_t size = word_u64(words, 2), other = 0;
    (void)rank;
    for (uint64_t i = 0; i < size; i++) {
        other += at[i] != 0;
    }
    snprintf(text, LINE_BYTES, "other=%" PRIu64, other);
    return SMEM_OK;
}

/* vput ADDRESS LEN GEN WRITER OFF, vget the same: the pattern of OFF, by a copy to or from a raw
 * address. */
static int copy_raw(struct rank *rank, const struct words *words, bool put, char *text)
{
    char *at = (char *)(uintptr_t)word_u64(words, 1);
    uint64_t size = word_u64(words, 2), generation = word_u64(words, 3);
    uint32_t writer = (uint32_t)word_u64(words, 4);
    uint64_t offset = word_u64(words, 5);
    uint32_t pool = (uint32_t)option_u64(words, "pool", 0);
    char *buf = calloc(1, size);
    struct pattern_fault fault;
    int rc = buf == NULL ? SMEM_MALLOC_FAILED : SMEM_OK;
    if (rc == SMEM_OK && put) {
        pattern_fill(buf, size, writer, generation, offset);
        rc = copy_bytes(rank, pool, at, buf, size);
    } else if (rc == SMEM_OK) {
        rc = copy_bytes(rank, pool, buf, at, size);
        if (rc == SMEM_OK) {
            pattern_check(buf, size, writer, generation, offset, &fault);
            snprintf(text, LINE_BYTES, "wrong=%" PRIu64, fault.wrong);
        }
    }
    free(buf);
    return rc;
}

int address_put(struct rank *rank, const struct words *words, char *text)
{
    return copy_raw(rank, words, true, text);
}

int address_get(struct rank *rank, const struct words *words, char *text)
{
    return copy_raw(rank, words, false, text);
}

/* hbm RANK OFF: its global address, and the device's of this process. */
int address_hbm(struct rank *rank, const struct words *words, char *text)
{
    smem_bm_t pool = pool_named(rank, words);
    char *gva = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_DEVICE, (uint16_t)word_u64(words, 1));
    void *va = NULL;
    gva += word_u64(words, 2);
    int rc = smem_bm_gva_to_va(pool, gva, SMEM_MEM_TYPE_LOCAL_DEVICE, &va);
    if (rc == SMEM_OK) {
        snprintf(text, LINE_BYTES, "gva=%p va=%p", (void *)gva, va);
    } else {
        snprintf(text, LINE_BYTES, "gva=%p va=0 %s", (void *)gva, smem_get_last_err_msg());
    }
    return rc;
}
