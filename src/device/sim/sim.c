// SPDX-License-Identifier: Apache-2.0
// The device plug-in "sim": accelerators made of host memory that host code cannot touch, so that
// all device paths run, and are tested, on a machine without one. This file opens and closes a
// device.
#include "device/sim/sim.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "device/builtins.h"

static int sim_probe(const struct mf_plugin_host *host, const struct mf_device_params *params,
                     uint32_t *count, char *why, size_t why_len)
{
    (void)host;
    *count = params->sim_devices;
    snprintf(why, why_len, "%s", *count ? "" : "sim.devices (MF_SIM_DEVICES) is 0");
    return SMEM_OK;
}

/* MF_SIM_GRANT=shift emulates a device that cannot give the address that is wanted. */
static int parse_grant(const struct mf_plugin_host *host, bool *shift)
{
    const char *text = host->getenv(host, "MF_SIM_GRANT");
    *shift = text && strcmp(text, "shift") == 0;
    if (text && !*shift && strcmp(text, "exact") != 0) {
        return mf_err(SMEM_INVALID_PARAM, "MF_SIM_GRANT is \"%.32s\": allowed are exact and shift",
                      text);
    }
    return SMEM_OK;
}

static int sim_open(const struct mf_plugin_host *host, const struct mf_device_params *params,
                    uint32_t ordinal, void **out)
{
    *out = NULL;
    struct mf_sim_dev *dev = mf_calloc(1, sizeof(*dev), "simulated device");
    if (!dev) {
        return SMEM_MALLOC_FAILED;
    }
    dev->host = host;
    dev->ordinal = ordinal;
    dev->memory = params->sim_memory & ~(MF_SIM_GRANULARITY - 1);
    dev->bandwidth_mb_s = params->sim_bandwidth_mb_s;
    dev->latency_ns = params->sim_latency_ns;
    int rc = parse_grant(host, &dev->grant_shift);
    if (rc) {
        goto free_dev;
    }
    rc = mf_sim_intervals_init(&dev->windows, MF_SIM_MAPS_MAX, "windows of a simulated device");
    if (rc) {
        goto free_dev;
    }
    rc = mf_sim_intervals_init(&dev->maps, MF_SIM_MAPS_MAX, "mappings of a simulated device");
    if (rc) {
        goto fini_windows;
    }
    mf_mutex_init(&dev->lock, MF_RANK_LEAF);
    mf_mutex_init(&dev->event_lock, MF_RANK_LEAF);
    mf_cond_init(&dev->event_cond);
    *out = dev;
    return SMEM_OK;
fini_windows:
    mf_sim_intervals_fini(&dev->windows);
free_dev:
    mf_free(dev);
    return rc;
}

static void sim_close(void *impl)
{
    struct mf_sim_dev *dev = impl;
    while (dev->streams) {
        mf_sim_stream_destroy(dev, dev->streams);
    }
    mf_sim_event_free_all(dev);
    mf_sim_window_release_all(dev);
    mf_sim_mem_free_all(dev);
    mf_sim_intervals_fini(&dev->maps);
    mf_sim_intervals_fini(&dev->windows);
    mf_cond_fini(&dev->event_cond);
    mf_mutex_fini(&dev->event_lock);
    mf_mutex_fini(&dev->lock);
    mf_free(dev);
}

static int sim_info(void *impl, struct mf_device_info *info)
{
    struct mf_sim_dev *dev = impl;
    snprintf(info->name, sizeof(info->name), "simulated accelerator (host memory)");
    info->granularity = MF_SIM_GRANULARITY;
    info->numa_node = -1;
    info->memory_total = dev->memory;
    mf_mutex_lock(&dev->lock);
    info->memory_free = dev->memory - dev->used;
    mf_mutex_unlock(&dev->lock);
    return SMEM_OK;
}

const struct mf_device_ops mf_sim_device_ops = {
    .abi = MF_PLUGIN_ABI,
    .size = sizeof(struct mf_device_ops),
    .name = "sim",
    .probe = sim_probe,
    .open = sim_open,
    .close = sim_close,
    .info = sim_info,
    .mem_create = mf_sim_mem_create,
    .mem_destroy = mf_sim_mem_destroy,
    .mem_export = mf_sim_mem_export,
    .mem_import = mf_sim_mem_import,
    .mem_punch = mf_sim_mem_punch,
    .window_reserve = mf_sim_window_reserve,
    .window_release = mf_sim_window_release,
    .map = mf_sim_map,
    .unmap = mf_sim_unmap,
    .query = mf_sim_query,
    .stream_create = mf_sim_stream_create,
    .stream_destroy = mf_sim_stream_destroy,
    .stream_sync = mf_sim_stream_sync,
    .copy = mf_sim_copy,
    .copy_batch = mf_sim_copy_batch,
    .fill = mf_sim_fill,
    .write64 = mf_sim_write64,
    .wait64 = mf_sim_wait64,
    .launch = mf_sim_launch,
    .event_create = mf_sim_event_create,
    .event_destroy = mf_sim_event_destroy,
    .event_record = mf_sim_event_record,
    .event_sync = mf_sim_event_sync,
    .stream_wait_event = mf_sim_stream_wait_event,
    .close_fds = mf_sim_close_fds,
};
