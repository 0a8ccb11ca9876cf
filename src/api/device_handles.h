// SPDX-License-Identifier: Apache-2.0
// What stands behind the handles of mf_device.h. A call holds a reference on the object while it
// works, so that another thread may end the object meanwhile.
#ifndef MF_API_DEVICE_HANDLES_H
#define MF_API_DEVICE_HANDLES_H

#include "api/process.h"
#include "base/err.h"
#include "xcopy/stream_jobs.h"

#define MF_API_DEVICES_MAX 1024u
#define MF_API_STREAMS_MAX 4096u
#define MF_API_EVENTS_MAX  16384u
/** How long the end of a stream or of memory waits for what is queued. */
#define MF_API_DRAIN_MS 10000u

/** One mf_device_alloc. */
struct mf_api_memory {
    struct mf_api_memory *next;
    uint64_t addr, size; /* as mapped */
};

/** One mf_device_open. */
struct mf_api_device {
    struct mf_process *process;
    struct mf_dev *dev;
    uint64_t handle;
    uint32_t life; /* of the process, counted by forks: what the parent opened is not the child's */
    uint32_t refs; /* the table's, one a child, one a call under way */
    struct mf_api_child *children;
    struct mf_api_memory *memory;
    struct mf_api_lane *lanes; /* idle streams for calls that return when done */
};

struct mf_api_lane {
    struct mf_api_lane *next;
    void *stream;
};

enum mf_api_kind { MF_API_DEVICE = 0xD0, MF_API_STREAM, MF_API_EVENT };

/** A stream or an event. */
struct mf_api_child {
    struct mf_api_child *next; /* of device->children */
    enum mf_api_kind kind;
    struct mf_api_device *device;
    void *impl;
    uint64_t handle;
    uint32_t refs;
    struct mf_err_rec *failure; /* stream: found by a wait that was not the user's; code 0: none */
    struct mf_stream_words *words; /* stream: of copies of pools on it; NULL: there was none yet */
};

/** In the child handler of fork: all handles of the parent become stale. */
void mf_api_devices_after_fork(void);

/** The lock that guards all of these structs; no plug-in is called under it. */
void mf_api_lock(void);
void mf_api_unlock(void);

/** A reference on the open device of the handle; `call` is the public function, for the error. */
int mf_api_device_get(const char *call, mf_device_t handle, struct mf_api_device **out);
void mf_api_device_put(struct mf_api_device *device);
/** Make a handle for a device that is filled but for handle and refs; the table owns it on success.
 */
int mf_api_device_add(const char *call, struct mf_api_device *device);
/** Close: invalidate the handle and those of its streams and events. */
int mf_api_device_remove(const char *call, mf_device_t handle);

int mf_api_child_get(const char *call, enum mf_api_kind kind, const void *handle,
                     struct mf_api_child **out);
void mf_api_child_put(struct mf_api_child *child);
/** Make a handle for what the plug-in made; takes impl over on success. */
int mf_api_child_add(const char *call, struct mf_api_device *device, enum mf_api_kind kind,
                     void *impl, struct mf_api_child **out);
/** Invalidate the handle of a child that the caller has a reference on. */
int mf_api_child_remove(const char *call, struct mf_api_child *child);

/** Wait for a stream; what it reports is kept for the user's next synchronize. SMEM_TIMEOUT. */
int mf_api_stream_drain(struct mf_api_child *stream, uint64_t deadline_ns);

/** The words by which pools copy in the order of this stream; made by the first who asks. Borrowed
 * from the child. */
int mf_api_stream_words(struct mf_api_child *stream, struct mf_stream_words **out);

/** Refuse an address of another device: this one would take it for host memory. */
int mf_api_check_addr(const struct mf_api_device *device, uint64_t addr);

#endif
