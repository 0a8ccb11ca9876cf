// SPDX-License-Identifier: Apache-2.0
// For tests of one store state machine alone: an environment with a clock that is set by hand, and
// the other end of the connection as frames that the test writes and reads itself.
#ifndef MF_TEST_STORE_SM_RIG_H
#define MF_TEST_STORE_SM_RIG_H

#include "base/env.h"
#include "wire/store_msg.h"

#define MS MF_NS_PER_MS

struct sm_rig {
    struct mf_log log;
    struct mf_env env;
    uint64_t now, rng;
};

void sm_rig_init(struct sm_rig *rig);

/** Frames that one end has sent: kept until they are looked at. */
struct frame_log {
    struct mf_framer framer;
    uint32_t count;
    struct {
        uint8_t type;
        size_t len;
        uint8_t body[4096]; /* the first bytes of it */
    } frames[32];
};

void frame_log_init(struct frame_log *log);
void frame_log_fini(struct frame_log *log);
void frame_log_clear(struct frame_log *log);
/** Cut these bytes into frames, behind those that are there. */
void frame_log_feed(struct frame_log *log, const void *data, size_t len);
/** The nth frame is of this type; its body. */
const uint8_t *frame_log_at(struct frame_log *log, uint32_t n, uint8_t type, size_t *len);
/** The nth frame is a REPLY. */
struct mf_smsg_reply frame_log_reply(struct frame_log *log, uint32_t n);

#endif
