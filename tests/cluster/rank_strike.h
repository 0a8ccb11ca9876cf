// SPDX-License-Identifier: Apache-2.0
// Striking a scripted rank at a point that has a name, and the board: words in a file that outlives
// the process, by which it tells what it was doing when it was struck.
#ifndef MF_TESTS_CLUSTER_RANK_STRIKE_H
#define MF_TESTS_CLUSTER_RANK_STRIKE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "rank.h"

#define BOARD_PEERS      16u
#define BOARD_CELL_BYTES 8192u

/** What one thread of a mixed load has seen of one peer. Written by that thread. */
struct board_peer {
    _Atomic uint64_t ok, errors; /* calls */
    _Atomic uint64_t ok_ns;      /* CLOCK_MONOTONIC: the last call that was right */
    _Atomic uint64_t error_ns;   /* the first failure after a call that was right */
    _Atomic int64_t code;        /* of that failure */
    _Atomic uint64_t doing;      /* a name of at most 7 bytes; the 8th is 1 inside of a call */
    _Atomic uint64_t rounds;     /* all kinds of copies once */
    _Atomic uint64_t slowest_ns; /* of one call */
    char text[192];              /* the sentence of that failure */
};

/** The cell of one process. */
struct board_cell {
    _Atomic uint64_t control; /* the first 8 bytes of the command that runs; 0: none */
    _Atomic uint64_t wrong;   /* bytes */
    _Atomic uint64_t odd;     /* failures that are not as promised: odd_text */
    _Atomic uint64_t own;     /* failures since this rank itself is no member */
    _Atomic uint64_t strikes;
    _Atomic uint64_t struck_ns;
    _Atomic uint64_t struck_doing, struck_control;
    char struck_point[32];
    _Atomic uint64_t release; /* set from outside: who waits at a point goes on */
    _Atomic uint64_t child;   /* what a forked child has found: 1 as promised, 2 not */
    _Atomic uint64_t hurry;   /* set from outside: the load makes no pauses */
    uint64_t spare;
    char odd_text[512];
    _Atomic uint64_t struck_peers[BOARD_PEERS]; /* what the load was doing with each */
    uint64_t spare2[32];
    struct board_peer peer[BOARD_PEERS];
    uint64_t spare3[384];
};

_Static_assert(sizeof(struct board_cell) == BOARD_CELL_BYTES, "test_rows_*.py knows the layout");
_Static_assert(offsetof(struct board_cell, peer) == 1024, "test_rows_*.py knows the layout");

/** Never NULL: words that nobody reads until `board` has been called. */
struct board_cell *board_cell(void);
/** A name as a word. */
uint64_t board_word(const char *name);
/** Told by the conversation: this command begins (NULL: it has ended). */
void board_control(const char *name);
/** Told by a thread of the load: what it does from here on. */
void board_doing(struct board_peer *at, const char *name, bool inside);

/** Is this the point at which the next strike happens, for this peer? */
bool strike_is_at(const char *point, uint32_t peer);
/** Strike here, when it is armed for this point. */
void strike_between(const char *point, uint32_t peer);
/** The page there strikes when it is touched first. False: another thread has its page there; else
 * strike_untrap gives it back. */
bool strike_trap(void *page);
void strike_untrap(void);

int strike_board(struct rank *rank, const struct words *words, char *text);
int strike_arm(struct rank *rank, const struct words *words, char *text);
int mixed_start(struct rank *rank, const struct words *words, char *text);
int mixed_end(struct rank *rank, const struct words *words, char *text);

#endif
