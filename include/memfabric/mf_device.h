/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file mf_device.h
 * Accelerators. The first half is what a GPU runtime gives to an application, over whichever device
 * plug-in is chosen ("sim" is an accelerator made of host memory that host code cannot touch):
 * open, allocate, copy, fill, streams, events, a host function on a stream. The second half is the
 * table of functions that a device plug-in fills.
 *
 * A device address (mf_dev_t) is a number in one address space with host addresses: no device
 * address is a valid host address that the program may use for something else. Host code must not
 * access it.
 */
#ifndef MEMFABRIC_MF_DEVICE_H
#define MEMFABRIC_MF_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "memfabric/mf_plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MF_DEVICE_API __attribute__((visibility("default")))
#else
#define MF_DEVICE_API
#endif

/** An open device. Opaque handle; a stale one is an error, not a crash. */
typedef struct mf_device *mf_device_t;
/** Operations in order, on an engine of one device. */
typedef struct mf_device_stream *mf_device_stream_t;
/** A point in a stream. */
typedef struct mf_device_event *mf_device_event_t;
/** An address on a device. */
typedef uint64_t mf_dev_t;

/** What mf_device_get_info tells. */
typedef struct mf_device_info {
    uint32_t size;         /**< sizeof(struct mf_device_info), set by the caller */
    uint32_t ordinal;      /**< number of the device within its plug-in */
    char plugin[16];       /**< "sim", "cuda", ... */
    char name[64];         /**< what the vendor calls it */
    uint64_t memory_total; /**< bytes */
    uint64_t memory_free;  /**< bytes */
    uint64_t granularity;  /**< bytes: sizes and addresses of mapped memory are multiples of it */
    int32_t numa_node;     /**< -1 unknown */
} mf_device_info_t;

/**
 * Open a device.
 *
 * @param spec "sim:0", "cuda:1", "/path/plugin.so:0"; without ":N" ordinal 0. "auto" takes the
 * first plug-in that has a device. Borrowed.
 * @param out  set on success; close with mf_device_close. Several opens of one device share it.
 * @return SMEM_OK; SMEM_INVALID_PARAM (spec, or the ordinal does not exist); SMEM_NOT_EXIST (no
 * such plug-in, or it has no device: the sentence says why and how to get one). Threads: any.
 * Since: 0.1.
 */
MF_DEVICE_API int32_t mf_device_open(const char *spec, mf_device_t *out);
/** Close; what was allocated through this handle is freed, its streams and events end. NULL is
 * fine. Threads: any; not while another thread uses the handle. Since: 0.1. */
MF_DEVICE_API int32_t mf_device_close(mf_device_t dev);
/** @return SMEM_OK or SMEM_INVALID_PARAM. Threads: any. Since: 0.1. */
MF_DEVICE_API int32_t mf_device_get_info(mf_device_t dev, mf_device_info_t *info);
/** Allocate `size` bytes (> 0; rounded up to the granularity) of device memory.
 *  @return SMEM_OK, SMEM_INVALID_PARAM, SMEM_MALLOC_FAILED (names what is free). Since: 0.1. */
MF_DEVICE_API int32_t mf_device_alloc(mf_device_t dev, uint64_t size, mf_dev_t *ptr);
/** Free what mf_device_alloc gave. Waits for the streams of this handle, at most 10 s: then the
 * memory stays. @return SMEM_OK, SMEM_INVALID_PARAM, SMEM_RES_IN_USE. Since: 0.1. */
MF_DEVICE_API int32_t mf_device_free(mf_device_t dev, mf_dev_t ptr);
/** Copy `size` bytes; each of dst and src is a host or a device address, told apart by its value.
 * Returns when the bytes are there. @return SMEM_OK, SMEM_INVALID_PARAM (a range leaves its
 * allocation), SMEM_TIMEOUT. Since: 0.1. */
MF_DEVICE_API int32_t mf_device_copy(mf_device_t dev, uint64_t dst, uint64_t src, uint64_t size);
/** Set `size` bytes at the device address to `value`; returns when done. Since: 0.1. */
MF_DEVICE_API int32_t mf_device_fill(mf_device_t dev, mf_dev_t dst, uint8_t value, uint64_t size);

/** A stream of this device. Since: 0.1. */
MF_DEVICE_API int32_t mf_device_stream_create(mf_device_t dev, mf_device_stream_t *out);
/** Waits for what is queued (at most 10 s, then SMEM_RES_IN_USE and the stream stays). Since: 0.1.
 */
MF_DEVICE_API int32_t mf_device_stream_destroy(mf_device_stream_t stream);
/** Wait until the stream is empty. @return the first failure of an operation on it since the last
 *  synchronize, SMEM_TIMEOUT after timeout_ms. Since: 0.1. */
MF_DEVICE_API int32_t mf_device_stream_synchronize(mf_device_stream_t stream, uint32_t timeout_ms);
/** Queue a copy; returns at once. Host memory must stay valid until it is done. Since: 0.1. */
MF_DEVICE_API int32_t mf_device_copy_async(mf_device_stream_t stream, uint64_t dst, uint64_t src,
                                           uint64_t size);
MF_DEVICE_API int32_t mf_device_fill_async(mf_device_stream_t stream, mf_dev_t dst, uint8_t value,
                                           uint64_t size);
/** Queue: store the 64-bit word `value` at `addr` (8-byte aligned, host or device). Since: 0.1. */
MF_DEVICE_API int32_t mf_device_write64(mf_device_stream_t stream, uint64_t addr, uint64_t value);
/** Queue: hold the stream until the word at `addr` is >= `value` (as unsigned). Since: 0.1. */
MF_DEVICE_API int32_t mf_device_wait64(mf_device_stream_t stream, uint64_t addr, uint64_t value);

/** How a host function on a stream sees memory. */
typedef struct mf_device_view {
    /** The place where this function may read and write `size` bytes of the device address `addr`,
     * or NULL when the range is no memory of this device. Valid during the call only. */
    void *(*at)(const struct mf_device_view *view, mf_dev_t addr, uint64_t size);
} mf_device_view_t;
/** Runs on an engine thread of the device; must not call the library. */
typedef void (*mf_device_fn)(void *arg, const mf_device_view_t *view);
/** Queue a host function (where the device can: else SMEM_NOT_EXIST). Since: 0.1. */
MF_DEVICE_API int32_t mf_device_launch(mf_device_stream_t stream, mf_device_fn fn, void *arg);

MF_DEVICE_API int32_t mf_device_event_create(mf_device_t dev, mf_device_event_t *out);
MF_DEVICE_API int32_t mf_device_event_destroy(mf_device_event_t event);
/** Queue: the event happens when the stream gets here. Recording again replaces. Since: 0.1. */
MF_DEVICE_API int32_t mf_device_event_record(mf_device_event_t event, mf_device_stream_t stream);
/** @return SMEM_OK happened (or never recorded), SMEM_TIMEOUT not yet. timeout_ms 0 asks. Since:
 * 0.1. */
MF_DEVICE_API int32_t mf_device_event_synchronize(mf_device_event_t event, uint32_t timeout_ms);
/** Queue: hold the stream until the event has happened. Since: 0.1. */
MF_DEVICE_API int32_t mf_device_stream_wait_event(mf_device_stream_t stream,
                                                  mf_device_event_t event);

/* ================= for plug-ins =================================================================
 */

/** Physical memory of a device, mapped nowhere by itself. Owned by the plug-in. */
typedef void *mf_dev_mem;

/** What `query` tells about an address. */
struct mf_device_range {
    uint64_t base; /* first address of the mapping that holds the address */
    uint64_t size; /* bytes of it */
};

/** One element of copy_batch. */
struct mf_device_copy_desc {
    uint64_t dst, src, size;
};

/** Options of a plug-in instance, from the library's option table. */
struct mf_device_params {
    uint32_t size; /* sizeof */
    uint32_t sim_devices;
    uint64_t sim_memory;
    uint64_t sim_bandwidth_mb_s;
    uint64_t sim_latency_ns;
};

/**
 * The table of functions of a device plug-in. All functions are thread-safe unless said otherwise,
 * return 0 or a negative SMEM_* code with host->err() recorded, and never block except where a
 * deadline is an argument. REQUIRED members must be there; for an OPTIONAL one that is NULL the
 * library puts a function that refuses with SMEM_NOT_EXIST, so that callers never test for NULL.
 */
struct mf_device_ops {
    uint32_t abi;  /* MF_PLUGIN_ABI */
    uint32_t size; /* sizeof(struct mf_device_ops) */
    const char *name;

    /** REQUIRED. How many devices there are; 0 with a reason in `why` (a sentence that says how to
     * get one) is no error. */
    int (*probe)(const struct mf_plugin_host *host, const struct mf_device_params *params,
                 uint32_t *count, char *why, size_t why_len);
    /** REQUIRED. An instance of one device; everything else takes it as first argument. */
    int (*open)(const struct mf_plugin_host *host, const struct mf_device_params *params,
                uint32_t ordinal, void **dev);
    /** REQUIRED. Frees all that is left. */
    void (*close)(void *dev);
    /** REQUIRED. `size`, `ordinal` and `plugin` are filled by the caller. */
    int (*info)(void *dev, struct mf_device_info *info);

    /** REQUIRED. Physical memory; size is a multiple of the granularity. Zeroed. */
    int (*mem_create)(void *dev, uint64_t size, mf_dev_mem *mem);
    /** REQUIRED. The memory lives on while it is mapped or another process has it imported. */
    void (*mem_destroy)(void *dev, mf_dev_mem mem);
    /** OPTIONAL. A descriptor that mem_import of the same plug-in in another process of this host
     * takes; the caller closes it. */
    int (*mem_export)(void *dev, mf_dev_mem mem, int *fd);
    /** OPTIONAL. Takes nothing: the caller still closes fd. */
    int (*mem_import)(void *dev, int fd, uint64_t size, mf_dev_mem *mem);
    /** OPTIONAL. Give the pages back now although others still have it mapped (they read zeros). */
    int (*mem_punch)(void *dev, mf_dev_mem mem);

    /** REQUIRED. Reserve device addresses, at `want` when it is not 0. *granted says where; another
     * address than wanted is allowed: then the library translates, as long as it is not 0, does not
     * wrap and does not overlap the pool's own range. A translated pool asks with want 0 for a
     * window for each segment, as large as that. The host must not be able to use the addresses. */
    int (*window_reserve)(void *dev, uint64_t want, uint64_t size, uint64_t *granted);
    /** REQUIRED. */
    void (*window_release)(void *dev, uint64_t addr, uint64_t size);
    /** REQUIRED. Map `size` bytes of mem from `offset` at addr, inside a reserved window. */
    int (*map)(void *dev, uint64_t addr, mf_dev_mem mem, uint64_t offset, uint64_t size);
    /** REQUIRED. Undo one whole map. Waits for no stream: the caller has. */
    int (*unmap)(void *dev, uint64_t addr, uint64_t size);
    /** REQUIRED. Is addr mapped memory of this device? SMEM_OK and *range, or SMEM_NOT_EXIST
     * (without a sentence: it is asked often). */
    int (*query)(void *dev, uint64_t addr, struct mf_device_range *range);

    /** OPTIONAL. Make host memory fast for this device's copies. */
    int (*host_register)(void *dev, void *ptr, uint64_t size);
    int (*host_unregister)(void *dev, void *ptr);

    /** REQUIRED. Streams execute in order; different streams do not. */
    int (*stream_create)(void *dev, void **stream);
    /** REQUIRED. What has not begun never happens, what runs has ended when this returns. */
    void (*stream_destroy)(void *dev, void *stream);
    /** REQUIRED. Wait until the stream is empty; returns and clears its first failure;
     * SMEM_TIMEOUT. */
    int (*stream_sync)(void *dev, void *stream, uint64_t deadline_ns);
    /** REQUIRED. Queue a copy between any two of host and device memory. Ranges are checked when
     * queued. */
    int (*copy)(void *dev, void *stream, uint64_t dst, uint64_t src, uint64_t size);
    /** OPTIONAL. A table without it refuses with SMEM_NOT_EXIST before anything is queued: whoever
     * wants a batch then loops over copy. */
    int (*copy_batch)(void *dev, void *stream, const struct mf_device_copy_desc *v, uint32_t count);
    /** REQUIRED. */
    int (*fill)(void *dev, void *stream, uint64_t dst, uint8_t value, uint64_t size);
    int (*write64)(void *dev, void *stream, uint64_t addr, uint64_t value);
    /** REQUIRED. Released when the word is >= value. */
    int (*wait64)(void *dev, void *stream, uint64_t addr, uint64_t value);
    /** OPTIONAL. */
    int (*launch)(void *dev, void *stream, mf_device_fn fn, void *arg);

    /** REQUIRED. */
    int (*event_create)(void *dev, void **event);
    void (*event_destroy)(void *dev, void *event);
    int (*event_record)(void *dev, void *event, void *stream);
    int (*event_sync)(void *dev, void *event, uint64_t deadline_ns); /* 0: ask only */
    int (*stream_wait_event)(void *dev, void *stream, void *event);

    /** OPTIONAL. A dma-buf of mapped device memory, for a NIC. */
    int (*dmabuf_fd)(void *dev, uint64_t addr, uint64_t size, int *fd);
    /** OPTIONAL. For the atfork child handler: close(2) of descriptors, nothing else. */
    void (*close_fds)(void *dev);
};

#ifdef __cplusplus
}
#endif
#endif
