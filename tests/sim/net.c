// SPDX-License-Identifier: Apache-2.0
// The model network as a whole: the paths between hosts with their delays, addresses, and the
// misfortune that strikes them. Connections are in net_dir.c, net_sock.c and net_listen.c.
#include "net_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define BASE_MIN_NS  5000u
#define BASE_MAX_NS  100000u
#define LOCAL_MIN_NS 3000u
#define LOCAL_MAX_NS 10000u
#define BYTES_SHIFT  3 /* 8 bytes take 1 ns */
/* After a cut, what was lost is sent again some time later, at most so late. */
#define RESEND_MAX_NS 400000000ull

struct net sim_net;

void *net_alloc(size_t bytes)
{
    void *p = calloc(1, bytes);
    if (!p) {
        fprintf(stderr, "the simulation: no memory for the model network\n");
        abort();
    }
    return p;
}

void sim_net_open(void)
{
    MF_ASSERT(!sim_net.conns && !sim_net.listeners && !sim_net.paths);
    sim_net = (struct net){.conns_made = 0};
}

void sim_net_close(void)
{
    while (sim_net.conns) {
        net_conn_free(sim_net.conns);
    }
    while (sim_net.listeners) {
        net_listener_free(sim_net.listeners);
    }
    for (struct net_path *p = sim_net.paths, *next; p; p = next) {
        next = p->next;
        sim_net.buckets[(p->from * 31 + p->to) % NET_PATH_BUCKETS] = NULL;
        free(p);
    }
    sim_net.paths = sim_net.paths_last = NULL;
}

/* ---- addresses --------------------------------------------------------------------------------
 */

void sim_net_url(uint32_t host, uint16_t port, char *out, size_t len)
{
    snprintf(out, len, "tcp://10.0.%u.%u:%u", host >> 8, host & 0xff, port);
}

bool sim_net_host_of(const char *address, uint32_t self, uint32_t *host)
{
    unsigned a = 0;
    unsigned b = 0;
    char more;
    *host = self;
    if (strncmp(address, "127.", 4) == 0) {
        return true;
    }
    if (sscanf(address, "10.0.%3u.%3u%c", &a, &b, &more) != 2 || a > 255 || b > 255) {
        return false;
    }
    *host = a << 8 | b;
    return true;
}

/* ---- paths ------------------------------------------------------------------------------------
 */

static struct net_path *path_find(uint32_t from, uint32_t to)
{
    struct net_path *path = sim_net.buckets[(from * 31 + to) % NET_PATH_BUCKETS];
    while (path && (path->from != from || path->to != to)) {
        path = path->same;
    }
    return path;
}

static void path_add(uint32_t from, uint32_t to, uint64_t base_ns)
{
    struct net_path **bucket = &sim_net.buckets[(from * 31 + to) % NET_PATH_BUCKETS];
    struct net_path *path = net_alloc(sizeof(*path));
    *path =
        (struct net_path){.from = from, .to = to, .slow = 1, .base_ns = base_ns, .same = *bucket};
    *bucket = path;
    if (sim_net.paths_last) {
        sim_net.paths_last->next = path;
    } else {
        sim_net.paths = path;
    }
    sim_net.paths_last = path;
}

struct net_path *net_path_get(uint32_t from, uint32_t to)
{
    struct net_path *path = path_find(from, to);
    if (path) {
        return path;
    }
    uint64_t min = from == to ? LOCAL_MIN_NS : BASE_MIN_NS;
    uint64_t base = min + sim_below((from == to ? LOCAL_MAX_NS : BASE_MAX_NS) - min);
    path_add(from, to, base);
    if (from != to) {
        path_add(to, from, base);
    }
    return path_find(from, to);
}

uint64_t net_path_delay(const struct net_path *path, uint64_t bytes)
{
    uint64_t r = sim_random();
    uint64_t delay = path->base_ns + (bytes >> BYTES_SHIFT) + (r >> 32) % (1 + path->base_ns / 2);
    if ((r & 63) == 0) {
        delay += sim_below(300000); /* something else was in its way */
    }
    if ((r & 0xfff) == 0) {
        delay += sim_below(5000000);
    }
    return delay * path->slow;
}

/* ---- misfortune -------------------------------------------------------------------------------
 */

void sim_net_cut(uint32_t a, uint32_t b)
{
    struct net_path *path = net_path_get(a, b);
    if (path->cut || a == b) {
        return;
    }
    path->cut = true;
    path->cut_ns = sim_now();
    sim_say("cut: nothing gets from host %u to host %u", a, b);
    for (struct net_conn *c = sim_net.conns; c; c = c->next) {
        for (struct net_dir *dir = c->dir; dir < c->dir + 2; dir++) {
            if (dir->path != path && dir->back != path) {
                continue;
            }
            if (dir->unacked_ns == 0 && net_dir_has_unacked(dir)) {
                dir->unacked_ns = sim_now();
            }
            net_dir_arm(dir);
        }
    }
}

/* What waited is sent again a little later; what comes behind it waits for it anyway. */
static void resume(struct net_dir *dir, uint64_t at_ns)
{
    if (dir->hand && dir->hand_ns < at_ns) {
        dir->hand_ns = at_ns;
    } else if (dir->flying && dir->flying->due_ns < at_ns) {
        dir->flying->due_ns = at_ns;
    } else if (dir->fin && !dir->fin_arrived && dir->fin_ns < at_ns) {
        dir->fin_ns = at_ns;
    } else if (dir->rst && dir->rst_ns < at_ns) {
        dir->rst_ns = at_ns;
    }
    if (dir->last_due_ns < at_ns) {
        dir->last_due_ns = at_ns;
    }
}

static void path_heal(struct net_path *path)
{
    if (!path->cut) {
        return;
    }
    uint64_t now = sim_now();
    uint64_t lasted = now - path->cut_ns;
    path->cut = false;
    sim_say("healed: from host %u to host %u", path->from, path->to);
    for (struct net_conn *c = sim_net.conns; c; c = c->next) {
        for (struct net_dir *dir = c->dir; dir < c->dir + 2; dir++) {
            if (dir->path != path && dir->back != path) {
                continue;
            }
            if (!dir->path->cut && !dir->back->cut) {
                dir->unacked_ns = 0;
            }
            uint64_t later = now + net_path_delay(path, 0);
            later += sim_below(1 + (lasted < RESEND_MAX_NS ? lasted : RESEND_MAX_NS));
            if (dir->path == path) {
                resume(dir, later);
            }
            if (dir->back == path && dir->credit > 0) {
                dir->credit_ns = later;
            }
            net_dir_arm(dir);
        }
    }
}

void sim_net_heal(uint32_t a, uint32_t b)
{
    path_heal(net_path_get(a, b));
}

void sim_net_heal_all(void)
{
    for (struct net_path *path = sim_net.paths; path; path = path->next) {
        path_heal(path);
    }
}

void sim_net_reset(uint32_t a, uint32_t b)
{
    struct net_conn *next;
    sim_say("reset: the connections between host %u and host %u", a, b);
    for (struct net_conn *c = sim_net.conns; c; c = next) {
        next = c->next;
        if ((c->host[0] == a && c->host[1] == b) || (c->host[0] == b && c->host[1] == a)) {
            c->held++;
            net_conn_fail(c, ECONNRESET);
            c->held--;
            net_conn_put(c);
        }
    }
}

void sim_net_slow(uint32_t a, uint32_t b, uint32_t factor)
{
    net_path_get(a, b)->slow = factor > 0 ? factor : 1;
}
