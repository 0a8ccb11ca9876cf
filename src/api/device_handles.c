// SPDX-License-Identifier: Apache-2.0
// The tables of handles of mf_device.h, and the references that keep an object while a call uses
// it. The last put of a stream or event ends it in the plug-in; the last put of a device frees the
// memory that was allocated through it and gives the device back.
#include "api/device_handles.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/handle.h"
#include "base/thread.h"

static struct {
    pthread_once_t once;
    struct mf_mutex lock;
    struct mf_handle_table devices, streams, events;
    uint32_t life; /* forks that led to this process */
    bool made;
    int rc;
} tables = {.once = PTHREAD_ONCE_INIT};

static void make_tables(void)
{
    mf_mutex_init(&tables.lock, MF_RANK_API);
    int rc = mf_handle_table_init(&tables.devices, MF_API_DEVICE, MF_API_DEVICES_MAX);
    if (!rc) {
        rc = mf_handle_table_init(&tables.streams, MF_API_STREAM, MF_API_STREAMS_MAX);
    }
    if (!rc) {
        rc = mf_handle_table_init(&tables.events, MF_API_EVENT, MF_API_EVENTS_MAX);
    }
    tables.rc = rc;
    tables.made = true;
}

/* Every public call comes through here: is there a context, are there tables? */
static int enter(const char *call)
{
    struct mf_process *process;
    int rc = mf_process_get(&process);
    if (rc) {
        return mf_err_in(rc, "%s", call);
    }
    pthread_once(&tables.once, make_tables);
    return tables.rc ? mf_err(tables.rc, "%s: out of memory for the tables of handles", call)
                     : SMEM_OK;
}

/* Another thread of the parent may have held the lock; it does not exist here. */
void mf_api_devices_after_fork(void)
{
    tables.life++;
    if (tables.made) {
        mf_mutex_init(&tables.lock, MF_RANK_API);
    }
}

void mf_api_lock(void)
{
    mf_mutex_lock(&tables.lock);
}

void mf_api_unlock(void)
{
    mf_mutex_unlock(&tables.lock);
}

static struct mf_handle_table *table_of(enum mf_api_kind kind)
{
    return kind == MF_API_DEVICE   ? &tables.devices
           : kind == MF_API_STREAM ? &tables.streams
                                   : &tables.events;
}

static int refuse_handle(const char *call, enum mf_api_kind kind, uint64_t handle)
{
    const char *what = kind == MF_API_DEVICE   ? "device"
                       : kind == MF_API_STREAM ? "stream"
                                               : "event";
    return mf_err(SMEM_INVALID_PARAM,
                  "%s: 0x%" PRIx64 " is no handle of %s: it was never one, or it was closed", call,
                  handle, what);
}

static struct mf_api_device *find_device_locked(mf_device_t handle)
{
    struct mf_api_device *device = mf_handle_get(&tables.devices, (uintptr_t)handle);
    return device && device->life == tables.life ? device : NULL;
}

int mf_api_device_get(const char *call, mf_device_t handle, struct mf_api_device **out)
{
    int rc = enter(call);
    if (rc) {
        return rc;
    }
    mf_api_lock();
    struct mf_api_device *device = find_device_locked(handle);
    if (device) {
        device->refs++;
    }
    mf_api_unlock();
    *out = device;
    return device ? SMEM_OK : refuse_handle(call, MF_API_DEVICE, (uintptr_t)handle);
}

static void free_device(struct mf_api_device *device)
{
    const struct mf_device_ops *ops = &device->dev->ops;
    void *impl = device->dev->impl;
    while (device->lanes) {
        struct mf_api_lane *next = device->lanes->next;
        ops->stream_destroy(impl, device->lanes->stream);
        mf_free(device->lanes);
        device->lanes = next;
    }
    while (device->memory) {
        struct mf_api_memory *next = device->memory->next;
        ops->unmap(impl, device->memory->addr, device->memory->size);
        ops->window_release(impl, device->memory->addr, device->memory->size);
        mf_free(device->memory);
        device->memory = next;
    }
    mf_dev_registry_put(device->process->devices, device->dev);
    mf_free(device);
}

void mf_api_device_put(struct mf_api_device *device)
{
    mf_api_lock();
    bool last = --device->refs == 0;
    mf_api_unlock();
    if (last) {
        free_device(device);
    }
}

int mf_api_device_add(const char *call, struct mf_api_device *device)
{
    int rc = enter(call);
    if (rc) {
        return rc;
    }
    device->refs = 1;
    device->life = tables.life;
    mf_api_lock();
    rc = mf_handle_add(&tables.devices, device, &device->handle);
    mf_api_unlock();
    return rc ? mf_err_in(rc, "%s", call) : SMEM_OK;
}

static void free_child(struct mf_api_child *child)
{
    struct mf_api_device *device = child->device;
    const struct mf_dev *dev = device->dev;
    if (child->kind == MF_API_STREAM) {
        dev->ops.stream_destroy(dev->impl, child->impl);
        mf_stream_words_close(child->words);
    } else {
        dev->ops.event_destroy(dev->impl, child->impl);
    }
    mf_free(child->failure);
    mf_free(child);
    mf_api_device_put(device);
}

void mf_api_child_put(struct mf_api_child *child)
{
    mf_api_lock();
    bool last = --child->refs == 0;
    mf_api_unlock();
    if (last) {
        free_child(child);
    }
}

static void unlink_child_locked(struct mf_api_child *child)
{
    struct mf_api_child **link = &child->device->children;
    while (*link != child) {
        link = &(*link)->next;
    }
    *link = child->next;
}

int mf_api_device_remove(const char *call, mf_device_t handle)
{
    int rc = enter(call);
    if (rc) {
        return rc;
    }
    mf_api_lock();
    struct mf_api_device *device = find_device_locked(handle);
    struct mf_api_child *children = device ? device->children : NULL;
    for (struct mf_api_child *c = children; c; c = c->next) {
        mf_handle_remove(table_of(c->kind), c->handle);
    }
    if (device) {
        mf_handle_remove(&tables.devices, device->handle);
        device->children = NULL;
    }
    mf_api_unlock();
    if (!device) {
        return refuse_handle(call, MF_API_DEVICE, (uintptr_t)handle);
    }
    while (children) {
        struct mf_api_child *next = children->next;
        mf_api_child_put(children);
        children = next;
    }
    mf_api_device_put(device);
    return SMEM_OK;
}

int mf_api_child_get(const char *call, enum mf_api_kind kind, const void *handle,
                     struct mf_api_child **out)
{
    int rc = enter(call);
    if (rc) {
        return rc;
    }
    mf_api_lock();
    struct mf_api_child *child = mf_handle_get(table_of(kind), (uintptr_t)handle);
    if (child && child->device->life != tables.life) {
        child = NULL;
    }
    if (child) {
        child->refs++;
    }
    mf_api_unlock();
    *out = child;
    return child ? SMEM_OK : refuse_handle(call, kind, (uintptr_t)handle);
}

int mf_api_child_add(const char *call, struct mf_api_device *device, enum mf_api_kind kind,
                     void *impl, struct mf_api_child **out)
{
    struct mf_api_child *child = mf_calloc(1, sizeof(*child), "handle of a device");
    if (!child) {
        return SMEM_MALLOC_FAILED;
    }
    *child = (struct mf_api_child){.kind = kind, .device = device, .impl = impl, .refs = 1};
    if (kind == MF_API_STREAM) {
        child->failure = mf_calloc(1, sizeof(*child->failure), "failure of a stream");
        if (!child->failure) {
            mf_free(child);
            return SMEM_MALLOC_FAILED;
        }
    }
    mf_api_lock();
    int rc = mf_handle_add(table_of(kind), child, &child->handle);
    if (!rc) {
        device->refs++;
        child->next = device->children;
        device->children = child;
    }
    mf_api_unlock();
    if (rc) {
        mf_free(child->failure);
        mf_free(child);
        return mf_err_in(rc, "%s", call);
    }
    *out = child;
    return SMEM_OK;
}

int mf_api_child_remove(const char *call, struct mf_api_child *child)
{
    mf_api_lock();
    bool removed = mf_handle_remove(table_of(child->kind), child->handle) != NULL;
    if (removed) {
        unlink_child_locked(child);
        child->refs--; /* the table's; the caller's is still there */
    }
    mf_api_unlock();
    return removed ? SMEM_OK : refuse_handle(call, child->kind, child->handle);
}

int mf_api_stream_drain(struct mf_api_child *stream, uint64_t deadline_ns)
{
    const struct mf_dev *dev = stream->device->dev;
    int rc = dev->ops.stream_sync(dev->impl, stream->impl, deadline_ns);
    if (rc && rc != SMEM_TIMEOUT) {
        mf_api_lock();
        if (stream->failure->code == 0) {
            mf_err_save(stream->failure);
        }
        mf_api_unlock();
        return SMEM_OK;
    }
    return rc;
}

int mf_api_stream_words(struct mf_api_child *stream, struct mf_stream_words **out)
{
    struct mf_stream_words *made = NULL;
    int rc = SMEM_OK;
    mf_api_lock();
    *out = stream->words;
    mf_api_unlock();
    if (*out == NULL) {
        rc = mf_stream_words_create(stream->device->dev, stream->impl, &made);
    }
    if (made != NULL) {
        mf_api_lock();
        if (stream->words == NULL) {
            stream->words = made;
            made = NULL;
        }
        *out = stream->words;
        mf_api_unlock();
        mf_stream_words_close(made); /* another thread was faster */
    }
    return rc;
}

int mf_api_check_addr(const struct mf_api_device *device, uint64_t addr)
{
    char other[32];
    if (mf_dev_registry_owned_by_other(device->process->devices, device->dev, addr, other,
                                       sizeof(other))) {
        return mf_err(SMEM_INVALID_PARAM,
                      "0x%" PRIx64 " is memory of %s, not of %s:%u: copy through host memory", addr,
                      other, device->dev->info.plugin, device->dev->info.ordinal);
    }
    return SMEM_OK;
}
