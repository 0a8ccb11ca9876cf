// SPDX-License-Identifier: Apache-2.0
// Lists of copies and the loops that are timed.
#include "list.h"

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "machine.h"

void list_init(struct list *list, uint32_t room)
{
    *list = (struct list){.src = cli_alloc(room, sizeof(void *)),
                          .dst = cli_alloc(room, sizeof(void *)),
                          .bytes = cli_alloc(room, sizeof(uint64_t)),
                          .room = room};
}

void list_fini(struct list *list)
{
    free(list->src);
    free(list->dst);
    free(list->bytes);
    *list = (struct list){.room = 0};
}

void list_fill(struct list *list, const struct shape *shape, uint64_t first, uint32_t count,
               uint64_t src_base, uint64_t dst_base)
{
    list->count = count < list->room ? count : list->room;
    list->total = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        struct extent element = shape_element(shape, first + i);

        list->src[i] = (void *)(uintptr_t)(src_base + element.src);
        list->dst[i] = (void *)(uintptr_t)(dst_base + element.dst);
        list->bytes[i] = element.bytes;
        list->total += element.bytes;
    }
}

static int copy_call(const struct world *world, const struct list *list,
                     const struct list_call *call, uint32_t at)
{
    if (call->batch == 1) {
        smem_copy_params params = {
            .src = list->src[at], .dest = list->dst[at], .dataSize = list->bytes[at]};

        return smem_bm_copy(world->pool, &params, call->type, 0);
    }
    smem_batch_copy_params params = {.sources = list->src + at,
                                     .destinations = list->dst + at,
                                     .dataSizes = list->bytes + at,
                                     .batchSize = call->batch};
    if (params.batchSize > list->count - at) {
        params.batchSize = list->count - at;
    }
    return smem_bm_copy_batch(world->pool, &params, call->type, 0);
}

double list_copy(const struct world *world, const struct list *list, const struct list_call *call,
                 double *stamps)
{
    double start = machine_now(), before = start;
    int rc = 0;

    for (uint32_t at = 0; rc == 0 && at < list->count; at += call->batch) {
        rc = copy_call(world, list, call, at);
        if (stamps) {
            double now = machine_now();

            stamps[at / call->batch] = now - before;
            before = now;
        }
    }
    if (rc) {
        world_error(world, call->batch == 1 ? "copy" : "batch copy");
        return -1;
    }
    return machine_now() - start;
}

double list_memcpy(const struct list *list)
{
    double start = machine_now();

    for (uint32_t i = 0; i < list->count; i++) {
        memcpy(list->dst[i], list->src[i], list->bytes[i]);
    }
    return machine_now() - start;
}
