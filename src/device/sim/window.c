// SPDX-License-Identifier: Apache-2.0
// Device addresses: windows reserved inaccessibly in the process, memory mapped into them (in a
// table only: nothing is ever accessible there), and the translation that the copy engine works
// with.
#include "device/sim/sim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static int check_range(struct mf_sim_dev *dev, const char *what, uint64_t addr, uint64_t size)
{
    if (size == 0 || addr % MF_SIM_GRANULARITY || size % MF_SIM_GRANULARITY || addr + size < addr) {
        return mf_err(SMEM_INVALID_PARAM,
                      "sim:%u: %s 0x%" PRIx64 " +%" PRIu64
                      " bytes: address and size must be multiples of %llu",
                      dev->ordinal, what, addr, size, (unsigned long long)MF_SIM_GRANULARITY);
    }
    return SMEM_OK;
}

/* The first mapping of the process that overlaps the range, as /proc/self/maps shows it. */
static void describe_taken(uint64_t addr, uint64_t size, char *buf, size_t len)
{
    char line[512];
    snprintf(buf, len, "another mapping");
    FILE *maps = fopen("/proc/self/maps", "re");
    if (!maps) {
        return;
    }
    while (fgets(line, sizeof(line), maps)) {
        uint64_t from;
        uint64_t to;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64, &from, &to) == 2 && from < addr + size &&
            to > addr) {
            line[strcspn(line, "\n")] = 0;
            snprintf(buf, len, "%.*s", (int)len - 1, line);
            break;
        }
    }
    fclose(maps);
}

static int reserve_at(struct mf_sim_dev *dev, uint64_t want, uint64_t size)
{
    void *got = mmap((void *)(uintptr_t)want, size, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == (void *)(uintptr_t)want) {
        return SMEM_OK;
    }
    int sys = errno;
    if (got != MAP_FAILED) { /* a kernel without MAP_FIXED_NOREPLACE chose another place */
        munmap(got, size);
        sys = EEXIST;
    }
    if (sys == EEXIST) {
        char taken[256];
        describe_taken(want, size, taken, sizeof(taken));
        return mf_err(SMEM_RES_IN_USE,
                      "sim:%u: reserve 0x%" PRIx64 " +%" PRIu64 " bytes: in the way is %s",
                      dev->ordinal, want, size, taken);
    }
    return mf_err_sys(SMEM_NO_RESOURCES, sys, "sim:%u: reserve 0x%" PRIx64 " +%" PRIu64 " bytes",
                      dev->ordinal, want, size);
}

/* Reserve more, and give back what stands before and behind the aligned part. */
static int reserve_anywhere(struct mf_sim_dev *dev, uint64_t size, uint64_t *granted)
{
    void *got = mmap(NULL, size + MF_SIM_GRANULARITY, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (got == MAP_FAILED) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno,
                          "sim:%u: reserve %" PRIu64 " bytes of addresses", dev->ordinal, size);
    }
    uint64_t base = (uintptr_t)got;
    uint64_t aligned = (base + MF_SIM_GRANULARITY - 1) & ~(MF_SIM_GRANULARITY - 1);
    if (aligned > base) {
        munmap(got, aligned - base);
    }
    if (base + MF_SIM_GRANULARITY > aligned) {
        munmap((void *)(uintptr_t)(aligned + size), base + MF_SIM_GRANULARITY - aligned);
    }
    *granted = aligned;
    return SMEM_OK;
}

int mf_sim_window_reserve(void *impl, uint64_t want, uint64_t size, uint64_t *granted)
{
    struct mf_sim_dev *dev = impl;
    *granted = 0;
    int rc = check_range(dev, "reserve", want, size);
    if (rc) {
        return rc;
    }
    uint64_t base = dev->grant_shift ? 0 : want;
    rc = base ? reserve_at(dev, base, size) : reserve_anywhere(dev, size, &base);
    if (rc) {
        return rc;
    }
    madvise((void *)(uintptr_t)base, size, MADV_DONTFORK);
    mf_mutex_lock(&dev->lock);
    bool room = mf_sim_intervals_insert(&dev->windows, base, size, NULL, 0);
    mf_mutex_unlock(&dev->lock);
    if (!room) {
        munmap((void *)(uintptr_t)base, size);
        return mf_err(SMEM_NO_RESOURCES, "sim:%u: all %u windows are in use", dev->ordinal,
                      MF_SIM_MAPS_MAX);
    }
    *granted = base;
    return SMEM_OK;
}

/* Take out the first mapping of the range; its memory, with the mapping's reference, or NULL. */
static struct mf_sim_mem *take_mapping(struct mf_sim_dev *dev, uint64_t addr, uint64_t size)
{
    struct mf_sim_mem *mem = NULL;
    mf_mutex_lock(&dev->lock);
    const struct mf_sim_interval *entry = mf_sim_intervals_overlap(&dev->maps, addr, size);
    if (entry) {
        mem = entry->mem;
        mf_sim_intervals_remove(&dev->maps, entry);
    }
    mf_mutex_unlock(&dev->lock);
    return mem;
}

void mf_sim_window_release(void *impl, uint64_t addr, uint64_t size)
{
    struct mf_sim_dev *dev = impl;
    mf_mutex_lock(&dev->lock);
    const struct mf_sim_interval *entry = mf_sim_intervals_next(&dev->windows, addr);
    bool known = entry && entry->base == addr && entry->size == size;
    if (known) {
        mf_sim_intervals_remove(&dev->windows, entry);
    }
    mf_mutex_unlock(&dev->lock);
    if (!known) {
        dev->host->log(dev->host, MF_LOG_ERROR, "device/sim",
                       "release of 0x%" PRIx64 " +%" PRIu64 " bytes, which is no window", addr,
                       size);
        return;
    }
    struct mf_sim_mem *mem;
    while ((mem = take_mapping(dev, addr, size)) != NULL) {
        mf_sim_mem_put(mem);
    }
    munmap((void *)(uintptr_t)addr, size);
}

void mf_sim_window_release_all(struct mf_sim_dev *dev)
{
    while (dev->windows.count > 0) {
        mf_sim_window_release(dev, dev->windows.v[0].base, dev->windows.v[0].size);
    }
}

/* The window that holds all of the range, or NULL. */
static const struct mf_sim_interval *window_locked(struct mf_sim_dev *dev, uint64_t addr,
                                                   uint64_t size)
{
    const struct mf_sim_interval *entry = mf_sim_intervals_next(&dev->windows, addr);
    return entry && entry->base <= addr && addr + size <= entry->base + entry->size ? entry : NULL;
}

static int map_locked(struct mf_sim_dev *dev, uint64_t addr, struct mf_sim_mem *mem,
                      uint64_t offset, uint64_t size)
{
    if (!window_locked(dev, addr, size)) {
        return mf_err(SMEM_INVALID_PARAM,
                      "sim:%u: map 0x%" PRIx64 " +%" PRIu64 " bytes: not inside a reserved window",
                      dev->ordinal, addr, size);
    }
    const struct mf_sim_interval *there = mf_sim_intervals_overlap(&dev->maps, addr, size);
    if (there) {
        return mf_err(SMEM_DUPLICATED,
                      "sim:%u: map 0x%" PRIx64 " +%" PRIu64 " bytes: 0x%" PRIx64 " +%" PRIu64
                      " is mapped already",
                      dev->ordinal, addr, size, there->base, there->size);
    }
    if (!mf_sim_intervals_insert(&dev->maps, addr, size, mem, offset)) {
        return mf_err(SMEM_NO_RESOURCES, "sim:%u: all %u mappings are in use", dev->ordinal,
                      MF_SIM_MAPS_MAX);
    }
    mf_sim_mem_get(mem);
    return SMEM_OK;
}

int mf_sim_map(void *impl, uint64_t addr, mf_dev_mem handle, uint64_t offset, uint64_t size)
{
    struct mf_sim_dev *dev = impl;
    struct mf_sim_mem *mem = handle;
    int rc = check_range(dev, "map", addr, size);
    if (rc) {
        return rc;
    }
    if (offset % MF_SIM_GRANULARITY || size > mem->size || offset > mem->size - size) {
        return mf_err(SMEM_INVALID_PARAM,
                      "sim:%u: map bytes %" PRIu64 " +%" PRIu64 " of memory of %" PRIu64
                      " bytes: outside of it, or the offset is no multiple of %llu",
                      dev->ordinal, offset, size, mem->size,
                      (unsigned long long)MF_SIM_GRANULARITY);
    }
    mf_mutex_lock(&dev->lock);
    rc = map_locked(dev, addr, mem, offset, size);
    mf_mutex_unlock(&dev->lock);
    return rc;
}

int mf_sim_unmap(void *impl, uint64_t addr, uint64_t size)
{
    struct mf_sim_dev *dev = impl;
    struct mf_sim_mem *mem = NULL;
    mf_mutex_lock(&dev->lock);
    const struct mf_sim_interval *entry = mf_sim_intervals_next(&dev->maps, addr);
    if (entry && entry->base == addr && entry->size == size) {
        mem = entry->mem;
        mf_sim_intervals_remove(&dev->maps, entry);
    }
    mf_mutex_unlock(&dev->lock);
    if (!mem) {
        return mf_err(SMEM_INVALID_PARAM,
                      "sim:%u: unmap 0x%" PRIx64 " +%" PRIu64 " bytes: that is no whole mapping",
                      dev->ordinal, addr, size);
    }
    mf_sim_mem_put(mem);
    return SMEM_OK;
}

int mf_sim_query(void *impl, uint64_t addr, struct mf_device_range *range)
{
    const struct mf_sim_dev *dev = impl;
    return mf_sim_intervals_find(&dev->maps, addr, &range->base, &range->size) ? SMEM_OK
                                                                               : SMEM_NOT_EXIST;
}

int mf_sim_check_locked(struct mf_sim_dev *dev, uint64_t addr, uint64_t size, bool *device)
{
    *device = false;
    if (addr + size < addr || addr == 0) {
        return mf_err(SMEM_INVALID_PARAM, "sim:%u: 0x%" PRIx64 " +%" PRIu64 " bytes is no memory",
                      dev->ordinal, addr, size);
    }
    if (!mf_sim_intervals_overlap(&dev->windows, addr, size)) {
        return SMEM_OK;
    }
    uint64_t end = addr + size;
    uint64_t at = addr;
    if (window_locked(dev, addr, size)) {
        const struct mf_sim_interval *entry;
        while (at < end && (entry = mf_sim_intervals_next(&dev->maps, at)) && entry->base <= at) {
            at = entry->base + entry->size;
        }
    }
    if (at < end) {
        return mf_err(SMEM_INVALID_PARAM,
                      "sim:%u: 0x%" PRIx64 " +%" PRIu64
                      " bytes leaves the device memory that is mapped there, at 0x%" PRIx64,
                      dev->ordinal, addr, size, at);
    }
    *device = true;
    return SMEM_OK;
}

uint8_t *mf_sim_translate_locked(struct mf_sim_dev *dev, uint64_t addr, uint64_t *size,
                                 struct mf_sim_mem **pin)
{
    const struct mf_sim_interval *entry = mf_sim_intervals_next(&dev->maps, addr);
    if (!entry || entry->base > addr) {
        *pin = NULL;
        return (uint8_t *)(uintptr_t)addr;
    }
    struct mf_sim_mem *mem = entry->mem;
    uint64_t into = addr - entry->base;
    if (*size > entry->size - into) {
        *size = entry->size - into;
    }
    mf_sim_mem_get(mem);
    *pin = mem;
    return mem->alias + entry->offset + into;
}
