// SPDX-License-Identifier: Apache-2.0
// The open devices of one context, shared by reference count. Opening and closing call the plug-in,
// so they happen outside of the lock: of two threads that open the same device at once, the later
// one closes its own and takes the other's.
#include "device/device.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/thread.h"

struct entry {
    _Atomic(struct entry *) next; /* close_fds walks it without the lock */
    struct mf_dev *dev;
    uint32_t refs;
    char plugin[MF_OPT_STR_MAX]; /* as asked for: a path, or a built-in's name */
};

struct mf_dev_registry {
    const struct mf_env *env;
    const struct mf_config *config;
    struct mf_mutex lock; /* guards entries and their refs */
    _Atomic(struct entry *) entries;
    _Atomic uint32_t count;
};

int mf_dev_registry_create(const struct mf_env *env, const struct mf_config *config,
                           struct mf_dev_registry **out)
{
    *out = NULL;
    struct mf_dev_registry *registry = mf_calloc(1, sizeof(*registry), "device registry");
    if (!registry) {
        return SMEM_MALLOC_FAILED;
    }
    registry->env = env;
    registry->config = config;
    mf_mutex_init(&registry->lock, MF_RANK_DEVICE);
    *out = registry;
    return SMEM_OK;
}

void mf_dev_registry_destroy(struct mf_dev_registry *registry)
{
    if (!registry) {
        return;
    }
    struct entry *entry = registry->entries;
    while (entry) {
        struct entry *next = entry->next;
        mf_dev_close(entry->dev);
        mf_free(entry);
        entry = next;
    }
    mf_mutex_fini(&registry->lock);
    mf_free(registry);
}

/* The entry for (plugin, ordinal), or NULL. "auto" is found under the name of what it opened. */
static struct entry *find_locked(struct mf_dev_registry *registry, const char *plugin,
                                 uint32_t ordinal)
{
    for (struct entry *e = registry->entries; e; e = e->next) {
        if (e->dev->info.ordinal == ordinal && strcmp(e->plugin, plugin) == 0) {
            return e;
        }
    }
    return NULL;
}

static struct mf_dev *share(struct mf_dev_registry *registry, const char *plugin, uint32_t ordinal)
{
    mf_mutex_lock(&registry->lock);
    struct entry *entry = find_locked(registry, plugin, ordinal);
    if (entry) {
        entry->refs++;
    }
    mf_mutex_unlock(&registry->lock);
    return entry ? entry->dev : NULL;
}

/* Put dev into the list, unless another thread was faster: then its device is the result. */
static struct mf_dev *insert(struct mf_dev_registry *registry, struct entry *fresh)
{
    mf_mutex_lock(&registry->lock);
    struct entry *there = find_locked(registry, fresh->plugin, fresh->dev->info.ordinal);
    if (there) {
        there->refs++;
    } else {
        fresh->next = registry->entries;
        registry->entries = fresh;
        registry->count++;
    }
    mf_mutex_unlock(&registry->lock);
    return there ? there->dev : fresh->dev;
}

int mf_dev_registry_get(struct mf_dev_registry *registry, const char *plugin, uint32_t ordinal,
                        struct mf_dev **out)
{
    *out = share(registry, plugin, ordinal);
    if (*out) {
        return SMEM_OK;
    }
    struct entry *fresh = mf_calloc(1, sizeof(*fresh), "device entry");
    if (!fresh) {
        return SMEM_MALLOC_FAILED;
    }
    int rc = mf_dev_open(registry->env, registry->config, plugin, ordinal, &fresh->dev);
    if (rc || !fresh->dev) {
        mf_free(fresh);
        return rc;
    }
    bool is_path = strchr(plugin, '/') != NULL;
    snprintf(fresh->plugin, sizeof(fresh->plugin), "%s", is_path ? plugin : fresh->dev->ops.name);
    fresh->refs = 1;
    *out = insert(registry, fresh);
    if (*out != fresh->dev) {
        mf_dev_close(fresh->dev);
        mf_free(fresh);
    }
    return SMEM_OK;
}

void mf_dev_registry_put(struct mf_dev_registry *registry, struct mf_dev *dev)
{
    if (!dev) {
        return;
    }
    mf_mutex_lock(&registry->lock);
    _Atomic(struct entry *) *link = &registry->entries;
    while (*link && (*link)->dev != dev) {
        link = &(*link)->next;
    }
    struct entry *entry = *link;
    MF_ASSERT(entry && entry->refs > 0);
    bool last = --entry->refs == 0;
    if (last) {
        *link = entry->next;
        registry->count--;
    }
    mf_mutex_unlock(&registry->lock);
    if (last) {
        mf_dev_close(entry->dev);
        mf_free(entry);
    }
}

bool mf_dev_registry_owned_by_other(struct mf_dev_registry *registry, const struct mf_dev *dev,
                                    uint64_t addr, char *name, size_t name_len)
{
    struct mf_dev *others[MF_DEVICES_MAX];
    uint32_t n = 0;
    bool owned = false;
    if (registry->count < 2) {
        return false;
    }
    mf_mutex_lock(&registry->lock);
    for (struct entry *e = registry->entries; e && n < MF_DEVICES_MAX; e = e->next) {
        if (e->dev != dev) {
            e->refs++;
            others[n++] = e->dev;
        }
    }
    mf_mutex_unlock(&registry->lock);
    for (uint32_t i = 0; i < n; i++) {
        if (!owned && mf_dev_owns(others[i], addr, 1)) {
            snprintf(name, name_len, "%s:%u", others[i]->info.plugin, others[i]->info.ordinal);
            owned = true;
        }
        mf_dev_registry_put(registry, others[i]);
    }
    return owned;
}

void mf_dev_registry_close_fds(struct mf_dev_registry *registry)
{
    if (!registry) {
        return;
    }
    for (struct entry *e = registry->entries; e; e = e->next) {
        e->dev->ops.close_fds(e->dev->impl);
    }
}
