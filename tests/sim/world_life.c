// SPDX-License-Identifier: Apache-2.0
// What one process does from its start to its end: it opens a context, creates and joins pools,
// copies, leaves, extends, destroys, closes, opens again, as programs do that come and go; or it
// hosts the store.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store/collective.h"
#include "world_priv.h"

#define TRIES_MAX     6
#define CALM_PAUSE_MS 200u

bool life_is_expired(const struct life *life)
{
    return life->ctx == NULL || atomic_load(&life->ctx->expired);
}

static bool has_to_end(const struct life *life)
{
    return world.ending || life_is_expired(life);
}

static void rest(uint64_t most_ms)
{
    mf_thread_sleep_ns(1 + sim_below(most_ms * MS));
}

/* ---- pools ---- */

static void create_pool(struct life *life, uint32_t id)
{
    struct mf_pool_cfg cfg = {
        .id = id,
        .max_bytes = {[MF_KIND_DRAM] = PIECES_MAX * PIECE},
        .own_bytes = {[MF_KIND_DRAM] = PIECE},
        .data_ops = SMEMB_DATA_OP_HOST_SHM,
        .numa_node = -1,
        .dram_fd = -1,
        .best_effort = sim_chance(1, 8),
    };
    struct mf_pool *pool = NULL;
    state_set(life, WORLD_CREATING);
    struct call *call = call_begin(life, "create", world.create_ms);
    if (call_end(life, call, mf_pool_create(life->ctx, &cfg, &pool)) == SMEM_OK) {
        life->pools[id] = pool;
        life->extended[id] = false;
        oracle_check_fresh(
            sim_object_of_fd(life->proc, atomic_load(&pool->own[MF_KIND_DRAM].first)->memory.fd),
            "memory of a new pool");
    }
}

static void join_pool(struct life *life, uint32_t id)
{
    struct mf_pool *pool = pool_get(life, id);
    if (pool == NULL) {
        return;
    }
    state_set(life, WORLD_JOINING);
    struct call *call = call_begin(life, "join", world.op_ms);
    int rc = call_end(life, call, mf_pool_join(pool));
    life->joined[id] = rc == SMEM_OK;
    world.out->joins += rc == SMEM_OK;
    if (rc != SMEM_OK && world.cfg->fault_count == 0 && !world.ending) {
        sim_broken("wrong-result", "rank %u cannot join without any fault: %s", life->rank,
                   mf_err_msg());
    }
    pool_put(life, id);
}

static void leave_pool(struct life *life, uint32_t id)
{
    struct mf_pool *pool = pool_get(life, id);
    if (pool == NULL) {
        return;
    }
    state_set(life, WORLD_LEAVING);
    life->joined[id] = false;
    struct call *call = call_begin(life, "leave", world.op_ms + 2ull * world.fence_ms);
    call_end(life, call, mf_pool_leave(pool, false));
    const struct mf_own *own = atomic_load(&pool->own[MF_KIND_DRAM].first);
    for (; own != NULL; own = atomic_load(&own->next)) {
        if (own->made) {
            oracle_check_fresh(sim_object_of_fd(life->proc, own->memory.fd),
                               "memory after a leave");
        }
    }
    pool_put(life, id);
}

static void extend_pool(struct life *life, uint32_t id)
{
    struct mf_pool *pool = pool_get(life, id);
    if (pool == NULL) {
        return;
    }
    if (atomic_load(&pool->own_bytes[MF_KIND_DRAM]) == PIECE) {
        state_set(life, WORLD_EXTENDING);
        struct call *call = call_begin(life, "extend", world.op_ms + 2ull * world.fence_ms);
        int rc = call_end(life, call, mf_pool_extend(pool, MF_KIND_DRAM, PIECE));
        life->extended[id] = rc == SMEM_OK;
    }
    pool_put(life, id);
}

/* As the service does: calls that have found the pool end first. One that does not makes it stay,
 * and a program tries again. */
static void destroy_pool(struct life *life, uint32_t id)
{
    struct mf_pool *pool = life->pools[id];
    if (pool == NULL) {
        return;
    }
    state_set(life, WORLD_CLOSING);
    life->joined[id] = false;
    life->pools[id] = NULL;
    while (life->users[id] != 0) {
        mf_thread_sleep_ns(50000);
    }
    int rc = SMEM_RES_IN_USE;
    for (int i = 0; i < TRIES_MAX && rc != SMEM_OK; i++) {
        struct call *call =
            call_begin(life, "destroy", 4ull * world.copy_ms + 2ull * world.fence_ms + 1000);
        rc = mf_threads_quiesce(&life->threads, mf_deadline_ns(life->env, world.copy_ms));
        rc = rc == SMEM_OK ? mf_pool_destroy(pool) : rc;
        call_end(life, call, rc);
    }
    if (rc != SMEM_OK) {
        sim_broken("hang", "rank %u cannot destroy its pool: %s", life->rank, mf_err_msg());
        mf_thread_sleep_ns(END_MS * MS);
    }
}

/* ---- workers ---- */

/* Before the next copy; little is done once the faults are over. */
static void pause_between(uint32_t of, uint32_t in)
{
    if (world.calm_ns != 0) {
        mf_thread_sleep_ns(1 + sim_below(CALM_PAUSE_MS * MS));
    } else if (sim_chance(of, in)) {
        mf_thread_sleep_ns(1 + sim_below(world.pause_us * 1000ull));
    }
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    while (!worker->life->stop) {
        worker_copy(worker);
        pause_between(1, 1);
    }
    if (worker->thread != NULL) {
        mf_threads_give(&worker->life->threads, worker->thread);
        worker->thread = NULL;
    }
    return NULL;
}

static void start_workers(struct life *life)
{
    life->stop = false;
    for (uint32_t i = 1; i <= life->worker_count; i++) {
        struct worker *worker = &life->workers[i];
        worker->running =
            mf_thread_start(&worker->handle, "worker", worker_main, worker) == SMEM_OK;
    }
}

static void stop_workers(struct life *life)
{
    life->stop = true;
    for (uint32_t i = 1; i <= life->worker_count; i++) {
        if (life->workers[i].running) {
            mf_thread_join(life->workers[i].handle);
            life->workers[i].running = false;
        }
    }
}

/* ---- one context ---- */

static void note_store(const struct life *life)
{
    if (life->seat->number == world.store_seat) {
        world.store_started_ns = sim_now();
        world.store_lives++;
    }
}

static bool open_context(struct life *life)
{
    const struct seat *seat = life->seat;
    struct mf_ctx_cfg cfg = {
        .env = life->env,
        .config = &world.config,
        .threads = &life->threads,
        .devices = life->devices,
        .url = world.url,
        .world = world.ranks,
        .rank = seat->automatic ? MF_RANK_AUTO : seat->number,
        .serve = world.embedded && seat->number == 0,
        .number = ++life->contexts,
        .init_ms = world.init_ms,
        .create_ms = world.create_ms,
        .op_ms = world.op_ms,
    };
    struct mf_ctx *ctx = NULL;
    note_store(life);
    state_set(life, WORLD_OPENING);
    struct call *call = call_begin(life, "open", world.init_ms);
    int rc = call_end(life, call, mf_ctx_open(&cfg, &ctx));
    if (rc != SMEM_OK && world.cfg->fault_count == 0 && !seat->automatic && !world.ending &&
        !world.contested) {
        sim_broken("wrong-result", "rank %u cannot open without any fault: %s", seat->number,
                   mf_err_msg());
    }
    if (rc != SMEM_OK) {
        return false;
    }
    life->ctx = ctx;
    life->incarnation = ctx->identity.incarnation;
    life->rank = ctx->rank;
    owner_opened(life);
    return true;
}

static void close_context(struct life *life)
{
    for (uint32_t id = 0; id < world.pools; id++) {
        if (life->joined[id] && sim_chance(1, 2)) {
            leave_pool(life, id);
        }
        destroy_pool(life, id);
    }
    state_set(life, WORLD_CLOSING);
    struct worker *worker = &life->workers[0];
    if (worker->thread != NULL) {
        mf_threads_give(&life->threads, worker->thread);
        worker->thread = NULL;
    }
    struct call *call = call_begin(life, "close", 3000 + world.copy_ms);
    owner_closes(life);
    oracle_life_ended(life->incarnation);
    struct mf_ctx *ctx = life->ctx;
    life->ctx = NULL;
    life->incarnation = 0;
    mf_ctx_close(ctx);
    call_end(life, call, SMEM_OK);
}

/* Something else than a copy. False: close the context. */
static bool change(struct life *life)
{
    uint32_t id = (uint32_t)sim_below(world.pools);
    uint64_t dice = sim_below(100);
    bool store = world.embedded && life->seat->number == 0;
    if (life->pools[id] == NULL) {
        create_pool(life, id);
    } else if (!life->joined[id]) {
        join_pool(life, id);
    } else if (dice < 40) {
        leave_pool(life, id);
    } else if (dice < 60) {
        extend_pool(life, id);
    } else if (dice < 80) {
        destroy_pool(life, id);
    }
    return dice < 90 || (store && world.cfg->fault_count == 0);
}

static bool is_whole(const struct life *life)
{
    for (uint32_t id = 0; id < world.pools; id++) {
        if (!life->joined[id]) {
            return false;
        }
    }
    return true;
}

static void work(struct life *life)
{
    bool more = true;
    for (uint32_t id = 0; id < world.pools && !has_to_end(life); id++) {
        create_pool(life, id);
        join_pool(life, id);
    }
    start_workers(life);
    while (more && !has_to_end(life)) {
        state_set(life, WORLD_IDLE);
        if (sim_chance(1, is_whole(life) ? 40 : 3)) {
            more = change(life);
        } else {
            worker_copy(&life->workers[0]);
        }
        pause_between(1, 3);
    }
    stop_workers(life);
}

static void rank_main(struct life *life)
{
    while (!world.ending) {
        if (open_context(life)) {
            work(life);
            if (world.ending && life->seat->number == 0 && world.embedded) {
                while (!others_are_done(life->seat)) {
                    mf_thread_sleep_ns(10 * MS);
                }
            }
            close_context(life);
        }
        if (!world.ending) {
            state_set(life, WORLD_OPENING);
            rest(life->seat->automatic ? 400 : 50);
        }
    }
}

/* ---- hosting the store ---- */

static void store_main(struct life *life)
{
    struct mf_ctx_cfg cfg = {
        .env = life->env,
        .config = &world.config,
        .threads = &life->threads,
        .devices = life->devices,
        .url = world.url,
        .world = world.ranks,
        .rank = MF_RANK_AUTO,
        .serve_only = true,
        .number = 1,
        .init_ms = world.init_ms,
        .create_ms = world.create_ms,
        .op_ms = world.op_ms,
    };
    struct mf_ctx *ctx = NULL;
    note_store(life);
    while (mf_ctx_open(&cfg, &ctx) != SMEM_OK) {
        rest(50);
    }
    while (!others_are_done(life->seat)) {
        mf_thread_sleep_ns(50 * MS);
    }
    mf_ctx_close(ctx);
}

/* ---- the process ---- */

static void life_main(void *arg)
{
    struct life *life = arg;
    life->env = sim_proc_env(life->proc);
    while (mf_threads_init(&life->threads, life->env) != SMEM_OK) {
        rest(5);
    }
    while (mf_dev_registry_create(life->env, &world.config, &life->devices) != SMEM_OK) {
        rest(5);
    }
    if (life->seat->store) {
        store_main(life);
    } else {
        rank_main(life);
    }
    mf_threads_fini(&life->threads);
    mf_dev_registry_destroy(life->devices);
    requests_free(life);
    if (sim_memory_held(life->proc) != 0) {
        sim_broken("leak", "rank %u has %llu descriptors and places left", life->rank,
                   (unsigned long long)sim_memory_held(life->proc));
    }
    life->ended = true;
}

static void life_gone(void *arg)
{
    struct life *life = arg;
    struct seat *seat = life->seat;
    for (uint32_t i = 0; i <= life->worker_count; i++) {
        worker_killed(&life->workers[i]);
    }
    if (life->incarnation != 0) {
        owner_closes(life);
        oracle_life_ended(life->incarnation);
    }
    seat->life = NULL;
    seat->state = WORLD_AWAY;
    seat->done = life->ended;
}

void seat_start(struct seat *seat)
{
    char name[32];
    uint32_t workers = sim_chance(1, 3) ? (uint32_t)sim_below(WORKERS_MAX) + 1 : 0;
    /* At an address of the run: the library orders copies by the addresses of their buffers. */
    struct life *life = sim_fixed(sizeof(*life) + (workers + 1) * sizeof(struct worker));
    MF_ASSERT(seat->life == NULL);
    snprintf(name, sizeof(name), seat->store ? "store" : "rank%u", seat->number);
    life->seat = seat;
    life->rank = seat->number;
    life->worker_count = workers;
    for (uint32_t i = 0; i <= life->worker_count; i++) {
        life->workers[i].life = life;
        life->workers[i].number = i;
    }
    life->next = world.lives;
    world.lives = life;
    seat->life = life;
    seat->state = WORLD_OPENING;
    seat->slowest = 1;
    seat->proc = life->proc = sim_proc_start(name, seat->host, life_main, life);
    life->hook = (struct sim_hook){.fn = life_gone, .arg = life};
    sim_proc_hook(life->proc, &life->hook);
}

void lives_free(void)
{
    world.lives = NULL; /* the next sim_open has their memory again */
}
