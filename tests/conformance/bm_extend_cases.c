// SPDX-License-Identifier: Apache-2.0
// Cases of the BM suite: a rank gives more memory than it began with. All peers see it when extend
// returns, copies cross the seams, and what cannot be given is refused with everything as before.
#include "conformance/bm_suite.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define STEP      (2 * MIB)
#define MANY      16u                 /* extensions of STEP, of the cases' own pool */
#define GROWN_MAX ((1 + MANY) * STEP) /* its slots */
#define DEAD_WORD 15                  /* 1 + the rank that kills itself */

static char bytes[65536], back[65536];

static int extend(struct bm_rank *r, smem_bm_mem_type type, uint64_t size)
{
    return smem_bm_extend_local_mem(r->pool, type, size);
}

static uint64_t size_of(struct bm_rank *r, smem_bm_mem_type type)
{
    return smem_bm_get_local_mem_size_by_mem_type(r->pool, type);
}

/* A pool that can grow often, in place of the suite's. */
static void use_growing_pool(struct bm_rank *r, uint64_t given, uint64_t most)
{
    smem_bm_create_option_t option = {.maxDramSize = most,
                                      .localDRAMSize = given,
                                      .dataOpType = (smem_bm_data_op_type)r->op,
                                      .dramShmFd = -1};
    smem_bm_destroy(r->pool);
    bm_barrier(r);
    r->pool = smem_bm_create2(1, &option);
    CHECK(r, r->pool != NULL);
}

/* ---- seen by all, across the seam ---------------------------------------------------------------
 */

/* All forms of copies over the end of what rank 0 gave first. */
static void cross(struct bm_rank *r, char *seam)
{
    void *src[4] = {bytes, bytes + 8192, bytes + 16384, bytes + 24576};
    void *dst[4] = {seam - 8192, seam - 4, seam + 65536, seam + STEP - 64};
    uint64_t size[4] = {4096, 8, 8192, 64};
    int32_t results[4] = {77, 77, 77, 77};
    smem_batch_copy_params batch = {src, dst, size, 4, NULL};
    smem_batch_copy_result result = {results, 4};
    CHECK_OK(r, bm_copy(r, seam - 1000, bytes, sizeof(bytes), SMEMB_COPY_H2G));
    CHECK_OK(r, bm_copy(r, back, seam - 1000, sizeof(back), SMEMB_COPY_G2H));
    CHECK(r, memcmp(bytes, back, sizeof(back)) == 0);
    CHECK_OK(r, smem_bm_copy_batch(r->pool, &batch, SMEMB_COPY_H2G, 0));
    CHECK_OK(r, smem_bm_copy_batch_partial_succeed(r->pool, &batch, SMEMB_COPY_H2G, 0, &result));
    for (int i = 0; i < 4; i++) {
        CHECK_OK(r, results[i]);
        CHECK_OK(r, bm_copy(r, back, dst[i], size[i], SMEMB_COPY_AUTO));
        CHECK(r, memcmp(src[i], back, size[i]) == 0);
    }
    CHECK_RC(r, bm_copy(r, seam + STEP - 63, bytes, 64, SMEMB_COPY_AUTO), SMEM_INVALID_PARAM);
}

static void seen_by_peers(struct bm_rank *r)
{
    const smem_bm_mem_type types[] = {SMEM_MEM_TYPE_HOST, SMEM_MEM_TYPE_DEVICE};
    bm_pattern(bytes, sizeof(bytes), r->rank + 1);
    for (int i = 0; i < (r->has_hbm ? 2 : 1); i++) {
        char *seam = (i == 0 ? bm_gh(r, 0) : bm_gd(r, 0)) + GIVEN;
        CHECK_RC(r, bm_copy(r, seam - 100, bytes, 200, SMEMB_COPY_AUTO), SMEM_INVALID_PARAM);
        CHECK_SAYS(r, "16777216 bytes");
        bm_barrier(r);
        if (r->rank == 0) {
            CHECK_OK(r, extend(r, types[i], STEP));
            CHECK(r, size_of(r, types[i]) == GIVEN + STEP);
        }
        bm_barrier(r);
        for (uint32_t rank = 0; rank < r->ranks; rank++) { /* the owner, too */
            if (r->rank == rank) {
                cross(r, seam);
            }
            bm_barrier(r);
        }
    }
}

static void before_join(struct bm_rank *r)
{
    bm_pattern(bytes, sizeof(bytes), r->rank + 1);
    if (r->rank == 0) {
        CHECK_OK(r, extend(r, SMEM_MEM_TYPE_HOST, STEP));
        bm_poke(r, bm_gh(r, 0) + GIVEN, bytes, sizeof(bytes)); /* it is there at once */
    }
    CHECK_OK(r, smem_bm_join(r->pool, 0));
    bm_barrier(r);
    if (r->rank == 1) {
        CHECK_OK(r, bm_copy(r, back, bm_gh(r, 0) + GIVEN, sizeof(back), SMEMB_COPY_G2H));
        bm_pattern(bytes, sizeof(bytes), 1);
        CHECK(r, memcmp(bytes, back, sizeof(back)) == 0);
        cross(r, bm_gh(r, 0) + GIVEN);
    }
    bm_barrier(r);
}

/* ---- limits -------------------------------------------------------------------------------------
 */

static void beyond(struct bm_rank *r)
{
    if (r->rank == 0) {
        CHECK_RC(r, extend(r, SMEM_MEM_TYPE_HOST, 2 * STEP), SMEM_ERROR);
        CHECK_SAYS(r, "16777216"); /* there is, is wanted, is the most */
        CHECK_SAYS(r, "4194304");
        CHECK_SAYS(r, "18874368");
        CHECK_RC(r, extend(r, SMEM_MEM_TYPE_HOST, 1ull << 63), SMEM_ERROR);
        CHECK_RC(r, extend(r, SMEM_MEM_TYPE_HOST, STEP + 4096), SMEM_INVALID_PARAM);
        CHECK_RC(r, extend(r, SMEM_MEM_TYPE_HOST, 0), SMEM_INVALID_PARAM);
        CHECK(r, size_of(r, SMEM_MEM_TYPE_HOST) == GIVEN);
        CHECK_OK(r, extend(r, SMEM_MEM_TYPE_HOST, STEP));
        CHECK_RC(r, extend(r, SMEM_MEM_TYPE_HOST, STEP), SMEM_ERROR);
        if (!r->has_hbm) {
            CHECK_RC(r, extend(r, SMEM_MEM_TYPE_DEVICE, STEP), SMEM_ERROR);
            CHECK_SAYS(r, "maxHbmSize 0");
        }
    }
    bm_barrier(r);
    CHECK_OK(r, bm_copy(r, bm_gh(r, 0) + GIVEN - 64 * (1 + r->rank), bytes, 64, SMEMB_COPY_H2G));
    CHECK_OK(r, bm_copy(r, bm_gh(r, 0) + GIVEN + 64 * r->rank, bytes, 64, SMEMB_COPY_H2G));
    bm_barrier(r);
}

/* As many pieces as a slot can have; a transport may have a limit of its own below that. Either is
 * refused with everything as before. */
static void very_often(struct bm_rank *r)
{
    enum { PIECES = 256 };
    bool direct = (r->op & (SMEMB_DATA_OP_SDMA | SMEMB_DATA_OP_HOST_SHM)) != 0;
    uint64_t word = 0;
    use_growing_pool(r, STEP, (PIECES + 8) * STEP);
    CHECK_OK(r, smem_bm_join(r->pool, 0));
    bm_barrier(r);
    if (r->rank == 0) {
        uint64_t pieces = 1;
        int rc = SMEM_OK;
        while ((rc = extend(r, SMEM_MEM_TYPE_HOST, STEP)) == SMEM_OK) {
            pieces++;
        }
        CHECK_RC(r, rc, SMEM_NO_RESOURCES);
        CHECK(r, pieces == PIECES || (!direct && pieces > 8));
        CHECK(r, pieces < PIECES || strstr(smem_get_last_err_msg(), "255 times") != NULL);
        CHECK(r, size_of(r, SMEM_MEM_TYPE_HOST) == pieces * STEP);
        bm_set(r, 0, pieces);
    }
    bm_barrier(r);
    uint64_t pieces = atomic_load(&r->stage->word[0]);
    if (r->rank == 1) {
        for (uint64_t i = 1; i <= pieces; i++) {
            CHECK_OK(r, bm_copy(r, bm_gh(r, 0) + i * STEP - 8, &i, 8, SMEMB_COPY_H2G));
        }
        CHECK_RC(r, bm_copy(r, bm_gh(r, 0) + pieces * STEP, &pieces, 8, SMEMB_COPY_H2G),
                 SMEM_INVALID_PARAM);
    }
    bm_barrier(r);
    for (uint64_t i = 1; i <= pieces; i++) {
        CHECK_OK(r, bm_copy(r, &word, bm_gh(r, 0) + i * STEP - 8, 8, SMEMB_COPY_G2H));
        CHECK(r, word == i);
    }
    bm_barrier(r);
}

/* ---- with others at work ------------------------------------------------------------------------
 */

/* A copy anywhere in the slot of rank 0 is done or refused as not given, never anything else; what
 * was announced as given before the call is done. */
static void while_peers_copy(struct bm_rank *r)
{
    uint64_t random = 77 + r->rank, done = 0;
    bm_pattern(bytes, sizeof(bytes), r->rank + 1);
    use_growing_pool(r, STEP, GROWN_MAX);
    CHECK_OK(r, smem_bm_join(r->pool, 0));
    bm_set(r, 0, STEP);
    bm_barrier(r);
    if (r->rank == 0) {
        for (uint64_t i = 2; i <= MANY + 1; i++) {
            bm_sleep_ms(5);
            CHECK_OK(r, extend(r, SMEM_MEM_TYPE_HOST, STEP));
            bm_set(r, 0, i * STEP);
        }
        bm_set(r, 1, 1);
    } else {
        while (atomic_load(&r->stage->word[1]) == 0 || done < 50) {
            uint64_t given = atomic_load(&r->stage->word[0]);
            uint64_t at = bm_random(&random, GROWN_MAX - sizeof(bytes));
            int rc = bm_copy(r, bm_gh(r, 0) + at, bytes, sizeof(bytes), SMEMB_COPY_H2G);
            CHECK(r, rc == SMEM_OK || rc == SMEM_INVALID_PARAM);
            CHECK(r, rc == SMEM_OK || at + sizeof(bytes) > given);
            done += rc == SMEM_OK;
        }
    }
    bm_barrier(r);
}

struct extender {
    struct bm_rank *r;
    uint32_t count;
    int rc; /* the last */
};

static void *extend_some(void *arg)
{
    struct extender *e = arg;
    for (uint32_t i = 0; i < e->count; i++) {
        e->rc = extend(e->r, SMEM_MEM_TYPE_HOST, STEP);
        CHECK(e->r, e->rc == SMEM_OK || e->rc == SMEM_ERROR);
    }
    return NULL;
}

/* Threads that extend at once get one piece after the other. */
static void by_threads(struct bm_rank *r)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    struct extender e[THREADS];
    bm_pattern(bytes, sizeof(bytes), r->rank + 1);
    use_growing_pool(r, STEP, GROWN_MAX);
    CHECK_OK(r, smem_bm_join(r->pool, 0));
    bm_barrier(r);
    for (int i = 0; i < THREADS; i++) { /* one more than there is room for */
        e[i] = (struct extender){.r = r, .count = MANY / THREADS + (i == 0)};
        CHECK(r, pthread_create(&threads[i], NULL, extend_some, &e[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK(r, size_of(r, SMEM_MEM_TYPE_HOST) == GROWN_MAX);
    bm_barrier(r);
    for (uint64_t seam = STEP; seam < GROWN_MAX; seam += STEP) {
        char *at = bm_gh(r, 1 - r->rank) + seam - 100;
        CHECK_OK(r, bm_copy(r, at, bytes, 200, SMEMB_COPY_H2G));
        CHECK_OK(r, bm_copy(r, back, at, 200, SMEMB_COPY_G2H));
        CHECK(r, memcmp(bytes, back, 200) == 0);
    }
    bm_barrier(r);
}

/* A thread extends while the rank leaves and joins: each waits for the other. */
static void while_leaving(struct bm_rank *r)
{
    pthread_t thread;
    struct extender e = {.r = r, .count = MANY};
    bm_pattern(bytes, sizeof(bytes), r->rank + 1);
    use_growing_pool(r, STEP, GROWN_MAX);
    CHECK_OK(r, smem_bm_join(r->pool, 0));
    bm_barrier(r);
    if (r->rank == 0) {
        CHECK(r, pthread_create(&thread, NULL, extend_some, &e) == 0);
        for (int i = 0; i < 10; i++) {
            CHECK_OK(r, smem_bm_leave(r->pool, 0));
            CHECK_OK(r, smem_bm_join(r->pool, 0));
        }
        pthread_join(thread, NULL);
        CHECK(r, size_of(r, SMEM_MEM_TYPE_HOST) == GROWN_MAX);
    }
    bm_barrier(r);
    CHECK_OK(r, bm_copy(r, bm_gh(r, 0) + GROWN_MAX - sizeof(bytes) * (1 + r->rank), bytes,
                        sizeof(bytes), SMEMB_COPY_H2G));
    bm_barrier(r);
}

static void *extend_until_refused(void *arg)
{
    struct extender *e = arg;
    do {
        e->rc = extend(e->r, SMEM_MEM_TYPE_HOST, STEP);
    } while (e->rc == SMEM_OK);
    return NULL;
}

/* The object goes while a thread extends it: a call that has begun ends first, the next one finds
 * no object. The peer is none the wiser. */
static void while_destroyed(struct bm_rank *r)
{
    pthread_t thread;
    struct extender e = {.r = r};
    for (int round = 0; round < 3; round++) {
        use_growing_pool(r, STEP, 200 * STEP);
        CHECK_OK(r, smem_bm_join(r->pool, 0));
        bm_barrier(r);
        if (r->rank == 0) {
            CHECK(r, pthread_create(&thread, NULL, extend_until_refused, &e) == 0);
            bm_sleep_ms(2 + 3 * (unsigned)round);
            smem_bm_destroy(r->pool);
            pthread_join(thread, NULL);
            CHECK_RC(r, e.rc, SMEM_INVALID_PARAM);
            bm_set(r, 0, round + 1ull);
        } else {
            while (atomic_load(&r->stage->word[0]) <= (uint64_t)round) {
                int rc = bm_copy(r, bm_gh(r, 0) + STEP - 64, bytes, 128, SMEMB_COPY_H2G);
                CHECK(r, rc == SMEM_OK || rc == SMEM_INVALID_PARAM || rc == SMEM_NOT_CONNECTED);
            }
        }
        bm_barrier(r);
    }
}

/* ---- what becomes of it -------------------------------------------------------------------------
 */

/* The size stays over a leave, the bytes do not. */
static void leave_and_join(struct bm_rank *r)
{
    uint32_t peer = 1 - r->rank;
    memset(bytes, 0x44, sizeof(bytes));
    CHECK_OK(r, extend(r, SMEM_MEM_TYPE_HOST, STEP));
    if (r->has_hbm) {
        CHECK_OK(r, extend(r, SMEM_MEM_TYPE_DEVICE, STEP));
    }
    bm_barrier(r);
    for (int round = 0; round < 3; round++) {
        char *at[2] = {bm_gh(r, peer) + GIVEN - 1000, r->has_hbm ? bm_gd(r, peer) + GIVEN - 8 : 0};
        for (int i = 0; i < (r->has_hbm ? 2 : 1); i++) {
            CHECK_OK(r, bm_copy(r, back, at[i], sizeof(back), SMEMB_COPY_G2H));
            for (size_t k = 0; k < sizeof(back); k++) {
                CHECK(r, back[k] == 0);
            }
            CHECK_OK(r, bm_copy(r, at[i], bytes, sizeof(bytes), SMEMB_COPY_H2G));
        }
        bm_barrier(r);
        CHECK_OK(r, smem_bm_leave(r->pool, 0));
        CHECK(r, size_of(r, SMEM_MEM_TYPE_HOST) == SLOT);
        CHECK_OK(r, smem_bm_join(r->pool, 0));
        bm_barrier(r);
    }
}

/* Where the memory is mapped, the new part is reached by loads and stores as the old one is; when
 * its owner dies, both read zero. */
static void loads_and_death(struct bm_rank *r)
{
    CHECK_OK(r, extend(r, SMEM_MEM_TYPE_HOST, STEP));
    bm_barrier(r);
    uint32_t next = (r->rank + 1) % r->ranks;
    for (uint64_t at = GIVEN - 4096; at < GIVEN + STEP; at += 4096) {
        *(volatile uint64_t *)bm_at(r, bm_gh(r, next) + at) = at + r->rank;
    }
    bm_barrier(r);
    uint32_t before = (r->rank + r->ranks - 1) % r->ranks;
    for (uint64_t at = GIVEN - 4096; at < GIVEN + STEP; at += 4096) {
        CHECK(r, *(volatile uint64_t *)bm_at(r, bm_gh(r, r->rank) + at) == at + before);
    }
    volatile uint64_t *old = (volatile uint64_t *)bm_at(r, bm_gh(r, 1));
    volatile uint64_t *new = (volatile uint64_t *)bm_at(r, bm_gh(r, 1) + GIVEN);
    bm_barrier(r);
    if (r->rank == 1) {
        bm_set(r, DEAD_WORD, r->rank + 1);
        (void)raise(SIGKILL);
    }
    r->ranks = 2; /* all three have passed four barriers: the count is even */
    const char *dead = "rank 1 is not in pool 0: it is dead";
    int rc = SMEM_OK;
    for (uint64_t end = bm_now_ms() + 5000;
         rc == SMEM_OK || strstr(smem_get_last_err_msg(), dead) == NULL;) {
        CHECK(r, bm_now_ms() < end);
        rc = bm_copy(r, bm_gh(r, 1) + GIVEN, bytes, 64, SMEMB_COPY_H2G);
    }
    CHECK_RC(r, rc, SMEM_NOT_CONNECTED);
    CHECK(r, *new == 0 && *old == 0);
}

const struct bm_case bm_extend_cases[] = {
    {.name = "extend: seen by peers, across the seam", .ranks = 3, .fn = seen_by_peers},
    {.name = "extend: before the join", .ranks = 2, .not_joined = true, .fn = before_join},
    {.name = "extend: beyond the maximum", .ranks = 2, .fn = beyond},
    {.name = "extend: as often as it goes", .ranks = 2, .fn = very_often},
    {.name = "extend: while peers copy", .ranks = 4, .races = true, .fn = while_peers_copy},
    {.name = "extend: by several threads", .ranks = 2, .fn = by_threads},
    {.name = "extend: while leaving and joining", .ranks = 2, .fn = while_leaving},
    {.name = "extend: while destroyed", .ranks = 2, .fn = while_destroyed},
    {.name = "extend: leave and join", .ranks = 2, .fn = leave_and_join},
    {.name = "extend: loads, and death", .ranks = 3, .needs_loads = true, .fn = loads_and_death},
    {.name = NULL},
};
