// SPDX-License-Identifier: Apache-2.0
// Loading a plug-in by path: finds the entry symbol with our ABI number, or says which ABI it has.
#ifndef MF_BASE_PLUGIN_H
#define MF_BASE_PLUGIN_H

#include "base/env.h"
#include "memfabric/mf_plugin.h"

struct mf_plugin_lib;

/** dlopen `path` (must contain a '/') and check abi and size. *out owns the library until close;
 *  *plugin is borrowed from it. SMEM_NOT_EXIST when it cannot be opened, SMEM_INVALID_PARAM when it
 * is not a plug-in or has another ABI number: the sentence names both numbers. */
int mf_plugin_open(const char *path, struct mf_plugin_lib **out, const struct mf_plugin **plugin);
void mf_plugin_close(struct mf_plugin_lib *lib);

/** The services that a plug-in gets from us. */
void mf_plugin_host_init(struct mf_plugin_host *host, const struct mf_env *env);

#endif
