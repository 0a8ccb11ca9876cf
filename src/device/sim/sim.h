// SPDX-License-Identifier: Apache-2.0
// One simulated device: its memories, address windows, streams and events. Device addresses are
// inaccessible reservations; what the copy engine touches is each memory's alias, a second mapping.
//
// Locks, outermost first: a stream's `lock`, then the device's `lock` or `event_lock` (both
// leaves).
#ifndef MF_DEVICE_SIM_SIM_H
#define MF_DEVICE_SIM_SIM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/limits.h"
#include "base/thread.h"
#include "device/sim/interval.h"
#include "memfabric/mf_device.h"

/** As an accelerator's: sizes and addresses of mapped memory are multiples of it. */
#define MF_SIM_GRANULARITY MF_PAGE_LARGE
/** Mappings, and windows, of one device. */
#define MF_SIM_MAPS_MAX 4096u
/** Operations queued on one stream. */
#define MF_SIM_QUEUE_MAX (1u << 18)
/** How long an engine or a waiting thread looks again before it sleeps. */
#define MF_SIM_SPIN_NS 20000ull

/** Physical memory: a sealed memfd and the alias through which engines reach it. Freed by the last
 * put of: its handle, its mappings, and the operations that will touch it. */
struct mf_sim_mem {
    struct mf_sim_dev *dev;
    _Atomic(struct mf_sim_mem *) next; /* of dev->mems */
    _Atomic uint32_t refs;
    int fd; /* -1: imported */
    uint8_t *alias;
    uint64_t size; /* bytes */
};

struct mf_sim_event {
    struct mf_sim_dev *dev;
    struct mf_sim_event *next; /* of dev->events */
    _Atomic uint32_t refs;     /* its handle, and operations that name it */
    _Atomic uint64_t recorded; /* number of the latest record that was queued */
    _Atomic uint64_t happened; /* number of the latest record that was reached */
};

struct mf_sim_dev {
    const struct mf_plugin_host *host;
    uint32_t ordinal;
    bool grant_shift;                    /* never grant the wanted address */
    uint64_t memory;                     /* bytes */
    uint64_t bandwidth_mb_s, latency_ns; /* 0: as fast as the host */
    struct mf_mutex lock;                /* guards the tables, the lists and used */
    struct mf_sim_intervals windows, maps;
    _Atomic(struct mf_sim_mem *) mems; /* close_fds walks it without the lock */
    struct mf_sim_stream *streams;
    struct mf_sim_event *events;
    uint64_t used;               /* bytes of memory */
    _Atomic uint64_t busy_until; /* ns: when the simulated link is free again */
    struct mf_mutex event_lock;  /* with event_cond: that any event has happened */
    struct mf_cond event_cond;
};

enum mf_sim_kind {
    MF_SIM_COPY,
    MF_SIM_FILL,
    MF_SIM_WRITE64,
    MF_SIM_WAIT64,
    MF_SIM_LAUNCH,
    MF_SIM_RECORD,
    MF_SIM_WAIT_EVENT,
};

/** One queued operation; addresses are translated already. */
struct mf_sim_op {
    enum mf_sim_kind kind;
    uint8_t *dst;
    const uint8_t *src;
    uint64_t size;
    uint64_t value;             /* to fill, write or wait for; number of the record */
    struct mf_sim_mem *pins[2]; /* memory that dst and src lie in, or NULL */
    mf_device_fn fn;
    void *arg;
    struct mf_sim_event *event;
};

struct mf_sim_stream {
    struct mf_sim_dev *dev;
    struct mf_sim_stream *next; /* of dev->streams */
    struct mf_mutex lock;       /* guards all but the atomics */
    struct mf_cond work;        /* the engine: something is queued, or stop */
    struct mf_cond idle;        /* waiters: the engine finished something */
    struct mf_sim_op *ring;     /* operation n is ring[n % cap] */
    uint32_t cap;               /* power of two */
    uint64_t staged;            /* operations in the ring, the unpublished ones too */
    _Atomic uint64_t queued;    /* operations that the engine may run */
    _Atomic uint64_t done;      /* operations that it has finished */
    _Atomic uint32_t waiters;   /* threads that wait for idle */
    _Atomic bool stop;
    bool started, asleep; /* the engine */
    pthread_t engine;
};

/* sim.c */
static inline uint64_t mf_sim_now(const struct mf_sim_dev *dev)
{
    return dev->host->now_ns(dev->host);
}

/* hostmem.c */
/** What the host can still give, in bytes: the least of MemAvailable and of what each memory
 * control group above this process leaves; `limit` gets its name. `root` is "" (a test: a folder in
 * its place). */
uint64_t mf_sim_host_available(const char *root, char *limit, size_t limit_len);

/* memory.c */
int mf_sim_mem_create(void *dev, uint64_t size, mf_dev_mem *mem);
void mf_sim_mem_destroy(void *dev, mf_dev_mem mem);
int mf_sim_mem_export(void *dev, mf_dev_mem mem, int *fd);
int mf_sim_mem_import(void *dev, int fd, uint64_t size, mf_dev_mem *mem);
int mf_sim_mem_punch(void *dev, mf_dev_mem mem);
static inline void mf_sim_mem_get(struct mf_sim_mem *mem)
{
    atomic_fetch_add_explicit(&mem->refs, 1, memory_order_relaxed);
}
/** NULL is fine. Not under the device's lock. */
void mf_sim_mem_put(struct mf_sim_mem *mem);
void mf_sim_mem_free_all(struct mf_sim_dev *dev);
void mf_sim_close_fds(void *dev);

/* window.c */
int mf_sim_window_reserve(void *dev, uint64_t want, uint64_t size, uint64_t *granted);
void mf_sim_window_release(void *dev, uint64_t addr, uint64_t size);
int mf_sim_map(void *dev, uint64_t addr, mf_dev_mem mem, uint64_t offset, uint64_t size);
int mf_sim_unmap(void *dev, uint64_t addr, uint64_t size);
int mf_sim_query(void *dev, uint64_t addr, struct mf_device_range *range);
void mf_sim_window_release_all(struct mf_sim_dev *dev);
/** Under the device's lock: is all of the range host memory (*device false), or all of it mapped in
 * one window of the device (true)? SMEM_INVALID_PARAM otherwise. */
int mf_sim_check_locked(struct mf_sim_dev *dev, uint64_t addr, uint64_t size, bool *device);
/** Under the device's lock: where a host address, or a mapped device address, is reached. At most
 * *size bytes of it are in one piece: *size becomes their number. *pin gets a reference, or NULL.
 */
uint8_t *mf_sim_translate_locked(struct mf_sim_dev *dev, uint64_t addr, uint64_t *size,
                                 struct mf_sim_mem **pin);

/* stream.c */
int mf_sim_stream_create(void *dev, void **stream);
/** Drops what is queued and ends the engine; a dropped record counts as happened. */
void mf_sim_stream_destroy(void *dev, void *stream);
int mf_sim_stream_sync(void *dev, void *stream, uint64_t deadline_ns);
/** Under the stream's lock: append without publishing. Takes over pins and event on success only.
 */
int mf_sim_stage_locked(struct mf_sim_stream *stream, const struct mf_sim_op *op);
/** Under the stream's lock: let the engine run what was staged. On an error what was staged since
 * the last publish is dropped; returns it. */
int mf_sim_publish_locked(struct mf_sim_stream *stream);
/** Under the stream's lock: forget what was staged since the last publish. */
void mf_sim_unstage_locked(struct mf_sim_stream *stream);
/** On the engine: sleep until `until_ns`, or stop. */
void mf_sim_engine_sleep(struct mf_sim_stream *stream, uint64_t until_ns);

/* queue.c: what a stream takes */
int mf_sim_copy(void *dev, void *stream, uint64_t dst, uint64_t src, uint64_t size);
int mf_sim_copy_batch(void *dev, void *stream, const struct mf_device_copy_desc *v, uint32_t count);
int mf_sim_fill(void *dev, void *stream, uint64_t dst, uint8_t value, uint64_t size);
int mf_sim_write64(void *dev, void *stream, uint64_t addr, uint64_t value);
int mf_sim_wait64(void *dev, void *stream, uint64_t addr, uint64_t value);
int mf_sim_launch(void *dev, void *stream, mf_device_fn fn, void *arg);
int mf_sim_event_record(void *dev, void *event, void *stream);
int mf_sim_stream_wait_event(void *dev, void *stream, void *event);

/* engine.c: what it does with them */
void mf_sim_execute(struct mf_sim_stream *stream, const struct mf_sim_op *op);
/** Give back what an operation holds. */
void mf_sim_op_release(const struct mf_sim_op *op);

/* event.c */
int mf_sim_event_create(void *dev, void **event);
void mf_sim_event_destroy(void *dev, void *event);
int mf_sim_event_sync(void *dev, void *event, uint64_t deadline_ns);
void mf_sim_event_put(struct mf_sim_event *event);
/** The record with this number was reached, or will never be. */
void mf_sim_event_reach(struct mf_sim_event *event, uint64_t record);
void mf_sim_event_free_all(struct mf_sim_dev *dev);

#endif
