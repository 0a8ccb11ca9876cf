// SPDX-License-Identifier: Apache-2.0
// Passes a rank's output on line by line, each with the rank's number in front, so that the lines
// of several ranks do not run into each other.
#ifndef MFCLI_LINES_H
#define MFCLI_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define LINES_BUFFER 8192u

struct lines {
    int fd;           /* read end; -1 once it has ended */
    FILE *out;        /* where lines go */
    const char *name; /* "stdout" or "stderr" */
    uint32_t rank;
    bool json;
    bool raw; /* whole lines as they come */
    size_t used;
    char buffer[LINES_BUFFER]; /* the line that has not ended yet */
};

void lines_init(struct lines *lines, int fd, FILE *out, const char *name, uint32_t rank, bool json);
/** Reads what is there and passes whole lines on; closes the descriptor at its end. */
void lines_read(struct lines *lines);
/** Passes on what is left of a line and closes the descriptor. */
void lines_close(struct lines *lines);

#endif
