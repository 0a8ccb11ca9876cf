// SPDX-License-Identifier: Apache-2.0
// The conformance suite of transports: what every transport promises to the library, by the words
// of mf_transport.h alone. Each rank is a process of its own. The transport is named on the command
// line; a new one adds a line to transport.cmake, not tests.
#ifndef TRANSPORT_SUITE_H
#define TRANSPORT_SUITE_H

#include <stdatomic.h>
#include <sys/types.h>

#include "transport_host.h"

#define TS_RANKS 3u
#define TS_DRAM  (32ull << 20)
#define TS_HBM   (4ull << 20)

/** What the processes of one test share. */
struct ts_shared {
    _Atomic uint32_t arrived[64]; /* barriers, in order */
    _Atomic uint64_t word[8];     /* for the tests */
    uint8_t endpoint[TS_RANKS][MF_ENDPOINT_MAX];
    uint32_t endpoint_len[TS_RANKS];
    uint64_t incarnation[TS_RANKS];
    _Atomic int pid[TS_RANKS];
    _Atomic uint32_t may_die; /* bit r: rank r is to be killed */
    _Atomic int skipped;
    _Atomic int failed;
    char text[512]; /* why */
};

/** One rank of one test: opened, published, attached to all others. */
struct ts_rank {
    struct ts_shared *shared;
    struct th th;
    uint32_t rank;
    uint32_t world;
    uint32_t next_barrier;
    struct th_own dram;
    struct th_own hbm;
    void *lane;
};

typedef void (*ts_case_fn)(struct ts_rank *r);

/** The rank's process ends with that sentence. */
void ts_fail(const struct ts_rank *r, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), noreturn));
/** The test does not apply, for all ranks alike. */
void ts_skip(const struct ts_rank *r, const char *why) __attribute__((noreturn));
/** Wait for all ranks. */
void ts_barrier(struct ts_rank *r);
/** True within two seconds? */
int ts_soon(int (*is)(struct ts_rank *r), struct ts_rank *r);
void ts_attach(struct ts_rank *r, uint32_t to);
/** Bytes that depend on seed and position. */
void ts_pattern(uint8_t *buf, uint64_t size, uint32_t seed);
int ts_is_pattern(const uint8_t *buf, uint64_t size, uint32_t seed);

#define TS_CHECK(r, cond) \
    ((cond)               \
         ? (void)0        \
         : ts_fail((r), __FILE__, __LINE__, "%s is not so; last error: %s", #cond, mf_err_msg()))
#define TS_RC(r, expr, rc) ts_check_rc((r), (expr), (rc), #expr, __FILE__, __LINE__)
void ts_check_rc(const struct ts_rank *r, int got, int want, const char *expr, const char *file,
                 int line);

/* transport_copy_cases.c */
void ts_words_are_whole(struct ts_rank *r);
void ts_sizes_and_alignments(struct ts_rank *r);
void ts_edges_of_a_segment(struct ts_rank *r);
void ts_batch(struct ts_rank *r);
void ts_third_party(struct ts_rank *r);
void ts_device_memory(struct ts_rank *r);

/* transport_many_cases.c */
void ts_many(struct ts_rank *r);
void ts_many_ends_with_its_segment(struct ts_rank *r);

/* transport_fence_cases.c */
void ts_withdraw_is_final(struct ts_rank *r);
void ts_stale_segment_is_refused(struct ts_rank *r);
void ts_detach_and_attach_again(struct ts_rank *r);
void ts_declared_dead_is_refused(struct ts_rank *r);
void ts_kill_in_the_middle_of_a_copy(struct ts_rank *r);
void ts_death_is_seen_though_a_child_lives(struct ts_rank *r);
void ts_stopped_peer_costs_the_deadline(struct ts_rank *r);
void ts_new_segments_need_another_attach(struct ts_rank *r);

#endif
