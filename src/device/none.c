// SPDX-License-Identifier: Apache-2.0
// The device plug-in "none": there is no accelerator, and here is how to get one. It has no device,
// so nothing but probe and open is ever called.
#include "device/builtins.h"

#include <stdio.h>

#include "base/err.h"

#define WHY                                                                                     \
    "no accelerator is used (device.plugin is none): set MF_DEVICE=sim to emulate one in host " \
    "memory"

static int none_probe(const struct mf_plugin_host *host, const struct mf_device_params *params,
                      uint32_t *count, char *why, size_t why_len)
{
    (void)host;
    (void)params;
    *count = 0;
    snprintf(why, why_len, "%s", WHY);
    return SMEM_OK;
}

static int none_open(const struct mf_plugin_host *host, const struct mf_device_params *params,
                     uint32_t ordinal, void **dev)
{
    (void)host;
    (void)params;
    (void)ordinal;
    *dev = NULL;
    return mf_err(SMEM_NOT_EXIST, "%s", WHY);
}

const struct mf_device_ops mf_none_device_ops = {
    .abi = MF_PLUGIN_ABI,
    .size = sizeof(struct mf_device_ops),
    .name = "none",
    .probe = none_probe,
    .open = none_open,
};
