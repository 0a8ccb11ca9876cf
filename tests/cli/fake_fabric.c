// SPDX-License-Identifier: Apache-2.0
// A fabric for tests: the parts of all ranks lie in this process.
#include "fake_fabric.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"

static struct fake_fabric *fake_of(struct fabric *fabric)
{
    return (struct fake_fabric *)(void *)fabric;
}

/* Word by word; an odd rest does not occur in what the replay moves. */
static void move(void *to, const void *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word =
            __atomic_load_n((const uint64_t *)((const char *)from + i), __ATOMIC_ACQUIRE);

        __atomic_store_n((uint64_t *)((char *)to + i), word, __ATOMIC_RELEASE);
    }
}

/* Whether the range is within the part of a rank that lives. */
static bool can_reach(struct fake_pool *pool, uint64_t address, size_t bytes)
{
    for (uint32_t rank = 0; rank < pool->ranks; rank++) {
        uint64_t base = pool->bases[rank];

        if (address >= base && bytes <= pool->bytes && address - base <= pool->bytes - bytes) {
            return bytes % 8 == 0 && !atomic_load(&pool->dead[rank]);
        }
    }
    return false;
}

static int fake_get(struct fabric *fabric, void *to, uint64_t from, size_t bytes)
{
    if (!can_reach(fake_of(fabric)->pool, from, bytes)) {
        return -1;
    }
    move(to, (const void *)(uintptr_t)from, bytes);
    return 0;
}

static int fake_put(struct fabric *fabric, uint64_t to, const void *from, size_t bytes)
{
    if (!can_reach(fake_of(fabric)->pool, to, bytes)) {
        return -1;
    }
    move((void *)(uintptr_t)to, from, bytes);
    return 0;
}

static int fake_get_batch(struct fabric *fabric, void **to, void **from, const uint64_t *bytes,
                          uint32_t count)
{
    struct fake_pool *pool = fake_of(fabric)->pool;

    for (uint32_t i = 0; i < count; i++) {
        if (fake_get(fabric, to[i], (uint64_t)(uintptr_t)from[i], bytes[i])) {
            return -1;
        }
    }
    if (pool->after_get_batch) {
        pool->after_get_batch(pool->arg, count);
    }
    return 0;
}

static int fake_put_batch(struct fabric *fabric, void **to, void **from, const uint64_t *bytes,
                          uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (fake_put(fabric, (uint64_t)(uintptr_t)to[i], from[i], bytes[i])) {
            return -1;
        }
    }
    return 0;
}

static const char *fake_error(struct fabric *fabric)
{
    (void)fabric;
    return "cannot be reached";
}

static const struct fabric_ops fake_ops = {
    .get = fake_get,
    .put = fake_put,
    .get_batch = fake_get_batch,
    .put_batch = fake_put_batch,
    .error = fake_error,
};

void fake_pool_init(struct fake_pool *pool, uint32_t ranks, size_t bytes)
{
    memset(pool, 0, sizeof(*pool));
    pool->ranks = ranks;
    pool->bytes = bytes;
    for (uint32_t rank = 0; rank < ranks; rank++) {
        pool->parts[rank] = cli_alloc_pages(bytes);
        pool->bases[rank] = (uint64_t)(uintptr_t)pool->parts[rank];
        atomic_init(&pool->dead[rank], false);
        pool->ends[rank].pool = pool;
        pool->ends[rank].fabric = (struct fabric){.ops = &fake_ops,
                                                  .rank = rank,
                                                  .ranks = ranks,
                                                  .bases = pool->bases,
                                                  .own = pool->parts[rank]};
    }
}

void fake_pool_fini(struct fake_pool *pool)
{
    for (uint32_t rank = 0; rank < pool->ranks; rank++) {
        free(pool->parts[rank]);
    }
}
