// SPDX-License-Identifier: Apache-2.0
// Prepared batches: every form against a model that copies element by element, with seams, several
// ranks, transports with and without post_many, new bases; refusals; segments that change.
#include "xcopy_world.h"

#include "mf_torture.h"
#include "xcopy/prepared.h"

/* Of the property test; a sanitizer takes many times as long for each. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define LAYOUTS 10000u
#else
#define LAYOUTS 100000u
#endif

enum { SRC = MF_PREP_SRC, DST = MF_PREP_DST, SIDES = MF_PREP_SIDES };

#define KIB 1024ull

/* ---- a world whose second transport takes many copies at once ---- */

static uint32_t many_calls, many_blocks;
static uint32_t many_fail_at; /* block at which the next call fails; 0: none */

static int fake_many(void *lane, struct mf_xfer_many *m)
{
    (void)lane;
    many_calls++;
    m->done = m->begun = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        uint64_t src = m->src + (m->src_offsets ? m->src_offsets[i] : i * m->src_stride);
        uint64_t dst = m->dst + (m->dst_offsets ? m->dst_offsets[i] : i * m->dst_stride);
        uint64_t size = m->sizes ? m->sizes[i] : m->size;
        assert_true(!m->src_seg || (src >= m->src_seg->desc.gva &&
                                    src + size <= m->src_seg->desc.gva + m->src_seg->desc.size));
        assert_true(!m->dst_seg || (dst >= m->dst_seg->desc.gva &&
                                    dst + size <= m->dst_seg->desc.gva + m->dst_seg->desc.size));
        m->begun = i + 1;
        if (many_fail_at && i + 1 == many_fail_at) {
            many_fail_at = 0;
            return mf_err(SMEM_NOT_CONNECTED, "the fake transport fails block %u", i);
        }
        memcpy(world_reach(m->dst_seg, dst), world_reach(m->src_seg, src), size);
        m->done = i + 1;
        many_blocks++;
    }
    return SMEM_OK;
}

static int no_many(void *lane, struct mf_xfer_many *m)
{
    (void)lane;
    (void)m;
    return SMEM_NOT_EXIST;
}

#define SEG (16 * KIB)

/* Ranks 0 to 3 have two segments side by side each, so that there is a seam; rank 3 goes through
 * the transport without post_many, as does rank 1's second segment. */
static void start(struct world *w)
{
    world_init(w, 4, 0, 2 * MIB);
    w->ops[0].post_many = no_many;
    w->ops[1].post_many = fake_many;
    for (uint32_t rank = 0; rank < 4; rank++) {
        for (uint32_t k = 0; k < 2; k++) {
            world_add_segment(w, rank, MF_KIND_DRAM, k * SEG, SEG, rank != 3 && (rank != 1 || !k));
        }
    }
    many_calls = many_blocks = many_fail_at = 0;
}

static uint64_t at(const struct world *w, uint32_t rank, uint64_t offset)
{
    return world_gva(w, MF_KIND_DRAM, rank, offset);
}

/* Run to the end. */
static int run_all(struct world *w, struct mf_prep *prep, const uint64_t base[SIDES],
                   int32_t *results)
{
    struct mf_prep_run run;
    int rc = mf_prep_run_start(&run, &w->space, prep, base, 0);
    if (rc) {
        return rc;
    }
    while (!mf_prep_run_ended(&run)) {
        rc = mf_prep_run_step(&run, &w->space, &w->lanes, 0);
        mf_prep_run_left(&run);
    }
    if (results) {
        mf_prep_run_results(&run, results);
    }
    mf_prep_run_end(&run);
    return rc;
}

static int run_same(struct world *w, struct mf_prep *prep)
{
    return run_all(w, prep, prep->base, NULL);
}

/* ---- the property ---- */

#define ELEMENTS_MAX 300u
#define LOCAL        (32 * KIB)

/* Everything that can be copied from or to, and the model of it. */
struct area {
    struct world *w;
    uint8_t *local;
    uint8_t *model[5]; /* ranks, local memory */
};

static uint64_t place_of(const struct area *a, uint32_t who)
{
    return who == 4 ? num(a->local) : at(a->w, who, 0);
}

static uint8_t *model_at(const struct area *a, uint64_t addr)
{
    for (uint32_t who = 0; who < 5; who++) {
        if (addr - place_of(a, who) < 2 * SEG) {
            return a->model[who] + (addr - place_of(a, who));
        }
    }
    fail_msg("0x%llx is in no area", (unsigned long long)addr);
    return NULL;
}

static void check_model(const struct area *a, uint64_t seed)
{
    for (uint32_t who = 0; who < 5; who++) {
        bool same = who == 4 ? memcmp(a->local, a->model[4], LOCAL) == 0
                             : memcmp(world_at(a->w, at(a->w, who, 0)), a->model[who], SEG) == 0 &&
                                   memcmp(world_at(a->w, at(a->w, who, SEG)), a->model[who] + SEG,
                                          SEG) == 0;
        if (!same) {
            fail_msg("area %u differs from the model, seed 0x%llx", who, (unsigned long long)seed);
        }
    }
}

/* A layout: elements with sources and targets that do not meet, so that their order is free. */
struct layout {
    uint32_t count;
    uint64_t offset[SIDES][ELEMENTS_MAX];
    uint64_t size[ELEMENTS_MAX];
    uint64_t span[SIDES]; /* bytes that the offsets span at most */
};

/* One pitch on each side: targets are distinct places of it; sources any. Neighbours come often. */
static void random_layout(uint64_t *state, struct layout *l, uint64_t block, bool mixed)
{
    uint64_t pitch = block + (rnd_below(state, 3) ? 0 : rnd_below(state, 40));
    uint64_t places = 15 * KIB / pitch;
    uint64_t first = rnd_below(state, places);
    uint64_t most = places < ELEMENTS_MAX ? places : ELEMENTS_MAX;
    uint64_t jump = rnd_below(state, 4);
    if (rnd_below(state, 8)) {
        most = most < 12 ? most : 12;
    }
    l->count = 1 + (uint32_t)rnd_below(state, most);
    for (uint32_t i = 0; i < l->count; i++) {
        uint64_t dst = jump ? (first + i) % places : (first + l->count - i) % places;
        uint64_t src = jump < 3 ? dst : rnd_below(state, places);
        l->size[i] = mixed ? 1 + rnd_below(state, block) : block;
        if (mixed && rnd_below(state, 2)) {
            l->size[i] = block;
        }
        l->offset[SRC][i] = src * pitch;
        l->offset[DST][i] = dst * pitch;
    }
    l->span[SRC] = l->span[DST] = 16 * KIB;
}

static void copy_model(const struct area *a, const struct layout *l, const uint64_t base[SIDES])
{
    for (uint32_t i = 0; i < l->count; i++) {
        /* Through a copy: byte by byte, since a range may cross a seam. */
        for (uint64_t k = 0; k < l->size[i]; k++) {
            *model_at(a, base[DST] + l->offset[DST][i] + k) =
                *model_at(a, base[SRC] + l->offset[SRC][i] + k);
        }
    }
}

/* Bases for both sides in areas that differ, or in two halves of one. */
static void random_bases(const struct area *a, uint64_t *state, uint64_t base[SIDES])
{
    uint32_t src = (uint32_t)rnd_below(state, 5);
    uint32_t dst = (uint32_t)rnd_below(state, 5);
    uint64_t slack = 2 * SEG - 16 * KIB;
    if (src == dst) {
        base[SRC] = place_of(a, src);
        base[DST] = place_of(a, dst) + SEG;
        return;
    }
    base[SRC] = place_of(a, src) + rnd_below(state, slack);
    base[DST] = place_of(a, dst) + rnd_below(state, slack);
}

static void fill_sources(const struct area *a, uint64_t *state, const struct layout *l,
                         uint64_t base)
{
    uint64_t word = rnd(state);
    for (uint32_t i = 0; i < l->count; i++) {
        for (uint64_t k = 0; k < l->size[i]; k += 7) {
            uint64_t addr = base + l->offset[SRC][i] + k;
            uint8_t byte = (uint8_t)(word >> (k % 57));
            *model_at(a, addr) = byte;
            *(addr - num(a->local) < LOCAL ? (uint8_t *)ptr(addr) : world_at(a->w, addr)) = byte;
            word = word * 0x9e3779b97f4a7c15ull + 1;
        }
    }
}

static struct mf_prep *prepare(struct world *w, struct layout *l, int form, uint64_t block,
                               const uint64_t base[SIDES], uint64_t *state)
{
    static uint64_t absolute[SIDES][ELEMENTS_MAX];
    static uint32_t rows[SIDES][ELEMENTS_MAX];
    struct mf_prep *prep = NULL;
    struct mf_prep_cfg cfg = {.count = l->count, .size = block, .type = SMEMB_COPY_AUTO};
    for (int side = 0; side < SIDES; side++) {
        cfg.side[side].base = form == 2 ? 0 : base[side];
        for (uint32_t i = 0; i < l->count; i++) {
            absolute[side][i] = base[side] + l->offset[side][i];
            rows[side][i] = (uint32_t)(l->offset[side][i] / 16);
        }
        if (form == 2) {
            cfg.absolute = true;
            cfg.side[side].offsets = absolute[side];
            cfg.sizes = l->size;
        } else if (form == 1 && block % 16 == 0 && rnd_below(state, 2)) {
            for (uint32_t i = 0; i < l->count; i++) {
                l->offset[side][i] = rows[side][i] * 16ull;
            }
            cfg.side[side].rows = rows[side];
            cfg.side[side].stride = 16;
        } else if (form == 1) {
            cfg.side[side].offsets = l->offset[side];
        } else {
            uint64_t most = 15 * KIB / l->count;
            cfg.side[side].stride =
                block + (most > block ? rnd_below(state, 3) * ((most - block) / 2) : 0);
            for (uint32_t i = 0; i < l->count; i++) {
                l->offset[side][i] = i * cfg.side[side].stride;
            }
        }
    }
    mf_assert_ok(mf_prep_create(&w->space, &cfg, 0, &prep));
    return prep;
}

/* One layout: prepared, copied, copied again between other bases; every byte as in the model. */
static void one_layout(const struct area *a, uint64_t seed)
{
    static struct layout l;
    uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
    uint64_t base[SIDES];
    rnd(&state);
    int form = (int)rnd_below(&state, 3);
    uint64_t block = 1 + rnd_below(&state, rnd_below(&state, 4) ? 64 : 600);
    if (rnd_below(&state, 2)) {
        block = (block + 15) / 16 * 16;
    }
    random_layout(&state, &l, block, form == 2);
    if (form == 0 && l.count * block > 15 * KIB) {
        l.count = (uint32_t)(15 * KIB / block);
    }
    random_bases(a, &state, base);
    struct mf_prep *prep = prepare(a->w, &l, form, block, base, &state);
    uint64_t from[SIDES] = {base[SRC], base[DST]};
    for (uint32_t round = 0; round < 1 + seed % 2; round++) {
        uint64_t given[SIDES] = {base[SRC], base[DST]};
        if (form == 2) {
            given[SRC] = base[SRC] - from[SRC];
            given[DST] = base[DST] - from[DST];
        }
        fill_sources(a, &state, &l, base[SRC]);
        copy_model(a, &l, base);
        mf_assert_ok(run_all(a->w, prep, given, NULL));
        check_model(a, seed);
        random_bases(a, &state, base);
    }
    mf_prep_put(prep);
}

static void test_prep_run__copies_what_a_plain_loop_copies(void **state)
{
    (void)state;
    struct world w;
    struct area a = {.w = &w};
    start(&w);
    a.local = calloc(1, LOCAL);
    for (uint32_t who = 0; who < 5; who++) {
        a.model[who] = calloc(1, LOCAL);
    }
    uint32_t layouts =
        getenv("MF_TEST_LAYOUTS") ? (uint32_t)strtoul(getenv("MF_TEST_LAYOUTS"), NULL, 0) : LAYOUTS;
    for (uint32_t seed = 1; seed <= layouts; seed++) {
        one_layout(&a, seed);
    }
    assert_true(many_calls > layouts / 4); /* the way past single transfers was taken */
    assert_true(w.tp[0].posts > layouts / 8);
    for (uint32_t who = 0; who < 5; who++) {
        free(a.model[who]);
    }
    free(a.local);
    world_fini(&w);
}

/* ---- what is compiled ---- */

static struct mf_prep *strided(struct world *w, uint64_t src, uint64_t dst, uint64_t src_stride,
                               uint64_t dst_stride, uint64_t block, uint32_t count, int want)
{
    struct mf_prep *prep = NULL;
    struct mf_prep_cfg cfg = {
        .side = {{.base = src, .stride = src_stride}, {.base = dst, .stride = dst_stride}},
        .size = block,
        .count = count,
        .type = SMEMB_COPY_AUTO,
    };
    mf_assert_rc(mf_prep_create(&w->space, &cfg, 0, &prep), want);
    return prep;
}

static void test_prep_create__joins_neighbours(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    uint8_t *local = calloc(1, LOCAL);
    struct mf_prep *prep = strided(&w, num(local), at(&w, 0, 0), 64, 64, 64, 100, SMEM_OK);
    assert_int_equal(prep->program->block_count, 1);
    assert_int_equal(prep->bytes, 6400);
    mf_prep_put(prep);
    prep = strided(&w, num(local), at(&w, 0, 0), 64, 128, 64, 100, SMEM_OK);
    assert_int_equal(prep->program->block_count, 100);
    assert_null(prep->program->offsets[SRC]); /* strides need no arrays */
    mf_prep_put(prep);
    /* Words stay alone: each lands by one store. */
    prep = strided(&w, num(local), at(&w, 0, 0), 8, 8, 8, 100, SMEM_OK);
    assert_int_equal(prep->program->block_count, 100);
    mf_prep_put(prep);
    w.space.checked = true; /* sums are of elements */
    prep = strided(&w, num(local), at(&w, 0, 0), 64, 64, 64, 100, SMEM_OK);
    assert_int_equal(prep->program->block_count, 100);
    mf_prep_put(prep);
    free(local);
    world_fini(&w);
}

static void test_prep_create__cuts_at_seams_and_sorts_by_segments(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    uint8_t *local = calloc(1, LOCAL);
    for (uint32_t i = 0; i < LOCAL; i++) {
        local[i] = (uint8_t)(i * 7 + i / 256);
    }
    /* 1000-byte blocks 1600 apart: one crosses the seam. */
    struct mf_prep *prep = strided(&w, num(local), at(&w, 0, 0), 1000, 1600, 1000, 20, SMEM_OK);
    assert_int_equal(prep->program->part_count, 2);
    assert_int_equal(prep->program->block_count, 21);
    mf_assert_ok(run_same(&w, prep));
    for (uint32_t i = 0; i < 20; i++) {
        for (uint32_t k = 0; k < 1000; k++) {
            assert_int_equal(*world_at(&w, at(&w, 0, i * 1600ull + k)), local[i * 1000 + k]);
        }
    }
    mf_prep_put(prep);
    free(local);
    world_fini(&w);
}

static void test_prep_run__compiles_again_only_where_blocks_divide_otherwise(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    uint8_t *local = calloc(1, LOCAL);
    struct mf_prep *prep = strided(&w, num(local), at(&w, 0, 0), 64, 128, 64, 10, SMEM_OK);
    struct mf_prep_program *first = prep->program;
    uint64_t same[SIDES] = {num(local) + 77, at(&w, 2, 1000)};
    uint64_t across[SIDES] = {num(local), at(&w, 2, SEG - 600)};
    mf_assert_ok(run_all(&w, prep, same, NULL));
    assert_ptr_equal(prep->program, first);
    mf_assert_ok(run_all(&w, prep, across, NULL));
    assert_ptr_not_equal(prep->program, first);
    assert_int_equal(prep->program->part_count, 2);
    mf_assert_ok(run_same(&w, prep));
    mf_prep_put(prep);
    free(local);
    world_fini(&w);
}

/* ---- refusals ---- */

static void test_prep_create__refuses_what_no_base_can_mend(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    uint64_t src = at(&w, 0, 0);
    uint64_t dst = at(&w, 2, 0);
    assert_null(strided(&w, src, dst, 0, 64, 64, 2, SMEM_INVALID_PARAM));
    mf_assert_err_has("the source's stride is 0");
    assert_null(strided(&w, src, dst, 64, 0, 64, 2, SMEM_INVALID_PARAM));
    mf_assert_err_has("the destination's stride is 0");
    assert_null(strided(&w, src, dst, 64, 63, 64, 2, SMEM_INVALID_PARAM));
    mf_assert_err_has("stride 63 is below the block's 64 bytes");
    assert_null(strided(&w, src, dst, 64, 64, 0, 2, SMEM_INVALID_PARAM));
    mf_assert_err_has("the size is 0");
    assert_null(strided(&w, src, dst, 64, 64, 1ull << 47, 2, SMEM_INVALID_PARAM));
    mf_assert_err_has("above the limit");
    assert_null(strided(&w, src, dst, 64, 64, 64, 0, SMEM_INVALID_PARAM));
    mf_assert_err_has("0 elements");
    assert_null(strided(&w, src, dst, 64, 64, 64, MF_BATCH_MAX + 1, SMEM_INVALID_PARAM));
    assert_null(strided(&w, src, dst, 1ull << 63, 64, 64, 4, SMEM_INVALID_PARAM));
    mf_assert_err_has("element 3: the source's offset wraps");
    assert_null(strided(&w, 0 - 4096ull, dst, 4096, 64, 64, 3, SMEM_INVALID_PARAM));
    mf_assert_err_has("wraps around the end of the address space");
    assert_null(strided(&w, src, dst, 0 - 64ull, 64, 64, 3, SMEM_INVALID_PARAM));
    mf_assert_err_has("wraps");
    mf_prep_put(strided(&w, src, dst, 0, 0, 64, 1, SMEM_OK)); /* one block has no stride */
    world_fini(&w);
}

static void test_prep_create__names_the_element_that_is_refused(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    uint8_t *local = calloc(1, LOCAL);
    assert_null(strided(&w, num(local), at(&w, 0, 0), 64, SEG, 64, 3, SMEM_INVALID_PARAM));
    mf_assert_err_has("element 2");
    mf_assert_err_has("rank 0 has 32768 bytes");
    assert_null(strided(&w, at(&w, 0, 0), at(&w, 0, 4), 64, 64, 64, 3, SMEM_INVALID_PARAM));
    mf_assert_err_has("overlap");
    uint64_t offsets[3] = {0, 64, 1000};
    struct mf_prep *prep = NULL;
    struct mf_prep_cfg cfg = {
        .side = {{.base = num(local), .offsets = offsets}, {.base = at(&w, 0, 0), .stride = 64}},
        .size = 64,
        .count = 3,
        .type = SMEMB_COPY_G2H,
    };
    mf_assert_rc(mf_prep_create(&w.space, &cfg, 0, &prep), SMEM_INVALID_PARAM);
    mf_assert_err_has("element 0");
    offsets[1] = UINT64_MAX - 10;
    cfg.type = SMEMB_COPY_H2G;
    mf_assert_rc(mf_prep_create(&w.space, &cfg, 0, &prep), SMEM_INVALID_PARAM);
    mf_assert_err_has("element 1: the source's offset wraps");
    assert_null(prep);
    free(local);
    world_fini(&w);
}

static void test_prep_run__refuses_bases_that_do_not_fit(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    uint8_t *local = calloc(1, LOCAL);
    struct mf_prep *prep = strided(&w, num(local), at(&w, 0, 0), 64, 128, 64, 10, SMEM_OK);
    uint64_t behind[SIDES] = {num(local), at(&w, 0, 2 * SEG - 100)};
    mf_assert_rc(run_all(&w, prep, behind, NULL), SMEM_INVALID_PARAM);
    mf_assert_err_has("element 1");
    uint64_t wrap[SIDES] = {0 - 100ull, at(&w, 0, 0)};
    mf_assert_rc(run_all(&w, prep, wrap, NULL), SMEM_INVALID_PARAM);
    mf_assert_err_has("wraps around");
    uint64_t slot[SIDES] = {num(local), at(&w, 1, 0) - 100};
    mf_assert_rc(run_all(&w, prep, slot, NULL), SMEM_INVALID_PARAM);
    mf_prep_put(prep);
    /* The sides may overlap as a whole, as long as no block does: not any more. */
    prep = strided(&w, at(&w, 0, 0), at(&w, 0, 64), 128, 128, 64, 10, SMEM_OK);
    mf_assert_ok(run_same(&w, prep));
    uint64_t near[SIDES] = {at(&w, 0, 0), at(&w, 0, 32)};
    mf_assert_rc(run_all(&w, prep, near, NULL), SMEM_INVALID_PARAM);
    mf_assert_err_has("overlap");
    uint64_t moved[SIDES] = {at(&w, 2, 0), at(&w, 2, 64)};
    mf_assert_ok(run_all(&w, prep, moved, NULL));
    mf_prep_put(prep);
    free(local);
    world_fini(&w);
}

static void test_prep_run__refuses_displacements_around_the_end(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    uint8_t *local = calloc(1, LOCAL);
    uint64_t src[2] = {num(local) + 512, num(local) + 1024};
    uint64_t dst[2] = {at(&w, 0, 512), at(&w, 2, 512)};
    uint64_t sizes[2] = {100, 200};
    struct mf_prep *prep = NULL;
    struct mf_prep_cfg cfg = {
        .absolute = true,
        .side = {{.offsets = src}, {.offsets = dst}},
        .sizes = sizes,
        .count = 2,
        .type = SMEMB_COPY_AUTO,
    };
    mf_assert_ok(mf_prep_create(&w.space, &cfg, 0, &prep));
    uint64_t back[SIDES] = {0 - 256ull, 0 - 512ull};
    memset(local, 5, LOCAL);
    mf_assert_ok(run_all(&w, prep, back, NULL));
    assert_int_equal(*world_at(&w, at(&w, 0, 99)), 5);
    assert_int_equal(*world_at(&w, at(&w, 0, 100)), 0);
    uint64_t down[SIDES] = {1ull << 63, 0};
    mf_assert_rc(run_all(&w, prep, down, NULL), SMEM_INVALID_PARAM);
    mf_assert_err_has("the source's displacement");
    mf_prep_put(prep);
    free(local);
    world_fini(&w);
}

/* ---- segments that change ---- */

static void test_prep_run__sees_that_a_segment_is_another_one(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    uint8_t *local = calloc(1, LOCAL);
    struct mf_prep *prep = strided(&w, num(local), at(&w, 2, 0), 64, 128, 64, 10, SMEM_OK);
    struct mf_segment *seg = mf_gva_table_find(&w.table, (mf_gva){at(&w, 2, 0)});
    mf_assert_ok(run_same(&w, prep));
    seg->desc.epoch = 2; /* withdrawn and published again */
    mf_assert_rc(run_same(&w, prep), SMEM_NOT_CONNECTED);
    mf_assert_err_has("rank 2 has left pool 5 or died since the batch of 10 elements was prepared");
    mf_assert_err_has("prepare it again");
    seg->desc.epoch = 1;
    seg->desc.incarnation = 9; /* another life of the rank */
    mf_assert_rc(run_same(&w, prep), SMEM_NOT_CONNECTED);
    /* Elsewhere in the memory of the same rank it is another life, too. */
    uint64_t beside[SIDES] = {num(local), at(&w, 2, SEG)};
    mf_assert_ok(run_all(&w, prep, beside, NULL));
    mf_gva_table_find(&w.table, (mf_gva){at(&w, 2, SEG)})->desc.incarnation = 9;
    mf_assert_rc(run_all(&w, prep, beside, NULL), SMEM_NOT_CONNECTED);
    mf_prep_put(prep);
    free(local);
    world_fini(&w);
}

static void test_prep_run__sees_that_a_rank_is_gone_and_not_that_others_come(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    uint8_t *local = calloc(1, LOCAL);
    struct mf_prep *prep = strided(&w, num(local), at(&w, 2, 0), 64, 128, 64, 10, SMEM_OK);
    struct mf_segment *more = world_make_segment(&w, 2, MF_KIND_DRAM, 2 * SEG, SEG, 1);
    mf_assert_ok(mf_gva_table_add(&w.table, more));
    mf_assert_ok(run_same(&w, prep));
    mf_gva_table_remove(&w.table, more);
    mf_assert_ok(run_same(&w, prep));
    mf_gva_table_remove(&w.table, mf_gva_table_first(&w.table, MF_KIND_DRAM, 2));
    mf_gva_table_remove(&w.table, mf_gva_table_first(&w.table, MF_KIND_DRAM, 2));
    w.resolve_rc = SMEM_NOT_CONNECTED;
    mf_assert_rc(run_same(&w, prep), SMEM_NOT_CONNECTED);
    mf_assert_err_has("rank 2 has left pool 5 or died");
    assert_int_equal(w.resolves, 0); /* what it was prepared for does not come back */
    mf_prep_put(prep);
    free(local);
    world_fini(&w);
}

static void test_prep_create__resolves_ranks(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    uint8_t *local = calloc(1, LOCAL);
    mf_gva_table_remove(&w.table, mf_gva_table_first(&w.table, MF_KIND_DRAM, 2));
    struct mf_segment *late = mf_gva_table_first(&w.table, MF_KIND_DRAM, 2);
    mf_gva_table_remove(&w.table, late);
    w.resolve_rc = SMEM_NOT_CONNECTED;
    assert_null(strided(&w, num(local), at(&w, 2, SEG), 64, 128, 64, 10, SMEM_NOT_CONNECTED));
    mf_assert_err_has("element 0");
    mf_assert_err_has("rank 2 has not joined");
    w.resolve_rc = SMEM_OK;
    w.arriving = late;
    struct mf_prep *prep = strided(&w, num(local), at(&w, 2, SEG), 64, 128, 64, 10, SMEM_OK);
    mf_assert_ok(run_same(&w, prep));
    mf_prep_put(prep);
    free(local);
    world_fini(&w);
}

/* ---- failures ---- */

static void test_prep_run__says_what_became_of_each_element(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    uint8_t *local = calloc(1, LOCAL);
    int32_t codes[20];
    /* Elements 0-2 are one block, 3 crosses the seam, the rest are blocks. */
    uint64_t src[8] = {0, 100, 200, 1000, 2000, 3000, 4000, 5000};
    uint64_t dst[8] = {0, 100, 200, SEG - 50, 2000, 3000, 4000, 5000};
    struct mf_prep *prep = NULL;
    struct mf_prep_cfg cfg = {
        .side = {{.base = num(local), .offsets = src}, {.base = at(&w, 2, 0), .offsets = dst}},
        .size = 100,
        .count = 8,
        .type = SMEMB_COPY_AUTO,
    };
    mf_assert_ok(mf_prep_create(&w.space, &cfg, 0, &prep));
    assert_int_equal(prep->program->block_count, 7);
    many_fail_at = 4; /* of the first part: blocks are 0-2, 3a, 4, 5, 6, 7; then 3b */
    mf_assert_rc(run_all(&w, prep, prep->base, codes), SMEM_NOT_CONNECTED);
    mf_assert_err_has("element 5");
    mf_assert_err_has("the fake transport fails block 3");
    static const int32_t want[8] = {
        0, 0, 0, SMEM_PARTIAL_FAILED, 0, SMEM_NOT_CONNECTED, SMEM_NOT_STARTED, SMEM_NOT_STARTED};
    for (uint32_t i = 0; i < 8; i++) {
        mf_assert_rc(codes[i], want[i]);
    }
    mf_prep_put(prep);
    free(local);
    world_fini(&w);
}

static void test_prep_run__posts_where_many_cannot(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    uint8_t *local = calloc(1, LOCAL);
    int32_t codes[100];
    memset(local, 3, LOCAL);
    struct mf_prep *prep = strided(&w, num(local), at(&w, 3, 0), 64, 128, 64, 100, SMEM_OK);
    mf_assert_ok(run_same(&w, prep));
    assert_int_equal(w.tp[0].xfers, 100);
    assert_int_equal(many_blocks, 0);
    assert_int_equal(*world_at(&w, at(&w, 3, 99 * 128 + 63)), 3);
    w.tp[0].fail_every = 40;
    w.tp[0].seen = 0;
    mf_assert_rc(run_all(&w, prep, prep->base, codes), SMEM_NOT_CONNECTED);
    mf_assert_err_has("element 39");
    mf_assert_rc(codes[38], SMEM_OK);
    mf_assert_rc(codes[39], SMEM_NOT_CONNECTED);
    mf_prep_put(prep);
    free(local);
    world_fini(&w);
}

static void test_prep_run__stops_between_steps(void **state)
{
    (void)state;
    struct world w;
    struct mf_prep_run run;
    world_init(&w, 2, 0, 64 * MIB);
    w.ops[1].post_many = fake_many;
    world_add_segment(&w, 0, MF_KIND_DRAM, 0, 40 * MIB, 1);
    uint8_t *local = calloc(1, 40 * MIB);
    memset(local, 9, 40 * MIB);
    /* One large block: three pieces. */
    struct mf_prep *prep = strided(&w, num(local), at(&w, 0, 0), 1, 1, 40 * MIB, 1, SMEM_OK);
    mf_assert_ok(mf_prep_run_start(&run, &w.space, prep, prep->base, 0));
    mf_assert_ok(mf_prep_run_step(&run, &w.space, &w.lanes, 0));
    int32_t code = 0;
    mf_prep_run_results(&run, &code);
    mf_assert_rc(code, SMEM_PARTIAL_FAILED);
    assert_int_equal(*world_at(&w, at(&w, 0, 16 * MIB - 1)), 9);
    assert_int_equal(*world_at(&w, at(&w, 0, 16 * MIB)), 0);
    mf_assert_ok(mf_prep_run_step(&run, &w.space, &w.lanes, 0));
    mf_assert_ok(mf_prep_run_step(&run, &w.space, &w.lanes, 0));
    assert_true(mf_prep_run_ended(&run));
    mf_prep_run_results(&run, &code);
    mf_assert_ok(code);
    assert_memory_equal(world_at(&w, at(&w, 0, 0)), local, 40 * MIB);
    mf_prep_run_end(&run);
    mf_prep_put(prep);
    free(local);
    world_fini(&w);
}

/* ---- memory ---- */

struct create_arg {
    struct world *w;
    struct mf_prep_cfg cfg;
};

static int create_once(void *arg)
{
    struct create_arg *a = arg;
    struct mf_prep *prep = NULL;
    int rc = mf_prep_create(&a->w->space, &a->cfg, 0, &prep);
    mf_prep_put(prep);
    return rc;
}

static void test_prep_create__leaves_nothing_behind_when_memory_ends(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    uint8_t *local = calloc(1, LOCAL);
    uint64_t src[4] = {num(local), num(local) + 100, num(local) + 200, num(local) + 900};
    uint64_t dst[4] = {at(&w, 0, 0), at(&w, 2, 100), at(&w, 0, SEG - 10), at(&w, 2, 900)};
    uint64_t sizes[4] = {100, 200, 300, 400};
    struct create_arg arg = {.w = &w,
                             .cfg = {.absolute = true,
                                     .side = {{.offsets = src}, {.offsets = dst}},
                                     .sizes = sizes,
                                     .count = 4,
                                     .type = SMEMB_COPY_AUTO}};
    mf_torture_recovers(create_once, &arg); /* giving room back may fail */
    free(local);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prep_run__copies_what_a_plain_loop_copies),
        cmocka_unit_test(test_prep_create__joins_neighbours),
        cmocka_unit_test(test_prep_create__cuts_at_seams_and_sorts_by_segments),
        cmocka_unit_test(test_prep_run__compiles_again_only_where_blocks_divide_otherwise),
        cmocka_unit_test(test_prep_create__refuses_what_no_base_can_mend),
        cmocka_unit_test(test_prep_create__names_the_element_that_is_refused),
        cmocka_unit_test(test_prep_run__refuses_bases_that_do_not_fit),
        cmocka_unit_test(test_prep_run__refuses_displacements_around_the_end),
        cmocka_unit_test(test_prep_run__sees_that_a_segment_is_another_one),
        cmocka_unit_test(test_prep_run__sees_that_a_rank_is_gone_and_not_that_others_come),
        cmocka_unit_test(test_prep_create__resolves_ranks),
        cmocka_unit_test(test_prep_run__says_what_became_of_each_element),
        cmocka_unit_test(test_prep_run__posts_where_many_cannot),
        cmocka_unit_test(test_prep_run__stops_between_steps),
        cmocka_unit_test(test_prep_create__leaves_nothing_behind_when_memory_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
