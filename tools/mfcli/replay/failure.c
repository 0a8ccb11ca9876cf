// SPDX-License-Identifier: Apache-2.0
// Keeps the first failure of a rank.
#include "failure.h"

#include <stdarg.h>
#include <stdio.h>

void failure_init(struct failure *failure)
{
    atomic_init(&failure->set, false);
    pthread_mutex_init(&failure->lock, NULL);
    failure->text[0] = '\0';
}

void failure_fini(struct failure *failure)
{
    pthread_mutex_destroy(&failure->lock);
}

int failure_report(struct failure *failure, const char *format, ...)
{
    va_list args;

    pthread_mutex_lock(&failure->lock);
    if (!failure_is_set(failure)) {
        va_start(args, format);
        vsnprintf(failure->text, sizeof(failure->text), format, args);
        va_end(args);
        atomic_store_explicit(&failure->set, true, memory_order_release);
    }
    pthread_mutex_unlock(&failure->lock);
    return -1;
}
