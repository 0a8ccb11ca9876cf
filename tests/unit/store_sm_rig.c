// SPDX-License-Identifier: Apache-2.0
// The rig of the tests of single state machines.
#include "unit/store_sm_rig.h"

#include "mf_test.h"

static uint64_t rig_now(void *arg)
{
    return ((struct sm_rig *)arg)->now;
}

static void rig_random(void *arg, void *buf, size_t len)
{
    struct sm_rig *rig = arg;
    for (size_t i = 0; i < len; i++) {
        rig->rng = rig->rng * 6364136223846793005ull + 1442695040888963407ull;
        ((uint8_t *)buf)[i] = (uint8_t)(rig->rng >> 56);
    }
}

static pid_t rig_pid(void *arg)
{
    (void)arg;
    return 1;
}

void sm_rig_init(struct sm_rig *rig)
{
    static const struct mf_env_ops ops = {.now_ns = rig_now, .random = rig_random, .pid = rig_pid};
    memset(rig, 0, sizeof(*rig));
    atomic_init(&rig->log.level, MF_LOG_FATAL);
    rig->env = (struct mf_env){.ops = &ops, .arg = rig, .log = &rig->log};
    rig->now = 1000 * MS;
    rig->rng = 1;
}

void frame_log_init(struct frame_log *log)
{
    memset(log, 0, sizeof(*log));
    mf_framer_init(&log->framer, MF_FRAME_MAX);
}

void frame_log_fini(struct frame_log *log)
{
    mf_framer_fini(&log->framer);
}

void frame_log_clear(struct frame_log *log)
{
    log->count = 0;
}

static bool keep(void *arg, uint8_t type, const uint8_t *body, size_t len)
{
    struct frame_log *log = arg;
    assert_true(log->count < 32);
    log->frames[log->count].type = type;
    log->frames[log->count].len = len;
    memcpy(log->frames[log->count].body, body,
           len < sizeof(log->frames[0].body) ? len : sizeof(log->frames[0].body));
    log->count++;
    return true;
}

void frame_log_feed(struct frame_log *log, const void *data, size_t len)
{
    mf_assert_ok(mf_framer_feed(&log->framer, data, len, keep, log));
}

const uint8_t *frame_log_at(struct frame_log *log, uint32_t n, uint8_t type, size_t *len)
{
    if (n >= log->count || log->frames[n].type != type) {
        print_error("frame %u of %u is of type %d, expected %u\n", n, log->count,
                    n < log->count ? log->frames[n].type : -1, type);
        fail();
    }
    *len = log->frames[n].len;
    return log->frames[n].body;
}

struct mf_smsg_reply frame_log_reply(struct frame_log *log, uint32_t n)
{
    struct mf_smsg_reply reply;
    size_t len;
    const uint8_t *body = frame_log_at(log, n, MF_SMSG_REPLY, &len);
    mf_assert_ok(mf_smsg_get_reply(body, len, &reply));
    return reply;
}
