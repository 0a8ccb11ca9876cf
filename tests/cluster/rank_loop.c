// SPDX-License-Identifier: Apache-2.0
// Threads of a scripted rank that copy in the background, check what they copied, and remember
// their first failure. While a copy is under way, a word in the rank's own slot is odd, so that
// another process can strike in the middle of one.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rank.h"
#include "rank_pattern.h"

#define POISON 0xa5

struct turn {
    struct loop *loop;
    char *buf;
    uint32_t peer;
    uint64_t generation;
};

static void note_failure(struct loop *loop, int code, const char *text)
{
    if (atomic_fetch_add(&loop->errors, 1) == 0) {
        loop->at_ns = now_ns();
        loop->code = code;
        snprintf(loop->text, sizeof(loop->text), "%s", text);
    }
    if (code != SMEM_NOT_CONNECTED && loop->odd_code == 0) {
        loop->odd_code = code;
        snprintf(loop->odd_text, sizeof(loop->odd_text), "%s", text);
    }
}

static void note_wrong(struct loop *loop, uint32_t peer, const struct pattern_fault *fault)
{
    if (atomic_fetch_add(&loop->wrong, fault->wrong) == 0) {
        snprintf(loop->odd_text, sizeof(loop->odd_text),
                 "rank %u: first wrong line at %" PRIu64 " of %" PRIu64 ", %" PRIu64
                 " zero lines, got %016" PRIx64 " %016" PRIx64 " %016" PRIx64,
                 peer, fault->first, loop->size, fault->zero, fault->got[0], fault->got[1],
                 fault->got[2]);
    }
}

/* A copy with the word around it. */
static int copy_timed(struct loop *loop, void *dst, const void *src)
{
    struct rank *rank = loop->rank;
    _Atomic uint64_t *word = NULL;
    uint64_t begin = now_ns();
    if (loop->word != UINT64_MAX) {
        uint32_t self = smem_bm_get_rank_id();
        word = (_Atomic uint64_t *)(void *)pointer_to(rank, loop->pool, self, loop->word);
    }
    if (word != NULL) {
        atomic_fetch_add(word, 1);
    }
    int rc = copy_bytes(rank, loop->pool, dst, src, loop->size);
    if (word != NULL) {
        atomic_fetch_add(word, 1);
    }
    uint64_t took = now_ns() - begin;
    loop->slowest_ns = took > loop->slowest_ns ? took : loop->slowest_ns;
    return rc;
}

/* The word by which a peer names its life; 0: it has not said it yet. */
static int read_life(const struct turn *turn, uint64_t *life)
{
    struct loop *loop = turn->loop;
    const char *slot = slot_of(loop->rank, loop->pool, turn->peer);
    *life = 0;
    return copy_bytes(loop->rank, loop->pool, life, slot, sizeof(*life));
}

/* What was put must be there as long as the peer lives the same life. */
static int put_and_get(struct turn *turn)
{
    struct loop *loop = turn->loop;
    struct pattern_fault fault;
    uint64_t before, after;
    char *far = (char *)slot_of(loop->rank, loop->pool, turn->peer) + loop->offset;
    int rc = read_life(turn, &before);
    if (rc == SMEM_OK) {
        pattern_fill(turn->buf, loop->size, loop->writer, turn->generation, loop->offset);
        rc = copy_timed(loop, far, turn->buf);
    }
    if (rc == SMEM_OK) {
        memset(turn->buf, POISON, loop->size);
        rc = copy_timed(loop, turn->buf, far);
    }
    if (rc == SMEM_OK) {
        rc = read_life(turn, &after);
    }
    if (rc == SMEM_OK && before != 0 && before == after &&
        pattern_check(turn->buf, loop->size, loop->writer, turn->generation, loop->offset,
                      &fault) != 0) {
        note_wrong(loop, turn->peer, &fault);
    }
    return rc;
}

static int one_copy(struct turn *turn)
{
    struct loop *loop = turn->loop;
    struct pattern_fault fault;
    char *far = (char *)slot_of(loop->rank, loop->pool, turn->peer) + loop->offset;
    int rc;
    switch (loop->kind) {
    case LOOP_PUT:
        pattern_fill(turn->buf, PATTERN_LINE, loop->writer, turn->generation, loop->offset);
        return copy_timed(loop, far, turn->buf);
    case LOOP_GET:
        memset(turn->buf, POISON, loop->size);
        rc = copy_timed(loop, turn->buf, far);
        if (rc == SMEM_OK && pattern_check(turn->buf, loop->size, loop->writer, loop->generation,
                                           loop->offset, &fault) != 0) {
            note_wrong(loop, turn->peer, &fault);
        }
        return rc;
    case LOOP_BOTH:
        return put_and_get(turn);
    default:
        return copy_timed(loop,
                          (char *)slot_of(loop->rank, loop->pool, loop->peers[1]) + loop->offset,
                          (char *)slot_of(loop->rank, loop->pool, loop->peers[0]) + loop->offset);
    }
}

/* Load from every peer that can be loaded from: it must not crash, whatever becomes of the peer. */
static uint64_t peek(struct loop *loop)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < loop->peer_count; i++) {
        const char *at = pointer_to(loop->rank, loop->pool, loop->peers[i], loop->offset);
        if (at != NULL) {
            sum += *(const volatile uint64_t *)(const void *)at;
        }
    }
    return sum;
}

static void *loop_main(void *arg)
{
    struct loop *loop = arg;
    struct turn turn = {.loop = loop, .generation = loop->generation};
    uint32_t next = 0;
    turn.buf = malloc(loop->size);
    if (turn.buf == NULL) {
        note_failure(loop, SMEM_MALLOC_FAILED, "no buffer for the loop");
        return NULL;
    }
    pattern_fill(turn.buf, loop->size, loop->writer, turn.generation, loop->offset);
    while (!atomic_load(&loop->stop)) {
        turn.peer = loop->peers[loop->kind == LOOP_G2G ? 0 : next++ % loop->peer_count];
        turn.generation++;
        int rc = one_copy(&turn);
        if (rc != SMEM_OK) {
            note_failure(loop, rc, smem_get_last_err_msg());
        }
        if (rc != SMEM_OK && !loop->keep) {
            break;
        }
        if (loop->peek) {
            (void)peek(loop);
        }
        atomic_fetch_add(&loop->rounds, 1);
        if (loop->pause_us != 0 || rc != SMEM_OK) {
            uint64_t us = loop->pause_us != 0 ? loop->pause_us : 200;
            struct timespec pause = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
            nanosleep(&pause, NULL);
        }
    }
    free(turn.buf);
    return NULL;
}

/* ---- commands ------------------------------------------------------------------------------- */

static struct loop *find(struct rank *rank, const char *name)
{
    for (uint32_t i = 0; i < RANK_LOOPS; i++) {
        if (rank->loops[i].used && strcmp(rank->loops[i].name, name) == 0) {
            return &rank->loops[i];
        }
    }
    return NULL;
}

static bool read_peers(struct loop *loop, const char *list)
{
    char *end = NULL;
    while (*list != '\0' && loop->peer_count < RANK_PEERS) {
        loop->peers[loop->peer_count++] = (uint32_t)strtoul(list, &end, 10);
        if (end == list || (*end != ',' && *end != '\0')) {
            return false;
        }
        list = *end == ',' ? end + 1 : end;
    }
    return loop->peer_count > 0;
}

int loop_start(struct rank *rank, const struct words *words, char *text)
{
    static const char *const kinds[] = {"put", "get", "both", "g2g"};
    struct loop *loop = NULL;
    for (uint32_t i = 0; i < RANK_LOOPS && loop == NULL; i++) {
        loop = rank->loops[i].used ? NULL : &rank->loops[i];
    }
    if (loop == NULL || words->count < 3 || find(rank, words->v[1]) != NULL) {
        snprintf(text, LINE_BYTES, "loop NAME put|get|both|g2g ranks=R,... [...]");
        return SMEM_INVALID_PARAM;
    }
    memset(loop, 0, sizeof(*loop));
    loop->rank = rank;
    snprintf(loop->name, sizeof(loop->name), "%s", words->v[1]);
    while (loop->kind < LOOP_G2G && strcmp(kinds[loop->kind], words->v[2]) != 0) {
        loop->kind++;
    }
    loop->pool = (uint32_t)option_u64(words, "pool", 0);
    loop->offset = option_u64(words, "off", 0);
    loop->size = option_u64(words, "len", 4096);
    loop->word = option_u64(words, "word", UINT64_MAX);
    loop->generation = option_u64(words, "gen", 1);
    loop->writer = (uint32_t)option_u64(words, "writer", smem_bm_get_rank_id());
    loop->keep = option_u64(words, "keep", 0) != 0;
    loop->peek = option_u64(words, "peek", 0) != 0;
    loop->pause_us = option_u64(words, "pause", 0);
    if (!read_peers(loop, option_text(words, "ranks", ""))) {
        snprintf(text, LINE_BYTES, "ranks= is missing or no list of numbers");
        return SMEM_INVALID_PARAM;
    }
    int error = pthread_create(&loop->thread, NULL, loop_main, loop);
    if (error != 0) {
        snprintf(text, LINE_BYTES, "pthread_create: %s", strerror(error));
        return SMEM_NO_RESOURCES;
    }
    loop->used = true;
    return SMEM_OK;
}

int loop_stats(struct rank *rank, const struct words *words, char *text)
{
    const struct loop *loop = words->count > 1 ? find(rank, words->v[1]) : NULL;
    if (loop == NULL) {
        snprintf(text, LINE_BYTES, "no such loop");
        return SMEM_NOT_EXIST;
    }
    uint64_t errors = atomic_load(&loop->errors);
    snprintf(text, LINE_BYTES,
             "rounds=%" PRIu64 " errors=%" PRIu64 " wrong=%" PRIu64 " code=%d odd=%d at=%" PRIu64
             " slowest_us=%" PRIu64 " text=%s | %s",
             atomic_load(&loop->rounds), errors, atomic_load(&loop->wrong), errors ? loop->code : 0,
             loop->odd_code, loop->at_ns, loop->slowest_ns / 1000, loop->text, loop->odd_text);
    return SMEM_OK;
}

int loop_end(struct rank *rank, const struct words *words, char *text)
{
    struct loop *loop = words->count > 1 ? find(rank, words->v[1]) : NULL;
    if (loop != NULL) {
        atomic_store(&loop->stop, true);
        pthread_join(loop->thread, NULL);
    }
    int rc = loop_stats(rank, words, text);
    if (loop != NULL) {
        loop->used = false;
    }
    return rc;
}
