// SPDX-License-Identifier: Apache-2.0
// base/alloc.h: every block has a head that says whose it is, so that the end of a process finds
// all of its blocks. What an allocation does not zero is filled, so that nobody depends on it.
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "machine.h"

#define FILL       0xa5
#define FILL_BYTES 1024u /* at most; larger ones are touched by their users only */
#define NAMES_MAX  5u

/* Where nothing else is on any system: far from programs, libraries and stacks, and from what the
 * sanitizers use (the thread sanitizer has programs at the lower end only). */
#ifdef __SANITIZE_THREAD__
#define FIXED_AT 0x004000000000ull
#else
#define FIXED_AT 0x280000000000ull
#endif
#define FIXED_BYTES (32ull << 30) /* reserved; what is used is memory */

/** In front of what the caller gets. */
struct sim_block {
    struct sim_proc *proc; /* NULL: the machine's */
    const char *what;
    size_t bytes;
    struct sim_block *prev, *next;
    void *raw; /* where the system's block begins */
    bool listed;
};
#define HEAD_BYTES 64u
_Static_assert(sizeof(struct sim_block) <= HEAD_BYTES, "a head keeps the alignment of its block");

/* Those of the machine, while it is open. */
static struct sim_block *own_first;
static struct sim_block *own_last;

static char *fixed; /* NULL: not reserved yet */
static size_t fixed_used;

static struct sim_block *head_of(void *p)
{
    return (struct sim_block *)((char *)p - HEAD_BYTES);
}

static void link_block(struct sim_block *block)
{
    struct sim_proc *proc = block->proc;
    struct sim_block **first = proc ? &proc->blocks_first : &own_first;
    struct sim_block **last = proc ? &proc->blocks_last : &own_last;
    block->next = NULL;
    block->prev = *last;
    *(block->prev ? &block->prev->next : first) = block;
    *last = block;
}

static void unlink_block(struct sim_block *block)
{
    struct sim_proc *proc = block->proc;
    struct sim_block **first = proc ? &proc->blocks_first : &own_first;
    struct sim_block **last = proc ? &proc->blocks_last : &own_last;
    *(block->prev ? &block->prev->next : first) = block->next;
    *(block->next ? &block->next->prev : last) = block->prev;
}

bool sim_starves(void)
{
    struct sim_proc *proc = sim_machine.proc;
    if (!proc || !proc->starve_count) {
        return false;
    }
    if (proc->starve_skip) {
        proc->starve_skip--;
        return false;
    }
    proc->starve_count--;
    proc->starved++;
    return true;
}

/* A block of so many bytes at a multiple of `align`, at least 16. Zeroed ones come from the system
 * so, that large ones take no memory before they are used. */
static void *make(size_t align, size_t bytes, bool zeroed, const char *what)
{
    size_t whole;
    if (sim_starves() || __builtin_add_overflow(bytes, HEAD_BYTES + align, &whole)) {
        mf_err_nomem(bytes, what);
        return NULL;
    }
    char *raw = zeroed ? calloc(1, whole) : malloc(whole);
    if (!raw) {
        mf_err_nomem(bytes, what);
        return NULL;
    }
    uintptr_t at = ((uintptr_t)raw + HEAD_BYTES + align - 1) & ~(uintptr_t)(align - 1);
    struct sim_block *block = head_of((void *)at);
    *block = (struct sim_block){.proc = sim_machine.proc,
                                .what = what,
                                .bytes = bytes,
                                .raw = raw,
                                .listed = sim_machine.open};
    if (block->listed) {
        link_block(block);
    }
    if (block->proc) {
        block->proc->blocks++;
    }
    return (void *)at;
}

static void drop(struct sim_block *block)
{
    if (block->listed) {
        unlink_block(block);
    }
    if (block->proc) {
        block->proc->blocks--;
    }
    free(block->raw);
}

void *mf_alloc(size_t bytes, const char *what)
{
    void *p = make(16, bytes, false, what);
    if (p) {
        memset(p, FILL, bytes < FILL_BYTES ? bytes : FILL_BYTES);
    }
    return p;
}

void *mf_calloc(size_t count, size_t size, const char *what)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        mf_err(SMEM_MALLOC_FAILED, "out of memory: %zu times %zu bytes for %s", count, size, what);
        return NULL;
    }
    return make(16, bytes, true, what);
}

void *mf_realloc(void *old, size_t bytes, const char *what)
{
    if (!old) {
        return mf_alloc(bytes, what);
    }
    struct sim_block *block = head_of(old);
    struct sim_proc *self = sim_machine.proc;
    sim_machine.proc = block->proc; /* whoever makes it larger */
    void *p = mf_alloc(bytes, what);
    sim_machine.proc = self;
    if (p) {
        memcpy(p, old, block->bytes < bytes ? block->bytes : bytes);
        drop(block);
    }
    return p;
}

void *mf_alloc_aligned(size_t align, size_t bytes, const char *what)
{
    MF_ASSERT(align != 0 && (align & (align - 1)) == 0);
    return make(align < 16 ? 16 : align, bytes, true, what);
}

char *mf_strdup(const char *text, const char *what)
{
    size_t bytes = strlen(text) + 1;
    char *copy = mf_alloc(bytes, what);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

void mf_free(void *p)
{
    if (p) {
        drop(head_of(p));
    }
}

uint64_t sim_proc_blocks(const struct sim_proc *proc)
{
    return proc->blocks;
}

void sim_proc_starve(struct sim_proc *proc, uint32_t skip, uint32_t count)
{
    proc->starve_skip = skip;
    proc->starve_count = count;
}

uint32_t sim_proc_starved(struct sim_proc *proc)
{
    uint32_t starved = proc->starved;
    proc->starved = 0;
    return starved;
}

void sim_blocks_free(struct sim_proc *proc)
{
    while (proc->blocks_first) {
        drop(proc->blocks_first);
    }
}

void sim_blocks_name(const struct sim_proc *proc, char *buf, size_t len)
{
    const struct sim_block *block = proc->blocks_first;
    size_t used = 0;
    buf[0] = '\0';
    for (uint32_t i = 0; i < NAMES_MAX && block && used < len; i++, block = block->next) {
        int n = snprintf(buf + used, len - used, "%s%s (%zu)", i ? ", " : "", block->what,
                         block->bytes);
        used += n > 0 ? (size_t)n : 0;
    }
}

void sim_machine_blocks_free(void)
{
    while (own_first) {
        drop(own_first);
    }
}

void sim_fixed_reset(void)
{
    if (fixed_used > 0) {
        int rc = madvise(fixed, fixed_used, MADV_DONTNEED); /* reads as zeroes again */
        MF_ASSERT(rc == 0);
        fixed_used = 0;
    }
}

void *sim_fixed(size_t bytes)
{
    if (!fixed) {
        void *want = (void *)(uintptr_t)FIXED_AT;
        fixed = mmap(want, FIXED_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        MF_ASSERT(fixed == want);
    }
    char *p = fixed + fixed_used;
    fixed_used = (fixed_used + bytes + 63) & ~(size_t)63;
    MF_ASSERT(fixed_used <= FIXED_BYTES);
    return p;
}
