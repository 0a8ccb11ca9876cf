// SPDX-License-Identifier: Apache-2.0
// The first failure of a rank: any of its threads may report one, all see that there is one and
// end.
#ifndef MFCLI_REPLAY_FAILURE_H
#define MFCLI_REPLAY_FAILURE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define FAILURE_BYTES 1024u

struct failure {
    atomic_bool set;
    pthread_mutex_t lock; /* guards `text` */
    char text[FAILURE_BYTES];
};

void failure_init(struct failure *failure);
void failure_fini(struct failure *failure);
/** Keeps the sentence if it is the first. @return -1 */
int failure_report(struct failure *failure, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static inline bool failure_is_set(const struct failure *failure)
{
    return atomic_load_explicit(&failure->set, memory_order_acquire);
}

#endif
