// SPDX-License-Identifier: Apache-2.0
// What one lane has under way without a mapping, as vm_put.c and vm_stage.c share it.
#ifndef MF_TRANSPORT_DIRECT_VM_LANE_H
#define MF_TRANSPORT_DIRECT_VM_LANE_H

#include "transport/direct/vm.h"

#define MF_DIRECT_VM_INFLIGHT 4u /* requests of one connection that are not answered */

struct pollfd;

/* Copies of the caller's array, which stays until wait has returned. */
struct mf_direct_vm_run {
    struct mf_xfer *v;
    uint32_t count;
};

/* A request that is not answered. */
struct mf_direct_vm_sent {
    uint64_t number;
    uint32_t count;
    struct mf_xfer *x[MF_DIRECT_PULL_PIECES];
    bool last[MF_DIRECT_PULL_PIECES]; /* the piece is the last of its element */
};

/* The way of one lane to one owner. */
struct mf_direct_vm_conn {
    struct mf_direct_peer *peer; /* a reference */
    int fd;                      /* -1: not connected */
    bool stuck;                  /* the socket takes no more now */
    uint64_t next_number;
    struct mf_direct_vm_sent sent[MF_DIRECT_VM_INFLIGHT]; /* a ring */
    uint32_t sent_first, sent_count;
    struct mf_direct_vm_run *runs; /* those from run_at on have something unsent: */
    uint32_t run_count, run_cap, run_at;
    uint32_t at;                 /* element of the run, */
    uint64_t done;               /* bytes of it that have been sent */
    struct mf_direct_debt *debt; /* in reserve, for when there is no memory for one */
    struct mf_direct_vm_conn *next;
};

struct mf_direct_vm_lane {
    struct mf_direct *d;
    struct mf_direct_vm_conn *conns;
    uint32_t conn_count;
    struct pollfd *polls;            /* two for each connection */
    struct mf_direct_vm_run *staged; /* see vm_stage.c */
    uint32_t staged_count, staged_cap;
    struct mf_err_rec first; /* first failure since the last wait; code 0: none */
    /* Scratch: */
    struct mf_direct_pull pull;
    struct mf_direct_done done;
    uint8_t bytes[MF_DIRECT_PULL_MAX];
};

/** Make *vm when it is NULL. */
int mf_direct_vm_lane_get(struct mf_direct *d, struct mf_direct_vm_lane **vm);
/** Append to a list of runs of which those before `from` are over; what follows its last run
 * directly makes that one longer. */
int mf_direct_vm_runs_add(struct mf_direct_vm_run **runs, uint32_t *count, uint32_t *cap,
                          uint32_t from, struct mf_xfer *v, uint32_t n);

#endif
