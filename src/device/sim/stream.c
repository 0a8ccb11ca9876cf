// SPDX-License-Identifier: Apache-2.0
// A stream: a ring of operations and the engine thread that runs them in order. The thread starts
// with the first operation; with nothing to do it looks again for a moment, then sleeps until it is
// woken.
#include "device/sim/sim.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/err.h"
#include "device/sim/spin.h"

#define RING_FIRST 64u /* operations; a power of two, as MF_SIM_QUEUE_MAX is */

static struct mf_sim_op *slot(const struct mf_sim_stream *stream, uint64_t n)
{
    return &stream->ring[n & (stream->cap - 1)];
}

/* The next operation; waits for one. False: stop. */
static bool next_op(struct mf_sim_stream *stream, struct mf_sim_op *op)
{
    uint64_t give_up = mf_sim_now(stream->dev) + MF_SIM_SPIN_NS;
    while (stream->queued == stream->done && !stream->stop && mf_sim_now(stream->dev) < give_up) {
        mf_sim_relax();
    }
    mf_mutex_lock(&stream->lock);
    while (stream->queued == stream->done && !stream->stop) {
        stream->asleep = true;
        mf_cond_wait(&stream->work, &stream->lock, UINT64_MAX);
        stream->asleep = false;
    }
    bool run = !stream->stop;
    if (run) {
        *op = *slot(stream, stream->done);
    }
    mf_mutex_unlock(&stream->lock);
    return run;
}

/* A waiter counts itself, then looks at done; here done changes, then the count is looked at: one
 * of the two sees the other (all sequentially consistent). */
static void finish_op(struct mf_sim_stream *stream)
{
    stream->done++;
    if (stream->waiters > 0) {
        mf_mutex_lock(&stream->lock);
        mf_cond_broadcast(&stream->idle);
        mf_mutex_unlock(&stream->lock);
    }
}

static void *engine_main(void *arg)
{
    struct mf_sim_stream *stream = arg;
    struct mf_sim_op op;
    while (next_op(stream, &op)) {
        mf_sim_execute(stream, &op);
        mf_sim_op_release(&op);
        finish_op(stream);
    }
    return NULL;
}

void mf_sim_engine_sleep(struct mf_sim_stream *stream, uint64_t until_ns)
{
    mf_mutex_lock(&stream->lock);
    bool in_time = true;
    while (!stream->stop && in_time && mf_sim_now(stream->dev) < until_ns) {
        in_time = mf_cond_wait(&stream->work, &stream->lock, until_ns);
    }
    mf_mutex_unlock(&stream->lock);
}

int mf_sim_stream_create(void *impl, void **out)
{
    struct mf_sim_dev *dev = impl;
    *out = NULL;
    struct mf_sim_stream *stream = mf_calloc(1, sizeof(*stream), "simulated stream");
    if (!stream) {
        return SMEM_MALLOC_FAILED;
    }
    stream->ring = mf_calloc(RING_FIRST, sizeof(*stream->ring), "operations of a stream");
    if (!stream->ring) {
        mf_free(stream);
        return SMEM_MALLOC_FAILED;
    }
    stream->dev = dev;
    stream->cap = RING_FIRST;
    mf_mutex_init(&stream->lock, MF_RANK_DEVICE);
    mf_cond_init(&stream->work);
    mf_cond_init(&stream->idle);
    mf_mutex_lock(&dev->lock);
    stream->next = dev->streams;
    dev->streams = stream;
    mf_mutex_unlock(&dev->lock);
    *out = stream;
    return SMEM_OK;
}

static void stop_engine(struct mf_sim_stream *stream)
{
    struct mf_sim_dev *dev = stream->dev;
    mf_mutex_lock(&stream->lock);
    stream->stop = true;
    mf_cond_broadcast(&stream->work);
    bool started = stream->started;
    mf_mutex_unlock(&stream->lock);
    mf_mutex_lock(&dev->event_lock); /* the engine may wait for an event */
    mf_cond_broadcast(&dev->event_cond);
    mf_mutex_unlock(&dev->event_lock);
    if (started) {
        mf_thread_join(stream->engine);
    }
}

void mf_sim_stream_destroy(void *impl, void *handle)
{
    struct mf_sim_dev *dev = impl;
    struct mf_sim_stream *stream = handle;
    stop_engine(stream);
    for (uint64_t n = stream->done; n < stream->queued; n++) {
        const struct mf_sim_op *op = slot(stream, n);
        if (op->kind == MF_SIM_RECORD) {
            mf_sim_event_reach(op->event, op->value);
        }
        mf_sim_op_release(op);
    }
    mf_mutex_lock(&dev->lock);
    struct mf_sim_stream **link = &dev->streams;
    while (*link != stream) {
        link = &(*link)->next;
    }
    *link = stream->next;
    mf_mutex_unlock(&dev->lock);
    mf_cond_fini(&stream->idle);
    mf_cond_fini(&stream->work);
    mf_mutex_fini(&stream->lock);
    mf_free(stream->ring);
    mf_free(stream);
}

static int grow_locked(struct mf_sim_stream *stream)
{
    uint32_t cap = stream->cap * 2;
    if (stream->cap == MF_SIM_QUEUE_MAX) {
        return mf_err(SMEM_NO_RESOURCES,
                      "sim:%u: the stream holds %u operations and takes no more: synchronize first",
                      stream->dev->ordinal, MF_SIM_QUEUE_MAX);
    }
    struct mf_sim_op *ring = mf_calloc(cap, sizeof(*ring), "operations of a stream");
    if (!ring) {
        return SMEM_MALLOC_FAILED;
    }
    for (uint64_t n = stream->done; n < stream->staged; n++) {
        ring[n & (cap - 1)] = *slot(stream, n);
    }
    mf_free(stream->ring);
    stream->ring = ring;
    stream->cap = cap;
    return SMEM_OK;
}

int mf_sim_stage_locked(struct mf_sim_stream *stream, const struct mf_sim_op *op)
{
    if (stream->staged - stream->done == stream->cap) {
        int rc = grow_locked(stream);
        if (rc) {
            return rc;
        }
    }
    *slot(stream, stream->staged) = *op;
    stream->staged++;
    return SMEM_OK;
}

void mf_sim_unstage_locked(struct mf_sim_stream *stream)
{
    while (stream->staged > stream->queued) {
        stream->staged--;
        mf_sim_op_release(slot(stream, stream->staged));
    }
}

int mf_sim_publish_locked(struct mf_sim_stream *stream)
{
    if (!stream->started) {
        char name[16];
        snprintf(name, sizeof(name), "mf-sim-%u", stream->dev->ordinal);
        int rc = mf_thread_start(&stream->engine, name, engine_main, stream);
        if (rc) {
            mf_sim_unstage_locked(stream);
            return rc;
        }
        stream->started = true;
    }
    stream->queued = stream->staged;
    if (stream->asleep) {
        mf_cond_signal(&stream->work);
    }
    return SMEM_OK;
}

int mf_sim_stream_sync(void *impl, void *handle, uint64_t deadline_ns)
{
    struct mf_sim_dev *dev = impl;
    struct mf_sim_stream *stream = handle;
    uint64_t target = stream->queued;
    uint64_t now = mf_sim_now(dev);
    uint64_t give_up = now + MF_SIM_SPIN_NS < deadline_ns ? now + MF_SIM_SPIN_NS : deadline_ns;
    while (stream->done < target && mf_sim_now(dev) < give_up) {
        mf_sim_relax();
    }
    if (stream->done >= target) {
        return SMEM_OK;
    }
    bool in_time = true;
    stream->waiters++;
    mf_mutex_lock(&stream->lock);
    while (stream->done < target && in_time) {
        in_time = mf_cond_wait(&stream->idle, &stream->lock, deadline_ns);
    }
    mf_mutex_unlock(&stream->lock);
    stream->waiters--;
    if (stream->done >= target) {
        return SMEM_OK;
    }
    return mf_err(SMEM_TIMEOUT,
                  "sim:%u: %" PRIu64 " operations of the stream are not done at the deadline",
                  dev->ordinal, target - stream->done);
}
