// SPDX-License-Identifier: Apache-2.0
// mf_device.h for applications: streams, what is queued on them, and events.
#include <inttypes.h>

#include "api/device_handles.h"
#include "base/alloc.h"
#include "memfabric/mf_device.h"

static int refuse_null(const char *call, const char *what)
{
    return mf_err(SMEM_INVALID_PARAM, "%s: %s is NULL", call, what);
}

/* What the plug-in said, with the public function in front; gives the stream's reference back. */
static int32_t leave(const char *call, struct mf_api_child *stream, int rc)
{
    mf_api_child_put(stream);
    return rc ? mf_err_in(rc, "%s", call) : SMEM_OK;
}

int32_t mf_device_stream_create(mf_device_t dev, mf_device_stream_t *out)
{
    static const char call[] = "mf_device_stream_create";
    struct mf_api_device *device;
    struct mf_api_child *stream;
    void *impl;
    if (!out) {
        return refuse_null(call, "out");
    }
    *out = NULL;
    int rc = mf_api_device_get(call, dev, &device);
    if (rc) {
        return rc;
    }
    rc = device->dev->ops.stream_create(device->dev->impl, &impl);
    if (!rc) {
        rc = mf_api_child_add(call, device, MF_API_STREAM, impl, &stream);
        if (rc) {
            device->dev->ops.stream_destroy(device->dev->impl, impl);
        } else {
            *out = (mf_device_stream_t)(uintptr_t)stream->handle;
        }
    }
    mf_api_device_put(device);
    return rc;
}

/* The failure that an earlier wait of the library found, once; or that of a pool's copy in the
 * order of this stream. */
static int take_failure(struct mf_api_child *stream, int rc)
{
    struct mf_err_rec own;
    mf_err_save(&own);
    mf_api_lock();
    struct mf_stream_words *words = stream->words;
    int earlier = stream->failure->code;
    if (earlier) {
        own = *stream->failure;
        stream->failure->code = 0;
    }
    mf_api_unlock();
    int copy = mf_stream_words_take_failure(words);
    if (earlier || rc) {
        mf_err_restore(&own);
        return earlier ? earlier : rc;
    }
    return copy;
}

int32_t mf_device_stream_destroy(mf_device_stream_t handle)
{
    static const char call[] = "mf_device_stream_destroy";
    struct mf_api_child *stream;
    int rc = mf_api_child_get(call, MF_API_STREAM, handle, &stream);
    if (rc) {
        return rc;
    }
    uint64_t deadline = mf_deadline_ns(&stream->device->process->env, MF_API_DRAIN_MS);
    if (mf_api_stream_drain(stream, deadline)) {
        mf_api_child_put(stream);
        return mf_err(SMEM_RES_IN_USE,
                      "%s: the stream was still at work after %u ms, it stays: release what it "
                      "waits for, or close the device",
                      call, MF_API_DRAIN_MS);
    }
    rc = mf_api_child_remove(call, stream);
    if (!rc) {
        rc = take_failure(stream, SMEM_OK);
        if (rc) {
            rc = mf_err_in(rc, "%s: the stream is destroyed; one of its operations had failed",
                           call);
        }
    }
    mf_api_child_put(stream);
    return rc;
}

int32_t mf_device_stream_synchronize(mf_device_stream_t handle, uint32_t timeout_ms)
{
    static const char call[] = "mf_device_stream_synchronize";
    struct mf_api_child *stream;
    int rc = mf_api_child_get(call, MF_API_STREAM, handle, &stream);
    if (rc) {
        return rc;
    }
    const struct mf_dev *dev = stream->device->dev;
    uint64_t deadline = mf_deadline_ns(&stream->device->process->env, timeout_ms);
    rc = dev->ops.stream_sync(dev->impl, stream->impl, deadline);
    if (rc != SMEM_TIMEOUT) {
        rc = take_failure(stream, rc);
    }
    return leave(call, stream, rc);
}

int32_t mf_device_copy_async(mf_device_stream_t handle, uint64_t dst, uint64_t src, uint64_t size)
{
    static const char call[] = "mf_device_copy_async";
    struct mf_api_child *stream;
    int rc = mf_api_child_get(call, MF_API_STREAM, handle, &stream);
    if (rc) {
        return rc;
    }
    const struct mf_dev *dev = stream->device->dev;
    rc = mf_api_check_addr(stream->device, dst);
    if (!rc) {
        rc = mf_api_check_addr(stream->device, src);
    }
    if (!rc) {
        rc = dev->ops.copy(dev->impl, stream->impl, dst, src, size);
    }
    return leave(call, stream, rc);
}

int32_t mf_device_fill_async(mf_device_stream_t handle, mf_dev_t dst, uint8_t value, uint64_t size)
{
    static const char call[] = "mf_device_fill_async";
    struct mf_api_child *stream;
    int rc = mf_api_child_get(call, MF_API_STREAM, handle, &stream);
    if (rc) {
        return rc;
    }
    const struct mf_dev *dev = stream->device->dev;
    return leave(call, stream, dev->ops.fill(dev->impl, stream->impl, dst, value, size));
}

int32_t mf_device_write64(mf_device_stream_t handle, uint64_t addr, uint64_t value)
{
    static const char call[] = "mf_device_write64";
    struct mf_api_child *stream;
    int rc = mf_api_child_get(call, MF_API_STREAM, handle, &stream);
    if (rc) {
        return rc;
    }
    const struct mf_dev *dev = stream->device->dev;
    rc = mf_api_check_addr(stream->device, addr);
    if (!rc) {
        rc = dev->ops.write64(dev->impl, stream->impl, addr, value);
    }
    return leave(call, stream, rc);
}

int32_t mf_device_wait64(mf_device_stream_t handle, uint64_t addr, uint64_t value)
{
    static const char call[] = "mf_device_wait64";
    struct mf_api_child *stream;
    int rc = mf_api_child_get(call, MF_API_STREAM, handle, &stream);
    if (rc) {
        return rc;
    }
    const struct mf_dev *dev = stream->device->dev;
    rc = mf_api_check_addr(stream->device, addr);
    if (!rc) {
        rc = dev->ops.wait64(dev->impl, stream->impl, addr, value);
    }
    return leave(call, stream, rc);
}

int32_t mf_device_launch(mf_device_stream_t handle, mf_device_fn fn, void *arg)
{
    static const char call[] = "mf_device_launch";
    struct mf_api_child *stream;
    if (!fn) {
        return refuse_null(call, "fn");
    }
    int rc = mf_api_child_get(call, MF_API_STREAM, handle, &stream);
    if (rc) {
        return rc;
    }
    const struct mf_dev *dev = stream->device->dev;
    return leave(call, stream, dev->ops.launch(dev->impl, stream->impl, fn, arg));
}

int32_t mf_device_event_create(mf_device_t dev, mf_device_event_t *out)
{
    static const char call[] = "mf_device_event_create";
    struct mf_api_device *device;
    struct mf_api_child *event;
    void *impl;
    if (!out) {
        return refuse_null(call, "out");
    }
    *out = NULL;
    int rc = mf_api_device_get(call, dev, &device);
    if (rc) {
        return rc;
    }
    rc = device->dev->ops.event_create(device->dev->impl, &impl);
    if (!rc) {
        rc = mf_api_child_add(call, device, MF_API_EVENT, impl, &event);
        if (rc) {
            device->dev->ops.event_destroy(device->dev->impl, impl);
        } else {
            *out = (mf_device_event_t)(uintptr_t)event->handle;
        }
    }
    mf_api_device_put(device);
    return rc;
}

int32_t mf_device_event_destroy(mf_device_event_t handle)
{
    static const char call[] = "mf_device_event_destroy";
    struct mf_api_child *event;
    int rc = mf_api_child_get(call, MF_API_EVENT, handle, &event);
    if (rc) {
        return rc;
    }
    rc = mf_api_child_remove(call, event);
    mf_api_child_put(event);
    return rc;
}

/* The event and the stream of a call that has both; they are of one device. */
static int get_pair(const char *call, mf_device_event_t event_handle,
                    mf_device_stream_t stream_handle, struct mf_api_child **event,
                    struct mf_api_child **stream)
{
    int rc = mf_api_child_get(call, MF_API_EVENT, event_handle, event);
    if (rc) {
        return rc;
    }
    rc = mf_api_child_get(call, MF_API_STREAM, stream_handle, stream);
    if (rc) {
        goto put_event;
    }
    const struct mf_device_info *of_event = &(*event)->device->dev->info;
    const struct mf_device_info *of_stream = &(*stream)->device->dev->info;
    if ((*event)->device->dev != (*stream)->device->dev) {
        rc = mf_err(SMEM_INVALID_PARAM, "%s: the event is of %s:%u, the stream of %s:%u", call,
                    of_event->plugin, of_event->ordinal, of_stream->plugin, of_stream->ordinal);
        goto put_stream;
    }
    return SMEM_OK;
put_stream:
    mf_api_child_put(*stream);
put_event:
    mf_api_child_put(*event);
    return rc;
}

int32_t mf_device_event_record(mf_device_event_t event_handle, mf_device_stream_t stream_handle)
{
    static const char call[] = "mf_device_event_record";
    struct mf_api_child *event;
    struct mf_api_child *stream;
    int rc = get_pair(call, event_handle, stream_handle, &event, &stream);
    if (rc) {
        return rc;
    }
    const struct mf_dev *dev = stream->device->dev;
    rc = dev->ops.event_record(dev->impl, event->impl, stream->impl);
    mf_api_child_put(event);
    return leave(call, stream, rc);
}

int32_t mf_device_event_synchronize(mf_device_event_t handle, uint32_t timeout_ms)
{
    static const char call[] = "mf_device_event_synchronize";
    struct mf_api_child *event;
    int rc = mf_api_child_get(call, MF_API_EVENT, handle, &event);
    if (rc) {
        return rc;
    }
    const struct mf_dev *dev = event->device->dev;
    uint64_t deadline = timeout_ms ? mf_deadline_ns(&event->device->process->env, timeout_ms) : 0;
    return leave(call, event, dev->ops.event_sync(dev->impl, event->impl, deadline));
}

int32_t mf_device_stream_wait_event(mf_device_stream_t stream_handle,
                                    mf_device_event_t event_handle)
{
    static const char call[] = "mf_device_stream_wait_event";
    struct mf_api_child *event;
    struct mf_api_child *stream;
    int rc = get_pair(call, event_handle, stream_handle, &event, &stream);
    if (rc) {
        return rc;
    }
    const struct mf_dev *dev = stream->device->dev;
    rc = dev->ops.stream_wait_event(dev->impl, stream->impl, event->impl);
    mf_api_child_put(event);
    return leave(call, stream, rc);
}
