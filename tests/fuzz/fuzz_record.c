// SPDX-License-Identifier: Apache-2.0
// What ranks write into the store: the first byte says which record. What decodes keeps within its
// limits and gives the same bytes when it is encoded again.
#include <string.h>

#include "fuzz.h"
#include "smem.h"
#include "wire/record.h"

enum { IDENTITY, WORLD, MAP, MEMBER, RECORDS };

static size_t again(uint8_t which, const uint8_t *data, size_t len, uint8_t *buf)
{
    static struct mf_rec_map map;
    struct mf_rec_identity identity;
    struct mf_rec_world world;
    struct mf_rec_member member;
    switch (which % RECORDS) {
    case IDENTITY:
        return mf_rec_get_identity(data, len, &identity) ? 0 : mf_rec_put_identity(buf, &identity);
    case WORLD:
        return mf_rec_get_world(data, len, &world) ? 0 : mf_rec_put_world(buf, &world);
    case MAP:
        if (mf_rec_get_map(data, len, &map)) {
            return 0;
        }
        FUZZ_CHECK(map.count <= MF_POOLS_MAX);
        return mf_rec_put_map(buf, &map);
    default:
        if (mf_rec_get_member(data, len, &member)) {
            return 0;
        }
        FUZZ_CHECK(member.count <= MF_TRANSPORTS_MAX);
        return mf_rec_put_member(buf, &member);
    }
}

void fuzz_one(const uint8_t *data, size_t len)
{
    static uint8_t buf[MF_RECORD_MAX];
    if (len == 0) {
        return;
    }
    size_t size = again(data[0], data + 1, len - 1, buf);
    if (size > 0) {
        FUZZ_CHECK(size == len - 1);
        FUZZ_CHECK(memcmp(buf, data + 1, size) == 0);
    }
}

size_t fuzz_seed(uint32_t i, uint8_t *buf, size_t cap)
{
    static struct mf_rec_map map;
    struct mf_rec_identity identity = {.incarnation = 42, .pid = 4711, .host_hint = 99};
    struct mf_rec_member member = {
        .identity = identity, .hbm_bytes = 2 << 20, .dram_bytes = 1 << 30};
    FUZZ_CHECK(cap > MF_RECORD_MAX);
    *buf = (uint8_t)(i % RECORDS);
    map.count = i % (MF_POOLS_MAX + 1);
    for (uint32_t k = 0; k < map.count; k++) {
        map.v[k] = (struct mf_rec_layout){k, 0x280000000000ull + k, 2 << 20, 4 << 20, 256, k % 2};
    }
    member.count = i % (MF_TRANSPORTS_MAX + 1);
    for (uint32_t k = 0; k < member.count; k++) {
        member.endpoint[k].data_ops = 1u << k;
        member.endpoint[k].len = k * 9;
    }
    switch (i % RECORDS) {
    case IDENTITY:
        return i > 40 ? 0 : 1 + mf_rec_put_identity(buf + 1, &identity);
    case WORLD:
        return 1 + mf_rec_put_world(buf + 1, &(struct mf_rec_world){7, 1 + i});
    case MAP:
        return 1 + mf_rec_put_map(buf + 1, &map);
    default:
        return 1 + mf_rec_put_member(buf + 1, &member);
    }
}
