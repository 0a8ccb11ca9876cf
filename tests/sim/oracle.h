// SPDX-License-Identifier: Apache-2.0
// What every byte of every pool may be. The world says what it is about to copy and what became of
// it; the transport says what lands (seen.h). Memory is modelled as words of 8 bytes in cells; a
// cell has one writer at most, or readers, so that after an acknowledged copy each of its words has
// one value, and after a failed one a few.
#ifndef MF_SIM_ORACLE_H
#define MF_SIM_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"
#include "seen.h"

#define ORACLE_CELL_WORDS  8u
#define ORACLE_CELL_BYTES  64u
#define ORACLE_CELLS_FIRST 32u /* in the first piece of a slot, from its beginning */
#define ORACLE_CELLS_NEXT  8u  /* in its second piece */
#define ORACLE_CELLS       (ORACLE_CELLS_FIRST + ORACLE_CELLS_NEXT)
#define ORACLE_PART_WORDS  32u /* of one copy at most */
#define ORACLE_POOLS       2u
#define ORACLE_LOCAL       UINT32_MAX

/** `unmapped`: also copies within a host are done by the owner of the target. */
void oracle_open(uint32_t ranks, bool unmapped);
void oracle_close(void);

/** One end of a copy: whole words of consecutive cells. */
struct oracle_span {
    uint32_t pool, rank; /* rank ORACLE_LOCAL: memory of the process */
    uint32_t cell, word; /* the first */
};

/** What the words of a cell may be: one of v[0..n-1]; n 0: anything. */
struct oracle_word {
    uint64_t v[3];
    uint32_t n;
};

/** One copy, from before it begins until it has been judged. */
struct oracle_part {
    struct oracle_span src, dst;
    uint32_t words;
    uint64_t *local;      /* of the end that is local */
    uint64_t incarnation; /* of the life that copies */
    uint32_t rank, host;  /* its */
    uint64_t clear_ns;    /* when its process was last stopped or slow; 0: never */
    bool request;         /* of a request */
    /* The oracle's: */
    bool held;
    uint64_t id;
    uint64_t begun_ns;
    uint64_t src_tenure, dst_tenure;
    bool src_live, dst_live;
    uint32_t landed;       /* words that have landed */
    uint64_t landed_epoch; /* in this segment */
    uint64_t last_land_ns;
    struct oracle_word old[ORACLE_PART_WORDS]; /* of the source, when it began */
    struct oracle_part *next;                  /* of the free ones, the world's */
};

enum oracle_end {
    ORACLE_DONE,    /* it said so */
    ORACLE_NOTHING, /* it said that nothing has moved */
    ORACLE_UNKNOWN, /* it failed */
    ORACLE_KILLED,  /* nobody says: its process has ended */
};

/** Reserve the cells and note what is there; false: somebody else has them. Fills a local source
 * with words that nobody else writes. */
bool oracle_begin(struct oracle_part *part);
/** Judge it and let go of the cells. */
void oracle_end(struct oracle_part *part, enum oracle_end how, const char *what);

/** Have both ends been the same memory since it began? */
bool oracle_is_steady(const struct oracle_part *part);

/** The process of the life has ended, or has closed its context: what it gave is gone. */
void oracle_life_ended(uint64_t incarnation);
/** Who gives memory at the moment; 0: nobody. */
uint64_t oracle_giver(uint32_t pool, uint32_t rank);
/** Has the slot its second piece? */
bool oracle_has_next(uint32_t pool, uint32_t rank);
/** Memory that was just laid down reads zero. */
void oracle_check_fresh(struct sim_object *object, const char *what);
/** Every word of all memory that is given. */
void oracle_check_all(void);

/** How the oracle gets at a published segment: the world knows the process. False: not known. */
struct oracle_piece {
    struct sim_object *object;
    uint64_t offset; /* in the slot */
    uint32_t host;
};
bool oracle_find_piece(const struct mf_segment_desc *desc, struct oracle_piece *out);

#endif
