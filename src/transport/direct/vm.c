// SPDX-License-Identifier: Apache-2.0
// What the kernel allows between two processes, and the one place that reads another process's
// memory.
#include "transport/direct/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

#define SPANS_AT_ONCE 64u
#define CAP_PTRACE    19 /* CAP_SYS_PTRACE */

int mf_direct_vm_open(struct mf_direct *d)
{
    d->vm = mf_calloc(1, sizeof(*d->vm), "copies without a mapping");
    if (!d->vm) {
        return SMEM_MALLOC_FAILED;
    }
    d->vm->readv = process_vm_readv;
    d->vm->instead = (d->host->flags & MF_HOST_PEERS_UNMAPPED) != 0;
    return SMEM_OK;
}

void mf_direct_vm_close(struct mf_direct *d)
{
    if (d->vm) {
        mf_direct_vm_serve_stop(d);
        mf_direct_debts_drop(d);
        mf_free(d->vm);
        d->vm = NULL;
    }
}

/* A number in a small file; -1 when it is not there. */
static int read_number(const char *path)
{
    char text[16];
    int value = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return sscanf(text, "%d", &value) == 1 ? value : -1;
}

static int yama_scope(void)
{
    return read_number("/proc/sys/kernel/yama/ptrace_scope");
}

/* May this process read any other of its user, whatever Yama says? */
static bool has_cap_ptrace(void)
{
    char line[128];
    unsigned long long caps = 0;
    FILE *file = fopen("/proc/self/status", "re");
    if (!file) {
        return false;
    }
    while (fgets(line, sizeof(line), file) && sscanf(line, "CapEff: %llx", &caps) != 1) {
    }
    fclose(file);
    return (caps >> CAP_PTRACE & 1) != 0;
}

/* What is in the way, and the remedy. */
static void explain(int err, char *buf, size_t cap)
{
    int scope = yama_scope();
    if (err == EPERM && scope > 0) {
        snprintf(buf, cap,
                 "kernel.yama.ptrace_scope is %d: set it to 0 (sysctl), or give the processes "
                 "CAP_SYS_PTRACE (containers: --cap-add SYS_PTRACE)",
                 scope);
    } else if (err == EPERM) {
        snprintf(buf, cap,
                 "another user namespace, a seccomp filter, or a process that is not dumpable "
                 "(prctl PR_SET_DUMPABLE): give the processes one user namespace and "
                 "CAP_SYS_PTRACE");
    } else if (err == ENOSYS) {
        snprintf(buf, cap, "this kernel has no process_vm_readv, or a seccomp filter hides it");
    } else if (err == ESRCH) {
        snprintf(buf, cap, "its process has ended, or is in another PID namespace");
    } else {
        snprintf(buf, cap, "%s", strerror(err));
    }
}

int mf_direct_vm_explain(char *value, size_t value_cap, char *note, size_t note_cap)
{
    char to = 0;
    char from = 1;
    struct iovec here = {&to, 1};
    struct iovec there = {&from, 1};
    int scope = yama_scope();
    int err = process_vm_readv((pid_t)mf_direct_own_pid(), &here, 1, &there, 1, 0) == 1 ? 0 : errno;
    if (err == 0 && scope > 0 && (scope > 2 || !has_cap_ptrace())) {
        err = EPERM;
    }
    note[0] = '\0';
    if (err == 0) {
        snprintf(value, value_cap, "allowed");
        return 1;
    }
    snprintf(value, value_cap, "not allowed");
    explain(err, note, note_cap);
    return 0;
}

/* Permission is looked at before addresses are: one that nobody has tells it. */
int mf_direct_vm_ask(const struct mf_direct *d, int pid)
{
    char to = 0;
    struct iovec here = {&to, 1};
    struct iovec there = {NULL, 1};
    if (pid <= 0) {
        return ESRCH;
    }
    if (d->vm->readv(pid, &here, 1, &there, 1, 0) >= 0) {
        return 0;
    }
    return errno == EFAULT ? 0 : errno;
}

bool mf_direct_vm_instead(struct mf_direct *d, struct mf_direct_peer *peer,
                          const struct mf_direct_msg_seg *told)
{
    char why[256];
    if (!d->vm->instead || told->desc.kind != MF_KIND_DRAM) {
        return false;
    }
    if (told->host != 0 && peer->vm_errno == 0 && peer->reads_us) {
        return true;
    }
    if (!peer->vm_told) {
        if (peer->vm_errno) {
            explain(peer->vm_errno, why, sizeof(why));
        } else {
            snprintf(why, sizeof(why), "%s",
                     told->host ? "it may not read the memory of this process"
                                : "it does not reach its memory itself");
        }
        d->host->plugin->log(d->host->plugin, 1, MF_DIRECT_AREA,
                             "memory of rank %u (pid %d) is mapped although peer.map is never: "
                             "process_vm_readv is not allowed: %s",
                             peer->rank, peer->pid, why);
        peer->vm_told = true;
    }
    return false;
}

static bool is_word(const struct mf_direct_span *span)
{
    uint64_t size = span->size;
    return size <= 8 && (size & (size - 1)) == 0 && (span->to & (size - 1)) == 0;
}

/* Is it the source that cannot be read, or the place where it was to go? */
static bool is_local_fault(const struct mf_direct *d, int pid, const struct mf_direct_span *span,
                           uint64_t done)
{
    char to = 0;
    struct iovec here = {&to, 1};
    struct iovec there = {(void *)(uintptr_t)(span->from + done), 1};
    return d->vm->readv(pid, &here, 1, &there, 1, 0) == 1;
}

/* How many spans `got` bytes make, which of them are words is stored. */
static uint32_t take_spans(const struct mf_direct_span *v, uint32_t count, const uint64_t *words,
                           uint64_t *got)
{
    uint32_t i = 0;
    while (i < count && *got >= v[i].size) {
        if (is_word(&v[i])) {
            (void)mf_direct_copy_word((void *)(uintptr_t)v[i].to, &words[i], v[i].size);
        }
        *got -= v[i].size;
        i++;
    }
    return i;
}

/* At most SPANS_AT_ONCE. */
static void read_some(const struct mf_direct *d, int pid, const struct mf_direct_span *v,
                      uint32_t count, struct mf_direct_read *out)
{
    struct iovec to[SPANS_AT_ONCE];
    struct iovec from[SPANS_AT_ONCE];
    uint64_t words[SPANS_AT_ONCE];
    uint64_t wanted = 0;
    for (uint32_t i = 0; i < count; i++) {
        void *here = is_word(&v[i]) ? (void *)&words[i] : (void *)(uintptr_t)v[i].to;
        to[i] = (struct iovec){here, v[i].size};
        from[i] = (struct iovec){(void *)(uintptr_t)v[i].from, v[i].size};
        wanted += v[i].size;
    }
    ssize_t n = d->vm->readv(pid, to, count, from, count, 0);
    uint64_t got = n > 0 ? (uint64_t)n : 0;
    out->err = n < 0 ? errno : got < wanted ? EFAULT : 0;
    uint32_t whole = take_spans(v, count, words, &got);
    out->whole += whole;
    out->bytes = got;
    if (out->err == EFAULT) {
        out->local = is_local_fault(d, pid, &v[whole], got);
    }
}

void mf_direct_vm_read(const struct mf_direct *d, int pid, const struct mf_direct_span *v,
                       uint32_t count, struct mf_direct_read *out)
{
    *out = (struct mf_direct_read){0};
    while (out->err == 0 && out->whole < count) {
        uint32_t left = count - out->whole;
        read_some(d, pid, v + out->whole, left < SPANS_AT_ONCE ? left : SPANS_AT_ONCE, out);
    }
}

int mf_direct_vm_refusal(const struct mf_direct_peer *peer, int err)
{
    char why[256];
    if (err == ESRCH) {
        return mf_err(SMEM_NOT_CONNECTED, "rank %u: its process (pid %d) has ended", peer->rank,
                      peer->pid);
    }
    explain(err, why, sizeof(why));
    return mf_err(err == ENOMEM ? SMEM_NO_RESOURCES : SMEM_NOT_CONNECTED,
                  "the kernel does not let process_vm_readv read rank %u (pid %d): %s", peer->rank,
                  peer->pid, why);
}
