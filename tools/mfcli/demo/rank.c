// SPDX-License-Identifier: Apache-2.0
// One rank of the demo. Each question is one function, which calls the public API as a program
// would, measures, and checks every byte that came.
#include "rank.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "alloc.h"
#include "args.h"
#include "ask.h"
#include "memfabric/mf_xcopy.h"
#include "replay/pause.h"
#include "smem_bm.h"

#define BUFFER_BYTES   (4u << 20)
#define INIT_S         10u
#define STORM_BYTES    65536u
#define STORM_FIRST    20u                  /* copies before the guide may kill */
#define STORM_END_NS   (8u * 1000000000ull) /* a victim that does not die */
#define STORM_MORE_NS  (50u * 1000000ull)   /* the others go on for so long */
#define STORM_OFFSET   (1u << 20)           /* where rank r copies to: (r + 1) of it */
#define REQUEST_MS     5000u
#define REQUEST_END_NS (2u * REQUEST_MS * 1000000ull)
#define PARTIAL_BYTES  4096u

struct rank {
    uint32_t number;
    int channel;
    smem_bm_t pool, device_pool;
    unsigned char *parts[DEMO_RANKS];
    unsigned char *buffer; /* ordinary memory of this process */
};

static void fill(unsigned char *at, size_t bytes, uint64_t seed)
{
    for (size_t i = 0; i < bytes; i++) {
        at[i] = demo_byte(seed, i);
    }
}

static uint64_t wrong_bytes(const unsigned char *at, size_t bytes, uint64_t seed)
{
    uint64_t wrong = 0;

    for (size_t i = 0; i < bytes; i++) {
        wrong += at[i] != demo_byte(seed, i);
    }
    return wrong;
}

/* Keeps the code and, after a failure, the library's sentence. */
static int note(struct demo_answer *answer, int rc)
{
    answer->rc = rc;
    if (rc != SMEM_OK) {
        snprintf(answer->text, sizeof(answer->text), "%s", smem_get_last_err_msg());
    }
    return rc;
}

static int copy(smem_bm_t pool, const void *from, void *to, size_t bytes, smem_bm_copy_type_t type,
                uint32_t flags)
{
    smem_copy_params_t params = {.src = from, .dest = to, .dataSize = bytes};

    return smem_bm_copy(pool, &params, type, flags);
}

/* ---- coming and going ----------------------------------------------------------------------- */

static void do_init(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    smem_bm_config_t config;
    uint64_t start = now_ns();

    rank->number = (uint32_t)ask->a[0];
    smem_bm_config_init(&config);
    config.autoRanking = false;
    config.rankId = rank->number;
    config.startConfigStoreServer = false;
    config.initTimeout = INIT_S;
    config.controlOperationTimeout = INIT_S;
    note(answer, smem_bm_init(ask->text, DEMO_RANKS, (uint16_t)ask->a[1], &config));
    answer->v[0] = now_ns() - start;
}

static void find_parts(smem_bm_t pool, smem_bm_mem_type_t kind, uint64_t *parts)
{
    for (uint16_t r = 0; r < DEMO_RANKS; r++) {
        parts[r] = (uint64_t)(uintptr_t)smem_bm_ptr_by_mem_type(pool, kind, r);
    }
}

static void do_pool(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    smem_bm_create_option_t option = {
        .localDRAMSize = ask->a[0], .maxDramSize = ask->a[1], .dataOpType = SMEMB_DATA_OP_SDMA};

    rank->pool = smem_bm_create2(0, &option);
    if (!rank->pool) {
        note(answer, smem_get_last_err_code());
        return;
    }
    if (note(answer, smem_bm_join(rank->pool, 0)) == SMEM_OK) {
        find_parts(rank->pool, SMEM_MEM_TYPE_HOST, answer->v);
        for (uint32_t r = 0; r < DEMO_RANKS; r++) {
            rank->parts[r] = (unsigned char *)(uintptr_t)answer->v[r];
        }
    }
}

static void do_leave(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    (void)ask;
    note(answer, smem_bm_leave(rank->pool, 0));
}

/* ---- copies --------------------------------------------------------------------------------- */

static void do_text(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    note(answer, copy(rank->pool, ask->text, rank->parts[ask->a[0]] + ask->a[1],
                      strlen(ask->text) + 1, SMEMB_COPY_H2G, 0));
}

static void do_load(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    unsigned char *at = rank->parts[ask->a[0]] + ask->a[1];

    if (ask->fault) {
        at[0] ^= 1;
    }
    snprintf(answer->text, sizeof(answer->text), "%s", (const char *)at);
}

static void do_fill(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    (void)answer;
    fill(rank->parts[rank->number] + ask->a[1], ask->a[2], ask->a[3]);
}

static int compare_ns(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* The median of several puts of the same bytes. */
static void do_put(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    size_t count = ask->a[4] ? ask->a[4] : 1;
    uint64_t *times = cli_alloc(count, sizeof(*times));

    fill(rank->buffer, ask->a[2], ask->a[3]);
    for (size_t i = 0; i < count && answer->rc == SMEM_OK; i++) {
        uint64_t start = now_ns();

        note(answer, copy(rank->pool, rank->buffer, rank->parts[ask->a[0]] + ask->a[1], ask->a[2],
                          SMEMB_COPY_H2G, 0));
        times[i] = now_ns() - start;
    }
    qsort(times, count, sizeof(*times), compare_ns);
    answer->v[0] = times[count / 2];
    free(times);
}

static void do_check(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    unsigned char *at = rank->parts[ask->a[0]] + ask->a[1];

    if (ask->fault) {
        at[ask->a[2] / 2] ^= 1;
    }
    answer->v[0] = wrong_bytes(at, ask->a[2], ask->a[3]);
}

/* Row i of the batch comes from rank 1 + i % 3, row i / 3 there; each row is a part of the
 * pattern with which its owner filled its memory. Only each second row of an owner is wanted, so
 * that no two of them are neighbours. */
static uint64_t wrong_rows(const struct rank *rank, size_t count, size_t bytes)
{
    uint64_t wrong = 0;

    for (size_t i = 0; i < count; i++) {
        for (size_t b = 0; b < bytes; b++) {
            wrong += rank->buffer[i * bytes + b] !=
                     demo_byte(1 + i % (DEMO_RANKS - 1), i / (DEMO_RANKS - 1) * 2 * bytes + b);
        }
    }
    return wrong;
}

/* The same rows by a batch that was compiled before; its second use is the one that is timed. */
static int gather_prepared(struct rank *rank, void *const *from, size_t count, size_t bytes,
                           uint64_t *ns)
{
    uint64_t *offsets = cli_alloc(count, sizeof(*offsets));
    mf_xcopy_indexed_t blocks = {.size = sizeof(blocks),
                                 .count = (uint32_t)count,
                                 .type = SMEMB_COPY_G2H,
                                 .src = rank->parts[0],
                                 .dst = rank->buffer,
                                 .src_offsets = offsets,
                                 .block_bytes = bytes};
    mf_prepared_t prepared = NULL;
    int rc = SMEM_OK;

    for (size_t i = 0; i < count; i++) {
        offsets[i] = (uint64_t)((unsigned char *)from[i] - rank->parts[0]);
    }
    rc = mf_prepare_indexed(rank->pool, &blocks, &prepared);
    for (int use = 0; use < 2 && rc == SMEM_OK; use++) {
        uint64_t start = now_ns();

        rc = mf_prepared_run(prepared, 0, 0, 0);
        *ns = now_ns() - start;
    }
    if (prepared) {
        mf_prepared_free(prepared);
    }
    free(offsets);
    return rc;
}

static void do_gather(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    size_t others = DEMO_RANKS - 1, count = ask->a[0] * others, bytes = ask->a[1];
    void **from = cli_alloc(count, sizeof(*from)), **to = cli_alloc(count, sizeof(*to));
    uint64_t *sizes = cli_alloc(count, sizeof(*sizes)), start = 0;
    smem_batch_copy_params_t batch = {
        .sources = from, .destinations = to, .dataSizes = sizes, .batchSize = (uint32_t)count};

    for (size_t i = 0; i < count; i++) {
        from[i] = rank->parts[1 + i % others] + i / others * 2 * bytes;
        to[i] = rank->buffer + i * bytes;
        sizes[i] = bytes;
    }
    /* The first time the kernel maps the others' pages. */
    for (int use = 0; use < 2 && answer->rc == SMEM_OK; use++) {
        start = now_ns();
        note(answer, smem_bm_copy_batch(rank->pool, &batch, SMEMB_COPY_G2H, 0));
        answer->v[0] = now_ns() - start;
    }
    rank->buffer[7] ^= ask->fault ? 1 : 0;
    answer->v[1] = wrong_rows(rank, count, bytes);
    memset(rank->buffer, 0, count * bytes);
    if (answer->rc == SMEM_OK) {
        note(answer, gather_prepared(rank, from, count, bytes, &answer->v[2]));
        answer->v[1] += wrong_rows(rank, count, bytes);
    }
    free(from);
    free(to);
    free(sizes);
}

/* Four elements to rank 1; the third lies behind what rank 1 gave. */
static void do_partial(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    unsigned char *target = rank->parts[1];
    void *from[4], *to[4];
    uint64_t sizes[4];
    int32_t codes[4] = {1, 1, 1, 1};
    smem_batch_copy_params_t batch = {
        .sources = from, .destinations = to, .dataSizes = sizes, .batchSize = 4};
    smem_batch_copy_result_t result = {.results = codes, .batchSize = 4};

    fill(rank->buffer, 4 * (size_t)PARTIAL_BYTES, ask->a[3]);
    for (size_t i = 0; i < 4; i++) {
        from[i] = rank->buffer + i * PARTIAL_BYTES;
        to[i] = target + i * PARTIAL_BYTES;
        sizes[i] = PARTIAL_BYTES;
    }
    to[2] = target + ask->a[1] - 64; /* 64 bytes fit, the rest is the next rank's */
    note(answer,
         smem_bm_copy_batch_partial_succeed(rank->pool, &batch, SMEMB_COPY_H2G, 0, &result));
    target[0] ^= ask->fault ? 1 : 0;
    for (size_t i = 0; i < 4; i++) {
        answer->v[i] = (uint64_t)(int64_t)codes[i];
        if (i != 2) {
            answer->v[4] += memcmp(target + i * PARTIAL_BYTES, from[i], PARTIAL_BYTES) != 0;
        }
    }
}

static void do_beyond(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    note(answer, copy(rank->pool, rank->buffer, rank->parts[ask->a[0]] + ask->a[1] - 8, 64,
                      SMEMB_COPY_H2G, 0));
}

static void do_async(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    size_t count = ask->a[0], bytes = ask->a[1];
    unsigned char *target = rank->parts[ask->a[2]];
    uint64_t start = 0;

    fill(rank->buffer, count * bytes, ask->a[3]);
    start = now_ns();
    for (size_t i = 0; i < count && answer->rc == SMEM_OK; i++) {
        note(answer, copy(rank->pool, rank->buffer + i * bytes, target + i * bytes, bytes,
                          SMEMB_COPY_H2G, ASYNC_COPY_FLAG));
    }
    answer->v[0] = now_ns() - start;
    if (answer->rc == SMEM_OK) {
        note(answer, smem_bm_wait(rank->pool));
    }
    answer->v[1] = now_ns() - start;
    target[bytes] ^= ask->fault ? 1 : 0;
    answer->v[2] = wrong_bytes(target, count * bytes, ask->a[3]);
}

/* Polls, as a program would that has other work between two looks. */
static int poll_request(mf_request_t request, struct demo_answer *answer)
{
    uint64_t end = now_ns() + REQUEST_END_NS;
    int32_t status = SMEM_OK;
    int rc = SMEM_TIMEOUT;

    while ((rc = mf_request_poll(request, &status)) == SMEM_TIMEOUT && now_ns() < end) {
        answer->v[3]++;
        sched_yield();
    }
    return rc == SMEM_OK ? status : rc;
}

static void do_request(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    size_t count = ask->a[0], bytes = ask->a[1];
    unsigned char *target = rank->parts[ask->a[2]];
    void **from = cli_alloc(count, sizeof(*from)), **to = cli_alloc(count, sizeof(*to));
    uint64_t *sizes = cli_alloc(count, sizeof(*sizes)), start = 0;
    mf_xcopy_batch_t batch = {.size = sizeof(batch),
                              .flags = MF_XCOPY_QUEUED,
                              .count = (uint32_t)count,
                              .type = SMEMB_COPY_H2G,
                              .sources = from,
                              .destinations = to,
                              .sizes = sizes,
                              .timeout_ms = REQUEST_MS};
    mf_request_t request = NULL;

    fill(rank->buffer, count * bytes, ask->a[3]);
    for (size_t i = 0; i < count; i++) {
        from[i] = rank->buffer + i * bytes;
        to[i] = target + i * bytes;
        sizes[i] = bytes;
    }
    start = now_ns();
    if (note(answer, mf_xcopy_submit(rank->pool, &batch, &request)) == SMEM_OK) {
        answer->v[0] = now_ns() - start;
        note(answer, poll_request(request, answer));
        answer->v[1] = now_ns() - start;
        mf_request_cancel(request, REQUEST_MS); /* nothing, when it has ended */
        mf_request_free(request);
    }
    target[bytes] ^= ask->fault ? 1 : 0;
    answer->v[2] = wrong_bytes(target, count * bytes, ask->a[3]);
    free(from);
    free(to);
    free(sizes);
}

static void do_grow(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    note(answer, smem_bm_extend_local_mem(rank->pool, SMEM_MEM_TYPE_HOST, ask->a[0]));
    answer->v[0] = smem_bm_get_local_mem_size_by_mem_type(rank->pool, SMEM_MEM_TYPE_HOST);
}

/* ---- a rank dies ---------------------------------------------------------------------------- */

static int tell(const struct rank *rank, const struct demo_answer *answer)
{
    return send(rank->channel, answer, sizeof(*answer), MSG_NOSIGNAL) == (ssize_t)sizeof(*answer)
               ? 0
               : -1;
}

/* Copies to the victim until that fails, and between each two copies to another rank, for some time
 * longer. v: when it failed, copies before, copies to the other rank, wrong bytes there. */
static void do_storm(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    size_t offset = (rank->number + 1) * (size_t)STORM_OFFSET;
    unsigned char *victim = rank->parts[ask->a[0]] + offset;
    unsigned char *other = rank->parts[ask->a[1]] + offset;
    uint64_t end = now_ns() + STORM_END_NS;
    int rc = SMEM_OK;

    fill(rank->buffer, STORM_BYTES, rank->number);
    while (rc == SMEM_OK && now_ns() < end) {
        if (answer->v[0] == 0) {
            rc = copy(rank->pool, rank->buffer, victim, STORM_BYTES, SMEMB_COPY_H2G, 0);
            if (rc != SMEM_OK) {
                answer->v[0] = now_ns();
                note(answer, rc);
                end = answer->v[0] + STORM_MORE_NS;
            } else if (++answer->v[1] == STORM_FIRST) {
                tell(rank, answer);
            }
        }
        rc = copy(rank->pool, rank->buffer, other, STORM_BYTES, SMEMB_COPY_H2G, 0);
        answer->v[2]++;
    }
    if (rc != SMEM_OK) {
        note(answer, SMEM_ERROR);
    } else if (answer->rc == SMEM_NOT_CONNECTED) {
        /* By now everybody knows why, and the sentence says it. */
        note(answer, copy(rank->pool, rank->buffer, victim, STORM_BYTES, SMEMB_COPY_H2G, 0));
    }
    other[9] ^= ask->fault ? 1 : 0;
    answer->v[3] = wrong_bytes(other, STORM_BYTES, rank->number);
}

/* ---- device memory -------------------------------------------------------------------------- */

static void do_device(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    rank->device_pool = smem_bm_create(1, DEMO_RANKS, SMEMB_DATA_OP_SDMA, 0, ask->a[0], 0);
    if (!rank->device_pool) {
        note(answer, smem_get_last_err_code());
        return;
    }
    if (note(answer, smem_bm_join(rank->device_pool, 0)) == SMEM_OK) {
        find_parts(rank->device_pool, SMEM_MEM_TYPE_DEVICE, answer->v);
    }
}

static void do_around(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer)
{
    size_t bytes = ask->a[1];
    void *here = (void *)(uintptr_t)ask->a[2], *there = (void *)(uintptr_t)ask->a[4];
    void *pointer = NULL;

    fill(rank->buffer, bytes, ask->a[3]);
    if (note(answer, copy(rank->device_pool, rank->buffer, here, bytes, SMEMB_COPY_H2G, 0)) ||
        note(answer, copy(rank->device_pool, here, there, bytes, SMEMB_COPY_G2G, 0))) {
        return;
    }
    memset(rank->buffer, 0, bytes);
    if (note(answer, copy(rank->device_pool, there, rank->buffer, bytes, SMEMB_COPY_G2H, 0))) {
        return;
    }
    rank->buffer[1] ^= ask->fault ? 1 : 0;
    answer->v[0] = wrong_bytes(rank->buffer, bytes, ask->a[3]);
    answer->v[1] =
        smem_bm_gva_to_va(rank->device_pool, there, SMEM_MEM_TYPE_LOCAL_HOST, &pointer) != SMEM_OK;
    if (answer->v[1]) {
        snprintf(answer->text, sizeof(answer->text), "%s", smem_get_last_err_msg());
    }
}

/* ---- questions ------------------------------------------------------------------------------ */

typedef void (*do_fn)(struct rank *rank, const struct demo_ask *ask, struct demo_answer *answer);

static const do_fn functions[DEMO_OPS] = {
    [DEMO_INIT] = do_init,     [DEMO_POOL] = do_pool,     [DEMO_TEXT] = do_text,
    [DEMO_LOAD] = do_load,     [DEMO_FILL] = do_fill,     [DEMO_PUT] = do_put,
    [DEMO_CHECK] = do_check,   [DEMO_GATHER] = do_gather, [DEMO_PARTIAL] = do_partial,
    [DEMO_BEYOND] = do_beyond, [DEMO_ASYNC] = do_async,   [DEMO_REQUEST] = do_request,
    [DEMO_GROW] = do_grow,     [DEMO_STORM] = do_storm,   [DEMO_DEVICE] = do_device,
    [DEMO_AROUND] = do_around, [DEMO_LEAVE] = do_leave,
};

int demo_rank(int channel)
{
    struct rank rank = {.channel = channel, .buffer = cli_alloc_pages(BUFFER_BYTES)};
    struct demo_ask ask;
    int result = CLI_OK;

    /* The end of the guide is the end of the channel, so this waits for nobody who is gone. */
    while (recv(channel, &ask, sizeof(ask), 0) == (ssize_t)sizeof(ask)) {
        struct demo_answer answer = {.rc = SMEM_OK};

        if (ask.op >= DEMO_OPS) {
            result = CLI_FAILURE;
            break;
        }
        ask.text[DEMO_TEXT_BYTES - 1] = '\0';
        functions[ask.op](&rank, &ask, &answer);
        if (tell(&rank, &answer)) {
            break;
        }
    }
    smem_bm_destroy(rank.device_pool);
    smem_bm_destroy(rank.pool);
    smem_bm_uninit(0);
    free(rank.buffer);
    return result;
}
