// SPDX-License-Identifier: Apache-2.0
// The compiler of batches. Most elements lie in the same two windows as the one before, so the loop
// tests these first and only copies a template; a change of window costs a look-up; everything else
// (seams, refusals, ranks that nothing is known of) is off the fast path. When a rank has to be
// resolved, the pass starts again, since no segment may be held over that call.
#include "xcopy/plan.h"

#include <string.h>

#include "base/limits.h"

/* Segments that were met in this pass are remembered by the part of the pool's range that they lie
 * in, of which there are 1 << SEEN_BITS. */
#define SEEN_BITS 5u

/* A window of one side, with the group of its pair with one window of the other side: saves
 * look-ups where a batch changes between segments. */
struct seen {
    struct mf_window w;
    const struct mf_segment *other;
    uint32_t other_place;
    uint32_t flags;
    uint32_t group; /* MF_PLAN_NONE: not paired */
};

enum { SRC, DST, SIDES };

struct builder {
    struct mf_plan *plan;
    const struct mf_xcopy_space *space;
    const struct mf_batch *batch;
    const struct mf_type_rule *rule;
    smem_bm_copy_type type;
    bool single;
    bool apart;                  /* no coalescing: checksums tell every element apart */
    struct seen *at[SIDES];      /* the current windows */
    struct mf_plan_group *group; /* of them; NULL while they are not checked */
    uint32_t flags;              /* of transfers between them */
    struct mf_xfer *open;        /* the transfer that the next element may continue, or NULL */
    uint32_t seen_shift;
    struct seen local[SIDES];
    struct seen seen[SIDES][1u << SEEN_BITS];
};

/* ---- routes and groups ---- */

static bool carries(const struct mf_transport_ops *ops, const struct mf_window *src,
                    const struct mf_window *dst)
{
    uint32_t places = src->place | dst->place;
    return !(places & (MF_PLACE_LD | MF_PLACE_GD)) || (ops->caps & MF_CAP_DEVICE);
}

void mf_route_find(const struct mf_xcopy_space *space, const struct mf_window *src,
                   const struct mf_window *dst, struct mf_route *out)
{
    bool src_remote = src->seg && src->rank != space->self;
    bool dst_remote = dst->seg && dst->rank != space->self;
    const struct mf_segment *carrier = dst_remote ? dst->seg : src_remote ? src->seg : NULL;
    *out = (struct mf_route){.path = MF_PATH_LOCAL, .peer = space->self};
    if (!carrier) {
        carrier = dst->seg ? dst->seg : src->seg;
        if (!carrier || !carrier->ops || !carries(carrier->ops, src, dst)) {
            return;
        }
    }
    out->peer = carrier->desc.owner;
    if ((src_remote && dst_remote &&
         (src->seg->tp != dst->seg->tp || !(carrier->ops->caps & MF_CAP_THIRD_PARTY))) ||
        !carries(carrier->ops, src, dst)) {
        out->path = MF_PATH_STAGED;
        return;
    }
    out->path = MF_PATH_TRANSPORT;
    out->ops = carrier->ops;
    out->tp = carrier->tp;
}

/* The group of a route, made when there is none. NULL: out of memory. */
static struct mf_plan_group *group_get(struct mf_plan *plan, const struct mf_route *route)
{
    uint32_t *head = &plan->by_rank[route->peer];
    for (uint32_t i = *head; i != MF_PLAN_NONE; i = plan->groups[i].next) {
        struct mf_plan_group *group = &plan->groups[i];
        if (group->route.path == route->path && group->route.tp == route->tp) {
            return group;
        }
    }
    if (plan->group_count == plan->group_cap) {
        uint32_t cap = plan->group_cap ? plan->group_cap * 2 : 16;
        if (mf_plan_grow((void **)&plan->groups, sizeof(*plan->groups), cap,
                         "copy plan's groups")) {
            return NULL;
        }
        plan->group_cap = cap;
    }
    struct mf_plan_group *group = &plan->groups[plan->group_count];
    *group = (struct mf_plan_group){.route = *route, .next = *head, .min_dst = UINT64_MAX};
    *head = plan->group_count++;
    return group;
}

static void forget_groups(struct mf_plan *plan)
{
    for (uint32_t i = 0; i < plan->group_count; i++) {
        plan->by_rank[plan->groups[i].route.peer] = MF_PLAN_NONE;
    }
    plan->group_count = 0;
}

/* ---- elements ---- */

/* Both addresses as transfers have them: global ones of pool memory. */
static inline void emit(struct builder *b, uint64_t src, uint64_t dst, uint64_t size, uint32_t i)
{
    struct mf_xfer *x = b->open;
    b->plan->bytes += size;
    /* Words stay alone: each lands by one store. Neighbours may each be apart from their targets
     * and overlap as a whole. */
    if (x && x->src + x->size == src && x->dst + x->size == dst && size > 8 && x->size > 8 &&
        !mf_overlaps(x->src, x->dst, x->size + size)) {
        x->size += size;
        x->cookie += 1ull << 32;
        return;
    }
    struct mf_plan *plan = b->plan;
    struct mf_plan_group *group = b->group;
    plan->group_of[plan->count] = (uint32_t)(group - plan->groups);
    plan->keys[plan->count] = dst;
    x = &plan->v[plan->count++];
    x->src_seg = b->at[SRC]->w.seg;
    x->dst_seg = b->at[DST]->w.seg;
    x->src = src;
    x->dst = dst;
    x->size = size;
    x->flags = b->flags;
    x->status = MF_XFER_PENDING;
    x->cookie = 1ull << 32 | i;
    group->descends |= dst < group->last_dst;
    group->last_dst = dst;
    group->min_dst = dst < group->min_dst ? dst : group->min_dst;
    group->max_dst = dst > group->max_dst ? dst : group->max_dst;
    group->count++;
    b->open = b->apart ? NULL : x;
}

/* Emit the elements from i on, up to the first that does not lie in the current windows: its index.
 * As emit, with everything that does not change in registers. */
static uint32_t emit_run(struct builder *b, uint32_t i)
{
    struct mf_plan *plan = b->plan;
    if (!b->group) {
        return i;
    }
    const struct mf_window from = b->at[SRC]->w, to = b->at[DST]->w;
    const uint32_t end = b->batch->count, flags = b->flags;
    const uint32_t number = (uint32_t)(b->group - plan->groups);
    const bool apart = b->apart;
    void *const *srcs = b->batch->src, *const *dsts = b->batch->dst;
    const uint64_t *sizes = b->batch->size;
    struct mf_plan_group group = *b->group;
    struct mf_xfer *v = plan->v, *x = b->open;
    uint32_t *group_of = plan->group_of;
    uint64_t *keys = plan->keys;
    uint64_t bytes = 0, size = x ? x->size : 0, cookie = x ? x->cookie : 0;
    uint64_t x_src = x ? x->src : 0, x_dst = x ? x->dst : 0;
    uint32_t count = plan->count;
    for (; i < end; i++) {
        uint64_t src = (uintptr_t)srcs[i], dst = (uintptr_t)dsts[i], more = sizes[i];
        if (!mf_window_holds(&from, src, more) || !mf_window_holds(&to, dst, more) ||
            more - 1 >= MF_COPY_BYTES_MAX) {
            break;
        }
        src += from.shift;
        dst += to.shift;
        if (mf_overlaps(src, dst, more)) {
            break;
        }
        bytes += more;
        if (x && x_src + size == src && x_dst + size == dst && more > 8 && size > 8 &&
            !mf_overlaps(x_src, x_dst, size + more)) {
            x->size = size += more;
            x->cookie = cookie += 1ull << 32;
            continue;
        }
        group_of[count] = number;
        keys[count] = dst;
        x = &v[count++];
        cookie = 1ull << 32 | i;
        size = more;
        x_src = src;
        x_dst = dst;
        *x = (struct mf_xfer){.src_seg = from.seg,
                              .dst_seg = to.seg,
                              .src = src,
                              .dst = dst,
                              .size = more,
                              .flags = flags,
                              .status = MF_XFER_PENDING,
                              .cookie = cookie};
        group.descends |= dst < group.last_dst;
        group.last_dst = dst;
        group.min_dst = dst < group.min_dst ? dst : group.min_dst;
        group.max_dst = dst > group.max_dst ? dst : group.max_dst;
        x = apart ? NULL : x;
    }
    group.count += count - plan->count;
    *b->group = group;
    b->open = x;
    plan->count = count;
    plan->bytes += bytes;
    return i;
}

/* The window around an address. What is no longer true of it, of the windows before, is forgotten.
 */
static inline struct seen *look(struct builder *b, int side, uint64_t addr)
{
    uint64_t offset = addr - b->space->table->layout.base.v;
    bool global = offset < b->space->table->layout.size;
    struct seen *seen = global ? &b->seen[side][offset >> b->seen_shift] : &b->local[side];
    if (!mf_window_holds(&seen->w, addr, 0)) {
        struct mf_window window;
        mf_window_find(b->space, addr, &window);
        if (window.seg != seen->w.seg || window.place != seen->w.place) {
            seen->group = MF_PLAN_NONE;
            b->group = seen == b->at[side] ? NULL : b->group;
        }
        seen->w = window;
    }
    return seen;
}

/* Make `src` and `dst` the current windows. */
static inline int settle(struct builder *b, struct seen *src, struct seen *dst)
{
    struct seen *key = dst->w.seg ? dst : src;
    const struct mf_window *other = dst->w.seg ? &src->w : &dst->w;
    b->at[SRC] = src;
    b->at[DST] = dst;
    b->open = NULL;
    if (key->group == MF_PLAN_NONE || key->other != other->seg ||
        key->other_place != other->place) {
        struct mf_route route;
        mf_route_find(b->space, &src->w, &dst->w, &route);
        b->group = group_get(b->plan, &route);
        if (!b->group) {
            return SMEM_MALLOC_FAILED;
        }
        key->other = other->seg;
        key->other_place = other->place;
        key->group = (uint32_t)(b->group - b->plan->groups);
        key->flags = mf_window_flags(&src->w, &dst->w);
    }
    b->group = &b->plan->groups[key->group];
    b->flags = key->flags;
    return SMEM_OK;
}

static struct mf_element element_at(const struct builder *b, uint32_t i)
{
    return (struct mf_element){
        .src = (uintptr_t)b->batch->src[i],
        .dst = (uintptr_t)b->batch->dst[i],
        .size = b->batch->size[i],
        .type = b->type,
        .index = b->single ? MF_ELEMENT_SINGLE : b->batch->first + i,
    };
}

/* Note the code of a refused element; its sentence is recorded already. Non-zero ends the pass. */
static int refused(struct builder *b, uint32_t i, int rc)
{
    struct mf_plan *plan = b->plan;
    b->open = NULL;
    if (!b->batch->results) {
        return rc;
    }
    if (plan->refused++ == 0) {
        plan->first_refused = i;
        mf_err_save(&plan->err);
    }
    b->batch->results[i] = rc;
    return SMEM_OK;
}

/* The rank of one side, when not all of its range is known here. */
static uint32_t lacking_rank(const struct builder *b, const struct mf_window *window, uint64_t addr,
                             uint64_t size)
{
    bool foreign = (window->place & (MF_PLACE_GD | MF_PLACE_GH)) && window->rank != b->space->self;
    return foreign && !mf_range_is_given(b->space, addr + window->shift, size, window)
               ? window->rank
               : MF_PLAN_NONE;
}

/* An element that meets a rank of which nothing is known, or less than it needs: have it resolved
 * before the next pass, or refuse with what resolve said. */
static int add_unknown(struct builder *b, uint32_t i, const struct mf_element *element)
{
    struct mf_plan *plan = b->plan;
    uint32_t ranks[2] = {lacking_rank(b, &b->at[SRC]->w, element->src, element->size),
                         lacking_rank(b, &b->at[DST]->w, element->dst, element->size)};
    bool wait = false;
    for (int side = 0; side < 2; side++) {
        uint32_t rank = ranks[side];
        if (rank == MF_PLAN_NONE) {
            continue;
        }
        /* One that was there when it was asked may have left since: it is asked once more. */
        if (plan->resolved[rank] == MF_PLAN_NOT_ASKED || plan->resolved[rank] == SMEM_OK) {
            bool again = plan->resolved[rank] == SMEM_OK;
            plan->resolved[rank] = again ? MF_PLAN_ASK_AGAIN : MF_PLAN_ASK;
            plan->ask[plan->ask_count++] = rank;
        }
        if (plan->resolved[rank] == MF_PLAN_ASK || plan->resolved[rank] == MF_PLAN_ASK_AGAIN) {
            wait = true;
        } else if (plan->resolved[rank] != MF_PLAN_CONFIRMED) {
            if (rank == plan->resolve_err_rank) {
                mf_err_restore(&plan->resolve_err);
            } else {
                mf_err(plan->resolved[rank], "rank %u cannot be reached", rank);
            }
            return refused(b, i, mf_element_err_in(b->space, element, plan->resolved[rank]));
        }
    }
    if (wait) {
        b->open = NULL;
        return SMEM_OK;
    }
    return refused(b, i, mf_element_refuse(b->space, element, MF_REFUSE_NOT_GIVEN));
}

/* Bytes from `addr` to the end of its segment; unlimited for local memory. */
static uint64_t piece_limit(const struct mf_window *window, uint64_t addr)
{
    return window->seg ? window->hi - addr : UINT64_MAX;
}

/* Its memory was taken down since the element was checked: as if it had never been there. */
static int add_lost(struct builder *b, uint32_t i, const struct mf_element *element,
                    struct seen *src, struct seen *dst)
{
    b->at[SRC] = src;
    b->at[DST] = dst;
    b->group = NULL;
    b->open = NULL;
    return add_unknown(b, i, element);
}

/* An element that is in order, in one transfer for each stretch between seams. */
static int add_pieces(struct builder *b, uint32_t i, struct mf_element element)
{
    uint64_t rest = b->batch->count - i; /* elements that still need room, this one included */
    while (element.size > 0) {
        int rc = mf_plan_reserve(b->plan, b->plan->count + rest);
        /* Local memory is one piece, whatever lies in it: the check has seen its first address. */
        bool shared[SIDES] = {b->at[SRC]->w.seg != NULL, b->at[DST]->w.seg != NULL};
        struct seen *src = shared[SRC] ? look(b, SRC, element.src) : b->at[SRC];
        struct seen *dst = shared[DST] ? look(b, DST, element.dst) : b->at[DST];
        if (rc == SMEM_OK && ((shared[SRC] && !src->w.seg) || (shared[DST] && !dst->w.seg))) {
            return add_lost(b, i, &element, src, dst);
        }
        rc = rc ? rc : settle(b, src, dst);
        if (rc) {
            return rc;
        }
        uint64_t size = element.size;
        uint64_t src_limit = piece_limit(&b->at[SRC]->w, element.src);
        uint64_t dst_limit = piece_limit(&b->at[DST]->w, element.dst);
        size = size < src_limit ? size : src_limit;
        size = size < dst_limit ? size : dst_limit;
        emit(b, element.src + b->at[SRC]->w.shift, element.dst + b->at[DST]->w.shift, size, i);
        element.src += size;
        element.dst += size;
        element.size -= size;
    }
    b->open = NULL;
    return SMEM_OK;
}

static int add_checked(struct builder *b, uint32_t i, const struct mf_element *element)
{
    b->group = NULL;
    enum mf_refusal why = mf_element_check(b->space, element, &b->at[SRC]->w, &b->at[DST]->w);
    if (why == MF_REFUSE_NONE) {
        return add_pieces(b, i, *element);
    }
    if (why == MF_REFUSE_UNKNOWN_RANK || why == MF_REFUSE_NOT_GIVEN) {
        return add_unknown(b, i, element);
    }
    return refused(b, i, mf_element_refuse(b->space, element, why));
}

/* An element outside of the current windows. */
static int add_elsewhere(struct builder *b, uint32_t i)
{
    struct mf_element element = element_at(b, i);
    struct seen *src = b->at[SRC];
    struct seen *dst = b->at[DST];
    if (!mf_window_holds(&src->w, element.src, element.size)) {
        src = look(b, SRC, element.src);
    }
    if (!mf_window_holds(&dst->w, element.dst, element.size)) {
        dst = look(b, DST, element.dst);
    }
    if (element.size - 1 >= MF_COPY_BYTES_MAX ||
        !mf_window_fits(&src->w, element.src, element.size) ||
        !mf_window_fits(&dst->w, element.dst, element.size) ||
        !(src->w.place & b->rule->src_mask) || !(dst->w.place & b->rule->dst_mask) ||
        mf_overlaps(element.src + src->w.shift, element.dst + dst->w.shift, element.size)) {
        b->at[SRC] = src;
        b->at[DST] = dst;
        return add_checked(b, i, &element);
    }
    if (!b->group || src != b->at[SRC] || dst != b->at[DST]) {
        int rc = settle(b, src, dst);
        if (rc) {
            return rc;
        }
    }
    emit(b, element.src + src->w.shift, element.dst + dst->w.shift, element.size, i);
    return SMEM_OK;
}

/* The shift that leaves SEEN_BITS bits of an offset in the pool. */
static uint32_t seen_shift(const struct mf_layout *layout)
{
    uint32_t length = 64 - (uint32_t)__builtin_clzll(layout->size - 1);
    return length > SEEN_BITS ? length - SEEN_BITS : 0;
}

static int compile_pass(struct builder *b)
{
    struct mf_plan *plan = b->plan;
    const struct mf_batch *batch = b->batch;
    forget_groups(plan);
    plan->count = 0;
    plan->bytes = 0;
    plan->refused = 0;
    int rc = mf_plan_reserve(plan, batch->count);
    if (rc) {
        return rc;
    }
    b->group = NULL;
    b->open = NULL;
    b->seen_shift = seen_shift(&b->space->table->layout);
    memset(b->seen, 0, sizeof(b->seen));
    memset(b->local, 0, sizeof(b->local));
    b->at[SRC] = &b->local[SRC];
    b->at[DST] = &b->local[DST];
    for (uint32_t i = emit_run(b, 0); i < batch->count; i = emit_run(b, i + 1)) {
        rc = add_elsewhere(b, i);
        if (rc) {
            return rc;
        }
    }
    return SMEM_OK;
}

/* Resolve the ranks that the pass has met. Without results the first failure is enough to know.
 * Non-zero ends the batch. */
static int resolve_ranks(const struct builder *b, uint64_t deadline_ns)
{
    struct mf_plan *plan = b->plan;
    const struct mf_xcopy_space *space = b->space;
    if (deadline_ns == 0) {
        deadline_ns = mf_deadline_ns(space->env, space->copy_wait_ms);
    }
    while (plan->asked_count < plan->ask_count) {
        uint32_t rank = plan->ask[plan->asked_count++];
        bool again = plan->resolved[rank] == MF_PLAN_ASK_AGAIN;
        int rc = space->resolve(space->arg, rank, deadline_ns);
        if (rc == MF_XCOPY_LATER || rc == SMEM_NOT_STARTED) {
            return rc;
        }
        plan->resolved[rank] = rc == SMEM_OK && again ? MF_PLAN_CONFIRMED : rc;
        if (rc && plan->resolve_err_rank == MF_PLAN_NONE) {
            plan->resolve_err_rank = rank;
            mf_err_save(&plan->resolve_err);
        }
        if (rc && !b->batch->results) {
            break;
        }
    }
    return SMEM_OK;
}

static void forget_ranks(struct mf_plan *plan)
{
    for (uint32_t i = 0; i < plan->ask_count; i++) {
        plan->resolved[plan->ask[i]] = MF_PLAN_NOT_ASKED;
    }
    plan->ask_count = 0;
    plan->asked_count = 0;
    plan->resolve_err_rank = MF_PLAN_NONE;
}

static int check_batch(const struct mf_batch *batch, smem_bm_copy_type type)
{
    const char *name = mf_type_rules[type].name;
    if (batch->count == 0 || batch->count > MF_BATCH_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "copy %s: a batch of %u elements: 1 to %u are allowed",
                      name, batch->count, MF_BATCH_MAX);
    }
    if (!batch->src || !batch->dst || !batch->size) {
        return mf_err(SMEM_INVALID_PARAM, "copy %s: the array of %s is NULL", name,
                      !batch->src   ? "sources"
                      : !batch->dst ? "destinations"
                                    : "sizes");
    }
    return SMEM_OK;
}

int mf_plan_compile(struct mf_plan *plan, const struct mf_xcopy_space *space,
                    const struct mf_batch *batch, smem_bm_copy_type type, bool single,
                    uint64_t deadline_ns)
{
    struct builder b;
    b.plan = plan;
    b.space = space;
    b.batch = batch;
    b.rule = &mf_type_rules[type];
    b.type = type;
    b.single = single;
    b.apart = space->checked;
    MF_ASSERT(space->self < space->table->layout.world);
    int rc = check_batch(batch, type);
    rc = rc ? rc : mf_plan_reserve_ranks(plan, space->table->layout.world);
    if (rc) {
        return rc;
    }
    forget_ranks(plan);
    for (;;) {
        if (batch->results) {
            memset(batch->results, 0, sizeof(*batch->results) * batch->count);
        }
        rc = compile_pass(&b);
        if (rc || plan->asked_count == plan->ask_count) {
            break;
        }
        rc = resolve_ranks(&b, deadline_ns);
        if (rc) {
            break;
        }
    }
    return rc ? rc : mf_plan_order(plan);
}
