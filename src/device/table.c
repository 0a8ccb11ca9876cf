// SPDX-License-Identifier: Apache-2.0
// Takes the table of functions that a plug-in exports, of whatever minor version of our ABI, and
// makes the complete one that the library calls: one row for each member says whether it is
// required, and what refuses in its place when it is not there.
#include "device/table.h"

#include <string.h>

#include "base/err.h"

typedef void (*any_fn)(void);

static int refuse(const char *what, const char *member)
{
    return mf_err(SMEM_NOT_EXIST, "the device plug-in cannot %s: its table has no %s", what,
                  member);
}

static int no_mem_export(void *dev, mf_dev_mem mem, int *fd)
{
    (void)dev;
    (void)mem;
    (void)fd;
    return refuse("export memory to other processes", "mem_export");
}

static int no_mem_import(void *dev, int fd, uint64_t size, mf_dev_mem *mem)
{
    (void)dev;
    (void)fd;
    (void)size;
    (void)mem;
    return refuse("import memory of other processes", "mem_import");
}

static int no_mem_punch(void *dev, mf_dev_mem mem)
{
    (void)dev;
    (void)mem;
    return refuse("give back pages of mapped memory", "mem_punch");
}

static int no_host_register(void *dev, void *ptr, uint64_t size)
{
    (void)dev;
    (void)ptr;
    (void)size;
    return refuse("register host memory", "host_register");
}

static int no_host_unregister(void *dev, void *ptr)
{
    (void)dev;
    (void)ptr;
    return refuse("unregister host memory", "host_unregister");
}

static int no_copy_batch(void *dev, void *stream, const struct mf_device_copy_desc *v,
                         uint32_t count)
{
    (void)dev;
    (void)stream;
    (void)v;
    (void)count;
    return refuse("queue several copies at once", "copy_batch");
}

static int no_launch(void *dev, void *stream, mf_device_fn fn, void *arg)
{
    (void)dev;
    (void)stream;
    (void)fn;
    (void)arg;
    return refuse("run a host function on a stream", "launch");
}

static int no_dmabuf_fd(void *dev, uint64_t addr, uint64_t size, int *fd)
{
    (void)dev;
    (void)addr;
    (void)size;
    (void)fd;
    return refuse("give a dma-buf of its memory", "dmabuf_fd");
}

static void no_close_fds(void *dev)
{
    (void)dev;
}

struct member {
    const char *name;
    size_t offset;
    any_fn refusal; /* NULL: required */
};

#define REQUIRED(m)                                 \
    {                                               \
#m, offsetof(struct mf_device_ops, m), NULL \
    }
#define OPTIONAL(m)                                           \
    {                                                         \
#m, offsetof(struct mf_device_ops, m), (any_fn)no_##m \
    }

static const struct member members[] = {
    REQUIRED(probe),          REQUIRED(open),
    REQUIRED(close),          REQUIRED(info),
    REQUIRED(mem_create),     REQUIRED(mem_destroy),
    OPTIONAL(mem_export),     OPTIONAL(mem_import),
    OPTIONAL(mem_punch),      REQUIRED(window_reserve),
    REQUIRED(window_release), REQUIRED(map),
    REQUIRED(unmap),          REQUIRED(query),
    OPTIONAL(host_register),  OPTIONAL(host_unregister),
    REQUIRED(stream_create),  REQUIRED(stream_destroy),
    REQUIRED(stream_sync),    REQUIRED(copy),
    OPTIONAL(copy_batch),     REQUIRED(fill),
    REQUIRED(write64),        REQUIRED(wait64),
    OPTIONAL(launch),         REQUIRED(event_create),
    REQUIRED(event_destroy),  REQUIRED(event_record),
    REQUIRED(event_sync),     REQUIRED(stream_wait_event),
    OPTIONAL(dmabuf_fd),      OPTIONAL(close_fds),
};
#define MEMBERS (sizeof(members) / sizeof(members[0]))

_Static_assert(sizeof(struct mf_device_ops) ==
                   offsetof(struct mf_device_ops, probe) + MEMBERS * sizeof(any_fn),
               "each member of struct mf_device_ops needs its row in members[]");

int mf_device_table_complete(const char *who, const struct mf_device_ops *in,
                             struct mf_device_ops *out)
{
    if (in->abi != MF_PLUGIN_ABI) {
        return mf_err(
            SMEM_INVALID_PARAM,
            "device plug-in %s: its table says ABI %u, this library has ABI %u: rebuild it "
            "against these headers",
            who, (unsigned)in->abi, (unsigned)MF_PLUGIN_ABI);
    }
    if (in->size < offsetof(struct mf_device_ops, probe)) {
        return mf_err(
            SMEM_INVALID_PARAM,
            "device plug-in %s: its table says it has %u bytes: set .size = sizeof(struct "
            "mf_device_ops)",
            who, (unsigned)in->size);
    }
    *out = (struct mf_device_ops){0};
    memcpy(out, in, in->size < sizeof(*out) ? in->size : sizeof(*out));
    if (!out->name || !out->name[0]) {
        return mf_err(SMEM_INVALID_PARAM, "device plug-in %s: its table has no name", who);
    }
    for (size_t i = 0; i < MEMBERS; i++) {
        any_fn fn;
        char *at = (char *)out + members[i].offset;
        memcpy(&fn, at, sizeof(fn));
        if (fn) {
            continue;
        }
        if (!members[i].refusal) {
            return mf_err(SMEM_INVALID_PARAM,
                          "device plug-in %s: its table has no %s, which every device needs", who,
                          members[i].name);
        }
        memcpy(at, &members[i].refusal, sizeof(fn));
    }
    out->size = sizeof(*out);
    return SMEM_OK;
}
