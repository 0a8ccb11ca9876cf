// SPDX-License-Identifier: Apache-2.0
// Copies of one pool: state check, xcopy, the asynchronous queue, and the way to a peer that is not
// attached yet.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "core/pool.h"
#include "smem.h"

/* How long the store may take to say whether a rank is a member, and how often it is asked. */
#define ASK_MS       1000u
#define ASK_PAUSE_NS (20 * MF_NS_PER_MS)

int mf_pool_check_joined(const struct mf_pool *pool)
{
    if (__builtin_expect(atomic_load_explicit(&pool->state, memory_order_relaxed) == MF_POOL_JOINED,
                         1)) {
        return mf_ctx_check(pool->ctx);
    }
    return mf_err(SMEM_NOT_STARTED, "rank %u has not joined pool %u: call smem_bm_join first",
                  pool->ctx->rank, pool->id);
}

static void use_lanes(struct mf_pool *pool, struct mf_thread *thread)
{
    thread->lanes_of = pool->ctx->number;
}

int mf_pool_copy(struct mf_pool *pool, struct mf_thread *thread, const void *src, void *dst,
                 uint64_t size, smem_bm_copy_type type, uint32_t flags)
{
    int rc = mf_pool_check_joined(pool);
    if (__builtin_expect(rc != SMEM_OK, 0)) {
        return rc;
    }
    if (flags & ASYNC_COPY_FLAG) {
        void *srcs = (void *)(uintptr_t)src;
        struct mf_batch batch = {.src = &srcs, .dst = &dst, .size = &size, .count = 1};
        return mf_queue_submit(pool->queue, &batch, type);
    }
    use_lanes(pool, thread);
    return mf_xcopy_one(&pool->space, &thread->lanes, src, dst, size, type, 0);
}

int mf_pool_copy_batch(struct mf_pool *pool, struct mf_thread *thread, const struct mf_batch *batch,
                       smem_bm_copy_type type, uint32_t flags)
{
    int rc = mf_pool_check_joined(pool);
    if (rc != SMEM_OK) {
        return rc;
    }
    if (flags & ASYNC_COPY_FLAG) {
        return mf_queue_submit(pool->queue, batch, type);
    }
    use_lanes(pool, thread);
    return mf_xcopy_batch(&pool->space, &thread->lanes, batch, type, 0);
}

/* ---- asynchronous copies
 * -------------------------------------------------------------------------------- */

static int run_job(void *arg, const struct mf_batch *batch, smem_bm_copy_type type)
{
    struct mf_pool *pool = arg;
    struct mf_thread *thread = NULL;
    int rc = mf_threads_take(pool->ctx->threads, &thread);
    if (rc != SMEM_OK) {
        return rc;
    }
    struct mf_span span = mf_trace_begin(&thread->tracer, MF_POINT_COPY_QUEUED);
    mf_thread_enter(pool->ctx->threads, thread);
    rc = mf_pool_copy_batch(pool, thread, batch, type, 0);
    mf_thread_leave(thread);
    (void)mf_trace_end(&span, rc, mf_batch_bytes(batch));
    mf_threads_give(pool->ctx->threads, thread);
    return rc;
}

int mf_pool_queue_create(struct mf_pool *pool)
{
    int rc = mf_queue_create(pool->ctx->env, 1, run_job, pool, &pool->queue);
    return rc != SMEM_OK
               ? rc
               : mf_stream_jobs_create(pool->ctx->env, pool->id, run_job, pool, &pool->streams);
}

int mf_pool_copy_stream(struct mf_pool *pool, struct mf_stream_words *words,
                        const struct mf_batch *batch, smem_bm_copy_type type)
{
    int rc = mf_pool_check_joined(pool);
    return rc == SMEM_OK ? mf_stream_jobs_submit(pool->streams, words, batch, type) : rc;
}

int mf_pool_wait(struct mf_pool *pool)
{
    int rc = mf_queue_wait(pool->queue, mf_deadline_ns(pool->ctx->env, pool->space.copy_wait_ms));
    return rc == SMEM_OK ? mf_stream_jobs_take_failure(pool->streams) : rc;
}

/* ---- reaching a peer
 * --------------------------------------------------------------------------------------- */

/* Whether to ask: not while the store is silent, and not for every copy of a loop that goes on
 * failing. */
static bool may_ask_store(struct mf_pool *pool, uint32_t rank)
{
    uint64_t now_ns = mf_now_ns(pool->ctx->env);
    mf_mutex_lock(&pool->lock);
    struct mf_member *m = &pool->members.v[rank];
    bool may = !pool->members.lost && (m->asked_ns == 0 || now_ns - m->asked_ns > ASK_PAUSE_NS);
    if (may) {
        m->asked_ns = now_ns;
    }
    mf_mutex_unlock(&pool->lock);
    return may;
}

/* Ask the store itself: a rank that has joined a moment ago may not have been announced here yet.
 * deadline_ns 0: none but ASK_MS. */
static int ask_store(struct mf_pool *pool, uint32_t rank, uint64_t deadline_ns)
{
    char key[64];
    void *value = NULL;
    size_t len = 0;
    struct mf_member_change change = {.kind = MF_CHANGE_NOTHING};
    if (!may_ask_store(pool, rank)) {
        return SMEM_NOT_EXIST;
    }
    uint64_t until_ns = mf_deadline_ns(pool->ctx->env, ASK_MS);
    until_ns = deadline_ns != 0 && deadline_ns < until_ns ? deadline_ns : until_ns;
    snprintf(key, sizeof(key), "pool/%u/m/%u", pool->id, rank);
    int rc = mf_store_get(pool->ctx->store, key, 0, until_ns, &value, &len);
    if (rc == SMEM_OK) {
        mf_mutex_lock(&pool->lock);
        /* A rank that has another life by now is replaced by the watch, which detaches the old one.
         */
        if (pool->members.v[rank].state != MF_MEMBER_JOINED ||
            mf_members_has_grown(&pool->members, rank, value, len)) {
            rc = mf_members_put(&pool->members, rank, value, len, mf_now_ns(pool->ctx->env),
                                &change);
        }
        uint64_t incarnation = pool->members.v[rank].record.identity.incarnation;
        mf_mutex_unlock(&pool->lock);
        if (rc == SMEM_OK && change.kind == MF_CHANGE_UP) {
            mf_pool_member_up(pool, rank, incarnation);
        }
    }
    mf_free(value);
    return rc;
}

static int refuse_absent(struct mf_pool *pool, uint32_t rank, const struct mf_member *member)
{
    uint64_t ago_ms = (mf_now_ns(pool->ctx->env) - member->changed_ns) / MF_NS_PER_MS;
    switch (member->state) {
    case MF_MEMBER_LEFT:
        return mf_err(SMEM_NOT_CONNECTED, "rank %u is not in pool %u: it left %" PRIu64 " ms ago",
                      rank, pool->id, ago_ms);
    case MF_MEMBER_DEAD:
        return mf_err(SMEM_NOT_CONNECTED,
                      "rank %u is not in pool %u: it is dead since %" PRIu64 " ms (%s)", rank,
                      pool->id, ago_ms, member->why);
    default:
        return mf_err(SMEM_NOT_CONNECTED, "rank %u is not in pool %u: it has not joined", rank,
                      pool->id);
    }
}

int mf_pool_allows(const struct mf_pool *pool, uint32_t rank, const struct mf_rec_member *record,
                   uint32_t *mine, uint32_t *theirs)
{
    return mf_tags_allow(&pool->tags, pool->id, pool->ctx->rank, record, rank, mine, theirs);
}

/* None of what the two ranks have for each other is there. */
static int refuse_transports(const struct mf_pool *pool, uint32_t rank,
                             const struct mf_rec_member *record, uint32_t mine, uint32_t theirs)
{
    char own[160], other[160];
    return mf_err(SMEM_NOT_CONNECTED,
                  "rank %u offers none of this rank's transports: it has the operators %s for tag "
                  "\"%s\", this rank has %s for tag \"%s\"",
                  rank, mf_tags_names(theirs, other, sizeof(other)), pool->tags.own,
                  mf_tags_names(mine, own, sizeof(own)), record->tag);
}

/* Try the transports in this rank's order of preference that serve an operator which the two ranks
 * have for each other; the first that reaches the peer is used. */
static int attach(struct mf_pool *pool, uint32_t rank, const struct mf_rec_member *record,
                  uint32_t mine, uint32_t theirs, uint64_t deadline_ns)
{
    int rc = SMEM_OK; /* of the last that was tried */
    struct mf_tracer tracer = mf_tracer_shared(pool->ctx->threads->trace);
    struct mf_err_rec before;
    mf_err_save(&before);
    for (uint32_t i = 0; i < pool->tp_count; i++) {
        const struct mf_tp *tp = pool->tps[i];
        uint32_t ops = tp->endpoint.data_ops;
        for (uint32_t e = 0; e < record->count; e++) {
            if ((record->endpoint[e].data_ops & ops) == 0 || (ops & mine) == 0 ||
                (ops & theirs) == 0) {
                continue;
            }
            struct mf_peer peer = {.rank = rank,
                                   .incarnation = record->identity.incarnation,
                                   .endpoint = record->endpoint[e].bytes,
                                   .endpoint_len = record->endpoint[e].len};
            struct mf_span span = mf_trace_begin(&tracer, MF_POINT_PEER_ATTACH);
            rc = tp->entry->ops.attach(tp->tp, &peer, pool->id, deadline_ns);
            (void)mf_trace_end(&span, rc, 0);
            if (rc == SMEM_OK) {
                mf_err_restore(&before);
                return rc;
            }
            mf_err_in(rc, "transport %s", tp->entry->ops.name);
            break;
        }
    }
    return rc == SMEM_OK ? refuse_transports(pool, rank, record, mine, theirs) : rc;
}

/* Does one of the pool's transports carry memory of this sort? */
static bool is_carried(const struct mf_pool *pool, uint32_t cap)
{
    uint32_t caps = 0;
    for (uint32_t i = 0; i < pool->tp_count; i++) {
        caps |= pool->tps[i]->entry->ops.caps;
    }
    return (caps & cap) != 0;
}

/* Is anything of what the member gives in the table? One that is about to leave has taken its
 * segments back before the store tells of it. */
static bool is_here(struct mf_pool *pool, uint32_t rank, const struct mf_rec_member *record)
{
    bool gives = (record->hbm_bytes > 0 && is_carried(pool, MF_CAP_DEVICE)) ||
                 (record->dram_bytes > 0 && is_carried(pool, MF_CAP_HOST));
    return !gives || mf_gva_table_first(&pool->table, MF_KIND_HBM, rank) != NULL ||
           mf_gva_table_first(&pool->table, MF_KIND_DRAM, rank) != NULL;
}

/* Bytes of a slot that are known here. */
static uint64_t known_bytes(struct mf_pool *pool, enum mf_mem_kind kind, uint32_t rank)
{
    uint64_t bytes = 0;
    mf_mutex_lock(&pool->table_lock);
    const struct mf_segment *segment = mf_gva_table_first(&pool->table, kind, rank);
    for (; segment != NULL; segment = segment->next) {
        bytes += segment->desc.size;
    }
    mf_mutex_unlock(&pool->table_lock);
    return bytes;
}

/* Is all that the member says it gives in the table? It may have extended it since. */
static bool is_whole(struct mf_pool *pool, uint32_t rank, const struct mf_rec_member *record)
{
    return (!is_carried(pool, MF_CAP_DEVICE) ||
            known_bytes(pool, MF_KIND_HBM, rank) >= record->hbm_bytes) &&
           (!is_carried(pool, MF_CAP_HOST) ||
            known_bytes(pool, MF_KIND_DRAM, rank) >= record->dram_bytes);
}

/* The peer may have come to us at the same time: then another thread is about to enter what it
 * gives. */
static bool comes_here(struct mf_pool *pool, uint32_t rank, const struct mf_rec_member *record)
{
    bool here = is_here(pool, rank, record);
    for (int i = 0; i < 100 && !here; i++) {
        mf_thread_sleep_ns(200000);
        here = is_here(pool, rank, record);
    }
    return here;
}

int mf_pool_resolve(void *arg, uint32_t rank, uint64_t deadline_ns)
{
    struct mf_pool *pool = arg;
    struct mf_member member;
    uint64_t connect_ns =
        mf_deadline_ns(pool->ctx->env, mf_config_u64(pool->ctx->config, MF_OPT_PEER_CONNECT_MS));
    if (rank == pool->ctx->rank) {
        return SMEM_OK; /* what it gives is in the table */
    }
    mf_mutex_lock(&pool->lock);
    member = pool->members.v[rank];
    mf_mutex_unlock(&pool->lock);
    if (member.state != MF_MEMBER_JOINED && ask_store(pool, rank, deadline_ns) == SMEM_OK) {
        mf_mutex_lock(&pool->lock);
        member = pool->members.v[rank];
        mf_mutex_unlock(&pool->lock);
    }
    if (member.state != MF_MEMBER_JOINED) {
        return refuse_absent(pool, rank, &member);
    }
    uint64_t bytes = member.record.hbm_bytes + member.record.dram_bytes;
    if (member.attached && is_here(pool, rank, &member.record) &&
        (member.attached_bytes >= bytes || is_whole(pool, rank, &member.record))) {
        return SMEM_OK;
    }
    uint32_t mine = 0, theirs = 0;
    int rc = mf_pool_allows(pool, rank, &member.record, &mine, &theirs);
    if (rc != SMEM_OK) {
        return rc;
    }
    connect_ns = deadline_ns != 0 && deadline_ns < connect_ns ? deadline_ns : connect_ns;
    rc = attach(pool, rank, &member.record, mine, theirs, connect_ns);
    if (rc != SMEM_OK) {
        return mf_err_in(SMEM_NOT_CONNECTED, "reach rank %u of pool %u (process %u)", rank,
                         pool->id, member.record.identity.pid);
    }
    mf_mutex_lock(&pool->lock);
    if (pool->members.v[rank].changed_ns == member.changed_ns) {
        pool->members.v[rank].attached = true; /* else it has left, and perhaps come again */
        pool->members.v[rank].attached_bytes = bytes;
    }
    mf_mutex_unlock(&pool->lock);
    return comes_here(pool, rank, &member.record)
               ? SMEM_OK
               : mf_err(SMEM_NOT_CONNECTED, "rank %u is not in pool %u: it is about to leave", rank,
                        pool->id);
}

static int seek(struct mf_pool *pool, uint32_t rank, uint64_t deadline_ns)
{
    mf_mutex_lock(&pool->lock);
    bool attached = pool->members.v[rank].attached;
    struct mf_rec_member record = pool->members.v[rank].record;
    mf_mutex_unlock(&pool->lock);
    if (!attached || rank == pool->ctx->rank) {
        return mf_pool_resolve(pool, rank, deadline_ns);
    }
    if (is_whole(pool, rank, &record)) {
        struct mf_err_rec before;
        mf_err_save(&before);
        (void)ask_store(pool, rank,
                        deadline_ns); /* it may have more than it had when it was heard of last */
        mf_err_restore(&before);
    } else { /* it had not published all of it when it was asked */
        mf_mutex_lock(&pool->lock);
        pool->members.v[rank].attached = false;
        mf_mutex_unlock(&pool->lock);
    }
    return mf_pool_resolve(pool, rank, deadline_ns);
}

int mf_pool_seek(void *arg, uint32_t rank, uint64_t deadline_ns)
{
    struct mf_pool *pool = arg;
    int rc = seek(pool, rank, deadline_ns);
    /* It may have taken so long that this rank has left, and its memory is another by now. */
    return atomic_load(&pool->state) == MF_POOL_JOINED ? rc : mf_pool_check_joined(pool);
}

void mf_pool_map_peer(struct mf_pool *pool, uint32_t rank)
{
    if (atomic_load(&pool->state) == MF_POOL_JOINED && rank != pool->ctx->rank &&
        mf_pool_resolve(pool, rank, 0) != SMEM_OK) {
        mf_err_clear();
    }
}

/* *base: 0 when this process does not reach it. False: nobody gave memory there. */
static bool look_up(struct mf_pool *pool, mf_gva gva, bool device, uint64_t *base, uint64_t *offset)
{
    /* Under the lock nothing is taken out of the table. */
    mf_mutex_lock(&pool->table_lock);
    const struct mf_segment *segment = mf_gva_table_find(&pool->table, gva);
    if (segment != NULL) {
        *base = device ? segment->dev : segment->host;
        *offset = gva.v - segment->desc.gva;
    }
    mf_mutex_unlock(&pool->table_lock);
    return segment != NULL;
}

/* Why there may be no pointer to a peer's DRAM. */
static const char *unmapped_note(const struct mf_pool *pool, enum mf_mem_kind kind)
{
    bool never = strcmp(mf_config_str(pool->ctx->config, MF_OPT_PEER_MAP), "never") == 0;
    return never && kind == MF_KIND_DRAM
               ? ": the option peer.map (MF_PEER_MAP) is never, so it is not mapped here; copy it "
                 "with smem_bm_copy, or set the option to auto"
               : "";
}

int mf_pool_translate(struct mf_pool *pool, mf_gva gva, bool device, uint64_t *addr)
{
    struct mf_gva_loc loc;
    mf_gva other;
    if (mf_gva_place_global(&pool->table, gva.v, &other)) {
        return mf_err(SMEM_INVALID_PARAM,
                      "0x%" PRIx64 " is not a global address of pool %u but this process's for "
                      "0x%" PRIx64 ", which is translated: give that one",
                      gva.v, pool->id, other.v);
    }
    if (!mf_layout_find(&pool->table.layout, gva, &loc)) {
        return mf_err(SMEM_INVALID_PARAM, "0x%" PRIx64 " is not in pool %u", gva.v, pool->id);
    }
    int rc = loc.rank == pool->ctx->rank ? SMEM_OK : mf_pool_check_joined(pool);
    if (rc == SMEM_OK) {
        rc = mf_pool_resolve(pool, loc.rank, 0);
    }
    if (rc != SMEM_OK) {
        return rc;
    }
    uint64_t base = 0, offset = 0;
    bool found = look_up(pool, gva, device, &base, &offset);
    if (!found && loc.rank != pool->ctx->rank && mf_pool_seek(pool, loc.rank, 0) == SMEM_OK) {
        found = look_up(pool, gva, device, &base, &offset);
    }
    if (!found) {
        return mf_err(SMEM_ERROR, "rank %u has no memory at 0x%" PRIx64 " of pool %u", loc.rank,
                      gva.v, pool->id);
    }
    if (base == 0) {
        return mf_err(SMEM_ERROR,
                      "0x%" PRIx64 " (%s of rank %u) cannot be reached by this process's %s%s",
                      gva.v, loc.kind == MF_KIND_HBM ? "device memory" : "host memory", loc.rank,
                      device ? "device" : "CPU", unmapped_note(pool, loc.kind));
    }
    *addr = base + offset;
    return SMEM_OK;
}
