// SPDX-License-Identifier: Apache-2.0
// The transport of one host with several instances in one process: attaching, the fence, detaching,
// and what each refuses. What needs processes that die is in test_direct_death.c.
#include "transport/direct/direct.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conformance/transport_host.h"
#include "mf_test.h"
#include "mf_torture.h"
#include "transport/direct/internal.h"

#define MIB   (1ull << 20)
#define DRAM  MF_KIND_DRAM
#define HERE2 (TH_BASE + (2ull << 32))

struct trio {
    struct th a, b, c; /* ranks 0, 1, 2 */
    struct th_own sa, sb;
    void *lane;             /* of a */
    struct mf_segment *seg; /* b's, at a */
};

static int open_rank(struct th *th, uint32_t rank)
{
    struct th_cfg cfg = {
        .ops = &mf_direct_ops, .rank = rank, .here = TH_BASE + ((uint64_t)rank << 32)};
    return th_open(th, &cfg);
}

static int setup(void **state)
{
    static struct trio t;
    memset(&t, 0, sizeof(t));
    mf_assert_ok(open_rank(&t.a, 0));
    mf_assert_ok(open_rank(&t.b, 1));
    mf_assert_ok(th_publish(&t.a, DRAM, 0, 4 * MIB, &t.sa));
    mf_assert_ok(th_publish(&t.b, DRAM, 2 * MIB, 8 * MIB, &t.sb));
    mf_assert_ok(th_attach_to(&t.a, &t.b));
    mf_assert_ok(t.a.ops->lane_open(t.a.tp, &t.lane));
    t.seg = th_find(&t.a, 1, DRAM, 2 * MIB);
    assert_non_null(t.seg);
    *state = &t;
    return 0;
}

static void withdraw_if_there(struct th *th, struct th_own *own)
{
    if (own->segment.priv && own->memory.fd > 0) {
        mf_assert_ok(th_withdraw(th, own, 1000));
    }
}

static int teardown(void **state)
{
    struct trio *t = *state;
    t->a.ops->lane_close(t->a.tp, t->lane);
    t->a.ops->detach(t->a.tp, 1, t->b.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    t->b.ops->detach(t->b.tp, 0, t->a.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    withdraw_if_there(&t->a, &t->sa);
    withdraw_if_there(&t->b, &t->sb);
    th_close(&t->a);
    th_close(&t->b);
    return 0;
}

static uint64_t at_b(const struct trio *t, uint64_t offset)
{
    return th_gva(&t->a, 1, DRAM, 2 * MIB + offset);
}

static int put8(struct trio *t, uint64_t offset, uint64_t value)
{
    return th_copy(&t->a, t->lane, t->seg, at_b(t, offset), NULL, (uint64_t)(uintptr_t)&value, 8);
}

static void test_attach__both_sides_know_both(void **state)
{
    struct trio *t = *state;
    assert_int_equal(th_count(&t->a, 1), 1);
    assert_int_equal(th_count(&t->b, 0), 1);
    struct mf_segment *mine = th_find(&t->b, 0, DRAM, 0);
    assert_non_null(mine);
    assert_int_equal(mine->desc.size, 4 * MIB);
    assert_int_equal(mine->desc.epoch, t->sa.segment.desc.epoch);
    assert_int_equal(mine->desc.incarnation, t->a.host.incarnation);
    mf_assert_ok(put8(t, 64, 0x1234567890abcdefull));
    assert_int_equal(*(uint64_t *)(void *)th_ptr(&t->b, 1, DRAM, 2 * MIB + 64),
                     0x1234567890abcdefull);
}

static void test_attach__again_brings_only_what_is_new(void **state)
{
    struct trio *t = *state;
    struct th_own more;
    struct mf_segment *before = t->seg;
    mf_assert_ok(th_publish(&t->b, DRAM, 12 * MIB, 2 * MIB, &more));
    assert_int_equal(th_count(&t->a, 1), 1);
    mf_assert_ok(th_attach_to(&t->a, &t->b));
    assert_int_equal(th_count(&t->a, 1), 2);
    assert_ptr_equal(th_find(&t->a, 1, DRAM, 2 * MIB), before);
    assert_int_not_equal(more.segment.desc.index, t->sb.segment.desc.index);
    mf_assert_ok(th_attach_to(&t->b, &t->a));
    assert_int_equal(th_count(&t->b, 0), 1);
    mf_assert_ok(th_withdraw(&t->b, &more, 1000));
}

static void test_attach__more_segments_than_fit_a_message(void **state)
{
    struct trio *t = *state;
    static struct th_own many_a[20];
    static struct th_own many_b[20];
    uint32_t total = 20;
    for (uint32_t i = 0; i < total; i++) {
        mf_assert_ok(th_publish(&t->a, DRAM, (4 + 2 * i) * MIB, 2 * MIB, &many_a[i]));
        mf_assert_ok(th_publish(&t->b, DRAM, (10 + 2 * i) * MIB, 2 * MIB, &many_b[i]));
    }
    mf_assert_ok(th_attach_to(&t->a, &t->b));
    assert_int_equal(th_count(&t->a, 1), total + 1);
    assert_int_equal(th_count(&t->b, 0), total + 1);
    for (uint32_t i = 0; i < total; i++) {
        mf_assert_ok(th_withdraw(&t->a, &many_a[i], 1000));
        mf_assert_ok(th_withdraw(&t->b, &many_b[i], 1000));
    }
}

static void test_attach__more_messages_than_one(void **state)
{
    struct trio *t = *state;
    static struct th_own many[45]; /* 45 and the first one: two messages */
    t->b.ops->detach(t->b.tp, 0, t->a.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    t->a.ops->detach(t->a.tp, 1, t->b.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    int zero = memfd_create("one", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(zero, 4096), 0);
    assert_int_equal(fcntl(zero, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    for (uint32_t i = 0; i < 45; i++) {
        mf_assert_ok(th_publish_fd(&t->a, (8 + i) * MIB, 4096, zero, &many[i]));
    }
    mf_assert_ok(th_attach_to(&t->b, &t->a)); /* the answering side has more */
    assert_int_equal(th_count(&t->b, 0), 46);
    t->b.ops->detach(t->b.tp, 0, t->a.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    assert_int_equal(th_count(&t->b, 0), 0);
    mf_assert_ok(th_attach_to(&t->a, &t->b)); /* the asking side has more */
    assert_int_equal(th_count(&t->b, 0), 46);
    for (uint32_t i = 0; i < 45; i++) {
        mf_assert_ok(th_withdraw(&t->a, &many[i], 1000));
    }
    close(zero);
}

static void test_attach__endpoint_of_another_host_or_namespace(void **state)
{
    struct trio *t = *state;
    uint8_t endpoint[MF_ENDPOINT_MAX];
    uint32_t len = t->b.endpoint_len;
    memcpy(endpoint, t->b.endpoint, len);
    endpoint[24] ^= 1;
    mf_assert_rc(th_attach(&t->a, 1, t->b.host.incarnation, endpoint, len, 1000),
                 SMEM_NOT_CONNECTED);
    mf_assert_err_has("rank 1 is on another host");
    endpoint[24] ^= 1;
    endpoint[32] ^= 1;
    mf_assert_rc(th_attach(&t->a, 1, t->b.host.incarnation, endpoint, len, 1000),
                 SMEM_NOT_CONNECTED);
    mf_assert_err_has("network namespace");
    endpoint[32] ^= 1;
    endpoint[8] ^= 1;
    mf_assert_rc(th_attach(&t->a, 1, t->b.host.incarnation, endpoint, len, 1000),
                 SMEM_NOT_CONNECTED);
    mf_assert_err_has("has ended");
    mf_assert_rc(th_attach(&t->a, 1, 1, endpoint, 7, 1000), SMEM_INVALID_PARAM);
    mf_assert_rc(th_attach(&t->a, 1, 1, endpoint, 0, 1000), SMEM_INVALID_PARAM);
    endpoint[8] ^= 1;
    mf_assert_rc(th_attach(&t->a, 0, 1, endpoint, len, 1000), SMEM_INVALID_PARAM);
    mf_assert_rc(th_attach(&t->a, TH_WORLD, 1, endpoint, len, 1000), SMEM_INVALID_PARAM);
    mf_assert_rc(th_attach(&t->a, 1, t->b.host.incarnation + 1, endpoint, len, 1000),
                 SMEM_NOT_CONNECTED);
    mf_assert_err_has("another life of rank 1");
    mf_assert_rc(th_attach(&t->a, 2, t->b.host.incarnation, endpoint, len, 1000),
                 SMEM_NOT_CONNECTED);
    mf_assert_err_has("another process answers");
}

static void test_attach__the_host_refuses(void **state)
{
    struct trio *t = *state;
    t->a.ops->detach(t->a.tp, 1, t->b.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    t->b.ops->detach(t->b.tp, 0, t->a.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    atomic_store(&t->b.refuse_place, 1);
    mf_assert_rc(th_attach_to(&t->a, &t->b), SMEM_NOT_CONNECTED);
    mf_assert_err_has("it refuses: no place for segment 0 of rank 0");
    assert_int_equal(th_count(&t->b, 0), 0);
    atomic_store(&t->b.refuse_place, 0);
    atomic_store(&t->a.refuse_up, 1);
    t->a.ops->detach(t->a.tp, 1, t->b.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    mf_assert_rc(th_attach_to(&t->a, &t->b), SMEM_DUPLICATED);
    assert_int_equal(th_count(&t->a, 1), 0);
    atomic_store(&t->a.refuse_up, 0);
    mf_assert_ok(th_attach_to(&t->a, &t->b));
    assert_int_equal(th_count(&t->a, 1), 1);
    assert_int_equal(th_count(&t->b, 0), 1);
}

static void test_attach__refuses_a_descriptor_that_can_shrink(void **state)
{
    struct trio *t = *state;
    struct th_own open_end;
    int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, 2 * MIB), 0);
    mf_assert_ok(th_publish_fd(&t->b, 12 * MIB, 2 * MIB, fd, &open_end));
    mf_assert_rc(th_attach_to(&t->a, &t->b), SMEM_NOT_CONNECTED);
    mf_assert_err_has("not sealed");
    assert_int_equal(th_count(&t->a, 1), 1);
    mf_assert_ok(put8(t, 0, 1)); /* what was attached before goes on */
    mf_assert_ok(th_withdraw(&t->b, &open_end, 1000));
    close(fd);
}

static void test_attach__refuses_a_descriptor_that_is_too_short(void **state)
{
    struct trio *t = *state;
    struct th_own small;
    int fd = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, MIB), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    mf_assert_ok(th_publish_fd(&t->b, 12 * MIB, 2 * MIB, fd, &small));
    mf_assert_rc(th_attach_to(&t->a, &t->b), SMEM_NOT_CONNECTED);
    mf_assert_err_has("holds less than");
    mf_assert_ok(th_withdraw(&t->b, &small, 1000));
    close(fd);
}

static int connect_raw(const struct th *th)
{
    struct sockaddr_un addr;
    socklen_t len = mf_direct_address(th->endpoint + 8, &addr);
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 5};
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    assert_int_equal(connect(sock, (struct sockaddr *)&addr, len), 0);
    return sock;
}

/* Rubbish, half a message, a message without its descriptors, silence: each is cut off, nobody else
 * is. */
static void test_serve__survives_rubbish(void **state)
{
    struct trio *t = *state;
    uint8_t bytes[MF_DIRECT_MSG_MAX] = {0};
    int silent[8];
    for (int i = 0; i < 8; i++) {
        silent[i] = connect_raw(&t->b);
    }
    for (size_t len = 1; len < sizeof(bytes); len += 97) {
        int sock = connect_raw(&t->b);
        uint8_t answer[MF_DIRECT_MSG_MAX];
        static struct mf_direct_msg msg;
        assert_int_equal(send(sock, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
        ssize_t n = recv(sock, answer, sizeof(answer), 0);
        assert_true(n > 0);
        mf_assert_ok(mf_direct_msg_decode(answer, (size_t)n, &msg));
        assert_int_equal(msg.type, MF_DIRECT_REFUSE);
        assert_int_equal(recv(sock, answer, sizeof(answer), 0), 0);
        close(sock);
        memset(bytes, (int)len, sizeof(bytes));
    }
    static struct mf_direct_msg hello;
    mf_direct_msg_init(t->a.tp, MF_DIRECT_HELLO, TH_POOL, t->b.host.incarnation, &hello);
    int sock = connect_raw(&t->b);
    mf_assert_ok(mf_direct_send(sock, &hello, NULL, 0)); /* without the control page */
    assert_true(recv(sock, bytes, sizeof(bytes), 0) > 0);
    close(sock);
    mf_assert_ok(th_attach_to(&t->a, &t->b));
    for (int i = 0; i < 8; i++) {
        close(silent[i]);
    }
}

static _Atomic uint64_t clock_ahead_ns;

static uint64_t clock_of_test(const struct mf_plugin_host *host)
{
    struct timespec now;
    (void)host;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec +
           atomic_load(&clock_ahead_ns);
}

/* On the loop, which reads it. */
static void give_test_clock(void *arg)
{
    struct th *th = arg;
    th->plugin.now_ns = clock_of_test;
}

static void test_serve__cuts_off_who_is_silent(void **state)
{
    struct trio *t = *state;
    char byte;
    mf_assert_ok(mf_loop_call(t->b.loop, give_test_clock, &t->b));
    int silent = connect_raw(&t->b);
    mf_assert_ok(th_attach_to(&t->a, &t->b)); /* it has been accepted by now */
    assert_int_equal(recv(silent, &byte, 1, MSG_DONTWAIT), -1);
    atomic_store(&clock_ahead_ns, 6000000000ull);
    mf_assert_ok(th_attach_to(&t->a, &t->b));
    assert_int_equal(recv(silent, &byte, 1, 0), 0);
    atomic_store(&clock_ahead_ns, 0);
    close(silent);
}

/* More connections than it keeps: who has been silent for longest makes room. */
static void test_serve__has_room_for_so_many(void **state)
{
    struct trio *t = *state;
    static int socks[300];
    char byte;
    for (int i = 0; i < 300; i++) {
        socks[i] = connect_raw(&t->b);
    }
    mf_assert_ok(th_attach_to(&t->a, &t->b));
    assert_int_equal(recv(socks[0], &byte, 1, 0), 0);
    assert_int_equal(recv(socks[299], &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
    for (int i = 0; i < 300; i++) {
        close(socks[i]);
    }
    mf_assert_ok(th_attach_to(&t->a, &t->b));
}

/* Take every descriptor below the limit, also those that the loops still give back. */
static uint32_t take_all_fds(int *fds, uint32_t max)
{
    uint32_t count = 0;
    for (int i = 0; i < 20; i++) {
        int fd;
        while (count < max && (fd = dup(STDERR_FILENO)) >= 0) {
            fds[count++] = fd;
        }
        mf_direct_sleep_us(1000);
    }
    return count;
}

static void test_serve__without_a_descriptor_left(void **state)
{
    struct trio *t = *state;
    struct rlimit old;
    char byte;
    int fds[64];
    struct sockaddr_un addr;
    socklen_t len = mf_direct_address(t->b.endpoint + 8, &addr);
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit low = {.rlim_cur = 64, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    uint32_t count = take_all_fds(fds, 64);
    int connected = connect(sock, (struct sockaddr *)&addr, len);
    ssize_t n = recv(sock, &byte, 1, 0);
    setrlimit(RLIMIT_NOFILE, &old);
    while (count > 0) {
        close(fds[--count]);
    }
    assert_int_equal(connected, 0);
    assert_int_equal(n, 0); /* turned away, not left waiting */
    close(sock);
    mf_assert_ok(th_attach_to(&t->a, &t->b));
}

static void test_serve__refuses_another_user(void **state)
{
    struct trio *t = *state;
    int status = 0;
    if (geteuid() != 0) {
        print_message("skipped: only root can become another user\n");
        skip();
    }
    pid_t pid = fork();
    if (pid == 0) {
        static struct mf_direct_msg msg;
        uint8_t bytes[MF_DIRECT_MSG_MAX];
        bool other = setresuid(65534, 65534, 65534) == 0;
        int sock = connect_raw(&t->b);
        ssize_t n = recv(sock, bytes, sizeof(bytes), 0);
        bool refused = n > 0 && mf_direct_msg_decode(bytes, (size_t)n, &msg) == SMEM_OK &&
                       msg.type == MF_DIRECT_REFUSE && strstr(msg.text, "belongs to user 65534");
        _exit(other && refused ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Sockets, pidfds and control pages that this process has open. */
static uint32_t count_fds(void)
{
    uint32_t count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        char path[64];
        char target[128];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        count += strncmp(target, "socket:", 7) == 0 || strstr(target, "pidfd") != NULL ||
                 strstr(target, "memfabric control") != NULL;
    }
    return count;
}

static void test_close_fds__in_the_child_of_a_fork(void **state)
{
    struct trio *t = *state;
    int status = 0;
    uint32_t before = count_fds();
    assert_true(before >= 6); /* of each: listener, control page, pidfd */
    pid_t pid = fork();
    if (pid == 0) {
        t->a.ops->close_fds(t->a.tp);
        t->b.ops->close_fds(t->b.tp);
        _exit((int)count_fds());
    }
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    /* The loops' own sockets and the spare descriptors are not these functions' affair. */
    assert_true((uint32_t)WEXITSTATUS(status) + 6 <= before);
    mf_assert_ok(put8(t, 0, 5));
    mf_assert_ok(th_attach_to(&t->b, &t->a));
}

/* A control page that is not the sender's own proves nothing. */
static void test_serve__refuses_a_borrowed_identity(void **state)
{
    struct trio *t = *state;
    static struct mf_direct_msg msg;
    int fds[MF_DIRECT_MSG_FDS];
    uint32_t count = 0;
    struct mf_direct *d = t->a.tp;
    mf_direct_msg_init(d, MF_DIRECT_HELLO, TH_POOL, t->b.host.incarnation, &msg);
    msg.incarnation ^= 1;
    int sock = connect_raw(&t->b);
    mf_assert_ok(mf_direct_send(sock, &msg, &d->control_fd, 1));
    int rc;
    while ((rc = mf_direct_recv(sock, &msg, fds, &count)) == SMEM_RES_IN_USE) {
        mf_direct_sleep_us(100);
    }
    mf_assert_ok(rc);
    assert_int_equal(msg.type, MF_DIRECT_REFUSE);
    assert_non_null(strstr(msg.text, "control page"));
    close(sock);
}

static void test_withdraw__ends_all_copies(void **state)
{
    struct trio *t = *state;
    uint64_t value = 9;
    mf_assert_ok(put8(t, 0, 1));
    mf_assert_ok(th_withdraw(&t->b, &t->sb, 1000));
    mf_assert_rc(put8(t, 0, 2), SMEM_NOT_CONNECTED);
    mf_assert_err_has("rank 1 has left pool 3");
    mf_assert_rc(th_copy(&t->a, t->lane, NULL, (uint64_t)(uintptr_t)&value, t->seg, at_b(t, 0), 8),
                 SMEM_NOT_CONNECTED);
    assert_int_equal(value, 9);
    t->sb.memory.fd = 0;
}

static void test_withdraw__a_stale_epoch_is_refused(void **state)
{
    struct trio *t = *state;
    uint32_t index = t->sb.segment.desc.index;
    mf_assert_ok(th_withdraw(&t->b, &t->sb, 1000));
    mf_assert_ok(th_publish(&t->b, DRAM, 2 * MIB, 8 * MIB, &t->sb));
    assert_int_equal(t->sb.segment.desc.index, index); /* the same word, another epoch */
    mf_assert_rc(put8(t, 0, 2), SMEM_NOT_CONNECTED);
    mf_assert_ok(th_attach_to(&t->a, &t->b)); /* takes the stale one down */
    assert_int_equal(th_count(&t->a, 1), 1);
    t->seg = th_find(&t->a, 1, DRAM, 2 * MIB);
    mf_assert_ok(put8(t, 0, 2));
}

static void test_withdraw__waits_for_who_announces(void **state)
{
    struct trio *t = *state;
    struct mf_direct *a = t->a.tp;
    const struct mf_direct_seg *seg = t->seg->priv;
    atomic_store(&a->control->lines[0].hazard[1], seg->key.hazard); /* a copy that does not end */
    mf_assert_rc(t->b.ops->withdraw(t->b.tp, &t->sb.segment, th_deadline(&t->b, 60)),
                 SMEM_RES_IN_USE);
    mf_assert_err_has("rank 0");
    mf_assert_rc(put8(t, 0, 2), SMEM_NOT_CONNECTED); /* refused all the same; retracts the word */
    mf_assert_ok(t->b.ops->withdraw(t->b.tp, &t->sb.segment, th_deadline(&t->b, 60)));
    struct mf_direct *b = t->b.tp;
    atomic_store(&b->control->lines_used, 1); /* the owner's own threads, too */
    atomic_store(&b->control->lines[0].hazard[5], seg->key.hazard);
    mf_assert_rc(t->b.ops->withdraw(t->b.tp, &t->sb.segment, th_deadline(&t->b, 60)),
                 SMEM_RES_IN_USE);
    mf_assert_err_has("rank 1");
    atomic_store(&b->control->lines[0].hazard[5], 0);
    mf_assert_ok(th_withdraw(&t->b, &t->sb, 1000));
    t->sb.memory.fd = 0;
}

/* A thread that is gone does not copy; one that lives may. */
static void test_withdraw__does_not_wait_for_a_dead_thread(void **state)
{
    struct trio *t = *state;
    struct mf_direct *a = t->a.tp;
    const struct mf_direct_seg *seg = t->seg->priv;
    atomic_store(&a->control->lines[0].hazard[1], seg->key.hazard);
    atomic_store(&a->control->lines[0].tid, (uint32_t)gettid());
    mf_assert_rc(t->b.ops->withdraw(t->b.tp, &t->sb.segment, th_deadline(&t->b, 200)),
                 SMEM_RES_IN_USE);
    atomic_store(&a->control->lines[0].tid, 0x3ffffff); /* above the kernel's limit */
    mf_assert_ok(t->b.ops->withdraw(t->b.tp, &t->sb.segment, th_deadline(&t->b, 2000)));
    atomic_store(&a->control->lines[0].hazard[1], 0);
    atomic_store(&a->control->lines[0].tid, 0);
}

static void test_own_segment__the_same_fence(void **state)
{
    struct trio *t = *state;
    uint64_t value = 77;
    uint64_t gva = th_gva(&t->a, 0, DRAM, 8);
    mf_assert_ok(
        th_copy(&t->a, t->lane, &t->sa.segment, gva, NULL, (uint64_t)(uintptr_t)&value, 8));
    assert_int_equal(*(uint64_t *)(void *)th_ptr(&t->a, 0, DRAM, 8), 77);
    mf_assert_ok(th_copy(&t->a, t->lane, t->seg, at_b(t, 0), &t->sa.segment, gva, 8));
    assert_int_equal(*(uint64_t *)(void *)th_ptr(&t->b, 1, DRAM, 2 * MIB), 77);
    mf_assert_ok(t->a.ops->withdraw(t->a.tp, &t->sa.segment, th_deadline(&t->a, 100)));
    struct mf_segment gone = t->sa.segment;
    const struct mf_fence_page *page = ((struct mf_direct *)t->a.tp)->control;
    struct mf_direct_seg copy = {.key = {.hazard = 1,
                                         .epoch = gone.desc.epoch,
                                         .epoch_now = &page->epochs[0],
                                         .admitted = &page->admitted[0]}};
    gone.priv = &copy;
    mf_assert_rc(th_copy(&t->a, t->lane, &gone, gva, NULL, (uint64_t)(uintptr_t)&value, 8),
                 SMEM_NOT_CONNECTED);
    mf_assert_err_has("was withdrawn");
}

static void test_detach__dead_peer_is_refused_from_now_on(void **state)
{
    struct trio *t = *state;
    mf_assert_ok(put8(t, 0, 1));
    mf_assert_ok(t->b.ops->detach(t->b.tp, 0, t->a.host.incarnation, UINT32_MAX, MF_DETACH_DEAD));
    assert_int_equal(th_count(&t->b, 0), 0);
    mf_assert_rc(put8(t, 0, 2), SMEM_NOT_CONNECTED);
    mf_assert_err_has("this rank was declared dead by rank 1");
    assert_int_equal(*(uint64_t *)(void *)th_ptr(&t->b, 1, DRAM, 2 * MIB), 1);
    mf_assert_rc(th_attach_to(&t->a, &t->b), SMEM_NOT_CONNECTED);
    mf_assert_err_has("declared dead");
    /* Its own memory was taken away as well, and it is told so. */
    uint64_t value = 5;
    mf_assert_rc(th_copy(&t->a, t->lane, &t->sa.segment, th_gva(&t->a, 0, DRAM, 0), NULL,
                         (uint64_t)(uintptr_t)&value, 8),
                 SMEM_NOT_CONNECTED);
    mf_assert_err_has("declared dead");
    /* A paused copy of the living process is still waited for. */
    struct mf_direct *a = t->a.tp;
    atomic_store(&a->control->lines[0].hazard[0],
                 ((struct mf_direct_seg *)t->seg->priv)->key.hazard);
    mf_assert_rc(t->b.ops->withdraw(t->b.tp, &t->sb.segment, th_deadline(&t->b, 50)),
                 SMEM_RES_IN_USE);
    atomic_store(&a->control->lines[0].hazard[0], 0);
}

static uint64_t blocks_bytes(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

/* The survivor gives a dead rank's pages back and reads zeros in their place. */
static void test_detach__dead_gives_the_memory_back(void **state)
{
    struct trio *t = *state;
    volatile uint8_t *there = th_ptr(&t->a, 1, DRAM, 2 * MIB);
    memset(th_ptr(&t->b, 1, DRAM, 2 * MIB), 3, 8 * MIB);
    assert_int_equal(there[5], 3);
    assert_int_equal(blocks_bytes(t->sb.fd), 8 * MIB);
    mf_assert_ok(t->a.ops->detach(t->a.tp, 1, t->b.host.incarnation, UINT32_MAX, MF_DETACH_DEAD));
    assert_int_equal(there[5], 0);
    there[5] = 9; /* hits nothing */
    for (int i = 0; i < 2000 && blocks_bytes(t->sb.fd) > 0; i++) {
        mf_direct_sleep_us(1000);
    }
    assert_int_equal(blocks_bytes(t->sb.fd), 0);
    mf_assert_ok(t->a.ops->detach(t->a.tp, 1, t->b.host.incarnation, UINT32_MAX, MF_DETACH_DEAD));
}

static void test_detach__one_pool_and_unknown_peers(void **state)
{
    struct trio *t = *state;
    mf_assert_ok(t->a.ops->detach(t->a.tp, 3, 99, UINT32_MAX, MF_DETACH_LEFT));
    mf_assert_ok(t->a.ops->detach(t->a.tp, 1, 99, UINT32_MAX, MF_DETACH_LEFT));
    mf_assert_rc(t->a.ops->detach(t->a.tp, 1024, 99, UINT32_MAX, MF_DETACH_DEAD),
                 SMEM_INVALID_PARAM);
    mf_assert_ok(t->a.ops->detach(t->a.tp, 1, t->b.host.incarnation, TH_POOL + 1, MF_DETACH_LEFT));
    assert_int_equal(th_count(&t->a, 1), 1);
    mf_assert_ok(t->a.ops->detach(t->a.tp, 1, t->b.host.incarnation, TH_POOL, MF_DETACH_LEFT));
    assert_int_equal(th_count(&t->a, 1), 0);
    assert_int_equal(*th_ptr(&t->a, 1, DRAM, 2 * MIB), 0); /* no crash */
    mf_assert_ok(th_attach_to(&t->a, &t->b));
    t->seg = th_find(&t->a, 1, DRAM, 2 * MIB);
    mf_assert_ok(put8(t, 0, 4));
}

/* A rank that comes back replaces its earlier life. */
static void test_attach__a_new_life_of_a_rank(void **state)
{
    struct trio *t = *state;
    struct th_cfg cfg = {.ops = &mf_direct_ops, .rank = 1, .here = HERE2};
    mf_assert_ok(th_open(&t->c, &cfg));
    struct th_own own;
    mf_assert_ok(th_publish(&t->c, DRAM, 2 * MIB, 2 * MIB, &own));
    /* Both live: a's core has to say which one has the rank. */
    mf_assert_rc(th_attach_to(&t->c, &t->a), SMEM_NOT_CONNECTED);
    mf_assert_err_has("rank 1 is another living process here");
    mf_assert_ok(put8(t, 0, 20)); /* the old one is as it was */
    t->a.ops->detach(t->a.tp, 1, t->b.host.incarnation, UINT32_MAX, MF_DETACH_DEAD);
    mf_assert_ok(th_attach_to(&t->c, &t->a));
    assert_int_equal(th_count(&t->a, 1), 1);
    struct mf_segment *fresh = th_find(&t->a, 1, DRAM, 2 * MIB);
    assert_int_equal(fresh->desc.incarnation, t->c.host.incarnation);
    assert_int_equal(fresh->desc.size, 2 * MIB);
    mf_assert_rc(th_attach_to(&t->b, &t->a), SMEM_NOT_CONNECTED); /* the old one stays out */
    t->c.ops->detach(t->c.tp, 0, t->a.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    t->a.ops->detach(t->a.tp, 1, t->c.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    mf_assert_ok(th_withdraw(&t->c, &own, 1000));
    th_close(&t->c);
}

/* Whom the core asks for is the one that has the rank. */
static void test_attach__to_a_new_life_ends_the_old_one(void **state)
{
    struct trio *t = *state;
    struct th_cfg cfg = {.ops = &mf_direct_ops, .rank = 1, .here = HERE2};
    mf_assert_ok(th_open(&t->c, &cfg));
    struct th_own own;
    mf_assert_ok(th_publish(&t->c, DRAM, 2 * MIB, 2 * MIB, &own));
    mf_assert_ok(th_attach_to(&t->a, &t->c));
    assert_int_equal(th_count(&t->a, 1), 1);
    assert_int_equal(th_find(&t->a, 1, DRAM, 2 * MIB)->desc.incarnation, t->c.host.incarnation);
    mf_assert_rc(th_attach_to(&t->b, &t->a), SMEM_NOT_CONNECTED);
    t->c.ops->detach(t->c.tp, 0, t->a.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    t->a.ops->detach(t->a.tp, 1, t->c.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
    mf_assert_ok(th_withdraw(&t->c, &own, 1000));
    th_close(&t->c);
}

static void test_fence__without_membarrier(void **state)
{
    struct trio *t = *state;
    ((struct mf_direct_seg *)t->seg->priv)->key.strict = true;
    mf_assert_ok(put8(t, 0, 21));
    assert_int_equal(*(uint64_t *)(void *)th_ptr(&t->b, 1, DRAM, 2 * MIB), 21);
    mf_assert_ok(th_withdraw(&t->b, &t->sb, 1000));
    mf_assert_rc(put8(t, 0, 22), SMEM_NOT_CONNECTED);
    t->sb.memory.fd = 0;
}

static void test_post__a_batch_with_good_and_bad_elements(void **state)
{
    struct trio *t = *state;
    static uint8_t buf[200 * 64];
    static struct mf_xfer v[200];
    memset(buf, 8, sizeof(buf));
    for (uint32_t i = 0; i < 200; i++) {
        v[i] = (struct mf_xfer){.dst_seg = i % 50 == 7 ? NULL : t->seg,
                                .src = (uint64_t)(uintptr_t)(buf + i * 64),
                                .dst = i % 50 == 7 ? (uint64_t)(uintptr_t)(buf + i * 64 + 32)
                                                   : at_b(t, i * 64),
                                .size = 32,
                                .status = MF_XFER_PENDING};
    }
    mf_assert_ok(t->a.ops->post(t->lane, v, 200));
    mf_assert_ok(t->a.ops->wait(t->lane, th_deadline(&t->a, 100)));
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(v[i].status, SMEM_OK);
        if (v[i].dst_seg) {
            assert_int_equal(th_ptr(&t->b, 1, DRAM, 2 * MIB)[i * 64 + 31], 8);
        }
        v[i].flags = i == 100 ? MF_XFER_SRC_DEV : 0; /* there is no device */
    }
    mf_assert_rc(t->a.ops->post(t->lane, v, 200), SMEM_NOT_CONNECTED);
    assert_int_equal(v[99].status, SMEM_OK);
    assert_int_equal(v[100].status, SMEM_NOT_CONNECTED);
    assert_int_equal(v[101].status, SMEM_OK);
    mf_err_clear();
    mf_assert_rc(t->a.ops->wait(t->lane, th_deadline(&t->a, 100)), SMEM_NOT_CONNECTED);
    mf_assert_err_has("MF_DEVICE");
    mf_assert_ok(t->a.ops->wait(t->lane, th_deadline(&t->a, 100)));
}

static void test_lane_open__has_a_limit(void **state)
{
    struct trio *t = *state;
    static void *lanes[MF_THREADS_MAX];
    uint32_t count = 0;
    while (count < MF_THREADS_MAX && t->a.ops->lane_open(t->a.tp, &lanes[count]) == SMEM_OK) {
        count++;
    }
    assert_int_equal(count, MF_THREADS_MAX - 1);
    mf_assert_err_has("512");
    for (uint32_t i = 0; i < count; i++) {
        t->a.ops->lane_close(t->a.tp, lanes[i]);
    }
    t->a.ops->lane_close(t->a.tp, NULL);
}

static void test_explain__says_how(void **state)
{
    struct trio *t = *state;
    char text[256];
    mf_assert_ok(t->a.ops->explain(t->a.tp, 1, text, sizeof(text)));
    assert_non_null(strstr(text, "1 segments, 8 MiB"));
    mf_assert_ok(t->a.ops->explain(t->a.tp, 2, text, sizeof(text)));
    assert_non_null(strstr(text, "not attached"));
    uint8_t small[8];
    uint32_t len;
    mf_assert_rc(t->a.ops->endpoint(t->a.tp, small, sizeof(small), &len), SMEM_BUFFER_TOO_SMALL);
}

struct attacher {
    struct th *th;
    const struct th *to;
    int rc;
};

static void *attach_many(void *arg)
{
    struct attacher *attacher = arg;
    for (int i = 0; i < 30 && attacher->rc == SMEM_OK; i++) {
        attacher->rc = th_attach_to(attacher->th, attacher->to);
        if (i % 5 == 4) {
            attacher->th->ops->detach(attacher->th->tp, attacher->to->host.rank,
                                      attacher->to->host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
        }
    }
    return NULL;
}

static void test_attach__from_both_sides_at_once(void **state)
{
    struct trio *t = *state;
    struct attacher v[] = {{&t->a, &t->b, 0}, {&t->b, &t->a, 0}, {&t->a, &t->b, 0}};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, attach_many, &v[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(v[i].rc, SMEM_OK);
    }
    mf_assert_ok(th_attach_to(&t->a, &t->b));
    assert_int_equal(th_count(&t->a, 1), 1);
    assert_int_equal(th_count(&t->b, 0), 1);
}

/* Everything from open to close, for the torture. */
static int whole_life(void *arg)
{
    static struct th a;
    static struct th b;
    struct th_own sa = {0};
    struct th_own sb = {0};
    void *lane = NULL;
    uint64_t value = 3;
    (void)arg;
    struct th_cfg cfg_a = {.ops = &mf_direct_ops, .rank = 2, .here = HERE2};
    struct th_cfg cfg_b = {.ops = &mf_direct_ops, .rank = 3, .here = HERE2 + (1ull << 32)};
    int rc_a = th_open(&a, &cfg_a);
    int rc_b = rc_a ? rc_a : th_open(&b, &cfg_b);
    int rc = rc_b;
    rc = rc ? rc : th_publish(&a, DRAM, 0, 2 * MIB, &sa);
    rc = rc ? rc : th_publish(&b, DRAM, 0, 2 * MIB, &sb);
    rc = rc ? rc : th_attach_to(&a, &b);
    rc = rc ? rc : a.ops->lane_open(a.tp, &lane);
    if (rc == SMEM_OK) {
        struct mf_segment *seg = th_find(&a, 3, DRAM, 0);
        rc = th_copy(&a, lane, seg, seg->desc.gva, NULL, (uint64_t)(uintptr_t)&value, 8);
    }
    struct mf_err_rec first;
    mf_err_save(&first);
    if (a.tp) {
        a.ops->lane_close(a.tp, lane);
        a.ops->detach(a.tp, 3, b.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
        if (sa.segment.priv) {
            th_withdraw(&a, &sa, 1000);
        }
    }
    if (b.tp) {
        b.ops->detach(b.tp, 2, a.host.incarnation, UINT32_MAX, MF_DETACH_LEFT);
        if (sb.segment.priv) {
            th_withdraw(&b, &sb, 1000);
        }
    }
    th_close(&a);
    if (rc_a == SMEM_OK) {
        th_close(&b);
    }
    mf_err_restore(&first);
    return rc;
}

static void test_life__without_memory(void **state)
{
    (void)state;
    /* The answering side may fail where the asking side tries again. */
    assert_true(mf_torture_recovers(whole_life, NULL) >= 6);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_attach__both_sides_know_both),
        CASE(test_attach__again_brings_only_what_is_new),
        CASE(test_attach__more_segments_than_fit_a_message),
        CASE(test_attach__more_messages_than_one),
        CASE(test_attach__endpoint_of_another_host_or_namespace),
        CASE(test_attach__the_host_refuses),
        CASE(test_attach__refuses_a_descriptor_that_can_shrink),
        CASE(test_attach__refuses_a_descriptor_that_is_too_short),
        CASE(test_serve__survives_rubbish),
        CASE(test_serve__cuts_off_who_is_silent),
        CASE(test_serve__has_room_for_so_many),
        CASE(test_serve__without_a_descriptor_left),
        CASE(test_serve__refuses_another_user),
        CASE(test_close_fds__in_the_child_of_a_fork),
        CASE(test_serve__refuses_a_borrowed_identity),
        CASE(test_withdraw__ends_all_copies),
        CASE(test_withdraw__a_stale_epoch_is_refused),
        CASE(test_withdraw__waits_for_who_announces),
        CASE(test_withdraw__does_not_wait_for_a_dead_thread),
        CASE(test_own_segment__the_same_fence),
        CASE(test_detach__dead_peer_is_refused_from_now_on),
        CASE(test_detach__dead_gives_the_memory_back),
        CASE(test_detach__one_pool_and_unknown_peers),
        CASE(test_attach__a_new_life_of_a_rank),
        CASE(test_attach__to_a_new_life_ends_the_old_one),
        CASE(test_fence__without_membarrier),
        CASE(test_post__a_batch_with_good_and_bad_elements),
        CASE(test_lane_open__has_a_limit),
        CASE(test_explain__says_how),
        CASE(test_attach__from_both_sides_at_once),
        cmocka_unit_test(test_life__without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
