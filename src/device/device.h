// SPDX-License-Identifier: Apache-2.0
// The registry of device plug-ins and an open device: the plug-in's table, with refusing functions
// in place of what it lacks, so that callers never test for NULL.
#ifndef MF_DEVICE_DEVICE_H
#define MF_DEVICE_DEVICE_H

#include <stdbool.h>

#include "base/env.h"
#include "config/config.h"
#include "memfabric/mf_device.h"

struct mf_plugin_lib;

/** One open device of one context. */
struct mf_dev {
    struct mf_device_ops ops; /* complete: no member is NULL */
    void *impl;               /* first argument of every function of ops */
    struct mf_plugin_host host;
    struct mf_plugin_lib *lib; /* NULL for a built-in */
    struct mf_device_info info;
    bool has_copy_batch; /* the plug-in's own; else mf_dev_copy_batch loops */
};

/** The built-in plug-ins, in the order that "auto" tries; ends with NULL. "none" is the last. */
extern const struct mf_device_ops *const mf_device_builtins[];

/** `plugin` is the option device.plugin ("auto", "none", "sim", a path). "auto": the first real
 *  accelerator, else none; sim is never chosen by itself. *out is NULL and the result SMEM_OK when
 * the plug-in is "none", or "auto" found none. SMEM_NOT_EXIST with why and how to get one;
 *  SMEM_INVALID_PARAM for the ordinal, or for a plug-in that is built wrongly. `env` and `config`
 * are borrowed, `env` until close. */
int mf_dev_open(const struct mf_env *env, const struct mf_config *config, const char *plugin,
                uint32_t ordinal, struct mf_dev **out);
void mf_dev_close(struct mf_dev *dev);

/** The error of a call that needs a device where mf_dev_open gave NULL for `plugin`: records why
 * there is none and how to get one; returns SMEM_NOT_EXIST. */
int mf_dev_none(const struct mf_env *env, const struct mf_config *config, const char *plugin);

/** For each built-in (and the configured path): name, number of devices, why none. */
struct mf_dev_probe {
    char name[64];
    uint32_t count;
    char why[256];
};
/** Fills at most `cap`; returns how many there are. */
uint32_t mf_dev_probe_all(const struct mf_env *env, const struct mf_config *config,
                          struct mf_dev_probe *out, uint32_t cap);

/** True when [addr, addr+size) lies in mapped memory of the device. dev may be NULL (false). */
bool mf_dev_owns(const struct mf_dev *dev, uint64_t addr, uint64_t size);

/** Queue `count` copies: the plug-in's copy_batch, or one copy after another where it has none
 * (then what stands before a refused element is queued). */
int mf_dev_copy_batch(const struct mf_dev *dev, void *stream, const struct mf_device_copy_desc *v,
                      uint32_t count);

/** The open devices of one context: whoever asks for the same plug-in and ordinal shares one struct
 *  mf_dev, so that memory allocated by one user of the device is recognised by the others.
 * Thread-safe. */
struct mf_dev_registry;

/** `env` and `config` are borrowed until destroy. */
int mf_dev_registry_create(const struct mf_env *env, const struct mf_config *config,
                           struct mf_dev_registry **out);
/** Closes what is still open. */
void mf_dev_registry_destroy(struct mf_dev_registry *registry);
/** As mf_dev_open, shared. Give each success (but NULL) back with put. */
int mf_dev_registry_get(struct mf_dev_registry *registry, const char *plugin, uint32_t ordinal,
                        struct mf_dev **out);
/** The last put closes the device. NULL is fine. */
void mf_dev_registry_put(struct mf_dev_registry *registry, struct mf_dev *dev);
/** True when addr is mapped memory of an open device other than `dev`; `name` gets "sim:1". */
bool mf_dev_registry_owned_by_other(struct mf_dev_registry *registry, const struct mf_dev *dev,
                                    uint64_t addr, char *name, size_t name_len);
/** For the atfork child handler: close(2) of the devices' descriptors, nothing else. The registry
 * is of no use in the child afterwards. */
void mf_dev_registry_close_fds(struct mf_dev_registry *registry);

#endif
