// SPDX-License-Identifier: Apache-2.0
// Copies between instances that have not mapped each other's memory: where the bytes go, what is
// refused with which sentence, and what a deadline leaves behind. The kernel's answers are put in
// place of process_vm_readv where the real ones cannot be had.
#include "transport/direct/vm.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "conformance/transport_host.h"
#include "mf_test.h"
#include "mf_torture.h"

#define MIB  (1ull << 20)
#define DRAM MF_KIND_DRAM
#define OWN  (48 * MIB) /* of each rank */

struct trio {
    struct th a, b, c; /* ranks 0, 1, 2 */
    struct th_own sa, sb, sc;
    void *lane;                     /* of a */
    struct mf_segment *at_b, *at_c; /* their segments, at a */
};

/* ---- what stands in for the kernel ---- */

static _Atomic int held;    /* a read waits until it is 0 */
static _Atomic int reading; /* reads that wait */

static void pause_a_little(void)
{
    struct timespec span = {.tv_nsec = 200000};
    nanosleep(&span, NULL);
}

static ssize_t readv_held(pid_t pid, const struct iovec *to, unsigned long to_count,
                          const struct iovec *from, unsigned long from_count, unsigned long flags)
{
    atomic_fetch_add(&reading, 1);
    while (atomic_load(&held)) {
        pause_a_little();
    }
    atomic_fetch_sub(&reading, 1);
    return process_vm_readv(pid, to, to_count, from, from_count, flags);
}

static ssize_t readv_refused(pid_t pid, const struct iovec *to, unsigned long to_count,
                             const struct iovec *from, unsigned long from_count,
                             unsigned long flags)
{
    (void)pid;
    (void)to;
    (void)to_count;
    (void)from;
    (void)from_count;
    (void)flags;
    errno = EPERM;
    return -1;
}

static ssize_t readv_missing(pid_t pid, const struct iovec *to, unsigned long to_count,
                             const struct iovec *from, unsigned long from_count,
                             unsigned long flags)
{
    (void)readv_refused(pid, to, to_count, from, from_count, flags);
    errno = ENOSYS;
    return -1;
}

static ssize_t readv_gone(pid_t pid, const struct iovec *to, unsigned long to_count,
                          const struct iovec *from, unsigned long from_count, unsigned long flags)
{
    (void)readv_refused(pid, to, to_count, from, from_count, flags);
    errno = ESRCH;
    return -1;
}

static struct mf_direct_vm *vm_of(const struct th *th)
{
    return ((struct mf_direct *)th->tp)->vm;
}

/* ---- fixture ---- */

static int open_rank(struct th *th, uint32_t rank, uint32_t flags)
{
    struct th_cfg cfg = {.ops = &mf_direct_ops,
                         .rank = rank,
                         .here = TH_BASE + ((uint64_t)rank << 32),
                         .flags = flags};
    return th_open(th, &cfg);
}

static int setup(void **state)
{
    static struct trio t;
    memset(&t, 0, sizeof(t));
    atomic_store(&held, 0);
    mf_assert_ok(open_rank(&t.a, 0, MF_HOST_PEERS_UNMAPPED));
    mf_assert_ok(open_rank(&t.b, 1, MF_HOST_PEERS_UNMAPPED));
    mf_assert_ok(open_rank(&t.c, 2, 0));
    mf_assert_ok(th_publish(&t.a, DRAM, 0, OWN, &t.sa));
    mf_assert_ok(th_publish(&t.b, DRAM, 2 * MIB, OWN, &t.sb));
    mf_assert_ok(th_publish(&t.c, DRAM, 0, OWN, &t.sc));
    mf_assert_ok(th_attach_to(&t.a, &t.b));
    mf_assert_ok(th_attach_to(&t.c, &t.a));
    mf_assert_ok(th_attach_to(&t.c, &t.b));
    mf_assert_ok(t.a.ops->lane_open(t.a.tp, &t.lane));
    t.at_b = th_find(&t.a, 1, DRAM, 2 * MIB);
    t.at_c = th_find(&t.a, 2, DRAM, 0);
    assert_non_null(t.at_b);
    assert_non_null(t.at_c);
    *state = &t;
    return 0;
}

static void detach_from(struct th *th, const struct th *peer)
{
    th->ops->detach(th->tp, peer->host.rank, peer->host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
}

static void withdraw_if_there(struct th *th, struct th_own *own)
{
    if (own->segment.priv && own->memory.fd > 0) {
        mf_assert_ok(th_withdraw(th, own, 2000));
    }
}

static int teardown(void **state)
{
    struct trio *t = *state;
    struct th *all[] = {&t->a, &t->b, &t->c};
    atomic_store(&held, 0);
    t->a.ops->lane_close(t->a.tp, t->lane);
    for (int i = 0; i < 9; i++) {
        if (i / 3 != i % 3) {
            detach_from(all[i / 3], all[i % 3]);
        }
    }
    withdraw_if_there(&t->a, &t->sa);
    withdraw_if_there(&t->b, &t->sb);
    withdraw_if_there(&t->c, &t->sc);
    th_close(&t->a);
    th_close(&t->b);
    th_close(&t->c);
    return 0;
}

static uint64_t num(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

static uint8_t *mine(struct trio *t, uint32_t rank, uint64_t offset)
{
    struct th *all[] = {&t->a, &t->b, &t->c};
    return th_ptr(all[rank], rank, DRAM, offset + (rank == 1 ? 2 * MIB : 0));
}

static int put(struct trio *t, struct mf_segment *seg, uint64_t offset, const void *src,
               uint64_t size)
{
    return th_copy(&t->a, t->lane, seg, seg->desc.gva + offset, NULL, num(src), size);
}

static int get(struct trio *t, struct mf_segment *seg, uint64_t offset, void *dst, uint64_t size)
{
    return th_copy(&t->a, t->lane, NULL, num(dst), seg, seg->desc.gva + offset, size);
}

static void fill(uint8_t *at, uint64_t size, uint32_t seed)
{
    for (uint64_t i = 0; i < size; i++) {
        at[i] = (uint8_t)((i + 1) * 2654435761u >> 11 ^ seed);
    }
}

static bool is_filled(const uint8_t *at, uint64_t size, uint32_t seed)
{
    uint64_t i = 0;
    while (i < size && at[i] == (uint8_t)((i + 1) * 2654435761u >> 11 ^ seed)) {
        i++;
    }
    return i == size;
}

/* ---- where the bytes go ---- */

static void test_vm__no_mapping_and_all_directions(void **state)
{
    struct trio *t = *state;
    uint8_t *buf = malloc(MIB);
    uint8_t *back = calloc(1, MIB);
    assert_true(buf && back);
    assert_int_equal(t->at_b->host, 0);
    assert_int_equal(t->at_c->host, 0);
    assert_int_not_equal(th_find(&t->c, 0, DRAM, 0)->host, 0); /* each decides for itself */
    fill(buf, MIB, 1);
    mf_assert_ok(put(t, t->at_b, 5, buf, MIB));
    assert_true(is_filled(mine(t, 1, 5), MIB, 1));
    mf_assert_ok(get(t, t->at_b, 5, back, MIB));
    assert_true(is_filled(back, MIB, 1));
    /* From and to an own segment, and between two peers. */
    mf_assert_ok(th_copy(&t->a, t->lane, &t->sa.segment, th_gva(&t->a, 0, DRAM, 77), t->at_b,
                         t->at_b->desc.gva + 5, MIB));
    assert_true(is_filled(mine(t, 0, 77), MIB, 1));
    mf_assert_ok(th_copy(&t->a, t->lane, t->at_c, t->at_c->desc.gva + 9, &t->sa.segment,
                         th_gva(&t->a, 0, DRAM, 77), MIB));
    assert_true(is_filled(mine(t, 2, 9), MIB, 1));
    fill(mine(t, 2, 0), 3 * MIB + 5, 4);
    mf_assert_ok(th_copy(&t->a, t->lane, t->at_b, t->at_b->desc.gva + 3, t->at_c, t->at_c->desc.gva,
                         3 * MIB + 5));
    assert_true(is_filled(mine(t, 1, 3), 3 * MIB + 5, 4));
    free(buf);
    free(back);
}

static void test_vm__longer_than_one_request(void **state)
{
    struct trio *t = *state;
    uint64_t size = 40 * MIB + 4099;
    uint8_t *buf = malloc(size);
    uint8_t *back = calloc(1, size);
    assert_true(buf && back);
    fill(buf, size, 2);
    mf_assert_ok(put(t, t->at_b, 1, buf, size));
    assert_true(is_filled(mine(t, 1, 1), size, 2));
    mf_assert_ok(get(t, t->at_b, 1, back, size));
    assert_true(is_filled(back, size, 2));
    free(buf);
    free(back);
}

/* More than all requests of a connection hold, to two peers, mixed with gets. */
static void test_vm__batches(void **state)
{
    enum { COUNT = 5000, SLOT = 64 };
    static struct mf_xfer v[COUNT];
    struct trio *t = *state;
    uint8_t *buf = malloc((size_t)COUNT * SLOT);
    assert_non_null(buf);
    fill(mine(t, 1, 8 * MIB), COUNT * SLOT, 3);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct mf_segment *seg = i % 7 < 3 ? t->at_b : t->at_c;
        bool is_get = i % 5 == 4;
        uint64_t here = num(buf + (size_t)i * SLOT);
        uint64_t there = seg->desc.gva + i * SLOT;
        uint64_t size = 1 + i % SLOT;
        fill(buf + (size_t)i * SLOT, SLOT, i);
        v[i] = is_get ? (struct mf_xfer){.src_seg = t->at_b,
                                         .src = t->at_b->desc.gva + 8 * MIB + i * SLOT,
                                         .dst = here,
                                         .size = size}
                      : (struct mf_xfer){.dst_seg = seg, .src = here, .dst = there, .size = size};
        v[i].status = MF_XFER_PENDING;
    }
    mf_assert_ok(t->a.ops->post(t->lane, v, COUNT));
    mf_assert_ok(t->a.ops->wait(t->lane, th_deadline(&t->a, 10000)));
    const uint8_t *source = mine(t, 1, 8 * MIB);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(v[i].status, SMEM_OK);
        if (i % 5 == 4) {
            assert_memory_equal(buf + (size_t)i * SLOT, source + (size_t)i * SLOT, v[i].size);
        } else {
            assert_true(is_filled(mine(t, i % 7 < 3 ? 1 : 2, i * SLOT), v[i].size, i));
        }
    }
    free(buf);
}

/* ---- what is refused ---- */

static uint8_t *page_and_a_hole(void)
{
    uint8_t *at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(at, MAP_FAILED);
    assert_int_equal(munmap(at + 4096, 4096), 0);
    return at;
}

static void test_vm_put__names_the_address_without_memory(void **state)
{
    struct trio *t = *state;
    char text[64];
    uint8_t *at = page_and_a_hole();
    uint8_t good[100];
    fill(good, sizeof(good), 5);
    struct mf_xfer v[3] = {
        {.dst_seg = t->at_b, .src = num(good), .dst = t->at_b->desc.gva, .size = 100},
        {.dst_seg = t->at_b, .src = num(at), .dst = t->at_b->desc.gva + 4096, .size = 8192},
        {.dst_seg = t->at_b, .src = num(good), .dst = t->at_b->desc.gva + 20000, .size = 100},
    };
    for (int i = 0; i < 3; i++) {
        v[i].status = MF_XFER_PENDING;
    }
    mf_assert_ok(t->a.ops->post(t->lane, v, 3));
    mf_assert_rc(t->a.ops->wait(t->lane, th_deadline(&t->a, 5000)), SMEM_INVALID_PARAM);
    snprintf(text, sizeof(text), "address 0x%llx of rank 0", (unsigned long long)num(at) + 4096);
    mf_assert_err_has(text);
    mf_assert_err_has("4096 of the 8192 bytes");
    assert_int_equal(v[0].status, SMEM_OK);
    assert_int_equal(v[1].status, SMEM_INVALID_PARAM);
    assert_int_equal(v[2].status, SMEM_OK);
    assert_true(is_filled(mine(t, 1, 0), 100, 5));
    assert_true(is_filled(mine(t, 1, 20000), 100, 5));
    mf_assert_ok(put(t, t->at_b, 0, good, 8)); /* no failure is told twice */
    munmap(at, 4096);
}

static void test_vm_get__names_the_address_without_memory(void **state)
{
    struct trio *t = *state;
    char text[64];
    uint8_t *at = page_and_a_hole();
    mf_assert_rc(get(t, t->at_b, 0, at + 96, 8192), SMEM_INVALID_PARAM);
    snprintf(text, sizeof(text), "address 0x%llx of this process",
             (unsigned long long)num(at) + 4096);
    mf_assert_err_has(text);
    mf_assert_err_has("4000 of the 8192 bytes");
    munmap(at, 4096);
}

static void test_vm__permission_is_taken_back(void **state)
{
    struct trio *t = *state;
    uint64_t value = 1;
    vm_of(&t->a)->readv = readv_refused;
    mf_assert_rc(get(t, t->at_b, 0, &value, 8), SMEM_NOT_CONNECTED);
    mf_assert_err_has("does not let process_vm_readv read rank 1");
    mf_assert_ok(put(t, t->at_b, 0, &value, 8)); /* that one the owner reads */
    vm_of(&t->b)->readv = readv_refused;
    mf_assert_rc(put(t, t->at_b, 0, &value, 8), SMEM_NOT_CONNECTED);
    mf_assert_err_has("rank 1 (pid");
    mf_assert_err_has("read rank 0");
    mf_assert_err_has("CAP_SYS_PTRACE");
    vm_of(&t->a)->readv = readv_missing;
    mf_assert_rc(get(t, t->at_b, 0, &value, 8), SMEM_NOT_CONNECTED);
    mf_assert_err_has("seccomp");
    vm_of(&t->a)->readv = readv_gone;
    mf_assert_rc(get(t, t->at_b, 0, &value, 8), SMEM_NOT_CONNECTED);
    mf_assert_err_has("has ended");
}

/* Without permission in one of the two directions, the memory is mapped as ever. */
static void test_vm__mapped_where_it_is_not_allowed(void **state)
{
    struct trio *t = *state;
    uint64_t value = 0x1234;
    for (int round = 0; round < 2; round++) {
        detach_from(&t->a, &t->b);
        detach_from(&t->b, &t->a);
        struct th *lame = round ? &t->b : &t->a;
        vm_of(lame)->readv = readv_refused;
        /* The peers are known since the beginning: what they may do is asked when they are met. */
        struct mf_direct *d = lame->tp;
        mf_mutex_lock(&d->lock);
        for (struct mf_direct_peer *peer = d->peers; peer; peer = peer->next) {
            peer->vm_errno = mf_direct_vm_ask(d, peer->pid);
        }
        mf_mutex_unlock(&d->lock);
        mf_assert_ok(th_attach_to(round ? &t->a : &t->b, round ? &t->b : &t->a));
        t->at_b = th_find(&t->a, 1, DRAM, 2 * MIB);
        assert_non_null(t->at_b);
        assert_int_not_equal(t->at_b->host, 0);
        mf_assert_ok(put(t, t->at_b, 64, &value, 8));
        assert_int_equal(*(uint64_t *)(void *)mine(t, 1, 64), 0x1234);
        vm_of(lame)->readv = process_vm_readv;
    }
}

static void test_vm_explain__is_one_or_the_other(void **state)
{
    char value[32];
    char note[256];
    struct trio *t = *state;
    int allowed = mf_direct_vm_explain(value, sizeof(value), note, sizeof(note));
    assert_string_equal(value, allowed ? "allowed" : "not allowed");
    assert_int_equal(note[0] == '\0', allowed);
    char text[300];
    mf_assert_ok(t->a.ops->explain(t->a.tp, 1, text, sizeof(text)));
    assert_non_null(strstr(text, "48 MiB not mapped here (peer.map)"));
    mf_assert_ok(t->c.ops->explain(t->c.tp, 1, text, sizeof(text)));
    assert_non_null(strstr(text, "loads and stores"));
}

/* ---- deadlines ---- */

static bool soon(_Atomic int *what, int at_least)
{
    for (int i = 0; i < 20000 && atomic_load(what) < at_least; i++) {
        pause_a_little();
    }
    return atomic_load(what) >= at_least;
}

static int put_until(struct trio *t, struct mf_xfer *v, uint32_t count, uint32_t ms)
{
    (void)t->a.ops->post(t->lane, v, count);
    return t->a.ops->wait(t->lane, th_deadline(&t->a, ms));
}

static void test_vm_put__a_deadline_leaves_the_memory_in_use(void **state)
{
    struct trio *t = *state;
    static uint8_t buf[3 * 4096];
    const struct mf_transport_ops *ops = t->a.ops;
    vm_of(&t->b)->readv = readv_held;
    atomic_store(&held, 1);
    memset(buf, 0x77, sizeof(buf));
    struct mf_xfer x = {.dst_seg = t->at_b,
                        .src = num(buf) + 4096,
                        .dst = t->at_b->desc.gva,
                        .size = 4096,
                        .status = MF_XFER_PENDING};
    uint64_t before = mf_now_ns(&t->a.env);
    mf_assert_rc(put_until(t, &x, 1, 150), SMEM_TIMEOUT);
    assert_in_range((mf_now_ns(&t->a.env) - before) / 1000000, 140, 3000);
    mf_assert_err_has("target range is unknown");
    assert_int_equal(x.status, SMEM_TIMEOUT);
    assert_true(soon(&reading, 1));
    mf_assert_rc(ops->settle(t->a.tp, num(buf) + 5000, 10, th_deadline(&t->a, 50)),
                 SMEM_RES_IN_USE);
    mf_assert_err_has("rank 1");
    mf_assert_ok(ops->settle(t->a.tp, num(buf), 4096, th_deadline(&t->a, 50)));
    mf_assert_ok(ops->settle(t->a.tp, num(buf) + 8192, 4096, th_deadline(&t->a, 50)));
    /* A second one, which has not begun when it is given up, is never done. */
    memset(buf, 0x55, 4096);
    struct mf_xfer y = {.dst_seg = t->at_b,
                        .src = num(buf),
                        .dst = t->at_b->desc.gva + 8192,
                        .size = 4096,
                        .status = MF_XFER_PENDING};
    mf_assert_rc(put_until(t, &y, 1, 50), SMEM_TIMEOUT);
    atomic_store(&held, 0);
    mf_assert_ok(ops->settle(t->a.tp, num(buf), sizeof(buf), th_deadline(&t->a, 5000)));
    assert_int_equal(*mine(t, 1, 8192), 0);
    mf_assert_ok(put(t, t->at_b, 0, buf, 4096));
    assert_int_equal(*mine(t, 1, 0), 0x55);
}

static void test_vm_put__one_stopped_owner_stops_nobody_else(void **state)
{
    struct trio *t = *state;
    uint64_t value = 9;
    vm_of(&t->b)->readv = readv_held;
    atomic_store(&held, 1);
    struct mf_xfer v[2] = {
        {.dst_seg = t->at_b, .src = num(&value), .dst = t->at_b->desc.gva, .size = 8},
        {.dst_seg = t->at_c, .src = num(&value), .dst = t->at_c->desc.gva, .size = 8},
    };
    v[0].status = v[1].status = MF_XFER_PENDING;
    mf_assert_rc(put_until(t, v, 2, 200), SMEM_TIMEOUT);
    assert_int_equal(v[0].status, SMEM_TIMEOUT);
    assert_int_equal(v[1].status, SMEM_OK);
    assert_int_equal(*(uint64_t *)(void *)mine(t, 2, 0), 9);
}

static void test_vm_put__so_many_may_be_given_up(void **state)
{
    struct trio *t = *state;
    static uint64_t value = 9;
    vm_of(&t->b)->readv = readv_held;
    atomic_store(&held, 1);
    struct mf_xfer x = {
        .dst_seg = t->at_b, .src = num(&value), .dst = t->at_b->desc.gva, .size = 8};
    for (uint32_t i = 0; i < MF_DIRECT_DEBTS_MAX; i++) {
        x.status = MF_XFER_PENDING;
        /* The first one is being read when it is given up; then nothing else is begun. */
        mf_assert_rc(put_until(t, &x, 1, i == 0 ? 400 : 1), SMEM_TIMEOUT);
        assert_int_equal(atomic_load(&reading), 1);
    }
    x.status = MF_XFER_PENDING;
    mf_assert_rc(put_until(t, &x, 1, 1000), SMEM_RES_IN_USE);
    mf_assert_err_has("64 puts of this process were given up");
    atomic_store(&held, 0);
    mf_assert_ok(t->a.ops->settle(t->a.tp, num(&value), 8, th_deadline(&t->a, 5000)));
    mf_assert_ok(put(t, t->at_b, 0, &value, 8));
}

static void *put_in_thread(void *arg)
{
    struct trio *t = arg;
    static uint8_t buf[4096];
    return (void *)(intptr_t)put(t, t->at_b, 0, buf, sizeof(buf));
}

/* The owner waits for its own reading as for anybody's. */
static void test_vm_withdraw__waits_for_a_pull(void **state)
{
    struct trio *t = *state;
    pthread_t thread;
    void *rc;
    vm_of(&t->b)->readv = readv_held;
    atomic_store(&held, 1);
    assert_int_equal(pthread_create(&thread, NULL, put_in_thread, t), 0);
    assert_true(soon(&reading, 1));
    mf_assert_rc(t->b.ops->withdraw(t->b.tp, &t->sb.segment, th_deadline(&t->b, 50)),
                 SMEM_RES_IN_USE);
    mf_assert_err_has("rank 1");
    atomic_store(&held, 0);
    mf_assert_ok(th_withdraw(&t->b, &t->sb, 5000));
    t->sb.segment.priv = NULL;
    assert_int_equal(pthread_join(thread, &rc), 0);
    assert_int_equal((intptr_t)rc, SMEM_NOT_CONNECTED);
}

static void test_vm_put__the_owner_is_declared_dead(void **state)
{
    struct trio *t = *state;
    uint64_t value = 1;
    pthread_t thread;
    void *rc;
    vm_of(&t->b)->readv = readv_held;
    atomic_store(&held, 1);
    pthread_rwlock_rdlock(&t->a.calls); /* as a thread inside a call: the segment stays */
    assert_int_equal(pthread_create(&thread, NULL, put_in_thread, t), 0);
    assert_true(soon(&reading, 1));
    uint64_t before = mf_now_ns(&t->a.env);
    mf_assert_ok(t->a.ops->detach(t->a.tp, 1, t->b.host.incarnation, UINT32_MAX, MF_DETACH_DEAD));
    assert_int_equal(pthread_join(thread, &rc), 0);
    assert_int_equal((intptr_t)rc, SMEM_NOT_CONNECTED);
    assert_true(mf_now_ns(&t->a.env) - before < 2000000000ull);
    mf_assert_rc(get(t, t->at_b, 0, &value, 8), SMEM_NOT_CONNECTED);
    mf_assert_rc(put(t, t->at_b, 0, &value, 8), SMEM_NOT_CONNECTED);
    pthread_rwlock_unlock(&t->a.calls);
}

/* ---- rubbish ---- */

/* A connection to b as whoever it likes. */
static int connect_as(struct trio *t, uint32_t rank, uint64_t incarnation)
{
    struct sockaddr_un addr;
    struct mf_direct *b = t->b.tp;
    struct mf_direct_msg msg;
    socklen_t len = mf_direct_address(b->token, &addr);
    struct timeval limit = {.tv_sec = 5};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    mf_direct_msg_init(t->a.tp, MF_DIRECT_PULL, 0, t->b.host.incarnation, &msg);
    msg.rank = rank;
    msg.incarnation = incarnation;
    mf_assert_ok(mf_direct_send(fd, &msg, NULL, 0));
    return fd;
}

static struct mf_direct_pull *request(struct trio *t)
{
    static struct mf_direct_pull pull;
    static uint8_t buf[64];
    pull = (struct mf_direct_pull){.rank = 0,
                                   .index = t->at_b->desc.index,
                                   .incarnation = t->a.host.incarnation,
                                   .epoch = t->at_b->desc.epoch,
                                   .number = 1,
                                   .count = 1,
                                   .v = {{.src = num(buf), .offset = 128, .size = 64}}};
    return &pull;
}

/* The code of the answer; 1: it was cut off. */
static int ask(int fd, const struct mf_direct_pull *pull)
{
    uint8_t bytes[MF_DIRECT_PULL_MAX];
    struct mf_direct_done done;
    size_t len = mf_direct_pull_encode(pull, bytes);
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
    ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
    if (n <= 0) {
        return 1;
    }
    mf_assert_ok(mf_direct_done_decode(bytes, (size_t)n, &done));
    if (done.code) {
        mf_err(done.code, "%s", done.text);
    }
    return done.code;
}

static void test_vm_serve__checks_every_request(void **state)
{
    struct trio *t = *state;
    int fd = connect_as(t, 0, t->a.host.incarnation);
    struct mf_direct_pull *pull = request(t);
    mf_assert_rc(ask(fd, pull), SMEM_OK);
    pull->v[0].offset = OWN - 63;
    mf_assert_rc(ask(fd, pull), SMEM_INVALID_PARAM);
    mf_assert_err_has("outside of segment");
    pull->v[0].offset = 0;
    pull->epoch++;
    mf_assert_rc(ask(fd, pull), SMEM_NOT_CONNECTED);
    mf_assert_err_has("is gone");
    pull = request(t);
    pull->index++;
    mf_assert_rc(ask(fd, pull), SMEM_NOT_CONNECTED);
    pull = request(t);
    mf_assert_rc(ask(fd, pull), SMEM_OK);
    pull->rank = 2; /* as somebody else */
    mf_assert_rc(ask(fd, pull), 1);
    close(fd);
}

static void test_vm_serve__cuts_off_rubbish(void **state)
{
    struct trio *t = *state;
    uint64_t value = 4;
    uint64_t seed = 99;
    uint8_t bytes[MF_DIRECT_PULL_MAX + 100];
    for (uint32_t round = 0; round < 60; round++) {
        int fd = connect_as(t, 0, t->a.host.incarnation);
        struct mf_direct_pull *pull = request(t);
        size_t len = mf_direct_pull_encode(pull, bytes);
        for (uint32_t i = 0; i < round % 5 + 1; i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            bytes[(seed >> 33) % len] ^= (uint8_t)(1u << (seed >> 61));
        }
        len = round % 3 ? len : (size_t)(seed >> 40) % sizeof(bytes) + 1;
        assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
        (void)!recv(fd, bytes, sizeof(bytes), 0); /* an answer, or the end; never nothing */
        close(fd);
    }
    mf_assert_ok(put(t, t->at_b, 0, &value, 8)); /* it harms nobody else */
}

static void expect_refusal(int fd, const char *part)
{
    struct mf_direct_msg msg;
    uint8_t bytes[MF_DIRECT_MSG_MAX];
    ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
    assert_true(n > 0);
    mf_assert_ok(mf_direct_msg_decode(bytes, (size_t)n, &msg));
    assert_int_equal(msg.type, MF_DIRECT_REFUSE);
    if (!strstr(msg.text, part)) {
        fail_msg("\"%s\" has no \"%s\"", msg.text, part);
    }
    close(fd);
}

static void test_vm_serve__refuses_whom_it_does_not_know(void **state)
{
    struct trio *t = *state;
    uint64_t value = 0;
    expect_refusal(connect_as(t, 0, t->a.host.incarnation + 1), "is not attached as rank 0");
    expect_refusal(connect_as(t, 3, t->a.host.incarnation), "is not attached as rank 3");
    mf_assert_ok(t->b.ops->detach(t->b.tp, 0, t->a.host.incarnation, UINT32_MAX, MF_DETACH_DEAD));
    expect_refusal(connect_as(t, 0, t->a.host.incarnation), "was declared dead");
    mf_assert_rc(put(t, t->at_b, 0, &value, 8), SMEM_NOT_CONNECTED);
    mf_assert_err_has("refuses to pull: rank 0 was declared dead");
}

/* ---- without memory ---- */

static int life_of_a_put(void *arg)
{
    struct trio *t = arg;
    uint64_t value = 5;
    void *lane = NULL;
    int rc = t->a.ops->lane_open(t->a.tp, &lane);
    if (rc) {
        return rc;
    }
    rc = th_copy(&t->a, lane, t->at_b, t->at_b->desc.gva, NULL, num(&value), 8);
    if (rc == SMEM_OK) {
        rc = th_copy(&t->a, lane, t->at_c, t->at_c->desc.gva, t->at_b, t->at_b->desc.gva, 8);
    }
    struct mf_err_rec first;
    mf_err_save(&first);
    t->a.ops->lane_close(t->a.tp, lane);
    mf_err_restore(&first);
    return rc;
}

/* Until the loop has freed what a conversation needed. */
static void wait_for_loop(struct th *th)
{
    struct mf_direct *d = th->tp;
    uint32_t conns = 1;
    for (int i = 0; conns > 0 && i < 10000; i++) {
        mf_mutex_lock(&d->lock);
        conns = d->conn_count;
        mf_mutex_unlock(&d->lock);
        pause_a_little();
    }
}

/* The owner forgets a closed connection a moment later. */
static int settled_life(void *arg)
{
    struct trio *t = arg;
    struct th *owners[] = {&t->b, &t->c};
    int rc = life_of_a_put(arg);
    struct mf_err_rec first;
    mf_err_save(&first);
    for (int i = 0; i < 2; i++) {
        wait_for_loop(owners[i]);
        mf_direct_vm_close(owners[i]->tp); /* with its thread */
        while (mf_direct_vm_open(owners[i]->tp) != SMEM_OK) {
        }
    }
    mf_err_restore(&first);
    return rc;
}

static void test_vm__without_memory(void **state)
{
    struct trio *t = *state;
    wait_for_loop(&t->a);
    wait_for_loop(&t->b);
    wait_for_loop(&t->c);
    assert_true(mf_torture_recovers(settled_life, t) >= 5);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_vm__no_mapping_and_all_directions),
        CASE(test_vm__longer_than_one_request),
        CASE(test_vm__batches),
        CASE(test_vm_put__names_the_address_without_memory),
        CASE(test_vm_get__names_the_address_without_memory),
        CASE(test_vm__permission_is_taken_back),
        CASE(test_vm__mapped_where_it_is_not_allowed),
        CASE(test_vm_explain__is_one_or_the_other),
        CASE(test_vm_put__a_deadline_leaves_the_memory_in_use),
        CASE(test_vm_put__one_stopped_owner_stops_nobody_else),
        CASE(test_vm_put__so_many_may_be_given_up),
        CASE(test_vm_withdraw__waits_for_a_pull),
        CASE(test_vm_put__the_owner_is_declared_dead),
        CASE(test_vm_serve__checks_every_request),
        CASE(test_vm_serve__cuts_off_rubbish),
        CASE(test_vm_serve__refuses_whom_it_does_not_know),
        CASE(test_vm__without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
