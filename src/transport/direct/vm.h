// SPDX-License-Identifier: Apache-2.0
// Copies between processes of one host that have not mapped each other's memory, by
// process_vm_readv. Whoever owns the memory that is written reads: a get is read by the caller, for
// a put the owner of the target is asked to pull. So a fence is always local to the writer, and no
// process ever writes to a process number that may be somebody else's by now.
#ifndef MF_TRANSPORT_DIRECT_VM_H
#define MF_TRANSPORT_DIRECT_VM_H

#include <sys/types.h>
#include <sys/uio.h>

#include "transport/direct/internal.h"
#include "transport/direct/vm_msg.h"

/* Puts that timed out at one instance and are not known to have ended. */
#define MF_DIRECT_DEBTS_MAX 64u

/** A stretch of bytes to read: from an address of another process to one of this. */
struct mf_direct_span {
    uint64_t to;
    uint64_t from;
    uint64_t size;
};

/** How a read went. */
struct mf_direct_read {
    uint32_t whole; /* spans that have been copied */
    uint64_t bytes; /* of the next one that have been, though it failed */
    int err;        /* errno of the failure; 0: there is none */
    bool local;     /* the failure is an address of this process */
};

/** A range of this process's memory. */
struct mf_direct_range {
    uint64_t addr, size;
};

/* A connection whose owner may still read our memory for a put that was given up: see vm_debt.c. */
struct mf_direct_debt {
    struct mf_direct_peer *peer; /* a reference */
    int fd;
    uint32_t count;
    struct mf_direct_debt *next;
    struct mf_direct_range ranges[];
};

struct mf_direct_vm_server;

/* The instance's part. */
struct mf_direct_vm {
    bool instead; /* the host wants no mappings of peers' DRAM */
    /* process_vm_readv, or what a test puts in its place */
    ssize_t (*readv)(pid_t pid, const struct iovec *to, unsigned long to_count,
                     const struct iovec *from, unsigned long from_count, unsigned long flags);
    /* Guarded by the instance's lock: */
    struct mf_direct_debt *debts;
    uint32_t debt_count;
    struct mf_direct_vm_server *server; /* NULL: nobody has asked yet */
};

/* ---- vm.c: what the kernel allows, and reading ---- */

int mf_direct_vm_open(struct mf_direct *d);
/** Ends the thread that serves; no lane is open any more. */
void mf_direct_vm_close(struct mf_direct *d);
/** Why the memory of that process may not be read; 0: it may. */
int mf_direct_vm_ask(const struct mf_direct *d, int pid);
/** Is the announced segment to be left unmapped? Logs, once for a peer, why not. The peer is
 * claimed. */
bool mf_direct_vm_instead(struct mf_direct *d, struct mf_direct_peer *peer,
                          const struct mf_direct_msg_seg *told);
/** Read spans of another process, at most MF_DIRECT_PULL_BYTES in all. An aligned span of at most 8
 * bytes lands by one store. */
void mf_direct_vm_read(const struct mf_direct *d, int pid, const struct mf_direct_span *v,
                       uint32_t count, struct mf_direct_read *out);
/** The sentence and code of a failed read out of memory that is not in a segment. */
int mf_direct_vm_refusal(const struct mf_direct_peer *peer, int err);

/* ---- vm_get.c: out of a peer's segment, by the caller ---- */

/** Copies of one run, at most MF_DIRECT_PULL_BYTES, out of one segment that is not mapped here.
 * Sets each status; returns the first failure with its sentence. The caller has the fence. */
int mf_direct_vm_get(struct mf_direct *d, struct mf_xfer *v, uint32_t count);

/* ---- vm_put.c: into a peer's segment, by asking its owner ---- */

/** What one lane has under way. */
struct mf_direct_vm_lane;

/** Queue copies of one run into one segment that is not mapped here, out of memory that this
 * process's CPU reaches; they are pending. *vm is made when it is NULL. */
int mf_direct_vm_put(struct mf_direct *d, struct mf_direct_vm_lane **vm, struct mf_xfer *v,
                     uint32_t count);
/** Send what can be sent. Never waits. NULL is fine, here and below. */
void mf_direct_vm_kick(struct mf_direct_vm_lane *vm);
/** Until every queued copy has its final status, or the deadline. Returns the first failure with
 * its sentence. */
int mf_direct_vm_wait(struct mf_direct_vm_lane *vm, uint64_t deadline_ns);
void mf_direct_vm_lane_close(struct mf_direct_vm_lane *vm);

/* ---- vm_stage.c: copies that need both, or the device, by way of this process's memory ---- */

/** Queue copies for mf_direct_vm_run_staged; they are pending. */
int mf_direct_vm_stage(struct mf_direct *d, struct mf_direct_vm_lane **vm, struct mf_xfer *v,
                       uint32_t count);
/** Carry out one copy, to its final status. */
typedef int (*mf_direct_vm_half_fn)(void *lane, struct mf_xfer *x, uint64_t deadline_ns);
/** Carry out what was staged, each copy by halves of which none is staged. The first failure has
 * its sentence with `half`. */
void mf_direct_vm_run_staged(struct mf_direct_vm_lane *vm, void *lane, mf_direct_vm_half_fn half,
                             uint64_t deadline_ns);

/* ---- vm_debt.c: memory of ours that a peer may still read ---- */

/** Forget debts that are paid; with the lock. */
void mf_direct_debts_sweep_locked(struct mf_direct *d);
/** SMEM_RES_IN_USE when too many puts to peers have been given up and not ended. */
int mf_direct_debts_check(struct mf_direct *d, const struct mf_direct_peer *peer);
/** Takes fd and the reference; the other side is told to stop. */
void mf_direct_debt_add(struct mf_direct *d, struct mf_direct_debt *debt);
void mf_direct_debts_drop(struct mf_direct *d);
/** struct mf_transport_ops.settle */
int mf_direct_settle(void *tp, uint64_t addr, uint64_t size, uint64_t deadline_ns);

/* ---- vm_serve.c: pulling for peers ---- */

/** Take over a connection on which a peer will send requests; on the loop, does not wait. On
 * success `fd` is the server's. */
int mf_direct_vm_adopt(struct mf_direct *d, const struct mf_direct_msg *msg, int fd);
/** A peer has ended: its connections are of no use. Does not wait; with the lock. */
void mf_direct_vm_wake_locked(struct mf_direct *d);
void mf_direct_vm_serve_stop(struct mf_direct *d);

#endif
