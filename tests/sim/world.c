// SPDX-License-Identifier: Apache-2.0
// One run of a world: what it is drawn to be, its processes, its steps, and its end: all faults are
// undone, the ranks go on for a while, then all ends in order and is looked at.
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "net.h"
#include "world_faults.h"
#include "world_priv.h"

#define MONITOR_NS (250 * MS)
#define START_MS   50u   /* within so long all processes are started */
#define CALM_MS    3000u /* after a session's time without any fault, work ends */
#define LOOK_STEPS 256u  /* for each rank, between two looks at all memory */

struct world world;

const char *const world_state_names[WORLD_STATES] = {"away",    "opening",   "creating", "joining",
                                                     "idle",    "putting",   "getting",  "batch",
                                                     "request", "extending", "leaving",  "closing"};
const char *const world_fault_names[FAULT_KINDS] = {
    "kill",        "stop",  "slow",      "alloc",      "cut",
    "cut-one-way", "reset", "link-slow", "store-kill", "store-stop"};

/* ---- what is drawn ---- */

static uint32_t between(uint32_t low, uint32_t high)
{
    return low + (uint32_t)sim_below(high - low + 1);
}

static void set_option(enum mf_opt option, const char *text)
{
    MF_ASSERT(mf_config_set(&world.config, option, text) == SMEM_OK);
}

static void set_number(enum mf_opt option, uint32_t value)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", value);
    set_option(option, text);
}

static void draw_options(void)
{
    bool many = world.ranks > 64;
    world.session_ms = many ? between(2000, 6000) : between(300, 3000);
    world.init_ms = many ? 20000 : between(1500, 8000);
    world.create_ms = many ? 10000 : between(800, 5000);
    world.op_ms = many ? 10000 : between(800, 5000);
    world.connect_ms = many ? 3000 : between(200, 2000);
    world.fence_ms = between(50, 1000);
    world.copy_ms = many ? 3000 : between(300, 3000);
    world.pause_us = sim_chance(1, 3) ? between(10, 200) : between(200, 20000);
    world.pools = between(1, ORACLE_POOLS);
    mf_config_defaults(&world.config);
    set_option(MF_OPT_DEVICE, "none");
    set_option(MF_OPT_COPY_KERNEL, "memcpy");
    set_option(MF_OPT_COPY_THREADS, "1");
    set_option(MF_OPT_GVA_TRANSLATE, "always");
    set_option(MF_OPT_TRACE, "off");
    set_option(MF_OPT_PEER_MAP, world.unmapped ? "never" : "auto");
    set_number(MF_OPT_COPY_WORKERS, between(1, 3));
    set_number(MF_OPT_PEER_EAGER, many ? between(0, 8) : between(0, 64));
    set_number(MF_OPT_STORE_SESSION_MS, world.session_ms);
    set_number(MF_OPT_STORE_REQUEST_MS, many ? 10000 : between(500, 5000));
    set_number(MF_OPT_STORE_SETTLE_MS, between(160, 500));
    set_number(MF_OPT_PEER_CONNECT_MS, world.connect_ms);
    set_number(MF_OPT_FENCE_MS, world.fence_ms);
    set_number(MF_OPT_COPY_WAIT_MS, world.copy_ms);
}

/* Ranks, perhaps a process for the store, perhaps some that take what rank is free. */
static void draw_seats(void)
{
    uint32_t spare = sim_chance(1, 4) ? between(1, 2) : 0;
    uint32_t each = world.cfg->ranks_per_host;
    each = each != 0 ? each : sim_chance(1, 4) ? world.ranks : between(1, 1 + world.ranks / 2);
    world.embedded = sim_chance(1, 2);
    world.contested = spare > 0;
    world.hosts = (world.ranks + each - 1) / each;
    world.seat_count = world.ranks + spare + !world.embedded;
    world.store_seat = world.embedded ? 0 : world.seat_count - 1;
    world.seats = calloc(world.seat_count, sizeof(*world.seats));
    world.owners = calloc(world.ranks, sizeof(struct life *));
    world.seen = calloc(world.ranks, sizeof(*world.seen));
    MF_ASSERT(world.seats != NULL && world.owners != NULL && world.seen != NULL);
    for (uint32_t i = 0; i < world.seat_count; i++) {
        struct seat *seat = &world.seats[i];
        seat->number = i;
        seat->store = !world.embedded && i == world.store_seat;
        seat->automatic = i >= world.ranks && !seat->store;
        seat->host = i < world.ranks ? i / each : (uint32_t)sim_below(world.hosts);
    }
    if (!world.embedded && sim_chance(1, 2)) {
        world.seats[world.store_seat].host = world.hosts++;
    }
    sim_net_url(world.seats[world.store_seat].host, PORT, world.url, sizeof(world.url));
}

/* ---- processes ---- */

static void start_seat(void *arg)
{
    struct seat *seat = arg;
    if (seat->life == NULL && !world.ending) {
        seat_start(seat);
    }
}

void seat_restart(struct seat *seat, uint64_t after_ns)
{
    sim_event_set(&seat->restart, sim_now() + after_ns);
}

static void start_all(void)
{
    for (uint32_t i = 0; i < world.seat_count; i++) {
        struct seat *seat = &world.seats[i];
        sim_event_init(&seat->restart, NULL, start_seat, seat);
        seat_restart(seat, 1 + (i == world.store_seat ? 0 : sim_below(START_MS * MS)));
    }
}

static bool all_ended(void)
{
    for (uint32_t i = 0; i < world.seat_count; i++) {
        if (world.seats[i].life != NULL) {
            return false;
        }
    }
    return true;
}

bool oracle_find_piece(const struct mf_segment_desc *desc, struct oracle_piece *out)
{
    const struct life *life = world.lives;
    while (life != NULL && (life->incarnation != desc->incarnation || life->ctx == NULL)) {
        life = life->next;
    }
    const struct mf_pool *pool = life != NULL ? life->ctx->pools[desc->pool] : NULL;
    const struct mf_own *own = pool != NULL ? atomic_load(&pool->own[MF_KIND_DRAM].first) : NULL;
    while (own != NULL && own->segment.desc.gva != desc->gva) {
        own = atomic_load(&own->next);
    }
    if (own == NULL) {
        return false;
    }
    out->object = sim_object_of_fd(life->proc, own->memory.fd);
    out->offset = own->offset;
    out->host = life->seat->host;
    return out->object != NULL;
}

/* ---- the course of a run ---- */

static void watch(void *arg)
{
    (void)arg;
    calls_watch();
    for (uint32_t i = 0; world.struck && i < world.seat_count; i++) {
        seat_note_starved(&world.seats[i]);
    }
    sim_event_set(&world.monitor, sim_now() + MONITOR_NS);
}

static void name_those_left(void)
{
    for (uint32_t i = 0; i < world.seat_count; i++) {
        const struct seat *seat = &world.seats[i];
        if (seat->life != NULL) {
            sim_broken("hang", "%s has not ended %u ms after all faults were undone; it is %s",
                       sim_proc_name(seat->proc), END_MS, world_state_names[seat->state]);
        }
    }
}

/* Nothing is wrong any more; what lives has time to find that out. */
static void begin_calm(void)
{
    faults_undo_all();
    world.calm_ns = sim_now() + (world.session_ms + CALM_MS) * MS;
    sim_say("all faults are undone");
}

static void begin_end(void)
{
    oracle_check_all();
    owners_check();
    world.ending = true;
    world.ended_ns = sim_now();
    for (uint32_t i = 0; i < world.seat_count; i++) {
        sim_event_cancel(&world.seats[i].restart);
    }
    sim_say("all ranks are to end");
}

/* False: it is over. */
static bool go_on(void)
{
    if (world.ending) {
        if (sim_now() > world.ended_ns + END_MS * MS) {
            name_those_left();
            return false;
        }
        return !all_ended();
    }
    if (world.calm_ns != 0) {
        if (sim_now() >= world.calm_ns) {
            begin_end();
        }
    } else if (sim_steps() >= world.cfg->steps) {
        begin_calm();
    } else {
        faults_strike();
    }
    if (sim_steps() >= world.looked_steps + (uint64_t)LOOK_STEPS * world.ranks) {
        world.looked_steps = sim_steps();
        oracle_check_all();
    }
    return true;
}

static void take_result(struct world_result *out)
{
    out->steps = sim_steps();
    out->digest = sim_digest();
    out->virtual_ns = sim_now();
    out->oracle = sim_broken_oracle();
    if (out->oracle != NULL) {
        snprintf(out->text, sizeof(out->text), "%s", sim_broken_text());
        out->broken_step = sim_steps();
    }
}

void world_run(const struct world_cfg *cfg, struct world_result *out)
{
    struct sim_cfg machine = {.seed = cfg->seed, .verbose = cfg->verbose};
    memset(&world, 0, sizeof(world));
    memset(out, 0, sizeof(*out));
    world.cfg = cfg;
    world.out = out;
    world.ranks = cfg->ranks;
    sim_open(&machine);
    sim_net_open();
    sim_memory_open();
    world.unmapped = sim_chance(1, 3);
    oracle_open(cfg->ranks, world.unmapped);
    draw_options();
    draw_seats();
    faults_open();
    start_all();
    sim_event_init(&world.monitor, NULL, watch, NULL);
    watch(NULL);
    while (sim_step() && go_on()) {
    }
    take_result(out);
    sim_net_close();
    sim_close();
    oracle_close();
    sim_memory_close();
    faults_close();
    lives_free();
    free(world.seats);
    free(world.owners);
    free(world.grants);
    free(world.seen);
}
