// SPDX-License-Identifier: Apache-2.0
// The messages of the transport `direct`: what decodes gives the same bytes when it is encoded
// again.
#include <string.h>

#include "base/limits.h"
#include "fuzz.h"
#include "smem.h"
#include "transport/direct/msg.h"

void fuzz_one(const uint8_t *data, size_t len)
{
    static struct mf_direct_msg msg;
    static uint8_t buf[MF_DIRECT_MSG_MAX];
    if (mf_direct_msg_decode(data, len, &msg) != SMEM_OK) {
        return;
    }
    FUZZ_CHECK(msg.count <= MF_DIRECT_MSG_SEGMENTS);
    FUZZ_CHECK(mf_direct_msg_fds(&msg) <= MF_DIRECT_MSG_FDS);
    FUZZ_CHECK(memchr(msg.text, '\0', sizeof(msg.text)) != NULL);
    for (uint32_t i = 0; i < msg.count; i++) {
        FUZZ_CHECK(msg.segs[i].desc.index < MF_SEGMENTS_MAX);
        FUZZ_CHECK(msg.segs[i].desc.kind < MF_KIND_COUNT);
    }
    FUZZ_CHECK(mf_direct_msg_encode(&msg, buf) <= sizeof(buf));
}

size_t fuzz_seed(uint32_t i, uint8_t *buf, size_t cap)
{
    static struct mf_direct_msg msg;
    if (i >= 24 || cap < MF_DIRECT_MSG_MAX) {
        return 0;
    }
    memset(&msg, 0, sizeof(msg));
    msg.type = (enum mf_direct_msg_type)(1 + i % 6);
    msg.flags = i & 1;
    msg.rank = i;
    msg.pool = i;
    msg.world_id = 3;
    msg.incarnation = 4;
    msg.to = 5;
    if (msg.type == MF_DIRECT_REFUSE) {
        msg.code = SMEM_NOT_CONNECTED;
        memcpy(msg.text, "not now", 8);
    } else if (msg.type != MF_DIRECT_AGAIN) {
        msg.count = i % 5;
    }
    for (uint32_t k = 0; k < msg.count; k++) {
        msg.segs[k].desc = (struct mf_segment_desc){.gva = 0x280000000000ull + ((uint64_t)k << 21),
                                                    .size = 2 << 20,
                                                    .epoch = 9,
                                                    .incarnation = 4,
                                                    .pool = i,
                                                    .owner = i,
                                                    .index = k,
                                                    .kind = k % 2};
        msg.segs[k].has_fd = k % 2 == 0;
    }
    return mf_direct_msg_encode(&msg, buf);
}
