// SPDX-License-Identifier: Apache-2.0
// The real clients and the real server of the store over the model network: what a session promises
// while hosts are cut off, processes are stopped and killed, and the store itself dies and comes
// back.
#include "mf_test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/thread.h"
#include "net.h"
#include "seen.h"
#include "store/collective.h"
#include "store/store.h"
#include "wire/record.h"

#define SEEDS      8u
#define MS         1000000ull
#define S          1000000000ull
#define URL        "tcp://10.0.0.0:7000"
#define SESSION_MS 1000u
#define SETTLE_MS  200u
#define RANKS      8u
#define EVENTS_MAX 256u

/* ---- what the oracle is told ------------------------------------------------------------------
 */

static struct {
    uint64_t owner[RANKS];
    uint32_t changes;
} seen;

void seen_owner(uint32_t rank, uint64_t incarnation)
{
    assert_true(rank < RANKS);
    seen.owner[rank] = incarnation;
    seen.changes++;
}

/* ---- a process with a server ------------------------------------------------------------------
 */

struct server {
    struct sim_proc *proc;
    struct mf_store_server *server; /* borrowed while it runs */
    const char *url;
    bool quit;
    int rc;
    char sentence[256], real_url[96];
    uint32_t broken, broken_rank;
    bool look;
    struct mf_store_server_status status;
};

static void on_broken(void *arg, uint64_t session, uint32_t rank)
{
    struct server *s = arg;
    (void)session;
    s->broken++;
    s->broken_rank = rank;
}

static void server_main(void *arg)
{
    struct server *s = arg;
    const struct mf_env *env = sim_proc_env(sim_proc_self());
    s->rc = mf_store_server_create(env, s->url, SETTLE_MS, &s->server);
    if (s->rc != SMEM_OK) {
        snprintf(s->sentence, sizeof(s->sentence), "%s", mf_err_msg());
        return;
    }
    snprintf(s->real_url, sizeof(s->real_url), "%s", mf_store_server_url(s->server));
    mf_store_server_set_broken_fn(s->server, on_broken, s);
    while (!s->quit) {
        mf_thread_sleep_ns(MS);
        if (s->look) {
            mf_store_server_get_status(s->server, &s->status);
            s->look = false;
        }
    }
    mf_store_server_destroy(s->server);
}

static void server_start(struct server *s, const char *url, uint32_t host)
{
    *s = (struct server){.url = url, .broken_rank = 99};
    s->proc = sim_proc_start("store", host, server_main, s);
}

/* ---- a process with a client: runs a script ---------------------------------------------------
 */

struct client {
    struct sim_proc *proc;
    struct mf_loop *loop;
    struct mf_store *store;
    uint64_t session;
    void (*script)(struct client *c);
    const char *url;
    const struct client *other;
    uint32_t rank, stage;
    int rc;
    bool quit, ended, lost, expired;
    uint32_t oks;
    char sentence[512];
    char events[EVENTS_MAX]; /* of a watch: a letter each */
    uint32_t event_count;
    uint64_t at_ns; /* when something happened */
};

static uint64_t in(uint64_t ns)
{
    return sim_now() + ns;
}

static void on_session(void *arg, enum mf_session_state state, const char *why)
{
    struct client *c = arg;
    (void)why;
    c->lost = state == MF_SESSION_LOST;
    c->expired |= state == MF_SESSION_EXPIRED;
    c->oks += state == MF_SESSION_OK;
    if (state != MF_SESSION_OK) {
        c->at_ns = sim_now();
    }
}

/* True when `rc` is good; keeps the sentence otherwise. */
static bool good(struct client *c, int rc)
{
    c->rc = rc;
    if (rc != SMEM_OK) {
        snprintf(c->sentence, sizeof(c->sentence), "%s", mf_err_msg());
    }
    return rc == SMEM_OK;
}

static void wait_stage(struct client *c, uint32_t stage)
{
    while (c->stage < stage && !c->quit) {
        mf_thread_sleep_ns(MS);
    }
}

static void client_main(void *arg)
{
    struct client *c = arg;
    const struct mf_env *env = sim_proc_env(sim_proc_self());
    struct mf_store_cfg cfg = {.env = env,
                               .session_id = c->session,
                               .session_ms = SESSION_MS,
                               .request_ms = 5000,
                               .on_session = on_session,
                               .on_session_arg = c};
    if (!good(c, mf_loop_create(env, "client", &c->loop))) {
        return;
    }
    cfg.loop = c->loop;
    if (good(c, mf_store_open(&cfg, c->url ? c->url : URL, in(10 * S), &c->store))) {
        c->script(c);
        mf_store_close(c->store, in(S));
    }
    mf_loop_destroy(c->loop);
    c->ended = true;
}

static void client_start(struct client *c, uint64_t session, uint32_t host,
                         void (*script)(struct client *c))
{
    c->session = session;
    c->script = script;
    c->proc = sim_proc_start("client", host, client_main, c);
}

static void idle(struct client *c)
{
    while (!c->quit) {
        mf_thread_sleep_ns(MS);
    }
}

/* An ephemeral key of its own; then waits. */
static void hold_key(struct client *c)
{
    if (good(c, mf_store_set(c->store, "held", "x", 1, MF_STORE_EPHEMERAL, in(5 * S)))) {
        c->stage = 1;
        idle(c);
    }
}

static void claim(struct client *c, uint64_t timeout_ns)
{
    uint8_t record[MF_RECORD_MAX];
    struct mf_rec_identity who = {.incarnation = c->session, .pid = 7, .world_size = RANKS};
    size_t len = mf_rec_put_identity(record, &who);
    void *other = NULL;
    size_t other_len;
    if (good(c, mf_store_rank_claim(c->store, "world/", RANKS, c->rank, record, len, in(timeout_ns),
                                    &c->rank, &other, &other_len))) {
        c->stage = 1;
    }
    mf_free(other);
}

static void claim_and_hold(struct client *c)
{
    claim(c, 5 * S);
    c->at_ns = sim_now();
    idle(c);
}

/* ---- the frame --------------------------------------------------------------------------------
 */

static struct server *server, *second;
static struct client *a, *b;

static void setup(uint64_t seed)
{
    memset(&seen, 0, sizeof(seen));
    sim_open(&(struct sim_cfg){.seed = seed});
    sim_net_open();
    server = calloc(1, sizeof(*server));
    second = calloc(1, sizeof(*second));
    a = calloc(1, sizeof(*a));
    b = calloc(1, sizeof(*b));
    assert_true(server && second && a && b);
}

static void run_for(uint64_t ns)
{
    uint64_t until = sim_now() + ns;
    while (sim_now() < until && sim_step()) {
    }
}

/* Everything ends in order, and nothing is left. */
static void teardown(void)
{
    a->quit = b->quit = true;
    run_for(5 * S);
    server->quit = second->quit = true;
    run_for(S);
    while (sim_step()) {
    }
    if (sim_broken_oracle()) {
        fail_msg("%s: %s", sim_broken_oracle(), sim_broken_text());
    }
    sim_net_close();
    sim_close();
    free(server);
    free(second);
    free(a);
    free(b);
}

static void start_server(void)
{
    server_start(server, URL, 0);
    run_for(50 * MS);
    mf_assert_ok(server->rc);
}

static void look(struct server *s)
{
    s->look = true;
    run_for(50 * MS);
    assert_false(s->look);
}

/* ---- operations -------------------------------------------------------------------------------
 */

static void on_event(void *arg, const struct mf_watch_event *event)
{
    static const char letters[] = {[MF_WATCH_SYNC_BEGIN] = '[',
                                   [MF_WATCH_PUT] = '+',
                                   [MF_WATCH_DELETE] = '-',
                                   [MF_WATCH_SYNC_END] = ']',
                                   [MF_WATCH_LOST] = '?'};
    struct client *c = arg;
    assert_true(c->event_count + 3 < EVENTS_MAX);
    c->events[c->event_count++] = letters[event->kind];
    if (event->kind == MF_WATCH_PUT) {
        c->events[c->event_count++] = ((const char *)event->value)[0];
    }
    if (event->kind == MF_WATCH_DELETE && event->expired) {
        c->events[c->event_count++] = '!';
    }
}

static void watch_keys(struct client *c)
{
    uint32_t id;
    if (good(c, c->store->ops->watch(c->store, "k/", on_event, c, &id))) {
        c->stage = 1;
        idle(c);
        good(c, c->store->ops->unwatch(c->store, id));
    }
}

static void write_keys(struct client *c)
{
    char *value;
    size_t len;
    int64_t number;
    if (good(c, mf_store_set(c->store, "k/1", "a", 1, 0, in(5 * S))) &&
        good(c, mf_store_set(c->store, "k/2", "b", 1, MF_STORE_EPHEMERAL, in(5 * S))) &&
        good(c, mf_store_set(c->store, "other", "z", 1, 0, in(5 * S))) &&
        good(c, mf_store_set(c->store, "k/1", "c", 1, 0, in(5 * S))) &&
        good(c, mf_store_remove(c->store, "k/1", in(5 * S))) &&
        good(c, mf_store_add(c->store, "n", 5, in(5 * S), &number)) &&
        good(c, mf_store_get(c->store, "k/2", 0, in(5 * S), (void **)&value, &len))) {
        c->stage = number == 5 && len == 1 && value[0] == 'b';
        mf_free(value);
    }
}

static void test_sim_store__requests_are_answered_and_watchers_told(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        setup(seed);
        start_server();
        client_start(a, 1, 1, watch_keys);
        run_for(S);
        assert_int_equal(a->stage, 1);
        client_start(b, 2, 2, write_keys);
        run_for(2 * S);
        mf_assert_ok(b->rc);
        assert_int_equal(b->stage, 1);
        assert_true(b->ended); /* and its ephemeral key with it, by its wish */
        assert_string_equal(a->events, "[]+a+b+c--");
        look(server);
        assert_int_equal(server->status.sessions, 1);
        assert_int_equal(server->status.watches, 1);
        assert_string_equal(server->status.url, URL);
        assert_int_equal(server->broken, 0);
        teardown();
    }
}

/* A value many times as long as a window. */
static void carry_much(struct client *c)
{
    size_t len = MF_VALUE_MAX;
    uint8_t *out = malloc(len);
    uint8_t *back = NULL;
    size_t got = 0;
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)(i * 11 + (i >> 9));
    }
    if (good(c, mf_store_set(c->store, "much", out, len, 0, in(5 * S))) &&
        good(c, mf_store_get(c->store, "much", 0, in(5 * S), (void **)&back, &got))) {
        c->stage = got == len && memcmp(out, back, len) == 0;
    }
    mf_free(back);
    free(out);
}

static void test_sim_store__large_values_pass_small_windows(void **state)
{
    (void)state;
    setup(3);
    start_server();
    client_start(a, 1, 1, carry_much);
    run_for(5 * S);
    mf_assert_ok(a->rc);
    assert_int_equal(a->stage, 1);
    teardown();
}

static void test_sim_store__nobody_serves(void **state)
{
    (void)state;
    setup(1);
    client_start(a, 1, 1, idle);
    run_for(11 * S);
    assert_true(a->ended);
    mf_assert_rc(a->rc, SMEM_NOT_CONNECTED);
    assert_non_null(strstr(a->sentence, "Connection refused"));
    client_start(b, 1, 1, idle);
    b->url = "tcp://10.1.0.0:7000";
    run_for(11 * S);
    assert_non_null(strstr(b->sentence, "Network is unreachable"));
    teardown();
}

static void test_sim_store__where_a_server_can_be(void **state)
{
    (void)state;
    setup(1);
    start_server();
    server_start(second, URL, 0);
    run_for(50 * MS);
    mf_assert_rc(second->rc, SMEM_RES_IN_USE);
    assert_non_null(strstr(second->sentence, "Address already in use"));
    server_start(second, URL, 1); /* that is not its address */
    run_for(50 * MS);
    mf_assert_rc(second->rc, SMEM_INVALID_PARAM);
    server_start(second, "tcp://127.0.0.1:0", 5);
    run_for(50 * MS);
    mf_assert_ok(second->rc);
    assert_memory_equal(second->real_url, "tcp://127.0.0.1:", 16);
    assert_true(strtol(second->real_url + 16, NULL, 10) >= 32768);
    teardown();
}

/* ---- sessions ---------------------------------------------------------------------------------
 */

enum strike { CUT, CUT_ONE_WAY, STOP, KILL, RESET, STRIKES };

static void strike(enum strike what, struct client *c, uint32_t host)
{
    switch (what) {
    case CUT:
        sim_net_cut(0, host);
        sim_net_cut(host, 0);
        break;
    case CUT_ONE_WAY:
        sim_net_cut(host, 0);
        break;
    case STOP:
        sim_proc_stop(c->proc);
        break;
    case KILL:
        sim_proc_kill(c->proc);
        break;
    default:
        sim_net_reset(host, 0);
        break;
    }
}

/* Each ends the session in its time, the server says so, and who lives learns it. */
static void test_sim_store__a_session_ends_in_time(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        for (enum strike what = CUT; what < STRIKES; what++) {
            setup(seed);
            start_server();
            client_start(a, 1, 1, claim_and_hold);
            a->rank = 3;
            run_for(S);
            assert_int_equal(a->stage, 1);
            assert_int_equal(seen.owner[3], 1);
            strike(what, a, 1);
            uint64_t struck = sim_now();
            while (seen.owner[3] != 0 && sim_now() < struck + 3 * S && sim_step()) {
            }
            bool at_once = what == KILL || what == RESET;
            assert_int_equal(seen.owner[3], 0);
            assert_in_range(sim_now() - struck, at_once ? 0 : 500 * MS,
                            at_once ? 50 * MS : SESSION_MS * MS + 100 * MS);
            run_for(50 * MS);
            assert_int_equal(server->broken, 1);
            assert_int_equal(server->broken_rank, 3);
            sim_net_heal_all();
            sim_proc_continue(a->proc);
            run_for(3 * S);
            assert_int_equal(a->expired, what != KILL);
            teardown();
        }
    }
}

static void test_sim_store__a_short_cut_costs_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        setup(seed);
        start_server();
        client_start(a, 1, 1, hold_key);
        run_for(S);
        strike(CUT, a, 1);
        run_for(200 * MS);
        sim_net_heal_all();
        run_for(3 * S);
        assert_false(a->expired || a->lost);
        look(server);
        assert_int_equal(server->status.keys, 1);
        teardown();
    }
}

static void test_sim_store__a_stopped_server_expires_nobody(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        setup(seed);
        start_server();
        client_start(a, 1, 1, claim_and_hold);
        run_for(S);
        sim_proc_stop(server->proc);
        run_for(5 * S);
        sim_proc_continue(server->proc);
        run_for(3 * S);
        assert_int_equal(seen.owner[0], a->expired ? 0 : 1);
        look(server);
        assert_int_equal(server->status.sessions, a->expired ? 0 : 1);
        teardown();
    }
}

/* ---- a store that dies ------------------------------------------------------------------------
 */

static void test_sim_store__a_restarted_one_recovers(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        setup(seed);
        start_server();
        client_start(a, 1, 1, claim_and_hold);
        a->rank = 5;
        run_for(S);
        assert_int_equal(a->stage, 1);
        sim_proc_kill(server->proc);
        run_for(500 * MS);
        assert_true(a->lost);
        memset(&seen, 0, sizeof(seen));
        server_start(server, URL, 0);
        client_start(b, 2, 2, claim_and_hold); /* wants the rank of the one that comes back */
        b->rank = 5;
        run_for(150 * MS);
        look(server);
        assert_true(server->status.recovering);
        assert_int_equal(seen.owner[5], 1);
        run_for(3 * S);
        assert_false(a->lost || a->expired);
        assert_int_equal(a->oks, 2); /* opened, and again with the same session */
        look(server);
        assert_false(server->status.recovering);
        assert_int_equal(server->status.sessions, 2);
        run_for(5 * S);
        mf_assert_rc(b->rc, SMEM_DUPLICATED);
        assert_int_equal(seen.owner[5], 1);
        assert_int_equal(seen.changes, 1);
        teardown();
    }
}

/* It had a session in the store's former life, but not the rank: that does not make it an owner. */
static void test_sim_store__who_waits_for_a_rank_waits_for_its_owner(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        setup(seed);
        start_server();
        client_start(a, 1, 1, claim_and_hold);
        a->rank = 5;
        run_for(S);
        client_start(b, 2, 2, claim_and_hold);
        b->rank = 5;
        run_for(S);
        sim_proc_kill(server->proc);
        strike(CUT, a, 1); /* the owner comes back last */
        server_start(server, URL, 0);
        run_for(500 * MS);
        assert_int_equal(b->oks, 2);
        sim_net_heal_all();
        run_for(5 * S);
        assert_false(a->lost || a->expired);
        assert_int_equal(seen.owner[5], 1);
        assert_int_equal(seen.changes, 2); /* claimed, and announced */
        mf_assert_rc(b->rc, SMEM_DUPLICATED);
        teardown();
    }
}

static void move_over(struct client *c)
{
    if (good(c, mf_store_set(c->store, "mine", "x", 1, MF_STORE_EPHEMERAL, in(5 * S)))) {
        c->stage = 1;
        wait_stage(c, 2);
        good(c, c->store->ops->set_url(c->store, "tcp://10.0.0.9:7000", true));
        idle(c);
    }
}

static void test_sim_store__a_client_moves_to_another_url(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        setup(seed);
        start_server();
        server_start(second, "tcp://10.0.0.9:7000", 9);
        client_start(a, 1, 1, move_over);
        run_for(S);
        assert_int_equal(a->stage, 1);
        a->stage = 2;
        run_for(S);
        mf_assert_ok(a->rc);
        look(second);
        assert_int_equal(second->status.sessions, 1);
        assert_int_equal(second->status.keys, 1);
        look(server);
        assert_int_equal(server->status.connections, 0);
        assert_false(a->expired);
        teardown();
    }
}

static void set_bad_urls(struct client *c)
{
    c->stage = !good(c, c->store->ops->set_url(c->store, "tcp://10.0.0.9:0", true)) &&
               strstr(c->sentence, "port 0") != NULL &&
               !good(c, c->store->ops->set_url(c->store, "udp://10.0.0.9:1", true));
}

static void test_sim_store__refuses_urls_that_lead_nowhere(void **state)
{
    (void)state;
    setup(1);
    start_server();
    client_start(a, 1, 1, set_bad_urls);
    run_for(S);
    assert_true(a->ended);
    assert_int_equal(a->stage, 1);
    mf_assert_rc(a->rc, SMEM_INVALID_PARAM);
    teardown();
}

/* ---- ranks ------------------------------------------------------------------------------------
 */

static void test_sim_store__a_rank_has_one_owner(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        setup(seed);
        start_server();
        client_start(a, 1, 1, claim_and_hold);
        client_start(b, 2, 2, claim_and_hold);
        a->rank = b->rank = 2;
        run_for(2 * S);
        assert_int_equal(a->stage + b->stage, 1); /* one of them */
        struct client *first = a->stage ? a : b;
        struct client *next = a->stage ? b : a;
        assert_int_equal(seen.owner[2], first->session);
        sim_proc_kill(first->proc); /* the other one still waits for the rank */
        run_for(2 * S);
        assert_int_equal(next->stage, 1);
        assert_int_equal(seen.owner[2], next->session);
        assert_int_equal(seen.changes, 3); /* the first one, nobody, the next one */
        next->quit = true;
        run_for(S);
        assert_int_equal(seen.owner[2], 0);
        teardown();
    }
}

static void test_sim_store__a_wanted_rank_stays_taken(void **state)
{
    (void)state;
    setup(2);
    start_server();
    client_start(a, 1, 1, claim_and_hold);
    run_for(S);
    client_start(b, 2, 2, claim_and_hold); /* rank 0 as well */
    run_for(7 * S);
    mf_assert_rc(b->rc, SMEM_DUPLICATED);
    assert_int_equal(seen.owner[0], 1);
    assert_int_equal(seen.changes, 1);
    teardown();
}

/* ---- no memory, and the same history twice ----------------------------------------------------
 */

/* Each allocation of the beginning fails once: it works, or it is undone with a sentence. */
static void test_sim_store__a_failed_allocation_leaves_nothing(void **state)
{
    uint32_t failures = 0;
    (void)state;
    for (uint32_t n = 0; n < 40; n++) {
        setup(7);
        server_start(server, URL, 0);
        sim_proc_starve(server->proc, n, 1);
        client_start(a, 1, 1, hold_key);
        sim_proc_starve(a->proc, n, 1);
        run_for(12 * S);
        failures += server->rc != SMEM_OK;
        assert_true(server->rc == SMEM_OK || server->sentence[0] != '\0');
        assert_true(a->rc == SMEM_OK || a->sentence[0] != '\0');
        teardown();
    }
    assert_true(failures >= 3);
}

static uint64_t digest_of(uint64_t seed)
{
    setup(seed);
    start_server();
    client_start(a, 1, 1, claim_and_hold);
    client_start(b, 2, 2, claim_and_hold);
    a->rank = b->rank = MF_RANK_AUTO;
    run_for(sim_below(S));
    strike((enum strike)sim_below(STRIKES), a, 1);
    run_for(2 * S);
    sim_net_heal_all();
    sim_proc_continue(a->proc);
    sim_proc_kill(server->proc);
    server_start(server, URL, 0);
    run_for(2 * S);
    uint64_t digest = sim_digest();
    teardown();
    return digest;
}

static void test_sim_store__the_same_seed_gives_the_same_history(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2 * SEEDS; seed++) {
        uint64_t digest = digest_of(seed);
        assert_int_equal(digest, digest_of(seed));
        assert_int_not_equal(digest, digest_of(seed + 1000));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sim_store__requests_are_answered_and_watchers_told),
        cmocka_unit_test(test_sim_store__large_values_pass_small_windows),
        cmocka_unit_test(test_sim_store__nobody_serves),
        cmocka_unit_test(test_sim_store__where_a_server_can_be),
        cmocka_unit_test(test_sim_store__a_session_ends_in_time),
        cmocka_unit_test(test_sim_store__a_short_cut_costs_nothing),
        cmocka_unit_test(test_sim_store__a_stopped_server_expires_nobody),
        cmocka_unit_test(test_sim_store__a_restarted_one_recovers),
        cmocka_unit_test(test_sim_store__who_waits_for_a_rank_waits_for_its_owner),
        cmocka_unit_test(test_sim_store__a_client_moves_to_another_url),
        cmocka_unit_test(test_sim_store__refuses_urls_that_lead_nowhere),
        cmocka_unit_test(test_sim_store__a_rank_has_one_owner),
        cmocka_unit_test(test_sim_store__a_wanted_rank_stays_taken),
        cmocka_unit_test(test_sim_store__a_failed_allocation_leaves_nothing),
        cmocka_unit_test(test_sim_store__the_same_seed_gives_the_same_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
