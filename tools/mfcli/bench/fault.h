// SPDX-License-Identifier: Apache-2.0
// Faults that the benchmark makes in its own copies, to show that they would be seen: a bit flipped
// at the target, a block left out, a block that lands in another one's place.
#ifndef MFCLI_BENCH_FAULT_H
#define MFCLI_BENCH_FAULT_H

#include "list.h"
#include "world.h"

struct fault {
    enum bench_fault kind;
    uint64_t element; /* the one that suffers */
};

/** Spoils a list that begins with element `first`, when the element is in it. */
void fault_before(const struct fault *fault, struct list *list, uint64_t first);
/** Spoils the target. @return 0, or -1 after a report */
int fault_after(const struct fault *fault, const struct world *world, const struct shape *shape,
                const struct place *target);

#endif
