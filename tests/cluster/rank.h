// SPDX-License-Identifier: Apache-2.0
// A scripted rank: what its commands share. It reads a command a line from standard input and
// answers each with one line: code, microseconds, text.
#ifndef MF_TESTS_CLUSTER_RANK_H
#define MF_TESTS_CLUSTER_RANK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "smem.h"
#include "smem_bm.h"

#define RANK_POOLS 64u
#define RANK_LOOPS 8u
#define RANK_PEERS 1024u
#define LINE_BYTES 8192u

/** Words of a command: positions, then key=value in any order. */
struct words {
    char *v[40];
    uint32_t count;
};
uint64_t word_u64(const struct words *words, uint32_t at);
/** The value of key=value, or what is given. */
uint64_t option_u64(const struct words *words, const char *key, uint64_t otherwise);
const char *option_text(const struct words *words, const char *key, const char *otherwise);

enum loop_kind {
    LOOP_PUT,  /* write the pattern, again and again */
    LOOP_GET,  /* read and check what `writer` has left there */
    LOOP_BOTH, /* write, read back, check: in the life of the peer that its first word names */
    LOOP_G2G,  /* from the first peer to the second */
};

/** A thread that copies until it is ended. */
struct loop {
    char name[32];
    struct rank *rank;
    pthread_t thread;
    _Atomic bool stop;
    bool used;
    enum loop_kind kind;
    bool keep; /* go on after a failure */
    bool peek; /* load through the pointer, too */
    uint32_t pool;
    uint32_t peers[RANK_PEERS];
    uint32_t peer_count;
    uint64_t offset, size, word, generation, pause_us;
    uint32_t writer;
    /* What it has seen. */
    _Atomic uint64_t rounds, errors, wrong;
    int code;       /* of the first failure */
    int odd_code;   /* the first one that is not SMEM_NOT_CONNECTED */
    uint64_t at_ns; /* when the first failure was seen, CLOCK_MONOTONIC */
    uint64_t slowest_ns;
    char text[1024];
    char odd_text[1024];
};

struct rank {
    smem_bm_t pools[RANK_POOLS];
    struct loop loops[RANK_LOOPS];
    uint64_t random;
};

uint64_t now_ns(void);
void *slot_of(struct rank *rank, uint32_t pool, uint32_t peer);
/** One copy in the direction that the addresses say. */
int copy_bytes(struct rank *rank, uint32_t pool, void *dst, const void *src, uint64_t size);
/** Where this process can load and store the slot's bytes; NULL when it cannot. */
char *pointer_to(struct rank *rank, uint32_t pool, uint32_t peer, uint64_t offset);

/* Each command: its result code; the text of the answer in `text` (LINE_BYTES). On failure an empty
 * text is replaced by the sentence of the library. */
int address_where(struct rank *rank, const struct words *words, char *text);
int address_read(struct rank *rank, const struct words *words, char *text);
int address_put(struct rank *rank, const struct words *words, char *text);
int address_get(struct rank *rank, const struct words *words, char *text);
int address_hbm(struct rank *rank, const struct words *words, char *text);
int memory_size(struct rank *rank, const struct words *words, char *text);
int memory_extend(struct rank *rank, const struct words *words, char *text);
int memory_memfd(struct rank *rank, const struct words *words, char *text);
int memory_open(struct rank *rank, const struct words *words, char *text);
int loop_start(struct rank *rank, const struct words *words, char *text);
int loop_stats(struct rank *rank, const struct words *words, char *text);
int loop_end(struct rank *rank, const struct words *words, char *text);

#endif
