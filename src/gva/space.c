// SPDX-License-Identifier: Apache-2.0
// Reserved addresses of this process, at given or at free ones, and mappings in them. A reservation
// never replaces anything; what is put inside it later always does. Nothing here is inherited by a
// forked child.
#include "gva/space.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define RESERVE_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
#define MAPS_LINE_MAX 512

static void *pointer(uint64_t addr)
{
    return (void *)(uintptr_t)addr;
}

static int check_range(const char *what, uint64_t addr, uint64_t size)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (addr == 0 || size == 0 || addr % page || size % page || addr + size < addr) {
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: range 0x%" PRIx64 " + %" PRIu64
                      " bytes is empty, wraps or is not made of "
                      "pages of %" PRIu64 " bytes",
                      what, addr, size, page);
    }
    return SMEM_OK;
}

/* The mapping must not reach a forked child: neither its pages nor its addresses are the child's.
 */
static int hide_from_fork(const char *what, uint64_t addr, uint64_t size)
{
    if (madvise(pointer(addr), size, MADV_DONTFORK) == 0) {
        return SMEM_OK;
    }
    return mf_err_sys(SMEM_ERROR, errno, "%s: madvise(MADV_DONTFORK) of 0x%" PRIx64 " + %" PRIu64,
                      what, addr, size);
}

static int map_over(const char *what, uint64_t addr, uint64_t size, int prot, int flags, int fd,
                    uint64_t offset)
{
    int rc = check_range(what, addr, size);
    if (rc) {
        return rc;
    }
    if (mmap(pointer(addr), size, prot, flags | MAP_FIXED, fd, (off_t)offset) == MAP_FAILED) {
        int cause = errno;
        return mf_err_sys(cause == ENOMEM ? SMEM_MALLOC_FAILED : SMEM_ERROR, cause,
                          "%s: mmap of %" PRIu64 " bytes at 0x%" PRIx64
                          " (limits: vm.max_map_count, ulimit -v, free huge pages)",
                          what, size, addr);
    }
    return hide_from_fork(what, addr, size);
}

static int range_taken(uint64_t addr, uint64_t size)
{
    char who[MAPS_LINE_MAX];
    if (!mf_space_conflict(addr, size, who, sizeof(who))) {
        snprintf(who, sizeof(who), "a mapping that is already gone again");
    }
    return mf_err(SMEM_RES_IN_USE,
                  "reserve %" PRIu64 " bytes of address space at 0x%" PRIx64
                  ": taken by %s; choose another address with gva.base (MF_GVA_BASE), the same on "
                  "every rank",
                  size, addr, who);
}

int mf_space_reserve(uint64_t addr, uint64_t size)
{
    int rc = check_range("reserve address space", addr, size);
    if (rc) {
        return rc;
    }
    void *at = mmap(pointer(addr), size, PROT_NONE, RESERVE_FLAGS | MAP_FIXED_NOREPLACE, -1, 0);
    if (at == MAP_FAILED && errno == EEXIST) {
        return range_taken(addr, size);
    }
    if (at == MAP_FAILED) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno,
                          "reserve %" PRIu64 " bytes of address space at 0x%" PRIx64
                          " (limits: gva.base and gva.span, 47 bits of addresses, ulimit -v; "
                          "with MF_GVA_TRANSLATE=always on every rank no range is reserved as a "
                          "whole)",
                          size, addr);
    }
    if (at != pointer(addr)) {
        munmap(at, size); /* a kernel before 4.17 takes the address as a hint */
        return range_taken(addr, size);
    }
    rc = hide_from_fork("reserve address space", addr, size);
    if (rc) {
        munmap(at, size);
    }
    return rc;
}

/* Reserve more, and give back what stands before and behind the aligned part. */
static int reserve_aligned(uint64_t size, uint64_t *out)
{
    char *at = mmap(NULL, size + MF_PAGE_LARGE, PROT_NONE, RESERVE_FLAGS, -1, 0);
    if (at == MAP_FAILED) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno,
                          "reserve %" PRIu64
                          " bytes of address space (limits: ulimit -v, vm.max_map_count)",
                          size);
    }
    uint64_t before = -(uint64_t)(uintptr_t)at % MF_PAGE_LARGE;
    if (before) {
        munmap(at, before);
    }
    munmap(at + before + size, MF_PAGE_LARGE - before);
    *out = (uint64_t)(uintptr_t)at + before;
    return SMEM_OK;
}

int mf_space_reserve_free(uint64_t near, uint64_t size, uint64_t *at)
{
    static const char what[] = "reserve free address space";
    if (size == 0 || size % MF_PAGE_LARGE || size > UINT64_MAX - MF_PAGE_LARGE) {
        return mf_err(SMEM_INVALID_PARAM, "%s: %" PRIu64 " bytes are no multiple of 2 MiB", what,
                      size);
    }
    int rc = SMEM_OK;
    void *here = near ? mmap(pointer(near), size, PROT_NONE, RESERVE_FLAGS, -1, 0) : MAP_FAILED;
    *at = (uint64_t)(uintptr_t)here;
    if (here == MAP_FAILED || *at % MF_PAGE_LARGE) {
        if (here != MAP_FAILED) {
            munmap(here, size);
        }
        rc = reserve_aligned(size, at);
    }
    if (rc == SMEM_OK) {
        rc = hide_from_fork(what, *at, size);
        if (rc) {
            munmap(pointer(*at), size);
        }
    }
    return rc;
}

int mf_space_release(uint64_t addr, uint64_t size)
{
    int rc = check_range("release address space", addr, size);
    if (rc == SMEM_OK && munmap(pointer(addr), size) != 0) {
        rc = mf_err_sys(SMEM_ERROR, errno,
                        "release address space: munmap of %" PRIu64 " bytes at 0x%" PRIx64, size,
                        addr);
    }
    return rc;
}

int mf_space_map(uint64_t addr, uint64_t size, int fd, uint64_t offset)
{
    return map_over("map a segment", addr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
}

int mf_space_unmap(uint64_t addr, uint64_t size)
{
    return map_over("unmap a segment", addr, size, PROT_NONE, RESERVE_FLAGS, -1, 0);
}

int mf_space_zero(uint64_t addr, uint64_t size)
{
    return map_over("put zero pages", addr, size, PROT_READ | PROT_WRITE, RESERVE_FLAGS, -1, 0);
}

/* One line of /proc/self/maps to the text of the header; false when it does not overlap. */
static bool describe_overlap(const char *line, uint64_t addr, uint64_t size, char *buf, size_t len)
{
    uint64_t from;
    uint64_t to;
    char prot[8];
    int path = 0;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %*s %n", &from, &to, prot, &path) < 3 ||
        from >= addr + size || to <= addr) {
        return false;
    }
    const char *name = path && line[path] ? line + path : "(anonymous)";
    snprintf(buf, len, "%" PRIx64 "-%" PRIx64 " %s %s", from, to, prot, name);
    return true;
}

bool mf_space_conflict(uint64_t addr, uint64_t size, char *buf, size_t len)
{
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    char text[4096];
    size_t have = 0;
    bool found = false;
    ssize_t n;
    while (!found && (n = read(fd, text + have, sizeof(text) - 1 - have)) > 0) {
        have += (size_t)n;
        text[have] = '\0';
        char *line = text;
        char *end;
        while (!found && (end = strchr(line, '\n'))) {
            *end = '\0';
            found = describe_overlap(line, addr, size, buf, len);
            line = end + 1;
        }
        have = (size_t)(text + have - line);
        memmove(text, line, have);
        if (have == sizeof(text) - 1) {
            have = 0; /* no line of the kernel is so long */
        }
    }
    close(fd);
    return found;
}
