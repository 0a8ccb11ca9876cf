// SPDX-License-Identifier: Apache-2.0
// The model transport: both sides of attaching, copies within and between hosts, the fence, and
// what kills, stops and cuts in the middle of copies do. Most tests run over many seeds; what the
// transport tells the oracle is judged here as well.
#include "mf_test.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/plugin.h"
#include "gva/memory.h"
#include "gva/space.h"
#include "transport.h"

#define RANKS   4u
#define SEEDS   150u
#define SIZE    MF_PAGE_LARGE
#define BASE    0x100000000000ull
#define MS      1000000ull
#define WORLD   77u
#define POOL    3u
#define PLACES  64u
#define STRIDE  (16 * SIZE)
#define PATTERN 0x5a

struct place {
    uint64_t gva, at;
};

/* One rank. */
struct node {
    uint32_t rank;
    struct sim_proc *proc;
    struct mf_plugin_host plugin;
    struct mf_transport_host host;
    struct mf_loop *loop;
    void *tp, *lane;
    uint8_t endpoint[MF_ENDPOINT_MAX];
    uint32_t endpoint_len;
    struct mf_memory memory;
    struct sim_object *object;
    struct mf_segment own;
    struct mf_segment *up[RANKS]; /* of each peer */
    struct place places[PLACES];
    void (*script)(struct node *n);
    bool open, done, leave;
    uint32_t deaths;
    uint64_t dead_ns;
    int withdrawn; /* what withdraw returned; 1: not called */
};

static struct node nodes[RANKS];
static uint32_t host_flags;
/* What the transport has told. */
static uint64_t gone_epoch[64];
static uint32_t gone_count;
static uint64_t gate_owner, gate_refused, gate_ns;
static uint64_t landed, landed_far;
/* The scripts' own. */
static uint64_t step, failures, in_the_middle;

#define EXPECT(cond)  \
    ((cond) ? (void)0 \
            : sim_broken("test", "%s:%d: %s (%s)", __FILE__, __LINE__, #cond, mf_err_msg()))

/* ---- what the oracle is told ---- */

void seen_publish(const struct mf_segment_desc *desc)
{
    EXPECT(desc->epoch != 0);
}

void seen_withdraw(const struct mf_segment_desc *desc, int rc)
{
    if (rc == SMEM_OK && gone_count < 64) {
        gone_epoch[gone_count++] = desc->epoch;
    }
}

void seen_gate(uint64_t owner_incarnation, uint64_t refused_incarnation)
{
    gate_owner = owner_incarnation;
    gate_refused = refused_incarnation;
    gate_ns = sim_now();
}

void seen_land(const struct seen_land *land)
{
    landed++;
    landed_far += !land->same_host;
    for (uint32_t i = 0; i < gone_count; i++) {
        if (gone_epoch[i] == land->desc->epoch) {
            sim_broken("late-landing", "%lu bytes at %lu", (unsigned long)land->size,
                       (unsigned long)land->offset);
        }
    }
    EXPECT(land->offset + land->size <= land->desc->size);
    EXPECT(land->source_incarnation == nodes[land->source_rank].host.incarnation);
    if (gate_refused == land->source_incarnation && gate_owner == land->desc->incarnation) {
        EXPECT(land->begun_ns <= gate_ns);
    }
}

/* ---- the host of an instance ---- */

struct mf_loop *sim_tp_loop(const struct mf_transport_host *host)
{
    return ((struct node *)host->arg)->loop;
}

static int host_place(void *arg, const struct mf_segment_desc *desc, uint64_t *at)
{
    struct node *n = arg;
    for (uint32_t i = 0; i < PLACES; i++) {
        struct place *place = &n->places[i];
        if (place->gva == desc->gva) {
            *at = place->at;
            return SMEM_OK;
        }
        if (place->gva == 0) {
            place->gva = desc->gva;
            int rc = mf_space_reserve_free(0, desc->size, &place->at);
            *at = place->at;
            return rc;
        }
    }
    return mf_err(SMEM_NO_RESOURCES, "no place");
}

static int host_unplace(void *arg, const struct mf_segment_desc *desc, int dead)
{
    uint64_t at;
    int rc = host_place(arg, desc, &at);
    (void)dead;
    return rc ? rc : mf_space_unmap(at, desc->size);
}

static int host_segment_up(void *arg, struct mf_segment *segment)
{
    struct node *n = arg;
    EXPECT(n->up[segment->desc.owner] == NULL);
    n->up[segment->desc.owner] = segment;
    return SMEM_OK;
}

static void host_segment_down(void *arg, struct mf_segment *segment)
{
    struct node *n = arg;
    EXPECT(n->up[segment->desc.owner] == segment);
    n->up[segment->desc.owner] = NULL;
}

/* The one thread that copies is the one that asks. */
static int host_quiesce(void *arg, uint64_t deadline_ns)
{
    (void)arg;
    (void)deadline_ns;
    return SMEM_OK;
}

static void host_peer_dead(void *arg, uint32_t rank, uint64_t incarnation, const char *why)
{
    struct node *n = arg;
    EXPECT(mf_loop_is_current(n->loop));
    EXPECT(rank < RANKS && incarnation == nodes[rank].host.incarnation && why[0]);
    n->deaths++;
    n->dead_ns = sim_now();
    EXPECT(mf_direct_ops.detach(n->tp, rank, incarnation, UINT32_MAX, MF_DETACH_DEAD) == SMEM_OK);
}

/* ---- a rank ---- */

static uint64_t gva_of(uint32_t rank)
{
    return BASE + rank * STRIDE;
}

static bool node_open(struct node *n)
{
    const struct mf_env *env = sim_proc_env(n->proc);
    const struct mf_memory_cfg cfg = {.env = env, .size = SIZE, .numa_node = -1, .what = "test"};
    if (mf_loop_create(env, "loop", &n->loop)) {
        return false;
    }
    mf_plugin_host_init(&n->plugin, env);
    n->host = (struct mf_transport_host){
        .size = sizeof(n->host),
        .plugin = &n->plugin,
        .arg = n,
        .rank = n->rank,
        .world = RANKS,
        .incarnation = mf_random_u64(env),
        .world_id = WORLD,
        .random_token = {mf_random_u64(env) | 3, mf_random_u64(env)},
        .place = host_place,
        .unplace = host_unplace,
        .segment_up = host_segment_up,
        .segment_down = host_segment_down,
        .quiesce = host_quiesce,
        .peer_dead = host_peer_dead,
        .flags = host_flags,
    };
    n->own.desc = (struct mf_segment_desc){
        .gva = gva_of(n->rank), .size = SIZE, .pool = POOL, .kind = MF_KIND_DRAM};
    EXPECT(mf_memory_create(&cfg, &n->memory) == SMEM_OK);
    n->object = sim_object_of_fd(n->proc, n->memory.fd);
    const struct mf_publish pub = {.segment = &n->own, .fd = n->memory.fd};
    if (mf_direct_ops.open(&n->host, &n->tp) ||
        mf_direct_ops.endpoint(n->tp, n->endpoint, sizeof(n->endpoint), &n->endpoint_len) ||
        mf_direct_ops.publish(n->tp, &pub) || mf_direct_ops.lane_open(n->tp, &n->lane)) {
        return false;
    }
    n->open = true;
    return true;
}

static int withdraw(struct node *n, uint64_t ms)
{
    n->withdrawn = mf_direct_ops.withdraw(n->tp, &n->own, sim_now() + ms * MS);
    return n->withdrawn;
}

static void node_close(struct node *n)
{
    if (n->tp && n->own.desc.epoch && n->withdrawn != SMEM_OK) {
        (void)withdraw(n, 5000);
    }
    if (n->lane) {
        mf_direct_ops.lane_close(n->tp, n->lane);
    }
    mf_direct_ops.close(n->tp);
    mf_loop_destroy(n->loop);
    mf_memory_fini(&n->memory);
}

static void node_main(void *arg)
{
    struct node *n = arg;
    if (node_open(n)) {
        n->script(n);
    }
    n->done = true;
    while (!n->leave) {
        mf_thread_sleep_ns(MS);
    }
    node_close(n);
}

/* ---- for scripts ---- */

static void wait_step(uint64_t until)
{
    for (uint32_t i = 0; step < until && i < 400000; i++) {
        mf_thread_sleep_ns(MS / 20);
    }
    EXPECT(step >= until);
}

static int attach(struct node *n, uint32_t rank, uint64_t ms)
{
    struct node *to = &nodes[rank];
    for (uint32_t i = 0; !to->open && i < 100000; i++) {
        mf_thread_sleep_ns(MS / 10);
    }
    const struct mf_peer peer = {rank, to->host.incarnation, to->endpoint, to->endpoint_len};
    return mf_direct_ops.attach(n->tp, &peer, POOL, sim_now() + ms * MS);
}

static int copy(struct node *n, struct mf_segment *dst, uint64_t dst_at, struct mf_segment *src,
                uint64_t src_at, uint64_t size, uint64_t ms)
{
    struct mf_xfer x = {
        .src_seg = src, .dst_seg = dst, .src = src_at, .dst = dst_at, .size = size, .status = 1};
    (void)mf_direct_ops.post(n->lane, &x, 1);
    if (x.status == MF_XFER_PENDING) {
        int rc = mf_direct_ops.wait(n->lane, sim_now() + ms * MS);
        EXPECT(rc == x.status);
    } else {
        EXPECT(mf_direct_ops.wait(n->lane, sim_now()) == x.status);
    }
    EXPECT(x.status <= 0);
    EXPECT(x.status == SMEM_OK || mf_err_code() == x.status);
    return x.status;
}

static int put(struct node *n, uint32_t rank, uint64_t offset, const void *bytes, uint64_t size,
               uint64_t ms)
{
    return n->up[rank] ? copy(n, n->up[rank], gva_of(rank) + offset, NULL,
                              (uint64_t)(uintptr_t)bytes, size, ms)
                       : SMEM_NOT_CONNECTED;
}

static int get(struct node *n, uint32_t rank, uint64_t offset, void *bytes, uint64_t size)
{
    return copy(n, NULL, (uint64_t)(uintptr_t)bytes, n->up[rank], gva_of(rank) + offset, size,
                1000);
}

static void idle(struct node *n)
{
    (void)n;
}

/* Puts until one fails. */
static void put_until_failure(struct node *n)
{
    static uint8_t bytes[20000];
    EXPECT(attach(n, 1, 1000) == SMEM_OK);
    memset(bytes, PATTERN, sizeof(bytes));
    step = 1;
    for (uint32_t i = 0; i < 100000 && failures == 0; i++) {
        failures += put(n, 1, 8 * (i % 100), bytes, sizeof(bytes), 500) != SMEM_OK;
        mf_thread_sleep_ns(sim_below(MS / 50));
    }
    EXPECT(failures == 1);
    step = 2;
}

/* ---- a run ---- */

static void start(uint64_t seed, uint32_t count, const uint32_t *hosts,
                  void (*const *scripts)(struct node *n))
{
    char name[16];
    memset(nodes, 0, sizeof(nodes));
    host_flags = 0;
    gone_count = 0;
    gate_owner = gate_refused = gate_ns = landed = landed_far = 0;
    step = failures = in_the_middle = 0;
    sim_open(&(struct sim_cfg){.seed = seed});
    sim_memory_open();
    sim_net_open();
    for (uint32_t i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "rank%u", i);
        nodes[i].rank = i;
        nodes[i].withdrawn = 1;
        nodes[i].script = scripts[i];
        nodes[i].proc = sim_proc_start(name, hosts[i], node_main, &nodes[i]);
    }
}

static bool all_done(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!nodes[i].done && sim_proc_state(nodes[i].proc) != SIM_ENDED) {
            return false;
        }
    }
    return true;
}

static void run_until_step(uint64_t until)
{
    while (step < until && sim_step()) {
    }
}

/* Until all scripts have ended, and then to the end. */
static uint64_t finish(uint32_t count)
{
    while (!all_done(count) && sim_step()) {
    }
    for (uint32_t i = 0; i < count; i++) {
        nodes[i].leave = true;
    }
    while (sim_step()) {
    }
    char text[512];
    uint32_t left = 0;
    bool broken = sim_broken_oracle() != NULL;
    snprintf(text, sizeof(text), "%s: %s", broken ? sim_broken_oracle() : "",
             broken ? sim_broken_text() : "");
    for (uint32_t i = 0; i < count; i++) {
        left += sim_proc_state(nodes[i].proc) != SIM_ENDED;
    }
    uint64_t digest = sim_digest();
    sim_net_close();
    sim_close();
    sim_memory_close();
    if (broken) {
        fail_msg("%s", text);
    }
    assert_int_equal(left, 0);
    return digest;
}

/* ---- attaching and copying ---- */

static void fill(uint8_t *bytes, uint64_t size, uint8_t seed)
{
    for (uint64_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(i * 31 + (i >> 8) + seed);
    }
}

static bool is_at(const struct node *n, uint64_t offset, const void *bytes, uint64_t size)
{
    return memcmp(sim_object_bytes(n->object) + offset, bytes, size) == 0;
}

static void try_sizes(struct node *n, uint32_t rank)
{
    static const uint64_t sizes[] = {1, 8, 64, 100, 4096, 4097, 30000};
    static uint8_t out[30000], in[30000];
    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        fill(out, sizes[i], (uint8_t)(rank + i));
        EXPECT(put(n, rank, 64, out, sizes[i], 1000) == SMEM_OK);
        EXPECT(is_at(&nodes[rank], 64, out, sizes[i]));
        EXPECT(get(n, rank, 64, in, sizes[i]) == SMEM_OK);
        EXPECT(memcmp(in, out, sizes[i]) == 0);
    }
}

/* Between segments of which none, one or both are here: own, same host, elsewhere. */
static void try_segments(struct node *n)
{
    struct mf_segment *all[RANKS] = {&n->own, n->up[1], n->up[2], n->up[3]};
    static uint8_t bytes[9000];
    for (uint32_t from = 0; from < RANKS; from++) {
        fill(bytes, sizeof(bytes), (uint8_t)(100 + from));
        EXPECT(copy(n, all[from], gva_of(from) + 4096, NULL, (uint64_t)(uintptr_t)bytes,
                    sizeof(bytes), 1000) == SMEM_OK);
        for (uint32_t to = 0; to < RANKS; to++) {
            uint64_t at = 65536 * (1 + from);
            EXPECT(copy(n, all[to], gva_of(to) + at, all[from], gva_of(from) + 4096, sizeof(bytes),
                        1000) == SMEM_OK);
            EXPECT(is_at(&nodes[to], at, bytes, sizeof(bytes)));
        }
    }
}

static void try_many(struct node *n)
{
    static uint8_t bytes[1000];
    uint64_t offsets[] = {800, 0, 400};
    struct mf_xfer_many many = {.src = (uint64_t)(uintptr_t)bytes,
                                .dst_seg = n->up[1],
                                .dst = gva_of(1) + SIZE / 2,
                                .dst_offsets = offsets,
                                .src_stride = 200,
                                .size = 200,
                                .bytes = 600,
                                .count = 3};
    fill(bytes, sizeof(bytes), 9);
    EXPECT(mf_direct_ops.post_many(n->lane, &many) == SMEM_OK);
    EXPECT(many.done == 3 && many.begun == 3);
    EXPECT(is_at(&nodes[1], SIZE / 2 + 800, bytes, 200));
    EXPECT(is_at(&nodes[1], SIZE / 2 + 400, bytes + 400, 200));
    many.dst_seg = n->up[2];
    EXPECT(mf_direct_ops.post_many(n->lane, &many) == SMEM_NOT_EXIST);
    EXPECT(mf_direct_ops.copy_small(n->lane, n->up[1], gva_of(1) + 24, bytes, 8, 1) == SMEM_OK);
    EXPECT(is_at(&nodes[1], 24, bytes, 8));
    EXPECT(mf_direct_ops.copy_small(n->lane, n->up[2], gva_of(2), bytes, 8, 0) == SMEM_NOT_EXIST);
}

static void copy_everywhere(struct node *n)
{
    for (uint32_t rank = 1; rank < RANKS; rank++) {
        EXPECT(attach(n, rank, 1000) == SMEM_OK);
        EXPECT(n->up[rank] != NULL && nodes[rank].up[0] != NULL);
        EXPECT(n->up[rank]->desc.epoch == nodes[rank].own.desc.epoch);
        EXPECT(nodes[rank].up[0]->desc.epoch == n->own.desc.epoch);
        EXPECT((n->up[rank]->host != 0) == (rank == 1 && !host_flags));
        try_sizes(n, rank);
    }
    EXPECT(attach(n, 1, 1000) == SMEM_OK); /* again: nothing is new */
    try_segments(n);
    if (!host_flags) {
        try_many(n);
    }
    EXPECT(landed_far > 0 && landed > landed_far);
}

static uint64_t everywhere(uint64_t seed, uint32_t flags)
{
    static const uint32_t hosts[RANKS] = {0, 0, 1, 2};
    static void (*const scripts[RANKS])(struct node * n) = {copy_everywhere, idle, idle, idle};
    start(seed, RANKS, hosts, scripts);
    host_flags = flags;
    return finish(RANKS);
}

static void test_attach__both_sides_know_each_other_and_copy_in_all_directions(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        everywhere(seed, 0);
        everywhere(seed, MF_HOST_PEERS_UNMAPPED);
    }
}

static void test_runs__are_the_same_for_the_same_seed(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 104; seed++) {
        uint64_t digest = everywhere(seed, 0);
        assert_int_equal(everywhere(seed, 0), digest);
        assert_int_not_equal(everywhere(seed + 50, 0), digest);
    }
}

/* ---- the fence ---- */

static void withdraw_in_the_middle(struct node *n)
{
    wait_step(1);
    mf_thread_sleep_ns(sim_below(3 * MS));
    in_the_middle = !mf_fence_clear_of(((struct sim_tp *)nodes[0].tp)->page->page,
                                       mf_fence_hazard(1, n->own.desc.index, n->own.desc.epoch));
    EXPECT(withdraw(n, 2000) == SMEM_OK);
    EXPECT(mf_fence_clear_of(((struct sim_tp *)nodes[0].tp)->page->page,
                             mf_fence_hazard(1, n->own.desc.index, n->own.desc.epoch)));
}

static uint32_t withdrawals(uint32_t other_host)
{
    uint32_t hosts[2] = {0, other_host};
    static void (*const scripts[2])(struct node * n) = {put_until_failure, withdraw_in_the_middle};
    uint32_t struck = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        start(seed, 2, hosts, scripts);
        finish(2);
        assert_int_equal(failures, 1);
        struck += in_the_middle != 0;
    }
    return struck;
}

static void test_withdraw__waits_for_who_is_in_the_middle(void **state)
{
    (void)state;
    assert_in_range(withdrawals(0), 3, SEEDS);
    withdrawals(1); /* the owner's own line is in the other host's case */
}

static void refuse_in_the_middle(struct node *n)
{
    wait_step(1);
    mf_thread_sleep_ns(sim_below(3 * MS));
    EXPECT(mf_direct_ops.detach(n->tp, 0, nodes[0].host.incarnation, UINT32_MAX, MF_DETACH_DEAD) ==
           SMEM_OK);
    EXPECT(n->up[0] == NULL);
    wait_step(2);
}

static void put_until_refused(struct node *n)
{
    uint8_t byte = 1;
    put_until_failure(n);
    EXPECT(mf_err_code() == SMEM_NOT_CONNECTED);
    EXPECT(strstr(mf_err_msg(), "declared dead") != NULL ||
           (sim_proc_host(nodes[1].proc) != 0 && strstr(mf_err_msg(), "lost") != NULL));
    uint64_t before = landed;
    EXPECT(put(n, 1, 0, &byte, 1, 500) == SMEM_NOT_CONNECTED);
    EXPECT(landed == before);
    EXPECT(attach(n, 1, 500) == SMEM_NOT_CONNECTED);
}

static void test_detach__a_dead_life_is_refused_in_the_middle(void **state)
{
    static void (*const scripts[2])(struct node * n) = {put_until_refused, refuse_in_the_middle};
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        start(seed, 2, (const uint32_t[2]){0, (uint32_t)(seed % 2)}, scripts);
        finish(2);
    }
}

/* ---- kills ---- */

static void kill_rank(uint64_t seed, uint32_t rank)
{
    run_until_step(1);
    for (uint64_t i = 0; i < seed * 13 % 400; i++) {
        (void)sim_step();
    }
    sim_proc_kill(nodes[rank].proc);
}

static void test_owner_is_killed__the_copy_fails_and_its_host_hears_of_it(void **state)
{
    static void (*const scripts[2])(struct node * n) = {put_until_failure, idle};
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        uint32_t far = (uint32_t)(seed % 2);
        start(seed, 2, (const uint32_t[2]){0, far}, scripts);
        kill_rank(seed, 1);
        uint64_t killed_ns = sim_now();
        run_until_step(2);
        uint64_t failed_ns = sim_now();
        finish(2);
        assert_int_equal(failures, 1);
        assert_int_equal(nodes[0].deaths, far ? 0 : 1); /* elsewhere the store has to say so */
        assert_true(far || nodes[0].dead_ns - killed_ns < 25 * MS);
        assert_true(failed_ns - killed_ns < 2000 * MS);
    }
}

static void withdraw_after_death(struct node *n)
{
    wait_step(3);
    EXPECT(withdraw(n, 1000) == SMEM_OK);
}

static void test_copier_is_killed__its_line_does_not_hold_the_owner(void **state)
{
    static void (*const scripts[2])(struct node * n) = {put_until_failure, withdraw_after_death};
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        start(seed, 2, (const uint32_t[2]){0, (uint32_t)(seed % 2)}, scripts);
        kill_rank(seed, 0);
        step = 3;
        finish(2);
    }
}

/* ---- stops ---- */

static void withdraw_twice(struct node *n)
{
    wait_step(3);
    int rc = withdraw(n, 100);
    EXPECT(rc == SMEM_RES_IN_USE);
    EXPECT(strstr(mf_err_msg(), "rank 0") != NULL);
    step = 4;
    EXPECT(withdraw(n, 1000) == SMEM_OK);
    step = 5;
}

static bool is_copying(const struct node *n)
{
    const struct sim_tp *tp = n->tp;
    return atomic_load(&tp->page->page->lines[0].hazard[1]) != 0;
}

static void test_copier_is_stopped__withdraw_names_it_until_it_goes_on(void **state)
{
    static void (*const scripts[2])(struct node * n) = {put_until_failure, withdraw_twice};
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        start(seed, 2, (const uint32_t[2]){0, 0}, scripts);
        run_until_step(1);
        while (!is_copying(&nodes[0]) && sim_step()) {
        }
        sim_proc_stop(nodes[0].proc);
        step = 3;
        run_until_step(4);
        sim_proc_continue(nodes[0].proc);
        finish(2);
    }
}

static void put_in_vain(struct node *n)
{
    uint64_t word = 1;
    uint64_t bytes[2000] = {0};
    EXPECT(attach(n, 1, 1000) == SMEM_OK);
    EXPECT(put(n, 1, 0, &word, sizeof(word), 1000) == SMEM_OK);
    step = 1;
    wait_step(2);
    uint64_t begun = sim_now();
    EXPECT(put(n, 1, 0, bytes, sizeof(bytes), 300) == SMEM_TIMEOUT);
    EXPECT(strstr(mf_err_msg(), "rank 1") != NULL && strstr(mf_err_msg(), "unknown") != NULL);
    EXPECT(sim_now() - begun < 400 * MS);
    step = 3;
    wait_step(4);
    word = 77;
    EXPECT(put(n, 1, 0, &word, sizeof(word), 5000) == SMEM_OK);
    mf_thread_sleep_ns(100 * MS); /* what was given up is over: it was asked for before */
    EXPECT(is_at(&nodes[1], 0, &word, sizeof(word)));
}

static void test_owner_is_stopped__what_was_sent_is_unknown_until_the_next_answer(void **state)
{
    static void (*const scripts[2])(struct node * n) = {put_in_vain, idle};
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        start(seed, 2, (const uint32_t[2]){0, 1}, scripts);
        run_until_step(1);
        sim_proc_stop(nodes[1].proc);
        step = 2;
        run_until_step(3);
        sim_proc_continue(nodes[1].proc);
        step = 4;
        finish(2);
    }
}

static void attach_in_vain(struct node *n)
{
    while (!nodes[1].open) {
        mf_thread_sleep_ns(MS);
    }
    step = 1;
    wait_step(2);
    uint64_t begun = sim_now();
    EXPECT(attach(n, 1, 200) == SMEM_TIMEOUT);
    EXPECT(sim_now() - begun < 250 * MS && n->up[1] == NULL);
    step = 3;
    wait_step(4);
    EXPECT(attach(n, 1, 1000) == SMEM_OK);
}

static void test_attach__ends_by_its_deadline_when_the_peer_is_stopped(void **state)
{
    static void (*const scripts[2])(struct node * n) = {attach_in_vain, idle};
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        start(seed, 2, (const uint32_t[2]){0, (uint32_t)(seed % 2)}, scripts);
        run_until_step(1);
        sim_proc_stop(nodes[1].proc);
        step = 2;
        run_until_step(3);
        sim_proc_continue(nodes[1].proc);
        step = 4;
        finish(2);
    }
}

/* ---- the network ---- */

static void test_cut__what_was_sent_is_unknown_and_later_copies_come_last(void **state)
{
    static void (*const scripts[2])(struct node * n) = {put_in_vain, idle};
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        start(seed, 2, (const uint32_t[2]){0, 1}, scripts);
        run_until_step(1);
        sim_net_cut(seed % 2, !(seed % 2)); /* requests or answers */
        step = 2;
        run_until_step(3);
        sim_net_heal_all();
        step = 4;
        finish(2);
    }
}

static void put_through_a_reset(struct node *n)
{
    uint64_t words[3000];
    put_until_failure(n);
    EXPECT(mf_err_code() == SMEM_NOT_CONNECTED);
    EXPECT(n->deaths == 0 && n->up[1] != NULL);
    memset(words, 0x77, sizeof(words));
    EXPECT(put(n, 1, 0, words, sizeof(words), 1000) == SMEM_OK); /* by another connection */
    mf_thread_sleep_ns(50 * MS);
    EXPECT(is_at(&nodes[1], 0, words, sizeof(words)));
}

static void test_reset__the_copy_fails_and_the_next_has_another_connection(void **state)
{
    static void (*const scripts[2])(struct node * n) = {put_through_a_reset, idle};
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        start(seed, 2, (const uint32_t[2]){0, 1}, scripts);
        run_until_step(1);
        for (uint64_t i = 0; i < seed * 29 % 300; i++) {
            (void)sim_step();
        }
        while (failures == 0) {
            sim_net_reset(0, 1);
            (void)sim_step();
        }
        finish(2);
    }
}

/* ---- lives, and memory that runs out ---- */

static void come_as_another(struct node *n)
{
    EXPECT(attach(n, 1, 1000) == SMEM_OK);
    struct mf_transport_host again = n->host;
    void *tp;
    again.incarnation++;
    EXPECT(mf_direct_ops.open(&again, &tp) == SMEM_OK);
    const struct mf_peer peer = {1, nodes[1].host.incarnation, nodes[1].endpoint,
                                 nodes[1].endpoint_len};
    EXPECT(mf_direct_ops.attach(tp, &peer, POOL, sim_now() + 500 * MS) == SMEM_NOT_CONNECTED);
    EXPECT(strstr(mf_err_msg(), "another incarnation") != NULL);
    EXPECT(n->up[1] != NULL && nodes[1].up[0] != NULL); /* it has harmed nobody */
    mf_direct_ops.close(tp);
}

static void test_hello__of_another_life_is_refused_while_one_is_here(void **state)
{
    static void (*const scripts[2])(struct node * n) = {come_as_another, idle};
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        start(seed, 2, (const uint32_t[2]){0, (uint32_t)(seed % 2)}, scripts);
        finish(2);
    }
}

static void starve(struct node *n)
{
    uint64_t words[100];
    fill((uint8_t *)words, sizeof(words), 1);
    for (uint32_t skip = 0; skip < 12; skip++) {
        for (uint32_t rank = 1; rank < 3; rank++) {
            sim_proc_starve(n->proc, skip, 1);
            int rc = attach(n, rank, 1000);
            EXPECT(rc == SMEM_OK || mf_err_msg()[0] != '\0');
            rc = n->up[rank] ? put(n, rank, 0, words, sizeof(words), 1000) : rc;
            failures += rc != SMEM_OK;
            sim_proc_starve(n->proc, 0, 0);
            EXPECT(attach(n, rank, 1000) == SMEM_OK);
            EXPECT(put(n, rank, 0, words, sizeof(words), 1000) == SMEM_OK);
            EXPECT(mf_direct_ops.detach(n->tp, rank, nodes[rank].host.incarnation, POOL,
                                        MF_DETACH_LEFT) == SMEM_OK);
        }
    }
    EXPECT(failures > 3);
}

static void test_no_memory__is_an_error_and_the_next_call_works(void **state)
{
    static void (*const scripts[3])(struct node * n) = {starve, idle, idle};
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        start(seed, 3, (const uint32_t[3]){0, 0, 1}, scripts);
        finish(3);
    }
}

/* ---- everything at once ---- */

/* One random copy between two of: memory of this process, and any segment that is known. */
static void random_copy(struct node *n, void *lane, uint8_t *bytes, uint64_t room)
{
    struct mf_xfer v[3];
    uint32_t count = 1 + (uint32_t)sim_below(3);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t size = sim_chance(1, 2) ? 8 : 1 + sim_below(room);
        uint32_t a = (uint32_t)sim_below(RANKS), b = (uint32_t)sim_below(RANKS);
        struct mf_segment *src = a == n->rank ? &n->own : n->up[a];
        struct mf_segment *dst = b == n->rank ? &n->own : n->up[b];
        bool local = sim_chance(1, 2);
        src = local || a == b ? NULL : src;
        v[i] = (struct mf_xfer){.src_seg = src,
                                .dst_seg = dst,
                                .src = src ? gva_of(a) : (uint64_t)(uintptr_t)bytes,
                                .dst = dst ? gva_of(b) + SIZE / 2 : (uint64_t)(uintptr_t)bytes,
                                .size = size,
                                .status = MF_XFER_PENDING};
    }
    (void)mf_direct_ops.post(lane, v, count);
    uint64_t until = sim_now() + (5 + sim_below(300)) * MS;
    int rc = mf_direct_ops.wait(lane, until);
    EXPECT(sim_now() < until + 2000 * MS || sim_proc_stopped_ns(n->proc) > 0);
    int first = SMEM_OK;
    for (uint32_t i = 0; i < count; i++) {
        EXPECT(v[i].status <= 0);
        first = first ? first : v[i].status;
    }
    EXPECT((rc == SMEM_OK) == (first == SMEM_OK));
    failures += rc != SMEM_OK;
}

static void *copy_at_random(void *arg)
{
    struct node *n = arg;
    enum { ROOM = 12000 };
    void *lane;
    uint8_t *bytes = mf_alloc(ROOM, "bytes");
    EXPECT(bytes && mf_direct_ops.lane_open(n->tp, &lane) == SMEM_OK);
    memset(bytes, 1, ROOM);
    for (uint32_t i = 0; i < 60; i++) {
        if (sim_chance(1, 5)) {
            (void)attach(n, (n->rank + 1 + (uint32_t)sim_below(RANKS - 1)) % RANKS, 100);
        }
        random_copy(n, lane, bytes, ROOM);
        mf_thread_sleep_ns(sim_below(MS));
    }
    mf_direct_ops.lane_close(n->tp, lane);
    mf_free(bytes);
    return NULL;
}

static void load(struct node *n)
{
    pthread_t second;
    EXPECT(mf_thread_start(&second, "second", copy_at_random, n) == SMEM_OK);
    (void)copy_at_random(n);
    mf_thread_join(second);
}

static void misfortune(uint32_t *stopped)
{
    uint32_t rank = (uint32_t)sim_below(RANKS);
    uint32_t other = (uint32_t)sim_below(RANKS);
    switch (sim_below(6)) {
    case 0:
        sim_proc_kill(nodes[rank].proc);
        break;
    case 1:
        sim_proc_stop(nodes[rank].proc);
        *stopped |= 1u << rank;
        break;
    case 2:
        sim_net_cut(sim_proc_host(nodes[rank].proc), sim_proc_host(nodes[other].proc));
        break;
    case 3:
        sim_net_reset(sim_proc_host(nodes[rank].proc), sim_proc_host(nodes[other].proc));
        break;
    case 4:
        sim_proc_starve(nodes[rank].proc, (uint32_t)sim_below(20), 1);
        break;
    default:
        sim_net_heal_all();
        for (uint32_t i = 0; i < RANKS; i++) {
            if (*stopped & 1u << i) {
                sim_proc_continue(nodes[i].proc);
            }
        }
        *stopped = 0;
        break;
    }
}

static uint64_t everything(uint64_t seed)
{
    static const uint32_t hosts[2][RANKS] = {{0, 0, 1, 1}, {0, 1, 1, 2}};
    static void (*const scripts[RANKS])(struct node * n) = {load, load, load, load};
    uint32_t stopped = 0;
    start(seed, RANKS, hosts[seed % 2], scripts);
    host_flags = seed % 5 == 0 ? MF_HOST_PEERS_UNMAPPED : 0;
    uint64_t next = 500;
    for (uint32_t i = 0; i < 8;) {
        if (!sim_step()) {
            break;
        }
        if (sim_steps() >= next && nodes[0].open && nodes[1].open && nodes[2].open &&
            nodes[3].open) {
            misfortune(&stopped);
            next = sim_steps() + 50 + sim_below(1000);
            i++;
        }
    }
    sim_net_heal_all();
    for (uint32_t i = 0; i < RANKS; i++) {
        if (stopped & 1u << i) {
            sim_proc_continue(nodes[i].proc);
        }
        sim_proc_starve(nodes[i].proc, 0, 0);
    }
    return finish(RANKS);
}

static void test_mixed_load__with_everything_that_can_happen(void **state)
{
    uint64_t failed = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        uint64_t digest = everything(seed);
        failed += failures;
        if (seed % 50 == 0) {
            assert_int_equal(everything(seed), digest);
        }
    }
    assert_true(failed > SEEDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attach__both_sides_know_each_other_and_copy_in_all_directions),
        cmocka_unit_test(test_runs__are_the_same_for_the_same_seed),
        cmocka_unit_test(test_withdraw__waits_for_who_is_in_the_middle),
        cmocka_unit_test(test_detach__a_dead_life_is_refused_in_the_middle),
        cmocka_unit_test(test_owner_is_killed__the_copy_fails_and_its_host_hears_of_it),
        cmocka_unit_test(test_copier_is_killed__its_line_does_not_hold_the_owner),
        cmocka_unit_test(test_copier_is_stopped__withdraw_names_it_until_it_goes_on),
        cmocka_unit_test(test_owner_is_stopped__what_was_sent_is_unknown_until_the_next_answer),
        cmocka_unit_test(test_attach__ends_by_its_deadline_when_the_peer_is_stopped),
        cmocka_unit_test(test_cut__what_was_sent_is_unknown_and_later_copies_come_last),
        cmocka_unit_test(test_reset__the_copy_fails_and_the_next_has_another_connection),
        cmocka_unit_test(test_hello__of_another_life_is_refused_while_one_is_here),
        cmocka_unit_test(test_no_memory__is_an_error_and_the_next_call_works),
        cmocka_unit_test(test_mixed_load__with_everything_that_can_happen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
