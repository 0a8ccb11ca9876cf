// SPDX-License-Identifier: Apache-2.0
// Events: each record has a number; an event has happened when the latest record that was queued
// has been reached. All events of a device share one condition variable.
#include "device/sim/sim.h"

#include "base/alloc.h"
#include "base/err.h"

int mf_sim_event_create(void *impl, void **out)
{
    struct mf_sim_dev *dev = impl;
    struct mf_sim_event *event = mf_calloc(1, sizeof(*event), "simulated event");
    *out = event;
    if (!event) {
        return SMEM_MALLOC_FAILED;
    }
    event->dev = dev;
    event->refs = 1;
    mf_mutex_lock(&dev->lock);
    event->next = dev->events;
    dev->events = event;
    mf_mutex_unlock(&dev->lock);
    return SMEM_OK;
}

void mf_sim_event_put(struct mf_sim_event *event)
{
    if (!event || atomic_fetch_sub_explicit(&event->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct mf_sim_dev *dev = event->dev;
    mf_mutex_lock(&dev->lock);
    struct mf_sim_event **link = &dev->events;
    while (*link != event) {
        link = &(*link)->next;
    }
    *link = event->next;
    mf_mutex_unlock(&dev->lock);
    mf_free(event);
}

void mf_sim_event_destroy(void *impl, void *event)
{
    (void)impl;
    mf_sim_event_put(event);
}

void mf_sim_event_free_all(struct mf_sim_dev *dev)
{
    while (dev->events) {
        struct mf_sim_event *next = dev->events->next;
        mf_free(dev->events);
        dev->events = next;
    }
}

void mf_sim_event_reach(struct mf_sim_event *event, uint64_t record)
{
    struct mf_sim_dev *dev = event->dev;
    mf_mutex_lock(&dev->event_lock);
    if (event->happened < record) {
        event->happened = record;
    }
    mf_cond_broadcast(&dev->event_cond);
    mf_mutex_unlock(&dev->event_lock);
}

int mf_sim_event_sync(void *impl, void *handle, uint64_t deadline_ns)
{
    struct mf_sim_dev *dev = impl;
    struct mf_sim_event *event = handle;
    uint64_t record = event->recorded;
    if (event->happened >= record) {
        return SMEM_OK;
    }
    if (deadline_ns != 0) {
        bool in_time = true;
        mf_mutex_lock(&dev->event_lock);
        while (event->happened < record && in_time) {
            in_time = mf_cond_wait(&dev->event_cond, &dev->event_lock, deadline_ns);
        }
        mf_mutex_unlock(&dev->event_lock);
    }
    if (event->happened >= record) {
        return SMEM_OK;
    }
    return mf_err(SMEM_TIMEOUT, "sim:%u: the event has not happened yet", dev->ordinal);
}
