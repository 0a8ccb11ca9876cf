// SPDX-License-Identifier: Apache-2.0
// The model network: order, pieces and windows of streams, how connections open and end, and what
// cuts, resets, kills and stops do to both ends. Every test runs over several seeds.
#include "mf_test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/thread.h"
#include "net.h"

#define SEEDS       12u
#define PORT        7000u
#define MS          1000000ull
#define S           1000000000ull
#define WINDOW_MIN  (64u * 1024u)
#define WINDOW_MAX  (256u * 1024u)
#define TOTAL       300000u
#define CLIENTS_MAX 300u

/* One end of a connection: sends `want` bytes of a known stream, checks what it gets. */
struct end {
    struct sim_sock *sock;
    bool mute;       /* does not read */
    bool shut_after; /* shuts down when all is sent */
    uint64_t want, sent, got, sends, reads, largest;
    uint64_t connected_ns, ended_ns; /* when; 0: not */
    bool eof, bad;
    int send_errno, recv_errno;
};

/* A process: a server with its accepted ends, or a client. */
struct node {
    struct sim_proc *proc;
    struct mf_loop *loop;
    struct sim_listener *listener;
    uint32_t to;
    uint16_t port;
    bool serves, quit;
    int listen_rc;
    uint32_t accepted;
    uint64_t began_ns;
    struct end ends[CLIENTS_MAX];
    uint32_t count; /* ends that a client connects */
    uint8_t buf[8192];
};

static uint8_t byte_at(uint64_t i)
{
    return (uint8_t)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

static void end_send(struct end *end)
{
    uint8_t buf[5000];
    while (end->sent < end->want && end->send_errno == 0) {
        uint64_t left = end->want - end->sent;
        size_t len = 1 + (size_t)sim_below(sizeof(buf));
        len = len < left ? len : (size_t)left;
        for (size_t i = 0; i < len; i++) {
            buf[i] = byte_at(end->sent + i);
        }
        ssize_t n = sim_sock_send(end->sock, buf, len);
        if (n < 0) {
            end->send_errno = errno == EAGAIN ? 0 : errno;
            return;
        }
        end->sent += (uint64_t)n;
        end->sends++;
    }
    if (end->shut_after && end->sent == end->want) {
        sim_sock_shutdown(end->sock);
    }
}

static void end_recv(struct end *end)
{
    uint8_t buf[8192];
    while (!end->mute && !end->eof && end->recv_errno == 0) {
        ssize_t n = sim_sock_recv(end->sock, buf, sizeof(buf));
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        for (ssize_t i = 0; i < n; i++) {
            end->bad |= buf[i] != byte_at(end->got + (uint64_t)i);
        }
        if (n > 0) {
            end->got += (uint64_t)n;
            end->reads++;
            end->largest = (uint64_t)n > end->largest ? (uint64_t)n : end->largest;
            continue;
        }
        end->ended_ns = sim_now();
        end->eof = n == 0;
        end->recv_errno = n < 0 ? errno : 0;
    }
}

static void on_ready(void *arg)
{
    struct end *end = arg;
    if (!end->sock) {
        return;
    }
    int connected = sim_sock_connected(end->sock);
    if (connected > 0 && end->connected_ns == 0) {
        end->connected_ns = sim_now();
    }
    if (connected >= 0) {
        end_send(end);
    }
    end_recv(end);
}

static void on_accept(void *arg, struct sim_sock *sock)
{
    struct node *node = arg;
    struct end *end = &node->ends[node->accepted++];
    end->sock = sock;
    sim_sock_serve(sock, node->loop, on_ready, end);
}

static void start_on_loop(void *arg)
{
    struct node *node = arg;
    node->began_ns = sim_now();
    if (node->serves) {
        node->listen_rc = sim_net_listen(node->loop, node->port, on_accept, node, &node->listener);
        node->port = node->listener ? sim_listener_port(node->listener) : node->port;
    }
    for (uint32_t i = 0; i < node->count; i++) {
        struct end *end = &node->ends[i];
        end->sock = sim_net_connect(node->loop, node->to, node->port, on_ready, end);
    }
}

static void close_end(struct end *end)
{
    sim_sock_close(end->sock);
    end->sock = NULL;
}

static void stop_on_loop(void *arg)
{
    struct node *node = arg;
    sim_net_unlisten(node->listener);
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        close_end(&node->ends[i]);
    }
}

static void node_main(void *arg)
{
    struct node *node = arg;
    if (mf_loop_create(sim_proc_env(sim_proc_self()), "net", &node->loop) != 0) {
        return;
    }
    mf_loop_call(node->loop, start_on_loop, node);
    while (!node->quit) {
        mf_thread_sleep_ns(MS);
    }
    mf_loop_call(node->loop, stop_on_loop, node);
    mf_loop_destroy(node->loop);
}

/* ---- a server on host 1, a client on host 2 ---------------------------------------------------
 */

static struct node *server, *client;
static struct end *there, *here; /* the first connection: the server's end and the client's */

static struct node *node_start(const char *name, uint32_t host, struct node *node)
{
    node->proc = sim_proc_start(name, host, node_main, node);
    return node;
}

static void setup(uint64_t seed)
{
    sim_open(&(struct sim_cfg){.seed = seed});
    sim_net_open();
    server = calloc(1, sizeof(*server));
    client = calloc(1, sizeof(*client));
    assert_true(server && client);
    *server = (struct node){.serves = true, .port = PORT};
    *client = (struct node){.to = 1, .port = PORT, .count = 1};
    there = &server->ends[0];
    here = &client->ends[0];
}

static void teardown(void)
{
    assert_null(sim_broken_oracle());
    sim_net_close();
    sim_close();
    free(server);
    free(client);
}

static void run_for(uint64_t ns)
{
    uint64_t until = sim_now() + ns;
    while (sim_now() < until && sim_step()) {
    }
}

/* The server first, so that somebody listens. */
static void start_server(void)
{
    node_start("server", 1, server);
    run_for(50 * MS);
    mf_assert_ok(server->listen_rc);
}

static void start_both(void)
{
    start_server();
    node_start("client", 2, client);
}

/* Both end in order: what they leave behind is a broken promise. */
static void end_both(void)
{
    server->quit = true;
    client->quit = true;
    run_for(S);
    assert_int_equal(sim_proc_state(server->proc), SIM_ENDED);
    assert_int_equal(sim_proc_state(client->proc), SIM_ENDED);
}

/* Have a function run on the loop of a node, from outside. */
struct call {
    struct sim_source source;
    void (*fn)(struct end *end);
    struct end *end;
    bool done;
};

static void call_run(void *arg)
{
    struct call *call = arg;
    call->fn(call->end);
    call->done = true;
}

static void act(struct node *node, void (*fn)(struct end *end), struct end *end)
{
    struct call call = {.fn = fn, .end = end};
    call.source = (struct sim_source){.fn = call_run, .arg = &call};
    sim_loop_raise(node->loop, &call.source);
    while (!call.done && sim_step()) {
    }
    assert_true(call.done);
}

static void act_recv(struct end *end)
{
    end->mute = false;
    end_recv(end);
}

/* ---- streams ----------------------------------------------------------------------------------
 */

static void test_sim_net__bytes_come_in_order_in_other_pieces(void **state)
{
    uint64_t sends = 0;
    uint64_t reads = 0;
    uint64_t largest = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        setup(seed);
        here->want = TOTAL;
        there->want = TOTAL / 2;
        start_both();
        run_for(200 * MS);
        assert_int_equal(there->got, TOTAL);
        assert_int_equal(here->got, TOTAL / 2);
        assert_false(there->bad || here->bad);
        assert_true(here->connected_ns > client->began_ns + 10000);
        sends += here->sends;
        reads += there->reads;
        largest = there->largest > largest ? there->largest : largest;
        end_both();
        teardown();
    }
    assert_int_not_equal(sends, reads);
    assert_true(largest > 5000); /* joined: no send was larger */
}

static void test_sim_net__a_full_window_holds_the_sender_up(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        setup(seed);
        here->want = TOTAL;
        there->mute = true;
        start_both();
        run_for(30 * S); /* acknowledged, though not read: nobody gives up */
        assert_in_range(here->sent, WINDOW_MIN, WINDOW_MAX);
        assert_int_equal(here->send_errno, 0);
        act(server, act_recv, there);
        run_for(100 * MS);
        assert_int_equal(here->sent, TOTAL);
        assert_int_equal(there->got, TOTAL);
        assert_false(there->bad);
        end_both();
        teardown();
    }
}

static void test_sim_net__a_half_closed_one_still_hears(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        setup(seed);
        here->want = 10000;
        here->shut_after = true;
        start_both();
        run_for(50 * MS);
        assert_int_equal(there->got, 10000);
        assert_true(there->eof);
        assert_false(here->eof);
        there->want = 5000;
        act(server, end_send, there);
        run_for(50 * MS);
        assert_int_equal(here->got, 5000);
        here->want += 1;
        act(client, end_send, here);
        assert_int_equal(here->send_errno, EPIPE);
        end_both();
        teardown();
    }
}

static void serve_again(struct end *end)
{
    sim_sock_serve(end->sock, server->loop, on_ready, end);
}

static void raise_and_serve_again(struct end *end)
{
    end->mute = false;
    serve_again(end); /* raised by what there is already */
    serve_again(end);
}

static void test_sim_net__a_socket_changes_hands(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        setup(seed);
        here->want = 2000;
        there->mute = true;
        start_both();
        run_for(50 * MS);
        act(server, raise_and_serve_again, there);
        run_for(50 * MS);
        assert_int_equal(there->got, 2000);
        end_both();
        teardown();
    }
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static void test_sim_net__refused_where_nobody_listens(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        setup(seed);
        client->port = PORT + 1;
        start_both();
        run_for(50 * MS);
        assert_int_equal(here->recv_errno, ECONNREFUSED);
        assert_int_equal(sim_sock_connected(here->sock), -1);
        assert_true(here->ended_ns >= client->began_ns + 10000); /* a way there and back */
        end_both();
        teardown();
    }
}

static void test_sim_net__a_port_belongs_to_a_process_until_it_ends(void **state)
{
    (void)state;
    for (int killed = 0; killed < 2; killed++) {
        struct node again = {.serves = true, .port = PORT};
        struct node other = {.serves = true, .port = PORT};
        struct node any = {.serves = true};
        setup(3);
        start_server();
        node_start("again", 1, &again);
        node_start("other", 2, &other);
        node_start("any", 1, &any);
        run_for(50 * MS);
        mf_assert_rc(again.listen_rc, SMEM_RES_IN_USE);
        mf_assert_ok(other.listen_rc); /* another host */
        mf_assert_ok(any.listen_rc);
        assert_true(any.port >= 32768);
        again.quit = true;
        if (killed) {
            sim_proc_kill(server->proc);
        } else {
            server->quit = true;
        }
        run_for(50 * MS);
        again.quit = false;
        node_start("again", 1, &again);
        run_for(50 * MS);
        mf_assert_ok(again.listen_rc);
        again.quit = other.quit = any.quit = true;
        run_for(50 * MS);
        teardown();
    }
}

static void test_sim_net__a_stopped_process_takes_connections_up_to_a_limit(void **state)
{
    (void)state;
    setup(5);
    client->count = CLIENTS_MAX;
    start_server();
    sim_proc_stop(server->proc);
    node_start("client", 2, client);
    run_for(500 * MS);
    uint32_t connected = 0;
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        connected += client->ends[i].connected_ns != 0;
    }
    assert_in_range(connected, 100, CLIENTS_MAX - 1);
    assert_int_equal(server->accepted, 0);
    sim_proc_continue(server->proc);
    run_for(3 * S);
    assert_int_equal(server->accepted, CLIENTS_MAX);
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        assert_true(client->ends[i].connected_ns != 0);
    }
    end_both();
    teardown();
}

static void test_sim_net__who_does_not_answer_is_given_up(void **state)
{
    (void)state;
    setup(6);
    client->count = CLIENTS_MAX;
    start_server();
    sim_proc_stop(server->proc);
    node_start("client", 2, client);
    run_for(25 * S);
    uint32_t late = 0;
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        late += client->ends[i].recv_errno == ETIMEDOUT;
        assert_true(client->ends[i].recv_errno == ETIMEDOUT || client->ends[i].connected_ns != 0);
    }
    assert_true(late > 0);
    sim_proc_continue(server->proc);
    end_both();
    teardown();
}

/* ---- ends -------------------------------------------------------------------------------------
 */

static void test_sim_net__closing_with_unread_bytes_resets(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        for (int unread = 0; unread < 2; unread++) {
            setup(seed);
            here->want = 1000;
            there->mute = unread;
            start_both();
            run_for(50 * MS);
            act(server, close_end, there);
            run_for(50 * MS);
            assert_int_equal(here->recv_errno, unread ? ECONNRESET : 0);
            assert_int_equal(here->eof, !unread);
            end_both();
            teardown();
        }
    }
}

static void test_sim_net__bytes_for_a_closed_end_are_answered_by_a_reset(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        setup(seed);
        start_both();
        run_for(50 * MS);
        act(server, close_end, there);
        run_for(50 * MS);
        assert_true(here->eof);
        here->want = 100;
        act(client, end_send, here); /* the first ones go out */
        assert_int_equal(here->send_errno, 0);
        run_for(50 * MS);
        here->want = 200;
        act(client, end_send, here);
        assert_int_equal(here->send_errno, ECONNRESET);
        end_both();
        teardown();
    }
}

static void test_sim_net__a_killed_process_closes_all(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        for (int unread = 0; unread < 2; unread++) {
            setup(seed);
            here->want = 1000;
            there->want = 1000;
            there->mute = unread;
            start_both();
            run_for(50 * MS);
            assert_ptr_equal(sim_sock_peer(here->sock), server->proc);
            assert_ptr_equal(sim_sock_peer(there->sock), client->proc);
            sim_proc_kill(server->proc);
            assert_null(sim_sock_peer(here->sock));
            run_for(50 * MS);
            assert_int_equal(here->got, 1000);
            assert_int_equal(here->recv_errno, unread ? ECONNRESET : 0);
            assert_int_equal(here->eof, !unread);
            client->quit = true;
            run_for(S);
            teardown();
        }
    }
}

static void test_sim_net__a_kill_at_any_moment_leaves_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10 * SEEDS; seed++) {
        setup(seed);
        client->count = 20;
        for (uint32_t i = 0; i < client->count; i++) {
            client->ends[i].want = 100000;
            server->ends[i].want = 100000;
        }
        start_both();
        run_for(sim_below(2 * MS));
        struct node *dies = seed % 2 ? server : client;
        struct node *stays = seed % 2 ? client : server;
        sim_proc_kill(dies->proc);
        run_for(2 * S);
        for (uint32_t i = 0; i < (stays == client ? 20 : server->accepted); i++) {
            assert_false(stays->ends[i].bad);
            assert_true(stays->ends[i].eof || stays->ends[i].recv_errno != 0);
        }
        stays->quit = true;
        run_for(S);
        assert_int_equal(sim_proc_state(stays->proc), SIM_ENDED);
        assert_false(sim_step()); /* nothing is under way */
        teardown();
    }
}

static void test_sim_net__a_stopped_process_is_served_by_its_kernel(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        setup(seed);
        here->want = TOTAL;
        start_server();
        sim_proc_stop(server->proc);
        node_start("client", 2, client);
        run_for(60 * S);
        assert_true(here->connected_ns != 0);
        assert_in_range(here->sent, WINDOW_MIN, WINDOW_MAX);
        assert_int_equal(here->send_errno, 0);
        assert_int_equal(there->got, 0);
        sim_proc_continue(server->proc);
        run_for(200 * MS);
        assert_int_equal(there->got, TOTAL);
        end_both();
        teardown();
    }
}

/* ---- misfortune -------------------------------------------------------------------------------
 */

static void test_sim_net__a_cut_holds_back_and_a_heal_lets_through(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        for (int way = 0; way < 2; way++) { /* the client's direction, the server's */
            setup(seed);
            start_both();
            run_for(50 * MS);
            sim_net_cut(way ? 1 : 2, way ? 2 : 1);
            here->want = 1000;
            there->want = 1000;
            act(client, end_send, here);
            act(server, end_send, there);
            run_for(10 * S);
            assert_int_equal(there->got, way ? 1000 : 0);
            assert_int_equal(here->got, way ? 0 : 1000);
            sim_net_heal(way ? 1 : 2, way ? 2 : 1);
            run_for(S);
            assert_int_equal(there->got, 1000);
            assert_int_equal(here->got, 1000);
            run_for(30 * S);
            assert_int_equal(here->recv_errno, 0);
            assert_int_equal(there->recv_errno, 0);
            end_both();
            teardown();
        }
    }
}

static void test_sim_net__a_long_cut_fails_both_ends(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        for (int way = 0; way < 2; way++) { /* no data gets there; no acknowledgment gets back */
            setup(seed);
            start_both();
            run_for(50 * MS);
            sim_net_cut(way ? 1 : 2, way ? 2 : 1);
            here->want = 1000;
            uint64_t began = sim_now();
            act(client, end_send, here);
            run_for(25 * S);
            assert_int_equal(here->recv_errno, ETIMEDOUT);
            assert_int_equal(there->recv_errno, ETIMEDOUT);
            assert_in_range(here->ended_ns, began + 20 * S, began + 21 * S);
            assert_int_equal(there->got, way ? 1000 : 0);
            end_both();
            teardown();
        }
    }
}

static void test_sim_net__an_idle_connection_outlives_a_cut(void **state)
{
    (void)state;
    setup(1);
    start_both();
    run_for(50 * MS);
    sim_net_cut(1, 2);
    sim_net_cut(2, 1);
    run_for(60 * S);
    sim_net_heal_all();
    here->want = 1000;
    act(client, end_send, here);
    run_for(S);
    assert_int_equal(there->got, 1000);
    end_both();
    teardown();
}

static void test_sim_net__connecting_over_a_cut(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        for (int healed = 0; healed < 2; healed++) {
            setup(9);
            start_server();
            sim_net_cut(way ? 1 : 2, way ? 2 : 1);
            node_start("client", 2, client);
            run_for(5 * S);
            assert_int_equal(here->connected_ns, 0);
            if (healed) {
                sim_net_heal_all();
            }
            run_for(17 * S);
            assert_int_equal(here->connected_ns != 0, healed);
            assert_int_equal(here->recv_errno, healed ? 0 : ETIMEDOUT);
            end_both();
            teardown();
        }
    }
}

static void test_sim_net__a_reset_strikes_both_ends(void **state)
{
    (void)state;
    setup(2);
    start_both();
    run_for(50 * MS);
    sim_net_reset(2, 3); /* not this one */
    run_for(50 * MS);
    assert_int_equal(here->recv_errno, 0);
    sim_net_reset(2, 1);
    run_for(50 * MS);
    assert_int_equal(here->recv_errno, ECONNRESET);
    assert_int_equal(there->recv_errno, ECONNRESET);
    here->want = 1;
    act(client, end_send, here); /* the error was told: now it is only not connected */
    assert_int_equal(here->send_errno, EPIPE);
    end_both();
    teardown();
}

static void test_sim_net__a_slow_path_takes_longer(void **state)
{
    uint64_t took[2];
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        setup(4);
        start_server();
        sim_net_slow(2, 1, slow ? 1000 : 1);
        node_start("client", 2, client);
        run_for(2 * S);
        assert_true(here->connected_ns != 0);
        took[slow] = here->connected_ns - client->began_ns;
        end_both();
        teardown();
    }
    assert_true(took[1] > 50 * took[0]);
}

/* ---- the rest ---------------------------------------------------------------------------------
 */

static void test_sim_net__addresses(void **state)
{
    char url[64];
    uint32_t host;
    (void)state;
    sim_net_url(515, 7001, url, sizeof(url));
    assert_string_equal(url, "tcp://10.0.2.3:7001");
    assert_true(sim_net_host_of("10.0.2.3", 9, &host));
    assert_int_equal(host, 515);
    assert_true(sim_net_host_of("127.0.0.1", 9, &host));
    assert_int_equal(host, 9);
    assert_false(sim_net_host_of("10.1.2.3", 9, &host));
    assert_false(sim_net_host_of("10.0.2.256", 9, &host));
    assert_false(sim_net_host_of("10.0.2.3x", 9, &host));
    assert_false(sim_net_host_of("::1", 9, &host));
}

static void test_sim_net__names_of_peers(void **state)
{
    char name[64];
    (void)state;
    setup(8);
    start_both();
    run_for(50 * MS);
    sim_sock_peer_name(here->sock, name, sizeof(name));
    assert_string_equal(name, "10.0.0.1:7000");
    sim_sock_peer_name(there->sock, name, sizeof(name));
    assert_memory_equal(name, "10.0.0.2:", 9);
    end_both();
    teardown();
}

static uint64_t digest_of(uint64_t seed)
{
    setup(seed);
    client->count = 10;
    for (uint32_t i = 0; i < client->count; i++) {
        client->ends[i].want = server->ends[i].want = 50000;
    }
    start_both();
    run_for(2 * MS);
    sim_net_cut(1, 2);
    run_for(50 * MS);
    sim_net_heal_all();
    run_for(S);
    end_both();
    uint64_t digest = sim_digest();
    teardown();
    return digest;
}

static void test_sim_net__the_same_seed_gives_the_same_history(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        uint64_t digest = digest_of(seed);
        free(malloc(1000 * (size_t)seed)); /* other addresses */
        assert_int_equal(digest, digest_of(seed));
        assert_int_not_equal(digest, digest_of(seed + 1000));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sim_net__bytes_come_in_order_in_other_pieces),
        cmocka_unit_test(test_sim_net__a_full_window_holds_the_sender_up),
        cmocka_unit_test(test_sim_net__a_half_closed_one_still_hears),
        cmocka_unit_test(test_sim_net__a_socket_changes_hands),
        cmocka_unit_test(test_sim_net__refused_where_nobody_listens),
        cmocka_unit_test(test_sim_net__a_port_belongs_to_a_process_until_it_ends),
        cmocka_unit_test(test_sim_net__a_stopped_process_takes_connections_up_to_a_limit),
        cmocka_unit_test(test_sim_net__who_does_not_answer_is_given_up),
        cmocka_unit_test(test_sim_net__closing_with_unread_bytes_resets),
        cmocka_unit_test(test_sim_net__bytes_for_a_closed_end_are_answered_by_a_reset),
        cmocka_unit_test(test_sim_net__a_killed_process_closes_all),
        cmocka_unit_test(test_sim_net__a_kill_at_any_moment_leaves_nothing),
        cmocka_unit_test(test_sim_net__a_stopped_process_is_served_by_its_kernel),
        cmocka_unit_test(test_sim_net__a_cut_holds_back_and_a_heal_lets_through),
        cmocka_unit_test(test_sim_net__a_long_cut_fails_both_ends),
        cmocka_unit_test(test_sim_net__an_idle_connection_outlives_a_cut),
        cmocka_unit_test(test_sim_net__connecting_over_a_cut),
        cmocka_unit_test(test_sim_net__a_reset_strikes_both_ends),
        cmocka_unit_test(test_sim_net__a_slow_path_takes_longer),
        cmocka_unit_test(test_sim_net__addresses),
        cmocka_unit_test(test_sim_net__names_of_peers),
        cmocka_unit_test(test_sim_net__the_same_seed_gives_the_same_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
