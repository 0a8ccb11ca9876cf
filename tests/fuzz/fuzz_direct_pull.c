// SPDX-License-Identifier: Apache-2.0
// Requests to pull and their answers: the first byte says which. What decodes gives the same bytes
// when it is encoded again.
#include <string.h>

#include "base/limits.h"
#include "fuzz.h"
#include "smem.h"
#include "transport/direct/vm_msg.h"

static size_t pull_again(const uint8_t *data, size_t len, uint8_t *buf)
{
    static struct mf_direct_pull pull;
    uint64_t total = 0;
    if (mf_direct_pull_decode(data, len, &pull) != SMEM_OK) {
        return 0;
    }
    FUZZ_CHECK(pull.count >= 1 && pull.count <= MF_DIRECT_PULL_PIECES);
    FUZZ_CHECK(pull.rank < MF_WORLD_MAX && pull.index < MF_SEGMENTS_MAX);
    for (uint32_t i = 0; i < pull.count; i++) {
        total += pull.v[i].size;
    }
    FUZZ_CHECK(total > 0 && total <= MF_DIRECT_PULL_BYTES);
    return mf_direct_pull_encode(&pull, buf);
}

static size_t done_again(const uint8_t *data, size_t len, uint8_t *buf)
{
    static struct mf_direct_done done;
    if (mf_direct_done_decode(data, len, &done) != SMEM_OK) {
        return 0;
    }
    FUZZ_CHECK(done.count <= MF_DIRECT_PULL_PIECES);
    FUZZ_CHECK(memchr(done.text, '\0', sizeof(done.text)) != NULL);
    return mf_direct_done_encode(&done, buf);
}

void fuzz_one(const uint8_t *data, size_t len)
{
    static uint8_t buf[MF_DIRECT_PULL_MAX + MF_DIRECT_DONE_MAX];
    if (len == 0) {
        return;
    }
    size_t size =
        data[0] % 2 ? done_again(data + 1, len - 1, buf) : pull_again(data + 1, len - 1, buf);
    if (size > 0) {
        FUZZ_CHECK(size == len - 1 && memcmp(buf, data + 1, size) == 0);
    }
}

size_t fuzz_seed(uint32_t i, uint8_t *buf, size_t cap)
{
    static struct mf_direct_pull pull;
    static struct mf_direct_done done;
    uint32_t count = i < 12 ? i / 2 : MF_DIRECT_PULL_PIECES;
    if (i >= 14 || cap < 1 + MF_DIRECT_PULL_MAX) {
        return 0;
    }
    buf[0] = (uint8_t)(i % 2);
    if (i % 2) {
        memset(&done, 0, sizeof(done));
        done.number = 1 + i;
        done.count = count;
        if (count > 0) {
            done.code = SMEM_NOT_CONNECTED;
            done.codes[count - 1] = SMEM_NOT_CONNECTED;
            memcpy(done.text, "gone", 5);
        }
        return 1 + mf_direct_done_encode(&done, buf + 1);
    }
    pull = (struct mf_direct_pull){.rank = i,
                                   .index = 3,
                                   .incarnation = 4,
                                   .epoch = 5,
                                   .number = 6,
                                   .count = count + (i == 0)};
    for (uint32_t k = 0; k < pull.count; k++) {
        pull.v[k] = (struct mf_direct_piece){0x7f0000001000ull + k, k * 8ull, 1 + k};
    }
    return 1 + mf_direct_pull_encode(&pull, buf + 1);
}
