// SPDX-License-Identifier: Apache-2.0
// Cases about the end of things: withdrawn segments, peers that leave, are declared dead, are
// killed or stopped. What was refused is never executed, and nothing hangs.
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "transport_suite.h"

#define DRAM MF_KIND_DRAM

static uint64_t num(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

static int put(struct ts_rank *r, struct mf_segment *seg, uint64_t offset, const void *src,
               uint64_t size)
{
    return th_copy(&r->th, r->lane, seg, seg->desc.gva + offset, NULL, num(src), size);
}

static int get(struct ts_rank *r, struct mf_segment *seg, uint64_t offset, void *dst, uint64_t size)
{
    return th_copy(&r->th, r->lane, NULL, num(dst), seg, seg->desc.gva + offset, size);
}

static void sleep_ms(long ms)
{
    struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&span, NULL);
}

static int others_copy(struct ts_rank *r)
{
    return atomic_load(&r->shared->word[1]) > 50 && atomic_load(&r->shared->word[2]) > 50;
}

/* Two ranks write and read a third one's memory without a pause; it withdraws. From then on nothing
 * of theirs lands, and no copy that begins after it succeeds. */
void ts_withdraw_is_final(struct ts_rank *r)
{
    enum { SIZE = 200000 };
    uint8_t *buf = malloc(SIZE);
    TS_CHECK(r, buf != NULL);
    memset(buf, (int)r->rank, SIZE);
    if (r->rank == 0) {
        uint8_t *own = th_ptr(&r->th, 0, DRAM, 0);
        TS_CHECK(r, ts_soon(others_copy, r));
        TS_RC(r, r->th.ops->withdraw(r->th.tp, &r->dram.segment, th_deadline(&r->th, 5000)),
              SMEM_OK);
        atomic_store(&r->shared->word[0], 1);
        memset(own, 0x5a, 3 * SIZE);
        for (int i = 0; i < 20; i++) {
            sleep_ms(5);
            for (uint32_t k = 0; k < 3 * SIZE; k++) {
                TS_CHECK(r, own[k] == 0x5a);
            }
        }
    } else {
        struct mf_segment *seg = th_find(&r->th, 0, DRAM, 0);
        TS_CHECK(r, seg != NULL);
        int rc = SMEM_OK;
        for (uint32_t i = 0; rc == SMEM_OK; i++) {
            bool over = atomic_load(&r->shared->word[0]);
            rc = i % 4 == 3 ? get(r, seg, r->rank * SIZE, buf, SIZE)
                            : put(r, seg, r->rank * SIZE, buf, SIZE);
            TS_CHECK(r, rc != SMEM_OK || !over);
            TS_CHECK(r, rc != SMEM_OK || i % 4 != 3 || buf[SIZE / 2] == r->rank);
            atomic_fetch_add(&r->shared->word[r->rank], 1);
        }
        TS_RC(r, rc, SMEM_NOT_CONNECTED);
        TS_CHECK(r, mf_err_msg()[0] != '\0');
    }
    free(buf);
    ts_barrier(r);
}

void ts_stale_segment_is_refused(struct ts_rank *r)
{
    uint64_t value = 0x1111;
    struct mf_segment *seg = r->rank == 0 ? th_find(&r->th, 1, DRAM, 0) : NULL;
    if (r->rank == 0) {
        TS_RC(r, put(r, seg, 0, &value, 8), SMEM_OK);
    }
    ts_barrier(r);
    if (r->rank == 1) {
        uint64_t epoch = r->dram.segment.desc.epoch;
        TS_RC(r, th_withdraw(&r->th, &r->dram, 2000), SMEM_OK);
        TS_RC(r, th_publish(&r->th, DRAM, 0, TS_DRAM, &r->dram), SMEM_OK);
        TS_CHECK(r, r->dram.segment.desc.epoch != epoch && r->dram.segment.desc.epoch != 0);
    }
    ts_barrier(r);
    if (r->rank == 0) {
        value = 0x2222;
        TS_RC(r, put(r, seg, 0, &value, 8), SMEM_NOT_CONNECTED);
        TS_RC(r, get(r, seg, 0, &value, 8), SMEM_NOT_CONNECTED);
    }
    ts_barrier(r);
    if (r->rank == 1) {
        TS_CHECK(r, *(uint64_t *)(void *)th_ptr(&r->th, 1, DRAM, 0) == 0);
    }
    ts_barrier(r);
}

void ts_detach_and_attach_again(struct ts_rank *r)
{
    uint64_t value = 77;
    uint32_t peer = 1 - r->rank;
    uint64_t life = r->shared->incarnation[peer];
    const struct mf_transport_ops *ops = r->th.ops;
    TS_RC(r, ops->detach(r->th.tp, 3, 12345, UINT32_MAX, MF_DETACH_LEFT), SMEM_OK);
    TS_RC(r, ops->detach(r->th.tp, peer, life + 1, UINT32_MAX, MF_DETACH_LEFT), SMEM_OK);
    TS_CHECK(r, th_find(&r->th, peer, DRAM, 0) != NULL);
    ts_barrier(r);
    TS_RC(r, ops->detach(r->th.tp, peer, life, TH_POOL, MF_DETACH_LEFT), SMEM_OK);
    TS_CHECK(r, th_count(&r->th, peer) == 0);
    TS_RC(r, ops->detach(r->th.tp, peer, life, UINT32_MAX, MF_DETACH_LEFT), SMEM_OK);
    ts_barrier(r);
    if (r->rank == 0) {
        ts_attach(r, 1);
        ts_attach(r, 1);
    }
    ts_barrier(r); /* one side has asked: both know each other */
    struct mf_segment *seg = th_find(&r->th, peer, DRAM, 0);
    TS_CHECK(r, seg != NULL);
    TS_RC(r, put(r, seg, 8, &value, 8), SMEM_OK);
    ts_barrier(r);
    TS_CHECK(r, *(uint64_t *)(void *)th_ptr(&r->th, r->rank, DRAM, 8) == 77);
    ts_barrier(r);
}

/* Rank 1 declares rank 0 dead although it lives: from then on it refuses it. */
void ts_declared_dead_is_refused(struct ts_rank *r)
{
    uint64_t value = 5;
    if (r->rank == 0) {
        struct mf_segment *seg = th_find(&r->th, 1, DRAM, 0);
        TS_CHECK(r, seg != NULL);
        TS_RC(r, put(r, seg, 0, &value, 8), SMEM_OK);
        ts_barrier(r);
        ts_barrier(r);
        value = 6;
        TS_RC(r, put(r, seg, 0, &value, 8), SMEM_NOT_CONNECTED);
        TS_RC(r, get(r, seg, 0, &value, 8), SMEM_NOT_CONNECTED);
        ts_barrier(r);
        return;
    }
    ts_barrier(r);
    TS_RC(r, r->th.ops->detach(r->th.tp, 0, r->shared->incarnation[0], UINT32_MAX, MF_DETACH_DEAD),
          SMEM_OK);
    TS_CHECK(r, th_count(&r->th, 0) == 0);
    ts_barrier(r);
    ts_barrier(r);
    TS_CHECK(r, *(uint64_t *)(void *)th_ptr(&r->th, 1, DRAM, 0) == 5);
}

static int victim_copies(struct ts_rank *r)
{
    return atomic_load(&r->shared->word[3]) > 20;
}

static int death_is_seen(struct ts_rank *r)
{
    return (atomic_load(&r->th.dead_ranks) & 2u) != 0;
}

static int copies_until_killed(struct ts_rank *r)
{
    enum { SIZE = 4 << 20 };
    uint8_t *buf = calloc(1, SIZE);
    struct mf_segment *seg = th_find(&r->th, 0, DRAM, 0);
    TS_CHECK(r, buf && seg);
    for (;;) {
        TS_RC(r, put(r, seg, 4096, buf, SIZE), SMEM_OK);
        atomic_fetch_add(&r->shared->word[3], 1);
    }
}

/* Rank 1 is killed while it writes to rank 0; the others see it, go on, and rank 0 can withdraw. */
void ts_kill_in_the_middle_of_a_copy(struct ts_rank *r)
{
    uint64_t value = 3;
    atomic_store(&r->shared->may_die, 2u);
    ts_barrier(r);
    if (r->rank == 1) {
        copies_until_killed(r);
    }
    if (r->rank == 0) {
        TS_CHECK(r, ts_soon(victim_copies, r));
        TS_CHECK(r, kill(atomic_load(&r->shared->pid[1]), SIGKILL) == 0);
    }
    if (r->th.ops->caps & MF_CAP_SAME_HOST) {
        TS_CHECK(r, ts_soon(death_is_seen, r));
    } else {
        sleep_ms(200);
    }
    struct mf_segment *dead = th_find(&r->th, 1, DRAM, 0);
    TS_CHECK(r, dead != NULL);
    pthread_rwlock_rdlock(&r->th.calls); /* as a thread inside a call, so that `dead` stays valid */
    TS_RC(r, r->th.ops->detach(r->th.tp, 1, r->shared->incarnation[1], UINT32_MAX, MF_DETACH_DEAD),
          SMEM_OK);
    TS_RC(r, put(r, dead, 0, &value, 8), SMEM_NOT_CONNECTED);
    TS_RC(r, get(r, dead, 0, &value, 8), SMEM_NOT_CONNECTED);
    pthread_rwlock_unlock(&r->th.calls);
    TS_CHECK(r, th_count(&r->th, 1) == 0);
    r->world = 3;
    uint32_t other = 2 - r->rank;
    struct mf_segment *alive = th_find(&r->th, other, DRAM, 0);
    TS_CHECK(r, alive != NULL);
    TS_RC(r, put(r, alive, 64, &value, 8), SMEM_OK);
    /* The barrier counts three; the dead one's place is taken by rank 0. */
    if (r->rank == 0) {
        atomic_fetch_add(&r->shared->arrived[r->next_barrier], 1);
    }
    ts_barrier(r);
    uint64_t before = mf_now_ns(&r->th.env);
    if (r->rank == 0) {
        TS_RC(r, th_withdraw(&r->th, &r->dram, 5000), SMEM_OK);
        r->dram.segment.desc.size = 0;
    }
    TS_CHECK(r, mf_now_ns(&r->th.env) - before < 2000000000ull);
}

/* A forked child holds its parent's sockets open; the parent's death is seen all the same. */
void ts_death_is_seen_though_a_child_lives(struct ts_rank *r)
{
    if (!(r->th.ops->caps & MF_CAP_SAME_HOST)) {
        ts_skip(r, "a transport without MF_CAP_SAME_HOST leaves deaths to others");
    }
    atomic_store(&r->shared->may_die, 2u);
    if (r->rank == 1) {
        pid_t child = fork();
        if (child == 0) {
            for (;;) {
                pause();
            }
        }
        atomic_store(&r->shared->word[4], (uint64_t)child);
        kill(getpid(), SIGKILL);
    }
    int seen = ts_soon(death_is_seen, r);
    pid_t child = (pid_t)atomic_load(&r->shared->word[4]);
    TS_CHECK(r, child > 0 && kill(child, 0) == 0);
    kill(child, SIGKILL);
    TS_CHECK(r, seen);
}

/* Every thread of rank 1 has stopped; a signal takes its time. */
static int is_stopped(struct ts_rank *r)
{
    char path[64];
    int stopped = 1;
    int pid = atomic_load(&r->shared->pid[1]);
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    TS_CHECK(r, tasks != NULL);
    for (struct dirent *entry; (entry = readdir(tasks));) {
        char stat[320];
        char state = 0;
        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(stat, sizeof(stat), "/proc/%d/task/%s/stat", pid, entry->d_name);
        FILE *file = fopen(stat, "r");
        stopped = stopped && file && fscanf(file, "%*d (%*[^)]) %c", &state) == 1 && state == 'T';
        if (file) {
            fclose(file);
        }
    }
    closedir(tasks);
    return stopped;
}

/* A process that does not answer costs what the caller allowed, and no more. */
void ts_stopped_peer_costs_the_deadline(struct ts_rank *r)
{
    if (r->rank == 0) {
        const struct ts_shared *shared = r->shared;
        r->th.ops->detach(r->th.tp, 1, shared->incarnation[1], UINT32_MAX, MF_DETACH_LEFT);
        TS_CHECK(r, kill(atomic_load(&shared->pid[1]), SIGSTOP) == 0);
        TS_CHECK(r, ts_soon(is_stopped, r));
        uint64_t before = mf_now_ns(&r->th.env);
        int rc = th_attach(&r->th, 1, shared->incarnation[1], shared->endpoint[1],
                           shared->endpoint_len[1], 300);
        uint64_t took_ms = (mf_now_ns(&r->th.env) - before) / 1000000;
        kill(atomic_load(&shared->pid[1]), SIGCONT);
        TS_RC(r, rc, SMEM_TIMEOUT);
        TS_CHECK(r, took_ms >= 250 && took_ms < 2000);
        ts_attach(r, 1);
        TS_CHECK(r, th_count(&r->th, 1) >= 1);
    }
    ts_barrier(r);
}

void ts_new_segments_need_another_attach(struct ts_rank *r)
{
    struct th_own more;
    uint64_t value = 8;
    if (r->rank == 1) {
        TS_RC(r, th_publish(&r->th, DRAM, TS_DRAM, 2 << 20, &more), SMEM_OK);
    }
    ts_barrier(r);
    if (r->rank == 0) {
        struct mf_segment *before = th_find(&r->th, 1, DRAM, 0);
        TS_CHECK(r, th_find(&r->th, 1, DRAM, TS_DRAM) == NULL);
        ts_attach(r, 1);
        TS_CHECK(r, th_find(&r->th, 1, DRAM, 0) == before);
        struct mf_segment *seg = th_find(&r->th, 1, DRAM, TS_DRAM);
        TS_CHECK(r, seg != NULL && seg->desc.size == 2 << 20);
        TS_RC(r, put(r, seg, (2 << 20) - 8, &value, 8), SMEM_OK);
    }
    ts_barrier(r);
    if (r->rank == 1) {
        TS_CHECK(r, *th_ptr(&r->th, 1, DRAM, TS_DRAM + (2 << 20) - 8) == 8);
        TS_RC(r, th_withdraw(&r->th, &more, 2000), SMEM_OK);
    }
    ts_barrier(r);
}
