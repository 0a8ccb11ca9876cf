// SPDX-License-Identifier: Apache-2.0
// Physical memory of a simulated device: a memfd sealed against changes of its size, populated when
// it is made, reached by the engines through one alias mapping. Other processes get the memfd.
#include "device/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/err.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define SIZE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)
/* Populated between two looks at what the host can still give. */
#define POPULATE_STEP (256ull << 20)
/* Left to the rest of the machine. */
#define HOST_RESERVE (64ull << 20)

static int take_budget(struct mf_sim_dev *dev, uint64_t size)
{
    mf_mutex_lock(&dev->lock);
    uint64_t left = dev->memory - dev->used;
    if (size <= left) {
        dev->used += size;
    }
    mf_mutex_unlock(&dev->lock);
    if (size > left) {
        return mf_err(SMEM_MALLOC_FAILED,
                      "sim:%u: %" PRIu64 " bytes wanted, %" PRIu64 " of %" PRIu64
                      " are free: free some, or raise sim.memory (MF_SIM_MEMORY)",
                      dev->ordinal, size, left, dev->memory);
    }
    return SMEM_OK;
}

static void give_budget(struct mf_sim_dev *dev, uint64_t size)
{
    mf_mutex_lock(&dev->lock);
    dev->used -= size;
    mf_mutex_unlock(&dev->lock);
}

static int make_memfd(struct mf_sim_dev *dev, uint64_t size, int *out)
{
    char name[32];
    snprintf(name, sizeof(name), "memfabric sim:%u", dev->ordinal);
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno, "sim:%u: memfd_create", dev->ordinal);
    }
    if (ftruncate(fd, (off_t)size) || fcntl(fd, F_ADD_SEALS, SIZE_SEALS | F_SEAL_SEAL)) {
        int rc = mf_err_sys(SMEM_NO_RESOURCES, errno,
                            "sim:%u: make a sealed memfd of %" PRIu64 " bytes", dev->ordinal, size);
        close(fd);
        return rc;
    }
    *out = fd;
    return SMEM_OK;
}

static int map_alias(struct mf_sim_dev *dev, int fd, uint64_t size, uint8_t **out)
{
    void *alias = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (alias == MAP_FAILED) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno, "sim:%u: map %" PRIu64 " bytes of memory",
                          dev->ordinal, size);
    }
    madvise(alias, size, MADV_DONTFORK);
    *out = alias;
    return SMEM_OK;
}

/* Kernels before 5.14 cannot populate a mapping: allocate the pages of the file instead. */
static int populate_step(struct mf_sim_mem *mem, uint64_t at, uint64_t len)
{
    while (madvise(mem->alias + at, len, MADV_POPULATE_WRITE)) {
        if (errno == EINVAL) {
            return fallocate(mem->fd, 0, (off_t)at, (off_t)len) ? errno : 0;
        }
        if (errno != EINTR && errno != EAGAIN) {
            return errno;
        }
    }
    return 0;
}

static int populate(struct mf_sim_dev *dev, struct mf_sim_mem *mem)
{
    for (uint64_t at = 0; at < mem->size;) {
        char limit[256];
        uint64_t left = mem->size - at;
        uint64_t step = left < POPULATE_STEP ? left : POPULATE_STEP;
        uint64_t available = mf_sim_host_available("", limit, sizeof(limit));
        if (available < HOST_RESERVE || available - HOST_RESERVE < left) {
            return mf_err(SMEM_MALLOC_FAILED,
                          "sim:%u: %" PRIu64 " bytes wanted, the host has %" PRIu64
                          " left (%s) and keeps %llu of them",
                          dev->ordinal, left, available, limit, HOST_RESERVE);
        }
        int sys = populate_step(mem, at, step);
        if (sys) {
            return mf_err_sys(SMEM_MALLOC_FAILED, sys, "sim:%u: populate %" PRIu64 " bytes",
                              dev->ordinal, mem->size);
        }
        at += step;
    }
    return SMEM_OK;
}

static void add(struct mf_sim_dev *dev, struct mf_sim_mem *mem)
{
    mf_mutex_lock(&dev->lock);
    mem->next = dev->mems;
    dev->mems = mem;
    mf_mutex_unlock(&dev->lock);
}

static struct mf_sim_mem *alloc_mem(struct mf_sim_dev *dev, uint64_t size)
{
    struct mf_sim_mem *mem = mf_calloc(1, sizeof(*mem), "simulated device memory");
    if (mem) {
        mem->dev = dev;
        mem->refs = 1;
        mem->fd = -1;
        mem->size = size;
    }
    return mem;
}

static int check_size(struct mf_sim_dev *dev, uint64_t size)
{
    if (size == 0 || size % MF_SIM_GRANULARITY) {
        return mf_err(SMEM_INVALID_PARAM,
                      "sim:%u: memory of %" PRIu64 " bytes: the size must be a multiple of %llu",
                      dev->ordinal, size, (unsigned long long)MF_SIM_GRANULARITY);
    }
    return SMEM_OK;
}

int mf_sim_mem_create(void *impl, uint64_t size, mf_dev_mem *out)
{
    struct mf_sim_dev *dev = impl;
    *out = NULL;
    int rc = check_size(dev, size);
    if (rc) {
        return rc;
    }
    rc = take_budget(dev, size);
    if (rc) {
        return rc;
    }
    struct mf_sim_mem *mem = alloc_mem(dev, size);
    if (!mem) {
        rc = SMEM_MALLOC_FAILED;
        goto return_budget;
    }
    rc = make_memfd(dev, size, &mem->fd);
    if (rc) {
        goto free_struct;
    }
    rc = map_alias(dev, mem->fd, size, &mem->alias);
    if (rc) {
        goto close_fd;
    }
    rc = populate(dev, mem);
    if (rc) {
        goto unmap;
    }
    add(dev, mem);
    *out = mem;
    return SMEM_OK;
unmap:
    munmap(mem->alias, size);
close_fd:
    close(mem->fd);
free_struct:
    mf_free(mem);
return_budget:
    give_budget(dev, size);
    return rc;
}

static void free_mem(struct mf_sim_mem *mem)
{
    munmap(mem->alias, mem->size);
    if (mem->fd >= 0) {
        close(mem->fd);
    }
    mf_free(mem);
}

void mf_sim_mem_put(struct mf_sim_mem *mem)
{
    if (!mem || atomic_fetch_sub_explicit(&mem->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct mf_sim_dev *dev = mem->dev;
    mf_mutex_lock(&dev->lock);
    _Atomic(struct mf_sim_mem *) *link = &dev->mems;
    while (*link != mem) {
        link = &(*link)->next;
    }
    *link = mem->next;
    dev->used -= mem->fd >= 0 ? mem->size : 0;
    mf_mutex_unlock(&dev->lock);
    free_mem(mem);
}

void mf_sim_mem_destroy(void *impl, mf_dev_mem mem)
{
    (void)impl;
    mf_sim_mem_put(mem);
}

void mf_sim_mem_free_all(struct mf_sim_dev *dev)
{
    struct mf_sim_mem *mem = dev->mems;
    while (mem) {
        struct mf_sim_mem *next = mem->next;
        free_mem(mem);
        mem = next;
    }
}

int mf_sim_mem_export(void *impl, mf_dev_mem handle, int *fd)
{
    struct mf_sim_dev *dev = impl;
    const struct mf_sim_mem *mem = handle;
    *fd = -1;
    if (mem->fd < 0) {
        return mf_err(SMEM_INVALID_PARAM,
                      "sim:%u: imported memory cannot be exported again: its owner exports it",
                      dev->ordinal);
    }
    *fd = fcntl(mem->fd, F_DUPFD_CLOEXEC, 0);
    if (*fd < 0) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno,
                          "sim:%u: export memory: raise the limit of open files (ulimit -n)",
                          dev->ordinal);
    }
    return SMEM_OK;
}

/* A stranger's descriptor must not be able to shrink under a copy. */
static int check_import(struct mf_sim_dev *dev, int fd, uint64_t size)
{
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;
    if (seals < 0 || fstat(fd, &st)) {
        return mf_err_sys(SMEM_INVALID_PARAM, errno,
                          "sim:%u: import memory: descriptor %d is no memory of a simulated device",
                          dev->ordinal, fd);
    }
    if ((seals & SIZE_SEALS) != SIZE_SEALS) {
        return mf_err(SMEM_INVALID_PARAM,
                      "sim:%u: import memory: descriptor %d is not sealed against shrinking and "
                      "growing (seals 0x%x)",
                      dev->ordinal, fd, (unsigned)seals);
    }
    if ((uint64_t)st.st_size != size) {
        return mf_err(SMEM_INVALID_PARAM,
                      "sim:%u: import memory: descriptor %d has %" PRIu64 " bytes, not %" PRIu64,
                      dev->ordinal, fd, (uint64_t)st.st_size, size);
    }
    return SMEM_OK;
}

int mf_sim_mem_import(void *impl, int fd, uint64_t size, mf_dev_mem *out)
{
    struct mf_sim_dev *dev = impl;
    *out = NULL;
    int rc = check_size(dev, size);
    if (rc) {
        return rc;
    }
    rc = check_import(dev, fd, size);
    if (rc) {
        return rc;
    }
    struct mf_sim_mem *mem = alloc_mem(dev, size);
    if (!mem) {
        return SMEM_MALLOC_FAILED;
    }
    rc = map_alias(dev, fd, size, &mem->alias);
    if (rc) {
        mf_free(mem);
        return rc;
    }
    add(dev, mem);
    *out = mem;
    return SMEM_OK;
}

int mf_sim_mem_punch(void *impl, mf_dev_mem handle)
{
    struct mf_sim_dev *dev = impl;
    struct mf_sim_mem *mem = handle;
    if (madvise(mem->alias, mem->size, MADV_REMOVE)) {
        return mf_err_sys(SMEM_ERROR, errno, "sim:%u: give back %" PRIu64 " bytes", dev->ordinal,
                          mem->size);
    }
    return SMEM_OK;
}

void mf_sim_close_fds(void *impl)
{
    struct mf_sim_dev *dev = impl;
    for (struct mf_sim_mem *mem = dev->mems; mem; mem = mem->next) {
        if (mem->fd >= 0) {
            close(mem->fd);
        }
    }
}
