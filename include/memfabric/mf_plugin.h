/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file mf_plugin.h
 * The plug-in SDK: what a shared object exports to add a device or a transport, and what it gets
 * from the library. See docs/plugins.md. The ABI number changes when any struct of mf_plugin.h,
 * mf_device.h or mf_transport.h changes its meaning; members are only ever added at the end within
 * one number.
 */
#ifndef MEMFABRIC_MF_PLUGIN_H
#define MEMFABRIC_MF_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** ABI number of the plug-in interface; part of the name of the exported symbol. */
#define MF_PLUGIN_ABI 1

struct mf_device_ops;
struct mf_transport_ops;

/** Services of the library for a plug-in. Borrowed; valid until the plug-in's last instance is
 * closed. */
struct mf_plugin_host {
    uint32_t abi;  /**< MF_PLUGIN_ABI of the library */
    uint32_t size; /**< sizeof(struct mf_plugin_host) of the library */
    const void *impl;
    /** Record the error sentence of the calling thread; returns rc (a negative SMEM_* code). */
    int (*err)(int rc, const char *fmt, ...);
    /** Write one log line; level 0 debug, 1 info, 2 warn, 3 error. */
    void (*log)(const struct mf_plugin_host *host, int level, const char *area, const char *fmt,
                ...);
    /** Monotonic time, nanoseconds. */
    uint64_t (*now_ns)(const struct mf_plugin_host *host);
    /** Value of the environment variable `name`, or NULL. Borrowed. */
    const char *(*getenv)(const struct mf_plugin_host *host, const char *name);
};

/** What a shared object exports, as a const object named mf_plugin_v<MF_PLUGIN_ABI>. */
struct mf_plugin {
    uint32_t abi;                             /**< MF_PLUGIN_ABI it was built with */
    uint32_t size;                            /**< sizeof(struct mf_plugin) it was built with */
    const char *name;                         /**< of the plug-in, [a-z0-9_]{1,15} */
    const char *version;                      /**< free text */
    const struct mf_device_ops *device;       /**< or NULL */
    const struct mf_transport_ops *transport; /**< or NULL */
};

#define MF_PLUGIN_CONCAT2(a, b) a##b
#define MF_PLUGIN_CONCAT(a, b)  MF_PLUGIN_CONCAT2(a, b)
/** The symbol that a plug-in exports: `const struct mf_plugin MF_PLUGIN_SYMBOL = {...};` */
#define MF_PLUGIN_SYMBOL MF_PLUGIN_CONCAT(mf_plugin_v, MF_PLUGIN_ABI)
#if defined(__GNUC__)
#define MF_PLUGIN_EXPORT __attribute__((visibility("default")))
#else
#define MF_PLUGIN_EXPORT
#endif

#ifdef __cplusplus
}
#endif
#endif
