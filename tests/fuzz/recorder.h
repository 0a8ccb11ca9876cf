// SPDX-License-Identifier: Apache-2.0
// The recorder of what decoders are given while real programs run: the library with these files in
// it, whose calls of the decoders the linker leads here (--wrap). Each input becomes a file named
// for its content, $FUZZ_RECORD/<target>/<hash>; without that variable nothing is recorded.
#ifndef MF_TESTS_FUZZ_RECORDER_H
#define MF_TESTS_FUZZ_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Inputs are short: what a decoder does with more of the same is no news. */
#define RECORD_MAX 6000u

/** One input, put together from two pieces. From any thread. */
void record(const char *target, const void *head, size_t head_len, const void *data, size_t len);

/** A conversation: steps are added until it is full. It is written then, at its end, and now and
 * then before, as processes may be killed. */
struct record_steps {
    const char *target;
    bool full;
    uint32_t count;
    size_t len;
    uint64_t last_ns; /* up to where time was written down */
    uint8_t data[RECORD_MAX];
};

/** One byte, two of length, that many bytes. */
void record_step(struct record_steps *steps, uint8_t what, const void *data, size_t len);
/** The same without bytes behind the number. */
void record_number(struct record_steps *steps, uint8_t what, size_t number);
/** Milliseconds since the last one, as a step. */
void record_time(struct record_steps *steps, uint8_t what, uint64_t now_ns);
void record_end(struct record_steps *steps);

#endif
