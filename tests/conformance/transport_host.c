// SPDX-License-Identifier: Apache-2.0
// The host of a transport under test: placement as in a pool, watches on a libevent loop, a lock
// for those who copy in place of the library's quiescence.
#include "transport_host.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/plugin.h"
#include "gva/space.h"

#define WORLD_ID 0x77ull

struct watch {
    struct th *th;
    int fd;
    void (*fn)(void *arg);
    void *arg;
    struct event *event;
};

static void host_copy(void *arg, void *dst, const void *src, size_t size)
{
    (void)arg;
    memcpy(dst, src, size);
}

static uint64_t place_of(const struct th *th, const struct mf_segment_desc *desc)
{
    uint64_t here = desc->kind < MF_KIND_COUNT ? th->here[desc->kind] : 0;
    return here ? here + (desc->gva - th->layout.kind_base[desc->kind].v) : 0;
}

static int host_place(void *arg, const struct mf_segment_desc *desc, uint64_t *host)
{
    struct th *th = arg;
    struct mf_gva_loc loc;
    if (atomic_load(&th->refuse_place) || desc->pool != TH_POOL ||
        !mf_layout_find(&th->layout, (mf_gva){desc->gva}, &loc) || loc.rank != desc->owner ||
        loc.offset + desc->size > th->layout.max_bytes[loc.kind]) {
        return mf_err(SMEM_INVALID_PARAM, "no place for segment %u of rank %u", desc->index,
                      desc->owner);
    }
    *host = place_of(th, desc);
    return SMEM_OK;
}

static int host_unplace(void *arg, const struct mf_segment_desc *desc, int dead)
{
    uint64_t at = place_of(arg, desc);
    return dead ? mf_space_zero(at, desc->size) : mf_space_unmap(at, desc->size);
}

static int host_segment_up(void *arg, struct mf_segment *segment)
{
    struct th *th = arg;
    int rc = SMEM_OK;
    if (atomic_load(&th->refuse_up)) {
        return mf_err(SMEM_DUPLICATED, "the test refuses the segment");
    }
    pthread_mutex_lock(&th->lock);
    uint32_t i = 0;
    while (i < TH_SEGMENTS && th->up[i]) {
        i++;
    }
    if (i < TH_SEGMENTS) {
        th->up[i] = segment;
    } else {
        rc = mf_err(SMEM_NO_RESOURCES, "more than %u segments", TH_SEGMENTS);
    }
    pthread_mutex_unlock(&th->lock);
    return rc;
}

static void host_segment_down(void *arg, struct mf_segment *segment)
{
    struct th *th = arg;
    pthread_mutex_lock(&th->lock);
    for (uint32_t i = 0; i < TH_SEGMENTS; i++) {
        if (th->up[i] == segment) {
            th->up[i] = NULL;
        }
    }
    pthread_mutex_unlock(&th->lock);
}

static int host_quiesce(void *arg, uint64_t deadline_ns)
{
    struct th *th = arg;
    while (pthread_rwlock_trywrlock(&th->calls) != 0) {
        if (mf_now_ns(&th->env) >= deadline_ns) {
            return mf_err(SMEM_TIMEOUT, "a thread is inside a call");
        }
        struct timespec pause = {.tv_nsec = 100000};
        nanosleep(&pause, NULL);
    }
    pthread_rwlock_unlock(&th->calls);
    return SMEM_OK;
}

static void host_peer_dead(void *arg, uint32_t rank, uint64_t incarnation, const char *why)
{
    struct th *th = arg;
    (void)incarnation;
    (void)why;
    atomic_fetch_or(&th->dead_ranks, 1u << rank);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct watch *watch = arg;
    (void)fd;
    (void)what;
    watch->fn(watch->arg);
}

static void watch_add(void *arg)
{
    struct watch *watch = arg;
    watch->event = event_new(mf_loop_base(watch->th->loop), watch->fd, EV_READ | EV_PERSIST,
                             on_readable, watch);
    event_add(watch->event, NULL);
}

static int host_watch_fd(void *arg, int fd, void (*fn)(void *), void *fn_arg, void **out)
{
    struct th *th = arg;
    struct watch *watch = malloc(sizeof(*watch));
    *watch = (struct watch){.th = th, .fd = fd, .fn = fn, .arg = fn_arg};
    *out = watch;
    return mf_loop_call(th->loop, watch_add, watch);
}

static void watch_remove(void *arg)
{
    struct watch *watch = arg;
    event_free(watch->event);
    free(watch);
}

static void host_unwatch_fd(void *arg, void *watch)
{
    struct th *th = arg;
    mf_loop_call(th->loop, watch_remove, watch);
}

static int open_spaces(struct th *th, const struct th_cfg *cfg)
{
    uint64_t shift = cfg->here ? cfg->here - TH_BASE : 0;
    uint64_t dram = th->layout.kind_base[MF_KIND_DRAM].v + shift;
    uint64_t granted;
    int rc = mf_space_reserve(dram, TH_DRAM * TH_WORLD);
    if (rc) {
        return rc;
    }
    th->here[MF_KIND_DRAM] = dram;
    if (!cfg->device) {
        return SMEM_OK;
    }
    rc = mf_dev_open(&th->env, &th->config, cfg->device, 0, &th->dev);
    if (rc == SMEM_OK) {
        rc = th->dev->ops.window_reserve(th->dev->impl, th->layout.kind_base[MF_KIND_HBM].v + shift,
                                         TH_HBM * TH_WORLD, &granted);
    }
    if (rc == SMEM_OK) {
        th->here[MF_KIND_HBM] = granted;
    }
    return rc;
}

int th_open(struct th *th, const struct th_cfg *cfg)
{
    memset(th, 0, sizeof(*th));
    th->log = (struct mf_log)MF_LOG_INIT;
    atomic_store(&th->log.level, MF_LOG_FATAL);
    mf_env_init_real(&th->env, &th->log);
    mf_config_defaults(&th->config);
    mf_config_set(&th->config, MF_OPT_SEG_HUGE, "never"); /* whatever this machine has */
    mf_plugin_host_init(&th->plugin, &th->env);
    pthread_mutex_init(&th->lock, NULL);
    pthread_rwlock_init(&th->calls, NULL);
    th->ops = cfg->ops;
    if (cfg->latency) {
        mf_config_set(&th->config, MF_OPT_SIM_LATENCY_NS, cfg->latency);
    }
    int rc = mf_layout_init(&th->layout, (mf_gva){TH_BASE}, TH_HBM, TH_DRAM, TH_WORLD);
    if (rc == SMEM_OK) {
        rc = open_spaces(th, cfg);
    }
    if (rc == SMEM_OK) {
        rc = mf_loop_create(&th->env, "th-loop", &th->loop);
    }
    if (rc) {
        return rc;
    }
    th->host = (struct mf_transport_host){
        .size = sizeof(th->host),
        .plugin = &th->plugin,
        .arg = th,
        .rank = cfg->rank,
        .world = TH_WORLD,
        .incarnation = cfg->incarnation ? cfg->incarnation : mf_random_u64(&th->env),
        .world_id = WORLD_ID,
        .device = th->dev ? &th->dev->ops : NULL,
        .device_impl = th->dev ? th->dev->impl : NULL,
        .random_token = {mf_random_u64(&th->env), mf_random_u64(&th->env)},
        .copy = host_copy,
        .copy_bulk = host_copy,
        .place = host_place,
        .unplace = host_unplace,
        .segment_up = host_segment_up,
        .segment_down = host_segment_down,
        .quiesce = host_quiesce,
        .peer_dead = host_peer_dead,
        .watch_fd = host_watch_fd,
        .unwatch_fd = host_unwatch_fd,
        .flags = cfg->flags,
    };
    rc = th->ops->probe(&th->plugin);
    if (rc == SMEM_OK) {
        rc = th->ops->open(&th->host, &th->tp);
    }
    if (rc == SMEM_OK) {
        rc = th->ops->endpoint(th->tp, th->endpoint, sizeof(th->endpoint), &th->endpoint_len);
    }
    return rc;
}

void th_close(struct th *th)
{
    if (th->tp) {
        th->ops->close(th->tp);
    }
    mf_loop_destroy(th->loop);
    if (th->here[MF_KIND_HBM]) {
        th->dev->ops.window_release(th->dev->impl, th->here[MF_KIND_HBM], TH_HBM * TH_WORLD);
    }
    if (th->dev) {
        mf_dev_close(th->dev);
    }
    if (th->here[MF_KIND_DRAM]) {
        mf_space_release(th->here[MF_KIND_DRAM], TH_DRAM * TH_WORLD);
    }
    pthread_rwlock_destroy(&th->calls);
    pthread_mutex_destroy(&th->lock);
    memset(th, 0, sizeof(*th));
}

static int publish(struct th *th, struct th_own *own)
{
    struct mf_publish pub = {.segment = &own->segment, .fd = own->fd};
    return th->ops->publish(th->tp, &pub);
}

static void fill_segment(struct th *th, enum mf_mem_kind kind, uint64_t offset, uint64_t size,
                         struct th_own *own)
{
    memset(own, 0, sizeof(*own));
    own->segment.desc = (struct mf_segment_desc){.gva = th_gva(th, th->host.rank, kind, offset),
                                                 .size = size,
                                                 .incarnation = th->host.incarnation,
                                                 .pool = TH_POOL,
                                                 .owner = th->host.rank,
                                                 .kind = kind};
    own->segment.ops = th->ops;
    own->segment.tp = th->tp;
    own->fd = -1;
}

int th_publish_fd(struct th *th, uint64_t offset, uint64_t size, int fd, struct th_own *own)
{
    fill_segment(th, MF_KIND_DRAM, offset, size, own);
    own->fd = fd;
    own->memory = (struct mf_memory){.fd = dup(fd), .size = size, .user_fd = true};
    own->segment.host = place_of(th, &own->segment.desc);
    int rc = mf_space_map(own->segment.host, size, fd, 0);
    return rc ? rc : publish(th, own);
}

static int make_hbm(struct th *th, struct th_own *own)
{
    const struct mf_device_ops *dev = &th->dev->ops;
    uint64_t size = own->segment.desc.size;
    own->segment.dev = place_of(th, &own->segment.desc);
    int rc = dev->mem_create(th->dev->impl, size, &own->mem);
    if (rc == SMEM_OK) {
        rc = dev->map(th->dev->impl, own->segment.dev, own->mem, 0, size);
    }
    if (rc == SMEM_OK) {
        rc = dev->mem_export(th->dev->impl, own->mem, &own->fd);
    }
    return rc;
}

int th_publish(struct th *th, enum mf_mem_kind kind, uint64_t offset, uint64_t size,
               struct th_own *own)
{
    fill_segment(th, kind, offset, size, own);
    if (kind == MF_KIND_HBM) {
        int rc = make_hbm(th, own);
        return rc ? rc : publish(th, own);
    }
    struct mf_memory_cfg cfg = {
        .env = &th->env, .config = &th->config, .size = size, .numa_node = -1, .what = "test dram"};
    int rc = mf_memory_create(&cfg, &own->memory);
    if (rc) {
        return rc;
    }
    own->fd = own->memory.fd;
    own->segment.host = place_of(th, &own->segment.desc);
    own->segment.dev = th->dev ? own->segment.host : 0;
    rc = mf_space_map(own->segment.host, size, own->fd, 0);
    return rc ? rc : publish(th, own);
}

int th_withdraw(struct th *th, struct th_own *own, uint32_t timeout_ms)
{
    int rc = th->ops->withdraw(th->tp, &own->segment, th_deadline(th, timeout_ms));
    if (rc) {
        return rc;
    }
    if (own->mem) {
        th->dev->ops.unmap(th->dev->impl, own->segment.dev, own->segment.desc.size);
        th->dev->ops.mem_destroy(th->dev->impl, own->mem);
        close(own->fd);
        return SMEM_OK;
    }
    mf_memory_punch(&own->memory);
    mf_space_unmap(own->segment.host, own->segment.desc.size);
    mf_memory_fini(&own->memory);
    return SMEM_OK;
}

int th_attach(struct th *th, uint32_t rank, uint64_t incarnation, const uint8_t *endpoint,
              uint32_t endpoint_len, uint32_t timeout_ms)
{
    struct mf_peer peer = {.rank = rank,
                           .incarnation = incarnation,
                           .endpoint = endpoint,
                           .endpoint_len = endpoint_len};
    return th->ops->attach(th->tp, &peer, TH_POOL, th_deadline(th, timeout_ms));
}

int th_attach_to(struct th *th, const struct th *peer)
{
    return th_attach(th, peer->host.rank, peer->host.incarnation, peer->endpoint,
                     peer->endpoint_len, 5000);
}

struct mf_segment *th_find(struct th *th, uint32_t owner, enum mf_mem_kind kind, uint64_t offset)
{
    struct mf_segment *found = NULL;
    uint64_t gva = th_gva(th, owner, kind, offset);
    pthread_mutex_lock(&th->lock);
    for (uint32_t i = 0; i < TH_SEGMENTS; i++) {
        struct mf_segment *s = th->up[i];
        if (s && s->desc.owner == owner && gva - s->desc.gva < s->desc.size) {
            found = s;
        }
    }
    pthread_mutex_unlock(&th->lock);
    return found;
}

uint32_t th_count(struct th *th, uint32_t owner)
{
    uint32_t count = 0;
    pthread_mutex_lock(&th->lock);
    for (uint32_t i = 0; i < TH_SEGMENTS; i++) {
        count += th->up[i] && th->up[i]->desc.owner == owner;
    }
    pthread_mutex_unlock(&th->lock);
    return count;
}

uint64_t th_gva(const struct th *th, uint32_t owner, enum mf_mem_kind kind, uint64_t offset)
{
    return mf_layout_slot(&th->layout, kind, owner).v + offset;
}

uint8_t *th_ptr(const struct th *th, uint32_t owner, enum mf_mem_kind kind, uint64_t offset)
{
    uint64_t gva = th_gva(th, owner, kind, offset);
    return (uint8_t *)(uintptr_t)(th->here[kind] + (gva - th->layout.kind_base[kind].v));
}

uint64_t th_deadline(const struct th *th, uint32_t ms)
{
    return mf_deadline_ns(&th->env, ms);
}

int th_copy(struct th *th, void *lane, struct mf_segment *dst_seg, uint64_t dst,
            struct mf_segment *src_seg, uint64_t src, uint64_t size)
{
    struct mf_xfer x = {
        .src_seg = src_seg, .dst_seg = dst_seg, .src = src, .dst = dst, .size = size};
    x.status = MF_XFER_PENDING;
    (void)th->ops->post(lane, &x, 1); /* the status says it */
    (void)th->ops->wait(lane, th_deadline(th, 10000));
    return x.status;
}
