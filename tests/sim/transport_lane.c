// SPDX-License-Identifier: Apache-2.0
// Lanes of the model transport: copies whose ends are both on this host are made here, under the
// real fence, in pieces between which anything may happen. Those that need an owner elsewhere are
// handed to transport_far.c.
#include <string.h>

#include "base/alloc.h"
#include "transport.h"

#define WHOLE_MAX    64u    /* bytes that are one piece always */
#define PAUSE_IN     8u     /* one pause in so many takes time, */
#define PAUSE_MAX_NS 50000u /* at most so much */

static struct sim_tp_seg *seg_of(const struct mf_segment *segment)
{
    return segment ? segment->priv : NULL;
}

static const struct mf_fence_key *key_of(const struct sim_tp_seg *seg)
{
    return seg && seg->object ? &seg->key : NULL;
}

bool sim_tp_is_far(const struct mf_segment *segment)
{
    return seg_of(segment) && !seg_of(segment)->object;
}

int sim_tp_keep(struct sim_tp_lane *lane, int rc)
{
    if (rc && lane->failure.code == SMEM_OK) {
        mf_err_save(&lane->failure);
    }
    return rc;
}

/* ---- bytes ---- */

void sim_tp_move(const struct sim_tp_place *to, const struct sim_tp_place *from, uint64_t done,
                 uint64_t size)
{
    const unsigned char *bytes =
        from->object ? sim_object_bytes(from->object) + from->offset : from->at;
    if (to->object) {
        sim_object_write(to->object, to->offset + done, bytes + done, size);
    } else {
        memcpy(to->at + done, bytes + done, size);
    }
}

void sim_tp_pause(void)
{
    if (sim_chance(1, PAUSE_IN)) {
        mf_thread_sleep_ns(1 + sim_below(PAUSE_MAX_NS));
    } else {
        sim_yield();
    }
}

uint64_t sim_tp_piece(uint64_t left)
{
    if (left <= WHOLE_MAX || sim_chance(1, 3)) {
        return left;
    }
    uint64_t piece = left / 4 + sim_below(left / 2);
    return piece & ~7ull ? piece & ~7ull : left;
}

/* That end of the copy, from byte `done` on. */
static struct sim_tp_place place_of(const struct mf_segment *segment, uint64_t addr, uint64_t done)
{
    struct sim_tp_place place = {0};
    if (segment && !segment->priv) {
        /* Memory of this process that is not published (any more): nobody else gets at it. */
        bool ours =
            sim_memory_at(sim_proc_self(), segment->host + (addr - segment->desc.gva) + done, 1,
                          &place.object, &place.offset);
        MF_ASSERT(ours && place.object);
    } else if (segment) {
        place.object = seg_of(segment)->object;
        place.base = addr - segment->desc.gva + done;
        place.offset = place.base;
        place.desc = &segment->desc;
    } else {
        place.at = (uint8_t *)(uintptr_t)addr + done;
    }
    return place;
}

/* What the oracle is told before bytes land. */
static void tell(const struct sim_tp *tp, const struct sim_tp_place *to,
                 const struct sim_tp_place *from, uint64_t done, uint64_t size, uint64_t begun_ns)
{
    if (!to->desc) {
        return;
    }
    const unsigned char *bytes =
        from->object ? sim_object_bytes(from->object) + from->offset : from->at;
    const struct seen_land land = {.desc = to->desc,
                                   .offset = to->base + done,
                                   .bytes = bytes + done,
                                   .size = size,
                                   .source_rank = tp->host->rank,
                                   .source_incarnation = tp->host->incarnation,
                                   .begun_ns = begun_ns,
                                   .same_host = true};
    seen_land(&land);
}

static int refusal(const struct sim_tp_lane *lane, const struct mf_xfer *x)
{
    const struct sim_tp_seg *src = seg_of(x->src_seg);
    const struct sim_tp_seg *dst = seg_of(x->dst_seg);
    const struct mf_fence_end ends[] = {
        {src ? &x->src_seg->desc : NULL, key_of(src), src && !src->peer},
        {dst ? &x->dst_seg->desc : NULL, key_of(dst), dst && !dst->peer},
    };
    return mf_fence_refusal(ends, 2, lane->tp->host->incarnation);
}

int sim_tp_copy_part(struct sim_tp_lane *lane, const struct mf_xfer *x, uint64_t done,
                     uint64_t size, void *buf, bool *moved)
{
    const struct sim_tp *tp = lane->tp;
    uint64_t incarnation = tp->host->incarnation;
    const struct mf_fence_key *src = key_of(seg_of(x->src_seg));
    const struct mf_fence_key *dst = key_of(seg_of(x->dst_seg));
    struct sim_tp_place from = place_of(x->src_seg, x->src, done);
    struct sim_tp_place to = place_of(x->dst_seg, x->dst, done);
    struct sim_tp_place here = {.at = buf};
    from = sim_tp_is_far(x->src_seg) ? here : from;
    to = sim_tp_is_far(x->dst_seg) ? here : to;
    uint64_t begun_ns = sim_now();
    bool ok = mf_fence_enter(lane->line, src, dst, incarnation);
    for (uint64_t at = 0; ok && at < size;) {
        uint64_t piece = sim_tp_piece(size - at);
        sim_tp_pause();
        tell(tp, &to, &from, at, piece, begun_ns);
        *moved = true;
        sim_tp_move(&to, &from, at, piece);
        at += piece;
        sim_tp_pause();
        ok = at == size || mf_fence_still_valid(src, dst, incarnation);
    }
    ok = ok && mf_fence_still_valid(src, dst, incarnation);
    mf_fence_leave(lane->line);
    return ok ? SMEM_OK : refusal(lane, x);
}

/* ---- copies at once ---- */

static int post_one(struct sim_tp_lane *lane, struct mf_xfer *x)
{
    bool moved = false;
    if (sim_tp_is_far(x->src_seg) || sim_tp_is_far(x->dst_seg)) {
        int rc = sim_tp_far_post(lane, x);
        x->status = rc ? rc : MF_XFER_PENDING;
        return sim_tp_keep(lane, rc);
    }
    x->status = sim_tp_copy_part(lane, x, 0, x->size, NULL, &moved);
    return sim_tp_keep(lane, x->status);
}

int sim_tp_post(void *arg, struct mf_xfer *v, uint32_t count)
{
    struct sim_tp_lane *lane = arg;
    int first = SMEM_OK;
    for (uint32_t i = 0; i < count; i++) {
        int rc = post_one(lane, &v[i]);
        first = first ? first : rc;
    }
    if (lane->first) {
        sim_tp_far_pump(lane);
    }
    return first;
}

int sim_tp_wait(void *arg, uint64_t deadline_ns)
{
    struct sim_tp_lane *lane = arg;
    while (lane->first) {
        uint32_t seen = atomic_load(&lane->word);
        sim_tp_far_pump(lane);
        if (!lane->first) {
            break;
        }
        if (sim_now() >= deadline_ns) {
            sim_tp_far_give_up(lane);
            break;
        }
        mf_word_wait(&lane->word, seen, deadline_ns);
    }
    int rc = lane->failure.code;
    if (rc) {
        mf_err_restore(&lane->failure);
        lane->failure.code = SMEM_OK;
    }
    return rc;
}

int sim_tp_copy_small(void *arg, struct mf_segment *segment, uint64_t gva, void *local,
                      uint32_t size, int write)
{
    struct sim_tp_lane *lane = arg;
    uint64_t here = (uint64_t)(uintptr_t)local;
    bool moved = false;
    struct mf_xfer x = {.src_seg = write ? NULL : segment,
                        .dst_seg = write ? segment : NULL,
                        .src = write ? here : gva,
                        .dst = write ? gva : here,
                        .size = size};
    if (!lane->tp->small || sim_tp_is_far(segment)) {
        return SMEM_NOT_EXIST;
    }
    return sim_tp_copy_part(lane, &x, 0, size, NULL, &moved);
}

int sim_tp_post_many(void *arg, struct mf_xfer_many *m)
{
    struct sim_tp_lane *lane = arg;
    m->done = 0;
    m->begun = 0;
    if (!lane->tp->many || m->flags || lane->tp->host->copy_checked || sim_tp_is_far(m->src_seg) ||
        sim_tp_is_far(m->dst_seg)) {
        return SMEM_NOT_EXIST;
    }
    while (m->done < m->count) {
        uint64_t i = m->done;
        bool moved = false;
        struct mf_xfer x = {
            .src_seg = m->src_seg,
            .dst_seg = m->dst_seg,
            .src = m->src + (m->src_offsets ? m->src_offsets[i] : i * m->src_stride),
            .dst = m->dst + (m->dst_offsets ? m->dst_offsets[i] : i * m->dst_stride),
            .size = m->sizes ? m->sizes[i] : m->size};
        int rc = sim_tp_copy_part(lane, &x, 0, x.size, NULL, &moved);
        m->begun = m->done + moved;
        if (rc) {
            return rc;
        }
        m->done++;
    }
    return SMEM_OK;
}

/* ---- lanes ---- */

int sim_tp_lane_open(void *arg, void **out)
{
    struct sim_tp *tp = arg;
    struct sim_tp_lane *lane = mf_calloc(1, sizeof(*lane), "lane");
    if (!lane) {
        return SMEM_MALLOC_FAILED;
    }
    lane->tp = tp;
    mf_mutex_lock(&tp->lock);
    int rc = mf_fence_line_take(&tp->fence, &lane->line);
    if (rc == SMEM_OK) {
        lane->next = tp->lanes;
        tp->lanes = lane;
    }
    mf_mutex_unlock(&tp->lock);
    if (rc) {
        mf_free(lane);
        return rc;
    }
    *out = lane;
    return SMEM_OK;
}

void sim_tp_lane_close(void *arg, void *lane_arg)
{
    struct sim_tp *tp = arg;
    struct sim_tp_lane *lane = lane_arg;
    if (!lane) {
        return;
    }
    sim_tp_far_give_up(lane);
    mf_mutex_lock(&tp->lock);
    struct sim_tp_lane **at = &tp->lanes;
    while (*at != lane) {
        at = &(*at)->next;
    }
    *at = lane->next;
    mf_fence_line_give(&tp->fence, lane->line);
    mf_mutex_unlock(&tp->lock);
    mf_free(lane);
}
