// SPDX-License-Identifier: Apache-2.0
// Writing down: files of their own names, so that processes and threads do not meet, and what was
// recorded once is not recorded again.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recorder.h"

static uint64_t hash_of(uint64_t hash, const void *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ ((const uint8_t *)data)[i]) * 0x100000001b3ull;
    }
    return hash;
}

void record(const char *target, const void *head, size_t head_len, const void *data, size_t len)
{
    const char *folder = getenv("FUZZ_RECORD");
    char path[4096];
    if (!folder || head_len + len > RECORD_MAX) {
        return;
    }
    uint64_t hash = hash_of(hash_of(0xcbf29ce484222325ull, head, head_len), data, len);
    snprintf(path, sizeof(path), "%s/%s", folder, target);
    (void)mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/%s/%016" PRIx64, folder, target, hash);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        return; /* it is there already */
    }
    if ((head_len > 0 && write(fd, head, head_len) != (ssize_t)head_len) ||
        (len > 0 && write(fd, data, len) != (ssize_t)len)) {
        fprintf(stderr, "fuzz recorder: %s: %s\n", path, strerror(errno));
    }
    close(fd);
}

#define WRITE_EVERY 32u

static void put(struct record_steps *steps, uint8_t what, size_t number, const void *data,
                size_t len)
{
    uint8_t *at = steps->data + steps->len;
    if (steps->full || steps->len + 3 + len > sizeof(steps->data)) {
        steps->full = true; /* what comes behind a gap makes no sense */
        return;
    }
    at[0] = what;
    at[1] = (uint8_t)number;
    at[2] = (uint8_t)(number >> 8);
    if (len > 0) {
        memcpy(at + 3, data, len);
    }
    steps->len += 3 + len;
    if (++steps->count % WRITE_EVERY == 0) {
        record_end(steps);
    }
}

void record_number(struct record_steps *steps, uint8_t what, size_t number)
{
    put(steps, what, number, NULL, 0);
}

void record_step(struct record_steps *steps, uint8_t what, const void *data, size_t len)
{
    put(steps, what, len, data, len);
}

void record_time(struct record_steps *steps, uint8_t what, uint64_t now_ns)
{
    uint64_t ms = (now_ns - steps->last_ns) / 1000000u;
    if (steps->last_ns == 0 || now_ns < steps->last_ns) {
        steps->last_ns = now_ns;
    } else if (ms > 0) {
        record_number(steps, what, ms < UINT16_MAX ? ms : UINT16_MAX);
        steps->last_ns = now_ns;
    }
}

void record_end(struct record_steps *steps)
{
    record(steps->target, "", 0, steps->data, steps->len);
}
