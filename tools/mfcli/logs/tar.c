// SPDX-License-Identifier: Apache-2.0
// Writes a tar archive.
#include "tar.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BLOCK      512u
#define NAME_BYTES 100u
#define COPY_BYTES 65536u

struct header {
    char name[NAME_BYTES], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type;
    char link[100], magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155];
    char rest[12];
};

_Static_assert(sizeof(struct header) == BLOCK, "a header is one block");

void tar_init(struct tar *tar, int fd, int64_t mtime)
{
    *tar = (struct tar){.fd = fd, .mtime = mtime};
}

static void put(struct tar *tar, const void *data, size_t size)
{
    const char *at = data;

    while (size && !tar->error) {
        ssize_t done = write(tar->fd, at, size);

        if (done < 0 && errno != EINTR) {
            tar->error = errno;
        } else if (done > 0) {
            at += done;
            size -= (size_t)done;
            tar->bytes += (uint64_t)done;
        }
    }
}

static void pad(struct tar *tar)
{
    static const char zeros[BLOCK];
    size_t over = tar->bytes % BLOCK;

    put(tar, zeros, over ? BLOCK - over : 0);
}

static void put_header(struct tar *tar, const char *name, char type, uint64_t size, int64_t mtime)
{
    struct header header = {.mode = "0000600", .uid = "0000000", .gid = "0000000", .type = type};
    unsigned sum = 0;
    char number[24];

    memcpy(header.name, name, strnlen(name, NAME_BYTES));
    snprintf(number, sizeof(number), "%011llo", (unsigned long long)size);
    memcpy(header.size, number, sizeof(header.size));
    snprintf(number, sizeof(number), "%011llo", (unsigned long long)(mtime > 0 ? mtime : 0));
    memcpy(header.mtime, number, sizeof(header.mtime));
    memcpy(header.magic, "ustar", sizeof(header.magic));
    memcpy(header.version, "00", sizeof(header.version));
    memset(header.sum, ' ', sizeof(header.sum));
    for (size_t i = 0; i < BLOCK; i++) {
        sum += ((const unsigned char *)&header)[i];
    }
    snprintf(number, sizeof(number), "%06o", sum);
    memcpy(header.sum, number, 7);
    put(tar, &header, sizeof(header));
}

static void begin_file(struct tar *tar, const char *name, uint64_t size, int64_t mtime)
{
    size_t length = strlen(name);

    if (length > NAME_BYTES) {
        put_header(tar, "././@LongLink", 'L', length + 1, 0);
        put(tar, name, length + 1);
        pad(tar);
    }
    put_header(tar, name, '0', size, mtime);
}

void tar_memory(struct tar *tar, const char *name, const void *data, size_t size)
{
    begin_file(tar, name, size, tar->mtime);
    put(tar, data, size);
    pad(tar);
}

uint64_t tar_copy(struct tar *tar, const char *name, int from, uint64_t size, int64_t mtime)
{
    char buffer[COPY_BYTES];
    uint64_t left = size, good = 0;
    bool ended = false;

    begin_file(tar, name, size, mtime);
    while (left && !tar->error) {
        size_t want = left < sizeof(buffer) ? (size_t)left : sizeof(buffer);
        ssize_t got = ended ? 0 : read(from, buffer, want);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        ended = got <= 0;
        if (ended) {
            memset(buffer, 0, want);
        } else {
            want = (size_t)got;
            good += want;
        }
        put(tar, buffer, want);
        left -= want;
    }
    pad(tar);
    return good;
}

int tar_end(struct tar *tar)
{
    static const char zeros[2 * BLOCK];

    put(tar, zeros, sizeof(zeros));
    return tar->error;
}
