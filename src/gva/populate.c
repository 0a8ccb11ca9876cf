// SPDX-License-Identifier: Apache-2.0
// Touching the pages of a segment with several threads, after looking whether there is memory for
// them. The kernel is asked to fault the pages in (or to allocate them, where it cannot do that),
// so that running out is a result code and not a signal.
#include "gva/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/thread.h"
#include "gva/available.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define STEP_BYTES      (32ull << 20) /* what a thread takes at a time */
#define THREADS_DEFAULT 8u
#define THREADS_MAX     64u

struct populate {
    const struct mf_memory *memory;
    uint64_t addr;
    _Atomic uint64_t next; /* offset of the first step that nobody has taken */
    _Atomic int sys_errno; /* first failure; the others stop */
};

static int fault_in(const struct populate *job, uint64_t offset, uint64_t len)
{
    void *at = (void *)(uintptr_t)(job->addr + offset);
    int rc;
    do {
        rc = madvise(at, len, MADV_POPULATE_WRITE);
    } while (rc != 0 && (errno == EINTR || errno == EAGAIN));
    if (rc == 0 || errno != EINVAL) {
        return rc == 0 ? 0 : errno;
    }
    do { /* a kernel before 5.14 */
        rc = fallocate(job->memory->fd, 0, (off_t)offset, (off_t)len);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : errno;
}

static void *populate_steps(void *arg)
{
    struct populate *job = arg;
    uint64_t size = job->memory->size;
    while (atomic_load(&job->sys_errno) == 0) {
        uint64_t offset = atomic_fetch_add(&job->next, STEP_BYTES);
        if (offset >= size) {
            break;
        }
        uint64_t len = size - offset < STEP_BYTES ? size - offset : STEP_BYTES;
        int failed = fault_in(job, offset, len);
        int none = 0;
        if (failed) {
            atomic_compare_exchange_strong(&job->sys_errno, &none, failed);
        }
    }
    return NULL;
}

/* How many threads: as configured, else one for each core that we may use; never more than steps.
 */
static uint32_t thread_count(const struct mf_memory_cfg *cfg)
{
    uint64_t count = mf_config_u64(cfg->config, MF_OPT_SEG_POPULATE_THREADS);
    uint64_t steps = (cfg->size + STEP_BYTES - 1) / STEP_BYTES;
    cpu_set_t cpus;
    if (count == 0) {
        count = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (uint64_t)CPU_COUNT(&cpus) : 1;
        count = count < THREADS_DEFAULT ? count : THREADS_DEFAULT;
    }
    count = count < THREADS_MAX ? count : THREADS_MAX;
    return (uint32_t)(count < steps ? count : steps);
}

/* Bytes that are not allocated yet: those of a user's file may be there already. What is in the
 * file behind them is taken to be all there. */
static uint64_t missing_bytes(const struct mf_memory *memory)
{
    struct stat st;
    if (!memory->user_fd || fstat(memory->fd, &st) != 0) {
        return memory->size;
    }
    uint64_t there = (uint64_t)st.st_blocks * 512;
    uint64_t behind = (uint64_t)st.st_size - memory->size;
    there -= behind < there ? behind : there;
    return there < memory->size ? memory->size - there : 0;
}

/* 2 MiB pages were set aside at creation and do not count against these limits. */
static int check_available(const struct mf_memory_cfg *cfg, const struct mf_memory *memory)
{
    char why[512];
    uint64_t available;
    if (memory->pages == MF_PAGES_HUGE_2M) {
        return SMEM_OK;
    }
    uint64_t missing = missing_bytes(memory);
    available = mf_memory_available_on(cfg->numa_node, why, sizeof(why));
    if (available >= missing) {
        return SMEM_OK;
    }
    return mf_err(SMEM_MALLOC_FAILED,
                  "%s: %" PRIu64 " bytes are needed and %" PRIu64
                  " may still be allocated, says %s: ask for less or raise the limit",
                  cfg->what, missing, available, why);
}

int mf_memory_populate(const struct mf_memory_cfg *cfg, const struct mf_memory *memory,
                       uint64_t addr)
{
    struct populate job = {.memory = memory, .addr = addr};
    pthread_t threads[THREADS_MAX];
    uint32_t started = 0;
    int rc = check_available(cfg, memory);
    if (rc) {
        return rc;
    }
    if (memory->pages == MF_PAGES_THP) {
        /* Advice: without it there are 4 KiB pages, which is no failure. */
        (void)madvise((void *)(uintptr_t)addr, memory->size, MADV_HUGEPAGE);
    }
    for (uint32_t want = thread_count(cfg); started + 1 < want; started++) {
        if (mf_thread_start(&threads[started], "mf-populate", populate_steps, &job) != SMEM_OK) {
            break; /* the threads that there are do it */
        }
    }
    populate_steps(&job);
    for (uint32_t i = 0; i < started; i++) {
        mf_thread_join(threads[i]);
    }
    int failed = atomic_load(&job.sys_errno);
    if (failed) {
        return mf_err_sys(SMEM_MALLOC_FAILED, failed, "%s: populate %" PRIu64 " bytes of %s",
                          cfg->what, memory->size, mf_pages_name(memory->pages));
    }
    return SMEM_OK;
}
