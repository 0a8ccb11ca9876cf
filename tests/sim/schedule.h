// SPDX-License-Identifier: Apache-2.0
// A schedule: everything that decides one run of a world, and how it is drawn from a seed within
// what the command line asks for. The same seed and the same wishes give the same schedule.
#ifndef MF_SIM_SCHEDULE_H
#define MF_SIM_SCHEDULE_H

#include "world.h"

#define SCHEDULE_FAULTS_MAX 256u
#define SCHEDULE_STEPS_MAX  1000000000ull
/** Room for the longest list of faults as text. */
#define SCHEDULE_TEXT_MAX (SCHEDULE_FAULTS_MAX * 96u)

struct schedule {
    uint64_t seed, steps;
    uint32_t ranks, ranks_per_host; /* the latter 0: the seed chooses */
    uint32_t fault_count;
    struct world_fault faults[SCHEDULE_FAULTS_MAX];
};

struct range {
    uint64_t low, high;
};

/** What is given for --faults. */
enum wish_kind {
    WISH_COUNT, /* so many, of any kind */
    WISH_KINDS, /* so many of each kind */
    WISH_EXACT, /* these */
};

struct wishes {
    struct range ranks, steps; /* high 0: as the seed likes */
    uint32_t ranks_per_host;
    enum wish_kind kind;
    struct range count;
    uint32_t kinds[FAULT_KINDS];
    uint32_t exact_count;
    struct world_fault exact[SCHEDULE_FAULTS_MAX];
};

void wishes_init(struct wishes *wishes);
/** "7" or "5..12": true; else a sentence in `why`. `what`: "--ranks". */
bool wishes_range(const char *what, const char *text, struct range limits, struct range *out,
                  char *why, size_t len);
/** A number, a range of it, a list of kinds with numbers, or a list of faults as
 * schedule_print_faults prints it. */
bool wishes_faults(struct wishes *wishes, const char *text, char *why, size_t len);
/** False: an exact fault names a rank that there is not. */
bool schedule_draw(const struct wishes *wishes, uint64_t seed, struct schedule *out, char *why,
                   size_t len);

/** "kill@1200:r3/joining/500ms,cut@1500:r1-r4/any/2s"; cut off when there is no room. */
void schedule_print_faults(const struct schedule *schedule, char *out, size_t len);
/** What replays it: "mf-sim --seed 5 --ranks 8 --steps 2000 --faults ..."; `out` has room for
 * SCHEDULE_TEXT_MAX + 256. */
void schedule_print_command(const struct schedule *schedule, char *out, size_t len);

#endif
