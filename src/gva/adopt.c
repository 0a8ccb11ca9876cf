// SPDX-License-Identifier: Apache-2.0
// Memory behind a descriptor of the user. A file that somebody can make shorter kills everybody who
// has it mapped, so that only one that is sealed against it, or can be, is taken.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "gva/memory_priv.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#define REMEDY \
    "make it with memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING) and pass that descriptor on"

/* Is it a file that can be read and written? */
static int check_access(const struct mf_memory_cfg *cfg, int fd, struct stat *st)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, st) != 0) {
        return mf_err_sys(SMEM_INVALID_PARAM, errno, "%s: dramShmFd %d", cfg->what, fd);
    }
    if (!S_ISREG(st->st_mode)) {
        return mf_err(SMEM_INVALID_PARAM, "%s: dramShmFd %d is not a file: " REMEDY, cfg->what, fd);
    }
    if ((flags & O_ACCMODE) != O_RDWR || (flags & O_PATH)) {
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: dramShmFd %d is not open for reading and writing: open it with O_RDWR",
                      cfg->what, fd);
    }
    return SMEM_OK;
}

static int check_seals(const struct mf_memory_cfg *cfg, int fd, int seals)
{
    if (seals < 0 || ((seals & F_SEAL_SEAL) && !(seals & F_SEAL_SHRINK))) {
        return mf_err(
            SMEM_INVALID_PARAM,
            "%s: dramShmFd %d cannot be sealed against shrinking (a file of /dev/shm or of "
            "a disk, or a memfd without MFD_ALLOW_SEALING): whoever truncates it would "
            "kill every process that has it mapped; " REMEDY,
            cfg->what, fd);
    }
    if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) {
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: dramShmFd %d is sealed against writing: pool memory is written to",
                      cfg->what, fd);
    }
    return SMEM_OK;
}

/* Make the file large enough; its bytes stay. */
static int check_size(const struct mf_memory_cfg *cfg, int fd, int seals, const struct stat *st)
{
    if (st->st_blksize > (blksize_t)MF_PAGE_LARGE) {
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: dramShmFd %d is made of pages of %" PRIu64
                      " bytes: 2 MiB (MFD_HUGE_2MB) are the largest that a pool takes",
                      cfg->what, fd, (uint64_t)st->st_blksize);
    }
    if ((uint64_t)st->st_size >= cfg->size) {
        return SMEM_OK;
    }
    if (seals & F_SEAL_GROW) {
        return mf_err(SMEM_INVALID_PARAM,
                      "%s: dramShmFd %d holds %" PRIu64
                      " bytes and is sealed against growing, localDRAMSize is %" PRIu64
                      ": make it larger before it is sealed",
                      cfg->what, fd, (uint64_t)st->st_size, cfg->size);
    }
    int rc = mf_memory_check_file_limit(cfg);
    if (rc == SMEM_OK && ftruncate(fd, (off_t)cfg->size) != 0) {
        rc = mf_err_sys(SMEM_MALLOC_FAILED, errno, "%s: make dramShmFd %d %" PRIu64 " bytes large",
                        cfg->what, fd, cfg->size);
    }
    return rc;
}

static int check_file(const struct mf_memory_cfg *cfg, int fd)
{
    struct stat st;
    int rc = check_access(cfg, fd, &st);
    if (rc != SMEM_OK) {
        return rc;
    }
    int seals = fcntl(fd, F_GET_SEALS);
    rc = check_seals(cfg, fd, seals);
    if (rc == SMEM_OK) {
        rc = check_size(cfg, fd, seals, &st);
    }
    if (rc == SMEM_OK && !(seals & F_SEAL_SHRINK) && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
        rc = mf_err_sys(SMEM_INVALID_PARAM, errno,
                        "%s: seal dramShmFd %d against shrinking: " REMEDY, cfg->what, fd);
    }
    /* It may have been truncated between the look and the seal. */
    if (rc == SMEM_OK && (fstat(fd, &st) != 0 || (uint64_t)st.st_size < cfg->size)) {
        rc = mf_err(SMEM_INVALID_PARAM, "%s: dramShmFd %d was made shorter meanwhile", cfg->what,
                    fd);
    }
    return rc;
}

int mf_memory_adopt(const struct mf_memory_cfg *cfg, int fd, struct mf_memory *out)
{
    struct statfs fs;
    *out = (struct mf_memory){.fd = -1, .size = cfg->size, .user_fd = true};
    int rc = check_file(cfg, fd);
    if (rc == SMEM_OK) {
        rc = mf_memory_settle(cfg, fd);
    }
    if (rc != SMEM_OK) {
        return rc;
    }
    bool huge = fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC;
    out->pages = huge ? MF_PAGES_HUGE_2M : mf_memory_shmem_thp() ? MF_PAGES_THP : MF_PAGES_PLAIN;
    out->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return out->fd >= 0
               ? SMEM_OK
               : mf_err_sys(SMEM_NO_RESOURCES, errno,
                            "%s: duplicate dramShmFd %d (limit: ulimit -n)", cfg->what, fd);
}
