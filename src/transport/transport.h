// SPDX-License-Identifier: Apache-2.0
// The registry of transports.
#ifndef MF_TRANSPORT_TRANSPORT_H
#define MF_TRANSPORT_TRANSPORT_H

#include "base/env.h"
#include "config/config.h"
#include "memfabric/mf_transport.h"

struct mf_plugin_lib;

/** A transport that may be opened: a complete table (no member NULL). */
struct mf_transport_entry {
    struct mf_transport_ops ops;
    struct mf_plugin_lib *lib; /* NULL for a built-in */
};

struct mf_transport_registry;

/** Built-ins plus the plug-in of the option transport.plugin. A plug-in of another ABI, or one that
 * lacks a required member, fails the create with a sentence. */
int mf_transport_registry_create(const struct mf_env *env, const struct mf_config *config,
                                 struct mf_transport_registry **out);
void mf_transport_registry_destroy(struct mf_transport_registry *registry);

/** The transport for one operator bit (SMEMB_DATA_OP_*), or NULL with the sentence why there is
 * none. A plug-in stands before a built-in with the same operator. */
const struct mf_transport_entry *mf_transport_find(const struct mf_transport_registry *registry,
                                                   uint32_t data_op);
/** All of them, for mfcli info. NULL beyond the last. */
const struct mf_transport_entry *mf_transport_at(const struct mf_transport_registry *registry,
                                                 uint32_t i);

#endif
