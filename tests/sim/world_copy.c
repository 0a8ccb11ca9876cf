// SPDX-License-Identifier: Apache-2.0
// What ranks copy: single copies, batches, asynchronous ones, with elements between any two ranks
// and now and then one that has to be refused; and what the oracle is told of each element's code.
#include <string.h>

#include "base/err.h"
#include "world_priv.h"

#define TRIES   4
#define NO_CODE 12345
#define REST    (2 * PIECE) /* nobody gives the third piece of a slot */
#define ASK_MS  1000u

/* ---- elements ---- */

static uint64_t address_of(const struct mf_pool *pool, const struct oracle_span *span)
{
    uint64_t at = span->cell < ORACLE_CELLS_FIRST
                      ? (uint64_t)span->cell * ORACLE_CELL_BYTES
                      : PIECE + (uint64_t)(span->cell - ORACLE_CELLS_FIRST) * ORACLE_CELL_BYTES;
    return mf_layout_slot(&pool->table.layout, MF_KIND_DRAM, span->rank).v + at + 8ull * span->word;
}

static uint32_t draw_rank(uint32_t pool)
{
    uint32_t rank = 0;
    for (int i = 0; i < TRIES; i++) {
        rank = (uint32_t)sim_below(world.ranks);
        if (oracle_giver(pool, rank) != 0) {
            break;
        }
    }
    return rank;
}

/* Some words in the first or the second piece of a rank's slot. */
static void draw_span(uint32_t pool, uint32_t words, struct oracle_span *span)
{
    *span = (struct oracle_span){.pool = pool, .rank = draw_rank(pool)};
    bool next = oracle_has_next(pool, span->rank) && sim_chance(1, 4);
    uint32_t room = (next ? ORACLE_CELLS_NEXT : ORACLE_CELLS_FIRST) * ORACLE_CELL_WORDS - words;
    uint32_t at = (uint32_t)sim_below(room + 1);
    if (words % ORACLE_CELL_WORDS == 0) {
        at -= at % ORACLE_CELL_WORDS;
    }
    span->cell = (next ? ORACLE_CELLS_FIRST : 0) + at / ORACLE_CELL_WORDS;
    span->word = at % ORACLE_CELL_WORDS;
}

static uint32_t draw_words(void)
{
    return sim_chance(1, 3) ? 1 + (uint32_t)sim_below(ORACLE_PART_WORDS)
                            : ORACLE_CELL_WORDS * (1 + (uint32_t)sim_below(3));
}

/* Has the rank joined, as its own driver knows? */
static bool is_member(uint32_t pool, const struct oracle_span *span)
{
    if (span->rank == ORACLE_LOCAL) {
        return true;
    }
    const struct life *life = world.owners[span->rank];
    return life != NULL && life->joined[pool] &&
           (span->cell < ORACLE_CELLS_FIRST || life->extended[pool]) &&
           oracle_giver(pool, span->rank) == life->incarnation;
}

static bool is_certain(const struct life *life, uint32_t pool, const struct element *e)
{
    return world.cfg->fault_count == 0 && life->joined[pool] && is_member(pool, &e->part.src) &&
           is_member(pool, &e->part.dst);
}

static bool draw_good(struct worker *worker, uint32_t pool, const struct mf_pool *at,
                      struct element *e)
{
    struct life *life = worker->life;
    struct oracle_part *part = &e->part;
    uint64_t way = sim_below(8); /* 0..3: put, 4..6: get, 7: between ranks */
    part->words = draw_words();
    part->src = part->dst = (struct oracle_span){.pool = pool, .rank = ORACLE_LOCAL};
    if (way != 7) {
        draw_span(pool, part->words, way < 4 ? &part->dst : &part->src);
    } else {
        draw_span(pool, part->words, &part->src);
        draw_span(pool, part->words, &part->dst);
    }
    part->local = e->local;
    part->incarnation = life->incarnation;
    part->rank = life->rank;
    part->host = life->seat->host;
    part->clear_ns = life->seat->troubled_ns == NEVER ? sim_now() : life->seat->troubled_ns;
    part->request = false;
    if (!oracle_begin(part)) {
        return false;
    }
    bool from = part->src.rank == ORACLE_LOCAL, to = part->dst.rank == ORACLE_LOCAL;
    e->src = from ? (void *)e->local : (void *)(uintptr_t)address_of(at, &part->src);
    e->dst = to ? (void *)e->local : (void *)(uintptr_t)address_of(at, &part->dst);
    e->size = 8ull * part->words;
    e->bad = false;
    e->certain = is_certain(life, pool, e);
    return true;
}

static void draw_bad(struct worker *worker, uint32_t pool, const struct mf_pool *at,
                     struct element *e)
{
    struct oracle_span span = {.pool = pool, .rank = draw_rank(pool)};
    uint64_t there = address_of(at, &span);
    (void)worker;
    *e = (struct element){.bad = true, .src = e->local, .size = 64};
    switch (sim_below(4)) {
    case 0:
        e->dst = (void *)(uintptr_t)(there + REST);
        break;
    case 1:
        e->dst = (void *)(uintptr_t)there;
        e->size = 0;
        break;
    case 2:
        e->dst = NULL;
        break;
    default:
        e->src = (void *)(uintptr_t)there;
        e->dst = (void *)(uintptr_t)(there + 8);
        break;
    }
}

uint32_t elements_draw(struct worker *worker, uint32_t pool, uint32_t most, bool bad)
{
    const struct mf_pool *at = worker->life->pools[pool];
    worker->count = 0;
    worker->together = false;
    for (uint32_t i = 0; i < most; i++) {
        struct element *e = &worker->elements[worker->count];
        bool made = false;
        e->result = NO_CODE;
        if (bad && sim_chance(1, 8)) {
            draw_bad(worker, pool, at, e);
            made = true;
        }
        for (int k = 0; k < TRIES && !made; k++) {
            made = draw_good(worker, pool, at, e);
        }
        worker->count += made;
    }
    return worker->count;
}

struct mf_batch elements_batch(struct worker *worker, struct element_arrays *arrays)
{
    for (uint32_t i = 0; i < worker->count; i++) {
        arrays->src[i] = worker->elements[i].src;
        arrays->dst[i] = worker->elements[i].dst;
        arrays->size[i] = worker->elements[i].size;
        arrays->results[i] = NO_CODE;
    }
    return (struct mf_batch){
        .src = arrays->src, .dst = arrays->dst, .size = arrays->size, .count = worker->count};
}

/* ---- outcomes ---- */

static enum oracle_end end_of(int code)
{
    return code == SMEM_OK                                          ? ORACLE_DONE
           : code == SMEM_INVALID_PARAM || code == SMEM_NOT_STARTED ? ORACLE_NOTHING
                                                                    : ORACLE_UNKNOWN;
}

/* Nothing has stood in the way of the element, or of any of them. */
static bool is_still_certain(const struct worker *worker, const struct element *e)
{
    bool certain = e != NULL || worker->count > 0;
    for (uint32_t i = 0; i < worker->count; i++) {
        const struct element *other = &worker->elements[i];
        if (e == NULL || e == other) {
            certain &= !other->bad && other->certain && oracle_is_steady(&other->part) &&
                       is_certain(worker->life, other->part.dst.pool, other);
        }
    }
    return certain;
}

/* `alone`: its code is its own, and not that of all of them. */
static void judge(struct worker *worker, struct element *e, int code, bool alone, const char *what)
{
    const struct life *life = worker->life;
    if (code == NO_CODE) {
        sim_broken("wrong-result", "%s of rank %u left an element without a result", what,
                   life->rank);
    } else if (e->bad && code == SMEM_OK) {
        sim_broken("wrong-result", "%s of rank %u did an element that has to be refused", what,
                   life->rank);
    } else if (code != SMEM_OK && is_still_certain(worker, alone ? e : NULL)) {
        sim_broken("wrong-result",
                   "%s of rank %u gave %d without any fault, all concerned are members: %s", what,
                   life->rank, code, mf_err_msg());
    }
    if (!e->bad) {
        world.out->copies++;
        world.out->bytes += code == SMEM_OK ? e->size : 0;
        oracle_end(&e->part, end_of(code), what);
    }
}

void elements_judge(struct worker *worker, int rc, bool each, const char *what)
{
    for (uint32_t i = 0; i < worker->count; i++) {
        struct element *e = &worker->elements[i];
        judge(worker, e, each ? e->result : rc, each && !worker->together, what);
    }
    worker->count = 0;
}

void worker_killed(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->count; i++) {
        oracle_end(&worker->elements[i].part, ORACLE_KILLED, "a copy of a process that was killed");
    }
    worker->count = 0;
}

/* ---- copies ---- */

static uint64_t copy_limit(uint32_t count)
{
    return world.copy_ms + (uint64_t)count * (world.connect_ms + ASK_MS);
}

static void set_state(const struct worker *worker, enum world_state state)
{
    if (worker->number == 0) {
        state_set(worker->life, state);
    }
}

static void copy_one(struct worker *worker, uint32_t pool)
{
    struct mf_pool *at = pool_enter(worker, pool);
    if (at == NULL) {
        return;
    }
    if (elements_draw(worker, pool, 1, true) == 1) {
        struct element *e = &worker->elements[0];
        bool put = e->part.dst.rank != ORACLE_LOCAL || e->bad;
        set_state(worker, put ? WORLD_PUTTING : WORLD_GETTING);
        struct call *call = call_begin(worker->life, put ? "put" : "get", copy_limit(1));
        int rc = mf_pool_copy(at, worker->thread, e->src, e->dst, e->size, SMEMB_COPY_AUTO, 0);
        rc = call_end(worker->life, call, rc);
        elements_judge(worker, rc, false, put ? "put" : "get");
    }
    pool_leave(worker);
}

static void copy_batch(struct worker *worker, uint32_t pool)
{
    struct element_arrays arrays;
    struct mf_pool *at = pool_enter(worker, pool);
    if (at == NULL) {
        return;
    }
    set_state(worker, WORLD_BATCH);
    bool each = sim_chance(2, 3);
    if (elements_draw(worker, pool, 2 + (uint32_t)sim_below(ELEMENTS_MAX - 1), true) > 0) {
        struct mf_batch batch = elements_batch(worker, &arrays);
        uint32_t count = worker->count;
        batch.results = each ? arrays.results : NULL;
        struct call *call = call_begin(worker->life, "batch", copy_limit(count));
        int rc = mf_pool_copy_batch(at, worker->thread, &batch, SMEMB_COPY_AUTO, 0);
        rc = call_end(worker->life, call, rc);
        for (uint32_t i = 0; i < count; i++) {
            bool whole = rc != SMEM_OK && rc != SMEM_PARTIAL_FAILED;
            worker->elements[i].result = whole ? rc : arrays.results[i];
        }
        elements_judge(worker, rc, each, "batch");
    }
    pool_leave(worker);
}

/* One thread of a process alone: a wait gives the failures of all that is queued. */
static void copy_queued(struct worker *worker, uint32_t pool)
{
    struct life *life = worker->life;
    struct element_arrays arrays;
    struct mf_pool *at = pool_enter(worker, pool);
    int rc = SMEM_OK;
    if (at == NULL) {
        return;
    }
    set_state(worker, WORLD_BATCH);
    bool any = elements_draw(worker, pool, 1 + (uint32_t)sim_below(6), true) > 0;
    if (any) {
        struct mf_batch batch = elements_batch(worker, &arrays);
        rc = mf_pool_copy_batch(at, worker->thread, &batch, SMEMB_COPY_AUTO, ASYNC_COPY_FLAG);
    }
    pool_leave(worker);
    if (any && rc != SMEM_OK) {
        elements_judge(worker, SMEM_NOT_STARTED, false, "queued batch");
        return;
    }
    at = any ? pool_get(life, pool) : NULL;
    if (at == NULL) {
        return;
    }
    int first = SMEM_OK;
    for (int i = 0; i == 0 || (rc != SMEM_OK && i < 20); i++) {
        struct call *call = call_begin(life, "wait", world.copy_ms);
        rc = call_end(life, call, mf_pool_wait(at));
        first = first == SMEM_OK ? rc : first;
    }
    pool_put(life, pool);
    if (rc != SMEM_OK) {
        sim_broken("hang", "a queued copy of rank %u does not end", life->rank);
    }
    elements_judge(worker, first, false, "queued batch");
}

static void use_buffer(struct worker *worker, uint32_t pool)
{
    struct life *life = worker->life;
    struct mf_pool *at = pool_get(life, pool);
    uint64_t addr = (uintptr_t)worker->elements;
    if (at == NULL) {
        return;
    }
    struct call *call = call_begin(life, "register", 0);
    if (call_end(life, call, mf_pool_user_register(at, addr, sizeof(worker->elements))) ==
        SMEM_OK) {
        call = call_begin(life, "unregister", world.fence_ms);
        call_end(life, call, mf_pool_user_unregister(at, addr));
    }
    pool_put(life, pool);
}

void worker_copy(struct worker *worker)
{
    uint32_t pool = (uint32_t)sim_below(world.pools);
    uint64_t dice = sim_below(100);
    if (worker->life->pools[pool] == NULL) {
        return;
    }
    if (dice < 45) {
        copy_one(worker, pool);
    } else if (dice < 65) {
        copy_batch(worker, pool);
    } else if (dice < 83) {
        set_state(worker, WORLD_REQUEST);
        worker_request(worker, pool);
    } else if (dice < 92) {
        set_state(worker, WORLD_BATCH);
        worker_prepared(worker, pool);
    } else if (dice < 99 && worker->number == 0) {
        copy_queued(worker, pool);
    } else if (dice == 99) {
        use_buffer(worker, pool);
    }
    set_state(worker, WORLD_IDLE);
}
