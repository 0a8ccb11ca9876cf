// SPDX-License-Identifier: Apache-2.0
// What a transport needs from the library, made small: a loop, an address range, a list of the
// segments that are up. Tests of transports open an instance on it. Several may live in one
// process, each with its own place in the address space.
#ifndef TRANSPORT_HOST_H
#define TRANSPORT_HOST_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/env.h"
#include "base/loop.h"
#include "config/config.h"
#include "device/device.h"
#include "gva/gva.h"
#include "gva/memory.h"
#include "memfabric/mf_transport.h"
#include "unit/gva_place.h"

#define TH_BASE     MF_TEST_BASE
#define TH_WORLD    4u
#define TH_DRAM     (64ull << 20) /* slot of a rank */
#define TH_HBM      (8ull << 20)
#define TH_POOL     3u
#define TH_SEGMENTS 64u

struct th_cfg {
    const struct mf_transport_ops *ops;
    uint32_t rank;
    uint64_t incarnation; /* 0: drawn */
    uint64_t here;        /* where its range lies; 0: at the global addresses themselves */
    const char *device;   /* "sim", or NULL for none */
    const char *latency;  /* of each operation of the simulated device, in ns; NULL: none */
    uint32_t flags;       /* of struct mf_transport_host */
};

/* An own segment. */
struct th_own {
    struct mf_segment segment;
    struct mf_memory memory; /* DRAM */
    mf_dev_mem mem;          /* HBM */
    int fd;
};

struct th {
    struct mf_log log;
    struct mf_env env;
    struct mf_config config;
    struct mf_plugin_host plugin;
    struct mf_transport_host host;
    const struct mf_transport_ops *ops;
    void *tp;
    struct mf_loop *loop;
    struct mf_dev *dev;
    struct mf_layout layout;
    uint64_t here[MF_KIND_COUNT]; /* place of the kind's first slot; 0: none */
    pthread_mutex_t lock;
    struct mf_segment *up[TH_SEGMENTS];
    pthread_rwlock_t calls;      /* read: a thread that may hold a pointer to a segment */
    _Atomic uint32_t dead_ranks; /* bit r: peer_dead was called for rank r */
    _Atomic int refuse_place;    /* place() fails, to test what follows */
    _Atomic int refuse_up;
    uint8_t endpoint[MF_ENDPOINT_MAX];
    uint32_t endpoint_len;
};

int th_open(struct th *th, const struct th_cfg *cfg);
/** Detach and withdraw what is left before. */
void th_close(struct th *th);

/** Make and publish an own segment at `offset` of this rank's slot. */
int th_publish(struct th *th, enum mf_mem_kind kind, uint64_t offset, uint64_t size,
               struct th_own *own);
/** The same, with a descriptor of the test (it keeps it). */
int th_publish_fd(struct th *th, uint64_t offset, uint64_t size, int fd, struct th_own *own);
/** Withdraw; the memory is given back if that succeeds. */
int th_withdraw(struct th *th, struct th_own *own, uint32_t timeout_ms);

int th_attach(struct th *th, uint32_t rank, uint64_t incarnation, const uint8_t *endpoint,
              uint32_t endpoint_len, uint32_t timeout_ms);
int th_attach_to(struct th *th, const struct th *peer);

/** The segment of `owner` that is up and holds that offset of its slot; NULL: none. */
struct mf_segment *th_find(struct th *th, uint32_t owner, enum mf_mem_kind kind, uint64_t offset);
uint32_t th_count(struct th *th, uint32_t owner);
/** Global address. */
uint64_t th_gva(const struct th *th, uint32_t owner, enum mf_mem_kind kind, uint64_t offset);
/** Where this process reaches it, mapped or not. */
uint8_t *th_ptr(const struct th *th, uint32_t owner, enum mf_mem_kind kind, uint64_t offset);
uint64_t th_deadline(const struct th *th, uint32_t ms);

/** One copy on a lane, waited for; the status. `src_seg`/`dst_seg` NULL: an address of this
 * process. */
int th_copy(struct th *th, void *lane, struct mf_segment *dst_seg, uint64_t dst,
            struct mf_segment *src_seg, uint64_t src, uint64_t size);

#endif
