// SPDX-License-Identifier: Apache-2.0
// One rank of a replay. Its threads: the clients that live here, the service that answers this
// rank's mailboxes, and the main one, which watches the others. Ranks agree on the end through
// words in the pool: each tells its phase in its own part; rank 0 reads all, and writes its verdict
// into each rank's part before it leaves. So nobody needs rank 0's part at the end, and everybody
// learns of a failure, from rank 0 or from rank 0's silence.
#include "rank.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "args.h"
#include "out.h"
#include "fabric_bm.h"
#include "pause.h"
#include "report.h"
#include "workload.h"

#define GENERATED_REQUESTS 4000u
#define START_MS           60000u /* for all ranks to come */
#define LOOK_MS            20u    /* between two looks at the others */
#define PARTING_MS         2000u  /* for rank 0 to see a failure here */
#define RESERVATION_MS     2000u
#define BUSY_MS            200u

struct peer {
    uint64_t beat;
    uint64_t beat_ms; /* when it last changed */
    uint64_t done;
    bool finished;
};

struct rank_run {
    const struct replay_cfg *cfg;
    struct trace trace;
    struct fabric_bm bm;
    struct replay_world world;
    struct service service;
    struct client_cfg client_cfg;
    struct client *clients;
    pthread_t *threads;
    uint32_t client_count; /* that live here */
    uint32_t started;      /* threads of them */
    atomic_uint ended;
    struct peer *peers;
    uint64_t start_ns;
    struct replay_stats sum;
    double seconds;
};

/* ---- the trace and the pool's size ---------------------------------------------------------- */

int replay_load(const struct replay_cfg *cfg, struct trace *trace, char *error)
{
    if (cfg->trace_path) {
        return trace_load(trace, cfg->trace_path, cfg->requests, error);
    }
    trace_init(trace);
    workload_generate(trace, cfg->seed, cfg->requests ? cfg->requests : GENERATED_REQUESTS);
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

uint64_t replay_slots_needed(const struct trace *trace, uint32_t ranks)
{
    struct layout owners = {.ranks = ranks};
    uint64_t *sorted = cli_alloc(trace->id_count, sizeof(*sorted));
    uint64_t *counts = cli_alloc(ranks, sizeof(*counts));
    uint64_t most = 1;

    if (trace->id_count) {
        memcpy(sorted, trace->ids, trace->id_count * sizeof(*sorted));
        qsort(sorted, trace->id_count, sizeof(*sorted), compare_ids);
    }
    for (size_t i = 0; i < trace->id_count; i++) {
        if (i == 0 || sorted[i] != sorted[i - 1]) {
            uint64_t count = ++counts[layout_owner(&owners, sorted[i])];

            most = count > most ? count : most;
        }
    }
    free(counts);
    free(sorted);
    return most;
}

/* A number that ranks with other arguments or another trace do not have. */
static uint64_t digest_of(const struct rank_run *run)
{
    const struct layout *layout = &run->world.layout;
    uint64_t digest = hash_mix(layout->ranks);

    digest = hash_mix(digest ^ layout->clients);
    digest = hash_mix(digest ^ layout->block_bytes);
    digest = hash_mix(digest ^ layout->slots);
    digest = hash_mix(digest ^ run->cfg->capacity);
    digest = hash_mix(digest ^ run->trace.request_count);
    for (size_t i = 0; i < run->trace.id_count; i++) {
        digest = hash_mix(digest ^ run->trace.ids[i]);
    }
    return digest | 1;
}

/* ---- coming together ------------------------------------------------------------------------ */

static int open_world(struct rank_run *run)
{
    const struct replay_cfg *cfg = run->cfg;
    struct replay_world *world = &run->world;
    char error[FABRIC_ERROR_BYTES];
    uint64_t slots = cfg->capacity ? cfg->capacity / cfg->block_bytes / cfg->ranks
                                   : replay_slots_needed(&run->trace, cfg->ranks);
    struct fabric_bm_cfg bm_cfg = {
        .store_url = cfg->store_url, .rank = cfg->rank, .ranks = cfg->ranks, .op = cfg->op};

    if (slots > REPLAY_SLOTS_MAX) {
        return failure_report(&world->failure, "a rank holds at most %u blocks, not %llu",
                              REPLAY_SLOTS_MAX, (unsigned long long)slots);
    }
    layout_make(&world->layout, cfg->ranks, cfg->clients, cfg->block_bytes, slots);
    bm_cfg.bytes = world->layout.bytes;
    if (fabric_bm_open(&run->bm, &bm_cfg, error)) {
        return failure_report(&world->failure, "%s", error);
    }
    world->fabric = &run->bm.fabric;
    world->answer_ms = cfg->answer_ms;
    directory_init(&world->directory, &world->layout, world->fabric->own, RESERVATION_MS);
    if (service_start(&run->service, world)) {
        directory_fini(&world->directory);
        fabric_bm_close(&run->bm, false);
        return -1;
    }
    return 0;
}

static void close_world(struct rank_run *run)
{
    service_stop(&run->service);
    run->world.fabric = NULL;
    directory_fini(&run->world.directory);
    fabric_bm_close(&run->bm, !failure_is_set(&run->world.failure));
}

static void set_word(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static int wait_for_rank(struct rank_run *run, uint32_t rank, uint64_t digest, uint64_t until_ms)
{
    struct replay_world *world = &run->world;
    uint64_t ready = 0;

    for (;;) {
        int rc = fabric_get(world->fabric, &ready, rank, offsetof(struct rank_header, ready), 8);

        if (rc == 0 && ready == digest) {
            return 0;
        }
        if (rc == 0 && ready != 0) {
            return failure_report(&world->failure,
                                  "rank %u replays something else: all ranks need the same trace "
                                  "and the same arguments",
                                  rank);
        }
        if (now_ms() > until_ms) {
            return failure_report(&world->failure, "rank %u did not come within %u s: %s", rank,
                                  START_MS / 1000,
                                  rc ? world->fabric->ops->error(world->fabric)
                                     : "it has joined, but does not serve");
        }
        nap_ns(1000000);
    }
}

static int join_world(struct rank_run *run)
{
    struct replay_world *world = &run->world;
    uint64_t digest = digest_of(run);
    uint64_t until = now_ms() + START_MS;
    char error[FABRIC_ERROR_BYTES];

    set_word(&own_header(world)->phase, PHASE_RUNNING);
    if (fabric_bm_join(&run->bm, error)) {
        return failure_report(&world->failure, "%s", error);
    }
    /* Not before: a rank that has not joined can be asked, but cannot answer. */
    set_word(&own_header(world)->ready, digest);
    for (uint32_t rank = 0; rank < world->layout.ranks; rank++) {
        if (rank != run->cfg->rank && wait_for_rank(run, rank, digest, until)) {
            return -1;
        }
    }
    return 0;
}

/* ---- clients -------------------------------------------------------------------------------- */

struct client_thread {
    struct rank_run *run;
    struct client *client;
};

static void *client_main(void *arg)
{
    struct client_thread *thread = arg;

    pthread_setname_np(pthread_self(), "mf-client");
    client_run(thread->client);
    atomic_fetch_add(&thread->run->ended, 1);
    free(thread);
    return NULL;
}

static int start_clients(struct rank_run *run)
{
    const struct replay_cfg *cfg = run->cfg;

    run->client_cfg = (struct client_cfg){
        .trace = &run->trace, .touch = cfg->capacity != 0, .fault = cfg->fault, .busy_ms = BUSY_MS};
    run->client_count = cfg->clients / cfg->ranks + (cfg->rank < cfg->clients % cfg->ranks ? 1 : 0);
    run->clients = cli_alloc(run->client_count, sizeof(*run->clients));
    run->threads = cli_alloc(run->client_count, sizeof(*run->threads));
    for (uint32_t i = 0; i < run->client_count; i++) {
        client_init(&run->clients[i], &run->world, &run->client_cfg, cfg->rank + i * cfg->ranks);
    }
    run->start_ns = now_ns();
    for (; run->started < run->client_count; run->started++) {
        struct client_thread *thread = cli_alloc(1, sizeof(*thread));

        *thread = (struct client_thread){.run = run, .client = &run->clients[run->started]};
        if (pthread_create(&run->threads[run->started], NULL, client_main, thread)) {
            free(thread);
            return failure_report(&run->world.failure, "cannot start a thread for a client");
        }
    }
    return 0;
}

static uint64_t own_progress(const struct rank_run *run)
{
    uint64_t done = 0;

    for (uint32_t i = 0; i < run->client_count; i++) {
        done += atomic_load_explicit(&run->clients[i].done, memory_order_relaxed);
    }
    return done;
}

/* Joins the clients' threads and adds up what they have counted. */
static void collect_clients(struct rank_run *run)
{
    for (uint32_t i = 0; i < run->started; i++) {
        pthread_join(run->threads[i], NULL);
    }
    run->started = 0;
    memset(&run->sum, 0, sizeof(run->sum));
    for (uint32_t i = 0; i < run->client_count; i++) {
        stats_merge(&run->sum, &run->clients[i].stats);
    }
}

static void free_clients(struct rank_run *run)
{
    for (uint32_t i = 0; i < run->client_count; i++) {
        client_fini(&run->clients[i]);
    }
    free(run->clients);
    free(run->threads);
}

/* Writes this rank's statistics and phase into its part. */
static void tell_phase(struct rank_run *run, enum rank_phase phase)
{
    struct replay_world *world = &run->world;
    struct replay_stats *told =
        (struct replay_stats *)(void *)(world->fabric->own + world->layout.stats);

    memcpy(told, &run->sum, sizeof(*told));
    memcpy(told->text, world->failure.text, sizeof(told->text));
    set_word(&own_header(world)->phase, phase);
}

/* ---- watching the others -------------------------------------------------------------------- */

static int peer_failed(struct rank_run *run, uint32_t rank)
{
    struct replay_world *world = &run->world;
    char text[STATS_TEXT_BYTES] = "";

    if (fabric_get(world->fabric, text, rank,
                   world->layout.stats + offsetof(struct replay_stats, text), sizeof(text))) {
        return failure_report(&world->failure, "rank %u has failed", rank);
    }
    text[sizeof(text) - 1] = '\0';
    return failure_report(&world->failure, "rank %u has failed: %s", rank, text);
}

static uint64_t own_verdict(const struct rank_run *run)
{
    return __atomic_load_n(&own_header(&run->world)->verdict, __ATOMIC_ACQUIRE);
}

/* Looks at the words of another rank. @return 0, or -1 after a report */
static int look_at(struct rank_run *run, uint32_t rank)
{
    struct replay_world *world = &run->world;
    struct peer *peer = &run->peers[rank];
    uint64_t words[4];
    uint64_t now = now_ms();

    if (fabric_get(world->fabric, words, rank, 0, sizeof(words))) {
        /* A rank 0 that has left has told its verdict before. */
        return own_verdict(run) ? 0
                                : failure_report(&world->failure, "rank %u: %s", rank,
                                                 world->fabric->ops->error(world->fabric));
    }
    if (words[1] == PHASE_FAILED) {
        return peer_failed(run, rank);
    }
    peer->finished = words[1] == PHASE_DONE;
    peer->done = words[3];
    if (words[2] != peer->beat || peer->beat_ms == 0) {
        peer->beat = words[2];
        peer->beat_ms = now;
    } else if (now - peer->beat_ms > world->answer_ms) {
        return failure_report(&world->failure, "rank %u has shown no life for %g s", rank,
                              (double)world->answer_ms / 1000);
    }
    return 0;
}

/* Marks this rank done as soon as its clients are. */
static bool own_is_done(struct rank_run *run, bool *told)
{
    set_word(&own_header(&run->world)->done, own_progress(run));
    if (!*told && atomic_load(&run->ended) == run->client_count) {
        collect_clients(run);
        *told = !failure_is_set(&run->world.failure);
        if (*told) {
            tell_phase(run, PHASE_DONE);
        }
    }
    return *told;
}

/* Adds up what all ranks have counted. Directories count in their headers, as long as any client in
 * the world works. */
static int gather(struct rank_run *run)
{
    struct replay_world *world = &run->world;
    struct replay_stats *stats = cli_alloc(1, sizeof(*stats));
    int rc = 0;

    for (uint32_t rank = 0; rank < world->layout.ranks && rc == 0; rank++) {
        struct rank_header header;

        if (fabric_get(world->fabric, stats, rank, world->layout.stats, sizeof(*stats)) ||
            fabric_get(world->fabric, &header, rank, 0, sizeof(header))) {
            rc = failure_report(&world->failure, "result of rank %u: %s", rank,
                                world->fabric->ops->error(world->fabric));
            break;
        }
        if (rank > 0) {
            stats_merge(&run->sum, stats);
        }
        run->sum.evictions += header.evictions;
        run->sum.expired += header.expired;
    }
    free(stats);
    return rc;
}

/* Tells every rank that can be reached how the run ended. */
static void give_verdict(struct rank_run *run)
{
    struct replay_world *world = &run->world;
    uint64_t verdict = failure_is_set(&world->failure) ? VERDICT_FAILED : VERDICT_GOOD;

    for (uint32_t rank = 1; rank < world->layout.ranks; rank++) {
        if (verdict == VERDICT_FAILED &&
            fabric_put(world->fabric, rank, offsetof(struct rank_header, reason),
                       world->failure.text, LAYOUT_REASON)) {
            continue;
        }
        if (fabric_put(world->fabric, rank, offsetof(struct rank_header, verdict), &verdict, 8)) {
            failure_report(&world->failure, "rank %u: %s", rank,
                           world->fabric->ops->error(world->fabric));
        }
    }
}

/* Rank 0: until all ranks are done, or one has failed. */
static void lead(struct rank_run *run)
{
    struct out_progress bar;
    bool told = false;

    out_progress_init(&bar, "replay", run->trace.request_count, run->cfg->json);
    while (!failure_is_set(&run->world.failure)) {
        uint64_t done = own_progress(run);
        bool all = own_is_done(run, &told);

        for (uint32_t rank = 1; rank < run->world.layout.ranks; rank++) {
            if (look_at(run, rank)) {
                all = false;
                break;
            }
            done += run->peers[rank].done;
            all = all && run->peers[rank].finished;
        }
        out_progress_show(&bar, done);
        if (all) {
            run->seconds = (double)(now_ns() - run->start_ns) / 1e9;
            gather(run);
            break;
        }
        nap_ns((uint64_t)LOOK_MS * 1000000 / 4);
    }
    out_progress_fini(&bar);
    give_verdict(run);
}

/* After a failure here: rank 0 shall see it before this rank is gone. */
static void wait_for_parting(struct rank_run *run)
{
    uint64_t until = now_ms() + PARTING_MS;

    while (own_verdict(run) == VERDICT_NONE && now_ms() < until) {
        nap_ns((uint64_t)LOOK_MS * 1000000);
    }
}

/* Other ranks: until rank 0 gives its verdict, or is gone. */
static void follow(struct rank_run *run)
{
    bool told = false;
    struct rank_header *header = own_header(&run->world);
    uint64_t verdict = VERDICT_NONE;

    while (!failure_is_set(&run->world.failure)) {
        own_is_done(run, &told);
        verdict = own_verdict(run);
        if (verdict == VERDICT_GOOD) {
            return;
        }
        if (verdict == VERDICT_FAILED) {
            header->reason[LAYOUT_REASON - 1] = '\0';
            failure_report(&run->world.failure, "rank 0 ended the run: %s", header->reason);
            return;
        }
        look_at(run, 0);
        nap_ns((uint64_t)LOOK_MS * 1000000);
    }
    tell_phase(run, PHASE_FAILED);
    wait_for_parting(run);
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int tell_failure(const struct rank_run *run)
{
    fprintf(stderr,
            "mfcli replay: rank %u: %s (until then %llu blocks were checked here, %llu wrong "
            "bytes)\n",
            run->cfg->rank, run->world.failure.text, (unsigned long long)run->sum.hits,
            (unsigned long long)run->sum.wrong_bytes);
    return CLI_FAILURE;
}

static int tell_result(struct rank_run *run)
{
    bool failed = failure_is_set(&run->world.failure);
    struct replay_result result = {.cfg = run->cfg, .seconds = run->seconds};

    if (run->cfg->rank == 0) {
        result.sum = run->sum;
        result.error = failed ? run->world.failure.text : NULL;
        report_print(&result);
    }
    if (failed) {
        return tell_failure(run);
    }
    if (run->sum.wrong_bytes && run->cfg->rank == 0) {
        fprintf(stderr, "mfcli replay: %llu bytes that were got are wrong\n",
                (unsigned long long)run->sum.wrong_bytes);
    }
    return run->sum.wrong_bytes ? CLI_FAILURE : CLI_OK;
}

static void replay(struct rank_run *run)
{
    if (start_clients(run) == 0) {
        if (run->cfg->rank == 0) {
            lead(run);
        } else {
            follow(run);
        }
    }
    if (run->seconds == 0) {
        run->seconds = (double)(now_ns() - run->start_ns) / 1e9;
    }
    if (failure_is_set(&run->world.failure)) {
        collect_clients(run);
    }
    free_clients(run);
}

int replay_rank(const struct replay_cfg *cfg)
{
    struct rank_run *run = cli_alloc(1, sizeof(*run));
    char error[TRACE_ERROR_BYTES];
    int result = CLI_FAILURE;

    run->cfg = cfg;
    failure_init(&run->world.failure);
    atomic_init(&run->ended, 0);
    run->peers = cli_alloc(cfg->ranks, sizeof(*run->peers));
    if (replay_load(cfg, &run->trace, error)) {
        failure_report(&run->world.failure, "%s", error);
        result = tell_failure(run);
    } else if (open_world(run)) {
        result = tell_failure(run);
    } else {
        if (join_world(run) == 0) {
            replay(run);
        }
        result = tell_result(run);
        close_world(run);
    }
    trace_fini(&run->trace);
    failure_fini(&run->world.failure);
    free(run->peers);
    free(run);
    return result;
}
