// SPDX-License-Identifier: Apache-2.0
// Faults on purpose.
#include "fault.h"

static void skip(struct list *list, uint32_t at)
{
    list->count--;
    for (uint32_t i = at; i < list->count; i++) {
        list->src[i] = list->src[i + 1];
        list->dst[i] = list->dst[i + 1];
        list->bytes[i] = list->bytes[i + 1];
    }
}

static void misroute(struct list *list, uint32_t at)
{
    uint32_t other = at > 0 ? at - 1 : 1;
    void *dst = list->dst[at];

    if (list->count == 1) {
        list->bytes[at] /= 2;
        list->dst[at] = (char *)dst + list->bytes[at];
        return;
    }
    list->dst[at] = list->dst[other];
    list->dst[other] = dst;
}

void fault_before(const struct fault *fault, struct list *list, uint64_t first)
{
    uint64_t at = fault->element - first;

    if (fault->element < first || at >= list->count) {
        return;
    }
    if (fault->kind == FAULT_SKIP) {
        skip(list, (uint32_t)at);
    } else if (fault->kind == FAULT_MISROUTE) {
        misroute(list, (uint32_t)at);
    }
}

int fault_after(const struct fault *fault, const struct world *world, const struct shape *shape,
                const struct place *target)
{
    uint64_t offset = shape_element(shape, fault->element).dst;
    uint8_t byte = 0;

    if (fault->kind != FAULT_FLIP) {
        return 0;
    }
    if (place_read(world, target, offset, &byte, 1)) {
        return -1;
    }
    byte ^= 1;
    return place_write(world, target, offset, &byte, 1);
}
