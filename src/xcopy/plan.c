// SPDX-License-Identifier: Apache-2.0
// The compiler of batches. Most elements lie in the same two windows as the one before, so the loop
// tests these first and only copies a template; a change of window costs a look-up; everything else
// (seams, refusals, ranks that nothing is known of) is off the fast path. When a rank has to be
// resolved, the pass starts again, since no segment may be held over that call.
#include "xcopy/plan.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"

/* Memory of this many transfers is kept whatever the last batch needed; more only while it is at
 * least one part in KEEP_RATIO in use. */
#define KEEP_TRANSFERS 4096u
#define KEEP_RATIO     16u

/* Segments met in this pass, by the part of the pool's range that they lie in; and pairs of windows
 * whose group is known, by a hash of their segments. Only there to save look-ups. */
#define SEEN_BITS  5u
#define PAIRS_BITS 4u

struct pair {
    const struct mf_segment *src, *dst;
    uint32_t places; /* 0: empty */
    uint32_t flags;
    uint32_t group;
};

struct builder {
    struct mf_plan *plan;
    const struct mf_xcopy_space *space;
    const struct mf_batch *batch;
    const struct mf_type_rule *rule;
    smem_bm_copy_type type;
    bool single;
    struct mf_window src, dst;
    struct mf_plan_group *group; /* of these windows; NULL while they are not checked */
    uint32_t flags;              /* of transfers between them */
    struct mf_xfer *open;        /* the transfer that the next element may continue, or NULL */
    uint32_t seen_shift;
    struct mf_window seen[1u << SEEN_BITS];
    struct pair pairs[1u << PAIRS_BITS];
};

struct mf_plan *mf_plan_create(void)
{
    return mf_calloc(1, sizeof(struct mf_plan), "copy plan");
}

static void free_transfers(struct mf_plan *plan)
{
    mf_free(plan->v);
    mf_free(plan->spare);
    mf_free(plan->group_of);
    mf_free(plan->keys);
    mf_free(plan->spare_keys);
    plan->v = NULL;
    plan->spare = NULL;
    plan->group_of = NULL;
    plan->keys = NULL;
    plan->spare_keys = NULL;
    plan->cap = 0;
}

static void free_ranks(struct mf_plan *plan)
{
    mf_free(plan->by_rank);
    mf_free(plan->resolved);
    mf_free(plan->ask);
    plan->by_rank = NULL;
    plan->resolved = NULL;
    plan->ask = NULL;
    plan->world = 0;
}

void mf_plan_destroy(struct mf_plan *plan)
{
    if (!plan) {
        return;
    }
    free_transfers(plan);
    free_ranks(plan);
    mf_free(plan->runs);
    mf_free(plan->groups);
    mf_free(plan);
}

void mf_plan_trim(struct mf_plan *plan)
{
    if (plan->cap > KEEP_TRANSFERS && plan->count < plan->cap / KEEP_RATIO) {
        free_transfers(plan);
        plan->count = 0;
    }
}

/* ---- room ---- */

static int grow(void **array, size_t item, uint32_t cap, const char *what)
{
    void *larger = mf_realloc(*array, item * cap, what);
    if (!larger) {
        return SMEM_MALLOC_FAILED;
    }
    *array = larger;
    return SMEM_OK;
}

/* Room for `count` transfers in all. The arrays for ordering are made anew when they are needed. */
static int reserve_transfers(struct mf_plan *plan, uint64_t count)
{
    if (count <= plan->cap) {
        return SMEM_OK;
    }
    if (count > UINT32_MAX / 2) {
        return mf_err(SMEM_NO_RESOURCES, "the batch needs %llu transfers, too many",
                      (unsigned long long)count);
    }
    uint32_t cap = count < 64 ? 64 : (uint32_t)count;
    if (plan->count > 0 && cap < plan->cap + plan->cap / 2) {
        cap = plan->cap + plan->cap / 2; /* seams: there may be many more */
    }
    int rc = grow((void **)&plan->v, sizeof(*plan->v), cap, "copy plan");
    if (!rc) {
        rc = grow((void **)&plan->group_of, sizeof(*plan->group_of), cap, "copy plan");
    }
    if (!rc) {
        rc = grow((void **)&plan->keys, sizeof(*plan->keys), cap, "copy plan");
    }
    if (rc) {
        return rc; /* cap is as before: at least so large is each array */
    }
    plan->cap = cap;
    mf_free(plan->spare);
    mf_free(plan->spare_keys);
    plan->spare = NULL;
    plan->spare_keys = NULL;
    return SMEM_OK;
}

int mf_plan_reserve_order(struct mf_plan *plan)
{
    if (!plan->spare) {
        plan->spare = mf_alloc(sizeof(*plan->spare) * plan->cap, "copy plan's order");
    }
    if (!plan->spare_keys) {
        plan->spare_keys = mf_alloc(sizeof(*plan->spare_keys) * plan->cap, "copy plan's order");
    }
    return plan->spare && plan->spare_keys ? SMEM_OK : SMEM_MALLOC_FAILED;
}

static int reserve_ranks(struct mf_plan *plan, uint32_t world)
{
    if (plan->world >= world) {
        return SMEM_OK;
    }
    free_ranks(plan);
    plan->by_rank = mf_alloc(sizeof(*plan->by_rank) * world, "copy plan's ranks");
    plan->resolved = mf_alloc(sizeof(*plan->resolved) * world, "copy plan's ranks");
    plan->ask = mf_alloc(sizeof(*plan->ask) * world, "copy plan's ranks");
    if (!plan->by_rank || !plan->resolved || !plan->ask) {
        free_ranks(plan);
        return SMEM_MALLOC_FAILED;
    }
    plan->world = world;
    plan->group_count = 0;
    plan->ask_count = 0;
    plan->asked_count = 0;
    for (uint32_t rank = 0; rank < world; rank++) {
        plan->by_rank[rank] = MF_PLAN_NONE;
        plan->resolved[rank] = MF_PLAN_NOT_ASKED;
    }
    return SMEM_OK;
}

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
        if (grow((void **)&plan->groups, sizeof(*plan->groups), cap, "copy plan's groups")) {
            return NULL;
        }
        plan->group_cap = cap;
    }
    struct mf_plan_group *group = &plan->groups[plan->group_count];
    *group = (struct mf_plan_group){.route = *route, .next = *head};
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

static inline void emit(struct builder *b, uint64_t src, uint64_t dst, uint64_t size, uint32_t i)
{
    struct mf_xfer *x = b->open;
    /* Words stay alone: each lands by one store. */
    if (x && x->src + x->size == src && x->dst + x->size == dst && size > 8 && x->size > 8) {
        x->size += size;
        x->cookie += 1ull << 32;
        return;
    }
    struct mf_plan *plan = b->plan;
    struct mf_plan_group *group = b->group;
    plan->group_of[plan->count] = (uint32_t)(group - plan->groups);
    plan->keys[plan->count] = dst;
    x = &plan->v[plan->count++];
    x->src_seg = b->src.seg;
    x->dst_seg = b->dst.seg;
    x->src = src;
    x->dst = dst;
    x->size = size;
    x->flags = b->flags;
    x->status = MF_XFER_PENDING;
    x->cookie = 1ull << 32 | i;
    group->descends |= dst < group->last_dst;
    group->last_dst = dst;
    group->count++;
    b->open = x;
}

static uint32_t places_of(const struct builder *b)
{
    return b->src.place << 8 | b->dst.place;
}

static struct pair *pair_of(struct builder *b)
{
    uint64_t hash = (uintptr_t)b->src.seg * 3 + (uintptr_t)b->dst.seg;
    return &b->pairs[hash * 0x9e3779b97f4a7c15ull >> (64 - PAIRS_BITS)];
}

/* Make the windows' group and flags. */
static int settle(struct builder *b)
{
    struct pair *pair = pair_of(b);
    if (pair->src != b->src.seg || pair->dst != b->dst.seg || pair->places != places_of(b)) {
        struct mf_route route;
        mf_route_find(b->space, &b->src, &b->dst, &route);
        struct mf_plan_group *group = group_get(b->plan, &route);
        if (!group) {
            b->group = NULL;
            return SMEM_MALLOC_FAILED;
        }
        *pair = (struct pair){
            .src = b->src.seg,
            .dst = b->dst.seg,
            .places = places_of(b),
            .flags = mf_window_flags(&b->src, &b->dst),
            .group = (uint32_t)(group - b->plan->groups),
        };
    }
    b->group = &b->plan->groups[pair->group];
    b->flags = pair->flags;
    return SMEM_OK;
}

/* mf_window_find, past the look-up for a segment that was met before. */
static inline void find_window(struct builder *b, uint64_t addr, struct mf_window *out)
{
    uint64_t offset = addr - b->space->table->layout.base.v;
    if (offset >= b->space->table->layout.size) {
        mf_window_find(b->space, addr, out);
        return;
    }
    struct mf_window *seen = &b->seen[offset >> b->seen_shift];
    if (!mf_window_holds(seen, addr, 0)) {
        mf_window_find(b->space, addr, seen);
    }
    *out = *seen;
}

static struct mf_element element_at(const struct builder *b, uint32_t i)
{
    return (struct mf_element){
        .src = (uintptr_t)b->batch->src[i],
        .dst = (uintptr_t)b->batch->dst[i],
        .size = b->batch->size[i],
        .type = b->type,
        .index = b->single ? MF_ELEMENT_SINGLE : i,
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

/* The rank of one side, when nothing is known of its slot. */
static uint32_t unknown_rank(const struct builder *b, const struct mf_window *window)
{
    enum mf_mem_kind kind = window->place == MF_PLACE_GD ? MF_KIND_HBM : MF_KIND_DRAM;
    bool global = window->place & (MF_PLACE_GD | MF_PLACE_GH);
    bool unknown = global && !window->seg && window->rank != b->space->self &&
                   !mf_gva_table_first(b->space->table, kind, window->rank);
    return unknown ? window->rank : MF_PLAN_NONE;
}

/* An element that meets a rank of which nothing is known: have it resolved before the next pass, or
 * refuse with what resolve said. */
static int add_unknown(struct builder *b, uint32_t i, const struct mf_element *element)
{
    struct mf_plan *plan = b->plan;
    uint32_t ranks[2] = {unknown_rank(b, &b->src), unknown_rank(b, &b->dst)};
    bool wait = false;
    for (int side = 0; side < 2; side++) {
        uint32_t rank = ranks[side];
        if (rank == MF_PLAN_NONE) {
            continue;
        }
        if (plan->resolved[rank] == MF_PLAN_NOT_ASKED) {
            plan->resolved[rank] = MF_PLAN_ASK;
            plan->ask[plan->ask_count++] = rank;
        }
        if (plan->resolved[rank] == MF_PLAN_ASK) {
            wait = true;
        } else if (plan->resolved[rank] != SMEM_OK) {
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

/* An element that is in order, in one transfer for each stretch between seams. */
static int add_pieces(struct builder *b, uint32_t i, struct mf_element element)
{
    uint64_t rest = b->batch->count - i; /* elements that still need room, this one included */
    while (element.size > 0) {
        int rc = reserve_transfers(b->plan, b->plan->count + rest);
        rc = rc ? rc : settle(b);
        if (rc) {
            return rc;
        }
        uint64_t size = element.size;
        uint64_t src_limit = piece_limit(&b->src, element.src);
        uint64_t dst_limit = piece_limit(&b->dst, element.dst);
        size = size < src_limit ? size : src_limit;
        size = size < dst_limit ? size : dst_limit;
        b->open = NULL;
        emit(b, element.src, element.dst, size, i);
        element.src += size;
        element.dst += size;
        element.size -= size;
        if (element.size > 0 && size == src_limit) {
            find_window(b, element.src, &b->src);
        }
        if (element.size > 0 && size == dst_limit) {
            find_window(b, element.dst, &b->dst);
        }
    }
    b->open = NULL;
    return SMEM_OK;
}

static int add_checked(struct builder *b, uint32_t i, const struct mf_element *element)
{
    b->group = NULL;
    enum mf_refusal why = mf_element_check(b->space, element, &b->src, &b->dst);
    if (why == MF_REFUSE_NONE) {
        return add_pieces(b, i, *element);
    }
    if (why == MF_REFUSE_UNKNOWN_RANK) {
        return add_unknown(b, i, element);
    }
    return refused(b, i, mf_element_refuse(b->space, element, why));
}

/* An element outside of the current windows. */
static int add_elsewhere(struct builder *b, uint32_t i)
{
    struct mf_element element = element_at(b, i);
    const struct mf_segment *segs[2] = {b->src.seg, b->dst.seg};
    uint32_t places = places_of(b);
    if (!mf_window_holds(&b->src, element.src, element.size)) {
        find_window(b, element.src, &b->src);
    }
    if (!mf_window_holds(&b->dst, element.dst, element.size)) {
        find_window(b, element.dst, &b->dst);
    }
    if (element.size - 1 >= MF_COPY_BYTES_MAX ||
        !mf_window_fits(&b->src, element.src, element.size) ||
        !mf_window_fits(&b->dst, element.dst, element.size) ||
        !(b->src.place & b->rule->src_mask) || !(b->dst.place & b->rule->dst_mask) ||
        mf_overlaps(element.src, element.dst, element.size)) {
        return add_checked(b, i, &element);
    }
    if (!b->group || segs[0] != b->src.seg || segs[1] != b->dst.seg || places != places_of(b)) {
        b->open = NULL;
        int rc = settle(b);
        if (rc) {
            return rc;
        }
    }
    emit(b, element.src, element.dst, element.size, i);
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
    plan->refused = 0;
    int rc = reserve_transfers(plan, batch->count);
    if (rc) {
        return rc;
    }
    b->src = (struct mf_window){0};
    b->dst = (struct mf_window){0};
    b->group = NULL;
    b->open = NULL;
    b->seen_shift = seen_shift(&b->space->table->layout);
    memset(b->seen, 0, sizeof(b->seen));
    memset(b->pairs, 0, sizeof(b->pairs));
    for (uint32_t i = 0; i < batch->count; i++) {
        uint64_t src = (uintptr_t)batch->src[i];
        uint64_t dst = (uintptr_t)batch->dst[i];
        uint64_t size = batch->size[i];
        if (__builtin_expect(b->group && mf_window_holds(&b->src, src, size) &&
                                 mf_window_holds(&b->dst, dst, size) &&
                                 size - 1 < MF_COPY_BYTES_MAX && !mf_overlaps(src, dst, size),
                             1)) {
            emit(b, src, dst, size, i);
            continue;
        }
        rc = add_elsewhere(b, i);
        if (rc) {
            return rc;
        }
    }
    return SMEM_OK;
}

/* Resolve the ranks that the pass has met. Without results the first failure is enough to know. */
static void resolve_ranks(const struct builder *b, uint64_t deadline_ns)
{
    struct mf_plan *plan = b->plan;
    const struct mf_xcopy_space *space = b->space;
    if (deadline_ns == 0) {
        deadline_ns = mf_deadline_ns(space->env, space->copy_wait_ms);
    }
    while (plan->asked_count < plan->ask_count) {
        uint32_t rank = plan->ask[plan->asked_count++];
        int rc = space->resolve(space->arg, rank, deadline_ns);
        plan->resolved[rank] = rc;
        if (rc && plan->resolve_err_rank == MF_PLAN_NONE) {
            plan->resolve_err_rank = rank;
            mf_err_save(&plan->resolve_err);
        }
        if (rc && !b->batch->results) {
            return;
        }
    }
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
    MF_ASSERT(space->self < space->table->layout.world);
    int rc = check_batch(batch, type);
    rc = rc ? rc : reserve_ranks(plan, space->table->layout.world);
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
        resolve_ranks(&b, deadline_ns);
    }
    return rc ? rc : mf_plan_order(plan);
}
