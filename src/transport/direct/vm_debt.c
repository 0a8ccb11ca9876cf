// SPDX-License-Identifier: Apache-2.0
// Puts that were given up at a deadline: their owner may be stopped in the middle of reading our
// memory. The connection stays open, half closed, until its other end is gone; so long, that memory
// must not be taken for free.
#include <inttypes.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "transport/direct/vm.h"

#define LOOK_EVERY_US 1000u

/* The other end closes when it has read the last byte that it will ever read for us. */
static bool is_paid(const struct mf_direct_debt *debt)
{
    struct pollfd both[2] = {{.fd = debt->fd, .events = POLLRDHUP},
                             {.fd = debt->peer->pidfd, .events = POLLIN}};
    return poll(both, 2, 0) > 0;
}

void mf_direct_debts_sweep_locked(struct mf_direct *d)
{
    struct mf_direct_debt **at = &d->vm->debts;
    while (*at) {
        struct mf_direct_debt *debt = *at;
        if (!is_paid(debt)) {
            at = &debt->next;
            continue;
        }
        *at = debt->next;
        d->vm->debt_count--;
        mf_direct_fd_close(d, debt->fd);
        mf_direct_peer_put_locked(d, debt->peer);
        mf_free(debt);
    }
}

int mf_direct_debts_check(struct mf_direct *d, const struct mf_direct_peer *peer)
{
    int rc = SMEM_OK;
    mf_mutex_lock(&d->lock);
    if (d->vm->debt_count >= MF_DIRECT_DEBTS_MAX) {
        mf_direct_debts_sweep_locked(d);
    }
    if (d->vm->debt_count >= MF_DIRECT_DEBTS_MAX) {
        rc = mf_err(SMEM_RES_IN_USE,
                    "put to rank %u: %u puts of this process were given up at their deadline and "
                    "have not ended: the processes of their targets are stopped",
                    peer->rank, d->vm->debt_count);
    }
    mf_mutex_unlock(&d->lock);
    return rc;
}

void mf_direct_debt_add(struct mf_direct *d, struct mf_direct_debt *debt)
{
    shutdown(debt->fd, SHUT_WR); /* what has not begun is dropped */
    mf_mutex_lock(&d->lock);
    debt->next = d->vm->debts;
    d->vm->debts = debt;
    d->vm->debt_count++;
    mf_direct_debts_sweep_locked(d);
    mf_mutex_unlock(&d->lock);
}

void mf_direct_debts_drop(struct mf_direct *d)
{
    mf_mutex_lock(&d->lock);
    while (d->vm->debts) {
        struct mf_direct_debt *debt = d->vm->debts;
        d->vm->debts = debt->next;
        mf_direct_fd_close(d, debt->fd);
        mf_direct_peer_put_locked(d, debt->peer);
        mf_free(debt);
    }
    d->vm->debt_count = 0;
    mf_mutex_unlock(&d->lock);
}

/* A debt without ranges is one of which they could not be kept: any memory may be meant. */
static bool concerns(const struct mf_direct_debt *debt, uint64_t addr, uint64_t size)
{
    for (uint32_t i = 0; i < debt->count; i++) {
        const struct mf_direct_range *range = &debt->ranges[i];
        if (range->addr < addr + size && addr < range->addr + range->size) {
            return true;
        }
    }
    return debt->count == 0;
}

int mf_direct_settle(void *tp, uint64_t addr, uint64_t size, uint64_t deadline_ns)
{
    struct mf_direct *d = tp;
    for (;;) {
        uint32_t rank = 0;
        int pid = 0;
        mf_mutex_lock(&d->lock);
        mf_direct_debts_sweep_locked(d);
        for (struct mf_direct_debt *debt = d->vm->debts; debt; debt = debt->next) {
            if (concerns(debt, addr, size)) {
                rank = debt->peer->rank;
                pid = debt->peer->pid;
            }
        }
        mf_mutex_unlock(&d->lock);
        if (!pid) {
            return SMEM_OK;
        }
        if (mf_direct_now(d) >= deadline_ns) {
            return mf_err(SMEM_RES_IN_USE,
                          "rank %u (pid %d) may still read 0x%" PRIx64 " + %" PRIu64
                          " bytes for a put that was given up at its deadline: keep the memory, "
                          "and try again when that process goes on or has ended",
                          rank, pid, addr, size);
        }
        mf_direct_sleep_us(LOOK_EVERY_US);
    }
}
