// SPDX-License-Identifier: Apache-2.0
// Clients, mailboxes and owners together, over a fabric in this process: every byte is right and
// the hits are those that a simple count gives; with several clients, bounded pools, dead and
// silent ranks, and wrong bytes put on purpose.
#include <stdlib.h>

#include "alloc.h"
#include "fake_fabric.h"
#include "mf_test.h"
#include "replay/client.h"
#include "replay/pause.h"
#include "replay/workload.h"

#define BLOCK       512u
#define PATIENCE_MS 20000u /* with a put of somebody else; longer than a loaded machine stalls */

struct cluster_cfg {
    uint32_t ranks, clients;
    uint64_t slots; /* of each rank */
    bool touch;
    enum replay_fault fault;
    uint32_t without_service; /* a rank that serves nobody, or UINT32_MAX */
};

struct cluster {
    struct cluster_cfg cfg;
    struct trace trace;
    struct fake_pool pool;
    struct replay_world worlds[FAKE_RANKS_MAX];
    struct service services[FAKE_RANKS_MAX];
    struct client_cfg client_cfg;
    struct client *clients;
    struct replay_stats sum;
    uint64_t evictions;
};

static void open_rank(struct cluster *c, uint32_t rank)
{
    struct replay_world *world = &c->worlds[rank];

    memset(world, 0, sizeof(*world));
    failure_init(&world->failure);
    world->fabric = &c->pool.ends[rank].fabric;
    world->answer_ms = 300;
    layout_make(&world->layout, c->cfg.ranks, c->cfg.clients, BLOCK, c->cfg.slots);
    directory_init(&world->directory, &world->layout, world->fabric->own, PATIENCE_MS);
    if (rank != c->cfg.without_service) {
        assert_int_equal(service_start(&c->services[rank], world), 0);
    }
}

static void open_cluster(struct cluster *c, struct cluster_cfg cfg)
{
    struct layout layout;

    c->cfg = cfg;
    memset(&c->sum, 0, sizeof(c->sum));
    layout_make(&layout, cfg.ranks, cfg.clients, BLOCK, cfg.slots);
    fake_pool_init(&c->pool, cfg.ranks, layout.bytes);
    for (uint32_t rank = 0; rank < cfg.ranks; rank++) {
        open_rank(c, rank);
    }
    c->client_cfg = (struct client_cfg){
        .trace = &c->trace, .touch = cfg.touch, .fault = cfg.fault, .busy_ms = PATIENCE_MS};
    c->clients = cli_alloc(cfg.clients, sizeof(*c->clients));
    for (uint32_t i = 0; i < cfg.clients; i++) {
        client_init(&c->clients[i], &c->worlds[i % cfg.ranks], &c->client_cfg, i);
    }
}

static void close_cluster(struct cluster *c)
{
    c->evictions = 0;
    for (uint32_t i = 0; i < c->cfg.clients; i++) {
        stats_merge(&c->sum, &c->clients[i].stats);
        client_fini(&c->clients[i]);
    }
    for (uint32_t rank = 0; rank < c->cfg.ranks; rank++) {
        if (rank != c->cfg.without_service) {
            service_stop(&c->services[rank]);
        }
        c->evictions += c->worlds[rank].directory.header->evictions;
        directory_fini(&c->worlds[rank].directory);
        failure_fini(&c->worlds[rank].failure);
    }
    free(c->clients);
    fake_pool_fini(&c->pool);
}

static void *run_client(void *arg)
{
    return client_run(arg) ? arg : NULL;
}

/* Runs all clients, each on a thread. @return how many failed */
static uint32_t run_clients(struct cluster *c)
{
    pthread_t *threads = cli_alloc(c->cfg.clients, sizeof(*threads));
    uint32_t failed = 0;

    for (uint32_t i = 0; i < c->cfg.clients; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_client, &c->clients[i]), 0);
    }
    for (uint32_t i = 0; i < c->cfg.clients; i++) {
        void *result = NULL;

        pthread_join(threads[i], &result);
        failed += result != NULL;
    }
    free(threads);
    return failed;
}

/* The trace, its hits counted in the plainest way. */
static uint64_t count_hits(const struct trace *trace)
{
    unsigned char *seen = cli_alloc(1u << 16, 1);
    uint64_t hits = 0;

    for (size_t i = 0; i < trace->id_count; i++) {
        hits += seen[trace->ids[i]];
        seen[trace->ids[i]] = 1;
    }
    free(seen);
    return hits;
}

static void part_of_workload(struct trace *trace, uint64_t seed, uint64_t requests)
{
    trace_init(trace);
    workload_generate(trace, seed, requests);
}

static void test_client_run__hits_are_those_of_a_count(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct cluster c;
        uint32_t ranks = 1 + (uint32_t)(seed % 4);

        part_of_workload(&c.trace, seed, 20 + hash_mix(seed) % 60);
        open_cluster(
            &c, (struct cluster_cfg){
                    .ranks = ranks, .clients = 1, .slots = 2000, .without_service = UINT32_MAX});
        assert_int_equal(run_clients(&c), 0);
        close_cluster(&c);
        assert_int_equal(c.sum.requests, c.trace.request_count);
        assert_int_equal(c.sum.blocks, c.trace.id_count);
        assert_int_equal(c.sum.hits, count_hits(&c.trace));
        assert_int_equal(c.sum.puts, c.trace.id_count - c.sum.hits);
        assert_int_equal(c.sum.got_bytes, c.sum.hits * BLOCK);
        assert_int_equal(c.sum.wrong_bytes, 0);
        assert_int_equal(c.sum.lost + c.sum.unput + c.evictions, 0);
        trace_fini(&c.trace);
    }
}

static void test_client_run__takes_repeated_blocks_and_long_requests(void **state)
{
    struct cluster c;

    (void)state;
    trace_init(&c.trace);
    trace_add_request(&c.trace);
    for (uint64_t i = 0; i < 700; i++) {
        trace_add_id(&c.trace, i % 600);
    }
    trace_add_request(&c.trace);
    trace_add_id(&c.trace, 5);
    trace_add_id(&c.trace, 5);
    trace_add_id(&c.trace, 60000);
    trace_add_id(&c.trace, 60000);
    trace_add_request(&c.trace);
    open_cluster(&c, (struct cluster_cfg){
                         .ranks = 3, .clients = 1, .slots = 700, .without_service = UINT32_MAX});
    assert_int_equal(run_clients(&c), 0);
    close_cluster(&c);
    assert_int_equal(c.sum.requests, 3);
    assert_int_equal(c.sum.hits, 100 + 3);
    assert_int_equal(c.sum.puts, 601);
    assert_int_equal(c.sum.wrong_bytes, 0);
    trace_fini(&c.trace);
}

static void test_client_run__several_clients_agree(void **state)
{
    (void)state;
    for (uint32_t clients = 2; clients <= 8; clients += 3) {
        struct cluster c;

        part_of_workload(&c.trace, clients, 400);
        open_cluster(
            &c, (struct cluster_cfg){
                    .ranks = 4, .clients = clients, .slots = 6000, .without_service = UINT32_MAX});
        assert_int_equal(run_clients(&c), 0);
        close_cluster(&c);
        assert_int_equal(c.sum.requests, c.trace.request_count);
        assert_int_equal(c.sum.blocks, c.trace.id_count);
        assert_int_equal(c.sum.wrong_bytes, 0);
        assert_int_equal(c.sum.hits + c.sum.puts + c.sum.unput, c.sum.blocks);
        /* Each block is put once; who wanted it at the same time has waited for it. */
        assert_in_range(c.sum.hits, count_hits(&c.trace) - c.sum.unput, count_hits(&c.trace));
        trace_fini(&c.trace);
    }
}

/* A rank's blocks as a list in the order of use, newest last. */
struct lru {
    uint64_t *ids;
    uint64_t count, room;
};

static bool lru_use(struct lru *lru, uint64_t id, bool insert)
{
    uint64_t at = 0;

    while (at < lru->count && lru->ids[at] != id) {
        at++;
    }
    if (at == lru->count && !insert) {
        return false;
    }
    if (at < lru->count || lru->count == lru->room) {
        at = at < lru->count ? at : 0;
        memmove(lru->ids + at, lru->ids + at + 1, (lru->count - at - 1) * sizeof(*lru->ids));
        lru->count--;
    }
    lru->ids[lru->count++] = id;
    return true;
}

/* What a bounded pool does: of each request first the uses of what is there, then the new ones. */
static uint64_t count_bounded_hits(const struct trace *trace, const struct layout *layout)
{
    struct lru lrus[FAKE_RANKS_MAX];
    uint64_t hits = 0;

    for (uint32_t rank = 0; rank < layout->ranks; rank++) {
        lrus[rank] = (struct lru){.room = layout->slots};
        lrus[rank].ids = cli_alloc(layout->slots, sizeof(uint64_t));
    }
    for (size_t i = 0; i < trace->request_count; i++) {
        const uint64_t *ids = trace->ids + trace->requests[i].first;
        bool there[MAIL_ITEMS];

        for (uint32_t j = 0; j < trace->requests[i].count; j++) {
            there[j] = lru_use(&lrus[layout_owner(layout, ids[j])], ids[j], false);
            hits += there[j];
        }
        for (uint32_t j = 0; j < trace->requests[i].count; j++) {
            if (!there[j]) {
                lru_use(&lrus[layout_owner(layout, ids[j])], ids[j], true);
            }
        }
    }
    for (uint32_t rank = 0; rank < layout->ranks; rank++) {
        free(lrus[rank].ids);
    }
    return hits;
}

static void test_client_run__bounded_pool_keeps_what_was_used_last(void **state)
{
    (void)state;
    for (uint64_t slots = 150; slots <= 600; slots += 150) {
        struct cluster c;
        uint64_t expected = 0;

        part_of_workload(&c.trace, slots, 150);
        open_cluster(&c, (struct cluster_cfg){.ranks = 3,
                                              .clients = 1,
                                              .slots = slots,
                                              .touch = true,
                                              .without_service = UINT32_MAX});
        expected = count_bounded_hits(&c.trace, &c.worlds[0].layout);
        assert_int_equal(run_clients(&c), 0);
        close_cluster(&c);
        assert_int_equal(c.sum.hits, expected);
        assert_int_equal(c.sum.wrong_bytes, 0);
        assert_int_equal(c.sum.hits + c.sum.puts, c.sum.blocks);
        assert_true(c.evictions > 0);
        trace_fini(&c.trace);
    }
}

static void test_client_run__small_pools_and_many_clients_lose_no_bytes(void **state)
{
    static const uint64_t slots[] = {1, 7, 40};

    (void)state;
    for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
        struct cluster c;

        part_of_workload(&c.trace, i, 120);
        open_cluster(&c, (struct cluster_cfg){.ranks = 3,
                                              .clients = 6,
                                              .slots = slots[i],
                                              .touch = true,
                                              .without_service = UINT32_MAX});
        assert_int_equal(run_clients(&c), 0);
        close_cluster(&c);
        assert_int_equal(c.sum.blocks, c.trace.id_count);
        assert_int_equal(c.sum.hits + c.sum.puts + c.sum.unput, c.sum.blocks);
        assert_int_equal(c.sum.wrong_bytes, 0);
        trace_fini(&c.trace);
    }
}

/* Evicts everything while the client copies, once. */
struct evictor {
    struct cluster *cluster;
    uint32_t batches; /* until it strikes */
};

static void evict_all(void *arg, uint32_t count)
{
    struct evictor *evictor = arg;
    struct cluster *c = evictor->cluster;

    (void)count;
    if (evictor->batches == 0 || --evictor->batches) {
        return;
    }
    for (uint32_t rank = 0; rank < c->cfg.ranks; rank++) {
        for (uint64_t i = 0; i < c->cfg.slots; i++) {
            struct mail_item item = {.id = (1u << 30) + i, .op = MAIL_WANT};
            struct mail_result result;

            directory_serve(&c->worlds[rank].directory, &item, 1, now_ms(), &result);
            assert_int_equal(result.status, MAIL_RESERVED);
            memset(c->pool.parts[rank] + layout_block(&c->worlds[rank].layout, result.slot), 0x77,
                   BLOCK);
        }
    }
}

static void test_client_request__block_evicted_under_the_copy_is_a_miss(void **state)
{
    struct cluster c;
    const uint64_t ids[] = {1, 2, 3, 4, 5};
    /* Batches of the second request: the look-up, then the blocks, then their entries again. */
    struct evictor evictor = {.cluster = &c, .batches = 0};

    (void)state;
    trace_init(&c.trace);
    open_cluster(
        &c,
        (struct cluster_cfg){
            .ranks = 2, .clients = 1, .slots = 50, .touch = true, .without_service = UINT32_MAX});
    c.pool.after_get_batch = evict_all;
    c.pool.arg = &evictor;
    assert_int_equal(client_request(&c.clients[0], ids, 5), 0);
    assert_int_equal(client_request(&c.clients[0], ids, 5), 0);
    assert_int_equal(c.clients[0].stats.hits, 5);
    evictor.batches = 1;
    assert_int_equal(client_request(&c.clients[0], ids, 5), 0);
    assert_int_equal(c.clients[0].stats.hits, 5);
    assert_int_equal(c.clients[0].stats.lost, 5);
    assert_int_equal(c.clients[0].stats.wrong_bytes, 0);
    close_cluster(&c);
    trace_fini(&c.trace);
}

static void test_client_request__waits_for_somebody_elses_put(void **state)
{
    struct cluster c;
    const uint64_t id = 3;
    struct mail_item item = {.id = id, .op = MAIL_WANT};
    struct mail_result result;
    uint64_t start = 0;

    (void)state;
    trace_init(&c.trace);
    open_cluster(&c, (struct cluster_cfg){
                         .ranks = 1, .clients = 1, .slots = 8, .without_service = UINT32_MAX});
    c.client_cfg.busy_ms = 50;
    directory_serve(&c.worlds[0].directory, &item, 1, now_ms(), &result);
    assert_int_equal(result.status, MAIL_RESERVED);
    /* Its holder is dead: the wait is bounded, the block is computed and not put. */
    start = now_ms();
    assert_int_equal(client_request(&c.clients[0], &id, 1), 0);
    assert_in_range(now_ms() - start, 50, PATIENCE_MS / 2);
    assert_int_equal(c.clients[0].stats.hits, 0);
    assert_int_equal(c.clients[0].stats.unput, 1);
    /* Once the reservation has expired, the next one puts it. */
    c.worlds[0].directory.reservation_ms = 100;
    nap_ns(200000000);
    assert_int_equal(client_request(&c.clients[0], &id, 1), 0);
    assert_int_equal(c.clients[0].stats.puts, 1);
    assert_int_equal(client_request(&c.clients[0], &id, 1), 0);
    assert_int_equal(c.clients[0].stats.hits, 1);
    close_cluster(&c);
    trace_fini(&c.trace);
}

static void test_client_run__wrong_bytes_are_counted(void **state)
{
    struct cluster c;

    (void)state;
    part_of_workload(&c.trace, 3, 30);
    open_cluster(&c, (struct cluster_cfg){.ranks = 2,
                                          .clients = 1,
                                          .slots = 1000,
                                          .fault = FAULT_FLIP,
                                          .without_service = UINT32_MAX});
    assert_int_equal(run_clients(&c), 0);
    close_cluster(&c);
    assert_true(c.sum.hits > 50);
    assert_int_equal(c.sum.wrong_bytes, c.sum.hits);
    trace_fini(&c.trace);
}

static void test_client_run__dead_rank_ends_it_with_its_number(void **state)
{
    struct cluster c;

    (void)state;
    part_of_workload(&c.trace, 3, 50);
    open_cluster(&c, (struct cluster_cfg){
                         .ranks = 3, .clients = 1, .slots = 1000, .without_service = UINT32_MAX});
    atomic_store(&c.pool.dead[2], true);
    assert_int_equal(run_clients(&c), 1);
    assert_non_null(strstr(c.worlds[0].failure.text, "cannot be reached"));
    close_cluster(&c);
    assert_int_equal(c.sum.wrong_bytes, 0);
    trace_fini(&c.trace);
}

static void test_client_run__silent_rank_ends_it_with_its_number(void **state)
{
    struct cluster c;
    uint64_t start = now_ms();

    (void)state;
    part_of_workload(&c.trace, 3, 50);
    open_cluster(
        &c, (struct cluster_cfg){.ranks = 3, .clients = 1, .slots = 1000, .without_service = 1});
    assert_int_equal(run_clients(&c), 1);
    assert_in_range(now_ms() - start, 300, 5000);
    assert_string_equal(c.worlds[0].failure.text, "rank 1 did not answer within 0.3 s");
    close_cluster(&c);
    trace_fini(&c.trace);
}

static void test_service__survives_rubbish_in_a_mailbox(void **state)
{
    struct cluster c;
    struct service *service = NULL;
    struct mail_request *request = NULL;
    uint64_t number = 1;

    (void)state;
    trace_init(&c.trace);
    open_cluster(&c,
                 (struct cluster_cfg){.ranks = 2, .clients = 2, .slots = 8, .without_service = 0});
    service = &c.services[0];
    service_init(service, &c.worlds[0]);
    assert_false(service_step(service));
    request =
        (struct mail_request *)(void *)(c.pool.parts[0] + layout_request(&c.worlds[0].layout, 1));
    request->count = UINT64_MAX;
    assert_int_equal(
        fabric_put(c.worlds[1].fabric, 0, layout_doorbell(&c.worlds[0].layout, 1), &number, 8), 0);
    assert_true(service_step(service));
    assert_false(service_step(service));
    assert_int_equal(c.worlds[0].directory.free_count, 8);
    /* A client that cannot be answered any more is not tried for ever. */
    atomic_store(&c.pool.dead[1], true);
    *(uint64_t *)(void *)(c.pool.parts[0] + layout_doorbell(&c.worlds[0].layout, 1)) = 2;
    assert_true(service_step(service));
    assert_string_equal(c.worlds[0].failure.text,
                        "answer to client 1 of rank 1: cannot be reached");
    *(uint64_t *)(void *)(c.pool.parts[0] + layout_doorbell(&c.worlds[0].layout, 1)) = 3;
    assert_false(service_step(service));
    service_fini(service);
    close_cluster(&c);
    trace_fini(&c.trace);
}

static void test_failure_report__keeps_the_first(void **state)
{
    struct failure failure;

    (void)state;
    failure_init(&failure);
    assert_false(failure_is_set(&failure));
    assert_int_equal(failure_report(&failure, "first %d", 1), -1);
    assert_int_equal(failure_report(&failure, "second"), -1);
    assert_true(failure_is_set(&failure));
    assert_string_equal(failure.text, "first 1");
    failure_fini(&failure);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_run__hits_are_those_of_a_count),
        cmocka_unit_test(test_client_run__takes_repeated_blocks_and_long_requests),
        cmocka_unit_test(test_client_run__several_clients_agree),
        cmocka_unit_test(test_client_run__bounded_pool_keeps_what_was_used_last),
        cmocka_unit_test(test_client_run__small_pools_and_many_clients_lose_no_bytes),
        cmocka_unit_test(test_client_request__block_evicted_under_the_copy_is_a_miss),
        cmocka_unit_test(test_client_request__waits_for_somebody_elses_put),
        cmocka_unit_test(test_client_run__wrong_bytes_are_counted),
        cmocka_unit_test(test_client_run__dead_rank_ends_it_with_its_number),
        cmocka_unit_test(test_client_run__silent_rank_ends_it_with_its_number),
        cmocka_unit_test(test_service__survives_rubbish_in_a_mailbox),
        cmocka_unit_test(test_failure_report__keeps_the_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
