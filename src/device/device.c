// SPDX-License-Identifier: Apache-2.0
// Finds the plug-in that an option or an application names, and opens one device of it.
#include "device/device.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/plugin.h"
#include "device/builtins.h"
#include "device/table.h"

const struct mf_device_ops *const mf_device_builtins[] = {
    &mf_sim_device_ops,
    &mf_none_device_ops,
    NULL,
};

/* A plug-in whose table is at hand. */
struct found {
    const struct mf_device_ops *ops; /* NULL: "none", or "auto" found none */
    struct mf_plugin_lib *lib;       /* owned; NULL for a built-in */
};

static struct mf_device_params params_of(const struct mf_config *config)
{
    return (struct mf_device_params){
        .size = sizeof(struct mf_device_params),
        .sim_devices = (uint32_t)mf_config_u64(config, MF_OPT_SIM_DEVICES),
        .sim_memory = mf_config_u64(config, MF_OPT_SIM_MEMORY),
        .sim_bandwidth_mb_s = mf_config_u64(config, MF_OPT_SIM_BANDWIDTH),
        .sim_latency_ns = mf_config_u64(config, MF_OPT_SIM_LATENCY_NS),
    };
}

/* "auto" takes what is an accelerator, not what emulates one. */
static bool is_real(const struct mf_device_ops *ops)
{
    return ops != &mf_sim_device_ops && ops != &mf_none_device_ops;
}

/* Number of devices; 0 with the reason in `why`, also when the plug-in cannot even say. */
static uint32_t probe(const struct mf_env *env, const struct mf_config *config,
                      const struct mf_device_ops *ops, char *why, size_t why_len)
{
    struct mf_plugin_host host;
    struct mf_device_params params = params_of(config);
    uint32_t count = 0;
    mf_plugin_host_init(&host, env);
    snprintf(why, why_len, "it gives no reason");
    if (ops->probe(&host, &params, &count, why, why_len)) {
        snprintf(why, why_len, "%s", mf_err_msg());
        return 0;
    }
    if (count == 0) {
        return 0;
    }
    why[0] = 0;
    return count <= MF_DEVICES_MAX ? count : MF_DEVICES_MAX;
}

static const struct mf_device_ops *find_builtin(const char *name)
{
    for (size_t i = 0; mf_device_builtins[i]; i++) {
        if (strcmp(mf_device_builtins[i]->name, name) == 0) {
            return mf_device_builtins[i];
        }
    }
    return NULL;
}

/* The first real accelerator that has a device, or NULL with each one's reason in `why`. */
static const struct mf_device_ops *find_auto(const struct mf_env *env,
                                             const struct mf_config *config, char *why,
                                             size_t why_len)
{
    size_t used = 0;
    why[0] = 0;
    for (size_t i = 0; mf_device_builtins[i]; i++) {
        const struct mf_device_ops *ops = mf_device_builtins[i];
        char reason[256];
        if (!is_real(ops)) {
            continue;
        }
        if (probe(env, config, ops, reason, sizeof(reason)) > 0) {
            return ops;
        }
        int n =
            snprintf(why + used, why_len - used, "%s%s: %s", used ? "; " : "", ops->name, reason);
        used = n > 0 && used + (size_t)n < why_len ? used + (size_t)n : why_len - 1;
    }
    if (used == 0) {
        snprintf(why, why_len, "this build knows none but sim, which is never taken by itself");
    }
    return NULL;
}

static int find_path(const char *path, struct found *out)
{
    const struct mf_plugin *plugin;
    int rc = mf_plugin_open(path, &out->lib, &plugin);
    if (rc) {
        return rc;
    }
    if (!plugin->device) {
        rc = mf_err(SMEM_INVALID_PARAM, "plug-in %s: %s has no device", path, plugin->name);
        mf_plugin_close(out->lib);
        out->lib = NULL;
        return rc;
    }
    out->ops = plugin->device;
    return SMEM_OK;
}

static int find_plugin(const struct mf_env *env, const struct mf_config *config, const char *plugin,
                       struct found *out)
{
    *out = (struct found){0};
    if (strchr(plugin, '/')) {
        return find_path(plugin, out);
    }
    if (strcmp(plugin, "auto") == 0) {
        char why[512];
        out->ops = find_auto(env, config, why, sizeof(why));
        return SMEM_OK;
    }
    const struct mf_device_ops *ops = find_builtin(plugin);
    if (!ops) {
        return mf_err(
            SMEM_NOT_EXIST,
            "there is no device plug-in \"%.64s\": device.plugin (MF_DEVICE) is auto, none, "
            "sim, or the path of a plug-in, with a '/'",
            plugin);
    }
    out->ops = ops == &mf_none_device_ops ? NULL : ops;
    return SMEM_OK;
}

int mf_dev_none(const struct mf_env *env, const struct mf_config *config, const char *plugin)
{
    char why[512];
    if (strcmp(plugin, "auto") == 0) {
        find_auto(env, config, why, sizeof(why));
        return mf_err(SMEM_NOT_EXIST,
                      "no accelerator found: %s: set MF_DEVICE=sim to emulate one in host memory",
                      why);
    }
    probe(env, config, &mf_none_device_ops, why, sizeof(why));
    return mf_err(SMEM_NOT_EXIST, "%s", why);
}

static int check_ordinal(const struct mf_env *env, const struct mf_config *config,
                         const struct mf_device_ops *ops, uint32_t ordinal)
{
    char why[512];
    uint32_t count = probe(env, config, ops, why, sizeof(why));
    if (count == 0) {
        return mf_err(SMEM_NOT_EXIST, "device plug-in %s has no device: %s", ops->name, why);
    }
    if (ordinal >= count) {
        return mf_err(SMEM_INVALID_PARAM, "device %s:%u does not exist: %s has %u, %s:0 to %s:%u",
                      ops->name, ordinal, ops->name, count, ops->name, ops->name, count - 1);
    }
    return SMEM_OK;
}

/* Fill dev->impl and dev->info; dev->ops is complete. */
static int open_instance(const struct mf_env *env, const struct mf_config *config, uint32_t ordinal,
                         struct mf_dev *dev)
{
    struct mf_device_params params = params_of(config);
    mf_plugin_host_init(&dev->host, env);
    int rc = dev->ops.open(&dev->host, &params, ordinal, &dev->impl);
    if (rc) {
        return mf_err_in(rc, "open device %s:%u", dev->ops.name, ordinal);
    }
    dev->info = (struct mf_device_info){.size = sizeof(dev->info), .ordinal = ordinal};
    snprintf(dev->info.plugin, sizeof(dev->info.plugin), "%s", dev->ops.name);
    rc = dev->ops.info(dev->impl, &dev->info);
    if (!rc && (dev->info.granularity == 0 ||
                (dev->info.granularity & (dev->info.granularity - 1)) != 0)) {
        rc = mf_err(SMEM_INVALID_PARAM, "granularity %llu is not a power of two",
                    (unsigned long long)dev->info.granularity);
    }
    if (rc) {
        dev->ops.close(dev->impl);
        return mf_err_in(rc, "ask device %s:%u what it is", dev->ops.name, ordinal);
    }
    return SMEM_OK;
}

int mf_dev_open(const struct mf_env *env, const struct mf_config *config, const char *plugin,
                uint32_t ordinal, struct mf_dev **out)
{
    struct found found;
    *out = NULL;
    int rc = find_plugin(env, config, plugin, &found);
    if (rc || !found.ops) {
        return rc;
    }
    struct mf_dev *dev = mf_calloc(1, sizeof(*dev), "device");
    if (!dev) {
        rc = SMEM_MALLOC_FAILED;
        goto close_lib;
    }
    rc = mf_device_table_complete(plugin, found.ops, &dev->ops);
    if (rc) {
        goto free_dev;
    }
    dev->has_copy_batch = found.ops->size >= offsetof(struct mf_device_ops, copy_batch) +
                                                 sizeof(dev->ops.copy_batch) &&
                          found.ops->copy_batch;
    rc = check_ordinal(env, config, &dev->ops, ordinal);
    if (rc) {
        goto free_dev;
    }
    rc = open_instance(env, config, ordinal, dev);
    if (rc) {
        goto free_dev;
    }
    dev->lib = found.lib;
    *out = dev;
    return SMEM_OK;
free_dev:
    mf_free(dev);
close_lib:
    mf_plugin_close(found.lib);
    return rc;
}

void mf_dev_close(struct mf_dev *dev)
{
    if (!dev) {
        return;
    }
    dev->ops.close(dev->impl);
    mf_plugin_close(dev->lib);
    mf_free(dev);
}

static void probe_path(const struct mf_env *env, const struct mf_config *config, const char *path,
                       struct mf_dev_probe *out)
{
    struct found found = {0};
    struct mf_device_ops ops;
    snprintf(out->name, sizeof(out->name), "%s", path);
    int rc = find_path(path, &found);
    if (!rc) {
        rc = mf_device_table_complete(path, found.ops, &ops);
    }
    if (rc) {
        out->count = 0;
        snprintf(out->why, sizeof(out->why), "%s", mf_err_msg());
    } else {
        out->count = probe(env, config, &ops, out->why, sizeof(out->why));
    }
    mf_plugin_close(found.lib);
}

uint32_t mf_dev_probe_all(const struct mf_env *env, const struct mf_config *config,
                          struct mf_dev_probe *out, uint32_t cap)
{
    uint32_t n = 0;
    for (; mf_device_builtins[n]; n++) {
        if (n < cap) {
            const struct mf_device_ops *ops = mf_device_builtins[n];
            snprintf(out[n].name, sizeof(out[n].name), "%s", ops->name);
            out[n].count = probe(env, config, ops, out[n].why, sizeof(out[n].why));
        }
    }
    const char *configured = mf_config_str(config, MF_OPT_DEVICE);
    if (strchr(configured, '/')) {
        if (n < cap) {
            probe_path(env, config, configured, &out[n]);
        }
        n++;
    }
    return n;
}

bool mf_dev_owns(const struct mf_dev *dev, uint64_t addr, uint64_t size)
{
    struct mf_device_range range;
    if (!dev || addr + size < addr) {
        return false;
    }
    uint64_t end = addr + size;
    do {
        if (dev->ops.query(dev->impl, addr, &range)) {
            return false;
        }
        addr = range.base + range.size;
    } while (addr < end);
    return true;
}

int mf_dev_copy_batch(const struct mf_dev *dev, void *stream, const struct mf_device_copy_desc *v,
                      uint32_t count)
{
    if (dev->has_copy_batch) {
        return dev->ops.copy_batch(dev->impl, stream, v, count);
    }
    for (uint32_t i = 0; i < count; i++) {
        int rc = dev->ops.copy(dev->impl, stream, v[i].dst, v[i].src, v[i].size);
        if (rc) {
            return mf_err_in(rc, "element %u of %u", i, count);
        }
    }
    return SMEM_OK;
}
