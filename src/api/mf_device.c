// SPDX-License-Identifier: Apache-2.0
// mf_device.h for applications: devices and their memory, and the calls that return when they are
// done. Checks the arguments; the work is the plug-in's.
#include "memfabric/mf_device.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/device_handles.h"
#include "base/alloc.h"
#include "base/limits.h"

#define SPEC_MAX 256

/* "sim:1" to plug-in and ordinal. A ':' that a '/' follows belongs to a path. */
static int parse_spec(const char *spec, char *plugin, size_t plugin_len, uint32_t *ordinal)
{
    size_t len = strnlen(spec, SPEC_MAX);
    const char *colon = len < SPEC_MAX ? strrchr(spec, ':') : NULL;
    uint64_t number = 0;
    if (colon && strchr(colon, '/')) {
        colon = NULL;
    }
    if (colon) {
        size_t digits = strspn(colon + 1, "0123456789");
        if (digits == 0 || digits > 5 || colon[1 + digits]) {
            return mf_err(SMEM_INVALID_PARAM,
                          "mf_device_open: \"%s\": what stands behind the ':' is no number of a "
                          "device: write plugin:N, such as sim:0",
                          spec);
        }
        mf_parse_u64(colon + 1, &number);
        len = (size_t)(colon - spec);
    }
    if (len == 0 || len >= plugin_len) {
        return mf_err(
            SMEM_INVALID_PARAM,
            "mf_device_open: the name of the plug-in in \"%.64s\" has %zu bytes: 1 to %zu "
            "are allowed",
            spec, len, plugin_len - 1);
    }
    memcpy(plugin, spec, len);
    plugin[len] = 0;
    *ordinal = (uint32_t)number;
    return SMEM_OK;
}

int32_t mf_device_open(const char *spec, mf_device_t *out)
{
    struct mf_process *process;
    char plugin[SPEC_MAX];
    uint32_t ordinal = 0;
    if (!spec || !out) {
        return mf_err(SMEM_INVALID_PARAM, "mf_device_open: %s is NULL", spec ? "out" : "spec");
    }
    *out = NULL;
    int rc = mf_process_get(&process);
    if (rc) {
        return mf_err_in(rc, "mf_device_open");
    }
    rc = parse_spec(spec, plugin, sizeof(plugin), &ordinal);
    if (rc) {
        return rc;
    }
    const char *name = plugin;
    if (strcmp(name, "auto") == 0) { /* what the option says; its default is auto, too */
        name = mf_config_str(&process->config, MF_OPT_DEVICE);
    }
    struct mf_api_device *device = mf_calloc(1, sizeof(*device), "device handle");
    if (!device) {
        return SMEM_MALLOC_FAILED;
    }
    device->process = process;
    rc = mf_dev_registry_get(process->devices, name, ordinal, &device->dev);
    if (!rc && !device->dev) {
        rc = mf_dev_none(&process->env, &process->config, name);
    }
    if (rc) {
        rc = mf_err_in(rc, "mf_device_open: \"%s\"", spec);
        goto free_device;
    }
    rc = mf_api_device_add("mf_device_open", device);
    if (rc) {
        goto put_dev;
    }
    *out = (mf_device_t)(uintptr_t)device->handle;
    return SMEM_OK;
put_dev:
    mf_dev_registry_put(process->devices, device->dev);
free_device:
    mf_free(device);
    return rc;
}

int32_t mf_device_close(mf_device_t dev)
{
    return dev ? mf_api_device_remove("mf_device_close", dev) : SMEM_OK;
}

int32_t mf_device_get_info(mf_device_t dev, mf_device_info_t *info)
{
    struct mf_api_device *device;
    if (!info || info->size < sizeof(*info)) {
        return mf_err(SMEM_INVALID_PARAM,
                      "mf_device_get_info: info is %s: set info->size = sizeof(mf_device_info_t), "
                      "%zu",
                      info ? "smaller than this library's" : "NULL", sizeof(*info));
    }
    int rc = mf_api_device_get("mf_device_get_info", dev, &device);
    if (rc) {
        return rc;
    }
    struct mf_device_info now = device->dev->info;
    rc = device->dev->ops.info(device->dev->impl, &now);
    if (!rc) {
        now.size = info->size;
        *info = now;
    }
    mf_api_device_put(device);
    return rc;
}

/* Memory, mapped in a window of its own; it lives as long as the mapping. */
static int map_fresh(const struct mf_dev *dev, uint64_t size, uint64_t *addr)
{
    mf_dev_mem mem;
    int rc = dev->ops.mem_create(dev->impl, size, &mem);
    if (rc) {
        return rc;
    }
    rc = dev->ops.window_reserve(dev->impl, 0, size, addr);
    if (rc) {
        goto destroy_mem;
    }
    rc = dev->ops.map(dev->impl, *addr, mem, 0, size);
    if (rc) {
        dev->ops.window_release(dev->impl, *addr, size);
    }
destroy_mem:
    dev->ops.mem_destroy(dev->impl, mem);
    return rc;
}

int32_t mf_device_alloc(mf_device_t dev, uint64_t size, mf_dev_t *ptr)
{
    struct mf_api_device *device;
    if (!ptr || size == 0 || size > MF_COPY_BYTES_MAX) {
        return mf_err(SMEM_INVALID_PARAM,
                      "mf_device_alloc: size %" PRIu64 "%s: 1 to %llu bytes, and a place for the "
                      "address, are needed",
                      size, ptr ? "" : ", ptr NULL", MF_COPY_BYTES_MAX);
    }
    *ptr = 0;
    int rc = mf_api_device_get("mf_device_alloc", dev, &device);
    if (rc) {
        return rc;
    }
    struct mf_api_memory *memory = mf_calloc(1, sizeof(*memory), "device allocation");
    if (!memory) {
        rc = SMEM_MALLOC_FAILED;
        goto put_device;
    }
    uint64_t unit = device->dev->info.granularity;
    memory->size = (size + unit - 1) & ~(unit - 1);
    rc = map_fresh(device->dev, memory->size, &memory->addr);
    if (rc) {
        rc = mf_err_in(rc, "mf_device_alloc of %" PRIu64 " bytes", size);
        mf_free(memory);
        goto put_device;
    }
    mf_api_lock();
    memory->next = device->memory;
    device->memory = memory;
    mf_api_unlock();
    *ptr = memory->addr;
put_device:
    mf_api_device_put(device);
    return rc;
}

/* A reference on each stream of this handle; the array is the caller's. */
static int list_streams(struct mf_api_device *device, struct mf_api_child ***out, uint32_t *count)
{
    uint32_t n = 0;
    uint32_t used = 0;
    mf_api_lock();
    for (struct mf_api_child *c = device->children; c; c = c->next) {
        n += c->kind == MF_API_STREAM;
    }
    struct mf_api_child **list = mf_alloc((n + 1) * sizeof(struct mf_api_child *), "streams");
    for (struct mf_api_child *c = device->children; list && c; c = c->next) {
        if (c->kind == MF_API_STREAM) {
            c->refs++;
            list[used++] = c;
        }
    }
    mf_api_unlock();
    *out = list;
    *count = used;
    return list ? SMEM_OK : SMEM_MALLOC_FAILED;
}

/* Wait for all streams of this handle, which may use its memory. */
static int drain_streams(struct mf_api_device *device)
{
    uint64_t deadline = mf_deadline_ns(&device->process->env, MF_API_DRAIN_MS);
    struct mf_api_child **streams;
    uint32_t count;
    int rc = list_streams(device, &streams, &count);
    for (uint32_t i = 0; i < count; i++) {
        rc = rc ? rc : mf_api_stream_drain(streams[i], deadline);
        mf_api_child_put(streams[i]);
    }
    mf_free(streams);
    if (rc == SMEM_TIMEOUT) {
        return mf_err(SMEM_RES_IN_USE,
                      "a stream was still at work after %u ms: synchronize it, then free again",
                      MF_API_DRAIN_MS);
    }
    return rc;
}

static struct mf_api_memory *take_memory(struct mf_api_device *device, uint64_t addr)
{
    mf_api_lock();
    struct mf_api_memory **link = &device->memory;
    while (*link && (*link)->addr != addr) {
        link = &(*link)->next;
    }
    struct mf_api_memory *memory = *link;
    if (memory) {
        *link = memory->next;
    }
    mf_api_unlock();
    return memory;
}

int32_t mf_device_free(mf_device_t dev, mf_dev_t ptr)
{
    struct mf_api_device *device;
    int rc = mf_api_device_get("mf_device_free", dev, &device);
    if (rc) {
        return rc;
    }
    const struct mf_device_ops *ops = &device->dev->ops;
    struct mf_api_memory *memory = take_memory(device, ptr);
    if (!memory) {
        rc = mf_err(SMEM_INVALID_PARAM,
                    "mf_device_free: 0x%" PRIx64
                    " was not allocated through this handle, or is freed already",
                    ptr);
        goto put_device;
    }
    rc = drain_streams(device);
    if (rc) {
        rc = mf_err_in(rc, "mf_device_free: 0x%" PRIx64, ptr);
        mf_api_lock();
        memory->next = device->memory;
        device->memory = memory;
        mf_api_unlock();
        goto put_device;
    }
    rc = ops->unmap(device->dev->impl, memory->addr, memory->size);
    ops->window_release(device->dev->impl, memory->addr, memory->size);
    mf_free(memory);
put_device:
    mf_api_device_put(device);
    return rc;
}

/* A stream for one call that returns when it is done: an idle one, or a fresh one. */
static int lane_take(struct mf_api_device *device, struct mf_api_lane **out)
{
    mf_api_lock();
    struct mf_api_lane *lane = device->lanes;
    if (lane) {
        device->lanes = lane->next;
    }
    mf_api_unlock();
    if (lane) {
        *out = lane;
        return SMEM_OK;
    }
    lane = mf_calloc(1, sizeof(*lane), "device lane");
    if (!lane) {
        return SMEM_MALLOC_FAILED;
    }
    int rc = device->dev->ops.stream_create(device->dev->impl, &lane->stream);
    if (rc) {
        mf_free(lane);
        return rc;
    }
    *out = lane;
    return SMEM_OK;
}

/* Wait until the lane is done. One that is not done in time is destroyed: what it holds is dropped,
 * and nothing lands after the call has failed. */
static int lane_finish(struct mf_api_device *device, struct mf_api_lane *lane)
{
    const struct mf_dev *dev = device->dev;
    const struct mf_process *process = device->process;
    uint64_t wait_ms = mf_config_u64(&process->config, MF_OPT_COPY_WAIT_MS);
    int rc = dev->ops.stream_sync(dev->impl, lane->stream, mf_deadline_ns(&process->env, wait_ms));
    if (rc == SMEM_TIMEOUT) {
        dev->ops.stream_destroy(dev->impl, lane->stream);
        mf_free(lane);
        return mf_err(SMEM_TIMEOUT, "not done after %" PRIu64 " ms (copy.wait_ms, MF_COPY_WAIT_MS)",
                      wait_ms);
    }
    mf_api_lock();
    lane->next = device->lanes;
    device->lanes = lane;
    mf_api_unlock();
    return rc;
}

int32_t mf_device_copy(mf_device_t dev, uint64_t dst, uint64_t src, uint64_t size)
{
    struct mf_api_device *device;
    struct mf_api_lane *lane;
    int rc = mf_api_device_get("mf_device_copy", dev, &device);
    if (rc) {
        return rc;
    }
    rc = mf_api_check_addr(device, dst);
    if (!rc) {
        rc = mf_api_check_addr(device, src);
    }
    if (!rc) {
        rc = lane_take(device, &lane);
    }
    if (!rc) {
        int queued = device->dev->ops.copy(device->dev->impl, lane->stream, dst, src, size);
        rc = lane_finish(device, lane);
        rc = queued ? queued : rc;
    }
    if (rc) {
        rc = mf_err_in(rc, "mf_device_copy");
    }
    mf_api_device_put(device);
    return rc;
}

int32_t mf_device_fill(mf_device_t dev, mf_dev_t dst, uint8_t value, uint64_t size)
{
    struct mf_api_device *device;
    struct mf_api_lane *lane;
    int rc = mf_api_device_get("mf_device_fill", dev, &device);
    if (rc) {
        return rc;
    }
    rc = lane_take(device, &lane);
    if (!rc) {
        int queued = device->dev->ops.fill(device->dev->impl, lane->stream, dst, value, size);
        rc = lane_finish(device, lane);
        rc = queued ? queued : rc;
    }
    if (rc) {
        rc = mf_err_in(rc, "mf_device_fill");
    }
    mf_api_device_put(device);
    return rc;
}
