// SPDX-License-Identifier: Apache-2.0
// Making and checking control pages, and the barrier that lets the copying side go without a fence.
#include "transport/direct/control.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"

#define SIZE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

static int map_page(int fd, struct mf_fence_page **out)
{
    void *at = mmap(NULL, sizeof(**out), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno, "map a control page of %zu bytes",
                          sizeof(**out));
    }
    (void)madvise(at, sizeof(**out), MADV_DONTFORK); /* a child that copies would speak for us */
    *out = at;
    return SMEM_OK;
}

int mf_direct_control_create(const struct mf_fence_identity *who, int *fd,
                             struct mf_fence_page **out)
{
    struct mf_fence_page *control = NULL;
    int page = memfd_create("memfabric control", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (page < 0) {
        return mf_err_sys(SMEM_NO_RESOURCES, errno,
                          "make the control page: memfd_create (limit: ulimit -n)");
    }
    int rc = SMEM_OK;
    if (ftruncate(page, sizeof(*control)) || fcntl(page, F_ADD_SEALS, SIZE_SEALS | F_SEAL_SEAL)) {
        rc = mf_err_sys(SMEM_NO_RESOURCES, errno, "make the control page of %zu bytes",
                        sizeof(*control));
    } else {
        rc = map_page(page, &control);
    }
    if (rc) {
        close(page);
        return rc;
    }
    struct mf_fence_identity self = *who;
    self.start_time = mf_direct_start_time(0);
    mf_fence_page_init(control, &self);
    *fd = page;
    *out = control;
    return SMEM_OK;
}

int mf_direct_control_map(int fd, struct mf_fence_page **out)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SIZE_SEALS) != SIZE_SEALS || fstat(fd, &st) != 0 ||
        st.st_size != (off_t)sizeof(struct mf_fence_page)) {
        return mf_err(SMEM_INVALID_PARAM,
                      "control page: the descriptor is no sealed memfd of %zu bytes",
                      sizeof(struct mf_fence_page));
    }
    int rc = map_page(fd, out);
    if (rc) {
        return rc;
    }
    const struct mf_fence_page *control = *out;
    if (control->magic == MF_FENCE_MAGIC && control->version == MF_FENCE_VERSION &&
        control->rank < MF_WORLD_MAX) {
        return SMEM_OK;
    }
    rc = mf_err(SMEM_INVALID_PARAM,
                "control page: magic 0x%" PRIx64
                ", version %u, rank %u; this library has version %u",
                control->magic, control->version, control->rank, MF_FENCE_VERSION);
    mf_direct_control_unmap(*out);
    *out = NULL;
    return rc;
}

void mf_direct_control_unmap(struct mf_fence_page *control)
{
    if (control) {
        munmap(control, sizeof(*control));
    }
}

bool mf_direct_barrier_register(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}

void mf_direct_barrier(void)
{
    atomic_thread_fence(memory_order_seq_cst);
    /* Where it is not there, the pages say so and whoever announces has fenced. */
    (void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
}

uint32_t mf_direct_own_pid(void)
{
    char text[24];
    unsigned pid = 0;
    ssize_t n = readlink("/proc/self", text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    return sscanf(text, "%u", &pid) == 1 ? pid : 0;
}

uint64_t mf_direct_start_time(int pid)
{
    char path[40];
    char text[1024];
    uint64_t start = 0;
    if (pid) {
        snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    } else {
        snprintf(path, sizeof(path), "/proc/self/stat");
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    /* Field 22; the second one is the name in brackets, which may hold anything. */
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at && sscanf(at, " %" SCNu64, &start) != 1) {
        start = 0;
    }
    return start;
}
