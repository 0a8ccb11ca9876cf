// SPDX-License-Identifier: Apache-2.0
// A device plug-in outside of the tree, in one file: it uses nothing but the installed headers. Its
// memory is the host's, mapped where the library wants it. It has no threads: a stream runs when
// something is queued on it or somebody waits. Of the optional members it has none.
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "memfabric/mf_device.h"
#include "smem.h"

#ifdef TOY_ABI /* the twin that must be refused */
#undef MF_PLUGIN_ABI
#define MF_PLUGIN_ABI TOY_ABI
#endif

#define UNIT    4096ull
#define TOTAL   (1ull << 30)
#define RANGES  64
#define QUEUE   256
#define POLL_NS 50000

struct range {
    uint64_t base, size; /* size 0: free */
};

struct event {
    struct event *next;
    int refs;
    uint64_t recorded, happened;
};

enum kind { COPY, FILL, WRITE64, WAIT64, RECORD, WAIT_EVENT };

struct op {
    enum kind kind;
    uint64_t dst, src, size, value;
    struct event *event;
};

struct stream {
    struct stream *next;
    struct op ops[QUEUE];
    uint32_t head, tail; /* count up */
};

struct mem {
    struct mem *next;
    int fd;
    uint64_t size;
};

struct toy {
    const struct mf_plugin_host *host;
    pthread_mutex_t lock;
    struct range windows[RANGES], maps[RANGES];
    struct stream *streams;
    struct mem *mems;
    struct event *events;
    uint64_t used;
};

static int toy_probe(const struct mf_plugin_host *host, const struct mf_device_params *params,
                     uint32_t *count, char *why, size_t why_len)
{
    (void)host;
    (void)params;
    *count = 1;
    snprintf(why, why_len, "%s", "");
    return SMEM_OK;
}

static int toy_open(const struct mf_plugin_host *host, const struct mf_device_params *params,
                    uint32_t ordinal, void **out)
{
    (void)params;
    (void)ordinal;
    struct toy *toy = calloc(1, sizeof(*toy));
    *out = toy;
    if (!toy) {
        return host->err(SMEM_MALLOC_FAILED, "toy: out of memory");
    }
    toy->host = host;
    pthread_mutex_init(&toy->lock, NULL);
    return SMEM_OK;
}

static int toy_info(void *dev, struct mf_device_info *info)
{
    struct toy *toy = dev;
    snprintf(info->name, sizeof(info->name), "toy");
    info->granularity = UNIT;
    info->memory_total = TOTAL;
    info->memory_free = TOTAL - toy->used;
    info->numa_node = -1;
    return SMEM_OK;
}

static int mem_create(void *dev, uint64_t size, mf_dev_mem *out)
{
    struct toy *toy = dev;
    if (size == 0 || size % UNIT) {
        return toy->host->err(SMEM_INVALID_PARAM, "toy: size %llu is no multiple of %llu",
                              (unsigned long long)size, UNIT);
    }
    struct mem *mem = calloc(1, sizeof(*mem));
    if (!mem || (mem->fd = memfd_create("toy", MFD_CLOEXEC)) < 0) {
        free(mem);
        return toy->host->err(SMEM_NO_RESOURCES, "toy: no memory");
    }
    if (ftruncate(mem->fd, (off_t)size)) {
        close(mem->fd);
        free(mem);
        return toy->host->err(SMEM_MALLOC_FAILED, "toy: no memory of %llu bytes",
                              (unsigned long long)size);
    }
    mem->size = size;
    pthread_mutex_lock(&toy->lock);
    toy->used += size;
    mem->next = toy->mems;
    toy->mems = mem;
    pthread_mutex_unlock(&toy->lock);
    *out = mem;
    return SMEM_OK;
}

static void mem_destroy(void *dev, mf_dev_mem handle)
{
    struct toy *toy = dev;
    struct mem *mem = handle;
    struct mem **link = &toy->mems;
    pthread_mutex_lock(&toy->lock);
    while (*link != mem) {
        link = &(*link)->next;
    }
    *link = mem->next;
    toy->used -= mem->size;
    pthread_mutex_unlock(&toy->lock);
    close(mem->fd); /* mappings keep the pages */
    free(mem);
}

static struct range *find(struct range *ranges, uint64_t addr, uint64_t size)
{
    for (int i = 0; i < RANGES; i++) {
        if (ranges[i].size && ranges[i].base < addr + size &&
            addr < ranges[i].base + ranges[i].size) {
            return &ranges[i];
        }
    }
    return NULL;
}

static int add(struct range *ranges, uint64_t addr, uint64_t size)
{
    for (int i = 0; i < RANGES; i++) {
        if (!ranges[i].size) {
            ranges[i] = (struct range){addr, size};
            return 0;
        }
    }
    return -1;
}

static int window_reserve(void *dev, uint64_t want, uint64_t size, uint64_t *granted)
{
    struct toy *toy = dev;
    if (size == 0 || size % UNIT || want % UNIT) {
        return toy->host->err(SMEM_INVALID_PARAM, "toy: window of %llu bytes",
                              (unsigned long long)size);
    }
    void *at =
        mmap((void *)(uintptr_t)want, size, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (want ? MAP_FIXED_NOREPLACE : 0), -1, 0);
    if (at == MAP_FAILED) {
        return toy->host->err(SMEM_RES_IN_USE, "toy: reserve: %s", strerror(errno));
    }
    pthread_mutex_lock(&toy->lock);
    int full = add(toy->windows, (uintptr_t)at, size);
    pthread_mutex_unlock(&toy->lock);
    if (full) {
        munmap(at, size);
        return toy->host->err(SMEM_NO_RESOURCES, "toy: more than %d windows", RANGES);
    }
    *granted = (uintptr_t)at;
    return SMEM_OK;
}

static void window_release(void *dev, uint64_t addr, uint64_t size)
{
    struct toy *toy = dev;
    struct range *range;
    pthread_mutex_lock(&toy->lock);
    while ((range = find(toy->maps, addr, size)) || (range = find(toy->windows, addr, size))) {
        range->size = 0;
    }
    munmap((void *)(uintptr_t)addr, size);
    pthread_mutex_unlock(&toy->lock);
}

static int map_locked(struct toy *toy, uint64_t addr, const struct mem *mem, uint64_t offset,
                      uint64_t size)
{
    const struct range *window = find(toy->windows, addr, size);
    if (!window || addr < window->base || addr + size > window->base + window->size ||
        addr % UNIT || size % UNIT || offset % UNIT || size == 0 || size > mem->size ||
        offset > mem->size - size) {
        return toy->host->err(SMEM_INVALID_PARAM, "toy: map 0x%llx: not in a window, or too much",
                              (unsigned long long)addr);
    }
    if (find(toy->maps, addr, size)) {
        return toy->host->err(SMEM_DUPLICATED, "toy: 0x%llx is mapped", (unsigned long long)addr);
    }
    if (add(toy->maps, addr, size)) {
        return toy->host->err(SMEM_NO_RESOURCES, "toy: more than %d mappings", RANGES);
    }
    if (mmap((void *)(uintptr_t)addr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, mem->fd,
             (off_t)offset) == MAP_FAILED) {
        find(toy->maps, addr, size)->size = 0;
        return toy->host->err(SMEM_NO_RESOURCES, "toy: map: %s", strerror(errno));
    }
    return SMEM_OK;
}

static int map(void *dev, uint64_t addr, mf_dev_mem mem, uint64_t offset, uint64_t size)
{
    struct toy *toy = dev;
    pthread_mutex_lock(&toy->lock);
    int rc = map_locked(toy, addr, mem, offset, size);
    pthread_mutex_unlock(&toy->lock);
    return rc;
}

static int unmap(void *dev, uint64_t addr, uint64_t size)
{
    struct toy *toy = dev;
    pthread_mutex_lock(&toy->lock);
    struct range *range = find(toy->maps, addr, 1);
    int whole = range && range->base == addr && range->size == size;
    if (whole) {
        range->size = 0;
        mmap((void *)(uintptr_t)addr, size, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    }
    pthread_mutex_unlock(&toy->lock);
    return whole ? SMEM_OK
                 : toy->host->err(SMEM_INVALID_PARAM, "toy: 0x%llx: no whole mapping",
                                  (unsigned long long)addr);
}

static int query(void *dev, uint64_t addr, struct mf_device_range *out)
{
    struct toy *toy = dev;
    pthread_mutex_lock(&toy->lock);
    const struct range *range = find(toy->maps, addr, 1);
    if (range) {
        *out = (struct mf_device_range){range->base, range->size};
    }
    pthread_mutex_unlock(&toy->lock);
    return range ? SMEM_OK : SMEM_NOT_EXIST;
}

/* Host memory, or mapped from end to end; *device says which. */
static int check_locked(struct toy *toy, uint64_t addr, uint64_t size, int *device)
{
    const struct range *range = NULL;
    uint64_t end = addr + size;
    *device = end > addr && find(toy->windows, addr, size);
    if (end >= addr && !*device) {
        return SMEM_OK;
    }
    for (uint64_t at = addr; end >= addr && at < end; at = range->base + range->size) {
        range = find(toy->maps, at, 1);
        if (!range) {
            break;
        }
    }
    return range && end >= addr
               ? SMEM_OK
               : toy->host->err(SMEM_INVALID_PARAM, "toy: 0x%llx +%llu bytes is not all mapped",
                                (unsigned long long)addr, (unsigned long long)size);
}

static void copy_bytes(uint64_t dst, uint64_t src, uint64_t size)
{
    if (size == 8 && dst % 8 == 0) { /* one store */
        uint64_t word;
        memcpy(&word, (void *)(uintptr_t)src, 8);
        __atomic_store_n((uint64_t *)(uintptr_t)dst, word, __ATOMIC_RELEASE);
    } else {
        memmove((void *)(uintptr_t)dst, (void *)(uintptr_t)src, size);
    }
}

static void event_put(struct toy *toy, struct event *event)
{
    struct event **link = &toy->events;
    if (!event || --event->refs > 0) {
        return;
    }
    while (*link != event) {
        link = &(*link)->next;
    }
    *link = event->next;
    free(event);
}

/* Run what can run. Returns how much is left. */
static uint32_t run_locked(struct toy *toy, struct stream *stream)
{
    for (; stream->head != stream->tail; stream->head++) {
        struct op *op = &stream->ops[stream->head % QUEUE];
        switch (op->kind) {
        case COPY:
            copy_bytes(op->dst, op->src, op->size);
            break;
        case FILL:
            memset((void *)(uintptr_t)op->dst, (int)op->value, op->size);
            break;
        case WRITE64:
            __atomic_store_n((uint64_t *)(uintptr_t)op->dst, op->value, __ATOMIC_RELEASE);
            break;
        case WAIT64:
            if (__atomic_load_n((uint64_t *)(uintptr_t)op->src, __ATOMIC_ACQUIRE) < op->value) {
                return stream->tail - stream->head;
            }
            break;
        case RECORD:
            op->event->happened = op->value;
            break;
        case WAIT_EVENT:
            if (op->event->happened < op->value) {
                return stream->tail - stream->head;
            }
            break;
        }
        event_put(toy, op->event);
    }
    return 0;
}

static int push_locked(struct toy *toy, struct stream *stream, struct op op)
{
    if (stream->tail - stream->head == QUEUE) {
        return toy->host->err(SMEM_NO_RESOURCES, "toy: %d operations are queued", QUEUE);
    }
    stream->ops[stream->tail++ % QUEUE] = op;
    run_locked(toy, stream);
    return SMEM_OK;
}

/* Queue what reads `read` bytes at op.src and writes `written` at op.dst. */
static int push_checked(struct toy *toy, struct stream *stream, struct op op, uint64_t read,
                        uint64_t written, int device_only)
{
    int device;
    pthread_mutex_lock(&toy->lock);
    int rc = check_locked(toy, op.src, read, &device);
    rc = rc ? rc : check_locked(toy, op.dst, written, &device);
    if (!rc && device_only && written && !device) {
        rc = toy->host->err(SMEM_INVALID_PARAM, "toy: fill of host memory");
    }
    rc = rc ? rc : push_locked(toy, stream, op);
    pthread_mutex_unlock(&toy->lock);
    return rc;
}

static int copy(void *dev, void *stream, uint64_t dst, uint64_t src, uint64_t size)
{
    struct op op = {.kind = COPY, .dst = dst, .src = src, .size = size};
    return push_checked(dev, stream, op, size, size, 0);
}

static int fill(void *dev, void *stream, uint64_t dst, uint8_t value, uint64_t size)
{
    struct op op = {.kind = FILL, .dst = dst, .value = value, .size = size};
    return push_checked(dev, stream, op, 0, size, 1);
}

static int unaligned(struct toy *toy, uint64_t addr)
{
    return toy->host->err(SMEM_INVALID_PARAM, "toy: the word at 0x%llx is not aligned",
                          (unsigned long long)addr);
}

static int write64(void *dev, void *stream, uint64_t addr, uint64_t value)
{
    struct op op = {.kind = WRITE64, .dst = addr, .value = value};
    return addr % 8 ? unaligned(dev, addr) : push_checked(dev, stream, op, 0, 8, 0);
}

static int wait64(void *dev, void *stream, uint64_t addr, uint64_t value)
{
    struct op op = {.kind = WAIT64, .src = addr, .value = value};
    return addr % 8 ? unaligned(dev, addr) : push_checked(dev, stream, op, 8, 0, 0);
}

/* Run all streams again and again until there is nothing to wait for in *left or the event. */
static int wait_for(struct toy *toy, struct stream *stream, const struct event *event,
                    uint64_t deadline_ns)
{
    static const struct timespec nap = {.tv_nsec = POLL_NS};
    for (;;) {
        pthread_mutex_lock(&toy->lock);
        for (struct stream *s = toy->streams; s; s = s->next) {
            run_locked(toy, s);
        }
        int busy = stream ? run_locked(toy, stream) != 0 : event->happened < event->recorded;
        pthread_mutex_unlock(&toy->lock);
        if (!busy) {
            return SMEM_OK;
        }
        if (toy->host->now_ns(toy->host) >= deadline_ns) {
            return toy->host->err(SMEM_TIMEOUT, "toy: not done at the deadline");
        }
        nanosleep(&nap, NULL);
    }
}

static int stream_create(void *dev, void **out)
{
    struct toy *toy = dev;
    struct stream *stream = calloc(1, sizeof(*stream));
    *out = stream;
    if (!stream) {
        return toy->host->err(SMEM_MALLOC_FAILED, "toy: out of memory");
    }
    pthread_mutex_lock(&toy->lock);
    stream->next = toy->streams;
    toy->streams = stream;
    pthread_mutex_unlock(&toy->lock);
    return SMEM_OK;
}

static void stream_destroy(void *dev, void *handle)
{
    struct toy *toy = dev;
    struct stream *stream = handle;
    struct stream **link = &toy->streams;
    pthread_mutex_lock(&toy->lock);
    for (; stream->head != stream->tail; stream->head++) {
        struct op *op = &stream->ops[stream->head % QUEUE];
        if (op->kind == RECORD) {
            op->event->happened = op->value;
        }
        event_put(toy, op->event);
    }
    while (*link != stream) {
        link = &(*link)->next;
    }
    *link = stream->next;
    pthread_mutex_unlock(&toy->lock);
    free(stream);
}

static int stream_sync(void *dev, void *stream, uint64_t deadline_ns)
{
    return wait_for(dev, stream, NULL, deadline_ns);
}

static int event_create(void *dev, void **out)
{
    struct toy *toy = dev;
    struct event *event = calloc(1, sizeof(*event));
    *out = event;
    if (!event) {
        return toy->host->err(SMEM_MALLOC_FAILED, "toy: out of memory");
    }
    event->refs = 1;
    pthread_mutex_lock(&toy->lock);
    event->next = toy->events;
    toy->events = event;
    pthread_mutex_unlock(&toy->lock);
    return SMEM_OK;
}

static void event_destroy(void *dev, void *event)
{
    struct toy *toy = dev;
    pthread_mutex_lock(&toy->lock);
    event_put(toy, event);
    pthread_mutex_unlock(&toy->lock);
}

static int push_event(struct toy *toy, struct stream *stream, struct event *event, enum kind kind)
{
    pthread_mutex_lock(&toy->lock);
    event->recorded += kind == RECORD;
    event->refs++;
    struct op op = {.kind = kind, .value = event->recorded, .event = event};
    int rc = push_locked(toy, stream, op);
    if (rc) {
        event->recorded -= kind == RECORD;
        event->refs--;
    }
    pthread_mutex_unlock(&toy->lock);
    return rc;
}

static int event_record(void *dev, void *event, void *stream)
{
    return push_event(dev, stream, event, RECORD);
}

static int stream_wait_event(void *dev, void *stream, void *event)
{
    return push_event(dev, stream, event, WAIT_EVENT);
}

static int event_sync(void *dev, void *event, uint64_t deadline_ns)
{
    return wait_for(dev, NULL, event, deadline_ns);
}

static void toy_close(void *dev)
{
    struct toy *toy = dev;
    while (toy->streams) {
        stream_destroy(toy, toy->streams);
    }
    while (toy->events) {
        event_destroy(toy, toy->events);
    }
    while (toy->mems) {
        mem_destroy(toy, toy->mems);
    }
    for (int i = 0; i < RANGES; i++) {
        if (toy->windows[i].size) {
            window_release(toy, toy->windows[i].base, toy->windows[i].size);
        }
    }
    pthread_mutex_destroy(&toy->lock);
    free(toy);
}

static const struct mf_device_ops toy_ops = {
    .abi = MF_PLUGIN_ABI,
    .size = sizeof(struct mf_device_ops),
    .name = "toy",
    .probe = toy_probe,
    .open = toy_open,
    .close = toy_close,
    .info = toy_info,
    .mem_create = mem_create,
    .mem_destroy = mem_destroy,
    .window_reserve = window_reserve,
    .window_release = window_release,
    .map = map,
    .unmap = unmap,
    .query = query,
    .stream_create = stream_create,
    .stream_destroy = stream_destroy,
    .stream_sync = stream_sync,
    .copy = copy,
    .fill = fill,
    .write64 = write64,
    .wait64 = wait64,
    .event_create = event_create,
    .event_destroy = event_destroy,
    .event_record = event_record,
    .event_sync = event_sync,
    .stream_wait_event = stream_wait_event,
};

MF_PLUGIN_EXPORT extern const struct mf_plugin MF_PLUGIN_SYMBOL;
const struct mf_plugin MF_PLUGIN_SYMBOL = {
    .abi = MF_PLUGIN_ABI,
    .size = sizeof(struct mf_plugin),
    .name = "toy",
    .version = "1",
    .device = &toy_ops,
};
