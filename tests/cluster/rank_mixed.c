// SPDX-License-Identifier: Apache-2.0
// The mixed load of a scripted rank: a thread for each peer that puts and gets by single copies,
// batches, requests, prepared batches and asynchronous copies, and checks every byte. It tells on
// the board what it does, and holds each failure against what is promised: its code, and a sentence
// that names the rank.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "memfabric/mf_xcopy.h"
#include "rank_pattern.h"
#include "rank_strike.h"

#define POISON     0xa5
#define AREA_BYTES (512u * 1024u) /* of each writer, in each peer's slot */
#define AREAS_FROM (1024u * 1024u)
#define TAIL_BYTES (64u * 1024u) /* the end of what a peer gives, for all writers */
#define TAIL_PART  4096u
#define PAGE       4096u
#define PIECES_MAX 16u
#define REPEAT     3 /* calls for one pattern: more of the time is spent inside of them */
#define CALL_MS    5000u

struct mixed {
    smem_bm_t pool;
    uint32_t self, peer;
    uint64_t pause_us;
    struct board_peer *seen;
    pthread_t thread;
    uint64_t generation;
    char *slot;  /* of the peer */
    char *local; /* AREA_BYTES, page by page */
    struct mixed *next;
};

/* What one kind of copies moves between: `local` is dense. */
struct move {
    struct mixed *load;
    char *local, *far;
    uint64_t size;
    bool put;
    char text[1024]; /* of a failure; empty: the thread's last error */
};

struct kind {
    const char *put_point, *get_point;
    const char *put_doing, *get_doing;
    uint64_t at, size; /* in the area */
    int (*fn)(struct move *move);
};

static struct mixed *loads;
static _Atomic bool ending;
/* smem_bm_wait takes the failures of all threads: one at a time has asynchronous copies. */
static pthread_mutex_t async_lock = PTHREAD_MUTEX_INITIALIZER;

static char *source(const struct move *move, uint64_t far_at, uint64_t local_at)
{
    return move->put ? move->local + local_at : move->far + far_at;
}

static char *target(const struct move *move, uint64_t far_at, uint64_t local_at)
{
    return move->put ? move->far + far_at : move->local + local_at;
}

/* ---- the kinds ------------------------------------------------------------------------------ */

static int move_plain(struct move *move)
{
    smem_copy_params copy = {
        .src = source(move, 0, 0), .dest = target(move, 0, 0), .dataSize = move->size};
    return smem_bm_copy(move->load->pool, &copy, move->put ? SMEMB_COPY_H2G : SMEMB_COPY_G2H, 0);
}

struct pieces {
    void *src[PIECES_MAX], *dst[PIECES_MAX];
    uint64_t size[PIECES_MAX];
    uint64_t each;
};

/* In pieces, of which the first here is the last there: they cannot be made one. */
static void cut(const struct move *move, struct pieces *out)
{
    out->each = move->size / PIECES_MAX;
    for (uint32_t i = 0; i < PIECES_MAX; i++) {
        uint64_t far_at = (PIECES_MAX - 1 - i) * out->each;
        out->src[i] = source(move, far_at, i * out->each);
        out->dst[i] = target(move, far_at, i * out->each);
        out->size[i] = out->each;
    }
}

static int move_batch(struct move *move)
{
    struct pieces pieces;
    cut(move, &pieces);
    smem_batch_copy_params batch = {.sources = pieces.src,
                                    .destinations = pieces.dst,
                                    .dataSizes = pieces.size,
                                    .batchSize = PIECES_MAX};
    return smem_bm_copy_batch(move->load->pool, &batch, SMEMB_COPY_AUTO, 0);
}

/* An element that is said not to have begun has left its target alone. */
static void check_untouched(const struct move *move, const struct pieces *pieces, uint32_t i)
{
    const char *at = pieces->dst[i];
    uint64_t touched = 0;
    for (uint64_t b = 0; b < pieces->each; b++) {
        touched += at[b] != (char)POISON;
    }
    if (!move->put && touched > 0) {
        atomic_fetch_add(&board_cell()->wrong, touched);
    }
}

/* The end of a request: one code for it, from those of its elements. */
static int request_end(struct move *move, mf_request_t req, const struct pieces *pieces)
{
    int32_t status = SMEM_ERROR, codes[PIECES_MAX];
    int rc = mf_request_wait(req, CALL_MS + 1000, &status);
    if (rc == SMEM_OK && status != SMEM_OK) {
        mf_request_error(req, move->text, sizeof(move->text));
        rc = mf_request_results(req, codes, PIECES_MAX);
        for (uint32_t i = 0; rc == SMEM_OK && pieces != NULL && i < PIECES_MAX; i++) {
            if (codes[i] == SMEM_NOT_STARTED) {
                check_untouched(move, pieces, i);
            }
        }
        for (uint32_t i = 0; i < PIECES_MAX && status == SMEM_PARTIAL_FAILED; i++) {
            status = codes[i] != SMEM_OK ? codes[i] : status;
        }
    }
    mf_request_free(req);
    return rc == SMEM_OK ? status : rc;
}

static int move_request(struct move *move)
{
    struct pieces pieces;
    mf_request_t req = NULL;
    if (!move->put) {
        memset(move->local, POISON, move->size);
    }
    cut(move, &pieces);
    mf_xcopy_batch_t batch = {.size = sizeof(batch),
                              .flags = MF_XCOPY_QUEUED,
                              .count = PIECES_MAX,
                              .type = SMEMB_COPY_AUTO,
                              .sources = pieces.src,
                              .destinations = pieces.dst,
                              .sizes = pieces.size,
                              .timeout_ms = CALL_MS};
    int rc = mf_xcopy_submit(move->load->pool, &batch, &req);
    return rc == SMEM_OK ? request_end(move, req, &pieces) : rc;
}

/* Blocks with gaps between them over there. */
static int move_prepared(struct move *move)
{
    uint64_t block = move->size / PIECES_MAX;
    mf_prepared_t prepared = NULL;
    mf_request_t req = NULL;
    mf_xcopy_strided_t blocks = {.size = sizeof(blocks),
                                 .count = PIECES_MAX,
                                 .type = SMEMB_COPY_AUTO,
                                 .src = source(move, 0, 0),
                                 .dst = target(move, 0, 0),
                                 .src_stride = move->put ? block : 2 * block,
                                 .dst_stride = move->put ? 2 * block : block,
                                 .block_bytes = block};
    int rc = mf_prepare_strided(move->load->pool, &blocks, &prepared);
    if (rc == SMEM_OK) {
        rc = mf_prepared_run(prepared, 0, 0, CALL_MS);
    }
    if (rc == SMEM_OK) {
        rc = mf_prepared_submit(prepared, 0, 0, MF_XCOPY_QUEUED, CALL_MS, &req);
    }
    if (rc == SMEM_OK) {
        rc = request_end(move, req, NULL);
    }
    if (rc != SMEM_OK && move->text[0] == '\0') {
        snprintf(move->text, sizeof(move->text), "%s", smem_get_last_err_msg());
    }
    mf_prepared_free(prepared);
    return rc;
}

static int move_async(struct move *move)
{
    smem_bm_t pool = move->load->pool;
    smem_copy_params copy = {
        .src = source(move, 0, 0), .dest = target(move, 0, 0), .dataSize = move->size};
    int rc = smem_bm_copy(pool, &copy, SMEMB_COPY_AUTO, ASYNC_COPY_FLAG);
    return rc == SMEM_OK ? smem_bm_wait(pool) : rc;
}

static const struct kind kinds[] = {
    {"in_put", "in_get", "put", "get", 0, 65536, move_plain},
    {"in_batch", "in_batch_get", "batch", "bget", 65536, 65536, move_batch},
    {"in_request", "in_request_get", "request", "rget", 131072, 131072, move_request},
    {"in_prepared", "in_prepared_get", "prepare", "pget", 262144, 65536, move_prepared},
    {"in_async", "in_async_get", "async", "aget", 393216, 65536, move_async},
    {"", "", "tail", "tget", 0, TAIL_PART, move_plain},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* ---- what is promised ----------------------------------------------------------------------- */

static void note_odd(const struct mixed *load, int code, const char *doing, const char *text)
{
    struct board_cell *cell = board_cell();
    if (atomic_fetch_add(&cell->odd, 1) == 0) {
        snprintf(cell->odd_text, sizeof(cell->odd_text), "%s of rank %u: %d: %.400s", doing,
                 load->peer, code, text);
    }
}

static bool names_rank(const char *text, uint32_t rank)
{
    char name[24];
    int len = snprintf(name, sizeof(name), "rank %u", rank);
    for (const char *at = strstr(text, name); at != NULL; at = strstr(at + 1, name)) {
        if (at[len] < '0' || at[len] > '9') {
            return true;
        }
    }
    return false;
}

/* This rank itself has left, or was declared dead. */
static bool is_own(const struct mixed *load, int code, const char *text)
{
    return code == SMEM_NOT_STARTED || code == SMEM_NOT_INIT ||
           (code == SMEM_INVALID_PARAM && strstr(text, "handle") != NULL) ||
           (code == SMEM_NOT_CONNECTED && names_rank(text, load->self) &&
            strstr(text, "declared dead") != NULL);
}

static void note(const struct mixed *load, int code, const char *doing, const char *text)
{
    struct board_peer *seen = load->seen;
    uint64_t now = now_ns();
    if (code == SMEM_OK) {
        atomic_store(&seen->ok_ns, now);
        atomic_fetch_add(&seen->ok, 1);
        return;
    }
    if (is_own(load, code, text)) {
        atomic_fetch_add(&board_cell()->own, 1);
        return;
    }
    if (code != SMEM_NOT_CONNECTED || !names_rank(text, load->peer)) {
        note_odd(load, code, doing, text);
    }
    if (atomic_load(&seen->error_ns) <= atomic_load(&seen->ok_ns)) {
        atomic_store(&seen->code, code);
        snprintf(seen->text, sizeof(seen->text), "%s: %s", doing, text);
        atomic_store(&seen->error_ns, now);
    }
    atomic_fetch_add(&seen->errors, 1);
}

/* ---- one turn ------------------------------------------------------------------------------- */

static int call(struct move *move, const struct kind *kind)
{
    struct board_peer *seen = move->load->seen;
    const char *doing = move->put ? kind->put_doing : kind->get_doing;
    const char *point = move->put ? kind->put_point : kind->get_point;
    bool mine = strike_is_at(point, move->load->peer) &&
                strike_trap(move->local + move->size / 2 / PAGE * PAGE);
    bool alone = kind->fn == move_async;
    move->text[0] = '\0';
    if (alone) {
        pthread_mutex_lock(&async_lock);
    }
    uint64_t begin = now_ns();
    board_doing(seen, doing, true);
    int rc = kind->fn(move);
    board_doing(seen, doing, false);
    uint64_t took = now_ns() - begin;
    if (alone) {
        pthread_mutex_unlock(&async_lock);
    }
    if (mine) {
        strike_untrap();
    }
    if (took > atomic_load(&seen->slowest_ns)) {
        atomic_store(&seen->slowest_ns, took);
    }
    note(move->load, rc, doing, move->text[0] != '\0' ? move->text : smem_get_last_err_msg());
    return rc;
}

/* Two words at the beginning of a slot: the name of its owner's life, and what it gives. */
static int read_head(struct mixed *load, uint64_t head[2])
{
    smem_copy_params copy = {.src = load->slot, .dest = head, .dataSize = 16};
    head[0] = 0;
    board_doing(load->seen, "life", true);
    int rc = smem_bm_copy(load->pool, &copy, SMEMB_COPY_AUTO, 0);
    board_doing(load->seen, "life", false);
    note(load, rc, "life", smem_get_last_err_msg());
    return rc;
}

/* What was put is there for as long as the peer lives the same life. */
static int put_and_get(struct mixed *load, const struct kind *kind)
{
    uint64_t before[2], after[2];
    struct pattern_fault fault;
    struct move move = {.load = load, .local = load->local, .size = kind->size};
    int rc = read_head(load, before);
    if (rc != SMEM_OK || (kind->put_point[0] == '\0' && before[1] == 0)) {
        return rc;
    }
    move.far = kind->put_point[0] != '\0'
                   ? load->slot + AREAS_FROM + (uint64_t)load->self * AREA_BYTES + kind->at
                   : load->slot + before[1] - TAIL_BYTES + (uint64_t)load->self * TAIL_PART;
    uint64_t generation = ++load->generation;
    pattern_fill(move.local, move.size, load->self, generation, kind->at);
    move.put = true;
    for (int i = 0; rc == SMEM_OK && i < REPEAT; i++) {
        rc = call(&move, kind);
    }
    memset(move.local, POISON, move.size);
    move.put = false;
    for (int i = 0; rc == SMEM_OK && i < REPEAT; i++) {
        rc = call(&move, kind);
    }
    if (rc == SMEM_OK) {
        rc = read_head(load, after);
    }
    if (rc == SMEM_OK && before[0] != 0 && before[0] == after[0] &&
        pattern_check(move.local, move.size, load->self, generation, kind->at, &fault) != 0) {
        atomic_fetch_add(&board_cell()->wrong, fault.wrong);
        note_odd(load, SMEM_OK, kind->get_doing, "wrong bytes");
    }
    return rc;
}

static void pause_for(uint64_t us)
{
    struct timespec pause = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    nanosleep(&pause, NULL);
}

static void *mixed_main(void *arg)
{
    struct mixed *load = arg;
    load->seen = &board_cell()->peer[load->peer];
    while (!atomic_load(&ending)) {
        int rc = SMEM_OK;
        for (size_t i = 0; i < KINDS && rc == SMEM_OK && !atomic_load(&ending); i++) {
            rc = put_and_get(load, &kinds[i]);
            strike_between("between_copies", load->peer);
        }
        if (rc == SMEM_OK) {
            atomic_fetch_add(&load->seen->rounds, 1);
        }
        bool hurry = load->pause_us == 0 || atomic_load(&board_cell()->hurry) != 0;
        if (rc != SMEM_OK || !hurry) {
            board_doing(load->seen, "pause", false);
            pause_for(hurry ? 500 : load->pause_us);
        }
    }
    board_doing(load->seen, "", false);
    return NULL;
}

/* ---- commands ------------------------------------------------------------------------------- */

static int start_one(struct rank *rank, const struct words *words, uint32_t peer)
{
    struct mixed *load = calloc(1, sizeof(*load));
    if (load == NULL || peer >= BOARD_PEERS) {
        free(load);
        return SMEM_INVALID_PARAM;
    }
    load->pool = rank->pools[0];
    load->self = smem_bm_get_rank_id();
    load->peer = peer;
    load->pause_us = option_u64(words, "pause", 0);
    load->slot = slot_of(rank, 0, peer);
    load->local = aligned_alloc(PAGE, AREA_BYTES);
    if (load->slot == NULL || load->local == NULL ||
        pthread_create(&load->thread, NULL, mixed_main, load) != 0) {
        free(load->local);
        free(load);
        return SMEM_NO_RESOURCES;
    }
    load->next = loads;
    loads = load;
    return SMEM_OK;
}

/* mixed PEER,... [pause=US]: a thread for each. */
int mixed_start(struct rank *rank, const struct words *words, char *text)
{
    const char *list = words->count > 1 ? words->v[1] : "";
    int rc = SMEM_OK;
    atomic_store(&ending, false);
    while (rc == SMEM_OK && *list != '\0') {
        char *end = NULL;
        uint32_t peer = (uint32_t)strtoul(list, &end, 10);
        rc = end == list ? SMEM_INVALID_PARAM : start_one(rank, words, peer);
        list = *end == ',' ? end + 1 : end;
    }
    if (rc != SMEM_OK) {
        snprintf(text, LINE_BYTES, "mixed PEER,... [pause=US]: %s", smem_get_last_err_msg());
    }
    return rc;
}

/* mixedend: the threads end after the call that they are in. */
int mixed_end(struct rank *rank, const struct words *words, char *text)
{
    (void)rank;
    (void)words;
    (void)text;
    atomic_store(&ending, true);
    while (loads != NULL) {
        struct mixed *load = loads;
        loads = load->next;
        pthread_join(load->thread, NULL);
        free(load->local);
        free(load);
    }
    return SMEM_OK;
}
