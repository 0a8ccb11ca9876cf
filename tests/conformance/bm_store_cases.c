// SPDX-License-Identifier: Apache-2.0
// Cases of the BM suite: the config store goes to another port while ranks copy, join and leave.
#include "conformance/bm_suite.h"

#include <pthread.h>
#include <stdlib.h>

#include "smem_config_store_api.h"

static char bytes[65536], back[65536];

/* Copies that never fail, until told. */
struct copier {
    struct bm_rank *r;
    pthread_t thread;
    _Atomic uint32_t stop, count;
};

static void *copy_main(void *arg)
{
    struct copier *c = arg;
    struct bm_rank *r = c->r;
    char *there = bm_gh(r, (r->rank + 1) % r->ranks) + r->rank * sizeof(bytes);
    while (atomic_load(&c->stop) == 0) {
        CHECK_OK(r, bm_copy(r, there, bytes, sizeof(bytes), SMEMB_COPY_H2G));
        CHECK_OK(r, bm_copy(r, back, there, sizeof(back), SMEMB_COPY_G2H));
        CHECK(r, memcmp(bytes, back, sizeof(back)) == 0);
        atomic_fetch_add(&c->count, 1);
        bm_sleep_ms(1);
    }
    return NULL;
}

static void start_copies(struct bm_rank *r, struct copier *c)
{
    *c = (struct copier){.r = r};
    bm_pattern(bytes, sizeof(bytes), r->rank);
    CHECK(r, pthread_create(&c->thread, NULL, copy_main, c) == 0);
}

static void end_copies(struct copier *c)
{
    atomic_store(&c->stop, 1);
    pthread_join(c->thread, NULL);
    CHECK(c->r, atomic_load(&c->count) > 0);
}

/* Rank 0 serves one more store, at another address (a URL that is served is left as it is); its URL
 * goes to all. */
static void second_store(struct bm_rank *r)
{
    char json[8192] = "";
    if (r->rank == 0) {
        CHECK_OK(r, smem_create_config_store("tcp://127.0.0.2:0", 0));
        CHECK_OK(r, smem_config_store_get_cluster_status(json, sizeof(json), NULL));
        for (char *at = json; (at = strstr(at, "\"listen\":\"")) != NULL;) {
            at += strlen("\"listen\":\"");
            size_t len = strcspn(at, "\"");
            if (strncmp(at, r->stage->url[0], len) != 0) {
                snprintf(r->stage->url[1], sizeof(r->stage->url[1]), "%.*s", (int)len, at);
            }
        }
        CHECK(r, r->stage->url[1][0] != '\0');
    }
    bm_barrier(r);
}

/* What needs a store works, and nobody has lost anything. */
static void works_as_before(struct bm_rank *r)
{
    bm_barrier(r);
    if (r->rank == 1) {
        CHECK_OK(r, smem_bm_leave(r->pool, 0));
        CHECK_OK(r, smem_bm_join(r->pool, 0));
    }
    smem_bm_t other = bm_create(r, 3);
    CHECK_OK(r, smem_bm_join(other, 0));
    bm_barrier(r);
    for (uint32_t rank = 0; rank < r->ranks; rank++) {
        char *mine = bm_gh(r, rank) + r->rank * 4096; /* nobody else writes there */
        CHECK_OK(r, bm_copy(r, mine, bytes, 4096, SMEMB_COPY_H2G));
    }
    bm_barrier(r);
    smem_bm_destroy(other);
    bm_barrier(r);
}

/* The session's time passes once over what has moved; not in each variant of the suite. */
static void let_time_pass(const struct bm_rank *r)
{
    bm_sleep_ms(r->op == SMEMB_DATA_OP_SDMA && r->dev == NULL ? 3500 : 100);
}

/* Both stores live while the ranks go over one by one; then the first one ends. */
static void moves_alive(struct bm_rank *r)
{
    struct copier c;
    unsigned port = 0;
    second_store(r);
    start_copies(r, &c);
    CHECK(r, sscanf(strrchr(r->stage->url[1], ':'), ":%u", &port) == 1);
    for (uint32_t turn = 0; turn < r->ranks; turn++) {
        if (turn == r->rank) {
            CHECK_OK(r, smem_bm_update_store_server("127.0.0.2", (uint16_t)port));
        }
        bm_sleep_ms(20);
        bm_barrier(r);
    }
    bm_sleep_ms(50);
    bm_barrier(r);
    if (r->rank == 0) {
        smem_destroy_config_store(r->stage->url[0]);
    }
    let_time_pass(r);
    end_copies(&c);
    works_as_before(r);
}

/* The new address is known before the first store ends: who loses it goes there. */
static void moves_when_it_ends(struct bm_rank *r)
{
    struct copier c;
    second_store(r);
    start_copies(r, &c);
    CHECK_OK(r, smem_bm_update_store_url(r->stage->url[1]));
    bm_sleep_ms(20);
    bm_barrier(r);
    if (r->rank == 0) {
        smem_destroy_config_store(r->stage->url[0]);
    }
    let_time_pass(r);
    end_copies(&c);
    works_as_before(r);
}

/* Called again and again with the address of the store that it has. */
static void stays(struct bm_rank *r)
{
    struct copier c;
    unsigned port = 0;
    CHECK(r, sscanf(strrchr(r->stage->url[0], ':'), ":%u", &port) == 1);
    start_copies(r, &c);
    for (int i = 0; i < 20; i++) {
        CHECK_OK(r, smem_bm_update_store_server("127.0.0.1", (uint16_t)port));
        CHECK_OK(r, smem_bm_update_store_url(r->stage->url[0]));
        bm_sleep_ms(1);
    }
    end_copies(&c);
    works_as_before(r);
}

const struct bm_case bm_store_cases[] = {
    {.name = "store: it moves while it lives", .ranks = 3, .fn = moves_alive},
    {.name = "store: it moves when it ends", .ranks = 3, .fn = moves_when_it_ends},
    {.name = "store: told where it is", .ranks = 2, .fn = stays},
    {.name = NULL},
};
