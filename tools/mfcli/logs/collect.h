// SPDX-License-Identifier: Apache-2.0
// What goes into a report: facts of the system and of the library, and files that the user named.
// Each entry is noted, also one that could not be had.
#ifndef MFCLI_LOGS_COLLECT_H
#define MFCLI_LOGS_COLLECT_H

#include <stdint.h>

#include "tar.h"

#define COLLECT_FOLDER    "mfcli-logs"         /* in the archive */
#define COLLECT_FILE_MAX  ((uint64_t)64 << 20) /* of a larger file, the end */
#define COLLECT_FILES_MAX 10000u

struct entry {
    char *name;     /* in the archive; of what is not in it, where it is */
    uint64_t bytes; /* 0: nothing is in it */
    char *note;     /* "": it was taken as it is */
};

struct collect {
    struct tar tar;
    struct entry *entries;
    uint32_t count;
    uint32_t files; /* that the user named */
};

void collect_init(struct collect *collect, int out);
/** Version, options, environment, limits, memory, control groups, kernel messages. */
void collect_system(struct collect *collect);
/** A file, or a directory and what is below it. Links are noted, never followed. `prefix` is the
 * beginning of the names to take, or "" for all. */
void collect_path(struct collect *collect, const char *path, const char *prefix);
/** Writes the list of all entries. @return 0, or the errno of the first failed write */
int collect_end(struct collect *collect);
void collect_fini(struct collect *collect);

/** For the parts of the collector. Text of which `text` is the format. */
void collect_text(struct collect *collect, const char *name, const char *text, const char *note);
void collect_note(struct collect *collect, const char *name, uint64_t bytes, const char *note);

#endif
