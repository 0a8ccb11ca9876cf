// SPDX-License-Identifier: Apache-2.0
// The file of the archive: appears under its name only when it is complete, never in the place of
// another one, and compressed when its name says so.
#ifndef MFCLI_LOGS_ARCHIVE_H
#define MFCLI_LOGS_ARCHIVE_H

#include <stdbool.h>
#include <sys/types.h>

#define ARCHIVE_ERROR_BYTES 512u

struct archive {
    const char *path;
    int file;       /* what will be the archive */
    int input;      /* where the tar goes: the file, or the pipe to gzip */
    pid_t gzip;     /* 0: not compressed */
    bool anonymous; /* the file has no name yet */
    char error[ARCHIVE_ERROR_BYTES];
};

/** Whether the name ends as an archive's does: .tar, .tar.gz, .tgz. */
bool archive_name_is_good(const char *path);
/** @return 0, or -1 with a sentence in archive->error: the file exists, cannot be made, no gzip */
int archive_open(struct archive *archive, const char *path);
/**
 * Completes the archive, or removes what there is of it.
 *
 * @param error what failed before, an errno; 0: nothing
 * @return 0, or -1 with a sentence; then no file is left
 */
int archive_close(struct archive *archive, int error);

#endif
