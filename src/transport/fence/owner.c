// SPDX-License-Identifier: Apache-2.0
// The owner's side of the fence: epochs and indices are drawn here, lives of other ranks admitted
// and refused, and lines of processes in the middle of a copy waited for.
#include <string.h>

#include "base/err.h"
#include "transport/fence/fence.h"

#define SPINS           2000u
#define SLEEP_FIRST_US  50u
#define SLEEP_MAX_US    1000u
#define THREAD_CHECK_NS (10ull * 1000000ull)  /* before asking whether a thread lives */
#define THREAD_GONE_NS  (100ull * 1000000ull) /* after it was seen to be gone */
#define GOLDEN          0x9e3779b97f4a7c15ull

void mf_fence_page_init(struct mf_fence_page *page, const struct mf_fence_identity *who)
{
    page->magic = MF_FENCE_MAGIC;
    page->version = MF_FENCE_VERSION;
    page->rank = who->rank;
    page->incarnation = who->incarnation;
    page->world_id = who->world_id;
    page->start_time = who->start_time;
    page->pid = who->pid;
    page->needs_fence = who->needs_fence;
    atomic_store(&page->admitted[who->rank], who->incarnation);
}

void mf_fence_owner_init(struct mf_fence_owner *owner, struct mf_fence_page *page,
                         const uint64_t random[2])
{
    memset(owner, 0, sizeof(*owner));
    owner->page = page;
    owner->random[0] = random[0];
    owner->random[1] = random[1];
}

/* A fresh number, never 0, from the random bits of this instance (splitmix64). */
static uint64_t draw_epoch(struct mf_fence_owner *owner)
{
    uint64_t x;
    do {
        x = owner->random[0] ^ (owner->random[1] + ++owner->drawn * GOLDEN);
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
        x ^= x >> 31;
    } while (x == 0);
    return x;
}

/* The lowest one that is free; MF_SEGMENTS_MAX: none is. */
static uint32_t free_index(const struct mf_fence_owner *owner)
{
    for (uint32_t i = 0; i < MF_SEGMENTS_MAX / 64u; i++) {
        if (owner->used[i] != UINT64_MAX) {
            return i * 64u + (uint32_t)__builtin_ctzll(~owner->used[i]);
        }
    }
    return MF_SEGMENTS_MAX;
}

void mf_fence_key_init(struct mf_fence_key *key, const struct mf_fence_page *owner,
                       const struct mf_segment_desc *desc, uint32_t rank, bool strict)
{
    *key = (struct mf_fence_key){.hazard = mf_fence_hazard(desc->owner, desc->index, desc->epoch),
                                 .epoch = desc->epoch,
                                 .epoch_now = &owner->epochs[desc->index],
                                 .admitted = &owner->admitted[rank],
                                 .strict = strict || owner->needs_fence};
}

int mf_fence_publish(struct mf_fence_owner *owner, struct mf_segment_desc *desc,
                     struct mf_fence_key *key)
{
    struct mf_fence_page *page = owner->page;
    uint32_t index = free_index(owner);
    if (index == MF_SEGMENTS_MAX) {
        return mf_err(SMEM_NO_RESOURCES, "publish: this rank has %u segments, the limit",
                      MF_SEGMENTS_MAX);
    }
    owner->used[index / 64u] |= 1ull << (index % 64u);
    desc->owner = page->rank;
    desc->incarnation = page->incarnation;
    desc->index = index;
    desc->epoch = draw_epoch(owner);
    mf_fence_key_init(key, page, desc, page->rank, false);
    atomic_store_explicit(&page->epochs[index], desc->epoch, memory_order_release);
    return SMEM_OK;
}

void mf_fence_revoke(struct mf_fence_owner *owner, const struct mf_segment_desc *desc)
{
    if (!MF_MUTANT(EPOCH)) {
        atomic_store_explicit(&owner->page->epochs[desc->index], 0, memory_order_release);
    }
    owner->used[desc->index / 64u] &= ~(1ull << (desc->index % 64u));
}

void mf_fence_revoke_dead(struct mf_fence_page *page, const struct mf_segment_desc *desc)
{
    uint64_t published = desc->epoch;
    atomic_compare_exchange_strong(&page->epochs[desc->index], &published, 0);
}

/* ---- waiting ---- */

/* One wait for one word in the lines of one process. */
struct waiting {
    const struct mf_fence_ops *ops;
    void *arg;
    const void *who;
    uint64_t hazard;
    uint64_t deadline_ns;
    uint64_t since_ns;
    uint64_t gone_ns; /* when the thread was first seen to be gone; 0: it is not */
    uint32_t spins;
    uint32_t sleep_us;
};

/* Has the thread that announces a long copy ended, while its process lives? Only asked after a
 * while, and believed only after another: helpers of the thread may be finishing what it began. */
static bool thread_ended(struct waiting *w, const struct mf_fence_line *line)
{
    uint64_t now = w->ops->now_ns(w->arg);
    uint32_t tid = atomic_load_explicit(&line->tid, memory_order_relaxed);
    if (tid == 0 || now - w->since_ns < THREAD_CHECK_NS) {
        return false;
    }
    if (!w->ops->thread_ended(w->arg, w->who, tid)) {
        w->gone_ns = 0;
        return false;
    }
    if (w->gone_ns == 0) {
        w->gone_ns = now;
    }
    return now - w->gone_ns > THREAD_GONE_NS;
}

/* Wait a little. False: the deadline has passed. */
static bool wait_a_little(struct waiting *w)
{
    if (w->spins < SPINS) {
        w->spins++;
        atomic_signal_fence(memory_order_seq_cst);
        return true;
    }
    if (w->ops->now_ns(w->arg) >= w->deadline_ns) {
        return false;
    }
    w->ops->sleep_us(w->arg, w->sleep_us);
    w->sleep_us = w->sleep_us * 2 < SLEEP_MAX_US ? w->sleep_us * 2 : SLEEP_MAX_US;
    return true;
}

enum outcome { CLEAR, ENDED, LATE };

/* Every word is waited for once: after the barrier, whoever writes it again finds the epoch gone.
 */
static enum outcome wait_for_line(struct waiting *w, const struct mf_fence_line *line)
{
    for (uint32_t k = 0; k < MF_FENCE_HAZARDS; k++) {
        while (atomic_load_explicit(&line->hazard[k], memory_order_acquire) == w->hazard) {
            bool slow = w->spins >= SPINS;
            if (slow && w->who && w->ops->process_ended(w->arg, w->who)) {
                return ENDED;
            }
            if (slow && thread_ended(w, line)) {
                break;
            }
            if (!wait_a_little(w)) {
                return LATE;
            }
        }
    }
    return CLEAR;
}

/* Lines that were used; a peer may write what it likes there. */
static uint32_t lines_of(const struct mf_fence_page *page)
{
    uint32_t used = atomic_load_explicit(&page->lines_used, memory_order_acquire);
    return used < MF_THREADS_MAX ? used : MF_THREADS_MAX;
}

bool mf_fence_wait(const struct mf_fence_ops *ops, void *arg, const struct mf_fence_page *page,
                   const void *who, uint64_t hazard, uint64_t deadline_ns)
{
    struct waiting w = {.ops = ops,
                        .arg = arg,
                        .who = who,
                        .hazard = hazard,
                        .deadline_ns = deadline_ns,
                        .since_ns = ops->now_ns(arg),
                        .sleep_us = SLEEP_FIRST_US};
    uint32_t used = MF_MUTANT(QUIESCE) ? 0 : lines_of(page);
    enum outcome outcome = CLEAR;
    for (uint32_t i = 0; outcome == CLEAR && i < used; i++) {
        outcome = wait_for_line(&w, &page->lines[i]);
    }
    return outcome != LATE;
}

bool mf_fence_clear_of(const struct mf_fence_page *page, uint64_t hazard)
{
    uint32_t used = lines_of(page);
    for (uint32_t i = 0; i < used; i++) {
        for (uint32_t k = 0; k < MF_FENCE_HAZARDS; k++) {
            if (atomic_load_explicit(&page->lines[i].hazard[k], memory_order_acquire) == hazard) {
                return false;
            }
        }
    }
    return true;
}

/* ---- lives ---- */

bool mf_fence_admit(struct mf_fence_owner *owner, uint32_t rank, uint64_t incarnation)
{
    if (owner->refused[rank] == incarnation) {
        return false;
    }
    atomic_store(&owner->page->admitted[rank], incarnation);
    return true;
}

void mf_fence_refuse(struct mf_fence_owner *owner, uint32_t rank, uint64_t incarnation)
{
    uint64_t now = incarnation;
    owner->refused[rank] = incarnation;
    atomic_compare_exchange_strong(&owner->page->admitted[rank], &now, 0);
}

bool mf_fence_is_refused(const struct mf_fence_owner *owner, uint32_t rank, uint64_t incarnation)
{
    return owner->refused[rank] == incarnation;
}

/* ---- lines ---- */

int mf_fence_line_take(struct mf_fence_owner *owner, struct mf_fence_line **out)
{
    uint32_t i = 0;
    while (i < MF_THREADS_MAX && owner->line_taken[i]) {
        i++;
    }
    if (i == MF_THREADS_MAX) {
        return mf_err(SMEM_NO_RESOURCES, "%u threads of this process copy already, the limit",
                      MF_THREADS_MAX);
    }
    owner->line_taken[i] = 1;
    if (i >= atomic_load(&owner->page->lines_used)) {
        atomic_store(&owner->page->lines_used, i + 1);
    }
    *out = &owner->page->lines[i];
    return SMEM_OK;
}

void mf_fence_line_give(struct mf_fence_owner *owner, struct mf_fence_line *line)
{
    if (!line) {
        return;
    }
    for (uint32_t k = 0; k < MF_FENCE_HAZARDS; k++) {
        atomic_store_explicit(&line->hazard[k], 0, memory_order_release);
    }
    owner->line_taken[line - owner->page->lines] = 0;
}

/* ---- sentences ---- */

int mf_fence_refusal(const struct mf_fence_end *ends, uint32_t count, uint64_t incarnation)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct mf_segment_desc *desc = ends[i].desc;
        const struct mf_fence_key *key = ends[i].key;
        if (!key) {
            continue;
        }
        if (!mf_fence_is_welcome(key, incarnation)) {
            return mf_err(SMEM_NOT_CONNECTED,
                          "this rank was declared dead by rank %u: it must leave pool %u and join "
                          "again under a new incarnation",
                          desc->owner, desc->pool);
        }
        if (!mf_fence_is_there(key) && ends[i].own) {
            return mf_err(SMEM_NOT_CONNECTED,
                          "segment %u of this rank in pool %u was withdrawn, or this rank was "
                          "declared dead by a peer",
                          desc->index, desc->pool);
        }
        if (!mf_fence_is_there(key)) {
            return mf_err(SMEM_NOT_CONNECTED,
                          "rank %u has left pool %u or died: its segment %u is gone", desc->owner,
                          desc->pool, desc->index);
        }
    }
    return mf_err(SMEM_NOT_CONNECTED, "a segment was withdrawn during the copy");
}
