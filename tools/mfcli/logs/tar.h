// SPDX-License-Identifier: Apache-2.0
// Writes a tar archive (ustar, with GNU's long names) to a descriptor. The first failure is kept;
// after it nothing more is written.
#ifndef MFCLI_LOGS_TAR_H
#define MFCLI_LOGS_TAR_H

#include <stddef.h>
#include <stdint.h>

#define TAR_FILE_MAX ((uint64_t)8 << 30) /* bytes of one file, exclusive */

struct tar {
    int fd;
    int error;      /* errno of the first failed write; 0 */
    uint64_t bytes; /* written */
    int64_t mtime;  /* of the files that are made here, seconds */
};

void tar_init(struct tar *tar, int fd, int64_t mtime);
/** A file of `size` bytes of memory. */
void tar_memory(struct tar *tar, const char *name, const void *data, size_t size);
/**
 * A file of `size` bytes, less than TAR_FILE_MAX, read from `from`.
 *
 * @return bytes that were read; the rest, of a file that became shorter, is filled with zeros
 */
uint64_t tar_copy(struct tar *tar, const char *name, int from, uint64_t size, int64_t mtime);
/** Ends the archive. @return 0, or the errno of the first failure */
int tar_end(struct tar *tar);

#endif
