// SPDX-License-Identifier: Apache-2.0
// The planner against a naive one: random pools, random batches, good and bad elements mixed; and
// the cases that have a shape of their own.
#include "xcopy_world.h"

#include <sys/mman.h>

#include "mf_torture.h"

#define ELEMENTS_MAX 48u
#define LOCAL_BYTES  (8 * MIB)
/* Addresses that nothing else uses, of which the last half is host memory: no range runs from it
 * into the device's memory at the front. */
#define FAR_BYTES (1024 * MIB)

struct fixture {
    struct world w;
    uint8_t *local;
    void *src[ELEMENTS_MAX], *dst[ELEMENTS_MAX];
    uint64_t size[ELEMENTS_MAX];
    int32_t results[ELEMENTS_MAX];
    struct mf_batch batch;
    struct mf_plan *plan;
};

/* ---- the naive planner: byte by byte, as far as bytes can differ ---- */

struct spot {
    uint32_t place;
    uint32_t rank;
    const struct mf_segment *seg;
};

static struct spot spot_at(const struct fixture *f, uint64_t addr)
{
    const struct mf_layout *layout = &f->w.table.layout;
    uint64_t dev = num(f->w.dev_mem);
    if (addr < WORLD_BASE || addr >= WORLD_BASE + layout->size) {
        bool on_device = f->w.dev_mem && addr >= dev && addr < dev + f->w.dev_bytes;
        return (struct spot){.place = on_device ? MF_PLACE_LD : MF_PLACE_LH};
    }
    struct spot spot = {0};
    for (uint32_t rank = 0; rank < layout->world; rank++) {
        for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
            uint64_t slot = mf_layout_slot(layout, kind, rank).v;
            if (addr >= slot && addr < slot + layout->max_bytes[kind]) {
                spot.place = kind == MF_KIND_HBM ? MF_PLACE_GD : MF_PLACE_GH;
                spot.rank = rank;
            }
        }
    }
    for (uint32_t i = 0; i < f->w.seg_count; i++) {
        const struct mf_segment *seg = &f->w.segs[i];
        if (addr >= seg->desc.gva && addr < seg->desc.gva + seg->desc.size) {
            spot.seg = seg;
        }
    }
    return spot;
}

static bool naive_side(const struct fixture *f, uint64_t addr, uint64_t size, uint32_t mask)
{
    if (addr == 0 || size == 0 || size > MF_COPY_BYTES_MAX || size > UINT64_MAX - addr) {
        return false;
    }
    struct spot first = spot_at(f, addr);
    if (!(first.place & mask)) {
        return false;
    }
    /* Everything changes at multiples of 4 KiB only, but local memory. */
    for (uint64_t done = 0; done < size;) {
        uint64_t at = addr + done;
        uint64_t step = 4096 - at % 4096;
        step = step < size - done ? step : size - done;
        uint64_t last = at + step - 1;
        done += step;
        struct spot a = spot_at(f, at);
        struct spot b = spot_at(f, last);
        bool global = first.place & (MF_PLACE_GH | MF_PLACE_GD);
        if (a.place != first.place || a.rank != first.rank || (global && !a.seg) ||
            b.place != first.place) {
            return false;
        }
    }
    return true;
}

static bool naive_good(const struct fixture *f, uint32_t i, smem_bm_copy_type type)
{
    uint64_t src = num(f->src[i]);
    uint64_t dst = num(f->dst[i]);
    uint64_t size = f->size[i];
    const struct mf_type_rule *rule = &mf_type_rules[type];
    bool apart = src + size <= dst || dst + size <= src;
    return naive_side(f, src, size, rule->src_mask) && naive_side(f, dst, size, rule->dst_mask) &&
           apart;
}

static uint32_t naive_peer(const struct fixture *f, const struct mf_xfer *x)
{
    uint32_t self = f->w.space.self;
    if (x->dst_seg && x->dst_seg->desc.owner != self) {
        return x->dst_seg->desc.owner;
    }
    return x->src_seg ? x->src_seg->desc.owner : self;
}

/* ---- random pools and batches ---- */

static void random_pool(struct fixture *f, uint64_t *seed)
{
    uint32_t ranks = 1 + (uint32_t)rnd_below(seed, RANKS_MAX);
    uint64_t hbm = rnd_below(seed, 3) * 2 * MIB;
    uint64_t dram = (1 + rnd_below(seed, 3)) * 2 * MIB;
    world_init(&f->w, ranks, hbm, dram);
    f->w.space.self = (uint32_t)rnd_below(seed, ranks);
    for (uint32_t rank = 0; rank < ranks; rank++) {
        int tp = (int)rnd_below(seed, 2);
        f->w.ops[tp].caps = MF_CAP_HOST | (rnd_below(seed, 2) ? MF_CAP_THIRD_PARTY : 0) |
                            (rnd_below(seed, 3) ? MF_CAP_DEVICE : 0);
        for (int kind = 0; kind < MF_KIND_COUNT; kind++) {
            uint64_t given = 0;
            while (given < f->w.table.layout.max_bytes[kind] && rnd_below(seed, 5)) {
                world_add_segment(&f->w, rank, kind, given, 2 * MIB, tp);
                given += 2 * MIB;
            }
        }
    }
}

static uint64_t random_address(struct fixture *f, uint64_t *seed)
{
    switch (rnd_below(seed, 6)) {
    case 0:
        return num(f->local) + rnd_below(seed, LOCAL_BYTES);
    case 1:
        return num(f->w.dev_mem ? f->w.dev_mem : f->local) + rnd_below(seed, 2 * MIB);
    case 2: /* near a seam or a border */
        return WORLD_BASE + rnd_below(seed, f->w.table.layout.size / (2 * MIB) + 1) * 2 * MIB -
               4096 + rnd_below(seed, 8192);
    case 3:
        return rnd_below(seed, 20) ? num(f->local) : rnd_below(seed, 2) ? 0 : UINT64_MAX - 9;
    default:
        return WORLD_BASE + rnd_below(seed, f->w.table.layout.size);
    }
}

static void random_batch(struct fixture *f, uint64_t *seed)
{
    uint32_t count = 1 + (uint32_t)rnd_below(seed, ELEMENTS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        static const uint64_t limits[] = {9, 64, 5000, 100000, 3 * MIB};
        f->size[i] = rnd_below(seed, limits[rnd_below(seed, 5)]);
        if (i > 0 && rnd_below(seed, 2)) {
            f->src[i] = ptr(num(f->src[i - 1]) + f->size[i - 1]);
            f->dst[i] = ptr(num(f->dst[i - 1]) + f->size[i - 1]);
        } else {
            f->src[i] = ptr(random_address(f, seed));
            f->dst[i] = ptr(random_address(f, seed));
        }
    }
    f->batch = (struct mf_batch){
        .src = f->src, .dst = f->dst, .size = f->size, .count = count, .results = f->results};
}

/* ---- what a plan has to be ---- */

static void check_transfer(const struct fixture *f, const struct mf_xfer *x, uint64_t *covered)
{
    struct spot src = spot_at(f, x->src);
    struct spot dst = spot_at(f, x->dst);
    assert_true(x->size > 0);
    assert_ptr_equal(x->src_seg, src.seg);
    assert_ptr_equal(x->dst_seg, dst.seg);
    assert_true(!x->src_seg || x->src + x->size <= src.seg->desc.gva + src.seg->desc.size);
    assert_true(!x->dst_seg || x->dst + x->size <= dst.seg->desc.gva + dst.seg->desc.size);
    assert_int_equal(!!(x->flags & MF_XFER_SRC_DEV), !!(src.place & (MF_PLACE_LD | MF_PLACE_GD)));
    assert_int_equal(!!(x->flags & MF_XFER_DST_DEV), !!(dst.place & (MF_PLACE_LD | MF_PLACE_GD)));
    uint32_t first = mf_cookie_first(x->cookie);
    uint32_t count = mf_cookie_count(x->cookie);
    if (count == 1) {
        uint64_t offset = x->src - num(f->src[first]);
        assert_int_equal(x->dst - num(f->dst[first]), offset);
        assert_true(offset + x->size <= f->size[first]);
        covered[first] += x->size;
        return;
    }
    uint64_t at = 0;
    for (uint32_t e = first; e < first + count; e++) {
        assert_int_equal(num(f->src[e]), x->src + at);
        assert_int_equal(num(f->dst[e]), x->dst + at);
        assert_true(f->size[e] > 8); /* words stay alone */
        covered[e] += f->size[e];
        at += f->size[e];
    }
    assert_int_equal(at, x->size);
}

/* What is nearer than this may stay in the order of the batch: a 256th of the distance, but a page
 * to 4 MiB, and more only when the targets of some group are more than 2^54 bytes apart.
 * Everything, when transfers are a page or more on average. */
static uint64_t order_unit(const struct fixture *f)
{
    uint64_t unit = 4096;
    if (f->plan->bytes / 4096 >= f->plan->count) {
        return UINT64_MAX;
    }
    for (uint32_t r = 0; r < f->plan->run_count; r++) {
        const struct mf_plan_run *run = &f->plan->runs[r];
        for (uint32_t peer = 0; peer < f->w.table.layout.world; peer++) {
            uint64_t low = UINT64_MAX;
            uint64_t high = 0;
            for (uint32_t i = run->first; i < run->first + run->count; i++) {
                uint64_t dst = f->plan->v[i].dst;
                bool mine = naive_peer(f, &f->plan->v[i]) == peer;
                low = mine && dst < low ? dst : low;
                high = mine && dst > high ? dst : high;
            }
            while (high > low && unit < 4ull << 20 && (high - low) / unit >= 256) {
                unit *= 2;
            }
            while (high > low && (high - low) / unit >= 1ull << 32) {
                unit *= 2;
            }
        }
    }
    return unit;
}

/* A run carries what its transport may carry; peers lie side by side, targets ascend. */
static void check_run(const struct fixture *f, const struct mf_plan_run *run, uint64_t unit)
{
    const struct mf_xfer *v = f->plan->v + run->first;
    bool met[RANKS_MAX] = {0};
    uint32_t self = f->w.space.self;
    assert_true(run->count > 0);
    for (uint32_t i = 0; i < run->count; i++) {
        const struct mf_xfer *x = &v[i];
        uint32_t peer = naive_peer(f, x);
        bool device = x->flags & (MF_XFER_SRC_DEV | MF_XFER_DST_DEV);
        if (i == 0 || naive_peer(f, x - 1) != peer) {
            assert_false(met[peer]);
            met[peer] = true;
        } else {
            assert_true(x->dst > x[-1].dst || x[-1].dst - x->dst < unit);
        }
        if (run->route.path == MF_PATH_TRANSPORT) {
            bool src_there = x->src_seg && x->src_seg->tp == run->route.tp;
            bool dst_there = x->dst_seg && x->dst_seg->tp == run->route.tp;
            assert_true(src_there || dst_there);
            assert_true(!device || (run->route.ops->caps & MF_CAP_DEVICE));
            bool third = x->src_seg && x->src_seg->desc.owner != self && x->dst_seg &&
                         x->dst_seg->desc.owner != self;
            assert_true(!third ||
                        (src_there && dst_there && (run->route.ops->caps & MF_CAP_THIRD_PARTY)));
        } else if (run->route.path == MF_PATH_LOCAL) {
            assert_int_equal(peer, self);
        } else {
            assert_int_not_equal(peer, self);
        }
    }
}

static void check_plan(const struct fixture *f, smem_bm_copy_type type)
{
    uint64_t covered[ELEMENTS_MAX] = {0};
    uint32_t in_runs = 0;
    for (uint32_t i = 0; i < f->plan->count; i++) {
        check_transfer(f, &f->plan->v[i], covered);
    }
    for (uint32_t r = 0; r < f->plan->run_count; r++) {
        assert_int_equal(f->plan->runs[r].first, in_runs);
        in_runs += f->plan->runs[r].count;
        check_run(f, &f->plan->runs[r], order_unit(f));
    }
    assert_int_equal(in_runs, f->plan->count);
    for (uint32_t i = 0; i < f->batch.count; i++) {
        bool good = naive_good(f, i, type);
        if (good != (f->results[i] == SMEM_OK) || covered[i] != (good ? f->size[i] : 0)) {
            fail_msg("element %u (%s, 0x%llx to 0x%llx, %llu bytes): naive %d, result %d, covered "
                     "%llu bytes",
                     i, mf_type_rules[type].name, (unsigned long long)num(f->src[i]),
                     (unsigned long long)num(f->dst[i]), (unsigned long long)f->size[i], good,
                     f->results[i], (unsigned long long)covered[i]);
        }
    }
}

static bool is_lacking(const struct fixture *f, const struct mf_window *w, uint64_t addr,
                       uint64_t size)
{
    return (w->place & (MF_PLACE_GH | MF_PLACE_GD)) && w->rank != f->w.space.self &&
           !mf_range_is_given(&f->w.space, addr, size, w);
}

/* Bad only because less is known of another rank's slot than is needed. */
static bool is_unknown(const struct fixture *f, uint32_t i, smem_bm_copy_type type)
{
    struct mf_element element = {num(f->src[i]), num(f->dst[i]), f->size[i], type, i};
    struct mf_window src;
    struct mf_window dst;
    mf_window_find(&f->w.space, element.src, &src);
    mf_window_find(&f->w.space, element.dst, &dst);
    enum mf_refusal why = mf_element_check(&f->w.space, &element, &src, &dst);
    return why == MF_REFUSE_UNKNOWN_RANK ||
           (why == MF_REFUSE_NOT_GIVEN && (is_lacking(f, &src, element.src, element.size) ||
                                           is_lacking(f, &dst, element.dst, element.size)));
}

/* Without results: refused as a whole, by the first bad element, and by one that can be judged
 * without asking for a rank before one that cannot. */
static void check_refusal(struct fixture *f, smem_bm_copy_type type)
{
    uint32_t first = f->batch.count;
    for (uint32_t i = f->batch.count; i-- > 0;) {
        bool later = first < f->batch.count;
        if (f->results[i] != SMEM_OK &&
            (!later || !is_unknown(f, i, type) || is_unknown(f, first, type))) {
            first = i;
        }
    }
    f->batch.results = NULL;
    int rc = mf_plan_compile(f->plan, &f->w.space, &f->batch, type, false, 0);
    if (first == f->batch.count) {
        mf_assert_ok(rc);
        return;
    }
    char words[32];
    snprintf(words, sizeof(words), ", element %u:", first);
    mf_assert_rc(rc, SMEM_INVALID_PARAM);
    mf_assert_err_has(words);
}

static void run_seed(uint64_t seed, uint32_t batches)
{
    struct fixture f = {0};
    uint8_t *far = mmap(NULL, FAR_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(far, MAP_FAILED);
    f.local = far + FAR_BYTES / 2;
    random_pool(&f, &seed);
    if (rnd_below(&seed, 2)) {
        world_set_device(&f.w, far, 2 * MIB);
    }
    f.plan = mf_plan_create();
    for (uint32_t b = 0; b < batches; b++) {
        smem_bm_copy_type type = (smem_bm_copy_type)rnd_below(&seed, SMEMB_COPY_BUTT);
        type = rnd_below(&seed, 2) ? type : SMEMB_COPY_AUTO;
        random_batch(&f, &seed);
        mf_assert_ok(mf_plan_compile(f.plan, &f.w.space, &f.batch, type, false, 0));
        check_plan(&f, type);
        check_refusal(&f, type);
        mf_plan_trim(f.plan);
    }
    mf_plan_destroy(f.plan);
    world_fini(&f.w);
    munmap(far, FAR_BYTES);
}

static void test_plan_compile__equals_a_naive_expansion(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        run_seed(seed * 0x9e3779b97f4a7c15ull, 20);
    }
}

/* ---- single shapes ---- */

static void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->local = malloc(LOCAL_BYTES);
    world_init(&f->w, 4, 0, 8 * MIB);
    for (uint32_t rank = 0; rank < 3; rank++) {
        world_add_segment(&f->w, rank, MF_KIND_DRAM, 0, 2 * MIB, 0);
        world_add_segment(&f->w, rank, MF_KIND_DRAM, 2 * MIB, 2 * MIB, 0);
    }
    f->plan = mf_plan_create();
}

static void fixture_fini(struct fixture *f)
{
    mf_plan_destroy(f->plan);
    world_fini(&f->w);
    free(f->local);
}

static uint32_t compile(struct fixture *f, uint32_t count)
{
    f->batch = (struct mf_batch){.src = f->src, .dst = f->dst, .size = f->size, .count = count};
    mf_assert_ok(mf_plan_compile(f->plan, &f->w.space, &f->batch, SMEMB_COPY_H2G, false, 0));
    return f->plan->count;
}

static void test_plan_compile__coalesces_neighbours_but_no_words(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    uint64_t size = 4096;
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 10; i++) {
            f.src[i] = f.local + i * size;
            f.dst[i] = ptr(world_gva(&f.w, MF_KIND_DRAM, 1, i * size));
            f.size[i] = size;
        }
        assert_int_equal(compile(&f, 10), round == 0 ? 1 : 10);
        size = 8;
    }
    fixture_fini(&f);
}

/* Each pair is apart, their union would be a copy onto itself. */
static void test_plan_compile__does_not_join_what_overlaps_as_a_whole(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    for (uint32_t i = 0; i < 3; i++) {
        f.src[i] = ptr(world_gva(&f.w, MF_KIND_DRAM, 1, i * 4096));
        f.dst[i] = ptr(world_gva(&f.w, MF_KIND_DRAM, 1, (i + 1) * 4096));
        f.size[i] = 4096;
    }
    assert_int_equal(compile(&f, 3), 3);
    fixture_fini(&f);
}

static void test_plan_compile__splits_at_a_seam(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    f.src[0] = f.local;
    f.dst[0] = ptr(world_gva(&f.w, MF_KIND_DRAM, 1, 2 * MIB - 100));
    f.size[0] = 300;
    assert_int_equal(compile(&f, 1), 2);
    assert_int_equal(f.plan->v[0].size, 100);
    assert_int_equal(f.plan->v[1].size, 200);
    assert_ptr_equal(f.plan->v[1].dst_seg, f.plan->v[0].dst_seg->next);
    fixture_fini(&f);
}

/* Only the first address of host memory is looked at, also where the other side has a seam. */
static void test_plan_compile__host_range_stays_host_over_a_seam(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    world_set_device(&f.w, f.local + 4 * MIB, 2 * MIB);
    f.src[0] = ptr(world_gva(&f.w, MF_KIND_DRAM, 1, 2 * MIB - 2000));
    f.dst[0] = f.local + 4 * MIB - 1000;
    f.src[1] = ptr(num(f.src[0]) + 3000);
    f.dst[1] = ptr(num(f.dst[0]) + 3000);
    f.size[0] = 3000;
    f.size[1] = 100;
    f.batch = (struct mf_batch){
        .src = f.src, .dst = f.dst, .size = f.size, .count = 2, .results = f.results};
    mf_assert_ok(mf_plan_compile(f.plan, &f.w.space, &f.batch, SMEMB_COPY_G2H, false, 0));
    assert_int_equal(f.plan->count, 2);
    assert_int_equal(f.plan->v[0].flags | f.plan->v[1].flags, 0);
    assert_int_equal(f.results[0], SMEM_OK);
    assert_int_equal(f.results[1], SMEM_INVALID_PARAM);
    fixture_fini(&f);
}

static void test_plan_compile__groups_by_peer_and_orders_targets(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    for (uint32_t i = 0; i < 40; i++) {
        f.src[i] = f.local + i * 8192;
        f.dst[i] = ptr(world_gva(&f.w, MF_KIND_DRAM, i % 3, (39 - i) * 65536));
        f.size[i] = 4000;
    }
    assert_int_equal(compile(&f, 40), 40);
    assert_int_equal(f.plan->run_count, 1);
    for (uint32_t i = 1; i < 40; i++) {
        const struct mf_xfer *x = &f.plan->v[i];
        if (x->dst_seg->desc.owner == x[-1].dst_seg->desc.owner) {
            assert_true(x->dst > x[-1].dst);
        }
    }
    fixture_fini(&f);
}

static void test_plan_compile__resolves_a_rank_once(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    f.w.arriving = world_make_segment(&f.w, 3, MF_KIND_DRAM, 0, 2 * MIB, 1);
    for (uint32_t i = 0; i < 4; i++) {
        f.src[i] = f.local + i * 8192;
        f.dst[i] = ptr(world_gva(&f.w, MF_KIND_DRAM, i < 2 ? 3 : 1, i * 4096));
        f.size[i] = 100;
    }
    assert_int_equal(compile(&f, 4), 4);
    assert_int_equal(f.w.resolves, 1);
    assert_int_equal(compile(&f, 4), 4);
    assert_int_equal(f.w.resolves, 1);
    fixture_fini(&f);
}

/* Ranges of a rank that is known: the rest of what it gives may have come since. Across the seam,
 * behind it, and where there is still nothing. */
static void test_plan_compile__asks_for_more_of_a_rank(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    f.w.arriving = world_make_segment(&f.w, 3, MF_KIND_DRAM, 0, 2 * MIB, 1);
    f.src[0] = f.local;
    f.dst[0] = ptr(world_gva(&f.w, MF_KIND_DRAM, 3, 0));
    f.size[0] = 64;
    assert_int_equal(compile(&f, 1), 1); /* its first piece is known */
    f.w.arriving = world_make_segment(&f.w, 3, MF_KIND_DRAM, 2 * MIB, 2 * MIB, 2);
    for (uint32_t i = 0; i < 2; i++) {
        f.src[i] = f.local + i * 8192;
        f.dst[i] = ptr(world_gva(&f.w, MF_KIND_DRAM, 3, 2 * MIB - 50 + i * 8192));
        f.size[i] = 100;
    }
    f.w.resolves = 0;
    assert_int_equal(compile(&f, 2), 3); /* one of them in two pieces */
    assert_int_equal(f.w.resolves, 1);
    f.dst[1] = ptr(world_gva(&f.w, MF_KIND_DRAM, 3, 4 * MIB - 50));
    f.batch = (struct mf_batch){.src = f.src, .dst = f.dst, .size = f.size, .count = 2};
    mf_assert_rc(mf_plan_compile(f.plan, &f.w.space, &f.batch, SMEMB_COPY_H2G, false, 0),
                 SMEM_INVALID_PARAM);
    mf_assert_err_has("element 1: destination");
    mf_assert_err_has("rank 3 has 4194304 bytes");
    fixture_fini(&f);
}

static void test_plan_compile__reports_what_resolve_says(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    f.w.resolve_rc = SMEM_NOT_CONNECTED;
    for (uint32_t i = 0; i < 3; i++) {
        f.src[i] = f.local + i * 8192;
        f.dst[i] = ptr(world_gva(&f.w, MF_KIND_DRAM, i == 1 ? 3 : 1, i * 4096));
        f.size[i] = 100;
    }
    f.batch = (struct mf_batch){.src = f.src, .dst = f.dst, .size = f.size, .count = 3};
    mf_assert_rc(mf_plan_compile(f.plan, &f.w.space, &f.batch, SMEMB_COPY_H2G, false, 0),
                 SMEM_NOT_CONNECTED);
    mf_assert_err_has("copy H2G, element 1: 100 bytes from");
    mf_assert_err_has("(DRAM of rank 3 in pool 5): rank 3 has not joined");
    f.batch.results = f.results;
    mf_assert_ok(mf_plan_compile(f.plan, &f.w.space, &f.batch, SMEMB_COPY_H2G, false, 0));
    assert_int_equal(f.results[0], SMEM_OK);
    assert_int_equal(f.results[1], SMEM_NOT_CONNECTED);
    assert_int_equal(f.results[2], SMEM_OK);
    assert_int_equal(f.plan->refused, 1);
    fixture_fini(&f);
}

static void test_plan_compile__refuses_batches_that_are_none(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    f.batch = (struct mf_batch){.src = f.src, .dst = f.dst, .size = f.size, .count = 0};
    mf_assert_rc(mf_plan_compile(f.plan, &f.w.space, &f.batch, SMEMB_COPY_AUTO, false, 0),
                 SMEM_INVALID_PARAM);
    mf_assert_err_has("a batch of 0 elements");
    f.batch.count = MF_BATCH_MAX + 1;
    mf_assert_rc(mf_plan_compile(f.plan, &f.w.space, &f.batch, SMEMB_COPY_AUTO, false, 0),
                 SMEM_INVALID_PARAM);
    f.batch.count = 1;
    f.batch.dst = NULL;
    mf_assert_rc(mf_plan_compile(f.plan, &f.w.space, &f.batch, SMEMB_COPY_AUTO, false, 0),
                 SMEM_INVALID_PARAM);
    mf_assert_err_has("the array of destinations is NULL");
    fixture_fini(&f);
}

static void test_plan_trim__gives_back_what_a_large_batch_needed(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    const uint32_t count = 50000;
    void **src = malloc(count * sizeof(*src));
    void **dst = malloc(count * sizeof(*dst));
    uint64_t *size = malloc(count * sizeof(*size));
    for (uint32_t i = 0; i < count; i++) {
        src[i] = f.local + i * 16;
        dst[i] = ptr(world_gva(&f.w, MF_KIND_DRAM, i % 2, i * 32));
        size[i] = 8;
    }
    f.batch = (struct mf_batch){.src = src, .dst = dst, .size = size, .count = count};
    mf_assert_ok(mf_plan_compile(f.plan, &f.w.space, &f.batch, SMEMB_COPY_H2G, false, 0));
    mf_plan_trim(f.plan);
    assert_true(f.plan->cap >= count); /* kept for the next one of its kind */
    f.batch.count = 10;
    mf_assert_ok(mf_plan_compile(f.plan, &f.w.space, &f.batch, SMEMB_COPY_H2G, false, 0));
    mf_plan_trim(f.plan);
    assert_true(f.plan->cap <= 4096);
    free(src);
    free(dst);
    free(size);
    fixture_fini(&f);
}

/* ---- memory that is not there ---- */

static int compile_afresh(void *arg)
{
    struct fixture *f = arg;
    struct mf_plan *plan = mf_plan_create();
    int rc = plan ? SMEM_OK : SMEM_MALLOC_FAILED;
    rc = rc ? rc : mf_plan_compile(plan, &f->w.space, &f->batch, SMEMB_COPY_AUTO, false, 0);
    mf_plan_destroy(plan);
    return rc;
}

static void test_plan_compile__torture(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    for (uint32_t i = 0; i < ELEMENTS_MAX; i++) {
        f.src[i] = f.local + i * 65536;
        f.dst[i] = ptr(world_gva(&f.w, MF_KIND_DRAM, i % 3, 2 * MIB - i * 1000));
        f.size[i] = 3000;
    }
    f.batch = (struct mf_batch){.src = f.src, .dst = f.dst, .size = f.size, .count = ELEMENTS_MAX};
    assert_true(mf_torture(compile_afresh, &f) >= 8);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_compile__equals_a_naive_expansion),
        cmocka_unit_test(test_plan_compile__coalesces_neighbours_but_no_words),
        cmocka_unit_test(test_plan_compile__does_not_join_what_overlaps_as_a_whole),
        cmocka_unit_test(test_plan_compile__splits_at_a_seam),
        cmocka_unit_test(test_plan_compile__host_range_stays_host_over_a_seam),
        cmocka_unit_test(test_plan_compile__groups_by_peer_and_orders_targets),
        cmocka_unit_test(test_plan_compile__resolves_a_rank_once),
        cmocka_unit_test(test_plan_compile__asks_for_more_of_a_rank),
        cmocka_unit_test(test_plan_compile__reports_what_resolve_says),
        cmocka_unit_test(test_plan_compile__refuses_batches_that_are_none),
        cmocka_unit_test(test_plan_trim__gives_back_what_a_large_batch_needed),
        cmocka_unit_test(test_plan_compile__torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
