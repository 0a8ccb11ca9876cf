// SPDX-License-Identifier: Apache-2.0
// What an engine thread does with each kind of operation, at the simulated speed.
#include "device/sim/sim.h"

#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "device/sim/spin.h"

#define POLL_FIRST_NS 50000ull
#define POLL_LAST_NS  MF_NS_PER_MS
/* Nearer than this, sleeping takes longer than waiting. */
#define SLEEP_MIN_NS 100000ull

/* An aligned element of 1, 2, 4 or 8 bytes lands by one store. */
static bool copy_element(uint8_t *dst, const uint8_t *src, uint64_t size)
{
    if (size > 8 || (size & (size - 1)) != 0 || (uintptr_t)dst % size != 0) {
        return false;
    }
    uint64_t word;
    switch (size) {
    case 8:
        memcpy(&word, src, 8);
        __atomic_store_n((uint64_t *)(void *)dst, word, __ATOMIC_RELEASE);
        break;
    case 4: {
        uint32_t half;
        memcpy(&half, src, 4);
        __atomic_store_n((uint32_t *)(void *)dst, half, __ATOMIC_RELEASE);
        break;
    }
    case 2: {
        uint16_t quarter;
        memcpy(&quarter, src, 2);
        __atomic_store_n((uint16_t *)(void *)dst, quarter, __ATOMIC_RELEASE);
        break;
    }
    default:
        __atomic_store_n(dst, *src, __ATOMIC_RELEASE);
        break;
    }
    return true;
}

static void copy(uint8_t *dst, const uint8_t *src, uint64_t size)
{
    if (!copy_element(dst, src, size)) {
        memmove(dst, src, size);
    }
}

/* When an operation on `bytes` that began at `start` ends on the simulated hardware: all streams of
 * a device share its bandwidth, each has the latency to itself. */
static uint64_t end_time(struct mf_sim_dev *dev, uint64_t start, uint64_t bytes)
{
    if (dev->bandwidth_mb_s == 0 || bytes == 0) {
        return start + dev->latency_ns;
    }
    uint64_t takes = bytes * 1000 / dev->bandwidth_mb_s;
    uint64_t busy = atomic_load(&dev->busy_until);
    uint64_t end;
    do {
        end = (busy > start ? busy : start) + takes;
    } while (!atomic_compare_exchange_weak(&dev->busy_until, &busy, end));
    return end + dev->latency_ns;
}

static void pause_until(struct mf_sim_stream *stream, uint64_t end)
{
    uint64_t now = mf_sim_now(stream->dev);
    if (end > now && end - now >= SLEEP_MIN_NS) {
        mf_sim_engine_sleep(stream, end);
    }
    while (!stream->stop && mf_sim_now(stream->dev) < end) {
        mf_sim_relax();
    }
}

static void wait_word(struct mf_sim_stream *stream, const uint64_t *word, uint64_t value)
{
    uint64_t nap = POLL_FIRST_NS;
    uint64_t give_up = mf_sim_now(stream->dev) + MF_SIM_SPIN_NS;
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) < value && !stream->stop) {
        uint64_t now = mf_sim_now(stream->dev);
        if (now < give_up) {
            mf_sim_relax();
            continue;
        }
        mf_sim_engine_sleep(stream, now + nap);
        nap = nap * 2 < POLL_LAST_NS ? nap * 2 : POLL_LAST_NS;
    }
}

static void wait_event(struct mf_sim_stream *stream, const struct mf_sim_event *event,
                       uint64_t record)
{
    struct mf_sim_dev *dev = stream->dev;
    mf_mutex_lock(&dev->event_lock);
    while (event->happened < record && !stream->stop) {
        mf_cond_wait(&dev->event_cond, &dev->event_lock, UINT64_MAX);
    }
    mf_mutex_unlock(&dev->event_lock);
}

/* The memory that a host function looked at stays until it returns. */
struct view {
    mf_device_view_t base;
    struct mf_sim_dev *dev;
    struct mf_sim_mem **pins;
    uint32_t count;
};

/* Keep one reference of each memory; `mem` comes with one. False when there is no room for it. */
static bool keep(struct view *view, struct mf_sim_mem *mem)
{
    for (uint32_t i = 0; i < view->count; i++) {
        if (view->pins[i] == mem) {
            mf_sim_mem_put(mem);
            return true;
        }
    }
    struct mf_sim_mem **pins =
        mf_realloc(view->pins, (view->count + 1) * sizeof(struct mf_sim_mem *), "device view");
    if (!pins) {
        mf_sim_mem_put(mem);
        return false;
    }
    view->pins = pins;
    view->pins[view->count++] = mem;
    return true;
}

static void *view_at(const mf_device_view_t *base, mf_dev_t addr, uint64_t size)
{
    struct view *view = (struct view *)(uintptr_t)base;
    struct mf_sim_dev *dev = view->dev;
    struct mf_sim_mem *mem = NULL;
    uint8_t *at = NULL;
    uint64_t base_addr;
    uint64_t map_size;
    mf_mutex_lock(&dev->lock);
    if (mf_sim_intervals_find(&dev->maps, addr, &base_addr, &map_size) &&
        size <= map_size - (addr - base_addr)) {
        at = mf_sim_translate_locked(dev, addr, &size, &mem);
    }
    mf_mutex_unlock(&dev->lock);
    return at && keep(view, mem) ? at : NULL;
}

static void launch(struct mf_sim_dev *dev, mf_device_fn fn, void *arg)
{
    struct view view = {.base = {.at = view_at}, .dev = dev};
    fn(arg, &view.base);
    for (uint32_t i = 0; i < view.count; i++) {
        mf_sim_mem_put(view.pins[i]);
    }
    mf_free(view.pins);
}

void mf_sim_execute(struct mf_sim_stream *stream, const struct mf_sim_op *op)
{
    struct mf_sim_dev *dev = stream->dev;
    bool paced = dev->bandwidth_mb_s != 0 || dev->latency_ns != 0;
    uint64_t start = paced ? mf_sim_now(dev) : 0;
    switch (op->kind) {
    case MF_SIM_COPY:
        copy(op->dst, op->src, op->size);
        break;
    case MF_SIM_FILL:
        memset(op->dst, (int)op->value, op->size);
        break;
    case MF_SIM_WRITE64:
        if (paced) { /* the word tells others that the time has passed */
            pause_until(stream, end_time(dev, start, 0));
        }
        __atomic_store_n((uint64_t *)(void *)op->dst, op->value, __ATOMIC_RELEASE);
        return;
    case MF_SIM_WAIT64:
        wait_word(stream, (const uint64_t *)(const void *)op->src, op->value);
        return;
    case MF_SIM_LAUNCH:
        launch(dev, op->fn, op->arg);
        break;
    case MF_SIM_RECORD:
        mf_sim_event_reach(op->event, op->value);
        return;
    case MF_SIM_WAIT_EVENT:
        wait_event(stream, op->event, op->value);
        return;
    }
    if (paced) {
        pause_until(stream, end_time(dev, start, op->size));
    }
}

void mf_sim_op_release(const struct mf_sim_op *op)
{
    mf_sim_mem_put(op->pins[0]);
    mf_sim_mem_put(op->pins[1]);
    mf_sim_event_put(op->event);
}
