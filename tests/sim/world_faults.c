// SPDX-License-Identifier: Apache-2.0
// Faults strike between two events: as soon as the rank is in the wanted state, or when waiting for
// that has taken too long. What lasts is undone by an event.
#include "world_faults.h"

#include <stdlib.h>

#include "base/err.h"
#include "net.h"
#include "world_priv.h"

#define PATIENCE_STEPS 2000u

struct active {
    struct sim_event undo;
    const struct world_fault *fault;
    struct seat *seat;
    uint32_t a, b; /* hosts */
    bool struck, lasts;
};

static struct {
    struct active *v;
    uint32_t count, left;
} faults;

/* ---- excuses ---- */

static void trouble(struct seat *seat, bool begins)
{
    seat->troubled_ns = begins ? NEVER : sim_now();
}

/* Those that reach the store, or their process, by what is between the two hosts. */
static void trouble_hosts(const struct active *active, bool begins)
{
    uint32_t store = world.seats[world.store_seat].host;
    for (uint32_t i = 0; i < world.seat_count; i++) {
        struct seat *seat = &world.seats[i];
        if ((seat->host == active->a && store == active->b) ||
            (seat->host == active->b && store == active->a)) {
            trouble(seat, begins);
        }
    }
}

/* ---- undoing ---- */

static void undo(void *arg)
{
    struct active *active = arg;
    if (!active->lasts) {
        return;
    }
    active->lasts = false;
    sim_event_cancel(&active->undo);
    switch (active->fault->kind) {
    case FAULT_STOP:
    case FAULT_STORE_STOP:
        if (active->seat->life != NULL) {
            sim_proc_continue(active->seat->proc);
        }
        trouble(active->seat, false);
        break;
    case FAULT_SLOW:
        if (active->seat->life != NULL) {
            sim_proc_slow(active->seat->proc, 1);
        }
        trouble(active->seat, false);
        break;
    case FAULT_CUT:
        sim_net_heal(active->b, active->a);
        sim_net_heal(active->a, active->b);
        trouble_hosts(active, false);
        break;
    case FAULT_CUT_ONE_WAY:
        sim_net_heal(active->a, active->b);
        trouble_hosts(active, false);
        break;
    case FAULT_LINK_SLOW:
        sim_net_slow(active->a, active->b, 1);
        sim_net_slow(active->b, active->a, 1);
        trouble_hosts(active, false);
        break;
    default:
        break;
    }
    sim_say("undone: %s", world_fault_names[active->fault->kind]);
}

/* ---- striking ---- */

static void kill_seat(struct seat *seat, uint64_t duration_ns)
{
    if (seat->life != NULL) {
        sim_proc_kill(seat->proc);
        seat_restart(seat, 1 + duration_ns);
    }
}

static void slow_down(struct active *active)
{
    uint32_t factor = 2 + (uint32_t)sim_below(12);
    struct seat *seat = active->seat;
    if (seat->life != NULL) {
        seat->slowest = factor > seat->slowest ? factor : seat->slowest;
        sim_proc_slow(seat->proc, factor);
    }
}

static void starve(const struct active *active)
{
    struct seat *seat = active->seat;
    if (seat->life != NULL) {
        uint32_t skip = (uint32_t)sim_below(40); /* compilers differ in the order of arguments */
        active->seat->starved = true;
        sim_proc_starve(seat->proc, skip, 1 + (uint32_t)sim_below(6));
        if (sim_chance(1, 3)) {
            sim_memory_short(seat->proc, 1 + (uint32_t)sim_below(3));
        }
    }
}

static void cut(struct active *active)
{
    const struct world_fault *fault = active->fault;
    uint32_t factor;
    trouble_hosts(active, true);
    switch (fault->kind) {
    case FAULT_CUT:
        sim_net_cut(active->b, active->a);
        sim_net_cut(active->a, active->b);
        break;
    case FAULT_CUT_ONE_WAY:
        sim_net_cut(active->a, active->b);
        break;
    case FAULT_RESET:
        sim_net_reset(active->a, active->b);
        trouble_hosts(active, false);
        break;
    default:
        factor = 2 + (uint32_t)sim_below(40);
        sim_net_slow(active->a, active->b, factor);
        sim_net_slow(active->b, active->a, factor);
        break;
    }
}

static void strike(struct active *active)
{
    const struct world_fault *fault = active->fault;
    enum world_state state = world.seats[fault->rank % world.ranks].state;
    sim_say("fault: %s at rank %u, which is %s", world_fault_names[fault->kind], fault->rank,
            world_state_names[state]);
    sim_note(3, (uint64_t)fault->kind << 32 | fault->rank);
    active->struck = true;
    faults.left--;
    world.struck = true;
    world.out->struck[fault->kind][state]++;
    switch (fault->kind) {
    case FAULT_KILL:
    case FAULT_STORE_KILL:
        kill_seat(active->seat, fault->duration_ns);
        trouble(active->seat, false);
        return;
    case FAULT_STOP:
    case FAULT_STORE_STOP:
        if (active->seat->life != NULL) {
            sim_proc_stop(active->seat->proc);
        }
        trouble(active->seat, true);
        break;
    case FAULT_SLOW:
        slow_down(active);
        trouble(active->seat, true);
        break;
    case FAULT_ALLOC:
        starve(active);
        trouble(active->seat, false);
        return;
    default:
        cut(active);
        break;
    }
    active->lasts = fault->kind != FAULT_RESET;
    if (active->lasts) {
        sim_event_set(&active->undo, sim_now() + 1 + fault->duration_ns);
    }
}

static bool is_due(const struct active *active)
{
    const struct world_fault *fault = active->fault;
    uint64_t step = sim_steps();
    return !active->struck && step >= fault->step &&
           (fault->state == WORLD_STATES ||
            world.seats[fault->rank % world.ranks].state == fault->state ||
            step >= fault->step + PATIENCE_STEPS);
}

void faults_strike(void)
{
    for (uint32_t i = 0; faults.left > 0 && i < faults.count; i++) {
        if (is_due(&faults.v[i])) {
            strike(&faults.v[i]);
        }
    }
}

void faults_undo_all(void)
{
    faults.left = 0;
    for (uint32_t i = 0; i < faults.count; i++) {
        undo(&faults.v[i]);
    }
    sim_net_heal_all();
    for (uint32_t i = 0; i < world.seat_count; i++) {
        if (world.seats[i].life == NULL) {
            seat_restart(&world.seats[i], 1);
        }
    }
}

/* ---- life ---- */

/* The two hosts: another one than the first where there is one, the store's before others. */
static void choose_hosts(struct active *active)
{
    const struct world_fault *fault = active->fault;
    uint32_t store = world.seats[world.store_seat].host;
    active->a = world.seats[fault->rank % world.ranks].host;
    active->b = world.seats[fault->other % world.ranks].host;
    if (active->a == active->b) {
        active->b = store != active->a ? store : (active->a + 1) % world.hosts;
    }
}

void faults_open(void)
{
    const struct world_cfg *cfg = world.cfg;
    faults.count = faults.left = cfg->fault_count;
    faults.v = calloc(cfg->fault_count + 1, sizeof(*faults.v));
    MF_ASSERT(faults.v != NULL);
    for (uint32_t i = 0; i < cfg->fault_count; i++) {
        struct active *active = &faults.v[i];
        const struct world_fault *fault = &cfg->faults[i];
        bool store = fault->kind == FAULT_STORE_KILL || fault->kind == FAULT_STORE_STOP;
        active->fault = fault;
        active->seat = &world.seats[store ? world.store_seat : fault->rank % world.ranks];
        choose_hosts(active);
        sim_event_init(&active->undo, NULL, undo, active);
    }
}

void faults_close(void)
{
    free(faults.v);
    faults.v = NULL;
    faults.count = faults.left = 0;
}
