// SPDX-License-Identifier: Apache-2.0
// The registry of transports: the plug-in that the options name, then the built-ins in order of
// preference. Each table is checked and completed here, so that callers never test for NULL.
#include "transport/transport.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/plugin.h"
#include "transport/direct/direct.h"

struct mf_transport_registry {
    uint32_t count;
    struct mf_transport_entry entries[MF_TRANSPORTS_MAX];
};

static const struct mf_transport_ops *const builtins[] = {
    &mf_direct_ops,
};

static const struct {
    uint32_t bit;
    const char *name;
} operators[] = {
    {1, "SDMA"},       {2, "HOST_RDMA"}, {4, "HOST_TCP"},     {8, "DEVICE_RDMA"},
    {16, "HOST_URMA"}, {32, "HOST_SHM"}, {64, "DEVICE_URMA"}, {128, "DEVICE_UBOE"},
};

/* A member that every transport has: its place in the table and its name. */
struct member {
    size_t offset;
    const char *name;
};
#define MEMBER(name)                                   \
    {                                                  \
        offsetof(struct mf_transport_ops, name), #name \
    }
static const struct member required[] = {
    MEMBER(name),       MEMBER(probe),    MEMBER(open),   MEMBER(close),  MEMBER(endpoint),
    MEMBER(publish),    MEMBER(withdraw), MEMBER(attach), MEMBER(detach), MEMBER(lane_open),
    MEMBER(lane_close), MEMBER(post),     MEMBER(wait),
};

static int no_explain(void *tp, uint32_t rank, char *buf, size_t cap)
{
    (void)tp;
    snprintf(buf, cap, "rank %u: the transport says nothing about it", rank);
    return SMEM_OK;
}

static int no_copy_small(void *lane, struct mf_segment *segment, uint64_t gva, void *local,
                         uint32_t size, int write)
{
    (void)lane;
    (void)segment;
    (void)gva;
    (void)local;
    (void)size;
    (void)write;
    return SMEM_NOT_EXIST;
}

static int no_post_many(void *lane, struct mf_xfer_many *many)
{
    (void)lane;
    (void)many;
    return SMEM_NOT_EXIST;
}

static int no_settle(void *tp, uint64_t addr, uint64_t size, uint64_t deadline_ns)
{
    (void)tp;
    (void)addr;
    (void)size;
    (void)deadline_ns;
    return SMEM_OK;
}

static void no_close_fds(void *tp)
{
    (void)tp;
}

static bool is_missing(const struct mf_transport_ops *ops, size_t offset)
{
    static const char none[sizeof(void *)];
    return memcmp((const char *)ops + offset, none, sizeof(none)) == 0;
}

/* Check a table and add its completed copy. A shorter table is an older one of the same ABI. */
static int add(struct mf_transport_registry *registry, const struct mf_transport_ops *ops,
               struct mf_plugin_lib *lib, const char *from)
{
    struct mf_transport_entry *entry = &registry->entries[registry->count];
    if (ops->abi != MF_PLUGIN_ABI) {
        return mf_err(SMEM_INVALID_PARAM,
                      "transport of %s has ABI %u and this library has %u: build it against the "
                      "headers of this version",
                      from, ops->abi, MF_PLUGIN_ABI);
    }
    size_t size = ops->size < sizeof(entry->ops) ? ops->size : sizeof(entry->ops);
    memset(&entry->ops, 0, sizeof(entry->ops));
    memcpy(&entry->ops, ops, size);
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
        if (is_missing(&entry->ops, required[i].offset)) {
            return mf_err(SMEM_INVALID_PARAM,
                          "transport of %s lacks the required member %s of struct mf_transport_ops",
                          from, required[i].name);
        }
    }
    if (entry->ops.data_ops == 0) {
        return mf_err(SMEM_INVALID_PARAM,
                      "transport %s of %s serves no operator: data_ops of its table is 0",
                      entry->ops.name, from);
    }
    entry->ops.size = sizeof(entry->ops);
    entry->ops.explain = entry->ops.explain ? entry->ops.explain : no_explain;
    entry->ops.close_fds = entry->ops.close_fds ? entry->ops.close_fds : no_close_fds;
    entry->ops.copy_small = entry->ops.copy_small ? entry->ops.copy_small : no_copy_small;
    entry->ops.post_many = entry->ops.post_many ? entry->ops.post_many : no_post_many;
    entry->ops.settle = entry->ops.settle ? entry->ops.settle : no_settle;
    entry->lib = lib;
    registry->count++;
    return SMEM_OK;
}

static int add_plugin(struct mf_transport_registry *registry, const char *path)
{
    struct mf_plugin_lib *lib;
    const struct mf_plugin *plugin;
    int rc = mf_plugin_open(path, &lib, &plugin);
    if (rc == SMEM_OK && !plugin->transport) {
        rc = mf_err(SMEM_INVALID_PARAM, "plug-in %s (%s) has no transport", path, plugin->name);
    } else if (rc == SMEM_OK) {
        rc = add(registry, plugin->transport, lib, path);
    } else {
        lib = NULL;
    }
    if (rc) {
        if (lib) {
            mf_plugin_close(lib);
        }
        return mf_err_in(rc, "option transport.plugin");
    }
    return SMEM_OK;
}

int mf_transport_registry_create(const struct mf_env *env, const struct mf_config *config,
                                 struct mf_transport_registry **out)
{
    const char *path = mf_config_str(config, MF_OPT_TRANSPORT);
    int rc = SMEM_OK;
    *out = NULL;
    struct mf_transport_registry *registry = mf_calloc(1, sizeof(*registry), "transport registry");
    if (!registry) {
        return SMEM_MALLOC_FAILED;
    }
    if (path[0] != '\0') {
        rc = add_plugin(registry, path);
    }
    for (size_t i = 0; rc == SMEM_OK && i < sizeof(builtins) / sizeof(builtins[0]); i++) {
        rc = add(registry, builtins[i], NULL, "this library");
    }
    if (rc) {
        mf_transport_registry_destroy(registry);
        return rc;
    }
    mf_log(env->log, MF_LOG_DEBUG, "transport", "%u transports, first %s", registry->count,
           registry->entries[0].ops.name);
    *out = registry;
    return SMEM_OK;
}

void mf_transport_registry_destroy(struct mf_transport_registry *registry)
{
    if (!registry) {
        return;
    }
    for (uint32_t i = 0; i < registry->count; i++) {
        if (registry->entries[i].lib) {
            mf_plugin_close(registry->entries[i].lib);
        }
    }
    mf_free(registry);
}

static const char *operator_name(uint32_t data_op)
{
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
        if (operators[i].bit == data_op) {
            return operators[i].name;
        }
    }
    return "unknown";
}

const struct mf_transport_entry *mf_transport_find(const struct mf_transport_registry *registry,
                                                   uint32_t data_op)
{
    char have[256] = "";
    for (uint32_t i = 0; i < registry->count; i++) {
        const struct mf_transport_entry *entry = &registry->entries[i];
        if (entry->ops.data_ops & data_op) {
            return entry;
        }
        size_t used = strlen(have);
        snprintf(have + used, sizeof(have) - used, "%s%s", used ? ", " : "", entry->ops.name);
    }
    mf_err(SMEM_NOT_EXIST,
           "no transport for operator %s (%u): there are %s; a plug-in for it is named with "
           "transport.plugin (MF_TRANSPORT_PLUGIN)",
           operator_name(data_op), data_op, have);
    return NULL;
}

const struct mf_transport_entry *mf_transport_at(const struct mf_transport_registry *registry,
                                                 uint32_t i)
{
    return i < registry->count ? &registry->entries[i] : NULL;
}
