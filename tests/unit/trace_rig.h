// SPDX-License-Identifier: Apache-2.0
// What the tests of src/trace share: an environment whose clock is a number of the test's, and a
// log that counts its lines.
#ifndef MF_TEST_TRACE_RIG_H
#define MF_TEST_TRACE_RIG_H

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "mf_test.h"
#include "trace/table.h"
#include "trace/trace.h"

struct trace_rig {
    _Atomic uint64_t clock_ns;
    _Atomic uint64_t asked; /* how often the clock was */
    uint64_t step_ns;       /* that each look at the clock takes */
    struct mf_log log;
    struct mf_env env;
    struct mf_trace *trace;
    struct mf_trace_sums sums;
};

static inline uint64_t rig_now(void *arg)
{
    struct trace_rig *rig = arg;
    atomic_fetch_add(&rig->asked, 1);
    return atomic_fetch_add(&rig->clock_ns, rig->step_ns) + rig->step_ns;
}

static inline pid_t rig_pid(void *arg)
{
    (void)arg;
    return getpid();
}

static inline void rig_random(void *arg, void *buf, size_t len)
{
    (void)arg;
    memset(buf, 7, len);
}

static inline struct trace_rig *rig_new(void)
{
    static const struct mf_env_ops ops = {.now_ns = rig_now, .random = rig_random, .pid = rig_pid};
    struct trace_rig *rig = calloc(1, sizeof(*rig));
    atomic_init(&rig->clock_ns, 1000);
    atomic_init(&rig->log.level, MF_LOG_WARN);
    rig->env = (struct mf_env){.ops = &ops, .arg = rig, .log = &rig->log};
    return rig;
}

static inline int rig_setup(void **state)
{
    struct trace_rig *rig = rig_new();
    *state = rig;
    return mf_trace_create(&rig->env, &rig->trace);
}

static inline int rig_teardown(void **state)
{
    struct trace_rig *rig = *state;
    mf_trace_destroy(rig->trace);
    free(rig);
    return 0;
}

/** What a point counted so far. */
static inline const struct mf_trace_sum *rig_sum(struct trace_rig *rig, enum mf_point point)
{
    mf_trace_collect(rig->trace, 0, &rig->sums);
    return &rig->sums.point[point];
}

/** A call that takes so long. */
static inline void rig_call(struct trace_rig *rig, const struct mf_tracer *tracer,
                            enum mf_point point, uint64_t ns, int rc, uint64_t bytes)
{
    struct mf_span span = mf_trace_begin(tracer, point);
    atomic_fetch_add(&rig->clock_ns, ns);
    mf_assert_rc(mf_trace_end(&span, rc, bytes), rc);
}

#endif
