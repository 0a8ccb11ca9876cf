// SPDX-License-Identifier: Apache-2.0
// What a stream takes: each operation is checked and translated when it is queued, and holds the
// memory it will touch, so that the engine meets nothing it cannot do. All of a call is queued, or
// nothing.
#include "device/sim/sim.h"

#include <inttypes.h>

#include "base/err.h"

/* Put one more reference on the event for the operation. */
static struct mf_sim_event *pin_event(struct mf_sim_event *event)
{
    atomic_fetch_add_explicit(&event->refs, 1, memory_order_relaxed);
    return event;
}

/* Stage one operation, or release what it holds. */
static int stage(struct mf_sim_stream *stream, const struct mf_sim_op *op)
{
    int rc = mf_sim_stage_locked(stream, op);
    if (rc) {
        mf_sim_op_release(op);
    }
    return rc;
}

static int push(struct mf_sim_stream *stream, const struct mf_sim_op *op)
{
    mf_mutex_lock(&stream->lock);
    int rc = stage(stream, op);
    if (!rc) {
        rc = mf_sim_publish_locked(stream);
    }
    mf_mutex_unlock(&stream->lock);
    return rc;
}

/* Stage a copy: one operation for each part that is in one piece at both ends. */
static int stage_copy(struct mf_sim_stream *stream, const struct mf_device_copy_desc *desc)
{
    struct mf_sim_dev *dev = stream->dev;
    for (uint64_t at = 0; at < desc->size;) {
        struct mf_sim_op op = {.kind = MF_SIM_COPY};
        bool device;
        uint64_t src_size = desc->size - at;
        mf_mutex_lock(&dev->lock);
        int rc = mf_sim_check_locked(dev, desc->dst + at, desc->size - at, &device);
        if (!rc) {
            rc = mf_sim_check_locked(dev, desc->src + at, desc->size - at, &device);
        }
        if (!rc) {
            op.size = desc->size - at;
            op.dst = mf_sim_translate_locked(dev, desc->dst + at, &op.size, &op.pins[0]);
            op.src = mf_sim_translate_locked(dev, desc->src + at, &src_size, &op.pins[1]);
            op.size = src_size < op.size ? src_size : op.size;
        }
        mf_mutex_unlock(&dev->lock);
        if (!rc) {
            rc = stage(stream, &op);
        }
        if (rc) {
            return rc;
        }
        at += op.size;
    }
    return SMEM_OK;
}

int mf_sim_copy_batch(void *impl, void *handle, const struct mf_device_copy_desc *v, uint32_t count)
{
    struct mf_sim_stream *stream = handle;
    int rc = SMEM_OK;
    (void)impl;
    mf_mutex_lock(&stream->lock);
    for (uint32_t i = 0; i < count && !rc; i++) {
        rc = stage_copy(stream, &v[i]);
        if (rc && count > 1) {
            rc = mf_err_in(rc, "copy %u of %u", i, count);
        }
    }
    if (rc) {
        mf_sim_unstage_locked(stream);
    } else if (stream->staged > stream->queued) {
        rc = mf_sim_publish_locked(stream);
    }
    mf_mutex_unlock(&stream->lock);
    return rc;
}

int mf_sim_copy(void *impl, void *stream, uint64_t dst, uint64_t src, uint64_t size)
{
    struct mf_device_copy_desc desc = {.dst = dst, .src = src, .size = size};
    return mf_sim_copy_batch(impl, stream, &desc, 1);
}

static int stage_fill(struct mf_sim_stream *stream, uint64_t dst, uint8_t value, uint64_t size)
{
    struct mf_sim_dev *dev = stream->dev;
    while (size > 0) {
        struct mf_sim_op op = {.kind = MF_SIM_FILL, .value = value, .size = size};
        bool device = false;
        mf_mutex_lock(&dev->lock);
        int rc = mf_sim_check_locked(dev, dst, size, &device);
        if (device) {
            op.dst = mf_sim_translate_locked(dev, dst, &op.size, &op.pins[0]);
        } else if (!rc) {
            rc = mf_err(SMEM_INVALID_PARAM, "sim:%u: fill: 0x%" PRIx64 " is no device address",
                        dev->ordinal, dst);
        }
        mf_mutex_unlock(&dev->lock);
        if (!rc) {
            rc = stage(stream, &op);
        }
        if (rc) {
            return rc;
        }
        dst += op.size;
        size -= op.size;
    }
    return SMEM_OK;
}

int mf_sim_fill(void *impl, void *handle, uint64_t dst, uint8_t value, uint64_t size)
{
    struct mf_sim_stream *stream = handle;
    (void)impl;
    mf_mutex_lock(&stream->lock);
    int rc = stage_fill(stream, dst, value, size);
    if (rc) {
        mf_sim_unstage_locked(stream);
    } else if (stream->staged > stream->queued) {
        rc = mf_sim_publish_locked(stream);
    }
    mf_mutex_unlock(&stream->lock);
    return rc;
}

/* Where the aligned word at addr is reached. */
static int translate_word(struct mf_sim_dev *dev, uint64_t addr, uint8_t **word,
                          struct mf_sim_mem **pin)
{
    uint64_t size = sizeof(uint64_t);
    bool device;
    if (addr % sizeof(uint64_t)) {
        return mf_err(SMEM_INVALID_PARAM,
                      "sim:%u: the word at 0x%" PRIx64 " is not aligned to 8 bytes", dev->ordinal,
                      addr);
    }
    mf_mutex_lock(&dev->lock);
    int rc = mf_sim_check_locked(dev, addr, size, &device);
    if (!rc) {
        *word = mf_sim_translate_locked(dev, addr, &size, pin);
    }
    mf_mutex_unlock(&dev->lock);
    return rc;
}

int mf_sim_write64(void *impl, void *stream, uint64_t addr, uint64_t value)
{
    struct mf_sim_op op = {.kind = MF_SIM_WRITE64, .value = value};
    int rc = translate_word(impl, addr, &op.dst, &op.pins[0]);
    return rc ? rc : push(stream, &op);
}

int mf_sim_wait64(void *impl, void *stream, uint64_t addr, uint64_t value)
{
    struct mf_sim_op op = {.kind = MF_SIM_WAIT64, .value = value};
    uint8_t *word = NULL;
    int rc = translate_word(impl, addr, &word, &op.pins[0]);
    op.src = word;
    return rc ? rc : push(stream, &op);
}

int mf_sim_launch(void *impl, void *stream, mf_device_fn fn, void *arg)
{
    struct mf_sim_op op = {.kind = MF_SIM_LAUNCH, .fn = fn, .arg = arg};
    (void)impl;
    return push(stream, &op);
}

int mf_sim_event_record(void *impl, void *handle, void *stream)
{
    struct mf_sim_event *event = handle;
    uint64_t record = atomic_fetch_add(&event->recorded, 1) + 1;
    struct mf_sim_op op = {.kind = MF_SIM_RECORD, .value = record, .event = pin_event(event)};
    (void)impl;
    int rc = push(stream, &op);
    if (rc) { /* a record that was not queued holds nobody up */
        mf_sim_event_reach(event, record);
    }
    return rc;
}

int mf_sim_stream_wait_event(void *impl, void *stream, void *handle)
{
    struct mf_sim_event *event = handle;
    struct mf_sim_op op = {
        .kind = MF_SIM_WAIT_EVENT, .value = event->recorded, .event = pin_event(event)};
    (void)impl;
    return push(stream, &op);
}
